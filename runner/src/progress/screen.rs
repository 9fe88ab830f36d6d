//! Lines at the end of a terminal that are drawn again and again: one per table under way, one for
//! the run.

use super::Seen;
use super::line::{Standing, run_line, table_line};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Tables that are shown at the same time; more would push everything else off the screen.
const TABLES_MAX: usize = 8;

/// How often a line is drawn while nothing happens, so that its time goes on.
const TICK: Duration = Duration::from_millis(250);

/// Columns where the terminal does not say how many it has.
const WIDTH_DEFAULT: usize = 80;

/// What is drawn at this moment, for whoever else writes to the terminal.
static DRAWN: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// Writes to stderr while nothing is drawn there.
pub(crate) fn undisturbed<T>(write: impl FnOnce() -> T) -> T {
    let drawn = DRAWN.read().unwrap_or_else(PoisonError::into_inner);
    match drawn.as_ref() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

fn set_drawn(bars: Option<MultiProgress>) {
    *DRAWN.write().unwrap_or_else(PoisonError::into_inner) = bars;
}

/// What a run shows on a terminal. Clones are the same screen.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    run: ProgressBar,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    pipeline: String,
    tables: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicUsize,
    shown: AtomicUsize,
}

/// Where a table stands on the screen.
#[derive(Default)]
pub(super) enum Place {
    /// Nowhere yet.
    #[default]
    None,
    /// In this line.
    Line(ProgressBar),
    /// It is through.
    Gone,
}

impl Screen {
    pub(super) fn new(pipeline: &str) -> Self {
        let tally = Arc::new(Tally {
            pipeline: pipeline.to_owned(),
            ..Tally::default()
        });
        let bars = MultiProgress::new();
        let run = bars.add(ProgressBar::no_length());
        let counted = tally.clone();
        run.set_style(style(move |state| {
            let standing = Standing {
                pipeline: &counted.pipeline,
                tables: counted.tables.load(Ordering::Relaxed),
                done: counted.done.load(Ordering::Relaxed),
                failed: counted.failed.load(Ordering::Relaxed),
                elapsed: state.elapsed(),
            };
            run_line(&standing, columns())
        }));
        set_drawn(Some(bars.clone()));
        run.tick();
        run.enable_steady_tick(TICK);
        Self { bars, run, tally }
    }

    /// One more table belongs to the run.
    pub(super) fn expect_table(&self) {
        self.tally.tables.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows a table, if there is room for it.
    pub(super) fn show(&self, seen: &Arc<Seen>, place: &mut Place) {
        if !matches!(place, Place::None) {
            return;
        }
        let shown = &self.tally.shown;
        let has_room = |count: usize| (count < TABLES_MAX).then_some(count + 1);
        let taken = shown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room);
        if taken.is_err() {
            return;
        }
        let bar = ProgressBar::no_length();
        let bar = self.bars.insert_before(&self.run, bar);
        let seen = seen.clone();
        bar.set_style(style(move |_| table_line(&seen.reading(), columns())));
        bar.tick();
        bar.enable_steady_tick(TICK);
        *place = Place::Line(bar);
    }

    /// A table is through.
    pub(super) fn finish(&self, place: &mut Place, has_failed: bool) {
        match std::mem::replace(place, Place::Gone) {
            Place::None => {}
            Place::Line(bar) => {
                bar.finish_and_clear();
                self.bars.remove(&bar);
                self.tally.shown.fetch_sub(1, Ordering::Relaxed);
            }
            Place::Gone => return,
        }
        self.tally.done.fetch_add(1, Ordering::Relaxed);
        self.tally
            .failed
            .fetch_add(usize::from(has_failed), Ordering::Relaxed);
    }

    /// Takes everything off the terminal.
    pub(super) fn close(&self) {
        self.run.finish_and_clear();
        set_drawn(None);
    }
}

fn style(text: impl Fn(&ProgressState) -> String + Clone + Send + Sync + 'static) -> ProgressStyle {
    let line = move |state: &ProgressState, out: &mut dyn Write| {
        // A line is written into memory.
        let _ = out.write_str(&text(state));
    };
    ProgressStyle::with_template("{line}")
        .expect("the template is a constant")
        .with_key("line", line)
}

/// Columns a line may take: one less than there are, so that no terminal begins another line.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    match columns {
        0 => WIDTH_DEFAULT - 1,
        columns => columns - 1,
    }
}
