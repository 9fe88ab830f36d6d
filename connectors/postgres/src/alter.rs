//! Changes to the columns and the key of a target table.
//!
//! Only what we made is dropped or renamed, and never with CASCADE: whatever else depends on it
//! is named, and the table stays as it was.

use crate::connect::{ServerFacts, Session, TextRow};
use crate::ddl::{self, Need};
use crate::facts::facts_in;
use crate::indexes;
use crate::sql::{quote_ident, quote_idents, quote_literal};
use crate::state;
use crate::widen;
use crate::write::catalog::{self, Shape, target_name};
use crate::write::status;
use std::collections::BTreeMap;
use std::time::Duration;
use syncset_connector::{
    AlterationPlan, Blocked, Blocker, ConnectorError, ErrorClass, HeldRows, IndexKind, Lease,
    Marks, PlannedStatement, Result, TableAlteration, TableChange, TableName, TargetColumn,
    TargetTable, TypeDefinition, fail_point, refuse_for, refuse_unexpected, rows_not_told_apart,
};

/// Tries to lock the table. Each waits [`LOCK_TIMEOUT`] at most: whoever comes after a waiting
/// ALTER TABLE waits behind it, readers included.
const TRIES_MAX: u32 = 10;

/// Longest wait for the table's lock in one try.
const LOCK_TIMEOUT: &str = "1s";

/// The same where several tables are locked: a reader of both that waits for the first while we wait
/// for the second would be ended after `deadlock_timeout`, so we give way before that.
const SHORT_LOCK_TIMEOUT: &str = "500ms";

/// Pause between two tries, in which those who waited behind the lock get their turn.
const PAUSE: Duration = Duration::from_millis(500);

/// What the catalog says about a table that is to be altered.
#[derive(Debug, Default)]
struct Facts {
    /// The owner, if this user has not its rights.
    foreign_owner: Option<String>,
    /// Name and columns of the primary key.
    primary_key: Option<(String, Vec<String>)>,
    /// What depends on columns that go, or on the key: column (`None`: the key) and description.
    dependents: Vec<(Option<String>, String)>,
    /// Types that added columns need and that are missing.
    missing: Vec<Need>,
    /// Columns that somebody else made and that hold values.
    filled: Vec<String>,
    /// Types of columns that are made anew.
    types: BTreeMap<String, String>,
    /// The table as it is, if columns of it are widened.
    shape: Option<Shape>,
    /// Its indexes and foreign keys, and whether each is a constraint or belongs to one.
    indexes: BTreeMap<String, bool>,
    /// Foreign keys of other tables that point to it: table and name.
    pointing: Vec<(TableName, String)>,
}

impl Facts {
    /// Tables at the other ends of foreign keys that go: they are locked too.
    fn ends(&self, alteration: &TableAlteration) -> Vec<String> {
        let own = alteration.changes.iter().filter_map(|change| match change {
            TableChange::DropIndex(index) if self.indexes.contains_key(&index.name) => {
                match &index.is {
                    IndexKind::ForeignKey { parent, .. } => Some(parent),
                    _ => None,
                }
            }
            _ => None,
        });
        let released = self.released(alteration).map(|(child, _)| child);
        let mut ends: Vec<_> = own.chain(released).map(target_name).collect();
        ends.sort();
        ends.dedup();
        ends.retain(|end| *end != target_name(&alteration.table.name));
        ends
    }

