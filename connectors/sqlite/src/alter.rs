//! Changes to the columns and the key of a target table.
//!
//! Only what we made is dropped or renamed. SQLite cannot change a primary key: such a table is
//! made anew in the same transaction, unless something else of the file would suffer.

use crate::cell::{integer, text};
use crate::connect::{Database, Session, Writing, arguments};
use crate::describe;
use crate::facts::facts_in;
use crate::indexes;
use crate::sql;
use crate::state::{check_fence, made};
use crate::target::create_table;
use crate::types;
use arrow_schema::DataType;
use std::sync::Arc;
use syncset_connector::{
    AlterationPlan, Blocked, Blocker, Column, ConnectorError, ErrorClass, HeldRows, Lease,
    PlannedStatement, Result, TableAlteration, TableChange, TableName, TargetColumn, TargetTable,
    fail_point, refuse_for, refuse_unexpected, rows_not_told_apart, table_gone,
};

/// Name of a table while it is made anew.
const REBUILT: &str = "_syncset_rebuilt";

/// Name of a column while it is made anew.
const MADE_ANEW: &str = "_syncset_anew";

/// Says what [`alter`] would run, and what stands in its way.
pub(crate) async fn plan(
    session: &mut Session,
    alteration: &TableAlteration,
) -> Result<AlterationPlan> {
    let table = &alteration.table;
    let found = describe::describe(session, std::slice::from_ref(&table.name)).await?;
    let Some(found) = found.into_iter().next().flatten() else {
        return Err(table_gone(table));
    };
    let mut blockers = filled(session, alteration).await?;
    let dropped = dropped_indexes(session, alteration).await?;
    let statements = if changes_key(alteration, &found.primary_key, &found.columns) {
        let names = found.columns.iter().map(|column| column.name.as_str());
        let statements = rebuild(alteration, &names.clone().collect::<Vec<_>>());
        blockers.extend(in_the_way(session, (alteration, &dropped), names).await?);
        statements
    } else {
        alterations(alteration, &found.columns)
    };
    let of_indexes = dropped
        .iter()
        .map(|name| quick(format!("DROP INDEX {}", sql::identifier(name))));
    let statements: Vec<_> = of_indexes.chain(statements).collect();
    if blockers.is_empty() {
        blockers.extend(tried(session, table, &statements).await?);
    }
    Ok(AlterationPlan {
        statements,
        blockers,
        asks: Vec::new(),
    })
}

/// The indexes of ours that go and that the table still has.
async fn dropped_indexes(
    session: &mut Session,
    alteration: &TableAlteration,
) -> Result<Vec<String>> {
    let wanted = alteration.changes.iter().filter_map(|change| match change {
        TableChange::DropIndex(index) => Some(index.name.clone()),
        _ => None,
    });
    let wanted: Vec<String> = wanted.collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let there = indexes::of_table(session, &alteration.table.name).await?;
    Ok(wanted.into_iter().filter(|it| there.contains(it)).collect())
}

/// A statement that changes the schema and no row. There is one writer of a file at a time.
fn quick(sql: String) -> PlannedStatement {
    PlannedStatement {
        sql,
        lock: "write lock of the file".to_owned(),
        blocks: Blocked::Writers,
        rewrites: false,
        reversible: true,
    }
}

/// A statement that writes every row.
fn rewriting(sql: String) -> PlannedStatement {
    PlannedStatement {
        rewrites: true,
        ..quick(sql)
    }
}

/// A statement that writes every row and leaves values out.
fn losing(sql: String) -> PlannedStatement {
    PlannedStatement {
        reversible: false,
        ..rewriting(sql)
    }
}

