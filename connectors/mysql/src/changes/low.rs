//! The watermarks below a first load.

use super::open::open_verified;
use super::shape::Shape;
use super::transactions::Patience;
use super::window::Evidence;
use crate::connect::MysqlStore;
use std::sync::Arc;
use syncset_connector::{Position, Result, TableRead};

/// Positions below every change that could still appear.
pub(crate) async fn low_positions(
    store: &MysqlStore,
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
    let mut opened = open_verified(store, &windowed, Some(Patience::UntilFresh)).await?;
    let mut shapes = Vec::with_capacity(windowed.len());
    let mut sql = Vec::new();
    for read in &windowed {
        let shape = Shape::of(read, store.config.rules)?;
        if let Some(cursor) = &shape.cursor {
            let name = read.description.name.to_string();
            opened.activity.check_first_load(&name)?;
            if cursor.kind.is_time() {
                let user = &store.facts().user;
                opened.activity.check(&name, &cursor.spec, user)?;
                opened.activity.check_fresh(&name)?;
            } else {
                let column = &cursor.column.sql;
                sql.push(format!("SELECT MAX({column}) FROM {}", shape.from));
            }
        }
        shapes.push(shape);
    }
    let mut largest = if sql.is_empty() {
        Vec::new()
    } else {
        opened.session.result_sets(&sql.join("; ")).await?
    }
    .into_iter();
    let mut positions = Vec::with_capacity(reads.len());
    let mut tables = windowed.iter().zip(&shapes).enumerate();
    for read in reads {
        if !read.capture.has_windows() {
            positions.push(nothing());
            continue;
        }
        let Some((place, (read, shape))) = tables.next() else {
            break;
        };
        let Some(cursor) = &shape.cursor else {
            positions.push(nothing());
            continue;
        };
        let value = match cursor.kind.is_time() {
            true => None,
            false => match largest.next().as_deref() {
                Some([row, ..]) => row.parse_some(0)?,
                _ => None,
            },
        };
        let evidence = Evidence::of(read, shape, cursor, &opened, place);
        positions.push(evidence.low(value).position());
    }
    if opened.session.execute("COMMIT").await.is_ok() {
        // The first chunk takes it over.
        store.give_back(opened.session);
    }
    Ok(positions)
}
