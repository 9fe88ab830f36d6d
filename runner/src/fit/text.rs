//! The text form of every value: what PostgreSQL prints with ISO dates, so that it reads it back.
//! Each form is of one value only, and nothing of it is rounded.

use super::cast;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use std::fmt::Write;
use std::sync::Arc;
use syncset_connector::special;

const DAY_SECONDS: i64 = 86_400;
/// One behind 294276-12-31, the last day that PostgreSQL knows, as it comes: its last years do not
/// fit into the number and come wrapped.
const WRAPPED_END: i64 = -9_222_426_057_709_551_616;
/// Bytes of the longest moment, about.
const LENGTH: usize = 32;

const NAN: &str = "NaN";
const INFINITY: &str = "infinity";
const NEGATIVE_INFINITY: &str = "-infinity";

/// The text forms of an array's values.
pub(crate) fn forms(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts: StringArray = match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            values
                .iter()
                .map(|it| {
                    it.map(|it| float(it.is_nan(), it.is_infinite(), it < 0.0, format!("{it:?}")))
                })
                .collect()
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            values
                .iter()
                .map(|it| {
                    it.map(|it| float(it.is_nan(), it.is_infinite(), it < 0.0, format!("{it:?}")))
                })
                .collect()
        }
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>();
            let text = |row: usize| {
                values.is_valid(row).then(|| match values.value(row) {
                    special::DECIMAL_NAN => NAN.to_owned(),
                    _ => values.value_as_string(row),
                })
            };
            (0..values.len()).map(text).collect()
        }
        DataType::Decimal256(..) => {
            let values = array.as_primitive::<Decimal256Type>();
            let text = |row: usize| values.is_valid(row).then(|| values.value_as_string(row));
            (0..values.len()).map(text).collect()
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>();
            values.iter().map(|days| days.map(date)).collect()
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let (values, zone) = (
                array.as_primitive::<TimestampMicrosecondType>(),
                zone_of(zone),
            );
            values
                .iter()
                .map(|it| it.map(|it| timestamp(it, zone)))
                .collect()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let (values, zone) = (
                array.as_primitive::<TimestampNanosecondType>(),
                zone_of(zone),
            );
            values
                .iter()
                .map(|it| it.map(|it| moment(i128::from(it), 1_000_000_000, zone)))
                .collect()
        }
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            return forms(&cast(array, &micros)?);
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let values = array.as_primitive::<Time64MicrosecondType>();
            values.iter().map(|it| it.map(time)).collect()
        }
        DataType::FixedSizeBinary(16) => {
            let values = array.as_fixed_size_binary();
            values.iter().map(|it| it.map(uuid)).collect()
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            values.iter().map(|it| it.map(bytes)).collect()
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            values.iter().map(|it| it.map(bytes)).collect()
        }
        DataType::LargeBinary | DataType::BinaryView => {
            return forms(&cast(array, &DataType::Binary)?);
        }
        _ => return printed(array),
    };
    Ok(Arc::new(texts))
}

/// Booleans, integers, and what only expressions yield: lists, structs, durations.
fn printed(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        texts.push(match array.is_valid(row) {
            true => Some(formatter.value(row).try_to_string()?),
            false => None,
        });
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// `digits`: the shortest ones that are read as the same float.
fn float(is_nan: bool, is_infinite: bool, is_negative: bool, digits: String) -> String {
    match (is_nan, is_infinite, is_negative) {
        (true, ..) => NAN.to_owned(),
        (_, true, false) => "Infinity".to_owned(),
        (_, true, true) => "-Infinity".to_owned(),
        _ => match digits.strip_suffix(".0") {
            Some(whole) => whole.to_owned(),
            None => digits,
        },
    }
}

fn zone_of(zone: &Option<Arc<str>>) -> &'static str {
    // Whatever zone it is shown in, the number is UTC.
    if zone.is_some() { "+00" } else { "" }
}

