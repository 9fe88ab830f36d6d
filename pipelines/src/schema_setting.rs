//! `schema:`: what a run does when the source's table changes.

use crate::evolution::Kind;
use crate::fields::{Fields, choice, wrong_type};
use crate::problem::Problems;
use crate::schema::Section;
use crate::settings::{merge, only};
use crate::yaml::{Entry, Node, Value};

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

/// What is said about all kinds of changes at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preset {
    /// The target follows whatever takes no values away, and keeps the rest.
    #[default]
    Additive,
    /// The target becomes what the source is, dropped columns included.
    Evolve,
    /// A table that changes stops.
    Frozen,
}

impl SchemaSetting {
    /// What a preset says about each kind of change.
    fn of(preset: Preset) -> Self {
        match preset {
            Preset::Additive => Self::default(),
            Preset::Evolve => Self {
                new_column: NewColumn::Add,
                dropped_column: DroppedColumn::Drop,
                ..Self::default()
            },
            Preset::Frozen => Self {
                new_column: NewColumn::Fail,
                dropped_column: DroppedColumn::Fail,
                renamed_column: RenamedColumn::Fail,
                type_change: TypeChange::Fail,
                nullable_column: NullableColumn::Fail,
                key_change: KeyChangeSetting::Fail,
                unmasked_columns: UnmaskedColumns::Copy,
            },
        }
    }

    /// What is said about a kind of change, as one would write it: `new_column: add`.
    pub fn policy_of(&self, kind: Kind) -> String {
        match kind {
            Kind::Added | Kind::Replaced => {
                format!("new_column: {}", word(&NEW_COLUMN, self.new_column))
            }
            Kind::Dropped => {
                let word = word(&DROPPED_COLUMN, self.dropped_column);
                format!("dropped_column: {word}")
            }
            Kind::Widened | Kind::Retyped => {
                format!("type_change: {}", word(&TYPE_CHANGE, self.type_change))
            }
            Kind::Renamed | Kind::LooksRenamed => {
                let word = word(&RENAMED_COLUMN, self.renamed_column);
                format!("renamed_column: {word}")
            }
            Kind::Relaxed => {
                let word = word(&NULLABLE_COLUMN, self.nullable_column);
                format!("nullable_column: {word}")
            }
            Kind::Unmasked => {
                let word = word(&UNMASKED_COLUMNS, self.unmasked_columns);
                format!("unmasked_columns: {word}")
            }
            Kind::Key => format!("key_change: {}", word(&KEY_CHANGE, self.key_change)),
        }
    }
}

fn word<T: Copy + PartialEq>(options: &[(&'static str, T)], value: T) -> &'static str {
    let mut options = options.iter();
    options
        .find(|option| option.1 == value)
        .map_or("", |option| option.0)
}

const EXAMPLE: &str = "schema: { new_column: ignore }";

const PRESET: [(&str, Preset); 3] = [
    ("additive", Preset::Additive),
    ("evolve", Preset::Evolve),
    ("frozen", Preset::Frozen),
];

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
/// The shorthand `schema: frozen` as `schema: { preset: frozen }`.
fn in_full(node: &Node) -> Node {
    match node.value {
        Value::Scalar { .. } => Node {
            place: node.place,
            value: Value::Map(vec![Entry {
                key: "preset".into(),
                key_place: node.place,
                node: node.clone(),
            }]),
        },
        _ => node.clone(),
    }
}

/// One `schema:` over another. A preset speaks of every kind of change, so nothing of what it is
/// written over is left, but for what keeps private columns from passing.
pub(crate) fn merged(base: &Node, over: &Node) -> Node {
    let (base, over) = (in_full(base), in_full(over));
    match over.child("preset") {
        Some(preset) if !preset.is_nothing() => merge(&only(&base, &["unmasked_columns"]), &over),
        _ => merge(&base, &over),
    }
}

/// Reads `schema:` of a table or of `defaults:`.
pub(crate) fn read(fields: &Fields, problems: &mut Problems) -> SchemaSetting {
    let Some(node) = fields.value("schema").map(in_full) else {
        return SchemaSetting::default();
    };
    if !matches!(node.value, Value::Map(_)) {
        wrong_type(&node, "`schema`", "a word or a mapping", EXAMPLE, problems);
        return SchemaSetting::default();
    }
    let Some(fields) = Fields::of(&node, Section::Schema, ("`schema`", EXAMPLE), problems) else {
        return SchemaSetting::default();
    };
    let preset = fields.value("preset").and_then(|node| {
        let (section, key) = match node.place == fields.place {
            true => (Section::Table, "schema"),
            false => (Section::Schema, "preset"),
        };
        choice(node, section, key, &PRESET, problems)
    });
    let mut setting = SchemaSetting::of(preset.unwrap_or_default());
    let new_column = fields
        .value("new_column")
        .and_then(|node| choice(node, Section::Schema, "new_column", &NEW_COLUMN, problems));
    setting.new_column = new_column.unwrap_or(setting.new_column);
    let dropped_column = fields.word("dropped_column").and_then(|node| {
        let name = "dropped_column";
        choice(&node, Section::Schema, name, &DROPPED_COLUMN, problems)
    });
    setting.dropped_column = dropped_column.unwrap_or(setting.dropped_column);
    let renamed_column = fields.value("renamed_column").and_then(|node| {
        let name = "renamed_column";
        choice(node, Section::Schema, name, &RENAMED_COLUMN, problems)
    });
    setting.renamed_column = renamed_column.unwrap_or(setting.renamed_column);
    let type_change = fields
        .value("type_change")
        .and_then(|node| choice(node, Section::Schema, "type_change", &TYPE_CHANGE, problems));
    setting.type_change = type_change.unwrap_or(setting.type_change);
    let nullable_column = fields.value("nullable_column").and_then(|node| {
        let name = "nullable_column";
        choice(node, Section::Schema, name, &NULLABLE_COLUMN, problems)
    });
    setting.nullable_column = nullable_column.unwrap_or(setting.nullable_column);
    let unmasked_columns = fields.value("unmasked_columns").and_then(|node| {
        let name = "unmasked_columns";
        choice(node, Section::Schema, name, &UNMASKED_COLUMNS, problems)
    });
    setting.unmasked_columns = unmasked_columns.unwrap_or_default();
    let key_change = fields
        .value("key_change")
        .and_then(|node| choice(node, Section::Schema, "key_change", &KEY_CHANGE, problems));
    setting.key_change = key_change.unwrap_or(setting.key_change);
    setting
}
