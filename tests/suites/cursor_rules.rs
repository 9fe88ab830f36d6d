//! The rules of a cursor's bound, against a real server: who holds it, and where it may go.

use crate::capture_lab::{CaptureLab, TABLE, by_time, cursor, seconds};
use kit::postgres::{rows_of, send};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use syncset_connector::{Capture, CursorSpec, ErrorClass, Filter, NullCursor, Overlap, WrittenBy};

/// What the bound keeps below the oldest session.
const MARGIN: i64 = 1_000_000;

fn by(spec: CursorSpec) -> Capture {
    Capture::Cursor(spec)
}

async fn followed() -> CaptureLab {
    CaptureLab::new(TABLE, by_time()).await.loaded().await
}

async fn number(session: &mut PgConnection, sql: &str) -> i64 {
    let rows = rows_of(session, sql).await;
    rows[0][0]
        .as_deref()
        .expect("not NULL")
        .parse()
        .expect("a number")
}

/// Waits until the server's clock has passed a moment.
async fn clock_passes(lab: &CaptureLab, moment: i64) {
    let mut session = lab.database.connect().await;
    let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    while number(&mut session, clock).await <= moment {}
}

async fn own_start(session: &mut PgConnection) -> i64 {
    number(
        session,
        "SELECT (extract(epoch FROM now()) * 1000000)::bigint",
    )
    .await
}

#[tokio::test]
async fn changed_and_new_rows_are_read_once() {
    let mut lab = followed().await;

    lab.database
        .execute("UPDATE t SET v = 'new', updated_at = now() WHERE id = 7")
        .await;
    lab.database
        .execute("INSERT INTO t VALUES (101, 'new')")
        .await;
    let mut changed = lab.run().await;
    let idle = lab.run().await;

    changed.upserts.sort_unstable();
    assert_eq!(changed.upserts, [7, 101]);
    assert!(idle.unchanged);
    assert!(lab.differences().await.is_empty());
}

#[tokio::test]
async fn idle_window_right_after_a_load_reads_no_row() {
    // Of its own: an open transaction in any database of the server makes rows be read twice.
    let server = kit::PostgresServer::start_own("");
    let database = server.database("idle").await;
    database.execute(TABLE).await;
    let url = database.url();
    let mut lab = CaptureLab::follow(database, &url, by_time(), Filter::All).await;

    lab.load().await.expect("it loads");

    assert!(lab.run().await.unchanged);
}

#[tokio::test]
async fn transaction_that_only_read_so_far_holds_the_bound() {
    let mut lab = followed().await;
    let mut late = lab.database.connect().await;
    send(&mut late, "BEGIN; SELECT count(*) FROM t").await;
    let start = own_start(&mut late).await;

    lab.run().await;
    assert_eq!(lab.bound() + MARGIN, start);
    send(
        &mut late,
        "UPDATE t SET v = 'late', updated_at = now() WHERE id = 5; COMMIT",
    )
    .await;

    assert_eq!(lab.run().await.upserts, [5]);
    assert!(lab.differences().await.is_empty());
}

#[tokio::test]
async fn statement_older_than_its_transaction_holds_the_bound() {
    let mut lab = followed().await;
    lab.database
        .execute(
            "CREATE PROCEDURE commit_inside() LANGUAGE plpgsql AS $$ BEGIN
               COMMIT; PERFORM pg_advisory_lock(7);
               INSERT INTO t VALUES (200, 'late', statement_timestamp()); END $$",
        )
        .await;
    let mut keeper = lab.database.connect().await;
    send(&mut keeper, "SELECT pg_advisory_lock(7)").await;
    let mut caller = lab.database.connect().await;
    let call = tokio::spawn(async move { send(&mut caller, "CALL commit_inside()").await });
    let waiting = "SELECT coalesce(max((extract(epoch FROM query_start) * 1000000)::bigint), 0)
        FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event = 'advisory'
          AND datname = current_database()";
    let mut start = 0;
    while start == 0 {
        start = number(&mut keeper, waiting).await;
    }

    lab.run().await;
    assert_eq!(lab.bound() + MARGIN, start);
    send(&mut keeper, "SELECT pg_advisory_unlock(7)").await;
    call.await.expect("the procedure ends");

    assert_eq!(lab.run().await.upserts, [200]);
}

