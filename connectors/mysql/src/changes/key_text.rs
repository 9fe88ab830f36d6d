//! Values of keys and cursors as text, and that text as a literal of the column's type.

use crate::civil;
use crate::error;
use crate::sql;
use crate::types::Parsed;
use arrow_array::{Array, ArrayRef, cast::AsArray, types as t};
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::{Column, ConnectorError, ErrorClass, Result};

/// Whether the server orders and compares values of a column as their literals.
///
/// Enums are ordered by their number and compared by their label; floats are compared with
/// doubles; text that is read in place of dates is no text for the server.
pub(crate) fn has_literal(column: &Column) -> bool {
    if column.native.as_text {
        return false;
    }
    let base = Parsed::of(&column.native.name).base;
    let is_text = matches!(base.as_str(), "char" | "varchar");
    match &column.data_type {
        data_type if data_type.is_integer() => true,
        DataType::Decimal128(..) | DataType::Decimal256(..) => true,
        DataType::Utf8 => is_text,
        DataType::Binary => matches!(base.as_str(), "binary" | "varbinary"),
        DataType::Date32
        | DataType::Time64(TimeUnit::Microsecond)
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::FixedSizeBinary(16) => true,
        _ => false,
    }
}

/// The text form of one value; `None` for NULL.
///
/// # Errors
/// `Unsupported` for a type without one.
pub(crate) fn text_of(array: &ArrayRef, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let beyond = || error::unexpected("a date is beyond the years that the server knows");
    let text = match array.data_type() {
        DataType::Boolean => u8::from(array.as_boolean().value(row)).to_string(),
        DataType::Int8 => array.as_primitive::<t::Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<t::Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<t::Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<t::Int64Type>().value(row).to_string(),
        DataType::UInt8 => array.as_primitive::<t::UInt8Type>().value(row).to_string(),
        DataType::UInt16 => array.as_primitive::<t::UInt16Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<t::UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<t::UInt64Type>().value(row).to_string(),
        DataType::Decimal128(..) => array
            .as_primitive::<t::Decimal128Type>()
            .value_as_string(row),
        DataType::Decimal256(..) => array
            .as_primitive::<t::Decimal256Type>()
            .value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => {
            let bytes = array.as_fixed_size_binary().value(row);
            let uuid = uuid::Uuid::from_slice(bytes)
                .map_err(|_| error::unexpected("a uuid has sixteen bytes"))?;
            uuid.hyphenated().to_string()
        }
        DataType::Date32 => {
            let days = array.as_primitive::<t::Date32Type>().value(row);
            civil::date_text(days).ok_or_else(beyond)?
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            civil::time_text(array.as_primitive::<t::Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array
                .as_primitive::<t::TimestampMicrosecondType>()
                .value(row);
            civil::timestamp_text(micros).ok_or_else(beyond)?
        }
        other => {
            return Err(ConnectorError::new(
                ErrorClass::Unsupported,
                format!("a key or cursor of the Arrow type {other} cannot be sent to the server"),
            ));
        }
    };
    Ok(Some(text))
}

/// A text form as a literal of the column's type.
///
/// # Errors
/// `Store` for a text that is no value of the type: it was not made by [`text_of`].
pub(crate) fn literal(column: &Column, text: &str) -> Result<String> {
    let strange = || {
        ConnectorError::new(ErrorClass::Store, "a stored key cannot be read")
            .with_hint("run `pipeline reset` for this table")
    };
    let is_number = || {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty()
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    Ok(match &column.data_type {
        DataType::Utf8 => sql::text(text),
        DataType::Binary => {
            let is_hex =
                text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| format!("X'{text}'")).ok_or_else(strange)?
        }
        DataType::FixedSizeBinary(_) => sql::text(text),
        DataType::Date32 => typed("DATE", text).ok_or_else(strange)?,
        DataType::Time64(_) => typed("TIME", text).ok_or_else(strange)?,
        DataType::Timestamp(..) => typed("TIMESTAMP", text).ok_or_else(strange)?,
        _ => is_number().then(|| text.to_owned()).ok_or_else(strange)?,
    })
}

fn typed(name: &str, text: &str) -> Option<String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b" -:.".contains(&byte));
    plain.then(|| format!("{name}'{text}'"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{self, Declared, Flavour, ReadRules};
    use arrow_array::{BinaryArray, Decimal256Array, StringArray, Time64MicrosecondArray};
    use arrow_buffer::i256;
    use std::sync::Arc;

    fn column(column_type: &str) -> Column {
        let declared = Declared {
            column_type,
            collation: None,
            is_json: false,
        };
        let (native, data_type) = types::of(declared, Flavour::MySql, ReadRules::default());
        Column {
            name: "c".to_owned(),
            data_type,
            native,
            nullable: false,
            default: None,
            generated: None,
            stable_id: None,
            readable: true,
        }
    }

    #[test]
    fn values_become_literals_of_their_type() {
        let wide = Decimal256Array::from(vec![i256::from_i128(-5)])
            .with_precision_and_scale(65, 2)
            .expect("it fits");
        let cases: [(&str, ArrayRef, &str); 4] = [
            (
                "varchar(9)",
                Arc::new(StringArray::from(vec!["a'\\"])),
                "_utf8mb4'a\\'\\\\'",
            ),
            (
                "varbinary(9)",
                Arc::new(BinaryArray::from(vec![b"\x00'".as_slice()])),
                "X'0027'",
            ),
            ("decimal(65,2)", Arc::new(wide), "-0.05"),
            (
                "time(6)",
                Arc::new(Time64MicrosecondArray::from(vec![-1])),
                "TIME'-00:00:00.000001'",
            ),
        ];
        for (column_type, array, expected) in cases {
            let text = text_of(&array, 0).expect("it has a text").expect("no NULL");
            let sql = literal(&column(column_type), &text).expect("it was made by us");
            assert_eq!(sql, expected, "{column_type}");
        }
    }

    #[test]
    fn what_we_did_not_write_is_no_literal() {
        for (column_type, text) in [
            ("int", "1 OR 1"),
            ("int", ""),
            ("binary(2)", "00'"),
            ("date", "2024-01-01' OR '"),
        ] {
            assert!(literal(&column(column_type), text).is_err(), "{text}");
        }
    }

    #[test]
    fn types_that_servers_order_another_way_have_no_literal() {
        for column_type in ["enum('b','a')", "float", "bit(9)", "text", "blob", "json"] {
            assert!(!has_literal(&column(column_type)), "{column_type}");
        }
        for column_type in ["bigint unsigned", "char(3)", "binary(16)", "datetime(6)"] {
            assert!(has_literal(&column(column_type)), "{column_type}");
        }
    }
}
