//! Statements whose rows become batches.

use crate::cell::{cell, fetched};
use crate::connect::Session;
use crate::decode::{DecodedColumn, Decoder};
use crate::disjoint::Slice;
use crate::sql;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::{self, BoxStream, StreamExt};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use std::path::PathBuf;
use syncset_connector::{BatchStream, Column, Result, TableRead};

/// `SELECT columns FROM table [WHERE conditions]`
pub(crate) fn select(read: &TableRead, columns: &[String], conditions: &[String]) -> String {
    let filter = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    format!(
        "SELECT {} FROM {}{filter}",
        sql::identifiers(columns),
        sql::table(&read.description.name)
    )
}

/// The key of a row for messages, from the positions of its parts.
pub(crate) fn key_text(row: &SqliteRow, key: &[usize]) -> String {
    let parts: Vec<String> = key.iter().map(|index| cell(row, *index).shown()).collect();
    if parts.is_empty() {
        "(it has no key)".into()
    } else {
        parts.join(", ")
    }
}

/// Positions of the key within the columns of a read.
pub(crate) fn key_positions(read: &TableRead, columns: &[String]) -> Vec<usize> {
    let position = |name: &String| columns.iter().position(|column| column == name);
    read.key.iter().filter_map(position).collect()
}

/// A decoder of the columns of a read.
pub(crate) fn decoder<'a>(
    read: &TableRead,
    columns: impl IntoIterator<Item = &'a Column>,
    schema: SchemaRef,
) -> Result<Decoder> {
    let columns = columns.into_iter().map(DecodedColumn::of).collect();
    Decoder::new(&read.description.name.name, columns, schema)
}

/// One statement whose rows become batches.
pub(crate) struct Scan {
    pub(crate) statement: String,
    pub(crate) arguments: SqliteArguments,
    pub(crate) decoder: Decoder,
    pub(crate) key: Vec<usize>,
    pub(crate) batch_bytes: usize,
    pub(crate) place: String,
    /// Which of the rows are wanted; their last value is the cursor then, and is no column.
    pub(crate) only: Option<Slice>,
}

struct Scanning<'a> {
    rows: BoxStream<'a, std::result::Result<SqliteRow, sqlx::Error>>,
    scan: Scan,
    path: PathBuf,
    done: bool,
}

impl Scan {
    /// Runs the statement.
    pub(crate) fn stream(mut self, session: &mut Session) -> BatchStream<'_> {
        let path = session.path().to_owned();
        let statement = AssertSqlSafe(std::mem::take(&mut self.statement));
        let arguments = std::mem::take(&mut self.arguments);
        let scanning = Scanning {
            rows: sqlx::query_with(statement, arguments).fetch(session.connection()),
            scan: self,
            path,
            done: false,
        };
        stream::try_unfold(scanning, |mut scanning| async move {
            Ok(scanning.next_batch().await?.map(|batch| (batch, scanning)))
        })
        .boxed()
    }
}

impl Scanning<'_> {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.done && !self.scan.decoder.is_full(self.scan.batch_bytes) {
            let Some(row) = self.rows.next().await else {
                self.done = true;
                break;
            };
            let row = fetched(row, &self.path, &self.scan.place)?;
            let key = &self.scan.key;
            let mut column_count = sqlx::Row::len(&row);
            if let Some(slice) = &self.scan.only {
                column_count -= 1;
                if !slice.holds(cell(&row, column_count))? {
                    continue;
                }
            }
            let cells = (0..column_count).map(|index| cell(&row, index));
            self.scan.decoder.append(cells, || key_text(&row, key))?;
        }
        self.scan.decoder.flush()
    }
}
