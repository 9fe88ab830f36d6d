//! Declared types of SQLite and the Arrow types they are read as, and the other way round.

use arrow_schema::{DataType, TimeUnit};
use std::sync::Arc;
use syncset_connector::{Exactness, NativeType, TargetColumn, TypeMapping};

/// `engine` of our native types.
pub(crate) const ENGINE: &str = "sqlite";

/// Decimal digits that a REAL keeps through its shortest text.
pub(crate) const REAL_DIGITS: u8 = 15;

/// Decimal digits of the largest integer.
const INTEGER_DIGITS: i16 = 19;

/// What SQLite prefers to store in a column, from the declared type's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affinity {
    Integer,
    Text,
    /// Stores what it is given.
    Blob,
    Real,
    Numeric,
}

/// SQLite's own rules, in its order.
pub(crate) fn affinity(declared: &str) -> Affinity {
    let upper = declared.to_ascii_uppercase();
    let has = |part: &str| upper.contains(part);
    if has("INT") {
        Affinity::Integer
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if has("BLOB") || upper.trim().is_empty() {
        Affinity::Blob
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// The Arrow type of timestamps that name their zone.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The Arrow type of timestamps without a zone.
pub(crate) fn local_time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn split(declared: &str) -> (String, Vec<u8>) {
    let upper = declared.trim().to_ascii_uppercase();
    let Some((base, rest)) = upper.split_once('(') else {
        return (upper, Vec::new());
    };
    let (inside, tail) = rest.split_once(')').unwrap_or((rest, ""));
    let numbers = inside
        .split(',')
        .filter_map(|part| part.trim().parse().ok());
    (format!("{}{}", base.trim(), tail), numbers.collect())
}

/// The Arrow type that a declared type is read as. `None`: it says nothing, so the values do.
pub(crate) fn data_type(declared: &str) -> Option<DataType> {
    let (base, numbers) = split(declared);
    Some(match base.as_str() {
        "" | "ANY" => return None,
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "DATE" => DataType::Date32,
        "TIME" => DataType::Time64(TimeUnit::Microsecond),
        "DATETIME" | "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => local_time(),
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" | "DATETIMEOFFSET" => instant(),
        "UUID" | "GUID" | "UNIQUEIDENTIFIER" => DataType::FixedSizeBinary(16),
        "DECIMAL" | "NUMERIC" | "DEC" | "NUMBER" | "DECIMAL_TEXT" => decimal(&numbers),
        _ => match affinity(declared) {
            Affinity::Integer => DataType::Int64,
            Affinity::Blob => DataType::Binary,
            Affinity::Real => DataType::Float64,
            // A type that SQLite takes for a number without saying which: the text of whatever is
            // stored loses nothing.
            Affinity::Text | Affinity::Numeric => DataType::Utf8,
        },
    })
}

/// Whether a column that is declared as `after` is read as before, if it was declared as `before`:
/// SQLite itself keeps to no length.
pub(crate) fn widens(before: &str, after: &str) -> bool {
    match (data_type(before), data_type(after)) {
        (Some(DataType::Decimal128(digits, scale)), Some(DataType::Decimal128(more, wider))) => {
            let whole = |digits: u8, scale: i8| i16::from(digits) - i16::from(scale);
            wider >= scale && whole(more, wider) >= whole(digits, scale)
        }
        (before, after) => before.is_some() && before == after,
    }
}

fn decimal(numbers: &[u8]) -> DataType {
    let (precision, scale) = match numbers {
        [precision] => (*precision, 0),
        [precision, scale] => (*precision, *scale),
        _ => return DataType::Utf8,
    };
    match i8::try_from(scale) {
        Ok(signed) if (1..=38).contains(&precision) && scale <= precision => {
            DataType::Decimal128(precision, signed)
        }
        _ => DataType::Utf8,
    }
}

/// The native type of a column. Text of a column that SQLite takes for numbers goes back as
/// numbers, which is what `as_text` says.
pub(crate) fn native(declared: &str, data_type: &DataType) -> NativeType {
    NativeType {
        engine: ENGINE.into(),
        name: declared.to_owned(),
        as_text: *data_type == DataType::Utf8 && affinity(declared) != Affinity::Text,
        definition: None,
    }
}

/// The storage class that values of a target column are bound as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Integer,
    Real,
    Text,
    Blob,
    /// Integers and reals, and text for NaN.
    Decimal,
    /// Text that is a number is bound as one.
    NumberText,
}

impl Storage {
    /// Whether a column of this declared type keeps values of this class as they are bound, and
    /// reads them as one that is declared as `mapped`, or with more digits.
    pub(crate) fn kept_by(self, declared: &str, mapped: &str) -> bool {
        self.is_stored_by(declared, mapped) && self.is_read_by(declared, mapped)
    }

    /// Whether the type lets every value be read that a column declared as `mapped` may hold.
    fn is_read_by(self, declared: &str, mapped: &str) -> bool {
        match (data_type(declared), data_type(mapped)) {
            // The values say what they are.
            (None, _) | (Some(DataType::Utf8 | DataType::Float64), _) => true,
            (Some(DataType::Int64), _) => self == Self::Integer,
            (Some(DataType::Binary), _) => self == Self::Blob,
            (Some(DataType::Decimal128(digits, scale)), Some(DataType::Int64)) => {
                i16::from(digits) - i16::from(scale) >= INTEGER_DIGITS
            }
            (Some(_), Some(_)) => widens(mapped, declared),
            (Some(_), None) => false,
        }
    }

    fn is_stored_by(self, declared: &str, mapped: &str) -> bool {
        let affinity = affinity(declared);
        match self {
            Self::Integer => !matches!(affinity, Affinity::Real | Affinity::Text),
            Self::Real => matches!(affinity, Affinity::Real | Affinity::Blob),
            Self::Text => match affinity {
                Affinity::Text | Affinity::Blob => true,
                // Text of a date is no number and stays; any other text might be one.
                Affinity::Numeric => {
                    let declared = data_type(declared);
                    declared != Some(DataType::Utf8) && declared == data_type(mapped)
                }
                Affinity::Integer | Affinity::Real => false,
            },
            Self::Blob => affinity == Affinity::Blob,
            Self::Decimal | Self::NumberText => affinity == Affinity::Numeric,
        }
    }
}

/// What a column becomes in a SQLite table.
pub(crate) fn map(column: &TargetColumn) -> (TypeMapping, Storage) {
    if let Some(native) = &column.native
        && native.engine == ENGINE
        && data_type(&native.name).as_ref() == Some(&column.data_type)
    {
        let storage = match (storage(&column.data_type), affinity(&native.name)) {
            (Storage::Text, Affinity::Numeric) if column.data_type == DataType::Utf8 => {
                Storage::NumberText
            }
            (Storage::Decimal, Affinity::Text) => Storage::Text,
            (other, _) => other,
        };
        return (
            mapping(native.name.clone(), Exactness::Exact, None),
            storage,
        );
    }
    by_arrow(column)
}

fn mapping(native: String, exactness: Exactness, note: Option<&str>) -> TypeMapping {
    TypeMapping {
        native,
        exactness,
        note: note.map(str::to_owned),
        stops_table: false,
    }
}

fn storage(data_type: &DataType) -> Storage {
    match data_type {
        DataType::Boolean | DataType::Int64 => Storage::Integer,
        DataType::Float64 => Storage::Real,
        DataType::Binary => Storage::Blob,
        DataType::Decimal128(..) => Storage::Decimal,
        _ => Storage::Text,
    }
}

fn by_arrow(column: &TargetColumn) -> (TypeMapping, Storage) {
    use Exactness::{Exact, Refused, Widened};
    let (native, exactness, note, storage) = match &column.data_type {
        DataType::Boolean => ("BOOLEAN".into(), Exact, None, Storage::Integer),
        DataType::Int64 => ("INTEGER".into(), Exact, None, Storage::Integer),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => {
            let note = Some("an integer of 64 bits");
            ("INTEGER".into(), Widened, note, Storage::Integer)
        }
        DataType::UInt64 => {
            let note = Some("text, because SQLite's integers end at 2^63");
            ("DECIMAL_TEXT(20,0)".into(), Widened, note, Storage::Text)
        }
        DataType::Float64 => ("REAL".into(), Exact, None, Storage::Real),
        DataType::Float16 | DataType::Float32 => (
            "REAL".into(),
            Widened,
            Some("a float of 64 bits"),
            Storage::Real,
        ),
        DataType::Decimal128(precision, scale) => return decimal_mapping(*precision, *scale),
        DataType::Decimal256(..) => {
            let note = Some("text, with every digit");
            ("NUMERIC_TEXT".into(), Widened, note, Storage::Text)
        }
        DataType::Time64(TimeUnit::Microsecond) if is_span(column) => {
            let note = Some("text: it may be negative or longer than a day");
            ("TEXT".into(), Widened, note, Storage::Text)
        }
        DataType::Date32 => ("DATE".into(), Exact, None, Storage::Text),
        DataType::Time64(TimeUnit::Microsecond) => ("TIME".into(), Exact, None, Storage::Text),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            ("TIMESTAMP".into(), Exact, None, Storage::Text)
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            ("TIMESTAMPTZ".into(), Exact, None, Storage::Text)
        }
        DataType::FixedSizeBinary(16) => ("UUID".into(), Exact, None, Storage::Text),
        DataType::Binary => return bytes_mapping(column),
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ("BLOB".into(), Widened, None, Storage::Blob)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            return text_mapping(column);
        }
        DataType::Time32(_) => ("TIME".into(), Widened, None, Storage::Text),
        DataType::Date64 => ("DATE".into(), Refused, None, Storage::Text),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let native = if zone.is_some() {
                "TIMESTAMPTZ"
            } else {
                "TIMESTAMP"
            };
            (native.into(), Refused, Some("microseconds"), Storage::Text)
        }
        DataType::Timestamp(_, zone) => {
            let native = if zone.is_some() {
                "TIMESTAMPTZ"
            } else {
                "TIMESTAMP"
            };
            (native.into(), Widened, None, Storage::Text)
        }
        _ => (
            "TEXT".into(),
            Refused,
            Some("its printed form"),
            Storage::Text,
        ),
    };
    (mapping(native, exactness, note), storage)
}

