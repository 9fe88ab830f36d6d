//! Arrow batches to values as SQLite will store them.
//!
//! Values are bound in the storage class that the column keeps, so that "unchanged" can be
//! decided on class and bytes.

use crate::cell::{Cell, OwnedCell};
use crate::civil::{Zone, format_date, format_time, format_timestamp};
use crate::types::{self, Storage};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::{ConnectorError, ErrorClass, Result, TargetColumn, special};

/// A float that is no number.
pub(crate) const NAN: &str = "NaN";

/// The float below zero that equals it. `-0.0` would be taken for a number and lose its sign.
pub(crate) const NEGATIVE_ZERO: &str = "-zero";

/// One column of a batch, ready to be bound.
enum Values {
    Integer(Int64Array),
    Real(Float64Array),
    Text(StringArray),
    Blob(BinaryArray),
    Mixed(Vec<OwnedCell>),
}

/// A batch, ready to be bound.
pub(crate) struct Encoded {
    columns: Vec<Values>,
    row_count: usize,
}

impl Encoded {
    /// Encodes the columns of a batch; they are in the order of `columns`.
    pub(crate) fn new<'a>(
        table: &str,
        columns: impl IntoIterator<Item = &'a TargetColumn>,
        batch: &RecordBatch,
    ) -> Result<Self> {
        let columns = columns
            .into_iter()
            .zip(batch.columns())
            .map(|(column, array)| {
                values(column, array).map_err(|cause| {
                    ConnectorError::new(
                        ErrorClass::RowRefused,
                        format!("column `{}` cannot be written to `{table}`", column.name),
                    )
                    .caused_by(cause)
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            columns,
            row_count: batch.num_rows(),
        })
    }

    /// Rows.
    pub(crate) fn row_count(&self) -> usize {
        self.row_count
    }

    /// The values of one row.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = Cell<'_>> {
        self.columns.iter().map(move |column| column.cell(row))
    }
}

impl Values {
    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Integer(array) if array.is_valid(row) => Cell::Integer(array.value(row)),
            Self::Real(array) if array.is_valid(row) => real(array.value(row)),
            Self::Text(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Self::Blob(array) if array.is_valid(row) => Cell::Blob(array.value(row)),
            Self::Mixed(cells) => cells[row].as_cell(),
            _ => Cell::Null,
        }
    }
}

/// SQLite would store a NaN as NULL, and a negative zero as zero: their names stay text.
fn real(value: f64) -> Cell<'static> {
    if value.is_nan() {
        Cell::Text(NAN)
    } else if value == 0.0 && value.is_sign_negative() {
        Cell::Text(NEGATIVE_ZERO)
    } else {
        Cell::Real(value)
    }
}

type ArrowResult<T> = std::result::Result<T, arrow_schema::ArrowError>;

fn cast(array: &ArrayRef, data_type: &DataType) -> ArrowResult<ArrayRef> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, data_type, &strict)
}

/// The few types that are written, from the many that an expression can yield.
pub(crate) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Dictionary(_, values) => plain(values),
        other => other.clone(),
    }
}

fn values(column: &TargetColumn, array: &ArrayRef) -> ArrowResult<Values> {
    let plain_type = plain(array.data_type());
    let array = if plain_type == *array.data_type() {
        array.clone()
    } else {
        cast(array, &plain_type)?
    };
    let (_, storage) = types::map(column);
    Ok(match (&plain_type, storage) {
        (DataType::Boolean, _) => {
            let booleans = array.as_boolean();
            Values::Integer(booleans.iter().map(|value| value.map(i64::from)).collect())
        }
        (DataType::Int64, _) => Values::Integer(array.as_primitive::<Int64Type>().clone()),
        (DataType::Float64, _) => Values::Real(array.as_primitive::<Float64Type>().clone()),
        (DataType::Decimal128(_, scale), Storage::Decimal) => {
            let decimals = array.as_primitive::<Decimal128Type>();
            let cells = decimals.iter().map(|value| decimal_number(value, *scale));
            Values::Mixed(cells.collect())
        }
        (DataType::Decimal128(_, scale), _) => {
            let decimals = array.as_primitive::<Decimal128Type>();
            let texts = decimals
                .iter()
                .map(|value| value.map(|v| decimal_text(v, *scale)));
            Values::Text(texts.collect())
        }
        (DataType::Utf8, Storage::NumberText) => {
            let texts = array.as_string::<i32>();
            Values::Mixed(texts.iter().map(number_from_text).collect())
        }
        (DataType::Utf8, _) => Values::Text(array.as_string::<i32>().clone()),
        (DataType::Binary, _) => Values::Blob(array.as_binary::<i32>().clone()),
        (DataType::FixedSizeBinary(16), Storage::Text) => Values::Text(
            array
                .as_fixed_size_binary()
                .iter()
                .map(|value| value.and_then(uuid_text))
                .collect(),
        ),
        (DataType::FixedSizeBinary(_), _) => {
            Values::Blob(array.as_fixed_size_binary().iter().collect())
        }
        (DataType::Date32, _) => {
            let dates = array.as_primitive::<Date32Type>();
            Values::Text(dates.iter().map(|value| value.map(format_date)).collect())
        }
        (DataType::Time64(TimeUnit::Microsecond), _) => {
            let times = array.as_primitive::<Time64MicrosecondType>();
            Values::Text(times.iter().map(|value| value.map(format_span)).collect())
        }
        (DataType::Timestamp(TimeUnit::Microsecond, zone), _) => {
            let zone = if zone.is_some() {
                Zone::Utc
            } else {
                Zone::Without
            };
            let instants = array.as_primitive::<TimestampMicrosecondType>();
            let texts = instants
                .iter()
                .map(|value| value.map(|v| format_timestamp(v, zone)));
            Values::Text(texts.collect())
        }
        _ => printed(&array)?,
    })
}

