//! How a run behaves for whoever starts it: selection, refused rows, budgets, locks, memory.

use kit::{Database, Project, SqliteFile, compare};

async fn databases() -> (Database, Database) {
    let server = kit::postgres().await;
    (
        server.database("run_source").await,
        server.database("run_target").await,
    )
}

fn project(source: &Database, target: &Database, tables: &str) -> Project {
    let project = Project::between(&source.url(), &target.url());
    let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n{tables}");
    project.pipeline("p", &text);
    project
}

#[tokio::test]
async fn rows_that_stop_matching_leave_the_target() {
    let (source, target) = databases().await;
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, country text NOT NULL, note text, \
             updated_at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO t (id, country) SELECT i, CASE WHEN i % 2 = 0 THEN 'DE' ELSE 'FR' END \
             FROM generate_series(1, 100) i",
        )
        .await;
    for (name, capture) in [
        ("by_xmin", "xmin"),
        (
            "by_cursor",
            "{ mode: cursor, column: updated_at, written_by: database }",
        ),
        ("by_full", "full"),
    ] {
        let tables = format!(
            "  public.t: {{ columns: [id, country, updated_at], where: \"country = 'DE'\", to: {name}, capture: {capture} }}\n"
        );
        let project = project(&source, &target, &tables);
        project.file("syncset.yaml", &format!("version: 1\nproject: {name}\nconnections:\n  source: {{ url: \"{}\" }}\n  target: {{ url: \"{}\" }}\n", source.url(), target.url()));
        project
            .syncset(["pipeline", "run", "p"])
            .await
            .expect_success();
        source
            .execute(
                "UPDATE t SET country = 'AT', updated_at = clock_timestamp() WHERE id = 2; \
                 UPDATE t SET country = 'DE', updated_at = clock_timestamp() WHERE id = 1",
            )
            .await;

        project
            .syncset(["pipeline", "run", "p"])
            .await
            .expect_success();

        let wanted = "SELECT id, country FROM t WHERE country = 'DE'";
        compare(
            &source,
            &target,
            wanted,
            &format!("SELECT id, country FROM {name}"),
        )
        .await
        .assert_equal();
        source
            .execute(
                "UPDATE t SET country = 'DE', updated_at = clock_timestamp() WHERE id = 2; \
                 UPDATE t SET country = 'FR', updated_at = clock_timestamp() WHERE id = 1",
            )
            .await;
    }
}

#[tokio::test]
async fn refused_rows_wait_within_the_limit_and_stop_the_table_beyond_it() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY, v int, updated_at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO t (id, v) SELECT i, i FROM generate_series(1, 1000) i; \
             UPDATE t SET v = -1 WHERE id IN (17, 500)")
        .await;
    target
        .execute("CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v > 0), updated_at timestamptz NOT NULL)")
        .await;
    let tables = |max: u32| {
        format!(
            "  public.t: {{ rejects: {{ max_rows: {max} }}, capture: {{ mode: cursor, column: updated_at, written_by: database }} }}\n"
        )
    };
    let strict = project(&source, &target, &tables(0));

    let stopped = strict.syncset(["pipeline", "run", "p"]).await;
    assert_eq!(stopped.code, 1, "{}", stopped.stderr);
    assert!(
        stopped.stderr.contains("key [\"17\"]"),
        "{}",
        stopped.stderr
    );
    assert!(stopped.stderr.contains("t_v_check"), "{}", stopped.stderr);
    assert_eq!(target.value("SELECT count(*) FROM t").await, "0");

    let lenient = project(&source, &target, &tables(5));
    lenient
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    assert_eq!(target.value("SELECT count(*) FROM t").await, "998");
    assert_eq!(
        target.value("SELECT count(*) FROM _syncset.rejected").await,
        "2"
    );

    source
        .execute("UPDATE t SET v = 1, updated_at = clock_timestamp() WHERE id = 17")
        .await;
    lenient
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    assert_eq!(target.value("SELECT count(*) FROM t").await, "999");
    assert_eq!(
        target.value("SELECT count(*) FROM _syncset.rejected").await,
        "1"
    );
}

