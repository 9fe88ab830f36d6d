//! Runs are killed at random moments and at every fail point while writers change the source. At
//! the end, every write of the ledger is at the target exactly once.
//!
//! Each test kills a few runs; `SYNCSET_CRASH_KILLS` says how many there are over all tests of this
//! suite instead, and each test prints its share.

use crate::crash_lab::{
    CURSOR, FULL, How, KEYLESS, Lab, REPLACE, XMIN, from_postgres, mariadb, mysql, narrow, wide,
    with_deletes,
};
use crate::targets::Target;
use std::time::Instant;

/// Kills of each test at random moments, unless the environment says otherwise: the fail points
/// cover what is known to matter, and these look for what is not.
const KILLS_DEFAULT: u32 = 3;

/// Tests that share the kills of the environment.
const RANDOM_TESTS: u32 = 32;

/// Kills between two comparisons of everything.
const KILLS_COMPARED: u32 = 10;

/// Every fail point of a load. Those of one line are passed by one load, which goes on after each
/// kill; the numbers leave it enough chunks to come by the next.
const LOAD_POINTS: [&[&str]; 4] = [
    &[
        "load.low_known",
        "load.begun",
        "unit.begun",
        "chunk.batch",
        "unit.before_commit",
        "unit.committed",
    ],
    &["unit.begun:2", "unit.committed:2"],
    &["chunk.batch:3", "unit.before_commit:2"],
    &["window.batch", "settle.compared"],
];

/// Fail points of a window of changes.
const WINDOW_POINTS: [&str; 5] = [
    "unit.begun",
    "window.batch",
    "unit.before_commit",
    "unit.committed",
    "window.unit_committed",
];

/// This test's share of the kills.
fn kills_wanted() -> u32 {
    let Ok(all) = std::env::var("SYNCSET_CRASH_KILLS") else {
        return KILLS_DEFAULT;
    };
    let all: u32 = all.parse().expect("SYNCSET_CRASH_KILLS is a number");
    all.div_ceil(RANDOM_TESTS)
}

async fn first_load_killed_at_random(source: Target, target: Target) {
    let mut lab = Lab::new(source, target, CURSOR);
    let mut load = lab.create(wide()).await;
    let started = Instant::now();
    lab.run().await;
    let longest = started.elapsed();

    while lab.kills < kills_wanted() {
        lab.empty_target().await;
        let running = load.start();
        let wanted = (lab.kills + KILLS_COMPARED / 3).min(kills_wanted());
        while lab.kills < wanted {
            let before = lab.kills;
            lab.kill_within(longest).await;
            if lab.kills == before {
                break;
            }
        }
        load = lab.compare(running).await;
    }

    lab.publish("first load", load.ledger().commit_count);
}

async fn windows_killed_at_random(source: Target, target: Target, how: How) {
    let options = match how.sees_deletes() {
        true => with_deletes(&source),
        false => narrow(&source),
    };
    let mut lab = Lab::new(source, target, how);
    let mut load = lab.create(options).await;
    lab.run().await;
    let started = Instant::now();
    lab.run().await;
    let longest = started.elapsed() * 2;

    while lab.kills < kills_wanted() {
        let running = load.start();
        let wanted = (lab.kills + KILLS_COMPARED).min(kills_wanted());
        while lab.kills < wanted {
            lab.kill_within(longest).await;
        }
        load = lab.compare(running).await;
    }

    lab.publish("windows", load.ledger().commit_count);
}

async fn killed_at_every_fail_point(source: Target, target: Target) {
    let mut lab = Lab::new(source, target, CURSOR);
    let mut load = lab.create(wide()).await;
    let mut missed = Vec::new();

    for points in LOAD_POINTS {
        lab.empty_target().await;
        load = lab.kill_at_each(load, points, &mut missed).await;
    }
    load = lab.kill_at_each(load, &WINDOW_POINTS, &mut missed).await;

    assert!(missed.is_empty(), "fail points never reached: {missed:?}");
    lab.publish("fail points", load.ledger().commit_count);
}

#[tokio::test]
async fn first_load_to_postgres_survives_kills() {
    first_load_killed_at_random(from_postgres().await, Target::postgres().await).await;
}

#[tokio::test]
async fn first_load_to_sqlite_survives_kills() {
    first_load_killed_at_random(from_postgres().await, Target::sqlite()).await;
}

#[tokio::test]
async fn first_load_to_mysql_survives_kills() {
    first_load_killed_at_random(from_postgres().await, mysql().await).await;
}

#[tokio::test]
async fn first_load_to_mariadb_survives_kills() {
    first_load_killed_at_random(from_postgres().await, mariadb().await).await;
}

#[tokio::test]
async fn first_load_from_mysql_survives_kills() {
    first_load_killed_at_random(mysql().await, Target::postgres().await).await;
}

#[tokio::test]
async fn first_load_from_mariadb_survives_kills() {
    first_load_killed_at_random(mariadb().await, Target::sqlite()).await;
}

#[tokio::test]
async fn first_load_from_mysql_to_mariadb_survives_kills() {
    first_load_killed_at_random(mysql().await, mariadb().await).await;
}

