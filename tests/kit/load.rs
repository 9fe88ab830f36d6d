//! Writers that keep changing a table of PostgreSQL, MySQL or MariaDB, and a ledger of everything
//! they committed.
//!
//! Each key belongs to one writer, so the ledger is exact whatever order commits arrive in.

use crate::rows::{Comparison, Place, TextRow};
use crate::writer::{Writer, WriterReport};
use crate::writer_session::Server;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Regions a row can be in; see [`SELECTED_REGIONS`].
pub const REGIONS: [&str; 4] = ["de", "fr", "us", "jp"];

/// The regions that [`Load::WHERE`] selects.
pub const SELECTED_REGIONS: [&str; 2] = ["de", "fr"];

/// Which clock stamps `updated_at`; a trigger does it, so the database is the writer. MySQL and
/// MariaDB know the start of the statement only, whatever is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// `now()`: the start of the transaction, the oldest of them.
    Transaction,
    /// `statement_timestamp()`.
    Statement,
    /// `clock_timestamp()`.
    Clock,
}

impl Stamp {
    fn function(self) -> &'static str {
        match self {
            Self::Transaction => "now()",
            Self::Statement => "statement_timestamp()",
            Self::Clock => "clock_timestamp()",
        }
    }
}

/// What the writers do.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Writers at the same time.
    pub writer_count: u32,
    /// Rows before the first write.
    pub initial_rows: u32,
    /// Bytes of the column `label`, to make rows wider.
    pub label_bytes: usize,
    /// Which clock stamps `updated_at`.
    pub stamp: Stamp,
    /// Statements of one transaction.
    pub statements: RangeInclusive<u32>,
    /// Milliseconds between the last statement and the commit.
    pub commit_delay_ms: RangeInclusive<u64>,
    /// Transactions that rest before they commit, of 100: their session runs no statement.
    pub late_percent: u32,
    /// Milliseconds that these wait.
    pub late_ms: RangeInclusive<u64>,
    /// Chances among a transaction's statements.
    pub weights: Weights,
    /// Transactions that roll back, of 100.
    pub rollback_percent: u32,
    /// Transactions that read and wait before they write, of 100.
    pub read_first_percent: u32,
    /// Inserts that have their time, and wait before they touch the table, of 100.
    pub wait_percent: u32,
    /// Transactions that are prepared before they commit, of 100. MySQL and MariaDB show them to
    /// all databases of a server, where they keep first loads waiting.
    pub two_phase_percent: u32,
    /// Makes the same choices again; the default is printed when a test fails.
    pub seed: u64,
}

/// Chances of each kind of statement, relative to one another.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// A new row.
    pub insert: u32,
    /// A new value, in the same region.
    pub update: u32,
    /// Another region, so that the row may enter or leave the selection.
    pub relocate: u32,
    /// A row goes away. Capture by cursor and by `xmin` does not see that.
    pub delete: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        let seed = std::env::var("SYNCSET_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(rand::random);
        Self {
            writer_count: 4,
            initial_rows: 1_000,
            label_bytes: 20,
            stamp: Stamp::Transaction,
            statements: 1..=4,
            commit_delay_ms: 0..=20,
            late_percent: 0,
            late_ms: 0..=0,
            weights: Weights {
                insert: 4,
                update: 8,
                relocate: 3,
                delete: 0,
            },
            rollback_percent: 10,
            read_first_percent: 10,
            wait_percent: 0,
            two_phase_percent: 0,
            seed,
        }
    }
}

/// One row as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRow {
    /// The key.
    pub id: i64,
    /// Text of random letters.
    pub label: String,
    /// `numeric(12,2)` as text.
    pub amount: String,
    /// One of [`REGIONS`].
    pub region: String,
    /// Grows with every write of the row.
    pub revision: i64,
}

impl LoadRow {
    /// True if [`Load::WHERE`] holds for it.
    pub fn is_selected(&self) -> bool {
        SELECTED_REGIONS.contains(&self.region.as_str())
    }

    fn text(&self) -> TextRow {
        [
            self.id.to_string(),
            self.label.clone(),
            self.amount.clone(),
            self.region.clone(),
            self.revision.to_string(),
        ]
        .map(Some)
        .to_vec()
    }

