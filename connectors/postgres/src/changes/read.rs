//! The statements that read rows, and the changes of a window as events.

use super::key_text::text_of;
use super::position::{Pending, Watermark};
use super::relation::SnapshotNumbers;
use super::shape::Shape;
use super::window::{SEEN_XMINS_MAX, WindowPlan, xid};
use crate::connect::Session;
use crate::copy_out::read_copy;
use crate::error;
use crate::types::{computed_column, select_expression};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeSet, VecDeque};
use syncset_connector::{BatchStream, ChangeEvent, ChangeStream, Column, Result, TableRead};

/// The columns of a read as a SELECT list.
pub(crate) fn select_list(columns: &[&Column]) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let list: Vec<_> = columns
        .iter()
        .map(|column| select_expression(column))
        .collect();
    list.join(", ")
}

/// The statement of a window, and where its answer has what.
pub(crate) struct WindowQuery {
    /// The SELECT.
    pub(crate) sql: String,
    columns: Vec<Column>,
    /// Places of cursor and key: the order of the rows.
    order: Vec<usize>,
    /// Place of the flag that says whether a row is selected.
    member: Option<usize>,
    /// Place of the row's xmin, for rows that the snapshot's xmin does not cover.
    xmin: Option<usize>,
}

impl WindowQuery {
    /// The statement of one window.
    pub(crate) fn of(
        read: &TableRead,
        shape: &Shape,
        plan: &WindowPlan,
        numbers: SnapshotNumbers,
    ) -> Self {
        let mut columns: Vec<Column> = read.read_columns().into_iter().cloned().collect();
        let mut inner: Vec<String> = columns.iter().map(select_expression).collect();
        let mut order = Vec::new();
        for wanted in shape.order() {
            let place = columns.iter().position(|column| column.name == wanted.name);
            order.push(place.unwrap_or_else(|| {
                // Only a cursor that is not selected itself.
                let column = read.description.column(&wanted.name);
                columns.push(column.expect("the cursor's column exists").clone());
                inner.push(wanted.sql.clone());
                columns.len() - 1
            }));
        }
        let xmin = plan.collects_xmins.then(|| {
            columns.push(computed_column("xmin", DataType::Int64));
            let name = format!("{}.xmin", shape.table);
            inner.push(format!(
                "CASE WHEN pg_catalog.age({name}) <= pg_catalog.age('{}'::pg_catalog.xid) \
                 THEN {name}::pg_catalog.text::pg_catalog.int8 END",
                xid(numbers.xmin)
            ));
            columns.len() - 1
        });
        let kept: BTreeSet<usize> = order.iter().copied().chain(xmin).collect();
        // Where nothing is ever deleted, rows that are not selected are not read at all.
        let disjoint = read.capture.is_disjoint();
        let member_filter = shape.filter.as_ref().filter(|_| !disjoint);
        let member = member_filter.map(|_| columns.len());
        // Rows that are not selected arrive with key and cursor only.
        for (place, column) in columns.iter_mut().enumerate() {
            column.nullable |= member.is_some() && !kept.contains(&place);
        }
        let by: Vec<_> = shape
            .order()
            .iter()
            .map(|column| column.sql.clone())
            .collect();
        let by = if by.is_empty() {
            String::new()
        } else {
            format!(" ORDER BY {}", by.join(", "))
        };
        let selected = match &shape.filter {
            Some(filter) if disjoint => format!(" AND {filter}"),
            _ => String::new(),
        };
        let tail = format!(
            " FROM {} WHERE {}{selected}{by}",
            shape.from, plan.condition
        );
        let sql = match member_filter {
            None => format!("SELECT {}{tail}", inner.join(", ")),
            Some(filter) => {
                columns.push(computed_column("member", DataType::Boolean));
                barrier(&inner, &kept, filter, &tail)
            }
        };
        Self {
            sql,
            columns,
            order,
            member,
            xmin,
        }
    }
}

