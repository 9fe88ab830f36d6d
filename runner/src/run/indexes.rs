//! Further keys and indexes of target tables, built once their rows are there. A table that lacks
//! one is no worse a copy, so what keeps one from being built is a warning.

use crate::copied::{self, CopiedIndex, Kind};
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::run::context::RunContext;
use crate::run::table::TableRun;
use futures::StreamExt;
use std::sync::Arc;
use syncset_connector::{ConnectorError, ErrorClass, MadeTable, StreamPhase, TargetIndex};

/// Steps of one index at most: it is recorded as begun, built, and recorded as built.
const STEPS_MAX: usize = 4;

/// One table with what it lacks.
struct Work {
    table: usize,
    planned: Arc<PlannedTable>,
    made: MadeTable,
}

/// What came of it.
struct Built {
    table: usize,
    made: MadeTable,
    warnings: Vec<String>,
    failure: Option<Failure>,
}

/// Builds what tables lack whose loads are over, several tables at a time.
pub(crate) async fn build(context: &RunContext, tables: &mut [TableRun]) {
    let mut work = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        if let Some(made) = table
            .made
            .as_ref()
            .filter(|_| is_loaded(table) && !table.has_failed())
            && copied::missing(&table.planned, Some(made)).next().is_some()
        {
            work.push(Work {
                table: index,
                planned: table.planned.clone(),
                made: made.clone(),
            });
        }
    }
    if work.is_empty() {
        return;
    }
    fail_point("indexes.begun");
    let built = futures::stream::iter(work)
        .map(|work| build_all(context, work, Kinds::Indexes))
        .buffer_unordered(context.jobs);
    let built: Vec<Built> = built.collect().await;
    let mut work = Vec::new();
    for built in built {
        let table = built.table;
        let made = built.made.clone();
        if let Some(planned) = take(tables, built) {
            work.push(Work {
                table,
                planned,
                made,
            });
        }
    }
    if !tables
        .iter()
        .all(|table| is_loaded(table) && !table.has_failed())
    {
        return;
    }
    work.sort_unstable_by_key(|work| work.table);
    for work in work {
        // Each locks two tables, so they come one by one.
        let built = build_all(context, work, Kinds::ForeignKeys).await;
        take(tables, built);
    }
}

fn is_loaded(table: &TableRun) -> bool {
    let stored = table.stored.as_ref();
    stored.is_some_and(|stored| stored.phase == StreamPhase::Following)
}

/// Which kinds are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Indexes,
    ForeignKeys,
}

/// Takes note of what came of a table; what is to be done further with it, if it has not failed.
fn take(tables: &mut [TableRun], built: Built) -> Option<Arc<PlannedTable>> {
    let table = &mut tables[built.table];
    table.made = Some(built.made);
    table.take_warnings(built.warnings);
    if let Some(failure) = built.failure {
        table.fail(failure);
        return None;
    }
    Some(table.planned.clone())
}

async fn build_all(context: &RunContext, work: Work, kinds: Kinds) -> Built {
    let mut built = Built {
        table: work.table,
        made: work.made,
        warnings: Vec::new(),
        failure: None,
    };
    let planned = work.planned;
    let pipeline = &context.ends.key.pipeline;
    let before = built.made.clone();
    let is_due = |(_, index): &(&CopiedIndex, &TargetIndex)| {
        index.kind.is_foreign_key() == (kinds == Kinds::ForeignKeys)
    };
    for (key, index) in copied::missing(&planned, Some(&before)).filter(is_due) {
        if context.stop.is_requested() {
            break;
        }
        let made = tokio::select! {
            made = build_one(context, &planned, index, built.made.clone()) => made,
            // Whatever was begun, the next run finishes it.
            _ = context.stop.requested() => break,
        };
        match made {
            Ok(made) => built.made = made,
            Err(error) if error.class == ErrorClass::Fenced => {
                built.failure = Some(error.into());
                break;
            }
            Err(error) => built.warnings.push(warning(pipeline, &planned, key, error)),
        }
    }
    built
}

async fn build_one(
    context: &RunContext,
    planned: &PlannedTable,
    index: &TargetIndex,
    mut made: MadeTable,
) -> Result<MadeTable, ConnectorError> {
    let target = context.ends.target();
    let name = &planned.target.name;
    for _ in 0..STEPS_MAX {
        made = target
            .build_index(&context.lease, name, index, &made)
            .await?;
        fail_point("indexes.step");
        let mut indexes = made.indexes.iter().flatten();
        if indexes.any(|it| it.built && it.is_for(index)) {
            break;
        }
    }
    Ok(made)
}

/// What a person should know of an index that could not be built.
fn warning(
    pipeline: &str,
    planned: &PlannedTable,
    key: &CopiedIndex,
    error: ConnectorError,
) -> String {
    let what = format!("{} could not be made at the target", key.title());
    let columns = key.index.iter().flat_map(|index| &index.columns);
    let columns: Vec<_> = columns.map(String::as_str).collect();
    let columns = columns.join(", ");
    let is_unequal = error.class == ErrorClass::RowParked;
    let failure = Failure::from(error);
    let is_foreign = key.kind == Kind::ForeignKey;
    let hint = match (is_unequal, &failure.hint) {
        (true, _) if is_foreign => format!(
            "rows of `{}` refer to rows that are not there: look for them with `syncset pipeline check {pipeline}`",
            planned.target.name,
        ),
        (true, _) => format!(
            "rows of `{}` are equal in ({columns}): look for them with `syncset pipeline check {pipeline}`",
            planned.target.name,
        ),
        (false, Some(hint)) => hint.clone(),
        (false, None) => "mend that at the target".to_owned(),
    };
    format!(
        "{what}: {}; {hint}; each run tries again, and rows are copied all the same",
        failure.message
    )
}
