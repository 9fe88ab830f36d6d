//! `plugin new`: the folder of a plugin, with the SDK that it is built with.

use crate::cli::args::{Cli, Language, PluginNewArgs};
use crate::cli::plugin::is_text;
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use serde_json::json;
use std::path::Path;

/// Language, path in the new folder, and text of each file of all templates.
const FILES: &[(&str, &str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/plugin_files.rs"));

/// Stands for the plugin's name in templates.
const NAME: &str = "{{name}}";

/// Writes the folder; files that are there are never overwritten.
pub(super) fn new(cli: &Cli, args: &PluginNewArgs) -> Result<i32, Failures> {
    let folder = cli.directory.join(&args.folder);
    let name = folder.file_name().and_then(|name| name.to_str());
    let name = name.filter(|name| is_name(name)).ok_or_else(|| {
        let message = format!("`{}` cannot be the name of a plugin", args.folder.display());
        Failure::new(exit_code::CONFIG, message).with_hint(
            "names have small letters, digits and `_`, and begin with a letter: expressions call \
             functions of plugins",
        )
    })?;
    if folder.exists() {
        let message = format!("`{}` is there already", folder.display());
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("choose another name, or remove it first")
            .into());
    }
    let own = || FILES.iter().filter(|(of, ..)| *of == args.lang.name());
    for (_, path, bytes) in own() {
        write(&folder.join(path), bytes, name).map_err(|error| {
            let message = format!("cannot write `{}`: {error}", folder.join(path).display());
            Failure::new(exit_code::FAILED, message)
        })?;
    }
    let shown = folder.strip_prefix(".").unwrap_or(&folder).display();
    if is_text(cli.output) {
        render::text_out(&format!(
            "{shown}: a plugin in {}; see its README.md\nbuild it:  syncset plugin build {shown}\n",
            args.lang.title()
        ));
    } else {
        let files: Vec<&str> = own().map(|(_, path, _)| *path).collect();
        render::json(&json!({ "exit_code": 0, "folder": folder, "files": files }));
    }
    Ok(exit_code::DONE)
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
}

fn write(path: &Path, bytes: &[u8], name: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => std::fs::write(path, text.replace(NAME, name)),
        Err(_) => std::fs::write(path, bytes),
    }
}

impl Language {
    /// As `--lang` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Js => "js",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Js => "JavaScript",
        }
    }
}
