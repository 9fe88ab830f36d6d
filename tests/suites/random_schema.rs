//! Tables of a source change at random, in their columns and in their rows, while runs come by that
//! are killed anywhere and people agree to what asks for it. At the end a few runs make the target
//! what the source is, in schema and in rows, and nothing is left to be done.
//!
//! `SYNCSET_SCHEMA_SEQUENCES` says how many sequences each test plays, `SYNCSET_SCHEMA_STEPS` how long
//! they are, `SYNCSET_TEST_SEED` which one comes first.

use crate::random_tables::Table;
use crate::schema_crashes::points;
use crate::schema_lab::{canonical, columns_of};
use crate::targets::Target;
use kit::{Comparison, Engine, Output, Project};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// Sequences of each test, unless the environment says otherwise.
const SEQUENCES_DEFAULT: u64 = 3;

/// Steps of each sequence, unless the environment says otherwise.
const STEPS_DEFAULT: u64 = 10;

/// The first seed, unless the environment says otherwise.
const SEED_DEFAULT: u64 = 20_261;

/// Runs until source and target agree, at most.
const ROUNDS_MAX: u32 = 5;

/// How long a change of the source waits for a run that is stopped and may hold a lock on it.
const STOPPED: Duration = Duration::from_secs(2);

/// Where runs are stopped while the source changes.
const PAUSES: [&str; 4] = [
    "alter.committed",
    "selection.stored",
    "load.low_known",
    "load.begun",
];

/// What happened in a sequence, printed if it fails.
struct Story {
    seed: u64,
    lines: Vec<String>,
}

impl Story {
    fn tell(&mut self, line: String) {
        self.lines.push(line);
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("SYNCSET_TEST_SEED={}", self.seed);
            for line in &self.lines {
                println!("  {line}");
            }
        }
    }
}

/// How often something happened, over all sequences of a test.
#[derive(Debug, Default)]
struct Counts {
    changes: u32,
    runs: u32,
    kills: u32,
    asked: u32,
}

struct Lab {
    source: Target,
    target: Target,
    project: Project,
    random: StdRng,
    tables: Vec<Table>,
    story: Story,
    counts: Counts,
    rev: u64,
}

impl Lab {
    async fn new(source: Engine, target: Engine, seed: u64) -> Self {
        let (source, target) = (
            source.database("random").await,
            target.database("random").await,
        );
        if let Target::Sqlite(file, _) = &source {
            file.execute("PRAGMA journal_mode = wal").await;
        }
        let project = Project::between(&source.url(), &target.url());
        let mut lab = Self {
            source,
            target,
            project,
            random: StdRng::seed_from_u64(seed),
            tables: Vec::new(),
            story: Story {
                seed,
                lines: Vec::new(),
            },
            counts: Counts::default(),
            rev: 0,
        };
        for name in ["t", "u"] {
            let engine = lab.source.engine();
            let table = Table::new(name, engine, &mut lab.random);
            let sql = table.creation(engine);
            lab.tables.push(table);
            lab.at_source(sql).await;
            let place = lab.tables.len() - 1;
            lab.insert(place, 30).await;
        }
        lab.write_file();
        lab
    }

