//! The writing side of a store.

use crate::{
    AlterationPlan, BatchStream, Column, Comments, Digest, Holds, KeptRow, KeyDigest, Lease,
    MadeTable, Marks, NativeType, Position, PutBack, Result, RowImage, ShownWrite, StreamPhase,
    TableAlteration, TableFacts, TableName, TargetIndex,
};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How faithfully a target type carries a source type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exactness {
    /// Every value comes back as it was, and the target knows what it is.
    Exact,
    /// Every value is kept, in a wider or plainer type.
    Widened,
    /// Most values are kept, and some are not: the note says which.
    Lossy,
    /// There is no type for the column: nothing is written unless the pipeline says how.
    Refused,
}

impl Exactness {
    /// Its name for people and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Widened => "widened",
            Self::Lossy => "lossy",
            Self::Refused => "refused",
        }
    }

    /// Whether there may be values that the target cannot keep.
    pub fn loses(self) -> bool {
        matches!(self, Self::Lossy | Self::Refused)
    }
}

/// What a column becomes at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeMapping {
    /// The target's type as its DDL spells it.
    pub native: String,
    /// How faithful that is.
    pub exactness: Exactness,
    /// Why it is not exact, or how it is stored.
    pub note: Option<String>,
    /// True if only the target can tell which values do not fit, and not of which row. They stop
    /// the table under every policy of `on_lossy` that keeps the type.
    #[serde(skip)]
    pub stops_table: bool,
}

/// One column of a target table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetColumn {
    /// Its name at the target.
    pub name: String,
    /// The Arrow type its batches have.
    pub data_type: DataType,
    /// The source's type; `None` for computed columns.
    pub native: Option<NativeType>,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

impl TargetColumn {
    /// A column that carries a source column under another name.
    pub fn of(column: &Column, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            data_type: column.data_type.clone(),
            native: Some(column.native.clone()),
            nullable: column.nullable,
        }
    }
}

/// What happens at the target to rows that are gone or no longer selected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// They are deleted.
    #[default]
    Hard,
    /// They stay, with the time at which they were found to be gone: [`Marks::deleted_at`].
    Soft,
    /// They are kept.
    Keep,
}

/// How rows reach a target table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// Rows are found by their key and inserted, or updated where they differ.
    #[default]
    Upsert,
    /// Rows are inserted; nothing is ever updated or deleted.
    Append,
    /// The table is made to hold the rows of one snapshot, in place and in one transaction.
    Replace,
}

impl WriteMode {
    /// Its name in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Append => "append",
            Self::Replace => "replace",
        }
    }
}

/// What [`UnitWriter::replace`] may do to one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplaceRules {
    /// What happens to rows that were not collected.
    pub absent: OnDelete,
    /// Rows of a table without a key that may be deleted and inserted; with more, nothing is
    /// written. A table with a key has no such limit: its rows are updated one by one.
    pub max_rewrite_rows: u64,
}

/// What [`UnitWriter::replace`] did to one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It holds what was collected.
    Done {
        /// Rows inserted or changed.
        rows_written: u64,
        /// Rows deleted, or marked as gone.
        rows_deleted: u64,
    },
    /// Nothing was written: this many rows of a table without a key differ.
    TooMany {
        /// Rows to delete and rows to insert.
        rows: u64,
    },
}

/// A table that the pipeline writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTable {
    /// Its name.
    pub name: TableName,
    /// Columns in the order of the batches.
    pub columns: Vec<TargetColumn>,
    /// Target names of the key's columns, in key order; empty for a keyless table.
    pub key: Vec<String>,
    /// Columns that the target fills itself. Every method that deletes, counts or compares rows
    /// heeds them.
    pub marks: Marks,
}

impl TargetTable {
    /// The columns of the batches, then those that the target fills itself.
    pub fn all_columns(&self) -> Vec<TargetColumn> {
        let written = self.columns.iter().cloned();
        written.chain(self.marks.columns()).collect()
    }

    /// Schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns
                .iter()
                .map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable))
                .collect::<Vec<_>>(),
        ))
    }
}

