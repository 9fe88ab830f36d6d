//! The kit does what the suites believe it does.

use kit::{
    Cut, CutMoment, Load, LoadOptions, Place, PostgresServer, Project, Proxy, SqliteFile, StopMode,
    Weights,
};
use sqlx::{Connection, Executor, PgConnection};
use std::time::{Duration, Instant};

#[tokio::test]
async fn databases_are_fresh_and_queries_return_text() {
    let database = kit::postgres().await.database("kit").await;

    database
        .execute("CREATE TABLE t (id int, v numeric); INSERT INTO t VALUES (1, 1.50), (2, NULL)")
        .await;

    let rows = database.rows("SELECT id, v FROM t ORDER BY id").await;
    assert_eq!(rows[0], [Some("1".into()), Some("1.50".into())]);
    assert_eq!(rows[1], [Some("2".into()), None]);
    assert_eq!(database.value("SELECT count(*) FROM t").await, "2");
}

#[tokio::test]
async fn roles_need_their_password() {
    let database = kit::postgres().await.database("kit").await;
    let role = database.role("reader", &["pg_read_all_stats"]).await;

    let right = PgConnection::connect(&role.url).await;
    let wrong = PgConnection::connect(&database.url_as(&role.name, "no")).await;

    assert!(right.is_ok());
    assert!(wrong.is_err());
}

#[tokio::test]
async fn own_server_logs_statements_and_survives_a_crash() {
    let server = PostgresServer::start_own("work_mem = '5MB'");
    let database = server.database("kit").await;
    database.log_statements().await;

    database.execute("CREATE TABLE seen (id int)").await;
    server.restart(StopMode::Immediate);

    assert_eq!(database.value("SHOW work_mem").await, "5MB");
    let statements = server.statements_seen(&database);
    assert!(statements.contains(&"CREATE TABLE seen (id int)".to_owned()));
}

#[tokio::test]
async fn rows_of_both_engines_compare() {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteFile::new(folder.path().join("a.db"));
    let database = kit::postgres().await.database("kit").await;
    let create = "CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'a'), (2, 'ä')";
    file.execute(create).await;
    database.execute(create).await;

    kit::compare(&database, &file, "SELECT * FROM t", "SELECT * FROM t")
        .await
        .assert_equal();
    file.execute("DELETE FROM t WHERE id = 1").await;
    let comparison = kit::compare(&database, &file, "TABLE t", "SELECT * FROM t").await;

    assert_eq!(comparison.missing.len(), 1);
    assert_eq!(comparison.equal, 1);
}

#[tokio::test]
async fn ledger_knows_what_the_writers_left() {
    let postgres = kit::postgres().await.database("kit").await;
    let mysql = kit::mysql().database("kit").await;
    let mariadb = kit::mariadb().database("kit").await;

    for (database, two_phase_percent) in [
        (Place::from(&postgres), 10),
        // Others see them.
        (Place::from(&mysql), 0),
        (Place::from(&mariadb), 0),
    ] {
        let options = LoadOptions {
            two_phase_percent,
            wait_percent: 10,
            weights: Weights {
                insert: 4,
                update: 8,
                relocate: 3,
                delete: 2,
            },
            ..LoadOptions::default()
        };
        let running = Load::create(database, options).await.start();
        running.commits(50).await;
        let running = running.stop().await.start();
        running.commits(50).await;
        let load = running.stop().await;

        let rows = database.rows(Load::SELECT).await;
        load.ledger().verify(rows, |_| true).assert_equal();
        assert!(load.ledger().commit_count >= 100);
    }
}

#[tokio::test]
async fn lost_answer_of_a_commit_leaves_the_row_at_the_server() {
    let server = kit::postgres().await;
    let database = server.database("kit").await;
    database.execute("CREATE TABLE t (id int)").await;
    let proxy = Proxy::before(server.host(), server.port()).await;

    for (moment, rows) in [
        (CutMoment::RequestLost, "0"),
        (CutMoment::AnswerLost, "1"),
        (CutMoment::AnswerOpen, "2"),
    ] {
        let mut session = PgConnection::connect(&database.url_through(proxy.port()))
            .await
            .unwrap();
        proxy.arm(Cut::commit(0, moment));
        session
            .execute("BEGIN; INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        let answer = session.execute("COMMIT").await;

        assert!(answer.is_err(), "{moment:?}");
        kit::eventually("the server is through", async || {
            database.value("SELECT count(*) FROM t").await == rows
        })
        .await;
    }
    assert_eq!(proxy.cuts_done(), 3);
}

#[tokio::test]
async fn proxy_counts_round_trips_and_delays_them() {
    let server = kit::postgres().await;
    let database = server.database("kit").await;
    let proxy = Proxy::before(server.host(), server.port()).await;
    let mut session = PgConnection::connect(&database.url_through(proxy.port()))
        .await
        .unwrap();
    let before = proxy.round_trips();
    let started = Instant::now();
    let delay = Duration::from_millis(20);
    proxy.set_delay(delay, delay);

    session.execute(sqlx::raw_sql("SELECT 1")).await.unwrap();
    session.execute(sqlx::raw_sql("SELECT 2")).await.unwrap();

    assert_eq!(proxy.round_trips() - before, 2);
    assert!(started.elapsed() >= delay * 4);
    proxy.cut_all();
    assert!(session.execute(sqlx::raw_sql("SELECT 3")).await.is_err());
}

#[tokio::test]
async fn chinook_loads_into_both_engines() {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteFile::new(folder.path().join("chinook.db"));
    let database = kit::postgres().await.database("kit").await;

    kit::load_chinook(&database).await;
    kit::load_chinook_sqlite(&file).await;

    for table in kit::CHINOOK_TABLES {
        let rows = table.row_count.to_string();
        let count = |name: &str| format!("SELECT count(*) FROM {name}");
        assert_eq!(database.value(&count(table.postgres)).await, rows);
        assert_eq!(file.value(&count(table.sqlite)).await, rows);
    }
}

#[tokio::test]
async fn project_runs_the_binary() {
    let project = Project::new("version: 1\n");

    let output = project.syncset(["--version"]).await;

    assert_eq!(output.code, 0);
}
