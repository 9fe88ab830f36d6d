//! What is seen while a run goes on: lines that change on a terminal, a line a minute elsewhere,
//! NDJSON events. Never a result, and never in a file or a pipe that holds one. An observer is told
//! the same, and more.

mod line;
mod screen;

use crate::cli::args::Output;
use crate::cli::{pipeline, render};
use crate::logging;
use crate::observer::{RunObserver, UnitBegun, UnitWatch};
use crate::planned::PlannedTable;
use crate::report::{HookReport, Outcome, RunReport, TableReport};
use line::{Reading, said};
pub(crate) use screen::undisturbed;
use screen::{Place, Screen};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Where nobody watches, a run that is shorter says nothing on the way: its summary does. A longer
/// one says so often how far each table is.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// How the run shows itself, and to whom. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress {
    view: View,
    observer: Option<Arc<dyn RunObserver>>,
}

#[derive(Clone)]
enum View {
    /// Lines on stderr that are drawn again and again.
    Screen(Screen),
    /// Lines on stderr, one after another, of a run that began at this time.
    Lines(Instant),
    /// JSON events on stdout.
    Events,
    /// Nothing; the report at the end says it all.
    Silent,
}

impl Progress {
    /// For a person at a terminal, for a log elsewhere, events if asked for.
    pub(crate) fn new(output: Output, pipeline: &str) -> Self {
        Self::of(match output {
            Output::Ndjson => View::Events,
            Output::Json | Output::Junit => View::Silent,
            Output::Text if is_watched() => View::Screen(Screen::new(pipeline)),
            Output::Text => View::Lines(Instant::now()),
        })
    }

    /// Nothing is shown.
    pub(crate) fn silent() -> Self {
        Self::of(View::Silent)
    }

    fn of(view: View) -> Self {
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

    /// The run is over: what was drawn is taken away, before results are printed.
    pub(crate) fn finished(&self, report: &RunReport) {
        if let View::Screen(screen) = &self.view {
            screen.close();
        }
        self.event("run_finished", report);
        if let Some(observer) = &self.observer {
            observer.run_finished(report);
        }
    }

    /// Starts to show a table.
    pub(crate) fn table(&self, planned: &PlannedTable) -> TableProgress {
        if let View::Screen(screen) = &self.view {
            screen.expect_table();
        }
        if let Some(observer) = &self.observer {
            observer.table_planned(planned);
        }
        TableProgress(Arc::new(Shown {
            progress: self.clone(),
            seen: Arc::new(Seen::new(planned.stream())),
            place: Mutex::default(),
            said_at: Mutex::new(Instant::now()),
        }))
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

/// Whether somebody watches who can be shown lines that change. What runs in CI often has a
/// terminal that nobody watches, and keeps all that is drawn.
fn is_watched() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !logging::is_json() && !is_dumb && !is_set("CI")
}

fn timestamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// What was seen of a table so far.
struct Seen {
    name: String,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Rows that it probably has; zero: nobody knows.
    expected: AtomicU64,
    /// When its first rows came.
    began: OnceLock<Instant>,
}

impl Seen {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            began: OnceLock::new(),
        }
    }

    fn reading(&self) -> Reading<'_> {
        let expected = self.expected.load(Ordering::Relaxed);
        Reading {
            name: &self.name,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            expected: (expected > 0).then_some(expected),
            elapsed: self.began.get().map(Instant::elapsed).unwrap_or_default(),
        }
    }
}

/// Shows one table; clones show the same.
#[derive(Clone)]
pub(crate) struct TableProgress(Arc<Shown>);

struct Shown {
    progress: Progress,
    seen: Arc<Seen>,
    /// Its place on the screen.
    place: Mutex<Place>,
    /// When something was said of it.
    said_at: Mutex<Instant>,
}

impl TableProgress {
    /// About so many rows are to be read.
    pub(crate) fn expect(&self, rows: u64) {
        self.0.seen.expected.store(rows, Ordering::Relaxed);
    }

    /// Rows that left the source.
    pub(crate) fn advance(&self, rows: u64, bytes: u64) {
        let Shown { seen, place, .. } = &*self.0;
        seen.began.get_or_init(Instant::now);
        seen.rows.fetch_add(rows, Ordering::Relaxed);
        seen.bytes.fetch_add(bytes, Ordering::Relaxed);
        match &self.0.progress.view {
            View::Screen(screen) => {
                let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                screen.show(seen, &mut place);
            }
            View::Lines(_) if self.is_due() => say(seen),
            _ => {}
        }
    }

    /// Whether it is time to say something again.
    fn is_due(&self) -> bool {
        let said_at = self.0.said_at.lock();
        let mut said_at = said_at.unwrap_or_else(PoisonError::into_inner);
        let is_due = said_at.elapsed() >= LINE_EVERY;
        if is_due {
            *said_at = Instant::now();
        }
        is_due
    }

    /// The table is worked on, for the first time or once more.
    pub(crate) fn start(&self, stream: &str) {
        if let Some(observer) = &self.0.progress.observer {
            observer.table_started(stream);
        }
    }

    /// A unit begins. `table`: its table as it is before.
    pub(crate) fn unit(&self, unit: &UnitBegun<'_>, table: &TableReport) -> UnitWatch {
        UnitWatch::start(self.0.progress.observer.as_ref(), unit, table)
    }

    /// The table is through.
    pub(crate) fn finish(&self, report: &TableReport) {
        let progress = &self.0.progress;
        if let Some(observer) = &progress.observer {
            observer.table_finished(&report.table);
        }
        progress.event("table_finished", report);
        match &progress.view {
            View::Screen(screen) => {
                let place = self.0.place.lock();
                let mut place = place.unwrap_or_else(PoisonError::into_inner);
                screen.finish(&mut place, report.failure.is_some());
            }
            View::Lines(started) => {
                let is_quiet = report.outcome == Outcome::Unchanged || report.failure.is_some();
                if !is_quiet {
                    say_finished(report, *started);
                }
            }
            View::Events | View::Silent => {}
        }
    }
}

/// Says how far a table is, for a log.
fn say(seen: &Seen) {
    let reading = seen.reading();
    if !logging::is_json() {
        if is_wanted() {
            render::talk(&format!("{}\n", said(&reading)));
        }
        return;
    }
    let fields = serde_json::json!({
        "message": "table under way",
        "table": reading.name,
        "rows_read": reading.rows,
        "bytes_read": reading.bytes,
        "rows_expected": reading.expected,
    });
    render::event("INFO", &fields);
}

fn say_finished(report: &TableReport, started: Instant) {
    if logging::is_json() {
        let mut fields = serde_json::json!(report);
        fields["message"] = "table finished".into();
        return render::event("INFO", &fields);
    }
    if started.elapsed() >= LINE_EVERY && is_wanted() {
        let counts = pipeline::counts(report, false);
        render::talk(&format!("{}: {counts}\n", report.table));
    }
}

/// Whether the log tells more than errors.
fn is_wanted() -> bool {
    tracing::enabled!(tracing::Level::WARN)
}
