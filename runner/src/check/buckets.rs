//! Counts and sums of row hashes by the hash of the key: what two sides compare instead of rows.

use super::settled::Digest;

/// Bits of a key's hash that choose its bucket.
const BITS: u32 = 16;

/// Rows of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    count: u64,
    /// A sum and no exclusive or: equal rows would cancel each other.
    sum: u128,
}

/// All rows of one side.
#[derive(Debug)]
pub(super) struct Buckets(Vec<Bucket>);

/// The buckets that differ, as far as they are looked into.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differing {
    chosen: std::collections::BTreeSet<usize>,
    /// True if there are more of them.
    pub(super) has_more: bool,
}

fn place(key: u64) -> usize {
    usize::try_from(key >> (u64::BITS - BITS)).expect("so few bits fit")
}

impl Buckets {
    /// No row.
    pub(super) fn new() -> Self {
        Self(vec![Bucket::default(); 1 << BITS])
    }

    /// Counts rows by (hash of the key, hash of all values).
    pub(super) fn add(&mut self, hashes: &[(u64, u64)]) {
        for (key, row) in hashes {
            let bucket = &mut self.0[place(*key)];
            bucket.count += 1;
            bucket.sum = bucket.sum.wrapping_add(u128::from(*row));
        }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.0.iter().map(|bucket| bucket.count).sum()
    }

    /// What tells all these rows from others.
    pub(super) fn digest(&self) -> Digest {
        let sum = |sum: u128, bucket: &Bucket| sum.wrapping_add(bucket.sum);
        Digest::of("stream", self.rows(), self.0.iter().fold(0, sum))
    }

    /// How many rows there are by the first bits of their keys' hashes, in `cells` cells, a power of
    /// two.
    pub(super) fn rows_by_cell(&self, cells: usize) -> Vec<u64> {
        let rows = |buckets: &[Bucket]| buckets.iter().map(|bucket| bucket.count).sum();
        self.0.chunks(self.0.len() / cells).map(rows).collect()
    }

    /// The buckets that differ; so many that they hold about `rows_max` rows on one side, and one at
    /// least.
    pub(super) fn differing(&self, other: &Self, rows_max: u64) -> Differing {
        let mut differing = Differing::default();
        let mut rows = 0;
        for (place, (left, right)) in self.0.iter().zip(&other.0).enumerate() {
            if left == right {
                continue;
            }
            rows += left.count.max(right.count);
            if rows > rows_max && !differing.chosen.is_empty() {
                differing.has_more = true;
                break;
            }
            differing.chosen.insert(place);
        }
        differing
    }
}

impl Differing {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Whether a key is in one of them.
    pub(super) fn holds(&self, key: u64) -> bool {
        self.chosen.contains(&place(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(u64, u64)]) -> Buckets {
        let mut buckets = Buckets::new();
        buckets.add(rows);
        buckets
    }

    #[test]
    fn order_does_not_matter_and_multiplicity_does() {
        let (a, b) = ((1 << 60, 7), (2 << 60, 8));

        assert!(of(&[a, b]).differing(&of(&[b, a]), 10).is_empty());
        let differing = of(&[a, a, b]).differing(&of(&[b]), 10);
        assert!(differing.holds(a.0) && !differing.holds(b.0));
        assert!(!of(&[a, a, a]).differing(&of(&[a]), 10).is_empty());
    }

    #[test]
    fn buckets_are_looked_into_up_to_a_number_of_rows() {
        let rows: Vec<_> = (0..10_u64).map(|row| (row << 60, row)).collect();

        let some = of(&rows).differing(&of(&[]), 3);
        let all = of(&rows).differing(&of(&[]), 10);

        assert!(some.has_more && some.holds(0) && !some.holds(9 << 60));
        assert!(!all.has_more && all.holds(9 << 60));
    }
}
