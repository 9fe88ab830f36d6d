//! Tables of the source that get columns between two runs: the target follows by itself, or as the
//! file says, and its rows are those of the source.

use crate::schema_lab::{Lab, PAIRS};
use crate::targets::Target;
use kit::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A column whose default fills the rows that are there, rows that change without a stamp, and one
/// more row.
const NOTE: &str = "ALTER TABLE t ADD COLUMN note varchar(20) DEFAULT 'first'; \
    UPDATE t SET note = 'other' WHERE id <= 10; \
    INSERT INTO t (id, name, rev, note) VALUES (101, 'row 101', 101, NULL)";

const NOTES: &str = "SELECT id, name, rev, note FROM t ORDER BY id";

#[tokio::test]
async fn new_column_comes_with_the_values_of_all_rows() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source(NOTE).await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        let first = lab.run().await.expect_success();
        let second = lab
            .run_with(&["--output", "json"])
            .await
            .expect_success()
            .json();

        lab.assert_same(NOTES, 101).await;
        lab.assert_same("SELECT id, name, rev FROM u ORDER BY id", 101)
            .await;
        let said = Lab::said(&first);
        assert!(
            said.contains("loading it again: the source has new column `note`"),
            "{said}"
        );
        for table in second["tables"].as_array().expect("a report has tables") {
            assert_eq!(table["rows_written"], 0, "{pair:?}: {table}");
        }
    }
}

#[tokio::test]
async fn ignored_column_comes_when_the_file_lets_it_in() {
    for pair in PAIRS {
        let ignore = "schema: { new_column: ignore }";
        let lab = Lab::loaded(pair, ignore).await;

        lab.at_source(NOTE).await;
        lab.run().await.expect_success();
        lab.run().await.expect_success();
        let plan = lab
            .project
            .syncset(["pipeline", "plan", "p"])
            .await
            .expect_success();

        lab.assert_same("SELECT id, name, rev FROM t ORDER BY id", 101)
            .await;
        assert!(!lab.has_column("t", "note").await, "{pair:?}");
        let note = "column `note` is new at the source and not copied (`new_column: ignore`)";
        assert!(plan.stdout.contains(note), "{}", plan.stdout);
        lab.edit("schema: { new_column: add }");
        lab.run().await.expect_success();
        lab.assert_same(NOTES, 101).await;
    }
}

#[tokio::test]
async fn column_that_nobody_agreed_to_stops_its_own_table_only() {
    for pair in [PAIRS[0], PAIRS[3]] {
        let lab = Lab::loaded(pair, "schema: { new_column: approve }").await;
        let stream = lab.stream();

        lab.at_source(NOTE).await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        let stopped = lab.run().await.expect_code(5);
        let plan = lab
            .project
            .syncset(["pipeline", "plan", "p"])
            .await
            .expect_code(5);

        let said = Lab::said(&stopped);
        let why = format!("table `{stream}`: the source has new column `note`");
        assert!(said.contains(&why), "{said}");
        let hint = format!("syncset schema approve p --tables {stream}");
        assert!(said.contains(&hint), "{said}");
        assert!(
            plan.stdout.contains("  source has new column `note`"),
            "{}",
            plan.stdout
        );
        assert!(plan.stdout.contains("ADD COLUMN"), "{}", plan.stdout);
        assert!(!lab.has_column("t", "note").await);
        assert_eq!(
            lab.value("SELECT count(*) FROM t").await.as_deref(),
            Some("100")
        );
        assert_eq!(
            lab.value("SELECT count(*) FROM u").await.as_deref(),
            Some("101")
        );
        lab.run_with(&["--approve", stream]).await.expect_success();
        lab.assert_same(NOTES, 101).await;
        lab.run().await.expect_success();
    }
}

#[tokio::test]
async fn column_is_refused_whatever_the_flags_with_fail() {
    let lab = Lab::loaded(
        (Engine::Sqlite, Engine::Postgres),
        "schema: { new_column: fail }",
    )
    .await;

    lab.at_source(NOTE).await;
    let stopped = lab.run_with(&["--approve", "t"]).await.expect_code(5);

    let said = Lab::said(&stopped);
    assert!(
        said.contains("write `schema: { new_column: add }` or `ignore`"),
        "{said}"
    );
    assert!(!lab.has_column("t", "note").await);
    lab.edit("schema: { new_column: fail }, columns: { exclude: [\"no*\"] }");
    lab.run().await.expect_success();
    assert_eq!(
        lab.value("SELECT count(*) FROM t").await.as_deref(),
        Some("101")
    );
}

