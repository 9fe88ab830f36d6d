//! The parts of the one ALTER TABLE that an alteration is.

use crate::ddl;
use crate::online::{Way, of_column, of_type};
use crate::sql::{identifier, identifiers, table as table_name};
use crate::type_mapping;
use crate::types::{Flavour, Parsed};
use crate::widen;
use crate::write::catalog::{ActualColumn, Shape};
use syncset_connector::{Result, TableAlteration, TableChange, TargetColumn, TargetTable};

/// A part of the statement.
pub(super) struct Clause {
    pub(super) sql: String,
    /// What it takes.
    pub(super) way: Way,
}

/// The whole statement; `None` if nothing is changed.
pub(super) fn statement(table: &TargetTable, clauses: &[Clause], more: &str) -> Option<String> {
    let clauses: Vec<_> = clauses.iter().map(|clause| clause.sql.as_str()).collect();
    (!clauses.is_empty()).then(|| {
        format!(
            "ALTER TABLE {} {}{more}",
            table_name(&table.name),
            clauses.join(", ")
        )
    })
}

/// What is changed, in the order in which it has to be named.
pub(super) fn clauses(
    alteration: &TableAlteration,
    shape: &Shape,
    flavour: Flavour,
) -> Result<Vec<Clause>> {
    let table = &alteration.table;
    let types = ddl::column_types(table, flavour)?;
    let type_of = |name: &str| {
        let place = table.columns.iter().position(|it| it.name == name);
        place.map(|place| types[place].clone())
    };
    let mut clauses = Vec::new();
    // A column that has to hold more, and NULL too, is named once.
    let mut push = |sql: String, way: Way| {
        if !clauses.iter().any(|it: &Clause| it.sql == sql) {
            clauses.push(Clause { sql, way });
        }
    };
    for change in &alteration.changes {
        match change {
            // A name may be somebody else's by now only if ours is gone.
            TableChange::DropIndex(index) => {
                if index.is.is_foreign_key() && shape.has_foreign_key(&index.name) {
                    let sql = format!("DROP FOREIGN KEY {}", identifier(&index.name));
                    push(sql, Way::Inplace);
                }
                if shape.indexes.iter().any(|it| it.name == index.name) {
                    let sql = format!("DROP INDEX {}", identifier(&index.name));
                    push(sql, Way::Inplace);
                }
            }
            TableChange::Drop(name) => {
                let sql = format!("DROP COLUMN {}", identifier(name));
                push(sql, of_column(flavour));
            }
            TableChange::Rename { from, to } => {
                let from = identifier(from);
                // Both at once is one clause.
                match redefined(alteration, shape, (&types, flavour), to) {
                    Some((definition, way)) => {
                        push(format!("CHANGE COLUMN {from} {definition}"), way);
                    }
                    None => {
                        let sql = format!("RENAME COLUMN {from} TO {}", identifier(to));
                        push(sql, Way::Inplace);
                    }
                }
            }
            TableChange::Add(column) => {
                let own = || type_mapping::map_type(column, flavour).native;
                let native = type_of(&column.name).unwrap_or_else(own);
                let definition = ddl::column_definition(column, &native, true);
                push(format!("ADD COLUMN {definition}"), of_column(flavour));
            }
            // A column that is made anew has no values, however large the table is.
            TableChange::Clear(name) => {
                let sql = format!("DROP COLUMN {}", identifier(name));
                push(sql, of_column(flavour));
                if let Some(actual) = shape.column(name) {
                    push(nullable("ADD", actual), of_column(flavour));
                }
            }
            TableChange::Relax(name) | TableChange::Widen(TargetColumn { name, .. }, _) => {
                let is_renamed = alteration.name_before(name) != name;
                let redefined = redefined(alteration, shape, (&types, flavour), name);
                if let Some((definition, way)) = redefined.filter(|_| !is_renamed) {
                    push(format!("MODIFY COLUMN {definition}"), way);
                }
            }
            TableChange::Key(_) => {}
        }
    }
    clauses.extend(of_key(alteration, shape));
    Ok(clauses)
}

