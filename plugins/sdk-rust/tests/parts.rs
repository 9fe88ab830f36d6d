//! What the macros make of functions, called as syncset calls them.

use std::num::ParseIntError;
use std::sync::Arc;

use syncset_plugin::arrow_array::types::{Float64Type, Int64Type};
use syncset_plugin::arrow_array::{
    BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray, UInt32Array,
    record_batch,
};
use syncset_plugin::prelude::*;
use syncset_plugin::scalar::Scalar;
use syncset_plugin::{filter, plugin, scalar, testing, transform};

/// Joins two texts.
///
/// The second line.
#[scalar(strict)]
fn join(first: &str, second: &str) -> String {
    format!("{first}-{second}")
}

#[scalar(stable, name = "or_zero")]
fn null_to_zero(number: Option<i64>) -> i64 {
    number.unwrap_or(0)
}

#[scalar]
fn parse(text: &str) -> Result<Option<i32>, ParseIntError> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some)
    }
}

#[scalar]
fn first_word(text: &str) -> Option<&str> {
    text.split(' ').next()
}

#[scalar(volatile)]
fn seven() -> i32 {
    7
}

#[scalar]
fn kinds(a: i16, b: f32, c: bool, d: &[u8], e: [u8; 16], f: String, g: Option<u64>) -> Vec<u8> {
    format!("{a} {b} {c} {} {} {f} {g:?}", d.len(), e[15]).into_bytes()
}

#[scalar(strict)]
fn lengths(text: &StringArray) -> Result<Int64Array> {
    // Sees the rows with NULL, and gives them a value.
    Ok(text
        .iter()
        .map(|text| Some(text.map_or(-1, |text| text.len() as i64)))
        .collect())
}

#[scalar(args = ["d:12,2", "utf8"], returns = "d:12,2")]
fn negate(amount: &Decimal128Array, _unit: &dyn Array) -> Result<ArrayRef> {
    let negative: Decimal128Array = amount
        .iter()
        .map(|amount| amount.map(|cents| -cents))
        .collect();
    Ok(Arc::new(negative.with_precision_and_scale(12, 2)?))
}

#[scalar(args = ["i64"], returns = "i64")]
fn too_few(_numbers: &ArrayRef) -> Int64Array {
    Int64Array::from(vec![1])
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    rate: f64,
}

#[transform(reads = ["amount: f64", "email: utf8"], changes = ["email"], adds = ["amount_eur: f64"])]
fn to_eur(context: &Context, batch: RecordBatch, config: &Rate) -> Result<Output> {
    assert_eq!(context.table, "orders");
    let amounts = batch["amount"].as_primitive::<Float64Type>();
    if let Some(row) = amounts
        .iter()
        .position(|amount| amount.is_some_and(f64::is_nan))
    {
        return Err(Error::new("not a number").at_row(row).in_column("amount"));
    }
    let kept: Vec<u32> = (0..batch.num_rows() as u32)
        .filter(|row| amounts.is_valid(*row as usize))
        .collect();
    let converted: Float64Array = kept
        .iter()
        .map(|row| Some(amounts.value(*row as usize) * config.rate))
        .collect();
    let emails = batch["email"].as_string::<i32>();
    let emails: StringArray = kept
        .iter()
        .map(|row| Some(emails.value(*row as usize).to_lowercase()))
        .collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("amount_eur", Arc::new(converted)),
        ("email", Arc::new(emails)),
    ];
    Ok(Output::kept(RecordBatch::try_from_iter(columns)?, kept))
}

#[transform(reads = ["amount"])]
fn checks_only(batch: &RecordBatch) -> RecordBatch {
    batch.clone()
}

#[transform(adds = ["note: utf8"])]
fn breaks_its_word(batch: RecordBatch) -> RecordBatch {
    batch
}

#[filter(reads = ["amount: f64"])]
fn large(batch: RecordBatch) -> BooleanArray {
    batch["amount"]
        .as_primitive::<Float64Type>()
        .iter()
        .map(|amount| amount.map(|a| a > 1.5))
        .collect()
}

#[filter]
fn fails(_batch: &RecordBatch) -> Result<BooleanArray, String> {
    Err("on purpose".into())
}

