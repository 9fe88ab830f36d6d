//! `_syncset_search`: when rows that are gone were looked for last.

use super::schema::is_missing;
use super::streams::of_control;
use super::text::{key_is, key_values};
use crate::connect::MysqlStore;
use crate::sql::text;
use syncset_connector::{Lease, PipelineKey, Result};

/// When each stream was searched.
pub(super) async fn searches(store: &MysqlStore, key: &PipelineKey) -> Result<Vec<(String, i64)>> {
    let sql = format!(
        "SELECT stream, searched_at FROM _syncset_search WHERE {} ORDER BY stream",
        key_is("", key)
    );
    let mut session = store.control().await?;
    match session.rows(&sql).await {
        Ok(rows) => rows
            .iter()
            .map(|row| Ok((row.required(0)?.to_owned(), row.parse(1)?)))
            .collect(),
        // The state of an older version has no such table.
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Stores that streams were searched.
pub(super) async fn store_searches(
    store: &MysqlStore,
    lease: &Lease,
    streams: &[String],
    at: i64,
) -> Result<()> {
    if streams.is_empty() {
        return Ok(());
    }
    let values = key_values(&lease.key);
    let rows = streams
        .iter()
        .map(|stream| format!("({values}, {}, {at})", text(stream)));
    let body = format!(
        "INSERT INTO _syncset_search (project, pipeline, stream, searched_at) VALUES {} \
         ON DUPLICATE KEY UPDATE searched_at = {at};\n",
        rows.collect::<Vec<_>>().join(", ")
    );
    of_control(store, &[lease], &body).await.map(drop)
}
