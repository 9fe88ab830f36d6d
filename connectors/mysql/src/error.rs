//! Errors of the driver and of servers as errors of the contract.
//!
//! Messages of these servers hold cell values ("Duplicate entry 'x'"), so of those that can only
//! the names of columns and constraints are passed on.

use mysql_async::{DriverError, Error, IoError, ServerError};
use syncset_connector::{ConnectorError, ErrorClass};

/// The error of the contract for an error of the driver.
pub(crate) fn of(error: Error) -> ConnectorError {
    match error {
        Error::Server(server) => of_server(&server),
        Error::Io(IoError::Io(cause)) => lost_link().caused_by(cause),
        Error::Io(IoError::Tls(cause)) => ConnectorError::new(
            ErrorClass::Connection,
            "the encrypted link to the server could not be made",
        )
        .with_hint("check `sslmode`, `sslrootcert` and the server's certificate")
        .caused_by(cause),
        Error::Driver(driver) => of_driver(driver),
        other => lost_link().caused_by(other),
    }
}

/// The same for a connection of this name, where the message has to say whose server it was.
pub(crate) fn at(connection: &str, failure: Error) -> ConnectorError {
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

/// The number of a server's error; `None` for others.
pub(crate) fn number(error: &ConnectorError) -> Option<u16> {
    error.code.as_deref()?.parse().ok()
}

fn of_driver(driver: DriverError) -> ConnectorError {
    match driver {
        DriverError::UnknownAuthPlugin { name } => ConnectorError::new(
            ErrorClass::Authentication,
            format!("the server wants to authenticate by `{name}`, which is not supported"),
        )
        .with_hint(
            "check the name of the user, because MySQL answers so for users that do not exist; \
             users log in by `caching_sha2_password` (MySQL), `mysql_native_password`, `ed25519` or \
             `parsec` (MariaDB)",
        ),
        DriverError::MysqlOldPasswordDisabled | DriverError::CleartextPluginDisabled => {
            ConnectorError::new(
                ErrorClass::Authentication,
                "the server wants the password in a form that is not safe",
            )
            .with_hint(
                "let the user log in by `caching_sha2_password` (MySQL) or \
                 `mysql_native_password`",
            )
        }
        DriverError::NoKeyFound => ConnectorError::new(
            ErrorClass::Config,
            "the file that `sslkey` names holds no private key",
        )
        .with_hint("PEM files hold a line like `-----BEGIN PRIVATE KEY-----`"),
        DriverError::PacketTooLarge => ConnectorError::new(
            ErrorClass::Unsupported,
            "a row is larger than the protocol allows",
        ),
        // Their texts may hold rows.
        DriverError::FromValue { .. } | DriverError::FromRow { .. } => {
            unexpected("a value of the server has a strange form")
        }
        DriverError::UnexpectedPacket { .. } => lost_link(),
        other => lost_link().caused_by(other.to_string()),
    }
}

fn of_server(server: &ServerError) -> ConnectorError {
    let class = class_of(server.code, &server.state);
    let mut error =
        ConnectorError::new(class, sentence(server, class)).with_code(server.code.to_string());
    if let Some(hint) = hint_of(server.code) {
        error = error.with_hint(hint);
    }
    error
}

/// The class of a server's error number.
pub(crate) fn class_of(code: u16, state: &str) -> ErrorClass {
    match code {
        // Duplicate key; foreign keys; a row that others point to.
        1062 | 1169 | 1586 | 1859 | 1216 | 1217 | 1451 | 1452 => ErrorClass::RowParked,
        // Deadlock, lock time-outs, statement time-outs, a statement that was killed, a row that
        // changed while its lock was waited for.
        1205 | 1213 | 3572 | 1317 | 1969 | 3024 | 4024 | 1020 => ErrorClass::Transient,
        // Connections, memory, statements: too many.
        1040 | 1203 | 1226 | 1037 | 1038 | 1041 | 1461 | 1615 => ErrorClass::Transient,
        1045 | 1251 | 1275 | 1524 | 1698 | 1820 | 1862 | 3118 | 3159 | 4151 => {
            ErrorClass::Authentication
        }
        1044 | 1142 | 1143 | 1227 | 1370 | 1371 | 3530 => ErrorClass::Privilege,
        1049 | 1051 | 1054 | 1064 | 1109 | 1146 | 1305 | 1356 => ErrorClass::Config,
        1412 => ErrorClass::SourceChanged,
        1021 | 1114 | 1026 => ErrorClass::DiskFull,
        1053 | 1077..=1080 | 1152 | 1156..=1161 | 1927 | 2006 | 2013 | 3169 | 4031 => {
            ErrorClass::Connection
        }
        1153 | 1235 | 1286 | 1289 | 1295 => ErrorClass::Unsupported,
        1290 | 1836 | 3750 => ErrorClass::Config,
        // What a value, a check or a trigger refuses.
        1048
        | 1138
        | 1263..=1265
        | 1292
        | 1300
        | 1364
        | 1366
        | 1367
        | 1406
        | 1411
        | 1416
        | 1644
        | 1690
        | 1526
        | 3140..=3158
        | 3819
        | 4025
        | 1977 => ErrorClass::RowRefused,
        _ => match state.get(..2) {
            Some("08") => ErrorClass::Connection,
            Some("22" | "45") => ErrorClass::RowRefused,
            Some("28") => ErrorClass::Authentication,
            Some("40") => ErrorClass::Transient,
            _ => ErrorClass::Store,
        },
    }
}

fn sentence(server: &ServerError, class: ErrorClass) -> String {
    let place = place(&server.message);
    match server.code {
        1062 | 1169 | 1586 | 1859 => format!("a unique key refused a row{place}"),
        1216 | 1217 | 1451 | 1452 => format!("a foreign key refused a row{place}"),
        1048 | 1263 | 1364 => format!("a NOT NULL column got no value{place}"),
        1264 | 1690 => format!("a number is out of range for its type{place}"),
        1406 => format!("a value is too long for its type{place}"),
        1366 | 1300 | 1977 => {
            format!("a value cannot be read as its type or its character set{place}")
        }
        3819 | 4025 => format!("a check refused a row{place}"),
        1644 => format!("a trigger or procedure of the database raised an error{place}"),
        1526 => "no partition of the table takes a row".to_owned(),
        _ if matches!(class, ErrorClass::RowRefused | ErrorClass::RowParked) => {
            format!("the server refused a value{place}")
        }
        1412 => "a table was altered while it was read".to_owned(),
        _ => format!("the server said: {}", server.message),
    }
}

/// Names of the column, the key or the constraint, as far as the message has them. What it has in
/// quotes elsewhere may be a value.
fn place(message: &str) -> String {
    let quoted = |after: &str, quote: char| {
        let (_, rest) = message.rsplit_once(after)?;
        let name = rest.strip_prefix(quote)?;
        name.split_once(quote).map(|(name, _)| name)
    };
    let column = quoted("or column ", '\'').or_else(|| quoted("Column ", '\''));
    if let Some(column) = column.or_else(|| column_of_path(message)) {
        return format!(", column `{column}`");
    }
    if let Some(column) = quoted("Field ", '\'') {
        return format!(", column `{column}`");
    }
    if let Some(key) = quoted("for key ", '\'') {
        return format!(", key `{key}`");
    }
    if let Some(constraint) = quoted("CONSTRAINT ", '`').or_else(|| quoted("constraint ", '\'')) {
        return format!(", constraint `{constraint}`");
    }
    String::new()
}

/// The column that MariaDB names with its table: for column `shop`.`customers`.`note` at row 1.
fn column_of_path(message: &str) -> Option<&str> {
    let (_, path) = message.rsplit_once("or column `")?;
    let (path, _) = path.rsplit_once("` at row ")?;
    Some(path.rsplit_once("`.`").map_or(path, |(_, column)| column))
}

fn hint_of(code: u16) -> Option<&'static str> {
    Some(match code {
        1045 | 1698 => "check user and password, and from which hosts the user may log in",
        1820 | 1862 => "the user's password has expired: set a new one",
        3118 | 4151 => "unlock the user with `ALTER USER ... ACCOUNT UNLOCK`",
        1044 | 1142 | 1143 | 1227 | 1370 => "grant this user the right that the message names",
        1049 => "check the name of the database",
        1040 | 1203 | 1226 => {
            "lower `--jobs`, or raise `max_connections` or the user's own limits at the server"
        }
        1205 | 3572 => "another session holds a lock on the table; run again when it is done",
        1317 | 1969 | 3024 => {
            "raise `statement_timeout`, or run again when the server is less busy"
        }
        1021 | 1114 | 1026 => "free space on the server's disk, then run again",
        1153 => "raise `max_allowed_packet` of the server",
        1290 | 1836 => "the server is read-only: it may be a replica",
        1792 => "this session is read-only",
        3750 => {
            "name a key of the table with `key:`, set `sql_generate_invisible_primary_key = ON` at \
             the server, or create the table yourself"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, state: &str, message: &str) -> ConnectorError {
        of_server(&ServerError {
            code,
            message: message.to_owned(),
            state: state.to_owned(),
        })
    }

    #[test]
    fn error_numbers_decide_what_may_be_tried_again() {
        for (code, state, class) in [
            (1213, "40001", ErrorClass::Transient),
            (1205, "HY000", ErrorClass::Transient),
            (1040, "08004", ErrorClass::Transient),
            (2013, "HY000", ErrorClass::Connection),
            (1158, "08S01", ErrorClass::Connection),
            (1045, "28000", ErrorClass::Authentication),
            (1142, "42000", ErrorClass::Privilege),
            (1146, "42S02", ErrorClass::Config),
            (1062, "23000", ErrorClass::RowParked),
            (1452, "23000", ErrorClass::RowParked),
            (1048, "23000", ErrorClass::RowRefused),
            (1264, "22003", ErrorClass::RowRefused),
            (3819, "HY000", ErrorClass::RowRefused),
            (1412, "HY000", ErrorClass::SourceChanged),
            (1114, "HY000", ErrorClass::DiskFull),
            (9999, "HY000", ErrorClass::Store),
        ] {
            assert_eq!(class_of(code, state), class, "{code}");
        }
    }

    #[test]
    fn values_in_messages_are_not_passed_on() {
        for (code, message, expected) in [
            (
                1062,
                "Duplicate entry 'secret' for key 'customers.email'",
                "a unique key refused a row, key `customers.email`",
            ),
            (
                1366,
                "Incorrect string value: '\\xF0secret' for column 'note' at row 1",
                "a value cannot be read as its type or its character set, column `note`",
            ),
            (
                1292,
                "Incorrect datetime value: 'secret' for column 'at' at row 7",
                "the server refused a value, column `at`",
            ),
            (
                1292,
                "Incorrect uuid value: 'secret' for column `shop`.`customers`.`id` at row 1",
                "the server refused a value, column `id`",
            ),
            (
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`d`.`t`, \
                 CONSTRAINT `fk` FOREIGN KEY (`a`) REFERENCES `p` (`id`))",
                "a foreign key refused a row, constraint `fk`",
            ),
            (
                1292,
                "Truncated incorrect INTEGER value: 'secret'",
                "the server refused a value",
            ),
            (
                1644,
                "secret",
                "a trigger or procedure of the database raised an error",
            ),
        ] {
            assert_eq!(server(code, "22000", message).message, expected);
        }
    }
}
