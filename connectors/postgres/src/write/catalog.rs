//! What a target table really is, asked for any number of tables in one round trip.

use crate::connect::{Session, TextRow};
use crate::error;
use crate::sql::{quote_ident, quote_literal};
use std::collections::HashMap;
use syncset_connector::{Result, TableName};

/// Schema of tables that are named without one.
const DEFAULT_SCHEMA: &str = "public";

/// A table's schema, `public` where none was named.
pub(crate) fn schema_of(table: &TableName) -> &str {
    table.schema.as_deref().unwrap_or(DEFAULT_SCHEMA)
}

/// A target table's name, quoted, always with its schema.
pub(crate) fn target_name(table: &TableName) -> String {
    format!(
        "{}.{}",
        quote_ident(schema_of(table)),
        quote_ident(&table.name)
    )
}

/// A table as the catalog has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `pg_class.relkind`: `r` or `p` can be written.
    pub(crate) kind: char,
    /// True for UNLOGGED and temporary tables.
    pub(crate) unlogged: bool,
    /// Rights on the table that this user lacks, such as `INSERT`.
    pub(crate) missing_rights: Vec<String>,
    /// True if policies of row security apply to this user.
    pub(crate) has_policies: bool,
    /// Columns in the table's order.
    pub(crate) columns: Vec<ActualColumn>,
    /// Unique indexes that an upsert can be decided by.
    pub(crate) unique_indexes: Vec<UniqueIndex>,
    /// Names of enabled triggers.
    pub(crate) triggers: Vec<String>,
    /// Foreign keys of the table: constraint and parent.
    pub(crate) foreign_keys: Vec<(String, TableName)>,
    /// Foreign keys of other tables that delete or change their rows when ours are deleted.
    pub(crate) cascades: Vec<(String, TableName)>,
}

/// A column as the catalog has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ActualColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its type as DDL spells it.
    pub(crate) declared: String,
    /// The same without its length or precision.
    pub(crate) bare: String,
    /// `pg_type.typname` of the type that its domains stand for.
    pub(crate) base: String,
    /// The base type as DDL spells it, with length or precision.
    pub(crate) base_declared: String,
    /// True if the base type is an enumeration.
    pub(crate) is_enum: bool,
    /// True if the base type is in `pg_catalog`.
    pub(crate) built_in: bool,
    /// True if it refuses NULL.
    pub(crate) not_null: bool,
    /// True if it has a default, or an identity.
    pub(crate) has_default: bool,
    /// True if the table computes it.
    pub(crate) generated: bool,
    /// True for `GENERATED ALWAYS AS IDENTITY`.
    pub(crate) identity_always: bool,
    /// Labels of an enumeration, in order.
    pub(crate) labels: Vec<String>,
    /// True if values of its type have a binary form.
    pub(crate) has_binary_form: bool,
    /// Attributes of a composite type, in order: name and type as DDL spells it.
    pub(crate) attributes: Vec<(String, String)>,
}

/// A unique index without condition or expression, checked at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UniqueIndex {
    /// Column and the operator by which the index compares it: `OPERATOR(pg_catalog.=)`.
    pub(crate) columns: Vec<(String, String)>,
}

impl Shape {
    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<&ActualColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The unique index on exactly these columns, in any order.
    pub(crate) fn unique_index(&self, key: &[String]) -> Option<&UniqueIndex> {
        self.unique_indexes.iter().find(|index| {
            index.columns.len() == key.len()
                && key
                    .iter()
                    .all(|name| index.columns.iter().any(|(column, _)| column == name))
        })
    }
}

/// Asks for the shapes of tables; `None`: no such table. One round trip.
pub(crate) async fn shapes(
    session: &mut Session,
    tables: &[&TableName],
) -> Result<Vec<Option<Shape>>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let sets = session.result_sets(&shapes_sql(tables)?).await?;
    read_shapes(&sets, tables.len())
}

fn shapes_sql(tables: &[&TableName]) -> Result<String> {
    let mut wanted = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        wanted.push(format!(
            "({index}, {}, {})",
            quote_literal(schema_of(table))?,
            quote_literal(&table.name)?
        ));
    }
    let wanted = format!(
        "WITH RECURSIVE w AS MATERIALIZED (SELECT v.i, c.* FROM (VALUES {}) AS v (i, nsp, rel) \
         JOIN pg_namespace n ON n.nspname = v.nsp \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.rel)",
        wanted.join(", ")
    );
    let statements: Vec<_> = [TABLES, COLUMNS, INDEXES, TRIGGERS, PARENTS, CASCADES]
        .iter()
        .map(|statement| format!("{wanted} {statement}"))
        .collect();
    // One implicit transaction, unless the session is in one already.
    Ok(format!(
        "SET LOCAL search_path = pg_catalog;\n{};\nSET LOCAL search_path = DEFAULT",
        statements.join(";\n")
    ))
}

/// Statements before the ones that answer.
const SETS_BEFORE: usize = 1;

const TABLES: &str = "SELECT w.i, w.relkind, w.relpersistence <> 'p', row_security_active(w.oid),
    (SELECT string_agg(p, ',') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
      WHERE NOT has_table_privilege(w.oid, p)) FROM w";

