//! What became of a source table since its stream was loaded. Pure: what was stored and what the
//! source says in, changes out.
//!
//! The stored text says how the columns were chosen and which ones that gave. A column that the
//! stored choice takes and that it did not give was not there: the source made it. One that it gave,
//! that the file still takes and that is not there any more was dropped by the source. Everything
//! else that differs is an edit of the file.

use crate::outputs::is_named;
use crate::planner::Planner;
use crate::problem::Problems;
use crate::renames;
use crate::schema_setting::{NewColumn, UnmaskedColumns};
use crate::spec::{ColumnChoice, Name};
use crate::stored::{Stored, matches};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use syncset_connector::{NativeType, TypeDefinition, WriteMode};

/// Key of the stored text: how the columns were chosen.
pub(crate) const CHOICE: &str = "choice";

/// Key of the stored text: what the columns that the table needs were at the source.
pub(crate) const SOURCE: &str = "source";

/// One thing that became of a source table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceChange {
    /// What happened.
    pub kind: Kind,
    /// The column, as the source names it; empty if it is about the table.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub column: String,
    /// Its type, as the source spells it.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub native: String,
    /// The type that it had, if that is what changed.
    #[serde(rename = "type_before", skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The name that it had, if that is what changed.
    #[serde(rename = "column_before", skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The primary key, if that is what changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyChange>,
}

/// What became of a primary key; columns in their order, none without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    /// What it was, in the names that columns have by now.
    pub before: Vec<String>,
    /// What it is.
    pub after: Vec<String>,
}

impl std::fmt::Display for KeyChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |key: &[String]| match key {
            [] => "none".to_owned(),
            _ => format!("({})", key.join(", ")),
        };
        let (before, after) = (shown(&self.before), shown(&self.after));
        write!(formatter, "{before} -> {after}")
    }
}

/// What happened to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is new.
    Added,
    /// It was dropped, and another one has its name: the values are others, whatever the stamps of
    /// the rows say.
    Replaced,
    /// It is new, and no mask covers it.
    Unmasked,
    /// It is gone.
    Dropped,
    /// It has another name.
    Renamed,
    /// It is new, and one of its type is gone: it may have got another name, which a store that
    /// does not number its columns cannot tell.
    LooksRenamed,
    /// Its type holds all that it held before, and more.
    Widened,
    /// Its type is another one.
    Retyped,
    /// It may hold NULL, which it refused.
    Relaxed,
    /// None of this: the table has another primary key.
    Key,
}

impl std::fmt::Display for SourceChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { column, native, .. } = self;
        let before = self.before.as_deref().unwrap_or_default();
        let from = self.from.as_deref().unwrap_or_default();
        match self.kind {
            Kind::Renamed => write!(formatter, "renamed column `{from}` -> `{column}`"),
            Kind::LooksRenamed => write!(
                formatter,
                "no column `{from}` any more and a new one `{column}` of its type ({native}), which may be the same one"
            ),
            Kind::Added => write!(formatter, "new column `{column}` ({native})"),
            Kind::Unmasked => {
                write!(formatter, "new column `{column}` ({native}) without a mask")
            }
            Kind::Replaced => write!(
                formatter,
                "a column `{column}` that was dropped and added again ({native})"
            ),
            Kind::Dropped if native.is_empty() => write!(formatter, "dropped column `{column}`"),
            Kind::Dropped => write!(formatter, "dropped column `{column}` ({native})"),
            Kind::Widened => write!(
                formatter,
                "widened column `{column}` ({before} -> {native})"
            ),
            Kind::Key => match &self.key {
                Some(key) => write!(formatter, "another primary key: {key}"),
                None => formatter.write_str("another primary key"),
            },
            Kind::Relaxed => write!(
                formatter,
                "no NOT NULL any more on column `{column}` ({native})"
            ),
            Kind::Retyped => write!(
                formatter,
                "another type in column `{column}` ({before} -> {native})"
            ),
        }
    }
}

