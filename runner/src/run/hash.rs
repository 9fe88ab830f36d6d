//! `capture: hash`: both sides are compared by the hashes of their rows, and what differs is read
//! again from the same snapshot and written.
//!
//! There is no watermark. A run that is killed leaves rows that are equal by then, and the next one
//! compares again.

use crate::check::{Aspect, Comparison, Differences, Mode};
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::report::{ComparedSides, Outcome};
use crate::run::context::RunContext;
use crate::run::differing;
use crate::run::retry_rejected::{of_table, retry_rejected};
use crate::run::table::TableRun;
use crate::run::unit::{Turn, Unit};
use crate::run::waiting::Refused;
use syncset_connector::{RejectedRow, Snapshot, SnapshotToken, StreamPhase};

/// Brings one table whose chunks are all there to a snapshot of the source that is opened here, or
/// is the shared one.
pub(crate) async fn bring(
    context: &RunContext,
    table: &mut TableRun,
    (shared, rejected): (Option<&SnapshotToken>, &[RejectedRow]),
) -> Result<Outcome, Failure> {
    let settling = table.state().phase != StreamPhase::Following;
    if settling && holds_one_snapshot(table) {
        let start = context.watermark_unit(table);
        let unit = Unit::begin(&context.ends, start, table, UnitKind::Settle).await?;
        let position = table.state().position.clone();
        unit.commit_watermark(table, position, StreamPhase::Following)
            .await?;
        return Ok(Outcome::Loaded);
    }
    table.stopped = None;
    let before = moved(table);
    let mut source = context.rows_of(table, shared).await?;
    let rejected = of_table(table, rejected);
    let tries = !table.begun_here && table.report.rows_rejected == 0;
    if !rejected.is_empty() && tries && table.refused != Refused::LeaveOut {
        retry_rejected(context, table, (source.as_mut(), 0), &rejected, Turn::More).await?;
    }
    let pending = table.pending_deletes;
    let written: Result<(), Failure> = async {
        let planned = table.planned.clone();
        let reader = context.ends.target_reader().await?;
        let comparison = reader.comparison(&planned, Aspect::Values).await?;
        let (mut source, found) = compare(context, table, &comparison, source).await?;
        let how = (&comparison, table.state().position.clone());
        differing::write(context, table, how, (source.as_mut(), &found)).await?;
        source.close().await;
        Ok(())
    }
    .await;
    if let Err(failure) = written {
        // What was taken out of the pending deletes is rolled back with its unit.
        table.pending_deletes = table.pending_deletes.max(pending);
        return Err(failure);
    }
    Ok(match moved(table) > before {
        _ if settling => Outcome::Loaded,
        true => Outcome::Followed,
        false => Outcome::Unchanged,
    })
}

/// Compares one table as part of a unit that other tables' rows belong to, and writes what differs.
pub(crate) async fn write_into(
    context: &RunContext,
    table: &mut TableRun,
    unit: &mut Unit<'_>,
) -> Result<(), Failure> {
    let planned = table.planned.clone();
    let source = context.rows_of(table, None).await?;
    let reader = context.ends.target_reader().await?;
    let comparison = reader.comparison(&planned, Aspect::Values).await?;
    let (mut source, found) = compare(context, table, &comparison, source).await?;
    differing::write_into(table, unit, (source.as_mut(), &found)).await?;
    source.close().await;
    Ok(())
}

/// Compares the rows of a snapshot with those of the target, and counts what left the source.
pub(crate) async fn compare(
    context: &RunContext,
    table: &mut TableRun,
    comparison: &Comparison<'_>,
    source: Box<dyn Snapshot>,
) -> Result<(Box<dyn Snapshot>, Differences), Failure> {
    let (source, found) = tokio::select! {
        compared = comparison.differences(source) => compared?,
        reason = context.stop.requested() => return Err(reason),
    };
    fail_point("hash.compared");
    count(table, &found);
    Ok((source, found))
}

/// Counts what left the source for a comparison.
pub(crate) fn count(table: &mut TableRun, found: &Differences) {
    table.report.compared = Some(ComparedSides {
        mode: found.mode,
        rows_source: found.rows_source,
        rows_target: found.rows_target,
        source_hash: found.source.clone(),
    });
    if found.mode == Mode::Stream {
        table.report.rows_read += found.rows_source;
        table.report.bytes_read += found.bytes_read;
        table.progress.advance(found.rows_source, found.bytes_read);
    }
}

/// Whether the target holds the rows of one snapshot that this run has read, and no others: those of
/// the only chunk, sent into an empty table.
fn holds_one_snapshot(table: &TableRun) -> bool {
    table.begun_here
        && table.chunk_rows.is_some()
        && table.put_aside.is_empty()
        && table.state().chunks.len() == 1
}

fn moved(table: &TableRun) -> u64 {
    let report = &table.report;
    report.rows_written + report.rows_deleted + report.rows_rejected
}
