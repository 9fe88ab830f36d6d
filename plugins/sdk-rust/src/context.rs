//! What a plugin may know of "where" and "now".

use crate::bindings::syncset::plugin::types;

/// Where a batch belongs. There is no clock: a repeated call is given the same values, so that it
/// can return the same rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The pipeline's name.
    pub pipeline: String,
    /// The table's name.
    pub table: String,
    /// When the run began, in microseconds since 1970-01-01T00:00:00Z.
    pub run_time_us: i64,
}

impl From<types::Context> for Context {
    fn from(context: types::Context) -> Self {
        let types::Context {
            pipeline,
            table,
            run_time_us,
        } = context;
        Self {
            pipeline,
            table,
            run_time_us,
        }
    }
}
