//! A unit of work: one transaction that writes rows and stores its own progress.
//!
//! Rows go straight into a table that holds none, otherwise into a stage that is merged at the
//! end. Nothing here decides what to write or when. Within a unit there is no statement that
//! commits by itself: no DDL but that of temporary tables, and no TRUNCATE.

pub(crate) mod analyze;
mod append;
mod apply;
mod careful;
pub(crate) mod catalog;
mod column;
mod count;
mod deletes;
pub(crate) mod holds;
mod images;
mod marks;
mod plan;
mod pool;
mod replace;
pub(crate) mod rights;
mod send;
pub(crate) mod status;
mod unit;

pub(crate) use count::row_count;
pub(crate) use images::spell;
pub(crate) use pool::WriterPool;
pub(crate) use unit::MysqlUnit;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use syncset_connector::{
    BatchStream, Digest, KeptRow, KeyDigest, Position, PutBack, Receipt, RejectedRow, Rejection,
    ReplaceRules, Replaced, Result, RowImage, StreamPhase, TableName, TargetTable, UnitWriter,
    WatermarkMove,
};

#[async_trait]
impl UnitWriter for MysqlUnit {
    async fn upsert(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        plan::check_key(table)?;
        let place = self.work_on(table).await?;
        if self.start.careful {
            let path = self.upsert_path(place);
            let (written, rejections) = self.apply_carefully(place, &path, &batch).await?;
            self.tables[place].receipt.rows_written += written;
            return Ok(rejections);
        }
        let path = if self.is_direct() {
            self.tables[place].plan.direct()
        } else {
            self.tables[place].upserts_staged = true;
            self.tables[place].plan.upsert()
        };
        self.send(place, &path, &batch).await?;
        Ok(Vec::new())
    }

    async fn delete(&mut self, table: &TargetTable, keys: RecordBatch) -> Result<Vec<Rejection>> {
        if keys.num_rows() == 0 {
            return Ok(Vec::new());
        }
        plan::check_key(table)?;
        let place = self.work_on(table).await?;
        if self.start.careful {
            let path = self.tables[place].plan.delete();
            let (deleted, rejections) = self.apply_carefully(place, &path, &keys).await?;
            self.tables[place].receipt.rows_deleted += deleted;
            return Ok(rejections);
        }
        UnitWriter::stage_deletes(self, table, keys).await?;
        Ok(Vec::new())
    }

    async fn stage_deletes(&mut self, table: &TargetTable, keys: RecordBatch) -> Result<()> {
        if keys.num_rows() == 0 {
            return Ok(());
        }
        let place = self.work_on(table).await?;
        let path = self.tables[place].plan.delete();
        self.send(place, &path, &keys).await?;
        self.tables[place].deletes_staged = true;
        Ok(())
    }

    async fn prune(&mut self, table: &TargetTable, mut keys: BatchStream<'_>) -> Result<u64> {
        plan::check_key(table)?;
        self.apply_staged().await?;
        self.empty_stages().await?;
        let place = self.work_on(table).await?;
        let path = self.tables[place].plan.prune();
        let stage = path.stage.clone().expect("keys are staged");
        // Exists even if no key follows: then every row goes.
        self.create_stage(place, &stage).await?;
        while let Some(batch) = keys.next().await {
            self.send(place, &path, &batch?).await?;
        }
        let gone = self.stage_gone(place, &stage.name).await?;
        self.empty(&stage.name).await?;
        Ok(gone)
    }

    fn heed_pending(&mut self) {
        self.heeds_pending = true;
    }

    async fn stage_pending(&mut self, table: &TargetTable) -> Result<()> {
        self.unpostpone(table).await
    }

    async fn count_deletes(&mut self, table: &TargetTable) -> Result<u64> {
        self.count_staged(table).await
    }

    async fn count_rows(&mut self, table: &TargetTable, max: u64) -> Result<u64> {
        self.count_up_to(table, max).await
    }

    async fn postpone_deletes(&mut self, table: &TargetTable) -> Result<u64> {
        self.postpone(table).await
    }

    async fn take_deletes(&mut self, table: &TargetTable) -> Result<Vec<RecordBatch>> {
        self.take_back(table).await
    }

    async fn append(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>> {
        self.append_rows(table, &batch).await
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
        self.empty_stages().await?;
        let place = self.work_on(table).await?;
        Ok(self.tables[place].receipt)
    }

    async fn keep_rows(&mut self, run_id: &str, rows: &[KeptRow]) -> Result<()> {
        for sql in crate::state::keep_statements(&self.start.lease.key, run_id, rows) {
            self.execute(&sql).await?;
        }
        Ok(())
    }

    async fn mark_reverted(&mut self, run_id: &str, places: &[u64], by: &str) -> Result<()> {
        let key = &self.start.lease.key;
        let sql = crate::state::reverted_statement(key, run_id, places, by);
        self.run_all(&sql).await
    }

    async fn store_rejected(&mut self, rows: &[RejectedRow]) -> Result<()> {
        let sql = crate::state::rejected_statements(&self.start.lease.key, rows);
        self.run_all(&sql).await
    }

    async fn forget_rejected(&mut self, stream: &str, keys: &[serde_json::Value]) -> Result<()> {
        let sql = crate::state::forget_statements(&self.start.lease.key, stream, keys);
        self.run_all(&sql).await
    }

    async fn commit(
        mut self: Box<Self>,
        watermark: Option<(Position, StreamPhase)>,
    ) -> Result<Receipt> {
        match self.finish(watermark.as_ref()).await {
            Ok(()) => {
                let receipt = self.receipt();
                self.give_back();
                Ok(receipt)
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn key_digest(&mut self, table: &TargetTable, _: Digest) -> Result<KeyDigest> {
        self.apply_staged().await?;
        self.empty_stages().await?;
        count::row_count(self.session()?, table).await
    }

    async fn commit_together(
        mut self: Box<Self>,
        moves: Vec<WatermarkMove>,
    ) -> Result<Vec<(TableName, Receipt)>> {
        match self.finish_together(&moves).await {
            Ok(()) => {
                let done = self.tables.iter();
                let done = done.map(|work| (work.table.name.clone(), work.receipt));
                let done = done.collect();
                self.give_back();
                Ok(done)
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn abort(mut self: Box<Self>) {
        self.roll_back().await;
    }
}
