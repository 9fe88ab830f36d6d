//! Runs and approvals are killed at every step of a migration and of the load that fills it: the next
//! run finishes it, nothing is done twice, nothing is lost.

use crate::schema_lab::{canonical, columns_of};
use crate::targets::Target;
use kit::{Comparison, Engine, Output, Project};
use std::collections::BTreeSet;
use std::path::Path;

const WAIT: [&str; 2] = ["--on-lock", "wait=60s"];

const RUN: [&str; 3] = ["pipeline", "run", "p"];

const APPROVE: [&str; 3] = ["schema", "approve", "p"];

/// Steps of a migration up to the one that makes the change last, by the stores that have them.
const BEFORE: [(&str, &[Engine]); 3] = [
    ("alter.planned", &[Engine::Mysql, Engine::Mariadb]),
    ("alter.labelled", &[Engine::Postgres]),
    ("alter.before_commit", &[Engine::Postgres, Engine::Sqlite]),
];

/// The one after the DDL of stores in which it commits by itself.
const EXECUTED: (&str, &[Engine]) = ("alter.executed", &[Engine::Mysql, Engine::Mariadb]);

/// Steps after it, and those of the load that fills what is new.
const AFTER: [&str; 11] = [
    "alter.committed",
    "selection.stored",
    "load.low_known",
    "load.begun",
    "unit.begun",
    "chunk.batch",
    "unit.before_commit",
    "unit.committed",
    "window.batch",
    "window.unit_committed",
    "settle.compared",
];

/// The one between an agreement that was read in a file and the migration.
const COMPARED: &str = "plan.compared";

/// Steps of the creation of a table where DDL commits by itself.
const CREATION: [&str; 2] = ["create.planned", "create.executed"];

/// All steps of migrations, of the loads after them, and of creations.
pub(crate) fn points() -> impl Iterator<Item = &'static str> {
    let before = BEFORE.into_iter().chain([EXECUTED]).map(|(point, _)| point);
    before.chain(AFTER).chain(CREATION)
}

/// The steps that a migration into this store comes by, and whether the change is to stay when a run
/// is killed there.
fn steps(target: Engine) -> Vec<(&'static str, bool)> {
    let has_it = |stores: &[Engine]| stores.contains(&target);
    let before = BEFORE.into_iter();
    let before = before.filter(|(_, stores)| has_it(stores));
    let before = before.map(|(point, _)| (point, false));
    let executed = [EXECUTED].into_iter();
    let executed = executed.filter(|(_, stores)| has_it(stores));
    let executed = executed.map(|(point, _)| (point, true));
    let after = AFTER.into_iter().map(|point| (point, true));
    before.chain(executed).chain(after).collect()
}

/// A table `t` whose rows are updated and a table `a` that is appended to, which change from one
/// migration to the next.
struct Lab {
    source: Target,
    target: Target,
    project: Project,
    /// Migrations so far.
    number: u32,
    /// How many of them brought a column.
    filled: u32,
    rev: u32,
}

