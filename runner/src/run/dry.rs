//! `--dry-run`: reads and counts what a run would write; takes no lease and writes nothing.

use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::planned::{Action, decide};
use crate::report::Outcome;
use crate::run::RunSettings;
use crate::run::pump::pump;
use crate::run::table::TableRun;
use syncset_connector::{
    ChangeEvent, KeyRange, Snapshot, SnapshotRequest, StreamPhase, WindowState,
};

/// Counts rows per table: those a load would read, or those of its window.
pub(crate) async fn count(
    ends: &Ends,
    tables: &mut [TableRun],
    settings: &RunSettings<'_>,
) -> Result<(), Failures> {
    let state = ends.state().load(&ends.key, 0).await?;
    for table in tables.iter_mut() {
        let stream = table.stream().to_owned();
        table.stored = state
            .streams
            .iter()
            .find(|stored| stored.stream == stream)
            .cloned();
        if let Some(failure) = table.planned.failures.first() {
            table.fail(failure.clone());
            continue;
        }
        let action = decide(
            &table.planned,
            &state,
            &ends.key,
            settings.args.full_refresh,
        );
        let counted = match action {
            Ok(Action::Approve) => Err(crate::planned::selection_changed(
                &table.planned,
                &ends.key.pipeline,
            )),
            Ok(action) => count_table(ends, table, &action, settings).await,
            Err(failure) => Err(failure),
        };
        match counted {
            Ok(outcome) => table.done(outcome),
            Err(failure) => table.fail(failure),
        }
    }
    Ok(())
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
    let from = follows.then(|| table.state().position.clone());
    let request = SnapshotRequest {
        read: table.read.clone(),
        from,
    };
    let mut snapshot = ends.source().open_snapshot(&[request], None).await?;
    if !follows {
        return count_all(table, snapshot.as_mut(), settings).await;
    }
    let window = snapshot.windows()[0].clone();
    table.report.warnings.extend(window.warnings);
    match window.state {
        WindowState::Unchanged(_) => return Ok(Outcome::Unchanged),
        WindowState::Reload { reason } => {
            table
                .report
                .warnings
                .push(format!("it would be loaded again: {reason}"));
            return count_all(table, snapshot.as_mut(), settings).await;
        }
        WindowState::Changed => {}
    }
    let changes = snapshot.read_changes(0, settings.args.memory).await?;
    pump(changes, &settings.stop, async |mut events| {
        while let Some(event) = events.recv().await {
            match event? {
                ChangeEvent::Upserts(batch) => {
                    let kept = table.planned.transform.apply(&batch)?.kept;
                    table.count_read(&batch);
                    table.report.rows_written += kept.num_rows() as u64;
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

async fn count_all(
    table: &mut TableRun,
    snapshot: &mut dyn Snapshot,
    settings: &RunSettings<'_>,
) -> Result<Outcome, Failure> {
    let rows = snapshot.read_chunk(0, &KeyRange::all()).await?;
    pump(rows, &settings.stop, async |mut batches| {
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            let kept = table.planned.transform.apply(&batch)?.kept;
            table.count_read(&batch);
            table.report.rows_written += kept.num_rows() as u64;
        }
        Ok(())
    })
    .await?;
    Ok(Outcome::Loaded)
}
