//! PostgreSQL to MySQL or MariaDB and back: first loads, one interval's change, nothing changed, an
//! interrupted load, each against the fastest way by hand.

mod stores;

use crate::measured::{Measured, kill_syncset, median, run_shell, run_syncset, run_verb};
use crate::{COLUMNS, IDLE_RUNS, ROUNDS, report};
use kit::Flavour;
use std::path::Path;
use std::time::Duration;
use stores::{Database, Servers};

/// Which way rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToMysql,
    FromMysql,
}

/// One source and the servers its rows go to.
struct Across<'a> {
    servers: &'a Servers,
    way: Way,
    source: Database,
    folder: tempfile::TempDir,
    binary: &'a Path,
    rows: u64,
}

/// Measures both ways with one of the two servers.
pub(crate) async fn measure(config: &str, flavour: Flavour, rows: u64, binary: &Path) {
    let servers = Servers::start(config, flavour);
    println!("{}", servers.name().await);
    let postgres = servers.postgres_source(rows).await;
    let mysql = servers.mysql_source(&postgres).await;
    for (way, source) in [(Way::ToMysql, postgres), (Way::FromMysql, mysql)] {
        let across = Across {
            servers: &servers,
            way,
            source,
            folder: tempfile::tempdir().expect("a folder for the project can be made"),
            binary,
            rows,
        };
        let (target, whole) = across.first_load().await;
        across.checked();
        across.change(&target).await;
        across.interrupted(whole).await;
    }
}

impl Across<'_> {
    fn name(&self) -> String {
        let mysql = self.servers.flavour().name();
        match self.way {
            Way::ToMysql => format!("postgres -> {mysql}"),
            Way::FromMysql => format!("{mysql} -> postgres"),
        }
    }

    async fn target(&self, prefix: &str) -> Database {
        match self.way {
            Way::ToMysql => self.servers.mysql(prefix).await,
            Way::FromMysql => self.servers.postgres(prefix).await,
        }
    }

    fn write_project(&self, name: &str, target: &Database) {
        let folder = self.folder.path();
        std::fs::create_dir_all(folder.join("pipelines")).expect("the folder is ours");
        let pipeline = format!(
            "version: 1\nsource: \"{}\"\ntarget: \"{}\"\n\
             capture: {{ mode: cursor, column: updated_at, written_by: database }}\n\
             tables:\n  {}:\n    columns: [{COLUMNS}]\n    to: {}\n",
            self.source.url(),
            target.url(),
            self.source.table(),
            target.table(),
        );
        std::fs::write(folder.join("syncset.yaml"), "version: 1\n").expect("the folder is ours");
        std::fs::write(folder.join(format!("pipelines/{name}.yaml")), pipeline)
            .expect("the folder is ours");
    }

    fn syncset(&self, name: &str) -> Measured {
        run_syncset(self.binary, self.folder.path(), name)
    }

    /// The clients of both servers with a pipe between, into the same table with its primary key.
    async fn first_load(&self) -> (Database, Duration) {
        let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
        let mut last = None;
        for _ in 0..ROUNDS {
            let reference = self.target("bench_reference").await;
            reference.create_table().await;
            let pipe = format!(
                "{} | {}",
                self.source.print_rows("TRUE"),
                reference.take_rows("orders")
            );
            self.servers.settle().await;
            by_hand.push(run_shell(&pipe));
            let target = self.target("bench_target").await;
            self.write_project("orders", &target);
            self.servers.settle().await;
            ours.push(self.syncset("orders"));
            assert_eq!(
                target.columns().await,
                reference.columns().await,
                "the table by hand is the one that syncset makes"
            );
            reference.execute("DROP TABLE orders").await;
            if let Some(target) = last.replace(target) {
                target.execute("DROP TABLE orders").await;
            }
        }
        let target = last.expect("there is at least one round");
        assert_eq!(target.count().await, self.rows.to_string());
        let whole = report(&format!("{}: first load", self.name()), by_hand, ours);
        (target, whole.wall)
    }

    /// Checks of equal tables, by reading them and by the hashes that both servers make.
    fn checked(&self) {
        for mode in ["stream", "hash"] {
            let words = ["pipeline", "check", "orders", "--mode", mode];
            let check = |_| run_verb(self.binary, self.folder.path(), &words, 0);
            let ours = median((0..ROUNDS).map(check).collect());
            println!("{}: check by {mode}, equal: {ours}", self.name());
        }
    }

    /// One interval's change, and the runs right after it in which nothing is to do.
    async fn change(&self, target: &Database) {
        let reference = self.target("bench_change").await;
        reference.create_table().await;
        run_shell(&format!(
            "{} | {}",
            self.source.print_rows("TRUE"),
            reference.take_rows("orders")
        ));
        for database in [&reference, target] {
            database.analyze().await;
        }
        let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
        let mut logged = Vec::new();
        // The first interval after a load finds cold caches and writes whole pages: it warms up.
        for round in 0..=ROUNDS {
            let from = self.source.clock().await;
            self.source.churn().await;
            let hand = run_shell(&format!(
                "{} | {}",
                self.source.print_rows(&format!("updated_at >= '{from}'")),
                reference.merge_rows()
            ));
            let before = target.log_bytes().await;
            let mine = self.syncset("orders");
            if round > 0 {
                logged.push((target.log_bytes().await - before).to_string());
                by_hand.push(hand);
                ours.push(mine);
            }
        }
        report(
            &format!(
                "{}: one interval's change (ours wrote {} bytes of log at the target)",
                self.name(),
                logged.join(", ")
            ),
            by_hand,
            ours,
        );
        let idle = (0..IDLE_RUNS).map(|_| self.syncset("orders")).collect();
        println!("{}: nothing changed: {}", self.name(), median(idle));
        assert_eq!(self.source.count().await, target.count().await);
        reference.execute("DROP TABLE orders").await;
        target.execute("DROP TABLE orders").await;
    }

    /// A first load that is killed after nine tenths of its time, and run again.
    async fn interrupted(&self, whole: Duration) {
        let mut rests = Vec::new();
        for _ in 0..ROUNDS {
            let target = self.target("bench_interrupted").await;
            self.write_project("interrupted", &target);
            self.servers.settle().await;
            let after = whole.mul_f64(0.9);
            kill_syncset(self.binary, self.folder.path(), "interrupted", after);
            rests.push(self.syncset("interrupted"));
            assert_eq!(self.source.count().await, target.count().await);
            target.execute("DROP TABLE orders").await;
        }
        let rest = median(rests);
        println!(
            "{}: first load killed at nine tenths: the rest took {rest}, {:.0} % of a whole load",
            self.name(),
            100.0 * rest.wall.as_secs_f64() / whole.as_secs_f64(),
        );
    }
}
