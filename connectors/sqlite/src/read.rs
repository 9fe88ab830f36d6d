//! The reading side: plans, snapshots and plain reads.

use crate::boundary;
use crate::cell::{bind, cell, fetched};
use crate::changes::{self, WindowPlan};
use crate::connect::{Database, Session, arguments};
use crate::cursor::{Cursor, CursorPosition, capped, compare};
use crate::decode::{DecodedColumn, Decoder};
use crate::describe;
use crate::digest::{KeySum, RowHashes};
use crate::encode::Encoded;
use crate::predicate;
use crate::sql;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter_record_batch;
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use std::path::PathBuf;
use std::sync::Arc;
use syncset_connector::{
    BatchStream, Capture, ChangeStream, Column, ConnectorError, ErrorClass, Filter, KeyBound,
    KeyDigest, KeyRange, Position, PositionOrder, Predicate, ReadPlan, Result, Snapshot,
    SnapshotRequest, SnapshotToken, Source, TableDescription, TableRead, TargetColumn, Window,
    WindowState,
};

/// Keys looked up by one statement.
const KEYS_PER_STATEMENT: usize = 200;

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

/// `SELECT columns FROM table [WHERE conditions]`
fn select(read: &TableRead, columns: &[String], conditions: &[String]) -> String {
    let filter = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    format!(
        "SELECT {} FROM {}{filter}",
        sql::identifiers(columns),
        sql::table(&read.description.name)
    )
}

/// The key of a row for messages, from the positions of its parts.
pub(crate) fn key_text(row: &SqliteRow, key: &[usize]) -> String {
    let parts: Vec<String> = key.iter().map(|index| cell(row, *index).shown()).collect();
    if parts.is_empty() {
        "(it has no key)".into()
    } else {
        parts.join(", ")
    }
}

/// Positions of the key within the columns of a read.
pub(crate) fn key_positions(read: &TableRead, columns: &[String]) -> Vec<usize> {
    let position = |name: &String| columns.iter().position(|column| column == name);
    read.key.iter().filter_map(position).collect()
}

/// A decoder of the columns of a read.
pub(crate) fn decoder<'a>(
    read: &TableRead,
    columns: impl IntoIterator<Item = &'a Column>,
    schema: SchemaRef,
) -> Result<Decoder> {
    let columns = columns.into_iter().map(DecodedColumn::of).collect();
    Decoder::new(&read.description.name.name, columns, schema)
}

/// One statement whose rows become batches.
pub(crate) struct Scan {
    pub(crate) statement: String,
    pub(crate) arguments: SqliteArguments,
    pub(crate) decoder: Decoder,
    pub(crate) key: Vec<usize>,
    pub(crate) batch_bytes: usize,
    pub(crate) place: String,
}

struct Scanning<'a> {
    rows: BoxStream<'a, std::result::Result<SqliteRow, sqlx::Error>>,
    scan: Scan,
    path: PathBuf,
    done: bool,
}

impl Scan {
    /// Runs the statement.
    pub(crate) fn stream(mut self, session: &mut Session) -> BatchStream<'_> {
        let path = session.path().to_owned();
        let statement = AssertSqlSafe(std::mem::take(&mut self.statement));
        let arguments = std::mem::take(&mut self.arguments);
        let scanning = Scanning {
            rows: sqlx::query_with(statement, arguments).fetch(&mut session.connection),
            scan: self,
            path,
            done: false,
        };
        stream::try_unfold(scanning, |mut scanning| async move {
            Ok(scanning.next_batch().await?.map(|batch| (batch, scanning)))
        })
        .boxed()
    }
}

impl Scanning<'_> {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.done && !self.scan.decoder.is_full(self.scan.batch_bytes) {
            let Some(row) = self.rows.next().await else {
                self.done = true;
                break;
            };
            let row = fetched(row, &self.path, &self.scan.place)?;
            let key = &self.scan.key;
            let cells = (0..sqlx::Row::len(&row)).map(|index| cell(&row, index));
            self.scan.decoder.append(cells, || key_text(&row, key))?;
        }
        self.scan.decoder.flush()
    }
}

