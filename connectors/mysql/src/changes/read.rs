//! The statements that read rows, and the changes of a window as events.

use super::key_text::{has_literal, literal, text_of};
use super::position::{Pending, Watermark};
use super::shape::Shape;
use super::window::WindowPlan;
use crate::connect::{RowStream, Session};
use crate::decode::Decoder;
use crate::error;
use crate::sql::identifier;
use crate::types::ReadRules;
use arrow_array::RecordBatch;
use futures::StreamExt;
use mysql_async::Value;
use std::collections::VecDeque;
use syncset_connector::{
    BatchStream, ChangeEvent, ChangeStream, Column, ConnectorError, Position, Result, TableRead,
};

/// The most rows that a statement can be limited to.
const NO_LIMIT: &str = "18446744073709551615";

/// The columns of a read as a SELECT list.
pub(crate) fn select_list(columns: &[&Column]) -> String {
    let list: Vec<_> = columns
        .iter()
        .map(|column| identifier(&column.name))
        .collect();
    list.join(", ")
}

/// Rows of a table by any condition.
pub(crate) fn rows_sql(columns: &[&Column], shape: &Shape, conditions: &[String]) -> String {
    format!(
        "SELECT {} FROM {}{}",
        select_list(columns),
        shape.from,
        shape.selected(conditions)
    )
}

/// Rows that have given keys.
///
/// Keys are compared as the column compares: a row whose key only looks the same to its collation
/// is the row that is meant, since a unique key holds one of them.
pub(crate) fn rows_by_key_sql(
    read: &TableRead,
    shape: &Shape,
    keys: &RecordBatch,
) -> Result<String> {
    let mut list = Vec::with_capacity(keys.num_rows());
    for row in 0..keys.num_rows() {
        let mut parts = Vec::with_capacity(shape.key.len());
        for (order, array) in shape.key.iter().zip(keys.columns()) {
            let text = text_of(array, row)?;
            parts.push(match text {
                None => format!("{} IS NULL", order.sql),
                Some(text) if has_literal(&order.column) => {
                    format!("{} = {}", order.sql, literal(&order.column, &text)?)
                }
                // The text that the server makes of the value.
                Some(text) => format!("CAST({} AS CHAR) = {}", order.sql, crate::sql::text(&text)),
            });
        }
        list.push(format!("({})", parts.join(" AND ")));
    }
    let condition = if list.is_empty() {
        "FALSE".to_owned()
    } else {
        format!("({})", list.join(" OR "))
    };
    Ok(rows_sql(&read.read_columns(), shape, &[condition]))
}

/// Runs a statement whose rows have these columns.
pub(crate) async fn batches<'a>(
    session: &'a mut Session,
    read: &TableRead,
    rules: ReadRules,
    sql: &str,
    columns: &[&Column],
) -> Result<BatchStream<'a>> {
    let key = places(columns, &read.key);
    let name = read.description.name.to_string();
    let decoder = Decoder::new(&name, columns, key, rules, read.batch_bytes)?;
    let rows = session.stream(sql, Vec::new()).await?;
    let state = Some((rows, decoder));
    Ok(futures::stream::try_unfold(state, |state| async move {
        let Some((mut rows, mut decoder)) = state else {
            return Ok::<_, ConnectorError>(None);
        };
        while let Some(values) = rows.next().await? {
            decoder.append(values)?;
            if decoder.is_full() {
                let batch = decoder.flush()?;
                return Ok(batch.map(|batch| (batch, Some((rows, decoder)))));
            }
        }
        Ok(decoder.flush()?.map(|batch| (batch, None)))
    })
    .boxed())
}

fn places(columns: &[&Column], names: &[String]) -> Vec<usize> {
    names
        .iter()
        .filter_map(|name| columns.iter().position(|column| column.name == *name))
        .collect()
}

/// The statement of a window, and where its answer has what.
pub(crate) struct WindowQuery {
    /// The SELECT.
    pub(crate) sql: String,
    /// The columns of the read, then the cursor if it is not one of them.
    columns: Vec<Column>,
    /// Places of cursor and key: the order of the rows.
    order: Vec<usize>,
    /// True if the last value says whether the row is selected.
    has_member: bool,
}

impl WindowQuery {
    /// The statement of one window.
    pub(crate) fn of(read: &TableRead, shape: &Shape, plan: &WindowPlan) -> Self {
        let mut columns: Vec<Column> = read.read_columns().into_iter().cloned().collect();
        let mut order = Vec::new();
        for wanted in shape.order() {
            let found = columns
                .iter()
                .position(|column| column.name == wanted.column.name);
            order.push(found.unwrap_or_else(|| {
                // Only a cursor that is not selected itself.
                columns.push(wanted.column.clone());
                columns.len() - 1
            }));
        }
        // Where nothing is ever deleted, rows that are not selected are not read at all.
        let disjoint = read.capture.is_disjoint();
        let member = shape.filter.as_ref().filter(|_| !disjoint);
        let selected = match &shape.filter {
            Some(filter) if disjoint => format!(" AND {filter}"),
            _ => String::new(),
        };
        let from = format!("FROM {} WHERE {}{selected}", shape.from, plan.condition);
        let by: Vec<_> = shape
            .order()
            .iter()
            .map(|column| column.sql.clone())
            .collect();
        let by = by.join(", ");
        let sql = match member {
            None => {
                let list: Vec<_> = columns.iter().collect();
                format!("SELECT {} {from} ORDER BY {by}", select_list(&list))
            }
            Some(filter) if shape.filter_is_foreign => {
                // The limit keeps the server from evaluating the condition once per column.
                let list: Vec<_> = columns.iter().collect();
                let inner = format!(
                    "SELECT {}, {filter} IS TRUE AS `syncset member` {from} LIMIT {NO_LIMIT}",
                    select_list(&list)
                );
                let outer = guarded(&columns, &order, "`syncset member`");
                format!("SELECT {outer}, `syncset member` FROM ({inner}) w ORDER BY {by}")
            }
            Some(filter) => {
                let list = guarded(&columns, &order, filter);
                format!("SELECT {list}, {filter} IS TRUE {from} ORDER BY {by}")
            }
        };
        Self {
            sql,
            columns,
            order,
            has_member: member.is_some(),
        }
    }
}

