//! In which form the values of a column reach the server.

use super::catalog::ActualColumn;
use crate::encode::{Wire, can_encode};
use arrow_schema::DataType;

/// How a column goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the binary form of its own type.
    Direct(Wire),
    /// As text into a text column of a stage, then cast: what follows the column's name.
    Cast(String),
}

impl Form {
    /// What the bytes of the COPY are.
    pub(crate) fn wire(&self) -> Wire {
        match self {
            Self::Direct(wire) => *wire,
            Self::Cast(_) => Wire::Text,
        }
    }

    /// What follows the column's name where it has to be of its own type.
    pub(crate) fn cast(&self) -> &str {
        match self {
            Self::Direct(_) => "",
            Self::Cast(cast) => cast,
        }
    }
}

/// The form in which values of this Arrow type reach this column; `None`: they cannot.
pub(crate) fn form_of(data_type: &DataType, actual: &ActualColumn) -> Option<Form> {
    if let Some(wire) = wire_of(actual)
        && can_encode(data_type, wire)
    {
        return Some(Form::Direct(wire));
    }
    let is_text = matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    );
    // Without length or precision: an explicit cast to `bit(3)` or `varchar(3)` cuts what is too
    // long, the assignment that follows refuses it.
    is_text.then(|| {
        Form::Cast(if actual.built_in && actual.base == "money" {
            // The text form of money depends on a setting of the server.
            format!("::numeric::{}", actual.bare)
        } else {
            format!("::{}", actual.bare)
        })
    })
}

/// The binary form of a column's type, where we write it ourselves.
fn wire_of(actual: &ActualColumn) -> Option<Wire> {
    // The binary form of an enumeration and of citext is their text.
    if actual.is_enum || (!actual.built_in && actual.base == "citext") {
        return Some(Wire::Text);
    }
    if !actual.built_in {
        return None;
    }
    Some(match actual.base.as_str() {
        "bool" => Wire::Bool,
        "int2" => Wire::Int2,
        "int4" => Wire::Int4,
        "int8" => Wire::Int8,
        "oid" | "xid" | "cid" => Wire::Oid,
        "float4" => Wire::Float4,
        "float8" => Wire::Float8,
        "numeric" => Wire::Numeric,
        "text" | "varchar" | "bpchar" | "name" | "json" | "xml" => Wire::Text,
        "jsonb" => Wire::Jsonb,
        "bytea" => Wire::Bytea,
        "uuid" => Wire::Uuid,
        "date" => Wire::Date,
        "timestamp" | "timestamptz" => Wire::Timestamp,
        "time" => Wire::Time,
        "interval" => Wire::Interval,
        _ => return None,
    })
}
