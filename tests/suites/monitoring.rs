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
    let success = samples(&project)[name];
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
