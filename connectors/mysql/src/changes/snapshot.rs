//! One snapshot of some tables: opened in a constant number of round trips, read by the binary
//! protocol.

use super::bound::Activity;
use super::chunk::range_conditions;
use super::hash::{self, HashSql};
use super::open::open_verified;
use super::position::Watermark;
use super::read::{batches, changes, rows_by_key_sql, rows_sql};
use super::seen::{self, Found};
use super::shape::Shape;
use super::transactions::Patience;
use super::window::{Decision, Evidence, WindowPlan};
use crate::connect::{IdleSessions, MysqlStore, Session, TextRow};
use crate::error;
use crate::types::ReadRules;
use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use syncset_connector::{
    BatchStream, ChangeStream, ConnectorError, Digest, ErrorClass, HashFacts, HashRequest,
    KeyDigest, KeyRange, PartHash, Parts, Position, Result, Snapshot, SnapshotRequest,
    SnapshotToken, TableRead, Window, WindowState,
};

/// Keys that one statement looks for.
const KEYS_PER_STATEMENT: usize = 500;

/// An open snapshot in a session of its own.
pub(crate) struct MysqlSnapshot {
    session: Session,
    idle: IdleSessions,
    rules: ReadRules,
    tables: Vec<Table>,
    windows: Vec<Window>,
}

/// One table of the snapshot.
struct Table {
    read: Arc<TableRead>,
    shape: Shape,
    plan: Option<WindowPlan>,
    /// The rows of its window, if they may be those that the run before has read.
    found: Option<Found>,
    /// Why its window cannot be read; said when it is asked for, so that it stops no other table.
    refused: Option<ConnectorError>,
}

impl Table {
    /// Asks for digests of the window's rows; `None` if they are not those of the run before.
    fn hash_sql(&self) -> Option<String> {
        let (plan, found) = (self.plan.as_ref()?, self.found.as_ref()?);
        seen::hash_sql(&self.read, &self.shape, plan, found)
    }
}

impl MysqlSnapshot {
    /// Opens the snapshot and finds out which windows hold anything.
    ///
    /// The list of transactions may be stale for a tenth of a second after somebody has read it.
    /// That is waited for only if some window has changed.
    pub(crate) async fn open(
        store: &MysqlStore,
        requests: &[SnapshotRequest],
        shared: Option<&SnapshotToken>,
    ) -> Result<Self> {
        if shared.is_some() {
            return Err(ConnectorError::new(
                ErrorClass::Unsupported,
                "MySQL and MariaDB cannot share a snapshot between sessions",
            ));
        }
        let needs_bound = requests
            .iter()
            .any(|request| request.from.is_some() && request.read.capture.has_windows());
        // Windows that read nothing twice hold nothing while their bound is unknown.
        let is_disjoint = |request: &SnapshotRequest| request.read.capture.is_disjoint();
        let first = match requests.iter().any(is_disjoint) {
            true => Patience::UntilFresh,
            false => Patience::Once,
        };
        let patience = needs_bound.then_some(first);
        let (snapshot, may_look_again) = Self::probed(store, requests, patience).await?;
        let is_unchanged = |window: &Window| matches!(window.state, WindowState::Unchanged(_));
        if !may_look_again || snapshot.windows.iter().all(is_unchanged) {
            return Ok(snapshot);
        }
        Box::new(snapshot).close().await;
        let patience = Some(Patience::UntilFresh);
        Ok(Self::probed(store, requests, patience).await?.0)
    }

    /// One try, and whether another look at the server may be better.
    async fn probed(
        store: &MysqlStore,
        requests: &[SnapshotRequest],
        patience: Option<Patience>,
    ) -> Result<(Self, bool)> {
        let reads: Vec<&TableRead> = requests.iter().map(|request| &*request.read).collect();
        let opened = open_verified(store, &reads, patience).await?;
        let may_look_again = opened.may_look_again();
        let mut tables = Vec::with_capacity(requests.len());
        let mut windows = Vec::with_capacity(requests.len());
        for (place, request) in requests.iter().enumerate() {
            let shape = Shape::of(&request.read, store.config.rules)?;
            let mut window = Window {
                state: WindowState::Changed,
                continues: false,
                warnings: Vec::new(),
            };
            let (mut plan, mut refused) = (None, None);
            if let (Some(from), Some(cursor)) = (&request.from, &shape.cursor) {
                let evidence = Evidence::of(&request.read, &shape, cursor, &opened, place);
                let user = &store.facts().user;
                (plan, refused) = decide(&evidence, from, user, &mut window)?;
                if cursor.kind.is_time() && refused.is_none() {
                    window.warnings.extend(opened.bound_warning());
                }
            }
            windows.push(window);
            tables.push(Table {
                read: Arc::clone(&request.read),
                shape,
                plan,
                found: None,
                refused,
            });
        }
        let mut snapshot = Self {
            session: opened.session,
            idle: store.idle_sessions(),
            rules: store.config.rules,
            tables,
            windows,
        };
        snapshot.probe(&opened.activity).await?;
        Ok((snapshot, may_look_again))
    }

