//! The commit of a unit, decided when the answer was lost.

use super::Unit;
use super::deletes::Decided;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::RowCounts;
use crate::open::Ends;
use crate::run::retry;
use crate::run::table::TableRun;
use std::collections::BTreeSet;
use syncset_connector::{
    ConnectorError, ErrorClass, Position, Receipt, StreamPhase, TableName, UnitStart, UnitStep,
    WatermarkMove,
};

/// Attempts to ask whether a commit happened, each over a link of its own.
const DECIDE_ATTEMPTS: u32 = 8;

impl Unit<'_> {
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

/// Asks until somebody answers whether the unit's commit took effect.
async fn decide(ends: &Ends, start: &UnitStart) -> Result<bool, Failure> {
    let mut last = None;
    for attempt in 0..DECIDE_ATTEMPTS {
        tokio::time::sleep(retry::pause(attempt)).await;
        match ends.target().was_committed(start).await {
            Ok(committed) => return Ok(committed),
            Err(error) if error.class == ErrorClass::Fenced => return Err(error.into()),
            Err(error) => last = Some(error),
        }
    }
    let error = last.expect("there is at least one attempt");
    Err(Failure::from(error).while_doing("could not learn whether a commit took effect"))
}
