//! A project folder and runs of the real binary in it.

use crate::SqliteFile;
use crate::process::Process;
use crate::terminal::{self, OnTerminal, Terminal};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Environment variable that names another binary to test.
const BINARY_VARIABLE: &str = "SYNCSET_TEST_BINARY";

/// Name of the binary that this package builds for its suites.
const BINARY_NAME: &str = "syncset-under-test";

/// No run of a test takes longer; one that does is killed and fails the test.
pub(crate) const RUN_DEADLINE: Duration = Duration::from_secs(180);

/// Variables of the developer's shell that would change what a run does.
const CLEARED_VARIABLES: [&str; 17] = [
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGDATABASE",
    "PGSSLMODE",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SYNCSET_FAIL_POINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "TRACEPARENT",
    "TRACESTATE",
];

/// A temporary project folder. Removed when it is dropped.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
    variables: BTreeMap<String, String>,
    /// Words before the binary.
    wrapper: Vec<String>,
    run_count: AtomicU32,
}

impl Project {
    /// A folder whose `syncset.yaml` holds this text.
    pub fn new(config: &str) -> Self {
        let project = Self::empty();
        project.file("syncset.yaml", config);
        project
    }

    /// A folder without any file.
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("syncset-project-")
            .tempdir()
            .expect("a temporary folder can be created");
        Self {
            folder,
            variables: BTreeMap::new(),
            wrapper: Vec::new(),
            run_count: AtomicU32::new(0),
        }
    }

    /// The text of a file.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path))
            .unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
    }

    /// A project with the connections `source` and `target`, given as URLs, and the shortest
    /// lease there is, so that takeovers do not hold up a test.
    pub fn between(source: &str, target: &str) -> Self {
        Self::new(&format!(
            "version: 1\n\
             lease: {{ expires: 5s }}\n\
             connections:\n\
             \x20 source: {}\n\
             \x20 target: {}\n",
            connection(source),
            connection(target)
        ))
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `pipelines/<name>.yaml`.
    pub fn pipeline(&self, name: &str, text: &str) -> &Self {
        self.file(&format!("pipelines/{name}.yaml"), text)
    }

    /// Writes a file, and the folders above it.
    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.path().join(path);
        let parent = path.parent().expect("a file in the project has a folder");
        std::fs::create_dir_all(parent).expect("folders of the project can be created");
        std::fs::write(&path, text).expect("files of the project can be written");
        self
    }

    /// An SQLite file in the project's folder.
    pub fn sqlite(&self, name: &str) -> SqliteFile {
        SqliteFile::new(self.path().join(name))
    }

    /// Sets a variable of the environment for all later runs.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts these words before the binary in all later runs.
    pub fn start_by(&mut self, words: Vec<String>) -> &mut Self {
        self.wrapper = words;
        self
    }

    /// Runs the binary in the folder and waits for its end.
    ///
    /// # Panics
    /// If it runs for more than three minutes.
    pub async fn syncset<I>(&self, arguments: I) -> Output
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.spawn(arguments).wait().await
    }

    /// Starts the binary in the folder.
    pub fn spawn<I>(&self, arguments: I) -> Process
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.spawn_with(arguments, &[])
    }

    /// Starts the binary on a terminal of so many columns.
    pub fn spawn_on_terminal<I>(
        &self,
        arguments: I,
        variables: &[(&str, &str)],
        columns: u16,
        which: OnTerminal,
    ) -> Terminal
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let columns = NonZero::new(columns).expect("a terminal has columns");
        let wrapper = terminal::words(columns, which);
        let command = self.command(&wrapper, arguments, variables);
        let number = self.run_count.fetch_add(1, Ordering::Relaxed);
        let process = Process::start_piped(command, self.path(), number);
        Terminal::watch(process, columns)
    }

    /// Starts the binary with more variables, such as `("SYNCSET_FAIL_POINT", "name=exit9")`.
    pub fn spawn_with<I>(&self, arguments: I, variables: &[(&str, &str)]) -> Process
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let command = self.command(&self.wrapper, arguments, variables);
        let number = self.run_count.fetch_add(1, Ordering::Relaxed);
        Process::start(command, self.path(), number)
    }

    fn command<I>(
        &self,
        wrapper: &[String],
        arguments: I,
        variables: &[(&str, &str)],
    ) -> tokio::process::Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let wrapper = wrapper.iter().map(OsString::from);
        let mut words = wrapper.chain([binary().into()]);
        let program = words.next().expect("the binary is one of the words");
        let mut command = tokio::process::Command::new(program);
        command.args(words);
        for variable in CLEARED_VARIABLES {
            command.env_remove(variable);
        }
        command
            .args(arguments)
            .current_dir(self.path())
            .env("NO_COLOR", "1")
            .env("TZ", "UTC")
            .envs(&self.variables)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// Folder of the workspace, which holds the documentation and the examples.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package is in a workspace")
        .to_owned()
}

