//! What a run owes that goes on where another was killed: the same borders, and the present state
//! of every row.

use kit::{Database, Place, Project, SqliteFile, compare};

const RUN: [&str; 9] = [
    "pipeline",
    "run",
    "p",
    "--jobs",
    "1",
    "--memory",
    "4MiB",
    "--on-lock",
    "wait=170s",
];

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text,
    updated_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO t SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 6000) g";

const CAPTURES: [&str; 2] = [
    "xmin",
    "{ mode: cursor, column: updated_at, written_by: database }",
];

async fn database(name: &str) -> Database {
    kit::postgres().await.database(name).await
}

fn project(source: &Database, target: Place<'_>, capture: &str) -> Project {
    let project = Project::between(&source.url(), &target.url());
    project.pipeline(
        "p",
        &format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  \
             public.t: {{ columns: [id, v], to: t, capture: {capture} }}\n"
        ),
    );
    project
}

async fn kill_at(project: &Project, point: &str) {
    let action = format!("{point}=exit9");
    let run = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
    assert_eq!(run.wait().await.code, 137, "the run never came to {point}");
}

/// Changes every row, in more bytes than one unit holds.
async fn change_all(source: &Database) {
    source
        .execute("UPDATE t SET v = repeat(md5(v), 60), updated_at = clock_timestamp()")
        .await;
}

async fn assert_up_to_date(source: &Database, target: Place<'_>) {
    let rows = "SELECT id, v FROM t";
    compare_places(source.into(), target, rows).await;
}

async fn compare_places(source: Place<'_>, target: Place<'_>, rows: &str) {
    compare(source, target, rows, rows).await.assert_equal();
}

async fn run_that_finishes_a_cut_window_is_up_to_date(target: Place<'_>, capture: &str) {
    let source = database("resume_source").await;
    source.execute(TABLE).await;
    let project = project(&source, target, capture);
    // The window of the load is cut first, then one of those that follow it.
    kill_at(&project, "unit.committed").await;
    for _ in 0..2 {
        change_all(&source).await;
        kill_at(&project, "window.unit_committed").await;

        source
            .execute("UPDATE t SET v = 'newer', updated_at = clock_timestamp() WHERE id < 10")
            .await;
        project.syncset(RUN).await.expect_success();

        assert_up_to_date(&source, target).await;
    }
}

#[tokio::test]
async fn run_to_postgres_that_finishes_a_cut_window_is_up_to_date() {
    for capture in CAPTURES {
        let target = database("resume_target").await;
        run_that_finishes_a_cut_window_is_up_to_date((&target).into(), capture).await;
    }
}

#[tokio::test]
async fn run_to_sqlite_that_finishes_a_cut_window_is_up_to_date() {
    for capture in CAPTURES {
        let folder = tempfile::tempdir().unwrap();
        let target = SqliteFile::new(folder.path().join("target.db"));
        run_that_finishes_a_cut_window_is_up_to_date((&target).into(), capture).await;
    }
}

#[tokio::test]
async fn load_that_goes_on_keeps_its_watermark_and_its_borders() {
    let (source, target) = (
        database("resume_source").await,
        database("resume_target").await,
    );
    source.execute(TABLE).await;
    let project = project(&source, (&target).into(), "xmin");
    let borders = "SELECT w.position::text, c.index, c.after::text, c.up_to::text
        FROM _syncset.watermark w, _syncset.chunk c ORDER BY 2";
    let done = "SELECT count(*) FROM _syncset.chunk WHERE done";
    kill_at(&project, "unit.committed").await;
    let first = target.rows(borders).await;
    assert!(first.len() > 2, "there are {} chunks", first.len());

    source
        .execute("UPDATE t SET v = 'newer', updated_at = clock_timestamp() WHERE id % 7 = 0")
        .await;
    kill_at(&project, "unit.committed").await;

    assert_eq!(target.rows(borders).await, first);
    assert_eq!(target.value(done).await, "2");
    project.syncset(RUN).await.expect_success();
    assert_up_to_date(&source, (&target).into()).await;
}

#[tokio::test]
async fn lease_of_a_unit_that_waits_is_renewed() {
    let (source, target) = (
        database("resume_source").await,
        database("resume_target").await,
    );
    source
        .execute("CREATE TABLE t (id bigint PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
        .await;
    target
        .execute("CREATE TABLE t (id bigint PRIMARY KEY, v text)")
        .await;
    let project = project(&source, (&target).into(), "xmin");
    let mut other = target.connect().await;
    let lock = "BEGIN; LOCK TABLE t IN EXCLUSIVE MODE";
    sqlx::Executor::execute(&mut other, kit::postgres::raw(lock))
        .await
        .unwrap();
    let run = project.spawn(RUN);
    let waits =
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass)";
    kit::eventually("the unit waits", async || target.value(waits).await == "t").await;
    let expires = "SELECT expires_at FROM _syncset.lease";

    let before = target.value(expires).await;
    let renewed = async || target.value(expires).await != before;
    kit::eventually("the lease is renewed", renewed).await;
    sqlx::Executor::execute(&mut other, kit::postgres::raw("COMMIT"))
        .await
        .unwrap();

    run.wait().await.expect_success();
    assert_up_to_date(&source, (&target).into()).await;
}
