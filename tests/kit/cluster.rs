//! A PostgreSQL cluster in a temporary folder: finds the binaries, creates, starts and stops it.
//!
//! Nothing here is async: a cluster may be started from any runtime and outlives all of them.
//! A watchdog process reads a pipe that only this process holds; when the pipe closes, for
//! whatever reason this process ended, the watchdog stops the server and removes the folder.

use crate::account::{Folder, ServerUser, command_as};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Environment variable that names the folder of `initdb` and `pg_ctl`.
const BINARIES_VARIABLE: &str = "SYNCSET_TEST_PG_BIN";

/// Where distributions put one folder per major version.
const VERSIONED_BINARIES: &str = "/usr/lib/postgresql";

/// Another process may take the port between our look and the server's bind.
const START_TRIES_MAX: u32 = 5;

/// Transactions of which one file of `pg_xact` holds what became of them.
const TRANSACTIONS_PER_FILE: u32 = 1 << 20;

/// What every cluster is configured with; later lines win.
const CONFIG: &str = "\
listen_addresses = '127.0.0.1'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
max_prepared_transactions = 64
wal_level = logical
# Tests read what they wrote to the log while others go on.
wal_keep_size = 512MB
max_wal_senders = 10
max_replication_slots = 20
log_line_prefix = '@@%d@%u@%p@%a@@ '
timezone = 'UTC'
";

/// `postgres` needs no password; every other role has to give one.
const ACCESS: &str = "\
local all all trust
host all postgres 127.0.0.1/32 trust
host replication postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

/// What the watchdog runs: `$1` is `pg_ctl`, `$2` the folder of the cluster.
const WATCHDOG: &str =
    "read line; \"$1\" stop -s -m immediate -D \"$2/data\" >/dev/null 2>&1; rm -rf \"$2\"";

/// A running cluster. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    user: Option<ServerUser>,
    port: u16,
    watchdog: Child,
}

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are ended, data is written: an orderly shutdown.
    Fast,
    /// Processes end at once, as in a crash; the next start recovers.
    Immediate,
}

