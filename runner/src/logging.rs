//! The log on stderr: for whoever looks for the cause of something; never holds a cell value.

use crate::cli::args::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log. `SYNCSET_LOG` sets the level, as `RUST_LOG` does elsewhere; default: warnings.
pub(crate) fn start(format: LogFormat) {
    // The driver logs statements, which may hold keys, and its own warnings of slow ones.
    let filter = EnvFilter::try_from_env("SYNCSET_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,sqlx=off,datafusion=off"));
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
