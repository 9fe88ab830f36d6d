//! The contract between syncset and the stores it reads and writes.
//!
//! A connector crate implements [`Connector`] and, for what it can do, [`Source`], [`Target`] and
//! [`StateStore`]. The runner knows nothing else about a store. This crate knows Arrow; it never
//! knows a driver, DataFusion or an async runtime.
//!
//! Order of calls in one run: `open`, `describe`, `prepare`, then per table either a first load
//! (`low_positions`, `boundaries`, chunks in units, one settling window) or a window of changes;
//! each unit goes to the target in a transaction of its own that also stores its watermark.

mod alteration;
mod blocker;
mod change;
mod comments;
mod connector;
mod cursor;
mod diagnose;
mod error;
mod facts;
mod fail_point;
mod hashing;
mod holds;
mod images;
mod index;
mod key;
mod marks;
mod mask;
mod predicate;
mod secret;
mod source;
pub mod special;
mod state;
mod survey;
mod table;
mod target;

pub use alteration::{
    AlterationPlan, Blocked, HeldRows, PlannedStatement, TableAlteration, TableChange, TableCopy,
};
pub use blocker::{
    Blocker, left_as_it_is, refuse_for, refuse_unexpected, rows_not_told_apart, table_gone,
};
pub use change::{ChangeEvent, ChangeStream, Position, PositionOrder};
pub use comments::{CommentChange, Comments};
pub use connector::{
    Atomicity, BoxError, Capabilities, Connector, ConnectorInfo, OpenOptions, Role, ServerInfo,
    SettingSchema, Settings, Store, TableEntry,
};
pub use cursor::{INTEGER_OVERLAP, integer_overlap, integer_step, smallest_local, zone_of};
pub use diagnose::{Check, CheckStatus, Diagnosis, Examination};
pub use error::{Advice, ConnectorError, ErrorClass, Result};
pub use facts::{ColumnFacts, TableFacts};
pub use fail_point::fail_point;
pub use hashing::{
    CANONICAL_HASH, HASH_COLUMN, HashFacts, HashRequest, Ordinal, PartHash, Parts, RowHash,
    ValueForm,
};
pub use holds::{Calendar, Domain, Holds, OnLossy, Repertoire, Test, TextDomain};
pub use images::{KeptRow, KeptRun, PutBack, RowImage, ShownValue, ShownWrite};
pub use index::{IndexKind, MadeIndex, ReleasedKeys, TargetIndex};
pub use key::{KeyBound, KeyRange};
pub use marks::Marks;
pub use mask::{DateUnit, FakeKind, Mask, MaskKey};
pub use predicate::{Comparison, Literal, Predicate};
pub use secret::Secret;
pub use source::{
    BatchStream, Capture, CaptureMode, CursorSpec, Digest, Filter, KeyDigest, LogPosition,
    NullCursor, Overlap, ReadPlan, Snapshot, SnapshotRequest, SnapshotToken, Source, TableRead,
    Window, WindowState, Windows, WrittenBy,
};
pub use state::{
    CLOCK_SLACK_SECONDS, ChangedBy, ChunkState, Lease, LeaseOutcome, LeaseRequest, LoadPlan,
    MadeColumn, MadeTable, Ownership, PARTIAL_RUNS, PipelineKey, PipelineState, RejectedRow,
    Retelling, Retention, RunRecord, SchemaVersion, StateStore, StreamPhase, StreamState,
};
pub use survey::Survey;
pub use table::{
    Column, ForeignKey, Generated, IndexForm, NativeType, PlainIndex, TableDescription, TableKind,
    TableName, TypeDefinition, UniqueKey,
};
pub use target::{
    About, Difference, Exactness, OnDelete, Receipt, Rejection, ReplaceRules, Replaced, Target,
    TargetColumn, TargetStatus, TargetTable, TypeMapping, UnitStart, UnitStep, UnitWriter,
    WatermarkMove, WriteMode,
};
