//! `consistency: pipeline`: what changed in all tables, read from one snapshot and committed in
//! one transaction.
//!
//! Chunks of loads are committed as always; a table that is loaded joins the others in the
//! transaction that settles it. A table that fails stops all of them.

use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::report::Outcome;
use crate::run::context::RunContext;
use crate::run::follow::{self, IDLE_STORE_SECONDS, cut_off};
use crate::run::pump::pump;
use crate::run::retry::{self, ATTEMPTS_MAX};
use crate::run::retry_rejected::{of_table, retry_rejected};
use crate::run::rounds::{self, RELOAD_ROUNDS_MAX, ROUNDS_MAX, Work};
use crate::run::settle::{differs_within, selected_keys, unsettled};
use crate::run::table::TableRun;
use crate::run::together::write_window;
use crate::run::unit::{Turn, Unit};
use crate::stop::seconds_since_epoch;
use std::sync::Arc;
use syncset_connector::{
    ErrorClass, KeyRange, Position, RejectedRow, Snapshot, SnapshotRequest, StreamPhase, UnitStart,
    UnitStep, WatermarkMove, Window, WindowState, WriteMode,
};

/// Loads what has to be loaded, then brings all tables to one snapshot at once.
pub(crate) async fn run(
    context: &RunContext,
    tables: &mut [TableRun],
    mut work: Work,
    rejected: &[RejectedRow],
) {
    if hold_back(tables) {
        return;
    }
    let is_new = |table: &TableRun| {
        let stored = table.stored.as_ref();
        stored.is_none_or(|stored| {
            // The same selection of a table that is another one by now is told otherwise.
            stored.selection != table.read.selection
                || stored.selection_text.as_ref() != Some(&table.planned.plan.selection_text)
        })
    };
    let whole = std::mem::take(&mut work.whole).into_iter();
    let new: Vec<usize> = whole.filter(|&index| is_new(&tables[index])).collect();
    rounds::begin_loads(context, tables, &new).await;
    work.follow.clear();
    for round in 0..=RELOAD_ROUNDS_MAX {
        load(context, tables, std::mem::take(&mut work)).await;
        if hold_back(tables) {
            return;
        }
        let reload = write(context, tables, rejected).await;
        if reload.is_empty() {
            return;
        }
        for (index, reason) in reload {
            if round == RELOAD_ROUNDS_MAX {
                let failure = unsettled(&tables[index], &reason);
                tables[index].fail(failure);
                continue;
            }
            let warnings = &mut tables[index].report.warnings;
            warnings.push(format!("loading it again: {reason}"));
            work.load.push(index);
        }
    }
    hold_back(tables);
}

/// Fails every table if one has failed. True if one has.
fn hold_back(tables: &mut [TableRun]) -> bool {
    let Some(culprit) = tables.iter().find(|table| table.has_failed()) else {
        return false;
    };
    let name = culprit.stream().to_owned();
    let exit_code = culprit.report.exit_code;
    for table in tables.iter_mut().filter(|table| !table.has_failed()) {
        let message = format!(
            "table `{}` was held back: table `{name}` failed, and the changes of all tables are committed together",
            table.stream()
        );
        let hint = format!(
            "mend `{name}` and run again; with `consistency: table` each table commits by itself"
        );
        table.fail(Failure::new(exit_code, message).with_hint(hint));
    }
    true
}

/// Copies chunks as long as that helps. Chunks that still wait then, for rows of tables that have
/// been loaded before, are written with all changes.
async fn load(context: &RunContext, tables: &mut [TableRun], mut work: Work) {
    for _ in 0..ROUNDS_MAX {
        let done_before = chunks_done(tables);
        let waiting = rounds::load_tables(context, tables, &work).await;
        if waiting.is_empty() || chunks_done(tables) == done_before {
            return;
        }
        work = Work {
            resume: waiting.into_iter().collect(),
            ..Work::default()
        };
        work.resume.retain(|&index| !tables[index].has_failed());
    }
}

fn chunks_done(tables: &[TableRun]) -> usize {
    let chunks = tables.iter().flat_map(|table| &table.stored);
    let chunks = chunks.flat_map(|stored| &stored.chunks);
    chunks.filter(|chunk| chunk.done).count()
}

/// What came of one attempt.
enum Written {
    /// All tables are at the snapshot; per table what was done.
    Done(Vec<Outcome>),
    /// Tables to load again first, with the reason.
    Reload(Vec<(usize, String)>),
    /// Tables with windows that were cut when each table committed by itself. They end in
    /// snapshots of their own.
    Cut(Vec<usize>),
}

