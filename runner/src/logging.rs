//! The log on stderr: for whoever looks for the cause of something; never holds a cell value.

use crate::cli::args::LogFormat;
use crate::progress::undisturbed;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

/// Whether each line of stderr is one JSON object.
static IS_JSON: OnceLock<bool> = OnceLock::new();

/// True if each line of stderr is one JSON object.
pub(crate) fn is_json() -> bool {
    IS_JSON.get().copied().unwrap_or(false)
}

/// The span of a trace that the process works for, in hexadecimal digits.
#[derive(Debug, Clone)]
pub(crate) struct SpanIds {
    /// Of the trace.
    pub(crate) trace_id: String,
    /// Of the span within it.
    pub(crate) span_id: String,
}

/// That of the run that began last.
static SPAN: Mutex<Option<SpanIds>> = Mutex::new(None);

/// From here on each line of a JSON log names this span.
#[cfg(feature = "otel")]
pub(crate) fn belongs_to(span: SpanIds) {
    *SPAN.lock().unwrap_or_else(PoisonError::into_inner) = Some(span);
}

/// The span that lines of the log belong to.
pub(crate) fn span() -> Option<SpanIds> {
    SPAN.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        .with_writer(|| Undisturbed);
    // Fails only if a log was started before, in tests of this crate.
    let _ = match format {
        LogFormat::Text => builder
            .with_ansi(takes_colour())
            .with_target(false)
            .try_init(),
        LogFormat::Json => {
            let format = tracing_subscriber::fmt::format().json().flatten_event(true);
            let builder = builder.with_ansi(false).fmt_fields(JsonFields::new());
            builder.event_format(WithSpan(format)).try_init()
        }
    };
}

/// JSON lines that name the span they belong to.
struct WithSpan(Format<Json>);

impl<S> FormatEvent<S, JsonFields> for WithSpan
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(SpanIds { trace_id, span_id }) = span() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let object = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(
            writer,
            "{object},\"trace_id\":\"{trace_id}\",\"span_id\":\"{span_id}\"}}"
        )
    }
}

/// Whether stderr is a terminal whose user wants colours: <https://no-color.org>.
fn takes_colour() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !no_colour && !is_dumb
}

/// Standard error, without what is drawn there while something is written to it.
struct Undisturbed;

impl Write for Undisturbed {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        undisturbed(|| std::io::stderr().lock().write(text))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().lock().flush()
    }
}
