//! One snapshot of some tables: opened in a constant number of round trips, read by COPY.

use super::bound::Activity;
use super::chunk::range_conditions;
use super::disjoint::below_sql;
use super::hash::{HashSql, HashingServer, question, read_ends, read_part};
use super::open::open_verified;
use super::pool::ReaderPool;
use super::position::Watermark;
use super::read::{changes, rows_by_key_sql, rows_sql};
use super::relation::SnapshotNumbers;
use super::shape::Shape;
use super::window::{Decision, Evidence, WindowPlan};
use crate::connect::{PgStore, ServerFacts, Session, TextRow};
use crate::copy_out::read_copy;
use crate::digest::{DigestColumn, digest_sql, read_digest};
use crate::error;
use crate::types::computed_column;
use arrow_array::RecordBatch;
use arrow_schema::DataType;
use async_trait::async_trait;
use futures::StreamExt;
use std::sync::Arc;
use syncset_connector::{
    BatchStream, ChangeStream, ConnectorError, Digest, ErrorClass, HASH_COLUMN, HashFacts,
    HashRequest, KeyDigest, KeyRange, PartHash, Parts, Position, Result, Snapshot, SnapshotRequest,
    SnapshotToken, TableRead, Window, WindowState,
};

/// Bytes of a table without a cursor up to which it is asked for changes before it is read.
const PROBED_BYTES_MAX: u64 = 8 << 20;

/// An open snapshot in a session of its own.
pub(crate) struct PgSnapshot {
    session: Session,
    readers: ReaderPool,
    server: HashingServer,
    numbers: SnapshotNumbers,
    tables: Vec<Table>,
    windows: Vec<Window>,
}

/// One table of the snapshot.
struct Table {
    read: Arc<TableRead>,
    shape: Shape,
    plan: Option<WindowPlan>,
    /// Why its window cannot be read; said when it is asked for, so that it stops no other table.
    refused: Option<ConnectorError>,
}

impl Table {
    /// Whether asking for changes costs as much as reading them: without a cursor both scan the
    /// table. Small ones are asked all the same, all of them in one round trip.
    fn is_cheaper_read(&self) -> bool {
        let bytes = self.read.description.byte_estimate.unwrap_or(0);
        self.shape.by_xmin && bytes > PROBED_BYTES_MAX
    }
}

impl PgSnapshot {
    /// Opens the snapshot and finds out which windows hold anything.
    pub(crate) async fn open(
        store: &PgStore,
        requests: &[SnapshotRequest],
        shared: Option<&SnapshotToken>,
    ) -> Result<Self> {
        let reads: Vec<&TableRead> = requests.iter().map(|request| &*request.read).collect();
        let needs_bound = requests
            .iter()
            .any(|request| request.from.is_some() && request.read.capture.has_windows());
        let opened = open_verified(store, &reads, needs_bound, shared).await?;
        let mut snapshot = Self {
            session: opened.session,
            readers: store.readers.clone(),
            server: HashingServer {
                version_num: store.facts().version_num,
                encoding: store.facts().server_encoding.clone(),
            },
            numbers: opened.numbers,
            tables: Vec::with_capacity(requests.len()),
            windows: Vec::with_capacity(requests.len()),
        };
        for (request, relation) in requests.iter().zip(&opened.relations) {
            let shape = Shape::of(&request.read)?;
            let evidence = Evidence {
                read: &request.read,
                shape: &shape,
                relation,
                numbers: opened.numbers,
                activity: &opened.activity,
            };
            let from = request
                .from
                .as_ref()
                .filter(|_| request.read.capture.has_windows());
            let (window, plan, refused) = decide(&evidence, from, store.facts())?;
            snapshot.windows.push(window);
            let read = Arc::clone(&request.read);
            snapshot.tables.push(Table {
                read,
                shape,
                plan,
                refused,
            });
        }
        snapshot.probe(&opened.activity).await?;
        Ok(snapshot)
    }

    /// Asks for every window, where that is cheap, whether it holds a row, and for the largest value of integer
    /// cursors: one round trip.
    async fn probe(&mut self, activity: &Activity) -> Result<()> {
        let mut sql = String::new();
        let mut asked = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            let Some(plan) = table.plan.as_ref().filter(|_| table.refused.is_none()) else {
                continue;
            };
            if table.is_cheaper_read() {
                continue;
            }
            sql.push_str(&probe_sql(&table.shape, plan));
            asked.push(index);
        }
        if asked.is_empty() {
            return Ok(());
        }
        let sets = self.session.result_sets(&sql).await?;
        for (index, rows) in asked.into_iter().zip(sets) {
            let row = rows
                .first()
                .ok_or_else(|| error::unexpected("the server left out an answer about a window"))?;
            let (Some(table), Some(window)) =
                (self.tables.get_mut(index), self.windows.get_mut(index))
            else {
                continue;
            };
            settle(table, window, row, activity)?;
        }
        Ok(())
    }

    fn table(&mut self, index: usize) -> (&mut Session, &mut Table) {
        let table = self
            .tables
            .get_mut(index)
            .expect("the caller knows its own requests");
        (&mut self.session, table)
    }
}

