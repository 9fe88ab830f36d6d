//! The reading side: what is planned, and where snapshots come from.

use crate::boundary;
use crate::connect::{Database, Session, arguments};
use crate::cursor::{Bound, Cursor, CursorPosition, capped, compare};
use crate::describe;
use crate::digest::ALGORITHM;
use crate::disjoint;
use crate::predicate;
use crate::scan::select;
use crate::snapshot::SqliteSnapshot;
use crate::types;
use crate::window;
use async_trait::async_trait;
use std::sync::Arc;
use syncset_connector::{
    Capture, ConnectorError, ErrorClass, Filter, KeyBound, Position, PositionOrder, Predicate,
    ReadPlan, Result, Snapshot, SnapshotRequest, SnapshotToken, Source, TableDescription,
    TableRead,
};

/// A file as a source.
pub(crate) struct SqliteSource {
    database: Arc<Database>,
}

impl SqliteSource {
    /// The reading side of an opened file.
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// The cursor of a read, if it has one that is set up well.
pub(crate) fn cursor_of(read: &TableRead) -> Result<Option<Cursor>> {
    let Capture::Cursor(spec) = &read.capture else {
        return Ok(None);
    };
    let column = read.description.column(&spec.column).ok_or_else(|| {
        ConnectorError::new(
            ErrorClass::Config,
            format!(
                "`{}` has no cursor column `{}`",
                read.description.name, spec.column
            ),
        )
    })?;
    Cursor::new(spec, column).map(Some).map_err(|problems| {
        let (message, hint) = problems.into_iter().next().unwrap_or_default();
        ConnectorError::new(ErrorClass::Config, message).with_hint(hint)
    })
}

/// The selection as a condition; `None` where every row is selected.
pub(crate) fn selection(read: &TableRead) -> Result<Option<String>> {
    match &read.filter {
        Filter::All => Ok(None),
        Filter::Predicate(condition) => predicate::render(&read.description, condition)
            .map(Some)
            .map_err(|reason| ConnectorError::new(ErrorClass::Config, reason)),
        // The line break ends a comment that the condition may end with.
        Filter::SourceSql(condition) => Ok(Some(format!("({condition}\n)"))),
    }
}

#[async_trait]
impl Source for SqliteSource {
    fn key_hash(&self) -> Option<&'static str> {
        Some(ALGORITHM)
    }

    async fn prepare(&self, reads: &[Arc<TableRead>]) -> Result<Vec<ReadPlan>> {
        let mut session = self.database.session().await?;
        let mut plans = Vec::with_capacity(reads.len());
        for read in reads {
            plans.push(plan(&mut session, read).await);
        }
        session.release();
        Ok(plans)
    }

    fn can_push(
        &self,
        table: &TableDescription,
        predicate: &Predicate,
    ) -> std::result::Result<(), String> {
        predicate::render(table, predicate).map(|_| ())
    }

    fn widens(&self, before: &str, after: &str) -> bool {
        types::widens(before, after)
    }

    async fn low_positions(&self, reads: &[Arc<TableRead>]) -> Result<Vec<Position>> {
        let now = chrono::Utc::now().timestamp_micros();
        let mut session = self.database.session().await?;
        let mut positions = Vec::with_capacity(reads.len());
        for read in reads {
            positions.push(match cursor_of(read)? {
                None => Position(serde_json::Value::Null),
                Some(cursor) => {
                    let largest = window::largest(&mut session, read, &cursor).await?;
                    let bound = capped(largest, now).map(|bound| cursor.position_of(bound));
                    CursorPosition::at(read, bound, None).store()
                }
            });
        }
        session.release();
        Ok(positions)
    }

    async fn boundaries(&self, read: &TableRead, chunk_bytes: u64) -> Result<Vec<KeyBound>> {
        let mut session = self.database.session().await?;
        let bounds = boundary::boundaries(&mut session, read, chunk_bytes).await?;
        session.release();
        Ok(bounds)
    }

    fn bound_number(&self, bound: &KeyBound) -> Option<i64> {
        match bound.0.as_slice() {
            [tagged] => tagged.strip_prefix('i')?.parse().ok(),
            _ => None,
        }
    }

