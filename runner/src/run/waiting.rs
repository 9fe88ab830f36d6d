//! Rows that a unique or foreign key refused: they may pass once other rows are there.
//!
//! Within a unit they are tried again after all its other rows. Beyond it the unit itself waits,
//! until every other table of the run had its turn.

use crate::planned::PlannedTable;
use arrow_array::{RecordBatch, UInt32Array};
use std::sync::Arc;
use syncset_connector::{Rejection, WriteMode};

/// What becomes of a unit with rows that a unique or foreign key refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is rolled back and tried again after the other tables.
    #[default]
    Wait,
    /// As `Wait`, after the rows of all waiting units were written in one transaction, where the
    /// target checks keys that can be deferred at the end.
    Together,
    /// Its other rows are committed without its progress, so that units that wait for each other
    /// get the rows they need; it is written again as a whole afterwards.
    LeaveOut,
    /// No other table can help any more: the rows count against `rejects.max_rows`.
    Count,
}

impl Refused {
    /// What comes after a round in which `rows_moved` says whether any table changed a row, and
    /// after which so many units wait.
    pub(crate) fn after_round(self, rows_moved: bool, units_waiting: usize) -> Self {
        match self {
            Self::Wait | Self::Together | Self::LeaveOut if rows_moved => Self::Wait,
            Self::Wait if units_waiting > 1 => Self::Together,
            Self::Together if units_waiting > 1 => Self::LeaveOut,
            Self::Wait | Self::Together | Self::LeaveOut | Self::Count => Self::Count,
        }
    }
}

impl Refused {
    /// The same for a table that is written in this mode. Rows without their progress would come
    /// twice where they are appended, and be half of a table where it is replaced.
    pub(crate) fn of_mode(self, mode: WriteMode) -> Self {
        match (self, mode) {
            (Self::LeaveOut, WriteMode::Append | WriteMode::Replace) => Self::Wait,
            (refused, _) => refused,
        }
    }
}

/// Whether a row was to be written or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Upsert,
    /// Written unless there is such a row.
    Insert,
    Delete,
}

/// One refused row of a unit that waits for the unit's other rows.
pub(crate) struct WaitingRow {
    /// The table it belongs to.
    pub(crate) table: Arc<PlannedTable>,
    /// What was to be done with it.
    pub(crate) change: Change,
    /// The row, or its key, alone in a batch of its own memory.
    pub(crate) row: RecordBatch,
    /// Why it was refused last.
    pub(crate) rejection: Rejection,
}

impl WaitingRow {
    /// Takes the refused row out of its batch.
    pub(crate) fn new(
        table: Arc<PlannedTable>,
        change: Change,
        batch: &RecordBatch,
        mut rejection: Rejection,
    ) -> Self {
        let index = u32::try_from(rejection.row).expect("a batch has fewer than 2^32 rows");
        let row = arrow_select::take::take_record_batch(batch, &UInt32Array::from(vec![index]));
        rejection.row = 0;
        Self {
            table,
            change,
            row: row.expect("the store names a row of the batch it was given"),
            rejection,
        }
    }
}

/// The tables of rows that wait, each once.
pub(crate) fn tables_of(waiting: &[WaitingRow]) -> Vec<Arc<PlannedTable>> {
    let mut tables: Vec<Arc<PlannedTable>> = Vec::new();
    for row in waiting {
        if !tables.iter().any(|known| Arc::ptr_eq(known, &row.table)) {
            tables.push(row.table.clone());
        }
    }
    tables
}

/// All rows of one kind and table as one batch: a store that checks keys at the end of a statement takes
/// together what it refuses one by one.
pub(crate) fn together(
    waiting: &[WaitingRow],
    table: &Arc<PlannedTable>,
    change: Change,
) -> Option<RecordBatch> {
    let rows = waiting
        .iter()
        .filter(|waiting| waiting.change == change && Arc::ptr_eq(&waiting.table, table));
    let rows: Vec<&RecordBatch> = rows.map(|waiting| &waiting.row).collect();
    let schema = rows.first()?.schema();
    let batch = arrow_select::concat::concat_batches(&schema, rows);
    Some(batch.expect("rows of one kind have one schema"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_only_after_a_round_that_helped_nobody() {
        let wait = Refused::Wait;

        assert_eq!(wait.after_round(true, 1), Refused::Wait);
        assert_eq!(wait.after_round(false, 1), Refused::Count);
        assert_eq!(wait.after_round(false, 2), Refused::Together);
        assert_eq!(Refused::Together.after_round(true, 2), Refused::Wait);
        assert_eq!(Refused::Together.after_round(false, 2), Refused::LeaveOut);
        assert_eq!(Refused::LeaveOut.after_round(true, 2), Refused::Wait);
        assert_eq!(Refused::LeaveOut.after_round(false, 2), Refused::Count);
        assert_eq!(Refused::Count.after_round(true, 2), Refused::Count);
    }
}
