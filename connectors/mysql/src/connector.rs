//! The connectors as the registry sees them, and what an opened store answers by itself.

use crate::connect::{Config, MysqlStore, SETTINGS};
use crate::types::Flavour;
use async_trait::async_trait;
use syncset_connector::{
    Atomicity, Capabilities, Connector, ConnectorError, ConnectorInfo, Diagnosis, ErrorClass,
    Examination, OpenOptions, Result, ServerInfo, Settings, Source, StateStore, Store, Survey,
    TableDescription, TableEntry, TableName, Target, TargetColumn, TypeMapping,
};

/// The connector of `type: mysql`.
pub const MYSQL: &dyn Connector = &MysqlConnector { info: &MYSQL_INFO };

/// The connector of `type: mariadb`. Both open either server.
pub const MARIADB: &dyn Connector = &MysqlConnector {
    info: &MARIADB_INFO,
};

const CAPABILITIES: Capabilities = Capabilities {
    source: true,
    target: true,
    state: true,
    atomicity: Atomicity::RowsAndWatermark,
    transactional_ddl: false,
    share_snapshot: false,
    parallel_writes: true,
    statements: true,
    schemas: false,
    shows_writers: true,
    marks: true,
    hashes_rows: false,
    capture_modes: &["full", "hash", "cursor"],
};

static MYSQL_INFO: ConnectorInfo = ConnectorInfo {
    kind: "mysql",
    schemes: &["mysql"],
    settings: SETTINGS,
    capabilities: CAPABILITIES,
};

static MARIADB_INFO: ConnectorInfo = ConnectorInfo {
    kind: "mariadb",
    schemes: &["mariadb"],
    settings: SETTINGS,
    capabilities: CAPABILITIES,
};

struct MysqlConnector {
    info: &'static ConnectorInfo,
}

#[async_trait]
impl Connector for MysqlConnector {
    fn info(&self) -> &'static ConnectorInfo {
        self.info
    }

    fn type_samples(&self) -> Vec<TargetColumn> {
        crate::samples::columns(self.info.kind)
    }

    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        let flavour = match self.info.kind {
            "mariadb" => Flavour::MariaDb,
            _ => Flavour::MySql,
        };
        crate::type_mapping::map_type(column, flavour)
    }

    fn check_settings(&self, settings: &Settings) -> Vec<(String, String)> {
        Config::read(settings).err().unwrap_or_default()
    }

    fn address(&self, settings: &Settings) -> Option<String> {
        Some(Config::read(settings).ok()?.address())
    }

    async fn open(&self, settings: &Settings, options: &OpenOptions) -> Result<Box<dyn Store>> {
        let store = MysqlStore::open(read_config(settings)?, options.clone()).await?;
        Ok(Box::new(store))
    }

    async fn execute(&self, settings: &Settings, options: &OpenOptions, sql: &str) -> Result<()> {
        let store = MysqlStore::open(read_config(settings)?, options.clone()).await?;
        let executed = async {
            let mut session = store.control().await?;
            // The user's own statements mean what they mean in the user's own sessions.
            session
                .execute("SET SESSION sql_mode = @@GLOBAL.sql_mode, time_zone = @@GLOBAL.time_zone")
                .await?;
            session.execute_each(sql).await
        }
        .await;
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
impl Store for MysqlStore {
    async fn server_info(&self) -> Result<ServerInfo> {
        // Asked anew, so that `connection test` notices a link that was lost since.
        self.control().await?.rows("SELECT 1").await?;
        let facts = self.facts();
        let mut notes = Vec::new();
        if facts.read_only {
            notes.push("the server is read-only, as replicas are".to_owned());
        }
        if facts.is_cluster {
            notes.push("the server is a member of a cluster".to_owned());
        }
        Ok(ServerInfo {
            product: facts.product(),
            user: Some(facts.user.clone()),
            database: facts.database.clone(),
            encrypted: facts.encrypted,
            notes,
        })
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

    fn quoted(&self, table: &TableName) -> String {
        crate::sql::table(table)
    }

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
        MysqlStore::close(*self).await;
    }
}
