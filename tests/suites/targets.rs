//! A target of either kind.

use kit::{Database, MysqlDatabase, MysqlServer, Place, SqliteFile};

/// Where rows go. The state goes with them, so a new target is a new first load.
pub(crate) enum Target {
    Postgres(Database),
    Mysql(MysqlDatabase),
    Sqlite(
        SqliteFile,
        #[expect(dead_code, reason = "keeps the folder")] tempfile::TempDir,
    ),
}

impl Target {
    pub(crate) async fn postgres() -> Self {
        Self::Postgres(kit::postgres().await.database("any_target").await)
    }

    /// A database of MySQL or MariaDB.
    pub(crate) async fn mysql(server: &'static MysqlServer) -> Self {
        Self::Mysql(server.database("any_target").await)
    }

    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::Sqlite(SqliteFile::new(folder.path().join("target.db")), folder)
    }

    /// An empty target of the same kind.
    pub(crate) async fn another(&self) -> Self {
        match self {
            Self::Postgres(_) => Self::postgres().await,
            Self::Mysql(database) => Self::mysql(MysqlServer::shared(database.flavour())).await,
            Self::Sqlite(..) => Self::sqlite(),
        }
    }

    pub(crate) fn place(&self) -> Place<'_> {
        match self {
            Self::Postgres(database) => database.into(),
            Self::Mysql(database) => database.into(),
            Self::Sqlite(file, _) => file.into(),
        }
    }

    /// What is written differently with schemas and without.
    pub(crate) fn pick<'a>(&self, postgres: &'a str, sqlite: &'a str) -> &'a str {
        match self {
            Self::Postgres(_) => postgres,
            Self::Mysql(_) | Self::Sqlite(..) => sqlite,
        }
    }

    /// What each kind of store writes in its own way.
    pub(crate) fn own<'a>(&self, postgres: &'a str, sqlite: &'a str, mysql: &'a str) -> &'a str {
        match self {
            Self::Postgres(_) => postgres,
            Self::Sqlite(..) => sqlite,
            Self::Mysql(_) => mysql,
        }
    }

    /// The name of a table of the state.
    pub(crate) fn state_table(&self, table: &str) -> String {
        match self {
            Self::Postgres(_) => format!("_syncset.{table}"),
            Self::Mysql(_) | Self::Sqlite(..) => format!("_syncset_{table}"),
        }
    }
}
