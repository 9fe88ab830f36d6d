//! MySQL and MariaDB servers and databases for tests.
//!
//! [`mysql`] and [`mariadb`] are the servers that all tests of a process share; a test that
//! restarts a server or changes its configuration starts one of its own with
//! [`MysqlServer::start_own`].

pub use crate::mysql_server::Flavour;
use crate::mysql_server::Instance;
use crate::rows::TextRow;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Value};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use url::Url;

static MYSQL: OnceLock<MysqlServer> = OnceLock::new();
static MARIADB: OnceLock<MysqlServer> = OnceLock::new();

/// Numbers databases, so that names are unique within this process.
static DATABASE_NUMBER: AtomicU32 = AtomicU32::new(0);

/// The MySQL server that all tests of this process share: started on first use, stopped and
/// removed when the process ends, however it ends. `SYNCSET_TEST_MYSQL` names the URL of another.
///
/// Started with `max_connections = 300`, `max_allowed_packet = 64M`, `local_infile = ON`, a binary
/// log in row format, and nothing flushed. `root` needs no password.
pub fn mysql() -> &'static MysqlServer {
    MysqlServer::shared(Flavour::Mysql)
}

/// The MariaDB server that all tests of this process share, as [`mysql`]; `SYNCSET_TEST_MARIADB`
/// names the URL of another.
pub fn mariadb() -> &'static MysqlServer {
    MysqlServer::shared(Flavour::Mariadb)
}

impl Flavour {
    /// Where sessions and their statements are listed. MySQL refuses its older list while anybody
    /// runs a statement with a character of four bytes.
    pub fn processlist(self) -> &'static str {
        match self {
            Self::Mysql => "performance_schema.processlist",
            Self::Mariadb => "information_schema.processlist",
        }
    }

    /// Environment variable with the URL of a server to use instead of a throw-away one. Its user
    /// must have all rights. Tests that stop a server, read its log or set it up in their own way
    /// start one of their own all the same.
    fn variable(self) -> &'static str {
        match self {
            Self::Mysql => "SYNCSET_TEST_MYSQL",
            Self::Mariadb => "SYNCSET_TEST_MARIADB",
        }
    }

    /// Scheme of its URLs, which is also its `type:` in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }
}

/// A MySQL or MariaDB server.
#[derive(Debug)]
pub struct MysqlServer {
    flavour: Flavour,
    url: Url,
    instance: Option<Instance>,
}

impl MysqlServer {
    /// The server of this flavour that all tests of this process share.
    pub fn shared(flavour: Flavour) -> &'static Self {
        let shared = match flavour {
            Flavour::Mysql => &MYSQL,
            Flavour::Mariadb => &MARIADB,
        };
        shared.get_or_init(|| match std::env::var(flavour.variable()) {
            Ok(url) => Self {
                flavour,
                url: Url::parse(&url)
                    .unwrap_or_else(|_| panic!("{} is no URL", flavour.variable())),
                instance: None,
            },
            Err(_) => Self::start_own(flavour, ""),
        })
    }

    /// Starts a server of the test's own; `config` holds lines for the section `[mysqld]`. It
    /// stops when the value is dropped.
    pub fn start_own(flavour: Flavour, config: &str) -> Self {
        let instance = Instance::start(flavour, config);
        let url = format!("{}://root@127.0.0.1:{}/", flavour.name(), instance.port());
        Self {
            flavour,
            url: Url::parse(&url).expect("a URL made of a port is valid"),
            instance: Some(instance),
        }
    }

    /// Which family it belongs to.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// TCP port of the server.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(3306)
    }

    /// URL without a database.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Its unix socket; only of a server that the kit started.
    pub fn socket(&self) -> PathBuf {
        self.instance().socket()
    }

    /// Folder of its files; only of a server that the kit started.
    pub fn folder(&self) -> &Path {
        self.instance().folder()
    }

    /// Creates an empty database with a name of its own that starts with `prefix`; its default
    /// character set is utf8mb4.
    pub async fn database(&'static self, prefix: &str) -> MysqlDatabase {
        self.create_database(prefix).await
    }

    /// As [`database`](Self::database), at a server of the test's own, which outlives it.
    pub async fn create_database(&self, prefix: &str) -> MysqlDatabase {
        let number = DATABASE_NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}_{}_{number}", std::process::id());
        self.execute(&format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"))
            .await;
        let mut url = self.url.clone();
        url.set_path(&name);
        let owned = OwnedDatabase {
            name: name.clone(),
            server: self.url.clone(),
        };
        MysqlDatabase {
            name,
            url,
            flavour: self.flavour,
            _owned: Arc::new(owned),
        }
    }

    /// Runs statements without a database.
    ///
    /// # Panics
    /// If the server refuses one.
    pub async fn execute(&self, sql: &str) {
        run(&self.url, sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    }

    /// Stops the server in an orderly way.
    pub fn stop(&self) {
        self.instance().stop();
    }

    /// Ends the server's process at once, as in a crash.
    pub fn crash(&self) {
        self.instance().crash();
    }

    /// Starts the stopped server, on the same port.
    pub fn start(&self) {
        self.instance().start_again();
    }

    /// Appends lines to the section `[mysqld]` and restarts the server in an orderly way.
    pub fn configure(&self, config: &str) {
        self.instance().append_config(config);
        self.stop();
        self.start();
    }

    /// Everything the server has logged.
    pub fn log(&self) -> String {
        self.instance().log()
    }

    fn instance(&self) -> &Instance {
        self.instance
            .as_ref()
            .expect("only a server that the kit started can be stopped, configured or read")
    }
}