/// What replaces the primary key.
fn of_key(alteration: &TableAlteration, shape: &Shape) -> Vec<Clause> {
    let new_key = alteration.changes.iter().find_map(|change| match change {
        TableChange::Key(key) => Some(key),
        _ => None,
    });
    let Some(new_key) = new_key else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    if let Some(old_key) = shape.primary_key() {
        parts.extend(freed(alteration, shape, &old_key.columns, new_key));
        parts.push("DROP PRIMARY KEY".to_owned());
    }
    if !new_key.is_empty() {
        parts.push(format!("ADD PRIMARY KEY ({})", identifiers(new_key)));
    }
    let clause = |sql| Clause {
        sql,
        way: Way::Rebuild,
    };
    parts.into_iter().map(clause).collect()
}

/// What a column is defined as that has to hold more, or NULL; `None` if it does so already.
fn redefined(
    alteration: &TableAlteration,
    shape: &Shape,
    (types, flavour): (&[String], Flavour),
    name: &str,
) -> Option<(String, Way)> {
    let actual = shape.column(alteration.name_before(name))?;
    let mut changes = alteration.changes.iter();
    let is_relaxed = changes.any(|it| matches!(it, TableChange::Relax(it) if it == name));
    let mut changes = alteration.changes.iter();
    let widened = changes.find_map(|change| match change {
        TableChange::Widen(column, _) if column.name == name => Some(column),
        _ => None,
    });
    let wider = widened.and_then(|column| {
        let mut columns = alteration.table.columns.iter();
        let native = &types[columns.position(|it| it.name == name)?];
        let holds = widen::holds(&actual.parsed, &Parsed::of(native));
        let nullable = is_relaxed || !actual.not_null;
        let way = of_type(flavour, &actual.parsed, &Parsed::of(native));
        let way = if is_relaxed {
            way.max(Way::Rebuild)
        } else {
            way
        };
        (!holds).then(|| (ddl::column_definition(column, native, nullable), way))
    });
    wider.or_else(|| is_relaxed.then(|| (nullable_definition(name, actual), Way::Rebuild)))
}

/// Columns that leave the key may hold NULL again, if the source's may.
fn freed(
    alteration: &TableAlteration,
    shape: &Shape,
    old_key: &[Option<String>],
    new_key: &[String],
) -> Vec<String> {
    let is_touched = |name: &str| {
        alteration.changes.iter().any(|change| match change {
            TableChange::Drop(it)
            | TableChange::Rename { from: it, .. }
            | TableChange::Relax(it)
            | TableChange::Clear(it) => it == name,
            TableChange::Widen(column, _) => column.name == name,
            TableChange::DropIndex(_) | TableChange::Add(_) | TableChange::Key(_) => false,
        })
    };
    let columns = old_key.iter().flatten();
    let freed = columns.filter(|name| !new_key.contains(name) && !is_touched(name));
    let modify = freed.filter_map(|name| {
        let column = alteration
            .table
            .columns
            .iter()
            .find(|it| it.name == *name)?;
        let actual = shape.column(name).filter(|_| column.nullable)?;
        Some(nullable("MODIFY", actual))
    });
    modify.collect()
}

/// A clause about a column that stays what it is, but for NULL, which it takes.
fn nullable(verb: &str, actual: &ActualColumn) -> String {
    format!(
        "{verb} COLUMN {}",
        nullable_definition(&actual.name, actual)
    )
}

fn nullable_definition(name: &str, actual: &ActualColumn) -> String {
    let collation = actual.parsed.collation.as_deref();
    let collation = collation.map_or(String::new(), |it| format!(" COLLATE {it}"));
    format!("{} {}{collation} NULL", identifier(name), actual.declared)
}
