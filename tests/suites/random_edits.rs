//! Pipelines are edited at random between runs, while writers change the source and runs are
//! killed. After a quiet run the target is what SQL selects at the source: rows, columns and
//! nothing else.
//!
//! `SYNCSET_EDIT_ROUNDS` says how many rounds each test does, `SYNCSET_TEST_SEED` which.

use crate::targets::Target;
use kit::{Database, Load, LoadOptions, Place, Project, RunningLoad, SqliteFile, TextRow};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds of each test, unless the environment says otherwise.
const ROUNDS_DEFAULT: u32 = 12;

const RUN: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=170s"];

/// Where runs are killed.
const POINTS: [&str; 10] = [
    "alter.committed",
    "load.low_known",
    "load.begun",
    "unit.begun",
    "unit.begun:2",
    "chunk.batch",
    "unit.before_commit",
    "unit.committed",
    "window.batch",
    "settle.compared",
];

/// Names at the target: columns of the source among them, so that names are passed on.
const NAMES: [&str; 8] = [
    "label", "amount", "region", "revision", "secret", "x", "y", "z",
];

const CONDITIONS: [&str; 6] = [
    "region in ('de', 'fr')",
    "region = 'us'",
    "region <> 'de'",
    "revision > 0",
    "id > 300",
    "id <= 700 and region <> 'jp'",
];

/// Name, expression of the pipeline, the same at the source.
const DERIVED: [(&str, &str, &str); 6] = [
    ("up", "upper(label)", "upper(label)"),
    ("up", "lower(label)", "lower(label)"),
    ("twice", "revision * 2", "revision * 2"),
    ("twice", "revision + 1", "revision + 1"),
    ("tag", "concat(region, '!')", "region || '!'"),
    ("tag", "concat(label, region)", "label || region"),
];

/// One column of the target.
#[derive(Debug, Clone)]
struct Column {
    /// The column of the source, or the name of a computed one.
    own: &'static str,
    /// Expression of the pipeline, if it is computed, and at the source.
    sql: Option<(&'static str, &'static str)>,
    /// Its name at the target.
    name: String,
}

/// What the pipeline says of its one table.
#[derive(Debug, Clone)]
struct Selection {
    columns: Vec<Column>,
    condition: Option<&'static str>,
    key: &'static str,
    to: String,
    capture: &'static str,
}

/// A source, its writers at work, and what differs between the kinds of stores.
enum Source {
    Postgres(Database),
    Sqlite(SqliteFile),
}

enum Writers {
    Postgres(Box<RunningLoad>),
    Sqlite(Arc<AtomicBool>, tokio::task::JoinHandle<()>),
}

struct Lab {
    source: Source,
    load: Option<Load>,
    target: Target,
    project: Project,
    random: StdRng,
    selection: Selection,
    tables_made: u32,
    kills: u32,
}

impl Source {
    fn place(&self) -> Place<'_> {
        match self {
            Self::Postgres(database) => database.into(),
            Self::Sqlite(file) => file.into(),
        }
    }

    fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Postgres(_) => &["code", "label", "amount", "region", "revision", "secret"],
            // Decimals of the two stores are not written alike.
            Self::Sqlite(_) => &["code", "label", "region", "revision", "secret"],
        }
    }

    fn captures(&self) -> &'static [&'static str] {
        match self {
            Self::Postgres(_) => &[
                "{ mode: cursor, column: updated_at, written_by: database }",
                "xmin",
                "full",
            ],
            Self::Sqlite(_) => &["{ mode: cursor, column: stamp, overlap: 100000 }", "full"],
        }
    }

    fn stream(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "public.load_item",
            Self::Sqlite(_) => "load_item",
        }
    }
}

