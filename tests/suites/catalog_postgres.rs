//! What a PostgreSQL source says of its tables and of what it may not read.

use crate::read_lab::{describe_one, open, read_all};
use arrow_array::RecordBatch;
use kit::PostgresServer;
use syncset_connector::{ErrorClass, Filter, Generated, TableKind, TableName, TypeDefinition};

#[tokio::test]
async fn odd_tables_are_described_as_they_are() {
    let database = kit::postgres().await.database("read").await;
    database
        .execute(
            "CREATE SCHEMA \"Odd Schema\"; CREATE TYPE \"Odd Schema\".mood AS ENUM ('b', 'a');
             CREATE TABLE \"Odd Schema\".\"Order.Items\" (
               id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int,
               \"say \"\"x\"\"\" \"Odd Schema\".mood DEFAULT 'a', email text NOT NULL UNIQUE,
               nick text UNIQUE, twice int8 GENERATED ALWAYS AS (id * 2) STORED);
             ALTER TABLE \"Odd Schema\".\"Order.Items\" DROP COLUMN gone;
             CREATE UNIQUE INDEX partial ON \"Odd Schema\".\"Order.Items\" (email) WHERE id > 5;
             CREATE UNIQUE INDEX computed ON \"Odd Schema\".\"Order.Items\" (lower(email));
             CREATE TABLE parts (id int, k text, PRIMARY KEY (k, id)) PARTITION BY LIST (k);
             CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
             CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b') PARTITION BY RANGE (id);
             CREATE TABLE parts_b1 PARTITION OF parts_b FOR VALUES FROM (1) TO (9);
             CREATE VIEW v AS SELECT id FROM parts;
             CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
             CREATE TABLE child (id int PRIMARY KEY, k text, p int,
               FOREIGN KEY (k, p) REFERENCES parts (k, id) ON DELETE CASCADE);
             CREATE SCHEMA _syncset; CREATE TABLE _syncset.pipeline (id int)",
        )
        .await;
    let store = open(&database.url()).await.expect("opens");

    let listed = store.list_tables().await.expect("lists");
    let names = [
        TableName::in_schema("Odd Schema", "Order.Items"),
        TableName::bare("parts"),
        TableName::in_schema("public", "absent"),
        TableName::in_schema("public", "v"),
        TableName::in_schema("public", "child"),
        TableName::bare("parts"),
    ];
    let described = store.describe(&names).await.expect("describes");

    let listed: Vec<_> = listed
        .iter()
        .map(|entry| (entry.name.to_string(), entry.kind))
        .collect();
    let expected = [
        ("Odd Schema.Order.Items", TableKind::Table),
        ("public.child", TableKind::Table),
        ("public.m", TableKind::MaterializedView),
        ("public.parts", TableKind::Partitioned),
        ("public.v", TableKind::View),
    ];
    assert_eq!(listed, expected.map(|(name, kind)| (name.to_owned(), kind)));
    let items = described[0].as_ref().expect("exists");
    assert_eq!(items.primary_key, ["id"]);
    let keys: Vec<_> = items
        .unique_keys
        .iter()
        .map(|key| (key.columns.clone(), key.total))
        .collect();
    assert!(keys.contains(&(vec!["email".to_owned()], true)));
    assert!(keys.contains(&(vec!["nick".to_owned()], false)));
    assert_eq!(keys.len(), 3, "{keys:?}");
    let column = |name: &str| items.column(name).expect("exists");
    assert_eq!(column("id").generated, Some(Generated::IdentityAlways));
    assert_eq!(column("twice").generated, Some(Generated::Expression));
    let mood = column("say \"x\"");
    assert_eq!(mood.native.name, "\"Odd Schema\".mood");
    assert_eq!(mood.stable_id, Some(3));
    let labels = vec!["b".to_owned(), "a".to_owned()];
    assert_eq!(
        mood.native.definition,
        Some(TypeDefinition::Enum { labels })
    );
    let parts = described[1].as_ref().expect("exists");
    assert_eq!(parts.kind, TableKind::Partitioned);
    assert_eq!(parts.primary_key, ["k", "id"]);
    assert_eq!(
        parts.storage_identity["leaves"]
            .as_object()
            .map(|leaves| leaves.len()),
        Some(2)
    );
    assert_eq!(described[2], None);
    let view = described[3].as_ref().expect("exists");
    assert!(view.columns[0].nullable);
    let foreign = &described[4].as_ref().expect("exists").foreign_keys[0];
    assert_eq!(foreign.parent, TableName::in_schema("public", "parts"));
    assert_eq!((foreign.columns.len(), foreign.cascades), (2, true));
    assert_eq!(described[5], described[1]);
}

