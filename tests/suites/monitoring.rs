//! What a run shows to whoever watches from outside: metrics and the log.

use kit::{Output, Project};
use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{PrometheusType, PrometheusValue};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

const CURSOR: &str =
    "{ mode: cursor, column: updated_at, written_by: application, overlap: 1m, zone: UTC }";

/// A project that copies `t` to `into.db` as pipeline `a`, and to `other.db` as pipeline `b`.
async fn project() -> Project {
    let project = Project::new(
        "version: 1\nproject: shop\nconnections:\n  from: { url: \"sqlite:from.db\" }\n  \
         into: { url: \"sqlite:into.db\" }\n  other: { url: \"sqlite:other.db\" }\n",
    );
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, updated_at DATETIME NOT NULL); \
               INSERT INTO t VALUES (1, 'x', '2026-01-02T03:04:05'), (2, 'y', '2026-01-02T03:04:06'); \
               CREATE TABLE u (id INTEGER PRIMARY KEY)";
    project.sqlite("from.db").execute(sql).await;
    for (name, target) in [("a", "into"), ("b", "other")] {
        let text = format!(
            "version: 1\nsource: from\ntarget: {target}\ntables:\n  t: {{ capture: {CURSOR} }}\n  u: {{}}\n"
        );
        project.pipeline(name, &text);
    }
    project
}

async fn run(project: &Project, names: &[&str]) -> Output {
    let mut words = vec!["pipeline", "run", "--metrics-file", "syncset.prom"];
    words.extend(names);
    project.syncset(words).await
}

/// The samples of the file as a parser of Prometheus' text form sees them: `name{a=b}` to value.
fn samples(project: &Project) -> BTreeMap<String, f64> {
    let path = project.path().join("syncset.prom");
    let text = std::fs::read_to_string(path).expect("the file was written");
    let parsed = parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut samples = BTreeMap::new();
    for (name, family) in parsed.families {
        assert_eq!(family.family_type, PrometheusType::Gauge, "{name}");
        assert!(!family.help.is_empty(), "{name} has no help");
        for sample in family.iter_samples() {
            let labels = sample.get_labelset().expect("labels have names");
            let mut labels: Vec<_> = labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            // The parser gives them in no order.
            let order = ["project", "pipeline", "table"];
            labels.sort_by_key(|label| order.iter().position(|name| label.starts_with(name)));
            let PrometheusValue::Gauge(value) = &sample.value else {
                panic!("{name} is no gauge");
            };
            samples.insert(format!("{name}{{{}}}", labels.join(",")), value.as_f64());
        }
    }
    samples
}

#[tokio::test]
async fn metrics_tell_what_the_run_did() {
    let project = project().await;

    run(&project, &["a", "b"]).await.expect_success();
    let samples = samples(&project);

    let of = |name: &str, labels: &str| samples[&format!("{name}{{project=shop,{labels}}}")];
    for pipeline in ["pipeline=a", "pipeline=b"] {
        assert_eq!(of("syncset_run_success", pipeline), 1.0);
        assert_eq!(of("syncset_run_exit_code", pipeline), 0.0);
        let table = format!("{pipeline},table=t");
        assert_eq!(of("syncset_table_written_rows", &table), 2.0);
        assert!(of("syncset_table_read_bytes", &table) > 0.0);
        let finished = of("syncset_run_finished_timestamp_seconds", pipeline);
        assert_eq!(
            of("syncset_last_success_timestamp_seconds", pipeline),
            finished
        );
        let seen = of("syncset_table_watermark_timestamp_seconds", &table);
        let lag = of("syncset_table_lag_seconds", &table);
        assert!(
            (finished - seen - lag).abs() < 1.0,
            "{finished} {seen} {lag}"
        );
        assert!((1_767_322_000.0..=finished).contains(&seen), "{seen}");
    }
    let file = project.path().join("syncset.prom");
    let mode = file.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let names = std::fs::read_dir(project.path()).expect("the folder is there");
    let left = names.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().ends_with(".new")
    });
    assert_eq!(left.count(), 0, "nothing is left beside the file");
}

