//! The arrays of a batch by their types, and the few types that are written from the many that an
//! expression can yield.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use std::borrow::Cow;

type Primitive<'a, T> = Cow<'a, PrimitiveArray<T>>;

/// The values of one column.
pub(super) enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int(Primitive<'a, Int64Type>),
    UInt(&'a PrimitiveArray<UInt64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(Primitive<'a, Float64Type>),
    /// With its scale.
    Decimal128(&'a PrimitiveArray<Decimal128Type>, i8),
    /// With its scale.
    Decimal256(&'a PrimitiveArray<Decimal256Type>, i8),
    Text(Cow<'a, StringArray>),
    Bytes(Cow<'a, BinaryArray>),
    FixedBytes(&'a FixedSizeBinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(Primitive<'a, Time64MicrosecondType>),
    Timestamp(Primitive<'a, TimestampMicrosecondType>),
}

impl<'a> Values<'a> {
    /// The values of an array; `None` for types that are not written.
    pub(super) fn of(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int64 => Self::Int(Cow::Borrowed(array.as_primitive())),
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32 => Self::Int(Cow::Owned(
                cast(array, &DataType::Int64)?.as_primitive().clone(),
            )),
            DataType::UInt64 => Self::UInt(array.as_primitive()),
            DataType::Float32 => Self::Float32(array.as_primitive()),
            DataType::Float64 => Self::Float64(Cow::Borrowed(array.as_primitive())),
            DataType::Float16 => Self::Float64(Cow::Owned(
                cast(array, &DataType::Float64)?.as_primitive().clone(),
            )),
            DataType::Decimal128(_, scale) => Self::Decimal128(array.as_primitive(), *scale),
            DataType::Decimal256(_, scale) => Self::Decimal256(array.as_primitive(), *scale),
            DataType::Utf8 => Self::Text(Cow::Borrowed(array.as_string())),
            DataType::LargeUtf8 | DataType::Utf8View => Self::Text(Cow::Owned(
                cast(array, &DataType::Utf8)?.as_string().clone(),
            )),
            DataType::Binary => Self::Bytes(Cow::Borrowed(array.as_binary())),
            DataType::LargeBinary | DataType::BinaryView => Self::Bytes(Cow::Owned(
                cast(array, &DataType::Binary)?.as_binary().clone(),
            )),
            DataType::FixedSizeBinary(_) => Self::FixedBytes(array.as_fixed_size_binary()),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::Time(Cow::Borrowed(array.as_primitive()))
            }
            DataType::Time32(_) => {
                let micros = cast(array, &DataType::Time64(TimeUnit::Microsecond))?;
                Self::Time(Cow::Owned(micros.as_primitive().clone()))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Timestamp(Cow::Borrowed(array.as_primitive()))
            }
            DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                Self::Timestamp(Cow::Owned(cast(array, &micros)?.as_primitive().clone()))
            }
            _ => return None,
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(array) => array.is_null(row),
            Self::Int(array) => array.is_null(row),
            Self::UInt(array) => array.is_null(row),
            Self::Float32(array) => array.is_null(row),
            Self::Float64(array) => array.is_null(row),
            Self::Decimal128(array, _) => array.is_null(row),
            Self::Decimal256(array, _) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::FixedBytes(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
        }
    }
}

/// A cast that loses nothing; `None` if it would.
fn cast(array: &ArrayRef, data_type: &DataType) -> Option<ArrayRef> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, data_type, &strict).ok()
}
