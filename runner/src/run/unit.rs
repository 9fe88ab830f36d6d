//! One unit of work: begun, written, committed, and its commit decided when the answer was lost.

mod exact;

use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::fit::{self, Losses};
use crate::observer::{RowCounts, UnitBegun, UnitKind, UnitWatch};
use crate::open::Ends;
use crate::planned::PlannedTable;
use crate::run::guard::{Guard, Known};
use crate::run::rejects::{self, Rejects};
use crate::run::table::TableRun;
use crate::run::waiting::{Change, Refused, WaitingRow, tables_of, together};
use arrow_array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use syncset_connector::{
    BatchStream, ConnectorError, Digest, ErrorClass, KeyDigest, Position, Receipt, ReplaceRules,
    Replaced, StreamPhase, TableName, UnitStart, UnitStep, UnitWriter, WatermarkMove, WriteMode,
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

/// What becomes of deletes once the unit commits.
#[derive(Debug, Clone, Copy)]
struct Decided {
    /// Rows that are deleted, at most.
    agreed: u64,
    /// Keys that are pending afterwards.
    pending: u64,
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
        let applied = table.planned.transform.apply(batch);
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

    /// Asks the guard about the deletes that were staged, and about the pending ones of the table;
    /// if it does not agree, all of them are pending.
    async fn decide_deletes(&mut self, table: &mut TableRun) -> Result<Decided, Failure> {
        let (staged, pending) = (std::mem::take(&mut self.staged), table.pending_deletes);
        let planned = table.planned.clone();
        let target = &planned.target;
        let with_pending = self.turn == Turn::Last && pending > 0 && planned.deletes();
        let mut decided = Decided { agreed: 0, pending };
        if staged == 0 && !with_pending {
            return Ok(decided);
        }
        let is_off = Guard::of(table, &self.ends.key.pipeline).is_off();
        if self.turn == Turn::More && !is_off {
            decided.pending += self.writer.postpone_deletes(target).await?;
            return Ok(decided);
        }
        let mut most = staged;
        if with_pending {
            self.writer.stage_pending(target).await?;
            most += pending;
            decided.pending = 0;
        }
        let answer = self.ask(table, most).await?;
        fail_point("deletes.decided");
        match answer {
            Ok(agreed) => {
                decided.agreed = agreed;
                table.stopped = None;
            }
            Err(stopped) => {
                decided.pending = self.writer.postpone_deletes(target).await?;
                table.stopped = Some(stopped);
                return Ok(decided);
            }
        }
        if self.start.careful {
            for keys in self.writer.take_deletes(target).await? {
                self.change(&planned, Change::Delete, keys).await?;
            }
        }
        Ok(decided)
    }

    /// Asks the guard about at most `most` deletes that are staged: how many rows they delete, or
    /// why they may not. Counts only where the guard's answer depends on it.
    async fn ask(&mut self, table: &TableRun, most: u64) -> Result<Result<u64, Failure>, Failure> {
        let guard = Guard::of(table, &self.ends.key.pipeline);
        let target = &table.planned.target;
        if guard.passes(table.deleted + most) {
            return Ok(Ok(most));
        }
        let count = self.writer.count_deletes(target).await?;
        let stopped = self.ask_about(&guard, table, count, table.deleted).await?;
        Ok(stopped.map_or(Ok(count), Err))
    }

    /// Why the guard does not agree to so many deletes; `None` if it does. `taken`: rows that the
    /// run has taken out of the table already.
    async fn ask_about(
        &mut self,
        guard: &Guard<'_>,
        table: &TableRun,
        count: u64,
        taken: u64,
    ) -> Result<Option<Failure>, Failure> {
        let deletes = table.deleted + count;
        if guard.passes(deletes) {
            return Ok(None);
        }
        let needed = guard.rows_needed(deletes);
        let there = needed.saturating_sub(taken);
        let rows = self.writer.count_rows(&table.planned.target, there).await?;
        let rows = rows.saturating_add(taken);
        Ok((rows < needed).then(|| guard.stop(Known::Exactly(deletes), rows)))
    }

    /// Asks the guard about the deletes of one of several tables that commit together.
    ///
    /// # Errors
    /// The guard's, if it does not agree: then nothing may be committed.
    pub(crate) async fn ask_for(&mut self, table: &mut TableRun) -> Result<(), Failure> {
        let decided = self.decide_deletes(table).await?;
        table.deleted += decided.agreed;
        table.pending_deletes = decided.pending;
        table.stopped.clone().map_or(Ok(()), Err)
    }

    /// Decides about the deletes of one of several tables that the unit writes.
    pub(crate) async fn decide_for(&mut self, table: &mut TableRun) -> Result<(), Failure> {
        let decided = self.decide_deletes(table).await?;
        self.accounted = true;
        table.deleted += decided.agreed;
        // The unit may yet be rolled back; a unit that looks for pending deletes in vain costs
        // little.
        table.pending_deletes = table.pending_deletes.max(decided.pending);
        Ok(())
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

    /// Deletes every row whose key is not among these.
    ///
    /// # Errors
    /// The guard's, if it does not agree.
    pub(crate) async fn prune(
        &mut self,
        table: &TableRun,
        keys: BatchStream<'_>,
    ) -> Result<(), Failure> {
        let kept = AtomicU64::new(0);
        let keys = keys.inspect_ok(|batch| {
            kept.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        });
        let target = &table.planned.target;
        let gone = self.writer.prune(target, keys.boxed()).await?;
        let guard = Guard::of(table, &self.ends.key.pipeline);
        let emptied = gone > 0 && kept.load(Ordering::Relaxed) == 0;
        let stopped = match emptied.then(|| guard.stop_empty(gone)).flatten() {
            Some(stopped) => Some(stopped),
            None => self.ask_about(&guard, table, gone, table.deleted).await?,
        };
        stopped.map_or(Ok(()), Err)
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
            match outcome {
                Replaced::TooMany { rows } => return Err(too_many(table, rows)),
                Replaced::Done {
                    rows_written,
                    rows_deleted,
                } => {
                    // Without a key a changed row is one that goes and one that comes.
                    let gone = match table.planned.target.key.is_empty() {
                        true => rows_deleted.saturating_sub(rows_written),
                        false => rows_deleted,
                    };
                    self.ask_about_replaced(table, gone).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks the guard about rows of a replaced table that are gone in this transaction.
    ///
    /// # Errors
    /// The guard's, if it does not agree: then nothing may be committed.
    async fn ask_about_replaced(&mut self, table: &TableRun, gone: u64) -> Result<(), Failure> {
        let guard = Guard::of(table, &self.ends.key.pipeline);
        if gone == 0 {
            return Ok(());
        }
        if !self.collected.contains(table.stream())
            && let Some(stopped) = guard.stop_empty(gone)
        {
            return Err(stopped);
        }
        let taken = table.deleted + gone;
        let stopped = self.ask_about(&guard, table, gone, taken).await?;
        stopped.map_or(Ok(()), Err)
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
        let decided = match self.decide(table).await {
            Ok(decided) => decided,
            Err(failure) => {
                self.abort(&failure).await;
                return Err(failure);
            }
        };
        let watch = std::mem::take(&mut self.watch);
        let committed = self.commit_decided(table, watermark, decided).await;
        match &committed {
            Ok(_) => watch.committed(&table.report),
            Err(failure) => watch.failed(failure),
        }
        committed
    }

    async fn commit_decided(
        mut self,
        table: &mut TableRun,
        watermark: Option<(Position, StreamPhase)>,
        decided: Decided,
    ) -> Result<Receipt, Failure> {
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
                    rows_deleted: decided.agreed,
                    ..Receipt::default()
                }
            }
        };
        fail_point("unit.committed");
        table.count_written(receipt);
        table.count_lost(&self.losses);
        if !self.accounted {
            table.deleted += receipt.rows_deleted;
            table.pending_deletes = decided.pending;
        }
        for row in refused {
            if table.put_aside.insert(row.key.to_string()) {
                table.report.rows_rejected += 1;
            }
        }
        Ok(receipt)
    }

    /// Decides about deletes, and tries what waits for the unit's other rows.
    async fn decide(&mut self, table: &mut TableRun) -> Result<Decided, Failure> {
        let mut decided = self.decide_deletes(table).await?;
        let tried = self.retry_waiting().await;
        tried.map_err(|(_, failure)| failure)?;
        decided.pending += self.put_back;
        Ok(decided)
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
            self.abort(&failure).await;
            return Err(failure);
        }
        fail_point("unit.before_commit");
        let done = match self.writer.commit_together(moves).await {
            Ok(done) => done,
            Err(error) => {
                if let Err(failure) = happened(self.ends, &self.start, error).await {
                    self.watch.failed(&failure);
                    return Err(failure);
                }
                Vec::new()
            }
        };
        fail_point("unit.committed");
        self.watch.committed_rows(RowCounts::of_receipts(&done));
        Ok(done)
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
