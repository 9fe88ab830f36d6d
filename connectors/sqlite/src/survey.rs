//! What setting up a pipeline wants to know of tables: indexes and triggers.

use crate::cell::text;
use crate::connect::{Session, arguments};
use std::collections::BTreeMap;
use syncset_connector::{CaptureMode, Result, Survey, TableName};

/// First columns of indexes over all rows; triggers that name an UPDATE.
const SURVEY: &str = "SELECT t.value, 'index', i.name
      FROM json_each(?1) AS t, pragma_index_list(t.value) AS l, pragma_index_info(l.name) AS i
      WHERE i.seqno = 0 AND i.name IS NOT NULL AND l.partial = 0
    UNION SELECT t.value, 'trigger', s.name
      FROM json_each(?1) AS t JOIN sqlite_schema AS s ON s.tbl_name = t.value
      WHERE s.type = 'trigger' AND s.sql LIKE '%UPDATE%'
    ORDER BY 1, 2, 3";

/// Surveys tables, in their order, in one statement.
pub(crate) async fn survey(session: &mut Session, tables: &[TableName]) -> Result<Vec<Survey>> {
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let list = serde_json::json!(names).to_string();
    let rows = session
        .rows(SURVEY, arguments![list], "surveying tables")
        .await?;
    let mut found: BTreeMap<String, Survey> = BTreeMap::new();
    for row in &rows {
        let (Some(table), Some(what), Some(name)) = (text(row, 0), text(row, 1), text(row, 2))
        else {
            continue;
        };
        let survey = found.entry(table).or_default();
        match what.as_str() {
            "index" => survey.indexed.push(name),
            _ => survey.update_triggers.push(name),
        }
    }
    let surveyed = names.iter().map(|name| {
        let mut survey = found.get(*name).cloned().unwrap_or_default();
        survey.modes = vec![CaptureMode::Full, CaptureMode::Cursor];
        survey
    });
    Ok(surveyed.collect())
}