/// Whether a window holds a row, and the largest value of an integer cursor.
fn probe_sql(shape: &Shape, plan: &WindowPlan) -> String {
    let largest = match &shape.cursor {
        Some(cursor) if !cursor.kind.is_time() => {
            format!(
                "(SELECT pg_catalog.max({}) FROM {})",
                cursor.column.sql, shape.from
            )
        }
        _ => "NULL".to_owned(),
    };
    format!(
        "SELECT EXISTS (SELECT FROM {} WHERE {}), {largest};\n",
        shape.from, plan.condition
    )
}

fn settle(
    table: &mut Table,
    window: &mut Window,
    row: &TextRow,
    activity: &Activity,
) -> Result<()> {
    let Some(plan) = &mut table.plan else {
        return Ok(());
    };
    if let Some(cursor) = table
        .shape
        .cursor
        .as_ref()
        .filter(|cursor| !cursor.kind.is_time())
    {
        let largest = row.text(1).map(|_| row.parse(1)).transpose()?;
        if let Some(reason) = plan.began_anew(cursor, largest) {
            window.state = WindowState::Reload { reason };
            return Ok(());
        }
        if let Err(error) = plan.fix_integer_bound(&table.read, cursor, activity, largest) {
            table.refused = Some(error);
            return Ok(());
        }
    }
    if !row.is_true(0) {
        window.state = WindowState::Unchanged(plan.next.position());
    }
    Ok(())
}

/// The window of one table, before it is known whether it holds a row.
fn decide(
    evidence: &Evidence<'_>,
    from: Option<&Position>,
    facts: &ServerFacts,
) -> Result<(Window, Option<WindowPlan>, Option<ConnectorError>)> {
    let mut window = Window {
        state: WindowState::Changed,
        continues: false,
        warnings: Vec::new(),
    };
    let Some(from) = from else {
        return Ok((window, None, None));
    };
    let base = Watermark::read(from)?;
    window.continues = base.pending.is_some();
    let activity = evidence.activity;
    if let Some(cursor) = evidence
        .shape
        .cursor
        .as_ref()
        .filter(|cursor| cursor.kind.is_time())
    {
        let table = evidence.read.description.name.to_string();
        if let Err(error) = activity.check(&table, &cursor.spec, &facts.user) {
            return Ok((window, None, Some(error)));
        }
        window.warnings.extend(activity.bound_warning());
    }
    window.warnings.extend(evidence.disjoint_warning(&base));
    let plan = match evidence.decide(&base)? {
        Decision::Reload(reason) => {
            window.state = WindowState::Reload { reason };
            return Ok((window, None, None));
        }
        Decision::Read(plan) => *plan,
    };
    if plan.collects_xmins {
        window.warnings.extend(activity.snapshot_warning());
    }
    if evidence.lost_leaves(&base) > 0 && !evidence.read.capture.is_disjoint() {
        window.warnings.push(
            "a partition was detached or dropped; its rows stay at the target until deleted rows \
             are searched for"
                .to_owned(),
        );
    }
    Ok((window, Some(plan), None))
}

#[async_trait]
impl Snapshot for PgSnapshot {
    fn windows(&self) -> &[Window] {
        &self.windows
    }

