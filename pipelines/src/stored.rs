//! What was stored of a stream when it was loaded: how its columns were chosen, which ones that gave,
//! and what they were at the source. Pure.

use crate::evolution::{CHOICE, SOURCE};
use crate::renames::{self, Renames};
use crate::table_pattern::NamePattern;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use syncset_connector::TableDescription;

/// What is stored of a stream.
pub(crate) struct Stored {
    pub(crate) choice: Value,
    /// Columns of the source that were copied.
    pub(crate) copied: BTreeSet<String>,
    /// Columns of the source's own key, by which rows were found; empty where the file named others.
    pub(crate) key: BTreeSet<String>,
    /// The number of each column that was needed, where the store has them.
    pub(crate) columns: Map<String, Value>,
    pub(crate) types: Map<String, Value>,
    /// Whether each column could hold NULL.
    pub(crate) nullable: Map<String, Value>,
    /// Names of the file that were columns once.
    pub(crate) gone: BTreeSet<String>,
    /// Columns that the file left out, with number and type.
    pub(crate) left_out: Map<String, Value>,
    /// The names that columns have got since; the others here are those they have by now.
    pub(crate) renames: Renames,
    /// Whether nothing but their types says that columns got other names.
    pub(crate) is_guess: bool,
    /// Columns that were copied, are gone, and whose names others have got; with their types.
    pub(crate) shadowed: BTreeMap<String, String>,
}

impl Stored {
    /// `None` for text of a version that did not store it.
    pub(crate) fn of(stored: Value) -> Option<Self> {
        let Value::Object(mut stored) = stored else {
            return None;
        };
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
        let mut map = |name: &str| match source[name].take() {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let (types, left_out) = (map("types"), map(renames::LEFT_OUT));
        let nullable = map("nullable");
        Some(Self {
            choice,
            copied,
            key,
            columns,
            types,
            nullable,
            gone: texts(&source["gone"]),
            left_out,
            renames: Renames::default(),
            is_guess: false,
            shadowed: BTreeMap::new(),
        })
    }

    /// The type that a column had, as the source spelled it; empty if it is not known.
    pub(crate) fn type_of(&self, column: &str) -> String {
        let native = self.types.get(column).and_then(Value::as_str);
        native.unwrap_or_default().to_owned()
    }

    /// Whether the column was not there: it would have been copied.
    pub(crate) fn lacked(&self, column: &str) -> bool {
        let takes = |list: &Value| texts(list).iter().any(|entry| matches(entry, column));
        let was_taken = match &self.choice {
            Value::String(_) => true,
            Value::Object(fields) => !fields.get("exclude").is_some_and(takes),
            list => takes(list),
        };
        was_taken && !self.copied.contains(column)
    }

    /// Whether there was a column of this name, or one that this pattern meant.
    pub(crate) fn knew(&self, name: &str) -> bool {
        let chosen = texts(self.choice.get("exclude").unwrap_or(&self.choice));
        self.copied.contains(name) || self.gone.contains(name) || chosen.contains(name)
    }

    /// Whether the column of this name was another one. Stores that do not number their columns
    /// cannot tell.
    pub(crate) fn had_another(&self, column: &str, table: &TableDescription) -> bool {
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

/// Whether an entry of the file means a column.
pub(crate) fn matches(entry: &str, column: &str) -> bool {
    matches!(NamePattern::parse(entry), Ok(pattern) if pattern.matches(column))
}
