//! Tables of the source whose columns get other types between two runs: wider ones reach the target
//! before the first value that needs them, and others only when somebody agreed.

use crate::schema_lab::{Lab, PAIRS, all_pairs};
use crate::targets::Target;
use kit::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A name that only the wider column holds.
const LONG_NAME: &str = "a name that is longer than fifty characters, by some more";

const ROWS: &str = "SELECT id, name, rev FROM t ORDER BY id";

impl Lab {
    /// Gives a column of the source's `t` another type.
    async fn retype(&self, column: &str, native: &str) {
        let sql = match self.source.engine() {
            Engine::Postgres => format!(
                "ALTER TABLE t ALTER COLUMN {column} DROP DEFAULT, \
                 ALTER COLUMN {column} TYPE {native} USING {column}::{native}"
            ),
            _ => format!("ALTER TABLE t MODIFY {column} {native} NOT NULL"),
        };
        self.at_source(&sql).await;
    }

    /// Adds a column to the source's `t`, with a value for every row, and copies it.
    async fn with_column(&self, column: &str, native: &str, value: &str) {
        self.at_source(&format!(
            "ALTER TABLE t ADD COLUMN {column} {native} NOT NULL DEFAULT {value}"
        ))
        .await;
        self.run().await.expect_success();
    }
}

/// Pairs whose source can give a column another type.
fn pairs() -> impl Iterator<Item = (Engine, Engine)> {
    all_pairs().filter(|(source, _)| *source != Engine::Sqlite)
}

#[tokio::test]
async fn longer_texts_arrive_in_every_pair() {
    for pair in pairs() {
        let lab = Lab::loaded(pair, "").await;

        lab.retype("name", "varchar(60)").await;
        lab.at_source(&format!(
            "UPDATE t SET name = '{LONG_NAME}', rev = 1001 WHERE id <= 3; \
             INSERT INTO u VALUES (101, 'row 101', 101)"
        ))
        .await;
        let first = lab.run().await.expect_success();
        lab.is_quiet().await;

        let said = Lab::said(&first);
        assert!(said.contains("widened column `name`"), "{pair:?}: {said}");
        lab.assert_same(ROWS, 100).await;
        assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
    }
}

#[tokio::test]
async fn larger_numbers_arrive_where_the_target_may_write_its_table_anew() {
    let targets = Engine::ALL.iter();
    let of_postgres = targets.map(|target| (Engine::Postgres, *target));
    for pair in of_postgres.chain([PAIRS[1], PAIRS[2]]) {
        let lab = Lab::loaded(pair, "").await;
        lab.with_column("amount", "decimal(8,2)", "1.50").await;
        lab.with_column("small", "int", "7").await;

        lab.retype("amount", "decimal(18,2)").await;
        lab.retype("small", "bigint").await;
        lab.at_source(
            "UPDATE t SET amount = 1234567890.12, small = 9876543210, rev = 1001 WHERE id <= 3; \
             INSERT INTO u VALUES (101, 'row 101', 101)",
        )
        .await;
        let first = lab.run().await;

        if matches!(pair.1, Engine::Mysql | Engine::Mariadb) {
            // There is no other way than to copy the table, which is for a person to allow.
            let said = Lab::said(&first.expect_code(5));
            assert!(said.contains("would copy the table"), "{pair:?}: {said}");
            assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
            let agreed = lab.run_with(&["--approve", lab.stream()]).await;
            agreed.expect_success();
        } else {
            first.expect_success();
        }
        lab.is_quiet().await;
        let large = "SELECT count(*) FROM t WHERE small = 9876543210 AND id <= 3 \
             AND amount > 1234567890 AND amount < 1234567891";
        assert_eq!(lab.number(large).await, 3, "{pair:?}");
        let others = "SELECT count(*) FROM t WHERE small = 7 AND amount > 1.4 AND amount < 1.6";
        assert_eq!(lab.number(others).await, 97, "{pair:?}");
    }
}