/// A failed attempt, and the table it failed at if it was one.
struct Stopped(Option<usize>, Failure);

impl<T: Into<Failure>> From<T> for Stopped {
    fn from(failure: T) -> Self {
        Self(None, failure.into())
    }
}

/// Writes all tables, again while that is worth it. Returns those to load again.
async fn write(
    context: &RunContext,
    tables: &mut [TableRun],
    rejected: &[RejectedRow],
) -> Vec<(usize, String)> {
    let (mut attempts, mut careful) = (0, false);
    loop {
        if let Some(reason) = context.stop.reason() {
            tables
                .iter_mut()
                .for_each(|table| table.fail(reason.clone()));
            return Vec::new();
        }
        tokio::time::sleep(retry::pause(attempts)).await;
        // An attempt that fails has counted nothing and moved nothing.
        let mut parts: Vec<TableRun> = tables.iter().map(TableRun::part).collect();
        parts.iter_mut().for_each(|part| part.careful = careful);
        let tried = attempt(context, &mut parts, rejected).await;
        for (table, part) in tables.iter_mut().zip(&parts) {
            table.pending_deletes = match &tried {
                Ok(Written::Done(_)) => part.pending_deletes,
                _ => table.pending_deletes.max(part.pending_deletes),
            };
        }
        let Stopped(culprit, failure) = match tried {
            Ok(Written::Done(outcomes)) => {
                for ((table, part), outcome) in tables.iter_mut().zip(parts).zip(outcomes) {
                    table.absorb(&part);
                    table.take_warnings(part.report.warnings);
                    table.stored = part.stored;
                    table.done(outcome);
                }
                return Vec::new();
            }
            Ok(Written::Reload(reload)) => return reload,
            Ok(Written::Cut(cut)) if attempts + 1 < ATTEMPTS_MAX => {
                attempts += 1;
                let left = follow::follow(context, tables, &cut, rejected).await;
                if hold_back(tables) || !left.reload.is_empty() {
                    return left.reload;
                }
                continue;
            }
            Ok(Written::Cut(cut)) => {
                let reason = "a window that was cut does not come to its end";
                Stopped(cut.first().copied(), unsettled(&tables[cut[0]], reason))
            }
            Err(stopped) => stopped,
        };
        let refused = failure.is(ErrorClass::RowRefused) || failure.is(ErrorClass::RowParked);
        if refused && !careful {
            // Once more, row by row, to name the one that is refused.
            careful = true;
            continue;
        }
        if failure.retry && attempts + 1 < ATTEMPTS_MAX {
            attempts += 1;
            continue;
        }
        match culprit {
            Some(index) => tables[index].fail(failure),
            None => tables
                .iter_mut()
                .for_each(|table| table.fail(failure.clone())),
        }
        hold_back(tables);
        return Vec::new();
    }
}

/// What one table needs in a snapshot.
#[derive(Debug, PartialEq)]
enum Need {
    /// Nothing: no row has changed up to this position.
    Nothing(Position),
    /// Its load is over and no row has changed since: only rows that are gone may be left.
    Settle(Position),
    /// Only deletes that wait for the guard.
    Deletes(Position),
    /// Its window.
    Window,
    /// All its rows.
    Whole,
}

impl Need {
    fn of(table: &TableRun, window: &Window) -> Self {
        if !table.read.capture.has_windows() || table.open_chunks().next().is_some() {
            return Self::Whole;
        }
        match &window.state {
            WindowState::Unchanged(position) if is_settling(table) => {
                Self::Settle(position.clone())
            }
            WindowState::Unchanged(position) if table.has_pending_deletes() => {
                Self::Deletes(position.clone())
            }
            WindowState::Unchanged(position) => Self::Nothing(position.clone()),
            _ => Self::Window,
        }
    }
}

fn is_settling(table: &TableRun) -> bool {
    table.state().phase != StreamPhase::Following
}

