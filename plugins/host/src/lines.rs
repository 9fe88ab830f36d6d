//! Lines that guests log: told at once, or held until it is known whether their call counts.

use crate::bindings::syncset::plugin::host::Level;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    /// Lines of the work that is held on this thread; `None`: nothing is.
    static HELD: RefCell<Option<Vec<Line>>> = const { RefCell::new(None) };
}

/// What guests logged during a piece of work. Dropped, it is never told.
#[derive(Debug, Default)]
#[must_use]
pub struct Lines(Vec<Line>);

/// One line, without secrets.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) plugin: Arc<str>,
    pub(crate) level: Level,
    pub(crate) message: String,
}

/// Does `work` on this thread, and keeps what guests log in it: while a row is looked for, most
/// calls say what another one says, too.
pub fn hold<T>(work: impl FnOnce() -> T) -> (T, Lines) {
    let before = HELD.replace(Some(Vec::new()));
    let done = work();
    let held = HELD.replace(before);
    (done, Lines(held.unwrap_or_default()))
}

impl Lines {
    /// Logs them.
    pub fn tell(self) {
        self.0.into_iter().for_each(Line::tell);
    }

    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.0.iter().map(|line| line.message.as_str()).collect()
    }

    /// Logs the last one: SDKs leave the text of an exception there.
    pub fn tell_last(mut self) {
        if let Some(line) = self.0.pop() {
            line.tell();
        }
    }
}

impl Line {
    /// Logs it, or leaves that to whoever holds the work.
    pub(crate) fn tell(self) {
        let own = HELD.with_borrow_mut(|held| match held {
            Some(held) => {
                held.push(self);
                None
            }
            None => Some(self),
        });
        let Some(line) = own else {
            return;
        };
        let (plugin, message) = (&*line.plugin, line.message);
        match line.level {
            Level::Trace => tracing::trace!(plugin, "{message}"),
            Level::Debug => tracing::debug!(plugin, "{message}"),
            Level::Info => tracing::info!(plugin, "{message}"),
            Level::Warn => tracing::warn!(plugin, "{message}"),
            Level::Error => tracing::error!(plugin, "{message}"),
        }
    }
}
