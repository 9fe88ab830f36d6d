//! Sessions of one file, and the statements that every module sends through them.

use crate::error::from_sqlx;
use crate::init::Init;
use futures::StreamExt;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use syncset_connector::{ConnectorError, ErrorClass, OpenOptions, Result, Role, Settings};

/// Sessions kept for reuse; more are closed when they are given back.
const IDLE_SESSIONS_MAX: usize = 8;

/// Rows the driver's thread may be ahead of us. Rows of ten megabytes must fit the memory, so it
/// is small; larger values read narrow tables hardly faster.
const ROWS_AHEAD_MAX: usize = 16;

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// The file that the settings name.
pub(crate) fn path_of(settings: &Settings) -> Result<PathBuf, String> {
    let path = match (settings.value("path"), settings.value("url")) {
        (Some(path), None) => path,
        (None, Some(url)) => {
            let Some(rest) = url.strip_prefix("sqlite:") else {
                return Err("a SQLite URL is `sqlite:PATH` or `sqlite://PATH`".into());
            };
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.contains('?') {
                return Err("a SQLite URL takes no parameters".into());
            }
            path
        }
        (Some(_), Some(_)) => return Err("give `path` or `url`, not both".into()),
        (None, None) => return Err("a SQLite connection needs `path`".into()),
    };
    if path.is_empty() || path == ":memory:" {
        return Err("the path must name a file".into());
    }
    Ok(settings.base.join(path))
}

/// One file and the sessions on it.
pub(crate) struct Database {
    /// Path of the file, canonical once it exists.
    pub(crate) path: PathBuf,
    role: Role,
    init: Option<Init>,
    options: SqliteConnectOptions,
    statement_timeout: Duration,
    idle: Mutex<Vec<Opened>>,
    /// True once this process has seen to it that the file is there and in WAL mode.
    prepared: AtomicBool,
    /// Units of one process queue here in order; SQLite's own waiting is a lottery.
    pub(crate) write_gate: Arc<tokio::sync::Mutex<()>>,
}

impl Database {
    /// Opens the file: one session, and the checks that every later one relies on.
    pub(crate) async fn open(settings: &Settings, options: &OpenOptions) -> Result<Arc<Self>> {
        let path = path_of(settings).map_err(|problem| {
            ConnectorError::new(
                ErrorClass::Config,
                format!("connection `{}`: {problem}", settings.name),
            )
        })?;
        let init = Init::of(settings);
        if let (Role::Source, Some(init)) = (options.role, &init) {
            init.make_if_missing(&path).await?;
        }
        let path = located(path, options.role)?;
        let database = Arc::new(Self {
            options: connect_options(&path, options),
            path,
            role: options.role,
            init,
            statement_timeout: options.statement_timeout,
            idle: Mutex::default(),
            prepared: AtomicBool::new(false),
            write_gate: Arc::default(),
        });
        let mut session = database.session().await?;
        let rows = session
            .rows("PRAGMA encoding", SqliteArguments::default(), "opening")
            .await?;
        let encoding = rows.first().and_then(|row| crate::cell::text(row, 0));
        if encoding.as_deref() != Some("UTF-8") {
            return Err(ConnectorError::new(
                ErrorClass::Unsupported,
                format!("`{}` stores its text as UTF-16", database.path.display()),
            )
            .with_hint(
                "dump it and load the dump into a file made with `PRAGMA encoding = 'UTF-8'`",
            ));
        }
        session.release();
        Ok(database)
    }

