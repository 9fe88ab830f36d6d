//! Rows of tables that wait for each other, written in one transaction.

use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::run::context::RunContext;
use crate::run::follow::write_rows;
use crate::run::hash;
use crate::run::pump::pump;
use crate::run::table::TableRun;
use crate::run::unit::Unit;
use syncset_connector::{
    Capture, ChangeEvent, Position, Snapshot, SnapshotRequest, WindowState, WriteMode,
};

/// Writes all rows of the tables' waiting units in one unit that moves no watermark: rows that
/// need each other pass where the target checks their keys at its end. The units themselves then
/// find their rows there. A failure costs nothing: every table has its own turn afterwards.
pub(crate) async fn write(context: &RunContext, tables: &mut [TableRun], which: &[usize]) {
    // What is appended without its progress would be appended again.
    let is_repeatable = |index: &&usize| tables[**index].planned.write() != WriteMode::Append;
    let mut which: Vec<usize> = which.iter().filter(is_repeatable).copied().collect();
    which.sort_unstable();
    let Some(&first) = which.first() else {
        return;
    };
    let pending: Vec<u64> = tables.iter().map(|table| table.pending_deletes).collect();
    if let Err(failure) = try_write(context, tables, &which, first).await {
        for (table, pending) in tables.iter_mut().zip(pending) {
            table.pending_deletes = table.pending_deletes.max(pending);
        }
        tracing::debug!(error = %failure.message, "waiting tables cannot be written together");
    }
}

async fn try_write(
    context: &RunContext,
    tables: &mut [TableRun],
    which: &[usize],
    first: usize,
) -> Result<(), Failure> {
    let request = |&index: &usize| {
        let table = &tables[index];
        SnapshotRequest {
            read: table.read.clone(),
            from: has_window(table).then(|| table.state().position.clone()),
        }
    };
    let requests: Vec<_> = which.iter().map(request).collect();
    let source = context.ends.source();
    let mut snapshot = source.open_snapshot(&requests, None).await?;
    let mut start = context.watermark_unit(&tables[first]);
    start.careful = false;
    let mut unit = Unit::begin(&context.ends, start, &tables[first], UnitKind::Together).await?;
    if which.iter().any(|&index| tables[index].pending_deletes > 0) {
        unit.heed_pending();
    }
    for (slot, &index) in which.iter().enumerate() {
        let table = &mut tables[index];
        table.chunk_rows = None;
        let written = async {
            write_table(context, table, (snapshot.as_mut(), slot), &mut unit).await?;
            unit.decide_for(table).await
        };
        if let Err(failure) = written.await {
            unit.abort(&failure).await;
            return Err(failure);
        }
    }
    let replaced: Vec<&TableRun> = which.iter().map(|&index| &tables[index]).collect();
    if let Err(failure) = unit.replace(&replaced).await {
        unit.abort(&failure).await;
        return Err(failure);
    }
    // The store counts rows per unit: those of all tables are counted with the first.
    let losses = unit.take_losses();
    unit.commit_rows(&mut tables[first]).await?;
    for &index in which {
        tables[index].count_lost(&losses);
    }
    snapshot.close().await;
    Ok(())
}

/// Writes a whole window as part of a unit. Returns its last position.
pub(crate) async fn write_window(
    context: &RunContext,
    table: &mut TableRun,
    (snapshot, slot): (&mut dyn Snapshot, usize),
    unit: &mut Unit<'_>,
) -> Result<Option<Position>, Failure> {
    let changes = snapshot.read_changes(slot, u64::MAX).await?;
    pump(changes, &context.stop, async |mut events| {
        let mut last = None;
        while let Some(event) = events.recv().await {
            match event? {
                ChangeEvent::Progress(position) => last = Some(position),
                event => write_rows(table, unit, event).await?,
            }
            fail_point("window.batch");
        }
        Ok(last)
    })
    .await
}

/// Whether a table waits with a window rather than with chunks.
fn has_window(table: &TableRun) -> bool {
    table.read.capture.has_windows() && table.open_chunks().next().is_none()
}

/// Writes what one table waits with: its window, or the chunks that are not done.
async fn write_table(
    context: &RunContext,
    table: &mut TableRun,
    (snapshot, slot): (&mut dyn Snapshot, usize),
    unit: &mut Unit<'_>,
) -> Result<(), Failure> {
    if has_window(table) {
        if snapshot.windows()[slot].state != WindowState::Changed {
            return Ok(());
        }
        return write_window(context, table, (snapshot, slot), unit)
            .await
            .map(drop);
    }
    if table.read.capture == Capture::Hash && table.open_chunks().next().is_none() {
        return hash::write_into(context, table, unit).await;
    }
    let ranges: Vec<_> = table
        .open_chunks()
        .map(|chunk| chunk.range.clone())
        .collect();
    for range in &ranges {
        let rows = snapshot.read_chunk(slot, range).await?;
        pump(rows, &context.stop, async |mut batches| {
            while let Some(batch) = batches.recv().await {
                write_rows(table, unit, ChangeEvent::Upserts(batch?)).await?;
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}
