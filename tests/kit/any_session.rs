//! A session of a test at a database of any engine.

use crate::AnyDatabase;
use crate::postgres::send;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sqlx::{PgConnection, SqliteConnection};

/// A session of the test's own, which can hold locks.
#[derive(Debug)]
pub enum AnySession {
    /// One of PostgreSQL.
    Postgres(PgConnection),
    /// One of MySQL or MariaDB.
    Mysql(Conn),
    /// One of SQLite.
    Sqlite(SqliteConnection),
}

impl AnyDatabase {
    /// A session with all rights.
    pub async fn session(&self) -> AnySession {
        match self {
            Self::Postgres(database) => AnySession::Postgres(database.connect().await),
            Self::Mysql(database) => AnySession::Mysql(database.connect().await),
            Self::Sqlite(file, _) => AnySession::Sqlite(file.connect().await),
        }
    }
}

impl AnySession {
    /// Begins a transaction that writes.
    pub async fn begin(&mut self) {
        match self {
            Self::Postgres(_) | Self::Mysql(_) => self.execute("START TRANSACTION").await,
            // Otherwise it would lock at its first write only.
            Self::Sqlite(_) => self.execute("BEGIN IMMEDIATE").await,
        }
    }

    /// Runs a statement.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn execute(&mut self, sql: &str) {
        match self {
            Self::Postgres(session) => send(session, sql).await,
            Self::Mysql(session) => session
                .query_drop(sql)
                .await
                .unwrap_or_else(|error| panic!("{error}\nin: {sql}")),
            Self::Sqlite(session) => crate::sqlite::send(session, sql).await,
        }
    }
}