plugin! {
    doc: "Everything",
    functions: [join, null_to_zero, parse],
    transform: to_eur,
    filter: large,
}

fn text(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn orders() -> (Context, RecordBatch) {
    let batch = record_batch!(
        ("id", Int64, [1, 2, 3]),
        ("email", Utf8, ["A@x", "B@x", "C@x"]),
        ("amount", Float64, [Some(1.0), None, Some(2.0)])
    );
    let context = Context {
        table: "orders".into(),
        ..Context::default()
    };
    (context, batch.unwrap())
}

#[test]
fn signature_says_what_the_function_is() {
    let signature = join::signature();
    assert_eq!((signature.name, signature.returns), ("join", "u"));
    assert_eq!(signature.args, ["u", "u"]);
    assert_eq!(signature.doc, "Joins two texts.\n\nThe second line.");
    assert!(signature.strict);

    let signature = null_to_zero::signature();
    assert_eq!(signature.name, "or_zero");
    assert!(!signature.strict);

    let signature = kinds::signature();
    assert_eq!(signature.args, ["s", "f", "b", "z", "w:16", "u", "L"]);
    assert_eq!(signature.returns, "z");

    assert_eq!(negate::signature().args, ["d:12,2", "u"]);
    assert_eq!(lengths::signature().args, ["u"]);
    assert!(!seven::signature().strict);
}

#[test]
fn rows_with_null_are_not_passed_to_values() {
    let (first, second) = (
        text(vec![Some("a"), None, Some("b")]),
        text(vec![Some("x"), Some("y"), None]),
    );

    let joined = testing::call::<join>(&[first, second]).unwrap();

    assert_eq!(*joined, *text(vec![Some("a-x"), None, None]));
    assert_eq!(join("a", "b"), "a-b");
}

#[test]
fn option_takes_null() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None]));

    let filled = testing::call::<null_to_zero>(&[numbers]).unwrap();

    assert_eq!(
        filled.as_primitive::<Int64Type>(),
        &Int64Array::from(vec![5, 0])
    );
}

#[test]
fn error_carries_the_row() {
    let numbers = testing::call::<parse>(&[text(vec![Some("1"), Some(""), None])]).unwrap();
    let error = testing::call::<parse>(&[text(vec![Some("1"), None, Some("x")])]).unwrap_err();

    assert_eq!(*numbers, Int32Array::from(vec![Some(1), None, None]));
    assert_eq!(error, Error::new("invalid digit found in string").at_row(2));
}

#[test]
fn borrowed_results_and_functions_without_arguments_work() {
    let words = testing::call::<first_word>(&[text(vec![Some("a b"), None])]).unwrap();
    let seven = testing::call::<seven>(&[]).unwrap();

    assert_eq!(*words, *text(vec![Some("a"), None]));
    assert_eq!(*seven, Int32Array::from(vec![7]));
}

#[test]
fn strict_function_of_arrays_is_null_where_its_argument_is() {
    let lengths = testing::call::<lengths>(&[text(vec![Some("abc"), None, Some("")])]).unwrap();

    assert_eq!(*lengths, Int64Array::from(vec![Some(3), None, Some(0)]));
}

#[test]
fn types_that_arrays_do_not_tell_are_named() {
    let amounts = Decimal128Array::from(vec![Some(150), None])
        .with_precision_and_scale(12, 2)
        .unwrap();
    let units = text(vec![Some("EUR"), None]);

    let negative = testing::call::<negate>(&[Arc::new(amounts), units]).unwrap();

    let expected = Decimal128Array::from(vec![Some(-150), None])
        .with_precision_and_scale(12, 2)
        .unwrap();
    assert_eq!(*negative, expected);
}

#[test]
fn wrong_number_of_values_is_found() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));

    let error = testing::call::<too_few>(&[numbers]).unwrap_err();

    assert_eq!(
        error.message(),
        "returned 1 values of type Int64 for 2 rows of type Int64"
    );
}

