//! One unit: one write transaction.
//!
//! A row is written only if its stored image differs, in class or in bytes, so that a unit that
//! is written twice changes no page the second time. The look-up comes before the insert, because
//! an insert that becomes nothing still fires triggers.

use crate::cell::bind;
use crate::connect::{Writing, arguments};
use crate::encode::Encoded;
use crate::sql::{identifier, identifiers, placeholders, table as table_name};
use crate::state::rows;
use crate::target::keyless;
use arrow_array::RecordBatch;
use arrow_schema::DataType;
use async_trait::async_trait;
use futures::TryStreamExt;
use std::ops::Range;
use syncset_connector::{
    BatchStream, ConnectorError, ErrorClass, Position, Receipt, RejectedRow, Rejection, Result,
    StreamPhase, TargetColumn, TargetTable, UnitStart, UnitStep, UnitWriter,
};

/// Values bound by one statement. Beyond some hundreds more ones hardly help.
const VALUES_PER_STATEMENT: usize = 1000;

/// Rows of one statement at most.
const ROWS_PER_STATEMENT: usize = 100;

/// Bytes of upserts that wait for the deletes of their unit.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// What a statement does with the rows bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Insert or update what differs.
    Upsert,
    /// The same, into a table that was empty: no look-up first.
    Fill,
    /// Delete by key.
    Delete,
}

/// A unit that is being written.
pub(crate) struct SqliteUnit {
    writing: Writing,
    start: UnitStart,
    waiting: Vec<(TargetTable, RecordBatch)>,
    waiting_bytes: usize,
    receipt: Receipt,
}

impl SqliteUnit {
    /// A unit whose transaction has begun and whose fence has been checked.
    pub(crate) fn new(writing: Writing, start: UnitStart) -> Self {
        Self {
            writing,
            start,
            waiting: Vec::new(),
            waiting_bytes: 0,
            receipt: Receipt::default(),
        }
    }

    /// Upserts wait for deletes only where deletes can follow them.
    fn waits(&self) -> bool {
        matches!(self.start.step, UnitStep::Watermark { .. })
            && !self.start.careful
            && !self.start.into_empty
    }

