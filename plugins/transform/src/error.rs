//! Why an expression was refused or could not be computed.

/// Why a transform could not be compiled or applied. Holds no cell value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// The expression, or the specification, cannot be used as written.
    #[error("{place}: {reason}")]
    Refused {
        /// Table and column or condition.
        place: String,
        /// What is wrong with it.
        reason: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A value could not be computed.
    #[error("{place}: {reason}{}", row_suffix(.row))]
    Row {
        /// Table and column or condition.
        place: String,
        /// What happened, without the value.
        reason: String,
        /// Row of the batch that was given, counted from zero, if one row alone fails.
        row: Option<usize>,
        /// What a person can do next.
        hint: Option<String>,
    },
    /// A batch does not have the schema the transform was compiled for.
    #[error("{table}: a batch does not have the columns it was planned with: {reason}")]
    Schema {
        /// The table.
        table: String,
        /// What differs.
        reason: String,
    },
}

impl TransformError {
    /// What a person can do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } | Self::Row { hint, .. } => hint.as_deref(),
            Self::Schema { .. } => Some("run `syncset pipeline plan` again: the table has changed"),
        }
    }

    /// Row of the batch that was given to `apply`, if one row alone fails.
    pub fn row(&self) -> Option<usize> {
        match self {
            Self::Row { row, .. } => *row,
            Self::Refused { .. } | Self::Schema { .. } => None,
        }
    }

    /// True if the pipeline file has to change before this can work.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

fn row_suffix(row: &Option<usize>) -> String {
    // People count rows from one.
    row.map(|row| format!(" (row {} of the batch)", row.saturating_add(1)))
        .unwrap_or_default()
}

/// What is computed, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The condition of a table.
    Condition { table: String },
    /// A derived column of a table.
    Column { table: String, column: String },
    /// The mask of a column of a table.
    Mask { table: String, column: String },
    /// A plugin that changes the rows of a table. Its own messages name it.
    Plugin { table: String },
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Condition { table } => write!(formatter, "condition of `{table}`"),
            Self::Column { table, column } => {
                write!(formatter, "derived column `{column}` of `{table}`")
            }
            Self::Mask { table, column } => write!(formatter, "mask of `{column}` of `{table}`"),
            Self::Plugin { table } => write!(formatter, "transform of `{table}`"),
        }
    }
}

impl Place {
    pub(crate) fn refuse(&self, reason: impl Into<String>) -> TransformError {
        TransformError::Refused {
            place: self.to_string(),
            reason: reason.into(),
            hint: None,
        }
    }

    pub(crate) fn refuse_with_hint(
        &self,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> TransformError {
        TransformError::Refused {
            place: self.to_string(),
            reason: reason.into(),
            hint: Some(hint.into()),
        }
    }

    pub(crate) fn row(&self, fault: crate::evaluate::Fault) -> TransformError {
        TransformError::Row {
            place: self.to_string(),
            reason: fault.reason,
            row: fault.row,
            hint: fault.hint,
        }
    }
}
