//! Sessions of one file, and the statements that every module sends through them.

use crate::error::from_sqlx;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncset_connector::{ConnectorError, ErrorClass, OpenOptions, Result, Role, Settings};

/// Sessions kept for reuse; more are closed when they are given back.
const IDLE_SESSIONS_MAX: usize = 8;

/// Rows the driver's thread may be ahead of us. Rows of ten megabytes must fit the memory, so it
/// is small; larger values read narrow tables hardly faster.
const ROWS_AHEAD_MAX: usize = 16;

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
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
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
        crate::init::make_if_missing(settings, &path).await?;
        let path = located(path, options.role)?;
        let database = Arc::new(Self {
            options: connect_options(&path, options),
            path,
            idle: Mutex::default(),
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
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Session> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let connection = match idle {
            Some(connection) => connection,
            None => self
                .options
                .connect()
                .await
                .map_err(|error| from_sqlx(error, &self.path, "opening"))?,
        };
        Ok(Session {
            connection,
            database: Arc::clone(self),
        })
    }

    /// Closes the sessions at rest.
    pub(crate) async fn close(&self) {
        let idle = self.idle.lock().map(|mut idle| std::mem::take(&mut *idle));
        for connection in idle.unwrap_or_default() {
            if let Err(error) = sqlx::Connection::close(connection).await {
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
                _ => Err(ConnectorError::new(
                    ErrorClass::Config,
                    format!("`{}` does not exist or cannot be reached", path.display()),
                )
                .with_hint("check the path; relative paths start at the project folder")
                .caused_by(error)),
            }
        }
    }
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
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true),
    }
}

/// One session, used by one task at a time. Dropped without [`Session::release`] it is closed,
/// and SQLite rolls back what it had begun.
pub(crate) struct Session {
    /// The driver's connection.
    pub(crate) connection: SqliteConnection,
    /// The file.
    pub(crate) database: Arc<Database>,
}

impl Session {
    /// Gives the session back. Only when no transaction is open on it.
    pub(crate) fn release(self) {
        if let Ok(mut idle) = self.database.idle.lock()
            && idle.len() < IDLE_SESSIONS_MAX
        {
            idle.push(self.connection);
        }
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
            .fetch_all(&mut self.connection)
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
            .execute(&mut self.connection)
            .await
            .map(|done| done.rows_affected())
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
        let mut session = database.session().await?;
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
