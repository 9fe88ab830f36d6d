//! Tables of the source that lose columns between two runs: what becomes of the target's column is for
//! the file to say, and no other table waits for it.

use crate::schema_lab::{Lab, PAIRS, all_pairs};
use kit::Engine;

/// A column goes, one row changes, one comes.
const GONE: &str = "ALTER TABLE t DROP COLUMN name; UPDATE t SET rev = 1001 WHERE id = 1; \
    INSERT INTO t (id, rev) VALUES (101, 1002)";

const KEPT: &str = "SELECT id, rev FROM t ORDER BY id";

impl Lab {
    /// How many rows of the target's `t` have a name.
    async fn names(&self) -> u32 {
        self.number("SELECT count(name) FROM t").await
    }
}

#[tokio::test]
async fn values_of_a_dropped_column_stay_in_every_pair() {
    for pair in all_pairs() {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source(GONE).await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        let first = lab.run().await.expect_success();
        lab.is_quiet().await;

        let said = Lab::said(&first);
        assert!(
            said.contains("the source has dropped column `name`"),
            "{pair:?}: {said}"
        );
        assert!(said.contains("stays with the values it has"), "{said}");
        lab.assert_same(KEPT, 101).await;
        lab.assert_same("SELECT id, name, rev FROM u ORDER BY id", 101)
            .await;
        assert_eq!(lab.names().await, 100, "{pair:?}");
        let of_first = lab.value("SELECT name FROM t WHERE id = 1").await;
        assert_eq!(of_first.as_deref(), Some("row 1"), "{pair:?}");
    }
}

#[tokio::test]
async fn target_column_is_cleared_or_goes_as_the_file_says() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source(GONE).await;
        lab.run().await.expect_success();
        let kept = lab.names().await;
        lab.edit("schema: { dropped_column: null }");
        lab.run().await.expect_success();
        lab.is_quiet().await;
        let cleared = (lab.has_column("t", "name").await, lab.names().await);
        lab.edit("schema: { dropped_column: drop }");
        lab.run().await.expect_success();
        lab.is_quiet().await;

        assert_eq!(kept, 100, "{pair:?}");
        assert_eq!(cleared, (true, 0), "{pair:?}");
        assert!(!lab.has_column("t", "name").await, "{pair:?}");
        lab.assert_same(KEPT, 101).await;
    }
}

#[tokio::test]
async fn column_goes_only_when_somebody_agreed() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, "schema: { dropped_column: approve }").await;
        let stream = lab.stream();

        lab.at_source(GONE).await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        let stopped = lab.run().await.expect_code(5);
        let plan = lab
            .project
            .syncset(["pipeline", "plan", "p"])
            .await
            .expect_code(5);

        let said = Lab::said(&stopped);
        let why = format!("table `{stream}`: the source has dropped column `name`");
        assert!(said.contains(&why), "{said}");
        let hint = format!("syncset schema approve p --tables {stream}");
        assert!(said.contains(&hint), "{said}");
        assert!(plan.stdout.contains("DROP COLUMN"), "{}", plan.stdout);
        assert_eq!(lab.names().await, 100);
        assert_eq!(lab.number("SELECT count(*) FROM t").await, 100);
        assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
        lab.edit("schema: { dropped_column: fail }");
        let refused = lab.run_with(&["--approve", stream]).await.expect_code(5);
        assert!(
            Lab::said(&refused)
                .contains("write `schema: { dropped_column: keep }`, `null` or `drop`"),
            "{}",
            Lab::said(&refused)
        );
        lab.edit("schema: { dropped_column: approve }");
        lab.killed_at("alter.committed", &["--approve", stream])
            .await;
        lab.run().await.expect_success();
        lab.is_quiet().await;
        assert!(!lab.has_column("t", "name").await, "{pair:?}");
        lab.assert_same(KEPT, 101).await;
    }
}

#[tokio::test]
async fn run_killed_at_any_step_leaves_what_the_file_says() {
    let points = ["alter.committed", "selection.stored", "window.batch"];
    let cases = [
        ("keep", Engine::Sqlite),
        ("null", Engine::Postgres),
        ("null", Engine::Mariadb),
        ("drop", Engine::Sqlite),
        ("drop", Engine::Mysql),
    ];
    for (policy, target) in cases {
        let setting = format!("schema: {{ dropped_column: {policy} }}");
        let lab = Lab::loaded((Engine::Postgres, target), &setting).await;
        for (number, point) in points.into_iter().enumerate() {
            let column = format!("c{number}");
            lab.at_source(&format!("ALTER TABLE t ADD COLUMN {column} int DEFAULT 7"))
                .await;
            lab.run().await.expect_success();
            lab.at_source(&format!(
                "ALTER TABLE t DROP COLUMN {column}; UPDATE t SET rev = rev + 1000 WHERE id < 5"
            ))
            .await;

            lab.killed_at(point, &[]).await;
            lab.run().await.expect_success();
            lab.is_quiet().await;

            lab.assert_same("SELECT id, name, rev FROM t ORDER BY id", 100)
                .await;
            let has_column = lab.has_column("t", &column).await;
            assert_eq!(has_column, policy != "drop", "{target:?} {point}");
            if has_column {
                let sql = format!("SELECT count({column}) FROM t");
                let expected = if policy == "keep" { 100 } else { 0 };
                assert_eq!(lab.number(&sql).await, expected, "{target:?} {point}");
            }
        }
    }
}

