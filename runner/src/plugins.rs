//! The plugins of a pipeline: loaded when the plan asks for them, once per run.

use crate::exit_code;
use crate::failure::{Failure, Failures};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use syncset_pipeline::{
    Condition, PipelineSpec, PluginConfig, PluginSpec, Problem, TableSettings, TransformStep,
    called_names,
};
use syncset_plugin_host::{
    Config, Interrupt, Limits, Plugin, PluginError, PluginFile, PluginFunction, Scope, Wasi,
};
use syncset_transform::{PluginStep, is_function};

/// What is told instead of the words of functions that see what masks hide.
const UNTOLD: &str = "(not told: the table has masks, and its expressions see what they hide)";

/// The plugins of a project as one pipeline uses them. Nothing is loaded that is not needed.
pub(crate) struct PluginSet {
    pipeline: String,
    entries: BTreeMap<String, Entry>,
    /// Those that tables send their rows through.
    transforming: BTreeSet<String>,
    /// Whether some expression may call a function of a plugin.
    calls_functions: bool,
    /// Ends calls of all of them.
    interrupt: Interrupt,
}

struct Entry {
    spec: PluginSpec,
    loaded: OnceLock<Result<Arc<Plugin>, Failure>>,
    functions: OnceLock<Vec<Arc<PluginFunction>>>,
    /// The same, without their words.
    silent: OnceLock<Vec<Arc<PluginFunction>>>,
}

impl PluginSet {
    /// Of a pipeline. Loads nothing.
    pub(crate) fn of(spec: &PipelineSpec) -> Self {
        let entries = spec.plugins.iter().map(|(name, spec)| {
            let entry = Entry {
                spec: spec.clone(),
                loaded: OnceLock::new(),
                functions: OnceLock::new(),
                silent: OnceLock::new(),
            };
            (name.clone(), entry)
        });
        let settings = || spec.tables.iter().filter_map(|it| it.settings.as_ref());
        let steps = settings().flat_map(|settings| &settings.transform);
        Self {
            pipeline: spec.name.clone(),
            entries: entries.collect(),
            transforming: steps.map(|step| step.plugin.clone()).collect(),
            calls_functions: settings().any(calls_functions),
            interrupt: Interrupt::default(),
        }
    }

    /// Ends the calls of its plugins.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Loads what the pipeline needs.
    ///
    /// # Errors
    /// A plugin that rows go through cannot be loaded; two functions have one name, or one has
    /// that of a function that every expression has. All of them, each at its plugin's place.
    pub(crate) fn prepare(&self) -> Result<(), Failures> {
        let used = self.transforming.iter();
        let used = used.filter_map(|name| self.plugin(name).err());
        let mut failures: Vec<Failure> = used.collect();
        let mut known: BTreeMap<String, &str> = BTreeMap::new();
        for (name, entry) in &self.entries {
            for function in self.functions_of(entry) {
                let function = function.description().name.clone();
                let other = match known.insert(function.clone(), name) {
                    Some(other) => format!("plugin `{other}` has one of that name, too"),
                    None if is_function(&function) => {
                        "expressions have one of that name without any plugin".to_owned()
                    }
                    None => continue,
                };
                let message = format!("plugin `{name}` has a function `{function}`, but {other}");
                let hint = "give it another name in the plugin";
                let problem = entry.spec.problem("path", message).with_hint(hint);
                failures.push(Failure::from(problem));
            }
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(Failures(failures)),
        }
    }

    /// Functions that expressions of the pipeline can call.
    pub(crate) fn functions(&self) -> Vec<Arc<PluginFunction>> {
        let entries = self.entries.values();
        entries.flat_map(|it| self.functions_of(it)).collect()
    }

    /// The same functions for a table with masks. Its expressions compute with values as the
    /// source has them, so nothing is told of what the functions log and report.
    pub(crate) fn silent_functions(&self) -> Vec<Arc<PluginFunction>> {
        let entries = self.entries.values();
        let silent = |config: Config| config.hiding(|_| UNTOLD.to_owned());
        entries
            .flat_map(|it| self.made_once(it, &it.silent, silent))
            .collect()
    }

