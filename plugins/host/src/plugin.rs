//! A compiled plugin whose exports and imports were checked.

use crate::CONTRACT;
use crate::bindings::exports::syncset::plugin as exported;
use crate::bindings::syncset::plugin::host;
use crate::component::to_component;
use crate::config_schema::config_problem;
use crate::description::Description;
use crate::engine::engine;
use crate::error::{Fault, PluginError};
use crate::guest::{Guest, fault_of};
use crate::instance::{ColumnNeed, Indices, Instance, aside};
use crate::settings::{Config, PluginFile, Wasi, sha256_of};
use std::sync::Arc;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Engine, Store};

/// A plugin that can be used. Cheap to share; each unit of a run has instances of its own.
pub struct Plugin {
    file: PluginFile,
    name: Arc<str>,
    sha256: String,
    byte_count: usize,
    imports: Vec<String>,
    description: Description,
    engine: &'static Engine,
    pre: InstancePre<Guest>,
    indices: Indices,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("name", &self.name)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Reads, checks and compiles a plugin, and asks it what it is. What was compiled before comes
    /// from the cache.
    ///
    /// # Errors
    /// [`PluginError::Refused`] if it cannot be used, whatever the reason.
    pub fn load(file: &PluginFile) -> Result<Self, PluginError> {
        let refused = |reason: String| PluginError::refused(&file.name, reason);
        let bytes = std::fs::read(&file.path).map_err(|error| {
            refused(format!("cannot read `{}`: {error}", file.path.display()))
                .with_hint("build it first, or correct its `path`")
        })?;
        let sha256 = sha256_of(&bytes);
        if let Some(pinned) = file.sha256.as_ref().filter(|pinned| **pinned != sha256) {
            let path = file.path.display();
            return Err(refused(format!(
                "`{path}` is not the file that was pinned: its SHA-256 is {sha256}, not {pinned}"
            ))
            .with_hint(format!(
                "if the change is yours, look at it with `syncset plugin inspect {0}` and take it \
                 with `syncset plugin pin {0}`",
                file.name
            )));
        }
        let engine = engine(file.limits.fuel.is_some())
            .map_err(|error| refused(format!("this machine cannot run WASM: {error}")))?;
        let component = to_component(&bytes).map_err(refused)?;
        let component = aside(|| Component::from_binary(engine, &component))
            .map_err(|error| refused(format!("it cannot be compiled: {error:#}")))?;
        let imports = imports(file, engine, &component)?;
        check_exports(file, engine, &component)?;
        let pre = link(file, engine, &component)?;
        let indices = indices(&pre).map_err(|error| refused(mismatch(&error)))?;
        let mut plugin = Self {
            name: file.name.as_str().into(),
            file: file.clone(),
            sha256,
            byte_count: bytes.len(),
            imports,
            description: Description::default(),
            engine,
            pre,
            indices,
        };
        let plain = Config::default();
        let mut instance = plugin
            .instance(&plain)
            .map_err(|fault| plugin.refuse(fault))?;
        plugin.description = instance.describe().map_err(|fault| plugin.refuse(fault))?;
        Ok(plugin)
    }

    /// Its name in the project.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Bytes of its file.
    pub fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// What it imports; types alone are no import.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The columns that it reads with this configuration; `None`: all.
    ///
    /// # Errors
    /// [`PluginError::Refused`] if the configuration is not as the plugin wants it.
    pub fn reads(&self, config: &Config) -> Result<Option<Vec<ColumnNeed>>, PluginError> {
        let (_, reads) = self.open(config).map_err(|fault| self.refuse(fault))?;
        Ok(reads)
    }

    /// An instance with this configuration.
    pub(crate) fn open(
        &self,
        config: &Config,
    ) -> Result<(Instance, Option<Vec<ColumnNeed>>), Fault> {
        let value = serde_json::from_str(config.json())
            .map_err(|error| Fault::new(format!("its configuration is no JSON: {error}")))?;
        if let Some(problem) = config_problem(&self.description.config_schema, &value) {
            return Err(Fault::new(problem).with_hint(format!(
                "`syncset plugin inspect {}` shows what it takes",
                self.name
            )));
        }
        let mut instance = self.instance(config)?;
        let reads = instance
            .configure(config.json())
            .map_err(|fault| fault.hidden(config))?;
        Ok((instance, reads))
    }

    /// An instance for functions. Without a configuration it is not asked to take one: a transform
    /// beside them may need it.
    pub(crate) fn open_functions(&self, config: &Config) -> Result<Instance, Fault> {
        match config.is_empty() {
            true => self.instance(config),
            false => Ok(self.open(config)?.0),
        }
    }