impl Lab {
    async fn loaded(target: Engine, schema: &str) -> Self {
        let (source, target) = (
            Engine::Postgres.database("crashes").await,
            target.database("crashes").await,
        );
        let project = Project::between(&source.url(), &target.url());
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ndefaults:\n  \
             capture: {{ mode: cursor, column: rev, overlap: 0 }}\n  schema: {schema}\n\
             tables:\n  t: {{}}\n  a: {{ write: {{ mode: append }} }}\n"
        );
        project.pipeline("p", &text);
        let lab = Self {
            source,
            target,
            project,
            number: 0,
            filled: 0,
            rev: 1_000,
        };
        lab.at_source(
            "CREATE TYPE mood AS ENUM ('m0'); \
             CREATE TABLE t (id int PRIMARY KEY, name varchar(70) NOT NULL, n0 int, c0 int, \
             mood mood, rev bigint NOT NULL); \
             INSERT INTO t SELECT i, 'row ' || i, i, i, 'm0', i FROM generate_series(1, 100) i; \
             CREATE TABLE a (id int PRIMARY KEY, rev bigint NOT NULL); \
             INSERT INTO a SELECT i, i FROM generate_series(1, 100) i",
        )
        .await;
        lab.syncset(&RUN).await.expect_success();
        lab
    }

    async fn at_source(&self, sql: &str) {
        self.source.execute(sql).await;
    }

    async fn syncset(&self, words: &[&str]) -> Output {
        let words = words.iter().chain(&WAIT);
        self.project.syncset(words).await
    }

    async fn killed_at(&self, point: &str, words: &[&str]) {
        let action = format!("{point}=exit9");
        let words = words.iter().chain(&WAIT);
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let killed = self.project.spawn_with(words, &variables).wait().await;
        assert_eq!(killed.code, 137, "never came to {point}: {killed:#?}");
    }

    /// Names, types and labels change; no value of a column becomes another one.
    async fn rename(&mut self) {
        let number = self.number;
        self.number += 1;
        self.rev += 10;
        self.at_source(&format!(
            "ALTER TABLE t RENAME n{number} TO n{}; \
             ALTER TABLE t ALTER name TYPE varchar({}); \
             UPDATE t SET name = repeat('x', {}), rev = {} WHERE id = 1",
            number + 1,
            71 + number,
            71 + number,
            self.rev
        ))
        .await;
        let label = format!("ALTER TYPE mood ADD VALUE 'm{}'", number + 1);
        self.at_source(&label).await;
        self.at_source(&format!(
            "UPDATE t SET mood = 'm{}', rev = {} WHERE id = 2",
            number + 1,
            self.rev
        ))
        .await;
    }

    /// The same, and a column goes and another one comes, with values that no stamp tells of.
    async fn refill(&mut self) {
        let number = self.filled;
        self.filled += 1;
        self.rename().await;
        self.at_source(&format!(
            "ALTER TABLE t DROP COLUMN c{number}, ADD COLUMN c{} int DEFAULT {number}; \
             UPDATE t SET c{} = -id WHERE id <= 10; \
             INSERT INTO t (id, name, rev) VALUES ({}, 'more', {})",
            number + 1,
            number + 1,
            self.rev,
            self.rev
        ))
        .await;
    }

    /// The appended table gets a column and rows that have it.
    async fn append(&self) {
        let (number, rev) = (self.number, self.rev);
        self.at_source(&format!(
            "ALTER TABLE a ADD COLUMN c{number} int; \
             INSERT INTO a (id, rev, c{number}) VALUES ({rev}, {rev}, 1), ({rev} + 1, {rev} + 1, 2)"
        ))
        .await;
    }

    /// Both sides have the same columns and rows of `t`, and nothing was appended twice.
    async fn assert_same(&self, point: &str) {
        let (source, target) = (
            columns_of(&self.source, "t").await,
            columns_of(&self.target, "t").await,
        );
        let names: Vec<_> = source.keys().cloned().collect();
        let found: Vec<_> = target.keys().cloned().collect();
        assert_eq!(found, names, "{point}");
        let sql = format!("SELECT {} FROM t ORDER BY id", others_of(&names).join(", "));
        let (source, target) = (self.source.rows(&sql).await, self.target.rows(&sql).await);
        let comparison = Comparison::of(canonical(source), canonical(target), 1);
        assert!(comparison.is_equal(), "{point}: {comparison}");

        let sql = "SELECT count(*), count(DISTINCT id) FROM a";
        let counts = self.target.rows(sql).await;
        assert_eq!(counts[0][0], counts[0][1], "{point}: appended twice");
        // The newest number may wait until there is a greater one.
        let newest = "(SELECT max(rev) FROM a)";
        let missing = format!("SELECT count(*) FROM a WHERE rev < {newest}");
        let source = self.source.value(&missing).await;
        let at_least: u32 = source.parse().expect("a count");
        let held = counts[0][0].as_deref().unwrap_or_default();
        assert!(held.parse::<u32>().expect("a count") >= at_least, "{point}");
    }

    /// A run has nothing to do any more, and no statement was run twice.
    async fn assert_done(&self) {
        let words = [RUN[0], RUN[1], RUN[2], "--output", "json"];
        let report = self.syncset(&words).await.expect_success().json();
        for table in report["tables"].as_array().expect("a report has tables") {
            assert_eq!(table["rows_written"], 0, "{table:#}");
        }
        if self.target.engine() == Engine::Postgres {
            // Numbers of columns that were dropped are never given again.
            let sql = "SELECT max(attnum) FROM pg_attribute WHERE attrelid = 'public.t'::regclass";
            let number = self.target.value(sql).await;
            assert_eq!(number, (6 + self.filled).to_string());
        }
    }
}

