//! Every value comes back as it went in.

use super::lab::{Lab, acquired, begin_load, finish_chunk, read_all, target_of, upsert, whole};
use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, TimeUnit};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use syncset_connector::{MadeTable, Marks, Role, TableName, TargetColumn, TargetTable, special};

fn column(name: &str, data_type: DataType) -> TargetColumn {
    TargetColumn {
        name: name.into(),
        data_type,
        native: None,
        nullable: name != "id",
    }
}

fn table() -> TargetTable {
    let micros = TimeUnit::Microsecond;
    TargetTable {
        name: TableName::bare("t"),
        columns: vec![
            column("id", DataType::Int64),
            column("flag", DataType::Boolean),
            column("number", DataType::Int64),
            column("float", DataType::Float64),
            column("short", DataType::Decimal128(12, 3)),
            column("long", DataType::Decimal128(38, 10)),
            column("text", DataType::Utf8),
            column("blob", DataType::Binary),
            column("uuid", DataType::FixedSizeBinary(16)),
            column("day", DataType::Date32),
            column("clock", DataType::Time64(micros)),
            column("local", DataType::Timestamp(micros, None)),
            column("instant", crate::types::instant()),
        ],
        key: vec!["id".into()],
        marks: Marks::default(),
    }
}

#[derive(Debug, Clone)]
struct Values {
    flag: Option<bool>,
    number: Option<i64>,
    float: Option<f64>,
    short: Option<i128>,
    long: Option<i128>,
    text: Option<String>,
    blob: Option<Vec<u8>>,
    uuid: Option<[u8; 16]>,
    day: Option<i32>,
    clock: Option<i64>,
    local: Option<i64>,
    instant: Option<i64>,
}

fn batch(rows: &[Values]) -> RecordBatch {
    let mut uuids = FixedSizeBinaryBuilder::new(16);
    for row in rows {
        match &row.uuid {
            Some(uuid) => uuids.append_value(uuid).expect("sixteen bytes"),
            None => uuids.append_null(),
        }
    }
    let shorts: Decimal128Array = rows.iter().map(|row| row.short).collect();
    let longs: Decimal128Array = rows.iter().map(|row| row.long).collect();
    let instants: TimestampMicrosecondArray = rows.iter().map(|row| row.instant).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0_i64..).take(rows.len()).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.number).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.float).collect::<Float64Array>()),
        Arc::new(shorts.with_data_type(DataType::Decimal128(12, 3))),
        Arc::new(longs.with_data_type(DataType::Decimal128(38, 10))),
        Arc::new(
            rows.iter()
                .map(|row| row.text.clone())
                .collect::<StringArray>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| row.blob.as_deref())
                .collect::<BinaryArray>(),
        ),
        Arc::new(uuids.finish()),
        Arc::new(rows.iter().map(|row| row.day).collect::<Date32Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.clock)
                .collect::<Time64MicrosecondArray>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| row.local)
                .collect::<TimestampMicrosecondArray>(),
        ),
        Arc::new(instants.with_timezone("UTC")),
    ];
    RecordBatch::try_new(table().schema(), columns).expect("the columns fit")
}

fn values() -> impl Strategy<Value = Values> {
    use proptest::option::of;
    let floats = prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(1.0),
    ];
    let timestamps = || {
        prop_oneof![
            -60_000_000_000_000_000_i64..300_000_000_000_000_000,
            Just(special::TIMESTAMP_INFINITY),
            Just(special::TIMESTAMP_NEGATIVE_INFINITY),
        ]
    };
    let days = prop_oneof![
        -700_000_i32..100_000_000,
        Just(special::DATE_INFINITY),
        Just(special::DATE_NEGATIVE_INFINITY)
    ];
    let limit = 10_i128.pow(38) - 1;
    let texts = prop_oneof![
        any::<String>(),
        "[0-9]{1,20}",
        "[0-9]{1,3}\\.[0-9]{1,3}0",
        Just("\0".to_owned())
    ];
    (
        (
            of(any::<bool>()),
            of(any::<i64>()),
            of(floats),
            of(prop_oneof![
                -999_999_999_999_i128..=999_999_999_999,
                Just(special::DECIMAL_NAN)
            ]),
            of(prop_oneof![-limit..=limit, Just(special::DECIMAL_NAN)]),
            of(texts),
        ),
        (
            of(proptest::collection::vec(any::<u8>(), 0..20)),
            of(any::<[u8; 16]>()),
            of(days),
            of(0_i64..=86_400_000_000),
            of(timestamps()),
            of(timestamps()),
        ),
    )
        .prop_map(
            |(
                (flag, number, float, short, long, text),
                (blob, uuid, day, clock, local, instant),
            )| Values {
                flag,
                number,
                float,
                short,
                long,
                text,
                blob,
                uuid,
                day,
                clock,
                local,
                instant,
            },
        )
}

