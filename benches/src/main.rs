//! End-to-end benches: each prints the reference, ours and the ratio.
//!
//! `cargo run --release -p syncset-benches -- [ROWS] [copy|replace|drift|plugins|mysql|mariadb]` after
//! `cargo build --release -p syncset`; without a second word all of them. `-- tables [COUNT]` for
//! many tables over distant links.
//! Starts servers of its own with durable settings; `SYNCSET_BIN` names another binary.

mod across;
mod drift;
mod measured;
mod plugins;
mod replace;
mod tables;

use kit::{Database, Flavour, PostgresServer};
use measured::{Measured, kill_syncset, median, run_shell, run_syncset};
use std::path::PathBuf;
use std::time::Duration;

const ROWS_DEFAULT: u64 = 2_000_000;
const TABLES_DEFAULT: u32 = 500;
const COLUMNS: &str = "id, customer_id, status, amount, quantity, note, created_at, updated_at";
const TARGET_TABLE: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL, \
     status text NOT NULL, amount numeric(12,2) NOT NULL, quantity integer, note text, \
     created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL)";
/// Settings a production server would have; the kit's own default turns fsync off.
const SERVER: &str = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\n\
     shared_buffers = 512MB\nmax_wal_size = 4GB\ncheckpoint_timeout = 30min\n";

/// Times that each work is done, reference and ours in turn; the medians are compared.
const ROUNDS: usize = 3;
/// Runs in which nothing is to do.
const IDLE_RUNS: usize = 9;

/// What all benches share.
struct Bench {
    server: PostgresServer,
    source: Database,
    folder: tempfile::TempDir,
    binary: PathBuf,
    rows: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("tables") {
        let count = std::env::args().nth(2).map_or(TABLES_DEFAULT, |text| {
            text.parse().expect("the argument is a number of tables")
        });
        return tables::measure(SERVER, count, &binary()).await;
    }
    let rows = argument.map_or(ROWS_DEFAULT, |text| {
        text.parse().expect("the argument is a number of rows")
    });
    let only = std::env::args().nth(2);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for flavour in [Flavour::Mysql, Flavour::Mariadb] {
        if wanted(flavour.name()) {
            across::measure(SERVER, flavour, rows, &binary()).await;
        }
    }
    if !["copy", "replace", "drift", "plugins"]
        .into_iter()
        .any(wanted)
    {
        return;
    }
    let server = PostgresServer::start_own(SERVER);
    let source = server.database("bench_source").await;
    let bench = Bench {
        source,
        server,
        folder: folder(),
        binary: binary(),
        rows,
    };
    println!(
        "rows: {rows}; binary: {} bytes",
        std::fs::metadata(&bench.binary).map_or(0, |it| it.len())
    );
    bench.fill_source().await;

    if wanted("copy") {
        let (target, whole) = bench.first_load().await;
        bench.change(&target).await;
        bench.interrupted(whole).await;
    }
    if wanted("drift") {
        bench.drift().await;
    }
    if wanted("plugins") {
        bench.plugins().await;
    }
    if wanted("replace") {
        for keyed in [true, false] {
            bench.replace(keyed).await;
        }
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the project can be made")
}

/// The release binary: `SYNCSET_BIN`, or the one beside this program.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SYNCSET_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a running program has a path");
    own.with_file_name("syncset")
}

impl Bench {
    async fn fill_source(&self) {
        let sql = include_str!("../data/dataset.sql").replace(":rows", &self.rows.to_string());
        self.source.execute(&sql).await;
        self.source.execute("CHECKPOINT").await;
    }

    /// Writes a project whose pipeline `name` copies the source into `target`.
    fn write_project(&self, name: &str, target: &Database) {
        self.write_pipeline(name, &self.source.url(), &target.url());
    }

    /// The same with the URLs by which the databases are reached.
    fn write_pipeline(&self, name: &str, source: &str, target: &str) {
        let folder = self.folder.path();
        std::fs::create_dir_all(folder.join("pipelines")).expect("the folder is ours");
        let write =
            |path: PathBuf, text: String| std::fs::write(path, text).expect("the folder is ours");
        write(folder.join("syncset.yaml"), "version: 1\n".into());
        let pipeline = format!(
            "version: 1\nsource: \"{source}\"\ntarget: \"{target}\"\n\
             capture: {{ mode: cursor, column: updated_at, written_by: database }}\n\
             tables:\n  public.orders:\n    columns: [{COLUMNS}]\n"
        );
        write(folder.join(format!("pipelines/{name}.yaml")), pipeline);
    }

    fn syncset(&self, name: &str) -> Measured {
        run_syncset(&self.binary, self.folder.path(), name)
    }

