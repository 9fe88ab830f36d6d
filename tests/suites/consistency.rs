//! `consistency: pipeline`: a reader of the target sees whole transactions of the source, whatever
//! tables they touched.

use crate::targets::Target;
use kit::postgres::send;
use kit::{Database, Project};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const RUN: [&str; 7] = [
    "pipeline",
    "run",
    "p",
    "--output",
    "json",
    "--on-lock",
    "wait=170s",
];

const CURSOR: &str = "{ mode: cursor, column: updated_at, written_by: database }";

/// Accounts per table.
const ACCOUNTS: i64 = 20;

/// All money there is.
const MONEY: &str = "40000";

/// Runs while the source is written.
const RUNS: usize = 6;

/// What a reader of the target must always see: all the money, and no order without its customer.
const SEEN: &str = "SELECT (SELECT sum(balance) FROM checking) + (SELECT sum(balance) FROM savings), \
    (SELECT count(*) FROM purchase WHERE customer_id NOT IN (SELECT id FROM customer))";

/// Three points of a run at which everything is written and nothing committed, or the other way
/// round; the others lie before them.
const POINTS: [&str; 7] = [
    "unit.begun",
    "window.batch",
    "window.batch:2",
    "window.batch:4",
    "unit.before_commit",
    "unit.committed",
    "unit.before_commit:2",
];

