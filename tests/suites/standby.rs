//! A streaming standby as the source: what it cannot tell, queries it cancels, its promotion.

use kit::postgres::raw;
use kit::{Database, PostgresServer, Project, compare};
use sqlx::Executor;

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

/// A cursor with the overlap that a standby needs.
const CURSOR: &str = "{ mode: cursor, column: updated_at, written_by: database, overlap: 10m }";

const IMAGE: &str = "SELECT id, v, updated_at FROM t";

/// A primary, its standby, and a target that is neither.
struct Lab {
    primary: PostgresServer,
    standby: PostgresServer,
    source: Database,
    copy: Database,
    target: Database,
}

impl Lab {
    async fn new() -> Self {
        let primary = PostgresServer::start_own("autovacuum = off");
        let source = primary.database("primary").await;
        source
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY, v text, \
                 updated_at timestamptz NOT NULL DEFAULT clock_timestamp()); \
                 CREATE INDEX ON t (updated_at); \
                 INSERT INTO t (id, v) SELECT n, md5(n::text) FROM generate_series(1, 1000) n",
            )
            .await;
        // Whatever stands in the way of replay is cancelled at once.
        let standby = primary.start_standby("max_standby_streaming_delay = 0");
        standby.caught_up_with(&primary).await;
        Self {
            copy: source.at(&standby),
            target: kit::postgres().await.database("standby_target").await,
            primary,
            standby,
            source,
        }
    }

    fn project(&self, capture: &str) -> Project {
        let project = Project::between(&self.copy.url(), &self.target.url());
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: \
             {{ capture: {capture} }}\n"
        );
        project.pipeline("p", &text);
        project
    }

    async fn change(&self, sql: &str) {
        self.source.execute(sql).await;
        self.standby.caught_up_with(&self.primary).await;
    }

    async fn assert_equal(&self, image: &str) {
        compare(&self.source, &self.target, image, image)
            .await
            .assert_equal();
    }
}

#[tokio::test]
async fn time_cursor_of_a_standby_wants_an_overlap() {
    let lab = Lab::new().await;
    let cursor = "{ mode: cursor, column: updated_at, written_by: database }";
    let project = lab.project(cursor);

    let plan = project.syncset(["pipeline", "plan", "p"]).await;
    let run = project.syncset(["pipeline", "run", "p"]).await;

    for refused in [plan, run] {
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        for part in ["`updated_at` of `public.t`", "on a standby", "`overlap:`"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
    }
    let state = "SELECT count(*) FROM pg_namespace WHERE nspname = '_syncset'";
    assert_eq!(lab.target.value(state).await, "0");
}

#[tokio::test]
async fn every_capture_mode_of_a_standby_brings_what_it_has_replayed() {
    let lab = Lab::new().await;
    for (name, capture) in [
        ("by_cursor", CURSOR),
        ("by_xmin", "xmin"),
        ("by_full", "full"),
    ] {
        let project = Project::new(&format!(
            "version: 1\nproject: {name}\nconnections:\n  source: {{ url: \"{}\" }}\n  \
             target: {{ url: \"{}\" }}\n",
            lab.copy.url(),
            lab.target.url()
        ));
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: \
             {{ to: {name}, capture: {capture} }}\n"
        );
        project.pipeline("p", &text);
        project.syncset(RUN).await.expect_success();

        let change = "UPDATE t SET v = v || '!', updated_at = clock_timestamp() WHERE id % 7 = 0 AND id <= 1000; \
             INSERT INTO t (id, v) SELECT max(id) + 1, 'new' FROM t";
        lab.change(change).await;
        let second = project.syncset(RUN).await.expect_success().json();

        let copied = format!("SELECT id, v, updated_at FROM {name}");
        compare(&lab.source, &lab.target, IMAGE, &copied)
            .await
            .assert_equal();
        let written = second["tables"][0]["rows_written"].as_u64();
        assert_eq!(written, Some(143), "{name}: {second}");
    }
}

#[tokio::test]
async fn test_plan_and_doctor_name_a_standby() {
    let lab = Lab::new().await;
    let project = lab.project(CURSOR);

    let tested = project.syncset(["connection", "test", "source"]).await;
    let plan = project.syncset(["pipeline", "plan", "p"]).await;
    let doctor = project.syncset(["doctor", "p"]).await;

    let tested = tested.expect_success().stdout;
    assert!(tested.contains("the server is a standby"), "{tested}");
    assert!(tested.contains("; can be source\n"), "{tested}");
    let found = "warning  source.standby: the server is a standby";
    assert!(doctor.stdout.contains(found), "{}", doctor.stdout);
    let plan = plan.expect_success().stdout;
    assert!(plan.contains("the source is a standby"), "{plan}");
}

