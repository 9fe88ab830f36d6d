//! Which of the tables that exist a pipeline is about.

use crate::nearest::listed;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{PipelineSpec, TableRule, TableSettings};
use crate::table_pattern::{Part, TablePattern, display, split_parts};
use std::collections::BTreeMap;
use std::time::Duration;
use syncset_connector::{TableEntry, TableKind, TableName};

/// A table of the source that the pipeline copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Name of the stream: the source table as the config file would write it in full.
    pub stream: String,
    /// The source table.
    pub table: TableName,
    /// Index of its entry in [`PipelineSpec::tables`].
    pub rule: usize,
    /// Where that entry is.
    pub place: Place,
    /// What the stream was loaded under, as [`TablePlan::selection_text`](crate::TablePlan) was
    /// stored; `None` if nothing is.
    pub loaded_under: Option<String>,
}

/// A table that the file names and that was loaded, and that the source has no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneTable {
    /// Name of the stream.
    pub stream: String,
    /// Index of its entry in [`PipelineSpec::tables`].
    pub rule: usize,
    /// Where that entry is.
    pub place: Place,
}

/// The tables that the file names by their exact names, that have been loaded as one of `streams`,
/// and that are not among those that exist.
pub fn gone_tables(spec: &PipelineSpec, listed: &[TableEntry], streams: &[&str]) -> Vec<GoneTable> {
    let means = |rule: &TableRule, name: &TableName| {
        rule.pattern.matches(name) || rule.pattern.names_in_any_schema(name)
    };
    let rules = spec.tables.iter().enumerate();
    let rules = rules.filter(|(_, rule)| {
        let exists = listed.iter().any(|entry| means(rule, &entry.name));
        rule.pattern.is_exact() && rule.settings.is_some() && !exists
    });
    let gone = rules.filter_map(|(index, rule)| {
        let mut streams = streams.iter();
        let stream =
            streams.find(|stream| table_of(stream).is_some_and(|table| means(rule, &table)))?;
        Some(GoneTable {
            stream: (*stream).to_owned(),
            rule: index,
            place: rule.place,
        })
    });
    gone.collect()
}

/// Finds the tables that a pipeline is about among those that exist, but for those that are gone.
///
/// An exact name beats a glob. Globs match tables and partitioned tables; views, materialised
/// views and foreign tables have to be named. The result is in the order of `listed`.
///
/// # Errors
/// All problems: names and globs without a table, tables that two globs match, bare names that
/// several schemas have.
pub fn select_tables(
    spec: &PipelineSpec,
    listed: &[TableEntry],
    gone: &[GoneTable],
) -> Result<Vec<Selected>, Vec<Problem>> {
    let mut problems = Problems::of(&spec.path);
    // Index of the table in `listed` -> index of its rule.
    let mut chosen: BTreeMap<usize, usize> = BTreeMap::new();
    for (rule_index, rule) in spec.tables.iter().enumerate() {
        if !rule.pattern.is_exact() || gone.iter().any(|gone| gone.rule == rule_index) {
            continue;
        }
        let Some(table) = named_table(rule, listed, &mut problems) else {
            continue;
        };
        if let Some(other) = chosen.insert(table, rule_index) {
            problems.hinted(
                rule.place,
                format!(
                    "`{}` and `{}` name the same table",
                    spec.tables[other].pattern.text, rule.pattern.text
                ),
                "remove one of them",
            );
        }
    }
    let named: Vec<usize> = chosen.keys().copied().collect();
    for (rule_index, rule) in spec.tables.iter().enumerate() {
        if rule.pattern.is_exact() {
            continue;
        }
        let mut matches = 0;
        for (table, entry) in listed.iter().enumerate() {
            if !is_table(entry.kind) || !rule.pattern.matches(&entry.name) {
                continue;
            }
            matches += 1;
            if named.contains(&table) {
                continue;
            }
            if let Some(other) = chosen.insert(table, rule_index) {
                problems.hinted(
                    rule.place,
                    format!(
                        "`{}` and `{}` both match `{}`",
                        spec.tables[other].pattern.text,
                        rule.pattern.text,
                        display(&entry.name)
                    ),
                    "name the table in an entry of its own, or write narrower globs",
                );
            }
        }
        if matches == 0 {
            no_match(rule, listed, &mut problems);
        }
    }
    let selected: Vec<_> = chosen
        .into_iter()
        .filter(|(_, rule)| spec.tables[*rule].settings.is_some())
        .map(|(table, rule)| Selected {
            stream: display(&listed[table].name),
            table: listed[table].name.clone(),
            rule,
            place: spec.tables[rule].place,
            loaded_under: None,
        })
        .collect();
    problems.finish(Some(selected))
}

/// Whether the pipeline is about the table that made this stream, as far as its file tells
/// without the source: a bare name may mean a table of any schema.
pub fn is_selected(spec: &PipelineSpec, stream: &str) -> bool {
    settings_of(spec, stream).is_some()
}

/// How long after a search of this stream for deleted rows the next one is due, as far as the file
/// tells without the source; `None`: it is not searched.
pub fn find_deletes(spec: &PipelineSpec, stream: &str) -> Option<Duration> {
    let search = settings_of(spec, stream)?.capture.find_deletes;
    search.map(|search| search.every)
}

