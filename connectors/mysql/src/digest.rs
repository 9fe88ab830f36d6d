//! Count and hash of a set of keys, computed by the server.

use crate::connect::TextRow;
use crate::error;
use crate::types::Parsed;
use syncset_connector::{KeyDigest, Result};

/// One column of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DigestColumn {
    /// The column as SQL names it.
    pub(crate) sql: String,
    /// Its type.
    pub(crate) parsed: Parsed,
}

/// How a column is hashed. Digests are compared only if all their columns are hashed alike.
fn form(column: &DigestColumn) -> &'static str {
    match column.parsed.base.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" | "bit" => {
            "int"
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            "text"
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => "bytes",
        "date" => "date",
        "datetime" => "datetime",
        "timestamp" => "timestamp",
        "time" => "time",
        "uuid" => "uuid",
        "decimal" | "numeric" => "decimal",
        "float" => "float",
        "double" | "real" => "double",
        _ => "other",
    }
}

fn text_of(column: &DigestColumn) -> String {
    let name = &column.sql;
    match form(column) {
        "int" => format!("CAST({name} + 0 AS CHAR)"),
        "text" => format!("SHA2(CONVERT({name} USING utf8mb4), 256)"),
        "bytes" => format!("SHA2({name}, 256)"),
        "float" => format!("{name} + 0e0"),
        // The declared number of digits must not matter.
        "datetime" | "timestamp" => format!("CAST(CAST({name} AS DATETIME(6)) AS CHAR)"),
        "time" => format!("CAST(CAST({name} AS TIME(6)) AS CHAR)"),
        _ => format!("CAST({name} AS CHAR)"),
    }
}

/// A statement of one row: count, count of hashes, their sum. `from` is everything behind the
/// SELECT list, such as `FROM t WHERE ...`.
///
/// The hash is a sum over the rows, so no order matters: of the first 60 bits of a SHA-256, as
/// integers, since a sum of floats would hide a row.
pub(crate) fn digest_sql(key: &[DigestColumn], from: &str) -> String {
    let parts: Vec<_> = key.iter().map(text_of).collect();
    let hash = format!("LEFT(SHA2(CONCAT_WS(',', {}), 256), 15)", parts.join(", "));
    let number = format!("CAST(CONV({hash}, 16, 10) AS UNSIGNED)");
    format!("SELECT COUNT(*), COUNT({hash}), COALESCE(SUM({number}), 0) {from}")
}

/// Reads the answer to [`digest_sql`].
///
/// # Errors
/// `Store` if a hash is missing: a key that is longer than a packet.
pub(crate) fn read_digest(row: &TextRow, key: &[DigestColumn]) -> Result<KeyDigest> {
    let row_count: u64 = row.parse(0)?;
    if row.parse::<u64>(1)? != row_count {
        return Err(error::unexpected("the server could not hash every key"));
    }
    let forms: Vec<_> = key.iter().map(form).collect();
    Ok(KeyDigest {
        row_count,
        hash: Some((
            format!("mysql-sum-1:{}", forms.join(",")),
            row.required(2)?.to_owned(),
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_the_hash_says_how_each_column_is_hashed() {
        let column = |sql: &str, native: &str| DigestColumn {
            sql: sql.into(),
            parsed: Parsed::of(native),
        };
        let key = [
            column("`id`", "bigint unsigned"),
            column("`a`", "varchar(9)"),
        ];
        let row = |hashes: &str| {
            let values = ["2", hashes, "77"].map(|value| Some(value.as_bytes().to_vec()));
            TextRow(values.into())
        };

        let digest = read_digest(&row("2"), &key).expect("every key is hashed");

        assert_eq!(digest.row_count, 2);
        assert_eq!(
            digest.hash,
            Some(("mysql-sum-1:int,text".into(), "77".into()))
        );
        assert!(read_digest(&row("1"), &key).is_err());
    }
}
