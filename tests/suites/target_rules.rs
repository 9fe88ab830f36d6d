//! What a target keeps whatever happens around it: rows that were refused, streams that changed
//! places, settings of units.

use kit::{Database, Place, Project, compare};

/// Two tables that share one row.
const TWO_STREAMS: &str = "CREATE TABLE a (id bigint PRIMARY KEY); INSERT INTO a VALUES (1), (2);
    CREATE TABLE b (id bigint PRIMARY KEY); INSERT INTO b VALUES (2), (3)";

const RUN: [&str; 3] = ["pipeline", "run", "p"];

async fn databases() -> (Database, Database) {
    let server = kit::postgres().await;
    (
        server.database("rules_source").await,
        server.database("rules_target").await,
    )
}

fn set_tables(project: &Project, tables: &str) {
    let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n{tables}");
    project.pipeline("p", &text);
}

fn project(source: &Database, target: Place<'_>, tables: &str) -> Project {
    let project = Project::between(&source.url(), &target.url());
    set_tables(&project, tables);
    project
}

#[tokio::test]
async fn refused_rows_are_found_again_by_keys_of_any_type() {
    for (key, columns, value) in [
        ("id", "id text", "repeat('é', 1200)"),
        ("id", "id bytea", "'\\x00ff61'::bytea"),
        ("id", "id numeric(10, 2)", "'NaN'"),
        ("id", "id numeric", "'-12345678901234567890.500'"),
        ("id", "id double precision", "'-infinity'"),
        ("id", "id interval", "'1 mon -3 days'"),
        ("id", "id char(5)", "'ab'"),
        ("id", "id date", "'0044-03-15 BC'"),
        ("id", "id timestamptz", "'0044-03-15 BC'"),
        ("id", "id time", "'24:00'"),
        ("id, till", "id int, till timestamptz", "7, 'infinity'"),
    ] {
        let (source, target) = databases().await;
        let table = format!("CREATE TABLE t ({columns}, v int, PRIMARY KEY ({key}))");
        source
            .execute(&format!("{table}; INSERT INTO t VALUES ({value}, -1)"))
            .await;
        target
            .execute(&format!("{table}; ALTER TABLE t ADD CHECK (v > 0)"))
            .await;
        let tables = "  public.t: { rejects: { max_rows: 1 }, capture: xmin }\n";
        let project = project(&source, (&target).into(), tables);
        let refused = project.syncset(RUN).await;
        if refused.code != 0 {
            // A key that cannot be kept stops the table, and the row is not forgotten.
            assert!(
                refused.stderr.contains("cannot be kept"),
                "{}",
                refused.stderr
            );
            continue;
        }
        assert_eq!(target.value("SELECT count(*) FROM t").await, "0");

        target
            .execute("ALTER TABLE t DROP CONSTRAINT t_v_check")
            .await;
        project.syncset(RUN).await.expect_success();

        compare(&source, &target, "SELECT * FROM t", "SELECT * FROM t")
            .await
            .assert_equal();
        let waiting = "SELECT count(*) FROM _syncset.rejected";
        assert_eq!(target.value(waiting).await, "0", "{columns}");
    }
}

#[tokio::test]
async fn row_that_is_refused_twice_counts_once() {
    let (source, target) = databases().await;
    // Its transaction makes the window after the load read the rows of the load again.
    let mut writer = source.connect().await;
    let begin = "CREATE TABLE other (); BEGIN; INSERT INTO other DEFAULT VALUES";
    sqlx::Executor::execute(&mut writer, kit::postgres::raw(begin))
        .await
        .unwrap();
    source
        .execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, -1)",
        )
        .await;
    target
        .execute("CREATE TABLE t (id bigint PRIMARY KEY, v int CHECK (v > 0))")
        .await;
    let tables = "  public.t: { rejects: { max_rows: 1 }, capture: xmin }\n";
    let project = project(&source, (&target).into(), tables);

    for _ in 0..2 {
        project.syncset(RUN).await.expect_success();

        let waiting = "SELECT count(*) FROM _syncset.rejected";
        assert_eq!(target.value(waiting).await, "1");
    }
}

