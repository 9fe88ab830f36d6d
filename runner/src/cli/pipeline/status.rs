//! `pipeline status`: where each table stands, and the last runs.

use super::{open_state, state_of};
use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::stop::seconds_since_epoch;
use std::time::Duration;
use syncset_connector::{PipelineState, StreamPhase, StreamState};

/// Runs shown by `status`.
const RUNS_SHOWN: u32 = 5;

/// Where each table stands, and the last run.
pub(crate) async fn status(
    context: &Context,
    name: &str,
    max_age: Option<Duration>,
) -> Result<i32, Failures> {
    let (key, store) = open_state(context, name).await?;
    let state = state_of(store.as_ref()).load(&key, RUNS_SHOWN).await?;
    store.close().await;
    let age = state
        .last_success
        .map(|at| Duration::from_secs(u64::try_from(seconds_since_epoch() - at).unwrap_or(0)));
    let stale = max_age.is_some_and(|max| age.is_none_or(|age| age > max));
    let code = if stale {
        exit_code::DIFFERENT
    } else {
        exit_code::DONE
    };
    match context.output {
        Output::Text => render::text_out(&status_text(name, &state, age)),
        _ => render::json(&status_json(name, &state, age, code)),
    }
    if stale {
        let max = humantime::format_duration(max_age.unwrap_or_default());
        let message = format!("the last success of `{name}` is older than {max}");
        render::failure(&Failure::new(code, message).with_hint("see the last runs above"));
    }
    Ok(code)
}

fn progress_of(stream: &StreamState) -> String {
    let done = stream.chunks.iter().filter(|chunk| chunk.done).count();
    match stream.phase {
        _ if stream.selection.is_empty() => "reset, to be loaded again".to_owned(),
        StreamPhase::Loading => format!("loading, {done} of {} chunks", stream.chunks.len()),
        StreamPhase::Settling => "loaded, its changes not yet".to_owned(),
        StreamPhase::Following => "following".to_owned(),
    }
}

fn status_text(name: &str, state: &PipelineState, age: Option<Duration>) -> String {
    let mut text = format!("pipeline: {name}\n");
    let age = age.map_or("never".into(), |age| {
        format!("{} ago", humantime::format_duration(age))
    });
    text.push_str(&format!("last success: {age}\n"));
    if let Some((holder, expires)) = &state.holder {
        let expires = humantime::format_duration(Duration::from_secs(expires.as_secs()));
        text.push_str(&format!("being run by: {holder}, lease for {expires}\n"));
    }
    for stream in &state.streams {
        let rejected = state
            .rejected
            .iter()
            .filter(|row| row.stream == stream.stream)
            .count();
        let rejected = match rejected {
            0 => String::new(),
            count => format!(", {count} rejected rows wait"),
        };
        text.push_str(&format!(
            "table {}: {} -> {}{rejected}\n",
            stream.stream,
            progress_of(stream),
            stream.target
        ));
    }
    if state.streams.is_empty() {
        text.push_str("no table has been loaded\n");
    }
    for run in &state.runs {
        let started = chrono::DateTime::from_timestamp(run.started_at, 0).unwrap_or_default();
        let code = run
            .exit_code
            .map_or("running".into(), |code| format!("exit {code}"));
        let sum = |field: &str| -> u64 {
            let tables = run.report["tables"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            tables
                .iter()
                .filter_map(|table| table[field].as_u64())
                .sum()
        };
        text.push_str(&format!(
            "run {}: {code}, {} rows written, {} deleted\n",
            started.format("%Y-%m-%d %H:%M:%S UTC"),
            sum("rows_written"),
            sum("rows_deleted"),
        ));
    }
    text
}

fn status_json(
    name: &str,
    state: &PipelineState,
    age: Option<Duration>,
    code: i32,
) -> serde_json::Value {
    let tables: Vec<_> = state
        .streams
        .iter()
        .map(|stream| {
            serde_json::json!({
                "table": stream.stream,
                "target": stream.target.to_string(),
                "phase": stream.phase,
                "chunks_done": stream.chunks.iter().filter(|chunk| chunk.done).count(),
                "chunks": stream.chunks.len(),
                "position": stream.position,
                "rejected": state.rejected.iter().filter(|row| row.stream == stream.stream).count(),
            })
        })
        .collect();
    serde_json::json!({
        "exit_code": code,
        "pipeline": name,
        "last_success_seconds_ago": age.map(|age| age.as_secs()),
        "holder": state.holder.as_ref().map(|(holder, _)| holder),
        "tables": tables,
        "runs": state.runs,
    })
}
