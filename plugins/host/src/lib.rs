//! Runs WASM plugins: loads them, keeps them within their limits, and passes Arrow arrays.
//!
//! A [`Plugin`] is a compiled component whose exports and imports were checked. A
//! [`PluginTransform`] or a [`PluginFunction`] is bound to the types of one table when a pipeline
//! is planned, and applied to its batches. A plugin is given no files, no network, no clock and no
//! randomness; nothing that it returns is trusted. An instance
//! that stopped is never used again.

mod arrays;
mod bindings;
mod component;
mod config_schema;
mod description;
mod engine;
mod error;
mod format;
mod function;
mod guest;
mod instance;
mod interrupt;
mod lines;
mod plugin;
mod pool;
mod settings;
mod transform;

#[cfg(test)]
mod tests;

pub use component::to_component;
pub use description::{Description, FunctionDescription, Volatility};
pub use error::{Fault, PluginError};
pub use format::{data_type_of, type_name};
pub use function::PluginFunction;
pub use instance::{ColumnNeed, Scope};
pub use interrupt::Interrupt;
pub use lines::{Lines, hold};
pub use plugin::Plugin;
pub use settings::{Config, Limits, PluginFile, Wasi, sha256_of};
pub use transform::{PluginTransform, Returned};

/// The version of the contract in `plugins/wit` that this host speaks.
pub const CONTRACT: &str = "0.1.0";
