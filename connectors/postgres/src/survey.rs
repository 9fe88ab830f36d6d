//! What setting up a pipeline wants to know of tables: rights, indexes, triggers. One round trip.

use crate::connect::{CATALOG_PATH, PgStore, TextRow};
use crate::error;
use crate::sql::{qualified, quote_ident, quote_literal};
use syncset_connector::{CaptureMode, Result, Survey, TableName};

/// Bits of `pg_trigger.tgtype`: for each row, and for UPDATE.
const ROW_AND_UPDATE: i16 = 1 | 16;

/// Surveys tables, in their order. One that does not exist has an empty survey.
pub(crate) async fn survey(store: &PgStore, tables: &[TableName]) -> Result<Vec<Survey>> {
    let mut surveys = vec![Survey::default(); tables.len()];
    if tables.is_empty() {
        return Ok(surveys);
    }
    let user = quote_ident(&store.facts().user);
    let rows = store.control().await?.rows(&survey_sql(tables)?).await?;
    for row in rows {
        let index: usize = row.parse(0)?;
        let (Some(survey), Some(table)) = (surveys.get_mut(index), tables.get(index)) else {
            return Err(error::unexpected("the server surveyed what was not asked"));
        };
        *survey = read(&row, table, &user)?;
    }
    Ok(surveys)
}

fn survey_sql(tables: &[TableName]) -> Result<String> {
    let mut asked = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let schema = quote_literal(table.schema.as_deref().unwrap_or("public"))?;
        let name = quote_literal(&table.name)?;
        asked.push(format!("({index}, {schema}, {name})"));
    }
    Ok(format!(
        "{CATALOG_PATH}
         SELECT v.i, has_schema_privilege(n.oid, 'USAGE'),
           has_any_column_privilege(c.oid, 'SELECT'),
           CASE WHEN c.relkind IN ('r', 'p') THEN has_column_privilege(c.oid, 'xmin', 'SELECT')
             AND has_column_privilege(c.oid, 'tableoid', 'SELECT') END,
           (SELECT json_agg(DISTINCT a.attname)::text FROM pg_index x
              JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
              WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL),
           (SELECT json_agg(t.tgname ORDER BY t.tgname)::text FROM pg_trigger t
              WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
                AND t.tgtype & {ROW_AND_UPDATE}::int2 = {ROW_AND_UPDATE})
         FROM (VALUES {}) v(i, s, t) JOIN pg_namespace n ON n.nspname = v.s
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t
             AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         ORDER BY v.i",
        asked.join(", ")
    ))
}

fn read(row: &TextRow, table: &TableName, user: &str) -> Result<Survey> {
    let mut grants = Vec::new();
    if !row.is_true(1) {
        let schema = quote_ident(table.schema.as_deref().unwrap_or("public"));
        grants.push(format!("GRANT USAGE ON SCHEMA {schema} TO {user};"));
    }
    if !row.is_true(2) {
        grants.push(format!("GRANT SELECT ON {} TO {user};", qualified(table)));
    }
    let mut modes = vec![CaptureMode::Full, CaptureMode::Cursor];
    if row.is_true(3) {
        modes.push(CaptureMode::Xmin);
    }
    Ok(Survey {
        grants,
        modes,
        indexed: names(row.text(4))?,
        update_triggers: names(row.text(5))?,
    })
}

/// A JSON array of names; NULL is an empty one.
fn names(text: Option<&str>) -> Result<Vec<String>> {
    match text {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(text)
            .map_err(|_| error::unexpected("the server's list of names has a strange form")),
    }
}
