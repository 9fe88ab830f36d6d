//! Arrow arrays as the contract passes them, and back. What comes back is checked to the last
//! byte: it was written by code that nobody here has read.

use crate::bindings::syncset::plugin::types::{ArrayParam, ArrayResult};
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, TimeUnit};

/// Microseconds of a day. The time 24:00 exists.
const DAY_US: i64 = 86_400_000_000;

/// The buffers of one array, from its first row on. They are shared with the array.
pub(crate) struct Buffers {
    length: u32,
    null_count: u32,
    bytes: Vec<Buffer>,
}

impl Buffers {
    /// Of an array of a type that [`format_of`](crate::format::format_of) knows.
    ///
    /// # Errors
    /// A sentence, for an array with more rows than a guest can count, or of another type.
    pub(crate) fn of(array: &dyn Array) -> Result<Self, String> {
        let length = u32::try_from(array.len()).map_err(|_| "too many rows".to_owned())?;
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let validity = nulls.map(|nulls| nulls.inner().sliced());
        let mut bytes = vec![validity.unwrap_or_default()];
        match array.data_type() {
            DataType::Boolean => bytes.push(array.as_boolean().values().sliced()),
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                bytes.extend(varying(texts.offsets(), texts.values()));
            }
            DataType::Binary => {
                let blobs = array.as_binary::<i32>();
                bytes.extend(varying(blobs.offsets(), blobs.values()));
            }
            DataType::FixedSizeBinary(width) => {
                bytes.push(fixed(array, usize::try_from(*width).unwrap_or_default()));
            }
            other => {
                let width = other
                    .primitive_width()
                    .ok_or_else(|| format!("type {other} cannot be passed to plugins"))?;
                bytes.push(fixed(array, width));
            }
        }
        Ok(Self {
            length,
            null_count: u32::try_from(array.null_count()).unwrap_or(u32::MAX),
            bytes,
        })
    }

    /// References to the buffers, as calls take them.
    pub(crate) fn slices(&self) -> Vec<&[u8]> {
        self.bytes.iter().map(Buffer::as_slice).collect()
    }

    /// The argument of a call; `slices` are [`Self::slices`].
    pub(crate) fn param<'b>(&self, slices: &'b [&'b [u8]]) -> ArrayParam<'b> {
        ArrayParam {
            length: self.length,
            null_count: self.null_count,
            buffers: slices,
        }
    }
}

/// Values of fixed width, from the first row on.
fn fixed(array: &dyn Array, width: usize) -> Buffer {
    let data = array.to_data();
    let values = data.buffers().first();
    let values = values.map(|all| all.slice_with_length(data.offset() * width, data.len() * width));
    values.unwrap_or_default()
}

/// Offsets that begin at zero, and the bytes that they name.
fn varying(offsets: &OffsetBuffer<i32>, values: &Buffer) -> [Buffer; 2] {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let place = |offset: i32| usize::try_from(offset).unwrap_or_default();
    let bytes = values.slice_with_length(place(first), place(last - first));
    let offsets = match first {
        0 => offsets.inner().inner().clone(),
        _ => offsets.iter().map(|offset| offset - first).collect(),
    };
    [offsets, bytes]
}

/// Makes an array of what a guest returned.
///
/// # Errors
/// What is wrong with it, as the rest of "it returned ...". It holds no value.
pub(crate) fn array(
    found: ArrayResult,
    data_type: &DataType,
    row_count: usize,
) -> Result<ArrayRef, String> {
    if usize::try_from(found.length) != Ok(row_count) {
        return Err(format!(
            "an array of {} values for {row_count} rows",
            found.length
        ));
    }
    let mut buffers = found.buffers.into_iter();
    let validity = buffers.next().ok_or("an array without buffers")?;
    let nulls = nulls(validity, found.null_count, row_count)?;
    let buffers: Vec<Buffer> = buffers.map(Buffer::from_vec).collect();
    let wanted = if is_varying(data_type) { 2 } else { 1 };
    if buffers.len() != wanted {
        return Err(format!(
            "an array of {} buffers instead of {} for {data_type}",
            buffers.len() + 1,
            wanted + 1
        ));
    }
    check_sizes(&buffers, data_type, row_count)?;
    let data = ArrayData::builder(data_type.clone())
        .len(row_count)
        .nulls(nulls)
        .buffers(padded(buffers, data_type, row_count))
        .align_buffers(true)
        .build()
        .map_err(|error| format!("an array that is not valid: {error}"))?;
    let array = make_array(data);
    check_values(array.as_ref())?;
    Ok(array)
}

fn is_varying(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Binary)
}

fn nulls(
    validity: Vec<u8>,
    null_count: u32,
    row_count: usize,
) -> Result<Option<NullBuffer>, String> {
    if validity.is_empty() {
        return match null_count {
            0 => Ok(None),
            _ => Err(format!("{null_count} NULLs without a validity bitmap")),
        };
    }
    if validity.len() < row_count.div_ceil(8) {
        return Err(format!(
            "a validity bitmap of {} bytes for {row_count} rows",
            validity.len()
        ));
    }
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(validity), 0, row_count));
    if u32::try_from(nulls.null_count()) != Ok(null_count) {
        return Err(format!(
            "{} NULLs in a validity bitmap, and {null_count} as their count",
            nulls.null_count()
        ));
    }
    Ok(Some(nulls))
}

/// Whether each buffer is long enough. Guests may leave more room than is used.
fn check_sizes(buffers: &[Buffer], data_type: &DataType, row_count: usize) -> Result<(), String> {
    let wanted = match data_type {
        DataType::Boolean => row_count.div_ceil(8),
        // An empty array may come without its one offset.
        DataType::Utf8 | DataType::Binary if row_count == 0 => 0,
        DataType::Utf8 | DataType::Binary => (row_count + 1) * 4,
        DataType::FixedSizeBinary(width) => row_count * usize::try_from(*width).unwrap_or(0),
        other => row_count * other.primitive_width().unwrap_or_default(),
    };
    let found = buffers.first().map_or(0, Buffer::len);
    if found < wanted {
        return Err(format!(
            "a buffer of {found} bytes instead of {wanted} for {data_type}"
        ));
    }
    Ok(())
}

/// Arrow wants one offset in an empty array, too.
fn padded(mut buffers: Vec<Buffer>, data_type: &DataType, row_count: usize) -> Vec<Buffer> {
    if is_varying(data_type) && row_count == 0 {
        buffers[0] = Buffer::from_slice_ref([0_i32]);
    }
    buffers
}

/// What Arrow takes and no store does.
fn check_values(array: &dyn Array) -> Result<(), String> {
    match array.data_type() {
        DataType::Decimal128(precision, _) => {
            let values = array.as_primitive::<Decimal128Type>();
            values
                .validate_decimal_precision(*precision)
                .map_err(|_| format!("a decimal of more than {precision} digits"))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let values = array.as_primitive::<arrow_array::types::Time64MicrosecondType>();
            match values.iter().flatten().all(|us| (0..=DAY_US).contains(&us)) {
                true => Ok(()),
                false => Err("a time of day that is not between 00:00 and 24:00".to_owned()),
            }
        }
        _ => Ok(()),
    }
}
