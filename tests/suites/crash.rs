//! Runs are killed at random moments and at every fail point while writers change the source. At
//! the end, every write of the ledger is at the target exactly once.
//!
//! `SYNCSET_CRASH_KILLS` says how many kills there are over all tests of this suite (some
//! dozens by default); each test prints its share.

use crate::targets::Target;
use kit::{Database, Load, LoadOptions, Output, Project, RunningLoad, Weights};
use rand::Rng;
use std::time::{Duration, Instant};

/// Kills over all tests, unless the environment says otherwise.
const KILLS_DEFAULT: u32 = 50;

/// Tests that share the kills.
const RANDOM_TESTS: u32 = 14;

/// Kills between two comparisons of everything.
const KILLS_COMPARED: u32 = 10;

/// A killed run's session may linger for a moment; the next run waits for it this long.
const RUN: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=30s"];

/// Every fail point of a load, then those of windows that follow it.
const LOAD_POINTS: [&str; 12] = [
    "load.low_known",
    "load.begun",
    "unit.begun",
    "unit.begun:2",
    "chunk.batch",
    "chunk.batch:3",
    "unit.before_commit",
    "unit.before_commit:2",
    "unit.committed",
    "unit.committed:2",
    "window.batch",
    "settle.compared",
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
    source: Database,
    target: Target,
    project: Project,
    capture: &'static str,
    kills: u32,
}

impl Lab {
    async fn new(target: Target, capture: &'static str) -> Self {
        let source = kit::postgres().await.database("crash_source").await;
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
            .assert_at(&self.source, self.target.place())
            .await;
        load
    }

    fn publish(&self, what: &str, commits: u64) {
        println!("{what}: {} kills, {commits} commits, 0 lost", self.kills);
    }
}

/// Where a table goes, as the pipeline says it.
fn to(target: &Target) -> &'static str {
    match target {
        Target::Postgres(_) => "public.{table}",
        Target::Mysql(_) | Target::Sqlite(..) => "{table}",
    }
}

fn project(source: &Database, target: &Target, capture: &str) -> Project {
    let project = Project::between(&source.url(), &target.place().url());
    let pipeline = format!(
        "version: 1\nsource: source\ntarget: target\n\
         guards: {{ max_delete_percent: 99, max_delete_rows_always_allowed: 0, empty_source: allow }}\n\
         tables:\n  public.{}:\n    \
         columns: [id, label, amount, region, revision]\n    where: \"{}\"\n    \
         capture: {capture}\n    to: \"{}\"\n",
        Load::TABLE,
        Load::WHERE,
        to(target)
    );
    project.pipeline("p", &pipeline);
    project
}

/// This test's share of the kills.
fn kills_wanted() -> u32 {
    let all = std::env::var("SYNCSET_CRASH_KILLS").ok();
    let all = all.map_or(KILLS_DEFAULT, |text| {
        text.parse().expect("SYNCSET_CRASH_KILLS is a number")
    });
    all.div_ceil(RANDOM_TESTS)
}

/// Rows enough for more than one chunk.
fn wide() -> LoadOptions {
    LoadOptions {
        initial_rows: 20_000,
        label_bytes: 600,
        ..LoadOptions::default()
    }
}

fn narrow() -> LoadOptions {
    LoadOptions {
        initial_rows: 2_000,
        two_phase_percent: 5,
        ..LoadOptions::default()
    }
}

