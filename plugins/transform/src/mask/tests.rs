use super::MaskPlan;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use proptest::prelude::*;
use std::sync::Arc;
use syncset_connector::special::{
    DATE_INFINITY, DECIMAL_NAN, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY,
};
use syncset_connector::{DateUnit, FakeKind, Mask, MaskKey, Secret};

fn key(secret: &str) -> MaskKey {
    MaskKey {
        secret: Secret::new(secret.into()),
        fingerprint: String::new(),
    }
}

fn masked(mask: &Mask, values: ArrayRef) -> ArrayRef {
    let plan =
        MaskPlan::new(mask, values.data_type()).unwrap_or_else(|unfit| panic!("{}", unfit.reason));
    let masked = plan.apply(Some(&values), values.len());
    let masked = masked.unwrap_or_else(|fault| panic!("{}", fault.reason));
    assert_eq!(*masked.data_type(), plan.output);
    masked
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn masked_texts(mask: &Mask, values: &[Option<&str>]) -> Vec<Option<String>> {
    let masked = masked(mask, texts(values));
    let list = masked.as_string::<i32>().iter();
    list.map(|value| value.map(str::to_owned)).collect()
}

fn one(mask: &Mask, value: &str) -> String {
    masked_texts(mask, &[Some(value)])
        .pop()
        .flatten()
        .expect("one value")
}

#[test]
fn keyed_hashes_are_those_of_rfc_4231() {
    let mask = Mask::HmacSha256(key("Jefe"));

    assert_eq!(
        one(&mask, "what do ya want for nothing?"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        one(&Mask::Sha256, "abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn a_value_hashes_alike_whatever_its_type() {
    let mask = Mask::HmacSha256(key("k"));
    let of = |values: ArrayRef| masked(&mask, values).as_string::<i32>().value(0).to_owned();

    assert_eq!(of(Arc::new(Int64Array::from(vec![42]))), one(&mask, "42"));
    let bytes: Vec<u8> = (0..16).collect();
    let uuid = FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes)).expect("an array");
    let text = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    assert_eq!(of(Arc::new(uuid)), one(&mask, text));
    assert_ne!(one(&mask, "42"), one(&Mask::HmacSha256(key("other")), "42"));
}

#[test]
fn texts_show_only_what_they_are_told_to() {
    let partial = |first, last| Mask::Partial { first, last };
    let cases = [
        (partial(1, 2), "+49 170 äöü", "+********öü"),
        (partial(2, 2), "abcd", "****"),
        (partial(0, 0), "abc", "***"),
        (partial(usize::MAX, 1), "abc", "***"),
        (Mask::Email, "anna.b@example.org", "a***@example.org"),
        (Mask::Email, "odd@name@example.org", "o***@example.org"),
        (Mask::Email, "@example.org", "***"),
        (Mask::Email, "no address", "***"),
        (Mask::Redact, "", "***"),
    ];
    for (mask, value, expected) in cases {
        assert_eq!(one(&mask, value), expected, "{mask:?}");
    }
}

#[test]
fn null_stays_null_but_for_a_constant() {
    let read = [
        Mask::HmacSha256(key("k")),
        Mask::Sha256,
        Mask::Redact,
        Mask::Partial { first: 0, last: 1 },
        Mask::Email,
        Mask::Fake(FakeKind::Name, key("k")),
    ];
    for mask in read {
        assert_eq!(masked_texts(&mask, &[None]), [None], "{mask:?}");
    }
    let constant = MaskPlan::new(&Mask::Constant("x".into()), &DataType::Utf8);
    let constant = constant
        .ok()
        .expect("a text")
        .apply(None, 2)
        .expect("applied");
    assert_eq!(
        constant.as_string::<i32>(),
        &StringArray::from(vec!["x", "x"])
    );
    let null = MaskPlan::new(&Mask::Null, &DataType::Int64)
        .ok()
        .expect("any type");
    assert_eq!(null.apply(None, 3).expect("applied").null_count(), 3);
}

#[test]
fn constants_have_the_type_of_their_column() {
    let plan = |value: &str, data_type| MaskPlan::new(&Mask::Constant(value.into()), &data_type);
    let number = plan("7", DataType::Int64).ok().expect("a number");

    let numbers = number.apply(None, 2).expect("applied");

    assert_eq!(numbers.as_primitive::<Int64Type>().values(), &[7, 7]);
    assert!(plan("seven", DataType::Int64).is_err());
    assert!(plan("2026-02-30", DataType::Date32).is_err());
    assert!(plan("no uuid", DataType::FixedSizeBinary(16)).is_err());
}

#[test]
fn dates_are_cut_and_infinities_stay() {
    let micros = |text: &str| {
        let moment = text.parse::<chrono::DateTime<chrono::Utc>>();
        moment.expect("a time").timestamp_micros()
    };
    let times = [
        micros("2026-11-22T13:14:15.123456Z"),
        micros("1969-12-31T23:59:59.999999Z"),
        TIMESTAMP_INFINITY,
        TIMESTAMP_NEGATIVE_INFINITY,
    ];
    let cases = [
        (
            DateUnit::Year,
            "2026-01-01T00:00:00Z",
            "1969-01-01T00:00:00Z",
        ),
        (
            DateUnit::Month,
            "2026-11-01T00:00:00Z",
            "1969-12-01T00:00:00Z",
        ),
        (
            DateUnit::Day,
            "2026-11-22T00:00:00Z",
            "1969-12-31T00:00:00Z",
        ),
        (
            DateUnit::Hour,
            "2026-11-22T13:00:00Z",
            "1969-12-31T23:00:00Z",
        ),
    ];
    for (unit, after, before) in cases {
        let array = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC");
        let masked = masked(&Mask::TruncateDate(unit), Arc::new(array));
        let masked = masked.as_primitive::<TimestampMicrosecondType>();
        let expected = [micros(after), micros(before), times[2], times[3]];
        assert_eq!(masked.values(), &expected, "{unit:?}");
    }
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![-1, 59, DATE_INFINITY]));
    let months = masked(&Mask::TruncateDate(DateUnit::Month), dates);
    assert_eq!(
        months.as_primitive::<Date32Type>().values(),
        &[-31, 59, DATE_INFINITY]
    );
    assert!(MaskPlan::new(&Mask::TruncateDate(DateUnit::Day), &DataType::Date32).is_err());
}

