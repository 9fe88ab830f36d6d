//! Runs WASM plugins.
