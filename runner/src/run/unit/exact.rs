//! Units that write single rows exactly: each row is locked and read before it is written, and kept
//! as it was.

use super::Unit;
use crate::failure::Failure;
use crate::fit::{self, Losses};
use crate::planned::PlannedTable;
use crate::run::guard::Guard;
use crate::run::table::TableRun;
use crate::run::waiting::Change;
use arrow_array::RecordBatch;
use std::sync::Arc;
use syncset_connector::{KeptRow, PutBack, Receipt, RowImage};

impl Unit<'_> {
    /// Locks rows by keys and reads them; see
    /// [`UnitWriter::lock_rows`](syncset_connector::UnitWriter::lock_rows).
    pub(crate) async fn lock(
        &mut self,
        table: &PlannedTable,
        keys: &RecordBatch,
    ) -> Result<Vec<Option<RowImage>>, Failure> {
        // Rows of a table that is replaced as a whole in a run are written by key here.
        self.replaced = true;
        Ok(self.writer.lock_rows(&table.target, keys).await?)
    }

    /// Rows as they came from the source in the columns of the target, as they would be written,
    /// without those that a condition drops here.
    pub(crate) fn fitted(
        &mut self,
        table: &TableRun,
        batch: &RecordBatch,
    ) -> Result<RecordBatch, Failure> {
        let applied = table.planned.transform.apply(batch)?;
        let mut losses = Losses::new();
        let fitting = table.planned.fit.apply(applied.kept, &mut losses)?;
        if !losses.is_empty() {
            let stream = table.stream().to_owned();
            fit::add(self.losses.entry(stream).or_default(), &losses);
        }
        Ok(fitting)
    }

    /// Writes rows in target columns, or deletes by key; nobody asks the guard.
    pub(crate) async fn write(
        &mut self,
        table: &Arc<PlannedTable>,
        change: Change,
        batch: RecordBatch,
    ) -> Result<(), Failure> {
        match batch.num_rows() {
            0 => Ok(()),
            _ => self.change(table, change, batch).await,
        }
    }

    /// Applies what was written so far, rows that a key refused at first with it. Returns what was
    /// done to the table.
    pub(crate) async fn settle(&mut self, table: &PlannedTable) -> Result<Receipt, Failure> {
        self.retry_waiting().await.map_err(|(_, failure)| failure)?;
        Ok(self.writer.settle(&table.target).await?)
    }

    /// Rows that are refused by a key so far and wait.
    pub(crate) fn waiting_rows(&self) -> usize {
        self.waiting.len()
    }

    /// Makes locked rows hold what images say.
    pub(crate) async fn put_back(
        &mut self,
        table: &PlannedTable,
        rows: &[PutBack],
    ) -> Result<(), Failure> {
        Ok(self.writer.put_back(&table.target, rows).await?)
    }

    /// Keeps rows as they were.
    pub(crate) async fn keep(&mut self, run_id: &str, rows: &[KeptRow]) -> Result<(), Failure> {
        Ok(self.writer.keep_rows(run_id, rows).await?)
    }

    /// Says which rows of another run were put back by this one.
    pub(crate) async fn mark_reverted(
        &mut self,
        run_id: &str,
        places: &[u64],
        by: &str,
    ) -> Result<(), Failure> {
        Ok(self.writer.mark_reverted(run_id, places, by).await?)
    }

    /// Asks the guard about all deletes of a table before the first one.
    ///
    /// # Errors
    /// The guard's, if it does not agree.
    pub(crate) async fn agree_to(&mut self, table: &TableRun, deletes: u64) -> Result<(), Failure> {
        let guard = Guard::of(table, &self.ends.key.pipeline);
        let stopped = self
            .ask_about(&guard, table, deletes, table.deleted)
            .await?;
        stopped.map_or(Ok(()), Err)
    }
}
