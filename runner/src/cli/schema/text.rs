//! Changes of schemas, for people.

use crate::cli::quantity::rows;
use crate::cli::render;
use crate::rules::Fate;
use crate::schema_diff::{RowsEntry, TableDiff};
use syncset_connector::PlannedStatement;

/// One table: what became of it, what follows for the target, and what stops it.
pub(super) fn print(table: &TableDiff) {
    let mut text = format!("{} -> {}\n", table.table, table.target);
    for change in &table.changes {
        let fate = match change.fate {
            Fate::Follows => "a run follows it",
            Fate::Waits => "waits for your word",
            Fate::Refused => "stops the table",
        };
        text.push_str(&format!(
            "  source has {}: {fate} (`{}`)\n",
            change.sentence, change.policy
        ));
    }
    for edit in &table.edited {
        text.push_str(&format!("  edited {}\n", edit.sentence));
    }
    for statement in &table.statements {
        let (sql, meaning) = (&statement.sql, meaning(statement));
        text.push_str(&format!("  target: {sql}\n    {meaning}\n"));
    }
    text.push_str(&format!("  rows: {}\n", of_rows(&table.rows)));
    render::text_out(&text);
    table.failures.iter().for_each(render::failure);
}

/// What a statement means to those who use the table.
pub(in crate::cli) fn meaning(statement: &PlannedStatement) -> String {
    let rewrites = match statement.rewrites {
        true => "writes the rows anew",
        false => "writes no row",
    };
    let undone = match statement.reversible {
        true => "can be undone",
        false => "cannot be undone",
    };
    format!(
        "lock: {}; blocks {} while it runs; {rewrites}; {undone}",
        statement.lock,
        statement.blocks.name()
    )
}

/// What readers of the target see meanwhile in columns that are made anew.
fn until_loaded(columns: &[String]) -> String {
    let columns: Vec<_> = columns.iter().map(|name| format!("`{name}`")).collect();
    match columns.as_slice() {
        [] => String::new(),
        columns => format!("; until then readers see NULL in {}", columns.join(", ")),
    }
}

fn of_rows(held: &RowsEntry) -> String {
    let about = |count: Option<u64>| match count {
        Some(count) => format!("about {}", rows(count)),
        None => "all rows".to_owned(),
    };
    match held.loaded_again {
        true => format!(
            "{} of the source are read again and written where they differ{}",
            about(held.source),
            until_loaded(&held.null_until_loaded)
        ),
        false => format!("{} of the target stay as they are", about(held.target)),
    }
}
