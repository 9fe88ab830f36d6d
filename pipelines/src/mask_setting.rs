//! Reads `mask:`. YAML's `null` is a word here.

use crate::fields::{Fields, choice, count, text, wrong_type};
use crate::problem::{Lookup, Place, Problems};
use crate::schema::Section;
use crate::spec::{MaskRule, Name};
use crate::yaml::{Entry, Node, Value};
use crate::{interpolate, planner};
use sha2::{Digest, Sha256};
use std::path::Path;
use syncset_connector::{DateUnit, FakeKind, Mask, MaskKey, Secret};

const EXAMPLE: &str = "mask: { email: { hmac_sha256: \"${MASK_KEY}\" } }";

/// Keys of a mask that hold its secret.
const SECRETS: [&str; 2] = ["hmac_sha256", "key"];

/// Whoever sees a masked value can try all shorter keys, and a fingerprint tells which one it was.
const KEY_BYTES_MIN: usize = 16;

/// Digits of a fingerprint: enough to tell keys apart, too few to find one by.
const FINGERPRINT_DIGITS: usize = 8;

/// One `mask:` over another: each column takes one whole mask.
pub(crate) fn merged(base: &Node, over: &Node) -> Node {
    let (Value::Map(base_entries), Value::Map(over_entries)) = (&base.value, &over.value) else {
        return over.clone();
    };
    let kept = base_entries.iter().filter(|entry| {
        let mut others = over_entries.iter();
        !others.any(|other| other.key == entry.key)
    });
    Node {
        place: over.place,
        value: Value::Map(kept.chain(over_entries).cloned().collect()),
    }
}

/// Fills in the secrets of a `mask:`. They have to come from outside of the file, so that whoever
/// may read the file can undo no mask. Everything else in it is left to `others`.
pub(crate) fn with_secrets(
    node: Node,
    (base, lookup): (&Path, &Lookup),
    problems: &mut Problems,
    others: impl Fn(Node, &mut Problems) -> Node,
) -> Node {
    let secret = |node: Node, problems: &mut Problems| {
        let Value::Scalar { text, .. } = &node.value else {
            return node;
        };
        if !text.contains("${") {
            problems.hinted(
                node.place,
                "the key of a mask is written in the file",
                "keep it out of it: `${NAME}` for a variable, `${file:PATH}` for a file",
            );
            return node;
        }
        let text = interpolate::interpolate(text, node.place, base, lookup, problems);
        Node {
            place: node.place,
            value: text.map_or(Value::Null, |text| Value::Scalar { text, quoted: true }),
        }
    };
    let is_secret = |column: &str, key: &str| !column.is_empty() && SECRETS.contains(&key);
    over_entries(node, |column, mask| {
        over_entries(mask, |key, value| match is_secret(column, key) {
            true => secret(value, problems),
            false => others(value, problems),
        })
    })
}

/// The same mapping with other values; what is no mapping is handed on as it is.
fn over_entries(node: Node, mut value: impl FnMut(&str, Node) -> Node) -> Node {
    let Node {
        place,
        value: Value::Map(entries),
    } = node
    else {
        return value("", node);
    };
    let entries = entries.into_iter().map(|entry| Entry {
        node: value(&entry.key, entry.node),
        key: entry.key,
        key_place: entry.key_place,
    });
    Node {
        place,
        value: Value::Map(entries.collect()),
    }
}

/// Reads `mask:`.
pub(crate) fn read(node: &Node, problems: &mut Problems) -> Vec<MaskRule> {
    let Value::Map(entries) = &node.value else {
        wrong_type(
            node,
            "`mask`",
            "a mapping of columns to masks",
            EXAMPLE,
            problems,
        );
        return Vec::new();
    };
    let rule = |entry: &Entry| {
        let columns = Name {
            text: entry.key.clone(),
            place: entry.key_place,
        };
        let mask = mask(&entry.node, problems)?;
        Some(MaskRule { columns, mask })
    };
    entries.iter().filter_map(rule).collect()
}

fn mask(node: &Node, problems: &mut Problems) -> Option<Mask> {
    let words = [
        ("redact", &Mask::Redact),
        ("email", &Mask::Email),
        ("sha256", &Mask::Sha256),
        ("null", &Mask::Null),
    ];
    let word = node.spelled();
    if !matches!(word.value, Value::Map(_)) {
        return choice(&word, Section::Table, "mask", &words, problems).cloned();
    }
    let fields = Fields::of(node, Section::Mask, ("a mask", EXAMPLE), problems)?;
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let mut kinds = entries.iter().filter(|entry| entry.key != "key");
    let (first, second) = (kinds.next(), kinds.next());
    if let (None, _) | (_, Some(_)) = (first, second) {
        problems.hinted(
            node.place,
            "a mask is one thing",
            format!("for example `{EXAMPLE}`"),
        );
        return None;
    }
    one_mask(&fields, node.place, problems)
}

fn one_mask(fields: &Fields, place: Place, problems: &mut Problems) -> Option<Mask> {
    if let Some(node) = fields.value("hmac_sha256") {
        return key(node, problems).map(Mask::HmacSha256);
    }
    if let Some(node) = fields.value("fake") {
        let kind = choice(node, Section::Mask, "fake", &FakeKind::ALL, problems)?;
        let Some(secret) = fields.value("key") else {
            problems.hinted(
                place,
                "`fake` has no `key`",
                "add `key: \"${MASK_KEY}\"`: without it anybody could try names",
            );
            return None;
        };
        return Some(Mask::Fake(kind, key(secret, problems)?));
    }
    if let Some(node) = fields.value("truncate_date") {
        let unit = choice(
            node,
            Section::Mask,
            "truncate_date",
            &DateUnit::ALL,
            problems,
        )?;
        return Some(Mask::TruncateDate(unit));
    }
    if let Some(node) = fields.value("bucket") {
        let width = text(node, "`bucket`", "bucket: 1000", problems)?;
        return Some(Mask::Bucket(width.text));
    }
    if let Some(node) = fields.value("constant") {
        let value = text(node, "`constant`", "constant: \"x\"", problems)?;
        return Some(Mask::Constant(value.text));
    }
    let node = fields.value("partial")?;
    let what = ("`partial`", "partial: { last: 4 }");
    let parts = Fields::of(node, Section::Partial, what, problems)?;
    let mut characters = |name: &str| match parts.value(name) {
        Some(node) => count(node, &format!("`{name}`"), what.1, problems),
        None => Some(0),
    };
    let (first, last) = (characters("first")?, characters("last")?);
    Some(Mask::Partial {
        first: usize::try_from(first).unwrap_or(usize::MAX),
        last: usize::try_from(last).unwrap_or(usize::MAX),
    })
}

fn key(node: &Node, problems: &mut Problems) -> Option<MaskKey> {
    let secret = text(node, "the key of a mask", EXAMPLE, problems)?.text;
    if secret.len() < KEY_BYTES_MIN {
        problems.hinted(
            node.place,
            format!(
                "the key of a mask has {} bytes, so few that it can be guessed",
                secret.len()
            ),
            format!("take one of {KEY_BYTES_MIN} or more, such as `openssl rand -hex 32` prints"),
        );
    }
    Some(MaskKey {
        fingerprint: fingerprint("syncset mask key", &secret),
        secret: Secret::new(secret),
    })
}

/// What tells secrets of one kind apart without showing them.
pub(crate) fn fingerprint(kind: &str, secret: &str) -> String {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update("\0")
        .chain_update(secret)
        .finalize();
    let mut fingerprint = planner::hex(&digest);
    fingerprint.truncate(FINGERPRINT_DIGITS);
    fingerprint
}
