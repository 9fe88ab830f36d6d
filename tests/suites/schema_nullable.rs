//! Tables of the source whose columns may hold NULL from some time on: the target's may too before
//! the first row that needs it, or as the file says.

use crate::schema_lab::{Lab, all_pairs};
use kit::Engine;

const ROWS: &str = "SELECT id, name, rev FROM t ORDER BY id";

/// PostgreSQL as the source of each kind, and two other sources.
fn pairs() -> impl Iterator<Item = (Engine, Engine)> {
    all_pairs().filter(|(source, target)| match source {
        Engine::Postgres => true,
        Engine::Mysql => *target == Engine::Postgres,
        Engine::Sqlite => *target == Engine::Sqlite,
        Engine::Mariadb => false,
    })
}

impl Lab {
    /// Lets the source's `t` hold no name in one row.
    async fn relax(&self) {
        let sql = match self.source.engine() {
            Engine::Postgres => "ALTER TABLE t ALTER name DROP NOT NULL",
            Engine::Mysql | Engine::Mariadb => "ALTER TABLE t MODIFY name varchar(50) NULL",
            // The usual way there: a table is made anew.
            Engine::Sqlite => {
                "CREATE TABLE n (id int PRIMARY KEY, name varchar(50), rev bigint NOT NULL); \
                 INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t"
            }
        };
        self.at_source(sql).await;
        self.at_source("UPDATE t SET name = NULL, rev = 1001 WHERE id = 1")
            .await;
    }
}

#[tokio::test]
async fn null_arrives_where_the_source_allows_it() {
    for pair in pairs() {
        let lab = Lab::loaded(pair, "").await;

        lab.relax().await;
        let first = lab.run_with(&["--output", "json"]).await;
        let first = first.expect_success().json().to_string();
        lab.is_quiet().await;

        let told = "no NOT NULL any more on column `name`";
        assert!(first.contains(told), "{pair:?}: {first}");
        lab.assert_same(ROWS, 100).await;
        if pair.0 == Engine::Postgres {
            assert!(!first.contains("again"), "{pair:?}: {first}");
            // NULL is refused again, which changes nothing, and then allowed once more.
            lab.at_source(
                "UPDATE t SET name = 'none', rev = 1002 WHERE id = 1; \
                 ALTER TABLE t ALTER name SET NOT NULL",
            )
            .await;
            lab.run().await.expect_success();
            lab.at_source(
                "ALTER TABLE t ALTER name DROP NOT NULL; ALTER TABLE t RENAME name TO label; \
                 ALTER TABLE t ALTER label TYPE varchar(60); \
                 UPDATE t SET label = NULL, rev = 1003 WHERE id = 2; \
                 UPDATE t SET label = repeat('x', 60), rev = 1003 WHERE id = 3",
            )
            .await;
            lab.run().await.expect_success();
            lab.is_quiet().await;
            lab.assert_same("SELECT id, label, rev FROM t ORDER BY id", 100)
                .await;
        }
    }
}

#[tokio::test]
async fn column_with_all_three_changes_at_once_is_altered_once() {
    let targets = Engine::ALL.iter();
    for pair in targets.map(|target| (Engine::Postgres, *target)) {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source(
            "ALTER TABLE t RENAME name TO label; \
             ALTER TABLE t ALTER label DROP NOT NULL, ALTER label TYPE varchar(60); \
             UPDATE t SET label = NULL, rev = 1003 WHERE id = 2; \
             UPDATE t SET label = repeat('x', 60), rev = 1003 WHERE id = 3",
        )
        .await;
        lab.killed_at("alter.committed", &[]).await;
        lab.run().await.expect_success();
        lab.is_quiet().await;

        lab.assert_same("SELECT id, label, rev FROM t ORDER BY id", 100)
            .await;
        assert!(!lab.has_column("t", "name").await, "{pair:?}");
    }
}

#[tokio::test]
async fn null_waits_until_somebody_agreed() {
    for pair in pairs().filter(|pair| pair.0 != Engine::Sqlite) {
        let lab = Lab::loaded(pair, "schema: { nullable_column: approve }").await;
        let stream = lab.stream();

        lab.relax().await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        let stopped = Lab::said(&lab.run().await.expect_code(5));

        let why = "no NOT NULL any more on column `name`";
        assert!(stopped.contains(why), "{pair:?}: {stopped}");
        let hint = format!("syncset schema approve p --tables {stream}");
        assert!(stopped.contains(&hint), "{stopped}");
        assert_eq!(lab.number("SELECT count(name) FROM t").await, 100);
        assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
        lab.edit("schema: { nullable_column: fail }");
        let refused = lab.run_with(&["--approve", stream]).await.expect_code(5);
        let said = Lab::said(&refused);
        assert!(
            said.contains("write `schema: { nullable_column: follow }`"),
            "{said}"
        );
        lab.edit("schema: { nullable_column: approve }");
        lab.killed_at("alter.committed", &["--approve", stream])
            .await;
        // What was agreed to once is not asked about again.
        lab.run().await.expect_success();
        lab.is_quiet().await;
        lab.assert_same(ROWS, 100).await;
    }
}
