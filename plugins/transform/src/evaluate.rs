//! Evaluating one expression over a batch, and finding the row that cannot be computed.

use crate::compile::Compiled;
use crate::step;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, DecimalType, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use datafusion_common::DataFusionError;
use syncset_plugin_host::{Lines, PluginError, hold};

/// Why a value could not be computed. Holds no cell value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What happened.
    pub(crate) reason: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The row, if one row alone fails.
    pub(crate) row: Option<usize>,
    /// Whether one row may be to blame.
    pub(crate) is_divisible: bool,
    /// Whether a plugin was ended because everything is to end.
    pub(crate) is_stop: bool,
}

impl Fault {
    /// A fault that no single row is known for.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
            row: None,
            is_divisible: true,
            is_stop: false,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The type a computed column is carried as: the ones that every connector knows. `None` if none
/// of them can hold it.
pub(crate) fn carried_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Date32
        | DataType::Utf8
        | DataType::Binary
        | DataType::FixedSizeBinary(16) => data_type.clone(),
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal256(_, scale) => DataType::Decimal128(38, *scale),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => {
            let zone = zone.as_ref().map(|_| "UTC".into());
            DataType::Timestamp(TimeUnit::Microsecond, zone)
        }
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Dictionary(_, values) => carried_type(values)?,
        _ => return None,
    })
}

/// Evaluates `compiled` over all rows of `batch` as `wanted`, and names the row if one fails.
pub(crate) fn evaluate(
    compiled: &Compiled,
    batch: &RecordBatch,
    wanted: &DataType,
) -> Result<ArrayRef, Fault> {
    if let Some(found) = compiled.checks.find(batch) {
        let schema = batch.schema();
        let column = schema.field(found.column).name();
        let mut fault = Fault::new(format!("column `{column}` holds {}, which cannot be computed with", found.kind))
            .with_hint(format!(
                "exclude such rows with `where: {{ source_sql: ... }}`, or compute the value in a view of the source (`{column}` may still be copied as it is)"
            ));
        fault.row = Some(found.row);
        return Err(fault);
    }
    let (done, lines) = hold(|| evaluate_once(compiled, batch, wanted));
    let (done, lines) = match done {
        Err(fault) if fault.is_divisible => {
            let (fault, lines) = find_row(compiled, batch, wanted, (fault, lines));
            (Err(fault), lines)
        }
        done => (done, lines),
    };
    lines.tell();
    done
}

fn evaluate_once(
    compiled: &Compiled,
    batch: &RecordBatch,
    wanted: &DataType,
) -> Result<ArrayRef, Fault> {
    let computed = compiled
        .physical
        .evaluate(batch)
        .and_then(|value| value.into_array(batch.num_rows()))
        .map_err(|error| describe(&error))?;
    check_float(compiled, batch, computed.as_ref())?;
    let carried = if computed.data_type() == wanted {
        computed
    } else {
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        cast_with_options(&computed, wanted, &options).map_err(|error| describe_arrow(&error))?
    };
    check_decimal(carried.as_ref())?;
    Ok(carried)
}

/// Narrows a fault down to its first row by evaluating halves. The lines that plugins logged
/// beside it are those of the last call that failed.
fn find_row(
    compiled: &Compiled,
    batch: &RecordBatch,
    wanted: &DataType,
    (mut fault, mut lines): (Fault, Lines),
) -> (Fault, Lines) {
    let (mut start, mut length) = (0, batch.num_rows());
    let evaluated = |start, length| {
        let (done, lines) = hold(|| evaluate_once(compiled, &batch.slice(start, length), wanted));
        done.map(drop).map_err(|fault| (fault, lines))
    };
    while length > 1 {
        let half = length / 2;
        let (found, at, rest) = match evaluated(start, half) {
            Err(found) => (found, start, half),
            Ok(()) => match evaluated(start + half, length - half) {
                Err(found) => (found, start + half, length - half),
                // Only all rows together fail: no row is to blame.
                Ok(()) => return (fault, lines),
            },
        };
        if found.0.is_stop {
            return found;
        }
        if !found.0.is_divisible {
            return (fault, lines);
        }
        (fault, lines) = found;
        (start, length) = (at, rest);
    }
    fault.row = Some(start);
    (fault, lines)
}

