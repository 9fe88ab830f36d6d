//! `_syncset_pending_delete`: keys whose rows are to be deleted once the guard agrees.

use super::text::{key_is, key_values, target_columns, target_is};
use crate::sql::text;
use syncset_connector::{PipelineKey, TableName};

/// The pending deletes of one target table.
pub(crate) struct PendingRows {
    values: String,
    condition: String,
}

impl PendingRows {
    /// The table.
    pub(crate) const TABLE: &str = "_syncset_pending_delete";

    /// Its columns, in the order of [`values`](Self::values); the key and its hash follow them.
    pub(crate) const COLUMNS: &str =
        "project, pipeline, target_schema, target_table, key_values, key_hash";

    /// Those of one target table of a pipeline.
    pub(crate) fn of(key: &PipelineKey, target: &TableName) -> Self {
        let (schema, table) = target_columns(target);
        Self {
            values: format!("{}, {}, {}", key_values(key), text(schema), text(table)),
            condition: format!("{} AND {}", key_is("p.", key), target_is("p.", target)),
        }
    }

    /// What its rows hold besides the key.
    pub(crate) fn values(&self) -> &str {
        &self.values
    }

    /// True for its rows, as `p`.
    pub(crate) fn condition(&self) -> &str {
        &self.condition
    }
}
