//! Reads `plugins:` of a project and `transform:` of a table.

use crate::fields::{Fields, bytes, choice, count, duration, text, wrong_type};
use crate::interpolate;
use crate::mask_setting::fingerprint;
use crate::nearest::{listed, nearest};
use crate::plugin::{
    ConfigValue, OnPluginError, PluginConfig, PluginLimits, PluginSpec, TransformSetting, Wasi,
};
use crate::problem::{Lookup, Place, Problems};
use crate::schema::{Section, to_json};
use crate::spec::Name;
use crate::yaml::{Entry, Node, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const PLUGINS_EXAMPLE: &str =
    "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, sha256: \"9c1e...\" } }";
const PLUGIN_EXAMPLE: &str = "{ path: plugins/normalise_phone.wasm, sha256: \"9c1e...\" }";
const TRANSFORM_EXAMPLE: &str =
    "transform: [ { plugin: normalise_phone, config: { column: phone } } ]";
const CONFIG_EXAMPLE: &str = "config: { column: phone }";
const LIMITS_EXAMPLE: &str = "limits: { memory: 256MiB, batch_timeout: 30s }";

const ON_ERROR: [(&str, OnPluginError); 2] = [
    ("fail", OnPluginError::Fail),
    ("skip_row", OnPluginError::SkipRow),
];

const SHA256_DIGITS: usize = 64;

/// Less does not hold the stack and one batch.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

/// All that a 32-bit guest can address.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// Shorter ones end plugins of a busy machine that are all right.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// A batch holds a transaction open at the target.
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// What configurations are read with.
#[derive(Clone, Copy)]
pub(crate) struct PluginContext<'a> {
    /// The project's plugins.
    pub(crate) plugins: &'a BTreeMap<String, PluginSpec>,
    /// The project folder.
    pub(crate) base: &'a Path,
    /// Values of `${...}`.
    pub(crate) lookup: &'a Lookup<'a>,
}

/// What is asked of the pins of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pins {
    /// They are hashes.
    Checked,
    /// Nothing: they are to be replaced.
    Any,
}

/// Reads `plugins:`. `path`: the project file, as printed.
pub(crate) fn plugins(
    node: &Node,
    (path, pins): (&str, Pins),
    (base, lookup): (&Path, &Lookup),
    problems: &mut Problems,
) -> BTreeMap<String, PluginSpec> {
    let Value::Map(entries) = &node.value else {
        wrong_type(node, "`plugins`", "a mapping", PLUGINS_EXAMPLE, problems);
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        if !is_identifier(&entry.key) {
            problems.hinted(
                entry.key_place,
                format!("`{}` is no name of a plugin", entry.key),
                "a name has small letters, digits and `_`, and no digit first, so that SQL can \
                 call it",
            );
        }
        if let Some(plugin) = plugin(entry, (path, pins), (base, lookup), problems) {
            found.insert(entry.key.clone(), plugin);
        }
    }
    found
}

fn is_identifier(name: &str) -> bool {
    let is_first = |it: char| it.is_ascii_lowercase() || it == '_';
    name.starts_with(is_first) && name.chars().all(|it| is_first(it) || it.is_ascii_digit())
}

fn plugin(
    entry: &Entry,
    (project_file, pins): (&str, Pins),
    (base, lookup): (&Path, &Lookup),
    problems: &mut Problems,
) -> Option<PluginSpec> {
    let what = format!("the plugin `{}`", entry.key);
    let example = format!("{}: {PLUGIN_EXAMPLE}", entry.key);
    let fields = Fields::of(&entry.node, Section::Plugin, (&what, &example), problems)?;
    let path = match fields.value("path") {
        Some(node) => text(
            node,
            "`path`",
            "path: plugins/normalise_phone.wasm",
            problems,
        ),
        None => {
            let hint = format!("for example `{example}`");
            problems.hinted(entry.key_place, format!("{what} has no `path`"), hint);
            None
        }
    };
    let path = path.map(|it| interpolate::refuse(&it.text, it.place, problems));
    let wasi = fields.value("wasi").and_then(|node| {
        let words = [("none", Wasi::None), ("sandbox", Wasi::Sandbox)];
        choice(node, Section::Plugin, "wasi", &words, problems)
    });
    let on_error = fields
        .value("on_error")
        .and_then(|node| choice(node, Section::Plugin, "on_error", &ON_ERROR, problems));
    let sha256 = sha256(&fields, pins, problems);
    let limits = limits(&fields, problems);
    let config = config(&fields, (base, lookup), problems);
    let path = path?;
    Some(PluginSpec {
        name: entry.key.clone(),
        file: base.join(&path),
        path,
        sha256,
        wasi: wasi.unwrap_or_default(),
        limits,
        on_error: on_error.unwrap_or_default(),
        config,
        project_file: project_file.to_owned(),
        place: entry.key_place,
        places: places(&entry.node),
    })
}

