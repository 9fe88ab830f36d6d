//! What stands between a pipeline and a SQLite file.

use crate::cell::text;
use crate::connect::{Database, arguments};
use std::path::Path;
use std::sync::Arc;
use syncset_connector::{Check, ConnectorError, Diagnosis, ErrorClass, Result, Role};

/// Something to write and to undo.
const PROBE: &str = "CREATE TABLE main._syncset_probe (probe)";

/// Examines the file. What it writes into a target, to see whether it may, is rolled back.
pub(crate) async fn diagnose(database: &Arc<Database>, role: Role) -> Result<Diagnosis> {
    let path = &database.path;
    let mut session = database.session().await?;
    let rows = session
        .rows(
            "SELECT sqlite_version(), journal_mode FROM pragma_journal_mode",
            arguments![],
            "asking for the version",
        )
        .await?;
    let value = |index| {
        rows.first()
            .and_then(|row| text(row, index))
            .unwrap_or_default()
    };
    let (version, journal) = (value(0), value(1));
    session.release();
    let mut checks = vec![Check::ok(
        "server",
        format!("SQLite {version}, `{}`", path.display()),
    )];
    match role {
        Role::Source if journal == "wal" => {
            checks.push(Check::ok(
                "journal",
                "journal_mode is `wal`: reading makes nobody wait",
            ));
        }
        Role::Source => checks.push(
            Check::warning(
                "journal",
                format!("journal_mode is `{journal}`: a long read makes writers wait"),
            )
            .with_hint("let the owner of the file run this once")
            .with_sql("PRAGMA journal_mode = wal;"),
        ),
        Role::Target if path.exists() => checks.push(write_lock(database).await?),
        Role::Target => checks.push(new_file(path)),
    }
    Ok(Diagnosis {
        checks,
        clock_ahead_ms: None,
    })
}

/// Whether the file can be written at this moment.
async fn write_lock(database: &Arc<Database>) -> Result<Check> {
    let mut session = database.session().await?;
    let written = async {
        session
            .run("PRAGMA busy_timeout = 500", "setting a time-out")
            .await?;
        session
            .run("BEGIN IMMEDIATE", "taking the write lock")
            .await?;
        // A file that may only be read lets a transaction begin all the same.
        session.run(PROBE, "writing").await?;
        session.run("ROLLBACK", "undoing what was written").await
    };
    // The session has a time-out of its own, so it is not given back to the others.
    Ok(match written.await {
        Ok(()) => Check::ok("writable", "the file can be written"),
        Err(error) if error.class == ErrorClass::Transient => Check::warning(
            "writable",
            "another process holds the write lock of the file at this moment",
        )
        .with_hint("a run waits for it for some seconds; end a process that holds it for long"),
        Err(error) => problem(error),
    })
}

fn problem(error: ConnectorError) -> Check {
    let mut check = Check::problem("writable", error.class, error.message);
    check.hint = error.hint;
    check
}

/// Why the file could not be a target, by its rights and those of its folder.
pub(crate) fn obstacle_to_writing(path: &Path) -> Option<String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_readonly =
        |path: &&Path| std::fs::metadata(path).is_ok_and(|found| found.permissions().readonly());
    let found = [path, folder].into_iter().find(is_readonly)?;
    Some(format!("`{}` may not be written", found.display()))
}

fn new_file(path: &Path) -> Check {
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_readonly = std::fs::metadata(folder).is_ok_and(|found| found.permissions().readonly());
    if is_readonly {
        let message = format!(
            "`{}` may not be written, and the file has to be made there",
            folder.display()
        );
        return Check::problem("writable", ErrorClass::Privilege, message)
            .with_hint("give the user of this process the right to write there");
    }
    Check::ok("writable", "the file will be made by the first run")
}
