//! `init:` makes a database from a file of SQL when it does not exist yet.

use crate::error::from_sqlx;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::path::Path;
use syncset_connector::{ConnectorError, ErrorClass, Result, Settings};

/// Makes the database at `path` from the SQL that `init:` names, unless it exists.
///
/// It is made beside its place and appears there when it is whole, so a run that ends in the
/// middle leaves nothing that looks like it. A file that somebody else made meanwhile stays.
pub(crate) async fn make_if_missing(settings: &Settings, path: &Path) -> Result<()> {
    let Some(script) = settings.value("init") else {
        return Ok(());
    };
    if path.exists() {
        return Ok(());
    }
    let script = settings.base.join(script);
    let sql = std::fs::read_to_string(&script).map_err(|error| {
        let message = format!(
            "connection `{}`: cannot read `{}`",
            settings.name,
            script.display()
        );
        ConnectorError::new(ErrorClass::Config, message)
            .with_hint("`init:` names a file of SQL; relative paths start at the project folder")
            .caused_by(error)
    })?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".draft-{}", uuid::Uuid::new_v4().simple()));
    let draft = Path::new(&draft);
    let made = make(&sql, draft).await;
    let linked = made.and_then(|()| match std::fs::hard_link(draft, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            let message = format!("cannot make `{}`", path.display());
            Err(ConnectorError::new(ErrorClass::Config, message).caused_by(error))
        }
        _ => Ok(()),
    });
    // Best effort: a draft that stays does no harm.
    let _ = std::fs::remove_file(draft);
    linked
}

async fn make(sql: &str, draft: &Path) -> Result<()> {
    let failed = |error| from_sqlx(error, draft, "running the SQL of `init:`");
    let mut connection = SqliteConnectOptions::new()
        .filename(draft)
        .create_if_missing(true)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(failed)?;
    let script = format!("BEGIN;\n{sql};\nCOMMIT;");
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    // A source is opened read-only and could not say so itself: readers and writers of a WAL
    // database do not wait for each other.
    sqlx::raw_sql("PRAGMA journal_mode = wal")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)
}
