//! What changed since a table was loaded, and who changed it. Pure.

use crate::origin::{self, ByNow};
use crate::planned::PlannedTable;
use crate::reshape::is_made;
use crate::rules::{Fate, Rules, listed_changes};
use sha2::{Digest, Sha256};
use syncset_connector::{MadeTable, StreamState, WriteMode};
use syncset_pipeline::{
    OutputValue, Renames, SelectionChange, SourceChange, SourceChangeKind, is_same_selection,
    selection_changes, under_new_names,
};

/// What changed since a table was loaded, by who changed it.
#[derive(Debug, Default)]
pub(crate) struct Since {
    /// Whether somebody edited the selection.
    pub(crate) is_edited: bool,
    /// What of it, as far as it is known.
    pub(crate) edits: Vec<SelectionChange>,
    /// What became of the source's table.
    pub(crate) source: Vec<SourceChange>,
    /// Columns of which the target table says that somebody agreed already.
    settled: Vec<String>,
    /// The names that columns have got since.
    renames: Renames,
    /// Whether the target table was altered for just this, after somebody agreed to it.
    is_agreed: bool,
}

impl Since {
    /// Compares what is stored with the plan. `made`: what was made of the target table.
    pub(crate) fn of(
        table: &PlannedTable,
        stored: Option<&StreamState>,
        made: Option<&MadeTable>,
    ) -> Self {
        let Some(stored) = stored else {
            return Self::default();
        };
        let was_reset = stored.selection.is_empty();
        let text = stored.selection_text.as_deref().unwrap_or_default();
        let (before, renames) = under_new_names(text, &table.plan);
        let before = before.as_str();
        let is_other = stored.selection != table.plan.read.selection
            && !is_same_selection(before, &table.plan.selection_text);
        let changes = match is_other {
            true => selection_changes(before, &table.plan.selection_text),
            false => Vec::new(),
        };
        // Another run may have followed the source since this one was planned, or may have been
        // killed after it was agreed to.
        let is_half_done =
            |column: &str| was_reset && made.is_some_and(|made| is_made(made, column));
        // Another run may have stored the types already.
        let is_told_otherwise = text != table.plan.selection_text;
        let is_renamed = |change: &SourceChange| {
            let from = change.from.as_deref().unwrap_or_default();
            renames.to(from) == Some(&change.column) && !has_name(table, made, change)
        };
        // Its name went to a column that is renamed.
        let is_shadowed = |column: &str| {
            let mut others = table.plan.source_changes.iter();
            others.any(|other| other.from.is_some() && other.column == column && is_renamed(other))
        };
        let is_open = |change: &&SourceChange| match change.kind {
            SourceChangeKind::Added | SourceChangeKind::Unmasked => {
                let column = &change.column;
                changes.iter().any(|edit| adds(edit, column)) && !is_half_done(column)
            }
            SourceChangeKind::Replaced => !was_reset,
            SourceChangeKind::Dropped => {
                changes.iter().any(|edit| takes_away(edit, &change.column))
                    || is_shadowed(&change.column)
            }
            SourceChangeKind::Renamed | SourceChangeKind::LooksRenamed => is_renamed(change),
            SourceChangeKind::Key => !was_reset && changes.iter().any(|edit| edit.what == "key"),
            SourceChangeKind::Widened => is_told_otherwise,
            SourceChangeKind::Relaxed => is_told_otherwise && refuses_null(table, &change.column),
            SourceChangeKind::Retyped => is_told_otherwise && !was_reset,
        };
        let source = table.plan.source_changes.iter().filter(is_open);
        let source: Vec<_> = source.cloned().collect();
        let is_known = |edit: &SelectionChange| {
            source.iter().any(|change| match change.kind {
                SourceChangeKind::Added | SourceChangeKind::Unmasked => adds(edit, &change.column),
                SourceChangeKind::Key => edit.what == "key",
                SourceChangeKind::Dropped => takes_away(edit, &change.column),
                SourceChangeKind::Replaced
                | SourceChangeKind::Renamed
                | SourceChangeKind::LooksRenamed
                | SourceChangeKind::Widened
                | SourceChangeKind::Relaxed
                | SourceChangeKind::Retyped => false,
            })
        };
        let has_changes = !changes.is_empty();
        let edits: Vec<_> = changes.into_iter().filter(|edit| !is_known(edit)).collect();
        let left = |change: &&SourceChange| {
            change.kind == SourceChangeKind::Dropped
                && made.is_some_and(|made| !is_made(made, &change.column))
        };
        let settled = source.iter().filter(left);
        Self {
            is_edited: !was_reset && is_other && (!edits.is_empty() || !has_changes),
            settled: settled.map(|change| change.column.clone()).collect(),
            edits,
            source,
            renames,
            is_agreed: made.is_some_and(|made| made.agreed == agreement(table, stored)),
        }
    }

