//! `plugin ...`: plugins that people write themselves.

mod build;
mod inspect;
mod list;
mod new;
mod pin;
mod samples;
mod test;
mod trial;

use crate::cli::Context;
use crate::cli::args::{Cli, Output, PluginVerb};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::files::ProjectFiles;
use crate::plugins;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use syncset_pipeline::{PluginSpec, nearest};
use syncset_plugin_host::{Config, Interrupt, Limits, Plugin, PluginFile, Wasi};

/// Runs one verb; returns its exit code.
pub(super) async fn dispatch(cli: &Cli, verb: &PluginVerb) -> Result<i32, Failures> {
    match verb {
        PluginVerb::New(args) => new::new(cli, args),
        PluginVerb::Build { folder } => build::build(cli, folder),
        PluginVerb::List => list::list(&open(cli)?),
        PluginVerb::Inspect { plugin } => inspect::inspect(cli, plugin),
        PluginVerb::Pin { names } => {
            let context = Context {
                files: ProjectFiles::open_to_pin(&cli.directory, &cli.set)?,
                output: cli.output,
            };
            pin::pin(&context, names)
        }
        PluginVerb::Test(args) => test::test(cli, args).await,
    }
}

fn open(cli: &Cli) -> Result<Context, Failures> {
    Ok(Context {
        files: ProjectFiles::open(&cli.directory, &cli.set)?,
        output: cli.output,
    })
}

/// A plugin of the project, or a file that no project names yet.
struct Chosen {
    plugin: Arc<Plugin>,
    /// What the project says about it.
    spec: Option<PluginSpec>,
    path: PathBuf,
}

impl Chosen {
    /// Whatever is in the file is taken: what is looked at or tried need not be pinned.
    fn load(cli: &Cli, name: &str) -> Result<Self, Failures> {
        if is_file(name) {
            let path = cli.directory.join(name);
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let file = PluginFile {
                name: stem.into_owned(),
                path: path.clone(),
                sha256: None,
                wasi: Wasi::None,
                limits: Limits::default(),
                interrupt: Interrupt::default(),
            };
            let plugin = Plugin::load(&file).map_err(Failure::from)?;
            return Ok(Self {
                plugin: Arc::new(plugin),
                spec: None,
                path,
            });
        }
        let context = open(cli)?;
        let mut spec = spec_of(&context, name)?.clone();
        let pinned = spec.sha256.take();
        let plugin = plugins::load(&spec, &Interrupt::default()).map_err(Failure::from)?;
        spec.sha256 = pinned;
        Ok(Self {
            plugin,
            path: spec.file.clone(),
            spec: Some(spec),
        })
    }

    /// The configuration that the project gives it.
    fn config(&self) -> Config {
        let spec = self.spec.as_ref();
        spec.map_or_else(Config::default, |spec| plugins::config_of(&spec.config))
    }
}

fn is_file(name: &str) -> bool {
    let path = Path::new(name);
    let is_wasm = path
        .extension()
        .is_some_and(|end| end == "wasm" || end == "wat");
    is_wasm || name.contains(std::path::MAIN_SEPARATOR)
}

/// What the project says about a plugin.
fn spec_of<'a>(context: &'a Context, name: &str) -> Result<&'a PluginSpec, Failure> {
    let known = &context.files.project.plugins;
    known.get(name).ok_or_else(|| {
        let message = format!("the project has no plugin `{name}`");
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let failure = Failure::new(exit_code::CONFIG, message);
        match nearest(name, names.iter().copied()) {
            Some(near) => failure.with_hint(format!("did you mean `{near}`?")),
            None if names.is_empty() => failure.with_hint(
                "name it under `plugins:` in syncset.yaml, or give the path of its file",
            ),
            None => failure.with_hint(format!("its plugins are {}", names.join(", "))),
        }
    })
}

fn is_text(output: Output) -> bool {
    output == Output::Text
}
