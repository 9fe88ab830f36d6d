//! How units write to MySQL and MariaDB: exactly the rows that differ, or nothing.

use crate::mysql_target_lab::{
    Lab, PLAIN, ints, on_both, open_ready, plain, table_of, texts, written_carefully,
};
use arrow_array::{ArrayRef, Float64Array};
use kit::{Flavour, MysqlServer};
use std::sync::Arc;
use syncset_connector::{Advice, ErrorClass, OnDelete, ReplaceRules, Replaced};

on_both!(
    replayed_window_changes_no_row_and_fires_no_trigger,
    images_that_are_equal_for_the_server_are_updated_once,
    keys_that_a_collation_takes_for_one_stop_the_unit,
    careful_unit_refuses_exactly_the_bad_rows,
    plain_unit_names_the_column_and_can_be_given_up,
    replace_by_image_counts_equal_rows,
    large_batches_arrive_whole_and_load_data_is_used,
    row_longer_than_a_packet_is_refused_and_the_link_lives,
);

async fn replayed_window_changes_no_row_and_fires_no_trigger(server: &'static MysqlServer) {
    let setup = format!(
        "{PLAIN}; CREATE TABLE audit (n int AUTO_INCREMENT PRIMARY KEY, id int);
         CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW INSERT INTO audit (id) VALUES (NEW.id);
         CREATE TRIGGER b AFTER UPDATE ON t FOR EACH ROW INSERT INTO audit (id) VALUES (NEW.id)"
    );
    let mut lab = Lab::new(server, &setup).await;
    let (table, batch) = plain(&[(1, Some("a"), "1.0"), (2, None, "2")]);
    let first = lab.write(&table, batch.clone()).await;

    let second = lab.write(&table, batch).await;
    let third = lab
        .write(
            &table,
            plain(&[(1, Some("a"), "1.0"), (2, Some("b"), "2")]).1,
        )
        .await;

    let written = [first, second, third].map(|receipt| receipt.rows_written);
    assert_eq!(written, [2, 0, 1]);
    assert_eq!(lab.database.value("SELECT COUNT(*) FROM audit").await, "3");
}

async fn images_that_are_equal_for_the_server_are_updated_once(server: &'static MysqlServer) {
    let mut lab = Lab::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(9) COLLATE utf8mb4_general_ci,
           long_name longtext COLLATE utf8mb4_general_ci, f double) CHARACTER SET utf8mb4",
    )
    .await;
    let row = |name, float: f64| {
        table_of(&[
            ("id", "integer", ints([1])),
            ("name", "text", texts([Some(name)])),
            ("long_name", "text", texts([Some(name)])),
            (
                "f",
                "double precision",
                Arc::new(Float64Array::from(vec![float])) as ArrayRef,
            ),
        ])
    };
    let (table, batch) = row("a", 0.0);
    lab.write(&table, batch).await;

    for (name, float) in [("A", 0.0), ("ä", 0.0), ("ä ", 0.0), ("ä ", 5e-324)] {
        let first = lab.write(&table, row(name, float).1).await;
        let second = lab.write(&table, row(name, float).1).await;
        assert_eq!((first.rows_written, second.rows_written), (1, 0), "{name}");
    }
    let zero = lab.write(&table, row("ä ", 0.0).1).await;
    let negative = lab.write(&table, row("ä ", -0.0).1).await;

    assert_eq!(zero.rows_written, 1);
    // MariaDB has had no negative zero for long.
    let has_it = lab.database.value("SELECT CAST(-0e0 AS CHAR) = '-0'").await;
    assert_eq!(negative.rows_written.to_string(), has_it);
    assert_eq!(
        lab.content("CONCAT(name, '|'), CONCAT(long_name, '|')")
            .await,
        "ä |,ä |"
    );
}

async fn keys_that_a_collation_takes_for_one_stop_the_unit(server: &'static MysqlServer) {
    let mut lab = Lab::new(
        server,
        "CREATE TABLE t (id varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, n int)
           CHARACTER SET utf8mb4",
    )
    .await;
    let rows = |names: &[&'static str]| {
        table_of(&[
            ("id", "text", texts(names.iter().map(|name| Some(*name)))),
            (
                "n",
                "integer",
                ints(0..i32::try_from(names.len()).expect("few")),
            ),
        ])
    };
    let (table, both) = rows(&["b", "B"]);

    let mut unit = lab.begin(lab.window()).await;
    unit.upsert(&table, both).await.expect("accepted");
    let within = lab.try_commit(unit).await.expect_err("two keys are one");
    lab.write(&table, rows(&["a", "c"]).1).await;
    let mut unit = lab.begin(lab.window()).await;
    unit.upsert(&table, rows(&["A"]).1).await.expect("accepted");
    let between = lab.try_commit(unit).await.expect_err("two keys are one");

    for error in [within, between] {
        assert_eq!(error.class, ErrorClass::TargetDiffers);
        assert!(error.hint.expect("a hint").contains("utf8mb4_0900_bin"));
    }
    assert_eq!(lab.content("id, n").await, "a,0 c,1");
}

