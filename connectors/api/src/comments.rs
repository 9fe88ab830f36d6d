//! What people say about a table in its catalogue.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Comments of a table and its columns; never empty texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comments {
    /// That of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Those of columns, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
}

/// A comment that is set, or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommentChange<'a> {
    /// The column; `None`: the table.
    pub column: Option<&'a str>,
    /// The text; `None`: it goes.
    pub text: Option<&'a str>,
}

impl Comments {
    /// What makes these of other ones.
    pub fn changes_since<'a>(&'a self, before: &'a Self) -> Vec<CommentChange<'a>> {
        let mut changes = Vec::new();
        if self.table != before.table {
            changes.push(CommentChange {
                column: None,
                text: self.table.as_deref(),
            });
        }
        let names = self.columns.keys().chain(before.columns.keys());
        for name in names.collect::<BTreeSet<_>>() {
            let (text, was) = (self.columns.get(name), before.columns.get(name));
            if text != was {
                changes.push(CommentChange {
                    column: Some(name),
                    text: text.map(String::as_str),
                });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_set_or_taken_away() {
        let comments = |table: Option<&str>, columns: &[(&str, &str)]| Comments {
            table: table.map(str::to_owned),
            columns: columns
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        };
        let before = comments(Some("t"), &[("a", "1"), ("b", "2"), ("c", "3")]);
        let after = comments(None, &[("a", "1"), ("b", "two"), ("d", "4")]);

        let changes = after.changes_since(&before);

        let told: Vec<_> = changes.iter().map(|it| (it.column, it.text)).collect();
        assert_eq!(
            told,
            [
                (None, None),
                (Some("b"), Some("two")),
                (Some("c"), None),
                (Some("d"), Some("4")),
            ]
        );
        assert!(after.changes_since(&after).is_empty());
    }
}
