//! The keys as a page of the documentation.

use super::json::{READ_REPLICA_ABOUT, TYPE_ABOUT, URL_ABOUT};
use super::{Key, Section, Takes};
use std::fmt::Write as _;
use syncset_connector::ConnectorInfo;

const HEAD: &str = "\
# Reference of all keys

Every key of `syncset.yaml` and of the files in `pipelines/`. How they work together is told in \
[Configuration](config.md); editors read the same from [JSON Schemas](editors.md).

<!-- Made from pipelines/src/schema: change it there. -->
";

/// `docs/config-reference.md`, for these connectors.
pub fn config_reference(catalog: &[&'static ConnectorInfo]) -> String {
    let mut page = HEAD.to_owned();
    for section in Section::ALL {
        if section == Section::Pipeline {
            for info in catalog {
                put(&mut page, format_args!("\n{}", connection(info)));
            }
        }
        let level = if section.is_nested() { "###" } else { "##" };
        put(
            &mut page,
            format_args!("\n{level} {}\n\n{}\n", title(section), section.about()),
        );
        for key in section.keys() {
            put(&mut page, format_args!("\n{}", entry(key)));
        }
    }
    page
}

fn put(page: &mut String, text: std::fmt::Arguments) {
    page.write_fmt(text).expect("a String takes every text");
}

fn title(section: Section) -> String {
    match section {
        Section::Project => "`syncset.yaml`".into(),
        Section::Pipeline => "`pipelines/NAME.yaml`".into(),
        Section::Table => "A table, or `defaults`".into(),
        nested => format!("`{}`", nested.name()),
    }
}

/// One key: its kinds of values, its default, what it is for, its words, an example.
fn entry(key: &Key) -> String {
    let mut text = format!("**`{}`**: {}", key.name, kinds(key));
    if key.required {
        text.push_str(", required");
    }
    if !key.default.is_empty() {
        put(&mut text, format_args!(", default `{}`", key.default));
    }
    put(&mut text, format_args!(".\n{}\n", key.about));
    if !key.choices().is_empty() {
        text.push('\n');
    }
    for (word, about) in key.choices() {
        put(&mut text, format_args!("- `{word}`: {about}\n"));
    }
    put(&mut text, format_args!("\n```yaml\n{}\n```\n", key.example));
    text
}

fn kinds(key: &Key) -> String {
    let kinds: Vec<_> = key.takes.iter().map(|takes| kind(*takes)).collect();
    kinds.join(", or ")
}

fn kind(takes: Takes) -> String {
    match takes {
        Takes::Exactly(number) => format!("`{number}`"),
        Takes::Text | Takes::Matching(_) => "text".into(),
        Takes::Count => "whole number".into(),
        Takes::Flag => "`true` or `false`".into(),
        Takes::Percent => "number from 0 to 100".into(),
        Takes::Duration => "duration, such as `10m` or `1h 30m`".into(),
        Takes::Choice(choices) => {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            words.join(" \\| ")
        }
        Takes::Choices(choices) => {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            format!("mapping of columns to {}", words.join(" \\| "))
        }
        Takes::Texts | Takes::Names | Takes::Words => "list of texts".into(),
        Takes::Bytes => "number of bytes, such as `256MiB`".into(),
        Takes::Mapping => "mapping".into(),
        Takes::TextMap => "mapping of texts to texts".into(),
        Takes::Masks(choices, section) => {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            format!(
                "mapping of columns to {} or to a mapping, see [{name}](#{name})",
                words.join(", "),
                name = section.name()
            )
        }
        Takes::Section(Section::Table) => {
            "mapping with the [keys of a table](#a-table-or-defaults)".into()
        }
        Takes::Section(section) => {
            let name = section.name();
            format!("mapping with [these keys](#{name})")
        }
        Takes::Sections(section) => {
            let name = section.name();
            format!("list of mappings with [these keys](#{name})")
        }
        Takes::Steps(section) => {
            let name = section.name();
            format!("list of names, or of mappings with [these keys](#{name})")
        }
        Takes::Plugins(section) => {
            let name = section.name();
            format!("mapping of names to mappings with [these keys](#{name})")
        }
        Takes::Connection => "URL or mapping".into(),
        Takes::Endpoint => "name of a connection, URL or mapping".into(),
        Takes::Connections => "mapping of names to connections".into(),
        Takes::Tables => {
            "mapping of names and globs to [settings](#a-table-or-defaults), nothing, or `skip`"
                .into()
        }
    }
}

fn connection(info: &ConnectorInfo) -> String {
    let mut text = format!("### A connection of `type: {}`\n\n", info.kind);
    let schemes: Vec<_> = info
        .schemes
        .iter()
        .map(|scheme| format!("`{scheme}:`"))
        .collect();
    put(
        &mut text,
        format_args!("URLs begin with {}.\n\n", schemes.join(" or ")),
    );
    put(&mut text, format_args!("| key | meaning |\n|---|---|\n"));
    put(
        &mut text,
        format_args!("| `type` | {TYPE_ABOUT} |\n| `url` | {URL_ABOUT} |\n"),
    );
    if info.capabilities.shows_writers {
        put(
            &mut text,
            format_args!("| `read_replica` | {READ_REPLICA_ABOUT} |\n"),
        );
    }
    for setting in info.settings {
        let about = setting.about.replace('|', "\\|");
        put(
            &mut text,
            format_args!("| `{}` | {about} |\n", setting.name),
        );
    }
    text
}
