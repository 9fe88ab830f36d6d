//! One unit of work: begun and written; its commit is in `commit`, what the guard is asked in `deletes`
//! and `replace`.

mod commit;
mod deletes;
mod exact;
mod replace;

use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::fit::{self, Losses};
use crate::observer::{UnitBegun, UnitKind, UnitWatch};
use crate::open::Ends;
use crate::planned::PlannedTable;
use crate::run::rejects::{self, Rejects};
use crate::run::table::TableRun;
use crate::run::waiting::{Change, Refused, WaitingRow, tables_of, together};
use arrow_array::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use syncset_connector::{Digest, KeyDigest, UnitStart, UnitStep, UnitWriter, WriteMode};
use syncset_transform::{SKIPPED_ROWS_MAX, TransformError};

/// Why a row cannot be written, and the table it belongs to if it is one row's fault.
pub(crate) type Refusal = (Option<Arc<PlannedTable>>, Failure);

/// A unit that has been begun. Dropping it without `commit` or `abort` drops its transaction.
pub(crate) struct Unit<'a> {
    ends: &'a Ends,
    start: UnitStart,
    writer: Box<dyn UnitWriter>,
    rejects: Rejects,
    refused: Refused,
    waiting: Vec<WaitingRow>,
    /// Keys of stored refused rows that this unit writes.
    tried_again: Vec<serde_json::Value>,
    /// True once the tables hold what was collected: rows that come later are written by key.
    replaced: bool,
    /// Streams of replaced tables for which rows were collected.
    collected: BTreeSet<String>,
    /// Keys to delete that were staged and not decided about.
    staged: u64,
    /// Keys whose rows could not be deleted, which are pending for that.
    put_back: u64,
    turn: Turn,
    /// True once the counters of its tables know of its deletes.
    accounted: bool,
    /// What values lost that were made to fit, by streams.
    losses: BTreeMap<String, Losses>,
    /// Tells of its end.
    watch: UnitWatch,
}

/// Whether the guard is asked by a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is: the unit is the last one of its table's run, or the only one.
    Last,
    /// Its deletes wait for a later unit of the run.
    More,
}

impl<'a> Unit<'a> {
    /// Begins a unit: the fence and its own row are locked and verified.
    pub(crate) async fn begin(
        ends: &'a Ends,
        start: UnitStart,
        table: &TableRun,
        kind: UnitKind,
    ) -> Result<Self, Failure> {
        let begun = UnitBegun {
            stream: table.stream(),
            kind,
            attempts_failed: table.attempts,
        };
        let watch = table.progress.unit(&begun, &table.report);
        let mut writer = match ends.target().begin(start.clone()).await {
            Ok(writer) => writer,
            Err(error) => {
                let failure = Failure::from(error);
                watch.failed(&failure);
                return Err(failure);
            }
        };
        fail_point("unit.begun");
        if table.pending_deletes > 0 {
            writer.heed_pending();
        }
        let rejects = Rejects::new(table);
        Ok(Self {
            ends,
            start,
            writer,
            rejects,
            refused: table.refused,
            waiting: Vec::new(),
            tried_again: Vec::new(),
            replaced: false,
            collected: BTreeSet::new(),
            staged: 0,
            put_back: 0,
            turn: Turn::Last,
            accounted: false,
            losses: BTreeMap::new(),
            watch,
        })
    }

    /// Deletes of other tables that it writes may be pending, too.
    pub(crate) fn heed_pending(&mut self) {
        self.writer.heed_pending();
    }

    /// Forgets the pending deletes of a table: those that are still to be deleted were found again.
    /// The table has none from here on.
    pub(crate) async fn forget_pending(&mut self, table: &mut TableRun) -> Result<(), Failure> {
        if table.pending_deletes > 0 {
            let target = &table.planned.target;
            self.writer.stage_pending(target).await?;
            self.writer.take_deletes(target).await?;
            table.pending_deletes = 0;
        }
        Ok(())
    }

    /// Says whether its deletes wait for a later unit of the run.
    pub(crate) fn take_turn(&mut self, turn: Turn) {
        self.turn = turn;
    }

    /// Whether it makes a difference that the unit is the last one of the table's run.
    pub(crate) fn has_deletes(&self, table: &TableRun) -> bool {
        table.planned.deletes() && (self.staged > 0 || table.pending_deletes > 0)
    }

    /// What it replaces.
    pub(crate) fn step(&self) -> &UnitStep {
        &self.start.step
    }

    /// Counts all refused rows, whatever the table's other units do with theirs.
    pub(crate) fn counting(mut self) -> Self {
        self.refused = Refused::Count;
        self
    }

