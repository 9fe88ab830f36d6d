//! What a unit does in the state within its own transaction: it locks the fence and its own row,
//! verifies both, and moves its row once the data is written.
//!
//! These are statements only; the unit's writer sends them, in a session whose transactions are
//! READ COMMITTED: under a stricter isolation an old snapshot could hide a row that changed while
//! its lock was waited for.

use super::text::{NOW, json, key_digest, key_is, key_values, stream_is};
use crate::connect::{Session, TextRow};
use crate::error;
use crate::sql::text;
use serde_json::Value;
use syncset_connector::{
    ConnectorError, ErrorClass, Lease, PipelineKey, Position, RejectedRow, Result, StreamPhase,
    UnitStart, UnitStep, WatermarkMove,
};

/// Longest wait in seconds for the row of a unit whose commit was lost: a link that broke without
/// a word holds its locks until the server notices.
const DECISION_LOCK_TIMEOUT_S: u64 = 60;

/// Result sets of [`lock_statements`].
pub(crate) const LOCK_SETS: usize = 2;

/// The first statements of a unit: the fence row, shared with all other units of this epoch, then
/// the unit's own row, for itself alone. They return [`LOCK_SETS`] result sets, which
/// [`check_locked`] must see before anything else is done.
pub(crate) fn lock_statements(start: &UnitStart) -> String {
    let key = &start.lease.key;
    let row = match &start.step {
        UnitStep::Watermark { stream, version } => format!(
            "SELECT version FROM _syncset_watermark WHERE {} AND version = {version} FOR UPDATE",
            stream_is("", key, stream)
        ),
        UnitStep::Chunk {
            stream,
            index,
            version,
        } => format!(
            "SELECT number FROM _syncset_chunk WHERE {} AND number = {index} AND done = 0 \
             AND {} = {version} FOR UPDATE",
            stream_is("", key, stream),
            load_version(key, stream)
        ),
        UnitStep::Watermarks(streams) => format!(
            "SELECT version FROM _syncset_watermark WHERE {} AND (stream, version) IN ({}) \
             ORDER BY stream FOR UPDATE",
            key_is("", key),
            versions_of(streams)
        ),
    };
    format!("{};\n{row};\n", lock_fence(&start.lease))
}

/// Streams and their versions as rows of a list.
fn versions_of(streams: &[(String, u64)]) -> String {
    let rows = streams
        .iter()
        .map(|(stream, version)| format!("({}, {version})", text(stream)));
    rows.collect::<Vec<_>>().join(", ")
}

/// The version of a stream's watermark, which tells one load of it from the next: both number
/// their chunks from zero.
fn load_version(key: &PipelineKey, stream: &str) -> String {
    format!(
        "(SELECT w.version FROM _syncset_watermark w WHERE {})",
        stream_is("w.", key, stream)
    )
}

/// Locks the fence row as long as the epoch is that of the lease.
pub(crate) fn lock_fence(lease: &Lease) -> String {
    format!(
        "SELECT epoch FROM _syncset_fence WHERE {} AND epoch = {} LOCK IN SHARE MODE",
        key_is("", &lease.key),
        lease.epoch
    )
}

/// Verifies what [`lock_statements`] returned.
///
/// # Errors
/// `Fenced` if the epoch is no longer ours, or the row is not the one the unit was made for.
pub(crate) fn check_locked(sets: &[Vec<TextRow>], start: &UnitStart) -> Result<()> {
    let locked = |index: usize| sets.get(index).map_or(0, Vec::len);
    if locked(0) != 1 {
        return Err(fenced(&start.lease));
    }
    let row_count = match &start.step {
        UnitStep::Watermarks(streams) => streams.len(),
        UnitStep::Watermark { .. } | UnitStep::Chunk { .. } => 1,
    };
    if locked(1) == row_count {
        return Ok(());
    }
    Err(replaced(match &start.step {
        UnitStep::Watermark { stream, version } => {
            format!("the watermark of `{stream}` is no longer at version {version}")
        }
        UnitStep::Chunk { stream, index, .. } => {
            format!("chunk {index} of `{stream}` is done already, or belongs to another load")
        }
        UnitStep::Watermarks(_) => {
            "the watermark of a table is no longer what this unit was made for".to_owned()
        }
    }))
}