#[tokio::test]
async fn new_labels_of_enumerations_arrive() {
    for pair in [
        (Engine::Postgres, Engine::Postgres),
        (Engine::Postgres, Engine::Mysql),
        (Engine::Mysql, Engine::Mysql),
        (Engine::Mariadb, Engine::Mysql),
        (Engine::Mysql, Engine::Postgres),
    ] {
        let lab = Lab::loaded(pair, "").await;
        let is_postgres = pair.0 == Engine::Postgres;
        if is_postgres {
            lab.at_source("CREATE TYPE mood AS ENUM ('sad', 'glad')")
                .await;
        }
        let native = if is_postgres {
            "mood"
        } else {
            "enum('sad','glad')"
        };
        lab.with_column("m", native, "'sad'").await;

        if is_postgres {
            lab.at_source("ALTER TYPE mood ADD VALUE 'ok' BEFORE 'glad'")
                .await;
        } else {
            lab.retype("m", "enum('sad','glad','ok')").await;
        }
        lab.at_source("UPDATE t SET m = 'ok', rev = 1001 WHERE id <= 3")
            .await;
        lab.run().await.expect_success();
        lab.is_quiet().await;

        lab.assert_same("SELECT id, m FROM t ORDER BY id", 100)
            .await;
    }
}

#[tokio::test]
async fn other_type_needs_somebody_who_agrees() {
    let pairs = [
        PAIRS[0],
        PAIRS[1],
        PAIRS[2],
        (Engine::Postgres, Engine::Postgres),
    ];
    for pair in pairs {
        let lab = Lab::loaded(pair, "").await;
        let stream = lab.stream();
        lab.with_column("code", "varchar(10)", "'7'").await;

        lab.retype("code", "int").await;
        lab.at_source(
            "UPDATE t SET code = 8, rev = 1001 WHERE id <= 3; \
             INSERT INTO u VALUES (101, 'row 101', 101)",
        )
        .await;
        let stopped = lab.run().await.expect_code(5);
        let kept = lab.number("SELECT count(*) FROM t WHERE code = '7'").await;
        lab.edit("schema: { type_change: fail }");
        let refused = lab.run_with(&["--approve", stream]).await.expect_code(5);
        lab.edit("");
        lab.killed_at("alter.committed", &["--approve", stream])
            .await;
        lab.run().await.expect_success();
        lab.is_quiet().await;

        let said = Lab::said(&stopped);
        let why = format!("table `{stream}`: the source has another type in column `code`");
        assert!(said.contains(&why), "{pair:?}: {said}");
        assert!(
            said.contains(&format!("syncset schema approve p --tables {stream}")),
            "{said}"
        );
        let said = Lab::said(&refused);
        assert!(
            said.contains("write `schema: { type_change: widen }`"),
            "{said}"
        );
        assert_eq!(kept, 100);
        assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
        let codes = lab.number("SELECT sum(code) FROM t").await;
        assert_eq!(codes, 3 * 8 + 97 * 7, "{pair:?}");
    }
}

#[tokio::test]
async fn wider_column_waits_for_somebody_if_the_file_says_so() {
    let lab = Lab::loaded(
        (Engine::Postgres, Engine::Postgres),
        "schema: { type_change: approve }",
    )
    .await;

    lab.retype("name", "varchar(60)").await;
    let stopped = lab.run().await.expect_code(5);
    let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
    lab.run_with(&["--approve", "t"]).await.expect_success();
    lab.is_quiet().await;

    let why =
        "the source has widened column `name` (character varying(50) -> character varying(60))";
    assert!(Lab::said(&stopped).contains(why), "{}", Lab::said(&stopped));
    let plan = plan.expect_code(5).stdout;
    assert!(plan.contains("TYPE character varying(60)"), "{plan}");
    lab.assert_same(ROWS, 100).await;
}

#[tokio::test]
async fn run_killed_at_any_step_is_finished_with_the_wider_column() {
    for target in [Engine::Postgres, Engine::Mysql, Engine::Sqlite] {
        let lab = Lab::loaded((Engine::Postgres, target), "").await;
        let agreed = ["--approve", "public.t"];
        // The source wrote the table anew: servers that hash rows compare it, others load it again.
        let again = match target {
            Engine::Postgres => "catch_up.compared",
            _ => "load.begun",
        };
        for (number, point) in ["alter.committed", "selection.stored", again]
            .into_iter()
            .enumerate()
        {
            let column = format!("c{number}");
            lab.with_column(&column, "decimal(8,2)", "1.50").await;
            lab.retype(&column, "decimal(18,3)").await;
            lab.at_source(&format!(
                "UPDATE t SET {column} = 1234567890.125, rev = rev + 1000 WHERE id <= 3"
            ))
            .await;

            lab.killed_at(point, &agreed).await;
            lab.run().await.expect_success();
            lab.is_quiet().await;

            let large = format!(
                "SELECT count(*) FROM t WHERE {column} > 1234567890 AND {column} < 1234567891"
            );
            assert_eq!(lab.number(&large).await, 3, "{target:?} {point}");
            let others = format!("SELECT count(*) FROM t WHERE {column} > 1.4 AND {column} < 1.6");
            assert_eq!(lab.number(&others).await, 97, "{target:?} {point}");
        }
    }
}

