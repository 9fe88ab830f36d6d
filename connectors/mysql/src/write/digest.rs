//! Count and hash of the keys of a target table.

use super::catalog::Shape;
use crate::connect::Session;
use crate::digest::{DigestColumn, digest_sql, read_digest};
use crate::error;
use crate::sql::{identifier, table as table_name};
use syncset_connector::{ConnectorError, ErrorClass, KeyDigest, Result, TargetTable};

/// Count and hash of the keys of all rows that the session sees and that are not marked as gone.
///
/// # Errors
/// `TargetDiffers` if a column of the key is missing.
pub(crate) async fn key_digest(
    session: &mut Session,
    table: &TargetTable,
    shape: &Shape,
) -> Result<KeyDigest> {
    let mut key = Vec::with_capacity(table.key.len());
    for name in &table.key {
        let actual = shape.column(name).ok_or_else(|| {
            ConnectorError::new(
                ErrorClass::TargetDiffers,
                format!("`{}` has no column `{name}`", table.name),
            )
        })?;
        key.push(DigestColumn {
            sql: identifier(name),
            parsed: actual.parsed.clone(),
        });
    }
    let mut from = format!("FROM {}", table_name(&table.name));
    if let Some(mark) = &table.marks.deleted_at {
        from.push_str(&format!(" WHERE {} IS NULL", identifier(mark)));
    }
    let rows = session.rows(&digest_sql(&key, &from)).await?;
    let row = rows
        .first()
        .ok_or_else(|| error::unexpected("the server did not count a table's keys"))?;
    read_digest(row, &key)
}
