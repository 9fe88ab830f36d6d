//! Which tables a target of MySQL or MariaDB takes, creates, alters and refuses, and what their
//! columns hold.

use crate::mysql_target_lab::{
    Lab, PLAIN, ints, key, lease_of, native, on_both, open_ready, plain, state, table_of, texts,
    wait_until,
};
use arrow_array::{
    ArrayRef, Date32Array, FixedSizeBinaryArray, Float32Array, Int64Array, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::{DataType, TimeUnit};
use kit::MysqlServer;
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use syncset_connector::{
    Digest, Exactness, HeldRows, MadeColumn, MadeTable, TableAlteration, TableChange, TableName,
    TargetColumn, TargetTable,
};

on_both!(
    columns_the_target_fills_itself_do_not_stop_a_row,
    created_tables_hold_what_their_sources_hold,
    table_is_created_once_and_is_known_as_ours,
    table_whose_record_was_cut_short_is_still_known_as_ours,
    tables_of_other_engines_are_refused_with_the_reason,
    status_names_every_difference_with_its_advice,
    altered_table_keeps_its_rows_and_its_record,
    indexes_of_others_keep_their_columns,
    units_leave_no_session_more_than_they_need,
    user_with_the_documented_rights_does_everything,
    statistics_are_renewed_beside_readers_and_writers,
);

async fn columns_the_target_fills_itself_do_not_stop_a_row(server: &'static MysqlServer) {
    let mut lab = Lab::new(
        server,
        "CREATE TABLE t (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(9),
           loud varchar(9) GENERATED ALWAYS AS (UPPER(name)) STORED,
           stamp timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) CHARACTER SET utf8mb4",
    )
    .await;
    let row = |name| {
        table_of(&[
            (
                "id",
                "bigint",
                Arc::new(Int64Array::from(vec![0_i64])) as ArrayRef,
            ),
            ("name", "text", texts([Some(name)])),
            ("loud", "text", texts([Some("ignored")])),
        ])
    };
    let (table, batch) = row("a");
    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert_eq!(status[0].differences, []);

    lab.write(&table, batch).await;
    lab.write(&table, row("b").1).await;

    // Zero is a key like any other.
    assert_eq!(lab.content("id, name, loud").await, "0,b,B");
}

async fn created_tables_hold_what_their_sources_hold(server: &'static MysqlServer) {
    let mut lab = Lab::new(server, "").await;
    let uuid = FixedSizeBinaryArray::try_from_iter([[0x1f_u8; 16]; 2].into_iter()).expect("UUIDs");
    let micros = |values: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(values)) as ArrayRef;
    let instants =
        TimestampMicrosecondArray::from(vec![-1, 253_402_300_799_999_999]).with_timezone("UTC");
    let columns: Vec<(&str, &str, ArrayRef)> = vec![
        ("id", "uuid", Arc::new(uuid.slice(0, 1))),
        ("big", "numeric", texts([Some("18446744073709551616.5")])),
        ("u", "", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("f", "real", Arc::new(Float32Array::from(vec![0.1_f32]))),
        ("d", "date", Arc::new(Date32Array::from(vec![-719_162]))),
        (
            "t",
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000])),
        ),
        ("ts", "timestamp", micros(vec![253_402_300_799_999_999])),
        ("tz", "timestamptz", Arc::new(instants.slice(0, 1))),
        ("v", "character varying(9)", texts([Some("äöü 😀")])),
        (
            "j",
            "jsonb",
            texts([Some("{\"b\": 1.000, \"a\": 12345678901234567890}")]),
        ),
        ("e", "text", texts([Some("")])),
    ];
    let (table, batch) = table_of(&columns);
    lab.target()
        .create(&lab.lease, &[(&table, MadeTable::default())])
        .await
        .expect("created");

    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    let first = lab.write(&table, batch.clone()).await;
    let again = lab.write(&table, batch).await;

    assert_eq!(status[0].differences, []);
    assert_eq!((first.rows_written, again.rows_written), (1, 0));
    assert_eq!(
        lab.content("id, big, u, CAST(f + 0e0 AS CHAR), d, t, ts, tz, v, j, e")
            .await,
        "1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f,18446744073709551616.5,18446744073709551615,\
         0.10000000149011612,0001-01-01,24:00:00.000000,9999-12-31 23:59:59.999999,\
         1969-12-31 23:59:59.999999,äöü 😀,{\"b\": 1.000, \"a\": 12345678901234567890},"
    );
}

