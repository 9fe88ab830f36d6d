//! `_syncset`: what survives between two runs.

use crate::{
    Comments, ConnectorError, ErrorClass, KeptRow, KeptRun, KeyBound, KeyRange, MadeIndex,
    Position, Result, TableName,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whose state it is. Two projects may share a target; their state never mixes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PipelineKey {
    /// `project:` of the config file.
    pub project: String,
    /// Name of the pipeline.
    pub pipeline: String,
}

impl std::fmt::Display for PipelineKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.project, self.pipeline)
    }
}

/// A request for the lease of a pipeline.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// The pipeline.
    pub key: PipelineKey,
    /// Who asks: `user@host pid 123, run <id>`, for messages.
    pub owner: String,
    /// How long it lasts without being renewed.
    pub duration: Duration,
}

/// The right to write a pipeline's target, until somebody with a greater epoch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The pipeline.
    pub key: PipelineKey,
    /// Grows with every holder; units verify it under the fence row's lock.
    pub epoch: u64,
    /// How long it lasts without being renewed.
    pub duration: Duration,
}

/// Answer to a [`LeaseRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It is ours. Says who was pushed aside, if somebody was.
    Acquired {
        /// The lease.
        lease: Lease,
        /// The owner whose expired or abandoned lease was taken over.
        taken_from: Option<String>,
    },
    /// Somebody alive has it.
    Held {
        /// The owner.
        owner: String,
        /// Until when, at most, if it is not renewed.
        expires_in: Duration,
    },
}

/// Where a stream stands. Stored as its lower-case name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamPhase {
    /// Chunks are being loaded. Set by [`StateStore::begin_load`].
    Loading,
    /// All chunks are done; the window that heals them and the search for deleted rows are not.
    /// Never stored by itself: a `Loading` stream whose chunks are all done is in it.
    Settling,
    /// The target equals the source as of the watermark. Set by the unit that settles the load.
    Following,
}

/// One chunk of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkState {
    /// Its number.
    pub index: u32,
    /// Its keys.
    pub range: KeyRange,
    /// Whether its rows are at the target.
    pub done: bool,
    /// Rows written by it.
    pub row_count: u64,
}

/// What is stored of one stream (one table of a pipeline).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// The stream's name: the source table as the config spells it.
    pub stream: String,
    /// Where it stands. `Settling` is derived on load.
    pub phase: StreamPhase,
    /// The watermark; in `Loading` and `Settling` the low watermark of the load.
    pub position: Position,
    /// Grows by one with every change of the watermark; what compare-and-set compares.
    pub version: u64,
    /// Fingerprint of the selection it was made under; empty after a reset.
    pub selection: String,
    /// The selection itself as canonical JSON, with what the source was then, to say what an edit
    /// changed and what the source did. `None` in state that an older version wrote. Holds names and expressions of the config file, never a secret.
    pub selection_text: Option<String>,
    /// The target table.
    pub target: TableName,
    /// True if the target table was created by us or was empty when the load began.
    pub into_empty: bool,
    /// Chunks of the load that is under way; empty in `Following`.
    pub chunks: Vec<ChunkState>,
    /// When the watermark was last stored, seconds since the epoch.
    pub updated_at: i64,
}

/// What is stored before the first chunk of a load is read. A resume never replaces it.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The stream.
    pub stream: String,
    /// The target table, claimed for this pipeline.
    pub target: TableName,
    /// A target table that the stream wrote before and nothing of the pipeline writes any more: it
    /// is let go, with what was made of it.
    pub leaves: Option<TableName>,
    /// Fingerprint of the selection.
    pub selection: String,
    /// The selection as canonical JSON.
    pub selection_text: String,
    /// The low watermark.
    pub low: Position,
    /// Boundaries of the chunks.
    pub boundaries: Vec<KeyBound>,
    /// True if the target table holds no row.
    pub into_empty: bool,
}

/// Another selection under which the rows of a stream may pass as loaded: they stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retelling {
    /// The stream.
    pub stream: String,
    /// The selection that is stored; nothing happens if it is another one.
    pub from: String,
    /// The selection to store.
    pub selection: String,
    /// The selection as canonical JSON.
    pub selection_text: String,
}

/// Who owns a target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The target table.
    pub target: TableName,
    /// The pipeline that writes it.
    pub key: PipelineKey,
}

