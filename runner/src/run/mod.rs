//! One run of a pipeline: lease, loads, windows, whole tables, report.

mod catch_up;
pub(crate) mod comments;
mod context;
mod create;
mod differing;
mod dry;
mod follow;
mod foresee;
mod full;
mod guard;
mod hash;
mod indexes;
mod joint;
mod lease;
mod load;
mod pump;
mod rejects;
mod repair;
mod retry;
mod retry_rejected;
mod revert;
mod rounds;
mod search;
mod settle;
mod slice;
mod sort;
mod statistics;
mod table;
mod together;
mod unit;
mod waiting;
mod windows;

use crate::cli::args::RunArgs;
use crate::decision;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::gone::Gone;
use crate::hooks::{HookEnvironment, Hooks};
use crate::open::Ends;
use crate::orphan::suggest_adoption;
use crate::plan_file::PlanFile;
use crate::planned::{self, PlannedTable};
use crate::progress::Progress;
use crate::report::{Outcome, RunReport};
use crate::rules::Rules;
use crate::stop::{Stop, seconds_since_epoch};
use context::RunContext;
pub(crate) use guard::agreement;
use lease::Heartbeat;
pub(crate) use lease::{Asked, acquire, acquire_now};
pub(crate) use rejects::{bytes_text, key_columns, keys_batch as rejected_keys};
pub(crate) use repair::{Drifted, Repairs};
pub(crate) use revert::{Effect, Reverting};
use statistics::Filled;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use syncset_connector::{Lease, PipelineKey, PipelineState, Retention, RunRecord, TableRead};
use syncset_pipeline::{Consistency, Keep, OnSelectionChange, PipelineSpec};
use table::TableRun;

/// Largest batch of rows between the source and the target.
const BATCH_BYTES_MAX: u64 = 1 << 20;

/// Smallest batch.
const BATCH_BYTES_MIN: u64 = 64 << 10;

/// Batches in flight per job: being read, two queued, being written, and copies of a transform.
const BATCHES_IN_FLIGHT: u64 = 8;

/// How much of a pipeline a run is about. What is no run of all it needs says nothing about how fresh
/// the target is.
pub(crate) enum Extent {
    /// All that its tables need.
    Everything,
    /// Rows that were refused before, and nothing else.
    RejectedRows,
    /// These rows, and nothing else.
    Rows(Repairs),
    /// The rows of a run, as they were before it.
    Reverted(Reverting),
}

impl Extent {
    /// What a run that is no run of its pipeline is called in its report.
    fn verb(&self) -> Option<&'static str> {
        match self {
            Self::Everything | Self::RejectedRows => None,
            Self::Rows(_) => Some("repair"),
            Self::Reverted(_) => Some("revert"),
        }
    }

    /// Whether it is stored as a run.
    fn is_recorded(&self) -> bool {
        match self {
            Self::Everything | Self::Rows(_) => true,
            Self::Reverted(reverting) => reverting.effect == Effect::Write,
            Self::RejectedRows => false,
        }
    }
}

/// What a run needs to know besides its pipeline.
pub(crate) struct RunSettings<'a> {
    /// The flags.
    pub(crate) args: &'a RunArgs,
    /// `project:` of the config file.
    pub(crate) project: &'a str,
    /// `consistency:` of the pipeline.
    pub(crate) consistency: Consistency,
    /// How long the lease lasts without being renewed.
    pub(crate) lease: Duration,
    /// How long what past runs left is kept.
    pub(crate) retention: Keep,
    /// `on_selection_change:` of the pipeline.
    pub(crate) on_selection_change: OnSelectionChange,
    /// What was agreed to, if a table is altered only as long as nothing about it changed since.
    pub(crate) plan: Option<&'a PlanFile>,
    /// Where its hooks run, and whether.
    pub(crate) hooks: &'a HookEnvironment,
    /// How the run shows itself.
    pub(crate) progress: Progress,
    /// How it is asked to end.
    pub(crate) stop: Stop,
    /// How much of it.
    pub(crate) extent: Extent,
    /// True if its metrics are written or sent.
    pub(crate) is_measured: bool,
    /// Names of all pipelines of the project.
    pub(crate) pipelines: &'a [String],
}

impl RunSettings<'_> {
    /// What decides about edited selections.
    fn rules(&self) -> Rules<'_> {
        Rules {
            on_selection_change: self.on_selection_change,
            full_refresh: self.args.full_refresh,
            approved: &self.args.approve,
        }
    }
}

