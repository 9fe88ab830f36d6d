//! Windows of several tables, written while the next one is read.

use crate::failure::Failure;
use crate::report::Outcome;
use crate::run::context::RunContext;
use crate::run::follow::{Followed, apply, heed_pending};
use crate::run::pump::AHEAD;
use crate::run::table::TableRun;
use crate::run::waiting::Refused;
use futures::StreamExt;
use syncset_connector::{Snapshot, StreamPhase, Window, WindowState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Windows that are being written, each in a task of its own.
#[derive(Default)]
pub(crate) struct Writers {
    running: JoinSet<Written>,
    streams: Vec<(usize, String)>,
}

/// What came of one window.
pub(crate) struct Written {
    index: usize,
    part: TableRun,
    result: Result<Followed, Failure>,
}

impl Written {
    /// Adds what was done to the table of the run. Returns its place and what came of it.
    pub(crate) fn returned_to(self, tables: &mut [TableRun]) -> (usize, Result<Followed, Failure>) {
        let table = &mut tables[self.index];
        table.absorb(&self.part);
        table.chunk_rows = None;
        table.stored = self.part.stored;
        table.pending_deletes = self.part.pending_deletes;
        table.stopped = self.part.stopped;
        (self.index, self.result)
    }
}

/// Whether the snapshot can be read on after a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fed {
    /// The window was read to its end.
    Whole,
    /// The window was left: nobody takes its rows any more.
    Left,
}

impl Writers {
    /// Whether a window needs nothing but to be written: no rows besides it, no search for rows
    /// that are gone, no other window after it.
    pub(crate) fn take(table: &TableRun, window: &Window) -> bool {
        window.state == WindowState::Changed
            && !window.continues
            && table.state().phase == StreamPhase::Following
            && table.refused == Refused::Wait
            && !table.waited
            && table.put_aside.is_empty()
    }

    /// Waits until fewer than `limit` windows are being written, and none of a table that this
    /// one's rows refer to.
    pub(crate) async fn make_room(&mut self, limit: usize, parents: &[String]) -> Vec<Written> {
        let mut ended = Vec::new();
        while self.running.len() >= limit.max(1) || self.writes_any(parents) {
            let Some(written) = self.running.join_next().await else {
                break;
            };
            let written = written.expect("tasks that write do not panic");
            self.streams.retain(|(index, _)| *index != written.index);
            ended.push(written);
        }
        ended
    }

    fn writes_any(&self, streams: &[String]) -> bool {
        let mut running = self.streams.iter();
        running.any(|(_, stream)| streams.contains(stream))
    }

    /// Reads a window and has it written. Returns when it has been read.
    pub(crate) async fn feed(
        &mut self,
        context: &RunContext,
        tables: &[TableRun],
        index: usize,
        (snapshot, slot): (&mut dyn Snapshot, usize),
    ) -> Result<Fed, Failure> {
        let table = &tables[index];
        let mut stream = snapshot.read_changes(slot, context.unit_bytes).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (own, mut part) = (context.clone(), table.part());
        self.streams.push((index, table.stream().to_owned()));
        self.running.spawn(async move {
            let started = part.start_clock();
            let applied = tokio::select! {
                result = apply(&own, &mut part, false, receiver) => result,
                reason = own.stop.requested() => Err(reason),
            };
            let result = match applied {
                Ok((position, changed)) => heed_pending(&own, &mut part)
                    .await
                    .map(|asked| (position, changed || asked)),
                Err(failure) => Err(failure),
            };
            part.count_time(started);
            let result = result.map(|(position, changed)| {
                if changed || part.report.rows_read > 0 {
                    Followed::Done(Outcome::Followed)
                } else {
                    Followed::Idle(position)
                }
            });
            Written {
                index,
                part,
                result,
            }
        });
        while let Some(event) = stream.next().await {
            let failed = event.is_err();
            if sender.send(event).await.is_err() || failed {
                return Ok(Fed::Left);
            }
        }
        Ok(Fed::Whole)
    }
}