const SQLITE_SOURCE: &str =
    "CREATE TABLE load_item (id INTEGER PRIMARY KEY, code INTEGER NOT NULL UNIQUE,
      label TEXT NOT NULL, region TEXT NOT NULL, revision INTEGER NOT NULL,
      secret TEXT NOT NULL DEFAULT 'never leaves the source', stamp INTEGER NOT NULL);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    INSERT INTO load_item (id, code, label, region, revision, stamp)
      SELECT i, i + 1000000, 'label ' || i,
        CASE i % 4 WHEN 0 THEN 'de' WHEN 1 THEN 'fr' WHEN 2 THEN 'us' ELSE 'jp' END, 0, i FROM n";

impl Lab {
    async fn new(postgres_source: bool, target: Target, seed: u64) -> Self {
        let (source, load) = if postgres_source {
            let database = kit::postgres().await.database("random_edits").await;
            let options = LoadOptions {
                initial_rows: 1_000,
                seed,
                ..LoadOptions::default()
            };
            let load = Load::create(&database, options).await;
            let code = "ALTER TABLE load_item ADD COLUMN code bigint NOT NULL \
                        GENERATED ALWAYS AS (id + 1000000) STORED UNIQUE";
            database.execute(code).await;
            (Source::Postgres(database), Some(load))
        } else {
            let folder = tempfile::tempdir().expect("a temporary folder").keep();
            let file = SqliteFile::new(folder.join("source.db"));
            file.execute("PRAGMA journal_mode = wal").await;
            file.execute(SQLITE_SOURCE).await;
            (Source::Sqlite(file), None)
        };
        let project = Project::between(&source.place().url(), &target.place().url());
        let mut lab = Self {
            selection: Selection {
                columns: Vec::new(),
                condition: None,
                key: "id",
                to: "copy_0".into(),
                capture: source.captures()[0],
            },
            source,
            load,
            target,
            project,
            random: StdRng::seed_from_u64(seed),
            tables_made: 0,
            kills: 0,
        };
        lab.choose_columns();
        lab.write();
        lab
    }

    /// Chooses columns, computed columns and their names.
    fn choose_columns(&mut self) {
        let mut names: Vec<&str> = NAMES.to_vec();
        names.shuffle(&mut self.random);
        let mut columns = Vec::new();
        for own in self.source.columns() {
            if self.random.random_bool(0.6) {
                columns.push((*own, None));
            }
        }
        for (own, sql, at_source) in DERIVED {
            if self.random.random_bool(0.3) && !columns.iter().any(|(it, _)| *it == own) {
                columns.push((own, Some((sql, at_source))));
            }
        }
        let own: BTreeSet<&str> = columns.iter().map(|(own, _)| *own).collect();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut chosen = Vec::new();
        for (own_name, sql) in columns {
            let other = names.iter().find(|name| !own.contains(*name));
            let renamed = self.random.random_bool(0.5);
            let name = match other.copied() {
                Some(other) if renamed => {
                    names.retain(|name| *name != other);
                    other
                }
                _ => own_name,
            };
            if taken.insert(name.to_owned()) {
                chosen.push(Column {
                    own: own_name,
                    sql,
                    name: name.to_owned(),
                });
            }
        }
        self.swap_two(&mut chosen);
        self.selection.columns = chosen;
        let has_code = self.selection.columns.iter().any(|it| it.own == "code");
        if !has_code {
            self.selection.key = "id";
        }
    }

    /// Sometimes two columns have each other's name.
    fn swap_two(&mut self, columns: &mut [Column]) {
        if columns.len() < 2 || self.random.random_bool(0.6) {
            return;
        }
        let (first, second) = (columns[0].name.clone(), columns[1].name.clone());
        columns[0].name = second;
        columns[1].name = first;
    }

    fn edit(&mut self) {
        match self.random.random_range(0..10) {
            0..=4 => self.choose_columns(),
            5..=7 => {
                let some = self.random.random_bool(0.8);
                let condition = CONDITIONS.choose(&mut self.random).copied();
                self.selection.condition = condition.filter(|_| some);
            }
            8 => {
                let captures = self.source.captures();
                self.selection.capture = captures.choose(&mut self.random).expect("some");
                let has_code = self.selection.columns.iter().any(|it| it.own == "code");
                let by_code = has_code && self.random.random_bool(0.7);
                self.selection.key = if by_code { "code" } else { "id" };
            }
            _ => {
                self.tables_made += 1;
                self.selection.to = format!("copy_{}", self.tables_made);
            }
        }
        self.write();
    }

