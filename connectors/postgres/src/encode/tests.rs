use super::*;
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use std::sync::Arc;
use syncset_connector::special;

fn encoded(array: ArrayRef, wire: Wire) -> Result<Vec<Option<Vec<u8>>>> {
    let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).expect("one column");
    let encoder = RowEncoder::new(vec![EncodedColumn {
        index: 0,
        name: "c".into(),
        wire,
    }]);
    let mut out = Vec::new();
    let mut rows = 0..batch.num_rows();
    while !rows.is_empty() {
        let mut part = Vec::new();
        encoder.encode(&batch, &mut rows, &mut part)?;
        out.extend(part);
    }
    Ok(decode(&out))
}

/// Cells of a COPY of one column.
fn decode(mut bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut cells = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[..2], [0, 1]);
        let length = i32::from_be_bytes(bytes[2..6].try_into().expect("four bytes"));
        bytes = &bytes[6..];
        cells.push(usize::try_from(length).ok().map(|length| {
            let (cell, rest) = bytes.split_at(length);
            bytes = rest;
            cell.to_vec()
        }));
    }
    cells
}

/// The text of a binary numeric, decoded without any of the encoder's code.
fn numeric_text(bytes: &[u8]) -> String {
    let word = |at: usize| i16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"));
    let (count, weight, sign, scale) = (word(0) as u16, word(2), word(4) as u16, word(6));
    assert_eq!(bytes.len(), 8 + 2 * usize::from(count));
    match sign {
        0xC000 => return "NaN".into(),
        0xD000 => return "Infinity".into(),
        0xF000 => return "-Infinity".into(),
        _ => {}
    }
    let group = |position: i32| -> i16 {
        let index = i32::from(weight) - position;
        if (0..i32::from(count)).contains(&index) {
            word(8 + 2 * index as usize)
        } else {
            0
        }
    };
    let mut whole = String::new();
    for position in (0..=i32::from(weight).max(0)).rev() {
        whole.push_str(&format!("{:04}", group(position)));
    }
    let mut fraction = String::new();
    for position in 1..=(i32::from(scale) + 3) / 4 {
        fraction.push_str(&format!("{:04}", group(-position)));
    }
    assert!(
        fraction[scale as usize..]
            .bytes()
            .all(|digit| digit == b'0')
    );
    fraction.truncate(scale as usize);
    let whole = whole.trim_start_matches('0');
    format!(
        "{}{}{}{fraction}",
        if sign == 0x4000 { "-" } else { "" },
        if whole.is_empty() { "0" } else { whole },
        if scale > 0 { "." } else { "" },
    )
}

fn one(array: ArrayRef, wire: Wire) -> Vec<u8> {
    encoded(array, wire)
        .expect("encodes")
        .remove(0)
        .expect("not null")
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn decimal(value: i128, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(
        Decimal128Array::from(vec![value])
            .with_precision_and_scale(precision, scale)
            .expect("a valid precision"),
    )
}

proptest! {
    #[test]
    fn numbers_in_text_form_keep_every_digit(number in "-?[1-9][0-9]{0,40}(\\.[0-9]{1,40})?") {
        prop_assert_eq!(numeric_text(&one(text(&number), Wire::Numeric)), number);
    }

    #[test]
    fn small_numbers_keep_their_scale(number in "0(\\.[0-9]{0,30}[1-9])?") {
        prop_assert_eq!(numeric_text(&one(text(&number), Wire::Numeric)), number);
    }

    #[test]
    fn decimals_keep_every_digit(
        value in prop_oneof![
            any::<i64>().prop_map(i128::from),
            -99_999_999_999_999_999_999_999_999_999_999_999_999_i128
                ..=99_999_999_999_999_999_999_999_999_999_999_999_999_i128,
            -20_000_i128..20_000,
        ],
        scale in 0_u8..=38,
    ) {
        let array = decimal(value, 38, scale.cast_signed());
        let expected = {
            let scale = usize::from(scale);
            let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!(
                "{}{whole}{}{fraction}",
                if value < 0 { "-" } else { "" },
                if scale > 0 { "." } else { "" },
            )
        };
        prop_assert_eq!(numeric_text(&one(array, Wire::Numeric)), expected);
    }

    #[test]
    fn integers_keep_their_value_in_wider_types(value: i16) {
        let array: ArrayRef = Arc::new(Int16Array::from(vec![value]));
        let wide = i64::from(value);
        prop_assert_eq!(one(Arc::clone(&array), Wire::Int8), wide.to_be_bytes().to_vec());
        prop_assert_eq!(one(Arc::clone(&array), Wire::Int2), value.to_be_bytes().to_vec());
        prop_assert_eq!(numeric_text(&one(array, Wire::Numeric)), value.to_string());
    }

    #[test]
    fn times_are_counted_from_2000(micros: i64) {
        let array = Arc::new(TimestampMicrosecondArray::from(vec![micros]));
        let bytes = one(array, Wire::Timestamp);
        let pg = i64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        prop_assert_eq!(pg.wrapping_add(946_684_800_000_000), micros);
    }

    #[test]
    fn texts_and_nulls_come_back(values: Vec<Option<String>>) {
        let expected: Vec<_> = values
            .iter()
            .map(|value| value.as_ref().map(|text| text.as_bytes().to_vec()))
            .collect();
        let array: ArrayRef = Arc::new(StringViewArray::from(values));
        prop_assert_eq!(encoded(array, Wire::Text).expect("encodes"), expected);
    }
}

#[test]
fn special_numbers_have_their_own_signs() {
    for special in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(numeric_text(&one(text(special), Wire::Numeric)), special);
    }
    let nan = one(decimal(special::DECIMAL_NAN, 10, 2), Wire::Numeric);
    assert_eq!(numeric_text(&nan), "NaN");
}

