//! `pipeline plan`: prints exactly what `run` would do.

use super::run_summary::instant;
use crate::cli::args::{Output, PlanArgs};
use crate::cli::quantity::counted;
use crate::cli::schema::meaning;
use crate::cli::{Context, render};
use crate::copied::{self, CopiedIndex};
use crate::decision::{self, Action, Decision, decide, left_behind};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::gone::Gone;
use crate::open::Ends;
use crate::orphan::suggest_adoption;
use crate::planned::{self, PlannedTable};
use crate::reshape::made_whole;
use crate::rules::{Rules, not_agreed};
use crate::run::{agreement, comments};
use crate::schema_diff::{EditEntry, blocked};
use crate::search_times::SearchTimes;
use crate::stop::seconds_since_epoch;
use serde::Serialize;
use syncset_connector::{
    Capture, Exactness, MadeTable, OnDelete, OnLossy, PipelineState, PlannedStatement, StreamPhase,
    WriteMode,
};
use syncset_pipeline::{Guards, OutputValue, SelectionChange, SourceChange};

#[derive(Serialize)]
struct ColumnEntry {
    source: String,
    target: String,
    #[serde(rename = "type")]
    source_type: String,
    target_type: String,
    fidelity: Exactness,
    /// What happens to values that do not fit.
    on_lossy: OnLossy,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl ColumnEntry {
    /// Whether it arrives under its own name, as it is.
    fn is_plain(&self) -> bool {
        self.fidelity == Exactness::Exact && self.source == self.target
    }
}

#[derive(Serialize)]
struct TableEntry {
    table: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edited: Vec<EditEntry>,
    /// What became of the source's table since it was loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_changes: Vec<SourceChange>,
    capture: &'static str,
    write: WriteMode,
    key: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row_estimate: Option<u64>,
    /// Deletes that wait for the guard.
    deletes_pending: u64,
    columns: Vec<ColumnEntry>,
    /// What the source's further unique keys are at a table that we create.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    indexes: Vec<CopiedIndex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filtered_here: Option<String>,
    source_statements: Vec<String>,
    target_statements: Vec<String>,
    /// Those of the target's statements that alter a table, with what they mean.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alteration: Vec<PlannedStatement>,
    /// What is done to each batch, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explain: Vec<String>,
    notes: Vec<String>,
    failures: Vec<Failure>,
    #[serde(skip)]
    detail: String,
}

/// Prints the plan; changes nothing.
pub(crate) async fn plan(context: &Context, args: &PlanArgs) -> Result<i32, Failures> {
    let spec = context.files.pipeline(&args.name)?;
    let ends = Ends::open(&spec, &context.files.project.name, 1).await?;
    let planned = planned::plan(&ends, &spec, &args.tables, None).await?;
    let state = &planned.state;
    let mut plans = planned.tables.iter().map(|table| &table.plan);
    let searches = match plans.any(|plan| plan.find_deletes.is_some()) {
        true => ends.state().searches(&ends.key).await?,
        false => Vec::new(),
    };
    let rules = Rules {
        on_selection_change: spec.on_selection_change,
        full_refresh: args.full_refresh,
        approved: &[],
    };
    let mut entries: Vec<TableEntry> = Vec::with_capacity(planned.tables.len());
    for table in &planned.tables {
        let mut entry = entry(&ends, table, state, rules).await?;
        entry.notes.extend(search_note(table, state, &searches));
        if args.explain {
            entry.explain = table.transform.explain();
        }
        entries.push(entry);
    }
    let failures: Vec<Failure> = planned.gone.iter().map(Gone::failure).collect();
    let gone = match args.tables.as_slice() {
        [] => decision::departed(
            state,
            &args.name,
            (planned.tables.iter(), &planned.gone),
            ends.target_store(),
        ),
        _ => Vec::new(),
    };
    let pipelines = context.files.pipeline_names();
    for failure in entries.iter_mut().flat_map(|entry| &mut entry.failures) {
        suggest_adoption(failure, &ends.key, &pipelines);
    }
    let codes = entries.iter().map(|entry| {
        exit_code::of_tables(
            &entry
                .failures
                .iter()
                .map(|it| it.exit_code)
                .collect::<Vec<_>>(),
        )
    });
    let codes = codes.chain(failures.iter().map(|it| it.exit_code));
    let mut code = exit_code::of_tables(&codes.collect::<Vec<_>>());
    let quiet = entries.iter().all(|entry| {
        let known = entry.target_statements.is_empty();
        known && matches!(entry.action, Some(Action::Follow | Action::Full))
    });
    if code == exit_code::DONE && args.detailed_exitcode && !quiet {
        code = exit_code::DIFFERENT;
    }
    match context.output {
        Output::Text => {
            entries.iter().for_each(print);
            for sentence in &gone {
                render::text_out(&format!("note: {sentence}\n"));
            }
            failures.iter().for_each(render::failure);
            for hook in crate::hooks::listed(&spec) {
                let (list, kind, place) = (hook.hook, hook.kind, hook.place);
                render::text_out(&format!("hook {list}: {kind} ({place})\n"));
            }
        }
        _ => {
            let mut document = serde_json::json!({
                "exit_code": code,
                "pipeline": args.name,
                "tables": entries,
                "notes": gone,
                "hooks": crate::hooks::listed(&spec),
            });
            if !failures.is_empty() {
                document["failures"] = serde_json::json!(failures);
            }
            render::json(&document);
        }
    }
    ends.close().await;
    Ok(code)
}

async fn entry(
    ends: &Ends,
    table: &PlannedTable,
    state: &PipelineState,
    rules: Rules<'_>,
) -> Result<TableEntry, Failures> {
    let mut failures = table.failures.clone();
    let pipeline = &ends.key.pipeline;
    let mut notes = known(table, state, pipeline);
    let mut target_statements = table.status.create.clone();
    let mut alteration_statements = Vec::new();
    let mut edited = Vec::new();
    let mut source_changes = Vec::new();
    let action = match decide(table, state, &ends.key, rules) {
        Ok(decision) => {
            if decision.action == Action::Approve {
                failures.push(not_agreed(table, &ends.key.pipeline, &decision, rules));
            }
            if let Some(alteration) = &decision.alteration {
                let plan = ends.target().plan_alteration(alteration).await?;
                let statements = plan.statements.iter().map(|it| it.sql.clone());
                target_statements.extend(statements);
                alteration_statements = plan.statements;
                let in_the_way = plan.blockers.into_iter().chain(plan.asks);
                failures.extend(in_the_way.map(|blocker| blocked(table, blocker)));
            }
            let left = decision.leaves.iter();
            notes.extend(left.map(|left| left_behind(ends.target_store(), left)));
            notes.extend(load_notes(table, &decision, pipeline));
            source_changes = decision.source;
            edited.extend(decision.changes.into_iter().map(EditEntry::of));
            Some(decision.action)
        }
        Err(Failures(found)) => {
            failures.extend(found);
            None
        }
    };
    let made = decision::made_of(table, state);
    let indexes = of_indexes(table, made);
    target_statements.extend(index_statements(ends, table, made));
    notes.extend(comment_note(ends, table, made));
    let columns: Vec<_> = written_entries(ends, table)
        .chain(mark_entries(ends, table))
        .collect();
    notes.extend(lossy_note(&columns));
    Ok(TableEntry {
        table: table.stream().to_owned(),
        target: table.target.name.to_string(),
        capture: match table.plan.read.capture {
            Capture::Full => "full",
            Capture::Hash => "hash",
            Capture::Cursor(_) => "cursor",
            Capture::Xmin => "xmin",
            _ => "other",
        },
        write: table.write(),
        key: table.plan.key.clone(),
        row_estimate: table.row_estimate,
        deletes_pending: state.pending_of(&table.target.name),
        columns,
        indexes,
        filtered_here: table.plan.residual.clone(),
        explain: Vec::new(),
        source_statements: table.statements.clone(),
        target_statements,
        alteration: alteration_statements,
        notes,
        failures,
        detail: detail(table, state),
        action,
        edited,
        source_changes,
    })
}

/// What the source's further unique keys are; nothing of a table that somebody else made.
fn of_indexes(table: &PlannedTable, made: Option<&MadeTable>) -> Vec<CopiedIndex> {
    let is_ours = made.is_some_and(|made| made.indexes.is_some());
    match is_ours || !table.status.exists {
        true => table.indexes.clone(),
        false => Vec::new(),
    }
}

/// The statements that build what is still missing once the rows are there.
fn index_statements(ends: &Ends, table: &PlannedTable, made: Option<&MadeTable>) -> Vec<String> {
    let fresh = made_whole(table);
    let made = match table.status.exists {
        true => made,
        false => Some(&fresh),
    };
    let missing = copied::missing(table, made);
    let spelled = missing.map(|(_, index)| ends.target().spell_index(&table.target.name, index));
    spelled.flatten().collect()
}

/// What is to be set of the source's comments once the rows are there.
fn comment_note(ends: &Ends, table: &PlannedTable, made: Option<&MadeTable>) -> Option<String> {
    let fresh = made_whole(table);
    let made = match table.status.exists {
        true => made?,
        false => &fresh,
    };
    let wanted = comments::missing(table, made)?;
    if !ends.target().keeps_comments() {
        return Some("comments are left out: the target keeps none".to_owned());
    }
    let before = made.comments.clone().unwrap_or_default();
    let changes = wanted.changes_since(&before).into_iter();
    let about = changes.map(|change| match change.column {
        Some(column) => format!("`{column}`"),
        None => "the table".to_owned(),
    });
    let about: Vec<_> = about.collect();
    Some(format!(
        "comments of {} are set once the rows are there",
        about.join(", ")
    ))
}

/// Where a column comes from, as a person would say it.
fn source_text(value: &OutputValue) -> String {
    match value {
        OutputValue::Column(name) => name.clone(),
        OutputValue::Derived { sql, .. } => format!("= {sql}"),
        OutputValue::Plugin { name, plugin } => format!("{name} of plugin {plugin}"),
        OutputValue::Masked(value, mask) => {
            format!("{} masked by {}", source_text(value), mask.summary())
        }
    }
}

/// Columns that are written. A column that `on_lossy` makes a text is shown as it is at the source.
fn written_entries(ends: &Ends, table: &PlannedTable) -> impl Iterator<Item = ColumnEntry> {
    let description = &table.plan.read.description;
    let columns = table.plan.outputs.iter().zip(&table.target.columns);
    columns
        .zip(&table.policies)
        .map(move |((output, column), policy)| {
            let mapping = ends.target().map_type(column);
            // A mask is shown beside the type of what it hides.
            let source = match &output.value {
                OutputValue::Masked(value, _) => value.column(),
                value => value.column(),
            };
            let source = source.and_then(|name| description.column(name));
            let note = match policy {
                OnLossy::Text => Some(TEXT_NOTE.to_owned()),
                _ => mapping.note,
            };
            ColumnEntry {
                source: source_text(&output.value),
                target: output.name.clone(),
                source_type: match source {
                    Some(source) => source.native.name.clone(),
                    None => planned::native_name(column),
                },
                target_type: mapping.native,
                fidelity: match (policy, mapping.exactness) {
                    (OnLossy::Text, Exactness::Exact) => Exactness::Widened,
                    (_, exactness) => exactness,
                },
                on_lossy: *policy,
                note,
            }
        })
}

/// What `plan` says of a column under `on_lossy: text`.
const TEXT_NOTE: &str = "its text form";

/// What happens to values that the target cannot keep where nobody has decided it.
fn lossy_note(columns: &[ColumnEntry]) -> Option<String> {
    let open = columns
        .iter()
        .filter(|column| column.fidelity == Exactness::Lossy && column.on_lossy == OnLossy::Error);
    let names: Vec<_> = open.map(|column| format!("`{}`", column.target)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "values that the target cannot keep are refused with their rows in {}; `on_lossy: \
             warn | text | null` chooses otherwise",
            names.join(", ")
        )
    })
}

