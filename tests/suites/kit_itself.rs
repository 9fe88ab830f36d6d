//! The kit does what the suites believe it does.

use kit::{PostgresServer, SqliteFile, StopMode};

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
    use sqlx::Connection;
    let database = kit::postgres().await.database("kit").await;
    let role = database.role("reader", &["pg_read_all_stats"]).await;

    let right = sqlx::PgConnection::connect(&role.url).await;
    let wrong = sqlx::PgConnection::connect(&database.url_as(&role.name, "no")).await;

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
