//! The command line.

mod check;
mod pipeline;
mod plugin;
mod rejected;
mod schema;
mod values;

pub(crate) use self::check::{CheckArgs, CheckTablesArgs, RepairArgs, RevertArgs};
pub(crate) use self::pipeline::{
    AdoptArgs, Choice, HistoryArgs, PipelineVerb, PlanArgs, RunArgs, StatusArgs,
};
pub(crate) use self::plugin::{Language, PluginNewArgs, PluginTestArgs, PluginVerb};
pub(crate) use self::rejected::{
    RejectedDiscardArgs, RejectedListArgs, RejectedRetryArgs, RejectedVerb,
};
pub(crate) use self::schema::{SchemaApproveArgs, SchemaDiffArgs, SchemaHistoryArgs, SchemaVerb};
pub(crate) use self::values::{AllowedDeletes, OnLock};

use self::values::parse_variable;
use crate::cli::connection::DiscoverArgs;
use crate::cli::doctor::DoctorArgs;
use crate::cli::init::InitArgs;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
