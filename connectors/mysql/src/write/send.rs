//! Sends rows: by LOAD DATA where the server allows it, otherwise by INSERTs of many rows.
//!
//! LOAD DATA takes what does not fit for something else and only warns. The encoder has refused
//! what does not fit; if the server still warns, or takes another number of rows than were sent,
//! all of them go again as INSERTs, which are refused as they should be.

use super::column::names;
use super::plan::Path;
use crate::connect::{ServerFacts, Session};
use crate::encode::{EncodedBatch, Form, Spelling};
use crate::error;
use crate::sql::identifier;
use arrow_array::RecordBatch;
use bytes::Bytes;
use mysql_async::prelude::Queryable;
use std::ops::Range;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// Bytes of one INSERT, unless a single row is longer.
const STATEMENT_BYTES: usize = 1 << 20;
/// Bytes of one packet that are not ours.
const PACKET_BYTES_SPARED: u64 = 1_024;
/// Rows from which LOAD DATA is worth its round trips.
const LOAD_ROWS_MIN: usize = 200;
/// Bytes of one LOAD DATA, and of the pieces it is sent in.
const LOAD_BYTES: usize = 8 << 20;
const LOAD_PIECE_BYTES: usize = 1 << 20;

/// Sends rows of a batch the way that `path` says. Returns how many the server took: all of them.
pub(super) async fn send_rows(
    session: &mut Session,
    facts: &ServerFacts,
    path: &Path,
    batch: &RecordBatch,
    rows: Range<usize>,
) -> Result<u64> {
    let encoded = path.encoder.batch(batch)?;
    if facts.local_infile && rows.len() >= LOAD_ROWS_MIN {
        return load(session, facts, path, &encoded, rows).await;
    }
    insert(session, facts, path, &encoded, rows).await
}

/// Bytes of a row at most: what is longer could not be read back either.
fn packet_bytes(facts: &ServerFacts) -> usize {
    let bytes = facts.max_allowed_packet.saturating_sub(PACKET_BYTES_SPARED);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// By INSERTs of as many rows as fit.
async fn insert(
    session: &mut Session,
    facts: &ServerFacts,
    path: &Path,
    encoded: &EncodedBatch<'_>,
    rows: Range<usize>,
) -> Result<u64> {
    let packet = packet_bytes(facts);
    let bytes_max = STATEMENT_BYTES.min(packet);
    let head = format!(
        "INSERT INTO {} ({}) VALUES ",
        path.into,
        names(&path.columns)
    )
    .into_bytes();
    let (mut sql, mut in_statement, mut taken) = (head.clone(), 0_u64, 0);
    for row in rows {
        let before = sql.len();
        if in_statement > 0 {
            sql.push(b',');
        }
        encoded.write_row(row, Spelling::Statement, &mut sql)?;
        if in_statement > 0 && sql.len() > bytes_max {
            let next = sql.split_off(before);
            taken += execute(session, &sql, in_statement).await?;
            sql.clone_from(&head);
            sql.extend_from_slice(&next[1..]);
            in_statement = 0;
        }
        if sql.len() > packet {
            return Err(too_long(facts));
        }
        in_statement += 1;
    }
    if in_statement > 0 {
        taken += execute(session, &sql, in_statement).await?;
    }
    Ok(taken)
}

async fn execute(session: &mut Session, sql: &[u8], row_count: u64) -> Result<u64> {
    let sql = std::str::from_utf8(sql)
        .map_err(|_| error::unexpected("a statement of ours is no UTF-8"))?;
    let done = session.execute(sql).await?;
    if done.warnings > 0 {
        return Err(warned(session).await);
    }
    if done.rows != row_count {
        return Err(not_all(done.rows, row_count));
    }
    Ok(done.rows)
}

fn too_long(facts: &ServerFacts) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::RowRefused,
        format!(
            "a row is longer than one packet of the server, which has {} bytes",
            facts.max_allowed_packet
        ),
    )
    .with_hint("raise `max_allowed_packet` of the server")
}

fn not_all(taken: u64, sent: u64) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::RowRefused,
        format!("the server took {taken} of {sent} rows"),
    )
    .with_hint("look for a trigger or a view at the target that leaves rows out")
}

