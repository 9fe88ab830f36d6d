//! The canonical form of rows as SQL of PostgreSQL: see [`ValueForm`].

use crate::types::base_type;
use arrow_schema::DataType;
use syncset_connector::{Column, TypeDefinition, ValueForm};

/// Arguments of one call of `concat`, at most.
const ARGUMENTS_MAX: usize = 100;

/// Longest form that is written down as it is.
const FORM_BYTES_MAX: usize = 1_024;

/// The form of a value as a text; NULL stays NULL.
struct FormSql {
    text: String,
    /// Whether it may be longer than [`FORM_BYTES_MAX`], or hold other characters than ASCII's.
    is_any_text: bool,
}

/// What one value of a column adds to its row.
///
/// # Errors
/// Why this server does not make the form of such a column.
pub(super) fn written(
    column: &Column,
    value: &str,
    form: ValueForm,
    encoding: &str,
) -> Result<String, String> {
    let FormSql { text, is_any_text } = form_of(column, value, form)?;
    if !is_any_text {
        return Ok(format!(
            "coalesce(pg_catalog.octet_length({text}) || ':' || {text}, '~')"
        ));
    }
    let bytes = format!("pg_catalog.convert_to({text}, 'UTF8')");
    let length = match encoding {
        "UTF8" => format!("pg_catalog.octet_length({text})"),
        _ => format!("pg_catalog.octet_length({bytes})"),
    };
    Ok(format!(
        "CASE WHEN {value} IS NULL THEN '~' WHEN {length} > {FORM_BYTES_MAX} \
         THEN '#' || pg_catalog.encode(pg_catalog.sha256({bytes}), 'hex') \
         ELSE {length} || ':' || {text} END"
    ))
}

/// The hash of what is written of some values: the first 60 bits of its SHA-256.
pub(super) fn hash(written: &[String]) -> String {
    let rows: Vec<_> = written
        .chunks(ARGUMENTS_MAX)
        .map(|some| format!("pg_catalog.concat({})", some.join(", ")))
        .collect();
    let row = rows.join(" || ");
    format!(
        "('x0' || pg_catalog.substr(pg_catalog.encode(pg_catalog.sha256(\
         pg_catalog.convert_to({row}, 'UTF8')), 'hex'), 1, 15))::pg_catalog.bit(64)::pg_catalog.int8"
    )
}

fn form_of(column: &Column, value: &str, form: ValueForm) -> Result<FormSql, String> {
    let base = base_type(&column.native);
    let plain = |text: String| {
        Ok(FormSql {
            text,
            is_any_text: false,
        })
    };
    let any = |text: String| {
        Ok(FormSql {
            text,
            is_any_text: true,
        })
    };
    let text = format!("{value}::pg_catalog.text");
    let is_enum = matches!(column.native.definition, Some(TypeDefinition::Enum { .. }));
    let is_json = matches!(base, "json" | "jsonb");
    let is_number = base == "numeric" || base.starts_with("numeric(");
    let is_text =
        column.data_type == DataType::Utf8 && !column.native.as_text && !is_json && !is_number;
    match form {
        ValueForm::Number => match base {
            "smallint" | "integer" | "bigint" => plain(text),
            "boolean" => plain(format!("{value}::pg_catalog.int4::pg_catalog.text")),
            _ if is_number => any(format!(
                "pg_catalog.trim_scale({value}::pg_catalog.numeric)::pg_catalog.text"
            )),
            _ => Err(unknown(column)),
        },
        ValueForm::Moment => match &column.data_type {
            DataType::Timestamp(_, Some(_)) => {
                plain(format!("({value} AT TIME ZONE 'UTC')::pg_catalog.text"))
            }
            DataType::Timestamp(_, None) => plain(text),
            _ => Err(unknown(column)),
        },
        ValueForm::Text if is_text || is_enum => any(text),
        ValueForm::Padded if is_text || is_enum => any(format!("pg_catalog.rtrim({text}, ' ')")),
        ValueForm::Bytes => match &column.data_type {
            DataType::Binary => any(format!("pg_catalog.encode({value}, 'hex')")),
            DataType::FixedSizeBinary(16) => plain(format!("pg_catalog.replace({text}, '-', '')")),
            _ => Err(unknown(column)),
        },
        ValueForm::Printed => match &column.data_type {
            DataType::Date32 | DataType::FixedSizeBinary(16) => plain(text),
            _ if is_text => any(text),
            _ => Err(unknown(column)),
        },
        _ => Err(unknown(column)),
    }
}

fn unknown(column: &Column) -> String {
    let (name, native) = (&column.name, &column.native.name);
    format!("column `{name}` is `{native}`, whose values servers spell differently")
}
