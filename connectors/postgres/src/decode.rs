//! Binary COPY into Arrow, straight from the bytes of the link.
//!
//! The server usually sends one message per row, so rows are read where they lie; a row that is
//! cut by the end of a message is kept until the rest arrives. Bytes from outside never panic:
//! every length is checked before it is used.

mod builder;
mod numeric;

use crate::error;
use crate::types::decode_kind;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use builder::ColumnBuilder;
use bytes::Bytes;
use std::sync::Arc;
use syncset_connector::{Column, ConnectorError, ErrorClass, Result};

/// Rows of one batch at most.
const BATCH_ROWS_MAX: usize = 65_536;

/// Bytes of one batch at most, whatever was asked for: with one value of at most 1 GB on top, the
/// offsets of a text column stay within 31 bits.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags and the length of the header's extension.
const HEADER_BYTES: usize = 19;

/// Bit of the header's flags: rows have OIDs (servers before 12).
const FLAG_OIDS: u32 = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    Rows,
    Ended,
}

/// What lies at the start of a buffer.
enum Next {
    /// A whole row of this many bytes.
    Row(usize),
    /// The end marker.
    End,
    /// Not all of it is there.
    Incomplete,
}

/// Turns the stream of one binary COPY into batches.
pub(crate) struct Decoder {
    table: String,
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    batch_bytes: usize,
    phase: Phase,
    /// The start of something that is not complete.
    carry: Vec<u8>,
    rows: usize,
    bytes: usize,
}

impl Decoder {
    /// A decoder for rows of these columns. `table` is for messages.
    ///
    /// # Errors
    /// `Unsupported` for an Arrow type that nothing is read as.
    pub(crate) fn new(
        table: impl Into<String>,
        columns: &[&Column],
        batch_bytes: usize,
    ) -> Result<Self> {
        let table = table.into();
        let mut builders = Vec::with_capacity(columns.len());
        for column in columns {
            let kind = decode_kind(column).ok_or_else(|| {
                ConnectorError::new(
                    ErrorClass::Unsupported,
                    format!(
                        "column `{}` of `{table}` cannot be read as {}",
                        column.name, column.data_type
                    ),
                )
            })?;
            builders.push(ColumnBuilder::new(column, kind));
        }
        let fields: Vec<_> = columns.iter().map(|column| column.field()).collect();
        Ok(Self {
            table,
            schema: Arc::new(Schema::new(fields)),
            columns: builders,
            batch_bytes: batch_bytes.clamp(1, BATCH_BYTES_MAX),
            phase: Phase::Header,
            carry: Vec::new(),
            rows: 0,
            bytes: 0,
        })
    }