/// Columns that the target fills itself.
fn mark_entries(ends: &Ends, table: &PlannedTable) -> impl Iterator<Item = ColumnEntry> {
    let marks = &table.target.marks;
    marks.columns().map(|column| {
        let is_deleted_at = marks.deleted_at.as_ref() == Some(&column.name);
        let source = match is_deleted_at {
            true => "(since when the row is gone)",
            false => "(when the row was written)",
        };
        let mapping = ends.target().map_type(&column);
        ColumnEntry {
            source: source.to_owned(),
            target: column.name,
            source_type: "instant".to_owned(),
            target_type: mapping.native,
            fidelity: Exactness::Exact,
            on_lossy: OnLossy::Error,
            note: None,
        }
    })
}

/// What a run does with the rows of a table that it loads again, above all if its selection was
/// edited.
fn load_notes(table: &PlannedTable, decision: &Decision, pipeline: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let is_edited = !decision.changes.is_empty() || !decision.source.is_empty();
    if is_edited {
        notes.push(
            "rows are read again in chunks and written where they differ; a run that is killed goes on where it was"
                .to_owned(),
        );
    }
    let alteration = decision.alteration.iter();
    let anew = alteration.flat_map(|it| it.columns_made_anew());
    let anew: Vec<_> = anew.map(|name| format!("`{name}`")).collect();
    if !anew.is_empty() && !table.status.empty {
        notes.push(format!(
            "readers see NULL in {} until their rows are written",
            anew.join(", ")
        ));
    }
    let is_loaded_again = is_edited || matches!(decision.action, Action::Reload(_));
    let deletes = table.deletes() && table.write() != WriteMode::Append && !table.status.empty;
    if is_loaded_again && deletes {
        notes.push(delete_note(table, decision, pipeline));
    }
    let marks = |change: &SelectionChange| change.what == "on_delete";
    if decision.changes.iter().any(marks) {
        let on_delete = match table.plan.on_delete {
            OnDelete::Hard => {
                "rows that are marked as gone are deleted at the end of the load, if the guard agrees"
            }
            OnDelete::Soft => "rows that are gone are marked from here on, and not deleted",
            OnDelete::Keep => "rows that are marked as gone stay, and look like the others",
        };
        notes.push(on_delete.to_owned());
    }
    notes
}

