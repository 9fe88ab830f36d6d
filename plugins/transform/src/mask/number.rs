//! Numbers in steps of a width.

use super::Unfit;
use crate::evaluate::Fault;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::DataType;
use std::sync::Arc;
use syncset_connector::special::DECIMAL_NAN;

/// The width of a step, in units of the column's last digit where it is exact.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    Exact(i128),
    Float(f64),
}

impl Width {
    /// Reads a width for columns of this type.
    pub(super) fn parse(text: &str, input: &DataType) -> Result<Self, Unfit> {
        let unfit = |reason: String| Unfit {
            reason,
            hint: "for example `bucket: 1000`",
        };
        let scale = match input {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => 0,
            DataType::Decimal128(_, scale) => *scale,
            DataType::Float32 | DataType::Float64 => {
                let width = text.parse::<f64>().ok();
                let width = width.filter(|width| width.is_finite() && *width > 0.0);
                return width
                    .map(Self::Float)
                    .ok_or_else(|| unfit("its width is no number above 0".to_owned()));
            }
            other => {
                return Err(Unfit {
                    reason: format!("it masks numbers, and the column is {other}"),
                    hint: "use `null`, `constant` or `redact`",
                });
            }
        };
        scaled(text, scale).map(Self::Exact).ok_or_else(|| {
            unfit(format!(
                "its width is no number above 0 with at most {} digits behind the point",
                scale.max(0)
            ))
        })
    }
}

/// A positive number in units of its last digit.
fn scaled(text: &str, scale: i8) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let places = usize::try_from(scale).ok()?;
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) || fraction.len() > places {
        return None;
    }
    let digits = format!("{whole}{fraction:0<places$}");
    digits.parse::<i128>().ok().filter(|width| *width > 0)
}

/// The largest multiples of the width that are not above the values.
pub(super) fn bucketed(values: &ArrayRef, width: Width) -> Result<ArrayRef, Fault> {
    match (values.data_type(), width) {
        (DataType::Int16, Width::Exact(width)) => integers::<Int16Type>(values, width),
        (DataType::Int32, Width::Exact(width)) => integers::<Int32Type>(values, width),
        (DataType::Int64, Width::Exact(width)) => integers::<Int64Type>(values, width),
        (DataType::Decimal128(..), Width::Exact(width)) => {
            let values = values.as_primitive::<Decimal128Type>();
            let step = |value: i128| match value {
                DECIMAL_NAN => Some(value),
                value => value.checked_sub(value.rem_euclid(width)),
            };
            let masked = checked(values, step)?.with_data_type(values.data_type().clone());
            Ok(Arc::new(masked))
        }
        (DataType::Float32, Width::Float(width)) => {
            let values = values.as_primitive::<Float32Type>();
            // The step is computed in the wider type, as the width is written.
            #[allow(clippy::cast_possible_truncation)]
            let step = |value: f32| ((f64::from(value) / width).floor() * width) as f32;
            Ok(Arc::new(values.unary::<_, Float32Type>(step)))
        }
        (DataType::Float64, Width::Float(width)) => {
            let values = values.as_primitive::<Float64Type>();
            let step = |value: f64| (value / width).floor() * width;
            Ok(Arc::new(values.unary::<_, Float64Type>(step)))
        }
        (other, _) => Err(Fault::new(format!("a column of {other} has no buckets"))),
    }
}

fn integers<T>(values: &ArrayRef, width: i128) -> Result<ArrayRef, Fault>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128> + TryFrom<i128>,
{
    let values = values.as_primitive::<T>();
    let masked = checked(values, |value| {
        let value: i128 = value.into();
        T::Native::try_from(value - value.rem_euclid(width)).ok()
    })?;
    Ok(Arc::new(masked))
}

fn checked<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    step: impl Fn(T::Native) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, Fault> {
    let mut masked = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let value = value.map(|value| {
            step(value).ok_or_else(|| Fault {
                row: Some(row),
                ..Fault::new("the bucket of a value is out of the column's range")
                    .with_hint("mask the column with `null` or `constant`, or leave such rows out with `where`")
            })
        });
        masked.push(value.transpose()?);
    }
    Ok(PrimitiveArray::from_iter(masked))
}