/// A random identifier that sorts by the time it was made, so that runs that began in the same
/// second are listed in their order: a UUID of version 7 without dashes.
fn new_run_id() -> String {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let random: [u8; 10] = rand::random();
    uuid::Builder::from_unix_timestamp_millis(millis, &random)
        .into_uuid()
        .simple()
        .to_string()
}

/// Runs a pipeline once. The report says everything, also when nothing could be done.
pub(crate) async fn run(spec: &PipelineSpec, settings: &RunSettings<'_>) -> RunReport {
    let started = Instant::now();
    let run_id = new_run_id();
    let mut report = RunReport::new(&spec.name, &run_id, settings.args.dry_run);
    report.slice = settings.args.slice.is_some();
    report.verb = settings.extent.verb();
    if let Extent::Reverted(reverting) = &settings.extent {
        report.reverts = Some(reverting.run_id.clone());
        report.dry_run = reverting.effect == Effect::Try;
    }
    settings.progress.started(&report);
    if let Err(Failures(failures)) = run_into(&mut report, spec, settings).await {
        report.failures.extend(failures);
    }
    report.settle_exit_code();
    if let Some(code) = settings.args.skip_exit_code
        && report.did_nothing()
    {
        report.exit_code = i32::from(code);
    }
    report.duration_ms = millis(started);
    settings.progress.finished(&report);
    report
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn run_into(
    report: &mut RunReport,
    spec: &PipelineSpec,
    settings: &RunSettings<'_>,
) -> Result<(), Failures> {
    let jobs = usize::from(settings.args.jobs);
    let key = PipelineKey {
        project: settings.project.to_owned(),
        pipeline: spec.name.clone(),
    };
    let hooks = Hooks {
        spec,
        key: &key,
        environment: settings.hooks,
        stop: &settings.stop,
        progress: &settings.progress,
    };
    let ends = tokio::select! {
        ends = Ends::open(spec, settings.project, jobs) => ends?,
        reason = settings.stop.requested() => return Err(reason.into()),
    };
    settings.stop.interrupts(ends.plugins().interrupt());
    let (planned, ()) = tokio::join!(
        planned::plan(
            &ends,
            spec,
            &settings.args.tables,
            settings.args.slice.as_deref()
        ),
        ends.source().warm_up()
    );
    // A plugin that was being asked fails then, which is no mistake of a file.
    let planned = planned.map_err(|failures| match settings.stop.is_requested() {
        true => settings.stop.reason().map_or(failures, Failures::from),
        false => failures,
    })?;
    let unknown = planned::unknown_tables(&planned.tables, &settings.args.allow_deletes);
    if !unknown.is_empty() {
        return Err(Failures(unknown));
    }
    let (stored, gone) = (planned.state, planned.gone);
    report.failures.extend(gone.iter().map(Gone::failure));
    let planned: Vec<_> = planned.tables.into_iter().map(Arc::new).collect();
    let wrong: Vec<Failure> = planned
        .iter()
        .flat_map(|table| &table.failures)
        .filter(|failure| failure.exit_code == exit_code::CONFIG)
        .cloned()
        .collect();
    if !wrong.is_empty() {
        // A file that is wrong touches nothing, not even the tables it is right about.
        return Err(Failures(wrong));
    }
    if settings.consistency == Consistency::Pipeline && settings.args.slice.is_some() {
        return Err(comes_alone(&report.pipeline).into());
    }
    if settings.consistency == Consistency::Pipeline
        && !settings.args.tables.is_empty()
        && !settings.args.dry_run
    {
        return Err(moves_together(&report.pipeline).into());
    }
    settings.rules().check(planned.iter().map(AsRef::as_ref))?;
    if settings.args.dry_run {
        let mut tables = table_runs(&planned, settings, &PipelineState::default());
        dry::count(&ends, &mut tables, &stored, settings).await?;
        tables.iter_mut().for_each(TableRun::tell_lost);
        report.tables = tables.into_iter().map(|table| table.report).collect();
        hooks.list(report);
        return Ok(());
    }
    ends.state().ensure().await?;
    let owner = owner(&report.run_id);
    let asked = acquire(
        &ends,
        &owner,
        settings.lease,
        settings.args.on_lock,
        &settings.stop,
    );
    let lease = match asked.await? {
        Asked::Ours(lease, taken) => {
            report.warnings.extend(taken);
            lease
        }
        Asked::Skipped(holder) => {
            report.skipped = true;
            report
                .warnings
                .push(format!("skipped: the pipeline is being run by {holder}"));
            return Ok(());
        }
    };
    let heartbeat = Heartbeat::start(ends.clone(), lease.clone(), settings.stop.clone());
    let started_at = seconds_since_epoch();
    let clock = Instant::now();
    let keep = retention(settings, &planned);
    if report.verb.is_some() && settings.extent.is_recorded() {
        // What it keeps of rows is found by its id, even if it is killed.
        record(report, &ends, (started_at, Stage::Begun), &keep).await;
    }
    let result = match hooks.before(report, &planned).await {
        Ok(()) => run_leased(report, &ends, &lease, (&planned, &gone), settings).await,
        Err(failure) => Err(failure.into()),
    };
    if let Err(Failures(failures)) = result {
        report.failures.extend(failures);
    }
    report.settle_exit_code();
    if let Some(reason) = settings
        .stop
        .reason()
        .filter(|_| report.exit_code == exit_code::INTERRUPTED)
    {
        // What was ended in the middle does not know by which signal.
        report.exit_code = reason.exit_code;
    }
    report.duration_ms = millis(clock);
    if hooks.has_after() {
        // Also gives them the lease's whole time.
        let held = ends.state().renew(&lease).await;
        hooks.after(report, held.is_ok()).await;
    }
    let says_nothing_new = report.exit_code != exit_code::DONE || report.slice;
    if says_nothing_new && settings.is_measured {
        let known = ends.state().load(&ends.key, 1).await;
        report.last_success = known.ok().and_then(|state| state.last_success);
    }
    if settings.extent.is_recorded() {
        record(report, &ends, (started_at, Stage::Ended), &keep).await;
    }
    drop(heartbeat);
    if let Err(error) = ends.state().release(&lease).await {
        tracing::warn!(%error, "could not give the lease back; it will expire");
    }
    ends.close().await;
    Ok(())
}

/// The failure of a run of some tables of a pipeline whose tables are committed together.
fn moves_together(pipeline: &str) -> Failure {
    let message = format!(
        "`--tables` would leave the other tables of `{pipeline}` behind: they are committed together (`consistency: pipeline`)"
    );
    Failure::new(exit_code::CONFIG, message).with_hint(format!(
        "run the whole pipeline; to load some tables again, run `syncset pipeline reset {pipeline} --tables ...` first"
    ))
}

fn comes_alone(pipeline: &str) -> Failure {
    let message = format!(
        "`--where` copies table by table, and the tables of `{pipeline}` are committed together (`consistency: pipeline`)"
    );
    Failure::new(exit_code::CONFIG, message).with_hint(format!(
        "load the table again instead: syncset pipeline reset {pipeline} --tables ..., then run"
    ))
}

/// Who holds the lease, for people.
fn owner(run_id: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "unknown host",
        name => name,
    };
    format!("{host} pid {} (run {run_id})", std::process::id())
}

