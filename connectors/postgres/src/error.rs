//! Driver and server errors as errors of the contract.
//!
//! A server's message is passed on only where it cannot hold a cell value; DETAIL and CONTEXT
//! never are.

use sqlx::postgres::PgDatabaseError;
use syncset_connector::{ConnectorError, ErrorClass};

/// The error of the contract for an error of the driver.
pub(crate) fn of(error: sqlx::Error) -> ConnectorError {
    match error {
        sqlx::Error::Database(database) => match database.try_downcast::<PgDatabaseError>() {
            Ok(server) => of_server(&server),
            Err(other) => ConnectorError::new(ErrorClass::Store, "the server reported an error")
                .caused_by(other.to_string()),
        },
        sqlx::Error::Io(cause) => lost_link().caused_by(cause),
        sqlx::Error::Tls(cause) => ConnectorError::new(
            ErrorClass::Connection,
            "the encrypted link to the server could not be made",
        )
        .with_hint("check `sslmode`, `sslrootcert` and the server's certificate")
        .caused_by(cause),
        sqlx::Error::Protocol(text) if text.contains("authentication") => ConnectorError::new(
            ErrorClass::Authentication,
            "the server wants a kind of login that is not supported",
        )
        .with_hint("allow `scram-sha-256` for this user in the server's `pg_hba.conf`")
        .caused_by(text),
        sqlx::Error::Configuration(cause) => ConnectorError::new(
            ErrorClass::Config,
            "the connection's settings cannot be used",
        )
        .caused_by(cause),
        other => lost_link().caused_by(other),
    }
}

/// The same for a connection of this name, where the message has to say whose server it was.
pub(crate) fn at(connection: &str, failure: sqlx::Error) -> ConnectorError {
    let mut error = of(failure);
    if error.class == ErrorClass::DiskFull {
        error.message = format!("a disk of `{connection}` is full: {}", error.message);
    }
    error
}

/// The link to the server is gone or in an unknown state.
pub(crate) fn lost_link() -> ConnectorError {
    ConnectorError::new(ErrorClass::Connection, "lost the link to the server")
        .with_hint("run again; if it stays so, look at the server's log and the network between")
}

/// An answer of the server that cannot be read: a broken invariant of the protocol.
pub(crate) fn unexpected(what: impl Into<String>) -> ConnectorError {
    ConnectorError::new(ErrorClass::Store, what)
        .with_hint("please report this with the server's version")
}

fn of_server(server: &PgDatabaseError) -> ConnectorError {
    let code = server.code();
    let class = match class_of(code) {
        ErrorClass::Connection => class_of_pooler(server.message()),
        class => class,
    };
    let mut error = ConnectorError::new(class, sentence(server, class)).with_code(code);
    let as_if = match class {
        ErrorClass::Authentication => "28P01",
        _ => code,
    };
    if let Some(hint) = hint_of(as_if) {
        error = error.with_hint(hint);
    }
    error
}

/// The class of what a pooler says under the code of a broken link: it has one for everything
/// that goes wrong before it has a server.
fn class_of_pooler(message: &str) -> ErrorClass {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&[
        "authentication failed",
        "auth failed",
        "no such user",
        "wrong password",
    ]) {
        ErrorClass::Authentication
    } else if says(&["no such database"]) {
        ErrorClass::Config
    } else {
        ErrorClass::Connection
    }
}

/// The class of an SQLSTATE.
pub(crate) fn class_of(code: &str) -> ErrorClass {
    match code {
        "23505" | "23503" | "23P01" => ErrorClass::RowParked,
        "40001" | "40P01" | "55P03" | "57014" => ErrorClass::Transient,
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => ErrorClass::Connection,
        "42501" => ErrorClass::Privilege,
        "53100" => ErrorClass::DiskFull,
        "3D000" | "42P01" | "42703" | "3F000" | "42601" => ErrorClass::Config,
        "72000" => ErrorClass::SnapshotLost,
        "0A000" => ErrorClass::Unsupported,
        // A value too large for its index.
        "54000" => ErrorClass::RowRefused,
        // WITH CHECK OPTION of a view, and what a trigger raises.
        "44000" | "P0001" => ErrorClass::RowRefused,
        _ => match code.get(..2) {
            Some("08") => ErrorClass::Connection,
            Some("22" | "23") => ErrorClass::RowRefused,
            Some("28") => ErrorClass::Authentication,
            Some("40" | "53") => ErrorClass::Transient,
            _ => ErrorClass::Store,
        },
    }
}

