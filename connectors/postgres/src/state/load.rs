//! Reads what is stored of a pipeline: one statement, so one snapshot and one round trip.

use super::lease::{alive, left_ms};
use super::runs::last_success;
use super::schema::{check_not_newer, damaged, is_missing, is_privilege, missing_usage};
use super::text::key_is;
use crate::connect::{PgStore, TextRow};
use crate::error::unexpected;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;
use syncset_connector::{
    ChunkState, ConnectorError, KeyBound, KeyRange, MadeTable, Ownership, PipelineKey,
    PipelineState, Position, RejectedRow, Result, RunRecord, StreamPhase, StreamState, TableName,
};

/// Everything that is stored of a pipeline; empty if `_syncset` is not there.
pub(super) async fn load(
    store: &PgStore,
    key: &PipelineKey,
    run_count: u32,
) -> Result<PipelineState> {
    let mut session = store.control().await?;
    let mut answer = session.rows(&statement(key, run_count, PENDING)).await;
    if answer.as_ref().is_err_and(is_missing) {
        // The state of an older version has no such table, and nothing that waits.
        answer = session.rows(&statement(key, run_count, NONE_PENDING)).await;
    }
    match answer {
        Ok(rows) => {
            let row = rows
                .first()
                .ok_or_else(|| unexpected("the server did not answer with the stored state"))?;
            decode(row)
        }
        Err(error) if is_missing(&error) => Ok(PipelineState::default()),
        Err(error) if is_privilege(&error) => Err(missing_usage(store, error)),
        Err(error) => Err(error),
    }
}

/// How a table of ours is named at the target: without a schema it is an empty text.
pub(super) fn target_columns(target: &TableName) -> (&str, &str) {
    (target.schema.as_deref().unwrap_or_default(), &target.name)
}

pub(super) fn table_name(schema: String, name: String) -> TableName {
    TableName {
        schema: (!schema.is_empty()).then_some(schema),
        name,
    }
}

/// Where pending deletes are counted.
const PENDING: &str = "_syncset.pending_delete";

/// The same columns without a row.
const NONE_PENDING: &str = "(SELECT project, pipeline, target_schema, target_table \
     FROM _syncset.watermark WHERE false)";

fn statement(key: &PipelineKey, run_count: u32, pending: &str) -> String {
    let list = |row: &str, from: &str| {
        format!("(SELECT coalesce(json_agg({row}), '[]'::json)::text FROM {from})")
    };
    let here = key_is("x.", key);
    let watermarks = list(
        "json_build_object('stream', x.stream, 'phase', x.phase, 'position', x.position, \
         'version', x.version, 'selection', x.selection, 'selection_text', x.selection_text, \
         'target_schema', x.target_schema, \
         'target_table', x.target_table, 'into_empty', x.into_empty, \
         'updated_at', floor(extract(epoch FROM x.updated_at))::int8) ORDER BY x.stream",
        &format!("_syncset.watermark x WHERE {here}"),
    );
    let chunks = list(
        "json_build_object('stream', x.stream, 'index', x.index, 'after', x.after, \
         'up_to', x.up_to, 'done', x.done, 'row_count', x.row_count) ORDER BY x.stream, x.index",
        &format!("_syncset.chunk x WHERE {here}"),
    );
    let runs = list(
        "json_build_object('run_id', x.run_id, \
         'started_at', floor(extract(epoch FROM x.started_at))::int8, \
         'finished_at', floor(extract(epoch FROM x.finished_at))::int8, \
         'exit_code', x.exit_code, 'report', x.report) ORDER BY x.started_at DESC, x.run_id DESC",
        &format!(
            "(SELECT * FROM _syncset.run x WHERE {here} \
             ORDER BY x.started_at DESC, x.run_id DESC LIMIT {run_count}) x"
        ),
    );
    let rejected = list(
        "json_build_object('stream', x.stream, 'key', x.key, 'reason', x.reason, \
         'code', x.code, 'row', x.row_image, \
         'first_at', floor(extract(epoch FROM x.first_rejected_at))::int8, \
         'attempts', x.attempts) ORDER BY x.stream, x.key::text",
        &format!("_syncset.rejected x WHERE {here}"),
    );
    let owners = list(
        "json_build_array(x.target_schema, x.target_table, x.project, x.pipeline) \
         ORDER BY x.target_schema, x.target_table",
        "_syncset.watermark x",
    );
    // An owner whose sessions are gone has nothing any more: the next run takes it at once.
    let holder = list(
        &format!("json_build_array(x.owner, {})", left_ms("x")),
        &format!(
            "_syncset.lease x WHERE {here} AND x.owner IS NOT NULL \
             AND (NOT x.sessions_tell OR {})",
            alive("x", "")
        ),
    );
    let pending = list(
        "json_build_array(x.target_schema, x.target_table, x.count)",
        &format!(
            "(SELECT x.target_schema, x.target_table, count(*) FROM {pending} x WHERE {here} \
             GROUP BY 1, 2) x"
        ),
    );
    let last_success = match run_count {
        0 => "NULL".to_owned(),
        _ => format!(
            "(SELECT floor(extract(epoch FROM x.finished_at))::int8 {})",
            last_success("x", key)
        ),
    };
    let made = list(
        "json_build_array(x.target_schema, x.target_table, x.made) \
         ORDER BY x.target_schema, x.target_table",
        &format!("_syncset.made x WHERE {here}"),
    );
    format!(
        "SELECT (SELECT version FROM _syncset.meta), {watermarks}, {chunks}, {runs}, {rejected}, \
         {owners}, {holder}, {last_success}, {made}, {pending}"
    )
}

