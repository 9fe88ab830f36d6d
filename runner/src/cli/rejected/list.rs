//! `rejected list`: which rows wait, why and since when.

use super::of_tables;
use crate::cli::args::{Output, RejectedListArgs};
use crate::cli::choice::{Unnamed, choose};
use crate::cli::pipeline::{instant, open_state_of, state_of};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::Failures;
use serde::Serialize;
use serde_json::{Value, json};
use syncset_connector::RejectedRow;

#[derive(Serialize)]
struct Entry {
    table: String,
    /// The key as a list of texts.
    key: Value,
    reason: String,
    code: Option<String>,
    since: Option<String>,
    attempts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Value>,
}

/// Lists rejected rows; changes nothing.
pub(crate) async fn list(context: &Context, args: &RejectedListArgs) -> Result<i32, Failures> {
    let chosen = choose(&context.files, &args.choice, Unnamed::All)?;
    let mut documents = Vec::with_capacity(chosen.specs.len());
    for spec in &chosen.specs {
        let (key, store) = open_state_of(context, spec).await?;
        let rejected = state_of(store.as_ref()).load(&key, 0).await?.rejected;
        store.close().await;
        let rejected = of_tables(rejected, &args.tables, &spec.name)?;
        let entries: Vec<Entry> = rejected.into_iter().map(|row| entry(row, args)).collect();
        if context.output == Output::Text {
            render::text_out(&text(&spec.name, &entries));
        }
        documents.push(json!({
            "exit_code": 0,
            "pipeline": spec.name,
            "rejected": entries,
        }));
    }
    if context.output != Output::Text {
        match documents.as_slice() {
            [document] if chosen.is_one => render::json(document),
            _ => render::json(&json!({ "exit_code": 0, "pipelines": documents })),
        }
    }
    Ok(exit_code::DONE)
}

fn entry(row: RejectedRow, args: &RejectedListArgs) -> Entry {
    Entry {
        table: row.stream,
        key: row.key,
        reason: row.reason,
        code: row.code,
        since: row.first_at.map(instant),
        attempts: row.attempts,
        row: args.rows.then_some(row.row),
    }
}

fn text(pipeline: &str, entries: &[Entry]) -> String {
    if entries.is_empty() {
        return format!("{pipeline}: no rejected row waits\n");
    }
    let mut text = format!("{pipeline}: {} rejected\n", entries.len());
    for entry in entries {
        let since = entry.since.as_deref().unwrap_or("an unknown time");
        let times = match entry.attempts {
            1 => "once".to_owned(),
            attempts => format!("{attempts} times"),
        };
        text.push_str(&format!(
            "  {} {}: {}; since {since}, refused {times}\n",
            entry.table, entry.key, entry.reason
        ));
        if let Some(row) = &entry.row {
            text.push_str(&format!("    {row}\n"));
        }
    }
    text
}
