//! `rejected ...`: rows that a target refused and that wait in its state.

mod discard;
mod list;
mod retry;

use crate::cli::Context;
use crate::cli::args::RejectedVerb;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use syncset_connector::RejectedRow;
use syncset_pipeline::named_stream;

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
    let mut known: Vec<&str> = rows.iter().map(|row| row.stream.as_str()).collect();
    known.dedup();
    let stream_of = |name: &String| {
        let stream = named_stream(&known, name).map(str::to_owned);
        stream.ok_or_else(|| {
            let message = format!("table `{name}` of `{pipeline}` has no rejected row");
            let hint = match known.is_empty() {
                true => format!("no table of `{pipeline}` has one"),
                false => format!("tables with rejected rows: `{}`", known.join("`, `")),
            };
            Failure::new(exit_code::CONFIG, message).with_hint(hint)
        })
    };
    let tables: Vec<String> = tables.iter().map(stream_of).collect::<Result<_, _>>()?;
    let is_named = |row: &RejectedRow| tables.is_empty() || tables.contains(&row.stream);
    Ok(rows.into_iter().filter(is_named).collect())
}
