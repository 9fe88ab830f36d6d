//! Tables whose position proves nothing any more: the source was restored or failed over, its
//! transaction numbers wrapped around, a table was written anew.
//!
//! Where both servers hash the rows, what differs is found by their hashes and brought, and the
//! windows go on from a position that was taken before. Any other table is loaded again.

use crate::check::Aspect;
use crate::cli::quantity::counted;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::run::context::RunContext;
use crate::run::table::TableRun;
use crate::run::{differing, hash};
use syncset_connector::{ErrorClass, StreamPhase, WriteMode};

/// Catches up with tables, given with the reasons why their positions prove nothing. Returns those
/// that are to be followed from their new positions, and those to load again.
pub(crate) async fn catch_up(
    context: &RunContext,
    tables: &mut [TableRun],
    lost: Vec<(usize, String)>,
) -> (Vec<usize>, Vec<(usize, String)>) {
    let (mut followed, mut loaded) = (Vec::new(), Vec::new());
    for (index, reason) in lost {
        let table = &mut tables[index];
        if !may_be_compared(table) {
            loaded.push((index, reason));
            continue;
        }
        let started = table.start_clock();
        let compared = compare(context, table, &reason).await;
        table.count_time(started);
        match compared {
            Ok(true) => followed.push(index),
            Ok(false) => loaded.push((index, reason)),
            Err(failure) => match loads_despite(context, &failure) {
                true => loaded.push((index, reason)),
                false => table.fail(failure),
            },
        }
    }
    (followed, loaded)
}

/// Whether its rows at the target are those of a load that was finished, and known by a key.
pub(crate) fn may_be_compared(table: &TableRun) -> bool {
    table.planned.has_key()
        && table.planned.write() == WriteMode::Upsert
        && table.state().phase == StreamPhase::Following
        && !table.waited
}

/// A load waits for rows of other tables, and tries again what may pass.
fn loads_despite(context: &RunContext, failure: &Failure) -> bool {
    let refused = failure.is(ErrorClass::RowParked) || failure.is(ErrorClass::RowRefused);
    context.stop.reason().is_none() && (refused || failure.retry)
}

/// Brings what differs. Returns false if the servers' hashes do not tell that.
async fn compare(
    context: &RunContext,
    table: &mut TableRun,
    reason: &str,
) -> Result<bool, Failure> {
    table.stopped = None;
    // Taken before the snapshot: a change that this one does not show comes with a window.
    let reads = [table.read.clone()];
    let Some(low) = context.ends.source().low_positions(&reads).await?.pop() else {
        return Ok(false);
    };
    fail_point("catch_up.low_known");
    let planned = table.planned.clone();
    let reader = context.ends.target_reader().await?;
    let comparison = reader.comparison(&planned, Aspect::Values).await?;
    let source = context.rows_of(table, None).await?;
    let compared = tokio::select! {
        compared = comparison.by_servers(source) => compared?,
        stopped = context.stop.requested() => return Err(stopped),
    };
    let (mut source, found) = match compared {
        Ok(compared) => compared,
        Err(why) => {
            tracing::debug!(table = table.stream(), why, "not compared by hashes");
            return Ok(false);
        }
    };
    fail_point("catch_up.compared");
    hash::count(table, &found);
    let pending = table.pending_deletes;
    let before = (table.report.rows_written, table.report.rows_deleted);
    let how = (&comparison, low);
    let written = differing::write(context, table, how, (source.as_mut(), &found)).await;
    if let Err(failure) = written {
        // What was taken out of the pending deletes is rolled back with its unit.
        table.pending_deletes = table.pending_deletes.max(pending);
        return Err(failure);
    }
    source.close().await;
    let (rows, deletes) = (
        table.report.rows_written - before.0,
        table.report.rows_deleted - before.1,
    );
    table.take_warnings(vec![format!(
        "compared by hashes instead of being loaded again: {reason}; {} written and {deletes} \
         deleted",
        counted(rows, "row", "rows")
    )]);
    Ok(true)
}
