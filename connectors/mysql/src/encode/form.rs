//! What a column of the target takes, and of which Arrow types.

use crate::types::{Flavour, Parsed};
use arrow_schema::DataType;

/// Latest second of a TIMESTAMP of 32 bits, and of the unsigned ones of MariaDB 11.5 and newer.
const TIMESTAMP_MAX: i64 = i32::MAX as i64;
const TIMESTAMP_MAX_UNSIGNED: i64 = u32::MAX as i64;

/// Microseconds of 838:59:59.
const TIME_MAX: i64 = (838 * 3_600 + 59 * 60 + 59) * 1_000_000;

/// What a column takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// Integers of this range, zero to 2^64 - 1 at most.
    Integer {
        min: i128,
        max: i128,
    },
    /// As many bits.
    Bits(u32),
    /// Decimals of as many digits, so many of them behind the point.
    Decimal {
        precision: u32,
        scale: u32,
        unsigned: bool,
    },
    /// Floats; of 32 bits if `single`.
    Float {
        single: bool,
        unsigned: bool,
    },
    /// Texts.
    Text(TextForm),
    /// One of these labels.
    Label(Vec<String>),
    /// Some of these labels, in their order, with commas between.
    Labels(Vec<String>),
    /// JSON of either server.
    Json(Flavour),
    /// UUIDs of MariaDB.
    Uuid,
    /// A text form that the server reads: INET4, INET6.
    Printed,
    /// Bytes: exactly so many, or at most.
    Bytes {
        exactly: Option<u64>,
        max: u64,
    },
    /// A geometry as the server stores it.
    Geometry,
    /// Years 1901 to 2155, and zero.
    Year,
    Date,
    /// Local times with so many digits behind the second.
    DateTime {
        digits: u32,
    },
    /// Instants with so many digits behind the second, and the last one in seconds.
    Timestamp {
        digits: u32,
        max: i64,
    },
    /// Times with so many digits behind the second, and the longest in microseconds.
    Time {
        digits: u32,
        max: i64,
    },
}

/// What a column of texts takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextForm {
    pub(crate) charset: Charset,
    /// Characters at most.
    pub(crate) chars_max: Option<u64>,
    /// Bytes of the column's character set at most.
    pub(crate) bytes_max: u64,
    /// True for CHAR, which drops trailing blanks.
    pub(crate) drops_blanks: bool,
}

/// Which characters a column holds, and in how many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    /// All, in one to four bytes.
    Utf8mb4,
    /// Those of the first plane, in one to three bytes.
    Utf8mb3,
    /// Those of the first plane, in two bytes.
    Ucs2,
    /// All, in two or four bytes.
    Utf16,
    /// All, in four bytes.
    Utf32,
    /// Windows-1252, where the five bytes without a character are controls.
    Latin1,
    /// ASCII, or any other of which only that much is relied on.
    Ascii,
}

impl Charset {
    fn of(name: &str) -> Self {
        match name {
            "utf8mb4" => Self::Utf8mb4,
            "utf8mb3" | "utf8" => Self::Utf8mb3,
            "ucs2" => Self::Ucs2,
            "utf16" | "utf16le" => Self::Utf16,
            "utf32" => Self::Utf32,
            "latin1" => Self::Latin1,
            _ => Self::Ascii,
        }
    }

    /// Bytes of a character; `None` if there is no such character.
    pub(crate) fn bytes(self, character: char) -> Option<u64> {
        let code = u32::from(character);
        let first_plane = code <= 0xffff;
        match self {
            Self::Utf8mb4 => Some(character.len_utf8() as u64),
            Self::Utf8mb3 => first_plane.then_some(character.len_utf8() as u64),
            Self::Ucs2 => first_plane.then_some(2),
            Self::Utf16 => Some(if first_plane { 2 } else { 4 }),
            Self::Utf32 => Some(4),
            Self::Latin1 => is_latin1(character).then_some(1),
            Self::Ascii => character.is_ascii().then_some(1),
        }
    }
}

/// Whether a character is one of Windows-1252 as these servers have it.
fn is_latin1(character: char) -> bool {
    match u32::from(character) {
        0..=0x7f | 0xa0..=0xff | 0x81 | 0x8d | 0x8f | 0x90 | 0x9d => true,
        _ => "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ".contains(character),
    }
}

