//! A database of any engine.

use crate::engine::Engine;
use crate::rows::{Place, TextRow};
use crate::sample_table::SampleTable;
use crate::{Database, Flavour, MysqlDatabase, MysqlServer, SqliteFile};
use tempfile::TempDir;

/// A database that nobody else uses, of any engine.
#[derive(Debug)]
pub enum AnyDatabase {
    /// A database of the shared PostgreSQL server.
    Postgres(Database),
    /// A database of the shared MySQL or MariaDB server.
    Mysql(MysqlDatabase),
    /// A file, and the folder that is removed with it.
    Sqlite(SqliteFile, TempDir),
}

impl AnyDatabase {
    /// One of PostgreSQL.
    pub async fn postgres() -> Self {
        Engine::Postgres.database("any").await
    }

    /// One of MySQL or MariaDB.
    pub async fn mysql(server: &'static MysqlServer) -> Self {
        Self::Mysql(server.database("any").await)
    }

    /// One of SQLite; the file is made when it is first used.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        Self::Sqlite(SqliteFile::new(folder.path().join("any.db")), folder)
    }

    /// An empty one of the same engine.
    pub async fn another(&self) -> Self {
        self.engine().database("any").await
    }

    /// Its engine.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Postgres(_) => Engine::Postgres,
            Self::Mysql(database) => match database.flavour() {
                Flavour::Mysql => Engine::Mysql,
                Flavour::Mariadb => Engine::Mariadb,
            },
            Self::Sqlite(..) => Engine::Sqlite,
        }
    }

    /// Where it can be queried.
    pub fn place(&self) -> Place<'_> {
        match self {
            Self::Postgres(database) => database.into(),
            Self::Mysql(database) => database.into(),
            Self::Sqlite(file, _) => file.into(),
        }
    }

    /// URL for a connection, with all rights.
    pub fn url(&self) -> String {
        self.place().url()
    }

    /// Runs statements of its dialect.
    ///
    /// # Panics
    /// If one is refused.
    pub async fn execute(&self, sql: &str) {
        self.place().execute(sql).await;
    }

    /// All rows of a query, as the engine spells them.
    ///
    /// # Panics
    /// If the query is refused.
    pub async fn rows(&self, sql: &str) -> Vec<TextRow> {
        self.place().rows(sql).await
    }

    /// The only value of a query, as text; NULL is `NULL`.
    ///
    /// # Panics
    /// If the query does not return one row of one column.
    pub async fn value(&self, sql: &str) -> String {
        crate::rows::only_value(sql, self.rows(sql).await)
    }

    /// What is written differently with schemas and without.
    pub fn pick<'a>(&self, with_schemas: &'a str, without: &'a str) -> &'a str {
        match self.engine().has_schemas() {
            true => with_schemas,
            false => without,
        }
    }

    /// What each family of engines writes in its own way.
    pub fn own<'a>(&self, postgres: &'a str, sqlite: &'a str, mysql: &'a str) -> &'a str {
        match self {
            Self::Postgres(_) => postgres,
            Self::Sqlite(..) => sqlite,
            Self::Mysql(_) => mysql,
        }
    }

    /// The name of a table of the state.
    pub fn state_table(&self, table: &str) -> String {
        self.engine().state_table(table)
    }

    /// How many rows a table of the state holds.
    pub async fn state_rows(&self, table: &str) -> String {
        self.value(&format!("SELECT count(*) FROM {}", self.state_table(table)))
            .await
    }

    /// Whether there is a table of this name.
    pub async fn has_table(&self, name: &str) -> bool {
        self.value(&self.engine().tables_named(name)).await != "0"
    }

    /// Creates the table.
    pub async fn create(&self, table: &SampleTable) {
        self.execute(&table.ddl(self.engine())).await;
    }

    /// Inserts rows. A row may end before the last columns: those take their defaults, and all
    /// rows of a call end alike.
    pub async fn insert(&self, table: &SampleTable, rows: &[TextRow]) {
        for statement in table.inserts(self.engine(), rows) {
            self.execute(&statement).await;
        }
    }

    /// Creates the table with these rows.
    pub async fn fill(&self, table: &SampleTable, rows: &[TextRow]) {
        self.create(table).await;
        self.insert(table, rows).await;
    }

    /// Makes the catalogue know how large a table is.
    pub async fn analyze(&self, table: &SampleTable) {
        self.execute(&self.engine().analyze(table.name())).await;
    }

    /// Sets a column in the rows in which another has this value, and moves their stamp.
    pub async fn update(&self, table: &SampleTable, set: (&str, Option<&str>), at: (&str, &str)) {
        self.execute(&table.update(self.engine(), set, at)).await;
    }

    /// Deletes the rows in which a column has this value.
    pub async fn delete(&self, table: &SampleTable, at: (&str, &str)) {
        self.execute(&table.delete(self.engine(), at)).await;
    }

    /// All rows in the canonical form, the same text in every engine, sorted. Stamps are left out.
    pub async fn content(&self, table: &SampleTable) -> Vec<TextRow> {
        let rows = self.rows(&table.select(self.engine())).await;
        table.canonical(rows)
    }

    /// How many rows the table holds.
    pub async fn count(&self, table: &SampleTable) -> u64 {
        let count = self.value(&table.count(self.engine())).await;
        count.parse().expect("a count is a number")
    }
}