#[tokio::test]
async fn first_load_from_mariadb_to_mysql_survives_kills() {
    first_load_killed_at_random(mariadb().await, mysql().await).await;
}

#[tokio::test]
async fn cursor_windows_to_postgres_survive_kills() {
    windows_killed_at_random(from_postgres().await, Target::postgres().await, CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_to_sqlite_survive_kills() {
    windows_killed_at_random(from_postgres().await, Target::sqlite(), CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_to_mysql_survive_kills() {
    windows_killed_at_random(from_postgres().await, mysql().await, CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_to_mariadb_survive_kills() {
    windows_killed_at_random(from_postgres().await, mariadb().await, CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_from_mysql_to_postgres_survive_kills() {
    windows_killed_at_random(mysql().await, Target::postgres().await, CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_from_mysql_to_sqlite_survive_kills() {
    windows_killed_at_random(mysql().await, Target::sqlite(), CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_from_mariadb_to_postgres_survive_kills() {
    windows_killed_at_random(mariadb().await, Target::postgres().await, CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_from_mariadb_to_sqlite_survive_kills() {
    windows_killed_at_random(mariadb().await, Target::sqlite(), CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_from_mysql_to_mariadb_survive_kills() {
    windows_killed_at_random(mysql().await, mariadb().await, CURSOR).await;
}

#[tokio::test]
async fn cursor_windows_from_mariadb_to_mysql_survive_kills() {
    windows_killed_at_random(mariadb().await, mysql().await, CURSOR).await;
}

#[tokio::test]
async fn xmin_windows_to_postgres_survive_kills() {
    windows_killed_at_random(from_postgres().await, Target::postgres().await, XMIN).await;
}

#[tokio::test]
async fn xmin_windows_to_sqlite_survive_kills() {
    windows_killed_at_random(from_postgres().await, Target::sqlite(), XMIN).await;
}

#[tokio::test]
async fn full_reads_with_deletes_survive_kills() {
    windows_killed_at_random(from_postgres().await, Target::postgres().await, FULL).await;
}

#[tokio::test]
async fn full_reads_with_deletes_to_sqlite_survive_kills() {
    windows_killed_at_random(from_postgres().await, Target::sqlite(), FULL).await;
}

#[tokio::test]
async fn full_reads_with_deletes_to_mysql_survive_kills() {
    windows_killed_at_random(from_postgres().await, mysql().await, FULL).await;
}

#[tokio::test]
async fn full_reads_with_deletes_to_mariadb_survive_kills() {
    windows_killed_at_random(from_postgres().await, mariadb().await, FULL).await;
}

#[tokio::test]
async fn full_reads_with_deletes_from_mysql_survive_kills() {
    windows_killed_at_random(mysql().await, Target::sqlite(), FULL).await;
}

#[tokio::test]
async fn full_reads_with_deletes_from_mariadb_survive_kills() {
    windows_killed_at_random(mariadb().await, Target::postgres().await, FULL).await;
}

#[tokio::test]
async fn full_reads_with_deletes_from_mysql_to_mariadb_survive_kills() {
    windows_killed_at_random(mysql().await, mariadb().await, FULL).await;
}

#[tokio::test]
async fn full_reads_with_deletes_from_mariadb_to_mysql_survive_kills() {
    windows_killed_at_random(mariadb().await, mysql().await, FULL).await;
}

#[tokio::test]
async fn replacing_in_mysql_survives_kills() {
    windows_killed_at_random(from_postgres().await, mysql().await, REPLACE).await;
}

#[tokio::test]
async fn replacing_in_mariadb_survives_kills() {
    windows_killed_at_random(from_postgres().await, mariadb().await, REPLACE).await;
}

#[tokio::test]
async fn replacing_without_a_key_from_mysql_to_mariadb_survives_kills() {
    windows_killed_at_random(mysql().await, mariadb().await, KEYLESS).await;
}

#[tokio::test]
async fn replacing_without_a_key_from_mariadb_to_mysql_survives_kills() {
    windows_killed_at_random(mariadb().await, mysql().await, KEYLESS).await;
}

#[tokio::test]
async fn every_fail_point_to_postgres_is_survived() {
    killed_at_every_fail_point(from_postgres().await, Target::postgres().await).await;
}

#[tokio::test]
async fn every_fail_point_to_sqlite_is_survived() {
    killed_at_every_fail_point(from_postgres().await, Target::sqlite()).await;
}

#[tokio::test]
async fn every_fail_point_to_mysql_is_survived() {
    killed_at_every_fail_point(from_postgres().await, mysql().await).await;
}

#[tokio::test]
async fn every_fail_point_to_mariadb_is_survived() {
    killed_at_every_fail_point(from_postgres().await, mariadb().await).await;
}

#[tokio::test]
async fn every_fail_point_from_mysql_is_survived() {
    killed_at_every_fail_point(mysql().await, Target::postgres().await).await;
}

#[tokio::test]
async fn every_fail_point_from_mariadb_is_survived() {
    killed_at_every_fail_point(mariadb().await, Target::sqlite()).await;
}