/// Equal in every bit: NaN equals NaN and -0.0 is not 0.0.
fn assert_same(left: &RecordBatch, right: &RecordBatch) -> Result<(), TestCaseError> {
    for (index, field) in left.schema().fields().iter().enumerate() {
        let (left, right) = (left.column(index), right.column(index));
        if let DataType::Float64 = field.data_type() {
            let bits = |array: &ArrayRef| -> Vec<Option<u64>> {
                let floats = array
                    .as_any()
                    .downcast_ref::<Float64Array>()
                    .expect("floats");
                let canonical = |value: f64| if value.is_nan() { f64::NAN } else { value };
                floats
                    .iter()
                    .map(|value| value.map(|value| canonical(value).to_bits()))
                    .collect()
            };
            prop_assert_eq!(bits(left), bits(right));
        } else {
            prop_assert_eq!(left, right, "{}", field.name());
        }
    }
    Ok(())
}

#[test]
fn every_type_comes_back_and_a_replay_writes_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = proptest::collection::vec(values(), 1..30);

    let outcome = TestRunner::new(config).run(&strategy, |rows| {
        let sent = batch(&rows);
        let (received, again) = runtime.block_on(async {
            let lab = Lab::new();
            let store = lab.open("t.db", Role::Target).await;
            let lease = acquired(&*store, "a").await;
            let table = table();
            store
                .target()
                .expect("a target")
                .create(&lease, &[(&table, MadeTable::default())])
                .await
                .expect("created");
            begin_load(&*store, &lease, "t").await;
            finish_chunk(&*store, &lease, "t").await;
            upsert(&*store, &lease, &table, std::slice::from_ref(&sent)).await;
            let again = upsert(&*store, &lease, &table, std::slice::from_ref(&sent)).await;
            let read = whole(&*store, "t").await;
            let received = read_all(&*store, &read).await.expect("the rows are read");
            (received, again)
        });
        prop_assert_eq!(again.rows_written, 0);
        prop_assert_eq!(received.len(), 1);
        assert_same(&sent, &received[0])
    });

    outcome.unwrap();
}

#[tokio::test]
async fn sqlite_types_come_back_through_another_file() {
    let lab = Lab::new();
    lab.sql(
        "source.db",
        "CREATE TABLE t (id INT PRIMARY KEY NOT NULL, price DECIMAL(10,2), n NUMERIC, name VARCHAR(10), \
         at DATETIME, doc JSON, tag UUID, any, money MONEY, REALLY double);
         INSERT INTO t VALUES (1, 12.5, 1.25, 'x', '2024-01-01T10:00:00', '{\"a\":1}',
         x'00112233445566778899aabbccddeeff', 5, 'a lot', 1);
         INSERT INTO t VALUES (2, 12, 7, '007', '2024-01-01 10:00', '12',
         '00112233-4455-6677-8899-aabbccddeeff', 6, 3.5, 2.5);
         INSERT INTO t VALUES (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .await;
    let source = lab.open("source.db", Role::Source).await;
    let read = whole(&*source, "t").await;
    let sent = read_all(&*source, &read).await.expect("the rows are read");
    let store = lab.open("target.db", Role::Target).await;
    let lease = acquired(&*store, "a").await;
    let table = target_of(&read, "t");
    let target = store.target().expect("a target");
    target
        .create(&lease, &[(&table, MadeTable::default())])
        .await
        .expect("created");
    begin_load(&*store, &lease, "t").await;
    finish_chunk(&*store, &lease, "t").await;

    let first = upsert(&*store, &lease, &table, &sent).await;
    let second = upsert(&*store, &lease, &table, &sent).await;

    assert_eq!((first.rows_written, second.rows_written), (3, 0));
    let status = target
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert_eq!(status[0].differences, []);
    let received = read_all(&*store, &whole(&*store, "t").await)
        .await
        .expect("the rows are read");
    for (index, column) in received[0].columns().iter().enumerate() {
        assert_eq!(
            column,
            sent[0].column(index),
            "{}",
            table.columns[index].name
        );
    }
}
