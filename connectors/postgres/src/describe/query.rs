//! The statements that read the catalogues: one simple query for any number of tables.

use crate::connect::{CATALOG_PATH, ServerFacts};
use crate::sql::{quote_ident, quote_literal};
use syncset_connector::{Result, TableName};

/// Since this version a range type has a multirange type.
const MULTIRANGE_VERSION_NUM: u32 = 140_000;

/// Places of the answers among the result sets.
pub(super) mod answer {
    pub(crate) const NAMES: usize = 0;
    pub(crate) const TABLES: usize = 2;
    pub(crate) const COLUMNS: usize = 3;
    pub(crate) const TYPES: usize = 4;
    pub(crate) const INDEXES: usize = 5;
    pub(crate) const FOREIGN_KEYS: usize = 6;
    pub(crate) const SPELLED: usize = 7;
    pub(crate) const COUNT: usize = 8;
}

/// Our own setting, set for one transaction, hands the tables' OIDs to the later statements.
const OIDS: &str = "ANY (current_setting('syncset.tables')::oid[])";

/// One query whose answers stand at the places of [`answer`].
pub(super) fn describe_sql(facts: &ServerFacts, tables: &[TableName]) -> Result<String> {
    Ok([
        names_sql(tables)?,
        CATALOG_PATH.trim_end_matches(';').to_owned(),
        tables_sql(),
        columns_sql(),
        types_sql(facts.version_num),
        indexes_sql(),
        foreign_keys_sql(),
        spelled_sql(),
    ]
    .join(";\n"))
}

/// Names without a schema are found along the user's own `search_path`, so this comes first.
fn names_sql(tables: &[TableName]) -> Result<String> {
    let mut rows = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let schema = match &table.schema {
            Some(schema) => quote_literal(schema)?,
            None => "NULL".to_owned(),
        };
        rows.push(format!(
            "({index}, {schema}::pg_catalog.text, {}::pg_catalog.text, {}::pg_catalog.text)",
            quote_literal(&table.name)?,
            quote_literal(&quote_ident(&table.name))?,
        ));
    }
    Ok(format!(
        "SELECT pg_catalog.set_config('syncset.tables', coalesce(
           (SELECT pg_catalog.array_agg(coalesce(c.oid, 0::pg_catalog.oid) ORDER BY v.i)::pg_catalog.text
            FROM (VALUES {}) v(i, s, n, q)
            LEFT JOIN pg_catalog.pg_namespace ns ON ns.nspname = v.s
            LEFT JOIN pg_catalog.pg_class c ON c.relkind IN ('r', 'p', 'v', 'm', 'f')
              AND CASE WHEN v.s IS NULL THEN c.oid = pg_catalog.to_regclass(v.q)
                  ELSE c.relnamespace = ns.oid AND c.relname = v.n END), '{{}}'), true)",
        rows.join(", ")
    ))
}

/// Leaves are the tables that hold the rows: partitions, and children by inheritance.
fn tables_sql() -> String {
    format!(
        "WITH RECURSIVE tree(root, oid) AS (
           SELECT c.oid, c.oid FROM pg_class c WHERE c.oid = {OIDS}
           UNION
           SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid)
         SELECT r.oid, n.nspname, r.relname, r.relkind,
           has_table_privilege(r.oid, 'SELECT'),
           sum(c.reltuples) FILTER (WHERE c.relkind IN ('r', 'm', 'f') AND c.reltuples >= 0)::int8,
           bool_and(c.reltuples >= 0 AND (c.reltuples > 0 OR c.relpages > 0))
             FILTER (WHERE c.relkind IN ('r', 'm', 'f')),
           sum(pg_table_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm'))::int8,
           json_object_agg(c.oid::text, c.relfilenode::int8)
             FILTER (WHERE c.relkind IN ('r', 'm'))::text,
           nullif(obj_description(r.oid, 'pg_class'), '')
         FROM tree t JOIN pg_class c ON c.oid = t.oid
           JOIN pg_class r ON r.oid = t.root JOIN pg_namespace n ON n.oid = r.relnamespace
         GROUP BY r.oid, n.nspname, r.relname, r.relkind"
    )
}

fn columns_sql() -> String {
    format!(
        "SELECT a.attrelid, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
           a.atttypid, a.atttypmod, a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           a.attidentity, a.attgenerated, has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
           nullif(col_description(a.attrelid, a.attnum), '')
         FROM pg_attribute a
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = {OIDS} AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attrelid, a.attnum"
    )
}

