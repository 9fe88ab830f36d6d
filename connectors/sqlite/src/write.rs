//! One unit: one write transaction.
//!
//! A row is written only if its stored image differs, in class or in bytes, so that a unit that
//! is written twice changes no page the second time. The look-up comes before the insert, because
//! an insert that becomes nothing still fires triggers.

use crate::cell::{bind, integer};
use crate::connect::{Writing, arguments};
use crate::deletes::KeyStage;
use crate::encode::Encoded;
use crate::images::Locked;
use crate::marks::{Now, is_there};
use crate::sql::table as table_name;
use crate::stage::Stage;
use crate::state::{kept, records, rows};
use crate::statement::{Action, Statement, key_columns};
use crate::target::key_digest;
use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use async_trait::async_trait;
use futures::TryStreamExt;
use std::ops::Range;
use std::sync::Arc;
use syncset_connector::{
    BatchStream, ConnectorError, Digest, ErrorClass, KeptRow, KeyDigest, Position, PutBack,
    Receipt, RejectedRow, Rejection, ReplaceRules, Replaced, Result, RowImage, StreamPhase,
    TableName, TargetTable, UnitStart, UnitStep, UnitWriter, WatermarkMove,
};

/// Bytes of upserts that wait for the deletes of their unit.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// A unit that is being written.
pub(crate) struct SqliteUnit {
    pub(crate) writing: Writing,
    pub(crate) start: UnitStart,
    waiting: Vec<(TargetTable, RecordBatch)>,
    waiting_bytes: usize,
    /// Stages of the tables that are replaced.
    pub(crate) collected: Vec<Stage>,
    /// What was done to each table so far.
    done: Vec<(TableName, Receipt)>,
    /// Keys whose rows are deleted when the unit commits.
    deletes: Vec<KeyStage>,
    /// Deletes of its tables may be pending.
    heeds_pending: bool,
    /// Keys whose rows were locked last.
    pub(crate) locked: Option<Locked>,
    /// When it began.
    pub(crate) now: Now,
}

impl SqliteUnit {
    /// A unit whose transaction has begun and whose fence has been checked.
    pub(crate) fn new(writing: Writing, start: UnitStart) -> Self {
        Self {
            writing,
            start,
            waiting: Vec::new(),
            waiting_bytes: 0,
            collected: Vec::new(),
            done: Vec::new(),
            deletes: Vec::new(),
            heeds_pending: false,
            locked: None,
            now: Now::read(),
        }
    }

    /// Upserts wait for deletes only where deletes can follow them.
    fn waits(&self) -> bool {
        let is_chunk = matches!(self.start.step, UnitStep::Chunk { .. });
        !is_chunk && !self.start.careful && !self.start.into_empty
    }

    /// Place of a table's stage of keys to delete, created if it is not there.
    async fn delete_stage(&mut self, table: &TargetTable) -> Result<usize> {
        let known = self.deletes.iter().position(|stage| stage.table == *table);
        if let Some(place) = known {
            return Ok(place);
        }
        let purpose = format!("deletes_{}", self.deletes.len());
        let stage = KeyStage::create(&mut self.writing.session, table, &purpose).await?;
        self.deletes.push(stage);
        Ok(self.deletes.len() - 1)
    }

    /// Keys that are upserted are pending no longer.
    async fn take_out_of_pending(
        &mut self,
        table: &TargetTable,
        batch: &RecordBatch,
    ) -> Result<()> {
        let columns = table.key.iter().filter_map(|name| {
            let place = table
                .columns
                .iter()
                .position(|column| column.name == *name)?;
            Some(batch.column(place).clone())
        });
        let fields = key_columns(table);
        let fields = fields
            .iter()
            .map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let keys = RecordBatch::try_new(schema, columns.collect())
            .expect("the key's columns are as long as their batch");
        let session = &mut self.writing.session;
        let mut stage = KeyStage::create(session, table, "upserted").await?;
        stage.add(session, &keys).await?;
        let owner = &self.start.lease.key;
        stage.take_out_of_pending(session, owner).await?;
        stage.drop(session).await
    }

