//! Masks: what is written instead of values that are private.
//!
//! NULL stays NULL, whatever the mask, but for a constant. A value that a mask cannot be applied to
//! is an error that names the row, never a value that passes as it is.

mod fake;
mod number;
mod text;
mod time;

use crate::evaluate::Fault;
use crate::uuid;
use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, PrimitiveArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use arrow_select::take::take;
use std::sync::Arc;
use syncset_connector::Mask;

/// A mask for values of one type.
#[derive(Debug)]
pub(crate) struct MaskPlan {
    kind: Kind,
    /// The type of what goes out.
    pub(crate) output: DataType,
}

#[derive(Debug)]
enum Kind {
    Text(text::TextMask),
    Time(syncset_connector::DateUnit),
    Bucket(number::Width),
    /// One value, or NULL.
    Constant(ArrayRef),
}

/// Why a mask cannot be used, and what to use instead.
pub(crate) struct Unfit {
    pub(crate) reason: String,
    pub(crate) hint: &'static str,
}

impl MaskPlan {
    /// Plans a mask over values of the type `input`.
    pub(crate) fn new(mask: &Mask, input: &DataType) -> Result<Self, Unfit> {
        let (kind, output) = match mask {
            Mask::Null => (Kind::Constant(new_null_array(input, 1)), input.clone()),
            Mask::Constant(value) => (Kind::Constant(constant(value, input)?), input.clone()),
            Mask::TruncateDate(unit) => {
                time::check(*unit, input)?;
                (Kind::Time(*unit), input.clone())
            }
            Mask::Bucket(width) => {
                let width = number::Width::parse(width, input)?;
                (Kind::Bucket(width), input.clone())
            }
            other => {
                let mask = text::TextMask::of(other, input)?;
                (Kind::Text(mask), DataType::Utf8)
            }
        };
        Ok(Self { kind, output })
    }

    /// The masked values of a batch of `row_count` rows; `values` are the column's own, absent where
    /// the mask does not read them.
    pub(crate) fn apply(
        &self,
        values: Option<&ArrayRef>,
        row_count: usize,
    ) -> Result<ArrayRef, Fault> {
        let values = || values.ok_or_else(|| Fault::new("the column that is masked was not read"));
        match &self.kind {
            Kind::Text(mask) => mask.apply(values()?),
            Kind::Time(unit) => time::truncated(values()?, *unit),
            Kind::Bucket(width) => number::bucketed(values()?, *width),
            Kind::Constant(one) => {
                let zeros = PrimitiveArray::<UInt32Type>::from_value(0, row_count);
                take(one, &zeros, None).map_err(|error| Fault::new(error.to_string()))
            }
        }
    }
}

/// An array of one value.
fn constant(value: &str, wanted: &DataType) -> Result<ArrayRef, Unfit> {
    let unfit = || Unfit {
        reason: format!("the constant is no {wanted}"),
        hint: "write a value of the column's own type, or use `null`",
    };
    let text: ArrayRef = Arc::new(arrow_array::StringArray::from(vec![value]));
    if *wanted == DataType::FixedSizeBinary(16) {
        let bytes = uuid::parse(value).ok_or_else(unfit)?;
        let one = arrow_array::FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes));
        return Ok(Arc::new(one.map_err(|_| unfit())?));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&text, wanted, &options).map_err(|_| unfit())
}

#[cfg(test)]
mod tests;
