//! The rules of windows besides their bound: what is skipped, where they are cut, and when a
//! watermark proves nothing any more.

use crate::capture_lab::{CaptureLab, TABLE, both, by_time, cursor, open};
use futures::TryStreamExt;
use kit::postgres::{rows_of, send};
use serde_json::json;
use syncset_connector::{
    Capture, CursorSpec, Digest, ErrorClass, Filter, KeyRange, NullCursor, PositionOrder,
    SnapshotRequest, SnapshotToken,
};

const PARTITIONED: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text,
    updated_at timestamptz NOT NULL DEFAULT now()) PARTITION BY RANGE (id);
    CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (1000);
    INSERT INTO t SELECT g, 'old' FROM generate_series(1, 100) g";

#[tokio::test]
async fn xmin_reads_changes_that_no_column_shows() {
    let mut lab = CaptureLab::new(TABLE, Capture::Xmin).await.loaded().await;

    lab.database
        .execute("UPDATE t SET v = 'new' WHERE id = 7")
        .await;
    let changed = lab.run().await;

    assert_eq!(changed.upserts, [7]);
    assert!(lab.run().await.unchanged);
    assert!(lab.differences().await.is_empty());
}

#[tokio::test]
async fn open_writer_elsewhere_makes_no_run_read_rows_twice() {
    for capture in both() {
        let mut lab = CaptureLab::new(TABLE, capture).await.loaded().await;
        let mut elsewhere = lab.database.connect().await;
        send(
            &mut elsewhere,
            "CREATE TABLE other (); BEGIN; INSERT INTO other DEFAULT VALUES",
        )
        .await;
        lab.database
            .execute("UPDATE t SET v = 'new', updated_at = now() WHERE id = 7")
            .await;

        let first = lab.run().await;
        let second = lab.run().await;
        let third = lab.run().await;

        assert_eq!(first.upserts, [7]);
        assert!(second.unchanged && third.unchanged);
    }
}

#[tokio::test]
async fn cut_window_keeps_the_bound_it_began_with() {
    for capture in both() {
        let mut lab = CaptureLab::new(TABLE, capture).await.loaded().await;
        lab.set_batch_bytes(1);
        (lab.unit_bytes, lab.units_max) = (1, 1);
        lab.database
            .execute("UPDATE t SET v = repeat('x', 9000), updated_at = now() WHERE id <= 50")
            .await;

        let first = lab.run().await;
        let cut = lab.position.clone().expect("it is stored");
        assert!(
            !first.upserts.is_empty() && first.upserts.len() < 50,
            "{}",
            first.upserts.len()
        );
        // A row before the cut changes while the rest of the window is still to be read.
        let done = first.upserts[0];
        lab.database
            .execute(&format!(
                "UPDATE t SET v = 'again', updated_at = now() WHERE id = {done}"
            ))
            .await;
        lab.units_max = usize::MAX;
        lab.run().await;
        let finished = lab.position.clone().expect("it is stored");
        lab.run().await;

        assert_eq!(
            cut.0["pending"]["bound"]["cursor"],
            finished.0["bound"]["cursor"]
        );
        assert_eq!(
            cut.0["pending"]["bound"]["snapshot_xmin"],
            finished.0["bound"]["snapshot_xmin"]
        );
        assert_eq!(lab.source().compare(&cut, &finished), PositionOrder::Before);
        assert!(lab.differences().await.is_empty());
    }
}

