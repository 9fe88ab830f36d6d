//! `pipeline check`: what differs between source and target. Writes nothing and takes no lease.
//!
//! Both sides are asked at the same time for counts and sums of hashes, by parts of their keys:
//! hashes that the servers compute where those compare, else our own hashes of every row. Parts that
//! differ are listed row by row, from the same snapshots. What differs then is looked at once more,
//! in later snapshots: only a row that differs again, whose source has not changed between the two
//! looks, and that was at the target by the stored watermark, is drift.

mod again;
mod buckets;
mod form;
mod hashed;
mod junit;
mod look;
mod page;
mod report;
mod rows;
mod sample;
mod side;
mod tables;
mod writes;

pub(crate) use again::{Again, Reader, Seen};
pub(crate) use hashed::ModeChoice;
pub(crate) use junit::junit;
pub(crate) use page::{is_page, page, past_of};
pub(crate) use report::{CheckReport, CheckedTable, Kind, Mode, Sample, Verdict, exit_code_of};
pub(crate) use sample::Share;
pub(crate) use tables::check_tables;
pub(crate) use writes::{TableWrites, writes};

use crate::cli::quantity::counted;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::{Ends, open_store};
use crate::planned::{self, PlannedTable};
use crate::run::rejected_keys;
use crate::stop::seconds_since_epoch;
use hashed::{Hashing, Requests, Told};
use look::{Found, Rows, candidates, difference, held, in_buckets, is_drift, listed, looked_up};
use report::Certainty;
use rows::RowForms;
use side::{InFlight, Scope, Side};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use syncset_connector::{
    PARTIAL_RUNS, PipelineState, Role, Source, Store, StreamPhase, StreamState, TableDescription,
    WriteMode,
};
use syncset_pipeline::PipelineSpec;

/// Rows of one side that are listed to be looked at again, about.
const ROWS_LISTED_MAX: u64 = 200_000;

/// Runs that are asked for, to know whether one began and ended meanwhile.
const RUNS_ASKED: u32 = 20;

/// What a check needs to know besides its pipeline.
pub(crate) struct CheckSettings<'a> {
    /// `project:` of the config file.
    pub(crate) project: &'a str,
    /// Streams to compare; all if empty.
    pub(crate) tables: &'a [String],
    /// Rows to show for each table, at most.
    pub(crate) samples: usize,
    /// How, as far as the user asked for something.
    pub(crate) how: How,
}

/// What a user asks for about the way tables are compared.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    /// By the servers' hashes, or by reading every row.
    pub(crate) mode: ModeChoice,
    /// Compare a part of the keys only.
    pub(crate) sample: Option<Share>,
    /// Begin no table after this moment, and leave the one that is being compared.
    pub(crate) until: Option<Instant>,
}

/// The stores of a check.
struct Stores<'a> {
    ends: &'a Ends,
    /// The target's, opened to be read.
    target: &'a dyn Store,
    /// Its reading side.
    reader: &'a dyn Source,
}

