//! `on_delete: soft`: rows that are gone stay at the target with the time at which that was found,
//! once, and are there again when they come back.

use crate::marks_lab::{
    LIVE, Lab, NO_GUARD, TABLE, every_target, failure, mysql_targets, targets, targets_in_turn,
};
use crate::targets::Target;

const SOFT: &str = "write: { on_delete: soft }";
const GONE: &str = "_deleted_at IS NOT NULL";

/// Pipelines that see rows leave the selection in every run.
const CAPTURES: [&str; 3] = [
    "capture: xmin, where: \"grp = 1\", write: { on_delete: soft }",
    "capture: full, where: \"grp = 1\", write: { on_delete: soft }",
    "capture: full, where: \"grp = 1\", write: { mode: replace, on_delete: soft }",
];

/// The same with all tables in one transaction.
const TOGETHER: &str = "consistency: pipeline\n";

async fn every_pipeline(rows: u32) -> Vec<(Lab, String)> {
    let mut labs = Vec::new();
    for settings in CAPTURES {
        for top in ["", TOGETHER] {
            for target in targets().await {
                let lab = Lab::with_rows(target, rows).await;
                lab.pipeline(top, settings);
                labs.push((lab, format!("{top}{settings}")));
            }
        }
        // Each server sees each way to write, alone or together.
        let tops = match settings {
            settings if settings.contains("xmin") => ["", TOGETHER],
            _ => [TOGETHER, ""],
        };
        for (target, top) in mysql_targets().await.into_iter().zip(tops) {
            let lab = Lab::with_rows(target, rows).await;
            lab.pipeline(top, settings);
            labs.push((lab, format!("{top}{settings}")));
        }
    }
    labs
}

#[tokio::test]
async fn gone_row_is_marked_once_and_comes_back() {
    for (lab, pipeline) in every_pipeline(20).await {
        assert_eq!(lab.counts(&[]).await, (20, 0), "{pipeline}");
        lab.live_rows_are_the_selected_ones().await;

        lab.change("UPDATE t SET grp = 2 WHERE id <= 3").await;
        assert_eq!(lab.counts(&[]).await, (0, 3), "{pipeline}");
        lab.live_rows_are_the_selected_ones().await;
        assert_eq!(lab.ids(GONE).await, "1,2,3");
        let marked = lab.image().await;

        // They are still not selected, and one of them is read again.
        lab.change("UPDATE t SET grp = 3 WHERE id = 3").await;
        for _ in 0..2 {
            assert_eq!(lab.counts(&[]).await, (0, 0), "{pipeline}");
            assert_eq!(lab.image().await, marked, "{pipeline}");
        }

        // One comes back as it was, one with another version.
        lab.change("UPDATE t SET grp = 1 WHERE id = 1; UPDATE t SET grp = 1, v = 'b' WHERE id = 2")
            .await;
        assert_eq!(lab.counts(&[]).await, (2, 0), "{pipeline}");
        lab.live_rows_are_the_selected_ones().await;
        assert_eq!(lab.ids(GONE).await, "3");
        assert_eq!(lab.image().await[2], marked[2], "{pipeline}");
    }
}

#[tokio::test]
async fn unchanged_table_with_marked_rows_writes_nothing() {
    for (lab, pipeline) in every_pipeline(20).await {
        lab.counts(&[]).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 3").await;
        lab.counts(&[]).await;
        let marked = lab.image().await;

        for flags in [&[][..], &["--full-refresh"]] {
            assert_eq!(lab.counts(flags).await, (0, 0), "{pipeline} {flags:?}");
            assert_eq!(lab.image().await, marked, "{pipeline} {flags:?}");
        }
    }
}

