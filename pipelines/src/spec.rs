//! What a project and a pipeline say, after reading: values with their places, nothing resolved
//! against a store yet.

use crate::guards::Guards;
use crate::plugin::{PluginSpec, TransformSetting};
use crate::problem::Place;
use crate::schema_setting::SchemaSetting;
use crate::stored::matches;
use crate::table_pattern::TablePattern;
use crate::template::Template;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use syncset_connector::{
    CaptureMode, ConnectorInfo, Mask, NullCursor, OnDelete, OnLossy, Settings, WriteMode, WrittenBy,
};

/// How long a lease lives without a heartbeat: long enough for a paused virtual machine, short
/// enough that a runner that lost its network does not hold up the next run of a five-minute cron.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(60);

/// How long records of runs are kept: long enough to compare with the same day of last month.
pub const KEEP_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long what past runs left is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Records of runs.
    pub runs: Duration,
    /// Rejected rows of tables that left the pipeline.
    pub rejected: Duration,
    /// Rows as they were before a repair or a revert.
    pub before_images: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            runs: KEEP_DEFAULT,
            rejected: KEEP_DEFAULT,
            before_images: KEEP_DEFAULT,
        }
    }
}

/// Rows of a table without a key that one run may rewrite: some hundred megabytes of log. More is
/// rather a table that should have a key, or a source that is not what it was.
pub const MAX_REWRITE_ROWS_DEFAULT: u64 = 1_000_000;

/// The project file, `syncset.yaml`.
#[derive(Debug, Clone)]
pub struct Project {
    /// Name of the project: part of the key of all state.
    pub name: String,
    /// Connections by name.
    pub connections: BTreeMap<String, ConnectionSpec>,
    /// Plugins by name.
    pub plugins: BTreeMap<String, PluginSpec>,
    /// How long a lease lives without a heartbeat.
    pub lease: Duration,
    /// How long what past runs left is kept.
    pub retention: Keep,
    /// The project folder: relative paths start here.
    pub base: PathBuf,
}

/// One connection with its values resolved. Its `Debug` shows no value.
#[derive(Debug, Clone)]
pub struct ConnectionSpec {
    /// Its name; `source` or `target` for one that is written inline.
    pub name: String,
    /// The connector's kind, such as `postgres`.
    pub kind: String,
    /// What is known of the connector.
    pub info: &'static ConnectorInfo,
    /// What the connector is given.
    pub settings: Settings,
    /// The file it is written in.
    pub path: String,
    /// Where it starts.
    pub place: Place,
    /// Where the value of each key is.
    pub places: BTreeMap<String, Place>,
    /// A replica of it, at which a check looks first.
    pub read_replica: Option<Box<ConnectionSpec>>,
}

impl ConnectionSpec {
    /// A problem at one of its keys, or at the connection if the key is absent.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> crate::Problem {
        let place = self.places.get(key).copied().unwrap_or(self.place);
        crate::Problem::at(&self.path, place, message)
    }
}

/// A pipeline file.
#[derive(Debug, Clone)]
pub struct PipelineSpec {
    /// Its name: the file's name without `.yaml`.
    pub name: String,
    /// The file as printed in problems.
    pub path: String,
    /// Where rows come from.
    pub source: ConnectionSpec,
    /// Where rows go.
    pub target: ConnectionSpec,
    /// The entries of `tables:` in the order of the file.
    pub tables: Vec<TableRule>,
    /// What a reader of the target sees together.
    pub consistency: Consistency,
    /// Tags, for `run --tag`.
    pub tags: Vec<String>,
    /// What a run does with a table whose selection was edited.
    pub on_selection_change: OnSelectionChange,
    /// What is run before and after, in the order in which it runs.
    pub hooks: Vec<Hook>,
    /// The plugins of the project, used or not: expressions may call functions of any.
    pub plugins: BTreeMap<String, PluginSpec>,
}

/// What a run does with a table whose selection was edited since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnSelectionChange {
    /// It loads the table again under the edited selection.
    #[default]
    Reload,
    /// It stops until a person agrees on the command line.
    Approve,
    /// It stops until the edit is undone, or another value is written here.
    Fail,
}

/// Something that is run before or after a pipeline.
#[derive(Debug, Clone)]
pub struct Hook {
    /// When it is run.
    pub when: HookWhen,
    /// What is run.
    pub action: HookAction,
    /// How long it may take.
    pub timeout: Duration,
    /// What it means when it fails.
    pub on_error: HookError,
    /// Where it is in the file.
    pub place: Place,
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookWhen {
    /// Before anything is written.
    Before,
    /// After a run with exit code 0.
    OnSuccess,
    /// After a run with any other exit code.
    OnFailure,
    /// After every run, last.
    After,
}

impl HookWhen {
    /// Its key in the file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::OnSuccess => "on_success",
            Self::OnFailure => "on_failure",
            Self::After => "after",
        }
    }
}

/// What a hook runs.
#[derive(Debug, Clone)]
pub enum HookAction {
    /// Statements in a session of their own.
    Sql {
        /// In the store's own dialect.
        text: String,
        /// The store.
        connection: ConnectionSpec,
    },
    /// A program with its arguments.
    Command(Vec<String>),
    /// A text for `sh -c`.
    Shell(String),
}

