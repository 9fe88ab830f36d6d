//! Pieces of SQL text: names, literals, and conditions that may be pushed to the server.

mod literal;
mod push;

pub(crate) use push::{can_push, render};

use syncset_connector::{ConnectorError, ErrorClass, Result, TableName};

/// A name, always quoted.
pub(crate) fn quote_ident(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for character in name.chars() {
        if character == '"' {
            quoted.push('"');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Names, quoted, with commas between.
pub(crate) fn quote_idents<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(quote_ident).collect();
    quoted.join(", ")
}

/// A string literal that means the same whatever `standard_conforming_strings` is.
///
/// # Errors
/// `Unsupported` for a text with a NUL character, which no PostgreSQL text can hold.
pub(crate) fn quote_literal(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(ConnectorError::new(
            ErrorClass::Unsupported,
            "a text holds a NUL character, which PostgreSQL cannot hold",
        ));
    }
    let has_backslash = text.contains('\\');
    let mut quoted = String::with_capacity(text.len() + 4);
    if has_backslash {
        quoted.push_str(" E");
    }
    quoted.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    Ok(quoted)
}

/// A table's name, quoted, with its schema if it has one.
pub(crate) fn qualified(table: &TableName) -> String {
    match &table.schema {
        Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&table.name)),
        None => quote_ident(&table.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_names_and_texts_are_doubled() {
        assert_eq!(quote_ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("it's").ok().as_deref(), Some("'it''s'"));
        assert_eq!(quote_literal("a\\'b").ok().as_deref(), Some(" E'a\\\\''b'"));
        assert!(quote_literal("a\0b").is_err());
        assert_eq!(
            qualified(&TableName::in_schema("S", "Order.Items")),
            "\"S\".\"Order.Items\""
        );
    }
}