impl Form {
    /// What a column of this type takes; `None` for types that are not known.
    pub(crate) fn of(parsed: &Parsed, flavour: Flavour, version: (u16, u16, u16)) -> Option<Self> {
        let argument = parsed.arguments.first().copied();
        let digits = parsed.second_digits();
        let integer = |bits: u32| {
            if parsed.unsigned {
                Self::Integer {
                    min: 0,
                    max: (1 << bits) - 1,
                }
            } else {
                Self::Integer {
                    min: -(1 << (bits - 1)),
                    max: (1 << (bits - 1)) - 1,
                }
            }
        };
        let bytes = |exactly, max| Self::Bytes { exactly, max };
        Some(match parsed.base.as_str() {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" => integer(24),
            "int" | "integer" => integer(32),
            "bigint" => integer(64),
            "bit" => Self::Bits(argument.unwrap_or(1)),
            "decimal" | "numeric" => Self::Decimal {
                precision: argument.unwrap_or(10),
                scale: parsed.arguments.get(1).copied().unwrap_or(0),
                unsigned: parsed.unsigned,
            },
            "float" => Self::Float {
                single: true,
                unsigned: parsed.unsigned,
            },
            "double" | "real" => Self::Float {
                single: false,
                unsigned: parsed.unsigned,
            },
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                Self::Text(text_form(parsed))
            }
            "enum" => Self::Label(parsed.labels.clone()),
            "set" => Self::Labels(parsed.labels.clone()),
            "json" => Self::Json(flavour),
            "uuid" => Self::Uuid,
            "inet4" | "inet6" => Self::Printed,
            "binary" => bytes(
                Some(u64::from(argument.unwrap_or(1))),
                u64::from(argument.unwrap_or(1)),
            ),
            "varbinary" => bytes(None, u64::from(argument.unwrap_or(0))),
            "tinyblob" => bytes(None, 0xff),
            "blob" => bytes(None, 0xffff),
            "mediumblob" => bytes(None, 0xff_ffff),
            "longblob" => bytes(None, 0xffff_ffff),
            "vector" => bytes(None, u64::from(argument.unwrap_or(0)) * 4),
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            "year" => Self::Year,
            "date" => Self::Date,
            "datetime" => Self::DateTime { digits },
            "timestamp" => Self::Timestamp {
                digits,
                max: timestamp_max(flavour, version),
            },
            "time" => Self::Time {
                digits,
                max: match flavour {
                    Flavour::MySql => TIME_MAX,
                    Flavour::MariaDb => TIME_MAX + 999_999,
                },
            },
            _ => return None,
        })
    }

    /// Whether values of this Arrow type are written here, as far as they fit.
    pub(crate) fn takes(&self, data_type: &DataType) -> bool {
        use DataType as T;
        let is_text = matches!(data_type, T::Utf8 | T::LargeUtf8 | T::Utf8View);
        let is_integer = data_type.is_integer();
        let is_decimal = matches!(data_type, T::Decimal128(..) | T::Decimal256(..));
        let is_uuid = matches!(data_type, T::FixedSizeBinary(16));
        let is_bytes = matches!(
            data_type,
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_)
        );
        let is_boolean = matches!(data_type, T::Boolean);
        if matches!(data_type, T::Null) {
            return true;
        }
        match self {
            Self::Integer { .. } | Self::Decimal { .. } => {
                is_integer || is_decimal || is_boolean || is_text
            }
            Self::Bits(_) => is_boolean || is_integer || is_text,
            Self::Float { .. } => matches!(data_type, T::Float16 | T::Float32 | T::Float64),
            Self::Text(_) => is_text || is_uuid || is_decimal,
            Self::Uuid => is_text || is_uuid,
            Self::Label(_) | Self::Labels(_) | Self::Json(_) | Self::Printed => is_text,
            Self::Bytes { .. } => is_bytes,
            Self::Geometry => is_bytes,
            Self::Year => is_integer,
            Self::Date => is_text || matches!(data_type, T::Date32),
            Self::DateTime { .. } => is_text || matches!(data_type, T::Timestamp(..)),
            Self::Timestamp { .. } => is_text || matches!(data_type, T::Timestamp(_, Some(_))),
            Self::Time { .. } => matches!(data_type, T::Time32(_) | T::Time64(_)),
        }
    }
}

fn timestamp_max(flavour: Flavour, version: (u16, u16, u16)) -> i64 {
    if flavour == Flavour::MariaDb && (version.0, version.1) >= (11, 5) {
        TIMESTAMP_MAX_UNSIGNED
    } else {
        TIMESTAMP_MAX
    }
}

fn text_form(parsed: &Parsed) -> TextForm {
    let chars_max = match parsed.base.as_str() {
        "char" | "varchar" => Some(u64::from(parsed.arguments.first().copied().unwrap_or(1))),
        _ => None,
    };
    TextForm {
        charset: Charset::of(parsed.charset().unwrap_or("utf8mb4")),
        chars_max,
        bytes_max: match parsed.base.as_str() {
            "tinytext" => 0xff,
            "text" => 0xffff,
            "mediumtext" => 0xff_ffff,
            _ => 0xffff_ffff,
        },
        drops_blanks: parsed.base == "char",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str) -> Form {
        Form::of(&Parsed::of(name), Flavour::MySql, (9, 0, 0)).expect("a known type")
    }

    #[test]
    fn ranges_are_those_of_the_declared_types() {
        assert_eq!(
            form("mediumint unsigned"),
            Form::Integer {
                min: 0,
                max: 16_777_215
            }
        );
        assert_eq!(
            form("bigint(20)"),
            Form::Integer {
                min: i128::from(i64::MIN),
                max: i128::from(i64::MAX)
            }
        );
        assert_eq!(form("bit(17)"), Form::Bits(17));
        assert_eq!(form("datetime(3)"), Form::DateTime { digits: 3 });
    }

    #[test]
    fn character_sets_hold_what_they_have() {
        for (charset, holds, lacks) in [
            ("latin1", "aé€\u{81}", "Āж😀\u{80}"),
            ("utf8mb3", "aé€ж", "😀"),
            ("ascii", "a~", "é"),
            ("koi8r", "a~", "ж"),
        ] {
            let charset = Charset::of(charset);
            assert!(
                holds.chars().all(|it| charset.bytes(it).is_some()),
                "{holds}"
            );
            assert!(
                lacks.chars().all(|it| charset.bytes(it).is_none()),
                "{lacks}"
            );
        }
        assert_eq!(Charset::of("utf16").bytes('😀'), Some(4));
    }
}
