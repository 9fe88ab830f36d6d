//! From what was made of a target table to what it has to be: the list of changes. Pure.
//!
//! A column keeps its values only if their origin stays the same. Anything else starts empty and
//! is filled by the load that follows, so that no value of a column that is no longer selected is
//! left under any name, and no reader takes an old value for a new one.

use crate::exit_code;
use crate::failure::Failure;
use crate::foreign_keys::Beside;
use crate::origin::{self, ByNow};
use crate::planned::PlannedTable;
use std::collections::BTreeSet;
use syncset_connector::{
    About, Comments, Difference, Domain as ValueDomain, HeldRows, IndexKind, MadeColumn, MadeIndex,
    MadeTable, ReleasedKeys, SchemaVersion, TableAlteration, TableChange, TableCopy, TargetColumn,
    WriteMode,
};
use syncset_pipeline::{DroppedColumn, Renames, SourceChangeKind};

/// What a table becomes, and which of its differences that settles.
#[derive(Debug)]
pub(crate) struct Reshape {
    /// The changes.
    pub(crate) alteration: TableAlteration,
    /// Whether the rows that are there are right afterwards: nothing changes but columns that are
    /// gone from the source.
    pub(crate) keeps_rows: bool,
}

impl Reshape {
    /// Whether the changes settle this difference.
    pub(crate) fn settles(&self, difference: &Difference) -> bool {
        let changes = &self.alteration.changes;
        match &difference.about {
            About::Column(name) => changes.iter().any(|change| match change {
                TableChange::Drop(changed)
                | TableChange::Relax(changed)
                | TableChange::Clear(changed) => changed == name,
                TableChange::Rename { from, to } => from == name || to == name,
                TableChange::Add(column) | TableChange::Widen(column, _) => column.name == *name,
                TableChange::DropIndex(_) | TableChange::Key(_) => false,
            }),
            // The key goes with a column that gets another name.
            About::Key => changes.iter().any(|change| match change {
                TableChange::Key(_) => true,
                TableChange::Rename { to, .. } => self.alteration.table.key.contains(to),
                TableChange::DropIndex(_)
                | TableChange::Drop(_)
                | TableChange::Relax(_)
                | TableChange::Clear(_)
                | TableChange::Widen(..)
                | TableChange::Add(_) => false,
            }),
            About::Table | About::Changes => false,
        }
    }
}

/// Whether the column that carries this column of the source is made already.
pub(crate) fn is_made(made: &MadeTable, source: &str) -> bool {
    let mut columns = made.columns.iter();
    columns.any(|column| origin::source_of(&column.origin).as_deref() == Some(source))
}

/// What is made of a table that is created from nothing.
pub(crate) fn made_whole(planned: &PlannedTable) -> MadeTable {
    MadeTable {
        target: planned.target.name.clone(),
        columns: wanted(planned),
        key: planned.target.key.clone(),
        agreed: String::new(),
        indexes: Some(Vec::new()),
        comments: None,
        history: Vec::new(),
    }
}

/// All columns that the table has to have, with what their values are made of.
fn wanted(planned: &PlannedTable) -> Vec<MadeColumn> {
    let marks = &planned.target.marks;
    let deleted_at = marks.deleted_at.iter().map(|name| mark(name, "deleted_at"));
    let synced_at = marks.synced_at.iter().map(|name| mark(name, "synced_at"));
    let outputs = planned.plan.outputs.iter().map(|output| MadeColumn {
        name: output.name.clone(),
        origin: origin::of_value(&planned.plan, &output.value),
    });
    outputs.chain(deleted_at).chain(synced_at).collect()
}

fn mark(name: &str, what: &str) -> MadeColumn {
    MadeColumn {
        name: name.to_owned(),
        origin: serde_json::json!({ "mark": what }).to_string(),
    }
}