#[tokio::test]
async fn chunk_whose_query_the_standby_cancels_is_read_again() {
    let lab = Lab::new().await;
    // A key without an order of ours makes one chunk, larger than what the sockets take.
    lab.change(
        "CREATE TABLE wide (id inet PRIMARY KEY, v text NOT NULL); \
         INSERT INTO wide SELECT '10.0.0.0'::inet + n, repeat(md5(n::text), 64) \
         FROM generate_series(1, 40000) n",
    )
    .await;
    let project = Project::between(&lab.copy.url(), &lab.target.url());
    let text = "version: 1\nsource: source\ntarget: target\ntables:\n  public.wide: \
                { capture: xmin }\n";
    project.pipeline("p", text);
    let frozen = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", "chunk.batch=stop")]);
    assert!(frozen.frozen().await);

    let startup = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'";
    let startup = lab.copy.value(startup).await;
    // VACUUM takes away row versions that the chunk's snapshot still sees.
    lab.source
        .execute("DELETE FROM wide WHERE id < '10.0.40.0'; UPDATE wide SET v = 'x' WHERE id < '10.0.41.0'")
        .await;
    lab.source.execute("VACUUM wide").await;
    // The views cannot be asked: who looks would be in the way of replay too. A query that waits
    // for its client is cancelled when the client goes on; until then replay waits.
    let title = format!("/proc/{startup}/cmdline");
    kit::eventually("replay meets the query", async || {
        let title = std::fs::read_to_string(&title).unwrap_or_default();
        let waits = title.trim_end_matches(['\0', ' ']).ends_with(" waiting");
        waits || lab.standby.log().contains("conflict with recovery")
    })
    .await;
    frozen.cont();
    let report = frozen.wait().await.expect_success().json();
    lab.standby.caught_up_with(&lab.primary).await;
    project.syncset(RUN).await.expect_success();

    assert!(lab.standby.log().contains("conflict with recovery"));
    lab.assert_equal("SELECT id, v FROM wide").await;
    let count = |name: &str| report["tables"][0][name].as_u64();
    let (read, written) = (count("rows_read"), count("rows_written"));
    assert!(read > written, "no row was read twice: {report}");
}

#[tokio::test]
async fn promoted_standby_is_noticed_and_compared() {
    for capture in [CURSOR, "xmin"] {
        let lab = Lab::new().await;
        let project = lab.project(capture);
        project.syncset(RUN).await.expect_success();
        lab.standby.promote();

        // Stamps of long ago: only a comparison of everything finds these.
        let old = "UPDATE t SET v = 'promoted', updated_at = '2001-01-01' WHERE id <= 5; \
            DELETE FROM t WHERE id > 990";
        let mut session = lab.copy.connect().await;
        session.execute(raw(old)).await.expect("it may be written");
        let after = project.syncset(RUN).await.expect_success().json();
        let quiet = project.syncset(RUN).await.expect_success().json();

        let warnings = after["tables"][0]["warnings"].to_string();
        assert!(warnings.contains("failed over"), "{capture}: {after}");
        assert!(
            warnings.contains("compared by hashes"),
            "{capture}: {after}"
        );
        assert_eq!(after["tables"][0]["rows_deleted"], 10, "{after}");
        compare(&lab.copy, &lab.target, IMAGE, IMAGE)
            .await
            .assert_equal();
        assert_eq!(quiet["tables"][0]["rows_written"], 0, "{quiet}");
        assert!(!quiet.to_string().contains("failed over"), "{quiet}");
    }
}

#[tokio::test]
async fn standby_cannot_be_the_target() {
    let lab = Lab::new().await;
    let source = kit::postgres().await.database("standby_source").await;
    source.execute("CREATE TABLE t (id int PRIMARY KEY)").await;
    let project = Project::between(&source.url(), &lab.copy.url());
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: { to: u }\n",
    );

    let refused = project.syncset(["pipeline", "run", "p"]).await;
    let doctor = project.syncset(["doctor", "p"]).await;

    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(doctor.code, 2, "{}", doctor.stdout);
    let found = "problem  target.standby: the target is a standby";
    assert!(doctor.stdout.contains(found), "{}", doctor.stdout);
    assert!(
        refused.stderr.contains("is a standby"),
        "{}",
        refused.stderr
    );
}