    async fn apply_waiting(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        for (table, batch) in std::mem::take(&mut self.waiting) {
            self.apply(&table, &batch, Action::Upsert).await?;
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        table: &TargetTable,
        batch: &RecordBatch,
        action: Action,
    ) -> Result<Vec<Rejection>> {
        let statement = Statement::new(table, action)?;
        let (changed, rejections) = if self.start.careful {
            self.apply_carefully(&statement, batch).await?
        } else {
            (self.apply_rows(&statement, batch).await?, Vec::new())
        };
        match action {
            Action::Delete => self.receipt.rows_deleted += changed,
            Action::Upsert | Action::Fill => self.receipt.rows_written += changed,
        }
        Ok(rejections)
    }

    /// Applies all rows; the first error ends it.
    async fn apply_rows(&mut self, statement: &Statement, batch: &RecordBatch) -> Result<u64> {
        let encoded = Encoded::new(&statement.table, &statement.columns, batch)?;
        let step = statement.rows_per_statement();
        let full = statement.sql(step);
        let mut changed = 0;
        let mut row = 0;
        while row < encoded.row_count() {
            let end = (row + step).min(encoded.row_count());
            let sql = if end - row == step {
                full.clone()
            } else {
                statement.sql(end - row)
            };
            let mut arguments = arguments![];
            for index in row..end {
                for value in encoded.row(index) {
                    bind(&mut arguments, value)?;
                }
            }
            let session = &mut self.writing.session;
            changed += session.execute(sql, arguments, &statement.place).await?;
            row = end;
        }
        Ok(changed)
    }

    /// Applies ranges of rows behind savepoints and halves those that are refused.
    async fn apply_carefully(
        &mut self,
        statement: &Statement,
        batch: &RecordBatch,
    ) -> Result<(u64, Vec<Rejection>)> {
        let mut changed = 0;
        let mut rejections = Vec::new();
        let mut ranges = Vec::<Range<usize>>::new();
        ranges.push(0..batch.num_rows());
        while let Some(range) = ranges.pop() {
            if range.is_empty() {
                continue;
            }
            self.writing
                .session
                .run("SAVEPOINT syncset", &statement.place)
                .await?;
            let slice = batch.slice(range.start, range.len());
            match self.apply_rows(statement, &slice).await {
                Ok(count) => changed += count,
                Err(error) if is_refusal(&error) => {
                    self.writing
                        .session
                        .run("ROLLBACK TO syncset", &statement.place)
                        .await?;
                    if range.len() == 1 {
                        rejections.push(rejection(range.start, error));
                    } else {
                        let middle = range.start + range.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                    }
                }
                Err(error) => return Err(error),
            }
            self.writing
                .session
                .run("RELEASE syncset", &statement.place)
                .await?;
        }
        Ok((changed, rejections))
    }
}

fn is_refusal(error: &ConnectorError) -> bool {
    matches!(error.class, ErrorClass::RowRefused | ErrorClass::RowParked)
}

fn rejection(row: usize, error: ConnectorError) -> Rejection {
    Rejection {
        row,
        // SQLite's own sentence names the constraint and its columns, and no value.
        reason: error
            .cause
            .as_ref()
            .map_or_else(|| error.message.clone(), ToString::to_string),
        code: error.code,
        parked: error.class == ErrorClass::RowParked,
    }
}

/// A statement for any number of rows of one table.
struct Statement {
    table: String,
    columns: Vec<TargetColumn>,
    place: String,
    before_rows: String,
    after_rows: String,
}

impl Statement {
    fn new(table: &TargetTable, action: Action) -> Result<Self> {
        let name = table_name(&table.name);
        let (columns, place, before_rows, after_rows) = match action {
            Action::Delete => {
                if table.key.is_empty() {
                    return Err(keyless(table));
                }
                let before = format!(
                    "DELETE FROM {name} WHERE ({}) IN (VALUES ",
                    identifiers(&table.key)
                );
                (key_columns(table), "deleting from", before, ")".to_owned())
            }
            Action::Fill => {
                let names = identifiers(table.columns.iter().map(|column| &column.name));
                let before = format!("INSERT INTO {name} ({names}) VALUES ");
                (table.columns.clone(), "writing", before, on_conflict(table))
            }
            Action::Upsert if table.key.is_empty() => return Self::new(table, Action::Fill),
            Action::Upsert => {
                let names = identifiers(table.columns.iter().map(|column| &column.name));
                let values: Vec<String> = (1..=table.columns.len())
                    .map(|index| format!("s.column{index}"))
                    .collect();
                let before = format!(
                    "INSERT INTO {name} ({names}) SELECT {} FROM (VALUES ",
                    values.join(", ")
                );
                let after = format!(
                    ") AS s WHERE NOT EXISTS (SELECT 1 FROM {name} AS t WHERE {}){}",
                    same_image(table),
                    on_conflict(table)
                );
                (table.columns.clone(), "writing", before, after)
            }
        };
        Ok(Self {
            place: format!("{place} `{}`", table.name),
            table: table.name.name.clone(),
            columns,
            before_rows,
            after_rows,
        })
    }

    fn rows_per_statement(&self) -> usize {
        (VALUES_PER_STATEMENT / self.columns.len().max(1)).clamp(1, ROWS_PER_STATEMENT)
    }

    fn sql(&self, row_count: usize) -> String {
        let rows = placeholders(row_count, self.columns.len());
        format!("{}{rows}{}", self.before_rows, self.after_rows)
    }
}

fn key_columns(table: &TargetTable) -> Vec<TargetColumn> {
    let find = |name: &String| table.columns.iter().find(|column| column.name == *name);
    table.key.iter().filter_map(find).cloned().collect()
}

/// True for the stored row `t` that has the key and the image of the given row `s`.
fn same_image(table: &TargetTable) -> String {
    let key = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| table.key.contains(&column.name));
    let mut conditions: Vec<String> = key
        .map(|(index, column)| format!("t.{} = s.column{}", identifier(&column.name), index + 1))
        .collect();
    for (index, column) in table.columns.iter().enumerate() {
        // A key of integers that is equal is the same.
        if table.key.contains(&column.name) && column.data_type == DataType::Int64 {
            continue;
        }
        let (name, value) = (identifier(&column.name), index + 1);
        conditions.push(format!(
            "typeof(t.{name}) = typeof(s.column{value}) AND t.{name} COLLATE BINARY IS s.column{value}"
        ));
    }
    conditions.join(" AND ")
}

fn on_conflict(table: &TargetTable) -> String {
    if table.key.is_empty() {
        return String::new();
    }
    // Equal keys may have two images only where numbers have: 1 and 1.0.
    let written = table.columns.iter().filter(|column| {
        !table.key.contains(&column.name)
            || matches!(
                column.data_type,
                DataType::Float64 | DataType::Decimal128(..)
            )
    });
    let sets: Vec<String> = written
        .map(|column| identifier(&column.name))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let key = identifiers(&table.key);
    if sets.is_empty() {
        format!(" ON CONFLICT ({key}) DO NOTHING")
    } else {
        format!(" ON CONFLICT ({key}) DO UPDATE SET {}", sets.join(", "))
    }
}

