//! What a unit does in `_syncset` within its own transaction: it locks the fence and its own row,
//! verifies both, and moves its row once the data is written.
//!
//! These are statements only; the unit's writer sends them. It has begun a transaction with
//! `ISOLATION LEVEL READ COMMITTED` before: under a stricter one a row that changed while its lock
//! was waited for would be an error instead of an answer.

use super::text::{json_literal, key_digest, key_is, key_values, literal};
use crate::connect::{Session, TextRow};
use serde_json::Value;
use syncset_connector::{
    ConnectorError, ErrorClass, Lease, PipelineKey, Position, RejectedRow, Result, StreamPhase,
    UnitStart, UnitStep, WatermarkMove,
};

/// A setting that nobody has: asking for it stops the transaction with a text of ours in the
/// error. Unlike a division by zero the planner does not evaluate it in advance.
const LOST: &str = "current_setting('syncset.the_unit_was_replaced')";

/// The same for a load that is settled although one of its chunks never was written: an error of
/// the runner's, and rows that would be missing for ever.
const NOT_DONE: &str = "current_setting('syncset.a_chunk_of_this_load_is_not_done')";

/// Longest wait for the row of a unit whose commit was lost. A link that broke without a word
/// holds its locks until the server's keepalives notice: 10 s + 3 * 5 s, by our settings.
const DECISION_LOCK_TIMEOUT_MS: u64 = 60_000;

/// Result sets of [`lock_statements`].
pub(crate) const LOCK_SETS: usize = 2;