#[tokio::test]
async fn deleted_row_goes_though_as_many_rows_wait_as_refused() {
    let (source, _) = databases().await;
    source
        .execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, v bigint);
             INSERT INTO t SELECT g, CASE g WHEN 3 THEN -1 ELSE g END FROM generate_series(1, 9) g",
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let target = kit::SqliteFile::new(folder.path().join("target.db"));
    target
        .execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, v INTEGER CHECK (v > 0))")
        .await;
    let tables = "  public.t: { to: t, rejects: { max_rows: 1 }, capture: full }\n";
    let project = project(&source, (&target).into(), tables);
    project.syncset(RUN).await.expect_success();
    assert_eq!(target.value("SELECT count(*) FROM t").await, "8");

    source.execute("DELETE FROM t WHERE id = 5").await;
    project.syncset(RUN).await.expect_success();

    let wanted = "SELECT id, v FROM t WHERE id <> 3";
    compare(&source, &target, wanted, "SELECT id, v FROM t")
        .await
        .assert_equal();
    let waiting = "SELECT count(*) FROM _syncset_rejected";
    assert_eq!(target.value(waiting).await, "1");
}

#[tokio::test]
async fn stream_that_comes_back_to_a_target_is_loaded_again() {
    let (source, postgres) = databases().await;
    source.execute(TWO_STREAMS).await;
    let folder = tempfile::tempdir().unwrap();
    let sqlite = kit::SqliteFile::new(folder.path().join("target.db"));
    for target in [Place::from(&postgres), Place::from(&sqlite)] {
        let project = project(&source, target, "");
        for stream in ["a", "b", "a"] {
            set_tables(
                &project,
                &format!("  public.{stream}: {{ to: x, capture: xmin }}\n"),
            );

            project.syncset(RUN).await.expect_success();

            let wanted = source
                .rows(&format!("SELECT id FROM {stream} ORDER BY id"))
                .await;
            let found = target.rows("SELECT id FROM x ORDER BY id").await;
            assert_eq!(found, wanted, "{stream}");
        }
    }
}

#[tokio::test]
async fn streams_that_swap_their_targets_are_loaded_again() {
    let (source, postgres) = databases().await;
    source.execute(TWO_STREAMS).await;
    let folder = tempfile::tempdir().unwrap();
    let sqlite = kit::SqliteFile::new(folder.path().join("target.db"));
    for target in [Place::from(&postgres), Place::from(&sqlite)] {
        let project = project(&source, target, "");
        for (of_a, of_b) in [("x", "y"), ("y", "x"), ("x", "y")] {
            set_tables(
                &project,
                &format!(
                    "  public.a: {{ to: {of_a}, capture: xmin }}\n  \
                     public.b: {{ to: {of_b}, capture: xmin }}\n"
                ),
            );

            let refresh = ["pipeline", "run", "p", "--full-refresh"];
            project.syncset(refresh).await.expect_success();

            for (stream, name) in [("a", of_a), ("b", of_b)] {
                let wanted = source
                    .rows(&format!("SELECT id FROM {stream} ORDER BY id"))
                    .await;
                let found = target
                    .rows(&format!("SELECT id FROM {name} ORDER BY id"))
                    .await;
                assert_eq!(found, wanted, "{stream} to {name}");
            }
        }
    }
}

#[tokio::test]
async fn units_choose_their_own_settings() {
    let (source, target) = databases().await;
    source
        .execute("CREATE TABLE t (id bigint PRIMARY KEY)")
        .await;
    // What an administrator may have set, and what a unit really runs with.
    target
        .execute(&format!(
            "CREATE TABLE seen (name text PRIMARY KEY, setting text);
             CREATE TABLE t (id bigint PRIMARY KEY);
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO seen SELECT name, setting FROM pg_settings WHERE name IN (
                 'transaction_isolation', 'synchronous_commit', 'client_connection_check_interval',
                 'tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count')
                 ON CONFLICT DO NOTHING;
               INSERT INTO seen SELECT name, (setting::bigint > 0)::text FROM pg_settings
                 WHERE name = 'idle_in_transaction_session_timeout' ON CONFLICT DO NOTHING;
               RETURN NEW; END $$;
             CREATE TRIGGER look BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION look();
             ALTER DATABASE \"{0}\" SET default_transaction_isolation = 'serializable';
             ALTER DATABASE \"{0}\" SET synchronous_commit = off;
             ALTER DATABASE \"{0}\" SET idle_in_transaction_session_timeout = 0",
            target.name()
        ))
        .await;
    let tables = "  public.t: { capture: xmin }\n";

    let project = project(&source, (&target).into(), tables);
    project.syncset(RUN).await.expect_success();
    source.execute("INSERT INTO t VALUES (1)").await;
    project.syncset(RUN).await.expect_success();

    let seen =
        "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name COLLATE \"C\") FROM seen";
    assert_eq!(
        target.value(seen).await,
        "client_connection_check_interval=1000 idle_in_transaction_session_timeout=true \
         synchronous_commit=on tcp_keepalives_count=3 tcp_keepalives_idle=10 \
         tcp_keepalives_interval=5 transaction_isolation=read committed"
    );
}
