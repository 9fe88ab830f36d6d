//! The canonical form of a value: bytes that are equal exactly where the source's value and the
//! target's are the same value, whatever types the two stores keep it in.
//!
//! Where both columns have the same type of the same engine, a value is compared as it is. Between
//! types, only what the mapping of types is known to change is evened out:
//! - numbers: zeros at the end of the decimals, a boolean is 1 or 0;
//! - floats: the sign of zero; as 32 bits if one side has no more;
//! - times: in UTC, whatever zone they are shown in, also where they are kept as texts;
//! - addresses: a host without the length of its network;
//! - texts: blanks at the end of a CHAR;
//! - JSON: the order of keys, blanks, how numbers are spelled.

use super::rows::hex;
use crate::fit;
use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;
use syncset_connector::{Column, NativeType, TargetColumn, ValueForm};

/// How the values of a column are brought to one form on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Same,
    /// Whole and decimal numbers.
    Number,
    /// Floats of 64 bits.
    Double,
    /// Floats of 32 bits.
    Single,
    /// Timestamps with and without a zone.
    Moment,
    /// Times of day and spans of time, which may be texts.
    Span,
    /// Addresses of hosts and networks, as texts.
    Network,
    /// Texts.
    Text,
    /// Texts whose blanks at the end mean nothing.
    Padded,
    /// JSON.
    Json,
    /// Bytes and UUIDs.
    Bytes,
    /// By their text forms.
    Printed,
}

/// What a column holds, as far as it decides about the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Number,
    Double,
    Single,
    Moment,
    Span,
    Text,
    Bytes,
    Uuid,
    Other,
}

impl Form {
    /// The form for a column as it is sent and as the target has it.
    pub(super) fn of(sent: &TargetColumn, stored: &Column) -> Self {
        if let Some(native) = &sent.native
            && (&native.engine, &native.name, native.as_text)
                == (
                    &stored.native.engine,
                    &stored.native.name,
                    stored.native.as_text,
                )
            && sent.data_type == stored.data_type
            // MySQL spells numbers anew whenever it stores a document.
            && !(native.engine == "mysql" && base(native) == "json")
        {
            return Self::Same;
        }
        let there = Class::of(&stored.data_type, Some(&stored.native));
        match (Class::of(&sent.data_type, sent.native.as_ref()), there) {
            (Class::Number, Class::Number | Class::Text) | (Class::Text, Class::Number) => {
                Self::Number
            }
            (Class::Single, Class::Single | Class::Double | Class::Number)
            | (Class::Double | Class::Number, Class::Single) => Self::Single,
            (Class::Double, Class::Double | Class::Number) | (Class::Number, Class::Double) => {
                Self::Double
            }
            (Class::Moment, Class::Moment) => Self::Moment,
            (Class::Span, Class::Span | Class::Text) | (Class::Text, Class::Span) => Self::Span,
            (Class::Text, Class::Text) => texts(sent.native.as_ref(), &stored.native),
            (Class::Bytes | Class::Uuid, Class::Bytes) | (Class::Bytes, Class::Uuid) => Self::Bytes,
            _ => Self::Printed,
        }
    }

    /// The form as servers write it; `None` if they do not write it alike. `stored`: the type that
    /// the target keeps.
    pub(super) fn by_servers(self, stored: &DataType) -> Option<ValueForm> {
        Some(match (self, stored) {
            (Self::Number, _) => ValueForm::Number,
            (Self::Moment, _) => ValueForm::Moment,
            (Self::Text, _) => ValueForm::Text,
            (Self::Padded, _) => ValueForm::Padded,
            (Self::Bytes, _) => ValueForm::Bytes,
            (Self::Printed, DataType::Date32 | DataType::Utf8 | DataType::FixedSizeBinary(16)) => {
                ValueForm::Printed
            }
            (Self::Same, DataType::Timestamp(..)) => ValueForm::Moment,
            (Self::Same, DataType::Date32 | DataType::FixedSizeBinary(16)) => ValueForm::Printed,
            (Self::Same, DataType::Binary) => ValueForm::Bytes,
            (Self::Same, DataType::Utf8) => ValueForm::Text,
            (Self::Same, other) if Class::of(other, None) == Class::Number => ValueForm::Number,
            _ => return None,
        })
    }

