//! Which types hold every value of another type, as it was. Pure.

use crate::types::Parsed;

/// Integers by the bytes they take.
const INTEGERS: [&str; 5] = ["tinyint", "smallint", "mediumint", "int", "bigint"];

/// Texts and blobs by the bytes that they hold, as powers of two.
const LONG: [(&str, u32); 8] = [
    ("tinytext", 8),
    ("text", 16),
    ("mediumtext", 24),
    ("longtext", 32),
    ("tinyblob", 8),
    ("blob", 16),
    ("mediumblob", 24),
    ("longblob", 32),
];

/// Bytes of a character at most.
const CHARACTER_BYTES: u64 = 4;

/// Whether a column of the type `after` holds every value of the type `before`, which is read as
/// before: texts keep their collation. Both as information_schema spells them.
pub(crate) fn widens(before: &str, after: &str) -> bool {
    let (before, after) = (Parsed::of(before), Parsed::of(after));
    before.collation == after.collation && holds(&after, &before)
}

/// Whether a column of the type `wide` holds every value of the type `narrow`, whatever their
/// collations.
pub(crate) fn holds(wide: &Parsed, narrow: &Parsed) -> bool {
    let same = wide.base == narrow.base && wide.unsigned == narrow.unsigned;
    let (limit, length) = (wide.arguments.first(), narrow.arguments.first());
    if let (Some(wide_bytes), Some(narrow_bytes)) = (rank(wide), rank(narrow)) {
        // `tinyint(1)` is read as a boolean, so it is none of them.
        let is_boolean = |it: &Parsed| it.base == "tinyint" && it.arguments == [1];
        return match (wide.unsigned, narrow.unsigned) {
            _ if is_boolean(wide) || is_boolean(narrow) => wide == narrow,
            (true, true) | (false, false) => wide_bytes >= narrow_bytes,
            (false, true) => wide_bytes > narrow_bytes,
            (true, false) => false,
        };
    }
    match (wide.base.as_str(), narrow.base.as_str()) {
        ("varchar", "varchar") | ("varbinary", "varbinary") => limit >= length,
        ("decimal", "decimal") => same && more_digits(wide, narrow),
        ("datetime", "datetime") | ("timestamp", "timestamp") | ("time", "time") => {
            wide.second_digits() >= narrow.second_digits()
        }
        ("enum", "enum") => narrow
            .labels
            .iter()
            .all(|label| wide.labels.contains(label)),
        // A value lists its labels in the order of the type.
        ("set", "set") => {
            let mut wider = wide.labels.iter();
            let mut narrow = narrow.labels.iter();
            narrow.all(|label| wider.any(|it| it == label))
        }
        ("double", "float") => same_sign(wide, narrow) && no_arguments(wide, narrow),
        (long, short) => match (capacity(long), bytes(narrow)) {
            (Some(capacity), Some(bytes)) => {
                is_binary(long) == is_binary(short) && bytes <= capacity
            }
            _ => same && wide.arguments == narrow.arguments && wide.labels == narrow.labels,
        },
    }
}

fn rank(parsed: &Parsed) -> Option<usize> {
    INTEGERS.iter().position(|name| *name == parsed.base)
}

fn same_sign(wide: &Parsed, narrow: &Parsed) -> bool {
    wide.unsigned == narrow.unsigned
}

fn no_arguments(wide: &Parsed, narrow: &Parsed) -> bool {
    wide.arguments.is_empty() && narrow.arguments.is_empty()
}

fn more_digits(wide: &Parsed, narrow: &Parsed) -> bool {
    let digits = |it: &Parsed| {
        let precision = it.arguments.first().copied().unwrap_or(10);
        let scale = it.arguments.get(1).copied().unwrap_or(0);
        (precision.saturating_sub(scale), scale)
    };
    let (wide, narrow) = (digits(wide), digits(narrow));
    wide.0 >= narrow.0 && wide.1 >= narrow.1
}

fn is_binary(base: &str) -> bool {
    base.ends_with("blob") || base == "varbinary"
}

/// Bytes that a long text or blob holds.
fn capacity(base: &str) -> Option<u64> {
    let (_, power) = LONG.iter().find(|(name, _)| *name == base)?;
    Some((1 << power) - 1)
}

/// Bytes that a value takes at most.
fn bytes(parsed: &Parsed) -> Option<u64> {
    let length = parsed.arguments.first().map(|length| u64::from(*length));
    match parsed.base.as_str() {
        "varchar" => length.map(|length| length * CHARACTER_BYTES),
        "varbinary" => length,
        base => capacity(base),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_types_hold_what_narrower_ones_do() {
        let pairs = [
            ("smallint", "bigint"),
            ("int unsigned", "bigint"),
            ("int unsigned", "bigint unsigned"),
            (
                "varchar(10) collate utf8mb4_bin",
                "varchar(300) collate utf8mb4_bin",
            ),
            (
                "varchar(10) collate utf8mb4_bin",
                "text collate utf8mb4_bin",
            ),
            ("text collate utf8mb4_bin", "longtext collate utf8mb4_bin"),
            ("varbinary(10)", "blob"),
            ("decimal(10,2)", "decimal(12,2)"),
            ("decimal(10,2)", "decimal(14,4)"),
            ("datetime", "datetime(6)"),
            ("timestamp(3)", "timestamp(6)"),
            ("enum('a','b')", "enum('a','c','b')"),
            ("set('a')", "set('a','b')"),
            ("set('a','b')", "set('c','a','d','b')"),
            ("float", "double"),
        ];
        for (narrow, wide) in pairs {
            assert!(widens(narrow, wide), "{narrow} {wide}");
            assert!(!widens(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn types_that_would_change_values_do_not_hold_them() {
        let pairs = [
            ("int", "int unsigned"),
            ("int unsigned", "int"),
            ("tinyint(1)", "int"),
            ("decimal(10,2)", "decimal(10,4)"),
            (
                "varchar(100) collate utf8mb4_bin",
                "tinytext collate utf8mb4_bin",
            ),
            (
                "varchar(10) collate utf8mb4_bin",
                "varchar(20) collate latin1_bin",
            ),
            ("varbinary(10)", "text"),
            ("char(3)", "varchar(3)"),
            ("datetime", "timestamp"),
            ("enum('a','b')", "enum('a')"),
            ("set('a','b')", "set('b','a')"),
            ("set('a','b')", "set('b','a','c')"),
            ("float(7,4)", "double"),
            ("json", "longtext"),
        ];
        for (narrow, wide) in pairs {
            assert!(!widens(narrow, wide), "{narrow} {wide}");
        }
    }
}
