//! `pipeline validate | run | status | reset | unlock`.

use crate::cli::args::{OnLock, Output, RunArgs};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::{Ends, open_store};
use crate::progress::Progress;
use crate::run::{self, Asked, RunSettings};
use crate::stop::{Stop, seconds_since_epoch};
use std::time::Duration;
use syncset_connector::{PipelineKey, PipelineState, Role, StateStore, Store, StreamState};

/// Checks files only.
pub(crate) fn validate(context: &Context, names: &[String]) -> Result<i32, Failures> {
    let names = if names.is_empty() {
        context.files.pipeline_names()
    } else {
        names.to_vec()
    };
    if names.is_empty() {
        let message = "there is no pipeline to validate";
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("write one into pipelines/NAME.yaml")
            .into());
    }
    let mut failures = Vec::new();
    for name in &names {
        if let Err(found) = context.files.pipeline(name) {
            failures.extend(found.0);
        }
    }
    if !failures.is_empty() {
        return Err(Failures(failures));
    }
    match context.output {
        Output::Text => {
            names
                .iter()
                .for_each(|name| render::text_out(&format!("{name}: ok\n")));
        }
        _ => render::json(&serde_json::json!({ "exit_code": 0, "pipelines": names })),
    }
    Ok(exit_code::DONE)
}

/// Runs pipelines one after another; the exit code is combined as for tables.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<i32, Failures> {
    let mut specs = Vec::with_capacity(args.names.len());
    let mut failures = Vec::new();
    for name in &args.names {
        match context.files.pipeline(name) {
            Ok(spec) => specs.push(spec),
            Err(found) => failures.extend(found.0),
        }
    }
    if !failures.is_empty() {
        return Err(Failures(failures));
    }
    let stop = Stop::new(args.max_duration);
    stop.on_signals().map_err(|error| {
        Failure::new(
            exit_code::FAILED,
            format!("cannot listen for signals: {error}"),
        )
    })?;
    let mut reports = Vec::with_capacity(specs.len());
    for spec in &specs {
        let settings = RunSettings {
            args,
            project: &context.files.project.name,
            lease: context.files.project.lease,
            progress: Progress::new(context.output),
            stop: stop.clone(),
        };
        let report = run::run(spec, &settings).await;
        if context.output == Output::Text {
            print_report(&report);
        }
        reports.push(report);
    }
    if context.output == Output::Json {
        match reports.as_slice() {
            [report] => render::json(report),
            _ => render::json(&reports),
        }
    }
    Ok(exit_code::of_pipelines(
        &reports
            .iter()
            .map(|report| report.exit_code)
            .collect::<Vec<_>>(),
    ))
}

fn print_report(report: &crate::report::RunReport) {
    for warning in &report.warnings {
        render::talk(&format!("warning: {warning}\n"));
    }
    let mut said = std::collections::BTreeSet::new();
    for table in &report.tables {
        // Who holds the watermarks back is said once, not once a table.
        for warning in table
            .warnings
            .iter()
            .filter(|&warning| said.insert(warning.clone()))
        {
            render::talk(&format!("warning: table `{}`: {warning}\n", table.table));
        }
        if let Some(failure) = &table.failure {
            render::failure(failure);
        }
    }
    report.failures.iter().for_each(render::failure);
    if report.failures.is_empty() || !report.tables.is_empty() {
        render::text_out(&run::summary(report));
    }
}

/// The store that keeps a pipeline's state, opened without the source.
async fn open_state(
    context: &Context,
    name: &str,
) -> Result<(PipelineKey, Box<dyn Store>), Failures> {
    let spec = context.files.pipeline(name)?;
    let key = PipelineKey {
        project: context.files.project.name.clone(),
        pipeline: spec.name.clone(),
    };
    let store = open_store(&spec.target, Role::Target, &key, 1).await?;
    if store.state().is_none() {
        let message = format!("`{}` keeps no state", spec.target.kind);
        return Err(Failure::new(exit_code::CONFIG, message).into());
    }
    Ok((key, store))
}

fn state_of(store: &dyn Store) -> &dyn StateStore {
    store.state().expect("checked when it was opened")
}

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
    let last_success = state
        .runs
        .iter()
        .filter(|run| run.exit_code == Some(exit_code::DONE))
        .filter_map(|run| run.finished_at)
        .max();
    let age = last_success
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
    use syncset_connector::StreamPhase;
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

/// Forgets watermarks, under the lease.
pub(crate) async fn reset(
    context: &Context,
    name: &str,
    tables: &[String],
) -> Result<i32, Failures> {
    let spec = context.files.pipeline(name)?;
    let ends = Ends::open(&spec, &context.files.project.name, 1).await?;
    let known = ends.state().load(&ends.key, 0).await?.streams;
    for table in tables {
        if !known.iter().any(|stream| stream.stream == *table) {
            let list = known
                .iter()
                .map(|it| it.stream.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            let message = format!("nothing is stored of table `{table}`");
            return Err(Failure::new(exit_code::CONFIG, message)
                .with_hint(format!("tables with state: {list}"))
                .into());
        }
    }
    if known.is_empty() {
        render::text_out("nothing to reset\n");
        return Ok(exit_code::DONE);
    }
    let stop = Stop::new(None);
    let lease = context.files.project.lease;
    let asked = run::acquire(&ends, "pipeline reset", lease, OnLock::Fail, &stop).await?;
    let Asked::Ours(lease, _) = asked else {
        unreachable!("only `skip` skips")
    };
    let forgotten = ends.state().reset(&lease, tables).await;
    ends.state().release(&lease).await?;
    let forgotten = forgotten?;
    match context.output {
        Output::Text => forgotten.iter().for_each(|stream| {
            render::text_out(&format!("{stream}: reset; the next run loads it again\n"));
        }),
        _ => render::json(&serde_json::json!({ "exit_code": 0, "reset": forgotten })),
    }
    Ok(exit_code::DONE)
}

/// Takes the lease away.
pub(crate) async fn unlock(context: &Context, name: &str) -> Result<i32, Failures> {
    let (key, store) = open_state(context, name).await?;
    let owner = state_of(store.as_ref()).unlock(&key).await?;
    match (context.output, &owner) {
        (Output::Text, Some(owner)) => {
            render::text_out(&format!("unlocked; {owner} can write nothing more\n"));
        }
        (Output::Text, None) => render::text_out("nobody holds the lease\n"),
        _ => render::json(&serde_json::json!({ "exit_code": 0, "owner": owner })),
    }
    Ok(exit_code::DONE)
}
