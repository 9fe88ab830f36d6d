//! `--dry-run`: reads and counts what a run would write; takes no lease and writes nothing.

use crate::check::{Aspect, DifferingRows};
use crate::decision::{Action, decide, would_append_twice};
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::report::Outcome;
use crate::rules::not_agreed;
use crate::run::RunSettings;
use crate::run::pump::pump;
use crate::run::table::TableRun;
use crate::run::{catch_up, foresee, hash, slice, sort};
use arrow_array::RecordBatch;
use futures::StreamExt;
use syncset_connector::{
    Capture, ChangeEvent, KeyRange, PipelineState, Position, Snapshot, SnapshotRequest,
    StreamPhase, WindowState, WriteMode,
};

/// Counts rows per table: those a load would read, or those of its window.
pub(crate) async fn count(
    ends: &Ends,
    tables: &mut [TableRun],
    state: &PipelineState,
    settings: &RunSettings<'_>,
) -> Result<(), Failures> {
    for table in tables.iter_mut() {
        let stream = table.stream().to_owned();
        table.stored = state
            .streams
            .iter()
            .find(|stored| stored.stream == stream)
            .cloned();
        table.pending_deletes = state.pending_of(&table.planned.target.name);
        table.report.deletes_pending = table.pending_deletes;
        if let Some(failure) = table.planned.failures.first() {
            table.fail(failure.clone());
            continue;
        }
        match decide_and_count(ends, table, state, settings).await {
            Ok(outcome) => table.done(outcome),
            Err(failures) => table.fail(failures.of_one_table()),
        }
    }
    Ok(())
}

async fn decide_and_count(
    ends: &Ends,
    table: &mut TableRun,
    state: &PipelineState,
    settings: &RunSettings<'_>,
) -> Result<Outcome, Failures> {
    if settings.args.slice.is_some() {
        slice::check(table, state, &ends.key, settings.rules())?;
        let request = SnapshotRequest {
            read: table.read.clone(),
            from: None,
        };
        let mut snapshot = ends.source().open_snapshot(&[request], None).await?;
        count_all(table, snapshot.as_mut(), None, settings).await?;
        return Ok(Outcome::Sliced);
    }
    let rules = settings.rules();
    let decision = decide(&table.planned, state, &ends.key, rules)?;
    if decision.action == Action::Approve {
        let pipeline = &ends.key.pipeline;
        return Err(not_agreed(&table.planned, pipeline, &decision, rules).into());
    }
    if let Some(alteration) = &decision.alteration {
        sort::blocked(ends, table, alteration).await?;
    }
    table.expect_rows(&decision.action);
    let outcome = count_table(ends, table, &decision.action, settings).await?;
    if decision.alteration.is_none() {
        foresee::deletes(ends, table, outcome).await?;
    }
    Ok(outcome)
}

async fn count_table(
    ends: &Ends,
    table: &mut TableRun,
    action: &Action,
    settings: &RunSettings<'_>,
) -> Result<Outcome, Failure> {
    let follows = *action == Action::Follow
        && table
            .stored
            .as_ref()
            .is_some_and(|stored| stored.phase == StreamPhase::Following);
    if follows && table.read.capture == Capture::Hash {
        return count_differences(ends, table, settings).await;
    }
    let from = follows.then(|| table.state().position.clone());
    let request = SnapshotRequest {
        read: table.read.clone(),
        from,
    };
    let mut snapshot = ends.source().open_snapshot(&[request], None).await?;
    if !follows {
        let low = match &table.stored {
            _ if !table.read.capture.is_disjoint() => None,
            Some(stored) if *action == Action::Resume => Some(stored.position.clone()),
            _ => {
                let reads = [table.read.clone()];
                ends.source().low_positions(&reads).await?.pop()
            }
        };
        return count_all(table, snapshot.as_mut(), low.as_ref(), settings).await;
    }
    let window = snapshot.windows()[0].clone();
    table.report.warnings.extend(window.warnings);
    match window.state {
        WindowState::Unchanged(_) => return Ok(Outcome::Unchanged),
        WindowState::Reload { reason } if table.planned.write() == WriteMode::Append => {
            return Err(would_append_twice(&table.planned, &reason));
        }
        WindowState::Reload { reason } => {
            if let Some(outcome) = count_lost(ends, table).await? {
                let warning = format!("it would be compared by hashes, not loaded again: {reason}");
                table.report.warnings.push(warning);
                return Ok(outcome);
            }
            table
                .report
                .warnings
                .push(format!("it would be loaded again: {reason}"));
            return count_all(table, snapshot.as_mut(), None, settings).await;
        }
        WindowState::Changed => {}
    }
    let changes = snapshot.read_changes(0, settings.args.memory).await?;
    pump(changes, &settings.stop, async |mut events| {
        while let Some(event) = events.recv().await {
            match event? {
                ChangeEvent::Upserts(batch) => {
                    count_kept(table, &batch)?;
                }
                ChangeEvent::Deletes(keys) => {
                    table.count_read(&keys);
                    table.report.rows_deleted += keys.num_rows() as u64;
                }
                _ => {}
            }
        }
        Ok(())
    })
    .await?;
    Ok(if table.report.rows_read == 0 {
        Outcome::Unchanged
    } else {
        Outcome::Followed
    })
}