#[tokio::test]
async fn metrics_keep_the_last_success_while_runs_fail() {
    let project = project().await;
    run(&project, &["a"]).await.expect_success();
    let name = "syncset_last_success_timestamp_seconds{project=shop,pipeline=a}";
    let finished = "SELECT finished_at FROM _syncset_run";
    let success = project.sqlite("into.db").value(finished).await;
    let success: f64 = success.parse().expect("a number");
    std::fs::remove_file(project.path().join("syncset.prom")).expect("it was written");
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'refused'); END";
    project.sqlite("into.db").execute(refuse).await;
    let row = "INSERT INTO t VALUES (3, 'z', '2026-01-02T03:04:07')";
    project.sqlite("from.db").execute(row).await;

    run(&project, &["a"]).await.expect_code(3);
    let by_state = samples(&project);
    project.pipeline("a", "version: 1\nsource: nowhere\n");
    run(&project, &["a"]).await.expect_code(2);
    let by_file = samples(&project);

    assert_eq!((by_state[name], by_file[name]), (success, success));
    let failed = "syncset_run_success{project=shop,pipeline=a}";
    assert_eq!((by_state[failed], by_file[failed]), (0.0, 0.0));
    let code = "syncset_run_exit_code{project=shop,pipeline=a}";
    assert_eq!((by_state[code], by_file[code]), (3.0, 2.0));
    let table = "syncset_table_success{project=shop,pipeline=a,table=t}";
    assert_eq!(by_state[table], 0.0);
}

#[tokio::test]
async fn slice_is_a_run_that_is_done_and_no_new_success() {
    let project = project().await;
    run(&project, &["a"]).await.expect_success();
    let age = "UPDATE _syncset_run SET finished_at = finished_at - 7200";
    project.sqlite("into.db").execute(age).await;
    let name = "syncset_last_success_timestamp_seconds{project=shop,pipeline=a}";
    let finished = "SELECT finished_at FROM _syncset_run";
    let before = project.sqlite("into.db").value(finished).await;

    run(&project, &["a", "--tables", "t", "--where", "id = 1"])
        .await
        .expect_success();

    let samples = samples(&project);
    assert_eq!(samples[name].to_string(), before);
    assert_eq!(samples["syncset_run_success{project=shop,pipeline=a}"], 1.0);
    assert_eq!(
        samples["syncset_table_read_rows{project=shop,pipeline=a,table=t}"],
        1.0
    );
}

#[tokio::test]
async fn metrics_file_that_cannot_be_is_refused_before_the_run() {
    let project = project().await;
    for path in ["missing/syncset.prom", "pipelines", "x/.."] {
        let output = project
            .syncset(["pipeline", "run", "a", "--metrics-file", path])
            .await
            .expect_code(2);
        assert!(
            output.stderr.contains("--metrics-file"),
            "{}",
            output.stderr
        );
        assert!(!project.path().join("into.db").exists());
    }
}

#[tokio::test]
async fn each_line_of_a_json_log_is_an_object_without_values() {
    let mut project = project().await;
    let canary = "canary-0815";
    let fill = format!(
        "INSERT INTO t SELECT i + 10, '{canary}' || i, '2026-01-02T03:04:05' \
        FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50) SELECT i FROM n)"
    );
    project.sqlite("from.db").execute(&fill).await;
    let refuse = "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, v TEXT CHECK (length(v) < 3), updated_at DATETIME)";
    project.sqlite("other.db").execute(refuse).await;
    project.set("SYNCSET_LOG", "trace");
    let words = ["--log-format", "json", "pipeline", "run", "a", "b"];

    let output = project.syncset(words).await.expect_code(3);

    assert!(!output.stderr.contains(canary), "{}", output.stderr);
    let lines: Vec<serde_json::Value> = output
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    let with = |message: &str| {
        lines
            .iter()
            .filter(|line| line["message"] == message)
            .collect::<Vec<_>>()
    };
    let finished = with("table finished");
    assert!(
        finished
            .iter()
            .any(|line| line["table"] == "t" && line["rows_written"] == 52),
        "{finished:?}"
    );
    let runs: Vec<_> = with("run finished")
        .iter()
        .map(|line| line["exit_code"].clone())
        .collect();
    assert_eq!(runs, [0, 3]);
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert!(
        errors.iter().any(|line| line["exit_code"] == 1),
        "{errors:?}"
    );
}

/// A project whose next run of `a` reads, writes, deletes and rejects rows, each another number.
async fn busy_project() -> Project {
    let project = project().await;
    let rows = "CREATE TABLE w (id INTEGER PRIMARY KEY, v TEXT); \
         INSERT INTO w SELECT value, 'ok' FROM (WITH RECURSIVE n(value) AS \
         (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20) SELECT value FROM n)";
    project.sqlite("from.db").execute(rows).await;
    let check = "CREATE TABLE w (id INTEGER NOT NULL PRIMARY KEY, v TEXT CHECK (v <> 'bad'))";
    project.sqlite("into.db").execute(check).await;
    let text = format!(
        "version: 1\nsource: from\ntarget: into\ntables:\n  t: {{ capture: {CURSOR} }}\n  \
         w: {{ rejects: {{ max_rows: 1 }} }}\n"
    );
    project.pipeline("a", &text);
    project
        .syncset(["pipeline", "run", "a"])
        .await
        .expect_success();
    let change = "DELETE FROM w WHERE id <= 2; UPDATE w SET v = 'new' WHERE id IN (3, 4, 5); \
         UPDATE w SET v = 'bad' WHERE id = 6";
    project.sqlite("from.db").execute(change).await;
    project
}