/// Compares a pipeline's tables, one after another.
pub(crate) async fn check(
    spec: &PipelineSpec,
    settings: &CheckSettings<'_>,
) -> Result<CheckReport, Failures> {
    let clock = Instant::now();
    let ends = Ends::open(spec, settings.project, 1).await?;
    let reader = open_store(&spec.target, Role::Source, &ends.key, 1).await?;
    let planned = planned::plan(&ends, spec, settings.tables, None).await?;
    let Some(source) = reader.source() else {
        let message = format!(
            "`{}` cannot be read, so nothing compares it",
            spec.target.kind
        );
        return Err(Failure::new(exit_code::CONFIG, message).into());
    };
    let stores = Stores {
        ends: &ends,
        target: reader.as_ref(),
        reader: source,
    };
    let names: Vec<_> = planned
        .tables
        .iter()
        .map(|it| it.target.name.clone())
        .collect();
    let there = stores.target.describe(&names).await?;
    let mut tables = Vec::with_capacity(planned.tables.len());
    for (table, there) in planned.tables.into_iter().zip(there) {
        let clock = Instant::now();
        let table = Arc::new(table);
        let mut checked = CheckedTable::new(table.stream(), &table.target.name.to_string());
        let comparing = compare(&stores, &table, there, settings, &mut checked);
        match in_time(comparing, settings.how.until).await {
            Some(Ok(())) => {}
            Some(Err(failure)) => checked.fail(failure),
            None => checked = CheckedTable::unfinished(table.stream(), &checked.target),
        }
        checked.duration_ms = millis(clock);
        tables.push(checked);
    }
    for gone in &planned.gone {
        let mut checked = CheckedTable::new(&gone.stream, &gone.target);
        checked.fail(gone.failure());
        tables.push(checked);
    }
    reader.close().await;
    ends.close().await;
    Ok(CheckReport {
        pipeline: spec.name.clone(),
        exit_code: exit_code_of(tables.iter().map(|table| table.exit_code)),
        duration_ms: millis(clock),
        tables,
    })
}

