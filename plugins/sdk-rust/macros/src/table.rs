//! `#[transform]` and `#[filter]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{FnArg, ItemFn, LitStr, Result, ReturnType, Type};

use crate::options::{Opt, Options, Value};
use crate::scalar::last_segment;

const TRANSFORM_OPTIONS: &str =
    "reads = [\"name: type\"], changes = [\"name\"], adds = [\"name: type\"]";
const FILTER_OPTIONS: &str = "reads = [\"name: type\"]";

pub(crate) fn transform(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: ItemFn = syn::parse2(item)?;
    let (mut reads, mut changes, mut adds) = (None, Vec::new(), Vec::new());
    for option in syn::parse2::<Options>(options)?.0 {
        match (option.name.to_string().as_str(), option.value) {
            ("reads", Value::List(list)) => reads = Some(list),
            ("changes", Value::List(list)) => changes = list,
            ("adds", Value::List(list)) => adds = list,
            (_, value) => {
                return Err(Opt {
                    name: option.name,
                    value,
                }
                .unknown(TRANSFORM_OPTIONS));
            }
        }
    }
    let reads = reads_body(reads)?;
    let mut fields = Vec::new();
    for change in &changes {
        fields.push(quote! {
            match input.field_with_name(#change) {
                ::std::result::Result::Ok(field) => field.clone(),
                ::std::result::Result::Err(_) => return ::std::result::Result::Err(
                    ::syncset_plugin::Error::new("the column is missing").in_column(#change),
                ),
            }
        });
    }
    for add in &adds {
        let (name, type_name) = split(add)?;
        let Some(type_name) = type_name else {
            return Err(syn::Error::new(
                add.span(),
                "a column that is added has a type: `name: type`",
            ));
        };
        fields.push(quote_spanned! {add.span()=>
            ::syncset_plugin::field(#name, const { ::syncset_plugin::exact_format(#type_name) })
        });
    }
    let call = quote! {
        fn bind(
            &self,
            input: &::syncset_plugin::arrow_schema::Schema,
        ) -> ::syncset_plugin::Result<::syncset_plugin::arrow_schema::Schema> {
            let _ = input;
            let fields: ::std::vec::Vec<::syncset_plugin::arrow_schema::Field> =
                ::std::vec![#(#fields),*];
            ::std::result::Result::Ok(::syncset_plugin::arrow_schema::Schema::new(fields))
        }

        fn transform(
            &self,
            context: &::syncset_plugin::Context,
            batch: ::syncset_plugin::arrow_array::RecordBatch,
        ) -> ::syncset_plugin::Result<::syncset_plugin::Output>
    };
    let (into, of) = (quote!(IntoOutput::into_output), quote!(Transform));
    part(&function, &of, &reads, &call, &into)
}

pub(crate) fn filter(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: ItemFn = syn::parse2(item)?;
    let mut reads = None;
    for option in syn::parse2::<Options>(options)?.0 {
        match (option.name.to_string().as_str(), option.value) {
            ("reads", Value::List(list)) => reads = Some(list),
            (_, value) => {
                return Err(Opt {
                    name: option.name,
                    value,
                }
                .unknown(FILTER_OPTIONS));
            }
        }
    }
    let reads = reads_body(reads)?;
    let call = quote! {
        fn keep(
            &self,
            context: &::syncset_plugin::Context,
            batch: ::syncset_plugin::arrow_array::RecordBatch,
        ) -> ::syncset_plugin::Result<::syncset_plugin::arrow_array::BooleanArray>
    };
    let (into, of) = (quote!(IntoMask::into_mask), quote!(Filter));
    part(&function, &of, &reads, &call, &into)
}

/// The type beside the function, with the configuration in it, that implements the trait `of`.
fn part(
    function: &ItemFn,
    of: &TokenStream,
    reads: &TokenStream,
    call: &TokenStream,
    into: &TokenStream,
) -> Result<TokenStream> {
    let (visibility, ident) = (&function.vis, &function.sig.ident);
    if matches!(function.sig.output, ReturnType::Default) {
        return Err(syn::Error::new_spanned(
            ident,
            "the function returns nothing",
        ));
    }
    let mut passed = Vec::new();
    let mut config = None;
    for argument in &function.sig.inputs {
        let FnArg::Typed(argument) = argument else {
            return Err(syn::Error::new_spanned(argument, "there is no `self` here"));
        };
        let (by_reference, plain) = match &*argument.ty {
            Type::Reference(reference) => (true, &*reference.elem),
            other => (false, other),
        };
        passed.push(match (last_segment(plain).as_deref(), by_reference) {
            (Some("Context"), true) => quote!(context),
            (Some("RecordBatch"), true) => quote!(&batch),
            (Some("RecordBatch"), false) => quote!(batch),
            (Some(_), true) if config.is_none() => {
                config = Some(plain);
                quote!(&self.config)
            }
            _ => {
                return Err(syn::Error::new_spanned(
                    argument,
                    "the arguments are a `&Context`, a `RecordBatch` and a configuration by reference",
                ));
            }
        });
    }
    let is_configured = config.is_some();
    let config = match config {
        Some(config) => quote!(#config),
        None => quote!(::syncset_plugin::serde::de::IgnoredAny),
    };
    Ok(quote! {
        #function

        // The type has the function's name, and lives beside it: types and functions have names
        // of their own. `plugin!` finds it by that.
        #[allow(non_camel_case_types)]
        #[doc(hidden)]
        #visibility struct #ident {
            #[allow(dead_code)]
            config: #config,
        }

        impl<'de> ::syncset_plugin::serde::Deserialize<'de> for #ident {
            fn deserialize<D: ::syncset_plugin::serde::Deserializer<'de>>(
                from: D,
            ) -> ::std::result::Result<Self, D::Error> {
                let config = ::syncset_plugin::serde::Deserialize::deserialize(from)?;
                ::std::result::Result::Ok(Self { config })
            }
        }

        impl ::syncset_plugin::#of for #ident {
            const CONFIGURED: bool = #is_configured;

            fn reads(&self) -> ::syncset_plugin::Reads {
                #reads
            }

            #call {
                let _ = context;
                ::syncset_plugin::#into(#ident(#(#passed),*))
            }
        }
    })
}

