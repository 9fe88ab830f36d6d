//! `capture: hash`: what differs between both sides is found by hashes, read again and written;
//! where nothing differs, nothing moves.
//!
//! `SYNCSET_HASH_KILLS` says how many runs are killed at random, `SYNCSET_TEST_SEED` how a walk goes.

use crate::crash_lab::{self, HASH, from_postgres, with_deletes};
use crate::marks_lab::{Lab, NO_GUARD, done, failure, same, table, targets};
use crate::targets::Target;
use serde_json::json;
use std::time::Instant;

/// Kills at random moments, unless the environment says otherwise.
const KILLS_DEFAULT: u32 = 3;

/// Rows that are asked about from the first on.
const STRICT: &str = "guards: { max_delete_percent: 5, max_delete_rows_always_allowed: 0 }\n";

const HASHED: &str = "capture: hash, where: \"grp = 1\"";

async fn pending(lab: &Lab) -> String {
    let table = lab.target.state_table("pending_delete");
    lab.value(&format!("SELECT count(*) FROM {table}")).await
}

#[tokio::test]
async fn what_differs_is_brought_and_nothing_else_moves() {
    for target in targets().await {
        let by_hash = matches!(target, Target::Postgres(_));
        let lab = Lab::with_rows(target, 3_000).await;
        lab.pipeline("", HASHED);
        let loaded = done(&lab).await;
        assert_eq!(loaded["outcome"], "loaded");
        same(&lab).await;

        let before = lab.image().await;
        let idle = done(&lab).await;
        assert_eq!(idle["outcome"], "unchanged", "{idle}");
        assert_eq!(idle["compared"]["rows_source"], 3_000);
        assert_eq!(idle["compared"]["rows_target"], 3_000);
        let (mode, read) = match by_hash {
            true => ("hash", 0),
            false => ("stream", 3_000),
        };
        assert_eq!(idle["compared"]["mode"], mode);
        assert_eq!(idle["rows_read"], read);
        assert!(lab.image().await == before, "an idle run wrote something");

        lab.change(
            "UPDATE t SET v = 'b' WHERE id % 500 = 0; UPDATE t SET id = 5000 WHERE id = 7; \
             UPDATE t SET grp = 2 WHERE id = 8; DELETE FROM t WHERE id IN (1, 2, 3); \
             INSERT INTO t VALUES (4000, 1, 'new'), (4001, 2, 'other')",
        )
        .await;
        let brought = done(&lab).await;

        // Six rows changed, two came; three were deleted, one left, one has another key.
        assert_eq!(brought["outcome"], "followed");
        assert_eq!(brought["rows_written"], 8);
        assert_eq!(brought["rows_deleted"], 5);
        assert_eq!(brought["rows_read"], read - read.min(1) * 3 + 8);
        same(&lab).await;
        assert_eq!(lab.counts(&[]).await, (0, 0));
    }
}

#[tokio::test]
async fn servers_send_no_row_of_an_idle_table() {
    // Rows and keys leave a server by COPY alone.
    async fn copies(lab: &Lab) -> usize {
        let log = kit::postgres().await.statement_log(&lab.source);
        let copies = log.iter().filter(|it| it.text.contains("COPY"));
        copies.count()
    }
    let lab = Lab::with_rows(Target::postgres().await, 500).await;
    lab.pipeline("", HASHED);
    lab.run(&[]).await.expect_success();
    lab.source.log_statements().await;

    lab.run(&[]).await.expect_success();
    assert_eq!(copies(&lab).await, 0);
    lab.change("UPDATE t SET v = 'b' WHERE id = 1").await;
    lab.run(&[]).await.expect_success();

    assert!(copies(&lab).await > 0, "a row that differs is copied");
}

