//! Statistics of tables that were filled for the first time.

use super::catalog::{schema_of, target_name};
use crate::connect::Session;
use crate::error;
use crate::sql::quote_literal;
use syncset_connector::{Result, TableName};

/// Renews the statistics of those of these tables that are ours, or whose database is: nobody else
/// may. Two round trips. A table that somebody has locked is left to the server's own rounds.
pub(crate) async fn analyze(session: &mut Session, tables: &[&TableName]) -> Result<()> {
    let mut wanted = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let (schema, name) = (
            quote_literal(schema_of(table))?,
            quote_literal(&table.name)?,
        );
        wanted.push(format!("({index}, {schema}, {name})"));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let ours = format!(
        "SELECT w.i FROM (VALUES {}) AS w (i, nsp, rel) \
         JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.nsp \
         JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.rel \
         JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database() \
         WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE') \
         OR pg_catalog.pg_has_role(d.datdba, 'USAGE') ORDER BY 1",
        wanted.join(", ")
    );
    let mut names = Vec::with_capacity(tables.len());
    for row in session.rows(&ours).await? {
        let table = tables.get(row.parse::<usize>(0)?).ok_or_else(|| {
            error::unexpected("the server answered for a table that was not asked for")
        })?;
        names.push(target_name(table));
    }
    if names.is_empty() {
        return Ok(());
    }
    let analyze = format!("ANALYZE (SKIP_LOCKED) {}", names.join(", "));
    session.execute(&analyze).await.map(drop)
}
