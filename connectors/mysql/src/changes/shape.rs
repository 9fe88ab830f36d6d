//! The SQL pieces that every statement of one read is made of.

use super::bound::time_overlap;
use super::cursor::{CursorKind, micros};
use super::key_text::{has_literal, literal};
use crate::sql::{self, identifier};
use crate::types::ReadRules;
use syncset_connector::{
    Capture, Column, ConnectorError, CursorSpec, ErrorClass, Filter, NullCursor, Overlap,
    Predicate, Result, TableKind, TableRead, Windows, integer_overlap,
};

/// A column that rows are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderColumn {
    /// The column as SQL names it.
    pub(crate) sql: String,
    /// The column.
    pub(crate) column: Column,
}

impl OrderColumn {
    fn of(column: &Column) -> Self {
        Self {
            sql: identifier(&column.name),
            column: column.clone(),
        }
    }

    /// A value of this column from its text form.
    pub(crate) fn literal(&self, text: &str) -> Result<String> {
        literal(&self.column, text)
    }
}

/// One read, rendered.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The table as FROM names it.
    pub(crate) from: String,
    /// The filter, in parentheses; `None` if all rows are selected.
    pub(crate) filter: Option<String>,
    /// True if the filter is the user's own SQL, which may be costly.
    pub(crate) filter_is_foreign: bool,
    /// The key's columns.
    pub(crate) key: Vec<OrderColumn>,
    /// True if rows can be found by ranges of their key: one row at most has a key, and the
    /// server orders keys as it compares them.
    pub(crate) key_orders: bool,
    /// The cursor, for cursor mode.
    pub(crate) cursor: Option<Cursor>,
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
}

impl Cursor {
    /// True if its windows read nothing twice.
    pub(crate) fn is_disjoint(&self) -> bool {
        self.spec.windows == Windows::Disjoint
    }

    /// True if rows without a cursor are read in every window.
    pub(crate) fn reads_null(&self) -> bool {
        let reads = self.spec.null_cursor == NullCursor::Read;
        self.column.column.nullable && reads && !self.is_disjoint()
    }

    /// True if rows without a cursor are not selected at all.
    pub(crate) fn ignores_null(&self) -> bool {
        self.column.column.nullable && self.spec.null_cursor == NullCursor::Ignore
    }

    /// What a position holds, given the bound below which nothing can appear any more.
    pub(crate) fn position_of(&self, bound: i64) -> i64 {
        if !self.is_disjoint() {
            return bound;
        }
        let overlap = match self.kind.is_time() {
            true => micros(time_overlap(self.spec.overlap)),
            false => i64::try_from(integer_overlap(self.spec.overlap)).unwrap_or(i64::MAX),
        };
        bound.saturating_sub(overlap)
    }

    /// The smallest value that a window from a position must read, as a literal; `None`: all.
    pub(crate) fn lower_sql(&self, position: i64) -> Option<String> {
        if !self.is_disjoint() {
            return self.kind.lower_sql(position, self.spec.overlap);
        }
        // It is in the position.
        match self.kind {
            CursorKind::Integer => self.kind.lower_sql(position, Some(Overlap::Units(0))),
            _ => self.kind.at_sql(position),
        }
    }

    /// A condition, and that the row is below the end of its window. `is_fixed`: the end is known;
    /// that of an integer cursor comes with the probe of its window.
    pub(crate) fn until(&self, condition: &str, end: Option<i64>, is_fixed: bool) -> String {
        if !is_fixed && !self.kind.is_time() {
            return condition.to_owned();
        }
        match end {
            Some(end) => format!("({condition}) AND {}", self.below(end)),
            None => "FALSE".to_owned(),
        }
    }

    /// The condition of rows below a position.
    pub(crate) fn below(&self, end: i64) -> String {
        match self.lower_sql(end) {
            Some(lower) => format!("{} < {lower}", self.column.sql),
            None => "FALSE".to_owned(),
        }
    }
}