impl StopMode {
    fn flag(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

impl Cluster {
    /// Creates and starts a cluster. `config` is appended to `postgresql.conf`.
    ///
    /// # Panics
    /// If no binaries are found or the server does not start; the message says what to do.
    pub(crate) fn start(config: &str) -> Self {
        let binaries = find_binaries();
        let folder = Folder::create("syncset-pg-");
        let (folder, user) = (folder.path().to_owned(), folder.user());
        // The watchdog comes first, so that a half-made cluster is removed too.
        let watchdog = start_watchdog(&binaries, &folder, user);
        let mut cluster = Self {
            folder,
            binaries,
            user,
            port: 0,
            watchdog,
        };
        cluster.init(config);
        cluster.start_on_free_port();
        cluster
    }

    /// Copies a running cluster and starts the copy as its streaming standby.
    ///
    /// # Panics
    /// If the copy cannot be made or does not start.
    pub(crate) fn standby_of(primary: &Self, config: &str) -> Self {
        let folder = Folder::create("syncset-pg-");
        let (folder, user) = (folder.path().to_owned(), folder.user());
        let watchdog = start_watchdog(&primary.binaries, &folder, user);
        let mut cluster = Self {
            folder,
            binaries: primary.binaries.clone(),
            user,
            port: 0,
            watchdog,
        };
        let mut copy = command_as(
            user,
            cluster.binaries.join("pg_basebackup"),
            &cluster.folder,
        );
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream"])
            .args(["--checkpoint=fast", "--no-sync"])
            .args(["-p", &primary.port.to_string()])
            .arg("-D")
            .arg(cluster.data());
        run(&mut copy).unwrap_or_else(|output| panic!("pg_basebackup failed: {output}"));
        let socket = format!("unix_socket_directories = '{}'\n", cluster.folder.display());
        cluster.append_config(&format!("{socket}{config}\n"));
        cluster.start_on_free_port();
        cluster
    }

    /// Makes a standby a primary of its own.
    pub(crate) fn promote(&self) {
        self.control(["promote"])
            .unwrap_or_else(|output| panic!("could not promote the standby: {output}"));
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Folder of the unix socket and of everything else.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything the server has logged.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).expect("the log of a started server exists");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Stops the server.
    pub(crate) fn stop(&self, mode: StopMode) {
        self.control(["stop", "-m", mode.flag()])
            .unwrap_or_else(|output| panic!("could not stop the test server: {output}"));
    }

    /// Starts the stopped server again, on the same port.
    pub(crate) fn start_again(&self) {
        self.control(["start"])
            .unwrap_or_else(|output| panic!("could not restart the test server: {output}"));
    }

    /// Copies the data of the stopped server, in place of an older copy.
    pub(crate) fn save(&self) {
        let _ = std::fs::remove_dir_all(self.copy());
        self.copy_folder(&self.data(), &self.copy());
    }

    /// Puts the copy back in place of the stopped server's data.
    pub(crate) fn restore(&self) {
        std::fs::remove_dir_all(self.data()).expect("the data of a stopped server can be removed");
        self.copy_folder(&self.copy(), &self.data());
    }

    fn copy_folder(&self, from: &Path, to: &Path) {
        let mut command = command_as(self.user, "cp", &self.folder);
        run(command.arg("-a").arg(from).arg(to))
            .unwrap_or_else(|output| panic!("could not copy a data folder: {output}"));
    }

    /// Sets counters of the stopped server.
    pub(crate) fn reset_wal<const N: usize>(&self, arguments: [&str; N]) {
        let program = self.binaries.join("pg_resetwal");
        let mut command = command_as(self.user, program, &self.folder);
        command.args(arguments).arg("-D").arg(self.data());
        run(&mut command).unwrap_or_else(|output| panic!("pg_resetwal failed: {output}"));
    }

    /// Makes the file of the stopped server that holds what became of a transaction.
    pub(crate) fn make_transaction_file(&self, number: u32) {
        let file = format!("pg_xact/{:04X}", number / TRANSACTIONS_PER_FILE);
        let mut command = command_as(self.user, "truncate", &self.folder);
        command.args(["-s", "262144"]).arg(self.data().join(file));
        run(&mut command).unwrap_or_else(|output| panic!("could not make a file: {output}"));
    }

    fn copy(&self) -> PathBuf {
        self.folder.join("copy")
    }

    /// Moves the log of changes of the stopped server into another, empty folder.
    pub(crate) fn move_wal_to(&self, folder: &Path) {
        let wal = self.data().join("pg_wal");
        let mut copy = command_as(self.user, "/bin/sh", &self.folder);
        copy.args([
            "-c",
            "cp -a \"$1\"/. \"$2\" && rm -rf \"$1\" && ln -s \"$2\" \"$1\"",
        ])
        .args(["move".as_ref(), wal.as_os_str(), folder.as_os_str()]);
        run(&mut copy).unwrap_or_else(|output| panic!("could not move pg_wal: {output}"));
    }

    /// Starts the server if it does not run. An error is what it said.
    pub(crate) fn start_if_stopped(&self) -> Result<(), String> {
        self.control(["status"])
            .or_else(|_| self.control(["start"]))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn init(&self, config: &str) {
        let tried = ["C.UTF-8", "C"].map(|locale| {
            let mut command = command_as(self.user, self.binaries.join("initdb"), &self.folder);
            command
                .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"])
                .arg(format!("--locale={locale}"))
                .arg("-D")
                .arg(self.data());
            command
        });
        let mut failure = String::new();
        for mut command in tried {
            match run(&mut command) {
                Ok(()) => {
                    failure.clear();
                    break;
                }
                Err(output) => failure = output,
            }
        }
        assert!(failure.is_empty(), "initdb failed: {failure}");
        let socket = format!("unix_socket_directories = '{}'\n", self.folder.display());
        self.append_config(&format!("{CONFIG}{socket}{config}\n"));
        std::fs::write(self.data().join("pg_hba.conf"), ACCESS)
            .expect("the data folder of the test server can be written");
    }

    /// Appends lines to `postgresql.conf`; they hold from the next start or reload.
    pub(crate) fn append_config(&self, lines: &str) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .expect("postgresql.conf exists after initdb");
        file.write_all(lines.as_bytes())
            .expect("postgresql.conf can be written");
    }

    fn start_on_free_port(&mut self) {
        let mut failure = String::new();
        for _ in 0..START_TRIES_MAX {
            self.port = free_port();
            self.append_config(&format!("port = {}\n", self.port));
            match self.control(["start"]) {
                Ok(()) => return,
                Err(output) => failure = format!("{output}\n{}", self.log()),
            }
        }
        panic!("the test server did not start: {failure}");
    }

    fn control<const N: usize>(&self, arguments: [&str; N]) -> Result<(), String> {
        let mut command = command_as(self.user, self.binaries.join("pg_ctl"), &self.folder);
        command
            .args(arguments)
            .arg("-w")
            .arg("-s")
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(self.log_file());
        run(&mut command)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // Nothing can be done about a watchdog that failed; the folder is temporary.
        let _ = self.watchdog.wait();
    }
}

fn start_watchdog(binaries: &Path, folder: &Path, user: Option<ServerUser>) -> Child {
    run_with_watchdog(
        command_as(user, "/bin/sh", Path::new("/"))
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(binaries.join("pg_ctl"))
            .arg(folder),
        Stdio::null(),
    )
}

/// Starts a shell that reads from a pipe of ours and cleans up when it closes. `log`: where its
/// stderr goes.
pub(crate) fn run_with_watchdog(command: &mut Command, log: Stdio) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // A group of its own: Ctrl-C must end the tests, not the one who cleans up after them.
        .process_group(0)
        .spawn()
        .expect("/bin/sh can be started")
}

/// Runs a command to its end; what it printed is the error.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{stdout}{stderr}", output.status))
}

fn find_binaries() -> PathBuf {
    let named = std::env::var_os(BINARIES_VARIABLE).map(PathBuf::from);
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    named
        .into_iter()
        .chain(on_path)
        .chain(versioned_binaries())
        .find_map(|folder| {
            // A link to one program is no sign of the others beside it.
            let initdb = folder.join("initdb").canonicalize().ok()?;
            let folder = initdb.parent()?.to_owned();
            folder.join("pg_ctl").is_file().then_some(folder)
        })
        .unwrap_or_else(|| {
            panic!(
                "no PostgreSQL server binaries found: install `postgresql`, or set \
                 {BINARIES_VARIABLE} to the folder of initdb"
            )
        })
}

/// `/usr/lib/postgresql/<major>/bin`, newest first.
fn versioned_binaries() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(VERSIONED_BINARIES) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port of 127.0.0.1 can be found")
        .port()
}
