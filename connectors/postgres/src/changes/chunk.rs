//! Chunks of a first load: where to cut, and the condition of a range.
//!
//! The order is the key's own order on the server, that of its index; a chunk is only ever read by
//! the server whose keys cut it.

use super::shape::{OrderColumn, Shape, compare_row};
use crate::connect::PgStore;
use crate::sql::quote_literal;
use syncset_connector::{Column, KeyBound, KeyRange, Result, TableKind, TableRead};

/// Chunks of one table at most.
const CHUNKS_MAX: u64 = 10_000;

/// Pages that are looked at per chunk to find where to cut, and altogether.
const SAMPLE_PAGES_PER_CHUNK: u64 = 24;
const SAMPLE_PAGES_MAX: u64 = 6_000;

/// The conditions of a range of keys.
pub(crate) fn range_conditions(shape: &Shape, range: &KeyRange) -> Result<Vec<String>> {
    let key: Vec<&OrderColumn> = shape.key.iter().collect();
    let mut conditions = Vec::new();
    for (bound, operator) in [(&range.after, ">"), (&range.up_to, "<=")] {
        if let Some(bound) = bound {
            conditions.push(compare_row(&key, operator, &bound.0)?);
        }
    }
    Ok(conditions)
}

/// Keys that cut a table into chunks of about `chunk_bytes`; empty for one chunk.
///
/// Looks at the table's size, then at the keys of a few random pages: two round trips, no scan.
pub(crate) async fn boundaries(
    store: &PgStore,
    read: &TableRead,
    chunk_bytes: u64,
) -> Result<Vec<KeyBound>> {
    let shape = Shape::of(read)?;
    let is_table = matches!(
        read.description.kind,
        TableKind::Table | TableKind::Partitioned
    );
    if !is_table || shape.key.is_empty() || !read.key_columns().into_iter().all(can_cut) {
        return Ok(Vec::new());
    }
    let mut session = store.control().await?;
    let sizes = session.rows(&size_sql(&shape)?).await?;
    let Some(sizes) = sizes.first() else {
        return Ok(Vec::new());
    };
    let (bytes, heap_bytes): (u64, u64) = (sizes.parse(0)?, sizes.parse(1)?);
    let chunks = bytes.div_ceil(chunk_bytes.max(1)).min(CHUNKS_MAX);
    if chunks < 2 {
        return Ok(Vec::new());
    }
    let pages = heap_bytes.div_ceil(store.facts().block_bytes.max(1)).max(1);
    let rows = session.rows(&sample_sql(&shape, chunks, pages)).await?;
    let mut bounds: Vec<KeyBound> = Vec::with_capacity(rows.len());
    for row in rows {
        let parts: Result<Vec<_>> = (0..shape.key.len())
            .map(|index| row.required(index).map(str::to_owned))
            .collect();
        let bound = KeyBound(parts?);
        if bounds.last() != Some(&bound) {
            bounds.push(bound);
        }
    }
    Ok(bounds)
}

/// Types whose order is that of an index and whose text is read back as the same value.
fn can_cut(column: &Column) -> bool {
    !column.native.as_text && column.readable && !column.nullable
}

fn size_sql(shape: &Shape) -> Result<String> {
    let name = quote_literal(&shape.from)?;
    Ok(format!(
        "WITH RECURSIVE tree(oid) AS (
           SELECT pg_catalog.to_regclass({name})::pg_catalog.oid
           UNION
           SELECT h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid)
         SELECT coalesce(sum(pg_catalog.pg_table_size(t.oid)), 0)::pg_catalog.int8,
           coalesce(sum(pg_catalog.pg_relation_size(t.oid)), 0)::pg_catalog.int8
           FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
           WHERE c.relkind IN ('r', 'm', 't')"
    ))
}

/// Quantiles of the keys of random pages. The seed is fixed: the same table is cut alike.
fn sample_sql(shape: &Shape, chunks: u64, pages: u64) -> String {
    let wanted = chunks
        .saturating_mul(SAMPLE_PAGES_PER_CHUNK)
        .min(SAMPLE_PAGES_MAX);
    // Tenths of a per mille are enough, and no floating point is in the way.
    let share = wanted
        .saturating_mul(1_000_000)
        .div_ceil(pages)
        .min(1_000_000);
    let percent = format!("{}.{:04}", share / 10_000, share % 10_000);
    let names: Vec<_> = shape.key.iter().map(|column| column.sql.as_str()).collect();
    let named: Vec<_> = (0..names.len()).map(|index| format!("k{index}")).collect();
    let aliased: Vec<_> = names
        .iter()
        .zip(&named)
        .map(|(name, alias)| format!("{name} AS {alias}"))
        .collect();
    let texts: Vec<_> = named
        .iter()
        .map(|alias| format!("s.{alias}::pg_catalog.text"))
        .collect();
    let order: Vec<_> = named.iter().map(|alias| format!("s.{alias}")).collect();
    format!(
        "SELECT {texts} FROM (
           SELECT r.*, r.n * {chunks} / r.total AS chunk,
             (r.n - 1) * {chunks} / r.total AS chunk_before FROM (
               SELECT s.*, pg_catalog.row_number() OVER (ORDER BY {order}) AS n,
                 pg_catalog.count(*) OVER () AS total
                 FROM (SELECT {aliased} FROM {from} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (1)) s
             ) r) s
         WHERE s.chunk > s.chunk_before AND s.chunk < {chunks} ORDER BY {order}",
        texts = texts.join(", "),
        order = order.join(", "),
        aliased = aliased.join(", "),
        from = shape.from,
    )
}