#[tokio::test]
async fn edits_at_the_target_are_put_right() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 50).await;
        lab.pipeline(NO_GUARD, HASHED);
        lab.run(&[]).await.expect_success();
        let edit = "UPDATE t SET v = 'x' WHERE id = 3; DELETE FROM t WHERE id = 4; \
                    INSERT INTO t VALUES (99, 1, 'x')";
        lab.target.execute(edit).await;

        assert_eq!(lab.counts(&[]).await, (2, 1));

        same(&lab).await;
    }
}

/// The source's types of keys, each with three values that are easily taken for each other.
const KEYS: [(&str, &str, [&str; 3]); 6] = [
    ("text", "text", ["'a'", "'A'", "'a '"]),
    (
        "uuid",
        "uuid",
        [
            "'00000000-0000-0000-0000-000000000001'",
            "'00000000-0000-0000-0000-000000000010'",
            "'10000000-0000-0000-0000-000000000000'",
        ],
    ),
    ("numeric", "numeric(20,2)", ["1.5", "-1.5", "15"]),
    (
        "stamp",
        "timestamptz",
        [
            "'2024-10-27 00:30:00+00'",
            "'2024-10-27 01:30:00+00'",
            "'2024-10-27 02:30:00+00'",
        ],
    ),
    ("folded", "text COLLATE folded", ["'ab'", "'B'", "'ä'"]),
    ("bytes", "bytea", ["'\\x00'", "'\\x0000'", "'\\xff'"]),
];

#[tokio::test]
async fn keys_of_every_kind_are_told_apart() {
    for target in targets().await {
        let mut source = String::from(
            "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', \
             deterministic = false);\n",
        );
        let mut edits = String::new();
        let mut tables = String::new();
        for (name, native, [first, second, third]) in KEYS {
            source.push_str(&format!(
                "CREATE TABLE k_{name} (part int, k {native}, v text, PRIMARY KEY (k, part));\n\
                 INSERT INTO k_{name} VALUES (1, {first}, 'a'), (1, {second}, 'a'), (2, {first}, 'a');\n"
            ));
            edits.push_str(&format!(
                "UPDATE k_{name} SET v = 'b' WHERE k = {second};\n\
                 DELETE FROM k_{name} WHERE part = 2;\n\
                 INSERT INTO k_{name} VALUES (2, {third}, 'c');\n"
            ));
            tables.push_str(&format!(
                "  public.k_{name}: {{ to: k_{name}, capture: hash }}\n"
            ));
        }
        let lab = Lab::new(target, &source).await;
        let text =
            format!("version: 1\nsource: source\ntarget: target\n{NO_GUARD}tables:\n{tables}");
        lab.project.pipeline("p", &text);
        lab.run(&[]).await.expect_success();
        assert_eq!(totals(&lab).await, (0, 0), "an idle run");

        lab.change(&edits).await;
        let moved = totals(&lab).await;

        let kinds = KEYS.len() as u64;
        assert_eq!(moved, (2 * kinds, kinds));
        assert_eq!(totals(&lab).await, (0, 0), "an idle run");
        for (name, ..) in KEYS {
            let values = lab
                .rows(&format!("SELECT v FROM k_{name} ORDER BY v"))
                .await;
            let values: Vec<_> = values.iter().filter_map(|row| row[0].as_deref()).collect();
            assert_eq!(values, ["a", "b", "c"], "{name}");
        }
    }
}

/// Rows written and deleted by a run, over all tables.
async fn totals(lab: &Lab) -> (u64, u64) {
    let report = lab.run(&[]).await.expect_success().json();
    let tables = report["tables"].as_array().expect("tables");
    let sum = |name: &str| tables.iter().filter_map(|it| it[name].as_u64()).sum();
    (sum("rows_written"), sum("rows_deleted"))
}

