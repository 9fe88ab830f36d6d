//! Reads `on_lossy:` and decides it for each column. YAML's `null` is a word here.

use crate::fields::{Fields, choice, wrong_type};
use crate::plan::{LossyChoice, Output};
use crate::planner::Planner;
use crate::problem::Problems;
use crate::schema::Section;
use crate::settings::merge;
use crate::spec::{LossySetting, Name};
use crate::yaml::{Entry, Node, Value};
use serde_json::json;
use syncset_connector::OnLossy;

const EXAMPLE: &str = "on_lossy: { default: error, columns: { price: text } }";

/// The shorthand `on_lossy: warn` as `on_lossy: { default: warn }`, so that both merge alike.
fn in_full(node: &Node) -> Node {
    match node.value {
        Value::Scalar { .. } | Value::NullWord => Node {
            place: node.place,
            value: Value::Map(vec![Entry {
                key: "default".into(),
                key_place: node.place,
                node: node.spelled(),
            }]),
        },
        _ => spelled(node),
    }
}

/// The same with every `null` inside as the word it is spelled as.
fn spelled(node: &Node) -> Node {
    let Value::Map(entries) = &node.value else {
        return node.spelled();
    };
    let entries = entries.iter().map(|entry| Entry {
        node: spelled(&entry.node),
        ..entry.clone()
    });
    Node {
        place: node.place,
        value: Value::Map(entries.collect()),
    }
}

/// One `on_lossy:` over another. A word replaces the default and leaves the columns.
pub(crate) fn merged(base: &Node, over: &Node) -> Node {
    merge(&in_full(base), &in_full(over))
}

/// Reads `on_lossy:`.
pub(crate) fn read(node: &Node, problems: &mut Problems) -> LossySetting {
    let node = in_full(node);
    let mut setting = LossySetting::default();
    if !matches!(node.value, Value::Map(_)) {
        wrong_type(
            &node,
            "`on_lossy`",
            "a word or a mapping",
            EXAMPLE,
            problems,
        );
        return setting;
    }
    let what = ("`on_lossy`", EXAMPLE);
    let Some(fields) = Fields::of(&node, Section::OnLossy, what, problems) else {
        return setting;
    };
    if let Some(node) = fields.word("default") {
        let (section, key) = match node.place == fields.place {
            true => (Section::Table, "on_lossy"),
            false => (Section::OnLossy, "default"),
        };
        let read = choice(&node, section, key, &OnLossy::ALL, problems);
        setting.default = read.unwrap_or_default();
    }
    let Some(columns) = fields.value("columns") else {
        return setting;
    };
    let Value::Map(entries) = &columns.value else {
        wrong_type(columns, "`columns`", "a mapping", EXAMPLE, problems);
        return setting;
    };
    for entry in entries {
        let name = Name {
            text: entry.key.clone(),
            place: entry.key_place,
        };
        let word = entry.node.spelled();
        if let Some(policy) = choice(&word, Section::OnLossy, "columns", &OnLossy::ALL, problems) {
            setting.columns.push((name, policy));
        }
    }
    setting
}

impl LossySetting {
    /// Its form in the selection; `None` where nothing is ever changed to fit.
    pub(crate) fn selection(&self) -> Option<serde_json::Value> {
        let columns = self
            .columns
            .iter()
            .filter(|(_, policy)| *policy != self.default)
            .map(|(name, policy)| (name.text.clone(), json!(policy.name())));
        let columns: serde_json::Map<_, _> = columns.collect();
        match (self.default, columns.is_empty()) {
            (OnLossy::Error, true) => None,
            (default, true) => Some(json!(default.name())),
            (default, false) => Some(json!({ "columns": columns, "default": default.name() })),
        }
    }
}

impl Planner<'_> {
    /// What happens to values of each output that do not fit. Keys are never changed: two of them
    /// could become one.
    pub(crate) fn lossy_choices(
        &self,
        outputs: &[Output],
        key: &[String],
        problems: &mut Problems,
    ) -> Vec<LossyChoice> {
        let setting = &self.settings.on_lossy;
        let stream = &self.selected.stream;
        for (name, policy) in &setting.columns {
            let is_output = outputs
                .iter()
                .any(|output| output.value.source_name() == name.text);
            if !is_output && self.may_be_added() {
                continue;
            }
            if !is_output && self.table.column(&name.text).is_some() {
                problems.hinted(
                    name.place,
                    format!("`on_lossy` names `{}`, which is not selected", name.text),
                    "add it to `columns`, or remove it here",
                );
            } else if !is_output {
                self.no_column(name, problems);
            } else if key.contains(&name.text) && *policy != OnLossy::Error {
                problems.hinted(
                    name.place,
                    format!(
                        "`{}` is part of the key of `{stream}`: changed to fit, two rows could \
                         become one",
                        name.text
                    ),
                    "keys take `error` only; name another key with `key:`, or leave rows whose \
                     key does not fit out with `where`",
                );
            }
        }
        let choice = |output: &Output| {
            let name = output.value.source_name();
            let named = setting.columns.iter().find(|(known, _)| known.text == name);
            LossyChoice {
                policy: match named {
                    _ if key.iter().any(|part| part == name) => OnLossy::Error,
                    Some((_, policy)) => *policy,
                    None => setting.default,
                },
                is_named: named.is_some(),
            }
        };
        outputs.iter().map(choice).collect()
    }
}
