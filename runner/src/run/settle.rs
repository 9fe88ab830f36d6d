//! The end of a load: rows that are gone from the source are found and deleted.

use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::open::Ends;
use crate::run::context::RunContext;
use crate::run::rejects::key_columns;
use crate::run::table::TableRun;
use crate::run::unit::Unit;
use futures::StreamExt;
use syncset_connector::{
    BatchStream, Capture, ConnectorError, Digest, ErrorClass, KeyDigest, KeyRange, Position,
    Snapshot, StreamPhase, UnitStart, UnitStep, WatermarkMove, WindowState, WriteMode, WrittenBy,
};

/// Deletes target rows whose key the snapshot does not have and marks the stream as following.
///
/// Everything of the snapshot is at the target already (its chunks, and the window read in this
/// very snapshot), so equal counts and hashes mean equal keys; only otherwise keys are moved.
pub(crate) async fn settle(
    context: &RunContext,
    table: &mut TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
    position: Position,
) -> Result<(), Failure> {
    // A table that is replaced holds nothing else already.
    let may_hold_more = table.planned.deletes() && table.planned.write() == WriteMode::Upsert;
    let prunes = may_hold_more && differs(context, table, snapshot, slot).await?;
    fail_point("settle.compared");
    let start = context.watermark_unit(table);
    let mut unit = Unit::begin(&context.ends, start, table, UnitKind::Settle).await?;
    if prunes {
        let keys = selected_keys(table, snapshot, slot).await?;
        if let Err(failure) = unit.prune(table, keys).await {
            unit.abort(&failure).await;
            return Err(failure);
        }
    }
    unit.commit_watermark(table, position, StreamPhase::Following)
        .await
}

/// Settles tables in which nothing has changed since their load began and whose chunks brought
/// every row there is, in one unit: their places among the requests of the snapshot. The others
/// are settled one by one.
pub(crate) async fn settle_together(
    context: &RunContext,
    tables: &mut [TableRun],
    which: &[usize],
    snapshot: &mut dyn Snapshot,
) -> Result<Vec<usize>, Failure> {
    let mut ready: Vec<(usize, Position)> = Vec::new();
    for (slot, &index) in which.iter().enumerate() {
        let (table, window) = (&tables[index], &snapshot.windows()[slot]);
        if let WindowState::Unchanged(position) = &window.state
            && table.state().phase != StreamPhase::Following
            && table.open_chunks().next().is_none()
            && !window.continues
            && table.put_aside.is_empty()
            && table.planned.write() == WriteMode::Upsert
            && table.chunk_rows.is_some()
            && shows_every_change(&table.read.capture)
        {
            ready.push((slot, position.clone()));
        }
    }
    let slots: Vec<usize> = ready.iter().map(|(slot, _)| *slot).collect();
    if slots.len() < 2 {
        return Ok(Vec::new());
    }
    let counts = snapshot.row_counts(&slots).await?;
    let mut counts = counts.into_iter();
    ready.retain(|(slot, _)| tables[which[*slot]].chunk_rows == counts.next());
    let Some((first, _)) = ready.first() else {
        return Ok(Vec::new());
    };
    let streams = ready.iter().map(|(slot, _)| {
        let state = tables[which[*slot]].state();
        (state.stream.clone(), state.version)
    });
    let start = UnitStart {
        lease: context.lease.clone(),
        step: UnitStep::Watermarks(streams.collect()),
        into_empty: false,
        careful: false,
    };
    let first = &tables[which[*first]];
    let unit = Unit::begin(&context.ends, start, first, UnitKind::Together).await?;
    let moves = ready.iter().map(|(slot, position)| WatermarkMove {
        stream: tables[which[*slot]].state().stream.clone(),
        position: position.clone(),
        phase: StreamPhase::Following,
        whole: false,
    });
    unit.commit_together(moves.collect()).await?;
    for (slot, position) in &ready {
        let table = &mut tables[which[*slot]];
        let version = table.state().version + 1;
        table.moved(version, position.clone(), StreamPhase::Following);
    }
    Ok(ready.into_iter().map(|(slot, _)| slot).collect())
}

/// Whether the keys of both sides may differ. Both sides are asked at the same time.
async fn differs(
    context: &RunContext,
    table: &TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
) -> Result<bool, Failure> {
    if let Some(known) = known_without_keys(table, snapshot, slot).await? {
        return Ok(known);
    }
    let digest = comparable(&context.ends);
    let target = context.ends.target();
    let (source, target) = tokio::join!(
        snapshot.key_digest(slot, digest),
        target.key_digest(&table.planned.target, digest)
    );
    let some_are_missing = !table.put_aside.is_empty();
    Ok(digests_differ(&source?, &target?, some_are_missing))
}

