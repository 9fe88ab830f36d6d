//! `pipeline list`: what the files say, in a line per pipeline.

use crate::cli::args::{Choice, Output};
use crate::cli::choice::{Unnamed, choose};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::Failures;
use serde::Serialize;
use syncset_pipeline::{ConnectionSpec, PipelineSpec};

/// Entries of `tables:` that are shown to people; JSON has all.
const TABLES_SHOWN: usize = 6;

#[derive(Serialize)]
struct Entry {
    pipeline: String,
    source: End,
    target: End,
    tables: Vec<String>,
    skipped: Vec<String>,
    tags: Vec<String>,
}

#[derive(Serialize)]
struct End {
    /// `source` or `target` for one that is written into the pipeline.
    connection: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Lists pipelines from their files.
pub(crate) fn list(context: &Context, choice: &Choice) -> Result<i32, Failures> {
    let chosen = choose(&context.files, choice, Unnamed::All)?;
    let entries: Vec<Entry> = chosen.specs.iter().map(entry).collect();
    match context.output {
        Output::Text => render::text_out(&text(&entries)),
        _ => render::json(&serde_json::json!({ "exit_code": 0, "pipelines": entries })),
    }
    Ok(exit_code::DONE)
}

fn entry(spec: &PipelineSpec) -> Entry {
    let names = |selected: bool| {
        let rules = spec.tables.iter();
        let rules = rules.filter(move |rule| rule.settings.is_some() == selected);
        rules.map(|rule| rule.pattern.text.clone()).collect()
    };
    Entry {
        pipeline: spec.name.clone(),
        source: end(&spec.source),
        target: end(&spec.target),
        tables: names(true),
        skipped: names(false),
        tags: spec.tags.clone(),
    }
}

fn end(connection: &ConnectionSpec) -> End {
    End {
        connection: connection.name.clone(),
        kind: connection.kind.clone(),
    }
}

fn text(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let end = |end: &End| format!("{} ({})", end.connection, end.kind);
        let (source, target) = (end(&entry.source), end(&entry.target));
        text.push_str(&format!("{}: {source} -> {target}\n", entry.pipeline));
        let shown = entry.tables.iter().take(TABLES_SHOWN).cloned();
        let shown: Vec<String> = shown.collect();
        let more = match entry.tables.len().saturating_sub(TABLES_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        text.push_str(&format!("  tables: {}{more}\n", shown.join(", ")));
        if !entry.skipped.is_empty() {
            text.push_str(&format!("  skipped: {}\n", entry.skipped.join(", ")));
        }
        if !entry.tags.is_empty() {
            text.push_str(&format!("  tags: {}\n", entry.tags.join(", ")));
        }
    }
    text
}
