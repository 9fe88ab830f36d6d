//! Rows of the state, read and written.

use crate::cell::{integer, text};
use crate::connect::{Session, arguments};
use crate::state::fenced;
use sqlx::sqlite::SqliteRow;
use std::collections::HashMap;
use syncset_connector::{
    ChunkState, ConnectorError, ErrorClass, KeyRange, LoadPlan, Ownership, PipelineKey, Position,
    Result, Retelling, StreamPhase, StreamState, TableName,
};

/// Seconds since the epoch.
pub(crate) fn now_seconds() -> i64 {
    chrono::Utc::now().timestamp()
}

pub(super) fn json(row: &SqliteRow, index: usize) -> Result<serde_json::Value> {
    let parsed = text(row, index).and_then(|text| serde_json::from_str(&text).ok());
    parsed.ok_or_else(damaged)
}

pub(super) fn damaged() -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Store,
        "a row of the `_syncset` tables cannot be read",
    )
    .with_hint("restore the tables, or run `pipeline reset`")
}

fn unsigned(row: &SqliteRow, index: usize) -> u64 {
    u64::try_from(integer(row, index)).unwrap_or(0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn phase_name(phase: StreamPhase) -> &'static str {
    match phase {
        // Settling is derived from the chunks.
        StreamPhase::Loading | StreamPhase::Settling => "loading",
        StreamPhase::Following => "following",
    }
}

/// All streams of a pipeline with their chunks.
pub(crate) async fn streams(session: &mut Session, key: &PipelineKey) -> Result<Vec<StreamState>> {
    let place = "reading watermarks";
    let mut chunks = chunks(session, key).await?;
    let sql = "SELECT stream, phase, position, version, selection, target, into_empty, updated_at, \
               selection_text \
               FROM _syncset_watermark WHERE project = ? AND pipeline = ? ORDER BY stream";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
    let rows = session.rows(sql, arguments, place).await?;
    let mut streams = Vec::with_capacity(rows.len());
    for row in &rows {
        let stream = text(row, 0).ok_or_else(damaged)?;
        let chunks = chunks.remove(&stream).unwrap_or_default();
        let following = text(row, 1).as_deref() == Some("following");
        let phase = if following {
            StreamPhase::Following
        } else if chunks.iter().all(|chunk| chunk.done) {
            StreamPhase::Settling
        } else {
            StreamPhase::Loading
        };
        streams.push(StreamState {
            stream,
            phase,
            position: Position(json(row, 2)?),
            version: unsigned(row, 3),
            selection: text(row, 4).ok_or_else(damaged)?,
            selection_text: text(row, 8),
            target: TableName::bare(text(row, 5).ok_or_else(damaged)?),
            into_empty: integer(row, 6) != 0,
            chunks: if following { Vec::new() } else { chunks },
            updated_at: integer(row, 7),
        });
    }
    Ok(streams)
}

async fn chunks(
    session: &mut Session,
    key: &PipelineKey,
) -> Result<HashMap<String, Vec<ChunkState>>> {
    let sql = "SELECT stream, chunk, range, done, row_count FROM _syncset_chunk \
               WHERE project = ? AND pipeline = ? ORDER BY stream, chunk";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
    let rows = session.rows(sql, arguments, "reading chunks").await?;
    let mut chunks: HashMap<String, Vec<ChunkState>> = HashMap::new();
    for row in &rows {
        let chunk = ChunkState {
            index: u32::try_from(integer(row, 1)).map_err(|_| damaged())?,
            range: serde_json::from_value(json(row, 2)?).map_err(|_| damaged())?,
            done: integer(row, 3) != 0,
            row_count: unsigned(row, 4),
        };
        chunks
            .entry(text(row, 0).ok_or_else(damaged)?)
            .or_default()
            .push(chunk);
    }
    Ok(chunks)
}

/// Owners of target tables, of all pipelines.
pub(crate) async fn owners(session: &mut Session) -> Result<Vec<Ownership>> {
    let sql = "SELECT target, project, pipeline FROM _syncset_owner ORDER BY target";
    let rows = session.rows(sql, arguments![], "reading owners").await?;
    let owners = rows.iter().map(|row| {
        Ok(Ownership {
            target: TableName::bare(text(row, 0).ok_or_else(damaged)?),
            key: PipelineKey {
                project: text(row, 1).ok_or_else(damaged)?,
                pipeline: text(row, 2).ok_or_else(damaged)?,
            },
        })
    });
    owners.collect()
}

/// First version of the state that has pending deletes.
const PENDING_SINCE: i64 = 2;

/// Target tables with pending deletes, and how many.
pub(crate) async fn pending_deletes(
    session: &mut Session,
    key: &PipelineKey,
    version: i64,
) -> Result<Vec<(TableName, u64)>> {
    if version < PENDING_SINCE {
        return Ok(Vec::new());
    }
    let sql = "SELECT target, count(*) FROM _syncset_pending_delete \
               WHERE project = ? AND pipeline = ? GROUP BY target";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
    let rows = session
        .rows(sql, arguments, "counting pending deletes")
        .await?;
    let pending = rows.iter().map(|row| {
        let target = text(row, 0).ok_or_else(damaged)?;
        Ok((TableName::bare(target), unsigned(row, 1)))
    });
    pending.collect()
}

/// Forgets the pending deletes of the target table of a stream.
async fn forget_pending(session: &mut Session, key: &PipelineKey, stream: &str) -> Result<()> {
    let sql = "DELETE FROM _syncset_pending_delete WHERE project = ?1 AND pipeline = ?2 \
               AND target IN (SELECT target FROM _syncset_watermark \
               WHERE project = ?1 AND pipeline = ?2 AND stream = ?3)";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str(), stream];
    session
        .execute(sql, arguments, "forgetting pending deletes")
        .await?;
    Ok(())
}