/// The key first, then the others.
fn others_of(names: &[String]) -> Vec<&str> {
    let others = names.iter().map(String::as_str).filter(|it| *it != "id");
    ["id"].into_iter().chain(others).collect()
}

async fn killed_runs_are_finished(target: Engine) {
    let mut lab = Lab::loaded(target, "evolve").await;
    let steps = steps(target);

    for (point, _) in &steps {
        lab.refill().await;
        lab.append().await;
        lab.killed_at(point, &RUN).await;
        lab.syncset(&RUN).await.expect_success();
        lab.assert_same(point).await;
    }

    lab.assert_done().await;
}

const ASKING: &str = "{ new_column: approve, dropped_column: approve, renamed_column: approve, \
    type_change: approve, nullable_column: approve }";

async fn killed_approvals_are_finished(target: Engine) {
    let mut lab = Lab::loaded(target, ASKING).await;

    let points = steps(target);
    for (point, lasts) in &points {
        // What is not filled goes on without a load.
        match *point {
            "selection.stored" | "window.batch" | "window.unit_committed" => lab.rename().await,
            _ => lab.refill().await,
        }
        lab.syncset(&RUN).await.expect_code(5);
        lab.killed_at(point, &APPROVE).await;
        lab.goes_on(*lasts).await;
        lab.assert_same(point).await;
    }
    // The same where no load follows.
    let points = points.into_iter();
    let points = points.filter(|(point, _)| point.starts_with("alter.") || *point == "unit.begun");
    for (point, lasts) in points {
        lab.rename().await;
        lab.syncset(&RUN).await.expect_code(5);
        lab.killed_at(point, &APPROVE).await;
        lab.goes_on(lasts).await;
        lab.assert_same(point).await;
    }
    lab.refill().await;
    let plan = lab
        .project
        .syncset(["schema", "diff", "p", "--output", "json"]);
    lab.project
        .file("plan.json", &plan.await.expect_code(5).stdout);
    let with_plan = ["schema", "approve", "p", "--plan", "plan.json"];
    lab.killed_at(COMPARED, &with_plan).await;
    lab.goes_on(false).await;
    lab.assert_same(COMPARED).await;

    lab.assert_done().await;
}

impl Lab {
    /// The next run finishes what was agreed to; if nothing of it was done, it may ask once more.
    async fn goes_on(&self, lasts: bool) {
        let next = self.syncset(&RUN).await;
        if !lasts && next.code == 5 {
            self.syncset(&APPROVE).await.expect_success();
        } else {
            next.expect_success();
        }
    }
}

macro_rules! for_each_target {
    ($($engine:ident $about:ident),+) => {
        $(
            mod $about {
                use super::*;

                #[tokio::test]
                async fn run_killed_at_any_step_of_a_migration_is_finished() {
                    killed_runs_are_finished(Engine::$engine).await;
                }

                #[tokio::test]
                async fn approval_killed_at_any_step_is_finished() {
                    killed_approvals_are_finished(Engine::$engine).await;
                }
            }
        )+
    };
}

