//! What our sessions are set to: for their whole life, or behind a pooler in each transaction.
//!
//! A pooler hands the server's sessions on to its other clients, so nothing that we set may outlive
//! our transaction there; and the next transaction may be given a session that has none of it.

use super::Config;
use super::facts::EVIDENCE_OF_POOLER;
use crate::changes::READER_APPLICATION;
use crate::sql::quote_literal;
use std::time::Duration;
use syncset_connector::{OpenOptions, Role};

/// Longest time a transaction of a target may sit idle: a stopped process keeps its locks.
const TARGET_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15 * 60);
/// The same for a source, whose idle transactions hold nothing but a snapshot that others read.
const SOURCE_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest name of a session; the server cuts longer ones.
const NAME_BYTES_MAX: usize = 63;

/// The encoding of a database that keeps whatever bytes it was given. A source's are taken as they
/// are, so that our own decoder can name the column that holds no UTF-8.
const NO_ENCODING: &str = "SQL_ASCII";

/// How old a server process may be when our first statement reaches it, beyond twice the time
/// that connecting took. An older one was not started for us.
const AGE_SLACK: Duration = Duration::from_secs(1);

/// The settings of all sessions of one store.
pub(super) struct SessionSettings {
    /// The name that the driver sends when it connects.
    startup_name: String,
    /// What has to hold while our statements run: names and values.
    needed: Vec<(&'static str, String)>,
    /// What ends a session whose client is gone, and what protects a source from ourselves.
    /// Behind a pooler the client is the pooler, and transactions are made read-only one by one.
    protecting: Vec<(&'static str, &'static str)>,
    reads_only: bool,
}

/// What precedes each transaction of a session behind a pooler.
pub(super) struct Prologue {
    /// Statements without rows.
    pub(super) sql: String,
    /// How many they are.
    pub(super) count: usize,
}

impl SessionSettings {
    pub(super) fn new(config: &Config, options: &OpenOptions) -> Self {
        let ms = |duration: Duration| duration.as_millis().min(i32::MAX as u128).to_string();
        // Sessions that only read cannot stamp a row; their name says so to our own windows.
        let application = match (options.role, options.application.strip_prefix("syncset:")) {
            (Role::Source, Some(rest)) => format!("{READER_APPLICATION}{rest}"),
            (Role::Source, None) => format!("{READER_APPLICATION}{}", options.application),
            (Role::Target, _) => options.application.clone(),
        };
        let idle = match options.role {
            Role::Source => SOURCE_IDLE_IN_TRANSACTION,
            Role::Target => TARGET_IDLE_IN_TRANSACTION,
        };
        let mut needed = vec![
            ("application_name", visible_name(&application)),
            ("lock_timeout", ms(options.lock_timeout)),
            ("statement_timeout", ms(options.statement_timeout)),
            ("idle_in_transaction_session_timeout", ms(idle)),
        ];
        // Makes the server's text forms the same everywhere.
        let fixed = [
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, YMD"),
            ("IntervalStyle", "postgres"),
            ("bytea_output", "hex"),
            ("extra_float_digits", "3"),
            ("standard_conforming_strings", "on"),
            ("xmlbinary", "base64"),
            ("xmloption", "content"),
            ("jit", "off"),
        ];
        needed.extend(fixed.map(|(name, value)| (name, value.to_owned())));
        let mut protecting = vec![
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ];
        if options.role == Role::Source {
            let row_security = if config.row_security { "on" } else { "off" };
            needed.push(("row_security", row_security.to_owned()));
            protecting.push(("default_transaction_read_only", "on"));
        }
        Self {
            startup_name: startup_name(&options.application),
            needed,
            protecting,
            reads_only: options.role == Role::Source,
        }
    }