    /// A session of this file, from those at rest or a new one.
    ///
    /// A target's file is made by whoever writes first. Until then sessions are of a database in
    /// memory that holds what the file would hold, so that looking at it leaves nothing behind.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Session> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        if let Some(opened) = idle {
            return Ok(self.session_on(opened));
        }
        if self.role == Role::Target && !self.path.exists() {
            let mut connection = self.connected(&in_memory()).await?;
            if let Some(init) = &self.init {
                init.run(&mut connection).await?;
            }
            return Ok(self.session_on(Opened {
                is_file: false,
                connection,
                limit: None,
            }));
        }
        self.new_session(&self.options).await
    }

    /// A session of an empty database in memory, for trying statements out.
    pub(crate) async fn scratch(self: &Arc<Self>) -> Result<Session> {
        let connection = self.connected(&in_memory()).await?;
        Ok(self.session_on(Opened {
            is_file: false,
            connection,
            limit: None,
        }))
    }

    /// A session that may write: it makes the file where it is missing.
    pub(crate) async fn writing_session(self: &Arc<Self>) -> Result<Session> {
        if self.prepared.load(Ordering::Acquire) {
            return self.session().await;
        }
        if let Some(init) = &self.init {
            init.make_if_missing(&self.path).await?;
        }
        let options = self.options.clone().create_if_missing(true);
        let session = self
            .new_session(&options.journal_mode(SqliteJournalMode::Wal))
            .await?;
        self.prepared.store(true, Ordering::Release);
        Ok(session)
    }

    async fn new_session(self: &Arc<Self>, options: &SqliteConnectOptions) -> Result<Session> {
        let mut connection = self.connected(options).await?;
        let limit = if self.statement_timeout.is_zero() {
            None
        } else {
            let limit = StatementLimit::new(self.statement_timeout);
            let set = limit.watch(&mut connection).await;
            set.map_err(|error| from_sqlx(error, &self.path, "opening"))?;
            Some(limit)
        };
        Ok(self.session_on(Opened {
            is_file: true,
            connection,
            limit,
        }))
    }

    async fn connected(&self, options: &SqliteConnectOptions) -> Result<SqliteConnection> {
        let connected = options.connect().await;
        connected.map_err(|error| from_sqlx(error, &self.path, "opening"))
    }

    fn session_on(self: &Arc<Self>, opened: Opened) -> Session {
        Session {
            opened,
            database: Arc::clone(self),
        }
    }

    /// Closes the sessions at rest.
    pub(crate) async fn close(&self) {
        let idle = self.idle.lock().map(|mut idle| std::mem::take(&mut *idle));
        for opened in idle.unwrap_or_default() {
            if let Err(error) = sqlx::Connection::close(opened.connection).await {
                tracing::debug!(error = %error, "closing a session failed");
            }
        }
    }
}

fn located(path: PathBuf, role: Role) -> Result<PathBuf> {
    match path.canonicalize() {
        Ok(canonical) => Ok(canonical),
        Err(error) => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            match (role, folder.canonicalize(), path.file_name()) {
                (Role::Target, Ok(folder), Some(name)) if missing => Ok(folder.join(name)),
                (Role::Target, Err(error), _) if missing => Err(ConnectorError::new(
                    ErrorClass::Config,
                    format!(
                        "the folder of `{}` does not exist or cannot be reached",
                        path.display()
                    ),
                )
                .with_hint(
                    "make the folder, or check the path: relative paths start at the project \
                     folder; the file itself is made by the first run",
                )
                .caused_by(error)),
                _ => Err(ConnectorError::new(
                    ErrorClass::Config,
                    format!("`{}` does not exist or cannot be reached", path.display()),
                )
                .with_hint(
                    "check the path; relative paths start at the project folder, and a file that \
                     is only a target is made by the first run",
                )
                .caused_by(error)),
            }
        }
    }
}

fn in_memory() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(":memory:")
        .disable_statement_logging()
}

fn connect_options(path: &Path, options: &OpenOptions) -> SqliteConnectOptions {
    let base = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.lock_timeout.max(Duration::from_millis(100)))
        .row_buffer_size(ROWS_AHEAD_MAX)
        .disable_statement_logging();
    match options.role {
        Role::Source => base.read_only(true).pragma("query_only", "1"),
        // Rows and watermark are in one file and commit together. In WAL, NORMAL can lose the
        // newest commits when the power fails, but never a part of one, and then the watermark is
        // the older one too and the rows are read again.
        Role::Target => base
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true),
    }
}

/// A connection of the driver.
struct Opened {
    /// False for one of a database in memory, which is not used again.
    is_file: bool,
    connection: SqliteConnection,
    limit: Option<StatementLimit>,
}

/// Ends statements that take too long. The driver's thread asks it while it works.
struct StatementLimit {
    timeout: Duration,
    deadline: Arc<Mutex<Instant>>,
}

impl StatementLimit {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            deadline: Arc::new(Mutex::new(Instant::now() + timeout)),
        }
    }

    async fn watch(
        &self,
        connection: &mut SqliteConnection,
    ) -> std::result::Result<(), sqlx::Error> {
        let deadline = Arc::clone(&self.deadline);
        let in_time = move || deadline.lock().is_ok_and(|end| Instant::now() < *end);
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS_BETWEEN_LOOKS, in_time);
        Ok(())
    }

    fn restart(&self) {
        if let Ok(mut deadline) = self.deadline.lock() {
            *deadline = Instant::now() + self.timeout;
        }
    }
}

