//! Comments of target tables that we created and of their columns.

use crate::connect::Session;
use crate::sql::{quote_ident, quote_literal};
use crate::state;
use crate::write::catalog::target_name;
use syncset_connector::{CommentChange, Comments, Lease, MadeTable, Result, TableName};

/// Longest wait for a lock that keeps nobody from reading or writing.
const LOCK_TIMEOUT: &str = "3s";

/// Sets what differs and stores it, in one transaction.
pub(crate) async fn set(
    session: &mut Session,
    lease: &Lease,
    (table, comments): (&TableName, &Comments),
    made: &MadeTable,
) -> Result<MadeTable> {
    let set = attempt(session, lease, (table, comments), made).await;
    if set.is_err() {
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
    }
    set
}

async fn attempt(
    session: &mut Session,
    lease: &Lease,
    (table, comments): (&TableName, &Comments),
    made: &MadeTable,
) -> Result<MadeTable> {
    let begun = session
        .result_sets(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;\nSET LOCAL search_path = pg_catalog;\n\
             SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';\n{}",
            state::lock_fence(lease)
        ))
        .await?;
    if begun.get(3).is_none_or(Vec::is_empty) {
        return Err(state::fenced(lease));
    }
    let before = made.comments.clone().unwrap_or_default();
    let changes = comments.changes_since(&before).into_iter();
    let statements: Vec<String> = changes
        .map(|change| statement(table, change))
        .collect::<Result<_>>()?;
    for statement in statements {
        session.execute(&statement).await?;
    }
    let made = MadeTable {
        comments: Some(comments.clone()),
        ..made.clone()
    };
    let stored = state::made_statement(&lease.key, &made);
    session.execute(&format!("{stored};\nCOMMIT")).await?;
    Ok(made)
}

fn statement(table: &TableName, change: CommentChange<'_>) -> Result<String> {
    let target = target_name(table);
    let about = match change.column {
        Some(column) => format!("COLUMN {target}.{}", quote_ident(column)),
        None => format!("TABLE {target}"),
    };
    let text = match change.text {
        Some(text) => quote_literal(text)?,
        None => "NULL".to_owned(),
    };
    Ok(format!("COMMENT ON {about} IS {text}"))
}
