//! Plugins of one table: what they read, and their part of the selection.

use crate::nearest::columns_of;
use crate::outputs::Derivation;
use crate::plan::Output;
use crate::planner::Planner;
use crate::plugin::{OnPluginError, TransformSetting, TransformStep};
use crate::plugin_columns::{Unmatched, UnmatchedKey};
use crate::problem::{Place, Problem, Problems};
use crate::schema_setting::UnmaskedColumns;
use crate::spec::{Condition, Name};
use crate::sql::{Resolved, resolve};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The plugins that the rows of a table go through.
#[derive(Debug, Default)]
pub(crate) struct Transforms {
    pub(crate) steps: Vec<TransformStep>,
    /// Columns of the source that are no outputs and that plugins are given.
    pub(crate) extras: Vec<String>,
}

impl Transforms {
    /// What a user should know: the file does not say which columns a plugin reads.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        self.extras.iter().map(|name| {
            let reads = |step: &&TransformStep| step.reads.iter().flatten().any(|it| it == name);
            let reader = self.steps.iter().find(reads);
            let plugin = reader.map_or("", |step| step.plugin.as_str());
            format!("plugin `{plugin}` is given `{name}`, which is not selected")
        })
    }
}

impl Planner<'_> {
    /// The plugins, with the columns that each is given. `outputs`: the selected and the computed
    /// columns.
    pub(crate) fn transforms(&self, outputs: &[Output], problems: &mut Problems) -> Transforms {
        let mut transforms = Transforms::default();
        for setting in &self.settings.transform {
            let reads = self
                .plugins
                .reads(&setting.plugin, &setting.config)
                .unwrap_or_else(|error| {
                    self.plugin_refuses(setting, &error, problems);
                    None
                });
            let mut step = TransformStep {
                plugin: setting.plugin.clone(),
                config: setting.config.clone(),
                on_error: setting.on_error,
                place: setting.place,
                reads,
                from_earlier: Vec::new(),
            };
            let is_first = transforms.steps.is_empty();
            for name in step.reads.iter().flatten() {
                let is_output = |output: &Output| output.value.source_name() == name;
                if outputs.iter().any(is_output) || transforms.extras.contains(name) {
                    continue;
                }
                if self.table.column(name).is_some() {
                    self.refuse_hidden_column(setting, name, problems);
                    transforms.extras.push(name.clone());
                } else if is_first {
                    self.no_column_for(setting, name, problems);
                } else {
                    step.from_earlier.push(name.clone());
                }
            }
            transforms.steps.push(step);
        }
        transforms
    }

    fn plugin_refuses(&self, setting: &TransformSetting, error: &str, problems: &mut Problems) {
        let plugin = &setting.plugin;
        let error = setting.config.without_secrets(error);
        let message = format!("plugin `{plugin}` of `{}`: {error}", self.selected.stream);
        let hint = format!("`syncset plugin inspect {plugin}` shows what it takes");
        match &setting.config_at {
            Some((file, place)) => {
                problems.push(Problem::at(file, *place, message).with_hint(hint));
            }
            None => problems.hinted(setting.place, message, hint),
        }
    }

    fn no_column_for(&self, setting: &TransformSetting, name: &str, problems: &mut Problems) {
        let (plugin, stream) = (&setting.plugin, &self.selected.stream);
        let shown = setting.config.without_secrets(name);
        problems.hinted(
            setting.place,
            format!("plugin `{plugin}` reads column `{shown}`, which `{stream}` does not have"),
            columns_of(self.table, name),
        );
    }

    /// A plugin may write whatever it is given. What the file hides, or promises to hide, must not
    /// pass through it.
    fn refuse_hidden_column(
        &self,
        setting: &TransformSetting,
        name: &str,
        problems: &mut Problems,
    ) {
        let (plugin, stream) = (&setting.plugin, &self.selected.stream);
        if self.is_masked(name) {
            problems.hinted(
                setting.place,
                format!(
                    "plugin `{plugin}` reads `{name}` of `{stream}`, which `mask` covers and \
                     `columns` leaves out: it would see its values as they are"
                ),
                format!("select `{name}`: then the plugin sees what the mask writes"),
            );
        } else if self.settings.schema.unmasked_columns == UnmaskedColumns::Fail {
            problems.hinted(
                setting.place,
                format!(
                    "plugin `{plugin}` reads `{name}` of `{stream}`, which is not selected and \
                     which no mask covers (`unmasked_columns: fail`)"
                ),
                format!(
                    "select `{name}`, with a mask if it is private, or use `schema: {{ \
                     unmasked_columns: copy }}`"
                ),
            );
        }
    }

    /// Whether a plugin asks for a column of the source.
    pub(crate) fn is_read_by_plugin(&self, name: &str) -> bool {
        let mut settings = self.settings.transform.iter();
        self.table.column(name).is_some()
            && settings.any(|setting| {
                let reads = self.plugins.reads(&setting.plugin, &setting.config);
                reads.is_ok_and(|reads| reads.iter().flatten().any(|it| it == name))
            })
    }

    /// Whether `derive` has a column of this name.
    pub(crate) fn computes(&self, name: &str) -> bool {
        let mut derived = self.settings.derive.iter();
        derived.any(|(known, _)| known.text == name)
    }

    /// Whether columns may come that are not known before plugins are bound.
    pub(crate) fn may_be_added(&self) -> bool {
        !self.settings.transform.is_empty()
    }

    /// Names of the file that only a plugin can give a meaning to.
    pub(crate) fn unmatched(&self, outputs: &[Output]) -> Vec<Unmatched> {
        if !self.may_be_added() {
            return Vec::new();
        }
        let renamed = self.settings.rename.iter();
        let renamed = renamed.map(|(from, _)| (UnmatchedKey::Rename, from));
        let lossy = self.settings.on_lossy.columns.iter();
        let lossy = lossy.map(|(name, _)| (UnmatchedKey::OnLossy, name));
        let is_known = |name: &Name| {
            let mut outputs = outputs.iter();
            outputs.any(|output| output.value.source_name() == name.text)
        };
        renamed
            .chain(lossy)
            .filter(|(_, name)| !is_known(name) && !self.was_column(&name.text))
            .map(|(key, name)| Unmatched {
                key,
                name: name.clone(),
            })
            .collect()
    }

    /// The plugins whose functions the expressions of the table call, each with the SHA-256 of its
    /// file.
    pub(crate) fn plugin_calls(
        &self,
        derivations: &[Derivation],
        problems: &mut Problems,
    ) -> BTreeMap<String, Option<String>> {
        let functions = self.plugins.functions();
        let mut calls = BTreeMap::new();
        let mut look = |expression: &Resolved, what: &str, place: Place| {
            let called = |name: &String| expression.functions.contains(name);
            for function in functions.iter().filter(|it| called(&it.name)) {
                let plugin = function.plugin.clone();
                let sha256 = self.plugins.sha256(&plugin);
                calls.insert(plugin, sha256);
                if function.is_volatile {
                    problems.hinted(
                        place,
                        format!(
                            "{what} of `{}`: `{}` of plugin `{}` answers differently each time",
                            self.selected.stream, function.name, function.plugin
                        ),
                        "the rows would change in every run; compute from columns only",
                    );
                }
            }
        };
        for derivation in derivations {
            let mut derive = self.settings.derive.iter();
            let sql = derive.find(|(name, _)| *name == derivation.name);
            let place = sql.map_or(derivation.name.place, |(_, sql)| sql.place);
            let what = format!("`{}`", derivation.name.text);
            look(&derivation.expression, &what, place);
        }
        // Not what `--where` adds: that is no part of the selection.
        if let Some(Condition::Sql(text)) = &self.settings.condition
            && let Ok(condition) = resolve(&text.text, self.table)
        {
            look(&condition, "`where`", text.place);
        }
        calls
    }

    /// Adds to a selection what plugins decide. A table without any has the selection that it
    /// always had.
    pub(crate) fn add_plugins(
        &self,
        selection: &mut Value,
        steps: &[TransformStep],
        calls: BTreeMap<String, Option<String>>,
    ) {
        if !steps.is_empty() {
            let steps = steps.iter().map(|step| self.selected_step(step));
            selection["transform"] = steps.collect();
        }
        if !calls.is_empty() {
            selection["plugins"] = json!(calls);
        }
    }

    fn selected_step(&self, step: &TransformStep) -> Value {
        let mut fields = Map::new();
        fields.insert("plugin".into(), json!(step.plugin));
        let sha256 = self.plugins.sha256(&step.plugin);
        fields.insert("sha256".into(), json!(sha256));
        if !step.config.is_empty() {
            fields.insert("config".into(), step.config.shown());
        }
        // Rows that were left out are wanted from then on.
        if step.on_error == OnPluginError::SkipRow {
            fields.insert("on_error".into(), json!(step.on_error.name()));
        }
        fields.into()
    }
}