    async fn read_changes(&mut self, table: usize, unit_bytes: u64) -> Result<ChangeStream<'_>> {
        let numbers = self.numbers;
        let (session, table) = self.table(table);
        if let Some(error) = table.refused.take() {
            return Err(error);
        }
        let plan = table.plan.clone().ok_or_else(|| {
            ConnectorError::new(
                ErrorClass::Store,
                format!("`{}` has no window to read", table.read.description.name),
            )
        })?;
        changes(
            session,
            &table.read,
            &table.shape,
            plan,
            numbers,
            unit_bytes,
        )
        .await
    }

    async fn read_chunk(&mut self, table: usize, range: &KeyRange) -> Result<BatchStream<'_>> {
        let (session, table) = self.table(table);
        let conditions = range_conditions(&table.shape, range)?;
        let columns = table.read.read_columns();
        let sql = rows_sql(&columns, &table.shape, &conditions);
        stream(session, &table.read, &sql, &columns).await
    }

    async fn read_chunk_below(
        &mut self,
        table: usize,
        range: &KeyRange,
        below: &Position,
    ) -> Result<BatchStream<'_>> {
        let (session, table) = self.table(table);
        let mut conditions = range_conditions(&table.shape, range)?;
        conditions.push(below_sql(&table.shape, below)?);
        let columns = table.read.read_columns();
        let sql = rows_sql(&columns, &table.shape, &conditions);
        stream(session, &table.read, &sql, &columns).await
    }

    async fn read_rows(&mut self, table: usize, keys: &RecordBatch) -> Result<BatchStream<'_>> {
        let (session, table) = self.table(table);
        let sql = rows_by_key_sql(&table.read, &table.shape, keys)?;
        stream(session, &table.read, &sql, &table.read.read_columns()).await
    }

    async fn row_count(&mut self, table: usize) -> Result<u64> {
        let counts = self.row_counts(&[table]).await?;
        Ok(counts[0])
    }

    async fn row_counts(&mut self, tables: &[usize]) -> Result<Vec<u64>> {
        let mut sql = String::new();
        for &table in tables {
            let shape = &self.table(table).1.shape;
            let (from, selected) = (&shape.from, shape.selected(&[]));
            sql.push_str(&format!(
                "SELECT pg_catalog.count(*) FROM {from}{selected};\n"
            ));
        }
        let sets = self.session.result_sets(&sql).await?;
        if sets.len() != tables.len() {
            return Err(error::unexpected("the server did not count its rows"));
        }
        let first = |rows: &Vec<TextRow>| {
            let row = rows.first();
            let row = row.ok_or_else(|| error::unexpected("the server did not count its rows"));
            row?.parse(0)
        };
        sets.iter().map(first).collect()
    }

    async fn key_digest(&mut self, table: usize, digest: Digest) -> Result<KeyDigest> {
        if digest == Digest::Count {
            return Ok(KeyDigest {
                row_count: self.row_count(table).await?,
                hash: None,
            });
        }
        let (session, table) = self.table(table);
        let key: Vec<_> = table
            .shape
            .key
            .iter()
            .map(|column| DigestColumn {
                sql: column.sql.clone(),
                native: column.native.clone(),
            })
            .collect();
        let from = format!("FROM {}{}", table.shape.from, table.shape.selected(&[]));
        let rows = session.rows(&digest_sql(&key, &from)).await?;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not count its keys"))?;
        read_digest(row)
    }

    async fn read_keys(&mut self, table: usize) -> Result<BatchStream<'_>> {
        let (session, table) = self.table(table);
        let columns = table.read.key_columns();
        let sql = rows_sql(&columns, &table.shape, &[]);
        stream(session, &table.read, &sql, &columns).await
    }

    async fn hash_facts(
        &mut self,
        table: usize,
        request: &HashRequest,
    ) -> Result<std::result::Result<HashFacts, String>> {
        let server = self.server.clone();
        let (session, table) = self.table(table);
        let question = match question(&table.read, &table.shape, request, &server) {
            Ok(question) => question,
            Err(reason) => return Ok(Err(reason)),
        };
        let rows = session.rows(&question.sql).await?;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not say how it hashes"))?;
        question.answered(row).map(Ok)
    }

    async fn hash_parts(
        &mut self,
        table: usize,
        request: &HashRequest,
        within: Option<&Parts>,
        shift: u32,
    ) -> Result<Vec<PartHash>> {
        let server = self.server.clone();
        let (session, table) = self.table(table);
        let hashes =
            HashSql::of(&table.read, &table.shape, request, &server).map_err(not_hashed)?;
        let rows = session.rows(&hashes.parts(within, shift)?).await?;
        rows.iter().map(read_part).collect()
    }

    async fn part_ends(
        &mut self,
        table: usize,
        request: &HashRequest,
        part: &Parts,
    ) -> Result<Option<(i64, i64)>> {
        let server = self.server.clone();
        let (session, table) = self.table(table);
        let hashes =
            HashSql::of(&table.read, &table.shape, request, &server).map_err(not_hashed)?;
        let rows = session.rows(&hashes.ends(part)?).await?;
        rows.first().map_or(Ok(None), read_ends)
    }

    async fn read_hashes(
        &mut self,
        table: usize,
        request: &HashRequest,
        within: &Parts,
    ) -> Result<BatchStream<'_>> {
        let server = self.server.clone();
        let (session, table) = self.table(table);
        let hashes =
            HashSql::of(&table.read, &table.shape, request, &server).map_err(not_hashed)?;
        let sql = hashes.rows(within)?;
        let hash = computed_column(HASH_COLUMN, DataType::Int64);
        let mut columns = table.read.key_columns();
        columns.push(&hash);
        stream(session, &table.read, &sql, &columns).await
    }

    async fn share(&mut self) -> Result<Option<SnapshotToken>> {
        let rows = self
            .session
            .rows("SELECT pg_catalog.pg_export_snapshot()")
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not export its snapshot"))?;
        Ok(Some(SnapshotToken(row.required(0)?.to_owned())))
    }

    async fn close(mut self: Box<Self>) {
        let is_chunk = self.tables.iter().all(|table| table.plan.is_none());
        // Windows come last in a run: nobody would use their session again.
        if is_chunk && self.session.execute("COMMIT").await.is_ok() {
            self.readers.give_back(self.session);
        } else {
            self.session.close().await;
        }
    }
}

fn not_hashed(reason: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Unsupported, reason)
}

async fn stream<'a>(
    session: &'a mut Session,
    read: &TableRead,
    sql: &str,
    columns: &[&syncset_connector::Column],
) -> Result<BatchStream<'a>> {
    let name = read.description.name.to_string();
    Ok(read_copy(session, sql, &name, columns, read.batch_bytes)
        .await?
        .boxed())
}
