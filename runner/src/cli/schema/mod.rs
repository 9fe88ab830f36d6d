//! `schema ...`: what became of the source's schema, and a person's word about it.

mod approve;
mod diff;
mod history;
mod text;

pub(super) use text::meaning;

use crate::cli::Context;
use crate::cli::args::SchemaVerb;
use crate::failure::Failures;

/// Runs one verb; returns its exit code.
pub(crate) async fn dispatch(context: &Context, verb: SchemaVerb) -> Result<i32, Failures> {
    match verb {
        SchemaVerb::Diff(args) => diff::diff(context, &args).await,
        SchemaVerb::Approve(args) => approve::approve(context, &args).await,
        SchemaVerb::History(args) => history::history(context, &args).await,
    }
}
