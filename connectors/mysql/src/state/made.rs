//! What was made of target tables.
//!
//! DDL commits by itself here, so a crash can come between it and its record. What is about to be
//! made is therefore stored first, with a mark that the DDL itself puts into the table's comment:
//! whether the mark is there tells, after any crash, whether the DDL has happened.

use super::text::{json, key_is, key_values, target_columns, target_is};
use crate::sql::text;
use syncset_connector::{MadeTable, PipelineKey};

/// Stores what is about to be made of a table, under a fresh mark; what was made of it so far
/// stays recorded until then. What another pipeline made of a table of this name is gone with that
/// table.
pub(crate) fn plan_statement(key: &PipelineKey, made: &MadeTable, mark: &str) -> String {
    let (schema, table) = target_columns(&made.target);
    let planned = json(&serde_json::to_value(made).expect("names are plain JSON"));
    format!(
        "DELETE FROM _syncset_made WHERE {target} AND NOT ({ours});\n\
         INSERT INTO _syncset_made \
         (project, pipeline, target_schema, target_table, planned, planned_mark) \
         VALUES ({values}, {schema}, {table}, {planned}, {mark}) \
         ON DUPLICATE KEY UPDATE planned = {planned}, planned_mark = {mark};\n",
        target = target_is("", &made.target),
        ours = key_is("", key),
        values = key_values(key),
        schema = text(schema),
        table = text(table),
        mark = text(mark),
    )
}

/// What was planned has been made.
pub(crate) fn done_statement(made: &MadeTable, mark: &str) -> String {
    format!(
        "UPDATE _syncset_made SET made = planned, planned = NULL, planned_mark = '' \
         WHERE {} AND planned_mark = {};\n",
        target_is("", &made.target),
        text(mark)
    )
}

/// Makes the stream that is loaded into a table load it again: its columns are others from here
/// on. Stored before the DDL, so that no crash leaves an altered table that seems to be loaded.
pub(crate) fn reload_statement(key: &PipelineKey, made: &MadeTable) -> String {
    format!(
        "UPDATE _syncset_watermark SET selection = '' WHERE {} AND {};\n",
        key_is("", key),
        target_is("", &made.target)
    )
}

/// What begins a mark in a table's comment.
const MARK: &str = "[syncset ";

/// A comment of a table with this mark instead of any former one; `None` if it has no room.
pub(crate) fn marked_comment(comment: &str, mark: &str) -> Option<String> {
    let kept = without_mark(comment);
    let blank = if kept.is_empty() { "" } else { " " };
    let marked = format!("{kept}{blank}{MARK}{mark}]");
    (marked.chars().count() <= COMMENT_CHARS_MAX).then_some(marked)
}

/// What somebody else says in a comment of a table.
pub(crate) fn without_mark(comment: &str) -> &str {
    let kept = comment.split_once(MARK).map_or(comment, |(kept, _)| kept);
    kept.trim_end()
}

/// This text as a comment of a table that has another one, with the mark of that; `None` if it has no
/// room.
pub(crate) fn with_mark_of(text: &str, comment: &str) -> Option<String> {
    let mark = comment.find(MARK).and_then(|start| comment.get(start..));
    let both = match (text, mark) {
        (text, None) => text.to_owned(),
        ("", Some(mark)) => mark.to_owned(),
        (text, Some(mark)) => format!("{text} {mark}"),
    };
    (both.chars().count() <= COMMENT_CHARS_MAX).then_some(both)
}

/// Longest comment of a table.
const COMMENT_CHARS_MAX: usize = 2048;

/// The condition that the table `t` of the catalogue bears the mark of the row `x`.
pub(super) const BEARS_MARK: &str =
    "INSTR(t.TABLE_COMMENT, CONCAT('[syncset ', x.planned_mark, ']')) > 0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_replace_each_other_and_keep_the_comment() {
        let first = marked_comment("prices of the shop", "a1").expect("room");
        let second = marked_comment(&first, "b2").expect("room");

        assert_eq!(first, "prices of the shop [syncset a1]");
        assert_eq!(second, "prices of the shop [syncset b2]");
        assert_eq!(marked_comment("", "c3").as_deref(), Some("[syncset c3]"));
        assert_eq!(marked_comment(&"x".repeat(2040), "c3"), None);
    }
}