/// What a table that exists has to become; `None` if it is right as it is.
///
/// `written`: the columns that were written under the selection that is stored; `None` if the
/// selection was not edited since, in which case only what we made is put right. `renames`: names
/// that columns of the source have got since.
///
/// # Errors
/// Exit 5 if the key names columns that the target's rows do not have yet.
pub(crate) fn reshape(
    planned: &PlannedTable,
    made: Option<&MadeTable>,
    written: Option<&[String]>,
    renames: &Renames,
    unfit: Unfit,
) -> Result<Option<Reshape>, Failure> {
    let by_now = made.map(|made| ByNow::of(made, &planned.plan, renames));
    let comparison = Comparison {
        planned,
        made: by_now.unwrap_or_default(),
        key: made.map_or(&[], |made| made.key.as_slice()),
        indexes: made.and_then(|made| made.indexes.as_deref()),
        comments: made.and_then(|made| made.comments.as_ref()),
        history: made.map_or(&[], |made| made.history.as_slice()),
        is_edited: written.is_some(),
        unfit,
    };
    let left = comparison.left();
    let reshape = comparison.reshape(&left, written.unwrap_or_default())?;
    let alteration = &reshape.alteration;
    let is_needed = !alteration.changes.is_empty()
        || !alteration.must_be_empty.is_empty()
        || left.is_to_be_told
        || !comparison.made.followed.is_empty();
    Ok(is_needed.then_some(reshape))
}

/// Columns that we made, whose column the source dropped.
#[derive(Default)]
struct Left {
    /// Those that stay, with what is said of them from here on.
    stay: Vec<MadeColumn>,
    /// What changes about them.
    changes: Vec<TableChange>,
    /// Whether something else is said of one than was.
    is_to_be_told: bool,
}

impl Left {
    fn names(&self) -> impl Iterator<Item = &str> {
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

/// What becomes of a column that we made and that cannot take the values any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is made anew: the selection was edited, or the table is being made what it has to be.
    MadeAnew,
    /// It stays unless the source changed this very column: somebody altered it by hand.
    Stays,
}

struct Comparison<'a> {
    planned: &'a PlannedTable,
    /// The columns that we made.
    made: ByNow,
    /// The primary key that we made.
    key: &'a [String],
    /// The further keys and indexes that we made; `None` if the table is not ours.
    indexes: Option<&'a [MadeIndex]>,
    /// The comments that we gave it.
    comments: Option<&'a Comments>,
    /// Its versions so far.
    history: &'a [SchemaVersion],
    is_edited: bool,
    unfit: Unfit,
}

impl<'a> Comparison<'a> {
    fn exists(&self, name: &str) -> bool {
        self.planned.status.columns.iter().any(|it| it == name)
    }

    /// Columns that we made and that are still there.
    fn ours(&self) -> impl Iterator<Item = &MadeColumn> {
        let made = self.made.columns.iter();
        made.filter(|column| self.exists(&column.name))
    }

    fn is_ours(&self, name: &str) -> bool {
        self.ours().any(|column| column.name == name)
    }

    /// Whether a column gets another name because the one that it carries has got it.
    fn is_renamed(&self, column: &MadeColumn) -> bool {
        self.made.followed.contains(&column.name) && !wanted(self.planned).contains(column)
    }

    /// Whether a column of the right origin cannot take the values any more.
    fn is_unfit(&self, column: &MadeColumn) -> bool {
        if self.is_renamed(column) {
            // Nobody has compared its type with a column that has another name.
            return self.became(column, SourceChangeKind::Retyped);
        }
        // Rows that were appended cannot be read again, so their values stay.
        let is_read_again = self.planned.write() != WriteMode::Append;
        let is_another = is_read_again
            && (self.became(column, SourceChangeKind::Replaced)
                || self.became(column, SourceChangeKind::Retyped));
        !self.is_widened(column)
            && (self.unfit == Unfit::MadeAnew || is_another)
            && (self.differs(&column.name) || is_another && self.refuses_some(&column.name))
    }

