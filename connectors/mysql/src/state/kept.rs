//! `_syncset_before_image`: rows as they were before a repair or a revert wrote them.

use super::schema::is_missing;
use super::text::{NOW, json, key_is, key_values, table_name, target_columns};
use crate::connect::{MysqlStore, TextRow};
use crate::error;
use crate::sql::text;
use serde::de::DeserializeOwned;
use syncset_connector::{KeptRow, KeptRun, PipelineKey, Result, RowImage};

/// Bytes of one INSERT, unless a single row is longer: any server takes so many.
const STATEMENT_BYTES: usize = 1 << 20;

/// Keeps rows of a run: any number of statements.
pub(crate) fn keep_statements(key: &PipelineKey, run_id: &str, rows: &[KeptRow]) -> Vec<String> {
    let head = "INSERT INTO _syncset_before_image (project, pipeline, run_id, stream, \
                target_schema, target_table, key_values, before_row, after_row, kept_at) VALUES ";
    let mut statements: Vec<String> = Vec::new();
    for row in rows {
        let value = value_of(key, run_id, row);
        match statements.last_mut() {
            Some(last) if last.len() + value.len() < STATEMENT_BYTES => {
                last.push_str(",\n");
                last.push_str(&value);
            }
            _ => statements.push(format!("{head}{value}")),
        }
    }
    statements
}

fn value_of(key: &PipelineKey, run_id: &str, row: &KeptRow) -> String {
    let image = |image: &Option<RowImage>| match image {
        Some(image) => json(&serde_json::to_value(image).expect("texts are plain JSON")),
        None => "NULL".to_owned(),
    };
    let (schema, table) = target_columns(&row.target);
    format!(
        "({}, {}, {}, {}, {}, {}, {}, {}, {NOW})",
        key_values(key),
        text(run_id),
        text(&row.stream),
        text(schema),
        text(table),
        json(&row.key),
        image(&row.before),
        image(&row.after),
    )
}

/// Says that rows were put back. Empty for none.
pub(crate) fn reverted_statement(
    key: &PipelineKey,
    run_id: &str,
    places: &[u64],
    by: &str,
) -> String {
    if places.is_empty() {
        return String::new();
    }
    let places: Vec<_> = places.iter().map(u64::to_string).collect();
    format!(
        "UPDATE _syncset_before_image SET reverted_by = {} WHERE {} AND run_id = {} \
         AND place IN ({})",
        text(by),
        key_is("", key),
        text(run_id),
        places.join(", ")
    )
}

/// Runs of which rows are kept, oldest first.
pub(super) async fn kept_runs(store: &MysqlStore, key: &PipelineKey) -> Result<Vec<KeptRun>> {
    let sql = format!(
        "SELECT run_id, COUNT(*), COUNT(reverted_by) FROM _syncset_before_image WHERE {} \
         GROUP BY run_id ORDER BY MIN(place)",
        key_is("", key)
    );
    let run = |row: &TextRow| {
        Ok(KeptRun {
            run_id: row.required(0)?.to_owned(),
            rows: row.parse(1)?,
            reverted: row.parse(2)?,
        })
    };
    match store.control().await?.rows(&sql).await {
        Ok(rows) => rows.iter().map(run).collect(),
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Rows of one run behind a place.
pub(super) async fn kept_rows(
    store: &MysqlStore,
    key: &PipelineKey,
    (run_id, after): (&str, u64),
    limit: u32,
) -> Result<Vec<KeptRow>> {
    let sql = format!(
        "SELECT place, stream, target_schema, target_table, key_values, before_row, after_row, \
         reverted_by FROM _syncset_before_image WHERE {} AND run_id = {} AND place > {after} \
         ORDER BY place LIMIT {limit}",
        key_is("", key),
        text(run_id)
    );
    let rows = store.control().await?.rows(&sql).await?;
    rows.iter().map(kept_row).collect()
}

fn kept_row(row: &TextRow) -> Result<KeptRow> {
    let image = |index| row.text(index).map(read::<RowImage>).transpose();
    Ok(KeptRow {
        place: row.parse(0)?,
        stream: row.required(1)?.to_owned(),
        target: table_name(row.required(2)?.to_owned(), row.required(3)?.to_owned()),
        key: read(row.required(4)?)?,
        before: image(5)?,
        after: image(6)?,
        reverted_by: row.text(7).map(str::to_owned),
    })
}

fn read<T: DeserializeOwned>(stored: &str) -> Result<T> {
    serde_json::from_str(stored).map_err(|cause| {
        error::unexpected("a row of `_syncset_before_image` is not what was stored")
            .caused_by(cause)
    })
}
