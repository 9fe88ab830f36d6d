//! What an engine does as a target, for claims about the contract.

use crate::engine::Engine;
use syncset_connector::Connector;

impl Engine {
    /// Its connector.
    pub fn connector(self) -> &'static dyn Connector {
        match self {
            Self::Postgres => syncset_postgres::CONNECTOR,
            Self::Mysql => syncset_mysql::MYSQL,
            Self::Mariadb => syncset_mysql::MARIADB,
            Self::Sqlite => syncset_sqlite::CONNECTOR,
        }
    }

    /// The table of the state that holds its version.
    pub fn version_table(self) -> String {
        self.state_table(match self {
            Self::Postgres | Self::Mysql | Self::Mariadb => "meta",
            Self::Sqlite => "schema_version",
        })
    }

    /// The column of the state's chunks that counts them.
    pub fn chunk_number(self) -> &'static str {
        match self {
            Self::Postgres => "index",
            Self::Mysql | Self::Mariadb => "number",
            Self::Sqlite => "chunk",
        }
    }

    /// Asks how many schemas of ours, or tables, an otherwise empty database has.
    pub fn what_was_made(self) -> &'static str {
        match self {
            Self::Postgres => "SELECT count(*) FROM pg_namespace WHERE nspname = '_syncset'",
            Self::Mysql | Self::Mariadb => {
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
            }
            Self::Sqlite => "SELECT count(*) FROM sqlite_schema",
        }
    }

    /// Asks how many tables of this name a database has.
    pub(crate) fn tables_named(self, name: &str) -> String {
        let tables = match self {
            Self::Postgres => "information_schema.tables WHERE table_name",
            Self::Mysql | Self::Mariadb => {
                "information_schema.tables WHERE table_schema = DATABASE() AND table_name"
            }
            Self::Sqlite => "sqlite_schema WHERE name",
        };
        format!("SELECT count(*) FROM {tables} = '{name}'")
    }

    /// Asks for its clock, in seconds since 1970.
    pub fn clock(self) -> &'static str {
        match self {
            Self::Postgres => "SELECT extract(epoch FROM clock_timestamp())::int8",
            Self::Mysql | Self::Mariadb => "SELECT UNIX_TIMESTAMP()",
            Self::Sqlite => "SELECT strftime('%s', 'now')",
        }
    }

    /// Asks how many sessions of the lease's owner the state lists, how many of them live, and how
    /// many of them renew the lease, as `2 2 1`. `None`: a lock of the operating system tells
    /// whether the owner lives.
    pub fn sessions_listed(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some(
                "SELECT count(*) || ' ' || count(a.pid) || ' ' || count(*) FILTER (WHERE s.control) \
                 FROM _syncset.lease_session s LEFT JOIN pg_stat_activity a USING (pid, backend_start)",
            ),
            Self::Mysql | Self::Mariadb => Some(
                "SELECT CONCAT(COUNT(*), ' ', SUM(IS_USED_LOCK(lock_name) IS NOT NULL), ' ', \
                 SUM(control)) FROM _syncset_lease_session",
            ),
            Self::Sqlite => None,
        }
    }

    /// Whether a chunk into an empty table is written without looking for its keys, so that a row
    /// that somebody else has written meanwhile is in its way. Otherwise it is merged.
    pub fn loads_directly(self) -> bool {
        match self {
            Self::Postgres | Self::Mysql | Self::Mariadb => true,
            Self::Sqlite => false,
        }
    }

    /// Asks how many sessions are in the statement by which a decision takes the lock of a unit's
    /// row. `None`: it has one writer at a time, so that nothing is decided while a unit is open.
    pub fn decisions_that_wait(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND query LIKE '%FOR UPDATE%' AND pid <> pg_backend_pid() \
                 AND datname = current_database()",
            ),
            // InnoDB's own list of transactions would not do: it is not renewed while somebody
            // reads it again and again.
            Self::Mysql => Some(
                "SELECT COUNT(*) FROM performance_schema.processlist p \
                 WHERE p.DB = DATABASE() AND p.COMMAND = 'Query' AND p.INFO LIKE '%FOR UPDATE%' \
                 AND p.ID <> CONNECTION_ID()",
            ),
            Self::Mariadb => Some(
                "SELECT COUNT(*) FROM information_schema.processlist p \
                 WHERE p.DB = DATABASE() AND p.COMMAND = 'Query' AND p.INFO LIKE '%FOR UPDATE%' \
                 AND p.ID <> CONNECTION_ID()",
            ),
            Self::Sqlite => None,
        }
    }
}