fn printed(array: &ArrayRef) -> ArrowResult<Values> {
    let options = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        texts.push(if array.is_valid(row) {
            Some(formatter.value(row).try_to_string()?)
        } else {
            None
        });
    }
    Ok(Values::Text(texts.into_iter().collect()))
}

/// A time of day, or a span that is negative or longer than a day.
fn format_span(micros: i64) -> String {
    if micros < 0 {
        format!("-{}", format_time(micros.saturating_neg()))
    } else {
        format_time(micros)
    }
}

fn uuid_text(bytes: &[u8]) -> Option<String> {
    uuid::Uuid::from_slice(bytes)
        .ok()
        .map(|uuid| uuid.hyphenated().to_string())
}

/// A decimal as plain digits with all its decimals.
fn decimal_text(value: i128, scale: i8) -> String {
    if value == special::DECIMAL_NAN {
        return NAN.into();
    }
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    let Ok(scale) = usize::try_from(scale) else {
        return format!(
            "{sign}{digits}{}",
            "0".repeat(usize::from(scale.unsigned_abs()))
        );
    };
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// A decimal of at most 15 digits as SQLite's NUMERIC keeps it: an integer where it is one.
fn decimal_number(value: Option<i128>, scale: i8) -> OwnedCell {
    let Some(value) = value else {
        return OwnedCell::Null;
    };
    if value == special::DECIMAL_NAN {
        return OwnedCell::Text(NAN.into());
    }
    number_from_text(Some(&decimal_text(value, scale)))
}

/// What NUMERIC affinity makes of a text, where that loses nothing.
fn number_from_text(text: Option<&str>) -> OwnedCell {
    let Some(text) = text else {
        return OwnedCell::Null;
    };
    if let Ok(integer) = text.parse::<i64>() {
        return OwnedCell::Integer(integer);
    }
    // `inf` and `nan` are floats for Rust and plain text for SQLite.
    let numeric = text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match text.parse::<f64>() {
        Ok(real) if numeric => whole(real).map_or(OwnedCell::Real(real), OwnedCell::Integer),
        _ => OwnedCell::Text(text.to_owned()),
    }
}

/// A float without decimals as the integer that NUMERIC affinity stores for it.
fn whole(real: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be a whole number in range"
    )]
    (real.fract() == 0.0 && real.abs() < LIMIT).then_some(real as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::scaled;
    use proptest::prelude::*;

    #[test]
    fn decimals_print_all_their_digits() {
        assert_eq!(decimal_text(-5, 2), "-0.05");
        assert_eq!(decimal_text(1200, 2), "12.00");
        assert_eq!(decimal_text(7, 0), "7");
        assert_eq!(decimal_text(7, -2), "700");
        assert_eq!(decimal_number(Some(1200), 2), OwnedCell::Integer(12));
        assert_eq!(decimal_number(Some(1250), 2), OwnedCell::Real(12.5));
    }

    proptest! {
        #[test]
        fn fifteen_digits_survive_a_real(value in -999_999_999_999_999_i128..=999_999_999_999_999, scale in 0_i8..=15) {
            let back = match decimal_number(Some(value), scale) {
                OwnedCell::Integer(integer) => scaled(&integer.to_string(), 15, scale),
                OwnedCell::Real(real) => scaled(&real.to_string(), 15, scale),
                _ => None,
            };
            prop_assert_eq!(back, Some(value));
        }
    }
}
