//! Arguments of `pipeline`.

use super::check::{CheckArgs, RepairArgs, RevertArgs};
use super::values::{AllowedDeletes, OnLock, parse_allowed_deletes, parse_bytes, parse_on_lock};
use super::{Cli, Verb};
use crate::check::Load;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum PipelineVerb {
    /// Name the pipelines of the project, what they copy and from where to where; touches no store
    List(Choice),
    /// Check the files without touching any store; all pipelines if none is named
    Validate(Choice),
    /// Show what `run` would do; changes nothing
    Plan(PlanArgs),
    /// Sync once and exit
    Run(RunArgs),
    /// Compare source and target by hashes and say which rows differ; writes nothing
    Check(CheckArgs),
    /// Write rows that differ as they are at the source, and compare again
    Repair(RepairArgs),
    /// Put rows back as they were before a repair
    Revert(RevertArgs),
    /// Where each table stands, and the last runs; all pipelines if none is named
    Status(StatusArgs),
    /// The runs that are stored, newest first, or one of them in detail
    History(HistoryArgs),
    /// Forget what was synced, so that the next run compares and loads the tables again
    Reset {
        /// Name of a file in pipelines/, without `.yaml`
        name: String,
        /// Only these tables, as the pipeline names them
        #[arg(long, value_delimiter = ',', value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// Give what is stored of a pipeline to another, after its file was renamed or moved
    Adopt(AdoptArgs),
    /// Take the lease away from a run that is gone or must not go on
    Unlock {
        /// Name of a file in pipelines/, without `.yaml`
        name: String,
    },
}

/// Which pipelines a verb is about.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// Names of files in pipelines/, without `.yaml`
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All pipelines of the project
    #[arg(long, conflicts_with_all = ["names", "tags"])]
    pub(crate) all: bool,
    /// All pipelines that have this tag; can be repeated, then any of the tags will do
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "names")]
    pub(crate) tags: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Exit with 4 if the last success of a pipeline is older, such as `2h`
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) max_age: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct AdoptArgs {
    /// The name it had
    pub(crate) old: String,
    /// Name of a file in pipelines/, without `.yaml`; its target holds the state
    pub(crate) new: String,
    /// The project it was in, if that was another one
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project_from: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Id of a run, or the end of it that the list shows: show this run in detail
    pub(crate) run: Option<String>,
    /// Newest runs to show at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "run")]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Plan as `run --full-refresh` would
    #[arg(long)]
    pub(crate) full_refresh: bool,
    /// Exit with 4 if a run would create, load or reload a table
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Show what is done to each batch of rows: conditions, expressions, masks and plugins
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Read and count what would be written, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Read the tables again from the start, compare keys, and go on from there
    #[arg(long)]
    pub(crate) full_refresh: bool,
    /// Copy only the selected rows for which this is true, such as `day >= date '2025-01-01'`:
    /// a slice, which moves no watermark and deletes nothing
    #[arg(long = "where", value_name = "EXPR", conflicts_with_all = ["full_refresh", "approve"])]
    pub(crate) slice: Option<String>,
    /// Agree to what a run does about an edited selection or a change of the source's table
    /// (`on_selection_change: approve`, `schema: { .. approve }`), for these tables
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) approve: Vec<String>,
    /// Let this run delete up to N rows of a table where a guard would stop it; may be repeated
    #[arg(long, value_parser = parse_allowed_deletes, value_name = "TABLE=N")]
    pub(crate) allow_deletes: Vec<AllowedDeletes>,
    /// Chunks and tables read and written at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
    /// Bytes of rows in flight, such as `64MiB`
    #[arg(long, default_value = "64MiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub(crate) memory: u64,
    /// Let loads keep each database busy for this part of the time at most, such as `25%`
    #[arg(long, value_parser = Load::parse, value_name = "PERCENT")]
    pub(crate) max_load: Option<Load>,
    /// Start no new unit of work after this time and exit with 9, such as `30m`
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) max_duration: Option<Duration>,
    /// Write what the run did to this file, for the textfile collector of Prometheus' node_exporter
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Run without the pipeline's hooks
    #[arg(long)]
    pub(crate) no_hooks: bool,
    /// When another run holds the lease: `fail` (exit 7), `skip` (exit 0) or `wait=DURATION`
    #[arg(long, default_value = "fail", value_parser = parse_on_lock, value_name = "POLICY")]
    pub(crate) on_lock: OnLock,
    /// Exit with this code instead of 0 if nothing was done: no table had anything to write, or
    /// `--on-lock skip` skipped the run. Airflow takes 99 as "skipped"
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u8).range(10..=125))]
    pub(crate) skip_exit_code: Option<u8>,
}

impl RunArgs {
    /// A run of one pipeline without any flag.
    pub(crate) fn of(name: &str) -> Self {
        let line = ["syncset", "pipeline", "run", "--", name];
        match Cli::try_parse_from(line).map(|cli| cli.verb) {
            Ok(Verb::Pipeline {
                verb: PipelineVerb::Run(args),
            }) => args,
            _ => unreachable!("a run needs nothing but a name"),
        }
    }
}