for_each_target!(Postgres to_postgres, Mysql to_mysql, Mariadb to_mariadb, Sqlite to_sqlite);

#[tokio::test]
async fn creation_killed_at_any_step_is_finished() {
    for target in [Engine::Mysql, Engine::Mariadb] {
        for point in CREATION {
            let (source, target) = (
                Engine::Sqlite.database("created").await,
                target.database("created").await,
            );
            source
                .execute("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'one')")
                .await;
            let project = Project::between(&source.url(), &target.url());
            let text =
                "version: 1\nsource: source\ntarget: target\ncapture: full\ntables: { t: }\n";
            project.pipeline("p", text);

            let action = format!("{point}=exit9");
            let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
            let killed = project.spawn_with(RUN, &variables).wait().await;
            assert_eq!(killed.code, 137, "{point}: {killed:#?}");
            let words = RUN.iter().chain(&WAIT);
            project.syncset(words).await.expect_success();
            // What is ours may be altered later.
            source
                .execute("ALTER TABLE t ADD COLUMN more int DEFAULT 7")
                .await;
            project.syncset(RUN).await.expect_success();

            let sql = "SELECT id, name, more FROM t";
            assert_eq!(target.rows(sql).await, source.rows(sql).await, "{point}");
        }
    }
}

#[tokio::test]
async fn chunks_that_were_filled_are_not_filled_again() {
    for engine in [Engine::Postgres, Engine::Mysql] {
        let (source, target) = (
            Engine::Postgres.database("chunks").await,
            engine.database("chunks").await,
        );
        source
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY, filler text NOT NULL, rev bigint NOT NULL); \
                 INSERT INTO t SELECT i, (SELECT string_agg(md5(i::text || j), '') \
                 FROM generate_series(1, 32) j), i FROM generate_series(1, 12000) i; ANALYZE t",
            )
            .await;
        let project = Project::between(&source.url(), &target.url());
        let text = "version: 1\nsource: source\ntarget: target\n\
                    capture: { mode: cursor, column: rev, overlap: 0 }\ntables: { t: }\n";
        project.pipeline("p", text);
        let one = [
            "pipeline",
            "run",
            "p",
            "--jobs",
            "1",
            "--on-lock",
            "wait=60s",
        ];
        project.syncset(one).await.expect_success();

        source
            .execute("ALTER TABLE t ADD COLUMN c int DEFAULT 1; UPDATE t SET c = -id")
            .await;
        let stop = [("SYNCSET_FAIL_POINT", "unit.committed:2=exit9")];
        let killed = project.spawn_with(one, &stop).wait().await;
        assert_eq!(killed.code, 137, "{killed:#?}");
        let words = one.iter().chain(&["--output", "json"]);
        let report = project.syncset(words).await.expect_success().json();

        let read = report["tables"][0]["rows_read"].as_u64().expect("a count");
        assert!(read < 12_000, "{engine:?}: {read} rows were read again");
        let sql = "SELECT count(*) FROM t WHERE c = -id";
        assert_eq!(target.value(sql).await, "12000", "{engine:?}");
    }
}

/// Names of all fail points below a folder of sources.
fn fail_points(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            fail_points(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
            let calls = text.split("fail_point(\"").skip(1);
            found.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}

/// What begins the names of fail points that a migration may come by.
const PARTS: [&str; 9] = [
    "alter.",
    "chunk.",
    "create.",
    "load.",
    "plan.",
    "selection.",
    "settle.",
    "unit.",
    "window.",
];

#[test]
fn every_fail_point_of_a_migration_is_tried() {
    let mut found = BTreeSet::new();
    for folder in ["runner/src", "connectors"] {
        fail_points(&kit::workspace().join(folder), &mut found);
    }
    found.retain(|point| PARTS.iter().any(|part| point.starts_with(part)));

    let known = points().chain([COMPARED]);
    assert_eq!(found, known.map(str::to_owned).collect());
}