/// The first statements of a unit: the fence row, shared with all other units of this epoch, then
/// the unit's own row, for itself alone. They return [`LOCK_SETS`] result sets, which
/// [`check_locked`] must see before anything else is done.
pub(crate) fn lock_statements(start: &UnitStart) -> String {
    let key = &start.lease.key;
    let row = match &start.step {
        UnitStep::Watermark { stream, version } => format!(
            "SELECT version FROM _syncset.watermark WHERE {} AND stream = {} \
             AND version = {version} FOR UPDATE",
            key_is("", key),
            literal(stream)
        ),
        UnitStep::Chunk {
            stream,
            index,
            version,
        } => format!(
            "SELECT index FROM _syncset.chunk WHERE {} AND stream = {} AND index = {index} \
             AND NOT done AND {} = {version} FOR UPDATE",
            key_is("", key),
            literal(stream),
            load_version(key, stream)
        ),
        UnitStep::Watermarks(streams) => format!(
            "SELECT version FROM _syncset.watermark WHERE {} AND (stream, version) IN ({}) \
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
        .map(|(stream, version)| format!("({}, {version})", literal(stream)));
    rows.collect::<Vec<_>>().join(", ")
}

/// The version of a stream's watermark, which tells one load of it from the next: both number
/// their chunks from zero.
fn load_version(key: &PipelineKey, stream: &str) -> String {
    format!(
        "(SELECT w.version FROM _syncset.watermark w WHERE {} AND w.stream = {})",
        key_is("w.", key),
        literal(stream)
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
    Err(match &start.step {
        UnitStep::Watermark { stream, version } => replaced(format!(
            "the watermark of `{stream}` is no longer at version {version}"
        )),
        UnitStep::Chunk { stream, index, .. } => replaced(format!(
            "chunk {index} of `{stream}` is done already, or belongs to another load"
        )),
        UnitStep::Watermarks(_) => {
            replaced("the watermark of a table is no longer what this unit was made for".to_owned())
        }
    })
}

/// The last statements of a unit: its chunk is done, or its watermark moves. They move exactly
/// one row or raise an error that [`replaced_if_lost`] recognises.
pub(crate) fn finish_statements(
    start: &UnitStart,
    watermark: Option<&(Position, StreamPhase)>,
    row_count: u64,
) -> String {
    let key = &start.lease.key;
    match (&start.step, watermark) {
        (UnitStep::Watermark { stream, version }, Some((position, phase))) => {
            let row = format!("{} AND stream = {}", key_is("", key), literal(stream));
            let forget_chunks = match phase {
                StreamPhase::Following => format!(
                    "WITH dropped AS (DELETE FROM _syncset.chunk WHERE {row} RETURNING done) \
                     SELECT CASE WHEN bool_and(done) IS NOT FALSE THEN '' ELSE {NOT_DONE} END \
                     FROM dropped;\n"
                ),
                StreamPhase::Loading | StreamPhase::Settling => String::new(),
            };
            format!(
                "{};\n{forget_chunks}",
                exactly(
                    1,
                    &format!(
                        "UPDATE _syncset.watermark SET position = {}, phase = '{}', \
                         version = version + 1, updated_at = clock_timestamp() \
                         WHERE {row} AND version = {version}",
                        json_literal(&position.0),
                        phase_name(*phase)
                    )
                )
            )
        }
        (UnitStep::Chunk { stream, index, .. }, None) => format!(
            "{};\n",
            exactly(
                1,
                &format!(
                    "UPDATE _syncset.chunk SET done = true, row_count = {row_count} \
                     WHERE {} AND stream = {} AND index = {index} AND NOT done",
                    key_is("", key),
                    literal(stream)
                )
            )
        ),
        // The contract rules it out; a unit that does it must not commit.
        (UnitStep::Watermark { .. }, None)
        | (UnitStep::Chunk { .. }, Some(_))
        | (UnitStep::Watermarks(_), _) => {
            format!("SELECT {LOST};\n")
        }
    }
}

/// The last statements of a unit of several streams: each watermark moves, or an error is raised
/// that [`replaced_if_lost`] recognises.
pub(crate) fn finish_together(start: &UnitStart, moves: &[WatermarkMove]) -> String {
    let key = &start.lease.key;
    let UnitStep::Watermarks(streams) = &start.step else {
        return format!("SELECT {LOST};\n");
    };
    let mut values = Vec::new();
    for (stream, version) in streams {
        let Some(moved) = moves.iter().find(|moved| moved.stream == *stream) else {
            return format!("SELECT {LOST};\n");
        };
        values.push(format!(
            "({}, {version}::int8, {}, '{}')",
            literal(stream),
            json_literal(&moved.position.0),
            phase_name(moved.phase)
        ));
    }
    let change = format!(
        "UPDATE _syncset.watermark w SET position = m.position, phase = m.phase, \
         version = w.version + 1, updated_at = clock_timestamp() \
         FROM (VALUES {}) AS m (stream, version, position, phase) \
         WHERE {} AND w.stream = m.stream AND w.version = m.version",
        values.join(", "),
        key_is("w.", key)
    );
    let settled = |wanted: fn(&WatermarkMove) -> bool| {
        let settled = moves
            .iter()
            .filter(|moved| moved.phase == StreamPhase::Following && wanted(moved));
        let mut names: Vec<_> = settled.map(|moved| literal(&moved.stream)).collect();
        // No list may be empty, and no stream has an empty name.
        names.push("''".to_owned());
        names.join(", ")
    };
    format!(
        "{};\nDELETE FROM _syncset.chunk WHERE {row} AND stream IN ({});\n\
         WITH dropped AS (DELETE FROM _syncset.chunk WHERE {row} AND stream IN ({}) RETURNING done) \
         SELECT CASE WHEN bool_and(done) IS NOT FALSE THEN '' ELSE {NOT_DONE} END FROM dropped;\n",
        exactly(streams.len(), &change),
        settled(|moved| moved.whole),
        settled(|moved| !moved.whole),
        row = key_is("", key),
    )
}

/// The `Fenced` error for what [`finish_statements`] raises; any other error as it is.
pub(crate) fn replaced_if_lost(error: ConnectorError) -> ConnectorError {
    let is_ours = error.code.as_deref() == Some("42704")
        && error.message.contains("syncset.the_unit_was_replaced");
    if is_ours {
        replaced("what the unit was made for was moved by another run".to_owned()).caused_by(error)
    } else {
        error
    }
}

/// Stores refused rows; a row that was refused before is replaced. Empty for no rows.
pub(crate) fn rejected_statements(key: &PipelineKey, rows: &[RejectedRow]) -> String {
    // One statement cannot write a row twice: of several with one key, the last counts.
    let mut latest = std::collections::BTreeMap::new();
    for row in rows {
        latest.insert((row.stream.as_str(), key_digest(&row.key)), row);
    }
    if latest.is_empty() {
        return String::new();
    }
    let values: Vec<_> = latest
        .iter()
        .map(|((stream, digest), row)| {
            format!(
                "({}, {}, '{digest}', {}, {}, {}, {})",
                key_values(key),
                literal(stream),
                json_literal(&row.key),
                literal(&row.reason),
                row.code.as_deref().map_or("NULL".to_owned(), literal),
                json_literal(&row.row)
            )
        })
        .collect();
    format!(
        "INSERT INTO _syncset.rejected \
         (project, pipeline, stream, key_digest, key, reason, code, row_image) VALUES {} \
         ON CONFLICT (project, pipeline, stream, key_digest) DO UPDATE \
         SET reason = excluded.reason, code = excluded.code, row_image = excluded.row_image, \
         rejected_at = clock_timestamp(), attempts = rejected.attempts + 1;\n",
        values.join(",\n")
    )
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
        "DELETE FROM _syncset.rejected WHERE {} AND stream = {} AND key_digest IN ({});\n",
        key_is("", key),
        literal(stream),
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
    if decided.is_err() {
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
    }
    decided
}

async fn decide(session: &mut Session, start: &UnitStart) -> Result<bool> {
    let row = match &start.step {
        UnitStep::Watermark { stream, .. } => format!(
            "SELECT version FROM _syncset.watermark WHERE {} AND stream = {} FOR UPDATE",
            key_is("", &start.lease.key),
            literal(stream)
        ),
        UnitStep::Chunk {
            stream,
            index,
            version,
        } => format!(
            "SELECT done FROM _syncset.chunk WHERE {} AND stream = {} AND index = {index} \
             AND {} = {version} FOR UPDATE",
            key_is("", &start.lease.key),
            literal(stream),
            load_version(&start.lease.key, stream)
        ),
        UnitStep::Watermarks(streams) => format!(
            "SELECT stream, version FROM _syncset.watermark WHERE {} AND stream IN ({}) \
             ORDER BY stream FOR UPDATE",
            key_is("", &start.lease.key),
            streams
                .iter()
                .map(|(stream, _)| literal(stream))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let sets = session
        .result_sets(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;\n\
             SET LOCAL lock_timeout = {DECISION_LOCK_TIMEOUT_MS};\n\
             {};\n{row};\nCOMMIT",
            lock_fence(&start.lease)
        ))
        .await?;
    let first = |index: usize| sets.get(index).and_then(|rows| rows.first());
    if first(2).is_none() {
        return Err(fenced(&start.lease));
    }
    let found = first(3);
    match &start.step {
        UnitStep::Watermarks(streams) => {
            let rows = sets.get(3).map(Vec::as_slice).unwrap_or_default();
            moved_together(rows, streams)
        }
        UnitStep::Chunk { stream, index, .. } => match found {
            Some(row) => Ok(row.is_true(0)),
            None => Err(replaced(format!(
                "chunk {index} of `{stream}` is gone, or belongs to another load"
            ))),
        },
        UnitStep::Watermark { stream, version } => {
            let Some(row) = found else {
                return Err(replaced(format!("the watermark of `{stream}` is gone")));
            };
            match row.parse::<u64>(0)? {
                stored if stored == *version => Ok(false),
                stored if stored == *version + 1 => Ok(true),
                stored => Err(replaced(format!(
                    "the watermark of `{stream}` is at version {stored}, this unit was made for {version}"
                ))),
            }
        }
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

/// Locks the fence row as long as the epoch is that of the lease.
pub(crate) fn lock_fence(lease: &Lease) -> String {
    format!(
        "SELECT epoch FROM _syncset.fence WHERE {} AND epoch = {} FOR SHARE",
        key_is("", &lease.key),
        lease.epoch
    )
}

/// `change` as a statement that raises an error unless it changes `row_count` rows.
pub(super) fn exactly(row_count: usize, change: &str) -> String {
    format!(
        "WITH changed AS ({change} RETURNING 1) \
         SELECT CASE WHEN count(*) = {row_count} THEN '' ELSE {LOST} END FROM changed"
    )
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

fn replaced(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Fenced, message)
        .with_hint("nothing was written by this unit; run again")
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
            stream: "public.orders".into(),
            index: 3,
            version: 1,
        })
    }

    fn one() -> Vec<TextRow> {
        vec![TextRow(vec![Some("7".into())])]
    }

    #[test]
    fn unit_without_its_fence_or_its_row_is_fenced() {
        let start = chunk();

        assert!(check_locked(&[one(), one()], &start).is_ok());
        for sets in [
            vec![],
            vec![one()],
            vec![vec![], one()],
            vec![one(), vec![]],
        ] {
            let error = check_locked(&sets, &start).expect_err("a lock is missing");
            assert_eq!(error.class, ErrorClass::Fenced);
        }
    }

    #[test]
    fn fence_is_locked_before_the_row_of_the_unit() {
        let sql = lock_statements(&chunk());

        let fence = sql.find("_syncset.fence").expect("the fence is locked");
        let row = sql.find("_syncset.chunk").expect("the row is locked");
        assert!(fence < row);
        assert!(sql.contains("epoch = 7 FOR SHARE"));
    }

    #[test]
    fn only_the_unit_that_settles_a_load_forgets_its_chunks() {
        let start = start(UnitStep::Watermark {
            stream: "s".into(),
            version: 4,
        });
        let finish = |phase| finish_statements(&start, Some(&(Position(json!(1)), phase)), 0);

        assert!(!finish(StreamPhase::Settling).contains("DELETE"));
        assert!(finish(StreamPhase::Settling).contains("phase = 'loading'"));
        assert!(finish(StreamPhase::Following).contains("DELETE FROM _syncset.chunk"));
    }

    #[test]
    fn unit_that_forgot_its_watermark_cannot_finish() {
        let start = start(UnitStep::Watermark {
            stream: "s".into(),
            version: 4,
        });

        assert!(finish_statements(&start, None, 0).contains(LOST));
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
