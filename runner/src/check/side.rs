//! One side of a comparison: its rows as hashes, from one snapshot.

use super::load::Load;
use super::rows::{HashedRows, RowForms};
use super::sample::Share;
use crate::failure::Failure;
use crate::fit::Losses;
use crate::planned::PlannedTable;
use crate::run::key_columns;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use syncset_connector::{
    Capture, ChangeEvent, Filter, HashFacts, HashRequest, KeyRange, PartHash, Parts, Position,
    Predicate, Result as StoreResult, Snapshot, SnapshotRequest, Source, TableDescription,
    TableRead, WindowState,
};

/// Bytes of changes after which a store may cut a window; nothing is kept of them but hashes.
const WINDOW_BYTES: u64 = u64::MAX;

/// Keys that one statement looks for.
const KEYS_MAX: usize = 1_000;

/// The same keys as each side has them, without repetition.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) source: RecordBatch,
    pub(super) target: RecordBatch,
    /// How many of them the source has: these come first.
    pub(super) at_source: usize,
}

/// What is compared of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aspect {
    /// All its values.
    Values,
    /// Its key alone.
    Key,
}

/// Which rows to read.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    /// All of them.
    All,
    /// Those with these keys.
    Keys(Arc<Keys>),
}

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
    /// Types of the key's columns.
    key_schema: SchemaRef,
    end: End,
    /// Which keys are looked at when all rows are read.
    pub(super) sample: Option<Share>,
    /// How much may be asked of the store.
    pub(super) load: Option<Load>,
    /// How long nothing was asked of it for that.
    pub(super) rested: Duration,
    /// What is hashed when all rows are read.
    pub(super) aspect: Aspect,
    /// Bytes of the rows that were read, as Arrow holds them.
    pub(super) bytes_read: u64,
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
        let key_schema = read.key_schema();
        let from = read.capture.has_windows().then(|| from.clone());
        let snapshot = source
            .open_snapshot(&[SnapshotRequest { read, from }], None)
            .await?;
        Ok(Self {
            snapshot,
            planned: planned.clone(),
            forms: forms.clone(),
            key_schema,
            end: End::Source,
            sample: None,
            load: None,
            rested: Duration::ZERO,
            aspect: Aspect::Values,
            bytes_read: 0,
        })
    }

    /// The selected rows of the source in a snapshot of this table alone.
    pub(super) fn over(
        snapshot: Box<dyn Snapshot>,
        planned: &Arc<PlannedTable>,
        forms: &Arc<RowForms>,
        aspect: Aspect,
    ) -> Self {
        Self {
            snapshot,
            planned: planned.clone(),
            forms: forms.clone(),
            key_schema: planned.plan.read.key_schema(),
            end: End::Source,
            sample: None,
            load: None,
            rested: Duration::ZERO,
            aspect,
            bytes_read: 0,
        }
    }

    /// Its snapshot, to be read on.
    pub(super) fn into_snapshot(self) -> Box<dyn Snapshot> {
        self.snapshot
    }

    /// The rows of the target table, of a store that is opened to be read.
    pub(super) async fn target(
        store: &dyn Source,
        planned: &Arc<PlannedTable>,
        forms: &Arc<RowForms>,
        there: &Arc<TableDescription>,
    ) -> Result<Self, Failure> {
        let read = target_read(planned, there);
        Self::reading(store, planned, forms, read).await
    }

    /// Rows that are already as the target has them.
    pub(super) async fn reading(
        store: &dyn Source,
        planned: &Arc<PlannedTable>,
        forms: &Arc<RowForms>,
        read: TableRead,
    ) -> Result<Self, Failure> {
        let key_schema = read.key_schema();
        let read = Arc::new(read);
        let snapshot = store
            .open_snapshot(&[SnapshotRequest { read, from: None }], None)
            .await?;
        Ok(Self {
            snapshot,
            planned: planned.clone(),
            forms: forms.clone(),
            key_schema,
            end: End::Target,
            sample: None,
            load: None,
            rested: Duration::ZERO,
            aspect: Aspect::Values,
            bytes_read: 0,
        })
    }

    /// Reads rows.
    pub(super) async fn each(
        &mut self,
        scope: &Scope,
        mut take: impl FnMut(&HashedRows),
    ) -> Result<(), Failure> {
        if matches!(scope, Scope::All) && self.aspect == Aspect::Key {
            return self.each_key(take).await;
        }
        let (planned, forms, end) = (&self.planned, &self.forms, self.end);
        let mut clock = Instant::now();
        let Scope::Keys(keys) = scope else {
            let mut stream = self.snapshot.read_chunk(0, &KeyRange::all()).await?;
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                self.bytes_read += batch.get_array_memory_size() as u64;
                let mut batch = written(planned, end, Ok(batch))?;
                if let Some(sample) = self.sample {
                    let keys = forms.key_hashes(&batch)?;
                    batch = kept(&batch, keys.into_iter().map(|key| sample.holds(key)));
                }
                take(&forms.hash(&batch)?);
                self.rested += rest(self.load, &mut clock).await;
            }
            return Ok(());
        };
        let keys = match end {
            End::Source => &keys.source,
            End::Target => &keys.target,
        };
        let mut begin = 0;
        while begin < keys.num_rows() {
            let some = keys.slice(begin, KEYS_MAX.min(keys.num_rows() - begin));
            begin += some.num_rows();
            let asked: HashSet<u64> = forms.hash_keys(&some)?.into_iter().collect();
            let mut stream = self.snapshot.read_rows(0, &some).await?;
            while let Some(batch) = stream.next().await {
                let batch = written(planned, end, batch)?;
                let rows = forms.hash(&batch)?;
                if rows.hashes.iter().all(|(key, _)| asked.contains(key)) {
                    take(&rows);
                    continue;
                }
                // A store finds rows by what it calls equal, such as `a` and `A`.
                let keys = rows.hashes.iter().map(|(key, _)| asked.contains(key));
                let batch = kept(&batch, keys);
                take(&forms.hash(&batch)?);
            }
            self.rested += rest(self.load, &mut clock).await;
        }
        Ok(())
    }

    /// Reads the keys of all rows, which are all there is of them.
    async fn each_key(&mut self, mut take: impl FnMut(&HashedRows)) -> Result<(), Failure> {
        let planned = &self.planned;
        let drops_rows = self.end == End::Source && !planned.transform.keeps_all_rows();
        let mut stream = match drops_rows {
            true => self.snapshot.read_chunk(0, &KeyRange::all()).await?,
            false => self.snapshot.read_keys(0).await?,
        };
        while let Some(batch) = stream.next().await {
            let mut batch = batch?;
            self.bytes_read += batch.get_array_memory_size() as u64;
            if drops_rows {
                let dropped = planned.transform.apply(&batch)?.dropped;
                batch = key_columns(&planned.plan.read, &batch)?;
                if let Some(dropped) = dropped {
                    batch = kept(&batch, dropped.iter().map(|dropped| dropped != Some(true)));
                }
            }
            take(&self.forms.hash(&batch)?);
        }
        Ok(())
    }

    /// Types of the key's columns.
    pub(super) fn key_schema(&self) -> SchemaRef {
        self.key_schema.clone()
    }

    /// How the store would hash the rows, or why it cannot.
    pub(super) async fn hash_facts(
        &mut self,
        request: &HashRequest,
    ) -> Result<Result<HashFacts, String>, Failure> {
        Ok(self.snapshot.hash_facts(0, request).await?)
    }

    /// Counts and sums by parts.
    pub(super) async fn hash_parts(
        &mut self,
        request: &HashRequest,
        within: Option<&Parts>,
        shift: u32,
    ) -> Result<Vec<PartHash>, Failure> {
        let mut clock = Instant::now();
        let parts = self.snapshot.hash_parts(0, request, within, shift).await?;
        self.rested += rest(self.load, &mut clock).await;
        Ok(parts)
    }

    /// Smallest and greatest ordinal of a part.
    pub(super) async fn part_ends(
        &mut self,
        request: &HashRequest,
        part: &Parts,
    ) -> Result<Option<(i64, i64)>, Failure> {
        Ok(self.snapshot.part_ends(0, request, part).await?)
    }

    /// Keys and hashes of the rows of some parts.
    pub(super) async fn read_hashes(
        &mut self,
        request: &HashRequest,
        within: &Parts,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let mut clock = Instant::now();
        let stream = self.snapshot.read_hashes(0, request, within).await?;
        let hashes = stream.try_collect().await?;
        self.rested += rest(self.load, &mut clock).await;
        Ok(hashes)
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
        let mut clock = Instant::now();
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
            self.rested += rest(self.load, &mut clock).await;
        }
        Ok(InFlight::Keys(keys))
    }

    /// Ends the snapshot.
    pub(super) async fn close(self) {
        self.snapshot.close().await;
    }
}

