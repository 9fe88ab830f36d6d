//! One column of one batch, bound to its wire form.

use super::numeric;
use super::{CellError, Wire};
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, LargeBinaryArray, LargeStringArray,
    PrimitiveArray, StringArray, StringViewArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::special;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// `jsonb`'s only version.
const JSONB_VERSION: u8 = 1;

const OUT_OF_RANGE: CellError = CellError("a number is out of range for its type");

/// An integer array of any width.
pub(super) enum Integers<'a> {
    I8(&'a PrimitiveArray<t::Int8Type>),
    I16(&'a PrimitiveArray<t::Int16Type>),
    I32(&'a PrimitiveArray<t::Int32Type>),
    I64(&'a PrimitiveArray<t::Int64Type>),
    U8(&'a PrimitiveArray<t::UInt8Type>),
    U16(&'a PrimitiveArray<t::UInt16Type>),
    U32(&'a PrimitiveArray<t::UInt32Type>),
    U64(&'a PrimitiveArray<t::UInt64Type>),
}

impl<'a> Integers<'a> {
    fn bind(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Int8 => Self::I8(array.as_primitive()),
            DataType::Int16 => Self::I16(array.as_primitive()),
            DataType::Int32 => Self::I32(array.as_primitive()),
            DataType::Int64 => Self::I64(array.as_primitive()),
            DataType::UInt8 => Self::U8(array.as_primitive()),
            DataType::UInt16 => Self::U16(array.as_primitive()),
            DataType::UInt32 => Self::U32(array.as_primitive()),
            DataType::UInt64 => Self::U64(array.as_primitive()),
            _ => return None,
        })
    }

    fn value(&self, row: usize) -> i128 {
        match self {
            Self::I8(array) => array.value(row).into(),
            Self::I16(array) => array.value(row).into(),
            Self::I32(array) => array.value(row).into(),
            Self::I64(array) => array.value(row).into(),
            Self::U8(array) => array.value(row).into(),
            Self::U16(array) => array.value(row).into(),
            Self::U32(array) => array.value(row).into(),
            Self::U64(array) => array.value(row).into(),
        }
    }
}

/// A text array of any layout.
pub(super) enum Texts<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    fn bind(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Small(array.as_string()),
            DataType::LargeUtf8 => Self::Large(array.as_string()),
            DataType::Utf8View => Self::View(array.as_string_view()),
            _ => return None,
        })
    }

    fn value(&self, row: usize) -> &'a str {
        match self {
            Self::Small(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
        }
    }
}

/// A column of bytes of any layout.
pub(super) enum Blobs<'a> {
    Small(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
}

impl<'a> Blobs<'a> {
    fn bind(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Binary => Self::Small(array.as_binary()),
            DataType::LargeBinary => Self::Large(array.as_binary()),
            DataType::BinaryView => Self::View(array.as_binary_view()),
            DataType::FixedSizeBinary(_) => Self::Fixed(array.as_fixed_size_binary()),
            _ => return None,
        })
    }

    fn value(&self, row: usize) -> &'a [u8] {
        match self {
            Self::Small(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
            Self::Fixed(array) => array.value(row),
        }
    }
}

/// Whole numbers with a unit: timestamps and times.
pub(super) struct Ticks<'a> {
    values: TickValues<'a>,
    unit: TimeUnit,
}

