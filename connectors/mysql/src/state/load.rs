//! Reads what is stored of a pipeline: one message, and one snapshot of all tables.

use super::fence::unanswered;
use super::lease::{alive, left_ms, server};
use super::made::BEARS_MARK;
use super::runs::last_success;
use super::schema::{check_not_newer, is_missing, missing_rights};
use super::text::{key_is, seconds, table_name};
use crate::connect::{MysqlStore, TextRow};
use crate::error::unexpected;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;
use syncset_connector::{
    ChunkState, ConnectorError, ErrorClass, KeyBound, KeyRange, MadeTable, Ownership, PipelineKey,
    PipelineState, Position, RejectedRow, Result, RunRecord, StreamPhase, StreamState,
};

/// Everything that is stored of a pipeline; empty if the tables are not there.
pub(super) async fn load(
    store: &MysqlStore,
    key: &PipelineKey,
    run_count: u32,
) -> Result<PipelineState> {
    let sql = statements(key, run_count, &server(store));
    let mut session = store.control().await?;
    match session.result_sets(&sql).await {
        Ok(sets) => decode(&sets, run_count),
        Err(error) => {
            // The first error is the one to report; a broken session rolls back by itself.
            let _ = session.execute("ROLLBACK").await;
            match error.class {
                _ if is_missing(&error) => Ok(PipelineState::default()),
                ErrorClass::Privilege => Err(missing_rights(store, error)),
                _ => Err(error),
            }
        }
    }
}

fn statements(key: &PipelineKey, run_count: u32, server: &str) -> String {
    let here = key_is("x.", key);
    // The catalogue is asked only for tables whose DDL was begun and not recorded.
    let made = format!(
        "CASE WHEN x.planned IS NOT NULL AND EXISTS (SELECT 1 FROM information_schema.TABLES t \
         WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME = x.target_table AND {BEARS_MARK}) \
         THEN x.planned ELSE x.made END"
    );
    let questions = [
        "SELECT version FROM _syncset_meta".to_owned(),
        format!(
            "SELECT x.stream, x.phase, x.position, x.version, x.selection, x.selection_text, \
             x.target_schema, x.target_table, x.into_empty, {} FROM _syncset_watermark x \
             WHERE {here} ORDER BY x.stream",
            seconds("x.updated_at")
        ),
        format!(
            "SELECT x.stream, x.number, x.after_key, x.up_to_key, x.done, x.row_count \
             FROM _syncset_chunk x WHERE {here} ORDER BY x.stream, x.number"
        ),
        format!(
            "SELECT x.run_id, {}, {}, x.exit_code, x.report FROM _syncset_run x WHERE {here} \
             ORDER BY x.started_at DESC, x.run_id DESC LIMIT {run_count}",
            seconds("x.started_at"),
            seconds("x.finished_at")
        ),
        format!(
            "SELECT x.stream, x.key_values, x.reason, x.code, x.row_image, {}, x.attempts \
             FROM _syncset_rejected x WHERE {here} ORDER BY x.stream, x.key_values",
            seconds("x.first_rejected_at")
        ),
        "SELECT x.target_schema, x.target_table, x.project, x.pipeline \
         FROM _syncset_watermark x ORDER BY 1, 2"
            .to_owned(),
        // An owner whose sessions are gone has nothing any more: the next run takes it at once.
        format!(
            "SELECT x.owner, {} FROM _syncset_lease x WHERE {here} AND x.owner IS NOT NULL \
             AND (x.server <> {server} OR {})",
            left_ms("x"),
            alive("x", "")
        ),
        format!(
            "SELECT {} {}",
            seconds("x.finished_at"),
            last_success("x", key)
        ),
        format!(
            "SELECT x.target_schema, x.target_table, {made} FROM _syncset_made x \
             WHERE {here} AND {made} IS NOT NULL ORDER BY 1, 2"
        ),
        format!(
            "SELECT x.target_schema, x.target_table, COUNT(*) FROM _syncset_pending_delete x \
             WHERE {here} GROUP BY 1, 2"
        ),
    ];
    format!(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;\n\
         START TRANSACTION WITH CONSISTENT SNAPSHOT;\n{};\nCOMMIT",
        questions.join(";\n")
    )
}