/// Forgets what a former load of the stream left, the target table that it wrote before, and other
/// streams of this pipeline that wrote the same target: the config maps it to this one.
pub(crate) async fn let_go(
    session: &mut Session,
    key: &PipelineKey,
    load: &LoadPlan,
) -> Result<()> {
    let place = "replacing a load";
    let (project, pipeline) = (key.project.as_str(), key.pipeline.as_str());
    let (stream, target) = (load.stream.as_str(), load.target.name.as_str());
    forget_pending(session, key, stream).await?;
    let sql = "DELETE FROM _syncset_pending_delete \
               WHERE project = ? AND pipeline = ? AND target = ?";
    session
        .execute(sql, arguments![project, pipeline, target], place)
        .await?;
    let others = "SELECT stream FROM _syncset_watermark WHERE project = ?1 AND pipeline = ?2 \
                  AND stream <> ?3 AND target = ?4 COLLATE NOCASE";
    for (table, streams) in [
        ("chunk", format!("(stream = ?3 OR stream IN ({others}))")),
        ("rejected", format!("(stream = ?3 OR stream IN ({others}))")),
        ("watermark", format!("stream IN ({others})")),
    ] {
        let sql = format!(
            "DELETE FROM _syncset_{table} WHERE project = ?1 AND pipeline = ?2 AND {streams}"
        );
        let arguments = arguments![project, pipeline, stream, target];
        session.execute(sql, arguments, place).await?;
    }
    if let Some(left) = &load.leaves {
        for table in ["owner", "made"] {
            let sql = format!(
                "DELETE FROM _syncset_{table} WHERE project = ? AND pipeline = ? AND target = ?"
            );
            let arguments = arguments![project, pipeline, left.name.as_str()];
            session.execute(sql, arguments, place).await?;
        }
    }
    Ok(())
}

/// Claims the target table of a load.
pub(crate) async fn claim(session: &mut Session, key: &PipelineKey, load: &LoadPlan) -> Result<()> {
    let target = load.target.name.as_str();
    let sql = "SELECT project, pipeline FROM _syncset_owner WHERE target = ?";
    let rows = session
        .rows(sql, arguments![target], "reading owners")
        .await?;
    if let Some(row) = rows.first() {
        let owner = PipelineKey {
            project: text(row, 0).unwrap_or_default(),
            pipeline: text(row, 1).unwrap_or_default(),
        };
        if owner != *key {
            return Err(ConnectorError::new(
                ErrorClass::TargetDiffers,
                format!("`{target}` belongs to the pipeline `{owner}`"),
            )
            .with_hint("write to another table with `to:`: two pipelines never write one table"));
        }
    }
    let sql = "INSERT INTO _syncset_owner (target, project, pipeline, stream) VALUES (?, ?, ?, ?) \
               ON CONFLICT (target) DO UPDATE SET stream = excluded.stream";
    let arguments = arguments![
        target,
        key.project.as_str(),
        key.pipeline.as_str(),
        load.stream.as_str()
    ];
    session.execute(sql, arguments, "claiming a table").await?;
    Ok(())
}

