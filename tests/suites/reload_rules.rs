//! When a watermark proves less than it did, or nothing: edited settings, numbers that begin anew,
//! servers that went back, tables that changed under a plan.

use crate::capture_lab::{CaptureLab, TABLE, both, by_time, cursor, open, seconds};
use kit::PostgresServer;
use kit::postgres::{rows_of, send};
use serde_json::json;
use syncset_connector::{
    Capture, CursorSpec, Digest, ErrorClass, Filter, NullCursor, Overlap, SnapshotRequest,
};

const NUMBERED: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text, n int8 NOT NULL);
    INSERT INTO t SELECT g, 'old', 100000 + g FROM generate_series(1, 100) g";

const PARTITIONED: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text,
    updated_at timestamptz NOT NULL DEFAULT now()) PARTITION BY RANGE (id);
    CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (1000);
    CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (1000) TO (2000);
    INSERT INTO t SELECT g, 'old' FROM generate_series(1, 100) g";

fn by_number() -> Capture {
    Capture::Cursor(CursorSpec {
        written_by: None,
        overlap: Some(Overlap::Units(50)),
        ..cursor("n")
    })
}

fn narrow() -> CursorSpec {
    CursorSpec {
        overlap: seconds(60),
        ..cursor("updated_at")
    }
}

#[tokio::test]
async fn wider_overlap_reads_what_the_narrow_one_left_out() {
    let narrow = narrow();
    let mut lab = CaptureLab::new(TABLE, Capture::Cursor(narrow.clone()))
        .await
        .loaded()
        .await;
    lab.database
        .execute("INSERT INTO t VALUES (200, 'late', now() - interval '10 min')")
        .await;
    assert!(lab.run().await.unchanged);

    lab.set_capture(Capture::Cursor(CursorSpec {
        overlap: seconds(3600),
        ..narrow
    }));
    lab.run().await;

    assert!(lab.differences().await.is_empty());
    assert!(lab.run().await.unchanged);
}

#[tokio::test]
async fn rows_without_a_cursor_come_once_they_are_asked_for() {
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, v text, updated_at timestamptz);
        INSERT INTO t VALUES (1, 'stamped', now()), (2, 'not', NULL)";
    let spec = |null_cursor| {
        Capture::Cursor(CursorSpec {
            null_cursor,
            ..cursor("updated_at")
        })
    };
    let mut lab = CaptureLab::new(table, spec(NullCursor::Ignore))
        .await
        .loaded()
        .await;
    assert!(lab.run().await.unchanged);

    lab.set_capture(spec(NullCursor::Read));
    lab.run().await;

    assert!(lab.differences().await.is_empty());
    assert!(lab.run().await.unchanged);
}

#[tokio::test]
async fn window_that_was_cut_keeps_the_settings_it_began_with() {
    let narrow = narrow();
    let mut lab = CaptureLab::new(TABLE, Capture::Cursor(narrow.clone()))
        .await
        .loaded()
        .await;
    lab.set_batch_bytes(1);
    (lab.unit_bytes, lab.units_max) = (1, 1);
    lab.database
        .execute(
            "INSERT INTO t VALUES (200, 'late', now() - interval '10 min');
             UPDATE t SET v = repeat('x', 9000), updated_at = now() WHERE id <= 50",
        )
        .await;
    lab.run().await;

    lab.units_max = usize::MAX;
    lab.set_capture(Capture::Cursor(CursorSpec {
        overlap: seconds(3600),
        ..narrow
    }));
    lab.run().await;
    lab.run().await;

    assert!(lab.differences().await.is_empty());
}

#[tokio::test]
async fn another_zone_of_a_cursor_reloads() {
    let table = TABLE.replace("timestamptz", "timestamp");
    let spec = |zone: &str| {
        Capture::Cursor(CursorSpec {
            zone: Some(zone.into()),
            ..cursor("updated_at")
        })
    };
    let mut lab = CaptureLab::new(&table, spec("UTC")).await.loaded().await;

    lab.set_capture(spec("America/New_York"));

    assert!(lab.run().await.reload.is_some());
}

#[tokio::test]
async fn numbers_that_begin_anew_reload() {
    let mut lab = CaptureLab::new(NUMBERED, by_number()).await.loaded().await;
    lab.database
        .execute("DELETE FROM t WHERE n > 100040; INSERT INTO t VALUES (200, 'new', 100041)")
        .await;

    let reason = lab.run().await.reload.expect("the row is far below");

    assert!(reason.contains("`n`"), "{reason}");
}

#[tokio::test]
async fn largest_number_within_the_overlap_moves_nothing_back() {
    let mut lab = CaptureLab::new(NUMBERED, by_number()).await.loaded().await;
    lab.database
        .execute("DELETE FROM t WHERE n > 100060; INSERT INTO t VALUES (200, 'new', 100061)")
        .await;

    assert_eq!(lab.run().await.upserts, [200]);
    assert_eq!(lab.bound(), 100_100);
}

