//! What stops a table from being written, and what a user should know of it. Pure.

use super::catalog::{ActualColumn, Shape};
use super::plan::create_index;
use crate::ddl;
use crate::encode::Form;
use crate::sql::{identifier, table as table_name};
use crate::types::{self, Flavour, Parsed};
use syncset_connector::{Difference, TableName, TargetColumn, TargetTable};

/// Everything that stops the table.
pub(crate) fn differences(table: &TargetTable, shape: &Shape, flavour: Flavour) -> Vec<Difference> {
    let name = &table.name;
    if !matches!(shape.kind.as_str(), "BASE TABLE" | "SYSTEM VERSIONED") {
        return vec![Difference::of_table(format!(
            "`{name}` is not a table at the target; choose another name with `to:`"
        ))];
    }
    if shape.hides_columns() {
        // What is said of the rights is all that can be told.
        return Vec::new();
    }
    let quoted = table_name(name);
    if !shape.engine.eq_ignore_ascii_case("InnoDB") {
        return vec![Difference::of_table(format!(
            "`{name}` is a table of the engine {}, which keeps rows that a run gave up: rows and \
             their watermark would come apart; ALTER TABLE {quoted} ENGINE=InnoDB",
            shape.engine
        ))];
    }
    let mut differences = Vec::new();
    let wanted = match ddl::column_types(table, flavour) {
        Ok(wanted) => wanted,
        Err(error) => {
            let hint = error.hint.unwrap_or_default();
            let sentence = format!("{}; {hint}", error.message);
            return vec![Difference::of_key(sentence)];
        }
    };
    let written = table.all_columns();
    for (column, wanted) in written.iter().zip(&wanted) {
        let sentence = match shape.column(&column.name) {
            None if shape.partial => Some(format!(
                "this user is shown no column `{}` of `{name}`; it has rights to some columns only: \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {quoted} to it",
                column.name,
            )),
            None => Some(format!(
                "`{name}` has no column `{}`; ALTER TABLE {quoted} ADD COLUMN {} {wanted}",
                column.name,
                identifier(&column.name),
            )),
            Some(actual) => mark_difference(table, column, actual)
                .or_else(|| column_difference(table, column, actual, wanted)),
        };
        differences.extend(sentence.map(|it| Difference::of_column(&column.name, it)));
    }
    for actual in &shape.columns {
        let is_written = written.iter().any(|column| column.name == actual.name);
        if !is_written && actual.not_null && !actual.has_default && !actual.generated {
            differences.push(Difference::of_column(
                &actual.name,
                format!(
                    "column `{0}` of `{name}` is NOT NULL, has no default and is not written; \
                     ALTER TABLE {quoted} MODIFY COLUMN {1} {2} NULL, or select it",
                    actual.name,
                    identifier(&actual.name),
                    actual.declared
                ),
            ));
        }
    }
    if !table.key.is_empty() && shape.unique_index(&table.key).is_none() {
        differences.push(Difference::of_key(format!(
            "`{name}` has no unique index on its key ({}); {}",
            table.key.join(", "),
            create_index(table)
        )));
    }
    differences
}

/// What keeps us from filling a mark as it has to be: a row that is there has NULL in the one that
/// says since when it is gone.
fn mark_difference(
    table: &TargetTable,
    column: &TargetColumn,
    actual: &ActualColumn,
) -> Option<String> {
    if !table.marks.names(&column.name) {
        return None;
    }
    let is_deleted_at = table.marks.deleted_at.as_ref() == Some(&column.name);
    let wrong = if actual.generated {
        "is computed by the target"
    } else if is_deleted_at && actual.not_null {
        "refuses NULL"
    } else if is_deleted_at && !actual.stays_null {
        "has a default, or changes with its row,"
    } else {
        return None;
    };
    // A TIMESTAMP has a default wherever it is not said to have none.
    let native = actual.declared.as_str();
    let mend = if is_deleted_at {
        format!("{native} NULL DEFAULT NULL")
    } else {
        format!("{native} NULL")
    };
    Some(format!(
        "column `{0}` of `{1}` {wrong} and syncset fills it; ALTER TABLE {2} MODIFY COLUMN {3} {mend}",
        column.name,
        table.name,
        table_name(&table.name),
        identifier(&column.name)
    ))
}

fn column_difference(
    table: &TargetTable,
    column: &TargetColumn,
    actual: &ActualColumn,
    wanted: &str,
) -> Option<String> {
    let quoted = (table_name(&table.name), identifier(&column.name));
    if actual.generated {
        let is_key = table.key.contains(&column.name);
        return is_key.then(|| {
            format!(
                "key column `{}` of `{}` is computed by the target and cannot be written; \
                 ALTER TABLE {} MODIFY COLUMN {} {wanted}",
                column.name, table.name, quoted.0, quoted.1
            )
        });
    }
    if let Some(label) = missing_label(column, actual) {
        return Some(format!(
            "the type of column `{}` of `{}` lacks the label `{label}`; ALTER TABLE {} MODIFY \
             COLUMN {} {wanted}",
            column.name, table.name, quoted.0, quoted.1
        ));
    }
    if holds(column, actual, &Parsed::of(wanted)) {
        return None;
    }
    Some(format!(
        "column `{}` of `{}` is {} at the target and needs to be {wanted}; ALTER TABLE {} MODIFY \
         COLUMN {} {wanted}",
        column.name, table.name, actual.declared, quoted.0, quoted.1
    ))
}

