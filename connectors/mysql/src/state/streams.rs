//! What the runner changes of the state between units: loads begin, idle watermarks move, streams
//! are forgotten.
//!
//! Each is a transaction of its own under the fence.

use super::fence::{fenced, forget_statements, lock_fence, replaced, unanswered};
use super::schema::is_missing;
use super::text::{NOW, json, key_is, key_values, seconds, stream_is, target_columns, target_is};
use crate::connect::{MysqlStore, Session, TextRow};
use crate::error;
use crate::sql::text;
use serde_json::Value;
use syncset_connector::{
    ChunkState, ConnectorError, ErrorClass, KeyBound, KeyRange, Lease, LoadPlan, PipelineKey,
    Position, Result, Retelling, StreamPhase, StreamState,
};
use tokio::sync::MutexGuard;

/// Chunks of one INSERT.
const CHUNKS_PER_INSERT: usize = 500;

/// Stores low watermarks and chunks, and claims the target tables.
pub(super) async fn begin_load(
    store: &MysqlStore,
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

    let sets = match of_control(store, &[lease], &body).await {
        Ok(sets) => sets,
        Err(error) if error::number(&error) == Some(1062) => {
            return Err(owned_elsewhere(store, &lease.key, loads, error).await);
        }
        Err(error) => return Err(error),
    };
    let claimed: Vec<&TextRow> = sets.iter().flatten().collect();
    loads
        .iter()
        .map(|load| {
            let row = claimed
                .iter()
                .find(|row| row.text(0) == Some(load.stream.as_str()))
                .ok_or_else(|| unanswered("that a load has begun"))?;
            Ok(state_of(load, row.parse(1)?, row.parse(2)?))
        })
        .collect()
}

/// Moves the watermarks of streams in which nothing changed.
pub(super) async fn move_idle(
    store: &MysqlStore,
    lease: &Lease,
    moves: &[(String, u64, Position)],
) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let mut body = String::new();
    for (stream, version, position) in moves {
        body.push_str(&format!(
            "UPDATE _syncset_watermark SET position = {}, version = version + 1, \
             updated_at = {NOW} WHERE {} AND version = {version};\nSELECT ROW_COUNT();\n",
            json(&position.0),
            stream_is("", &lease.key, stream)
        ));
    }
    let mut session = locked_control(store, &[lease]).await?;
    let moved = run(&mut session, &body).await.and_then(|sets| {
        let mut answers = sets.iter().flatten();
        if answers.all(|row| row.text(0) == Some("1")) {
            Ok(())
        } else {
            Err(replaced(
                "the watermark of a table was moved by another run".to_owned(),
            ))
        }
    });
    end(&mut session, moved).await
}

/// Stores other selections of streams whose rows are right under them.
pub(super) async fn retell(
    store: &MysqlStore,
    lease: &Lease,
    retellings: &[Retelling],
) -> Result<()> {
    let statement = |it: &Retelling| {
        format!(
            "UPDATE _syncset_watermark SET selection = {}, selection_text = {} \
             WHERE {} AND selection = {};\n",
            text(&it.selection),
            text(&it.selection_text),
            stream_is("", &lease.key, &it.stream),
            text(&it.from),
        )
    };
    let body: String = retellings.iter().map(statement).collect();
    of_control(store, &[lease], &body).await.map(drop)
}

/// Forgets the watermarks of streams, all of them if none is named, and returns those that were
/// there. Their target tables stay claimed: rows that are in them are ours.
pub(super) async fn reset(
    store: &MysqlStore,
    lease: &Lease,
    streams: &[String],
) -> Result<Vec<String>> {
    let mut row = key_is("", &lease.key);
    let mut pending = pending_of(&lease.key);
    if !streams.is_empty() {
        let names: Vec<_> = streams.iter().map(|stream| text(stream)).collect();
        let named = format!("stream IN ({})", names.join(", "));
        row.push_str(&format!(" AND {named}"));
        pending.push_str(&format!(" AND w.{named}"));
    }
    let body = format!(
        "SELECT stream FROM _syncset_watermark WHERE {row} ORDER BY stream FOR UPDATE;\n\
         DELETE FROM _syncset_chunk WHERE {row};\n\
         DELETE FROM _syncset_rejected WHERE {row};\n\
         DELETE FROM _syncset_search WHERE {row};\n\
         DELETE p FROM _syncset_pending_delete p JOIN _syncset_watermark w ON {pending};\n\
         UPDATE _syncset_watermark SET selection = '', phase = 'loading', position = 'null', \
         into_empty = 0, version = version + 1, updated_at = {NOW} WHERE {row};\n"
    );
    let sets = of_control(store, &[lease], &body).await?;
    let rows = sets.iter().flatten();
    rows.map(|row| row.required(0).map(str::to_owned)).collect()
}