#[tokio::test]
async fn emptied_table_is_read_from_its_first_new_number() {
    let mut lab = CaptureLab::new(NUMBERED, by_number()).await.loaded().await;
    lab.database.execute("DELETE FROM t").await;
    let emptied = lab.run().await;

    lab.database
        .execute("INSERT INTO t VALUES (1, 'anew', 1), (2, 'anew', 2)")
        .await;
    let mut filled = lab.run().await;

    assert!(emptied.unchanged);
    filled.upserts.sort_unstable();
    assert_eq!(filled.upserts, [1, 2]);
    assert_eq!(lab.bound(), 2);
}

#[tokio::test]
async fn prepared_transaction_holds_the_bound_of_numbers() {
    let mut lab = CaptureLab::new(NUMBERED, by_number()).await.loaded().await;
    let gid = lab.database.name().to_owned();
    lab.database
        .execute(&format!(
            "BEGIN; INSERT INTO t VALUES (200, 'late', 100101); PREPARE TRANSACTION '{gid}'"
        ))
        .await;
    lab.database
        .execute("INSERT INTO t SELECT g, 'new', 100000 + g FROM generate_series(201, 300) g")
        .await;

    lab.run().await;
    assert_eq!(lab.bound(), 100_100);
    lab.database
        .execute(&format!("COMMIT PREPARED '{gid}'"))
        .await;
    lab.run().await;

    assert!(lab.differences().await.is_empty());
    assert_eq!(lab.bound(), 100_300);
}

#[tokio::test]
async fn bound_never_moves_back() {
    let mut lab = CaptureLab::new(TABLE, by_time()).await.loaded().await;
    let mut older = lab.database.connect().await;
    send(&mut older, "BEGIN; SELECT 1").await;
    let start = rows_of(
        &mut older,
        "SELECT (extract(epoch FROM now()) * 1000000)::bigint",
    )
    .await;
    let start: i64 = start[0][0]
        .as_deref()
        .expect("a value")
        .parse()
        .expect("a number");
    // As after a run that could not see the session.
    lab.tamper("/bound/cursor", json!(start));

    lab.run().await;

    assert_eq!(lab.bound(), start);
}

#[tokio::test]
async fn restored_server_reloads() {
    let server = PostgresServer::start_own("autovacuum = off");
    for capture in both() {
        let database = server.database("restored").await;
        database.execute(TABLE).await;
        server.save();
        let url = database.url();
        let mut lab = CaptureLab::follow(database, &url, capture, Filter::All)
            .await
            .loaded()
            .await;
        lab.database
            .execute("UPDATE t SET v = 'undone', updated_at = now() WHERE id = 7")
            .await;
        lab.run().await;

        server.restore();
        lab.reopen().await;

        assert!(lab.run().await.reload.is_some());
    }
}

#[tokio::test]
async fn transaction_number_that_a_crash_gives_out_again_hides_no_row() {
    // The abort of a transaction that wrote nothing is in no log yet when the server dies.
    let config = "autovacuum = off\nsynchronous_commit = on\nwal_writer_delay = '10s'";
    let server = PostgresServer::start_own(config);
    let mut labs = Vec::new();
    for capture in both() {
        let database = server.database("crashed").await;
        database.execute(TABLE).await;
        let url = database.url();
        let lab = CaptureLab::follow(database, &url, capture, Filter::All).await;
        labs.push(lab.loaded().await);
    }
    let given_out = "SELECT txid_current()";
    let before = labs[0].database.value(given_out).await;
    for _ in &labs {
        labs[0].database.value(given_out).await;
    }
    for lab in &mut labs {
        lab.run().await;
    }

    server.restart(kit::StopMode::Immediate);

    let after = labs[0].database.value(given_out).await;
    assert_eq!(before, after, "the number was not given out again");
    server.restart(kit::StopMode::Immediate);
    for lab in &mut labs {
        lab.reopen().await;
        lab.database
            .execute("INSERT INTO t VALUES (200, 'after the crash')")
            .await;
    }
    // By now the server is beyond all it had given out.
    for _ in 0..10 {
        labs[0].database.value(given_out).await;
    }
    for lab in &mut labs {
        let run = lab.run().await;

        assert!(run.reload.is_some() || run.upserts.contains(&200));
    }
}