fn made(columns: &[&str], key: &[&str]) -> MadeTable {
    MadeTable {
        target: TableName::bare("t"),
        columns: columns
            .iter()
            .map(|name| MadeColumn {
                name: (*name).into(),
                origin: format!("{name}: text"),
            })
            .collect(),
        key: key.iter().map(|name| (*name).into()).collect(),
        agreed: String::new(),
        indexes: None,
        comments: None,
        history: Vec::new(),
    }
}

async fn table_is_created_once_and_is_known_as_ours(server: &'static MysqlServer) {
    let lab = Lab::new(server, "").await;
    let (mut table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("Order `Items`", "text", texts([])),
    ]);
    table.columns[0].nullable = false;

    let tables = [(&table, made(&["id"], &["id"]))];
    let (first, second) = futures::join!(
        lab.target().create(&lab.lease, &tables),
        lab.target().create(&lab.lease, &tables)
    );
    first.expect("created");
    second.expect("there already");

    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert!(status[0].exists && status[0].empty);
    assert_eq!(status[0].differences, []);
    let digest = lab
        .target()
        .key_digest(&table, Digest::Count)
        .await
        .expect("a digest");
    assert_eq!(digest.row_count, 0);
    let stored = state(&*lab.store).load(&key(), 0).await.expect("the state");
    assert_eq!(stored.made, [made(&["id"], &["id"])]);
}

async fn table_whose_record_was_cut_short_is_still_known_as_ours(server: &'static MysqlServer) {
    let lab = Lab::new(server, "").await;
    let (table, _) = plain(&[]);
    let planned = made(&["id", "name", "amount"], &["id"]);
    lab.target()
        .create(&lab.lease, &[(&table, planned.clone())])
        .await
        .expect("created");

    // As a crash leaves it between the table and its record, and before the table.
    let mark = lab
        .database
        .value(
            "SELECT SUBSTRING_INDEX(SUBSTRING_INDEX(TABLE_COMMENT, ' ', -1), ']', 1) \
             FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't'",
        )
        .await;
    let cut_short = |mark: &str| {
        format!(
            "UPDATE _syncset_made SET planned = COALESCE(planned, made), made = NULL, \
             planned_mark = '{mark}'"
        )
    };
    lab.database.execute(&cut_short(&mark)).await;
    let after_the_table = state(&*lab.store).load(&key(), 0).await.expect("the state");
    lab.database.execute(&cut_short("another")).await;
    let before_the_table = state(&*lab.store).load(&key(), 0).await.expect("the state");

    assert_eq!(after_the_table.made, [planned]);
    assert_eq!(before_the_table.made, []);
}

async fn tables_of_other_engines_are_refused_with_the_reason(server: &'static MysqlServer) {
    let lab = Lab::new(
        server,
        &format!("{PLAIN} ENGINE=MyISAM; CREATE VIEW v AS SELECT 1 AS id"),
    )
    .await;
    let (table, _) = plain(&[]);
    let view = TargetTable {
        name: TableName::bare("v"),
        ..table.clone()
    };

    let status = lab.target().status(&[table, view]).await.expect("a status");

    let sentence = &status[0].differences[0].sentence;
    assert!(
        sentence.contains("MyISAM") && sentence.contains("ENGINE=InnoDB"),
        "{sentence}"
    );
    assert!(status[1].differences[0].sentence.contains("not a table"));
}

async fn status_names_every_difference_with_its_advice(server: &'static MysqlServer) {
    let lab = Lab::new(
        server,
        "CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE t (id bigint NOT NULL, name date, extra varchar(9) NOT NULL, other int,
           FOREIGN KEY (other) REFERENCES parent (id)) CHARACTER SET utf8mb4;
         INSERT INTO t VALUES (1, NULL, '', NULL)",
    )
    .await;
    let (table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("name", "text", texts([])),
        ("gone", "text", texts([])),
    ]);

    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");

    assert!(status[0].exists && !status[0].empty);
    let sentences = status[0].differences.iter().map(ToString::to_string);
    let all = sentences.collect::<Vec<_>>().join("\n");
    for part in [
        "MODIFY COLUMN `name` longtext",
        "ADD COLUMN `gone` longtext",
        "`extra`",
        "ADD UNIQUE KEY (`id`)",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    assert_eq!(status[0].differences.len(), 4, "{all}");
    assert!(status[0].notes[0].contains("`parent`"));
    assert_eq!(status[0].parents, [TableName::bare("parent")]);
}

