//! First loads and reloads: low watermarks and chunks are stored first, then chunks are copied.

use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::pump::pump;
use crate::run::retry;
use crate::run::table::TableRun;
use crate::run::unit::{Turn, Unit};
use arrow_array::RecordBatch;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use syncset_connector::{
    ErrorClass, KeyBound, KeyRange, LoadPlan, Snapshot, SnapshotToken, UnitStart, UnitStep,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Chunks a large table is cut into, about: what a crash costs is one of them per job.
const CHUNKS_WANTED: u64 = 64;

/// Smallest chunk: below it the transaction costs more than the rows.
const CHUNK_BYTES_MIN: u64 = 4 << 20;

/// Largest chunk.
const CHUNK_BYTES_MAX: u64 = 256 << 20;

/// Stores low watermarks and chunk boundaries of tables that are loaded from the start.
///
/// The low watermarks are taken before the boundaries and before any row is read, and a resume
/// never replaces them: the window from them heals whatever changes meanwhile.
pub(crate) async fn begin(
    context: &RunContext,
    tables: &mut [&mut TableRun],
) -> Result<(), Failure> {
    if tables.is_empty() {
        return Ok(());
    }
    let reads: Vec<_> = tables.iter().map(|table| table.read.clone()).collect();
    let lows = context.ends.source().low_positions(&reads).await?;
    fail_point("load.low_known");
    let mut loads = Vec::with_capacity(tables.len());
    for (table, low) in tables.iter().zip(lows) {
        let boundaries = if table.read.capture.heals_loads() {
            boundaries(context, table).await?
        } else {
            Vec::new()
        };
        loads.push(LoadPlan {
            stream: table.stream().to_owned(),
            target: table.planned.target.name.clone(),
            leaves: table.leaves.clone(),
            selection: table.read.selection.clone(),
            selection_text: table.planned.plan.selection_text.clone(),
            low,
            boundaries,
            into_empty: table.planned.status.empty && table.stored.is_none(),
        });
    }
    let states = context
        .ends
        .state()
        .begin_load(&context.lease, &loads)
        .await?;
    fail_point("load.begun");
    for (table, state) in tables.iter_mut().zip(states) {
        table.stored = Some(state);
        // Whatever was refused before is read again with the rest.
        table.put_aside.clear();
        // The load finds every row that is gone.
        table.pending_deletes = 0;
        table.begun_here = true;
    }
    Ok(())
}

/// Keys that cut a table into chunks; none if it is small.
pub(crate) async fn boundaries(
    context: &RunContext,
    table: &TableRun,
) -> Result<Vec<KeyBound>, Failure> {
    // A store that does not say how large its tables are looks when it is asked to cut one.
    let chunk_bytes = match table.planned.byte_estimate {
        Some(bytes) => {
            let chunk_bytes = (bytes / CHUNKS_WANTED).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
            if bytes <= chunk_bytes {
                return Ok(Vec::new());
            }
            chunk_bytes
        }
        None => CHUNK_BYTES_MIN,
    };
    let source = context.ends.source();
    Ok(source.boundaries(&table.read, chunk_bytes).await?)
}

/// One chunk that waits for its turn.
struct Chunk {
    table: usize,
    index: u32,
    range: KeyRange,
    into_empty: bool,
    careful: bool,
    attempts: u32,
    /// How long it took, the last time.
    busy: Duration,
}

/// Copies every chunk that is not done, `jobs` at a time. A failed chunk fails its table; the
/// others go on. `shared`: all chunks are read from this snapshot. Returns the tables of chunks
/// that wait for other tables.
pub(crate) async fn copy_chunks(
    context: &RunContext,
    tables: &mut [TableRun],
    which: &[usize],
    shared: Option<&SnapshotToken>,
) -> BTreeSet<usize> {
    which.iter().for_each(|&table| tables[table].count_chunks());
    let mut queue: VecDeque<Chunk> = which
        .iter()
        .flat_map(|&table| waiting_chunks(table, tables[table].state()))
        .collect();
    let mut later = BTreeSet::new();
    let mut running: JoinSet<(TableRun, Chunk, Result<(), Failure>)> = JoinSet::new();
    // Of the jobs that have ended a chunk.
    let mut rests: Vec<Duration> = Vec::new();
    loop {
        while running.len() < context.jobs {
            let Some(chunk) = queue.pop_front() else {
                break;
            };
            let table = &mut tables[chunk.table];
            if table.has_failed() {
                continue;
            }
            if let Some(reason) = context.stop.reason() {
                table.fail(reason);
                continue;
            }
            let (context, part, shared) = (context.clone(), table.part(), shared.cloned());
            let rest = rests.pop().unwrap_or_default();
            running.spawn(async move {
                let rested = context.stop.rest(rest).await;
                let began = Instant::now();
                let (mut part, mut chunk, result) = copy_chunk(context, part, chunk, shared).await;
                part.count_rest(rested);
                chunk.busy = began.elapsed();
                (part, chunk, result)
            });
        }
        let Some(ended) = running.join_next().await else {
            return later;
        };
        let (mut part, mut chunk, result) = ended.expect("chunk tasks do not panic");
        let table = &mut tables[chunk.table];
        table.absorb(&part);
        rests.extend(context.load.map(|load| load.rest_after(chunk.busy)));
        let rows = if result.is_ok() {
            part.report.rows_read
        } else {
            0
        };
        table.chunk_rows = table
            .chunk_rows
            .filter(|_| chunk.into_empty && !chunk.careful)
            .map(|known| known + rows);
        let Err(failure) = result else {
            table.chunk_done(chunk.index);
            continue;
        };
        if failure.is(ErrorClass::RowParked) && chunk.into_empty {
            // Somebody else wrote into the table: look for existing rows from here on.
            chunk.into_empty = false;
            queue.push_front(chunk);
            continue;
        }
        part.careful = chunk.careful;
        part.attempts = chunk.attempts;
        let next = after_failure(&mut part, failure);
        (chunk.careful, chunk.attempts) = (part.careful, part.attempts);
        match next {
            Next::Again => queue.push_front(chunk),
            Next::Later => {
                table.waited = true;
                later.insert(chunk.table);
            }
            Next::Fail(failure) => table.fail(failure),
        }
    }
}

fn waiting_chunks(
    table: usize,
    state: &syncset_connector::StreamState,
) -> impl Iterator<Item = Chunk> + use<> {
    let into_empty = state.into_empty;
    let chunks: Vec<_> = state
        .chunks
        .iter()
        .filter(|chunk| !chunk.done)
        .cloned()
        .collect();
    chunks.into_iter().map(move |chunk| Chunk {
        table,
        index: chunk.index,
        range: chunk.range,
        into_empty,
        careful: false,
        attempts: 0,
        busy: Duration::ZERO,
    })
}

/// Copies one chunk in a snapshot and a transaction of its own.
async fn copy_chunk(
    context: RunContext,
    mut table: TableRun,
    chunk: Chunk,
    shared: Option<SnapshotToken>,
) -> (TableRun, Chunk, Result<(), Failure>) {
    let started = table.start_clock();
    tokio::time::sleep(retry::pause(chunk.attempts)).await;
    (table.careful, table.attempts) = (chunk.careful, chunk.attempts);
    let result = async {
        let mut snapshot = context.rows_of(&table, shared.as_ref()).await?;
        let start = UnitStart {
            lease: context.lease.clone(),
            step: chunk_step(&table, chunk.index),
            into_empty: chunk.into_empty && !chunk.careful,
            careful: chunk.careful,
        };
        write_chunk(
            &context,
            &mut table,
            snapshot.as_mut(),
            0,
            &chunk.range,
            start,
        )
        .await?;
        snapshot.close().await;
        Ok(())
    }
    .await;
    table.count_time(started);
    (table, chunk, result)
}

/// What the unit of a chunk marks as done.
pub(crate) fn chunk_step(table: &TableRun, index: u32) -> UnitStep {
    UnitStep::Chunk {
        stream: table.stream().to_owned(),
        index,
        version: table.state().version,
    }
}

/// Writes what the target takes of the chunks that are not done, and leaves them undone.
pub(crate) async fn copy_rows_only(
    context: &RunContext,
    table: &mut TableRun,
) -> Result<(), Failure> {
    let mut snapshot = context.rows_of(table, None).await?;
    let ranges: Vec<KeyRange> = table
        .open_chunks()
        .map(|chunk| chunk.range.clone())
        .collect();
    for range in &ranges {
        let start = context.watermark_unit(table);
        write_chunk(context, table, snapshot.as_mut(), 0, range, start).await?;
    }
    snapshot.close().await;
    Ok(())
}

/// Writes the rows of a key range as one unit.
pub(crate) async fn write_chunk(
    context: &RunContext,
    table: &mut TableRun,
    snapshot: &mut dyn Snapshot,
    slot: usize,
    range: &KeyRange,
    start: UnitStart,
) -> Result<(), Failure> {
    let stream = if table.read.capture.is_disjoint() {
        // What is above comes with the windows that follow, and must not come twice.
        let low = table.state().position.clone();
        snapshot.read_chunk_below(slot, range, &low).await?
    } else {
        snapshot.read_chunk(slot, range).await?
    };
    let kind = match &start.step {
        UnitStep::Chunk { index, .. } => UnitKind::Chunk(*index),
        UnitStep::Watermark { .. } | UnitStep::Watermarks(_) => UnitKind::RowsOnly,
    };
    let mut unit = Unit::begin(&context.ends, start, table, kind).await?;
    // A chunk or a slice deletes nothing, not even what waits for the guard.
    unit.take_turn(Turn::More);
    pump(stream, &context.stop, async |batches| {
        fill(unit, table, batches).await
    })
    .await
}

async fn fill(
    mut unit: Unit<'_>,
    table: &mut TableRun,
    mut batches: mpsc::Receiver<syncset_connector::Result<RecordBatch>>,
) -> Result<(), Failure> {
    while let Some(batch) = batches.recv().await {
        let written = async {
            let batch = batch?;
            table.count_read(&batch);
            unit.upsert(table, &batch, false).await
        };
        if let Err(failure) = written.await {
            unit.abort(&failure).await;
            return Err(failure);
        }
        fail_point("chunk.batch");
    }
    if let Err(failure) = unit.replace(&[&*table]).await {
        unit.abort(&failure).await;
        return Err(failure);
    }
    match unit.step() {
        UnitStep::Watermark { .. } | UnitStep::Watermarks(_) => unit.commit_rows(table).await,
        UnitStep::Chunk { .. } => unit.commit(table, None).await.map(drop),
    }
}