    pub(crate) fn refuse(&self, fault: Fault) -> PluginError {
        let error = PluginError::refused(&self.name, fault.to_string());
        match fault.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn instance(&self, config: &Config) -> Result<Instance, Fault> {
        let limits = self.file.limits;
        let mut store = Store::new(
            self.engine,
            Guest::new(&self.name, config, (&limits, &self.file.interrupt)),
        );
        store.limiter(Guest::limiter);
        store.set_hostcall_fuel(limits.memory_bytes);
        // Code of the guest runs while it is made, too.
        store.epoch_deadline_callback(|store| Ok(store.data().at_tick()));
        store.set_epoch_deadline(1);
        let fuelled = limits.fuel.map(|fuel| store.set_fuel(fuel)).transpose();
        fuelled.map_err(|error| Fault::new(format!("{error:#}")))?;
        let made = aside(|| self.pre.instantiate(&mut store));
        let made = made.map_err(|error| fault_of(&error, store.data_mut(), &limits))?;
        Instance::new(store, limits, &made, &self.indices)
            .map_err(|error| Fault::new(mismatch(&error)))
    }
}

fn imports(
    file: &PluginFile,
    engine: &Engine,
    component: &Component,
) -> Result<Vec<String>, PluginError> {
    let found = component.component_type();
    let names: Vec<String> = found
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let is_given = |name: &String| {
        name.starts_with("syncset:plugin/")
            || (file.wasi == Wasi::Sandbox && name.starts_with("wasi:"))
    };
    let others: Vec<_> = names.iter().filter(|name| !is_given(name)).collect();
    let Some(first) = others.first() else {
        let contract = format!("@{CONTRACT}");
        let own = |name: &&String| name.starts_with("syncset:") && !name.ends_with(&contract);
        return match names.iter().find(own) {
            Some(other) => Err(version(file, other)),
            None => {
                let is_code = |name: &String| !name.starts_with("syncset:plugin/types@");
                Ok(names.into_iter().filter(is_code).collect())
            }
        };
    };
    let more = match others.len() {
        1 => String::new(),
        count => format!(" and {} others", count - 1),
    };
    let reason = format!("it imports `{first}`{more}, which plugins are not given");
    let error = PluginError::refused(&file.name, reason);
    Err(if first.starts_with("wasi:") {
        error.with_hint(
            "build it without WASI (Rust: `--target wasm32-unknown-unknown`; the SDKs of Python \
             and JavaScript do so), or set `wasi: sandbox` for an empty one",
        )
    } else {
        error.with_hint("plugins may import `syncset:plugin/host` and nothing else")
    })
}

fn check_exports(
    file: &PluginFile,
    engine: &Engine,
    component: &Component,
) -> Result<(), PluginError> {
    let found = component.component_type();
    let names: Vec<&str> = found.exports(engine).map(|(name, _)| name).collect();
    let wanted = format!("syncset:plugin/plugin@{CONTRACT}");
    if names.contains(&wanted.as_str()) {
        return Ok(());
    }
    let other = |name: &&&str| name.starts_with("syncset:plugin/");
    Err(match names.iter().find(other) {
        Some(other) => version(file, other),
        None => PluginError::refused(&file.name, format!("it does not export `{wanted}`"))
            .with_hint("build it with an SDK: `syncset plugin new --lang rust|python|js NAME`"),
    })
}

fn version(file: &PluginFile, found: &str) -> PluginError {
    let version = found
        .rsplit_once('@')
        .map_or("none", |(_, version)| version);
    PluginError::refused(
        &file.name,
        format!("it was built for version {version} of the contract; this syncset has {CONTRACT}"),
    )
    .with_hint("build it again with the SDK of this version of syncset")
}

fn link(
    file: &PluginFile,
    engine: &Engine,
    component: &Component,
) -> Result<InstancePre<Guest>, PluginError> {
    let mut linker = Linker::new(engine);
    let linked = host::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)
        .and_then(|()| match file.wasi {
            Wasi::None => Ok(()),
            Wasi::Sandbox => wasmtime_wasi::p2::add_to_linker_sync(&mut linker),
        })
        .and_then(|()| linker.instantiate_pre(component));
    linked.map_err(|error| PluginError::refused(&file.name, mismatch(&error)))
}

fn indices(pre: &InstancePre<Guest>) -> wasmtime::Result<Indices> {
    let engine = pre.component().engine();
    let found = pre.component().component_type();
    let has = |interface: &str| {
        let name = format!("syncset:plugin/{interface}@{CONTRACT}");
        found.get_export(engine, &name).is_some()
    };
    let plugin = exported::plugin::GuestIndices::new(pre)?;
    let transform = has("transform").then(|| exported::transform::GuestIndices::new(pre));
    let filter = has("filter").then(|| exported::filter::GuestIndices::new(pre));
    let scalar = has("scalar").then(|| exported::scalar::GuestIndices::new(pre));
    Ok(Indices {
        plugin,
        transform: transform.transpose()?,
        filter: filter.transpose()?,
        scalar: scalar.transpose()?,
    })
}

/// Types that are not those of the contract.
fn mismatch(error: &wasmtime::Error) -> String {
    format!("it is not built for the contract: {error:#}")
}