/// What stays when the run is recorded.
fn retention(settings: &RunSettings<'_>, planned: &[Arc<PlannedTable>]) -> Retention {
    let streams = planned.iter().map(|table| table.stream().to_owned());
    Retention {
        runs: settings.retention.runs,
        rejected: settings.retention.rejected,
        before_images: settings.retention.before_images,
        // With `--tables` the plan holds some of them, and the others are no less the pipeline's.
        streams: settings.args.tables.is_empty().then(|| streams.collect()),
    }
}

/// How far a run is that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    Ended,
}

async fn record(
    report: &RunReport,
    ends: &Ends,
    (started_at, stage): (i64, Stage),
    keep: &Retention,
) {
    let ended = stage == Stage::Ended;
    let run = RunRecord {
        run_id: report.run_id.clone(),
        started_at,
        finished_at: ended.then(seconds_since_epoch),
        exit_code: ended.then_some(report.exit_code),
        report: serde_json::to_value(report).unwrap_or_default(),
    };
    match ends.state().record_run(&ends.key, &run, keep).await {
        Ok(0) => {}
        Ok(count) => tracing::warn!(
            count,
            "dropped rejected rows of tables that are no longer in the pipeline"
        ),
        Err(error) => tracing::warn!(%error, "could not store the run's report"),
    }
}

/// Says of runs before this one that they are over, though they never said so themselves: whoever
/// holds the lease is the only one.
async fn close_abandoned(ends: &Ends, runs: &[RunRecord], own: &str, keep: &Retention) {
    let is_abandoned = |run: &&RunRecord| run.finished_at.is_none() && run.run_id != own;
    for run in runs.iter().filter(is_abandoned) {
        let run = RunRecord {
            finished_at: Some(seconds_since_epoch()),
            ..run.clone()
        };
        if let Err(error) = ends.state().record_run(&ends.key, &run, keep).await {
            tracing::warn!(%error, "could not store that a run was killed");
        }
    }
}