    /// Whether values of these columns can be equal at all.
    pub(super) fn compares(sent: &TargetColumn, stored: &Column) -> bool {
        let is_open = |class| matches!(class, Class::Text | Class::Other);
        let (here, there) = (
            Class::of(&sent.data_type, sent.native.as_ref()),
            Class::of(&stored.data_type, Some(&stored.native)),
        );
        Self::of(sent, stored) != Self::Printed || here == there || is_open(here) || is_open(there)
    }

    /// The canonical bytes of each value.
    ///
    /// # Errors
    /// If a value has no such form, such as a text where a number is expected.
    pub(super) fn apply(self, array: &ArrayRef) -> Result<BinaryArray, ArrowError> {
        match self {
            Self::Same if is_bytes(array.data_type()) || is_text(array.data_type()) => plain(array),
            Self::Same | Self::Printed => plain(&fit::text_forms(array)?),
            Self::Number => {
                let texts = match array.data_type() {
                    DataType::Boolean => cast(&cast(array, &DataType::Int8)?, &DataType::Utf8)?,
                    DataType::Utf8 => array.clone(),
                    _ => fit::text_forms(array)?,
                };
                Ok(mapped(&texts, plain_number))
            }
            Self::Double => {
                let values = cast(array, &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>().iter();
                Ok(values.map(|it| it.map(float)).collect())
            }
            Self::Single => {
                let values = cast(array, &DataType::Float32)?;
                let values = values.as_primitive::<Float32Type>().iter();
                Ok(values.map(|it| it.map(|it| float(f64::from(it)))).collect())
            }
            Self::Moment => {
                let micros = match array.data_type() {
                    DataType::Timestamp(TimeUnit::Microsecond, _) => array.clone(),
                    DataType::Timestamp(_, zone) => {
                        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                        cast(array, &micros)?
                    }
                    other => {
                        let message = format!("{other} is no timestamp");
                        return Err(ArrowError::CastError(message));
                    }
                };
                let local = DataType::Timestamp(TimeUnit::Microsecond, None);
                plain(&fit::text_forms(&cast(&micros, &local)?)?)
            }
            Self::Span => {
                let texts = match array.data_type() {
                    DataType::Time64(_) => {
                        let micros = cast(array, &DataType::Time64(TimeUnit::Microsecond))?;
                        cast(&cast(&micros, &DataType::Int64)?, &DataType::Utf8)?
                    }
                    _ => cast(array, &DataType::Utf8)?,
                };
                Ok(mapped(&texts, plain_span))
            }
            Self::Network => {
                let texts = cast(array, &DataType::Utf8)?;
                Ok(mapped(&texts, plain_network))
            }
            Self::Text => plain(array),
            Self::Bytes => Ok(in_hex(&plain(array)?)),
            Self::Padded => {
                let texts = cast(array, &DataType::Utf8)?;
                Ok(mapped(&texts, |text| text.trim_end_matches(' ').into()))
            }
            Self::Json => {
                let texts = cast(array, &DataType::Utf8)?;
                Ok(mapped(&texts, plain_json))
            }
        }
    }
}

impl Class {
    fn of(data_type: &DataType, native: Option<&NativeType>) -> Self {
        match data_type {
            DataType::Boolean | DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Number,
            data_type if data_type.is_integer() => Self::Number,
            DataType::Float64 => Self::Double,
            DataType::Float32 => Self::Single,
            DataType::Timestamp(..) => Self::Moment,
            DataType::Time64(_) => Self::Span,
            DataType::FixedSizeBinary(16) => Self::Uuid,
            data_type if is_bytes(data_type) => Self::Bytes,
            data_type if is_text(data_type) => match native {
                Some(native) if base(native) == "numeric" => Self::Number,
                _ => Self::Text,
            },
            _ => Self::Other,
        }
    }
}

fn texts(sent: Option<&NativeType>, stored: &NativeType) -> Form {
    let is_json = |native: &NativeType| matches!(base(native), "json" | "jsonb");
    let is_network = |native: &NativeType| matches!(base(native), "inet" | "inet4" | "inet6");
    let is_padded = |native: &NativeType| matches!(base(native), "char" | "character" | "bpchar");
    let either = |is: &dyn Fn(&NativeType) -> bool| sent.is_some_and(is) || is(stored);
    if either(&is_json) {
        Form::Json
    } else if either(&is_network) {
        Form::Network
    } else if either(&is_padded) {
        Form::Padded
    } else {
        Form::Text
    }
}

/// A type without its arguments: `character` of `character(5)`, but not of `character varying`.
fn base(native: &NativeType) -> &str {
    let name = native.name.as_str();
    let end = name.find(['(', ' ']).unwrap_or(name.len());
    match &name[end..] {
        rest if rest.trim_start().starts_with("varying") => name,
        _ => &name[..end],
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// The bytes of texts and bytes.
fn plain(array: &ArrayRef) -> Result<BinaryArray, ArrowError> {
    Ok(cast(array, &DataType::Binary)?.as_binary::<i32>().clone())
}

/// Bytes as hexadecimal digits.
fn in_hex(values: &BinaryArray) -> BinaryArray {
    values.iter().map(|bytes| bytes.map(hex)).collect()
}

/// Another text for each text.
fn mapped(texts: &ArrayRef, change: impl Fn(&str) -> Cow<'_, str>) -> BinaryArray {
    let texts = texts.as_string::<i32>();
    let mut changed = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        changed.append_option(text.map(|text| change(text).into_owned()));
    }
    changed.finish()
}

/// A number without zeros at the end of its decimals; anything else as it is.
fn plain_number(text: &str) -> Cow<'_, str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_decimal = digits.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let Some((whole, decimals)) = digits.split_once('.').filter(|_| is_decimal) else {
        return match text {
            "-0" => "0".into(),
            _ => text.into(),
        };
    };
    let decimals = decimals.trim_end_matches('0');
    let sign = &text[..text.len() - digits.len()];
    match decimals {
        "" if whole == "0" => "0".into(),
        "" => format!("{sign}{whole}").into(),
        _ => format!("{sign}{whole}.{decimals}").into(),
    }
}

