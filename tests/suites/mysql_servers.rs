//! The kit's MySQL and MariaDB servers are what they are said to be.

use kit::{Flavour, MysqlServer};

#[tokio::test]
async fn both_servers_are_the_real_ones() {
    let mysql = kit::mysql().database("real").await;
    let mariadb = kit::mariadb().database("real").await;

    let mysql_version = mysql.value("SELECT VERSION()").await;
    assert!(!mysql_version.contains("MariaDB"), "{mysql_version}");
    let mariadb_version = mariadb.value("SELECT VERSION()").await;
    assert!(mariadb_version.contains("MariaDB"), "{mariadb_version}");
}

#[tokio::test]
async fn a_server_keeps_its_rows_through_a_crash() {
    for flavour in [Flavour::Mysql, Flavour::Mariadb] {
        let server = MysqlServer::start_own(flavour, "innodb_flush_log_at_trx_commit = 1");
        let database = server.create_database("crash").await;
        database
            .execute("CREATE TABLE t (id int PRIMARY KEY, b varbinary(4)); INSERT INTO t VALUES (1, x'ff00')")
            .await;
        server.crash();
        server.start();

        let rows = database.rows("SELECT id, b, NULL FROM t").await;
        assert_eq!(rows, [[Some("1".into()), Some("0xff00".into()), None]]);
        server.configure("max_allowed_packet = 1M");
        let packet = database.value("SELECT @@max_allowed_packet").await;
        assert_eq!(packet, "1048576");
    }
}

#[tokio::test]
async fn users_have_only_the_rights_they_were_given() {
    for flavour in [Flavour::Mysql, Flavour::Mariadb] {
        let database = MysqlServer::shared(flavour).database("rights").await;
        database
            .execute("CREATE TABLE seen (id int); CREATE TABLE hidden (id int)")
            .await;
        let reader = database
            .user("reader", &["SELECT ON {database}.seen"])
            .await;

        reader.execute("SELECT * FROM seen").await;
        let error = reader.try_execute("SELECT * FROM hidden").await;
        assert!(error.is_err(), "{flavour:?}");
    }
}

#[tokio::test]
async fn chinook_is_whole_on_both() {
    for flavour in [Flavour::Mysql, Flavour::Mariadb] {
        let database = MysqlServer::shared(flavour).database("chinook").await;
        kit::load_chinook_mysql(&database).await;

        for table in kit::CHINOOK_TABLES {
            let count = format!("SELECT count(*) FROM {}", table.sqlite);
            let expected = table.row_count.to_string();
            assert_eq!(database.value(&count).await, expected, "{}", table.sqlite);
        }
    }
}