#[tokio::test]
async fn wrapped_transaction_numbers_reload_xmin_and_switch_skipping_off() {
    let server = PostgresServer::start_own("autovacuum = off");
    let mut labs = Vec::new();
    for capture in both() {
        let database = server.database("wrapped").await;
        database.execute(TABLE).await;
        let url = database.url();
        let lab = CaptureLab::follow(database, &url, capture, Filter::All).await;
        labs.push(lab.loaded().await);
    }

    server.wrap_transaction_numbers(1);
    for lab in &mut labs {
        lab.reopen().await;
        lab.database
            .execute("UPDATE t SET v = 'new', updated_at = now() WHERE id = 7")
            .await;
    }
    let mut by_xmin = labs.pop().expect("there are two");
    let mut by_cursor = labs.pop().expect("there are two");

    let reason = by_xmin.run().await.reload.expect("it proves nothing");
    assert!(reason.contains("wrapped"), "{reason}");
    by_cursor.tamper("/bound/cursor", json!(0));
    assert_eq!(by_cursor.run().await.upserts.len(), 100);
    assert!(by_cursor.differences().await.is_empty());
}

#[tokio::test]
async fn type_that_changed_after_the_description_stops_the_unit() {
    for (before, after) in [
        ("timestamp", "timestamptz"),
        ("numeric(10,2)", "numeric(12,4)"),
        ("int", "text"),
        ("text", "mood"),
    ] {
        let ddl = format!(
            "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (id bigint PRIMARY KEY, v {before})"
        );
        let lab = CaptureLab::new(&ddl, Capture::Full).await;
        let request = || SnapshotRequest {
            read: lab.read(),
            from: None,
        };
        let outcome = lab.source().open_snapshot(&[request()], None).await;
        assert!(outcome.is_ok(), "{before}");
        drop(outcome);

        lab.database
            .execute(&format!(
                "ALTER TABLE t ALTER COLUMN v TYPE {after} USING v::{after}"
            ))
            .await;
        let outcome = lab.source().open_snapshot(&[request()], None).await;

        let class = outcome.err().map(|error| error.class);
        assert_eq!(class, Some(ErrorClass::SourceChanged), "{after}");
    }
}

#[tokio::test]
async fn snapshot_keeps_its_tables_from_being_rewritten() {
    let lab = CaptureLab::new(PARTITIONED, Capture::Full).await;
    let role = lab.database.role("low", &[]).await;
    lab.database
        .execute(&format!("GRANT SELECT (id, v) ON t TO \"{}\"", role.name))
        .await;
    let low = open(&role.url).await;
    for source in [lab.source(), low.source().expect("it can be read")] {
        let request = SnapshotRequest {
            read: lab.read(),
            from: None,
        };
        let snapshot = source
            .open_snapshot(&[request], None)
            .await
            .expect("it opens");

        for table in ["t", "t1", "t2"] {
            let lock = format!("BEGIN; LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE NOWAIT");
            let refused = lab.database.try_execute(&lock).await;
            assert!(refused.is_err(), "{table} could be rewritten");
        }
        snapshot.close().await;
    }
}

