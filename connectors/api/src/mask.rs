//! How values of a column are hidden on their way to the target.

use crate::Secret;

/// What is written instead of a column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mask {
    /// The keyed SHA-256 of the value's text, as 64 hexadecimal digits. Equal values stay equal,
    /// and nobody without the key can try values.
    HmacSha256(MaskKey),
    /// The SHA-256 of the value's text, as 64 hexadecimal digits. Whoever can guess values can
    /// find them.
    Sha256,
    /// `***`.
    Redact,
    /// Only the first and the last characters of a text; `*` for every other one.
    Partial {
        /// Characters that stay at the beginning.
        first: usize,
        /// Characters that stay at the end.
        last: usize,
    },
    /// The first character and the domain of an e-mail address: `a***@example.com`.
    Email,
    /// NULL. The column is not read.
    Null,
    /// Always this value, as a text of the column's type. The column is not read.
    Constant(String),
    /// The start of the year, month, day or hour.
    TruncateDate(DateUnit),
    /// The largest multiple of this width that is not above the number.
    Bucket(String),
    /// An invented value, the same for equal values.
    Fake(FakeKind, MaskKey),
}

/// The secret of a keyed mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskKey {
    /// The key itself.
    pub secret: Secret<String>,
    /// What tells it from other keys and cannot be turned into it: may be stored and shown.
    pub fingerprint: String,
}

/// A part of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateUnit {
    /// 1 January.
    Year,
    /// The first of the month.
    Month,
    /// Midnight.
    Day,
    /// The full hour.
    Hour,
}

impl DateUnit {
    /// Every unit with its word in the files.
    pub const ALL: [(&str, Self); 4] = [
        ("year", Self::Year),
        ("month", Self::Month),
        ("day", Self::Day),
        ("hour", Self::Hour),
    ];
}

/// What is invented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeKind {
    /// First and last name.
    Name,
    /// First name.
    FirstName,
    /// Last name.
    LastName,
    /// An address at `example.com`.
    Email,
    /// A telephone number that nobody has.
    Phone,
    /// A city.
    City,
}

impl FakeKind {
    /// Every kind with its word in the files.
    pub const ALL: [(&str, Self); 6] = [
        ("name", Self::Name),
        ("first_name", Self::FirstName),
        ("last_name", Self::LastName),
        ("email", Self::Email),
        ("phone", Self::Phone),
        ("city", Self::City),
    ];
}

impl Mask {
    /// Whether the column's values are needed at all; else they never leave the source.
    pub fn reads_values(&self) -> bool {
        !matches!(self, Self::Null | Self::Constant(_))
    }

    /// Whether what is written has the column's own type; else it is a text.
    pub fn keeps_type(&self) -> bool {
        matches!(
            self,
            Self::Null | Self::Constant(_) | Self::TruncateDate(_) | Self::Bucket(_)
        )
    }

    /// What it does, in one line that holds no secret: part of the selection, and shown.
    pub fn summary(&self) -> String {
        let word = |words: &[(&'static str, DateUnit)], unit: DateUnit| {
            let found = words.iter().find(|(_, known)| *known == unit);
            found.map_or("", |(word, _)| *word)
        };
        match self {
            Self::HmacSha256(key) => format!("hmac_sha256 (key {})", key.fingerprint),
            Self::Sha256 => "sha256".to_owned(),
            Self::Redact => "redact".to_owned(),
            Self::Partial { first, last } => format!("partial (first {first}, last {last})"),
            Self::Email => "email".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Constant(value) => format!("constant {value}"),
            Self::TruncateDate(unit) => format!("truncate_date {}", word(&DateUnit::ALL, *unit)),
            Self::Bucket(width) => format!("bucket {width}"),
            Self::Fake(kind, key) => {
                let found = FakeKind::ALL.iter().find(|(_, known)| known == kind);
                let word = found.map_or("", |(word, _)| *word);
                format!("fake {word} (key {})", key.fingerprint)
            }
        }
    }
}