#[tokio::test]
async fn a_switched_letter_in_a_key_is_another_row() {
    let lab = Lab::new(
        Target::postgres().await,
        "CREATE EXTENSION citext; CREATE TABLE t (id citext PRIMARY KEY, grp int, v text); \
         INSERT INTO t VALUES ('Ann', 1, 'a'), ('bob', 1, 'a')",
    )
    .await;
    lab.target.execute("CREATE EXTENSION citext").await;
    lab.pipeline(NO_GUARD, "capture: hash");
    lab.run(&[]).await.expect_success();
    lab.change("UPDATE t SET id = 'ANN' WHERE id = 'ann'").await;

    lab.run(&[]).await.expect_success();

    let ids = "SELECT string_agg(id::text, ',' ORDER BY id::text COLLATE \"C\") FROM t";
    assert_eq!(lab.value(ids).await, "ANN,bob");
    assert_eq!(lab.counts(&[]).await, (0, 0));
}

#[tokio::test]
async fn guard_stops_and_forgets_rows_that_came_back() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 400).await;
        lab.pipeline(STRICT, HASHED);
        lab.run(&[]).await.expect_success();
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100; UPDATE t SET v = 'b' WHERE id = 400")
            .await;

        let stopped = lab.run(&[]).await.expect_code(8);
        assert!(failure(&stopped).contains("would delete 100 of the 400 rows"));
        assert_eq!(table(&stopped)["rows_written"], 1);
        assert_eq!(pending(&lab).await, "100");
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "400");

        // Those that came back are as they were: nothing of them is written, and nothing may delete
        // them any more, whatever a person agrees to.
        lab.change("UPDATE t SET grp = 1 WHERE id <= 60").await;
        let agreed = lab.run(&["--allow-deletes", "public.t=40"]).await;
        let agreed = table(&agreed.expect_success());
        assert_eq!(agreed["rows_deleted"], 40);
        assert_eq!(agreed["rows_written"], 0);
        assert_eq!(pending(&lab).await, "0");
        same(&lab).await;

        lab.change("DELETE FROM t").await;
        let emptied = lab.run(&[]).await.expect_code(8);
        assert!(failure(&emptied).contains("selects no row"));
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "360");
    }
}

#[tokio::test]
async fn rows_that_are_kept_stay_and_are_no_difference_to_write() {
    let lab = Lab::with_rows(Target::postgres().await, 20).await;
    lab.pipeline("", &format!("{HASHED}, write: {{ on_delete: keep }}"));
    lab.run(&[]).await.expect_success();
    lab.change("DELETE FROM t WHERE id <= 5; UPDATE t SET v = 'b' WHERE id = 6")
        .await;

    assert_eq!(lab.counts(&[]).await, (1, 0));

    assert_eq!(lab.value("SELECT count(*) FROM t").await, "20");
    assert_eq!(done(&lab).await["outcome"], "unchanged");
}

#[tokio::test]
async fn refused_row_waits_until_it_is_mended() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 20).await;
        let create = "CREATE TABLE t (id int PRIMARY KEY, grp int, v text CHECK (v <> 'bad'))";
        lab.target.execute(create).await;
        lab.pipeline("rejects: { max_rows: 1 }\n", HASHED);
        lab.run(&[]).await.expect_success();
        lab.change("UPDATE t SET v = 'bad' WHERE id = 3; UPDATE t SET v = 'b' WHERE id = 4")
            .await;

        let first = done(&lab).await;
        assert_eq!(first["rows_rejected"], 1, "{first}");
        assert_eq!(first["rows_written"], 1);
        let again = done(&lab).await;
        assert_eq!(
            (&again["rows_rejected"], &again["rows_written"]),
            (&json!(1), &json!(0))
        );
        let rejected = lab.target.state_table("rejected");
        let count = format!("SELECT count(*) FROM {rejected}");
        assert_eq!(lab.value(&count).await, "1");

        lab.change("UPDATE t SET v = 'good' WHERE id = 3").await;
        lab.run(&[]).await.expect_success();
        assert_eq!(lab.value(&count).await, "0");
        same(&lab).await;

        lab.change("UPDATE t SET v = 'bad' WHERE id IN (5, 6)")
            .await;
        lab.run(&[]).await.expect_code(1);
    }
}

