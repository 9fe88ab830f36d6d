//! What all tasks of one run share.

use crate::check::Load;
use crate::failure::Failure;
use crate::open::Ends;
use crate::run::retry::ATTEMPTS_MAX;
use crate::run::table::TableRun;
use crate::run::waiting::Refused;
use crate::stop::Stop;
use syncset_connector::{
    ErrorClass, Lease, Snapshot, SnapshotRequest, SnapshotToken, UnitStart, UnitStep,
};

/// What all tasks of one run share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RunContext {
    /// Both stores.
    pub(crate) ends: Ends,
    /// The right to write.
    pub(crate) lease: Lease,
    /// How the run is asked to end.
    pub(crate) stop: Stop,
    /// Units at the same time.
    pub(crate) jobs: usize,
    /// Bytes of rows after which a window is cut.
    pub(crate) unit_bytes: u64,
    /// Which part of the time loads may keep a database busy.
    pub(crate) load: Option<Load>,
}

impl RunContext {
    /// A snapshot of the rows of one table, without a window.
    pub(crate) async fn rows_of(
        &self,
        table: &TableRun,
        shared: Option<&SnapshotToken>,
    ) -> Result<Box<dyn Snapshot>, Failure> {
        let request = SnapshotRequest {
            read: table.read.clone(),
            from: None,
        };
        Ok(self.ends.source().open_snapshot(&[request], shared).await?)
    }

    /// The start of a unit that moves a table's watermark.
    pub(crate) fn watermark_unit(&self, table: &TableRun) -> UnitStart {
        let stored = table.state();
        let step = UnitStep::Watermark {
            stream: stored.stream.clone(),
            version: stored.version,
        };
        UnitStart {
            lease: self.lease.clone(),
            step,
            into_empty: false,
            careful: table.is_careful(),
        }
    }
}

/// What to do with a table after a unit of it failed.
#[derive(Debug)]
pub(crate) enum Next {
    /// Try the same again.
    Again,
    /// Try again after the other tables of the run.
    Later,
    /// The table has failed.
    Fail(Failure),
}

/// Decides what follows a failed unit; remembers in `table` what was tried.
pub(crate) fn after_failure(table: &mut TableRun, failure: Failure) -> Next {
    let parked = failure.is(ErrorClass::RowParked);
    let refused = parked || failure.is(ErrorClass::RowRefused);
    let waits = match table.refused {
        Refused::Wait | Refused::Together => parked,
        Refused::LeaveOut => refused,
        Refused::Count => false,
    };
    if waits {
        table.waited = true;
        return Next::Later;
    }
    // Without a key there is nothing by which a single row could be named.
    if refused && !table.careful && table.planned.has_key() {
        table.careful = true;
        return Next::Again;
    }
    if failure.retry && table.attempts + 1 < ATTEMPTS_MAX {
        table.attempts += 1;
        let (table, attempts) = (table.stream(), table.attempts);
        tracing::info!(table, attempts, reason = failure.message, "trying again");
        return Next::Again;
    }
    Next::Fail(failure)
}