/// Statements of which each answer of one number must be the expected one before the unit may
/// commit.
#[derive(Debug, Default)]
pub(crate) struct Finish {
    /// The statements; empty if the unit cannot be finished at all.
    pub(crate) sql: String,
    expected: Vec<(u64, &'static str)>,
}

/// A row of the state was not the one that the unit had locked.
const NOT_MOVED: &str = "what the unit was made for was moved by another run";

/// An error of the runner's, and rows that would be missing for ever.
const NOT_DONE: &str = "a chunk of this load is not done, so the load cannot be settled";

impl Finish {
    fn change_one(&mut self, statement: &str) {
        self.sql
            .push_str(&format!("{statement};\nSELECT ROW_COUNT();\n"));
        self.expected.push((1, NOT_MOVED));
    }

    fn forget_chunks(&mut self, key: &PipelineKey, stream: &str, whole: bool) {
        let row = stream_is("", key, stream);
        if !whole {
            self.sql.push_str(&format!(
                "SELECT COUNT(*) FROM _syncset_chunk WHERE {row} AND done = 0;\n"
            ));
            self.expected.push((0, NOT_DONE));
        }
        self.sql
            .push_str(&format!("DELETE FROM _syncset_chunk WHERE {row};\n"));
    }

    /// Verifies the answers.
    ///
    /// # Errors
    /// `Fenced`, after which the unit must not commit.
    pub(crate) fn check(&self, sets: Vec<Vec<TextRow>>) -> Result<()> {
        let mut answers = sets.into_iter().flatten();
        for (expected, otherwise) in &self.expected {
            let answer = answers.next();
            let answer: Option<u64> = answer.map(|row| row.parse(0)).transpose()?;
            if answer != Some(*expected) {
                return Err(replaced((*otherwise).to_owned()));
            }
        }
        Ok(())
    }
}

/// The last statements of a unit: its chunk is done, or its watermark moves.
///
/// # Errors
/// `Fenced` if the unit ends in a way that does not suit its step.
pub(crate) fn finish(
    start: &UnitStart,
    watermark: Option<&(Position, StreamPhase)>,
    row_count: u64,
) -> Result<Finish> {
    let key = &start.lease.key;
    let mut finish = Finish::default();
    match (&start.step, watermark) {
        (UnitStep::Watermark { stream, version }, Some((position, phase))) => {
            finish.change_one(&move_watermark(key, stream, *version, position, *phase));
            if *phase == StreamPhase::Following {
                finish.forget_chunks(key, stream, false);
            }
        }
        (UnitStep::Chunk { stream, index, .. }, None) => finish.change_one(&format!(
            "UPDATE _syncset_chunk SET done = 1, row_count = {row_count} \
             WHERE {} AND number = {index} AND done = 0",
            stream_is("", key, stream)
        )),
        // The contract rules it out; a unit that does it must not commit.
        (UnitStep::Watermark { .. }, None)
        | (UnitStep::Chunk { .. }, Some(_))
        | (UnitStep::Watermarks(_), _) => return Err(replaced(NOT_MOVED.to_owned())),
    }
    Ok(finish)
}

/// The last statements of a unit of several streams: each watermark moves.
///
/// # Errors
/// `Fenced` if a stream of the unit does not move.
pub(crate) fn finish_together(start: &UnitStart, moves: &[WatermarkMove]) -> Result<Finish> {
    let key = &start.lease.key;
    let mut finish = Finish::default();
    let UnitStep::Watermarks(streams) = &start.step else {
        return Err(replaced(NOT_MOVED.to_owned()));
    };
    for (stream, version) in streams {
        let moved = moves
            .iter()
            .find(|moved| moved.stream == *stream)
            .ok_or_else(|| replaced(NOT_MOVED.to_owned()))?;
        finish.change_one(&move_watermark(
            key,
            stream,
            *version,
            &moved.position,
            moved.phase,
        ));
        if moved.phase == StreamPhase::Following {
            finish.forget_chunks(key, stream, moved.whole);
        }
    }
    Ok(finish)
}

fn move_watermark(
    key: &PipelineKey,
    stream: &str,
    version: u64,
    position: &Position,
    phase: StreamPhase,
) -> String {
    format!(
        "UPDATE _syncset_watermark SET position = {}, phase = '{}', version = version + 1, \
         updated_at = {NOW} WHERE {} AND version = {version}",
        json(&position.0),
        phase_name(phase),
        stream_is("", key, stream)
    )
}

/// Stores refused rows; a row that was refused before is replaced. Empty for no rows.
pub(crate) fn rejected_statements(key: &PipelineKey, rows: &[RejectedRow]) -> String {
    // Of several with one key, the last counts.
    let mut latest = std::collections::BTreeMap::new();
    for row in rows {
        latest.insert((row.stream.as_str(), key_digest(&row.key)), row);
    }
    latest
        .iter()
        .map(|((stream, digest), row)| {
            let (reason, row_image) = (text(&row.reason), json(&row.row));
            let code = row.code.as_deref().map_or("NULL".to_owned(), text);
            format!(
                "INSERT INTO _syncset_rejected (project, pipeline, stream, key_digest, \
                 key_values, reason, code, row_image, first_rejected_at, rejected_at) \
                 VALUES ({}, {}, '{digest}', {}, {reason}, {code}, {row_image}, {NOW}, {NOW}) \
                 ON DUPLICATE KEY UPDATE reason = {reason}, code = {code}, \
                 row_image = {row_image}, rejected_at = {NOW}, attempts = attempts + 1;\n",
                key_values(key),
                text(stream),
                json(&row.key),
            )
        })
        .collect()
}

/// Forgets refused rows by their keys. Empty for no keys.
pub(crate) fn forget_statements(key: &PipelineKey, stream: &str, keys: &[Value]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let digests: Vec<_> = keys
        .iter()
        .map(|key| format!("'{}'", key_digest(key)))
        .collect();
    format!(
        "DELETE FROM _syncset_rejected WHERE {} AND key_digest IN ({});\n",
        stream_is("", key, stream),
        digests.join(", ")
    )
}

/// Decides a commit whose answer was lost. `session` must be another one than the unit's.
///
/// The row's lock is taken first: whoever still commits or rolls back holds it, and a plain read
/// would see the old row in the meantime.
///
/// # Errors
/// `Fenced` if another run holds the epoch, or moved the row further than the unit would have.
pub(crate) async fn was_committed(session: &mut Session, start: &UnitStart) -> Result<bool> {
    let decided = decide(session, start).await;
    // It only looked; and after an error nothing else may be sent.
    let ended = session.execute("ROLLBACK").await;
    let decided = decided?;
    ended?;
    Ok(decided)
}

async fn decide(session: &mut Session, start: &UnitStart) -> Result<bool> {
    let key = &start.lease.key;
    let row = match &start.step {
        UnitStep::Watermark { stream, .. } => format!(
            "SELECT stream, version FROM _syncset_watermark WHERE {} FOR UPDATE",
            stream_is("", key, stream)
        ),
        UnitStep::Chunk {
            stream,
            index,
            version,
        } => format!(
            "SELECT stream, done FROM _syncset_chunk WHERE {} AND number = {index} \
             AND {} = {version} FOR UPDATE",
            stream_is("", key, stream),
            load_version(key, stream)
        ),
        UnitStep::Watermarks(streams) => {
            let names: Vec<_> = streams.iter().map(|(stream, _)| text(stream)).collect();
            format!(
                "SELECT stream, version FROM _syncset_watermark WHERE {} AND stream IN ({}) \
                 ORDER BY stream FOR UPDATE",
                key_is("", key),
                names.join(", ")
            )
        }
    };
    let sets = session
        .result_sets(&format!(
            "SET @syncset_wait = @@innodb_lock_wait_timeout;\n\
             SET innodb_lock_wait_timeout = {DECISION_LOCK_TIMEOUT_S};\n\
             START TRANSACTION;\n{};\n{row};\n\
             SET innodb_lock_wait_timeout = @syncset_wait",
            lock_fence(&start.lease)
        ))
        .await?;
    if sets.first().is_none_or(Vec::is_empty) {
        return Err(fenced(&start.lease));
    }
    let rows = sets.get(1).map(Vec::as_slice).unwrap_or_default();
    match &start.step {
        UnitStep::Chunk { stream, index, .. } => match rows.first() {
            Some(row) => Ok(row.text(1) == Some("1")),
            None => Err(replaced(format!(
                "chunk {index} of `{stream}` is gone, or belongs to another load"
            ))),
        },
        UnitStep::Watermark { stream, version } => {
            moved_together(rows, &[(stream.clone(), *version)])
        }
        UnitStep::Watermarks(streams) => moved_together(rows, streams),
    }
}

/// Whether all of these streams are one version further; they move together.
fn moved_together(rows: &[TextRow], streams: &[(String, u64)]) -> Result<bool> {
    let mut moved = 0;
    for (stream, version) in streams {
        let row = rows.iter().find(|row| row.text(0) == Some(stream));
        let stored: Option<u64> = row.map(|row| row.parse(1)).transpose()?;
        match stored {
            Some(stored) if stored == *version => {}
            Some(stored) if stored == *version + 1 => moved += 1,
            _ => {
                return Err(replaced(format!(
                    "the watermark of `{stream}` was moved by another run"
                )));
            }
        }
    }
    match moved {
        0 => Ok(false),
        moved if moved == streams.len() => Ok(true),
        _ => Err(replaced(
            "watermarks that move together were moved apart by another run".to_owned(),
        )),
    }
}

/// The lower-case name that is stored. `Settling` is what a `loading` stream without open chunks
/// is in, so it is never stored itself.
pub(super) fn phase_name(phase: StreamPhase) -> &'static str {
    match phase {
        StreamPhase::Loading | StreamPhase::Settling => "loading",
        StreamPhase::Following => "following",
    }
}

