//! OpenTelemetry: what a collector is sent, and that none can harm a run.

use kit::{Answer, Certificates, Collector, Output, Project, Received, SeenSpan, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpListener;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

const CURSOR: &str =
    "{ mode: cursor, column: updated_at, written_by: application, overlap: 1m, zone: UTC }";

const RUN: [&str; 5] = ["pipeline", "run", "a", "--output", "json"];

/// What no byte that is sent may hold.
const CANARY: &str = "canary-0815";

/// A project that copies `t` and `u` from `from.db` to `into.db`, and tells this collector.
async fn project(collector: &Collector) -> Project {
    let mut project = Project::new(
        "version: 1\nproject: shop\nconnections:\n  from: { url: \"sqlite:from.db\" }\n  \
         into: { url: \"sqlite:into.db\" }\n",
    );
    let sql = format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, updated_at DATETIME NOT NULL); \
         INSERT INTO t VALUES (1, '{CANARY}', '2026-01-02T03:04:05'), (2, 'y', '2026-01-02T03:04:06'); \
         CREATE TABLE u (id INTEGER PRIMARY KEY); INSERT INTO u VALUES (1), (2), (3)"
    );
    project.sqlite("from.db").execute(&sql).await;
    pipeline(&project, "");
    project.set(ENDPOINT, &collector.url());
    project
}

fn pipeline(project: &Project, more: &str) {
    let text = format!(
        "version: 1\nsource: from\ntarget: into\ntables:\n  t: {{ capture: {CURSOR} }}\n  u: {{}}\n{more}"
    );
    project.pipeline("a", &text);
}

async fn change(project: &Project) {
    let sql = "UPDATE t SET v = 'z', updated_at = '2026-02-02T03:04:05' WHERE id = 2";
    project.sqlite("from.db").execute(sql).await;
}

/// Makes the target refuse every row of `t`.
async fn refuse_rows(project: &Project) {
    let sql = "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, v TEXT CHECK (length(v) < 0), \
               updated_at DATETIME)";
    project.sqlite("into.db").execute(sql).await;
}

fn children(spans: &[SeenSpan], parent: &SeenSpan) -> Vec<SeenSpan> {
    let children = spans.iter().filter(|span| span.parent_id == parent.span_id);
    children.cloned().collect()
}

/// Numbers of a table that its report and its span both know.
const NUMBERS: [&str; 6] = [
    "rows_read",
    "rows_written",
    "rows_deleted",
    "rows_rejected",
    "bytes_read",
    "exit_code",
];

#[track_caller]
fn assert_is_reported(span: &SeenSpan, report: &Value) {
    for number in NUMBERS {
        let attribute = &span.attributes[&format!("syncset.{number}")];
        assert_eq!(*attribute, report[number], "{number} of {span:#?}");
    }
    assert_eq!(span.attributes["syncset.outcome"], report["outcome"]);
}

/// Each warning on standard error.
fn warnings(output: &Output) -> Vec<&str> {
    let lines = output.stderr.lines();
    lines.filter(|line| line.starts_with("warning:")).collect()
}

fn assert_secret_is_kept(requests: &[Received]) {
    assert!(!requests.is_empty(), "nothing came");
    for request in requests {
        let text = String::from_utf8_lossy(&request.body);
        assert!(!text.contains(CANARY), "{}: {text}", request.path);
        assert!(!request.path.contains(CANARY), "{}", request.path);
    }
}