struct Lab {
    source: Database,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new(target: Target, capture: &str) -> Self {
        let source = kit::postgres().await.database("bank").await;
        source
            .execute(&format!(
                "CREATE TABLE checking (id int PRIMARY KEY, balance int NOT NULL,
                   updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
                 CREATE TABLE savings (LIKE checking INCLUDING ALL);
                 CREATE TABLE customer (id int PRIMARY KEY, name text,
                   updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
                 CREATE TABLE purchase (id int PRIMARY KEY,
                   customer_id int NOT NULL REFERENCES customer,
                   updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
                 CREATE INDEX ON checking (updated_at);
                 INSERT INTO checking SELECT i, 1000 FROM generate_series(1, {ACCOUNTS}) i;
                 INSERT INTO savings SELECT i, 1000 FROM generate_series(1, {ACCOUNTS}) i;"
            ))
            .await;
        let project = Project::between(&source.url(), &target.place().url());
        let lab = Self {
            source,
            target,
            project,
        };
        lab.write_pipeline("pipeline", capture);
        lab
    }

    fn write_pipeline(&self, consistency: &str, capture: &str) {
        self.project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\nconsistency: {consistency}\n\
                 capture: {capture}\ndefaults: {{ to: \"{{table}}\" }}\n\
                 tables: {{ \"public.*\": {{}} }}\n"
            ),
        );
    }

    async fn assert_whole(&self, when: &str) {
        let seen = self.target.place().rows(SEEN).await;
        let seen: Vec<_> = seen[0].iter().map(|value| value.as_deref()).collect();
        assert_eq!(seen, [Some(MONEY), Some("0")], "{when}");
    }

    async fn assert_equal(&self) {
        for table in ["checking", "savings", "customer", "purchase"] {
            let sql = match table {
                "customer" => "SELECT id, name FROM customer".to_owned(),
                "purchase" => "SELECT id, customer_id FROM purchase".to_owned(),
                _ => format!("SELECT id, balance FROM {table}"),
            };
            kit::compare(&self.source, self.target.place(), &sql, &sql)
                .await
                .assert_equal();
        }
    }
}

/// Moves money between tables, and takes on customers with an order each, until it is dropped.
struct Teller {
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Teller {
    async fn start(source: &Database, first_customer: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let commits = Arc::new(AtomicU64::new(0));
        let mut session = source.connect().await;
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&commits));
        let task = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(first_customer);
            let mut customer = first_customer;
            while !stopped.load(Ordering::SeqCst) {
                let mut account = || random.random_range(1..=ACCOUNTS);
                let (from, into, amount) = (account(), account(), account());
                let (from_table, into_table) = if customer.is_multiple_of(2) {
                    ("checking", "savings")
                } else {
                    ("savings", "checking")
                };
                let sql = format!(
                    "BEGIN;
                     UPDATE {from_table} SET balance = balance - {amount},
                       updated_at = clock_timestamp() WHERE id = {from};
                     INSERT INTO customer VALUES ({customer}, 'c');
                     UPDATE {into_table} SET balance = balance + {amount},
                       updated_at = clock_timestamp() WHERE id = {into};
                     INSERT INTO purchase VALUES ({customer}, {customer});
                     COMMIT"
                );
                send(&mut session, &sql).await;
                customer += 1;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            stop,
            commits,
            task,
        }
    }

    /// Waits for so many more transactions.
    async fn commits(&self, count: u64) {
        let wanted = self.commits.load(Ordering::SeqCst) + count;
        while self.commits.load(Ordering::SeqCst) < wanted {
            tokio::task::yield_now().await;
            assert!(!self.task.is_finished(), "the writer has ended");
        }
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the writer does not panic");
        self.commits.load(Ordering::SeqCst)
    }
}

async fn reader_sees_whole_transactions(target: Target, capture: &str) {
    let lab = Lab::new(target, capture).await;
    lab.project.syncset(RUN).await.expect_success();
    let teller = Teller::start(&lab.source, 1).await;

    let mut written = 0;
    for _ in 0..RUNS {
        teller.commits(20).await;
        let mut run = lab.project.spawn(RUN);
        while !run.has_ended() {
            lab.assert_whole("while a run writes").await;
        }
        let report = run.wait().await.expect_success().json();
        let tables = report["tables"].as_array().expect("a report has tables");
        written += tables
            .iter()
            .filter(|table| table["rows_written"].as_u64() > Some(0))
            .count();
        lab.assert_whole("after a run").await;
    }

    teller.stop().await;
    assert!(written >= 3 * RUNS, "{written}: several tables in each run");
    lab.project.syncset(RUN).await.expect_success();
    lab.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursor_windows_of_all_tables_appear_at_once() {
    reader_sees_whole_transactions(Target::postgres().await, CURSOR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xmin_windows_of_all_tables_appear_at_once() {
    reader_sees_whole_transactions(Target::postgres().await, "xmin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_tables_appear_at_once() {
    reader_sees_whole_transactions(Target::postgres().await, "full").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_target_shows_all_tables_at_once() {
    reader_sees_whole_transactions(Target::sqlite(), CURSOR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_loaded_under_a_writer_appear_at_once() {
    let lab = Lab::new(Target::postgres().await, "xmin").await;
    let teller = Teller::start(&lab.source, 1).await;
    teller.commits(20).await;

    lab.project.syncset(RUN).await.expect_success();

    lab.assert_whole("after the first load").await;
    teller.stop().await;
}

async fn kill_leaves_none_or_all(target: Target) {
    let lab = Lab::new(target, CURSOR).await;
    lab.project.syncset(RUN).await.expect_success();
    let mut customer = 1;
    let mut killed = 0;
    for point in POINTS {
        let teller = Teller::start(&lab.source, customer).await;
        teller.commits(10).await;
        customer += teller.stop().await;
        let action = format!("{point}=exit9");

        let run = lab
            .project
            .spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
        killed += u32::from(run.wait().await.code == 137);

        lab.assert_whole(point).await;
    }
    assert!(killed >= 5, "{killed}");
    lab.project.syncset(RUN).await.expect_success();
    lab.assert_whole("at the end").await;
    lab.assert_equal().await;
}

#[tokio::test]
async fn killed_run_leaves_none_or_all_of_its_changes() {
    kill_leaves_none_or_all(Target::postgres().await).await;
}

#[tokio::test]
async fn killed_run_leaves_none_or_all_in_sqlite() {
    kill_leaves_none_or_all(Target::sqlite()).await;
}

#[tokio::test]
async fn table_that_fails_holds_all_others_back() {
    let lab = Lab::new(Target::postgres().await, CURSOR).await;
    lab.project.syncset(RUN).await.expect_success();
    let Target::Postgres(target) = &lab.target else {
        unreachable!("it was made so");
    };
    target
        .execute("ALTER TABLE savings ADD CONSTRAINT positive CHECK (balance > 0)")
        .await;
    lab.source
        .execute(
            "UPDATE checking SET balance = 3000, updated_at = clock_timestamp() WHERE id = 7;
             UPDATE savings SET balance = -1000, updated_at = clock_timestamp() WHERE id = 7",
        )
        .await;

    let failed = lab.project.syncset(RUN).await;
    let held_back = target
        .value("SELECT balance FROM checking WHERE id = 7")
        .await;
    target
        .execute("ALTER TABLE savings DROP CONSTRAINT positive")
        .await;
    lab.project.syncset(RUN).await.expect_success();

    assert_eq!((failed.code, held_back.as_str()), (1, "1000"));
    let tables = failed.json()["tables"].clone();
    let message = |name: &str| {
        let tables = tables.as_array().expect("a report has tables").iter();
        let mut tables = tables.filter(|table| table["table"] == name);
        let table = tables.next().expect("the table is in the report");
        table["failure"]["message"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    assert_eq!(
        message("public.savings"),
        "table `public.savings`: the target refused the row with key [\"7\"]"
    );
    assert_eq!(
        message("public.checking"),
        "table `public.checking` was held back: table `public.savings` failed, and the changes \
         of all tables are committed together"
    );
    lab.assert_whole("at the end").await;
}

#[tokio::test]
async fn rows_move_between_parents_whatever_the_order() {
    let lab = Lab::new(Target::postgres().await, "full").await;
    let Target::Postgres(target) = &lab.target else {
        unreachable!("it was made so");
    };
    target
        .execute(
            "CREATE TABLE customer (id int PRIMARY KEY, name text UNIQUE,
               updated_at timestamptz NOT NULL);
             CREATE TABLE purchase (id int PRIMARY KEY, customer_id int NOT NULL
               REFERENCES customer, updated_at timestamptz NOT NULL)",
        )
        .await;
    lab.source
        .execute(
            "INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three');
             INSERT INTO purchase VALUES (1, 1), (2, 2), (3, 3)",
        )
        .await;
    lab.project.syncset(RUN).await.expect_success();

    // A parent that goes while its row stays, a parent and its row that go, a value that moves.
    lab.source
        .execute(
            "INSERT INTO customer VALUES (4, 'four');
             UPDATE purchase SET customer_id = 4 WHERE id = 1;
             DELETE FROM customer WHERE id = 1;
             DELETE FROM purchase WHERE id = 2;
             DELETE FROM customer WHERE id = 2;
             UPDATE customer SET name = 'two' WHERE id = 3",
        )
        .await;
    lab.project.syncset(RUN).await.expect_success();

    lab.assert_equal().await;
}

#[tokio::test]
async fn table_that_is_added_joins_the_others() {
    let lab = Lab::new(Target::postgres().await, CURSOR).await;
    lab.project.syncset(RUN).await.expect_success();
    lab.source
        .execute(
            "CREATE TABLE bonus (id int PRIMARY KEY, balance int,
               updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
             INSERT INTO bonus VALUES (1, 5);
             INSERT INTO customer VALUES (1, 'c')",
        )
        .await;

    let report = lab.project.syncset(RUN).await.expect_success().json();
    let idle = lab.project.syncset(RUN).await.expect_success().json();

    let outcomes = |report: &serde_json::Value| -> Vec<String> {
        let tables = report["tables"].as_array().expect("a report has tables");
        let outcome =
            |table: &serde_json::Value| table["outcome"].as_str().unwrap_or("").to_owned();
        tables.iter().map(outcome).collect()
    };
    let expected = ["loaded", "unchanged", "followed", "unchanged", "unchanged"];
    assert_eq!(outcomes(&report), expected);
    assert_eq!(outcomes(&idle), ["unchanged"; 5]);
}

#[tokio::test]
async fn some_tables_alone_are_refused() {
    let lab = Lab::new(Target::postgres().await, CURSOR).await;

    let refused = lab
        .project
        .syncset(["pipeline", "run", "p", "--tables", "checking"])
        .await;

    insta::assert_snapshot!(refused.snapshot(), @r"
    exit: 2
    stderr:
    error: `--tables` would leave the other tables of `p` behind: they are committed together (`consistency: pipeline`)
    hint: run the whole pipeline; to load some tables again, run `syncset pipeline reset p --tables ...` first
    ");
}

#[tokio::test]
async fn slice_of_tables_that_go_together_is_refused() {
    let lab = Lab::new(Target::postgres().await, CURSOR).await;

    let refused = lab
        .project
        .syncset(["pipeline", "run", "p", "--where", "id = 1"])
        .await;

    insta::assert_snapshot!(refused.snapshot(), @r"
    exit: 2
    stderr:
    error: `--where` copies table by table, and the tables of `p` are committed together (`consistency: pipeline`)
    hint: load the table again instead: syncset pipeline reset p --tables ..., then run
    ");
}

#[tokio::test]
async fn switching_from_table_to_pipeline_needs_nothing() {
    let lab = Lab::new(Target::postgres().await, CURSOR).await;
    lab.write_pipeline("table", CURSOR);
    lab.project.syncset(RUN).await.expect_success();
    lab.write_pipeline("pipeline", CURSOR);
    let teller = Teller::start(&lab.source, 1).await;
    teller.commits(5).await;
    teller.stop().await;

    lab.project.syncset(RUN).await.expect_success();

    lab.assert_whole("after the switch").await;
    lab.assert_equal().await;
}

#[tokio::test]
async fn window_that_was_cut_ends_before_tables_go_together() {
    let lab = Lab::new(Target::postgres().await, CURSOR).await;
    lab.write_pipeline("table", CURSOR);
    lab.project.syncset(RUN).await.expect_success();
    // Begins before the rows of the window, and commits behind the place at which it is cut.
    let mut late = lab.source.connect().await;
    send(
        &mut late,
        "BEGIN; INSERT INTO customer VALUES (700, 'late', now())",
    )
    .await;
    let wide = "INSERT INTO customer SELECT i, repeat('x', 20000) FROM generate_series(1, 600) i";
    lab.source.execute(wide).await;
    let cut = RUN.into_iter().chain(["--memory", "4MiB"]);
    let action = [("SYNCSET_FAIL_POINT", "window.unit_committed=exit9")];
    let killed = lab.project.spawn_with(cut, &action);
    assert_eq!(killed.wait().await.code, 137);
    let some = "SELECT count(*) BETWEEN 1 AND 599 FROM customer";
    let some = lab.target.place().rows(some).await;
    assert_eq!(some[0][0].as_deref(), Some("t"));
    send(
        &mut late,
        "INSERT INTO purchase VALUES (700, 700, now()); COMMIT",
    )
    .await;
    lab.write_pipeline("pipeline", CURSOR);

    lab.project.syncset(RUN).await.expect_success();

    lab.assert_whole("after the switch").await;
    lab.assert_equal().await;
}
