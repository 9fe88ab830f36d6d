//! `#[scalar]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{FnArg, Ident, ItemFn, LitStr, Result, ReturnType, Type, TypeParamBound};

use crate::options::{Options, Value, doc};

const OPTIONS: &str =
    "strict, stable, volatile, name = \"...\", args = [\"...\"], returns = \"...\"";

struct Scalar {
    strict: Option<Ident>,
    volatility: Ident,
    name: Option<LitStr>,
    args: Option<Vec<LitStr>>,
    returns: Option<LitStr>,
}

impl Scalar {
    fn read(options: Options) -> Result<Self> {
        let mut scalar = Self {
            strict: None,
            volatility: format_ident!("Immutable"),
            name: None,
            args: None,
            returns: None,
        };
        for option in options.0 {
            let name = option.name.to_string();
            match (name.as_str(), option.value) {
                ("strict", Value::Flag) => scalar.strict = Some(option.name),
                ("immutable", Value::Flag) => scalar.volatility = format_ident!("Immutable"),
                ("stable", Value::Flag) => scalar.volatility = format_ident!("Stable"),
                ("volatile", Value::Flag) => scalar.volatility = format_ident!("Volatile"),
                ("name", Value::Text(text)) => scalar.name = Some(text),
                ("args", Value::List(list)) => scalar.args = Some(list),
                ("returns", Value::Text(text)) => scalar.returns = Some(text),
                (_, value) => {
                    return Err(crate::options::Opt {
                        name: option.name,
                        value,
                    }
                    .unknown(OPTIONS));
                }
            }
        }
        Ok(scalar)
    }
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: ItemFn = syn::parse2(item)?;
    let scalar = Scalar::read(syn::parse2(options)?)?;
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness {
        return Err(syn::Error::new_spanned(
            word,
            "a function for SQL cannot be async",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &signature.generics,
            "a function for SQL has no type parameters and no named lifetimes",
        ));
    }
    let mut types = Vec::new();
    for argument in &signature.inputs {
        match argument {
            FnArg::Typed(argument) => types.push(&*argument.ty),
            FnArg::Receiver(receiver) => {
                return Err(syn::Error::new_spanned(
                    receiver,
                    "a function for SQL has no `self`",
                ));
            }
        }
    }
    let ReturnType::Type(_, returned) = &signature.output else {
        return Err(syn::Error::new_spanned(
            &signature.ident,
            "a function for SQL returns a value",
        ));
    };
    let (described, body) = if types.iter().any(|argument| is_array(argument)) {
        arrays(&scalar, &signature.ident, &types, returned)?
    } else {
        values(&scalar, &signature.ident, &types, returned)?
    };

    let (visibility, ident) = (&function.vis, &signature.ident);
    let name = match &scalar.name {
        Some(name) => name.value(),
        None => ident.unraw().to_string(),
    };
    let (doc, volatility) = (doc(&function.attrs), &scalar.volatility);
    Ok(quote! {
        #function

        // The type has the function's name, and lives beside it: types and functions have names
        // of their own. `plugin!` finds it by that.
        #[allow(non_camel_case_types)]
        #[doc(hidden)]
        #visibility struct #ident {}

        impl ::syncset_plugin::scalar::Scalar for #ident {
            fn signature() -> ::syncset_plugin::scalar::Signature {
                use ::syncset_plugin::bindings::exports::syncset::plugin::plugin::Volatility;
                let (args, returns, strict) = { #described };
                ::syncset_plugin::scalar::Signature {
                    name: #name,
                    args,
                    returns,
                    volatility: Volatility::#volatility,
                    strict,
                    doc: #doc,
                }
            }

            fn call(
                rows: usize,
                args: &[::syncset_plugin::scalar::Argument],
            ) -> ::syncset_plugin::Result<::syncset_plugin::arrow_array::ArrayRef> {
                #body
            }
        }
    })
}