/// `-838:59:59.5` in microseconds; anything else as it is.
fn plain_span(text: &str) -> Cow<'_, str> {
    span_micros(text).map_or(text.into(), |micros| micros.to_string().into())
}

fn span_micros(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (clock, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || fraction.len() > 6 {
        return None;
    }
    let micros: u32 = match fraction {
        "" => 0,
        _ => format!("{fraction:0<6}").parse().ok()?,
    };
    let seconds = (i64::from(hours) * 60 + i64::from(minutes)) * 60 + i64::from(seconds);
    let micros = seconds * 1_000_000 + i64::from(micros);
    Some(if digits == text { micros } else { -micros })
}

/// An address spelled one way, a host without the length of its network; anything else as it is.
fn plain_network(text: &str) -> Cow<'_, str> {
    let (host, length) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = host.parse::<IpAddr>() else {
        return text.into();
    };
    let whole = match address {
        IpAddr::V4(_) => "32",
        IpAddr::V6(_) => "128",
    };
    match length == whole || length.is_empty() {
        true => address.to_string().into(),
        false => format!("{address}/{length}").into(),
    }
}

fn float(value: f64) -> String {
    // Not every store keeps the sign of zero.
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value == 0.0 => "0".to_owned(),
        _ => format!("{value:?}"),
    }
}

/// JSON with its keys sorted and its numbers spelled one way; what is no JSON as it is.
fn plain_json(text: &str) -> Cow<'_, str> {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return text.into();
    };
    let mut plain = String::with_capacity(text.len());
    write_json(&value, &mut plain);
    plain.into()
}