/// A database of a test. Its server drops it some time after the last copy of this value is gone: what
/// a catalogue is asked for takes longer with every table that the server has.
#[derive(Debug, Clone)]
pub struct MysqlDatabase {
    name: String,
    url: Url,
    flavour: Flavour,
    _owned: Arc<OwnedDatabase>,
}

/// What is dropped in the end.
#[derive(Debug)]
struct OwnedDatabase {
    name: String,
    /// URL without a database.
    server: Url,
}

impl Drop for OwnedDatabase {
    fn drop(&mut self) {
        let server = self.server.clone();
        let statements = format!(
            "SET SESSION lock_wait_timeout = 10; DROP DATABASE IF EXISTS `{}`",
            self.name
        );
        // The runtime of the test may be gone already, and nobody waits.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                let _ = runtime.block_on(run(&server, &statements));
            }
        });
    }
}

impl MysqlDatabase {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which family its server belongs to.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Its URL, as a user with all rights.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Its URL for another user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let mut url = self.url.clone();
        url.set_username(user).expect("the URL has a host");
        url.set_password(Some(password))
            .expect("the URL has a host");
        url.to_string()
    }

    /// Its URL through another port of 127.0.0.1, such as that of a proxy.
    pub fn url_through(&self, port: u16) -> String {
        let mut url = self.url.clone();
        url.set_port(Some(port)).expect("the URL has a host");
        url.to_string()
    }

    /// A session with all rights; its time zone is UTC.
    pub async fn connect(&self) -> Conn {
        connect_to(&self.url)
            .await
            .unwrap_or_else(|error| panic!("could not connect to the test server: {error}"))
    }

    /// Runs statements, each committed by itself.
    ///
    /// # Panics
    /// If the server refuses one.
    pub async fn execute(&self, sql: &str) {
        self.try_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    }

    /// As [`execute`](Self::execute), for statements that may be refused.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn try_execute(&self, sql: &str) -> Result<(), mysql_async::Error> {
        run(&self.url, sql).await
    }

    /// All rows of a query, as the text forms of the server; what is not UTF-8 as `0x` and
    /// hexadecimal digits.
    ///
    /// # Panics
    /// If the server refuses the query.
    pub async fn rows(&self, sql: &str) -> Vec<TextRow> {
        let mut session = self.connect().await;
        let rows = rows_of(&mut session, sql).await;
        let _ = session.disconnect().await;
        rows
    }

    /// The only value of a query, as text; NULL is `NULL`.
    ///
    /// # Panics
    /// If the query does not return one row of one column.
    pub async fn value(&self, sql: &str) -> String {
        crate::rows::only_value(sql, self.rows(sql).await)
    }

    /// Creates a user that may log in with the password `secret`, and returns the database as that
    /// user sees it. `grants` are such as `SELECT ON {database}.orders`; `{database}` stands for the quoted name.
    pub async fn user(&self, prefix: &str, grants: &[&str]) -> Self {
        let name = format!("{prefix}_{}", self.name);
        self.execute(&format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'"))
            .await;
        for grant in grants {
            let grant = grant.replace("{database}", &format!("`{}`", self.name));
            self.execute(&format!("GRANT {grant} TO '{name}'@'%'"))
                .await;
        }
        Self {
            url: Url::parse(&self.url_as(&name, "secret")).expect("a URL of ours is valid"),
            ..self.clone()
        }
    }
}

/// Rows of a query in this session, as the text forms of the server.
///
/// # Panics
/// If the server refuses the query.
pub async fn rows_of(session: &mut Conn, sql: &str) -> Vec<TextRow> {
    let rows: Vec<mysql_async::Row> = session
        .query(sql)
        .await
        .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    rows.into_iter()
        .map(|row| row.unwrap().into_iter().map(text).collect())
        .collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap_or_else(|error| {
            let digits: String = error
                .as_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("0x{digits}")
        })),
        other => panic!("the text protocol knows only text, not {other:?}"),
    }
}

async fn connect_to(url: &Url) -> Result<Conn, mysql_async::Error> {
    let mut url = url.clone();
    // The client library knows one scheme for both.
    if url.scheme() == "mariadb" {
        let text = url.as_str().replacen("mariadb://", "mysql://", 1);
        url = Url::parse(&text).expect("only the scheme has changed");
    }
    let options = Opts::from_url(url.as_str()).expect("the kit makes valid URLs");
    // Otherwise the driver connects once more, through the socket.
    let options = OptsBuilder::from_opts(options).prefer_socket(false);
    let mut session = Conn::new(options).await?;
    session
        .query_drop("SET NAMES utf8mb4, time_zone = '+00:00'")
        .await?;
    Ok(session)
}

async fn run(url: &Url, sql: &str) -> Result<(), mysql_async::Error> {
    let mut session = connect_to(url).await?;
    let mut result = session.query_iter(sql).await?;
    // Each statement has a result of its own, and errors come with theirs.
    while !result.is_empty() {
        result.for_each(drop).await?;
    }
    drop(result);
    session.disconnect().await
}
