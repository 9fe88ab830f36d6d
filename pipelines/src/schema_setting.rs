//! `schema:`: what a run does when the source's table changes.

use crate::fields::{Fields, choice};
use crate::problem::Problems;
use crate::schema::Section;

/// What a run does with each kind of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaSetting {
    /// A column is new.
    pub new_column: NewColumn,
    /// A column is gone.
    pub dropped_column: DroppedColumn,
    /// A column has another name.
    pub renamed_column: RenamedColumn,
    /// A column has another type.
    pub type_change: TypeChange,
    /// A column may hold NULL, which it refused.
    pub nullable_column: NullableColumn,
    /// New columns that would be copied without a mask.
    pub unmasked_columns: UnmaskedColumns,
    /// The table has another primary key.
    pub key_change: KeyChangeSetting,
}

/// What a run does with a column that appears in a source table after it was loaded, and that
/// `columns:` takes without naming it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewColumn {
    /// The target gets it, and the rows that are there are filled from the source.
    #[default]
    Add,
    /// It is not copied.
    Ignore,
    /// The table waits until a person agrees on the command line.
    Approve,
    /// The table stops until the file says something else.
    Fail,
}

/// What a run does with the target's column when the source drops the one that it carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DroppedColumn {
    /// It stays with the values it has, and later rows have NULL in it.
    #[default]
    Keep,
    /// It stays without values.
    Null,
    /// It goes.
    Drop,
    /// The table waits until a person agrees on the command line that it goes.
    Approve,
    /// The table stops until the file says something else.
    Fail,
}

/// What a run does when the source's table gets a column that would be copied without a mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnmaskedColumns {
    /// What `new_column` says.
    #[default]
    Copy,
    /// The table stops until the file masks the column, names it or leaves it out.
    Fail,
}

/// What a run does with the target's column when the one that it carries gets another name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RenamedColumn {
    /// It gets that name too; where the source cannot tell a rename from a column that was dropped
    /// and another one that came, the table waits until a person agrees.
    #[default]
    Follow,
    /// The column of the old name counts as dropped and the one of the new name as new.
    Add,
    /// The table waits until a person agrees on the command line.
    Approve,
    /// The table stops until the file says something else.
    Fail,
}

/// What a run does with the target's column when the source gives its own another type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TypeChange {
    /// It follows if the type holds all that it held before; else the table waits until a person
    /// agrees.
    #[default]
    Widen,
    /// The table waits until a person agrees, whatever the type.
    Approve,
    /// The table stops until the file says something else.
    Fail,
}

/// What a run does with the target's column when the one that it carries may hold NULL from some
/// time on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NullableColumn {
    /// It may hold NULL too.
    #[default]
    Follow,
    /// The table waits until a person agrees on the command line.
    Approve,
    /// The table stops until the file says something else.
    Fail,
}

/// What a run does when the primary key that rows are found by is another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyChangeSetting {
    /// The table waits until a person agrees on the command line that the target's key is made anew
    /// and its rows are read again.
    #[default]
    Approve,
    /// The table stops until the file says something else.
    Fail,
}

const EXAMPLE: &str = "schema: { new_column: ignore }";

const NEW_COLUMN: [(&str, NewColumn); 4] = [
    ("add", NewColumn::Add),
    ("ignore", NewColumn::Ignore),
    ("approve", NewColumn::Approve),
    ("fail", NewColumn::Fail),
];

const DROPPED_COLUMN: [(&str, DroppedColumn); 5] = [
    ("keep", DroppedColumn::Keep),
    ("null", DroppedColumn::Null),
    ("drop", DroppedColumn::Drop),
    ("approve", DroppedColumn::Approve),
    ("fail", DroppedColumn::Fail),
];

const RENAMED_COLUMN: [(&str, RenamedColumn); 4] = [
    ("follow", RenamedColumn::Follow),
    ("add", RenamedColumn::Add),
    ("approve", RenamedColumn::Approve),
    ("fail", RenamedColumn::Fail),
];

const TYPE_CHANGE: [(&str, TypeChange); 3] = [
    ("widen", TypeChange::Widen),
    ("approve", TypeChange::Approve),
    ("fail", TypeChange::Fail),
];

const NULLABLE_COLUMN: [(&str, NullableColumn); 3] = [
    ("follow", NullableColumn::Follow),
    ("approve", NullableColumn::Approve),
    ("fail", NullableColumn::Fail),
];

const UNMASKED_COLUMNS: [(&str, UnmaskedColumns); 2] = [
    ("copy", UnmaskedColumns::Copy),
    ("fail", UnmaskedColumns::Fail),
];

const KEY_CHANGE: [(&str, KeyChangeSetting); 2] = [
    ("approve", KeyChangeSetting::Approve),
    ("fail", KeyChangeSetting::Fail),
];

/// Reads `schema:` of a table or of `defaults:`.
pub(crate) fn read(fields: &Fields, problems: &mut Problems) -> SchemaSetting {
    let what = ("`schema`", EXAMPLE);
    let fields = fields
        .value("schema")
        .and_then(|node| Fields::of(node, Section::Schema, what, problems));
    let Some(fields) = fields else {
        return SchemaSetting::default();
    };
    let new_column = fields
        .value("new_column")
        .and_then(|node| choice(node, Section::Schema, "new_column", &NEW_COLUMN, problems));
    let dropped_column = fields.word("dropped_column").and_then(|node| {
        let name = "dropped_column";
        choice(&node, Section::Schema, name, &DROPPED_COLUMN, problems)
    });
    let renamed_column = fields.value("renamed_column").and_then(|node| {
        let name = "renamed_column";
        choice(node, Section::Schema, name, &RENAMED_COLUMN, problems)
    });
    let type_change = fields
        .value("type_change")
        .and_then(|node| choice(node, Section::Schema, "type_change", &TYPE_CHANGE, problems));
    let nullable_column = fields.value("nullable_column").and_then(|node| {
        let name = "nullable_column";
        choice(node, Section::Schema, name, &NULLABLE_COLUMN, problems)
    });
    let unmasked_columns = fields.value("unmasked_columns").and_then(|node| {
        let name = "unmasked_columns";
        choice(node, Section::Schema, name, &UNMASKED_COLUMNS, problems)
    });
    let key_change = fields
        .value("key_change")
        .and_then(|node| choice(node, Section::Schema, "key_change", &KEY_CHANGE, problems));
    SchemaSetting {
        unmasked_columns: unmasked_columns.unwrap_or_default(),
        key_change: key_change.unwrap_or_default(),
        nullable_column: nullable_column.unwrap_or_default(),
        renamed_column: renamed_column.unwrap_or_default(),
        type_change: type_change.unwrap_or_default(),
        new_column: new_column.unwrap_or_default(),
        dropped_column: dropped_column.unwrap_or_default(),
    }
}
