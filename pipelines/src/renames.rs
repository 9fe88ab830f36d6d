//! Columns that have other names at the source than when their stream was loaded. Pure.
//!
//! A store that numbers its columns tells which one has which name. Of the others nothing but a
//! guess can be had, from a column that is gone and one that came: a person has to agree to it.

use crate::evolution::{CHOICE, SOURCE, spelled};
use crate::schema_setting::RenamedColumn;
use crate::sql::{resolve, resolve_under};
use crate::{SourceChangeKind, TablePlan};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use syncset_connector::{Column, TableDescription};

/// The key of what is stored of the source that says which table numbered its columns.
pub(crate) const TABLE: &str = "table";

/// The key of what is stored of the source that holds the columns that the file leaves out.
pub(crate) const LEFT_OUT: &str = "left_out";

/// Names that columns had, and those that they have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renames {
    to: BTreeMap<String, String>,
}

impl Renames {
    /// Renames from the first name of each pair to the second.
    pub(crate) fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            to: pairs.into_iter().collect(),
        }
    }

    /// What the source's numbers say about the columns of a stored text.
    pub(crate) fn by_number(stored: &Value, table: &TableDescription) -> Self {
        let source = &stored[SOURCE];
        // Another table, though of the same name, has numbers of its own.
        if source[TABLE].is_null() || source[TABLE] != numbered_by(table) {
            return Self::default();
        }
        let of_copied = source["columns"].as_object().into_iter().flatten();
        let of_copied = of_copied.filter_map(|(name, number)| Some((name, number.as_i64()?)));
        let left_out = source[LEFT_OUT].as_object().into_iter().flatten();
        let left_out = left_out.filter_map(|(name, it)| Some((name, it["number"].as_i64()?)));
        let pairs = of_copied.chain(left_out).filter_map(|(name, number)| {
            let mut columns = table.columns.iter();
            let now = columns.find(|column| column.stable_id == Some(number))?;
            (now.name != *name).then(|| (name.clone(), now.name.clone()))
        });
        Self::of(pairs)
    }

    /// The name that a column of this name has got.
    pub fn to(&self, from: &str) -> Option<&str> {
        self.to.get(from).map(String::as_str)
    }

    /// The name that a column had which has this name.
    pub fn from(&self, to: &str) -> Option<&str> {
        let mut pairs = self.to.iter();
        let found = pairs.find(|(_, it)| *it == to);
        found.map(|(from, _)| from.as_str())
    }

    /// The column's name, if it is the one that was stored and not another one that has its name.
    pub(crate) fn name<'a>(&'a self, stored: &'a str) -> Option<&'a str> {
        match self.to(stored) {
            Some(to) => Some(to),
            None if self.from(stored).is_some() => None,
            None => Some(stored),
        }
    }

    /// An expression of `derive` with the names that its columns have by now; `None` if it does not
    /// speak of the columns that the table had.
    pub fn in_expression(&self, sql: &str, table: &TableDescription) -> Option<String> {
        let resolved = resolve_under(sql, &before(table, self), &|name| self.told(name));
        resolved.ok().map(|it| it.sql)
    }

    fn told(&self, stored: &str) -> String {
        self.to(stored).unwrap_or(stored).to_owned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.to.is_empty()
    }
}

/// Which table gave the columns their numbers; `Null` where they have none.
pub(crate) fn numbered_by(table: &TableDescription) -> Value {
    let mut columns = table.columns.iter();
    match columns.any(|column| column.stable_id.is_some()) {
        true => json!(short(&table.source_identity.to_string())),
        false => Value::Null,
    }
}

/// What a column is known by whatever its name is; `None` in stores that do not number theirs.
pub fn column_identity(table: &TableDescription, column: &Column) -> Option<String> {
    let number = column.stable_id?;
    Some(format!(
        "{}.{number}",
        short(&table.source_identity.to_string())
    ))
}

/// Whether the stream of a stored text was loaded from this table, whatever its name is; only stores
/// that number columns tell.
pub fn is_table_of(text: &str, table: &TableDescription) -> bool {
    let stored: Value = serde_json::from_str(text).unwrap_or_default();
    let numbered_by = numbered_by(table);
    !numbered_by.is_null() && stored[SOURCE][TABLE] == numbered_by
}

fn short(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is stored of the columns that the file leaves out: they must not be copied because they
/// got another name.
pub(crate) fn left_out<'a>(columns: impl Iterator<Item = &'a Column>) -> Value {
    let told = columns.map(|column| {
        let told = json!({ "number": column.stable_id, "type": spelled(&column.native) });
        (column.name.clone(), told)
    });
    Value::Object(told.collect())
}

/// The text that a stream was loaded under, with the names that its columns have by now; and which
/// ones these are. The text as it is if they are not followed.
pub fn under_new_names(text: &str, plan: &TablePlan) -> (String, Renames) {
    let Ok(stored) = serde_json::from_str::<Value>(text) else {
        return (text.to_owned(), Renames::default());
    };
    let renames = match plan.schema.renamed_column {
        RenamedColumn::Add => Renames::default(),
        _ => known(&stored, plan),
    };
    if renames.is_empty() {
        return (text.to_owned(), renames);
    }
    let now = serde_json::from_str(&plan.selection_text).unwrap_or_default();
    let table = &plan.read.description;
    let translated = translated(stored, &renames, table, Some(&now));
    (translated.to_string(), renames)
}

