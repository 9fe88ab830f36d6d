//! A real PgBouncer in transaction mode before a server.

use crate::Database;
use crate::account::{Folder, command_as};
use crate::cluster::{free_port, run_with_watchdog};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use url::Url;

/// Where distributions put a daemon, besides the folders of `PATH`.
const DAEMON_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Another process may take the port between our look and the pooler's bind.
const START_TRIES_MAX: u32 = 5;

/// Longest wait for the next line of its log until the pooler listens.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What the watchdog runs: `$1` is the pooler, `$2` its folder.
const SCRIPT: &str = "\"$1\" \"$2/pgbouncer.ini\" & pid=$!; exec 2>/dev/null; read line; \
    kill -9 $pid; rm -rf \"$2\"";

/// A pooler. Dropping it ends it.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    watchdog: Child,
}

impl Pooler {
    /// Starts one that opens at most `size` sessions per database and user of the server at this
    /// URL, and hands them on after each transaction.
    ///
    /// # Panics
    /// If PgBouncer is not installed or does not start; the message says what to do.
    pub fn before(server_url: &str, size: u32) -> Self {
        let binary = find_binary();
        let mut failure = String::new();
        for _ in 0..START_TRIES_MAX {
            match Self::start(&binary, server_url, size) {
                Ok(pooler) => return pooler,
                Err(log) => failure = log,
            }
        }
        panic!("the pooler did not start: {failure}");
    }

    fn start(binary: &Path, server_url: &str, size: u32) -> Result<Self, String> {
        let url = Url::parse(server_url).expect("the server has a URL");
        let folder = Folder::create("syncset-bouncer-");
        let port = free_port();
        let config = config(&url, size, port, folder.path());
        let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy();
        let password = decoded(url.password().unwrap_or_default());
        let user = format!("\"{}\" \"{password}\"\n", decoded(url.username()));
        folder.write("pgbouncer.ini", &config);
        folder.write("users", &user);
        let mut watchdog = run_with_watchdog(
            command_as(folder.user(), "/bin/sh", Path::new("/")).args([
                "-c".as_ref(),
                SCRIPT.as_ref(),
                "watchdog".as_ref(),
                binary.as_os_str(),
                folder.path().as_os_str(),
            ]),
            Stdio::piped(),
        );
        let log = watchdog.stderr.take().expect("it is a pipe");
        // From here on the pooler is ended when this is dropped.
        let pooler = Self { port, watchdog };
        listens(log).map(|()| pooler)
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of a database through the pooler.
    pub fn url(&self, database: &Database) -> String {
        database.url_through(self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // Nothing can be done about a watchdog that failed; the folder is temporary.
        let _ = self.watchdog.wait();
    }
}

/// Waits until the pooler logs that it listens; what it logged instead is the error. Reads its log
/// to the end, so that it never waits for room in the pipe.
fn listens(log: ChildStderr) -> Result<(), String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // Nobody listens any more once it is up.
            let _ = sender.send(line);
        }
    });
    let mut text = String::new();
    while let Ok(line) = lines.recv_timeout(START_DEADLINE) {
        if line.contains("process up") {
            return Ok(());
        }
        text.push_str(&line);
        text.push('\n');
    }
    Err(text)
}

fn config(server: &Url, size: u32, port: u16, folder: &Path) -> String {
    format!(
        "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = trust\nauth_file = {folder}/users\n\
         pool_mode = transaction\ndefault_pool_size = {size}\n",
        host = server.host_str().unwrap_or("127.0.0.1"),
        server_port = server.port().unwrap_or(5432),
        folder = folder.display(),
    )
}

fn find_binary() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    on_path
        .into_iter()
        .chain(DAEMON_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join("pgbouncer"))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("no PgBouncer found: install the package `pgbouncer`"))
}