#[tokio::test]
async fn transactions_of_other_databases_do_not_hold_the_bound() {
    let mut lab = followed().await;
    let elsewhere = kit::postgres().await.database("elsewhere").await;
    let mut other = elsewhere.connect().await;
    send(&mut other, "BEGIN").await;
    let start = own_start(&mut other).await;
    clock_passes(&lab, start + MARGIN).await;

    lab.run().await;

    assert!(lab.bound() > start);
}

#[tokio::test]
async fn sessions_at_rest_do_not_hold_the_bound() {
    let mut lab = followed().await;
    let mut idle = lab.database.connect().await;
    let start = own_start(&mut idle).await;
    clock_passes(&lab, start + MARGIN).await;

    lab.run().await;

    assert!(lab.bound() > start);
}

#[tokio::test]
async fn name_of_our_readers_does_not_hide_another_role() {
    let mut lab = followed().await;
    let role = lab.database.role("app", &[]).await;
    let mut other = PgConnection::connect(&role.url)
        .await
        .expect("the role may log in");
    send(
        &mut other,
        "SET application_name = 'syncset:read:a/b'; BEGIN; SELECT 1",
    )
    .await;
    let start = own_start(&mut other).await;

    lab.run().await;

    assert_eq!(lab.bound() + MARGIN, start);
}

#[tokio::test]
async fn our_reading_sessions_do_not_hold_the_bound_and_writing_ones_do() {
    let mut lab = followed().await;
    let mut reader = lab.database.connect().await;
    send(
        &mut reader,
        "SET application_name = 'syncset:read:a/b'; BEGIN READ ONLY; SELECT 1",
    )
    .await;
    let reader_start = own_start(&mut reader).await;
    let mut writer = lab.database.connect().await;
    send(
        &mut writer,
        "SET application_name = 'syncset:a/b'; BEGIN; SELECT 1",
    )
    .await;
    let writer_start = own_start(&mut writer).await;

    lab.run().await;

    assert!(reader_start < writer_start);
    assert_eq!(lab.bound() + MARGIN, writer_start);
}

#[tokio::test]
async fn hidden_sessions_are_an_error_that_names_the_grant() {
    let lab = followed().await;
    let role = lab.database.role("low", &[]).await;
    lab.database
        .execute(&format!("GRANT SELECT ON t TO \"{}\"", role.name))
        .await;
    let _hidden = lab.database.connect().await;
    let CaptureLab {
        database,
        position,
        copy,
        ..
    } = lab;
    let mut low = CaptureLab::follow(database, &role.url, by_time(), Filter::All).await;
    (low.position, low.copy) = (position, copy);

    let error = low.run_error().await;
    let plan = low.prepare().await;

    assert_eq!(error.class, ErrorClass::Privilege);
    let hint = error.hint.expect("it says what to do");
    assert!(hint.contains("GRANT pg_read_all_stats TO"), "{hint}");
    assert!(
        plan.problems
            .iter()
            .any(|problem| problem.class == ErrorClass::Privilege)
    );
    assert!(low.load().await.is_err());
}

#[tokio::test]
async fn hidden_sessions_are_allowed_with_an_overlap() {
    let lab = CaptureLab::new(TABLE, by_time()).await;
    let role = lab.database.role("low", &[]).await;
    lab.database
        .execute(&format!("GRANT SELECT ON t TO \"{}\"", role.name))
        .await;
    let mut hidden = lab.database.connect().await;
    let spec = CursorSpec {
        overlap: seconds(600),
        ..cursor("updated_at")
    };
    let low = CaptureLab::follow(lab.database, &role.url, by(spec), Filter::All).await;
    let mut low = low.loaded().await;
    send(
        &mut hidden,
        "BEGIN; UPDATE t SET v = 'late', updated_at = now() WHERE id = 1",
    )
    .await;

    low.run().await;
    send(&mut hidden, "COMMIT").await;

    assert_eq!(low.run().await.upserts, [1]);
}

