//! `pipeline check`: what differs between source and target. Writes nothing and takes no lease.
//!
//! Both sides are asked at the same time for counts and sums of hashes, by parts of their keys:
//! hashes that the servers compute where those compare, else our own hashes of every row. Parts that
//! differ are listed row by row, from the same snapshots. What differs then is looked at once more,
//! in later snapshots: only a row that differs again, whose source has not changed between the two
//! looks, and that was at the target by the stored watermark, is drift.

mod again;
mod buckets;
mod changes;
mod form;
mod hashed;
mod junit;
mod load;
mod look;
mod page;
mod part;
mod replica;
mod report;
mod rows;
mod sample;
mod second;
mod settled;
mod side;
mod sliced;
mod stores;
mod tables;
mod writes;
mod young;

pub(crate) use again::{Again, Reader, Seen};
pub(crate) use changes::{Comparison, Differences, DifferingRows};
pub(crate) use hashed::ModeChoice;
pub(crate) use junit::junit;
pub(crate) use load::Load;
pub(crate) use page::{is_page, page, past_of};
pub(crate) use report::{CheckReport, CheckedTable, Kind, Mode, Verdict, exit_code_of};
pub(crate) use sample::Share;
pub(crate) use settled::Digest;
pub(crate) use side::Aspect;
pub(crate) use tables::check_tables;
pub(crate) use writes::{TableWrites, writes};

use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::{Failure, Failures};
use crate::open::{Ends, open_store};
use crate::planned::{self, PlannedTable};
use crate::run::rejected_keys;
use crate::stop::seconds_since_epoch;
use hashed::{Hashing, Requests, Told};
use look::{Found, Rows, candidates, held, in_buckets, is_drift, listed};
use part::{Part, Pieces};
use replica::Replica;
use rows::RowForms;
use settled::{is_partial, is_settled};
use side::{InFlight, Keys, Scope, Side, target_read};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stores::{Look, Stores};
use syncset_connector::{
    PipelineState, Role, StreamPhase, StreamState, TableDescription, WriteMode,
};
use syncset_pipeline::PipelineSpec;
use young::Youth;

/// Rows of one side that are listed to be looked at again, about.
const ROWS_LISTED_MAX: u64 = 200_000;