    async fn open_snapshot(
        &self,
        requests: &[SnapshotRequest],
        shared: Option<&SnapshotToken>,
    ) -> Result<Box<dyn Snapshot>> {
        if shared.is_some() {
            return Err(ConnectorError::new(
                ErrorClass::Unsupported,
                "SQLite cannot share a snapshot between sessions",
            ));
        }
        // The clock is read before the snapshot: a row stamped later is above the bound.
        let now = chrono::Utc::now().timestamp_micros();
        let mut session = self.database.session().await?;
        session.run("BEGIN", "opening a snapshot").await?;
        verify(&mut session, requests).await?;
        let mut tables = Vec::with_capacity(requests.len());
        for request in requests {
            let plan = window::plan_window(&mut session, request, now).await?;
            tables.push((Arc::clone(&request.read), plan));
        }
        Ok(Box::new(SqliteSnapshot::new(session, tables)))
    }

    fn position_time(&self, _read: &TableRead, position: &Position) -> Option<i64> {
        match CursorPosition::parse(position)?.bound? {
            Bound::Micros(micros) => Some(micros),
            Bound::Integer(_) => None,
        }
    }

    fn compare(&self, left: &Position, right: &Position) -> PositionOrder {
        compare(left, right)
    }
}

/// Tables must be the ones that were described; the first read here also takes the snapshot.
async fn verify(session: &mut Session, requests: &[SnapshotRequest]) -> Result<()> {
    let names: Vec<_> = requests
        .iter()
        .map(|request| request.read.description.name.clone())
        .collect();
    let described = describe::describe(session, &names).await?;
    for (request, found) in requests.iter().zip(described) {
        let planned = &request.read.description;
        let columns = |table: &TableDescription| -> Vec<(String, String)> {
            let columns = table.columns.iter();
            columns
                .map(|column| (column.name.clone(), column.native.name.clone()))
                .collect()
        };
        let same = found.is_some_and(|found| {
            found.storage_identity == planned.storage_identity
                && columns(&found) == columns(planned)
        });
        if !same {
            return Err(ConnectorError::new(
                ErrorClass::SourceChanged,
                format!(
                    "table `{}` was altered since it was described",
                    planned.name
                ),
            )
            .with_hint("run again: the plan is made from the table as it is"));
        }
    }
    Ok(())
}

async fn plan(session: &mut Session, read: &TableRead) -> ReadPlan {
    let mut plan = ReadPlan::default();
    let problem = |message: String, hint: &str| {
        ConnectorError::new(ErrorClass::Config, message).with_hint(hint)
    };
    let table = &read.description.name;
    match &read.capture {
        Capture::Full | Capture::Hash => {}
        Capture::Cursor(spec) => match read.description.column(&spec.column) {
            None => plan.problems.push(problem(
                format!("`{table}` has no cursor column `{}`", spec.column),
                "name one of its columns",
            )),
            Some(column) => {
                match Cursor::new(spec, column) {
                    Ok(cursor) if cursor.is_disjoint() => {
                        plan.notes.extend(disjoint::notes(read, &cursor));
                    }
                    Ok(_) => {}
                    Err(problems) => {
                        let problems = problems.into_iter();
                        plan.problems
                            .extend(problems.map(|(message, hint)| problem(message, hint)));
                    }
                }
                if read.key.is_empty() && !read.capture.is_disjoint() {
                    plan.problems.push(problem(
                        format!("`{table}` has no key, which windows of changes need"),
                        "name one with `key:`, or use `capture: { mode: full }`",
                    ));
                }
            }
        },
        other => plan.problems.push(problem(
            format!("SQLite has no capture mode `{:?}`", other.mode()).to_lowercase(),
            "use `cursor` or `full`",
        )),
    }
    if let (Filter::SourceSql(condition), true) = (&read.filter, read.capture.has_windows())
        && let Some(word) = predicate::unstable_word(condition)
    {
        plan.problems.push(problem(
            format!("the condition on `{table}` uses `{word}`, so rows leave the selection without a change"),
            "use a condition over the row's own columns, or `capture: hash`",
        ));
    }
    if !plan.problems.is_empty() {
        return plan;
    }
    match statement(read) {
        Err(error) => plan.problems.push(error),
        Ok(statement) => {
            let explained = session
                .rows(format!("EXPLAIN {statement}"), arguments![], "planning")
                .await;
            if let Err(error) = explained {
                let mut error = problem(
                    format!("SQLite does not accept the selection of `{table}`"),
                    "check the names and the condition; the statement is shown by `pipeline plan`",
                )
                .caused_by(error);
                error.code = None;
                plan.problems.push(error);
            }
            plan.statements.push(statement);
        }
    }
    plan
}

fn statement(read: &TableRead) -> Result<String> {
    match cursor_of(read)? {
        None => Ok(select(
            read,
            &read.columns,
            &Vec::from_iter(selection(read)?),
        )),
        Some(cursor) => window::shown_statement(read, &cursor),
    }
}