#[tokio::test]
async fn column_that_the_file_does_not_take_changes_nothing() {
    let named = "columns: [id, name, rev], schema: { new_column: fail }";
    for pair in [PAIRS[0], PAIRS[3]] {
        let lab = Lab::loaded(pair, named).await;

        lab.at_source(NOTE).await;
        lab.run().await.expect_success();

        lab.assert_same("SELECT id, name, rev FROM t ORDER BY id", 101)
            .await;
        assert!(!lab.has_column("t", "note").await);
    }
}

#[tokio::test]
async fn run_killed_at_any_step_is_finished_by_the_next() {
    let targets = [Engine::Postgres, Engine::Mariadb, Engine::Sqlite];
    for target in targets {
        let lab = Lab::loaded(
            (Engine::Postgres, target),
            "schema: { new_column: approve }",
        )
        .await;
        let agreed = ["--approve", "public.t"];
        let points = [
            "alter.committed",
            "load.begun",
            "chunk.batch",
            "settle.compared",
        ];
        for (number, point) in points.into_iter().enumerate() {
            lab.at_source(&format!(
                "ALTER TABLE t ADD COLUMN c{number} int DEFAULT {number}; \
                 UPDATE t SET c{number} = -id WHERE id <= 10"
            ))
            .await;

            lab.killed_at(point, &agreed).await;
            lab.run().await.expect_success();

            let sql = format!("SELECT id, name, rev, c{number} FROM t ORDER BY id");
            lab.assert_same(&sql, 100).await;
        }
    }
}

#[tokio::test]
async fn column_that_is_dropped_and_added_is_read_again() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Sqlite), "").await;
    let again = "ALTER TABLE t DROP COLUMN name; \
                 ALTER TABLE t ADD COLUMN name varchar(50) NOT NULL DEFAULT 'fresh'";

    lab.at_source(again).await;
    let run = lab.run().await.expect_success();

    let said = Lab::said(&run);
    assert!(
        said.contains("the source has a column `name` that was dropped and added again"),
        "{said}"
    );
    lab.assert_same("SELECT id, name, rev FROM t ORDER BY id", 100)
        .await;
    lab.edit("schema: { new_column: approve }");
    lab.at_source(again).await;
    lab.run().await.expect_code(5);
    lab.run_with(&["--approve", "t"]).await.expect_success();
    let last = lab.run().await.expect_success();
    assert_eq!(
        last.stdout.matches("unchanged").count(),
        2,
        "{}",
        last.stdout
    );
}

#[tokio::test]
async fn column_that_comes_again_may_hold_null_although_it_refused_it_before() {
    for target in Engine::ALL {
        let lab = Lab::loaded((Engine::Postgres, *target), "").await;

        lab.at_source(
            "ALTER TABLE t DROP COLUMN name; ALTER TABLE t ADD COLUMN name varchar(50); \
             UPDATE t SET name = 'again' WHERE id % 2 = 0",
        )
        .await;
        lab.run().await.expect_success();

        lab.assert_same("SELECT id, name, rev FROM t ORDER BY id", 100)
            .await;
        lab.is_quiet().await;
    }
}

#[tokio::test]
async fn appended_rows_stay_and_later_ones_have_the_new_column() {
    for pair in PAIRS {
        let lab = Lab::loaded(
            pair,
            "write: { mode: append }, capture: { mode: cursor, column: rev, overlap: 0 }",
        )
        .await;

        lab.at_source(
            "ALTER TABLE t ADD COLUMN note varchar(20) DEFAULT 'first'; \
             INSERT INTO t (id, name, rev, note) VALUES (101, 'row 101', 101, 'new'), \
             (102, 'row 102', 102, 'new')",
        )
        .await;
        lab.killed_at("alter.committed", &[]).await;
        let run = lab.run().await.expect_success();
        lab.run().await.expect_success();

        let said = Lab::said(&run);
        assert!(
            said.contains("rows that are at the target stay as they are"),
            "{said}"
        );
        // The newest number may wait until there is a greater one: 102, and 100 before that.
        lab.assert_same(
            "SELECT id, name, rev FROM t WHERE id <= 101 ORDER BY id",
            101,
        )
        .await;
        let noted = lab
            .target
            .place()
            .rows("SELECT id, note FROM t WHERE note IS NOT NULL AND (id < 100 OR id = 101)")
            .await;
        assert_eq!(
            noted,
            [[Some("101".to_owned()), Some("new".to_owned())]],
            "{pair:?}"
        );
    }
}

