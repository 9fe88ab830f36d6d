//! Windows of changes: read in one snapshot, applied in units, each with its watermark.

use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::report::Outcome;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::pump::pump;
use crate::run::retry;
use crate::run::retry_rejected::{of_table, retry_rejected};
use crate::run::settle::{settle, settle_together};
use crate::run::table::{Search, TableRun};
use crate::run::unit::{Turn, Unit};
use crate::run::waiting::Refused;
use crate::run::windows::{Fed, Writers, Written};
use crate::stop::seconds_since_epoch;
use syncset_connector::{
    ChangeEvent, ErrorClass, Position, RejectedRow, Result, Snapshot, SnapshotRequest, StreamPhase,
    WindowState,
};
use tokio::sync::mpsc;

/// A watermark that only moved is stored when the stored one is older than this.
pub(crate) const IDLE_STORE_SECONDS: i64 = 3600;

/// What following some tables left to do.
#[derive(Default)]
pub(crate) struct Left {
    /// Tables to load again, with the reason.
    pub(crate) reload: Vec<(usize, String)>,
    /// Tables to follow again after all others: a unique or foreign key refuses a row.
    pub(crate) later: Vec<usize>,
}

/// What became of the tables of one snapshot.
#[derive(Default)]
struct Tally {
    left: Left,
    /// Tables that need another snapshot.
    again: Vec<usize>,
    /// Watermarks that have only moved: stream, version, position.
    moves: Vec<(String, u64, Position)>,
}

impl Tally {
    fn note(&mut self, table: &mut TableRun, index: usize, result: Result<Followed, Failure>) {
        let failure = match result {
            Ok(Followed::Done(outcome)) => return table.done(outcome),
            Ok(Followed::Idle(position)) => {
                table.seen = Some(position.clone());
                let state = table.state();
                if seconds_since_epoch() - state.updated_at >= IDLE_STORE_SECONDS {
                    let moved = (state.stream.clone(), state.version, position);
                    self.moves.push(moved);
                }
                // Rows may have come before this window, as of a position that was lost.
                let moved = table.report.rows_written + table.report.rows_deleted > 0;
                return table.done(match moved {
                    true => Outcome::Followed,
                    false => Outcome::Unchanged,
                });
            }
            Ok(Followed::Reload(reason)) => return self.left.reload.push((index, reason)),
            Ok(Followed::Again) => return self.again.push(index),
            Ok(Followed::RowsOnly) => return self.left.later.push(index),
            Err(failure) => failure,
        };
        match after_failure(table, failure) {
            Next::Again => self.again.push(index),
            Next::Later => self.left.later.push(index),
            Next::Fail(failure) => table.fail(failure),
        }
    }

    fn note_written(&mut self, tables: &mut [TableRun], written: Vec<Written>) {
        for written in written {
            let (index, result) = written.returned_to(tables);
            self.note(&mut tables[index], index, result);
        }
    }
}

/// Applies the windows of tables that follow, and settles those whose chunks are all done.
///
/// All tables are read in one snapshot; after a failure the ones that are left get a new one.
pub(crate) async fn follow(
    context: &RunContext,
    tables: &mut [TableRun],
    which: &[usize],
    rejected: &[RejectedRow],
) -> Left {
    let mut tally = Tally::default();
    let mut waiting: Vec<usize> = which.to_vec();
    while !waiting.is_empty() {
        if let Some(reason) = context.stop.reason() {
            waiting
                .iter()
                .for_each(|&index| tables[index].fail(reason.clone()));
            break;
        }
        let attempts = waiting
            .iter()
            .map(|&index| tables[index].attempts)
            .max()
            .unwrap_or(0);
        tokio::time::sleep(retry::pause(attempts)).await;
        let snapshot = open(context, tables, &waiting).await;
        let mut snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(failure) => {
                tracing::info!(reason = failure.message, "trying again, table by table");
                waiting = isolate(context, tables, &waiting, failure).await;
                continue;
            }
        };
        let spoiled = follow_all(
            context,
            tables,
            &waiting,
            (snapshot.as_mut(), rejected),
            &mut tally,
        )
        .await;
        if spoiled.is_none() {
            snapshot.close().await;
        }
        tally.again.extend(spoiled.into_iter().flatten());
        // Parents first, as before.
        tally.again.sort_unstable();
        waiting = std::mem::take(&mut tally.again);
    }
    let moves = &tally.moves;
    if !moves.is_empty()
        && let Err(error) = context.ends.state().move_idle(&context.lease, moves).await
    {
        // The older watermark is as right as the newer one.
        tracing::warn!(%error, "could not store the watermarks of unchanged tables");
    }
    tally.left
}