/// Alters the table and stores what is made of it, in one transaction under the fence.
pub(crate) async fn alter(
    database: &Arc<Database>,
    lease: &Lease,
    alteration: &TableAlteration,
) -> Result<()> {
    let table = &alteration.table;
    let place = format!("altering `{}`", table.name);
    let mut writing = Writing::begin(database, &place).await?;
    check_fence(&mut writing.session, lease).await?;
    if let Some(expected) = &alteration.expects {
        let found = facts_in(&mut writing.session, &table.name).await?;
        refuse_unexpected(table, expected, found.as_ref())?;
    }
    let planned = plan(&mut writing.session, alteration).await?;
    refuse_for(table, &planned.blockers)?;
    for statement in &planned.statements {
        let ran = writing.session.run(&statement.sql, &place).await;
        ran.map_err(|error| explained(error, table))?;
    }
    made::store(&mut writing.session, &lease.key, &alteration.made).await?;
    if alteration.rows == HeldRows::LoadAgain {
        made::load_again(&mut writing.session, &lease.key, &table.name).await?;
    }
    fail_point("alter.before_commit");
    writing.commit(&place).await
}

fn explained(error: ConnectorError, table: &TargetTable) -> ConnectorError {
    if !matches!(error.class, ErrorClass::RowParked | ErrorClass::RowRefused) {
        return error;
    }
    rows_not_told_apart(table, error)
}

/// Whether the primary key becomes another one.
fn changes_key(alteration: &TableAlteration, primary_key: &[String], there: &[Column]) -> bool {
    alteration.changes.iter().any(|change| match change {
        TableChange::Key(_) => true,
        TableChange::Drop(name) => primary_key.contains(name),
        // No column of a primary key can be dropped, so none is made anew by itself.
        TableChange::Widen(column, _) => {
            primary_key.contains(&alteration.name_before(&column.name).to_owned())
                && is_made_wider(alteration, there, &column.name)
        }
        TableChange::DropIndex(_)
        | TableChange::Rename { .. }
        | TableChange::Relax(_)
        | TableChange::Clear(_)
        | TableChange::Add(_) => false,
    })
}

fn alterations(alteration: &TableAlteration, there: &[Column]) -> Vec<PlannedStatement> {
    let table = sql::table(&alteration.table.name);
    let mut statements = Vec::new();
    for change in &alteration.changes {
        if let TableChange::Drop(name) = change {
            let name = sql::identifier(name);
            let sql = format!("ALTER TABLE {table} DROP COLUMN {name}");
            statements.push(losing(sql));
        }
    }
    let rename = |from: &str, to: &str| {
        let (from, to) = (sql::identifier(from), sql::identifier(to));
        quick(format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}"))
    };
    // Names may be swapped or passed on: all go by way of names of ours.
    let renames: Vec<(&String, &String)> = renames(alteration).collect();
    let between = |index: usize| format!("_syncset_{index}");
    let taken = |to: &str| {
        renames
            .iter()
            .any(|(from, _)| from.eq_ignore_ascii_case(to))
    };
    if renames.iter().any(|(_, to)| taken(to)) {
        let away = renames.iter().enumerate();
        statements.extend(away.map(|(index, (from, _))| rename(from, &between(index))));
        let back = renames.iter().enumerate();
        statements.extend(back.map(|(index, (_, to))| rename(&between(index), to)));
    } else {
        statements.extend(renames.iter().map(|(from, to)| rename(from, to)));
    }
    statements.extend(of_changed_columns(alteration, there));
    for change in &alteration.changes {
        if let TableChange::Add(column) = change {
            let (name, native) = (sql::identifier(&column.name), types::map(column).0.native);
            let sql = format!("ALTER TABLE {table} ADD COLUMN {name} {native}");
            statements.push(quick(sql));
        }
    }
    statements
}

