//! Rows of the binary protocol to Arrow batches. A value that does not fit its column is refused,
//! never bent.

mod builder;
#[cfg(test)]
mod tests;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use builder::ColumnBuilder;
use mysql_async::Value;
use std::sync::Arc;
use syncset_connector::{Column, ConnectorError, ErrorClass, Result};

use crate::error;
use crate::types::ReadRules;

/// Rows of one batch at most.
const BATCH_ROWS_MAX: usize = 65_536;

/// Bytes of one batch at most, whatever was asked for: with one value of at most 1 GB on top, the
/// offsets of a text column stay within 31 bits.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why one value does not fit, and what to do about it. Without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Such as "a date that does not exist".
    pub(crate) what: &'static str,
    /// The next step.
    pub(crate) hint: &'static str,
}

/// Collects rows of one shape into batches.
pub(crate) struct Decoder {
    table: String,
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    /// Places of the key, to name a row that is refused.
    key: Vec<usize>,
    batch_bytes: usize,
    rows: usize,
    bytes: usize,
}

impl Decoder {
    /// A decoder of rows with these columns, of which those at `key` name a row. `table` is for
    /// messages.
    ///
    /// # Errors
    /// `Unsupported` for an Arrow type that nothing is read as.
    pub(crate) fn new(
        table: &str,
        columns: &[&Column],
        key: Vec<usize>,
        rules: ReadRules,
        batch_bytes: usize,
    ) -> Result<Self> {
        let builders: Result<Vec<_>> = columns
            .iter()
            .map(|column| {
                ColumnBuilder::new(column, rules).ok_or_else(|| {
                    ConnectorError::new(
                        ErrorClass::Unsupported,
                        format!(
                            "column `{}` of `{table}` cannot be read as {}",
                            column.name, column.data_type
                        ),
                    )
                })
            })
            .collect();
        let fields: Vec<_> = columns.iter().map(|column| column.field()).collect();
        Ok(Self {
            table: table.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            columns: builders?,
            key,
            batch_bytes: batch_bytes.clamp(1, BATCH_BYTES_MAX),
            rows: 0,
            bytes: 0,
        })
    }

    /// Bytes collected since the last batch, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the batch is as large as one should be.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS_MAX || self.bytes >= self.batch_bytes
    }

    /// Appends one row, which has as many values as there are columns.
    pub(crate) fn append(&mut self, values: impl IntoIterator<Item = Value>) -> Result<()> {
        let mut count = 0;
        let mut misfit = None;
        for (place, (builder, value)) in self.columns.iter_mut().zip(values).enumerate() {
            self.bytes += size_of(&value);
            // The rest of the row is read all the same: it may hold the key.
            if let Err(found) = builder.append(value) {
                misfit.get_or_insert((place, found));
            }
            count += 1;
        }
        if let Some((place, found)) = misfit {
            return Err(self.refused(place, found));
        }
        if count != self.columns.len() {
            return Err(error::unexpected(format!(
                "a row of `{}` has {count} values instead of {}",
                self.table,
                self.columns.len()
            )));
        }
        self.rows += 1;
        Ok(())
    }

    fn refused(&mut self, place: usize, misfit: Misfit) -> ConnectorError {
        let mut parts = Vec::with_capacity(self.key.len());
        for key in self.key.clone() {
            let name = self.columns[key].name.clone();
            let last = self.columns[key].last_as_text();
            parts.push(format!("`{name}` = {last}"));
        }
        let row = if parts.is_empty() {
            String::new()
        } else {
            format!(", in the row {}", parts.join(", "))
        };
        let column = &self.columns[place];
        ConnectorError::new(
            ErrorClass::RowRefused,
            format!(
                "column `{}` of `{}` (`{}`) holds {}{row}",
                column.name, self.table, column.native, misfit.what
            ),
        )
        .with_hint(misfit.hint)
    }

    /// The rows so far, if there are any.
    pub(crate) fn flush(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(|cause| {
                error::unexpected(format!("rows of `{}` do not fit their columns", self.table))
                    .caused_by(cause)
            })
    }
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len() + 4,
        _ => 8,
    }
}