    /// Asks for every window whether it holds a row, and for the largest value of integer cursors:
    /// one round trip. Where the rows may be those that the run before has read, another one.
    async fn probe(&mut self, activity: &Activity) -> Result<()> {
        let mut sql = Vec::new();
        let mut asked = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            let plan = table.plan.as_ref().filter(|_| table.refused.is_none());
            let (Some(plan), Some(cursor)) = (plan, &table.shape.cursor) else {
                continue;
            };
            let (from, condition) = (&table.shape.from, &plan.condition);
            let largest = match cursor.kind.is_time() {
                true => "NULL".to_owned(),
                false => format!("(SELECT MAX({}) FROM {from})", cursor.column.sql),
            };
            let counted = seen::count_sql(&table.read, &table.shape, plan, &largest);
            sql.push(counted.unwrap_or_else(|| {
                format!("SELECT EXISTS (SELECT 1 FROM {from} WHERE {condition}), {largest}")
            }));
            asked.push(index);
        }
        if asked.is_empty() {
            return Ok(());
        }
        let sets = self.session.result_sets(&sql.join("; ")).await?;
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
        self.compare_with_seen().await
    }

    /// Compares the rows of windows with those that the run before has read of them, where count
    /// and last stamp are the same.
    async fn compare_with_seen(&mut self) -> Result<()> {
        let mut sql = Vec::new();
        let mut asked = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            if let Some(statement) = table.hash_sql() {
                sql.push(statement);
                asked.push(index);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let sets = self.session.result_sets(&sql.join("; ")).await?;
        for (index, groups) in asked.into_iter().zip(sets) {
            let (Some(table), Some(window)) =
                (self.tables.get_mut(index), self.windows.get_mut(index))
            else {
                continue;
            };
            let (Some(plan), Some(cursor), Some(found)) =
                (&mut table.plan, &table.shape.cursor, table.found.take())
            else {
                continue;
            };
            let found = found.hashed(&groups)?;
            let before = plan.seen_before(cursor);
            let is_seen = before.is_some_and(|before| before.is(&found.window));
            plan.remember(cursor, found.next);
            if is_seen {
                window.state = WindowState::Unchanged(plan.next.position());
            }
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

/// The window of one table, before it is known whether it holds a row.
fn decide(
    evidence: &Evidence<'_>,
    from: &Position,
    user: &str,
    window: &mut Window,
) -> Result<(Option<WindowPlan>, Option<ConnectorError>)> {
    let base = Watermark::read(from)?;
    window.continues = base.pending.is_some();
    let activity = evidence.activity;
    if evidence.cursor.kind.is_time() {
        let table = evidence.read.description.name.to_string();
        if let Err(error) = activity.check(&table, &evidence.cursor.spec, user) {
            return Ok((None, Some(error)));
        }
    }
    match evidence.decide(&base)? {
        Decision::Reload(reason) => {
            window.state = WindowState::Reload { reason };
            Ok((None, None))
        }
        Decision::Read(plan) => Ok((Some(*plan), None)),
    }
}

fn settle(
    table: &mut Table,
    window: &mut Window,
    row: &TextRow,
    activity: &Activity,
) -> Result<()> {
    let (Some(plan), Some(cursor)) = (&mut table.plan, &table.shape.cursor) else {
        return Ok(());
    };
    if !cursor.kind.is_time() {
        let largest = row.parse_some(1)?;
        if let Some(reason) = plan.began_anew(cursor, largest) {
            window.state = WindowState::Reload { reason };
            return Ok(());
        }
        if let Err(error) = plan.fix_integer_bound(&table.read, cursor, activity, largest) {
            table.refused = Some(error);
            return Ok(());
        }
    }
    if let Some(found) = seen::counted(row, seen::settled(activity))? {
        plan.remember(cursor, found.next.clone());
        match plan.seen_before(cursor) {
            Some(before) if !before.may_be(&found.window) => {}
            Some(before) if before.is_settled() => {
                window.state = WindowState::Unchanged(plan.next.position());
            }
            Some(_) => table.found = Some(found),
            None => {}
        }
    }
    if !row.is_true(0) {
        window.state = WindowState::Unchanged(plan.next.position());
    }
    Ok(())
}

#[async_trait]
impl Snapshot for MysqlSnapshot {
    fn windows(&self) -> &[Window] {
        &self.windows
    }

    async fn read_changes(&mut self, table: usize, unit_bytes: u64) -> Result<ChangeStream<'_>> {
        let rules = self.rules;
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
        let limits = (rules, unit_bytes);
        changes(session, &table.read, &table.shape, plan, limits).await
    }

    async fn read_chunk(&mut self, table: usize, range: &KeyRange) -> Result<BatchStream<'_>> {
        let rules = self.rules;
        let (session, table) = self.table(table);
        let conditions = range_conditions(&table.shape, range)?;
        let columns = table.read.read_columns();
        let sql = rows_sql(&columns, &table.shape, &conditions);
        batches(session, &table.read, rules, &sql, &columns).await
    }

    async fn read_chunk_below(
        &mut self,
        table: usize,
        range: &KeyRange,
        below: &Position,
    ) -> Result<BatchStream<'_>> {
        let rules = self.rules;
        let (session, table) = self.table(table);
        let cursor = table.shape.cursor.as_ref().ok_or_else(|| {
            error::unexpected("rows below a position were asked for without a cursor")
        })?;
        let mut conditions = range_conditions(&table.shape, range)?;
        conditions.push(match Watermark::read(below)?.bound.cursor {
            Some(end) => cursor.below(end),
            None => "FALSE".to_owned(),
        });
        let columns = table.read.read_columns();
        let sql = rows_sql(&columns, &table.shape, &conditions);
        batches(session, &table.read, rules, &sql, &columns).await
    }

    async fn read_rows(&mut self, table: usize, keys: &RecordBatch) -> Result<BatchStream<'_>> {
        let rules = self.rules;
        let (session, table) = self.table(table);
        let columns = table.read.read_columns();
        let mut found = Vec::new();
        let mut row = 0;
        while row < keys.num_rows() {
            let count = KEYS_PER_STATEMENT.min(keys.num_rows() - row);
            let sql = rows_by_key_sql(&table.read, &table.shape, &keys.slice(row, count))?;
            let mut rows = batches(session, &table.read, rules, &sql, &columns).await?;
            while let Some(batch) = rows.try_next().await? {
                found.push(Ok(batch));
            }
            row += count;
        }
        Ok(futures::stream::iter(found).boxed())
    }

    async fn row_count(&mut self, table: usize) -> Result<u64> {
        let counts = self.row_counts(&[table]).await?;
        counts
            .first()
            .copied()
            .ok_or_else(|| error::unexpected("the server did not count its rows"))
    }

    async fn row_counts(&mut self, tables: &[usize]) -> Result<Vec<u64>> {
        let mut sql = Vec::with_capacity(tables.len());
        for &table in tables {
            let shape = &self.table(table).1.shape;
            let (from, selected) = (&shape.from, shape.selected(&[]));
            sql.push(format!("SELECT COUNT(*) FROM {from}{selected}"));
        }
        if sql.is_empty() {
            return Ok(Vec::new());
        }
        let sets = self.session.result_sets(&sql.join("; ")).await?;
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

    /// The count alone: keys of the target are among those of the source when it is asked for, so
    /// equal counts mean equal keys.
    async fn key_digest(&mut self, table: usize, _: Digest) -> Result<KeyDigest> {
        Ok(KeyDigest {
            row_count: self.row_count(table).await?,
            hash: None,
        })
    }

    async fn read_keys(&mut self, table: usize) -> Result<BatchStream<'_>> {
        let rules = self.rules;
        let (session, table) = self.table(table);
        let columns = table.read.key_columns();
        let sql = rows_sql(&columns, &table.shape, &[]);
        batches(session, &table.read, rules, &sql, &columns).await
    }

    async fn hash_facts(
        &mut self,
        table: usize,
        request: &HashRequest,
    ) -> Result<std::result::Result<HashFacts, String>> {
        let (session, table) = self.table(table);
        let (mut facts, sql) = match hash::facts(&table.read, &table.shape, request) {
            Ok(facts) => facts,
            Err(reason) => return Ok(Err(reason)),
        };
        let rows = session.rows(&sql).await?;
        facts.keys = rows.first().map_or(Ok(None), hash::read_ends)?;
        Ok(Ok(facts))
    }

    async fn hash_parts(
        &mut self,
        table: usize,
        request: &HashRequest,
        within: Option<&Parts>,
        shift: u32,
    ) -> Result<Vec<PartHash>> {
        let (session, table) = self.table(table);
        let hashes = HashSql::of(&table.read, &table.shape, request).map_err(not_hashed)?;
        let rows = session.rows(&hashes.parts(within, shift)).await?;
        rows.iter().map(hash::read_part).collect()
    }

    async fn part_ends(
        &mut self,
        table: usize,
        request: &HashRequest,
        part: &Parts,
    ) -> Result<Option<(i64, i64)>> {
        let (session, table) = self.table(table);
        let hashes = HashSql::of(&table.read, &table.shape, request).map_err(not_hashed)?;
        let rows = session.rows(&hashes.ends(part)).await?;
        rows.first().map_or(Ok(None), hash::read_ends)
    }

    async fn read_hashes(
        &mut self,
        table: usize,
        request: &HashRequest,
        within: &Parts,
    ) -> Result<BatchStream<'_>> {
        let rules = self.rules;
        let (session, table) = self.table(table);
        let hashes = HashSql::of(&table.read, &table.shape, request).map_err(not_hashed)?;
        let sql = hashes.rows(within);
        let hash = hash::hash_column();
        let mut columns = table.read.key_columns();
        columns.push(&hash);
        batches(session, &table.read, rules, &sql, &columns).await
    }

    async fn share(&mut self) -> Result<Option<SnapshotToken>> {
        Ok(None)
    }

    async fn close(mut self: Box<Self>) {
        if self.session.is_usable() && self.session.execute("COMMIT").await.is_ok() {
            self.idle.give_back(self.session);
        } else {
            self.session.close().await;
        }
    }
}

fn not_hashed(reason: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Unsupported, reason)
}
