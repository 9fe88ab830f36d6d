//! Rows as the table itself spells them: locked and read, and put back.
//!
//! A value is the text that its type prints under the settings of our sessions, which the same type
//! reads back as the same value.

use super::PgUnit;
use super::catalog::{ActualColumn, Shape, target_name};
use super::plan::{Path, Staged, WritePlan, missing};
use crate::connect::TextRow;
use crate::sql::{quote_ident, quote_literal};
use arrow_array::RecordBatch;
use std::collections::BTreeMap;
use syncset_connector::{
    ConnectorError, ErrorClass, PutBack, Result, RowImage, ShownValue, ShownWrite, TableName,
    TargetTable,
};

/// A row of the stage of keys that are locked.
#[derive(Debug, Clone)]
pub(super) struct LockedKey {
    /// Where it lies in the stage.
    place: String,
    /// False: the table has no such row.
    is_there: bool,
}

impl WritePlan {
    /// Keys into a stage, to lock the rows that have them.
    fn lock(&self) -> Path {
        self.by_keys("locked", |_| String::new())
    }
}

/// A column as the statements here name it.
struct Imaged<'a> {
    actual: &'a ActualColumn,
    name: String,
}

impl<'a> Imaged<'a> {
    fn new(actual: &'a ActualColumn) -> Self {
        Self {
            actual,
            name: quote_ident(&actual.name),
        }
    }

    /// A cast of these to text cuts blanks at the end, which are part of the value where the column
    /// has no length.
    fn is_padded(&self) -> bool {
        self.actual.built_in && self.actual.base == "bpchar"
    }

    /// The text form of money depends on a setting of the server.
    fn is_money(&self) -> bool {
        self.actual.built_in && self.actual.base == "money"
    }

    fn text(&self) -> String {
        let name = &self.name;
        if self.is_money() {
            format!("t.{name}::numeric::text")
        } else if self.is_padded() {
            format!("CASE WHEN t.{name} IS NOT NULL THEN pg_catalog.format('%s', t.{name}) END")
        } else {
            format!("t.{name}::text")
        }
    }

    /// A value of an image, of the column's own type.
    fn value(&self, text: Option<&str>) -> Result<String> {
        let Some(text) = text else {
            return Ok("NULL".to_owned());
        };
        let literal = quote_literal(text)?;
        Ok(match self.is_money() {
            true => format!("{literal}::numeric::money"),
            false => literal,
        })
    }
}

/// The columns of an image: those that the pipeline writes, and those that the target fills itself.
fn imaged<'a>(table: &TargetTable, shape: &'a Shape) -> Result<Vec<Imaged<'a>>> {
    let mut columns = Vec::new();
    for column in table.all_columns() {
        let actual = shape.column(&column.name);
        let actual = actual.ok_or_else(|| missing(table, &column))?;
        if !actual.generated {
            columns.push(Imaged::new(actual));
        }
    }
    Ok(columns)
}

impl PgUnit {
    /// See [`UnitWriter::lock_rows`](syncset_connector::UnitWriter::lock_rows).
    pub(super) async fn lock_and_read(
        &mut self,
        table: &TargetTable,
        keys: &RecordBatch,
    ) -> Result<Vec<Option<RowImage>>> {
        let place = self.work_on(table).await?;
        let path = self.tables[place].plan.lock();
        let stage = path.stage.as_ref().expect("keys are staged").name.clone();
        self.empty_stages().await?;
        self.send(place, &path, keys).await?;
        let shape = self.shape(table).await?;
        let columns = imaged(table, &shape)?;
        let plan = &self.tables[place].plan;
        let matches = plan.key_matches(Staged::AsSent);
        let texts: Vec<_> = columns.iter().map(Imaged::text).collect();
        // The second statement sees what the locks of the first one waited for.
        let lock = format!(
            "SELECT FROM {} AS t JOIN {stage} AS s ON {matches} ORDER BY s.ctid FOR UPDATE OF t",
            plan.target
        );
        let read = format!(
            "SELECT s.ctid::text, t.tableoid IS NOT NULL, {} FROM {stage} AS s \
             LEFT JOIN {} AS t ON {matches} ORDER BY s.ctid",
            texts.join(", "),
            plan.target
        );
        self.run(&lock).await?;
        let rows = self.session().await?.rows(&read).await;
        let rows = rows.map_err(|error| self.examined(error))?;
        if rows.len() != keys.num_rows() {
            return Err(told_apart_badly(table));
        }
        let locked = rows.iter().map(|row| {
            Ok(LockedKey {
                place: row.required(0)?.to_owned(),
                is_there: row.is_true(1),
            })
        });
        let locked = locked.collect::<Result<Vec<_>>>()?;
        let images = rows.iter().map(|row| image(&columns, row)).collect();
        self.tables[place].locked = locked;
        Ok(images)
    }

