//! `pipeline repair`: rows that drifted are read again from the source and written, or deleted at
//! the target if they are gone. No watermark moves.

use crate::exit_code;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::report::Outcome;
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::rejects::{key_columns, key_texts};
use crate::run::retry;
use crate::run::rounds::Work;
use crate::run::table::TableRun;
use crate::run::unit::{Turn, Unit};
use crate::run::waiting::Refused;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::TryStreamExt;
use std::collections::{BTreeMap, HashSet};

/// Keys of one unit: so many rows are asked for at once.
const KEYS_MAX: usize = 1_000;

/// Keys of rows to repair, by streams, in the source's types.
pub(crate) type DriftedKeys = BTreeMap<String, RecordBatch>;

/// Repairs these rows and does nothing else.
pub(super) async fn only(
    context: &RunContext,
    tables: &mut [TableRun],
    work: &Work,
    keys: &DriftedKeys,
) {
    for &index in work.load.iter().chain(&work.resume) {
        let stream = tables[index].stream().to_owned();
        let message = format!("table `{stream}` is not loaded yet, so nothing of it is repaired");
        let failure = Failure::new(exit_code::RETRY, message);
        tables[index].fail(failure.with_hint("run the pipeline"));
    }
    for &index in work.whole.iter().chain(&work.follow) {
        let table = &mut tables[index];
        table.refused = Refused::Count;
        let Some(keys) = keys.get(table.stream()) else {
            continue;
        };
        let started = table.start_clock();
        let repaired = in_units(context, table, keys).await;
        table.count_time(started);
        match repaired {
            Ok(()) => table.done(Outcome::Followed),
            Err(failure) => table.fail(failure),
        }
    }
}

async fn in_units(
    context: &RunContext,
    table: &mut TableRun,
    keys: &RecordBatch,
) -> Result<(), Failure> {
    let mut begin = 0;
    while begin < keys.num_rows() {
        let count = KEYS_MAX.min(keys.num_rows() - begin);
        let some = keys.slice(begin, count);
        begin += count;
        let turn = match begin < keys.num_rows() {
            true => Turn::More,
            false => Turn::Last,
        };
        while let Err(failure) = one_unit(context, table, &some, turn).await {
            if let Some(reason) = context.stop.reason() {
                return Err(reason);
            }
            match after_failure(table, failure) {
                Next::Again => tokio::time::sleep(retry::pause(table.attempts)).await,
                Next::Later => table.refused = Refused::Count,
                Next::Fail(failure) => return Err(failure),
            }
        }
        if let Some(stopped) = table.stopped.clone() {
            return Err(stopped);
        }
    }
    Ok(())
}

async fn one_unit(
    context: &RunContext,
    table: &mut TableRun,
    keys: &RecordBatch,
    turn: Turn,
) -> Result<(), Failure> {
    let mut snapshot = context.rows_of(table, None).await?;
    let rows: Vec<_> = snapshot.read_rows(0, keys).await?.try_collect().await?;
    snapshot.close().await;
    let gone = without(table, keys, &rows)?;
    let start = context.watermark_unit(table);
    let mut unit = Unit::begin(&context.ends, start, table, UnitKind::RowsOnly).await?;
    unit.take_turn(turn);
    let written: Result<(), Failure> = async {
        for batch in &rows {
            unit.upsert(table, batch, true).await?;
        }
        unit.delete(table, gone).await
    }
    .await;
    if let Err(failure) = written {
        unit.abort(&failure).await;
        return Err(failure);
    }
    for batch in &rows {
        table.count_read(batch);
    }
    unit.commit_rows(table).await
}

/// The keys that no row has.
fn without(
    table: &TableRun,
    keys: &RecordBatch,
    rows: &[RecordBatch],
) -> Result<RecordBatch, Failure> {
    let mut found = HashSet::new();
    for batch in rows {
        found.extend(key_texts(&key_columns(&table.read, batch)?)?);
    }
    let texts = key_texts(keys)?;
    let is_gone: BooleanArray = texts
        .iter()
        .map(|text| Some(!found.contains(text)))
        .collect();
    Ok(filter_record_batch(keys, &is_gone).expect("the mask is as long as the batch"))
}
