//! `rejected ...`: rows that a target refused and that wait in its state.

mod discard;
mod list;
mod retry;

use crate::cli::Context;
use crate::cli::args::RejectedVerb;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use syncset_connector::RejectedRow;

/// Runs one verb; returns its exit code.
pub(crate) async fn dispatch(context: &Context, verb: RejectedVerb) -> Result<i32, Failures> {
    match verb {
        RejectedVerb::List(args) => list::list(context, &args).await,
        RejectedVerb::Retry(args) => retry::retry(context, &args).await,
        RejectedVerb::Discard(args) => discard::discard(context, &args).await,
    }
}

/// The rows of these tables, of all if none is named.
///
/// # Errors
/// A table without a row that waits.
fn of_tables(
    rows: Vec<RejectedRow>,
    tables: &[String],
    pipeline: &str,
) -> Result<Vec<RejectedRow>, Failure> {
    if let Some(table) = tables
        .iter()
        .find(|table| !rows.iter().any(|row| row.stream == **table))
    {
        let mut known: Vec<String> = rows.iter().map(|row| format!("`{}`", row.stream)).collect();
        known.dedup();
        let message = format!("table `{table}` of `{pipeline}` has no rejected row");
        let hint = match known.is_empty() {
            true => format!("no table of `{pipeline}` has one"),
            false => format!("tables with rejected rows: {}", known.join(", ")),
        };
        return Err(Failure::new(exit_code::CONFIG, message).with_hint(hint));
    }
    let is_named = |row: &RejectedRow| tables.is_empty() || tables.contains(&row.stream);
    Ok(rows.into_iter().filter(is_named).collect())
}