#[tokio::test]
async fn metrics_are_the_numbers_of_the_report() {
    let project = busy_project().await;

    let output = run(&project, &["a", "--output", "json"]).await;
    let report = output.expect_success().json();

    let samples = samples(&project);
    let of_run = |name: &str| samples[&format!("{name}{{project=shop,pipeline=a}}")];
    let duration = report["duration_ms"].as_f64().expect("a number") / 1000.0;
    assert_eq!(of_run("syncset_run_duration_seconds"), duration);
    let finished = of_run("syncset_run_finished_timestamp_seconds");
    for table in report["tables"].as_array().expect("a list") {
        let number = |name: &str| table[name].as_f64().expect("a number");
        let name = table["table"].as_str().expect("a name");
        let labels = format!("{{project=shop,pipeline=a,table={name}}}");
        let of = |family: &str| samples[&format!("syncset_table_{family}{labels}")];
        for (family, field) in [
            ("read_rows", "rows_read"),
            ("written_rows", "rows_written"),
            ("deleted_rows", "rows_deleted"),
            ("rejected_rows", "rows_rejected"),
            ("read_bytes", "bytes_read"),
        ] {
            assert_eq!(of(family), number(field), "{name} {family}");
        }
        assert_eq!(of("duration_seconds"), number("duration_ms") / 1000.0);
        assert_eq!(of("success"), 1.0);
        let Some(at) = table["watermark_at"].as_str() else {
            assert_eq!(name, "w");
            continue;
        };
        let at = chrono::DateTime::parse_from_rfc3339(at).expect("an instant");
        let at = at.timestamp_millis() as f64 / 1000.0;
        assert_eq!(of("watermark_timestamp_seconds"), at);
        assert_eq!(of("lag_seconds"), finished - at);
        assert!(finished > at, "the lag of this table is not 0");
    }
    let busy = report["tables"].as_array().expect("a list");
    let busy = busy.iter().find(|table| table["table"] == "w");
    let busy = busy.expect("it is there");
    let counts = ["rows_read", "rows_written", "rows_deleted", "rows_rejected"]
        .map(|name| busy[name].as_u64().expect("a number"));
    let distinct = std::collections::BTreeSet::from(counts);
    assert_eq!(distinct.len(), 4, "{counts:?}");
    assert!(!distinct.contains(&0), "{counts:?}");
}