    fn of(row: &TextRow) -> Self {
        let field = |index: usize| {
            row[index]
                .clone()
                .expect("columns of the load are NOT NULL")
        };
        let number = |index: usize| field(index).parse().expect("it is a bigint");
        Self {
            id: number(0),
            label: field(1),
            amount: field(2),
            region: field(3),
            revision: number(4),
        }
    }
}

/// A table under load and the ledger of what it holds.
#[derive(Debug)]
pub struct Load {
    server: Server,
    options: LoadOptions,
    ledger: Ledger,
    next_id: i64,
    round: u64,
}

/// Everything that is committed: key to row.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The rows.
    pub rows: BTreeMap<i64, LoadRow>,
    /// Transactions that were committed.
    pub commit_count: u64,
    /// Transactions that were rolled back.
    pub rollback_count: u64,
}

impl Load {
    /// The table, in the schema `public`.
    pub const TABLE: &str = "load_item";

    /// A condition for a pipeline that selects about half of the rows.
    pub const WHERE: &str = "region in ('de', 'fr')";

    /// Reads what the ledger has, in its order of columns.
    pub const SELECT: &str = "SELECT id, label, amount, region, revision FROM load_item";

    /// The same for SQLite, which does not keep the zeros of `1.50`.
    pub const SELECT_SQLITE: &str =
        "SELECT id, label, printf('%.2f', amount), region, revision FROM load_item";

    /// Creates the table with its first rows.
    ///
    /// Columns: `id bigint` (key), `label text`, `amount numeric(12,2)`, `region text`,
    /// `revision bigint`, `secret text`, `updated_at timestamptz` with an index.
    ///
    /// # Panics
    /// In SQLite, which has one writer only.
    pub async fn create<'a>(database: impl Into<Place<'a>>, options: LoadOptions) -> Self {
        eprintln!("SYNCSET_TEST_SEED={}", options.seed);
        let database = database.into();
        let (server, statements) = match database {
            Place::Postgres(_) => (Server::Postgres(database.url()), in_postgres(&options)),
            Place::Mysql(database) => (Server::Mysql(database.clone()), in_mysql(&options)),
            Place::Sqlite(_) => panic!("SQLite has one writer only"),
        };
        database.execute(&statements).await;
        let rows = database.rows(Self::SELECT).await;
        let rows: BTreeMap<i64, LoadRow> = rows
            .iter()
            .map(|row| {
                let row = LoadRow::of(row);
                (row.id, row)
            })
            .collect();
        Self {
            server,
            next_id: i64::from(options.initial_rows) + 1,
            options,
            ledger: Ledger {
                rows,
                ..Ledger::default()
            },
            round: 0,
        }
    }

    /// Starts the writers.
    pub fn start(self) -> RunningLoad {
        let stop = Arc::new(AtomicBool::new(false));
        let commits = Arc::new(AtomicU64::new(0));
        let writers = (0..self.options.writer_count)
            .map(|number| {
                let writer = Writer::new(&self, number, Arc::clone(&stop), Arc::clone(&commits));
                tokio::spawn(writer.run())
            })
            .collect();
        RunningLoad {
            load: self,
            stop,
            commits,
            writers,
        }
    }

    /// What is committed.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn options(&self) -> &LoadOptions {
        &self.options
    }

    pub(crate) fn next_id(&self) -> i64 {
        self.next_id
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    fn take_over(&mut self, report: WriterReport) {
        let writers = i64::from(self.options.writer_count);
        self.ledger
            .rows
            .retain(|id, _| id.rem_euclid(writers) != report.remainder);
        self.ledger.rows.extend(report.rows);
        self.ledger.commit_count += report.commit_count;
        self.ledger.rollback_count += report.rollback_count;
        self.next_id = self.next_id.max(report.next_id);
    }
}

/// Writers at work.
#[derive(Debug)]
pub struct RunningLoad {
    load: Load,
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    writers: Vec<JoinHandle<WriterReport>>,
}

impl RunningLoad {
    /// Transactions committed since the start.
    pub fn commit_count(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Waits until the writers have committed so many more transactions.
    pub async fn commits(&self, more: u64) {
        let wanted = self.commit_count() + more;
        let reached = async || self.commit_count() >= wanted;
        crate::eventually("the writers commit", reached).await;
    }

    /// Lets every writer finish its transaction and ends them.
    ///
    /// # Panics
    /// If a writer was refused something.
    pub async fn stop(mut self) -> Load {
        self.stop.store(true, Ordering::SeqCst);
        for writer in self.writers {
            let report = writer.await.expect("a writer did not panic");
            self.load.take_over(report);
        }
        self.load.round += 1;
        self.load
    }
}

impl Ledger {
    /// Compares the selected rows of the ledger with rows of [`Load::SELECT`].
    pub fn verify_selected(&self, rows: Vec<TextRow>) -> Comparison {
        self.verify(rows, LoadRow::is_selected)
    }

