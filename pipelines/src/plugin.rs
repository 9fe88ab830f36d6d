//! Plugins: what the files say about them, and what the planner has to be told about them.
//!
//! Nothing here loads one. The caller does, and answers through [`Plugins`].

use crate::problem::{Place, Problem};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of memory that a plugin gets unless it says otherwise: enough for a batch, its copy and
/// the runtime of an interpreter.
pub const PLUGIN_MEMORY_BYTES_DEFAULT: u64 = 256 << 20;

/// How long a plugin may take for one batch unless it says otherwise: far more than a batch needs,
/// and short enough that a plugin that hangs is noticed in the same run.
pub const PLUGIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Characters of a line of a secret that is hidden where it stands alone. Shorter ones are such as
/// `}` in a file of JSON.
const SECRET_LINE_CHARS_MIN: usize = 8;

/// One entry of `plugins:` in `syncset.yaml`.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// Its name: an SQL identifier in small letters.
    pub name: String,
    /// The file as it is written.
    pub path: String,
    /// The file, joined to the project folder.
    pub file: PathBuf,
    /// The SHA-256 that the file must have, as 64 small hexadecimal digits; `None`: not pinned.
    pub sha256: Option<String>,
    /// What it is given of the system.
    pub wasi: Wasi,
    /// What it may use.
    pub limits: PluginLimits,
    /// What its failure for a row means, where a table does not say.
    pub on_error: OnPluginError,
    /// Its configuration, over which that of a table is laid.
    pub config: PluginConfig,
    /// The file it is written in, as printed.
    pub project_file: String,
    /// Where its name is.
    pub place: Place,
    /// Where the value of each key is.
    pub places: BTreeMap<String, Place>,
}

impl PluginSpec {
    /// A problem at one of its keys, or at its name if the key is absent.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let place = self.places.get(key).copied().unwrap_or(self.place);
        Problem::at(&self.project_file, place, message)
    }
}

/// What a plugin is given of the system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wasi {
    /// Nothing: a plugin that imports any of it is refused.
    #[default]
    None,
    /// The interfaces are there and lead nowhere: no files, no network, a clock that stands still.
    Sandbox,
}

/// What a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginLimits {
    /// Bytes of memory of one instance.
    pub memory_bytes: u64,
    /// Time for one batch.
    pub batch_timeout: Duration,
    /// Units of the engine's fuel for one batch; `None`: they are not counted.
    pub fuel: Option<u64>,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory_bytes: PLUGIN_MEMORY_BYTES_DEFAULT,
            batch_timeout: PLUGIN_TIMEOUT_DEFAULT,
            fuel: None,
        }
    }
}

/// What it means when a plugin fails and says for which row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnPluginError {
    /// The table fails.
    #[default]
    Fail,
    /// The row is left out.
    SkipRow,
}

impl OnPluginError {
    /// The word in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::SkipRow => "skip_row",
        }
    }
}

/// The configuration of a plugin. Values from `${...}` are secrets: its `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PluginConfig {
    pub(crate) entries: BTreeMap<String, ConfigValue>,
}

/// The value of one key of a configuration.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ConfigValue {
    pub(crate) value: Value,
    /// The same with fingerprints in place of secrets.
    pub(crate) shown: Value,
    pub(crate) secrets: Vec<String>,
}

impl PluginConfig {
    /// Canonical JSON, keys in order: what the plugin is given. It holds secrets: never print it.
    pub fn json(&self) -> String {
        self.object(|it| &it.value).to_string()
    }