/// One session, used by one task at a time. Dropped without [`Session::release`] it is closed,
/// and SQLite rolls back what it had begun.
pub(crate) struct Session {
    opened: Opened,
    /// The file.
    pub(crate) database: Arc<Database>,
}

impl Session {
    /// Gives the session back. Only when no transaction is open on it.
    pub(crate) fn release(self) {
        if let Ok(mut idle) = self.database.idle.lock()
            && idle.len() < IDLE_SESSIONS_MAX
            && self.opened.is_file
        {
            idle.push(self.opened);
        }
    }

    /// The driver's connection for one statement, whose time starts here.
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        if let Some(limit) = &self.opened.limit {
            limit.restart();
        }
        &mut self.opened.connection
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.database.path
    }

    /// All rows of a statement.
    pub(crate) async fn rows(
        &mut self,
        sql: impl Into<String>,
        arguments: SqliteArguments,
        place: &str,
    ) -> Result<Vec<SqliteRow>> {
        sqlx::query_with(AssertSqlSafe(sql.into()), arguments)
            .fetch_all(self.connection())
            .await
            .map_err(|error| from_sqlx(error, &self.database.path, place))
    }

    /// Runs a statement; returns the rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: impl Into<String>,
        arguments: SqliteArguments,
        place: &str,
    ) -> Result<u64> {
        self.try_execute(sql, arguments)
            .await
            .map_err(|error| from_sqlx(error, &self.database.path, place))
    }

    /// Like [`Session::execute`], with the driver's own error.
    pub(crate) async fn try_execute(
        &mut self,
        sql: impl Into<String>,
        arguments: SqliteArguments,
    ) -> std::result::Result<u64, sqlx::Error> {
        sqlx::query_with(AssertSqlSafe(sql.into()), arguments)
            .execute(self.connection())
            .await
            .map(|done| done.rows_affected())
    }

    /// Runs statements one after another and throws their rows away; the first error ends it. A
    /// transaction that they leave open is rolled back when the session is closed.
    pub(crate) async fn run_all(&mut self, sql: &str, place: &str) -> Result<()> {
        let database = Arc::clone(&self.database);
        let mut results =
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(self.connection());
        while let Some(result) = results.next().await {
            result.map_err(|error| from_sqlx(error, &database.path, place))?;
        }
        Ok(())
    }

    /// Runs a statement without arguments.
    pub(crate) async fn run(&mut self, sql: &str, place: &str) -> Result<()> {
        self.execute(sql, SqliteArguments::default(), place).await?;
        Ok(())
    }
}

/// Arguments of one statement from values that cannot fail to encode.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut arguments = sqlx::sqlite::SqliteArguments::default();
        $(
            sqlx::Arguments::add(&mut arguments, $value)
                .expect("integers and text can always be bound");
        )*
        arguments
    }};
}
pub(crate) use arguments;

/// A write transaction. Dropped, it is rolled back.
pub(crate) struct Writing {
    /// Its session.
    pub(crate) session: Session,
    // Released after the session: the next writer of this process finds no lock of ours.
    _gate: tokio::sync::OwnedMutexGuard<()>,
}

impl Writing {
    /// Waits for this process's turn, then for SQLite's write lock.
    pub(crate) async fn begin(database: &Arc<Database>, place: &str) -> Result<Self> {
        let gate = Arc::clone(&database.write_gate).lock_owned().await;
        let mut session = database.writing_session().await?;
        session.run("BEGIN IMMEDIATE", place).await?;
        Ok(Self {
            session,
            _gate: gate,
        })
    }

    /// Commits.
    pub(crate) async fn commit(mut self, place: &str) -> Result<()> {
        if let Err(error) = self
            .session
            .try_execute("COMMIT", SqliteArguments::default())
            .await
        {
            return Err(unsure(error, &self.session.database.path, place));
        }
        self.session.release();
        Ok(())
    }

    /// Rolls back.
    pub(crate) async fn rollback(mut self) {
        if self.session.run("ROLLBACK", "rolling back").await.is_ok() {
            self.session.release();
        }
    }
}

/// An error of COMMIT: SQLite says of some that nothing was committed, of others it cannot know.
fn unsure(error: sqlx::Error, path: &Path, place: &str) -> ConnectorError {
    let mapped = from_sqlx(error, path, place);
    match mapped.class {
        ErrorClass::Transient
        | ErrorClass::DiskFull
        | ErrorClass::RowParked
        | ErrorClass::RowRefused
        | ErrorClass::Privilege => mapped,
        _ => ConnectorError {
            class: ErrorClass::CommitUnknown,
            ..mapped
        },
    }
}
