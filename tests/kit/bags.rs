//! Rows without a key: compared as sets in which equal rows count.

use crate::rows::{Place, TextRow};
use std::collections::BTreeMap;

/// Rows that a report shows.
const SHOWN_MAX: usize = 10;

/// Checks that two queries have the same rows, each as often, in any order.
///
/// # Panics
/// With the rows that only one side has, and how many more of them it has.
pub async fn assert_same_bag<'a, 'b>(
    source: impl Into<Place<'a>>,
    target: impl Into<Place<'b>>,
    source_select: &str,
    target_select: &str,
) {
    let mut surplus: BTreeMap<TextRow, i64> = BTreeMap::new();
    for row in source.into().rows(source_select).await {
        *surplus.entry(row).or_default() -= 1;
    }
    for row in target.into().rows(target_select).await {
        *surplus.entry(row).or_default() += 1;
    }
    surplus.retain(|_, count| *count != 0);
    let shown: Vec<_> = surplus.iter().take(SHOWN_MAX).collect();
    assert!(
        surplus.is_empty(),
        "{} kinds of rows differ (positive: too many at the target): {shown:#?}",
        surplus.len()
    );
}
