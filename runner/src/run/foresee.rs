//! What the guard would say to a run, for `--dry-run`: as far as it is known without comparing
//! keys.

use crate::failure::Failure;
use crate::open::Ends;
use crate::report::Outcome;
use crate::run::guard::{Guard, Known};
use crate::run::table::TableRun;
use syncset_connector::{Digest, WriteMode};

/// Counts the deletes that are certain in a table that was read whole, and warns where the guard
/// would stop a run. Reads at most the keys of the target table.
///
/// `outcome`: how the rows of the table were counted.
pub(super) async fn deletes(
    ends: &Ends,
    table: &mut TableRun,
    outcome: Outcome,
) -> Result<(), Failure> {
    let planned = table.planned.clone();
    let is_kept = !planned.deletes() || planned.write() == WriteMode::Append;
    if is_kept || planned.status.empty || !planned.has_key() {
        return Ok(());
    }
    let warning = match outcome {
        Outcome::Loaded => {
            let rows = ends
                .target()
                .key_digest(&planned.target, Digest::Count)
                .await?
                .row_count;
            whole(table, &ends.key.pipeline, rows)
        }
        Outcome::Followed => followed(ends, table).await?,
        _ => None,
    };
    table.report.warnings.extend(warning);
    Ok(())
}

/// Rows of the target that outnumber those of the source have to go.
fn whole(table: &mut TableRun, pipeline: &str, rows: u64) -> Option<String> {
    let selected = table.report.rows_written;
    let gone = rows.saturating_sub(selected);
    table.report.rows_deleted = gone;
    let guard = Guard::of(table, pipeline);
    if selected == 0
        && let Some(stopped) = guard.stop_empty(rows)
    {
        return Some(guard.foreseen(&stopped));
    }
    let stops = !guard.passes(gone) && rows < guard.rows_needed(gone);
    stops.then(|| guard.foreseen(&guard.stop(Known::AtLeast(gone), rows)))
}

/// Rows that left the selection, and those that wait from former runs, may be at the target.
async fn followed(ends: &Ends, table: &TableRun) -> Result<Option<String>, Failure> {
    let guard = Guard::of(table, &ends.key.pipeline);
    let most = table.report.rows_deleted + table.pending_deletes;
    if most == 0 || guard.passes(most) {
        return Ok(None);
    }
    let target = &table.planned.target;
    let rows = ends
        .target()
        .key_digest(target, Digest::Count)
        .await?
        .row_count;
    let stops = rows < guard.rows_needed(most);
    Ok(stops.then(|| guard.foreseen(&guard.stop(Known::AtMost(most), rows))))
}
