//! The overlap of windows of MySQL and MariaDB: read again only if anything in it has changed.

use crate::mysql_lab::{FLAVOURS, MysqlLab, alone, count};
use crate::mysql_read_lab::Followed;
use crate::mysql_windows::Monitor;
use kit::Flavour;
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use syncset_connector::{Capture, Filter};

const STAMP: &str = "updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
    ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at)";

/// Columns of both servers, each with a value and another one that is hard to tell from it.
const VALUES: &[(&str, &str, &str)] = &[
    ("tinyint(1)", "0", "NULL"),
    ("int", "-1", "1"),
    (
        "bigint unsigned",
        "18446744073709551615",
        "18446744073709551614",
    ),
    ("decimal(65,30)", "1.000000000000000000000000000001", "1"),
    ("float", "1.0000001", "1.0000002"),
    ("double", "0.1", "0.10000000000000002"),
    ("double", "0e0", "-0e0"),
    (
        "bit(64)",
        "b'1'",
        "b'1000000000000000000000000000000000000000000000000000000000000000'",
    ),
    ("year", "2024", "2025"),
    ("date", "'2024-01-01'", "NULL"),
    ("time(6)", "'-00:00:00.000001'", "'00:00:00.000001'"),
    (
        "datetime(6)",
        "'2024-01-01 00:00:00'",
        "'2024-01-01 00:00:00.000001'",
    ),
    (
        "timestamp(3) NULL",
        "'2024-01-01 00:00:00.001'",
        "'2024-01-01 00:00:00.002'",
    ),
    ("varchar(9)", "''", "NULL"),
    ("varchar(9) COLLATE utf8mb4_general_ci", "'a'", "'A '"),
    ("varchar(9) CHARACTER SET latin1", "'ä'", "'a'"),
    ("char(9)", "'-'", "NULL"),
    (
        "longtext",
        "CONCAT(REPEAT('x', 5000), 'y')",
        "CONCAT(REPEAT('x', 5000), 'z')",
    ),
    ("varbinary(9)", "X'00'", "X'0000'"),
    (
        "longblob",
        "CONCAT(REPEAT('x', 5000), X'FF')",
        "CONCAT(REPEAT('x', 5000), X'FE')",
    ),
    ("enum('a','b')", "'a'", "'b'"),
    ("set('a','b')", "'a'", "'a,b'"),
    ("json", "'{\"a\": 1}'", "'{\"a\": \"1\"}'"),
    (
        "point",
        "ST_GeomFromText('POINT(1 1)')",
        "ST_GeomFromText('POINT(1 2)')",
    ),
];

#[tokio::test]
async fn overlap_in_which_nothing_changed_is_not_read_again() {
    for flavour in FLAVOURS {
        let setup = format!("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), {STAMP})");
        let lab = MysqlLab::postgres(flavour, &setup).await;
        let capture = "capture: { mode: cursor, column: updated_at, written_by: database }";
        lab.pipeline(&format!("  t: {{ columns: [id, v], {capture} }}"));
        lab.run().await.expect_success();
        let insert = "INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')";
        lab.source.execute(insert).await;

        let changed = lab.synced().await;
        lab.run().await.expect_success();
        let unchanged = lab.synced().await;
        lab.source
            .execute("UPDATE t SET v = 'B' WHERE id = 2")
            .await;
        let changed_again = lab.synced().await;

        assert_eq!(count(&changed, "rows_read"), 3, "{changed}");
        assert_eq!(unchanged["outcome"], "unchanged", "{unchanged}");
        assert_eq!(count(&unchanged, "rows_read"), 0, "{unchanged}");
        assert_eq!(count(&changed_again, "rows_written"), 1, "{changed_again}");
        let values = "SELECT string_agg(v, '' ORDER BY id) FROM t";
        assert_eq!(lab.value(values).await, "aBc");
    }
}

