//! What was made of target tables.

use super::rows::{damaged, json};
use crate::cell::text;
use crate::connect::{Session, arguments};
use syncset_connector::{MadeTable, PipelineKey, Result, TableName};

/// What was made of the target tables of a pipeline.
pub(crate) async fn read(session: &mut Session, key: &PipelineKey) -> Result<Vec<MadeTable>> {
    let sql = "SELECT target, made FROM _syncset_made WHERE project = ? AND pipeline = ? \
               ORDER BY target";
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
    let rows = session
        .rows(sql, arguments, "reading what was made of tables")
        .await?;
    let tables = rows.iter().map(|row| {
        let made: MadeTable = serde_json::from_value(json(row, 1)?).map_err(|_| damaged())?;
        Ok(MadeTable {
            target: TableName::bare(text(row, 0).ok_or_else(damaged)?),
            ..made
        })
    });
    tables.collect()
}

/// Stores what is made of a target table; what another pipeline made of a table of this name is
/// gone with that table.
pub(crate) async fn store(
    session: &mut Session,
    key: &PipelineKey,
    made: &MadeTable,
) -> Result<()> {
    let sql = "INSERT INTO _syncset_made (target, project, pipeline, made) VALUES (?, ?, ?, ?) \
               ON CONFLICT (target) DO UPDATE SET project = excluded.project, \
               pipeline = excluded.pipeline, made = excluded.made";
    let arguments = arguments![
        made.target.name.as_str(),
        key.project.as_str(),
        key.pipeline.as_str(),
        serde_json::to_string(made).expect("names are plain JSON"),
    ];
    session
        .execute(sql, arguments, "storing what was made of a table")
        .await?;
    Ok(())
}

/// Makes the stream that is loaded into a table load it again: its columns are others now. In the
/// transaction of the DDL, so that no crash leaves an altered table that seems to be loaded.
pub(crate) async fn load_again(
    session: &mut Session,
    key: &PipelineKey,
    target: &TableName,
) -> Result<()> {
    let sql = "UPDATE _syncset_watermark SET selection = '' \
               WHERE project = ? AND pipeline = ? AND target = ? COLLATE NOCASE";
    let arguments = arguments![
        key.project.as_str(),
        key.pipeline.as_str(),
        target.name.as_str()
    ];
    session.execute(sql, arguments, "altering a table").await?;
    Ok(())
}
