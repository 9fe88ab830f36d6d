//! Runs commands and measures wall time and peak memory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Pause between two looks at the memory of a running process.
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

/// Runs a pipeline once, to its end.
pub(crate) fn run_syncset(binary: &Path, folder: &Path, name: &str) -> Measured {
    run_verb(binary, folder, &["pipeline", "run", name], 0)
}

/// Runs a verb that must end with this exit code.
pub(crate) fn run_verb(binary: &Path, folder: &Path, words: &[&str], code: i32) -> Measured {
    let started = Instant::now();
    let mut child = spawn_syncset(binary, folder, words);
    let status_file = format!("/proc/{}/status", child.id());
    let watched = std::thread::spawn(move || {
        let mut peak_bytes = None;
        while let Some(bytes) = peak_of(&status_file) {
            peak_bytes = Some(bytes);
            std::thread::sleep(LOOK_PAUSE);
        }
        peak_bytes
    });
    let status = child.wait().expect("our own child can be waited for");
    let wall = started.elapsed();
    assert!(
        status.code() == Some(code),
        "`{}` ended with {status}",
        words.join(" ")
    );
    let peak_bytes = watched.join().expect("watching does not panic");
    Measured { wall, peak_bytes }
}

/// Runs a pipeline and kills it after a while.
pub(crate) fn kill_syncset(binary: &Path, folder: &Path, name: &str, after: Duration) {
    let mut child = spawn_syncset(binary, folder, &["pipeline", "run", name]);
    std::thread::sleep(after);
    child.kill().expect("our own child can be killed");
    child.wait().expect("our own child can be waited for");
}

fn spawn_syncset(binary: &Path, folder: &Path, words: &[&str]) -> Child {
    Command::new(binary)
        .args(words)
        .arg("-C")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary exists: cargo build --release -p syncset")
}

/// The middle one of an odd number of runs.
pub(crate) fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_unstable_by_key(|run| run.wall);
    runs[runs.len() / 2]
}

fn peak_of(status_file: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status_file).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