/// The columns' types and everything they are made of.
fn types_sql(version_num: u32) -> String {
    let range_of = if version_num >= MULTIRANGE_VERSION_NUM {
        "r.rngtypid = t.oid OR r.rngmultitypid = t.oid"
    } else {
        "r.rngtypid = t.oid"
    };
    format!(
        "WITH RECURSIVE need(oid) AS (
           SELECT a.atttypid FROM pg_attribute a
             WHERE a.attrelid = {OIDS} AND a.attnum > 0 AND NOT a.attisdropped
           UNION
           SELECT x.oid FROM need JOIN pg_type t ON t.oid = need.oid CROSS JOIN LATERAL (
             SELECT t.typelem WHERE t.typelem <> 0
             UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
             UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE {range_of}
             UNION ALL SELECT m.atttypid FROM pg_attribute m
               WHERE t.typtype = 'c' AND m.attrelid = t.typrelid AND m.attnum > 0
                 AND NOT m.attisdropped) x(oid))
         SELECT t.oid, format_type(t.oid, NULL), n.nspname, t.typname, t.typtype,
           CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END,
           t.typbasetype, t.typtypmod,
           CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END,
           (SELECT r.rngsubtype FROM pg_range r WHERE {range_of}),
           (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)::text
              FROM pg_enum e WHERE e.enumtypid = t.oid),
           (SELECT json_agg(json_build_array(m.attname, format_type(m.atttypid, m.atttypmod),
                m.atttypid::int8) ORDER BY m.attnum)::text FROM pg_attribute m
              WHERE t.typtype = 'c' AND m.attrelid = t.typrelid AND m.attnum > 0
                AND NOT m.attisdropped),
           (SELECT x.extname FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
              WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
                AND d.refclassid = 'pg_extension'::regclass)
         FROM need JOIN pg_type t ON t.oid = need.oid JOIN pg_namespace n ON n.oid = t.typnamespace"
    )
}

/// Indexes over plain columns. The index's row is read as JSON where a column is younger
/// than the oldest server.
fn indexes_sql() -> String {
    format!(
        "SELECT i.indrelid, c.relname, i.indisprimary, i.indpred IS NULL,
           json_agg(a.attname ORDER BY k.n)::text, bool_and(a.attnotnull),
           bool_or((to_json(i)->>'indnullsnotdistinct')::boolean IS TRUE), i.indisunique,
           bool_and(m.amname = 'btree')
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
           CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         WHERE i.indrelid = {OIDS} AND i.indisvalid AND i.indexprs IS NULL
           AND k.n <= i.indnkeyatts
         GROUP BY i.indrelid, c.relname, i.indisprimary, i.indpred IS NULL, i.indisunique
         ORDER BY i.indrelid, c.relname"
    )
}

fn foreign_keys_sql() -> String {
    format!(
        "SELECT f.conrelid, f.conname, n.nspname, p.relname,
           (SELECT json_agg(a.attname ORDER BY k.n)::text
              FROM unnest(f.conkey) WITH ORDINALITY k(attnum, n)
              JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
           (SELECT json_agg(a.attname ORDER BY k.n)::text
              FROM unnest(f.confkey) WITH ORDINALITY k(attnum, n)
              JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum),
           f.confupdtype IN ('c', 'n', 'd') OR f.confdeltype IN ('c', 'n', 'd'), f.convalidated
         FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid
           JOIN pg_namespace n ON n.oid = p.relnamespace
         WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = {OIDS}
         ORDER BY f.conrelid, f.conname"
    )
}

/// Indexes that are more than a list of columns, with what follows the table's name in their DDL;
/// NULL for one that names anything besides columns of its table and what every server has, or
/// that reads whole rows (`t.*`).
fn spelled_sql() -> String {
    format!(
        "SELECT i.indrelid, c.relname, d.columns, CASE WHEN d.is_known AND starts_with(s.sql, s.start)
             AND strpos(s.sql, '.*') = 0
           THEN substr(s.sql, length(s.start) + 1) END
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
           JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
           CROSS JOIN LATERAL (SELECT pg_get_indexdef(i.indexrelid), 'CREATE INDEX '
             || quote_ident(c.relname) || ' ON ' || quote_ident(n.nspname) || '.'
             || quote_ident(t.relname) || ' ') s(sql, start)
           CROSS JOIN LATERAL (SELECT (json_agg(DISTINCT a.attname) FILTER (WHERE a.attname IS NOT NULL))::text,
               bool_and(p.refclassid = 'pg_class'::regclass AND p.refobjid = i.indrelid)
             FROM pg_depend p LEFT JOIN pg_attribute a ON p.refobjid = i.indrelid
               AND a.attrelid = i.indrelid AND a.attnum = p.refobjsubid AND a.attnum > 0
             WHERE p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid
               AND p.refclassid <> 'pg_constraint'::regclass) d(columns, is_known)
         WHERE i.indrelid = {OIDS} AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion
           AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR m.amname <> 'btree')
         ORDER BY i.indrelid, c.relname"
    )
}
