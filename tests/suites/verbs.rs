//! What the verbs around `pipeline run` say and do, between SQLite files.

use kit::{Output, Project};
use serde_json::Value;

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT NOT NULL); \
     INSERT INTO orders VALUES (1, 'new'), (2, 'paid'); \
     CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT); \
     INSERT INTO customers VALUES (1, 'Ann')";

const CONFIG: &str = "version: 1\nproject: shop\nlease: { expires: 5s }\nconnections:\n  \
     shop: { type: sqlite, path: shop.db }\n  copy: { type: sqlite, path: copy.db }\n  \
     other: { type: sqlite, path: other.db }\n";

/// A project with the pipelines `orders` and `customers`, which has never run.
async fn shop() -> Project {
    let project = Project::new(CONFIG);
    project.sqlite("shop.db").execute(ORDERS).await;
    project
        .sqlite("copy.db")
        .execute("PRAGMA user_version = 1")
        .await;
    project
        .sqlite("other.db")
        .execute("PRAGMA user_version = 1")
        .await;
    project.pipeline("orders", &pipeline("copy", "hourly", "orders: {}"));
    project.pipeline(
        "customers",
        &pipeline("other", "daily", "customers: {}\n  \"o*\": skip"),
    );
    project
}

fn pipeline(target: &str, tag: &str, tables: &str) -> String {
    format!("version: 1\nsource: shop\ntarget: {target}\ntags: [{tag}]\ntables:\n  {tables}\n")
}

async fn json(project: &Project, words: &str) -> (i32, Value) {
    let words = words.split(' ').chain(["--output", "json"]);
    let output: Output = project.syncset(words).await;
    (output.code, output.json())
}