    /// Deletes what is staged, children first, then writes what waits for that.
    async fn apply_staged(&mut self) -> Result<()> {
        for mut staged in std::mem::take(&mut self.deletes).into_iter().rev() {
            let session = &mut self.writing.session;
            let deleted = staged.apply(session, &self.now).await?;
            self.done_to(&staged.table).rows_deleted += deleted;
            staged.drop(&mut self.writing.session).await?;
        }
        self.apply_waiting().await
    }

    async fn apply_waiting(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        for (table, batch) in std::mem::take(&mut self.waiting) {
            self.apply(&table, &batch, Action::Upsert).await?;
        }
        Ok(())
    }

    pub(crate) async fn apply(
        &mut self,
        table: &TargetTable,
        batch: &RecordBatch,
        action: Action,
    ) -> Result<Vec<Rejection>> {
        let statement = Statement::new(table, action, &self.now)?;
        let (changed, rejections) = if self.start.careful {
            self.apply_carefully(&statement, batch).await?
        } else {
            (self.apply_rows(&statement, batch).await?, Vec::new())
        };
        let receipt = self.done_to(table);
        match action {
            Action::Delete => receipt.rows_deleted += changed,
            Action::Upsert | Action::Fill | Action::Append => receipt.rows_written += changed,
        }
        Ok(rejections)
    }

    /// What was done to a table so far.
    pub(crate) fn done_to(&mut self, table: &TargetTable) -> &mut Receipt {
        let known = self.done.iter().position(|(name, _)| *name == table.name);
        let place = known.unwrap_or_else(|| {
            self.done.push((table.name.clone(), Receipt::default()));
            self.done.len() - 1
        });
        &mut self.done[place].1
    }

    /// What was done to all tables so far.
    fn receipt(&self) -> Receipt {
        let mut sum = Receipt::default();
        for (_, receipt) in &self.done {
            sum.rows_written += receipt.rows_written;
            sum.rows_deleted += receipt.rows_deleted;
        }
        sum
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

fn not_together() -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Store,
        "a unit of several tables needs one watermark for each",
    )
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

#[async_trait]
impl UnitWriter for SqliteUnit {
    async fn upsert(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>> {
        if self.heeds_pending {
            self.take_out_of_pending(table, &batch).await?;
        }
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
        if self.start.careful {
            return self.apply(table, &keys, Action::Delete).await;
        }
        self.stage_deletes(table, keys).await?;
        Ok(Vec::new())
    }

    async fn stage_deletes(&mut self, table: &TargetTable, keys: RecordBatch) -> Result<()> {
        let place = self.delete_stage(table).await?;
        let session = &mut self.writing.session;
        self.deletes[place].add(session, &keys).await
    }

    async fn prune(&mut self, table: &TargetTable, mut keys: BatchStream<'_>) -> Result<u64> {
        self.apply_staged().await?;
        let session = &mut self.writing.session;
        let mut kept = KeyStage::create(session, table, "keys").await?;
        kept.index(session).await?;
        while let Some(batch) = keys.try_next().await? {
            kept.add(session, &batch).await?;
        }
        let place = self.delete_stage(table).await?;
        let session = &mut self.writing.session;
        let gone = self.deletes[place].add_gone(session, &kept).await?;
        kept.drop(session).await?;
        Ok(gone)
    }

    fn heed_pending(&mut self) {
        self.heeds_pending = true;
    }

    async fn stage_pending(&mut self, table: &TargetTable) -> Result<()> {
        let place = self.delete_stage(table).await?;
        let owner = &self.start.lease.key;
        let session = &mut self.writing.session;
        self.deletes[place].add_pending(session, owner).await
    }

    async fn count_deletes(&mut self, table: &TargetTable) -> Result<u64> {
        let place = self.delete_stage(table).await?;
        self.deletes[place].count(&mut self.writing.session).await
    }

    async fn count_rows(&mut self, table: &TargetTable, max: u64) -> Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM {} AS t WHERE {} LIMIT ?)",
            table_name(&table.name),
            is_there(&table.marks, "t")
        );
        let place = format!("counting `{}`", table.name);
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let session = &mut self.writing.session;
        let rows = session.rows(sql, arguments![max], &place).await?;
        let count = rows.first().map_or(0, |row| integer(row, 0));
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn postpone_deletes(&mut self, table: &TargetTable) -> Result<u64> {
        let place = self.delete_stage(table).await?;
        let owner = &self.start.lease.key;
        let session = &mut self.writing.session;
        self.deletes[place].postpone(session, owner).await
    }

