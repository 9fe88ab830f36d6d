//! What fits, what the nearest value is, and what has none.

use super::nearest::fitted;
use super::*;
use arrow_array::cast::AsArray;
use arrow_array::{
    BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use syncset_connector::{Repertoire, Test, TextDomain, special};

const WARN: Rule = Rule {
    takes_nearest: true,
    may_be_null: true,
};
const NULL: Rule = Rule {
    takes_nearest: false,
    may_be_null: true,
};
/// A column that refuses NULL.
const KEEP: Rule = Rule {
    takes_nearest: true,
    may_be_null: false,
};

fn fit(
    array: impl arrow_array::Array + 'static,
    domain: &Domain,
    rule: Rule,
) -> (Vec<String>, Lost) {
    let array: ArrayRef = Arc::new(array);
    let outcome = fitted(&array, domain, rule).expect("it can be made to fit");
    let texts = text::forms(&outcome.array).expect("every value has a text");
    let texts = texts.as_string::<i32>().iter();
    let texts = texts.map(|text| text.unwrap_or("NULL").to_owned());
    (texts.collect(), outcome.lost)
}

fn lost(changed: u64, nulled: u64) -> Lost {
    Lost { changed, nulled }
}

#[test]
fn values_that_fit_are_the_same_memory() {
    let array: ArrayRef = Arc::new(Float64Array::from(vec![1.5, -0.0]));
    let domain = Domain::Floats {
        single: false,
        unsigned: false,
    };

    let outcome = fitted(&array, &domain, WARN).expect("it fits");

    assert!(Arc::ptr_eq(&array, &outcome.array));
    assert_eq!(outcome.lost, Lost::default());
}

#[test]
fn floats_without_a_near_one_become_null_or_stay() {
    let values = || Float64Array::from(vec![Some(1.0), Some(f64::NAN), Some(f64::INFINITY), None]);
    let domain = Domain::Floats {
        single: false,
        unsigned: false,
    };

    assert_eq!(
        fit(values(), &domain, WARN),
        (
            vec!["1".into(), "NULL".into(), "NULL".into(), "NULL".into()],
            lost(0, 2)
        )
    );
    assert_eq!(fit(values(), &domain, NULL).1, lost(0, 2));
    // The target refuses them: nothing that was not asked for is written.
    assert_eq!(
        fit(values(), &domain, KEEP),
        (
            vec!["1".into(), "NaN".into(), "Infinity".into(), "NULL".into()],
            lost(0, 0)
        )
    );
    let single = Domain::Floats {
        single: true,
        unsigned: true,
    };
    assert_eq!(
        fit(
            Float64Array::from(vec![0.1, 0.5, 1e300, -1.0]),
            &single,
            WARN
        ),
        (
            vec![
                "0.10000000149011612".into(),
                "0.5".into(),
                "NULL".into(),
                "NULL".into()
            ],
            lost(1, 2)
        )
    );
}

#[test]
fn decimals_are_rounded_half_away_from_zero() {
    let decimals = |values: Vec<i128>| {
        let array = Decimal128Array::from(values).with_precision_and_scale(38, 4);
        array.expect("a decimal")
    };
    let domain = Domain::Decimals {
        precision: 5,
        scale: 2,
        unsigned: false,
    };
    let values = vec![
        12_300,
        12_345,
        12_350,
        -12_350,
        9_999_949,
        9_999_950,
        special::DECIMAL_NAN,
    ];

    assert_eq!(
        fit(decimals(values.clone()), &domain, WARN),
        (
            [
                "1.2300", "1.2300", "1.2400", "-1.2400", "999.9900", "NULL", "NULL"
            ]
            .map(str::to_owned)
            .to_vec(),
            lost(4, 2)
        )
    );
    assert_eq!(fit(decimals(values), &domain, NULL).1, lost(0, 6));
    let tiny = Domain::Integers {
        min: -128,
        max: 127,
    };
    assert_eq!(
        fit(
            decimals(vec![1_270_000, 1_274_000, 1_275_000, -1_280_000]),
            &tiny,
            WARN
        ),
        (
            ["127.0000", "127.0000", "NULL", "-128.0000"]
                .map(str::to_owned)
                .to_vec(),
            lost(1, 1)
        )
    );
}

#[test]
fn times_are_cut_towards_the_past() {
    let domain = Domain::Moments {
        min: -62_135_596_800_000_000,
        max: 253_402_300_799_999_999,
        digits: 3,
        calendar: Calendar {
            infinities: false,
            lacks: Some(2),
        },
    };
    let micros = TimestampMicrosecondArray::from(vec![
        1_500,
        -1,
        i64::MAX,
        i64::MIN,
        -62_135_596_800_000_001,
        2_000,
        2 * 86_400_000_000,
    ]);

    assert_eq!(
        fit(micros, &domain, WARN),
        (
            [
                "1970-01-01 00:00:00.001",
                "1969-12-31 23:59:59.999",
                "NULL",
                "NULL",
                "NULL",
                "1970-01-01 00:00:00.002",
                "NULL"
            ]
            .map(str::to_owned)
            .to_vec(),
            lost(2, 4)
        )
    );
    let any = Domain::Moments {
        min: i64::MIN,
        max: i64::MAX,
        digits: 6,
        calendar: Calendar::default(),
    };
    let nanos = TimestampNanosecondArray::from(vec![1_001, 2_000, -1]);
    assert_eq!(fit(nanos, &any, WARN).1, lost(2, 0));
    let times = Domain::Times {
        max: 3_020_399_000_000,
        digits: 0,
    };
    let spans =
        Time64MicrosecondArray::from(vec![86_400_000_000, -3_020_399_000_000, 3_020_400_000_000]);
    assert_eq!(
        fit(spans, &times, WARN),
        (
            ["24:00:00", "-838:59:59", "NULL"]
                .map(str::to_owned)
                .to_vec(),
            lost(0, 1)
        )
    );
    let days = |calendar| Domain::Dates {
        min: 0,
        max: 10,
        calendar,
    };
    let own = Calendar {
        infinities: true,
        lacks: Some(7),
    };
    for (calendar, nulled) in [(Calendar::default(), 2), (own, 2)] {
        let dates = Date32Array::from(vec![0, 7, 11, special::DATE_INFINITY]);
        assert_eq!(
            fit(dates, &days(calendar), NULL).1,
            lost(0, nulled),
            "{calendar:?}"
        );
    }
}

#[test]
fn texts_lose_what_the_column_has_no_place_for() {
    let latin = Domain::Texts(TextDomain {
        repertoire: Repertoire::new("latin1", |it| (u32::from(it) < 256).then_some(1)),
        chars_max: Some(4),
        bytes_max: 255,
        drops_blanks: true,
    });

    let values = StringArray::from(vec!["né", "a😀b", "abcdef", "ab  ", "ЖЖ"]);

    assert_eq!(
        fit(values, &latin, WARN),
        (
            ["né", "a?b", "abcd", "ab", "??"]
                .map(str::to_owned)
                .to_vec(),
            lost(4, 0)
        )
    );
    let postgres = Domain::Texts(TextDomain {
        repertoire: Repertoire::new("no NUL", |it| (it != '\0').then_some(1)),
        chars_max: None,
        bytes_max: u64::MAX,
        drops_blanks: false,
    });
    let values = StringArray::from(vec!["a\0b", "a b"]);
    assert_eq!(
        fit(values, &postgres, WARN),
        (vec!["ab".into(), "a b".into()], lost(1, 0))
    );
    let labels = Domain::Labels {
        labels: vec!["a".into(), "b".into()],
        several: true,
    };
    let values = StringArray::from(vec!["a,b", "b,a", "", "c"]);
    assert_eq!(
        fit(values, &labels, WARN),
        (
            ["a,b", "NULL", "", "NULL"].map(str::to_owned).to_vec(),
            lost(0, 2)
        )
    );
}

#[test]
fn values_that_fail_a_test_become_null_or_stay() {
    let even = Domain::Tested(Test::new("even", |value| value.len().is_multiple_of(2)));
    let texts = || StringArray::from(vec![Some("ab"), Some("c"), None]);

    assert_eq!(
        fit(texts(), &even, WARN),
        (
            ["ab", "NULL", "NULL"].map(str::to_owned).to_vec(),
            lost(0, 1)
        )
    );
    assert_eq!(fit(texts(), &even, KEEP).1, lost(0, 0));
    let low = Domain::Tested(Test::new("low", |value| value[0] < 2));
    let values = [Some([1_u8; 16]), Some([2; 16]), None];
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16);
    let (kept, counts) = fit(array.expect("UUIDs"), &low, NULL);
    assert_eq!(
        (&kept[0][..8], &kept[1][..], &kept[2][..], counts),
        ("01010101", "NULL", "NULL", lost(0, 1))
    );
}

