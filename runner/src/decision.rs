//! What a run does with a table, given what is stored of it. Pure.

use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::planned::PlannedTable;
use crate::reshape::{Reshape, is_made, reshape};
use serde::Serialize;
use syncset_connector::{
    About, HeldRows, MadeTable, PipelineKey, PipelineState, Retelling, Store, StreamPhase,
    StreamState, TableAlteration, TableName, WriteMode,
};
use syncset_pipeline::{
    DELETED_AT, NewColumn, OnSelectionChange, SelectionChange, SourceChange, SourceChangeKind,
    selection_changes,
};

/// What a run does with a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Load everything: there is no watermark.
    Load,
    /// Go on with the chunks of a load that was interrupted.
    Resume,
    /// Read what changed since the watermark.
    Follow,
    /// Read the whole table, as its capture mode does in each run.
    Full,
    /// Load everything again and compare keys.
    Reload(String),
    /// Nothing until a person agrees: the selection was edited, or the source's table changed.
    Approve,
}

/// What decides about edited selections and, with each table's own setting, about source tables
/// that changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// `on_selection_change:` of the pipeline.
    pub(crate) on_selection_change: OnSelectionChange,
    /// `--full-refresh`, which agrees to edits of all tables that it reads again.
    pub(crate) full_refresh: bool,
    /// Tables whose edits were agreed to by `--approve`.
    pub(crate) approved: &'a [String],
}

impl Rules<'_> {
    /// Whether the tables named by `--approve` are there.
    pub(crate) fn check<'a>(
        &self,
        tables: impl Iterator<Item = &'a PlannedTable> + Clone,
    ) -> Result<(), Failure> {
        for name in self.approved {
            if tables.clone().any(|table| is_named(table, name)) {
                continue;
            }
            let streams: Vec<_> = tables.map(PlannedTable::stream).collect();
            let message = format!("`--approve` names `{name}`, which this run has no table of");
            return Err(Failure::new(exit_code::CONFIG, message)
                .with_hint(format!("tables of this run: {}", streams.join(", "))));
        }
        Ok(())
    }

    fn agrees_to_edits(&self, table: &PlannedTable) -> bool {
        match self.on_selection_change {
            OnSelectionChange::Reload => true,
            OnSelectionChange::Approve => self.is_approved(table),
            OnSelectionChange::Fail => false,
        }
    }

    fn agrees_to_source(&self, table: &PlannedTable) -> bool {
        match table.plan.new_column {
            NewColumn::Add => true,
            // A column that is copied already cannot be ignored when it becomes another one.
            NewColumn::Approve | NewColumn::Ignore => self.is_approved(table),
            NewColumn::Fail => false,
        }
    }

    fn is_approved(&self, table: &PlannedTable) -> bool {
        self.full_refresh || self.approved.iter().any(|name| is_named(table, name))
    }
}

fn is_named(table: &PlannedTable, name: &str) -> bool {
    table.stream() == name || table.plan.read.description.name.name == name
}

/// What a run does with a table, and what its target table needs first.
#[derive(Debug)]
pub(crate) struct Decision {
    /// What a run does.
    pub(crate) action: Action,
    /// What was edited since the table was loaded.
    pub(crate) changes: Vec<SelectionChange>,
    /// What became of the source's table since then.
    pub(crate) source: Vec<SourceChange>,
    /// How the target table has to be altered first.
    pub(crate) alteration: Option<TableAlteration>,
    /// The target table that it wrote before and does not write any more.
    pub(crate) leaves: Option<TableName>,
    /// What is to be stored of the selection although no row is loaded again.
    pub(crate) retelling: Option<Retelling>,
}

