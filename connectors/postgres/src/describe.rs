//! What the catalogues say about tables: one round trip for any number of them.

mod catalog_type;
mod query;

use crate::connect::{CATALOG_PATH, PgStore, ServerFacts, Session, TextRow};
use crate::error;
use catalog_type::{Types, json};
use query::answer;
use std::collections::HashMap;
use syncset_connector::{
    Column, Comments, ForeignKey, Generated, IndexForm, PlainIndex, Result, TableDescription,
    TableEntry, TableKind, TableName, UniqueKey,
};

/// All tables and views outside of system schemas and our own, sorted by name. Partitions are
/// left out: they are read through their root.
pub(crate) async fn list_tables(store: &PgStore) -> Result<Vec<TableEntry>> {
    let sql = format!(
        "{CATALOG_PATH}
         SELECT n.nspname, c.relname, c.relkind FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
             AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
             AND n.nspname !~ '^pg_' AND n.nspname <> '_syncset'
             AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
               AND d.objid = c.oid AND d.deptype = 'e')"
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

/// Describes tables by the control session; `None` for those that do not exist.
pub(crate) async fn describe(
    store: &PgStore,
    tables: &[TableName],
) -> Result<Vec<Option<TableDescription>>> {
    let mut session = store.control().await?;
    describe_in(&mut session, store.facts(), tables).await
}

/// Describes tables by this session, so within its transaction and snapshot if it has one.
pub(crate) async fn describe_in(
    session: &mut Session,
    facts: &ServerFacts,
    tables: &[TableName],
) -> Result<Vec<Option<TableDescription>>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let sets = session
        .result_sets(&query::describe_sql(facts, tables)?)
        .await?;
    let oids = requested_oids(&sets, tables.len())?;
    let mut described = read(&sets, facts)?;
    // A table that is asked for twice is described twice.
    Ok(oids
        .iter()
        .enumerate()
        .map(|(index, oid)| {
            if oids.iter().skip(index + 1).any(|later| later == oid) {
                described.get(oid).cloned()
            } else {
                described.remove(oid)
            }
        })
        .collect())
}

/// `{16384,0,16390}`; zero where there is no such table.
fn requested_oids(sets: &[Vec<TextRow>], count: usize) -> Result<Vec<u32>> {
    let strange = || error::unexpected("the server's list of tables has a strange form");
    if sets.len() != answer::COUNT {
        return Err(strange());
    }
    let row = sets
        .get(answer::NAMES)
        .and_then(|rows| rows.first())
        .ok_or_else(strange)?;
    let list = row
        .required(0)?
        .trim_start_matches('{')
        .trim_end_matches('}');
    let oids: Vec<u32> = list
        .split(',')
        .map(|oid| oid.parse().map_err(|_| strange()))
        .collect::<Result<_>>()?;
    if oids.len() == count {
        Ok(oids)
    } else {
        Err(strange())
    }
}

fn read(sets: &[Vec<TextRow>], facts: &ServerFacts) -> Result<HashMap<u32, TableDescription>> {
    let rows = |place: usize| sets.get(place).map(Vec::as_slice).unwrap_or_default();
    let mut tables = HashMap::new();
    for row in rows(answer::TABLES) {
        tables.insert(row.parse(0)?, table(row, facts)?);
    }
    let types = Types::read(rows(answer::TYPES))?;
    for row in rows(answer::COLUMNS) {
        if let Some(table) = tables.get_mut(&row.parse(0)?) {
            add_column(table, row, &types)?;
        }
    }
    for row in rows(answer::INDEXES) {
        if let Some(table) = tables.get_mut(&row.parse(0)?) {
            add_key(table, row)?;
        }
    }
    for row in rows(answer::SPELLED) {
        if let Some(table) = tables.get_mut(&row.parse(0)?) {
            table.indexes.push(PlainIndex {
                name: row.required(1)?.to_owned(),
                columns: json(row.text(2))?,
                form: match row.text(3) {
                    Some(sql) => IndexForm::Spelled(sql.to_owned()),
                    None => IndexForm::Bound,
                },
            });
        }
    }
    for row in rows(answer::FOREIGN_KEYS) {
        if let Some(table) = tables.get_mut(&row.parse(0)?) {
            table.foreign_keys.push(foreign_key(row)?);
        }
    }
    Ok(tables)
}

