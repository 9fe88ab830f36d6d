//! Whole runs into MySQL and MariaDB: from PostgreSQL and SQLite, stopped, killed and cut off.

use crate::mysql_target_lab::on_both;
use kit::{
    CHINOOK_TABLES, CommitProxy, Comparison, CutMoment, Database, Flavour, Load, LoadOptions,
    MysqlDatabase, MysqlServer, Place, Project, SqliteFile, TextRow,
};
use serde_json::Value;

on_both!(
    chinook_of_postgres_arrives_and_comes_once,
    chinook_of_sqlite_arrives_and_comes_once,
    chinook_of_the_other_server_arrives_and_comes_once,
    chinook_of_its_own_kind_arrives_and_comes_once,
    bad_rows_are_set_aside_and_come_when_they_are_mended,
    edited_selection_alters_the_table,
    run_stopped_inside_a_chunk_is_succeeded,
    run_stopped_before_commit_is_succeeded,
    run_stopped_between_units_is_succeeded,
    run_stopped_after_settling_was_compared_is_succeeded,
    run_after_kill_9_starts_at_once,
    answer_of_a_commit_that_is_lost_loses_nothing,
    commit_that_is_still_under_way_is_waited_for,
    commit_that_never_arrives_is_done_again,
);

/// Commits of one run that are cut, one after the other; a run here has fewer.
const CUTS_MAX: u32 = 40;

/// A lease whose end a test can wait for.
const SHORT_LEASE: &str = "lease: { expires: 5s }\n";

/// A lease whose end no test sees.
const LONG_LEASE: &str = "lease: { expires: 24h }\n";

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];
const RUN_WAITING: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=170s"];

async fn run(project: &Project) -> Value {
    project.syncset(RUN).await.expect_success().json()
}

/// Rows written and deleted, over all tables of a report.
fn written(report: &Value) -> (u64, u64) {
    let tables = report["tables"].as_array().expect("a report has tables");
    let sum = |key: &str| tables.iter().map(|it| it[key].as_u64().unwrap_or(0)).sum();
    (sum("rows_written"), sum("rows_deleted"))
}

/// Stores spell numbers and times as they do; zeros at the end of a fraction mean nothing.
fn canonical(rows: Vec<TextRow>) -> Vec<TextRow> {
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || b"-+: .".contains(&byte))
    };
    let cell = |text: String| {
        if !text.contains('.') || !is_plain(&text) {
            return text;
        }
        let text = text.trim_end_matches('0');
        text.trim_end_matches('.').to_owned()
    };
    rows.into_iter()
        .map(|row| row.into_iter().map(|value| value.map(cell)).collect())
        .collect()
}

async fn chinook(source: Place<'_>, target: &MysqlDatabase) {
    let project = Project::between(&source.url(), &target.url());
    let is_postgres = matches!(source, Place::Postgres(_));
    let pattern = if is_postgres { "public.*" } else { "*" };
    let quote = if matches!(source, Place::Mysql(_)) {
        '`'
    } else {
        '"'
    };
    project.pipeline(
        "p",
        &format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  \"{pattern}\":\n    \
             capture: full\n    to: \"{{table}}\"\n"
        ),
    );

    let first = run(&project).await;
    let second = run(&project).await;

    let rows: u64 = CHINOOK_TABLES.iter().map(|table| table.row_count).sum();
    assert_eq!(written(&first), (rows, 0));
    assert_eq!(
        written(&second),
        (0, 0),
        "an unchanged source writes nothing"
    );
    for table in &CHINOOK_TABLES {
        let name = if is_postgres {
            table.postgres
        } else {
            table.sqlite
        };
        let own = source
            .rows(&format!("SELECT * FROM {quote}{name}{quote}"))
            .await;
        let copied = target.rows(&format!("SELECT * FROM `{name}`")).await;
        let comparison = Comparison::of(canonical(own), canonical(copied), table.key_columns);
        assert!(comparison.is_equal(), "{name}: {comparison}");
    }
}

async fn chinook_of_postgres_arrives_and_comes_once(server: &'static MysqlServer) {
    let source = kit::postgres().await.database("chinook").await;
    kit::load_chinook(&source).await;
    let target = server.database("chinook").await;

    chinook((&source).into(), &target).await;
}

async fn chinook_of_sqlite_arrives_and_comes_once(server: &'static MysqlServer) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = SqliteFile::new(folder.path().join("chinook.db"));
    kit::load_chinook_sqlite(&source).await;
    let target = server.database("chinook").await;

    chinook((&source).into(), &target).await;
}

async fn chinook_of_the_other_server_arrives_and_comes_once(server: &'static MysqlServer) {
    let other = match server.flavour() {
        Flavour::Mysql => kit::mariadb(),
        Flavour::Mariadb => kit::mysql(),
    };
    let source = other.database("chinook").await;
    kit::load_chinook_mysql(&source).await;
    let target = server.database("chinook").await;

    chinook((&source).into(), &target).await;
}

