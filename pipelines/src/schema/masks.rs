//! Keys of masks.

use super::{Choice, Key, Section, Takes};

/// Masks that are one word.
pub(super) const WORDS: &[Choice] = &[
    ("redact", "`***`"),
    (
        "email",
        "the first character and the domain of an address: `a***@example.com`",
    ),
    (
        "sha256",
        "the SHA-256 of the value; whoever can guess values can find them",
    ),
    ("null", "NULL; the column is not read at the source"),
];

/// One mask.
pub(super) const MASK: &[Key] = &[
    Key::optional("hmac_sha256", &[Takes::Text])
        .about(
            "The keyed SHA-256 of the value, as 64 hexadecimal digits: equal values stay equal, so \
             that tables can still be joined. The key has 16 bytes or more and comes from \
             `${NAME}` or `${file:PATH}`.",
        )
        .example("mask: { email: { hmac_sha256: \"${MASK_KEY}\" } }"),
    Key::optional("constant", &[Takes::Text])
        .about("Always this value. The column is not read at the source.")
        .example("mask: { email: { constant: \"nobody@example.com\" } }"),
    Key::optional("partial", &[Takes::Section(Section::Partial)])
        .about("Some characters at the beginning and at the end; `*` for each other one.")
        .example("mask: { email: { partial: { last: 4 } } }"),
    Key::optional(
        "truncate_date",
        &[Takes::Choice(&[
            ("year", "1 January of the year"),
            ("month", "the first of the month"),
            ("day", "midnight, in UTC where the column has a zone"),
            ("hour", "the full hour"),
        ])],
    )
    .about("The start of the year, month, day or hour.")
    .example("mask: { email: { truncate_date: month } }"),
    Key::optional("bucket", &[Takes::Text])
        .about("The largest multiple of this width that is not above the number.")
        .example("mask: { email: { bucket: 1000 } }"),
    Key::optional(
        "fake",
        &[Takes::Choice(&[
            ("name", "first and last name"),
            ("first_name", "first name"),
            ("last_name", "last name"),
            (
                "email",
                "an address at `example.com`, a different one for each value",
            ),
            ("phone", "a telephone number that nobody has"),
            ("city", "a city"),
        ])],
    )
    .about("An invented value, the same for equal values. Needs `key`.")
    .example("mask: { email: { fake: email, key: \"${MASK_KEY}\" } }"),
    Key::optional("key", &[Takes::Text])
        .about("The secret of `fake`, from `${NAME}` or `${file:PATH}`.")
        .example("mask: { email: { fake: name, key: \"${MASK_KEY}\" } }"),
];

/// `partial:`
pub(super) const PARTIAL: &[Key] = &[
    Key::optional("first", &[Takes::Count])
        .default("0")
        .about("Characters that stay at the beginning.")
        .example("mask: { email: { partial: { first: 2 } } }"),
    Key::optional("last", &[Takes::Count])
        .default("0")
        .about(
            "Characters that stay at the end. Values that are not longer than both are hidden whole.",
        )
        .example("mask: { email: { partial: { last: 4 } } }"),
];
