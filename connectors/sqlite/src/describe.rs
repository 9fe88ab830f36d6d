//! What a file says about its tables, in a constant number of statements.

use crate::cell::{Cell, cell, integer, text};
use crate::connect::{Session, arguments};
use crate::sql::identifier;
use crate::types;
use arrow_schema::DataType;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use syncset_connector::{
    Column, Comments, ConnectorError, ErrorClass, ForeignKey, Generated, IndexForm, PlainIndex,
    Result, TableDescription, TableEntry, TableKind, TableName, UniqueKey,
};

/// Rows looked at to learn what a column without a declared type holds.
const SAMPLE_ROWS: u32 = 1000;

/// Tables of the user: not SQLite's, not ours, not the hidden parts of virtual tables.
const USER_TABLES: &str = "name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    AND name NOT LIKE '\\_syncset\\_%' ESCAPE '\\'";

/// All tables and views, sorted by name.
pub(crate) async fn list(session: &mut Session) -> Result<Vec<TableEntry>> {
    let sql = format!(
        "SELECT name, type FROM pragma_table_list WHERE schema = 'main' \
         AND type IN ('table', 'view', 'virtual') AND {USER_TABLES} ORDER BY name"
    );
    let rows = session.rows(sql, arguments![], "listing tables").await?;
    let entries = rows.iter().filter_map(|row| {
        Some(TableEntry {
            name: TableName::bare(text(row, 0)?),
            kind: kind_of(&text(row, 1)?),
        })
    });
    Ok(entries.collect())
}

fn kind_of(name: &str) -> TableKind {
    if name == "view" {
        TableKind::View
    } else {
        TableKind::Table
    }
}

/// An index with its columns in order.
struct Index {
    name: String,
    unique: bool,
    from_primary_key: bool,
    partial: bool,
    /// Column and collation; `None` where it indexes an expression.
    columns: Vec<(Option<String>, String)>,
}

/// What the catalogue says about one table.
struct Shape {
    kind: TableKind,
    sql: String,
    without_rowid: bool,
    columns: Vec<RawColumn>,
    indexes: Vec<Index>,
    foreign_keys: Vec<ForeignKey>,
}

struct RawColumn {
    name: String,
    declared: String,
    not_null: bool,
    default: Option<String>,
    key_position: i64,
    generated: bool,
}

impl Shape {
    fn primary_key(&self) -> Vec<String> {
        let mut parts: Vec<&RawColumn> = self
            .columns
            .iter()
            .filter(|column| column.key_position > 0)
            .collect();
        parts.sort_by_key(|column| column.key_position);
        parts.iter().map(|column| column.name.clone()).collect()
    }

    /// True if the primary key is another name of the rowid, which is never NULL.
    fn key_is_rowid(&self) -> bool {
        let mut key = self.columns.iter().filter(|column| column.key_position > 0);
        let (Some(column), None) = (key.next(), key.next()) else {
            return false;
        };
        !self.without_rowid
            && column.declared.eq_ignore_ascii_case("INTEGER")
            && !self.indexes.iter().any(|index| index.from_primary_key)
    }
}

/// Describes tables; `None` where there is none of that name.
pub(crate) async fn describe(
    session: &mut Session,
    tables: &[TableName],
) -> Result<Vec<Option<TableDescription>>> {
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let list = json!(names).to_string();
    let mut shapes = shapes(session, &list).await?;
    read_indexes(session, &list, &mut shapes).await?;
    read_foreign_keys(session, &list, &mut shapes).await?;
    let mut described = Vec::with_capacity(tables.len());
    for table in tables {
        let in_main = table
            .schema
            .as_deref()
            .is_none_or(|schema| schema == "main");
        let shape = shapes.get(&table.name).filter(|_| in_main);
        described.push(match shape {
            Some(shape) => Some(description(session, table, shape).await?),
            None => None,
        });
    }
    Ok(described)
}

async fn shapes(session: &mut Session, list: &str) -> Result<HashMap<String, Shape>> {
    let sql = "SELECT m.name, l.type, coalesce(m.sql, ''), l.wr, x.name, x.type, x.\"notnull\", \
               x.dflt_value, x.pk, x.hidden FROM sqlite_schema m \
               JOIN pragma_table_list l ON l.schema = 'main' AND l.name = m.name \
               JOIN pragma_table_xinfo(m.name) x \
               WHERE m.type IN ('table', 'view') AND m.name IN (SELECT value FROM json_each(?)) \
               ORDER BY m.name, x.cid";
    let rows = session
        .rows(sql, arguments![list], "describing tables")
        .await?;
    let mut shapes: HashMap<String, Shape> = HashMap::new();
    for row in &rows {
        let (Some(table), Some(name)) = (text(row, 0), text(row, 4)) else {
            continue;
        };
        let shape = shapes.entry(table).or_insert_with(|| Shape {
            kind: kind_of(&text(row, 1).unwrap_or_default()),
            sql: text(row, 2).unwrap_or_default(),
            without_rowid: integer(row, 3) != 0,
            columns: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
        });
        let hidden = integer(row, 9);
        // Hidden columns of virtual tables are arguments, not data.
        if hidden == 1 {
            continue;
        }
        shape.columns.push(RawColumn {
            name,
            declared: text(row, 5).unwrap_or_default(),
            not_null: integer(row, 6) != 0,
            default: text(row, 7),
            key_position: integer(row, 8),
            generated: hidden == 2 || hidden == 3,
        });
    }
    Ok(shapes)
}

