//! The changes of one window as a stream.

use crate::cell::{Cell, cell, fetched};
use crate::connect::Session;
use crate::cursor::{CursorPosition, Pending};
use crate::decode::Decoder;
use crate::disjoint::{Slice, slice_of};
use crate::scan::{decoder, key_positions, key_text};
use crate::window::WindowPlan;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteRow;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use syncset_connector::{ChangeEvent, ChangeStream, ConnectorError, Position, Result, TableRead};

struct Windowing<'a> {
    rows: BoxStream<'a, std::result::Result<SqliteRow, sqlx::Error>>,
    read: Arc<TableRead>,
    plan: WindowPlan,
    /// Which of the rows belong to the window.
    slice: Option<Slice>,
    upserts: Decoder,
    deletes: Decoder,
    key: Vec<usize>,
    path: PathBuf,
    place: String,
    unit_bytes: usize,
    /// Bytes decoded since the last progress.
    bytes: usize,
    ready: VecDeque<ChangeEvent>,
    done: bool,
}

/// The changes of a window.
pub(crate) async fn stream(
    session: &mut Session,
    read: Arc<TableRead>,
    plan: WindowPlan,
    unit_bytes: u64,
) -> Result<ChangeStream<'_>> {
    let query = plan.query(&read)?;
    let windowing = Windowing {
        path: session.path().to_owned(),
        upserts: decoder(&read, read.read_columns(), read.schema())?,
        deletes: decoder(&read, read.key_columns(), read.key_schema())?,
        key: key_positions(&read, &read.columns),
        place: format!("reading changes of `{}`", read.description.name),
        rows: sqlx::query_with(AssertSqlSafe(query.sql), query.arguments)
            .fetch(session.connection()),
        slice: slice_of(&read, &plan),
        // Without a key there is no place to go on from.
        unit_bytes: if read.key.is_empty() {
            usize::MAX
        } else {
            usize::try_from(unit_bytes).unwrap_or(usize::MAX).max(1)
        },
        plan,
        read,
        bytes: 0,
        ready: VecDeque::new(),
        done: false,
    };
    let events = stream::try_unfold(windowing, |mut windowing| async move {
        Ok::<_, ConnectorError>(
            windowing
                .next_event()
                .await?
                .map(|event| (event, windowing)),
        )
    });
    Ok(events.into_stream().boxed())
}

impl Windowing<'_> {
    async fn next_event(&mut self) -> Result<Option<ChangeEvent>> {
        while self.ready.is_empty() && !self.done {
            match self.rows.next().await {
                Some(row) => {
                    let row = fetched(row, &self.path, &self.place)?;
                    self.take(&row)?;
                }
                None => {
                    self.flush()?;
                    self.ready
                        .push_back(ChangeEvent::Progress(self.plan.end.store()));
                    self.done = true;
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, row: &SqliteRow) -> Result<()> {
        let column_count = self.read.columns.len();
        if let Some(slice) = &self.slice
            && !slice.holds_row(row, column_count)?
        {
            return Ok(());
        }
        let key = &self.key;
        let member = cell(row, column_count + 1) == Cell::Integer(1);
        if !member && self.slice.is_some() {
            // Nothing is ever deleted.
            return Ok(());
        }
        let decoder = if member {
            &mut self.upserts
        } else {
            &mut self.deletes
        };
        let before = decoder.bytes();
        if member {
            let cells = (0..column_count).map(|index| cell(row, index));
            decoder.append(cells, || key_text(row, key))?;
        } else {
            // Nothing else of a row that is not selected is looked at.
            let cells = key.iter().map(|index| cell(row, *index));
            decoder.append(cells, || key_text(row, key))?;
        }
        self.bytes += decoder.bytes() - before;
        if self.bytes >= self.unit_bytes {
            let progress = self.progress(row);
            self.flush()?;
            self.ready.push_back(ChangeEvent::Progress(progress));
            self.bytes = 0;
        } else if decoder.is_full(self.read.batch_bytes) {
            self.flush()?;
        }
        Ok(())
    }

    /// The position after a row within this window.
    fn progress(&self, row: &SqliteRow) -> Position {
        let cursor = cell(row, self.read.columns.len()).tagged();
        let key = self.key.iter().map(|index| cell(row, *index).tagged());
        let pending = Pending {
            bound: self.plan.end.bound,
            after: std::iter::once(cursor).chain(key).collect(),
        };
        CursorPosition::cut(&self.read, self.plan.from, pending).store()
    }

    fn flush(&mut self) -> Result<()> {
        self.ready
            .extend(self.deletes.flush()?.map(ChangeEvent::Deletes));
        self.ready
            .extend(self.upserts.flush()?.map(ChangeEvent::Upserts));
        Ok(())
    }
}
