//! What wasmtime makes of `plugins/wit`.

#![allow(missing_docs, unreachable_pub, clippy::all)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "batch-plugin",
    // Arrays are passed as they lie in Arrow's buffers: the only copy is the one into the guest.
    ownership: Borrowing { duplicate_if_necessary: true },
});
