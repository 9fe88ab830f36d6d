//! A PostgreSQL cluster in a temporary folder: finds the binaries, creates, starts and stops it.
//!
//! Nothing here is async: a cluster may be started from any runtime and outlives all of them.
//! A watchdog process reads a pipe that only this process holds; when the pipe closes, for
//! whatever reason this process ended, the watchdog stops the server and removes the folder.

use std::ffi::OsStr;
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

/// The account the server runs as when we are root, which PostgreSQL refuses to be.
#[derive(Debug, Clone, Copy)]
struct ServerUser {
    uid: u32,
    gid: u32,
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
        let user = server_user();
        let folder = create_folder(user);
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
        // Some distributions link only the usual programs into the path.
        let control = self.binaries.join("pg_ctl").canonicalize();
        let program = control
            .expect("pg_ctl is there")
            .with_file_name("pg_resetwal");
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
    command_as(user, "/bin/sh", Path::new("/"))
        .args(["-c", WATCHDOG, "watchdog"])
        .arg(binaries.join("pg_ctl"))
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: Ctrl-C must end the tests, not the one who cleans up after them.
        .process_group(0)
        .spawn()
        .expect("/bin/sh can be started")
}

fn command_as(user: Option<ServerUser>, program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    for variable in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGDATABASE"] {
        command.env_remove(variable);
    }
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
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
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
        .unwrap_or_else(|| {
            panic!(
                "no PostgreSQL server binaries found: install `postgresql`, or set \
                 {BINARIES_VARIABLE} to the folder of initdb, or SYNCSET_TEST_POSTGRES to the URL \
                 of a server that tests may use"
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

fn server_user() -> Option<ServerUser> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = |wanted: &str| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (name == wanted).then_some(ServerUser { uid, gid })
        })
    };
    let user = account("postgres").or_else(|| account("nobody"));
    Some(user.expect("root needs an account `postgres` or `nobody` to run the test server as"))
}

fn create_folder(user: Option<ServerUser>) -> PathBuf {
    // Not the temporary folder of the environment: the path of a unix socket must be short, and
    // the server's account must be able to reach it.
    let folder = tempfile::Builder::new()
        .prefix("syncset-pg-")
        .tempdir_in("/tmp")
        .expect("a folder can be created in /tmp")
        .keep();
    if let Some(user) = user {
        std::os::unix::fs::chown(&folder, Some(user.uid), Some(user.gid))
            .expect("root can give a folder away");
    }
    folder
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port of 127.0.0.1 can be found")
        .port()
}
