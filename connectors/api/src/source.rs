//! The reading side of a store.

use crate::table::schema_of;
use crate::{
    ChangeStream, Column, ConnectorError, ErrorClass, HashFacts, HashRequest, KeyBound, KeyRange,
    PartHash, Parts, Position, PositionOrder, Predicate, Result, TableDescription,
};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Batches of one table in the order of the read, each of at least one row.
pub type BatchStream<'a> = BoxStream<'a, Result<RecordBatch>>;

/// How changes of a table are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Capture {
    /// The whole table in each run; no watermark.
    Full,
    /// By comparing hashes of the rows with those of the target; no watermark. Sources read such a
    /// table as they read [`Capture::Full`].
    Hash,
    /// By a column that grows with every change.
    Cursor(CursorSpec),
    /// By PostgreSQL's `xmin` system column.
    Xmin,
}

/// The name of a capture mode, without its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CaptureMode {
    /// [`Capture::Full`]
    Full,
    /// [`Capture::Hash`]
    Hash,
    /// [`Capture::Cursor`]
    Cursor,
    /// [`Capture::Xmin`]
    Xmin,
}

impl Capture {
    /// Its mode.
    pub fn mode(&self) -> CaptureMode {
        match self {
            Self::Full => CaptureMode::Full,
            Self::Hash => CaptureMode::Hash,
            Self::Cursor(_) => CaptureMode::Cursor,
            Self::Xmin => CaptureMode::Xmin,
        }
    }

    /// Whether no row version is ever read twice.
    pub fn is_disjoint(&self) -> bool {
        matches!(self, Self::Cursor(spec) if spec.windows == Windows::Disjoint)
    }

    /// Whether there is a window of changes since a position.
    pub fn has_windows(&self) -> bool {
        !matches!(self, Self::Full | Self::Hash)
    }

    /// Whether something follows the first load that heals what changed during it, a window or a
    /// comparison: then its chunks may be read in snapshots of their own, and go on after a crash.
    pub fn heals_loads(&self) -> bool {
        !matches!(self, Self::Full)
    }
}

/// A cursor column and what is known of who stamps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorSpec {
    /// The column.
    pub column: String,
    /// Who stamps it. `None` is allowed for integer cursors only.
    pub written_by: Option<WrittenBy>,
    /// How far below the watermark a window starts. `None`: the store's default.
    pub overlap: Option<Overlap>,
    /// IANA name of the zone of a zone-less time column.
    pub zone: Option<String>,
    /// What to do with rows whose cursor is NULL.
    pub null_cursor: NullCursor,
    /// How its windows lie to each other.
    #[serde(default)]
    pub windows: Windows,
}

/// How the windows of a cursor lie to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Windows {
    /// Each starts `overlap` below the bound of the last one: the newest rows come at once, and
    /// some of them come again.
    #[default]
    Overlapping,
    /// Each ends `overlap` below its bound, and the next one starts there: rows come later and
    /// never again. Positions are those ends. The connector never asks for a reload because of
    /// storage that was rewritten, since no row may be read twice.
    Disjoint,
}

/// Who stamps a time cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WrittenBy {
    /// A default or a trigger of the database, so the server's clock.
    Database,
    /// An application, a replica, SQLite: any clock.
    Application,
}

/// How far below the watermark a window starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlap {
    /// For time cursors.
    Time(Duration),
    /// For integer cursors, in units of the cursor.
    Units(u64),
}

/// What to do with rows whose cursor is NULL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NullCursor {
    /// They are read in every window.
    Read,
    /// They are never read.
    Ignore,
    /// A row with a NULL cursor stops the table.
    #[default]
    Error,
}

/// Which rows of a table are selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// All of them.
    All,
    /// Those for which the condition is true, evaluated by the source exactly.
    Predicate(Predicate),
    /// Those for which this text in the source's own dialect is true.
    SourceSql(String),
}

/// What to read of one table. Names only: it can be sent to another machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableRead {
    /// The table, as described when the plan was made.
    pub description: Arc<TableDescription>,
    /// Names of the columns to read, in the order of the batches. Nothing else leaves the source,
    /// except what `filter` names and what the capture needs.
    pub columns: Vec<String>,
    /// Names of the key's columns; empty for a keyless table. Always among `columns`.
    pub key: Vec<String>,
    /// Which rows.
    pub filter: Filter,
    /// How changes are found.
    pub capture: Capture,
    /// Hash of columns, filter and capture: a position made under another one proves nothing
    /// about which rows have been read.
    pub selection: String,
    /// True if every row for which `filter` holds is written, with every column as it is: only then
    /// what is stored with a position, at the target, may be made of their values.
    pub all_written: bool,
    /// Bytes of one batch, about.
    pub batch_bytes: usize,
}

impl TableRead {
    fn pick<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Column> {
        names.iter().map(|name| {
            self.description
                .column(name)
                .expect("a read names columns of its description")
        })
    }