/// One thing that stops us from writing a target table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What of the table it is about.
    pub about: About,
    /// A sentence with its advice.
    pub sentence: String,
}

impl Difference {
    /// A difference of one column.
    pub fn of_column(name: &str, sentence: impl Into<String>) -> Self {
        Self {
            about: About::Column(name.to_owned()),
            sentence: sentence.into(),
        }
    }

    /// A difference of the key.
    pub fn of_key(sentence: impl Into<String>) -> Self {
        Self {
            about: About::Key,
            sentence: sentence.into(),
        }
    }

    /// Something that stops only those who update or delete rows of the table.
    pub fn of_changes(sentence: impl Into<String>) -> Self {
        Self {
            about: About::Changes,
            sentence: sentence.into(),
        }
    }

    /// A difference that no change of columns or key settles.
    pub fn of_table(sentence: impl Into<String>) -> Self {
        Self {
            about: About::Table,
            sentence: sentence.into(),
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

/// What of a table a [`Difference`] is about, and so which change would settle it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// This column: it is missing, of another type, or in the way.
    Column(String),
    /// The key that rows are found by.
    Key,
    /// The table itself, its rights, or types that it needs.
    Table,
    /// Rights to update and delete its rows, which nobody needs who only appends to it.
    Changes,
}

/// What a target says about a table that the pipeline wants to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// False: it has to be created.
    pub exists: bool,
    /// True if it holds no row (or does not exist).
    pub empty: bool,
    /// Names of the columns it has.
    pub columns: Vec<String>,
    /// What each column of [`TargetTable::columns`] takes, in their order: as it is, or as it would
    /// be made.
    #[serde(skip)]
    pub holds: Vec<Holds>,
    /// What stops us from writing it: missing columns, other types, no matching key.
    pub differences: Vec<Difference>,
    /// The statements that [`Target::create`] would run: schema, types, table, as far as they are
    /// missing. Empty for a table that exists.
    pub create: Vec<String>,
    /// What a user should know: triggers that fire, foreign keys that could refuse rows.
    pub notes: Vec<String>,
    /// Tables that its foreign keys point to, as the target names them.
    pub parents: Vec<TableName>,
    /// Foreign keys of other tables by which deleting rows of this one deletes or changes rows of
    /// theirs: what they are called and whose they are.
    pub cascades: Vec<String>,
}

/// What a unit of work replaces, checked under its row's lock before anything is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitStep {
    /// One chunk of a load, not done yet.
    Chunk {
        /// The stream.
        stream: String,
        /// Number of the chunk within the load.
        index: u32,
        /// [`StreamState::version`](crate::StreamState::version) as it was loaded: no chunk moves
        /// it, and every later load of the stream has a greater one.
        version: u64,
    },
    /// The watermark of a stream, still at this version.
    Watermark {
        /// The stream.
        stream: String,
        /// [`StreamState::version`](crate::StreamState::version) as it was loaded.
        version: u64,
    },
    /// The watermarks of several streams, each still at its version: (stream, version), never
    /// empty. They move together or not at all.
    Watermarks(Vec<(String, u64)>),
}

/// Where one stream of a [`UnitStep::Watermarks`] moves.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkMove {
    /// The stream.
    pub stream: String,
    /// Its new position.
    pub position: Position,
    /// Its new phase.
    pub phase: StreamPhase,
    /// True if the unit holds every row of the stream: chunks of its load that are not done are
    /// not missed.
    pub whole: bool,
}

/// How a unit starts.
#[derive(Debug, Clone)]
pub struct UnitStart {
    /// The lease this runner holds.
    pub lease: Lease,
    /// What the unit replaces.
    pub step: UnitStep,
    /// True while the target table holds no row of anybody (a first load into an empty table):
    /// rows may be written into it directly, without looking for old ones.
    pub into_empty: bool,
    /// True to write with savepoints and find the rows that are refused, one by one.
    pub careful: bool,
}

/// A row that the target refused in careful mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Row of the batch that was given.
    pub row: usize,
    /// The store's sentence, without the values.
    pub reason: String,
    /// The store's code.
    pub code: Option<String>,
    /// True if a unique or foreign key refused it: it may pass later in the same run.
    pub parked: bool,
}

