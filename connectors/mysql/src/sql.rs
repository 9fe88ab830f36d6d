//! Pieces of SQL text: names, literals, and conditions that may be pushed to the server.
//!
//! Literals hold in our sessions only, whose `sql_mode` we set: backslashes escape, double quotes
//! quote texts. The character set of a literal is always named, so that no server guesses at it.

mod push;

pub(crate) use push::render;

use syncset_connector::TableName;

/// A name in backticks.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Names in backticks with commas between.
pub(crate) fn identifiers<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| identifier(name)).collect();
    quoted.join(", ")
}

/// A table of the connection's database, or of the one that its name says.
pub(crate) fn table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", identifier(schema), identifier(&name.name)),
        None => identifier(&name.name),
    }
}

/// A literal where the grammar takes no character set before it.
pub(crate) fn plain_text(value: &str) -> String {
    text(value).trim_start_matches("_utf8mb4").to_owned()
}

/// A text of the character set utf8mb4. Next to a column it is compared by the column's collation.
pub(crate) fn text(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 12);
    quoted.push_str("_utf8mb4'");
    for character in value.chars() {
        match character {
            '\'' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\0' => quoted.push_str("\\0"),
            _ => quoted.push(character),
        }
    }
    quoted.push('\'');
    quoted
}

/// Bytes.
pub(crate) fn bytes(value: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut quoted = String::with_capacity(value.len() * 2 + 3);
    quoted.push_str("X'");
    for byte in value {
        quoted.push(char::from(DIGITS[usize::from(byte >> 4)]));
        quoted.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_lose_their_meaning() {
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(text("it's \\ \0"), "_utf8mb4'it\\'s \\\\ \\0'");
        assert_eq!(bytes(b"\x00\xffA"), "X'00FF41'");
        assert_eq!(bytes(b""), "X''");
        assert_eq!(table(&TableName::bare("order.items")), "`order.items`");
        assert_eq!(table(&TableName::in_schema("S", "t")), "`S`.`t`");
    }
}
