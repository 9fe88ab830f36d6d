//! The servers, and what is done by hand with their own clients: `psql`, and `mariadb`, which
//! speaks to MySQL as well.

use crate::measured::run_shell;
use crate::{COLUMNS, TARGET_TABLE};
use kit::{Flavour, MysqlDatabase, MysqlServer, PostgresServer};

/// Settings a production server would have: every commit is flushed and in the binary log, which
/// the kit turns on for both. What a server does not know it leaves out.
const MYSQL_SERVER: &str = "innodb_flush_log_at_trx_commit = 1\nsync_binlog = 1\n\
     innodb_buffer_pool_size = 512M\nloose_innodb_redo_log_capacity = 4G\n\
     loose_innodb_log_file_size = 4G\n";

/// The table that syncset makes of the selected columns.
const MYSQL_TARGET_TABLE: &str = "CREATE TABLE orders (id bigint NOT NULL PRIMARY KEY, \
     customer_id bigint NOT NULL, status longtext NOT NULL, amount decimal(12,2) NOT NULL, \
     quantity int, note longtext, created_at datetime(6) NOT NULL, updated_at datetime(6) NOT NULL)";

/// The source's table as people have it there.
const MYSQL_SOURCE_TABLE: &str = "CREATE TABLE orders (id bigint NOT NULL PRIMARY KEY, \
     customer_id bigint NOT NULL, status varchar(20) NOT NULL, amount decimal(12,2) NOT NULL, \
     quantity int, email varchar(255), note text, payload json, created_at timestamp(6) NOT NULL, \
     updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))";

/// `data/churn.sql` in the words of these servers; they stamp the rows themselves.
const MYSQL_CHURN: &str = "
    UPDATE orders SET status = 'paid', amount = amount + 1 WHERE id % 100 = 7;
    INSERT INTO orders (id, customer_id, status, amount, quantity, email, note, payload, created_at)
      SELECT id + 10000000 + (SELECT MAX(id) FROM orders), customer_id, status, amount, quantity,
        email, note, payload, created_at FROM orders WHERE id % 200 = 3 AND id <= 2000000";

/// A PostgreSQL server and one of the others.
pub(super) struct Servers {
    postgres: PostgresServer,
    mysql: MysqlServer,
}

/// A database of either.
pub(super) enum Database {
    Postgres(kit::Database),
    Mysql(MysqlDatabase),
}

impl Servers {
    pub(super) fn start(config: &str, flavour: Flavour) -> Self {
        Self {
            postgres: PostgresServer::start_own(config),
            mysql: MysqlServer::start_own(flavour, MYSQL_SERVER),
        }
    }

    pub(super) fn flavour(&self) -> Flavour {
        self.mysql.flavour()
    }

    /// What the servers call themselves.
    pub(super) async fn name(&self) -> String {
        let Database::Mysql(database) = self.mysql("bench_version").await else {
            unreachable!("it is a database of MySQL");
        };
        let version = database.value("SELECT VERSION()").await;
        format!("{} {version}", self.flavour().name())
    }

    pub(super) async fn postgres(&self, prefix: &str) -> Database {
        Database::Postgres(self.postgres.database(prefix).await)
    }

    pub(super) async fn mysql(&self, prefix: &str) -> Database {
        Database::Mysql(self.mysql.create_database(prefix).await)
    }

    pub(super) async fn postgres_source(&self, rows: u64) -> Database {
        let source = self.postgres("bench_source").await;
        let sql = include_str!("../../data/dataset.sql").replace(":rows", &rows.to_string());
        source.execute(&sql).await;
        source
    }

    /// The same rows.
    pub(super) async fn mysql_source(&self, postgres: &Database) -> Database {
        let source = self.mysql("bench_source").await;
        source.execute(MYSQL_SOURCE_TABLE).await;
        let (Database::Postgres(from), Database::Mysql(to)) = (postgres, &source) else {
            unreachable!("each server makes databases of its own");
        };
        let columns = COLUMNS.replace("note,", "note, email, payload,");
        run_shell(&format!(
            "{} | {}",
            psql(
                from,
                &format!("COPY (SELECT {} FROM orders) TO STDOUT", in_utc(&columns))
            ),
            client(to, &load_data("orders", &columns))
        ));
        source
            .execute("CREATE INDEX orders_updated_at ON orders (updated_at)")
            .await;
        source.analyze().await;
        source
    }

    /// Lets the servers write what they still hold back.
    pub(super) async fn settle(&self) {
        let postgres = self.postgres("bench_settle").await;
        postgres.execute("CHECKPOINT").await;
        self.mysql.execute("FLUSH LOGS").await;
    }
}