/// Statements about columns that change in themselves. NOT NULL cannot be taken from a column, nor
/// can it get another type: it is made anew, with its values or without.
fn of_changed_columns(alteration: &TableAlteration, there: &[Column]) -> Vec<PlannedStatement> {
    let table = sql::table(&alteration.table.name);
    let mut statements = Vec::new();
    for change in &alteration.changes {
        let (name, wider) = match change {
            // A wider column is made anew, and so without NOT NULL.
            TableChange::Relax(name) if is_made_wider(alteration, there, name) => continue,
            TableChange::Relax(name) | TableChange::Clear(name) => (name, None),
            TableChange::Widen(column, _) => (&column.name, Some(column)),
            _ => continue,
        };
        let mut columns = there.iter();
        let before = alteration.name_before(name);
        let Some(actual) = columns.find(|it| it.name.eq_ignore_ascii_case(before)) else {
            continue;
        };
        let quoted = sql::identifier(name);
        let (declared, values) = match (change, wider.map(types::map)) {
            (_, Some((mapping, storage))) => {
                if storage.kept_by(&actual.native.name, &mapping.native) {
                    continue;
                }
                (mapping.native, Some(as_text(wider, &quoted)))
            }
            (TableChange::Clear(_), None) => (actual.native.name.clone(), None),
            (_, None) => (actual.native.name.clone(), Some(quoted.clone())),
        };
        let sql = format!("ALTER TABLE {table} ADD COLUMN {MADE_ANEW} {declared}");
        statements.push(quick(sql));
        let drop = format!("ALTER TABLE {table} DROP COLUMN {quoted}");
        if let Some(values) = values {
            let sql = format!("UPDATE {table} SET {MADE_ANEW} = {values}");
            statements.extend([rewriting(sql), rewriting(drop)]);
        } else {
            statements.push(losing(drop));
        }
        let sql = format!("ALTER TABLE {table} RENAME COLUMN {MADE_ANEW} TO {quoted}");
        statements.push(quick(sql));
    }
    statements
}

/// Whether a column is made anew because it has to hold more.
fn is_made_wider(alteration: &TableAlteration, there: &[Column], name: &str) -> bool {
    let before = alteration.name_before(name);
    let actual = there.iter().find(|it| it.name.eq_ignore_ascii_case(before));
    alteration.changes.iter().any(|change| match change {
        TableChange::Widen(column, _) if column.name == *name => {
            let (mapping, storage) = types::map(column);
            actual.is_some_and(|actual| !storage.kept_by(&actual.native.name, &mapping.native))
        }
        _ => false,
    })
}

/// The values of a column that moves to another form: decimals that were numbers become texts with
/// all their digits.
fn as_text(column: Option<&TargetColumn>, quoted: &str) -> String {
    match column.map(|column| &column.data_type) {
        Some(DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => format!(
            "CASE WHEN typeof({quoted}) IN ('integer', 'real') \
             THEN printf('%.{}f', {quoted}) ELSE {quoted} END",
            (*scale).max(0)
        ),
        _ => quoted.to_owned(),
    }
}

fn renames(alteration: &TableAlteration) -> impl Iterator<Item = (&String, &String)> {
    alteration.changes.iter().filter_map(|change| match change {
        TableChange::Rename { from, to } => Some((from, to)),
        _ => None,
    })
}

/// The statements that make the table anew with the rows it has.
fn rebuild(alteration: &TableAlteration, there: &[&str]) -> Vec<PlannedStatement> {
    let table = &alteration.table;
    let is_added = |name: &str| {
        let changes = &alteration.changes;
        changes
            .iter()
            .any(|change| matches!(change, TableChange::Add(column) if column.name == name))
    };
    let mut rebuilt = TargetTable {
        name: TableName::bare(REBUILT),
        ..table.clone()
    };
    for column in &mut rebuilt.columns {
        column.nullable |= is_added(&column.name);
    }
    let mut kept: (Vec<String>, Vec<String>) = Default::default();
    for column in table.all_columns() {
        if is_added(&column.name) {
            continue;
        }
        let old = renames(alteration).find(|(_, to)| **to == column.name);
        let old = old.map_or(&column.name, |(from, _)| from);
        if there.iter().any(|name| name.eq_ignore_ascii_case(old)) {
            kept.0.push(column.name.clone());
            kept.1.push(old.clone());
        }
    }
    let (old, new) = (sql::table(&table.name), sql::identifier(REBUILT));
    let mut changes = alteration.changes.iter();
    let loses = changes.any(|it| matches!(it, TableChange::Drop(_) | TableChange::Clear(_)));
    vec![
        quick(create_table(&rebuilt)),
        rewriting(format!(
            "INSERT INTO {new} ({}) SELECT {} FROM {old}",
            sql::identifiers(&kept.0),
            sql::identifiers(&kept.1)
        )),
        PlannedStatement {
            reversible: !loses,
            ..quick(format!("DROP TABLE {old}"))
        },
        quick(format!(
            "ALTER TABLE {new} RENAME TO {}",
            sql::identifier(&table.name.name)
        )),
    ]
}

/// What making a table anew would lose: columns of others, indexes, triggers, references.
async fn in_the_way<'a>(
    session: &mut Session,
    (alteration, dropped): (&TableAlteration, &[String]),
    columns: impl Iterator<Item = &'a str>,
) -> Result<Vec<Blocker>> {
    let table = &alteration.table;
    let mut things: Vec<String> = Vec::new();
    let leaves = |name: &str| {
        alteration.changes.iter().any(|change| match change {
            TableChange::Drop(dropped) => dropped == name,
            TableChange::Rename { from, .. } => from == name,
            TableChange::DropIndex(_)
            | TableChange::Relax(_)
            | TableChange::Clear(_)
            | TableChange::Widen(..)
            | TableChange::Add(_)
            | TableChange::Key(_) => false,
        })
    };
    let wanted = table.all_columns();
    let is_wanted = |name: &str| wanted.iter().any(|column| column.name == name);
    let strangers = columns.filter(|name| !leaves(name) && !is_wanted(name));
    things.extend(strangers.map(|name| format!("column `{name}`")));
    let place = format!("looking at `{}`", table.name);
    let sql = "SELECT type, name FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE \
               AND type IN ('index', 'trigger') AND sql IS NOT NULL \
               UNION ALL SELECT 'table', m.name FROM sqlite_schema m \
               JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table' \
               AND f.\"table\" = ?1 COLLATE NOCASE AND m.name <> ?1 COLLATE NOCASE";
    let rows = session
        .rows(sql, arguments![table.name.name.as_str()], &place)
        .await?;
    for row in &rows {
        let kind = text(row, 0).unwrap_or_default();
        let name = text(row, 1).unwrap_or_default();
        if kind != "index" || !dropped.contains(&name) {
            things.push(format!("{kind} `{name}`"));
        }
    }
    let blocker = |thing: String| Blocker {
        sentence: format!(
            "the primary key of `{}` cannot be replaced: {thing} would be lost",
            table.name
        ),
        hint: "drop it and make it again afterwards, write to another table with `to:`, or undo \
               the edit"
            .into(),
    };
    Ok(things.into_iter().map(blocker).collect())
}