/// The columns of a table, with what became of them.
#[derive(Debug, Default)]
pub(crate) struct Evolved {
    /// The columns that are copied.
    pub(crate) columns: Vec<String>,
    /// What a run has to do something about.
    pub(crate) changes: Vec<SourceChange>,
    /// New columns that are not copied.
    pub(crate) ignored: Vec<String>,
}

impl Planner<'_> {
    /// Compares the chosen columns with those that the stream was loaded with.
    pub(crate) fn evolved(&self, chosen: Vec<String>) -> Evolved {
        let Some(stored) = self.stored() else {
            return Evolved {
                columns: chosen,
                ..Evolved::default()
            };
        };
        let mut evolved = Evolved::default();
        let replaced = |column: &String| stored.had_another(column, self.table);
        // Conditions and computed columns read columns that are not copied.
        let unseen = stored.columns.keys().filter(|name| !chosen.contains(name));
        evolved.changes.extend(
            unseen
                .filter(|name| replaced(name))
                .map(|name| self.change(Kind::Replaced, name)),
        );
        let dropped = stored.copied.iter();
        let dropped = dropped.filter(|name| self.table.column(name).is_none() && self.takes(name));
        let dropped = dropped.map(|name| (name, stored.type_of(name)));
        let shadowed = stored.shadowed.iter().filter(|(name, _)| self.takes(name));
        let shadowed = shadowed.map(|(name, native)| (name, native.clone()));
        evolved
            .changes
            .extend(dropped.chain(shadowed).map(|(name, native)| SourceChange {
                kind: Kind::Dropped,
                column: name.clone(),
                native,
                before: None,
                from: None,
                key: None,
            }));
        for column in chosen {
            let is_new = stored.lacked(&column) && !self.asks_for(&column);
            if is_new && self.settings.schema.new_column == NewColumn::Ignore {
                evolved.ignored.push(column);
                continue;
            }
            let is_bare = self.settings.schema.unmasked_columns == UnmaskedColumns::Fail
                && !self.is_masked(&column);
            if is_new && is_bare {
                evolved.changes.push(self.change(Kind::Unmasked, &column));
            } else if is_new {
                evolved.changes.push(self.change(Kind::Added, &column));
            } else if replaced(&column) {
                evolved.changes.push(self.change(Kind::Replaced, &column));
            } else {
                evolved.changes.extend(self.renamed(&stored, &column));
                evolved.changes.extend(self.retyped(&stored, &column));
                evolved.changes.extend(self.relaxed(&stored, &column));
            }
            evolved.columns.push(column);
        }
        evolved.changes.extend(self.rekeyed(&stored));
        evolved
    }

    /// What became of the primary key that rows are found by.
    fn rekeyed(&self, stored: &Stored) -> Option<SourceChange> {
        let is_found_by = self.settings.key.is_none() && self.write_mode() != WriteMode::Append;
        let before = stored.key.as_ref()?;
        let after = &self.table.primary_key;
        (is_found_by && before != after).then(|| SourceChange {
            key: Some(KeyChange {
                before: before.clone(),
                after: after.clone(),
            }),
            ..self.change(Kind::Key, "")
        })
    }

    /// Notes columns that were copied and that this user may only not be shown any more: they must
    /// not pass as dropped.
    pub(crate) fn refuses_hidden(&self, problems: &mut Problems) -> bool {
        let (Some(grant), Some(stored)) = (&self.table.grant, self.stored()) else {
            return false;
        };
        let then = stored.copied.iter().chain(stored.key.iter().flatten());
        let hidden: BTreeSet<&String> = then
            .filter(|name| self.table.column(name).is_none() && self.takes(name))
            .collect();
        for name in &hidden {
            problems.hinted(
                self.selected.place,
                format!(
                    "table `{}`: column `{name}` was dropped, or this user is not shown it any more",
                    self.selected.stream
                ),
                format!(
                    "if it is there: {grant}; if it was dropped, leave it out with `columns: {{ exclude: [{name}] }}`"
                ),
            );
        }
        !hidden.is_empty()
    }

    fn change(&self, kind: Kind, column: &str) -> SourceChange {
        let described = self.table.column(column);
        SourceChange {
            kind,
            column: column.to_owned(),
            native: described.map_or_else(String::new, |it| it.native.name.clone()),
            before: None,
            from: None,
            key: None,
        }
    }

    /// What became of the name of a column that is the same one as before.
    fn renamed(&self, stored: &Stored, column: &str) -> Option<SourceChange> {
        let from = stored.renames.from(column)?;
        if !stored.copied.contains(column) {
            return None;
        }
        let kind = match stored.is_guess && !self.agrees_by_name(from, column) {
            true => Kind::LooksRenamed,
            false => Kind::Renamed,
        };
        Some(SourceChange {
            from: Some(from.to_owned()),
            ..self.change(kind, column)
        })
    }

    /// What became of the type of a column that is the same one as before.
    fn retyped(&self, stored: &Stored, column: &str) -> Option<SourceChange> {
        let before = stored.type_of(column);
        let described = &self.table.column(column)?.native;
        let native = spelled(described);
        // An older version stored nothing but the name of a type that is made of others.
        if before.is_empty() || before == native || before == described.name {
            return None;
        }
        let kind = match self.push.widens(&before, &native) {
            true => Kind::Widened,
            false => Kind::Retyped,
        };
        Some(SourceChange {
            kind,
            column: column.to_owned(),
            native,
            before: Some(before),
            from: None,
            key: None,
        })
    }

    /// Whether a column that is the same one as before may hold NULL, which it refused.
    fn relaxed(&self, stored: &Stored, column: &str) -> Option<SourceChange> {
        let is_nullable = self.table.column(column)?.nullable;
        let refused = stored.nullable.get(column) == Some(&Value::Bool(false));
        (refused && is_nullable).then(|| self.change(Kind::Relaxed, column))
    }

    /// Whether the file names the column: then it is no surprise to anybody.
    pub(crate) fn asks_for(&self, column: &str) -> bool {
        let is_listed = match &self.settings.columns {
            ColumnChoice::Only(entries) => is_named(entries, column),
            ColumnChoice::All | ColumnChoice::Except(_) => false,
        };
        let renames = self.settings.rename.iter();
        let mut renamed = renames.map(|(from, _)| &from.text);
        let key = self.settings.key.iter().flat_map(|(names, _)| names);
        let mut key = key.map(|name| &name.text);
        is_listed || renamed.any(|name| name == column) || key.any(|name| name == column)
    }

    /// Whether the file's choice would copy a column of this name.
    pub(crate) fn takes(&self, column: &str) -> bool {
        let matches = |entries: &[Name]| entries.iter().any(|entry| matches(&entry.text, column));
        match &self.settings.columns {
            ColumnChoice::All => true,
            ColumnChoice::Only(entries) => matches(entries),
            ColumnChoice::Except(entries) => !matches(entries),
        }
    }

    /// Whether a name of the file, which the source has no column of, was one when the stream was
    /// loaded: the source dropped it, and nobody mistyped it.
    /// A column that only has another name is not gone: the file has to say that name.
    pub(crate) fn was_column(&self, name: &str) -> bool {
        let Some(stored) = self.stored() else {
            return false;
        };
        let number = stored.columns.get(name).and_then(Value::as_i64);
        let mut columns = self.table.columns.iter();
        let is_renamed = number.is_some() && columns.any(|it| it.stable_id == number);
        stored.knew(name) && !is_renamed
    }

    /// Names of the file that are no columns any more.
    fn names_gone(&self) -> BTreeSet<String> {
        let listed = match &self.settings.columns {
            ColumnChoice::Only(entries) => entries.as_slice(),
            ColumnChoice::All | ColumnChoice::Except(_) => &[],
        };
        let renamed = self.settings.rename.iter().map(|(from, _)| from);
        let names = listed.iter().chain(renamed).map(|name| &name.text);
        let is_gone = |name: &&String| self.table.column(name).is_none() && self.was_column(name);
        names.filter(is_gone).cloned().collect()
    }

    /// The selection with what tells later runs what the source was, as it is stored. `needed`: the
    /// columns that the table is read by.
    pub(crate) fn with_source<'a>(
        &self,
        mut selection: Value,
        needed: impl Iterator<Item = &'a String> + Clone,
    ) -> String {
        let list = |names: &[Name]| {
            let names: BTreeSet<_> = names.iter().map(|name| &name.text).collect();
            json!(names)
        };
        selection[CHOICE] = match &self.settings.columns {
            ColumnChoice::All => json!("*"),
            ColumnChoice::Only(names) => list(names),
            ColumnChoice::Except(names) => json!({ "exclude": list(names) }),
        };
        let found = needed.filter_map(|name| self.table.column(name));
        let numbers = found.clone().map(|it| (&it.name, it.stable_id));
        let nullable = found.clone().map(|it| (&it.name, it.nullable));
        let types = found.map(|it| (&it.name, spelled(&it.native)));
        selection[SOURCE] = json!({
            "columns": numbers.collect::<BTreeMap<_, _>>(),
            "nullable": nullable.collect::<BTreeMap<_, _>>(),
            "types": types.collect::<BTreeMap<_, _>>(),
        });
        let numbered_by = renames::numbered_by(self.table);
        if !numbered_by.is_null() {
            selection[SOURCE][renames::TABLE] = numbered_by;
        }
        if let ColumnChoice::Except(_) = self.settings.columns {
            let columns = self.table.columns.iter();
            let left_out = columns.filter(|column| !self.takes(&column.name));
            selection[SOURCE][renames::LEFT_OUT] = renames::left_out(left_out);
        }
        if self.settings.key.is_some() {
            selection[SOURCE]["key"] = json!("named");
        }
        let gone = self.names_gone();
        if !gone.is_empty() {
            selection[SOURCE]["gone"] = json!(gone);
        }
        selection.to_string()
    }
}