#[tokio::test]
async fn rows_with_one_stamp_are_cut_between_their_keys() {
    let mut lab = CaptureLab::new(TABLE, by_time()).await.loaded().await;
    lab.set_batch_bytes(1);
    lab.unit_bytes = 1;
    lab.database
        .execute("UPDATE t SET v = repeat('x', 9000), updated_at = now()")
        .await;
    lab.units_max = 2;

    let mut keys = lab.run().await.upserts;
    while lab
        .position
        .as_ref()
        .is_some_and(|position| position.0.get("pending").is_some())
    {
        keys.extend(lab.run().await.upserts);
    }

    keys.sort_unstable();
    assert_eq!(keys, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_without_a_cursor_are_cut_too() {
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, v text, updated_at timestamptz)";
    let spec = CursorSpec {
        null_cursor: NullCursor::Read,
        ..cursor("updated_at")
    };
    let mut lab = CaptureLab::new(table, Capture::Cursor(spec))
        .await
        .loaded()
        .await;
    lab.set_batch_bytes(1);
    (lab.unit_bytes, lab.units_max) = (1, 1);
    lab.database
        .execute(
            "INSERT INTO t SELECT g, repeat('x', 9000), CASE WHEN g % 3 = 0 THEN now() END
               FROM generate_series(1, 60) g",
        )
        .await;

    for _ in 0..100 {
        if lab.run().await.unchanged {
            break;
        }
    }

    assert!(lab.differences().await.is_empty());
}

#[tokio::test]
async fn attached_partition_is_read_whole() {
    for capture in both() {
        let mut lab = CaptureLab::new(PARTITIONED, capture).await;
        lab.database
            .execute(
                "CREATE TABLE t2 (LIKE t INCLUDING ALL);
                 INSERT INTO t2 SELECT g, 'attached', '2020-01-01' FROM generate_series(1000, 1009) g",
            )
            .await;
        let mut lab = {
            lab.load().await.expect("it loads");
            lab.run().await;
            lab
        };

        lab.database
            .execute("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (1000) TO (2000)")
            .await;
        lab.run().await;

        assert!(lab.differences().await.is_empty());
        assert!(lab.run().await.unchanged);
    }
}

#[tokio::test]
async fn rewritten_table_is_reloaded() {
    for change in [
        "ALTER TABLE t ALTER COLUMN v TYPE text USING v || '!'; VACUUM FULL t",
        "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text DEFAULT 'other'",
        "TRUNCATE t",
        "DROP TABLE t; CREATE TABLE t (id bigint PRIMARY KEY, v text,
           updated_at timestamptz NOT NULL DEFAULT now())",
    ] {
        for capture in both() {
            let mut lab = CaptureLab::new(TABLE, capture).await.loaded().await;
            for statement in change.split(';') {
                lab.database.execute(statement).await;
            }
            lab.describe().await;

            assert!(lab.run().await.reload.is_some(), "{change}");
        }
    }
}

#[tokio::test]
async fn column_that_was_replaced_after_the_description_stops_the_unit() {
    let mut lab = CaptureLab::new(TABLE, by_time()).await.loaded().await;
    lab.database
        .execute("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text")
        .await;

    assert_eq!(lab.run_error().await.class, ErrorClass::SourceChanged);
}