#[tokio::test]
async fn tables_loaded_by_an_older_version_learn_how_they_were_chosen() {
    let lab = Lab::loaded((Engine::Sqlite, Engine::Postgres), "").await;
    let forget = "UPDATE _syncset.watermark SET selection_text = \
         to_json(((selection_text #>> '{}')::jsonb - 'choice' - 'source')::text)";
    lab.target.place().execute(forget).await;

    let first = lab.run().await.expect_success();
    lab.edit("schema: { new_column: ignore }");
    lab.at_source(NOTE).await;
    lab.run().await.expect_success();

    assert_eq!(
        first.stdout.matches("unchanged").count(),
        2,
        "{}",
        first.stdout
    );
    lab.assert_same("SELECT id, name, rev FROM t ORDER BY id", 101)
        .await;
    assert!(!lab.has_column("t", "note").await);
}

#[tokio::test]
async fn column_that_somebody_made_at_the_target_keeps_its_values() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, "").await;
        // As the target would make it: text of SQLite has no length.
        let native = match pair.0 {
            Engine::Sqlite => "text",
            Engine::Postgres | Engine::Mysql | Engine::Mariadb => "varchar(20)",
        };
        let mine = format!(
            "ALTER TABLE t ADD COLUMN note {native}; UPDATE t SET note = 'mine' WHERE id = 1"
        );
        lab.target.place().execute(&mine).await;

        lab.at_source(NOTE).await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        let stopped = lab.run().await.expect_code(5);

        let said = Lab::said(&stopped);
        assert!(
            said.contains("holds values and was not made by syncset"),
            "{said}"
        );
        assert_eq!(
            lab.value("SELECT note FROM t WHERE id = 1")
                .await
                .as_deref(),
            Some("mine")
        );
        assert_eq!(
            lab.value("SELECT count(*) FROM u").await.as_deref(),
            Some("101")
        );
        lab.edit_each("rename: { note: remark }", "");
        lab.run().await.expect_success();
        assert_eq!(
            lab.value("SELECT count(*) FROM t WHERE remark = 'other'")
                .await
                .as_deref(),
            Some("10")
        );
    }
}

#[tokio::test]
async fn rows_flow_and_readers_see_no_error_while_columns_come() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Postgres), "").await;
    let (Target::Postgres(source), Target::Postgres(target)) = (&lab.source, &lab.target) else {
        unreachable!("both are PostgreSQL");
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (mut session, stopped) = (source.connect().await, Arc::clone(&stop));
    let writer = tokio::spawn(async move {
        let mut rev = 1_000;
        while !stopped.load(Ordering::SeqCst) {
            rev += 1;
            let id = rev % 150 + 1;
            let sql = format!(
                "INSERT INTO t (id, name, rev) VALUES ({id}, 'at {rev}', {rev}) \
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, rev = excluded.rev"
            );
            kit::postgres::send(&mut session, &sql).await;
        }
    });
    let (mut session, stopped) = (target.connect().await, Arc::clone(&stop));
    let reader = tokio::spawn(async move {
        while !stopped.load(Ordering::SeqCst) {
            kit::postgres::send(&mut session, "SELECT id, name, rev FROM t").await;
        }
    });

    for number in 0..4 {
        lab.at_source(&format!(
            "ALTER TABLE t ADD COLUMN c{number} int DEFAULT {number}"
        ))
        .await;
        lab.run().await.expect_success();
    }
    stop.store(true, Ordering::SeqCst);
    writer.await.expect("no write was refused");
    reader.await.expect("no read was refused");
    lab.run().await.expect_success();

    let sql = "SELECT id, name, rev, c0, c1, c2, c3 FROM t ORDER BY id";
    let rows = source.rows(sql).await;
    assert_eq!(target.rows(sql).await, rows);
    assert!(rows.len() > 100);
}
