//! How names, keys and JSON values of the state are spelled in SQL.

use crate::sql::quote_literal;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use syncset_connector::PipelineKey;

/// First statement of a simple query of several, which is one transaction: what it commits may be
/// lost when the server crashes a moment later, at no harm.
pub(super) const NOT_WAITED_FOR: &str = "SET LOCAL synchronous_commit = off;\n";

/// A literal for a name or message of ours. No name that a server knows holds a NUL character,
/// and a message loses nothing without it.
pub(super) fn literal(text: &str) -> String {
    quote_literal(&text.replace('\0', "\u{fffd}")).expect("a literal without NUL can be quoted")
}

/// The values of the columns `project, pipeline`.
pub(super) fn key_values(key: &PipelineKey) -> String {
    format!("{}, {}", literal(&key.project), literal(&key.pipeline))
}

/// The condition that a row (of `alias`, which ends in a dot unless it is empty) belongs to the
/// pipeline.
pub(super) fn key_is(alias: &str, key: &PipelineKey) -> String {
    format!(
        "{alias}project = {} AND {alias}pipeline = {}",
        literal(&key.project),
        literal(&key.pipeline)
    )
}

/// A literal of type `json` that databases of every encoding can hold.
pub(super) fn json_literal(value: &Value) -> String {
    format!("{}::json", literal(&ascii_json(value)))
}

/// JSON text in which every other character than ASCII is escaped. Such characters, and NUL,
/// occur only within strings, where the escape means the same.
fn ascii_json(value: &Value) -> String {
    let text = value.to_string();
    if text.is_ascii() {
        return text;
    }
    let mut ascii = String::with_capacity(text.len() * 2);
    let mut units = [0; 2];
    for character in text.chars() {
        if character.is_ascii() {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut units) {
            write!(ascii, "\\u{unit:04x}").expect("writing into a string cannot fail");
        }
    }
    ascii
}

/// What identifies a refused row: keys may be longer than an index entry, so it is a hash.
pub(super) fn key_digest(key: &Value) -> String {
    let mut digest = String::with_capacity(64);
    for byte in Sha256::digest(ascii_json(key)) {
        write!(digest, "{byte:02x}").expect("writing into a string cannot fail");
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_of_any_text_is_ascii_and_reads_back() {
        let value = json!({"ключ": ["ä", "😀", "\u{0}", "\\", "'", null, 1.50]});

        let text = ascii_json(&value);

        assert!(text.is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
    }

    #[test]
    fn names_with_quotes_stay_within_their_literals() {
        let key = PipelineKey {
            project: "it's".into(),
            pipeline: "a\0b".into(),
        };

        let condition = key_is("f.", &key);

        assert_eq!(
            condition,
            "f.project = 'it''s' AND f.pipeline = 'a\u{fffd}b'"
        );
    }

    #[test]
    fn digests_differ_for_null_and_for_its_name() {
        assert_ne!(key_digest(&json!([null])), key_digest(&json!(["null"])));
        assert_eq!(key_digest(&json!(["1"])).len(), 64);
    }
}