    /// Whether a column that can be written may refuse values all the same: what it holds has limits,
    /// and nobody has compared them with those of its source.
    fn refuses_some(&self, name: &str) -> bool {
        let columns = self.planned.target.columns.iter();
        let mut columns = columns.zip(&self.planned.status.holds);
        columns.any(|(column, holds)| {
            let has_limits = matches!(
                holds.domain,
                ValueDomain::Integers { .. }
                    | ValueDomain::Decimals { .. }
                    | ValueDomain::Floats { .. }
                    | ValueDomain::Bits(_)
                    | ValueDomain::Texts(_)
                    | ValueDomain::Labels { .. }
                    | ValueDomain::Bytes { .. }
            );
            column.name == name && has_limits
        })
    }

    /// Whether the source made this of the column that this one carries.
    fn became(&self, column: &MadeColumn, kind: SourceChangeKind) -> bool {
        let plan = &self.planned.plan;
        let mut changes = plan.source_changes.iter();
        changes.any(|change| {
            let carried = origin::of_column(plan, &change.column);
            change.kind == kind && origin::unmasked(&column.origin) == carried
        })
    }

    fn is_widened(&self, column: &MadeColumn) -> bool {
        // A mask that makes texts makes them of any type.
        !origin::is_text_of_mask(&column.origin) && self.became(column, SourceChangeKind::Widened)
    }

    /// Columns that we made, whose column may hold NULL, and that refuse it. Of one that gets another
    /// name nobody has said whether it does.
    fn relaxed(&self, dropped: &[&str]) -> Vec<TableChange> {
        let wanted = wanted(self.planned);
        let columns = self.planned.target.columns.iter();
        let columns = columns.zip(&self.planned.status.holds);
        let refuses = columns.filter(|(column, holds)| {
            let ours = wanted.iter().find(|it| it.name == column.name);
            let ours = ours.and_then(|it| self.ours().find(|ours| ours.origin == it.origin));
            ours.is_some_and(|ours| {
                let is_told = holds.nullable && !self.is_renamed(ours);
                column.nullable
                    && !is_told
                    && !dropped.contains(&ours.name.as_str())
                    && self.became(ours, SourceChangeKind::Relaxed)
            })
        });
        refuses
            .map(|(column, _)| TableChange::Relax(column.name.clone()))
            .collect()
    }

    /// Columns that we made and that have to hold more than before.
    fn widened(&self) -> Vec<TableChange> {
        let wanted = wanted(self.planned);
        let widened = self.ours().filter(|ours| self.is_widened(ours));
        let widened = widened.filter_map(|ours| {
            let name = &wanted.iter().find(|it| it.origin == ours.origin)?.name;
            let mut columns = self.planned.target.columns.iter();
            columns.find(|column| column.name == *name)
        });
        let widened = widened.cloned();
        widened
            .map(|column| TableChange::Widen(column, TableCopy::Refused))
            .collect()
    }

