//! Changes to the columns and the key of a target table.
//!
//! All changes of one table are one ALTER TABLE, which happens as a whole or not at all, and bears
//! a mark that tells after a crash whether it did. Only what we made is dropped or renamed;
//! whatever else depends on it is named, and the table stays as it was: the server itself would
//! take a dropped column out of indexes without a word.

mod blockers;
mod clauses;

use self::blockers::{blockers, breaks_views, broken_views, filled};
use self::clauses::{Clause, clauses, statement};
use crate::connect::{MysqlStore, Session};
use crate::error;
use crate::facts::{table_facts, views_of};
use crate::indexes;
use crate::online::Way;
use crate::sql::plain_text;
use crate::state;
use crate::write::catalog;
use crate::write::rights;
use std::time::Duration;
use syncset_connector::{
    AlterationPlan, Blocker, ConnectorError, ErrorClass, HeldRows, Lease, PlannedStatement, Result,
    TableAlteration, TableChange, TableCopy, TargetTable, fail_point, left_as_it_is, refuse_for,
    refuse_unexpected, rows_not_told_apart, table_gone,
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
        .ok_or_else(|| table_gone(table))?;
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
    refuse_for(table, &planned.blockers)?;
    if let Some(expected) = &alteration.expects {
        let found = table_facts(store, &table.name).await?;
        refuse_unexpected(table, expected, found.as_ref())?;
    }
    let shape = catalog::shape(store, &table.name)
        .await?
        .ok_or_else(|| table_gone(table))?;
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
    // Only a column that keeps its name is known again after somebody else has altered it.
    let by_hand = clauses.iter().all(|it| it.sql.starts_with("MODIFY "));
    let by_hand = match statement(table, clauses, "").filter(|_| by_hand) {
        Some(sql) => format!("run it yourself when that suits: {sql}; or, for a wider column, "),
        None => String::new(),
    };
    format!("{by_hand}agree with `syncset schema approve`; or write to another table with `to:`")
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
        ErrorClass::RowParked | ErrorClass::RowRefused => rows_not_told_apart(table, error),
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

#[cfg(test)]
mod tests {
    use super::*;
    use syncset_connector::{Marks, TableName};

    #[test]
    fn statement_is_for_a_person_only_where_its_outcome_is_known_again() {
        let table = TargetTable {
            name: TableName::bare("t"),
            columns: Vec::new(),
            key: Vec::new(),
            marks: Marks::default(),
        };
        let hint = |sql: &str| {
            let sql = sql.to_owned();
            let way = Way::Copy;
            copy_hint(&table, &[Clause { sql, way }])
        };

        let widened = hint("MODIFY COLUMN `n` bigint");
        let renamed = hint("CHANGE COLUMN `n` `m` bigint");

        assert!(widened.contains("ALTER TABLE `t` MODIFY COLUMN `n` bigint"));
        assert!(!renamed.contains("ALTER TABLE"));
        assert!(renamed.contains("syncset schema approve"));
    }
}
