//! One value as SQLite stores it, and how values of a row are reached.

use crate::error::from_sqlx;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Decode, Row, Sqlite, TypeInfo, ValueRef};
use std::path::Path;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// A value in its storage class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
    /// TEXT that is not UTF-8: no Arrow type takes it.
    BadText,
}

impl Cell<'_> {
    /// Bytes that the value takes in a batch, about.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 8,
            Self::Blob(blob) => blob.len() + 8,
            _ => 8,
        }
    }

    /// The storage class as messages name it.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "an integer",
            Self::Real(_) => "a real",
            Self::Text(_) => "text",
            Self::Blob(_) => "a blob",
            Self::BadText => "text that is not UTF-8",
        }
    }

    /// The value with its class, as positions and key bounds keep it.
    pub(crate) fn tagged(&self) -> String {
        match self {
            Self::Null => "n".into(),
            Self::Integer(value) => format!("i{value}"),
            // Bits, because a key must come back as it was.
            Self::Real(value) => format!("r{:016x}", value.to_bits()),
            Self::Text(value) => format!("t{value}"),
            Self::Blob(value) => value.iter().fold(String::from("b"), |mut hex, byte| {
                hex.push_str(&format!("{byte:02x}"));
                hex
            }),
            Self::BadText => "x".into(),
        }
    }

    /// The value as messages show a key.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Integer(value) => value.to_string(),
            Self::Real(value) => value.to_string(),
            Self::Text(value) => format!("`{value}`"),
            Self::Blob(_) => format!("x'{}'", &self.tagged()[1..]),
            Self::Null | Self::BadText => self.class().into(),
        }
    }
}

/// A value that was kept by [`Cell::tagged`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OwnedCell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl OwnedCell {
    /// Reads what [`Cell::tagged`] wrote.
    pub(crate) fn parse(tagged: &str) -> Option<Self> {
        let rest = tagged.get(1..)?;
        Some(match tagged.as_bytes().first()? {
            b'n' => Self::Null,
            b'i' => Self::Integer(rest.parse().ok()?),
            b'r' => Self::Real(f64::from_bits(u64::from_str_radix(rest, 16).ok()?)),
            b't' => Self::Text(rest.to_owned()),
            b'b' => Self::Blob(
                (0..rest.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(rest.get(at..at + 2)?, 16).ok())
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        })
    }

    /// The same value, borrowed.
    pub(crate) fn as_cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Integer(value) => Cell::Integer(*value),
            Self::Real(value) => Cell::Real(*value),
            Self::Text(value) => Cell::Text(value),
            Self::Blob(value) => Cell::Blob(value),
        }
    }
}

/// The value of a column of a row.
pub(crate) fn cell(row: &SqliteRow, index: usize) -> Cell<'_> {
    let Ok(value) = row.try_get_raw(index) else {
        return Cell::Null;
    };
    if value.is_null() {
        return Cell::Null;
    }
    let class = value.type_info();
    let class: &str = class.name();
    match class {
        "INTEGER" => <i64 as Decode<Sqlite>>::decode(value).map_or(Cell::BadText, Cell::Integer),
        "REAL" => <f64 as Decode<Sqlite>>::decode(value).map_or(Cell::BadText, Cell::Real),
        "TEXT" => <&str as Decode<Sqlite>>::decode(value).map_or(Cell::BadText, Cell::Text),
        _ => <&[u8] as Decode<Sqlite>>::decode(value).map_or(Cell::BadText, Cell::Blob),
    }
}

/// Adds one value to the arguments of a statement.
pub(crate) fn bind(arguments: &mut SqliteArguments, cell: Cell<'_>) -> Result<()> {
    let added = match cell {
        Cell::Null | Cell::BadText => arguments.add(None::<i64>),
        Cell::Integer(value) => arguments.add(value),
        Cell::Real(value) => arguments.add(value),
        Cell::Text(value) => arguments.add(value),
        Cell::Blob(value) => arguments.add(value),
    };
    added.map_err(|cause| {
        ConnectorError::new(ErrorClass::Store, "a value could not be bound").caused_by(cause)
    })
}

/// Integer of a column that our own statement made an integer.
pub(crate) fn integer(row: &SqliteRow, index: usize) -> i64 {
    match cell(row, index) {
        Cell::Integer(value) => value,
        _ => 0,
    }
}

/// Text of a column; NULL and other classes are `None`.
pub(crate) fn text(row: &SqliteRow, index: usize) -> Option<String> {
    match cell(row, index) {
        Cell::Text(value) => Some(value.to_owned()),
        _ => None,
    }
}

/// Maps the error of one fetched row.
pub(crate) fn fetched(
    row: std::result::Result<SqliteRow, sqlx::Error>,
    path: &Path,
    place: &str,
) -> Result<SqliteRow> {
    row.map_err(|error| from_sqlx(error, path, place))
}