/// A label that the source's type has and the target's lacks.
fn missing_label(column: &TargetColumn, actual: &ActualColumn) -> Option<String> {
    let native = column.native.as_ref().filter(|it| types::is_ours(it))?;
    let (Form::Label(known) | Form::Labels(known)) = actual.form.as_ref()? else {
        return None;
    };
    let labels = Parsed::of(&native.name).labels;
    labels.into_iter().find(|label| !known.contains(label))
}

/// True if a column holds every value of the wanted type and gives it back as it was. What a single
/// value needs beyond that, its length, range or characters, is checked when it is written.
fn holds(column: &TargetColumn, actual: &ActualColumn, wanted: &Parsed) -> bool {
    let Some(form) = &actual.form else {
        return false;
    };
    if !form.takes(&column.data_type) {
        return false;
    }
    let declared = &actual.parsed;
    // Digits behind the point that a float is declared with are rounded to.
    if matches!(form, Form::Float { .. }) && declared.arguments.len() > 1 {
        return wanted.base == declared.base && wanted.arguments == declared.arguments;
    }
    let is_text = |parsed: &Parsed| {
        matches!(
            parsed.base.as_str(),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext"
        )
    };
    match form {
        Form::Integer { .. } => wanted.base != "bit" && !is_text(wanted),
        Form::Text(_) => is_text(wanted) || matches!(wanted.base.as_str(), "enum" | "json"),
        Form::Json(_) => matches!(wanted.base.as_str(), "json" | "longtext"),
        Form::Label(_) | Form::Labels(_) => {
            wanted.base == declared.base || matches!(wanted.base.as_str(), "varchar" | "longtext")
        }
        Form::Uuid => wanted.base == declared.base || wanted.base == "char",
        Form::Printed => wanted.base == declared.base,
        Form::Decimal { .. } => !is_text(wanted),
        Form::Year => wanted.base == "year",
        Form::Bits(_) => matches!(wanted.base.as_str(), "bit" | "tinyint"),
        Form::Date | Form::DateTime { .. } | Form::Timestamp { .. } => !is_text(wanted),
        Form::Float { .. } | Form::Bytes { .. } | Form::Geometry | Form::Time { .. } => true,
    }
}

/// Other tables that rows of this one refer to.
pub(crate) fn parents(shape: &Shape) -> Vec<TableName> {
    let parents = shape.foreign_keys.iter();
    parents.map(|(_, _, parent)| parent.clone()).collect()
}

/// Foreign keys of other tables that a deleted row of this one would touch.
pub(crate) fn cascades(shape: &Shape) -> Vec<String> {
    let cascades = shape.cascades.iter();
    cascades
        .map(|(constraint, child)| format!("foreign key `{constraint}` of `{child}`"))
        .collect()
}

/// What a user should know. `synced` are all target tables of the pipeline.
pub(crate) fn notes(table: &TargetTable, shape: &Shape, synced: &[&TableName]) -> Vec<String> {
    let name = &table.name;
    let mut notes = Vec::new();
    if !shape.triggers.is_empty() {
        notes.push(format!(
            "triggers of `{name}` fire for rows that are written: {}",
            shape.triggers.join(", ")
        ));
    }
    for (constraint, _, parent) in &shape.foreign_keys {
        if !synced.contains(&parent) {
            notes.push(format!(
                "foreign key `{constraint}` of `{name}` refuses rows whose parent is missing; \
                 `{parent}` is not written by this pipeline"
            ));
        }
    }
    // A row that is only marked as gone takes none with it.
    let deletes = table.marks.deleted_at.is_none();
    for (constraint, child) in shape.cascades.iter().filter(|_| deletes) {
        notes.push(format!(
            "deleting rows of `{name}` changes rows of `{child}` by foreign key `{constraint}`, \
             which no trigger and no binary log shows"
        ));
    }
    let key = table.key.iter().filter_map(|name| shape.column(name));
    for column in key.filter(|column| !column.tells_bytes_apart()) {
        notes.push(format!(
            "key column `{}` of `{name}` is compared by {}: keys that differ by case, accents or \
             trailing blanks alone stop the run",
            column.name,
            column.parsed.collation.as_deref().unwrap_or("a collation")
        ));
    }
    if !table.key.is_empty() && shape.has_further_unique_index(&table.key) {
        notes.push(format!(
            "further unique keys of `{name}` may refuse rows, which are tried again at the end"
        ));
    }
    for column in &table.columns {
        let refuses_null = shape
            .column(&column.name)
            .is_some_and(|actual| actual.not_null && column.nullable);
        if refuses_null {
            notes.push(format!(
                "column `{}` of `{name}` refuses NULL, which the source allows",
                column.name
            ));
        }
    }
    notes
}