/// Whether the type's name before its length is one of these, in a server of MySQL's family.
fn is_of_mysql(column: &TargetColumn, names: &[&str]) -> bool {
    column.native.as_ref().is_some_and(|native| {
        let end = native.name.find(['(', ' ']).unwrap_or(native.name.len());
        matches!(native.engine.as_str(), "mysql" | "mariadb")
            && !native.as_text
            && names.contains(&&native.name[..end])
    })
}

/// Whether a time is a span rather than a time of day.
fn is_span(column: &TargetColumn) -> bool {
    is_of_mysql(column, &["time"])
}

fn decimal_mapping(precision: u8, scale: i8) -> (TypeMapping, Storage) {
    let plain = u8::try_from(scale).is_ok_and(|scale| scale <= precision);
    if !plain {
        let note = Some("text, because its scale is outside of its precision");
        return (
            mapping("NUMERIC_TEXT".into(), Exactness::Widened, note),
            Storage::Text,
        );
    }
    if precision <= REAL_DIGITS {
        let native = format!("DECIMAL({precision},{scale})");
        return (mapping(native, Exactness::Exact, None), Storage::Decimal);
    }
    let native = format!("DECIMAL_TEXT({precision},{scale})");
    let note = Some("text, because SQLite's numbers keep 15 digits");
    (mapping(native, Exactness::Exact, note), Storage::Text)
}