    /// Whether the target's columns that carry renamed ones are ours, so that they get their names.
    pub(crate) fn renames_ours(&self, table: &PlannedTable, made: Option<&MadeTable>) -> bool {
        let by_now = made.map(|made| ByNow::of(made, &table.plan, &self.renames));
        let mut renamed = self.source.iter().filter(|change| change.from.is_some());
        renamed.all(|change| {
            let by_now = by_now.as_ref();
            by_now.is_some_and(|by_now| by_now.carries(&table.plan, &change.column))
        })
    }

    /// Whether the rows that are at the target stay as they are. What was appended once cannot be
    /// read again: new columns are filled from here on.
    pub(crate) fn leaves_rows(&self, table: &PlannedTable) -> bool {
        table.write() == WriteMode::Append && !self.source.is_empty() && !self.is_edited
    }

    /// Whether no value of a column that is still copied has become another one.
    pub(crate) fn needs_no_rows(&self) -> bool {
        let mut source = self.source.iter();
        !self.is_edited
            && source.all(|change| match change.kind {
                SourceChangeKind::Dropped
                | SourceChangeKind::Renamed
                | SourceChangeKind::LooksRenamed
                | SourceChangeKind::Relaxed
                | SourceChangeKind::Widened => true,
                SourceChangeKind::Added
                | SourceChangeKind::Unmasked
                | SourceChangeKind::Replaced
                | SourceChangeKind::Key
                | SourceChangeKind::Retyped => false,
            })
    }

    /// What of the source's changes the target may not follow.
    pub(crate) fn refused(&self, table: &PlannedTable, rules: Rules<'_>) -> Vec<SourceChange> {
        let refused = self
            .source
            .iter()
            .filter(|change| match rules.fate(table, change) {
                Fate::Follows => false,
                Fate::Waits => !self.is_agreed && !self.settled.contains(&change.column),
                Fate::Refused => !self.settled.contains(&change.column),
            });
        refused.cloned().collect()
    }

    /// Why the table is loaded again.
    pub(crate) fn reason(&self) -> String {
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

/// What a person agrees to who lets the table follow its source from what is stored to what it is:
/// stored with the alteration, so that a run after a crash does not ask once more.
pub(crate) fn agreement(table: &PlannedTable, stored: &StreamState) -> String {
    let what = format!("{} {}", stored.version, table.plan.selection_text);
    let digest = Sha256::digest(what);
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether what we made of the table says already that a column has its new name.
fn has_name(table: &PlannedTable, made: Option<&MadeTable>, change: &SourceChange) -> bool {
    let origin = origin::of_column(&table.plan, &change.column);
    let mut columns = made.iter().flat_map(|made| &made.columns);
    columns.any(|column| origin::unmasked(&column.origin) == origin)
}

/// Whether the target's column that carries this one of the source is not known to take NULL.
fn refuses_null(table: &PlannedTable, column: &str) -> bool {
    let carried = table.plan.outputs.iter().zip(&table.status.holds);
    let mut carried = carried.filter(|(output, _)| carries(&output.value, column));
    carried.any(|(output, holds)| !holds.nullable || !table.status.columns.contains(&output.name))
}

/// Whether these are the values of a column of the source, masked or not.
fn carries(value: &OutputValue, column: &str) -> bool {
    match value {
        OutputValue::Column(name) => name == column,
        OutputValue::Derived { .. } | OutputValue::Plugin { .. } => false,
        OutputValue::Masked(value, _) => carries(value, column),
    }
}

/// Whether the selection has one more column, this one of the source.
fn adds(edit: &SelectionChange, column: &str) -> bool {
    edit.what == "columns" && edit.before.is_none() && edit.after.as_deref() == Some(column)
}

/// Whether the selection has one column less, this one of the source.
fn takes_away(edit: &SelectionChange, column: &str) -> bool {
    edit.what == "columns" && edit.after.is_none() && edit.before.as_deref() == Some(column)
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