/// What both sides can tell in the same way: a hash takes long, so nobody makes one that nobody can
/// compare.
fn comparable(ends: &Ends) -> Digest {
    match (ends.source().key_hash(), ends.target().key_hash()) {
        (Some(source), Some(target)) if source == target => Digest::Hash,
        _ => Digest::Count,
    }
}

/// What is known of that without comparing keys; `None`: they have to be compared.
async fn known_without_keys(
    table: &TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
) -> Result<Option<bool>, Failure> {
    if chunks_are_all(table, snapshot, slot).await? {
        return Ok(Some(false));
    }
    // The source cannot count what is selected here.
    let counts = table.planned.transform.keeps_all_rows();
    Ok((!counts).then_some(true))
}

/// The same for a unit that has written rows of the snapshot and is not committed.
pub(crate) async fn differs_within(
    unit: &mut Unit<'_>,
    table: &TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
) -> Result<bool, Failure> {
    if let Some(known) = known_without_keys(table, snapshot, slot).await? {
        return Ok(known);
    }
    let digest = comparable(unit.ends());
    let source = snapshot.key_digest(slot, digest).await?;
    let target = unit.key_digest(table, digest).await?;
    Ok(digests_differ(
        &source,
        &target,
        !table.put_aside.is_empty(),
    ))
}

/// Whether the rows that chunks read are all rows of the snapshot, so that the target holds no
/// others.
async fn chunks_are_all(
    table: &TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
) -> Result<bool, Failure> {
    if !shows_every_change(&table.read.capture) {
        return Ok(false);
    }
    let Some(rows) = table.chunk_rows else {
        return Ok(false);
    };
    Ok(snapshot.row_count(slot).await? == rows)
}

/// Whether an empty window proves that no row was written since the watermark before it.
///
/// Then every row of the snapshot was there before the first chunk was read, so it is at the
/// target, and equal counts leave no room for a row that is only at the target.
fn shows_every_change(capture: &Capture) -> bool {
    match capture {
        Capture::Xmin => true,
        Capture::Cursor(cursor) => cursor.written_by == Some(WrittenBy::Database),
        _ => false,
    }
}

/// `some_are_missing`: rows of the source wait as refused, so equal counts prove nothing.
fn digests_differ(source: &KeyDigest, target: &KeyDigest, some_are_missing: bool) -> bool {
    if source.row_count != target.row_count {
        return true;
    }
    match (&source.hash, &target.hash) {
        (Some((name, value)), Some((other_name, other))) if name == other_name => value != other,
        _ => some_are_missing,
    }
}

/// Keys of the rows that are selected, also by a condition that is evaluated here.
pub(crate) async fn selected_keys<'a>(
    table: &TableRun,
    snapshot: &'a mut dyn Snapshot,
    slot: usize,
) -> Result<BatchStream<'a>, Failure> {
    if table.planned.transform.keeps_all_rows() {
        return Ok(snapshot.read_keys(slot).await?);
    }
    let (planned, read) = (table.planned.clone(), table.read.clone());
    let rows = snapshot.read_chunk(slot, &KeyRange::all()).await?;
    let keys = rows.map(move |batch| {
        let batch = batch?;
        let applied = planned
            .transform
            .apply(&batch)
            .map_err(|error| ConnectorError::new(ErrorClass::RowRefused, error.to_string()))?;
        let keys = key_columns(&read, &batch)
            .map_err(|failure| ConnectorError::new(ErrorClass::Store, failure.message))?;
        let Some(dropped) = applied.dropped else {
            return Ok(keys);
        };
        let kept = dropped
            .iter()
            .map(|dropped| Some(dropped != Some(true)))
            .collect();
        Ok(arrow_select::filter::filter_record_batch(&keys, &kept)
            .expect("the mask is as long as the batch"))
    });
    Ok(keys.boxed())
}

/// The failure of a table whose load could not be settled in the rounds there are.
pub(crate) fn unsettled(table: &TableRun, reason: &str) -> Failure {
    let message = format!(
        "table `{}` has to be loaded again: {reason}",
        table.stream()
    );
    Failure::new(exit_code::RETRY, message).with_hint("run again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(row_count: u64, hash: Option<(&str, &str)>) -> KeyDigest {
        KeyDigest {
            row_count,
            hash: hash.map(|(name, value)| (name.into(), value.into())),
        }
    }

    #[test]
    fn digests_of_one_algorithm_compare_by_hash_others_by_count() {
        let differ = |left: &KeyDigest, right: &KeyDigest| digests_differ(left, right, false);

        assert!(differ(&digest(1, None), &digest(2, None)));
        assert!(differ(
            &digest(1, Some(("a", "x"))),
            &digest(1, Some(("a", "y")))
        ));
        assert!(!differ(
            &digest(1, Some(("a", "x"))),
            &digest(1, Some(("a", "x")))
        ));
        assert!(!differ(
            &digest(1, Some(("a", "x"))),
            &digest(1, Some(("b", "y")))
        ));
    }
}
