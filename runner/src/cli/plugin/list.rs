//! `plugin list`: the plugins of the project, and whether they are as they were pinned.

use crate::cli::Context;
use crate::cli::plugin::is_text;
use crate::cli::render;
use crate::exit_code;
use crate::failure::Failures;
use crate::plugins;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use syncset_pipeline::PluginSpec;
use syncset_plugin_host::{Interrupt, sha256_of};
use syncset_transform::is_function;

/// How the file of a plugin is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it was pinned.
    Pinned,
    /// Nobody said which file it must be: pipelines refuse it.
    Unpinned,
    /// Not the one that was pinned: pipelines refuse it.
    Changed,
    /// Not there, or not to be read.
    Missing,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Unpinned => "not pinned",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

#[derive(Serialize)]
struct Entry {
    name: String,
    path: String,
    state: State,
    /// Of the file as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    /// Pipelines that use it.
    pipelines: Vec<String>,
}

/// Lists them. Touches no store. Runs the plugins' own descriptions, if some expression calls a
/// function that is not ours.
pub(super) fn list(context: &Context) -> Result<i32, Failures> {
    let mut users = users(context);
    let specs = context.files.project.plugins.values();
    let entries: Vec<Entry> = specs
        .map(|spec| entry(spec, users.remove(&spec.name).unwrap_or_default()))
        .collect();
    if is_text(context.output) {
        render::text_out(&text(&entries));
    } else {
        render::json(&serde_json::json!({ "exit_code": 0, "plugins": entries }));
    }
    Ok(exit_code::DONE)
}

fn entry(spec: &PluginSpec, pipelines: Vec<String>) -> Entry {
    let bytes = std::fs::read(&spec.file).ok();
    let sha256 = bytes.as_deref().map(sha256_of);
    let state = match (&sha256, &spec.sha256) {
        (None, _) => State::Missing,
        (Some(_), None) => State::Unpinned,
        (Some(found), Some(pinned)) if found == pinned => State::Pinned,
        (Some(_), Some(_)) => State::Changed,
    };
    Entry {
        name: spec.name.clone(),
        path: spec.path.clone(),
        state,
        sha256,
        bytes: bytes.map(|bytes| bytes.len()),
        pipelines,
    }
}

/// Pipelines by the plugins that their tables use. One that cannot be read uses none.
fn users(context: &Context) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut owners = None;
    for name in context.files.pipeline_names() {
        let Ok(spec) = context.files.pipeline(&name) else {
            continue;
        };
        let settings = || spec.tables.iter().filter_map(|rule| rule.settings.as_ref());
        let steps = settings().flat_map(|settings| &settings.transform);
        let mut used: BTreeSet<String> = steps.map(|step| step.plugin.clone()).collect();
        let called: BTreeSet<_> = settings().flat_map(plugins::called).collect();
        if called.iter().any(|function| !is_function(function)) {
            let owners = owners.get_or_insert_with(|| owners_of(context));
            used.extend(
                called
                    .iter()
                    .filter_map(|function| owners.get(function))
                    .cloned(),
            );
        }
        for plugin in used {
            users.entry(plugin).or_default().push(name.clone());
        }
    }
    users
}

/// Plugins by the functions that they have. One that cannot be loaded has none.
fn owners_of(context: &Context) -> BTreeMap<String, String> {
    let specs = context.files.project.plugins.values();
    let loaded = specs.filter_map(|spec| {
        let any = PluginSpec {
            sha256: None,
            ..spec.clone()
        };
        plugins::load(&any, &Interrupt::default()).ok()
    });
    let functions = loaded.flat_map(|plugin| {
        let functions = plugin.description().functions.clone().into_iter();
        functions.map(move |function| (function.name, plugin.name().to_owned()))
    });
    functions.collect()
}

fn text(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no plugins: name them under `plugins:` in syncset.yaml\n".to_owned();
    }
    let row = |entry: &Entry| {
        [
            entry.name.clone(),
            entry.state.name().to_owned(),
            entry.bytes.map(size).unwrap_or_default(),
            entry.path.clone(),
            entry.pipelines.join(", "),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    render::grid(&rows)
}

/// Bytes as people read them.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} KB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
