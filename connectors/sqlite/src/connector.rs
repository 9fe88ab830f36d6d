//! The connector as the runner sees it.

use crate::cell::text;
use crate::connect::{Database, arguments, path_of};
use crate::describe;
use crate::lease::Leases;
use crate::read::SqliteSource;
use crate::state::SqliteState;
use crate::target::SqliteTarget;
use async_trait::async_trait;
use std::sync::Arc;
use syncset_connector::{
    Atomicity, Capabilities, Connector, ConnectorInfo, Diagnosis, Examination, OpenOptions, Result,
    Role, ServerInfo, SettingSchema, Settings, Source, StateStore, Store, Survey, TableDescription,
    TableEntry, TableName, Target, TargetColumn, TypeMapping,
};

static INFO: ConnectorInfo = ConnectorInfo {
    kind: "sqlite",
    schemes: &["sqlite"],
    settings: &[
        SettingSchema {
            name: "path",
            secret: false,
            about: "the database file; relative paths start at the project folder",
        },
        SettingSchema {
            name: "init",
            secret: false,
            about: "a file of SQL that makes the database when it does not exist",
        },
    ],
    capabilities: Capabilities {
        source: true,
        target: true,
        state: true,
        atomicity: Atomicity::RowsAndWatermark,
        transactional_ddl: true,
        share_snapshot: false,
        parallel_writes: false,
        statements: true,
        schemas: false,
        shows_writers: false,
        marks: true,
        hashes_rows: false,
        capture_modes: &["full", "hash", "cursor"],
    },
};

/// The connector.
pub const CONNECTOR: &dyn Connector = &SqliteConnector;

/// SQLite.
#[derive(Debug, Clone, Copy, Default)]
pub struct SqliteConnector;

#[async_trait]
impl Connector for SqliteConnector {
    fn info(&self) -> &'static ConnectorInfo {
        &INFO
    }

    fn type_samples(&self) -> Vec<TargetColumn> {
        crate::samples::columns()
    }

    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        crate::types::map(column).0
    }

    fn check_settings(&self, settings: &Settings) -> Vec<(String, String)> {
        let mut problems: Vec<(String, String)> = settings
            .values
            .keys()
            .filter(|key| !matches!(key.as_str(), "path" | "init" | "url" | "type"))
            .map(|key| {
                (
                    key.clone(),
                    "SQLite knows only `path`, `url` and `init`".to_owned(),
                )
            })
            .collect();
        if let Err(problem) = path_of(settings) {
            let key = if settings.value("url").is_some() {
                "url"
            } else {
                "path"
            };
            problems.push((key.to_owned(), problem));
        }
        problems
    }

    fn address(&self, settings: &Settings) -> Option<String> {
        Some(path_of(settings).ok()?.display().to_string())
    }

    async fn open(&self, settings: &Settings, options: &OpenOptions) -> Result<Box<dyn Store>> {
        let database = Database::open(settings, options).await?;
        let leases = Arc::new(Leases::default());
        Ok(Box::new(SqliteStore {
            role: options.role,
            source: SqliteSource::new(Arc::clone(&database)),
            target: SqliteTarget::new(Arc::clone(&database)),
            state: SqliteState::new(Arc::clone(&database), leases, options.lock_timeout),
            database,
        }))
    }

    async fn execute(&self, settings: &Settings, options: &OpenOptions, sql: &str) -> Result<()> {
        let database = Database::open(settings, options).await?;
        let mut session = database.writing_session().await?;
        let executed = session.run_all(sql, "running statements of yours").await;
        session.release();
        database.close().await;
        executed
    }
}

struct SqliteStore {
    database: Arc<Database>,
    role: Role,
    source: SqliteSource,
    target: SqliteTarget,
    state: SqliteState,
}

#[async_trait]
impl Store for SqliteStore {
    async fn server_info(&self) -> Result<ServerInfo> {
        let mut session = self.database.session().await?;
        let rows = session
            .rows(
                "SELECT sqlite_version(), journal_mode FROM pragma_journal_mode",
                arguments![],
                "asking for the version",
            )
            .await?;
        session.release();
        let value = |index| {
            rows.first()
                .and_then(|row| text(row, index))
                .unwrap_or_default()
        };
        let mut notes = Vec::new();
        if self.role == Role::Source && value(1) != "wal" {
            notes.push(format!(
                "journal_mode is `{}`: a long read makes writers wait; `PRAGMA journal_mode = wal` avoids that",
                value(1)
            ));
        }
        Ok(ServerInfo {
            product: format!("SQLite {}", value(0)),
            user: None,
            database: self.database.path.display().to_string(),
            encrypted: false,
            notes,
        })
    }

    async fn obstacle_to_writing(&self) -> Result<Option<String>> {
        Ok(crate::diagnose::obstacle_to_writing(&self.database.path))
    }

    async fn list_tables(&self) -> Result<Vec<TableEntry>> {
        let mut session = self.database.session().await?;
        let entries = describe::list(&mut session).await?;
        session.release();
        Ok(entries)
    }

    async fn describe(&self, tables: &[TableName]) -> Result<Vec<Option<TableDescription>>> {
        let mut session = self.database.session().await?;
        let described = describe::describe(&mut session, tables).await?;
        session.release();
        Ok(described)
    }

    async fn survey(&self, tables: &[TableName]) -> Result<Vec<Survey>> {
        let mut session = self.database.session().await?;
        let surveys = crate::survey::survey(&mut session, tables).await?;
        session.release();
        Ok(surveys)
    }

    async fn diagnose(&self, _: &Examination) -> Result<Diagnosis> {
        crate::diagnose::diagnose(&self.database, self.role).await
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(&self.source)
    }

    fn target(&self) -> Option<&dyn Target> {
        (self.role == Role::Target).then_some(&self.target as &dyn Target)
    }

    fn state(&self) -> Option<&dyn StateStore> {
        (self.role == Role::Target).then_some(&self.state as &dyn StateStore)
    }

    async fn close(self: Box<Self>) {
        self.state.release_all().await;
        self.database.close().await;
    }
}