#[derive(Deserialize)]
struct StoredStream {
    stream: String,
    phase: StreamPhase,
    position: Position,
    version: u64,
    selection: String,
    selection_text: Option<String>,
    target_schema: String,
    target_table: String,
    into_empty: bool,
    updated_at: i64,
}

#[derive(Deserialize)]
struct StoredChunk {
    stream: String,
    index: u32,
    after: Option<KeyBound>,
    up_to: Option<KeyBound>,
    done: bool,
    row_count: u64,
}

fn decode(row: &TextRow) -> Result<PipelineState> {
    let version = row.text(0).and_then(|text| text.parse().ok());
    check_not_newer(version.ok_or_else(damaged)?)?;
    let mut chunks: HashMap<String, Vec<ChunkState>> = HashMap::new();
    for chunk in read::<StoredChunk>(row, 2, "chunk")? {
        chunks.entry(chunk.stream).or_default().push(ChunkState {
            index: chunk.index,
            range: KeyRange {
                after: chunk.after,
                up_to: chunk.up_to,
            },
            done: chunk.done,
            row_count: chunk.row_count,
        });
    }
    let streams = read::<StoredStream>(row, 1, "watermark")?
        .into_iter()
        .map(|stored| {
            let chunks = chunks.remove(&stored.stream).unwrap_or_default();
            stream_state(stored, chunks)
        })
        .collect();
    let owners = read::<(String, String, String, String)>(row, 5, "watermark")?
        .into_iter()
        .map(|(schema, name, project, pipeline)| Ownership {
            target: table_name(schema, name),
            key: PipelineKey { project, pipeline },
        })
        .collect();
    let made = read::<(String, String, MadeTable)>(row, 8, "made")?
        .into_iter()
        .map(|(schema, name, made)| MadeTable {
            target: table_name(schema, name),
            ..made
        })
        .collect();
    let holder = read::<(String, u64)>(row, 6, "lease")?
        .pop()
        .map(|(owner, left_ms)| (owner, Duration::from_millis(left_ms)));
    let pending_deletes = read::<(String, String, u64)>(row, 9, "pending_delete")?
        .into_iter()
        .map(|(schema, name, count)| (table_name(schema, name), count))
        .collect();
    Ok(PipelineState {
        streams,
        pending_deletes,
        runs: read::<RunRecord>(row, 3, "run")?,
        last_success: row.text(7).map(|_| row.parse(7)).transpose()?,
        rejected: read::<RejectedRow>(row, 4, "rejected")?,
        owners,
        made,
        holder,
    })
}

fn stream_state(stored: StoredStream, chunks: Vec<ChunkState>) -> StreamState {
    let all_done = chunks.iter().all(|chunk| chunk.done);
    StreamState {
        phase: match stored.phase {
            StreamPhase::Loading if all_done => StreamPhase::Settling,
            phase => phase,
        },
        stream: stored.stream,
        position: stored.position,
        version: stored.version,
        selection: stored.selection,
        selection_text: stored.selection_text,
        target: table_name(stored.target_schema, stored.target_table),
        into_empty: stored.into_empty,
        chunks,
        updated_at: stored.updated_at,
    }
}

fn read<T: DeserializeOwned>(row: &TextRow, index: usize, table: &str) -> Result<Vec<T>> {
    serde_json::from_str(row.required(index)?).map_err(|cause| unreadable(table, cause))
}

/// The cause names a place in the text, never a part of it.
fn unreadable(table: &str, cause: serde_json::Error) -> ConnectorError {
    let mut error = unexpected(format!(
        "table `_syncset.{table}` holds what cannot be read"
    ));
    error.hint = Some(
        "restore the schema `_syncset` from a backup, or `syncset pipeline reset` to load again"
            .to_owned(),
    );
    error.with_code(format!("{}:{}", cause.line(), cause.column()))
}
