//! How a run is asked to end early: a signal, a lost lease, a spent time budget.

use crate::exit_code;
use crate::failure::Failure;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use syncset_plugin_host::Interrupt;
use tokio::sync::watch;

/// Shared by everything that works for one run; cheap to clone.
#[derive(Clone)]
pub(crate) struct Stop {
    sender: Arc<watch::Sender<Option<Failure>>>,
    /// How many signals came so far.
    signals: Arc<watch::Sender<u32>>,
    deadline: Option<Instant>,
    budget: Option<Duration>,
}

impl Stop {
    /// Nothing has asked yet; `max_duration` starts to count.
    pub(crate) fn new(max_duration: Option<Duration>) -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(None)),
            signals: Arc::default(),
            deadline: max_duration.map(|duration| Instant::now() + duration),
            budget: max_duration,
        }
    }

    /// Asks everything to end. The first reason stays.
    pub(crate) fn request(&self, reason: Failure) {
        self.sender.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    /// The reason to end now, if there is one. Asked between units.
    pub(crate) fn reason(&self) -> Option<Failure> {
        if let Some(reason) = self.sender.borrow().clone() {
            return Some(reason);
        }
        let (deadline, budget) = (self.deadline?, self.budget?);
        (Instant::now() >= deadline).then(|| {
            let budget = humantime::format_duration(budget);
            Failure::new(
                exit_code::RETRY,
                format!("the time budget of {budget} is spent"),
            )
            .with_hint("run again: it resumes where this run ended")
        })
    }

    /// Ends when somebody asks; the time budget is not waited for, units in flight may finish.
    pub(crate) async fn requested(&self) -> Failure {
        let mut receiver = self.sender.subscribe();
        let reason = receiver.wait_for(Option::is_some).await;
        let reason = reason.expect("the sender lives in self");
        reason.clone().expect("waited for a reason")
    }

    /// The reason to end in place of the failure of what was ended for it.
    pub(crate) fn instead_of(&self, failure: Failure) -> Failure {
        let is_stop = failure.exit_code == exit_code::INTERRUPTED;
        let reason = self.sender.borrow().clone();
        reason.filter(|_| is_stop).unwrap_or(failure)
    }

    /// Ends calls of plugins as soon as somebody asks.
    pub(crate) fn interrupts(&self, plugins: &Interrupt) {
        let (stop, plugins) = (self.clone(), plugins.clone());
        tokio::spawn(async move {
            stop.requested().await;
            plugins.request();
        });
    }

    /// Does nothing for so long, or until there is a reason to end. Returns for how long.
    pub(crate) async fn rest(&self, duration: Duration) -> Duration {
        if duration.is_zero() {
            return duration;
        }
        let began = Instant::now();
        let left = self
            .deadline
            .map_or(Duration::MAX, |end| end.saturating_duration_since(began));
        tokio::select! {
            () = tokio::time::sleep(duration.min(left)) => {}
            _ = self.requested() => {}
        }
        began.elapsed()
    }

    /// Whether anybody has asked, the time budget apart.
    pub(crate) fn is_requested(&self) -> bool {
        self.sender.borrow().is_some()
    }

    /// Ends when somebody asks for the first time, or with the next signal if somebody has: what
    /// still has to be done after a stop can be stopped too. What came before this call is what
    /// came before, however late the future is polled.
    pub(crate) fn asked_again(&self) -> impl Future<Output = Failure> {
        let mut signals = self.signals.subscribe();
        let was_requested = self.is_requested();
        let stop = self.clone();
        async move {
            if was_requested {
                // The sender lives in `stop`, so this ends with a signal only.
                let _ = signals.changed().await;
            }
            stop.requested().await
        }
    }

    /// Turns SIGINT and SIGTERM into requests, for as long as the runtime lives.
    pub(crate) fn on_signals(&self) -> Result<(), Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [
            (SignalKind::interrupt(), exit_code::INTERRUPTED, "SIGINT"),
            (SignalKind::terminate(), exit_code::TERMINATED, "SIGTERM"),
        ];
        for (kind, code, name) in signals {
            let mut signal = signal(kind).map_err(|error| {
                let message = format!("cannot listen for signals: {error}");
                Failure::new(exit_code::FAILED, message)
            })?;
            let stop = self.clone();
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    let reason = Failure::new(code, format!("stopped by {name}"))
                        .with_hint("run again: it resumes where this run ended");
                    stop.request(reason);
                    stop.signals.send_modify(|count| *count += 1);
                }
            });
        }
        Ok(())
    }
}

/// Seconds since the epoch by our clock; for reports and ages, never for a watermark.
pub(crate) fn seconds_since_epoch() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn signal_that_comes_before_the_first_poll_is_heeded() {
        let stop = Stop::new(None);
        let signal = || {
            stop.request(Failure::new(exit_code::TERMINATED, "stopped"));
            stop.signals.send_modify(|count| *count += 1);
        };

        let first = stop.asked_again();
        signal();
        let second = stop.asked_again();

        assert!(first.now_or_never().is_some());
        assert!(second.now_or_never().is_none());
        let second = stop.asked_again();
        signal();
        assert!(second.now_or_never().is_some());
    }
}