#[tokio::test]
async fn change_that_keeps_its_stamp_is_found_in_every_type() {
    for flavour in FLAVOURS {
        // MariaDB has no negative zero.
        let known = VALUES.iter().filter(|(_, _, other)| match flavour {
            Flavour::Mysql => true,
            Flavour::Mariadb => *other != "-0e0",
        });
        let numbered = || known.clone().enumerate();
        let columns: Vec<_> = numbered()
            .map(|(number, (column, ..))| format!("c{number} {column}"))
            .collect();
        let ddl = format!(
            "CREATE TABLE t (id int PRIMARY KEY, {}, {STAMP}) CHARACTER SET utf8mb4",
            columns.join(", ")
        );
        let mut table = Followed::new(flavour, &ddl).await;
        // While it is open, stamps prove nothing.
        let _transaction = table.transaction().await;
        let values: Vec<_> = numbered()
            .map(|(number, (_, value, _))| format!("c{number} = {value}"))
            .collect();
        let insert = format!("INSERT INTO t SET id = 1, {}", values.join(", "));
        table.database.execute(&insert).await;
        assert_eq!(table.window().await, Some(1));
        table.settles().await;

        for (number, (column, _, other)) in numbered() {
            let update = format!("UPDATE t SET c{number} = {other}, updated_at = updated_at");
            table.database.execute(&update).await;
            assert_eq!(table.window().await, Some(1), "{flavour:?}: {column}");
            assert_eq!(table.window().await, None, "{flavour:?}: after {column}");
        }
    }
}

#[tokio::test]
async fn rows_that_come_and_go_within_the_overlap_are_noticed() {
    for flavour in FLAVOURS {
        let ddl = format!("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), {STAMP})");
        let mut table = Followed::new(flavour, &ddl).await;
        let _transaction = table.transaction().await;
        let insert = "INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b')";
        table.database.execute(insert).await;
        let mut writer = table.transaction().await;
        let insert = "INSERT INTO t (id, v) VALUES (3, 'c')";
        writer.query_drop(insert).await.expect("it writes");
        assert_eq!(table.window().await, Some(2));
        table.settles().await;

        writer.query_drop("COMMIT").await.expect("it commits");
        assert_eq!(table.window().await, Some(3), "{flavour:?}: a late commit");
        table.settles().await;
        table.database.execute("DELETE FROM t WHERE id = 1").await;
        assert_eq!(
            table.window().await,
            Some(2),
            "{flavour:?}: a row that went"
        );
        // Another row of the same values but for its key.
        let moved = "UPDATE t SET id = 4, updated_at = updated_at WHERE id = 2";
        table.database.execute(moved).await;
        assert_eq!(table.window().await, Some(2), "{flavour:?}: a new key");
        assert_eq!(table.window().await, None);
    }
}

#[tokio::test]
async fn row_that_leaves_the_selection_without_a_new_stamp_is_noticed() {
    for flavour in FLAVOURS {
        let ddl = format!("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), w int, {STAMP})");
        let mut table = Followed::new(flavour, &ddl).await;
        table
            .reads(|read| {
                read.columns.retain(|column| column != "w");
                read.filter = Filter::SourceSql("w = 1 -- the user's own".into());
            })
            .await;
        let insert = "INSERT INTO t (id, v, w) VALUES (1, 'a', 1), (2, 'b', 2)";
        table.database.execute(insert).await;
        assert_eq!(table.window().await, Some(2));
        table.settles().await;

        for (changed, found) in [
            ("w = 2, v = 'c' WHERE id = 1", Some(2)),
            // Not selected before nor after.
            ("w = 3, v = 'd' WHERE id = 1", None),
            ("w = 1 WHERE id = 2", Some(2)),
        ] {
            let update = format!(
                "UPDATE t SET {}",
                changed.replace(" WHERE", ", updated_at = updated_at WHERE")
            );
            table.database.execute(&update).await;
            assert_eq!(table.window().await, found, "{flavour:?}: {changed}");
        }
    }
}