fn reads_body(reads: Option<Vec<LitStr>>) -> Result<TokenStream> {
    let Some(reads) = reads else {
        return Ok(quote!(::syncset_plugin::Reads::All));
    };
    let mut columns = Vec::new();
    for column in &reads {
        let (name, types) = split(column)?;
        // Types are looked up while the plugin is built, so that a slip of the pen is found there.
        let types: Vec<LitStr> = types.map_or_else(Vec::new, |types| {
            types
                .value()
                .split('|')
                .map(|one| LitStr::new(one.trim(), types.span()))
                .collect()
        });
        let formats = types
            .iter()
            .map(|name| quote_spanned!(name.span()=> const { ::syncset_plugin::format(#name) }));
        columns.push(quote! {
            ::syncset_plugin::Column::new(#name, &<[&str]>::join(&[#(#formats),*], "|"))
        });
    }
    Ok(quote!(::syncset_plugin::Reads::Columns(
        ::std::vec![#(#columns),*]
    )))
}

/// `name: type`, or a name alone.
fn split(column: &LitStr) -> Result<(LitStr, Option<LitStr>)> {
    let text = column.value();
    let literal = |part: &str| LitStr::new(part.trim(), column.span());
    let (name, types) = match text.split_once(':') {
        Some((name, types)) => (literal(name), Some(literal(types))),
        None => (literal(&text), None),
    };
    if name.value().is_empty() {
        return Err(syn::Error::new(
            column.span(),
            "a column has a name: `name: type`",
        ));
    }
    Ok((name, types))
}
