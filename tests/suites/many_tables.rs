//! What many tables cost: round trips, which are what a distant server charges for.
//!
//! Round trips are counted, not timed, by a proxy before each server.

use kit::{Database, Project, Proxy};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

/// Round trips of a run in which nothing has changed, connecting included.
const SOURCE_IDLE_MAX: u64 = 14;
const TARGET_IDLE_MAX: u64 = 12;

/// How often a run waited for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trips {
    source: u64,
    target: u64,
}

/// Some tables between two databases, with a proxy before each.
struct Lab {
    source: Database,
    target: Database,
    before_source: Proxy,
    before_target: Proxy,
    project: Project,
}

impl Lab {
    async fn new(table_count: u32, capture: &str) -> Self {
        let server = kit::postgres().await;
        let source = server.database("many").await;
        let target = server.database("many_target").await;
        source
            .execute(&format!(
                "DO $$ BEGIN FOR n IN 1..{table_count} LOOP
                   EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, note text,
                     updated_at timestamptz NOT NULL DEFAULT clock_timestamp())', n);
                   EXECUTE format('INSERT INTO t%s SELECT i, ''a'' FROM generate_series(1, 3) i', n);
                 END LOOP; END $$"
            ))
            .await;
        let before_source = Proxy::before(server.host(), server.port()).await;
        let before_target = Proxy::before(server.host(), server.port()).await;
        // No run of these tests lasts long enough for the lease to be renewed.
        let project = Project::new(&format!(
            "version: 1\nlease: {{ expires: 1h }}\nconnections:\n  \
             source: {{ type: postgres, url: \"{}\" }}\n  \
             target: {{ type: postgres, url: \"{}\" }}\n",
            source.url_through(before_source.port()),
            target.url_through(before_target.port()),
        ));
        project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\ncapture: {capture}\n\
                 tables: {{ \"public.*\": {{}} }}\n"
            ),
        );
        Self {
            source,
            target,
            before_source,
            before_target,
            project,
        }
    }

    /// Changes a row of every table.
    async fn change(&self) {
        self.source
            .execute(
                "DO $$ DECLARE t text; BEGIN
                   FOR t IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$'
                   LOOP EXECUTE format('UPDATE %I SET note = note || ''b'',
                     updated_at = clock_timestamp() WHERE id = 2', t); END LOOP; END $$",
            )
            .await;
    }

    /// Runs the pipeline, which must succeed, and counts.
    async fn trips(&self) -> Trips {
        let before = self.counted();
        self.project.syncset(RUN).await.expect_success();
        let after = self.counted();
        Trips {
            source: after.source - before.source,
            target: after.target - before.target,
        }
    }

    fn counted(&self) -> Trips {
        Trips {
            source: self.before_source.round_trips(),
            target: self.before_target.round_trips(),
        }
    }
}

/// Tables of the larger of two pipelines.
const MANY: u32 = 40;

async fn idle_run_costs_the_same_for_many_tables(capture: &str) {
    let (one, many) = (Lab::new(1, capture).await, Lab::new(MANY, capture).await);
    one.trips().await;
    many.trips().await;

    let (of_one, of_many) = (one.trips().await, many.trips().await);

    assert_eq!(of_one, of_many);
    assert!(of_many.source <= SOURCE_IDLE_MAX, "{of_many:?}");
    assert!(of_many.target <= TARGET_IDLE_MAX, "{of_many:?}");
}

#[tokio::test]
async fn idle_cursor_run_costs_the_same_for_many_tables() {
    let capture = "{ mode: cursor, column: updated_at, written_by: database }";
    idle_run_costs_the_same_for_many_tables(capture).await;
}

#[tokio::test]
async fn idle_xmin_run_costs_the_same_for_many_tables() {
    idle_run_costs_the_same_for_many_tables("xmin").await;
}

/// How much more a run costs per table; a few sessions more are no cost of each.
fn per_table(one: Trips, many: Trips) -> (u64, u64) {
    let tables = u64::from(MANY - 1);
    let each = |one: u64, many: u64| (many - one) / tables;
    (each(one.source, many.source), each(one.target, many.target))
}

#[tokio::test]
async fn loads_and_changes_cost_a_few_round_trips_per_table() {
    let (one, many) = (Lab::new(1, "xmin").await, Lab::new(MANY, "xmin").await);

    let loaded = per_table(one.trips().await, many.trips().await);
    one.change().await;
    many.change().await;
    let changed = per_table(one.trips().await, many.trips().await);

    for table in ["t1", "t17", "t40"] {
        let sql = format!("SELECT id, note FROM {table}");
        kit::compare(&many.source, &many.target, &sql, &sql)
            .await
            .assert_equal();
    }
    assert!(loaded.0 <= 3 && loaded.1 <= 5, "{loaded:?}");
    assert!(changed.0 <= 1 && changed.1 <= 6, "{changed:?}");
}

#[tokio::test]
async fn idle_comparison_costs_no_more_round_trips_than_a_copy() {
    let mut each = Vec::new();
    for capture in ["full", "hash"] {
        let (one, many) = (Lab::new(1, capture).await, Lab::new(MANY, capture).await);
        one.trips().await;
        many.trips().await;
        each.push(per_table(one.trips().await, many.trips().await));
    }

    let (full, hash) = (each[0], each[1]);
    assert!(
        hash.0 <= full.0 && hash.1 <= full.1,
        "full {full:?}, hash {hash:?}"
    );
}

#[tokio::test]
async fn whole_tables_are_read_from_one_snapshot() {
    let lab = Lab::new(6, "full").await;
    lab.trips().await;
    let (stop, mut writer) = (Arc::new(AtomicBool::new(false)), lab.source.connect().await);
    let stopped = Arc::clone(&stop);
    // Each transaction writes one number into all tables, the last table first.
    let writing = tokio::spawn(async move {
        let mut number = 0;
        while !stopped.load(Ordering::SeqCst) {
            number += 1;
            let updates = (1..=6)
                .rev()
                .map(|table| format!("UPDATE t{table} SET note = '{number}' WHERE id = 1;"));
            let sql = format!("BEGIN; {} COMMIT", updates.collect::<String>());
            kit::postgres::send(&mut writer, &sql).await;
        }
    });

    for _ in 0..3 {
        lab.trips().await;
        let notes = (1..=6).map(|table| format!("SELECT note FROM t{table} WHERE id = 1"));
        let notes = notes.collect::<Vec<_>>().join(" UNION ");
        let distinct = format!("SELECT count(*) FROM ({notes}) n");
        assert_eq!(lab.target.value(&distinct).await, "1");
    }

    stop.store(true, Ordering::SeqCst);
    writing.await.expect("the writer does not panic");
}