    /// Foreign keys of other tables that go first.
    fn released<'a>(
        &'a self,
        alteration: &'a TableAlteration,
    ) -> impl Iterator<Item = &'a (TableName, String)> {
        let pointing = self.pointing.iter();
        pointing.filter(|(child, name)| alteration.drops_key(child, name))
    }

    /// The type that a column has to get, and whether that writes the table anew; `None` if its own,
    /// once it has all labels, will do.
    fn wider_type(
        &self,
        alteration: &TableAlteration,
        column: &TargetColumn,
    ) -> Option<(String, bool)> {
        let before = alteration.name_before(&column.name);
        let actual = self.shape.as_ref()?.column(before)?;
        let mut actual = actual.clone();
        actual.labels.extend(labels_of(column).iter().cloned());
        status::column_difference(&alteration.table, column, &actual)?;
        let native = ddl::map_type(column).native;
        let rewrites = !widen::is_stored_alike(&actual.declared, &native);
        Some((native, rewrites))
    }

    /// Statements that give enumerations the labels that they lack. What else the type is used for
    /// does not suffer.
    fn new_labels(&self, alteration: &TableAlteration) -> Vec<PlannedStatement> {
        let mut statements = Vec::new();
        for change in &alteration.changes {
            let TableChange::Widen(column, _) = change else {
                continue;
            };
            let shape = self.shape.as_ref();
            let before = alteration.name_before(&column.name);
            let actual = shape.and_then(|shape| shape.column(before));
            let Some(actual) = actual.filter(|actual| actual.is_enum) else {
                continue;
            };
            let mut before: Option<&String> = None;
            for label in labels_of(column) {
                if !actual.labels.contains(label)
                    && let Ok(literal) = quote_literal(label)
                {
                    let place = before.and_then(|before| quote_literal(before).ok());
                    let place = place.map_or(String::new(), |it| format!(" AFTER {it}"));
                    let sql = format!(
                        "ALTER TYPE {} ADD VALUE IF NOT EXISTS {literal}{place}",
                        actual.bare
                    );
                    statements.push(PlannedStatement {
                        // No label can be dropped again.
                        reversible: false,
                        ..beside_the_table(sql)
                    });
                }
                before = Some(label);
            }
        }
        statements
    }
}

/// A statement that leaves the table and those who use it alone.
fn beside_the_table(sql: String) -> PlannedStatement {
    PlannedStatement {
        sql,
        lock: "none on the table".to_owned(),
        blocks: Blocked::Nobody,
        rewrites: false,
        reversible: true,
    }
}

/// The labels that a column of this engine has at the source.
fn labels_of(column: &TargetColumn) -> &[String] {
    match ddl::own(column).and_then(|native| native.definition.as_ref()) {
        Some(TypeDefinition::Enum { labels }) => labels,
        _ => &[],
    }
}

/// Says what [`alter`] would run, and what stands in its way.
pub(crate) async fn plan(
    session: &mut Session,
    alteration: &TableAlteration,
    user: &str,
) -> Result<AlterationPlan> {
    let facts = facts(session, alteration, &alteration.must_be_empty).await?;
    let labels = facts.new_labels(alteration).into_iter();
    Ok(AlterationPlan {
        statements: labels.chain(statements(alteration, &facts)).collect(),
        blockers: blockers(alteration, &facts, user),
        asks: Vec::new(),
    })
}