async fn altered_table_keeps_its_rows_and_its_record(server: &'static MysqlServer) {
    let mut lab = Lab::new(server, "").await;
    let (table, batch) = table_of(&[
        ("id", "integer", ints([1, 2])),
        ("b", "integer", ints([3, 4])),
        ("c", "text", texts([Some("x"), Some("y")])),
        ("d", "text", texts([Some("u"), Some("v")])),
    ]);
    lab.target()
        .create(
            &lab.lease,
            &[(&table, made(&["id", "b", "c", "d"], &["id"]))],
        )
        .await
        .expect("created");
    lab.write(&table, batch).await;
    let (mut after, _) = table_of(&[
        ("b", "integer", ints([])),
        ("d", "text", texts([])),
        ("c", "text", texts([])),
        ("e", "text", texts([])),
    ]);
    after.columns[0].native = native("postgres", "integer");
    let alteration = TableAlteration {
        changes: vec![
            TableChange::Drop("id".into()),
            TableChange::Rename {
                from: "c".into(),
                to: "d".into(),
            },
            TableChange::Rename {
                from: "d".into(),
                to: "c".into(),
            },
            TableChange::Add(after.columns[3].clone()),
            TableChange::Key(vec!["b".into()]),
        ],
        must_be_empty: Vec::new(),
        made: made(&["b", "c", "d", "e"], &["b"]),
        table: after,
        released: Vec::new(),
        rows: HeldRows::LoadAgain,
        expects: None,
    };

    let planned = lab
        .target()
        .plan_alteration(&alteration)
        .await
        .expect("a plan");
    let altered = lab.target().alter(&lab.lease, &alteration).await;
    altered.unwrap_or_else(|error| panic!("altered: {error:?}"));

    assert_eq!((planned.statements.len(), planned.blockers.len()), (1, 0));
    assert_eq!(lab.content("b, c, d, e").await, "3,u,x,- 4,v,y,-");
    let stored = state(&*lab.store).load(&key(), 0).await.expect("the state");
    assert_eq!(stored.made, [alteration.made]);
    assert_eq!(stored.streams[0].selection, "");
    let key = "SELECT GROUP_CONCAT(COLUMN_NAME) FROM information_schema.STATISTICS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't' AND INDEX_NAME = 'PRIMARY'";
    assert_eq!(lab.database.value(key).await, "b");
}

async fn indexes_of_others_keep_their_columns(server: &'static MysqlServer) {
    let lab = Lab::new(server, "").await;
    let (table, _) = plain(&[]);
    lab.target()
        .create(
            &lab.lease,
            &[(&table, made(&["id", "name", "amount"], &["id"]))],
        )
        .await
        .expect("created");
    lab.database
        .execute("CREATE INDEX by_name ON t (id, name(9))")
        .await;
    let (mut after, _) = plain(&[]);
    after.columns.remove(1);
    let alteration = TableAlteration {
        table: after,
        changes: vec![TableChange::Drop("name".into())],
        must_be_empty: Vec::new(),
        made: made(&["id", "amount"], &["id"]),
        released: Vec::new(),
        rows: HeldRows::LoadAgain,
        expects: None,
    };

    let error = lab
        .target()
        .alter(&lab.lease, &alteration)
        .await
        .expect_err("an index needs the column");

    assert!(error.message.contains("index `by_name`"), "{error}");
    let columns = "SELECT COUNT(*) FROM information_schema.COLUMNS \
                   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't'";
    assert_eq!(lab.database.value(columns).await, "3");
}

