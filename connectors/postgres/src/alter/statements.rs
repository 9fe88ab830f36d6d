//! The statements of an alteration, in their order.

use super::facts::Facts;
use crate::ddl;
use crate::indexes;
use crate::sql::{quote_ident, quote_idents};
use crate::write::catalog::target_name;
use syncset_connector::{
    Blocked, PlannedStatement, TableAlteration, TableChange, TargetColumn, TargetTable,
    TypeDefinition,
};

/// A statement that leaves the table and those who use it alone.
pub(super) fn beside_the_table(sql: String) -> PlannedStatement {
    PlannedStatement {
        sql,
        lock: "none on the table".to_owned(),
        blocks: Blocked::Nobody,
        rewrites: false,
        reversible: true,
    }
}

/// What makes something that the table needs.
fn made_beside(sql: String) -> PlannedStatement {
    PlannedStatement {
        // No label can be dropped again.
        reversible: !sql.starts_with("ALTER TYPE"),
        ..beside_the_table(sql)
    }
}

/// An action of ALTER TABLE, which keeps everybody out, but only for a moment unless the table is
/// written anew.
fn action(table: &TargetTable, action: &str) -> PlannedStatement {
    PlannedStatement {
        sql: format!("ALTER TABLE {} {action}", target_name(&table.name)),
        lock: "ACCESS EXCLUSIVE".to_owned(),
        blocks: Blocked::Everyone,
        rewrites: false,
        reversible: true,
    }
}

/// An action that takes values away.
fn losing(table: &TargetTable, sql: &str) -> PlannedStatement {
    PlannedStatement {
        reversible: false,
        ..action(table, sql)
    }
}

/// The statements in order.
pub(super) fn statements(alteration: &TableAlteration, facts: &Facts) -> Vec<PlannedStatement> {
    let table = &alteration.table;
    let missing = facts.missing.iter();
    let missing = missing.filter_map(|need| need.create.clone());
    let mut statements: Vec<_> = missing.map(made_beside).collect();
    let released = facts.released(alteration);
    statements.extend(released.map(|(child, name)| PlannedStatement {
        sql: indexes::drop_statement(child, name, true),
        ..action(table, "")
    }));
    statements.extend(of_indexes(alteration, facts));
    let mut dropped = Vec::new();
    for change in &alteration.changes {
        if let TableChange::Drop(name) = change {
            let sql = format!("DROP COLUMN {}", quote_ident(name));
            statements.push(losing(table, &sql));
            dropped.push(name);
        }
    }
    for (from, to) in &renames(&alteration.changes) {
        let (from, to) = (quote_ident(from), quote_ident(to));
        statements.push(action(table, &format!("RENAME COLUMN {from} TO {to}")));
    }
    for change in &alteration.changes {
        match change {
            TableChange::Add(column) => statements.push(add(table, column)),
            TableChange::Key(key) => statements.extend(of_key(alteration, facts, key, &dropped)),
            TableChange::Widen(column, _) => {
                let wider = facts.wider_type(alteration, column);
                statements.extend(wider.map(|(native, rewrites)| {
                    let name = quote_ident(&column.name);
                    PlannedStatement {
                        rewrites,
                        ..action(table, &format!("ALTER COLUMN {name} TYPE {native}"))
                    }
                }));
            }
            TableChange::DropIndex(_)
            | TableChange::Drop(_)
            | TableChange::Rename { .. }
            | TableChange::Relax(_)
            | TableChange::Clear(_) => {}
        }
    }
    // A column that was of the key takes NULL only without it.
    statements.extend(of_left_columns(alteration, facts));
    statements
}

/// What drops the indexes of ours that are still there: a name may be somebody else's by now.
fn of_indexes(alteration: &TableAlteration, facts: &Facts) -> Vec<PlannedStatement> {
    let name = &alteration.table.name;
    let dropped = alteration.changes.iter().filter_map(|change| match change {
        TableChange::DropIndex(index) => {
            let is_key = *facts.indexes.get(&index.name)?;
            let sql = indexes::drop_statement(name, &index.name, is_key);
            Some(PlannedStatement {
                sql,
                ..action(&alteration.table, "")
            })
        }
        _ => None,
    });
    dropped.collect()
}

