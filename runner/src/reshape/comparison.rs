//! What was made of a table compared with what it has to be, and the changes in between.

use super::indexes::left_of;
use super::left::Left;
use super::{Reshape, Unfit};
use crate::exit_code;
use crate::failure::Failure;
use crate::origin::{self, ByNow};
use crate::planned::PlannedTable;
use std::collections::BTreeSet;
use syncset_connector::{
    About, Comments, Domain as ValueDomain, HeldRows, MadeColumn, MadeIndex, MadeTable,
    SchemaVersion, TableAlteration, TableChange, TableCopy, TargetColumn, WriteMode,
};
use syncset_pipeline::SourceChangeKind;

/// All columns that the table has to have, with what their values are made of.
pub(super) fn wanted(planned: &PlannedTable) -> Vec<MadeColumn> {
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

/// What was made of a table beside what it has to be.
pub(super) struct Comparison<'a> {
    pub(super) planned: &'a PlannedTable,
    /// The columns that we made.
    pub(super) made: ByNow,
    /// The primary key that we made.
    pub(super) key: &'a [String],
    /// The further keys and indexes that we made; `None` if the table is not ours.
    pub(super) indexes: Option<&'a [MadeIndex]>,
    /// The comments that we gave it.
    pub(super) comments: Option<&'a Comments>,
    /// Its versions so far.
    pub(super) history: &'a [SchemaVersion],
    pub(super) is_edited: bool,
    pub(super) unfit: Unfit,
}

impl<'a> Comparison<'a> {
    fn exists(&self, name: &str) -> bool {
        self.planned.status.columns.iter().any(|it| it == name)
    }

    /// Columns that we made and that are still there.
    pub(super) fn ours(&self) -> impl Iterator<Item = &MadeColumn> {
        let made = self.made.columns.iter();
        made.filter(|column| self.exists(&column.name))
    }

    pub(super) fn is_ours(&self, name: &str) -> bool {
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
            && (self.unfit != Unfit::Stays || is_another)
            && (self.differs(&column.name)
                || is_another && self.refuses_some(&column.name)
                || self.unfit == Unfit::Untouched && self.holds_others(&column.name))
    }

    /// Whether a column keeps other values than one that would be made for its source.
    fn holds_others(&self, name: &str) -> bool {
        let columns = self.planned.target.columns.iter();
        let mut columns = columns.zip(&self.planned.status.holds);
        columns.any(|(column, holds)| column.name == name && holds.is_other)
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
    pub(super) fn became(&self, column: &MadeColumn, kind: SourceChangeKind) -> bool {
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
                    && (self.became(ours, SourceChangeKind::Relaxed)
                        || !holds.nullable && self.is_for_another(ours))
            })
        });
        refuses
            .map(|(column, _)| TableChange::Relax(column.name.clone()))
            .collect()
    }

    /// Whether a column was made for another one of the source than it carries, or may have been.
    fn is_for_another(&self, column: &MadeColumn) -> bool {
        self.unfit == Unfit::Untouched || self.became(column, SourceChangeKind::Replaced)
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

    /// Whether something about the column keeps us from writing the table.
    pub(super) fn differs(&self, name: &str) -> bool {
        let mut differences = self.planned.status.differences.iter();
        differences.any(|it| it.about == About::Column(name.to_owned()))
    }

    pub(super) fn reshape(&self, left: &Left, written: &[String]) -> Result<Reshape, Failure> {
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
        let takes = renamed.iter().find(|(_, to)| self.keeps_values(to));
        let takes = takes.map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
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
            takes,
        })
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
            let why = match self.exists(new) {
                true => {
                    format!("`{new}` would be made anew, and has no values until they are loaded")
                }
                false => format!("they have no `{new}` yet"),
            };
            let message = format!(
                "table `{stream}`: the rows of `{target}` cannot be told apart by the key ({}): {why}",
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
