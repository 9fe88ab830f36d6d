//! `_syncset.search`: when rows that are gone were looked for last.

use super::schema::is_missing;
use super::streams::under_fence;
use super::text::{key_is, key_values, literal};
use crate::connect::PgStore;
use syncset_connector::{Lease, PipelineKey, Result};

/// When each stream was searched.
pub(super) async fn searches(store: &PgStore, key: &PipelineKey) -> Result<Vec<(String, i64)>> {
    let sql = format!(
        "SELECT stream, searched_at FROM _syncset.search WHERE {} ORDER BY stream",
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
    store: &PgStore,
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
        .map(|stream| format!("({values}, {}, {at})", literal(stream)));
    let body = format!(
        "INSERT INTO _syncset.search (project, pipeline, stream, searched_at) VALUES {} \
         ON CONFLICT (project, pipeline, stream) DO UPDATE SET searched_at = excluded.searched_at;\n",
        rows.collect::<Vec<_>>().join(", ")
    );
    let mut session = store.control().await?;
    under_fence(&mut session, lease, &body).await.map(drop)
}
