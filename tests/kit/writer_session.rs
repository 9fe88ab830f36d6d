//! The session of a writer: how a transaction begins and ends at either kind of server.

use crate::MysqlDatabase;
use crate::postgres::raw;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sqlx::{Connection, Executor, PgConnection};

/// MySQL's number of a transaction that was given up because it and another waited for each other.
const DEADLOCK: u16 = 1213;

/// Where the table of a load is.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    /// A URL of PostgreSQL.
    Postgres(String),
    /// MySQL or MariaDB.
    Mysql(MysqlDatabase),
}

/// A statement was not executed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server has rolled the transaction back, as it may.
    Deadlock,
    /// It should not have been refused.
    #[expect(dead_code, reason = "it is printed by the test that it ends")]
    Other(String),
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Rollback,
}

impl End {
    fn sql(self) -> &'static str {
        match self {
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
        }
    }
}

/// One session.
#[derive(Debug)]
pub(crate) enum WriterSession {
    Postgres(PgConnection),
    Mysql(Conn),
}

impl WriterSession {
    /// # Panics
    /// If the server takes no connection.
    pub(crate) async fn connect(server: &Server) -> Self {
        match server {
            Server::Postgres(url) => {
                let session = PgConnection::connect(url).await;
                Self::Postgres(session.expect("a writer can connect"))
            }
            Server::Mysql(database) => Self::Mysql(database.connect().await),
        }
    }

    pub(crate) async fn execute(&mut self, sql: &str) -> Result<(), Refusal> {
        match self {
            Self::Postgres(session) => {
                let done = session.execute(raw(sql)).await;
                done.map(drop).map_err(|error| refused(&error, sql))
            }
            Self::Mysql(session) => session.query_drop(sql).await.map_err(|error| match error {
                mysql_async::Error::Server(error) if error.code == DEADLOCK => Refusal::Deadlock,
                error => refused(&error, sql),
            }),
        }
    }

    /// Begins a transaction; one with a name will be prepared.
    pub(crate) async fn begin(&mut self, prepared_as: Option<&str>) -> Result<(), Refusal> {
        match (&self, prepared_as) {
            (Self::Mysql(_), Some(name)) => self.execute(&format!("XA START '{name}'")).await,
            _ => self.execute("BEGIN").await,
        }
    }

    pub(crate) async fn end(&mut self, end: End) -> Result<(), Refusal> {
        self.execute(end.sql()).await
    }

    pub(crate) async fn prepare(&mut self, name: &str) -> Result<(), Refusal> {
        match self {
            Self::Postgres(_) => self.execute(&format!("PREPARE TRANSACTION '{name}'")).await,
            Self::Mysql(_) => {
                self.execute(&format!("XA END '{name}'")).await?;
                self.execute(&format!("XA PREPARE '{name}'")).await
            }
        }
    }

    pub(crate) async fn end_prepared(&mut self, name: &str, end: End) -> Result<(), Refusal> {
        let end = end.sql();
        match self {
            Self::Postgres(_) => self.execute(&format!("{end} PREPARED '{name}'")).await,
            Self::Mysql(_) => self.execute(&format!("XA {end} '{name}'")).await,
        }
    }

    /// Forgets a transaction that the server has given up.
    pub(crate) async fn forget(&mut self, prepared_as: Option<&str>) -> Result<(), Refusal> {
        match (&self, prepared_as) {
            (Self::Mysql(_), Some(name)) => {
                // A branch that was given up only waits for its end.
                let _ = self.execute(&format!("XA END '{name}'")).await;
                self.end_prepared(name, End::Rollback).await
            }
            _ => self.end(End::Rollback).await,
        }
    }

    /// Lets time pass at the server.
    pub(crate) async fn sleep(&mut self, ms: u64) -> Result<(), Refusal> {
        let sql = format!("SELECT {}", self.sleeping(ms));
        self.execute(&sql).await
    }

    /// The call that lets time pass.
    pub(crate) fn sleeping(&self, ms: u64) -> String {
        let function = match self {
            Self::Postgres(_) => "pg_sleep",
            Self::Mysql(_) => "SLEEP",
        };
        format!("{function}({ms} / 1000.0)")
    }
}

fn refused(error: &dyn std::error::Error, sql: &str) -> Refusal {
    Refusal::Other(format!("{error}\nin: {sql}"))
}
