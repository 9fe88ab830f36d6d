//! Columns between Arrow's arrays and the records of the contract.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::bindings::syncset::plugin::types;
use crate::{Error, Result, format};

/// The bytes of a UUID.
const UUID_BYTES: usize = 16;

/// Calls a generic function with the Arrow type behind a [`DataType`] of fixed width.
macro_rules! with_primitive {
    ($data_type:expr, $call:ident ( $($argument:expr),* ), $other:expr) => {
        match $data_type {
            DataType::Int8 => $call::<Int8Type>($($argument),*),
            DataType::UInt8 => $call::<UInt8Type>($($argument),*),
            DataType::Int16 => $call::<Int16Type>($($argument),*),
            DataType::UInt16 => $call::<UInt16Type>($($argument),*),
            DataType::Int32 => $call::<Int32Type>($($argument),*),
            DataType::UInt32 => $call::<UInt32Type>($($argument),*),
            DataType::Int64 => $call::<Int64Type>($($argument),*),
            DataType::UInt64 => $call::<UInt64Type>($($argument),*),
            DataType::Float32 => $call::<Float32Type>($($argument),*),
            DataType::Float64 => $call::<Float64Type>($($argument),*),
            DataType::Date32 => $call::<Date32Type>($($argument),*),
            DataType::Time64(_) => $call::<Time64MicrosecondType>($($argument),*),
            DataType::Timestamp(..) => $call::<TimestampMicrosecondType>($($argument),*),
            DataType::Decimal128(..) => $call::<Decimal128Type>($($argument),*),
            _ => $other,
        }
    };
}

pub(crate) fn schema_from(fields: Vec<types::Field>) -> Result<Schema> {
    let fields = fields.into_iter().map(|field| {
        let data_type = format::data_type(&field.format).ok_or_else(|| {
            Error::new(format!("unknown format `{}`", field.format)).in_column(&field.name)
        })?;
        Ok(Field::new(field.name, data_type, field.nullable))
    });
    Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?))
}

pub(crate) fn schema_to(schema: &Schema) -> Result<Vec<types::Field>> {
    let fields = schema.fields().iter().map(|field| {
        let format = format::of(field.data_type()).ok_or_else(|| {
            Error::new(format!(
                "columns of type {} cannot be passed",
                field.data_type()
            ))
            .in_column(field.name())
        })?;
        Ok(types::Field {
            name: field.name().clone(),
            format,
            nullable: field.is_nullable(),
        })
    });
    fields.collect()
}

pub(crate) fn batch_from(batch: types::Batch, schema: SchemaRef) -> Result<RecordBatch> {
    if batch.arrays.len() != schema.fields().len() {
        let (arrays, fields) = (batch.arrays.len(), schema.fields().len());
        return Err(Error::new(format!(
            "{arrays} columns came, {fields} were bound"
        )));
    }
    let rows = length(batch.rows)?;
    let columns = batch
        .arrays
        .into_iter()
        .zip(schema.fields())
        .map(|(array, field)| {
            if length(array.length)? != rows {
                return Err(Error::new(
                    "the column has not as many values as there are rows",
                ));
            }
            array_from(array, field.data_type()).map_err(|error| error.in_column(field.name()))
        });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

pub(crate) fn batch_to(batch: &RecordBatch) -> Result<types::Batch> {
    let arrays = batch
        .columns()
        .iter()
        .zip(batch.schema_ref().fields())
        .map(|(array, field)| array_to(array).map_err(|error| error.in_column(field.name())));
    Ok(types::Batch {
        rows: count(batch.num_rows())?,
        arrays: arrays.collect::<Result<_>>()?,
    })
}

/// Buffers may be longer than needed, not shorter; they are moved, unless they are not aligned.
pub(crate) fn array_from(array: types::Array, data_type: &DataType) -> Result<ArrayRef> {
    let rows = length(array.length)?;
    let mut buffers = array.buffers.into_iter();
    let mut next = || {
        buffers
            .next()
            .ok_or_else(|| Error::new("a buffer is missing"))
    };
    let validity = next()?;
    let nulls = match validity.is_empty() {
        true => None,
        false => Some(NullBuffer::new(bits_from(validity, rows)?)),
    };
    match data_type {
        DataType::Boolean => Ok(Arc::new(BooleanArray::new(
            bits_from(next()?, rows)?,
            nulls,
        ))),
        DataType::Utf8 => {
            let (offsets, bytes) = (offsets_from(next()?, rows)?, Buffer::from_vec(next()?));
            Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls)?))
        }
        DataType::Binary => {
            let (offsets, bytes) = (offsets_from(next()?, rows)?, Buffer::from_vec(next()?));
            Ok(Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?))
        }
        DataType::FixedSizeBinary(16) => {
            let values = Buffer::from_vec(exactly(next()?, rows, UUID_BYTES)?);
            Ok(Arc::new(FixedSizeBinaryArray::try_new(16, values, nulls)?))
        }
        other => {
            let values = next()?;
            with_primitive!(
                other,
                primitive_from(values, rows, nulls, other),
                Err(cannot_pass(other))
            )
        }
    }
}