#[test]
fn transform_drops_rows_and_adds_columns() {
    let (context, orders) = orders();

    let output = testing::transform::<to_eur>(r#"{"rate": 0.5}"#, &context, &orders).unwrap();

    let expected = record_batch!(
        ("email", Utf8, ["a@x", "c@x"]),
        ("amount_eur", Float64, [0.5, 1.0])
    );
    assert_eq!(output.batch().columns(), expected.unwrap().columns());
    assert_eq!(output.origins(), Some(&[0, 2][..]));
}

#[test]
fn configuration_and_columns_are_checked_before_rows() {
    let (context, orders) = orders();
    let run = |config, batch: &RecordBatch| {
        testing::transform::<to_eur>(config, &context, batch).unwrap_err()
    };

    let missing = run("{}", &orders);
    let unknown = run(r#"{"rate": 1, "rat": 1}"#, &orders);
    let no_column = run(r#"{"rate": 1}"#, &orders.project(&[0, 1]).unwrap());
    let other_type = record_batch!(("email", Utf8, ["a"]), ("amount", Int64, [1])).unwrap();
    let wrong_type = run(r#"{"rate": 1}"#, &other_type);

    assert!(
        missing.message().contains("missing field `rate`"),
        "{missing}"
    );
    assert!(
        unknown.message().contains("unknown field `rat`"),
        "{unknown}"
    );
    assert_eq!(
        no_column,
        Error::new("the column is missing").in_column("amount")
    );
    assert_eq!(
        wrong_type.message(),
        "the column has format `l`, not one of `g`"
    );
}

#[test]
fn error_of_a_transform_carries_row_and_column() {
    let (context, _) = orders();
    let batch = record_batch!(
        ("email", Utf8, ["a", "b"]),
        ("amount", Float64, [1.0, f64::NAN])
    );

    let error = testing::transform::<to_eur>(r#"{"rate": 1}"#, &context, &batch.unwrap());

    assert_eq!(
        error.unwrap_err(),
        Error::new("not a number").at_row(1).in_column("amount")
    );
}

#[test]
fn output_that_was_not_promised_is_refused() {
    let (context, orders) = orders();

    let error = testing::transform::<breaks_its_word>("", &context, &orders).unwrap_err();
    let nothing = testing::transform::<checks_only>("{}", &context, &orders).unwrap();
    let no_config = testing::transform::<checks_only>(r#"{"a": 1}"#, &context, &orders);

    let expected = Error::new("the column was promised and not returned").in_column("note");
    assert_eq!(error, expected);
    assert_eq!(
        (nothing.batch().num_columns(), nothing.batch().num_rows()),
        (0, 3)
    );
    assert_eq!(
        no_config.unwrap_err().message(),
        "configuration: this plugin takes none"
    );
}

#[test]
fn empty_batch_stays_empty() {
    let (context, orders) = orders();

    let output = testing::transform::<to_eur>(r#"{"rate": 1}"#, &context, &orders.slice(0, 0));

    assert_eq!(output.unwrap().batch().num_rows(), 0);
}

#[test]
fn filter_gives_a_value_for_each_row() {
    let (context, orders) = orders();

    let mask = testing::filter::<large>("{}", &context, &orders).unwrap();
    let error = testing::filter::<fails>("{}", &context, &orders).unwrap_err();

    assert_eq!(
        mask,
        BooleanArray::from(vec![Some(false), None, Some(true)])
    );
    assert_eq!(error, Error::new("on purpose"));
}

/// A transform whose columns depend on its configuration.
#[derive(serde::Deserialize)]
struct Count {
    column: String,
}

impl Transform for Count {
    fn reads(&self) -> Reads {
        Reads::columns([(&self.column, "i64 | u32")])
    }

    fn bind(&self, input: &Schema) -> Result<Schema> {
        assert_eq!(input.fields().len(), 1);
        Ok(Schema::new(vec![syncset_plugin::field(
            format!("{}_row", self.column),
            "u32",
        )]))
    }

    fn transform(&self, _: &Context, batch: RecordBatch) -> Result<Output> {
        let rows: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..batch.num_rows() as u32));
        Ok(RecordBatch::try_from_iter([(format!("{}_row", self.column), rows)])?.into())
    }
}

#[test]
fn columns_may_depend_on_the_configuration() {
    let (context, orders) = orders();

    let output = testing::transform::<Count>(r#"{"column": "id"}"#, &context, &orders).unwrap();

    assert_eq!(output.batch().schema().field(0).name(), "id_row");
    assert_eq!(*output.batch()["id_row"], UInt32Array::from(vec![0, 1, 2]));
}