fn places(node: &Node) -> BTreeMap<String, Place> {
    let Value::Map(entries) = &node.value else {
        return BTreeMap::new();
    };
    let entries = entries.iter();
    entries
        .map(|entry| (entry.key.clone(), entry.node.place))
        .collect()
}

fn sha256(fields: &Fields, pins: Pins, problems: &mut Problems) -> Option<String> {
    let node = fields.value("sha256")?;
    let digits = match (&node.value, pins) {
        // `text` takes no empty one.
        (Value::Scalar { text, .. }, _) if text.trim().is_empty() => String::new(),
        _ => text(node, "`sha256`", "sha256: \"9c1e...\"", problems)?.text,
    };
    let others = digits.chars().filter(|it| !it.is_ascii_hexdigit()).count();
    if others == 0 && digits.len() == SHA256_DIGITS {
        return Some(digits.to_ascii_lowercase());
    }
    if pins == Pins::Any {
        return None;
    }
    let message = match others {
        0 => format!("`sha256` has {} digits, not {SHA256_DIGITS}", digits.len()),
        _ => "`sha256` is no hexadecimal number".to_owned(),
    };
    problems.hinted(
        node.place,
        message,
        "write what `sha256sum FILE` prints, or let `syncset plugin pin` write it",
    );
    None
}

fn limits(fields: &Fields, problems: &mut Problems) -> PluginLimits {
    let mut limits = PluginLimits::default();
    let what = ("`limits`", LIMITS_EXAMPLE);
    let fields = fields
        .value("limits")
        .and_then(|node| Fields::of(node, Section::PluginLimits, what, problems));
    let Some(fields) = fields else {
        return limits;
    };
    if let Some(node) = fields.value("memory")
        && let Some(bytes) = bytes(node, "`memory`", "memory: 256MiB", problems)
    {
        if !(MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&bytes) {
            problems.hinted(
                node.place,
                "`memory` must be between 1MiB and 4GiB",
                "for example `memory: 256MiB`",
            );
        }
        limits.memory_bytes = bytes;
    }
    if let Some(node) = fields.value("batch_timeout")
        && let Some(timeout) = duration(node, "`batch_timeout`", "batch_timeout: 30s", problems)
    {
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            problems.hinted(
                node.place,
                "`batch_timeout` must be between 10ms and 1h",
                "for example `batch_timeout: 30s`",
            );
        }
        limits.batch_timeout = timeout;
    }
    if let Some(node) = fields.value("fuel") {
        limits.fuel = count(node, "`fuel`", "fuel: 1_000_000_000", problems);
        if limits.fuel == Some(0) {
            let hint = "leave it out: then it is not counted";
            problems.hinted(node.place, "with `fuel: 0` no plugin can run", hint);
        }
    }
    limits
}

/// Reads `transform:`.
pub(crate) fn transform(
    node: &Node,
    context: &PluginContext,
    problems: &mut Problems,
) -> Vec<TransformSetting> {
    let Value::List(items) = &node.value else {
        wrong_type(node, "`transform`", "a list", TRANSFORM_EXAMPLE, problems);
        return Vec::new();
    };
    let steps = items.iter();
    steps
        .filter_map(|item| step(item, context, problems))
        .collect()
}

fn step(node: &Node, context: &PluginContext, problems: &mut Problems) -> Option<TransformSetting> {
    if !matches!(node.value, Value::Map(_)) {
        let name = match &node.value {
            Value::Scalar { .. } => text(
                node,
                "an entry of `transform`",
                "transform: [normalise_phone]",
                problems,
            )?,
            _ => {
                let expected = "the name of a plugin or a mapping";
                wrong_type(
                    node,
                    "an entry of `transform`",
                    expected,
                    TRANSFORM_EXAMPLE,
                    problems,
                );
                return None;
            }
        };
        let plugin = named(&name, context.plugins, problems)?;
        return Some(TransformSetting {
            plugin: name.text,
            config: plugin.config.clone(),
            on_error: plugin.on_error,
            place: node.place,
            config_at: config_at(plugin),
        });
    }
    let what = ("an entry of `transform`", TRANSFORM_EXAMPLE);
    let fields = Fields::of(node, Section::Step, what, problems)?;
    let config = config(&fields, (context.base, context.lookup), problems);
    let on_error = fields
        .value("on_error")
        .and_then(|node| choice(node, Section::Step, "on_error", &ON_ERROR, problems));
    let Some(name) = fields.value("plugin") else {
        problems.hinted(
            node.place,
            "an entry of `transform` has no `plugin`",
            format!("for example `{TRANSFORM_EXAMPLE}`"),
        );
        return None;
    };
    let name = text(name, "`plugin`", "plugin: normalise_phone", problems)?;
    let plugin = named(&name, context.plugins, problems)?;
    Some(TransformSetting {
        plugin: name.text,
        config_at: config_at(plugin).filter(|_| config.is_empty()),
        config: config.over(&plugin.config),
        on_error: on_error.unwrap_or(plugin.on_error),
        place: node.place,
    })
}

