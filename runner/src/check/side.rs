//! One side of a comparison: its rows as hashes, from one snapshot.

use super::rows::{HashedRows, RowForms};
use crate::failure::Failure;
use crate::fit::Losses;
use crate::planned::PlannedTable;
use crate::run::key_columns;
use arrow_array::RecordBatch;
use futures::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;
use syncset_connector::{
    Capture, ChangeEvent, Filter, KeyRange, Position, Predicate, Result as StoreResult, Snapshot,
    SnapshotRequest, Source, TableDescription, TableRead, WindowState,
};

/// Bytes of changes after which a store may cut a window; nothing is kept of them but hashes.
const WINDOW_BYTES: u64 = u64::MAX;

/// Which rows of the source no run has brought to the target yet, as far as the stored watermark
/// tells.
#[derive(Debug)]
pub(super) enum InFlight {
    /// Those with these keys, by hash. Rows of the overlap of a cursor are among them.
    Keys(HashSet<u64>),
    /// Perhaps any of them, and why.
    Unknown(Option<String>),
}

impl InFlight {
    /// Whether the row with this key may be one of them.
    pub(super) fn holds(&self, key: u64) -> bool {
        match self {
            Self::Keys(keys) => keys.contains(&key),
            Self::Unknown(_) => true,
        }
    }
}

/// One side, opened.
pub(super) struct Side {
    snapshot: Box<dyn Snapshot>,
    planned: Arc<PlannedTable>,
    forms: Arc<RowForms>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Target,
}

impl Side {
    /// The selected rows of the source. `from`: the watermark whose window tells what is in flight.
    pub(super) async fn source(
        source: &dyn Source,
        planned: &Arc<PlannedTable>,
        forms: &Arc<RowForms>,
        from: &Position,
    ) -> Result<Self, Failure> {
        let read = planned.plan.read.clone();
        let from = read.capture.has_windows().then(|| from.clone());
        let snapshot = source
            .open_snapshot(&[SnapshotRequest { read, from }], None)
            .await?;
        Ok(Self {
            snapshot,
            planned: planned.clone(),
            forms: forms.clone(),
            end: End::Source,
        })
    }

    /// The rows of the target table, of a store that is opened to be read.
    pub(super) async fn target(
        store: &dyn Source,
        planned: &Arc<PlannedTable>,
        forms: &Arc<RowForms>,
        there: &Arc<TableDescription>,
    ) -> Result<Self, Failure> {
        let target = &planned.target;
        let filter = match &target.marks.deleted_at {
            Some(mark) => Filter::Predicate(Predicate::IsNull {
                column: mark.clone(),
                negated: false,
            }),
            None => Filter::All,
        };
        let read = Arc::new(TableRead {
            description: there.clone(),
            columns: target.columns.iter().map(|it| it.name.clone()).collect(),
            key: target.key.clone(),
            filter,
            capture: Capture::Full,
            selection: String::new(),
            all_written: false,
            batch_bytes: planned.plan.read.batch_bytes,
        });
        let snapshot = store
            .open_snapshot(&[SnapshotRequest { read, from: None }], None)
            .await?;
        Ok(Self {
            snapshot,
            planned: planned.clone(),
            forms: forms.clone(),
            end: End::Target,
        })
    }

    /// Reads all rows.
    pub(super) async fn each(&mut self, mut take: impl FnMut(&HashedRows)) -> Result<(), Failure> {
        let (planned, forms, end) = (&self.planned, &self.forms, self.end);
        let mut stream = self.snapshot.read_chunk(0, &KeyRange::all()).await?;
        while let Some(batch) = stream.next().await {
            let batch = written(planned, end, batch)?;
            take(&forms.hash(&batch)?);
        }
        Ok(())
    }

    /// What is in flight in the snapshot of a source.
    pub(super) async fn in_flight(&mut self) -> Result<InFlight, Failure> {
        if !self.planned.plan.read.capture.has_windows() {
            return Ok(InFlight::Unknown(None));
        }
        let window = &self.snapshot.windows()[0];
        match &window.state {
            WindowState::Unchanged(_) => return Ok(InFlight::Keys(HashSet::new())),
            WindowState::Reload { reason } => return Ok(InFlight::Unknown(Some(reason.clone()))),
            WindowState::Changed => {}
        }
        let (planned, forms) = (&self.planned, &self.forms);
        let mut keys = HashSet::new();
        let mut changes = self.snapshot.read_changes(0, WINDOW_BYTES).await?;
        while let Some(event) = changes.next().await {
            match event? {
                ChangeEvent::Upserts(rows) => {
                    let rows = key_columns(&planned.plan.read, &rows)?;
                    keys.extend(forms.hash_keys(&rows)?);
                }
                ChangeEvent::Deletes(rows) => keys.extend(forms.hash_keys(&rows)?),
                _ => {}
            }
        }
        Ok(InFlight::Keys(keys))
    }

    /// Ends the snapshot.
    pub(super) async fn close(self) {
        self.snapshot.close().await;
    }
}

/// The rows of a batch as they are, or would be, at the target.
fn written(
    planned: &PlannedTable,
    end: End,
    batch: StoreResult<RecordBatch>,
) -> Result<RecordBatch, Failure> {
    let batch = batch?;
    if end == End::Target {
        return Ok(batch);
    }
    let applied = planned.transform.apply(&batch)?;
    planned.fit.apply(applied.kept, &mut Losses::new())
}
