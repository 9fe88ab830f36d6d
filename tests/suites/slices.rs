//! `pipeline run --where`: some of the selected rows are copied once more, and nothing else changes.

use crate::targets::Target;
use kit::{Database, Output, Project};
use serde_json::Value;

const SOURCE: &str = "CREATE TABLE t (id int PRIMARY KEY, day date NOT NULL, n int NOT NULL,
      name text NOT NULL, updated_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO t SELECT i, date '2025-01-01' + i % 10, i % 5, 'name ' || i
      FROM generate_series(1, 100) i";

const CAPTURE: &str = "{ mode: cursor, column: updated_at, written_by: database }";

struct Lab {
    source: Database,
    target: Target,
    project: Project,
}

impl Lab {
    /// `tables`: lines below `tables:`; `public.t` is loaded if they name it.
    async fn new(target: Target, tables: &str) -> Self {
        let source = kit::postgres().await.database("slice_source").await;
        source.execute(SOURCE).await;
        let project = Project::between(&source.url(), &target.place().url());
        let lab = Self {
            source,
            target,
            project,
        };
        lab.edit(tables);
        lab
    }

    async fn both(settings: &str) -> [Self; 2] {
        let tables = format!("  public.t: {{ {settings} }}\n");
        let labs = [
            Self::new(Target::postgres().await, &tables).await,
            Self::new(Target::sqlite(), &tables).await,
        ];
        for lab in &labs {
            lab.run(&[]).await.expect_success();
        }
        labs
    }

    fn edit(&self, tables: &str) {
        let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n{tables}");
        self.project.pipeline("p", &text);
    }

    async fn run(&self, flags: &[&str]) -> Output {
        let words = ["pipeline", "run", "p", "--on-lock", "wait=170s"];
        self.project.syncset(words.iter().chain(flags)).await
    }

    async fn slice(&self, condition: &str) -> Output {
        self.run(&["--where", condition]).await
    }

    async fn status(&self) -> Value {
        let words = ["pipeline", "status", "p", "--output", "json"];
        self.project.syncset(words).await.json()
    }

    async fn ids(&self, table: &str) -> Vec<String> {
        let rows = self.target.place();
        let rows = rows
            .rows(&format!("SELECT id FROM {table} ORDER BY id"))
            .await;
        rows.into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect()
    }
}

/// Rows that no window sees: their stamps are older than the watermark.
const IMPORTED: &str =
    "INSERT INTO t SELECT i, date '2024-06-01' + i % 2, i % 5, 'imported', '2024-06-01'
      FROM generate_series(1001, 1010) i;
    DELETE FROM t WHERE id = 7";

#[tokio::test]
async fn slice_brings_selected_rows_and_leaves_watermark_and_others_alone() {
    for lab in Lab::both(&format!("capture: {CAPTURE}, where: \"n < 3\"")).await {
        lab.source.execute(IMPORTED).await;
        let before = lab.ids("t").await;
        lab.run(&[]).await.expect_success();
        assert_eq!(lab.ids("t").await, before, "a window saw old stamps");
        let stood = lab.status().await;

        let sliced = lab.slice("day = date '2024-06-01' or id < 20").await;

        let text = sliced.clone().expect_success().stdout;
        assert!(text.contains("slice"), "{text}");
        let brought = ["1002", "1010", "1006"].map(str::to_owned);
        let brought = brought.into_iter().filter(|id| {
            let id: u32 = id.parse().expect("a number");
            id.is_multiple_of(2) && id % 5 < 3
        });
        let mut expected = before.clone();
        expected.extend(brought);
        expected.sort_by_key(|id| id.parse::<u32>().expect("a number"));
        expected.dedup();
        assert_eq!(lab.ids("t").await, expected);
        let stands = lab.status().await;
        assert_eq!(
            stands["tables"][0]["position"],
            stood["tables"][0]["position"]
        );
        assert_eq!(stands["last_success_at"], stood["last_success_at"]);
        assert_eq!(stands["tables"][0]["phase"], "following");
        lab.source
            .execute("UPDATE t SET name = 'later', updated_at = now() WHERE id = 10")
            .await;
        lab.run(&[]).await.expect_success();
        let later = lab.target.place();
        let later = later.rows("SELECT name FROM t WHERE id = 10").await;
        assert_eq!(later[0][0].as_deref(), Some("later"));
    }
}

