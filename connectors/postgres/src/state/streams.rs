//! What the runner changes of the state between units: loads begin, idle watermarks move, streams
//! are forgotten.
//!
//! Each is one message with a transaction of its own, under the fence.

use super::fence::{exactly, fenced, forget_statements, lock_fence, replaced_if_lost};
use super::load::target_columns;
use super::schema::is_missing;
use super::text::{json_literal, key_is, key_values, literal};
use crate::connect::{PgStore, Session, TextRow};
use serde_json::Value;
use syncset_connector::{
    ChunkState, ConnectorError, ErrorClass, KeyBound, KeyRange, Lease, LoadPlan, PipelineKey,
    Position, Result, Retelling, StreamPhase, StreamState,
};

/// Stores low watermarks and chunks, and claims the target tables.
pub(super) async fn begin_load(
    store: &PgStore,
    lease: &Lease,
    loads: &[LoadPlan],
) -> Result<Vec<StreamState>> {
    // In one order for everybody, so that two pipelines that claim the same tables do not wait
    // for each other in a circle.
    let mut ordered: Vec<_> = loads.iter().collect();
    ordered.sort_by(|left, right| left.target.cmp(&right.target));
    // All that belongs to the tables is let go before the first is claimed: two streams may have
    // swapped their targets.
    let mut body: String = ordered
        .iter()
        .map(|load| let_go(&lease.key, load))
        .collect();
    body.extend(ordered.iter().map(|load| claim(&lease.key, load)));

    let mut session = store.control().await?;
    let sets = match under_fence(&mut session, lease, &body).await {
        Ok(sets) => sets,
        Err(error) if is_claim_conflict(&error) => {
            return Err(owned_elsewhere(&mut session, &lease.key, loads, error).await);
        }
        Err(error) => return Err(error),
    };
    let claimed: Vec<&TextRow> = sets
        .iter()
        .flatten()
        .filter(|row| row.0.len() == 3)
        .collect();
    loads
        .iter()
        .map(|load| {
            let row = claimed
                .iter()
                .find(|row| row.text(0) == Some(load.stream.as_str()))
                .ok_or_else(|| {
                    crate::error::unexpected(format!(
                        "the server did not confirm the load of `{}`",
                        load.stream
                    ))
                })?;
            Ok(state_of(load, row.parse(1)?, row.parse(2)?))
        })
        .collect()
}

/// Moves the watermarks of streams in which nothing changed.
pub(super) async fn move_idle(
    store: &PgStore,
    lease: &Lease,
    moves: &[(String, u64, Position)],
) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let values: Vec<_> = moves
        .iter()
        .map(|(stream, version, position)| {
            format!(
                "({}, {version}::int8, {})",
                literal(stream),
                json_literal(&position.0)
            )
        })
        .collect();
    let change = format!(
        "UPDATE _syncset.watermark w SET position = m.position, version = w.version + 1, \
         updated_at = clock_timestamp() FROM (VALUES {}) AS m (stream, version, position) \
         WHERE {} AND w.stream = m.stream AND w.version = m.version",
        values.join(", "),
        key_is("w.", &lease.key)
    );
    let body = format!("{};\n", exactly(moves.len(), &change));
    let mut session = store.control().await?;
    under_fence(&mut session, lease, &body).await.map(drop)
}

/// Stores other selections of streams whose rows are right under them.
pub(super) async fn retell(store: &PgStore, lease: &Lease, retellings: &[Retelling]) -> Result<()> {
    let statement = |it: &Retelling| {
        format!(
            "UPDATE _syncset.watermark SET selection = {}, selection_text = {} \
             WHERE {} AND stream = {} AND selection = {};\n",
            literal(&it.selection),
            json_literal(&Value::String(it.selection_text.clone())),
            key_is("", &lease.key),
            literal(&it.stream),
            literal(&it.from),
        )
    };
    let body: String = retellings.iter().map(statement).collect();
    let mut session = store.control().await?;
    under_fence(&mut session, lease, &body).await.map(drop)
}

/// Forgets the watermarks of streams, all of them if none is named, and returns those that were
/// there. Their target tables stay claimed: rows that are in them are ours.
pub(super) async fn reset(
    store: &PgStore,
    lease: &Lease,
    streams: &[String],
) -> Result<Vec<String>> {
    let mut row = key_is("", &lease.key);
    let mut pending = pending_of(&lease.key);
    if !streams.is_empty() {
        let names: Vec<_> = streams.iter().map(|stream| literal(stream)).collect();
        let named = format!("stream IN ({})", names.join(", "));
        row.push_str(&format!(" AND {named}"));
        pending.push_str(&format!(" AND w.{named}"));
    }
    let body = format!(
        "DELETE FROM _syncset.chunk WHERE {row};\n\
         DELETE FROM _syncset.rejected WHERE {row};\n\
         DELETE FROM _syncset.search WHERE {row};\n\
         DELETE FROM _syncset.pending_delete p USING _syncset.watermark w WHERE {pending};\n\
         UPDATE _syncset.watermark SET selection = '', phase = 'loading', position = 'null', \
         into_empty = false, version = version + 1, updated_at = clock_timestamp() \
         WHERE {row} RETURNING stream, 'forgotten';\n"
    );
    let mut session = store.control().await?;
    let sets = under_fence(&mut session, lease, &body).await?;
    let mut forgotten = Vec::new();
    for row in sets.iter().flatten().filter(|row| row.0.len() == 2) {
        forgotten.push(row.required(0)?.to_owned());
    }
    forgotten.sort();
    Ok(forgotten)
}

