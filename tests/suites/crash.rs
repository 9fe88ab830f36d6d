//! Runs are killed at random moments and at every fail point while writers change the source. At
//! the end, every write of the ledger is at the target exactly once.
//!
//! Each test kills a few runs; `SYNCSET_CRASH_KILLS` says how many there are over all tests of this
//! suite instead, and each test prints its share.

use crate::targets::Target;
use kit::{Load, LoadOptions, Output, Project, RunningLoad, Weights};
use rand::Rng;
use std::time::{Duration, Instant};

/// Kills of each test at random moments, unless the environment says otherwise: the fail points
/// cover what is known to matter, and these look for what is not.
const KILLS_DEFAULT: u32 = 3;

/// Tests that share the kills of the environment.
const RANDOM_TESTS: u32 = 22;

/// Kills between two comparisons of everything.
const KILLS_COMPARED: u32 = 10;

/// A killed run's session may linger for a moment; the next run waits for it this long.
const RUN: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=30s"];

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

const CURSOR: &str = "{ mode: cursor, column: updated_at, written_by: database }";
const XMIN: &str = "xmin";
const FULL: &str = "full";

/// A source under load and a target.
struct Lab {
    /// Sources are of the same kinds as targets.
    source: Target,
    target: Target,
    project: Project,
    capture: &'static str,
    kills: u32,
}

impl Lab {
    async fn new(source: Target, target: Target, capture: &'static str) -> Self {
        let project = project(&source, &target, capture);
        Self {
            source,
            target,
            project,
            capture,
            kills: 0,
        }
    }

    /// Starts over with an empty target.
    async fn empty_target(&mut self) {
        self.target = self.target.another().await;
        self.project = project(&self.source, &self.target, self.capture);
    }

    async fn run(&self) -> Output {
        self.project.syncset(RUN).await.expect_success()
    }

    /// Kills a run after a random part of `longest`. A run that was faster does not count.
    async fn kill_within(&mut self, longest: Duration) {
        let moment = longest.mul_f64(rand::rng().random_range(0.0..1.0));
        let mut run = self.project.spawn(RUN);
        if !run.ends_within(moment).await {
            run.kill9();
        }
        self.count(run.wait().await);
    }

    /// Kills a run at a fail point, if it comes by.
    async fn kill_at(&mut self, point: &str) -> bool {
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let before = self.kills;
        let run = self.project.spawn_with(RUN, &variables);
        self.count(run.wait().await);
        self.kills > before
    }

    fn count(&mut self, output: Output) {
        const KILLED: i32 = 128 + 9;
        if output.code == KILLED {
            self.kills += 1;
        } else {
            output.expect_success();
        }
    }

    /// Stops the writers, lets one run finish, compares every row, starts the writers again.
    async fn compare(&self, running: RunningLoad) -> Load {
        let load = running.stop().await;
        self.run().await;
        load.ledger()
            .assert_at(self.source.place(), self.target.place())
            .await;
        load
    }

    /// Kills runs at one point after the other while the source changes, then compares.
    async fn kill_at_each(
        &mut self,
        load: Load,
        points: &[&'static str],
        missed: &mut Vec<&'static str>,
    ) -> Load {
        let running = load.start();
        for point in points {
            running.commits(10).await;
            if !self.kill_at(point).await {
                missed.push(point);
            }
        }
        self.compare(running).await
    }

    fn publish(&self, what: &str, commits: u64) {
        println!("{what}: {} kills, {commits} commits, 0 lost", self.kills);
    }
}

fn project(source: &Target, target: &Target, capture: &str) -> Project {
    let project = Project::between(&source.place().url(), &target.place().url());
    let schema = source.pick("public.", "");
    let pipeline = format!(
        "version: 1\nsource: source\ntarget: target\n\
         guards: {{ max_delete_percent: 99, max_delete_rows_always_allowed: 0, empty_source: allow }}\n\
         tables:\n  {schema}{}:\n    \
         columns: [id, label, amount, region, revision]\n    where: \"{}\"\n    \
         capture: {capture}\n    to: \"{}\"\n",
        Load::TABLE,
        Load::WHERE,
        target.pick("public.{table}", "{table}")
    );
    project.pipeline("p", &pipeline);
    project
}

/// This test's share of the kills.
fn kills_wanted() -> u32 {
    let Ok(all) = std::env::var("SYNCSET_CRASH_KILLS") else {
        return KILLS_DEFAULT;
    };
    let all: u32 = all.parse().expect("SYNCSET_CRASH_KILLS is a number");
    all.div_ceil(RANDOM_TESTS)
}

/// Rows enough for three chunks. They are wide and few: each costs all the servers something.
fn wide() -> LoadOptions {
    LoadOptions {
        initial_rows: 8_000,
        label_bytes: 1_200,
        ..LoadOptions::default()
    }
}

fn narrow(source: &Target) -> LoadOptions {
    let two_phase_percent = match source {
        Target::Postgres(_) => 5,
        // The other tests of the server would see these transactions too.
        Target::Mysql(_) | Target::Sqlite(..) => 0,
    };
    LoadOptions {
        initial_rows: 2_000,
        wait_percent: 10,
        two_phase_percent,
        ..LoadOptions::default()
    }
}

fn with_deletes(source: &Target) -> LoadOptions {
    LoadOptions {
        weights: Weights {
            insert: 4,
            update: 6,
            relocate: 3,
            delete: 4,
        },
        ..narrow(source)
    }
}

async fn first_load_killed_at_random(source: Target, target: Target) {
    let mut lab = Lab::new(source, target, CURSOR).await;
    let mut load = Load::create(lab.source.place(), wide()).await;
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

async fn windows_killed_at_random(source: Target, target: Target, capture: &'static str) {
    let options = match capture {
        FULL => with_deletes(&source),
        _ => narrow(&source),
    };
    let mut lab = Lab::new(source, target, capture).await;
    let mut load = Load::create(lab.source.place(), options).await;
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
    let mut lab = Lab::new(source, target, CURSOR).await;
    let mut load = Load::create(lab.source.place(), wide()).await;
    let mut missed = Vec::new();

    for points in LOAD_POINTS {
        lab.empty_target().await;
        load = lab.kill_at_each(load, points, &mut missed).await;
    }
    load = lab.kill_at_each(load, &WINDOW_POINTS, &mut missed).await;

    assert!(missed.is_empty(), "fail points never reached: {missed:?}");
    lab.publish("fail points", load.ledger().commit_count);
}

/// The source of most tests.
async fn from_postgres() -> Target {
    Target::Postgres(kit::postgres().await.database("crash_source").await)
}

async fn mysql() -> Target {
    Target::mysql(kit::mysql()).await
}

async fn mariadb() -> Target {
    Target::mysql(kit::mariadb()).await
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