    /// The first statements of a session: set everything, for the session if it is ours alone,
    /// otherwise until the end of this message. `connecting` is the time that connecting took.
    pub(super) fn first_statements(&self, connecting: Duration) -> String {
        let evidence = EVIDENCE_OF_POOLER
            .replace("{name}", &literal(&self.startup_name))
            .replace(
                "{age_ms}",
                &(connecting * 2 + AGE_SLACK).as_millis().to_string(),
            );
        let needed: Vec<_> = self
            .needed
            .iter()
            .map(|(name, value)| {
                let value = literal(value);
                format!("pg_catalog.set_config('{name}', {value}, s.pooled)")
            })
            .collect();
        let protecting: Vec<_> = self
            .protecting
            .iter()
            .map(|(name, value)| format!("pg_catalog.set_config('{name}', '{value}', false)"))
            .collect();
        let encoding = match self.reads_only {
            true => format!(
                "CASE pg_catalog.getdatabaseencoding() WHEN '{NO_ENCODING}' THEN '{NO_ENCODING}' \
                 ELSE 'UTF8' END"
            ),
            false => "'UTF8'".to_owned(),
        };
        let pooled = "pg_catalog.current_setting('syncset.pooled')::pg_catalog.bool";
        format!(
            "SELECT pg_catalog.set_config('syncset.pooled', ({evidence})::pg_catalog.text, true);
             SELECT pg_catalog.set_config('syncset.session', 'used', s.pooled),
               pg_catalog.set_config('client_encoding', {encoding}, s.pooled), {}
               FROM (SELECT {pooled} AS pooled) s;
             SELECT {} WHERE NOT {pooled};
             SELECT pg_catalog.set_config('client_connection_check_interval', '1s', false)
               WHERE pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 140000
               AND NOT {pooled};\n",
            needed.join(", "),
            protecting.join(", "),
        )
    }

    /// What a session behind a pooler sends before each transaction. No statement of it takes a
    /// snapshot, so that `BEGIN` may still choose the isolation.
    pub(super) fn prologue(&self, server_encoding: &str) -> Prologue {
        let encoding = match server_encoding {
            NO_ENCODING if self.reads_only => NO_ENCODING,
            _ => "UTF8",
        };
        let mut sql = format!("SET LOCAL client_encoding = {};\n", literal(encoding));
        for (name, value) in &self.needed {
            sql.push_str(&format!("SET LOCAL {name} = {};\n", literal(value)));
        }
        let mut count = self.needed.len() + 1;
        if self.reads_only {
            sql.push_str("SET TRANSACTION READ ONLY;\n");
            count += 1;
        }
        Prologue { sql, count }
    }
}

/// The name that the driver sends when it connects, as the server shows it.
pub(super) fn startup_name(application: &str) -> String {
    visible_name(application)
}

/// A name in the form in which servers of every version show it.
fn visible_name(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            ' '..='~' => character,
            _ => '?',
        })
        .take(NAME_BYTES_MAX)
        .collect()
}

fn literal(text: &str) -> String {
    quote_literal(text).expect("a text without NUL can be quoted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use syncset_connector::Settings;

    fn settings(role: Role) -> SessionSettings {
        let empty = Settings {
            name: "crm".to_owned(),
            values: BTreeMap::new(),
            base: "/project".into(),
        };
        let config = Config::read(&empty).map_err(|_| ()).expect("no problems");
        let options = OpenOptions {
            role,
            application: format!("syncset:shop/{}", "ä".repeat(80)),
            sessions_max: 1,
            connect_timeout: Duration::ZERO,
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::ZERO,
        };
        SessionSettings::new(&config, &options)
    }

    #[test]
    fn names_are_what_every_server_shows() {
        let settings = settings(Role::Target);

        assert_eq!(settings.startup_name.len(), NAME_BYTES_MAX);
        assert!(settings.startup_name.starts_with("syncset:shop/??"));
    }

    #[test]
    fn prologue_sets_nothing_that_outlives_its_transaction() {
        let source = settings(Role::Source).prologue("UTF8");
        let target = settings(Role::Target).prologue("UTF8");

        for prologue in [&source, &target] {
            let statements: Vec<_> = prologue.sql.lines().collect();
            assert_eq!(statements.len(), prologue.count);
            for statement in statements {
                assert!(
                    statement.starts_with("SET LOCAL ")
                        || statement == "SET TRANSACTION READ ONLY;",
                    "{statement}"
                );
            }
        }
        assert!(source.sql.contains("SET TRANSACTION READ ONLY"));
        assert!(source.sql.contains("row_security"));
        assert!(source.sql.contains("client_encoding = 'UTF8'"));
        assert!(!target.sql.contains("READ ONLY"));
    }
}
