//! The order of tables: parents by foreign keys before their children.

use crate::plan::TablePlan;

/// Sorts plans so that a table comes after those its foreign keys point to. Otherwise, and within
/// a cycle, they stay in the order they had.
pub(crate) fn parents_first(plans: Vec<TablePlan>) -> Vec<TablePlan> {
    let mut waiting = plans;
    let mut sorted = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let free = waiting
            .iter()
            .position(|plan| {
                waiting.iter().all(|other| {
                    let (child, parent) = (&plan.read.description, &other.read.description);
                    child.name == parent.name
                        || child
                            .foreign_keys
                            .iter()
                            .all(|key| key.parent != parent.name)
                })
            })
            // Only cycles are left: one of them has to be first.
            .unwrap_or(0);
        sorted.push(waiting.remove(free));
    }
    sorted
}
