//! Texts, bytes and UUIDs: the edges of their types first, then random ones.

use super::owned;
use crate::round_trip_forms::{Engine, base, numbers};
use rand::Rng;
use rand::rngs::StdRng;

/// Texts at which copies go wrong, shortest first.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "a ",
    "  a  ",
    "A",
    "ä",
    "😀",
    "\u{10ffff}",
    "e\u{301}",
    "\u{e9}",
    "\u{feff}x",
    "ß\u{200d}ı",
    "İıſﬃ",
    "\t\n\r",
    "\\",
    "\\N",
    "NULL",
    "'",
    "\"`",
    "\\'; --",
    "\u{1}\u{7f}\u{80}",
    "\u{ffff}",
    "a\tb\nc\\d\\\\e",
    "0",
    "-zero",
    "NaN",
    "true",
    "1e5",
];

/// Texts with a character that PostgreSQL lacks.
const TEXTS_WITH_ZERO: &[&str] = &["\0", "a\0b", "a\0"];

pub(super) fn texts(engine: Engine, native: &str, base: &str, rng: &mut StdRng) -> Vec<String> {
    let chars_max = numbers(native)
        .first()
        .map_or(usize::MAX, |length| *length as usize);
    let bytes_max = match base {
        "name" => 63,
        "tinytext" => 255,
        "text" if engine.is_of_mysql() => 65_535,
        _ => 70_000,
    };
    let mut values = owned(TEXTS, &[]);
    if engine != Engine::Postgres {
        values.extend(owned(TEXTS_WITH_ZERO, &[]));
    }
    values.push("x".repeat(bytes_max.min(chars_max)));
    values.push("😀".repeat((bytes_max / 4).min(chars_max).min(5_000)));
    for _ in 0..crate::round_trips::more() {
        let length = rng.random_range(0..20_usize.min(chars_max));
        let character = |rng: &mut StdRng| match rng.random_range(0..4) {
            0 => char::from(rng.random_range(b' '..=b'~')),
            1 => char::from_u32(rng.random_range(0xa1..0x250)).unwrap_or('ß'),
            2 => char::from_u32(rng.random_range(0x4e00..0x9fa5)).unwrap_or('中'),
            _ => char::from_u32(rng.random_range(0x1_f600..0x1_f640)).unwrap_or('😀'),
        };
        values.push((0..length).map(|_| character(rng)).collect());
    }
    values.retain(|text| text.chars().count() <= chars_max && text.len() <= bytes_max);
    values
}

pub(super) fn bytes(native: &str, rng: &mut StdRng) -> Vec<Vec<u8>> {
    let base = base(native);
    let max = match (base.as_str(), numbers(native).first()) {
        (_, Some(length)) => *length as usize,
        ("tinyblob", _) => 255,
        ("blob" | "mediumblob" | "longblob" | "bytea", _) => 40_000,
        _ => 300,
    };
    let all: Vec<u8> = (0..=255).collect();
    let mut values: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0xff],
        vec![0x20],
        vec![0x61, 0x20, 0x20],
        vec![0x61, 0, 0],
        b"\\x00\\N\n\t'".to_vec(),
        vec![0xff; max.min(255)],
        all,
        vec![0x5c; max],
    ];
    for _ in 0..crate::round_trips::more() {
        let length = rng.random_range(0..=max.min(40));
        values.push((0..length).map(|_| rng.random()).collect());
    }
    values.retain(|value| value.len() <= max);
    values
}

pub(super) fn uuids(engine: Engine, rng: &mut StdRng) -> Vec<String> {
    let random = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
    let mut values = vec![
        "00000000-0000-0000-0000-000000000000".to_owned(),
        "ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned(),
        "00112233-4455-6677-8899-aabbccddeeff".to_owned(),
        "6f9619ff-8b86-d011-b42d-00c04fc964ff".to_owned(),
        "00000000-0000-8000-0000-000000000001".to_owned(),
        random.hyphenated().to_string(),
    ];
    if engine != Engine::Mariadb {
        values.push("9478d3dc-7d41-b6e6-4c50-2402a85b9c38".to_owned());
        values.push("9478d3dc-7d41-86e6-8050-2402a85b9c38".to_owned());
    }
    values
}
