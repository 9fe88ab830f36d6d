//! `write: { mode: append }` from an SQLite source, whose bound is its largest cursor.

use crate::targets::Target;
use kit::{Project, SqliteFile};

const RUN: [&str; 7] = [
    "pipeline",
    "run",
    "p",
    "--output",
    "json",
    "--on-lock",
    "wait=170s",
];

const BY_TIME: &str = "{ mode: cursor, column: at, overlap: 10s, zone: UTC }";
const BY_NUMBER: &str = "{ mode: cursor, column: n, overlap: 10 }";

struct Lab {
    source: SqliteFile,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new(target: Target, capture: &str) -> Self {
        let project = Project::between("sqlite:source.db", &target.place().url());
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  \
             e: {{ to: e, write: {{ mode: append }}, capture: {capture} }}\n"
        );
        project.pipeline("p", &text);
        let source = project.sqlite("source.db");
        source
            .execute(
                "CREATE TABLE e (id INTEGER PRIMARY KEY, v TEXT, n INTEGER NOT NULL, at DATETIME NOT NULL)",
            )
            .await;
        Self {
            source,
            target,
            project,
        }
    }

    /// Rows of these seconds, whose texts do not sort as the instants they stand for.
    async fn insert(&self, from: u32, to: u32) {
        let at = "datetime('2026-01-01', '+' || s || ' seconds')";
        let sql = format!(
            "WITH RECURSIVE n(s) AS (SELECT {from} UNION ALL SELECT s + 1 FROM n WHERE s < {to}) \
             INSERT INTO e SELECT s, 'v' || s, s, \
             CASE s % 2 WHEN 0 THEN {at} ELSE replace({at}, ' ', 'T') || '.250' END FROM n"
        );
        self.source.execute(&sql).await;
    }

    /// A run that is killed before it commits, and one that is not.
    async fn run(&self) {
        let action = [("SYNCSET_FAIL_POINT", "unit.before_commit=exit9")];
        self.project.spawn_with(RUN, &action).wait().await;
        self.project.syncset(RUN).await.expect_success();
    }

    /// The target holds each row below this second once, and `more`.
    async fn assert_below(&self, second: u32, more: &str) {
        let expected = format!("SELECT id, v FROM e WHERE n < {second}{more}");
        let found = "SELECT id, v FROM e";
        kit::assert_same_bag(&self.source, self.target.place(), &expected, found).await;
    }
}

#[tokio::test]
async fn rows_of_a_sqlite_source_are_appended_once_behind_the_overlap() {
    for target in [Target::postgres().await, Target::sqlite()] {
        for capture in [BY_TIME, BY_NUMBER] {
            let lab = Lab::new(target.another().await, capture).await;
            lab.insert(0, 59).await;
            lab.run().await;
            lab.assert_below(49, "").await;

            // One of them comes late, but within the overlap.
            lab.insert(60, 89).await;
            let late = "INSERT INTO e VALUES (1000, 'late', 50, '2026-01-01 00:00:50')";
            lab.source.execute(late).await;
            lab.run().await;
            lab.assert_below(79, "").await;
            lab.project.syncset(RUN).await.expect_success();
            lab.assert_below(79, "").await;

            // A changed row is another version; the one that was appended stays.
            lab.insert(90, 119).await;
            let change =
                "UPDATE e SET v = 'changed', n = 95, at = '2026-01-01 00:01:35' WHERE id = 5";
            lab.source.execute(change).await;
            lab.run().await;
            lab.assert_below(109, " UNION ALL SELECT 5, 'v5'").await;
        }
    }
}