#[tokio::test]
async fn lines_of_the_json_log_are_the_parts_of_the_report() {
    let project = busy_project().await;
    // One table more than can be written, so that there is a failure, too.
    let refuse = "CREATE TABLE u (id INTEGER NOT NULL PRIMARY KEY CHECK (id > 5))";
    project.sqlite("into.db").execute(refuse).await;
    let fill = "INSERT INTO u VALUES (1)";
    project.sqlite("from.db").execute(fill).await;
    let text = format!("{}  u: {{}}\n", project.read("pipelines/a.yaml"));
    project.pipeline("a", &text);

    let output = project
        .syncset(["--log-format", "json", "pipeline", "run", "a"])
        .await
        .expect_code(3);

    let lines: Vec<serde_json::Value> = output
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let with = |field: &str, value: &str| {
        let found = lines.iter().filter(|line| line[field] == value);
        found.collect::<Vec<_>>()
    };
    let ended = with("message", "run finished")[0];
    let id = ended["run_id"].as_str().expect("an id").to_owned();
    let words = ["pipeline", "history", "a", &id, "--output", "json"];
    let report = project.syncset(words).await.expect_success().json();
    let report = &report["report"];
    assert_eq!(ended["pipeline"], "a");
    assert_eq!(ended["exit_code"], 3);
    assert!(ended["duration_ms"].is_u64());
    for table in report["tables"].as_array().expect("a list") {
        let finished = lines
            .iter()
            .filter(|line| line["message"] == "table finished" && line["table"] == table["table"]);
        let finished: Vec<_> = finished.collect();
        if table["outcome"] == "unchanged" || table["failure"].is_object() {
            assert!(finished.is_empty(), "{finished:?}");
            continue;
        }
        assert_eq!(finished.len(), 1, "{table}");
        for (field, value) in table.as_object().expect("an object") {
            // What is known at the end of the run only.
            if !["warnings", "watermark_at", "duration_ms"].contains(&field.as_str()) {
                assert_eq!(&finished[0][field], value, "{field}");
            }
        }
    }
    let tables = report["tables"].as_array().expect("a list");
    let failed = tables.iter().find(|table| table["failure"].is_object());
    let failure = failed.expect("one failed")["failure"].clone();
    let errors = with("level", "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    for (field, value) in failure.as_object().expect("an object") {
        assert_eq!(&errors[0][field], value, "{field}");
    }
    assert_eq!(errors[0]["exit_code"], 1);
    let warnings = with("level", "WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["table"], "w");
    let message = warnings[0]["message"].as_str().expect("a text");
    assert!(message.contains("1 rejected row waits"), "{message}");
}

#[tokio::test]
async fn skipped_run_says_only_when_the_last_success_was() {
    let project = project().await;
    run(&project, &["a"]).await.expect_success();
    let name = "syncset_last_success_timestamp_seconds{project=shop,pipeline=a}";
    let success = samples(&project)[name];
    let row = "INSERT INTO u VALUES (7)";
    project.sqlite("from.db").execute(row).await;
    let frozen = project.spawn_with(
        ["pipeline", "run", "a"],
        &[("SYNCSET_FAIL_POINT", "unit.before_commit=stop")],
    );
    assert!(frozen.frozen().await);

    run(&project, &["a", "--on-lock", "skip"])
        .await
        .expect_success();

    frozen.kill9();
    let samples = samples(&project);
    assert_eq!(samples[name], success);
    let of_pipeline = samples.keys().filter(|name| name.contains("pipeline=a"));
    assert_eq!(of_pipeline.count(), 1, "{samples:?}");
}

#[tokio::test]
async fn run_without_work_is_a_success_whatever_its_code() {
    let project = project().await;
    run(&project, &["a"]).await.expect_success();

    run(&project, &["a", "--skip-exit-code", "99"])
        .await
        .expect_code(99);

    let samples = samples(&project);
    let of = |name: &str| samples[&format!("{name}{{project=shop,pipeline=a}}")];
    assert_eq!(of("syncset_run_success"), 1.0);
    assert_eq!(of("syncset_run_exit_code"), 99.0);
    assert_eq!(
        of("syncset_last_success_timestamp_seconds"),
        of("syncset_run_finished_timestamp_seconds")
    );
}

const STAMPED: &str = "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL,
      updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO t SELECT g, g FROM generate_series(1, 10) g;
    CREATE TABLE whole (id int PRIMARY KEY);
    CREATE TABLE numbered (id int PRIMARY KEY); INSERT INTO numbered VALUES (1)";

#[tokio::test]
async fn watermark_tells_up_to_when_the_source_was_seen() {
    let server = kit::postgres().await;
    let source = server.database("seen_source").await;
    source.execute(STAMPED).await;
    let target = server.database("seen_target").await;
    // Refuses the load at first.
    let refuse = "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL CHECK (v < 10),
        updated_at timestamptz NOT NULL)";
    target.execute(refuse).await;
    let project = Project::between(&source.url(), &target.url());
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  \
         public.t: { capture: { mode: cursor, column: updated_at, written_by: database } }\n  \
         public.whole: {}\n  \
         public.numbered: { capture: { mode: cursor, column: id } }\n",
    );
    let micros = async || -> i64 {
        let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";
        source.value(clock).await.parse().expect("a number")
    };
    let seen = async |code: i32| -> [Option<i64>; 3] {
        let words = ["pipeline", "run", "p", "--output", "json"];
        let report = project.syncset(words).await.expect_code(code).json();
        ["public.t", "public.whole", "public.numbered"].map(|name| {
            let mut tables = report["tables"].as_array().expect("a list").iter();
            let table = tables.find(|table| table["table"] == name);
            let at = table.expect("it is there")["watermark_at"].as_str()?;
            let at = chrono::DateTime::parse_from_rfc3339(at).expect("an instant");
            Some(at.timestamp_micros())
        })
    };

    let while_loading = seen(3).await;
    target
        .execute("ALTER TABLE t DROP CONSTRAINT t_v_check")
        .await;
    let times = [
        (micros().await, seen(0).await, micros().await),
        // Nothing has changed, and the bound has moved all the same.
        (micros().await, seen(0).await, micros().await),
    ];

    assert_eq!(while_loading, [None, None, None]);
    for (before, [stamped, whole, numbered], after) in times {
        let stamped = stamped.expect("its cursor is a time");
        // The bound is the clock less a margin of a second, unless somebody holds it back.
        assert!(stamped < after, "{before} {stamped} {after}");
        assert_eq!((whole, numbered), (None, None));
    }
    let [first, second] = times.map(|(_, seen, _)| seen[0]);
    assert!(second > first, "{first:?} {second:?}");
}