    async fn take_deletes(&mut self, table: &TargetTable) -> Result<Vec<RecordBatch>> {
        let place = self.delete_stage(table).await?;
        self.deletes[place].take(&mut self.writing.session).await
    }

    async fn append(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>> {
        self.apply(table, &batch, Action::Append).await
    }

    async fn collect(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>> {
        self.collect_rows(table, &batch).await
    }

    async fn replace(&mut self, tables: &[(&TargetTable, ReplaceRules)]) -> Result<Vec<Replaced>> {
        self.replace_tables(tables).await
    }

    async fn lock_rows(
        &mut self,
        table: &TargetTable,
        keys: &RecordBatch,
    ) -> Result<Vec<Option<RowImage>>> {
        self.lock_and_read(table, keys).await
    }

    async fn put_back(&mut self, table: &TargetTable, rows: &[PutBack]) -> Result<()> {
        self.put_rows_back(table, rows).await
    }

    async fn settle(&mut self, table: &TargetTable) -> Result<Receipt> {
        self.apply_staged().await?;
        Ok(*self.done_to(table))
    }

    async fn keep_rows(&mut self, run_id: &str, rows: &[KeptRow]) -> Result<()> {
        kept::keep(
            &mut self.writing.session,
            &self.start.lease.key,
            run_id,
            rows,
        )
        .await
    }

    async fn mark_reverted(&mut self, run_id: &str, places: &[u64], by: &str) -> Result<()> {
        let key = &self.start.lease.key;
        kept::mark_reverted(&mut self.writing.session, key, (run_id, places), by).await
    }

    async fn store_rejected(&mut self, rejected: &[RejectedRow]) -> Result<()> {
        records::store_rejected(&mut self.writing.session, &self.start.lease.key, rejected).await
    }

    async fn forget_rejected(&mut self, stream: &str, keys: &[serde_json::Value]) -> Result<()> {
        records::forget_rejected(
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
        self.apply_staged().await?;
        let key = self.start.lease.key.clone();
        let mut receipt = self.receipt();
        let session = &mut self.writing.session;
        match (&self.start.step, watermark) {
            (UnitStep::Chunk { stream, index, .. }, None) => {
                let chunk = (*index, receipt.rows_written);
                rows::finish_chunk(session, &key, stream, chunk).await?;
            }
            (UnitStep::Watermark { stream, version }, Some((position, phase))) => {
                rows::move_watermark(session, &key, stream, *version, &position, Some(phase))
                    .await?;
                receipt.version = version + 1;
            }
            _ => {
                return Err(ConnectorError::new(
                    ErrorClass::Store,
                    "a unit of a window needs a watermark, and one of a chunk takes none",
                ));
            }
        }
        self.writing.commit("committing a unit").await?;
        Ok(receipt)
    }

    async fn key_digest(&mut self, table: &TargetTable, digest: Digest) -> Result<KeyDigest> {
        self.apply_staged().await?;
        key_digest(&mut self.writing.session, table, digest).await
    }

    async fn commit_together(
        mut self: Box<Self>,
        moves: Vec<WatermarkMove>,
    ) -> Result<Vec<(TableName, Receipt)>> {
        self.apply_staged().await?;
        let key = self.start.lease.key.clone();
        let UnitStep::Watermarks(streams) = &self.start.step else {
            return Err(not_together());
        };
        let session = &mut self.writing.session;
        for (stream, version) in streams {
            let moved = moves.iter().find(|moved| moved.stream == *stream);
            let moved = moved.ok_or_else(not_together)?;
            if moved.whole {
                rows::forget_chunks(session, &key, stream).await?;
            }
            let (position, phase) = (&moved.position, Some(moved.phase));
            rows::move_watermark(session, &key, stream, *version, position, phase).await?;
        }
        self.writing.commit("committing a unit").await?;
        Ok(self.done)
    }

    async fn abort(self: Box<Self>) {
        self.writing.rollback().await;
    }
}