/// Bytes, of which MySQL's family knows more than a blob tells.
fn bytes_mapping(column: &TargetColumn) -> (TypeMapping, Storage) {
    const SHAPES: [&str; 9] = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    ];
    let (exactness, note) = if is_of_mysql(column, &SHAPES) {
        let note = "the number of its reference system, then its WKB";
        (Exactness::Widened, Some(note))
    } else if is_of_mysql(column, &["vector"]) {
        (Exactness::Widened, Some("its floats of 32 bits"))
    } else {
        (Exactness::Exact, None)
    };
    (mapping("BLOB".into(), exactness, note), Storage::Blob)
}

fn text_mapping(column: &TargetColumn) -> (TypeMapping, Storage) {
    let name = column
        .native
        .as_ref()
        .map_or("", |native| native.name.as_str());
    let lower = name.to_ascii_lowercase();
    let plain = [
        "char",
        "varchar",
        "tinytext",
        "text",
        "mediumtext",
        "longtext",
    ];
    let (native, exactness, note) = match lower.as_str() {
        _ if is_of_mysql(column, &plain) => ("TEXT", Exactness::Exact, None),
        "json" | "jsonb" => ("JSON_TEXT", Exactness::Widened, Some("text")),
        "" | "text" | "citext" => ("TEXT", Exactness::Exact, None),
        _ if lower.starts_with("numeric") || lower.starts_with("decimal") => (
            "NUMERIC_TEXT",
            Exactness::Widened,
            Some("text, with every digit"),
        ),
        _ => ("TEXT", Exactness::Widened, Some("its text form")),
    };
    (mapping(native.into(), exactness, note), Storage::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_read_as_their_names_say() {
        let cases = [
            ("INTEGER", Some(DataType::Int64)),
            ("UNSIGNED BIG INT", Some(DataType::Int64)),
            ("POINT", Some(DataType::Int64)),
            ("varchar(40)", Some(DataType::Utf8)),
            ("Decimal( 10 , 2 )", Some(DataType::Decimal128(10, 2))),
            ("NUMERIC(8)", Some(DataType::Decimal128(8, 0))),
            ("NUMERIC", Some(DataType::Utf8)),
            ("DECIMAL(60,2)", Some(DataType::Utf8)),
            ("DECIMAL_TEXT(30,10)", Some(DataType::Decimal128(30, 10))),
            ("double precision", Some(DataType::Float64)),
            ("STRING", Some(DataType::Utf8)),
            ("DATETIME", Some(local_time())),
            ("timestamptz", Some(instant())),
            ("", None),
            ("ANY", None),
        ];
        for (declared, expected) in cases {
            assert_eq!(data_type(declared), expected, "{declared}");
        }
    }

    #[test]
    fn wider_declarations_are_read_alike() {
        let pairs = [
            ("VARCHAR(10)", "VARCHAR(20)", true),
            ("VARCHAR(20)", "TEXT", true),
            ("INT", "BIGINT", true),
            ("DECIMAL(10,2)", "DECIMAL(12,2)", true),
            ("DECIMAL(10,2)", "DECIMAL(20,4)", true),
            ("DECIMAL(12,2)", "DECIMAL(12,4)", false),
            ("INT", "TEXT", false),
            ("DATE", "TIMESTAMP", false),
            ("", "", false),
        ];
        for (before, after, expected) in pairs {
            assert_eq!(widens(before, after), expected, "{before} {after}");
        }
    }

    #[test]
    fn declared_types_have_to_read_what_is_stored() {
        let pairs = [
            (Storage::Decimal, "DECIMAL(8,2)", "DECIMAL(10,3)", false),
            (Storage::Decimal, "DECIMAL(10,3)", "DECIMAL(8,2)", true),
            (Storage::Decimal, "NUMERIC", "DECIMAL(8,2)", true),
            (
                Storage::Text,
                "DECIMAL_TEXT(30,4)",
                "DECIMAL_TEXT(32,6)",
                false,
            ),
            (
                Storage::Text,
                "DECIMAL_TEXT(32,6)",
                "DECIMAL_TEXT(30,4)",
                true,
            ),
            (Storage::Text, "DECIMAL_TEXT(30,4)", "TEXT", false),
            (Storage::Text, "DECIMAL_TEXT(30,4)", "NUMERIC_TEXT", false),
            (Storage::Text, "TEXT", "DECIMAL_TEXT(30,4)", true),
            (Storage::Text, "BLOB", "TEXT", false),
            (Storage::Blob, "BLOB", "BLOB", true),
            (Storage::Text, "", "TEXT", true),
            (Storage::Text, "TEXT", "UUID", true),
            (Storage::Text, "VARCHAR(36)", "TIMESTAMPTZ", true),
            (Storage::Integer, "BOOLEAN", "INTEGER", false),
            (Storage::Integer, "DATE", "INTEGER", false),
            (Storage::Integer, "BLOB", "INTEGER", false),
            (Storage::Integer, "INTEGER", "BOOLEAN", true),
            (Storage::Integer, "BIGINT", "INTEGER", true),
            (Storage::Integer, "NUMERIC", "INTEGER", true),
            (Storage::Integer, "DECIMAL(10,0)", "INTEGER", false),
            (Storage::Integer, "DECIMAL(20,0)", "INTEGER", true),
            (Storage::Real, "DOUBLE PRECISION", "REAL", true),
        ];
        for (storage, declared, mapped, expected) in pairs {
            let kept = storage.kept_by(declared, mapped);
            assert_eq!(kept, expected, "{storage:?}: {mapped} in {declared}");
        }
    }

    #[test]
    fn mapped_types_keep_what_is_bound() {
        let types = [
            DataType::Boolean,
            DataType::Int16,
            DataType::Int64,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(15, 2),
            DataType::Decimal128(38, 10),
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            local_time(),
            instant(),
            DataType::FixedSizeBinary(16),
            DataType::Binary,
            DataType::Utf8,
        ];
        for data_type in types {
            let column = TargetColumn {
                name: "c".into(),
                data_type,
                native: None,
                nullable: true,
            };
            let (mapping, storage) = map(&column);
            assert!(
                storage.kept_by(&mapping.native, &mapping.native),
                "{mapping:?}"
            );
        }
    }
}