#[tokio::test]
async fn table_truncated_after_the_snapshot_stops_the_unit() {
    let lab = CaptureLab::new(TABLE, by_time()).await;
    let mut exporter = lab.database.connect().await;
    send(&mut exporter, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    let rows = rows_of(&mut exporter, "SELECT pg_export_snapshot()").await;
    let token = SnapshotToken(rows[0][0].clone().expect("a token"));
    lab.database.execute("TRUNCATE t").await;

    let request = SnapshotRequest {
        read: lab.read(),
        from: None,
    };
    let outcome = lab.source().open_snapshot(&[request], Some(&token)).await;

    assert_eq!(
        outcome.err().map(|error| error.class),
        Some(ErrorClass::SourceChanged)
    );
}

#[tokio::test]
async fn watermark_of_another_server_is_refused_and_of_another_history_reloads() {
    let mut lab = CaptureLab::new(TABLE, by_time()).await.loaded().await;
    let position = lab.position.clone();

    lab.tamper("/identity/system", json!("1"));
    assert_eq!(lab.run_error().await.class, ErrorClass::SourceReplaced);

    for (pointer, value) in [
        ("/identity/timeline", json!("00000099")),
        ("/identity/database", json!(1)),
        ("/identity/table", json!(1)),
        ("/selection", json!("other")),
    ] {
        lab.position = position.clone();
        lab.tamper(pointer, value);
        assert!(lab.run().await.reload.is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn rights_on_selected_columns_are_enough_for_a_cursor() {
    let lab = CaptureLab::new(TABLE, by_time()).await;
    let role = lab.database.role("low", &["pg_read_all_stats"]).await;
    let grant = format!("GRANT SELECT (id, v, updated_at) ON t TO \"{}\"", role.name);
    lab.database.execute(&grant).await;
    let mut low = CaptureLab::follow(lab.database, &role.url, by_time(), Filter::All)
        .await
        .loaded()
        .await;

    low.database
        .execute("UPDATE t SET v = 'new', updated_at = now() WHERE id = 7")
        .await;
    let changed = low.run().await;
    let plan = low.prepare().await;

    assert!(changed.upserts.contains(&7));
    assert!(low.differences().await.is_empty());
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("GRANT SELECT (xmin, tableoid)"))
    );
}

#[tokio::test]
async fn missing_rights_name_the_grant() {
    let lab = CaptureLab::new(TABLE, by_time()).await;
    let role = lab.database.role("low", &["pg_read_all_stats"]).await;
    lab.database
        .execute(&format!("GRANT SELECT (id) ON t TO \"{}\"", role.name))
        .await;
    let low = CaptureLab::follow(lab.database, &role.url, by_time(), Filter::All).await;

    let plan = low.prepare().await;

    let hint = plan.problems[0].hint.as_deref().unwrap_or("");
    assert!(
        hint.starts_with("GRANT SELECT (\"v\", \"updated_at\") ON \"public\".\"t\""),
        "{hint}"
    );
}

#[tokio::test]
async fn policies_that_hide_rows_are_a_problem() {
    let lab = CaptureLab::new(TABLE, by_time()).await;
    let role = lab.database.role("low", &["pg_read_all_stats"]).await;
    lab.database
        .execute(&format!(
            "GRANT SELECT ON t TO \"{}\"; ALTER TABLE t ENABLE ROW LEVEL SECURITY;
             CREATE POLICY p ON t USING (id < 10)",
            role.name
        ))
        .await;
    let low = CaptureLab::follow(lab.database, &role.url, by_time(), Filter::All).await;

    let plan = low.prepare().await;

    assert_eq!(plan.problems[0].class, ErrorClass::Privilege);
    assert!(plan.problems[0].message.contains("policies"));
}

#[tokio::test]
async fn chunks_hold_every_row_once() {
    for key in ["id bigint", "id uuid", "id text", "id numeric"] {
        let value = if key.contains("uuid") {
            "gen_random_uuid()"
        } else {
            "g"
        };
        let lab = CaptureLab::new(
            &format!(
                "CREATE TABLE t ({key} PRIMARY KEY, v text);
                 INSERT INTO t SELECT {value}, repeat('x', 100) FROM generate_series(1, 20000) g"
            ),
            Capture::Full,
        )
        .await;
        let boundaries = lab
            .source()
            .boundaries(&lab.read(), 400_000)
            .await
            .expect("it is cut");
        assert!(boundaries.len() > 3, "{key}: {}", boundaries.len());
        let mut counts = Vec::new();
        for range in KeyRange::between(&boundaries) {
            let request = SnapshotRequest {
                read: lab.read(),
                from: None,
            };
            let mut snapshot = lab
                .source()
                .open_snapshot(&[request], None)
                .await
                .expect("it opens");
            let rows = snapshot.read_chunk(0, &range).await.expect("it is read");
            let rows: Vec<_> = rows.try_collect().await.expect("it is read");
            counts.push(rows.iter().map(|batch| batch.num_rows()).sum::<usize>());
        }

        assert_eq!(counts.iter().sum::<usize>(), 20_000, "{key}");
        assert!(
            counts.iter().all(|count| *count < 10_000),
            "{key}: {counts:?}"
        );
    }
}

#[tokio::test]
async fn shared_snapshot_shows_one_state_to_all() {
    let lab = CaptureLab::new(TABLE, Capture::Full).await;
    let second = open(&lab.database.url()).await;
    let request = || {
        [SnapshotRequest {
            read: lab.read(),
            from: None,
        }]
    };
    let mut exporter = lab
        .source()
        .open_snapshot(&request(), None)
        .await
        .expect("it opens");
    let token = exporter
        .share()
        .await
        .expect("it can be shared")
        .expect("there is a token");
    lab.database.execute("DELETE FROM t WHERE id > 50").await;

    let source = second.source().expect("it can be read");
    let mut importer = source
        .open_snapshot(&request(), Some(&token))
        .await
        .expect("it opens");
    let shared = importer
        .key_digest(0, Digest::Hash)
        .await
        .expect("it counts");
    exporter.close().await;
    let after = source.open_snapshot(&request(), Some(&token)).await;

    assert_eq!(shared.row_count, 100);
    assert_eq!(
        after.err().map(|error| error.class),
        Some(ErrorClass::SnapshotLost)
    );
}

#[tokio::test]
async fn rows_are_read_again_by_their_keys() {
    let lab = CaptureLab::new(TABLE, by_time()).await;
    let request = [SnapshotRequest {
        read: lab.read(),
        from: None,
    }];
    let mut snapshot = lab
        .source()
        .open_snapshot(&request, None)
        .await
        .expect("it opens");
    let all: Vec<_> = snapshot
        .read_keys(0)
        .await
        .expect("keys")
        .try_collect()
        .await
        .expect("keys");
    let some = all[0].slice(10, 5);

    let rows: Vec<_> = snapshot
        .read_rows(0, &some)
        .await
        .expect("rows")
        .try_collect()
        .await
        .expect("rows");

    assert_eq!(all.iter().map(|batch| batch.num_rows()).sum::<usize>(), 100);
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 5);
    assert_eq!(rows[0].num_columns(), 2);
}

#[tokio::test]
async fn digests_differ_by_one_key() {
    let lab = CaptureLab::new(TABLE, Capture::Full).await;
    let request = || {
        [SnapshotRequest {
            read: lab.read(),
            from: None,
        }]
    };
    let mut before = lab
        .source()
        .open_snapshot(&request(), None)
        .await
        .expect("it opens");
    lab.database
        .execute("UPDATE t SET id = 1000 WHERE id = 1")
        .await;
    let mut after = lab
        .source()
        .open_snapshot(&request(), None)
        .await
        .expect("it opens");

    let before = before.key_digest(0, Digest::Hash).await.expect("it counts");
    let after = after.key_digest(0, Digest::Hash).await.expect("it counts");

    assert_eq!(before.row_count, after.row_count);
    assert_ne!(before.hash, after.hash);
}

#[tokio::test]
async fn view_over_a_rewritten_table_is_reloaded() {
    let ddl = TABLE.replace(" t ", " base ").replace("ON t ", "ON base ");
    let spec = CursorSpec {
        null_cursor: NullCursor::Ignore,
        ..cursor("updated_at")
    };
    let ddl = format!("{ddl}; CREATE VIEW t AS SELECT id, v, updated_at FROM base WHERE id < 90");
    let mut lab = CaptureLab::new(&ddl, Capture::Cursor(spec))
        .await
        .loaded()
        .await;

    lab.database
        .execute("UPDATE base SET v = 'new', updated_at = now() WHERE id = 7")
        .await;
    let changed = lab.run().await;
    lab.database.execute("TRUNCATE base").await;

    assert!(changed.upserts.contains(&7), "{changed:?}");
    assert!(lab.run().await.reload.is_some());
}

#[tokio::test]
async fn bound_is_read_in_a_transaction_before_the_snapshot() {
    let server = kit::PostgresServer::start_own("");
    let database = server.database("log").await;
    database.execute(TABLE).await;
    database.log_statements().await;
    let url = database.url();
    let lab = CaptureLab::follow(database, &url, by_time(), Filter::All).await;
    let mut lab = lab.loaded().await;
    let before = server.statements_seen(&lab.database).len();

    lab.run().await;

    let seen = server.statements_seen(&lab.database);
    let text = seen.get(before..).unwrap_or_default().join("\n");
    // What a session asks when it connects names the clock and the sessions too.
    let (_, text) = text
        .split_once("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
        .expect("the bound has a transaction of its own");
    let clock = text.find("clock_timestamp()").expect("the clock is read");
    let sessions = text
        .find("pg_stat_activity")
        .expect("the sessions are read");
    let prepared = text
        .find("pg_prepared_xacts")
        .expect("the prepared ones are read");
    let end = text.find("COMMIT\n").expect("the transaction ends");
    let snapshot = text.find("REPEATABLE READ").expect("a snapshot is taken");
    assert!(
        clock < sessions && sessions < prepared && prepared < end && end < snapshot,
        "{text}"
    );
}

#[tokio::test]
async fn any_number_of_tables_is_opened_in_as_many_round_trips_as_one() {
    let server = kit::PostgresServer::start_own("");
    let database = server.database("trips").await;
    database.execute(TABLE).await;
    database.log_statements().await;
    let url = database.url();
    let lab = CaptureLab::follow(database, &url, by_time(), Filter::All)
        .await
        .loaded()
        .await;
    let mut trips = Vec::new();
    for count in [1, 40] {
        let reads = vec![lab.read(); count];
        let requests: Vec<_> = reads
            .iter()
            .map(|read| SnapshotRequest {
                read: read.clone(),
                from: lab.position.clone(),
            })
            .collect();
        let before = server.statement_log(&lab.database).len();
        lab.source()
            .low_positions(&reads)
            .await
            .expect("they can be asked");
        lab.source()
            .prepare(&reads)
            .await
            .expect("they can be asked");
        let snapshot = lab
            .source()
            .open_snapshot(&requests, None)
            .await
            .expect("it opens");
        assert_eq!(snapshot.windows().len(), count);
        trips.push(server.statement_log(&lab.database).len() - before);
    }

    assert_eq!(trips[0], trips[1]);
}