#[async_trait]
impl Source for SqliteSource {
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

    async fn low_positions(&self, reads: &[Arc<TableRead>]) -> Result<Vec<Position>> {
        let now = chrono::Utc::now().timestamp_micros();
        let mut session = self.database.session().await?;
        let mut positions = Vec::with_capacity(reads.len());
        for read in reads {
            positions.push(match cursor_of(read)? {
                None => Position(serde_json::Value::Null),
                Some(cursor) => {
                    let largest = changes::largest(&mut session, read, &cursor).await?;
                    CursorPosition::at(capped(largest, now), None).store()
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
        let mut windows = Vec::with_capacity(requests.len());
        for request in requests {
            let plan = changes::plan_window(&mut session, request, now).await?;
            windows.push(Window {
                state: plan
                    .as_ref()
                    .map_or(WindowState::Changed, |plan| plan.state.clone()),
                warnings: Vec::new(),
            });
            tables.push((Arc::clone(&request.read), plan));
        }
        Ok(Box::new(SqliteSnapshot {
            session,
            tables,
            windows,
        }))
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
        Capture::Full => {}
        Capture::Cursor(spec) => match read.description.column(&spec.column) {
            None => plan.problems.push(problem(
                format!("`{table}` has no cursor column `{}`", spec.column),
                "name one of its columns",
            )),
            Some(column) => {
                if let Err(problems) = Cursor::new(spec, column) {
                    let problems = problems.into_iter();
                    plan.problems
                        .extend(problems.map(|(message, hint)| problem(message, hint)));
                }
                if read.key.is_empty() {
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
            "use a condition over the row's own columns, or `capture: { mode: full }`",
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
        Some(cursor) => changes::shown_statement(read, &cursor),
    }
}

/// One read transaction.
struct SqliteSnapshot {
    session: Session,
    tables: Vec<(Arc<TableRead>, Option<WindowPlan>)>,
    windows: Vec<Window>,
}

impl SqliteSnapshot {
    fn read(&self, table: usize) -> Arc<TableRead> {
        Arc::clone(&self.tables[table].0)
    }

    fn scan(read: &TableRead, conditions: &[String], arguments: SqliteArguments) -> Result<Scan> {
        Ok(Scan {
            statement: select(read, &read.columns, conditions),
            arguments,
            decoder: decoder(read, read.read_columns(), read.schema())?,
            key: key_positions(read, &read.columns),
            batch_bytes: read.batch_bytes,
            place: format!("reading `{}`", read.description.name),
        })
    }

    fn scan_keys(read: &TableRead) -> Result<Scan> {
        let conditions = Vec::from_iter(selection(read)?);
        Ok(Scan {
            statement: select(read, &read.key, &conditions),
            arguments: arguments![],
            decoder: decoder(read, read.key_columns(), read.key_schema())?,
            key: (0..read.key.len()).collect(),
            batch_bytes: read.batch_bytes,
            place: format!("reading keys of `{}`", read.description.name),
        })
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn windows(&self) -> &[Window] {
        &self.windows
    }

    async fn read_changes(&mut self, table: usize, unit_bytes: u64) -> Result<ChangeStream<'_>> {
        let read = self.read(table);
        let plan = self.tables[table].1.clone().ok_or_else(|| {
            ConnectorError::new(
                ErrorClass::Store,
                format!("no window was asked for `{}`", read.description.name),
            )
        })?;
        changes::stream(&mut self.session, read, plan, unit_bytes).await
    }

    async fn read_chunk(&mut self, table: usize, range: &KeyRange) -> Result<BatchStream<'_>> {
        let read = self.read(table);
        let mut arguments = arguments![];
        let mut conditions = boundary::condition(&read, range, &mut arguments)?;
        conditions.extend(selection(&read)?);
        Ok(Self::scan(&read, &conditions, arguments)?.stream(&mut self.session))
    }

    async fn read_rows(&mut self, table: usize, keys: &RecordBatch) -> Result<BatchStream<'_>> {
        let read = self.read(table);
        let wanted = RowHashes::of(keys.columns(), keys.num_rows())?;
        let positions = key_positions(&read, &read.columns);
        let filtered = move |batch: RecordBatch| -> Result<Option<RecordBatch>> {
            let columns: Vec<_> = positions
                .iter()
                .map(|index| Arc::clone(batch.column(*index)))
                .collect();
            let found = wanted.contains(&columns, batch.num_rows())?;
            let kept =
                filter_record_batch(&batch, &BooleanArray::from(found)).map_err(|cause| {
                    ConnectorError::new(ErrorClass::Store, "rows could not be picked by key")
                        .caused_by(cause)
                })?;
            Ok((kept.num_rows() > 0).then_some(kept))
        };
        let scans = key_scans(&read, keys)?;
        let session = &mut self.session;
        let mut batches = Vec::new();
        for scan in scans {
            let mut found = scan.stream(session);
            while let Some(batch) = found.try_next().await? {
                batches.extend(filtered(batch)?);
            }
        }
        Ok(stream::iter(batches.into_iter().map(Ok)).boxed())
    }

    async fn key_digest(&mut self, table: usize) -> Result<KeyDigest> {
        let read = self.read(table);
        let mut sum = KeySum::default();
        let mut keys = Self::scan_keys(&read)?.stream(&mut self.session);
        while let Some(batch) = keys.try_next().await? {
            sum.add(&batch)?;
        }
        Ok(sum.digest())
    }

    async fn read_keys(&mut self, table: usize) -> Result<BatchStream<'_>> {
        let read = self.read(table);
        Ok(Self::scan_keys(&read)?.stream(&mut self.session))
    }

    async fn share(&mut self) -> Result<Option<SnapshotToken>> {
        Ok(None)
    }

    async fn close(mut self: Box<Self>) {
        if self
            .session
            .run("ROLLBACK", "ending a snapshot")
            .await
            .is_ok()
        {
            self.session.release();
        }
    }
}

/// Statements that find rows by key. Only where the key has one stored form: a UUID or a date may
/// be written in several ways, so those are found by reading all rows.
fn key_scans(read: &TableRead, keys: &RecordBatch) -> Result<Vec<Scan>> {
    let one_form = read.key_columns().iter().all(|column| {
        matches!(
            column.data_type,
            DataType::Int64 | DataType::Utf8 | DataType::Binary
        ) && !column.native.as_text
    });
    let filter = Vec::from_iter(selection(read)?);
    if !one_form {
        return Ok(vec![SqliteSnapshot::scan(read, &filter, arguments![])?]);
    }
    let columns: Vec<TargetColumn> = read
        .key_columns()
        .into_iter()
        .map(|column| TargetColumn::of(column, &column.name))
        .collect();
    let encoded = Encoded::new(&read.description.name.name, &columns, keys)?;
    let mut scans = Vec::new();
    let mut row = 0;
    while row < encoded.row_count() {
        let end = (row + KEYS_PER_STATEMENT).min(encoded.row_count());
        let mut arguments = arguments![];
        for index in row..end {
            for cell in encoded.row(index) {
                bind(&mut arguments, cell)?;
            }
        }
        let mut conditions = vec![format!(
            "({}) IN (VALUES {})",
            sql::identifiers(&read.key),
            sql::placeholders(end - row, read.key.len())
        )];
        conditions.extend(filter.iter().cloned());
        scans.push(SqliteSnapshot::scan(read, &conditions, arguments)?);
        row = end;
    }
    Ok(scans)
}