/// An infinity or NaN that was not in the inputs is a division by zero or an overflow.
fn check_float(compiled: &Compiled, batch: &RecordBatch, array: &dyn Array) -> Result<(), Fault> {
    let Some(finite) = finite_rows(array) else {
        return Ok(());
    };
    if finite.iter().all(|finite| *finite) {
        return Ok(());
    }
    let inputs = compiled
        .inputs
        .iter()
        .filter_map(|&column| finite_rows(batch.column(column).as_ref()))
        .collect::<Vec<_>>();
    let reads_text = compiled
        .inputs
        .iter()
        .any(|&column| batch.column(column).data_type() == &DataType::Utf8);
    let made_here = (0..finite.len())
        .any(|row| !finite[row] && !reads_text && inputs.iter().all(|input| input[row]));
    if made_here {
        return Err(
            Fault::new("division by zero, or a result that is too large").with_hint(
                "guard it: `case when divisor <> 0 then ... end`, or `nullif(divisor, 0)`",
            ),
        );
    }
    Ok(())
}

fn finite_rows(array: &dyn Array) -> Option<Vec<bool>> {
    let finite = |row: usize, value: bool| array.is_null(row) || value;
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            Some(
                values
                    .iter()
                    .enumerate()
                    .map(|(row, value)| finite(row, value.is_finite()))
                    .collect(),
            )
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            Some(
                values
                    .iter()
                    .enumerate()
                    .map(|(row, value)| finite(row, value.is_finite()))
                    .collect(),
            )
        }
        _ => None,
    }
}

/// Arrow computes decimals without looking at their precision.
fn check_decimal(array: &dyn Array) -> Result<(), Fault> {
    let DataType::Decimal128(precision, scale) = array.data_type() else {
        return Ok(());
    };
    let decimals = array.as_primitive::<Decimal128Type>();
    let too_large = (0..decimals.len()).any(|row| {
        decimals.is_valid(row)
            && decimals.value(row) != syncset_connector::special::DECIMAL_NAN
            && !Decimal128Type::is_valid_decimal_precision(decimals.value(row), *precision)
    });
    if too_large {
        return Err(Fault::new(format!(
            "the result has more digits than decimal({precision}, {scale})"
        )));
    }
    Ok(())
}

fn describe(error: &DataFusionError) -> Fault {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => describe_arrow(error),
        DataFusionError::External(error) => match error.downcast_ref::<PluginError>() {
            Some(error) => {
                let mut fault = step::failed(error);
                // A branch of the expression may be given some of the rows only.
                fault.row = None;
                fault
            }
            None => Fault::new("the expression cannot be computed for its values"),
        },
        _ => Fault::new("the expression cannot be computed for its values"),
    }
}

/// The error without the value that caused it: a message of Arrow quotes cells.
fn describe_arrow(error: &ArrowError) -> Fault {
    match error {
        ArrowError::DivideByZero => Fault::new("division by zero")
            .with_hint("guard it: `case when divisor <> 0 then ... end`, or `nullif(divisor, 0)`"),
        ArrowError::ArithmeticOverflow(_) => Fault::new("the result is too large for its type")
            .with_hint("cast an operand to a wider type first, such as `decimal(38, 6)`"),
        ArrowError::CastError(_)
        | ArrowError::ParseError(_)
        | ArrowError::InvalidArgumentError(_) => {
            Fault::new("a value cannot be converted to the type that is asked for")
                .with_hint("`try_cast` gives NULL for values that cannot be converted")
        }
        _ => Fault::new("the expression cannot be computed for its values"),
    }
}