#[tokio::test]
async fn agreement_is_not_asked_for_twice_after_a_crash() {
    for target in Engine::ALL.iter() {
        let policy = "schema: { type_change: approve }";
        let lab = Lab::loaded((Engine::Postgres, *target), policy).await;
        lab.with_column("amount", "decimal(8,2)", "1.50").await;

        lab.retype("amount", "decimal(18,2)").await;
        lab.run().await.expect_code(5);
        lab.killed_at("alter.committed", &["--approve", "public.t"])
            .await;
        lab.run().await.expect_success();
        lab.is_quiet().await;

        // What was agreed to once is not agreed to for ever.
        lab.retype("amount", "decimal(19,2)").await;
        lab.run().await.expect_code(5);
        lab.killed_at("alter.committed", &["--approve", "public.t"])
            .await;
        lab.edit("schema: { type_change: fail }");
        lab.run().await.expect_code(5);
        lab.edit(policy);
        lab.run().await.expect_success();
        lab.is_quiet().await;
    }
}

#[tokio::test]
async fn rows_are_not_read_again_for_a_longer_text() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Postgres), "").await;

    lab.retype("name", "varchar(60)").await;
    lab.at_source(&format!(
        "UPDATE t SET name = '{LONG_NAME}', rev = 1001 WHERE id = 1"
    ))
    .await;
    let report = lab.run_with(&["--output", "json"]).await;

    let report = report.expect_success().json();
    let tables = report["tables"].as_array().expect("a report has tables");
    let of_t = tables.iter().find(|it| it["table"] == "public.t");
    let of_t = of_t.expect("the table is reported");
    assert_eq!(of_t["outcome"], "followed", "{of_t}");
    assert_eq!(of_t["rows_written"], 1, "{of_t}");
    lab.assert_same(ROWS, 100).await;
}

#[tokio::test]
async fn view_that_uses_the_column_stops_its_table_only() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Postgres), "").await;
    lab.target
        .execute("CREATE VIEW v AS SELECT id, name FROM t")
        .await;

    lab.retype("name", "varchar(60)").await;
    lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
        .await;
    let stopped = lab.run().await.expect_code(5);

    let said = Lab::said(&stopped);
    let why = "column `name` of `public.t` cannot get another type: view public.v depends on it";
    assert!(said.contains(why), "{said}");
    let diff = lab.project.syncset(["schema", "diff", "p"]).await;
    let diff = Lab::said(&diff.expect_code(5));
    assert!(diff.contains(why), "{diff}");
    assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
    lab.target.execute("DROP VIEW v").await;
    lab.run().await.expect_success();
    lab.is_quiet().await;
}

#[tokio::test]
async fn appended_rows_stay_while_their_column_is_widened() {
    for pair in [PAIRS[0], PAIRS[1]] {
        let lab = Lab::loaded(
            pair,
            "write: { mode: append }, capture: { mode: cursor, column: rev, overlap: 0 }",
        )
        .await;

        lab.retype("name", "varchar(60)").await;
        lab.at_source(&format!(
            "INSERT INTO t VALUES (101, '{LONG_NAME}', 101), (102, 'last', 102)"
        ))
        .await;
        lab.killed_at("alter.committed", &[]).await;
        lab.run().await.expect_success();

        // The newest number may wait until there is a greater one: 102, and 100 before that.
        lab.assert_same(&ROWS.replace("ORDER", "WHERE id <= 101 ORDER"), 101)
            .await;
    }
}

#[tokio::test]
async fn writers_go_on_while_columns_are_widened() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Postgres), "").await;
    let (Target::Postgres(source), Target::Postgres(target)) = (&lab.source, &lab.target) else {
        unreachable!("both are PostgreSQL");
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (mut session, stopped) = (source.connect().await, Arc::clone(&stop));
    let writer = tokio::spawn(async move {
        let mut rev = 1_000;
        while !stopped.load(Ordering::SeqCst) {
            rev += 1;
            let id = rev % 150 + 1;
            let sql = format!(
                "INSERT INTO t (id, name, rev) VALUES ({id}, 'at {rev}', {rev}) \
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, rev = excluded.rev"
            );
            kit::postgres::send(&mut session, &sql).await;
        }
    });

    for length in [60, 70, 80] {
        lab.retype("name", &format!("varchar({length})")).await;
        lab.run().await.expect_success();
    }
    lab.retype("id", "bigint").await;
    lab.run().await.expect_success();
    stop.store(true, Ordering::SeqCst);
    writer.await.expect("no write was refused");
    lab.run().await.expect_success();

    let rows = source.rows(ROWS).await;
    assert_eq!(target.rows(ROWS).await, rows);
    assert!(rows.len() > 100);
}

