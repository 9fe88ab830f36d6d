//! `pipeline history`: the runs that are stored, or one of them in detail.

use super::run_summary::RunSummary;
use super::{open_state, state_of};
use crate::cli::args::{HistoryArgs, Output};
use crate::cli::{Context, quantity, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use serde_json::Value;
use std::time::Duration;
use syncset_connector::{PipelineState, RunRecord};

/// Shows runs, newest first.
pub(crate) async fn history(context: &Context, args: &HistoryArgs) -> Result<i32, Failures> {
    let (key, store) = open_state(context, &args.name).await?;
    // One run may be any that is stored.
    let limit = if args.run.is_some() {
        u32::MAX
    } else {
        args.limit
    };
    let state = state_of(store.as_ref()).load(&key, limit).await?;
    store.close().await;
    match &args.run {
        Some(id) => print_one(
            context,
            &args.name,
            (one_of(&state.runs, &args.name, id)?, &state),
        ),
        None => print_all(context, &args.name, &state),
    }
    Ok(exit_code::DONE)
}

/// The run whose id begins or, as the lists show it, ends like this.
fn one_of<'a>(runs: &'a [RunRecord], name: &str, id: &str) -> Result<&'a RunRecord, Failure> {
    let mut found = runs
        .iter()
        .filter(|run| run.run_id.starts_with(id) || run.run_id.ends_with(id));
    let wrong = |message: String| Failure::new(exit_code::CONFIG, message);
    let all = format!("`syncset pipeline history {name}` lists the runs");
    match (found.next(), found.next()) {
        (Some(run), None) => Ok(run),
        (None, _) => Err(
            wrong(format!("no run of `{name}` has an id like `{id}`")).with_hint(format!(
                "{all}; `retention` in syncset.yaml says how long they are kept"
            )),
        ),
        (Some(_), Some(_)) => Err(wrong(format!(
            "several runs of `{name}` have an id like `{id}`"
        ))
        .with_hint(format!("write more of it; {all}"))),
    }
}

fn print_all(context: &Context, name: &str, state: &PipelineState) {
    let runs = state.runs.iter().map(|run| RunSummary::of(run, state));
    let runs: Vec<RunSummary> = runs.collect();
    if context.output != Output::Text {
        return render::json(&serde_json::json!({
            "exit_code": 0,
            "pipeline": name,
            "runs": runs,
        }));
    }
    if runs.is_empty() {
        return render::text_out(&format!("{name}: no run is stored\n"));
    }
    let text = runs.iter().map(|run| run.line() + &run.failure_lines());
    render::text_out(&text.collect::<String>());
}

fn print_one(context: &Context, name: &str, (run, state): (&RunRecord, &PipelineState)) {
    let summary = RunSummary::of(run, state);
    if context.output != Output::Text {
        return render::json(&serde_json::json!({
            "exit_code": 0,
            "pipeline": name,
            "run": summary,
            "report": run.report,
        }));
    }
    let mut text = summary.line();
    let tables = run.report["tables"].as_array();
    for table in tables.map(Vec::as_slice).unwrap_or_default() {
        text.push_str(&table_text(table));
    }
    for failure in run.report["failures"].as_array().into_iter().flatten() {
        text.push_str(&failure_text(failure));
    }
    for warning in run.report["warnings"].as_array().into_iter().flatten() {
        text.push_str(&format!("warning: {}\n", word(warning)));
    }
    render::text_out(&text);
}

fn table_text(table: &Value) -> String {
    let number = |field: &str| table[field].as_u64().unwrap_or_default();
    let count = |field: &str| quantity::count(number(field));
    let mut text = format!(
        "table {} -> {}: {}, {} read, {} written, {} deleted, {} rejected, {}\n",
        word(&table["table"]),
        word(&table["target"]),
        word(&table["outcome"]),
        count("rows_read"),
        count("rows_written"),
        count("rows_deleted"),
        count("rows_rejected"),
        quantity::duration(Duration::from_millis(number("duration_ms"))),
    );
    for warning in table["warnings"].as_array().into_iter().flatten() {
        text.push_str(&format!("  warning: {}\n", word(warning)));
    }
    if table["failure"].is_object() {
        let failure = failure_text(&table["failure"]);
        failure
            .lines()
            .for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

fn failure_text(failure: &Value) -> String {
    let mut text = format!("error: {}\n", word(&failure["message"]));
    for cause in failure["causes"].as_array().into_iter().flatten() {
        text.push_str(&format!("cause: {}\n", word(cause)));
    }
    if let Some(hint) = failure["hint"].as_str() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
