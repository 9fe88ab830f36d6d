//! Keys and indexes that a target table gets besides its primary key.
//!
//! The runner says what is wanted and a connector makes it; what was made is stored with the other
//! things that we made of the table, and only that is ever dropped.

use crate::{MadeTable, TableName};
use serde::{Deserialize, Serialize};

/// What a further key of the source is at the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum IndexKind {
    /// A unique key that is checked when a transaction ends, so that its rows may swap values.
    Deferred {
        /// False if it refuses a second NULL too, where the store knows such keys.
        nulls_distinct: bool,
    },
    /// An index that refuses no row.
    Plain,
    /// An index that refuses no row, as the source spells it after the name of its table. Both
    /// stores are of one kind, and its columns have the same names on both sides.
    Spelled {
        /// `USING btree (lower(email)) WHERE (tenant > 1)`.
        sql: String,
    },
    /// A foreign key, checked when a transaction ends where the store can do so. No change of the
    /// parent's rows changes rows of its own.
    ForeignKey {
        /// The target table that it points to.
        parent: TableName,
        /// The parent's columns, in the order of its own.
        parent_columns: Vec<String>,
    },
}

impl IndexKind {
    /// Whether it is a foreign key.
    pub fn is_foreign_key(&self) -> bool {
        matches!(self, Self::ForeignKey { .. })
    }
}

/// An index that a target table is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetIndex {
    /// Names in the order in which they are tried: the first that is free is taken.
    pub names: Vec<String>,
    /// Its columns at the target, in order.
    pub columns: Vec<String>,
    /// What it is.
    pub kind: IndexKind,
}

/// An index that we made of a target table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeIndex {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// What it is.
    pub is: IndexKind,
    /// False while it is being built, where DDL commits by itself: it may be there or not.
    pub built: bool,
}

impl MadeIndex {
    /// Whether it is what is wanted.
    pub fn is_for(&self, wanted: &TargetIndex) -> bool {
        self.columns == wanted.columns && self.is == wanted.kind
    }
}

/// Foreign keys of ours that point to a table and have to go before it is altered. They are built
/// again like any other that is not built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedKeys {
    /// Their names.
    pub names: Vec<String>,
    /// What is made of the table that they belong to from then on: these keys are not built.
    pub made: MadeTable,
}