#[tokio::test]
async fn run_is_one_trace_with_the_numbers_of_its_report() {
    let collector = Collector::start(Answer::Takes);
    let project = project(&collector).await;

    let output = project.syncset(RUN).await.expect_success();

    let (report, spans) = (output.json(), collector.spans());
    let run = collector.span("run a");
    assert_eq!(run.parent_id, "");
    assert_eq!(run.attributes["syncset.project"], "shop");
    assert_eq!(run.attributes["syncset.run_id"], report["run_id"]);
    assert_eq!(run.attributes["syncset.exit_code"], 0);
    assert_eq!(run.attributes["syncset.rows_written"], 5);
    assert_eq!(
        (run.failed, &run.attributes["syncset.outcome"]),
        (false, &json!("done"))
    );
    assert!(spans.iter().all(|span| span.trace_id == run.trace_id));
    let tables = report["tables"].as_array().expect("tables");
    assert_eq!(children(&spans, &run).len(), tables.len());
    for report in tables {
        let name = report["table"].as_str().expect("its name");
        let table = collector.span(&format!("table {name}"));
        assert_is_reported(&table, report);
        assert_eq!(table.parent_id, run.span_id);
        assert_eq!(table.attributes["db.system.name"], "sqlite");
        assert_eq!(table.attributes["db.collection.name"], report["target"]);
        assert!(
            run.start <= table.start && table.end <= run.end,
            "{run:?} {table:?}"
        );
        let units = children(&spans, &table);
        let sum = |number: &str| {
            let numbers = units.iter().map(|unit| unit.attributes[number].as_i64());
            numbers.sum::<Option<i64>>().expect("a number")
        };
        for number in ["syncset.rows_read", "syncset.rows_written"] {
            assert_eq!(
                json!(sum(number)),
                table.attributes[number],
                "{number} of {name}"
            );
        }
        let chunk = collector.span(&format!("chunk {name}"));
        assert_eq!(chunk.attributes["syncset.chunk"], 0);
        assert_eq!(chunk.attributes["syncset.attempt"], 1);
        assert_eq!(table.attributes["syncset.chunks"], 1);
        for unit in units {
            assert!(
                table.start <= unit.start && unit.end <= table.end,
                "{table:?} {unit:?}"
            );
        }
    }
    let captures = ["t", "u"].map(|name| {
        let table = collector.span(&format!("table {name}"));
        table.attributes["syncset.capture"].clone()
    });
    assert_eq!(captures, ["cursor", "full"]);
    let resource = collector.resource();
    assert_eq!(resource["service.name"], "syncset");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn window_is_a_unit_of_its_table() {
    let first = Collector::start(Answer::Takes);
    let mut project = project(&first).await;
    project.syncset(RUN).await.expect_success();
    let second = Collector::start(Answer::Takes);
    project.set(ENDPOINT, &second.url());
    change(&project).await;

    let output = project.syncset(RUN).await.expect_success();

    let (table, window) = (second.span("table t"), second.span("window t"));
    assert_is_reported(&table, &output.json()["tables"][0]);
    assert_eq!(table.attributes["syncset.windows"], 1);
    assert_eq!(window.parent_id, table.span_id);
    assert_eq!(window.attributes["syncset.rows_written"], 1);
    assert_ne!(second.span("run a").trace_id, first.span("run a").trace_id);
}

#[tokio::test]
async fn metrics_are_those_of_the_metrics_file() {
    let collector = Collector::start(Answer::Takes);
    let project = project(&collector).await;
    let words = ["pipeline", "run", "a", "--metrics-file", "syncset.prom"];

    project.syncset(words).await.expect_success();

    let file = project.read("syncset.prom");
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let (family, labels) = name.split_once('{').expect("labels");
        let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
        labels.sort_unstable();
        let labels = labels.join(",").replace('"', "");
        (
            format!("{family}{{{labels}}}"),
            value.parse::<f64>().expect("a number"),
        )
    };
    let expected: BTreeMap<String, f64> = lines.map(sample).collect();
    let sent = collector.gauges();
    assert_eq!(
        expected["syncset_table_written_rows{pipeline=a,project=shop,table=u}"],
        3.0
    );
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn last_success_is_sent_while_runs_fail() {
    let collector = Collector::start(Answer::Takes);
    let mut project = project(&collector).await;
    let name = "syncset_last_success_timestamp_seconds{pipeline=a,project=shop}";
    project.syncset(RUN).await.expect_success();
    let success = collector.gauges()[name];
    let collector = Collector::start(Answer::Takes);
    project.set(ENDPOINT, &collector.url());
    change(&project).await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'no'); END";
    project.sqlite("into.db").execute(refuse).await;

    project.syncset(RUN).await.expect_code(3);

    let gauges = collector.gauges();
    // The state knows it from before the metrics were made.
    assert!((1.0..=success).contains(&gauges[name]), "{gauges:?}");
    assert_eq!(gauges["syncset_run_success{pipeline=a,project=shop}"], 0.0);
    assert_eq!(
        gauges["syncset_table_success{pipeline=a,project=shop,table=t}"],
        0.0
    );
}

