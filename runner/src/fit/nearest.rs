//! Whether a value fits, and the nearest one that does. A value is never invented: what has no near
//! one that fits (NaN, an infinity, a number or a date out of range, an unknown label) has none.

use super::characters::{bytes, tested, texts};
use super::numbers::{decimals, float, integers};
use super::{Lost, Rule, cast};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    Int64Type, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampNanosecondType, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use std::sync::Arc;
use syncset_connector::{Calendar, Domain, special};

const DAY_MICROS: i64 = 86_400_000_000;

/// What one value is to a column.
pub(super) enum Verdict<T> {
    Fits,
    Nearest(T),
    Nothing,
}

use Verdict::{Fits, Nearest, Nothing};

/// An array whose values fit, and what that took.
pub(super) struct Outcome {
    pub(super) array: ArrayRef,
    pub(super) lost: Lost,
}

/// Makes the values of an array fit a domain. Pairs of types and domains that never meet, and those
/// that are for the target to judge, are left alone.
pub(super) fn fitted(array: &ArrayRef, domain: &Domain, rule: Rule) -> Result<Outcome, ArrowError> {
    let data_type = array.data_type();
    let outcome = match (data_type, domain) {
        (DataType::Timestamp(TimeUnit::Nanosecond, _), Domain::Moments { .. }) => {
            primitive::<TimestampNanosecondType>(array, rule, |nanos| {
                finer(nanos, |micros| moment(micros, domain))
            })
        }
        (DataType::Time64(TimeUnit::Nanosecond), Domain::Times { max, digits }) => {
            primitive::<Time64NanosecondType>(array, rule, |nanos| {
                finer(nanos, |micros| span(micros, *max, *digits))
            })
        }
        (DataType::Time64(TimeUnit::Nanosecond), Domain::Moments { digits, .. }) => {
            primitive::<Time64NanosecondType>(array, rule, |nanos| {
                finer(nanos, |micros| span(micros, i64::MAX, *digits))
            })
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), Domain::Moments { .. }) => {
            primitive::<TimestampMicrosecondType>(array, rule, |micros| moment(micros, domain))
        }
        (DataType::Time64(TimeUnit::Microsecond), Domain::Times { max, digits }) => {
            primitive::<Time64MicrosecondType>(array, rule, |micros| span(micros, *max, *digits))
        }
        (DataType::Date32, Domain::Dates { min, max, calendar }) => {
            primitive::<Date32Type>(array, rule, |days| date(days, (*min, *max), *calendar))
        }
        (DataType::FixedSizeBinary(_), Domain::Tested(test)) => tested(array, *test, rule)?,
        (DataType::Float64, Domain::Floats { single, unsigned }) => {
            primitive::<Float64Type>(array, rule, |value| float(value, *single, *unsigned))
        }
        (DataType::Float32, Domain::Floats { unsigned, .. }) => {
            primitive::<Float32Type>(array, rule, |value| {
                match value.is_finite() && !(*unsigned && value < 0.0) {
                    true => Fits,
                    false => Nothing,
                }
            })
        }
        (DataType::Decimal128(_, scale), _) => {
            decimals::<Decimal128Type>(array, *scale, domain, rule)
        }
        (DataType::Decimal256(_, scale), _) => {
            decimals::<Decimal256Type>(array, *scale, domain, rule)
        }
        (DataType::UInt64, _) => integers::<UInt64Type>(array, domain, rule),
        (data_type, _) if data_type.is_integer() => {
            let wide = cast(array, &DataType::Int64)?;
            integers::<Int64Type>(&wide, domain, rule)
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _) => {
            texts(&cast(array, &DataType::Utf8)?, domain, rule)
        }
        (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView,
            Domain::Bytes { exactly, max },
        ) => bytes(&cast(array, &DataType::Binary)?, (*exactly, *max), rule),
        _ => Outcome {
            array: Arc::clone(array),
            lost: Lost::default(),
        },
    };
    Ok(Outcome {
        // What was widened to be looked at goes back to its type, where it fits.
        array: match super::is_too_fine(data_type) {
            true => outcome.array,
            false => cast(&outcome.array, data_type)?,
        },
        lost: outcome.lost,
    })
}

/// What becomes of one value: `None` for NULL.
pub(super) fn decided<T>(value: T, verdict: Verdict<T>, rule: Rule, lost: &mut Lost) -> Option<T> {
    match verdict {
        Fits => Some(value),
        Nearest(near) if rule.takes_nearest => {
            lost.changed += 1;
            Some(near)
        }
        Nearest(_) | Nothing if rule.may_be_null => {
            lost.nulled += 1;
            None
        }
        Nearest(_) | Nothing => Some(value),
    }
}

pub(super) fn primitive<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    rule: Rule,
    judge: impl Fn(T::Native) -> Verdict<T::Native>,
) -> Outcome {
    let values = array.as_primitive::<T>();
    let mut lost = Lost::default();
    if values
        .iter()
        .flatten()
        .all(|value| matches!(judge(value), Fits))
    {
        return Outcome {
            array: Arc::clone(array),
            lost,
        };
    }
    let fitted: PrimitiveArray<T> = values
        .iter()
        .map(|value| decided(value?, judge(value?), rule, &mut lost))
        .collect();
    Outcome {
        array: Arc::new(fitted.with_data_type(array.data_type().clone())),
        lost,
    }
}

fn date(days: i32, (min, max): (i32, i32), calendar: Calendar) -> Verdict<i32> {
    let fits = match days {
        special::DATE_INFINITY | special::DATE_NEGATIVE_INFINITY => calendar.infinities,
        _ => days >= min && days <= max && calendar.lacks != Some(days),
    };
    match fits {
        true => Fits,
        false => Nothing,
    }
}

/// A timestamp in microseconds.
fn moment(micros: i64, domain: &Domain) -> Verdict<i64> {
    let Domain::Moments {
        min,
        max,
        digits,
        calendar,
    } = domain
    else {
        return Fits;
    };
    let is_infinite =
        micros == special::TIMESTAMP_INFINITY || micros == special::TIMESTAMP_NEGATIVE_INFINITY;
    if is_infinite && calendar.infinities {
        return Fits;
    }
    let is_lacking = |day: i32| micros.div_euclid(DAY_MICROS) == i64::from(day);
    if is_infinite || micros < *min || micros > *max || calendar.lacks.is_some_and(is_lacking) {
        return Nothing;
    }
    cut(micros, *digits)
}

/// A time of day or a span in microseconds.
fn span(micros: i64, max: i64, digits: u32) -> Verdict<i64> {
    if micros > max || micros < -max {
        return Nothing;
    }
    cut(micros, digits)
}

/// A time in microseconds, cut to the digits behind the second that there are.
fn cut(micros: i64, digits: u32) -> Verdict<i64> {
    let step = 10_i64.pow(6_u32.saturating_sub(digits));
    match micros.rem_euclid(step) {
        0 => Fits,
        // Towards the past: a time of the future would be newer than its row.
        rest => Nearest(micros - rest),
    }
}

/// The same of nanoseconds.
fn finer(nanos: i64, judge: impl Fn(i64) -> Verdict<i64>) -> Verdict<i64> {
    let micros = nanos.div_euclid(1_000);
    match judge(micros) {
        Fits if nanos % 1_000 == 0 => Fits,
        Fits => Nearest(micros * 1_000),
        Nearest(near) => Nearest(near * 1_000),
        Nothing => Nothing,
    }
}
