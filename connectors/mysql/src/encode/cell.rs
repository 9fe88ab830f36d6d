//! One value as a literal.

use super::Spelling;
use super::document;
use super::form::{Form, TextForm};
use super::moment::{check_range, check_text, write_date, write_time, write_timestamp};
use super::number::Digits;
use super::uuid;
use super::values::Values;
use std::io::Write;
use syncset_connector::special;

type Outcome = Result<(), &'static str>;

const WRONG_TYPE: &str = "the column takes no values of this type";
const NO_NUMBER: &str = "it is no number";

/// Appends a value that is not NULL, or says why the column cannot hold it.
pub(super) fn write_cell(
    values: &Values<'_>,
    row: usize,
    form: &Form,
    spelling: Spelling,
    out: &mut Vec<u8>,
) -> Outcome {
    match form {
        Form::Integer { min, max } => {
            let value = integer(values, row)?;
            if value < *min || value > *max {
                return Err("it is out of range");
            }
            put(out, format_args!("{value}"));
            Ok(())
        }
        Form::Bits(count) => {
            put(out, format_args!("{}", bits(values, row, *count)?));
            Ok(())
        }
        Form::Decimal {
            precision,
            scale,
            unsigned,
        } => digits(values, row)?.write_decimal((*precision, *scale), *unsigned, out),
        Form::Float { single, unsigned } => float(values, row, (*single, *unsigned), out),
        Form::Text(text_form) => text(values, row, text_form, spelling, out),
        Form::Label(labels) => {
            let label = utf8(values, row)?;
            if !labels.iter().any(|known| known == label) {
                return Err("it is none of the column's labels");
            }
            quoted(label, spelling, out);
            Ok(())
        }
        Form::Labels(known) => {
            let labels = utf8(values, row)?;
            check_labels(labels, known)?;
            quoted(labels, spelling, out);
            Ok(())
        }
        Form::Json(flavour) => {
            let document = utf8(values, row)?;
            document::check(document, *flavour)?;
            quoted(document, spelling, out);
            Ok(())
        }
        Form::Uuid => {
            match values {
                Values::FixedBytes(array) if !uuid::keeps(array.value(row)) => {
                    return Err(uuid::NO_PLACE);
                }
                Values::FixedBytes(array) => quoted(&uuid_text(array.value(row))?, spelling, out),
                _ => quoted(utf8(values, row)?, spelling, out),
            }
            Ok(())
        }
        Form::Printed => {
            quoted(utf8(values, row)?, spelling, out);
            Ok(())
        }
        Form::Bytes { exactly, max } => {
            let bytes = bytes(values, row)?;
            let length = bytes.len() as u64;
            if exactly.is_some_and(|exactly| length != exactly) {
                return Err(
                    "it does not have the column's length, which would be filled with zeros",
                );
            }
            if length > *max {
                return Err("it is too long");
            }
            hexadecimal(bytes, spelling, out);
            Ok(())
        }
        Form::Geometry => {
            hexadecimal(bytes(values, row)?, spelling, out);
            Ok(())
        }
        Form::Year => {
            let year = integer(values, row)?;
            if year != 0 && !(1901..=2155).contains(&year) {
                return Err("it is outside of the years 1901 to 2155");
            }
            put(out, format_args!("{year}"));
            Ok(())
        }
        Form::Date | Form::DateTime { .. } | Form::Timestamp { .. } | Form::Time { .. } => {
            let quote: &[u8] = match spelling {
                Spelling::Statement => b"'",
                Spelling::Line => b"",
            };
            out.extend_from_slice(quote);
            moment(values, row, form, out)?;
            out.extend_from_slice(quote);
            Ok(())
        }
    }
}

