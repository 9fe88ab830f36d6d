//! What a person sees who makes a mistake: a sentence, what to do, an exit code, nothing touched.

use kit::{Database, Output, Project};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL, \
     amount numeric(12,2), updated_at timestamptz NOT NULL DEFAULT now(), touched_at timestamptz); \
     CREATE TABLE keyless (a int, b text); \
     CREATE TABLE customers (id int PRIMARY KEY, name text); \
     INSERT INTO orders (id, status) SELECT i, 'new' FROM generate_series(1, 20) i";

/// Two databases with tables to make mistakes with.
struct Lab {
    source: Database,
    target: Database,
}

impl Lab {
    async fn new() -> Self {
        let server = kit::postgres().await;
        let lab = Self {
            source: server.database("mistake_source").await,
            target: server.database("mistake_target").await,
        };
        lab.source.execute(ORDERS).await;
        lab
    }

    fn project(&self, tables: &str) -> Project {
        let project = Project::between(&self.source.url(), &self.target.url());
        let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n{tables}");
        project.pipeline("p", &text);
        project
    }

    async fn run(&self, tables: &str) -> Output {
        self.project(tables).syncset(["pipeline", "run", "p"]).await
    }

    /// A refused run leaves no schema, no table and no state at the target.
    async fn assert_untouched(&self) {
        let count = "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN \
             (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')";
        assert_eq!(self.target.value(count).await, "0");
    }
}

/// Fails unless stderr holds every fragment.
#[track_caller]
fn assert_says(output: &Output, code: i32, fragments: &[&str]) {
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    for fragment in fragments {
        assert!(
            output.stderr.contains(fragment),
            "`{fragment}` is missing in:\n{}",
            output.stderr
        );
    }
}

#[tokio::test]
async fn mistakes_of_a_pipeline_are_refused_before_anything_is_touched() {
    let lab = Lab::new().await;
    let cases: [(&str, &[&str]); 9] = [
        (
            "  public.orders: { colums: [id] }\n",
            &[
                "unknown key `colums` (pipelines/p.yaml:5:20)",
                "did you mean `columns`?",
            ],
        ),
        (
            "  public.order: {}\n",
            &[
                "no table `public.order`",
                "`public.orders`",
                "pipelines/p.yaml:5:3",
            ],
        ),
        (
            "  public.orders: { columns: [id, stat] }\n",
            &["`stat`", "status", "pipelines/p.yaml:5:34"],
        ),
        (
            "  public.keyless: { write: { mode: upsert } }\n",
            &["no primary key", "key:"],
        ),
        (
            "  public.orders: { capture: { mode: cursor, column: touched_at, written_by: database } }\n",
            &["touched_at", "null_cursor"],
        ),
        (
            "  public.orders: { capture: { mode: cursor, column: updated_on, written_by: database } }\n",
            &["updated_on", "updated_at"],
        ),
        (
            "  public.orders: { to: same }\n  public.customers: { to: same }\n",
            &["same", "public.orders"],
        ),
        (
            "  public.orders: { where: \"lower(status) = 'new'\" }\n",
            &["best_effort", "source_sql"],
        ),
        (
            "  public.orders: { transform: [{ plugin: tidy }] }\n",
            &["there is no plugin `tidy`", "syncset.yaml"],
        ),
    ];

    for (tables, fragments) in cases {
        let output = lab.run(tables).await;

        assert_says(&output, 2, fragments);
        assert!(
            output.stderr.contains("hint: "),
            "no hint:\n{}",
            output.stderr
        );
    }
    lab.assert_untouched().await;
}

#[tokio::test]
async fn all_problems_of_a_file_are_reported_at_once() {
    let lab = Lab::new().await;

    let output = lab
        .run("  public.orders: { colums: [id], where: 7 }\n  public.customers: { kye: [id] }\n")
        .await;

    assert_says(&output, 2, &["`colums`", "`where`", "`kye`"]);
}

