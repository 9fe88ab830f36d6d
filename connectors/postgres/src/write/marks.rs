//! Columns that the target fills itself: since when a row is gone, and when it was last written.
//! Both hold the time at which the unit's transaction began, by the server's clock.

use super::catalog::Shape;
use super::form::{Form, form_of};
use super::plan::missing;
use crate::encode::{EncodedColumn, Wire};
use crate::sql::quote_ident;
use syncset_connector::{Marks, Result, TargetTable};

const NOW: &str = "pg_catalog.now()";

/// The columns, quoted, and the SQL that fills them.
#[derive(Debug, Clone, Default)]
pub(super) struct MarkSql {
    deleted_at: Option<String>,
    synced_at: Option<String>,
    /// How a row that is sent straight into the table carries the second one behind its columns.
    sent: Option<EncodedColumn>,
}

impl MarkSql {
    /// The marks of a table that has this shape.
    ///
    /// # Errors
    /// `TargetDiffers` if one of them is missing.
    pub(super) fn new(table: &TargetTable, shape: &Shape) -> Result<Self> {
        for mark in table.marks.columns() {
            if shape.column(&mark.name).is_none() {
                return Err(missing(table, &mark));
            }
        }
        let quoted = |name: &Option<String>| name.as_deref().map(quote_ident);
        let sent = table.marks.synced_at.as_ref().and_then(|name| {
            let form = form_of(&Marks::data_type(), shape.column(name)?);
            (form == Some(Form::Direct(Wire::Timestamp))).then(|| EncodedColumn {
                index: table.columns.len(),
                name: name.clone(),
                wire: Wire::Timestamp,
            })
        });
        Ok(Self {
            deleted_at: quoted(&table.marks.deleted_at),
            synced_at: quoted(&table.marks.synced_at),
            sent,
        })
    }

    /// Whether rows say when they were written.
    pub(super) fn has_time(&self) -> bool {
        self.synced_at.is_some()
    }

    /// The column that carries the time of rows that are sent straight into the table.
    pub(super) fn sent(&self) -> Option<EncodedColumn> {
        self.sent.clone()
    }

    /// A condition: rows `t` that are not marked as gone.
    pub(super) fn is_there(&self) -> String {
        match &self.deleted_at {
            Some(mark) => format!("t.{mark} IS NULL"),
            None => "true".to_owned(),
        }
    }

    /// What follows the columns of rows that are inserted.
    pub(super) fn columns(&self) -> String {
        let marks = self.synced_at.iter();
        marks.map(|mark| format!(", {mark}")).collect()
    }

    /// What follows their values.
    pub(super) fn values(&self) -> String {
        self.synced_at.iter().map(|_| format!(", {NOW}")).collect()
    }

    /// Assignments to a row that is there and is written.
    pub(super) fn assignments(&self) -> impl Iterator<Item = String> {
        let deleted_at = self.deleted_at.iter().map(|mark| format!("{mark} = NULL"));
        deleted_at.chain(self.synced_at.iter().map(|mark| format!("{mark} = {NOW}")))
    }

    /// Takes rows `t` of a table away for which a condition holds: deletes them, or marks those
    /// that are not marked yet. `others`: relations that the condition names; may be empty.
    pub(super) fn take_away(&self, target: &str, others: &str, condition: &str) -> String {
        let with = |word: &str| match others {
            "" => String::new(),
            _ => format!(" {word} {others}"),
        };
        let Some(mark) = &self.deleted_at else {
            let using = with("USING");
            return format!("DELETE FROM {target} AS t{using} WHERE {condition}");
        };
        let synced_at = self.synced_at.iter();
        let synced_at: String = synced_at.map(|mark| format!(", {mark} = {NOW}")).collect();
        let from = with("FROM");
        format!(
            "UPDATE {target} AS t SET {mark} = {NOW}{synced_at}{from} WHERE {} AND {condition}",
            self.is_there()
        )
    }
}