/// What a committed unit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Rows inserted or changed. Rows that were already so are not counted.
    pub rows_written: u64,
    /// Rows deleted, or marked as gone.
    pub rows_deleted: u64,
    /// Version of the watermark afterwards; zero for chunks.
    pub version: u64,
}

/// The writing side of a store. Every method may be called from several tasks at once.
#[async_trait]
pub trait Target: Send + Sync {
    /// What a column becomes here. Pure.
    fn map_type(&self, column: &TargetColumn) -> TypeMapping;

    /// Looks at the target tables; constant round trips, changes nothing.
    async fn status(&self, tables: &[TargetTable]) -> Result<Vec<TargetStatus>>;

    /// Creates what is missing for these tables under the lease, in one transaction where DDL has
    /// them, so that all are created or none; constant round trips for more than one table. What
    /// exists already is left alone. What is made of a table is stored if it was missing.
    async fn create(&self, lease: &Lease, tables: &[(&TargetTable, MadeTable)]) -> Result<()>;

    /// Says what [`Target::alter`] would run, and what stands in its way. Constant round trips
    /// for each table; changes nothing.
    async fn plan_alteration(&self, alteration: &TableAlteration) -> Result<AlterationPlan>;

    /// What a table is, with everything of the database that depends on it; `None`: no such table.
    /// Constant round trips; changes nothing.
    async fn table_facts(&self, table: &TableName) -> Result<Option<TableFacts>>;

    /// Alters a table under the lease, stores what is made of it and, if its rows are
    /// to be loaded again, resets the stream that is loaded into it (its selection becomes empty),
    /// all in one transaction where DDL has them. No unit may be open on the table.
    ///
    /// # Errors
    /// `TargetDiffers` if something stands in the way, or if the table is not what the alteration
    /// expects, with the table left as it was; `Transient`
    /// if other sessions kept the table locked for all tries.
    async fn alter(&self, lease: &Lease, alteration: &TableAlteration) -> Result<()>;

    /// Whether a unique key can be checked when a transaction ends.
    fn defers_keys(&self) -> bool {
        false
    }

    /// Why no index over these columns of a table can be had here; `None` if it can. Pure.
    fn refuses_index(&self, _table: &TargetTable, _columns: &[String]) -> Option<String> {
        None
    }

    /// Why no foreign key of a table that exists can be had here; `None` if it can. Each side is a
    /// table and columns of it. Pure.
    fn refuses_foreign_key(
        &self,
        _child: (&TargetTable, &[String]),
        _parent: (&TargetTable, &[String]),
    ) -> Option<String> {
        Some("the target adds no foreign key to a table that exists".to_owned())
    }

    /// The statements that make an index under its first name, for people. Pure.
    fn spell_index(&self, table: &TableName, index: &TargetIndex) -> Vec<String>;

    /// Takes one step towards an index of a table that we created, under the lease, and stores it:
    /// the caller goes on until it is `built` in what is returned, `made` as it is stored from then
    /// on. What a run that was killed has begun is finished, and nothing is built twice. Readers go
    /// on meanwhile. No unit may be open on the table.
    ///
    /// # Errors
    /// `RowParked` if rows have the same values in a unique key or refer to rows that are not
    /// there, `Transient` if others kept the table
    /// locked for all tries; the table is left without the index.
    async fn build_index(
        &self,
        lease: &Lease,
        table: &TableName,
        index: &TargetIndex,
        made: &MadeTable,
    ) -> Result<MadeTable>;

    /// Whether tables and columns can have comments.
    fn keeps_comments(&self) -> bool {
        false
    }

    /// Gives a table that we created and its columns these comments, under the lease, where they
    /// differ from those that `made` says we gave them, and stores that; `made` as it is stored from
    /// then on. Readers and writers go on meanwhile. No unit may be open on the table.
    ///
    /// # Errors
    /// `Transient` if others kept the table locked; its comments are as they were.
    async fn comment(
        &self,
        _lease: &Lease,
        _table: &TableName,
        _comments: &Comments,
        made: &MadeTable,
    ) -> Result<MadeTable> {
        Ok(made.clone())
    }

