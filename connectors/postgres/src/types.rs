//! Which Arrow type each PostgreSQL type is read as, and in which form it is asked for.
//!
//! A type has one of three forms: decoded from its binary form (numbers, times, bytes, ...), whose
//! binary form is its text (text, citext, enumerations, json), or asked for as text
//! (`NativeType::as_text`) and cast back at a target.

use crate::sql::quote_ident;
use arrow_schema::{DataType, TimeUnit};
use std::sync::Arc;
use syncset_connector::{Column, NativeType, TypeDefinition};

/// `NativeType::engine` of this connector.
pub(crate) const ENGINE: &str = "postgres";

/// OIDs of built-in types, which never change.
pub(crate) mod oid {
    pub(crate) const BOOL: u32 = 16;
    pub(crate) const BYTEA: u32 = 17;
    pub(crate) const NAME: u32 = 19;
    pub(crate) const INT8: u32 = 20;
    pub(crate) const INT2: u32 = 21;
    pub(crate) const INT4: u32 = 23;
    pub(crate) const TEXT: u32 = 25;
    pub(crate) const JSON: u32 = 114;
    pub(crate) const FLOAT4: u32 = 700;
    pub(crate) const FLOAT8: u32 = 701;
    pub(crate) const BPCHAR: u32 = 1042;
    pub(crate) const VARCHAR: u32 = 1043;
    pub(crate) const DATE: u32 = 1082;
    pub(crate) const TIME: u32 = 1083;
    pub(crate) const TIMESTAMP: u32 = 1114;
    pub(crate) const TIMESTAMPTZ: u32 = 1184;
    pub(crate) const NUMERIC: u32 = 1700;
    pub(crate) const UUID: u32 = 2950;
    pub(crate) const JSONB: u32 = 3802;
}

/// Largest precision of a `Decimal128`.
const DECIMAL_PRECISION_MAX: i32 = 38;

/// How a type that is not a domain is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carrier {
    pub(crate) data_type: DataType,
    pub(crate) as_text: bool,
}

/// Whether the values of a type are names of other objects, such as `regclass`.
pub(crate) fn is_of_names(native: &str) -> bool {
    native.starts_with("reg") && !native.contains('.')
}

/// How values of a base type are carried. `text_alike` is true for types of which the binary form
/// is their text, such as enumerations and citext.
pub(crate) fn carrier(base_oid: u32, typmod: i32, text_alike: bool) -> Carrier {
    let data_type = match base_oid {
        oid::BOOL => DataType::Boolean,
        oid::INT2 => DataType::Int16,
        oid::INT4 => DataType::Int32,
        oid::INT8 => DataType::Int64,
        oid::FLOAT4 => DataType::Float32,
        oid::FLOAT8 => DataType::Float64,
        oid::NUMERIC => decimal(typmod),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::JSON | oid::JSONB => {
            DataType::Utf8
        }
        oid::BYTEA => DataType::Binary,
        oid::UUID => DataType::FixedSizeBinary(16),
        oid::DATE => DataType::Date32,
        oid::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        oid::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        oid::TIME => DataType::Time64(TimeUnit::Microsecond),
        _ => {
            return Carrier {
                data_type: DataType::Utf8,
                as_text: !text_alike,
            };
        }
    };
    Carrier {
        data_type,
        as_text: false,
    }
}

/// `numeric(p, s)` where `Decimal128` can hold it; text for every other numeric.
fn decimal(typmod: i32) -> DataType {
    if typmod < 4 {
        return DataType::Utf8;
    }
    let packed = typmod - 4;
    let precision = (packed >> 16) & 0xffff;
    // Eleven bits with a sign: since PostgreSQL 15 a scale may be negative.
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p), Ok(s))
            if precision <= DECIMAL_PRECISION_MAX && scale >= 0 && scale <= precision =>
        {
            DataType::Decimal128(p, s)
        }
        _ => DataType::Utf8,
    }
}