/// Forgets refused rows by stream and key.
pub(super) async fn forget_rejected(
    store: &MysqlStore,
    lease: &Lease,
    rows: &[(String, Value)],
) -> Result<()> {
    let forget = |(stream, key): &(String, Value)| {
        forget_statements(&lease.key, stream, std::slice::from_ref(key))
    };
    let body: String = rows.iter().map(forget).collect();
    of_control(store, &[lease], &body).await.map(drop)
}

/// Runs statements in a transaction of the control session under these fences; all their result
/// sets.
///
/// # Errors
/// `Fenced` if an epoch is no longer ours.
pub(super) async fn of_control(
    store: &MysqlStore,
    leases: &[&Lease],
    body: &str,
) -> Result<Vec<Vec<TextRow>>> {
    let mut session = locked_control(store, leases).await?;
    finish(&mut session, body).await
}

/// The same in a session of a unit.
///
/// # Errors
/// `Fenced` if an epoch is no longer ours.
pub(crate) async fn under_fences(
    session: &mut Session,
    leases: &[&Lease],
    body: &str,
) -> Result<Vec<Vec<TextRow>>> {
    lock(session, leases).await?;
    finish(session, body).await
}

/// The control session within a transaction that holds the fences. A link that was lost since it
/// was used is made again once: nothing was sent through it yet. That is how a run whose sessions
/// were ended by its successor learns that it was succeeded.
async fn locked_control<'a>(
    store: &'a MysqlStore,
    leases: &[&Lease],
) -> Result<MutexGuard<'a, Session>> {
    let mut session = store.control().await?;
    match lock(&mut session, leases).await {
        Ok(()) => return Ok(session),
        Err(error) if error.class == ErrorClass::Connection => drop(session),
        Err(error) => return Err(error),
    }
    let mut session = store.control().await?;
    lock(&mut session, leases).await?;
    Ok(session)
}

/// Begins a transaction and locks the fences.
async fn lock(session: &mut Session, leases: &[&Lease]) -> Result<()> {
    let locked = try_lock(session, leases).await;
    if locked.is_err() {
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
    }
    locked
}

async fn try_lock(session: &mut Session, leases: &[&Lease]) -> Result<()> {
    let mut locks = String::from("START TRANSACTION");
    for lease in leases {
        locks.push_str(&format!(";\n{}", lock_fence(lease)));
    }
    let first = leases.first().copied();
    let locked = session.result_sets(&locks).await.map_err(|error| {
        match first.filter(|_| is_missing(&error)) {
            Some(lease) => fenced(lease).caused_by(error),
            None => error,
        }
    })?;
    for (place, lease) in leases.iter().enumerate() {
        if locked.get(place).is_none_or(Vec::is_empty) {
            return Err(fenced(lease));
        }
    }
    Ok(())
}

async fn run(session: &mut Session, body: &str) -> Result<Vec<Vec<TextRow>>> {
    match body.trim_end_matches([';', '\n']) {
        "" => Ok(Vec::new()),
        body => session.result_sets(body).await,
    }
}

/// Runs statements and ends the transaction.
async fn finish(session: &mut Session, body: &str) -> Result<Vec<Vec<TextRow>>> {
    match run(session, body).await {
        Ok(sets) => {
            end(session, Ok(())).await?;
            Ok(sets)
        }
        Err(error) => {
            end(session, Err(error)).await?;
            Ok(Vec::new())
        }
    }
}

/// Commits, or rolls back what failed.
async fn end(session: &mut Session, outcome: Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => session.execute("COMMIT").await.map(drop),
        Err(error) => {
            // The first error is the one to report; a broken session rolls back by itself.
            let _ = session.execute("ROLLBACK").await;
            Err(error)
        }
    }
}