    /// The columns to read, in order.
    pub fn read_columns(&self) -> Vec<&Column> {
        self.pick(&self.columns).collect()
    }

    /// The key's columns, in key order.
    pub fn key_columns(&self) -> Vec<&Column> {
        self.pick(&self.key).collect()
    }

    /// Schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        schema_of(self.pick(&self.columns))
    }

    /// Schema of batches of keys.
    pub fn key_schema(&self) -> SchemaRef {
        schema_of(self.pick(&self.key))
    }
}

/// What the source says about a read before anything runs.
#[derive(Debug, Default)]
pub struct ReadPlan {
    /// The statements it would send, for `plan`.
    pub statements: Vec<String>,
    /// What a user should know: the delay of a window, why `xmin` is not used to skip, ...
    pub notes: Vec<String>,
    /// Everything that stops this table.
    pub problems: Vec<crate::ConnectorError>,
}

/// One table of a snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotRequest {
    /// What to read.
    pub read: Arc<TableRead>,
    /// Where the last window ended; `None` where no window is wanted.
    pub from: Option<Position>,
}

/// The window of one table in a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// What is known of it before it is read.
    pub state: WindowState,
    /// True for the rest of a window that was cut: rows that were read before the cut may have
    /// changed since, so its end does not bring the table up to this snapshot.
    pub continues: bool,
    /// What a person should know, such as who holds the bound back.
    pub warnings: Vec<String>,
}

/// What is known of a window before it is read.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowState {
    /// No row changed since the position; nothing needs to be read. Holds the position that may
    /// be stored instead.
    Unchanged(Position),
    /// Rows may have changed: read them.
    Changed,
    /// The position proves nothing about this table any more (rewritten, wrapped, restored):
    /// read the whole table again, compare keys, then start from a new position.
    Reload {
        /// Why, for the run's report.
        reason: String,
    },
}

/// A token by which other sessions read the same snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotToken(pub String);

/// What is asked of a set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// Their count.
    Count,
    /// Their count and hash.
    Hash,
}

/// Count and hash of a set of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDigest {
    /// How many keys.
    pub row_count: u64,
    /// Name of the hash and its value; `None` if it was not asked for, or the store has none.
    /// Digests with different names compare by count alone.
    pub hash: Option<(String, String)>,
}

/// The reading side of a store. Every method may be called from several tasks at once.
#[async_trait]
pub trait Source: Send + Sync {
    /// Checks that these reads can be served: names, rights, conditions, the rules of the
    /// capture mode. Reads no row of a user's table. Constant round trips.
    async fn prepare(&self, reads: &[Arc<TableRead>]) -> Result<Vec<ReadPlan>>;

    /// Whose hashes of keys this store computes; two stores of the same name hash keys of the same
    /// types alike. `None`: it only counts them.
    fn key_hash(&self) -> Option<&'static str> {
        None
    }

    /// Rows will be read soon: what takes time, such as connecting, may be done now. It cannot
    /// fail; whatever does not work shows when rows are read.
    async fn warm_up(&self) {}

    /// Whether the condition can be evaluated here with exactly the meaning the contract gives it.
    /// Pure. `Err` says why not.
    fn can_push(&self, table: &TableDescription, predicate: &Predicate) -> Result<(), String>;

    /// Whether a column of the type `after` holds every value of a column of the type `before` as it
    /// was, so that nothing is lost or read otherwise. Both as this store spells them, those with
    /// labels with ` [..]`, a JSON array of them, behind. Pure.
    fn widens(&self, before: &str, after: &str) -> bool {
        let _ = (before, after);
        false
    }

    /// Positions below every change that could still appear: the low watermarks of first loads.
    /// Meaningless (null) for reads without windows.
    ///
    /// # Errors
    /// `NotYet` while a prepared transaction makes a first load impossible.
    async fn low_positions(&self, reads: &[Arc<TableRead>]) -> Result<Vec<Position>>;

    /// Keys that cut the table into chunks of about `chunk_bytes`; empty for one chunk.
    async fn boundaries(&self, read: &TableRead, chunk_bytes: u64) -> Result<Vec<KeyBound>>;

    /// A bound of a key that is one whole number, as that number. Pure.
    fn bound_number(&self, bound: &KeyBound) -> Option<i64> {
        match bound.0.as_slice() {
            [number] => number.parse().ok(),
            _ => None,
        }
    }

    /// Opens one snapshot of these tables. The bound of the windows is fixed, in a transaction of
    /// its own, before the snapshot is taken; tables are locked against rewrites and verified to
    /// be the ones that were described.
    ///
    /// # Errors
    /// `SourceChanged` if a table was altered since it was described.
    async fn open_snapshot(
        &self,
        requests: &[SnapshotRequest],
        shared: Option<&SnapshotToken>,
    ) -> Result<Box<dyn Snapshot>>;

    /// The instant up to which a position has seen the table, microseconds since the epoch, if it
    /// can be read as one. Pure.
    fn position_time(&self, read: &TableRead, position: &Position) -> Option<i64> {
        let _ = (read, position);
        None
    }

    /// How two positions relate.
    fn compare(&self, left: &Position, right: &Position) -> PositionOrder;

    /// How far the store's log has come, which its replicas follow. One round trip; `None`: it does
    /// not tell.
    async fn log_position(&self) -> Result<Option<LogPosition>> {
        Ok(None)
    }
}

