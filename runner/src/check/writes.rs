//! What a repair would write, for people: `repair --dry-run`. Reads both sides, writes nothing.

use super::again::{Again, Reader};
use super::report::CheckedTable;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::fit::{self, Losses};
use crate::open::Ends;
use crate::planned::{self, PlannedTable};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use syncset_connector::{ShownValue, ShownWrite, SnapshotRequest};
use syncset_pipeline::PipelineSpec;

/// What would be written to one table.
#[derive(Debug, Serialize)]
pub(crate) struct TableWrites {
    /// The table as the pipeline names it.
    pub(crate) table: String,
    /// The target table.
    pub(crate) target: String,
    /// As statements of the target's dialect.
    #[serde(skip)]
    pub(crate) statements: Vec<String>,
    /// The same as keys and columns.
    pub(crate) writes: Vec<Value>,
}

/// What a repair of these tables would write.
pub(crate) async fn writes(
    spec: &PipelineSpec,
    project: &str,
    tables: &[CheckedTable],
) -> Result<Vec<TableWrites>, Failures> {
    let drifted: Vec<_> = tables.iter().filter(|table| table.drifted() > 0).collect();
    let names: Vec<String> = drifted.iter().map(|table| table.table.clone()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let ends = Ends::open(spec, project, 1).await?;
    let reader = Reader::open(&spec.target, &ends.key, 1).await?;
    let planned = planned::plan(&ends, spec, &names, None).await?;
    let mut all = Vec::new();
    for table in drifted {
        let planned = planned.tables.iter().find(|it| it.stream() == table.table);
        let Some(planned) = planned else {
            continue;
        };
        let again = reader.rows_of(planned).await?;
        all.push(of_table(&ends, planned, &again, table).await?);
    }
    reader.close().await;
    ends.close().await;
    Ok(all)
}

async fn of_table(
    ends: &Ends,
    planned: &PlannedTable,
    again: &Again<'_>,
    table: &CheckedTable,
) -> Result<TableWrites, Failure> {
    let mut found = TableWrites {
        table: table.table.clone(),
        target: table.target.clone(),
        statements: Vec::new(),
        writes: Vec::new(),
    };
    let name = &planned.target.name;
    for keys in &table.drifted_keys {
        let here = at_source(ends, planned, keys).await?;
        let there = again.rows_at_target(keys).await?;
        for write in between(planned, again, (&here, &there))? {
            found.statements.push(ends.target().spell(name, &write));
            found.writes.push(as_json(&write));
        }
    }
    Ok(found)
}

/// The rows of the source as they would be written.
async fn at_source(
    ends: &Ends,
    planned: &PlannedTable,
    keys: &RecordBatch,
) -> Result<Vec<RecordBatch>, Failure> {
    let request = SnapshotRequest {
        read: planned.plan.read.clone(),
        from: None,
    };
    let mut snapshot = ends.source().open_snapshot(&[request], None).await?;
    let rows: Vec<RecordBatch> = snapshot.read_rows(0, keys).await?.try_collect().await?;
    snapshot.close().await;
    let fitting = rows.iter().map(|batch| {
        let applied = planned.transform.apply(batch)?;
        planned.fit.apply(applied.kept, &mut Losses::new())
    });
    fitting.collect()
}

/// What makes the rows of the target those of the source.
fn between(
    planned: &PlannedTable,
    again: &Again<'_>,
    (here, there): (&[RecordBatch], &[RecordBatch]),
) -> Result<Vec<ShownWrite>, Failure> {
    let mut old = HashMap::new();
    for batch in there {
        let values = again.values(batch)?;
        for (row, (key, values)) in values.into_iter().enumerate() {
            old.insert(key, (batch, row, values));
        }
    }
    let names: Vec<_> = planned
        .target
        .columns
        .iter()
        .map(|it| it.name.clone())
        .collect();
    let is_key = |name: &String| planned.target.key.contains(name);
    let mut writes = Vec::new();
    for batch in here {
        let columns = shown_columns(batch)?;
        let row_of = |row: usize| {
            names
                .iter()
                .cloned()
                .zip(columns.iter().map(move |it| it[row].clone()))
        };
        for (row, (key, values)) in again.values(batch)?.into_iter().enumerate() {
            let Some((_, _, before)) = old.remove(&key) else {
                writes.push(ShownWrite::Insert(row_of(row).collect()));
                continue;
            };
            let differs: Vec<bool> = values.iter().zip(&before).map(|(a, b)| a != b).collect();
            let set = row_of(row).zip(&differs).filter(|(_, differs)| **differs);
            let set: Vec<_> = set.map(|(value, _)| value).collect();
            if !set.is_empty() {
                let key = row_of(row).filter(|(name, _)| is_key(name)).collect();
                writes.push(ShownWrite::Update { key, set });
            }
        }
    }
    if planned.deletes() {
        for (batch, row, _) in old.into_values() {
            let columns = shown_columns(batch)?;
            let values = names
                .iter()
                .cloned()
                .zip(columns.iter().map(|it| it[row].clone()));
            writes.push(ShownWrite::Delete(
                values.filter(|(name, _)| is_key(name)).collect(),
            ));
        }
    }
    Ok(writes)
}

/// The values of each column, row by row.
fn shown_columns(batch: &RecordBatch) -> Result<Vec<Vec<ShownValue>>, Failure> {
    let unshown = |error| {
        let message = format!("a value cannot be shown: {error}");
        Failure::new(exit_code::FAILED, message)
    };
    let column = |column: &ArrayRef| {
        let texts = fit::text_forms(column).map_err(unshown)?;
        let texts = texts.as_string::<i32>();
        let rows = 0..column.len();
        Ok(rows
            .map(|row| shown(column, row, texts.value(row)))
            .collect())
    };
    batch.columns().iter().map(column).collect()
}

fn shown(column: &ArrayRef, row: usize, text: &str) -> ShownValue {
    if column.is_null(row) {
        return ShownValue::Null;
    }
    match column.data_type() {
        DataType::Boolean => ShownValue::Bool(column.as_boolean().value(row)),
        DataType::Binary => ShownValue::Bytes(hex(column.as_binary::<i32>().value(row))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let moment = chrono::DateTime::from_timestamp_micros(micros);
            match moment {
                Some(moment) => {
                    let text = moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
                    match zone {
                        Some(_) => ShownValue::Instant(text),
                        None => ShownValue::Text(text),
                    }
                }
                None => ShownValue::Text(text.to_owned()),
            }
        }
        data_type if data_type.is_numeric() => ShownValue::Number(text.to_owned()),
        _ => ShownValue::Text(text.to_owned()),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("writing into memory cannot fail");
    }
    digits
}

fn as_json(write: &ShownWrite) -> Value {
    let value = |value: &ShownValue| match value {
        ShownValue::Null => Value::Null,
        ShownValue::Bool(value) => Value::Bool(*value),
        ShownValue::Instant(text) => Value::String(format!("{text}+00:00")),
        // Numbers as texts: a reader of JSON may know no numbers but floats.
        ShownValue::Number(text) | ShownValue::Bytes(text) | ShownValue::Text(text) => {
            Value::String(text.clone())
        }
    };
    let object = |values: &[(String, ShownValue)]| {
        let values = values.iter();
        Value::Object(values.map(|(name, it)| (name.clone(), value(it))).collect())
    };
    match write {
        ShownWrite::Insert(values) => json!({ "kind": "insert", "set": object(values) }),
        ShownWrite::Update { key, set } => {
            json!({ "kind": "update", "key": object(key), "set": object(set) })
        }
        ShownWrite::Delete(key) => json!({ "kind": "delete", "key": object(key) }),
    }
}