#[tokio::test]
async fn more_rows_than_can_be_named_are_brought() {
    // More than the rows whose keys are held in memory.
    let lab = Lab::with_rows(Target::postgres().await, 120_000).await;
    lab.pipeline("", HASHED);
    lab.run(&[]).await.expect_success();
    lab.change(
        "UPDATE t SET v = 'b' WHERE id > 10; DELETE FROM t WHERE id <= 20; \
         INSERT INTO t SELECT i, 1, 'c' FROM generate_series(200001, 200030) i",
    )
    .await;

    let brought = done(&lab).await;

    assert_eq!(brought["compared"]["mode"], "stream");
    assert_eq!(brought["rows_written"], 119_980 + 30);
    assert_eq!(brought["rows_deleted"], 20);
    same(&lab).await;
    assert_eq!(done(&lab).await["outcome"], "unchanged");
}

#[tokio::test]
async fn table_that_was_copied_whole_goes_on_without_a_load() {
    let lab = Lab::with_rows(Target::sqlite(), 30).await;
    lab.pipeline("", "capture: full, where: \"grp = 1\"");
    lab.run(&[]).await.expect_success();
    lab.change("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'b' WHERE id = 2")
        .await;

    lab.pipeline("on_selection_change: fail\n", HASHED);
    let plan = ["pipeline", "plan", "p", "--output", "json"];
    let plan = lab.project.syncset(plan).await.expect_success().json();
    assert_eq!(plan["tables"][0]["action"], json!("follow"));
    assert_eq!(plan["tables"][0]["capture"], json!("hash"));
    assert_eq!(lab.counts(&[]).await, (1, 1));

    lab.change("DELETE FROM t WHERE id = 3").await;
    lab.pipeline(
        "on_selection_change: fail\n",
        "capture: full, where: \"grp = 1\"",
    );
    assert_eq!(lab.counts(&[]).await, (0, 1));
    same(&lab).await;
}

#[tokio::test]
async fn dry_run_counts_what_differs() {
    for target in targets().await {
        let lab = Lab::with_rows(target, 30).await;
        lab.pipeline("", HASHED);
        lab.run(&[]).await.expect_success();
        lab.change("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'b' WHERE id < 5")
            .await;

        assert_eq!(lab.counts(&["--dry-run"]).await, (3, 1));

        assert_eq!(lab.counts(&[]).await, (3, 1));
        assert_eq!(lab.counts(&["--dry-run"]).await, (0, 0));
    }
}

#[tokio::test]
async fn computed_and_dropped_rows_are_compared_after_the_transform() {
    let lab = Lab::with_rows(Target::postgres().await, 30).await;
    let settings = "where: \"length(v) = 1\", where_pushdown: best_effort, rename: { v: text }, \
                    derive: { up: \"upper(v)\" }, mask: { grp: { bucket: 10 } }, capture: hash";
    lab.pipeline(NO_GUARD, settings);
    lab.run(&[]).await.expect_success();
    assert_eq!(lab.counts(&[]).await, (0, 0));
    // Only the second of these changes anything that is written.
    lab.change(
        "UPDATE t SET grp = 2 WHERE id = 1; UPDATE t SET v = 'b' WHERE id = 2; \
         UPDATE t SET v = 'long' WHERE id = 3",
    )
    .await;

    assert_eq!(lab.counts(&[]).await, (1, 1));

    let row = "SELECT text || up || grp FROM t WHERE id = 2";
    assert_eq!(lab.value(row).await, "bB0");
}

#[tokio::test]
async fn condition_that_moves_by_itself_is_followed() {
    let lab = Lab::with_rows(Target::postgres().await, 10).await;
    lab.change("CREATE TABLE chosen (id int PRIMARY KEY); INSERT INTO chosen VALUES (1), (2)")
        .await;
    let settings = "where: { source_sql: \"id in (select id from public.chosen)\" }, capture: hash";
    lab.pipeline(NO_GUARD, settings);
    lab.run(&[]).await.expect_success();
    assert_eq!(lab.ids("true").await, "1,2");

    // No row of the table itself changes.
    lab.change("DELETE FROM chosen WHERE id = 1; INSERT INTO chosen VALUES (7)")
        .await;
    lab.run(&[]).await.expect_success();

    assert_eq!(lab.ids("true").await, "2,7");
}