    /// Writes selected rows as they came from the source; rows that a condition drops here are
    /// deleted if `drop_deletes`.
    pub(crate) async fn upsert(
        &mut self,
        table: &TableRun,
        batch: &RecordBatch,
        drop_deletes: bool,
    ) -> Result<(), Failure> {
        // More rows than that could not wait, whichever they are.
        let skipped_max = usize::try_from(table.planned.plan.max_rejects).unwrap_or(usize::MAX);
        let applied = table.planned.transform.apply_within(batch, skipped_max);
        let applied = match applied {
            Err(TransformError::Rows { rows, .. }) if rows.len() <= SKIPPED_ROWS_MAX => {
                let keys = rejects::key_columns(&table.read, batch)?;
                for skipped in &rows {
                    self.rejects.skip(&table.planned, &keys, skipped)?;
                }
                // Only if rows of one batch have one key.
                table.planned.transform.apply(batch)
            }
            applied => applied,
        };
        let applied = applied.map_err(|error| rejects::at_key(table, batch, error))?;
        if !applied.skipped.is_empty() {
            let keys = rejects::key_columns(&table.read, batch)?;
            for skipped in &applied.skipped {
                self.rejects.skip(&table.planned, &keys, skipped)?;
            }
        }
        if let Some(dropped) = applied
            .dropped
            .filter(|_| drop_deletes && table.planned.deletes())
        {
            let keys = rejects::key_columns(&table.read, batch)?;
            let keys = arrow_select::filter::filter_record_batch(&keys, &dropped)
                .expect("the mask is as long as the batch");
            self.delete(table, keys).await?;
        }
        if applied.kept.num_rows() == 0 {
            return Ok(());
        }
        let mut losses = Losses::new();
        let fitting = table.planned.fit.apply(applied.kept, &mut losses)?;
        if !losses.is_empty() {
            let stream = table.stream().to_owned();
            fit::add(self.losses.entry(stream).or_default(), &losses);
        }
        self.change(&table.planned, Change::Upsert, fitting).await
    }

    /// What values of all its tables lost, by streams; it forgets them.
    pub(crate) fn take_losses(&mut self) -> BTreeMap<String, Losses> {
        std::mem::take(&mut self.losses)
    }

    /// Deletes rows by key.
    pub(crate) async fn delete(
        &mut self,
        table: &TableRun,
        keys: RecordBatch,
    ) -> Result<(), Failure> {
        if keys.num_rows() == 0 || !table.planned.deletes() {
            return Ok(());
        }
        self.staged += keys.num_rows() as u64;
        let target = &table.planned.target;
        Ok(self.writer.stage_deletes(target, keys).await?)
    }

    /// Sends rows in target columns, or keys, and takes note of those that are refused.
    async fn change(
        &mut self,
        table: &Arc<PlannedTable>,
        change: Change,
        batch: RecordBatch,
    ) -> Result<(), Failure> {
        let (target, sent) = (&table.target, batch.clone());
        let refused = match change {
            Change::Upsert => match table.write() {
                WriteMode::Append => self.writer.append(target, sent).await?,
                WriteMode::Replace if self.start.into_empty => {
                    self.writer.append(target, sent).await?
                }
                WriteMode::Replace if !self.replaced => {
                    self.collected.insert(table.stream().to_owned());
                    self.writer.collect(target, sent).await?
                }
                WriteMode::Replace | WriteMode::Upsert => self.writer.upsert(target, sent).await?,
            },
            Change::Insert => self.writer.append(target, sent).await?,
            Change::Delete => self.writer.delete(target, sent).await?,
        };
        for rejection in refused {
            let row = WaitingRow::new(table.clone(), change, &batch, rejection);
            if row.rejection.parked {
                self.waiting.push(row);
            } else if self.refused != Refused::LeaveOut {
                self.put_aside(row).await?;
            }
        }
        Ok(())
    }

    /// Counts a refused row. One that was to be deleted stays pending: the source would not name it
    /// again.
    async fn put_aside(&mut self, refused: WaitingRow) -> Result<(), Failure> {
        self.rejects
            .add(&refused.table, &refused.row, refused.rejection)?;
        if refused.change == Change::Delete {
            let target = &refused.table.target;
            self.writer.stage_deletes(target, refused.row).await?;
            self.put_back += self.writer.postpone_deletes(target).await?;
        }
        Ok(())
    }

    /// Tries rows that a key refused again, together and as long as it helps: rows of one unit
    /// may need each other in any order.
    ///
    /// # Errors
    /// With the table whose row is refused for good, if it is one.
    pub(crate) async fn retry_waiting(&mut self) -> Result<(), Refusal> {
        loop {
            let waiting = std::mem::take(&mut self.waiting);
            let tables = tables_of(&waiting);
            for change in [Change::Delete, Change::Insert, Change::Upsert] {
                for table in &tables {
                    if let Some(rows) = together(&waiting, table, change) {
                        let tried = self.change(table, change, rows).await;
                        tried.map_err(|failure| (None, failure))?;
                    }
                }
            }
            if self.waiting.len() == waiting.len() {
                break;
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            match self.refused {
                Refused::LeaveOut => {}
                Refused::Wait | Refused::Together => {
                    let failure = rejects::waits(&waiting);
                    return Err((Some(waiting.table), failure));
                }
                Refused::Count => {
                    let table = waiting.table.clone();
                    let added = self.put_aside(waiting).await;
                    added.map_err(|failure| (Some(table), failure))?;
                }
            }
        }
        Ok(())
    }

    /// Says which rows were refused before: those that are not refused again are forgotten.
    pub(crate) fn tries_again(&mut self, keys: Vec<serde_json::Value>) {
        self.tried_again = keys;
    }

    /// Both stores.
    pub(crate) fn ends(&self) -> &Ends {
        self.ends
    }

    /// Count and hash of the keys of a table as the unit leaves it.
    pub(crate) async fn key_digest(
        &mut self,
        table: &TableRun,
        digest: Digest,
    ) -> Result<KeyDigest, Failure> {
        Ok(self
            .writer
            .key_digest(&table.planned.target, digest)
            .await?)
    }

    /// Rolls back. `failure`: why.
    pub(crate) async fn abort(self, failure: &Failure) {
        self.watch.failed(failure);
        self.writer.abort().await;
    }
}
