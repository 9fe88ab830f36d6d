//! `pipeline status`: where each table stands, and the last runs.

use super::run_summary::{RunSummary, instant};
use super::{open_state_of, state_of};
use crate::cli::args::{Output, StatusArgs};
use crate::cli::choice::{Unnamed, choose};
use crate::cli::quantity::counted;
use crate::cli::{Context, render};
use crate::decision::gone_sentence;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::search_times::SearchTimes;
use crate::stop::seconds_since_epoch;
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use syncset_connector::{CLOCK_SLACK_SECONDS, PipelineState, StreamPhase, StreamState};
use syncset_pipeline::{PipelineSpec, find_deletes, is_selected};

/// Runs shown by `status`.
const RUNS_SHOWN: u32 = 5;

/// Pipelines asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// How one pipeline is.
struct Status {
    name: String,
    state: PipelineState,
    /// Streams that the pipeline no longer has, and what a person should know of each.
    left: BTreeMap<String, String>,
    /// When rows that are gone are looked for, by streams.
    searches: BTreeMap<String, SearchTimes>,
    /// Why its last success does not do, if it does not.
    stale: Option<Failure>,
}

/// Where each table stands, and the last runs.
pub(crate) async fn status(context: &Context, args: &StatusArgs) -> Result<i32, Failures> {
    let chosen = choose(&context.files, &args.choice, Unnamed::All)?;
    let asked = chosen.specs.iter().map(|spec| ask(context, spec, args));
    let found: Vec<_> = futures::stream::iter(asked)
        .buffered(ASKED_AT_ONCE)
        .collect()
        .await;
    let mut documents = Vec::with_capacity(found.len());
    let (mut codes, mut stale) = (Vec::new(), false);
    for (status, spec) in found.into_iter().zip(&chosen.specs) {
        let document = match status {
            Ok(status) => {
                stale |= status.stale.is_some();
                show(context, status)
            }
            Err(failure) if chosen.is_one => return Err(failure.into()),
            Err(failure) => {
                codes.push(failure.exit_code);
                show_failure(context, spec, &failure)
            }
        };
        documents.push(document);
    }
    codes.resize(documents.len(), exit_code::DONE);
    let code = match exit_code::of_tables(&codes) {
        exit_code::DONE if stale => exit_code::DIFFERENT,
        code => code,
    };
    if context.output != Output::Text {
        match documents.as_slice() {
            [document] if chosen.is_one => render::json(document),
            _ => render::json(&json!({ "exit_code": code, "pipelines": documents })),
        }
    }
    Ok(code)
}

async fn ask(context: &Context, spec: &PipelineSpec, args: &StatusArgs) -> Result<Status, Failure> {
    let (key, store) = open_state_of(context, spec).await?;
    let state = state_of(store.as_ref()).load(&key, RUNS_SHOWN).await?;
    let name = spec.name.clone();
    let stale = args.max_age.and_then(|max| staleness(&name, &state, max));
    let streams = state.streams.iter().filter(|it| !it.selection.is_empty());
    let left = streams.filter(|it| !is_selected(spec, &it.stream));
    let sentence = |it: &StreamState| gone_sentence(store.as_ref(), it, &name);
    let left = left.map(|it| (it.stream.clone(), sentence(it))).collect();
    let searched = |it: &StreamState| Some((it.stream.clone(), find_deletes(spec, &it.stream)?));
    let searched: Vec<_> = state.streams.iter().filter_map(searched).collect();
    let stored = match searched.is_empty() {
        true => Vec::new(),
        false => state_of(store.as_ref()).searches(&key).await?,
    };
    let searches = searched.into_iter().map(|(stream, every)| {
        let times = SearchTimes::of(every, &stream, &stored);
        (stream, times)
    });
    let searches = searches.collect();
    store.close().await;
    Ok(Status {
        searches,
        left,
        name,
        state,
        stale,
    })
}

