//! Derived columns, conditions and masks: the only crate that sees DataFusion.
//!
//! A [`Transform`] is compiled once per table and run, and applied to every batch. It keeps the
//! rows for which the condition is true and computes the derived columns; columns that are only
//! passed on keep their `Arc`. Nothing here reads or writes a store, and nothing here turns a
//! value that cannot be computed into NULL: it is an error that names the column and the row.

mod arguments;
mod compile;
mod context;
mod error;
mod evaluate;
mod mask;
mod names;
mod plugin_function;
mod skip;
mod spec;
mod special;
mod step;
mod transform;
mod uuid;

pub use context::{TransformContext, is_function};
pub use error::{Part, TransformError};
pub use spec::{MaskedValue, OutputExpr, OutputSpec, TransformSpec};
pub use step::{PluginStep, SkippedRow};
pub use transform::{Applied, SKIPPED_ROWS_MAX, Transform};