/// How the bytes of a value in a binary COPY become a value of the Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeKind {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    /// A numeric into `Decimal128` of this precision and scale.
    Decimal(u8, i8),
    /// A numeric into its exact text.
    NumericText,
    /// Bytes that are the text.
    Text,
    /// A version byte, then the text.
    Jsonb,
    Bytes,
    Uuid,
    Date,
    Time,
    Timestamp,
}

/// How this column is decoded; `None` for an Arrow type that no PostgreSQL type is read as.
pub(crate) fn decode_kind(column: &Column) -> Option<DecodeKind> {
    Some(match &column.data_type {
        DataType::Boolean => DecodeKind::Boolean,
        DataType::Int16 => DecodeKind::Int16,
        DataType::Int32 => DecodeKind::Int32,
        DataType::Int64 => DecodeKind::Int64,
        DataType::Float32 => DecodeKind::Float32,
        DataType::Float64 => DecodeKind::Float64,
        DataType::Decimal128(precision, scale) => DecodeKind::Decimal(*precision, *scale),
        DataType::Utf8 if column.native.as_text => DecodeKind::Text,
        DataType::Utf8 => match base_type(&column.native) {
            "jsonb" => DecodeKind::Jsonb,
            base if base == "numeric" || base.starts_with("numeric(") => DecodeKind::NumericText,
            _ => DecodeKind::Text,
        },
        DataType::Binary => DecodeKind::Bytes,
        DataType::FixedSizeBinary(16) => DecodeKind::Uuid,
        DataType::Date32 => DecodeKind::Date,
        DataType::Time64(TimeUnit::Microsecond) => DecodeKind::Time,
        DataType::Timestamp(TimeUnit::Microsecond, _) => DecodeKind::Timestamp,
        _ => return None,
    })
}

/// The type as DDL spells it, with domains replaced by what they stand for.
pub(crate) fn base_type(native: &NativeType) -> &str {
    let mut name = native.name.as_str();
    let mut definition = native.definition.as_ref();
    while let Some(TypeDefinition::Domain { base, needs }) = definition {
        name = base;
        definition = needs.as_deref().map(|(_, definition)| definition);
    }
    name
}

/// What to put into a SELECT list so that the column arrives in the form the decoder expects.
pub(crate) fn select_expression(column: &Column) -> String {
    let name = quote_ident(&column.name);
    if !column.native.as_text {
        return name;
    }
    // The text of money depends on the locale; its number does not.
    if base_type(&column.native) == "money" {
        return format!("{name}::pg_catalog.numeric::pg_catalog.text");
    }
    format!("{name}::pg_catalog.text")
}

/// A column of a query that is no column of a table, such as a computed flag.
pub(crate) fn computed_column(name: &str, data_type: DataType) -> Column {
    Column {
        name: name.to_owned(),
        data_type,
        native: NativeType {
            engine: ENGINE.to_owned(),
            name: "text".to_owned(),
            as_text: false,
            definition: None,
        },
        nullable: true,
        default: None,
        generated: None,
        stable_id: None,
        readable: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typmod(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn numerics_that_fit_are_decimals() {
        for (mod_, data_type) in [
            (typmod(12, 2), DataType::Decimal128(12, 2)),
            (typmod(38, 38), DataType::Decimal128(38, 38)),
            (typmod(39, 0), DataType::Utf8),
            (typmod(5, -2), DataType::Utf8),
            (typmod(3, 5), DataType::Utf8),
            (-1, DataType::Utf8),
        ] {
            assert_eq!(carrier(oid::NUMERIC, mod_, false).data_type, data_type);
        }
    }

    #[test]
    fn domains_are_seen_through() {
        let native = NativeType {
            engine: ENGINE.to_owned(),
            name: "public.outer".to_owned(),
            as_text: false,
            definition: Some(TypeDefinition::Domain {
                base: "public.inner".to_owned(),
                needs: Some(Box::new((
                    "public.inner".to_owned(),
                    TypeDefinition::Domain {
                        base: "jsonb".to_owned(),
                        needs: None,
                    },
                ))),
            }),
        };

        assert_eq!(base_type(&native), "jsonb");
    }
}
