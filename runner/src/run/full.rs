//! Tables without windows: the whole table in each run, from one snapshot, or what of it differs by
//! its hashes.

use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::report::Outcome;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::hash;
use crate::run::load;
use crate::run::retry;
use crate::run::settle::settle;
use crate::run::table::TableRun;
use crate::run::waiting::Refused;
use std::sync::Arc;
use syncset_connector::{
    Capture, ErrorClass, KeyRange, OnDelete, Position, RejectedRow, Snapshot, SnapshotRequest,
    SnapshotToken, UnitStart, WriteMode,
};
use tokio::task::JoinSet;

/// Copies tables whole, up to `jobs` at a time and from one snapshot where the source can share
/// it. Returns those that have to be tried again after the other tables. `rejected`: rows that were
/// refused in former runs.
pub(crate) async fn copy_all(
    context: &RunContext,
    tables: &mut [TableRun],
    which: &[usize],
    rejected: &[RejectedRow],
) -> Vec<usize> {
    let (exporter, token) = share(context, tables, which).await;
    let rejected: Arc<[RejectedRow]> = rejected.into();
    let mut later = Vec::new();
    let mut running: JoinSet<(usize, TableRun, bool)> = JoinSet::new();
    let mut streams: Vec<(usize, String)> = Vec::new();
    let mut waiting = which.iter().peekable();
    loop {
        let next = waiting.peek().filter(|&&&index| {
            let parents = &tables[index].planned.parents;
            let is_parent = |(_, stream): &(usize, String)| parents.contains(stream);
            running.len() < context.jobs && !streams.iter().any(is_parent)
        });
        if let Some(&&index) = next {
            waiting.next();
            // The task has the table; what stands here meanwhile is not looked at.
            let stand_in = tables[index].part();
            let mut table = std::mem::replace(&mut tables[index], stand_in);
            streams.push((index, table.stream().to_owned()));
            let (context, token, rejected) = (context.clone(), token.clone(), rejected.clone());
            running.spawn(async move {
                let done = copy_whole(&context, &mut table, token.as_ref(), &rejected).await;
                (index, table, done)
            });
            continue;
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        let (index, table, done) = ended.expect("tasks that copy do not panic");
        tables[index] = table;
        streams.retain(|(other, _)| *other != index);
        if !done {
            later.push(index);
        }
    }
    if let Some(exporter) = exporter {
        exporter.close().await;
    }
    later.sort_unstable();
    later
}

/// Opens a snapshot that the tables share, if there are several and the source can. It has to stay
/// open until the last of them is read. Whatever keeps it from being opened shows when each table
/// is read by itself.
async fn share(
    context: &RunContext,
    tables: &[TableRun],
    which: &[usize],
) -> (Option<Box<dyn Snapshot>>, Option<SnapshotToken>) {
    if which.len() < 2 {
        return (None, None);
    }
    let request = |&index: &usize| SnapshotRequest {
        read: tables[index].read.clone(),
        from: None,
    };
    let requests: Vec<_> = which.iter().map(request).collect();
    let source = context.ends.source();
    let Ok(mut snapshot) = source.open_snapshot(&requests, None).await else {
        return (None, None);
    };
    match snapshot.share().await {
        Ok(Some(token)) => (Some(snapshot), Some(token)),
        _ => (None, None),
    }
}

/// Copies one table whole and deletes what the source no longer has. Starts over when its
/// snapshot is lost. Returns false if it has to be tried again after the other tables.
async fn copy_whole(
    context: &RunContext,
    table: &mut TableRun,
    shared: Option<&SnapshotToken>,
    rejected: &[RejectedRow],
) -> bool {
    let started = table.start_clock();
    let done = loop {
        if let Some(reason) = context.stop.reason() {
            table.fail(reason);
            break true;
        }
        tokio::time::sleep(retry::pause(table.attempts)).await;
        // A snapshot that was lost once is gone.
        let shared = shared.filter(|_| table.attempts == 0);
        let result = match (&table.read.capture, table.refused) {
            (Capture::Hash, _) => hash::bring(context, table, (shared, rejected)).await,
            (_, Refused::LeaveOut) => {
                let copied = load::copy_rows_only(context, table).await;
                copied.map(|()| Outcome::Unfinished)
            }
            (_, Refused::Wait | Refused::Together | Refused::Count) => {
                let planned = table.planned.clone();
                if table.waited && makes_way(&planned) {
                    table.planned = replaced_in_place(&planned);
                }
                let result = attempt(context, table, shared).await;
                table.planned = planned;
                result
            }
        };
        let mut failure = match result {
            Ok(_) if table.refused == Refused::LeaveOut => break false,
            Ok(outcome) => {
                table.count_time(started);
                table.done(outcome);
                return true;
            }
            Err(failure) => failure,
        };
        failure.retry |= failure.is(ErrorClass::SnapshotLost);
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
    done
}

/// Whether rows that are gone can make way for others in the unit that writes those.
fn makes_way(planned: &PlannedTable) -> bool {
    planned.write() == WriteMode::Upsert && planned.plan.on_delete == OnDelete::Hard
}

/// The same table, written in one unit that deletes first: a row may have taken over the unique
/// value of one that is gone.
fn replaced_in_place(planned: &PlannedTable) -> Arc<PlannedTable> {
    let mut planned = planned.clone();
    planned.plan.write = WriteMode::Replace;
    Arc::new(planned)
}

async fn attempt(
    context: &RunContext,
    table: &mut TableRun,
    shared: Option<&SnapshotToken>,
) -> Result<Outcome, Failure> {
    load::begin(context, &mut [table]).await?;
    let mut snapshot = context.rows_of(table, shared).await?;
    let start = UnitStart {
        lease: context.lease.clone(),
        step: load::chunk_step(table, 0),
        into_empty: table.state().into_empty && !table.careful,
        careful: table.careful,
    };
    let written = load::write_chunk(
        context,
        table,
        snapshot.as_mut(),
        0,
        &KeyRange::all(),
        start,
    )
    .await;
    if let Err(mut failure) = written {
        // Rows of somebody else are in the way: the next attempt looks for existing rows.
        failure.retry |= failure.is(ErrorClass::RowParked) && table.state().into_empty;
        if failure.retry {
            failure.class = None;
        }
        return Err(failure);
    }
    settle(
        context,
        table,
        snapshot.as_mut(),
        0,
        Position(serde_json::Value::Null),
    )
    .await?;
    snapshot.close().await;
    let report = &table.report;
    let quiet = report.rows_written + report.rows_deleted + report.rows_rejected == 0;
    Ok(match quiet {
        true => Outcome::Unchanged,
        false => Outcome::Loaded,
    })
}
