//! Which columns of a table are masked.

use crate::nearest::columns_of;
use crate::outputs::Derivation;
use crate::planner::Planner;
use crate::problem::Problems;
use crate::spec::MaskRule;
use crate::table_pattern::NamePattern;
use std::collections::BTreeMap;
use syncset_connector::Mask;

/// Masks by the names of columns at the source, and of computed columns.
pub(crate) type Masks = BTreeMap<String, Mask>;

impl Planner<'_> {
    /// The masks of the selected and computed columns. A name beats a glob.
    pub(crate) fn masks(
        &self,
        columns: &[String],
        derivations: &[Derivation],
        problems: &mut Problems,
    ) -> Masks {
        let computed = derivations.iter().map(|derivation| &derivation.name.text);
        let names: Vec<&String> = columns.iter().chain(computed).collect();
        for rule in &self.settings.mask {
            self.check_mask_name(rule, &names, problems);
        }
        let mut masks = Masks::new();
        for name in names {
            if let Some(mask) = self.mask_of(name, problems) {
                masks.insert(name.clone(), mask);
            }
        }
        self.refuse_leaks(derivations, &masks, problems);
        masks
    }

    /// Whether the file masks a column of this name.
    pub(crate) fn is_masked(&self, name: &str) -> bool {
        let mut rules = self.settings.mask.iter();
        rules.any(|rule| match NamePattern::parse(&rule.columns.text) {
            Ok(pattern) => rule.columns.text == name || pattern.matches(name),
            Err(_) => false,
        })
    }

    fn mask_of(&self, name: &str, problems: &mut Problems) -> Option<Mask> {
        let rules = || self.settings.mask.iter();
        if let Some(exact) = rules().find(|rule| rule.columns.text == name) {
            return Some(exact.mask.clone());
        }
        let meant = |rule: &&MaskRule| match NamePattern::parse(&rule.columns.text) {
            Ok(pattern) => !pattern.is_exact() && pattern.matches(name),
            Err(_) => false,
        };
        let mut found = rules().filter(meant);
        let (first, second) = (found.next()?, found.next());
        if let Some(second) = second
            && second.mask != first.mask
        {
            problems.hinted(
                second.columns.place,
                format!(
                    "`{}` and `{}` both mask `{name}` of `{}`",
                    first.columns.text, second.columns.text, self.selected.stream
                ),
                format!("name the column: `mask: {{ {name}: .. }}`"),
            );
        }
        Some(first.mask.clone())
    }

    /// A mask whose column is not there hides nothing: a typing mistake would show a column.
    fn check_mask_name(&self, rule: &MaskRule, names: &[&String], problems: &mut Problems) {
        let name = &rule.columns;
        match NamePattern::parse(&name.text) {
            Err(message) => problems.add(name.place, message),
            // A glob may be meant for columns that are still to come.
            Ok(pattern) if !pattern.is_exact() => {}
            Ok(_) if names.iter().any(|known| **known == name.text) => {}
            // Refused where the plugin is: without the mask it would see the values.
            Ok(_) if self.is_read_by_plugin(&name.text) => {}
            Ok(_) if self.table.column(&name.text).is_some() => problems.hinted(
                name.place,
                format!("`mask` names `{}`, which is not selected", name.text),
                "add it to `columns`, or remove it here",
            ),
            Ok(_) if self.was_column(&name.text) => {}
            Ok(_) if self.may_be_added() => problems.hinted(
                name.place,
                format!(
                    "`mask` names `{}`, which is no column of `{}`; masks do not reach columns that \
                     plugins add",
                    name.text, self.selected.stream
                ),
                format!(
                    "mask what the plugin reads, or let it hide `{}` itself; {}",
                    name.text,
                    columns_of(self.table, &name.text)
                ),
            ),
            Ok(_) => self.no_column(name, problems),
        }
    }

    /// A column that is computed from a masked one shows what the mask hides.
    fn refuse_leaks(&self, derivations: &[Derivation], masks: &Masks, problems: &mut Problems) {
        let shown = derivations
            .iter()
            .filter(|it| !masks.contains_key(&it.name.text));
        for derivation in shown {
            let name = &derivation.name;
            let mut read = derivation.expression.columns.iter();
            if let Some(masked) = read.find(|column| masks.contains_key(*column)) {
                problems.hinted(
                    name.place,
                    format!(
                        "`derive` of `{}` in `{}` computes from `{masked}`, which is masked",
                        name.text, self.selected.stream
                    ),
                    format!("mask `{}` too, or compute it from other columns", name.text),
                );
            }
        }
    }

    /// Rows are found by their key on both sides, so it passes as it is.
    pub(crate) fn refuse_masked_key(&self, key: &[String], masks: &Masks, problems: &mut Problems) {
        for name in key.iter().filter(|name| masks.contains_key(*name)) {
            problems.hinted(
                self.mask_place(name),
                format!(
                    "`{name}` is part of the key of `{}`, and keys pass as they are",
                    self.selected.stream
                ),
                "name another key with `key:`, or leave the mask out",
            );
        }
    }

    fn mask_place(&self, name: &str) -> crate::problem::Place {
        let mut rules = self.settings.mask.iter();
        let exact = rules.find(|rule| rule.columns.text == name);
        exact.map_or(self.selected.place, |rule| rule.columns.place)
    }
}
