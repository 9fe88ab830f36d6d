//! Keys that the server gave as text, as the batches of the pipeline hold them.

use crate::connect::TextRow;
use crate::error;
use arrow_array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;
use syncset_connector::{ConnectorError, Result, TargetTable};

/// Keys of a table, a text per column: bytes as hexadecimal digits, everything else as the server
/// prints it. Columns are those of the key, in key order.
///
/// # Errors
/// `Store` for a text that is no value of its column.
pub(crate) fn keys_from_text(table: &TargetTable, rows: &[TextRow]) -> Result<RecordBatch> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (index, name) in table.key.iter().enumerate() {
        let column = table.columns.iter().find(|column| column.name == *name);
        let column = column.ok_or_else(|| no_value(name))?;
        let texts: Vec<Option<&str>> = rows.iter().map(|row| row.text(index)).collect();
        arrays.push(array_of(&column.data_type, &texts).ok_or_else(|| no_value(name))?);
        fields.push(Field::new(name, column.data_type.clone(), true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|cause| error::unexpected("keys of a target differ in length").caused_by(cause))
}

fn array_of(data_type: &DataType, texts: &[Option<&str>]) -> Option<ArrayRef> {
    match data_type {
        DataType::Binary => {
            let bytes: Option<Vec<_>> = texts.iter().map(|text| of_hexadecimal((*text)?)).collect();
            let bytes = bytes?;
            Some(Arc::new(BinaryArray::from_iter_values(bytes)))
        }
        DataType::FixedSizeBinary(length) => {
            let parse = |text: &Option<&str>| {
                let text = (*text)?;
                match uuid::Uuid::try_parse(text) {
                    Ok(uuid) if *length == 16 => Some(uuid.as_bytes().to_vec()),
                    _ => of_hexadecimal(text),
                }
            };
            let bytes: Option<Vec<_>> = texts.iter().map(parse).collect();
            let array = FixedSizeBinaryArray::try_from_iter(bytes?.into_iter()).ok()?;
            Some(Arc::new(array))
        }
        other => {
            let array: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
            let strict = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            cast_with_options(&array, other, &strict).ok()
        }
    }
}

fn of_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn no_value(column: &str) -> ConnectorError {
    error::unexpected(format!(
        "a key of the target cannot be read back, column `{column}`"
    ))
}
