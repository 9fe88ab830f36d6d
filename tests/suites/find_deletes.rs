//! `find_deletes` beside a capture that does not see deletes: the keys of both sides are compared
//! when that is due, and not before; what is gone is deleted, and what was missed is brought.

use crate::marks_lab::{Lab, NO_GUARD, done, failure, same, table, targets};
use crate::targets::Target;
use serde_json::{Value, json};

/// Each run searches.
const ALWAYS: &str = "capture: { mode: xmin, find_deletes: { every: 0s } }, where: \"grp = 1\"";

/// A row that is inserted with a small id is never seen.
const BY_ID: &str =
    "capture: { mode: cursor, column: id, overlap: 0, find_deletes: { mode: hash, every: 0s } }";

/// Makes the last search one of so many seconds ago.
async fn searched_ago(lab: &Lab, seconds: u32) {
    let table = lab.target.state_table("search");
    let now = lab.target.own(
        "extract(epoch FROM clock_timestamp())::int8",
        "CAST(strftime('%s', 'now') AS INTEGER)",
        "UNIX_TIMESTAMP()",
    );
    let sql = format!("UPDATE {table} SET searched_at = {now} - {seconds}");
    lab.target.execute(&sql).await;
}

#[tokio::test]
async fn deletes_are_found_when_a_search_is_due_and_not_before() {
    const DAY: u32 = 24 * 60 * 60;
    for target in targets().await {
        let lab = Lab::with_rows(target, 200).await;
        lab.pipeline(
            "",
            "capture: { mode: xmin, find_deletes: { mode: hash, every: 24h } }, where: \"grp = 1\"",
        );
        let loaded = done(&lab).await;
        // Its load has compared the keys.
        assert_eq!(loaded["search"], Value::Null);
        lab.change("DELETE FROM t WHERE id <= 3; UPDATE t SET v = 'b' WHERE id = 9")
            .await;

        let early = done(&lab).await;
        assert_eq!(
            (&early["rows_written"], &early["rows_deleted"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(early["search"], Value::Null);
        let planned = told(&lab, "plan").await;
        assert!(
            planned.contains("the next search for deleted rows is due at"),
            "{planned}"
        );
        let status = told_of(&lab, "status").await;
        assert!(status["tables"][0]["search_due_at"].is_string(), "{status}");

        searched_ago(&lab, DAY - 3_600).await;
        assert_eq!(done(&lab).await["rows_deleted"], 0);
        searched_ago(&lab, DAY).await;
        let plan = told(&lab, "plan").await;
        assert!(
            plan.contains("the next run looks for deleted rows"),
            "{plan}"
        );
        let found = done(&lab).await;
        assert_eq!(found["rows_deleted"], 3);
        assert_eq!(found["outcome"], "followed");
        assert_eq!(
            found["search"],
            json!({ "rows_missed": 0, "rows_deleted": 3 })
        );
        same(&lab).await;

        lab.change("DELETE FROM t WHERE id = 4").await;
        assert_eq!(
            done(&lab).await["rows_deleted"],
            0,
            "it has just been searched"
        );
    }
}

async fn told(lab: &Lab, verb: &str) -> String {
    lab.project
        .syncset(["pipeline", verb, "p"])
        .await
        .expect_success()
        .stdout
}

async fn told_of(lab: &Lab, verb: &str) -> Value {
    let words = ["pipeline", verb, "p", "--output", "json"];
    lab.project.syncset(words).await.expect_success().json()
}

#[tokio::test]
async fn rows_that_the_capture_missed_are_brought_with_a_warning() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 100).await;
        lab.pipeline("", BY_ID);
        lab.run(&[]).await.expect_success();
        lab.change(
            "INSERT INTO t VALUES (-1, 1, 'late'), (0, 1, 'late'), (101, 1, 'new'); \
             DELETE FROM t WHERE id = 5",
        )
        .await;

        let found = done(&lab).await;

        assert_eq!(
            found["search"],
            json!({ "rows_missed": 2, "rows_deleted": 1 })
        );
        let warnings = found["warnings"].to_string();
        assert!(
            warnings.contains("2 rows were missing at the target"),
            "{warnings}"
        );
        assert_eq!(
            (&found["rows_written"], &found["rows_deleted"]),
            (&json!(3), &json!(1))
        );
        same(&lab).await;
        let idle = done(&lab).await;
        assert_eq!(
            idle["search"],
            json!({ "rows_missed": 0, "rows_deleted": 0 })
        );
        assert_eq!(idle["warnings"], Value::Null);
    }
}

/// Stops a run at a point, lets the source change, and lets the run go on.
async fn changed_at(lab: &Lab, point: &str, sql: &str) -> Value {
    let action = format!("{point}=stop");
    let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
    let words = ["pipeline", "run", "p", "--output", "json"];
    let run = lab.project.spawn_with(words, &variables);
    assert!(run.frozen().await, "{}", run.stderr_so_far());
    lab.change(sql).await;
    run.cont();
    table(&run.wait().await.expect_success())
}

#[tokio::test]
async fn rows_that_the_last_window_brought_are_not_taken_for_gone() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 100).await;
        lab.pipeline(NO_GUARD, ALWAYS);
        lab.run(&[]).await.expect_success();

        // Before the window is opened.
        let insert = "INSERT INTO t SELECT i, 1, 'n' FROM generate_series(101, 120) i";
        let brought = changed_at(&lab, "search.planned", insert).await;

        assert_eq!(brought["rows_written"], 20);
        assert_eq!(brought["rows_deleted"], 0);
        same(&lab).await;
    }
}

