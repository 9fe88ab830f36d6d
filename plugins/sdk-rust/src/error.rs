//! Why a plugin cannot go on, and where.

use std::any::Any;
use std::fmt;

use crate::bindings::syncset::plugin::types::PluginError;

/// What SDK functions and plugins return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plugin cannot go on.
///
/// Any standard error becomes one with `?`, its causes included. For that reason this type is not
/// a standard error itself.
///
/// Messages end up in logs and reports: they should not hold the values of private columns.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
    row: Option<u32>,
    column: Option<String>,
}

impl Error {
    /// An error of the whole batch, or of the configuration.
    pub fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            row: None,
            column: None,
        }
    }

    /// Names the row, counted from zero in the batch that was passed in. A row that was named
    /// before stays.
    #[must_use]
    pub fn at_row(mut self, row: usize) -> Self {
        self.row = self.row.or_else(|| u32::try_from(row).ok());
        self
    }

    /// Names the column. A column that was named before stays.
    #[must_use]
    pub fn in_column(mut self, column: impl Into<String>) -> Self {
        self.column.get_or_insert_with(|| column.into());
        self
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The row, counted from zero in the batch that was passed in.
    pub fn row(&self) -> Option<u32> {
        self.row
    }

    /// The column.
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// An error of any type that can be shown; one of ours keeps its row and column.
    pub(crate) fn of(error: impl fmt::Display + 'static) -> Self {
        match (&error as &dyn Any).downcast_ref::<Self>() {
            Some(ours) => ours.clone(),
            None => Self::new(error),
        }
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message.push_str(": ");
            message.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self::new(message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        if let Some(row) = self.row {
            write!(f, ", row {row}")?;
        }
        Ok(())
    }
}

// What `unwrap` shows in tests.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Error> for PluginError {
    fn from(error: Error) -> Self {
        Self {
            message: error.message,
            row: error.row,
            column: error.column,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_becomes_ours_with_its_causes() {
        let error = Error::from(std::io::Error::other("x".parse::<i32>().unwrap_err()));

        assert_eq!(error.message(), "invalid digit found in string");
    }

    #[test]
    fn first_row_and_column_stay() {
        let error = Error::new("bad")
            .at_row(3)
            .in_column("a")
            .at_row(7)
            .in_column("b");

        assert_eq!(error.to_string(), "bad, column `a`, row 3");
        assert_eq!(Error::of(error.clone()), error);
        assert_eq!(Error::of("text"), Error::new("text"));
    }
}
