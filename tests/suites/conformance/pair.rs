//! Two stores of any engines, and runs of the binary between them.

use kit::{AnyDatabase, Engine, Output, Project, SampleTable, TextRow};
use serde_json::Value;

/// What a killed run exits with.
pub(crate) const KILLED: i32 = 128 + 9;

/// A source, a target and a project with the pipeline `p` between them.
pub(crate) struct Pair {
    pub(crate) source: AnyDatabase,
    pub(crate) target: AnyDatabase,
    pub(crate) project: Project,
}

impl Pair {
    /// Two empty databases.
    pub(crate) async fn new(from: Engine, to: Engine) -> Self {
        let source = from.database("pair_source").await;
        let target = to.database("pair_target").await;
        let project = Project::between(&source.url(), &target.url());
        if let AnyDatabase::Sqlite(file, _) = &target {
            // A file that is missing is a target too, but only for runs.
            file.execute("PRAGMA user_version = 1").await;
        }
        Self {
            source,
            target,
            project,
        }
    }

    /// Writes the pipeline; `tables` is what stands under `tables:`, indented by two spaces, and
    /// may be followed by other keys of the pipeline.
    pub(crate) fn pipeline(&self, tables: &str) {
        let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n{tables}\n");
        self.project.pipeline("p", &text);
    }

    /// `capture:` by a column of the kind `Stamp`.
    pub(crate) fn capture_by(&self, column: &str) -> String {
        self.source.engine().capture_by(column)
    }

    /// The binary with these words and `--output json`.
    pub(crate) async fn syncset(&self, words: &str) -> Output {
        let words = words.split(' ').chain(["--output", "json"]);
        self.project.syncset(words).await
    }

    /// What the binary says to these words when it succeeds.
    pub(crate) async fn told(&self, words: &str) -> Value {
        self.syncset(words).await.expect_success().json()
    }

    /// A run that succeeds, which waits for the sessions of one that was killed; rows written and
    /// deleted.
    pub(crate) async fn run(&self) -> (u64, u64) {
        changes(&self.told(RUN).await)
    }

    /// A run that is killed at a fail point.
    pub(crate) async fn killed_at(&self, point: &str) {
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let words = RUN.split(' ').collect::<Vec<_>>();
        let killed = self.project.spawn_with(words, &variables).wait().await;
        assert_eq!(
            killed.code, KILLED,
            "the run never came to {point}: {}{}",
            killed.stdout, killed.stderr
        );
    }

    /// The target's table holds exactly these rows.
    #[track_caller]
    pub(crate) fn holds(
        &self,
        table: &SampleTable,
        rows: &[TextRow],
    ) -> impl Future<Output = ()> + use<'_> {
        let caller = std::panic::Location::caller();
        let table = table.clone();
        let expected = kit::sorted(rows.to_vec());
        async move {
            let found = self.target.content(&table).await;
            assert!(
                found == expected,
                "`{}` at {caller}: {}",
                table.name(),
                kit::Comparison::of(expected, found, 1)
            );
        }
    }
}

/// A run that goes on after one that was killed: it waits for what lingers of its sessions.
pub(crate) const RUN: &str = "pipeline run p --jobs 2 --memory 4MiB --on-lock wait=60s";

/// Rows written and deleted, over all tables of a report.
pub(crate) fn changes(report: &Value) -> (u64, u64) {
    let tables = report["tables"].as_array().expect("a report has tables");
    let sum = |key: &str| tables.iter().map(|it| it[key].as_u64().unwrap_or(0)).sum();
    (sum("rows_written"), sum("rows_deleted"))
}