/// How far the log of a store has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition {
    /// Whose log it is, and of which database; `None` if this user may not know.
    pub log: Option<String>,
    /// True if the store replays what another one writes.
    pub replays: bool,
    /// Bytes of the log that are safe at a primary, or that a replica has replayed: a snapshot that
    /// is opened afterwards shows what they hold.
    pub at: u64,
}

/// A snapshot of some tables in one session. `table` is an index into the requests.
///
/// A stream must be read to its end or the snapshot be dropped.
#[async_trait]
pub trait Snapshot: Send {
    /// One window per request; meaningless where `from` was `None`.
    fn windows(&self) -> &[Window];

    /// The changes of one window, ordered by (cursor, key), with a `Progress` after at most
    /// `unit_bytes` and at the end.
    async fn read_changes(&mut self, table: usize, unit_bytes: u64) -> Result<ChangeStream<'_>>;

    /// The selected rows of a key range, in no order.
    async fn read_chunk(&mut self, table: usize, range: &KeyRange) -> Result<BatchStream<'_>>;

    /// The selected rows of a key range that lie below a position of [`Windows::Disjoint`]: those
    /// that no window from there on brings.
    async fn read_chunk_below(
        &mut self,
        table: usize,
        range: &KeyRange,
        below: &Position,
    ) -> Result<BatchStream<'_>>;

    /// The selected rows that have these keys.
    async fn read_rows(&mut self, table: usize, keys: &RecordBatch) -> Result<BatchStream<'_>>;

    /// Count of the selected rows.
    async fn row_count(&mut self, table: usize) -> Result<u64> {
        Ok(self.key_digest(table, Digest::Count).await?.row_count)
    }

    /// Counts of the selected rows of several tables; one round trip where the store can.
    async fn row_counts(&mut self, tables: &[usize]) -> Result<Vec<u64>> {
        let mut counts = Vec::with_capacity(tables.len());
        for &table in tables {
            counts.push(self.row_count(table).await?);
        }
        Ok(counts)
    }

    /// Count and hash of the keys of the selected rows.
    async fn key_digest(&mut self, table: usize, digest: Digest) -> Result<KeyDigest>;

    /// The keys of the selected rows, in no order.
    async fn read_keys(&mut self, table: usize) -> Result<BatchStream<'_>>;

    /// How the server would hash the selected rows. One round trip, which reads no rows.
    ///
    /// `Ok(Err(reason))` says why it cannot: a type, a version. A store that hashes nothing says so.
    async fn hash_facts(
        &mut self,
        table: usize,
        request: &HashRequest,
    ) -> Result<std::result::Result<HashFacts, String>> {
        let _ = (table, request);
        Ok(Err("this store does not hash rows itself".to_owned()))
    }

    /// Counts and sums of the hashes of the selected rows by parts of `shift` bits, those that hold
    /// rows, in no order. `within`: only of these parts, whose `shift` is not smaller.
    ///
    /// # Errors
    /// `Store` if a row could not be hashed.
    async fn hash_parts(
        &mut self,
        table: usize,
        request: &HashRequest,
        within: Option<&Parts>,
        shift: u32,
    ) -> Result<Vec<PartHash>> {
        let _ = (table, request, within, shift);
        Err(hashes_nothing())
    }

    /// Smallest and greatest ordinal of the rows of one part, selected or not, by an index; only for
    /// [`Ordinal::Key`](crate::Ordinal). `None`: no row.
    async fn part_ends(
        &mut self,
        table: usize,
        request: &HashRequest,
        part: &Parts,
    ) -> Result<Option<(i64, i64)>> {
        let _ = (table, request, part);
        Err(hashes_nothing())
    }

    /// The keys of the selected rows of these parts, in no order: the key's columns, and the hash
    /// as an `Int64` named [`HASH_COLUMN`](crate::HASH_COLUMN).
    async fn read_hashes(
        &mut self,
        table: usize,
        request: &HashRequest,
        within: &Parts,
    ) -> Result<BatchStream<'_>> {
        let _ = (table, request, within);
        Err(hashes_nothing())
    }

    /// A token for other sessions, valid while this snapshot is open. `None`: cannot be shared.
    async fn share(&mut self) -> Result<Option<SnapshotToken>>;

    /// Ends the snapshot.
    async fn close(self: Box<Self>);
}

fn hashes_nothing() -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        "this store does not hash rows itself",
    )
}
