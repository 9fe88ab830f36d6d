//! What a table is, for plans that are carried out later.

use crate::cell::text;
use crate::connect::{Session, arguments};
use crate::describe;
use syncset_connector::{Result, TableFacts, TableName};

/// Indexes and triggers of a table, views that name it, and tables whose foreign keys point to it.
/// The text of a view says no more about what it reads.
const DEPENDENTS: &str = "SELECT type, name FROM sqlite_schema \
    WHERE type IN ('index', 'trigger') AND tbl_name = ?1 COLLATE NOCASE AND sql IS NOT NULL \
    UNION SELECT type, name FROM sqlite_schema \
    WHERE type = 'view' AND instr(lower(sql), lower(?1)) > 0 \
    UNION SELECT 'foreign key of table', m.name FROM sqlite_schema m \
    JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table' \
    AND f.\"table\" = ?1 COLLATE NOCASE AND m.name <> ?1 COLLATE NOCASE";

/// Asks by this session, so within its transaction if it has one.
pub(crate) async fn facts_in(
    session: &mut Session,
    table: &TableName,
) -> Result<Option<TableFacts>> {
    let described = describe::describe(session, std::slice::from_ref(table)).await?;
    let Some(description) = described.into_iter().next().flatten() else {
        return Ok(None);
    };
    let place = format!("looking at `{table}`");
    let rows = session
        .rows(DEPENDENTS, arguments![table.name.as_str()], &place)
        .await?;
    let dependents = rows.iter().map(|row| {
        let kind = text(row, 0).unwrap_or_default();
        format!("{kind} `{}`", text(row, 1).unwrap_or_default())
    });
    let dependents = dependents.collect();
    Ok(Some(TableFacts::of(&description, dependents)))
}
