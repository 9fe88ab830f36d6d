//! Types of MySQL and MariaDB, and the Arrow types their values are read as.
//!
//! A native type is spelled as DDL spells it, with what decides about values and nothing else:
//! `int unsigned`, `varchar(40) collate utf8mb4_0900_ai_ci`, `enum('a','b') collate latin1_bin`.
//! Display widths are left out but for `tinyint(1)`, which is what BOOLEAN means.
//!
//! What has no Arrow type of its own:
//! - TIME is `Time64(Microsecond)` that may be negative or longer than a day (±838:59:59.999999).
//! - BIT(n) of more than one bit is `Utf8`: its bits as `0` and `1`, the highest first.
//! - GEOMETRY and its kin are `Binary` as the server stores them: the SRID in four bytes, then WKB.
//! - ENUM and SET are `Utf8`: the label, or the labels with commas between.
//! - DECIMAL of more than 38 digits is `Decimal256`.

use arrow_schema::{DataType, TimeUnit};
use std::sync::Arc;
use syncset_connector::{NativeType, TypeDefinition};

/// Largest precision of `Decimal128`.
const DECIMAL128_DIGITS: u8 = 38;

/// Which of the two servers it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    MySql,
    MariaDb,
}

impl Flavour {
    /// `engine` of its native types, and the connector's kind.
    pub(crate) fn engine(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }

    /// Its name for people.
    pub(crate) fn product(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }
}

/// Whether a native type is one of these servers.
pub(crate) fn is_ours(native: &NativeType) -> bool {
    matches!(native.engine.as_str(), "mysql" | "mariadb")
}

/// What `tinyint(1)` is read as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TinyInt1 {
    /// A boolean: other values than 0 and 1 are refused.
    #[default]
    Boolean,
    /// A number.
    Integer,
}

/// What a date is read as that is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ZeroDates {
    /// It stops its table.
    #[default]
    Error,
    /// NULL.
    Null,
    /// The whole column is read as text.
    Text,
}

/// What columns are read as where there is a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadRules {
    pub(crate) tiny_int_1: TinyInt1,
    pub(crate) zero_dates: ZeroDates,
}

/// A native type, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// In lower case, without arguments: `int`, `double`, `varchar`.
    pub(crate) base: String,
    /// What stands in parentheses, as numbers; empty for enum and set.
    pub(crate) arguments: Vec<u32>,
    /// Labels of enum and set.
    pub(crate) labels: Vec<String>,
    /// True for `unsigned`.
    pub(crate) unsigned: bool,
    /// The collation of texts.
    pub(crate) collation: Option<String>,
}

impl Parsed {
    /// Takes a type apart, spelled as DDL or information_schema spells it.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.trim();
        let end = name
            .find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
            .unwrap_or(name.len());
        let (base, rest) = name.split_at(end);
        let base = base.to_ascii_lowercase();
        let mut parsed = Self {
            base,
            ..Self::default()
        };
        let mut rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('(') {
            let used = if matches!(parsed.base.as_str(), "enum" | "set") {
                let (labels, used) = labels(inside);
                parsed.labels = labels;
                used
            } else {
                let end = inside.find(')').unwrap_or(inside.len());
                let numbers = inside[..end].split(',');
                parsed.arguments = numbers
                    .filter_map(|part| part.trim().parse().ok())
                    .collect();
                end
            };
            rest = inside.get(used + 1..).unwrap_or_default();
        }
        let mut words = rest.split_ascii_whitespace();
        while let Some(word) = words.next() {
            match word.to_ascii_lowercase().as_str() {
                "unsigned" => parsed.unsigned = true,
                "collate" => parsed.collation = words.next().map(str::to_owned),
                _ => {}
            }
        }
        parsed
    }

    /// The character set, which every collation's name begins with.
    pub(crate) fn charset(&self) -> Option<&str> {
        let collation = self.collation.as_deref()?;
        Some(collation.split_once('_').map_or(collation, |(set, _)| set))
    }

    /// Digits after the second of a time.
    pub(crate) fn second_digits(&self) -> u32 {
        self.arguments.first().copied().unwrap_or(0).min(6)
    }
}

