//! What stands in the way of an alteration.

use crate::connect::MysqlStore;
use crate::facts::View;
use crate::sql::{identifier, table as table_name};
use crate::types::Parsed;
use crate::write::catalog::Shape;
use syncset_connector::{Blocker, Result, TableAlteration, TableChange};

pub(super) fn blockers(
    alteration: &TableAlteration,
    shape: &Shape,
    filled: &[String],
) -> Vec<Blocker> {
    let name = &alteration.table.name;
    let mut blockers = Vec::new();
    for change in &alteration.changes {
        match change {
            TableChange::Drop(column) | TableChange::Clear(column) => {
                let what = format!("column `{column}` of `{name}` cannot be dropped");
                for dependent in dependents(alteration, shape, column) {
                    blockers.push(Blocker::dependent(&what, &dependent));
                }
            }
            TableChange::Key(key) => {
                let what = format!("the primary key of `{name}` cannot be replaced");
                let old = shape.primary_key();
                let is_of_key = |column: &str| {
                    old.is_some_and(|old| old.columns.iter().flatten().any(|it| it == column))
                };
                for (column, constraint, child) in &shape.pointed_at {
                    if is_of_key(column) && !alteration.drops_key(child, constraint) {
                        let dependent = format!("foreign key `{constraint}` of `{child}`");
                        blockers.push(Blocker::dependent(&what, &dependent));
                    }
                }
                blockers.extend(no_index(alteration, shape, key));
            }
            TableChange::DropIndex(_)
            | TableChange::Rename { .. }
            | TableChange::Relax(_)
            | TableChange::Widen(..)
            | TableChange::Add(_) => {}
        }
    }
    let table = table_name(name);
    let holds_values =
        |column: &String| Blocker::holds_values(alteration, column, (&table, &identifier(column)));
    blockers.extend(filled.iter().map(holds_values));
    blockers
}

/// Whether a change leaves views behind that can be read no longer: the server itself does not mind.
pub(super) fn breaks_views(change: &TableChange) -> bool {
    matches!(change, TableChange::Drop(_) | TableChange::Rename { .. })
}

pub(super) fn broken_views(alteration: &TableAlteration, views: &[View]) -> Vec<Blocker> {
    let name = &alteration.table.name;
    let mut blockers = Vec::new();
    for change in &alteration.changes {
        let (column, what) = match change {
            TableChange::Drop(column) => (column, "dropped"),
            TableChange::Rename { from, .. } => (from, "renamed"),
            _ => continue,
        };
        for view in views.iter().filter(|view| view.names(column)) {
            let what = format!("column `{column}` of `{name}` cannot be {what}");
            blockers.push(Blocker::dependent(&what, &view.dependent()));
        }
    }
    blockers
}

/// What else of the database has to do with a column.
fn dependents(alteration: &TableAlteration, shape: &Shape, column: &str) -> Vec<String> {
    let mut dependents = Vec::new();
    let goes = |name: &str| {
        let mut changes = alteration.changes.iter();
        changes.any(|it| matches!(it, TableChange::DropIndex(index) if index.name == name))
    };
    let others = shape.indexes.iter();
    let others = others.filter(|index| index.name != "PRIMARY" && !goes(&index.name));
    for index in others {
        if index.columns.iter().flatten().any(|it| it == column) {
            dependents.push(format!("index `{}`", index.name));
        }
    }
    for (constraint, of, _) in &shape.foreign_keys {
        if of == column && !goes(constraint) {
            dependents.push(format!("foreign key `{constraint}`"));
        }
    }
    for (of, constraint, child) in &shape.pointed_at {
        if of == column && !alteration.drops_key(child, constraint) {
            dependents.push(format!("foreign key `{constraint}` of `{child}`"));
        }
    }
    dependents
}

/// A column that no index can hold as it is: long texts and blobs.
fn no_index(alteration: &TableAlteration, shape: &Shape, key: &[String]) -> Option<Blocker> {
    let name = &alteration.table.name;
    let was_named = |column: &String| {
        let from = alteration.changes.iter().find_map(|change| match change {
            TableChange::Rename { from, to } if to == column => Some(from),
            _ => None,
        });
        from.unwrap_or(column).clone()
    };
    let is_long = |parsed: &Parsed| {
        parsed.base.ends_with("text") || parsed.base.ends_with("blob") || parsed.base == "json"
    };
    key.iter().find_map(|column| {
        let actual = shape.column(&was_named(column))?;
        is_long(&actual.parsed).then(|| Blocker {
            sentence: format!(
                "column `{column}` of `{name}` is {}, which no primary key can hold",
                actual.declared
            ),
            hint: "write to another table with `to:`, or drop this one: it is created and loaded \
                   again"
                .to_owned(),
        })
    })
}

/// Columns that somebody else made and that hold values.
pub(super) async fn filled(
    store: &MysqlStore,
    alteration: &TableAlteration,
) -> Result<Vec<String>> {
    if alteration.must_be_empty.is_empty() {
        return Ok(Vec::new());
    }
    let table = table_name(&alteration.table.name);
    let questions: Vec<_> = alteration
        .must_be_empty
        .iter()
        .map(|column| {
            let column = identifier(column);
            format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE NOT {column} <=> NULL)")
        })
        .collect();
    let mut session = store.control().await?;
    let answers = session.result_sets(&questions.join(";\n")).await?;
    let columns = alteration.must_be_empty.iter().zip(answers);
    let filled = columns.filter(|(_, rows)| rows.first().is_some_and(|row| row.is_true(0)));
    Ok(filled.map(|(column, _)| column.clone()).collect())
}