fn sentence(server: &PgDatabaseError, class: ErrorClass) -> String {
    let place = place(server);
    match server.code() {
        "23505" => format!("a unique key refused a row{place}"),
        "23503" => format!("a foreign key refused a row{place}"),
        "23P01" => format!("an exclusion constraint refused a row{place}"),
        "23502" => format!("a NOT NULL column got no value{place}"),
        "23514" => format!("a check refused a row{place}"),
        "44000" => format!("the check option of a view refused a row{place}"),
        "54000" => "a value is too large for an index or a row".to_owned(),
        "P0001" => format!("a trigger or function of the database raised an error{place}"),
        "22001" => format!("a value is too long for its type{place}"),
        "22003" => format!("a number is out of range for its type{place}"),
        "22008" => format!("a date or time is out of range for its type{place}"),
        "22P02" | "22P03" | "22007" => format!("a value cannot be read as its type{place}"),
        "22021" | "22P05" => {
            format!("a text has a character that the database's encoding cannot hold{place}")
        }
        _ if matches!(class, ErrorClass::RowRefused | ErrorClass::RowParked) => {
            format!("the server refused a value{place}")
        }
        // What is full is in the message.
        "53100" => server.message().to_owned(),
        _ => format!("the server said: {}", server.message()),
    }
}

/// Names of the table, column and constraint, as far as the server gave them.
fn place(server: &PgDatabaseError) -> String {
    let mut place = String::new();
    if let Some(table) = server.table() {
        let schema = server
            .schema()
            .map_or_else(String::new, |schema| format!("{schema}."));
        place.push_str(&format!(" of `{schema}{table}`"));
    }
    let of_copy = || copied_column(server.r#where()?);
    if let Some(column) = server.column().or_else(of_copy) {
        place.push_str(&format!(", column `{column}`"));
    }
    if let Some(constraint) = server.constraint() {
        place.push_str(&format!(", constraint `{constraint}`"));
    }
    if let Some(data_type) = server.data_type() {
        place.push_str(&format!(", type `{data_type}`"));
    }
    place
}

/// The column whose value a COPY could not take, which only the context says: `COPY stage, line 7,
/// column note`. What follows a colon is the value.
fn copied_column(context: &str) -> Option<&str> {
    let mut lines = context.lines();
    let line = lines.find(|line| line.starts_with("COPY "))?;
    let (_, column) = line.split_once(", column ")?;
    Some(column.split_once(": ").map_or(column, |(column, _)| column))
}

fn hint_of(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" | "28000" => "check user and password, and the server's `pg_hba.conf`",
        "3D000" => "check the name of the database",
        "42501" => "grant this user the right that the message names",
        "53100" => "free space on the server's disk, then run again",
        "53300" => "lower `--jobs`, or raise `max_connections` of the server",
        "55P03" => "another session holds a lock on the table; run again when it is done",
        "57014" => "raise `statement_timeout`, or run again when the server is less busy",
        "25006" => "this session is read-only, or the server is a standby",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poolers_that_refuse_a_login_are_not_asked_again() {
        for (message, class) in [
            ("password authentication failed", ErrorClass::Authentication),
            ("auth failed", ErrorClass::Authentication),
            ("no such user: ann", ErrorClass::Authentication),
            (
                "server login failed: FATAL password authentication failed for user \"ann\"",
                ErrorClass::Authentication,
            ),
            ("no such database: shop", ErrorClass::Config),
            (
                "server login has been failing, try again later (server_login_retry)",
                ErrorClass::Connection,
            ),
            ("client_login_timeout", ErrorClass::Connection),
            ("pgbouncer cannot connect to server", ErrorClass::Connection),
        ] {
            assert_eq!(class_of_pooler(message), class, "{message}");
        }
    }

    #[test]
    fn copies_name_their_columns_and_no_values() {
        for (context, column) in [
            ("COPY stage, line 7, column note", Some("note")),
            ("COPY t, line 1, column note: \"secret\"", Some("note")),
            ("COPY t, line 1: \"secret\"", None),
            ("SQL statement \"SELECT 1, column 2\"", None),
        ] {
            assert_eq!(copied_column(context), column, "{context}");
        }
    }

    #[test]
    fn sqlstates_decide_what_may_be_tried_again() {
        for (code, class) in [
            ("08006", ErrorClass::Connection),
            ("57P01", ErrorClass::Connection),
            ("40001", ErrorClass::Transient),
            ("40P01", ErrorClass::Transient),
            ("55P03", ErrorClass::Transient),
            ("53300", ErrorClass::Transient),
            ("53100", ErrorClass::DiskFull),
            ("28P01", ErrorClass::Authentication),
            ("42501", ErrorClass::Privilege),
            ("42P01", ErrorClass::Config),
            ("22P02", ErrorClass::RowRefused),
            ("23502", ErrorClass::RowRefused),
            ("23514", ErrorClass::RowRefused),
            ("23505", ErrorClass::RowParked),
            ("23503", ErrorClass::RowParked),
            ("XX000", ErrorClass::Store),
            ("", ErrorClass::Store),
        ] {
            assert_eq!(class_of(code), class, "{code}");
        }
    }
}
