//! One read transaction, and everything that is read in it.

use crate::boundary;
use crate::cell::bind;
use crate::changes;
use crate::connect::{Session, arguments};
use crate::digest::{KeySum, RowHashes, count};
use crate::disjoint::below_position;
use crate::encode::Encoded;
use crate::read::selection;
use crate::scan::{Scan, decoder, key_positions, select};
use crate::sql;
use crate::window::WindowPlan;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;
use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use sqlx::sqlite::SqliteArguments;
use std::sync::Arc;
use syncset_connector::{
    BatchStream, ChangeStream, ConnectorError, Digest, ErrorClass, KeyDigest, KeyRange, Position,
    Result, Snapshot, SnapshotToken, TableRead, TargetColumn, Window, WindowState,
};

/// Keys looked up by one statement.
const KEYS_PER_STATEMENT: usize = 200;

/// One read transaction.
pub(crate) struct SqliteSnapshot {
    session: Session,
    tables: Vec<(Arc<TableRead>, Option<WindowPlan>)>,
    windows: Vec<Window>,
}

impl SqliteSnapshot {
    /// A snapshot in a session whose transaction has read already.
    pub(crate) fn new(session: Session, tables: Vec<(Arc<TableRead>, Option<WindowPlan>)>) -> Self {
        let windows = tables.iter().map(|(_, plan)| Window {
            state: plan
                .as_ref()
                .map_or(WindowState::Changed, |plan| plan.state.clone()),
            continues: plan.as_ref().is_some_and(WindowPlan::continues),
            warnings: Vec::new(),
        });
        Self {
            windows: windows.collect(),
            session,
            tables,
        }
    }

    fn read(&self, table: usize) -> Arc<TableRead> {
        Arc::clone(&self.tables[table].0)
    }

    fn scan(read: &TableRead, conditions: &[String], arguments: SqliteArguments) -> Result<Scan> {
        Ok(Scan {
            statement: select(read, &read.columns, conditions),
            arguments,
            decoder: decoder(read, read.read_columns(), read.schema())?,
            key: key_positions(read, &read.columns),
            batch_bytes: read.batch_bytes,
            place: format!("reading `{}`", read.description.name),
            only: None,
        })
    }

    fn scan_keys(read: &TableRead) -> Result<Scan> {
        let conditions = Vec::from_iter(selection(read)?);
        Ok(Scan {
            statement: select(read, &read.key, &conditions),
            arguments: arguments![],
            decoder: decoder(read, read.key_columns(), read.key_schema())?,
            key: (0..read.key.len()).collect(),
            batch_bytes: read.batch_bytes,
            place: format!("reading keys of `{}`", read.description.name),
            only: None,
        })
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn windows(&self) -> &[Window] {
        &self.windows
    }

    async fn read_changes(&mut self, table: usize, unit_bytes: u64) -> Result<ChangeStream<'_>> {
        let read = self.read(table);
        let plan = self.tables[table].1.clone().ok_or_else(|| {
            ConnectorError::new(
                ErrorClass::Store,
                format!("no window was asked for `{}`", read.description.name),
            )
        })?;
        changes::stream(&mut self.session, read, plan, unit_bytes).await
    }

