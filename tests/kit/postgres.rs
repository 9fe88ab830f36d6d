//! PostgreSQL servers and databases for tests.
//!
//! [`postgres`] is the server that all tests of a process share; a test that restarts a server or
//! changes its configuration starts one of its own with [`PostgresServer::start_own`].

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
/// must be a superuser.
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
        let cluster = Cluster::start(config);
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
        Self {
            url: Url::parse(&url).expect("a URL made of a port is valid"),
            cluster: Some(cluster),
        }
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
        let mut url = self.url.clone();
        url.set_path(&name);
        Database {
            name,
            url,
            server: self.url.clone(),
        }
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
        parse_statements(&self.log(), &database.name)
    }

    fn cluster(&self) -> &Cluster {
        self.cluster
            .as_ref()
            .expect("only a server that the kit started can be stopped, configured or read")
    }
}

/// A database of a test. Dropped at the server when the value is dropped, so keep it as long as
/// its URL is used.
#[must_use = "the database is dropped with this value"]
#[derive(Debug)]
pub struct Database {
    name: String,
    url: Url,
    server: Url,
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, as a superuser.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Its URL for another role.
    pub fn url_as(&self, role: &str, password: &str) -> String {
        let mut url = self.url.clone();
        url.set_username(role).expect("the URL has a host");
        url.set_password(Some(password))
            .expect("the URL has a host");
        url.to_string()
    }

    /// Its URL through another port of 127.0.0.1, such as that of a proxy.
    pub fn url_through(&self, port: u16) -> String {
        let mut url = self.url.clone();
        url.set_host(Some("127.0.0.1")).expect("the host is valid");
        url.set_port(Some(port)).expect("the URL has a host");
        url.to_string()
    }

    /// A session as a superuser.
    pub async fn connect(&self) -> PgConnection {
        connect_to(self.url.as_str()).await
    }

    /// Runs statements, each committed by itself unless the text says otherwise: a text without
    /// BEGIN is one transaction.
    ///
    /// # Panics
    /// If the server refuses one.
    pub async fn execute(&self, sql: &str) {
        execute_at(self.url.as_str(), sql).await;
    }

    /// As [`execute`](Self::execute), for statements that may be refused.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn try_execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut session = self.connect().await;
        session.execute(raw(sql)).await.map(drop)
    }

    /// All rows of a query, as the text forms of the server.
    ///
    /// # Panics
    /// If the server refuses the query.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        rows_of(&mut self.connect().await, sql).await
    }

    /// The only value of a query, as text; NULL is `NULL`.
    ///
    /// # Panics
    /// If the query does not return one row of one column.
    pub async fn value(&self, sql: &str) -> String {
        crate::rows::only_value(sql, self.rows(sql).await)
    }

    /// Creates a role that may log in with the password `secret`, and returns its URL. The name
    /// is made unique, since roles belong to the whole server.
    pub async fn role(&self, prefix: &str, grants: &[&str]) -> Role {
        let name = format!("{prefix}_{}", self.name);
        self.execute(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'secret'"))
            .await;
        for grant in grants {
            self.execute(&format!("GRANT {grant} TO \"{name}\"")).await;
        }
        Role {
            url: self.url_as(&name, "secret"),
            name,
        }
    }

    /// Makes the server log every statement of sessions that are opened from here on.
    pub async fn log_statements(&self) {
        execute_at(
            self.server.as_str(),
            &format!("ALTER DATABASE \"{}\" SET log_statement = 'all'", self.name),
        )
        .await;
    }
}

/// A role of a test.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// URL of the database it was made for, as this role.
    pub url: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
        // The runtime of the test may be gone already. Nobody waits: a throw-away cluster is
        // removed as a whole, and another server keeps at most a stray database.
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            runtime.block_on(async {
                if let Ok(mut session) = PgConnection::connect(server.as_str()).await {
                    let _ = session.execute(raw(&statement)).await;
                }
            });
        });
    }
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

async fn connect_to(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .unwrap_or_else(|error| panic!("could not connect to the test server: {error}"))
}

async fn execute_at(url: &str, sql: &str) {
    let mut session = connect_to(url).await;
    session
        .execute(raw(sql))
        .await
        .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    // An orderly goodbye, so that a database can be used as a template right away.
    let _ = session.close().await;
}
