//! How the tables of a plan depend on each other at the target. Pure.

use crate::planned::PlannedTable;
use syncset_connector::{Filter, TableName};
use syncset_pipeline::parents_first;

/// Sorts tables so that rows are written after the rows they refer to, by the foreign keys of the
/// source and those of the target, and notes keys that will refuse rows.
pub(crate) fn arrange(mut tables: Vec<PlannedTable>) -> Vec<PlannedTable> {
    let at_target: Vec<Vec<usize>> = tables
        .iter()
        .map(|table| places_at_target(&tables, &table.status.parents))
        .collect();
    let parents: Vec<Vec<usize>> = tables
        .iter()
        .zip(&at_target)
        .map(|(table, at_target)| {
            let keys = &table.plan.read.description.foreign_keys;
            let place = |name: &TableName| {
                let same = |other: &PlannedTable| other.plan.read.description.name == *name;
                tables.iter().position(same)
            };
            let at_source = keys.iter().filter_map(|key| place(&key.parent));
            at_source.chain(at_target.iter().copied()).collect()
        })
        .collect();
    for (child, parents) in at_target.iter().enumerate() {
        for &parent in parents.iter().filter(|&&parent| parent != child) {
            let note = filtered_parent(&tables[child], &tables[parent]);
            tables[child].notes.extend(note);
        }
    }
    for (child, parents) in parents.iter().enumerate() {
        let others = parents.iter().filter(|&&parent| parent != child);
        let streams = others.map(|&parent| tables[parent].stream().to_owned());
        tables[child].parents = streams.collect();
    }
    let mut tables: Vec<Option<PlannedTable>> = tables.into_iter().map(Some).collect();
    let sorted = parents_first(&parents).into_iter();
    sorted.filter_map(|place| tables[place].take()).collect()
}

/// Where these target tables are among the tables. Stores without schemas ignore case.
fn places_at_target(tables: &[PlannedTable], names: &[TableName]) -> Vec<usize> {
    let place = |name: &TableName| {
        tables.iter().position(|table| {
            let own = &table.target.name;
            match (&own.schema, &name.schema) {
                (Some(_), Some(_)) => own == name,
                _ => own.name.eq_ignore_ascii_case(&name.name),
            }
        })
    };
    names.iter().filter_map(place).collect()
}

/// Nobody but the data can tell whether a condition on the parent leaves out rows that the child
/// refers to.
fn filtered_parent(child: &PlannedTable, parent: &PlannedTable) -> Option<String> {
    let is_filtered = parent.plan.read.filter != Filter::All || parent.plan.residual.is_some();
    is_filtered.then(|| {
        format!(
            "a foreign key of `{}` refuses rows whose parent in `{}` is not selected by its `where`; \
             select rows of `{}` by the same condition",
            child.target.name,
            parent.target.name,
            child.stream(),
        )
    })
}