async fn attempt(
    context: &RunContext,
    tables: &mut [TableRun],
    rejected: &[RejectedRow],
) -> Result<Written, Stopped> {
    let request = |table: &TableRun| SnapshotRequest {
        read: table.read.clone(),
        from: table
            .read
            .capture
            .has_windows()
            .then(|| table.state().position.clone()),
    };
    let requests: Vec<_> = tables.iter().map(request).collect();
    let source = context.ends.source();
    let mut snapshot = source.open_snapshot(&requests, None).await?;
    let windows = snapshot.windows().to_vec();
    let (mut reload, mut cut) = (Vec::new(), Vec::new());
    for (index, (table, window)) in tables.iter_mut().zip(&windows).enumerate() {
        table.take_warnings(window.warnings.clone());
        match &window.state {
            WindowState::Reload { reason } if table.read.capture.has_windows() => {
                reload.push((index, reason.clone()));
            }
            _ if window.continues => cut.push(index),
            _ => {}
        }
    }
    if !reload.is_empty() {
        return Ok(Written::Reload(reload));
    }
    if !cut.is_empty() {
        return Ok(Written::Cut(cut));
    }
    for (slot, table) in tables.iter_mut().enumerate() {
        // Rows that were put aside when each table committed by itself.
        let rows = of_table(table, rejected);
        if !rows.is_empty() && !table.begun_here {
            let retried =
                retry_rejected(context, table, (snapshot.as_mut(), slot), &rows, Turn::Last).await;
            retried.map_err(|failure| Stopped(Some(slot), failure))?;
        }
    }
    let needs: Vec<Need> = tables
        .iter()
        .zip(&windows)
        .map(|(table, window)| Need::of(table, window))
        .collect();
    if needs.iter().all(|need| matches!(need, Need::Nothing(_))) {
        store_idle(context, tables, &needs).await;
    } else {
        write_all(context, tables, &needs, snapshot.as_mut()).await?;
    }
    snapshot.close().await;
    let outcomes = tables.iter().zip(&needs);
    Ok(Written::Done(
        outcomes.map(|(table, need)| outcome(table, need)).collect(),
    ))
}

/// What is reported of a table that was written.
fn outcome(table: &TableRun, need: &Need) -> Outcome {
    let report = &table.report;
    let quiet = report.rows_written + report.rows_deleted == 0;
    match need {
        Need::Nothing(_) => Outcome::Unchanged,
        Need::Deletes(_) => Outcome::Followed,
        Need::Settle(_) => Outcome::Loaded,
        Need::Whole if quiet => Outcome::Unchanged,
        Need::Whole => Outcome::Loaded,
        // A table that has just been loaded counts what its chunks brought elsewhere.
        Need::Window if table.begun_here => Outcome::Loaded,
        Need::Window if report.rows_read == 0 => Outcome::Unchanged,
        Need::Window => Outcome::Followed,
    }
}

/// Stores watermarks that have only moved, now and then.
async fn store_idle(context: &RunContext, tables: &[TableRun], needs: &[Need]) {
    let mut moves = Vec::new();
    for (table, need) in tables.iter().zip(needs) {
        let state = table.state();
        let is_old = seconds_since_epoch() - state.updated_at >= IDLE_STORE_SECONDS;
        if let Need::Nothing(position) = need
            && is_old
        {
            moves.push((state.stream.clone(), state.version, position.clone()));
        }
    }
    if !moves.is_empty()
        && let Err(error) = context.ends.state().move_idle(&context.lease, &moves).await
    {
        // The older watermark is as right as the newer one.
        tracing::warn!(%error, "could not store the watermarks of unchanged tables");
    }
}

/// Writes and commits everything that tables need, in one unit.
async fn write_all(
    context: &RunContext,
    tables: &mut [TableRun],
    needs: &[Need],
    snapshot: &mut dyn Snapshot,
) -> Result<(), Stopped> {
    let written = |slot: &usize| !matches!(needs[*slot], Need::Nothing(_));
    let slots: Vec<usize> = (0..tables.len()).filter(written).collect();
    let streams = slots.iter().map(|&slot| {
        let state = tables[slot].state();
        (state.stream.clone(), state.version)
    });
    let start = UnitStart {
        lease: context.lease.clone(),
        step: UnitStep::Watermarks(streams.collect()),
        into_empty: false,
        careful: tables.iter().any(|table| table.careful),
    };
    let first = &tables[slots[0]];
    let mut unit = Unit::begin(&context.ends, start, first, UnitKind::Together).await?;
    if tables.iter().any(|table| table.pending_deletes > 0) {
        unit.heed_pending();
    }
    let positions = match fill(context, tables, needs, snapshot, &mut unit).await {
        Ok(positions) => positions,
        Err(stopped) => {
            unit.abort(&stopped.1).await;
            return Err(stopped);
        }
    };
    if let Err((refused, failure)) = unit.retry_waiting().await {
        unit.abort(&failure).await;
        let is_its = |planned: &_| {
            let same = |table: &TableRun| Arc::ptr_eq(&table.planned, planned);
            tables.iter().position(same)
        };
        return Err(Stopped(refused.as_ref().and_then(is_its), failure));
    }
    let moves = slots.iter().map(|&slot| WatermarkMove {
        stream: tables[slot].state().stream.clone(),
        position: positions[slot].clone(),
        phase: StreamPhase::Following,
        whole: needs[slot] == Need::Whole,
    });
    let losses = unit.take_losses();
    let done = unit.commit_together(moves.collect()).await?;
    for slot in slots {
        let table = &mut tables[slot];
        table.count_lost(&losses);
        let mut receipts = done.iter();
        if let Some((_, receipt)) = receipts.find(|(name, _)| *name == table.planned.target.name) {
            table.count_written(*receipt);
        }
        let version = table.state().version + 1;
        table.moved(version, positions[slot].clone(), StreamPhase::Following);
    }
    Ok(())
}