#[tokio::test]
async fn rows_deleted_at_the_source_are_marked_by_a_full_refresh() {
    for target in targets_in_turn(0).await {
        let lab = Lab::with_rows(target, 20).await;
        lab.pipeline("", &format!("capture: xmin, where: \"grp = 1\", {SOFT}"));
        lab.counts(&[]).await;

        lab.change("DELETE FROM t WHERE id <= 3; UPDATE t SET v = 'b' WHERE id = 9")
            .await;

        assert_eq!(lab.counts(&[]).await, (1, 0));
        assert_eq!(lab.counts(&["--full-refresh"]).await, (0, 3));
        assert_eq!(lab.ids(GONE).await, "1,2,3");
        lab.change("INSERT INTO t VALUES (2, 1, 'a')").await;
        assert_eq!(lab.counts(&[]).await, (1, 0));
        assert_eq!(lab.ids(GONE).await, "1,3");
        lab.live_rows_are_the_selected_ones().await;
    }
}

#[tokio::test]
async fn mark_is_the_time_of_the_run_that_found_the_row_gone() {
    for target in every_target().await {
        let lab = Lab::with_rows(target, 2).await;
        lab.pipeline("", CAPTURES[0]);
        lab.counts(&[]).await;
        let now = lab.target.own(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00:00')",
            "SELECT strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now')",
            "SELECT CONCAT(UTC_TIMESTAMP(6), '+00:00')",
        );
        let mark = lab.target.own(
            "SELECT to_char(_deleted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00:00') \
             FROM t WHERE id = 1",
            "SELECT _deleted_at FROM t WHERE id = 1",
            "SELECT CONCAT(_deleted_at, '+00:00') FROM t WHERE id = 1",
        );

        let before = lab.value(now).await;
        lab.change("UPDATE t SET grp = 2 WHERE id = 1").await;
        lab.counts(&[]).await;
        let after = lab.value(now).await;

        let mark = lab.value(mark).await;
        // The clock of SQLite's own functions ends at milliseconds.
        assert!(
            before[..23] <= mark[..23] && mark[..23] <= after[..23],
            "{before} {mark} {after}"
        );
        assert_eq!(
            mark.len(),
            "2024-05-01 10:00:00.000000+00:00".len(),
            "{mark}"
        );
    }
}

#[tokio::test]
async fn guards_count_marks_and_only_rows_that_are_there() {
    const STRICT: &str = "guards: { max_delete_percent: 5, max_delete_rows_always_allowed: 0 }\n";
    for (case, settings) in CAPTURES.into_iter().enumerate() {
        for target in targets_in_turn(case).await {
            let lab = Lab::with_rows(target, 1000).await;
            lab.pipeline(STRICT, settings);
            lab.counts(&[]).await;

            lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
            let stopped = lab.run(&[]).await.expect_code(8);
            let said = failure(&stopped);
            assert!(said.contains("would delete 100 of the 1000 rows"), "{said}");
            assert_eq!(lab.ids(GONE).await, "");
            let allowed = lab.counts(&["--allow-deletes", "public.t=100"]).await;
            assert_eq!(allowed, (0, 100), "{settings}");
            lab.live_rows_are_the_selected_ones().await;

            // Rows that are marked already are not asked about again.
            lab.change("UPDATE t SET grp = 3 WHERE grp = 2").await;
            assert_eq!(lab.counts(&[]).await, (0, 0), "{settings}");

            // 45 of the 900 rows that are left are 5 %; of 1,000 they would be fewer.
            lab.change("UPDATE t SET grp = 2 WHERE id BETWEEN 101 AND 146")
                .await;
            let said = failure(&lab.run(&[]).await.expect_code(8));
            assert!(said.contains("would delete 46 of the 900 rows"), "{said}");
            lab.change("UPDATE t SET grp = 1 WHERE id = 146").await;
            assert_eq!(lab.counts(&[]).await.1, 45, "{settings}");
            lab.live_rows_are_the_selected_ones().await;
        }
    }
}

