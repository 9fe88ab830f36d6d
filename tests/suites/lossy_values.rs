//! `on_lossy`: values that the target cannot keep, under each policy and between real servers.

use crate::mysql_target_lab::on_both;
use kit::{MysqlServer, Project, SqliteFile, TextRow};
use serde_json::{Value, json};

on_both!(
    values_that_mysql_lacks_follow_their_policy,
    values_wider_than_an_existing_table_follow_their_policy,
    values_of_these_servers_follow_their_policy_in_postgres,
    values_of_these_servers_lose_nothing_in_sqlite,
);

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];
const PLAN: [&str; 5] = ["pipeline", "plan", "p", "--output", "json"];

fn pipeline(project: &Project, tables: &str) {
    let head = "version: 1\nsource: source\ntarget: target\ntables:\n";
    project.pipeline("p", &format!("{head}{tables}"));
}

/// Runs it; the report of its only table.
async fn run(project: &Project) -> Value {
    let report = project.syncset(RUN).await.expect_success().json();
    report["tables"][0].clone()
}

fn lost(counts: &[(&str, u64, u64)]) -> Value {
    let columns = counts.iter().map(|(column, changed, nulled)| {
        let lost = json!({ "changed": changed, "nulled": nulled });
        ((*column).to_owned(), lost)
    });
    Value::Object(columns.collect())
}

fn row(values: &[Option<&str>]) -> TextRow {
    values
        .iter()
        .map(|value| value.map(str::to_owned))
        .collect()
}

const SPECIALS: &str = "CREATE TYPE mood AS ENUM ('sad', 'happy');
     CREATE TABLE t (id int PRIMARY KEY, f float8, d date, at timestamptz, n numeric(12,2),
       big numeric, tm time, tags int[], m mood);
     INSERT INTO t VALUES
       (1, 1.5, '2024-02-29', '2024-02-29 12:00:00+00', 1.50, 1.50, '12:00', '{1}', 'happy'),
       (2, 'NaN', '0044-03-15 BC', 'infinity', 'NaN', 'NaN', '24:00', '{2,NULL}', 'sad'),
       (3, '-Infinity', 'infinity', '10000-01-01 00:00:00+00', 0, 1e60, '00:00', '{}', 'sad')";

async fn values_that_mysql_lacks_follow_their_policy(server: &'static MysqlServer) {
    let source = kit::postgres().await.database("lossy").await;
    source.execute(SPECIALS).await;
    let target = server.database("lossy").await;
    let project = Project::between(&source.url(), &target.url());
    let under = |policy: &str| {
        let table = format!(
            "  public.t: {{ capture: full, to: t, rejects: {{ max_rows: 5 }}, on_lossy: {policy} }}\n"
        );
        pipeline(&project, &table);
    };
    let rows = "SELECT f, d, at, n, LEFT(big, 3), tm, tags, m FROM t ORDER BY id";

    under("error");
    let plan = project.syncset(PLAN).await.expect_success().json();
    let refused = run(&project).await;
    let kept = target.value("SELECT COUNT(*) FROM t").await;
    under("warn");
    let warned = run(&project).await;
    let near = target.rows(rows).await;
    let again = run(&project).await;
    under("text");
    let as_text = run(&project).await;
    let texts = target.rows(rows).await;
    under("{ default: text, columns: { f: null, d: error } }");
    let mixed = run(&project).await;
    let kept_by_error = target.rows("SELECT id, f, at FROM t ORDER BY id").await;

    let fidelity = |column: &str| {
        let columns = plan["tables"][0]["columns"].as_array().expect("columns");
        let found = columns.iter().find(|it| it["target"] == column);
        found.expect("it is planned")["fidelity"].clone()
    };
    for column in ["f", "d", "at", "n"] {
        assert_eq!(fidelity(column), "lossy", "{column}: {plan}");
    }
    for column in ["big", "tags", "m"] {
        assert_eq!(fidelity(column), "widened", "{column}");
    }
    let notes = plan["tables"][0]["notes"].to_string();
    assert!(
        notes.contains("`on_lossy: warn | text | null` chooses otherwise"),
        "{notes}"
    );
    assert_eq!((&refused["rows_rejected"], kept.as_str()), (&json!(2), "1"));
    assert_eq!(refused["values_lost"], json!({}));
    let counts = [("f", 0, 2), ("d", 0, 2), ("at", 0, 2), ("n", 0, 1)];
    assert_eq!(warned["values_lost"], lost(&counts), "{warned}");
    let warnings = warned["warnings"].to_string();
    assert!(
        warnings.contains("column `f`: 2 values became NULL (`on_lossy: warn`)"),
        "{warnings}"
    );
    assert_eq!(
        near[1],
        row(&[
            None,
            None,
            None,
            None,
            Some("NaN"),
            Some("24:00:00.000000"),
            Some("{2,NULL}"),
            Some("sad")
        ])
    );
    assert_eq!(near[2][3].as_deref(), Some("0.00"));
    assert_eq!(
        (&again["rows_written"], &again["values_lost"]),
        (&json!(0), &lost(&counts))
    );
    assert_eq!(as_text["values_lost"], json!({}));
    let text = |values: [&str; 4]| values.map(|value| Some(value.to_owned())).to_vec();
    assert_eq!(
        texts[0][..4],
        text(["1.5", "2024-02-29", "2024-02-29 12:00:00+00", "1.50"])
    );
    assert_eq!(
        texts[1][..4],
        text(["NaN", "0044-03-15 BC", "infinity", "NaN"])
    );
    assert_eq!(
        texts[2][..4],
        text(["-Infinity", "infinity", "10000-01-01 00:00:00+00", "0.00"])
    );
    assert_eq!(mixed["rows_rejected"], 2);
    assert_eq!(
        kept_by_error[0],
        row(&[Some("1"), Some("1.5"), Some("2024-02-29 12:00:00+00")])
    );
}

