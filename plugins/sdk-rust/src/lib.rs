//! Transforms, filters and SQL functions for syncset, in Rust.
//!
#![doc = include_str!("../README.md")]

// What the macros make names the crate from outside; so do the bindings within it.
extern crate self as syncset_plugin;

#[allow(missing_docs, unreachable_pub, clippy::all)]
#[doc(hidden)]
#[rustfmt::skip]
pub mod bindings;
mod context;
mod error;
mod format;
#[allow(missing_docs)]
#[doc(hidden)]
pub mod guest;
#[allow(missing_docs)]
mod instance;
#[doc(hidden)]
pub mod log;
#[allow(missing_docs)]
#[doc(hidden)]
pub mod scalar;
pub mod testing;
mod transform;
mod wire;

pub use arrow_array;
pub use arrow_schema;
#[doc(hidden)]
pub use serde;
#[doc(hidden)]
pub use wit_bindgen;

pub use context::Context;
pub use error::{Error, Result};
pub use format::{exact_format, format};
pub use syncset_plugin_macros::{filter, plugin, scalar, transform};
pub use transform::{Column, Filter, Output, Reads, Transform};
#[doc(hidden)]
pub use transform::{IntoMask, IntoOutput};

use arrow_schema::Field;

/// A nullable column for the schema that `bind` returns, with its type as plugins write it.
///
/// # Panics
/// If there is no such type.
pub fn field(name: impl Into<String>, type_name: &str) -> Field {
    let data_type =
        format::data_type(exact_format(type_name)).expect("every exact format is a type");
    Field::new(name, data_type, true)
}

/// What most plugins use.
pub mod prelude {
    pub use crate::{Context, Error, Filter, Output, Reads, Result, Transform};
    pub use arrow_array::cast::AsArray;
    pub use arrow_array::{Array, ArrayRef, RecordBatch};
    pub use arrow_schema::Schema;
}