#[tokio::test]
async fn rows_are_not_read_again_where_columns_have_numbers() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Sqlite), "").await;

    lab.at_source("ALTER TABLE t DROP COLUMN name; UPDATE t SET rev = 1001 WHERE id = 1")
        .await;
    let report = lab.run_with(&["--output", "json"]).await;

    let report = report.expect_success().json();
    let tables = report["tables"].as_array().expect("a report has tables");
    let of_t = tables.iter().find(|it| it["table"] == "public.t");
    let of_t = of_t.expect("the table is reported");
    assert_eq!(of_t["outcome"], "followed", "{of_t}");
    assert_eq!(of_t["rows_written"], 1, "{of_t}");
    lab.assert_same(KEPT, 100).await;
}

#[tokio::test]
async fn file_may_go_on_naming_a_column_that_is_gone() {
    for settings in [
        "columns: [id, name, rev]",
        "columns: [id, \"na*\", rev]",
        "rename: { name: full_name }",
        "columns: { exclude: [name] }",
    ] {
        let lab = Lab::loaded(PAIRS[3], settings).await;

        lab.at_source(GONE).await;
        lab.run().await.expect_success();
        lab.is_quiet().await;

        lab.assert_same(KEPT, 101).await;
    }
}

#[tokio::test]
async fn column_that_comes_back_has_the_values_of_the_source() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source(GONE).await;
        lab.run().await.expect_success();
        lab.at_source("ALTER TABLE t ADD COLUMN name varchar(50) DEFAULT 'again'")
            .await;
        lab.run().await.expect_success();

        lab.assert_same("SELECT id, name, rev FROM t ORDER BY id", 101)
            .await;
    }
}

#[tokio::test]
async fn table_stops_alone_if_the_file_needs_the_column() {
    let cases = [
        (
            "capture: full, key: [name]",
            "the key needs it",
            "capture: full, to: t2",
        ),
        (
            "capture: { mode: cursor, column: stamp, overlap: 10 }",
            "`capture` finds changes by it",
            "",
        ),
        ("where: \"name <> 'row 7'\"", "`where` names it", ""),
        (
            "derive: { loud: \"upper(name)\" }",
            "`derive` computes from it",
            "",
        ),
    ];
    for pair in [PAIRS[0], PAIRS[3]] {
        for (settings, why, mended) in cases {
            let lab = Lab::loaded(pair, "").await;
            lab.at_source("ALTER TABLE t ADD COLUMN stamp bigint NOT NULL DEFAULT 5")
                .await;
            if settings.contains("key") {
                lab.at_source("CREATE UNIQUE INDEX by_name ON t (name)")
                    .await;
                // Rows are found by another key in a table of their own.
                lab.edit_each(&format!("{settings}, to: t2"), "");
            } else {
                lab.edit_each(settings, "");
            }
            lab.run().await.expect_success();
            let column = if settings.contains("stamp") {
                "stamp"
            } else {
                "name"
            };

            if settings.contains("key") {
                let drop = match pair.0 {
                    Engine::Mysql | Engine::Mariadb => "DROP INDEX by_name ON t",
                    Engine::Postgres | Engine::Sqlite => "DROP INDEX by_name",
                };
                lab.at_source(drop).await;
            }
            lab.at_source(&format!("ALTER TABLE t DROP COLUMN {column}"))
                .await;
            lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
                .await;
            let stopped = lab.run().await.expect_code(5);
            let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
            plan.expect_code(5);

            let said = Lab::said(&stopped);
            let sentence = format!(
                "table `{}`: the source dropped column `{column}`, and {why}",
                lab.stream()
            );
            assert!(said.contains(&sentence), "{pair:?} {settings}: {said}");
            assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
            lab.edit_each(mended, "");
            lab.run().await.expect_success();
        }
    }
}

#[tokio::test]
async fn view_that_needs_the_column_keeps_it_as_it_is() {
    let lab = Lab::loaded((Engine::Sqlite, Engine::Postgres), "").await;
    lab.target
        .execute("CREATE VIEW v AS SELECT id, name FROM t")
        .await;

    lab.at_source(GONE).await;
    lab.edit("schema: { dropped_column: null }");
    let stopped = lab.run().await.expect_code(5);

    let said = Lab::said(&stopped);
    assert!(said.contains("view public.v depends on it"), "{said}");
    assert_eq!(lab.names().await, 100);
    lab.edit("schema: { dropped_column: keep }");
    lab.run().await.expect_success();
    lab.assert_same(KEPT, 101).await;
}

#[tokio::test]
async fn appended_rows_keep_the_values_of_a_dropped_column() {
    for pair in PAIRS {
        let lab = Lab::loaded(
            pair,
            "write: { mode: append }, capture: { mode: cursor, column: rev, overlap: 0 }",
        )
        .await;

        lab.at_source(
            "ALTER TABLE t DROP COLUMN name; \
             INSERT INTO t (id, rev) VALUES (101, 101), (102, 102)",
        )
        .await;
        lab.killed_at("selection.stored", &[]).await;
        lab.run().await.expect_success();

        // The newest number may wait until there is a greater one: 102, and 100 before that.
        let rows = lab.number("SELECT count(*) FROM t WHERE id <= 101").await;
        assert_eq!(rows, 101, "{pair:?}");
        assert!(lab.names().await >= 99, "{pair:?}");
    }
}
