//! Columns that the target fills itself: since when a row is gone, and when it was last written.
//! Both hold the time at which the unit's transaction began, by the server's clock, in UTC. The
//! server only reads it once; it travels as a literal, so all rows of a unit have the same.

use super::catalog::{ActualColumn, Shape};
use super::column::{Written, missing};
use super::plan::{Counts, Step};
use crate::encode::Form;
use crate::sql::identifier;
use syncset_connector::{Result, TargetTable};

/// Digits behind the second of what [`UTC_NOW`] returns.
const DIGITS: u32 = 6;

/// A statement that returns the time by the server's clock, with [`DIGITS`].
pub(super) const UTC_NOW: &str = "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)";

/// The columns, and the time that they are filled with.
#[derive(Debug, Clone, Default)]
pub(super) struct MarkSql {
    deleted_at: Option<Mark>,
    synced_at: Option<Mark>,
}

/// One of the columns.
#[derive(Debug, Clone)]
struct Mark {
    column: Written,
    /// The time with as many digits as the column keeps: no server rounds it.
    time: String,
}

impl Mark {
    fn name(&self) -> String {
        identifier(&self.column.name)
    }

    /// The time as a literal.
    fn now(&self) -> String {
        format!("TIMESTAMP'{}'", self.time)
    }
}

impl MarkSql {
    /// The marks of a table that has this shape. `now`: what [`UTC_NOW`] returned.
    ///
    /// # Errors
    /// `TargetDiffers` if one of them is missing.
    pub(super) fn new(table: &TargetTable, shape: &Shape, now: &str) -> Result<Self> {
        let mut marks = table.marks.columns();
        let absent = marks.find(|mark| shape.column(&mark.name).is_none());
        if let Some(absent) = absent {
            return Err(missing(table, &absent));
        }
        let mark = |name: &Option<String>| {
            let actual = shape.column(name.as_ref()?)?;
            Some(Mark {
                time: with_digits_of(actual, now),
                column: Written {
                    name: actual.name.clone(),
                    actual: actual.clone(),
                },
            })
        };
        Ok(Self {
            deleted_at: mark(&table.marks.deleted_at),
            synced_at: mark(&table.marks.synced_at),
        })
    }

    /// The column that says when a row was written, and its value for rows that are sent straight
    /// into the table.
    pub(super) fn sent(&self) -> Option<(Written, String)> {
        let mark = self.synced_at.as_ref()?;
        Some((mark.column.clone(), mark.time.clone()))
    }

    /// A condition that holds for rows `t` that are not marked as gone; `None`: it always holds.
    pub(super) fn is_there(&self) -> Option<String> {
        let mark = self.deleted_at.as_ref()?;
        Some(format!("t.{} IS NULL", mark.name()))
    }

    /// The same as what follows a WHERE, or nothing.
    pub(super) fn and_is_there(&self) -> String {
        let condition = self.is_there();
        condition.map_or_else(String::new, |it| format!(" AND {it}"))
    }

    /// What follows the columns of rows that are inserted.
    pub(super) fn columns(&self) -> String {
        let marks = self.synced_at.iter();
        marks.map(|mark| format!(", {}", mark.name())).collect()
    }

    /// What follows their values.
    pub(super) fn values(&self) -> String {
        let marks = self.synced_at.iter();
        marks.map(|mark| format!(", {}", mark.now())).collect()
    }

    /// The name of the column that says when a row was written, and the time.
    pub(super) fn written_at(&self) -> Option<(String, String)> {
        let mark = self.synced_at.as_ref()?;
        Some((mark.name(), mark.now()))
    }

    /// True if a row that is there may have to be written although its image is the same.
    pub(super) fn bring_back(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// Assignments to a row of `target` that is there and is written.
    pub(super) fn assignments(&self, target: &str) -> impl Iterator<Item = String> {
        let deleted_at = self.deleted_at.iter();
        let deleted_at = deleted_at.map(move |mark| format!("{target}.{} = NULL", mark.name()));
        let synced_at = self.synced_at.iter();
        deleted_at
            .chain(synced_at.map(move |mark| format!("{target}.{} = {}", mark.name(), mark.now())))
    }

    /// Takes rows `t` of `target` away that are joined with a stage: deletes them, or marks those
    /// that are not marked yet.
    pub(super) fn take_away_staged(&self, target: &str, stage: &str, matches: &str) -> Step {
        let joined = format!("{stage} AS s STRAIGHT_JOIN {target} AS t ON {matches}");
        changing(match self.marked() {
            None => format!("DELETE t FROM {joined}"),
            Some((marked, is_there)) => format!("UPDATE {joined} SET {marked} WHERE {is_there}"),
        })
    }

    /// The same for rows `t` for which a condition holds.
    pub(super) fn take_away_where(&self, target: &str, condition: &str) -> Step {
        changing(match self.marked() {
            None => format!("DELETE t FROM {target} AS t WHERE {condition}"),
            Some((marked, is_there)) => {
                format!("UPDATE {target} AS t SET {marked} WHERE {is_there} AND {condition}")
            }
        })
    }

    /// The assignments that mark a row `t`, and the condition of those that are not marked yet.
    fn marked(&self) -> Option<(String, String)> {
        let mark = self.deleted_at.as_ref()?;
        let marks = self.deleted_at.iter().chain(&self.synced_at);
        let marked: Vec<_> = marks
            .map(|mark| format!("t.{} = {}", mark.name(), mark.now()))
            .collect();
        Some((marked.join(", "), format!("t.{} IS NULL", mark.name())))
    }
}

fn changing(sql: String) -> Step {
    Step {
        sql,
        counts: Counts::Changed,
    }
}

/// The time, cut to what a column keeps: what is cut off would be rounded by one server and cut by
/// another.
fn with_digits_of(actual: &ActualColumn, now: &str) -> String {
    let digits = match actual.form {
        Some(Form::DateTime { digits } | Form::Timestamp { digits, .. }) => digits.min(DIGITS),
        _ => DIGITS,
    };
    let (seconds, fraction) = now.split_once('.').unwrap_or((now, ""));
    match fraction.get(..digits as usize) {
        Some("") | None => seconds.to_owned(),
        Some(fraction) => format!("{seconds}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Flavour, Parsed};

    #[test]
    fn time_has_the_digits_that_its_column_keeps() {
        let cut = |native: &str| {
            let parsed = Parsed::of(native);
            let column = ActualColumn {
                form: Form::of(&parsed, Flavour::MySql, (9, 0, 0)),
                ..ActualColumn::default()
            };
            with_digits_of(&column, "2026-05-01 10:00:59.999999")
        };

        assert_eq!(cut("datetime(6)"), "2026-05-01 10:00:59.999999");
        assert_eq!(cut("timestamp(3)"), "2026-05-01 10:00:59.999");
        assert_eq!(cut("datetime"), "2026-05-01 10:00:59");
    }
}
