//! `plugin!`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, Path, Result, Token, bracketed};

const KEYS: &str = "name, version, doc, config_schema, functions, transform, filter";

#[derive(Default)]
struct Plugin {
    name: Option<Expr>,
    version: Option<Expr>,
    doc: Option<Expr>,
    config_schema: Option<Expr>,
    functions: Vec<Path>,
    transform: Option<Path>,
    filter: Option<Path>,
}

impl Parse for Plugin {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut plugin = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            match key.to_string().as_str() {
                "name" => plugin.name = Some(input.parse()?),
                "version" => plugin.version = Some(input.parse()?),
                "doc" => plugin.doc = Some(input.parse()?),
                "config_schema" => plugin.config_schema = Some(input.parse()?),
                "functions" => {
                    let list;
                    bracketed!(list in input);
                    let list = Punctuated::<Path, Token![,]>::parse_terminated(&list)?;
                    plugin.functions = list.into_iter().collect();
                }
                "transform" => plugin.transform = Some(input.parse()?),
                "filter" => plugin.filter = Some(input.parse()?),
                _ => return Err(syn::Error::new(key.span(), format!("the keys are: {KEYS}"))),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(plugin)
    }
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let plugin: Plugin = syn::parse2(input)?;
    let or = |given: Option<Expr>, otherwise: TokenStream| match given {
        Some(given) => quote!(#given),
        None => otherwise,
    };
    let name = or(plugin.name, quote!(::std::env!("CARGO_PKG_NAME")));
    let version = or(plugin.version, quote!(::std::env!("CARGO_PKG_VERSION")));
    let doc = or(plugin.doc, quote!(::std::env!("CARGO_PKG_DESCRIPTION")));
    let schema = or(plugin.config_schema, quote!(""));
    let functions = &plugin.functions;
    let part = |path: Option<Path>, of: TokenStream| match path {
        Some(path) => quote! {
            ::std::option::Option::Some(::syncset_plugin::guest::Part::#of::<#path>())
        },
        None => quote!(::std::option::Option::None),
    };
    let transform = part(plugin.transform, quote!(transform));
    let filter = part(plugin.filter, quote!(filter));
    Ok(quote! {
        const _: () = {
            use ::syncset_plugin::guest;

            #[allow(dead_code)]
            struct Plugin;

            // Constants of their own: in a native build nothing else uses what they name.
            #[allow(dead_code)]
            const FUNCTIONS: &[::syncset_plugin::scalar::Function] =
                &[#(::syncset_plugin::scalar::Function::of::<#functions>()),*];
            #[allow(dead_code)]
            const TRANSFORM: ::std::option::Option<guest::Part<dyn guest::AnyTransform>> =
                #transform;
            #[allow(dead_code)]
            const FILTER: ::std::option::Option<guest::Part<dyn guest::AnyFilter>> = #filter;

            impl guest::Plugin for Plugin {
                const NAME: &'static str = #name;
                const VERSION: &'static str = #version;
                const DOC: &'static str = #doc;
                const FUNCTIONS: &'static [::syncset_plugin::scalar::Function] = FUNCTIONS;
                const TRANSFORM: ::std::option::Option<guest::Part<dyn guest::AnyTransform>> =
                    TRANSFORM;
                const FILTER: ::std::option::Option<guest::Part<dyn guest::AnyFilter>> = FILTER;

                fn config_schema() -> ::std::string::String {
                    ::std::string::String::from(#schema)
                }
            }

            // Names of exports are not those of a native library.
            #[cfg(target_arch = "wasm32")]
            type Exported = guest::Component<Plugin>;
            #[cfg(target_arch = "wasm32")]
            ::syncset_plugin::bindings::export!(Exported with_types_in ::syncset_plugin::bindings);
        };
    })
}
