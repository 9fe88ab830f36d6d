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
use crate::schema_setting::NewColumn;
use crate::spec::{ColumnChoice, Name};
use crate::table_pattern::NamePattern;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use syncset_connector::{NativeType, TableDescription, TypeDefinition};

/// Key of the stored text: how the columns were chosen.
pub(crate) const CHOICE: &str = "choice";

/// Key of the stored text: what the columns that the table needs were at the source.
pub(crate) const SOURCE: &str = "source";

/// One thing that became of a source table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceChange {
    /// What happened.
    pub kind: Kind,
    /// The column, as the source names it.
    pub column: String,
    /// Its type, as the source spells it.
    #[serde(rename = "type")]
    pub native: String,
    /// The type that it had, if that is what changed.
    #[serde(rename = "type_before", skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
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
    /// It is gone.
    Dropped,
    /// Its type holds all that it held before, and more.
    Widened,
    /// Its type is another one.
    Retyped,
}

impl std::fmt::Display for SourceChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { column, native, .. } = self;
        let before = self.before.as_deref().unwrap_or_default();
        match self.kind {
            Kind::Added => write!(formatter, "new column `{column}` ({native})"),
            Kind::Replaced => write!(
                formatter,
                "column `{column}` was dropped and added again ({native})"
            ),
            Kind::Dropped if native.is_empty() => write!(formatter, "dropped column `{column}`"),
            Kind::Dropped => write!(formatter, "dropped column `{column}` ({native})"),
            Kind::Widened => write!(
                formatter,
                "widened column `{column}` ({before} -> {native})"
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
    /// What is stored of the stream, if it was loaded by a version that stored it.
    pub(crate) fn stored(&self) -> Option<Stored> {
        Stored::read(self.selected.loaded_under.as_deref()?)
    }

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
        evolved.changes.extend(dropped.map(|name| SourceChange {
            kind: Kind::Dropped,
            column: name.clone(),
            native: stored.type_of(name),
            before: None,
        }));
        for column in chosen {
            let is_new = stored.lacked(&column) && !self.asks_for(&column);
            if is_new && self.settings.schema.new_column == NewColumn::Ignore {
                evolved.ignored.push(column);
                continue;
            }
            if is_new {
                evolved.changes.push(self.change(Kind::Added, &column));
            } else if replaced(&column) {
                evolved.changes.push(self.change(Kind::Replaced, &column));
            } else {
                evolved.changes.extend(self.retyped(&stored, &column));
            }
            evolved.columns.push(column);
        }
        evolved
    }

    /// Notes columns that were copied and that this user may only not be shown any more: they must
    /// not pass as dropped.
    pub(crate) fn refuses_hidden(&self, problems: &mut Problems) -> bool {
        let (Some(grant), Some(stored)) = (&self.table.grant, self.stored()) else {
            return false;
        };
        let then = stored.copied.iter().chain(&stored.key);
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
        }
    }

    /// What became of the type of a column that is the same one as before.
    fn retyped(&self, stored: &Stored, column: &str) -> Option<SourceChange> {
        let before = stored.type_of(column);
        let native = spelled(&self.table.column(column)?.native);
        if before.is_empty() || before == native {
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
        })
    }

    /// Whether the file names the column: then it is no surprise to anybody.
    fn asks_for(&self, column: &str) -> bool {
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
    fn takes(&self, column: &str) -> bool {
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
        let types = found.map(|it| (&it.name, spelled(&it.native)));
        selection[SOURCE] = json!({
            "columns": numbers.collect::<BTreeMap<_, _>>(),
            "types": types.collect::<BTreeMap<_, _>>(),
        });
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

/// A type with its labels, as it is stored.
fn spelled(native: &NativeType) -> String {
    match &native.definition {
        Some(TypeDefinition::Enum { labels }) => format!("{} {}", native.name, json!(labels)),
        _ => native.name.clone(),
    }
}

/// Whether an entry of the file means a column.
fn matches(entry: &str, column: &str) -> bool {
    matches!(NamePattern::parse(entry), Ok(pattern) if pattern.matches(column))
}

/// What is stored of a stream.
pub(crate) struct Stored {
    choice: Value,
    /// Columns of the source that were copied.
    copied: BTreeSet<String>,
    /// Columns of the source's own key, by which rows were found; empty where the file named others.
    pub(crate) key: BTreeSet<String>,
    /// The number of each column that was needed, where the store has them.
    pub(crate) columns: Map<String, Value>,
    types: Map<String, Value>,
    /// Names of the file that were columns once.
    gone: BTreeSet<String>,
}

impl Stored {
    /// `None` for text of a version that did not store it.
    fn read(text: &str) -> Option<Self> {
        let mut stored: Map<String, Value> = serde_json::from_str(text).ok()?;
        let choice = stored.remove(CHOICE)?;
        let copied = stored.get("columns")?.as_array()?.iter();
        let copied = copied.filter_map(|column| column["column"].as_str());
        let copied = copied.map(str::to_owned).collect();
        let mut source = stored.remove(SOURCE)?;
        let key = stored.get("key").filter(|_| source["key"].is_null());
        let key = key.map(texts).unwrap_or_default();
        let Value::Object(columns) = source["columns"].take() else {
            return None;
        };
        let types = match source["types"].take() {
            Value::Object(types) => types,
            _ => Map::new(),
        };
        Some(Self {
            choice,
            copied,
            key,
            columns,
            types,
            gone: texts(&source["gone"]),
        })
    }

    /// The type that a column had, as the source spelled it; empty if it is not known.
    pub(crate) fn type_of(&self, column: &str) -> String {
        let native = self.types.get(column).and_then(Value::as_str);
        native.unwrap_or_default().to_owned()
    }

    /// Whether the column was not there: it would have been copied.
    fn lacked(&self, column: &str) -> bool {
        let takes = |list: &Value| texts(list).iter().any(|entry| matches(entry, column));
        let was_taken = match &self.choice {
            Value::String(_) => true,
            Value::Object(fields) => !fields.get("exclude").is_some_and(takes),
            list => takes(list),
        };
        was_taken && !self.copied.contains(column)
    }

    /// Whether there was a column of this name, or one that this pattern meant.
    fn knew(&self, name: &str) -> bool {
        let chosen = texts(self.choice.get("exclude").unwrap_or(&self.choice));
        self.copied.contains(name) || self.gone.contains(name) || chosen.contains(name)
    }

    /// Whether the column of this name was another one. Stores that do not number their columns
    /// cannot tell.
    fn had_another(&self, column: &str, table: &TableDescription) -> bool {
        let then = self.columns.get(column).and_then(Value::as_i64);
        let now = table.column(column).and_then(|it| it.stable_id);
        matches!((then, now), (Some(then), Some(now)) if then != now)
    }
}

/// The texts of a list.
fn texts(list: &Value) -> BTreeSet<String> {
    let entries = list.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| entry.as_str().map(str::to_owned))
        .collect()
}