enum TickValues<'a> {
    Long(&'a [i64]),
    Short(&'a [i32]),
}

impl<'a> Ticks<'a> {
    fn timestamps(array: &'a dyn Array) -> Option<Self> {
        let DataType::Timestamp(unit, _) = array.data_type() else {
            return None;
        };
        let values: &[i64] = match unit {
            TimeUnit::Second => array.as_primitive::<t::TimestampSecondType>().values(),
            TimeUnit::Millisecond => array.as_primitive::<t::TimestampMillisecondType>().values(),
            TimeUnit::Microsecond => array.as_primitive::<t::TimestampMicrosecondType>().values(),
            TimeUnit::Nanosecond => array.as_primitive::<t::TimestampNanosecondType>().values(),
        };
        Some(Self {
            values: TickValues::Long(values),
            unit: *unit,
        })
    }

    fn times(array: &'a dyn Array) -> Option<Self> {
        let (values, unit) = match array.data_type() {
            DataType::Time32(TimeUnit::Second) => (
                TickValues::Short(array.as_primitive::<t::Time32SecondType>().values()),
                TimeUnit::Second,
            ),
            DataType::Time32(TimeUnit::Millisecond) => (
                TickValues::Short(array.as_primitive::<t::Time32MillisecondType>().values()),
                TimeUnit::Millisecond,
            ),
            DataType::Time64(TimeUnit::Microsecond) => (
                TickValues::Long(array.as_primitive::<t::Time64MicrosecondType>().values()),
                TimeUnit::Microsecond,
            ),
            DataType::Time64(TimeUnit::Nanosecond) => (
                TickValues::Long(array.as_primitive::<t::Time64NanosecondType>().values()),
                TimeUnit::Nanosecond,
            ),
            _ => return None,
        };
        Some(Self { values, unit })
    }

    fn micros(&self, row: usize) -> Result<i64, CellError> {
        const TOO_FINE: CellError = CellError("a time is finer than a microsecond");
        const TOO_FAR: CellError = CellError("a time is out of range");
        let value = match self.values {
            TickValues::Long(values) => values[row],
            TickValues::Short(values) => values[row].into(),
        };
        match self.unit {
            TimeUnit::Second => value.checked_mul(1_000_000).ok_or(TOO_FAR),
            TimeUnit::Millisecond => value.checked_mul(1_000).ok_or(TOO_FAR),
            TimeUnit::Microsecond => Ok(value),
            TimeUnit::Nanosecond if value % 1_000 == 0 => Ok(value / 1_000),
            TimeUnit::Nanosecond => Err(TOO_FINE),
        }
    }
}

/// A column of a batch with its wire form.
pub(super) struct Cell<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

/// The values of a column, by what they become.
enum Values<'a> {
    AllNull,
    Bool(&'a BooleanArray),
    Int2(Integers<'a>),
    Int4(Integers<'a>),
    Int8(Integers<'a>),
    Oid(Integers<'a>),
    Float4(&'a Float32Array),
    Float8(&'a Float64Array),
    Float4As8(&'a Float32Array),
    IntegerNumeric(Integers<'a>),
    Decimal(&'a Decimal128Array, i8),
    WideDecimal(&'a Decimal256Array),
    TextNumeric(Texts<'a>),
    Text(Texts<'a>),
    Jsonb(Texts<'a>),
    Bytea(Blobs<'a>),
    Uuid(&'a FixedSizeBinaryArray),
    TextUuid(Texts<'a>),
    Date(&'a PrimitiveArray<t::Date32Type>),
    Timestamp(Ticks<'a>),
    Time(Ticks<'a>),
    Interval(Ticks<'a>),
}

impl<'a> Values<'a> {
    fn bind(array: &'a dyn Array, wire: Wire) -> Option<Self> {
        let data_type = array.data_type();
        if *data_type == DataType::Null {
            return Some(Self::AllNull);
        }
        Some(match (wire, data_type) {
            (Wire::Bool, DataType::Boolean) => Self::Bool(array.as_boolean()),
            (Wire::Int2, _) => Self::Int2(Integers::bind(array)?),
            (Wire::Int4, _) => Self::Int4(Integers::bind(array)?),
            (Wire::Int8, _) => Self::Int8(Integers::bind(array)?),
            (Wire::Oid, _) => Self::Oid(Integers::bind(array)?),
            (Wire::Float4, DataType::Float32) => Self::Float4(array.as_primitive()),
            (Wire::Float8, DataType::Float64) => Self::Float8(array.as_primitive()),
            (Wire::Float8, DataType::Float32) => Self::Float4As8(array.as_primitive()),
            (Wire::Numeric, DataType::Decimal128(_, scale)) => {
                Self::Decimal(array.as_primitive(), *scale)
            }
            (Wire::Numeric, DataType::Decimal256(..)) => Self::WideDecimal(array.as_primitive()),
            (Wire::Numeric, _) => match Integers::bind(array) {
                Some(integers) => Self::IntegerNumeric(integers),
                None => Self::TextNumeric(Texts::bind(array)?),
            },
            (Wire::Text, _) => Self::Text(Texts::bind(array)?),
            (Wire::Jsonb, _) => Self::Jsonb(Texts::bind(array)?),
            (Wire::Bytea, _) => Self::Bytea(Blobs::bind(array)?),
            (Wire::Uuid, DataType::FixedSizeBinary(16)) => Self::Uuid(array.as_fixed_size_binary()),
            (Wire::Uuid, _) => Self::TextUuid(Texts::bind(array)?),
            (Wire::Date, DataType::Date32) => Self::Date(array.as_primitive()),
            (Wire::Timestamp, _) => Self::Timestamp(Ticks::timestamps(array)?),
            (Wire::Time, _) => Self::Time(Ticks::times(array)?),
            (Wire::Interval, _) => Self::Interval(Ticks::times(array)?),
            _ => return None,
        })
    }
}

impl<'a> Cell<'a> {
    /// `None`: this Arrow type has no such wire form.
    pub(super) fn bind(array: &'a dyn Array, wire: Wire) -> Option<Self> {
        Some(Self {
            nulls: array.nulls(),
            values: Values::bind(array, wire)?,
        })
    }

    /// Writes length and value of one row.
    #[inline]
    pub(super) fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<(), CellError> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            put_null(out);
            return Ok(());
        }
        match &self.values {
            Values::AllNull => put_null(out),
            Values::Bool(array) => put_fixed(&[u8::from(array.value(row))], out),
            Values::Int2(integers) => {
                put_fixed(&integer::<i16>(integers.value(row))?.to_be_bytes(), out);
            }
            Values::Int4(integers) => {
                put_fixed(&integer::<i32>(integers.value(row))?.to_be_bytes(), out);
            }
            Values::Int8(integers) => {
                put_fixed(&integer::<i64>(integers.value(row))?.to_be_bytes(), out);
            }
            Values::Oid(integers) => {
                put_fixed(&integer::<u32>(integers.value(row))?.to_be_bytes(), out);
            }
            Values::Float4(array) => put_fixed(&array.value(row).to_be_bytes(), out),
            Values::Float8(array) => put_fixed(&array.value(row).to_be_bytes(), out),
            Values::Float4As8(array) => put_fixed(&f64::from(array.value(row)).to_be_bytes(), out),
            Values::IntegerNumeric(integers) => numeric::put_decimal(integers.value(row), 0, out)?,
            Values::Decimal(array, scale) => match array.value(row) {
                special::DECIMAL_NAN => numeric::put_nan(out),
                value => numeric::put_decimal(value, *scale, out)?,
            },
            Values::WideDecimal(array) => numeric::put_text(&array.value_as_string(row), out)?,
            Values::TextNumeric(texts) => numeric::put_text(texts.value(row), out)?,
            Values::Text(texts) => put_bytes(&[], texts.value(row).as_bytes(), out)?,
            Values::Jsonb(texts) => put_bytes(&[JSONB_VERSION], texts.value(row).as_bytes(), out)?,
            Values::Bytea(blobs) => put_bytes(&[], blobs.value(row), out)?,
            Values::Uuid(array) => put_fixed(array.value(row), out),
            Values::TextUuid(texts) => {
                let uuid = uuid::Uuid::try_parse(texts.value(row))
                    .map_err(|_| CellError("a text is not a uuid"))?;
                put_fixed(uuid.as_bytes(), out);
            }
            Values::Date(array) => put_fixed(&date(array.value(row))?.to_be_bytes(), out),
            Values::Timestamp(ticks) => {
                put_fixed(&timestamp(ticks.micros(row)?).to_be_bytes(), out)
            }
            Values::Time(ticks) => put_fixed(&ticks.micros(row)?.to_be_bytes(), out),
            Values::Interval(ticks) => {
                // Microseconds, then days and months of four bytes each.
                let mut interval = [0; 16];
                interval[..8].copy_from_slice(&ticks.micros(row)?.to_be_bytes());
                put_fixed(&interval, out);
            }
        }
        Ok(())
    }
}

fn integer<T: TryFrom<i128>>(value: i128) -> Result<T, CellError> {
    T::try_from(value).map_err(|_| OUT_OF_RANGE)
}

fn date(days: i32) -> Result<i32, CellError> {
    match days {
        special::DATE_INFINITY | special::DATE_NEGATIVE_INFINITY => Ok(days),
        _ => days
            .checked_sub(EPOCH_DAYS)
            .ok_or(CellError("a date is out of range")),
    }
}

fn timestamp(micros: i64) -> i64 {
    match micros {
        special::TIMESTAMP_INFINITY | special::TIMESTAMP_NEGATIVE_INFINITY => micros,
        // The last years that PostgreSQL knows do not fit when counted from 1970; they were
        // wrapped when they were read.
        _ => micros.wrapping_sub(EPOCH_MICROS),
    }
}

fn put_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i32).to_be_bytes());
}

#[inline]
fn put_fixed(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[inline]
fn put_bytes(prefix: &[u8], bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let length = i32::try_from(prefix.len() + bytes.len())
        .map_err(|_| CellError("a value is longer than 1 GB"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(prefix);
    out.extend_from_slice(bytes);
    Ok(())
}