#[test]
fn exponents_move_the_point() {
    for (given, expected) in [
        ("1e3", "1000"),
        ("-1.25E-3", "-0.00125"),
        ("12.5e1", "125"),
        ("+0.50", "0.50"),
        (".5", "0.5"),
        ("-0", "0"),
        ("00012", "12"),
    ] {
        assert_eq!(numeric_text(&one(text(given), Wire::Numeric)), expected);
    }
    let huge = "9".repeat(131_072);
    assert_eq!(numeric_text(&one(text(&huge), Wire::Numeric)), huge);
}

#[test]
fn what_is_no_number_is_refused_without_its_value() {
    for bad in ["", "abc", "1.2.3", "--1", "1e", "0x10", "1e999999"] {
        let error = encoded(text(bad), Wire::Numeric).expect_err("not a number");
        assert_eq!(error.class, ErrorClass::RowRefused, "{bad}");
        assert!(error.message.contains("`c`"), "{error}");
    }
}

#[test]
fn infinities_keep_their_own_values() {
    let days = Arc::new(Date32Array::from(vec![i32::MAX, i32::MIN, 10_957]));
    let cells = encoded(days, Wire::Date).expect("encodes");
    let days: Vec<_> = [i32::MAX, i32::MIN, 0]
        .map(|days| Some(days.to_be_bytes().to_vec()))
        .into();
    assert_eq!(cells, days);
    let bytes = one(
        Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN])),
        Wire::Timestamp,
    );
    assert_eq!(bytes, i64::MIN.to_be_bytes());
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let big = Arc::new(Int64Array::from(vec![1_i64 << 40]));
    let error = encoded(big, Wire::Int4).expect_err("too big");
    assert_eq!(error.class, ErrorClass::RowRefused);
    let fine = Arc::new(TimestampNanosecondArray::from(vec![1]));
    assert!(encoded(fine, Wire::Timestamp).is_err());
    let list = arrow_array::new_empty_array(&DataType::new_list(DataType::Int32, true));
    assert!(Cell::bind(list.as_ref(), Wire::Text).is_none());
}

#[test]
fn uuids_and_documents_have_their_binary_form() {
    let spelled = text("6f9619ff-8b86-d011-b42d-00c04fc964ff");
    assert_eq!(one(spelled, Wire::Uuid)[..2], [0x6f, 0x96]);
    assert_eq!(one(text("{}"), Wire::Jsonb), b"\x01{}");
}

#[test]
fn a_buffer_is_cut_after_the_row_that_fills_it() {
    let long = "x".repeat(SEND_BYTES);
    let array: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 3]));
    let schema = Schema::new(vec![Field::new("c", DataType::Utf8, true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).expect("one column");
    let encoder = RowEncoder::new(vec![EncodedColumn {
        index: 0,
        name: "c".into(),
        wire: Wire::Text,
    }]);
    let mut out = Vec::new();
    let mut rows = 0..3;

    encoder
        .encode(&batch, &mut rows, &mut out)
        .expect("encodes");

    assert_eq!(rows, 1..3);
    assert_eq!(out.len(), 2 + 4 + SEND_BYTES);
}
