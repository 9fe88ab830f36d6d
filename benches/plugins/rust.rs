//! Upper-cases the ASCII letters of `note` and adds one to `quantity`.

use std::sync::Arc;
use syncset_plugin::arrow_array::{Int32Array, StringArray};
use syncset_plugin::prelude::*;

#[syncset_plugin::transform(reads = ["note: utf8", "quantity: i32"], changes = ["note", "quantity"])]
fn change(batch: RecordBatch) -> Result<Output> {
    let notes: StringArray = batch["note"]
        .as_string::<i32>()
        .iter()
        .map(|note| note.map(str::to_ascii_uppercase))
        .collect();
    let quantities: Int32Array = batch["quantity"]
        .as_primitive::<syncset_plugin::arrow_array::types::Int32Type>()
        .iter()
        .map(|quantity| quantity.map(|it| it + 1))
        .collect();
    let columns: [(&str, ArrayRef); 2] = [("note", Arc::new(notes)), ("quantity", Arc::new(quantities))];
    Ok(RecordBatch::try_from_iter(columns)?.into())
}

#[syncset_plugin::scalar]
fn loud(note: &str) -> String {
    note.to_ascii_uppercase()
}

syncset_plugin::plugin! {
    functions: [loud],
    transform: change,
}
