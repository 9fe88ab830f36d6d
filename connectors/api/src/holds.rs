//! Which values a column of a target keeps, and what a pipeline wants done with the others.

use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What happens to values that their target column cannot keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLossy {
    /// The row is refused.
    #[default]
    Error,
    /// The nearest value is written where there is one, else NULL; the run warns.
    Warn,
    /// The column becomes a text that holds each value's text form.
    Text,
    /// NULL is written; the run warns.
    Null,
}

impl OnLossy {
    /// All of them, by their names in the files.
    pub const ALL: [(&str, Self); 4] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("text", Self::Text),
        ("null", Self::Null),
    ];

    /// Its name in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Text => "text",
            Self::Null => "null",
        }
    }
}

/// What one column of a target table takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holds {
    /// False if it refuses NULL.
    pub nullable: bool,
    /// The values it keeps.
    pub domain: Domain,
    /// Whether it keeps others than a column that would be made for the source's.
    pub is_other: bool,
}

/// The values that a column keeps as they are. What a domain does not tell apart, such as whether a
/// text is JSON, is for the target to refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Domain {
    /// All that can be sent, or nothing is known.
    Any,
    /// Whole numbers.
    Integers {
        /// The smallest.
        min: i128,
        /// The greatest.
        max: i128,
    },
    /// As many bits, 64 at most.
    Bits(u32),
    /// Decimals without NaN.
    Decimals {
        /// Digits.
        precision: u32,
        /// Digits behind the point.
        scale: u32,
        /// True if none may be below zero.
        unsigned: bool,
    },
    /// Finite floats.
    Floats {
        /// True if they have 32 bits.
        single: bool,
        /// True if none may be below zero.
        unsigned: bool,
    },
    /// Texts.
    Texts(TextDomain),
    /// One of these labels; if `several`, some of them, in this order, with commas between.
    Labels {
        /// The labels.
        labels: Vec<String>,
        /// True for a set of labels.
        several: bool,
    },
    /// Bytes.
    Bytes {
        /// Exactly so many, if it says.
        exactly: Option<u64>,
        /// At most so many.
        max: u64,
    },
    /// Years 1901 to 2155, and zero.
    Years,
    /// Dates.
    Dates {
        /// Days since 1970 of the first.
        min: i32,
        /// Days since 1970 of the last.
        max: i32,
        /// What there is besides, and what is missing.
        calendar: Calendar,
    },
    /// Timestamps.
    Moments {
        /// Microseconds since 1970 of the first.
        min: i64,
        /// Microseconds since 1970 of the last.
        max: i64,
        /// Digits behind the second.
        digits: u32,
        /// What there is besides, and what is missing.
        calendar: Calendar,
    },
    /// Times of day or spans, from `-max` on.
    Times {
        /// Microseconds of the longest.
        max: i64,
        /// Digits behind the second.
        digits: u32,
    },
    /// Texts or UUIDs that pass a test; what does not has no near value.
    Tested(Test),
}

/// How the days of a column differ from those of everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calendar {
    /// True if it has the infinities.
    pub infinities: bool,
    /// Days since 1970 of a day that it lacks.
    pub lacks: Option<i32>,
}

/// Tells the values that a column keeps.
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    keeps: fn(&[u8]) -> bool,
}

impl Test {
    /// `keeps` is given the UTF-8 of a text or the sixteen bytes of a UUID. `name` tells it from
    /// other tests.
    pub fn new(name: &'static str, keeps: fn(&[u8]) -> bool) -> Self {
        Self { name, keeps }
    }

    /// Whether the column keeps a value.
    pub fn keeps(&self, value: &[u8]) -> bool {
        (self.keeps)(value)
    }
}

impl std::fmt::Debug for Test {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Test").field(&self.name).finish()
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Test {}

/// The texts that a column keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextDomain {
    /// Its characters.
    pub repertoire: Repertoire,
    /// Characters at most.
    pub chars_max: Option<u64>,
    /// Bytes at most, in the column's encoding.
    pub bytes_max: u64,
    /// True if blanks at the end are dropped.
    pub drops_blanks: bool,
}

type CharBytes = Arc<dyn Fn(char) -> Option<u64> + Send + Sync>;

/// The characters of an encoding.
#[derive(Clone)]
pub struct Repertoire {
    name: String,
    bytes: CharBytes,
}

impl Repertoire {
    /// `bytes` says how many a character takes; `None`: there is no such character.
    pub fn new(
        name: impl Into<String>,
        bytes: impl Fn(char) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            bytes: Arc::new(bytes),
        }
    }

    /// Bytes of a character; `None`: there is no such character.
    pub fn bytes(&self, character: char) -> Option<u64> {
        (self.bytes)(character)
    }
}

impl std::fmt::Debug for Repertoire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Repertoire")
            .field(&self.name)
            .finish()
    }
}

impl PartialEq for Repertoire {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Repertoire {}

impl Domain {
    /// Whether every value of an Arrow type is kept, as far as the type alone tells: values need
    /// not be looked at.
    pub fn keeps_all_of(&self, data_type: &DataType) -> bool {
        match self {
            Self::Any => true,
            Self::Integers { min, max } => integer_range(data_type)
                .is_some_and(|(smallest, greatest)| *min <= smallest && greatest <= *max),
            Self::Moments {
                min,
                max,
                digits,
                calendar,
            } => {
                let whole = (*min, *max) == (i64::MIN, i64::MAX)
                    && *digits >= 6
                    && calendar.infinities
                    && calendar.lacks.is_none();
                whole && !matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _))
            }
            _ => false,
        }
    }
}

fn integer_range(data_type: &DataType) -> Option<(i128, i128)> {
    let signed = |bits: u32| (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1);
    let unsigned = |bits: u32| (0, (1_i128 << bits) - 1);
    Some(match data_type {
        DataType::Boolean => (0, 1),
        DataType::Int8 => signed(8),
        DataType::Int16 => signed(16),
        DataType::Int32 => signed(32),
        DataType::Int64 => signed(64),
        DataType::UInt8 => unsigned(8),
        DataType::UInt16 => unsigned(16),
        DataType::UInt32 => unsigned(32),
        DataType::UInt64 => unsigned(64),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_always_fit_need_no_look() {
        let int = Domain::Integers {
            min: i128::from(i32::MIN),
            max: i128::from(i32::MAX),
        };

        assert!(int.keeps_all_of(&DataType::Int32) && int.keeps_all_of(&DataType::UInt16));
        assert!(!int.keeps_all_of(&DataType::UInt32) && !int.keeps_all_of(&DataType::Int64));
        assert!(Domain::Any.keeps_all_of(&DataType::Utf8));
    }
}
