//! `rejected list | retry | discard` and `pipeline adopt`, with state in either kind of target.

use kit::{Database, Output, Project, SqliteFile};
use serde_json::{Value, json};

const SOURCE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, seq INTEGER NOT NULL); \
     INSERT INTO orders VALUES (1, 'new', 100), (2, 'bad', 200), (3, 'bad', 300), (4, 'new', 400)";

const TARGET: &str =
    "CREATE TABLE orders (id bigint PRIMARY KEY, status text CHECK (status <> 'bad'), seq bigint)";

/// A target of either kind.
enum Target {
    Postgres(Database),
    Sqlite(SqliteFile),
}

impl Target {
    async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => database.execute(sql).await,
            Self::Sqlite(file) => file.execute(sql).await,
        }
    }

    async fn value(&self, sql: &str) -> String {
        match self {
            Self::Postgres(database) => database.value(sql).await,
            Self::Sqlite(file) => file.value(sql).await,
        }
    }

    /// Name of a table of the state.
    fn state(&self, table: &str) -> String {
        match self {
            Self::Postgres(_) => format!("_syncset.{table}"),
            Self::Sqlite(_) => format!("_syncset_{table}"),
        }
    }
}

/// Two rows of four wait as rejected.
struct Lab {
    project: Project,
    source: SqliteFile,
    target: Target,
}

fn pipeline(rejects: &str) -> String {
    format!(
        "version: 1\nsource: source\ntarget: target\nrejects: {{ {rejects} }}\ntables:\n  \
         orders: {{ capture: {{ mode: cursor, column: seq, overlap: 1, null_cursor: ignore }} }}\n"
    )
}

impl Lab {
    async fn both() -> [Self; 2] {
        let server = kit::postgres().await;
        let database = server.database("rejected_verbs").await;
        let url = database.url();
        [
            Self::with(Target::Postgres(database), Some(url)).await,
            Self::with(Target::Sqlite(SqliteFile::new("")), None).await,
        ]
    }

    async fn with(target: Target, url: Option<String>) -> Self {
        let to = match &url {
            Some(url) => format!("{{ type: postgres, url: \"{url}\" }}"),
            None => "{ type: sqlite, path: target.db }".to_owned(),
        };
        let project = Project::new(&format!(
            "version: 1\nproject: shop\nlease: {{ expires: 5s }}\nconnections:\n  \
             source: {{ type: sqlite, path: source.db }}\n  target: {to}\n"
        ));
        let target = match target {
            Target::Sqlite(_) => Target::Sqlite(project.sqlite("target.db")),
            other => other,
        };
        let source = project.sqlite("source.db");
        source.execute(SOURCE).await;
        target.execute(TARGET).await;
        project.pipeline("p", &pipeline("max_rows: 5"));
        let lab = Self {
            project,
            source,
            target,
        };
        lab.run("pipeline run p").await.expect_success();
        lab
    }

    async fn run(&self, words: &str) -> Output {
        self.project.syncset(words.split(' ')).await
    }

    async fn json(&self, words: &str) -> (i32, Value) {
        let output = self.run(&format!("{words} --output json")).await;
        (output.code, output.json())
    }

    async fn count(&self, table: &str) -> String {
        self.target
            .value(&format!("SELECT count(*) FROM {table}"))
            .await
    }
}

#[tokio::test]
async fn rejected_rows_are_listed_with_reason_age_and_attempts() {
    for lab in Lab::both().await {
        let (_, before) = lab.json("rejected list p").await;
        lab.run("pipeline run p").await.expect_success();

        let (_, list) = lab.json("rejected list p").await;
        let (_, with_rows) = lab.json("rejected list --rows").await;

        let rows = list["rejected"].as_array().unwrap();
        let keys: Vec<_> = rows.iter().map(|row| &row["key"]).collect();
        assert_eq!(keys, [&json!(["2"]), &json!(["3"])]);
        let first = &before["rejected"][0];
        assert!(rows[0]["attempts"].as_u64() > first["attempts"].as_u64());
        assert!(rows[0]["since"].as_str().unwrap().ends_with('Z'));
        assert_eq!(rows[0]["since"], first["since"]);
        assert_eq!(rows[0].get("row"), None);
        assert_eq!(
            with_rows["pipelines"][0]["rejected"][1]["row"]["seq"],
            "300"
        );
    }
}

