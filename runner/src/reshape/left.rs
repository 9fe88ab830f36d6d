//! What becomes of columns of ours whose column the source dropped.

use super::comparison::{Comparison, wanted};
use crate::origin;
use syncset_connector::{MadeColumn, TableChange};
use syncset_pipeline::{DroppedColumn, SourceChangeKind};

/// Columns that we made, whose column the source dropped.
#[derive(Default)]
pub(super) struct Left {
    /// Those that stay, with what is said of them from here on.
    pub(super) stay: Vec<MadeColumn>,
    /// What changes about them.
    pub(super) changes: Vec<TableChange>,
    /// Whether something else is said of one than was.
    pub(super) is_to_be_told: bool,
}

impl Left {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let dropped = self.changes.iter().filter_map(|change| match change {
            TableChange::Drop(name) => Some(name.as_str()),
            _ => None,
        });
        self.stay.iter().map(|it| it.name.as_str()).chain(dropped)
    }
}

/// What is said of a column that stays although the source dropped the one that it carried.
fn left_origin(column: &str, has_values: bool) -> String {
    let what = if has_values { "kept" } else { "cleared" };
    serde_json::json!({ what: column }).to_string()
}

/// The column of the source that a column carried before the source dropped it.
fn left_from(origin: &str) -> Option<String> {
    let origin: serde_json::Value = serde_json::from_str(origin).ok()?;
    let column = origin.get("kept").or_else(|| origin.get("cleared"))?;
    column.as_str().map(str::to_owned)
}

impl<'a> Comparison<'a> {
    /// What becomes of columns whose column the source dropped. One whose name is wanted for
    /// another value is none of them: it makes way.
    pub(super) fn left(&self) -> Left {
        let mut left = Left::default();
        let policy = self.planned.plan.schema.dropped_column;
        let wanted = wanted(self.planned);
        for column in self.ours() {
            let gone = self.dropped_source(column);
            let before = left_from(&column.origin);
            let is_wanted = wanted.iter().any(|it| it.name == column.name);
            let Some(source) = gone.or(before.as_deref()).filter(|_| !is_wanted) else {
                continue;
            };
            let has_values = column.origin != left_origin(source, false);
            let goes = match policy {
                DroppedColumn::Drop => true,
                // What was kept once is not asked about again.
                DroppedColumn::Approve => gone.is_some(),
                DroppedColumn::Keep | DroppedColumn::Null | DroppedColumn::Fail => false,
            };
            if goes {
                left.changes.push(TableChange::Drop(column.name.clone()));
                continue;
            }
            let is_cleared = policy == DroppedColumn::Null && has_values;
            if is_cleared {
                left.changes.push(TableChange::Clear(column.name.clone()));
            } else if self.differs(&column.name) {
                left.changes.push(TableChange::Relax(column.name.clone()));
            }
            let origin = left_origin(source, has_values && !is_cleared);
            left.is_to_be_told |= origin != column.origin;
            left.stay.push(MadeColumn {
                name: column.name.clone(),
                origin,
            });
        }
        left
    }

    /// The column of the source that this one carries, if the source dropped it.
    pub(super) fn dropped_source(&self, column: &MadeColumn) -> Option<&'a str> {
        let plan = &self.planned.plan;
        let changes = plan.source_changes.iter();
        let mut dropped = changes.filter(|change| change.kind == SourceChangeKind::Dropped);
        let is_gone = |source: &str| {
            let is_there = plan.read.description.column(source).is_some();
            column.origin == origin::of_shadowed(source)
                || !is_there && origin::unmasked(&column.origin) == origin::of_column(plan, source)
        };
        dropped
            .find(|change| is_gone(&change.column))
            .map(|change| change.column.as_str())
    }

    /// Whether this column of ours stays with what it holds, although the source dropped the one that
    /// it carried.
    pub(super) fn keeps_values(&self, name: &str) -> bool {
        let mut ours = self.ours();
        let Some(column) = ours.find(|column| column.name == name) else {
            return false;
        };
        let gone = self.dropped_source(column);
        let before = left_from(&column.origin);
        let has_values = gone
            .or(before.as_deref())
            .is_some_and(|source| column.origin != left_origin(source, false));
        has_values
            && match self.planned.plan.schema.dropped_column {
                DroppedColumn::Keep | DroppedColumn::Fail => true,
                // What was kept once is not asked about again.
                DroppedColumn::Approve => gone.is_none(),
                DroppedColumn::Null | DroppedColumn::Drop => false,
            }
    }

    /// Whether a column that goes held nothing that is still copied.
    pub(super) fn is_past(&self, name: &str) -> bool {
        let mut ours = self.ours().filter(|column| column.name == name);
        ours.any(|column| {
            self.dropped_source(column).is_some() || left_from(&column.origin).is_some()
        })
    }
}