fn add(table: &TargetTable, column: &TargetColumn) -> PlannedStatement {
    let (name, native) = (quote_ident(&column.name), ddl::map_type(column).native);
    let definition = ddl::own(column).and_then(|native| native.definition.as_ref());
    PlannedStatement {
        // The server checks a domain's constraints row by row.
        rewrites: matches!(definition, Some(TypeDefinition::Domain { .. })),
        ..action(table, &format!("ADD COLUMN {name} {native}"))
    }
}

/// What replaces the primary key. `dropped`: columns that went before.
fn of_key(
    alteration: &TableAlteration,
    facts: &Facts,
    key: &[String],
    dropped: &[&String],
) -> Vec<PlannedStatement> {
    let table = &alteration.table;
    let mut statements = Vec::new();
    let old = facts.primary_key.as_ref();
    // A key goes with the first of its columns.
    let old = old.filter(|(_, columns)| !columns.iter().any(|it| dropped.contains(&it)));
    if let Some((name, columns)) = old {
        let sql = format!("DROP CONSTRAINT {}", quote_ident(name));
        statements.push(action(table, &sql));
        let renamed = columns
            .iter()
            .map(|name| renamed(name, &alteration.changes));
        for name in renamed.filter(|name| may_be_null(table, name)) {
            let name = quote_ident(&name);
            statements.push(action(table, &format!("ALTER COLUMN {name} DROP NOT NULL")));
        }
    }
    if !key.is_empty() {
        let key = quote_idents(key.iter().map(String::as_str));
        statements.push(action(table, &format!("ADD PRIMARY KEY ({key})")));
    }
    statements
}

/// Actions about columns that are written no longer. A column that is made anew has no values,
/// however large the table is, and what depends on it is found as for one that goes.
fn of_left_columns(alteration: &TableAlteration, facts: &Facts) -> Vec<PlannedStatement> {
    let table = &alteration.table;
    let mut actions = Vec::new();
    for change in &alteration.changes {
        match change {
            TableChange::Relax(name) => {
                let name = quote_ident(name);
                actions.push(action(table, &format!("ALTER COLUMN {name} DROP NOT NULL")));
            }
            TableChange::Clear(name) => {
                let native = facts.types.get(name).map_or("text", String::as_str);
                let name = quote_ident(name);
                let sql = format!("DROP COLUMN {name}, ADD COLUMN {name} {native}");
                actions.push(losing(table, &sql));
            }
            _ => {}
        }
    }
    actions
}

/// Renames one after the other; where names are swapped or passed on, by way of names of ours.
fn renames(changes: &[TableChange]) -> Vec<(String, String)> {
    let wanted: Vec<(String, String)> = changes
        .iter()
        .filter_map(|change| match change {
            TableChange::Rename { from, to } => Some((from.clone(), to.clone())),
            _ => None,
        })
        .collect();
    let is_taken = |name: &String| wanted.iter().any(|(from, _)| from == name);
    if !wanted.iter().any(|(_, to)| is_taken(to)) {
        return wanted;
    }
    let between = |index: usize| format!("_syncset_{index}");
    let away = wanted.iter().enumerate();
    let away = away.map(|(index, (from, _))| (from.clone(), between(index)));
    let back = wanted.iter().enumerate();
    let back = back.map(|(index, (_, to))| (between(index), to.clone()));
    away.chain(back).collect()
}

fn renamed(name: &str, changes: &[TableChange]) -> String {
    let to = changes.iter().find_map(|change| match change {
        TableChange::Rename { from, to } if from == name => Some(to),
        _ => None,
    });
    to.map_or_else(|| name.to_owned(), Clone::clone)
}

fn may_be_null(table: &TargetTable, name: &str) -> bool {
    let column = table.columns.iter().find(|column| column.name == name);
    column.is_none_or(|column| column.nullable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(from: &str, to: &str) -> TableChange {
        TableChange::Rename {
            from: from.into(),
            to: to.into(),
        }
    }

    #[test]
    fn swapped_names_go_by_way_of_others() {
        let plain = renames(&[rename("a", "x"), rename("b", "y")]);
        let swapped = renames(&[rename("a", "b"), rename("b", "a")]);

        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            let owned = list.iter().map(|(from, to)| ((*from).into(), (*to).into()));
            owned.collect()
        };
        assert_eq!(plain, pairs(&[("a", "x"), ("b", "y")]));
        assert_eq!(
            swapped,
            pairs(&[
                ("a", "_syncset_0"),
                ("b", "_syncset_1"),
                ("_syncset_0", "b"),
                ("_syncset_1", "a"),
            ])
        );
    }
}