/// Labels of an enum or a set, and where the closing parenthesis is.
fn labels(inside: &str) -> (Vec<String>, usize) {
    let mut labels = Vec::new();
    let mut label: Option<String> = None;
    let mut characters = inside.char_indices().peekable();
    while let Some((place, character)) = characters.next() {
        match (&mut label, character) {
            (None, ')') => return (labels, place),
            (None, '\'') => label = Some(String::new()),
            (None, _) => {}
            (Some(text), '\'') => {
                if characters.next_if(|(_, next)| *next == '\'').is_some() {
                    text.push('\'');
                } else {
                    labels.extend(label.take());
                }
            }
            (Some(text), other) => text.push(other),
        }
    }
    (labels, inside.len())
}

/// The Arrow type of timestamps, which are instants.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The Arrow type of datetimes, which are local times.
pub(crate) fn local_time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// What a column of a native type is read as, and whether that is its text.
///
/// `None`: a type that is not known here.
pub(crate) fn data_type(parsed: &Parsed, rules: ReadRules) -> Option<(DataType, bool)> {
    let plain = |data_type: DataType| Some((data_type, false));
    let dated = |data_type: DataType| match rules.zero_dates {
        ZeroDates::Text => Some((DataType::Utf8, true)),
        ZeroDates::Error | ZeroDates::Null => Some((data_type, false)),
    };
    let by_sign = |signed: DataType, unsigned: DataType| {
        plain(if parsed.unsigned { unsigned } else { signed })
    };
    match parsed.base.as_str() {
        "tinyint"
            if parsed.arguments == [1]
                && !parsed.unsigned
                && rules.tiny_int_1 == TinyInt1::Boolean =>
        {
            plain(DataType::Boolean)
        }
        "tinyint" => by_sign(DataType::Int8, DataType::UInt8),
        "smallint" => by_sign(DataType::Int16, DataType::UInt16),
        "mediumint" | "int" | "integer" => by_sign(DataType::Int32, DataType::UInt32),
        "bigint" => by_sign(DataType::Int64, DataType::UInt64),
        "year" => plain(DataType::Int16),
        "bit" if parsed.arguments.first().is_none_or(|bits| *bits == 1) => plain(DataType::Boolean),
        "bit" => Some((DataType::Utf8, true)),
        "float" => plain(DataType::Float32),
        "double" | "real" => plain(DataType::Float64),
        "decimal" | "numeric" => plain(decimal(parsed)?),
        "date" => dated(DataType::Date32),
        "datetime" => dated(local_time()),
        "timestamp" => dated(instant()),
        "time" => plain(DataType::Time64(TimeUnit::Microsecond)),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            plain(DataType::Utf8)
        }
        "enum" | "set" | "json" | "inet4" | "inet6" => plain(DataType::Utf8),
        "uuid" => plain(DataType::FixedSizeBinary(16)),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
            plain(DataType::Binary)
        }
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => plain(DataType::Binary),
        _ => None,
    }
}

fn decimal(parsed: &Parsed) -> Option<DataType> {
    let precision = parsed.arguments.first().copied().unwrap_or(10);
    let scale = parsed.arguments.get(1).copied().unwrap_or(0);
    let precision = u8::try_from(precision).ok()?;
    let scale = i8::try_from(scale).ok()?;
    Some(if precision <= DECIMAL128_DIGITS {
        DataType::Decimal128(precision, scale)
    } else {
        DataType::Decimal256(precision, scale)
    })
}

/// What information_schema says of a column's type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared<'a> {
    /// `COLUMN_TYPE`.
    pub(crate) column_type: &'a str,
    /// `COLLATION_NAME`.
    pub(crate) collation: Option<&'a str>,
    /// True for a text that a check of MariaDB keeps to JSON.
    pub(crate) is_json: bool,
}

/// The native type of a column and the Arrow type it is read as.
///
/// A type that is not known is read as its bytes, as text; MySQL has no such types today.
pub(crate) fn of(
    declared: Declared<'_>,
    flavour: Flavour,
    rules: ReadRules,
) -> (NativeType, DataType) {
    let parsed = Parsed::of(declared.column_type);
    let name = if declared.is_json {
        "json".to_owned()
    } else {
        spelled(&parsed, declared)
    };
    let parsed = Parsed::of(&name);
    let (data_type, as_text) = data_type(&parsed, rules).unwrap_or((DataType::Utf8, true));
    let definition = (parsed.base == "enum").then(|| TypeDefinition::Enum {
        labels: parsed.labels.clone(),
    });
    let native = NativeType {
        engine: flavour.engine().to_owned(),
        name,
        as_text,
        definition,
    };
    (native, data_type)
}