/// What becomes of rows that the target has and the load does not find.
fn delete_note(table: &PlannedTable, decision: &Decision, pipeline: &str) -> String {
    let is_narrower = |change: &SelectionChange| change.what == "where";
    let rows = match decision.changes.iter().any(is_narrower) {
        true => "rows that are no longer selected",
        false => "rows that are gone from the source",
    };
    let taken_away = match table.plan.on_delete {
        OnDelete::Soft => "marked as gone",
        OnDelete::Hard | OnDelete::Keep => "deleted",
    };
    let note = format!("{rows} are {taken_away} at the end of the load");
    let guards = &table.plan.guards;
    if guards.max_delete_percent >= 100.0 {
        return note;
    }
    format!(
        "{note}; how many is known when keys are compared: more than `guards:` allows ({}) stop it \
         with exit code 8 before the first, until `{}` agrees to N of them",
        limits(guards),
        agreement(pipeline, table.stream(), "N")
    )
}

/// What passes without a person's word.
fn limits(guards: &Guards) -> String {
    format!(
        "{} rows or {} % of the table",
        guards.max_delete_rows_always_allowed, guards.max_delete_percent
    )
}

/// What a user should know, the deletes that wait for the guard among it.
fn known(table: &PlannedTable, state: &PipelineState, pipeline: &str) -> Vec<String> {
    let mut notes = table.notes.clone();
    let waiting = state.pending_of(&table.target.name);
    if waiting > 0 {
        notes.push(format!(
            "{} for the guard, which lets {} pass; the next run counts them \
             again; to let them go: `{}`",
            counted(waiting, "delete waits", "deletes wait"),
            limits(&table.plan.guards),
            agreement(pipeline, table.stream(), &waiting.to_string())
        ));
    }
    notes
}