    /// Schema of the batches.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Takes the next bytes, cut anywhere. A batch is returned when it is full, at most one per
    /// call: all rows of `bytes` are in it or in the next one.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Result<Option<RecordBatch>> {
        if self.carry.is_empty() {
            let used = self.take(&bytes)?;
            self.carry
                .extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(&bytes);
            let used = self.take(&carry)?;
            carry.drain(..used);
            self.carry = carry;
        }
        if self.rows >= BATCH_ROWS_MAX || self.bytes >= self.batch_bytes {
            return self.batch().map(Some);
        }
        Ok(None)
    }

    /// The last batch, if any row is left.
    ///
    /// # Errors
    /// `Connection` if the stream ended before its end marker.
    pub(crate) fn finish(mut self) -> Result<Option<RecordBatch>> {
        if self.phase != Phase::Ended {
            return Err(error::lost_link());
        }
        if self.rows == 0 {
            return Ok(None);
        }
        self.batch().map(Some)
    }

    /// Reads all that is complete; how many bytes that were.
    fn take(&mut self, buffer: &[u8]) -> Result<usize> {
        let mut used = 0;
        loop {
            let rest = buffer.get(used..).unwrap_or_default();
            match self.phase {
                Phase::Header => match self.header(rest)? {
                    Some(length) => {
                        used += length;
                        self.phase = Phase::Rows;
                    }
                    None => return Ok(used),
                },
                Phase::Rows => match self.next(rest)? {
                    Next::Row(length) => {
                        self.row(rest.get(2..length).unwrap_or_default())?;
                        self.rows += 1;
                        self.bytes += length;
                        used += length;
                    }
                    Next::End => {
                        self.phase = Phase::Ended;
                        used += 2;
                    }
                    Next::Incomplete => return Ok(used),
                },
                Phase::Ended if rest.is_empty() => return Ok(used),
                Phase::Ended => return Err(self.malformed("bytes follow its end")),
            }
        }
    }

    fn header(&self, buffer: &[u8]) -> Result<Option<usize>> {
        let present = buffer.len().min(SIGNATURE.len());
        if buffer.get(..present) != SIGNATURE.get(..present) {
            return Err(self.malformed("it does not start like a binary COPY"));
        }
        let (Some(flags), Some(extension)) = (u32_at(buffer, 11), u32_at(buffer, 15)) else {
            return Ok(None);
        };
        if flags & FLAG_OIDS != 0 {
            return Err(self.malformed("its rows have OIDs"));
        }
        let length = HEADER_BYTES.saturating_add(extension as usize);
        Ok((buffer.len() >= length).then_some(length))
    }

    /// Finds the end of a row without reading its values.
    fn next(&self, buffer: &[u8]) -> Result<Next> {
        let Some(count) = buffer.first_chunk::<2>() else {
            return Ok(Next::Incomplete);
        };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            return Ok(Next::End);
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(self.malformed("a row has another number of columns"));
        }
        let mut position = 2_usize;
        for _ in 0..count {
            let Some(length) = u32_at(buffer, position) else {
                return Ok(Next::Incomplete);
            };
            position += 4;
            if length != u32::MAX {
                if length > i32::MAX as u32 {
                    return Err(self.malformed("a value has a negative length"));
                }
                position = position.saturating_add(length as usize);
            }
        }
        Ok(if position <= buffer.len() {
            Next::Row(position)
        } else {
            Next::Incomplete
        })
    }

    /// Reads the values of one row, which is whole.
    fn row(&mut self, mut rest: &[u8]) -> Result<()> {
        for column in &mut self.columns {
            let Some((length, tail)) = rest.split_first_chunk::<4>() else {
                return Err(error::unexpected("a row of a binary COPY ended early"));
            };
            let length = i32::from_be_bytes(*length);
            let outcome = match usize::try_from(length) {
                Ok(length) => match tail.split_at_checked(length) {
                    Some((value, tail)) => {
                        rest = tail;
                        column.append(value)
                    }
                    None => Err("ended early"),
                },
                Err(_) => {
                    rest = tail;
                    column.append_null()
                }
            };
            if let Err(what) = outcome {
                return Err(bad_value(&self.table, column, what));
            }
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            match column.finish() {
                Ok(array) => arrays.push(array),
                Err(what) => return Err(bad_value(&self.table, column, what)),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(self.schema(), arrays, &options).map_err(|cause| {
            error::unexpected(format!("rows of `{}` do not fit their schema", self.table))
                .caused_by(cause)
        })
    }

    fn malformed(&self, what: &str) -> ConnectorError {
        error::unexpected(format!(
            "the COPY stream of `{}` cannot be read: {what}",
            self.table
        ))
    }
}

fn bad_value(table: &str, column: &ColumnBuilder, what: &'static str) -> ConnectorError {
    let name = column.name();
    if what == builder::UNEXPECTED_NULL {
        return ConnectorError::new(
            ErrorClass::SourceChanged,
            format!(
                "column `{name}` of `{table}` was NOT NULL when it was described and holds NULL"
            ),
        );
    }
    ConnectorError::new(
        ErrorClass::Store,
        format!("column `{name}` of `{table}` holds a value that cannot be carried: {what}"),
    )
    .with_hint("leave the column out, or change the value at the source")
}

fn u32_at(buffer: &[u8], position: usize) -> Option<u32> {
    buffer
        .get(position..)?
        .first_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
