//! When rows that are gone were looked for last.

use super::rows::damaged;
use crate::cell::{integer, text};
use crate::connect::{Session, arguments};
use syncset_connector::{PipelineKey, Result};

/// When each stream was searched.
pub(crate) async fn read(session: &mut Session, key: &PipelineKey) -> Result<Vec<(String, i64)>> {
    let sql = "SELECT stream, searched_at FROM _syncset_search \
               WHERE project = ? AND pipeline = ? ORDER BY stream";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
    let rows = session
        .rows(sql, arguments, "reading when tables were searched")
        .await?;
    let searches = rows
        .iter()
        .map(|row| Ok((text(row, 0).ok_or_else(damaged)?, integer(row, 1))));
    searches.collect()
}

/// Stores that a stream was searched.
pub(crate) async fn store(
    session: &mut Session,
    key: &PipelineKey,
    stream: &str,
    at: i64,
) -> Result<()> {
    let sql = "INSERT INTO _syncset_search (project, pipeline, stream, searched_at) \
               VALUES (?, ?, ?, ?) ON CONFLICT (project, pipeline, stream) \
               DO UPDATE SET searched_at = excluded.searched_at";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str(), stream, at];
    session
        .execute(sql, arguments, "storing that a table was searched")
        .await?;
    Ok(())
}
