//! The start of each table's part of a run: what it needs is decided, and its target table is
//! created or altered, before any unit of the run is open.

use crate::decision::{Action, Decision, decide, left_behind, made_of};
use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::planned::PlannedTable;
use crate::rules::not_agreed;
use crate::run::RunSettings;
use crate::run::context::RunContext;
use crate::run::create;
use crate::run::rounds::Work;
use crate::run::table::TableRun;
use crate::schema_diff;
use crate::schema_history::note_altered;
use std::sync::Arc;
use syncset_connector::{
    ChangedBy, ErrorClass, PipelineState, Retelling, TableAlteration, WriteMode,
};
use syncset_pipeline::{DroppedColumn, SourceChange, SourceChangeKind};

/// Decides what every table needs and makes its target table what it has to be.
pub(super) async fn sort_out(
    context: &RunContext,
    tables: &mut [TableRun],
    state: &PipelineState,
    settings: &RunSettings<'_>,
) -> Work {
    // What is made of a table may change with another one.
    let mut state = state.clone();
    let mut sorted = Vec::with_capacity(tables.len());
    let mut retellings = Vec::new();
    let targets: Vec<_> = tables
        .iter()
        .map(|table| table.planned.target.name.clone())
        .collect();
    for (index, table) in tables.iter_mut().enumerate() {
        if let Some(failure) = table.planned.failures.first() {
            table.fail(failure.clone());
            continue;
        }
        let mut decision = match decided(context, table, &state, settings).await {
            Ok(decision) => decision,
            Err(failures) => {
                table.fail(failures.of_one_table());
                continue;
            }
        };
        tracing::debug!(table = table.stream(), action = ?decision.action, "decided");
        if let Err(Failures(failures)) =
            hold_to_plan(context, table, &state, (&mut decision, settings)).await
        {
            let first = failures.into_iter().next();
            table.fail(first.expect("a table is stopped by something"));
            continue;
        }
        let by = match settings.rules().is_approved(&table.planned) {
            true => ChangedBy::Approval,
            false => ChangedBy::Policy,
        };
        note_altered(&mut decision, by);
        if let Err(failure) = alter(context, table, &decision, settings).await {
            table.fail(failure);
            continue;
        }
        if let Some(alteration) = &decision.alteration {
            table.made = Some(alteration.made.clone());
            remember(&mut state, alteration);
        }
        // Another table of this pipeline may write it from here on: then it stays.
        table.leaves = decision.leaves.filter(|left| !targets.contains(left));
        if let Some(left) = &table.leaves {
            table
                .report
                .warnings
                .push(left_behind(context.ends.target_store(), left));
        }
        let has_changed = !decision.changes.is_empty() || !decision.source.is_empty();
        if has_changed && let Action::Reload(reason) = &decision.action {
            let warning = format!("loading it again: {reason}");
            table.report.warnings.push(warning);
        }
        let dropped = of_dropped(&table.planned, &decision.source);
        table.report.warnings.extend(dropped);
        let widened = decision.source.iter();
        let widened = widened.filter(|change| {
            matches!(
                change.kind,
                SourceChangeKind::Widened
                    | SourceChangeKind::Relaxed
                    | SourceChangeKind::Renamed
                    | SourceChangeKind::LooksRenamed
            )
        });
        let widened = widened.map(|change| format!("the source has {change}"));
        table.report.warnings.extend(widened);
        let brings = |change: &SourceChange| {
            !matches!(
                change.kind,
                SourceChangeKind::Dropped
                    | SourceChangeKind::Renamed
                    | SourceChangeKind::LooksRenamed
                    | SourceChangeKind::Relaxed
                    | SourceChangeKind::Widened
            )
        };
        if table.planned.write() == WriteMode::Append && decision.source.iter().any(brings) {
            let changes: Vec<_> = decision.source.iter().map(ToString::to_string).collect();
            table.report.warnings.push(format!(
                "the source has {}: rows that are at the target stay as they are",
                changes.join(", ")
            ));
        }
        retellings.extend(decision.retelling.map(|retelling| (index, retelling)));
        sorted.push((index, decision.action));
    }
    for table in tables.iter_mut().filter(|table| table.made.is_some()) {
        table.made = made_of(&table.planned, &state).cloned();
    }
    retell(context, tables, retellings).await;
    create::missing(context, tables).await;
    let mut work = Work::default();
    for (index, action) in sorted {
        if !tables[index].has_failed() {
            add(&mut work, index, &tables[index], &action);
        }
    }
    work
}

/// Takes note of what an alteration made of its table, and of those whose keys it released.
fn remember(state: &mut PipelineState, alteration: &TableAlteration) {
    let released = alteration.released.iter().map(|it| &it.made);
    for made in released.chain([&alteration.made]) {
        state.made.retain(|it| it.target != made.target);
        state.made.push(made.clone());
    }
}