fn settings_of<'a>(spec: &'a PipelineSpec, stream: &str) -> Option<&'a TableSettings> {
    let table = table_of(stream)?;
    let exact = spec.tables.iter().find(|rule| {
        rule.pattern.is_exact()
            && (rule.pattern.matches(&table) || rule.pattern.names_in_any_schema(&table))
    });
    let mut globs = spec.tables.iter();
    let rule = exact
        .or_else(|| globs.find(|rule| !rule.pattern.is_exact() && rule.pattern.matches(&table)));
    rule?.settings.as_ref()
}

/// The stream that a name on a command line means, among `streams`: written whole, or without its
/// schema where that is `public` or only one of them has the name.
pub fn named_stream<'a>(streams: &[&'a str], name: &str) -> Option<&'a str> {
    let pattern = TablePattern::parse(name).ok()?;
    let tables: Vec<(&'a str, TableName)> = streams
        .iter()
        .filter_map(|stream| Some((*stream, table_of(stream)?)))
        .collect();
    let exact = || streams.iter().find(|stream| **stream == name).copied();
    let matching = || {
        tables
            .iter()
            .find(|(_, table)| pattern.is_exact() && pattern.matches(table))
    };
    let mut elsewhere = tables
        .iter()
        .filter(|(_, table)| pattern.names_in_any_schema(table));
    exact()
        .or_else(|| matching().map(|(stream, _)| *stream))
        .or_else(|| match (elsewhere.next(), elsewhere.next()) {
            (Some((stream, _)), None) => Some(*stream),
            _ => None,
        })
}

/// The table that made a stream.
fn table_of(stream: &str) -> Option<TableName> {
    let parts = split_parts(stream).ok()?;
    let mut names = parts.into_iter().map(|part| match part {
        Part::Quoted(name) | Part::Plain(name) => name,
    });
    match (names.next(), names.next()) {
        (Some(schema), Some(name)) => Some(TableName::in_schema(schema, name)),
        (Some(name), None) => Some(TableName::bare(name)),
        (None, _) => None,
    }
}

/// The table that an exact name means. A bare name is looked for in `public` first, then in all
/// schemas if only one of them has it.
fn named_table(rule: &TableRule, entries: &[TableEntry], problems: &mut Problems) -> Option<usize> {
    if let Some(index) = entries
        .iter()
        .position(|entry| rule.pattern.matches(&entry.name))
    {
        return Some(index);
    }
    let elsewhere: Vec<usize> = (0..entries.len())
        .filter(|index| rule.pattern.names_in_any_schema(&entries[*index].name))
        .collect();
    match elsewhere.as_slice() {
        [index] => Some(*index),
        [] => {
            let names: Vec<_> = entries.iter().map(|entry| display(&entry.name)).collect();
            let message = format!("no table `{}` in the source", rule.pattern.text);
            if names.is_empty() {
                problems.hinted(
                    rule.place,
                    message,
                    "the source shows no table at all: check the database and the rights of the \
                     user",
                );
            } else {
                let names = listed(&rule.pattern.text, names.iter().map(String::as_str));
                problems.hinted(rule.place, message, format!("the source has {names}"));
            }
            None
        }
        several => {
            let names = several
                .iter()
                .map(|index| format!("`{}`", display(&entries[*index].name)))
                .collect::<Vec<_>>()
                .join(", ");
            problems.hinted(
                rule.place,
                format!("several schemas have a table `{}`", rule.pattern.text),
                format!("write one of {names}"),
            );
            None
        }
    }
}

fn no_match(rule: &TableRule, entries: &[TableEntry], problems: &mut Problems) {
    let message = format!("`{}` matches no table of the source", rule.pattern.text);
    let others: Vec<_> = entries
        .iter()
        .filter(|entry| rule.pattern.matches(&entry.name))
        .map(|entry| display(&entry.name))
        .collect();
    let hint = if !others.is_empty() {
        let names = listed(&rule.pattern.text, others.iter().map(String::as_str));
        format!("globs do not match views and foreign tables; name them: {names}")
    } else if entries.is_empty() {
        "the source shows no table at all: check the database and the rights of the user".into()
    } else {
        let names: Vec<_> = entries.iter().map(|entry| display(&entry.name)).collect();
        let names = listed(&rule.pattern.text, names.iter().map(String::as_str));
        format!("the source has {names}")
    };
    problems.hinted(rule.place, message, hint);
}

fn is_table(kind: TableKind) -> bool {
    matches!(kind, TableKind::Table | TableKind::Partitioned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_a_command_line_mean_one_stream_or_none() {
        let streams = [
            "public.orders",
            "sales.orders",
            "sales.lines",
            "a.items",
            "b.items",
            "public.\"Order.Items\"",
            "shop",
        ];
        for (name, expected) in [
            ("public.orders", Some("public.orders")),
            ("orders", Some("public.orders")),
            ("sales.orders", Some("sales.orders")),
            ("lines", Some("sales.lines")),
            ("items", None),
            ("\"Order.Items\"", Some("public.\"Order.Items\"")),
            ("main.shop", Some("shop")),
            ("shop", Some("shop")),
            ("public.*", None),
            ("Orders", None),
            ("a.b.c", None),
        ] {
            assert_eq!(named_stream(&streams, name), expected, "{name}");
        }
    }
}