    /// What a session has to be told before it is given what [`spell`](Self::spell) returns. Pure.
    fn spell_settings(&self) -> &'static [&'static str] {
        &[]
    }

    /// A write of a table as a statement of this store's dialect, for people. Pure.
    fn spell(&self, table: &TableName, write: &ShownWrite) -> String;

    /// Begins a unit: locks the fence, then the row that `start` names, and verifies both.
    ///
    /// # Errors
    /// `Fenced` if the epoch or the row is no longer ours.
    async fn begin(&self, start: UnitStart) -> Result<Box<dyn UnitWriter>>;

    /// Decides a commit whose answer was lost, by taking the lock of the row that `start` names.
    ///
    /// # Errors
    /// `Fenced` if another runner holds the epoch, or the row belongs to another load.
    async fn was_committed(&self, start: &UnitStart) -> Result<bool>;

    /// Count and hash of the keys of all rows of the table that are not marked as gone.
    async fn key_digest(&self, table: &TargetTable, digest: Digest) -> Result<KeyDigest>;

    /// As the `key_hash` of a source.
    fn key_hash(&self) -> Option<&'static str> {
        None
    }

    /// Lets the store look at tables that were just filled for the first time, so that it plans
    /// queries on them well. No unit of the run is open on them. Constant round trips; tables whose
    /// statistics this user may not renew are left out. A store that needs no such look does
    /// nothing.
    async fn analyze(&self, _tables: &[&TableName]) -> Result<()> {
        Ok(())
    }
}