/// Forgets what a former load of the stream left, the target table that it wrote before, and other
/// streams of this pipeline that wrote the same target: the config maps it to this one.
fn let_go(key: &PipelineKey, load: &LoadPlan) -> String {
    let row = stream_is("", key, &load.stream);
    let others = format!(
        "{} AND w.stream <> {} AND {}",
        key_is("w.", key),
        text(&load.stream),
        target_is("w.", &load.target),
    );
    let mut statements = String::new();
    if let Some(left) = &load.leaves {
        statements.push_str(&format!(
            "DELETE FROM _syncset_made WHERE {} AND {};\n",
            key_is("", key),
            target_is("", left)
        ));
    }
    for table in ["_syncset_chunk", "_syncset_rejected"] {
        statements.push_str(&format!(
            "DELETE FROM {table} WHERE {row};\n\
             DELETE x FROM {table} x JOIN _syncset_watermark w ON {others} \
             AND x.project = w.project AND x.pipeline = w.pipeline AND x.stream = w.stream;\n"
        ));
    }
    statements.push_str(&format!(
        "DELETE p FROM _syncset_pending_delete p WHERE {} AND {};\n\
         DELETE p FROM _syncset_pending_delete p JOIN _syncset_watermark w ON {} \
         AND w.stream = {};\n\
         DELETE w FROM _syncset_watermark w WHERE {others};\n",
        key_is("p.", key),
        target_is("p.", &load.target),
        pending_of(key),
        text(&load.stream),
    ));
    statements
}

/// True for the pending deletes `p` of the target table of a stored stream `w`.
fn pending_of(key: &PipelineKey) -> String {
    format!(
        "{} AND {} AND p.target_schema = w.target_schema AND p.target_table = w.target_table",
        key_is("p.", key),
        key_is("w.", key)
    )
}

/// Stores the low watermark, which claims the target, and the chunks.
///
/// A target of another pipeline must be an error, and a further unique key would make ON DUPLICATE
/// KEY UPDATE take that pipeline's row: so it is an UPDATE, then an INSERT of what is not there.
fn claim(key: &PipelineKey, load: &LoadPlan) -> String {
    let values = key_values(key);
    let stream = text(&load.stream);
    let (schema, table) = target_columns(&load.target);
    let row = stream_is("", key, &load.stream);
    let fields = format!(
        "target_schema = {}, target_table = {}, phase = 'loading', position = {}, \
         selection = {}, selection_text = {}, into_empty = {}, updated_at = {NOW}",
        text(schema),
        text(table),
        json(&load.low.0),
        text(&load.selection),
        text(&load.selection_text),
        u8::from(load.into_empty),
    );
    let mut statements = format!(
        "UPDATE _syncset_watermark SET version = version + 1, {fields} WHERE {row};\n\
         INSERT INTO _syncset_watermark (project, pipeline, stream, target_schema, target_table, \
         phase, position, version, selection, selection_text, into_empty, updated_at) \
         SELECT {values}, {stream}, {}, {}, 'loading', {}, 1, {}, {}, {}, {NOW} FROM DUAL \
         WHERE NOT EXISTS (SELECT 1 FROM _syncset_watermark w WHERE {});\n",
        text(schema),
        text(table),
        json(&load.low.0),
        text(&load.selection),
        text(&load.selection_text),
        u8::from(load.into_empty),
        stream_is("w.", key, &load.stream),
    );
    let ranges = KeyRange::between(&load.boundaries);
    let numbered: Vec<_> = ranges.iter().enumerate().collect();
    for ranges in numbered.chunks(CHUNKS_PER_INSERT) {
        let rows: Vec<_> = ranges
            .iter()
            .map(|(number, range)| {
                let (after, up_to) = (bound(range.after.as_ref()), bound(range.up_to.as_ref()));
                format!("({values}, {stream}, {number}, {after}, {up_to})")
            })
            .collect();
        statements.push_str(&format!(
            "INSERT INTO _syncset_chunk (project, pipeline, stream, number, after_key, up_to_key) \
             VALUES {};\n",
            rows.join(",\n")
        ));
    }
    statements.push_str(&format!(
        "SELECT stream, version, {} FROM _syncset_watermark WHERE {row};\n",
        seconds("updated_at")
    ));
    statements
}

fn bound(bound: Option<&KeyBound>) -> String {
    bound.map_or("NULL".to_owned(), |bound| {
        json(&Value::Array(
            bound.0.iter().cloned().map(Value::String).collect(),
        ))
    })
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

/// Names the pipeline that has the table.
async fn owned_elsewhere(
    store: &MysqlStore,
    key: &PipelineKey,
    loads: &[LoadPlan],
    cause: ConnectorError,
) -> ConnectorError {
    let targets: Vec<_> = loads
        .iter()
        .map(|load| format!("({})", target_is("", &load.target)))
        .collect();
    let sql = format!(
        "SELECT CONCAT_WS('.', NULLIF(target_schema, ''), target_table), \
             CONCAT(project, '/', pipeline) FROM _syncset_watermark \
             WHERE ({}) AND NOT ({}) LIMIT 1",
        targets.join(" OR "),
        key_is("", key)
    );
    let owner = match store.control().await {
        Ok(mut session) => session.rows(&sql).await,
        Err(error) => Err(error),
    };
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
