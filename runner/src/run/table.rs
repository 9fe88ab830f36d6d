//! One table while it is being run: its plan, its stored state, its counters.

use crate::decision::Action;
use crate::exit_code;
use crate::failure::Failure;
use crate::fit::{self, Losses};
use crate::planned::PlannedTable;
use crate::progress::TableProgress;
use crate::report::{Outcome, TableReport};
use crate::run::waiting::Refused;
use crate::stop::seconds_since_epoch;
use arrow_array::RecordBatch;
use chrono::DateTime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use syncset_connector::{
    ChunkState, Filter, MadeTable, Position, Receipt, Source, StreamPhase, StreamState, TableName,
    TableRead,
};

/// Whether a run looks for rows that are gone by comparing keys (`find_deletes`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Search {
    /// Nobody asked for it.
    #[default]
    Never,
    /// It is not due.
    Later,
    /// It does, after the last window; deletes wait for that.
    Due,
    /// It has.
    Done,
}

/// One table while it is being run. Lives in one task at a time.
pub(crate) struct TableRun {
    /// The plan.
    pub(crate) planned: Arc<PlannedTable>,
    /// The read, with batches sized to the memory budget.
    pub(crate) read: Arc<TableRead>,
    /// What is stored of it.
    pub(crate) stored: Option<StreamState>,
    /// What becomes of it.
    pub(crate) report: TableReport,
    /// Shown while it runs.
    pub(crate) progress: TableProgress,
    /// True once a row was refused: units are written with savepoints.
    pub(crate) careful: bool,
    /// What becomes of rows that a unique or foreign key refuses.
    pub(crate) refused: Refused,
    /// True once it waited for other tables: its windows are one unit each from there on, so that
    /// rows of one window that need each other come together.
    pub(crate) waited: bool,
    /// Keys of the refused rows that are stored. A row that is refused again counts once.
    pub(crate) put_aside: BTreeSet<String>,
    /// True if it had never been loaded to the end when the run began, until its statistics are
    /// renewed.
    pub(crate) first_load: bool,
    /// True once this run has begun to load it from the start.
    pub(crate) begun_here: bool,
    /// Rows that chunks have read, as long as those that were sent straight into an empty table are all
    /// that was ever written there.
    pub(crate) chunk_rows: Option<u64>,
    /// The target table that it wrote before, if nothing of the run writes it any more.
    pub(crate) leaves: Option<TableName>,
    /// Attempts that failed and were worth another one.
    pub(crate) attempts: u32,
    /// `--allow-deletes` of the table.
    pub(crate) allowed_deletes: Option<u64>,
    /// Rows that this run has deleted at the target.
    pub(crate) deleted: u64,
    /// Keys in `pending_delete`.
    pub(crate) pending_deletes: u64,
    /// What the guard said when it was asked last, if it did not agree.
    pub(crate) stopped: Option<Failure>,
    /// Where it stands if nothing had changed: newer than what is stored.
    pub(crate) seen: Option<Position>,
    /// What we made of its target table.
    pub(crate) made: Option<MadeTable>,
    /// Whether rows that are gone are looked for.
    pub(crate) search: Search,
}

impl TableRun {
    /// A table whose turn has not come.
    pub(crate) fn new(
        planned: Arc<PlannedTable>,
        read: Arc<TableRead>,
        progress: TableProgress,
    ) -> Self {
        let report = TableReport::new(planned.stream(), &planned.target.name.to_string());
        Self {
            planned,
            read,
            stored: None,
            report,
            progress,
            careful: false,
            refused: Refused::Wait,
            waited: false,
            put_aside: BTreeSet::new(),
            first_load: false,
            begun_here: false,
            chunk_rows: None,
            leaves: None,
            attempts: 0,
            allowed_deletes: None,
            deleted: 0,
            pending_deletes: 0,
            stopped: None,
            seen: None,
            made: None,
            search: Search::Never,
        }
    }

    /// The same table for a task of its own, with counters at zero.
    pub(crate) fn part(&self) -> Self {
        Self {
            planned: self.planned.clone(),
            read: self.read.clone(),
            stored: self.stored.clone(),
            put_aside: self.put_aside.clone(),
            report: TableReport::new(&self.report.table, &self.report.target),
            progress: self.progress.clone(),
            leaves: self.leaves.clone(),
            stopped: None,
            seen: None,
            made: self.made.clone(),
            ..*self
        }
    }