/// One unit of work: one transaction of the target. Calls never overlap.
///
/// Within a unit each key appears at most once over all batches of one table. After any error the
/// only call allowed is `abort`.
#[async_trait]
pub trait UnitWriter: Send {
    /// Writes rows in the table's column order: inserts new ones, updates those whose image
    /// differs, touches nothing else. `Ok` means accepted, not durable. Always returns an empty
    /// list unless the unit is careful.
    async fn upsert(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>>;

    /// Deletes the rows with these keys (columns of the key, in key order), and nobody asks the
    /// guard: at once in careful mode, else as [`stage_deletes`](Self::stage_deletes) does. Keys
    /// that are not there are no error.
    async fn delete(&mut self, table: &TargetTable, keys: RecordBatch) -> Result<Vec<Rejection>>;

    /// Stages keys whose rows are to be deleted (columns of the key, in key order). What is staged
    /// at the end is applied by `commit`, before all upserts of the unit.
    async fn stage_deletes(&mut self, table: &TargetTable, keys: RecordBatch) -> Result<()>;

    /// Stages for deletion every row of the table whose key is not among these. Returns how many
    /// rows these are.
    async fn prune(&mut self, table: &TargetTable, keys: BatchStream<'_>) -> Result<u64>;

    /// Says that deletes of the unit's tables may be pending: a key that is upserted is pending no
    /// longer. Called before anything is written.
    fn heed_pending(&mut self);

    /// Stages the pending deletes of the table too; they are pending no longer. Only after
    /// [`heed_pending`](Self::heed_pending), and after all upserts of the unit.
    async fn stage_pending(&mut self, table: &TargetTable) -> Result<()>;

    /// How many rows of the table the staged deletes would delete.
    async fn count_deletes(&mut self, table: &TargetTable) -> Result<u64>;

    /// Rows of the table that are not marked as gone, before the staged deletes are applied,
    /// counted no further than `max`.
    async fn count_rows(&mut self, table: &TargetTable, max: u64) -> Result<u64>;

    /// Makes the staged deletes pending instead of applying them. Keys that are not there are
    /// forgotten. Returns how many keys became pending that were not.
    async fn postpone_deletes(&mut self, table: &TargetTable) -> Result<u64>;

    /// Takes the staged deletes back, as keys for [`delete`](Self::delete): a careful unit deletes
    /// row by row.
    async fn take_deletes(&mut self, table: &TargetTable) -> Result<Vec<RecordBatch>>;

    /// Inserts rows without looking for older ones: what is inserted twice is there twice. With a
    /// key, rows whose key is there already are left out, whatever else they hold. Returns
    /// rejections as `upsert` does.
    async fn append(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>>;

    /// Collects rows of which the table is to consist after [`replace`](Self::replace). A careful
    /// unit writes rows with a key at once, to find those that are refused; else the list is empty.
    async fn collect(&mut self, table: &TargetTable, batch: RecordBatch) -> Result<Vec<Rejection>>;

    /// Makes tables hold the rows that were collected for them, in place: what is absent is
    /// deleted, what differs is inserted or updated, and what is equal is not touched. Rows are
    /// matched by key; without a key by their image, where equal rows count. Deletes come first,
    /// in reverse order of the tables, so parents should come before their children. Each table
    /// is named once per unit. What else is staged is applied with them. After [`Replaced::TooMany`] the only call allowed is `abort`.
    async fn replace(&mut self, tables: &[(&TargetTable, ReplaceRules)]) -> Result<Vec<Replaced>>;

    /// Locks the rows that have these keys (columns of the key, in key order) until the unit ends,
    /// and tells what each holds, in the order of the keys; `None`: there is no such row, and
    /// nothing keeps others from inserting it. Rows that are marked as gone are rows. Nothing may be
    /// staged: see [`settle`](Self::settle).
    async fn lock_rows(
        &mut self,
        table: &TargetTable,
        keys: &RecordBatch,
    ) -> Result<Vec<Option<RowImage>>>;

    /// Makes rows hold what an image says: inserts, updates or deletes them at once, and counts them
    /// as rows written and deleted. Each is one of the keys of the last
    /// [`lock_rows`](Self::lock_rows) of this table.
    ///
    /// # Errors
    /// `RowParked` and `RowRefused` if the table does not take a row any more; `TargetDiffers` if a
    /// column of an image is gone.
    async fn put_back(&mut self, table: &TargetTable, rows: &[PutBack]) -> Result<()>;

    /// Applies what is staged. Returns what was done to the table so far.
    async fn settle(&mut self, table: &TargetTable) -> Result<Receipt>;

    /// Keeps rows as they were before this unit, for the run that writes it: they commit with it.
    async fn keep_rows(&mut self, run_id: &str, rows: &[KeptRow]) -> Result<()>;

    /// Says that rows of `run_id`, by their places, were put back by the run `by`.
    async fn mark_reverted(&mut self, run_id: &str, places: &[u64], by: &str) -> Result<()>;

    /// Stores rows that were refused, in this transaction: they commit with the unit.
    async fn store_rejected(&mut self, rows: &[crate::RejectedRow]) -> Result<()>;

    /// Forgets rows that were refused before and have now been written or are gone.
    async fn forget_rejected(&mut self, stream: &str, keys: &[serde_json::Value]) -> Result<()>;

    /// Applies what is staged, marks the chunk done or stores the new watermark, and commits.
    /// `watermark` is `Some` exactly for [`UnitStep::Watermark`], and a [`UnitStep::Watermarks`]
    /// never ends by this.
    ///
    /// # Errors
    /// `CommitUnknown` when the answer never came: ask [`Target::was_committed`].
    async fn commit(self: Box<Self>, watermark: Option<(Position, StreamPhase)>)
    -> Result<Receipt>;

    /// Count and hash of the keys of all rows of the table that are not marked as gone, as this
    /// unit leaves it so far; what is staged is applied first.
    async fn key_digest(&mut self, table: &TargetTable, digest: Digest) -> Result<KeyDigest>;

    /// Applies what is staged, moves all watermarks of a [`UnitStep::Watermarks`], one move for
    /// each of its streams, and commits. Returns what was done to each table that was written,
    /// with versions of zero; each watermark is one version further.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    async fn commit_together(
        self: Box<Self>,
        moves: Vec<WatermarkMove>,
    ) -> Result<Vec<(TableName, Receipt)>>;

    /// Rolls back.
    async fn abort(self: Box<Self>);
}
