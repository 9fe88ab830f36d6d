//! `connection list` and `connection discover`: what a person sees of the stores of a project.

use kit::{Database, Project};

const SHOP: &str = "
    CREATE SCHEMA crm;
    CREATE TABLE crm.customers (id int PRIMARY KEY, name text NOT NULL,
      initial text GENERATED ALWAYS AS (left(name, 1)) STORED);
    CREATE TABLE crm.\"Order.Items\" (order_id int, line int, price numeric(12,2),
      PRIMARY KEY (order_id, line));
    CREATE TABLE public.log (line text);
    CREATE VIEW crm.v_names AS SELECT name FROM crm.customers;
    INSERT INTO crm.customers VALUES (1, 'Ada'), (2, 'Bob');
    ANALYZE crm.customers";

async fn shop() -> Database {
    let database = kit::postgres().await.database("discovered").await;
    database.execute(SHOP).await;
    database
}

#[tokio::test]
async fn connections_are_listed_with_their_pipelines_and_without_passwords() {
    let project = Project::new(
        "version: 1\nconnections:\n\
         \x20 crm: { type: postgres, host: db1, port: 6432, database: crm, user: sync, password: geheim }\n\
         \x20 reports: \"postgres://sync:geheim@db2/reports\"\n\
         \x20 unused: { type: sqlite, path: /srv/shop.db }\n",
    );
    project.pipeline(
        "daily",
        "version: 1\nsource: crm\ntarget: reports\ntables: { orders: {} }\n",
    );
    project.pipeline(
        "hourly",
        "version: 1\nsource: crm\ntarget: sqlite:x.db\ntables: { orders: {} }\n",
    );
    project.pipeline("broken", "version: 1\nsource: crm\n");

    let text = project.syncset(["connection", "list"]).await;
    let json = project
        .syncset(["connection", "list", "--output", "json"])
        .await;

    insta::assert_snapshot!(text.snapshot(), @r"
    exit: 0
    stdout:
    NAME     TYPE      ADDRESS                SOURCE OF      TARGET OF
    crm      postgres  sync@db1:6432/crm      daily, hourly  -
    reports  postgres  sync@db2:5432/reports  -              daily
    unused   sqlite    /srv/shop.db           -              -
    stderr:
    warning: pipeline `broken` has mistakes, so what it uses is not listed
    hint: `syncset pipeline validate broken` names them
    ");
    insta::assert_snapshot!(json.snapshot(), @r#"
    exit: 0
    stdout:
    {
      "exit_code": 0,
      "connections": [
        {
          "connection": "crm",
          "type": "postgres",
          "address": "sync@db1:6432/crm",
          "source_of": [
            "daily",
            "hourly"
          ],
          "target_of": []
        },
        {
          "connection": "reports",
          "type": "postgres",
          "address": "sync@db2:5432/reports",
          "source_of": [],
          "target_of": [
            "daily"
          ]
        },
        {
          "connection": "unused",
          "type": "sqlite",
          "address": "/srv/shop.db",
          "source_of": [],
          "target_of": []
        }
      ],
      "unread_pipelines": [
        "broken"
      ]
    }
    stderr:
    warning: pipeline `broken` has mistakes, so what it uses is not listed
    hint: `syncset pipeline validate broken` names them
    "#);
}

#[tokio::test]
async fn discover_shows_tables_views_and_columns() {
    let shop = shop().await;
    let project = Project::new(&format!(
        "version: 1\nconnections: {{ shop: \"{}\" }}\n",
        shop.url()
    ));

    let all = project.syncset(["connection", "discover", "shop"]).await;
    let arguments = [
        "connection",
        "discover",
        "shop",
        "--pattern",
        "crm.*",
        "--columns",
    ];
    let columns = project.syncset(arguments).await;
    let json = project
        .syncset(arguments.into_iter().chain(["--output", "json"]))
        .await;

    insta::assert_snapshot!(sized(&all.snapshot()), @r#"
    exit: 0
    stdout:
    TABLE              KIND   ROWS  SIZE    KEY
    crm."Order.Items"  table  -     [size] order_id, line
    crm.customers      table  2     [size] id
    crm.v_names        view   -     -       -
    public.log         table  -     [size] -
    "#);
    insta::assert_snapshot!(sized(&columns.snapshot()), @r#"
    exit: 0
    stdout:
    TABLE              KIND   ROWS  SIZE    KEY
    crm."Order.Items"  table  -     [size] order_id, line
        order_id  integer        NOT NULL
        line      integer        NOT NULL
        price     numeric(12,2)
    crm.customers      table  2     [size] id
        id       integer  NOT NULL
        name     text     NOT NULL
        initial  text     generated
    crm.v_names        view   -     -       -
        name  text
    "#);
    insta::assert_snapshot!(sized(&json.snapshot()), @r#"
    exit: 0
    stdout:
    {
      "exit_code": 0,
      "connection": "shop",
      "tables": [
        {
          "table": "crm.\"Order.Items\"",
          "kind": "table",
          "row_estimate": null,
          [size] ,
          "key": [
            "order_id",
            "line"
          ],
          "columns": [
            {
              "name": "order_id",
              "type": "integer",
              "nullable": false,
              "generated": false,
              "readable": true
            },
            {
              "name": "line",
              "type": "integer",
              "nullable": false,
              "generated": false,
              "readable": true
            },
            {
              "name": "price",
              "type": "numeric(12,2)",
              "nullable": true,
              "generated": false,
              "readable": true
            }
          ]
        },
        {
          "table": "crm.customers",
          "kind": "table",
          "row_estimate": 2,
          [size] ,
          "key": [
            "id"
          ],
          "columns": [
            {
              "name": "id",
              "type": "integer",
              "nullable": false,
              "generated": false,
              "readable": true
            },
            {
              "name": "name",
              "type": "text",
              "nullable": false,
              "generated": false,
              "readable": true
            },
            {
              "name": "initial",
              "type": "text",
              "nullable": true,
              "generated": true,
              "readable": true
            }
          ]
        },
        {
          "table": "crm.v_names",
          "kind": "view",
          "row_estimate": null,
          "bytes": null,
          "key": [],
          "columns": [
            {
              "name": "name",
              "type": "text",
              "nullable": true,
              "generated": false,
              "readable": true
            }
          ]
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn discover_shows_what_a_sqlite_file_holds() {
    let project = Project::new("version: 1\nconnections: { shop: \"sqlite:shop.db\" }\n");
    project
        .sqlite("shop.db")
        .execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, amount DECIMAL(12,2));
             CREATE VIEW totals AS SELECT sum(amount) AS total FROM orders",
        )
        .await;

    let found = project
        .syncset(["connection", "discover", "shop", "--columns"])
        .await;

    insta::assert_snapshot!(sized(&found.snapshot()), @r"
    exit: 0
    stdout:
    TABLE   KIND   ROWS  SIZE  KEY
    orders  table  -     -     id
        id      INTEGER        NOT NULL
        amount  DECIMAL(12,2)
    totals  view   -     -     -
        total
    ");
}

#[tokio::test]
async fn discover_names_what_it_cannot_find() {
    let project = Project::new("version: 1\nconnections: { shop: \"sqlite:shop.db\" }\n");
    project
        .sqlite("shop.db")
        .execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        .await;

    let unknown = project.syncset(["connection", "discover", "shp"]).await;
    let no_glob = project
        .syncset(["connection", "discover", "shop", "--pattern", "a.b.c"])
        .await;
    let nothing = project
        .syncset(["connection", "discover", "shop", "--pattern", "x*"])
        .await;

    insta::assert_snapshot!(unknown.snapshot(), @r"
    exit: 2
    stderr:
    error: no connection `shp` in syncset.yaml
    hint: did you mean `shop`?
    ");
    insta::assert_snapshot!(no_glob.snapshot(), @r#"
    exit: 2
    stderr:
    error: `--pattern a.b.c`: `a.b.c` has more than two parts: a table is `schema.table`, and a name with a dot is quoted, as in 'public."Order.Items"'
    hint: for example 'public.*', 'public.ref_*' or '*.*', in quotes
    "#);
    insta::assert_snapshot!(nothing.snapshot(), @r"
    exit: 0
    stdout:
    no table or view of `shop` matches `x*`
    ");
}

/// Sizes on disk differ from version to version of a server.
fn sized(text: &str) -> String {
    let sizes = regex::Regex::new(r#"\b\d+ (B|KiB)\b +|"bytes": \d+"#).unwrap();
    sizes.replace_all(text, "[size] ").into_owned()
}

#[tokio::test]
async fn test_says_whether_a_store_can_be_a_target() {
    let database = kit::postgres().await.database("tested").await;
    let reader = database.role("only_reader", &[]).await;
    let project = Project::new(&format!(
        "version: 1\nconnections:\n  able: \"{}\"\n  reader: \"{}\"\n  file: {{ type: sqlite, path: file.db }}\n",
        database.url(),
        reader.url
    ));
    let file = project.sqlite("file.db");
    file.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .await;
    let json = ["connection", "test", "--output", "json"];
    let roles = |document: &serde_json::Value| -> Vec<serde_json::Value> {
        let all = document["connections"].as_array().expect("a list");
        all.iter().map(|one| one["roles"].clone()).collect()
    };

    let writable = project.syncset(json).await.expect_success().json();
    let mut rights = std::fs::metadata(file.path()).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(file.path(), rights).unwrap();
    let read_only = project.syncset(json).await.expect_success().json();
    let text = project.syncset(["connection", "test", "reader"]).await;

    let (both, source) = (
        serde_json::json!(["source", "target"]),
        serde_json::json!(["source"]),
    );
    assert_eq!(roles(&writable), [&both, &both, &source].map(Clone::clone));
    assert_eq!(roles(&read_only), [both, source.clone(), source]);
    let text = text.expect_success().stdout;
    assert!(text.contains("; can be source\n"), "{text}");
    assert!(text.contains("it cannot be a target: user"), "{text}");
}
