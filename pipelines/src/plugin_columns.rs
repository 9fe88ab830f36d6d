//! The columns that plugins return: known when they are bound to the types that they are given,
//! which is after the plan. Pure.

use crate::evolution::{CHOICE, SOURCE};
use crate::nearest::listed;
use crate::plan::{LossyChoice, Output, OutputValue, TablePlan, folded};
use crate::planner::hex;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{Name, PipelineSpec, TableSettings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A column that a plugin returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginColumn {
    /// Its name, before `rename`.
    pub name: String,
    /// The plugin: the last one that returns it.
    pub plugin: String,
}

/// A name of the file that is no column unless a plugin adds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The key of the file that names it.
    pub key: UnmatchedKey,
    /// The name.
    pub name: Name,
}

/// Where a name of the file is that is no column unless a plugin adds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnmatchedKey {
    /// In `rename`.
    Rename,
    /// In `on_lossy`.
    OnLossy,
}

impl UnmatchedKey {
    fn name(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::OnLossy => "on_lossy",
        }
    }
}

impl TablePlan {
    /// The plan with the columns that its plugins return: each replaces the output of its name, or
    /// becomes one at the end. `spec`: the pipeline that the plan was made of.
    ///
    /// To be called once for a table with `transforms`, with no column if they return none: only
    /// then `rename` and `on_lossy` are checked whole.
    ///
    /// # Errors
    /// A column of the key among them; two columns of one name at the target; names of the file
    /// that still mean no column.
    pub fn with_plugin_columns(
        mut self,
        spec: &PipelineSpec,
        returned: &[PluginColumn],
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::of(&spec.path);
        let rule = spec.tables.iter().find(|rule| rule.place == self.place);
        let settings = rule.and_then(|rule| rule.settings.as_ref());
        let mut added = Vec::new();
        for column in returned {
            let value = OutputValue::Plugin {
                name: column.name.clone(),
                plugin: column.plugin.clone(),
            };
            let mut outputs = self.outputs.iter_mut();
            let known = outputs.find(|output| output.value.source_name() == column.name);
            match known {
                Some(output) if self.key.contains(&output.name) => problems.hinted(
                    self.place_of(&column.plugin),
                    format!(
                        "plugin `{}` returns `{}`, which is part of the key of `{}`",
                        column.plugin, column.name, self.stream
                    ),
                    "keys pass as they are: let the plugin declare what it returns (`returns` of the SDKs) \
                     without it, or return another column",
                ),
                Some(output) => output.value = value,
                None => {
                    let (output, lossy) = new_output(&column.name, value, settings);
                    added.push(output.clone());
                    self.check_name(&output, (&column.plugin, spec), settings, &mut problems);
                    self.outputs.push(output);
                    self.lossy.push(lossy);
                }
            }
        }
        self.check_unmatched(&mut problems);
        if !added.is_empty() {
            self.select(&added);
        }
        problems.finish(Some(self))
    }

    fn place_of(&self, plugin: &str) -> Place {
        let mut steps = self.transforms.iter().rev();
        let step = steps.find(|step| step.plugin == plugin);
        step.map_or(self.place, |step| step.place)
    }

    /// Notes that the target has a column of this name already.
    fn check_name(
        &self,
        output: &Output,
        (plugin, spec): (&str, &PipelineSpec),
        settings: Option<&TableSettings>,
        problems: &mut Problems,
    ) {
        let own = output.value.source_name();
        let is_same = |name: &str| folded(spec, name) == folded(spec, &output.name);
        let mut others = self.outputs.iter();
        let marks = [&self.marks.deleted_at, &self.marks.synced_at];
        let other = match others.find(|other| is_same(&other.name)) {
            Some(other) => format!("`{}`", other.value.source_name()),
            None if marks.into_iter().flatten().any(|mark| is_same(mark)) => {
                "the one that the target fills".to_owned()
            }
            None => return,
        };
        let renames = settings.iter().flat_map(|settings| &settings.rename);
        let mut renames = renames.filter(|(from, _)| from.text == own);
        let place = renames.next().map(|(_, to)| to.place);
        problems.hinted(
            place.unwrap_or_else(|| self.place_of(plugin)),
            format!(
                "plugin `{plugin}` adds `{own}` to `{}`, which is called `{}` at the target, as is \
                 {other}",
                self.stream, output.name
            ),
            format!("give it another name with `rename: {{ {own}: .. }}`"),
        );
    }

    fn check_unmatched(&mut self, problems: &mut Problems) {
        for Unmatched { key, name } in std::mem::take(&mut self.unmatched) {
            let names = || self.outputs.iter().map(|output| output.value.source_name());
            if !names().any(|known| known == name.text) {
                problems.hinted(
                    name.place,
                    format!(
                        "`{}` names `{}`, which is no column of `{}` and which no plugin adds",
                        key.name(),
                        name.text,
                        self.stream
                    ),
                    format!("its columns are {}", listed(&name.text, names())),
                );
            }
        }
    }

    /// Makes added columns part of the selection. Those that replace others are in it already, by
    /// the names that they have.
    fn select(&mut self, added: &[Output]) {
        let Ok(mut selection) = serde_json::from_str::<Value>(&self.selection_text) else {
            return;
        };
        if let Some(columns) = selection["columns"].as_array_mut() {
            columns.extend(added.iter().map(|output| {
                let mut column = output.value.origin();
                column["to"] = json!(output.name);
                column
            }));
            columns.sort_by_key(|column| column["to"].to_string());
        }
        self.selection_text = selection.to_string();
        if let Value::Object(fields) = &mut selection {
            fields.retain(|name, _| name != CHOICE && name != SOURCE);
        }
        Arc::make_mut(&mut self.read).selection = hex(&Sha256::digest(selection.to_string()));
    }
}

fn new_output(
    name: &str,
    value: OutputValue,
    settings: Option<&TableSettings>,
) -> (Output, LossyChoice) {
    let renames = settings.iter().flat_map(|it| &it.rename);
    let mut renames = renames.filter(|(from, _)| from.text == name);
    let on_lossy = settings.iter().flat_map(|it| &it.on_lossy.columns);
    let mut on_lossy = on_lossy.filter(|(known, _)| known.text == name);
    let output = Output {
        name: match renames.next() {
            Some((_, to)) => to.text.clone(),
            None => name.to_owned(),
        },
        value,
    };
    let named = on_lossy.next().map(|(_, policy)| *policy);
    let default = settings.map(|it| it.on_lossy.default).unwrap_or_default();
    let lossy = LossyChoice {
        policy: named.unwrap_or(default),
        is_named: named.is_some(),
    };
    (output, lossy)
}
