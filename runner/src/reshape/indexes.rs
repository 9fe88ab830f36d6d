//! What becomes of keys, indexes and comments of ours when columns change.

use super::comparison::Comparison;
use crate::foreign_keys::Beside;
use syncset_connector::{Comments, IndexKind, MadeIndex, TableChange};

impl Comparison<'_> {
    /// The further keys and indexes of ours that stay, under the names that their columns get, and
    /// those that go: nobody wants them any more, or a column of theirs is made anew. Those are built
    /// again after the rows.
    pub(super) fn indexes(
        &self,
        changes: &[TableChange],
    ) -> (Option<Vec<MadeIndex>>, Vec<MadeIndex>) {
        let Some(indexes) = self.indexes else {
            return (None, Vec::new());
        };
        let is_made_anew = |name: &String| {
            changes.iter().any(|change| match change {
                TableChange::Drop(it) | TableChange::Clear(it) => it == name,
                TableChange::Widen(column, _) => column.name == *name,
                // A store may have to make the whole table anew.
                TableChange::Key(_) => true,
                TableChange::DropIndex(_)
                | TableChange::Rename { .. }
                | TableChange::Relax(_)
                | TableChange::Add(_) => false,
            })
        };
        let by_now = |name: &String| {
            let to = changes.iter().find_map(|change| match change {
                TableChange::Rename { from, to } if from == name => Some(to),
                _ => None,
            });
            to.unwrap_or(name).clone()
        };
        let (mut stay, mut gone) = (Vec::new(), Vec::new());
        let own = &self.planned.target.name;
        for index in indexes {
            let mut renamed = index.clone();
            renamed.columns = index.columns.iter().map(by_now).collect();
            let mut columns: Vec<&String> = index.columns.iter().collect();
            if let IndexKind::ForeignKey {
                parent,
                parent_columns,
            } = &index.is
                && parent == own
            {
                columns.extend(parent_columns);
                renamed.is = IndexKind::ForeignKey {
                    parent: parent.clone(),
                    parent_columns: parent_columns.iter().map(by_now).collect(),
                };
            }
            let mut columns = columns.into_iter();
            let is_touched = columns.any(|name| is_made_anew(name) || is_made_anew(&by_now(name)));
            let wanted = self.planned.indexes.iter();
            let mut wanted = wanted.filter_map(|key| key.index.as_ref());
            let is_undecided = index.is.is_foreign_key()
                && self.planned.plan.copy.foreign_keys
                && self.planned.beside == Beside::Some;
            let is_wanted = is_undecided || wanted.any(|wanted| renamed.is_for(wanted));
            match !is_touched && is_wanted {
                true => stay.push(renamed),
                false => gone.push(index.clone()),
            }
        }
        (Some(stay), gone)
    }
}

/// The comments that columns still have after these changes, under their names by then. One whose
/// definition is spelled anew may have lost its own.
pub(super) fn left_of(comments: &Comments, changes: &[TableChange]) -> Comments {
    let is_spelled_anew = |name: &str| {
        changes.iter().any(|change| match change {
            TableChange::Drop(it) | TableChange::Clear(it) | TableChange::Relax(it) => it == name,
            TableChange::Widen(column, _) | TableChange::Add(column) => column.name == name,
            TableChange::Key(_) => true,
            TableChange::DropIndex(_) | TableChange::Rename { .. } => false,
        })
    };
    let by_now = |name: &str| {
        let to = changes.iter().find_map(|change| match change {
            TableChange::Rename { from, to } if from == name => Some(to.as_str()),
            _ => None,
        });
        to.unwrap_or(name).to_owned()
    };
    let columns = comments.columns.iter();
    let columns = columns.map(|(name, text)| (name, by_now(name), text));
    let left =
        columns.filter(|(name, by_now, _)| !is_spelled_anew(name) && !is_spelled_anew(by_now));
    Comments {
        table: comments.table.clone(),
        columns: left.map(|(_, name, text)| (name, text.clone())).collect(),
    }
}
