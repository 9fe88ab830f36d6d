//! Changes to the columns and the key of a target table.
//!
//! The runner compares what a table was made of with what it has to be, and lists the changes; a
//! connector knows how its store makes them and what stands in their way.

use crate::{
    Blocker, MadeIndex, MadeTable, ReleasedKeys, TableFacts, TableName, TargetColumn, TargetTable,
};
use serde::{Deserialize, Serialize};

/// One change of a target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableChange {
    /// A key or index that we made goes, if it is still there.
    DropIndex(MadeIndex),
    /// A column that we made goes, with its values.
    Drop(String),
    /// A column that we made gets another name and keeps its values.
    Rename {
        /// Its name so far.
        from: String,
        /// Its name from here on. Names may be swapped within one alteration.
        to: String,
    },
    /// A column that we made may hold NULL from here on; it keeps its values. It is named as it is
    /// called after the alteration.
    Relax(String),
    /// A column that we made and that is written no longer loses its values, and may hold NULL. It
    /// keeps its type, and comes last.
    Clear(String),
    /// A column that we made gets a type that holds every value of the one it has, if its own does
    /// not do so already. Values and NOT NULL stay.
    Widen(TargetColumn, TableCopy),
    /// A column is added. It may hold NULL, whatever the source says: it is filled by a load.
    Add(TargetColumn),
    /// The primary key that we made is replaced by one over these columns, which all exist; without
    /// columns it only goes.
    Key(Vec<String>),
}

/// Everything that has to change about one target table.
#[derive(Debug, Clone)]
pub struct TableAlteration {
    /// The table as it is to be.
    pub table: TargetTable,
    /// What changes: indexes go, then columns, which are then renamed, relaxed, cleared and widened, then
    /// are added; the key is
    /// last.
    pub changes: Vec<TableChange>,
    /// Columns that somebody else made, which must hold no value: those that are no longer
    /// written, because what was copied there must not stay; and those that are about to be
    /// written for the first time, because what is there is not ours.
    pub must_be_empty: Vec<String>,
    /// What is made of the table afterwards.
    pub made: MadeTable,
    /// Foreign keys of other tables that point to what changes: they go first.
    pub released: Vec<ReleasedKeys>,
    /// What becomes of the rows that it holds.
    pub rows: HeldRows,
    /// What the table was when a person agreed to the changes, if they are carried out only then:
    /// compared once more as near to the lock of the first statement as the store allows.
    pub expects: Option<Box<TableFacts>>,
}

impl TableAlteration {
    /// The name that a column of this name has before the alteration.
    pub fn name_before<'a>(&'a self, name: &'a str) -> &'a str {
        let mut changes = self.changes.iter();
        let before = changes.find_map(|change| match change {
            TableChange::Rename { from, to } if to == name => Some(from.as_str()),
            _ => None,
        });
        before.unwrap_or(name)
    }

    /// Columns that go and come again under their names: they hold NULL until they are loaded.
    pub fn columns_made_anew(&self) -> Vec<&str> {
        let is_dropped = |name: &String| {
            let mut changes = self.changes.iter();
            changes.any(|it| matches!(it, TableChange::Drop(dropped) if dropped == name))
        };
        let added = self.changes.iter().filter_map(|change| match change {
            TableChange::Add(column) if is_dropped(&column.name) => Some(column.name.as_str()),
            _ => None,
        });
        added.collect()
    }

    /// Whether a foreign key of ours goes with this alteration; `child`: the table that has it.
    pub fn drops_key(&self, child: &TableName, name: &str) -> bool {
        let is_same = |table: &TableName| {
            let schemas_fit =
                table.schema == child.schema || table.schema.is_none() || child.schema.is_none();
            table.name == child.name && schemas_fit
        };
        let mut changes = self.changes.iter();
        let mut released = self.released.iter();
        is_same(&self.table.name)
            && changes.any(|it| matches!(it, TableChange::DropIndex(index) if index.name == name))
            || released.any(|it| is_same(&it.made.target) && it.names.iter().any(|it| it == name))
    }

    /// Lets the store copy the table where it has no other way to give a column its type.
    pub fn agree_to_copy(&mut self) {
        for change in &mut self.changes {
            if let TableChange::Widen(_, copy) = change {
                *copy = TableCopy::Agreed;
            }
        }
    }
}

/// What becomes of the rows that a table holds when it is altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldRows {
    /// They are loaded again: the stream's selection becomes empty.
    LoadAgain,
    /// They stay as they are, with NULL in columns that are added: rows that were appended once
    /// cannot be read a second time.
    Stay,
}

/// Whether a store may copy a table to change the type of a column, where it has no other way to.
/// Nobody writes to the table meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableCopy {
    /// It is refused, with the statement that a person can run.
    Refused,
    /// A person agreed to it.
    Agreed,
}

/// One statement of an alteration, with what it means to those who use the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStatement {
    /// The statement.
    pub sql: String,
    /// The lock or the algorithm that it takes, as the store calls it: `ACCESS EXCLUSIVE`,
    /// `INSTANT`. As far as it can be told without trying.
    pub lock: String,
    /// Who waits while it runs. Waiting for the lock itself is short, whatever it is.
    pub blocks: Blocked,
    /// Whether it writes the rows of the table anew, and so takes longer for a larger one.
    pub rewrites: bool,
    /// False if it takes something away that cannot be had back from the target.
    pub reversible: bool,
}

/// Who waits while a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    /// Nobody.
    Nobody,
    /// Whoever writes to the table.
    Writers,
    /// Whoever reads or writes the table.
    Everyone,
}

impl Blocked {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Writers => "writers",
            Self::Everyone => "readers and writers",
        }
    }
}

/// What an alteration would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlterationPlan {
    /// The statements, in order.
    pub statements: Vec<PlannedStatement>,
    /// What stands in the way; the alteration is refused as long as there is anything.
    pub blockers: Vec<Blocker>,
    /// What is done only after a person agreed, as far as it can be told without trying. Empty for
    /// an alteration that was agreed to.
    pub asks: Vec<Blocker>,
}