/// A type with its labels, or with what else it is made of, as it is stored.
pub(crate) fn spelled(native: &NativeType) -> String {
    let name = &native.name;
    match &native.definition {
        Some(TypeDefinition::Enum { labels }) => format!("{name} {}", json!(labels)),
        Some(definition) => format!("{name}{}", made_of(definition)),
        None => name.clone(),
    }
}

/// What a type is made of; empty if its name says all that there is.
fn made_of(definition: &TypeDefinition) -> String {
    let listed = |needs: &[(String, TypeDefinition)]| {
        let needs = needs.iter().map(|(name, it)| (name, made_of(it)));
        let needs = needs.filter(|(_, made_of)| !made_of.is_empty());
        needs
            .map(|(name, made_of)| format!(" with {name}{made_of}"))
            .collect::<String>()
    };
    match definition {
        TypeDefinition::Enum { labels } => format!(" ({})", labels.join(", ")),
        TypeDefinition::Composite { attributes, needs } => {
            let attributes = attributes.iter();
            let attributes: Vec<_> = attributes
                .map(|(name, native)| format!("{name} {native}"))
                .collect();
            format!(" ({}){}", attributes.join(", "), listed(needs))
        }
        TypeDefinition::Domain { base, needs } => {
            let needs = needs.as_deref().map(std::slice::from_ref);
            format!(" over {base}{}", listed(needs.unwrap_or_default()))
        }
        TypeDefinition::Needs(needs) => listed(needs),
        TypeDefinition::Extension { .. } => String::new(),
    }
}