/// Stores the selections of tables that go on under another one.
async fn retell(context: &RunContext, tables: &mut [TableRun], these: Vec<(usize, Retelling)>) {
    if these.is_empty() {
        return;
    }
    let retellings: Vec<_> = these.iter().map(|(_, it)| it.clone()).collect();
    let state = context.ends.state();
    let stored = state.retell(&context.lease, &retellings).await;
    let stored = stored.map_err(Failure::from);
    for (index, retelling) in these {
        let table = &mut tables[index];
        match (&stored, &mut table.stored) {
            (Ok(()), Some(stored)) => {
                stored.selection = retelling.selection;
                stored.selection_text = Some(retelling.selection_text);
            }
            (Ok(()), None) => {}
            (Err(failure), _) => table.fail(failure.clone()),
        }
    }
    fail_point("selection.stored");
}

/// Decides with what the target says under the lease: another run may have altered the table since
/// this one looked at it.
async fn decided(
    context: &RunContext,
    table: &mut TableRun,
    state: &PipelineState,
    settings: &RunSettings<'_>,
) -> Result<Decision, Failures> {
    let (key, rules) = (&context.ends.key, settings.rules());
    let first = decide(&table.planned, state, key, rules);
    if matches!(&first, Ok(decision) if decision.alteration.is_none()) {
        return first;
    }
    let target = std::slice::from_ref(&table.planned.target);
    let looked_at = context.ends.target().status(target).await?;
    let mut planned = PlannedTable::clone(&table.planned);
    if let Some(status) = looked_at.into_iter().next() {
        planned.status = status;
    }
    table.planned = Arc::new(planned);
    decide(&table.planned, state, key, rules)
}

/// Compares the world with the plan that a person agreed to, if there is one, and lets the store
/// compare the target table once more when it alters it.
async fn hold_to_plan(
    context: &RunContext,
    table: &TableRun,
    state: &PipelineState,
    (decision, settings): (&mut Decision, &RunSettings<'_>),
) -> Result<(), Failures> {
    let Some(plan) = settings.plan else {
        return Ok(());
    };
    let rules = settings.rules();
    let expected = plan
        .still_holds(&context.ends, &table.planned, state, rules)
        .await?;
    fail_point("plan.compared");
    if let Some(alteration) = &mut decision.alteration {
        alteration.expects = expected;
    }
    Ok(())
}

/// Alters the target table if it has to be.
async fn alter(
    context: &RunContext,
    table: &TableRun,
    decision: &Decision,
    settings: &RunSettings<'_>,
) -> Result<(), Failure> {
    let planned = &table.planned;
    let pipeline = &context.ends.key.pipeline;
    if decision.action == Action::Approve {
        let rules = settings.rules();
        return Err(not_agreed(planned, pipeline, decision, rules));
    }
    if let Some(alteration) = &decision.alteration {
        let target = context.ends.target();
        let altered = target.alter(&context.lease, alteration).await;
        altered.map_err(|error| refused(table, Failure::from(error)))?;
        fail_point("alter.committed");
    }
    Ok(())
}

/// What becomes of target columns whose column the source dropped.
fn of_dropped(table: &PlannedTable, changes: &[SourceChange]) -> Vec<String> {
    let fate = match table.plan.schema.dropped_column {
        DroppedColumn::Keep => "the target's column stays with the values it has",
        DroppedColumn::Null => "the target's column stays without values",
        DroppedColumn::Drop | DroppedColumn::Approve | DroppedColumn::Fail => {
            "the target's column is dropped"
        }
    };
    let dropped = changes.iter();
    let dropped = dropped.filter(|change| change.kind == SourceChangeKind::Dropped);
    dropped
        .map(|change| format!("the source has {change}: {fate}"))
        .collect()
}

/// What stands in the way of an alteration is for a person to decide.
fn refused(table: &TableRun, mut failure: Failure) -> Failure {
    if failure.is(ErrorClass::TargetDiffers) {
        failure.exit_code = exit_code::APPROVAL;
    }
    failure.message = format!("table `{}`: {}", table.stream(), failure.message);
    failure
}

fn add(work: &mut Work, index: usize, table: &TableRun, action: &Action) {
    table.expect_rows(action);
    match action {
        Action::Load => work.load.push(index),
        Action::Resume => work.resume.push(index),
        Action::Follow => work.follow.push(index),
        Action::Full => work.whole.push(index),
        Action::Reload(reason) => {
            tracing::info!(table = table.stream(), reason, "loading the table again");
            if table.planned.plan.read.capture.heals_loads() {
                work.load.push(index);
            } else {
                work.whole.push(index);
            }
        }
        Action::Approve => unreachable!("nobody agreed, so the table has failed"),
    }
}

/// What stands in the way of an alteration, for those who only look.
pub(super) async fn blocked(
    ends: &Ends,
    table: &TableRun,
    alteration: &TableAlteration,
) -> Result<(), Failure> {
    let plan = ends.target().plan_alteration(alteration).await?;
    match plan.blockers.into_iter().chain(plan.asks).next() {
        None => Ok(()),
        Some(blocker) => Err(schema_diff::blocked(&table.planned, blocker)),
    }
}
