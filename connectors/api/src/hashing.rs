//! Hashes of rows that a store computes itself: two stores are compared by them, and few rows move.

/// What each row is hashed to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowHash {
    /// The store's own, fastest hash. It compares with that of another store only where both say
    /// the same in their [`HashFacts`].
    Own,
    /// The first 60 bits of the SHA-256 of the row's canonical form, the same in every store: of each
    /// value, its length in bytes, a colon and its form in UTF-8; `~` for NULL; for a form of more
    /// than 1,024 bytes `#` and its own SHA-256 in hexadecimal digits. A form for each column.
    Canonical(Vec<ValueForm>),
}

impl RowHash {
    /// Bits of the hash that may be set.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Own => 64,
            Self::Canonical(_) => 60,
        }
    }
}

/// The canonical form of a value. Values that are equal between two types have the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueForm {
    /// A whole or decimal number: its digits without zeros at the end of the decimals. A boolean is
    /// 1 or 0.
    Number,
    /// A timestamp, in UTC if it has a zone: `2024-02-29 23:59:59.25`, without zeros at the end.
    Moment,
    /// A text.
    Text,
    /// A text without the blanks at its end.
    Padded,
    /// Bytes, or a UUID's: lower-case hexadecimal digits.
    Bytes,
    /// A date or a UUID as its text, `2024-02-29`, or that text.
    Printed,
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

/// The name of [`RowHash::Canonical`] in [`HashFacts`].
pub const CANONICAL_HASH: &str = "sha256-60";

/// The column of [`Snapshot::read_hashes`](crate::Snapshot::read_hashes) that holds the hash.
pub const HASH_COLUMN: &str = "hash";
