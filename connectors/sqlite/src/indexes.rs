//! Further indexes of target tables that we created. Unique keys cannot be deferred here, so none of
//! them refuses a row. Each is built and recorded in one transaction.

use crate::cell::text;
use crate::connect::{Database, Session, Writing, arguments};
use crate::sql;
use crate::state::{check_fence, made as record};
use std::sync::Arc;
use syncset_connector::{
    ConnectorError, ErrorClass, Lease, MadeIndex, MadeTable, Result, TableName, TargetIndex,
};

/// The statement that makes an index of this name.
pub(crate) fn statement(table: &TableName, index: &TargetIndex, name: &str) -> String {
    format!(
        "CREATE INDEX {} ON {} ({})",
        sql::identifier(name),
        sql::identifier(&table.name),
        sql::identifiers(&index.columns)
    )
}

/// Names of the indexes that somebody created on a table.
pub(crate) async fn of_table(session: &mut Session, table: &TableName) -> Result<Vec<String>> {
    let question = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL \
                    AND tbl_name = ? COLLATE NOCASE";
    let rows = session
        .rows(
            question,
            arguments![table.name.as_str()],
            "looking for indexes",
        )
        .await?;
    Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
}

/// Builds an index and stores it as made.
pub(crate) async fn build(
    database: &Arc<Database>,
    lease: &Lease,
    (table, index): (&TableName, &TargetIndex),
    made: &MadeTable,
) -> Result<MadeTable> {
    let place = format!("building an index of `{table}`");
    let mut writing = Writing::begin(database, &place).await?;
    let session = &mut writing.session;
    check_fence(session, lease).await?;
    let mut free = None;
    for name in &index.names {
        let question = "SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE";
        let taken = session.rows(question, arguments![name.as_str()], &place);
        if taken.await?.is_empty() {
            free = Some(name);
            break;
        }
    }
    let name = free.ok_or_else(|| no_name(index))?;
    session.run(&statement(table, index, name), &place).await?;
    let mut made = made.clone();
    made.indexes.get_or_insert_default().push(MadeIndex {
        name: name.clone(),
        columns: index.columns.clone(),
        is: index.kind.clone(),
        built: true,
    });
    record::store(session, &lease.key, &made).await?;
    writing.commit(&place).await?;
    Ok(made)
}

fn no_name(index: &TargetIndex) -> ConnectorError {
    let names = index.names.join("`, `");
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("`{names}` are names of something else in the file"),
    )
    .with_hint("rename what has one of them at the target, then run again")
}
