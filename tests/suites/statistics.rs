//! A table that was loaded for the first time has statistics; nothing else renews them.

use crate::marks_lab::{Lab, TABLE, mysql_targets, targets};
use crate::targets::Target;

/// Rows that the target believes the table to have; -1 or nothing: it was never looked at.
async fn known_rows(lab: &Lab) -> String {
    match &lab.target {
        Target::Postgres(database) => {
            let sql = "SELECT reltuples::bigint FROM pg_class WHERE oid = 't'::regclass";
            database.value(sql).await
        }
        Target::Sqlite(file, _) => {
            file.value("SELECT stat FROM sqlite_stat1 WHERE tbl = 't'")
                .await
        }
        Target::Mysql(database) => {
            let sql = "SELECT n_rows FROM mysql.innodb_table_stats \
                       WHERE database_name = DATABASE() AND table_name = 't'";
            database.value(sql).await
        }
    }
}

/// Keeps the server from renewing statistics by itself.
async fn without_autovacuum(target: &Target) {
    let rest = match target {
        Target::Postgres(_) => "WITH (autovacuum_enabled = off)",
        Target::Mysql(_) => "STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0",
        Target::Sqlite(..) => return,
    };
    let sql = "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, v text NOT NULL)";
    target.place().execute(&format!("{sql} {rest}")).await;
}

#[tokio::test]
async fn first_load_renews_statistics_and_windows_do_not() {
    for (capture, top) in [
        ("capture: xmin", ""),
        ("capture: full", ""),
        ("capture: full, write: { mode: replace }", ""),
        ("capture: xmin", "consistency: pipeline\n"),
    ] {
        let mut targets = Vec::from(targets().await);
        // The moment of the look is the runner's; one way of loading shows how a store looks.
        if top.is_empty() && capture == "capture: xmin" {
            targets.extend(mysql_targets().await);
        }
        for target in targets {
            without_autovacuum(&target).await;
            let lab = Lab::with_rows(target, 1000).await;
            lab.pipeline(top, capture);

            assert_eq!(lab.counts(&[]).await, (1000, 0));
            assert_eq!(known_rows(&lab).await, "1000", "{top}{capture}");

            lab.change("INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1001, 3000) i")
                .await;
            assert_eq!(lab.counts(&[]).await, (2000, 0));
            assert_eq!(lab.counts(&["--full-refresh"]).await, (0, 0));
            assert_eq!(known_rows(&lab).await, "1000", "{top}{capture}");
        }
    }
}

#[tokio::test]
async fn load_that_a_second_run_finishes_is_a_first_load() {
    for target in targets().await {
        without_autovacuum(&target).await;
        let lab = Lab::with_rows(target, 1000).await;
        lab.pipeline("", "capture: xmin");

        lab.killed_at("settle.compared").await;
        lab.run(&[]).await.expect_success();

        assert_eq!(known_rows(&lab).await, "1000");
    }
}

#[tokio::test]
async fn table_of_another_owner_is_left_to_its_server() {
    let target = Target::postgres().await;
    without_autovacuum(&target).await;
    let Target::Postgres(database) = &target else {
        unreachable!("a PostgreSQL target was made");
    };
    let name = database.name();
    let writer = database
        .role(
            "writer",
            &[
                "SELECT, INSERT, UPDATE, DELETE ON t",
                &format!("CREATE ON DATABASE \"{name}\""),
            ],
        )
        .await;
    let source = kit::postgres().await.database("statistics").await;
    source
        .execute(&format!(
            "{TABLE}; INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, 9) i"
        ))
        .await;
    let lab = Lab {
        project: kit::Project::between(&source.url(), &writer.url),
        source,
        target,
    };
    lab.pipeline("", "capture: xmin");

    let report = lab.run(&[]).await.expect_success().json();

    assert!(!report.to_string().contains("ANALYZE"), "{report}");
    assert_eq!(known_rows(&lab).await, "-1");
    assert_eq!(lab.value("SELECT count(*) FROM t").await, "9");
}

#[tokio::test]
async fn statistics_that_cannot_be_renewed_are_a_warning() {
    let target = Target::postgres().await;
    without_autovacuum(&target).await;
    target
        .place()
        .execute(
            "CREATE FUNCTION breaks_analyze(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
             BEGIN IF current_query() LIKE 'ANALYZE%' THEN RAISE EXCEPTION 'no statistics'; END IF;
             RETURN v; END $$;
             CREATE INDEX ON t (breaks_analyze(v))",
        )
        .await;
    let lab = Lab::with_rows(target, 9).await;
    lab.pipeline("", "capture: xmin");

    let report = lab.run(&[]).await.expect_success().json();

    let warning = report["tables"][0]["warnings"][0]
        .as_str()
        .unwrap_or_default();
    assert!(
        warning.contains("(ANALYZE)") && warning.contains("raised an error"),
        "{report}"
    );
    assert_eq!(lab.counts(&[]).await, (0, 0));
    assert_eq!(lab.value("SELECT count(*) FROM t").await, "9");
}