#[tokio::test]
async fn retry_writes_what_was_mended_and_nothing_else() {
    for lab in Lab::both().await {
        // Without the cursor nothing but the retry sees it; the new row is for the next run.
        lab.source
            .execute("UPDATE orders SET status = 'mended' WHERE id = 3; INSERT INTO orders VALUES (5, 'new', 500)")
            .await;

        let (code, retried) = lab.json("rejected retry p").await;
        let (_, list) = lab.json("rejected list p").await;
        let (_, history) = lab.json("pipeline history p").await;

        let table = json!({ "table": "orders", "tried": 2, "rows_written": 1, "rejected": 1 });
        assert_eq!((code, &retried["tables"]), (0, &json!([table])));
        let mended = "SELECT status FROM orders WHERE id = 3";
        assert_eq!(lab.target.value(mended).await, "mended");
        assert_eq!(lab.count("orders").await, "3");
        assert_eq!(list["rejected"].as_array().unwrap().len(), 1);
        assert_eq!(list["rejected"][0]["key"], json!(["2"]));
        // It says nothing about how fresh the target is, so it is no run.
        assert_eq!(history["runs"].as_array().unwrap().len(), 1);
        let (_, run) = lab.json("pipeline run p").await;
        assert_eq!(run["tables"][0]["rows_written"], 1);
    }
}

#[tokio::test]
async fn retry_forgets_rows_that_are_gone_from_the_source() {
    for lab in Lab::both().await {
        lab.source.execute("DELETE FROM orders WHERE id < 4").await;

        let (_, retried) = lab.json("rejected retry p").await;

        let table = json!({ "table": "orders", "tried": 2, "rows_written": 0, "rejected": 0 });
        assert_eq!(retried["tables"], json!([table]));
        assert_eq!(lab.count(&lab.target.state("rejected")).await, "0");
    }
}

#[tokio::test]
async fn retry_waits_for_nobody_and_a_run_keeps_it_out() {
    for lab in Lab::both().await {
        lab.source
            .execute("INSERT INTO orders VALUES (5, 'new', 500)")
            .await;
        let stop = [("SYNCSET_FAIL_POINT", "unit.before_commit=stop")];
        let run = lab.project.spawn_with(["pipeline", "run", "p"], &stop);
        assert!(run.frozen().await);

        let retried = lab.run("rejected retry p").await;
        let discarded = lab.run("rejected discard p --all").await;
        run.kill9();

        assert_eq!((retried.code, discarded.code), (7, 7), "{}", retried.stderr);
    }
}

#[tokio::test]
async fn discarded_rows_are_forgotten_by_key_table_or_all() {
    for lab in Lab::both().await {
        let unclear = lab.run("rejected discard p").await;
        let no_table = lab.run("rejected discard p --tables orderz").await;
        let no_key = lab.run("rejected discard p --key 99").await;
        let (code, one) = lab.json("rejected discard p --key 2").await;
        let run = lab.run("pipeline run p").await;
        let (_, rest) = lab.json("rejected discard p --tables orders").await;
        let none = lab.run("rejected discard p --all").await;

        assert_eq!(
            (unclear.code, no_table.code, no_key.code, code),
            (2, 2, 2, 0)
        );
        assert_eq!(
            one["discarded"],
            json!([{ "table": "orders", "key": ["2"] }])
        );
        assert!(
            run.stderr.contains("1 rejected row waits"),
            "{}",
            run.stderr
        );
        assert_eq!(
            rest["discarded"],
            json!([{ "table": "orders", "key": ["3"] }])
        );
        assert!(
            none.stdout.contains("no rejected row waits"),
            "{}",
            none.stdout
        );
        assert_eq!(lab.count("orders").await, "2");
    }
}

#[tokio::test]
async fn rejected_rows_make_a_run_exit_with_three_where_that_is_asked_for() {
    for lab in Lab::both().await {
        lab.project.pipeline("p", &pipeline("max_rows: 5, exit: 3"));

        let waiting = lab.run("pipeline run p").await;
        let (_, history) = lab.json("pipeline history p --limit 1").await;
        lab.source
            .execute("UPDATE orders SET status = 'mended'")
            .await;
        let mended = lab.run("pipeline run p").await;

        assert_eq!((waiting.code, mended.code), (3, 0), "{}", waiting.stderr);
        assert!(
            waiting.stderr.contains("2 rejected rows wait"),
            "{}",
            waiting.stderr
        );
        assert_eq!(history["runs"][0]["exit_code"], 3);
        assert_eq!(
            mended.stderr.matches("warning").count(),
            0,
            "{}",
            mended.stderr
        );
    }
}