/// Columns that somebody else made and that hold values.
async fn filled(session: &mut Session, alteration: &TableAlteration) -> Result<Vec<Blocker>> {
    let table = &alteration.table;
    let (name, place) = (
        sql::table(&table.name),
        format!("looking at `{}`", table.name),
    );
    let mut blockers = Vec::new();
    for column in &alteration.must_be_empty {
        let quoted = sql::identifier(column);
        let question = format!("SELECT EXISTS (SELECT 1 FROM {name} WHERE {quoted} IS NOT NULL)");
        let rows = session.rows(question, arguments![], &place).await?;
        if rows.first().is_none_or(|row| integer(row, 0) == 0) {
            continue;
        }
        blockers.push(Blocker::holds_values(alteration, column, (&name, &quoted)));
    }
    Ok(blockers)
}

/// Runs the statements on a copy of the file's schema in memory: SQLite itself says which view,
/// index, trigger or check they would break.
async fn tried(
    session: &mut Session,
    table: &TargetTable,
    statements: &[PlannedStatement],
) -> Result<Option<Blocker>> {
    let schema = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL \
                  AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                  ORDER BY type <> 'table', type <> 'index', type <> 'view', rowid";
    let rows = session
        .rows(schema, arguments![], "reading the schema")
        .await?;
    let mut scratch = session.database.scratch().await?;
    for row in &rows {
        // Tables of modules that this program has not cannot be copied, nor altered.
        let _ = scratch
            .run(&text(row, 0).unwrap_or_default(), "copying the schema")
            .await;
    }
    for statement in statements {
        if let Err(error) = scratch.run(&statement.sql, "trying").await {
            let cause = error.cause.map_or(error.message, |cause| cause.to_string());
            return Ok(Some(Blocker {
                sentence: format!("`{}` cannot be altered: {cause}", table.name),
                hint: "change or drop what SQLite names, then run again; if a file was edited, undoing that helps too".into(),
            }));
        }
    }
    Ok(None)
}