/// Alters the table and stores what is made of it, in one transaction under the fence.
pub(crate) async fn alter(
    session: &mut Session,
    lease: &Lease,
    alteration: &TableAlteration,
    server: &ServerFacts,
) -> Result<()> {
    let looked = facts(session, alteration, &alteration.must_be_empty).await?;
    refuse_for(
        &alteration.table,
        &blockers(alteration, &looked, &server.user),
    )?;
    // A label can be used only once it is committed, and a type that has one more does no harm.
    for statement in looked.new_labels(alteration) {
        let added = session.execute(&statement.sql).await;
        added.map_err(|error| explained(error, &alteration.table))?;
        fail_point("alter.labelled");
    }
    let is_altered = !statements(alteration, &looked).is_empty();
    let ends = looked.ends(alteration);
    let mut tries = 0;
    loop {
        let altered = attempt(session, lease, alteration, (server, is_altered, &ends)).await;
        let Err(error) = altered else { return Ok(()) };
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
        if error.code.as_deref() != Some("55P03") {
            return Err(explained(error, &alteration.table));
        }
        tries += 1;
        if tries == TRIES_MAX {
            return Err(kept_locked(session, &alteration.table, error).await);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(
    session: &mut Session,
    lease: &Lease,
    alteration: &TableAlteration,
    (server, is_altered, ends): (&ServerFacts, bool, &[String]),
) -> Result<()> {
    // What is only told otherwise from here on waits for nobody.
    let mode = match is_altered {
        true => "ACCESS EXCLUSIVE",
        false => "ACCESS SHARE",
    };
    let timeout = match ends {
        [] => LOCK_TIMEOUT,
        _ => SHORT_LOCK_TIMEOUT,
    };
    let own = target_name(&alteration.table.name);
    let tables: Vec<&str> = std::iter::once(&own)
        .chain(ends)
        .map(String::as_str)
        .collect();
    let locked = session
        .result_sets(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;\nSET LOCAL search_path = pg_catalog;\n\
             SET LOCAL lock_timeout = '{timeout}';\n{};\n\
             LOCK TABLE {} IN {mode} MODE",
            state::lock_fence(lease),
            tables.join(", ")
        ))
        .await?;
    if locked.get(3).is_none_or(Vec::is_empty) {
        return Err(state::fenced(lease));
    }
    // Looked at once more under the lock: nobody can add a dependent any more.
    if let Some(expected) = &alteration.expects {
        let found = facts_in(session, server, &alteration.table.name).await?;
        refuse_unexpected(&alteration.table, expected, found.as_ref())?;
    }
    let facts = facts(session, alteration, &[]).await?;
    refuse_for(
        &alteration.table,
        &blockers(alteration, &facts, &server.user),
    )?;
    for statement in statements(alteration, &facts) {
        session.execute(&statement.sql).await?;
    }
    let released = alteration.released.iter().map(|it| &it.made);
    for made in released.chain([&alteration.made]) {
        let stored = state::made_statement(&lease.key, made);
        session.execute(&stored).await?;
    }
    if alteration.rows == HeldRows::LoadAgain {
        let reload = state::reload_statement(&lease.key, &alteration.made);
        session.execute(&reload).await?;
    }
    fail_point("alter.before_commit");
    session.execute("COMMIT").await.map(drop)
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
fn statements(alteration: &TableAlteration, facts: &Facts) -> Vec<PlannedStatement> {
    let table = &alteration.table;
    let missing = facts.missing.iter();
    let missing = missing.filter_map(|need| need.create.clone());
    let mut statements: Vec<_> = missing.map(beside_the_table).collect();
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

fn blockers(alteration: &TableAlteration, facts: &Facts, user: &str) -> Vec<Blocker> {
    let name = &alteration.table.name;
    let mut blockers = Vec::new();
    if let Some(owner) = &facts.foreign_owner
        && !alteration.changes.is_empty()
    {
        let statements = statements(alteration, facts).into_iter();
        let statements: Vec<_> = statements.map(|it| it.sql).collect();
        let statements = statements.join("; ");
        blockers.push(Blocker {
            sentence: format!("`{name}` belongs to {owner}, and only an owner may alter it"),
            hint: format!(
                "GRANT {} TO {}; or run as its owner: {statements}",
                quote_ident(owner),
                quote_ident(user)
            ),
        });
    }
    for (column, dependent) in &facts.dependents {
        let what = match column {
            Some(column) => format!("column `{column}` of `{name}` cannot be dropped"),
            None => format!("the primary key of `{name}` cannot be replaced"),
        };
        blockers.push(Blocker {
            sentence: format!("{what}: {dependent} depends on it"),
            hint: format!("drop {dependent} or change it, then run again; or undo the edit"),
        });
    }
    for need in facts.missing.iter().filter(|need| need.create.is_none()) {
        blockers.push(Blocker {
            sentence: format!("the target has no {}", need.what),
            hint: need.advice.clone(),
        });
    }
    for column in &facts.filled {
        let quoted = quote_ident(column);
        let table = target_name(name);
        let wanted = alteration.table.all_columns();
        let is_written = wanted.iter().any(|it| it.name == *column);
        blockers.push(if is_written {
            Blocker {
                sentence: format!(
                    "column `{column}` of `{name}` holds values and was not made by syncset"
                ),
                hint: format!("give the column of the pipeline another name with `rename: {{ .. }}`, or give this one up: ALTER TABLE {table} DROP COLUMN {quoted}"),
            }
        } else {
            Blocker {
                sentence: format!("column `{column}` of `{name}` is no longer selected, holds what was copied, and was not made by syncset"),
                hint: format!("drop it: ALTER TABLE {table} DROP COLUMN {quoted}; or clear it: UPDATE {table} SET {quoted} = NULL; then run again"),
            }
        });
    }
    blockers
}

/// Errors of ALTER TABLE that a person has to do something about.
fn explained(error: ConnectorError, table: &TargetTable) -> ConnectorError {
    match error.code.as_deref() {
        Some("23505" | "23502") => rows_not_told_apart(table, error),
        // Something depends on it, a view uses the type, or no cast leads to it.
        Some("2BP01" | "0A000" | "42804") => ConnectorError {
            class: ErrorClass::TargetDiffers,
            ..error
        },
        _ => error,
    }
}

/// The error of a table that others kept locked for all tries, with who they are.
async fn kept_locked(
    session: &mut Session,
    table: &TargetTable,
    cause: ConnectorError,
) -> ConnectorError {
    let name = target_name(&table.name);
    let question = quote_literal(&name).map(|name| {
        format!(
            "SELECT string_agg(DISTINCT l.pid::text, ', ') FROM pg_catalog.pg_locks l \
             WHERE l.granted AND l.relation = pg_catalog.to_regclass({name}) \
             AND l.pid <> pg_catalog.pg_backend_pid()"
        )
    });
    let holders = match question {
        Ok(question) => session.rows(&question).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let holders = holders.first().and_then(|row| row.text(0));
    let who = holders.map_or("other sessions".to_owned(), |pids| format!("pid {pids}"));
    ConnectorError::new(
        ErrorClass::Transient,
        format!(
            "`{}` was locked by {who} and could not be altered",
            table.name
        ),
    )
    .with_hint("nothing was changed; run again when these transactions are over")
    .with_code("55P03")
    .caused_by(cause)
}

/// Asks the catalog, in one message, and which of `unmade` hold values.
async fn facts(
    session: &mut Session,
    alteration: &TableAlteration,
    unmade: &[String],
) -> Result<Facts> {
    let needs = added_needs(alteration)?;
    let widens = |change: &TableChange| matches!(change, TableChange::Widen(..));
    let shape = match alteration.changes.iter().any(widens) {
        true => catalog::shapes(session, &[&alteration.table.name])
            .await?
            .pop(),
        false => None,
    };
    let sets = session
        .result_sets(&questions(alteration, &needs, unmade)?)
        .await?;
    let set = |index: usize| sets.get(index + 1).map_or(&[][..], Vec::as_slice);
    let mut facts = Facts {
        shape: shape.flatten(),
        ..Facts::default()
    };
    let table = set(0).first().ok_or_else(|| gone(&alteration.table))?;
    if !table.is_true(0) {
        facts.foreign_owner = Some(table.required(1)?.to_owned());
    }
    for row in set(1) {
        let column = row.required(1)?.to_owned();
        let key = facts.primary_key.get_or_insert_with(Default::default);
        row.required(0)?.clone_into(&mut key.0);
        key.1.push(column);
    }
    for row in set(2) {
        let column = row.text(0).map(str::to_owned);
        if let (Some(schema), Some(child), Some(key)) = (row.text(2), row.text(3), row.text(4))
            && alteration.drops_key(&TableName::in_schema(schema, child), key)
        {
            continue;
        }
        facts.dependents.push((column, row.required(1)?.to_owned()));
    }
    let answers = set(3).first();
    for (index, need) in needs.into_iter().enumerate() {
        if !answers.is_some_and(|row: &TextRow| row.is_true(index)) {
            facts.missing.push(need);
        }
    }
    for row in set(5) {
        let column = row.required(0)?.to_owned();
        facts.types.insert(column, row.required(1)?.to_owned());
    }
    for row in set(6) {
        let name = row.required(0)?.to_owned();
        facts.indexes.insert(name, row.is_true(1));
    }
    for row in set(7) {
        let child = TableName::in_schema(row.required(0)?, row.required(1)?);
        facts.pointing.push((child, row.required(2)?.to_owned()));
    }
    let answers = set(4).first();
    for (index, column) in unmade.iter().enumerate() {
        if answers.is_some_and(|row| row.is_true(index)) {
            facts.filled.push(column.clone());
        }
    }
    Ok(facts)
}

fn gone(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Transient,
        format!("the target has no table `{}` any more", table.name),
    )
    .with_hint("run again: the table is created when it is missing")
}

/// What the types of added columns need.
fn added_needs(alteration: &TableAlteration) -> Result<Vec<Need>> {
    let added = alteration.changes.iter().filter_map(|change| match change {
        TableChange::Add(column) => Some(column.clone()),
        _ => None,
    });
    let mut needs = ddl::needs(&TargetTable {
        name: alteration.table.name.clone(),
        columns: added.collect(),
        key: Vec::new(),
        marks: Marks::default(),
    })?;
    // The last one is the table itself.
    needs.pop();
    Ok(needs)
}

fn questions(alteration: &TableAlteration, needs: &[Need], unmade: &[String]) -> Result<String> {
    let name = target_name(&alteration.table.name);
    let relation = format!("to_regclass({})", quote_literal(&name)?);
    let mut dropped = Vec::new();
    let mut cleared = Vec::new();
    let mut key_changes = false;
    for change in &alteration.changes {
        match change {
            TableChange::Drop(column) => dropped.push(quote_literal(column)?),
            TableChange::Clear(column) => cleared.push(quote_literal(column)?),
            TableChange::Key(_) => key_changes = true,
            TableChange::DropIndex(_)
            | TableChange::Rename { .. }
            | TableChange::Relax(_)
            | TableChange::Widen(..)
            | TableChange::Add(_) => {}
        }
    }
    dropped.extend(cleared.iter().cloned());
    let (dropped, cleared) = (dropped.join(", "), cleared.join(", "));
    let exist: Vec<_> = needs.iter().map(|need| need.exists.as_str()).collect();
    let filled: Vec<_> = unmade
        .iter()
        .map(|column| {
            let column = quote_ident(column);
            format!("EXISTS (SELECT FROM {name} AS t WHERE t.{column} IS NOT NULL)")
        })
        .collect();
    // A view depends on a column by its rule.
    Ok(format!(
        "SET LOCAL search_path = pg_catalog;\n\
         SELECT pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner) \
         FROM pg_class c WHERE c.oid = {relation};\n\
         SELECT k.conname, a.attname FROM pg_constraint k \
         CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS n (attnum, place) \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.attnum \
         WHERE k.contype = 'p' AND k.conrelid = {relation} ORDER BY n.place;\n\
         SELECT DISTINCT a.attname::text, CASE WHEN d.classid = 'pg_rewrite'::regclass \
         THEN (SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0) FROM pg_rewrite r \
         WHERE r.oid = d.objid) ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END, \
         n.nspname::text, c.relname::text, f.conname::text \
         FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid \
         AND a.attnum = d.refobjsubid \
         LEFT JOIN pg_constraint f ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid \
         AND f.contype = 'f' LEFT JOIN pg_class c ON c.oid = f.conrelid \
         LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE d.refclassid = 'pg_class'::regclass \
         AND d.refobjid = {relation} AND d.deptype = 'n' \
         AND a.attname = ANY (ARRAY[{dropped}]::name[]) \
         UNION SELECT NULL, pg_describe_object('pg_constraint'::regclass, f.oid, 0), \
         n.nspname::text, c.relname::text, f.conname::text \
         FROM pg_constraint f JOIN pg_constraint k ON k.conrelid = f.confrelid \
         AND k.contype = 'p' AND k.conindid = f.conindid JOIN pg_class c ON c.oid = f.conrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {key_changes} AND f.contype = 'f' AND f.confrelid = {relation} ORDER BY 1, 2;\n\
         SELECT {};\nSELECT {};\n\
         SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
         WHERE a.attrelid = {relation} AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.attname = ANY (ARRAY[{cleared}]::name[]);\n{};\n{}",
        one_or_more(&exist),
        one_or_more(&filled),
        indexes::indexes_sql(&relation),
        indexes::pointing_sql(&relation)
    ))
}

/// A select list has something in it.
fn one_or_more(list: &[impl AsRef<str>]) -> String {
    if list.is_empty() {
        return "NULL".to_owned();
    }
    let parts: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    parts.join(", ")
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
