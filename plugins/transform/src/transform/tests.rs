//! What conditions and derived columns mean, and what they refuse.

use super::*;
use crate::OutputSpec;
use arrow_array::{
    Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::TimeUnit;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use syncset_connector::special;

fn context() -> TransformContext {
    let now: DateTime<Utc> = "2024-05-06T07:08:09.123456Z"
        .parse()
        .expect("a valid instant");
    TransformContext::new(now)
}

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let forever = 2_932_896; // 9999-12-31
    vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        (
            "small",
            Arc::new(Int32Array::from(vec![
                Some(2_000_000_000),
                Some(0),
                None,
                Some(7),
            ])),
        ),
        (
            "Name",
            Arc::new(StringArray::from(vec![
                Some("ada"),
                None,
                Some("Zoë"),
                Some(""),
            ])),
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(1050), Some(-1), None, Some(99_999)])
                    .with_precision_and_scale(12, 2)
                    .expect("a valid precision"),
            ),
        ),
        (
            "ratio",
            Arc::new(Float64Array::from(vec![
                Some(0.5),
                Some(0.0),
                None,
                Some(f64::NAN),
            ])),
        ),
        (
            "seen",
            Arc::new(
                TimestampMicrosecondArray::from(vec![
                    Some(0),
                    Some(special::TIMESTAMP_INFINITY),
                    None,
                    Some(special::TIMESTAMP_NEGATIVE_INFINITY),
                ])
                .with_timezone("UTC"),
            ),
        ),
        (
            "until",
            Arc::new(Date32Array::from(vec![
                Some(0),
                Some(forever),
                None,
                Some(special::DATE_INFINITY),
            ])),
        ),
    ]
}

fn batch() -> RecordBatch {
    batch_of(columns())
}