/// How the rows of a target table are read: those that are not marked as gone.
pub(super) fn target_read(planned: &PlannedTable, there: &Arc<TableDescription>) -> TableRead {
    let target = &planned.target;
    TableRead {
        description: there.clone(),
        columns: target.columns.iter().map(|it| it.name.clone()).collect(),
        key: target.key.clone(),
        filter: marked(planned, false).unwrap_or(Filter::All),
        capture: Capture::Full,
        selection: String::new(),
        all_written: false,
        batch_bytes: planned.plan.read.batch_bytes,
    }
}

/// The same of the rows that are marked as gone; `None` for a table whose rows never are.
pub(super) fn marked_read(
    planned: &PlannedTable,
    there: &Arc<TableDescription>,
) -> Option<TableRead> {
    Some(TableRead {
        filter: marked(planned, true)?,
        ..target_read(planned, there)
    })
}

/// The rows that are marked as gone, or those that are not; `None` if rows are never marked.
fn marked(planned: &PlannedTable, negated: bool) -> Option<Filter> {
    let column = planned.target.marks.deleted_at.clone()?;
    Some(Filter::Predicate(Predicate::IsNull { column, negated }))
}

/// Lets a store rest that was busy since then.
async fn rest(load: Option<Load>, clock: &mut Instant) -> Duration {
    let Some(load) = load else {
        return Duration::ZERO;
    };
    let rested = load.rest(clock.elapsed()).await;
    *clock = Instant::now();
    rested
}

/// Some of the rows.
pub(super) fn kept(rows: &RecordBatch, is_kept: impl Iterator<Item = bool>) -> RecordBatch {
    let mask: BooleanArray = is_kept.map(Some).collect();
    filter_record_batch(rows, &mask).expect("the mask is as long as the batch")
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
