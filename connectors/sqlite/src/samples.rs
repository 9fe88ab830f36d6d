//! One column of each declared type, for the table that `syncset types` prints.

use crate::types;
use syncset_connector::TargetColumn;

/// Declared types, as tables spell them.
const DECLARED: &[&str] = &[
    "INTEGER",
    "BIGINT",
    "BOOLEAN",
    "REAL",
    "DECIMAL(12, 2)",
    "DECIMAL_TEXT(30, 10)",
    "NUMERIC_TEXT",
    "NUMERIC",
    "TEXT",
    "VARCHAR(40)",
    "BLOB",
    "DATE",
    "TIME",
    "DATETIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "UUID",
    "JSON",
];

/// One column of each type that can be read.
pub(crate) fn columns() -> Vec<TargetColumn> {
    let column = |declared: &&str| {
        let data_type = types::data_type(declared)?;
        Some(TargetColumn {
            name: "sample".into(),
            native: Some(types::native(declared, &data_type)),
            data_type,
            nullable: true,
        })
    };
    DECLARED.iter().filter_map(column).collect()
}