    /// See [`UnitWriter::put_back`](syncset_connector::UnitWriter::put_back).
    pub(super) async fn put_rows_back(
        &mut self,
        table: &TargetTable,
        rows: &[PutBack],
    ) -> Result<()> {
        let place = self.work_on(table).await?;
        let shape = self.shape(table).await?;
        let plan = &self.tables[place].plan;
        let stage = plan.lock().stage.expect("keys are staged").name;
        let (target, matches) = (plan.target.clone(), plan.key_matches(Staged::AsSent));
        for row in rows {
            let locked = self.tables[place].locked.get(row.row).cloned();
            let locked = locked.ok_or_else(not_locked)?;
            let found = format!("{matches} AND s.ctid = '{}'", locked.place);
            let sql = match (&row.image, locked.is_there) {
                (None, false) => continue,
                (None, true) => {
                    format!("DELETE FROM {target} AS t USING {stage} AS s WHERE {found}")
                }
                (Some(image), true) => {
                    let set = assignments(table, &shape, image)?;
                    if set.is_empty() {
                        continue;
                    }
                    format!("UPDATE {target} AS t SET {set} FROM {stage} AS s WHERE {found}")
                }
                (Some(image), false) => {
                    let (names, values) = named_values(table, &shape, image)?;
                    format!(
                        "INSERT INTO {target} ({names}) OVERRIDING SYSTEM VALUE VALUES ({values})"
                    )
                }
            };
            let changed = self.session().await?.execute(&sql).await;
            if changed.map_err(|error| self.examined(error))? != 1 {
                return Err(told_apart_badly(table));
            }
            let receipt = &mut self.tables[place].receipt;
            match row.image {
                Some(_) => receipt.rows_written += 1,
                None => receipt.rows_deleted += 1,
            }
        }
        Ok(())
    }

    async fn shape(&mut self, table: &TargetTable) -> Result<std::sync::Arc<Shape>> {
        let pool = std::sync::Arc::clone(&self.pool);
        let session = self.session().await?;
        pool.shape(session, &table.name).await
    }
}

fn image(columns: &[Imaged<'_>], row: &TextRow) -> Option<RowImage> {
    if !row.is_true(1) {
        return None;
    }
    let values = columns.iter().enumerate();
    let values = values.map(|(index, column)| {
        let value = row.text(index + 2).map(str::to_owned);
        (column.actual.name.clone(), value)
    });
    Some(RowImage(values.collect::<BTreeMap<_, _>>()))
}

/// What an UPDATE may name: an identity that is generated always keeps its value, and it is the same.
fn assignments(table: &TargetTable, shape: &Shape, image: &RowImage) -> Result<String> {
    let mut parts = Vec::new();
    for (column, value) in columns_of(table, shape, image)? {
        if !column.actual.identity_always {
            parts.push(format!("{} = {}", column.name, column.value(value)?));
        }
    }
    Ok(parts.join(", "))
}

fn named_values(table: &TargetTable, shape: &Shape, image: &RowImage) -> Result<(String, String)> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (column, value) in columns_of(table, shape, image)? {
        values.push(column.value(value)?);
        names.push(column.name);
    }
    Ok((names.join(", "), values.join(", ")))
}

fn columns_of<'a, 'b>(
    table: &TargetTable,
    shape: &'a Shape,
    image: &'b RowImage,
) -> Result<Vec<(Imaged<'a>, Option<&'b str>)>> {
    let column = |(name, value): (&String, &'b Option<String>)| {
        let actual = shape.column(name).ok_or_else(|| gone(table, name))?;
        Ok((Imaged::new(actual), value.as_deref()))
    };
    image.0.iter().map(column).collect()
}

fn gone(table: &TargetTable, column: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!(
            "`{}` has no column `{column}` any more, so its rows cannot be put back",
            table.name
        ),
    )
    .with_hint("add the column again, or mend the rows by hand")
}

fn not_locked() -> ConnectorError {
    ConnectorError::new(ErrorClass::Store, "a row that is put back was not locked")
}

/// The key's index says that this cannot be, or somebody wrote in between.
fn told_apart_badly(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Transient,
        format!("rows of `{}` changed while they were locked", table.name),
    )
}

/// A write as a statement, for people.
pub(crate) fn spell(table: &TableName, write: &ShownWrite) -> String {
    let literal = |value: &ShownValue| {
        let quoted = |text: &str| {
            quote_literal(&text.replace('\0', "\u{fffd}"))
                .expect("a literal without NUL can be quoted")
        };
        match value {
            ShownValue::Null => "NULL".to_owned(),
            ShownValue::Bool(value) => value.to_string(),
            // NaN and the infinities are no numbers of SQL.
            ShownValue::Number(digits) if digits.ends_with(|end: char| end.is_ascii_digit()) => {
                digits.clone()
            }
            ShownValue::Number(name) => quoted(name),
            ShownValue::Bytes(digits) => quoted(&format!("\\x{digits}")),
            ShownValue::Instant(text) => quoted(&format!("{text}+00:00")),
            ShownValue::Text(text) => quoted(text),
            ShownValue::Now => "now()".to_owned(),
        }
    };
    write.statement(&target_name(table), quote_ident, literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_spelled_for_this_server() {
        let named = |name: &str, value| (name.to_owned(), value);
        let key = vec![named("id", ShownValue::Number("7".into()))];
        let set = vec![
            named("a\"b", ShownValue::Text("it's \\".into())),
            named("c", ShownValue::Bytes("00ff".into())),
            named("d", ShownValue::Bool(true)),
            named("e", ShownValue::Number("NaN".into())),
            named("f", ShownValue::Now),
        ];

        let sql = spell(&TableName::bare("t"), &ShownWrite::Update { key, set });

        assert_eq!(
            sql,
            "UPDATE \"public\".\"t\" SET \"a\"\"b\" =  E'it''s \\\\', \"c\" =  E'\\\\x00ff', \
             \"d\" = true, \"e\" = 'NaN', \"f\" = now() WHERE \"id\" = 7;"
        );
    }
}
