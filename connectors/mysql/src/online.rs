//! How the server makes a change of a table: as far as it can be told without trying. Pure.

use crate::types::{Flavour, Parsed};
use syncset_connector::{Blocked, PlannedStatement};

/// Longest text whose length takes one byte.
const SHORT_BYTES: u32 = 255;

/// What a change takes, the easiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Only the catalogue is changed.
    Instant,
    /// Others read and write meanwhile, and no row is written.
    Inplace,
    /// Others read and write meanwhile, and all rows are written anew.
    Rebuild,
    /// All rows are written anew, and nobody else writes.
    Copy,
}

impl Way {
    /// A statement that takes this way. `loses`: values go.
    pub(crate) fn statement(self, sql: String, loses: bool) -> PlannedStatement {
        let (lock, blocks, rewrites) = match self {
            Self::Instant => ("INSTANT", Blocked::Nobody, false),
            Self::Inplace => ("INPLACE, LOCK=NONE", Blocked::Nobody, false),
            Self::Rebuild => ("INPLACE, LOCK=NONE", Blocked::Nobody, true),
            Self::Copy => ("COPY, LOCK=SHARED", Blocked::Writers, true),
        };
        PlannedStatement {
            sql,
            lock: lock.to_owned(),
            blocks,
            rewrites,
            reversible: !loses,
        }
    }
}

/// A column comes or goes. MySQL could do it at once if the table did not get the comment by which
/// we know after a crash whether it happened: with one it writes the rows anew.
pub(crate) fn of_column(flavour: Flavour) -> Way {
    match flavour {
        Flavour::MySql => Way::Rebuild,
        Flavour::MariaDb => Way::Instant,
    }
}

/// A column gets a wider type.
pub(crate) fn of_type(flavour: Flavour, from: &Parsed, to: &Parsed) -> Way {
    // Without a collation of its own a text has that of its table, as when it was made.
    let is_translated = to.collation.is_some() && from.collation != to.collation;
    match (from.base.as_str(), to.base.as_str()) {
        _ if is_translated => Way::Copy,
        ("varchar", "varchar") | ("varbinary", "varbinary") if grows_in_place(from, to) => {
            Way::Inplace
        }
        ("enum", "enum") | ("set", "set") if only_gets_longer(from, to) => match flavour {
            Flavour::MySql => Way::Inplace,
            Flavour::MariaDb => Way::Instant,
        },
        _ => Way::Copy,
    }
}

/// Whether the lengths of all values take as many bytes as before.
fn grows_in_place(from: &Parsed, to: &Parsed) -> bool {
    let character_bytes = match (from.base.as_str(), from.charset()) {
        ("varbinary", _) | (_, Some("latin1" | "ascii" | "binary")) => 1,
        (_, Some("utf8" | "utf8mb3")) => 3,
        _ => 4,
    };
    let is_short = |it: &Parsed| {
        let length = it.arguments.first().copied().unwrap_or_default();
        length.saturating_mul(character_bytes) <= SHORT_BYTES
    };
    is_short(from) == is_short(to)
}

/// Whether further labels come behind those that are there, which take as many bytes as before.
fn only_gets_longer(from: &Parsed, to: &Parsed) -> bool {
    let bytes = |it: &Parsed| match it.base.as_str() {
        "set" => match it.labels.len() {
            0..=8 => 1,
            9..=16 => 2,
            17..=24 => 3,
            25..=32 => 4,
            _ => 8,
        },
        _ if it.labels.len() <= SHORT_BYTES as usize => 1,
        _ => 2,
    };
    to.labels.starts_with(&from.labels) && bytes(from) == bytes(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_told_by_the_types() {
        let cases = [
            ("varchar(20)", "varchar(60)", Way::Inplace),
            ("varchar(20)", "varchar(64)", Way::Copy),
            ("varchar(64)", "varchar(300)", Way::Inplace),
            ("varbinary(20)", "varbinary(255)", Way::Inplace),
            ("enum('a','b')", "enum('a','b','c')", Way::Inplace),
            ("enum('a','b')", "enum('a','c','b')", Way::Copy),
            ("int", "bigint", Way::Copy),
            ("decimal(10,2)", "decimal(12,2)", Way::Copy),
            (
                "varchar(9) collate latin1_bin",
                "varchar(9) collate utf8mb4_bin",
                Way::Copy,
            ),
        ];
        for (from, to, way) in cases {
            let found = of_type(Flavour::MySql, &Parsed::of(from), &Parsed::of(to));
            assert_eq!(found, way, "{from} {to}");
        }
    }
}
