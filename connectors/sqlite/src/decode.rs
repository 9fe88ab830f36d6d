//! Rows of SQLite to Arrow batches. A value that does not fit its column is refused, never bent.

use crate::cell::Cell;
use crate::civil::{Zone, parse_date, parse_time, parse_timestamp};
use crate::encode::{NAN, NEGATIVE_ZERO};
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float64Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use std::sync::Arc;
use syncset_connector::{ConnectorError, ErrorClass, Result, special};

/// Integers up to this size are exact as floats.
const FLOAT_EXACT_MAX: u64 = 1 << 53;

/// Rows of one batch at most.
pub(crate) const BATCH_ROWS_MAX: usize = 8192;

enum Builder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    /// Text of numbers, too.
    NumberText(StringBuilder),
    Binary(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder, Zone),
}

impl Builder {
    fn new(data_type: &DataType, numbers: bool) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Self::Decimal(
                Decimal128Builder::new().with_data_type(data_type.clone()),
                *precision,
                *scale,
            ),
            DataType::Utf8 if numbers => Self::NumberText(StringBuilder::new()),
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            DataType::FixedSizeBinary(16) => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => Self::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let kind = if zone.is_some() {
                    Zone::Utc
                } else {
                    Zone::Without
                };
                let builder = TimestampMicrosecondBuilder::new().with_data_type(data_type.clone());
                Self::Timestamp(builder, kind)
            }
            _ => return None,
        })
    }

    /// Appends a value; false if it does not fit.
    fn append(&mut self, cell: Cell<'_>) -> bool {
        if cell == Cell::Null {
            self.append_null();
            return true;
        }
        match self {
            Self::Boolean(builder) => match cell {
                Cell::Integer(value @ 0..=1) => take(value == 1, |v| builder.append_value(v)),
                _ => false,
            },
            Self::Int64(builder) => match cell {
                Cell::Integer(value) => take(value, |v| builder.append_value(v)),
                _ => false,
            },
            Self::Float64(builder) => fits(real(cell), |v| builder.append_value(v)),
            Self::Decimal(builder, precision, scale) => {
                fits(decimal(cell, *precision, *scale), |v| {
                    builder.append_value(v)
                })
            }
            Self::Text(builder) => match cell {
                Cell::Text(value) => take(value, |v| builder.append_value(v)),
                _ => false,
            },
            Self::NumberText(builder) => match cell {
                Cell::Text(value) => take(value, |v| builder.append_value(v)),
                Cell::Integer(value) => take(value, |v| builder.append_value(v.to_string())),
                Cell::Real(value) => take(value, |v| builder.append_value(v.to_string())),
                _ => false,
            },
            Self::Binary(builder) => match cell {
                Cell::Blob(value) => take(value, |v| builder.append_value(v)),
                _ => false,
            },
            Self::Uuid(builder) => fits(uuid(cell), |v| {
                builder.append_value(v).expect("a UUID has sixteen bytes");
            }),
            Self::Date(builder) => {
                fits(text(cell).and_then(parse_date), |v| builder.append_value(v))
            }
            Self::Time(builder) => {
                fits(text(cell).and_then(parse_time), |v| builder.append_value(v))
            }
            Self::Timestamp(builder, zone) => {
                let micros = text(cell).and_then(|text| parse_timestamp(text, *zone));
                fits(micros, |v| builder.append_value(v))
            }
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal(builder, ..) => builder.append_null(),
            Self::Text(builder) | Self::NumberText(builder) => builder.append_null(),
            Self::Binary(builder) => builder.append_null(),
            Self::Uuid(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder, _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, ..) => Arc::new(builder.finish()),
            Self::Text(builder) | Self::NumberText(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::Uuid(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder, _) => Arc::new(builder.finish()),
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "only 0 and 1 are booleans; exclude the column or mend the value",
            Self::Date(_) | Self::Time(_) | Self::Timestamp(..) => {
                "only ISO text such as `2024-05-01 10:00:00` is read here (with a zone only where \
                 the type has one); read numbers through a view that converts or casts them, or \
                 exclude the column"
            }
            Self::Decimal(..) => {
                "the value has more digits than the declared type, as sums and products of floats \
                 do behind what is shown: store `round(value, scale)`, widen the declared type, or \
                 exclude the column"
            }
            _ => "SQLite stores any value anywhere; mend the value or exclude the column",
        }
    }
}

fn take<T>(value: T, append: impl FnOnce(T)) -> bool {
    append(value);
    true
}

fn fits<T>(value: Option<T>, append: impl FnOnce(T)) -> bool {
    value.map(append).is_some()
}

fn text(cell: Cell<'_>) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn real(cell: Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Real(value) => Some(value),
        #[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
        Cell::Integer(value) if value.unsigned_abs() <= FLOAT_EXACT_MAX => Some(value as f64),
        Cell::Text(NAN) => Some(f64::NAN),
        Cell::Text(NEGATIVE_ZERO) => Some(-0.0),
        _ => None,
    }
}

