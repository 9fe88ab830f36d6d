//! Rows as the file stores them: read under the write lock, and put back.
//!
//! A value is its text behind a letter for its storage class, so that what is put back is stored in
//! the same class, bit by bit.

use crate::cell::{Cell, OwnedCell, bind, cell, integer};
use crate::connect::arguments;
use crate::deletes::KeyStage;
use crate::sql::{identifier, table as table_name};
use crate::types::REAL_DIGITS;
use crate::write::SqliteUnit;
use arrow_array::RecordBatch;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use std::collections::BTreeMap;
use syncset_connector::{
    ConnectorError, ErrorClass, PutBack, Result, RowImage, ShownValue, ShownWrite, TableName,
    TargetTable,
};

/// Keys whose rows are locked, as is everything else in the file.
pub(crate) struct Locked {
    stage: KeyStage,
    /// Of each key: its number in the stage, and whether the table has such a row.
    keys: Vec<(i64, bool)>,
}

impl SqliteUnit {
    /// See [`UnitWriter::lock_rows`](syncset_connector::UnitWriter::lock_rows).
    pub(crate) async fn lock_and_read(
        &mut self,
        table: &TargetTable,
        keys: &RecordBatch,
    ) -> Result<Vec<Option<RowImage>>> {
        let session = &mut self.writing.session;
        let mut stage = KeyStage::create(session, table, "locked").await?;
        stage.add(session, keys).await?;
        let names: Vec<String> = table.all_columns().into_iter().map(|it| it.name).collect();
        let values: Vec<_> = names
            .iter()
            .map(|name| format!("t.{}", identifier(name)))
            .collect();
        let key = table.key.first().map(|name| identifier(name));
        let (staged, matches) = stage.joined();
        let sql = format!(
            "SELECT k.rowid, t.{} IS NOT NULL, {} FROM {staged} AS k LEFT JOIN {} AS t \
             ON {matches} ORDER BY k.rowid",
            key.unwrap_or_default(),
            values.join(", "),
            table_name(&table.name),
        );
        let place = format!("looking at rows of `{}`", table.name);
        let rows = session.rows(sql, arguments![], &place).await?;
        if rows.len() != keys.num_rows() {
            return Err(not_found_again(table));
        }
        let images = rows.iter().map(|row| image(table, &names, row));
        let images = images.collect::<Result<Vec<_>>>()?;
        self.locked = Some(Locked {
            stage,
            keys: rows
                .iter()
                .map(|row| (integer(row, 0), integer(row, 1) != 0))
                .collect(),
        });
        Ok(images)
    }

    /// See [`UnitWriter::put_back`](syncset_connector::UnitWriter::put_back).
    pub(crate) async fn put_rows_back(
        &mut self,
        table: &TargetTable,
        rows: &[PutBack],
    ) -> Result<()> {
        let name = table_name(&table.name);
        let place = format!("putting rows of `{}` back", table.name);
        let (mut written, mut deleted) = (0, 0);
        let locked = self.locked.as_ref().ok_or_else(|| not_found_again(table))?;
        let (staged, matches) = locked.stage.joined();
        for row in rows {
            let (number, is_there) = locked
                .keys
                .get(row.row)
                .copied()
                .ok_or_else(|| not_found_again(table))?;
            let found = format!(
                "EXISTS (SELECT 1 FROM {staged} AS k WHERE {matches} AND k.rowid = {number})"
            );
            let (sql, arguments) = match (&row.image, is_there) {
                (None, false) => continue,
                (None, true) => (
                    format!("DELETE FROM {name} AS t WHERE {found}"),
                    arguments![],
                ),
                (Some(image), true) => {
                    let set: Vec<_> = image
                        .0
                        .keys()
                        .map(|it| format!("{} = ?", identifier(it)))
                        .collect();
                    let sql = format!("UPDATE {name} AS t SET {} WHERE {found}", set.join(", "));
                    (sql, values_of(table, image)?)
                }
                (Some(image), false) => {
                    let names: Vec<_> = image.0.keys().map(|it| identifier(it)).collect();
                    let marks = vec!["?"; names.len()].join(", ");
                    let sql = format!("INSERT INTO {name} ({}) VALUES ({marks})", names.join(", "));
                    (sql, values_of(table, image)?)
                }
            };
            let session = &mut self.writing.session;
            if session.execute(sql, arguments, &place).await? != 1 {
                return Err(not_found_again(table));
            }
            match row.image {
                Some(_) => written += 1,
                None => deleted += 1,
            }
        }
        let receipt = self.done_to(table);
        receipt.rows_written += written;
        receipt.rows_deleted += deleted;
        Ok(())
    }
}