/// Evaluates the filter once per row: OFFSET 0 keeps the planner from copying it into the outer
/// SELECT, once per column.
fn barrier(inner: &[String], kept: &BTreeSet<usize>, filter: &str, tail: &str) -> String {
    let named: Vec<_> = inner
        .iter()
        .enumerate()
        .map(|(place, expression)| format!("{expression} AS c{place}"))
        .collect();
    let outer: Vec<_> = (0..inner.len())
        .map(|place| {
            if kept.contains(&place) {
                format!("w.c{place}")
            } else {
                format!("CASE WHEN w.member THEN w.c{place} END")
            }
        })
        .collect();
    format!(
        "SELECT {}, w.member FROM (SELECT {}, {filter} IS TRUE AS member{tail} OFFSET 0) w",
        outer.join(", "),
        named.join(", ")
    )
}

/// Reads one window as events.
pub(crate) async fn changes<'a>(
    session: &'a mut Session,
    read: &'a TableRead,
    shape: &Shape,
    plan: WindowPlan,
    numbers: SnapshotNumbers,
    unit_bytes: u64,
) -> Result<ChangeStream<'a>> {
    let query = WindowQuery::of(read, shape, &plan, numbers);
    let columns: Vec<_> = query.columns.iter().collect();
    let name = read.description.name.to_string();
    let batches = read_copy(session, &query.sql, &name, &columns, read.batch_bytes).await?;
    let splitter = Splitter {
        read,
        can_cut: !shape.key.is_empty(),
        seen: plan.next.bound.seen.iter().copied().collect(),
        plan,
        order: query.order,
        member: query.member,
        xmin: query.xmin,
        after: None,
        bytes: 0,
        unit_bytes,
    };
    Ok(events(batches, splitter))
}

fn events<'a>(batches: BatchStream<'a>, splitter: Splitter<'a>) -> ChangeStream<'a> {
    let state = Some((batches, splitter, VecDeque::new()));
    futures::stream::try_unfold(state, |state| async move {
        let Some((mut batches, mut splitter, mut queue)) = state else {
            return Ok(None);
        };
        loop {
            if let Some(event) = queue.pop_front() {
                return Ok(Some((event, Some((batches, splitter, queue)))));
            }
            match batches.try_next().await? {
                Some(batch) => splitter.take(&batch, &mut queue)?,
                None => {
                    let end = ChangeEvent::Progress(splitter.end().position());
                    return Ok(Some((end, None)));
                }
            }
        }
    })
    .boxed()
}

/// Turns the batches of a window into events.
struct Splitter<'a> {
    read: &'a TableRead,
    plan: WindowPlan,
    order: Vec<usize>,
    member: Option<usize>,
    xmin: Option<usize>,
    /// False for keyless tables, which have no place to continue from.
    can_cut: bool,
    seen: BTreeSet<u32>,
    /// Cursor and key of the last row that was yielded.
    after: Option<Vec<Option<String>>>,
    bytes: u64,
    unit_bytes: u64,
}

