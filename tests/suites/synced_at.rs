//! `write: { synced_at: NAME }`: a column that says when a row was last written.

use crate::marks_lab::{Lab, NO_GUARD, TABLE, every_target, targets_in_turn};

/// Ids of rows by the time at which they were written, the oldest first: `1,3 2`.
async fn by_time(lab: &Lab, column: &str) -> String {
    let ids = "string_agg(CAST(id AS text), ',' ORDER BY id)";
    let ids = lab.target.own(ids, ids, "GROUP_CONCAT(id ORDER BY id)");
    let order = lab.target.own("NULLS FIRST", "NULLS FIRST", "");
    let sql = format!("SELECT {ids} FROM t GROUP BY {column} ORDER BY {column} {order}");
    let rows = lab.rows(&sql).await;
    let groups: Vec<String> = rows
        .into_iter()
        .filter_map(|mut row| row.remove(0))
        .collect();
    groups.join(" ")
}

#[tokio::test]
async fn only_rows_that_are_written_get_a_new_time() {
    let ways = [
        ("capture: xmin", ""),
        ("capture: full", "mode: replace, "),
        ("capture: full", ""),
    ];
    for (case, (capture, mode)) in ways.into_iter().enumerate() {
        for target in targets_in_turn(case).await {
            let lab = Lab::with_rows(target, 5).await;
            let settings = format!(
                "{capture}, where: \"grp = 1\", write: {{ {mode}on_delete: soft, synced_at: _synced_at }}"
            );
            lab.pipeline(NO_GUARD, &settings);
            assert_eq!(lab.counts(&[]).await, (5, 0));
            assert_eq!(by_time(&lab, "_synced_at").await, "1,2,3,4,5", "{settings}");

            let quiet = lab.image().await;
            assert_eq!(lab.counts(&["--full-refresh"]).await, (0, 0));
            assert_eq!(lab.image().await, quiet, "{settings}");

            lab.change("UPDATE t SET v = 'b' WHERE id = 2; INSERT INTO t VALUES (6, 1, 'a')")
                .await;
            assert_eq!(lab.counts(&[]).await, (2, 0));
            assert_eq!(
                by_time(&lab, "_synced_at").await,
                "1,3,4,5 2,6",
                "{settings}"
            );

            // Who reads only what is newer has to learn of rows that are gone, and came back.
            lab.change("UPDATE t SET grp = 2 WHERE id = 3").await;
            assert_eq!(lab.counts(&[]).await, (0, 1));
            assert_eq!(
                by_time(&lab, "_synced_at").await,
                "1,4,5 2,6 3",
                "{settings}"
            );
            assert_eq!(lab.ids("_synced_at = _deleted_at").await, "3");
            lab.change("UPDATE t SET grp = 1 WHERE id = 3").await;
            assert_eq!(lab.counts(&[]).await, (1, 0));
            assert_eq!(
                by_time(&lab, "_synced_at").await,
                "1,4,5 2,6 3",
                "{settings}"
            );
            assert_eq!(lab.ids("_deleted_at IS NOT NULL").await, "");
        }
    }
}

#[tokio::test]
async fn time_is_that_of_the_run() {
    for target in every_target().await {
        let lab = Lab::with_rows(target, 300).await;
        lab.pipeline("", "capture: xmin, write: { synced_at: loaded }");
        let now = lab.target.own(
            "SELECT clock_timestamp()",
            "SELECT strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now', '-1 second')",
            "SELECT UTC_TIMESTAMP(6)",
        );

        let before = lab.value(now).await;
        lab.counts(&[]).await;
        let later = now.replace("-1", "+1");
        let after = lab.value(&later).await;

        let between = format!("loaded BETWEEN '{before}' AND '{after}'");
        let count = format!("SELECT count(*) FROM t WHERE {between}");
        assert_eq!(lab.value(&count).await, "300", "{between}");
    }
}

#[tokio::test]
async fn rows_without_a_key_say_when_they_came() {
    for target in every_target().await {
        let lab = Lab::new(
            target,
            "CREATE TABLE t (id int, grp int, v text);
             INSERT INTO t VALUES (1, 1, 'a'), (1, 1, 'a'), (2, 1, 'a')",
        )
        .await;
        lab.pipeline(NO_GUARD, "capture: full, write: { synced_at: _synced_at }");
        assert_eq!(lab.counts(&[]).await, (3, 0));
        assert_eq!(lab.counts(&[]).await, (0, 0));

        lab.change("INSERT INTO t VALUES (1, 1, 'a'), (3, 1, NULL); DELETE FROM t WHERE id = 2")
            .await;
        assert_eq!(lab.counts(&[]).await, (2, 1));

        assert_eq!(by_time(&lab, "_synced_at").await, "1,1 1,3");

        // Rows that stay keep their times, whichever of the equal ones go.
        lab.change("INSERT INTO t VALUES (3, 1, NULL), (3, 1, NULL); DELETE FROM t WHERE id = 1")
            .await;
        assert_eq!(lab.counts(&[]).await, (2, 3));
        assert_eq!(by_time(&lab, "_synced_at").await, "3 3,3");
        let times = "SELECT _synced_at FROM t ORDER BY 1";
        let before = lab.rows(times).await;
        lab.change("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)")
            .await;
        assert_eq!(lab.counts(&[]).await, (0, 1));
        let after = lab.rows(times).await;
        assert!(after.iter().all(|time| before.contains(time)), "{after:?}");
    }
}

#[tokio::test]
async fn appended_rows_say_when_they_came() {
    for target in every_target().await {
        let lab = Lab::with_rows(target, 10).await;
        lab.pipeline(
            "",
            "capture: { mode: cursor, column: id, overlap: 1 }, \
             write: { mode: append, synced_at: _synced_at }",
        );
        // The newest rows wait for those that may still come before them.
        let (first, _) = lab.counts(&[]).await;
        lab.change("INSERT INTO t SELECT i, 1, 'a' FROM generate_series(11, 20) i")
            .await;
        let (second, _) = lab.counts(&[]).await;

        let ids = |from: u64, to: u64| {
            let ids: Vec<String> = (from..=to).map(|id| id.to_string()).collect();
            ids.join(",")
        };
        assert!(first > 0 && second > 0, "{first} {second}");
        let expected = format!("{} {}", ids(1, first), ids(first + 1, first + second));
        assert_eq!(by_time(&lab, "_synced_at").await, expected);
    }
}

#[tokio::test]
async fn times_are_written_beside_rows_that_are_refused() {
    for target in every_target().await {
        target
            .place()
            .execute(target.own(
                "CREATE TABLE t (id int PRIMARY KEY, grp int, v text CHECK (v <> 'bad'), at timestamptz NOT NULL)",
                "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, grp INTEGER, v TEXT CHECK (v <> 'bad'), at TIMESTAMPTZ)",
                "CREATE TABLE t (id int PRIMARY KEY, grp int, v longtext CHECK (v <> 'bad'), at timestamp(6) NOT NULL)",
            ))
            .await;
        let lab = Lab::new(
            target,
            &format!("{TABLE}; INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'bad'), (3, 1, 'a')"),
        )
        .await;
        lab.pipeline(
            "rejects: { max_rows: 5 }\n",
            "capture: xmin, write: { synced_at: at }",
        );

        assert_eq!(lab.counts(&[]).await, (2, 0));
        lab.change("UPDATE t SET v = 'b' WHERE id > 1").await;
        assert_eq!(lab.counts(&[]).await, (2, 0));

        assert_eq!(lab.ids("at IS NULL").await, "");
        assert_eq!(by_time(&lab, "at").await.split(' ').next(), Some("1"));
    }
}
