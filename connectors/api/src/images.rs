//! Rows of a target table as the target itself spells them: what `repair` keeps before it writes,
//! and what `revert` puts back.

use crate::TableName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A row of a target table: each column that a pipeline writes, by its name, as a text that the same
/// store reads back as the very same value; `None` is NULL. Two rows are the same if their images
/// are equal. Columns that the pipeline does not write are never in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowImage(pub BTreeMap<String, Option<String>>);

impl RowImage {
    /// Whether the columns of `other` hold the same here. Columns that `other` does not have were
    /// added since it was taken, and say nothing.
    pub fn agrees_with(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(name, value)| self.0.get(name) == Some(value))
    }
}

/// One row that a repair or a revert changed: what it was, and what it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRow {
    /// Its place among the rows of its run; given by the store.
    pub place: u64,
    /// The stream.
    pub stream: String,
    /// The target table.
    pub target: TableName,
    /// Its key as a JSON array of text or null, as [`RejectedRow::key`](crate::RejectedRow::key).
    pub key: Value,
    /// What the target held before; `None`: no row.
    pub before: Option<RowImage>,
    /// What it held afterwards; `None`: no row.
    pub after: Option<RowImage>,
    /// The run that put it back, if one did.
    pub reverted_by: Option<String>,
}

/// A run whose rows are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRun {
    /// Its id.
    pub run_id: String,
    /// Rows of it that are kept.
    pub rows: u64,
    /// Those of them that were put back.
    pub reverted: u64,
}

/// What becomes of a row that is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// Its place among the keys of the last [`lock_rows`](crate::UnitWriter::lock_rows).
    pub row: usize,
    /// What it is to hold; `None`: it is deleted.
    pub image: Option<RowImage>,
}

/// A value as a dry run shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownValue {
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number, as its digits.
    Number(String),
    /// Bytes, as hexadecimal digits.
    Bytes(String),
    /// A moment in UTC, as `YYYY-MM-DD HH:MM:SS.ffffff`.
    Instant(String),
    /// Anything else, as its text.
    Text(String),
    /// The time at which it is written, by the target's clock.
    Now,
}

/// A write as a dry run shows it. Columns are those of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownWrite {
    /// A row that the target does not have: its columns and values.
    Insert(Vec<(String, ShownValue)>),
    /// A row of which the target has another version.
    Update {
        /// Columns and values of its key, as the target has them.
        key: Vec<(String, ShownValue)>,
        /// The columns that change, and what they become; never empty.
        set: Vec<(String, ShownValue)>,
    },
    /// A row that only the target has: columns and values of its key.
    Delete(Vec<(String, ShownValue)>),
}

impl ShownWrite {
    /// The write as one statement. `table`: the table's name as the store quotes it; `identifier`
    /// and `literal`: how it spells a name and a value.
    pub fn statement(
        &self,
        table: &str,
        identifier: impl Fn(&str) -> String,
        literal: impl Fn(&ShownValue) -> String,
    ) -> String {
        let assigned = |values: &[(String, ShownValue)]| {
            let parts = values.iter();
            let parts =
                parts.map(|(name, value)| format!("{} = {}", identifier(name), literal(value)));
            parts.collect::<Vec<_>>().join(", ")
        };
        let is = |(name, value): &(String, ShownValue)| match value {
            ShownValue::Null => format!("{} IS NULL", identifier(name)),
            value => format!("{} = {}", identifier(name), literal(value)),
        };
        let found =
            |key: &[(String, ShownValue)]| key.iter().map(is).collect::<Vec<_>>().join(" AND ");
        match self {
            Self::Insert(values) => {
                let names: Vec<_> = values.iter().map(|(name, _)| identifier(name)).collect();
                let spelled: Vec<_> = values.iter().map(|(_, value)| literal(value)).collect();
                let (names, spelled) = (names.join(", "), spelled.join(", "));
                format!("INSERT INTO {table} ({names}) VALUES ({spelled});")
            }
            Self::Update { key, set } => {
                format!("UPDATE {table} SET {} WHERE {};", assigned(set), found(key))
            }
            Self::Delete(key) => format!("DELETE FROM {table} WHERE {};", found(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(values: &[(&str, Option<&str>)]) -> RowImage {
        let values = values.iter();
        let owned = values.map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
        RowImage(owned.collect())
    }

    #[test]
    fn images_agree_in_the_columns_of_the_older_one() {
        let old = image(&[("a", Some("1")), ("b", None)]);

        assert!(image(&[("a", Some("1")), ("b", None)]).agrees_with(&old));
        assert!(image(&[("a", Some("1")), ("b", None), ("c", Some("2"))]).agrees_with(&old));
        assert!(!image(&[("a", Some("1")), ("b", Some(""))]).agrees_with(&old));
        assert!(!image(&[("a", Some("1"))]).agrees_with(&old));
    }

    #[test]
    fn writes_are_spelled_as_statements() {
        let text = |text: &str| ShownValue::Text(text.into());
        let spelled = |write: ShownWrite| {
            write.statement(
                "t",
                |name| format!("\"{name}\""),
                |value| match value {
                    ShownValue::Text(text) => format!("'{text}'"),
                    _ => "NULL".into(),
                },
            )
        };

        let key = vec![
            ("id".to_owned(), text("1")),
            ("n".to_owned(), ShownValue::Null),
        ];
        let set = vec![
            ("v".to_owned(), text("x")),
            ("w".to_owned(), ShownValue::Null),
        ];
        let update = ShownWrite::Update {
            key: key.clone(),
            set: set.clone(),
        };
        assert_eq!(
            spelled(update),
            r#"UPDATE t SET "v" = 'x', "w" = NULL WHERE "id" = '1' AND "n" IS NULL;"#
        );
        assert_eq!(
            spelled(ShownWrite::Insert(set)),
            r#"INSERT INTO t ("v", "w") VALUES ('x', NULL);"#
        );
        assert_eq!(
            spelled(ShownWrite::Delete(key)),
            r#"DELETE FROM t WHERE "id" = '1' AND "n" IS NULL;"#
        );
    }
}