async fn first_load_killed_at_random(target: Target) {
    let mut lab = Lab::new(target, CURSOR).await;
    let mut load = Load::create(&lab.source, wide()).await;
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

async fn windows_killed_at_random(target: Target, capture: &'static str, options: LoadOptions) {
    let mut lab = Lab::new(target, capture).await;
    let mut load = Load::create(&lab.source, options).await;
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

async fn killed_at_every_fail_point(target: Target) {
    let mut lab = Lab::new(target, CURSOR).await;
    let mut load = Load::create(&lab.source, wide()).await;
    let mut missed = Vec::new();

    for point in LOAD_POINTS {
        lab.empty_target().await;
        let running = load.start();
        running.commits(5).await;
        if !lab.kill_at(point).await {
            missed.push(point);
        }
        load = lab.compare(running).await;
    }
    for point in WINDOW_POINTS {
        let running = load.start();
        running.commits(20).await;
        if !lab.kill_at(point).await {
            missed.push(point);
        }
        load = lab.compare(running).await;
    }

    assert!(missed.is_empty(), "fail points never reached: {missed:?}");
    lab.publish("fail points", load.ledger().commit_count);
}

#[tokio::test]
async fn first_load_to_postgres_survives_kills() {
    first_load_killed_at_random(Target::postgres().await).await;
}

#[tokio::test]
async fn first_load_to_sqlite_survives_kills() {
    first_load_killed_at_random(Target::sqlite()).await;
}

#[tokio::test]
async fn cursor_windows_to_postgres_survive_kills() {
    windows_killed_at_random(Target::postgres().await, CURSOR, narrow()).await;
}

#[tokio::test]
async fn cursor_windows_to_sqlite_survive_kills() {
    windows_killed_at_random(Target::sqlite(), CURSOR, narrow()).await;
}

#[tokio::test]
async fn xmin_windows_to_postgres_survive_kills() {
    windows_killed_at_random(Target::postgres().await, XMIN, narrow()).await;
}

#[tokio::test]
async fn xmin_windows_to_sqlite_survive_kills() {
    windows_killed_at_random(Target::sqlite(), XMIN, narrow()).await;
}

fn with_deletes() -> LoadOptions {
    LoadOptions {
        weights: Weights {
            insert: 4,
            update: 6,
            relocate: 3,
            delete: 4,
        },
        ..narrow()
    }
}

#[tokio::test]
async fn full_reads_with_deletes_survive_kills() {
    windows_killed_at_random(Target::postgres().await, FULL, with_deletes()).await;
}

#[tokio::test]
async fn full_reads_with_deletes_to_sqlite_survive_kills() {
    windows_killed_at_random(Target::sqlite(), FULL, with_deletes()).await;
}

#[tokio::test]
async fn every_fail_point_to_postgres_is_survived() {
    killed_at_every_fail_point(Target::postgres().await).await;
}

#[tokio::test]
async fn every_fail_point_to_sqlite_is_survived() {
    killed_at_every_fail_point(Target::sqlite()).await;
}

#[tokio::test]
async fn first_load_to_mysql_survives_kills() {
    first_load_killed_at_random(Target::mysql(kit::mysql()).await).await;
}

#[tokio::test]
async fn first_load_to_mariadb_survives_kills() {
    first_load_killed_at_random(Target::mysql(kit::mariadb()).await).await;
}

#[tokio::test]
async fn cursor_windows_to_mysql_survive_kills() {
    windows_killed_at_random(Target::mysql(kit::mysql()).await, CURSOR, narrow()).await;
}

#[tokio::test]
async fn cursor_windows_to_mariadb_survive_kills() {
    windows_killed_at_random(Target::mysql(kit::mariadb()).await, CURSOR, narrow()).await;
}

#[tokio::test]
async fn full_reads_with_deletes_to_mysql_survive_kills() {
    windows_killed_at_random(Target::mysql(kit::mysql()).await, FULL, with_deletes()).await;
}

#[tokio::test]
async fn full_reads_with_deletes_to_mariadb_survive_kills() {
    windows_killed_at_random(Target::mysql(kit::mariadb()).await, FULL, with_deletes()).await;
}

#[tokio::test]
async fn every_fail_point_to_mysql_is_survived() {
    killed_at_every_fail_point(Target::mysql(kit::mysql()).await).await;
}

#[tokio::test]
async fn every_fail_point_to_mariadb_is_survived() {
    killed_at_every_fail_point(Target::mysql(kit::mariadb()).await).await;
}
