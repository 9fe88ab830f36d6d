//! Chunks of a first load: where to cut, and the condition of a range.
//!
//! The order is the key's own order on the server, that of its index; a chunk is only ever read by
//! the server whose keys cut it.

use super::estimated;
use super::shape::{OrderColumn, Shape, compare_row};
use crate::connect::{MysqlStore, TextRow};
use crate::sql::text;
use syncset_connector::{KeyBound, KeyRange, Result, TableRead};

/// Chunks of one table at most.
const CHUNKS_MAX: u64 = 10_000;

/// Rows up to which every cut is looked up in the index. Beyond, that takes longer than it saves,
/// since all rows up to a cut are read: a key that is one number is cut by what the server
/// estimates.
const COUNTED_ROWS_MAX: u64 = 100_000;

/// The conditions of a range of keys.
pub(crate) fn range_conditions(shape: &Shape, range: &KeyRange) -> Result<Vec<String>> {
    let key: Vec<&OrderColumn> = shape.key.iter().collect();
    let mut conditions = Vec::new();
    if let Some(after) = &range.after {
        conditions.push(compare_row(&key, (">", ">"), &after.0)?);
    }
    if let Some(up_to) = &range.up_to {
        conditions.push(compare_row(&key, ("<", "<="), &up_to.0)?);
    }
    Ok(conditions)
}

/// Keys that cut a table into chunks of about `chunk_bytes`; empty for one chunk.
pub(crate) async fn boundaries(
    store: &MysqlStore,
    read: &TableRead,
    chunk_bytes: u64,
) -> Result<Vec<KeyBound>> {
    let shape = Shape::of(read, store.config.rules)?;
    if !shape.key_orders {
        return Ok(Vec::new());
    }
    let sizes = store
        .control()
        .await?
        .rows(&format!(
            "SELECT t.DATA_LENGTH, t.TABLE_ROWS FROM information_schema.TABLES t
               WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME = {}",
            text(&read.description.name.name)
        ))
        .await?;
    let size = |index| -> Result<u64> {
        let row = sizes.first().map(|row| row.parse_some(index));
        Ok(row.transpose()?.flatten().unwrap_or(0))
    };
    let (bytes, rows) = (size(0)?, size(1)?);
    let chunks = bytes.div_ceil(chunk_bytes.max(1)).min(CHUNKS_MAX);
    if chunks < 2 || rows < chunks {
        return Ok(Vec::new());
    }
    if rows > COUNTED_ROWS_MAX && shape.key.len() == 1 && is_integer(&shape.key[0]) {
        return estimated::cuts(store, &shape, chunks).await;
    }
    counted(store, &shape, (rows / chunks).max(1), chunks).await
}

fn is_integer(column: &OrderColumn) -> bool {
    column.column.data_type.is_integer()
}

/// Every so many rows one cut, looked up in the index.
async fn counted(
    store: &MysqlStore,
    shape: &Shape,
    step: u64,
    chunks: u64,
) -> Result<Vec<KeyBound>> {
    let names: Vec<_> = shape.key.iter().map(|column| column.sql.clone()).collect();
    let key: Vec<&OrderColumn> = shape.key.iter().collect();
    let mut bounds: Vec<KeyBound> = Vec::new();
    let mut session = store.control().await?;
    // The server only estimates its rows, so there may be more.
    let cuts_max = usize::try_from(chunks.saturating_mul(2)).unwrap_or(usize::MAX);
    while bounds.len() < cuts_max {
        let after = match bounds.last() {
            Some(bound) => format!("WHERE {}", compare_row(&key, (">", ">"), &bound.0)?),
            None => String::new(),
        };
        let rows = session
            .rows(&format!(
                "SELECT {} FROM {} {after} ORDER BY {} LIMIT {}, 1",
                key_texts(shape),
                shape.from,
                names.join(", "),
                step - 1
            ))
            .await?;
        match rows.first() {
            Some(row) => bounds.push(bound_of(shape, row)?),
            None => break,
        }
    }
    Ok(bounds)
}

/// The key's columns in the text forms that literals are made of.
fn key_texts(shape: &Shape) -> String {
    let list: Vec<_> = shape
        .key
        .iter()
        .map(|column| match &column.column.data_type {
            arrow_schema::DataType::Binary => format!("HEX({})", column.sql),
            _ => column.sql.clone(),
        })
        .collect();
    list.join(", ")
}

fn bound_of(shape: &Shape, row: &TextRow) -> Result<KeyBound> {
    let parts: Result<Vec<_>> = (0..shape.key.len())
        .map(|index| row.required(index).map(str::to_owned))
        .collect();
    Ok(KeyBound(parts?))
}
