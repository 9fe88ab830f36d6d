//! Where a table is cut into chunks, and ranges of keys as conditions.

use crate::cell::{OwnedCell, bind, cell, integer};
use crate::connect::{Session, arguments};
use crate::sql;
use sqlx::sqlite::SqliteArguments;
use syncset_connector::{
    ConnectorError, ErrorClass, KeyBound, KeyRange, Result, TableKind, TableRead,
};

/// Chunks of one table at most: each one is a row of state.
const CHUNKS_MAX: i64 = 10_000;

/// Keys that cut the table into chunks of about `chunk_bytes`.
pub(crate) async fn boundaries(
    session: &mut Session,
    read: &TableRead,
    chunk_bytes: u64,
) -> Result<Vec<KeyBound>> {
    let description = &read.description;
    // A NULL is in no range, so such keys are read in one piece.
    let cuttable = description.kind == TableKind::Table
        && !read.key.is_empty()
        && read.key_columns().iter().all(|column| !column.nullable);
    if !cuttable {
        return Ok(Vec::new());
    }
    let place = format!("cutting `{}` into chunks", description.name);
    let size = "SELECT pgsize FROM dbstat WHERE name = ? AND aggregate = TRUE";
    let rows = session
        .rows(size, arguments![description.name.name.as_str()], &place)
        .await?;
    let bytes = rows.first().map_or(0, |row| integer(row, 0));
    let chunk_bytes = i64::try_from(chunk_bytes).unwrap_or(i64::MAX).max(1);
    let chunk_count = (bytes / chunk_bytes + i64::from(bytes % chunk_bytes > 0)).min(CHUNKS_MAX);
    if chunk_count < 2 {
        return Ok(Vec::new());
    }
    let table = sql::table(&description.name);
    let rows = session
        .rows(
            format!("SELECT count(*) FROM {table}"),
            arguments![],
            &place,
        )
        .await?;
    let row_count = rows.first().map_or(0, |row| integer(row, 0));
    let step = row_count / chunk_count;
    if step < 1 {
        return Ok(Vec::new());
    }
    let key = sql::identifiers(&read.key);
    let statement = format!(
        "SELECT {key} FROM (SELECT {key}, row_number() OVER (ORDER BY {key}) AS \"_syncset_row\" \
         FROM {table}) WHERE \"_syncset_row\" % ? = 0 AND \"_syncset_row\" < ?"
    );
    let rows = session
        .rows(statement, arguments![step, row_count], &place)
        .await?;
    let bounds = rows.iter().map(|row| {
        KeyBound(
            (0..read.key.len())
                .map(|part| cell(row, part).tagged())
                .collect(),
        )
    });
    Ok(bounds.collect())
}

/// A range as a condition, with its values bound. Empty for the range that holds every key.
///
/// The comparison has the key's own collation, as the order of [`boundaries`] has.
pub(crate) fn condition(
    read: &TableRead,
    range: &KeyRange,
    arguments: &mut SqliteArguments,
) -> Result<Vec<String>> {
    let mut conditions = Vec::new();
    for (bound, operator) in [(&range.after, ">"), (&range.up_to, "<=")] {
        let Some(bound) = bound else { continue };
        if bound.0.len() != read.key.len() {
            return Err(not_ours());
        }
        for part in &bound.0 {
            let value = OwnedCell::parse(part).ok_or_else(not_ours)?;
            bind(arguments, value.as_cell())?;
        }
        conditions.push(format!(
            "({}) {operator} {}",
            sql::identifiers(&read.key),
            sql::placeholders(1, read.key.len())
        ));
    }
    Ok(conditions)
}

fn not_ours() -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Store,
        "the stored boundaries of a chunk cannot be read",
    )
    .with_hint("run `pipeline reset` for this table")
}
