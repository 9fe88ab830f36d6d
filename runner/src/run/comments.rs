//! Comments of target tables follow those of the source. A table that lacks one is no worse a copy, so
//! what keeps one from being set is a warning.

use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::run::context::RunContext;
use crate::run::table::TableRun;
use syncset_connector::{Comments, ErrorClass, MadeTable, StreamPhase};
use syncset_pipeline::OutputValue;

/// Sets the comments of tables that we created and whose loads are over.
pub(crate) async fn follow(context: &RunContext, tables: &mut [TableRun]) {
    let target = context.ends.target();
    for table in tables {
        if context.stop.is_requested() || table.has_failed() {
            continue;
        }
        let stored = table.stored.as_ref();
        let is_loaded = stored.is_some_and(|stored| stored.phase == StreamPhase::Following);
        let planned = table.planned.clone();
        let made = table.made.as_ref().filter(|_| is_loaded);
        let Some((made, wanted)) = made.and_then(|made| Some((made, missing(&planned, made)?)))
        else {
            continue;
        };
        if !target.keeps_comments() {
            continue;
        }
        let name = &planned.target.name;
        match target.comment(&context.lease, name, &wanted, made).await {
            Ok(made) => table.made = Some(made),
            Err(error) if error.class == ErrorClass::Fenced => table.fail(error.into()),
            Err(error) => {
                let failure = Failure::from(error);
                let warning = format!(
                    "comments of `{name}` could not be set: {}; each run tries again",
                    failure.message
                );
                table.take_warnings(vec![warning]);
            }
        }
    }
}

/// The comments that the target table is to have, if it has others as far as `made` says; none of a
/// table that we did not create.
pub(crate) fn missing(planned: &PlannedTable, made: &MadeTable) -> Option<Comments> {
    if !planned.plan.copy.comments || made.indexes.is_none() {
        return None;
    }
    let wanted = of_source(planned);
    let before = made.comments.clone().unwrap_or_default();
    (!wanted.changes_since(&before).is_empty()).then_some(wanted)
}

/// The source's comments under the names that its columns have at the target.
fn of_source(planned: &PlannedTable) -> Comments {
    let comments = &planned.plan.read.description.comments;
    let columns = planned.plan.outputs.iter().filter_map(|output| {
        let source = match &output.value {
            OutputValue::Masked(value, _) => value.column(),
            value => value.column(),
        };
        let comment = comments.columns.get(source?)?;
        Some((output.name.clone(), comment.clone()))
    });
    Comments {
        table: comments.table.clone(),
        columns: columns.collect(),
    }
}
