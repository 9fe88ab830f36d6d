//! `rejected discard`: forgets rejected rows, so that no run tries them again.

use super::of_tables;
use crate::cli::args::{Output, RejectedDiscardArgs};
use crate::cli::pipeline::{open_state, state_of};
use crate::cli::quantity::counted;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::run::acquire_now;
use serde_json::{Value, json};
use syncset_connector::RejectedRow;

/// What it means, for people.
const MEANING: &str = "no run looks for them any more, and the target keeps what it has; one is \
     tried again when a run reads it: when it changes at the source or is within the overlap of a \
     cursor, in each run of `capture: full` and `hash`, and with `--full-refresh`";

/// Forgets rows by table or key, under the lease.
pub(crate) async fn discard(
    context: &Context,
    args: &RejectedDiscardArgs,
) -> Result<i32, Failures> {
    if !args.all && args.tables.is_empty() && args.keys.is_empty() {
        let message = "nothing says which rejected rows to discard";
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("name them with `--tables TABLE` or `--key KEY`, or say `--all`")
            .into());
    }
    let (key, store) = open_state(context, &args.name).await?;
    let state = state_of(store.as_ref());
    let waiting = state.load(&key, 0).await?.rejected;
    let chosen = by_key(of_tables(waiting, &args.tables, &args.name)?, args)?;
    if !chosen.is_empty() {
        let duration = context.files.project.lease;
        let lease = acquire_now(state, &key, "rejected discard", duration).await?;
        let rows: Vec<(String, Value)> = chosen
            .iter()
            .map(|row| (row.stream.clone(), row.key.clone()))
            .collect();
        let forgotten = state.forget_rejected(&lease, &rows).await;
        if let Err(error) = state.release(&lease).await {
            tracing::warn!(%error, "could not give the lease back; it will expire");
        }
        forgotten?;
    }
    store.close().await;
    print(context, &args.name, &chosen);
    Ok(exit_code::DONE)
}

/// Those with the keys that are named, all if none is.
fn by_key(rows: Vec<RejectedRow>, args: &RejectedDiscardArgs) -> Result<Vec<RejectedRow>, Failure> {
    let mut chosen = Vec::new();
    for text in &args.keys {
        let key = key_of(text);
        let found: Vec<&RejectedRow> = rows.iter().filter(|row| row.key == key).collect();
        match found.as_slice() {
            [] => {
                let message = format!("no rejected row of `{}` has the key {key}", args.name);
                return Err(Failure::new(exit_code::CONFIG, message).with_hint(format!(
                    "`syncset rejected list {}` shows the keys; write one of several columns as \
                     '[\"1\",\"x\"]'",
                    args.name
                )));
            }
            [row] => chosen.push((*row).clone()),
            [_, ..] => {
                let message = format!("rejected rows of several tables have the key {key}");
                return Err(Failure::new(exit_code::CONFIG, message)
                    .with_hint("say of which table with `--tables TABLE`"));
            }
        }
    }
    Ok(if args.keys.is_empty() { rows } else { chosen })
}

/// A key as it is stored: a list of texts. A key of one column may be written by itself.
fn key_of(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Array(parts)) => Value::Array(parts),
        _ => json!([text]),
    }
}

fn print(context: &Context, pipeline: &str, rows: &[RejectedRow]) {
    if context.output != Output::Text {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "table": row.stream, "key": row.key }))
            .collect();
        return render::json(&json!({
            "exit_code": 0,
            "pipeline": pipeline,
            "discarded": rows,
        }));
    }
    if rows.is_empty() {
        return render::text_out(&format!("{pipeline}: no rejected row waits\n"));
    }
    let (one, many) = ("rejected row is forgotten", "rejected rows are forgotten");
    let forgotten = counted(rows.len() as u64, one, many);
    let mut text = format!("{pipeline}: {forgotten}: {MEANING}\n");
    for row in rows {
        text.push_str(&format!("  {} {}\n", row.stream, row.key));
    }
    render::text_out(&text);
}
