//! What is written in the brackets of an attribute.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Result, Token, bracketed};

/// `flag`, `key = "text"` or `key = ["text", ...]`.
pub(crate) struct Opt {
    pub(crate) name: Ident,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    Flag,
    Text(LitStr),
    List(Vec<LitStr>),
}

impl Parse for Opt {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        if !input.peek(Token![=]) {
            return Ok(Self {
                name,
                value: Value::Flag,
            });
        }
        input.parse::<Token![=]>()?;
        if input.peek(LitStr) {
            return Ok(Self {
                name,
                value: Value::Text(input.parse()?),
            });
        }
        let list;
        bracketed!(list in input);
        let list = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
        Ok(Self {
            name,
            value: Value::List(list.into_iter().collect()),
        })
    }
}

/// All options of an attribute.
pub(crate) struct Options(pub(crate) Vec<Opt>);

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let options = Punctuated::<Opt, Token![,]>::parse_terminated(input)?;
        Ok(Self(options.into_iter().collect()))
    }
}

impl Opt {
    /// The error for an option that is none of `known`, or has another kind of value.
    pub(crate) fn unknown(&self, known: &str) -> syn::Error {
        syn::Error::new(self.name.span(), format!("the options are: {known}"))
    }
}

/// The text of a documentation comment.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
    let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}
