//! What a repair would write, for people: `repair --dry-run`. Reads both sides, writes nothing.
//!
//! Rows are matched as a repair matches them: by the hashes of their keys, and then by what the
//! target itself takes for the same key, such as `3.5` and `3.500`.

use super::again::{Again, Reader};
use super::report::CheckedTable;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::fit::{self, Losses};
use crate::open::Ends;
use crate::planned::{self, PlannedTable};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat_batches;
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::ops::Range;
use syncset_connector::{ShownValue, ShownWrite, SnapshotRequest};
use syncset_pipeline::PipelineSpec;

/// Keys that one statement looks for.
const KEYS_MAX: usize = 1_000;

/// What would be written to one table.
#[derive(Debug, Serialize)]
pub(crate) struct TableWrites {
    /// The table as the pipeline names it.
    pub(crate) table: String,
    /// The target table.
    pub(crate) target: String,
    /// What takes rows away, as statements of the target's dialect.
    #[serde(skip)]
    takes_away: Vec<String>,
    /// What changes and adds rows.
    #[serde(skip)]
    puts: Vec<String>,
    /// All of them as keys and columns.
    pub(crate) writes: Vec<Value>,
}

/// What a repair would write.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// By tables, parents first.
    pub(crate) tables: Vec<TableWrites>,
    settings: &'static [&'static str],
}

impl Writes {
    /// The statements in an order in which they can be run.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &str> {
        let taken = self.tables.iter().rev().flat_map(|it| &it.takes_away);
        let put = self.tables.iter().flat_map(|it| &it.puts);
        let settings = self.settings.iter().filter(|_| !self.tables.is_empty());
        let settings = settings.copied();
        settings.chain(taken.chain(put).map(String::as_str))
    }
}

/// What a repair of these tables would write.
pub(crate) async fn writes(
    spec: &PipelineSpec,
    project: &str,
    tables: &[CheckedTable],
) -> Result<Writes, Failures> {
    let drifted: Vec<_> = tables.iter().filter(|table| table.drifted() > 0).collect();
    let names: Vec<String> = drifted.iter().map(|table| table.table.clone()).collect();
    if names.is_empty() {
        return Ok(Writes::default());
    }
    let ends = Ends::open(spec, project, 1).await?;
    let reader = Reader::open(&spec.target, &ends.key, 1).await?;
    let planned = planned::plan(&ends, spec, &names, None).await?;
    let mut all = Writes {
        tables: Vec::new(),
        settings: ends.target().spell_settings(),
    };
    for table in drifted {
        let planned = planned.tables.iter().find(|it| it.stream() == table.table);
        let Some(planned) = planned else {
            continue;
        };
        let again = reader.rows_of(planned).await?;
        all.tables
            .push(of_table(&ends, planned, &again, table).await?);
    }
    reader.close().await;
    ends.close().await;
    Ok(all)
}

async fn of_table(
    ends: &Ends,
    planned: &PlannedTable,
    again: &Again<'_>,
    table: &CheckedTable,
) -> Result<TableWrites, Failure> {
    let (mut here, mut there) = (Rows::default(), Rows::default());
    for keys in table.drifted_keys.iter().flat_map(slices) {
        here.asked.extend(again.hash_keys(&keys)?);
        here.take_in(again, &at_source(ends, planned, &keys).await?, Mark::Absent)?;
        there.take_in(again, &again.rows_at_target(&keys).await?, Mark::Absent)?;
        there.take_in(again, &again.marked_at_target(&keys).await?, Mark::Set)?;
    }
    // A source finds rows by what it calls equal, too.
    here.rows.retain(|row| here.asked.contains(&row.key));
    there.asked.clone_from(&here.asked);
    let Planned { gone, puts } = between(planned, again, here.rows, there).await?;
    let name = &planned.target.name;
    let spelled = |writes: &[ShownWrite]| -> Vec<String> {
        let target = ends.target();
        writes.iter().map(|it| target.spell(name, it)).collect()
    };
    Ok(TableWrites {
        table: table.table.clone(),
        target: table.target.clone(),
        takes_away: spelled(&gone),
        puts: spelled(&puts),
        writes: gone.iter().chain(&puts).map(as_json).collect(),
    })
}

