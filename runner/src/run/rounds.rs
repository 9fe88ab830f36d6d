//! The rounds of a run: every table gets its turn, then those that have to be loaded again or
//! that waited for others get another one.

use crate::decision::would_append_twice;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::statistics::Filled;
use crate::run::table::TableRun;
use crate::run::waiting::Refused;
use crate::run::{catch_up, follow, full, load, retry_rejected, search, settle, together};
use std::collections::BTreeSet;
use syncset_connector::{RejectedRow, StreamPhase, WriteMode};

/// Rounds of one run. Each but a few writes rows that the next one needs; a chain of tables that
/// wait for each other row by row and is longer than this goes on in the next run.
pub(crate) const ROUNDS_MAX: usize = 64;

/// Rounds in which tables may turn out to need another load: their positions proved nothing.
pub(crate) const RELOAD_ROUNDS_MAX: usize = 2;

/// Which tables need what, by index.
#[derive(Default)]
pub(crate) struct Work {
    /// To be loaded from the start.
    pub(crate) load: Vec<usize>,
    /// To be loaded further.
    pub(crate) resume: Vec<usize>,
    /// To be followed.
    pub(crate) follow: Vec<usize>,
    /// To be copied whole, or compared by hashes.
    pub(crate) whole: Vec<usize>,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.load.is_empty()
            && self.resume.is_empty()
            && self.follow.is_empty()
            && self.whole.is_empty()
    }

    /// All of them.
    fn indices(&self) -> Vec<usize> {
        let lists = [&self.load, &self.resume, &self.follow, &self.whole];
        lists.into_iter().flatten().copied().collect()
    }

    /// Units of these tables that could need each other.
    fn unit_count(&self, tables: &[TableRun]) -> usize {
        let chunks = self
            .resume
            .iter()
            .map(|&index| tables[index].open_chunks().count());
        self.follow.len() + self.whole.len() + chunks.sum::<usize>()
    }
}

/// Loads, follows and copies tables until none is left to do.
pub(crate) async fn run(
    context: &RunContext,
    tables: &mut [TableRun],
    mut work: Work,
    rejected: &[RejectedRow],
) {
    let mut reload_rounds = 0;
    let mut refused = Refused::default();
    for _ in 0..ROUNDS_MAX {
        let moved_before = rows_moved(tables);
        if refused == Refused::Together {
            together::write(context, tables, &work.indices()).await;
        }
        let loading = load_tables(context, tables, &work).await;
        let turn = work.load.iter().chain(&work.resume).chain(&work.follow);
        let mut ready: Vec<usize> = turn
            .copied()
            .filter(|index| !loading.contains(index) && !tables[*index].has_failed())
            .collect();
        ready.sort_unstable();
        let has_windows = |index: &usize| tables[*index].read.capture.has_windows();
        let (ready, compared): (Vec<usize>, Vec<usize>) = ready.into_iter().partition(has_windows);
        work.whole.extend(compared);
        work.whole.sort_unstable();
        let filled = Filled::by_chunks(tables);
        let (left, warning) = tokio::join!(
            follow::follow(context, tables, &ready, rejected),
            filled.renew(context)
        );
        filled.note(tables, warning);
        let whole = full::copy_all(context, tables, &work.whole, rejected).await;

        reload_rounds += usize::from(!left.reload.is_empty());
        let (caught_up, reload) = match reload_rounds > RELOAD_ROUNDS_MAX {
            true => (Vec::new(), left.reload),
            false => catch_up::catch_up(context, tables, left.reload).await,
        };
        work = Work {
            load: Vec::new(),
            resume: loading.into_iter().collect(),
            follow: left.later,
            whole,
        };
        work.follow.extend(caught_up.iter().copied());
        work.resume.retain(|&index| !tables[index].has_failed());
        for (index, reason) in reload {
            if reload_rounds > RELOAD_ROUNDS_MAX {
                let failure = settle::unsettled(&tables[index], &reason);
                tables[index].fail(failure);
                continue;
            }
            if tables[index].planned.write() == WriteMode::Append {
                let failure = would_append_twice(&tables[index].planned, &reason);
                tables[index].fail(failure);
                continue;
            }
            let warnings = &mut tables[index].report.warnings;
            warnings.push(format!("loading it again: {reason}"));
            work.load.push(index);
        }
        if work.is_empty() {
            break;
        }
        let helped =
            rows_moved(tables) > moved_before || !work.load.is_empty() || !caught_up.is_empty();
        refused = refused.after_round(helped, work.unit_count(tables));
        for table in tables.iter_mut() {
            table.refused = refused.of_mode(table.planned.write());
        }
    }
    search::run(context, tables).await;
    if rows_moved(tables) > 0 {
        retry_rejected::once_more(context, tables).await;
    }
}

/// Rows that the run has changed at the target so far.
fn rows_moved(tables: &[TableRun]) -> u64 {
    let moved = |table: &TableRun| table.report.rows_written + table.report.rows_deleted;
    tables.iter().map(moved).sum()
}

/// Begins loads and copies all chunks that are not done. Returns the tables that wait for others.
pub(crate) async fn load_tables(
    context: &RunContext,
    tables: &mut [TableRun],
    work: &Work,
) -> BTreeSet<usize> {
    let started: Vec<usize> = begin_loads(context, tables, &work.load).await;
    let loading: Vec<usize> = started
        .into_iter()
        .chain(work.resume.iter().copied())
        .filter(|&index| tables[index].state().phase != StreamPhase::Following)
        .collect();
    let leaves_out = |index: &usize| tables[*index].refused == Refused::LeaveOut;
    let (rows_only, whole): (Vec<usize>, Vec<usize>) = loading.into_iter().partition(leaves_out);
    for &index in &rows_only {
        let table = &mut tables[index];
        if let Err(failure) = load::copy_rows_only(context, table).await
            && let Next::Fail(failure) = after_failure(table, failure)
        {
            table.fail(failure);
        }
    }
    let mut waiting = load::copy_chunks(context, tables, &whole, None).await;
    waiting.extend(rows_only);
    waiting
}

/// Begins loads together; if that fails, one by one, so that one table cannot stop the others.
pub(crate) async fn begin_loads(
    context: &RunContext,
    tables: &mut [TableRun],
    which: &[usize],
) -> Vec<usize> {
    let mut together: Vec<&mut TableRun> = tables
        .iter_mut()
        .enumerate()
        .filter(|(index, table)| which.contains(index) && !table.has_failed())
        .map(|(_, table)| table)
        .collect();
    if load::begin(context, &mut together).await.is_err() {
        for &index in which {
            let table = &mut tables[index];
            if let Err(failure) = load::begin(context, &mut [&mut *table]).await {
                table.fail(failure);
            }
        }
    }
    which
        .iter()
        .copied()
        .filter(|&index| !tables[index].has_failed())
        .collect()
}
