//! `connection discover`: what a store holds.

use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::open_store;
use clap::Args;
use serde::Serialize;
use syncset_connector::{
    PipelineKey, Role, Store, TableDescription, TableEntry, TableKind, TableName,
};
use syncset_pipeline::scaffold::display_size;
use syncset_pipeline::{TablePattern, display_table};

#[derive(Debug, Args)]
pub(crate) struct DiscoverArgs {
    /// Name from syncset.yaml
    pub(crate) name: String,
    /// Only tables and views with such a name, as in `tables:` of a pipeline
    #[arg(long, value_name = "GLOB")]
    pub(crate) pattern: Option<String>,
    /// Show columns and their types too
    #[arg(long)]
    pub(crate) columns: bool,
}

#[derive(Serialize)]
struct Found {
    table: String,
    kind: &'static str,
    row_estimate: Option<u64>,
    bytes: Option<u64>,
    key: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<FoundColumn>>,
}

#[derive(Serialize)]
struct FoundColumn {
    name: String,
    #[serde(rename = "type")]
    native: String,
    nullable: bool,
    generated: bool,
    /// False if this user may not read it.
    readable: bool,
}

/// Lists the tables and views of a connection. Reads catalogues only.
pub(crate) async fn discover(context: &Context, args: &DiscoverArgs) -> Result<i32, Failures> {
    let spec = super::named(context, &args.name)?;
    let pattern = match &args.pattern {
        None => None,
        Some(text) => Some(pattern(text)?),
    };
    let key = PipelineKey {
        project: context.files.project.name.clone(),
        pipeline: "connection discover".into(),
    };
    let store = open_store(spec, Role::Source, &key, 1).await?;
    let mut entries = store.list_tables().await?;
    if let Some(pattern) = &pattern {
        entries.retain(|entry| pattern.matches(&entry.name));
    }
    let found = describe(store.as_ref(), &entries, args.columns).await?;
    store.close().await;
    match context.output {
        Output::Text => render::text_out(&text(&found, args)),
        _ => render::json(&serde_json::json!({
            "exit_code": exit_code::DONE,
            "connection": args.name,
            "tables": found,
        })),
    }
    Ok(exit_code::DONE)
}

fn pattern(text: &str) -> Result<TablePattern, Failure> {
    TablePattern::parse(text).map_err(|why| {
        Failure::new(exit_code::CONFIG, format!("`--pattern {text}`: {why}"))
            .with_hint("for example 'public.*', 'public.ref_*' or '*.*', in quotes")
    })
}

async fn describe(
    store: &dyn Store,
    entries: &[TableEntry],
    with_columns: bool,
) -> Result<Vec<Found>, Failure> {
    let names: Vec<TableName> = entries.iter().map(|entry| entry.name.clone()).collect();
    let described = store.describe(&names).await?;
    // A table that was dropped since it was listed is left out.
    let found = described.into_iter().flatten();
    Ok(found.map(|table| of(&table, with_columns)).collect())
}

fn of(table: &TableDescription, with_columns: bool) -> Found {
    let columns = table.columns.iter().map(|column| FoundColumn {
        name: column.name.clone(),
        native: column.native.name.clone(),
        nullable: column.nullable,
        generated: column.generated.is_some(),
        readable: column.readable,
    });
    Found {
        table: display_table(&table.name),
        kind: kind_name(table.kind),
        row_estimate: table.row_estimate,
        bytes: table.byte_estimate,
        key: table.primary_key.clone(),
        columns: with_columns.then(|| columns.collect()),
    }
}

fn kind_name(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Table => "table",
        TableKind::Partitioned => "partitioned table",
        TableKind::View => "view",
        TableKind::MaterializedView => "materialised view",
        TableKind::Foreign => "foreign table",
    }
}

fn text(found: &[Found], args: &DiscoverArgs) -> String {
    if found.is_empty() {
        return match &args.pattern {
            Some(pattern) => format!("no table or view of `{}` matches `{pattern}`\n", args.name),
            None => format!("`{}` shows no table and no view\n", args.name),
        };
    }
    let unknown = || "-".to_owned();
    let row = |one: &Found| {
        [
            one.table.clone(),
            one.kind.to_owned(),
            one.row_estimate
                .map_or_else(unknown, |rows| rows.to_string()),
            one.bytes.map_or_else(unknown, display_size),
            match one.key.as_slice() {
                [] => unknown(),
                key => key.join(", "),
            },
        ]
    };
    let head = ["TABLE", "KIND", "ROWS", "SIZE", "KEY"].map(str::to_owned);
    let rows: Vec<_> = [head].into_iter().chain(found.iter().map(row)).collect();
    let grid = render::grid(&rows);
    if !args.columns {
        return grid;
    }
    let mut text = String::new();
    let mut lines = grid.lines();
    text.push_str(&format!("{}\n", lines.next().unwrap_or_default()));
    for (line, one) in lines.zip(found) {
        text.push_str(&format!("{line}\n"));
        let columns: Vec<_> = one.columns.iter().flatten().map(column_row).collect();
        for column in render::grid(&columns).lines() {
            text.push_str(&format!("    {column}\n"));
        }
    }
    text
}

fn column_row(column: &FoundColumn) -> [String; 3] {
    let mut notes = Vec::new();
    if !column.nullable {
        notes.push("NOT NULL");
    }
    if column.generated {
        notes.push("generated");
    }
    if !column.readable {
        notes.push("this user may not read it");
    }
    [column.name.clone(), column.native.clone(), notes.join(", ")]
}
