//! The engines that syncset connects, and what a test has to write differently for each.
//!
//! A new connector gets a variant of [`Engine`], its answers below, and a line in
//! [`with_engines`](crate::with_engines): every claim of the conformance suite then runs for it,
//! and for every pair with it.

use crate::AnyDatabase;
use crate::sample_table::Kind;

/// Calls a macro with the list of engines: the variant of [`Engine`], and the names of the modules
/// of tests about it, from it and to it. What follows the macro's name is passed on.
#[macro_export]
macro_rules! with_engines {
    ($callback:ident!($($rest:tt)*)) => {
        $callback! {
            [
                (Postgres, postgres, from_postgres, to_postgres),
                (Mysql, mysql, from_mysql, to_mysql),
                (Mariadb, mariadb, from_mariadb, to_mariadb),
                (Sqlite, sqlite, from_sqlite, to_sqlite)
            ]
            $($rest)*
        }
    };
}

macro_rules! list {
    ([$(($engine:ident, $about:ident, $from:ident, $to:ident)),+]) => {
        /// A kind of store, as a user names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Engine {
            $(
                #[allow(missing_docs, reason = "the name says it")]
                $engine,
            )+
        }

        impl Engine {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$engine),+];
        }
    };
}
with_engines!(list!());

/// How long a name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameLength {
    /// So many bytes of UTF-8.
    Bytes(usize),
    /// So many characters.
    Characters(usize),
    /// As long as one likes.
    Any,
}

impl NameLength {
    /// Whether a name is not too long.
    pub fn takes(self, name: &str) -> bool {
        match self {
            Self::Bytes(most) => name.len() <= most,
            Self::Characters(most) => name.chars().count() <= most,
            Self::Any => true,
        }
    }
}