async fn read_indexes(
    session: &mut Session,
    list: &str,
    shapes: &mut HashMap<String, Shape>,
) -> Result<()> {
    let sql = "SELECT m.name, il.name, il.\"unique\", il.origin, il.partial, ii.name, ii.coll \
               FROM sqlite_schema m JOIN pragma_index_list(m.name) il \
               JOIN pragma_index_xinfo(il.name) ii \
               WHERE m.type = 'table' AND ii.key = 1 \
               AND m.name IN (SELECT value FROM json_each(?)) \
               ORDER BY m.name, il.name, ii.seqno";
    let rows = session
        .rows(sql, arguments![list], "describing indexes")
        .await?;
    for row in &rows {
        let (Some(table), Some(name)) = (text(row, 0), text(row, 1)) else {
            continue;
        };
        let Some(shape) = shapes.get_mut(&table) else {
            continue;
        };
        if shape.indexes.last().is_none_or(|index| index.name != name) {
            shape.indexes.push(Index {
                name,
                unique: integer(row, 2) != 0,
                from_primary_key: text(row, 3).as_deref() == Some("pk"),
                partial: integer(row, 4) != 0,
                columns: Vec::new(),
            });
        }
        if let Some(index) = shape.indexes.last_mut() {
            let collation = text(row, 6).unwrap_or_else(|| "BINARY".into());
            index.columns.push((text(row, 5), collation));
        }
    }
    Ok(())
}

async fn read_foreign_keys(
    session: &mut Session,
    list: &str,
    shapes: &mut HashMap<String, Shape>,
) -> Result<()> {
    let sql = "SELECT m.name, f.id, f.\"table\", f.\"from\", f.\"to\", f.on_update, f.on_delete \
               FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f \
               WHERE m.type = 'table' AND m.name IN (SELECT value FROM json_each(?)) \
               ORDER BY m.name, f.id, f.seq";
    let rows = session
        .rows(sql, arguments![list], "describing foreign keys")
        .await?;
    let mut keys: BTreeMap<(String, i64), ForeignKey> = BTreeMap::new();
    for row in &rows {
        let (Some(table), Some(parent)) = (text(row, 0), text(row, 2)) else {
            continue;
        };
        let id = integer(row, 1);
        let changes = |column| {
            matches!(
                text(row, column).as_deref(),
                Some("CASCADE" | "SET NULL" | "SET DEFAULT")
            )
        };
        let key = keys.entry((table, id)).or_insert_with(|| ForeignKey {
            // SQLite's foreign keys have no name of their own.
            name: format!("foreign key {id}"),
            columns: Vec::new(),
            parent: TableName::bare(parent),
            parent_columns: Vec::new(),
            cascades: changes(5) || changes(6),
            // Each connection says by itself whether it checks them.
            enforced: false,
        });
        key.columns.extend(text(row, 3));
        // Without a list the key points to the parent's primary key.
        key.parent_columns.extend(text(row, 4));
    }
    for ((table, _), key) in keys {
        if let Some(shape) = shapes.get_mut(&table) {
            shape.foreign_keys.push(key);
        }
    }
    Ok(())
}

async fn description(
    session: &mut Session,
    table: &TableName,
    shape: &Shape,
) -> Result<TableDescription> {
    let key_is_rowid = shape.key_is_rowid();
    let sampled = sample_types(session, table, shape).await?;
    let columns = shape.columns.iter().map(|column| {
        let data_type = types::data_type(&column.declared)
            .or_else(|| sampled.get(&column.name).cloned())
            .unwrap_or(DataType::Utf8);
        // SQLite lets NULL into primary keys unless they are the rowid or the table has none.
        let in_key = column.key_position > 0 && (key_is_rowid || shape.without_rowid);
        Column {
            native: types::native(&column.declared, &data_type),
            name: column.name.clone(),
            nullable: !(column.not_null || in_key),
            data_type,
            default: column.default.clone(),
            generated: column.generated.then_some(Generated::Expression),
            stable_id: None,
            readable: true,
        }
    });
    let columns: Vec<Column> = columns.collect();
    Ok(TableDescription {
        name: table.clone(),
        kind: shape.kind,
        primary_key: shape.primary_key(),
        unique_keys: unique_keys(shape, &columns),
        indexes: plain_indexes(shape),
        foreign_keys: shape.foreign_keys.clone(),
        comments: Comments::default(),
        columns,
        row_estimate: None,
        byte_estimate: None,
        // The statement changes with every ALTER; page numbers would change with every VACUUM.
        storage_identity: json!({ "sql": crate::digest::fingerprint(shape.sql.as_bytes()) }),
        grant: None,
        source_identity: json!({ "path": session.path().display().to_string() }),
    })
}

