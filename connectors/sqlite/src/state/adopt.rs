//! Gives the state of one pipeline to another: it was renamed, or moved to another project.

use super::rows::damaged;
use crate::cell::text;
use crate::connect::{Session, arguments};
use syncset_connector::{PipelineKey, Result};

/// Every table that belongs to pipelines, whichever version made it. Epochs stay: they are what
/// keeps a former run of the old name out.
const TABLES: &str = "SELECT m.name FROM sqlite_schema m WHERE m.type = 'table' \
     AND substr(m.name, 1, 9) = '_syncset_' AND m.name <> '_syncset_pipeline' \
     AND EXISTS (SELECT 1 FROM pragma_table_info(m.name) c WHERE c.name = 'pipeline') \
     ORDER BY m.name";

/// Renames all rows of the one to the other.
pub(crate) async fn adopt(
    session: &mut Session,
    from: &PipelineKey,
    to: &PipelineKey,
) -> Result<()> {
    let place = "adopting the state of another pipeline";
    let tables = session.rows(TABLES, arguments![], place).await?;
    for table in &tables {
        let name = text(table, 0).ok_or_else(damaged)?;
        let sql = format!(
            "UPDATE \"{name}\" SET project = ?, pipeline = ? WHERE project = ? AND pipeline = ?"
        );
        let arguments = arguments![
            to.project.as_str(),
            to.pipeline.as_str(),
            from.project.as_str(),
            from.pipeline.as_str()
        ];
        session.execute(&sql, arguments, place).await?;
    }
    Ok(())
}