impl Database {
    pub(super) fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url().to_owned(),
            // The client by hand does not encrypt either.
            Self::Mysql(database) => format!("{}?sslmode=disable", database.url()),
        }
    }

    pub(super) fn table(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "public.orders",
            Self::Mysql(_) => "orders",
        }
    }

    pub(super) async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => database.execute(sql).await,
            Self::Mysql(database) => database.execute(sql).await,
        }
    }

    async fn value(&self, sql: &str) -> String {
        match self {
            Self::Postgres(database) => database.value(sql).await,
            Self::Mysql(database) => database.value(sql).await,
        }
    }

    pub(super) async fn count(&self) -> String {
        self.value("SELECT count(*) FROM orders").await
    }

    pub(super) async fn create_table(&self) {
        self.execute(match self {
            Self::Postgres(_) => TARGET_TABLE,
            Self::Mysql(_) => MYSQL_TARGET_TABLE,
        })
        .await;
    }

    /// Names and types of the table's columns, as one text.
    pub(super) async fn columns(&self) -> String {
        match self {
            Self::Postgres(database) => {
                database
                    .value(
                        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod)
                           || attnotnull, ', ' ORDER BY attnum)
                         FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0",
                    )
                    .await
            }
            Self::Mysql(database) => {
                database
                    .value(
                        "SELECT GROUP_CONCAT(CONCAT_WS(' ', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE)
                           ORDER BY ORDINAL_POSITION)
                         FROM information_schema.COLUMNS
                         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'orders'",
                    )
                    .await
            }
        }
    }

    pub(super) async fn analyze(&self) {
        self.execute(match self {
            Self::Postgres(_) => "VACUUM ANALYZE orders",
            Self::Mysql(_) => "ANALYZE TABLE orders",
        })
        .await;
    }

    /// The server's clock, as a literal takes it.
    pub(super) async fn clock(&self) -> String {
        self.value(match self {
            Self::Postgres(_) => "SELECT clock_timestamp()",
            Self::Mysql(_) => "SELECT NOW(6)",
        })
        .await
    }

    /// One interval's change.
    pub(super) async fn churn(&self) {
        self.execute(match self {
            Self::Postgres(_) => include_str!("../../data/churn.sql"),
            Self::Mysql(_) => MYSQL_CHURN,
        })
        .await;
    }

    /// Bytes that the server has written to its log of changes so far.
    pub(super) async fn log_bytes(&self) -> u64 {
        let bytes = match self {
            Self::Postgres(database) => {
                database
                    .value("SELECT pg_current_wal_insert_lsn() - '0/0'")
                    .await
            }
            Self::Mysql(database) => {
                let sql = "SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'";
                let rows = database.rows(sql).await;
                rows[0][1].clone().expect("a counter is a number")
            }
        };
        bytes.parse().expect("a counter is a number")
    }

    /// A command that prints the selected columns of some rows, as the other server's client
    /// takes them.
    pub(super) fn print_rows(&self, condition: &str) -> String {
        match self {
            Self::Postgres(database) => {
                let columns = in_utc(COLUMNS);
                let rows = format!("SELECT {columns} FROM orders WHERE {condition}");
                psql(database, &format!("COPY ({rows}) TO STDOUT"))
            }
            Self::Mysql(database) => {
                let rows = format!("SELECT {COLUMNS} FROM orders WHERE {condition}");
                format!("{} --quick --batch -N", client(database, &rows))
            }
        }
    }

    /// A command that reads printed rows into a table.
    pub(super) fn take_rows(&self, table: &str) -> String {
        match self {
            Self::Postgres(database) => psql(database, &copy_from(table)),
            Self::Mysql(database) => client(database, &load_data(table, COLUMNS)),
        }
    }

    /// A command that reads printed rows into a temporary table and merges them.
    pub(super) fn merge_rows(&self) -> String {
        let set = |value: fn(&str) -> String| {
            let sets = COLUMNS.split(", ");
            let sets: Vec<_> = sets
                .map(|name| format!("{name} = {}", value(name)))
                .collect();
            sets.join(", ")
        };
        match self {
            Self::Postgres(database) => format!(
                "psql -qX '{}' -c 'SET TimeZone = UTC' -c 'CREATE TEMP TABLE stage (LIKE orders)' \
                 -c \"{}\" -c 'INSERT INTO orders SELECT * FROM stage ON CONFLICT (id) DO UPDATE SET {}'",
                database.url(),
                copy_from("stage"),
                set(|name| format!("excluded.{name}"))
            ),
            Self::Mysql(database) => client(
                database,
                &format!(
                    "CREATE TEMPORARY TABLE stage LIKE orders; {}; \
                     INSERT INTO orders SELECT * FROM stage ON DUPLICATE KEY UPDATE {}",
                    load_data("stage", COLUMNS),
                    set(|name| format!("VALUES({name})"))
                ),
            ),
        }
    }
}

/// Both columns as texts without an offset, which these servers do not take.
fn in_utc(columns: &str) -> String {
    columns
        .replace("created_at", "created_at AT TIME ZONE 'UTC'")
        .replace("updated_at", "updated_at AT TIME ZONE 'UTC'")
}

fn psql(database: &kit::Database, sql: &str) -> String {
    format!(
        "psql -qX '{}' -c 'SET TimeZone = UTC' -c \"{sql}\"",
        database.url()
    )
}

fn copy_from(table: &str) -> String {
    format!("COPY {table} ({COLUMNS}) FROM STDIN (NULL 'NULL')")
}

/// What a careful person sets: strict, the time zone of the printed texts, and a character set.
fn client(database: &MysqlDatabase, sql: &str) -> String {
    let url = database.url();
    let port = url
        .rsplit_once(':')
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or("3306", |(port, _)| port);
    format!(
        "mariadb --no-defaults -h 127.0.0.1 -P {port} -u root --local-infile=1 \
         --default-character-set=utf8mb4 {} -e \"SET SESSION sql_mode = 'STRICT_ALL_TABLES', \
         time_zone = '+00:00'; {sql}\"",
        database.name()
    )
}

fn load_data(table: &str, columns: &str) -> String {
    format!(
        "LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {table} CHARACTER SET utf8mb4 ({columns})"
    )
}