async fn values_wider_than_an_existing_table_follow_their_policy(server: &'static MysqlServer) {
    let source = kit::postgres().await.database("lossy").await;
    source
        .execute(
            "CREATE TYPE mood AS ENUM ('sad', 'very happy');
             CREATE TABLE t (id int PRIMARY KEY, l text, u text, at timestamp, n numeric(12,2), m mood,
               i int NOT NULL);
             INSERT INTO t VALUES (1, 'né', 'é', '2024-01-01 10:00:00', 1.5, 'sad', 7),
               (2, 'Ж€abcdef', 'a😀b', '1969-12-31 23:59:59.75', -1234.56, 'very happy', 7)",
        )
        .await;
    let target = server.database("lossy").await;
    target
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, l varchar(5) CHARACTER SET latin1,
               u varchar(20) CHARACTER SET utf8mb3, at datetime(0), n decimal(5,1),
               m enum('sad'), i tinyint NOT NULL)",
        )
        .await;
    let project = Project::between(&source.url(), &target.url());
    let under = |policy: &str| {
        let table = format!("  public.t: {{ capture: full, to: t, on_lossy: {policy} }}\n");
        pipeline(&project, &table);
    };
    let row_2 = "SELECT l, u, at, n, m, i FROM t WHERE id = 2";

    under("error");
    let refused = project.syncset(RUN).await;
    under("{ columns: { i: null } }");
    let planned = project.syncset(PLAN).await;
    under("warn");
    let warned = run(&project).await;
    let near = target.rows(row_2).await;
    source.execute("UPDATE t SET i = 300 WHERE id = 1").await;
    let not_null = project.syncset(RUN).await;
    source.execute("UPDATE t SET i = 7").await;
    under("null");
    let nulled = run(&project).await;
    let nulls = target.rows(row_2).await;

    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(
        refused.stdout.contains("does not fit column"),
        "{}",
        refused.stdout
    );
    assert_eq!(planned.code, 2, "{}", planned.stdout);
    assert!(
        planned
            .stdout
            .contains("column `i` is NOT NULL at the target"),
        "{}",
        planned.stdout
    );
    assert_eq!(
        near,
        [row(&[
            Some("?€abc"),
            Some("a?b"),
            Some("1969-12-31 23:59:59"),
            Some("-1234.6"),
            None,
            Some("7")
        ])]
    );
    let counts = [
        ("l", 1, 0),
        ("u", 1, 0),
        ("at", 1, 0),
        ("n", 1, 0),
        ("m", 0, 1),
    ];
    assert_eq!(warned["values_lost"], lost(&counts));
    assert_eq!(
        not_null.code, 1,
        "a number out of range is not made up: {}",
        not_null.stdout
    );
    assert!(
        not_null.stdout.contains("column `i`"),
        "{}",
        not_null.stdout
    );
    assert_eq!(nulls, [row(&[None, None, None, None, None, Some("7")])]);
    assert_eq!(
        nulled["values_lost"],
        lost(&counts.map(|(column, ..)| (column, 0, 1)))
    );
}

const OF_MYSQL: &str =
    "CREATE TABLE t (id int PRIMARY KEY, s varchar(20), big bigint unsigned, tm time(6),
       d date, e enum('a','b'), n decimal(65,30)) CHARACTER SET utf8mb4;
     INSERT INTO t VALUES
       (1, 'a', 1, '10:00:00', '2024-01-01', 'a', 1.5),
       (2, 'a\\0b', 18446744073709551615, '-838:59:59', '9999-12-31', 'b',
         12345678901234567890123456789012345.123456789012345678901234567890)";