#[tokio::test]
async fn failure_has_its_class_and_code_and_no_value() {
    let database = kit::postgres().await.database("telemetry").await;
    let sql = format!(
        "CREATE TABLE t (id text PRIMARY KEY, v text); \
         INSERT INTO t VALUES ('{CANARY}', '{CANARY}'); CREATE SCHEMA copy; \
         CREATE TABLE copy.t (id text NOT NULL PRIMARY KEY, v text CHECK (length(v) < 3))"
    );
    database.execute(&sql).await;
    let collector = Collector::start(Answer::Takes);
    let mut project = Project::between(&database.url(), &database.url());
    let text = "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: { to: copy.t }\n";
    project.pipeline("a", text).pipeline(
        "b",
        &format!("version: 1\nsource: postgres://ann:{CANARY}@127.0.0.1:1/x\ntarget: target\ntables: {{ public.t: {{}} }}\n"),
    );
    project.set(ENDPOINT, &collector.url());

    let refused = project.syncset(RUN).await.expect_code(1);
    project
        .syncset(["pipeline", "run", "b"])
        .await
        .expect_code(9);

    assert!(
        refused.stdout.contains(CANARY),
        "the key of a refused row is told here"
    );
    let table = collector.span("table public.t");
    assert_is_reported(&table, &refused.json()["tables"][0]);
    assert_eq!(
        (table.failed, table.status.as_str()),
        (true, "row_refused (23514)")
    );
    assert_eq!(table.attributes["error.type"], "row_refused");
    assert_eq!(table.attributes["db.response.status_code"], "23514");
    assert_eq!(table.attributes["db.system.name"], "postgresql");
    assert_eq!(
        table.attributes["syncset.units_failed"], 2,
        "in one go, then row by row"
    );
    let run = collector.span("run a");
    assert_eq!(
        (run.failed, run.status.as_str()),
        (true, "row_refused (23514)")
    );
    assert_eq!(run.attributes["syncset.exit_code"], 1);
    assert_eq!(run.attributes["syncset.outcome"], "failed");
    let unreachable = collector.span("run b");
    assert_eq!(
        (unreachable.failed, unreachable.status.as_str()),
        (true, "connection")
    );
    assert_secret_is_kept(&collector.requests());
}

#[tokio::test]
async fn no_cell_and_no_secret_is_ever_sent() {
    let collector = Collector::start(Answer::Takes);
    let mut project = project(&collector).await;
    let hooks = format!("hooks: {{ after: [ {{ command: 'test {CANARY} = other' }} ] }}\n");
    pipeline(&project, &hooks);
    project.file(
        ".env",
        &format!("OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer%20{CANARY},x-team=data'\n"),
    );
    project.set("SYNCSET_LOG", "trace");
    refuse_rows(&project).await;

    let output = project.syncset(RUN).await.expect_code(3);

    let requests = collector.requests();
    assert_secret_is_kept(&requests);
    for request in &requests {
        assert_eq!(request.headers["authorization"], format!("Bearer {CANARY}"));
        assert_eq!(request.headers["x-team"], "data");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
    }
    assert!(!output.stderr.contains(CANARY), "{}", output.stderr);
    assert_eq!(
        collector.span("hook after").attributes["syncset.outcome"],
        "failed"
    );
}

