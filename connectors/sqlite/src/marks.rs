//! Columns that the target fills itself: since when a row is gone, and when it was last written.

use crate::civil::{Zone, format_timestamp};
use crate::sql::{identifier, table as table_name};
use chrono::Utc;
use syncset_connector::{Marks, TargetTable};

/// What one unit fills the columns with.
#[derive(Debug, Clone)]
pub(crate) struct Now(String);

impl Now {
    /// The time of a unit that begins, by the clock of this machine.
    pub(crate) fn read() -> Self {
        let text = format_timestamp(Utc::now().timestamp_micros(), Zone::Utc);
        Self(format!("'{text}'"))
    }

    /// What follows the columns of rows that are inserted.
    pub(crate) fn columns(marks: &Marks) -> String {
        let names = marks.synced_at.iter();
        names
            .map(|name| format!(", {}", identifier(name)))
            .collect()
    }

    /// What follows their values.
    pub(crate) fn values(&self, marks: &Marks) -> String {
        let names = marks.synced_at.iter();
        names.map(|_| format!(", {}", self.0)).collect()
    }

    /// Assignments to a row that is there and is written.
    pub(crate) fn assignments(&self, marks: &Marks) -> impl Iterator<Item = String> {
        let deleted_at = marks.deleted_at.iter();
        let deleted_at = deleted_at.map(|name| format!("{} = NULL", identifier(name)));
        let synced_at = marks.synced_at.iter();
        deleted_at.chain(synced_at.map(|name| format!("{} = {}", identifier(name), self.0)))
    }

    /// Takes rows `t` away for which a condition holds: deletes them, or marks those that are not
    /// marked yet.
    pub(crate) fn take_away(&self, table: &TargetTable, condition: &str) -> String {
        let (name, marks) = (table_name(&table.name), &table.marks);
        let Some(mark) = &marks.deleted_at else {
            return format!("DELETE FROM {name} AS t WHERE {condition}");
        };
        let filled = [mark].into_iter().chain(&marks.synced_at);
        let filled: Vec<String> = filled
            .map(|name| format!("{} = {}", identifier(name), self.0))
            .collect();
        format!(
            "UPDATE {name} AS t SET {} WHERE {} AND {condition}",
            filled.join(", "),
            is_there(marks, "t")
        )
    }
}

/// A condition: rows of this alias that are not marked as gone.
pub(crate) fn is_there(marks: &Marks, alias: &str) -> String {
    match &marks.deleted_at {
        Some(name) => format!("{alias}.{} IS NULL", identifier(name)),
        None => "true".to_owned(),
    }
}
