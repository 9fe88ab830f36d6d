//! Columns: which are selected, computed and renamed, and what they are called at the target.

use crate::mask_plan::Masks;
use crate::nearest::columns_of;
use crate::plan::{Output, OutputValue, folded};
use crate::planner::Planner;
use crate::problem::{Place, Problems};
use crate::spec::{ColumnChoice, Name};
use crate::sql::{Resolved, movement, resolve};
use crate::table_pattern::NamePattern;
use std::collections::BTreeMap;

/// A computed column.
#[derive(Debug)]
pub(crate) struct Derivation {
    pub(crate) name: Name,
    pub(crate) expression: Resolved,
}

impl Planner<'_> {
    /// The selected columns: in the order of the file for a list, else of the table.
    pub(crate) fn selected_columns(&self, problems: &mut Problems) -> Vec<String> {
        let all = || self.table.columns.iter().map(|column| column.name.clone());
        let chosen: Vec<String> = match &self.settings.columns {
            ColumnChoice::All => all().collect(),
            ColumnChoice::Only(entries) => {
                let mut chosen: Vec<String> = Vec::new();
                for entry in entries {
                    let found = self.matching(entry, problems);
                    if found.is_empty() && is_glob(entry) && !self.was_column(&entry.text) {
                        self.no_column(entry, problems);
                    }
                    for column in found {
                        if !chosen.contains(&column) {
                            chosen.push(column);
                        }
                    }
                }
                chosen
            }
            ColumnChoice::Except(entries) => {
                let excluded: Vec<_> = entries
                    .iter()
                    .flat_map(|entry| self.matching(entry, problems))
                    .collect();
                let kept: Vec<_> = all().filter(|name| !excluded.contains(name)).collect();
                if kept.is_empty()
                    && let Some(first) = entries.first()
                {
                    let stream = &self.selected.stream;
                    problems.hinted(
                        first.place,
                        format!("`exclude` leaves no column of `{stream}`"),
                        "exclude fewer columns, or `skip` the table",
                    );
                }
                kept
            }
        };
        chosen
    }

    /// The columns that an entry means. A missing exact name is a problem: a typing mistake under
    /// `exclude` would copy what must not be copied.
    fn matching(&self, entry: &Name, problems: &mut Problems) -> Vec<String> {
        if let Some(column) = self.table.column(&entry.text) {
            return vec![column.name.clone()];
        }
        match NamePattern::parse(&entry.text) {
            Ok(pattern) if !pattern.is_exact() => self
                .table
                .columns
                .iter()
                .map(|column| column.name.clone())
                .filter(|name| pattern.matches(name))
                .collect(),
            Ok(_) => {
                if !self.was_column(&entry.text) {
                    self.no_column(entry, problems);
                }
                Vec::new()
            }
            Err(message) => {
                problems.add(entry.place, message);
                Vec::new()
            }
        }
    }

    /// Notes that a name or glob is no column of the table.
    pub(crate) fn no_column(&self, name: &Name, problems: &mut Problems) {
        problems.hinted(
            name.place,
            format!("`{}` has no column `{}`", self.selected.stream, name.text),
            columns_of(self.table, &name.text),
        );
    }

    /// The computed columns.
    pub(crate) fn derivations(
        &self,
        columns: &[String],
        problems: &mut Problems,
    ) -> Vec<Derivation> {
        let stream = &self.selected.stream;
        let mut found = Vec::new();
        for (name, sql) in &self.settings.derive {
            if columns.contains(&name.text) {
                problems.hinted(
                    name.place,
                    format!("`{stream}` has a selected column `{}` already", name.text),
                    "give the computed column another name, or do not select that column",
                );
            }
            if let Some(function) = movement(&sql.text).volatile {
                problems.hinted(
                    sql.place,
                    format!(
                        "`{}`: `{function}` answers differently each time",
                        name.text
                    ),
                    "the rows would change in every run; compute from columns only",
                );
            }
            match resolve(&sql.text, self.table) {
                Ok(expression) => found.push(Derivation {
                    name: name.clone(),
                    expression,
                }),
                Err(errors) => {
                    for error in errors {
                        self.sql_problem(
                            &format!("`derive` of `{}`", name.text),
                            sql,
                            error,
                            problems,
                        );
                    }
                }
            }
        }
        found
    }

    /// The target's columns: selected ones, then computed ones, renamed.
    pub(crate) fn outputs(
        &self,
        columns: &[String],
        derivations: &[Derivation],
        masks: &Masks,
        problems: &mut Problems,
    ) -> Vec<Output> {
        self.check_renames(columns, derivations, problems);
        let plain = columns
            .iter()
            .map(|column| (column.as_str(), OutputValue::Column(column.clone())));
        let derived = derivations.iter().map(|derivation| {
            let value = OutputValue::Derived {
                name: derivation.name.text.clone(),
                sql: derivation.expression.sql.clone(),
            };
            (derivation.name.text.as_str(), value)
        });
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let mut outputs = Vec::new();
        for (name, value) in plain.chain(derived) {
            let output = self.target_name(name);
            if let Some(first) = taken.insert(folded(self.spec, &output), name)
                && first != name
            {
                problems.hinted(
                    self.rename_place(name)
                        .or(self.rename_place(first))
                        .unwrap_or(self.selected.place),
                    format!("`{first}` and `{name}` are both called `{output}` at the target"),
                    "give one of them another name with `rename`",
                );
            }
            let value = match masks.get(name) {
                Some(mask) => OutputValue::Masked(Box::new(value), mask.clone()),
                None => value,
            };
            outputs.push(Output {
                name: output,
                value,
            });
        }
        outputs
    }

    /// What a column is called at the target.
    pub(crate) fn target_name(&self, name: &str) -> String {
        self.settings
            .rename
            .iter()
            .find(|(from, _)| from.text == name)
            .map_or_else(|| name.to_owned(), |(_, to)| to.text.clone())
    }

    pub(crate) fn rename_place(&self, name: &str) -> Option<Place> {
        self.settings
            .rename
            .iter()
            .find(|(from, _)| from.text == name)
            .map(|(_, to)| to.place)
    }

    fn check_renames(
        &self,
        columns: &[String],
        derivations: &[Derivation],
        problems: &mut Problems,
    ) {
        for (from, _) in &self.settings.rename {
            let is_derived = self
                .settings
                .derive
                .iter()
                .any(|(name, _)| name.text == from.text)
                || derivations.iter().any(|known| known.name.text == from.text);
            if is_derived || columns.contains(&from.text) || self.may_be_added() {
                continue;
            }
            if self.table.column(&from.text).is_some() {
                problems.hinted(
                    from.place,
                    format!("`rename` names `{}`, which is not selected", from.text),
                    "add it to `columns`, or remove it here",
                );
            } else if !self.was_column(&from.text) {
                self.no_column(from, problems);
            }
        }
    }
}

fn is_glob(entry: &Name) -> bool {
    NamePattern::parse(&entry.text).is_ok_and(|pattern| !pattern.is_exact())
}

/// Whether an entry is this very name.
pub(crate) fn is_named(entries: &[Name], column: &str) -> bool {
    entries.iter().any(|entry| entry.text == column)
}
