//! PostgreSQL servers and databases for tests.
//!
//! [`postgres`] is the server that all tests of a process share; a test that restarts a server or
//! changes its configuration starts one of its own with [`PostgresServer::start_own`].

use crate::Database;
use crate::cluster::Cluster;
pub use crate::cluster::StopMode;
use crate::statement_log::{LoggedStatement, parse_statements};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, ValueRef};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use url::Url;

/// Environment variable with the URL of a server to use instead of a throw-away cluster. Its user
/// must be a superuser; other roles must have to give their password; it needs
/// `max_prepared_transactions`, `wal_level = logical` and some hundred connections. Tests that stop
/// a server, read its log or set it up in their own way start one of their own all the same.
const SERVER_VARIABLE: &str = "SYNCSET_TEST_POSTGRES";

static SHARED: OnceLock<PostgresServer> = OnceLock::new();

/// Numbers databases, so that names are unique within this process.
static DATABASE_NUMBER: AtomicU32 = AtomicU32::new(0);

/// The server that all tests of this process share: started on first use, stopped and removed
/// when the process ends, however it ends.
///
/// Started with `max_connections = 300`, `max_prepared_transactions = 64`, `wal_level = logical`,
/// `fsync = off`. Role `postgres` needs no password, other roles do.
pub async fn postgres() -> &'static PostgresServer {
    SHARED.get_or_init(|| match std::env::var(SERVER_VARIABLE) {
        Ok(url) => PostgresServer {
            url: Url::parse(&url).expect("SYNCSET_TEST_POSTGRES is a URL"),
            cluster: None,
        },
        Err(_) => PostgresServer::start_own(""),
    })
}

/// The same, or one of the kit's own where tests were given another server: what they read of its
/// log, and which files they see, is only known of ours.
pub async fn own_postgres() -> &'static PostgresServer {
    static OWN: OnceLock<PostgresServer> = OnceLock::new();
    let shared = postgres().await;
    match shared.cluster {
        Some(_) => shared,
        None => OWN.get_or_init(|| PostgresServer::start_own("")),
    }
}

/// A PostgreSQL server.
#[derive(Debug)]
pub struct PostgresServer {
    url: Url,
    cluster: Option<Cluster>,
}

impl PostgresServer {
    /// Starts a cluster of the test's own; `config` holds lines for `postgresql.conf`. It stops
    /// when the value is dropped.
    pub fn start_own(config: &str) -> Self {
        Self::of(Cluster::start(config))
    }

    /// Starts a streaming standby of this server, which must be one of the test's own.
    pub fn start_standby(&self, config: &str) -> Self {
        Self::of(Cluster::standby_of(self.cluster(), config))
    }

    fn of(cluster: Cluster) -> Self {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
        Self {
            url: Url::parse(&url).expect("a URL made of a port is valid"),
            cluster: Some(cluster),
        }
    }

    /// Makes a standby a primary of its own.
    pub fn promote(&self) {
        self.cluster().promote();
    }

    /// Waits until this standby has replayed everything that `primary` has written.
    pub async fn caught_up_with(&self, primary: &Self) {
        let lsn = value_at(primary.url(), "SELECT pg_current_wal_insert_lsn()").await;
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
        let replayed = async || value_at(self.url(), &sql).await == "t";
        crate::eventually("the standby has replayed everything", replayed).await;
    }