/// The columns as a SELECT list; of rows that are not selected nothing but cursor and key.
fn guarded(columns: &[Column], kept: &[usize], condition: &str) -> String {
    let list: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let name = identifier(&column.name);
            if kept.contains(&place) {
                name
            } else {
                format!("CASE WHEN {condition} THEN {name} END")
            }
        })
        .collect();
    list.join(", ")
}

/// Reads one window as events.
pub(crate) async fn changes<'a>(
    session: &'a mut Session,
    read: &'a TableRead,
    shape: &Shape,
    plan: WindowPlan,
    (rules, unit_bytes): (ReadRules, u64),
) -> Result<ChangeStream<'a>> {
    let query = WindowQuery::of(read, shape, &plan);
    let name = read.description.name.to_string();
    let decoder = |columns: &[&Column]| {
        let key = places(columns, &read.key);
        Decoder::new(&name, columns, key, rules, read.batch_bytes)
    };
    let order: Vec<&Column> = query
        .order
        .iter()
        .map(|place| &query.columns[*place])
        .collect();
    let cut = shape.key_orders && order.iter().all(|column| has_literal(column));
    let reading = Reading {
        upserts: decoder(&read.read_columns())?,
        deletes: decoder(&read.key_columns())?,
        after: Decoder::new(&name, &order, Vec::new(), rules, usize::MAX)?,
        rows: session.stream(&query.sql, Vec::new()).await?,
        column_count: read.columns.len(),
        key_count: read.key.len(),
        order: query.order,
        has_member: query.has_member,
        unit_bytes: if cut {
            usize::try_from(unit_bytes).unwrap_or(usize::MAX).max(1)
        } else {
            // There is no place to go on from.
            usize::MAX
        },
        plan,
        bytes: 0,
        ready: VecDeque::new(),
        done: false,
    };
    Ok(
        futures::stream::try_unfold(reading, |mut reading| async move {
            let event = reading.next_event().await?;
            Ok::<_, ConnectorError>(event.map(|event| (event, reading)))
        })
        .boxed(),
    )
}

struct Reading<'a> {
    rows: RowStream<'a>,
    plan: WindowPlan,
    upserts: Decoder,
    deletes: Decoder,
    /// Cursor and key of one row, where the window is cut.
    after: Decoder,
    column_count: usize,
    key_count: usize,
    order: Vec<usize>,
    has_member: bool,
    unit_bytes: usize,
    /// Bytes decoded since the last progress.
    bytes: usize,
    ready: VecDeque<ChangeEvent>,
    done: bool,
}

impl Reading<'_> {
    async fn next_event(&mut self) -> Result<Option<ChangeEvent>> {
        while self.ready.is_empty() && !self.done {
            match self.rows.next().await? {
                Some(values) => self.take(values)?,
                None => {
                    self.flush()?;
                    let end = self.plan.next.position();
                    self.ready.push_back(ChangeEvent::Progress(end));
                    self.done = true;
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, mut values: Vec<Value>) -> Result<()> {
        let member = !self.has_member || matches!(values.pop(), Some(Value::Int(1)));
        let value = |place: &usize| values.get(*place).cloned().unwrap_or(Value::NULL);
        let order: Vec<Value> = self.order.iter().map(value).collect();
        let key_at = order.len() - self.key_count;
        let decoder = if member {
            &mut self.upserts
        } else {
            &mut self.deletes
        };
        let before = decoder.bytes();
        if member {
            values.truncate(self.column_count);
            decoder.append(values)?;
        } else {
            decoder.append(order[key_at..].iter().cloned())?;
        }
        self.bytes += decoder.bytes() - before;
        if self.bytes >= self.unit_bytes {
            let progress = self.progress(order)?;
            self.flush()?;
            self.ready.push_back(ChangeEvent::Progress(progress));
            self.bytes = 0;
        } else if decoder.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    /// The position after a row within this window.
    fn progress(&mut self, order: Vec<Value>) -> Result<Position> {
        self.after.append(order)?;
        let row = self.after.flush()?;
        let row = row.ok_or_else(|| error::unexpected("a window was cut before its first row"))?;
        let after: Result<Vec<_>> = row
            .columns()
            .iter()
            .map(|array| text_of(array, 0))
            .collect();
        let mut mark: Watermark = self.plan.base.clone();
        // The rest may be read in a snapshot that holds other rows.
        mark.seen = None;
        mark.pending = Some(Pending {
            bound: self.plan.next.bound.clone(),
            after: after?,
        });
        Ok(mark.position())
    }

    fn flush(&mut self) -> Result<()> {
        let deletes = self.deletes.flush()?;
        self.ready.extend(deletes.map(ChangeEvent::Deletes));
        let upserts = self.upserts.flush()?;
        self.ready.extend(upserts.map(ChangeEvent::Upserts));
        Ok(())
    }
}
