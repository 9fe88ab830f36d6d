//! The count of a target table's rows.

use crate::connect::Session;
use crate::error;
use crate::sql::{identifier, table as table_name};
use syncset_connector::{KeyDigest, Result, TargetTable};

/// Count of all rows that the session sees and that are not marked as gone.
pub(crate) async fn row_count(session: &mut Session, table: &TargetTable) -> Result<KeyDigest> {
    let mut sql = format!("SELECT COUNT(*) FROM {}", table_name(&table.name));
    if let Some(mark) = &table.marks.deleted_at {
        sql.push_str(&format!(" WHERE {} IS NULL", identifier(mark)));
    }
    let rows = session.rows(&sql).await?;
    let row = rows
        .first()
        .ok_or_else(|| error::unexpected("the server did not count a table's rows"))?;
    Ok(KeyDigest {
        row_count: row.parse(0)?,
        hash: None,
    })
}