fn batch_of(columns: Vec<(&'static str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .expect("columns of equal length")
}

fn compile(condition: Option<&str>, outputs: Vec<OutputSpec>) -> Result<Transform, TransformError> {
    let spec = TransformSpec {
        table: "public.customers".to_owned(),
        input: batch().schema(),
        condition: condition.map(str::to_owned),
        outputs,
        steps: Vec::new(),
    };
    Transform::compile(&spec, &context())
}

fn derive_from(batch: &RecordBatch, sql: &str) -> Result<Transform, TransformError> {
    let spec = TransformSpec {
        table: "t".to_owned(),
        input: batch.schema(),
        condition: None,
        outputs: vec![OutputSpec::sql("x", sql)],
        steps: Vec::new(),
    };
    Transform::compile(&spec, &context())
}

fn derive(sql: &str) -> Result<ArrayRef, TransformError> {
    let transform = compile(None, vec![OutputSpec::sql("x", sql)])?;
    Ok(Arc::clone(transform.apply(&batch())?.kept.column(0)))
}

fn texts(sql: &str) -> Vec<Option<String>> {
    let array = derive(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    arrow_cast::cast(&array, &DataType::Utf8)
        .expect("every type has a text form")
        .as_string::<i32>()
        .iter()
        .map(|value| value.map(str::to_owned))
        .collect()
}

fn kept_ids(condition: &str) -> Vec<i64> {
    let transform = compile(Some(condition), vec![OutputSpec::input("id", "id")])
        .unwrap_or_else(|error| panic!("{condition}: {error}"));
    let applied = transform
        .apply(&batch())
        .unwrap_or_else(|error| panic!("{condition}: {error}"));
    applied
        .kept
        .column(0)
        .as_primitive::<arrow_array::types::Int64Type>()
        .values()
        .to_vec()
}

fn refusal(condition: Option<&str>, sql: &str) -> String {
    let error = compile(condition, vec![OutputSpec::sql("x", sql)])
        .expect_err("the expression must be refused");
    assert!(error.is_config());
    format!("{error} | {}", error.hint().unwrap_or("-"))
}

#[test]
fn columns_that_are_passed_on_keep_their_arcs() {
    let batch = batch();

    let transform = compile(
        None,
        vec![
            OutputSpec::input("full_name", "Name"),
            OutputSpec::input("id", "id"),
        ],
    )
    .expect("names exist");
    let applied = transform.apply(&batch).expect("nothing is computed");

    assert!(transform.passes_through());
    assert!(applied.dropped.is_none());
    assert!(Arc::ptr_eq(applied.kept.column(0), batch.column(2)));
    assert!(Arc::ptr_eq(applied.kept.column(1), batch.column(0)));
    assert_eq!(applied.kept.schema().field(0).name(), "full_name");
    assert_eq!(transform.reads(), ["id", "Name"]);
}

#[test]
fn functions_are_not_loaded_without_expressions() {
    let context = context();
    let spec = TransformSpec {
        table: "t".to_owned(),
        input: batch().schema(),
        condition: None,
        outputs: vec![OutputSpec::input("id", "id")],
        steps: Vec::new(),
    };

    Transform::compile(&spec, &context).expect("names exist");

    assert!(!context.is_loaded());
}

#[test]
fn only_true_keeps_a_row() {
    for (condition, expected) in [
        ("price > 0", vec![1, 4]),
        ("not (price > 0)", vec![2]),
        ("price > 0 or price is null", vec![1, 3, 4]),
        ("price > 0 or id = 3", vec![1, 3, 4]),
        ("price > 0 and id < 3", vec![1]),
        ("name in ('ada', null)", vec![1]),
        ("name not in ('ada', null)", vec![]),
        ("price between -0.01 and 10.50", vec![1, 2]),
        ("name like 'a%'", vec![1]),
        ("true", vec![1, 2, 3, 4]),
        ("false", vec![]),
        ("seen > timestamp '1970-01-01'", vec![2]),
        ("seen < '2024-01-01T00:00:00Z'", vec![1, 4]),
        ("until >= '9999-12-31'", vec![2, 4]),
        ("until < date '9999-12-31'", vec![1]),
        ("seen > date '1970-01-01'", vec![2]),
        ("seen > to_timestamp('1970-01-01T00:00:00Z')", vec![2]),
        ("seen in ('1970-01-01 00:00:00', '9999-12-31')", vec![1]),
        ("small = 7", vec![4]),
        ("small + 1 > 7", vec![1, 4]),
        ("customers.id = 1 or public.customers.id = 2", vec![1, 2]),
    ] {
        assert_eq!(kept_ids(condition), expected, "{condition}");
    }
}

#[test]
fn derived_columns_have_values_and_plain_types() {
    let some = |values: [&str; 4]| {
        values
            .map(|value| (value != "-").then(|| value.to_owned()))
            .to_vec()
    };
    for (sql, expected) in [
        ("upper(left(name, 1))", some(["A", "-", "Z", ""])),
        ("upper(name)", some(["ADA", "-", "ZOË", ""])),
        ("name || '!'", some(["ada!", "-", "Zoë!", "!"])),
        ("coalesce(name, 'none')", some(["ada", "none", "Zoë", ""])),
        (
            "price * 1.19",
            some(["12.4950", "-0.0119", "-", "1189.9881"]),
        ),
        (
            "round(price * 1.19, 2)",
            some(["12.50", "-0.01", "-", "1189.99"]),
        ),
        (
            "cast(price * 100 as bigint)",
            some(["1050", "-1", "-", "99999"]),
        ),
        (
            "case when small = 0 then null else 100 / small end",
            some(["0", "-", "-", "14"]),
        ),
        (
            "small / nullif(id - 2, 0)",
            some(["-2000000000", "-", "-", "3"]),
        ),
        ("now()", some(["2024-05-06T07:08:09.123456Z"; 4])),
        ("current_date", some(["2024-05-06"; 4])),
        ("current_time", some(["07:08:09.123456"; 4])),
        ("0.1 + 0.2", some(["0.3"; 4])),
        ("try_cast(name as bigint)", some(["-", "-", "-", "-"])),
    ] {
        assert_eq!(texts(sql), expected, "{sql}");
    }
    let narrow = derive("price * 100").expect("the price is small");
    assert_eq!(narrow.data_type(), &DataType::Decimal128(16, 2));
    let schema = compile(
        None,
        vec![
            OutputSpec::sql("a", "now()"),
            OutputSpec::sql("b", "md5(name)"),
        ],
    )
    .expect("both exist")
    .schema();
    assert_eq!(
        schema.field(0).data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
    assert_eq!(schema.field(1).data_type(), &DataType::Utf8);
}

#[test]
fn values_that_cannot_be_computed_name_their_row() {
    for (sql, row, reason) in [
        ("10 / small", Some(1), "division by zero"),
        ("small + small", Some(0), "too large"),
        ("small * small", Some(0), "too large"),
        ("-(small - 4000000000) * 9000000000", Some(0), "too large"),
        ("cast(name as int)", Some(0), "converted"),
        ("cast(id * 100 as decimal(4, 2))", Some(0), "converted"),
        ("1.0 / price", None, ""),
        ("1 / ratio", Some(1), "division by zero"),
        ("date_trunc('day', seen)", Some(1), "`seen` holds infinity"),
        (
            "until + interval '1 day'",
            Some(3),
            "`until` holds infinity",
        ),
    ] {
        match (derive(sql), row) {
            (Ok(_), None) => {}
            (Err(error), Some(row)) => {
                assert_eq!(error.row(), Some(row), "{sql}: {error}");
                assert!(error.to_string().contains(reason), "{sql}: {error}");
                assert!(
                    error.to_string().contains("`x` of `public.customers`"),
                    "{error}"
                );
            }
            (other, _) => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn error_rows_are_counted_in_the_batch_that_was_given() {
    let transform = compile(Some("id > 1"), vec![OutputSpec::sql("x", "1 / (id - 4)")])
        .expect("the expression is fine");

    let error = transform
        .apply(&batch())
        .expect_err("the last row divides by zero");

    assert_eq!(error.row(), Some(3));
    assert_eq!(
        error.to_string(),
        "derived column `x` of `public.customers`: division by zero (row 4 of the batch)"
    );
}

#[test]
fn rows_that_are_dropped_are_not_computed() {
    let transform = compile(Some("id < 4"), vec![OutputSpec::sql("x", "1 / (id - 4)")])
        .expect("the expression is fine");

    let applied = transform
        .apply(&batch())
        .expect("the row that fails is dropped");

    assert_eq!(applied.kept.num_rows(), 3);
}

#[test]
fn no_message_quotes_a_cell() {
    let error = derive("cast(name as int)").expect_err("text is no number");

    let said = format!("{error} {error:?} {:?}", error.hint());
    assert!(!said.contains("ada") && !said.contains("Zoë"), "{said}");
}

#[test]
fn decimal_nan_stops_the_expression_that_computes_with_it() {
    let nan = Decimal128Array::from(vec![Some(1), None, Some(special::DECIMAL_NAN)])
        .with_precision_and_scale(12, 2)
        .expect("a valid precision");
    let batch = batch_of(vec![("price", Arc::new(nan) as ArrayRef)]);
    let run = |sql: &str| {
        derive_from(&batch, sql)
            .expect("the expression is fine")
            .apply(&batch)
    };

    let error = run("price > 0").expect_err("NaN does not compare as Arrow does");
    assert_eq!(error.row(), Some(2));
    assert!(
        error.to_string().contains("column `price` holds NaN"),
        "{error}"
    );
    assert!(error.hint().is_some());
    assert!(run("price is null").is_ok());
    assert!(run("price").is_ok());
}

#[test]
fn what_cannot_be_used_is_refused_with_a_sentence() {
    for (sql, words) in [
        ("sum(price)", "many rows"),
        ("row_number() over (order by id)", "many rows"),
        ("random()", "another value each time"),
        ("uuid()", "another value each time"),
        ("(select 1)", "sub-query"),
        ("exists (select 1)", "sub-query"),
        ("uper(name)", "did you mean `upper`"),
        ("nmae", "did you mean `Name`"),
        ("\"name\"", "no column `name`"),
        ("orders.id", "not a column of this table"),
        ("$1", "parameter"),
        ("id +", "not an expression"),
        ("id, name", "ends before `,`"),
        ("id as x", "ends before"),
        ("", "empty"),
        ("null", "always NULL"),
        ("name > 5", "compares text with a number"),
        ("5 in (1, name)", "compares text with a number"),
        ("id + name", "planned"),
        ("@x", ""),
        ("seen > 'soon'", "planned"),
    ] {
        let said = refusal(None, sql);
        assert!(said.contains(words), "{sql}: {said}");
        assert!(
            said.starts_with("derived column `x` of `public.customers`: "),
            "{said}"
        );
    }
    assert!(refusal(Some("now() > seen"), "id").contains("`now()` changes which rows"));
    assert!(refusal(Some("id"), "id").contains("not true or false"));
}

#[test]
fn names_that_differ_by_case_only_must_be_quoted() {
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let two: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let batch = batch_of(vec![("Id", one), ("ID", two)]);
    let run = |sql: &str| derive_from(&batch, sql);

    assert!(
        run("id")
            .expect_err("two names match")
            .to_string()
            .contains("could be")
    );
    let exact = run("ID").expect("an exact name wins");
    assert_eq!(exact.reads(), ["ID"]);
}

#[test]
fn two_outputs_of_one_name_are_refused() {
    let error = compile(
        None,
        vec![OutputSpec::input("a", "id"), OutputSpec::sql("a", "id + 1")],
    )
    .expect_err("names must differ");

    assert!(error.to_string().contains("the same name"));
}

#[test]
fn batches_of_another_schema_are_refused() {
    let transform = compile(None, vec![OutputSpec::input("id", "id")]).expect("the name exists");
    let other = batch_of(vec![(
        "id",
        Arc::new(Int64Array::from(vec![1])) as ArrayRef,
    )]);

    assert!(matches!(
        transform.apply(&other),
        Err(TransformError::Schema { .. })
    ));
}

#[test]
fn uuids_are_compared_with_their_text() {
    let ids = FixedSizeBinaryArray::try_from_iter([[0x5e_u8; 16], [0; 16]].into_iter())
        .expect("equal lengths");
    let batch = batch_of(vec![("id", Arc::new(ids) as ArrayRef)]);
    for sql in [
        "id = '5e5e5e5e-5e5e-5e5e-5e5e-5e5e5e5e5e5e'",
        "id in ('{5E5E5E5E-5E5E-5E5E-5E5E-5E5E5E5E5E5E}')",
        "'00000000-0000-0000-0000-000000000000' < id",
    ] {
        let applied = derive_from(&batch, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .apply(&batch)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let verdict = applied.kept.column(0).as_boolean();
        assert_eq!(
            verdict.iter().collect::<Vec<_>>(),
            [Some(true), Some(false)],
            "{sql}"
        );
    }
    for (sql, words) in [
        ("id = 'me'", "is not a uuid"),
        ("cast(id as text)", "not computed with"),
    ] {
        let error = derive_from(&batch, sql).expect_err("must be refused");
        assert!(error.to_string().contains(words), "{sql}: {error}");
    }
}

proptest! {
    #[test]
    fn kept_and_dropped_rows_partition_the_batch(
        values in proptest::collection::vec(proptest::option::of(-20_i64..20), 0..200),
        limit in -20_i64..20,
    ) {
        let array: ArrayRef = Arc::new(Int64Array::from(values.clone()));
        let batch = batch_of(vec![("v", array)]);
        let condition = format!("v > {limit} or v % 3 = 0");
        let spec = TransformSpec {
            table: "t".to_owned(),
            input: batch.schema(),
            condition: Some(condition),
            outputs: vec![OutputSpec::input("v", "v"), OutputSpec::sql("w", "v * 2")],
        steps: Vec::new(),
    };

        let applied = Transform::compile(&spec, &context()).unwrap().apply(&batch).unwrap();

        let wanted = |value: &Option<i64>| value.is_some_and(|v| v > limit || v % 3 == 0);
        let kept = values.iter().filter(|value| wanted(value)).copied().collect::<Vec<_>>();
        let found = applied.kept.column(0).as_primitive::<arrow_array::types::Int64Type>();
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), kept.clone());
        let doubled = applied.kept.column(1).as_primitive::<arrow_array::types::Int64Type>();
        prop_assert_eq!(
            doubled.iter().collect::<Vec<_>>(),
            kept.iter().map(|value| value.map(|v| v * 2)).collect::<Vec<_>>()
        );
        match applied.dropped {
            None => prop_assert_eq!(kept.len(), values.len()),
            Some(dropped) => {
                prop_assert_eq!(dropped.null_count(), 0);
                let expected = values.iter().map(|value| !wanted(value)).collect::<Vec<_>>();
                prop_assert_eq!(dropped.values().iter().collect::<Vec<_>>(), expected);
            }
        }
    }
}