#[tokio::test]
async fn unset_variable_is_named_with_its_place() {
    let project = Project::new(
        "version: 1\nconnections:\n  a: { type: postgres, url: \"${SYNCSET_NOBODY_SETS_THIS}\" }\n",
    );
    project.pipeline("p", "version: 1\nsource: a\ntarget: a\ntables: { t: {} }\n");

    let output = project.syncset(["pipeline", "validate", "p"]).await;

    assert_says(&output, 2, &["SYNCSET_NOBODY_SETS_THIS", "syncset.yaml:3"]);
}

#[tokio::test]
async fn dotenv_is_read_and_the_environment_wins() {
    let mut project =
        Project::new("version: 1\nconnections:\n  a: { type: sqlite, path: \"${FILE}\" }\n");
    project.file(".env", "FILE=from_dotenv.db\n");
    project
        .sqlite("from_dotenv.db")
        .execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .await;

    let by_dotenv = project.syncset(["connection", "test"]).await;
    project.set("FILE", "from_environment.db");
    let by_environment = project.syncset(["connection", "test"]).await;

    assert!(
        by_dotenv.stdout.contains("from_dotenv.db"),
        "{}",
        by_dotenv.stdout
    );
    assert_says(&by_environment, 2, &["from_environment.db"]);
}

#[tokio::test]
async fn server_that_cannot_be_reached_is_worth_another_try() {
    let lab = Lab::new().await;
    let project = Project::between(&lab.source.url(), "postgres://sync@127.0.0.1:1/nowhere");
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables: { public.orders: {} }\n",
    );

    let output = project.syncset(["pipeline", "run", "p"]).await;

    assert_says(
        &output,
        9,
        &["cannot reach the server", "127.0.0.1:1", "hint: "],
    );
}

#[tokio::test]
async fn foreign_table_with_rows_is_left_alone() {
    let lab = Lab::new().await;
    lab.target
        .execute(
            "CREATE TABLE customers (id int PRIMARY KEY, name text); \
             INSERT INTO customers VALUES (99, 'not ours')",
        )
        .await;

    let output = lab.run("  public.customers: {}\n").await;

    assert_says(
        &output,
        8,
        &["holds rows that syncset did not write", "hint: "],
    );
    assert_eq!(
        lab.target
            .value("SELECT string_agg(name, ',') FROM customers")
            .await,
        "not ours"
    );
}

#[tokio::test]
async fn missing_right_at_the_source_names_the_grant() {
    let lab = Lab::new().await;
    let role = lab.source.role("reader", &["SELECT (id) ON orders"]).await;
    let project = Project::between(&role.url, &lab.target.url());
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables: { public.orders: { columns: [id, status] } }\n",
    );

    let output = project.syncset(["pipeline", "run", "p"]).await;

    assert_says(&output, 1, &["status", "GRANT SELECT"]);
}

#[tokio::test]
async fn edited_selection_with_approve_stops_until_it_is_agreed_to() {
    let lab = Lab::new().await;
    let project = lab.project("  public.orders: { capture: xmin }\n");
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    let edited = "version: 1\nsource: source\ntarget: target\n\
         on_selection_change: approve\ntables:\n  \
         public.orders: { capture: xmin, where: \"id > 10\" }\n";
    project.pipeline("p", edited);

    let refused = project.syncset(["pipeline", "run", "p"]).await;
    let agreed = project
        .syncset(["pipeline", "run", "p", "--full-refresh"])
        .await;

    assert_says(
        &refused,
        5,
        &["selection was edited", "--approve public.orders"],
    );
    agreed.expect_success();
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "10");
}

#[tokio::test]
async fn second_pipeline_cannot_take_a_target_table() {
    let lab = Lab::new().await;
    let project = lab.project("  public.customers: {}\n");
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    let other = "version: 1\nsource: source\ntarget: target\ntables: { public.customers: {} }\n";
    project.pipeline("other", other);

    let output = project.syncset(["pipeline", "run", "other"]).await;

    assert_says(&output, 8, &["belongs to pipeline `default/p`"]);
}
