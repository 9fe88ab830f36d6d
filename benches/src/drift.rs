//! `pipeline check` of equal tables and of tables that differ in some rows, in both ways, beside
//! reladiff if that is installed.

use super::{Bench, COLUMNS, ROUNDS, report};
use crate::measured::{Measured, median, run_shell, run_verb};
use kit::{Database, Proxy};

/// One side's rows hashed by the server in the cheapest way.
const REFERENCE: &str = "SELECT sum(hash_record_extended(ROW(:columns), 0)) FROM orders";

/// Exit code of a check that finds differences.
const DIFFERENT: i32 = 4;

impl Bench {
    /// Equal tables, then a hundred rows changed and five missing, scattered.
    pub(super) async fn drift(&self) {
        let target = self.server.database("bench_drift").await;
        self.write_project("drift", &target);
        println!("drift, first load: {}", self.syncset("drift"));
        for database in [&self.source, &target] {
            database.execute("VACUUM ANALYZE orders").await;
        }

        self.compared("equal", &target, 0);
        let bytes = self.moved(&target, 0).await;
        let step = (self.rows / 100).max(2);
        target
            .execute(&format!(
                "UPDATE orders SET note = 'drift' WHERE id % {step} = 1; \
                 DELETE FROM orders WHERE id IN (SELECT 2 + {step} * i * 20 FROM generate_series(0, 4) i)"
            ))
            .await;
        target.execute("VACUUM ANALYZE orders").await;
        let changed = target.value("SELECT count(*) FROM orders WHERE note = 'drift'");
        let drifted: u64 = changed.await.parse().expect("a number of rows");
        let changed = format!("{drifted} changed and 5 missing");
        self.compared(&changed, &target, DIFFERENT);
        let with_drift = self.moved(&target, DIFFERENT).await;
        println!(
            "bytes between syncset and both servers by hash: {bytes} if equal, {with_drift} if not: \
             {} for each of these rows",
            with_drift.saturating_sub(bytes) / (drifted + 5)
        );
    }

    /// Bytes that one check by hash moves to and from both servers.
    async fn moved(&self, target: &Database, code: i32) -> u64 {
        let before = || Proxy::before(self.server.host(), self.server.port());
        let (before_source, before_target) = (before().await, before().await);
        self.write_pipeline(
            "drift",
            &self.source.url_through(before_source.port()),
            &target.url_through(before_target.port()),
        );
        let words = ["pipeline", "check", "drift", "--mode", "hash"];
        run_verb(&self.binary, self.folder.path(), &words, code);
        self.write_project("drift", target);
        before_source.bytes() + before_target.bytes()
    }

    fn compared(&self, what: &str, target: &Database, code: i32) {
        let sql = REFERENCE.replace(":columns", COLUMNS);
        let psql = |url: String| format!("psql -qXAt '{url}' -c 'SET jit = off' -c '{sql}'");
        let both = format!("{} & {}; wait", psql(self.source.url()), psql(target.url()));
        for mode in ["hash", "stream"] {
            let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                by_hand.push(run_shell(&format!("({both}) > /dev/null")));
                let words = ["pipeline", "check", "drift", "--mode", mode];
                ours.push(run_verb(&self.binary, self.folder.path(), &words, code));
            }
            report(
                &format!("check by {mode}, {what}, against both sides' sums of hashes"),
                by_hand,
                ours,
            );
        }
        if let Some(reladiff) = reladiff(&self.source, target) {
            println!("reladiff, {what}: {reladiff}");
        }
    }
}

/// The same work by reladiff; `None` if it is not there.
fn reladiff(source: &Database, target: &Database) -> Option<Measured> {
    let version = std::process::Command::new("reladiff")
        .arg("--version")
        .output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!("reladiff is not installed");
        return None;
    }
    let url = |database: &Database| database.url().replacen("postgres://", "postgresql://", 1);
    let columns = COLUMNS.split(", ").filter(|column| *column != "id");
    let columns: Vec<_> = columns.map(|column| format!("-c {column}")).collect();
    let command = format!(
        "reladiff '{}' orders '{}' orders -k id {} > /dev/null",
        url(source),
        url(target),
        columns.join(" ")
    );
    let runs = (0..ROUNDS).map(|_| run_shell(&command)).collect();
    Some(median(runs))
}
