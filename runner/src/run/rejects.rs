//! Rows that the target refused: counted against `rejects.max_rows`, stored, tried again.

use crate::exit_code;
use crate::failure::Failure;
use crate::run::table::TableRun;
use crate::run::waiting::WaitingRow;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use serde_json::Value;
use std::sync::Arc;
use syncset_connector::{ErrorClass, RejectedRow, Rejection, TableRead};

/// Longest text of one value that is kept with a refused row.
const VALUE_CHARS_MAX: usize = 1_000;

/// Refused rows of one unit.
pub(crate) struct Rejects {
    rows: Vec<RejectedRow>,
    allowed: u64,
}

impl Rejects {
    /// None yet; `max_rows` less those that wait already are allowed.
    pub(crate) fn new(table: &TableRun) -> Self {
        let allowed = table
            .planned
            .plan
            .max_rejects
            .saturating_sub(table.rejected_before);
        Self {
            rows: Vec::new(),
            allowed,
        }
    }

    /// Takes note of a refused row of a batch in target columns.
    ///
    /// # Errors
    /// The first row over the limit fails the table, with its key and the store's reason.
    pub(crate) fn add(
        &mut self,
        table: &TableRun,
        batch: &RecordBatch,
        rejection: Rejection,
    ) -> Result<(), Failure> {
        let row = rejected_row(table, batch, &rejection)?;
        if self.rows.len() as u64 >= self.allowed {
            return Err(over_the_limit(table, &row));
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
pub(crate) fn waits(table: &TableRun, waiting: &WaitingRow) -> Failure {
    match rejected_row(table, &waiting.row, &waiting.rejection) {
        Ok(row) => {
            let mut failure = over_the_limit(table, &row);
            failure.class = Some(ErrorClass::RowParked);
            failure
        }
        Err(failure) => failure,
    }
}

fn over_the_limit(table: &TableRun, row: &RejectedRow) -> Failure {
    let stream = table.stream();
    let max = table.planned.plan.max_rejects;
    let message = format!(
        "table `{stream}`: the target refused the row with key {}",
        row.key
    );
    let mut failure = Failure::new(exit_code::FAILED, message);
    failure.causes.push(row.reason.clone());
    failure.code = row.code.clone();
    failure.with_hint(format!(
        "mend the row at the source, leave it out with `where`, or let up to N rows wait with `rejects: {{ max_rows: N }}` (now {max})"
    ))
}

fn rejected_row(
    table: &TableRun,
    batch: &RecordBatch,
    rejection: &Rejection,
) -> Result<RejectedRow, Failure> {
    let mut row = serde_json::Map::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        row.insert(field.name().clone(), text_of(column, rejection.row)?);
    }
    let keys = table.planned.target.key.iter().enumerate();
    let key = keys.map(|(index, name)| {
        // Batches of keys carry the source's names, in key order.
        row.get(name)
            .or_else(|| row.values().nth(index))
            .cloned()
            .unwrap_or(Value::Null)
    });
    Ok(RejectedRow {
        stream: table.stream().to_owned(),
        key: Value::Array(key.collect()),
        reason: rejection.reason.clone(),
        code: rejection.code.clone(),
        row: Value::Object(row),
    })
}

fn text_of(column: &ArrayRef, row: usize) -> Result<Value, Failure> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(arrow_failure)?;
    let text = formatter
        .value(row)
        .try_to_string()
        .map_err(arrow_failure)?;
    Ok(Value::String(text.chars().take(VALUE_CHARS_MAX).collect()))
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
    let schema = read.key_schema();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let texts: StringArray = rejected
            .iter()
            .map(|row| row.key.get(index).and_then(Value::as_str))
            .collect();
        columns.push(from_text(&texts, field.data_type())?);
    }
    RecordBatch::try_new(schema, columns).map_err(arrow_failure)
}

fn from_text(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef, Failure> {
    if let DataType::FixedSizeBinary(size) = data_type {
        let values = texts.iter().map(|text| text.and_then(from_hex));
        let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, *size);
        return Ok(Arc::new(array.map_err(arrow_failure)?));
    }
    arrow_cast::cast(texts, data_type).map_err(arrow_failure)
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
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(arrow_array::Int64Array::from(vec![-5])),
            Arc::new(uuid),
            Arc::new(StringArray::from(vec!["a \"b\""])),
            Arc::new(arrow_array::Date32Array::from(vec![19_000])),
        ];

        for array in arrays {
            let text = text_of(&array, 0).unwrap();
            let texts = StringArray::from(vec![text.as_str()]);
            assert_eq!(&from_text(&texts, array.data_type()).unwrap(), &array);
        }
    }
}