/// Counts rows that differ between both sides.
async fn count_differences(
    ends: &Ends,
    table: &mut TableRun,
    settings: &RunSettings<'_>,
) -> Result<Outcome, Failure> {
    let request = SnapshotRequest {
        read: table.read.clone(),
        from: None,
    };
    let source = ends.source().open_snapshot(&[request], None).await?;
    let planned = table.planned.clone();
    let reader = ends.target_reader().await?;
    let comparison = reader.comparison(&planned, Aspect::Values).await?;
    let (mut source, found) = comparison.differences(source).await?;
    let DifferingRows::Named { ours, gone } = &found.rows else {
        return count_all(table, source.as_mut(), None, settings).await;
    };
    hash::count(table, &found);
    count_named(table, source, (ours, gone)).await
}

/// Counts rows that differ where the position is lost; `None` if a run would load the table again.
async fn count_lost(ends: &Ends, table: &mut TableRun) -> Result<Option<Outcome>, Failure> {
    if !catch_up::may_be_compared(table) {
        return Ok(None);
    }
    let request = SnapshotRequest {
        read: table.read.clone(),
        from: None,
    };
    let planned = table.planned.clone();
    let reader = ends.target_reader().await?;
    let comparison = reader.comparison(&planned, Aspect::Values).await?;
    let source = ends.source().open_snapshot(&[request], None).await?;
    let Ok((source, found)) = comparison.by_servers(source).await? else {
        return Ok(None);
    };
    let DifferingRows::Named { ours, gone } = &found.rows else {
        return Ok(None);
    };
    hash::count(table, &found);
    count_named(table, source, (ours, gone)).await.map(Some)
}

/// Counts rows by their keys: those of the source that would be written, and those that are gone.
async fn count_named(
    table: &mut TableRun,
    mut source: Box<dyn Snapshot>,
    (ours, gone): (&RecordBatch, &RecordBatch),
) -> Result<Outcome, Failure> {
    if ours.num_rows() > 0 {
        let mut rows = source.read_rows(0, ours).await?;
        while let Some(batch) = rows.next().await {
            count_kept(table, &batch?)?;
        }
    }
    if table.planned.deletes() {
        table.report.rows_deleted = gone.num_rows() as u64;
    }
    source.close().await;
    let quiet = table.report.rows_written + table.report.rows_deleted == 0;
    Ok(match quiet {
        true => Outcome::Unchanged,
        false => Outcome::Followed,
    })
}

/// Counts rows that would be written, and values that would be changed to fit.
fn count_kept(table: &mut TableRun, batch: &RecordBatch) -> Result<(), Failure> {
    let kept = table.planned.transform.apply(batch)?.kept;
    table.count_read(batch);
    table.report.rows_written += kept.num_rows() as u64;
    let planned = table.planned.clone();
    planned.fit.apply(kept, &mut table.report.values_lost)?;
    Ok(())
}

async fn count_all(
    table: &mut TableRun,
    snapshot: &mut dyn Snapshot,
    below: Option<&Position>,
    settings: &RunSettings<'_>,
) -> Result<Outcome, Failure> {
    let all = KeyRange::all();
    let rows = match below {
        Some(below) => snapshot.read_chunk_below(0, &all, below).await?,
        None => snapshot.read_chunk(0, &all).await?,
    };
    pump(rows, &settings.stop, async |mut batches| {
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            count_kept(table, &batch)?;
        }
        Ok(())
    })
    .await?;
    Ok(Outcome::Loaded)
}