/// Why a large table is read if nothing cuts it into ranges of keys.
const AT_ONCE: &str = "`--max-load`: the servers would hash the whole table at once";

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
    /// Compare only rows for which this is true.
    pub(crate) condition: Option<String>,
    /// Rows whose cursor is younger are in flight.
    pub(crate) min_age: Option<Duration>,
    /// How much may be asked of each database.
    pub(crate) load: Option<Load>,
    /// Begin no table after this moment, and leave what is being compared.
    pub(crate) until: Option<Instant>,
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
    let sliced = match settings.how.condition.as_deref() {
        Some(condition) => {
            let planned = planned::plan(&ends, spec, settings.tables, Some(condition)).await?;
            planned.tables
        }
        None => Vec::new(),
    };
    let Some(source) = reader.source() else {
        let message = format!(
            "`{}` cannot be read, so nothing compares it",
            spec.target.kind
        );
        return Err(Failure::new(exit_code::CONFIG, message).into());
    };
    let replica = Replica::of(&spec.source, &ends, settings.how.until).await?;
    let stores = Stores {
        ends: &ends,
        target: reader.as_ref(),
        reader: source,
        replica: replica.as_ref(),
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
        let sliced = sliced.iter().find(|it| it.stream() == table.stream());
        let compared = compare(&stores, (&table, sliced), there, settings, &mut checked);
        if let Err(failure) = compared.await {
            checked.fail(failure);
        }
        checked.duration_ms = millis(clock);
        tables.push(checked);
    }
    for gone in &planned.gone {
        let mut checked = CheckedTable::new(&gone.stream, &gone.target);
        checked.fail(gone.failure());
        tables.push(checked);
    }
    if let Some(replica) = replica {
        replica.close().await;
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

/// Compares one table, part by part, as long as there is time.
async fn compare(
    stores: &Stores<'_>,
    planned: (&Arc<PlannedTable>, Option<&PlannedTable>),
    there: Option<TableDescription>,
    settings: &CheckSettings<'_>,
    checked: &mut CheckedTable,
) -> Result<(), Failure> {
    let until = settings.how.until;
    let begun = in_time(begin(stores, planned, there, settings, checked), until).await;
    let (table, parts, state) = match begun {
        None => {
            checked.leave(None);
            return Ok(());
        }
        Some(begun) => match begun? {
            None => return Ok(()),
            Some(begun) => begun,
        },
    };
    let mut state = Some(state);
    for part in &parts {
        fail_point("check.part");
        let mut found = CheckedTable::new(&checked.table, &checked.target);
        let comparing = table.compare(part, (state.take(), settings.samples), &mut found);
        match in_time(comparing, until).await {
            Some(compared) => {
                compared?;
                checked.add(found, settings.samples);
            }
            None => {
                checked.leave(part.from_here.clone());
                return Ok(());
            }
        }
    }
    checked.settle();
    Ok(())
}

/// What is compared of a table, and in which parts; `None` if nothing is.
async fn begin<'a>(
    stores: &'a Stores<'a>,
    (planned, sliced): (&'a Arc<PlannedTable>, Option<&PlannedTable>),
    there: Option<TableDescription>,
    settings: &'a CheckSettings<'_>,
    checked: &mut CheckedTable,
) -> Result<Option<(Table<'a>, Vec<Part>, PipelineState)>, Failure> {
    let how = &settings.how;
    if planned.write() == WriteMode::Append {
        checked.skip("`write: { mode: append }` keeps every version of a row; it is not compared");
        return Ok(None);
    }
    if let Some(failure) = planned.failures.first() {
        return Err(failure.clone());
    }
    let state = stores.state().await?;
    stream_of(&state, planned)?;
    let there = Arc::new(there.ok_or_else(|| no_table(planned, &stores.ends.key.pipeline))?);
    let forms = RowForms::of(&planned.target, &there);
    let forms = Arc::new(forms.map_err(|lacking| no_columns(planned, &lacking))?);
    let youth = how
        .min_age
        .map(|age| Youth::since(young::ago(age), planned));
    let mut table = Table {
        stores,
        whole: Part::whole(planned),
        planned,
        forms,
        there,
        how,
        youth: youth.transpose()?,
        is_read: None,
    };
    let part = match sliced {
        Some(sliced) => Part::sliced(sliced, &table.there, stores.reader)?,
        None => Part::whole(planned),
    };
    checked.notes.extend(how.sample.map(Share::sentence));
    checked.notes.extend(stores.replica.map(Replica::sentence));
    if how.until.is_none() && how.load.is_none() {
        return Ok(Some((table, vec![part], state)));
    }
    let parts = match part
        .pieces(stores.source(Look::First)?, &table.there)
        .await?
    {
        Pieces::Ends(ends) => part.cut(&ends, &table.there, how.condition.as_deref()),
        Pieces::NotNeeded => vec![part],
        Pieces::Impossible => {
            table.is_read = how.load.map(|_| AT_ONCE);
            vec![part]
        }
    };
    Ok(Some((table, parts, state)))
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
    /// Whether no row was on its way, although no watermark tells.
    fn is_settled(&self) -> bool {
        matches!(self.in_flight, InFlight::Keys(_))
    }

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
    /// All of its rows.
    whole: Part,
    forms: Arc<RowForms>,
    there: Arc<TableDescription>,
    how: &'a How,
    /// Which rows are in flight by their age.
    youth: Option<Youth>,
    /// Why all rows are read if no mode is asked for; `None` if the servers may hash them.
    is_read: Option<&'static str>,
}

/// What differs in the snapshots of a look.
struct Compared {
    source: Rows,
    target: Rows,
    in_flight: InFlight,
    scope: Scope,
    /// All rows of the source, if they were looked at.
    digest: Option<Digest>,
}

impl Table<'_> {
    /// Opens both sides, the target first: see [`is_drift`].
    async fn open(
        &self,
        (part, look): (&Part, Look),
        stored: &StreamState,
    ) -> Result<(Side, Side), Failure> {
        let at_replica = look == Look::First && self.stores.replica.is_some();
        // What is in flight is told by the source alone, at the second look.
        let read = &match at_replica {
            true => part.without_window(),
            false => part.planned.clone(),
        };
        let forms = &self.forms;
        let reader = self.stores.reader;
        let mut target = match part.is_whole() {
            true => Side::target(reader, read, forms, &self.there).await?,
            false => {
                let rows = part.of_target(target_read(read, &self.there));
                Side::reading(reader, read, forms, rows).await?
            }
        };
        let source = self.stores.source(look)?;
        let mut source = Side::source(source, read, forms, &stored.position).await?;
        (target.sample, source.sample) = (self.how.sample, self.how.sample);
        (target.load, source.load) = (self.how.load, self.how.load);
        Ok((target, source))
    }

    /// Closes both sides.
    async fn close(
        &self,
        target: Side,
        source: Side,
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        checked.rested += target.rested.max(source.rested);
        both(done(target.close()), done(source.close())).await?;
        Ok(())
    }

    /// Compares a part. `state`: what is stored of the pipeline, if that is known already.
    async fn compare(
        &self,
        part: &Part,
        (state, samples): (Option<PipelineState>, usize),
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        let state = match state {
            Some(state) => state,
            None => self.stores.state().await?,
        };
        if let Some(first) = self.first_look(part, &state, checked).await? {
            self.second_look(part, first, samples, checked).await?;
        }
        Ok(())
    }

    /// The rows that are looked at where a part of them differs: all of them, if a key finds them.
    fn looked_at<'b>(&'b self, part: &'b Part) -> &'b Part {
        match self.planned.has_key() {
            true => &self.whole,
            false => part,
        }
    }

    /// Compares the rows of a part; `None` if they are equal.
    async fn first_look(
        &self,
        part: &Part,
        state: &PipelineState,
        checked: &mut CheckedTable,
    ) -> Result<Option<FirstLook>, Failure> {
        let stored = stream_of(state, self.planned)?;
        let (target, source) = self.open((part, Look::First), stored).await?;
        let mut at = seconds_since_epoch();
        let compared = if part.is_whole() || !self.planned.has_key() {
            self.compared(part, target, source, checked).await?
        } else {
            match self.keys_in(part, (target, source), checked).await? {
                None => None,
                Some(keys) => {
                    let (target, source) = self.open((&self.whole, Look::First), stored).await?;
                    at = seconds_since_epoch();
                    Some(self.held(keys, (target, source), checked).await?)
                }
            }
        };
        let Some(compared) = compared else {
            return Ok(None);
        };
        let (left, right) = (compared.source, compared.target);
        let mut candidates = candidates(&left, &right, self.planned.has_key());
        let rejected = self.rejected(state)?;
        candidates.retain(|(kind, key)| !rejected.contains(key) && self.counts(*kind));
        checked.rejected = rejected.len() as u64;
        let in_flight = match (compared.in_flight, &compared.digest) {
            (InFlight::Unknown(None), Some(digest))
                if is_settled(&state.runs, self.planned.stream(), digest) =>
            {
                InFlight::Keys(HashSet::new())
            }
            (in_flight, _) => in_flight,
        };
        Ok(Some(FirstLook {
            at,
            source: left,
            candidates,
            scope: compared.scope,
            in_flight,
        }))
    }

    /// What the servers' hashes tell of the rows of a part.
    async fn told(
        &self,
        part: &Part,
        (target, source): (&mut Side, &mut Side),
        checked: &mut CheckedTable,
    ) -> Result<Told, Failure> {
        let choice = self.how.mode;
        let requests = match self.is_read.filter(|_| choice == ModeChoice::Auto) {
            Some(reason) => Err(reason.to_owned()),
            None => Requests::of(&part.planned, (&self.forms, &self.there), choice),
        };
        let told = match requests {
            Err(reason) => Told::Nothing(reason),
            Ok(requests) => {
                let mut hashing = Hashing {
                    source,
                    target,
                    forms: &self.forms,
                    sample: self.how.sample,
                };
                hashing.compare(&requests).await?
            }
        };
        if let (Told::Nothing(reason), ModeChoice::Hash) = (&told, choice) {
            let note = format!("all rows were read, not hashed by the servers: {reason}");
            checked.notes.push(note);
        }
        Ok(told)
    }

    /// What two snapshots hold under some keys, and what is in flight. They are closed.
    async fn held(
        &self,
        keys: Arc<Keys>,
        (target, mut source): (Side, Side),
        checked: &mut CheckedTable,
    ) -> Result<Compared, Failure> {
        let in_flight = source.in_flight().await?;
        let ((target, right), (source, left)) =
            both(held(target, keys.clone()), held(source, keys.clone())).await?;
        self.close(target, source, checked).await?;
        Ok(Compared {
            source: left,
            target: right,
            in_flight,
            scope: Scope::Keys(keys),
            digest: None,
        })
    }

    /// What differs between two snapshots, which are closed; `None` if nothing does.
    async fn compared(
        &self,
        part: &Part,
        mut target: Side,
        mut source: Side,
        checked: &mut CheckedTable,
    ) -> Result<Option<Compared>, Failure> {
        let told = self.told(part, (&mut target, &mut source), checked).await?;
        let (rows, keys, digest) = match told {
            Told::Differing { rows, keys, source } => (rows, Arc::new(keys), source),
            Told::Nothing(reason) => {
                (checked.mode, checked.mode_reason) = (Some(Mode::Stream), Some(reason));
                return self.streamed(target, source, checked).await;
            }
        };
        checked.mode = Some(Mode::Hash);
        checked.draw_drift();
        (checked.rows_source, checked.rows_target) = rows;
        if keys.source.num_rows() == 0 {
            self.close(target, source, checked).await?;
            return Ok(None);
        }
        let mut compared = self.held(keys, (target, source), checked).await?;
        compared.digest = Some(digest);
        Ok(Some(compared))
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
        let digest = Some(left.digest());
        if differing.is_empty() {
            self.close(target, source, checked).await?;
            return Ok(None);
        }
        checked.complete = !differing.has_more;
        let in_flight = source.in_flight().await?;
        let differing = Arc::new(differing);
        let ((target, right), (source, left)) =
            both(listed(target, differing.clone()), listed(source, differing)).await?;
        self.close(target, source, checked).await?;
        Ok(Some(Compared {
            source: left,
            target: right,
            in_flight,
            scope: Scope::All,
            digest,
        }))
    }

    /// Whether a difference of this kind is one: rows that are gone may be meant to stay.
    fn counts(&self, kind: Kind) -> bool {
        kind != Kind::Extra || self.planned.deletes()
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