    /// `COPY` piped to `COPY`, into the same table with its primary key. Returns the last target
    /// and what a whole load takes.
    async fn first_load(&self) -> (Database, Duration) {
        let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
        let mut targets = Vec::new();
        for _ in 0..ROUNDS {
            let reference = self.server.database("bench_reference").await;
            reference.execute(TARGET_TABLE).await;
            let pipe = format!(
                "psql -qX '{}' -c 'COPY (SELECT {COLUMNS} FROM orders) TO STDOUT (FORMAT binary)' | \
                 psql -qX '{}' -c 'COPY orders FROM STDIN (FORMAT binary)'",
                self.source.url(),
                reference.url()
            );
            self.source.execute("CHECKPOINT").await;
            by_hand.push(run_shell(&pipe));
            reference.execute("DROP TABLE orders").await;
            let target = self.server.database("bench_target").await;
            self.write_project("orders", &target);
            self.source.execute("CHECKPOINT").await;
            ours.push(self.syncset("orders"));
            targets.push(target);
        }
        let target = targets.pop().expect("there is at least one round");
        assert_eq!(
            target.value("SELECT count(*) FROM orders").await,
            self.rows.to_string()
        );
        let ours = report("first load", by_hand, ours);
        (target, ours.wall)
    }

    /// One interval's change, and the run right after it in which nothing is to do.
    async fn change(&self, target: &Database) {
        let churn = include_str!("../data/churn.sql");
        let reference = self.server.database("bench_change").await;
        reference.execute(TARGET_TABLE).await;
        run_shell(&format!(
            "psql -qX '{}' -c 'COPY orders TO STDOUT (FORMAT binary)' | \
             psql -qX '{}' -c 'COPY orders FROM STDIN (FORMAT binary)'",
            target.url(),
            reference.url()
        ));
        reference.execute("VACUUM ANALYZE orders").await;
        target.execute("VACUUM ANALYZE orders").await;
        let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
        let mut wal = Vec::new();
        // The first interval after a checkpoint writes whole pages: it warms up.
        for round in 0..=ROUNDS {
            let from = self.source.value("SELECT clock_timestamp()").await;
            self.source.execute(churn).await;
            let columns: Vec<String> = COLUMNS
                .split(", ")
                .map(|name| format!("{name} = excluded.{name}"))
                .collect();
            let hand = run_shell(&format!(
                "psql -qX '{}' -c \"COPY (SELECT {COLUMNS} FROM orders WHERE updated_at >= '{from}') \
                 TO STDOUT (FORMAT binary)\" | psql -qX '{}' \
                 -c 'CREATE TEMP TABLE stage (LIKE orders)' -c 'COPY stage FROM STDIN (FORMAT binary)' \
                 -c 'INSERT INTO orders SELECT * FROM stage ON CONFLICT (id) DO UPDATE SET {}'",
                self.source.url(),
                reference.url(),
                columns.join(", ")
            ));
            let before = target.value("SELECT pg_current_wal_insert_lsn()").await;
            let mine = self.syncset("orders");
            let written = format!("SELECT pg_current_wal_insert_lsn() - '{before}'::pg_lsn");
            if round > 0 {
                wal.push(target.value(&written).await);
                by_hand.push(hand);
                ours.push(mine);
            }
        }
        let wal = wal.join(", ");
        report(
            &format!("one interval's change (ours wrote {wal} bytes of WAL)"),
            by_hand,
            ours,
        );
        let idle = (0..IDLE_RUNS).map(|_| self.syncset("orders")).collect();
        println!("nothing changed: {}", median(idle));
        let count = "SELECT count(*) FROM orders";
        assert_eq!(self.source.value(count).await, target.value(count).await);
    }

    /// A first load that is killed after nine tenths of its time, and run again.
    async fn interrupted(&self, whole: Duration) {
        let mut rests = Vec::new();
        for _ in 0..ROUNDS {
            let target = self.server.database("bench_interrupted").await;
            self.write_project("interrupted", &target);
            self.source.execute("CHECKPOINT").await;
            kill_syncset(
                &self.binary,
                self.folder.path(),
                "interrupted",
                whole.mul_f64(0.9),
            );
            rests.push(self.syncset("interrupted"));
        }
        let rest = median(rests);
        println!(
            "first load killed at nine tenths: the rest took {rest}, {:.0} % of a whole load",
            100.0 * rest.wall.as_secs_f64() / whole.as_secs_f64(),
        );
    }
}

/// Prints the medians and their ratio; returns ours.
fn report(name: &str, reference: Vec<Measured>, ours: Vec<Measured>) -> Measured {
    let (reference, ours) = (median(reference), median(ours));
    let ratio = ours.wall.as_secs_f64() / reference.wall.as_secs_f64().max(0.000_001);
    println!(
        "{name}: reference {:.2} s, ours {ours}, ratio {ratio:.2}",
        reference.wall.as_secs_f64()
    );
    ours
}