fn image(table: &TargetTable, names: &[String], row: &SqliteRow) -> Result<Option<RowImage>> {
    if integer(row, 1) == 0 {
        return Ok(None);
    }
    let mut values = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let value = match cell(row, index + 2) {
            Cell::Null => None,
            Cell::BadText => return Err(no_text(table, name)),
            cell => Some(cell.tagged()),
        };
        values.insert(name.clone(), value);
    }
    Ok(Some(RowImage(values)))
}

fn values_of(table: &TargetTable, image: &RowImage) -> Result<SqliteArguments> {
    let mut arguments = arguments![];
    for value in image.0.values() {
        let value = match value {
            None => OwnedCell::Null,
            Some(text) => OwnedCell::parse(text).ok_or_else(|| damaged(table))?,
        };
        bind(&mut arguments, value.as_cell())?;
    }
    Ok(arguments)
}

fn no_text(table: &TargetTable, column: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        format!(
            "column `{column}` of `{}` holds a text that is no UTF-8, which cannot be kept as it is",
            table.name
        ),
    )
    .with_hint("mend the text by hand, then repair again")
}

fn damaged(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Store,
        format!("a kept row of `{}` is not what was stored", table.name),
    )
}

/// The write lock and the key's index say that this cannot be.
fn not_found_again(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Store,
        format!("rows of `{}` are not found by their keys", table.name),
    )
}

/// Whether a number stays what it is as a literal: NaN and the infinities are none, and with more
/// digits SQLite makes a float of it, also for a column that keeps texts.
fn is_plain(number: &str) -> bool {
    let is_number = number.ends_with(|end: char| end.is_ascii_digit());
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    is_number && (digits <= usize::from(REAL_DIGITS) || number.parse::<i64>().is_ok())
}

/// A write as a statement, for people.
pub(crate) fn spell(table: &TableName, write: &ShownWrite) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"));
    let literal = |value: &ShownValue| match value {
        ShownValue::Null => "NULL".to_owned(),
        ShownValue::Bool(value) => u8::from(*value).to_string(),
        ShownValue::Number(digits) if is_plain(digits) => digits.clone(),
        ShownValue::Number(text) => quoted(text),
        ShownValue::Bytes(digits) => format!("x'{digits}'"),
        ShownValue::Instant(text) => quoted(&format!("{text}+00:00")),
        ShownValue::Text(text) => quoted(text),
        ShownValue::Now => "strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now')".to_owned(),
    };
    write.statement(&identifier(&table.name), identifier, literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_spelled_for_this_store() {
        let named = |name: &str, value| (name.to_owned(), value);
        let values = vec![
            named("a\"b", ShownValue::Text("it's \\".into())),
            named("c", ShownValue::Bytes("00ff".into())),
            named("d", ShownValue::Bool(true)),
            named("e", ShownValue::Number("12345678901234567.25".into())),
            named("f", ShownValue::Number("-9223372036854775808".into())),
        ];

        let sql = spell(&TableName::bare("t"), &ShownWrite::Insert(values));

        assert_eq!(
            sql,
            r#"INSERT INTO "t" ("a""b", "c", "d", "e", "f") VALUES ('it''s \', x'00ff', 1, '12345678901234567.25', -9223372036854775808);"#
        );
    }
}
