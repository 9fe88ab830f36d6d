//! What a person looks at: runs, and rows that were refused.

use super::rows::{damaged, json, now_seconds};
use crate::cell::{Cell, cell, integer, text};
use crate::connect::{Session, arguments};
use sqlx::sqlite::SqliteRow;
use std::time::Duration;
use syncset_connector::{
    CLOCK_SLACK_SECONDS, PARTIAL_RUNS, PipelineKey, RejectedRow, Result, Retention, RunRecord,
};

/// The newest runs, newest first.
pub(crate) async fn runs(
    session: &mut Session,
    key: &PipelineKey,
    run_count: u32,
) -> Result<Vec<RunRecord>> {
    let sql = "SELECT run_id, started_at, finished_at, exit_code, report FROM _syncset_run \
               WHERE project = ? AND pipeline = ? ORDER BY started_at DESC, rowid DESC LIMIT ?";
    let arguments = arguments![
        key.project.as_str(),
        key.pipeline.as_str(),
        i64::from(run_count)
    ];
    let rows = session.rows(sql, arguments, "reading runs").await?;
    let optional = |row: &SqliteRow, index| match cell(row, index) {
        Cell::Integer(value) => Some(value),
        _ => None,
    };
    let records = rows.iter().map(|row| {
        Ok(RunRecord {
            run_id: text(row, 0).ok_or_else(damaged)?,
            started_at: integer(row, 1),
            finished_at: optional(row, 2),
            exit_code: optional(row, 3).and_then(|code| i32::try_from(code).ok()),
            report: json(row, 4)?,
        })
    });
    records.collect()
}

/// Chooses the last run with exit code 0 of project `?1` and pipeline `?2`. A run of some rows brings
/// nothing up to date; what a wrong clock put after `?3` counts only if there is nothing else.
fn last_success_sql() -> String {
    let whole = PARTIAL_RUNS.map(|sign| format!("AND report NOT LIKE '%{sign}%' "));
    format!(
        "FROM _syncset_run WHERE project = ?1 AND pipeline = ?2 AND exit_code = 0 {}\
         ORDER BY finished_at > ?3, started_at DESC LIMIT 1",
        whole.concat()
    )
}

/// When the last run with exit code 0 ended.
pub(crate) async fn last_success(session: &mut Session, key: &PipelineKey) -> Result<Option<i64>> {
    let sql = format!("SELECT finished_at {}", last_success_sql());
    let latest = now_seconds() + CLOCK_SLACK_SECONDS;
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str(), latest];
    let rows = session.rows(sql, arguments, "reading runs").await?;
    Ok(rows.first().and_then(|row| match cell(row, 0) {
        Cell::Integer(value) => Some(value),
        _ => None,
    }))
}

/// Rows that were refused and wait.
pub(crate) async fn rejected(session: &mut Session, key: &PipelineKey) -> Result<Vec<RejectedRow>> {
    let sql = "SELECT stream, key, reason, code, \"row\", first_at, attempts FROM _syncset_rejected \
               WHERE project = ? AND pipeline = ? ORDER BY stream, key";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
    let rows = session
        .rows(sql, arguments, "reading rejected rows")
        .await?;
    let refused = rows.iter().map(|row| {
        Ok(RejectedRow {
            stream: text(row, 0).ok_or_else(damaged)?,
            key: json(row, 1)?,
            reason: text(row, 2).unwrap_or_default(),
            code: text(row, 3),
            row: json(row, 4)?,
            first_at: Some(integer(row, 5)),
            attempts: u64::try_from(integer(row, 6)).unwrap_or(0),
        })
    });
    refused.collect()
}