/// What comes of something that ends in time; `None`: it did not.
async fn in_time<T>(work: impl Future<Output = T>, until: Option<Instant>) -> Option<T> {
    match until {
        Some(until) if until <= Instant::now() => None,
        Some(until) => tokio::time::timeout_at(until.into(), work).await.ok(),
        None => Some(work.await),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Compares one table.
async fn compare(
    stores: &Stores<'_>,
    planned: &Arc<PlannedTable>,
    there: Option<TableDescription>,
    settings: &CheckSettings<'_>,
    checked: &mut CheckedTable,
) -> Result<(), Failure> {
    if planned.write() == WriteMode::Append {
        checked.skip("`write: { mode: append }` keeps every version of a row; it is not compared");
        return Ok(());
    }
    if let Some(failure) = planned.failures.first() {
        return Err(failure.clone());
    }
    let state = stores.state().await?;
    stream_of(&state, planned)?;
    let there = Arc::new(there.ok_or_else(|| no_table(planned, &stores.ends.key.pipeline))?);
    let forms = RowForms::of(&planned.target, &there);
    let forms = Arc::new(forms.map_err(|lacking| no_columns(planned, &lacking))?);
    let table = Table {
        stores,
        planned,
        forms: &forms,
        there: &there,
        requests: Requests::of(planned, (&forms, &there), settings.how.mode),
        choice: settings.how.mode,
        sample: settings.how.sample,
    };
    checked.notes.extend(table.sample.map(Share::sentence));
    if let Some(first) = table.first_look(&state, checked).await? {
        table.second_look(first, settings.samples, checked).await?;
    }
    checked.settle();
    Ok(())
}

/// What the first look at a table found.
struct FirstLook {
    /// The second that both snapshots were open in.
    at: i64,
    /// What the source has where the two sides differ.
    source: Rows,
    /// The keys under which they differ.
    candidates: BTreeSet<(Kind, u64)>,
    /// Where to find them again.
    scope: Scope,
    in_flight: InFlight,
}

impl FirstLook {
    /// Whether a difference that is still there is one for certain.
    fn is_drift(&self, now: &Found, in_flight: &InFlight, key: u64) -> bool {
        let was_in_flight = match &self.in_flight {
            InFlight::Keys(keys) => keys.contains(&key),
            // The second look decides alone.
            InFlight::Unknown(_) => false,
        };
        let source = (self.source.get(&key), now.rows.get(&key));
        !was_in_flight && is_drift(source, in_flight, key)
    }
}

/// One table that is compared.
struct Table<'a> {
    stores: &'a Stores<'a>,
    planned: &'a Arc<PlannedTable>,
    forms: &'a Arc<RowForms>,
    there: &'a Arc<TableDescription>,
    /// What the servers are asked to hash, or why they are not.
    requests: Result<Requests, String>,
    choice: ModeChoice,
    sample: Option<Share>,
}

/// What differs in the snapshots of a look.
struct Compared {
    source: Rows,
    target: Rows,
    in_flight: InFlight,
    scope: Scope,
}

impl Table<'_> {
    /// Opens both sides, the target first: see [`is_drift`].
    async fn open(&self, stored: &StreamState) -> Result<(Side, Side), Failure> {
        let (planned, forms) = (self.planned, self.forms);
        let mut target = Side::target(self.stores.reader, planned, forms, self.there).await?;
        let source = self.stores.ends.source();
        let mut source = Side::source(source, planned, forms, &stored.position).await?;
        (target.sample, source.sample) = (self.sample, self.sample);
        Ok((target, source))
    }

    /// Compares all rows; `None` if they are equal.
    async fn first_look(
        &self,
        state: &PipelineState,
        checked: &mut CheckedTable,
    ) -> Result<Option<FirstLook>, Failure> {
        let (target, source) = self.open(stream_of(state, self.planned)?).await?;
        let at = seconds_since_epoch();
        let Some(compared) = self.compared(target, source, checked).await? else {
            return Ok(None);
        };
        let (left, right) = (compared.source, compared.target);
        let mut candidates = candidates(&left, &right, self.planned.has_key());
        let rejected = self.rejected(state)?;
        candidates.retain(|(kind, key)| !rejected.contains(key) && self.counts(*kind));
        checked.rejected = rejected.len() as u64;
        Ok(Some(FirstLook {
            at,
            source: left,
            candidates,
            scope: compared.scope,
            in_flight: compared.in_flight,
        }))
    }

    /// What differs between two snapshots, which are closed; `None` if nothing does.
    async fn compared(
        &self,
        mut target: Side,
        mut source: Side,
        checked: &mut CheckedTable,
    ) -> Result<Option<Compared>, Failure> {
        let told = match &self.requests {
            Err(reason) => Told::Nothing(reason.clone()),
            Ok(requests) => {
                let mut hashing = Hashing {
                    source: &mut source,
                    target: &mut target,
                    forms: self.forms,
                    sample: self.sample,
                };
                hashing.compare(requests).await?
            }
        };
        let (rows, keys) = match told {
            Told::Differing { rows, keys } => (rows, Arc::new(keys)),
            Told::Nothing(reason) => {
                if self.choice == ModeChoice::Hash {
                    let note = format!("all rows were read, not hashed by the servers: {reason}");
                    checked.notes.push(note);
                }
                (checked.mode, checked.mode_reason) = (Some(Mode::Stream), Some(reason));
                return self.streamed(target, source, checked).await;
            }
        };
        checked.mode = Some(Mode::Hash);
        checked.draw_drift();
        (checked.rows_source, checked.rows_target) = rows;
        if keys.source.num_rows() == 0 {
            both(done(target.close()), done(source.close())).await?;
            return Ok(None);
        }
        let in_flight = source.in_flight().await?;
        let ((target, right), (source, left)) =
            both(held(target, keys.clone()), held(source, keys.clone())).await?;
        both(done(target.close()), done(source.close())).await?;
        Ok(Some(Compared {
            source: left,
            target: right,
            in_flight,
            scope: Scope::Keys(keys),
        }))
    }

    /// What differs between all rows of two snapshots, read by us.
    async fn streamed(
        &self,
        target: Side,
        source: Side,
        checked: &mut CheckedTable,
    ) -> Result<Option<Compared>, Failure> {
        let ((target, right), (mut source, left)) =
            both(in_buckets(target), in_buckets(source)).await?;
        (checked.rows_source, checked.rows_target) = (left.rows(), right.rows());
        checked.draw(&left, &right);
        let differing = left.differing(&right, ROWS_LISTED_MAX);
        if differing.is_empty() {
            both(done(target.close()), done(source.close())).await?;
            return Ok(None);
        }
        checked.complete = !differing.has_more;
        let in_flight = source.in_flight().await?;
        let differing = Arc::new(differing);
        let ((target, right), (source, left)) =
            both(listed(target, differing.clone()), listed(source, differing)).await?;
        both(done(target.close()), done(source.close())).await?;
        Ok(Some(Compared {
            source: left,
            target: right,
            in_flight,
            scope: Scope::All,
        }))
    }

    /// Looks again at what differed.
    async fn second_look(
        &self,
        first: FirstLook,
        samples: usize,
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        let wanted = first.candidates.iter().enumerate();
        let wanted = wanted.map(|(place, (_, key))| (*key, place < samples));
        let wanted: Arc<HashMap<u64, bool>> = Arc::new(wanted.collect());
        let state = self.stores.state().await?;
        let (target, mut source) = self.open(stream_of(&state, self.planned)?).await?;
        let in_flight = match source.in_flight().await? {
            // Nothing tells which rows changed, but a whole run since the first look brought them.
            InFlight::Unknown(None) if ran_since(&state, first.at) => {
                InFlight::Keys(HashSet::new())
            }
            other => other,
        };
        let ((target, there), (source, here)) = both(
            looked_up(
                target,
                first.scope.clone(),
                self.forms.clone(),
                wanted.clone(),
            ),
            looked_up(source, first.scope.clone(), self.forms.clone(), wanted),
        )
        .await?;
        both(done(target.close()), done(source.close())).await?;
        self.note(&state, &in_flight, checked);
        let (mut written, mut extra) = (HashSet::new(), HashSet::new());
        for &(kind, key) in &first.candidates {
            let (left, right) = (here.rows.get(&key), there.rows.get(&key));
            let Some((now, rows)) = difference(left, right, self.planned.has_key()) else {
                continue;
            };
            if !self.counts(now) {
                continue;
            }
            let is_drift = now == kind && first.is_drift(&here, &in_flight, key);
            let certainty = match is_drift {
                true => Certainty::Drift,
                false => Certainty::Undecided,
            };
            checked.mark(key, rows, certainty);
            match (is_drift, now) {
                (false, _) => checked.undecided += rows,
                (true, Kind::Extra) => drop(extra.insert(key)),
                (true, _) => drop(written.insert(key)),
            }
            if is_drift {
                checked.count(now, rows);
            }
            let sample = self.sample((&here, &there), (now, key), is_drift);
            checked.samples.extend(sample);
        }
        if self.planned.has_key() {
            let schema = self.planned.plan.read.key_schema();
            let keys = [
                here.keys_as(&schema, &written)?,
                there.keys_as(&schema, &extra)?,
            ];
            checked.seen = there.seen(written.union(&extra));
            checked.drifted_keys = keys
                .into_iter()
                .filter(|keys| keys.num_rows() > 0)
                .collect();
        }
        Ok(())
    }

    /// Whether a difference of this kind is one: rows that are gone may be meant to stay.
    fn counts(&self, kind: Kind) -> bool {
        kind != Kind::Extra || self.planned.deletes()
    }

    /// A row that differs, if people are told of it.
    fn sample(
        &self,
        (here, there): (&Found, &Found),
        (kind, key): (Kind, u64),
        is_drift: bool,
    ) -> Option<Sample> {
        let (here, there) = (here.shown.get(&key), there.shown.get(&key));
        let columns = match (here, there) {
            (Some(here), Some(there)) => self.forms.differing(&here.values, &there.values),
            _ => Vec::new(),
        };
        Some(Sample {
            kind,
            key: here.or(there)?.key.clone(),
            columns,
            undecided: !is_drift,
        })
    }

    /// Says what a person should know of the differences.
    fn note(&self, state: &PipelineState, in_flight: &InFlight, checked: &mut CheckedTable) {
        match in_flight {
            InFlight::Unknown(Some(reason)) => checked.notes.push(format!(
                "the next run reads the whole table again: {reason}"
            )),
            InFlight::Unknown(None) => checked.notes.push(
                "`capture: full` does not tell which rows changed since the last run: what differs \
                 is undecided unless a run succeeds during the check"
                    .to_owned(),
            ),
            InFlight::Keys(_) => {}
        }
        let pending = state.pending_of(&self.planned.target.name);
        if pending > 0 {
            let wait = counted(pending, "delete waits", "deletes wait");
            checked.notes.push(format!("{wait} for the guard"));
        }
    }

    /// Hashes of the keys of rows that wait as refused.
    fn rejected(&self, state: &PipelineState) -> Result<HashSet<u64>, Failure> {
        let waiting = state.rejected.iter();
        let waiting = waiting.filter(|row| row.stream == self.planned.stream());
        let waiting: Vec<_> = waiting.cloned().collect();
        if waiting.is_empty() {
            return Ok(HashSet::new());
        }
        let keys = rejected_keys(&self.planned.plan.read, &waiting)?;
        Ok(self.forms.hash_keys(&keys)?.into_iter().collect())
    }
}

