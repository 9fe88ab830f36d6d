//! Values of MySQL and MariaDB that no type holds stop their table, unless a setting reads them.
//!
//! What types hold, and how it arrives, is in `round_trips`.

use crate::mysql_lab::{FLAVOURS, MysqlLab, alone, said};
use crate::targets::Target;
use kit::Flavour;

#[tokio::test]
async fn values_that_fit_nowhere_stop_their_table_and_name_the_row() {
    let zero_dates = "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, c date); \
                      INSERT INTO t VALUES (7, '0000-00-00'), (8, '2024-02-00'), (9, '2024-02-29')";
    let numbers = "CREATE TABLE t (id int PRIMARY KEY, c tinyint(1)); \
                   INSERT INTO t VALUES (7, 2), (8, 1)";
    for flavour in FLAVOURS {
        for (setup, word) in [
            (zero_dates, "zero_dates: null"),
            (numbers, "tinyint1: integer"),
        ] {
            let lab = MysqlLab::postgres(flavour, setup).await;
            lab.pipeline("  t: { capture: full }");

            let output = lab.run().await.expect_code(1);

            assert!(
                said(&output).contains("column `c` of `t`"),
                "{}",
                said(&output)
            );
            assert!(said(&output).contains("`id` = 7"), "{}", said(&output));
            assert!(said(&output).contains(word), "{}", said(&output));
        }
    }
}

#[tokio::test]
async fn settings_read_what_would_be_refused() {
    let setup = "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, c date NOT NULL, n tinyint(1)); \
                 INSERT INTO t VALUES (7, '0000-00-00', 2), (9, '2024-02-29', -128)";
    for (value, first) in [("null", None), ("text", Some("0000-00-00"))] {
        let lab = MysqlLab::postgres(Flavour::Mariadb, setup).await;
        lab.project.file(
            "syncset.yaml",
            &format!(
                "version: 1\nconnections:\n  source: {{ type: mysql, url: \"{}\", zero_dates: \"{value}\", tinyint1: integer }}\n  target: {{ type: postgres, url: \"{}\" }}\n",
                lab.source.url().replacen("mariadb:", "mysql:", 1),
                lab.target.place().url()
            ),
        );
        lab.pipeline("  t: { capture: full }");

        lab.run().await.expect_success();

        let rows = lab.at_target("SELECT c::text, n FROM t ORDER BY id").await;
        assert_eq!(rows[0], [first.map(str::to_owned), Some("2".to_owned())]);
        assert_eq!(
            rows[1],
            [Some("2024-02-29".to_owned()), Some("-128".to_owned())]
        );
    }
}

/// MySQL lists no transactions while one of them runs a statement with a character of four bytes.
#[tokio::test]
async fn statements_with_any_character_may_run_meanwhile() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, c varchar(9) CHARACTER SET utf8mb4); \
                 INSERT INTO t VALUES (1, '😀')";
    for flavour in FLAVOURS {
        // MySQL refuses its own lists meanwhile, to every session of the server.
        let server = alone(flavour).await;
        let source = server.create_database("any_character").await;
        let lab = MysqlLab::of(source, Target::postgres().await, setup).await;
        lab.pipeline("  t: { capture: { mode: cursor, column: id } }");
        let source = lab.source.clone();
        let other = tokio::spawn(async move {
            let statements = "BEGIN; INSERT INTO t VALUES (2, '😀'); SELECT SLEEP(2), '😀'; COMMIT";
            source.execute(statements).await;
        });
        let runs = format!(
            "SELECT COUNT(*) FROM {} WHERE DB = DATABASE() AND STATE = 'User sleep'",
            flavour.processlist()
        );
        kit::eventually("the statement runs", async || {
            other.is_finished() || lab.source.value(&runs).await == "1"
        })
        .await;

        lab.run().await.expect_success();

        other.await.expect("the statement ends");
        lab.run().await.expect_success();
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "2");
    }
}