pub(crate) fn array_to(array: &dyn Array) -> Result<types::Array> {
    let rows = array.len();
    // `nulls` of a slice are those of the slice, at an offset that may be within a byte.
    let validity = match array.nulls() {
        Some(nulls) if nulls.null_count() > 0 => bits_to(nulls.inner()),
        _ => Vec::new(),
    };
    let mut buffers = vec![validity];
    match array.data_type() {
        DataType::Boolean => buffers.push(bits_to(array.as_boolean().values())),
        DataType::Utf8 => {
            let text = array.as_string::<i32>();
            buffers.extend(bytes_to(text.value_offsets(), text.value_data()));
        }
        DataType::Binary => {
            let binary = array.as_binary::<i32>();
            buffers.extend(bytes_to(binary.value_offsets(), binary.value_data()));
        }
        DataType::FixedSizeBinary(16) => {
            let values = array.as_fixed_size_binary().value_data();
            buffers.push(
                values
                    .get(..rows * UUID_BYTES)
                    .ok_or_else(too_short)?
                    .to_vec(),
            );
        }
        other => {
            let values = with_primitive!(other, primitive_to(array), Err(cannot_pass(other)))?;
            buffers.push(values);
        }
    }
    Ok(types::Array {
        length: count(rows)?,
        null_count: count(array.null_count())?,
        buffers,
    })
}

/// The only value of a column, as often as there are rows.
pub(crate) fn repeat(one: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let mut wire = array_to(one)?;
    let is_null = wire.null_count > 0;
    wire.length = count(rows)?;
    wire.null_count = if is_null { wire.length } else { 0 };
    let bits = |set: bool| vec![if set { 0xff } else { 0 }; rows.div_ceil(8)];
    if is_null {
        wire.buffers[0] = bits(false);
    }
    match one.data_type() {
        DataType::Boolean => wire.buffers[1] = bits(one.as_boolean().value(0)),
        DataType::Utf8 | DataType::Binary => {
            let value = std::mem::take(&mut wire.buffers[2]);
            let all = value
                .len()
                .checked_mul(rows)
                .and_then(|bytes| i32::try_from(bytes).ok());
            all.ok_or_else(|| Error::new("a constant, repeated for all rows, is over 2 GiB"))?;
            let offsets = (0..=rows).map(|row| (row * value.len()) as i32);
            wire.buffers[1] = offsets.flat_map(i32::to_le_bytes).collect();
            wire.buffers[2] = value.repeat(rows);
        }
        _ => wire.buffers[1] = wire.buffers[1].repeat(rows),
    }
    array_from(wire, one.data_type())
}

/// A column of nothing but NULL. Arrow's own way to make one brings all of its types into a plugin,
/// which becomes several times as big.
pub(crate) fn all_null(data_type: &DataType, rows: usize) -> Result<types::Array> {
    let zeros = |bytes: usize| vec![0; bytes];
    let values = match data_type {
        DataType::Boolean => vec![zeros(rows.div_ceil(8))],
        DataType::Utf8 | DataType::Binary => vec![zeros((rows + 1) * size_of::<i32>()), vec![]],
        DataType::FixedSizeBinary(16) => vec![zeros(rows * UUID_BYTES)],
        other => match other.primitive_width() {
            Some(width) => vec![zeros(rows * width)],
            None => return Err(cannot_pass(other)),
        },
    };
    let buffers = std::iter::once(zeros(rows.div_ceil(8)))
        .chain(values)
        .collect();
    Ok(types::Array {
        length: count(rows)?,
        null_count: count(rows)?,
        buffers,
    })
}

