//! Rows that the target refused: counted against `rejects.max_rows`, stored, tried again.

use crate::exit_code;
use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::run::table::TableRun;
use crate::run::waiting::WaitingRow;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncset_connector::{ErrorClass, RejectedRow, Rejection, TableRead, special};
use syncset_transform::{SkippedRow, TransformError};
use uuid::Uuid;

/// Longest text of one value that is kept with a refused row.
const VALUE_CHARS_MAX: usize = 1_000;

/// Names of special values in keys.
const INFINITY: &str = "infinity";
const NEGATIVE_INFINITY: &str = "-infinity";
const NAN: &str = "NaN";

/// The last moment of a day, which Arrow cannot show.
const DAY_END: &str = "24:00:00";
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Refused rows of one unit.
pub(crate) struct Rejects {
    rows: Vec<RejectedRow>,
    /// Keys of these rows and of those that wait already.
    put_aside: BTreeSet<String>,
}

impl Rejects {
    /// None yet.
    pub(crate) fn new(table: &TableRun) -> Self {
        Self {
            rows: Vec::new(),
            put_aside: table.put_aside.clone(),
        }
    }

    /// Takes note of a refused row of a batch in target columns.
    ///
    /// # Errors
    /// The first row over `max_rows` fails the table, with its key and the store's reason.
    pub(crate) fn add(
        &mut self,
        table: &PlannedTable,
        batch: &RecordBatch,
        rejection: Rejection,
    ) -> Result<(), Failure> {
        let row = rejected_row(table, batch, &rejection)?;
        let is_new = self.put_aside.insert(row.key.to_string());
        if is_new && self.put_aside.len() as u64 > table.plan.max_rejects {
            return Err(over_the_limit(table, &row));
        }
        self.rows.push(row);
        Ok(())
    }

    /// Takes note of a row that a plugin failed at. `keys`: those of the batch that it is a row of.
    /// The row itself is not kept: it holds values as the source has them.
    ///
    /// # Errors
    /// The first row over `max_rows` fails the table, with its key and the plugin's reason.
    pub(crate) fn skip(
        &mut self,
        table: &PlannedTable,
        keys: &RecordBatch,
        skipped: &SkippedRow,
    ) -> Result<(), Failure> {
        let rejection = Rejection {
            row: skipped.row,
            reason: skipped.reason.clone(),
            code: None,
            parked: false,
        };
        let mut row = rejected_row(table, keys, &rejection)?;
        row.row = Value::Object(serde_json::Map::new());
        let is_new = self.put_aside.insert(row.key.to_string());
        if is_new && self.put_aside.len() as u64 > table.plan.max_rejects {
            return Err(limit_reached(table, &row, "a plugin failed at"));
        }
        self.rows.push(row);
        Ok(())
    }

    /// The rows, to be stored with the unit.
    pub(crate) fn take(&mut self) -> Vec<RejectedRow> {
        std::mem::take(&mut self.rows)
    }
}

/// The failure of a unit that waits for other tables because of this row.
pub(crate) fn waits(waiting: &WaitingRow) -> Failure {
    let table = &waiting.table;
    match rejected_row(table, &waiting.row, &waiting.rejection) {
        Ok(row) => {
            let mut failure = over_the_limit(table, &row);
            failure.class = Some(ErrorClass::RowParked);
            failure
        }
        Err(failure) => failure,
    }
}

/// The failure of a batch, with the key of the row that is to blame.
pub(crate) fn at_key(table: &TableRun, batch: &RecordBatch, error: TransformError) -> Failure {
    let row = error.row();
    let mut failure = Failure::from(error);
    let keys = key_columns(&table.read, batch).ok();
    if let Some((row, keys)) = row.zip(keys).filter(|(_, keys)| keys.num_columns() > 0) {
        let values = keys.columns().iter().map(|column| key_text(column, row));
        if let Ok(values) = values.collect::<Result<Vec<_>, _>>() {
            failure
                .causes
                .push(format!("the row has the key {}", Value::Array(values)));
        }
    }
    failure
}

fn over_the_limit(table: &PlannedTable, row: &RejectedRow) -> Failure {
    limit_reached(table, row, "the target refused")
}

/// `what`: who did not take the row.
fn limit_reached(table: &PlannedTable, row: &RejectedRow, what: &str) -> Failure {
    let stream = table.stream();
    let max = table.plan.max_rejects;
    let message = format!("table `{stream}`: {what} the row with key {}", row.key);
    let mut failure = Failure::new(exit_code::FAILED, message);
    failure.causes.push(row.reason.clone());
    failure.code = row.code.clone();
    failure.with_hint(format!(
        "mend the row at the source, leave it out with `where`, or let up to N rows wait with `rejects: {{ max_rows: N }}` (now {max})"
    ))
}