// A domain may stand for another domain; its length or precision is that of the innermost.
const COLUMNS: &str = ", a AS MATERIALIZED (SELECT w.i, a.* FROM w JOIN pg_attribute a
      ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped),
    b (type, typmod, base, base_typmod) AS (
      SELECT DISTINCT a.atttypid, a.atttypmod, a.atttypid, a.atttypmod FROM a
      UNION ALL
      SELECT b.type, b.typmod, t.typbasetype, t.typtypmod
        FROM b JOIN pg_type t ON t.oid = b.base AND t.typtype = 'd')
    SELECT a.i, a.attname, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1),
      t.typname, format_type(b.base, b.base_typmod), t.typtype = 'e',
      t.typnamespace = 'pg_catalog'::regnamespace, a.attnotnull,
      a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a',
      CASE WHEN t.typtype = 'e' THEN (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = b.base) END, t.typsend <> 0,
      CASE WHEN t.typtype = 'c' THEN (SELECT json_agg(json_build_array(p.attname,
          format_type(p.atttypid, p.atttypmod)) ORDER BY p.attnum)
        FROM pg_attribute p WHERE p.attrelid = t.typrelid AND p.attnum > 0
          AND NOT p.attisdropped) END
    FROM a JOIN b ON b.type = a.atttypid AND b.typmod = a.atttypmod
    JOIN pg_type t ON t.oid = b.base AND t.typtype <> 'd'
    ORDER BY a.i, a.attnum";

const INDEXES: &str = "SELECT w.i, x.indexrelid, a.attname, n.nspname, o.oprname
    FROM w JOIN pg_index x ON x.indrelid = w.oid
    CROSS JOIN LATERAL unnest(x.indkey::int2[], x.indclass::oid[])
      WITH ORDINALITY AS k (attnum, opclass, place)
    JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum = k.attnum
    JOIN pg_opclass c ON c.oid = k.opclass
    JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
      AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
    JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL
      AND x.indexprs IS NULL AND k.place <= x.indnkeyatts
    ORDER BY w.i, x.indisprimary DESC, x.indexrelid, k.place";

const TRIGGERS: &str = "SELECT w.i, t.tgname FROM w JOIN pg_trigger t ON t.tgrelid = w.oid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') ORDER BY 1, 2";

const PARENTS: &str = "SELECT w.i, f.conname, n.nspname, c.relname
    FROM w JOIN pg_constraint f ON f.conrelid = w.oid AND f.contype = 'f'
    JOIN pg_class c ON c.oid = f.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY 1, 2";

const CASCADES: &str = "SELECT w.i, f.conname, n.nspname, c.relname
    FROM w JOIN pg_constraint f ON f.confrelid = w.oid AND f.contype = 'f'
      AND f.confdeltype IN ('c', 'n', 'd')
    JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY 1, 2";

fn read_shapes(sets: &[Vec<TextRow>], count: usize) -> Result<Vec<Option<Shape>>> {
    let mut shapes: Vec<Option<Shape>> = vec![None; count];
    let set = |number: usize| {
        sets.get(SETS_BEFORE + number)
            .map_or(&[][..], Vec::as_slice)
    };
    for row in set(0) {
        let shape = Shape {
            kind: row.required(1)?.chars().next().unwrap_or(' '),
            unlogged: row.is_true(2),
            has_policies: row.is_true(3),
            missing_rights: row
                .text(4)
                .map(|rights| rights.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            ..Shape::default()
        };
        *slot(&mut shapes, row)? = Some(shape);
    }
    for row in set(1) {
        shape_of(&mut shapes, row)?.columns.push(read_column(row)?);
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    for row in set(2) {
        let indexes = &mut shape_of(&mut shapes, row)?.unique_indexes;
        let place = *places.entry(row.required(1)?).or_insert_with(|| {
            indexes.push(UniqueIndex::default());
            indexes.len() - 1
        });
        let operator = format!(
            "OPERATOR({}.{})",
            quote_ident(row.required(3)?),
            row.required(4)?
        );
        indexes[place]
            .columns
            .push((row.required(2)?.to_owned(), operator));
    }
    for row in set(3) {
        shape_of(&mut shapes, row)?
            .triggers
            .push(row.required(1)?.to_owned());
    }
    for row in set(4) {
        shape_of(&mut shapes, row)?
            .foreign_keys
            .push(named_table(row)?);
    }
    for row in set(5) {
        shape_of(&mut shapes, row)?.cascades.push(named_table(row)?);
    }
    Ok(shapes)
}

fn slot<'a>(shapes: &'a mut [Option<Shape>], row: &TextRow) -> Result<&'a mut Option<Shape>> {
    shapes
        .get_mut(row.parse::<usize>(0)?)
        .ok_or_else(|| error::unexpected("the server answered for a table that was not asked for"))
}

fn shape_of<'a>(shapes: &'a mut [Option<Shape>], row: &TextRow) -> Result<&'a mut Shape> {
    slot(shapes, row)?
        .as_mut()
        .ok_or_else(|| error::unexpected("a table vanished while it was described"))
}

fn named_table(row: &TextRow) -> Result<(String, TableName)> {
    let table = TableName::in_schema(row.required(2)?, row.required(3)?);
    Ok((row.required(1)?.to_owned(), table))
}

/// A JSON list of the catalogue; an absent one is empty.
fn listed<T: serde::de::DeserializeOwned>(row: &TextRow, place: usize) -> Result<Vec<T>> {
    match row.text(place) {
        Some(json) => serde_json::from_str(json)
            .map_err(|_| error::unexpected("the parts of a type are no JSON list")),
        None => Ok(Vec::new()),
    }
}

fn read_column(row: &TextRow) -> Result<ActualColumn> {
    Ok(ActualColumn {
        name: row.required(1)?.to_owned(),
        declared: row.required(2)?.to_owned(),
        bare: row.required(3)?.to_owned(),
        base: row.required(4)?.to_owned(),
        base_declared: row.required(5)?.to_owned(),
        is_enum: row.is_true(6),
        built_in: row.is_true(7),
        not_null: row.is_true(8),
        has_default: row.is_true(9),
        generated: row.is_true(10),
        identity_always: row.is_true(11),
        labels: listed(row, 12)?,
        has_binary_form: row.is_true(13),
        attributes: listed(row, 14)?,
    })
}
