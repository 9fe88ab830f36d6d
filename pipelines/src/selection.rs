//! What an edit changed of a table's selection. Pure: two canonical texts in, a list out.

use crate::evolution::{CHOICE, SOURCE};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Digits of a SHA-256 that are shown.
const SHOWN_DIGITS: usize = 12;

/// One part of a selection that an edit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectionChange {
    /// The key of the config file: `columns`, `where`, `derive`, `rename`, `to`, `key`, `capture`,
    /// `write`, `mask`, `on_delete`, `on_lossy`, `synced_at`, `transform`; `plugins` for those whose
    /// functions expressions call.
    pub what: String,
    /// What it was; `None`: nothing.
    pub before: Option<String>,
    /// What it is; `None`: nothing.
    pub after: Option<String>,
}

impl std::fmt::Display for SelectionChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = &self.what;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(formatter, "{what}: {before} -> {after}"),
            (None, Some(after)) => write!(formatter, "{what}: + {after}"),
            (Some(before), None) => write!(formatter, "{what}: - {before}"),
            (None, None) => formatter.write_str(what),
        }
    }
}

/// Compares two selections, each as [`TablePlan::selection_text`](crate::TablePlan). Empty if one
/// of them cannot be read.
pub fn selection_changes(before: &str, after: &str) -> Vec<SelectionChange> {
    let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let (Some(before), Some(after)) = (read(before), read(after)) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    columns(&before, &after, &mut changes);
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    // How columns were chosen and what they were at the source is no part of the selection.
    let others = ["columns", CHOICE, SOURCE];
    let names = names.into_iter();
    for name in names.filter(|name| !others.contains(&name.as_str())) {
        let (before, after) = (before.get(name), after.get(name));
        let is_same = before == after;
        let shown = |value: Option<&Value>| match name.as_str() {
            "transform" | "plugins" => value.and_then(|value| shown(&shortened(value))),
            _ => value.and_then(shown),
        };
        let (before, after) = (shown(before), shown(after));
        if !is_same && (before.is_some() || after.is_some()) {
            changes.push(change(name, before, after));
        }
    }
    changes
}

fn change(what: &str, before: Option<String>, after: Option<String>) -> SelectionChange {
    SelectionChange {
        what: what.to_owned(),
        before,
        after,
    }
}

/// Columns by source, computed ones by name: value and name at the target.
fn columns(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<SelectionChange>,
) {
    let (plain_before, derived_before) = by_name(before);
    let (plain_after, derived_after) = by_name(after);
    for (source, name) in &plain_before {
        match plain_after.get(source) {
            None => changes.push(change("columns", Some((*source).to_owned()), None)),
            Some(now) if now != name => changes.push(change(
                "rename",
                Some((*name).to_owned()),
                Some((*now).to_owned()),
            )),
            Some(_) => {}
        }
    }
    for source in plain_after.keys() {
        if !plain_before.contains_key(source) {
            changes.push(change("columns", None, Some((*source).to_owned())));
        }
    }
    let computed = |name: &str, sql: &str| Some(format!("{name} = {sql}"));
    for (name, sql) in &derived_before {
        let now = derived_after.get(name);
        if now != Some(sql) {
            let now = now.and_then(|sql| computed(name, sql));
            changes.push(change("derive", computed(name, sql), now));
        }
    }
    for (name, sql) in &derived_after {
        if !derived_before.contains_key(name) {
            changes.push(change("derive", None, computed(name, sql)));
        }
    }
    masks(before, after, changes);
    added(before, after, changes);
}

/// Columns that plugins add.
fn added(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<SelectionChange>,
) {
    let (before, after) = (added_by(before), added_by(after));
    let shown = |(name, plugin): (&&str, &&str)| Some(format!("{name} by {plugin}"));
    for column in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        changes.push(change("transform", shown(column), None));
    }
    for column in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        changes.push(change("transform", None, shown(column)));
    }
}