#[test]
fn integers_and_bytes_out_of_range_are_found() {
    let tiny = Domain::Integers {
        min: -128,
        max: 127,
    };
    assert_eq!(
        fit(Int32Array::from(vec![127, 128, -129]), &tiny, WARN),
        (
            ["127", "NULL", "NULL"].map(str::to_owned).to_vec(),
            lost(0, 2)
        )
    );
    let short = Domain::Bytes {
        exactly: Some(2),
        max: 2,
    };
    let values = BinaryArray::from(vec![b"ab".as_slice(), b"abc", b"a"]);
    assert_eq!(
        fit(values, &short, WARN),
        (
            ["\\x6162", "\\x6162", "NULL"].map(str::to_owned).to_vec(),
            lost(1, 1)
        )
    );
}

#[test]
fn text_forms_name_every_value() {
    let forms = |array: ArrayRef| {
        let texts = text::forms(&array).expect("every value has a text");
        texts
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        forms(Arc::new(Date32Array::from(vec![
            0,
            -719_163,
            -735_160,
            i32::MAX,
            i32::MIN,
            2_932_897
        ]))),
        [
            "1970-01-01",
            "0001-12-31 BC",
            "0044-03-15 BC",
            "infinity",
            "-infinity",
            "10000-01-01"
        ]
    );
    // The last one is 294276-12-31 23:59:59.999999, less 2^64.
    let last = i64::try_from(9_224_318_015_999_999_999_i128 - (1_i128 << 64)).expect("it wraps");
    // SQLite has years before those of PostgreSQL.
    let early = -220_000_000_000_000_000;
    let instants = TimestampMicrosecondArray::from(vec![
        500_000,
        i64::MAX,
        -62_135_596_800_000_001,
        last,
        early,
    ]);
    assert_eq!(
        forms(Arc::new(instants.with_timezone("UTC"))),
        [
            "1970-01-01 00:00:00.5+00",
            "infinity",
            "0001-12-31 23:59:59.999999+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "5003-06-23 16:53:20+00 BC"
        ]
    );
    assert_eq!(
        forms(Arc::new(Float64Array::from(vec![
            1.0,
            0.1,
            -0.0,
            1e300,
            f64::NAN,
            f64::NEG_INFINITY
        ]))),
        ["1", "0.1", "-0", "1e300", "NaN", "-Infinity"]
    );
    assert_eq!(
        forms(Arc::new(Time64MicrosecondArray::from(vec![
            -500_000,
            86_400_000_000
        ]))),
        ["-00:00:00.5", "24:00:00"]
    );
}
