//! What stands in the way of an alteration of a target table, and the errors that say so.

use crate::{ConnectorError, ErrorClass, Result, TableAlteration, TableFacts, TargetTable};
use serde::Serialize;

/// What stands in the way of an alteration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// A sentence that names it.
    pub sentence: String,
    /// What a person can do.
    pub hint: String,
}

impl Blocker {
    /// Something of the target that depends on what goes. `what`: what cannot be done, as a clause.
    pub fn dependent(what: &str, dependent: &str) -> Self {
        Self {
            sentence: format!("{what}: {dependent} depends on it"),
            hint: format!(
                "drop {dependent} or change it, then run again; if a file was edited, undoing that helps too"
            ),
        }
    }

    /// A column that somebody else made and that holds values. `table_sql`, `column_sql`: the names
    /// as the store spells them.
    pub fn holds_values(
        alteration: &TableAlteration,
        column: &str,
        (table_sql, column_sql): (&str, &str),
    ) -> Self {
        let name = &alteration.table.name;
        let written = alteration.table.all_columns();
        if written.iter().any(|it| it.name == *column) {
            return Self {
                sentence: format!(
                    "column `{column}` of `{name}` holds values and was not made by syncset"
                ),
                hint: format!(
                    "give the column of the pipeline another name with `rename: {{ .. }}`, or give \
                     this one up: ALTER TABLE {table_sql} DROP COLUMN {column_sql}"
                ),
            };
        }
        Self {
            sentence: format!(
                "column `{column}` of `{name}` is no longer selected, holds what was copied, and \
                 was not made by syncset"
            ),
            hint: format!(
                "drop it: ALTER TABLE {table_sql} DROP COLUMN {column_sql}; or clear it: UPDATE \
                 {table_sql} SET {column_sql} = NULL; then run again"
            ),
        }
    }
}

/// Refuses an alteration that something stands in the way of.
///
/// # Errors
/// All that does, with what to do about the first of them.
pub fn refuse_for(table: &TargetTable, blockers: &[Blocker]) -> Result<()> {
    let Some(first) = blockers.first() else {
        return Ok(());
    };
    let sentences: Vec<_> = blockers.iter().map(|it| it.sentence.as_str()).collect();
    let sentences = sentences.join("; ");
    Err(left_as_it_is(table, &sentences).with_hint(first.hint.clone()))
}

/// Refuses an alteration of a table that is not what it was when a person agreed to it.
///
/// # Errors
/// All that differs.
pub fn refuse_unexpected(
    table: &TargetTable,
    expected: &TableFacts,
    found: Option<&TableFacts>,
) -> Result<()> {
    let differences = match found {
        Some(found) => expected.differences(found),
        None => vec!["it is gone".to_owned()],
    };
    if differences.is_empty() {
        return Ok(());
    }
    let sentence = format!(
        "it changed since the plan was made: {}",
        differences.join("; ")
    );
    Err(left_as_it_is(table, &sentence)
        .with_hint("make a new plan with `syncset schema diff`, read it, then approve it"))
}

/// The error of a table whose rows have no such key.
pub fn rows_not_told_apart(table: &TargetTable, cause: ConnectorError) -> ConnectorError {
    let key = table.key.join(", ");
    left_as_it_is(
        table,
        &format!("its rows cannot be told apart by the key ({key})"),
    )
    .with_hint(
        "write to another table with `to:`, or drop this one: it is created and loaded again",
    )
    .caused_by(cause)
}

/// The error of a table that was dropped since it was looked at.
pub fn table_gone(table: &TargetTable) -> ConnectorError {
    let message = format!("the target has no table `{}` any more", table.name);
    ConnectorError::new(ErrorClass::Transient, message)
        .with_hint("run again: the table is created when it is missing")
}

/// The error of a table that was not altered, and for what reason.
pub fn left_as_it_is(table: &TargetTable, why: &str) -> ConnectorError {
    let message = format!("`{}` was left as it is: {why}", table.name);
    ConnectorError::new(ErrorClass::TargetDiffers, message)
}
