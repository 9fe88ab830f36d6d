//! From the command line to a verb and back to an exit code.

pub(crate) mod args;
mod check;
mod choice;
mod completions;
pub(crate) mod connection;
pub(crate) mod doctor;
#[cfg(test)]
mod documents;
pub(crate) mod init;
pub(crate) mod pipeline;
mod plugin;
pub(crate) mod quantity;
mod rejected;
pub(crate) mod render;
mod schema;
mod types;
mod usage;

use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::files::ProjectFiles;
use crate::logging;
use args::{Cli, Output, PipelineVerb, Verb};
use clap::Parser;
use std::process::ExitCode;

/// Threads of the runtime: the databases do the work, we decode and encode.
const WORKER_THREADS: usize = 2;

/// What every verb needs.
pub(crate) struct Context {
    /// The project.
    pub(crate) files: ProjectFiles,
    /// How results are printed.
    pub(crate) output: Output,
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return to_exit_code(usage::report(&error)),
    };
    logging::start(cli.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build();
    let output = cli.output;
    let code = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli)),
        Err(error) => {
            let message = format!("cannot start the runtime: {error}");
            Err(Failure::new(exit_code::FAILED, message).into())
        }
    };
    let code = code.unwrap_or_else(|failures| {
        render::failures(&failures, output);
        failures.exit_code()
    });
    match code {
        exit_code::DONE if render::result_is_lost() => to_exit_code(exit_code::FAILED),
        code => to_exit_code(code),
    }
}

fn to_exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

async fn dispatch(cli: Cli) -> Result<i32, Failures> {
    let is_run = matches!(
        cli.verb,
        Verb::Pipeline {
            verb: PipelineVerb::Run(_)
        }
    );
    let is_check = matches!(
        cli.verb,
        Verb::Check(_)
            | Verb::Pipeline {
                verb: PipelineVerb::Check(_)
            }
    );
    if cli.output == Output::Junit && !is_check {
        let message = "`--output junit` is for `pipeline check` and `check` only";
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("use `--output json`")
            .into());
    }
    if cli.output == Output::Ndjson && !is_run {
        let message = "`--output ndjson` is for `pipeline run` only";
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("use `--output json`")
            .into());
    }
    match &cli.verb {
        Verb::Types { from, to } => return types::print(from, to, cli.output),
        Verb::Completions { shell } => return Ok(completions::completions(*shell)),
        Verb::Man { dir } => return completions::man(dir, cli.output),
        Verb::Init(args) => {
            return init::init(&cli.directory, &cli.set, cli.output, args).await;
        }
        Verb::Plugin { verb } => return plugin::dispatch(&cli, verb).await,
        Verb::Check(_)
        | Verb::Connection { .. }
        | Verb::Doctor(_)
        | Verb::Pipeline { .. }
        | Verb::Rejected { .. }
        | Verb::Schema { .. } => {}
    }
    let files = match &cli.verb {
        Verb::Check(_) => check::files(&cli.directory, &cli.set)?,
        _ => ProjectFiles::open(&cli.directory, &cli.set)?,
    };
    let context = Context {
        files,
        output: cli.output,
    };
    match cli.verb {
        Verb::Check(args) => check::check(&context, &args).await,
        Verb::Connection { verb } => connection::dispatch(&context, verb).await,
        Verb::Doctor(args) => doctor::doctor(&context, &args).await,
        Verb::Pipeline { verb } => pipeline::dispatch(&context, verb).await,
        Verb::Rejected { verb } => rejected::dispatch(&context, verb).await,
        Verb::Schema { verb } => schema::dispatch(&context, verb).await,
        Verb::Init(_)
        | Verb::Plugin { .. }
        | Verb::Types { .. }
        | Verb::Completions { .. }
        | Verb::Man { .. } => {
            unreachable!("handled above")
        }
    }
}
