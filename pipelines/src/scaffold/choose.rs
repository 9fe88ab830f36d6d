//! What is written about one table: whether it is copied, without which columns, by which key.

use super::evidence::{self, Cursor};
use super::personal::{Sensitivity, sensitivity};
use super::{ScaffoldTable, text};
use crate::table_pattern::display;
use serde::Serialize;
use syncset_connector::{Column, Exactness, Generated, TableKind};

/// What is written about a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Choice {
    /// It is copied.
    Selected(Chosen),
    /// It stands there as a comment.
    LeftOut(LeftOut),
}

/// A table that is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// The table as `tables:` names it.
    pub table: String,
    /// Its key; empty without one.
    pub key: Vec<String>,
    /// True if the key is no primary key and has to be written.
    #[serde(skip)]
    pub names_key: bool,
    /// The source's estimate.
    pub row_estimate: Option<u64>,
    /// Bytes on disk.
    pub bytes: Option<u64>,
    /// Columns that are left out.
    pub excluded: Vec<Excluded>,
    /// Columns that are copied and look like personal data.
    pub personal: Vec<String>,
    /// Columns that the source computes, copied as plain data.
    pub generated: Vec<String>,
    /// A column that looks like a cursor.
    pub cursor: Option<Cursor>,
}

/// A column that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The column.
    pub column: String,
    /// Why: a fragment.
    pub reason: String,
}

/// A table or view that is not copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The table as `tables:` names it.
    pub table: String,
    /// Why, and what to do about it.
    pub reason: String,
    /// Its entry, for whoever wants it all the same.
    #[serde(skip)]
    pub entry: String,
}

/// Decides what is written about a table.
pub(super) fn choose(table: &ScaffoldTable) -> Choice {
    let described = &table.description;
    let name = display(&described.name);
    let key_name = text::key(&name);
    let leave_out = |reason: String, entry: String| {
        Choice::LeftOut(LeftOut {
            table: name.clone(),
            reason,
            entry,
        })
    };
    if let Some(kind) = view(described.kind) {
        return leave_out(
            format!("{kind}: name columns that are unique in it and never NULL, if you want it."),
            format!("{key_name}: {{ key: [..], capture: full }}"),
        );
    }
    let plain = format!("{key_name}: {{}}");
    if !table.survey.grants.is_empty() {
        let grants = table.survey.grants.join(" ");
        return leave_out(format!("This user may not read it: {grants}"), plain);
    }
    if let Some(refused) = &table.refused {
        return leave_out(format!("It cannot be copied as it is: {refused}."), plain);
    }
    let unique = described.unique_keys.iter().find(|unique| unique.total);
    let names_key = described.primary_key.is_empty() && unique.is_some();
    let key = match unique {
        Some(unique) if names_key => unique.columns.clone(),
        _ => described.primary_key.clone(),
    };
    let excluded = excluded(table, &key);
    if let Some(lost) = excluded.iter().find(|one| key.contains(&one.column)) {
        let Excluded { column, reason } = lost;
        return leave_out(format!("Its key column `{column}` {reason}."), plain);
    }
    Choice::Selected(Chosen {
        personal: personal(table, &excluded),
        generated: generated(table, &excluded),
        // Without a key nothing but the whole table can be compared.
        cursor: match key.is_empty() {
            true => None,
            false => evidence::cursor(described, &table.survey, &excluded),
        },
        table: name,
        key,
        names_key,
        row_estimate: described.row_estimate,
        bytes: described.byte_estimate,
        excluded,
    })
}

fn view(kind: TableKind) -> Option<&'static str> {
    match kind {
        TableKind::Table | TableKind::Partitioned => None,
        TableKind::View => Some("A view"),
        TableKind::MaterializedView => Some("A materialised view"),
        TableKind::Foreign => Some("A foreign table"),
    }
}

/// Columns that cannot be copied, and secrets unless they are the key.
fn excluded(table: &ScaffoldTable, key: &[String]) -> Vec<Excluded> {
    let columns = table.description.columns.iter().zip(&table.mappings);
    let excluded = columns.filter_map(|(column, mapping)| {
        let reason = if !column.readable {
            "may not be read by this user".to_owned()
        } else if mapping.exactness == Exactness::Refused {
            let note = mapping
                .note
                .as_deref()
                .unwrap_or("the target has no such type");
            format!("of type {} would lose values: {note}", column.native.name)
        } else if guess(table, column) == Some(Sensitivity::Secret) && !key.contains(&column.name) {
            "looks like a secret".to_owned()
        } else {
            return None;
        };
        Some(Excluded {
            column: column.name.clone(),
            reason,
        })
    });
    excluded.collect()
}

fn guess(table: &ScaffoldTable, column: &Column) -> Option<Sensitivity> {
    sensitivity(&table.description.name.name, column)
}

fn personal(table: &ScaffoldTable, excluded: &[Excluded]) -> Vec<String> {
    kept(table, excluded)
        .filter(|column| guess(table, column).is_some())
        .map(|column| column.name.clone())
        .collect()
}

fn generated(table: &ScaffoldTable, excluded: &[Excluded]) -> Vec<String> {
    kept(table, excluded)
        .filter(|column| column.generated == Some(Generated::Expression))
        .map(|column| column.name.clone())
        .collect()
}

fn kept<'a>(
    table: &'a ScaffoldTable,
    excluded: &'a [Excluded],
) -> impl Iterator<Item = &'a Column> {
    let columns = table.description.columns.iter();
    columns.filter(|column| !excluded.iter().any(|one| one.column == column.name))
}