/// What it means when a hook fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookError {
    /// The run fails.
    Fail,
    /// The run goes on with a warning.
    Warn,
}

/// What a reader of the target sees together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The rows of one table.
    #[default]
    Table,
    /// The rows of all tables: the windows of a run are committed together.
    Pipeline,
}

/// One entry of `tables:`.
#[derive(Debug, Clone)]
pub struct TableRule {
    /// Which tables it is about.
    pub pattern: TablePattern,
    /// Where the pattern is.
    pub place: Place,
    /// What to do with them; `None` for `skip`.
    pub settings: Option<TableSettings>,
}

/// A name with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it is.
    pub place: Place,
}

impl Name {
    /// Whether the name, or the glob that it is, means a column.
    pub(crate) fn means(&self, column: &str) -> bool {
        matches(&self.text, column)
    }
}

/// The settings of a table, defaults included.
#[derive(Debug, Clone)]
pub struct TableSettings {
    /// Which columns.
    pub columns: ColumnChoice,
    /// Which rows.
    pub condition: Option<Condition>,
    /// What to do when the source cannot evaluate `where` exactly.
    pub pushdown: WherePushdown,
    /// Computed columns, in the order of the file: name and DataFusion SQL.
    pub derive: Vec<(Name, Name)>,
    /// What is written instead of values, in the order of the file.
    pub mask: Vec<MaskRule>,
    /// Plugins that rows go through, in the order of the file.
    pub transform: Vec<TransformSetting>,
    /// Names of the source and what they become at the target.
    pub rename: Vec<(Name, Name)>,
    /// Where rows go; `None`: the same name.
    pub to: Option<Template>,
    /// The key; `None`: the primary key.
    pub key: Option<(Vec<Name>, Place)>,
    /// How changes are found.
    pub capture: CaptureSetting,
    /// How rows are written.
    pub write: WriteSetting,
    /// What happens at the target to rows that are gone.
    pub on_delete: OnDelete,
    /// Rows of a table without a key that one run may delete and insert.
    pub max_rewrite_rows: u64,
    /// How many rows may be rejected before the table fails.
    pub max_rejects: u64,
    /// Exit code of a table that is done but has rejected rows: 0 or 3.
    pub rejects_exit: u8,
    /// What happens to values that the target cannot keep.
    pub on_lossy: LossySetting,
    /// What a run may delete without a person's word.
    pub guards: Guards,
    /// What a run does when the source's table changes.
    pub schema: SchemaSetting,
    /// What comes along with a table that is created.
    pub copy: CopySetting,
}

/// `copy:`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopySetting {
    /// Indexes that are not unique.
    pub indexes: bool,
    /// Foreign keys between tables of the pipeline.
    pub foreign_keys: bool,
    /// Comments of tables and columns.
    pub comments: bool,
}

/// One entry of `mask:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskRule {
    /// A name or glob of columns of the source, or the name of a computed column.
    pub columns: Name,
    /// What is written instead of their values.
    pub mask: Mask,
}

/// `on_lossy:`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossySetting {
    /// For columns that are not named.
    pub default: OnLossy,
    /// Columns by their names at the source or in `derive`.
    pub columns: Vec<(Name, OnLossy)>,
}

/// `write:` as written; checked against the table when the plan is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteSetting {
    /// The mode; `None` if the file does not say.
    pub mode: Option<WriteMode>,
    /// Where it is; of the table's entry if it is not written.
    pub place: Place,
    /// Where `on_delete` is; of the table's entry if it is not written.
    pub on_delete_place: Place,
    /// The column that says when a row was last written.
    pub synced_at: Option<Name>,
}

/// Which columns of a table are selected. Entries are names or globs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnChoice {
    /// All of them.
    All,
    /// These, in this order.
    Only(Vec<Name>),
    /// All but these.
    Except(Vec<Name>),
}

/// Which rows of a table are selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// DataFusion SQL over the table's own columns.
    Sql(Name),
    /// Text in the source's own dialect.
    SourceSql(Name),
}

/// What to do when the source cannot evaluate `where` with the same meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WherePushdown {
    /// Refuse the plan.
    #[default]
    Exact,
    /// Read more rows and drop the unselected ones here.
    BestEffort,
}

/// `capture:` as written; checked against the table when the plan is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSetting {
    /// The mode.
    pub mode: CaptureMode,
    /// True if the file does not say, so the default was taken.
    pub by_default: bool,
    /// Where it is; of the table's entry if it is not written.
    pub place: Place,
    /// The cursor column; always there for `cursor`.
    pub column: Option<Name>,
    /// Who stamps it.
    pub written_by: Option<(WrittenBy, Place)>,
    /// How far below the watermark windows start.
    pub overlap: Option<(OverlapSetting, Place)>,
    /// Zone of a zone-less time column.
    pub zone: Option<Name>,
    /// What to do with NULL cursors; `None`: not said.
    pub null_cursor: Option<NullCursor>,
    /// How rows that are gone are looked for; `None`: they are not.
    pub find_deletes: Option<FindDeletes>,
}

/// `find_deletes:` as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindDeletes {
    /// How long after a search the next one is due.
    pub every: Duration,
    /// Where it is.
    pub place: Place,
}

/// An overlap as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlapSetting {
    /// `10m`
    Time(Duration),
    /// `1000`: units of an integer cursor.
    Units(u64),
}
