//! What a table is at one moment: a plan that a person agreed to is carried out later only if that
//! is still so. Pure.

use crate::{Column, TableDescription};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rows up to which tables are all alike: whatever is done to them takes no time.
const FEW_ROWS: u64 = 10_000;

/// A table as it is, or was when a plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Its columns, in the store's order.
    pub columns: Vec<ColumnFacts>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// Other unique keys, each as its name and its columns: `email_key (email)`.
    pub unique_keys: Vec<String>,
    /// Which table of which server it is.
    pub identity: Value,
    /// Where its rows are stored, as [`TableDescription::storage_identity`] says.
    pub storage: Value,
    /// What else of the database depends on it, such as `view public.v`, sorted.
    pub dependents: Vec<String>,
    /// How many rows it holds, if the store has an estimate.
    pub rows: Option<u64>,
}

/// One column of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Its type, as the store spells it.
    #[serde(rename = "type")]
    pub native: String,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// Its default, as the store spells it.
    pub default: Option<String>,
}

impl ColumnFacts {
    fn of(column: &Column) -> Self {
        let labels = match &column.native.definition {
            Some(definition) => serde_json::to_string(definition).unwrap_or_default(),
            None => String::new(),
        };
        Self {
            name: column.name.clone(),
            native: format!("{} {labels}", column.native.name).trim().to_owned(),
            nullable: column.nullable,
            default: column.default.clone(),
        }
    }
}

impl std::fmt::Display for ColumnFacts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.native)?;
        if !self.nullable {
            formatter.write_str(" NOT NULL")?;
        }
        match &self.default {
            Some(default) => write!(formatter, " DEFAULT {default}"),
            None => Ok(()),
        }
    }
}

impl TableFacts {
    /// What a description says, and what depends on the table.
    pub fn of(description: &TableDescription, mut dependents: Vec<String>) -> Self {
        dependents.sort();
        dependents.dedup();
        let keys = description.unique_keys.iter();
        let keys = keys.map(|key| format!("{} ({})", key.name, key.columns.join(", ")));
        Self {
            columns: description.columns.iter().map(ColumnFacts::of).collect(),
            primary_key: description.primary_key.clone(),
            unique_keys: keys.collect(),
            identity: description.source_identity.clone(),
            storage: description.storage_identity.clone(),
            dependents,
            rows: description.row_estimate,
        }
    }

    /// What is different in the table as it is found later, each as part of a sentence. The number
    /// of its rows is different only if it is of another magnitude.
    pub fn differences(&self, found: &Self) -> Vec<String> {
        if !is_same(&self.identity, &found.identity) {
            return vec!["it is another table, or on another server".to_owned()];
        }
        let mut differences = self.of_columns(found);
        if self.primary_key != found.primary_key {
            differences.push(format!(
                "its primary key is ({}), was ({})",
                found.primary_key.join(", "),
                self.primary_key.join(", ")
            ));
        }
        let keys = (self.unique_keys.as_slice(), found.unique_keys.as_slice());
        differences.extend(came_and_went(keys, |key| format!("unique key {key}")));
        let dependents = (self.dependents.as_slice(), found.dependents.as_slice());
        differences.extend(came_and_went(dependents, ToOwned::to_owned));
        if differences.is_empty() && !is_same(&self.storage, &found.storage) {
            differences.push("its rows were written anew, or it was altered".to_owned());
        }
        differences.extend(self.of_rows(found));
        differences
    }

    fn of_columns(&self, found: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let named = |columns: &[ColumnFacts], name: &str| {
            columns.iter().find(|column| column.name == name).cloned()
        };
        for column in &self.columns {
            let name = &column.name;
            match named(&found.columns, name) {
                None => differences.push(format!("column `{name}` is gone")),
                Some(now) if now != *column => {
                    differences.push(format!("column `{name}` is {now}, was {column}"));
                }
                Some(_) => {}
            }
        }
        let is_new = |column: &&ColumnFacts| named(&self.columns, &column.name).is_none();
        let new = found.columns.iter().filter(is_new);
        differences.extend(new.map(|column| format!("column `{}` is new", column.name)));
        differences
    }