/// Forgets streams with their claims.
pub(super) async fn forget(store: &PgStore, lease: &Lease, streams: &[String]) -> Result<()> {
    let names: Vec<_> = streams.iter().map(|stream| literal(stream)).collect();
    let named = format!("stream IN ({})", names.join(", "));
    let row = format!("{} AND {named}", key_is("", &lease.key));
    let body = format!(
        "DELETE FROM _syncset.chunk WHERE {row};\n\
         DELETE FROM _syncset.rejected WHERE {row};\n\
         DELETE FROM _syncset.search WHERE {row};\n\
         DELETE FROM _syncset.pending_delete p USING _syncset.watermark w WHERE {} AND w.{named};\n\
         DELETE FROM _syncset.made p USING _syncset.watermark w WHERE {} AND w.{named};\n\
         DELETE FROM _syncset.watermark WHERE {row};\n",
        pending_of(&lease.key),
        pending_of(&lease.key),
    );
    let mut session = store.control().await?;
    under_fence(&mut session, lease, &body).await.map(drop)
}

/// Forgets refused rows by stream and key.
pub(super) async fn forget_rejected(
    store: &PgStore,
    lease: &Lease,
    rows: &[(String, Value)],
) -> Result<()> {
    let forget = |(stream, key): &(String, Value)| {
        forget_statements(&lease.key, stream, std::slice::from_ref(key))
    };
    let body: String = rows.iter().map(forget).collect();
    let mut session = store.control().await?;
    under_fence(&mut session, lease, &body).await.map(drop)
}

/// A statement that fails unless the lease is ours, and locks its fence.
pub(super) fn must_be_ours(lease: &Lease) -> String {
    format!(
        "WITH fence AS ({}) {};\n",
        lock_fence(lease),
        must_hold("SELECT count(*) FROM fence")
    )
}

/// Runs statements in a transaction under the fence; all their result sets.
pub(super) async fn under_fence(
    session: &mut Session,
    lease: &Lease,
    body: &str,
) -> Result<Vec<Vec<TextRow>>> {
    let locked = must_be_ours(lease);
    let outcome = session
        .result_sets(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;\n{locked}{body}COMMIT"
        ))
        .await;
    let error = match outcome {
        Ok(sets) => return Ok(sets),
        Err(error) => error,
    };
    // The first error is the one to report; a broken session rolls back by itself.
    let _ = session.execute("ROLLBACK").await;
    if is_missing(&error) || error.message.contains(FENCE_LOST) {
        return Err(fenced(lease).caused_by(error));
    }
    Err(replaced_if_lost(error))
}

/// A setting that nobody has, as in [`super::fence`].
const FENCE_LOST: &str = "syncset.the_fence_was_lost";

fn must_hold(count: &str) -> String {
    format!("SELECT CASE WHEN ({count}) = 1 THEN '' ELSE current_setting('{FENCE_LOST}') END")
}

/// Forgets what a former load of the stream left, the target table that it wrote before, and other
/// streams of this pipeline that wrote the same target: the config maps it to this one.
fn let_go(key: &PipelineKey, load: &LoadPlan) -> String {
    let row = key_is("", key);
    let stream = literal(&load.stream);
    let (schema, table) = target_columns(&load.target);
    let (schema, table) = (literal(schema), literal(table));
    let others = format!(
        "SELECT w.stream FROM _syncset.watermark w WHERE {} AND w.stream <> {stream} \
         AND w.target_schema = {schema} AND w.target_table = {table}",
        key_is("w.", key),
    );
    let left = load.leaves.as_ref().map_or_else(String::new, |left| {
        let (schema, table) = target_columns(left);
        format!(
            "DELETE FROM _syncset.made WHERE {row} AND target_schema = {} AND target_table = {};\n",
            literal(schema),
            literal(table)
        )
    });
    ["chunk", "rejected"]
        .map(|name| {
            format!(
                "DELETE FROM _syncset.{name} WHERE {row} AND (stream = {stream} OR stream IN ({others}));\n"
            )
        })
        .concat()
        + &left
        + &format!(
            "DELETE FROM _syncset.pending_delete p WHERE {} AND p.target_schema = {schema} \
             AND p.target_table = {table};\n\
             DELETE FROM _syncset.pending_delete p USING _syncset.watermark w \
             WHERE {} AND w.stream = {stream};\n\
             DELETE FROM _syncset.watermark WHERE {row} AND stream IN ({others});\n",
            key_is("p.", key),
            pending_of(key),
        )
}