#[tokio::test]
async fn slice_is_counted_by_a_dry_run_and_told_by_the_report() {
    for lab in Lab::both(&format!("capture: {CAPTURE}, where: \"n < 3\"")).await {
        lab.source.execute(IMPORTED).await;
        let before = lab.ids("t").await;
        let slice = ["--where", "id > 1000", "--output", "json"];

        let dry = lab.run(&[&slice[..], &["--dry-run"]].concat()).await;
        assert_eq!(lab.ids("t").await, before);
        let done = lab.run(&slice).await;

        let (dry, done) = (dry.expect_success().json(), done.expect_success().json());
        for report in [&dry, &done] {
            assert_eq!(report["slice"], true, "{report}");
            assert_eq!(report["tables"][0]["outcome"], "sliced", "{report}");
            assert_eq!(report["tables"][0]["rows_written"], 6, "{report}");
            assert_eq!(report["tables"][0]["rows_deleted"], 0, "{report}");
        }
        assert_eq!(lab.ids("t").await.len(), before.len() + 6);
    }
}

#[tokio::test]
async fn slice_joins_conditions_of_every_kind() {
    for settings in [
        "capture: full",
        "capture: full, where: { source_sql: \"n % 5 < 3\" }",
        "capture: full, where: \"upper(name) <> 'X'\", where_pushdown: best_effort",
    ] {
        for lab in Lab::both(settings).await {
            lab.target.place().execute("DELETE FROM t").await;

            lab.slice("id between 10 and 19").await.expect_success();

            let is_part = settings.contains("source_sql");
            let expected = (10..20).filter(|id| !is_part || id % 5 < 3);
            let expected: Vec<String> = expected.map(|id| id.to_string()).collect();
            assert_eq!(lab.ids("t").await, expected, "{settings}");

            // What the condition drops here is not to be deleted, now or later.
            lab.slice("id between 12 and 13").await.expect_success();
            assert_eq!(lab.ids("t").await, expected, "{settings}");
            let pending = lab.target.state_table("pending_delete");
            let pending = format!("SELECT count(*) FROM {pending}");
            let pending = lab.target.place().rows(&pending).await;
            assert_eq!(pending[0][0].as_deref(), Some("0"), "{settings}");
        }
    }
}

#[tokio::test]
async fn slice_of_tables_without_its_columns_touches_nothing() {
    let tables = "  public.t: { capture: full }\n  public.u: { capture: full }\n";
    let lab = Lab::new(Target::sqlite(), tables).await;
    lab.source
        .execute("CREATE TABLE u (id int PRIMARY KEY)")
        .await;
    lab.run(&[]).await.expect_success();
    lab.target.place().execute("DELETE FROM t").await;

    let refused = lab.slice("n = 1").await.expect_code(2);
    assert!(lab.ids("t").await.is_empty());
    let one = ["--where", "n = 1", "--tables", "public.t"];
    lab.run(&one).await.expect_success();

    for part in ["`public.u`", "`n`", "--where"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert_eq!(lab.ids("t").await.len(), 20);
}

#[tokio::test]
async fn slice_waits_for_a_load_that_is_whole() {
    let lab = Lab::new(Target::sqlite(), "  public.t: { capture: xmin }\n").await;

    let early = lab.slice("id = 1").await.expect_code(1);
    lab.run(&[]).await.expect_success();
    lab.edit("  public.t: { capture: xmin, where: \"n = 1\" }\n");
    let edited = lab.slice("id = 1").await.expect_code(1);

    assert!(early.stderr.contains("never loaded"), "{}", early.stderr);
    assert!(edited.stderr.contains("was edited"), "{}", edited.stderr);
    assert!(
        edited.stderr.contains("pipeline run p"),
        "{}",
        edited.stderr
    );
    assert_eq!(lab.ids("t").await.len(), 100);
}

#[tokio::test]
async fn tables_that_are_not_upserted_take_no_slice() {
    let settings = "  public.t: { capture: full, write: { mode: replace } }\n";
    let lab = Lab::new(Target::sqlite(), settings).await;
    lab.run(&[]).await.expect_success();

    let refused = lab.slice("id = 1").await.expect_code(1);

    assert!(
        refused.stderr.contains("mode: upsert"),
        "{}",
        refused.stderr
    );
    assert_eq!(lab.ids("t").await.len(), 100);
}

#[tokio::test]
async fn conditions_a_source_cannot_answer_alike_are_refused() {
    let lab = Lab::new(Target::sqlite(), "  public.t: { capture: full }\n").await;
    lab.run(&[]).await.expect_success();

    for (condition, part) in [
        ("upper(name) = 'X'", "same meaning"),
        ("day > now()", "`now`"),
        ("id = ", "--where"),
    ] {
        let refused = lab.slice(condition).await.expect_code(2);
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let both = lab.run(&["--where", "id = 1", "--full-refresh"]).await;
    both.expect_code(2);
}
