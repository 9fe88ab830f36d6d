//! Which of the tables that exist a pipeline is about.

use crate::nearest::listed;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{PipelineSpec, TableRule};
use crate::table_pattern::{Part, display, split_parts};
use std::collections::BTreeMap;
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
}

/// Finds the tables that a pipeline is about among those that exist.
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
) -> Result<Vec<Selected>, Vec<Problem>> {
    let mut problems = Problems::of(&spec.path);
    // Index of the table in `listed` -> index of its rule.
    let mut chosen: BTreeMap<usize, usize> = BTreeMap::new();
    for (rule_index, rule) in spec.tables.iter().enumerate() {
        if !rule.pattern.is_exact() {
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
        })
        .collect();
    problems.finish(Some(selected))
}

/// Whether the pipeline is about the table that made this stream, as far as its file tells
/// without the source: a bare name may mean a table of any schema.
pub fn is_selected(spec: &PipelineSpec, stream: &str) -> bool {
    let Ok(parts) = split_parts(stream) else {
        return false;
    };
    let mut names = parts.into_iter().map(|part| match part {
        Part::Quoted(name) | Part::Plain(name) => name,
    });
    let table = match (names.next(), names.next()) {
        (Some(schema), Some(name)) => TableName::in_schema(schema, name),
        (Some(name), None) => TableName::bare(name),
        (None, _) => return false,
    };
    let exact = spec.tables.iter().find(|rule| {
        rule.pattern.is_exact()
            && (rule.pattern.matches(&table) || rule.pattern.names_in_any_schema(&table))
    });
    let mut globs = spec.tables.iter();
    let rule = exact
        .or_else(|| globs.find(|rule| !rule.pattern.is_exact() && rule.pattern.matches(&table)));
    rule.is_some_and(|rule| rule.settings.is_some())
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
