//! Rows as the table itself spells them: locked and read, and put back.

use super::MysqlUnit;
use super::catalog::{ActualColumn, Shape};
use super::column::missing;
use super::plan::{Path, ROW_NUMBER, WritePlan};
use crate::connect::TextRow;
use crate::encode::Form;
use crate::error;
use crate::sql::{identifier, table as table_name, text};
use arrow_array::RecordBatch;
use std::collections::BTreeMap;
use std::sync::Arc;
use syncset_connector::{
    ConnectorError, ErrorClass, PutBack, Result, RowImage, ShownValue, ShownWrite, TableName,
    TargetTable,
};

/// A row of the stage of keys that are locked.
#[derive(Debug, Clone)]
pub(super) struct LockedKey {
    /// Its number in the stage.
    number: u64,
    /// False: the table has no such row.
    is_there: bool,
}

impl WritePlan {
    /// Keys into a stage, to lock the rows that have them.
    fn lock(&self) -> Path {
        self.by_keys("locked", |_| Vec::new())
    }
}

/// The value of a column of a row `t` as a text that [`value_of`] reads back.
fn text_of(column: &ActualColumn) -> String {
    let name = format!("t.{}", identifier(&column.name));
    match &column.form {
        Some(Form::Text(_) | Form::Label(_) | Form::Labels(_)) => {
            format!("CONVERT({name} USING utf8mb4)")
        }
        Some(Form::Bytes { .. } | Form::Geometry) => format!("HEX({name})"),
        Some(Form::Bits(_)) => format!("CAST(CAST({name} AS UNSIGNED) AS CHAR)"),
        // The text of a float of 32 bits has too few digits; adding zero would lose a sign.
        Some(Form::Float { single: true, .. }) => format!("CAST({name} * 1e0 AS CHAR)"),
        _ => format!("CAST({name} AS CHAR)"),
    }
}

/// What a value of an image is in a statement.
fn value_of(column: &ActualColumn, value: Option<&str>) -> String {
    let Some(value) = value else {
        return "NULL".to_owned();
    };
    match &column.form {
        Some(Form::Bytes { .. } | Form::Geometry) => format!("UNHEX({})", text(value)),
        Some(Form::Bits(_)) => format!("CAST({} AS UNSIGNED)", text(value)),
        _ => text(value),
    }
}

/// The columns of an image: those that the pipeline writes, and those that the target fills itself.
fn imaged<'a>(table: &TargetTable, shape: &'a Shape) -> Result<Vec<&'a ActualColumn>> {
    let mut columns = Vec::new();
    for column in table.all_columns() {
        let actual = shape.column(&column.name);
        let actual = actual.ok_or_else(|| missing(table, &column))?;
        if !actual.generated {
            columns.push(actual);
        }
    }
    Ok(columns)
}

impl MysqlUnit {
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
        let key = plan.key.first().ok_or_else(told_apart_badly(table))?;
        let texts = columns.iter().map(|column| text_of(column));
        // A text that is longer than a packet would be NULL.
        let lost = columns.iter().map(|column| {
            let name = identifier(&column.name);
            format!("(t.{name} IS NULL) <> ({} IS NULL)", text_of(column))
        });
        let read = format!(
            "SELECT s.{ROW_NUMBER}, t.{} IS NOT NULL, {}, {} FROM {stage} AS s \
             LEFT JOIN {} AS t ON {} ORDER BY s.{ROW_NUMBER} FOR UPDATE",
            identifier(&key.name),
            lost.collect::<Vec<_>>().join(" OR "),
            texts.collect::<Vec<_>>().join(", "),
            plan.target,
            plan.key_matches()
        );
        let rows = self.session()?.rows(&read).await;
        let rows = rows.map_err(|error| self.examined(error))?;
        if rows.len() != keys.num_rows() {
            return Err(told_apart_badly(table)());
        }
        if rows.iter().any(|row| row.is_true(2)) {
            return Err(too_long(table));
        }
        let locked = rows.iter().map(|row| {
            Ok(LockedKey {
                number: row.parse(0)?,
                is_there: row.is_true(1),
            })
        });
        let locked = locked.collect::<Result<Vec<_>>>()?;
        let images = rows.iter().map(|row| image(&columns, row));
        let images = images.collect::<Result<Vec<_>>>()?;
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
        let (target, matches) = (plan.target.clone(), plan.key_matches());
        for row in rows {
            let locked = self.tables[place].locked.get(row.row).cloned();
            let locked = locked.ok_or_else(told_apart_badly(table))?;
            let joined = format!("{stage} AS s STRAIGHT_JOIN {target} AS t ON {matches}");
            let found = format!("s.{ROW_NUMBER} = {}", locked.number);
            let sql = match (&row.image, locked.is_there) {
                (None, false) => continue,
                (None, true) => format!("DELETE t FROM {joined} WHERE {found}"),
                (Some(image), true) => {
                    let values = columns_of(table, &shape, image)?;
                    let set = values.iter().map(|(column, value)| {
                        format!(
                            "t.{} = {}",
                            identifier(&column.name),
                            value_of(column, *value)
                        )
                    });
                    let set = set.collect::<Vec<_>>().join(", ");
                    format!("UPDATE {joined} SET {set} WHERE {found}")
                }
                (Some(image), false) => {
                    let values = columns_of(table, &shape, image)?;
                    let names = values.iter().map(|(column, _)| identifier(&column.name));
                    let names = names.collect::<Vec<_>>().join(", ");
                    let values = values
                        .iter()
                        .map(|(column, value)| value_of(column, *value));
                    let values = values.collect::<Vec<_>>().join(", ");
                    format!("INSERT INTO {target} ({names}) VALUES ({values})")
                }
            };
            let changed = self.execute(&sql).await?;
            // A row that holds what it should is not counted.
            let is_update = row.image.is_some() && locked.is_there;
            if changed > 1 || (changed == 0 && !is_update) {
                return Err(told_apart_badly(table)());
            }
            let receipt = &mut self.tables[place].receipt;
            match row.image {
                Some(_) => receipt.rows_written += 1,
                None => receipt.rows_deleted += 1,
            }
        }
        Ok(())
    }

    async fn shape(&mut self, table: &TargetTable) -> Result<Arc<Shape>> {
        let pool = Arc::clone(&self.pool);
        let facts = self.facts.clone();
        pool.shape(self.session()?, &facts, &table.name).await
    }
}