fn decode(sets: &[Vec<TextRow>], run_count: u32) -> Result<PipelineState> {
    let set = |number: usize| sets.get(number).map_or(&[][..], Vec::as_slice);
    // A migration that was cut short has not stored its version yet.
    let Some(version) = set(0).first() else {
        return Ok(PipelineState::default());
    };
    check_not_newer(version.parse(0)?)?;
    let mut chunks: HashMap<String, Vec<ChunkState>> = HashMap::new();
    for row in set(2) {
        chunks
            .entry(row.required(0)?.to_owned())
            .or_default()
            .push(chunk_state(row)?);
    }
    let mut streams = Vec::with_capacity(set(1).len());
    for row in set(1) {
        let chunks = chunks.remove(row.required(0)?).unwrap_or_default();
        streams.push(stream_state(row, chunks)?);
    }
    let last_success = set(7).first().filter(|_| run_count > 0);
    Ok(PipelineState {
        streams,
        runs: all(set(3), run_record)?,
        last_success: last_success.map(|row| row.parse(0)).transpose()?,
        rejected: all(set(4), rejected_row)?,
        pending_deletes: all(set(9), |row| Ok((named(row)?, row.parse(2)?)))?,
        owners: all(set(5), |row| {
            Ok(Ownership {
                target: named(row)?,
                key: PipelineKey {
                    project: row.required(2)?.to_owned(),
                    pipeline: row.required(3)?.to_owned(),
                },
            })
        })?,
        made: all(set(8), |row| {
            let made: MadeTable = read(row.required(2)?, "_syncset_made")?;
            Ok(MadeTable {
                target: named(row)?,
                ..made
            })
        })?,
        holder: set(6).first().map(holder).transpose()?,
    })
}

fn all<T>(rows: &[TextRow], read: impl Fn(&TextRow) -> Result<T>) -> Result<Vec<T>> {
    rows.iter().map(read).collect()
}

fn holder(row: &TextRow) -> Result<(String, Duration)> {
    Ok((
        row.required(0)?.to_owned(),
        Duration::from_millis(row.parse(1)?),
    ))
}

fn named(row: &TextRow) -> Result<syncset_connector::TableName> {
    Ok(table_name(
        row.required(0)?.to_owned(),
        row.required(1)?.to_owned(),
    ))
}

fn chunk_state(row: &TextRow) -> Result<ChunkState> {
    let bound = |index: usize| -> Result<Option<KeyBound>> {
        row.text(index)
            .map(|text| read(text, "_syncset_chunk"))
            .transpose()
    };
    Ok(ChunkState {
        index: row.parse(1)?,
        range: KeyRange {
            after: bound(2)?,
            up_to: bound(3)?,
        },
        done: row.text(4) == Some("1"),
        row_count: row.parse(5)?,
    })
}

fn stream_state(row: &TextRow, chunks: Vec<ChunkState>) -> Result<StreamState> {
    let all_done = chunks.iter().all(|chunk| chunk.done);
    let phase = match row.required(1)? {
        "loading" if all_done => StreamPhase::Settling,
        "loading" => StreamPhase::Loading,
        "following" => StreamPhase::Following,
        _ => return Err(unanswered("with a phase that is known")),
    };
    Ok(StreamState {
        stream: row.required(0)?.to_owned(),
        phase,
        position: Position(read(row.required(2)?, "_syncset_watermark")?),
        version: row.parse(3)?,
        selection: row.required(4)?.to_owned(),
        selection_text: row.text(5).map(str::to_owned),
        target: table_name(row.required(6)?.to_owned(), row.required(7)?.to_owned()),
        into_empty: row.text(8) == Some("1"),
        chunks,
        updated_at: row.parse(9)?,
    })
}

fn run_record(row: &TextRow) -> Result<RunRecord> {
    Ok(RunRecord {
        run_id: row.required(0)?.to_owned(),
        started_at: row.parse(1)?,
        finished_at: row.text(2).map(|_| row.parse(2)).transpose()?,
        exit_code: row.text(3).map(|_| row.parse(3)).transpose()?,
        report: read(row.required(4)?, "_syncset_run")?,
    })
}

fn rejected_row(row: &TextRow) -> Result<RejectedRow> {
    Ok(RejectedRow {
        stream: row.required(0)?.to_owned(),
        key: read(row.required(1)?, "_syncset_rejected")?,
        reason: row.required(2)?.to_owned(),
        code: row.text(3).map(str::to_owned),
        row: read(row.required(4)?, "_syncset_rejected")?,
        first_at: Some(row.parse(5)?),
        attempts: row.parse(6)?,
    })
}

fn read<T: DeserializeOwned>(text: &str, table: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|cause| unreadable(table, &cause))
}

/// The cause names a place in the text, never a part of it.
fn unreadable(table: &str, cause: &serde_json::Error) -> ConnectorError {
    let mut error = unexpected(format!("table `{table}` holds what cannot be read"));
    error.hint = Some(
        "restore the tables `_syncset_*` from a backup, or `syncset pipeline reset` to load again"
            .to_owned(),
    );
    error.with_code(format!("{}:{}", cause.line(), cause.column()))
}