async fn careful_unit_refuses_exactly_the_bad_rows(server: &'static MysqlServer) {
    let mut lab = Lab::new(
        server,
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE t (id int PRIMARY KEY, name varchar(20) UNIQUE CHECK (name <> 'secret'),
           parent int, amount decimal(4,1), latin varchar(9) CHARACTER SET latin1,
           FOREIGN KEY (parent) REFERENCES parent (id)) CHARACTER SET utf8mb4",
    )
    .await;
    let count = 300;
    let names: Vec<_> = (0..count)
        .map(|id| match id {
            7 => "secret".to_owned(),
            20 => "name 19".to_owned(),
            30 => "secret but too long for it".to_owned(),
            _ => format!("name {id}"),
        })
        .collect();
    let (table, batch) = table_of(&[
        ("id", "integer", ints(0..count)),
        (
            "name",
            "text",
            texts(names.iter().map(|name| Some(name.as_str()))),
        ),
        (
            "parent",
            "integer",
            ints((0..count).map(|id| 1 + i32::from(id == 250))),
        ),
        (
            "amount",
            "numeric(4,1)",
            texts((0..count).map(|id| match id {
                100 => Some("99999"),
                101 => Some("secret"),
                102 => Some("1.25"),
                _ => Some("1.5"),
            })),
        ),
        (
            "latin",
            "text",
            texts((0..count).map(|id| Some(if id == 200 { "ж" } else { "é" }))),
        ),
    ]);

    let (rejections, receipt) = written_carefully(&mut lab, &table, batch).await;

    let check = match server.flavour() {
        Flavour::Mysql => "3819",
        Flavour::Mariadb => "4025",
    };
    let rows: Vec<_> = rejections
        .iter()
        .map(|rejection| (rejection.row, rejection.parked, rejection.code.as_deref()))
        .collect();
    assert_eq!(
        rows,
        [
            (7, false, Some(check)),
            (20, true, Some("1062")),
            (30, false, None),
            (100, false, None),
            (101, false, None),
            (102, false, None),
            (200, false, None),
            (250, true, Some("1452")),
        ]
    );
    for rejection in &rejections {
        assert!(!rejection.reason.contains("secret"), "{}", rejection.reason);
    }
    assert_eq!(receipt.rows_written, 292);
    let latin = "SELECT CONCAT(COUNT(*), ' ', MIN(HEX(latin)), MAX(HEX(latin))) FROM t";
    assert_eq!(lab.database.value(latin).await, "292 E9E9");
}

async fn plain_unit_names_the_column_and_can_be_given_up(server: &'static MysqlServer) {
    let mut lab = Lab::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(3))",
    )
    .await;
    let row = |name| {
        table_of(&[
            ("id", "integer", ints([1])),
            ("name", "text", texts([Some(name)])),
        ])
    };
    let (table, batch) = row("abcd");

    let mut unit = lab.begin(lab.window()).await;
    let error = unit
        .upsert(&table, batch)
        .await
        .expect_err("the value is too long");
    unit.abort().await;

    assert_eq!(error.class, ErrorClass::RowRefused);
    assert!(error.message.contains("column `name` of `t`"), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
    assert!(
        !lab.target()
            .was_committed(&lab.window())
            .await
            .expect("decided")
    );
    assert_eq!(lab.write(&table, row("abc").1).await.rows_written, 1);
}

fn hard() -> ReplaceRules {
    ReplaceRules {
        absent: OnDelete::Hard,
        max_rewrite_rows: 3,
    }
}

/// A key, two texts and a number.
type Row<'a> = (i32, Option<&'a str>, Option<&'a str>, Option<f64>);