    /// Starts to count what chunks bring, if nothing but chunks has been written so far.
    pub(crate) fn count_chunks(&mut self) {
        let state = self.state();
        // Windows come after the last chunk, so an open chunk says that there was none.
        let only_chunks = self.put_aside.is_empty()
            && !self.waited
            && (self.begun_here || state.chunks.iter().any(|chunk| !chunk.done));
        let done = state.chunks.iter().filter(|chunk| chunk.done);
        let rows = done.map(|chunk| chunk.row_count).sum();
        // What is stored is how many rows they wrote.
        let is_known =
            self.planned.transform.keeps_all_rows() || !state.chunks.iter().any(|chunk| chunk.done);
        self.chunk_rows = (state.into_empty && only_chunks && is_known).then_some(rows);
    }

    /// Adds what a part has counted.
    pub(crate) fn absorb(&mut self, part: &Self) {
        let (own, other) = (&mut self.report, &part.report);
        own.rows_read += other.rows_read;
        own.rows_written += other.rows_written;
        own.rows_deleted += other.rows_deleted;
        own.rows_rejected += other.rows_rejected;
        own.bytes_read += other.bytes_read;
        own.duration_ms += other.duration_ms;
        own.rested_ms += other.rested_ms;
        fit::add(&mut own.values_lost, &other.values_lost);
        self.put_aside.extend(part.put_aside.iter().cloned());
    }

