//! `schema diff`: shows what the next run would make of the target tables; changes nothing.

use super::text::print;
use crate::cli::args::{Output, SchemaDiffArgs};
use crate::cli::{Context, render};
use crate::failure::Failures;
use crate::open::Ends;
use crate::planned;
use crate::rules::Rules;
use crate::schema_diff::SchemaDiff;

/// Prints the tables that change, and exits with 4 if a run follows them all, with 5 if a person
/// has to agree.
pub(crate) async fn diff(context: &Context, args: &SchemaDiffArgs) -> Result<i32, Failures> {
    let spec = context.files.pipeline(&args.name)?;
    let ends = Ends::open(&spec, &context.files.project.name, 1).await?;
    let planned = planned::plan(&ends, &spec, &args.tables, None).await?;
    let rules = Rules {
        on_selection_change: spec.on_selection_change,
        full_refresh: false,
        approved: &[],
    };
    let diff = SchemaDiff::of(&ends, &planned, rules).await?;
    ends.close().await;
    match context.output {
        Output::Text if diff.tables.is_empty() => {
            render::text_out(&format!(
                "{}: nothing changed that the target has to follow\n",
                args.name
            ));
        }
        Output::Text => diff.tables.iter().for_each(print),
        _ => render::json(&diff),
    }
    Ok(diff.exit_code)
}
