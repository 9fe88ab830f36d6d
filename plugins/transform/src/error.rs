//! Why an expression was refused or could not be computed.

use crate::step::SkippedRow;

/// What to do with a plugin that fails at too many rows.
const ROWS_HINT: &str = "so many failures are no accident: mend the plugin, let it return NULL \
    where it cannot tell, or leave these rows out with `where`";

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
        /// Which part of the specification it is.
        part: Part,
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
    /// A plugin failed at more rows of one batch than may be left out.
    #[error(
        "{place}: more than {row_count_max} of the {row_count} rows of one batch failed; the \
         first: {}",
        first_reason(.rows)
    )]
    Rows {
        /// The table.
        place: String,
        /// Rows that may be left out.
        row_count_max: usize,
        /// Rows of the batch.
        row_count: usize,
        /// Rows that failed, one more than may.
        rows: Vec<SkippedRow>,
    },
    /// The call of a plugin was ended because everything is to end.
    #[error("{place}: {reason}")]
    Stopped {
        /// Table and column or condition.
        place: String,
        /// What was ended.
        reason: String,
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
            Self::Rows { .. } => Some(ROWS_HINT),
            Self::Stopped { .. } => None,
            Self::Schema { .. } => Some("run `syncset pipeline plan` again: the table has changed"),
        }
    }

    /// Row of the batch that was given to `apply`, if one row alone fails.
    pub fn row(&self) -> Option<usize> {
        match self {
            Self::Row { row, .. } => *row,
            Self::Rows { rows, .. } => rows.first().map(|skipped| skipped.row),
            Self::Refused { .. } | Self::Stopped { .. } | Self::Schema { .. } => None,
        }
    }

    /// The part of the specification that cannot be used, if one cannot.
    pub fn part(&self) -> Option<&Part> {
        match self {
            Self::Refused { part, .. } => Some(part),
            _ => None,
        }
    }

    /// True if the pipeline file has to change before this can work.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

fn first_reason(rows: &[SkippedRow]) -> &str {
    rows.first().map_or("", |skipped| &skipped.reason)
}

fn row_suffix(row: &Option<usize>) -> String {
    // People count rows from one.
    row.map(|row| format!(" (row {} of the batch)", row.saturating_add(1)))
        .unwrap_or_default()
}

/// A part of a specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The condition.
    Condition,
    /// The expression of an output.
    Column(String),
    /// The mask of an output.
    Mask(String),
    /// A plugin.
    Plugin,
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
            part: self.part(),
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
            part: self.part(),
        }
    }

    fn part(&self) -> Part {
        match self {
            Self::Condition { .. } => Part::Condition,
            Self::Column { column, .. } => Part::Column(column.clone()),
            Self::Mask { column, .. } => Part::Mask(column.clone()),
            Self::Plugin { .. } => Part::Plugin,
        }
    }

    pub(crate) fn row(&self, fault: crate::evaluate::Fault) -> TransformError {
        if fault.is_stop {
            return TransformError::Stopped {
                place: self.to_string(),
                reason: fault.reason,
            };
        }
        TransformError::Row {
            place: self.to_string(),
            reason: fault.reason,
            row: fault.row,
            hint: fault.hint,
        }
    }
}