/// What the numbers say, else what the plan takes for a rename, as long as it is not stored yet.
fn known(stored: &Value, plan: &TablePlan) -> Renames {
    let mut renames = Renames::by_number(stored, &plan.read.description);
    let copied = copied(stored);
    let told = plan.source_changes.iter().filter(|change| {
        matches!(
            change.kind,
            SourceChangeKind::Renamed | SourceChangeKind::LooksRenamed
        )
    });
    for change in told {
        let Some(from) = change.from.as_ref() else {
            continue;
        };
        if copied.contains(from) && !copied.contains(&change.column) {
            renames.to.insert(from.clone(), change.column.clone());
        }
    }
    renames
}

fn copied(stored: &Value) -> BTreeSet<String> {
    let columns = stored["columns"].as_array().into_iter().flatten();
    let names = columns.filter_map(|column| column["column"].as_str());
    names.map(str::to_owned).collect()
}

/// A stored selection with the names that the columns have by now. A column that is gone and whose
/// name another one has got is left out of it. `now`: the selection of the plan.
pub(crate) fn translated(
    mut stored: Value,
    renames: &Renames,
    table: &TableDescription,
    now: Option<&Value>,
) -> Value {
    let written = now.map(by_source).unwrap_or_default();
    let before = before(table, renames);
    if let Some(columns) = stored["columns"].as_array_mut() {
        columns.retain_mut(|column| rename_column(column, renames, &written, table));
        columns.sort_by_key(|column| column["to"].to_string());
    }
    for name in stored["key"].as_array_mut().into_iter().flatten() {
        rename_text(name, renames);
    }
    rename_text(&mut stored["capture"]["column"], renames);
    if let Some(columns) = stored.pointer_mut("/on_lossy/columns") {
        rename_keys(columns, renames);
    }
    let same = now
        .and_then(|now| same_condition(&stored["where"], &now["where"], &before, renames, table));
    if let Some(condition) = same {
        stored["where"] = condition;
    }
    let source = &mut stored[SOURCE];
    for part in ["columns", "types", LEFT_OUT, "nullable"] {
        if !source[part].is_null() {
            rename_keys(&mut source[part], renames);
        }
    }
    stored
}

/// Source column to name at the target.
fn by_source(selection: &Value) -> BTreeMap<String, String> {
    let columns = selection["columns"].as_array().into_iter().flatten();
    let pairs = columns.filter_map(|it| Some((it["column"].as_str()?, it["to"].as_str()?)));
    pairs
        .map(|(column, to)| (column.to_owned(), to.to_owned()))
        .collect()
}

/// Renames one column of a selection; false if it is gone for good.
fn rename_column(
    column: &mut Value,
    renames: &Renames,
    written: &BTreeMap<String, String>,
    table: &TableDescription,
) -> bool {
    if let Some(sql) = column["derive"].as_str() {
        if let Some(renamed) = renames.in_expression(sql, table) {
            column["derive"] = json!(renamed);
        }
        return true;
    }
    let Some(from) = column["column"].as_str().map(str::to_owned) else {
        return true;
    };
    let Some(to) = renames.name(&from).map(str::to_owned) else {
        return false;
    };
    // A column without a `rename` has its name at the target too; the file may keep the old one.
    let keeps_name = written.get(&to) == Some(&from);
    if column["to"] == json!(from) && !keeps_name {
        column["to"] = json!(to);
    }
    column["column"] = json!(to);
    true
}

fn rename_text(text: &mut Value, renames: &Renames) {
    let renamed = text.as_str().and_then(|name| renames.to(name));
    if let Some(to) = renamed.map(str::to_owned) {
        *text = json!(to);
    }
}

fn rename_keys(map: &mut Value, renames: &Renames) {
    let Value::Object(fields) = map.take() else {
        return;
    };
    let renamed = fields.into_iter().filter_map(|(name, value)| {
        let to = renames.name(&name)?.to_owned();
        Some((to, value))
    });
    *map = Value::Object(renamed.collect::<Map<_, _>>());
}

/// The condition of the file, if it is the stored one under other names.
fn same_condition(
    stored: &Value,
    now: &Value,
    before: &TableDescription,
    renames: &Renames,
    table: &TableDescription,
) -> Option<Value> {
    let then = resolve_under(stored.as_str()?, before, &|name| renames.told(name)).ok()?;
    let is_same = then.sql == resolve(now.as_str()?, table).ok()?.sql;
    is_same.then(|| now.clone())
}

/// The table with the names that its columns had.
fn before(table: &TableDescription, renames: &Renames) -> TableDescription {
    let mut before = table.clone();
    before.columns.retain(|column| {
        renames.to(&column.name).is_none() || renames.from(&column.name).is_some()
    });
    for column in &mut before.columns {
        if let Some(from) = renames.from(&column.name) {
            from.clone_into(&mut column.name);
        }
    }
    before
}

/// Whether two texts of a selection say the same, but for what they tell of the source.
pub fn is_same_selection(left: &str, right: &str) -> bool {
    let selection = |text: &str| {
        let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
        fields.remove(CHOICE);
        fields.remove(SOURCE);
        Some(fields)
    };
    selection(left).is_some_and(|left| Some(left) == selection(right))
}
