//! Rights that a user lacks on a table that it would write. Pure.

use super::catalog::Shape;
use crate::changes::account;
use crate::connect::ServerFacts;
use crate::sql::{identifier, table as table_name};
use syncset_connector::{Difference, TargetTable};

/// What everybody needs in a target's database.
pub(crate) const RIGHTS_OF_TARGETS: &str =
    "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, CREATE TEMPORARY TABLES";

/// The statement that gives a user all of them.
pub(crate) fn grant_all(facts: &ServerFacts) -> String {
    format!(
        "GRANT {RIGHTS_OF_TARGETS} ON {}.* TO {}",
        identifier(&facts.database),
        account(&facts.user)
    )
}

/// Rights on a table that a user lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lacking {
    /// Those that everybody needs who writes it.
    pub(crate) others: Vec<&'static str>,
    /// Those that only changes of its rows need.
    pub(crate) changes: Vec<&'static str>,
}

/// What this user lacks to write a table of this shape. `may_delete`: the right to delete rows,
/// which no column shows.
pub(crate) fn lacking(table: &TargetTable, shape: &Shape, may_delete: bool) -> Lacking {
    let written = table.all_columns();
    let actual = written
        .iter()
        .filter_map(|column| shape.column(&column.name))
        .filter(|column| !column.generated);
    let actual: Vec<_> = actual.collect();
    let hidden = shape.hides_columns();
    let lacks = |right: &str| hidden || actual.iter().any(|column| !column.may(right));
    let is_key = |name: &str| table.key.iter().any(|key| key == name);
    let mut changed = actual.iter().filter(|column| !is_key(&column.name));
    let mut changes = Vec::new();
    // Rows without a key are deleted and inserted, and rows that are marked as gone stay.
    if !table.key.is_empty() && (hidden || changed.any(|column| !column.may("UPDATE"))) {
        changes.push("UPDATE");
    }
    if !may_delete && table.marks.deleted_at.is_none() {
        changes.push("DELETE");
    }
    let others = ["SELECT", "INSERT"].into_iter();
    Lacking {
        others: others.filter(|right| lacks(right)).collect(),
        changes,
    }
}

/// The statement that gives a user rights to a table.
pub(crate) fn grant(rights: &[&str], table: &TargetTable, facts: &ServerFacts) -> String {
    format!(
        "GRANT {} ON {}.{} TO {}",
        rights.join(", "),
        identifier(&facts.database),
        table_name(&table.name),
        account(&facts.user)
    )
}

/// What stops a table that lacks rights.
pub(crate) fn differences(
    lacking: &Lacking,
    table: &TargetTable,
    facts: &ServerFacts,
) -> Vec<Difference> {
    let sentence = |rights: &[&str]| {
        format!(
            "this user may not {} on `{}`; {}",
            rights.join(", "),
            table.name,
            grant(rights, table, facts)
        )
    };
    let mut differences = Vec::new();
    if !lacking.others.is_empty() {
        differences.push(Difference::of_table(sentence(&lacking.others)));
    }
    if !lacking.changes.is_empty() {
        differences.push(Difference::of_changes(sentence(&lacking.changes)));
    }
    differences
}
