//! What setting up a pipeline wants to know of tables: indexes and triggers. One round trip.

use crate::connect::MysqlStore;
use crate::sql::text;
use std::collections::BTreeMap;
use syncset_connector::{CaptureMode, Result, Survey, TableName};

/// Surveys tables, in their order. A table that this user may not read at all is not even listed,
/// so no right is ever missing here.
pub(crate) async fn survey(store: &MysqlStore, tables: &[TableName]) -> Result<Vec<Survey>> {
    let names: Vec<_> = tables.iter().map(|table| text(&table.name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names = names.join(", ");
    let sql = format!(
        "SELECT DISTINCT s.TABLE_NAME, s.COLUMN_NAME FROM information_schema.STATISTICS s
           WHERE s.TABLE_SCHEMA = DATABASE() AND s.TABLE_NAME IN ({names})
             AND s.SEQ_IN_INDEX = 1 AND s.SUB_PART IS NULL AND s.COLUMN_NAME IS NOT NULL
           ORDER BY 1, 2;
         SELECT t.EVENT_OBJECT_TABLE, t.TRIGGER_NAME FROM information_schema.TRIGGERS t
           WHERE t.EVENT_OBJECT_SCHEMA = DATABASE() AND t.EVENT_OBJECT_TABLE IN ({names})
             AND t.EVENT_MANIPULATION = 'UPDATE' ORDER BY 1, 2"
    );
    let sets = store.control().await?.result_sets(&sql).await?;
    let mut surveys: BTreeMap<String, Survey> = BTreeMap::new();
    for (place, rows) in sets.iter().enumerate() {
        for row in rows {
            let survey = surveys.entry(row.required(0)?.to_owned()).or_default();
            let list = match place {
                0 => &mut survey.indexed,
                _ => &mut survey.update_triggers,
            };
            list.push(row.required(1)?.to_owned());
        }
    }
    let surveyed = tables.iter().map(|table| {
        let mut survey = surveys.get(&table.name).cloned().unwrap_or_default();
        survey.modes = vec![CaptureMode::Full, CaptureMode::Cursor];
        survey
    });
    Ok(surveyed.collect())
}