/// Follows tables in a snapshot of them. Returns those that were not reached if a stream that was
/// not read to its end has spoiled it.
async fn follow_all(
    context: &RunContext,
    tables: &mut [TableRun],
    which: &[usize],
    (snapshot, rejected): (&mut dyn Snapshot, &[RejectedRow]),
    tally: &mut Tally,
) -> Option<Vec<usize>> {
    let settled = settle_together(context, tables, which, snapshot).await;
    let settled = settled.unwrap_or_else(|failure| {
        tracing::debug!(error = %failure.message, "settling tables one by one");
        Vec::new()
    });
    let mut writers = Writers::default();
    let mut spoiled = None;
    for (slot, &index) in which.iter().enumerate() {
        if settled.contains(&slot) {
            tables[index].take_warnings(snapshot.windows()[slot].warnings.clone());
            tables[index].done(Outcome::Loaded);
            continue;
        }
        let window = snapshot.windows()[slot].clone();
        let beside = Writers::take(&tables[index], &window);
        let limit = if beside { context.jobs } else { 1 };
        let parents = tables[index].planned.parents.clone();
        tally.note_written(tables, writers.make_room(limit, &parents).await);
        let result = if beside {
            tables[index].take_warnings(window.warnings);
            match writers
                .feed(context, tables, index, (&mut *snapshot, slot))
                .await
            {
                Ok(Fed::Whole) => continue,
                Ok(Fed::Left) => None,
                Err(failure) => Some(Err(failure)),
            }
        } else {
            let table = &mut tables[index];
            let started = table.start_clock();
            let followed = follow_one(context, table, snapshot, slot, rejected).await;
            table.count_time(started);
            Some(followed)
        };
        let failed = !matches!(result, Some(Ok(_)));
        if let Some(result) = result {
            tally.note(&mut tables[index], index, result);
        }
        if failed {
            spoiled = Some(which[slot + 1..].to_vec());
            break;
        }
    }
    tally.note_written(tables, writers.make_room(1, &[]).await);
    spoiled
}

async fn open(
    context: &RunContext,
    tables: &[TableRun],
    which: &[usize],
) -> Result<Box<dyn Snapshot>, Failure> {
    let request = |&index: &usize| SnapshotRequest {
        read: tables[index].read.clone(),
        from: Some(tables[index].state().position.clone()),
    };
    let requests: Vec<_> = which.iter().map(request).collect();
    Ok(context.ends.source().open_snapshot(&requests, None).await?)
}

/// Finds out which tables keep the common snapshot from being opened; returns the others.
async fn isolate(
    context: &RunContext,
    tables: &mut [TableRun],
    waiting: &[usize],
    failure: Failure,
) -> Vec<usize> {
    let mut good = Vec::new();
    for &index in waiting {
        let failure = if waiting.len() == 1 {
            failure.clone()
        } else {
            match open(context, tables, &[index]).await {
                Ok(snapshot) => {
                    snapshot.close().await;
                    good.push(index);
                    continue;
                }
                Err(failure) => failure,
            }
        };
        match after_failure(&mut tables[index], failure) {
            Next::Again | Next::Later => good.push(index),
            Next::Fail(failure) => tables[index].fail(failure),
        }
    }
    good
}

/// What came of one table.
pub(crate) enum Followed {
    /// It is at the snapshot.
    Done(Outcome),
    /// Nothing had changed up to this position.
    Idle(Position),
    /// Its position proves nothing, for this reason.
    Reload(String),
    /// A window that was cut in an earlier snapshot was finished; the next one, in a new snapshot,
    /// brings the table up to date.
    Again,
    /// What could be written of the window was; its watermark waits for other tables.
    RowsOnly,
}

async fn follow_one(
    context: &RunContext,
    table: &mut TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
    rejected: &[RejectedRow],
) -> Result<Followed, Failure> {
    let window = snapshot.windows()[slot].clone();
    table.take_warnings(window.warnings);
    if let WindowState::Reload { reason } = window.state {
        return Ok(Followed::Reload(reason));
    }
    table.stopped = None;
    let rejected = of_table(table, rejected);
    let retried = !rejected.is_empty() && !table.begun_here && table.report.rows_rejected == 0;
    if retried {
        retry_rejected(context, table, (snapshot, slot), &rejected, Turn::More).await?;
    }
    let settling = table.state().phase != StreamPhase::Following;
    let (position, mut changed) = match window.state {
        WindowState::Unchanged(position) => (position, false),
        _ => {
            let unit_bytes = if table.waited {
                u64::MAX
            } else {
                context.unit_bytes
            };
            let stream = snapshot.read_changes(slot, unit_bytes).await?;
            let continues = window.continues;
            let window = async |events| apply(context, table, continues, events).await;
            let applied = pump(stream, &context.stop, window).await?;
            if table.refused == Refused::LeaveOut {
                return Ok(Followed::RowsOnly);
            }
            applied
        }
    };
    if window.continues {
        if table.state().position != position {
            // No row was left: only the watermark has to get out of the cut window.
            let start = context.watermark_unit(table);
            let unit = Unit::begin(&context.ends, start, table, UnitKind::Window).await?;
            let phase = table.same_phase();
            unit.commit_watermark(table, position, phase).await?;
        }
        return Ok(Followed::Again);
    }
    changed |= heed_pending(context, table).await?;
    if settling {
        settle(context, table, snapshot, slot, position).await?;
        return Ok(Followed::Done(Outcome::Loaded));
    }
    Ok(if changed || retried || table.report.rows_read > 0 {
        Followed::Done(Outcome::Followed)
    } else {
        Followed::Idle(position)
    })
}

