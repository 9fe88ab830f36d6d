//! The macros of `syncset-plugin`; use them from there.

mod options;
mod plugin;
mod scalar;
mod table;

use proc_macro::TokenStream;

/// Makes a function for SQL expressions of a Rust function. Its documentation comment is passed on.
///
/// A function of values (`fn(&str, Option<i64>) -> String`) is called for each row. One without
/// `Option` arguments is not called, and gives NULL, where an argument is NULL. A function of
/// arrays (`fn(&StringArray) -> Result<Int64Array>`) is called for each batch.
///
/// Options: `strict` (NULL where an argument is NULL, for functions of arrays), `stable` or
/// `volatile`, `name = "..."`, and for functions of arrays `args = ["...", ...]` and
/// `returns = "..."`, the types of arrays that do not tell them.
#[proc_macro_attribute]
pub fn scalar(options: TokenStream, item: TokenStream) -> TokenStream {
    scalar::expand(options.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a transform of a function that takes a `&Context` (may be left out), a `RecordBatch` and
/// a `&Config` (may be left out), and returns a `RecordBatch` or an `Output`, or a `Result`.
///
/// Options: `reads = ["name: type | type", ...]` (all columns if left out), `changes = ["name"]`,
/// columns that are read and returned in the same type, and `adds = ["name: type", ...]`.
#[proc_macro_attribute]
pub fn transform(options: TokenStream, item: TokenStream) -> TokenStream {
    table::transform(options.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a filter of a function with the arguments of a transform that returns a `BooleanArray`,
/// or a `Result` of it. Option: `reads`, as in a transform.
#[proc_macro_attribute]
pub fn filter(options: TokenStream, item: TokenStream) -> TokenStream {
    table::filter(options.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Exports a plugin. Once in a crate:
///
/// ```text
/// syncset_plugin::plugin! {
///     name: "phones",                   // else the package's name
///     doc: "Telephone numbers",         // else the package's description
///     config_schema: include_str!("config.schema.json"),
///     functions: [normalise_phone],
///     transform: NormalisePhones,
///     filter: has_phone,
/// }
/// ```
#[proc_macro]
pub fn plugin(input: TokenStream) -> TokenStream {
    plugin::expand(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