fn slices(keys: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let begins = (0..keys.num_rows()).step_by(KEYS_MAX);
    begins.map(|begin| keys.slice(begin, KEYS_MAX.min(keys.num_rows() - begin)))
}

/// The rows of the source as they would be written.
async fn at_source(
    ends: &Ends,
    planned: &PlannedTable,
    keys: &RecordBatch,
) -> Result<Vec<RecordBatch>, Failure> {
    let request = SnapshotRequest {
        read: planned.plan.read.clone(),
        from: None,
    };
    let mut snapshot = ends.source().open_snapshot(&[request], None).await?;
    let rows: Vec<RecordBatch> = snapshot.read_rows(0, keys).await?.try_collect().await?;
    snapshot.close().await;
    let fitting = rows.iter().map(|batch| {
        let applied = planned.transform.apply(batch)?;
        planned.fit.apply(applied.kept, &mut Losses::new())
    });
    fitting.collect()
}

/// Whether the target marks a row as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Absent,
    Set,
}

/// A row of one side, in target columns.
struct Row {
    /// The hash of its key.
    key: u64,
    /// Those of its values.
    hashes: Vec<u64>,
    shown: Vec<ShownValue>,
    mark: Mark,
    /// The row itself.
    batch: RecordBatch,
}

/// Rows of one side, each once, in the order in which they were found.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    found: HashSet<u64>,
    /// The hashes of the keys that drifted.
    asked: HashSet<u64>,
}

