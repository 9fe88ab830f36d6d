//! Writers that commit late, against runs back to back.
//!
//! The rules people usually write lose rows here, which shows that the harness sees a loss.

use crate::capture_lab::{CaptureLab, cursor, seconds};
use kit::Database;
use kit::postgres::{rows_of, send};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use syncset_connector::{Capture, CursorSpec, Filter};
use tokio::task::JoinHandle;

pub(crate) const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text,
    updated_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON t (updated_at);
    CREATE SEQUENCE ids";

const WRITERS: u64 = 8;
const TRANSACTIONS_PER_WRITER: u64 = 60;

/// One transaction of a writer: it may read and wait before it writes, wait before it commits,
/// roll back, use savepoints, or be prepared and committed later.
fn transaction(random: &mut StdRng, gid: &str) -> String {
    let pause =
        |random: &mut StdRng| format!("SELECT pg_sleep({});", random.random_range(0.0..0.03));
    let write = match random.random_range(0..3) {
        0 => "INSERT INTO t SELECT nextval('ids'), 'new' FROM generate_series(1, 3);".to_owned(),
        1 => format!(
            "SAVEPOINT s; INSERT INTO t VALUES (nextval('ids'), 'undone'); ROLLBACK TO s;
             SAVEPOINT s; INSERT INTO t VALUES (nextval('ids'), 'kept {gid}'); RELEASE s;"
        ),
        _ => format!(
            "UPDATE t SET v = 'changed {gid}', updated_at = now() WHERE id IN
               (SELECT id FROM t ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED);"
        ),
    };
    let mut sql = String::from("BEGIN;");
    if random.random_bool(0.4) {
        sql.push_str("SELECT count(*) FROM t WHERE id < 10;");
        sql.push_str(&pause(random));
    }
    sql.push_str(&write);
    sql.push_str(&pause(random));
    match random.random_range(0..20) {
        0..=1 => sql.push_str("ROLLBACK;"),
        2..=3 => {
            let wait = pause(random);
            sql.push_str(&format!(
                "PREPARE TRANSACTION '{gid}'; {wait} COMMIT PREPARED '{gid}';"
            ));
        }
        _ => sql.push_str("COMMIT;"),
    }
    sql
}

/// Starts writers to the table of [`TABLE`], each of so many transactions.
pub(crate) async fn write_late(
    database: &Database,
    seed: u64,
    transaction_count: u64,
) -> Vec<JoinHandle<()>> {
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut session = database.connect().await;
        let name = database.name().to_owned();
        writers.push(tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000) + writer);
            for number in 0..transaction_count {
                let gid = format!("{name} {writer} {number}");
                for statement in transaction(&mut random, &gid).split_terminator(';') {
                    send(&mut session, statement).await;
                }
            }
        }));
    }
    writers
}