#[tokio::test]
async fn session_that_reports_nothing_is_an_error() {
    let mut lab = followed().await;
    let mut quiet = lab.database.connect().await;
    send(&mut quiet, "SET track_activities = off; SELECT 1").await;

    let error = lab.run_error().await;

    assert_eq!(error.class, ErrorClass::Config);
    assert!(
        error.message.contains("track_activities"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn prepared_transaction_holds_the_bound_where_it_was() {
    let mut lab = followed().await;
    let before = lab.bound();
    let gid = lab.database.name().to_owned();
    let prepare = format!(
        "BEGIN; UPDATE t SET v = 'late', updated_at = now() WHERE id = 9;
         PREPARE TRANSACTION '{gid}'"
    );
    lab.database.execute(&prepare).await;
    lab.database
        .execute("UPDATE t SET v = 'new', updated_at = now() WHERE id = 10")
        .await;

    let held = lab.run().await;
    assert_eq!(lab.bound(), before);
    lab.database
        .execute(&format!("COMMIT PREPARED '{gid}'"))
        .await;

    assert_eq!(held.upserts, [10]);
    assert!(
        held.warnings.iter().any(|warning| warning.contains(&gid)),
        "{held:?}"
    );
    assert_eq!(lab.run().await.upserts, [9]);
    assert!(lab.bound() > before);
}

#[tokio::test]
async fn first_load_waits_for_a_prepared_transaction_and_names_it() {
    let mut lab = CaptureLab::new(TABLE, by_time()).await;
    let gid = lab.database.name().to_owned();
    let prepare = format!("BEGIN; DELETE FROM t WHERE id = 1; PREPARE TRANSACTION '{gid}'");
    lab.database.execute(&prepare).await;

    let error = lab.load().await.expect_err("a transaction is prepared");
    lab.database
        .execute(&format!("ROLLBACK PREPARED '{gid}'"))
        .await;

    assert_eq!(error.class, ErrorClass::NotYet);
    assert!(error.message.contains(&gid), "{}", error.message);
    lab.load().await.expect("nothing is prepared any more");
}

#[tokio::test]
async fn server_clock_behind_the_watermark_reloads() {
    let mut lab = followed().await;
    lab.tamper("/bound/cursor", json!(lab.bound() + 86_400_000_000));

    let reason = lab.run().await.reload.expect("the clock went back");

    assert!(reason.contains("clock"), "{reason}");
}

#[tokio::test]
async fn future_dated_row_hides_no_later_change() {
    let mut lab = followed().await;
    lab.database
        .execute("INSERT INTO t VALUES (300, 'x', now() + interval '1 year')")
        .await;
    assert_eq!(lab.run().await.upserts, [300]);

    lab.database
        .execute("UPDATE t SET v = 'new', updated_at = now() WHERE id = 1")
        .await;

    assert_eq!(lab.run().await.upserts, [1]);
    assert!(lab.run().await.unchanged);
}

#[tokio::test]
async fn stamp_that_was_rounded_below_the_bound_is_read() {
    for (column, cut) in [
        ("timestamptz(0)", "second"),
        ("timestamptz(3)", "milliseconds"),
    ] {
        let table = TABLE.replace("timestamptz", column);
        let mut lab = CaptureLab::new(&table, by_time()).await.loaded().await;

        let bound = format!("to_timestamp({} / 1000000.0)", lab.bound());
        lab.database
            .execute(&format!(
                "INSERT INTO t VALUES (200, 'x', date_trunc('{cut}', {bound}))"
            ))
            .await;

        assert_eq!(lab.run().await.upserts, [200], "{column}");
    }
}

#[tokio::test]
async fn zone_less_and_date_cursors_follow_their_zone() {
    for column in ["timestamp", "date"] {
        let table = TABLE.replace(
            "timestamptz NOT NULL DEFAULT now()",
            &format!("{column} NOT NULL DEFAULT (now() AT TIME ZONE 'America/New_York')"),
        );
        let zone = Some("America/New_York".to_owned());
        let spec = CursorSpec {
            zone,
            ..cursor("updated_at")
        };
        let mut lab = CaptureLab::new(&table, by(spec)).await.loaded().await;

        lab.database
            .execute("INSERT INTO t VALUES (200, 'new')")
            .await;

        assert_eq!(lab.run().await.upserts, [200], "{column}");
        assert!(lab.run().await.unchanged, "{column}");
    }
}

#[tokio::test]
async fn zone_less_cursor_without_a_zone_is_refused() {
    let table = TABLE.replace("timestamptz", "timestamp");
    let lab = CaptureLab::new(&table, by_time()).await;

    let plan = lab.prepare().await;

    assert_eq!(plan.problems[0].class, ErrorClass::Config);
    assert!(
        plan.problems[0]
            .hint
            .as_deref()
            .unwrap_or("")
            .contains("zone:")
    );
}

#[tokio::test]
async fn who_stamps_a_time_must_be_said_and_applications_need_an_overlap() {
    let nobody = CursorSpec {
        written_by: None,
        ..cursor("updated_at")
    };
    let application = CursorSpec {
        written_by: Some(WrittenBy::Application),
        ..cursor("updated_at")
    };

    for (spec, wanted) in [(nobody, "written_by"), (application, "overlap")] {
        let lab = CaptureLab::new(TABLE, by(spec)).await;
        let plan = lab.prepare().await;
        let hint = plan.problems[0].hint.as_deref().unwrap_or("");
        assert!(hint.contains(wanted), "{hint}");
    }
}

#[tokio::test]
async fn integer_cursor_reads_its_overlap_and_stops_at_a_jump() {
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, v text, n int8 NOT NULL UNIQUE);
        INSERT INTO t SELECT g, 'old', g * 10 FROM generate_series(1, 100) g";
    let spec = CursorSpec {
        written_by: None,
        overlap: Some(Overlap::Units(50)),
        ..cursor("n")
    };
    let mut lab = CaptureLab::new(table, by(spec)).await.loaded().await;
    assert_eq!(lab.bound(), 1_000);

    lab.database
        .execute("INSERT INTO t VALUES (200, 'late', 955), (201, 'lost', 945)")
        .await;
    assert_eq!(lab.run().await.upserts, [200]);
    lab.database
        .execute("INSERT INTO t VALUES (202, 'far', 9000000000000)")
        .await;
    let error = lab.run_error().await;

    assert!(error.message.contains("jumped"), "{}", error.message);
    assert_eq!(lab.bound(), 1_000);
}

#[tokio::test]
async fn rows_without_a_cursor_follow_the_policy() {
    let table = "CREATE TABLE t (id bigint PRIMARY KEY, v text, updated_at timestamptz);
        INSERT INTO t VALUES (1, 'stamped', now()), (2, 'not', NULL)";
    let policy = |null_cursor| {
        by(CursorSpec {
            null_cursor,
            ..cursor("updated_at")
        })
    };

    let mut read = CaptureLab::new(table, policy(NullCursor::Read))
        .await
        .loaded()
        .await;
    read.database
        .execute("INSERT INTO t VALUES (3, 'not', NULL)")
        .await;
    assert_eq!(read.run().await.upserts, [3]);
    assert!(read.differences().await.is_empty());

    let mut ignore = CaptureLab::new(table, policy(NullCursor::Ignore))
        .await
        .loaded()
        .await;
    ignore
        .database
        .execute("INSERT INTO t VALUES (3, 'not', NULL)")
        .await;
    assert!(ignore.run().await.unchanged);
    assert_eq!(ignore.copy.keys().copied().collect::<Vec<_>>(), [1]);

    let refused = CaptureLab::new(table, policy(NullCursor::Error))
        .await
        .prepare()
        .await;
    assert!(refused.problems[0].message.contains("may be NULL"));
}

#[tokio::test]
async fn walsender_does_not_hold_the_bound() {
    let mut lab = followed().await;
    let name = lab.database.name().to_owned();
    lab.database
        .execute(&format!(
            "SELECT pg_create_logical_replication_slot('{name}', 'test_decoding')"
        ))
        .await;
    let mut sender = std::process::Command::new("pg_recvlogical")
        .args([
            "--slot",
            &name,
            "--start",
            "-f",
            "/dev/null",
            "--dbname",
            &lab.database.url(),
        ])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the client programs of PostgreSQL are installed");
    let mut clock = lab.database.connect().await;
    let age = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::bigint
        FROM pg_stat_activity
        WHERE backend_type = 'walsender' AND datname = current_database()";
    while number(&mut clock, age).await < 2 {}
    let start = number(
        &mut clock,
        "SELECT (extract(epoch FROM query_start) * 1000000)::bigint FROM pg_stat_activity
           WHERE backend_type = 'walsender' AND datname = current_database()",
    )
    .await;

    lab.run().await;
    let bound = lab.bound();
    sender.kill().expect("it runs");
    sender.wait().expect("it ends");
    let drop_slot = format!("SELECT pg_drop_replication_slot('{name}')");
    while lab.database.try_execute(&drop_slot).await.is_err() {}

    assert!(bound > start);
}

#[tokio::test]
async fn transaction_that_is_open_during_a_first_load_loses_nothing() {
    for capture in [by_time(), Capture::Xmin] {
        let mut lab = CaptureLab::new(TABLE, capture).await;
        let mut late = lab.database.connect().await;
        send(&mut late, "BEGIN; INSERT INTO t VALUES (200, 'late')").await;

        lab.load().await.expect("it loads");
        lab.run().await;
        send(&mut late, "COMMIT").await;
        lab.run().await;

        assert!(lab.differences().await.is_empty());
    }
}
