//! `on_delete: soft` and `synced_at` that are written into a pipeline later, changed or taken out.

use crate::marks_lab::{Lab, NO_GUARD, TABLE, failure, targets_in_turn};

const GONE: &str = "_deleted_at IS NOT NULL";

fn settings(capture: &str, on_delete: &str) -> String {
    format!("capture: {capture}, where: \"grp = 1\", write: {{ on_delete: {on_delete} }}")
}

/// Ten rows, of which the first three are marked.
async fn with_three_marked(case: usize, capture: &str) -> Vec<Lab> {
    let mut labs = Vec::new();
    for target in targets_in_turn(case).await {
        let lab = Lab::with_rows(target, 10).await;
        lab.pipeline(NO_GUARD, &settings(capture, "soft"));
        lab.counts(&[]).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 3").await;
        lab.counts(&[]).await;
        assert_eq!(lab.ids(GONE).await, "1,2,3");
        labs.push(lab);
    }
    labs
}

#[tokio::test]
async fn hard_to_soft_marks_from_there_on() {
    for target in targets_in_turn(0).await {
        let lab = Lab::with_rows(target, 10).await;
        lab.pipeline(NO_GUARD, &settings("xmin", "hard"));
        lab.counts(&[]).await;
        // The one is seen and deleted; the other is gone without a trace in any window.
        lab.change("UPDATE t SET grp = 2 WHERE id = 1; DELETE FROM t WHERE id = 2")
            .await;
        assert_eq!(lab.counts(&[]).await, (0, 1));

        lab.pipeline(NO_GUARD, &settings("xmin", "soft"));
        let plan = lab
            .project
            .syncset(["pipeline", "plan", "p"])
            .await
            .expect_success();
        for said in [
            "edited on_delete: + soft",
            lab.target.own(
                "ADD COLUMN \"_deleted_at\" ",
                "ADD COLUMN \"_deleted_at\" ",
                "ADD COLUMN `_deleted_at` datetime(6) NULL",
            ),
            "rows that are gone are marked from here on, and not deleted",
            "rows that are gone stay at the target, with the time in `_deleted_at`",
            "column (since when the row is gone): instant -> _deleted_at ",
        ] {
            assert!(plan.stdout.contains(said), "{said}\n{}", plan.stdout);
        }
        assert_eq!(lab.counts(&[]).await, (0, 1));

        assert_eq!(lab.ids(GONE).await, "2");
        lab.live_rows_are_the_selected_ones().await;
        lab.change("UPDATE t SET grp = 2 WHERE id = 3").await;
        assert_eq!(lab.counts(&[]).await, (0, 1));
        assert_eq!(lab.ids(GONE).await, "2,3");
    }
}

#[tokio::test]
async fn soft_to_hard_deletes_what_was_marked() {
    for (case, capture) in ["xmin", "full"].into_iter().enumerate() {
        for lab in with_three_marked(case, capture).await {
            lab.pipeline(NO_GUARD, &settings(capture, "hard"));
            let plan = lab
                .project
                .syncset(["pipeline", "plan", "p"])
                .await
                .expect_success();
            for said in [
                "edited on_delete: - soft",
                lab.target.own(
                    "DROP COLUMN \"_deleted_at\"",
                    "DROP COLUMN \"_deleted_at\"",
                    "DROP COLUMN `_deleted_at`",
                ),
                "rows that are marked as gone are deleted at the end of the load",
            ] {
                assert!(plan.stdout.contains(said), "{said}\n{}", plan.stdout);
            }

            assert_eq!(lab.counts(&[]).await, (0, 3));

            assert_eq!(lab.columns().await, "grp, id, v");
            assert_eq!(lab.ids("1 = 1").await, "4,5,6,7,8,9,10");
            assert_eq!(lab.counts(&[]).await, (0, 0));
        }
    }
}

#[tokio::test]
async fn guard_is_asked_before_marked_rows_are_deleted() {
    for lab in with_three_marked(0, "xmin").await {
        let strict = "guards: { max_delete_percent: 5, max_delete_rows_always_allowed: 2 }\n";
        lab.pipeline(strict, &settings("xmin", "hard"));

        for _ in 0..2 {
            let said = failure(&lab.run(&[]).await.expect_code(8));
            assert!(said.contains("would delete 3 of the 10 rows"), "{said}");
            assert_eq!(lab.value("SELECT count(*) FROM t").await, "10");
        }
        // Undone, they are marked again.
        lab.pipeline(NO_GUARD, &settings("xmin", "soft"));
        assert_eq!(lab.counts(&[]).await, (0, 3));
        assert_eq!(lab.ids(GONE).await, "1,2,3");
        lab.pipeline(strict, &settings("xmin", "hard"));
        let allowed = lab.counts(&["--allow-deletes", "public.t=3"]).await;

        assert_eq!(allowed, (0, 3));
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "7");
    }
}

#[tokio::test]
async fn soft_to_keep_leaves_rows_without_a_mark() {
    for lab in with_three_marked(1, "xmin").await {
        lab.pipeline(NO_GUARD, &settings("xmin", "keep"));
        assert_eq!(lab.counts(&[]).await, (0, 0));

        assert_eq!(lab.columns().await, "grp, id, v");
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "10");

        lab.pipeline(NO_GUARD, &settings("xmin", "soft"));
        assert_eq!(lab.counts(&[]).await, (0, 3));
        assert_eq!(lab.ids(GONE).await, "1,2,3");
    }
}