#[tokio::test]
async fn describing_fifty_tables_takes_as_many_statements_as_one() {
    let server = PostgresServer::start_own("");
    let database = server.database("read").await;
    let tables: Vec<_> = (0..50)
        .map(|n| format!("CREATE TABLE t{n} (id int PRIMARY KEY)"))
        .collect();
    database.execute(&tables.join(";")).await;
    database.log_statements().await;
    let store = open(&database.url()).await.expect("opens");
    let names: Vec<_> = (0..50)
        .map(|n| TableName::in_schema("public", format!("t{n}")))
        .collect();

    let one = store.describe(&names[..1]).await.expect("describes");
    let after_one = server.statements_seen(&database).len();
    let all = store.describe(&names).await.expect("describes");
    let after_all = server.statements_seen(&database).len();

    assert!(one.iter().chain(&all).all(Option::is_some));
    // One simple query for all of it, and one more for the configuration of the session.
    assert_eq!((after_one, after_all), (2, 3));
}

#[tokio::test]
async fn missing_rights_are_described_and_then_named() {
    let database = kit::postgres().await.database("read").await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY, secret text); INSERT INTO t VALUES (1)")
        .await;
    let role = database.role("reader", &["pg_read_all_stats"]).await;
    database
        .execute(&format!("GRANT SELECT (id) ON t TO \"{}\"", role.name))
        .await;
    let store = open(&role.url).await.expect("opens");

    let description = describe_one(store.as_ref(), "t").await;
    let readable: Vec<_> = description
        .columns
        .iter()
        .map(|column| column.readable)
        .collect();
    let error = read_all(store.as_ref(), description, Filter::All)
        .await
        .expect_err("refused");

    assert_eq!(readable, [true, false]);
    assert_eq!(error.class, ErrorClass::Privilege, "{error:?}");
}

#[tokio::test]
async fn policy_that_hides_rows_is_an_error_unless_asked_for() {
    let database = kit::postgres().await.database("read").await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
             ALTER TABLE t ENABLE ROW LEVEL SECURITY;
             CREATE POLICY odd ON t USING (id % 2 = 1)",
        )
        .await;
    let role = database.role("reader", &["pg_read_all_stats"]).await;
    database
        .execute(&format!("GRANT SELECT ON t TO \"{}\"", role.name))
        .await;

    let strict = open(&role.url).await.expect("opens");
    let lenient = open(&format!("{}?row_security=on", role.url))
        .await
        .expect("opens");
    let description = describe_one(strict.as_ref(), "t").await;
    let refused = read_all(strict.as_ref(), description.clone(), Filter::All).await;
    let visible = read_all(lenient.as_ref(), description, Filter::All)
        .await
        .expect("reads");

    assert_eq!(refused.expect_err("refused").class, ErrorClass::Privilege);
    assert_eq!(visible.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn connections_that_fail_say_why() {
    let database = kit::postgres().await.database("read").await;
    let role = database.role("reader", &[]).await;
    let absent = database.url().replace(database.name(), "absent");

    let wrong_password = open(&database.url_as(&role.name, "no"))
        .await
        .err()
        .expect("refused");
    let wrong_database = open(&absent).await.err().expect("refused");
    let wrong_port = open("postgres://x@127.0.0.1:1/x")
        .await
        .err()
        .expect("refused");

    assert_eq!(wrong_password.class, ErrorClass::Authentication);
    assert_eq!(wrong_database.class, ErrorClass::Config);
    assert_eq!(wrong_port.class, ErrorClass::Connection);
    for error in [&wrong_password, &wrong_database, &wrong_port] {
        assert!(error.hint.is_some(), "{error:?}");
    }
}
