//! The watermarks below a first load.

use super::open::open_verified;
use super::shape::Shape;
use super::window::Evidence;
use crate::connect::PgStore;
use std::sync::Arc;
use syncset_connector::{Position, Result, TableRead};

/// Positions below every change that could still appear.
pub(crate) async fn low_positions(
    store: &PgStore,
    reads: &[Arc<TableRead>],
) -> Result<Vec<Position>> {
    let windowed: Vec<&TableRead> = reads
        .iter()
        .map(|read| &**read)
        .filter(|read| read.capture.has_windows())
        .collect();
    let nothing = || Position(serde_json::Value::Null);
    if windowed.is_empty() {
        return Ok(reads.iter().map(|_| nothing()).collect());
    }
    let mut opened = open_verified(store, &windowed, true, None).await?;
    let mut shapes = Vec::with_capacity(windowed.len());
    let mut sql = String::new();
    for read in &windowed {
        let shape = Shape::of(read)?;
        if let Some(cursor) = &shape.cursor {
            let name = read.description.name.to_string();
            opened.activity.check_first_load(&name)?;
            if cursor.kind.is_time() {
                opened
                    .activity
                    .check(&name, &cursor.spec, &store.facts().user)?;
            } else {
                sql.push_str(&format!(
                    "SELECT pg_catalog.max({}) FROM {};\n",
                    cursor.column.sql, shape.from
                ));
            }
        }
        shapes.push(shape);
    }
    let mut largest = if sql.is_empty() {
        Vec::new()
    } else {
        opened.session.result_sets(&sql).await?
    }
    .into_iter();
    let mut positions = Vec::with_capacity(reads.len());
    let mut tables = windowed.iter().zip(&shapes).zip(&opened.relations);
    for read in reads {
        if !read.capture.has_windows() {
            positions.push(nothing());
            continue;
        }
        let Some(((read, shape), relation)) = tables.next() else {
            break;
        };
        let is_integer = shape
            .cursor
            .as_ref()
            .is_some_and(|cursor| !cursor.kind.is_time());
        let value = match largest
            .by_ref()
            .take(usize::from(is_integer))
            .flatten()
            .next()
        {
            Some(row) if row.text(0).is_some() => Some(row.parse(0)?),
            _ => None,
        };
        let evidence = Evidence {
            read,
            shape,
            relation,
            numbers: opened.numbers,
            activity: &opened.activity,
        };
        positions.push(evidence.low(value).position());
    }
    if opened.session.execute("COMMIT").await.is_ok() {
        // The first chunk takes it over.
        store.readers.give_back(opened.session);
    }
    Ok(positions)
}