fn table(row: &TextRow, facts: &ServerFacts) -> Result<TableDescription> {
    let oid: u32 = row.parse(0)?;
    let kind = kind_of(row.required(3)?);
    // Before it was analysed a table says that it holds no row.
    let row_estimate = match (row.is_true(6), row.text(5)) {
        (true, Some(_)) => Some(row.parse(5)?),
        _ => None,
    };
    let byte_estimate = row.text(7).map(|_| row.parse(7)).transpose()?;
    let leaves: serde_json::Map<String, serde_json::Value> = json(row.text(8))?;
    Ok(TableDescription {
        name: TableName::in_schema(row.required(1)?, row.required(2)?),
        kind,
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        comments: Comments {
            table: row.text(9).map(str::to_owned),
            ..Comments::default()
        },
        row_estimate,
        byte_estimate,
        storage_identity: serde_json::json!({
            "leaves": sorted(leaves),
            "columns": {},
        }),
        grant: None,
        source_identity: serde_json::json!({
            "system": facts.system_identifier,
            "timeline": facts.timeline,
            "database": facts.database_oid,
            "table": oid,
        }),
    })
}

fn sorted(map: serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    let sorted: std::collections::BTreeMap<_, _> = map.into_iter().collect();
    serde_json::Value::Object(sorted.into_iter().collect())
}

fn add_column(table: &mut TableDescription, row: &TextRow, types: &Types) -> Result<()> {
    let number: i64 = row.parse(1)?;
    let name = row.required(2)?;
    let type_oid: u32 = row.parse(4)?;
    let typmod: i32 = row.parse(5)?;
    let (data_type, native) = types.column_type(type_oid, typmod, row.required(3)?);
    let is_generated = row.text(9) == Some("s") || row.text(9) == Some("v");
    let generated = match row.text(8) {
        _ if is_generated => Some(Generated::Expression),
        Some("a") => Some(Generated::IdentityAlways),
        Some("d") => Some(Generated::IdentityByDefault),
        _ => None,
    };
    if let Some(columns) = table.storage_identity["columns"].as_object_mut() {
        columns.insert(
            number.to_string(),
            serde_json::json!([name, type_oid, typmod]),
        );
    }
    if let Some(comment) = row.text(11) {
        let comments = &mut table.comments.columns;
        comments.insert(name.to_owned(), comment.to_owned());
    }
    table.columns.push(Column {
        name: name.to_owned(),
        data_type,
        native,
        nullable: !row.is_true(6),
        // The expression of a generated column is no default.
        default: row.text(7).filter(|_| !is_generated).map(str::to_owned),
        generated,
        stable_id: Some(number),
        readable: row.is_true(10),
    });
    Ok(())
}

fn add_key(table: &mut TableDescription, row: &TextRow) -> Result<()> {
    let columns: Vec<String> = json(row.text(4))?;
    if row.is_true(2) {
        table.primary_key = columns;
        return Ok(());
    }
    let name = row.required(1)?.to_owned();
    if !row.is_true(7) {
        // What another access method is for, a plain index would not do.
        if row.is_true(3) && row.is_true(8) {
            table.indexes.push(PlainIndex {
                name,
                columns,
                form: IndexForm::Columns,
            });
        }
        return Ok(());
    }
    table.unique_keys.push(UniqueKey {
        name,
        columns,
        total: row.is_true(3) && row.is_true(5),
        partial: !row.is_true(3),
        nulls_distinct: !row.is_true(6),
    });
    Ok(())
}

fn foreign_key(row: &TextRow) -> Result<ForeignKey> {
    Ok(ForeignKey {
        name: row.required(1)?.to_owned(),
        columns: json(row.text(4))?,
        parent: TableName::in_schema(row.required(2)?, row.required(3)?),
        parent_columns: json(row.text(5))?,
        cascades: row.is_true(6),
        enforced: row.is_true(7),
    })
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
