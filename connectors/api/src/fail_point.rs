//! Named points at which the crash tests stop the process; nothing without the feature.

/// Stops the process here if `SYNCSET_FAIL_POINT` names this point.
///
/// `NAME=exit9` kills the process as `kill -9` does, `NAME=stop` stops it as SIGSTOP does, and
/// `NAME:3=...` waits for the third time the point is reached.
#[cfg(feature = "fail-points")]
pub fn fail_point(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::atomic::{AtomicU64, Ordering};

    static HITS: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("SYNCSET_FAIL_POINT") else {
        return;
    };
    let Some((point, action)) = wanted.split_once('=') else {
        return;
    };
    let (point, count) = point.split_once(':').unwrap_or((point, "1"));
    if point != name {
        return;
    }
    let hit = HITS.fetch_add(1, Ordering::SeqCst) + 1;
    if count.parse() != Ok(hit) {
        return;
    }
    let signal = match action {
        "stop" => Signal::STOP,
        _ => Signal::KILL,
    };
    let sent = kill_process(getpid(), signal);
    assert!(sent.is_ok(), "a process may signal itself");
    // Another thread may be the one to take the signal and to stop all others. Until it is
    // scheduled, which takes its time on a busy machine, this one must not go on past the point.
    while is_pending(signal) {
        std::thread::yield_now();
    }
}

/// Whether a signal to this process waits for one of its threads to take it.
#[cfg(feature = "fail-points")]
fn is_pending(signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let pending = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    pending.is_some_and(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
}

/// Does nothing in this build.
#[cfg(not(feature = "fail-points"))]
pub fn fail_point(_name: &str) {}
