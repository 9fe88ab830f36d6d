//! One unit of work: begun, written, committed, and its commit decided when the answer was lost.

use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::open::Ends;
use crate::planned::PlannedTable;
use crate::run::rejects::{self, Rejects};
use crate::run::table::TableRun;
use crate::run::waiting::{Change, Refused, WaitingRow, tables_of, together};
use arrow_array::RecordBatch;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncset_connector::{
    BatchStream, ConnectorError, ErrorClass, KeyDigest, Position, Receipt, ReplaceRules, Replaced,
    StreamPhase, TableName, UnitStart, UnitStep, UnitWriter, WatermarkMove, WriteMode,
};

/// Attempts to ask whether a commit happened, each over a link of its own.
const DECIDE_ATTEMPTS: u32 = 8;

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
}

impl<'a> Unit<'a> {
    /// Begins a unit: the fence and its own row are locked and verified.
    pub(crate) async fn begin(
        ends: &'a Ends,
        start: UnitStart,
        table: &TableRun,
    ) -> Result<Self, Failure> {
        let writer = ends.target().begin(start.clone()).await?;
        fail_point("unit.begun");
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
        })
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
        let applied = table.planned.transform.apply(batch)?;
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
        self.change(&table.planned, Change::Upsert, applied.kept)
            .await
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
        self.change(&table.planned, Change::Delete, keys).await
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
                WriteMode::Replace if !self.replaced => self.writer.collect(target, sent).await?,
                WriteMode::Replace | WriteMode::Upsert => self.writer.upsert(target, sent).await?,
            },
            Change::Delete => self.writer.delete(target, sent).await?,
        };
        for rejection in refused {
            if rejection.parked {
                let row = WaitingRow::new(table.clone(), change, &batch, rejection);
                self.waiting.push(row);
            } else if self.refused != Refused::LeaveOut {
                self.rejects.add(table, &batch, rejection)?;
            }
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
            for change in [Change::Delete, Change::Upsert] {
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
                    let added = self.rejects.add(&table, &waiting.row, waiting.rejection);
                    added.map_err(|failure| (Some(table), failure))?;
                }
            }
        }
        Ok(())
    }

    /// Deletes every row whose key is not among these.
    pub(crate) async fn prune(
        &mut self,
        table: &TableRun,
        keys: BatchStream<'_>,
    ) -> Result<(), Failure> {
        Ok(self.writer.prune(&table.planned.target, keys).await?)
    }

    /// Says which rows were refused before: those that are not refused again are forgotten.
    pub(crate) fn tries_again(&mut self, keys: Vec<serde_json::Value>) {
        self.tried_again = keys;
    }

    /// Makes tables that are replaced hold the rows that were collected for them; parents come
    /// before their children. Tables of other modes are left alone.
    pub(crate) async fn replace(&mut self, tables: &[&TableRun]) -> Result<(), Failure> {
        let replaces = |table: &&&TableRun| table.planned.write() == WriteMode::Replace;
        let tables: Vec<&TableRun> = tables.iter().filter(replaces).copied().collect();
        if tables.is_empty() || self.start.into_empty {
            return Ok(());
        }
        let rules = |table: &&TableRun| ReplaceRules {
            absent: table.planned.plan.on_delete,
            max_rewrite_rows: table.planned.plan.max_rewrite_rows,
        };
        let asked: Vec<_> = tables
            .iter()
            .map(|table| (&table.planned.target, rules(table)))
            .collect();
        let outcomes = self.writer.replace(&asked).await?;
        self.replaced = true;
        for (table, outcome) in tables.iter().zip(outcomes) {
            if let Replaced::TooMany { rows } = outcome {
                return Err(too_many(table, rows));
            }
        }
        Ok(())
    }

    /// Commits rows, refused rows and the watermark or chunk together.
    ///
    /// A commit whose answer was lost is decided by the lock of the unit's own row, so the result
    /// is never "unknown".
    pub(crate) async fn commit(
        mut self,
        table: &mut TableRun,
        watermark: Option<(Position, StreamPhase)>,
    ) -> Result<Receipt, Failure> {
        if let Err((_, failure)) = self.retry_waiting().await {
            self.abort().await;
            return Err(failure);
        }
        let refused = self.rejects.take();
        let again: BTreeSet<String> = refused.iter().map(|row| row.key.to_string()).collect();
        self.tried_again
            .retain(|key| !again.contains(&key.to_string()));
        if !self.tried_again.is_empty() {
            let passed = std::mem::take(&mut self.tried_again);
            self.writer.forget_rejected(table.stream(), &passed).await?;
        }
        if !refused.is_empty() {
            self.writer.store_rejected(&refused).await?;
        }
        fail_point("unit.before_commit");
        let version = match &self.start.step {
            UnitStep::Chunk { .. } => 0,
            UnitStep::Watermark { version, .. } => version + 1,
            UnitStep::Watermarks(_) => 0,
        };
        let receipt = match self.writer.commit(watermark).await {
            Ok(receipt) => receipt,
            Err(error) => {
                happened(self.ends, &self.start, error).await?;
                Receipt {
                    version,
                    ..Receipt::default()
                }
            }
        };
        fail_point("unit.committed");
        table.count_written(receipt);
        for row in refused {
            if table.put_aside.insert(row.key.to_string()) {
                table.report.rows_rejected += 1;
            }
        }
        Ok(receipt)
    }

    /// Commits with a new watermark and remembers it as the stored one.
    pub(crate) async fn commit_watermark(
        self,
        table: &mut TableRun,
        position: Position,
        phase: StreamPhase,
    ) -> Result<(), Failure> {
        let receipt = self.commit(table, Some((position.clone(), phase))).await?;
        table.moved(receipt.version, position, phase);
        Ok(())
    }

    /// Commits the rows alone: the watermark stays where it is.
    pub(crate) async fn commit_rows(self, table: &mut TableRun) -> Result<(), Failure> {
        let (position, phase) = (table.state().position.clone(), table.same_phase());
        table.chunk_rows = None;
        self.commit_watermark(table, position, phase).await
    }

    /// Commits rows of several tables and moves their watermarks together. Returns what was done to
    /// each table.
    pub(crate) async fn commit_together(
        mut self,
        moves: Vec<WatermarkMove>,
    ) -> Result<Vec<(TableName, Receipt)>, Failure> {
        if let Err((_, failure)) = self.retry_waiting().await {
            self.abort().await;
            return Err(failure);
        }
        fail_point("unit.before_commit");
        let done = match self.writer.commit_together(moves).await {
            Ok(done) => done,
            Err(error) => {
                happened(self.ends, &self.start, error).await?;
                Vec::new()
            }
        };
        fail_point("unit.committed");
        Ok(done)
    }

    /// Count and hash of the keys of a table as the unit leaves it.
    pub(crate) async fn key_digest(&mut self, table: &TableRun) -> Result<KeyDigest, Failure> {
        Ok(self.writer.key_digest(&table.planned.target).await?)
    }

    /// Rolls back.
    pub(crate) async fn abort(self) {
        self.writer.abort().await;
    }
}