/// A function that is called for each row.
fn values(
    scalar: &Scalar,
    ident: &Ident,
    types: &[&Type],
    returned: &Type,
) -> Result<(TokenStream, TokenStream)> {
    if scalar.args.is_some() || scalar.returns.is_some() {
        return Err(syn::Error::new_spanned(
            ident,
            "`args` and `returns` are for functions of arrays; these types tell by themselves",
        ));
    }
    if let Some(strict) = &scalar.strict {
        if types
            .iter()
            .any(|argument| last_segment(argument).is_some_and(|name| name == "Option"))
        {
            return Err(syn::Error::new_spanned(
                strict,
                "a strict function is not called with NULL, so none of its arguments is an `Option`",
            ));
        }
    }
    let count = types.len();
    let arguments: Vec<Ident> = (0..count)
        .map(|place| format_ident!("argument_{place}"))
        .collect();
    let strict = match count {
        0 => quote!(false),
        _ => quote!(true #(&& !<#types as FromValue>::OPTIONAL)*),
    };
    let described = quote! {
        use ::syncset_plugin::scalar::{FromValue, IntoValue, Returned};
        (
            ::std::vec![#(<#types as FromValue>::FORMAT),*],
            <<#returned as Returned>::Value as IntoValue>::FORMAT,
            #strict,
        )
    };
    let body = quote! {
        let [#(#arguments),*] = ::syncset_plugin::scalar::exactly::<#count>(args)?;
        #(let #arguments = ::syncset_plugin::scalar::view::<#types>(#arguments)?;)*
        ::syncset_plugin::scalar::each_row(rows, |row| {
            let _ = row;
            #(
                let ::std::option::Option::Some(#arguments) = #arguments.value(row) else {
                    return ::std::result::Result::Ok(::std::option::Option::None);
                };
            )*
            ::syncset_plugin::scalar::Returned::value(#ident(#(#arguments),*))
        })
    };
    Ok((described, body))
}

/// A function that is called for each batch.
fn arrays(
    scalar: &Scalar,
    ident: &Ident,
    types: &[&Type],
    returned: &Type,
) -> Result<(TokenStream, TokenStream)> {
    let mut formats = Vec::new();
    let mut passed = Vec::new();
    let count = types.len();
    let arguments: Vec<Ident> = (0..count)
        .map(|place| format_ident!("argument_{place}"))
        .collect();
    if let Some(named) = &scalar.args {
        if named.len() != count {
            let message = format!(
                "`args` names {} types, the function takes {count}",
                named.len()
            );
            return Err(syn::Error::new_spanned(ident, message));
        }
    }
    for (place, (argument, name)) in types.iter().zip(&arguments).enumerate() {
        let Type::Reference(reference) = argument else {
            return Err(syn::Error::new_spanned(
                argument,
                "arrays are taken by reference",
            ));
        };
        let array = &reference.elem;
        formats.push(match &scalar.args {
            Some(named) => {
                let named = &named[place];
                quote_spanned!(named.span()=> const { ::syncset_plugin::exact_format(#named) })
            }
            None => quote!(<#array as ::syncset_plugin::scalar::ArrayFormat>::FORMAT),
        });
        passed.push(match last_segment(array) {
            Some(last) if last == "ArrayRef" => quote!(&#name),
            Some(last) if last == "Array" => quote!(#name.as_ref()),
            _ => quote!(::syncset_plugin::scalar::downcast::<#array>(&#name)?),
        });
    }
    let returns = match &scalar.returns {
        Some(named) => {
            quote_spanned!(named.span()=> const { ::syncset_plugin::exact_format(#named) })
        }
        None => quote!(<#returned as ::syncset_plugin::scalar::ArrayFormat>::FORMAT),
    };
    let strict = scalar.strict.is_some();
    let described = quote!((::std::vec![#(#formats),*], #returns, #strict));
    let body = quote! {
        let [#(#arguments),*] = ::syncset_plugin::scalar::exactly::<#count>(args)?;
        #(let #arguments = ::syncset_plugin::scalar::whole(#arguments, rows)?;)*
        ::syncset_plugin::scalar::IntoArray::into_array(#ident(#(#passed),*))
    };
    Ok((described, body))
}

/// Whether a function that takes this is one of arrays.
fn is_array(argument: &Type) -> bool {
    let Type::Reference(reference) = argument else {
        return false;
    };
    last_segment(&reference.elem).is_some_and(|name| name.ends_with("Array") || name == "ArrayRef")
}

/// The last name of a type's path, or of the first trait of a `dyn`.
pub(crate) fn last_segment(of: &Type) -> Option<String> {
    let path = match of {
        Type::Path(path) => &path.path,
        Type::TraitObject(object) => match object.bounds.first()? {
            TypeParamBound::Trait(bound) => &bound.path,
            _ => return None,
        },
        _ => return None,
    };
    Some(path.segments.last()?.ident.to_string())
}
