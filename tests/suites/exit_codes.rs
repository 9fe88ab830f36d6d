//! Every exit code of docs/cli.md is what a process ends with, and stands in its document.

use crate::json_documents::assert_documented;
use kit::{Process, Project, SqliteFile, eventually};
use serde_json::Value;
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/cli.md");

const SOURCE: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, word TEXT); INSERT INTO a VALUES (1, 'good'); \
     CREATE TABLE b (id INTEGER PRIMARY KEY, word TEXT); INSERT INTO b VALUES (1, 'good')";

/// The target refuses rows that are bad.
const TARGET: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, word TEXT CHECK (word <> 'bad')); \
     CREATE TABLE b (id INTEGER PRIMARY KEY, word TEXT CHECK (word <> 'bad'))";

const RUN: &str = "pipeline run p";

/// Two tables between two files.
struct Lab {
    project: Project,
    source: SqliteFile,
}

impl Lab {
    async fn new(tables: &str) -> Self {
        let project = Project::new(
            "version: 1\nlease: { expires: 5s }\nconnections:\n  from: { type: sqlite, path: from.db }\n  \
             into: { type: sqlite, path: into.db }\n",
        );
        let source = project.sqlite("from.db");
        source.execute(SOURCE).await;
        project.sqlite("into.db").execute(TARGET).await;
        let lab = Self { project, source };
        lab.pipeline(tables);
        lab
    }

    /// One that has been run.
    async fn copied(tables: &str) -> Self {
        let lab = Self::new(tables).await;
        assert_eq!(lab.ends(RUN).await.0, 0);
        lab
    }

    fn pipeline(&self, tables: &str) {
        let text = format!("version: 1\nsource: from\ntarget: into\n{tables}\n");
        self.project.pipeline("p", &text);
    }

    /// The code a verb ends with, and its document.
    async fn ends(&self, words: &str) -> (i32, Value) {
        let words = words.split(' ').chain(["--output", "json"]);
        let output = self.project.syncset(words).await;
        (output.code, output.json())
    }

    fn start(&self, point: &str) -> Process {
        let words = RUN.split(' ').chain(["--output", "json"]);
        self.project
            .spawn_with(words, &[("SYNCSET_FAIL_POINT", point)])
    }
}

const ONE: &str = "tables: { a: {} }";
const BOTH: &str = "tables: { a: {}, b: {} }";
const CURSOR: &str = "tables: { a: { capture: { mode: cursor, column: id, overlap: 0 } } }";

async fn done() -> (i32, Value) {
    Lab::new(ONE).await.ends(RUN).await
}

async fn failed() -> (i32, Value) {
    let lab = Lab::new(ONE).await;
    lab.source.execute("UPDATE a SET word = 'bad'").await;
    lab.ends(RUN).await
}

async fn wrong() -> (i32, Value) {
    Lab::new("tables: { c: {} }").await.ends(RUN).await
}

async fn some_failed() -> (i32, Value) {
    let lab = Lab::new(BOTH).await;
    lab.source.execute("UPDATE a SET word = 'bad'").await;
    lab.ends(RUN).await
}

async fn stale() -> (i32, Value) {
    let lab = Lab::new(ONE).await;
    lab.ends("pipeline status p --max-age 1h").await
}

async fn work_to_do() -> (i32, Value) {
    let lab = Lab::new(CURSOR).await;
    lab.ends("pipeline plan p --detailed-exitcode").await
}

async fn edited() -> (i32, Value) {
    let lab = Lab::copied(ONE).await;
    lab.pipeline("on_selection_change: approve\ntables: { a: { columns: [id] } }");
    lab.ends(RUN).await
}

async fn locked() -> (i32, Value) {
    let lab = Lab::new(CURSOR).await;
    let holder = lab.start("load.begun=stop");
    assert!(holder.frozen().await);
    lab.ends(RUN).await
}

async fn guarded() -> (i32, Value) {
    let lab = Lab::copied(ONE).await;
    lab.source.execute("DELETE FROM a").await;
    lab.ends(RUN).await
}

async fn out_of_time() -> (i32, Value) {
    let lab = Lab::new(CURSOR).await;
    lab.ends("pipeline run p --max-duration 1ns").await
}

async fn signalled(signal: fn(&Process)) -> (i32, Value) {
    let lab = Lab::new(&format!(
        "hooks: {{ before: [ {{ command: \"echo begun > begun; exec sleep 100\", timeout: 5m }} ] }}\n{ONE}"
    ))
    .await;
    let run = lab.start("none=stop");
    let begun = lab.project.path().join("begun");
    eventually("the hook has begun", async || begun.exists()).await;
    signal(&run);
    let output = run.wait().await;
    (output.code, output.json())
}

/// Codes of the page's table.
fn documented() -> Vec<i32> {
    let (_, table) = PAGE.split_once("## Exit codes").expect("it has a chapter");
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| code"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','))
        .map(|code| code.trim().parse().expect("a code is a number"))
        .collect()
}

#[tokio::test]
async fn every_documented_exit_code_is_reached() {
    let mut reached: BTreeMap<i32, Vec<Value>> = BTreeMap::new();
    for (wanted, (code, document)) in [
        (0, done().await),
        (1, failed().await),
        (2, wrong().await),
        (3, some_failed().await),
        (4, stale().await),
        (4, work_to_do().await),
        (5, edited().await),
        (7, locked().await),
        (8, guarded().await),
        (9, out_of_time().await),
        (130, signalled(Process::interrupt).await),
        (143, signalled(Process::terminate).await),
    ] {
        assert_eq!(code, wanted, "{document}");
        assert_eq!(document["exit_code"], code, "{document}");
        assert_documented(&document);
        reached.entry(code).or_default().push(document);
    }

    assert_eq!(reached.keys().copied().collect::<Vec<_>>(), documented());
    // A code that says that something is wrong says what.
    for document in reached.range(1..).flat_map(|(_, documents)| documents) {
        let says = |value: &Value| value["failure"].is_object();
        let tables = document["tables"].as_array();
        let is_told = document["failures"]
            .as_array()
            .is_some_and(|it| !it.is_empty())
            || tables.is_some_and(|it| it.iter().any(says))
            || document["exit_code"] == 4;
        assert!(is_told, "{document}");
    }
}