fn connection(url: &str) -> String {
    let (scheme, _) = url.split_once(':').expect("a URL has a scheme");
    format!("{{ type: {scheme}, url: \"{url}\" }}")
}

/// The binary under test, built by Cargo beside the test binary.
pub fn binary() -> PathBuf {
    for variable in [BINARY_VARIABLE, "CARGO_BIN_EXE_syncset-under-test"] {
        if let Some(path) = std::env::var_os(variable) {
            return PathBuf::from(path);
        }
    }
    let this = std::env::current_exe().expect("a process knows its own file");
    let profile = this.parent().and_then(Path::parent);
    profile
        .expect("test binaries are two folders below the target folder")
        .join(BINARY_NAME)
}

/// How a run ended and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 + number if a signal ended it.
    pub code: i32,
    /// Results.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
    /// Folder of the project, for [`snapshot`](Self::snapshot).
    pub(crate) folder: PathBuf,
}

impl Output {
    /// # Panics
    /// If the exit code is another one; the message holds what was printed.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "unexpected exit code\nstdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// # Panics
    /// If the exit code is not 0.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// If it is not one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.stdout))
    }

    /// Everything as one text for inline snapshots; what changes from run to run is replaced.
    pub fn snapshot(&self) -> String {
        let mut text = format!("exit: {}\n", self.code);
        for (title, content) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !content.is_empty() {
                text.push_str(&format!("{title}:\n{}\n", content.trim_end()));
            }
        }
        filtered(&text, &self.folder)
    }
}

/// Replaces folders, ports, names made unique, ids, instants, durations and rates.
fn filtered(text: &str, folder: &Path) -> String {
    let mut text = text.replace(&folder.display().to_string(), "[folder]");
    let unique = format!(r"_{}_\d+\b", std::process::id());
    let filters = [
        (unique.as_str(), ""),
        (r"(127\.0\.0\.1|localhost):\d+", "$1:[port]"),
        (
            r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
            "[id]",
        ),
        (
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?",
            "[instant]",
        ),
        (r"\b[\d.,]+ ?(rows|[kMG]?i?B)/s", "[rate]"),
        (r"\b\d+(\.\d+)? ?(ns|us|µs|ms|s)\b", "[time]"),
        (r"\bpid \d+", "pid [pid]"),
        (r"\brun [0-9a-f]{8}([0-9a-f]{24})?\b", "run [run]"),
    ];
    for (pattern, replacement) in filters {
        let pattern = regex::Regex::new(pattern).expect("the filter is valid");
        text = pattern.replace_all(&text, replacement).into_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_hides_what_changes_from_run_to_run() {
        let output = Output {
            code: 9,
            stdout: String::new(),
            stderr: format!(
                "error: lost 127.0.0.1:54999 in /tmp/x/a.yaml after 1.5 s at 2026-01-02T03:04:05Z \
                 of shop_{}_7, 12,000 rows/s\n",
                std::process::id()
            ),
            folder: PathBuf::from("/tmp/x"),
        };

        assert_eq!(
            output.snapshot(),
            "exit: 9\nstderr:\nerror: lost 127.0.0.1:[port] in [folder]/a.yaml after [time] at \
             [instant] of shop, [rate]\n"
        );
    }
}