/// True for what `p` stores of the target table of a stored stream `w`.
fn pending_of(key: &PipelineKey) -> String {
    format!(
        "{} AND {} AND p.target_schema = w.target_schema AND p.target_table = w.target_table",
        key_is("p.", key),
        key_is("w.", key)
    )
}

/// Stores the low watermark, which claims the target, and the chunks.
fn claim(key: &PipelineKey, load: &LoadPlan) -> String {
    let values = key_values(key);
    let stream = literal(&load.stream);
    let (schema, table) = target_columns(&load.target);
    let bound = |bound: &Option<KeyBound>| {
        bound.as_ref().map_or("NULL".to_owned(), |bound| {
            let parts = bound.0.iter().cloned().map(Value::String).collect();
            json_literal(&Value::Array(parts))
        })
    };
    let chunks: Vec<_> = KeyRange::between(&load.boundaries)
        .iter()
        .enumerate()
        .map(|(index, range)| {
            format!(
                "({values}, {stream}, {index}, {}, {})",
                bound(&range.after),
                bound(&range.up_to)
            )
        })
        .collect();
    format!(
        "INSERT INTO _syncset.watermark (project, pipeline, stream, target_schema, target_table, \
         phase, position, version, selection, selection_text, into_empty) \
         VALUES ({values}, {stream}, {schema}, {table}, 'loading', {low}, 1, {selection}, \
         {selection_text}, {into_empty}) \
         ON CONFLICT (project, pipeline, stream) DO UPDATE SET \
         target_schema = excluded.target_schema, target_table = excluded.target_table, \
         phase = excluded.phase, position = excluded.position, version = watermark.version + 1, \
         selection = excluded.selection, selection_text = excluded.selection_text, \
         into_empty = excluded.into_empty, \
         updated_at = clock_timestamp() \
         RETURNING stream, version, floor(extract(epoch FROM updated_at))::int8;\n\
         INSERT INTO _syncset.chunk (project, pipeline, stream, index, after, up_to) VALUES {chunks};\n",
        schema = literal(schema),
        table = literal(table),
        low = json_literal(&load.low.0),
        selection = literal(&load.selection),
        selection_text = json_literal(&Value::String(load.selection_text.clone())),
        into_empty = load.into_empty,
        chunks = chunks.join(",\n"),
    )
}

fn state_of(load: &LoadPlan, version: u64, updated_at: i64) -> StreamState {
    StreamState {
        stream: load.stream.clone(),
        phase: StreamPhase::Loading,
        position: load.low.clone(),
        version,
        selection: load.selection.clone(),
        selection_text: Some(load.selection_text.clone()),
        target: load.target.clone(),
        into_empty: load.into_empty,
        chunks: (0..)
            .zip(KeyRange::between(&load.boundaries))
            .map(|(index, range)| ChunkState {
                index,
                range,
                done: false,
                row_count: 0,
            })
            .collect(),
        updated_at,
    }
}

/// True if the error says that another pipeline has a claimed table.
fn is_claim_conflict(error: &ConnectorError) -> bool {
    error.code.as_deref() == Some("23505") && error.message.contains("watermark_target")
}

/// Names the pipeline that has the table.
async fn owned_elsewhere(
    session: &mut Session,
    key: &PipelineKey,
    loads: &[LoadPlan],
    cause: ConnectorError,
) -> ConnectorError {
    let targets: Vec<_> = loads
        .iter()
        .map(|load| {
            let (schema, table) = target_columns(&load.target);
            format!("({}, {})", literal(schema), literal(table))
        })
        .collect();
    let owner = session
        .rows(&format!(
            "SELECT concat_ws('.', nullif(target_schema, ''), target_table), \
             project || '/' || pipeline FROM _syncset.watermark \
             WHERE (target_schema, target_table) IN ({}) AND NOT ({}) LIMIT 1",
            targets.join(", "),
            key_is("", key)
        ))
        .await;
    let row = owner.ok().and_then(|mut rows| rows.pop());
    let named = row.as_ref().and_then(|row| row.text(0).zip(row.text(1)));
    let (table, owner) = named.unwrap_or(("a target table", "another pipeline"));
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("`{table}` belongs to the pipeline `{owner}`"),
    )
    .with_hint("write to another table with `to:`: two pipelines never write one table")
    .caused_by(cause)
}