fn plain_indexes(shape: &Shape) -> Vec<PlainIndex> {
    let plain = shape.indexes.iter();
    let plain = plain.filter(|index| !index.unique && !index.partial);
    let plain = plain.filter_map(|index| {
        let columns = index.columns.iter().map(|(name, _)| name.clone());
        Some(PlainIndex {
            name: index.name.clone(),
            columns: columns.collect::<Option<_>>()?,
            form: IndexForm::Columns,
        })
    });
    plain.collect()
}

fn unique_keys(shape: &Shape, columns: &[Column]) -> Vec<UniqueKey> {
    let nullable = |name: &String| {
        columns
            .iter()
            .any(|column| column.name == *name && column.nullable)
    };
    let unique = shape.indexes.iter().filter(|index| index.unique);
    let keys = unique.filter_map(|index| {
        let names: Option<Vec<String>> =
            index.columns.iter().map(|(name, _)| name.clone()).collect();
        let names = names?;
        Some(UniqueKey {
            name: index.name.clone(),
            total: !index.partial && !names.iter().any(nullable),
            partial: index.partial,
            nulls_distinct: true,
            columns: names,
        })
    });
    // The primary key is reported on its own.
    keys.filter(|key| key.columns != shape.primary_key())
        .collect()
}

/// Arrow types of columns without a declared type, from the values they hold.
async fn sample_types(
    session: &mut Session,
    table: &TableName,
    shape: &Shape,
) -> Result<HashMap<String, DataType>> {
    let undeclared: Vec<&RawColumn> = shape
        .columns
        .iter()
        .filter(|column| types::data_type(&column.declared).is_none())
        .collect();
    if undeclared.is_empty() {
        return Ok(HashMap::new());
    }
    let classes: Vec<String> = undeclared
        .iter()
        .map(|column| {
            format!(
                "group_concat(DISTINCT typeof({}))",
                identifier(&column.name)
            )
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM (SELECT * FROM {} LIMIT {SAMPLE_ROWS})",
        classes.join(", "),
        crate::sql::table(table)
    );
    let rows = session.rows(sql, arguments![], "describing tables").await?;
    let Some(row) = rows.first() else {
        return Ok(HashMap::new());
    };
    let types = undeclared.iter().enumerate().map(|(index, column)| {
        let classes = match cell(row, index) {
            Cell::Text(classes) => classes,
            _ => "",
        };
        let mut classes: Vec<&str> = classes
            .split(',')
            .filter(|class| !matches!(*class, "null" | ""))
            .collect();
        classes.sort_unstable();
        let data_type = match classes.as_slice() {
            ["integer"] => DataType::Int64,
            ["real"] | ["integer", "real"] => DataType::Float64,
            ["blob"] => DataType::Binary,
            _ => DataType::Utf8,
        };
        (column.name.clone(), data_type)
    });
    Ok(types.collect())
}

/// Columns that the indexes of a table can refuse a second row by, each with its collation.
pub(crate) async fn unique_indexes(
    session: &mut Session,
    table: &TableName,
) -> Result<Vec<Vec<(String, String)>>> {
    let list = json!([table.name]).to_string();
    let mut shapes = shapes(session, &list).await?;
    read_indexes(session, &list, &mut shapes).await?;
    let shape = shapes.get(&table.name).ok_or_else(|| {
        ConnectorError::new(ErrorClass::Config, format!("there is no table `{table}`"))
    })?;
    let mut keys: Vec<Vec<(String, String)>> = shape
        .indexes
        .iter()
        .filter(|index| index.unique && !index.partial)
        .filter_map(|index| {
            let columns = index.columns.iter();
            columns
                .map(|(name, coll)| Some((name.clone()?, coll.clone())))
                .collect()
        })
        .collect();
    if shape.key_is_rowid() {
        let key = shape.primary_key().into_iter();
        keys.push(key.map(|name| (name, "BINARY".to_owned())).collect());
    }
    Ok(keys)
}
