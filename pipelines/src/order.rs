//! The order of tables: parents by foreign keys before their children.

use crate::plan::TablePlan;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The order in which each table comes after its parents. `parents` names the parents of each
/// table by their places; a table is no parent of its own. Otherwise, and within a cycle, tables
/// stay in the order they have.
pub fn parents_first(parents: &[Vec<usize>]) -> Vec<usize> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
    let mut missing = vec![0_usize; parents.len()];
    for (child, own) in parents.iter().enumerate() {
        for &parent in own.iter().filter(|&&parent| parent != child) {
            children[parent].push(child);
            missing[child] += 1;
        }
    }
    let free = (0..parents.len()).filter(|&table| missing[table] == 0);
    let mut free: BinaryHeap<Reverse<usize>> = free.map(Reverse).collect();
    let mut placed = vec![false; parents.len()];
    let mut order = Vec::with_capacity(parents.len());
    let mut first_unplaced = 0;
    while order.len() < parents.len() {
        let next = free.pop().map_or_else(
            || {
                // Only cycles are left: one of them has to be first.
                while placed[first_unplaced] {
                    first_unplaced += 1;
                }
                first_unplaced
            },
            |Reverse(table)| table,
        );
        if std::mem::replace(&mut placed[next], true) {
            continue;
        }
        order.push(next);
        for &child in &children[next] {
            missing[child] = missing[child].saturating_sub(1);
            if missing[child] == 0 {
                free.push(Reverse(child));
            }
        }
    }
    order
}

/// Sorts plans by the foreign keys of the source.
pub(crate) fn by_source(plans: Vec<TablePlan>) -> Vec<TablePlan> {
    let names = plans.iter().enumerate();
    let places: BTreeMap<_, _> = names
        .map(|(place, plan)| (plan.read.description.name.clone(), place))
        .collect();
    let parents_of = |plan: &TablePlan| {
        let keys = plan.read.description.foreign_keys.iter();
        keys.filter_map(|key| places.get(&key.parent).copied())
            .collect()
    };
    let parents: Vec<Vec<usize>> = plans.iter().map(parents_of).collect();
    let mut plans: Vec<Option<TablePlan>> = plans.into_iter().map(Some).collect();
    let sorted = parents_first(&parents).into_iter();
    sorted.filter_map(|place| plans[place].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_stay_where_they_are_unless_a_parent_comes_later() {
        assert_eq!(parents_first(&[vec![], vec![], vec![]]), [0, 1, 2]);
        assert_eq!(parents_first(&[vec![2], vec![], vec![]]), [1, 2, 0]);
        assert_eq!(parents_first(&[vec![1], vec![2], vec![]]), [2, 1, 0]);
        assert_eq!(parents_first(&[vec![0, 1, 1], vec![]]), [1, 0]);
    }

    #[test]
    fn cycles_are_entered_at_their_first_table() {
        assert_eq!(parents_first(&[vec![1], vec![0]]), [0, 1]);
        assert_eq!(
            parents_first(&[vec![3], vec![2], vec![1], vec![]]),
            [3, 0, 1, 2]
        );
    }
}
