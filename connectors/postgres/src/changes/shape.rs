//! The SQL pieces that every statement of one read is made of.

use super::cursor::CursorKind;
use crate::sql::{qualified, quote_ident, quote_literal, render};
use syncset_connector::{
    Capture, Column, ConnectorError, CursorSpec, ErrorClass, Filter, NullCursor, Result, TableRead,
};

/// A column that rows are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderColumn {
    /// The column as SQL names it, qualified by its table.
    pub(crate) sql: String,
    /// Its type, to cast literals to.
    pub(crate) native: String,
    /// The column.
    pub(crate) name: String,
}

impl OrderColumn {
    fn of(table: &str, column: &Column) -> Self {
        Self {
            sql: format!("{table}.{}", quote_ident(&column.name)),
            native: column.native.name.clone(),
            name: column.name.clone(),
        }
    }

    /// A value of this column from its text form.
    pub(crate) fn literal(&self, text: &str) -> Result<String> {
        Ok(format!("{}::{}", quote_literal(text)?, self.native))
    }
}

/// One read, rendered.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The table as FROM names it.
    pub(crate) from: String,
    /// The table as its columns are qualified.
    pub(crate) table: String,
    /// The filter, in parentheses; `None` if all rows are selected.
    pub(crate) filter: Option<String>,
    /// The key's columns.
    pub(crate) key: Vec<OrderColumn>,
    /// The cursor, for cursor mode.
    pub(crate) cursor: Option<Cursor>,
    /// True in `xmin` mode.
    pub(crate) by_xmin: bool,
}

/// The cursor of a read.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    /// What it holds.
    pub(crate) kind: CursorKind,
    /// The column.
    pub(crate) column: OrderColumn,
    /// Its settings.
    pub(crate) spec: CursorSpec,
    /// Whether NULLs can occur.
    pub(crate) nullable: bool,
}

impl Cursor {
    /// True if rows without a cursor are read in every window.
    pub(crate) fn reads_null(&self) -> bool {
        self.nullable && self.spec.null_cursor == NullCursor::Read && !self.is_disjoint()
    }

    /// True if rows without a cursor are not selected at all.
    pub(crate) fn ignores_null(&self) -> bool {
        self.nullable && self.spec.null_cursor == NullCursor::Ignore
    }
}

impl Shape {
    /// Renders a read.
    ///
    /// # Errors
    /// `Config` for a filter or a cursor that cannot be served.
    pub(crate) fn of(read: &TableRead) -> Result<Self> {
        let table = quote_ident(&read.description.name.name);
        let filter = match &read.filter {
            Filter::All => None,
            Filter::Predicate(predicate) => {
                Some(render(&read.description, predicate).map_err(|why| {
                    ConnectorError::new(
                        ErrorClass::Config,
                        format!(
                            "the server cannot evaluate the `where` of `{}` exactly: {why}",
                            read.description.name
                        ),
                    )
                })?)
            }
            // On lines of its own, so that a comment at its end hides nothing.
            Filter::SourceSql(text) => Some(format!("(\n{text}\n)")),
        };
        let cursor = match &read.capture {
            Capture::Cursor(spec) => {
                let kind = CursorKind::of(read, spec)?;
                let column = read
                    .description
                    .column(&spec.column)
                    .expect("the kind of a cursor is known only if its column exists");
                Some(Cursor {
                    kind,
                    column: OrderColumn::of(&table, column),
                    spec: spec.clone(),
                    nullable: column.nullable,
                })
            }
            _ => None,
        };
        Ok(Self {
            from: qualified(&read.description.name),
            key: read
                .key_columns()
                .into_iter()
                .map(|column| OrderColumn::of(&table, column))
                .collect(),
            table,
            filter,
            cursor,
            by_xmin: matches!(read.capture, Capture::Xmin),
        })
    }

    /// `WHERE ...` of the selected rows for which `conditions` hold too; empty for all rows.
    pub(crate) fn selected(&self, conditions: &[String]) -> String {
        let mut all = conditions.to_vec();
        if let Some(cursor) = self.cursor.as_ref().filter(|cursor| cursor.ignores_null()) {
            all.push(format!("{} IS NOT NULL", cursor.column.sql));
        }
        all.extend(self.filter.clone());
        if all.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", all.join(" AND "))
        }
    }

    /// Cursor (if there is one) and key: the order of a window.
    pub(crate) fn order(&self) -> Vec<&OrderColumn> {
        self.cursor
            .iter()
            .map(|cursor| &cursor.column)
            .chain(&self.key)
            .collect()
    }
}

/// `(a, b) OP ('1'::int, '2'::text)`, or without parentheses for one column.
pub(crate) fn compare_row(
    columns: &[&OrderColumn],
    operator: &str,
    values: &[String],
) -> Result<String> {
    let literals: Result<Vec<_>> = columns
        .iter()
        .zip(values)
        .map(|(column, value)| column.literal(value))
        .collect();
    let names: Vec<_> = columns.iter().map(|column| column.sql.as_str()).collect();
    let literals = literals?;
    Ok(match names.as_slice() {
        [name] => format!("{name} {operator} {}", literals.join("")),
        _ => format!(
            "({}) {operator} ({})",
            names.join(", "),
            literals.join(", ")
        ),
    })
}
