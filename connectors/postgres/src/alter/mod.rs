//! Changes to the columns and the key of a target table.
//!
//! Only what we made is dropped or renamed, and never with CASCADE: whatever else depends on it
//! is named, and the table stays as it was.

mod facts;
mod statements;

use self::facts::{Facts, facts};
use self::statements::statements;
use crate::connect::{ServerFacts, Session};
use crate::facts::facts_in;
use crate::sql::{quote_ident, quote_literal};
use crate::state;
use crate::write::catalog::target_name;
use std::time::Duration;
use syncset_connector::{
    AlterationPlan, Blocker, ConnectorError, ErrorClass, HeldRows, Lease, Result, TableAlteration,
    TargetTable, fail_point, refuse_for, refuse_unexpected, rows_not_told_apart,
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

/// Says what [`alter`] would run, and what stands in its way.
pub(crate) async fn plan(
    session: &mut Session,
    alteration: &TableAlteration,
    user: &str,
) -> Result<AlterationPlan> {
    let facts = facts(session, alteration, &alteration.must_be_empty).await?;
    let mut planned = facts.new_labels(alteration);
    for statement in statements(alteration, &facts) {
        // A label may be needed by several columns.
        if !planned.iter().any(|it| it.sql == statement.sql) {
            planned.push(statement);
        }
    }
    Ok(AlterationPlan {
        statements: planned,
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
            Some(column) if facts.retyped.contains(column) => {
                format!("column `{column}` of `{name}` cannot get another type")
            }
            Some(column) => format!("column `{column}` of `{name}` cannot be dropped"),
            None => format!("the primary key of `{name}` cannot be replaced"),
        };
        blockers.push(Blocker::dependent(&what, dependent));
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
        blockers.push(Blocker::holds_values(alteration, column, (&table, &quoted)));
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