async fn values_of_these_servers_follow_their_policy_in_postgres(server: &'static MysqlServer) {
    let source = server.database("lossy").await;
    source.execute(OF_MYSQL).await;
    let target = kit::postgres().await.database("lossy").await;
    let project = Project::between(&source.url(), &target.url());
    let under = |policy: &str| {
        let table = format!("  t: {{ capture: full, to: public.t, on_lossy: {policy} }}\n");
        pipeline(&project, &table);
    };

    under("error");
    let refused = project.syncset(RUN).await;
    under("warn");
    let warned = run(&project).await;
    let near = target
        .rows("SELECT s, big::text, tm::text, e, n::text FROM t WHERE id = 2")
        .await;
    under("{ default: null, columns: { tm: text } }");
    let nulled = run(&project).await;
    let nulls = target
        .rows("SELECT s, tm, pg_typeof(tm)::text FROM t WHERE id = 2")
        .await;

    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert_eq!(warned["values_lost"], lost(&[("s", 1, 0)]), "{warned}");
    assert_eq!(
        near,
        [row(&[
            Some("ab"),
            Some("18446744073709551615"),
            Some("-838:59:59"),
            Some("b"),
            Some("12345678901234567890123456789012345.123456789012345678901234567890"),
        ])]
    );
    assert_eq!(nulled["values_lost"], lost(&[("s", 0, 1)]));
    assert_eq!(nulls, [row(&[None, Some("-838:59:59"), Some("text")])]);
}

async fn values_of_these_servers_lose_nothing_in_sqlite(server: &'static MysqlServer) {
    let source = server.database("lossy").await;
    source.execute(OF_MYSQL).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = SqliteFile::new(folder.path().join("copy.db"));
    let project = Project::between(&source.url(), &target.url());
    pipeline(&project, "  t: { capture: full, on_lossy: null }\n");

    let report = run(&project).await;

    assert_eq!(report["values_lost"], json!({}), "{report}");
    let rows = target
        .rows("SELECT hex(s), big, tm, e, n FROM t WHERE id = 2")
        .await;
    assert_eq!(
        rows,
        [row(&[
            Some("610062"),
            Some("18446744073709551615"),
            Some("-838:59:59.000000"),
            Some("b"),
            Some("12345678901234567890123456789012345.123456789012345678901234567890"),
        ])]
    );
}

#[tokio::test]
async fn specials_of_postgres_are_text_in_sqlite_where_asked() {
    let source = kit::postgres().await.database("lossy").await;
    source.execute(SPECIALS).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = SqliteFile::new(folder.path().join("copy.db"));
    let project = Project::between(&source.url(), &target.url());
    pipeline(
        &project,
        "  public.t: { capture: full, to: t, on_lossy: { default: text, columns: { f: text, d: text } } }\n",
    );

    let report = run(&project).await;
    let second = run(&project).await;

    assert_eq!(report["values_lost"], json!({}));
    assert_eq!(second["rows_written"], 0);
    let rows = target.rows("SELECT f, d, at, n FROM t ORDER BY id").await;
    // The others are not lossy in SQLite, which keeps them in forms of its own.
    assert_eq!(
        rows[1][..3],
        row(&[Some("NaN"), Some("0044-03-15 BC"), Some("infinity")])
    );
    assert_eq!(rows[2][..2], row(&[Some("-Infinity"), Some("infinity")]));
    assert_eq!(rows[1][3].as_deref(), Some("NaN"));
}

#[tokio::test]
async fn texts_of_sqlite_follow_their_policy_in_postgres() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = SqliteFile::new(folder.path().join("shop.db"));
    source
        .execute(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, must TEXT NOT NULL, r REAL);
             INSERT INTO t VALUES (1, 'a' || char(0) || 'b', 'x', 9e999), (2, 'b', 'y', 1.5)",
        )
        .await;
    let target = kit::postgres().await.database("lossy").await;
    let project = Project::between(&source.url(), &target.url());
    let under = |policy: &str| {
        let table = format!("  t: {{ capture: full, to: public.t, on_lossy: {policy} }}\n");
        pipeline(&project, &table);
    };
    let rows = "SELECT s, must, r::text FROM t ORDER BY id";

    under("null");
    let dry = project
        .syncset(["pipeline", "run", "p", "--dry-run", "--output", "json"])
        .await
        .expect_success()
        .json();
    let nulled = run(&project).await;
    let nulls = target.rows(rows).await;
    under("{ default: text }");
    let as_text = project.syncset(RUN).await;
    under("{ columns: { must: null } }");
    let not_null = project.syncset(PLAN).await;
    under("{ columns: { id: text } }");
    let key = project.syncset(PLAN).await;

    assert_eq!(
        dry["tables"][0]["values_lost"],
        lost(&[("s", 0, 1)]),
        "{dry}"
    );
    assert_eq!(nulled["values_lost"], lost(&[("s", 0, 1)]));
    assert_eq!(nulls[0], row(&[None, Some("x"), Some("Infinity")]));
    assert_eq!(
        as_text.code, 1,
        "a text is a text already: {}",
        as_text.stdout
    );
    for (output, sentence) in [
        (not_null, "column `must` is NOT NULL at the target"),
        (key, "`id` is part of the key of `t`"),
    ] {
        assert_eq!(output.code, 2, "{}", output.stdout);
        assert!(output.stdout.contains(sentence), "{}", output.stdout);
    }
}
