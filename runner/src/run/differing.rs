//! Rows that differ between a snapshot of the source and the target: read again from that snapshot
//! and written, those that only the target has deleted.

use crate::check::{Comparison, Differences, DifferingRows};
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::run::context::RunContext;
use crate::run::guard::Guard;
use crate::run::pump::pump;
use crate::run::rejects::key_texts;
use crate::run::settle::settle;
use crate::run::table::TableRun;
use crate::run::unit::{Turn, Unit};
use crate::run::waiting::Refused;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::StreamExt;
use syncset_connector::{KeyRange, Position, Snapshot, StreamPhase};

/// Keys that one statement looks for.
const KEYS_MAX: usize = 1_000;

/// Makes the target hold the rows of the snapshot, which was compared with it, and stores a position
/// with the last of them. A load whose chunks are done is settled by it.
pub(crate) async fn write(
    context: &RunContext,
    table: &mut TableRun,
    (comparison, position): (&Comparison<'_>, Position),
    (source, found): (&mut dyn Snapshot, &Differences),
) -> Result<(), Failure> {
    match &found.rows {
        DifferingRows::Named { ours, gone } => {
            let ours = without_refused(table, ours)?;
            let gone = table.planned.deletes().then_some(gone);
            let gone = gone.filter(|gone| gone.num_rows() > 0);
            if found.rows_source == 0
                && let Some(gone) = gone
            {
                let guard = Guard::of(table, &context.ends.key.pipeline);
                if let Some(stopped) = guard.stop_empty(gone.num_rows() as u64) {
                    return Err(stopped);
                }
            }
            let settling = table.state().phase != StreamPhase::Following;
            let idle = ours.num_rows() == 0 && gone.is_none() && table.pending_deletes == 0;
            if idle && !settling && position == table.state().position {
                return Ok(());
            }
            let units = Units::begin(context, table).await?;
            let units = units.delete(table, gone).await?;
            let units = upsert_named(units, table, &ours, source).await?;
            units.end(table, position).await
        }
        DifferingRows::Many(many) => {
            let units = Units::begin(context, table).await?;
            let units = units.delete(table, None).await?;
            let rows = source.read_chunk(0, &KeyRange::all()).await?;
            let read = table.read.clone();
            let units = pump(rows, &context.stop, async |mut batches| {
                let mut units = units;
                while let Some(batch) = batches.recv().await {
                    let rows = comparison.within(&read, &batch?, many)?;
                    units = units.upsert(table, &rows).await?;
                }
                Ok(units)
            })
            .await?;
            units.rows_done(table).await?;
            if table.refused == Refused::LeaveOut {
                return Ok(());
            }
            // All rows of the snapshot are at the target, so counts tell whether it has others.
            settle(context, table, source, 0, position).await
        }
    }
}

/// The same as part of a unit that other tables' rows belong to, as far as rows can be named.
pub(crate) async fn write_into(
    table: &mut TableRun,
    unit: &mut Unit<'_>,
    (source, found): (&mut dyn Snapshot, &Differences),
) -> Result<(), Failure> {
    let DifferingRows::Named { ours, gone } = &found.rows else {
        return Ok(());
    };
    unit.forget_pending(table).await?;
    unit.delete(table, gone.clone()).await?;
    let ours = without_refused(table, ours)?;
    for some in slices(&ours) {
        let mut rows = source.read_rows(0, &some).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            table.count_read(&batch);
            unit.upsert(table, &batch, false).await?;
        }
    }
    Ok(())
}

/// Units that are cut by size. Nothing but the rows tells how far they are: what is committed is
/// equal when both sides are compared again.
struct Units<'a> {
    context: &'a RunContext,
    unit: Unit<'a>,
    /// Bytes of the rows of the unit.
    bytes: u64,
}

impl<'a> Units<'a> {
    async fn begin(context: &'a RunContext, table: &TableRun) -> Result<Self, Failure> {
        let start = context.watermark_unit(table);
        Ok(Self {
            context,
            unit: Unit::begin(&context.ends, start, table, UnitKind::Differences).await?,
            bytes: 0,
        })
    }

    /// Stages the keys of rows that are gone, and nothing that was pending before: what is still to
    /// be deleted was found again.
    async fn delete(
        mut self,
        table: &mut TableRun,
        gone: Option<&RecordBatch>,
    ) -> Result<Self, Failure> {
        let staged = async {
            self.unit.forget_pending(table).await?;
            match gone {
                Some(gone) => self.unit.delete(table, gone.clone()).await,
                None => Ok(()),
            }
        };
        match staged.await {
            Ok(()) => Ok(self),
            Err(failure) => Err(self.aborted(failure).await),
        }
    }

    /// Writes rows as they came from the source.
    async fn upsert(mut self, table: &mut TableRun, rows: &RecordBatch) -> Result<Self, Failure> {
        if rows.num_rows() == 0 {
            return Ok(self);
        }
        if let Err(failure) = self.unit.upsert(table, rows, false).await {
            return Err(self.aborted(failure).await);
        }
        self.bytes += rows.get_array_memory_size() as u64;
        fail_point("hash.batch");
        // Rows that waited may need each other.
        if self.bytes < self.context.unit_bytes || table.waited {
            return Ok(self);
        }
        let context = self.context;
        self.rows_done(table).await?;
        if let Some(reason) = context.stop.reason() {
            return Err(reason);
        }
        Self::begin(context, table).await
    }

    /// Commits rows of which more follow: deletes wait for the last unit.
    async fn rows_done(mut self, table: &mut TableRun) -> Result<(), Failure> {
        self.unit.take_turn(Turn::More);
        self.unit.commit_rows(table).await?;
        fail_point("hash.unit_committed");
        Ok(())
    }

    /// Commits the last unit with this position.
    ///
    /// # Errors
    /// The guard's, if it does not agree to the deletes: they are pending then.
    async fn end(self, table: &mut TableRun, position: Position) -> Result<(), Failure> {
        if table.refused == Refused::LeaveOut {
            return self.unit.commit_rows(table).await;
        }
        self.unit
            .commit_watermark(table, position, StreamPhase::Following)
            .await?;
        table.stopped.clone().map_or(Ok(()), Err)
    }

    async fn aborted(self, failure: Failure) -> Failure {
        self.unit.abort(&failure).await;
        failure
    }
}

async fn upsert_named<'a>(
    mut units: Units<'a>,
    table: &mut TableRun,
    ours: &RecordBatch,
    source: &mut dyn Snapshot,
) -> Result<Units<'a>, Failure> {
    for some in slices(ours) {
        let mut rows = source.read_rows(0, &some).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            table.count_read(&batch);
            units = units.upsert(table, &batch).await?;
        }
    }
    Ok(units)
}

fn slices(keys: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let begins = (0..keys.num_rows()).step_by(KEYS_MAX);
    begins.map(|begin| keys.slice(begin, KEYS_MAX.min(keys.num_rows() - begin)))
}

/// Keys but for those of rows that were refused and wait: they were tried already.
fn without_refused(table: &TableRun, keys: &RecordBatch) -> Result<RecordBatch, Failure> {
    if table.put_aside.is_empty() {
        return Ok(keys.clone());
    }
    let texts = key_texts(keys)?;
    let mask: BooleanArray = texts
        .iter()
        .map(|text| Some(!table.put_aside.contains(text)))
        .collect();
    Ok(filter_record_batch(keys, &mask).expect("the mask is as long as the batch"))
}
