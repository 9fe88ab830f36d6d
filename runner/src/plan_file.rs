//! A plan that a person has read, and whether the world is still the one it was made for.

use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::planned::PlannedTable;
use crate::rules::Rules;
use crate::schema_diff::{ChangeEntry, SchemaDiff, TableDiff};
use serde::Deserialize;
use std::path::Path;
use syncset_connector::{PipelineKey, PipelineState, TableFacts};

/// What `schema diff --output json` printed.
#[derive(Debug, Deserialize)]
pub(crate) struct PlanFile {
    project: String,
    pipeline: String,
    syncset: String,
    tables: Vec<TableDiff>,
}

impl PlanFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Exit 2 if it cannot be read, or is no plan of this pipeline; 5 if another version made it.
    pub(crate) fn read(path: &Path, key: &PipelineKey) -> Result<Self, Failure> {
        let shown = path.display();
        let make = format!(
            "make one with `syncset schema diff {} --output json > {shown}`",
            key.pipeline
        );
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the plan `{shown}`: {error}");
            Failure::new(exit_code::CONFIG, message).with_hint(make.clone())
        })?;
        let plan: Self = serde_json::from_str(&text).map_err(|error| {
            let message = format!("`{shown}` is no plan: {error}");
            Failure::new(exit_code::CONFIG, message).with_hint(make.clone())
        })?;
        let of = format!("{}/{}", plan.project, plan.pipeline);
        if of != key.to_string() {
            let message = format!("`{shown}` is a plan of pipeline `{of}`, not of `{key}`");
            return Err(Failure::new(exit_code::CONFIG, message).with_hint(make));
        }
        if plan.syncset != env!("CARGO_PKG_VERSION") {
            let message = format!(
                "`{shown}` was made by syncset {}, and this is {}; nothing was changed",
                plan.syncset,
                env!("CARGO_PKG_VERSION")
            );
            return Err(Failure::new(exit_code::APPROVAL, message).with_hint(make));
        }
        Ok(plan)
    }

    /// Its tables, as the pipeline names them; if `names` is not empty, only those that it means.
    pub(crate) fn tables_among(&self, names: &[String]) -> Vec<String> {
        let is_meant = |table: &str, name: &String| {
            let own = table.rsplit_once('.').map_or(table, |(_, own)| own);
            table == name || own.trim_matches('"') == name
        };
        let tables = self.tables.iter().map(|table| &table.table);
        let chosen = tables
            .filter(|table| names.is_empty() || names.iter().any(|name| is_meant(table, name)));
        chosen.cloned().collect()
    }

    fn table(&self, name: &str) -> Option<&TableDiff> {
        self.tables.iter().find(|table| table.table == name)
    }

    /// What is not any more as it was, for each of these tables.
    pub(crate) fn outdated(&self, tables: &[String], now: &SchemaDiff) -> Vec<Failure> {
        let tables = tables.iter().filter_map(|name| self.table(name));
        let outdated = tables.filter_map(|planned| {
            let mut found = now.tables.iter();
            let found = found.find(|table| table.table == planned.table);
            outdated(planned, found, &self.pipeline)
        });
        outdated.collect()
    }

    /// Looks at one table once more, under the lease. Returns what the target table has to be when
    /// it is altered.
    ///
    /// # Errors
    /// Exit 5 with all that differs from the plan.
    pub(crate) async fn still_holds(
        &self,
        ends: &Ends,
        table: &PlannedTable,
        state: &PipelineState,
        rules: Rules<'_>,
    ) -> Result<Option<Box<TableFacts>>, Failures> {
        let Some(planned) = self.table(table.stream()) else {
            return Ok(None);
        };
        let unapproved = Rules {
            approved: &[],
            ..rules
        };
        let found = TableDiff::of(ends, table, state, unapproved).await?;
        match outdated(planned, found.as_ref(), &self.pipeline) {
            Some(failure) => Err(failure.into()),
            None => Ok(planned.world.target.clone().map(Box::new)),
        }
    }
}

fn outdated(planned: &TableDiff, now: Option<&TableDiff>, pipeline: &str) -> Option<Failure> {
    let differences = match now {
        Some(now) => differences(planned, now),
        None => vec!["nothing is left to be done about it".to_owned()],
    };
    if differences.is_empty() {
        return None;
    }
    let message = format!(
        "table `{}` is not any more what the plan was made for: {}; nothing was changed",
        planned.table,
        differences.join("; ")
    );
    Some(Failure::new(exit_code::APPROVAL, message).with_hint(format!(
        "make a new plan: syncset schema diff {pipeline} --output json > FILE; read it, then approve it"
    )))
}

/// All that differs between a plan and what is there, as parts of a sentence.
fn differences(planned: &TableDiff, now: &TableDiff) -> Vec<String> {
    let (then, world) = (&planned.world, &now.world);
    let of_source = then.source.differences(&world.source).into_iter();
    let mut found: Vec<String> = of_source.map(|it| format!("at the source {it}")).collect();
    match (&then.target, &world.target) {
        (Some(then), Some(now)) => {
            let of_target = then.differences(now).into_iter();
            found.extend(of_target.map(|it| format!("at the target {it}")));
        }
        (None, None) => {}
        (Some(_), None) => found.push("the target table is gone".to_owned()),
        (None, Some(_)) => found.push("the target table is there again".to_owned()),
    }
    if planned.target != now.target {
        found.push(format!(
            "its target is `{}`, was `{}`",
            now.target, planned.target
        ));
    }
    let edits = |table: &TableDiff| {
        let edits = table.edited.iter();
        let edits = edits.map(|it| (it.part.clone(), it.before.clone(), it.after.clone()));
        edits.collect::<Vec<_>>()
    };
    let is_edited = edits(planned) != edits(now);
    if is_edited || found.is_empty() && then.selection != world.selection {
        found.push("its selection in the file was edited".to_owned());
    }
    if found.is_empty() && is_decided_otherwise(planned, now) {
        found.push("what is to be done about it is something else".to_owned());
    }
    found
}

/// Whether other changes are found, the file says something else about them, or other statements
/// follow from them.
fn is_decided_otherwise(planned: &TableDiff, now: &TableDiff) -> bool {
    let changes = |table: &TableDiff| {
        let plain = table.changes.iter().map(|change| ChangeEntry {
            sentence: String::new(),
            ..change.clone()
        });
        plain.collect::<Vec<_>>()
    };
    let statements = |table: &TableDiff| {
        let statements = table.statements.iter().map(|it| it.sql.clone());
        statements.collect::<Vec<_>>()
    };
    changes(planned) != changes(now) || statements(planned) != statements(now)
}
