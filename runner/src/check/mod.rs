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
mod table;
mod tables;
mod writes;
mod young;

pub(crate) use again::{Again, Reader, Seen};
pub(crate) use changes::{Comparison, Differences, DifferingRows};
pub(crate) use hashed::ModeChoice;
pub(crate) use junit::junit;
pub(crate) use load::Load;
pub(crate) use page::{is_page, page, past_of};
pub(crate) use report::{CheckReport, CheckedTable, Mode, Verdict, exit_code_of};
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
use crate::shell;
use part::{Part, Pieces};
use replica::Replica;
use rows::RowForms;
use settled::is_partial;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stores::{Look, Stores};
use syncset_connector::{
    PipelineState, Role, StreamPhase, StreamState, TableDescription, WriteMode,
};
use syncset_pipeline::PipelineSpec;
use table::{FirstLook, Table};
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
        Failure::new(exit_code::RETRY, message).with_hint(
            "run the pipeline, which does or says what is to be done about it, then check again",
        )
    };
    let Some(stored) = state.streams.iter().find(|it| it.stream == stream) else {
        return Err(not_yet("it was never loaded"));
    };
    if stored.phase != StreamPhase::Following || stored.selection.is_empty() {
        return Err(not_yet("its load is not finished"));
    }
    if stored.selection != planned.plan.read.selection {
        let why = match planned.plan.source_changes.is_empty() {
            true => "its selection was edited since it was loaded",
            false => "the source's table was altered since it was loaded",
        };
        return Err(not_yet(why));
    }
    Ok(stored)
}

fn no_table(planned: &PlannedTable, pipeline: &str) -> Failure {
    let (stream, target) = (planned.stream(), &planned.target.name);
    let message = format!("table `{stream}`: the target has no table `{target}` any more");
    Failure::new(exit_code::DIFFERENT, message).with_hint(format!(
        "load it again: syncset pipeline reset {pipeline} --tables {}, then run",
        shell::word(stream)
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