#[tokio::test]
async fn tables_that_commit_together_are_compared_whole() {
    let lab = Lab::with_rows(Target::postgres().await, 30).await;
    lab.pipeline("consistency: pipeline\n", HASHED);
    lab.run(&[]).await.expect_success();
    lab.change("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'b' WHERE id < 5")
        .await;

    assert_eq!(lab.counts(&[]).await, (3, 1));

    same(&lab).await;
    assert_eq!(lab.counts(&[]).await, (0, 0));
}

#[tokio::test]
async fn rows_of_a_load_that_changed_meanwhile_are_put_right() {
    for target in targets().await {
        let lab = Lab::new(target, "SELECT 1").await;
        // Wide enough for several chunks.
        lab.change(
            "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, v text NOT NULL); \
             INSERT INTO t SELECT i, 1, repeat(md5(i::text), 40) FROM generate_series(1, 8000) i; \
             ANALYZE t",
        )
        .await;
        lab.pipeline("", HASHED);

        lab.killed_at("chunk.batch:2").await;
        // Rows of chunks that are done and of others: they change, go, come and swap keys.
        lab.change(
            "UPDATE t SET v = 'b' WHERE id % 1000 = 0; DELETE FROM t WHERE id % 1000 = 1; \
             UPDATE t SET id = 9000 WHERE id = 5; INSERT INTO t VALUES (5, 1, 'c'), (8001, 1, 'd')",
        )
        .await;
        lab.killed_at("hash.compared").await;
        lab.change("UPDATE t SET v = 'e' WHERE id % 1000 = 2").await;
        lab.killed_at("hash.batch").await;
        lab.run(&[]).await.expect_success();

        same(&lab).await;
        assert_eq!(lab.counts(&[]).await, (0, 0));
    }
}

/// The kills that are asked for.
fn kills_wanted() -> u32 {
    let Ok(all) = std::env::var("SYNCSET_HASH_KILLS") else {
        return KILLS_DEFAULT;
    };
    all.parse().expect("SYNCSET_HASH_KILLS is a number")
}

/// Writers insert, update, relocate and delete rows without a cursor, runs are killed at random
/// moments and at every step of a comparison, and in the end every write of the ledger is there.
async fn killed_while_writers_write(source: Target, target: Target) {
    let options = with_deletes(&source);
    let mut lab = crash_lab::Lab::new(source, target, HASH);
    let mut load = lab.create(options).await;
    lab.run().await;
    let started = Instant::now();
    lab.run().await;
    let longest = started.elapsed() * 2;

    let mut missed = Vec::new();
    let points = [
        "hash.compared",
        "hash.batch",
        "unit.before_commit",
        "unit.committed",
    ];
    load = lab.kill_at_each(load, &points, &mut missed).await;
    assert!(missed.is_empty(), "fail points never reached: {missed:?}");
    while lab.kills < kills_wanted() + 4 {
        let running = load.start();
        let wanted = (lab.kills + 10).min(kills_wanted() + 4);
        while lab.kills < wanted {
            running.commits(5).await;
            lab.kill_within(longest).await;
        }
        load = lab.compare(running).await;
    }
    lab.publish("compared", load.ledger().commit_count);
}

#[tokio::test]
async fn killed_comparisons_by_hash_lose_nothing() {
    killed_while_writers_write(from_postgres().await, Target::postgres().await).await;
}

#[tokio::test]
async fn killed_comparisons_by_stream_lose_nothing() {
    killed_while_writers_write(from_postgres().await, Target::sqlite()).await;
}