/// Stores the low watermark and the chunks of a load; [`let_go`] has made place for them.
pub(crate) async fn store_load(
    session: &mut Session,
    key: &PipelineKey,
    load: &LoadPlan,
) -> Result<()> {
    let place = "storing a load";
    let (project, pipeline, stream) = (
        key.project.as_str(),
        key.pipeline.as_str(),
        load.stream.as_str(),
    );
    let sql = "INSERT INTO _syncset_watermark (project, pipeline, stream, phase, position, version, \
               selection, selection_text, target, into_empty, updated_at) \
               VALUES (?, ?, ?, 'loading', ?, 1, ?, ?, ?, ?, ?) \
               ON CONFLICT (project, pipeline, stream) DO UPDATE SET phase = excluded.phase, \
               position = excluded.position, version = version + 1, selection = excluded.selection, \
               selection_text = excluded.selection_text, target = excluded.target, into_empty = excluded.into_empty, \
               updated_at = excluded.updated_at";
    let arguments = arguments![
        project,
        pipeline,
        stream,
        load.low.0.to_string(),
        load.selection.as_str(),
        load.selection_text.as_str(),
        load.target.name.as_str(),
        i64::from(load.into_empty),
        now_seconds(),
    ];
    session.execute(sql, arguments, place).await?;
    let sql = "INSERT INTO _syncset_chunk (project, pipeline, stream, chunk, range, done, row_count) \
               VALUES (?, ?, ?, ?, ?, 0, 0)";
    for (index, range) in KeyRange::between(&load.boundaries).iter().enumerate() {
        let range = serde_json::to_string(range).expect("a range is plain JSON");
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        session
            .execute(
                sql,
                arguments![project, pipeline, stream, index, range],
                place,
            )
            .await?;
    }
    Ok(())
}

/// Moves a watermark by compare-and-set. Ends the load when the phase is `Following`.
pub(crate) async fn move_watermark(
    session: &mut Session,
    key: &PipelineKey,
    stream: &str,
    version: u64,
    position: &Position,
    phase: Option<StreamPhase>,
) -> Result<()> {
    let place = "moving a watermark";
    let sql = "UPDATE _syncset_watermark SET position = ?, phase = coalesce(?, phase), \
               version = version + 1, updated_at = ? \
               WHERE project = ? AND pipeline = ? AND stream = ? AND version = ?";
    let arguments = arguments![
        position.0.to_string(),
        phase.map(phase_name),
        now_seconds(),
        key.project.as_str(),
        key.pipeline.as_str(),
        stream,
        signed(version),
    ];
    if session.execute(sql, arguments, place).await? != 1 {
        return Err(fenced(key));
    }
    if phase == Some(StreamPhase::Following) {
        drop_chunks(session, key, stream).await?;
    }
    Ok(())
}

/// Stores another selection of a stream whose rows are right under it.
pub(crate) async fn retell(
    session: &mut Session,
    key: &PipelineKey,
    retelling: &Retelling,
) -> Result<()> {
    let sql = "UPDATE _syncset_watermark SET selection = ?, selection_text = ? \
               WHERE project = ? AND pipeline = ? AND stream = ? AND selection = ?";
    let arguments = arguments![
        retelling.selection.as_str(),
        retelling.selection_text.as_str(),
        key.project.as_str(),
        key.pipeline.as_str(),
        retelling.stream.as_str(),
        retelling.from.as_str(),
    ];
    session
        .execute(sql, arguments, "storing a selection")
        .await?;
    Ok(())
}

/// Ends a load. With a chunk that was never written its rows would be missing for ever.
async fn drop_chunks(session: &mut Session, key: &PipelineKey, stream: &str) -> Result<()> {
    let place = "ending a load";
    let (project, pipeline) = (key.project.as_str(), key.pipeline.as_str());
    let sql = "SELECT count(*) FROM _syncset_chunk \
               WHERE project = ? AND pipeline = ? AND stream = ? AND done = 0";
    let rows = session
        .rows(sql, arguments![project, pipeline, stream], place)
        .await?;
    if rows.first().is_some_and(|row| integer(row, 0) > 0) {
        return Err(ConnectorError::new(
            ErrorClass::Store,
            format!("the load of `{stream}` cannot end: a chunk of it is not done"),
        ));
    }
    forget_chunks(session, key, stream).await
}

