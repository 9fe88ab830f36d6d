//! A session of a test at a database of any engine.

use crate::AnyDatabase;
use crate::postgres::send;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sqlx::{Executor, PgConnection, SqliteConnection};

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

    /// Makes its statements wait for locks no longer than about a second.
    pub async fn wait_shortly(&mut self) {
        self.execute(match self {
            Self::Postgres(_) => "SET lock_timeout = '500ms'",
            Self::Mysql(_) => "SET innodb_lock_wait_timeout = 1",
            Self::Sqlite(_) => "PRAGMA busy_timeout = 500",
        })
        .await;
    }

    /// Runs a statement; the words of whoever refuses it.
    pub async fn try_execute(&mut self, sql: &str) -> Result<(), String> {
        match self {
            Self::Postgres(session) => {
                let done = session.execute(crate::postgres::raw(sql)).await;
                done.map(drop).map_err(|error| error.to_string())
            }
            Self::Mysql(session) => {
                let done = session.query_drop(sql).await;
                done.map_err(|error| error.to_string())
            }
            Self::Sqlite(session) => {
                let done = session.execute(crate::postgres::raw(sql)).await;
                done.map(drop).map_err(|error| error.to_string())
            }
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