impl Splitter<'_> {
    fn take(&mut self, batch: &RecordBatch, queue: &mut VecDeque<ChangeEvent>) -> Result<()> {
        let bytes = u64::try_from(batch.get_array_memory_size()).unwrap_or(u64::MAX);
        if self.can_cut && self.bytes > 0 && self.bytes.saturating_add(bytes) > self.unit_bytes {
            queue.extend(
                self.cut()
                    .map(|mark| ChangeEvent::Progress(mark.position())),
            );
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.note_xmins(batch);
        self.split(batch, queue)?;
        let last = batch.num_rows().saturating_sub(1);
        let after: Result<Vec<_>> = self
            .order
            .iter()
            .map(|place| text_of(batch.column(*place), last))
            .collect();
        self.after = Some(after?);
        Ok(())
    }

    fn note_xmins(&mut self, batch: &RecordBatch) {
        let Some(place) = self.xmin else { return };
        let xmins = batch.column(place).as_primitive::<Int64Type>();
        for number in xmins.iter().flatten() {
            // One more than fits says that there were too many.
            if self.seen.len() <= SEEN_XMINS_MAX {
                self.seen.extend(u32::try_from(number));
            }
        }
    }

    fn split(&self, batch: &RecordBatch, queue: &mut VecDeque<ChangeEvent>) -> Result<()> {
        let Some(place) = self.member else {
            queue.push_back(ChangeEvent::Upserts(self.selected(batch)?));
            return Ok(());
        };
        let member = batch.column(place).as_boolean();
        let count = member.true_count();
        if count < batch.num_rows() {
            let gone: BooleanArray = member
                .iter()
                .map(|value| Some(value != Some(true)))
                .collect();
            let gone = filter_record_batch(batch, &gone).map_err(strange)?;
            queue.push_back(ChangeEvent::Deletes(self.keys(&gone)?));
        }
        if count == batch.num_rows() {
            queue.push_back(ChangeEvent::Upserts(self.selected(batch)?));
        } else if count > 0 {
            let kept = filter_record_batch(batch, member).map_err(strange)?;
            queue.push_back(ChangeEvent::Upserts(self.selected(&kept)?));
        }
        Ok(())
    }

    fn selected(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch
            .columns()
            .iter()
            .take(self.read.columns.len())
            .cloned()
            .collect();
        RecordBatch::try_new(self.read.schema(), columns).map_err(strange)
    }

    fn keys(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let cursor = self.order.len() - self.read.key.len();
        let columns = self
            .order
            .iter()
            .skip(cursor)
            .map(|place| batch.column(*place).clone());
        RecordBatch::try_new(self.read.key_schema(), columns.collect()).map_err(strange)
    }

    /// The position in the middle of the window.
    fn cut(&self) -> Option<Watermark> {
        let mut mark = self.plan.base.clone();
        mark.pending = Some(Pending {
            bound: self.plan.next.bound.clone(),
            whole: self.plan.whole.clone(),
            after: self.after.clone()?,
        });
        Some(mark)
    }

    /// The position at the end of the window.
    fn end(&mut self) -> Watermark {
        let mut mark = self.plan.next.clone();
        if self.plan.collects_xmins {
            mark.bound.seen = if self.seen.len() > SEEN_XMINS_MAX {
                Vec::new()
            } else {
                std::mem::take(&mut self.seen).into_iter().collect()
            };
        }
        mark
    }
}

fn strange(cause: arrow_schema::ArrowError) -> syncset_connector::ConnectorError {
    error::unexpected("rows of a window do not have the form they were asked for").caused_by(cause)
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
/// A list of values is joined, and the server takes a key out of it once by the list's own collation
/// and finds rows by the column's: where that one calls different texts equal, a row would come once
/// for each of them. So texts are compared one by one.
pub(crate) fn rows_by_key_sql(
    read: &TableRead,
    shape: &Shape,
    keys: &RecordBatch,
) -> Result<String> {
    let mut list = Vec::with_capacity(keys.num_rows());
    for row in 0..keys.num_rows() {
        let mut values = Vec::with_capacity(shape.key.len());
        for (column, array) in shape.key.iter().zip(keys.columns()) {
            values.push(match text_of(array, row)? {
                Some(text) => column.literal(&text)?,
                None => format!("NULL::{}", column.native),
            });
        }
        list.push(format!("({})", values.join(", ")));
    }
    let names: Vec<_> = shape.key.iter().map(|column| column.sql.clone()).collect();
    let (names, list) = (names.join(", "), list.join(", "));
    let mut types = keys.columns().iter().map(|column| column.data_type());
    let condition = match types.any(|kind| *kind == DataType::Utf8) {
        _ if keys.num_rows() == 0 => "false".to_owned(),
        true => format!("({names}) IN ({list})"),
        false => format!("({names}) IN (VALUES {list})"),
    };
    Ok(rows_sql(&read.read_columns(), shape, &[condition]))
}