#[tokio::test]
async fn killed_edits_of_on_delete_end_as_they_were_meant() {
    let points = [
        "alter.committed",
        "load.begun",
        "unit.committed",
        "settle.compared",
    ];
    for (case, point) in points.into_iter().enumerate() {
        for lab in with_three_marked(case, "xmin").await {
            for (on_delete, rows) in [("hard", "7"), ("soft", "7"), ("keep", "7")] {
                lab.pipeline(NO_GUARD, &settings("xmin", on_delete));

                lab.killed_at(point).await;
                lab.run(&[]).await.expect_success();

                let columns = lab.columns().await;
                assert_eq!(
                    columns.contains("_deleted_at"),
                    on_delete == "soft",
                    "{point}"
                );
                assert_eq!(lab.value("SELECT count(*) FROM t").await, rows, "{point}");
            }
        }
    }
}

#[tokio::test]
async fn other_edits_keep_marks() {
    for target in targets_in_turn(1).await {
        let lab = Lab::new(
            target,
            "CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL UNIQUE, grp int NOT NULL, v text NOT NULL);
             INSERT INTO t SELECT i, i + 100, 1, 'a' FROM generate_series(1, 10) i",
        )
        .await;
        let with = |extra: &str| {
            format!(
                "capture: xmin, where: \"grp = 1\", \
                 write: {{ on_delete: soft, synced_at: _synced_at }}, {extra}"
            )
        };
        lab.pipeline(NO_GUARD, &with("key: [id]"));
        lab.counts(&[]).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 3").await;
        lab.counts(&[]).await;
        let marks = "SELECT id, _deleted_at, _synced_at FROM t ORDER BY id";
        let before = lab.rows(marks).await;

        // SQLite makes a table with another key anew.
        for edit in [
            "key: [code]",
            "key: [code], derive: { w: \"upper(v)\" }",
            "key: [id]",
        ] {
            lab.pipeline(NO_GUARD, &with(edit));
            let counts = lab.counts(&[]).await;

            assert_eq!(lab.ids(GONE).await, "1,2,3", "{edit}");
            assert_eq!(lab.rows(marks).await[..3], before[..3], "{edit}");
            // Only a new column changes rows that are there.
            let written = if edit.contains("derive") { 7 } else { 0 };
            assert_eq!(counts, (written, 0), "{edit}");
        }
        assert_eq!(
            lab.columns().await,
            "_deleted_at, _synced_at, code, grp, id, v"
        );
    }
}

#[tokio::test]
async fn marks_of_a_table_of_somebody_else_survive_edits() {
    for target in targets_in_turn(0).await {
        let create = target.own(
            "CREATE TABLE t (id int PRIMARY KEY, grp int, v text, _deleted_at timestamptz)",
            "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, grp INTEGER, v TEXT, _deleted_at TIMESTAMPTZ)",
            "CREATE TABLE t (id int PRIMARY KEY, grp int, v text, _deleted_at datetime(6))",
        );
        target.place().execute(create).await;
        let lab = Lab::with_rows(target, 10).await;
        lab.pipeline(NO_GUARD, &settings("full", "soft"));
        lab.counts(&[]).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 3").await;
        lab.counts(&[]).await;
        let before = lab.image().await;

        let edited = settings("full", "soft").replace("grp = 1", "grp = 1 and id > 0");
        lab.pipeline(NO_GUARD, &edited);
        assert_eq!(lab.counts(&[]).await, (0, 0));
        assert_eq!(lab.image().await, before);

        // Their column is theirs to empty or drop.
        lab.pipeline(NO_GUARD, &settings("full", "hard"));
        let said = failure(&lab.run(&[]).await.expect_code(5));
        assert!(
            said.contains("`_deleted_at`") && said.contains("DROP COLUMN"),
            "{said}"
        );
        assert_eq!(lab.image().await, before);
    }
}

#[tokio::test]
async fn synced_at_comes_goes_and_is_renamed() {
    for target in targets_in_turn(1).await {
        let lab = Lab::new(
            target,
            &format!("{TABLE}; INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, 5) i"),
        )
        .await;
        let with = |write: &str| format!("capture: xmin, write: {{ mode: upsert{write} }}");
        lab.pipeline("", &with(""));
        lab.counts(&[]).await;

        // What was written before nobody wrote down.
        lab.pipeline("", &with(", synced_at: _synced_at"));
        assert_eq!(lab.counts(&[]).await, (0, 0));
        assert_eq!(lab.ids("_synced_at IS NULL").await, "1,2,3,4,5");
        lab.change("UPDATE t SET v = 'b' WHERE id = 2").await;
        assert_eq!(lab.counts(&[]).await, (1, 0));
        assert_eq!(lab.ids("_synced_at IS NOT NULL").await, "2");
        let time = lab.value("SELECT _synced_at FROM t WHERE id = 2").await;

        lab.pipeline("", &with(", synced_at: loaded_at"));
        assert_eq!(lab.counts(&[]).await, (0, 0));
        assert_eq!(lab.columns().await, "grp, id, loaded_at, v");
        assert_eq!(
            lab.value("SELECT loaded_at FROM t WHERE id = 2").await,
            time
        );

        lab.pipeline("", &with(""));
        assert_eq!(lab.counts(&[]).await, (0, 0));
        assert_eq!(lab.columns().await, "grp, id, v");
    }
}
