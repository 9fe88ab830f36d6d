//! Signs that a column grows with every change of its row. Signs only: who stamps a row cannot be
//! seen from outside, so a cursor is proposed and never chosen.

use super::choose::Excluded;
use super::personal::words;
use arrow_schema::DataType;
use serde::Serialize;
use syncset_connector::{Column, Survey, TableDescription};

/// Words that a column's name joins to say when its row was last changed.
const CHANGED: &[&str] = &[
    "updated",
    "lastupdate",
    "updatetime",
    "updatedate",
    "modified",
    "lastmodif",
    "changed",
    "lastchange",
    "mtime",
    "aktualisiert",
    "geaendert",
    "modifie",
    "misajour",
    "actualizado",
    "modificado",
    "aggiornato",
    "atualizado",
    "gewijzigd",
    "bijgewerkt",
];

/// Defaults that stamp a row with the time.
const CLOCKS: &[&str] = &[
    "now(",
    "current_timestamp",
    "clock_timestamp",
    "localtimestamp",
    "'now'",
];

/// A column that looks like a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cursor {
    /// The column.
    pub column: String,
    /// What speaks for it, each a fragment.
    pub evidence: Vec<String>,
    /// `capture:` as it could be written.
    pub capture: String,
}

/// The column that looks most like a cursor, if one does: a time by its name and type, never NULL,
/// and stamped or indexed.
pub(super) fn cursor(
    table: &TableDescription,
    survey: &Survey,
    excluded: &[Excluded],
) -> Option<Cursor> {
    let is_kept = |column: &&Column| !excluded.iter().any(|one| one.column == column.name);
    let candidates = table
        .columns
        .iter()
        .filter(is_kept)
        .filter_map(|column| candidate(column, survey));
    // The first of those with the most signs.
    candidates.reduce(|best, other| {
        if other.evidence.len() > best.evidence.len() {
            other
        } else {
            best
        }
    })
}

fn candidate(column: &Column, survey: &Survey) -> Option<Cursor> {
    let DataType::Timestamp(_, zone) = &column.data_type else {
        return None;
    };
    let name = words(&column.name).concat();
    if column.nullable || !CHANGED.iter().any(|word| name.contains(word)) {
        return None;
    }
    let mut evidence = Vec::new();
    if let Some(default) = &column.default
        && CLOCKS
            .iter()
            .any(|clock| default.to_ascii_lowercase().contains(clock))
    {
        evidence.push(format!("default `{default}`"));
    }
    if survey.indexed.contains(&column.name) {
        evidence.push("an index begins with it".to_owned());
    }
    if let Some(trigger) = survey.update_triggers.first() {
        evidence.push(format!("trigger `{trigger}` fires for updates"));
    }
    if evidence.is_empty() {
        return None;
    }
    let stamped = match (
        column.native.engine.as_str(),
        survey.update_triggers.is_empty(),
    ) {
        ("sqlite", _) => "overlap: 10m",
        // Only this kind of column is stamped by the server's own clock whatever a session does.
        ("mysql" | "mariadb", _) if zone.is_some() && is_stamped_on_update(column) => {
            "written_by: database"
        }
        ("mysql" | "mariadb", _) => "written_by: application, overlap: 10m",
        (_, false) => "written_by: database",
        (_, true) => "written_by: application, overlap: 10m",
    };
    let zone = match zone {
        Some(_) => "",
        None => ", zone: UTC",
    };
    let column = &column.name;
    let quoted = super::text::scalar(column);
    Some(Cursor {
        column: column.clone(),
        evidence,
        capture: format!("{{ mode: cursor, column: {quoted}, {stamped}{zone} }}"),
    })
}

fn is_stamped_on_update(column: &Column) -> bool {
    let default = column.default.as_deref().unwrap_or_default();
    default
        .to_ascii_lowercase()
        .contains("on update current_timestamp")
}