    fn write(&self) {
        let chosen = &self.selection;
        let plain = chosen.columns.iter().filter(|it| it.sql.is_none());
        let plain: Vec<_> = plain.map(|it| it.own).collect();
        let derived = chosen.columns.iter();
        let derived: Vec<_> = derived
            .filter_map(|it| Some(format!("{}: \"{}\"", it.own, it.sql?.0)))
            .collect();
        let renamed = chosen.columns.iter().filter(|it| it.own != it.name);
        let renamed: Vec<_> = renamed
            .map(|it| format!("{}: {}", it.own, it.name))
            .collect();
        let condition = chosen.condition;
        let condition = condition.map_or(String::new(), |it| format!("    where: \"{it}\"\n"));
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n\
             guards: {{ max_delete_percent: 100, empty_source: allow }}\n\
             tables:\n  {}:\n    columns: [{}]\n\
             {condition}    derive: {{ {} }}\n    rename: {{ {} }}\n    key: [{}]\n    to: {}\n    \
             capture: {}\n",
            self.source.stream(),
            ["id"]
                .iter()
                .chain(&plain)
                .copied()
                .collect::<Vec<_>>()
                .join(", "),
            derived.join(", "),
            renamed.join(", "),
            chosen.key,
            chosen.to,
            chosen.capture
        );
        self.project.pipeline("p", &text);
    }

    fn start_writers(&mut self) -> Writers {
        match &self.source {
            Source::Postgres(_) => {
                let load = self.load.take().expect("no writers are at work");
                Writers::Postgres(Box::new(load.start()))
            }
            Source::Sqlite(file) => {
                let stop = Arc::new(AtomicBool::new(false));
                let seed = self.random.random();
                let writing = write_sqlite(file.clone(), Arc::clone(&stop), seed);
                Writers::Sqlite(stop, tokio::spawn(writing))
            }
        }
    }

    async fn stop_writers(&mut self, writers: Writers) {
        match writers {
            Writers::Postgres(running) => self.load = Some(running.stop().await),
            Writers::Sqlite(stop, task) => {
                stop.store(true, Ordering::SeqCst);
                task.await.expect("the writer did not panic");
            }
        }
    }

    /// A run that is killed on its way, or gets through.
    async fn killed_run(&mut self) {
        let point = POINTS.choose(&mut self.random).expect("some");
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let run = self.project.spawn_with(RUN, &variables);
        let output = run.wait().await;
        match output.code {
            137 => self.kills += 1,
            5 => self.give_up_the_table(&output.stderr).await,
            _ => drop(output.expect_success()),
        }
    }

    /// Runs until a run is through.
    async fn run(&mut self) {
        let output = self.project.syncset(RUN).await;
        if output.code == 5 {
            self.give_up_the_table(&output.stderr).await;
            self.project.syncset(RUN).await.expect_success();
        } else {
            output.expect_success();
        }
    }

    /// What a person does where the rows that are there cannot be told apart by a new key.
    async fn give_up_the_table(&self, said: &str) {
        assert!(said.contains("told apart"), "{said}");
        let drop = format!("DROP TABLE {}", self.selection.to);
        self.target.place().execute(&drop).await;
    }

    async fn assert_target_is_what_is_selected(&self) {
        let chosen = &self.selection;
        let is_sqlite = matches!(self.target, Target::Sqlite(..));
        let at_source = chosen.columns.iter().map(|column| match column.sql {
            Some((_, sql)) => format!("({sql})"),
            None => column.own.to_owned(),
        });
        let at_target = chosen.columns.iter().map(|column| {
            if is_sqlite && column.own == "amount" {
                format!("printf('%.2f', \"{}\")", column.name)
            } else {
                format!("\"{}\"", column.name)
            }
        });
        let list = |columns: Vec<String>| ["id".to_owned()].into_iter().chain(columns);
        let expected = format!(
            "SELECT {} FROM load_item WHERE {}",
            list(at_source.collect()).collect::<Vec<_>>().join(", "),
            chosen.condition.unwrap_or("1 = 1")
        );
        let found = format!(
            "SELECT {} FROM {}",
            list(at_target.collect()).collect::<Vec<_>>().join(", "),
            chosen.to
        );
        let expected: Vec<TextRow> = self.source.place().rows(&expected).await;
        let found = self.target.place().rows(&found).await;
        let comparison = kit::Comparison::of(expected, found, 1);
        assert!(comparison.is_equal(), "{comparison}\n{chosen:#?}");

        let names = match &self.target {
            Target::Postgres(_) => format!(
                "SELECT attname FROM pg_attribute WHERE attrelid = '{}'::regclass \
                 AND attnum > 0 AND NOT attisdropped",
                chosen.to
            ),
            Target::Mysql(_) => format!(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{}'",
                chosen.to
            ),
            Target::Sqlite(..) => format!("SELECT name FROM pragma_table_info('{}')", chosen.to),
        };
        let names = self.target.place().rows(&names).await;
        let names: BTreeSet<String> = names
            .into_iter()
            .filter_map(|mut it| it.remove(0))
            .collect();
        let wanted = chosen.columns.iter().map(|column| column.name.clone());
        assert_eq!(names, list(wanted.collect()).collect(), "{chosen:#?}");
    }
}