/// Name at the target of each column that a plugin adds, and the plugin.
fn added_by(selection: &Map<String, Value>) -> ByName<'_> {
    let list = selection.get("columns").and_then(Value::as_array);
    let list = list.into_iter().flatten();
    list.filter_map(|column| Some((column.get("to")?.as_str()?, column.get("plugin")?.as_str()?)))
        .collect()
}

/// Masks of columns that are there before and after.
fn masks(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<SelectionChange>,
) {
    let (before, after) = (masks_by_name(before), masks_by_name(after));
    let shown = |name: &str, mask: &Option<&str>| mask.map(|mask| format!("{name} by {mask}"));
    for (name, mask) in &before {
        if let Some(now) = after.get(name)
            && now != mask
        {
            changes.push(change("mask", shown(name, mask), shown(name, now)));
        }
    }
}

/// Columns by source, computed ones by name at the target, and what masks them.
fn masks_by_name(selection: &Map<String, Value>) -> BTreeMap<&str, Option<&str>> {
    let list = selection.get("columns").and_then(Value::as_array);
    let list = list.into_iter().flatten();
    list.filter_map(|column| {
        let field = |name: &str| column.get(name).and_then(Value::as_str);
        Some((field("column").or(field("to"))?, field("mask")))
    })
    .collect()
}

type ByName<'a> = BTreeMap<&'a str, &'a str>;

/// Source column to name at the target, and name at the target to expression.
fn by_name(selection: &Map<String, Value>) -> (ByName<'_>, ByName<'_>) {
    let (mut plain, mut derived) = (ByName::new(), ByName::new());
    let list = selection.get("columns").and_then(Value::as_array);
    for column in list.into_iter().flatten() {
        let field = |name: &str| column.get(name).and_then(Value::as_str);
        let Some(to) = field("to") else { continue };
        if let Some(source) = field("column") {
            plain.insert(source, to);
        } else if let Some(sql) = field("derive") {
            derived.insert(to, sql);
        }
    }
    (plain, derived)
}

/// The same with the first digits of each SHA-256: enough for a person to see that it is another.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) if is_sha256(text) => format!("{}..", &text[..SHOWN_DIGITS]).into(),
        Value::Array(items) => items.iter().map(shortened).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (name.clone(), shortened(value)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// A value as a person would write it; `None` for nothing.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(shown).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields: Vec<_> = fields
                .filter_map(|(name, value)| Some(format!("{name}: {}", shown(value)?)))
                .collect();
            Some(format!("{{ {} }}", fields.join(", ")))
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown_changes(before: &Value, after: &Value) -> Vec<String> {
        let changes = selection_changes(&before.to_string(), &after.to_string());
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_part_that_was_edited_is_named() {
        let before = json!({
            "capture": { "column": null, "mode": "full" },
            "columns": [
                { "column": "id", "to": "id" }, { "column": "name", "to": "name" },
                { "column": "email", "to": "email" }, { "derive": "upper(\"a\")", "to": "up" },
                { "derive": "1", "to": "one" },
            ],
            "key": ["id"], "to": "public.t", "where": null,
        });
        let after = json!({
            "capture": { "column": "at", "mode": "cursor" },
            "columns": [
                { "column": "id", "to": "id" }, { "column": "name", "to": "full_name" },
                { "column": "phone", "to": "phone" }, { "derive": "lower(\"a\")", "to": "up" },
                { "derive": "2", "to": "two" },
            ],
            "key": ["id", "phone"], "to": "crm.t", "where": { "source_sql": "id > 5" },
        });

        assert_eq!(
            shown_changes(&before, &after),
            [
                "columns: - email",
                "rename: name -> full_name",
                "columns: + phone",
                "derive: - one = 1",
                "derive: up = upper(\"a\") -> up = lower(\"a\")",
                "derive: + two = 2",
                "capture: { mode: full } -> { column: at, mode: cursor }",
                "key: [id] -> [id, phone]",
                "to: public.t -> crm.t",
                "where: + { source_sql: id > 5 }",
            ]
        );
        assert!(shown_changes(&before, &before).is_empty());
    }

    #[test]
    fn text_that_cannot_be_read_tells_nothing() {
        assert!(selection_changes("", "{}").is_empty());
    }
}
