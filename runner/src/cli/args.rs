//! The command line.

use crate::check::{Load, ModeChoice, Share};
use crate::cli::connection::DiscoverArgs;
use crate::cli::doctor::DoctorArgs;
use crate::cli::init::InitArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use syncset_pipeline::is_variable_name;

/// Shares part of a database and keeps it right.
#[derive(Debug, Parser)]
#[command(
    name = "syncset",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// The project folder, which holds syncset.yaml, or any folder in it
    #[arg(
        short = 'C',
        long = "directory",
        global = true,
        default_value = ".",
        value_name = "DIR"
    )]
    pub(crate) directory: PathBuf,

    /// Value of `${NAME}` in the files, before the environment and `.env`; can be repeated. Other
    /// users of this machine can see it while the command runs, so it is not for secrets
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) set: Vec<(String, String)>,

    /// How results are printed on stdout
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,

    /// How the log is printed on stderr; SYNCSET_LOG sets its level, such as `info`
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// JSON events, one a line (`pipeline run` only)
    Ndjson,
    /// A JUnit report (`pipeline check` and `check` only)
    Junit,
}

/// How the log is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write the files of a project from two databases: syncset.yaml, a pipeline and .env
    Init(InitArgs),
    /// Say what is missing before pipelines can run, and which GRANT or setting mends it
    Doctor(DoctorArgs),
    /// Connections of syncset.yaml
    Connection {
        #[command(subcommand)]
        verb: ConnectionVerb,
    },
    /// Pipelines: check, plan, run and watch them
    Pipeline {
        #[command(subcommand)]
        verb: PipelineVerb,
    },
    /// What became of the source's schema, and what the target makes of it
    Schema {
        #[command(subcommand)]
        verb: SchemaVerb,
    },
    /// Compare two tables that no pipeline connects; writes nothing
    Check(CheckTablesArgs),
    /// Plugins that people write themselves: look at them, try them, pin them
    Plugin {
        #[command(subcommand)]
        verb: PluginVerb,
    },
    /// Rows that a target refused and that wait in its state
    Rejected {
        #[command(subcommand)]
        verb: RejectedVerb,
    },
    /// Print a completion script, to be read by the shell at its start
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages, one per verb
    Man {
        /// Folder to write into, such as `/usr/local/share/man/man1`; made if it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// What each type of one store becomes in another
    Types {
        /// Kind of the source, such as `postgres`
        from: String,
        /// Kind of the target, such as `sqlite`
        to: String,
    },
}

/// Shells with completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// `syncset completions bash > /etc/bash_completion.d/syncset`
    Bash,
    /// `syncset completions zsh > "${fpath[1]}/_syncset"`
    Zsh,
    /// `syncset completions fish > ~/.config/fish/completions/syncset.fish`
    Fish,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginVerb {
    /// Make the folder of a plugin: a function and a transform to begin with, their SDK, and cases
    /// to test them with
    New(PluginNewArgs),
    /// Build a plugin by the tools of its language, and check what comes out
    Build {
        /// Folder of the plugin, as `plugin new` makes it; the file is put into it
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Name the plugins of the project, whether each is the file that was pinned, and the pipelines
    /// that use it
    List,
    /// Show what a plugin says of itself: version, imports, functions, configuration, size, hash
    Inspect {
        /// Name of a plugin of syncset.yaml, or the path of a `.wasm` or `.wat` file
        plugin: String,
    },
    /// Show what a plugin makes of a few rows, before and after side by side; writes nothing
    Test(PluginTestArgs),
    /// Check plugins and write the hashes of their files into syncset.yaml; all if none is named
    Pin {
        /// Names from syncset.yaml
        names: Vec<String>,
    },
}

/// Languages with an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// The fastest: some 18 million rows a second
    Rust,
    /// Built by componentize-py; about a million rows a second
    Python,
    /// JavaScript or TypeScript, built by componentize-qjs; about half a million rows a second
    Js,
}

#[derive(Debug, Args)]
pub(crate) struct PluginNewArgs {
    /// The language
    #[arg(long, value_enum)]
    pub(crate) lang: Language,
    /// Folder to make; its last part is the plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PluginTestArgs {
    /// Name of a plugin of syncset.yaml, or the path of a `.wasm` or `.wat` file
    pub(crate) plugin: String,
    /// Rows: a file of JSON objects, one a line, a `.csv` file, or `pipeline:NAME[/TABLE]` for rows
    /// of that pipeline's source
    #[arg(long, value_name = "INPUT")]
    pub(crate) input: String,
    /// First rows of the input to take at most
    #[arg(long, default_value_t = 20, value_parser = parse_limit, value_name = "ROWS")]
    pub(crate) limit: usize,
    /// Configuration as JSON, in place of the one in syncset.yaml or the pipeline
    #[arg(long, value_name = "JSON")]
    pub(crate) config: Option<String>,
    /// Compute this expression for each row, such as `normalise_phone(phone, country)`, instead of
    /// transforming the rows
    #[arg(long, value_name = "SQL")]
    pub(crate) call: Option<String>,
    /// Rows that must come out, as JSON objects, one a line; columns that they leave out may be
    /// anything. Exit with 4 if they differ
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
}