async fn units_leave_no_session_more_than_they_need(server: &'static MysqlServer) {
    let mut lab = Lab::new(server, PLAIN).await;
    for id in 0..5 {
        let (table, batch) = plain(&[(id, None, "1")]);
        lab.write(&table, batch).await;
    }

    // A session that was ended is listed until the server has seen it.
    let two_are_left = format!(
        "SELECT COUNT(*) = 2 FROM {} WHERE DB = DATABASE() AND ID <> CONNECTION_ID()",
        server.flavour().processlist()
    );
    wait_until(&lab.database, &two_are_left).await;
}

async fn user_with_the_documented_rights_does_everything(server: &'static MysqlServer) {
    let database = server.database("rights").await;
    let rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, CREATE TEMPORARY TABLES \
                  ON {database}.*";
    let user = database.user("w", &[rights]).await;
    let store = open_ready(&user.url()).await;
    let first = lease_of(&*store, "one").await;
    drop(store);
    let store = open_ready(&user.url()).await;
    let mut lab = Lab::with(user, store).await;
    assert_eq!(lab.lease.epoch, first.epoch + 1);
    let (table, batch) = plain(&[(1, Some("a"), "1"), (2, None, "2")]);

    lab.target()
        .create(
            &lab.lease,
            &[(&table, made(&["id", "name", "amount"], &["id"]))],
        )
        .await
        .expect("created");
    lab.write(&table, batch).await;
    let (mut after, _) = plain(&[]);
    after.columns.remove(1);
    let alteration = TableAlteration {
        table: after,
        changes: vec![TableChange::Drop("name".into())],
        must_be_empty: Vec::new(),
        made: made(&["id", "amount"], &["id"]),
        released: Vec::new(),
        rows: HeldRows::LoadAgain,
        expects: None,
    };
    let altered = lab.target().alter(&lab.lease, &alteration).await;
    altered.unwrap_or_else(|error| panic!("altered: {error:?}"));

    assert_eq!(database.value("SELECT COUNT(*) FROM t").await, "2");
}

#[test]
fn types_of_other_stores_have_their_own_names_here() {
    let mapped = |data_type: DataType| {
        let column = TargetColumn {
            name: "c".into(),
            data_type,
            native: None,
            nullable: true,
        };
        let mapping = syncset_mysql::MYSQL.map_type(&column);
        (mapping.native, mapping.exactness)
    };
    assert_eq!(mapped(DataType::Int64), ("bigint".into(), Exactness::Exact));
    assert_eq!(
        mapped(DataType::UInt64),
        ("bigint unsigned".into(), Exactness::Exact)
    );
    assert_eq!(
        mapped(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into())
        )),
        ("datetime(6)".into(), Exactness::Lossy)
    );
}

async fn statistics_are_renewed_beside_readers_and_writers(server: &'static MysqlServer) {
    let lab = Lab::new(
        server,
        &format!("{PLAIN} STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0; \
                  INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2); CREATE TABLE u (id int PRIMARY KEY)"),
    )
    .await;
    let known = "SELECT n_rows FROM mysql.innodb_table_stats \
                 WHERE database_name = DATABASE() AND table_name = 't'";
    let (t, u) = (TableName::bare("t"), TableName::bare("u"));
    let mut other = lab.database.connect().await;
    let begun = "START TRANSACTION; SELECT * FROM t; UPDATE t SET name = 'c' WHERE id = 1";
    other.query_drop(begun).await.expect("nobody is in its way");

    let analyzed = lab.target().analyze(&[&t, &u]).await;
    analyzed.unwrap_or_else(|error| panic!("nobody is in the way: {error:?}"));

    assert_eq!(lab.database.value(known).await, "2");
    assert_eq!(lab.content("name").await, "a b", "readers do not wait");
    other.query_drop("ROLLBACK").await.expect("it rolls back");
    let gone = TableName::bare("gone");
    let error = lab
        .target()
        .analyze(&[&gone])
        .await
        .expect_err("no such table");
    assert!(error.message.contains("gone"), "{error:?}");
    // Rights to some columns are enough to write, and not to look at the whole table.
    let narrow = lab
        .database
        .user("narrow", &["SELECT (id), INSERT (id) ON {database}.t"])
        .await;
    let narrow = crate::mysql_target_lab::open(&narrow.url()).await;
    let left_out = crate::mysql_target_lab::target(&*narrow)
        .analyze(&[&t])
        .await;
    left_out.unwrap_or_else(|error| panic!("it is left to the server: {error:?}"));
}