#[tokio::test]
async fn overlap_is_read_where_the_digest_does_not_hold() {
    for flavour in FLAVOURS {
        let ddl = format!("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), {STAMP})");
        let mut table = Followed::new(flavour, &ddl).await;
        let _transaction = table.transaction().await;
        let insert = "INSERT INTO t (id, v) VALUES (1, 'a')";
        table.database.execute(insert).await;
        assert_eq!(table.window().await, Some(1));
        table.settles().await;

        // Another overlap: windows start elsewhere.
        let read = Arc::make_mut(&mut table.read);
        let Capture::Cursor(cursor) = &mut read.capture else {
            panic!("it has a cursor");
        };
        cursor.overlap = Some(syncset_connector::Overlap::Time(
            std::time::Duration::from_secs(3_600),
        ));
        assert_eq!(
            table.window().await,
            Some(1),
            "{flavour:?}: another overlap"
        );
        table.settles().await;

        // Values that the target is not to know must not be guessed from what is stored there.
        Arc::make_mut(&mut table.read).all_written = false;
        assert_eq!(
            table.window().await,
            Some(1),
            "{flavour:?}: not all is written"
        );
        assert_eq!(table.window().await, Some(1));
        assert!(table.position.0["seen"].get("digest").is_none());
    }
}

#[tokio::test]
async fn stamps_are_proof_enough_after_a_look_at_a_quiet_server() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let database = server.create_database("quiet").await;
        let ddl = format!("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), {STAMP})");
        let mut table = Followed::of(database, &ddl).await;
        // So that nothing is known by its values.
        Arc::make_mut(&mut table.read).all_written = false;
        let insert = "INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b')";
        table.database.execute(insert).await;
        table.settles_by_time().await;

        // It begins behind the look, so its stamp is a later one.
        let mut writer = table.transaction().await;
        let update = "UPDATE t SET v = 'A' WHERE id = 1";
        writer.query_drop(update).await.expect("it writes");
        assert_eq!(table.window_of_another_run().await, None, "{flavour:?}");
        writer.query_drop("COMMIT").await.expect("it commits");
        assert_eq!(table.window_of_another_run().await, Some(2), "{flavour:?}");
        table.settles_by_time().await;
    }
}

#[tokio::test]
async fn stamps_prove_nothing_while_a_transaction_is_open() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let database = server.create_database("busy").await;
        let ddl = format!("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), {STAMP})");
        let mut table = Followed::of(database, &ddl).await;
        Arc::make_mut(&mut table.read).all_written = false;
        let insert = "INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b')";
        table.database.execute(insert).await;
        // Two changes of a row in one microsecond.
        let mut writer = table.transaction().await;
        let update = "UPDATE t SET v = 'A', updated_at = updated_at WHERE id = 1";
        writer.query_drop(update).await.expect("it writes");

        for _ in 0..3 {
            assert_eq!(table.window_of_another_run().await, Some(2), "{flavour:?}");
        }
        writer.query_drop("COMMIT").await.expect("it commits");

        assert_eq!(table.window_of_another_run().await, Some(2), "{flavour:?}");
        table.settles_by_time().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_in_which_nothing_changed_waits_for_no_list_of_transactions() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let database = server.create_database("unlisted").await;
        let ddl = format!("CREATE TABLE t (id int PRIMARY KEY, v varchar(9), {STAMP})");
        let mut table = Followed::of(database, &ddl).await;
        let insert = "INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b')";
        table.database.execute(insert).await;
        table.settles_by_time().await;

        let monitor = Monitor::start(&table.database).await;
        let unchanged = table.window_of_another_run().await;
        monitor.stop().await;

        assert_eq!(unchanged, None, "{flavour:?}");
        assert!(
            table.warnings.is_empty(),
            "{flavour:?}: {:?}",
            table.warnings
        );
    }
}
