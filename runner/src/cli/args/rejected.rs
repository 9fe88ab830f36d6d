//! Arguments of `rejected`.

use super::Choice;
use clap::{Args, Subcommand};

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
