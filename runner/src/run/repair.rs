//! `pipeline repair`: rows that drifted are read again from the source and written, or deleted at
//! the target if they are gone. No watermark moves.
//!
//! Each row is locked at the target and compared with what the check saw there, before it is
//! written: what somebody changed since is left alone. What it was stays beside it, in the same
//! transaction, for `pipeline revert`.

use crate::check::{Again, Reader, Seen};
use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::report::{ExactRows, Outcome};
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::rejects::key_texts;
use crate::run::retry;
use crate::run::rounds::Work;
use crate::run::table::TableRun;
use crate::run::unit::{Turn, Unit};
use crate::run::waiting::{Change, Refused};
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::TryStreamExt;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use syncset_connector::{ErrorClass, KeptRow, RowImage};

/// Keys of one unit: so many rows are asked for, locked and kept at once.
const KEYS_MAX: usize = 1_000;

/// Rows of one stream that drifted.
pub(crate) struct Drifted {
    /// Their keys, in the source's types.
    pub(crate) keys: RecordBatch,
    /// What the check saw at the target.
    pub(crate) seen: Seen,
}

/// What a repair is about.
pub(crate) struct Repairs {
    /// Rows that drifted, by streams.
    pub(crate) rows: BTreeMap<String, Drifted>,
    /// The target, opened to be read.
    pub(crate) reader: Reader,
}

/// Repairs these rows and does nothing else. `run_id`: the run that keeps them as they were.
pub(super) async fn only(
    context: &RunContext,
    tables: &mut [TableRun],
    work: &Work,
    (repairs, run_id): (&Repairs, &str),
) {
    fail_point("repair.begins");
    for &index in work.load.iter().chain(&work.resume) {
        let stream = tables[index].stream().to_owned();
        let message = format!("table `{stream}` is not loaded yet, so nothing of it is repaired");
        let failure = Failure::new(exit_code::RETRY, message);
        tables[index].fail(failure.with_hint("run the pipeline"));
    }
    for &index in work.whole.iter().chain(&work.follow) {
        let table = &mut tables[index];
        table.refused = Refused::Count;
        let Some(drifted) = repairs.rows.get(table.stream()) else {
            continue;
        };
        let started = table.start_clock();
        let repaired = match repairs.reader.rows_of(&table.planned.clone()).await {
            Ok(again) => {
                Repair {
                    context,
                    again,
                    drifted,
                    run_id,
                }
                .in_units(table)
                .await
            }
            Err(failure) => Err(failure),
        };
        table.count_time(started);
        match repaired {
            Ok(()) => table.done(Outcome::Followed),
            Err(failure) => table.fail(failure),
        }
    }
}

/// The repair of one table.
struct Repair<'a> {
    context: &'a RunContext,
    again: Again<'a>,
    drifted: &'a Drifted,
    run_id: &'a str,
}

/// The rows of one unit, by the hashes of their keys.
struct UnitRows {
    keys: RecordBatch,
    /// The hash of each key.
    hashes: Vec<u64>,
    /// What the target holds under each key, once it is locked.
    before: Vec<Option<RowImage>>,
    /// Keys under which somebody changed something.
    changed: HashSet<u64>,
}

impl UnitRows {
    /// The keys for which something holds, by their number and hash.
    fn keys_where(&self, holds: impl Fn(usize, u64) -> bool) -> RecordBatch {
        let hashes = self.hashes.iter().enumerate();
        let mask: BooleanArray = hashes.map(|(row, hash)| Some(holds(row, *hash))).collect();
        filter_record_batch(&self.keys, &mask).expect("the mask is as long as the batch")
    }
}