async fn chinook_of_its_own_kind_arrives_and_comes_once(server: &'static MysqlServer) {
    let source = server.database("chinook").await;
    kit::load_chinook_mysql(&source).await;
    let target = server.database("chinook").await;

    chinook((&source).into(), &target).await;
}

/// A source in PostgreSQL and a target.
struct Lab {
    source: Database,
    target: MysqlDatabase,
    project: Project,
}

impl Lab {
    async fn new(server: &'static MysqlServer, setup: &str, pipeline: &str) -> Self {
        let source = kit::postgres().await.database("to_mysql").await;
        source.execute(setup).await;
        let target = server.database("to_mysql").await;
        let project = Project::between(&source.url(), &target.url());
        let lab = Self {
            source,
            target,
            project,
        };
        lab.pipeline(pipeline);
        lab
    }

    fn pipeline(&self, tables: &str) {
        let head = "version: 1\nsource: source\ntarget: target\n";
        self.project.pipeline("p", &format!("{head}{tables}"));
    }
}

const STAMPED: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(9,2),
     updated_at timestamptz NOT NULL DEFAULT clock_timestamp() - interval '1 hour');
     INSERT INTO t SELECT i, 'name ' || i, i FROM generate_series(1, 1000) i";

async fn bad_rows_are_set_aside_and_come_when_they_are_mended(server: &'static MysqlServer) {
    let lab = Lab::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp, f float8);
         INSERT INTO t SELECT i, '2024-01-01', i FROM generate_series(1, 500) i;
         UPDATE t SET at = 'infinity' WHERE id = 7; UPDATE t SET f = 'NaN' WHERE id = 300",
        "tables:\n  public.t: { capture: full, to: t }\n",
    )
    .await;
    let refused = lab.project.syncset(RUN).await;
    lab.pipeline("tables:\n  public.t: { capture: full, to: t, rejects: { max_rows: 5 } }\n");

    let first = run(&lab.project).await;
    lab.source
        .execute("UPDATE t SET at = '2024-02-02', f = 1 WHERE id IN (7, 300)")
        .await;
    let second = run(&lab.project).await;

    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stdout.contains("column `at`") || refused.stderr.contains("column `at`"));
    assert_eq!(written(&first).0, 498);
    assert_eq!(written(&second).0, 2);
    let rejected = "SELECT COUNT(*) FROM _syncset_rejected";
    assert_eq!(lab.target.value(rejected).await, "0");
    assert_eq!(lab.target.value("SELECT COUNT(*) FROM t").await, "500");
}

async fn edited_selection_alters_the_table(server: &'static MysqlServer) {
    let lab = Lab::new(
        server,
        STAMPED,
        "tables:\n  public.t: { capture: full, to: t, columns: [id, name] }\n",
    )
    .await;
    run(&lab.project).await;
    lab.pipeline(
        "tables:\n  public.t: { capture: full, to: t, columns: [id, amount], rename: { id: number } }\n",
    );

    run(&lab.project).await;
    let again = run(&lab.project).await;

    assert_eq!(written(&again), (0, 0));
    let columns = "SELECT GROUP_CONCAT(COLUMN_NAME ORDER BY COLUMN_NAME) \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't'";
    assert_eq!(lab.target.value(columns).await, "amount,number");
    let sum = "SELECT CONCAT(COUNT(*), ' ', SUM(amount)) FROM t";
    assert_eq!(lab.target.value(sum).await, "1000 500500.00");
    lab.pipeline("tables:\n  public.t: { capture: full, to: u, columns: [id, amount] }\n");
    let moved = run(&lab.project).await;
    let hint = "to drop them: DROP TABLE `t`";
    assert!(moved.to_string().contains(hint), "{moved}");
}

/// A source of more than one chunk, and a target that may be another one for each run.
struct FenceLab {
    source: Database,
    target: MysqlDatabase,
    load: Load,
}

impl FenceLab {
    async fn new(server: &'static MysqlServer) -> Self {
        let source = kit::postgres().await.database("fence_source").await;
        let options = LoadOptions {
            initial_rows: 10_000,
            label_bytes: 1_000,
            ..LoadOptions::default()
        };
        let load = Load::create(&source, options).await;
        Self {
            source,
            target: server.database("fence_target").await,
            load,
        }
    }

