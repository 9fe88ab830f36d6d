//! Columns of a target table that the target fills itself.

use crate::TargetColumn;
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Names of the columns that a target fills itself. They are in no batch, in no comparison of rows
/// and in no selection of columns; their values are the time of the unit that writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Since when a row is gone; NULL for a row that is there. With it, whatever deletes a row
    /// marks it instead, once, and a row that is upserted is there again. Rows that are marked are
    /// not counted, compared or deleted a second time.
    pub deleted_at: Option<String>,
    /// When a row was last written: inserted, changed, or marked as gone.
    pub synced_at: Option<String>,
}

impl Marks {
    /// The columns as they are created: instants, which may be NULL.
    pub fn columns(&self) -> impl Iterator<Item = TargetColumn> {
        let names = self.deleted_at.iter().chain(&self.synced_at);
        names.map(|name| TargetColumn {
            name: name.clone(),
            data_type: Self::data_type(),
            native: None,
            nullable: true,
        })
    }

    /// Whether a column of this name is one of them.
    pub fn names(&self, name: &str) -> bool {
        let mut names = self.deleted_at.iter().chain(&self.synced_at);
        names.any(|mark| mark == name)
    }

    /// The Arrow type of their values.
    pub fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
    }
}