impl Engine {
    /// The value of `type:` in a configuration, and the scheme of its URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Sqlite => "sqlite",
        }
    }

    /// An empty database with a name of its own that starts with `prefix`.
    pub async fn database(self, prefix: &str) -> AnyDatabase {
        match self {
            Self::Postgres => AnyDatabase::Postgres(crate::postgres().await.database(prefix).await),
            Self::Mysql => AnyDatabase::Mysql(crate::mysql().database(prefix).await),
            Self::Mariadb => AnyDatabase::Mysql(crate::mariadb().database(prefix).await),
            Self::Sqlite => AnyDatabase::sqlite(),
        }
    }

    /// Tables live in schemas.
    pub fn has_schemas(self) -> bool {
        self == Self::Postgres
    }

    /// Longest name of a table or column.
    pub fn name_length(self) -> NameLength {
        match self {
            Self::Postgres => NameLength::Bytes(63),
            Self::Mysql | Self::Mariadb => NameLength::Characters(64),
            Self::Sqlite => NameLength::Any,
        }
    }

    /// The name of a table of the state.
    pub fn state_table(self, table: &str) -> String {
        match self.has_schemas() {
            true => format!("_syncset.{table}"),
            false => format!("_syncset_{table}"),
        }
    }

    /// A name, quoted.
    pub fn quoted(self, name: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::Mysql | Self::Mariadb => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// `capture:` for a column of [`Kind::Stamp`].
    pub fn capture_by(self, column: &str) -> String {
        let written_by = match self {
            Self::Postgres | Self::Mysql | Self::Mariadb => "written_by: database",
            // It stamps nothing by itself.
            Self::Sqlite => "overlap: 10m",
        };
        format!("{{ mode: cursor, column: {column}, {written_by} }}")
    }

    /// Makes the catalogue know how large a table is.
    pub(crate) fn analyze(self, table: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite => format!("ANALYZE {}", self.quoted(table)),
            Self::Mysql | Self::Mariadb => format!("ANALYZE TABLE {}", self.quoted(table)),
        }
    }

    /// This moment, in the form of a [`Kind::Stamp`].
    pub(crate) fn now(self) -> &'static str {
        match self {
            Self::Postgres => "clock_timestamp()",
            Self::Mysql | Self::Mariadb => "CURRENT_TIMESTAMP(6)",
            Self::Sqlite => "strftime('%Y-%m-%d %H:%M:%f+00:00', 'now')",
        }
    }

    /// The type of a column, as DDL spells it.
    pub fn column_type(self, kind: Kind) -> String {
        let [postgres, mysql, sqlite] = match kind {
            Kind::Int => ["integer", "int", "INTEGER"],
            Kind::BigInt => ["bigint", "bigint", "BIGINT"],
            Kind::Text => ["text", "longtext", "TEXT"],
            Kind::Json => ["json", "json", "TEXT"],
            Kind::Bool => ["boolean", "tinyint(1)", "BOOLEAN"],
            Kind::Bytes => ["bytea", "longblob", "BLOB"],
            Kind::Float => ["double precision", "double", "DOUBLE"],
            Kind::Date => ["date", "date", "DATE"],
            Kind::Local => ["timestamp", "datetime(6)", "DATETIME"],
            Kind::Instant => ["timestamptz", "timestamp(6) NULL", "TIMESTAMPTZ"],
            Kind::Stamp => [
                "timestamptz NOT NULL DEFAULT clock_timestamp()",
                "timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) \
                 ON UPDATE CURRENT_TIMESTAMP(6)",
                "TIMESTAMPTZ NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'))",
            ],
            Kind::Uuid if self == Self::Mariadb => ["", "uuid", ""],
            Kind::Uuid => ["uuid", "char(36)", "UUID"],
            Kind::Decimal(digits, scale) => {
                let name = match self {
                    Self::Postgres => "numeric",
                    Self::Mysql | Self::Mariadb | Self::Sqlite => "decimal",
                };
                return format!("{name}({digits},{scale})");
            }
            Kind::Key(characters) => {
                // A collation in which no two texts are equal but those with the same bytes.
                let collation = match self {
                    Self::Postgres | Self::Sqlite => "",
                    Self::Mysql => " COLLATE utf8mb4_0900_bin",
                    Self::Mariadb => " COLLATE utf8mb4_nopad_bin",
                };
                return format!("varchar({characters}){collation}");
            }
        };
        let name = match self {
            Self::Postgres => postgres,
            Self::Mysql | Self::Mariadb => mysql,
            Self::Sqlite => sqlite,
        };
        name.to_owned()
    }

    /// A value in its canonical form as a literal.
    pub fn literal(self, kind: Kind, value: Option<&str>) -> String {
        let Some(value) = value else {
            return "NULL".to_owned();
        };
        let text = value.replace('\'', "''");
        match (kind, self) {
            (Kind::Bytes, Self::Postgres) => format!("'\\x{value}'"),
            (Kind::Bytes, _) => format!("x'{value}'"),
            (Kind::Bool, Self::Postgres)
            | (Kind::Int | Kind::BigInt | Kind::Decimal(..) | Kind::Float, _) => value.to_owned(),
            (Kind::Bool, _) => i32::from(value == "true").to_string(),
            (Kind::Instant | Kind::Stamp, Self::Postgres | Self::Sqlite) => {
                format!("'{text}+00:00'")
            }
            (_, Self::Mysql | Self::Mariadb) => format!("'{}'", text.replace('\\', "\\\\")),
            _ => format!("'{text}'"),
        }
    }

    /// An expression that gives the text of a column.
    pub(crate) fn text_of(self, kind: Kind, column: &str) -> String {
        match (kind, self) {
            (Kind::Bytes, Self::Postgres) => format!("encode({column}, 'hex')"),
            // `hex` of NULL is an empty text in SQLite.
            (Kind::Bytes, _) => {
                format!("CASE WHEN {column} IS NOT NULL THEN lower(hex({column})) END")
            }
            _ => column.to_owned(),
        }
    }
}
