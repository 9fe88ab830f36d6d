//! Pieces of SQL: quoted names and lists of them.

use syncset_connector::TableName;

/// An identifier in double quotes.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table of the main database. SQLite's only other schema here is `temp`, which is ours.
pub(crate) fn table(name: &TableName) -> String {
    format!("main.{}", identifier(&name.name))
}

/// Identifiers with commas between.
pub(crate) fn identifiers<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| identifier(name)).collect();
    quoted.join(", ")
}

/// A text literal. A NUL would end the statement, so text that holds one has no literal.
pub(crate) fn text_literal(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| format!("'{}'", text.replace('\'', "''")))
}

/// `(?, ?, ...), (?, ?, ...), ...`
pub(crate) fn placeholders(row_count: usize, column_count: usize) -> String {
    let row = format!("({})", vec!["?"; column_count].join(", "));
    vec![row; row_count].join(", ")
}
