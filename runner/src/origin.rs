//! What the columns of a target table are made of, as it is stored with them. Pure.
//!
//! A column of the source is told by its name and, where the source numbers its columns, by what
//! stays when the name does not. So nothing is renamed twice, whenever a run was killed.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use syncset_connector::{MadeColumn, MadeTable, Mask};
use syncset_pipeline::{OutputValue, RenamedColumn, Renames, TablePlan, column_identity};

/// The key of what masks a column, where that makes another column of it.
const MASKED: &str = "masked";

/// What is said of a column that carries these values. A mask makes another column of it where it
/// makes a text or NULL of everything: the one that is there may refuse that.
pub(crate) fn of_value(plan: &TablePlan, value: &OutputValue) -> String {
    match value {
        OutputValue::Column(column) => of_column(plan, column),
        OutputValue::Derived { sql, .. } => of_expression(sql),
        OutputValue::Plugin { .. } => value.origin().to_string(),
        OutputValue::Masked(value, mask) => {
            let mark = match mask {
                Mask::Null => json!("null"),
                mask if mask.keeps_type() => Value::Null,
                _ => json!("text"),
            };
            marked(of_value(plan, value), mark)
        }
    }
}

/// The same with the mark of a mask; `Null` for none.
fn marked(origin: String, mark: Value) -> String {
    match (mark, serde_json::from_str::<Value>(&origin)) {
        (Value::Null, _) | (_, Err(_)) => origin,
        (mark, Ok(mut fields)) => {
            fields[MASKED] = mark;
            fields.to_string()
        }
    }
}

fn mark_of(origin: &str) -> Value {
    let mut origin: Value = serde_json::from_str(origin).unwrap_or_default();
    origin.get_mut(MASKED).map(Value::take).unwrap_or_default()
}

/// Whether the column holds texts that a mask makes.
pub(crate) fn is_text_of_mask(origin: &str) -> bool {
    mark_of(origin) == "text"
}

/// What would be said of the column if nothing masked it.
pub(crate) fn unmasked(origin: &str) -> String {
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(origin) else {
        return origin.to_owned();
    };
    match fields.shift_remove(MASKED) {
        Some(_) => Value::Object(fields).to_string(),
        None => origin.to_owned(),
    }
}

/// What is said of a column that carries this column of the source.
pub(crate) fn of_column(plan: &TablePlan, source: &str) -> String {
    let description = &plan.read.description;
    let column = description.column(source);
    let identity = column.and_then(|column| column_identity(description, column));
    let origin = match identity {
        Some(identity) => json!({ "column": source, "id": identity }),
        None => json!({ "column": source }),
    };
    origin.to_string()
}

/// What is said of a column that carries one which the source dropped, and whose name another
/// column of the source has got.
pub(crate) fn of_shadowed(source: &str) -> String {
    json!({ "dropped": source }).to_string()
}

/// What is said of a column that is computed.
pub(crate) fn of_expression(sql: &str) -> String {
    json!({ "derive": sql }).to_string()
}

fn expression(origin: &str) -> Option<String> {
    let origin: Value = serde_json::from_str(origin).ok()?;
    origin["derive"].as_str().map(str::to_owned)
}

/// The column of the source that a column carries, by the name that it had.
pub(crate) fn source_of(origin: &str) -> Option<String> {
    read(origin).map(|(name, _)| name)
}

fn read(origin: &str) -> Option<(String, Option<String>)> {
    let origin: Value = serde_json::from_str(origin).ok()?;
    let name = origin["column"].as_str()?.to_owned();
    Some((name, origin["id"].as_str().map(str::to_owned)))
}

/// What we made of a table, with the names that the source's columns have by now.
#[derive(Debug, Default)]
pub(crate) struct ByNow {
    /// The columns, each with what it carries.
    pub(crate) columns: Vec<MadeColumn>,
    /// Names at the target of those whose column has another name than was stored.
    pub(crate) followed: BTreeSet<String>,
}

impl ByNow {
    /// `renames`: what the stored selection says, for columns that are not known by more than their
    /// names.
    pub(crate) fn of(made: &MadeTable, plan: &TablePlan, renames: &Renames) -> Self {
        let read: Vec<_> = made.columns.iter().map(|it| read(&it.origin)).collect();
        let names: BTreeSet<&String> = read.iter().flatten().map(|(name, _)| name).collect();
        let known = read.iter().flatten();
        let known = known.filter_map(|(_, identity)| named(plan, identity.as_deref()?));
        let known: BTreeSet<String> = known.collect();
        let name_now = |name: &String, identity: Option<&str>| {
            if let Some(now) = identity.and_then(|identity| named(plan, identity)) {
                return Some(now);
            }
            if known.contains(name) && identity.is_some() {
                return None;
            }
            let is_shadowed = renames
                .from(name)
                .is_some_and(|from| names.contains(&from.to_owned()));
            match renames.to(name) {
                Some(to) => Some(to.to_owned()),
                None => (!is_shadowed).then(|| name.clone()),
            }
        };
        let mut by_now = Self::default();
        for (column, read) in made.columns.iter().zip(&read) {
            let mut column = column.clone();
            let mark = mark_of(&column.origin);
            if let Some((name, identity)) = read {
                let now = name_now(name, identity.as_deref());
                if now.as_ref().is_some_and(|now| now != name) {
                    by_now.followed.insert(column.name.clone());
                }
                column.origin = match now {
                    Some(now) => marked(of_column(plan, &now), mark),
                    None => of_shadowed(name),
                };
            } else if let Some(sql) = expression(&column.origin) {
                let table = &plan.read.description;
                let by_now = renames.in_expression(&sql, table);
                column.origin = marked(of_expression(&by_now.unwrap_or(sql)), mark);
            }
            by_now.columns.push(column);
        }
        by_now
    }

    /// Whether a column of the target carries this column of the source.
    pub(crate) fn carries(&self, plan: &TablePlan, source: &str) -> bool {
        let origin = of_column(plan, source);
        let mut columns = self.columns.iter();
        columns.any(|column| unmasked(&column.origin) == origin)
    }
}

/// The name of the source's column that is known by this, if names are followed at all.
fn named(plan: &TablePlan, identity: &str) -> Option<String> {
    if plan.schema.renamed_column == RenamedColumn::Add {
        return None;
    }
    let description = &plan.read.description;
    let mut columns = description.columns.iter();
    let column =
        columns.find(|column| column_identity(description, column).as_deref() == Some(identity));
    column.map(|column| column.name.clone())
}
