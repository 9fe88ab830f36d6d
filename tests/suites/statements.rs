//! What reaches the source, proven by its own statement log.

use kit::{Database, Project, Role};
use std::collections::BTreeSet;

/// Columns and tables that no statement may name.
const FORBIDDEN: [&str; 4] = ["ssn", "internal_note", "salary", "vault"];

struct Lab {
    source: Database,
    target: Database,
    role: Role,
}

impl Lab {
    async fn new() -> Self {
        let server = kit::own_postgres().await;
        let source = server.database("statements").await;
        source
            .execute(
                "CREATE TABLE customer (
                   id bigint PRIMARY KEY, name text, country text, ssn text, internal_note text,
                   updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
                 CREATE INDEX ON customer (updated_at);
                 CREATE TABLE payslip (
                   id bigint PRIMARY KEY, month date, salary numeric,
                   updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
                 CREATE TABLE vault (id bigint PRIMARY KEY, combination text);
                 INSERT INTO customer
                   SELECT n, 'name ' || n, (ARRAY['DE', 'FR', 'US'])[1 + n % 3], 'ssn', 'note'
                   FROM generate_series(1, 300) n;
                 INSERT INTO payslip SELECT n, '2024-01-01', n FROM generate_series(1, 10) n;
                 INSERT INTO vault VALUES (1, 'secret')",
            )
            .await;
        // The rights of the documentation and no more: a statement that named another column
        // would be refused, even if the log were not read.
        let grants = [
            "SELECT (id, name, country, updated_at, xmin, tableoid) ON customer",
            "SELECT (id, month, updated_at, xmin, tableoid) ON payslip",
        ];
        let role = source.role("sync", &[]).await;
        for grant in grants {
            source
                .execute(&format!("GRANT {grant} TO \"{}\"", role.name))
                .await;
        }
        source
            .execute(&format!("GRANT pg_read_all_stats TO \"{}\"", role.name))
            .await;
        source.log_statements().await;
        Self {
            source,
            target: server.database("statements_target").await,
            role,
        }
    }

    fn project(&self, capture: &str, condition: &str) -> Project {
        let project = Project::between(&self.role.url, &self.target.url());
        project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\ndefaults: {{ capture: {capture} }}\n\
                 tables:\n  public.customer:\n    columns: [id, name]\n    where: {condition}\n  \
                 public.payslip:\n    columns: {{ exclude: [salary] }}\n"
            ),
        );
        project
    }

    /// Texts that the sync role has sent.
    async fn seen(&self) -> Vec<String> {
        kit::own_postgres()
            .await
            .statement_log(&self.source)
            .into_iter()
            .filter(|statement| statement.user == self.role.name)
            .map(|statement| statement.text)
            .collect()
    }

    async fn assert_only_selected_columns_were_named(&self) {
        let seen = self.seen().await;
        let reads = |statement: &&String| statement.contains("COPY") || names(statement, "name");
        assert!(seen.iter().any(|statement| reads(&statement)), "{seen:#?}");
        for statement in &seen {
            for forbidden in FORBIDDEN {
                assert!(!names(statement, forbidden), "{forbidden}: {statement}");
            }
        }
    }
}

/// True if the identifier stands in the statement as a word of its own.
fn names(statement: &str, identifier: &str) -> bool {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    let words: BTreeSet<&str> = statement
        .split(|character| !part_of_word(character))
        .collect();
    words.contains(identifier)
}

async fn only_selected_columns_are_named(capture: &str, condition: &str) {
    let lab = Lab::new().await;
    let project = lab.project(capture, condition);
    let run = ["pipeline", "run", "p"];

    project
        .syncset(["pipeline", "validate", "p"])
        .await
        .expect_success();
    project
        .syncset(["pipeline", "plan", "p"])
        .await
        .expect_success();
    project.syncset(run).await.expect_success();
    lab.source
        .execute(
            "UPDATE customer SET name = 'new', updated_at = clock_timestamp() WHERE id <= 30;
             UPDATE customer SET country = 'US', updated_at = clock_timestamp() WHERE id = 31",
        )
        .await;
    project.syncset(run).await.expect_success();
    project.syncset(run).await.expect_success();

    lab.assert_only_selected_columns_were_named().await;
    kit::compare(
        &lab.source,
        &lab.target,
        "SELECT id, name FROM customer WHERE country IN ('DE', 'FR')",
        "SELECT * FROM customer",
    )
    .await
    .assert_equal();
}