#[tokio::test]
async fn child_rows_that_come_before_their_parents_are_no_failure() {
    let (source, target) = databases().await;
    let tables = "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE a_child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parent)";
    source.execute("CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE a_child (id int PRIMARY KEY, parent_id int NOT NULL)").await;
    source
        .execute("INSERT INTO parent VALUES (1); INSERT INTO a_child VALUES (10, 1)")
        .await;
    target.execute(tables).await;
    let project = project(
        &source,
        &target,
        "  public.a_child: { capture: xmin }\n  public.parent: { capture: xmin }\n",
    );

    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    source
        .execute("INSERT INTO a_child VALUES (20, 2); INSERT INTO parent VALUES (2)")
        .await;
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();

    assert_eq!(target.value("SELECT count(*) FROM a_child").await, "2");
}

#[tokio::test]
async fn dry_run_and_plan_change_nothing() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50)")
        .await;
    let project = project(&source, &target, "  public.t: {}\n");

    let plan = project
        .syncset(["pipeline", "plan", "p", "--detailed-exitcode"])
        .await
        .expect_code(4);
    let dry = project
        .syncset(["pipeline", "run", "p", "--dry-run"])
        .await
        .expect_success();

    assert!(
        plan.stdout.contains("CREATE TABLE \"public\".\"t\""),
        "{}",
        plan.stdout
    );
    assert!(
        dry.stdout.contains("50 read, up to 50 written"),
        "{}",
        dry.stdout
    );
    let relations = "SELECT count(*) FROM pg_class WHERE relname IN ('t', 'watermark')";
    assert_eq!(target.value(relations).await, "0");
}

#[tokio::test]
async fn spent_time_budget_exits_nine_and_the_next_run_goes_on() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50)")
        .await;
    let project = project(&source, &target, "  public.t: { capture: xmin }\n");

    let spent = project
        .syncset(["pipeline", "run", "p", "--max-duration", "1ns"])
        .await;
    let rest = project.syncset(["pipeline", "run", "p"]).await;

    assert_eq!(spent.code, 9, "{}", spent.stderr);
    assert!(spent.stderr.contains("time budget"), "{}", spent.stderr);
    rest.expect_success();
    assert_eq!(target.value("SELECT count(*) FROM t").await, "50");
}

#[tokio::test]
async fn held_lease_fails_or_is_skipped_as_asked() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50)")
        .await;
    let project = project(&source, &target, "  public.t: { capture: xmin }\n");
    project.file(
        "syncset.yaml",
        &format!(
            "version: 1\nconnections:\n  source: {{ url: \"{}\" }}\n  target: {{ url: \"{}\" }}\n",
            source.url(),
            target.url()
        ),
    );
    let stop = [("SYNCSET_FAIL_POINT", "load.begun=stop")];
    let holder = project.spawn_with(["pipeline", "run", "p"], &stop);
    assert!(holder.frozen().await);

    let failed = project.syncset(["pipeline", "run", "p"]).await;
    let skipped = project
        .syncset(["pipeline", "run", "p", "--on-lock", "skip"])
        .await;
    let unlocked = project.syncset(["pipeline", "unlock", "p"]).await;
    let next = project.syncset(["pipeline", "run", "p"]).await;
    holder.cont();
    let fenced = holder.wait().await;

    assert_eq!(failed.code, 7, "{}", failed.stderr);
    assert!(
        failed.stderr.contains("is being run by"),
        "{}",
        failed.stderr
    );
    skipped.expect_success();
    assert!(
        unlocked.stdout.starts_with("unlocked"),
        "{}",
        unlocked.stdout
    );
    next.expect_success();
    assert_eq!(fenced.code, 7, "{}", fenced.stderr);
    assert_eq!(target.value("SELECT count(*) FROM t").await, "50");
}