#[tokio::test]
async fn environment_names_the_service_and_wins_over_dotenv() {
    let collector = Collector::start(Answer::Takes);
    let mut project = project(&collector).await;
    project.file(".env", "OTEL_SERVICE_NAME=from-file\n");
    project.set("OTEL_SERVICE_NAME", "nightly").set(
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=pre%20prod",
    );

    project.syncset(RUN).await.expect_success();

    let resource = collector.resource();
    assert_eq!(resource["service.name"], "nightly");
    assert_eq!(resource["deployment.environment.name"], "pre prod");
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_asks_for_it() {
    let collector = Collector::start(Answer::Takes);
    let off: [&[(&str, &str)]; 4] = [
        &[(ENDPOINT, "")],
        &[("OTEL_SDK_DISABLED", "true")],
        &[
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    ];
    let project = project(&collector).await;

    for variables in off {
        let output = project
            .spawn_with(RUN, variables)
            .wait()
            .await
            .expect_success();

        assert_eq!(collector.requests().len(), 0, "{variables:?}");
        let warnings = warnings(&output);
        match variables {
            [("OTEL_EXPORTER_OTLP_PROTOCOL", _)] => {
                insta::assert_snapshot!(warnings.join("\n"), @"warning: no telemetry is sent: `OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`, and only `http/protobuf` is spoken here, which collectors take on port 4318")
            }
            _ => assert_eq!(warnings, Vec::<&str>::new(), "{variables:?}"),
        }
    }
}

#[tokio::test]
async fn one_signal_can_be_sent_without_the_other() {
    let collector = Collector::start(Answer::Takes);
    let project = project(&collector).await;
    let only_numbers = [("OTEL_TRACES_EXPORTER", "none")];

    project
        .spawn_with(RUN, &only_numbers)
        .wait()
        .await
        .expect_success();

    assert_eq!(collector.spans().len(), 0);
    assert_eq!(
        collector.gauges()["syncset_run_success{pipeline=a,project=shop}"],
        1.0
    );
}

/// A port at which nobody listens any more.
fn dead_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it listens").port()
}

#[tokio::test]
async fn collector_that_fails_costs_no_run_and_one_warning() {
    let dead = dead_port();
    let (refuses, hangs) = (
        Collector::start(Answer::Refuses(500)),
        Collector::start(Answer::Never),
    );
    let project = project(&refuses).await;
    let places = [
        (
            format!("http://ann:{CANARY}@127.0.0.1:{dead}"),
            "Connection refused (os error 111)",
        ),
        (refuses.url(), "it answered 500 Internal Server Error"),
        (hangs.url(), "no answer within 5 s"),
    ];

    for (url, reason) in &places {
        change(&project).await;
        // Longer than a test may take: what ends the wait is not the request's own limit.
        let variables = [
            (ENDPOINT, url.as_str()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
        ];
        let output = project
            .spawn_with(RUN, &variables)
            .wait()
            .await
            .expect_success();

        let warnings = warnings(&output);
        let [warning] = warnings.as_slice() else {
            panic!("{url}: {warnings:?}");
        };
        let origin = url.replace(&format!("ann:{CANARY}@"), "");
        assert!(
            warning.contains("spans and the metrics did not reach"),
            "{warning}"
        );
        assert!(
            warning.ends_with(&format!("`{origin}`: {reason}")),
            "{warning}"
        );
        assert!(!output.stderr.contains(CANARY), "{}", output.stderr);
    }
    assert_eq!(hangs.requests().len(), 2, "one for each signal");
}

#[tokio::test]
async fn terminated_run_still_sends_its_trace() {
    let collector = Collector::start(Answer::Takes);
    let project = project(&collector).await;
    pipeline(
        &project,
        "hooks: { before: [ { command: 'touch waits; sleep 600' } ] }\n",
    );

    let run = project.spawn(RUN);
    let waits = project.path().join("waits");
    eventually("the hook waits", async || waits.exists()).await;
    run.terminate();
    run.wait().await.expect_code(143);

    let (run, hook) = (collector.span("run a"), collector.span("hook before"));
    assert_eq!((run.failed, run.status.as_str()), (true, "terminated"));
    assert_eq!(run.attributes["syncset.exit_code"], 143);
    assert_eq!((hook.failed, hook.parent_id), (true, run.span_id));
}

#[tokio::test]
async fn run_and_its_hooks_join_the_trace_they_are_started_in() {
    let collector = Collector::start(Answer::Takes);
    let mut project = project(&collector).await;
    pipeline(
        &project,
        "hooks: { after: [ { command: 'echo $TRACEPARENT > told' } ] }\n",
    );
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    project.set("TRACEPARENT", &format!("00-{trace}-{parent}-01"));

    project.syncset(RUN).await.expect_success();

    let (run, hook) = (collector.span("run a"), collector.span("hook after"));
    assert_eq!(
        (run.trace_id.as_str(), run.parent_id.as_str()),
        (trace, parent)
    );
    assert_eq!(hook.parent_id, run.span_id);
    assert_eq!(
        project.read("told"),
        format!("00-{trace}-{}-01\n", hook.span_id)
    );
}

#[tokio::test]
async fn lines_of_a_json_log_name_the_trace() {
    let collector = Collector::start(Answer::Takes);
    let mut project = project(&collector).await;
    pipeline(
        &project,
        "hooks: { after: [ { command: 'echo hello' } ] }\n",
    );
    project.set("SYNCSET_LOG", "info");
    refuse_rows(&project).await;
    let words = ["--log-format", "json", "pipeline", "run", "a"];

    let output = project.syncset(words).await.expect_code(3);

    let run = collector.span("run a");
    let messages: Vec<String> = output
        .stderr
        .lines()
        .map(|line| {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(line["trace_id"], run.trace_id, "{line}");
            assert_eq!(line["span_id"], run.span_id, "{line}");
            line["message"].as_str().expect("a message").to_owned()
        })
        .collect();
    for expected in ["hook printed", "table finished", "run finished"] {
        assert!(
            messages.iter().any(|message| message == expected),
            "{expected}: {messages:?}"
        );
    }
}

#[tokio::test]
async fn run_that_cannot_begin_is_seen_too() {
    let collector = Collector::start(Answer::Takes);
    let project = project(&collector).await;
    project.pipeline("a", "version: 1\nsource: nowhere\n");

    project.syncset(RUN).await.expect_code(2);

    let run = collector.span("run a");
    assert_eq!((run.failed, run.status.as_str()), (true, "config"));
    assert_eq!(run.attributes["syncset.exit_code"], 2);
    assert_eq!(
        collector.gauges()["syncset_run_exit_code{pipeline=a,project=shop}"],
        2.0
    );
}

#[tokio::test]
async fn tables_that_commit_together_share_a_unit() {
    let collector = Collector::start(Answer::Takes);
    let project = project(&collector).await;
    pipeline(&project, "consistency: pipeline\n");

    project.syncset(RUN).await.expect_success();

    let (run, unit) = (collector.span("run a"), collector.span("tables together"));
    assert_eq!(unit.parent_id, run.span_id);
    assert!(!unit.failed, "{unit:?}");
    assert_eq!(collector.span("table t").parent_id, run.span_id);
}

#[tokio::test]
async fn collector_with_tls_is_trusted_by_its_authority_only() {
    let certificates = Certificates::make();
    let collector = Collector::start_tls(&certificates);
    let project = project(&collector).await;
    let authority = certificates.authority();
    let trusted = [("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.as_str())];

    let unknown = project.syncset(RUN).await.expect_success();
    assert_eq!(collector.requests().len(), 0);
    let known = project
        .spawn_with(RUN, &trusted)
        .wait()
        .await
        .expect_success();

    assert_eq!(collector.span("run a").attributes["syncset.exit_code"], 0);
    let missing = [("OTEL_EXPORTER_OTLP_CERTIFICATE", "missing.pem")];
    let missing = project.spawn_with(RUN, &missing).wait().await;
    insta::assert_snapshot!(warnings(&missing.expect_success()).join("\n"), @"warning: no telemetry is sent: `OTEL_EXPORTER_OTLP_CERTIFICATE` names `missing.pem`, which cannot be read: No such file or directory (os error 2)");
    assert_eq!(warnings(&known), Vec::<&str>::new());
    let warnings = warnings(&unknown);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("certificate"), "{warnings:?}");
}
