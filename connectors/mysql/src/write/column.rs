//! The columns that are written: what takes their values, and how two images of them are compared.

use super::catalog::{ActualColumn, Shape};
use super::plan::create_index;
use crate::encode::{EncodedColumn, Form};
use crate::sql::identifier;
use syncset_connector::{ConnectorError, ErrorClass, Result, TargetColumn, TargetTable};

/// A column that is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) actual: ActualColumn,
}

/// True if a column of the rows `t` and `s` holds the same bits.
pub(super) fn same(column: &Written) -> String {
    let name = identifier(&column.name);
    let (there, new) = (format!("t.{name}"), format!("s.{name}"));
    match &column.actual.form {
        Some(Form::Text(_)) => {
            let bytes = format!("CAST({there} AS BINARY) <=> CAST({new} AS BINARY)");
            match column.actual.parsed.base.as_str() {
                // The bytes of a text that is longer than a packet would be NULL.
                "mediumtext" | "longtext" => {
                    format!("({there} IS NULL) = ({new} IS NULL) AND {bytes}")
                }
                _ => bytes,
            }
        }
        Some(Form::Label(_) | Form::Labels(_)) => {
            format!("CAST({there} AS BINARY) <=> CAST({new} AS BINARY)")
        }
        Some(Form::Json(_)) => {
            format!("CAST(CAST({there} AS CHAR) AS BINARY) <=> CAST(CAST({new} AS CHAR) AS BINARY)")
        }
        // Zero and negative zero are equal, and are not the same.
        Some(Form::Float { .. }) => {
            format!("{there} <=> {new} AND CAST({there} AS CHAR) <=> CAST({new} AS CHAR)")
        }
        Some(Form::Geometry) => format!("HEX({there}) <=> HEX({new})"),
        _ => format!("{there} <=> {new}"),
    }
}

/// What the encoder is told of a column.
pub(super) fn encoded_column(
    table: &TargetTable,
    column: &TargetColumn,
    actual: &ActualColumn,
    index: usize,
) -> Result<EncodedColumn> {
    let form = actual
        .form_of_values()
        .filter(|form| form.takes(&column.data_type))
        .ok_or_else(|| not_carried(table, column, actual))?;
    Ok(EncodedColumn {
        index,
        name: column.name.clone(),
        form,
        not_null: actual.not_null,
    })
}

/// The columns of the key as the table has them.
pub(super) fn key_columns(table: &TargetTable, shape: &Shape) -> Result<Vec<Written>> {
    if table.key.is_empty() {
        return Ok(Vec::new());
    }
    if shape.unique_index(&table.key).is_none() {
        return Err(ConnectorError::new(
            ErrorClass::TargetDiffers,
            format!(
                "`{}` has no unique index on ({})",
                table.name,
                table.key.join(", ")
            ),
        )
        .with_hint(create_index(table)));
    }
    let column = |name: &String| {
        let actual = shape
            .column(name)
            .ok_or_else(|| not_selected(table, name))?;
        Ok(Written {
            name: name.clone(),
            actual: actual.clone(),
        })
    };
    table.key.iter().map(column).collect()
}

pub(super) fn missing(table: &TargetTable, column: &TargetColumn) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("`{}` has no column `{}`", table.name, column.name),
    )
    .with_hint("add the column at the target, or leave it out of `columns:`")
}

pub(super) fn not_selected(table: &TargetTable, name: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Config,
        format!("key column `{name}` of `{}` is not selected", table.name),
    )
}

fn not_carried(
    table: &TargetTable,
    column: &TargetColumn,
    actual: &ActualColumn,
) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        format!(
            "column `{}` of `{}` is {} at the target, which cannot take {}",
            column.name, table.name, actual.declared, column.data_type
        ),
    )
    .with_hint("change the column's type at the target, or leave it out of `columns:`")
}

pub(super) fn names(columns: &[Written]) -> String {
    let names: Vec<_> = columns.iter().map(|it| identifier(&it.name)).collect();
    names.join(", ")
}

pub(super) fn prefixed(alias: &str, columns: &[Written]) -> String {
    let names: Vec<_> = columns
        .iter()
        .map(|it| format!("{alias}.{}", identifier(&it.name)))
        .collect();
    names.join(", ")
}