fn uuid(cell: Cell<'_>) -> Option<[u8; 16]> {
    match cell {
        Cell::Blob(bytes) => bytes.try_into().ok(),
        Cell::Text(text) => uuid::Uuid::try_parse(text).ok().map(uuid::Uuid::into_bytes),
        _ => None,
    }
}

fn decimal(cell: Cell<'_>, precision: u8, scale: i8) -> Option<i128> {
    match cell {
        Cell::Integer(value) => scaled(&value.to_string(), precision, scale),
        // The shortest text that reads back as the same float; it never has an exponent.
        Cell::Real(value) => scaled(&value.to_string(), precision, scale),
        Cell::Text(NAN) => Some(special::DECIMAL_NAN),
        Cell::Text(value) => scaled(value, precision, scale),
        _ => None,
    }
}

/// A plain decimal as an integer of `scale` decimals; `None` if a digit would be lost.
pub(crate) fn scaled(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::try_from(scale).ok()?;
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > scale {
        return None;
    }
    let mut value: i128 = 0;
    let padding = std::iter::repeat_n(b'0', scale - fraction.len());
    for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
        value = value
            .checked_mul(10)?
            .checked_add(i128::from(digit - b'0'))?;
    }
    if value >= 10_i128.checked_pow(u32::from(precision))? {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// One column of the rows that are decoded.
#[derive(Debug, Clone)]
pub(crate) struct DecodedColumn {
    /// Its name, for messages.
    pub(crate) name: String,
    /// The declared type, for messages.
    pub(crate) declared: String,
    /// What it is read as.
    pub(crate) data_type: DataType,
    /// True if numbers are read as their text.
    pub(crate) numbers: bool,
}

impl DecodedColumn {
    /// A column of a source table.
    pub(crate) fn of(column: &syncset_connector::Column) -> Self {
        Self {
            name: column.name.clone(),
            declared: column.native.name.clone(),
            data_type: column.data_type.clone(),
            numbers: column.native.as_text,
        }
    }
}

/// Collects rows of one shape into batches.
pub(crate) struct Decoder {
    table: String,
    columns: Vec<DecodedColumn>,
    builders: Vec<Builder>,
    schema: SchemaRef,
    row_count: usize,
    bytes: usize,
}

impl Decoder {
    /// A decoder of these columns; `schema` has the same ones.
    pub(crate) fn new(table: &str, columns: Vec<DecodedColumn>, schema: SchemaRef) -> Result<Self> {
        let builders = columns
            .iter()
            .map(|column| {
                Builder::new(&column.data_type, column.numbers).ok_or_else(|| {
                    ConnectorError::new(
                        ErrorClass::Unsupported,
                        format!("column `{}` of `{table}` cannot be read", column.name),
                    )
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            table: table.to_owned(),
            columns,
            builders,
            schema,
            row_count: 0,
            bytes: 0,
        })
    }

    /// Bytes collected since the last batch, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the batch is as large as one should be.
    pub(crate) fn is_full(&self, batch_bytes: usize) -> bool {
        self.row_count >= BATCH_ROWS_MAX || self.bytes >= batch_bytes
    }

    /// Appends one row. `cells` has as many values as there are columns; `key` names the row.
    pub(crate) fn append<'a>(
        &mut self,
        cells: impl Iterator<Item = Cell<'a>>,
        key: impl FnOnce() -> String,
    ) -> Result<()> {
        for (index, cell) in cells.enumerate() {
            self.bytes += cell.size();
            if !self.builders[index].append(cell) {
                return Err(self.misfit(index, cell, &key()));
            }
        }
        self.row_count += 1;
        Ok(())
    }

    fn misfit(&self, index: usize, cell: Cell<'_>, key: &str) -> ConnectorError {
        let column = &self.columns[index];
        let declared = if column.declared.is_empty() {
            "a column without a type".to_owned()
        } else {
            format!("a column declared `{}`", column.declared)
        };
        ConnectorError::new(
            ErrorClass::RowRefused,
            format!(
                "column `{}` of `{}` holds {} that does not fit {declared}, in the row {key}",
                column.name,
                self.table,
                cell.class(),
            ),
        )
        .with_hint(self.builders[index].advice())
    }

    /// The rows so far, if there are any.
    pub(crate) fn flush(&mut self) -> Result<Option<RecordBatch>> {
        if self.row_count == 0 {
            return Ok(None);
        }
        let arrays = self.builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.row_count));
        self.row_count = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(|cause| {
                // NOT NULL columns that hold NULL end here: SQLite allows them in old files.
                ConnectorError::new(
                    ErrorClass::RowRefused,
                    format!("rows of `{}` do not fit its declared columns", self.table),
                )
                .caused_by(cause)
            })
    }
}