/// A copy of the primary, which is checked at this connection first.
async fn checked_at(lab: &Lab, replica: &str) -> Project {
    let project = Project::new(&format!(
        "version: 1\nconnections:\n  source: {{ url: \"{}\", read_replica: {replica} }}\n  \
         copy: {{ url: \"{}\" }}\n  target: {{ url: \"{}\" }}\n",
        lab.source.url(),
        lab.copy.url(),
        lab.target.url()
    ));
    let cursor = "{ mode: cursor, column: updated_at, written_by: database }";
    let text = format!(
        "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: {{ capture: {cursor} }}\n"
    );
    project.pipeline("p", &text);
    project.syncset(RUN).await.expect_success();
    project
}

const CHECK: [&str; 5] = ["pipeline", "check", "p", "--output", "json"];

/// Holds replay where it is.
async fn hold(lab: &Lab) {
    lab.copy.execute("SELECT pg_wal_replay_pause()").await;
    kit::eventually("replay pauses", async || {
        lab.copy
            .value("SELECT pg_get_wal_replay_pause_state()")
            .await
            == "paused"
    })
    .await;
}

#[tokio::test]
async fn check_reads_the_replica_and_asks_the_source_about_drift() {
    let lab = Lab::new().await;
    // Older than any overlap.
    lab.change("UPDATE t SET updated_at = '2024-01-01'").await;
    let project = checked_at(&lab, "copy").await;
    let hashes = || {
        let log = lab.primary.statement_log(&lab.source);
        let hashes = log
            .iter()
            .filter(|it| it.text.contains("hash_record_extended"));
        hashes.count()
    };
    lab.source.log_statements().await;
    lab.standby.caught_up_with(&lab.primary).await;

    let equal = project.syncset(CHECK).await.expect_success().json();
    assert_eq!(equal["tables"][0]["mode"], "hash", "{equal}");
    let note = equal["tables"][0]["notes"].to_string();
    assert!(note.contains("read replica `copy`"), "{equal}");
    assert_eq!(hashes(), 0, "the primary hashed rows");

    let drift = "UPDATE t SET v = 'other' WHERE id = 3; DELETE FROM t WHERE id = 4; \
                 INSERT INTO t VALUES (5000, 'extra', '2024-01-01')";
    lab.target.execute(drift).await;
    let differs = project.syncset(CHECK).await.expect_code(4).json();
    let counts = ["different", "missing", "extra", "undecided"];
    let counts = counts.map(|count| differs["tables"][0][count].clone());
    assert_eq!(counts, [1, 1, 1, 0], "{differs}");
    project
        .syncset(["pipeline", "repair", "p"])
        .await
        .expect_success();
    assert_eq!(hashes(), 0, "the primary hashed rows");
    lab.assert_equal(IMAGE).await;

    let project = checked_at(&lab, "target").await;
    let refused = project.syncset(["pipeline", "check", "p"]).await;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let message = "`target` is no read replica of `source`";
    assert!(refused.stderr.contains(message), "{}", refused.stderr);
}

#[tokio::test]
async fn rows_that_the_replica_lacks_are_no_drift() {
    let lab = Lab::new().await;
    let project = checked_at(&lab, "copy").await;
    let brought = async |sql: &str| {
        lab.source.execute(sql).await;
        project.syncset(RUN).await.expect_success();
    };
    let update = "UPDATE t SET v = v || '!', updated_at = clock_timestamp() WHERE id % 50 = 1";

    hold(&lab).await;
    brought(update).await;
    let late = project
        .syncset(["pipeline", "check", "p", "--max-seconds", "1"])
        .await;
    assert_eq!(late.code, 9, "{}{}", late.stdout, late.stderr);
    let message = "the read replica `copy` lags";
    assert!(late.stderr.contains(message), "{}", late.stderr);
    let waits = project.spawn_with(CHECK, &[]);
    lab.copy.execute("SELECT pg_wal_replay_resume()").await;
    waits.wait().await.expect_success();

    let stop = [("SYNCSET_FAIL_POINT", "check.replica_ready=stop")];
    let check = project.spawn_with(CHECK, &stop);
    assert!(check.frozen().await, "the check never had its replica");
    hold(&lab).await;
    brought(&format!("{update}; INSERT INTO t VALUES (7001, 'new')")).await;
    check.cont();
    let equal = check.wait().await.expect_success().json();

    let seen = lab
        .copy
        .value("SELECT count(*) FROM t WHERE v LIKE '%!!'")
        .await;
    assert_eq!(seen, "0", "the replica was not held");
    assert_eq!(equal["tables"][0]["verdict"], "equal", "{equal}");
}