/// Somebody else has the epoch.
pub(crate) fn fenced(lease: &Lease) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Fenced,
        format!(
            "another run has taken over `{}`: epoch {} is no longer valid",
            lease.key, lease.epoch
        ),
    )
    .with_hint("nothing more was written by this run; see who has it: `syncset pipeline status`")
}

pub(super) fn replaced(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Fenced, message)
        .with_hint("nothing was written by this unit; run again")
}

/// An answer that one of our own statements must have given.
pub(super) fn unanswered(what: &str) -> ConnectorError {
    error::unexpected(format!("the server did not answer {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn start(step: UnitStep) -> UnitStart {
        UnitStart {
            lease: Lease {
                key: PipelineKey {
                    project: "shop".into(),
                    pipeline: "crm".into(),
                },
                epoch: 7,
                duration: Duration::from_secs(60),
            },
            step,
            into_empty: false,
            careful: false,
        }
    }

    fn chunk() -> UnitStart {
        start(UnitStep::Chunk {
            stream: "orders".into(),
            index: 3,
            version: 1,
        })
    }

    fn one(value: &str) -> Vec<TextRow> {
        vec![TextRow(vec![Some(value.as_bytes().to_vec())])]
    }

    #[test]
    fn unit_without_its_fence_or_its_row_is_fenced() {
        let start = chunk();

        assert!(check_locked(&[one("7"), one("3")], &start).is_ok());
        for sets in [
            vec![],
            vec![one("7")],
            vec![vec![], one("3")],
            vec![one("7"), vec![]],
        ] {
            let error = check_locked(&sets, &start).expect_err("a lock is missing");
            assert_eq!(error.class, ErrorClass::Fenced);
        }
    }

    #[test]
    fn fence_is_locked_before_the_row_of_the_unit() {
        let sql = lock_statements(&chunk());

        let fence = sql.find("_syncset_fence").expect("the fence is locked");
        let row = sql.find("_syncset_chunk").expect("the row is locked");
        assert!(fence < row);
        assert!(sql.contains("epoch = 7 LOCK IN SHARE MODE"));
    }

    #[test]
    fn unit_commits_only_if_its_row_moved_and_every_chunk_is_done() {
        let start = start(UnitStep::Watermark {
            stream: "s".into(),
            version: 4,
        });
        let watermark = (Position(json!(1)), StreamPhase::Following);
        let finish = finish(&start, Some(&watermark), 0).expect("a watermark moves");
        let answers = |moved: &str, open: &str| vec![one(moved), one(open)];

        assert!(finish.check(answers("1", "0")).is_ok());
        for sets in [answers("0", "0"), answers("1", "2"), vec![], vec![one("1")]] {
            let error = finish.check(sets).expect_err("the unit must not commit");
            assert_eq!(error.class, ErrorClass::Fenced);
        }
    }

    #[test]
    fn unit_that_forgot_its_watermark_cannot_finish() {
        let start = start(UnitStep::Watermark {
            stream: "s".into(),
            version: 4,
        });

        assert!(finish(&start, None, 0).is_err());
        assert!(finish_together(&start, &[]).is_err());
    }

    #[test]
    fn of_two_refused_rows_with_one_key_the_last_is_stored() {
        let row = |reason: &str| RejectedRow {
            stream: "s".into(),
            key: json!(["1"]),
            reason: reason.into(),
            code: None,
            row: json!({}),
            first_at: None,
            attempts: 0,
        };
        let key = chunk().lease.key;

        let sql = rejected_statements(&key, &[row("first"), row("second")]);

        assert!(sql.contains("'second'") && !sql.contains("'first'"));
        assert_eq!(rejected_statements(&key, &[]), "");
        assert_eq!(forget_statements(&key, "s", &[]), "");
    }
}
