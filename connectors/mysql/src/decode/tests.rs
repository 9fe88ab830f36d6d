//! Values as the binary protocol brings them, and what they become.

use super::Decoder;
use crate::types::{self, Declared, Flavour, ReadRules, TinyInt1, ZeroDates};
use arrow_cast::display::array_value_to_string;
use arrow_schema::DataType;
use mysql_async::Value;
use syncset_connector::{Column, ErrorClass};

fn column(name: &str, column_type: &str, rules: ReadRules) -> Column {
    let declared = Declared {
        column_type,
        collation: None,
        is_json: false,
    };
    let (native, data_type) = types::of(declared, Flavour::MySql, rules);
    Column {
        name: name.to_owned(),
        data_type,
        native,
        nullable: true,
        default: None,
        generated: None,
        stable_id: None,
        readable: true,
    }
}

fn read(column_type: &str, value: Value, rules: ReadRules) -> Result<String, String> {
    let key = column("id", "int", rules);
    let column = column("c", column_type, rules);
    let mut decoder = Decoder::new("t", &[&key, &column], vec![0], rules, 1_000)
        .map_err(|error| error.message)?;
    decoder
        .append([Value::Int(7), value])
        .map_err(|error| error.message)?;
    let batch = decoder.flush().map_err(|error| error.message)?;
    let batch = batch.ok_or("no row")?;
    array_value_to_string(batch.column(1), 0).map_err(|error| error.to_string())
}

fn plain(column_type: &str, value: Value) -> String {
    read(column_type, value, ReadRules::default()).expect("the value fits")
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

#[test]
fn edge_values_keep_every_digit() {
    let cases = [
        ("tinyint(1)", Value::Int(1), "true"),
        ("tinyint", Value::Int(-128), "-128"),
        ("mediumint", Value::Int(-8_388_608), "-8388608"),
        ("int unsigned", Value::UInt(u32::MAX.into()), "4294967295"),
        (
            "bigint unsigned",
            Value::UInt(u64::MAX),
            "18446744073709551615",
        ),
        ("year", Value::Int(2155), "2155"),
        ("bit(1)", Value::Bytes(vec![1]), "true"),
        ("bit(10)", Value::Bytes(vec![2, 5]), "1000000101"),
        ("bit(8)", Value::UInt(1), "00000001"),
        ("decimal(5,2)", bytes("-123.40"), "-123.40"),
        ("decimal(5,2)", bytes("-0.05"), "-0.05"),
        (
            "decimal(65,30)",
            bytes("-99999999999999999999999999999999999.999999999999999999999999999999"),
            "-99999999999999999999999999999999999.999999999999999999999999999999",
        ),
        ("float", Value::Double(0.5), "0.5"),
        ("double", Value::Double(-0.0), "-0.0"),
        ("date", Value::Date(9999, 12, 31, 0, 0, 0, 0), "9999-12-31"),
        (
            "datetime(6)",
            Value::Date(1000, 1, 1, 23, 59, 59, 999_999),
            "1000-01-01T23:59:59.999999",
        ),
        ("varchar(9)", bytes("\u{1F600}"), "\u{1F600}"),
        ("varchar(9)", bytes(""), ""),
        (
            "uuid",
            bytes("00112233-4455-6677-8899-aabbccddeeff"),
            "00112233445566778899aabbccddeeff",
        ),
        ("blob", Value::Bytes(vec![0, 255]), "00ff"),
    ];
    for (column_type, value, expected) in cases {
        assert_eq!(plain(column_type, value), expected, "{column_type}");
    }
}

#[test]
fn times_go_beyond_a_day_and_below_zero() {
    let rules = ReadRules::default();
    let column = column("c", "time(6)", rules);
    let mut decoder = Decoder::new("t", &[&column], vec![], rules, 1_000).expect("a known type");

    for value in [
        Value::Time(true, 34, 22, 59, 59, 999_999),
        Value::Time(false, 0, 0, 0, 0, 0),
    ] {
        decoder.append([value]).expect("it fits");
    }

    let batch = decoder.flush().expect("well-formed").expect("two rows");
    let times: &arrow_array::Time64MicrosecondArray =
        arrow_array::cast::AsArray::as_primitive(batch.column(0));
    assert_eq!(times.values(), &[-3_020_399_999_999, 0]);
}

#[test]
fn values_that_do_not_fit_name_their_row() {
    for (column_type, value, what) in [
        ("tinyint(1)", Value::Int(2), "a number other than 0 and 1"),
        (
            "date",
            Value::Date(2024, 2, 0, 0, 0, 0, 0),
            "a date that does not exist",
        ),
        (
            "timestamp",
            Value::Date(0, 0, 0, 0, 0, 0, 0),
            "a date that does not exist",
        ),
        (
            "text",
            Value::Bytes(vec![0xff]),
            "bytes that are no text of its character set",
        ),
    ] {
        let message = read(column_type, value, ReadRules::default()).expect_err("it does not fit");
        assert!(message.contains(what), "{message}");
        assert!(message.contains("column `c` of `t`"), "{message}");
        assert!(message.contains("in the row `id` = 7"), "{message}");
    }
}

#[test]
fn settings_read_what_would_be_refused() {
    let null = ReadRules {
        zero_dates: ZeroDates::Null,
        ..ReadRules::default()
    };
    let text = ReadRules {
        zero_dates: ZeroDates::Text,
        tiny_int_1: TinyInt1::Integer,
    };
    let zero = || Value::Date(0, 0, 0, 0, 0, 0, 0);

    assert_eq!(read("date", zero(), null).as_deref(), Ok(""));
    assert_eq!(read("date", zero(), text).as_deref(), Ok("0000-00-00"));
    assert_eq!(
        read(
            "datetime(2)",
            Value::Date(2024, 0, 3, 4, 5, 6, 70_000),
            text
        )
        .as_deref(),
        Ok("2024-00-03 04:05:06.07")
    );
    assert_eq!(
        read("tinyint(1)", Value::Int(-128), text).as_deref(),
        Ok("-128")
    );
}

#[test]
fn unknown_arrow_types_are_refused_before_a_row_is_read() {
    let mut column = column("c", "int", ReadRules::default());
    column.data_type = DataType::Float16;

    let error = Decoder::new("t", &[&column], vec![], ReadRules::default(), 1)
        .err()
        .expect("nothing is read as that");

    assert_eq!(error.class, ErrorClass::Unsupported);
}