#[test]
fn buckets_out_of_range_say_what_to_do() {
    let plan = MaskPlan::new(&Mask::Bucket("10".into()), &DataType::Int64)
        .ok()
        .expect("a width");
    let least: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN]));

    let fault = plan
        .apply(Some(&least), 1)
        .expect_err("it is below the column's range");

    assert_eq!(fault.row, Some(0));
    assert!(fault.hint.is_some_and(|hint| hint.contains("`where`")));
}

#[test]
fn buckets_are_exact() {
    let bucket = |width: &str| Mask::Bucket(width.into());
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![1_999, -1, 0, 1_000]));
    let stepped = masked(&bucket("1000"), integers);
    assert_eq!(
        stepped.as_primitive::<Int64Type>().values(),
        &[1_000, -1_000, 0, 1_000]
    );

    let decimals = Decimal128Array::from(vec![1_234, -1, DECIMAL_NAN]);
    let decimals = decimals.with_precision_and_scale(12, 2).expect("a type");
    let stepped = masked(&bucket("0.50"), Arc::new(decimals));
    assert_eq!(
        stepped.as_primitive::<Decimal128Type>().values(),
        &[1_200, -50, DECIMAL_NAN]
    );
    let lowest: ArrayRef = Arc::new(Int64Array::from(vec![0, i64::MIN]));
    let plan = MaskPlan::new(&bucket("1000"), &DataType::Int64)
        .ok()
        .expect("a width");
    let fault = plan.apply(Some(&lowest), 2).expect_err("out of range");
    assert_eq!(fault.row, Some(1));
    for width in ["0", "-1", "x", "", "1e3", "0.5"] {
        assert!(
            MaskPlan::new(&bucket(width), &DataType::Int64).is_err(),
            "{width}"
        );
    }
    assert!(MaskPlan::new(&bucket("1"), &DataType::Utf8).is_err());
}

#[test]
fn infinite_floats_stay_in_their_bucket() {
    let values: ArrayRef = Arc::new(Float64Array::from(vec![12.7, f64::INFINITY]));
    let stepped = masked(&Mask::Bucket("5".into()), values);

    let expected = Float64Array::from(vec![10.0, f64::INFINITY]);
    assert_eq!(stepped.as_ref(), &expected as &dyn Array);
}

#[test]
fn masks_of_texts_refuse_other_columns() {
    for mask in [Mask::Email, Mask::Partial { first: 1, last: 1 }] {
        assert!(MaskPlan::new(&mask, &DataType::Int64).is_err(), "{mask:?}");
    }
}

proptest! {
    #[test]
    fn invented_values_are_the_same_for_equal_values_only(left: String, right: String) {
        let mask = Mask::Fake(FakeKind::Email, key("k"));
        let (first, again) = (one(&mask, &left), one(&mask, &left));
        prop_assert_eq!(&first, &again);
        prop_assert_eq!(left == right, first == one(&mask, &right));
    }

    #[test]
    fn no_masked_text_holds_more_than_it_is_told_to(
        value in "\\PC{0,20}", first in 0..5_usize, last in 0..5_usize
    ) {
        let shown = one(&Mask::Partial { first, last }, &value);
        let stars = shown.chars().filter(|it| *it == '*').count();
        let length = value.chars().count();
        prop_assert_eq!(shown.chars().count(), length);
        let own = value.chars().filter(|it| *it == '*').count();
        prop_assert!(stars + own >= length.saturating_sub(first + last).min(length));
        if first + last >= length {
            prop_assert_eq!(stars, length);
        }
    }
}
