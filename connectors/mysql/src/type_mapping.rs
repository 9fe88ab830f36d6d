//! What columns of any source become in MySQL and MariaDB.

use crate::types::{self, Flavour, Parsed};
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::{Exactness, NativeType, TargetColumn, TypeDefinition, TypeMapping};

/// Largest `varchar` that is made; what may be longer becomes a `longtext`.
const VARCHAR_MAX: u32 = 4_000;

/// Digits of a DECIMAL.
const DECIMAL_DIGITS: u8 = 65;

/// Labels of PostgreSQL's enumerations have 63 bytes at most.
const LABEL_CHARS: u32 = 63;

/// The collation in which texts of utf8mb4 differ as their bytes do, trailing blanks included.
pub(crate) fn collation_of(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "utf8mb4_0900_bin",
        Flavour::MariaDb => "utf8mb4_nopad_bin",
    }
}

/// What a column becomes at a server of this flavour. Part of a key, it may become something
/// shorter: see [`column_types`](crate::ddl::column_types).
pub(crate) fn map_type(column: &TargetColumn, flavour: Flavour) -> TypeMapping {
    match &column.native {
        Some(native) if types::is_ours(native) => map_ours(column, native, flavour),
        Some(native) if is_text(&column.data_type) => map_text(native, flavour),
        // Those of PostgreSQL and SQLite may be NaN.
        Some(_) if is_decimal(&column.data_type) => {
            let decimal = map_arrow(&column.data_type, flavour);
            match decimal.exactness {
                Exactness::Exact => lossy(&decimal.native, "NaN does not fit"),
                _ => decimal,
            }
        }
        _ => map_arrow(&column.data_type, flavour),
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

/// A type of either server at one of this flavour.
fn map_ours(column: &TargetColumn, native: &NativeType, flavour: Flavour) -> TypeMapping {
    let parsed = Parsed::of(&native.name);
    let is_same = native.engine == flavour.engine();
    let without_collation = match native.name.split_once(" collate ") {
        Some((name, _)) if !is_same => name.to_owned(),
        _ => native.name.clone(),
    };
    let of_other = |name: &str| match name {
        "json" if is_same && flavour == Flavour::MySql => Some(lossy(
            "json",
            "a number with more digits than a float of 64 bits keeps does not fit; zeros at the end \
             of a fraction go",
        )),
        _ if is_same => None,
        "uuid" => Some(map_arrow(&column.data_type, flavour)),
        "vector" => Some(widened("longblob", "its floats of 32 bits")),
        "float" | "double" | "real" if flavour == Flavour::MariaDb => {
            Some(widened(&without_collation, "minus zero becomes zero"))
        }
        "inet4" | "inet6" => Some(widened("varchar(45)", "its text form")),
        "json" if flavour == Flavour::MySql => Some(json(flavour)),
        "json" => Some(lossy("json", DEEP)),
        "time" if flavour == Flavour::MySql && parsed.second_digits() > 0 => {
            Some(lossy(&without_collation, "838:59:59 is the longest"))
        }
        "geomcollection" => Some(exact("geometrycollection")),
        "decimal" | "numeric" => match &column.data_type {
            DataType::Decimal128(..) | DataType::Decimal256(..) => {
                Some(map_arrow(&column.data_type, flavour))
            }
            _ => None,
        },
        "char" | "varchar" => parsed
            .arguments
            .first()
            .filter(|length| **length > VARCHAR_MAX)
            .map(|_| exact("longtext")),
        _ => None,
    };
    of_other(&parsed.base).unwrap_or_else(|| exact(&without_collation))
}

/// A text of another engine, by what its native type promises.
fn map_text(native: &NativeType, flavour: Flavour) -> TypeMapping {
    if let Some(TypeDefinition::Enum { .. }) = &native.definition {
        return widened(&format!("varchar({LABEL_CHARS})"), "its label");
    }
    let name = native.name.to_ascii_lowercase();
    let (base, length) = match name.split_once('(') {
        Some((base, rest)) => (
            base,
            rest.split(')')
                .next()
                .and_then(|it| it.trim().parse::<u32>().ok()),
        ),
        None => (name.as_str(), None),
    };
    match (native.engine.as_str(), base) {
        ("postgres", "character varying" | "character") => match length {
            Some(length) if length <= VARCHAR_MAX => exact(&format!("varchar({length})")),
            _ => exact("longtext"),
        },
        ("postgres", "json" | "jsonb") => json(flavour),
        ("postgres", "text" | "citext" | "name" | "xml") | ("sqlite", _) if !native.as_text => {
            exact("longtext")
        }
        (_, "numeric" | "decimal") => widened("longtext", "text, with every digit"),
        _ => widened("longtext", "its text form"),
    }
}

/// JSON of another store. MySQL's own JSON sorts keys, drops doubles of them and rounds numbers.
fn json(flavour: Flavour) -> TypeMapping {
    match flavour {
        Flavour::MySql => widened(
            "longtext",
            "its text: a JSON column would order keys and round numbers",
        ),
        Flavour::MariaDb => lossy("json", DEEP),
    }
}

fn map_arrow(data_type: &DataType, flavour: Flavour) -> TypeMapping {
    match data_type {
        DataType::Boolean => exact("tinyint(1)"),
        DataType::Int8 => exact("tinyint"),
        DataType::Int16 => exact("smallint"),
        DataType::Int32 => exact("int"),
        DataType::Int64 => exact("bigint"),
        DataType::UInt8 => exact("tinyint unsigned"),
        DataType::UInt16 => exact("smallint unsigned"),
        DataType::UInt32 => exact("int unsigned"),
        DataType::UInt64 => exact("bigint unsigned"),
        DataType::Float32 => float("float", flavour),
        DataType::Float64 => float("double", flavour),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            decimal(*precision, *scale, flavour)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => exact("longtext"),
        DataType::Null => widened("longtext", "the column holds nothing but NULL"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => exact("longblob"),
        DataType::FixedSizeBinary(16) => match flavour {
            Flavour::MariaDb => lossy("uuid", UUIDS),
            Flavour::MySql => widened("char(36) collate ascii_bin", "its text form"),
        },
        DataType::FixedSizeBinary(length) if (1..=255).contains(length) => {
            exact(&format!("binary({length})"))
        }
        DataType::FixedSizeBinary(_) => widened("longblob", "the length is not fixed"),
        DataType::Date32 => lossy("date", DATES),
        DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond) => {
            mapping(
                match data_type {
                    DataType::Time64(_) => "time(6)",
                    _ => "datetime(6)",
                },
                Exactness::Refused,
                Some("a value that is finer than a microsecond cannot be kept"),
            )
        }
        DataType::Timestamp(_, None) => lossy("datetime(6)", DATES),
        DataType::Timestamp(_, Some(_)) => lossy(
            "datetime(6)",
            "the time in UTC, since a TIMESTAMP would end in 2038; years 0 to 9999, neither what \
             is outside nor infinities",
        ),
        DataType::Time32(_) | DataType::Time64(_) => exact("time(6)"),
        other => mapping(
            "longtext",
            Exactness::Refused,
            Some(&format!("{other} has no type here and cannot be written")),
        ),
    }
}

fn float(native: &str, flavour: Flavour) -> TypeMapping {
    match flavour {
        Flavour::MySql => lossy(native, "NaN and infinities do not fit"),
        Flavour::MariaDb => lossy(
            native,
            "NaN and infinities do not fit; minus zero becomes zero",
        ),
    }
}

const DATES: &str = "years 0 to 9999, neither what is outside nor infinities";

const DEEP: &str = "its text, checked: 31 levels at most, and no half of a surrogate pair";

const UUIDS: &str = "a UUID of version 8 or above whose ninth byte is 01 to 80 has no place";

fn decimal(precision: u8, scale: i8, flavour: Flavour) -> TypeMapping {
    let scale_max = match flavour {
        Flavour::MySql => 30,
        Flavour::MariaDb => 38,
    };
    match u8::try_from(scale) {
        Ok(scale) if precision <= DECIMAL_DIGITS && scale <= scale_max && scale <= precision => {
            exact(&format!("decimal({precision},{scale})"))
        }
        _ => widened("longtext", "text, with every digit"),
    }
}

fn exact(native: &str) -> TypeMapping {
    mapping(native, Exactness::Exact, None)
}

fn lossy(native: &str, note: &str) -> TypeMapping {
    mapping(native, Exactness::Lossy, Some(note))
}

fn widened(native: &str, note: &str) -> TypeMapping {
    mapping(native, Exactness::Widened, Some(note))
}

fn mapping(native: &str, exactness: Exactness, note: Option<&str>) -> TypeMapping {
    TypeMapping {
        native: native.to_owned(),
        exactness,
        note: note.map(str::to_owned),
        stops_table: false,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}
