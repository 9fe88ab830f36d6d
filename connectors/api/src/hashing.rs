//! Hashes of rows that a store computes itself: two stores are compared by them, and few rows move.

/// What each row is hashed to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowHash {
    /// The store's own, fastest hash. It compares with that of another store only where both say
    /// the same in their [`HashFacts`].
    Own,
}

/// What a row's ordinal is: the number by which rows fall into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordinal {
    /// The key itself, one whole number.
    Key,
    /// The hash of the key.
    KeyHash,
}

/// Which rows of a table are hashed and how, alike at two stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashRequest {
    /// The columns that are hashed, in the same order at both stores.
    pub columns: Vec<String>,
    /// To what.
    pub hash: RowHash,
    /// By what rows fall into parts.
    pub ordinal: Ordinal,
}

/// How a store hashes the rows of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashFacts {
    /// The hash and the form of each column. Hashes of two stores compare only under equal names.
    pub name: String,
    /// What the store makes of edge values of each type: (type, hash). Hashes of two stores compare
    /// only if these are equal.
    pub probes: Vec<(String, String)>,
    /// True if [`Ordinal::Key`] is possible and an index finds rows by it.
    pub has_key_ordinal: bool,
    /// Smallest and greatest key of the whole table where `has_key_ordinal`; `None` if it is empty.
    pub keys: Option<(i64, i64)>,
}

/// Some of the parts of a table: the rows whose `ordinal >> shift` is one of the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Bits of the ordinal that do not count, 0..=63. The sign is kept.
    pub shift: u32,
    /// Which parts, without repetition.
    pub numbers: Vec<i64>,
}

/// Rows of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHash {
    /// Its number.
    pub number: i64,
    /// How many rows.
    pub row_count: u64,
    /// The sum of their hashes.
    pub sum: i128,
}

/// The column of [`Snapshot::read_hashes`](crate::Snapshot::read_hashes) that holds the hash.
pub const HASH_COLUMN: &str = "hash";
