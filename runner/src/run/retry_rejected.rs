//! Rows that were refused before are read again and tried again, first thing in a run.

use crate::failure::Failure;
use crate::run::context::RunContext;
use crate::run::rejects::keys_batch;
use crate::run::table::TableRun;
use crate::run::unit::Unit;
use futures::TryStreamExt;
use syncset_connector::{RejectedRow, Snapshot};

/// Writes refused rows as they are at the source, in a unit of their own that leaves the
/// watermark where it is. Rows that are gone or no longer selected are forgotten.
pub(crate) async fn retry_rejected(
    context: &RunContext,
    table: &mut TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
    rejected: &[RejectedRow],
) -> Result<(), Failure> {
    let keys = keys_batch(&table.read, rejected)?;
    let batches: Vec<_> = snapshot.read_rows(slot, &keys).await?.try_collect().await?;
    table.rejected_before = 0;
    let mut start = context.watermark_unit(table);
    start.careful = true;
    let mut unit = Unit::begin(&context.ends, start, table).await?;
    let written = async {
        let keys: Vec<_> = rejected.iter().map(|row| row.key.clone()).collect();
        unit.forget_rejected(table.stream(), &keys).await?;
        for batch in &batches {
            unit.upsert(table, batch, true).await?;
        }
        Ok(())
    };
    let written: Result<(), Failure> = written.await;
    if let Err(failure) = written {
        unit.abort().await;
        return Err(failure);
    }
    let (position, phase) = (table.state().position.clone(), table.same_phase());
    unit.commit_watermark(table, position, phase).await
}
