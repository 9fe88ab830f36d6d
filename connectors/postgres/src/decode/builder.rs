//! One column of a batch under construction.

use super::numeric;
use crate::types::DecodeKind;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer};
use arrow_schema::DataType;
use std::sync::Arc;
use syncset_connector::{Column, special};

/// Said of a NULL in a column that was described as NOT NULL.
pub(super) const UNEXPECTED_NULL: &str = "NULL in a NOT NULL column";

/// From 2000-01-01, the server's epoch, back to 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// Rows to make room for before the size of a batch is known.
const ROWS_AT_FIRST: usize = 1_024;

/// Text or bytes with their offsets.
struct Chars {
    offsets: Vec<i32>,
    data: Vec<u8>,
}

impl Chars {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            data: Vec::with_capacity(bytes),
        }
    }

    fn append(&mut self, value: &[u8]) -> Result<(), &'static str> {
        self.data.extend_from_slice(value);
        self.end()
    }

    /// Ends the value that was put into `data`.
    fn end(&mut self) -> Result<(), &'static str> {
        let end = i32::try_from(self.data.len()).map_err(|_| "a batch is larger than 2 GB")?;
        self.offsets.push(end);
        Ok(())
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        // The next batch will be about as large as this one.
        let next = Self::with_capacity(self.offsets.len(), self.data.len() + self.data.len() / 16);
        let full = std::mem::replace(self, next);
        (
            OffsetBuffer::new(full.offsets.into()),
            Buffer::from_vec(full.data),
        )
    }
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8, i8),
    NumericText(Chars),
    Text(Chars),
    Jsonb(Chars),
    Bytes(Chars),
    Uuid(Vec<u8>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
}

/// One column of a batch under construction. Errors are fragments without name and value.
pub(super) struct ColumnBuilder {
    name: String,
    data_type: DataType,
    nullable: bool,
    values: Values,
    nulls: NullBufferBuilder,
}

