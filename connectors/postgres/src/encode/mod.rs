//! Arrow batches as the bytes of `COPY ... FROM STDIN (FORMAT binary)`.
//!
//! What each column becomes on the wire is chosen once per table; nothing here knows SQL, and no
//! value is ever rounded or cut: one that does not fit is an error that names the column.

mod cell;
mod numeric;
#[cfg(test)]
mod tests;

use arrow_array::RecordBatch;
use cell::Cell;
use std::ops::Range;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// Start of every binary COPY: signature, flags, length of the extension.
pub(crate) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// End of every binary COPY.
pub(crate) const COPY_TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Bytes that are collected before they are sent.
pub(crate) const SEND_BYTES: usize = 256 * 1024;

/// What a value is on the wire: the binary form of a PostgreSQL type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `oid` and its kin: unsigned, 32 bits.
    Oid,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`
    Numeric,
    /// Every type whose binary form is its text: `text`, `varchar`, `json`, `xml`, enums, ...
    Text,
    /// `jsonb`: a version, then the text.
    Jsonb,
    /// `bytea`
    Bytea,
    /// `uuid`
    Uuid,
    /// `date`
    Date,
    /// `timestamp` and `timestamptz`
    Timestamp,
    /// `time`
    Time,
    /// `interval` of microseconds alone
    Interval,
}

/// Why one value cannot be written, without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellError(pub(crate) &'static str);

/// Encodes batches of one table.
#[derive(Debug, Clone)]
pub(crate) struct RowEncoder {
    columns: Vec<EncodedColumn>,
}

/// One column that is written.
#[derive(Debug, Clone)]
pub(crate) struct EncodedColumn {
    /// Its place in the batch.
    pub(crate) index: usize,
    /// Its name, for messages.
    pub(crate) name: String,
    /// Its form.
    pub(crate) wire: Wire,
}

impl RowEncoder {
    /// An encoder of these columns, in the order of the COPY's columns.
    pub(crate) fn new(columns: Vec<EncodedColumn>) -> Self {
        Self { columns }
    }

    /// The same encoder with one more column behind the others, if there is one.
    pub(crate) fn and(&self, column: Option<EncodedColumn>) -> Self {
        let columns = self.columns.iter().cloned();
        Self {
            columns: columns.chain(column).collect(),
        }
    }

    /// Encodes rows until `rows` is used up or `out` holds `SEND_BYTES`; `rows` then starts at
    /// the first row that was not encoded.
    ///
    /// # Errors
    /// `Unsupported` if a column's Arrow type has no such wire form; `RowRefused` if a value
    /// does not fit. `out` then holds garbage.
    pub(crate) fn encode(
        &self,
        batch: &RecordBatch,
        rows: &mut Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let cells = self.bind(batch)?;
        let count = u16::try_from(cells.len()).expect("a table has at most 1,600 columns");
        while rows.start < rows.end && out.len() < SEND_BYTES {
            out.extend_from_slice(&count.to_be_bytes());
            for (place, cell) in cells.iter().enumerate() {
                cell.put(rows.start, out)
                    .map_err(|error| self.refused(place, error))?;
            }
            rows.start += 1;
        }
        Ok(())
    }

    fn bind<'a>(&self, batch: &'a RecordBatch) -> Result<Vec<Cell<'a>>> {
        self.columns
            .iter()
            .map(|column| {
                let array = batch.columns().get(column.index).ok_or_else(|| {
                    ConnectorError::new(
                        ErrorClass::Store,
                        format!("a batch came without column `{}`", column.name),
                    )
                })?;
                Cell::bind(array.as_ref(), column.wire).ok_or_else(|| {
                    ConnectorError::new(
                        ErrorClass::Unsupported,
                        format!(
                            "column `{}` comes as {} and cannot be written as {:?}",
                            column.name,
                            array.data_type(),
                            column.wire
                        ),
                    )
                    .with_hint("cast the column to the target's type, or leave it out")
                })
            })
            .collect()
    }

    fn refused(&self, place: usize, error: CellError) -> ConnectorError {
        ConnectorError::new(
            ErrorClass::RowRefused,
            format!("{} in column `{}`", error.0, self.columns[place].name),
        )
    }
}

/// Whether values of this Arrow type can be written in this form.
pub(crate) fn can_encode(data_type: &arrow_schema::DataType, wire: Wire) -> bool {
    Cell::bind(arrow_array::new_empty_array(data_type).as_ref(), wire).is_some()
}
