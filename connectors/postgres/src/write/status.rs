//! What stops a table from being written, and what a user should know of it. Pure.

use super::catalog::{ActualColumn, Shape, target_name};
use super::form::form_of;
use super::plan::create_index;
use crate::ddl;
use crate::sql::{quote_ident, quote_literal};
use crate::types;
use syncset_connector::{Difference, TableName, TargetColumn, TargetTable, TypeDefinition};

/// Rights that nobody needs who only appends rows.
pub(crate) const RIGHTS_OF_CHANGES: [&str; 2] = ["UPDATE", "DELETE"];

/// Longest name, in bytes: the server cuts longer ones without an error.
const NAME_BYTES_MAX: usize = 63;

/// Names that the server would cut.
pub(crate) fn long_names(table: &TargetTable) -> Vec<Difference> {
    let columns = table.all_columns();
    let columns = columns
        .iter()
        .map(|column| (column.name.as_str(), "rename:"));
    let own = [(table.name.name.as_str(), "to:")];
    own.into_iter()
        .chain(columns)
        .filter(|(name, _)| name.len() > NAME_BYTES_MAX)
        .map(|(name, key)| {
            Difference::of_table(format!(
                "`{name}` of `{}` has {} bytes, and a name of PostgreSQL up to \
                 {NAME_BYTES_MAX}; give it a shorter one with `{key}`",
                table.name,
                name.len()
            ))
        })
        .collect()
}