/// `2024-02-29`, `0044-03-15 BC`, `infinity`.
fn date(days: i32) -> String {
    match days {
        special::DATE_INFINITY => INFINITY.to_owned(),
        special::DATE_NEGATIVE_INFINITY => NEGATIVE_INFINITY.to_owned(),
        _ => {
            let mut text = String::with_capacity(LENGTH);
            let era = write_day(i64::from(days), &mut text);
            text.push_str(era);
            text
        }
    }
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        special::TIMESTAMP_INFINITY => INFINITY.to_owned(),
        special::TIMESTAMP_NEGATIVE_INFINITY => NEGATIVE_INFINITY.to_owned(),
        _ if micros < WRAPPED_END => {
            let micros = i128::from(micros) + (1_i128 << 64);
            moment(micros, 1_000_000, zone)
        }
        _ => moment(i128::from(micros), 1_000_000, zone),
    }
}

/// `2024-02-29 12:30:00.5+00`, of a number of which one second has `per_second`.
fn moment(value: i128, per_second: i64, zone: &str) -> String {
    let (seconds, fraction) = match i64::try_from(value) {
        Ok(value) => (value.div_euclid(per_second), value.rem_euclid(per_second)),
        Err(_) => {
            let narrow =
                |value: i128| i64::try_from(value).expect("seconds of 65 bits of microseconds fit");
            let per_second = i128::from(per_second);
            (
                narrow(value.div_euclid(per_second)),
                narrow(value.rem_euclid(per_second)),
            )
        }
    };
    let mut text = String::with_capacity(LENGTH);
    let era = write_day(seconds.div_euclid(DAY_SECONDS), &mut text);
    text.push(' ');
    write_clock(
        seconds.rem_euclid(DAY_SECONDS),
        (fraction, per_second),
        &mut text,
    );
    text.push_str(zone);
    text.push_str(era);
    text
}

/// `24:00:00`, `-838:59:59`, `12:30:00.5`.
fn time(micros: i64) -> String {
    let mut text = String::with_capacity(LENGTH);
    if micros < 0 {
        text.push('-');
    }
    let micros = micros.unsigned_abs();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let seconds = i64::try_from(seconds).expect("a millionth of 64 bits fits");
    let fraction = i64::try_from(fraction).expect("it is below a million");
    write_clock(seconds, (fraction, 1_000_000), &mut text);
    text
}

fn write_clock(seconds: i64, (fraction, per_second): (i64, i64), text: &mut String) {
    write_digits(seconds / 3_600, 2, text);
    text.push(':');
    write_digits(seconds / 60 % 60, 2, text);
    text.push(':');
    write_digits(seconds % 60, 2, text);
    if fraction != 0 {
        text.push('.');
        write_digits(fraction, per_second.ilog10() as usize, text);
        text.truncate(text.trim_end_matches('0').len());
    }
}

/// A number that is not negative, with zeros before it up to this width. Row after row is written
/// so, and the standard library's formatting takes several times as long.
fn write_digits(mut number: i64, width: usize, text: &mut String) {
    let mut digits = [b'0'; 20];
    let mut begin = digits.len();
    while number != 0 {
        begin -= 1;
        digits[begin] = b'0' + u8::try_from(number % 10).expect("a digit of a number from 0 on");
        number /= 10;
    }
    let begin = begin.min(digits.len() - width);
    text.extend(digits[begin..].iter().map(|&digit| char::from(digit)));
}

/// A day of the proleptic Gregorian calendar. Returns what stands behind it and the time: ` BC` for
/// years before 1.
fn write_day(days: i64, text: &mut String) -> &'static str {
    // Years of the algorithm start in March, so that the leap day ends one.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (year, suffix) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    write_digits(year, 4, text);
    text.push('-');
    write_digits(month, 2, text);
    text.push('-');
    write_digits(day, 2, text);
    suffix
}

fn uuid(bytes: &[u8]) -> String {
    match uuid::Uuid::from_slice(bytes) {
        Ok(uuid) => uuid.hyphenated().to_string(),
        Err(_) => self::bytes(bytes),
    }
}

/// `\x0aff`
fn bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing into memory cannot fail");
    }
    text
}