impl Stores<'_> {
    async fn state(&self) -> Result<PipelineState, Failure> {
        Ok(self.ends.state().load(&self.ends.key, RUNS_ASKED).await?)
    }
}

/// Both of two things that are done at the same time.
async fn both<A, B>(
    target: impl Future<Output = Result<A, Failure>>,
    source: impl Future<Output = Result<B, Failure>>,
) -> Result<(A, B), Failure> {
    tokio::try_join!(target, source)
}

async fn done(closing: impl Future<Output = ()>) -> Result<(), Failure> {
    closing.await;
    Ok(())
}

/// Whether a run began after this second and succeeded since.
fn ran_since(state: &PipelineState, began: i64) -> bool {
    let mut runs = state.runs.iter();
    runs.any(|run| {
        run.started_at > began
            && run.finished_at.is_some()
            && run.exit_code == Some(exit_code::DONE)
            && !is_partial(&run.report)
    })
}

/// Whether the report is that of a run of some rows only.
fn is_partial(report: &serde_json::Value) -> bool {
    let text = report.to_string();
    PARTIAL_RUNS.iter().any(|sign| text.contains(sign))
}

/// What is stored of a table whose load is done under the selection that is compared.
fn stream_of<'a>(
    state: &'a PipelineState,
    planned: &PlannedTable,
) -> Result<&'a StreamState, Failure> {
    let stream = planned.stream();
    let not_yet = |why: &str| {
        let message = format!("table `{stream}` cannot be compared yet: {why}");
        Failure::new(exit_code::RETRY, message).with_hint("run the pipeline, then check again")
    };
    let Some(stored) = state.streams.iter().find(|it| it.stream == stream) else {
        return Err(not_yet("it was never loaded"));
    };
    if stored.phase != StreamPhase::Following || stored.selection.is_empty() {
        return Err(not_yet("its load is not finished"));
    }
    if stored.selection != planned.plan.read.selection {
        return Err(not_yet("its selection was edited since it was loaded"));
    }
    Ok(stored)
}

fn no_table(planned: &PlannedTable, pipeline: &str) -> Failure {
    let (stream, target) = (planned.stream(), &planned.target.name);
    let message = format!("table `{stream}`: the target has no table `{target}` any more");
    Failure::new(exit_code::DIFFERENT, message).with_hint(format!(
        "load it again: syncset pipeline reset {pipeline} --tables {stream}, then run"
    ))
}

fn no_columns(planned: &PlannedTable, lacking: &[String]) -> Failure {
    let (stream, target) = (planned.stream(), &planned.target.name);
    let names: Vec<_> = lacking.iter().map(|name| format!("`{name}`")).collect();
    let message = format!(
        "table `{stream}`: `{target}` has no column {} any more",
        names.join(", ")
    );
    Failure::new(exit_code::DIFFERENT, message)
        .with_hint("run the pipeline: it says what to do about the column")
}
