//! What is seen while a run goes on: bars on a terminal, quiet lines elsewhere, NDJSON events. An
//! observer is told the same, and more.

use crate::cli::args::Output;
use crate::cli::render;
use crate::logging;
use crate::observer::{RunObserver, UnitBegun, UnitWatch};
use crate::planned::PlannedTable;
use crate::report::{HookReport, Outcome, RunReport, TableReport};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the run shows itself, and to whom. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress {
    view: View,
    observer: Option<Arc<dyn RunObserver>>,
}

#[derive(Clone)]
enum View {
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
        let view = match output {
            Output::Ndjson => View::Events,
            Output::Json => View::Silent,
            Output::Text if std::io::stderr().is_terminal() && !logging::is_json() => {
                View::Bars(MultiProgress::new())
            }
            Output::Text => View::Lines,
        };
        Self {
            view,
            observer: None,
        }
    }

    /// The same, told to an observer too.
    pub(crate) fn told_to(mut self, observer: Option<Arc<dyn RunObserver>>) -> Self {
        self.observer = observer;
        self
    }

    /// The run begins.
    pub(crate) fn started(&self, report: &RunReport) {
        self.event("run_started", report);
        if let Some(observer) = &self.observer {
            observer.run_started(report);
        }
    }

    /// The run is over.
    pub(crate) fn finished(&self, report: &RunReport) {
        self.event("run_finished", report);
        if let Some(observer) = &self.observer {
            observer.run_finished(report);
        }
    }

    /// Starts to show a table.
    pub(crate) fn table(&self, planned: &PlannedTable) -> TableProgress {
        let rows_expected = planned.row_estimate;
        let bar = match &self.view {
            View::Bars(bars) => {
                let bar = match rows_expected {
                    Some(rows) if rows > 0 => ProgressBar::new(rows),
                    _ => ProgressBar::no_length(),
                };
                bar.set_style(style(rows_expected.is_some_and(|rows| rows > 0)));
                bar.set_prefix(planned.stream().to_owned());
                Some(bars.add(bar))
            }
            _ => None,
        };
        if let Some(observer) = &self.observer {
            observer.table_planned(planned);
        }
        TableProgress {
            progress: self.clone(),
            bar,
            bytes: Arc::default(),
        }
    }

    /// A hook begins. Returns variables for the environment of its command.
    pub(crate) fn hook_started(&self, hook: &HookReport) -> Vec<(String, String)> {
        let observer = self.observer.as_ref();
        observer.map_or_else(Vec::new, |observer| observer.hook_started(hook))
    }

    /// The hook that began last has ended.
    pub(crate) fn hook_ended(&self, hook: &HookReport) {
        if let Some(observer) = &self.observer {
            observer.hook_ended(hook);
        }
    }

    /// Emits an event, where events are emitted.
    fn event(&self, name: &str, body: &impl serde::Serialize) {
        if !matches!(self.view, View::Events) {
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

    /// The table is worked on, for the first time or once more.
    pub(crate) fn start(&self, stream: &str) {
        if let Some(observer) = &self.progress.observer {
            observer.table_started(stream);
        }
    }

    /// A unit begins. `table`: its table as it is before.
    pub(crate) fn unit(&self, unit: &UnitBegun<'_>, table: &TableReport) -> UnitWatch {
        UnitWatch::start(self.progress.observer.as_ref(), unit, table)
    }

    /// The table is through.
    pub(crate) fn finish(&self, report: &TableReport) {
        if let Some(observer) = &self.progress.observer {
            observer.table_finished(&report.table);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress.event("table_finished", report);
        let quiet = report.outcome == Outcome::Unchanged;
        if matches!(self.progress.view, View::Lines) && !quiet && report.failure.is_none() {
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
