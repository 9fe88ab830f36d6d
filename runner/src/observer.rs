//! Whoever else is told what a run does, such as a trace: the one seam between the run and them.

use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::report::{HookReport, RunReport, TableReport};
use std::sync::Arc;
use syncset_connector::{Receipt, TableName};

/// Told what one run does while it does it. Never fails and never waits: a run is no slower and
/// ends no other way because somebody looks on.
///
/// Order: `run_started` first, `run_finished` last, each once. In between, units and hooks end
/// after they start; units of several tables overlap, hooks never do.
pub(crate) trait RunObserver: Send + Sync {
    /// The run begins; its report is empty.
    fn run_started(&self, report: &RunReport);

    /// A table is part of the run. Called once for each.
    fn table_planned(&self, table: &PlannedTable);

    /// A table is worked on, for the first time or once more.
    fn table_started(&self, stream: &str);

    /// A table is through. Rounds that follow may still add to it: its last numbers are in the
    /// report of the run.
    fn table_finished(&self, stream: &str);

    /// A unit is about to begin its transaction. Returns what names it when it ends.
    fn unit_started(&self, unit: &UnitBegun<'_>) -> u64;

    /// A unit has ended.
    fn unit_ended(&self, id: u64, end: UnitEnd<'_>);

    /// A hook begins. Returns variables for the environment of its command.
    fn hook_started(&self, hook: &HookReport) -> Vec<(String, String)>;

    /// The hook that began last has ended.
    fn hook_ended(&self, hook: &HookReport);

    /// The run is over and its report complete, all tables and hooks included.
    fn run_finished(&self, report: &RunReport);
}

/// What a unit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitKind {
    /// A range of keys of a load, by its number.
    Chunk(u32),
    /// Changes since the watermark.
    Window,
    /// Rows that differ by their hashes.
    Differences,
    /// The end of a load: rows that are gone are looked for.
    Settle,
    /// Rows that were refused before.
    RejectedRows,
    /// Deletes that waited for the guard.
    PendingDeletes,
    /// Rows without progress: of a slice, or for units that wait for each other.
    RowsOnly,
    /// Rows of several tables.
    Together,
}

/// A unit that begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnitBegun<'a> {
    /// Its table, or one of them.
    pub(crate) stream: &'a str,
    /// What it is about.
    pub(crate) kind: UnitKind,
    /// Attempts before it that failed and were worth this one.
    pub(crate) attempts_failed: u32,
}

/// How a unit ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UnitEnd<'a> {
    /// It was committed.
    Committed(RowCounts),
    /// It was rolled back, or could not begin.
    Failed(&'a Failure),
    /// It was left in the middle: the run ends.
    Left,
}

/// Rows by what happened to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowCounts {
    /// Left the source.
    pub(crate) read: u64,
    /// Inserted or changed at the target.
    pub(crate) written: u64,
    /// Deleted at the target.
    pub(crate) deleted: u64,
    /// Refused by the target.
    pub(crate) rejected: u64,
}

impl RowCounts {
    /// Those of a table so far.
    pub(crate) fn of(report: &TableReport) -> Self {
        Self {
            read: report.rows_read,
            written: report.rows_written,
            deleted: report.rows_deleted,
            rejected: report.rows_rejected,
        }
    }

    /// What a unit of several tables did; what it read is counted with its tables.
    pub(crate) fn of_receipts(receipts: &[(TableName, Receipt)]) -> Self {
        let receipts = receipts.iter().map(|(_, receipt)| receipt);
        let mut counts = Self::default();
        for receipt in receipts {
            counts.written += receipt.rows_written;
            counts.deleted += receipt.rows_deleted;
        }
        counts
    }

    /// What has been added since.
    fn since(self, former: Self) -> Self {
        Self {
            read: self.read.saturating_sub(former.read),
            written: self.written.saturating_sub(former.written),
            deleted: self.deleted.saturating_sub(former.deleted),
            rejected: self.rejected.saturating_sub(former.rejected),
        }
    }
}

/// One unit on its way. Dropped without an end, the unit was left. The default watches nothing.
#[derive(Default)]
pub(crate) struct UnitWatch {
    /// `None` once its end was told, or if nobody looks on.
    observer: Option<(Arc<dyn RunObserver>, u64)>,
    before: RowCounts,
}

impl UnitWatch {
    /// Tells of a unit that begins. `table`: its table as it is before.
    pub(crate) fn start(
        observer: Option<&Arc<dyn RunObserver>>,
        unit: &UnitBegun<'_>,
        table: &TableReport,
    ) -> Self {
        Self {
            observer: observer.map(|observer| (observer.clone(), observer.unit_started(unit))),
            before: RowCounts::of(table),
        }
    }

    /// Tells that it was committed. `table`: its table as it is now.
    pub(crate) fn committed(self, table: &TableReport) {
        let counts = RowCounts::of(table).since(self.before);
        self.end(UnitEnd::Committed(counts));
    }

    /// Tells that it was committed and did so much.
    pub(crate) fn committed_rows(self, counts: RowCounts) {
        self.end(UnitEnd::Committed(counts));
    }

    /// Tells that it was rolled back, or could not begin.
    pub(crate) fn failed(self, failure: &Failure) {
        self.end(UnitEnd::Failed(failure));
    }

    fn end(mut self, end: UnitEnd<'_>) {
        if let Some((observer, id)) = self.observer.take() {
            observer.unit_ended(id, end);
        }
    }
}

impl Drop for UnitWatch {
    fn drop(&mut self) {
        if let Some((observer, id)) = self.observer.take() {
            observer.unit_ended(id, UnitEnd::Left);
        }
    }
}