impl ColumnBuilder {
    pub(super) fn new(column: &Column, kind: DecodeKind) -> Self {
        let rows = ROWS_AT_FIRST;
        let chars = || Chars::with_capacity(rows, 16 * rows);
        let values = match kind {
            DecodeKind::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            DecodeKind::Int16 => Values::Int16(Vec::with_capacity(rows)),
            DecodeKind::Int32 => Values::Int32(Vec::with_capacity(rows)),
            DecodeKind::Int64 => Values::Int64(Vec::with_capacity(rows)),
            DecodeKind::Float32 => Values::Float32(Vec::with_capacity(rows)),
            DecodeKind::Float64 => Values::Float64(Vec::with_capacity(rows)),
            DecodeKind::Decimal(precision, scale) => {
                Values::Decimal(Vec::with_capacity(rows), precision, scale)
            }
            DecodeKind::NumericText => Values::NumericText(chars()),
            DecodeKind::Text => Values::Text(chars()),
            DecodeKind::Jsonb => Values::Jsonb(chars()),
            DecodeKind::Bytes => Values::Bytes(chars()),
            DecodeKind::Uuid => Values::Uuid(Vec::with_capacity(16 * rows)),
            DecodeKind::Date => Values::Date(Vec::with_capacity(rows)),
            DecodeKind::Time => Values::Time(Vec::with_capacity(rows)),
            DecodeKind::Timestamp => Values::Timestamp(Vec::with_capacity(rows)),
        };
        Self {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            nullable: column.nullable,
            values,
            nulls: NullBufferBuilder::new(rows),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Appends a value in the server's binary form.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        match &mut self.values {
            Values::Boolean(bits) => bits.append(fixed::<1>(bytes)?[0] != 0),
            Values::Int16(values) => values.push(i16::from_be_bytes(fixed(bytes)?)),
            Values::Int32(values) => values.push(i32::from_be_bytes(fixed(bytes)?)),
            Values::Int64(values) => values.push(i64::from_be_bytes(fixed(bytes)?)),
            Values::Float32(values) => values.push(f32::from_be_bytes(fixed(bytes)?)),
            Values::Float64(values) => values.push(f64::from_be_bytes(fixed(bytes)?)),
            Values::Decimal(values, precision, scale) => {
                values.push(numeric::to_decimal(bytes, *precision, *scale)?);
            }
            Values::NumericText(chars) => {
                numeric::append_text(bytes, &mut chars.data)?;
                chars.end()?;
            }
            Values::Text(chars) | Values::Bytes(chars) => chars.append(bytes)?,
            Values::Jsonb(chars) => match bytes.split_first() {
                Some((1, text)) => chars.append(text)?,
                _ => return Err("its jsonb has an unknown version"),
            },
            Values::Uuid(values) => values.extend_from_slice(&fixed::<16>(bytes)?),
            Values::Date(values) => values.push(date(i32::from_be_bytes(fixed(bytes)?))?),
            Values::Time(values) => values.push(i64::from_be_bytes(fixed(bytes)?)),
            Values::Timestamp(values) => values.push(timestamp(i64::from_be_bytes(fixed(bytes)?))?),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    pub(super) fn append_null(&mut self) -> Result<(), &'static str> {
        if !self.nullable {
            return Err(UNEXPECTED_NULL);
        }
        match &mut self.values {
            Values::Boolean(bits) => bits.append(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp(values) => {
                values.push(0);
            }
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values, ..) => values.push(0),
            Values::NumericText(chars)
            | Values::Text(chars)
            | Values::Jsonb(chars)
            | Values::Bytes(chars) => chars.end()?,
            Values::Uuid(values) => values.extend_from_slice(&[0; 16]),
        }
        self.nulls.append_null();
        Ok(())
    }

    /// The column of the batch; the builder is then empty and keeps its size.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, &'static str> {
        let nulls = self.nulls.finish();
        let data_type = &self.data_type;
        Ok(match &mut self.values {
            Values::Boolean(bits) => {
                let rows = bits.len();
                let array = BooleanArray::new(bits.finish(), nulls);
                *bits = BooleanBufferBuilder::new(rows);
                Arc::new(array)
            }
            Values::Int16(values) => primitive::<Int16Type>(values, nulls, data_type),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls, data_type),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls, data_type),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls, data_type),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls, data_type),
            Values::Decimal(values, ..) => primitive::<Decimal128Type>(values, nulls, data_type),
            Values::Date(values) => primitive::<Date32Type>(values, nulls, data_type),
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls, data_type),
            Values::Timestamp(values) => {
                primitive::<TimestampMicrosecondType>(values, nulls, data_type)
            }
            Values::NumericText(chars) | Values::Text(chars) | Values::Jsonb(chars) => {
                let (offsets, data) = chars.take();
                // One pass over the whole column is much faster than one check per value.
                let array = StringArray::try_new(offsets, data, nulls)
                    .map_err(|_| "a text is not UTF-8")?;
                Arc::new(array)
            }
            Values::Bytes(chars) => {
                let (offsets, data) = chars.take();
                Arc::new(BinaryArray::new(offsets, data, nulls))
            }
            Values::Uuid(values) => {
                let next = Vec::with_capacity(values.len());
                let full = std::mem::replace(values, next);
                Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(full), nulls))
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let next = Vec::with_capacity(values.len());
    let full = std::mem::replace(values, next);
    let array = PrimitiveArray::<T>::new(full.into(), nulls);
    // Only precision, scale and zone are set by this; the kind is the builder's own.
    Arc::new(array.with_data_type(data_type.clone()))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], &'static str> {
    bytes
        .try_into()
        .map_err(|_| "it has another length than its type")
}

/// Days from the server's epoch to days from 1970; the two infinities have their own values.
fn date(days: i32) -> Result<i32, &'static str> {
    match days {
        i32::MAX => Ok(special::DATE_INFINITY),
        i32::MIN => Ok(special::DATE_NEGATIVE_INFINITY),
        _ => days
            .checked_add(EPOCH_DAYS)
            .filter(|days| *days != special::DATE_INFINITY)
            .ok_or("a date is out of range"),
    }
}

/// Microseconds from the server's epoch to microseconds from 1970.
///
/// The shift wraps: instants after the year 294246 turn negative and come back exactly when the
/// shift is undone, since no server holds instants that early. Only the two microseconds that
/// would read as an infinity are refused.
fn timestamp(microseconds: i64) -> Result<i64, &'static str> {
    match microseconds {
        i64::MAX => Ok(special::TIMESTAMP_INFINITY),
        i64::MIN => Ok(special::TIMESTAMP_NEGATIVE_INFINITY),
        _ => match microseconds.wrapping_add(EPOCH_MICROSECONDS) {
            special::TIMESTAMP_INFINITY | special::TIMESTAMP_NEGATIVE_INFINITY => {
                Err("a time of the year 294247 that reads as infinity")
            }
            shifted => Ok(shifted),
        },
    }
}