    /// What becomes of columns whose column the source dropped. One whose name is wanted for
    /// another value is none of them: it makes way.
    fn left(&self) -> Left {
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
    fn dropped_source(&self, column: &MadeColumn) -> Option<&'a str> {
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

    /// Whether a column that goes held nothing that is still copied.
    fn is_past(&self, name: &str) -> bool {
        let mut ours = self.ours().filter(|column| column.name == name);
        ours.any(|column| {
            self.dropped_source(column).is_some() || left_from(&column.origin).is_some()
        })
    }

    /// Whether something about the column keeps us from writing the table.
    fn differs(&self, name: &str) -> bool {
        let mut differences = self.planned.status.differences.iter();
        differences.any(|it| it.about == About::Column(name.to_owned()))
    }

    fn reshape(&self, left: &Left, written: &[String]) -> Result<Reshape, Failure> {
        let wanted = wanted(self.planned);
        let mut kept = BTreeSet::new();
        for column in &wanted {
            if self.ours().any(|ours| ours == column) && !self.is_unfit(column) {
                kept.insert(column.name.as_str());
            }
        }
        let mut renamed: Vec<(&str, &str)> = Vec::new();
        let mut dropped: Vec<&str> = Vec::new();
        let is_left = |name: &str| left.names().any(|it| it == name);
        let goes = |it: &&MadeColumn| !kept.contains(it.name.as_str()) && !is_left(&it.name);
        for column in self.ours().filter(goes) {
            let takes_over = |wanted: &&MadeColumn| {
                let name = wanted.name.as_str();
                let is_unfit = self.is_renamed(column) && self.is_unfit(column);
                !is_unfit
                    && wanted.origin == column.origin
                    && name != column.name
                    && !kept.contains(name)
                    && !renamed.iter().any(|(_, to)| *to == name)
                    && (!self.exists(name) || self.is_ours(name))
            };
            match wanted.iter().find(takes_over) {
                Some(wanted) => renamed.push((&column.name, &wanted.name)),
                None => dropped.push(&column.name),
            }
        }
        let is_made = |name: &str| kept.contains(name) || renamed.iter().any(|it| it.1 == name);
        let is_foreign = |name: &str| self.exists(name) && !self.is_ours(name);
        let columns = self.planned.target.all_columns();
        let added: Vec<&TargetColumn> = columns
            .iter()
            .filter(|_| self.may_add())
            .filter(|column| !is_made(&column.name) && !is_foreign(&column.name))
            .collect();
        let must_be_empty = self.must_be_empty(written, is_foreign);
        let key = self.key(&renamed, &dropped, &added)?;
        let is_added = |name: &str| added.iter().any(|column| column.name == name);
        let stay = wanted
            .iter()
            .filter(|column| is_made(&column.name) || is_added(&column.name));
        let changes = dropped.iter().map(|name| TableChange::Drop((*name).into()));
        let changes = changes.chain(renamed.iter().map(|(from, to)| TableChange::Rename {
            from: (*from).into(),
            to: (*to).into(),
        }));
        let changes = changes.chain(left.changes.iter().cloned());
        let changes = changes.chain(self.widened());
        let changes = changes.chain(self.relaxed(&dropped));
        let changes = changes.chain(added.iter().copied().cloned().map(TableChange::Add));
        let changes: Vec<_> = changes.chain(key.clone().map(TableChange::Key)).collect();
        let (indexes, gone) = self.indexes(&changes);
        let gone = gone.into_iter().map(TableChange::DropIndex);
        let made = MadeTable {
            target: self.planned.target.name.clone(),
            columns: stay.chain(&left.stay).cloned().collect(),
            key: if self.key.is_empty() && key.is_none() {
                Vec::new()
            } else {
                self.planned.target.key.clone()
            },
            agreed: String::new(),
            comments: self.comments.map(|comments| left_of(comments, &changes)),
            indexes,
            history: self.history.to_vec(),
        };
        let is_followed = |(from, _): &(&str, &str)| self.made.followed.contains(*from);
        let keeps_rows = dropped.iter().all(|name| self.is_past(name))
            && renamed.iter().all(is_followed)
            && added.is_empty()
            && key.is_none()
            && must_be_empty.is_empty();
        let alteration = TableAlteration {
            table: self.planned.target.clone(),
            changes: gone.chain(changes).collect(),
            must_be_empty,
            made,
            released: Vec::new(),
            rows: HeldRows::LoadAgain,
            expects: None,
        };
        Ok(Reshape {
            alteration,
            keeps_rows,
        })
    }

    /// The further keys and indexes of ours that stay, under the names that their columns get, and
    /// those that go: nobody wants them any more, or a column of theirs is made anew. Those are built
    /// again after the rows.
    fn indexes(&self, changes: &[TableChange]) -> (Option<Vec<MadeIndex>>, Vec<MadeIndex>) {
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

    /// A table that somebody else made for its first load is not added to: what it lacks may be a
    /// mistake in the pipeline.
    fn may_add(&self) -> bool {
        self.is_edited || !self.made.columns.is_empty()
    }

    fn must_be_empty(&self, written: &[String], is_foreign: impl Fn(&str) -> bool) -> Vec<String> {
        if !self.is_edited {
            return Vec::new();
        }
        let columns = self.planned.target.all_columns();
        let wanted: Vec<&String> = columns.iter().map(|it| &it.name).collect();
        let left = written.iter().filter(|name| !wanted.contains(name));
        let fresh = wanted
            .iter()
            .copied()
            .filter(|name| !written.contains(name));
        let names = left.chain(fresh).filter(|name| is_foreign(name));
        names.cloned().collect()
    }

    /// The key of a table that we made without one, and that has to have one.
    fn first_key(&self) -> Option<Vec<String>> {
        let key = &self.planned.target.key;
        let mut differences = self.planned.status.differences.iter();
        let lacks_it = differences.any(|it| it.about == About::Key);
        let is_ours = key.iter().all(|name| self.is_ours(name));
        (lacks_it && is_ours && !key.is_empty()).then(|| key.clone())
    }

    /// The primary key that has to be made, if it is another one than the one we made.
    fn key(
        &self,
        renamed: &[(&str, &str)],
        dropped: &[&str],
        added: &[&TargetColumn],
    ) -> Result<Option<Vec<String>>, Failure> {
        let mut changes = self.planned.plan.source_changes.iter();
        let is_rekeyed = changes.any(|change| change.kind == SourceChangeKind::Key);
        if self.key.is_empty() {
            return Ok(self.first_key().filter(|_| is_rekeyed));
        }
        let stays = self
            .key
            .iter()
            .filter(|name| !dropped.contains(&name.as_str()));
        let stays = stays.map(|name| {
            let to = renamed.iter().find(|(from, _)| from == name);
            to.map_or(name.as_str(), |(_, to)| to)
        });
        let key = &self.planned.target.key;
        let stays: Vec<&str> = stays.collect();
        let names: Vec<&str> = key.iter().map(String::as_str).collect();
        let is_same = match is_rekeyed {
            true => stays == names,
            false => stays.iter().collect::<BTreeSet<_>>() == names.iter().collect(),
        };
        if is_same && !self.key.iter().any(|name| dropped.contains(&name.as_str())) {
            return Ok(None);
        }
        let new = key
            .iter()
            .find(|name| added.iter().any(|it| it.name == **name));
        if let Some(new) = new.filter(|_| !self.planned.status.empty) {
            let (stream, target) = (self.planned.stream(), &self.planned.target.name);
            let message = format!(
                "table `{stream}`: the rows of `{target}` cannot be told apart by the key ({}): they have no `{new}` yet",
                key.join(", ")
            );
            return Err(Failure::new(exit_code::APPROVAL, message).with_hint(format!(
                "write to another table with `to:`, or drop this one: DROP TABLE {}; it is created and loaded again",
                self.planned.target_sql
            )));
        }
        Ok(Some(key.clone()))
    }
}

/// The comments that columns still have after these changes, under their names by then. One whose
/// definition is spelled anew may have lost its own.
fn left_of(comments: &Comments, changes: &[TableChange]) -> Comments {
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

/// The foreign keys of ours that point to columns which an alteration makes anew, of other tables;
/// `all`: what was made of all tables.
pub(crate) fn released(alteration: &TableAlteration, all: &[MadeTable]) -> Vec<ReleasedKeys> {
    let table = &alteration.table.name;
    let is_made_anew = |name: &String| {
        alteration.changes.iter().any(|change| match change {
            TableChange::Drop(it) | TableChange::Clear(it) => it == name,
            TableChange::Widen(column, _) => alteration.name_before(&column.name) == name,
            TableChange::Key(_) => true,
            TableChange::DropIndex(_)
            | TableChange::Rename { .. }
            | TableChange::Relax(_)
            | TableChange::Add(_) => false,
        })
    };
    let mut released = Vec::new();
    for child in all.iter().filter(|child| child.target != *table) {
        let mut made = child.clone();
        let mut names = Vec::new();
        for index in made.indexes.iter_mut().flatten() {
            if let IndexKind::ForeignKey {
                parent,
                parent_columns,
            } = &index.is
                && parent == table
                && parent_columns.iter().any(is_made_anew)
            {
                names.push(index.name.clone());
                index.built = false;
            }
        }
        if !names.is_empty() {
            released.push(ReleasedKeys { names, made });
        }
    }
    released
}
