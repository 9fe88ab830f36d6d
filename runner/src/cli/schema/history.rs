//! `schema history`: the versions of a pipeline's target tables.

use crate::cli::args::{Output, SchemaHistoryArgs};
use crate::cli::choice::{Unnamed, choose};
use crate::cli::pipeline::{instant, open_state_of, state_of};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use serde::Serialize;
use serde_json::json;
use syncset_connector::{
    ChangedBy, MadeTable, PipelineState, SchemaVersion, StreamPhase, StreamState,
};

#[derive(Serialize)]
struct TableEntry {
    /// The table of the source; nothing if the pipeline has let go of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    target: String,
    /// Newest first.
    versions: Vec<VersionEntry>,
}

#[derive(Serialize)]
struct VersionEntry {
    version: u32,
    at: String,
    status: Status,
    by: ChangedBy,
    changes: Vec<String>,
}

/// How far a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// The table is altered, and its rows are being loaded.
    Applying,
    /// The table and its rows are what the version says.
    Applied,
}

/// Lists versions, newest first; changes nothing.
pub(crate) async fn history(context: &Context, args: &SchemaHistoryArgs) -> Result<i32, Failures> {
    let chosen = choose(&context.files, &args.choice, Unnamed::All)?;
    let mut documents = Vec::with_capacity(chosen.specs.len());
    for spec in &chosen.specs {
        let (key, store) = open_state_of(context, spec).await?;
        let state = state_of(store.as_ref()).load(&key, 0).await?;
        store.close().await;
        let tables = entries(&state, &args.tables, &spec.name)?;
        if context.output == Output::Text {
            render::text_out(&text(&spec.name, &tables));
        }
        documents.push(json!({
            "exit_code": 0,
            "pipeline": spec.name,
            "tables": tables,
        }));
    }
    if context.output != Output::Text {
        match documents.as_slice() {
            [document] if chosen.is_one => render::json(document),
            _ => render::json(&json!({ "exit_code": 0, "pipelines": documents })),
        }
    }
    Ok(exit_code::DONE)
}

fn entries(
    state: &PipelineState,
    only: &[String],
    pipeline: &str,
) -> Result<Vec<TableEntry>, Failure> {
    let mut entries: Vec<TableEntry> = state.made.iter().map(|made| entry(made, state)).collect();
    entries.retain(|entry| !entry.versions.is_empty());
    entries.sort_by(|left, right| left.target.cmp(&right.target));
    let is_named = |entry: &TableEntry, name: &String| {
        entry.target == *name || entry.table.as_ref() == Some(name)
    };
    if let Some(name) = only
        .iter()
        .find(|name| !entries.iter().any(|entry| is_named(entry, name)))
    {
        let known: Vec<_> = entries.iter().map(|entry| entry.target.as_str()).collect();
        let message = format!("no version of a table `{name}` is stored for `{pipeline}`");
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint(format!("tables with versions: {}", known.join(", "))));
    }
    entries.retain(|entry| only.is_empty() || only.iter().any(|name| is_named(entry, name)));
    Ok(entries)
}

fn entry(made: &MadeTable, state: &PipelineState) -> TableEntry {
    let mut streams = state.streams.iter();
    let stream = streams.find(|stream| stream.target == made.target);
    let last = made.history.last().map(|version| version.version);
    let version = |version: &SchemaVersion| VersionEntry {
        version: version.version,
        at: instant(version.at),
        status: match stream {
            Some(stream) if last == Some(version.version) => status(stream),
            None if last == Some(version.version) => Status::Applying,
            _ => Status::Applied,
        },
        by: version.by,
        changes: version.changes.clone(),
    };
    TableEntry {
        table: stream.map(|stream| stream.stream.clone()),
        target: made.target.to_string(),
        versions: made.history.iter().rev().map(version).collect(),
    }
}

/// How far the newest version is.
fn status(stream: &StreamState) -> Status {
    match stream.phase {
        StreamPhase::Following if !stream.selection.is_empty() => Status::Applied,
        StreamPhase::Following | StreamPhase::Loading | StreamPhase::Settling => Status::Applying,
    }
}

fn text(pipeline: &str, tables: &[TableEntry]) -> String {
    if tables.is_empty() {
        return format!("{pipeline}: no version of a table is stored\n");
    }
    let mut text = String::new();
    for table in tables {
        match &table.table {
            Some(source) => text.push_str(&format!("{source} -> {}\n", table.target)),
            None => text.push_str(&format!("{}\n", table.target)),
        }
        for version in &table.versions {
            let status = match version.status {
                Status::Applying => "applying, its rows are being loaded",
                Status::Applied => "applied",
            };
            let by = match version.by {
                ChangedBy::Created => "",
                ChangedBy::Policy => ", as the file says",
                ChangedBy::Approval => ", approved",
            };
            text.push_str(&format!(
                "  version {}, {}: {status}{by}\n",
                version.version, version.at
            ));
            for change in &version.changes {
                text.push_str(&format!("    {change}\n"));
            }
        }
    }
    text
}
