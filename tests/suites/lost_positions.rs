//! Positions that prove nothing any more: the source was restored. What differs is found by hashes.
//!
//! `SYNCSET_TEST_SEED` says which rows are edited.

use kit::{Database, Output, PostgresServer, Project, compare};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

const ROWS: i64 = 2_000;

const IMAGE: &str = "SELECT id, v, updated_at FROM t";

const CAPTURES: [(&str, &str); 2] = [
    (
        "by_cursor",
        "{ mode: cursor, column: updated_at, written_by: database }",
    ),
    ("by_xmin", "xmin"),
];

const COMPARED: &str = "compared by hashes instead of being loaded again: ";

/// A source that can be restored, and a target that is not.
struct Lab {
    server: PostgresServer,
    source: Database,
    target: Database,
    project: Project,
}

impl Lab {
    /// Two copies that were brought up to a source which then went back to where it began.
    async fn restored() -> Self {
        let server = PostgresServer::start_own("autovacuum = off");
        let source = server.database("lost").await;
        source
            .execute(&format!(
                "CREATE TABLE t (id bigint PRIMARY KEY, v text, \
                 updated_at timestamptz NOT NULL DEFAULT clock_timestamp()); \
                 CREATE INDEX ON t (updated_at); \
                 INSERT INTO t SELECT n, md5(n::text), '2024-01-01' FROM generate_series(1, {ROWS}) n"
            ))
            .await;
        server.save();
        let target = kit::postgres().await.database("lost_target").await;
        let project = Project::between(&source.url(), &target.url());
        for (name, capture) in CAPTURES {
            let text = format!(
                "version: 1\nsource: source\ntarget: target\n\
                 guards: {{ max_delete_percent: 100 }}\ntables:\n  public.t: \
                 {{ to: {name}, capture: {capture} }}\n"
            );
            project.pipeline(name, &text);
        }
        let lab = Self {
            server,
            source,
            target,
            project,
        };
        lab.run_all().await;
        // Each in a transaction of its own, whose number the restored server gives out again.
        for id in 1..=40 {
            let undone = format!(
                "UPDATE t SET v = 'undone', updated_at = clock_timestamp() WHERE id = {id}"
            );
            lab.source.execute(&undone).await;
        }
        let undone = "INSERT INTO t VALUES (9001, 'undone'); DELETE FROM t WHERE id = 50";
        lab.source.execute(undone).await;
        lab.run_all().await;
        lab.server.restore();
        lab
    }

    async fn run(&self, name: &str, more: &[&str]) -> Output {
        let words = ["pipeline", "run", name, "--output", "json"];
        self.project.syncset(words.iter().chain(more)).await
    }

    async fn run_all(&self) {
        for (name, _) in CAPTURES {
            self.run(name, &[]).await.expect_success();
        }
    }

    async fn assert_equal(&self, name: &str) {
        let copied = format!("SELECT id, v, updated_at FROM {name}");
        compare(&self.source, &self.target, IMAGE, &copied)
            .await
            .assert_equal();
    }
}

fn table(output: &Output) -> Value {
    output.json()["tables"][0].clone()
}

/// Edits of rows that no window reaches, in one transaction.
fn edits(random: &mut StdRng) -> String {
    let mut edits = String::from("BEGIN;");
    for _ in 0..60 {
        let id = random.random_range(1..=ROWS);
        edits.push_str(&match random.random_range(0..3) {
            0 => format!("DELETE FROM t WHERE id = {id};"),
            1 => format!("UPDATE t SET v = v || '!' WHERE id = {id};"),
            _ => format!(
                "INSERT INTO t VALUES ({}, 'new', '2024-02-01') ON CONFLICT DO NOTHING;",
                ROWS + id
            ),
        });
    }
    edits + "COMMIT"
}

#[tokio::test]
async fn restored_source_is_caught_up_with_by_hashes() {
    let lab = Lab::restored().await;
    let seed = std::env::var("SYNCSET_TEST_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("SYNCSET_TEST_SEED={seed}");
    lab.source
        .execute(&edits(&mut StdRng::seed_from_u64(seed)))
        .await;

    for (name, _) in CAPTURES {
        let tried = table(&lab.run(name, &["--dry-run"]).await.expect_success());
        let caught_up = table(&lab.run(name, &[]).await.expect_success());
        lab.assert_equal(name).await;
        let quiet = table(&lab.run(name, &[]).await.expect_success());

        let said = caught_up["warnings"].to_string();
        assert!(said.contains(COMPARED), "seed {seed}, {name}: {caught_up}");
        assert!(said.contains("restored"), "{caught_up}");
        assert_eq!(caught_up["compared"]["mode"], "hash", "{caught_up}");
        assert_eq!(caught_up["outcome"], "followed", "{caught_up}");
        let written = caught_up["rows_written"].as_u64().expect("a count");
        // 40 rows and what was deleted come back, 60 at most were edited since.
        assert!((1..=101).contains(&written), "{caught_up}");
        assert!(
            tried["warnings"]
                .to_string()
                .contains("it would be compared by hashes")
        );
        for count in ["rows_written", "rows_deleted"] {
            assert_eq!(tried[count], caught_up[count], "{tried} {caught_up}");
            assert_eq!(quiet[count], 0, "{quiet}");
        }
        assert!(!quiet.to_string().contains("restored"), "{quiet}");
    }
}

#[tokio::test]
async fn changes_during_a_comparison_and_kills_lose_nothing() {
    let lab = Lab::restored().await;
    for (name, _) in CAPTURES {
        let words = [
            "pipeline",
            "run",
            name,
            "--on-lock",
            "wait=30s",
            "--output",
            "json",
        ];
        let old = format!(
            "UPDATE t SET v = 'edited for {name}' WHERE id % 100 = 7; \
             DELETE FROM t WHERE id = (SELECT max(id) FROM t)"
        );
        lab.source.execute(&old).await;
        for point in [
            "catch_up.low_known",
            "catch_up.compared",
            "hash.batch",
            "unit.before_commit",
        ] {
            let action = format!("{point}=exit9");
            let killed = lab
                .project
                .spawn_with(words, &[("SYNCSET_FAIL_POINT", action.as_str())]);
            killed.wait().await.expect_code(137);
        }

        let stop = [("SYNCSET_FAIL_POINT", "catch_up.compared=stop")];
        let frozen = lab.project.spawn_with(words, &stop);
        assert!(frozen.frozen().await);
        let change = "UPDATE t SET v = v || '?', updated_at = clock_timestamp() WHERE id = 11";
        lab.source.execute(change).await;
        frozen.cont();
        let report = frozen.wait().await.expect_success();

        let said = table(&report)["warnings"].to_string();
        assert!(said.contains(COMPARED), "{name}: {said}");
        lab.assert_equal(name).await;
    }
}