fn rejected_row(
    table: &PlannedTable,
    batch: &RecordBatch,
    rejection: &Rejection,
) -> Result<RejectedRow, Failure> {
    let mut row = serde_json::Map::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        row.insert(field.name().clone(), text_of(column, rejection.row)?);
    }
    let keys = table.target.key.iter().enumerate();
    let key = keys.map(|(index, name)| {
        // Batches of keys carry the source's names, in key order.
        let column = batch.column_by_name(name);
        key_text(column.unwrap_or_else(|| batch.column(index)), rejection.row)
    });
    Ok(RejectedRow {
        stream: table.stream().to_owned(),
        key: Value::Array(key.collect::<Result<_, _>>()?),
        reason: rejection.reason.clone(),
        code: rejection.code.clone(),
        row: Value::Object(row),
        first_at: None,
        attempts: 0,
    })
}

fn text_of(column: &ArrayRef, row: usize) -> Result<Value, Failure> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    if let Some(text) = special_text(column, row) {
        return Ok(Value::String(text.to_owned()));
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(arrow_failure)?;
    // A date that Arrow cannot show stops no row from being put aside.
    let text = formatter.value(row).try_to_string().unwrap_or_default();
    Ok(Value::String(text.chars().take(VALUE_CHARS_MAX).collect()))
}

/// One value of a key, whole: it is what the row is found by when it is tried again.
///
/// # Errors
/// A value that would not be read back as the same.
fn key_text(column: &ArrayRef, row: usize) -> Result<Value, Failure> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let unkept = |text: &str| {
        let message = format!("the key {text} of a refused row cannot be kept");
        Failure::new(exit_code::FAILED, message)
    };
    let plain = special_text(column, row).map(str::to_owned);
    let text = match plain.or_else(|| bytes_text(column, row)) {
        Some(text) => text,
        None => {
            let options = FormatOptions::default().with_display_error(false);
            let formatter =
                ArrayFormatter::try_new(column.as_ref(), &options).map_err(arrow_failure)?;
            let text = formatter.value(row).try_to_string();
            text.map_err(|_| unkept("of that kind"))?
        }
    };
    let texts = StringArray::from(vec![text.as_str()]);
    if from_text(&texts, column.data_type())?.as_ref() != column.slice(row, 1).as_ref() {
        return Err(unkept(&text));
    }
    Ok(Value::String(text))
}

/// A UUID as it is usually written, and other bytes as hexadecimal digits; `None`: no bytes.
pub(crate) fn bytes_text(column: &ArrayRef, row: usize) -> Option<String> {
    let bytes = match column.data_type() {
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().value(row),
        DataType::Binary => column.as_binary::<i32>().value(row),
        DataType::LargeBinary => column.as_binary::<i64>().value(row),
        _ => return None,
    };
    Some(match (column.data_type(), Uuid::from_slice(bytes)) {
        (DataType::FixedSizeBinary(_), Ok(uuid)) => uuid.to_string(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// Values that SQL has and Arrow has not, by the names that SQL has for them.
fn special_text(column: &ArrayRef, row: usize) -> Option<&'static str> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            match column.as_primitive::<TimestampMicrosecondType>().value(row) {
                special::TIMESTAMP_INFINITY => Some(INFINITY),
                special::TIMESTAMP_NEGATIVE_INFINITY => Some(NEGATIVE_INFINITY),
                _ => None,
            }
        }
        DataType::Date32 => match column.as_primitive::<Date32Type>().value(row) {
            special::DATE_INFINITY => Some(INFINITY),
            special::DATE_NEGATIVE_INFINITY => Some(NEGATIVE_INFINITY),
            _ => None,
        },
        DataType::Decimal128(..) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            (value == special::DECIMAL_NAN).then_some(NAN)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let value = column.as_primitive::<Time64MicrosecondType>().value(row);
            (value == DAY_MICROS).then_some(DAY_END)
        }
        _ => None,
    }
}

/// The keys of a batch of key columns, each as the text of a JSON array.
///
/// # Errors
/// As [`key_text`].
pub(crate) fn key_texts(keys: &RecordBatch) -> Result<Vec<String>, Failure> {
    let text = |row: usize| {
        let parts = keys.columns().iter().map(|column| key_text(column, row));
        Ok(Value::Array(parts.collect::<Result<_, _>>()?).to_string())
    };
    (0..keys.num_rows()).map(text).collect()
}

fn arrow_failure(error: arrow_schema::ArrowError) -> Failure {
    Failure::new(
        exit_code::FAILED,
        format!("cannot convert a refused row: {error}"),
    )
}

/// The key's columns of a batch in source columns, in key order.
pub(crate) fn key_columns(read: &TableRead, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
    let indices = read.key.iter().map(|name| {
        read.columns
            .iter()
            .position(|column| column == name)
            .expect("the key is always read")
    });
    batch
        .project(&indices.collect::<Vec<_>>())
        .map_err(arrow_failure)
}

/// Keys of refused rows as a batch of the read's key types. Keys that no longer fit the type
/// are left out: their rows cannot exist any more.
pub(crate) fn keys_batch(
    read: &TableRead,
    rejected: &[RejectedRow],
) -> Result<RecordBatch, Failure> {
    let keys: Vec<_> = rejected.iter().map(|row| &row.key).collect();
    keys_of_texts(read, &keys)
}

