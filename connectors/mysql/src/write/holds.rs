//! What columns take, in words that every store shares. Pure.

use super::catalog::Shape;
use crate::connect::ServerFacts;
use crate::ddl;
use crate::encode::{Form, TextForm, document, uuid};
use crate::type_mapping;
use crate::types::{Flavour, Parsed};
use syncset_connector::{Calendar, Domain, Holds, Repertoire, TargetTable, Test, TextDomain};

/// Days since 1970 of the first of January of the year 0 and the last of December of 9999.
const DAYS: (i32, i32) = (-719_528, 2_932_896);
/// Their year 0 is no leap year.
const CALENDAR: Calendar = Calendar {
    infinities: false,
    lacks: Some(-719_469),
};

const DAY_MICROS: i64 = 86_400_000_000;
const SECOND_MICROS: i64 = 1_000_000;

/// What the columns of a table take; `shape` if it exists.
pub(crate) fn of_table(
    table: &TargetTable,
    shape: Option<&Shape>,
    facts: &ServerFacts,
) -> Vec<Holds> {
    let flavour = facts.flavour;
    let made = ddl::column_types(table, flavour).unwrap_or_else(|_| {
        let types = table.columns.iter();
        types
            .map(|column| type_mapping::map_type(column, flavour).native)
            .collect()
    });
    let columns = table.columns.iter().zip(made);
    let holds = columns.map(|(column, native)| {
        let actual = shape.and_then(|shape| shape.column(&column.name));
        let form = Form::of(&Parsed::of(&native), flavour, facts.version_numbers);
        let wanted = form.as_ref().map_or(Domain::Any, domain);
        match actual {
            Some(actual) => {
                let domain = actual.form_of_values().as_ref().map_or(Domain::Any, domain);
                Holds {
                    nullable: !actual.not_null,
                    is_other: domain != wanted,
                    domain,
                }
            }
            None => Holds {
                nullable: column.nullable && !table.key.contains(&column.name),
                domain: wanted,
                is_other: false,
            },
        }
    });
    holds.collect()
}

fn domain(form: &Form) -> Domain {
    match form {
        Form::Integer { min, max } => Domain::Integers {
            min: *min,
            max: *max,
        },
        Form::Bits(count) => Domain::Bits(*count),
        Form::Decimal {
            precision,
            scale,
            unsigned,
        } => Domain::Decimals {
            precision: *precision,
            scale: *scale,
            unsigned: *unsigned,
        },
        Form::Float { single, unsigned } => Domain::Floats {
            single: *single,
            unsigned: *unsigned,
        },
        Form::Text(text) => Domain::Texts(texts(text)),
        Form::Label(labels) => Domain::Labels {
            labels: labels.clone(),
            several: false,
        },
        Form::Labels(labels) => Domain::Labels {
            labels: labels.clone(),
            several: true,
        },
        Form::Bytes { exactly, max } => Domain::Bytes {
            exactly: *exactly,
            max: *max,
        },
        Form::Year => Domain::Years,
        Form::Date => Domain::Dates {
            min: DAYS.0,
            max: DAYS.1,
            calendar: CALENDAR,
        },
        Form::DateTime { digits } => Domain::Moments {
            min: i64::from(DAYS.0) * DAY_MICROS,
            max: (i64::from(DAYS.1) + 1) * DAY_MICROS - 1,
            digits: *digits,
            calendar: CALENDAR,
        },
        // Second zero is what a zero date is stored as.
        Form::Timestamp { digits, max } => Domain::Moments {
            min: SECOND_MICROS,
            max: (max + 1) * SECOND_MICROS - 1,
            digits: *digits,
            calendar: Calendar::default(),
        },
        Form::Time { digits, max } => Domain::Times {
            max: *max,
            digits: *digits,
        },
        Form::Json(Flavour::MySql) => {
            Domain::Tested(Test::new("JSON of MySQL", document::mysql_keeps))
        }
        Form::Json(Flavour::MariaDb) => {
            Domain::Tested(Test::new("JSON of MariaDB", document::mariadb_keeps))
        }
        Form::Uuid => Domain::Tested(Test::new("UUID of MariaDB", uuid::keeps)),
        Form::Printed | Form::Geometry => Domain::Any,
    }
}

fn texts(form: &TextForm) -> TextDomain {
    let charset = form.charset;
    TextDomain {
        repertoire: Repertoire::new(format!("{charset:?}"), move |character| {
            charset.bytes(character)
        }),
        chars_max: form.chars_max,
        bytes_max: form.bytes_max,
        drops_blanks: form.drops_blanks,
    }
}
