//! `_syncset.pending_delete`: keys whose rows are to be deleted once the guard agrees.

use super::load::target_columns;
use super::text::{key_is, key_values, literal};
use syncset_connector::{PipelineKey, TableName};

/// The pending deletes of one target table.
pub(crate) struct PendingRows {
    values: String,
    condition: String,
}

impl PendingRows {
    /// The table.
    pub(crate) const TABLE: &str = "_syncset.pending_delete";

    /// Its columns, in the order of [`values`](Self::values); the key follows them.
    pub(crate) const COLUMNS: &str = "project, pipeline, target_schema, target_table, key";

    /// Those of one target table of a pipeline.
    pub(crate) fn of(key: &PipelineKey, target: &TableName) -> Self {
        let (schema, table) = target_columns(target);
        let (schema, table) = (literal(schema), literal(table));
        Self {
            values: format!("{}, {schema}, {table}", key_values(key)),
            condition: format!(
                "{} AND p.target_schema = {schema} AND p.target_table = {table}",
                key_is("p.", key)
            ),
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
