//! What a run does with a table, given what is stored of it. Pure.

use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::planned::{PlannedTable, quoted};
use crate::reshape::{Reshape, reshape};
use serde::Serialize;
use syncset_connector::{
    About, PipelineKey, PipelineState, StreamPhase, StreamState, TableAlteration, TableName,
    WriteMode,
};
use syncset_pipeline::{DELETED_AT, OnSelectionChange, SelectionChange, selection_changes};

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
    /// Nothing until a person agrees: the selection was edited.
    Approve,
}

/// What decides about edited selections.
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

    fn agrees(&self, table: &PlannedTable) -> bool {
        match self.on_selection_change {
            OnSelectionChange::Reload => true,
            OnSelectionChange::Approve => {
                self.full_refresh || self.approved.iter().any(|name| is_named(table, name))
            }
            OnSelectionChange::Fail => false,
        }
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
    /// How the target table has to be altered first.
    pub(crate) alteration: Option<TableAlteration>,
    /// The target table that it wrote before and does not write any more.
    pub(crate) leaves: Option<TableName>,
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
    let changes = edited
        .and_then(|stored| stored.selection_text.as_deref())
        .map(|before| selection_changes(before, &table.plan.selection_text))
        .unwrap_or_default();
    let action = action(table, stored, reshape.is_some(), &changes, rules);
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
        action,
        changes,
        alteration: reshape.map(|reshape| reshape.alteration),
        leaves: moved.map(|stored| stored.target.clone()),
    })
}

fn action(
    table: &PlannedTable,
    stored: Option<&StreamState>,
    is_reshaped: bool,
    changes: &[SelectionChange],
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
    let is_edited = !was_reset && stored.selection != table.plan.read.selection;
    if is_edited && !rules.agrees(table) {
        return Action::Approve;
    }
    if rules.full_refresh {
        return Action::Reload("--full-refresh".into());
    }
    if was_reset {
        return Action::Reload("it was reset, or its table was altered".into());
    }
    if is_edited {
        return Action::Reload(reason(changes));
    }
    if !table.status.exists {
        return Action::Reload("the target table is gone".into());
    }
    if is_reshaped {
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
    let target = &table.target.name;
    let made = state.made.iter().find(|made| is_same(&made.target, target));
    if !table.status.exists || made.is_none() && edited.is_none() {
        return Ok(None);
    }
    let written = edited.map(|stored| written_columns(stored.selection_text.as_deref()));
    reshape(table, made, written.as_deref())
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

/// The failure of a table whose selection was edited and that nobody agreed to.
pub(crate) fn selection_changed(
    table: &PlannedTable,
    pipeline: &str,
    decision: &Decision,
    rules: Rules<'_>,
) -> Failure {
    let stream = table.stream();
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
pub(crate) fn left_behind(target: &TableName) -> String {
    format!(
        "`{target}` is not written any more: its rows stay; to drop them: DROP TABLE {}",
        quoted(target)
    )
}

/// Streams with stored progress that the pipeline no longer has, each with the sentence that says
/// what to do. `planned`: all tables of the pipeline.
pub(crate) fn departed<'a>(
    state: &PipelineState,
    pipeline: &str,
    planned: impl Iterator<Item = &'a PlannedTable> + Clone,
) -> Vec<String> {
    let is_gone = |stored: &&StreamState| {
        !stored.selection.is_empty()
            && !planned.clone().any(|table| {
                table.stream() == stored.stream || is_same(&table.target.name, &stored.target)
            })
    };
    let gone = state.streams.iter().filter(is_gone);
    gone.map(|stored| gone_sentence(stored, pipeline)).collect()
}

/// What a person should know of a table that the pipeline no longer has.
pub(crate) fn gone_sentence(stored: &StreamState, pipeline: &str) -> String {
    let (stream, target) = (&stored.stream, &stored.target);
    format!(
        "table `{stream}` is not in the pipeline any more: `{target}` stays as it was; \
         to forget it: syncset pipeline reset {pipeline} --tables {stream}; \
         to drop its rows: DROP TABLE {}",
        quoted(target)
    )
}
