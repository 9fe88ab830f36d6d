//! `find_deletes`: rows that are gone, and rows that the capture has missed, are looked for by
//! comparing the keys of both sides.
//!
//! The source's keys are those of a snapshot that is opened after the last window of the table has
//! committed: else a row that the window brought would look like one that is gone.

use crate::check::Aspect;
use crate::cli::quantity::counted;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::report::{Outcome, SearchReport};
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::rounds::ROUNDS_MAX;
use crate::run::table::{Search, TableRun};
use crate::run::waiting::Refused;
use crate::run::{differing, hash, retry};
use crate::search_times::SearchTimes;
use crate::stop::seconds_since_epoch;
use syncset_connector::{SnapshotRequest, StreamPhase};

/// Finds out which tables are to be searched in this run.
pub(crate) async fn plan(context: &RunContext, tables: &mut [TableRun]) -> Result<(), Failure> {
    let every = |table: &TableRun| table.planned.plan.find_deletes;
    if tables.iter().all(|table| every(table).is_none()) {
        return Ok(());
    }
    let searches = context.ends.state().searches(&context.ends.key).await?;
    let now = seconds_since_epoch();
    for table in tables {
        let Some(every) = every(table) else { continue };
        let times = SearchTimes::of(every, table.stream(), &searches);
        // What waits for the guard is found again, or it is no longer to be deleted.
        let due = times.is_due(now) || table.pending_deletes > 0;
        table.search = match due {
            true => Search::Due,
            false => Search::Later,
        };
    }
    fail_point("search.planned");
    Ok(())
}

/// Searches tables that are to be searched and whose windows are all committed, children before
/// their parents; then stores which tables were.
pub(crate) async fn run(context: &RunContext, tables: &mut [TableRun]) {
    let began = seconds_since_epoch();
    let is_due = |table: &TableRun| {
        let follows = table
            .stored
            .as_ref()
            .is_some_and(|stored| stored.phase == StreamPhase::Following);
        table.search == Search::Due && follows && !table.has_failed()
    };
    let mut which: Vec<usize> = (0..tables.len()).rev().collect();
    which.retain(|&index| is_due(&tables[index]));
    if !which.is_empty() {
        fail_point("search.begins");
    }
    let mut refused = Refused::default();
    for _ in 0..ROUNDS_MAX {
        let before = moved(tables);
        let mut later = Vec::new();
        for &index in &which {
            let table = &mut tables[index];
            table.refused = refused;
            if !search(context, table).await {
                later.push(index);
            }
        }
        if later.is_empty() {
            break;
        }
        refused = refused.after_round(moved(tables) > before, later.len());
        which = later;
    }
    let searched = tables.iter().filter(|table| table.search == Search::Done);
    let streams: Vec<_> = searched.map(|table| table.stream().to_owned()).collect();
    let state = context.ends.state();
    if !streams.is_empty()
        && let Err(error) = state.store_searches(&context.lease, &streams, began).await
    {
        // The next run searches once more.
        tracing::warn!(%error, "could not store that tables were searched");
    }
}

/// Rows that were changed at the target so far.
fn moved(tables: &[TableRun]) -> u64 {
    let moved = |table: &TableRun| table.report.rows_written + table.report.rows_deleted;
    tables.iter().map(moved).sum()
}

/// Searches one table. Returns false if it has to be tried again after the other tables.
async fn search(context: &RunContext, table: &mut TableRun) -> bool {
    // Its load has compared the keys at its end.
    if table.begun_here {
        table.search = Search::Done;
        return true;
    }
    let started = table.start_clock();
    table.attempts = 0;
    let ended = loop {
        if let Some(reason) = context.stop.reason() {
            table.fail(reason);
            break true;
        }
        tokio::time::sleep(retry::pause(table.attempts)).await;
        let Err(failure) = attempt(context, table).await else {
            break table.refused != Refused::LeaveOut;
        };
        match after_failure(table, failure) {
            Next::Again => {}
            Next::Later => break false,
            Next::Fail(failure) => {
                table.fail(failure);
                break true;
            }
        }
    };
    table.count_time(started);
    if ended && !table.has_failed() {
        table.search = Search::Done;
        tell(table);
        let report = &table.report;
        let quiet = report.rows_written + report.rows_deleted == 0;
        if !quiet && report.outcome == Outcome::Unchanged {
            table.done(Outcome::Followed);
        }
    }
    ended
}

async fn attempt(context: &RunContext, table: &mut TableRun) -> Result<(), Failure> {
    table.stopped = None;
    let planned = table.planned.clone();
    let reader = context.ends.target_reader().await?;
    let comparison = reader.comparison(&planned, Aspect::Key).await?;
    let request = SnapshotRequest {
        read: table.read.clone(),
        from: Some(table.state().position.clone()),
    };
    let source = context.ends.source();
    let source = source.open_snapshot(&[request], None).await?;
    let (source, mut found) = hash::compare(context, table, &comparison, source).await?;
    let (mut source, is_known) = comparison.leave_out_in_flight(source, &mut found).await?;
    let pending = table.pending_deletes;
    let before = (table.report.rows_written, table.report.rows_deleted);
    let how = (&comparison, table.state().position.clone());
    let written = differing::write(context, table, how, (source.as_mut(), &found)).await;
    let report = &mut table.report;
    let search = report.search.get_or_insert_with(SearchReport::default);
    if is_known {
        search.rows_missed += report.rows_written - before.0;
    }
    search.rows_deleted += report.rows_deleted - before.1;
    if let Err(failure) = written {
        // What was taken out of the pending deletes is rolled back with its unit.
        table.pending_deletes = table.pending_deletes.max(pending);
        return Err(failure);
    }
    source.close().await;
    Ok(())
}

/// Says that the capture has missed rows: whoever relies on it should know.
fn tell(table: &mut TableRun) {
    let missed = table.report.search.map_or(0, |search| search.rows_missed);
    if missed == 0 {
        return;
    }
    let warning = format!(
        "{} missing at the target that the capture had not brought: see what it cannot see \
         (docs/guarantees.md)",
        counted(missed, "row was", "rows were")
    );
    table.take_warnings(vec![warning]);
}