#[tokio::test]
async fn table_that_changes_while_it_is_waited_for_stops_the_unit() {
    for change in [
        "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text",
        "TRUNCATE t",
    ] {
        for granted in ["SELECT", "SELECT (id, v)"] {
            let lab = CaptureLab::new(TABLE, Capture::Full).await;
            let role = lab.database.role("low", &[]).await;
            lab.database
                .execute(&format!("GRANT {granted} ON t TO \"{}\"", role.name))
                .await;
            let low = open(&role.url).await;
            let mut other = lab.database.connect().await;
            send(&mut other, &format!("BEGIN; {change}")).await;

            let request = [SnapshotRequest {
                read: lab.read(),
                from: None,
            }];
            let source = low.source().expect("it can be read");
            let commit = async {
                let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
                    AND relation = 't'::regclass)";
                while lab.database.value(waits).await != "t" {}
                send(&mut other, "COMMIT").await;
            };
            let (outcome, ()) = tokio::join!(source.open_snapshot(&request, None), commit);

            // A table that is locked before the snapshot is taken is seen as it has become.
            let is_seen_empty = change.starts_with("TRUNCATE") && granted == "SELECT";
            match outcome {
                Ok(mut snapshot) => {
                    assert!(is_seen_empty, "{change} with {granted}");
                    let digest = snapshot
                        .key_digest(0, Digest::Count)
                        .await
                        .expect("it is counted");
                    assert_eq!(digest.row_count, 0);
                }
                Err(error) => {
                    assert_eq!(
                        error.class,
                        ErrorClass::SourceChanged,
                        "{change}: {granted}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn attached_partition_is_read_whole_though_its_window_is_cut() {
    for capture in both() {
        let mut lab = CaptureLab::new(PARTITIONED, capture).await.loaded().await;
        lab.set_batch_bytes(1);
        (lab.unit_bytes, lab.units_max) = (1, 1);
        lab.database
            .execute(
                "CREATE TABLE t3 (LIKE t INCLUDING ALL);
                 INSERT INTO t3 SELECT g, repeat('x', 9000), '2020-01-01'
                   FROM generate_series(2000, 2040) g",
            )
            .await;
        // Rows of a transaction that is older than the watermark: nothing but the leaf tells.
        lab.run().await;
        lab.database
            .execute("ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM (2000) TO (3000)")
            .await;

        let first = lab.run().await;
        assert!(!first.upserts.is_empty() && first.upserts.len() < 41);
        while lab
            .position
            .as_ref()
            .is_some_and(|position| position.0.get("pending").is_some())
        {
            lab.run().await;
        }

        assert!(lab.differences().await.is_empty());
    }
}

#[tokio::test]
async fn transaction_numbers_that_start_over_hide_no_change() {
    let server = PostgresServer::start_own("autovacuum = off");
    server.start_transactions_at(u32::MAX - 300).await;
    let mut labs = Vec::new();
    for capture in both() {
        let database = server.database("around").await;
        database.execute(TABLE).await;
        let url = database.url();
        let lab = CaptureLab::follow(database, &url, capture, Filter::All).await;
        labs.push(lab.loaded().await);
    }
    let mut session = labs[0].database.connect().await;
    for _ in 0..400 {
        send(&mut session, "SELECT txid_current()").await;
    }

    for lab in &mut labs {
        lab.database
            .execute("UPDATE t SET v = 'new', updated_at = now() WHERE id = 7")
            .await;
        let number = "SELECT xmin::text::bigint < 1000 FROM t WHERE id = 7";
        assert_eq!(lab.database.value(number).await, "t");

        assert_eq!(lab.run().await.upserts, [7]);
        assert!(lab.run().await.unchanged);
    }
}

#[tokio::test]
async fn more_row_versions_than_a_watermark_holds_lose_nothing() {
    // An open writer elsewhere keeps the snapshot's xmin below every transaction of the window.
    let mut lab = CaptureLab::new(
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE TABLE other ()",
        Capture::Xmin,
    )
    .await
    .loaded()
    .await;
    let mut elsewhere = lab.database.connect().await;
    send(&mut elsewhere, "BEGIN; INSERT INTO other DEFAULT VALUES").await;
    lab.database
        .execute(
            "DO $$ BEGIN FOR i IN 1..10050 LOOP
               BEGIN INSERT INTO t VALUES (i, 'own xid'); EXCEPTION WHEN division_by_zero THEN END;
             END LOOP; END $$",
        )
        .await;

    assert_eq!(lab.run().await.upserts.len(), 10_050);
    let position = lab.position.clone().expect("it is stored");
    assert!(position.0["bound"].get("seen").is_none());
    lab.database
        .execute("INSERT INTO t VALUES (20000, 'later')")
        .await;
    assert_eq!(lab.run().await.upserts.len(), 10_051);
    send(&mut elsewhere, "COMMIT").await;
    lab.run().await;

    assert!(lab.differences().await.is_empty());
}

#[tokio::test]
async fn what_a_server_does_to_row_versions_hides_no_change() {
    for (change, wanted) in [
        // The row has the number of the subtransaction.
        (
            "BEGIN; SAVEPOINT a; UPDATE t SET v = 'sub', updated_at = now() WHERE id = 1;
             RELEASE a; COMMIT",
            vec![1],
        ),
        // Locks of several sessions and freezing change no row.
        ("SELECT FROM t WHERE id < 9 FOR SHARE", vec![]),
        ("VACUUM (FREEZE) t", vec![]),
        (
            "UPDATE t SET v = 'frozen', updated_at = now() WHERE id = 2; VACUUM (FREEZE) t",
            vec![2],
        ),
        (
            "INSERT INTO t VALUES (3, 'upserted') ON CONFLICT (id) DO UPDATE
               SET v = excluded.v, updated_at = excluded.updated_at",
            vec![3],
        ),
        (
            "UPDATE t SET id = 1500, updated_at = now() WHERE id = 4",
            vec![1500],
        ),
        (
            "WITH gone AS (DELETE FROM t WHERE id = 5 RETURNING id)
               INSERT INTO t SELECT n, 'again' FROM generate_series(1600, 1601) n, gone",
            vec![1600, 1601],
        ),
        (
            "MERGE INTO t USING (VALUES (6)) s(i) ON t.id = s.i
               WHEN MATCHED THEN UPDATE SET v = 'merged', updated_at = now()",
            vec![6],
        ),
    ] {
        for capture in both() {
            let mut lab = CaptureLab::new(PARTITIONED, capture).await.loaded().await;
            let mut session = lab.database.connect().await;
            for statement in change.split_terminator(';') {
                send(&mut session, statement).await;
            }

            let mut run = lab.run().await;

            run.upserts.sort_unstable();
            assert_eq!(run.upserts, wanted, "{change}");
        }
    }
}