    fn of_rows(&self, found: &Self) -> Option<String> {
        // An estimate that was not there says nothing.
        let (then, now) = (self.rows?, found.rows?);
        (magnitude(then) != magnitude(now))
            .then(|| format!("it holds about {now} rows, held about {then}"))
    }
}

/// 10,000 rows, 100,000, 1,000,000: which of them is not exceeded.
fn magnitude(rows: u64) -> u32 {
    match rows {
        0..=FEW_ROWS => 0,
        more => (more - 1).ilog10(),
    }
}

/// Whether two marks may be those of one thing. What a user is not shown says nothing.
fn is_same(then: &Value, now: &Value) -> bool {
    let (Value::Object(then), Value::Object(now)) = (then, now) else {
        return then == now || then.is_null() || now.is_null();
    };
    then.iter().all(|(key, then)| {
        now.get(key)
            .is_none_or(|now| then == now || then.is_null() || now.is_null())
    })
}

fn came_and_went(
    (then, now): (&[String], &[String]),
    what: impl Fn(&str) -> String,
) -> Vec<String> {
    let gone = then.iter().filter(|it| !now.contains(it));
    let gone = gone.map(|it| format!("{} is gone", what(it)));
    let new = now.iter().filter(|it| !then.contains(it));
    gone.chain(new.map(|it| format!("{} is new", what(it))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn column(name: &str, native: &str) -> ColumnFacts {
        ColumnFacts {
            name: name.into(),
            native: native.into(),
            nullable: true,
            default: None,
        }
    }

    fn facts() -> TableFacts {
        TableFacts {
            columns: vec![column("id", "integer"), column("name", "text")],
            primary_key: vec!["id".into()],
            unique_keys: vec!["name_key (name)".into()],
            identity: json!({ "oid": 1 }),
            storage: json!({ "file": 1 }),
            dependents: vec!["view v".into()],
            rows: Some(100),
        }
    }

    fn changed(change: impl FnOnce(&mut TableFacts)) -> Vec<String> {
        let mut later = facts();
        change(&mut later);
        facts().differences(&later)
    }

    #[test]
    fn each_difference_is_named() {
        let cases = [
            (changed(|_| {}), vec![]),
            (
                changed(|it| it.columns[1] = column("name", "varchar(9)")),
                vec!["column `name` is varchar(9), was text"],
            ),
            (
                changed(|it| it.columns[1].name = "full_name".into()),
                vec!["column `name` is gone", "column `full_name` is new"],
            ),
            (
                changed(|it| it.columns[1].nullable = false),
                vec!["column `name` is text NOT NULL, was text"],
            ),
            (
                changed(|it| it.primary_key = vec!["name".into()]),
                vec!["its primary key is (name), was (id)"],
            ),
            (
                changed(|it| it.dependents = vec!["view w".into()]),
                vec!["view v is gone", "view w is new"],
            ),
            (
                changed(|it| it.unique_keys.clear()),
                vec!["unique key name_key (name) is gone"],
            ),
            (
                changed(|it| it.storage = json!({ "file": 2 })),
                vec!["its rows were written anew, or it was altered"],
            ),
            (
                changed(|it| it.identity = json!({ "oid": 2 })),
                vec!["it is another table, or on another server"],
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_a_user_is_not_shown_is_no_difference() {
        let hidden = changed(|it| {
            it.identity = json!({ "oid": 1, "system": null });
            it.storage = Value::Null;
        });

        assert!(hidden.is_empty(), "{hidden:?}");
    }

    #[test]
    fn rows_differ_by_their_magnitude_only() {
        let held = |rows| changed(|it| it.rows = rows);

        assert!(held(Some(9_000)).is_empty());
        assert!(held(Some(10_000)).is_empty());
        assert!(held(None).is_empty());
        assert_eq!(held(Some(10_001)).len(), 1);
        assert_eq!(
            held(Some(250_000)),
            ["it holds about 250000 rows, held about 100"]
        );
    }
}
