//! One column of a batch.

use super::Misfit;
use crate::changes::text_of;
use crate::civil;
use crate::types::{Parsed, ReadRules, ZeroDates};
use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder, FixedSizeBinaryBuilder,
    PrimitiveBuilder, StringBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};
use mysql_async::Value;
use std::sync::Arc;
use syncset_connector::Column;

const NO_DATE: Misfit = Misfit {
    what: "a date that does not exist, such as 0000-00-00",
    hint: "mend the value; `zero_dates: null` in the connection reads it as NULL, `zero_dates: \
           text` reads columns of dates as text",
};
const NO_BOOLEAN: Misfit = Misfit {
    what: "a number other than 0 and 1",
    hint: "mend the value, or read columns of `tinyint(1)` as numbers with `tinyint1: integer` in \
           the connection",
};
const NO_TEXT: Misfit = Misfit {
    what: "bytes that are no text of its character set",
    hint: "mend the value, or exclude the column",
};
const STRANGE: Misfit = Misfit {
    what: "a value of another type",
    hint: "please report this with the server's version",
};

type Primitive<T> = PrimitiveBuilder<T>;

enum Builder {
    Boolean(BooleanBuilder),
    Int8(Primitive<Int8Type>),
    Int16(Primitive<Int16Type>),
    Int32(Primitive<Int32Type>),
    Int64(Primitive<Int64Type>),
    UInt8(Primitive<UInt8Type>),
    UInt16(Primitive<UInt16Type>),
    UInt32(Primitive<UInt32Type>),
    UInt64(Primitive<UInt64Type>),
    Float32(Primitive<Float32Type>),
    Float64(Primitive<Float64Type>),
    Decimal(Decimal128Builder, usize),
    WideDecimal(Decimal256Builder, usize),
    Text(StringBuilder),
    /// This many bits, as digits.
    Bits(StringBuilder, usize),
    /// A date, or a date and a time with this many digits, as text.
    DatedText(StringBuilder, Option<u32>),
    Binary(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Primitive<Date32Type>),
    Time(Primitive<Time64MicrosecondType>),
    Timestamp(Primitive<TimestampMicrosecondType>),
}

/// One column of a batch.
pub(super) struct ColumnBuilder {
    /// Its name, for messages.
    pub(super) name: String,
    /// Its native type, for messages.
    pub(super) native: String,
    builder: Builder,
    /// Whether dates that do not exist are NULL.
    zero_is_null: bool,
}

impl ColumnBuilder {
    /// `None` for an Arrow type that nothing is read as.
    pub(super) fn new(column: &Column, rules: ReadRules) -> Option<Self> {
        let parsed = Parsed::of(&column.native.name);
        let decimals = |scale: i8| usize::try_from(scale).ok();
        let data_type = &column.data_type;
        let builder = match data_type {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Builder::Int8(Primitive::new()),
            DataType::Int16 => Builder::Int16(Primitive::new()),
            DataType::Int32 => Builder::Int32(Primitive::new()),
            DataType::Int64 => Builder::Int64(Primitive::new()),
            DataType::UInt8 => Builder::UInt8(Primitive::new()),
            DataType::UInt16 => Builder::UInt16(Primitive::new()),
            DataType::UInt32 => Builder::UInt32(Primitive::new()),
            DataType::UInt64 => Builder::UInt64(Primitive::new()),
            DataType::Float32 => Builder::Float32(Primitive::new()),
            DataType::Float64 => Builder::Float64(Primitive::new()),
            DataType::Decimal128(_, scale) => Builder::Decimal(
                Decimal128Builder::new().with_data_type(data_type.clone()),
                decimals(*scale)?,
            ),
            DataType::Decimal256(_, scale) => Builder::WideDecimal(
                Decimal256Builder::new().with_data_type(data_type.clone()),
                decimals(*scale)?,
            ),
            DataType::Utf8 => match parsed.base.as_str() {
                "bit" => {
                    let bits = parsed.arguments.first().copied().unwrap_or(1);
                    Builder::Bits(StringBuilder::new(), usize::try_from(bits).ok()?)
                }
                "date" => Builder::DatedText(StringBuilder::new(), None),
                "datetime" | "timestamp" => {
                    Builder::DatedText(StringBuilder::new(), Some(parsed.second_digits()))
                }
                _ => Builder::Text(StringBuilder::new()),
            },
            DataType::Binary => Builder::Binary(BinaryBuilder::new()),
            DataType::FixedSizeBinary(16) => Builder::Uuid(FixedSizeBinaryBuilder::new(16)),
            DataType::Date32 => Builder::Date(Primitive::new()),
            DataType::Time64(TimeUnit::Microsecond) => Builder::Time(Primitive::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Builder::Timestamp(Primitive::new().with_data_type(data_type.clone()))
            }
            _ => return None,
        };
        Some(Self {
            name: column.name.clone(),
            native: column.native.name.clone(),
            builder,
            zero_is_null: rules.zero_dates == ZeroDates::Null,
        })
    }

