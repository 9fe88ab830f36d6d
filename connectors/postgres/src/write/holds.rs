//! What columns take, in words that every store shares. Pure.

use super::catalog::{ActualColumn, Shape};
use super::form::{Form, form_of};
use crate::ddl;
use crate::encode::Wire;
use arrow_schema::DataType;
use serde::de::IgnoredAny;
use syncset_connector::{
    Calendar, Domain, Holds, Repertoire, TargetColumn, TargetTable, Test, TextDomain,
};

/// Days since 1970 of 4714-11-24 BC and of 5874897-12-31.
const DAYS: (i32, i32) = (-2_440_588, 2_145_042_905);
const DAY_MICROS: i64 = 86_400_000_000;
const CALENDAR: Calendar = Calendar {
    infinities: true,
    lacks: None,
};

/// What the columns of a table take; `shape` if it exists. Its types are those that were mapped or
/// wider ones.
pub(crate) fn of_table(table: &TargetTable, shape: Option<&Shape>) -> Vec<Holds> {
    let holds = |column: &TargetColumn| {
        let actual = shape.and_then(|shape| shape.column(&column.name));
        Holds {
            nullable: match actual {
                Some(actual) => !actual.not_null,
                None => column.nullable && !table.key.contains(&column.name),
            },
            // What another PostgreSQL holds fits.
            domain: match ddl::own(column) {
                Some(_) => Domain::Any,
                None => domain(column, actual),
            },
            is_other: false,
        }
    };
    table.columns.iter().map(holds).collect()
}

fn domain(column: &TargetColumn, actual: Option<&ActualColumn>) -> Domain {
    match &column.data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => texts(column, actual),
        DataType::Date32 => Domain::Dates {
            min: DAYS.0,
            max: DAYS.1,
            calendar: CALENDAR,
        },
        DataType::Timestamp(..) => Domain::Moments {
            min: i64::from(DAYS.0) * DAY_MICROS,
            max: i64::MAX,
            digits: 6,
            calendar: CALENDAR,
        },
        _ => Domain::Any,
    }
}

fn texts(column: &TargetColumn, actual: Option<&ActualColumn>) -> Domain {
    let native = match actual {
        Some(actual) => actual.base.clone(),
        None => ddl::map_type(column).native,
    };
    if native == "json" {
        return Domain::Tested(Test::new("JSON of PostgreSQL", is_json));
    }
    let is_sent_as_text = match actual {
        Some(actual) => matches!(
            form_of(&column.data_type, actual),
            Some(Form::Direct(Wire::Text))
        ),
        None => native == "text",
    };
    if !is_sent_as_text {
        return Domain::Any;
    }
    Domain::Texts(TextDomain {
        repertoire: Repertoire::new("UTF-8 without NUL", |character| {
            (character != '\0').then_some(character.len_utf8() as u64)
        }),
        chars_max: None,
        bytes_max: u64::MAX,
        drops_blanks: false,
    })
}

/// Whether a text is JSON by the letter.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_mariadb_takes_for_json_is_found() {
        for json in [
            "[1e400, 123456789012345678901234567890.12]",
            " {\"a\": \"\\u0000\", \"a\": -0.0} ",
        ] {
            assert!(is_json(json.as_bytes()), "{json}");
        }
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(is_json(deep.as_bytes()));
        for other in ["1.", "[-1.]", "\"\\x\"", "1.e5", "\"\t\"", ""] {
            assert!(!is_json(other.as_bytes()), "{other}");
        }
    }
}
