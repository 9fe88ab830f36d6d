//! Rows as they were before a repair or a revert wrote them.

use super::rows::{damaged, json, now_seconds};
use crate::cell::{Cell, cell, integer, text};
use crate::connect::{Session, arguments};
use sqlx::sqlite::SqliteRow;
use syncset_connector::{KeptRow, KeptRun, PipelineKey, Result, RowImage, TableName};

/// Keeps rows of a run.
pub(crate) async fn keep(
    session: &mut Session,
    key: &PipelineKey,
    run_id: &str,
    rows: &[KeptRow],
) -> Result<()> {
    let sql = "INSERT INTO _syncset_before_image (project, pipeline, run_id, stream, target, key, \
               before, after, kept_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let image = |image: &Option<RowImage>| {
        let image = image.as_ref()?;
        Some(serde_json::to_string(image).expect("texts are plain JSON"))
    };
    for row in rows {
        let arguments = arguments![
            key.project.as_str(),
            key.pipeline.as_str(),
            run_id,
            row.stream.as_str(),
            row.target.name.as_str(),
            row.key.to_string(),
            image(&row.before),
            image(&row.after),
            now_seconds(),
        ];
        session.execute(sql, arguments, "keeping rows").await?;
    }
    Ok(())
}

/// Says that rows of a run, by their places, were put back by another one.
pub(crate) async fn mark_reverted(
    session: &mut Session,
    key: &PipelineKey,
    (run_id, places): (&str, &[u64]),
    by: &str,
) -> Result<()> {
    let sql = "UPDATE _syncset_before_image SET reverted_by = ? WHERE project = ? \
               AND pipeline = ? AND run_id = ? AND place IN (SELECT value FROM json_each(?))";
    let places = serde_json::json!(places).to_string();
    let arguments = arguments![
        by,
        key.project.as_str(),
        key.pipeline.as_str(),
        run_id,
        places
    ];
    let marked = session.execute(sql, arguments, "marking rows as reverted");
    marked.await.map(drop)
}

/// Runs of which rows are kept, oldest first.
pub(crate) async fn runs(session: &mut Session, key: &PipelineKey) -> Result<Vec<KeptRun>> {
    let sql = "SELECT run_id, count(*), count(reverted_by) FROM _syncset_before_image \
               WHERE project = ? AND pipeline = ? GROUP BY run_id ORDER BY min(place)";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
    let rows = session.rows(sql, arguments, "reading kept rows").await?;
    let run = |row: &SqliteRow| {
        Ok(KeptRun {
            run_id: text(row, 0).ok_or_else(damaged)?,
            rows: u64::try_from(integer(row, 1)).unwrap_or(0),
            reverted: u64::try_from(integer(row, 2)).unwrap_or(0),
        })
    };
    rows.iter().map(run).collect()
}

/// Rows of one run behind a place.
pub(crate) async fn rows(
    session: &mut Session,
    key: &PipelineKey,
    (run_id, after): (&str, u64),
    limit: u32,
) -> Result<Vec<KeptRow>> {
    let sql = "SELECT place, stream, target, key, before, after, reverted_by \
               FROM _syncset_before_image WHERE project = ? AND pipeline = ? AND run_id = ? \
               AND place > ? ORDER BY place LIMIT ?";
    let arguments = arguments![
        key.project.as_str(),
        key.pipeline.as_str(),
        run_id,
        i64::try_from(after).unwrap_or(i64::MAX),
        i64::from(limit),
    ];
    let rows = session.rows(sql, arguments, "reading kept rows").await?;
    let image = |row: &SqliteRow, index| match cell(row, index) {
        Cell::Null => Ok(None),
        _ => serde_json::from_value::<RowImage>(json(row, index)?)
            .map(Some)
            .map_err(|_| damaged()),
    };
    let kept = rows.iter().map(|row| {
        Ok(KeptRow {
            place: u64::try_from(integer(row, 0)).unwrap_or(0),
            stream: text(row, 1).ok_or_else(damaged)?,
            target: TableName::bare(text(row, 2).ok_or_else(damaged)?),
            key: json(row, 3)?,
            before: image(row, 4)?,
            after: image(row, 5)?,
            reverted_by: text(row, 6),
        })
    });
    kept.collect()
}
