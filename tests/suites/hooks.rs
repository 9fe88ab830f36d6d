//! Hooks: when they run, what they are told, how they end.

use kit::{Output, Process, Project, eventually};
use std::time::Duration;

const RUN: [&str; 3] = ["pipeline", "run", "p"];

/// A project whose pipeline copies one small table between two files.
struct Lab {
    project: Project,
}

impl Lab {
    async fn new(hooks: &str) -> Self {
        let project = Project::new(
            "version: 1\nlease: { expires: 5s }\nconnections:\n  from: { url: \"sqlite:from.db\" }\n  \
             into: { url: \"sqlite:into.db\" }\n",
        );
        let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')";
        project.sqlite("from.db").execute(sql).await;
        let lab = Self { project };
        lab.hooks(hooks);
        lab
    }

    fn hooks(&self, hooks: &str) {
        let text =
            format!("version: 1\nsource: from\ntarget: into\ntables: {{ t: {{}} }}\n{hooks}");
        self.project.pipeline("p", &text);
    }

    async fn run(&self) -> Output {
        self.project.syncset(RUN).await
    }

    /// A file of the project; empty if it is not there.
    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.project.path().join(name)).unwrap_or_default()
    }

    fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.text(name)).expect("the hook was given JSON")
    }

    async fn file_appears(&self, name: &str) {
        eventually(name, async || !self.text(name).is_empty()).await;
    }

    async fn copied(&self) -> bool {
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 't'";
        self.project.sqlite("into.db").value(tables).await == "1"
    }
}

/// Each list with a hook that notes its turn and what it was told.
const NOTING: &str = r#"
hooks:
  before: [ { command: 'cat > before.json; echo "$SYNCSET_HOOK ${SYNCSET_EXIT_CODE-none}" >> turns' } ]
  on_success: [ { command: 'cat > success.json; echo "$SYNCSET_HOOK $SYNCSET_EXIT_CODE" >> turns' } ]
  on_failure: [ { command: 'cat > failure.json; echo "$SYNCSET_HOOK $SYNCSET_EXIT_CODE" >> turns' } ]
  after: [ { command: 'cat > after.json; echo "$SYNCSET_HOOK $SYNCSET_PROJECT/$SYNCSET_PIPELINE $SYNCSET_RUN_ID" >> turns' } ]
"#;

#[tokio::test]
async fn hooks_run_in_order_and_know_the_run() {
    let lab = Lab::new(NOTING).await;

    let report = lab
        .project
        .syncset(["pipeline", "run", "p", "--output", "json"])
        .await
        .expect_success()
        .json();

    let run_id = report["run_id"].as_str().expect("a run has an id");
    let turns = format!("before none\non_success 0\nafter default/p {run_id}\n");
    assert_eq!(lab.text("turns"), turns);
    let before = lab.json("before.json");
    assert_eq!(before["run_id"], run_id);
    assert_eq!(before["tables"][0]["table"], "t");
    let after = lab.json("after.json");
    assert_eq!(
        (&after["hook"], &after["exit_code"]),
        (&"after".into(), &0.into())
    );
    assert_eq!(after["tables"][0]["rows_written"], 1);
    let outcomes: Vec<_> = report["hooks"]
        .as_array()
        .expect("hooks are reported")
        .iter()
        .map(|hook| format!("{} {}", hook["hook"], hook["outcome"]))
        .collect();
    assert_eq!(
        outcomes,
        [
            r#""before" "done""#,
            r#""on_success" "done""#,
            r#""after" "done""#
        ]
    );
}

