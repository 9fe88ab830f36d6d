//! A run of the binary that a test stops, continues and kills.

use crate::project::{Output, RUN_DEADLINE};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// A started run. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    folder: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts the command. What it prints goes to files, so that a run that nobody listens to
    /// never blocks on a full pipe.
    pub(crate) fn start(mut command: Command, folder: &Path, number: u32) -> Self {
        let (stdout, stderr) = outputs(folder, number);
        command.stdout(create(&stdout)).stderr(create(&stderr));
        Self::spawn(command, folder, stdout, stderr)
    }

    /// Starts the command with a pipe as its standard output, which has to be taken.
    pub(crate) fn start_piped(mut command: Command, folder: &Path, number: u32) -> Self {
        let (stdout, stderr) = outputs(folder, number);
        create(&stdout);
        command.stdout(Stdio::piped()).stderr(create(&stderr));
        Self::spawn(command, folder, stdout, stderr)
    }

    fn spawn(mut command: Command, folder: &Path, stdout: PathBuf, stderr: PathBuf) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("could not start the binary under test: {error}"));
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .expect("a process that was not waited for has an id");
        Self {
            child,
            pid,
            folder: folder.to_owned(),
            stdout,
            stderr,
        }
    }

    /// The pipe of a process that was started with one.
    pub(crate) fn take_stdout(&mut self) -> File {
        let pipe = self
            .child
            .stdout
            .take()
            .expect("it was started with a pipe");
        let pipe = pipe.into_owned_fd().expect("a pipe is a file");
        ioctl_fionbio(&pipe, false).expect("a pipe can be waited for");
        File::from(pipe)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Kills it in a way it cannot notice. No error if it has ended.
    pub fn kill9(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks it to end, as service managers do.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Freezes it where it is.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends a signal. No error if it has ended.
    fn signal(&self, signal: Signal) {
        // It may have ended and not be waited for yet, or just have been: both are fine.
        let _ = kill_process(self.pid, signal);
    }

    /// What it has printed to standard output so far.
    pub fn stdout_so_far(&self) -> String {
        text_of(&self.stdout)
    }

    /// What it has printed to standard error so far.
    pub fn stderr_so_far(&self) -> String {
        text_of(&self.stderr)
    }

    /// Waits until it is frozen, by a signal or by a fail point. False if it ended instead.
    ///
    /// # Panics
    /// If neither happens within three minutes.
    pub async fn frozen(&self) -> bool {
        let pid = self.pid;
        // Leaves the state where it is: the end of the process is still there for `wait`.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let waiting = tokio::task::spawn_blocking(move || waitid(WaitId::Pid(pid), options));
        let state = tokio::time::timeout(RUN_DEADLINE, waiting).await;
        let Ok(Ok(state)) = state else {
            self.kill9();
            panic!(
                "the run neither stopped nor ended: {}",
                self.stderr_so_far()
            );
        };
        matches!(state, Ok(Some(status)) if status.stopped())
    }

    /// True once it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end, but not longer than this; true if it has ended.
    pub async fn ends_within(&mut self, limit: Duration) -> bool {
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        ended.is_ok()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it runs for more than three minutes.
    pub async fn wait(mut self) -> Output {
        let Ok(status) = tokio::time::timeout(RUN_DEADLINE, self.child.wait()).await else {
            self.kill9();
            panic!(
                "the run did not end within {} seconds\nstdout:\n{}\nstderr:\n{}",
                RUN_DEADLINE.as_secs(),
                self.stdout_so_far(),
                self.stderr_so_far()
            );
        };
        Output {
            code: exit_code(status.expect("a child process can be waited for")),
            stdout: self.stdout_so_far(),
            stderr: self.stderr_so_far(),
            folder: self.folder,
        }
    }
}

/// Where a run prints to.
fn outputs(folder: &Path, number: u32) -> (PathBuf, PathBuf) {
    let output = folder.join(".output");
    std::fs::create_dir_all(&output).expect("folders of the project can be created");
    let path = |stream: &str| output.join(format!("{number}.{stream}"));
    (path("stdout"), path("stderr"))
}

fn create(path: &Path) -> File {
    File::create(path).expect("files can be created")
}

fn exit_code(status: ExitStatus) -> i32 {
    let by_signal = || status.signal().map(|signal| 128 + signal);
    status
        .code()
        .or_else(by_signal)
        .expect("a process ends by itself or by a signal")
}

fn text_of(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("the output of a run is kept");
    String::from_utf8_lossy(&bytes).into_owned()
}
