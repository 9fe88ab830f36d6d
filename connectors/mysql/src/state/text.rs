//! How names, keys and JSON values of the state are spelled in SQL.

use crate::sql::text;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::time::Duration;
use syncset_connector::{PipelineKey, TableName};

/// The values of the columns `project, pipeline`.
pub(super) fn key_values(key: &PipelineKey) -> String {
    format!("{}, {}", text(&key.project), text(&key.pipeline))
}

/// The condition that a row (of `alias`, which ends in a dot unless it is empty) belongs to the
/// pipeline.
pub(super) fn key_is(alias: &str, key: &PipelineKey) -> String {
    format!(
        "{alias}project = {} AND {alias}pipeline = {}",
        text(&key.project),
        text(&key.pipeline)
    )
}

/// The condition that a row belongs to one stream of the pipeline.
pub(super) fn stream_is(alias: &str, key: &PipelineKey, stream: &str) -> String {
    format!(
        "{} AND {alias}stream = {}",
        key_is(alias, key),
        text(stream)
    )
}

/// A literal that holds the JSON text.
pub(super) fn json(value: &Value) -> String {
    text(&value.to_string())
}

/// What identifies a refused row: keys may be longer than an index entry, so it is a hash.
pub(super) fn key_digest(key: &Value) -> String {
    let mut digest = String::with_capacity(64);
    for byte in Sha256::digest(key.to_string()) {
        write!(digest, "{byte:02x}").expect("writing into a string cannot fail");
    }
    digest
}

/// How a table of ours is named at the target: one of the connection's database has an empty
/// schema.
pub(super) fn target_columns(target: &TableName) -> (&str, &str) {
    (target.schema.as_deref().unwrap_or_default(), &target.name)
}

/// The condition that a row is about this target table.
pub(super) fn target_is(alias: &str, target: &TableName) -> String {
    let (schema, table) = target_columns(target);
    format!(
        "{alias}target_schema = {} AND {alias}target_table = {}",
        text(schema),
        text(table)
    )
}

/// The reverse of [`target_columns`].
pub(super) fn table_name(schema: String, name: String) -> TableName {
    TableName {
        schema: (!schema.is_empty()).then_some(schema),
        name,
    }
}

/// The server's clock.
pub(super) const NOW: &str = "UTC_TIMESTAMP(6)";

/// The server's clock this much later.
pub(super) fn from_now(duration: Duration) -> String {
    format!("{NOW} + INTERVAL {} MICROSECOND", duration.as_micros())
}

/// A stored time as seconds since the epoch; NULL stays NULL.
pub(super) fn seconds(column: &str) -> String {
    format!("TIMESTAMPDIFF(SECOND, '1970-01-01', {column})")
}

/// Seconds since the epoch as a time to store.
pub(super) fn at(seconds: Option<i64>) -> String {
    seconds.map_or("NULL".to_owned(), |seconds| {
        format!("'1970-01-01' + INTERVAL {seconds} SECOND")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_with_quotes_stay_within_their_literals() {
        let key = PipelineKey {
            project: "it's".into(),
            pipeline: "a\\b".into(),
        };

        assert_eq!(
            key_is("f.", &key),
            "f.project = _utf8mb4'it\\'s' AND f.pipeline = _utf8mb4'a\\\\b'"
        );
    }

    #[test]
    fn digests_differ_for_null_and_for_its_name() {
        assert_ne!(key_digest(&json!([null])), key_digest(&json!(["null"])));
        assert_eq!(key_digest(&json!(["1"])).len(), 64);
    }
}