/// Everything that happens under the lease.
async fn run_leased(
    report: &mut RunReport,
    ends: &Ends,
    lease: &Lease,
    (planned, gone): (&[Arc<PlannedTable>], &[Gone]),
    settings: &RunSettings<'_>,
) -> Result<(), Failures> {
    // Loaded again under the lease: what was read before may be another run's past.
    let own = u32::from(report.verb.is_some());
    let state = ends.state().load(&ends.key, own + 1).await?;
    let keep = Retention {
        streams: None,
        ..retention(settings, planned)
    };
    close_abandoned(ends, &state.runs, &report.run_id, &keep).await;
    let context = RunContext {
        ends: ends.clone(),
        lease: lease.clone(),
        stop: settings.stop.clone(),
        jobs: usize::from(settings.args.jobs),
        unit_bytes: settings.args.memory,
        load: settings.args.max_load,
    };
    let mut tables = table_runs(planned, settings, &state);
    if settings.args.tables.is_empty() {
        let planned = planned.iter().map(AsRef::as_ref);
        let all = (planned, gone);
        let departed = decision::departed(&state, &ends.key.pipeline, all, ends.target_store());
        report.warnings.extend(departed);
    }
    if let Extent::Reverted(reverting) = &settings.extent {
        let run_id = report.run_id.clone();
        revert::only(&context, &mut tables, (reverting, &run_id)).await?;
    } else if settings.args.slice.is_some() {
        slice::copy(&context, &mut tables, &state, settings).await;
    } else {
        let work = sort::sort_out(&context, &mut tables, &state, settings).await;
        let rejected = &state.rejected;
        match (&settings.extent, settings.consistency) {
            (Extent::RejectedRows, _) => {
                retry_rejected::only(&context, &mut tables, &work, rejected).await;
            }
            (Extent::Rows(repairs), _) => {
                let this = (repairs, report.run_id.as_str());
                repair::only(&context, &mut tables, &work, this).await;
            }
            (Extent::Reverted(_), _) => {}
            (Extent::Everything, Consistency::Table) => {
                search::plan(&context, &mut tables).await?;
                rounds::run(&context, &mut tables, work, rejected).await;
            }
            (Extent::Everything, Consistency::Pipeline) => {
                joint::run(&context, &mut tables, work, rejected).await;
            }
        }
        let filled = Filled::whole(&mut tables);
        let warning = filled.renew(&context).await;
        filled.note(&mut tables, warning);
        if matches!(settings.extent, Extent::Everything) {
            indexes::build(&context, &mut tables).await;
            comments::follow(&context, &mut tables).await;
        }
    }
    for table in &mut tables {
        if let Some(failure) = &mut table.report.failure {
            suggest_adoption(failure, &ends.key, settings.pipelines);
        }
        table.date(ends.source());
        if table.report.outcome == Outcome::Unfinished {
            let message = format!("table `{}` was not finished in this run", table.stream());
            table.fail(Failure::new(exit_code::RETRY, message).with_hint("run again"));
        }
        table.tell_lost();
        table.tell_rejected(&ends.key.pipeline);
    }
    for table in &mut tables {
        table.report.deletes_pending = table.pending_deletes;
    }
    report.tables = tables.into_iter().map(|table| table.report).collect();
    Ok(())
}

fn table_runs(
    planned: &[Arc<PlannedTable>],
    settings: &RunSettings<'_>,
    state: &PipelineState,
) -> Vec<TableRun> {
    let jobs = u64::from(settings.args.jobs);
    let batch_bytes =
        (settings.args.memory / (jobs * BATCHES_IN_FLIGHT)).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
    let batch_bytes = usize::try_from(batch_bytes).unwrap_or(usize::MAX);
    let table_run = |planned: &Arc<PlannedTable>| {
        let read = TableRead {
            batch_bytes,
            ..TableRead::clone(&planned.plan.read)
        };
        let progress = settings.progress.table(planned);
        let mut table = TableRun::new(planned.clone(), Arc::new(read), progress);
        let stream = table.stream().to_owned();
        table.stored = state
            .streams
            .iter()
            .find(|stored| stored.stream == stream)
            .cloned();
        table.first_load = table.stored.is_none() || table.is_first_load();
        let waiting = state.rejected.iter().filter(|row| row.stream == stream);
        table.put_aside = waiting.map(|row| row.key.to_string()).collect();
        table.pending_deletes = state.pending_of(&planned.target.name);
        table.made = decision::made_of(planned, state).cloned();
        table.allowed_deletes = planned.allowed_deletes(&settings.args.allow_deletes);
        table
    };
    planned.iter().map(table_run).collect()
}
