//! Who has to agree before a run touches a table whose selection was edited or whose source changed.
//! Pure.

use crate::decision::Decision;
use crate::exit_code;
use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::shell;

use serde::{Deserialize, Serialize};
use syncset_pipeline::{
    DroppedColumn, KeyChangeSetting, NewColumn, NullableColumn, OnSelectionChange, RenamedColumn,
    SourceChange, SourceChangeKind, TypeChange,
};

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

    /// Whether the table may be loaded under an edited selection.
    pub(crate) fn agrees_to_edits(&self, table: &PlannedTable) -> bool {
        match self.on_selection_change {
            OnSelectionChange::Reload => true,
            OnSelectionChange::Approve => self.is_approved(table),
            OnSelectionChange::Fail => false,
        }
    }

    /// What becomes of a change of the source's table that nobody agreed to yet.
    pub(crate) fn fate(&self, table: &PlannedTable, change: &SourceChange) -> Fate {
        match Policy::of(table, change) {
            Policy::Refuse => Fate::Refused,
            Policy::Follow => Fate::Follows,
            Policy::Ask if self.is_approved(table) => Fate::Follows,
            Policy::Ask => Fate::Waits,
        }
    }

    /// Whether a person agreed to what becomes of the table.
    pub(crate) fn is_approved(&self, table: &PlannedTable) -> bool {
        self.full_refresh || self.approved.iter().any(|name| is_named(table, name))
    }
}

/// What becomes of a change of the source's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// A run follows it.
    Follows,
    /// It waits until a person agrees.
    Waits,
    /// It stops the table whatever a person says on the command line.
    Refused,
}

fn is_named(table: &PlannedTable, name: &str) -> bool {
    table.stream() == name || table.plan.read.description.name.name == name
}

/// What the file says about a change of the source's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Follow,
    Ask,
    Refuse,
}

impl Policy {
    fn of(table: &PlannedTable, change: &SourceChange) -> Self {
        let schema = &table.plan.schema;
        match change.kind {
            SourceChangeKind::Added | SourceChangeKind::Replaced => match schema.new_column {
                NewColumn::Add => Self::Follow,
                // A column that is copied already cannot be ignored when it becomes another one.
                NewColumn::Approve | NewColumn::Ignore => Self::Ask,
                NewColumn::Fail => Self::Refuse,
            },
            SourceChangeKind::Unmasked => Self::Refuse,
            SourceChangeKind::Dropped => match schema.dropped_column {
                DroppedColumn::Keep | DroppedColumn::Null | DroppedColumn::Drop => Self::Follow,
                DroppedColumn::Approve => Self::Ask,
                DroppedColumn::Fail => Self::Refuse,
            },
            SourceChangeKind::Renamed | SourceChangeKind::LooksRenamed => {
                let is_told = change.kind == SourceChangeKind::Renamed;
                match schema.renamed_column {
                    RenamedColumn::Follow if is_told => Self::Follow,
                    RenamedColumn::Follow | RenamedColumn::Add | RenamedColumn::Approve => {
                        Self::Ask
                    }
                    RenamedColumn::Fail => Self::Refuse,
                }
            }
            SourceChangeKind::Widened => match schema.type_change {
                TypeChange::Widen => Self::Follow,
                TypeChange::Approve => Self::Ask,
                TypeChange::Fail => Self::Refuse,
            },
            SourceChangeKind::Key => match schema.key_change {
                KeyChangeSetting::Approve => Self::Ask,
                KeyChangeSetting::Fail => Self::Refuse,
            },
            SourceChangeKind::Relaxed => match schema.nullable_column {
                NullableColumn::Follow => Self::Follow,
                NullableColumn::Approve => Self::Ask,
                NullableColumn::Fail => Self::Refuse,
            },
            SourceChangeKind::Retyped => match schema.type_change {
                TypeChange::Widen | TypeChange::Approve => Self::Ask,
                TypeChange::Fail => Self::Refuse,
            },
        }
    }
}

/// The key of `schema:` that a change is about, and what else may stand there.
fn key_of(kind: SourceChangeKind) -> (&'static str, &'static str) {
    match kind {
        SourceChangeKind::Added | SourceChangeKind::Replaced => (
            "new_column",
            "write `schema: { new_column: add }` or `ignore`, or leave the column out with `columns: { exclude: [..] }`",
        ),
        SourceChangeKind::Unmasked => (
            "unmasked_columns: fail",
            "hide it with `mask:`, name it in `columns`, or leave it out with `columns: { exclude: [..] }`",
        ),
        SourceChangeKind::Dropped => (
            "dropped_column",
            "write `schema: { dropped_column: keep }`, `null` or `drop`",
        ),
        SourceChangeKind::Renamed | SourceChangeKind::LooksRenamed => (
            "renamed_column",
            "write `schema: { renamed_column: follow }` or `add`",
        ),
        SourceChangeKind::Key => (
            "key_change",
            "write `schema: { key_change: approve }`, or name columns that are unique and never NULL with `key: [..]`",
        ),
        SourceChangeKind::Relaxed => (
            "nullable_column",
            "write `schema: { nullable_column: follow }` or `approve`, or leave the column out with `columns: { exclude: [..] }`",
        ),
        SourceChangeKind::Widened | SourceChangeKind::Retyped => (
            "type_change",
            "write `schema: { type_change: widen }` or `approve`, or leave the column out with `columns: { exclude: [..] }`",
        ),
    }
}

/// What else helps than to agree.
fn way_out(kind: SourceChangeKind) -> &'static str {
    match kind {
        SourceChangeKind::Added
        | SourceChangeKind::Unmasked
        | SourceChangeKind::Replaced
        | SourceChangeKind::Widened
        | SourceChangeKind::Relaxed
        | SourceChangeKind::Retyped => "leave the column out with `columns: { exclude: [..] }`",
        SourceChangeKind::Dropped => {
            "keep the target's column with `schema: { dropped_column: keep }`"
        }
        SourceChangeKind::Key => {
            "keep the rows apart by the columns that you name with `key: [..]`"
        }
        SourceChangeKind::Renamed => {
            "let the target have both columns with `schema: { renamed_column: add }`"
        }
        SourceChangeKind::LooksRenamed => {
            "if they are two columns, say so with `schema: { renamed_column: add }`"
        }
    }
}

/// Changes as a list within a sentence.
pub(crate) fn listed_changes(changes: &[SourceChange]) -> String {
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    changes.join(", ")
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
    let word = shell::word(stream);
    if let Some(first) = decision.refused.first() {
        let (key, values) = key_of(first.kind);
        let message = format!(
            "table `{stream}`: the source has {}, and `{key}` does not let it in",
            listed_changes(&decision.refused)
        );
        let hint = match Policy::of(table, first) {
            Policy::Refuse => values.to_owned(),
            Policy::Follow | Policy::Ask => format!(
                "see what it does with `syncset schema diff {pipeline}`, then agree with `syncset schema approve {pipeline} --tables {word}`; or {}",
                way_out(first.kind)
            ),
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
            "see what it does with `syncset pipeline plan {pipeline}`, then agree with `syncset pipeline run {pipeline} --approve {word}`; or undo the edit"
        )
    };
    Failure::new(exit_code::APPROVAL, message).with_hint(hint)
}
