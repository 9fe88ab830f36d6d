//! Writers of MySQL and MariaDB that commit late and out of order, against runs back to back.
//!
//! The rules people usually write lose rows here, which shows that the harness sees a loss.

use crate::crash_lab::{CURSOR, Lab};
use crate::mysql_lab::{FLAVOURS, MysqlLab, alone};
use crate::mysql_windows::{NARROW, STAMPED, waits_for_a_table};
use crate::targets::Target;
use kit::mysql::rows_of;
use kit::{Flavour, Load, LoadOptions, Weights};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;

/// Commits of one test, unless `SYNCSET_LATE_COMMITS` says otherwise.
const COMMITS_DEFAULT: u64 = 100;

/// Runs of one test at least, while the writers write.
const RUNS_MIN: u32 = 3;

fn commits_wanted() -> u64 {
    let wanted = std::env::var("SYNCSET_LATE_COMMITS").ok();
    wanted.map_or(COMMITS_DEFAULT, |text| {
        text.parse().expect("SYNCSET_LATE_COMMITS is a number")
    })
}

/// One transaction in ten rests in its session for longer than a window of [`NARROW`] reaches
/// below the clock; one insert in five waits with its time before it touches the table; some are
/// prepared.
fn late() -> LoadOptions {
    LoadOptions {
        writer_count: 6,
        initial_rows: 300,
        read_first_percent: 20,
        wait_percent: 20,
        two_phase_percent: 10,
        late_percent: 10,
        late_ms: 4_000..=6_000,
        ..LoadOptions::default()
    }
}

/// Runs while the writers write; at the end the target has what they committed.
async fn nothing_is_lost(lab: &MysqlLab, capture: &str, options: LoadOptions) {
    let load = Load::create(&lab.source, options).await;
    let pipeline = format!(
        "version: 1\nsource: source\ntarget: target\n\
         guards: {{ max_delete_percent: 100, empty_source: allow }}\ntables:\n  {}:\n    \
         columns: [id, label, amount, region, revision]\n    where: \"{}\"\n    \
         capture: {capture}\n",
        Load::TABLE,
        Load::WHERE,
    );
    lab.project.pipeline("p", &pipeline);
    lab.run().await.expect_success();
    let running = load.start();

    let mut runs = 0;
    while running.commit_count() < commits_wanted() || runs < RUNS_MIN {
        lab.run().await.expect_success();
        runs += 1;
    }
    let load = running.stop().await;
    lab.run().await.expect_success();

    load.ledger()
        .assert_at(&lab.source, lab.target.place())
        .await;
    println!(
        "{:?}: {runs} runs, {} commits, 0 lost",
        lab.source.flavour(),
        load.ledger().commit_count
    );
}

async fn no_late_row_is_lost(flavour: Flavour, target: Target) {
    let server = alone(flavour).await;
    let source = server.create_database("late").await;
    let lab = MysqlLab::of(source, target, "").await;
    nothing_is_lost(&lab, NARROW, late()).await;
}

#[tokio::test]
async fn cursor_loses_no_row_that_mysql_commits_late() {
    no_late_row_is_lost(Flavour::Mysql, Target::mysql(kit::mariadb()).await).await;
}

#[tokio::test]
async fn cursor_loses_no_row_that_mariadb_commits_late() {
    no_late_row_is_lost(Flavour::Mariadb, Target::mysql(kit::mysql()).await).await;
}

#[tokio::test]
async fn rows_that_postgres_commits_late_reach_both_servers() {
    for server in [kit::mysql(), kit::mariadb()] {
        let source = Target::postgres().await;
        let lab = Lab::new(source, Target::mysql(server).await, CURSOR);
        let options = LoadOptions {
            late_ms: 300..=900,
            ..late()
        };
        let load = lab.create(options).await;
        lab.run().await;
        let running = load.start();

        let mut runs = 0;
        while running.commit_count() < commits_wanted() || runs < RUNS_MIN {
            lab.run().await;
            runs += 1;
        }

        let load = lab.compare(running).await;
        let commits = load.ledger().commit_count;
        println!(
            "{:?}: {runs} runs, {commits} commits, 0 lost",
            server.flavour()
        );
    }
}

#[tokio::test]
async fn whole_reads_lose_no_late_row_and_no_delete() {
    let with_deletes = || LoadOptions {
        weights: Weights {
            insert: 4,
            update: 6,
            relocate: 3,
            delete: 4,
        },
        two_phase_percent: 0,
        late_percent: 0,
        ..late()
    };
    for (flavour, target) in [
        (Flavour::Mysql, Target::sqlite()),
        (Flavour::Mariadb, Target::postgres().await),
    ] {
        let lab = MysqlLab::new(flavour, target, "").await;
        nothing_is_lost(&lab, "full", with_deletes()).await;
    }
}

