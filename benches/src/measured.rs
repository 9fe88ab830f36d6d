//! Runs commands and measures wall time and peak memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pause between two looks at a running process.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// What one command cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Wall time, start and exit of the process included.
    pub(crate) wall: Duration,
    /// Highest resident memory, if it was looked at.
    pub(crate) peak_bytes: Option<u64>,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.3} s", self.wall.as_secs_f64())?;
        match self.peak_bytes {
            Some(bytes) => write!(formatter, ", {} MB peak", bytes / 1_000_000),
            None => Ok(()),
        }
    }
}

/// Runs a shell pipeline that must succeed.
pub(crate) fn run_shell(script: &str) -> Measured {
    let started = Instant::now();
    let status = Command::new("bash")
        .args(["-o", "pipefail", "-c", script])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "failed: {script}"
    );
    Measured {
        wall: started.elapsed(),
        peak_bytes: None,
    }
}

/// Runs a pipeline once; kills the process after `kill_after`, if that is given.
pub(crate) fn run_syncset(
    binary: &Path,
    folder: &Path,
    name: &str,
    kill_after: Option<Duration>,
) -> Measured {
    let started = Instant::now();
    let mut child = Command::new(binary)
        .args(["pipeline", "run", name, "-C"])
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary exists: cargo build --release -p syncset");
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_bytes = None;
    let status = loop {
        if let Some(status) = child.try_wait().expect("our own child can be waited for") {
            break status;
        }
        peak_bytes = peak_of(&status_file).or(peak_bytes);
        if kill_after.is_some_and(|after| started.elapsed() >= after) {
            child.kill().expect("our own child can be killed");
        }
        std::thread::sleep(LOOK_PAUSE);
    };
    let wall = started.elapsed();
    assert!(
        status.success() || kill_after.is_some(),
        "`pipeline run {name}` failed: {status}"
    );
    Measured { wall, peak_bytes }
}

fn peak_of(status_file: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status_file).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
