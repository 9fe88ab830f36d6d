//! `plugin pin`: writes into syncset.yaml which file a plugin is.

use crate::cli::Context;
use crate::cli::plugin::{is_text, spec_of};
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::plugins;
use serde_json::json;
use std::path::Path;
use syncset_pipeline::{Place, PluginSpec};
use syncset_plugin_host::Interrupt;

/// Checks that each plugin can be used, and pins the files as they are; all of them if none is
/// named.
pub(super) fn pin(context: &Context, names: &[String]) -> Result<i32, Failures> {
    let all = || context.files.project.plugins.keys().cloned().collect();
    let names: Vec<String> = if names.is_empty() {
        all()
    } else {
        names.to_vec()
    };
    let mut pinned = Vec::new();
    for name in &names {
        let mut spec = spec_of(context, name)?.clone();
        let before = spec.sha256.take();
        let plugin = plugins::load(&spec, &Interrupt::default()).map_err(Failure::from)?;
        spec.sha256 = before;
        pinned.push((spec, plugin.sha256().to_owned()));
    }
    // From the end of the file on, so that places before stay true.
    pinned.sort_by_key(|(spec, _)| std::cmp::Reverse(spec.place));
    for (spec, sha256) in &pinned {
        if spec.sha256.as_ref() != Some(sha256) {
            write(spec, sha256)?;
        }
    }
    pinned.reverse();
    let entries = pinned.iter().map(
        |(spec, sha256)| json!({ "name": spec.name, "sha256": sha256, "before": spec.sha256 }),
    );
    if is_text(context.output) {
        let lines = pinned.iter().map(|(spec, sha256)| {
            let what = match &spec.sha256 {
                Some(before) if before == sha256 => "was pinned before",
                Some(_) => "pinned anew",
                None => "pinned",
            };
            format!("{}  {what}  {sha256}\n", spec.name)
        });
        render::text_out(&lines.collect::<String>());
    } else {
        let plugins: Vec<_> = entries.collect();
        render::json(&json!({ "exit_code": 0, "plugins": plugins }));
    }
    Ok(exit_code::DONE)
}

fn write(spec: &PluginSpec, sha256: &str) -> Result<(), Failure> {
    let path = Path::new(&spec.project_file);
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("cannot write `{}`: {error}", spec.project_file);
        Failure::new(exit_code::FAILED, message).with_hint(format!(
            "write `sha256: {sha256}` beside the plugin's `path`"
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let place = |key: &str| spec.places.get(key).copied();
    let edited = match place("sha256") {
        Some(at) => replaced(&text, at, sha256),
        None => place("path").and_then(|at| added(&text, at, sha256)),
    };
    let edited = edited.ok_or_else(|| failed(&"its entry has a form that is not understood"))?;
    // Either the whole file or nothing: a project without its file is none.
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let temporary = folder.unwrap_or(Path::new(".")).join(".syncset.yaml.new");
    std::fs::write(&temporary, edited)
        .and_then(|()| {
            let permissions = std::fs::metadata(path)?.permissions();
            std::fs::set_permissions(&temporary, permissions)
        })
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| failed(&error))
}

/// The text with another value at this place.
fn replaced(text: &str, at: Place, sha256: &str) -> Option<String> {
    let place = offset(text, at)?;
    // The place of a value that is not there is the colon.
    let is_absent = text.get(place..)?.starts_with(':');
    let start = place + usize::from(is_absent);
    let blank = if is_absent { " " } else { "" };
    let end = start + scalar_length(text.get(start..)?);
    Some(format!(
        "{}{blank}\"{sha256}\"{}",
        &text[..start],
        text.get(end..)?
    ))
}

/// The text with one key more after the value at this place.
fn added(text: &str, path_at: Place, sha256: &str) -> Option<String> {
    let start = offset(text, path_at)?;
    let end = start + scalar_length(text.get(start..)?);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let before = &text[line_start..start];
    let indent = before.len() - before.trim_start().len();
    // In a block the line begins with the key; in `{ .. }` it does not.
    let key = before.trim_start().trim_end();
    let inserted = if key == "path:" {
        format!("\n{}sha256: \"{sha256}\"", &before[..indent])
    } else {
        format!(", sha256: \"{sha256}\"")
    };
    let rest = text.get(end..)?;
    // What follows in a block's line is a comment.
    let (end, rest) = match key == "path:" {
        true => {
            let line = rest.find('\n').unwrap_or(rest.len());
            (end + line, &rest[line..])
        }
        false => (end, rest),
    };
    Some(format!("{}{inserted}{rest}", &text[..end]))
}

/// Bytes before a place.
fn offset(text: &str, place: Place) -> Option<usize> {
    let mut starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let line = starts.nth(place.line.checked_sub(1)?)?;
    let column = text
        .get(line..)?
        .char_indices()
        .nth(place.column.checked_sub(1)?)?;
    Some(line + column.0)
}

/// Bytes of the scalar that a text begins with, quotes included.
fn scalar_length(text: &str) -> usize {
    let quote = text.chars().next().filter(|it| matches!(it, '"' | '\''));
    if let Some(quote) = quote {
        return text[1..].find(quote).map_or(text.len(), |at| at + 2);
    }
    let end = text.find([',', '}', '\n', '#']).unwrap_or(text.len());
    text[..end].trim_end().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "abc";

    fn at(line: usize, column: usize) -> Place {
        Place { line, column }
    }

    #[test]
    fn hash_goes_beside_the_path_in_both_forms() {
        let flow = "plugins:\n  a: { path: p/a.wasm, wasi: none } # ours\n";
        assert_eq!(
            added(flow, at(2, 14), HASH).expect("a form that is known"),
            "plugins:\n  a: { path: p/a.wasm, sha256: \"abc\", wasi: none } # ours\n"
        );
        let last = "plugins: { a: { path: \"p/a.wasm\" } }";
        assert_eq!(
            added(last, at(1, 23), HASH).expect("a form that is known"),
            "plugins: { a: { path: \"p/a.wasm\", sha256: \"abc\" } }"
        );
        let block = "plugins:\n  a:\n    path: p/a.wasm # ours\n    wasi: none\n";
        assert_eq!(
            added(block, at(3, 11), HASH).expect("a form that is known"),
            "plugins:\n  a:\n    path: p/a.wasm # ours\n    sha256: \"abc\"\n    wasi: none\n"
        );
    }

    #[test]
    fn hash_that_is_there_is_replaced() {
        let text = "a: { path: é.wasm, sha256: 'old' }\nb: 1\n";
        assert_eq!(
            replaced(text, at(1, 28), HASH).expect("a form that is known"),
            "a: { path: é.wasm, sha256: \"abc\" }\nb: 1\n"
        );
        let empty = "sha256:\n";
        assert_eq!(
            replaced(empty, at(1, 7), HASH).expect("a form that is known"),
            "sha256: \"abc\"\n"
        );
        let plain = "sha256: old\n";
        assert_eq!(
            replaced(plain, at(1, 9), HASH).expect("a form that is known"),
            "sha256: \"abc\"\n"
        );
    }
}