/// Everything that stops the table.
pub(crate) fn differences(table: &TargetTable, shape: &Shape, user: &str) -> Vec<Difference> {
    let name = &table.name;
    if !matches!(shape.kind, 'r' | 'p') {
        return vec![Difference::of_table(format!(
            "`{name}` is not a table at the target; choose another name with `to:`"
        ))];
    }
    let mut differences = long_names(table);
    differences.extend(missing_rights(name, shape, user));
    if shape.has_policies {
        differences.push(Difference::of_table(format!(
            "policies of row security hide rows of `{name}` from this user; \
             ALTER ROLE {} BYPASSRLS, or drop the policies",
            quote_ident(user)
        )));
    }
    let wanted = table.all_columns();
    for column in &wanted {
        match shape.column(&column.name) {
            None => differences.push(Difference::of_column(
                &column.name,
                format!(
                    "`{name}` has no column `{}`; ALTER TABLE {} ADD COLUMN {} {}",
                    column.name,
                    target_name(name),
                    quote_ident(&column.name),
                    ddl::map_type(column).native
                ),
            )),
            Some(actual) => {
                let sentence = mark_difference(table, column, actual)
                    .or_else(|| column_difference(table, column, actual));
                differences.extend(sentence.map(|it| Difference::of_column(&column.name, it)));
                // No column that is made anew would have another type.
                let of_type = type_difference(name, column, actual);
                differences.extend(of_type.map(Difference::of_table));
            }
        }
    }
    for actual in &shape.columns {
        let is_written = wanted.iter().any(|column| column.name == actual.name);
        if !is_written && actual.not_null && !actual.has_default && !actual.generated {
            differences.push(Difference::of_column(
                &actual.name,
                format!(
                    "column `{0}` of `{name}` is NOT NULL, has no default and is not written; \
                     ALTER TABLE {1} ALTER COLUMN {2} DROP NOT NULL, or select it",
                    actual.name,
                    target_name(name),
                    quote_ident(&actual.name)
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
    let (wrong, mend) = if actual.generated {
        ("is computed by the target", "DROP EXPRESSION")
    } else if is_deleted_at && actual.not_null {
        ("refuses NULL", "DROP NOT NULL")
    } else if is_deleted_at && actual.has_default {
        ("has a default", "DROP DEFAULT")
    } else {
        return None;
    };
    Some(format!(
        "column `{0}` of `{1}` {wrong}, and syncset fills it; ALTER TABLE {2} ALTER COLUMN {3} {mend}",
        column.name,
        table.name,
        target_name(&table.name),
        quote_ident(&column.name)
    ))
}

/// Rights that everybody needs who writes the table, then those that only changes of rows need.
fn missing_rights(name: &TableName, shape: &Shape, user: &str) -> Vec<Difference> {
    let (changes, others): (Vec<&str>, Vec<&str>) = shape
        .missing_rights
        .iter()
        .map(String::as_str)
        .partition(|right| RIGHTS_OF_CHANGES.contains(right));
    let sentence = |rights: &[&str]| {
        let rights = rights.join(", ");
        format!(
            "this user may not {rights} on `{name}`; GRANT {rights} ON {} TO {}",
            target_name(name),
            quote_ident(user)
        )
    };
    let others = (!others.is_empty()).then(|| Difference::of_table(sentence(&others)));
    let changes = (!changes.is_empty()).then(|| Difference::of_changes(sentence(&changes)));
    others.into_iter().chain(changes).collect()
}

/// Why a column cannot take what is written into it.
pub(crate) fn column_difference(
    table: &TargetTable,
    column: &TargetColumn,
    actual: &ActualColumn,
) -> Option<String> {
    let is_key = table.key.contains(&column.name);
    if actual.generated {
        return is_key.then(|| {
            format!(
                "key column `{}` of `{}` is computed by the target and cannot be written; \
                 ALTER TABLE {} ALTER COLUMN {} DROP EXPRESSION",
                column.name,
                table.name,
                target_name(&table.name),
                quote_ident(&column.name)
            )
        });
    }
    // Rows of a table without a key are never updated.
    if actual.identity_always && !is_key && !table.key.is_empty() {
        return Some(format!(
            "column `{}` of `{}` is GENERATED ALWAYS and cannot be updated; \
             ALTER TABLE {} ALTER COLUMN {} SET GENERATED BY DEFAULT",
            column.name,
            table.name,
            target_name(&table.name),
            quote_ident(&column.name)
        ));
    }
    if let Some(label) = missing_label(column, actual) {
        let label = quote_literal(label).unwrap_or_default();
        return Some(format!(
            "the type of column `{}` of `{}` lacks the label {label}; ALTER TYPE {} ADD VALUE {label}",
            column.name, table.name, actual.bare
        ));
    }
    let wanted = ddl::map_type(column).native;
    let fits = wanted == actual.declared || holds(column, &wanted, actual);
    if fits && form_of(&column.data_type, actual).is_some() {
        return None;
    }
    Some(format!(
        "column `{}` of `{}` is {} at the target and needs to be {wanted}; \
         ALTER TABLE {} ALTER COLUMN {} TYPE {wanted}",
        column.name,
        table.name,
        actual.declared,
        target_name(&table.name),
        quote_ident(&column.name)
    ))
}

/// What a type of the same name is at the source and not here.
fn type_difference(
    table: &TableName,
    column: &TargetColumn,
    actual: &ActualColumn,
) -> Option<String> {
    let native = ddl::own(column)?;
    if native.name != actual.declared {
        return None;
    }
    let (is, wanted, mend) = match native.definition.as_ref()? {
        TypeDefinition::Composite { attributes, .. } if *attributes != actual.attributes => (
            format!("has the attributes {}", listed(&actual.attributes)),
            listed(attributes),
            mended_attributes(&native.name, attributes, &actual.attributes),
        ),
        TypeDefinition::Enum { labels } if actual.is_enum => {
            let renames = renamed_labels(labels, &actual.labels);
            if renames.is_empty() {
                return None;
            }
            let renames = renames.into_iter().map(|(from, to)| {
                let literal = |label: &str| quote_literal(label).unwrap_or_default();
                let (from, to) = (literal(from), literal(to));
                format!("ALTER TYPE {} RENAME VALUE {from} TO {to}", native.name)
            });
            (
                format!("has the labels ({})", actual.labels.join(", ")),
                format!("({})", labels.join(", ")),
                renames.collect::<Vec<_>>().join("; "),
            )
        }
        TypeDefinition::Domain { .. } if !holds(column, &native.name, actual) => (
            format!("stands for {}", actual.base_declared),
            types::base_type(native).to_owned(),
            format!(
                "make a domain over {} and give it to the column",
                types::base_type(native)
            ),
        ),
        _ => return None,
    };
    Some(format!(
        "the type {} of column `{}` of `{table}` {is} at the target and needs to be as at the source: {wanted}; {mend}",
        native.name, column.name
    ))
}

fn listed(attributes: &[(String, String)]) -> String {
    let parts = attributes.iter();
    let parts: Vec<_> = parts
        .map(|(name, native)| format!("{name} {native}"))
        .collect();
    format!("({})", parts.join(", "))
}

/// Labels of the source that stand where the type here has others, which the source has no longer:
/// what they are called here, and there.
fn renamed_labels<'a>(wanted: &'a [String], actual: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let pairs = actual.iter().zip(wanted);
    let renamed = pairs.filter(|(from, to)| !wanted.contains(from) && !actual.contains(to));
    renamed
        .map(|(from, to)| (from.as_str(), to.as_str()))
        .collect()
}

/// The statement that makes a composite type what it is at the source.
fn mended_attributes(
    name: &str,
    wanted: &[(String, String)],
    actual: &[(String, String)],
) -> String {
    let types = |list: &[(String, String)]| -> Vec<String> {
        list.iter().map(|(_, native)| native.clone()).collect()
    };
    if types(wanted) == types(actual) {
        let pairs = actual.iter().zip(wanted);
        let renames = pairs.filter(|((from, _), (to, _))| from != to);
        let renames = renames.map(|((from, _), (to, _))| {
            let (from, to) = (quote_ident(from), quote_ident(to));
            format!("ALTER TYPE {name} RENAME ATTRIBUTE {from} TO {to}")
        });
        return renames.collect::<Vec<_>>().join("; ");
    }
    let gone = actual.iter().filter(|it| !wanted.contains(it));
    let gone = gone.map(|(attribute, _)| format!("DROP ATTRIBUTE {}", quote_ident(attribute)));
    let new = wanted.iter().filter(|it| !actual.contains(it));
    let new =
        new.map(|(attribute, native)| format!("ADD ATTRIBUTE {} {native}", quote_ident(attribute)));
    let kept: Vec<_> = actual.iter().filter(|it| wanted.contains(it)).collect();
    let first: Vec<_> = wanted.iter().take(kept.len()).collect();
    if kept != first {
        return format!(
            "make it anew with its attributes in this order: {}",
            listed(wanted)
        );
    }
    let actions: Vec<_> = gone.chain(new).collect();
    format!("ALTER TYPE {name} {}", actions.join(", "))
}

fn missing_label<'a>(column: &'a TargetColumn, actual: &ActualColumn) -> Option<&'a String> {
    match &ddl::own(column)?.definition {
        Some(TypeDefinition::Enum { labels }) if actual.is_enum => {
            labels.iter().find(|label| !actual.labels.contains(label))
        }
        _ => None,
    }
}

/// True if a column of another type than the wanted one holds every value and gives it back.
fn holds(column: &TargetColumn, wanted: &str, actual: &ActualColumn) -> bool {
    let wanted = match ddl::own(column) {
        Some(native) => types::base_type(native),
        None => wanted,
    };
    let actual = actual.base_declared.as_str();
    if wanted == actual {
        return true;
    }
    let stem = wanted.split('(').next().unwrap_or(wanted);
    match actual {
        "integer" => wanted == "smallint",
        "bigint" => matches!(wanted, "smallint" | "integer"),
        "numeric" => stem == "numeric" || matches!(wanted, "smallint" | "integer" | "bigint"),
        "double precision" => wanted == "real",
        // `character` would lose its padding on the way back, but not its value.
        "text" | "character varying" => {
            matches!(
                stem,
                "text" | "character varying" | "character" | "bpchar" | "name"
            )
        }
        "timestamp with time zone" => stem == "timestamp" && wanted.ends_with("with time zone"),
        "timestamp without time zone" => {
            stem == "timestamp" && wanted.ends_with("without time zone")
        }
        "time without time zone" => stem == "time" && wanted.ends_with("without time zone"),
        _ => wider_length(wanted, actual),
    }
}

/// `varchar(20)` holds `varchar(10)`.
fn wider_length(wanted: &str, actual: &str) -> bool {
    let length = |native: &str| -> Option<u32> {
        native
            .strip_prefix("character varying(")?
            .strip_suffix(')')?
            .parse()
            .ok()
    };
    matches!((length(wanted), length(actual)), (Some(wanted), Some(actual)) if wanted <= actual)
}

/// Other tables that rows of this one refer to.
pub(crate) fn parents(shape: &Shape) -> Vec<TableName> {
    let parents = shape.foreign_keys.iter();
    parents.map(|(_, parent)| parent.clone()).collect()
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
    for (constraint, parent) in &shape.foreign_keys {
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
            "deleting rows of `{name}` changes rows of `{child}` by foreign key `{constraint}`"
        ));
    }
    if shape.unlogged {
        notes.push(format!(
            "`{name}` is UNLOGGED: it is empty after a crash of the server"
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