/// Forgets the chunks of a stream, done or not.
pub(crate) async fn forget_chunks(
    session: &mut Session,
    key: &PipelineKey,
    stream: &str,
) -> Result<()> {
    let sql = "DELETE FROM _syncset_chunk WHERE project = ? AND pipeline = ? AND stream = ?";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str(), stream];
    session.execute(sql, arguments, "ending a load").await?;
    Ok(())
}

/// Version of a watermark; `None`: there is none.
pub(crate) async fn watermark_version(
    session: &mut Session,
    key: &PipelineKey,
    stream: &str,
) -> Result<Option<u64>> {
    let sql =
        "SELECT version FROM _syncset_watermark WHERE project = ? AND pipeline = ? AND stream = ?";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str(), stream];
    let rows = session.rows(sql, arguments, "reading a watermark").await?;
    Ok(rows.first().map(|row| unsigned(row, 0)))
}

/// Whether the chunk of this number is done; `None`: the load of this version has no such chunk.
pub(crate) async fn chunk_done(
    session: &mut Session,
    key: &PipelineKey,
    stream: &str,
    (index, version): (u32, u64),
) -> Result<Option<bool>> {
    let sql = "SELECT done FROM _syncset_chunk \
               JOIN _syncset_watermark w USING (project, pipeline, stream) \
               WHERE project = ? AND pipeline = ? AND stream = ? AND chunk = ? AND w.version = ?";
    let arguments = arguments![
        key.project.as_str(),
        key.pipeline.as_str(),
        stream,
        i64::from(index),
        signed(version)
    ];
    let rows = session.rows(sql, arguments, "reading a chunk").await?;
    Ok(rows.first().map(|row| integer(row, 0) != 0))
}

/// Marks a chunk as done.
pub(crate) async fn finish_chunk(
    session: &mut Session,
    key: &PipelineKey,
    stream: &str,
    chunk: (u32, u64),
) -> Result<()> {
    let sql = "UPDATE _syncset_chunk SET done = 1, row_count = ? \
               WHERE project = ? AND pipeline = ? AND stream = ? AND chunk = ? AND done = 0";
    let arguments = arguments![
        signed(chunk.1),
        key.project.as_str(),
        key.pipeline.as_str(),
        stream,
        i64::from(chunk.0),
    ];
    if session.execute(sql, arguments, "finishing a chunk").await? == 1 {
        Ok(())
    } else {
        Err(fenced(key))
    }
}

/// Forgets the watermark of a stream. Its target table stays claimed: the rows in it are ours.
pub(crate) async fn forget(session: &mut Session, key: &PipelineKey, stream: &str) -> Result<()> {
    let place = "resetting";
    let (project, pipeline) = (key.project.as_str(), key.pipeline.as_str());
    forget_pending(session, key, stream).await?;
    for table in ["chunk", "rejected", "search"] {
        let sql = format!(
            "DELETE FROM _syncset_{table} WHERE project = ? AND pipeline = ? AND stream = ?"
        );
        session
            .execute(sql, arguments![project, pipeline, stream], place)
            .await?;
    }
    let sql = "UPDATE _syncset_watermark SET selection = '', phase = 'loading', position = 'null', \
               into_empty = 0, version = version + 1, updated_at = ? \
               WHERE project = ? AND pipeline = ? AND stream = ?";
    let arguments = arguments![now_seconds(), project, pipeline, stream];
    session.execute(sql, arguments, place).await?;
    Ok(())
}

/// Gives the target table of a stream away, and forgets that there was one; [`forget`] has taken
/// the rest.
pub(crate) async fn disclaim(session: &mut Session, key: &PipelineKey, stream: &str) -> Result<()> {
    let place = "forgetting a table";
    let (project, pipeline) = (key.project.as_str(), key.pipeline.as_str());
    for table in ["owner", "made"] {
        let sql = format!(
            "DELETE FROM _syncset_{table} WHERE project = ?1 AND pipeline = ?2 AND target IN \
             (SELECT target FROM _syncset_watermark \
              WHERE project = ?1 AND pipeline = ?2 AND stream = ?3)"
        );
        session
            .execute(&sql, arguments![project, pipeline, stream], place)
            .await?;
    }
    let sql = "DELETE FROM _syncset_watermark WHERE project = ? AND pipeline = ? AND stream = ?";
    session
        .execute(sql, arguments![project, pipeline, stream], place)
        .await?;
    Ok(())
}