    /// Host of the server.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or("127.0.0.1")
    }

    /// TCP port of the server.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(5432)
    }

    /// Folder of the unix socket; `None` for a server that is not ours.
    pub fn socket_folder(&self) -> Option<&Path> {
        self.cluster.as_ref().map(Cluster::folder)
    }

    /// URL of its database `postgres`.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Creates an empty database with a name of its own that starts with `prefix`.
    pub async fn database(&self, prefix: &str) -> Database {
        let number = DATABASE_NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}_{}_{number}", std::process::id());
        execute_at(self.url(), &format!("CREATE DATABASE \"{name}\"")).await;
        Database::existing(name, &self.url)
    }

    pub(crate) fn existing_database(&self, name: &str) -> Database {
        Database::existing(name.to_owned(), &self.url)
    }

    /// Runs statements in its database `postgres`.
    ///
    /// # Panics
    /// If the server refuses one.
    pub async fn execute(&self, sql: &str) {
        execute_at(self.url(), sql).await;
    }

    /// Appends lines to `postgresql.conf` and restarts the server in an orderly way.
    pub fn configure(&self, config: &str) {
        self.cluster().append_config(&format!("{config}\n"));
        self.restart(StopMode::Fast);
    }

    /// Stops the server.
    pub fn stop(&self, mode: StopMode) {
        self.cluster().stop(mode);
    }

    /// Starts the stopped server, on the same port.
    pub fn start(&self) {
        self.cluster().start_again();
    }

    /// Stops it, puts its log of changes into an empty folder, starts it.
    pub fn move_wal_to(&self, folder: &Path) {
        self.stop(StopMode::Fast);
        self.cluster().move_wal_to(folder);
        self.start();
    }

    /// Starts it, if it does not run, until it takes sessions.
    pub async fn recover(&self) {
        crate::eventually("the server takes sessions again", async || {
            let started = self.cluster().start_if_stopped();
            started.is_ok() && PgConnection::connect(self.url()).await.is_ok()
        })
        .await;
    }

    /// Stops and starts it.
    pub fn restart(&self, mode: StopMode) {
        self.stop(mode);
        self.start();
    }

    /// Keeps a copy of the server's files as they are.
    pub fn save(&self) {
        self.stop(StopMode::Fast);
        self.cluster().save();
        self.start();
    }

    /// Goes back to what [`save`](Self::save) has kept, as a restored file system does.
    pub fn restore(&self) {
        self.stop(StopMode::Immediate);
        self.cluster().restore();
        self.start();
    }

    /// Lets the 32 bits of transaction numbers wrap around, up to this epoch.
    pub fn wrap_transaction_numbers(&self, epoch: u32) {
        self.stop(StopMode::Fast);
        self.cluster().reset_wal(["-e", &epoch.to_string()]);
        self.start();
    }

    /// Makes this the next transaction. Only for a server without databases of its own.
    pub async fn start_transactions_at(&self, number: u32) {
        for name in ["postgres", "template1"] {
            let mut url = self.url.clone();
            url.set_path(name);
            execute_at(url.as_str(), "VACUUM (FREEZE)").await;
        }
        self.stop(StopMode::Fast);
        self.cluster().make_transaction_file(number);
        let oldest = number.saturating_sub(1_000).to_string();
        self.cluster()
            .reset_wal(["-x", &number.to_string(), "-u", &oldest]);
        self.start();
    }

    /// Everything the server has logged.
    pub fn log(&self) -> String {
        self.cluster().log()
    }

    /// Texts of the statements that sessions of this database have sent since
    /// [`Database::log_statements`] was called.
    pub fn statements_seen(&self, database: &Database) -> Vec<String> {
        self.statement_log(database)
            .into_iter()
            .map(|statement| statement.text)
            .collect()
    }

    /// As [`statements_seen`](Self::statements_seen), with who sent them.
    pub fn statement_log(&self, database: &Database) -> Vec<LoggedStatement> {
        parse_statements(&self.log(), database.name())
    }

    fn cluster(&self) -> &Cluster {
        self.cluster
            .as_ref()
            .expect("only a server that the kit started can be stopped, configured or read")
    }
}

/// Sends statements on a session of the test's own.
///
/// # Panics
/// If one of them fails.
pub async fn send(session: &mut PgConnection, sql: &str) {
    session
        .execute(raw(sql))
        .await
        .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
}

/// Rows of a query in this session, as the text forms of the server.
///
/// # Panics
/// If the server refuses the query.
pub async fn rows_of(session: &mut PgConnection, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows = session
        .fetch_all(raw(sql))
        .await
        .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    rows.iter().map(text_row).collect()
}

/// A text for the simple query protocol, in which every value comes back as text.
pub fn raw(sql: &str) -> sqlx::RawSql {
    sqlx::raw_sql(AssertSqlSafe(sql))
}

fn text_row(row: &PgRow) -> Vec<Option<String>> {
    (0..row.len())
        .map(|index| {
            let value = row.try_get_raw(index).expect("the column exists");
            (!value.is_null()).then(|| {
                value
                    .as_str()
                    .expect("text of the simple protocol is UTF-8")
                    .to_owned()
            })
        })
        .collect()
}

pub(crate) async fn connect_to(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .unwrap_or_else(|error| panic!("could not connect to the test server: {error}"))
}

async fn value_at(url: &str, sql: &str) -> String {
    let rows = rows_of(&mut connect_to(url).await, sql).await;
    crate::rows::only_value(sql, rows)
}

pub(crate) async fn execute_at(url: &str, sql: &str) {
    let mut session = connect_to(url).await;
    session
        .execute(raw(sql))
        .await
        .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    // An orderly goodbye, so that a database can be used as a template right away.
    let _ = session.close().await;
}
