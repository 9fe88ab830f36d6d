//! Types as the contract writes them: format strings of the Arrow C Data Interface.

use arrow_schema::{DataType, TimeUnit};

/// The format string of a type; `None` if plugins cannot be given it.
pub(crate) fn format_of(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean => "b".to_owned(),
        DataType::Int8 => "c".to_owned(),
        DataType::UInt8 => "C".to_owned(),
        DataType::Int16 => "s".to_owned(),
        DataType::UInt16 => "S".to_owned(),
        DataType::Int32 => "i".to_owned(),
        DataType::UInt32 => "I".to_owned(),
        DataType::Int64 => "l".to_owned(),
        DataType::UInt64 => "L".to_owned(),
        DataType::Float32 => "f".to_owned(),
        DataType::Float64 => "g".to_owned(),
        DataType::Utf8 => "u".to_owned(),
        DataType::Binary => "z".to_owned(),
        DataType::FixedSizeBinary(width) => format!("w:{width}"),
        DataType::Decimal128(precision, scale) => format!("d:{precision},{scale}"),
        DataType::Date32 => "tdD".to_owned(),
        DataType::Time64(TimeUnit::Microsecond) => "ttu".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            format!("tsu:{}", zone.as_deref().unwrap_or_default())
        }
        _ => return None,
    })
}

/// The type of a format string; `None` if the contract does not have it.
pub fn data_type_of(format: &str) -> Option<DataType> {
    Some(match format {
        "b" => DataType::Boolean,
        "c" => DataType::Int8,
        "C" => DataType::UInt8,
        "s" => DataType::Int16,
        "S" => DataType::UInt16,
        "i" => DataType::Int32,
        "I" => DataType::UInt32,
        "l" => DataType::Int64,
        "L" => DataType::UInt64,
        "f" => DataType::Float32,
        "g" => DataType::Float64,
        "u" => DataType::Utf8,
        "z" => DataType::Binary,
        "tdD" => DataType::Date32,
        "ttu" => DataType::Time64(TimeUnit::Microsecond),
        "tsu:" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "tsu:UTC" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "w:16" => DataType::FixedSizeBinary(16),
        _ => {
            let (precision, scale) = format.strip_prefix("d:")?.split_once(',')?;
            let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
            let fits = (1..=38).contains(&precision) && (-38..=38).contains(&scale);
            return fits.then_some(DataType::Decimal128(precision, scale));
        }
    })
}

/// Whether a column of this format is one that a plugin wants. An entry may end in `*`.
pub(crate) fn is_wanted(format: &str, wanted: &[String]) -> bool {
    wanted.is_empty()
        || wanted
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => format.starts_with(start),
                None => format == pattern,
            })
}

/// A type as people know it.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        other => format_of(other).map_or_else(|| other.to_string(), |format| spelled(&format)),
    }
}

/// A format as people know the type.
pub(crate) fn spelled(format: &str) -> String {
    let name = match format {
        "b" => "boolean",
        "c" | "C" | "s" => "smallint",
        "S" | "i" => "integer",
        "I" | "l" | "L" => "bigint",
        "f" => "real",
        "g" => "double precision",
        "u" => "text",
        "z" => "bytes",
        "w:16" => "uuid",
        "tdD" => "date",
        "ttu" => "time",
        "tsu:" => "timestamp",
        "tsu:UTC" => "timestamp with time zone",
        "tsu:*" => "any timestamp",
        "d:*" => "decimal",
        other => match other.strip_prefix("d:") {
            Some(digits) => return format!("decimal({digits})"),
            None => return format!("`{other}`"),
        },
    };
    name.to_owned()
}