    /// A project whose lease lasts as long as the lines say.
    fn project(&self, target_url: &str, lease: &str) -> Project {
        let kind = self.target.flavour().name();
        let project = Project::new(&format!(
            "version: 1\n{lease}connections:\n  source: {{ type: postgres, url: \"{}\" }}\n  \
             target: {{ type: {kind}, url: \"{target_url}\", sslmode: disable }}\n",
            self.source.url(),
        ));
        project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\nguards: {{ max_delete_percent: 100 }}\n\
                 tables:\n  public.{}:\n    to: \"{{table}}\"\n    \
                 columns: [id, label, amount, region, revision]\n    where: \"{}\"\n    \
                 capture: {{ mode: cursor, column: updated_at, written_by: database }}\n    \
                 rejects: {{ max_rows: 100 }}\n",
                Load::TABLE,
                Load::WHERE,
            ),
        );
        project
    }

    async fn assert_complete(&self) {
        self.load
            .ledger()
            .assert_at(&self.source, &self.target)
            .await;
    }

    /// What the target holds, and what the state says of it.
    async fn image(&self) -> Vec<TextRow> {
        let mut rows = self
            .target
            .rows("SELECT * FROM load_item ORDER BY id")
            .await;
        let state = "SELECT stream, phase, version, position FROM _syncset_watermark";
        rows.extend(self.target.rows(state).await);
        rows
    }
}

async fn stopped_run_is_succeeded(server: &'static MysqlServer, point: &str) {
    let lab = FenceLab::new(server).await;
    let project = lab.project(&lab.target.url(), SHORT_LEASE);
    let action = format!("{point}=stop");
    let stopped = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
    assert!(stopped.frozen().await, "the run never came to {point}");

    project.syncset(RUN_WAITING).await.expect_success();
    let after_successor = lab.image().await;
    stopped.cont();
    let output = stopped.wait().await;

    assert_eq!(output.code, 7, "{}{}", output.stdout, output.stderr);
    assert_eq!(lab.image().await, after_successor);
    lab.assert_complete().await;
}

async fn run_stopped_inside_a_chunk_is_succeeded(server: &'static MysqlServer) {
    stopped_run_is_succeeded(server, "chunk.batch").await;
}

async fn run_stopped_before_commit_is_succeeded(server: &'static MysqlServer) {
    stopped_run_is_succeeded(server, "unit.before_commit:2").await;
}

async fn run_stopped_between_units_is_succeeded(server: &'static MysqlServer) {
    stopped_run_is_succeeded(server, "unit.committed").await;
}

async fn run_stopped_after_settling_was_compared_is_succeeded(server: &'static MysqlServer) {
    stopped_run_is_succeeded(server, "settle.compared").await;
}

async fn run_after_kill_9_starts_at_once(server: &'static MysqlServer) {
    for point in ["load.begun", "unit.begun", "chunk.batch", "unit.committed"] {
        let lab = FenceLab::new(server).await;
        let project = lab.project(&lab.target.url(), LONG_LEASE);
        let action = format!("{point}=exit9");
        let killed = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
        assert_eq!(killed.wait().await.code, 137, "{point}");

        project.syncset(RUN).await.expect_success();

        lab.assert_complete().await;
    }
}

/// Cuts the first, second, third ... COMMIT of a run, until a run has no such COMMIT.
async fn cut_commits_lose_and_reject_nothing(server: &'static MysqlServer, moment: CutMoment) {
    let mut lab = FenceLab::new(server).await;
    let proxy = CommitProxy::before(server.port(), moment).await;
    let mut cuts = 0;
    for skip in 0..CUTS_MAX {
        lab.target = server.database("fence_target").await;
        let project = lab.project(&lab.target.url_through(proxy.port()), SHORT_LEASE);
        proxy.arm(skip);

        let output = project.syncset(RUN).await;
        let was_cut = proxy.cuts_done() > cuts;
        cuts = proxy.cuts_done();
        proxy.disarm();

        // A cut outside of a unit may end the run, but only as one that is worth retrying.
        assert!(
            [0, 9].contains(&output.code),
            "{skip}: {}{}",
            output.stdout,
            output.stderr
        );
        if output.code == 9 {
            project.syncset(RUN_WAITING).await.expect_success();
        }
        lab.assert_complete().await;
        let rejected = "SELECT COUNT(*) FROM _syncset_rejected";
        assert_eq!(lab.target.value(rejected).await, "0", "{skip}");
        if !was_cut {
            assert!(skip > 3, "a run commits more than {skip} times");
            return;
        }
    }
    panic!("a run does not commit {CUTS_MAX} times");
}

async fn answer_of_a_commit_that_is_lost_loses_nothing(server: &'static MysqlServer) {
    cut_commits_lose_and_reject_nothing(server, CutMoment::AnswerLost).await;
}

async fn commit_that_is_still_under_way_is_waited_for(server: &'static MysqlServer) {
    cut_commits_lose_and_reject_nothing(server, CutMoment::AnswerOpen).await;
}

async fn commit_that_never_arrives_is_done_again(server: &'static MysqlServer) {
    cut_commits_lose_and_reject_nothing(server, CutMoment::RequestLost).await;
}
