//! Rows that were refused before are read again and tried again: first thing in a run, and once
//! more at its end.

use crate::exit_code;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::report::Outcome;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::rejects::keys_batch;
use crate::run::rounds::Work;
use crate::run::table::TableRun;
use crate::run::unit::{Turn, Unit};
use crate::run::waiting::Refused;
use crate::run::{full, retry};
use futures::TryStreamExt;
use syncset_connector::{RejectedRow, Snapshot, SnapshotRequest};

/// Writes refused rows as they are at the source, in a unit of their own that leaves the
/// watermark where it is. Rows that are gone or no longer selected are forgotten.
pub(crate) async fn retry_rejected(
    context: &RunContext,
    table: &mut TableRun,
    (snapshot, slot): (&mut dyn Snapshot, usize),
    rejected: &[RejectedRow],
    turn: Turn,
) -> Result<(), Failure> {
    let keys = keys_batch(&table.read, rejected)?;
    let batches: Vec<_> = snapshot.read_rows(slot, &keys).await?.try_collect().await?;
    table.put_aside.clear();
    let mut start = context.watermark_unit(table);
    start.careful = true;
    let unit = Unit::begin(&context.ends, start, table, UnitKind::RejectedRows).await?;
    let mut unit = unit.counting();
    unit.take_turn(turn);
    let written = async {
        unit.tries_again(rejected.iter().map(|row| row.key.clone()).collect());
        for batch in &batches {
            unit.upsert(table, batch, true).await?;
        }
        Ok(())
    };
    let written: Result<(), Failure> = written.await;
    if let Err(failure) = written {
        unit.abort(&failure).await;
        return Err(failure);
    }
    unit.commit_rows(table).await
}

/// Tries what still waits once more after all tables had their turn: one of them may have brought
/// what was missing. A failure here costs nothing, as the rows stay stored for the next run.
pub(crate) async fn once_more(context: &RunContext, tables: &mut [TableRun]) {
    let has_rejects = |table: &&mut TableRun| {
        let follows = table.read.capture.heals_loads();
        follows && !table.put_aside.is_empty() && !table.has_failed()
    };
    let mut tables: Vec<&mut TableRun> = tables.iter_mut().filter(has_rejects).collect();
    if tables.is_empty() || context.stop.reason().is_some() {
        return;
    }
    let rejected = match context.ends.state().load(&context.ends.key, 0).await {
        Ok(state) => state.rejected,
        Err(error) => {
            tracing::warn!(%error, "could not read the rejected rows again");
            return;
        }
    };
    for table in &mut tables {
        let rows = of_table(table, &rejected);
        let counted = std::mem::take(&mut table.report.rows_rejected);
        if let Err(failure) = read_and_retry(context, table, &rows).await {
            table.report.rows_rejected = counted;
            tracing::warn!(table = table.stream(), error = %failure.message, "could not try rejected rows again");
        } else if let Some(stopped) = table.stopped.clone() {
            table.fail(stopped);
        }
    }
}

/// Tries the refused rows of these tables again and does nothing else.
pub(crate) async fn only(
    context: &RunContext,
    tables: &mut [TableRun],
    work: &Work,
    rejected: &[RejectedRow],
) {
    for &index in work.load.iter().chain(&work.resume) {
        let stream = tables[index].stream().to_owned();
        let name = &context.ends.key.pipeline;
        let message = format!("table `{stream}` is not loaded yet, its rejected rows with it");
        let failure = Failure::new(exit_code::FAILED, message);
        tables[index].fail(failure.with_hint(format!(
            "`syncset pipeline run {name}` loads it and tries them again"
        )));
    }
    for &index in &work.whole {
        // Without a watermark all rows are read in each run, the refused ones with them.
        tables[index].refused = Refused::Count;
        full::copy_all(context, tables, &[index], rejected).await;
    }
    for &index in &work.follow {
        let table = &mut tables[index];
        table.refused = Refused::Count;
        let rows = of_table(table, rejected);
        if let Err(failure) = until_it_works(context, table, &rows).await {
            table.fail(failure);
            continue;
        }
        let quiet = table.report.rows_written + table.report.rows_deleted == 0;
        table.done(if quiet {
            Outcome::Unchanged
        } else {
            Outcome::Followed
        });
    }
}

/// Tries as often as a unit of a run would.
async fn until_it_works(
    context: &RunContext,
    table: &mut TableRun,
    rejected: &[RejectedRow],
) -> Result<(), Failure> {
    loop {
        if rejected.is_empty() {
            return Ok(());
        }
        if let Some(reason) = context.stop.reason() {
            return Err(reason);
        }
        tokio::time::sleep(retry::pause(table.attempts)).await;
        let Err(failure) = read_and_retry(context, table, rejected).await else {
            return Ok(());
        };
        if let Next::Fail(failure) = after_failure(table, failure) {
            return Err(failure);
        }
    }
}

async fn read_and_retry(
    context: &RunContext,
    table: &mut TableRun,
    rejected: &[RejectedRow],
) -> Result<(), Failure> {
    let has_windows = table.read.capture.has_windows();
    let request = SnapshotRequest {
        read: table.read.clone(),
        from: has_windows.then(|| table.state().position.clone()),
    };
    let source = context.ends.source();
    let mut snapshot = source.open_snapshot(&[request], None).await?;
    retry_rejected(context, table, (snapshot.as_mut(), 0), rejected, Turn::Last).await?;
    snapshot.close().await;
    Ok(())
}

/// The rows of one table.
pub(crate) fn of_table(table: &TableRun, rejected: &[RejectedRow]) -> Vec<RejectedRow> {
    let own = |row: &&RejectedRow| row.stream == table.stream();
    rejected.iter().filter(own).cloned().collect()
}
