//! What became of a source table since its stream was loaded. Pure: what was stored and what the
//! source says in, changes out.
//!
//! The stored text says how the columns were chosen and which ones that gave. A column that the
//! stored choice takes and that it did not give was not there: the source made it. Everything else
//! that differs is an edit of the file.

use crate::outputs::is_named;
use crate::planner::Planner;
use crate::spec::{ColumnChoice, NewColumn};
use crate::table_pattern::NamePattern;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use syncset_connector::TableDescription;

/// Key of the stored text: how the columns were chosen.
pub(crate) const CHOICE: &str = "choice";

/// Key of the stored text: the number that each column that is read had at the source.
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
}

impl std::fmt::Display for SourceChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { column, native, .. } = self;
        match self.kind {
            Kind::Added => write!(formatter, "new column `{column}` ({native})"),
            Kind::Replaced => write!(
                formatter,
                "column `{column}` was dropped and added again ({native})"
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
        let Some(stored) = self.selected.loaded_under.as_deref().and_then(Stored::read) else {
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
        for column in chosen {
            let is_new = stored.lacked(&column) && !self.asks_for(&column);
            if is_new && self.settings.new_column == NewColumn::Ignore {
                evolved.ignored.push(column);
                continue;
            }
            if is_new {
                evolved.changes.push(self.change(Kind::Added, &column));
            } else if replaced(&column) {
                evolved.changes.push(self.change(Kind::Replaced, &column));
            }
            evolved.columns.push(column);
        }
        evolved
    }

    fn change(&self, kind: Kind, column: &str) -> SourceChange {
        let described = self.table.column(column);
        SourceChange {
            kind,
            column: column.to_owned(),
            native: described.map_or_else(String::new, |it| it.native.name.clone()),
        }
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

    /// The selection with what tells later runs what the source was, as it is stored.
    pub(crate) fn with_source(&self, mut selection: Value, read: &[String]) -> String {
        let list = |names: &[crate::Name]| {
            let names: BTreeSet<_> = names.iter().map(|name| &name.text).collect();
            json!(names)
        };
        selection[CHOICE] = match &self.settings.columns {
            ColumnChoice::All => json!("*"),
            ColumnChoice::Only(names) => list(names),
            ColumnChoice::Except(names) => json!({ "exclude": list(names) }),
        };
        let numbers = read.iter().filter_map(|name| {
            let column = self.table.column(name)?;
            Some((name, column.stable_id))
        });
        let columns: BTreeMap<_, _> = numbers.collect();
        selection[SOURCE] = json!({ "columns": columns });
        selection.to_string()
    }
}

/// What is stored of a stream.
struct Stored {
    choice: Value,
    /// Columns of the source that were copied.
    copied: BTreeSet<String>,
    /// The number of each column that was read, where the store has them.
    columns: Map<String, Value>,
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
        let Value::Object(columns) = source["columns"].take() else {
            return None;
        };
        Some(Self {
            choice,
            copied,
            columns,
        })
    }

    /// Whether the column was not there: it would have been copied.
    fn lacked(&self, column: &str) -> bool {
        let takes = |list: &Value| {
            let mut entries = list.as_array().into_iter().flatten();
            entries.any(|entry| {
                let pattern = entry.as_str().map(NamePattern::parse);
                matches!(pattern, Some(Ok(pattern)) if pattern.matches(column))
            })
        };
        let was_taken = match &self.choice {
            Value::String(_) => true,
            Value::Object(fields) => !fields.get("exclude").is_some_and(takes),
            list => takes(list),
        };
        was_taken && !self.copied.contains(column)
    }

    /// Whether the column of this name was another one. Stores that do not number their columns
    /// cannot tell.
    fn had_another(&self, column: &str, table: &TableDescription) -> bool {
        let then = self.columns.get(column).and_then(Value::as_i64);
        let now = table.column(column).and_then(|it| it.stable_id);
        matches!((then, now), (Some(then), Some(now)) if then != now)
    }
}
