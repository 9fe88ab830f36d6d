//! Named points at which the crash tests stop the process; nothing without the feature.

/// Stops the process here if `SYNCSET_FAIL_POINT` names this point.
///
/// `NAME=exit9` kills the process as `kill -9` does, `NAME=stop` stops it as SIGSTOP does, and
/// `NAME:3=...` waits for the third time the point is reached.
#[cfg(feature = "fail-points")]
pub(crate) fn fail_point(name: &str) {
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
        "stop" => rustix::process::Signal::STOP,
        _ => rustix::process::Signal::KILL,
    };
    let sent = rustix::process::kill_process(rustix::process::getpid(), signal);
    assert!(sent.is_ok(), "a process may signal itself");
}

/// Does nothing in this build.
#[cfg(not(feature = "fail-points"))]
pub(crate) fn fail_point(_name: &str) {}