/// Writes rows of all tables, parents first, and deletes those that are gone, children first.
/// Returns the position of each table.
async fn fill(
    context: &RunContext,
    tables: &mut [TableRun],
    needs: &[Need],
    snapshot: &mut dyn Snapshot,
    unit: &mut Unit<'_>,
) -> Result<Vec<Position>, Stopped> {
    let mut positions = Vec::with_capacity(tables.len());
    for (slot, (table, need)) in tables.iter_mut().zip(needs).enumerate() {
        let started = table.start_clock();
        let written = async {
            let position = write_table(context, table, need, (&mut *snapshot, slot), unit).await?;
            unit.ask_for(table).await?;
            Ok(position)
        };
        let written = written.await;
        table.count_time(started);
        positions.push(written.map_err(|failure| Stopped(Some(slot), failure))?);
    }
    let whole = tables
        .iter()
        .zip(needs)
        .filter(|(_, need)| **need == Need::Whole);
    let whole: Vec<&TableRun> = whole.map(|(table, _)| table).collect();
    unit.replace(&whole).await?;
    for (slot, (table, need)) in tables.iter_mut().zip(needs).enumerate().rev() {
        if table.planned.write() == WriteMode::Replace {
            continue;
        }
        let searched = match need {
            Need::Nothing(_) | Need::Deletes(_) => false,
            Need::Whole => true,
            Need::Settle(_) | Need::Window => is_settling(table),
        };
        if searched && table.planned.deletes() {
            let deleted = delete_gone(table, (&mut *snapshot, slot), unit).await;
            deleted.map_err(|failure| Stopped(Some(slot), failure))?;
        }
    }
    Ok(positions)
}

/// Writes what one table needs; the position it is at then.
async fn write_table(
    context: &RunContext,
    table: &mut TableRun,
    need: &Need,
    (snapshot, slot): (&mut dyn Snapshot, usize),
    unit: &mut Unit<'_>,
) -> Result<Position, Failure> {
    match need {
        Need::Nothing(position) | Need::Deletes(position) | Need::Settle(position) => {
            Ok(position.clone())
        }
        Need::Window => {
            let last = write_window(context, table, (snapshot, slot), unit).await?;
            if table.report.rows_read > 0 {
                table.chunk_rows = None;
            }
            last.ok_or_else(|| cut_off(table))
        }
        Need::Whole => {
            table.chunk_rows = None;
            let rows = snapshot.read_chunk(slot, &KeyRange::all()).await?;
            pump(rows, &context.stop, async |mut batches| {
                while let Some(batch) = batches.recv().await {
                    let batch = batch?;
                    table.count_read(&batch);
                    unit.upsert(table, &batch, false).await?;
                }
                Ok(())
            })
            .await?;
            if table.read.capture.has_windows() {
                // Its window is read again from where its load began.
                return Ok(table.state().position.clone());
            }
            Ok(Position(serde_json::Value::Null))
        }
    }
}

/// Deletes rows whose key the snapshot does not have.
async fn delete_gone(
    table: &mut TableRun,
    (snapshot, slot): (&mut dyn Snapshot, usize),
    unit: &mut Unit<'_>,
) -> Result<(), Failure> {
    if !differs_within(unit, table, snapshot, slot).await? {
        return Ok(());
    }
    let keys = selected_keys(table, snapshot, slot).await?;
    unit.prune(table, keys).await
}
