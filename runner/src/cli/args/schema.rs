//! Arguments of `schema`.

use super::Choice;
use super::values::{OnLock, parse_on_lock};
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