#[tokio::test]
async fn renamed_pipeline_goes_on_where_the_old_one_stood() {
    for lab in Lab::both().await {
        let file = lab.project.path().join("pipelines");
        std::fs::rename(file.join("p.yaml"), file.join("renamed.yaml")).unwrap();

        let refused = lab.run("pipeline run renamed").await;
        let planned = lab.run("pipeline plan renamed").await;
        let adopted = lab.run("pipeline adopt p renamed").await;
        lab.source
            .execute("INSERT INTO orders VALUES (5, 'new', 500)")
            .await;
        let (code, run) = lab.json("pipeline run renamed").await;

        let hint = "`syncset pipeline adopt p renamed`";
        assert_eq!((refused.code, planned.code), (8, 8));
        assert!(refused.stderr.contains(hint), "{}", refused.stderr);
        assert!(planned.stderr.contains(hint), "{}", planned.stderr);
        adopted.expect_success();
        assert_eq!((code, &run["tables"][0]["rows_written"]), (0, &json!(1)));
        assert_eq!(run["tables"][0]["outcome"], "followed");
        // Nothing is left under the old name but what keeps its former runs out.
        for table in ["watermark", "rejected", "run"] {
            let old = format!("{} WHERE pipeline = 'p'", lab.target.state(table));
            assert_eq!(lab.count(&old).await, "0", "{table}");
        }
        let (_, history) = lab.json("pipeline history renamed").await;
        assert_eq!(history["runs"].as_array().unwrap().len(), 3);
        let (_, rejected) = lab.json("rejected list renamed").await;
        assert_eq!(rejected["rejected"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn adoption_moves_a_project_and_never_mixes_two_states() {
    for lab in Lab::both().await {
        let config = std::fs::read_to_string(lab.project.path().join("syncset.yaml")).unwrap();
        let moved = Project::new(&config.replace("project: shop", "project: store").replace(
            "path: ",
            &format!("path: {}/", lab.project.path().display()),
        ));
        moved.pipeline("p", &pipeline("max_rows: 5"));
        let run = |words: &'static str| moved.syncset(words.split(' '));

        let refused = run("pipeline run p").await;
        let unknown = run("pipeline adopt q p").await;
        let itself = run("pipeline adopt p p").await;
        let adopted = run("pipeline adopt p p --project-from shop").await;
        let after = run("pipeline run p").await;
        // The old folder loads again what it no longer owns, but into nothing of the others.
        let old = lab.run("pipeline run p").await;
        let back = lab.run("pipeline adopt p p --project-from shop").await;
        let still_there = lab.run("pipeline adopt p p --project-from store").await;

        assert_eq!(refused.code, 8);
        let hint = "`syncset pipeline adopt p p --project-from shop`";
        assert!(refused.stderr.contains(hint), "{}", refused.stderr);
        assert_eq!((unknown.code, itself.code), (2, 2));
        assert!(unknown.stderr.contains("`shop/p`"), "{}", unknown.stderr);
        adopted.expect_success();
        after.expect_success();
        assert_eq!((old.code, back.code), (8, 2), "{}", old.stderr);
        // It has no state of its own now, so it may take it back.
        assert_eq!(still_there.code, 0, "{}", still_there.stderr);
    }
}

#[tokio::test]
async fn adoption_is_refused_where_both_names_live() {
    for lab in Lab::both().await {
        lab.project
            .pipeline("q", &pipeline("max_rows: 5").replace("orders:", "other:"));
        lab.source
            .execute("CREATE TABLE other (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL)")
            .await;
        lab.run("pipeline run q").await.expect_success();

        let has_file = lab.run("pipeline adopt p q").await;
        std::fs::remove_file(lab.project.path().join("pipelines/p.yaml")).unwrap();
        let has_state = lab.run("pipeline adopt p q").await;

        assert_eq!((has_file.code, has_state.code), (2, 8));
        assert!(
            has_file.stderr.contains("still has its file"),
            "{}",
            has_file.stderr
        );
        assert!(
            has_state.stderr.contains("state of its own: `other`"),
            "{}",
            has_state.stderr
        );
        let owners = format!("{} WHERE pipeline = 'p'", lab.target.state("watermark"));
        assert_eq!(lab.count(&owners).await, "1");
    }
}

#[tokio::test]
async fn shells_and_man_get_every_verb() {
    let project = Project::new("version: 1\n");
    let scripts = [
        project.syncset(["completions", "bash"]).await,
        project.syncset(["completions", "zsh"]).await,
        project.syncset(["completions", "fish"]).await,
    ];
    let pages = project
        .syncset(["man", "--dir", "man", "--output", "json"])
        .await;
    project.file("taken", "");
    let taken = project.syncset(["man", "--dir", "taken"]).await;

    for script in scripts {
        let script = script.expect_success().stdout;
        for word in ["pipeline", "adopt", "skip-exit-code", "rejected"] {
            assert!(script.contains(word), "{word} is missing in {script}");
        }
    }
    let pages = pages.expect_success().json();
    let names: Vec<&str> = pages["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert!(names.contains(&"syncset-pipeline-run.1"), "{names:?}");
    let page = project.path().join("man/syncset-pipeline-run.1");
    assert!(
        std::fs::read_to_string(page)
            .unwrap()
            .contains("skip\\-exit\\-code")
    );
    assert_eq!(taken.code, 1, "{}", taken.stderr);
}
