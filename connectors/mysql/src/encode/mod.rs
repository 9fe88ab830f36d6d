//! Arrow batches as literals of SQL.
//!
//! No server converts a value here: what a column cannot hold as it is, in range, digits,
//! characters or length, is refused, and the row with it. So it does not matter which server
//! rounds and which one cuts.

mod back;
mod cell;
pub(crate) mod document;
mod form;
mod moment;
mod number;
pub(crate) mod uuid;
mod values;

pub(crate) use back::keys_from_text;
pub(crate) use form::{Form, TextForm};

use arrow_array::RecordBatch;
use cell::write_cell;
use syncset_connector::{ConnectorError, ErrorClass, Result};
use values::Values;

/// A column of the batches, and what takes its values.
#[derive(Debug, Clone)]
pub(crate) struct EncodedColumn {
    /// Its place in the batches.
    pub(crate) index: usize,
    /// Its name at the target.
    pub(crate) name: String,
    /// What the target's column takes.
    pub(crate) form: Form,
    /// True if the target's column refuses NULL.
    pub(crate) not_null: bool,
}

/// How values are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As literals of a statement: `(1, 'a', NULL)`.
    Statement,
    /// As a line of a file for LOAD DATA: `1\ta\t\N\n`. Bytes are hexadecimal digits.
    Line,
}

/// Makes literals of the rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct RowEncoder {
    table: String,
    columns: Vec<EncodedColumn>,
    /// A time that stands behind the columns of every row.
    time: Option<String>,
}

impl RowEncoder {
    /// An encoder for these columns, in the order in which they are written.
    pub(crate) fn new(table: String, columns: Vec<EncodedColumn>) -> Self {
        Self {
            table,
            columns,
            time: None,
        }
    }

    /// The same with a time, as the server reads it, behind the columns of every row.
    pub(crate) fn with_time(self, time: String) -> Self {
        Self {
            time: Some(time),
            ..self
        }
    }

    /// A batch, ready to be spelled row by row.
    ///
    /// # Errors
    /// `Store` if the batch does not hold the columns.
    pub(crate) fn batch<'a>(&'a self, batch: &'a RecordBatch) -> Result<EncodedBatch<'a>> {
        let values = self.columns.iter().map(|column| {
            let array = batch.columns().get(column.index);
            array
                .and_then(Values::of)
                .ok_or_else(|| self.not_carried(&column.name))
        });
        Ok(EncodedBatch {
            encoder: self,
            values: values.collect::<Result<_>>()?,
        })
    }

    fn not_carried(&self, column: &str) -> ConnectorError {
        ConnectorError::new(
            ErrorClass::Unsupported,
            format!(
                "values of column `{column}` cannot be written to `{}`",
                self.table
            ),
        )
        .with_hint("leave it out of `columns:`, or carry another form of it with `derive`")
    }
}

/// A batch, ready to be spelled row by row.
pub(crate) struct EncodedBatch<'a> {
    encoder: &'a RowEncoder,
    values: Vec<Values<'a>>,
}

impl EncodedBatch<'_> {
    /// Appends one row.
    ///
    /// # Errors
    /// `RowRefused`, naming the column; what was appended of the row is to be cut off.
    pub(crate) fn write_row(
        &self,
        row: usize,
        spelling: Spelling,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let (first, between, last): (&[u8], u8, &[u8]) = match spelling {
            Spelling::Statement => (b"(", b',', b")"),
            Spelling::Line => (b"", b'\t', b"\n"),
        };
        out.extend_from_slice(first);
        for (place, (column, values)) in self.encoder.columns.iter().zip(&self.values).enumerate() {
            if place > 0 {
                out.push(between);
            }
            if values.is_null(row) {
                if column.not_null {
                    return Err(self.refused(column, "it is NULL, which the column refuses"));
                }
                out.extend_from_slice(match spelling {
                    Spelling::Statement => b"NULL",
                    Spelling::Line => b"\\N",
                });
                continue;
            }
            write_cell(values, row, &column.form, spelling, out)
                .map_err(|reason| self.refused(column, reason))?;
        }
        if let Some(time) = &self.encoder.time {
            let quote: &[u8] = match spelling {
                Spelling::Statement => b"'",
                Spelling::Line => b"",
            };
            for part in [&[between], quote, time.as_bytes(), quote] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(last);
        Ok(())
    }

    fn refused(&self, column: &EncodedColumn, reason: &str) -> ConnectorError {
        ConnectorError::new(
            ErrorClass::RowRefused,
            format!(
                "a value does not fit column `{}` of `{}`: {reason}",
                column.name, self.encoder.table
            ),
        )
        .with_hint(
            "widen the column at the target, or change the value at the source; with \
             `rejects: { max_rows: .. }` such rows are set aside",
        )
    }
}

#[cfg(test)]
mod tests;