/// Makes values NULL where `nulls` says so, beside those that are.
pub(crate) fn make_null(array: &mut types::Array, nulls: &NullBuffer) -> Result<()> {
    let rows = length(array.length)?;
    let own = match array.buffers[0].is_empty() {
        true => None,
        false => Some(NullBuffer::new(bits_from(
            std::mem::take(&mut array.buffers[0]),
            rows,
        )?)),
    };
    if let Some(all) = NullBuffer::union(own.as_ref(), Some(nulls)) {
        array.null_count = count(all.null_count())?;
        array.buffers[0] = bits_to(all.inner());
    }
    Ok(())
}

/// A bitmap of a mask: 1 where it is true, 0 where it is false or NULL.
pub(crate) fn mask_to(mask: &BooleanArray) -> Vec<u8> {
    match mask.nulls() {
        Some(nulls) => bits_to(&(mask.values() & nulls.inner())),
        None => bits_to(mask.values()),
    }
}

fn bits_from(bytes: Vec<u8>, rows: usize) -> Result<BooleanBuffer> {
    if bytes.len() < rows.div_ceil(8) {
        return Err(too_short());
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows))
}

/// Bits after the last value are zero, so that equal columns have equal bytes.
fn bits_to(bits: &BooleanBuffer) -> Vec<u8> {
    let mut bytes = bits.sliced().as_slice().to_vec();
    bytes.truncate(bits.len().div_ceil(8));
    if let (Some(last), used @ 1..) = (bytes.last_mut(), bits.len() % 8) {
        *last &= (1u8 << used) - 1;
    }
    bytes
}

fn offsets_from(bytes: Vec<u8>, rows: usize) -> Result<OffsetBuffer<i32>> {
    if rows == 0 && bytes.is_empty() {
        return Ok(OffsetBuffer::new_empty());
    }
    let offsets = scalars::<i32>(exactly(bytes, rows + 1, size_of::<i32>())?.into());
    let grow = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    match offsets.first() {
        Some(0..) if grow => Ok(OffsetBuffer::new(offsets)),
        _ => Err(Error::new("the offsets do not grow from zero")),
    }
}

fn bytes_to(offsets: &[i32], bytes: &[u8]) -> [Vec<u8>; 2] {
    let first = offsets[0];
    let last = offsets[offsets.len() - 1];
    let moved = offsets
        .iter()
        .flat_map(|offset| (offset - first).to_le_bytes())
        .collect();
    [moved, bytes[first as usize..last as usize].to_vec()]
}

fn primitive_from<T: ArrowPrimitiveType>(
    bytes: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let values = scalars::<T::Native>(exactly(bytes, rows, size_of::<T::Native>())?.into());
    let array = PrimitiveArray::<T>::try_new(values, nulls)?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn primitive_to<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<Vec<u8>> {
    let values = array.as_primitive::<T>().values();
    let bytes = values
        .inner()
        .as_slice()
        .get(..size_of_val::<[T::Native]>(values));
    Ok(bytes.ok_or_else(too_short)?.to_vec())
}

/// The contract gives bytes at any address, numbers need theirs.
fn scalars<T: arrow_buffer::ArrowNativeType>(buffer: Buffer) -> ScalarBuffer<T> {
    ScalarBuffer::from(match buffer.as_ptr().align_offset(align_of::<T>()) {
        0 => buffer,
        _ => Buffer::from(buffer.as_slice()),
    })
}

fn exactly(mut bytes: Vec<u8>, values: usize, value_bytes: usize) -> Result<Vec<u8>> {
    let needed = values.checked_mul(value_bytes).ok_or_else(too_short)?;
    if bytes.len() < needed {
        return Err(too_short());
    }
    bytes.truncate(needed);
    Ok(bytes)
}

fn too_short() -> Error {
    Error::new("a buffer is too short")
}

fn cannot_pass(data_type: &DataType) -> Error {
    Error::new(format!("values of type {data_type} cannot be passed"))
}

pub(crate) fn length(length: u32) -> Result<usize> {
    Ok(usize::try_from(length)?)
}

pub(crate) fn count(length: usize) -> Result<u32> {
    Ok(u32::try_from(length)?)
}

#[cfg(test)]
mod tests;