/// Decides.
///
/// # Errors
/// Everything that stops the table: a target that is not ours, or that differs in what an
/// alteration does not settle.
pub(crate) fn decide(
    table: &PlannedTable,
    state: &PipelineState,
    key: &PipelineKey,
    rules: Rules<'_>,
) -> Result<Decision, Failures> {
    let stream = table.stream();
    let stored = state.streams.iter().find(|stored| stored.stream == stream);
    let moved = stored.filter(|stored| !is_same(&stored.target, &table.target.name));
    if stored.is_none() || moved.is_some() {
        may_claim(table, state, key)?;
    }
    let edited = stored.filter(|stored| stored.selection != table.plan.read.selection);
    let reshape = needed_reshape(table, state, edited.filter(|_| moved.is_none()))?;
    let unsettled = table.status.differences.iter().filter(|difference| {
        let settles = |reshape: &Reshape| reshape.settles(difference);
        let is_needed = difference.about != About::Changes || table.write() != WriteMode::Append;
        is_needed && !reshape.as_ref().is_some_and(settles)
    });
    let unsettled: Vec<_> = unsettled
        .map(|difference| {
            // What is wrong, then what mends it.
            let difference = difference.to_string();
            let (wrong, mend) = difference.split_once("; ").unwrap_or((&difference, ""));
            let message = format!("table `{stream}`: {wrong}");
            let failure = Failure::new(exit_code::APPROVAL, message);
            match mend {
                "" => failure.with_hint("alter the target table, or leave the column out"),
                mend => failure.with_hint(format!("at the target: {mend}")),
            }
        })
        .collect();
    if !unsettled.is_empty() {
        return Err(Failures(unsettled));
    }
    let made = made_of(table, state);
    let since = Since::of(table, stored, made);
    let action = action(table, stored, reshape.is_some(), &since, rules);
    let mut alteration = reshape.map(|reshape| reshape.alteration);
    if let Some(alteration) = &mut alteration
        && since.leaves_rows(table)
    {
        alteration.rows = HeldRows::Stay;
    }
    if table.write() == WriteMode::Append && !table.status.empty {
        let held = "its target table holds rows already";
        match &action {
            Action::Load => return Err(would_append_twice(table, held).into()),
            Action::Reload(why) => {
                return Err(would_append_twice(table, &format!("{why}, and {held}")).into());
            }
            Action::Resume | Action::Follow | Action::Full | Action::Approve => {}
        }
    }
    Ok(Decision {
        changes: since.edits,
        source: since.source,
        retelling: stored.and_then(|stored| retelling(table, stored, &action)),
        action,
        alteration,
        leaves: moved.map(|stored| stored.target.clone()),
    })
}

/// What changed since a table was loaded, by who changed it.
#[derive(Debug, Default)]
struct Since {
    /// Whether somebody edited the selection.
    is_edited: bool,
    /// What of it, as far as it is known.
    edits: Vec<SelectionChange>,
    /// What became of the source's table.
    source: Vec<SourceChange>,
}

impl Since {
    fn of(table: &PlannedTable, stored: Option<&StreamState>, made: Option<&MadeTable>) -> Self {
        let Some(stored) = stored else {
            return Self::default();
        };
        let was_reset = stored.selection.is_empty();
        let is_other = stored.selection != table.plan.read.selection;
        let before = stored.selection_text.as_deref().unwrap_or_default();
        let changes = match is_other {
            true => selection_changes(before, &table.plan.selection_text),
            false => Vec::new(),
        };
        // Another run may have brought a new column since this one was planned, or may have been
        // killed after it was agreed to.
        let is_half_done =
            |column: &str| was_reset && made.is_some_and(|made| is_made(made, column));
        let is_open = |change: &&SourceChange| match change.kind {
            SourceChangeKind::Added => {
                let column = &change.column;
                changes.iter().any(|edit| adds(edit, column)) && !is_half_done(column)
            }
            SourceChangeKind::Replaced => !was_reset,
        };
        let source = table.plan.source_changes.iter().filter(is_open);
        let source: Vec<_> = source.cloned().collect();
        let is_known = |edit: &SelectionChange| {
            let mut added = source.iter();
            added.any(|change| change.kind == SourceChangeKind::Added && adds(edit, &change.column))
        };
        let has_changes = !changes.is_empty();
        let edits: Vec<_> = changes.into_iter().filter(|edit| !is_known(edit)).collect();
        Self {
            is_edited: !was_reset && is_other && (!edits.is_empty() || !has_changes),
            edits,
            source,
        }
    }

    /// Whether the rows that are at the target stay as they are. What was appended once cannot be
    /// read again: new columns are filled from here on.
    fn leaves_rows(&self, table: &PlannedTable) -> bool {
        table.write() == WriteMode::Append && !self.source.is_empty() && !self.is_edited
    }

    fn reason(&self) -> String {
        let mut parts = Vec::new();
        if !self.source.is_empty() {
            parts.push(format!("the source has {}", listed_changes(&self.source)));
        }
        if self.is_edited {
            parts.push(reason(&self.edits));
        }
        parts.join("; ")
    }
}

/// Whether the selection has one more column, this one of the source.
fn adds(edit: &SelectionChange, column: &str) -> bool {
    edit.what == "columns" && edit.before.is_none() && edit.after.as_deref() == Some(column)
}

fn listed_changes(changes: &[SourceChange]) -> String {
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    changes.join(", ")
}

