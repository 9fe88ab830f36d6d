//! Comments of target tables that we created and of their columns.

use crate::connect::{MysqlStore, Session};
use crate::indexes::{run, store_made};
use crate::sql::{identifier, plain_text, table as table_name};
use crate::state;
use crate::write::catalog::{self, ActualColumn};
use syncset_connector::{
    Comments, ConnectorError, ErrorClass, Lease, MadeTable, Result, TableName,
};

/// Longest comment of a column.
const COLUMN_CHARS_MAX: usize = 1024;

/// Sets what differs, then stores it. DDL commits by itself: killed between the two, it is set again.
pub(crate) async fn set(
    store: &MysqlStore,
    session: &mut Session,
    lease: &Lease,
    (table, comments): (&TableName, &Comments),
    made: &MadeTable,
) -> Result<MadeTable> {
    let shape = catalog::shape(store, table).await?.unwrap_or_default();
    let before = made.comments.clone().unwrap_or_default();
    let mut clauses = Vec::new();
    for change in comments.changes_since(&before) {
        let text = change.text.unwrap_or_default();
        let Some(name) = change.column else {
            let comment = state::with_mark_of(text, &shape.comment);
            let comment = comment.ok_or_else(|| too_long(table))?;
            clauses.push(format!("COMMENT={}", plain_text(&comment)));
            continue;
        };
        let column = shape.column(name).filter(|column| is_plain(column));
        clauses.extend(column.map(|column| definition(column, text)));
    }
    if !clauses.is_empty() {
        let sql = format!(
            "ALTER TABLE {} {}, ALGORITHM=INPLACE, LOCK=NONE",
            table_name(table),
            clauses.join(", ")
        );
        run(session, table, &sql).await?;
    }
    let made = MadeTable {
        target: table.clone(),
        comments: Some(comments.clone()),
        ..made.clone()
    };
    store_made(session, lease, &made).await?;
    Ok(made)
}

/// Whether its definition is all that there is to say of it: a comment comes only with the whole of it.
fn is_plain(column: &ActualColumn) -> bool {
    // MariaDB spells out a default of NULL, which only a column that takes NULL can have.
    let fills_itself = !column.stays_null || column.has_default && column.not_null;
    !column.generated && !fills_itself && !column.is_json
}

fn definition(column: &ActualColumn, text: &str) -> String {
    let collation = column.parsed.collation.as_deref();
    let collation = collation.map_or(String::new(), |it| format!(" COLLATE {it}"));
    let null = if column.not_null { "NOT NULL" } else { "NULL" };
    let text: String = text.chars().take(COLUMN_CHARS_MAX).collect();
    format!(
        "MODIFY COLUMN {} {}{collation} {null} COMMENT {}",
        identifier(&column.name),
        column.declared,
        plain_text(&text)
    )
}

fn too_long(table: &TableName) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("the comment of the source is too long for `{table}`"),
    )
    .with_hint("shorten it to 2,000 characters at the source")
}
