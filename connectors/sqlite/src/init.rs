//! `init:` makes a database from a file of SQL when it does not exist yet.

use crate::error::from_sqlx;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::path::{Path, PathBuf};
use syncset_connector::{ConnectorError, ErrorClass, Result, Settings};

/// The file of SQL that a connection names with `init:`.
pub(crate) struct Init {
    connection_name: String,
    script: PathBuf,
}

impl Init {
    /// What the settings name, if they do.
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        Some(Self {
            connection_name: settings.name.clone(),
            script: settings.base.join(settings.value("init")?),
        })
    }

    /// Makes the database at `path`, unless it exists.
    ///
    /// It is made beside its place and appears there when it is whole, so a run that ends in the
    /// middle leaves nothing that looks like it. A file that somebody else made meanwhile stays.
    pub(crate) async fn make_if_missing(&self, path: &Path) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".draft-{}", uuid::Uuid::new_v4().simple()));
        let draft = Path::new(&draft);
        let made = self.make(draft).await;
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

    /// Runs the SQL in a database that is empty.
    pub(crate) async fn run(&self, connection: &mut SqliteConnection) -> Result<()> {
        let sql = std::fs::read_to_string(&self.script).map_err(|error| {
            let message = format!(
                "connection `{}`: cannot read `{}`",
                self.connection_name,
                self.script.display()
            );
            ConnectorError::new(ErrorClass::Config, message)
                .with_hint(
                    "`init:` names a file of SQL; relative paths start at the project folder",
                )
                .caused_by(error)
        })?;
        let script = format!("BEGIN;\n{sql};\nCOMMIT;");
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(connection)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    async fn make(&self, draft: &Path) -> Result<()> {
        let mut connection = SqliteConnectOptions::new()
            .filename(draft)
            .create_if_missing(true)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|error| self.failed(error))?;
        self.run(&mut connection).await?;
        // A source is opened read-only and could not say so itself: readers and writers of a WAL
        // database do not wait for each other.
        sqlx::raw_sql("PRAGMA journal_mode = wal")
            .execute(&mut connection)
            .await
            .map_err(|error| self.failed(error))?;
        connection.close().await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: sqlx::Error) -> ConnectorError {
        from_sqlx(error, &self.script, "running the SQL of `init:`")
    }
}
