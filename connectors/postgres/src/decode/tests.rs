use super::*;
use crate::types::{ENGINE, computed_column};
use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, TimestampMicrosecondType};
use arrow_schema::{DataType, TimeUnit};
use proptest::prelude::*;
use syncset_connector::{NativeType, special};

fn column(name: &str, data_type: DataType, native: &str) -> Column {
    Column {
        native: NativeType {
            engine: ENGINE.to_owned(),
            name: native.to_owned(),
            as_text: false,
            definition: None,
        },
        ..computed_column(name, data_type)
    }
}

fn one_of_each() -> Vec<Column> {
    vec![
        column("b", DataType::Boolean, "boolean"),
        column("i2", DataType::Int16, "smallint"),
        column("i4", DataType::Int32, "integer"),
        column("i8", DataType::Int64, "bigint"),
        column("f4", DataType::Float32, "real"),
        column("f8", DataType::Float64, "double precision"),
        column("d", DataType::Decimal128(10, 2), "numeric(10,2)"),
        column("n", DataType::Utf8, "numeric"),
        column("t", DataType::Utf8, "text"),
        column("j", DataType::Utf8, "jsonb"),
        column("by", DataType::Binary, "bytea"),
        column("u", DataType::FixedSizeBinary(16), "uuid"),
        column("da", DataType::Date32, "date"),
        column(
            "ti",
            DataType::Time64(TimeUnit::Microsecond),
            "time without time zone",
        ),
        column(
            "ts",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            "timestamp",
        ),
    ]
}

fn header() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

fn row(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let count = i16::try_from(values.len()).expect("few columns");
    let mut bytes = count.to_be_bytes().to_vec();
    for value in values {
        match value {
            None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                let length = i32::try_from(value.len()).expect("short values");
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(value);
            }
        }
    }
    bytes
}