impl Rows {
    fn take_in(
        &mut self,
        again: &Again<'_>,
        batches: &[RecordBatch],
        mark: Mark,
    ) -> Result<(), Failure> {
        for batch in batches {
            let columns = shown_columns(batch)?;
            for (row, (key, hashes)) in again.values(batch)?.into_iter().enumerate() {
                if self.found.insert(key) {
                    self.rows.push(Row {
                        key,
                        hashes,
                        shown: columns.iter().map(|it| it[row].clone()).collect(),
                        mark,
                        batch: batch.slice(row, 1),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The writes of a table: what takes rows away, and then what changes and adds rows.
struct Planned {
    gone: Vec<ShownWrite>,
    puts: Vec<ShownWrite>,
}

/// What makes the rows of the target those of the source.
async fn between(
    planned: &PlannedTable,
    again: &Again<'_>,
    here: Vec<Row>,
    there: Rows,
) -> Result<Planned, Failure> {
    let mut old: HashMap<u64, &Row> = there.rows.iter().map(|row| (row.key, row)).collect();
    let (mut pairs, mut new) = (Vec::new(), Vec::new());
    for row in &here {
        match old.remove(&row.key) {
            Some(before) => pairs.push((row, before)),
            None => new.push(row),
        }
    }
    let is_extra =
        |row: &Row| planned.deletes() && row.mark == Mark::Absent && there.asked.contains(&row.key);
    let extra = |old: &HashMap<u64, &Row>| {
        let rows = there.rows.iter();
        let rows = rows.filter(|row| old.contains_key(&row.key) && is_extra(row));
        rows.map(|row| taken_away(planned, row)).collect()
    };
    let is_marked = planned.target.marks.deleted_at.is_some();
    let mut gone = Vec::new();
    if !is_marked {
        // They are deleted first, so a row with a key that is the same to the target is a new one.
        gone = extra(&old);
        old.retain(|_, row| !is_extra(row));
    }
    let (twins, new) = twins(planned, again, &new, &mut old).await?;
    if is_marked {
        gone = extra(&old);
    }
    pairs.extend(twins);
    let updates = pairs.iter().filter_map(|pair| update(planned, *pair));
    let inserts = new.iter().map(|row| insert(planned, row));
    Ok(Planned {
        gone,
        puts: updates.chain(inserts).collect(),
    })
}

/// A row of the source, and the one of the target that has the same key.
type Pair<'a> = (&'a Row, &'a Row);

/// New rows of which the target has one whose key it takes for the same, and those of which it has
/// none. Takes the former away from `old`. Each look halves the rows that are in question.
async fn twins<'a>(
    planned: &PlannedTable,
    again: &Again<'_>,
    new: &[&'a Row],
    old: &mut HashMap<u64, &'a Row>,
) -> Result<(Vec<Pair<'a>>, Vec<&'a Row>), Failure> {
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    let whole = (0..new.len()).step_by(KEYS_MAX);
    let mut open: Vec<Range<usize>> = whole
        .map(|begin| begin..new.len().min(begin + KEYS_MAX))
        .collect();
    open.reverse();
    while let Some(range) = open.pop() {
        let hits = match old.is_empty() {
            true => Vec::new(),
            false => same_to_target(planned, again, &new[range.clone()], old).await?,
        };
        match hits.first().and_then(|key| old.get(key).copied()) {
            None => alone.extend(&new[range]),
            Some(before) if range.len() == 1 => {
                old.remove(&before.key);
                pairs.push((new[range.start], before));
            }
            Some(_) => {
                let middle = range.start + range.len() / 2;
                open.extend([middle..range.end, range.start..middle]);
            }
        }
    }
    Ok((pairs, alone))
}

/// Those of the rows in `old` that the target finds under the keys of these rows.
async fn same_to_target(
    planned: &PlannedTable,
    again: &Again<'_>,
    rows: &[&Row],
    old: &HashMap<u64, &Row>,
) -> Result<Vec<u64>, Failure> {
    let unmade = |error: arrow_schema::ArrowError| {
        let name = &planned.target.name;
        let message = format!("keys of `{name}` cannot be looked up: {error}");
        Failure::new(exit_code::FAILED, message)
    };
    let places = planned.target.key.iter().map(|name| place(planned, name));
    let places: Vec<usize> = places.collect();
    let keys = rows.iter().map(|row| row.batch.project(&places));
    let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(unmade)?;
    let Some(first) = keys.first() else {
        return Ok(Vec::new());
    };
    let keys = concat_batches(&first.schema(), &keys).map_err(unmade)?;
    let mut found = again.rows_at_target(&keys).await?;
    found.extend(again.marked_at_target(&keys).await?);
    let mut hits = Vec::new();
    for batch in &found {
        let hashes = again.hash(batch)?;
        hits.extend(hashes.into_iter().map(|(key, _)| key));
    }
    hits.retain(|key| old.contains_key(key));
    Ok(hits)
}

fn place(planned: &PlannedTable, name: &str) -> usize {
    let mut columns = planned.target.columns.iter();
    columns
        .position(|column| column.name == name)
        .expect("the key's columns are written")
}

type Named = Vec<(String, ShownValue)>;

fn key_of(planned: &PlannedTable, row: &Row) -> Named {
    let names = planned.target.key.iter();
    names
        .map(|name| (name.clone(), row.shown[place(planned, name)].clone()))
        .collect()
}

/// When a row was written, if the table says so.
fn synced(planned: &PlannedTable) -> impl Iterator<Item = (String, ShownValue)> + '_ {
    let synced_at = planned.target.marks.synced_at.iter();
    synced_at.map(|name| (name.clone(), ShownValue::Now))
}

fn insert(planned: &PlannedTable, row: &Row) -> ShownWrite {
    let names = planned.target.columns.iter().map(|it| it.name.clone());
    let values = names.zip(row.shown.iter().cloned());
    ShownWrite::Insert(values.chain(synced(planned)).collect())
}

/// `None`: nothing of the row differs.
fn update(planned: &PlannedTable, (row, before): Pair<'_>) -> Option<ShownWrite> {
    let names = planned.target.columns.iter().map(|it| it.name.clone());
    let differs = row.hashes.iter().zip(&before.hashes).map(|(a, b)| a != b);
    let set = names.zip(row.shown.iter().cloned()).zip(differs);
    let set = set.filter(|(_, differs)| *differs).map(|(value, _)| value);
    let mark = planned.target.marks.deleted_at.iter();
    let mark = mark.filter(|_| before.mark == Mark::Set);
    let mark = mark.map(|name| (name.clone(), ShownValue::Null));
    let set: Named = set.chain(mark).collect();
    (!set.is_empty()).then(|| ShownWrite::Update {
        key: key_of(planned, before),
        set: set.into_iter().chain(synced(planned)).collect(),
    })
}

fn taken_away(planned: &PlannedTable, row: &Row) -> ShownWrite {
    let key = key_of(planned, row);
    match &planned.target.marks.deleted_at {
        None => ShownWrite::Delete(key),
        Some(name) => {
            let mark = std::iter::once((name.clone(), ShownValue::Now));
            let set = mark.chain(synced(planned)).collect();
            ShownWrite::Update { key, set }
        }
    }
}

/// The values of each column, row by row.
fn shown_columns(batch: &RecordBatch) -> Result<Vec<Vec<ShownValue>>, Failure> {
    let unshown = |error| {
        let message = format!("a value cannot be shown: {error}");
        Failure::new(exit_code::FAILED, message)
    };
    let column = |column: &ArrayRef| {
        let texts = fit::text_forms(column).map_err(unshown)?;
        let texts = texts.as_string::<i32>();
        let rows = 0..column.len();
        Ok(rows
            .map(|row| shown(column, row, texts.value(row)))
            .collect())
    };
    batch.columns().iter().map(column).collect()
}

fn shown(column: &ArrayRef, row: usize, text: &str) -> ShownValue {
    if column.is_null(row) {
        return ShownValue::Null;
    }
    match column.data_type() {
        DataType::Boolean => ShownValue::Bool(column.as_boolean().value(row)),
        DataType::Binary => ShownValue::Bytes(hex(column.as_binary::<i32>().value(row))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let moment = chrono::DateTime::from_timestamp_micros(micros);
            match moment {
                Some(moment) => {
                    let text = moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
                    match zone {
                        Some(_) => ShownValue::Instant(text),
                        None => ShownValue::Text(text),
                    }
                }
                None => ShownValue::Text(text.to_owned()),
            }
        }
        data_type if data_type.is_numeric() => ShownValue::Number(text.to_owned()),
        _ => ShownValue::Text(text.to_owned()),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("writing into memory cannot fail");
    }
    digits
}

fn as_json(write: &ShownWrite) -> Value {
    let value = |value: &ShownValue| match value {
        ShownValue::Null => Value::Null,
        ShownValue::Bool(value) => Value::Bool(*value),
        ShownValue::Instant(text) => Value::String(format!("{text}+00:00")),
        ShownValue::Now => Value::String("now".to_owned()),
        // Numbers as texts: a reader of JSON may know no numbers but floats.
        ShownValue::Number(text) | ShownValue::Bytes(text) | ShownValue::Text(text) => {
            Value::String(text.clone())
        }
    };
    let object = |values: &[(String, ShownValue)]| {
        let values = values.iter();
        Value::Object(values.map(|(name, it)| (name.clone(), value(it))).collect())
    };
    match write {
        ShownWrite::Insert(values) => json!({ "kind": "insert", "set": object(values) }),
        ShownWrite::Update { key, set } => {
            json!({ "kind": "update", "key": object(key), "set": object(set) })
        }
        ShownWrite::Delete(key) => json!({ "kind": "delete", "key": object(key) }),
    }
}