    /// Appends a value. One that does not fit is refused, and NULL stands in its place.
    pub(super) fn append(&mut self, value: Value) -> Result<(), Misfit> {
        if value == Value::NULL {
            self.append_null();
            return Ok(());
        }
        let outcome = self.append_some(value);
        match outcome {
            Err(NO_DATE) if self.zero_is_null => {
                self.append_null();
                Ok(())
            }
            Err(misfit) => {
                self.append_null();
                Err(misfit)
            }
            Ok(()) => Ok(()),
        }
    }

    fn append_some(&mut self, value: Value) -> Result<(), Misfit> {
        match &mut self.builder {
            Builder::Boolean(builder) => match whole(&value).ok_or(STRANGE)? {
                0 => builder.append_value(false),
                1 => builder.append_value(true),
                _ => return Err(NO_BOOLEAN),
            },
            Builder::Int8(builder) => integer(builder, &value)?,
            Builder::Int16(builder) => integer(builder, &value)?,
            Builder::Int32(builder) => integer(builder, &value)?,
            Builder::Int64(builder) => integer(builder, &value)?,
            Builder::UInt8(builder) => integer(builder, &value)?,
            Builder::UInt16(builder) => integer(builder, &value)?,
            Builder::UInt32(builder) => integer(builder, &value)?,
            Builder::UInt64(builder) => integer(builder, &value)?,
            Builder::Float32(builder) => match value {
                Value::Float(value) => builder.append_value(value),
                // A float that went through an expression of the server.
                #[expect(clippy::cast_possible_truncation, reason = "checked to be exact")]
                Value::Double(value) if f64::from(value as f32).to_bits() == value.to_bits() => {
                    builder.append_value(value as f32);
                }
                _ => return Err(STRANGE),
            },
            Builder::Float64(builder) => match value {
                Value::Double(value) => builder.append_value(value),
                Value::Float(value) => builder.append_value(value.into()),
                _ => return Err(STRANGE),
            },
            Builder::Decimal(builder, scale) => {
                let digits = digits(&value, *scale).ok_or(STRANGE)?;
                builder.append_value(digits.parse().map_err(|_| STRANGE)?);
            }
            Builder::WideDecimal(builder, scale) => {
                let digits = digits(&value, *scale).ok_or(STRANGE)?;
                builder.append_value(i256::from_string(&digits).ok_or(STRANGE)?);
            }
            Builder::Text(builder) => match value {
                Value::Bytes(bytes) => {
                    builder.append_value(std::str::from_utf8(&bytes).map_err(|_| NO_TEXT)?);
                }
                _ => return Err(STRANGE),
            },
            Builder::Bits(builder, count) => {
                builder.append_value(bits(&value, *count).ok_or(STRANGE)?);
            }
            Builder::DatedText(builder, digits) => {
                builder.append_value(dated_text(&value, *digits).ok_or(STRANGE)?);
            }
            Builder::Binary(builder) => match value {
                Value::Bytes(bytes) => builder.append_value(bytes),
                _ => return Err(STRANGE),
            },
            Builder::Uuid(builder) => {
                let uuid = uuid(&value).ok_or(STRANGE)?;
                builder.append_value(uuid).map_err(|_| STRANGE)?;
            }
            Builder::Date(builder) => {
                let Value::Date(year, month, day, ..) = value else {
                    return Err(STRANGE);
                };
                builder.append_value(civil::days(year, month, day).ok_or(NO_DATE)?);
            }
            Builder::Time(builder) => builder.append_value(time(&value).ok_or(STRANGE)?),
            Builder::Timestamp(builder) => {
                let Value::Date(year, month, day, hour, minute, second, micros) = value else {
                    return Err(STRANGE);
                };
                let days = civil::days(year, month, day).ok_or(NO_DATE)?;
                builder.append_value(civil::micros(days, (hour, minute, second), micros));
            }
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match &mut self.builder {
            Builder::Boolean(builder) => builder.append_null(),
            Builder::Int8(builder) => builder.append_null(),
            Builder::Int16(builder) => builder.append_null(),
            Builder::Int32(builder) => builder.append_null(),
            Builder::Int64(builder) => builder.append_null(),
            Builder::UInt8(builder) => builder.append_null(),
            Builder::UInt16(builder) => builder.append_null(),
            Builder::UInt32(builder) => builder.append_null(),
            Builder::UInt64(builder) => builder.append_null(),
            Builder::Float32(builder) => builder.append_null(),
            Builder::Float64(builder) => builder.append_null(),
            Builder::Decimal(builder, _) => builder.append_null(),
            Builder::WideDecimal(builder, _) => builder.append_null(),
            Builder::Text(builder) | Builder::Bits(builder, _) | Builder::DatedText(builder, _) => {
                builder.append_null()
            }
            Builder::Binary(builder) => builder.append_null(),
            Builder::Uuid(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
            Builder::Time(builder) => builder.append_null(),
            Builder::Timestamp(builder) => builder.append_null(),
        }
    }

    /// The values so far; none are left.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.builder {
            Builder::Boolean(builder) => Arc::new(builder.finish()),
            Builder::Int8(builder) => Arc::new(builder.finish()),
            Builder::Int16(builder) => Arc::new(builder.finish()),
            Builder::Int32(builder) => Arc::new(builder.finish()),
            Builder::Int64(builder) => Arc::new(builder.finish()),
            Builder::UInt8(builder) => Arc::new(builder.finish()),
            Builder::UInt16(builder) => Arc::new(builder.finish()),
            Builder::UInt32(builder) => Arc::new(builder.finish()),
            Builder::UInt64(builder) => Arc::new(builder.finish()),
            Builder::Float32(builder) => Arc::new(builder.finish()),
            Builder::Float64(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder, _) => Arc::new(builder.finish()),
            Builder::WideDecimal(builder, _) => Arc::new(builder.finish()),
            Builder::Text(builder) | Builder::Bits(builder, _) | Builder::DatedText(builder, _) => {
                Arc::new(builder.finish())
            }
            Builder::Binary(builder) => Arc::new(builder.finish()),
            Builder::Uuid(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Time(builder) => Arc::new(builder.finish()),
            Builder::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }

    /// The last value, for a message that names a row by its key. All values are lost.
    pub(super) fn last_as_text(&mut self) -> String {
        let array = self.finish();
        let Some(last) = array.len().checked_sub(1) else {
            return "?".to_owned();
        };
        match text_of(&array, last) {
            Ok(Some(text)) => text,
            Ok(None) => "NULL".to_owned(),
            Err(_) => "?".to_owned(),
        }
    }
}

/// An integer of any width, or the bits of one.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value) => Some((*value).into()),
        Value::UInt(value) => Some((*value).into()),
        Value::Bytes(bytes) if bytes.len() <= 8 => Some(
            bytes
                .iter()
                .fold(0, |sum, byte| (sum << 8) | i128::from(*byte)),
        ),
        _ => None,
    }
}