    fn write_file(&mut self) {
        let tables = self.tables.iter().map(|table| {
            let (capture, schema) = (table.capture.setting(), table.policy.setting());
            format!(
                "  {}: {{ capture: {capture}, schema: {schema} }}\n",
                table.name
            )
        });
        let tables: String = tables.collect();
        self.story.tell(tables.trim_end().to_owned());
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n\
             guards: {{ max_delete_percent: 100, empty_source: allow }}\ntables:\n{tables}"
        );
        self.project.pipeline("p", &text);
    }

    async fn at_source(&mut self, sql: Vec<String>) {
        for sql in sql {
            self.story.tell(sql.clone());
            self.source.execute(&sql).await;
        }
    }

    async fn insert(&mut self, place: usize, count: u32) {
        self.rev += 1;
        let table = &mut self.tables[place];
        let sql = table.insertion(count, self.rev, &mut self.random);
        self.at_source(vec![sql]).await;
    }

    /// Changes a table, or rows of it.
    fn change(&mut self) -> Vec<String> {
        self.counts.changes += 1;
        self.rev += 1;
        let engine = self.source.engine();
        let place = self.random.random_range(0..self.tables.len());
        self.tables[place].change(engine, self.rev, &mut self.random)
    }

    async fn syncset(&mut self, words: &[&str], point: Option<&str>) -> Output {
        self.counts.runs += 1;
        let words = words.iter().chain(&["--on-lock", "wait=60s"]);
        let words: Vec<&str> = words.copied().collect();
        let action = point.map(|point| format!("{point}=exit9"));
        let action = action.iter().map(|it| ("SYNCSET_FAIL_POINT", it.as_str()));
        let action: Vec<_> = action.collect();
        let run = self.project.spawn_with(&words, &action);
        let output = run.wait().await;
        self.tell(&words, point, &output);
        self.counts.kills += u32::from(output.code == 137);
        self.counts.asked += u32::from(output.code == 5);
        output
    }

    fn tell(&mut self, words: &[&str], point: Option<&str>, output: &Output) {
        let said = output.stderr.lines().take(6).collect::<Vec<_>>();
        self.story.tell(format!(
            "-- {} {} -> {} {}",
            words[..3].join(" "),
            point.unwrap_or_default(),
            output.code,
            said.join(" | ")
        ));
    }

    /// One run of some kind, which may be killed.
    async fn some_run(&mut self) {
        let point = points().choose(&mut self.random).expect("some");
        let count = self.random.random_range(1..3);
        let point = format!("{point}:{count}");
        let is_killed = self.random.random_bool(0.6);
        let point = is_killed.then_some(point.as_str());
        let words = match self.random.random_range(0..4) {
            0 => ["schema", "approve", "p"],
            _ => ["pipeline", "run", "p"],
        };
        let output = self.syncset(&words, point).await;
        let is_fine = matches!(output.code, 0 | 5) || point.is_some() && output.code == 137;
        assert!(is_fine, "{words:?} {point:?}: {output:#?}");
    }

    /// A run in whose middle the source changes.
    async fn overtaken_run(&mut self) {
        let point = PAUSES.choose(&mut self.random).expect("some");
        let action = format!("{point}=stop");
        let words = ["pipeline", "run", "p", "--on-lock", "wait=60s"];
        let stop = [("SYNCSET_FAIL_POINT", action.as_str())];
        let run = self.project.spawn_with(words, &stop);
        let is_stopped = run.frozen().await;
        self.story
            .tell(format!("-- a run stops at {point}: {is_stopped}"));
        let sql = self.change();
        {
            let mut change = std::pin::pin!(self.at_source(sql));
            let done = tokio::time::timeout(STOPPED, &mut change).await;
            run.cont();
            if done.is_err() {
                change.await;
            }
        }
        let output = run.wait().await;
        self.tell(&words, Some(point), &output);
        assert!(matches!(output.code, 0 | 5 | 9), "{output:#?}");
    }

    async fn step(&mut self) {
        match self.random.random_range(0..20) {
            0..=11 => {
                let sql = self.change();
                self.at_source(sql).await;
            }
            12 if self.source.engine() == Engine::Postgres => self.overtaken_run().await,
            _ => self.some_run().await,
        }
    }

    /// Runs, and agrees to what waits, until a run is through.
    async fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let output = self.syncset(&["pipeline", "run", "p"], None).await;
            match output.code {
                0 => return,
                5 => {
                    let agreed = self.syncset(&["schema", "approve", "p"], None).await;
                    assert!(matches!(agreed.code, 0 | 5), "{agreed:#?}");
                }
                _ => panic!("{output:#?}"),
            }
        }
        panic!("it asks for more after {ROUNDS_MAX} rounds");
    }

    async fn assert_agreement(&mut self) {
        let words = ["pipeline", "run", "p", "--output", "json"];
        let quiet = self.syncset(&words, None).await.expect_success().json();
        for table in quiet["tables"].as_array().expect("a report has tables") {
            assert_eq!(table["rows_written"], 0, "{table:#}");
        }
        let diff = self.project.syncset(["schema", "diff", "p"]).await;
        diff.expect_success();
        for table in &self.tables {
            self.assert_schema(table).await;
            let names = table.names().join(", ");
            let sql = format!("SELECT id, rev, {names} FROM {} ORDER BY id", table.name);
            let source = canonical(self.source.rows(&sql).await);
            let target = canonical(self.target.rows(&sql).await);
            let comparison = Comparison::of(source, target, 1);
            assert!(comparison.is_equal(), "{sql}: {comparison}");
        }
    }

    async fn assert_schema(&self, table: &Table) {
        let source = columns_of(&self.source, &table.name).await;
        let target = columns_of(&self.target, &table.name).await;
        for (name, column) in &source {
            let Some(found) = target.get(name) else {
                panic!("{} has no {name} at the target: {target:?}", table.name);
            };
            assert!(
                !found.refuses_null || column.refuses_null,
                "{name} of {} refuses NULL at the target: {target:?}",
                table.name
            );
            let is_postgres = |it: &Target| it.engine() == Engine::Postgres;
            if is_postgres(&self.source) && is_postgres(&self.target) && !table.was_used(name) {
                assert_eq!(found.native, column.native, "{name} of {}", table.name);
            }
        }
        if table.policy.drops() {
            let extra = target.keys().filter(|name| !source.contains_key(*name));
            let extra: Vec<_> = extra.collect();
            assert!(extra.is_empty(), "left at {}: {extra:?}", table.name);
        }
    }
}

fn number_of(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}

async fn changed_at_random(source: Engine, target: Engine, share: u64) {
    let first = number_of("SYNCSET_TEST_SEED", SEED_DEFAULT);
    let sequences = number_of(
        "SYNCSET_SCHEMA_SEQUENCES",
        SEQUENCES_DEFAULT.div_ceil(share),
    );
    let steps = number_of("SYNCSET_SCHEMA_STEPS", STEPS_DEFAULT);
    let mut counts = Counts::default();
    for seed in first..first + sequences {
        let mut lab = Lab::new(source, target, seed).await;
        for _ in 0..steps {
            lab.step().await;
        }
        lab.settle().await;
        lab.assert_agreement().await;
        counts.changes += lab.counts.changes;
        counts.runs += lab.counts.runs;
        counts.kills += lab.counts.kills;
        counts.asked += lab.counts.asked;
    }
    println!("{source:?} -> {target:?}: {sequences} sequences from {first}, {counts:?}");
}

#[tokio::test]
async fn random_changes_of_postgres_reach_postgres() {
    changed_at_random(Engine::Postgres, Engine::Postgres, 1).await;
}

#[tokio::test]
async fn random_changes_of_postgres_reach_mysql() {
    changed_at_random(Engine::Postgres, Engine::Mysql, 3).await;
}

#[tokio::test]
async fn random_changes_of_mysql_reach_postgres() {
    changed_at_random(Engine::Mysql, Engine::Postgres, 3).await;
}

#[tokio::test]
async fn random_changes_of_mariadb_reach_sqlite() {
    changed_at_random(Engine::Mariadb, Engine::Sqlite, 3).await;
}

#[tokio::test]
async fn random_changes_of_sqlite_reach_mariadb() {
    changed_at_random(Engine::Sqlite, Engine::Mariadb, 3).await;
}