/// Target tables that refuse a version of a row.
fn picky(target: &Target) -> &'static str {
    target.own(
        "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, v text NOT NULL CHECK (v <> 'bad'),
           _deleted_at timestamptz)",
        "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, grp INTEGER NOT NULL,
           v TEXT NOT NULL CHECK (v <> 'bad'), _deleted_at TIMESTAMPTZ)",
        "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL,
           v varchar(40) NOT NULL CHECK (v <> 'bad'), _deleted_at timestamp(3) NULL,
           UNIQUE KEY (id, grp))",
    )
}

#[tokio::test]
async fn rows_are_marked_beside_rows_that_are_refused() {
    for (case, settings) in CAPTURES.into_iter().enumerate() {
        for target in targets_in_turn(case).await {
            target.place().execute(picky(&target)).await;
            let lab = Lab::with_rows(target, 20).await;
            lab.pipeline("rejects: { max_rows: 5 }\n", settings);
            lab.counts(&[]).await;

            lab.change(
                "UPDATE t SET grp = 2 WHERE id <= 3; UPDATE t SET v = 'bad' WHERE id = 9; \
                 UPDATE t SET v = 'b' WHERE id = 10",
            )
            .await;
            assert_eq!(lab.counts(&[]).await, (1, 3), "{settings}");
            assert_eq!(lab.ids(GONE).await, "1,2,3", "{settings}");
            let marked = lab.image().await;
            assert_eq!(lab.counts(&[]).await, (0, 0), "{settings}");
            assert_eq!(lab.image().await, marked, "{settings}");

            lab.change("UPDATE t SET v = 'b' WHERE id = 9; UPDATE t SET grp = 1 WHERE id = 2")
                .await;
            assert_eq!(lab.counts(&[]).await, (2, 0), "{settings}");
            lab.live_rows_are_the_selected_ones().await;
        }
    }
}

#[tokio::test]
async fn killed_runs_mark_every_row_in_the_end() {
    let points = [
        "unit.begun",
        "deletes.decided",
        "unit.before_commit",
        "unit.committed",
    ];
    for (case, settings) in CAPTURES.into_iter().enumerate() {
        for target in targets_in_turn(case).await {
            let lab = Lab::with_rows(target, 40).await;
            lab.pipeline("", settings);
            lab.counts(&[]).await;
            for (first, point) in (1..).step_by(5).zip(points) {
                // Whole tables are compared instead.
                if point == "deletes.decided" && !settings.contains("xmin") {
                    continue;
                }
                let last = first + 4;
                lab.change(&format!(
                    "UPDATE t SET grp = 2 WHERE id BETWEEN {first} AND {last}"
                ))
                .await;

                lab.killed_at(point).await;
                lab.run(&[]).await.expect_success();

                lab.live_rows_are_the_selected_ones().await;
                assert_eq!(
                    lab.value("SELECT count(*) FROM t").await,
                    "40",
                    "{settings} {point}"
                );
            }
        }
    }
}

#[tokio::test]
async fn all_tables_mark_together() {
    for target in every_target().await {
        let lab = Lab::new(
            target,
            &format!(
                "{TABLE}; CREATE TABLE u (LIKE t INCLUDING ALL);
             INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, 9) i; INSERT INTO u TABLE t"
            ),
        )
        .await;
        let settings = "capture: xmin, where: \"grp = 1\", write: { on_delete: soft }";
        lab.project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\nconsistency: pipeline\n{NO_GUARD}tables:\n  \
                 public.t: {{ to: t, {settings} }}\n  public.u: {{ to: u, {settings} }}\n"
            ),
        );
        lab.run(&[]).await.expect_success();
        lab.change(
            "BEGIN; UPDATE t SET grp = 2 WHERE id <= 3; UPDATE u SET grp = 2 WHERE id > 3; COMMIT",
        )
        .await;

        lab.killed_at("unit.before_commit").await;
        assert_eq!(lab.ids(GONE).await, "");
        lab.run(&[]).await.expect_success();

        lab.live_rows_are_the_selected_ones().await;
        let live_of_u = LIVE.replace("FROM t", "FROM u");
        let selected = "SELECT id, grp, v FROM u WHERE grp = 1";
        kit::compare(&lab.source, lab.target.place(), selected, &live_of_u)
            .await
            .assert_equal();
        let times = "SELECT count(*) FROM (SELECT _deleted_at FROM t WHERE _deleted_at IS NOT NULL \
                     UNION SELECT _deleted_at FROM u WHERE _deleted_at IS NOT NULL) AS d";
        assert_eq!(lab.value(times).await, "1");
    }
}