#[tokio::test]
async fn tables_that_were_made_and_never_loaded_take_the_types_of_their_source() {
    for target in Engine::ALL {
        for (capture, point) in [
            // The first table is being loaded then, and the second one is not.
            ("{ mode: cursor, column: id, overlap: 5 }", "load.low_known"),
            ("full", "unit.before_commit"),
        ] {
            let lab = Lab::loaded((Engine::Postgres, *target), "").await;
            let create = |columns: &str, row: &str| {
                let sql = ["v", "w"].map(|table| {
                    format!(
                        "CREATE TABLE {table} (id int PRIMARY KEY, {columns}); \
                         INSERT INTO {table} VALUES (1, {row})"
                    )
                });
                sql.join("; ")
            };
            lab.at_source(&create(
                "name varchar(5) NOT NULL, n int NOT NULL",
                "'short', 1",
            ))
            .await;
            let text = format!(
                "version: 1\nsource: source\ntarget: target\n\
                 defaults: {{ capture: {capture} }}\ntables:\n  v: {{}}\n  w: {{}}\n"
            );
            lab.project.pipeline("p", &text);
            lab.killed_at(point, &["--jobs", "1"]).await;

            lab.at_source("DROP TABLE v; DROP TABLE w").await;
            let longer = "'longer than before', NULL";
            lab.at_source(&create("name varchar(20) NOT NULL, n int", longer))
                .await;
            lab.run().await.expect_success();

            for table in ["v", "w"] {
                lab.assert_same(&format!("SELECT id, name, n FROM {table}"), 1)
                    .await;
            }
            lab.run().await.expect_success();
        }
    }
}

#[tokio::test]
async fn sqlite_reads_what_its_columns_have_to_hold_by_now() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Sqlite), "").await;
    lab.with_column("amount", "decimal(8,2)", "1.50").await;
    lab.with_column("long", "decimal(30,4)", "1.5000").await;
    lab.at_source("CREATE TABLE k (k decimal(8,2) PRIMARY KEY, v int); INSERT INTO k VALUES (1.50, 1), (2, 2)")
        .await;
    let keyed = "version: 1\nsource: source\ntarget: target\ntables:\n  k: { capture: full }\n";
    lab.project.pipeline("q", keyed);
    let run = ["pipeline", "run", "q"];
    lab.project.syncset(run).await.expect_success();

    lab.retype("amount", "decimal(10,3)").await;
    lab.retype("long", "decimal(32,6)").await;
    lab.at_source(
        "UPDATE t SET amount = 1234567.125, long = 12345678901234567890.123456, rev = 1001 \
         WHERE id <= 3; ALTER TABLE k ALTER k TYPE decimal(10,3); INSERT INTO k VALUES (3.125, 3)",
    )
    .await;
    lab.run().await.expect_success();
    lab.project.syncset(run).await.expect_success();

    for (table, column, declared) in [
        ("t", "amount", "DECIMAL(10,3)"),
        ("t", "long", "DECIMAL_TEXT(32,6)"),
        ("k", "k", "DECIMAL(10,3)"),
    ] {
        let sql = format!("SELECT type FROM pragma_table_info('{table}') WHERE name = '{column}'");
        assert_eq!(lab.value(&sql).await.as_deref(), Some(declared), "{column}");
    }
    for name in ["p", "q"] {
        let check = ["pipeline", "check", name];
        lab.project.syncset(check).await.expect_success();
    }
    lab.is_quiet().await;
}

#[tokio::test]
async fn bytes_that_become_texts_are_read_as_texts() {
    let lab = Lab::loaded((Engine::Mysql, Engine::Sqlite), "").await;
    lab.at_source(
        "ALTER TABLE t ADD COLUMN body varbinary(20); UPDATE t SET body = 'b', rev = 500",
    )
    .await;
    lab.run().await.expect_success();

    lab.at_source("ALTER TABLE t MODIFY body varchar(20)").await;
    lab.run_with(&["--approve", "t"]).await.expect_success();

    let check = ["pipeline", "check", "p"];
    lab.project.syncset(check).await.expect_success();
    assert_eq!(
        lab.value("SELECT typeof(body) FROM t WHERE id = 1").await,
        Some("text".to_owned())
    );
}
