//! Deletes of a unit: staged by key, and decided about by the guard before it commits.

use super::{Turn, Unit};
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::run::guard::{Guard, Known};
use crate::run::table::TableRun;
use crate::run::waiting::Change;
use futures::{StreamExt, TryStreamExt};
use std::sync::atomic::{AtomicU64, Ordering};
use syncset_connector::BatchStream;

/// What becomes of deletes once the unit commits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided {
    /// Rows that are deleted, at most.
    pub(super) agreed: u64,
    /// Keys that are pending afterwards.
    pub(super) pending: u64,
}

impl Unit<'_> {
    /// Asks the guard about the deletes that were staged, and about the pending ones of the table;
    /// if it does not agree, all of them are pending.
    pub(super) async fn decide_deletes(
        &mut self,
        table: &mut TableRun,
    ) -> Result<Decided, Failure> {
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
    pub(super) async fn ask_about(
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
}
