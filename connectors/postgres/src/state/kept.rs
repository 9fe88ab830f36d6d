//! `_syncset.before_image`: rows as they were before a repair or a revert wrote them.

use super::load::{table_name, target_columns};
use super::schema::is_missing;
use super::text::{json_literal, key_is, key_values, literal};
use crate::connect::{PgStore, TextRow};
use crate::error::unexpected;
use serde::de::DeserializeOwned;
use syncset_connector::{ErrorClass, KeptRow, KeptRun, PipelineKey, Result, RowImage};

/// Rows of one INSERT: their images may be large.
const ROWS_PER_STATEMENT: usize = 200;

/// Keeps rows of a run. One statement for each text; none for no rows.
pub(crate) fn keep_statements(key: &PipelineKey, run_id: &str, rows: &[KeptRow]) -> Vec<String> {
    let image = |image: &Option<RowImage>| match image {
        Some(image) => json_literal(&serde_json::to_value(image).expect("texts are plain JSON")),
        None => "NULL".to_owned(),
    };
    let value = |row: &KeptRow| {
        let (schema, table) = target_columns(&row.target);
        format!(
            "({}, {}, {}, {}, {}, {}, {}, {})",
            key_values(key),
            literal(run_id),
            literal(&row.stream),
            literal(schema),
            literal(table),
            json_literal(&row.key),
            image(&row.before),
            image(&row.after),
        )
    };
    let statement = |rows: &[KeptRow]| {
        let values: Vec<_> = rows.iter().map(value).collect();
        format!(
            "INSERT INTO _syncset.before_image (project, pipeline, run_id, stream, target_schema, \
             target_table, key, before, after) VALUES {}",
            values.join(",\n")
        )
    };
    rows.chunks(ROWS_PER_STATEMENT).map(statement).collect()
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
        "UPDATE _syncset.before_image SET reverted_by = {} WHERE {} AND run_id = {} \
         AND place IN ({})",
        literal(by),
        key_is("", key),
        literal(run_id),
        places.join(", ")
    )
}

/// Runs of which rows are kept, oldest first.
pub(super) async fn kept_runs(store: &PgStore, key: &PipelineKey) -> Result<Vec<KeptRun>> {
    let sql = format!(
        "SELECT run_id, count(*), count(reverted_by) FROM _syncset.before_image WHERE {} \
         GROUP BY run_id ORDER BY min(place)",
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
    store: &PgStore,
    key: &PipelineKey,
    (run_id, after): (&str, u64),
    limit: u32,
) -> Result<Vec<KeptRow>> {
    let sql = format!(
        "SELECT place, stream, target_schema, target_table, key::text, before::text, after::text, \
         reverted_by FROM _syncset.before_image WHERE {} AND run_id = {} AND place > {after} \
         ORDER BY place LIMIT {limit}",
        key_is("", key),
        literal(run_id)
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

fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|cause| {
        let mut error = unexpected("a row of `_syncset.before_image` is not what was stored");
        error.class = ErrorClass::Store;
        error.caused_by(cause)
    })
}