#[tokio::test]
async fn sigterm_rolls_back_and_says_so() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50)")
        .await;
    let project = project(&source, &target, "  public.t: { capture: xmin }\n");
    // The target table's lock keeps the unit waiting until the signal comes.
    target.execute("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut blocker = target.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE t IN SHARE MODE")
        .execute(&mut blocker)
        .await
        .expect("the session lives");
    let mut run = project.spawn(["pipeline", "run", "p"]);
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
    while target.value(waits).await == "0" {
        assert!(!run.has_ended(), "{}", run.stderr_so_far());
    }

    run.terminate();
    let ended = run.wait().await;
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut blocker)
        .await
        .expect("the session lives");

    assert_eq!(ended.code, 143, "{}", ended.stderr);
    assert!(ended.stderr.contains("SIGTERM"), "{}", ended.stderr);
    assert_eq!(target.value("SELECT count(*) FROM t").await, "0");
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    assert_eq!(target.value("SELECT count(*) FROM t").await, "50");
}

#[tokio::test]
async fn looking_at_a_missing_sqlite_target_makes_no_file() {
    let (source, _) = databases().await;
    source.execute("CREATE TABLE t (id int PRIMARY KEY)").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = SqliteFile::new(folder.path().join("target.db"));
    let project = Project::between(&source.url(), &target.url());
    let text = "version: 1\nsource: source\ntarget: target\ntables: { public.t: { to: t } }\n";
    project.pipeline("p", text);

    let plan = project.syncset(["pipeline", "plan", "p"]).await;
    let validated = project.syncset(["pipeline", "validate", "p"]).await;
    let dry = project.syncset(["pipeline", "run", "p", "--dry-run"]).await;
    let status = project.syncset(["pipeline", "status", "p"]).await;
    let tested = project.syncset(["connection", "test", "target"]).await;

    for output in [plan, validated, dry, status] {
        output.expect_success();
    }
    assert!(
        tested.stderr.contains("made by the first run"),
        "{}",
        tested.stderr
    );
    let files = std::fs::read_dir(folder.path()).expect("the folder is there");
    assert_eq!(files.count(), 0);
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    assert!(target.path().exists());
}

#[tokio::test]
async fn reset_loads_again_without_touching_rows() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50)")
        .await;
    let project = project(&source, &target, "  public.t: { capture: xmin }\n");
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    target.execute("INSERT INTO t VALUES (1000)").await;

    project
        .syncset(["pipeline", "reset", "p"])
        .await
        .expect_success();
    let again = project
        .syncset(["pipeline", "run", "p", "--output", "json"])
        .await
        .expect_success();

    let report = again.json();
    assert_eq!(report["tables"][0]["rows_written"], 0);
    assert_eq!(report["tables"][0]["rows_deleted"], 1);
    assert_eq!(target.value("SELECT count(*) FROM t").await, "50");
}

#[tokio::test]
async fn conditions_and_columns_of_this_side_keep_the_same_rows_as_sql() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(10,2)); \
             INSERT INTO t SELECT i, CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN 'Anna' ELSE 'bob' END, i / 7.0 \
             FROM generate_series(1, 300) i")
        .await;
    let project = project(
        &source,
        &target,
        "  public.t:\n    where: \"lower(name) = 'anna'\"\n    where_pushdown: best_effort\n    \
         derive: { initial: \"upper(left(name, 1))\", twice: \"amount * 2\" }\n    rename: { name: full_name }\n    capture: xmin\n",
    );

    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    // The last one leaves no trace that a window could see.
    for (change, flags) in [
        (
            "UPDATE t SET name = 'Anna' WHERE id = 3; UPDATE t SET name = 'X' WHERE id = 4",
            vec![],
        ),
        ("DELETE FROM t WHERE id = 7", vec!["--full-refresh"]),
    ] {
        source.execute(change).await;

        let run = ["pipeline", "run", "p"].into_iter().chain(flags);
        project.syncset(run).await.expect_success();

        compare(
            &source,
            &target,
            "SELECT id, name, amount, upper(left(name, 1)), amount * 2 FROM t WHERE lower(name) = 'anna'",
            "SELECT id, full_name, amount, initial, twice FROM t",
        )
        .await
        .assert_equal();
    }
}
