//! Rows to try a plugin on: of a file, or of a pipeline's source.

use crate::cli::Context;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::planned;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Schema};
use futures::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use syncset_connector::{KeyRange, SnapshotRequest};
use syncset_pipeline::{PluginConfig, select_tables};
use syncset_plugin_host::{ColumnNeed, data_type_of, sha256_of};

/// Precision and scale of numbers that a plugin wants as any decimal.
const DECIMAL_DEFAULT: DataType = DataType::Decimal128(38, 9);

/// Rows of one text file: each a map from names to values.
struct Rows {
    names: Vec<String>,
    rows: Vec<Vec<Option<Value>>>,
}

/// The first rows of a file: JSON objects, one a line, or CSV with a line of names. `needs`: types
/// that the plugin wants; other columns have the type that all their values have.
pub(super) fn of_file(
    path: &Path,
    limit: usize,
    needs: Option<&[ColumnNeed]>,
) -> Result<RecordBatch, Failure> {
    let text = read(path)?;
    let is_csv = path.extension().is_some_and(|end| end == "csv");
    let rows = match is_csv {
        true => csv_rows(&text, limit),
        false => json_rows(&text, limit),
    };
    let rows = rows.map_err(|(line, reason)| {
        let message = format!("{}:{line}: {reason}", path.display());
        Failure::new(exit_code::CONFIG, message)
            .with_hint("rows are JSON objects, one a line, or CSV (`.csv`) with a line of names")
    })?;
    if rows.names.is_empty() {
        let message = format!("`{}` has no rows", path.display());
        return Err(Failure::new(exit_code::CONFIG, message));
    }
    batch(&rows, needs)
        .map_err(|reason| Failure::new(exit_code::CONFIG, format!("{}: {reason}", path.display())))
}

/// The file's text.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read `{}`: {error}", path.display());
        Failure::new(exit_code::CONFIG, message)
    })
}

fn json_rows(text: &str, limit: usize) -> Result<Rows, (usize, String)> {
    let mut rows = Rows {
        names: Vec::new(),
        rows: Vec::new(),
    };
    let lines = text.lines().enumerate();
    for (index, line) in lines
        .filter(|(_, line)| !line.trim().is_empty())
        .take(limit)
    {
        let wrong = |reason: String| (index + 1, reason);
        let value: Value =
            serde_json::from_str(line).map_err(|error| wrong(format!("no JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(wrong("not a JSON object".to_owned()));
        };
        let mut row = vec![None; rows.names.len()];
        for (name, value) in fields {
            let at = rows.names.iter().position(|known| *known == name);
            let at = at.unwrap_or_else(|| {
                rows.names.push(name);
                row.push(None);
                rows.names.len() - 1
            });
            row[at] = Some(value).filter(|value| !value.is_null());
        }
        rows.rows.push(row);
    }
    let width = rows.names.len();
    rows.rows.iter_mut().for_each(|row| row.resize(width, None));
    Ok(rows)
}

/// Empty fields are NULL.
fn csv_rows(text: &str, limit: usize) -> Result<Rows, (usize, String)> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let place = |error: &csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        (usize::try_from(line).unwrap_or(1), error.to_string())
    };
    let names = reader.headers().map_err(|error| place(&error))?;
    let names: Vec<String> = names.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records().take(limit) {
        let record = record.map_err(|error| place(&error))?;
        let value = |text: &str| Some(Value::from(text)).filter(|_| !text.is_empty());
        rows.push(record.iter().map(value).collect());
    }
    Ok(Rows { names, rows })
}