fn action(
    table: &PlannedTable,
    stored: Option<&StreamState>,
    is_reshaped: bool,
    since: &Since,
    rules: Rules<'_>,
) -> Action {
    let has_windows = table.plan.read.capture.has_windows();
    let Some(stored) = stored else {
        return if has_windows {
            Action::Load
        } else {
            Action::Full
        };
    };
    let was_reset = stored.selection.is_empty();
    let has_changed = !since.source.is_empty();
    if since.is_edited && !rules.agrees_to_edits(table)
        || has_changed && !rules.agrees_to_source(table)
    {
        return Action::Approve;
    }
    if rules.full_refresh {
        return Action::Reload("--full-refresh".into());
    }
    if was_reset {
        return Action::Reload("it was reset, or its table was altered".into());
    }
    let leaves_rows = since.leaves_rows(table);
    if (since.is_edited || has_changed) && !leaves_rows {
        return Action::Reload(since.reason());
    }
    if !table.status.exists {
        return Action::Reload("the target table is gone".into());
    }
    if is_reshaped && !leaves_rows {
        // As after a crash between an alteration and the load that fills it, if the edit was
        // undone before the next run.
        return Action::Reload("columns of the target table are not what was loaded".into());
    }
    if !has_windows {
        return Action::Full;
    }
    match stored.phase {
        StreamPhase::Loading | StreamPhase::Settling => Action::Resume,
        StreamPhase::Following => Action::Follow,
    }
}

/// What is to be stored of the selection of a stream that goes on where it was: state of an older
/// version does not say how columns were chosen, an edit may choose the same ones in another way,
/// and a table that is appended to gets new columns without being loaded again.
fn retelling(table: &PlannedTable, stored: &StreamState, action: &Action) -> Option<Retelling> {
    match action {
        Action::Follow | Action::Resume => {}
        // A table that is read whole stores it with each run.
        Action::Full | Action::Load | Action::Reload(_) | Action::Approve => return None,
    }
    let text = &table.plan.selection_text;
    (stored.selection_text.as_ref() != Some(text)).then(|| Retelling {
        stream: stored.stream.clone(),
        from: stored.selection.clone(),
        selection: table.plan.read.selection.clone(),
        selection_text: text.clone(),
    })
}

fn reason(changes: &[SelectionChange]) -> String {
    let mut parts: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
    parts.sort_unstable();
    parts.dedup();
    match parts.as_slice() {
        [] => "its selection was edited".to_owned(),
        _ => format!("its selection was edited ({})", parts.join(", ")),
    }
}

/// What has to become of a target table that exists and is ours.
fn needed_reshape(
    table: &PlannedTable,
    state: &PipelineState,
    edited: Option<&StreamState>,
) -> Result<Option<Reshape>, Failure> {
    let made = made_of(table, state);
    if !table.status.exists || made.is_none() && edited.is_none() {
        return Ok(None);
    }
    let written = edited.map(|stored| written_columns(stored.selection_text.as_deref()));
    reshape(table, made, written.as_deref())
}

/// What was made of the target table.
fn made_of<'a>(table: &PlannedTable, state: &'a PipelineState) -> Option<&'a MadeTable> {
    let target = &table.target.name;
    state.made.iter().find(|made| is_same(&made.target, target))
}

/// Names at the target of the columns that a selection wrote.
fn written_columns(selection_text: Option<&str>) -> Vec<String> {
    let selection: serde_json::Value = selection_text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let columns = selection["columns"].as_array();
    let names = columns.into_iter().flatten();
    let names = names.filter_map(|column| column["to"].as_str());
    let deleted_at = selection["on_delete"].as_str().map(|_| DELETED_AT);
    let marks = deleted_at
        .into_iter()
        .chain(selection["synced_at"].as_str());
    names.chain(marks).map(str::to_owned).collect()
}

/// Stores without schemas leave theirs out, or call it `main`.
fn is_same(left: &TableName, right: &TableName) -> bool {
    let schemas_fit =
        left.schema == right.schema || left.schema.is_none() || right.schema.is_none();
    left.name == right.name && schemas_fit
}

