//! The connector as the registry sees it, and what an opened store answers by itself.

use crate::connect::{Config, PgStore, SETTINGS};
use async_trait::async_trait;
use syncset_connector::{
    Atomicity, Capabilities, Connector, ConnectorError, ConnectorInfo, Diagnosis, ErrorClass,
    Examination, OpenOptions, Result, ServerInfo, Settings, Source, StateStore, Store, Survey,
    TableDescription, TableEntry, TableName, Target, TargetColumn, TypeMapping,
};

/// The PostgreSQL connector.
pub const CONNECTOR: &dyn Connector = &PostgresConnector;

/// What a pooler between us and a server means for the user.
pub(crate) const POOLER_NOTE: &str = "a connection pooler stands before the server: sessions do \
    not tell whether a run has died, so its lease has to expire before the next one begins";

/// Oldest server that is known to work.
const VERSION_NUM_MIN: u32 = 120_000;

const INFO: ConnectorInfo = ConnectorInfo {
    kind: "postgres",
    schemes: &["postgres", "postgresql"],
    settings: SETTINGS,
    capabilities: Capabilities {
        source: true,
        target: true,
        state: true,
        atomicity: Atomicity::RowsAndWatermark,
        transactional_ddl: true,
        share_snapshot: true,
        parallel_writes: true,
        statements: true,
        schemas: true,
        shows_writers: true,
        marks: true,
        hashes_rows: true,
        capture_modes: &["full", "hash", "cursor", "xmin"],
    },
};

struct PostgresConnector;

#[async_trait]
impl Connector for PostgresConnector {
    fn info(&self) -> &'static ConnectorInfo {
        &INFO
    }

    fn type_samples(&self) -> Vec<TargetColumn> {
        crate::samples::columns()
    }

    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        crate::ddl::map_type(column)
    }

    fn check_settings(&self, settings: &Settings) -> Vec<(String, String)> {
        Config::read(settings).err().unwrap_or_default()
    }

    fn address(&self, settings: &Settings) -> Option<String> {
        Some(Config::read(settings).ok()?.address())
    }

    async fn open(&self, settings: &Settings, options: &OpenOptions) -> Result<Box<dyn Store>> {
        let store = PgStore::open(read_config(settings)?, options.clone()).await?;
        let facts = store.facts();
        if facts.version_num < VERSION_NUM_MIN {
            return Err(ConnectorError::new(
                ErrorClass::Unsupported,
                format!(
                    "the server is PostgreSQL {}, which is too old",
                    facts.version
                ),
            )
            .with_hint(format!(
                "use PostgreSQL {} or newer",
                VERSION_NUM_MIN / 10_000
            )));
        }
        Ok(Box::new(store))
    }

    async fn execute(&self, settings: &Settings, options: &OpenOptions, sql: &str) -> Result<()> {
        let store = PgStore::open(read_config(settings)?, options.clone()).await?;
        let executed = store.control().await?.execute(sql).await;
        store.close().await;
        executed.map(drop)
    }
}

fn read_config(settings: &Settings) -> Result<Config> {
    Config::read(settings).map_err(|problems| {
        let sentences: Vec<_> = problems.into_iter().map(|(_, sentence)| sentence).collect();
        ConnectorError::new(ErrorClass::Config, sentences.join("; "))
    })
}

#[async_trait]
impl Store for PgStore {
    async fn server_info(&self) -> Result<ServerInfo> {
        // Asked anew, so that `connection test` notices a link that was lost since.
        self.control().await?.execute("SELECT 1").await?;
        let facts = self.facts();
        let mut notes = Vec::new();
        if facts.is_standby {
            notes.push("the server is a standby".to_owned());
        }
        if self.likely_pooler() {
            notes.push(POOLER_NOTE.to_owned());
        }
        if !facts.reads_all_stats {
            notes.push(
                "sessions of other users are hidden; GRANT pg_read_all_stats shows them".to_owned(),
            );
        }
        if !facts.is_utf8() {
            notes.push(format!(
                "the database's encoding is {}",
                facts.server_encoding
            ));
        }
        if facts.system_identifier.is_none() {
            notes.push(
                "the cluster's number is hidden, so that a restored server is not recognised; \
                 GRANT EXECUTE ON FUNCTION pg_control_system() shows it"
                    .to_owned(),
            );
        }
        Ok(ServerInfo {
            product: format!("PostgreSQL {}", facts.version),
            user: Some(facts.user.clone()),
            database: facts.database.clone(),
            encrypted: facts.encrypted,
            notes,
        })
    }

    async fn obstacle_to_writing(&self) -> Result<Option<String>> {
        crate::diagnose::obstacle_to_writing(self).await
    }

    async fn list_tables(&self) -> Result<Vec<TableEntry>> {
        crate::describe::list_tables(self).await
    }

    async fn describe(&self, tables: &[TableName]) -> Result<Vec<Option<TableDescription>>> {
        crate::describe::describe(self, tables).await
    }

    async fn survey(&self, tables: &[TableName]) -> Result<Vec<Survey>> {
        crate::survey::survey(self, tables).await
    }

    async fn diagnose(&self, examination: &Examination) -> Result<Diagnosis> {
        crate::diagnose::diagnose(self, examination).await
    }

    // Each of the three becomes `Some(self)` with the module that implements it.
    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }

    fn state(&self) -> Option<&dyn StateStore> {
        Some(self)
    }

    async fn close(self: Box<Self>) {
        PgStore::close(*self).await;
    }
}