    /// Compares the rows of the ledger for which `is_expected` with rows of [`Load::SELECT`].
    pub fn verify(&self, rows: Vec<TextRow>, is_expected: impl Fn(&LoadRow) -> bool) -> Comparison {
        let expected = self.rows.values().filter(|row| is_expected(row));
        Comparison::of(expected.map(LoadRow::text).collect(), rows, 1)
    }

    /// Compares the selected rows of the ledger with the table of this name at a target, and the
    /// whole ledger with the source.
    ///
    /// # Panics
    /// If anything differs.
    pub async fn assert_at<'a, 'b>(
        &self,
        source: impl Into<Place<'a>>,
        target: impl Into<Place<'b>>,
    ) {
        let at_source = source.into().rows(Load::SELECT).await;
        let difference = self.verify(at_source, |_| true);
        assert!(difference.is_equal(), "the ledger is wrong: {difference}");
        let target = target.into();
        let select = match target {
            Place::Postgres(_) | Place::Mysql(_) => Load::SELECT,
            Place::Sqlite(_) => Load::SELECT_SQLITE,
        };
        let at_target = target.rows(select).await;
        self.verify_selected(at_target).assert_equal();
    }
}

/// Waits until something is true.
///
/// # Panics
/// If it is not within a minute.
pub async fn eventually(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(10);
    const DEADLINE: Duration = Duration::from_secs(180);
    let looking = async {
        while !is_true().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    let seen = tokio::time::timeout(DEADLINE, looking).await;
    assert!(seen.is_ok(), "gave up waiting until {what}");
}

fn in_postgres(options: &LoadOptions) -> String {
    let stamp = options.stamp.function();
    let rows = options.initial_rows;
    let label_bytes = options.label_bytes;
    format!(
        "CREATE TABLE load_item (
           id bigint PRIMARY KEY,
           label text NOT NULL,
           amount numeric(12,2) NOT NULL,
           region text NOT NULL,
           revision bigint NOT NULL,
           secret text NOT NULL DEFAULT 'never leaves the source',
           updated_at timestamptz NOT NULL DEFAULT {stamp});
         CREATE INDEX ON load_item (updated_at);
         CREATE FUNCTION stamp_load_item() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.updated_at := {stamp}; RETURN NEW; END $$;
         CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON load_item
           FOR EACH ROW EXECUTE FUNCTION stamp_load_item();
         INSERT INTO load_item (id, label, amount, region, revision)
           SELECT n, rpad(md5(n::text), {label_bytes}, 'x'), n % 1000 / 4.0,
                  (ARRAY['de', 'fr', 'us', 'jp'])[1 + n % 4], 0
           FROM generate_series(1, {rows}) n;
         ANALYZE load_item"
    )
}

fn in_mysql(options: &LoadOptions) -> String {
    let rows = options.initial_rows;
    let label_bytes = options.label_bytes;
    let digits: Vec<_> = (0..10).map(|digit| format!("SELECT {digit} n")).collect();
    format!(
        "CREATE TABLE load_item (
           id bigint PRIMARY KEY,
           label text NOT NULL,
           amount decimal(12,2) NOT NULL,
           region varchar(8) NOT NULL,
           revision bigint NOT NULL,
           secret varchar(60) NOT NULL DEFAULT 'never leaves the source',
           updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
             ON UPDATE CURRENT_TIMESTAMP(6),
           KEY (updated_at));
         INSERT INTO load_item (id, label, amount, region, revision)
           WITH d AS ({}), i AS (SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n n
             FROM d a, d b, d c, d e, d f)
           SELECT n, RPAD(LEFT(SHA2(n, 256), 32), {label_bytes}, 'x'), MOD(n, 1000) / 4.0,
             ELT(1 + MOD(n, 4), 'de', 'fr', 'us', 'jp'), 0
           FROM i WHERE n <= {rows};
         ANALYZE TABLE load_item",
        digits.join(" UNION ALL ")
    )
}