    /// Why plugins could not be loaded that may have a function which an expression calls.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let results = self.entries.values().filter_map(|it| it.loaded.get());
        results.filter_map(|it| it.clone().err()).collect()
    }

    /// A step of a table, ready to be bound.
    pub(crate) fn step(
        &self,
        step: &TransformStep,
        table: &str,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<PluginStep, Failure> {
        Ok(PluginStep {
            plugin: self.plugin(&step.plugin)?,
            config: config_of(&step.config),
            scope: Scope {
                pipeline: self.pipeline.clone(),
                table: table.to_owned(),
                run_time_us: now.timestamp_micros(),
            },
            skips_rows: step.on_error == syncset_pipeline::OnPluginError::SkipRow,
            key: Vec::new(),
        })
    }

    fn plugin(&self, name: &str) -> Result<Arc<Plugin>, Failure> {
        let missing = || Failure::new(exit_code::CONFIG, format!("there is no plugin `{name}`"));
        self.entries
            .get(name)
            .ok_or_else(missing)?
            .plugin(&self.interrupt)
    }

    fn functions_of(&self, entry: &Entry) -> Vec<Arc<PluginFunction>> {
        self.made_once(entry, &entry.functions, |config| config)
    }

    fn made_once(
        &self,
        entry: &Entry,
        made: &OnceLock<Vec<Arc<PluginFunction>>>,
        change: impl Fn(Config) -> Config,
    ) -> Vec<Arc<PluginFunction>> {
        if !self.calls_functions {
            return Vec::new();
        }
        let make = || match entry.plugin(&self.interrupt) {
            Ok(plugin) => {
                let config = change(config_of(&entry.spec.config));
                let functions = PluginFunction::all(&plugin, &config);
                functions.into_iter().map(Arc::new).collect()
            }
            Err(_) => Vec::new(),
        };
        made.get_or_init(make).clone()
    }
}

impl Entry {
    fn plugin(&self, interrupt: &Interrupt) -> Result<Arc<Plugin>, Failure> {
        let load = || {
            if self.spec.sha256.is_none() {
                let name = &self.spec.name;
                let message = format!("plugin `{name}` is not pinned: its file may be any");
                let hint = format!("`syncset plugin pin {name}` writes its `sha256`");
                return Err(Failure::from(
                    self.spec.problem("path", message).with_hint(hint),
                ));
            }
            load(&self.spec, interrupt).map_err(Failure::from)
        };
        self.loaded.get_or_init(load).clone()
    }
}

impl syncset_pipeline::Plugins for PluginSet {
    fn reads(&self, plugin: &str, config: &PluginConfig) -> Result<Option<Vec<String>>, String> {
        let plugin = self.plugin(plugin).map_err(|failure| failure.message)?;
        let reads = plugin.reads(&config_of(config));
        let reads = reads.map_err(|error| bare(&error))?;
        Ok(reads.map(|columns| columns.into_iter().map(|it| it.name).collect()))
    }

    fn sha256(&self, plugin: &str) -> Option<String> {
        Some(self.plugin(plugin).ok()?.sha256().to_owned())
    }

    fn functions(&self) -> Vec<syncset_pipeline::PluginFunction> {
        let functions = self.functions().into_iter();
        let function = |it: Arc<PluginFunction>| syncset_pipeline::PluginFunction {
            name: it.description().name.clone(),
            plugin: it.plugin().name().to_owned(),
            is_volatile: it.description().volatility == syncset_plugin_host::Volatility::Volatile,
        };
        functions.map(function).collect()
    }
}

/// Whether an expression calls anything at all.
fn calls_functions(settings: &TableSettings) -> bool {
    expressions(settings).any(|sql| sql.contains('('))
}

/// Names that the expressions of a table call.
pub(crate) fn called(settings: &TableSettings) -> BTreeSet<String> {
    expressions(settings).flat_map(called_names).collect()
}

fn expressions(settings: &TableSettings) -> impl Iterator<Item = &str> {
    let derived = settings.derive.iter().map(|(_, sql)| sql.text.as_str());
    let condition = match &settings.condition {
        Some(Condition::Sql(sql)) => Some(sql.text.as_str()),
        _ => None,
    };
    derived.chain(condition)
}

/// Loads a plugin as the project names it.
///
/// # Errors
/// Why it cannot be used, at the place of the key that names the file.
pub(crate) fn load(spec: &PluginSpec, interrupt: &Interrupt) -> Result<Arc<Plugin>, Problem> {
    let file = PluginFile {
        interrupt: interrupt.clone(),
        ..file_of(spec)
    };
    Plugin::load(&file).map(Arc::new).map_err(|error| {
        let problem = spec.problem("path", error.to_string());
        match error.hint() {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }
    })
}

/// What the project says about a plugin's file.
pub(crate) fn file_of(spec: &PluginSpec) -> PluginFile {
    PluginFile {
        name: spec.name.clone(),
        path: spec.file.clone(),
        sha256: spec.sha256.clone(),
        wasi: match spec.wasi {
            syncset_pipeline::Wasi::None => Wasi::None,
            syncset_pipeline::Wasi::Sandbox => Wasi::Sandbox,
        },
        limits: Limits {
            memory_bytes: usize::try_from(spec.limits.memory_bytes).unwrap_or(usize::MAX),
            batch_timeout: spec.limits.batch_timeout,
            fuel: spec.limits.fuel,
        },
        interrupt: Interrupt::default(),
    }
}

/// A configuration as the host takes it: nobody sees its secrets.
pub(crate) fn config_of(config: &PluginConfig) -> Config {
    let own = config.clone();
    Config::new(config.json()).hiding(move |text| own.without_secrets(text))
}

/// What a plugin refuses, without its name.
fn bare(error: &PluginError) -> String {
    match error {
        PluginError::Refused { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}
