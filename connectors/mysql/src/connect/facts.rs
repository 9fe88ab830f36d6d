//! What a server says about itself.

use super::TextRow;
use crate::error;
use crate::types::Flavour;
use std::collections::BTreeMap;
use std::sync::Arc;
use syncset_connector::{ConnectorError, ErrorClass, Result};
use tokio::sync::OnceCell;

/// Oldest servers that are known to work.
const MYSQL_MIN: (u16, u16) = (8, 0);
const MARIADB_MIN: (u16, u16) = (10, 6);

/// Variables of one server may be missing at the other, so they are asked for by a filter.
const VARIABLES: &[&str] = &[
    "server_uuid",
    "server_uid",
    "server_id",
    "lower_case_table_names",
    "read_only",
    "super_read_only",
    "max_allowed_packet",
    "local_infile",
    "binlog_format",
    "log_bin",
    "default_storage_engine",
    "wsrep_on",
    "group_replication_group_name",
    "performance_schema",
    "version_comment",
    "system_time_zone",
];

/// Two statements with rows: who we are, and the variables.
pub(super) fn sql() -> String {
    let names: Vec<_> = VARIABLES.iter().map(|name| format!("'{name}'")).collect();
    format!(
        "SELECT VERSION(), CONNECTION_ID(), CURRENT_USER(), DATABASE(), \
           UNIX_TIMESTAMP(NOW(6)); \
         SHOW SESSION STATUS LIKE 'Ssl_cipher'; \
         SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})",
        names.join(", ")
    )
}

/// What a server says about itself.
#[derive(Debug, Clone)]
pub(crate) struct ServerFacts {
    /// Which of the two it is.
    pub(crate) flavour: Flavour,
    /// Its numbers.
    pub(crate) version_numbers: (u16, u16, u16),
    /// The user we act as: `name@host`.
    pub(crate) user: String,
    /// The database of the connection, as the server spells it.
    pub(crate) database: String,
    /// Whether the link is encrypted.
    pub(crate) encrypted: bool,
    /// The server's own number, which a copy of its files has too; `None` if it has none.
    pub(crate) server_uuid: Option<String>,
    /// 0: names of tables differ by case; 1 and 2: they do not.
    pub(crate) lower_case_table_names: u8,
    /// True if only administrators may write: usually a replica.
    pub(crate) read_only: bool,
    /// True if nobody at all may write.
    pub(crate) super_read_only: bool,
    /// Bytes of one statement at most.
    pub(crate) max_allowed_packet: u64,
    /// Whether `LOAD DATA LOCAL` is allowed.
    pub(crate) local_infile: bool,
    /// `ROW`, `MIXED` or `STATEMENT`, if there is a binary log.
    pub(crate) binlog_format: Option<String>,
    /// Whether the server keeps its own statistics; without them sessions are listed elsewhere.
    pub(crate) performance_schema: bool,
    /// Galera or Group Replication: locks of one member are not seen by the others.
    pub(crate) is_cluster: bool,
    /// Other databases whose foreign keys point to tables of ours, once somebody has asked.
    pub(crate) neighbours: Arc<OnceCell<Vec<String>>>,
}

