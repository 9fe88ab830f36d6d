//! Which tables there are, and what is known of them.

use super::InitArgs;
use super::ask::Asker;
use super::ends::Ends;
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use std::collections::{BTreeMap, BTreeSet};
use syncset_connector::{TableEntry, TableKind, TableName, TargetColumn};
use syncset_pipeline::TablePattern;
use syncset_pipeline::scaffold::ScaffoldTable;

/// What was found.
pub(super) struct Found {
    /// The tables and views that were asked for.
    pub(super) tables: Vec<ScaffoldTable>,
    /// Where rows go, if not to tables of the same name, and why.
    pub(super) to: Option<(String, String)>,
}

/// Looks at the tables that the command line names, or a person on the terminal.
pub(super) async fn find(
    ends: &Ends,
    args: &InitArgs,
    asker: &mut Asker,
) -> Result<Found, Failures> {
    let store = ends.source.store.as_ref();
    let listed = store.list_tables().await?;
    let patterns = match args.tables.is_empty() && ends.asked {
        true => asked(&listed, asker)?,
        false => args.tables.clone(),
    };
    let entries = matching(listed, &patterns)?;
    let names: Vec<TableName> = entries.iter().map(|entry| entry.name.clone()).collect();
    let (described, surveys) = tokio::join!(store.describe(&names), store.survey(&names));
    let connector = ends.target.connector;
    let tables: Vec<_> = described?
        .into_iter()
        .zip(surveys?)
        // A table that was dropped since it was listed is left out.
        .filter_map(|(description, survey)| Some((description?, survey)))
        .map(|(description, survey)| ScaffoldTable {
            mappings: description
                .columns
                .iter()
                .map(|column| connector.map_type(&TargetColumn::of(column, &column.name)))
                .collect(),
            description,
            survey,
            refused: None,
        })
        .collect();
    Ok(Found {
        to: destination(ends, &tables),
        tables,
    })
}

fn asked(listed: &[TableEntry], asker: &mut Asker) -> Result<Vec<String>, Failure> {
    let mut schemas: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in listed {
        *schemas
            .entry(entry.name.schema.as_deref().unwrap_or("main"))
            .or_default() += 1;
    }
    for (schema, count) in &schemas {
        render::talk(&format!("  {schema}: {count} tables and views\n"));
    }
    let default = match schemas.contains_key("public") {
        true => "public.*",
        false => "*.*",
    };
    let answer = asker.ask(
        "Which tables? Names and globs, with commas between",
        Some(default),
    )?;
    Ok(answer
        .split(',')
        .map(|part| part.trim().to_owned())
        .collect())
}

fn matching(mut listed: Vec<TableEntry>, patterns: &[String]) -> Result<Vec<TableEntry>, Failure> {
    let parsed: Result<Vec<_>, _> = patterns
        .iter()
        .map(|text| TablePattern::parse(text))
        .collect();
    let parsed = parsed.map_err(|why| {
        Failure::new(exit_code::CONFIG, format!("`--tables`: {why}"))
            .with_hint("for example 'public.*', 'public.ref_*' or '*.*', in quotes")
    })?;
    let schemas: BTreeSet<String> = listed
        .iter()
        .map(|entry| format!("`{}.*`", entry.name.schema.as_deref().unwrap_or("main")))
        .collect();
    for pattern in &parsed {
        if !listed.iter().any(|entry| pattern.matches(&entry.name)) {
            let message = format!("no table of the source matches `{}`", pattern.text);
            return Err(
                Failure::new(exit_code::CONFIG, message).with_hint(match schemas.len() {
                    0 => "the source shows this user no table at all".to_owned(),
                    _ => format!(
                        "there are tables in {}",
                        schemas.into_iter().collect::<Vec<_>>().join(", ")
                    ),
                }),
            );
        }
    }
    if !parsed.is_empty() {
        listed.retain(|entry| parsed.iter().any(|pattern| pattern.matches(&entry.name)));
    }
    if listed.is_empty() {
        return Err(
            Failure::new(exit_code::CONFIG, "the source has no table to copy")
                .with_hint("check the name of the database; `GRANT USAGE ON SCHEMA` shows more"),
        );
    }
    Ok(listed)
}

/// Where rows go if tables of the same name would not do.
fn destination(ends: &Ends, tables: &[ScaffoldTable]) -> Option<(String, String)> {
    let is_table = |table: &&ScaffoldTable| {
        matches!(
            table.description.kind,
            TableKind::Table | TableKind::Partitioned
        )
    };
    let names = || {
        tables
            .iter()
            .filter(is_table)
            .map(|table| &table.description.name)
    };
    let has_schemas = ends.target.connector.info().capabilities.schemas;
    let is_same = ends.source.address.is_some() && ends.source.address == ends.target.address;
    if is_same {
        let to = if has_schemas {
            "{schema}_copy.{table}"
        } else {
            "{table}_copy"
        };
        let why = "Source and target are one database, so the copies get names of their own.";
        return Some((to.to_owned(), why.to_owned()));
    }
    let distinct: BTreeSet<String> = names().map(|name| name.name.to_lowercase()).collect();
    if !has_schemas && distinct.len() < names().count() {
        let why = "Tables of several schemas have one name, and the target has no schemas.";
        return Some(("{schema}_{table}".to_owned(), why.to_owned()));
    }
    None
}

/// Tables of another name, for a target that has some of the same name already.
pub(super) fn other_names(ends: &Ends, tables: &[ScaffoldTable]) -> (String, String) {
    let schemas: BTreeSet<_> = tables
        .iter()
        .map(|table| &table.description.name.schema)
        .collect();
    let source = &ends.source.name;
    let has_schemas = ends.target.connector.info().capabilities.schemas;
    let to = match (has_schemas, schemas.len() > 1) {
        (true, false) => format!("{source}.{{table}}"),
        (true, true) => format!("{source}_{{schema}}.{{table}}"),
        (false, false) => format!("{source}_{{table}}"),
        (false, true) => format!("{source}_{{schema}}_{{table}}"),
    };
    let why = "The target has tables of the same name that hold rows or belong to another pipeline; \
         syncset does not mix with them, so the copies get names of their own.";
    (to, why.to_owned())
}