fn write_json(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) => {
            let spelled = match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), ..) => number.to_string(),
                (_, Some(number), _) => number.to_string(),
                // The same whether its point is written or not.
                (_, _, Some(number)) => {
                    let digits = float(number);
                    digits.strip_suffix(".0").unwrap_or(&digits).to_owned()
                }
                _ => number.to_string(),
            };
            text.push_str(&spelled);
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write_json(value, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in members {
                write!(text, "{}:", Value::String(name.clone()))
                    .expect("writing into memory cannot fail");
                write_json(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {
            write!(text, "{value}").expect("writing into memory cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
        Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    };
    use std::sync::Arc;

    fn bytes(form: Form, array: impl Array + 'static) -> Vec<Option<String>> {
        let array: ArrayRef = Arc::new(array);
        let applied = form.apply(&array).expect("it has the form");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        applied.iter().map(|bytes| bytes.map(text)).collect()
    }

    fn texts_of<const N: usize>(values: [&str; N]) -> Vec<Option<String>> {
        values.map(|value| Some(value.to_owned())).into()
    }

    #[test]
    fn numbers_of_all_types_have_one_form() {
        let decimals = Decimal128Array::from(vec![100, -50, 0])
            .with_precision_and_scale(12, 2)
            .expect("it fits");

        assert_eq!(bytes(Form::Number, decimals), texts_of(["1", "-0.5", "0"]));
        assert_eq!(
            bytes(Form::Number, Int64Array::from(vec![1, -10])),
            texts_of(["1", "-10"])
        );
        assert_eq!(
            bytes(Form::Number, BooleanArray::from(vec![true, false])),
            texts_of(["1", "0"])
        );
        let spelled = StringArray::from(vec!["1.0", "-0.500", "100", "-0.00", "NaN", "1.x0"]);
        assert_eq!(
            bytes(Form::Number, spelled),
            texts_of(["1", "-0.5", "100", "0", "NaN", "1.x0"])
        );
    }

    #[test]
    fn floats_are_compared_at_the_narrower_width() {
        let wide = Float64Array::from(vec![0.1, -0.0, f64::NAN]);
        let narrow = Float32Array::from(vec![0.1, 0.0, f32::NAN]);

        assert_eq!(
            bytes(Form::Single, wide.clone()),
            bytes(Form::Single, narrow.clone())
        );
        assert_ne!(bytes(Form::Double, wide), bytes(Form::Double, narrow));
    }

    #[test]
    fn times_kept_as_texts_are_compared_as_times() {
        let times = Time64MicrosecondArray::from(vec![3_600_000_000 * 26 + 500_000, -1_000_000]);
        let spelled = StringArray::from(vec!["26:00:00.500000", "-00:00:01"]);

        assert_eq!(bytes(Form::Span, times), bytes(Form::Span, spelled));
        let others = StringArray::from(vec!["1 day", "12:00", "1:2:3:4", "1:2:3.1234567"]);
        let same = texts_of(["1 day", "12:00", "1:2:3:4", "1:2:3.1234567"]);
        assert_eq!(bytes(Form::Span, others), same);
    }

    #[test]
    fn hosts_are_compared_without_their_networks() {
        let spelled = StringArray::from(vec!["10.0.0.1/32", "::1/128", "10.0.0.0/8", "0::1"]);

        let plain = texts_of(["10.0.0.1", "::1", "10.0.0.0/8", "::1"]);
        assert_eq!(bytes(Form::Network, spelled), plain);
    }

    #[test]
    fn json_is_compared_by_what_it_means() {
        let spelled = StringArray::from(vec![
            r#"{"b": [1, 2.0], "a": "x"}"#,
            r#"{"a":"x","b":[1.0,2]}"#,
            r#"{"a":"x","b":[2,1]}"#,
        ]);

        let forms = bytes(Form::Json, spelled);

        assert_eq!(forms[0], forms[1]);
        assert_ne!(forms[0], forms[2]);
    }

    #[test]
    fn moments_are_told_in_utc_and_bytes_in_digits() {
        let moments = TimestampMicrosecondArray::from(vec![1_500_000, -1]);
        let zoned = moments.clone().with_timezone("+02:00");

        let expected = texts_of(["1970-01-01 00:00:01.5", "1969-12-31 23:59:59.999999"]);
        assert_eq!(bytes(Form::Moment, moments), expected);
        assert_eq!(bytes(Form::Moment, zoned), expected);
        let binary = BinaryArray::from_vec(vec![b"\x00\xff", b""]);
        assert_eq!(bytes(Form::Bytes, binary), texts_of(["00ff", ""]));
    }

    #[test]
    fn null_is_no_value_in_any_form() {
        for form in [
            Form::Same,
            Form::Number,
            Form::Double,
            Form::Single,
            Form::Text,
            Form::Padded,
            Form::Json,
            Form::Printed,
        ] {
            let nothing = match form {
                Form::Double | Form::Single => bytes(form, Float64Array::from(vec![None])),
                _ => bytes(form, StringArray::from(vec![None::<&str>])),
            };
            assert_eq!(nothing, [None], "{form:?}");
        }
        let nothing = bytes(Form::Moment, TimestampMicrosecondArray::from(vec![None]));
        assert_eq!(nothing, [None]);
    }

    #[test]
    fn form_depends_on_both_types() {
        let native = |engine: &str, name: &str, as_text: bool| NativeType {
            engine: engine.into(),
            name: name.into(),
            as_text,
            definition: None,
        };
        let column = |data_type: DataType, native: NativeType| Column {
            name: "c".into(),
            data_type,
            native,
            nullable: true,
            default: None,
            generated: None,
            stable_id: None,
            readable: true,
        };
        let uuid = DataType::FixedSizeBinary(16);
        let form = |sent: (DataType, NativeType), stored: (DataType, NativeType)| {
            let sent = TargetColumn::of(&column(sent.0, sent.1), "c");
            Form::of(&sent, &column(stored.0, stored.1))
        };
        let pg = |name: &str| native("postgres", name, false);
        let my = |name: &str| native("mysql", name, false);
        let cases = [
            (
                (DataType::Utf8, pg("numeric")),
                (DataType::Utf8, pg("numeric")),
                Form::Same,
            ),
            (
                (DataType::Utf8, pg("numeric")),
                (DataType::Decimal128(12, 2), pg("numeric(12,2)")),
                Form::Number,
            ),
            (
                (DataType::Utf8, pg("character(5)")),
                (DataType::Utf8, my("char(5) collate utf8mb4_bin")),
                Form::Padded,
            ),
            (
                (DataType::Utf8, pg("character varying(5)")),
                (DataType::Utf8, my("varchar(5)")),
                Form::Text,
            ),
            (
                (DataType::Utf8, pg("jsonb")),
                (DataType::Utf8, my("json")),
                Form::Json,
            ),
            (
                (uuid.clone(), pg("uuid")),
                (DataType::Utf8, my("char(36)")),
                Form::Printed,
            ),
            (
                (DataType::Boolean, pg("boolean")),
                (DataType::Boolean, my("tinyint(1)")),
                Form::Number,
            ),
            (
                (DataType::Float64, pg("double precision")),
                (DataType::Float32, my("float")),
                Form::Single,
            ),
        ];
        for (sent, stored, expected) in cases {
            let shown = format!("{} -> {}", sent.1.name, stored.1.name);
            assert_eq!(form(sent, stored), expected, "{shown}");
        }
    }

    #[test]
    fn uuids_print_as_texts_do() {
        let uuid = FixedSizeBinaryArray::try_from_iter([[7_u8; 16]].into_iter()).expect("one");
        let text = StringArray::from(vec!["07070707-0707-0707-0707-070707070707"]);

        assert_eq!(bytes(Form::Printed, uuid), bytes(Form::Printed, text));
    }
}
