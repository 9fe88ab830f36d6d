//! `--where`: the selected rows of a slice, such as a day that was imported with old stamps, are
//! copied once more. No watermark moves and nothing is deleted.

use crate::decision::{Action, decide};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::report::Outcome;
use crate::rules::{Rules, not_agreed};
use crate::run::RunSettings;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::load;
use crate::run::retry;
use crate::run::table::TableRun;
use crate::run::waiting::Refused;
use syncset_connector::{KeyRange, PipelineKey, PipelineState, StreamPhase, WriteMode};

/// Copies the slice of every table, parents first.
pub(super) async fn copy(
    context: &RunContext,
    tables: &mut [TableRun],
    state: &PipelineState,
    settings: &RunSettings<'_>,
) {
    for table in tables {
        if let Some(failure) = table.planned.failures.first() {
            table.fail(failure.clone());
            continue;
        }
        if let Err(Failures(failures)) = check(table, state, &context.ends.key, settings.rules()) {
            let first = failures.into_iter().next();
            table.fail(first.expect("a table is stopped by something"));
            continue;
        }
        let started = table.start_clock();
        let copied = copy_table(context, table).await;
        table.count_time(started);
        match copied {
            Ok(()) => table.done(Outcome::Sliced),
            Err(failure) => table.fail(failure),
        }
    }
}

/// A slice goes into a table that is loaded and whose selection is the stored one: otherwise its
/// rows would be taken for those of a load, or not be those that belong there.
pub(super) fn check(
    table: &TableRun,
    state: &PipelineState,
    key: &PipelineKey,
    rules: Rules<'_>,
) -> Result<(), Failures> {
    let stream = table.stream();
    let decision = decide(&table.planned, state, key, rules)?;
    let stored = state.streams.iter().find(|stored| stored.stream == stream);
    let follows = stored.is_some_and(|stored| stored.phase == StreamPhase::Following);
    let why = match &decision.action {
        _ if table.planned.write() != WriteMode::Upsert => {
            return Err(not_upserted(stream).into());
        }
        Action::Follow | Action::Full if follows => return Ok(()),
        Action::Approve => {
            return Err(not_agreed(&table.planned, &key.pipeline, &decision, rules).into());
        }
        Action::Reload(reason) => format!("it has to be loaded again first: {reason}"),
        Action::Load | Action::Full if stored.is_none() => "it was never loaded".to_owned(),
        Action::Load | Action::Resume | Action::Follow | Action::Full => {
            "its load is not finished".to_owned()
        }
    };
    let message = format!("table `{stream}` takes no slice: {why}");
    let hint = format!(
        "run it without `--where` first: syncset pipeline run {}",
        key.pipeline
    );
    Err(Failure::new(exit_code::FAILED, message)
        .with_hint(hint)
        .into())
}

/// Appended rows would be there twice, and a replaced table holds one snapshot.
fn not_upserted(stream: &str) -> Failure {
    let message = format!("table `{stream}` takes no slice: only `write: {{ mode: upsert }}` does");
    Failure::new(exit_code::FAILED, message).with_hint("choose other tables with `--tables`")
}

/// Copies the slice of one table, in chunks if the table is large.
async fn copy_table(context: &RunContext, table: &mut TableRun) -> Result<(), Failure> {
    let boundaries = load::boundaries(context, table).await?;
    for range in KeyRange::between(&boundaries) {
        while let Err(failure) = copy_range(context, table, &range).await {
            match after_failure(table, failure) {
                Next::Again => {}
                // No other table of a slice will help: the rows count as rejected.
                Next::Later => table.refused = Refused::Count,
                Next::Fail(failure) => return Err(failure),
            }
        }
    }
    Ok(())
}

async fn copy_range(
    context: &RunContext,
    table: &mut TableRun,
    range: &KeyRange,
) -> Result<(), Failure> {
    if let Some(reason) = context.stop.reason() {
        return Err(reason);
    }
    tokio::time::sleep(retry::pause(table.attempts)).await;
    let mut snapshot = context.rows_of(table, None).await?;
    let start = context.watermark_unit(table);
    load::write_chunk(context, table, snapshot.as_mut(), 0, range, start).await?;
    snapshot.close().await;
    Ok(())
}