fn integer<T>(builder: &mut Primitive<T>, value: &Value) -> Result<(), Misfit>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64> + TryFrom<u64>,
{
    let native = match value {
        Value::Int(value) => T::Native::try_from(*value).ok(),
        Value::UInt(value) => T::Native::try_from(*value).ok(),
        _ => None,
    };
    builder.append_value(native.ok_or(STRANGE)?);
    Ok(())
}

/// The digits of a decimal without its point, with all its decimals.
fn digits(value: &Value, scale: usize) -> Option<String> {
    let text = match value {
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_owned(),
        // A decimal that went through an expression may come as an integer.
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let missing = scale.checked_sub(fraction.len())?;
    Some(format!("{whole}{fraction}{}", "0".repeat(missing)))
}

fn bits(value: &Value, count: usize) -> Option<String> {
    let number = u64::try_from(whole(value)?).ok()?;
    let digits = format!("{number:0>width$b}", width = count);
    (digits.len() == count).then_some(digits)
}

fn dated_text(value: &Value, second_digits: Option<u32>) -> Option<String> {
    let Value::Date(year, month, day, hour, minute, second, micros) = value else {
        return None;
    };
    let date = format!("{year:04}-{month:02}-{day:02}");
    let Some(digits) = second_digits else {
        return Some(date);
    };
    let time = format!("{date} {hour:02}:{minute:02}:{second:02}");
    if digits == 0 {
        return Some(time);
    }
    let fraction = format!("{micros:06}");
    let kept = fraction.get(..usize::try_from(digits).ok()?)?;
    Some(format!("{time}.{kept}"))
}

fn time(value: &Value) -> Option<i64> {
    let Value::Time(is_negative, days, hours, minutes, seconds, micros) = value else {
        return None;
    };
    let hours = i64::from(*days) * 24 + i64::from(*hours);
    let seconds = (hours * 60 + i64::from(*minutes)) * 60 + i64::from(*seconds);
    let micros = seconds * 1_000_000 + i64::from(*micros);
    Some(if *is_negative { -micros } else { micros })
}

fn uuid(value: &Value) -> Option<[u8; 16]> {
    let Value::Bytes(bytes) = value else {
        return None;
    };
    if let Ok(raw) = <[u8; 16]>::try_from(bytes.as_slice()) {
        return Some(raw);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    Some(uuid::Uuid::try_parse(text).ok()?.into_bytes())
}