#[async_trait]
impl UnitWriter for SqliteUnit {
    async fn upsert(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>> {
        if self.start.into_empty {
            return self.apply(table, &batch, Action::Fill).await;
        }
        if !self.waits() {
            return self.apply(table, &batch, Action::Upsert).await;
        }
        self.waiting_bytes += batch.get_array_memory_size();
        self.waiting.push((table.clone(), batch));
        if self.waiting_bytes > WAITING_BYTES_MAX {
            // A delete that follows comes late. At worst a unique key refuses a row for it, and
            // the careful unit after this one parks that row.
            self.apply_waiting().await?;
        }
        Ok(Vec::new())
    }

    async fn delete(&mut self, table: &TargetTable, keys: RecordBatch) -> Result<Vec<Rejection>> {
        self.apply(table, &keys, Action::Delete).await
    }

    async fn prune(&mut self, table: &TargetTable, mut keys: BatchStream<'_>) -> Result<()> {
        if table.key.is_empty() {
            return Err(keyless(table));
        }
        self.apply_waiting().await?;
        let place = format!("looking for deleted rows of `{}`", table.name);
        let (name, key) = (table_name(&table.name), identifiers(&table.key));
        let columns = key_columns(table);
        let session = &mut self.writing.session;
        session
            .run("DROP TABLE IF EXISTS temp._syncset_keys", &place)
            .await?;
        // Made from the table itself, its columns convert values as the table's do.
        let create = format!("CREATE TEMP TABLE _syncset_keys AS SELECT {key} FROM {name} WHERE 0");
        session.run(&create, &place).await?;
        session
            .run(
                &format!("CREATE INDEX temp._syncset_keys_key ON _syncset_keys ({key})"),
                &place,
            )
            .await?;
        let step = (VALUES_PER_STATEMENT / columns.len()).clamp(1, ROWS_PER_STATEMENT);
        while let Some(batch) = keys.try_next().await? {
            let encoded = Encoded::new(&table.name.name, &columns, &batch)?;
            let mut row = 0;
            while row < encoded.row_count() {
                let end = (row + step).min(encoded.row_count());
                let mut arguments = arguments![];
                for index in row..end {
                    for value in encoded.row(index) {
                        bind(&mut arguments, value)?;
                    }
                }
                let sql = format!(
                    "INSERT INTO temp._syncset_keys VALUES {}",
                    placeholders(end - row, columns.len())
                );
                session.execute(sql, arguments, &place).await?;
                row = end;
            }
        }
        let same: Vec<String> = table
            .key
            .iter()
            .map(|column| identifier(column))
            .map(|column| format!("k.{column} = t.{column}"))
            .collect();
        let sql = format!(
            "DELETE FROM {name} AS t WHERE NOT EXISTS (SELECT 1 FROM temp._syncset_keys k WHERE {})",
            same.join(" AND ")
        );
        self.receipt.rows_deleted += session.execute(sql, arguments![], &place).await?;
        session.run("DROP TABLE temp._syncset_keys", &place).await
    }

    async fn store_rejected(&mut self, rejected: &[RejectedRow]) -> Result<()> {
        rows::store_rejected(&mut self.writing.session, &self.start.lease.key, rejected).await
    }

    async fn forget_rejected(&mut self, stream: &str, keys: &[serde_json::Value]) -> Result<()> {
        rows::forget_rejected(
            &mut self.writing.session,
            &self.start.lease.key,
            stream,
            keys,
        )
        .await
    }

    async fn commit(
        mut self: Box<Self>,
        watermark: Option<(Position, StreamPhase)>,
    ) -> Result<Receipt> {
        self.apply_waiting().await?;
        let key = self.start.lease.key.clone();
        let session = &mut self.writing.session;
        match (&self.start.step, watermark) {
            (UnitStep::Chunk { stream, index }, None) => {
                let chunk = (*index, self.receipt.rows_written);
                rows::finish_chunk(session, &key, stream, chunk).await?;
            }
            (UnitStep::Watermark { stream, version }, Some((position, phase))) => {
                rows::move_watermark(session, &key, stream, *version, &position, Some(phase))
                    .await?;
                self.receipt.version = version + 1;
            }
            _ => {
                return Err(ConnectorError::new(
                    ErrorClass::Store,
                    "a unit of a window needs a watermark, and one of a chunk takes none",
                ));
            }
        }
        self.writing.commit("committing a unit").await?;
        Ok(self.receipt)
    }

    async fn abort(self: Box<Self>) {
        self.writing.rollback().await;
    }
}