/// Decides a commit that ended with an error: `Ok` if it took effect.
async fn happened(ends: &Ends, start: &UnitStart, error: ConnectorError) -> Result<(), Failure> {
    if error.class != ErrorClass::CommitUnknown {
        return Err(error.into());
    }
    tracing::warn!(%error, "asking the target whether the commit happened");
    if decide(ends, start).await? {
        return Ok(());
    }
    let mut failure = Failure::from(error);
    failure.message = "the link dropped before a commit took effect".into();
    failure.retry = true;
    Err(failure)
}

/// The failure of a table without a key of which more rows differ than may be rewritten.
fn too_many(table: &TableRun, rows: u64) -> Failure {
    let (stream, max) = (table.stream(), table.planned.plan.max_rewrite_rows);
    let message = format!(
        "table `{stream}` has no key, and {rows} rows would be deleted and inserted: more than \
         `max_rewrite_rows` ({max})"
    );
    Failure::new(exit_code::GUARD, message).with_hint(format!(
        "nothing was written; name a `key:`, so that rows are updated, or set \
         `max_rewrite_rows: {rows}` for this table"
    ))
}

/// Asks until somebody answers whether the unit's commit took effect.
async fn decide(ends: &Ends, start: &UnitStart) -> Result<bool, Failure> {
    let mut last = None;
    for attempt in 0..DECIDE_ATTEMPTS {
        tokio::time::sleep(super::retry::pause(attempt)).await;
        match ends.target().was_committed(start).await {
            Ok(committed) => return Ok(committed),
            Err(error) if error.class == ErrorClass::Fenced => return Err(error.into()),
            Err(error) => last = Some(error),
        }
    }
    let error = last.expect("there is at least one attempt");
    Err(Failure::from(error).while_doing("could not learn whether a commit took effect"))
}