    /// The same with fingerprints in place of secrets: part of the selection, and shown.
    pub fn shown(&self) -> Value {
        self.object(|it| &it.shown)
    }

    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A text of the plugin, such as an error, with `***` in place of secrets.
    pub fn without_secrets(&self, text: &str) -> String {
        let secrets = self.entries.values().flat_map(|it| &it.secrets);
        // A log is written line by line.
        let with_lines = |secret: &String| {
            let lines = secret.lines().map(str::trim);
            let lines = lines.filter(|line| line.chars().count() >= SECRET_LINE_CHARS_MIN);
            let mut all: Vec<_> = lines.map(str::to_owned).collect();
            all.push(secret.clone());
            all
        };
        let secrets = secrets.flat_map(with_lines);
        let secrets = secrets.filter(|it| !it.is_empty());
        // As it is, and as it stands in JSON.
        let forms = |secret: String| {
            let quoted = Value::from(secret.as_str()).to_string();
            let escaped = quoted[1..quoted.len() - 1].to_owned();
            [secret, escaped]
        };
        let mut secrets: Vec<_> = secrets.flat_map(forms).collect();
        // One may hold another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let hidden = |text: String, secret: &String| text.replace(secret.as_str(), "***");
        secrets.iter().fold(text.to_owned(), hidden)
    }

    /// This one over another: a key replaces the other's whole value.
    pub(crate) fn over(&self, base: &Self) -> Self {
        let mut entries = base.entries.clone();
        entries.extend(self.entries.clone());
        Self { entries }
    }

    fn object(&self, part: impl Fn(&ConfigValue) -> &Value) -> Value {
        let entries = self.entries.iter();
        let fields = entries.map(|(key, value)| (key.clone(), part(value).clone()));
        let mut object = Value::Object(fields.collect::<Map<_, _>>());
        object.sort_all_objects();
        object
    }
}

impl std::fmt::Debug for PluginConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.shown())
    }
}

/// One entry of a table's `transform:`, with what its plugin says by default.
#[derive(Debug, Clone)]
pub struct TransformSetting {
    /// Name of the plugin: one of the project's.
    pub plugin: String,
    /// Its configuration here, over its own.
    pub config: PluginConfig,
    /// What its failure for a row means.
    pub on_error: OnPluginError,
    /// Where the entry is.
    pub place: Place,
    /// The file and the place of the whole configuration, if it is that of the project.
    pub config_at: Option<(String, Place)>,
}

/// One plugin that a table's rows go through.
#[derive(Debug, Clone)]
pub struct TransformStep {
    /// Name of the plugin: one of the project's.
    pub plugin: String,
    /// Its configuration for this table.
    pub config: PluginConfig,
    /// What its failure for a row means.
    pub on_error: OnPluginError,
    /// Where the entry is in the pipeline file.
    pub place: Place,
    /// The columns it is given, by the names that the files know; `None`: all that are written and
    /// all that earlier steps have added.
    pub reads: Option<Vec<String>>,
    /// Those of them that neither the source nor `derive` has: an earlier step has to add them,
    /// which the caller sees when it binds the steps.
    pub from_earlier: Vec<String>,
}

/// A function of a plugin, for expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFunction {
    /// As expressions call it.
    pub name: String,
    /// The plugin that has it.
    pub plugin: String,
    /// Whether it answers differently each time: such a one is refused.
    pub is_volatile: bool,
}

/// What the plugins say about themselves. The caller passes the loaded ones; each method may be
/// called several times with the same arguments.
pub trait Plugins {
    /// The columns that a plugin reads under a configuration; `None`: all.
    ///
    /// # Errors
    /// A sentence that says why the plugin cannot be used like this.
    fn reads(&self, plugin: &str, config: &PluginConfig) -> Result<Option<Vec<String>>, String>;

    /// The SHA-256 of the plugin's file, as it is; `None` if there is no such plugin.
    fn sha256(&self, plugin: &str) -> Option<String>;

    /// The functions of all plugins.
    fn functions(&self) -> Vec<PluginFunction>;
}

/// For callers without plugins.
#[derive(Debug, Clone, Copy)]
pub struct NoPlugins;

impl Plugins for NoPlugins {
    fn reads(&self, _: &str, _: &PluginConfig) -> Result<Option<Vec<String>>, String> {
        Ok(None)
    }

    fn sha256(&self, _: &str) -> Option<String> {
        None
    }

    fn functions(&self) -> Vec<PluginFunction> {
        Vec::new()
    }
}
