//! One column of each type, for the table that `syncset types` prints.

use crate::types::{self, Declared, Flavour, ReadRules};
use syncset_connector::TargetColumn;

/// The types of both servers, as information_schema spells them.
const BOTH: &[&str] = &[
    "tinyint(1)",
    "tinyint",
    "tinyint unsigned",
    "smallint",
    "smallint unsigned",
    "mediumint",
    "mediumint unsigned",
    "int",
    "int unsigned",
    "bigint",
    "bigint unsigned",
    "decimal(10,0)",
    "decimal(12,2)",
    "decimal(65,30)",
    "float",
    "float(7,4)",
    "double",
    "bit(1)",
    "bit(8)",
    "bit(64)",
    "year",
    "date",
    "time",
    "time(6)",
    "datetime",
    "datetime(6)",
    "timestamp",
    "timestamp(6)",
    "binary(16)",
    "varbinary(40)",
    "tinyblob",
    "blob",
    "mediumblob",
    "longblob",
    "json",
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
];

/// Types of text, which have a collation.
const TEXTS: &[&str] = &[
    "char(4)",
    "varchar(40)",
    "varchar(5000)",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "enum('a','b')",
    "set('a','b')",
];

/// One column of each type of a kind of server.
pub(crate) fn columns(kind: &str) -> Vec<TargetColumn> {
    let (flavour, collation, own) = match kind {
        "mariadb" => (
            Flavour::MariaDb,
            "utf8mb4_uca1400_ai_ci",
            ["uuid", "inet4", "inet6"].as_slice(),
        ),
        _ => (
            Flavour::MySql,
            "utf8mb4_0900_ai_ci",
            ["vector(3)"].as_slice(),
        ),
    };
    let plain = BOTH
        .iter()
        .chain(own)
        .map(|column_type| (*column_type, None));
    let texts = TEXTS
        .iter()
        .map(|column_type| (*column_type, Some(collation)));
    let column = |(column_type, collation)| {
        let declared = Declared {
            column_type,
            collation,
            is_json: false,
        };
        let (native, data_type) = types::of(declared, flavour, ReadRules::default());
        TargetColumn {
            name: "sample".into(),
            data_type,
            native: Some(native),
            nullable: true,
        }
    };
    plain.chain(texts).map(column).collect()
}