/// What the server changed without an error, as an error.
pub(super) async fn warned(session: &mut Session) -> ConnectorError {
    let rows = match session.rows("SHOW WARNINGS LIMIT 1").await {
        Ok(rows) => rows,
        Err(failure) => return failure,
    };
    let code = rows.first().and_then(|row| row.text(1)).unwrap_or("0");
    ConnectorError::new(
        ErrorClass::RowRefused,
        format!("the server warned that it would change a value (warning {code})"),
    )
    .with_code(code)
    .with_hint("widen the column at the target, or change the value at the source")
}

/// By LOAD DATA, within a savepoint.
async fn load(
    session: &mut Session,
    facts: &ServerFacts,
    path: &Path,
    encoded: &EncodedBatch<'_>,
    rows: Range<usize>,
) -> Result<u64> {
    let sql = load_sql(path);
    let packet = packet_bytes(facts);
    let mut taken = 0;
    let mut next = rows.start;
    while next < rows.end {
        let first = next;
        let mut lines = Vec::new();
        while next < rows.end && lines.len() < LOAD_BYTES {
            let before = lines.len();
            encoded.write_row(next, Spelling::Line, &mut lines)?;
            if lines.len() - before > packet {
                return Err(too_long(facts));
            }
            next += 1;
        }
        session.execute("SAVEPOINT syncset_load").await?;
        let sent = (next - first) as u64;
        match load_lines(session, &sql, lines).await {
            Ok(done) if done == (sent, 0) => taken += sent,
            Err(failure) if !may_be_a_row(&failure) => return Err(failure),
            _ => {
                session
                    .execute("ROLLBACK TO SAVEPOINT syncset_load")
                    .await?;
                taken += insert(session, facts, path, encoded, first..next).await?;
            }
        }
    }
    Ok(taken)
}

/// Whether INSERTs may do better: a row is refused, or LOAD DATA itself is.
fn may_be_a_row(failure: &ConnectorError) -> bool {
    matches!(
        failure.class,
        ErrorClass::RowRefused | ErrorClass::RowParked
    ) || matches!(error::number(failure), Some(1148 | 3948 | 4166))
}

/// Rows that the server took, and its warnings.
async fn load_lines(session: &mut Session, sql: &str, lines: Vec<u8>) -> Result<(u64, u16)> {
    let (link, busy) = session.link();
    *busy = true;
    let lines = Bytes::from(lines);
    link.set_infile_handler(async move {
        let places = (0..lines.len()).step_by(LOAD_PIECE_BYTES);
        let pieces: Vec<std::io::Result<Bytes>> = places
            .map(|from| Ok(lines.slice(from..lines.len().min(from + LOAD_PIECE_BYTES))))
            .collect();
        let stream: mysql_async::InfileData = Box::pin(futures::stream::iter(pieces));
        Ok(stream)
    });
    let outcome = link.query_drop(sql).await;
    *busy = matches!(&outcome, Err(failure) if !matches!(failure, mysql_async::Error::Server(_)));
    outcome.map_err(error::of)?;
    Ok((link.affected_rows(), link.get_warnings()))
}

/// Bytes travel as hexadecimal digits, bits as a number: the server would take either for a text.
fn load_sql(path: &Path) -> String {
    let (mut fields, mut sets) = (Vec::new(), Vec::new());
    for (number, column) in path.columns.iter().enumerate() {
        let name = identifier(&column.name);
        let made_of = match &column.actual.form {
            Some(Form::Bytes { .. } | Form::Geometry) => format!("UNHEX(@syncset_{number})"),
            Some(Form::Bits(_)) => format!("CAST(@syncset_{number} AS UNSIGNED)"),
            _ => {
                fields.push(name);
                continue;
            }
        };
        fields.push(format!("@syncset_{number}"));
        sets.push(format!("{name} = {made_of}"));
    }
    let sets = if sets.is_empty() {
        String::new()
    } else {
        format!(" SET {}", sets.join(", "))
    };
    format!(
        "LOAD DATA LOCAL INFILE 'syncset' INTO TABLE {} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){sets}",
        path.into,
        fields.join(", ")
    )
}