/// Why the last success does not do.
fn staleness(name: &str, state: &PipelineState, max: Duration) -> Option<Failure> {
    let shown = humantime::format_duration(max);
    let failure = |message: String| Failure::new(exit_code::DIFFERENT, message);
    let runs = format!("see `syncset pipeline history {name}` for what became of the runs");
    let Some(at) = state.last_success else {
        return Some(failure(format!("`{name}` has no success yet")).with_hint(runs));
    };
    let age = seconds_since_epoch() - at;
    if age < -CLOCK_SLACK_SECONDS {
        let message = format!(
            "the last success of `{name}` is in the future: {}",
            instant(at)
        );
        return Some(failure(message).with_hint(
            "set the clock of this machine, or of the one that ran it; then run the pipeline again",
        ));
    }
    let is_old = u64::try_from(age).is_ok_and(|age| Duration::from_secs(age) > max);
    is_old.then(|| {
        failure(format!(
            "the last success of `{name}` is older than {shown}"
        ))
        .with_hint(runs)
    })
}

/// Prints one pipeline for people, or returns its document.
fn show(context: &Context, status: Status) -> Value {
    let age = status
        .state
        .last_success
        .map(|at| Duration::from_secs(u64::try_from(seconds_since_epoch() - at).unwrap_or(0)));
    if context.output == Output::Text {
        render::text_out(&status_text(&status, age));
        if let Some(failure) = &status.stale {
            render::failure(failure);
        }
        return Value::Null;
    }
    status_json(&status, age)
}

fn show_failure(context: &Context, spec: &PipelineSpec, failure: &Failure) -> Value {
    if context.output == Output::Text {
        render::failure(
            &failure
                .clone()
                .while_doing(format!("pipeline `{}`", spec.name)),
        );
        return Value::Null;
    }
    json!({
        "exit_code": failure.exit_code,
        "pipeline": spec.name,
        "failures": [failure],
    })
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

fn status_text(status: &Status, age: Option<Duration>) -> String {
    let (name, state) = (&status.name, &status.state);
    let now = seconds_since_epoch();
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
            count => {
                let count = count as u64;
                let waits = counted(count, "rejected row waits", "rejected rows wait");
                format!(", {waits}")
            }
        };
        let deletes = match state.pending_of(&stream.target) {
            0 => String::new(),
            count => {
                let waits = counted(count, "delete waits", "deletes wait");
                format!(", {waits} for the guard")
            }
        };
        let searched = status.searches.get(&stream.stream);
        let searched = searched.map_or_else(String::new, |times| match times.due_at(now) {
            None => ", a search for deleted rows is due".to_owned(),
            Some(at) => format!(", next search for deleted rows at {}", instant(at)),
        });
        text.push_str(&format!(
            "table {}: {} -> {}{rejected}{deletes}{searched}\n",
            stream.stream,
            progress_of(stream),
            stream.target
        ));
    }
    for sentence in status.left.values() {
        text.push_str(&format!("note: {sentence}\n"));
    }
    if state.streams.is_empty() {
        text.push_str("no table has been loaded\n");
    }
    for (place, run) in state.runs.iter().enumerate() {
        let run = RunSummary::of(run, state);
        text.push_str(&run.line());
        if place == 0 {
            text.push_str(&run.failure_lines());
        }
    }
    text
}

fn status_json(status: &Status, age: Option<Duration>) -> Value {
    let state = &status.state;
    let tables: Vec<_> = state
        .streams
        .iter()
        .map(|stream| {
            let mut table = json!({
                "table": stream.stream,
                "target": stream.target.to_string(),
                "phase": stream.phase,
                "in_pipeline": !status.left.contains_key(&stream.stream),
                "chunks_done": stream.chunks.iter().filter(|chunk| chunk.done).count(),
                "chunks": stream.chunks.len(),
                "position": stream.position,
                "rejected": state.rejected.iter().filter(|row| row.stream == stream.stream).count(),
                "deletes_pending": state.pending_of(&stream.target),
            });
            if let Some(times) = status.searches.get(&stream.stream)
                && let (Some(last), Some(next)) = (times.last, times.next())
            {
                table["searched_at"] = json!(instant(last));
                table["search_due_at"] = json!(instant(next));
            }
            table
        })
        .collect();
    let runs = state.runs.iter().map(|run| RunSummary::of(run, state));
    let runs: Vec<RunSummary> = runs.collect();
    let code = status
        .stale
        .as_ref()
        .map_or(exit_code::DONE, |it| it.exit_code);
    json!({
        "exit_code": code,
        "pipeline": status.name,
        "last_success_at": state.last_success.map(instant),
        "last_success_seconds_ago": age.map(|age| age.as_secs()),
        "holder": state.holder.as_ref().map(|(holder, _)| holder),
        "tables": tables,
        "runs": runs,
        "failures": status.stale.as_slice(),
    })
}
