//! What was stored of a stream when it was loaded: how its columns were chosen, which ones that gave,
//! and what they were at the source. Pure.

use crate::evolution::{CHOICE, SOURCE, spelled};
use crate::planner::Planner;
use crate::renames::{self, Renames};
use crate::schema_setting::RenamedColumn;
use crate::table_pattern::NamePattern;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use syncset_connector::TableDescription;

impl Planner<'_> {
    /// What is stored of the stream, if it was loaded by a version that stored it.
    pub(crate) fn stored(&self) -> Option<Stored> {
        let raw = self.stored_names()?;
        let (renames, is_guess) = self.renames(&raw);
        if renames.is_empty() {
            return Some(raw);
        }
        let text = serde_json::from_str(self.selected.loaded_under.as_deref()?).ok()?;
        let now = renames::translated(text, &renames, self.table, None);
        let is_shadowed = |name: &&String| renames.name(name).is_none();
        let shadowed = raw.copied.iter().filter(is_shadowed);
        let shadowed = shadowed.map(|name| (name.clone(), raw.type_of(name)));
        Some(Stored {
            shadowed: shadowed.collect(),
            is_guess,
            renames,
            ..Stored::of(now)?
        })
    }

    /// The same with the names that columns had then.
    pub(crate) fn stored_names(&self) -> Option<Stored> {
        Stored::of(serde_json::from_str(self.selected.loaded_under.as_deref()?).ok()?)
    }

    /// What the source's numbers say about names, whatever the file makes of it.
    pub(crate) fn renames_by_number(&self) -> Renames {
        let text = self.selected.loaded_under.as_deref();
        let stored = text.and_then(|text| serde_json::from_str(text).ok());
        stored.map_or_else(Renames::default, |stored| {
            Renames::by_number(&stored, self.table)
        })
    }

    /// The renames that the target follows, and whether they are only a guess.
    pub(crate) fn renames(&self, raw: &Stored) -> (Renames, bool) {
        if self.settings.schema.renamed_column == RenamedColumn::Add {
            return (Renames::default(), false);
        }
        if !renames::numbered_by(self.table).is_null() {
            return (self.renames_by_number(), false);
        }
        (Renames::of(self.guesses(raw)), true)
    }

    /// Pairs of a column that is gone and the only new one of its type.
    fn guesses(&self, raw: &Stored) -> Vec<(String, String)> {
        let gone = raw.copied.iter();
        let gone = gone.filter(|name| self.table.column(name).is_none() && self.takes(name));
        let gone: Vec<_> = gone.map(|name| (name, raw.type_of(name))).collect();
        let columns = self.table.columns.iter();
        let new = columns.filter(|it| self.takes(&it.name) && raw.lacked(&it.name));
        let new: Vec<_> = new.map(|it| (&it.name, spelled(&it.native))).collect();
        let only = |list: &[(&String, String)], native: &str| {
            list.iter().filter(|(_, it)| it == native).count() == 1
        };
        let pairs = gone.iter().filter_map(|(from, native)| {
            let (to, _) = new.iter().find(|(_, it)| it == native)?;
            let is_clear = !native.is_empty() && only(&gone, native) && only(&new, native);
            is_clear.then(|| ((*from).clone(), (*to).clone()))
        });
        pairs.collect()
    }

    /// Whether the file says that a new column goes where the one went that is gone.
    pub(crate) fn agrees_by_name(&self, from: &str, to: &str) -> bool {
        self.rename_place(to).is_some() && self.target_name(to) == self.target_name(from)
    }
}

/// What is stored of a stream.
pub(crate) struct Stored {
    pub(crate) choice: Value,
    /// Columns of the source that were copied.
    pub(crate) copied: BTreeSet<String>,
    /// Columns of the source's own key in order, by which rows were found; `None` where the file
    /// named others, and where rows were appended.
    pub(crate) key: Option<Vec<String>>,
    /// Columns of the key that the file named.
    pub(crate) named_key: Option<Vec<String>>,
    /// Which table gave the columns their numbers.
    pub(crate) numbered_by: Value,
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
        let columns = stored.get("key")?.as_array()?.iter();
        let names: Vec<String> = columns
            .filter_map(|it| Some(it.as_str()?.to_owned()))
            .collect();
        let appends = stored.contains_key("write");
        let (key, named_key) = match source["key"].is_null() {
            true => (Some(names).filter(|_| !appends), None),
            false => (None, Some(names)),
        };
        let Value::Object(columns) = source["columns"].take() else {
            return None;
        };
        let numbered_by = source[renames::TABLE].take();
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
            named_key,
            numbered_by,
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
        // Another table has numbers of its own; that it is another one is for the store to see.
        let now = renames::numbered_by(table);
        if !self.numbered_by.is_null() && self.numbered_by != now {
            return false;
        }
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