/// Words are: groups, weight, sign, scale.
fn numeric(digits: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
    let count = u16::try_from(digits.len()).expect("few digits");
    let mut bytes = Vec::new();
    for word in [count, weight as u16, sign, scale].iter().chain(digits) {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn stream(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header();
    rows.iter().for_each(|row| bytes.extend_from_slice(row));
    bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    bytes
}

fn decode(columns: &[Column], parts: &[&[u8]], batch_bytes: usize) -> Result<Vec<RecordBatch>> {
    let columns: Vec<_> = columns.iter().collect();
    let mut decoder = Decoder::new("s.t", &columns, batch_bytes)?;
    let mut batches = Vec::new();
    for part in parts {
        batches.extend(decoder.push(Bytes::copy_from_slice(part))?);
    }
    batches.extend(decoder.finish()?);
    Ok(batches)
}

fn one_column(data_type: DataType, native: &str, values: &[Vec<u8>]) -> Result<ArrayRef> {
    let rows: Vec<_> = values
        .iter()
        .map(|value| row(&[Some(value.clone())]))
        .collect();
    let batches = decode(
        &[column("c", data_type, native)],
        &[&stream(&rows)],
        1 << 20,
    )?;
    Ok(Arc::clone(batches[0].column(0)))
}

#[test]
fn numerics_keep_digits_and_scale() {
    let cases = [
        (numeric(&[], 0, 0, 0), "0"),
        (numeric(&[], 0, 0, 2), "0.00"),
        (numeric(&[1], 0, 0, 2), "1.00"),
        (numeric(&[1], 1, 0, 0), "10000"),
        (
            numeric(&[12, 3456, 7800], 1, NEGATIVE_SIGN, 2),
            "-123456.78",
        ),
        (numeric(&[1234], -2, 0, 8), "0.00001234"),
        (numeric(&[5000], -1, 0, 1), "0.5"),
        (numeric(&[], 0, 0xc000, 0), "NaN"),
        (numeric(&[], 0, 0xd000, 0), "Infinity"),
        (numeric(&[], 0, 0xf000, 0), "-Infinity"),
    ];
    let values: Vec<_> = cases.iter().map(|(value, _)| value.clone()).collect();

    let array = one_column(DataType::Utf8, "numeric", &values).expect("decodes");

    let texts: Vec<_> = array.as_string::<i32>().iter().flatten().collect();
    assert_eq!(
        texts,
        cases.iter().map(|(_, text)| *text).collect::<Vec<_>>()
    );
}

const NEGATIVE_SIGN: u16 = 0x4000;

#[test]
fn numerics_become_scaled_integers() {
    let cases = [
        (numeric(&[], 0, 0, 2), 0),
        (numeric(&[1], 0, 0, 2), 100),
        (numeric(&[12, 3456, 7800], 1, NEGATIVE_SIGN, 2), -12_345_678),
        (numeric(&[100], -1, 0, 2), 1),
        (numeric(&[1, 0], 1, 0, 2), 1_000_000),
        (numeric(&[], 0, 0xc000, 0), special::DECIMAL_NAN),
    ];
    let values: Vec<_> = cases.iter().map(|(value, _)| value.clone()).collect();

    let array = one_column(DataType::Decimal128(10, 2), "numeric(10,2)", &values).expect("decodes");

    let numbers: Vec<_> = array.as_primitive::<Decimal128Type>().values().to_vec();
    assert_eq!(
        numbers,
        cases.iter().map(|(_, number)| *number).collect::<Vec<_>>()
    );
}

#[test]
fn numerics_outside_of_their_column_are_refused() {
    for value in [
        numeric(&[1], 3, 0, 0),
        numeric(&[1], -2, 0, 8),
        numeric(&[1], 30_000, 0, 0),
        numeric(&[], 0, 0xd000, 0),
        numeric(&[10_000], 0, 0, 0),
        vec![0, 1],
    ] {
        assert!(one_column(DataType::Decimal128(10, 2), "numeric(10,2)", &[value]).is_err());
    }
}

#[test]
fn timestamps_shift_exactly_and_infinities_stay() {
    let last_of_server = 9_223_371_331_199_999_999_i64;
    let values = [0, i64::MAX, i64::MIN, last_of_server].map(|value| value.to_be_bytes().to_vec());
    let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")));

    let array = one_column(data_type, "timestamp with time zone", &values).expect("decodes");

    let numbers = array
        .as_primitive::<TimestampMicrosecondType>()
        .values()
        .to_vec();
    assert_eq!(numbers[0], 946_684_800_000_000);
    assert_eq!(numbers[1], special::TIMESTAMP_INFINITY);
    assert_eq!(numbers[2], special::TIMESTAMP_NEGATIVE_INFINITY);
    assert_eq!(numbers[3].wrapping_sub(946_684_800_000_000), last_of_server);
}

#[test]
fn null_in_a_not_null_column_means_the_table_changed() {
    let mut strict = column("c", DataType::Int32, "integer");
    strict.nullable = false;

    let error = decode(&[strict], &[&stream(&[row(&[None])])], 1).expect_err("refused");

    assert_eq!(error.class, ErrorClass::SourceChanged);
    assert!(error.message.contains("`c` of `s.t`"), "{error}");
}

#[test]
fn text_that_is_not_utf8_names_its_column() {
    let error = one_column(DataType::Utf8, "text", &[vec![0xff]]).expect_err("refused");

    assert!(error.message.contains("column `c` of `s.t`"), "{error}");
}

#[test]
fn stream_without_its_end_is_a_lost_link() {
    let mut bytes = stream(&[row(&[Some(vec![0; 4])])]);
    bytes.truncate(bytes.len() - 2);

    let error = decode(
        &[column("c", DataType::Int32, "integer")],
        &[&bytes],
        1 << 20,
    )
    .expect_err("refused");

    assert_eq!(error.class, ErrorClass::Connection);
}

#[test]
fn batches_close_at_their_size() {
    let rows: Vec<_> = (0..1_000_i32)
        .map(|n| row(&[Some(n.to_be_bytes().to_vec())]))
        .collect();
    let mut parts = vec![header()];
    parts.extend(rows);
    parts.push((-1_i16).to_be_bytes().to_vec());
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();

    let batches =
        decode(&[column("c", DataType::Int32, "integer")], &parts, 1_000).expect("decodes");

    assert_eq!(batches.len(), 10);
    let numbers: Vec<i32> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
}

fn any_row() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let sizes = [1_usize, 2, 4, 8, 4, 8];
    let fixed = sizes.map(|size| prop::collection::vec(any::<u8>(), size));
    let text = "[a-zé\u{1F600}]{0,12}";
    (
        fixed,
        any::<i16>(),
        text,
        prop::collection::vec(any::<u8>(), 0..40),
        any::<[u8; 16]>(),
        prop::bits::u16::ANY,
    )
        .prop_map(|(fixed, small, text, bytes, uuid, nulls)| {
            let amount = numeric(&[small.unsigned_abs() % 10_000], 0, 0, 2);
            let mut values: Vec<_> = fixed.to_vec();
            values.extend([amount.clone(), amount, text.clone().into_bytes()]);
            let mut json = vec![1];
            json.extend_from_slice(text.as_bytes());
            values.extend([
                json,
                bytes,
                uuid.to_vec(),
                vec![0; 4],
                vec![0; 8],
                vec![0; 8],
            ]);
            values
                .into_iter()
                .enumerate()
                .map(|(index, value)| (nulls & (1 << index) == 0).then_some(value))
                .collect()
        })
}

proptest! {
    #[test]
    fn bytes_of_any_kind_never_panic(
        prefix in any::<bool>(),
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8),
    ) {
        let columns = one_of_each();
        let mut stream = if prefix { header() } else { Vec::new() };
        if prefix {
            stream.extend_from_slice(&[0, 15]);
        }
        let mut all = vec![stream.as_slice()];
        all.extend(parts.iter().map(Vec::as_slice));
        let _ = decode(&columns, &all, 64);
    }

    #[test]
    fn damaged_streams_never_panic(
        rows in prop::collection::vec(any_row(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let rows: Vec<_> = rows.iter().map(|values| row(values)).collect();
        let mut bytes = stream(&rows);
        for (index, value) in damage {
            let place = index.index(bytes.len());
            bytes[place] = value;
        }
        let _ = decode(&one_of_each(), &[&bytes], 64);
    }

    #[test]
    fn any_cut_of_the_stream_gives_equal_rows(
        rows in prop::collection::vec(any_row(), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let columns = one_of_each();
        let rows: Vec<_> = rows.iter().map(|values| row(values)).collect();
        let bytes = stream(&rows);
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        places.sort_unstable();
        let mut parts = Vec::new();
        let mut start = 0;
        for place in places {
            parts.push(&bytes[start..place]);
            start = place;
        }
        parts.push(&bytes[start..]);

        let whole = decode(&columns, &[&bytes], usize::MAX).expect("decodes");
        let cut = decode(&columns, &parts, usize::MAX).expect("decodes");

        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn decimal_and_text_of_a_numeric_agree(number in -99_999_999_i64..=99_999_999) {
        let digits = number.unsigned_abs();
        let groups = [
            u16::try_from(digits / 100 / 10_000 % 10_000).expect("small"),
            u16::try_from(digits / 100 % 10_000).expect("small"),
            u16::try_from(digits % 100 * 100).expect("small"),
        ];
        let sign = if number < 0 { NEGATIVE_SIGN } else { 0 };
        let value = numeric(&groups, 1, sign, 2);

        let decimal = one_column(DataType::Decimal128(10, 2), "numeric(10,2)", std::slice::from_ref(&value)).expect("decodes");
        let text = one_column(DataType::Utf8, "numeric", &[value]).expect("decodes");

        let decimal = decimal.as_primitive::<Decimal128Type>().value(0);
        prop_assert_eq!(decimal, i128::from(number));
        let text = text.as_string::<i32>().value(0).replace('.', "");
        prop_assert_eq!(text.parse::<i64>().ok(), Some(number));
    }
}