/// A target table may be claimed if it is ours already, or nobody's and without a row.
fn may_claim(
    table: &PlannedTable,
    state: &PipelineState,
    key: &PipelineKey,
) -> Result<(), Failure> {
    let target = &table.target.name;
    let refuse = |what: String, hint: &str| {
        let message = format!("table `{}`: target table `{target}` {what}", table.stream());
        Err(Failure::new(exit_code::GUARD, message).with_hint(hint))
    };
    match state
        .owners
        .iter()
        .find(|owner| is_same(&owner.target, target))
    {
        Some(owner) if owner.key == *key => Ok(()),
        Some(owner) => refuse(
            format!("belongs to pipeline `{}`", owner.key),
            "write to another table with `to:`; two pipelines never write one table",
        )
        .map_err(|failure| Failure {
            owner: Some(Box::new(owner.key.clone())),
            ..failure
        }),
        None if table.status.exists && !table.status.empty => refuse(
            "holds rows that syncset did not write".into(),
            "write to another table with `to:`, or empty this one; nothing was changed",
        ),
        None => Ok(()),
    }
}

/// The failure of a table whose rows could only be appended once more.
pub(crate) fn would_append_twice(table: &PlannedTable, reason: &str) -> Failure {
    let (stream, target) = (table.stream(), &table.target.name);
    let message = format!("table `{stream}` is appended to and cannot be loaded again: {reason}");
    Failure::new(exit_code::GUARD, message).with_hint(format!(
        "nothing was written; empty `{target}` and run with `--full-refresh --tables {stream}`, or \
         write to another table with `to:`"
    ))
}

/// The failure of a table whose selection was edited or whose source changed, and that nobody
/// agreed to.
pub(crate) fn not_agreed(
    table: &PlannedTable,
    pipeline: &str,
    decision: &Decision,
    rules: Rules<'_>,
) -> Failure {
    let stream = table.stream();
    if !decision.source.is_empty() && !rules.agrees_to_source(table) {
        let message = format!(
            "table `{stream}`: the source has {}, and `new_column` does not let it in",
            listed_changes(&decision.source)
        );
        let hint = if table.plan.new_column == NewColumn::Fail {
            "write `schema: { new_column: add }` or `ignore`, or leave the column out with `columns: { exclude: [..] }`".to_owned()
        } else {
            format!(
                "see what it does with `syncset pipeline plan {pipeline}`, then agree with `syncset pipeline run {pipeline} --approve {stream}`; or leave the column out with `columns: {{ exclude: [..] }}`"
            )
        };
        return Failure::new(exit_code::APPROVAL, message).with_hint(hint);
    }
    let changes: Vec<_> = decision.changes.iter().map(ToString::to_string).collect();
    let changes = match changes.as_slice() {
        [] => String::new(),
        _ => format!(": {}", changes.join("; ")),
    };
    let message =
        format!("table `{stream}`: its selection was edited since it was loaded{changes}");
    let hint = if rules.on_selection_change == OnSelectionChange::Fail {
        "undo the edit; or write `on_selection_change: reload` or `approve`, then look at `syncset pipeline plan`".to_owned()
    } else {
        format!(
            "see what it does with `syncset pipeline plan {pipeline}`, then agree with `syncset pipeline run {pipeline} --approve {stream}`; or undo the edit"
        )
    };
    Failure::new(exit_code::APPROVAL, message).with_hint(hint)
}

/// What a person should know of a target table that is not written any more.
pub(crate) fn left_behind(store: &dyn Store, target: &TableName) -> String {
    format!(
        "`{target}` is not written any more: its rows stay; to drop them: DROP TABLE {}",
        store.quoted(target)
    )
}

/// Streams with stored progress that the pipeline no longer has, each with the sentence that says
/// what to do. `planned`: all tables of the pipeline; `store`: its target.
pub(crate) fn departed<'a>(
    state: &PipelineState,
    pipeline: &str,
    planned: impl Iterator<Item = &'a PlannedTable> + Clone,
    store: &dyn Store,
) -> Vec<String> {
    let is_gone = |stored: &&StreamState| {
        !stored.selection.is_empty()
            && !planned.clone().any(|table| {
                table.stream() == stored.stream || is_same(&table.target.name, &stored.target)
            })
    };
    let gone = state.streams.iter().filter(is_gone);
    gone.map(|stored| gone_sentence(store, stored, pipeline))
        .collect()
}

/// What a person should know of a table that the pipeline no longer has.
pub(crate) fn gone_sentence(store: &dyn Store, stored: &StreamState, pipeline: &str) -> String {
    let (stream, target) = (&stored.stream, &stored.target);
    format!(
        "table `{stream}` is not in the pipeline any more: `{target}` stays as it was; \
         to forget it: syncset pipeline reset {pipeline} --tables {stream}; \
         to drop its rows: DROP TABLE {}",
        store.quoted(target)
    )
}