impl Repair<'_> {
    async fn in_units(&self, table: &mut TableRun) -> Result<(), Failure> {
        table.report.exact = Some(ExactRows::default());
        let keys = &self.drifted.keys;
        let slices: Vec<_> = (0..keys.num_rows())
            .step_by(KEYS_MAX)
            .map(|begin| keys.slice(begin, KEYS_MAX.min(keys.num_rows() - begin)))
            .collect();
        self.until_it_works(table, Step::Agree(&slices)).await?;
        for some in &slices {
            self.until_it_works(table, Step::Write(some)).await?;
        }
        Ok(())
    }

    async fn until_it_works(&self, table: &mut TableRun, step: Step<'_>) -> Result<(), Failure> {
        while let Err(failure) = self.step(table, step).await {
            if let Some(reason) = self.context.stop.reason() {
                return Err(reason);
            }
            match after_failure(table, failure) {
                Next::Again => tokio::time::sleep(retry::pause(table.attempts)).await,
                Next::Later => table.refused = Refused::Count,
                Next::Fail(failure) => return Err(failure),
            }
        }
        self.context.stop.reason().map_or(Ok(()), Err)
    }

    async fn step(&self, table: &mut TableRun, step: Step<'_>) -> Result<(), Failure> {
        match step {
            Step::Agree(slices) => self.agree(table, slices).await,
            Step::Write(keys) => self.one_unit(table, keys).await,
        }
    }

    /// Asks the guard about all rows that are gone from the source, before the first one goes.
    async fn agree(&self, table: &TableRun, slices: &[RecordBatch]) -> Result<(), Failure> {
        if !table.planned.deletes() {
            return Ok(());
        }
        let mut gone = 0;
        for keys in slices {
            let there = self.hashes_now(table, keys).await?.len();
            gone += keys.num_rows().saturating_sub(there) as u64;
        }
        if gone == 0 {
            return Ok(());
        }
        let mut unit = self.begin(table).await?;
        let agreed = unit.agree_to(table, gone).await;
        let failure = match &agreed {
            Ok(()) => Failure::new(exit_code::DONE, "nothing was written yet"),
            Err(failure) => failure.clone(),
        };
        unit.abort(&failure).await;
        agreed
    }

    async fn begin(&self, table: &TableRun) -> Result<Unit<'_>, Failure> {
        let start = self.context.watermark_unit(table);
        let mut unit = Unit::begin(&self.context.ends, start, table, UnitKind::RowsOnly).await?;
        // Deletes that wait for the guard are left to runs.
        unit.take_turn(Turn::More);
        Ok(unit)
    }

    async fn rows_of(
        &self,
        table: &TableRun,
        keys: &RecordBatch,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let mut snapshot = self.context.rows_of(table, None).await?;
        let rows = snapshot.read_rows(0, keys).await?.try_collect().await?;
        snapshot.close().await;
        Ok(rows)
    }

    async fn one_unit(&self, table: &mut TableRun, keys: &RecordBatch) -> Result<(), Failure> {
        let rows = self.rows_of(table, keys).await?;
        let mut unit = self.begin(table).await?;
        let written = match self.write(&mut unit, table, keys, &rows).await {
            Ok(written) => written,
            Err(failure) => {
                unit.abort(&failure).await;
                return Err(failure);
            }
        };
        for batch in &rows {
            table.count_read(batch);
        }
        unit.commit_rows(table).await?;
        let (mut exact, sent) = written;
        exact.changed_at_source = self.changed_since(table, keys, &sent).await;
        if let Some(report) = &mut table.report.exact {
            report.add(exact);
        }
        Ok(())
    }

    /// Locks the rows, writes those that are as the check saw them, and keeps them as they were.
    /// Returns what was done, and the hashes of the rows that were sent.
    async fn write(
        &self,
        unit: &mut Unit<'_>,
        table: &TableRun,
        keys: &RecordBatch,
        rows: &[RecordBatch],
    ) -> Result<(ExactRows, HashMap<u64, u64>), Failure> {
        let planned = &table.planned;
        let held = self.locked(unit, table, keys).await?;
        fail_point("repair.locked");
        let number: HashMap<u64, usize> = held.hashes.iter().copied().zip(0..).collect();
        let (mut inserts, mut updates, mut sent) = (Vec::new(), Vec::new(), HashMap::new());
        for batch in rows {
            let fitting = unit.fitted(table, batch)?;
            let hashes = self.again.hash(&fitting)?;
            sent.extend(hashes.iter().copied());
            let picked = |is_there: bool| -> BooleanArray {
                let wanted = hashes.iter().map(|(key, _)| {
                    let row = number.get(key).filter(|_| !held.changed.contains(key));
                    row.map(|row| held.before[*row].is_some() == is_there)
                });
                wanted.map(|wanted| Some(wanted == Some(true))).collect()
            };
            let of = |is_there| {
                filter_record_batch(&fitting, &picked(is_there))
                    .expect("the mask is as long as the batch")
            };
            inserts.push(of(false));
            updates.push(of(true));
        }
        if planned.deletes() {
            let gone = held.keys_where(|row, key| {
                !sent.contains_key(&key)
                    && !held.changed.contains(&key)
                    && held.before[row].is_some()
            });
            unit.write(planned, Change::Delete, gone).await?;
        }
        self.insert(unit, table, inserts).await?;
        for batch in updates {
            unit.write(planned, Change::Upsert, batch).await?;
        }
        unit.settle(planned).await?;
        let exact = self.keep(unit, table, &held).await?;
        Ok((exact, sent))
    }

    /// Locks rows and finds those that are not what the check saw. While they are locked nobody can
    /// change them, so another session sees what will be overwritten.
    async fn locked(
        &self,
        unit: &mut Unit<'_>,
        table: &TableRun,
        keys: &RecordBatch,
    ) -> Result<UnitRows, Failure> {
        let before = unit.lock(&table.planned, keys).await?;
        let hashes = self.again.hash_keys(keys)?;
        let now = self.again.at_target(keys).await?;
        let seen = &self.drifted.seen;
        let changed = hashes.iter().filter(|key| seen.get(key) != now.get(key));
        Ok(UnitRows {
            keys: keys.clone(),
            changed: changed.copied().collect(),
            hashes,
            before,
        })
    }

    /// Inserts rows that the target does not have. Nothing locks a row that is not there: one that
    /// somebody inserted meanwhile is never overwritten, and the unit begins again.
    async fn insert(
        &self,
        unit: &mut Unit<'_>,
        table: &TableRun,
        inserts: Vec<RecordBatch>,
    ) -> Result<(), Failure> {
        let planned = &table.planned;
        let count: usize = inserts.iter().map(RecordBatch::num_rows).sum();
        if count == 0 {
            return Ok(());
        }
        let waited = unit.waiting_rows();
        for batch in inserts {
            unit.write(planned, Change::Insert, batch).await?;
        }
        // Rows that wait for others of the unit are tried again when those are there.
        let waits = unit.waiting_rows() > waited;
        let done = unit.settle(planned).await?;
        if done.rows_written < count as u64 && !waits && !table.careful {
            let message = format!(
                "rows were inserted into `{}` while it was repaired",
                planned.target.name
            );
            let mut failure = Failure::new(exit_code::RETRY, message);
            failure.class = Some(ErrorClass::Transient);
            failure.retry = true;
            return Err(failure);
        }
        Ok(())
    }

    /// Keeps the rows that were changed as they were, and tells of those that were left alone.
    async fn keep(
        &self,
        unit: &mut Unit<'_>,
        table: &TableRun,
        held: &UnitRows,
    ) -> Result<ExactRows, Failure> {
        let after = unit.lock(&table.planned, &held.keys).await?;
        let texts = key_texts(&held.keys)?;
        let mut exact = ExactRows::default();
        let mut kept = Vec::new();
        let rows = held
            .before
            .iter()
            .zip(after)
            .zip(texts.iter().zip(&held.hashes));
        for ((before, after), (text, hash)) in rows {
            let key: Value = serde_json::from_str(text).unwrap_or_default();
            if held.changed.contains(hash) {
                exact.leave(&key);
            } else if *before != after {
                kept.push(KeptRow {
                    place: 0,
                    stream: table.stream().to_owned(),
                    target: table.planned.target.name.clone(),
                    key,
                    before: before.clone(),
                    after,
                    reverted_by: None,
                });
            }
        }
        exact.rows_kept = kept.len() as u64;
        unit.keep(self.run_id, &kept).await?;
        Ok(exact)
    }

    /// How many rows changed at the source since they were read. The rows are committed, so a
    /// failure here costs nothing but the number.
    async fn changed_since(
        &self,
        table: &TableRun,
        keys: &RecordBatch,
        sent: &HashMap<u64, u64>,
    ) -> u64 {
        match self.hashes_now(table, keys).await {
            Ok(now) => {
                let both = now.keys().chain(sent.keys()).collect::<HashSet<_>>();
                both.into_iter()
                    .filter(|key| now.get(key) != sent.get(key))
                    .count() as u64
            }
            Err(failure) => {
                tracing::warn!(error = %failure.message, "could not read repaired rows again");
                0
            }
        }
    }

    async fn hashes_now(
        &self,
        table: &TableRun,
        keys: &RecordBatch,
    ) -> Result<HashMap<u64, u64>, Failure> {
        let mut now = HashMap::new();
        for batch in self.rows_of(table, keys).await? {
            let applied = table.planned.transform.apply(&batch)?;
            let mut losses = crate::fit::Losses::new();
            let fitting = table.planned.fit.apply(applied.kept, &mut losses)?;
            now.extend(self.again.hash(&fitting)?);
        }
        Ok(now)
    }
}

/// What is tried until it works.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// Asks the guard about the rows with these keys.
    Agree(&'a [RecordBatch]),
    /// Repairs the rows with these keys.
    Write(&'a RecordBatch),
}