/// Keys that are stored as JSON arrays of texts, as a batch of the read's key types.
pub(crate) fn keys_of_texts(read: &TableRead, keys: &[&Value]) -> Result<RecordBatch, Failure> {
    let schema = read.key_schema();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let texts: StringArray = keys
            .iter()
            .map(|key| key.get(index).and_then(Value::as_str))
            .collect();
        columns.push(from_text(&texts, field.data_type())?);
    }
    RecordBatch::try_new(schema, columns).map_err(arrow_failure)
}

fn from_text(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef, Failure> {
    if let DataType::FixedSizeBinary(size) = data_type {
        // Keys that an older version stored have no dashes.
        let digits = texts.iter().map(|text| text.map(|it| it.replace('-', "")));
        let values = digits.map(|text| text.as_deref().and_then(from_hex));
        let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, *size);
        return Ok(Arc::new(array.map_err(arrow_failure)?));
    }
    if *data_type == DataType::Binary {
        let values: BinaryArray = texts.iter().map(|text| text.and_then(from_hex)).collect();
        return Ok(Arc::new(values));
    }
    let cast = arrow_cast::cast(texts, data_type).map_err(arrow_failure)?;
    Ok(with_specials(texts, cast))
}

/// Puts back what [`special_text`] took out.
fn with_specials(texts: &StringArray, cast: ArrayRef) -> ArrayRef {
    fn filled<T: ArrowPrimitiveType>(
        texts: &StringArray,
        cast: &ArrayRef,
        special: impl Fn(&str) -> Option<T::Native>,
    ) -> ArrayRef {
        let values = cast.as_primitive::<T>().iter().zip(texts);
        let values = values.map(|(value, text)| text.and_then(&special).or(value));
        let filled: PrimitiveArray<T> = values.collect();
        Arc::new(filled.with_data_type(cast.data_type().clone()))
    }
    match cast.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            filled::<TimestampMicrosecondType>(texts, &cast, |text| match text {
                INFINITY => Some(special::TIMESTAMP_INFINITY),
                NEGATIVE_INFINITY => Some(special::TIMESTAMP_NEGATIVE_INFINITY),
                _ => None,
            })
        }
        DataType::Date32 => filled::<Date32Type>(texts, &cast, |text| match text {
            INFINITY => Some(special::DATE_INFINITY),
            NEGATIVE_INFINITY => Some(special::DATE_NEGATIVE_INFINITY),
            _ => None,
        }),
        DataType::Decimal128(..) => filled::<Decimal128Type>(texts, &cast, |text| {
            (text == NAN).then_some(special::DECIMAL_NAN)
        }),
        DataType::Time64(TimeUnit::Microsecond) => {
            filled::<Time64MicrosecondType>(texts, &cast, |text| {
                (text == DAY_END).then_some(DAY_MICROS)
            })
        }
        _ => cast,
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |index: usize| u8::from_str_radix(text.get(index..index + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_being_stored_as_text() {
        let uuid = FixedSizeBinaryArray::try_from_iter([vec![7_u8; 16]].into_iter()).unwrap();
        let long = "é".repeat(2 * VALUE_CHARS_MAX);
        let decimals = arrow_array::Decimal128Array::from(vec![-5, special::DECIMAL_NAN]);
        let times = vec![
            1_700_000_000_000_001,
            -62_135_596_800_000_001,
            special::TIMESTAMP_INFINITY,
            special::TIMESTAMP_NEGATIVE_INFINITY,
        ];
        let times = arrow_array::TimestampMicrosecondArray::from(times);
        let days = vec![
            19_000,
            special::DATE_INFINITY,
            special::DATE_NEGATIVE_INFINITY,
        ];
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(arrow_array::Int64Array::from(vec![-5])),
            Arc::new(arrow_array::Int16Array::from(vec![i16::MIN])),
            Arc::new(arrow_array::BooleanArray::from(vec![true, false])),
            Arc::new(arrow_array::Float64Array::from(vec![
                -0.0,
                0.1,
                f64::INFINITY,
            ])),
            Arc::new(uuid),
            Arc::new(BinaryArray::from_vec(vec![b"", b"\x00\xffab"])),
            Arc::new(StringArray::from(vec!["a \"b\"", "", &long])),
            Arc::new(arrow_array::Date32Array::from(days)),
            Arc::new(decimals.with_precision_and_scale(12, 3).unwrap()),
            Arc::new(times.clone()),
            Arc::new(times.with_timezone("UTC")),
            Arc::new(arrow_array::Time64MicrosecondArray::from(vec![
                86_399_999_999,
                DAY_MICROS,
            ])),
        ];

        assert_eq!(
            key_text(&arrays[4], 0).unwrap(),
            "07070707-0707-0707-0707-070707070707"
        );
        let older = StringArray::from(vec!["07".repeat(16)]);
        let read = from_text(&older, arrays[4].data_type()).unwrap();
        assert_eq!(&read, &arrays[4]);
        for array in arrays {
            for row in 0..array.len() {
                let text = key_text(&array, row).unwrap();
                let texts = StringArray::from(vec![text.as_str()]);
                let back = from_text(&texts, array.data_type()).unwrap();
                assert_eq!(&back, &array.slice(row, 1), "{text}");
            }
        }
    }
}