fn integer(values: &Values<'_>, row: usize) -> Result<i128, &'static str> {
    match values {
        Values::Boolean(array) => Ok(i128::from(array.value(row))),
        Values::Int(array) => Ok(i128::from(array.value(row))),
        Values::UInt(array) => Ok(i128::from(array.value(row))),
        Values::Decimal128(..) | Values::Decimal256(..) | Values::Text(_) => digits(values, row)?
            .integer()
            .ok_or("it is no whole number, or out of range"),
        _ => Err(WRONG_TYPE),
    }
}

fn digits(values: &Values<'_>, row: usize) -> Result<Digits, &'static str> {
    let digits = match values {
        Values::Boolean(_) | Values::Int(_) | Values::UInt(_) => {
            Digits::scaled(&integer(values, row)?.to_string(), 0)
        }
        Values::Decimal128(array, scale) => {
            let value = array.value(row);
            if value == special::DECIMAL_NAN {
                return Err("it is NaN");
            }
            Digits::scaled(&value.to_string(), *scale)
        }
        Values::Decimal256(array, scale) => Digits::scaled(&array.value(row).to_string(), *scale),
        Values::Text(array) => Digits::parse(array.value(row)),
        _ => return Err(WRONG_TYPE),
    };
    digits.ok_or(NO_NUMBER)
}

/// Bits as the number they are.
fn bits(values: &Values<'_>, row: usize, count: u32) -> Result<u64, &'static str> {
    const TOO_MANY: &str = "it has too many bits";
    let value = match values {
        Values::Text(array) => {
            let text = array.value(row);
            let is_bits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0' | b'1'));
            if !is_bits {
                return Err("it is no text of bits");
            }
            u64::from_str_radix(text, 2).map_err(|_| TOO_MANY)?
        }
        _ => u64::try_from(integer(values, row)?).map_err(|_| TOO_MANY)?,
    };
    if count < 64 && value >> count != 0 {
        return Err(TOO_MANY);
    }
    Ok(value)
}

fn float(
    values: &Values<'_>,
    row: usize,
    (single, unsigned): (bool, bool),
    out: &mut Vec<u8>,
) -> Outcome {
    let value = match values {
        Values::Float32(array) => f64::from(array.value(row)),
        Values::Float64(array) => array.value(row),
        _ => return Err(WRONG_TYPE),
    };
    if !value.is_finite() {
        return Err("it is NaN or infinite");
    }
    if unsigned && value < 0.0 {
        return Err("it is below zero");
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whether it is exact is what is asked"
    )]
    let is_exact = !single || f64::from(value as f32).to_bits() == value.to_bits();
    if !is_exact {
        return Err("it needs 64 bits, and the column has 32");
    }
    // The exponent keeps the server from taking it for a decimal.
    put(out, format_args!("{value:e}"));
    Ok(())
}

fn text(
    values: &Values<'_>,
    row: usize,
    form: &TextForm,
    spelling: Spelling,
    out: &mut Vec<u8>,
) -> Outcome {
    match values {
        Values::FixedBytes(array) => checked(&uuid_text(array.value(row))?, form, spelling, out),
        Values::Decimal128(..) | Values::Decimal256(..) => {
            checked(&decimal_text(values, row)?, form, spelling, out)
        }
        _ => checked(utf8(values, row)?, form, spelling, out),
    }
}

/// A decimal with all the digits of its scale.
fn decimal_text(values: &Values<'_>, row: usize) -> Result<String, &'static str> {
    let (value, scale) = match values {
        Values::Decimal128(array, _) if array.value(row) == special::DECIMAL_NAN => {
            return Ok("NaN".to_owned());
        }
        Values::Decimal128(array, scale) => (array.value(row).to_string(), *scale),
        Values::Decimal256(array, scale) => (array.value(row).to_string(), *scale),
        _ => return Err(WRONG_TYPE),
    };
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", value.as_str()),
    };
    let Ok(scale) = usize::try_from(scale) else {
        let zeros = usize::from(scale.unsigned_abs());
        return Ok(format!("{sign}{digits}{}", "0".repeat(zeros)));
    };
    if scale == 0 {
        return Ok(value);
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    Ok(format!("{sign}{whole}.{fraction}"))
}

fn checked(value: &str, form: &TextForm, spelling: Spelling, out: &mut Vec<u8>) -> Outcome {
    let (mut chars, mut bytes) = (0_u64, 0_u64);
    for character in value.chars() {
        let length = form.charset.bytes(character);
        bytes += length.ok_or("it has a character that the column's character set lacks")?;
        chars += 1;
    }
    if form.chars_max.is_some_and(|max| chars > max) || bytes > form.bytes_max {
        return Err("it is too long");
    }
    if form.drops_blanks && value.ends_with(' ') {
        return Err("it ends in a blank, which a CHAR column drops");
    }
    quoted(value, spelling, out);
    Ok(())
}

fn check_labels(labels: &str, known: &[String]) -> Outcome {
    if labels.is_empty() {
        return Ok(());
    }
    let mut rest = known.iter();
    for label in labels.split(',') {
        if !rest.any(|known| known == label) {
            return Err("it has a label that the column lacks, or labels in another order");
        }
    }
    Ok(())
}

fn moment(values: &Values<'_>, row: usize, form: &Form, out: &mut Vec<u8>) -> Outcome {
    match (form, values) {
        (Form::Date, Values::Date(array)) => write_date(array.value(row), out),
        (Form::DateTime { digits }, Values::Timestamp(array)) => {
            write_timestamp(array.value(row), *digits, out)
        }
        (Form::Timestamp { digits, max }, Values::Timestamp(array)) => {
            check_range(array.value(row), *max)?;
            write_timestamp(array.value(row), *digits, out)
        }
        (Form::Time { digits, max }, Values::Time(array)) => {
            write_time(array.value(row), (*digits, *max), out)
        }
        (Form::Date, Values::Text(array)) => {
            check_text(array.value(row), None)?;
            out.extend_from_slice(array.value(row).as_bytes());
            Ok(())
        }
        (Form::DateTime { digits } | Form::Timestamp { digits, .. }, Values::Text(array)) => {
            check_text(array.value(row), Some(*digits))?;
            out.extend_from_slice(array.value(row).as_bytes());
            Ok(())
        }
        _ => Err(WRONG_TYPE),
    }
}

fn utf8<'v>(values: &'v Values<'_>, row: usize) -> Result<&'v str, &'static str> {
    match values {
        Values::Text(array) => Ok(array.value(row)),
        _ => Err(WRONG_TYPE),
    }
}

fn bytes<'v>(values: &'v Values<'_>, row: usize) -> Result<&'v [u8], &'static str> {
    match values {
        Values::Bytes(array) => Ok(array.value(row)),
        Values::FixedBytes(array) => Ok(array.value(row)),
        _ => Err(WRONG_TYPE),
    }
}

fn uuid_text(bytes: &[u8]) -> Result<String, &'static str> {
    let uuid = ::uuid::Uuid::from_slice(bytes).map_err(|_| "it is no UUID")?;
    Ok(uuid.hyphenated().to_string())
}

/// A text between quotes, or as a field of a line.
fn quoted(value: &str, spelling: Spelling, out: &mut Vec<u8>) {
    let special: &[char] = match spelling {
        Spelling::Statement => &['\'', '\\', '\0'],
        Spelling::Line => &['\t', '\n', '\\', '\0'],
    };
    if spelling == Spelling::Statement {
        out.push(b'\'');
    }
    let mut rest = value;
    while let Some(place) = rest.find(special) {
        out.extend_from_slice(&rest.as_bytes()[..place]);
        let byte = rest.as_bytes()[place];
        out.push(b'\\');
        out.push(if byte == 0 { b'0' } else { byte });
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    if spelling == Spelling::Statement {
        out.push(b'\'');
    }
}

fn hexadecimal(bytes: &[u8], spelling: Spelling, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if spelling == Spelling::Statement {
        out.extend_from_slice(b"X'");
    }
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    if spelling == Spelling::Statement {
        out.push(b'\'');
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing into memory cannot fail");
}