/// What we made of a target table: only that is ever altered or dropped. Stored by
/// [`Target::create`](crate::Target::create) and [`Target::alter`](crate::Target::alter) in the
/// transaction of their DDL, forgotten when the pipeline lets go of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeTable {
    /// The target table.
    #[serde(skip)]
    pub target: TableName,
    /// Columns that we added, in no order.
    pub columns: Vec<MadeColumn>,
    /// The primary key that we gave it; empty if the key is somebody else's.
    pub key: Vec<String>,
    /// What a person agreed to when it was altered last, compared as a text only; empty if nobody
    /// had to. A run that goes on after a crash does not ask once more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agreed: String,
    /// Its further keys and indexes; `None` for a table that we did not create, which gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexes: Option<Vec<MadeIndex>>,
    /// The comments that we gave it and its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments: Option<Comments>,
    /// Its versions, oldest first; those of long ago are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<SchemaVersion>,
}

/// One version of the columns and the key of a target table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// Grows by one with each.
    pub version: u32,
    /// When it was made, by the clock of who made it: seconds since the epoch.
    pub at: i64,
    /// On whose word.
    pub by: ChangedBy,
    /// What changed, each as a clause. Names and types, never a value of a row.
    pub changes: Vec<String>,
}

/// On whose word a target table was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedBy {
    /// The table was missing.
    Created,
    /// The pipeline's file lets a run follow such changes.
    Policy,
    /// A person agreed on the command line.
    Approval,
}

/// A column that we added to a target table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeColumn {
    /// Its name.
    pub name: String,
    /// What its values are made of, compared as a text only.
    pub origin: String,
}

/// A row that a target refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// The stream.
    pub stream: String,
    /// Its key as a JSON array of text or null.
    pub key: serde_json::Value,
    /// Why.
    pub reason: String,
    /// The store's code.
    pub code: Option<String>,
    /// The row as it was to be written, as a JSON object.
    pub row: serde_json::Value,
    /// When it was refused for the first time, seconds since the epoch; `None` before it is
    /// stored.
    #[serde(default)]
    pub first_at: Option<i64>,
    /// How often it was refused, as far as it is stored.
    #[serde(default)]
    pub attempts: u64,
}

/// What the report of a run holds, as JSON text, that was about some rows only: a slice, a repair, a
/// revert. It says nothing about how fresh the target is, and is never the last success.
pub const PARTIAL_RUNS: [&str; 3] = [
    "\"slice\":true",
    "\"verb\":\"repair\"",
    "\"verb\":\"revert\"",
];

/// A run that ended that much later than a clock says that one of two clocks is wrong.
pub const CLOCK_SLACK_SECONDS: i64 = 60;

/// One run, for `status` and `history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub run_id: String,
    /// Start, seconds since the epoch.
    pub started_at: i64,
    /// End, seconds since the epoch; `None` while it runs.
    pub finished_at: Option<i64>,
    /// Exit code; `None` while it runs, and for ever if it was killed.
    pub exit_code: Option<i32>,
    /// The report as JSON.
    pub report: serde_json::Value,
}

/// What stays when a run is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Runs that began longer ago are dropped, but for the last one that was done.
    pub runs: Duration,
    /// Refused rows of tables that left the pipeline are dropped when their watermark was last
    /// stored longer ago. Rows of tables that a run tries again are never dropped.
    pub rejected: Duration,
    /// Rows that were kept as they were longer ago are dropped.
    pub before_images: Duration,
    /// The streams of the pipeline; `None`: not all of them are known, so that no refused row is
    /// dropped.
    pub streams: Option<Vec<String>>,
}

/// What is stored of one pipeline.
#[derive(Debug, Clone, Default)]
pub struct PipelineState {
    /// Its streams, by name.
    pub streams: Vec<StreamState>,
    /// The newest runs, newest first.
    pub runs: Vec<RunRecord>,
    /// When the last run with exit code 0 ended, seconds since the epoch, however many failed
    /// since; one in the future only if there is no other. `None` if runs were not asked for.
    pub last_success: Option<i64>,
    /// Refused rows that still wait, per stream.
    pub rejected: Vec<RejectedRow>,
    /// Target tables with deletes that wait for the guard, and how many.
    pub pending_deletes: Vec<(TableName, u64)>,
    /// Owners of target tables in this store, of all pipelines.
    pub owners: Vec<Ownership>,
    /// What was made of the target tables of this pipeline.
    pub made: Vec<MadeTable>,
    /// Owner of the lease and the seconds until it expires, if somebody has it.
    pub holder: Option<(String, Duration)>,
}

impl PipelineState {
    /// How many deletes of a target table wait for the guard.
    pub fn pending_of(&self, target: &TableName) -> u64 {
        let mut tables = self.pending_deletes.iter();
        tables
            .find(|(name, _)| name == target)
            .map_or(0, |(_, count)| *count)
    }
}