    /// Takes note of what a person should know, once each.
    pub(crate) fn take_warnings(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            if !self.report.warnings.contains(&warning) {
                self.report.warnings.push(warning);
            }
        }
    }

    /// Whether its units find refused rows one by one.
    pub(crate) fn is_careful(&self) -> bool {
        self.careful || self.refused == Refused::LeaveOut
    }

    /// The stream's name.
    pub(crate) fn stream(&self) -> &str {
        self.planned.stream()
    }

    /// What is stored of it; it has been loaded or begun before anything calls this.
    pub(crate) fn state(&self) -> &StreamState {
        self.stored
            .as_ref()
            .expect("a load was begun or state was found")
    }

    /// Whether deletes wait that are to be asked about again.
    pub(crate) fn has_pending_deletes(&self) -> bool {
        self.pending_deletes > 0 && self.planned.deletes()
    }

    /// Whether it is being loaded into a table that was empty.
    pub(crate) fn is_first_load(&self) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|it| it.into_empty && it.phase != StreamPhase::Following)
    }

    /// Chunks of its load that are not done.
    pub(crate) fn open_chunks(&self) -> impl Iterator<Item = &ChunkState> {
        let chunks = self.stored.iter().flat_map(|stored| &stored.chunks);
        chunks.filter(|chunk| !chunk.done)
    }

    /// Shows how many rows are to be read, as far as the source's estimate says: not where only
    /// some of them are selected or have changed.
    pub(crate) fn expect_rows(&self, action: &Action) {
        if self.read.filter != Filter::All || *action == Action::Follow {
            return;
        }
        let chunks = self.stored.iter().flat_map(|stored| &stored.chunks);
        let done: u64 = match action {
            Action::Resume => chunks.map(|chunk| chunk.row_count).sum(),
            _ => 0,
        };
        if let Some(rows) = self.planned.row_estimate {
            self.progress.expect(rows.saturating_sub(done));
        }
    }

    /// Remembers that a chunk was committed.
    pub(crate) fn chunk_done(&mut self, index: u32) {
        let mut chunks = self.stored.iter_mut().flat_map(|stored| &mut stored.chunks);
        if let Some(chunk) = chunks.find(|chunk| chunk.index == index) {
            chunk.done = true;
        }
    }

    /// The phase to store with a watermark that settles nothing.
    pub(crate) fn same_phase(&self) -> StreamPhase {
        match self.state().phase {
            StreamPhase::Following => StreamPhase::Following,
            StreamPhase::Loading | StreamPhase::Settling => StreamPhase::Loading,
        }
    }

    /// Remembers a watermark that was committed.
    pub(crate) fn moved(&mut self, version: u64, position: Position, phase: StreamPhase) {
        let stored = self
            .stored
            .as_mut()
            .expect("only a stored watermark can be moved");
        stored.version = version;
        stored.position = position;
        stored.phase = phase;
        stored.updated_at = seconds_since_epoch();
        if phase == StreamPhase::Following {
            stored.chunks.clear();
        }
    }

    /// Counts rows that left the source.
    pub(crate) fn count_read(&mut self, batch: &RecordBatch) {
        let (rows, bytes) = (
            batch.num_rows() as u64,
            batch.get_array_memory_size() as u64,
        );
        self.report.rows_read += rows;
        self.report.bytes_read += bytes;
        self.progress.advance(rows, bytes);
    }

    /// Counts what values of the table lost in a unit that is committed; `losses` by streams.
    pub(crate) fn count_lost(&mut self, losses: &BTreeMap<String, Losses>) {
        if let Some(losses) = losses.get(self.stream()) {
            fit::add(&mut self.report.values_lost, losses);
        }
    }

    /// Says which columns lost something: nobody reads a target to find out.
    pub(crate) fn tell_lost(&mut self) {
        let columns = self
            .planned
            .target
            .columns
            .iter()
            .zip(&self.planned.policies);
        let told = columns.filter_map(|(column, policy)| {
            let lost = self.report.values_lost.get(&column.name)?;
            Some(format!(
                "column `{}`: {} (`on_lossy: {}`)",
                column.name,
                lost.sentence(),
                policy.name()
            ))
        });
        let told: Vec<_> = told.collect();
        self.take_warnings(told);
    }

    /// Counts what a unit did.
    pub(crate) fn count_written(&mut self, receipt: Receipt) {
        self.report.rows_written += receipt.rows_written;
        self.report.rows_deleted += receipt.rows_deleted;
    }

    /// Notes up to when it has seen the source, if its watermark is a time and no load is open.
    pub(crate) fn date(&mut self, source: &dyn Source) {
        let stored = self.stored.as_ref();
        let stored = stored.filter(|stored| stored.phase == StreamPhase::Following);
        let position = self.seen.as_ref().or(stored.map(|stored| &stored.position));
        let micros = position.and_then(|position| source.position_time(&self.read, position));
        self.report.watermark_at = micros.and_then(DateTime::from_timestamp_micros);
    }

    /// It is worked on from now on; what [`count_time`](Self::count_time) counts from.
    pub(crate) fn start_clock(&self) -> Instant {
        self.progress.start(self.stream());
        Instant::now()
    }

    /// Adds to the time spent on it.
    pub(crate) fn count_time(&mut self, since: Instant) {
        self.report.duration_ms += u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    }

    /// Adds to the time in which nothing was asked for it, on purpose.
    pub(crate) fn count_rest(&mut self, rested: Duration) {
        self.report.rested_ms += u64::try_from(rested.as_millis()).unwrap_or(u64::MAX);
    }

    /// Ends it well.
    pub(crate) fn done(&mut self, outcome: Outcome) {
        self.report.outcome = outcome;
        self.progress.finish(&self.report);
    }

    /// Ends it badly; what was committed stands.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let failure = match self.stopped.take() {
            // Rows that are to be deleted may keep others from being written.
            Some(stopped) if failure.exit_code == exit_code::FAILED => stopped.because_of(failure),
            _ => failure,
        };
        tracing::debug!(table = self.stream(), error = %failure.message, "table failed");
        self.report.fail(failure);
        self.progress.finish(&self.report);
    }

    /// Says how many rows wait as rejected: a table that is done must not hide them.
    pub(crate) fn tell_rejected(&mut self, pipeline: &str) {
        let waiting = self.put_aside.len();
        if waiting == 0 || self.has_failed() {
            return;
        }
        self.report.exit_code = i32::from(self.planned.plan.rejects_exit);
        let rows = if waiting == 1 {
            "row waits"
        } else {
            "rows wait"
        };
        self.report.warnings.push(format!(
            "{waiting} rejected {rows}; see `syncset rejected list {pipeline}`"
        ));
    }

    /// Whether it has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.report.outcome == Outcome::Failed
    }
}