fn spelled(parsed: &Parsed, declared: Declared<'_>) -> String {
    let is_integer = matches!(
        parsed.base.as_str(),
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year"
    );
    let is_boolean = parsed.base == "tinyint" && parsed.arguments == [1] && !parsed.unsigned;
    if is_integer && !is_boolean {
        let sign = if parsed.unsigned { " unsigned" } else { "" };
        return format!("{}{sign}", parsed.base);
    }
    let name = declared
        .column_type
        .trim()
        .trim_end_matches(" zerofill")
        .to_owned();
    match declared.collation {
        // The server says one for JSON too, which nothing depends on.
        Some(collation) if parsed.base != "json" => format!("{name} collate {collation}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(column_type: &str, collation: Option<&str>) -> (String, DataType) {
        let declared = Declared {
            column_type,
            collation,
            is_json: false,
        };
        let (native, data_type) = of(declared, Flavour::MariaDb, ReadRules::default());
        (native.name, data_type)
    }

    #[test]
    fn columns_are_read_as_their_types_say() {
        use DataType as T;
        let cases = [
            ("tinyint(1)", "tinyint(1)", T::Boolean),
            ("tinyint(4)", "tinyint", T::Int8),
            ("tinyint(1) unsigned", "tinyint unsigned", T::UInt8),
            ("int(11)", "int", T::Int32),
            ("int(10) unsigned zerofill", "int unsigned", T::UInt32),
            ("mediumint(8) unsigned", "mediumint unsigned", T::UInt32),
            ("bigint unsigned", "bigint unsigned", T::UInt64),
            ("year(4)", "year", T::Int16),
            ("bit(1)", "bit(1)", T::Boolean),
            ("bit(17)", "bit(17)", T::Utf8),
            ("decimal(12,2)", "decimal(12,2)", T::Decimal128(12, 2)),
            ("decimal(65,30)", "decimal(65,30)", T::Decimal256(65, 30)),
            ("float(7,4)", "float(7,4)", T::Float32),
            ("double unsigned", "double unsigned", T::Float64),
            ("date", "date", T::Date32),
            ("datetime(6)", "datetime(6)", local_time()),
            ("timestamp", "timestamp", instant()),
            ("time(3)", "time(3)", T::Time64(TimeUnit::Microsecond)),
            ("uuid", "uuid", T::FixedSizeBinary(16)),
            ("varbinary(16)", "varbinary(16)", T::Binary),
            ("point", "point", T::Binary),
        ];
        for (declared, name, data_type) in cases {
            assert_eq!(
                read(declared, None),
                (name.to_owned(), data_type),
                "{declared}"
            );
        }
    }

    #[test]
    fn texts_keep_their_collation() {
        let (name, data_type) = read("char(3)", Some("latin1_swedish_ci"));
        let parsed = Parsed::of(&name);

        assert_eq!(name, "char(3) collate latin1_swedish_ci");
        assert_eq!(data_type, DataType::Utf8);
        assert_eq!(parsed.arguments, [3]);
        assert_eq!(parsed.charset(), Some("latin1"));
    }

    #[test]
    fn labels_are_read_whatever_they_hold() {
        let parsed = Parsed::of("enum('a,b','it''s',')','') collate utf8mb4_bin");

        assert_eq!(parsed.labels, ["a,b", "it's", ")", ""]);
        assert_eq!(parsed.collation.as_deref(), Some("utf8mb4_bin"));
    }

    #[test]
    fn settings_choose_what_is_read() {
        let integer = ReadRules {
            tiny_int_1: TinyInt1::Integer,
            zero_dates: ZeroDates::Text,
        };
        let read = |name: &str| data_type(&Parsed::of(name), integer);

        assert_eq!(read("tinyint(1)"), Some((DataType::Int8, false)));
        assert_eq!(read("date"), Some((DataType::Utf8, true)));
        assert_eq!(read("timestamp(6)"), Some((DataType::Utf8, true)));
        assert_eq!(read("frobnicator"), None);
    }
}