#[tokio::test]
async fn rows_that_the_next_window_brings_were_not_missed() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 100).await;
        lab.pipeline(NO_GUARD, ALWAYS);
        lab.run(&[]).await.expect_success();

        // After the window is committed.
        let insert = "INSERT INTO t SELECT i, 1, 'n' FROM generate_series(101, 120) i; \
                      DELETE FROM t WHERE id = 7";
        let searched = changed_at(&lab, "search.begins", insert).await;

        assert_eq!(
            searched["search"],
            json!({ "rows_missed": 0, "rows_deleted": 1 })
        );
        assert_eq!(searched["warnings"], Value::Null);
        assert_eq!(lab.counts(&[]).await, (20, 0));
        same(&lab).await;
    }
}

#[tokio::test]
async fn guard_stops_a_search_and_rows_that_came_back_stay() {
    const STRICT: &str = "guards: { max_delete_percent: 5, max_delete_rows_always_allowed: 0 }\n";
    for target in targets().await {
        let lab = Lab::with_rows(target, 200).await;
        // No search is due by its time again: what waits for the guard makes it due.
        lab.pipeline(
            STRICT,
            "capture: { mode: cursor, column: id, overlap: 0, find_deletes: { every: 24h } }",
        );
        lab.run(&[]).await.expect_success();
        searched_ago(&lab, 2 * 24 * 60 * 60).await;
        lab.change(
            "CREATE TABLE kept AS SELECT * FROM t WHERE id <= 80; DELETE FROM t WHERE id <= 80",
        )
        .await;

        let stopped = lab.run(&[]).await.expect_code(8);
        assert!(failure(&stopped).contains("would delete 80 of the 200 rows"));
        assert_eq!(table(&stopped)["deletes_pending"], 80);
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "200");

        // The cursor does not see rows that come back with their old ids.
        lab.change("INSERT INTO t SELECT * FROM kept WHERE id <= 50")
            .await;
        let agreed = lab.run(&["--allow-deletes", "public.t=30"]).await;
        let agreed = table(&agreed.expect_success());
        assert_eq!(agreed["rows_deleted"], 30);
        assert_eq!(lab.ids("id < 100").await.split(',').count(), 69);
        same(&lab).await;

        lab.change("DELETE FROM t").await;
        searched_ago(&lab, 2 * 24 * 60 * 60).await;
        let emptied = lab.run(&[]).await.expect_code(8);
        assert!(failure(&emptied).contains("selects no row"));
    }
}

#[tokio::test]
async fn rows_that_are_gone_are_marked_or_kept_as_the_table_says() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 30).await;
        lab.pipeline(NO_GUARD, &format!("{ALWAYS}, write: {{ on_delete: soft }}"));
        lab.run(&[]).await.expect_success();
        lab.change("DELETE FROM t WHERE id <= 2").await;
        assert_eq!(lab.counts(&[]).await, (0, 2));
        lab.live_rows_are_the_selected_ones().await;
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "30");
        assert_eq!(lab.counts(&[]).await, (0, 0));
    }

    let lab = Lab::with_rows(Target::sqlite(), 30).await;
    lab.pipeline(NO_GUARD, &format!("{BY_ID}, write: {{ on_delete: keep }}"));
    lab.run(&[]).await.expect_success();
    lab.change("DELETE FROM t WHERE id <= 2; INSERT INTO t VALUES (-1, 1, 'late')")
        .await;
    assert_eq!(lab.counts(&[]).await, (1, 0));
    assert_eq!(lab.value("SELECT count(*) FROM t").await, "31");
}

#[tokio::test]
async fn search_that_was_killed_is_done_by_the_next_run() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 50).await;
        lab.pipeline(
            NO_GUARD,
            "capture: { mode: cursor, column: id, overlap: 0, find_deletes: hash }",
        );
        lab.run(&[]).await.expect_success();
        searched_ago(&lab, 2 * 24 * 60 * 60).await;
        lab.change("DELETE FROM t WHERE id <= 2; INSERT INTO t VALUES (-1, 1, 'late')")
            .await;

        for point in ["search.begins", "hash.compared", "unit.before_commit"] {
            lab.killed_at(point).await;
        }
        let found = done(&lab).await;

        assert_eq!(
            found["search"],
            json!({ "rows_missed": 1, "rows_deleted": 2 })
        );
        same(&lab).await;
    }
}

#[tokio::test]
async fn rows_of_tables_that_refer_to_each_other_go_in_their_order() {
    let lab = Lab::new(
        Target::postgres().await,
        "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent); \
         INSERT INTO parent VALUES (1), (2), (5); INSERT INTO child VALUES (1, 1), (2, 2), (5, 5)",
    )
    .await;
    lab.target
        .execute(
            "CREATE TABLE parent (id int PRIMARY KEY); \
             CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)",
        )
        .await;
    let table = |name: &str| {
        format!(
            "  public.{name}: {{ to: {name}, capture: {{ mode: cursor, column: id, overlap: 0, \
             find_deletes: {{ every: 0s }} }} }}\n"
        )
    };
    let text = format!(
        "version: 1\nsource: source\ntarget: target\n{NO_GUARD}tables:\n{}{}",
        table("parent"),
        table("child")
    );
    lab.project.pipeline("p", &text);
    lab.run(&[]).await.expect_success();
    // Rows that go, and rows that were missed: each needs the other order.
    lab.change(
        "DELETE FROM child WHERE id = 1; DELETE FROM parent WHERE id = 1; \
         INSERT INTO parent VALUES (0); INSERT INTO child VALUES (0, 0)",
    )
    .await;

    lab.run(&[]).await.expect_success();

    for name in ["parent", "child"] {
        let ids = format!("SELECT string_agg(id::text, ',' ORDER BY id) FROM {name}");
        assert_eq!(lab.value(&ids).await, "0,2,5", "{name}");
    }
}