/// Rows of a sample.
fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=100_000) => Ok(limit),
        _ => Err("a number from 1 to 100000".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaVerb {
    /// Show what the next run would change of the target tables, and what waits for your word;
    /// changes nothing
    Diff(SchemaDiffArgs),
    /// Agree to what `schema diff` shows: alter and load these tables, and no others
    Approve(SchemaApproveArgs),
    /// The versions of the target tables: what changed, when, and on whose word
    History(SchemaHistoryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SchemaDiffArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaHistoryArgs {
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Only these tables, as the target names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaApproveArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// What `schema diff --output json` printed: do this and nothing else, and refuse with exit
    /// code 5 if anything changed since
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Show and compare, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// When another run holds the lease: `fail` (exit 7), `skip` (exit 0) or `wait=DURATION`
    #[arg(long, default_value = "fail", value_parser = parse_on_lock, value_name = "POLICY")]
    pub(crate) on_lock: OnLock,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RejectedVerb {
    /// Name the rows, why they were refused, since when and how often; all pipelines if none is
    /// named
    List(RejectedListArgs),
    /// Read the rows again from the source and write them, under the lease; nothing else is synced
    Retry(RejectedRetryArgs),
    /// Forget rows: no run tries them again until they change at the source
    Discard(RejectedDiscardArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RejectedListArgs {
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Only rows of these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Show the rows too, as they were to be written
    #[arg(long)]
    pub(crate) rows: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RejectedRetryArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Only rows of these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RejectedDiscardArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Only rows of these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Only the row with this key, as `rejected list` shows it; can be repeated
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// All rejected rows of the pipeline
    #[arg(long, conflicts_with_all = ["tables", "keys"])]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionVerb {
    /// Names, types, where they lead, and the pipelines that use them; touches no store
    List,
    /// Connect and say what answered; all connections if none is named
    Test {
        /// Names from syncset.yaml
        names: Vec<String>,
    },
    /// Tables and views, with estimated rows, size and key
    Discover(DiscoverArgs),
}

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
pub(crate) struct CheckArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Rows that differ to name for each table, at most
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    pub(crate) samples: usize,
    /// How rows are compared
    #[arg(long, value_enum, default_value_t = ModeChoice::Auto)]
    pub(crate) mode: ModeChoice,
    /// Compare this part of the keys, such as `5%`: the same keys on both sides, chosen by their
    /// hashes
    #[arg(long, value_parser = Share::parse, value_name = "PERCENT")]
    pub(crate) sample: Option<Share>,
    /// Compare only the selected rows for which this is true, such as `day >= date '2025-01-01'`
    #[arg(long = "where", value_name = "EXPR")]
    pub(crate) condition: Option<String>,
    /// Rows that changed at the source so short a time ago are undecided, such as `10m`; by the time
    /// in their cursor
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) min_age: Option<Duration>,
    /// Keep each database busy for this part of the time at most, such as `25%`
    #[arg(long, value_parser = Load::parse, value_name = "PERCENT")]
    pub(crate) max_load: Option<Load>,
    /// Stop after so many seconds, and exit with 9 if tables or rows are left
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_seconds: Option<u64>,
    /// Write the result as a page of HTML, too; it remembers the checks of the page it replaces
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckTablesArgs {
    /// `CONNECTION.TABLE`, `CONNECTION.SCHEMA.TABLE` or `URL#TABLE`
    pub(crate) left: String,
    /// The same for the table to compare it with
    pub(crate) right: String,
    /// Columns that tell rows apart, in both tables
    #[arg(long, value_delimiter = ',', value_name = "COLUMN", required = true)]
    pub(crate) key: Vec<String>,
    /// Compare only these columns, and the key; default: all of LEFT
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    pub(crate) columns: Vec<String>,
    /// Compare only rows for which this is true on their side, as `where:` of a pipeline
    #[arg(long = "where", value_name = "EXPR")]
    pub(crate) condition: Option<String>,
    /// Keep each database busy for this part of the time at most, such as `25%`
    #[arg(long, value_parser = Load::parse, value_name = "PERCENT")]
    pub(crate) max_load: Option<Load>,
    /// Rows that differ to name, at most
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    pub(crate) samples: usize,
    /// Write the result as a page of HTML, too; it remembers the checks of the page it replaces
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Compare and print the writes as statements of the target, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Rows that differ to name for each table, at most
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    pub(crate) samples: usize,
    /// Compare and repair only the selected rows for which this is true, such as `day >= date '2025-01-01'`
    #[arg(long = "where", value_name = "EXPR")]
    pub(crate) condition: Option<String>,
    /// Rows that changed at the source so short a time ago are left alone, such as `10m`; by the time
    /// in their cursor
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) min_age: Option<Duration>,
    /// Keep each database busy for this part of the time at most, such as `25%`
    #[arg(long, value_parser = Load::parse, value_name = "PERCENT")]
    pub(crate) max_load: Option<Load>,
    /// Repair so many rows of a table at most; with more, write nothing and exit with 8
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    pub(crate) max_rows: u64,
    /// Repair this part of a table at most, if it is more than 50 rows
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    pub(crate) max_percent: f64,
    /// Delete up to N rows of a table where a guard would stop it; may be repeated
    #[arg(long, value_parser = parse_allowed_deletes, value_name = "TABLE=N")]
    pub(crate) allow_deletes: Vec<AllowedDeletes>,
    /// When another run holds the lease: `fail` (exit 7), `skip` (exit 0) or `wait=DURATION`
    #[arg(long, default_value = "fail", value_parser = parse_on_lock, value_name = "POLICY")]
    pub(crate) on_lock: OnLock,
}

#[derive(Debug, Args)]
pub(crate) struct RevertArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Id of a repair or revert, or the end of it that `history` shows
    pub(crate) run: String,
    /// Say what would be put back, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// When another run holds the lease: `fail` (exit 7), `skip` (exit 0) or `wait=DURATION`
    #[arg(long, default_value = "fail", value_parser = parse_on_lock, value_name = "POLICY")]
    pub(crate) on_lock: OnLock,
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

/// What to do when another run holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLock {
    Fail,
    Skip,
    Wait(Duration),
}

/// Rows of a table that a run may delete whatever the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedDeletes {
    /// The table, as the pipeline names it.
    pub(crate) table: String,
    /// Rows.
    pub(crate) row_count: u64,
}

fn parse_allowed_deletes(text: &str) -> Result<AllowedDeletes, String> {
    let wrong = || "expected a table and a number of rows, such as `public.orders=1200`";
    let (table, count) = text.rsplit_once('=').ok_or_else(wrong)?;
    let row_count = count.trim().parse().map_err(|_| wrong())?;
    if table.trim().is_empty() {
        return Err(wrong().into());
    }
    Ok(AllowedDeletes {
        table: table.trim().to_owned(),
        row_count,
    })
}

fn parse_on_lock(text: &str) -> Result<OnLock, String> {
    match text {
        "fail" => Ok(OnLock::Fail),
        "skip" => Ok(OnLock::Skip),
        _ => {
            let duration = text
                .strip_prefix("wait=")
                .ok_or("expected `fail`, `skip` or `wait=5m`")?;
            let duration =
                humantime::parse_duration(duration).map_err(|error| error.to_string())?;
            Ok(OnLock::Wait(duration))
        }
    }
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected `NAME=value`, without spaces around `=`")?;
    if !is_variable_name(name) {
        return Err(format!(
            "`{name}` is no name of a variable: letters, digits and `_`, no digit first"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Smallest memory budget: below it the buffers of one connection pair do not fit.
const MEMORY_BYTES_MIN: u64 = 4 << 20;

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        other => return Err(format!("unknown unit `{other}`; write `64MiB`")),
    };
    let count: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "expected bytes, such as `64MiB`")?;
    let bytes = count.checked_mul(unit).ok_or("too many bytes")?;
    if bytes < MEMORY_BYTES_MIN {
        return Err("at least 4MiB are needed".into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn allowed_deletes_name_a_table_and_rows() {
        let allowed = |table: &str, row_count| AllowedDeletes {
            table: table.into(),
            row_count,
        };

        let parsed = parse_allowed_deletes("public.orders=1200");
        assert_eq!(parsed, Ok(allowed("public.orders", 1200)));
        let parsed = parse_allowed_deletes("\"a=b\"=0");
        assert_eq!(parsed, Ok(allowed("\"a=b\"", 0)));
        for wrong in ["orders", "orders=", "orders=many", "=5", "orders=-1"] {
            assert!(parse_allowed_deletes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn byte_sizes_and_lock_policies_are_read() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("5000000"), Ok(5_000_000));
        assert!(parse_bytes("1KiB").is_err());
        assert!(parse_bytes("64 parsecs").is_err());
        assert_eq!(
            parse_on_lock("wait=5m"),
            Ok(OnLock::Wait(Duration::from_secs(300)))
        );
        assert!(parse_on_lock("later").is_err());
    }

    #[test]
    fn values_of_variables_may_hold_anything() {
        let read = parse_variable("CRM_URL=postgres://a@b/c?d=e f");

        assert_eq!(
            read,
            Ok(("CRM_URL".into(), "postgres://a@b/c?d=e f".into()))
        );
        assert_eq!(
            parse_variable("EMPTY="),
            Ok(("EMPTY".into(), String::new()))
        );
        assert!(parse_variable("CRM_URL").is_err());
        assert!(parse_variable("crm url=x").is_err());
    }
}