/// Stores rows that were refused.
pub(crate) async fn store_rejected(
    session: &mut Session,
    key: &PipelineKey,
    rows: &[RejectedRow],
) -> Result<()> {
    let sql = "INSERT INTO _syncset_rejected (project, pipeline, stream, key, reason, code, \"row\", \
               first_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT (project, pipeline, stream, key) \
               DO UPDATE SET reason = excluded.reason, code = excluded.code, \
               \"row\" = excluded.\"row\", attempts = attempts + 1";
    for (index, row) in rows.iter().enumerate() {
        // A row that is named twice was refused once.
        let is_same = |other: &RejectedRow| other.stream == row.stream && other.key == row.key;
        if rows[index + 1..].iter().any(is_same) {
            continue;
        }
        let arguments = arguments![
            key.project.as_str(),
            key.pipeline.as_str(),
            row.stream.as_str(),
            row.key.to_string(),
            row.reason.as_str(),
            row.code.as_deref(),
            row.row.to_string(),
            now_seconds(),
        ];
        session
            .execute(sql, arguments, "storing rejected rows")
            .await?;
    }
    Ok(())
}

/// Forgets rows that were refused before.
pub(crate) async fn forget_rejected(
    session: &mut Session,
    key: &PipelineKey,
    stream: &str,
    keys: &[serde_json::Value],
) -> Result<()> {
    let sql = "DELETE FROM _syncset_rejected \
               WHERE project = ? AND pipeline = ? AND stream = ? AND key = ?";
    for row in keys {
        let arguments = arguments![
            key.project.as_str(),
            key.pipeline.as_str(),
            stream,
            row.to_string()
        ];
        session
            .execute(sql, arguments, "forgetting rejected rows")
            .await?;
    }
    Ok(())
}

/// Inserts or updates a run.
pub(crate) async fn record_run(
    session: &mut Session,
    key: &PipelineKey,
    run: &RunRecord,
) -> Result<()> {
    let sql = "INSERT INTO _syncset_run (project, pipeline, run_id, started_at, finished_at, \
               exit_code, report) VALUES (?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT (project, pipeline, run_id) DO UPDATE SET started_at = excluded.started_at, \
               finished_at = excluded.finished_at, exit_code = excluded.exit_code, \
               report = excluded.report";
    let arguments = arguments![
        key.project.as_str(),
        key.pipeline.as_str(),
        run.run_id.as_str(),
        run.started_at,
        run.finished_at,
        run.exit_code.map(i64::from),
        run.report.to_string(),
    ];
    session.execute(sql, arguments, "recording the run").await?;
    Ok(())
}

/// Drops what need not be kept when a run was recorded; returns how many refused rows were dropped.
pub(crate) async fn drop_old(
    session: &mut Session,
    key: &PipelineKey,
    run_id: &str,
    keep: &Retention,
) -> Result<u64> {
    let before = |age: Duration| {
        now_seconds().saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    };
    // The run that was just recorded stays, even if its clock was wrong.
    let sql = format!(
        "DELETE FROM _syncset_run WHERE project = ?1 AND pipeline = ?2 AND started_at < ?4 \
         AND run_id <> ?5 AND run_id IS NOT (SELECT run_id {})",
        last_success_sql()
    );
    let (project, pipeline) = (key.project.as_str(), key.pipeline.as_str());
    let latest = now_seconds() + CLOCK_SLACK_SECONDS;
    let arguments = arguments![project, pipeline, latest, before(keep.runs), run_id];
    session.execute(sql, arguments, "dropping old runs").await?;
    let sql =
        "DELETE FROM _syncset_before_image WHERE project = ? AND pipeline = ? AND kept_at < ?";
    let arguments = arguments![project, pipeline, before(keep.before_images)];
    session
        .execute(sql, arguments, "dropping old images of rows")
        .await?;
    let Some(streams) = &keep.streams else {
        return Ok(0);
    };
    let sql = "DELETE FROM _syncset_rejected WHERE project = ?1 AND pipeline = ?2 \
               AND stream NOT IN (SELECT value FROM json_each(?4)) \
               AND stream IN (SELECT stream FROM _syncset_watermark \
               WHERE project = ?1 AND pipeline = ?2 AND updated_at < ?3)";
    let names = serde_json::json!(streams).to_string();
    let arguments = arguments![project, pipeline, before(keep.rejected), names];
    let place = "dropping rejected rows of tables that left the pipeline";
    session.execute(sql, arguments, place).await
}
