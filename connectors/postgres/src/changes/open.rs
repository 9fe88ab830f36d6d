//! Opening a snapshot: the bound, then the snapshot, the locks, and the look at what was locked.

use super::bound::Activity;
use super::relation::{
    LockForm, Relation, SnapshotNumbers, changed, describe_sql, lock_sql, read as read_relations,
};
use crate::connect::{PgStore, ServerFacts, Session};
use crate::sql::quote_literal;
use syncset_connector::{ConnectorError, ErrorClass, Result, SnapshotToken, TableRead};

/// What is known of the tables once the snapshot is open.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) relations: Vec<Relation>,
    pub(crate) numbers: SnapshotNumbers,
    pub(crate) activity: Activity,
}

/// Fixes the bound, then opens a snapshot, locks the tables and verifies them.
///
/// # Errors
/// `SourceChanged` if a table is not the one that was described; `SnapshotLost` if a shared
/// snapshot is gone.
pub(crate) async fn open_verified(
    store: &PgStore,
    reads: &[&TableRead],
    needs_bound: bool,
    shared: Option<&SnapshotToken>,
) -> Result<Opened> {
    let mut session = store.readers.session(store).await?;
    let activity = if needs_bound {
        Activity::observe(&mut session).await?
    } else {
        Activity::default()
    };
    let mut outcome = begin(&mut session, store.facts(), reads, LockForm::Lock, shared).await;
    if outcome
        .as_ref()
        .is_err_and(|error| error.class == ErrorClass::Privilege)
    {
        // A right on some columns is no right to LOCK TABLE, but reading takes the same lock.
        session.execute("ROLLBACK").await?;
        outcome = begin(&mut session, store.facts(), reads, LockForm::Touch, shared).await;
        if let Ok((relations, _)) = &outcome {
            verify_now(store, reads, relations).await?;
        }
    }
    let (relations, numbers) = outcome.map_err(|error| of_changed_table(error, shared))?;
    Ok(Opened {
        session,
        relations,
        numbers,
        activity,
    })
}

async fn begin(
    session: &mut Session,
    facts: &ServerFacts,
    reads: &[&TableRead],
    form: LockForm,
    shared: Option<&SnapshotToken>,
) -> Result<(Vec<Relation>, SnapshotNumbers)> {
    let import = match shared {
        Some(token) => format!("SET TRANSACTION SNAPSHOT {};", quote_literal(&token.0)?),
        None => String::new(),
    };
    let locks = lock_sql(reads, form);
    let lock_count = locks.matches(";\n").count();
    let sql = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {import}
         SET LOCAL jit = off;
         {locks}{}",
        describe_sql(reads)?
    );
    let sets = session.result_sets(&sql).await?;
    let first = 2 + usize::from(shared.is_some()) + lock_count;
    read_relations(reads, facts, sets.get(first..).unwrap_or_default())
}

/// Looks at the tables once more, now that they are locked: a statement that touches a table takes
/// the snapshot before it takes the lock.
async fn verify_now(store: &PgStore, reads: &[&TableRead], seen: &[Relation]) -> Result<()> {
    let sets = store
        .control()
        .await?
        .result_sets(&describe_sql(reads)?)
        .await?;
    let (relations, _) = read_relations(reads, store.facts(), &sets)?;
    for ((read, seen), relation) in reads.iter().zip(seen).zip(&relations) {
        if seen.identity.table != relation.identity.table
            || seen.leaves != relation.leaves
            || seen.columns != relation.columns
        {
            return Err(changed(read, "was altered while it was opened"));
        }
    }
    Ok(())
}

fn of_changed_table(mut error: ConnectorError, shared: Option<&SnapshotToken>) -> ConnectorError {
    match error.code.as_deref() {
        // No such table, column or schema: they were there when the table was described.
        Some("42P01" | "42703" | "3F000") => error.class = ErrorClass::SourceChanged,
        // Invalid snapshot identifier: the exporter is gone.
        Some("22023" | "55000" | "42704") if shared.is_some() => {
            error.class = ErrorClass::SnapshotLost;
        }
        _ => {}
    }
    error
}
