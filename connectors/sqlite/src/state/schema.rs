//! The tables of the state and their versions.

use crate::cell::integer;
use crate::connect::{Database, Session, Writing, arguments};
use std::sync::Arc;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// Version of the tables below. A later one gets a migration from this.
const VERSION: i64 = 4;

/// The first version that keeps rows as they were before a repair.
const BEFORE_IMAGES: i64 = 3;

/// The first version that says when rows that are gone were looked for.
const SEARCHES: i64 = 4;

const TABLES: [&str; 11] = [
    "CREATE TABLE IF NOT EXISTS _syncset_schema_version (version INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS _syncset_pipeline (project TEXT NOT NULL, pipeline TEXT NOT NULL, \
     epoch INTEGER NOT NULL, owner TEXT, PRIMARY KEY (project, pipeline))",
    "CREATE TABLE IF NOT EXISTS _syncset_watermark (project TEXT NOT NULL, pipeline TEXT NOT NULL, \
     stream TEXT NOT NULL, phase TEXT NOT NULL, position TEXT NOT NULL, version INTEGER NOT NULL, \
     selection TEXT NOT NULL, selection_text TEXT, target TEXT NOT NULL, into_empty INTEGER NOT NULL, \
     updated_at INTEGER NOT NULL, PRIMARY KEY (project, pipeline, stream))",
    "CREATE TABLE IF NOT EXISTS _syncset_chunk (project TEXT NOT NULL, pipeline TEXT NOT NULL, \
     stream TEXT NOT NULL, chunk INTEGER NOT NULL, range TEXT NOT NULL, done INTEGER NOT NULL, \
     row_count INTEGER NOT NULL, PRIMARY KEY (project, pipeline, stream, chunk))",
    "CREATE TABLE IF NOT EXISTS _syncset_owner (target TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, \
     project TEXT NOT NULL, pipeline TEXT NOT NULL, stream TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS _syncset_made (target TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, \
     project TEXT NOT NULL, pipeline TEXT NOT NULL, made TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS _syncset_run (project TEXT NOT NULL, pipeline TEXT NOT NULL, \
     run_id TEXT NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER, exit_code INTEGER, \
     report TEXT NOT NULL, PRIMARY KEY (project, pipeline, run_id))",
    "CREATE TABLE IF NOT EXISTS _syncset_rejected (project TEXT NOT NULL, pipeline TEXT NOT NULL, \
     stream TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, code TEXT, \"row\" TEXT NOT NULL, \
     first_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 1, \
     PRIMARY KEY (project, pipeline, stream, key))",
    // Since version 2.
    "CREATE TABLE IF NOT EXISTS _syncset_pending_delete (project TEXT NOT NULL, \
     pipeline TEXT NOT NULL, target TEXT NOT NULL COLLATE NOCASE, key TEXT NOT NULL, \
     PRIMARY KEY (project, pipeline, target, key)) WITHOUT ROWID",
    // Since version 3. `reverted_by` is the only column that ever changes.
    "CREATE TABLE IF NOT EXISTS _syncset_before_image (place INTEGER PRIMARY KEY AUTOINCREMENT, \
     project TEXT NOT NULL, pipeline TEXT NOT NULL, run_id TEXT NOT NULL, stream TEXT NOT NULL, \
     target TEXT NOT NULL, key TEXT NOT NULL, before TEXT, after TEXT, reverted_by TEXT, \
     kept_at INTEGER NOT NULL)",
    // Since version 4. Seconds since the epoch by the clock of the runner, which asks what is due.
    "CREATE TABLE IF NOT EXISTS _syncset_search (project TEXT NOT NULL, pipeline TEXT NOT NULL, \
     stream TEXT NOT NULL, searched_at INTEGER NOT NULL, PRIMARY KEY (project, pipeline, stream))",
];

/// Whether state of this version keeps rows as they were.
pub(crate) fn has_before_images(version: Option<i64>) -> bool {
    version.is_some_and(|version| version >= BEFORE_IMAGES)
}

/// Whether state of this version says when rows that are gone were looked for.
pub(crate) fn has_searches(version: Option<i64>) -> bool {
    version.is_some_and(|version| version >= SEARCHES)
}

/// The version that a file has, if it has any state.
pub(crate) async fn version(session: &mut Session) -> Result<Option<i64>> {
    let place = "reading the version of the state";
    let sql =
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_syncset_schema_version'";
    if session.rows(sql, arguments![], place).await?.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT version FROM _syncset_schema_version";
    let rows = session.rows(sql, arguments![], place).await?;
    let Some(version) = rows.first().map(|row| integer(row, 0)) else {
        return Ok(None);
    };
    if version > VERSION {
        return Err(ConnectorError::new(
            ErrorClass::StateTooNew,
            format!(
                "the state in `{}` has version {version}, and this program knows {VERSION}",
                session.path().display()
            ),
        )
        .with_hint("use the version of syncset that wrote it, or a newer one"));
    }
    Ok(Some(version))
}

/// Creates the tables, in one transaction, where they are missing.
pub(crate) async fn ensure(database: &Arc<Database>) -> Result<()> {
    let mut session = database.session().await?;
    let found = version(&mut session).await?;
    session.release();
    if found == Some(VERSION) {
        return Ok(());
    }
    let place = "creating the state";
    let mut writing = Writing::begin(database, place).await?;
    // Somebody else may have created it while this waited for the lock.
    if version(&mut writing.session).await? == Some(VERSION) {
        writing.rollback().await;
        return Ok(());
    }
    // A newer version only has more tables so far.
    for statement in TABLES {
        writing.session.run(statement, place).await?;
    }
    let sql = "DELETE FROM _syncset_schema_version";
    writing.session.run(sql, place).await?;
    let sql = "INSERT INTO _syncset_schema_version (version) VALUES (?)";
    writing
        .session
        .execute(sql, arguments![VERSION], place)
        .await?;
    writing.commit(place).await
}