async fn replace_by_image_counts_equal_rows(server: &'static MysqlServer) {
    let mut lab = Lab::new(
        server,
        "CREATE TABLE t (id int, name varchar(20) COLLATE utf8mb4_general_ci, j json, d double)
           CHARACTER SET utf8mb4;
         INSERT INTO t VALUES (1, 'a', '[1]', 0.5), (1, 'a', '[1]', 0.5), (1, 'a', '[1]', 0.5),
           (2, NULL, NULL, NULL), (3, '~', NULL, 1e300)",
    )
    .await;
    let rows = |rows: &[Row<'_>]| {
        let (mut table, batch) = table_of(&[
            ("id", "integer", ints(rows.iter().map(|row| row.0))),
            ("name", "text", texts(rows.iter().map(|row| row.1))),
            ("j", "jsonb", texts(rows.iter().map(|row| row.2))),
            (
                "d",
                "double precision",
                Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>()) as ArrayRef,
            ),
        ]);
        table.key.clear();
        (table, batch)
    };
    let one = (1, Some("a"), Some("[1]"), Some(0.5));
    let (two, three) = ((2, None, None, None), (3, Some("~"), None, Some(1e300)));
    let (table, first) = rows(&[one, one, two, two, three]);

    let mut replace = async |batch: arrow_array::RecordBatch| {
        let mut unit = lab.begin(lab.window()).await;
        unit.collect(&table, batch).await.expect("collected");
        let done = unit.replace(&[(&table, hard())]).await.expect("replaced");
        match done[0] {
            Replaced::Done { .. } => {
                lab.commit(unit).await;
            }
            Replaced::TooMany { .. } => unit.abort().await,
        }
        done[0]
    };
    let changed = replace(first.clone()).await;
    let unchanged = replace(first).await;
    let other_case =
        replace(rows(&[one, (1, Some("A"), Some("[1]"), Some(0.5)), two, two, three]).1).await;
    let too_many = replace(rows(&[two]).1).await;

    let done = |rows_written, rows_deleted| Replaced::Done {
        rows_written,
        rows_deleted,
    };
    assert_eq!(changed, done(1, 1));
    assert_eq!(unchanged, done(0, 0));
    assert_eq!(other_case, done(1, 1));
    assert_eq!(too_many, Replaced::TooMany { rows: 4 });
    let content = "SELECT GROUP_CONCAT(CONCAT(id, COALESCE(name, '-')) \
                   ORDER BY id, BINARY name SEPARATOR ' ') FROM t";
    assert_eq!(lab.database.value(content).await, "1A 1a 2- 2- 3~");
}

/// How often somebody has loaded data so far.
async fn loads(lab: &Lab) -> u64 {
    let rows = lab
        .database
        .rows("SHOW GLOBAL STATUS LIKE 'Com_load'")
        .await;
    let count = rows[0][1].as_deref().expect("a number");
    count.parse().expect("a number")
}

async fn large_batches_arrive_whole_and_load_data_is_used(server: &'static MysqlServer) {
    let mut lab = Lab::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, name longtext, b longblob, f bit(9))
           CHARACTER SET utf8mb4",
    )
    .await;
    let count = 3_000;
    let names: Vec<_> = (0..count)
        .map(|id| match id % 5 {
            0 => None,
            1 => Some(format!("tab\tline\nback\\slash\0 nul {id}")),
            2 => Some(String::new()),
            3 => Some("\\N".to_owned()),
            _ => Some(format!("{id} {}", "é😀".repeat(300))),
        })
        .collect();
    let bytes: Vec<_> = (0..count)
        .map(|id| (id % 3 > 0).then(|| vec![0_u8, 255, b'\\', b'\n', 9]))
        .collect();
    let bytes = arrow_array::BinaryArray::from_iter(bytes);
    let bits = (0..count).map(|id| (id % 2 > 0).then_some("100000001"));
    let (table, batch) = table_of(&[
        ("id", "integer", ints(0..count)),
        (
            "name",
            "text",
            texts(names.iter().map(|name| name.as_deref())),
        ),
        ("b", "bytea", Arc::new(bytes) as ArrayRef),
        ("f", "bit(9)", texts(bits)),
    ]);

    let before = loads(&lab).await;
    let first = lab.write(&table, batch.clone()).await;
    let after = loads(&lab).await;
    let again = lab.write(&table, batch).await;

    assert!(after > before);
    assert_eq!((first.rows_written, again.rows_written), (3_000, 0));
    let stored = lab
        .database
        .rows("SELECT name, HEX(b), f + 0 FROM t ORDER BY id LIMIT 6")
        .await;
    for (id, row) in stored.iter().enumerate() {
        let bytes = (id % 3 > 0).then(|| "00FF5C0A09".to_owned());
        let bits = (id % 2 > 0).then(|| "257".to_owned());
        assert_eq!(*row, [names[id].clone(), bytes, bits], "{id}");
    }
}

async fn row_longer_than_a_packet_is_refused_and_the_link_lives(server: &'static MysqlServer) {
    let own = MysqlServer::start_own(server.flavour(), "max_allowed_packet = 1M");
    let database = own.create_database("packet").await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY, name longtext) CHARACTER SET utf8mb4")
        .await;
    let store = open_ready(&database.url()).await;
    let mut lab = Lab::with(database, store).await;
    let long = "x".repeat(1 << 20);
    let (table, batch) = table_of(&[
        ("id", "integer", ints([1, 2])),
        ("name", "text", texts([Some(long.as_str()), Some("short")])),
    ]);

    let (rejections, receipt) = written_carefully(&mut lab, &table, batch).await;

    let rows: Vec<_> = rejections.iter().map(|it| it.row).collect();
    assert_eq!(rows, [0]);
    assert!(rejections[0].reason.contains("packet"));
    assert_eq!(receipt.rows_written, 1);
}