#[tokio::test]
async fn failing_hook_before_the_run_stops_it_unwritten() {
    let lab = Lab::new(
        "hooks:\n  before:\n    - { command: ['false'] }\n    - { command: 'echo second >> turns' }\n  \
         on_success: [ { command: 'echo success >> turns' } ]\n  \
         on_failure: [ { command: 'echo failure $SYNCSET_EXIT_CODE >> turns' } ]\n  \
         after: [ { command: 'echo after $SYNCSET_EXIT_CODE >> turns' } ]\n",
    )
    .await;

    let output = lab.run().await;

    insta::assert_snapshot!(output.snapshot(), @"
    exit: 1
    stderr:
    error: hook `before` exited with 1 (pipelines/p.yaml:7:7)
    hint: what it printed is in the log above; `--no-hooks` runs without hooks
    ");
    assert_eq!(lab.text("turns"), "failure 1\nafter 1\n");
    assert!(!lab.copied().await);
}

#[tokio::test]
async fn failing_hook_after_the_run_warns_or_fails_as_asked() {
    let lab = Lab::new("hooks: { on_success: [ { command: [./missing] } ] }\n").await;
    let warned = lab.run().await;
    lab.hooks("hooks: { after: [ { command: 'exit 7', on_error: fail } ] }\n");
    let failed = lab.run().await;
    lab.hooks("hooks: { before: [ { command: 'exit 7', on_error: warn } ] }\n");
    let gone_on = lab.run().await;

    insta::assert_snapshot!(warned.snapshot(), @"
    exit: 0
    stdout:
    t  loaded      1 read, 1 written, 0 deleted, [time]
    p: done in [time]
    stderr:
    warning: hook `on_success` failed (pipelines/p.yaml:5:24): `./missing` cannot be started: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(failed.snapshot(), @"
    exit: 1
    stdout:
    t  unchanged   1 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 1
    stderr:
    error: hook `after` exited with 7 (pipelines/p.yaml:5:19)
    hint: what it printed is in the log above; `--no-hooks` runs without hooks
    ");
    insta::assert_snapshot!(gone_on.snapshot(), @"
    exit: 0
    stdout:
    t  unchanged   1 read, 0 written, 0 deleted, [time]
    p: done in [time]
    stderr:
    warning: hook `before` exited with 7 (pipelines/p.yaml:5:20)
    ");
}

/// A hook that leaves a child behind, notes its id and waits.
const HANGING: &str = "sleep 300 & echo $! > child; wait";

/// Whether the process that a hook noted still runs.
fn child_runs(lab: &Lab) -> bool {
    let id = lab.text("child");
    let state = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    // Killed and not waited for by anybody yet is not running.
    state.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn hook_that_takes_too_long_ends_with_all_it_started() {
    let hook = format!("{{ command: '{HANGING}', timeout: 5s }}");
    let lab = Lab::new(&format!("hooks: {{ before: [ {hook} ] }}\n")).await;

    let output = lab.run().await.expect_code(1);

    assert!(
        output.stderr.contains("did not end within 5s"),
        "{}",
        output.stderr
    );
    eventually("the child is gone", async || !child_runs(&lab)).await;
    assert!(!lab.copied().await);
}

async fn terminated(lab: &Lab, mut run: Process) -> Output {
    lab.file_appears("child").await;
    run.terminate();
    assert!(
        run.ends_within(Duration::from_secs(60)).await,
        "it waits for the hook"
    );
    run.wait().await
}

#[tokio::test]
async fn signal_ends_a_hook_and_the_run() {
    let lab = Lab::new(&format!(
        "hooks: {{ before: [ {{ command: '{HANGING}' }} ] }}\n"
    ))
    .await;
    let before = terminated(&lab, lab.project.spawn(RUN)).await;
    let written = lab.copied().await;
    std::fs::remove_file(lab.project.path().join("child")).expect("the hook made it");
    lab.hooks(&format!(
        "hooks: {{ after: [ {{ command: '{HANGING}' }} ] }}\n"
    ));
    let after = terminated(&lab, lab.project.spawn(RUN)).await;

    assert_eq!((before.code, written), (143, false), "{}", before.stderr);
    assert_eq!(after.code, 143, "{}", after.stderr);
    assert!(lab.copied().await, "{}", after.stderr);
    eventually("the child is gone", async || !child_runs(&lab)).await;
}

#[tokio::test]
async fn hooks_of_two_runs_never_overlap() {
    let hook = "echo turn >> turns; while [ ! -e go ]; do sleep 0.05; done";
    let lab = Lab::new(&format!(
        "hooks: {{ after: [ {{ command: '{hook}' }} ] }}\n"
    ))
    .await;
    let first = lab.project.spawn(RUN);
    lab.file_appears("turns").await;

    let second = lab.run().await;
    let turns = lab.text("turns");
    lab.project.file("go", "");
    first.wait().await.expect_success();

    second.expect_code(7);
    assert_eq!(turns, "turn\n");
}

#[tokio::test]
async fn run_that_lost_its_lease_leaves_its_last_hooks_out() {
    let lab = Lab::new(
        "hooks:\n  before: [ { command: 'echo up > up; while [ ! -e go ]; do sleep 0.05; done' } ]\n  \
         after: [ { command: 'echo after > after' } ]\n",
    )
    .await;
    let run = lab.project.spawn(RUN);
    lab.file_appears("up").await;
    let unlocked = lab.project.syncset(["pipeline", "unlock", "p"]).await;
    lab.project.file("go", "");
    let ended = run.wait().await;

    unlocked.expect_success();
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("hooks after the run were left out"),
        "{}",
        ended.stderr
    );
    assert_eq!(lab.text("after"), "");
}

#[tokio::test]
async fn plans_and_dry_runs_list_hooks_and_run_none() {
    let lab = Lab::new(NOTING).await;

    let plan = lab
        .project
        .syncset(["pipeline", "plan", "p"])
        .await
        .expect_success();
    let dry = lab
        .project
        .syncset(["pipeline", "run", "p", "--dry-run"])
        .await
        .expect_success();
    let without = lab
        .project
        .syncset(["pipeline", "run", "p", "--no-hooks"])
        .await
        .expect_success();

    assert!(
        plan.stdout
            .contains("hook before: shell (pipelines/p.yaml:7:13)"),
        "{}",
        plan.stdout
    );
    assert!(
        dry.stderr.contains("hook `after` would be run"),
        "{}",
        dry.stderr
    );
    assert!(!without.stderr.contains("hook"), "{}", without.stderr);
    assert_eq!(lab.text("turns"), "");
}

#[tokio::test]
async fn commands_know_dotenv_and_the_log_knows_no_secret() {
    let mut lab = Lab::new(
        "hooks: { after: [ { command: 'echo \"token $TOKEN by $PLAIN\"; test \"$TOKEN\" = canary-0815; echo $? > told' } ] }\n",
    )
    .await;
    lab.project
        .file(".env", "TOKEN=canary-0815\nPLAIN=overruled\n");
    lab.project
        .set("PLAIN", "environment")
        .set("SYNCSET_LOG", "info");

    let output = lab.run().await.expect_success();

    assert_eq!(lab.text("told"), "0\n");
    let printed = "token [secret] by environment";
    assert!(output.stderr.contains(printed), "{}", output.stderr);
    assert!(!output.stderr.contains("canary-0815"), "{}", output.stderr);
}

#[tokio::test]
async fn log_knows_passwords_of_urls_in_every_form_and_place() {
    let source = kit::postgres().await.database("hook_secrets").await;
    source.execute("CREATE TABLE t (id int PRIMARY KEY)").await;
    // This server asks nobody for a password.
    let url = source.url_as("postgres", "geh#eim-1");
    let mut project = Project::new("version: 1\n");
    project.pipeline(
        "p",
        &format!(
            "version: 1\nsource: '{url}?password=parole-2'\ntarget: 'sqlite:into.db'\n\
             tables: {{ public.t: {{}} }}\nhooks:\n  before:\n    \
             - {{ command: 'echo \"known: geh%23eim-1 geh#eim-1 parole-2\"' }}\n"
        ),
    );
    project.set("SYNCSET_LOG", "info");

    let output = project.syncset(RUN).await.expect_success();

    let printed = "known: [secret] [secret] [secret]";
    assert!(output.stderr.contains(printed), "{}", output.stderr);
    for secret in ["eim-1", "parole-2"] {
        assert!(!output.stderr.contains(secret), "{}", output.stderr);
    }
}

#[tokio::test]
async fn only_the_end_of_long_output_is_logged() {
    let count = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 3";
    let lab = Lab::new(&format!(
        "hooks: {{ after: [ {{ command: '{count}' }} ] }}\n"
    ))
    .await;

    let output = lab.run().await.expect_success();

    assert!(
        output.stderr.contains("line 19999"),
        "what failed is seen without any setting"
    );
    assert!(!output.stderr.contains("line 5000"));
    assert!(
        output.stderr.len() < 200_000,
        "{} bytes",
        output.stderr.len()
    );
}

#[tokio::test]
async fn statements_run_on_named_connections_and_on_both_ends() {
    let server = kit::postgres().await;
    let (source, target) = (
        server.database("hook_source").await,
        server.database("hook_target").await,
    );
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE note (what text)")
        .await;
    let project = Project::new(&format!(
        "version: 1\nconnections:\n  from: {{ url: \"{}\" }}\n  side: {{ url: \"sqlite:side.db\" }}\n",
        source.url()
    ));
    project
        .sqlite("side.db")
        .execute("CREATE TABLE note (what TEXT)")
        .await;
    project.pipeline(
        "p",
        &format!(
            "version: 1\nsource: from\ntarget: \"{}\"\ntables: {{ public.t: {{}} }}\nhooks:\n  \
             before:\n    - {{ sql: \"INSERT INTO t VALUES (1); INSERT INTO note VALUES ('before')\", connection: source }}\n  \
             on_success:\n    - {{ sql: \"VACUUM public.t\", connection: target }}\n    \
             - {{ sql: \"SELECT 1 FROM no_such_table\", connection: target }}\n    \
             - {{ sql: \"INSERT INTO note VALUES ('one'); INSERT INTO note VALUES ('two')\", connection: side }}\n",
            target.url()
        ),
    );

    let output = project.syncset(RUN).await.expect_success();

    assert_eq!(
        source.value("SELECT string_agg(what, ',') FROM note").await,
        "before"
    );
    assert_eq!(
        target.value("SELECT count(*) FROM t").await,
        "1",
        "it was written before the run"
    );
    let notes = project
        .sqlite("side.db")
        .value("SELECT group_concat(what) FROM note")
        .await;
    assert_eq!(notes, "one,two", "a hook that failed holds up no other");
    let warning = "warning: hook `on_success` failed (pipelines/p.yaml:10:7)";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
}

#[tokio::test]
async fn statements_that_take_too_long_end_at_the_server() {
    let server = kit::postgres().await;
    let database = server.database("hook_slow").await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await;
    let project = Project::between(&database.url(), "sqlite:into.db");
    let slow =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    for (connection, sql) in [("source", "SELECT pg_sleep(300)"), ("target", slow)] {
        project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\ntables: {{ public.t: {{}} }}\n\
                 hooks: {{ before: [ {{ sql: \"{sql}\", connection: {connection}, timeout: 2s }} ] }}\n"
            ),
        );

        let output = project.syncset(RUN).await.expect_code(1);

        assert!(
            output.stderr.contains("did not end within 2s"),
            "{}",
            output.stderr
        );
    }
    eventually("the statement has ended", async || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                        AND state = 'active' AND query = 'SELECT pg_sleep(300)'";
        database.value(sleeping).await == "0"
    })
    .await;
}
