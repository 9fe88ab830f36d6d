//! Rows as text, and the comparison of two queries row by row.

use crate::{Database, MysqlDatabase, SqliteFile};
use std::collections::{BTreeMap, btree_map::Entry};
use std::fmt::{Display, Formatter};

/// One row: the text form of each value, `None` for NULL.
pub type TextRow = Vec<Option<String>>;

/// Differing rows that a report shows of each kind.
const SHOWN_MAX: usize = 10;

/// A place that can be queried.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// A PostgreSQL database.
    Postgres(&'a Database),
    /// A database of MySQL or MariaDB.
    Mysql(&'a MysqlDatabase),
    /// An SQLite file.
    Sqlite(&'a SqliteFile),
}

impl<'a> From<&'a Database> for Place<'a> {
    fn from(database: &'a Database) -> Self {
        Self::Postgres(database)
    }
}

impl<'a> From<&'a MysqlDatabase> for Place<'a> {
    fn from(database: &'a MysqlDatabase) -> Self {
        Self::Mysql(database)
    }
}

impl<'a> From<&'a SqliteFile> for Place<'a> {
    fn from(file: &'a SqliteFile) -> Self {
        Self::Sqlite(file)
    }
}

impl Place<'_> {
    /// URL for a connection.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            Self::Mysql(database) => database.url(),
            Self::Sqlite(file) => file.url(),
        }
    }

    /// All rows of a query.
    pub async fn rows(&self, sql: &str) -> Vec<TextRow> {
        match self {
            Self::Postgres(database) => database.rows(sql).await,
            Self::Mysql(database) => database.rows(sql).await,
            Self::Sqlite(file) => file.rows(sql).await,
        }
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => database.execute(sql).await,
            Self::Mysql(database) => database.execute(sql).await,
            Self::Sqlite(file) => file.execute(sql).await,
        }
    }
}

/// How two sets of rows differ. Rows are matched by their first column.
#[must_use]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Rows that both sides have.
    pub equal: usize,
    /// Rows of the source that the target lacks.
    pub missing: Vec<TextRow>,
    /// Rows of the target that the source lacks; a key that appears twice is extra too.
    pub extra: Vec<TextRow>,
    /// Rows with the same key and other values: (source, target).
    pub different: Vec<(TextRow, TextRow)>,
}

impl Comparison {
    /// Compares two sets of rows whose first `key_columns` columns are their key.
    pub fn of(source: Vec<TextRow>, target: Vec<TextRow>, key_columns: usize) -> Self {
        let mut comparison = Self::default();
        let mut expected: BTreeMap<TextRow, TextRow> = source
            .into_iter()
            .map(|row| (row[..key_columns].to_vec(), row))
            .collect();
        for row in target {
            match expected.entry(row[..key_columns].to_vec()) {
                Entry::Vacant(_) => comparison.extra.push(row),
                Entry::Occupied(entry) if *entry.get() == row => {
                    entry.remove();
                    comparison.equal += 1;
                }
                Entry::Occupied(entry) => comparison.different.push((entry.remove(), row)),
            }
        }
        comparison.missing = expected.into_values().collect();
        comparison
    }

    /// True if nothing differs.
    pub fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.different.is_empty()
    }

    /// # Panics
    /// If anything differs; the message shows rows.
    #[track_caller]
    pub fn assert_equal(&self) {
        assert!(self.is_equal(), "source and target differ: {self}");
    }
}

impl Display for Comparison {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(
            formatter,
            "{} equal, {} missing, {} extra, {} different",
            self.equal,
            self.missing.len(),
            self.extra.len(),
            self.different.len()
        )?;
        for row in self.missing.iter().take(SHOWN_MAX) {
            writeln!(formatter, "  missing   {}", line(row))?;
        }
        for row in self.extra.iter().take(SHOWN_MAX) {
            writeln!(formatter, "  extra     {}", line(row))?;
        }
        for (source, target) in self.different.iter().take(SHOWN_MAX) {
            writeln!(formatter, "  different {}", line(source))?;
            writeln!(formatter, "       from {}", line(target))?;
        }
        Ok(())
    }
}

/// Compares the rows of two queries; the first column of both is the key.
///
/// Values are compared as text, so a query between two engines casts what they spell differently
/// (booleans, floats, timestamps). The order of rows does not matter.
pub async fn compare<'a, 'b>(
    source: impl Into<Place<'a>>,
    target: impl Into<Place<'b>>,
    source_select: &str,
    target_select: &str,
) -> Comparison {
    compare_keyed(source, target, source_select, target_select, 1).await
}

/// As [`compare`], with a key of the first `key_columns` columns.
pub async fn compare_keyed<'a, 'b>(
    source: impl Into<Place<'a>>,
    target: impl Into<Place<'b>>,
    source_select: &str,
    target_select: &str,
    key_columns: usize,
) -> Comparison {
    let source_rows = source.into().rows(source_select).await;
    let target_rows = target.into().rows(target_select).await;
    Comparison::of(source_rows, target_rows, key_columns)
}

/// The only value of a result, NULL as `NULL`.
pub(crate) fn only_value(sql: &str, rows: Vec<TextRow>) -> String {
    match rows.as_slice() {
        [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| "NULL".to_owned()),
        _ => panic!("not one row of one column: {rows:?}\nin: {sql}"),
    }
}

fn line(row: &TextRow) -> String {
    row.iter()
        .map(|value| value.as_deref().unwrap_or("NULL"))
        .collect::<Vec<_>>()
        .join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 2]]) -> Vec<TextRow> {
        rows.iter()
            .map(|row| row.iter().map(|value| Some((*value).to_owned())).collect())
            .collect()
    }

    #[test]
    fn comparison_tells_missing_extra_different_and_doubled_rows_apart() {
        let source = rows(&[["1", "a"], ["2", "b"], ["3", "c"]]);
        let target = rows(&[["1", "a"], ["2", "x"], ["4", "d"], ["1", "a"]]);

        let comparison = Comparison::of(source, target, 1);

        assert_eq!(comparison.equal, 1);
        assert_eq!(comparison.missing, rows(&[["3", "c"]]));
        assert_eq!(comparison.extra, rows(&[["4", "d"], ["1", "a"]]));
        assert_eq!(comparison.different.len(), 1);
    }
}
