//! Count and hash of a set of keys, computed by the server.

use crate::connect::TextRow;
use syncset_connector::{KeyDigest, Result};

/// Names how keys are hashed; a digest adds how each column is.
pub(crate) const NAME: &str = "postgres-sum-1";

/// One column of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DigestColumn {
    /// The column as SQL names it.
    pub(crate) sql: String,
    /// Its type as DDL spells it.
    pub(crate) native: String,
}

/// A statement of one row: count, name of the hash, its value. `from` is everything behind the
/// SELECT list, such as `FROM t WHERE ...`.
///
/// The hash is a sum over the rows, so no order matters. Integers and UUIDs are hashed as they
/// are, everything else by its text under the session's pinned settings; the name says which, and
/// holds the server's encoding where text is hashed, so that digests that cannot be compared never
/// are.
pub(crate) fn digest_sql(key: &[DigestColumn], from: &str) -> String {
    let mut hash = "0::pg_catalog.int8".to_owned();
    let mut forms = Vec::with_capacity(key.len());
    let mut has_text = false;
    for column in key {
        let name = &column.sql;
        // Each hash is the seed of the next, so ('a', 'b') and ('b', 'a') differ.
        (hash, forms) = match column.native.as_str() {
            "smallint" | "integer" | "bigint" => (
                format!("pg_catalog.hashint8extended({name}::pg_catalog.int8, {hash})"),
                with(forms, "int"),
            ),
            "uuid" => (
                format!("pg_catalog.uuid_hash_extended({name}, {hash})"),
                with(forms, "uuid"),
            ),
            _ => {
                has_text = true;
                (
                    format!(
                        "pg_catalog.hashtextextended({name}::pg_catalog.text \
                         COLLATE pg_catalog.\"C\", {hash})"
                    ),
                    with(forms, "text"),
                )
            }
        };
    }
    let name = format!("'{NAME}:{}'", forms.join(","));
    let name = if has_text {
        format!("{name} || ':' || pg_catalog.getdatabaseencoding()")
    } else {
        name
    };
    format!(
        "SELECT pg_catalog.count(*), {name}, coalesce(pg_catalog.sum({hash}), 0)::pg_catalog.text \
         {from}"
    )
}

fn with(mut forms: Vec<&'static str>, form: &'static str) -> Vec<&'static str> {
    forms.push(form);
    forms
}

/// Reads the answer to [`digest_sql`].
pub(crate) fn read_digest(row: &TextRow) -> Result<KeyDigest> {
    Ok(KeyDigest {
        row_count: row.parse(0)?,
        hash: Some((row.required(1)?.to_owned(), row.required(2)?.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_the_hash_says_how_each_column_is_hashed() {
        let column = |sql: &str, native: &str| DigestColumn {
            sql: sql.into(),
            native: native.into(),
        };

        let plain = digest_sql(&[column("\"id\"", "bigint")], "FROM t");
        let mixed = digest_sql(
            &[column("\"a\"", "integer"), column("\"b\"", "numeric")],
            "FROM t",
        );

        assert!(plain.contains("'postgres-sum-1:int'"), "{plain}");
        assert!(!plain.contains("getdatabaseencoding"), "{plain}");
        assert!(
            mixed.contains("'postgres-sum-1:int,text' || ':'"),
            "{mixed}"
        );
    }
}