    async fn read_chunk(&mut self, table: usize, range: &KeyRange) -> Result<BatchStream<'_>> {
        let read = self.read(table);
        let mut arguments = arguments![];
        let mut conditions = boundary::condition(&read, range, &mut arguments)?;
        conditions.extend(selection(&read)?);
        Ok(Self::scan(&read, &conditions, arguments)?.stream(&mut self.session))
    }

    async fn read_chunk_below(
        &mut self,
        table: usize,
        range: &KeyRange,
        below: &Position,
    ) -> Result<BatchStream<'_>> {
        let read = self.read(table);
        let mut arguments = arguments![];
        let mut conditions = boundary::condition(&read, range, &mut arguments)?;
        conditions.extend(selection(&read)?);
        let scan = Self::scan(&read, &conditions, arguments)?;
        Ok(below_position(scan, &read, below, &conditions)?.stream(&mut self.session))
    }

    async fn read_rows(&mut self, table: usize, keys: &RecordBatch) -> Result<BatchStream<'_>> {
        let read = self.read(table);
        let wanted = RowHashes::of(keys.columns(), keys.num_rows())?;
        let positions = key_positions(&read, &read.columns);
        let filtered = move |batch: RecordBatch| -> Result<Option<RecordBatch>> {
            let columns: Vec<_> = positions
                .iter()
                .map(|index| Arc::clone(batch.column(*index)))
                .collect();
            let found = wanted.contains(&columns, batch.num_rows())?;
            let kept =
                filter_record_batch(&batch, &BooleanArray::from(found)).map_err(|cause| {
                    ConnectorError::new(ErrorClass::Store, "rows could not be picked by key")
                        .caused_by(cause)
                })?;
            Ok((kept.num_rows() > 0).then_some(kept))
        };
        let scans = key_scans(&read, keys)?;
        let session = &mut self.session;
        let mut batches = Vec::new();
        for scan in scans {
            let mut found = scan.stream(session);
            while let Some(batch) = found.try_next().await? {
                batches.extend(filtered(batch)?);
            }
        }
        Ok(stream::iter(batches.into_iter().map(Ok)).boxed())
    }

    async fn key_digest(&mut self, table: usize, digest: Digest) -> Result<KeyDigest> {
        let read = self.read(table);
        if digest == Digest::Count {
            let conditions = Vec::from_iter(selection(&read)?);
            let keys = select(&read, &read.key, &conditions);
            let place = format!("counting `{}`", read.description.name);
            return count(&mut self.session, &keys, &place).await;
        }
        let mut sum = KeySum::default();
        let mut keys = Self::scan_keys(&read)?.stream(&mut self.session);
        while let Some(batch) = keys.try_next().await? {
            sum.add(&batch)?;
        }
        Ok(sum.digest())
    }

    async fn read_keys(&mut self, table: usize) -> Result<BatchStream<'_>> {
        let read = self.read(table);
        Ok(Self::scan_keys(&read)?.stream(&mut self.session))
    }

    async fn share(&mut self) -> Result<Option<SnapshotToken>> {
        Ok(None)
    }

    async fn close(mut self: Box<Self>) {
        if self
            .session
            .run("ROLLBACK", "ending a snapshot")
            .await
            .is_ok()
        {
            self.session.release();
        }
    }
}

/// Statements that find rows by key. Only where the key has one stored form: a UUID or a date may
/// be written in several ways, so those are found by reading all rows.
fn key_scans(read: &TableRead, keys: &RecordBatch) -> Result<Vec<Scan>> {
    let one_form = read.key_columns().iter().all(|column| {
        matches!(
            column.data_type,
            DataType::Int64 | DataType::Utf8 | DataType::Binary
        ) && !column.native.as_text
    });
    let filter = Vec::from_iter(selection(read)?);
    if !one_form {
        return Ok(vec![SqliteSnapshot::scan(read, &filter, arguments![])?]);
    }
    let columns: Vec<TargetColumn> = read
        .key_columns()
        .into_iter()
        .map(|column| TargetColumn::of(column, &column.name))
        .collect();
    let encoded = Encoded::new(&read.description.name.name, &columns, keys)?;
    let mut scans = Vec::new();
    let mut row = 0;
    while row < encoded.row_count() {
        let end = (row + KEYS_PER_STATEMENT).min(encoded.row_count());
        let mut arguments = arguments![];
        for index in row..end {
            for cell in encoded.row(index) {
                bind(&mut arguments, cell)?;
            }
        }
        let mut conditions = vec![format!(
            "({}) IN (VALUES {})",
            sql::identifiers(&read.key),
            sql::placeholders(end - row, read.key.len())
        )];
        conditions.extend(filter.iter().cloned());
        scans.push(SqliteSnapshot::scan(read, &conditions, arguments)?);
        row = end;
    }
    Ok(scans)
}