impl ServerFacts {
    /// Why a run would be refused for how the server logs; `None` if it would not.
    pub(crate) fn refused_log(&self) -> Option<&'static str> {
        let is_refused = self.binlog_format.as_deref() == Some("STATEMENT");
        is_refused.then_some(
            "its server logs statements, not rows, and refuses what a run writes: \
             SET GLOBAL binlog_format = 'ROW'",
        )
    }

    /// Reads the answers to [`sql`].
    pub(super) fn read(sets: &[Vec<TextRow>]) -> Result<(Self, u64)> {
        let [who, cipher, variables] = sets else {
            return Err(error::unexpected("the server did not say who it is"));
        };
        let who = who
            .first()
            .ok_or_else(|| error::unexpected("the server did not say who it is"))?;
        let variables: BTreeMap<String, String> = variables
            .iter()
            .map(|row| Ok((row.required(0)?.to_lowercase(), row.required(1)?.to_owned())))
            .collect::<Result<_>>()?;
        let value = |name: &str| {
            let value = variables.get(name).map(String::as_str);
            value.filter(|value| !value.is_empty())
        };
        let is_on = |name: &str| matches!(value(name), Some("ON" | "1" | "on"));
        let version = who.required(0)?.to_owned();
        let comment = value("version_comment").unwrap_or_default().to_lowercase();
        let is_mariadb = version.to_lowercase().contains("mariadb") || comment.contains("mariadb");
        let facts = Self {
            neighbours: Arc::default(),
            flavour: if is_mariadb {
                Flavour::MariaDb
            } else {
                Flavour::MySql
            },
            version_numbers: numbers(&version),
            user: who.required(2)?.to_owned(),
            database: who.text(3).unwrap_or_default().to_owned(),
            encrypted: cipher
                .first()
                .and_then(|row| row.text(1))
                .is_some_and(|cipher| !cipher.is_empty()),
            server_uuid: value("server_uuid")
                .or_else(|| value("server_uid"))
                .map(str::to_owned),
            lower_case_table_names: value("lower_case_table_names")
                .and_then(|value| value.parse().ok())
                .unwrap_or(0),
            read_only: value("read_only").is_some_and(|value| !matches!(value, "OFF" | "0")),
            super_read_only: is_on("super_read_only"),
            max_allowed_packet: value("max_allowed_packet")
                .and_then(|value| value.parse().ok())
                .ok_or_else(|| error::unexpected("the server hides `max_allowed_packet`"))?,
            local_infile: is_on("local_infile"),
            binlog_format: value("binlog_format")
                .filter(|_| is_on("log_bin"))
                .map(str::to_owned),
            performance_schema: is_on("performance_schema"),
            is_cluster: is_on("wsrep_on") || value("group_replication_group_name").is_some(),
        };
        Ok((facts, who.parse(1)?))
    }

    /// Such as `MariaDB 10.11.19`.
    pub(crate) fn product(&self) -> String {
        let (major, minor, patch) = self.version_numbers;
        format!("{} {major}.{minor}.{patch}", self.flavour.product())
    }

    /// True if names of tables that differ by case only mean one table.
    pub(crate) fn ignores_case(&self) -> bool {
        self.lower_case_table_names != 0
    }

    /// Refuses servers that are too old to be known to work.
    pub(super) fn check_version(&self) -> Result<()> {
        check_version(self.flavour, self.version_numbers)
    }
}

fn check_version(flavour: Flavour, (major, minor, patch): (u16, u16, u16)) -> Result<()> {
    let oldest = match flavour {
        Flavour::MySql => MYSQL_MIN,
        Flavour::MariaDb => MARIADB_MIN,
    };
    if (major, minor) >= oldest {
        return Ok(());
    }
    let product = flavour.product();
    Err(ConnectorError::new(
        ErrorClass::Unsupported,
        format!("the server is {product} {major}.{minor}.{patch}, which is too old"),
    )
    .with_hint(format!("use {product} {}.{} or newer", oldest.0, oldest.1)))
}

/// The numbers a version begins with. MariaDB used to write `5.5.5-` before its own for the sake of
/// old replicas.
fn numbers(version: &str) -> (u16, u16, u16) {
    let version = match version.strip_prefix("5.5.5-") {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_digit()) => rest,
        _ => version,
    };
    let mut parts = version
        .split(|character: char| !character.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_servers_say() {
        assert_eq!(numbers("10.11.19-MariaDB-0+deb12u1"), (10, 11, 19));
        assert_eq!(numbers("5.5.5-10.6.4-MariaDB"), (10, 6, 4));
        assert_eq!(numbers("5.5.5"), (5, 5, 5));
        assert_eq!(numbers("9.7.0-1"), (9, 7, 0));
        assert_eq!(numbers(""), (0, 0, 0));
    }

    #[test]
    fn servers_that_are_too_old_are_refused() {
        for (flavour, version, is_taken) in [
            (Flavour::MySql, "5.7.44-log", false),
            (Flavour::MySql, "8.0.11", true),
            (Flavour::MySql, "8.4.6", true),
            (Flavour::MariaDb, "10.5.23-MariaDB-0+deb11u1", false),
            (Flavour::MariaDb, "10.6.1-MariaDB", true),
            (Flavour::MariaDb, "11.8.6-MariaDB", true),
        ] {
            let checked = check_version(flavour, numbers(version));

            assert_eq!(checked.is_ok(), is_taken, "{version}");
        }
        let error = check_version(Flavour::MySql, (5, 7, 44)).expect_err("too old");
        assert_eq!(
            error.message,
            "the server is MySQL 5.7.44, which is too old"
        );
        assert_eq!(error.hint.as_deref(), Some("use MySQL 8.0 or newer"));
    }
}
