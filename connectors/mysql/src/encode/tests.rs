//! What is spelled, and what is refused.

use super::*;
use crate::types::{Flavour, Parsed};
use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int64Array, StringArray, UInt64Array,
};
use arrow_schema::{Field, Schema};
use std::sync::Arc;

fn spelled(native: &str, array: ArrayRef, spelling: Spelling) -> Result<String> {
    let form = Form::of(&Parsed::of(native), Flavour::MySql, (9, 0, 0)).expect("a known type");
    assert!(form.takes(array.data_type()), "{native}");
    let encoder = RowEncoder::new(
        "t".into(),
        vec![EncodedColumn {
            index: 0,
            name: "c".into(),
            form,
            not_null: false,
        }],
    );
    let field = Field::new("c", array.data_type().clone(), true);
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).expect("a batch");
    let mut out = Vec::new();
    encoder.batch(&batch)?.write_row(0, spelling, &mut out)?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

fn texts(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn literal(native: &str, array: ArrayRef) -> String {
    spelled(native, array, Spelling::Statement).expect("it fits")
}

#[test]
fn values_are_spelled_as_literals() {
    let uuid = FixedSizeBinaryArray::try_from_iter([[0x11_u8; 16]].into_iter()).expect("a UUID");
    let cases: Vec<(&str, ArrayRef, &str)> = vec![
        ("int", Arc::new(Int64Array::from(vec![-5])), "(-5)"),
        (
            "bigint unsigned",
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            "(18446744073709551615)",
        ),
        ("double", Arc::new(Float64Array::from(vec![-0.0])), "(-0e0)"),
        (
            "float",
            Arc::new(Float32Array::from(vec![0.1_f32])),
            "(1.0000000149011612e-1)",
        ),
        (
            "decimal(12,2)",
            Arc::new(
                Decimal128Array::from(vec![1250])
                    .with_precision_and_scale(12, 2)
                    .expect("a decimal"),
            ),
            "(12.5)",
        ),
        (
            "varchar(9) collate utf8mb4_bin",
            texts("it's\\\0"),
            "('it\\'s\\\\\\0')",
        ),
        ("bit(4)", texts("0101"), "(5)"),
        (
            "varbinary(4)",
            Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"])),
            "(X'00FF')",
        ),
        (
            "char(36) collate ascii_bin",
            Arc::new(uuid),
            "('11111111-1111-1111-1111-111111111111')",
        ),
        ("set('a','b','c')", texts("a,c"), "('a,c')"),
        ("date", texts("0000-00-00"), "('0000-00-00')"),
        ("bigint", texts("-42"), "(-42)"),
    ];
    for (native, array, expected) in cases {
        assert_eq!(literal(native, array), expected, "{native}");
    }
}

#[test]
fn fields_of_lines_are_escaped() {
    let line = spelled(
        "text collate utf8mb4_bin",
        texts("a\tb\nc\\d\0'"),
        Spelling::Line,
    );
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));

    assert_eq!(line.expect("it fits"), "a\\\tb\\\nc\\\\d\\0'\n");
    assert_eq!(
        spelled("text", null, Spelling::Line).expect("NULL"),
        "\\N\n"
    );
}

#[test]
fn what_a_column_would_change_is_refused() {
    let cases: Vec<(&str, ArrayRef)> = vec![
        ("tinyint", Arc::new(Int64Array::from(vec![128]))),
        ("int unsigned", Arc::new(Int64Array::from(vec![-1]))),
        ("varchar(2) collate utf8mb4_bin", texts("abc")),
        ("char(3) collate utf8mb4_bin", texts("a ")),
        ("varchar(9) collate latin1_bin", texts("ж")),
        ("varchar(9) collate utf8mb3_bin", texts("😀")),
        ("tinytext collate utf8mb4_bin", texts(&"é".repeat(128))),
        ("enum('a','b')", texts("A")),
        ("set('a','b')", texts("b,a")),
        ("bit(2)", texts("100")),
        ("double", Arc::new(Float64Array::from(vec![f64::NAN]))),
        ("float", Arc::new(Float64Array::from(vec![0.1]))),
        ("binary(4)", Arc::new(BinaryArray::from_vec(vec![b"ab"]))),
        ("year", Arc::new(Int64Array::from(vec![1900]))),
        ("decimal(5,2)", texts("NaN")),
        ("int", texts("1.5")),
    ];
    for (native, array) in cases {
        let error = spelled(native, array, Spelling::Statement).expect_err(native);
        assert_eq!(error.class, ErrorClass::RowRefused, "{native}");
        assert!(
            error.message.contains("column `c` of `t`"),
            "{}",
            error.message
        );
    }
}
