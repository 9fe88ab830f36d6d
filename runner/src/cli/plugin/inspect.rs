//! `plugin inspect`: what a plugin says of itself, and what it wants.

use crate::cli::args::Cli;
use crate::cli::plugin::list::size;
use crate::cli::plugin::{Chosen, is_text};
use crate::cli::render;
use crate::exit_code;
use crate::failure::Failures;
use crate::planned::computed_name;
use serde_json::{Value, json};
use syncset_plugin_host::{CONTRACT, Description, FunctionDescription, Volatility};

/// Prints it. Runs the plugin's own description, and nothing else of it.
pub(super) fn inspect(cli: &Cli, name: &str) -> Result<i32, Failures> {
    let chosen = Chosen::load(cli, name)?;
    if is_text(cli.output) {
        render::text_out(&text(&chosen));
    } else {
        render::json(&document(&chosen));
    }
    Ok(exit_code::DONE)
}

fn document(chosen: &Chosen) -> Value {
    let plugin = &chosen.plugin;
    let description = plugin.description();
    let functions = description.functions.iter().map(|function| {
        json!({
            "name": function.name,
            "args": function.args.iter().map(computed_name).collect::<Vec<_>>(),
            "returns": computed_name(&function.returns),
            "strict": function.strict,
            "volatility": volatility(function),
            "doc": function.doc,
        })
    });
    json!({
        "exit_code": 0,
        "name": description.name,
        "version": description.version,
        "doc": description.doc,
        "sdk": description.sdk,
        "contract": CONTRACT,
        "path": chosen.path,
        "bytes": plugin.byte_count(),
        "sha256": plugin.sha256(),
        "pinned": chosen.spec.as_ref().and_then(|spec| spec.sha256.clone()),
        "imports": plugin.imports(),
        "provides": provides(description),
        "config_schema": serde_json::from_str::<Value>(&description.config_schema).ok(),
        "functions": functions.collect::<Vec<_>>(),
    })
}

fn provides(description: &Description) -> Vec<&'static str> {
    let parts = [
        (description.transforms, "transform"),
        (description.filters, "filter"),
        (!description.functions.is_empty(), "functions"),
    ];
    let parts = parts.into_iter().filter(|(has, _)| *has);
    parts.map(|(_, name)| name).collect()
}

fn volatility(function: &FunctionDescription) -> &'static str {
    match function.volatility {
        Volatility::Immutable => "immutable",
        Volatility::Stable => "stable",
        Volatility::Volatile => "volatile",
    }
}

/// A function as its author would declare it.
fn signature(function: &FunctionDescription) -> String {
    let args: Vec<_> = function.args.iter().map(computed_name).collect();
    let returns = computed_name(&function.returns);
    format!("{}({}) -> {returns}", function.name, args.join(", "))
}

fn text(chosen: &Chosen) -> String {
    let plugin = &chosen.plugin;
    let description = plugin.description();
    let pinned = match chosen.spec.as_ref().map(|spec| &spec.sha256) {
        None => "no project names it",
        Some(None) => "not pinned",
        Some(Some(pinned)) if pinned == plugin.sha256() => "pinned",
        Some(Some(_)) => "not the file that was pinned",
    };
    let line = |name: &str, value: String| [name.to_owned(), value];
    let mut rows = vec![
        line(
            "name",
            format!("{} {}", description.name, description.version),
        ),
        line("built by", description.sdk.clone()),
        line("contract", CONTRACT.to_owned()),
        line("file", chosen.path.display().to_string()),
        line("size", size(plugin.byte_count())),
        line("sha256", format!("{} ({pinned})", plugin.sha256())),
        line("imports", plugin.imports().join(", ")),
        line("provides", provides(description).join(", ")),
    ];
    if !description.doc.is_empty() {
        rows.insert(1, line("", description.doc.clone()));
    }
    for (index, function) in description.functions.iter().enumerate() {
        let name = if index == 0 { "functions" } else { "" };
        let doc = match function.doc.as_str() {
            "" => String::new(),
            doc => format!("  {doc}"),
        };
        rows.push(line(name, signature(function) + &doc));
    }
    let config = match description.config_schema.as_str() {
        "" => "none".to_owned(),
        schema => schema.to_owned(),
    };
    rows.push(line("config", config));
    render::grid(&rows)
}