/// A rule that people write: which rows a run reads, and where the next one starts.
struct Rule {
    /// The next watermark, asked before the rows are read.
    bound: &'static str,
    /// The rows, given the last watermark.
    rows: &'static str,
}

/// The largest stamp that was read.
const NAIVE: Rule = Rule {
    bound: "SELECT COALESCE(MAX(updated_at), '1971-01-01') FROM t",
    rows: "updated_at > ",
};

/// The start of the oldest transaction, without a look at statements that are none yet.
const WITHOUT_STATEMENTS: Rule = Rule {
    bound: "SELECT LEAST(NOW(6), COALESCE(MIN(trx_started), NOW(6)))
        FROM information_schema.INNODB_TRX WHERE trx_is_read_only = 0",
    rows: "updated_at >= ",
};

/// Follows `t` by a rule from `last`: the next watermark.
async fn follow(reader: &mut Conn, rule: &Rule, ids: &mut BTreeSet<String>, last: &str) -> String {
    let next = rows_of(reader, rule.bound).await;
    let sql = format!("SELECT id FROM t WHERE {} '{last}'", rule.rows);
    let rows = rows_of(reader, &sql).await;
    ids.extend(rows.into_iter().filter_map(|row| row[0].clone()));
    next[0][0].clone().expect("a bound is never NULL")
}

/// A lab that has loaded an empty table, and what a rule has found in it.
struct RuleLab {
    lab: MysqlLab,
    reader: Conn,
    rule: Rule,
    ids: BTreeSet<String>,
    last: String,
}

impl RuleLab {
    async fn new(source: kit::MysqlDatabase, rule: Rule) -> Self {
        let setup = format!(
            "{STAMPED}; CREATE TABLE held (v varchar(9)); INSERT INTO held VALUES ('late')"
        );
        let lab = MysqlLab::of(source, Target::sqlite(), &setup).await;
        lab.pipeline(
            "  t: { columns: [id, v], capture: { mode: cursor, column: updated_at, written_by: database } }",
        );
        lab.run().await.expect_success();
        Self {
            reader: lab.source.connect().await,
            lab,
            rule,
            ids: BTreeSet::new(),
            last: "1971-01-01".to_owned(),
        }
    }

    /// The rule and ours, once each.
    async fn look(&mut self) {
        self.last = follow(&mut self.reader, &self.rule, &mut self.ids, &self.last).await;
        self.lab.run().await.expect_success();
    }

    /// Whether the rule, and whether our windows, found the late row beside the early one.
    async fn found_late_row(&self) -> (bool, bool) {
        assert!(self.ids.contains("2"), "the rule finds nothing at all");
        let ours = self.lab.value("SELECT count(*) FROM t").await;
        (self.ids.contains("1"), ours == "2")
    }
}

#[tokio::test]
async fn largest_stamp_as_watermark_loses_what_our_windows_find() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let mut lab = RuleLab::new(server.create_database("naive").await, NAIVE).await;
        let source = lab.lab.source.clone();
        let mut late = source.connect().await;
        for sql in ["BEGIN", "INSERT INTO t (id, v) VALUES (1, 'late')"] {
            late.query_drop(sql)
                .await
                .expect("nothing stands in its way");
        }
        source
            .execute("INSERT INTO t (id, v) VALUES (2, 'early')")
            .await;

        lab.look().await;
        late.query_drop("COMMIT").await.expect("it commits");
        lab.look().await;

        assert_eq!(lab.found_late_row().await, (false, true), "{flavour:?}");
    }
}

#[tokio::test]
async fn oldest_transaction_as_watermark_loses_what_our_windows_find() {
    for flavour in FLAVOURS {
        // Transactions of others would hold its bound.
        let server = alone(flavour).await;
        let database = server.create_database("half").await;
        let mut lab = RuleLab::new(database, WITHOUT_STATEMENTS).await;
        let source = lab.lab.source.clone();
        let mut holder = source.connect().await;
        holder
            .query_drop("LOCK TABLES held WRITE")
            .await
            .expect("nobody else has the table");
        let mut late = source.connect().await;
        let insert = "INSERT INTO t (id, v) SELECT 1, v FROM held";
        let writing = tokio::spawn(async move { late.query_drop(insert).await });
        waits_for_a_table(&source, "INSERT").await;
        source
            .execute("INSERT INTO t (id, v) VALUES (2, 'early')")
            .await;

        lab.look().await;
        holder
            .query_drop("UNLOCK TABLES")
            .await
            .expect("the lock is ours");
        writing
            .await
            .expect("the writer does not panic")
            .expect("the row is inserted");
        lab.look().await;

        assert_eq!(lab.found_late_row().await, (false, true), "{flavour:?}");
    }
}