#[tokio::test]
async fn cursor_names_only_selected_columns() {
    let capture = "{ mode: cursor, column: updated_at, written_by: database }";
    only_selected_columns_are_named(capture, "\"country in ('DE', 'FR')\"").await;
}

#[tokio::test]
async fn xmin_names_only_selected_columns() {
    only_selected_columns_are_named("xmin", "\"country in ('DE', 'FR')\"").await;
}

#[tokio::test]
async fn full_names_only_selected_columns() {
    only_selected_columns_are_named("full", "\"country in ('DE', 'FR')\"").await;
}

#[tokio::test]
async fn source_sql_arrives_as_it_was_written() {
    let condition = "{ source_sql: \"country ~ '^(DE|FR)$'\" }";
    only_selected_columns_are_named("full", condition).await;
}

#[tokio::test]
async fn plan_and_validation_read_no_row() {
    let lab = Lab::new().await;
    let project = lab.project("full", "\"country in ('DE', 'FR')\"");

    project
        .syncset(["pipeline", "plan", "p"])
        .await
        .expect_success();

    for statement in lab.seen().await {
        assert!(!statement.contains("COPY"), "{statement}");
    }
    assert_eq!(
        lab.target
            .value("SELECT count(*) FROM pg_namespace WHERE nspname = '_syncset'")
            .await,
        "0",
        "a plan changes nothing"
    );
}

#[tokio::test]
async fn sessions_of_the_source_are_read_only_and_named() {
    let lab = Lab::new().await;
    let project = lab.project("full", "\"country in ('DE', 'FR')\"");

    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();

    let log = kit::own_postgres().await.statement_log(&lab.source);
    let ours: Vec<_> = log
        .iter()
        .filter(|entry| entry.user == lab.role.name)
        .collect();
    assert!(!ours.is_empty());
    for entry in ours {
        let name = &entry.application;
        assert!(
            name.starts_with("syncset:") && name.ends_with("default/p"),
            "{name}: {}",
            entry.text
        );
        for verb in ["INSERT", "UPDATE", "DELETE", "CREATE", "TRUNCATE"] {
            assert!(!entry.text.starts_with(verb), "{}", entry.text);
        }
    }
}

#[tokio::test]
async fn large_table_without_a_cursor_is_scanned_once_a_run() {
    let server = kit::postgres().await;
    let (source, target) = (
        server.database("scans").await,
        server.database("scans_target").await,
    );
    source
        .execute(
            "CREATE TABLE large (id int PRIMARY KEY, note text); \
             ALTER TABLE large ALTER note SET STORAGE PLAIN; \
             INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i; \
             CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1)",
        )
        .await;
    let project = Project::between(&source.url(), &target.url());
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ndefaults: { capture: xmin }\n\
         tables: { public.large: {}, public.small: {} }\n",
    );
    let run = ["pipeline", "run", "p", "--output", "json"];
    project.syncset(run).await.expect_success();
    source
        .execute("UPDATE large SET note = 'new' WHERE id = 7")
        .await;
    source.log_statements().await;

    let changed = project.syncset(run).await.expect_success();
    let idle = project.syncset(run).await.expect_success();

    let seen = server.statements_seen(&source);
    let asks = |table: &str| {
        let asked = format!("EXISTS (SELECT FROM \"public\".\"{table}\"");
        seen.iter().filter(|text| text.contains(&asked)).count()
    };
    assert_eq!((asks("large"), asks("small")), (0, 2), "{seen:#?}");
    assert_eq!(changed.json()["tables"][0]["rows_written"], 1);
    let outcome = |index: usize| idle.json()["tables"][index]["outcome"].clone();
    assert_eq!(
        (outcome(0), outcome(1)),
        ("unchanged".into(), "unchanged".into())
    );
}

#[tokio::test]
async fn source_that_would_write_when_it_is_read_is_refused() {
    let server = kit::postgres().await;
    let (source, target) = (
        server.database("writing_source").await,
        server.database("writing_target").await,
    );
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
             CREATE TABLE trace (id int);
             CREATE FUNCTION traced(id int) RETURNS int LANGUAGE sql AS
               'INSERT INTO trace VALUES (id) RETURNING id';
             CREATE VIEW v AS SELECT id, traced(id) AS traced FROM t",
        )
        .await;
    let project = Project::between(&source.url(), &target.url());
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  public.v: { key: [id] }\n",
    );

    let refused = project.syncset(["pipeline", "run", "p"]).await;

    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("read-only"), "{}", refused.stderr);
    assert_eq!(source.value("SELECT count(*) FROM trace").await, "0");
}
