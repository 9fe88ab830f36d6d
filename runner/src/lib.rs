//! The runner: the command line and what happens when a pipeline runs.
//!
//! It knows the stores by the connector contract only; `registry` alone names concrete ones.

mod check;
mod cli;
mod copied;
mod decision;
mod dotenv;
mod exit_code;
mod fail_point;
mod failure;
mod files;
mod fit;
mod foreign_keys;
mod gone;
mod hooks;
mod logging;
mod metrics;
// Without telemetry nobody looks on.
#[cfg_attr(not(feature = "otel"), allow(dead_code))]
mod observer;
mod open;
mod origin;
mod orphan;
mod plan_file;
mod planned;
mod plugins;
mod progress;
mod registry;
mod related;
mod report;
mod reshape;
mod rules;
mod run;
mod schema_diff;
mod schema_history;
mod search_times;
mod shell;
mod since;
mod stop;
#[cfg(feature = "otel")]
mod telemetry;
#[cfg(not(feature = "otel"))]
#[path = "telemetry/absent.rs"]
mod telemetry;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> std::process::ExitCode {
    cli::main()
}
