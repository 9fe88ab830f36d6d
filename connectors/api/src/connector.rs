//! What a connector is, and how a store is opened.

use crate::{
    ConnectorError, Diagnosis, Exactness, Examination, Result, Secret, Source, StateStore, Survey,
    TableDescription, TableKind, TableName, Target, TargetColumn, TypeMapping,
};
use async_trait::async_trait;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A boxed error, as drivers give them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One key of a connection in `syncset.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSchema {
    /// The key.
    pub name: &'static str,
    /// True if its value must never be printed.
    pub secret: bool,
    /// One line for the documentation.
    pub about: &'static str,
}

/// What a connector can do; `validate` and `plan` refuse what it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It can be read.
    pub source: bool,
    /// It can be written.
    pub target: bool,
    /// It can keep `_syncset` state.
    pub state: bool,
    /// How the rows and the watermark of a unit are committed.
    pub atomicity: Atomicity,
    /// DDL can be rolled back.
    pub transactional_ddl: bool,
    /// Several sessions can read one snapshot.
    pub share_snapshot: bool,
    /// Several units can be written at the same time.
    pub parallel_writes: bool,
    /// It runs statements of the user's own, for hooks.
    pub statements: bool,
    /// Tables live in schemas.
    pub schemas: bool,
    /// It shows which transactions are open, so that a stamp of its own clock has a bound.
    pub shows_writers: bool,
    /// As a target it fills the columns of [`Marks`](crate::Marks) itself.
    pub marks: bool,
    /// Its servers hash rows where they are, all of them alike.
    pub hashes_rows: bool,
    /// Capture modes it offers, by their names in the config file.
    pub capture_modes: &'static [&'static str],
}

/// What one commit of a target covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Atomicity {
    /// Rows and watermark together.
    RowsAndWatermark,
    /// One request; the watermark follows.
    OneRequest,
    /// Nothing.
    None,
}

/// What is known of a connector without opening anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorInfo {
    /// The value of `type:` in the config file, such as `postgres`.
    pub kind: &'static str,
    /// URL schemes that mean this connector, such as `postgres` and `postgresql`.
    pub schemes: &'static [&'static str],
    /// The keys it takes, besides `type` and `url`.
    pub settings: &'static [SettingSchema],
    /// What it can do.
    pub capabilities: Capabilities,
}

/// A connection of the config file with its values resolved. `url` is one of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the connection, for messages.
    pub name: String,
    /// Key to value. All values are treated as secret: any of them may come from the environment.
    pub values: BTreeMap<String, Secret<String>>,
    /// Folder that relative paths start at.
    pub base: std::path::PathBuf,
}

impl Settings {
    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.expose().as_str())
    }
}

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    Source,
    /// Written, and keeps the state.
    Target,
}

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// What for. Sessions of a source are read-only.
    pub role: Role,
    /// Shown to administrators of the server: `syncset:<project>/<pipeline>`.
    pub application: String,
    /// Sessions at most, the control session not counted.
    pub sessions_max: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for a lock of the store.
    pub lock_timeout: Duration,
    /// Longest time for one statement; zero: no limit.
    pub statement_timeout: Duration,
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerInfo {
    /// Product and version, such as `PostgreSQL 15.18`.
    pub product: String,
    /// The user we are.
    pub user: Option<String>,
    /// The database, or the file.
    pub database: String,
    /// Whether the link is encrypted.
    pub encrypted: bool,
    /// Things worth knowing: a standby, a pooler, statistics that are hidden.
    pub notes: Vec<String>,
}

/// A table or view that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableEntry {
    /// Its name.
    pub name: TableName,
    /// What it is.
    #[serde(skip)]
    pub kind: TableKind,
}

/// A kind of store.
#[async_trait]
pub trait Connector: Send + Sync {
    /// What is known without opening anything.
    fn info(&self) -> &'static ConnectorInfo;

    /// One column of each type this store has, for the table that `syncset types` prints.
    fn type_samples(&self) -> Vec<TargetColumn> {
        Vec::new()
    }

    /// What a column becomes here, as [`Target::map_type`] says. Pure.
    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        TypeMapping {
            native: column.data_type.to_string(),
            exactness: Exactness::Refused,
            note: Some("this store cannot be written".into()),
            stops_table: false,
        }
    }

    /// Checks the settings of one connection; no I/O. Returns every problem as (key, sentence).
    fn check_settings(&self, settings: &Settings) -> Vec<(String, String)>;

    /// Where the settings lead, for people: `sync@db1:5432/crm`, or a path. Never a password;
    /// `None` for settings that are wrong. No I/O.
    fn address(&self, settings: &Settings) -> Option<String>;

    /// Connects: one session, one round trip after the handshake. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorClass::Config`](crate::ErrorClass), `Connection` or `Authentication`.
    async fn open(&self, settings: &Settings, options: &OpenOptions) -> Result<Box<dyn Store>>;

    /// Runs statements of the user's own in a session of their own that may write, each committed
    /// as the store does by itself; rows they return are thrown away. `options.statement_timeout`
    /// ends what takes longer. Dropping the future ends the session.
    ///
    /// # Errors
    /// What the store says, and `Unsupported` if `statements` is not among its capabilities.
    async fn execute(&self, settings: &Settings, options: &OpenOptions, sql: &str) -> Result<()> {
        let _ = (options, sql);
        Err(ConnectorError::new(
            crate::ErrorClass::Unsupported,
            format!("`{}` runs no statements", settings.name),
        ))
    }
}

/// One connection of the config file, opened. Owns its sessions; safe to share between tasks.
#[async_trait]
pub trait Store: Send + Sync {
    /// Asks the server who it is.
    async fn server_info(&self) -> Result<ServerInfo>;

    /// Why nothing could be written here, as far as it is seen without trying; `None` if nothing
    /// is known that stands in the way of a target. Changes nothing.
    async fn obstacle_to_writing(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// All tables and views of the user's own schemas, sorted by name. System and `_syncset`
    /// tables are left out.
    async fn list_tables(&self) -> Result<Vec<TableEntry>>;

    /// Describes tables in a constant number of round trips. `None`: no such table.
    async fn describe(&self, tables: &[TableName]) -> Result<Vec<Option<TableDescription>>>;

    /// What setting up a pipeline wants to know besides, in the order of `tables` and in a constant
    /// number of round trips.
    async fn survey(&self, tables: &[TableName]) -> Result<Vec<Survey>>;

    /// Looks for everything that stands between a pipeline and this store, and says what mends it.
    /// Changes nothing; a constant number of round trips.
    ///
    /// # Errors
    /// Only if the store cannot be asked.
    async fn diagnose(&self, examination: &Examination) -> Result<Diagnosis>;

    /// A table's name as SQL of this store spells it: by default in double quotes.
    fn quoted(&self, table: &TableName) -> String {
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let parts = table.schema.iter().chain([&table.name]);
        parts.map(quoted).collect::<Vec<_>>().join(".")
    }

    /// The reading side, if it has one.
    fn source(&self) -> Option<&dyn Source>;

    /// The writing side, if it has one.
    fn target(&self) -> Option<&dyn Target>;

    /// The state, if it can keep it.
    fn state(&self) -> Option<&dyn StateStore>;

    /// Closes its sessions in an orderly way. Dropping a store drops its links.
    async fn close(self: Box<Self>);
}

impl From<BoxError> for ConnectorError {
    fn from(cause: BoxError) -> Self {
        Self::new(crate::ErrorClass::Store, "the store reported an error").caused_by(cause)
    }
}