fn image(columns: &[&ActualColumn], row: &TextRow) -> Result<Option<RowImage>> {
    if !row.is_true(1) {
        return Ok(None);
    }
    let mut values = BTreeMap::new();
    for (index, column) in columns.iter().enumerate() {
        let value = match row.bytes(index + 3) {
            None => None,
            Some(bytes) => Some(
                String::from_utf8(bytes.to_vec())
                    .map_err(|_| error::unexpected("the server sent a text that is no UTF-8"))?,
            ),
        };
        values.insert(column.name.clone(), value);
    }
    Ok(Some(RowImage(values)))
}

fn columns_of<'a, 'b>(
    table: &TargetTable,
    shape: &'a Shape,
    image: &'b RowImage,
) -> Result<Vec<(&'a ActualColumn, Option<&'b str>)>> {
    let column = |(name, value): (&String, &'b Option<String>)| {
        let actual = shape.column(name).ok_or_else(|| gone(table, name))?;
        Ok((actual, value.as_deref()))
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

fn too_long(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        format!(
            "a value of `{}` is too long to be kept as it is: the server's packets are too small",
            table.name
        ),
    )
    .with_hint("raise `max_allowed_packet` of the server")
}

/// The key's index says that this cannot be, or somebody wrote in between.
fn told_apart_badly(table: &TargetTable) -> impl Fn() -> ConnectorError + use<> {
    let message = format!("rows of `{}` changed while they were locked", table.name);
    move || ConnectorError::new(ErrorClass::Transient, message.clone())
}

/// A write as a statement, for people.
pub(crate) fn spell(table: &TableName, write: &ShownWrite) -> String {
    let quoted = |value: &str| {
        let literal = text(value);
        literal
            .strip_prefix("_utf8mb4")
            .unwrap_or(&literal)
            .to_owned()
    };
    let literal = |value: &ShownValue| match value {
        ShownValue::Null => "NULL".to_owned(),
        ShownValue::Bool(value) => u8::from(*value).to_string(),
        ShownValue::Number(digits) => digits.clone(),
        ShownValue::Bytes(digits) => format!("X'{digits}'"),
        // In the zone of the session, which has to be UTC.
        ShownValue::Instant(value) | ShownValue::Text(value) => quoted(value),
        ShownValue::Now => "UTC_TIMESTAMP(6)".to_owned(),
    };
    write.statement(&table_name(table), identifier, literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_spelled_for_this_server() {
        let named = |name: &str, value| (name.to_owned(), value);
        let key = vec![named("id", ShownValue::Number("7".into()))];
        let set = vec![
            named("a`b", ShownValue::Text("it's \\".into())),
            named("c", ShownValue::Bytes("00ff".into())),
            named("d", ShownValue::Bool(true)),
            named("e", ShownValue::Now),
        ];

        let sql = spell(&TableName::bare("t"), &ShownWrite::Update { key, set });

        assert_eq!(
            sql,
            r"UPDATE `t` SET `a``b` = 'it\'s \\', `c` = X'00ff', `d` = 1, `e` = UTC_TIMESTAMP(6) WHERE `id` = 7;"
        );
    }
}
