//! One command: started in a process group of its own, fed, listened to, ended in time.

use super::redact::Redactor;
use crate::exit_code;
use crate::failure::Failure;
use crate::stop::Stop;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// What is kept of a command's output for the log: its end, where errors are.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// How long a group of processes has between SIGTERM and SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// How long the rest of the output is waited for once the command has ended: what it left running
/// may hold the pipe for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(300);

/// How a hook ended.
pub(super) enum Ended {
    /// Well.
    Done,
    /// With this exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// It took too long and was ended.
    TimedOut,
    /// The run was asked to stop, or lost its lease.
    Stopped(Failure),
    /// It could not be run.
    Failed(Failure),
}

/// A command to run.
pub(super) struct Program<'a> {
    pub(super) program: &'a str,
    pub(super) arguments: &'a [String],
    /// Besides those of this process.
    pub(super) variables: Vec<(String, String)>,
    pub(super) folder: &'a Path,
    /// What it reads on its standard input.
    pub(super) input: String,
    pub(super) timeout: Duration,
}

impl Program<'_> {
    /// Runs it to its end, or ends it with all processes of its group.
    pub(super) async fn run(self, stop: &Stop) -> (Ended, Output) {
        let output = Output::default();
        // From before the start on: a signal may come before the first look at it.
        let asked_again = stop.asked_again();
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            .envs(self.variables)
            .current_dir(self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let message = format!("`{}` cannot be started: {error}", self.program);
                let failure = Failure::new(exit_code::FAILED, message)
                    .with_hint("relative paths start at the project folder");
                return (Ended::Failed(failure), output);
            }
        };
        let group = Group::of(&child);
        let mut talk = tokio::task::JoinSet::new();
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (heard, complained) = (output.clone(), output.clone());
        talk.spawn(async move {
            if let Some(mut stdin) = stdin {
                // Most commands do not read it.
                let _ = stdin.write_all(self.input.as_bytes()).await;
            }
        });
        let mut ears = tokio::task::JoinSet::new();
        ears.spawn(heard.listen(stdout));
        ears.spawn(complained.listen(stderr));
        let ended = tokio::select! {
            status = child.wait() => {
                let _ = tokio::time::timeout(OUTPUT_GRACE, ears.join_all()).await;
                group.leave();
                how(status)
            }
            () = tokio::time::sleep(self.timeout) => {
                group.end(&mut child).await;
                Ended::TimedOut
            }
            reason = asked_again => {
                group.end(&mut child).await;
                Ended::Stopped(reason)
            }
        };
        (ended, output)
    }
}

fn how(status: std::io::Result<ExitStatus>) -> Ended {
    match status {
        Ok(status) if status.success() => Ended::Done,
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited(code),
            (None, signal) => Ended::Signalled(signal.unwrap_or_default()),
        },
        Err(error) => {
            let message = format!("its end could not be waited for: {error}");
            Ended::Failed(Failure::new(exit_code::FAILED, message))
        }
    }
}

/// The processes of a command: itself and what it started. Dropped, they are killed, so that
/// nothing of a hook outlives a run that gave it up.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // All of them may have ended.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Asks the processes to end, then makes them.
    async fn end(self, child: &mut Child) {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(KILL_GRACE, child.wait()).await;
        self.signal(Signal::KILL);
        let _ = tokio::time::timeout(KILL_GRACE, child.wait()).await;
        self.leave();
    }

    /// Lets whatever is left of the group go on.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The end of what a command printed, both outputs as they came. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    async fn listen(self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = vec![0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            let Ok(mut kept) = self.0.lock() else { return };
            kept.bytes.extend(buffer.iter().take(count));
            let excess = kept.bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
            kept.bytes.drain(..excess);
            kept.dropped += excess as u64;
        }
    }

    /// Writes it to the log: as a warning if the command failed.
    pub(super) fn log(&self, hook: &str, succeeded: bool, redactor: &Redactor) {
        let Ok(mut kept) = self.0.lock() else { return };
        let dropped = kept.dropped;
        let bytes = kept.bytes.make_contiguous();
        let text = redactor.redact(&String::from_utf8_lossy(bytes));
        if dropped > 0 {
            tracing::info!(hook, bytes = dropped, "hook printed more than is kept");
        }
        // The first line may be cut in the middle of a secret.
        let skipped = usize::from(dropped > 0);
        for line in text.lines().skip(skipped) {
            match succeeded {
                true => tracing::info!(hook, line, "hook printed"),
                false => tracing::warn!(hook, line, "hook printed"),
            }
        }
    }
}