impl Shape {
    /// Renders a read.
    ///
    /// # Errors
    /// `Config` for a filter or a cursor that cannot be served.
    pub(crate) fn of(read: &TableRead, rules: ReadRules) -> Result<Self> {
        let filter = match &read.filter {
            Filter::All => None,
            Filter::Predicate(predicate) => Some(
                sql::render(&read.description, predicate, rules).map_err(|why| {
                    ConnectorError::new(
                        ErrorClass::Config,
                        format!(
                            "the server cannot evaluate the `where` of `{}` exactly: {why}",
                            read.description.name
                        ),
                    )
                })?,
            ),
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
                    column: OrderColumn::of(column),
                    spec: spec.clone(),
                })
            }
            _ => None,
        };
        let key = read.key_columns();
        Ok(Self {
            from: sql::table(&read.description.name),
            filter,
            filter_is_foreign: matches!(read.filter, Filter::SourceSql(_)),
            key_orders: is_unique(read)
                && key
                    .iter()
                    .all(|column| has_literal(column) && !column.nullable),
            key: key.into_iter().map(OrderColumn::of).collect(),
            cursor,
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

/// Whether an index proves that the key is unique.
pub(crate) fn is_unique(read: &TableRead) -> bool {
    let description = &read.description;
    let covers = |columns: &[String]| {
        !columns.is_empty() && columns.iter().all(|column| read.key.contains(column))
    };
    let is_table = matches!(description.kind, TableKind::Table | TableKind::Partitioned);
    let mut unique = description.unique_keys.iter();
    is_table
        && (covers(&description.primary_key) || unique.any(|key| key.total && covers(&key.columns)))
}

/// `a > 1`, or for several columns `a >= 1 AND (a > 1 OR b > 2)`: a comparison of rows would read
/// the whole index. `strict` is `>` or `<`, `inclusive` how it ends: `>`, `<`, `>=` or `<=`.
pub(crate) fn compare_row(
    columns: &[&OrderColumn],
    (strict, inclusive): (&str, &str),
    values: &[String],
) -> Result<String> {
    let (Some((column, rest)), Some((value, other_values))) =
        (columns.split_first(), values.split_first())
    else {
        return Ok(if inclusive.ends_with('=') {
            "TRUE"
        } else {
            "FALSE"
        }
        .to_owned());
    };
    let name = &column.sql;
    let value = column.literal(value)?;
    if rest.is_empty() {
        return Ok(format!("{name} {inclusive} {value}"));
    }
    let inner = compare_row(rest, (strict, inclusive), other_values)?;
    Ok(format!(
        "({name} {strict}= {value} AND ({name} {strict} {value} OR ({inner})))"
    ))
}

/// Every column that the statements of a read name, once each.
pub(crate) fn columns_named(read: &TableRead) -> Vec<&str> {
    let mut names: Vec<&str> = read.columns.iter().map(String::as_str).collect();
    names.extend(read.key.iter().map(String::as_str));
    if let Capture::Cursor(spec) = &read.capture {
        names.push(&spec.column);
    }
    if let Filter::Predicate(predicate) = &read.filter {
        names.extend(Predicate::columns(predicate));
    }
    let mut once = Vec::with_capacity(names.len());
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{self, Declared, Flavour};

    fn order_column(name: &str) -> OrderColumn {
        let declared = Declared {
            column_type: "int",
            collation: None,
            is_json: false,
        };
        let (native, data_type) = types::of(declared, Flavour::MySql, ReadRules::default());
        OrderColumn::of(&Column {
            name: name.to_owned(),
            data_type,
            native,
            nullable: false,
            default: None,
            generated: None,
            stable_id: None,
            readable: true,
        })
    }

    #[test]
    fn rows_are_compared_column_by_column() {
        let columns = ["a", "b", "c"].map(order_column);
        let columns: Vec<_> = columns.iter().collect();
        let values = ["1", "2", "3"].map(str::to_owned);

        let after = compare_row(&columns, (">", ">"), &values).expect("numbers");
        let up_to = compare_row(&columns[..2], ("<", "<="), &values).expect("numbers");

        assert_eq!(
            after,
            "(`a` >= 1 AND (`a` > 1 OR ((`b` >= 2 AND (`b` > 2 OR (`c` > 3))))))"
        );
        assert_eq!(up_to, "(`a` <= 1 AND (`a` < 1 OR (`b` <= 2)))");
    }
}
