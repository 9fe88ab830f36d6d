//! Changes to the columns and the key of a target table.
//!
//! All changes of one table are one ALTER TABLE, which happens as a whole or not at all, and bears
//! a mark that tells after a crash whether it did. Only what we made is dropped or renamed;
//! whatever else depends on it is named, and the table stays as it was: the server itself would
//! take a dropped column out of indexes without a word.

use crate::connect::{MysqlStore, Session};
use crate::ddl;
use crate::error;
use crate::facts::{View, table_facts, views_of};
use crate::indexes;
use crate::online::{Way, of_column, of_type};
use crate::sql::{identifier, identifiers, plain_text, table as table_name};
use crate::state;
use crate::types::{Flavour, Parsed};
use crate::widen;
use crate::write::catalog::{self, ActualColumn, Shape};
use crate::write::rights;
use std::time::Duration;
use syncset_connector::{
    AlterationPlan, Blocker, ConnectorError, ErrorClass, HeldRows, Lease, PlannedStatement, Result,
    TableAlteration, TableChange, TableCopy, TargetColumn, TargetTable, fail_point,
    refuse_unexpected,
};

/// Tries to lock the table. Each waits [`LOCK_TIMEOUT_S`] at most: whoever comes after a waiting
/// ALTER TABLE waits behind it, readers included.
const TRIES_MAX: u32 = 10;

/// Longest wait in seconds for the table's lock in one try.
const LOCK_TIMEOUT_S: u64 = 1;

/// Pause between two tries, in which those who waited behind the lock get their turn.
const PAUSE: Duration = Duration::from_millis(500);

/// Ways to alter a table, in the order in which they are tried. The last one keeps others from
/// writing for as long as it takes, and so is for a person to allow.
const ALGORITHMS: [&str; 3] = [
    ", ALGORITHM=INSTANT",
    ", ALGORITHM=INPLACE, LOCK=NONE",
    ", ALGORITHM=COPY, LOCK=SHARED",
];

/// Says what [`alter`] would run, and what stands in its way.
pub(crate) async fn plan(
    store: &MysqlStore,
    alteration: &TableAlteration,
) -> Result<AlterationPlan> {
    let table = &alteration.table;
    let shape = catalog::shape(store, &table.name)
        .await?
        .ok_or_else(|| gone(table))?;
    let filled = filled(store, alteration).await?;
    let clauses = clauses(alteration, &shape, store.facts().flavour)?;
    let mut blockers = blockers(alteration, &shape, &filled);
    if alteration.changes.iter().any(breaks_views) {
        let views = views_of(store, &table.name).await?;
        blockers.extend(broken_views(alteration, &views));
    }
    let released = alteration.released.iter().flat_map(|it| {
        let (child, shape) = (&it.made.target, &shape);
        let names = it.names.iter();
        let names = names.filter(move |name| shape.is_pointed_at_by(child, name));
        names.map(move |name| {
            let sql = indexes::release_statement(child, name);
            Way::Inplace.statement(sql, false)
        })
    });
    let statements: Vec<_> = released.chain(planned(alteration, &clauses)).collect();
    let way = clauses.iter().map(|clause| clause.way).max();
    let asks = match way {
        Some(Way::Copy) if ways(alteration) < ALGORITHMS.len() => {
            let sentence = format!("`{}`: {WOULD_COPY}", table.name);
            let hint = copy_hint(table, &clauses);
            vec![Blocker { sentence, hint }]
        }
        _ => Vec::new(),
    };
    Ok(AlterationPlan {
        statements,
        blockers,
        asks,
    })
}

/// The statement, with what it means; `None` if nothing is changed.
fn planned(alteration: &TableAlteration, clauses: &[Clause]) -> Option<PlannedStatement> {
    let sql = statement(&alteration.table, clauses, "")?;
    let way = clauses.iter().map(|clause| clause.way).max()?;
    let loses = |it: &TableChange| matches!(it, TableChange::Drop(_) | TableChange::Clear(_));
    Some(way.statement(sql, alteration.changes.iter().any(loses)))
}

