//! Count and hash of the keys of a target table.

use super::catalog::{Shape, target_name};
use crate::connect::Session;
use crate::digest::{DigestColumn, digest_sql, read_digest};
use crate::error;
use crate::sql::quote_ident;
use syncset_connector::{ConnectorError, Digest, ErrorClass, KeyDigest, Result, TargetTable};

/// Count and hash of the keys of all rows that the session sees and that are not marked as gone.
///
/// # Errors
/// `TargetDiffers` if a column of the key is missing.
pub(crate) async fn key_digest(
    session: &mut Session,
    (table, shape): (&TargetTable, &Shape),
    digest: Digest,
) -> Result<KeyDigest> {
    let mut from = format!("FROM {}", target_name(&table.name));
    if let Some(mark) = &table.marks.deleted_at {
        from.push_str(&format!(" WHERE {} IS NULL", quote_ident(mark)));
    }
    let uncounted = || error::unexpected("the server did not count a table's keys");
    if digest == Digest::Count {
        let sql = format!("SELECT pg_catalog.count(*) {from}");
        let rows = session.rows(&sql).await?;
        return Ok(KeyDigest {
            row_count: rows.first().ok_or_else(uncounted)?.parse(0)?,
            hash: None,
        });
    }
    let mut key = Vec::with_capacity(table.key.len());
    for name in &table.key {
        let actual = shape.column(name).ok_or_else(|| {
            ConnectorError::new(
                ErrorClass::TargetDiffers,
                format!("`{}` has no column `{name}`", table.name),
            )
        })?;
        key.push(DigestColumn {
            sql: quote_ident(name),
            native: actual.declared.clone(),
        });
    }
    let rows = session.rows(&digest_sql(&key, &from)).await?;
    read_digest(rows.first().ok_or_else(uncounted)?)
}
