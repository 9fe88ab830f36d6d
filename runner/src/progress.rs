//! What is seen while a run goes on: bars on a terminal, quiet lines elsewhere, NDJSON events.

use crate::cli::args::Output;
use crate::cli::render;
use crate::logging;
use crate::report::{Outcome, TableReport};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the run shows itself.
#[derive(Clone)]
pub(crate) enum Progress {
    /// Bars on stderr.
    Bars(MultiProgress),
    /// One line on stderr when a table that had work is through.
    Lines,
    /// JSON events on stdout.
    Events,
    /// Nothing; the report at the end says it all.
    Silent,
}

impl Progress {
    /// Bars for a person at a terminal, lines elsewhere, events if asked for.
    pub(crate) fn new(output: Output) -> Self {
        match output {
            Output::Ndjson => Self::Events,
            Output::Json => Self::Silent,
            Output::Text if std::io::stderr().is_terminal() && !logging::is_json() => {
                Self::Bars(MultiProgress::new())
            }
            Output::Text => Self::Lines,
        }
    }

    /// Starts to show a table. `rows_expected`: the source's estimate, if it has one.
    pub(crate) fn table(&self, stream: &str, rows_expected: Option<u64>) -> TableProgress {
        let bar = match self {
            Self::Bars(bars) => {
                let bar = match rows_expected {
                    Some(rows) if rows > 0 => ProgressBar::new(rows),
                    _ => ProgressBar::no_length(),
                };
                bar.set_style(style(rows_expected.is_some_and(|rows| rows > 0)));
                bar.set_prefix(stream.to_owned());
                Some(bars.add(bar))
            }
            _ => None,
        };
        TableProgress {
            progress: self.clone(),
            bar,
            bytes: Arc::default(),
        }
    }

    /// Emits an event, where events are emitted.
    pub(crate) fn event(&self, name: &str, body: &impl serde::Serialize) {
        if !matches!(self, Self::Events) {
            return;
        }
        let event = serde_json::json!({ "event": name, "at": timestamp(), "data": body });
        render::text_out(&format!("{event}\n"));
    }
}

fn timestamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

fn style(with_length: bool) -> ProgressStyle {
    let template = if with_length {
        "{prefix:24!} {bar:24} {human_pos} of ~{human_len} rows  {msg}  {per_sec}  {eta} left"
    } else {
        "{prefix:24!} {spinner} {human_pos} rows  {msg}  {per_sec}"
    };
    ProgressStyle::with_template(template).expect("the template is a constant")
}

/// Shows one table.
#[derive(Clone)]
pub(crate) struct TableProgress {
    progress: Progress,
    bar: Option<ProgressBar>,
    bytes: Arc<AtomicU64>,
}

impl TableProgress {
    /// Rows that left the source.
    pub(crate) fn advance(&self, rows: u64, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(rows);
            let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            bar.set_message(HumanBytes(total).to_string());
        }
    }

    /// The table is through.
    pub(crate) fn finish(&self, report: &TableReport) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress.event("table_finished", report);
        let quiet = report.outcome == Outcome::Unchanged;
        if matches!(self.progress, Progress::Lines) && !quiet && report.failure.is_none() {
            if logging::is_json() {
                let mut fields = serde_json::json!(report);
                fields["message"] = "table finished".into();
                return render::event("INFO", &fields);
            }
            let (read, written) = (report.rows_read, report.rows_written);
            let (deleted, ms) = (report.rows_deleted, report.duration_ms);
            let table = &report.table;
            render::talk(&format!(
                "{table}: {read} rows read, {written} written, {deleted} deleted, {ms} ms\n"
            ));
        }
    }
}