/// Alters the table and stores what is made of it.
pub(crate) async fn alter(
    store: &MysqlStore,
    session: &mut Session,
    lease: &Lease,
    alteration: &TableAlteration,
) -> Result<()> {
    let table = &alteration.table;
    let planned = plan(store, alteration).await?;
    refuse(table, planned.blockers)?;
    if let Some(expected) = &alteration.expects {
        let found = table_facts(store, &table.name).await?;
        refuse_unexpected(table, expected, found.as_ref())?;
    }
    let shape = catalog::shape(store, &table.name)
        .await?
        .ok_or_else(|| gone(table))?;
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let reload = match alteration.rows {
        HeldRows::LoadAgain => state::reload_statement(&lease.key, &alteration.made),
        HeldRows::Stay => String::new(),
    };
    let before = format!(
        "{reload}{}",
        state::plan_statement(&lease.key, &alteration.made, &mark)
    );
    let after = state::done_statement(&alteration.made, &mark);
    for released in &alteration.released {
        indexes::release(store, session, lease, released).await?;
    }
    let clauses = clauses(alteration, &shape, store.facts().flavour)?;
    if clauses.is_empty() {
        let both = format!("{before}{after}");
        return state::under_fences(session, &[lease], &both)
            .await
            .map(drop);
    }
    let comment = state::marked_comment(&shape.comment, &mark).ok_or_else(|| no_room(table))?;
    state::under_fences(session, &[lease], &before).await?;
    fail_point("alter.planned");
    let way_count = ways(alteration);
    let altered = run(session, table, &clauses, (&comment, way_count)).await;
    let altered = altered.map_err(|error| not_allowed(store, table, error));
    let reset = session
        .execute("SET SESSION lock_wait_timeout = @syncset_wait")
        .await;
    altered?;
    reset?;
    fail_point("alter.executed");
    state::under_fences(session, &[lease], &after)
        .await
        .map(drop)
}

async fn run(
    session: &mut Session,
    table: &TargetTable,
    clauses: &[Clause],
    (comment, way_count): (&str, usize),
) -> Result<()> {
    session
        .execute_each(&format!(
            "SET @syncset_wait = @@lock_wait_timeout;\n\
             SET SESSION lock_wait_timeout = {LOCK_TIMEOUT_S}"
        ))
        .await?;
    let comment = format!(", COMMENT={}", plain_text(comment));
    let (mut tries, mut algorithm) = (1, 0);
    loop {
        let way = format!("{comment}{}", ALGORITHMS[algorithm]);
        let sql = statement(table, clauses, &way).unwrap_or_default();
        let Err(failure) = session.execute(&sql).await else {
            return Ok(());
        };
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
        match error::number(&failure) {
            // Not supported, or not for this reason.
            Some(1845 | 1846) if algorithm + 1 < way_count => algorithm += 1,
            Some(1845 | 1846) => return Err(would_copy(table, clauses, failure)),
            Some(1205) if tries < TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Some(1205) => return Err(kept_locked(table, failure)),
            _ => return Err(explained(failure, table)),
        }
    }
}

/// How many of the [`ALGORITHMS`] may be tried.
fn ways(alteration: &TableAlteration) -> usize {
    let mut changes = alteration.changes.iter();
    let is_agreed = |it: &TableChange| match it {
        TableChange::Widen(_, copy) => *copy == TableCopy::Agreed,
        // No key goes in another way, and somebody has agreed that it goes.
        TableChange::Key(key) => key.is_empty(),
        _ => false,
    };
    match changes.any(is_agreed) {
        true => ALGORITHMS.len(),
        false => ALGORITHMS.len() - 1,
    }
}

/// A part of the statement.
struct Clause {
    sql: String,
    /// What it takes.
    way: Way,
}