/// The state of pipelines, kept in a store.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Creates or migrates `_syncset`. One round trip when it is up to date.
    ///
    /// # Errors
    /// `StateTooNew`, or `Privilege` naming the GRANT.
    async fn ensure(&self) -> Result<()>;

    /// Everything that is stored of a pipeline; constant round trips; empty if `_syncset` is not
    /// there. `run_count`: how many runs to return.
    async fn load(&self, key: &PipelineKey, run_count: u32) -> Result<PipelineState>;

    /// Takes the lease: at once if nobody has it or its owner's sessions are gone; after expiry
    /// by pushing the owner's sessions aside.
    ///
    /// # Errors
    /// `Locked` if an expired owner cannot be pushed aside; the hint says which right is missing.
    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseOutcome>;

    /// Extends the lease.
    ///
    /// # Errors
    /// `Fenced` if somebody else has it.
    async fn renew(&self, lease: &Lease) -> Result<()>;

    /// Gives the lease back; no error if it is gone.
    async fn release(&self, lease: &Lease) -> Result<()>;

    /// Takes the lease away from whoever has it, for `pipeline unlock`. Returns the owner.
    async fn unlock(&self, key: &PipelineKey) -> Result<Option<String>>;

    /// Stores low watermarks and chunks of loads, and claims their target tables, in one
    /// transaction under the fence. Replaces what a former load of the stream left, pending deletes
    /// included: the load finds every row that is gone.
    ///
    /// # Errors
    /// `TargetDiffers` if another pipeline owns a target table.
    async fn begin_load(&self, lease: &Lease, loads: &[LoadPlan]) -> Result<Vec<StreamState>>;

    /// Stores new positions of streams in which nothing changed, in one transaction under the
    /// fence: (stream, version, position).
    async fn move_idle(&self, lease: &Lease, moves: &[(String, u64, Position)]) -> Result<()>;

    /// Stores other selections of streams whose rows are right under them, in one transaction under
    /// the fence. Watermarks stay where they are.
    async fn retell(&self, lease: &Lease, retellings: &[Retelling]) -> Result<()>;

    /// When rows that are gone were looked for last, by streams that were searched: seconds since the
    /// epoch, by the clock of the runner. One round trip; empty if `_syncset` is not there.
    async fn searches(&self, key: &PipelineKey) -> Result<Vec<(String, i64)>>;

    /// Stores that rows that are gone were looked for in these streams, in one transaction under the
    /// fence.
    async fn store_searches(&self, lease: &Lease, streams: &[String], at: i64) -> Result<()>;

    /// Inserts or updates a run and drops what need not be kept, in one round trip. Returns how
    /// many refused rows were dropped.
    async fn record_run(&self, key: &PipelineKey, run: &RunRecord, keep: &Retention)
    -> Result<u64>;

    /// Forgets the watermarks of streams (all of them if `streams` is empty), so that the next run
    /// loads the tables again and compares keys: their selection becomes empty. Pending deletes are
    /// forgotten too. Target tables stay claimed and their rows are left alone. Returns the streams
    /// forgotten.
    async fn reset(&self, lease: &Lease, streams: &[String]) -> Result<Vec<String>>;

    /// Forgets everything that is stored of streams that left their pipeline, their claims on target
    /// tables included, in one transaction under the fence. The tables stay as they are, and are
    /// nobody's. A store that cannot do it says so with `Unsupported`.
    async fn forget(&self, lease: &Lease, streams: &[String]) -> Result<()> {
        let _ = (lease, streams);
        Err(ConnectorError::new(
            ErrorClass::Unsupported,
            "this store keeps what it knows of tables that left their pipeline",
        ))
    }

    /// Forgets refused rows, given by stream and key, in one transaction under the fence. What is
    /// at the target stays as it is.
    async fn forget_rejected(
        &self,
        lease: &Lease,
        rows: &[(String, serde_json::Value)],
    ) -> Result<()>;

    /// The runs of which rows are kept as they were, oldest first; none if `_syncset` is not there.
    async fn kept_runs(&self, key: &PipelineKey) -> Result<Vec<KeptRun>>;

    /// Rows that are kept of a run and lie behind a place, in the order of their places, at most so
    /// many.
    async fn kept_rows(
        &self,
        key: &PipelineKey,
        run_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<KeptRow>>;

    /// Gives all that is stored of one pipeline to another, in one transaction under the fences of
    /// both. The other one has neither streams nor refused rows; the caller has looked under its
    /// lease.
    async fn adopt(&self, from: &Lease, to: &Lease) -> Result<()>;
}
