//! The log on stderr: for whoever looks for the cause of something; never holds a cell value.

use crate::cli::args::LogFormat;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Whether each line of stderr is one JSON object.
static IS_JSON: OnceLock<bool> = OnceLock::new();

/// True if each line of stderr is one JSON object.
pub(crate) fn is_json() -> bool {
    IS_JSON.get().copied().unwrap_or(false)
}

/// Starts the log. `SYNCSET_LOG` sets the level, as `RUST_LOG` does elsewhere; default: warnings.
pub(crate) fn start(format: LogFormat) {
    let _ = IS_JSON.set(format == LogFormat::Json);
    let mut filter =
        EnvFilter::try_from_env("SYNCSET_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // The driver logs statements, which hold keys and values, and DataFusion plans, which hold
    // constants: no level may bring them into a log.
    for silent in ["sqlx=off", "datafusion=off"] {
        filter = filter.add_directive(silent.parse().expect("the directive is a constant"));
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would report them on stderr, which is where it cannot write.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Fails only if a log was started before, in tests of this crate.
    let _ = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