#[tokio::test]
async fn list_says_what_the_files_say_without_a_store() {
    let project = Project::new(CONFIG);
    project.pipeline("orders", &pipeline("copy", "hourly", "orders: {}"));
    project.pipeline(
        "all",
        &pipeline("\"sqlite:x.db\"", "daily", "\"*\": {}\n  secret: skip"),
    );

    let all = project.syncset(["pipeline", "list"]).await;
    let one = project
        .syncset(["pipeline", "list", "--tag", "hourly", "--output", "json"])
        .await;

    insta::assert_snapshot!(all.snapshot(), @"
    exit: 0
    stdout:
    all: shop (sqlite) -> target (sqlite)
      tables: *
      skipped: secret
      tags: daily
    orders: shop (sqlite) -> copy (sqlite)
      tables: orders
      tags: hourly
    ");
    insta::assert_snapshot!(one.snapshot(), @r#"
    exit: 0
    stdout:
    {
      "exit_code": 0,
      "pipelines": [
        {
          "pipeline": "orders",
          "source": {
            "connection": "shop",
            "type": "sqlite"
          },
          "target": {
            "connection": "copy",
            "type": "sqlite"
          },
          "tables": [
            "orders"
          ],
          "skipped": [],
          "tags": [
            "hourly"
          ]
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn verbs_work_from_any_folder_of_the_project() {
    let project = shop().await;
    let path = project.path().join("pipelines").display().to_string();

    let inside = project
        .syncset(["-C", path.as_str(), "pipeline", "run", "orders"])
        .await;
    let outside = project.syncset(["-C", "/", "pipeline", "list"]).await;

    inside.expect_success();
    assert_eq!(
        project
            .sqlite("copy.db")
            .value("SELECT count(*) FROM orders")
            .await,
        "2"
    );
    insta::assert_snapshot!(outside.snapshot(), @"
    exit: 2
    stderr:
    error: no syncset.yaml in `/` or a folder above it
    hint: run in a project folder, or name one with `-C DIR`
    ");
}

#[tokio::test]
async fn tags_and_all_choose_pipelines_and_their_codes_combine() {
    let project = shop().await;

    let (code, tagged) = json(&project, "pipeline run --tag hourly").await;
    let only_tagged = project
        .sqlite("other.db")
        .value("SELECT count(*) FROM sqlite_schema")
        .await;
    project
        .sqlite("shop.db")
        .execute("DROP TABLE customers")
        .await;
    let (all_code, all) = json(&project, "pipeline run --all").await;

    assert_eq!((code, &tagged["exit_code"]), (0, &Value::from(0)));
    assert_eq!(tagged["pipelines"][0]["pipeline"], "orders");
    assert_eq!(only_tagged, "0");
    assert_eq!((all_code, &all["exit_code"]), (2, &Value::from(2)));
    let codes: Vec<_> = all["pipelines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["exit_code"])
        .collect();
    assert_eq!(codes, [&Value::from(2), &Value::from(0)]);
}

#[tokio::test]
async fn variables_of_the_command_line_win_and_must_be_used() {
    let mut project = Project::new(
        "version: 1\nconnections:\n  shop: { type: sqlite, path: \"${SHOP_FILE}\" }\n  \
         copy: { type: sqlite, path: copy.db }\n",
    );
    project.set("SHOP_FILE", "of_the_environment.db");
    project.sqlite("shop.db").execute(ORDERS).await;
    project
        .sqlite("copy.db")
        .execute("PRAGMA user_version = 1")
        .await;
    project.pipeline("p", &pipeline("copy", "a", "orders: {}"));

    let set = project
        .syncset(["pipeline", "run", "p", "--set", "SHOP_FILE=shop.db"])
        .await;
    let unused = project
        .syncset(["pipeline", "run", "p", "--set", "SHOP_FLIE=shop.db"])
        .await;

    set.expect_success();
    insta::assert_snapshot!(unused.snapshot(), @"
    exit: 2
    stderr:
    error: `--set SHOP_FLIE=...`: no file that was read has `${SHOP_FLIE}`
    hint: did you mean `SHOP_FILE`?
    ");
}

#[tokio::test]
async fn run_that_had_nothing_to_do_says_so_where_it_is_asked_to() {
    let project = shop().await;
    let run = "pipeline run orders --skip-exit-code 99";

    let (first, _) = json(&project, run).await;
    let (idle, report) = json(&project, run).await;
    let (partly_idle, _) = json(&project, "pipeline run --all --skip-exit-code 99").await;
    let (all_idle, all) = json(&project, "pipeline run --all --skip-exit-code 99").await;
    let (_, history) = json(&project, "pipeline history orders").await;
    project.sqlite("shop.db").execute("DROP TABLE orders").await;
    let (failed, _) = json(&project, run).await;

    assert_eq!(
        (first, idle, &report["exit_code"]),
        (0, 99, &Value::from(99))
    );
    assert_eq!(
        (partly_idle, all_idle, &all["exit_code"]),
        (0, 99, &Value::from(99))
    );
    assert_eq!(failed, 5);
    // What is stored is a success: `status` and its `--max-age` must not take it for a failure.
    assert_eq!(history["runs"][0]["exit_code"], 0);
}

#[tokio::test]
async fn run_that_is_skipped_for_another_says_so_where_it_is_asked_to() {
    let project = shop().await;
    let frozen = project.spawn_with(
        ["pipeline", "run", "orders"],
        &[("SYNCSET_FAIL_POINT", "unit.before_commit=stop")],
    );
    assert!(frozen.frozen().await);
    let skip = "pipeline run orders --on-lock skip";

    let (plain, report) = json(&project, skip).await;
    let (asked, asked_report) = json(&project, &format!("{skip} --skip-exit-code 99")).await;
    frozen.kill9();

    assert_eq!((plain, &report["skipped"]), (0, &Value::from(true)));
    assert_eq!((asked, &asked_report["skipped"]), (99, &Value::from(true)));
}

#[tokio::test]
async fn history_keeps_what_became_of_each_run() {
    let project = shop().await;
    project
        .syncset(["pipeline", "run", "orders"])
        .await
        .expect_success();
    project
        .sqlite("copy.db")
        .execute("CREATE TRIGGER no BEFORE INSERT ON orders BEGIN SELECT RAISE(FAIL, 'no'); END")
        .await;
    project
        .sqlite("shop.db")
        .execute("INSERT INTO orders VALUES (3, 'new')")
        .await;
    project
        .syncset(["pipeline", "run", "orders"])
        .await
        .expect_code(1);

    let (_, history) = json(&project, "pipeline history orders").await;
    let (_, newest) = json(&project, "pipeline history orders --limit 1").await;
    let id = history["runs"][0]["run_id"].as_str().unwrap().to_owned();
    let list = project.syncset(["pipeline", "history", "orders"]).await;
    let shown: Vec<&str> = list
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("run ")?.split(' ').next())
        .collect();
    let text = project
        .syncset(["pipeline", "history", "orders", shown[0]])
        .await;
    let whole = project
        .syncset(["pipeline", "history", "orders", &id])
        .await;
    let unknown = project
        .syncset(["pipeline", "history", "orders", "zzz"])
        .await;

    let codes: Vec<_> = history["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["exit_code"])
        .collect();
    assert_eq!(codes, [&Value::from(1), &Value::from(0)]);
    assert_eq!(history["runs"][1]["rows_written"], 2);
    assert_eq!(newest["runs"].as_array().unwrap().len(), 1);
    assert_eq!(shown.len(), 2);
    assert!(id.ends_with(shown[0]));
    assert_eq!(whole.stdout, text.stdout);
    insta::assert_snapshot!(text.snapshot().replace(shown[0], "[run]"), @r#"
    exit: 0
    stdout:
    run [run] of [instant]: exit 1 in [time], 0 rows written, 0 deleted
    table orders -> orders: failed, 6 read, 0 written, 0 deleted, 0 rejected, [time]
      error: table `orders`: the target refused the row with key ["3"]
      cause: error returned from database: (code: 1811) no
      hint: mend the row at the source, leave it out with `where`, or let up to N rows wait with `rejects: { max_rows: N }` (now 0)
    "#);
    insta::assert_snapshot!(unknown.snapshot(), @"
    exit: 2
    stderr:
    error: no run of `orders` has an id like `zzz`
    hint: `syncset pipeline history orders` lists the runs; `retention` in syncset.yaml says how long they are kept
    ");
}

#[tokio::test]
async fn last_success_counts_however_many_runs_failed_since() {
    let project = shop().await;
    project
        .syncset(["pipeline", "run", "orders"])
        .await
        .expect_success();
    let make_runs_fail = "INSERT INTO _syncset_run SELECT project, pipeline, 'failed' || value, started_at + value, \
         finished_at + value, 1, report FROM _syncset_run, (WITH RECURSIVE n(value) AS \
         (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20) SELECT value FROM n)";
    project.sqlite("copy.db").execute(make_runs_fail).await;

    let (fresh, status) = json(&project, "pipeline status orders --max-age 1h").await;
    let (never, _) = json(&project, "pipeline status customers --max-age 1h").await;
    let age = "UPDATE _syncset_run SET finished_at = finished_at - 7200";
    project.sqlite("copy.db").execute(age).await;
    let stale = project
        .syncset(["pipeline", "status", "--all", "--max-age", "1h"])
        .await;
    let future = "UPDATE _syncset_run SET started_at = started_at + 86400, \
         finished_at = finished_at + 86400";
    project.sqlite("copy.db").execute(future).await;
    let clock = project
        .syncset(["pipeline", "status", "orders", "--max-age", "1h"])
        .await;
    project
        .syncset(["pipeline", "run", "orders"])
        .await
        .expect_success();
    let (mended, _) = json(&project, "pipeline status orders --max-age 1h").await;

    assert_eq!((fresh, never, stale.code), (0, 4, 4));
    assert_eq!(status["runs"].as_array().unwrap().len(), 5);
    assert!(
        stale.stderr.contains("`orders` is older than 1h"),
        "{}",
        stale.stderr
    );
    assert!(
        stale.stderr.contains("`customers` has no success yet"),
        "{}",
        stale.stderr
    );
    // The clock was set, and the pipeline run again, as the message says.
    assert_eq!((clock.code, mended), (4, 0));
    assert!(
        clock.stderr.contains("is in the future"),
        "{}",
        clock.stderr
    );
}

#[tokio::test]
async fn status_of_all_shows_the_others_when_one_cannot_be_asked() {
    let project = shop().await;
    project
        .syncset(["pipeline", "run", "orders"])
        .await
        .expect_success();
    let other = project.path().join("other.db");
    std::fs::remove_file(&other).unwrap();
    std::fs::create_dir(&other).unwrap();

    let (code, status) = json(&project, "pipeline status").await;

    assert_eq!((code, &status["exit_code"]), (2, &Value::from(2)));
    assert_eq!(status["pipelines"][0]["failures"][0]["exit_code"], 2);
    assert_eq!(status["pipelines"][1]["pipeline"], "orders");
    assert_eq!(status["pipelines"][1]["tables"][0]["phase"], "following");
}

#[tokio::test]
async fn help_is_printed_as_it_was_read() {
    let project = Project::new("version: 1\n");
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.parent().unwrap().join("runner/src/cli/help");
    let mut count = 0;

    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let words = name.split('-').skip(1).chain(["--help"]);
        let output = project.syncset(words).await.expect_success();
        // The tests run a binary of another name.
        let printed = output.stdout.replace("syncset-under-test", "syncset");
        assert_eq!(printed, std::fs::read_to_string(&path).unwrap());
        assert_eq!(output.stderr, "", "{name}");
        count += 1;
    }

    assert!(count > 20, "{count} verbs");
}
