//! Tables without windows: the whole table in each run, from one snapshot.

use crate::failure::Failure;
use crate::report::Outcome;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::load;
use crate::run::retry;
use crate::run::settle::settle;
use crate::run::table::TableRun;
use crate::run::waiting::Refused;
use std::time::Instant;
use syncset_connector::{ErrorClass, KeyRange, Position, UnitStart};

/// Copies one table whole and deletes what the source no longer has. Starts over when its
/// snapshot is lost. Returns false if it has to be tried again after the other tables.
pub(crate) async fn copy_whole(context: &RunContext, table: &mut TableRun) -> bool {
    let started = Instant::now();
    let done = loop {
        if let Some(reason) = context.stop.reason() {
            table.fail(reason);
            break true;
        }
        tokio::time::sleep(retry::pause(table.attempts)).await;
        let result = match table.refused {
            Refused::LeaveOut => load::copy_rows_only(context, table).await,
            Refused::Wait | Refused::Together | Refused::Count => attempt(context, table).await,
        };
        let Err(mut failure) = result else {
            if table.refused == Refused::LeaveOut {
                break false;
            }
            table.count_time(started);
            let report = &table.report;
            let quiet = report.rows_written + report.rows_deleted + report.rows_rejected == 0;
            table.done(if quiet {
                Outcome::Unchanged
            } else {
                Outcome::Loaded
            });
            return true;
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

async fn attempt(context: &RunContext, table: &mut TableRun) -> Result<(), Failure> {
    load::begin(context, &mut [table]).await?;
    let mut snapshot = context.rows_of(table, None).await?;
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
    Ok(())
}