async fn write_sqlite(file: SqliteFile, stop: Arc<AtomicBool>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::SeqCst) {
        let region = ["de", "fr", "us", "jp"].choose(&mut random).expect("some");
        let id = random.random_range(1..1_200);
        let next = "(SELECT max(stamp) + 1 FROM load_item)";
        let sql = format!(
            "INSERT INTO load_item (id, code, label, region, revision, stamp) \
             VALUES ({id}, {id} + 1000000, 'label {}', '{region}', 0, {next}) \
             ON CONFLICT (id) DO UPDATE SET label = excluded.label, region = excluded.region, \
             revision = revision + 1, stamp = excluded.stamp",
            random.random_range(0..1_000_000)
        );
        file.execute(&sql).await;
    }
}

fn rounds() -> u32 {
    let rounds = std::env::var("SYNCSET_EDIT_ROUNDS").ok();
    rounds.map_or(ROUNDS_DEFAULT, |text| {
        text.parse().expect("SYNCSET_EDIT_ROUNDS is a number")
    })
}

async fn edited_at_random(postgres_source: bool, target: Target) {
    let seed = std::env::var("SYNCSET_TEST_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("SYNCSET_TEST_SEED={seed}");
    let mut lab = Lab::new(postgres_source, target, seed).await;
    lab.run().await;
    lab.assert_target_is_what_is_selected().await;

    for _ in 0..rounds() {
        let writers = lab.start_writers();
        lab.edit();
        for _ in 0..lab.random.random_range(0..3) {
            lab.killed_run().await;
            if lab.random.random_bool(0.4) {
                lab.edit();
            }
        }
        if lab.random.random_bool(0.5) {
            lab.run().await;
        }
        lab.stop_writers(writers).await;
        lab.run().await;
        lab.assert_target_is_what_is_selected().await;
    }
    println!("{} rounds, {} kills", rounds(), lab.kills);
}

#[tokio::test]
async fn postgres_target_is_what_random_edits_select() {
    edited_at_random(true, Target::postgres().await).await;
}

#[tokio::test]
async fn sqlite_target_is_what_random_edits_select() {
    edited_at_random(true, Target::sqlite()).await;
}

#[tokio::test]
async fn random_edits_of_a_sqlite_source_reach_postgres() {
    edited_at_random(false, Target::postgres().await).await;
}

#[tokio::test]
async fn random_edits_of_a_sqlite_source_reach_sqlite() {
    edited_at_random(false, Target::sqlite()).await;
}
