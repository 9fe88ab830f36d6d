//! Which tables a PostgreSQL target takes, creates and refuses, and what their columns hold.

use crate::write_lab::{Lab, PLAIN, ints, keys, plain, table_of, texts, written_carefully};
use arrow_array::{ArrayRef, Int64Array};
use std::sync::Arc;
use syncset_connector::{
    Digest, ErrorClass, Exactness, MadeTable, TableName, TargetColumn, TargetTable,
};

#[tokio::test]
async fn columns_the_target_fills_itself_do_not_stop_a_row() {
    let mut lab = Lab::new(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,
           loud text GENERATED ALWAYS AS (upper(name)) STORED)",
    )
    .await;
    let row = |name| {
        table_of(&[
            (
                "id",
                "bigint",
                Arc::new(Int64Array::from(vec![40_i64])) as ArrayRef,
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

    assert_eq!(
        lab.database.value("SELECT id || name || loud FROM t").await,
        "40bB"
    );
}

#[tokio::test]
async fn types_that_travel_as_text_are_cast_back() {
    let mut lab = Lab::new(
        "CREATE EXTENSION hstore; CREATE EXTENSION citext;
         CREATE DOMAIN short AS varchar(3); CREATE TYPE mood AS ENUM ('ok', 'so so');
         CREATE TYPE pair AS (a integer, b text);
         CREATE TABLE t (id citext PRIMARY KEY, h hstore, money money, i interval, a integer[],
           m mood, ms mood[], p pair, d short, b bit(3), x xml, j json, jb jsonb, r int4range,
           ip inet, v tsvector, c char(4), n numeric(10,2)[])",
    )
    .await;
    let columns = [
        ("id", "public.citext", "Key"),
        ("h", "public.hstore", "\"a\"=>\"1\", \"b\"=>NULL"),
        ("money", "money", "-1234.56"),
        ("i", "interval", "1 mon 2 days 03:04:05.678"),
        ("a", "integer[]", "{{1,NULL},{3,4}}"),
        ("m", "public.mood", "so so"),
        ("ms", "public.mood[]", "{ok,\"so so\"}"),
        ("p", "public.pair", "(1,\"a b\")"),
        ("d", "public.short", "abc"),
        ("b", "bit(3)", "101"),
        ("x", "xml", "<a>1</a>"),
        ("j", "json", "{\"b\": 1,  \"a\":2}"),
        ("jb", "jsonb", "{\"b\": 1, \"a\": 2}"),
        ("r", "int4range", "[1,5)"),
        ("ip", "inet", "10.0.0.1/8"),
        ("v", "tsvector", "'cat':3 'fat':2"),
        ("c", "character(4)", "ab"),
        ("n", "numeric(10,2)[]", "{1.50,NaN}"),
    ];
    let arrays: Vec<_> = columns
        .iter()
        .map(|(name, native, value)| (*name, *native, texts([Some(*value)])))
        .collect();
    let (table, batch) = table_of(&arrays);
    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert_eq!(status[0].differences, []);

    let mut unit = lab.begin(lab.chunk()).await;
    unit.upsert(&table, batch.clone()).await.expect("accepted");
    unit.commit(None).await.expect("written through a stage");
    let before = lab.versions().await;
    let receipt = lab.write(&table, batch.clone()).await;

    assert_eq!(receipt.rows_written, 0);
    assert_eq!(lab.versions().await, before);
    for (name, _, value) in columns {
        let sql = match name {
            "money" => "SELECT money::numeric::text FROM t".to_owned(),
            _ => format!("SELECT {name}::text FROM t"),
        };
        let stored = lab.database.value(&sql).await;
        let expected = match name {
            "jb" => "{\"a\": 2, \"b\": 1}",
            _ => value,
        };
        assert_eq!(stored, expected, "{name}");
    }
    let mut unit = lab.begin(lab.window()).await;
    let other_case = keys(&table, texts([Some("KEY")]));
    unit.delete(&table, other_case).await.expect("accepted");
    assert_eq!(lab.commit(unit).await.rows_deleted, 1);
}

#[tokio::test]
async fn values_too_long_for_a_column_are_refused_and_not_cut() {
    let mut lab = Lab::new(
        "CREATE TABLE t (id integer PRIMARY KEY, b bit(3), s varchar(3), i interval second(0))",
    )
    .await;
    let (table, batch) = table_of(&[
        ("id", "integer", ints([1, 2, 3])),
        (
            "b",
            "bit(3)",
            texts([Some("1010"), Some("101"), Some("101")]),
        ),
        (
            "s",
            "character varying(3)",
            texts([Some("abc"), Some("abcd"), Some("abc")]),
        ),
    ]);

    let (rejections, _) = written_carefully(&mut lab, &table, batch).await;

    let refused: Vec<_> = rejections.iter().map(|rejection| rejection.row).collect();
    assert_eq!(refused, [0, 1]);
}

#[tokio::test]
async fn table_is_created_once_with_its_types() {
    let lab = Lab::new("").await;
    let mood = syncset_connector::TypeDefinition::Enum {
        labels: vec!["ok".into(), "it's".into()],
    };
    let (mut table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("m", "crm_types.mood", texts([])),
        ("n", "numeric(12,2)", texts([])),
    ]);
    table.name = TableName::in_schema("Crm", "Order.Items");
    table.columns[0].nullable = false;
    table.columns[1].native.as_mut().expect("native").definition = Some(mood);

    let tables = [(&table, MadeTable::default())];
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
}

#[tokio::test]
async fn missing_extension_is_named_before_anything_is_created() {
    let lab = Lab::new("").await;
    let (mut table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("h", "public.hstore", texts([])),
    ]);
    table.columns[1].native.as_mut().expect("native").definition =
        Some(syncset_connector::TypeDefinition::Extension {
            extension: "hstore".into(),
        });

    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    let error = lab
        .target()
        .create(&lab.lease, &[(&table, MadeTable::default())])
        .await
        .expect_err("cannot be created");

    assert!(
        status[0].differences[0]
            .sentence
            .contains("CREATE EXTENSION \"hstore\"")
    );
    assert_eq!(error.class, ErrorClass::TargetDiffers);
    assert!(error.hint.expect("a hint").contains("CREATE EXTENSION"));
    assert_eq!(
        lab.database
            .value("SELECT to_regclass('public.t') IS NULL")
            .await,
        "t"
    );
}

#[tokio::test]
async fn status_names_every_difference_with_its_advice() {
    let lab = Lab::new(
        "CREATE TABLE parent (id integer PRIMARY KEY);
         CREATE TABLE t (id bigint NOT NULL, name integer, extra text NOT NULL,
           other integer REFERENCES parent);
         CREATE VIEW v AS SELECT 1 AS id; INSERT INTO t VALUES (1, 1, '', NULL)",
    )
    .await;
    let (table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("name", "text", texts([])),
        ("gone", "text", texts([])),
    ]);
    let view = TargetTable {
        name: TableName::in_schema("public", "v"),
        ..table.clone()
    };
    let absent = TargetTable {
        name: TableName::in_schema("nowhere", "t"),
        ..table.clone()
    };

    let status = lab
        .target()
        .status(&[table, view, absent])
        .await
        .expect("a status");

    assert!(status[0].exists && !status[0].empty);
    let sentences = status[0].differences.iter().map(ToString::to_string);
    let all = sentences.collect::<Vec<_>>().join("\n");
    for part in [
        "ALTER COLUMN \"name\" TYPE text",
        "ADD COLUMN \"gone\" text",
        "`extra`",
        "CREATE UNIQUE INDEX",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    assert_eq!(status[0].differences.len(), 4, "{all}");
    assert!(status[0].notes[0].contains("public.parent"));
    assert!(status[1].differences[0].sentence.contains("not a table"));
    assert!(!status[2].exists && status[2].differences.is_empty());
}

#[tokio::test]
async fn units_leave_no_session_more_than_they_need() {
    let mut lab = Lab::new(PLAIN).await;
    for id in 0..5 {
        let (table, batch) = plain(&[(id, None, "1")]);
        lab.write(&table, batch).await;
    }

    let sessions = lab
        .database
        .value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name LIKE 'syncset:%'",
        )
        .await;
    assert_eq!(sessions, "2");
}

#[test]
fn types_of_other_stores_have_their_own_names_here() {
    use arrow_schema::{DataType, TimeUnit};
    let mapped = |data_type| {
        let mapping = syncset_postgres::CONNECTOR.map_type(&TargetColumn {
            name: "c".into(),
            data_type,
            native: None,
            nullable: true,
        });
        (mapping.native, mapping.exactness)
    };
    assert_eq!(mapped(DataType::Int64), ("bigint".into(), Exactness::Exact));
    assert_eq!(
        mapped(DataType::UInt64),
        ("numeric(20,0)".into(), Exactness::Widened)
    );
    assert_eq!(
        mapped(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into())
        )),
        ("timestamp with time zone".into(), Exactness::Exact)
    );
}