fn batch(rows: &Rows, needs: Option<&[ColumnNeed]>) -> Result<RecordBatch, String> {
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (index, name) in rows.names.iter().enumerate() {
        let values = || rows.rows.iter().map(|row| row[index].as_ref());
        let need = needs
            .unwrap_or_default()
            .iter()
            .find(|need| need.name == *name);
        let wanted = need.and_then(|need| wanted(&need.formats));
        let data_type = wanted.unwrap_or_else(|| common_type(values()));
        let texts: StringArray = values().map(|value| value.map(text)).collect();
        let texts: ArrayRef = Arc::new(texts);
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let column = cast_with_options(&texts, &data_type, &options)
            .map_err(|_| format!("column `{name}` has a value that is no {data_type}"))?;
        fields.push(Field::new(name, data_type, true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|it| it.to_string())
}

/// The first type of those that a plugin takes.
fn wanted(formats: &[String]) -> Option<DataType> {
    let format = formats.first()?;
    match format.as_str() {
        "d:*" => Some(DECIMAL_DEFAULT),
        other => data_type_of(other.trim_end_matches('*')),
    }
}

/// The type that all values have; text if they differ.
fn common_type<'a>(values: impl Iterator<Item = Option<&'a Value>>) -> DataType {
    let mut common = None;
    for value in values.flatten() {
        let found = match value {
            Value::Bool(_) => DataType::Boolean,
            Value::Number(number) if number.is_i64() => DataType::Int64,
            Value::Number(_) => DataType::Float64,
            _ => DataType::Utf8,
        };
        common = Some(match (common, found) {
            (None, found) => found,
            (Some(DataType::Int64), DataType::Float64) => DataType::Float64,
            (Some(DataType::Float64), DataType::Int64) => DataType::Float64,
            (Some(known), found) if known == found => known,
            _ => DataType::Utf8,
        });
    }
    common.unwrap_or(DataType::Utf8)
}

/// A value as its text form is cast.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows of a table of a pipeline.
pub(super) struct Sample {
    pub(super) rows: RecordBatch,
    /// The plugin's configuration there, if the table has it.
    pub(super) config: Option<PluginConfig>,
    /// The table, as the source names it.
    pub(super) table: String,
}

/// The first rows of a table of a pipeline, as they would reach the plugin there. `table`: the one
/// that is asked for; `None`: the first that has the plugin, or the only one.
pub(super) async fn of_pipeline(
    context: &Context,
    (name, table): (&str, Option<&str>),
    plugin: &str,
    limit: usize,
) -> Result<Sample, Failures> {
    let mut spec = context.files.pipeline(name)?;
    // What is tried need not be pinned.
    if let Some(tried) = spec.plugins.get_mut(plugin) {
        tried.sha256 = std::fs::read(&tried.file).ok().map(|it| sha256_of(&it));
    }
    let mut configs = BTreeMap::new();
    for (index, rule) in spec.tables.iter_mut().enumerate() {
        let Some(settings) = rule.settings.as_mut() else {
            continue;
        };
        // Plugins know the names of the source.
        settings.rename.clear();
        let mut steps = settings.transform.iter();
        if let Some(step) = steps.find(|step| step.plugin == plugin) {
            configs.insert(index, step.config.clone());
        }
    }
    let ends = Ends::open(&spec, &context.files.project.name, 1).await?;
    let listed = ends
        .source_store()
        .list_tables()
        .await
        .map_err(Failure::from)?;
    let selected = select_tables(&spec, &listed, &[])?;
    let chosen = match table {
        Some(table) => selected
            .iter()
            .find(|it| it.stream == table || it.table.name == table),
        None => selected
            .iter()
            .find(|it| configs.contains_key(&it.rule))
            .or(selected.first().filter(|_| selected.len() == 1)),
    };
    let chosen = chosen.cloned().ok_or_else(|| {
        let streams: Vec<_> = selected.iter().map(|it| it.stream.as_str()).collect();
        let streams = streams.join(", ");
        let (message, hint) = match table {
            Some(table) => (
                format!("pipeline `{name}` has no table `{table}`"),
                format!("its tables are {streams}"),
            ),
            None => (
                format!("no table of pipeline `{name}` has plugin `{plugin}` in its `transform`"),
                format!(
                    "say whose rows: `--input pipeline:{name}/TABLE`; its tables are {streams}"
                ),
            ),
        };
        Failure::new(exit_code::CONFIG, message).with_hint(hint)
    })?;
    let config = configs.remove(&chosen.rule);
    let planned = planned::draft(&ends, &spec, vec![chosen], None).await?;
    let planned = planned.into_iter().next().expect("one table was drafted");
    let request = SnapshotRequest {
        read: planned.plan.read.clone(),
        from: None,
    };
    let snapshot = ends.source().open_snapshot(&[request], None).await;
    let mut snapshot = snapshot.map_err(Failure::from)?;
    let mut rows = snapshot
        .read_chunk(0, &KeyRange::all())
        .await
        .map_err(Failure::from)?;
    let mut sample = None;
    // A batch may hold no row that is selected.
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(Failure::from)?;
        let kept = planned.transform.before(plugin, &batch);
        let kept = kept.map_err(Failure::from)?;
        if kept.num_rows() > 0 {
            sample = Some(kept.slice(0, kept.num_rows().min(limit)));
            break;
        }
    }
    drop(rows);
    snapshot.close().await;
    ends.close().await;
    let sample = sample.ok_or_else(|| {
        let message = format!("`{}` of pipeline `{name}` has no rows", planned.stream());
        Failure::new(exit_code::CONFIG, message)
    })?;
    Ok(Sample {
        rows: sample,
        config,
        table: planned.stream().to_owned(),
    })
}