/// Where the project configures a plugin, if it does.
fn config_at(plugin: &PluginSpec) -> Option<(String, Place)> {
    let place = plugin
        .places
        .get("config")
        .filter(|_| !plugin.config.is_empty())?;
    Some((plugin.project_file.clone(), *place))
}

fn named<'a>(
    name: &Name,
    plugins: &'a BTreeMap<String, PluginSpec>,
    problems: &mut Problems,
) -> Option<&'a PluginSpec> {
    if let Some(plugin) = plugins.get(&name.text) {
        return Some(plugin);
    }
    let names = || plugins.keys().map(String::as_str);
    let known = listed(&name.text, names());
    let hint = match nearest(&name.text, names()) {
        _ if plugins.is_empty() => {
            format!(
                "add it to `syncset.yaml`: `plugins: {{ {}: {PLUGIN_EXAMPLE} }}`",
                name.text
            )
        }
        Some(near) => format!("did you mean `{near}`? `plugins` of `syncset.yaml` has {known}"),
        None => format!("`plugins` of `syncset.yaml` has {known}"),
    };
    problems.hinted(
        name.place,
        format!("there is no plugin `{}`", name.text),
        hint,
    );
    None
}

/// Reads `config:`, with `${...}` replaced in its texts.
fn config(
    fields: &Fields,
    (base, lookup): (&Path, &Lookup),
    problems: &mut Problems,
) -> PluginConfig {
    let Some(node) = fields.value("config") else {
        return PluginConfig::default();
    };
    let Value::Map(entries) = &node.value else {
        wrong_type(node, "`config`", "a mapping", CONFIG_EXAMPLE, problems);
        return PluginConfig::default();
    };
    let mut value = |entry: &Entry| {
        let mut secrets = Vec::new();
        let mut fill = |text: &str, place: Place| {
            interpolate::interpolate(text, place, base, lookup, problems)
        };
        let (value, shown) = config_value(&entry.node, &mut fill, &mut secrets);
        let value = ConfigValue {
            value,
            shown,
            secrets,
        };
        (entry.key.clone(), value)
    };
    PluginConfig {
        entries: entries.iter().map(&mut value).collect(),
    }
}

/// A value as JSON, and the same as it may be shown.
fn config_value(
    node: &Node,
    fill: &mut dyn FnMut(&str, Place) -> Option<String>,
    secrets: &mut Vec<String>,
) -> (serde_json::Value, serde_json::Value) {
    match &node.value {
        Value::Scalar { text, .. } if text.replace("$${", "").contains("${") => {
            let secret = fill(text, node.place).unwrap_or_default();
            let shown = format!("(secret {})", fingerprint("syncset plugin config", &secret));
            if !secret.is_empty() {
                // A plugin may quote a part: the password of a URL, say.
                let parts = interpolate::variables(text);
                secrets.extend(parts.filter_map(|part| fill(part, node.place)));
            }
            secrets.push(secret.clone());
            (json!(secret), json!(shown))
        }
        Value::Scalar { text, .. } if text.contains("$${") => {
            let text = json!(text.replace("$${", "${"));
            (text.clone(), text)
        }
        Value::List(items) => {
            let items = items.iter().map(|item| config_value(item, fill, secrets));
            let (values, shown): (Vec<_>, Vec<_>) = items.unzip();
            (json!(values), json!(shown))
        }
        Value::Map(entries) => {
            let mut values = serde_json::Map::new();
            let mut shown = serde_json::Map::new();
            for entry in entries {
                let (value, as_shown) = config_value(&entry.node, fill, secrets);
                values.insert(entry.key.clone(), value);
                shown.insert(entry.key.clone(), as_shown);
            }
            (values.into(), shown.into())
        }
        Value::Null | Value::NullWord | Value::Scalar { .. } => {
            let value = to_json(node);
            (value.clone(), value)
        }
    }
}
