//! Values that go in and come back.

use super::wat::{Load, Wat, words};
use crate::{Config, PluginFunction, PluginTransform, Scope};
use arrow_array::builder::{BinaryBuilder, FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use proptest::prelude::*;
use std::sync::Arc;

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, it)| Field::new(format!("c{index}"), it.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns are equally long")
}

/// One row of every type that plugins can be given.
type Row = (
    (Option<bool>, Option<i16>, Option<i32>, Option<i64>),
    (Option<f32>, Option<f64>, Option<i64>, Option<i32>),
    (Option<i64>, Option<i64>, Option<String>),
    (Option<Vec<u8>>, Option<[u8; 16]>),
);

fn row() -> impl Strategy<Value = Row> {
    use proptest::option::of;
    (
        (
            of(any::<bool>()),
            of(any::<i16>()),
            of(any::<i32>()),
            of(any::<i64>()),
        ),
        (
            of(-1e30_f32..1e30),
            of(-1e300_f64..1e300),
            of(-99_999_999_i64..=99_999_999),
            of(any::<i32>()),
        ),
        (of(0..=86_400_000_000_i64), of(any::<i64>()), of(".{0,12}")),
        (
            of(proptest::collection::vec(any::<u8>(), 0..9)),
            of(any::<[u8; 16]>()),
        ),
    )
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let mut texts = StringBuilder::new();
    let mut blobs = BinaryBuilder::new();
    let mut uuids = FixedSizeBinaryBuilder::new(16);
    for row in rows {
        texts.append_option(row.2.2.as_ref());
        blobs.append_option(row.3.0.as_ref());
        match row.3.1 {
            Some(bytes) => uuids.append_value(bytes).expect("they are sixteen"),
            None => uuids.append_null(),
        }
    }
    let decimals = rows.iter().map(|row| row.1.2.map(i128::from));
    let decimals: Decimal128Array = decimals.collect();
    let stamps: TimestampMicrosecondArray = rows.iter().map(|row| row.2.1).collect();
    vec![
        Arc::new(rows.iter().map(|row| row.0.0).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.0.1).collect::<Int16Array>()),
        Arc::new(rows.iter().map(|row| row.0.2).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.0.3).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1.0).collect::<Float32Array>()),
        Arc::new(rows.iter().map(|row| row.1.1).collect::<Float64Array>()),
        Arc::new(decimals.with_precision_and_scale(8, 2).expect("they fit")),
        Arc::new(rows.iter().map(|row| row.1.3).collect::<Date32Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.2.0)
                .collect::<Time64MicrosecondArray>(),
        ),
        Arc::new(stamps.clone().with_timezone("UTC")),
        Arc::new(stamps),
        Arc::new(texts.finish()),
        Arc::new(blobs.finish()),
        Arc::new(uuids.finish()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A guest that returns what it is given returns every value of every type, also of a slice.
    #[test]
    fn values_of_every_type_come_back(
        rows in proptest::collection::vec(row(), 0..40),
        cut in (0_usize..40, 0_usize..40),
    ) {
        static GUEST: std::sync::OnceLock<Arc<crate::Plugin>> = std::sync::OnceLock::new();
        let plugin = GUEST.get_or_init(|| Wat::transform().load());
        let whole = batch(columns(&rows));
        let start = cut.0.min(rows.len());
        let part = whole.slice(start, cut.1.min(rows.len() - start));
        let transform = PluginTransform::bind(plugin, &Config::default(), &whole.schema(), Scope::default())
            .expect("all types can be passed");

        let returned = transform.apply(&part).expect("the guest does nothing");

        prop_assert!(returned.origins.is_none());
        for (found, wanted) in returned.columns.iter().zip(part.columns()) {
            prop_assert_eq!(found.as_ref(), wanted.as_ref());
        }
    }
}

#[test]
fn rows_that_a_filter_drops_are_named() {
    let plugin = Wat::filter().load();
    let rows = batch(vec![Arc::new(Int64Array::from(vec![1, 2, 3]))]);
    let transform = PluginTransform::bind(
        &plugin,
        &Config::default(),
        &rows.schema(),
        Scope::default(),
    )
    .expect("it can be bound");

    let returned = transform.apply(&rows).expect("it filters");

    assert_eq!(returned.origins, Some(vec![]));
    assert!(returned.columns.is_empty());
}

/// The body of a function that returns the values of its first argument.
fn first_argument() -> String {
    use super::wat::RESULT;
    let copies: String = (0..4)
        .map(|index| {
            format!(
                "(i32.store offset={to} (i32.const {RESULT}) (i32.load offset={from} (local.get 3)))",
                to = 4 + index * 4,
                from = 4 + index * 4,
            )
        })
        .collect();
    format!("(i32.store (i32.const {RESULT}) (i32.const 0)) {copies} (i32.const {RESULT})")
}

#[test]
fn strict_functions_are_not_called_for_null() {
    let plugin = Wat::scalar(true, first_argument()).load();
    let functions = PluginFunction::all(&plugin, &Config::default());
    let values: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7), None, Some(9)]));

    let found = functions[0]
        .call(4, &[(Arc::clone(&values), false)])
        .expect("it returns its argument");

    // The guest is given two values for two rows; four would have been refused.
    assert_eq!(found.as_ref(), values.as_ref());
    let nothing: ArrayRef = Arc::new(Int64Array::from(vec![None::<i64>]));
    let found = functions[0]
        .call(3, &[(nothing, true)])
        .expect("nothing is called");
    assert_eq!(found.null_count(), 3);
}

#[test]
fn rows_of_errors_of_strict_functions_are_those_of_the_batch() {
    // Fails at the second row that it is given.
    let mut guest = Wat::scalar(true, String::new());
    let text = guest.put(b"no");
    guest.replace("call", words(&[1, text, 2, 1, 1, 0, 0, 0]));
    let plugin = guest.load();
    let values: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7), None, Some(9)]));

    let error = PluginFunction::all(&plugin, &Config::default())[0]
        .call(4, &[(values, false)])
        .expect_err("it fails");

    let crate::PluginError::Failed { fault, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(fault.row, Some(3));
    assert_eq!(error.to_string(), "plugin `guest`: function `same`: no");
}