/// The whole statement; `None` if nothing is changed.
fn statement(table: &TargetTable, clauses: &[Clause], more: &str) -> Option<String> {
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
fn clauses(alteration: &TableAlteration, shape: &Shape, flavour: Flavour) -> Result<Vec<Clause>> {
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
                let own = || ddl::map_type(column, flavour).native;
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

fn blockers(alteration: &TableAlteration, shape: &Shape, filled: &[String]) -> Vec<Blocker> {
    let name = &alteration.table.name;
    let mut blockers = Vec::new();
    let depends = |what: String, dependent: String| Blocker {
        sentence: format!("{what}: {dependent} depends on it"),
        hint: format!("drop {dependent} or change it, then run again; or undo the edit"),
    };
    for change in &alteration.changes {
        match change {
            TableChange::Drop(column) | TableChange::Clear(column) => {
                let what = format!("column `{column}` of `{name}` cannot be dropped");
                for dependent in dependents(alteration, shape, column) {
                    blockers.push(depends(what.clone(), dependent));
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
                        blockers.push(depends(what.clone(), dependent));
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
    blockers.extend(filled.iter().map(|column| holds_values(alteration, column)));
    blockers
}

/// Whether a change leaves views behind that can be read no longer: the server itself does not mind.
fn breaks_views(change: &TableChange) -> bool {
    matches!(change, TableChange::Drop(_) | TableChange::Rename { .. })
}

fn broken_views(alteration: &TableAlteration, views: &[View]) -> Vec<Blocker> {
    let name = &alteration.table.name;
    let mut blockers = Vec::new();
    for change in &alteration.changes {
        let (column, what) = match change {
            TableChange::Drop(column) => (column, "dropped"),
            TableChange::Rename { from, .. } => (from, "renamed"),
            _ => continue,
        };
        for view in views.iter().filter(|view| view.names(column)) {
            let view = view.dependent();
            blockers.push(Blocker {
                sentence: format!(
                    "column `{column}` of `{name}` cannot be {what}: {view} depends on it"
                ),
                hint: format!("drop {view} or change it, then run again; or undo the edit"),
            });
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

fn holds_values(alteration: &TableAlteration, column: &str) -> Blocker {
    let name = &alteration.table.name;
    let (quoted, table) = (identifier(column), table_name(name));
    let written = alteration.table.all_columns();
    let is_written = written.iter().any(|it| it.name == *column);
    if is_written {
        Blocker {
            sentence: format!(
                "column `{column}` of `{name}` holds values and was not made by syncset"
            ),
            hint: format!(
                "give the column of the pipeline another name with `rename: {{ .. }}`, or give this one up: ALTER TABLE {table} DROP COLUMN {quoted}"
            ),
        }
    } else {
        Blocker {
            sentence: format!(
                "column `{column}` of `{name}` is no longer selected, holds what was copied, and was not made by syncset"
            ),
            hint: format!(
                "drop it: ALTER TABLE {table} DROP COLUMN {quoted}; or clear it: UPDATE {table} SET {quoted} = NULL; then run again"
            ),
        }
    }
}

/// Columns that somebody else made and that hold values.
async fn filled(store: &MysqlStore, alteration: &TableAlteration) -> Result<Vec<String>> {
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

fn refuse(table: &TargetTable, blockers: Vec<Blocker>) -> Result<()> {
    let Some(first) = blockers.first() else {
        return Ok(());
    };
    let sentences: Vec<_> = blockers.iter().map(|it| it.sentence.as_str()).collect();
    Err(left_as_it_is(table, &sentences.join("; ")).with_hint(first.hint.clone()))
}

fn left_as_it_is(table: &TargetTable, reason: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("`{}` was left as it is: {reason}", table.name),
    )
}

fn gone(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Transient,
        format!("the target has no table `{}` any more", table.name),
    )
    .with_hint("run again: the table is created when it is missing")
}

fn no_room(table: &TargetTable) -> ConnectorError {
    left_as_it_is(table, "its comment has no room for our mark")
        .with_hint("shorten the table's comment to 2,000 characters, then run again")
}

/// A copy of a table keeps everybody from writing to it for as long as it takes.
fn would_copy(table: &TargetTable, clauses: &[Clause], cause: ConnectorError) -> ConnectorError {
    left_as_it_is(table, WOULD_COPY)
        .with_hint(copy_hint(table, clauses))
        .caused_by(cause)
}

const WOULD_COPY: &str = "the change would copy the table and lock it meanwhile";

fn copy_hint(table: &TargetTable, clauses: &[Clause]) -> String {
    let sql = statement(table, clauses, "").unwrap_or_default();
    format!(
        "run it yourself when that suits: {sql}; or, for a wider column, agree with `syncset schema approve`; or \
         write to another table with `to:`"
    )
}

/// A right that is missing is for a person to give.
fn not_allowed(store: &MysqlStore, table: &TargetTable, error: ConnectorError) -> ConnectorError {
    if error.class != ErrorClass::Privilege {
        return error;
    }
    left_as_it_is(table, "this user may not alter it")
        .with_hint(format!(
            "{}; or run the statement that `pipeline plan` shows as another user",
            rights::grant(&["ALTER"], table, store.facts())
        ))
        .caused_by(error)
}

/// Errors of ALTER TABLE that a person has to do something about.
fn explained(error: ConnectorError, table: &TargetTable) -> ConnectorError {
    match error.class {
        ErrorClass::RowParked | ErrorClass::RowRefused => left_as_it_is(
            table,
            &format!(
                "its rows cannot be told apart by the key ({})",
                table.key.join(", ")
            ),
        )
        .with_hint(
            "write to another table with `to:`, or drop this one: it is created and loaded again",
        )
        .caused_by(error),
        ErrorClass::Store => ConnectorError {
            class: ErrorClass::TargetDiffers,
            ..error
        },
        _ => error,
    }
}

/// The error of a table that others kept locked for all tries.
fn kept_locked(table: &TargetTable, cause: ConnectorError) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Transient,
        format!(
            "other sessions kept `{}` locked in all of {TRIES_MAX} tries",
            table.name
        ),
    )
    .with_hint(
        "look for them: `SELECT * FROM performance_schema.metadata_locks` (MySQL), \
         `SELECT * FROM information_schema.processlist` (MariaDB); run again when they are done",
    )
    .caused_by(cause)
}
