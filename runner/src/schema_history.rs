//! The versions of a target table: what changed, when, and on whose word. Stored with what we made
//! of the table, in the transaction of the change where DDL has one.

use crate::decision::Decision;
use crate::stop::seconds_since_epoch;
use syncset_connector::{ChangedBy, MadeTable, SchemaVersion, TableChange};

/// Versions that are kept of one table.
const VERSIONS_MAX: usize = 100;

/// Notes that a table was created; `before`: what was made of the one that is gone.
pub(crate) fn note_created(made: &mut MadeTable, before: Option<&MadeTable>) {
    made.history = before.map(|it| it.history.clone()).unwrap_or_default();
    let columns: Vec<_> = made.columns.iter().map(|it| it.name.as_str()).collect();
    let change = format!("created with {}", columns.join(", "));
    push(made, ChangedBy::Created, vec![change]);
}

/// Notes what an alteration that was decided changes.
pub(crate) fn note_altered(decision: &mut Decision, by: ChangedBy) {
    let Some(alteration) = &mut decision.alteration else {
        return;
    };
    let source = decision.source.iter();
    let source = source.map(|change| format!("the source has {change}"));
    let edits = decision.changes.iter();
    let edits = edits.map(|change| format!("edited {change}"));
    let gone = alteration.changes.iter().filter_map(|change| match change {
        TableChange::DropIndex(index) if index.is.is_foreign_key() => {
            Some(format!("dropped foreign key {}", index.name))
        }
        TableChange::DropIndex(index) => Some(format!("dropped index {}", index.name)),
        _ => None,
    });
    let mut changes: Vec<String> = source.chain(edits).chain(gone).collect();
    if changes.is_empty() {
        changes.push("made what the pipeline writes".to_owned());
    }
    push(&mut alteration.made, by, changes);
}

fn push(made: &mut MadeTable, by: ChangedBy, changes: Vec<String>) {
    let version = made.history.last().map_or(1, |last| last.version + 1);
    made.history.push(SchemaVersion {
        version,
        at: seconds_since_epoch(),
        by,
        changes,
    });
    let surplus = made.history.len().saturating_sub(VERSIONS_MAX);
    made.history.drain(..surplus);
}
