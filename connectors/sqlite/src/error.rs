//! What an error of SQLite means to the caller.

use sqlx::error::DatabaseError;
use std::path::Path;
use syncset_connector::{ConnectorError, ErrorClass};

const ERROR: i32 = 1;
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const SCHEMA: i32 = 17;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;

const CONSTRAINT_FOREIGN_KEY: i32 = 787;
const CONSTRAINT_PRIMARY_KEY: i32 = 1555;
const CONSTRAINT_UNIQUE: i32 = 2067;
const CONSTRAINT_ROWID: i32 = 2579;

/// Result code of a driver's error, if SQLite itself reported it.
pub(crate) fn code_of(error: &sqlx::Error) -> Option<i32> {
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .and_then(|code| code.parse().ok())
}

/// Turns a driver's error into one of the contract. `place` is what was being done, such as
/// "writing `orders`".
pub(crate) fn from_sqlx(error: sqlx::Error, path: &Path, place: &str) -> ConnectorError {
    let Some(code) = code_of(&error) else {
        let class = match &error {
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => ErrorClass::Connection,
            _ => ErrorClass::Store,
        };
        return ConnectorError::new(class, format!("{place} failed in `{}`", path.display()))
            .caused_by(error);
    };
    let file = path.display();
    let (class, message, hint) = match code & 0xff {
        BUSY | LOCKED => (
            ErrorClass::Transient,
            format!("`{file}` is locked by another process while {place}"),
            Some("end the program that has it open, or run again when it is done"),
        ),
        INTERRUPT => (
            ErrorClass::Transient,
            format!("{place} was interrupted in `{file}`"),
            Some("run again; if it takes too long, an index makes it cheaper"),
        ),
        FULL => (
            ErrorClass::DiskFull,
            format!("no space is left for `{file}` while {place}"),
            Some("free space on the disk and run again"),
        ),
        CORRUPT | NOTADB => (
            ErrorClass::Config,
            format!("`{file}` is damaged or is not a SQLite database ({place})"),
            Some("check the path, or run `PRAGMA integrity_check` and restore a backup"),
        ),
        IOERR | CANTOPEN if path.is_dir() => (
            ErrorClass::Config,
            format!("`{file}` is a folder"),
            Some("name a file in it"),
        ),
        CANTOPEN => (
            ErrorClass::Config,
            format!("`{file}` cannot be opened"),
            Some("check that the file exists and that its folder may be read and written"),
        ),
        READONLY | PERM | AUTH => (
            ErrorClass::Privilege,
            format!("`{file}` may not be written while {place}"),
            Some("check the rights of the file and of its folder"),
        ),
        CONSTRAINT => constraint(code, place),
        MISMATCH | TOOBIG => (
            ErrorClass::RowRefused,
            format!("a row was refused while {place}: its values do not fit the table"),
            None,
        ),
        SCHEMA => (
            ErrorClass::SourceChanged,
            format!("a table was altered while {place}"),
            None,
        ),
        // SQLITE_ERROR is mostly a statement that does not compile.
        ERROR => (
            ErrorClass::Store,
            format!("{place} failed in `{file}`"),
            None,
        ),
        _ => (
            ErrorClass::Store,
            format!("{place} failed in `{file}`"),
            None,
        ),
    };
    let mut mapped = ConnectorError::new(class, message)
        .with_code(code.to_string())
        .caused_by(error);
    mapped.hint = hint.map(str::to_owned);
    mapped
}

fn constraint(code: i32, place: &str) -> (ErrorClass, String, Option<&'static str>) {
    match code {
        CONSTRAINT_FOREIGN_KEY => (
            ErrorClass::RowParked,
            format!("a foreign key refused a row while {place}"),
            Some("sync the parent table too, or drop the foreign key at the target"),
        ),
        CONSTRAINT_UNIQUE | CONSTRAINT_PRIMARY_KEY | CONSTRAINT_ROWID => (
            ErrorClass::RowParked,
            format!("a unique key refused a row while {place}"),
            Some("another row of the target has the same value; make the key of the pipeline fit"),
        ),
        _ => (
            ErrorClass::RowRefused,
            format!("a constraint refused a row while {place}"),
            Some("compare the NOT NULL and CHECK constraints of both tables"),
        ),
    }
}
