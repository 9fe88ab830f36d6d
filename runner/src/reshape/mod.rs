//! From what was made of a target table to what it has to be: the list of changes. Pure.
//!
//! A column keeps its values only if their origin stays the same. Anything else starts empty and
//! is filled by the load that follows, so that no value of a column that is no longer selected is
//! left under any name, and no reader takes an old value for a new one.

mod comparison;
mod indexes;
mod left;

use self::comparison::{Comparison, wanted};
use crate::failure::Failure;
use crate::origin::{self, ByNow};
use crate::planned::PlannedTable;
use syncset_connector::{
    About, Difference, IndexKind, MadeTable, ReleasedKeys, TableAlteration, TableChange,
};
use syncset_pipeline::Renames;

/// What a table becomes, and which of its differences that settles.
#[derive(Debug)]
pub(crate) struct Reshape {
    /// The changes.
    pub(crate) alteration: TableAlteration,
    /// Whether the rows that are there are right afterwards: nothing changes but columns that are
    /// gone from the source.
    pub(crate) keeps_rows: bool,
    /// A column that gets the name of one that stays with its values, which would be dropped for it:
    /// from what name, to what name.
    pub(crate) takes: Option<(String, String)>,
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

/// What becomes of a column that we made and that cannot take the values any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is made anew: the selection was edited, or the table is being made what it has to be.
    MadeAnew,
    /// It is made anew, also if it can take some of them: the table was made and nothing was written
    /// into it, so nobody knows what its source was then.
    Untouched,
    /// It stays unless the source changed this very column: somebody altered it by hand.
    Stays,
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