/// When rows that are gone are looked for next in a table that is loaded.
fn search_note(
    table: &PlannedTable,
    state: &PipelineState,
    searches: &[(String, i64)],
) -> Option<String> {
    let every = table.plan.find_deletes.filter(|every| !every.is_zero())?;
    let mut streams = state.streams.iter();
    streams
        .find(|stored| stored.stream == table.stream() && stored.phase == StreamPhase::Following)?;
    let times = SearchTimes::of(every, table.stream(), searches);
    let note = match times.due_at(seconds_since_epoch()) {
        None => "the next run looks for deleted rows".to_owned(),
        Some(at) => format!("the next search for deleted rows is due at {}", instant(at)),
    };
    Some(note)
}

/// How far an interrupted load has come.
fn detail(table: &PlannedTable, state: &PipelineState) -> String {
    let stored = state
        .streams
        .iter()
        .find(|stored| stored.stream == table.stream());
    match stored {
        Some(stored) if stored.phase != StreamPhase::Following => {
            let done = stored.chunks.iter().filter(|chunk| chunk.done).count();
            format!(" ({done} of {} chunks are done)", stored.chunks.len())
        }
        _ => String::new(),
    }
}

fn print(entry: &TableEntry) {
    let action = match &entry.action {
        Some(Action::Load) => "load it, then follow its changes".to_owned(),
        Some(Action::Resume) => format!("go on with its load{}", entry.detail),
        Some(Action::Follow) => "read what changed since the watermark".to_owned(),
        Some(Action::Full) => "copy it whole, as in each run".to_owned(),
        Some(Action::Reload(reason)) => format!("load it again and compare keys: {reason}"),
        Some(Action::Approve) if entry.edited.is_empty() && !entry.source_changes.is_empty() => {
            "nothing until the source's change is agreed to".to_owned()
        }
        Some(Action::Approve) => "nothing until the edited selection is agreed to".to_owned(),
        None => "nothing".to_owned(),
    };
    let rows = entry
        .row_estimate
        .map(|rows| format!(", about {rows} rows"))
        .unwrap_or_default();
    let mut text = format!("{} -> {}: {action}\n", entry.table, entry.target);
    for edit in &entry.edited {
        text.push_str(&format!("  edited {}\n", edit.sentence));
    }
    for change in &entry.source_changes {
        text.push_str(&format!("  source has {change}\n"));
    }
    text.push_str(&format!("  capture: {}{rows}\n", entry.capture));
    if entry.write != WriteMode::Upsert {
        text.push_str(&format!("  write: {}\n", entry.write.name()));
    }
    if !entry.key.is_empty() {
        text.push_str(&format!("  key: {}\n", entry.key.join(", ")));
    }
    let (plain, told): (Vec<_>, Vec<_>) = entry.columns.iter().partition(|it| it.is_plain());
    if !plain.is_empty() {
        let names: Vec<_> = plain.iter().map(|column| column.target.as_str()).collect();
        text.push_str(&format!("  exact: {}\n", names.join(", ")));
    }
    for column in told {
        let fidelity = match (column.fidelity, column.on_lossy) {
            (Exactness::Exact, _) => String::new(),
            (other, OnLossy::Error) if !other.loses() => format!(" ({})", other.name()),
            (other, policy) => format!(" ({}, on_lossy: {})", other.name(), policy.name()),
        };
        let note = column
            .note
            .as_ref()
            .map(|note| format!(": {note}"))
            .unwrap_or_default();
        text.push_str(&format!(
            "  column {}: {} -> {} {}{fidelity}{note}\n",
            column.source, column.source_type, column.target, column.target_type
        ));
    }
    for key in &entry.indexes {
        text.push_str(&format!("  {}\n", key.sentence()));
    }
    if let Some(condition) = &entry.filtered_here {
        text.push_str(&format!(
            "  unselected rows are read and dropped here: where {condition}\n"
        ));
    }
    for statement in &entry.source_statements {
        text.push_str(&format!("  source: {statement}\n"));
    }
    for statement in &entry.target_statements {
        text.push_str(&format!("  target: {statement}\n"));
        if let Some(told) = entry.alteration.iter().find(|it| it.sql == *statement) {
            text.push_str(&format!("    {}\n", meaning(told)));
        }
    }
    for (depth, node) in entry.explain.iter().enumerate() {
        let label = if depth == 0 {
            "  explain: "
        } else {
            "           "
        };
        text.push_str(&format!("{label}{}{node}\n", "  ".repeat(depth)));
    }
    for note in &entry.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    render::text_out(&text);
    entry.failures.iter().for_each(render::failure);
}