/// Runs windows back to back while writers write, then compares.
async fn nothing_is_lost(mut lab: CaptureLab, seed: u64) {
    println!("seed {seed}");
    lab.set_batch_bytes(512);
    lab.unit_bytes = 1;
    lab.units_max = 3;
    lab.load().await.expect("nothing is prepared yet");
    let writers = write_late(&lab.database, seed, TRANSACTIONS_PER_WRITER).await;

    let mut runs = 0_u32;
    while writers.iter().any(|writer| !writer.is_finished()) {
        lab.run().await;
        runs += 1;
    }
    for writer in writers {
        writer.await.expect("the writer wrote all it had to");
    }
    lab.units_max = usize::MAX;
    // The first may finish a window that was cut.
    lab.run().await;
    lab.run().await;

    assert!(runs > 3, "only {runs} runs");
    assert_ne!(lab.database.value("SELECT count(*) FROM t").await, "0");
    assert_eq!(
        lab.differences().await,
        BTreeSet::new(),
        "seed {seed}, {runs} runs"
    );
    assert!(lab.run().await.unchanged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursor_loses_no_row_that_is_committed_late() {
    let lab = CaptureLab::new(TABLE, Capture::Cursor(cursor("updated_at"))).await;
    nothing_is_lost(lab, rand::random::<u32>().into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xmin_loses_no_row_that_is_committed_late() {
    let lab = CaptureLab::new(TABLE, Capture::Xmin).await;
    nothing_is_lost(lab, rand::random::<u32>().into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlap_loses_no_row_of_sessions_that_are_hidden() {
    let spec = CursorSpec {
        overlap: seconds(600),
        ..cursor("updated_at")
    };
    let lab = CaptureLab::new(TABLE, Capture::Cursor(spec.clone())).await;
    let role = lab.database.role("low", &[]).await;
    lab.database
        .execute(&format!("GRANT SELECT ON t TO \"{}\"", role.name))
        .await;
    let capture = Capture::Cursor(spec);
    let low = CaptureLab::follow(lab.database, &role.url, capture, Filter::All).await;
    nothing_is_lost(low, rand::random::<u32>().into()).await;
}

/// A rule that people write: which rows a run reads, and where the next one starts.
struct Rule {
    /// The next watermark, asked before the rows are read.
    bound: &'static str,
    /// The rows, given the last watermark.
    rows: &'static str,
}

/// The largest stamp that was read.
const NAIVE: Rule = Rule {
    bound: "SELECT coalesce(max(updated_at), '-infinity') FROM t",
    rows: "updated_at > ",
};

/// The start of the oldest transaction that writes.
const HALF_SAFE: Rule = Rule {
    bound: "SELECT least(clock_timestamp(), min(xact_start)) FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND datname = current_database()",
    rows: "updated_at >= ",
};

/// Follows `t` by a rule: (ids read, next watermark).
async fn follow(
    session: &mut PgConnection,
    rule: &Rule,
    ids: &mut BTreeSet<String>,
    last: &str,
) -> String {
    let next = rows_of(session, rule.bound).await;
    let rows = rows_of(
        session,
        &format!("SELECT id FROM t WHERE {} '{last}'", rule.rows),
    )
    .await;
    ids.extend(
        rows.into_iter()
            .filter_map(|row| row.into_iter().next().flatten()),
    );
    next[0][0].clone().expect("a bound is never NULL")
}

/// Two transactions; the first begins first and commits last. Returns whether the rule, and
/// whether our windows, found the row of the first.
async fn found_late_row(rule: &Rule, begin: &str) -> (bool, bool) {
    let mut lab = CaptureLab::new(TABLE, Capture::Cursor(cursor("updated_at")))
        .await
        .loaded()
        .await;
    let mut reader = lab.database.connect().await;
    let mut late = lab.database.connect().await;
    let mut ids = BTreeSet::new();
    send(&mut late, begin).await;
    lab.database
        .execute("INSERT INTO t VALUES (2, 'early')")
        .await;

    let last = follow(&mut reader, rule, &mut ids, "-infinity").await;
    lab.run().await;
    send(
        &mut late,
        "INSERT INTO t VALUES (1, 'late') ON CONFLICT DO NOTHING; COMMIT",
    )
    .await;
    follow(&mut reader, rule, &mut ids, &last).await;
    lab.run().await;

    assert!(ids.contains("2"));
    (ids.contains("1"), lab.differences().await.is_empty())
}

#[tokio::test]
async fn largest_stamp_as_watermark_loses_what_our_windows_find() {
    let found = found_late_row(&NAIVE, "BEGIN; INSERT INTO t VALUES (1, 'late')").await;

    assert_eq!(found, (false, true));
}

#[tokio::test]
async fn oldest_writing_transaction_as_watermark_loses_what_our_windows_find() {
    let writes_at_once =
        found_late_row(&HALF_SAFE, "BEGIN; INSERT INTO t VALUES (1, 'late')").await;
    let reads_first = found_late_row(&HALF_SAFE, "BEGIN; SELECT count(*) FROM t").await;

    assert_eq!(writes_at_once, (true, true));
    assert_eq!(reads_first, (false, true));
}
