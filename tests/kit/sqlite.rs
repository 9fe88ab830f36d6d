//! SQLite files for tests.

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, Executor, Row, SqliteConnection, TypeInfo, ValueRef};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for another process that writes the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// An SQLite file. Its folder is the caller's.
#[derive(Debug, Clone)]
pub struct SqliteFile {
    path: PathBuf,
}

impl SqliteFile {
    /// A file at this path, created when it is first used.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its URL, with an absolute path if it was made with one.
    pub fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// Opens it, creating it if it is not there.
    pub async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .connect()
            .await
            .unwrap_or_else(|error| panic!("could not open {}: {error}", self.path.display()))
    }

    /// Runs statements.
    ///
    /// # Panics
    /// If one is refused.
    pub async fn execute(&self, sql: &str) {
        let mut session = self.connect().await;
        send(&mut session, sql).await;
        let _ = session.close().await;
    }

    /// All rows of a query: numbers and text as they are, blobs as `\x` and hex digits.
    ///
    /// # Panics
    /// If the query is refused.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let mut session = self.connect().await;
        let rows = session
            .fetch_all(crate::postgres::raw(sql))
            .await
            .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        let texts = rows.iter().map(text_row).collect();
        let _ = session.close().await;
        texts
    }

    /// The only value of a query, as text; NULL is `NULL`.
    ///
    /// # Panics
    /// If the query does not return one row of one column.
    pub async fn value(&self, sql: &str) -> String {
        crate::rows::only_value(sql, self.rows(sql).await)
    }
}

/// Sends statements on a session of the test's own.
pub(crate) async fn send(session: &mut SqliteConnection, sql: &str) {
    session
        .execute(crate::postgres::raw(sql))
        .await
        .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
}

fn text_row(row: &SqliteRow) -> Vec<Option<String>> {
    (0..row.len()).map(|index| text_value(row, index)).collect()
}

/// The value by its storage class, not by the declared type of its column.
fn text_value(row: &SqliteRow, index: usize) -> Option<String> {
    let value = row.try_get_raw(index).expect("the column exists");
    if value.is_null() {
        return None;
    }
    let class = value.type_info().name().to_owned();
    Some(match class.as_str() {
        "INTEGER" => row.get_unchecked::<i64, _>(index).to_string(),
        "REAL" => row.get_unchecked::<f64, _>(index).to_string(),
        "BLOB" => {
            let bytes: Vec<u8> = row.get_unchecked(index);
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{digits}")
        }
        _ => row.get_unchecked(index),
    })
}