#[tokio::test]
async fn target_column_that_cannot_hold_marks_is_refused() {
    for (postgres, sqlite, mysql, said) in [
        (
            "_deleted_at timestamptz NOT NULL",
            "_deleted_at TIMESTAMPTZ NOT NULL",
            "_deleted_at datetime(6) NOT NULL",
            "refuses NULL",
        ),
        (
            "_deleted_at timestamptz DEFAULT now()",
            "_deleted_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP",
            "_deleted_at timestamp NULL ON UPDATE CURRENT_TIMESTAMP",
            "default",
        ),
        (
            "_deleted_at date",
            "_deleted_at INTEGER",
            "_deleted_at date",
            "_deleted_at",
        ),
        ("other int", "other INTEGER", "other int", "_deleted_at"),
    ] {
        for target in every_target().await {
            let create = target.own(
                "CREATE TABLE t (id int PRIMARY KEY, grp int, v text, ",
                "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, grp INTEGER, v TEXT, ",
                "CREATE TABLE t (id int PRIMARY KEY, grp int, v text, ",
            );
            let create = format!("{create}{})", target.own(postgres, sqlite, mysql));
            target.place().execute(&create).await;
            let lab = Lab::with_rows(target, 2).await;
            lab.pipeline("", CAPTURES[0]);

            let stopped = failure(&lab.run(&[]).await.expect_code(5));

            assert!(stopped.contains(said), "{stopped}");
            assert_eq!(lab.value("SELECT count(*) FROM t").await, "0");
        }
    }
}

#[tokio::test]
async fn marked_rows_take_no_rows_of_others_with_them() {
    let [mysql, mariadb] = mysql_targets().await;
    for target in [Target::postgres().await, mysql, mariadb] {
        let instant = target.own("timestamptz", "", "datetime(6)");
        target
            .place()
            .execute(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, v text NOT NULL, _deleted_at {instant});
                 CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES t (id) ON DELETE CASCADE)"
            ))
            .await;
        let lab = Lab::with_rows(target, 3).await;
        // `replace` that deletes is refused where that would delete rows of others.
        lab.pipeline("", CAPTURES[2]);
        lab.counts(&[]).await;
        lab.target
            .place()
            .execute("INSERT INTO child VALUES (1), (2)")
            .await;

        lab.change("UPDATE t SET grp = 2 WHERE id = 1").await;
        assert_eq!(lab.counts(&[]).await, (0, 1));

        assert_eq!(lab.value("SELECT count(*) FROM child").await, "2");
    }
}

#[tokio::test]
async fn marked_rows_do_not_make_both_sides_differ() {
    let server = kit::own_postgres().await;
    let database = server.database("marks_target").await;
    database.log_statements().await;
    let lab = Lab::with_rows(Target::Postgres(database), 20).await;
    lab.pipeline("", CAPTURES[1]);
    let compared_keys = || {
        let Target::Postgres(database) = &lab.target else {
            unreachable!("the test made a PostgreSQL target");
        };
        let statements = server.statement_log(database).into_iter();
        statements
            .filter(|statement| {
                statement
                    .text
                    .contains("CREATE TEMP TABLE pg_temp.\"syncset_0_keys")
            })
            .count()
    };
    lab.counts(&[]).await;
    lab.change("UPDATE t SET grp = 2 WHERE id <= 3").await;
    assert_eq!(lab.counts(&[]).await, (0, 3));
    assert_eq!(compared_keys(), 1);

    assert_eq!(lab.counts(&[]).await, (0, 0));

    assert_eq!(compared_keys(), 1);
}