/// Asks about deletes that are still pending behind a window, and gives the guard's answer. Returns
/// whether a unit was committed for them.
pub(crate) async fn heed_pending(
    context: &RunContext,
    table: &mut TableRun,
) -> Result<bool, Failure> {
    let searches = table.search == Search::Due;
    let asks = table.stopped.is_none() && table.has_pending_deletes() && !searches;
    if asks {
        // No unit of the window knew that it was the last one, or there was none.
        let start = context.watermark_unit(table);
        let unit = Unit::begin(&context.ends, start, table, UnitKind::PendingDeletes).await?;
        unit.commit_rows(table).await?;
    }
    table.stopped.clone().map_or(Ok(asks), Err)
}

/// Applies the events of one window. Returns its last position and whether a unit was committed.
/// `continues`: another window follows it in this run.
pub(crate) async fn apply(
    context: &RunContext,
    table: &mut TableRun,
    continues: bool,
    mut events: mpsc::Receiver<Result<ChangeEvent>>,
) -> Result<(Position, bool), Failure> {
    let mut unit: Option<Unit<'_>> = None;
    let mut last = None;
    let mut changed = false;
    let mut ahead = None;
    loop {
        let next = match ahead.take() {
            Some(event) => Some(event),
            None => events.recv().await,
        };
        let Some(event) = next else { break };
        let position = match write_event(context, table, &mut unit, event).await {
            Ok(None) => continue,
            Ok(Some(position)) => position,
            Err(failure) => {
                if let Some(unit) = unit {
                    unit.abort(&failure).await;
                }
                return Err(failure);
            }
        };
        if let Some(mut unit) = unit.take() {
            changed = true;
            if unit.has_deletes(table) {
                ahead = events.recv().await;
                // A unit that waited may need its deletes itself, for a row that they make way for.
                let follows = continues || table.search == Search::Due;
                if ahead.is_some() || (follows && !table.waited) {
                    unit.take_turn(Turn::More);
                }
            }
            table.chunk_rows = None;
            if table.refused == Refused::LeaveOut {
                unit.commit_rows(table).await?;
            } else {
                let phase = table.same_phase();
                unit.commit_watermark(table, position.clone(), phase)
                    .await?;
            }
            fail_point("window.unit_committed");
            if let Some(reason) = context.stop.reason() {
                return Err(reason);
            }
        }
        last = Some(position);
    }
    let last = last.ok_or_else(|| cut_off(table))?;
    Ok((last, changed))
}

/// The failure of a window that ended without a position.
pub(crate) fn cut_off(table: &TableRun) -> Failure {
    let message = format!(
        "the window of table `{}` ended without a position",
        table.stream()
    );
    let mut failure = Failure::new(exit_code::RETRY, message);
    failure.class = Some(ErrorClass::Connection);
    failure.retry = true;
    failure
}

/// Writes one event; begins a unit at the first row. Returns the position of a `Progress`.
async fn write_event<'a>(
    context: &'a RunContext,
    table: &mut TableRun,
    unit: &mut Option<Unit<'a>>,
    event: Result<ChangeEvent>,
) -> Result<Option<Position>, Failure> {
    let event = event?;
    if let ChangeEvent::Progress(position) = event {
        return Ok(Some(position));
    }
    let unit = match unit {
        Some(unit) => unit,
        None => {
            let start = context.watermark_unit(table);
            unit.insert(Unit::begin(&context.ends, start, table, UnitKind::Window).await?)
        }
    };
    write_rows(table, unit, event).await?;
    fail_point("window.batch");
    Ok(None)
}

/// Writes the rows of one event.
pub(crate) async fn write_rows(
    table: &mut TableRun,
    unit: &mut Unit<'_>,
    event: ChangeEvent,
) -> Result<(), Failure> {
    match event {
        ChangeEvent::Upserts(batch) => {
            table.count_read(&batch);
            unit.upsert(table, &batch, true).await
        }
        ChangeEvent::Deletes(keys) => {
            table.count_read(&keys);
            unit.delete(table, keys).await
        }
        ChangeEvent::Progress(_) => Ok(()),
        other => {
            let message = format!("the runner does not know the change {other:?}");
            Err(Failure::new(exit_code::FAILED, message))
        }
    }
}
