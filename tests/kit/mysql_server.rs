//! A MySQL or MariaDB server in a temporary folder: finds the binaries, creates, starts, stops it.
//!
//! Nothing here is async: a server may be started from any runtime and outlives all of them. A
//! keeper process starts the server and reads commands from a pipe that only this process holds;
//! when the pipe closes, for whatever reason this process ended, it ends the server and removes
//! the folder.

use crate::account::folder_of_servers;
use crate::cluster::free_port;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Environment variable that names the folder into which MySQL is unpacked, if it is not where
/// `.ci/mysql` puts it.
const MYSQL_FOLDER_VARIABLE: &str = "SYNCSET_TEST_MYSQL_ROOT";

/// Another process may take the port between our look and the server's bind.
const START_TRIES_MAX: u32 = 5;

/// How long a server may take until it takes connections; generous, for a loaded machine.
const START_TIME_MAX: Duration = Duration::from_secs(180);

/// What the keeper runs: `$1` is the folder, the rest the server's command line.
const KEEPER: &str = "folder=$1; shift; pid=
while read -r command; do
  case $command in
    start) \"$@\" </dev/null >>\"$folder/log\" 2>&1 & pid=$! ;;
    stop) kill -TERM $pid; wait $pid ;;
    crash) kill -KILL $pid; wait $pid ;;
  esac
  echo \"$pid\"
done
[ -z \"$pid\" ] || { kill -KILL $pid; wait $pid; }
rm -rf \"$folder\"";

/// What every server is configured with; later lines win.
const CONFIG: &str = "\
bind-address = 127.0.0.1
max_connections = 300
max_allowed_packet = 64M
local_infile = ON
innodb_flush_log_at_trx_commit = 0
innodb_buffer_pool_size = 128M
sync_binlog = 0
log_bin = binlog
binlog_format = ROW
server_id = 1
default_time_zone = +00:00
performance_schema = ON
";

/// Which of the two families of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MySQL.
    Mysql,
    /// MariaDB.
    Mariadb,
}

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Start,
    Stop,
    Crash,
}

/// A server of our own. Dropping it ends the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Instance {
    folder: PathBuf,
    port: u16,
    keeper: Mutex<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    process: Child,
    answers: BufReader<ChildStdout>,
}

/// How the programs of a server are started.
struct Programs {
    /// What comes before the arguments: the server, or its loader and the server.
    server: Vec<PathBuf>,
    /// Arguments without which it does not find its own files.
    files: Vec<String>,
}

impl Instance {
    /// Creates and starts a server. `config` is appended to the section `[mysqld]`.
    ///
    /// # Panics
    /// If no binaries are found or the server does not start; the message says what to do.
    pub(crate) fn start(flavour: Flavour, config: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("syncset-my-")
            .tempdir_in(folder_of_servers())
            .expect("a folder can be created where servers keep their data")
            .keep();
        let programs = Programs::find(flavour);
        // The keeper comes first, so that a half-made server is removed too.
        let keeper = Keeper::start(&folder, &programs);
        let mut instance = Self {
            folder,
            port: 0,
            keeper: Mutex::new(keeper),
        };
        instance.write_config(config);
        instance.initialise(flavour, &programs);
        instance.start_on_free_port();
        instance
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Its folder, for certificates and the like.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything the server has logged.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// An orderly shutdown.
    pub(crate) fn stop(&self) {
        self.ask(Request::Stop);
    }

    /// Ends the process at once, as in a crash; the next start recovers.
    pub(crate) fn crash(&self) {
        self.ask(Request::Crash);
    }

    /// Starts the stopped server again, on the same port.
    pub(crate) fn start_again(&self) {
        self.try_start()
            .unwrap_or_else(|log| panic!("the test server did not start again: {log}"));
    }

    /// Appends lines to its configuration; they hold from the next start on.
    pub(crate) fn append_config(&self, lines: &str) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.config_file())
            .expect("the configuration of the test server exists");
        writeln!(file, "{lines}").expect("the configuration can be written");
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join("my.cnf")
    }

    fn write_config(&self, config: &str) {
        let folder = self.folder.display();
        // As root a server wants to be told that this is meant.
        let user = if rustix::process::geteuid().is_root() {
            "user = root\n"
        } else {
            ""
        };
        let lines = format!(
            "[mysqld]\ndatadir = {folder}/data\nsocket = {folder}/socket\n\
             pid_file = {folder}/pid\ntmpdir = {folder}\nsecure_file_priv =\n{user}{CONFIG}{config}\n"
        );
        std::fs::write(self.config_file(), lines).expect("the folder is ours");
    }

    fn initialise(&self, flavour: Flavour, programs: &Programs) {
        let data = self.folder.join("data");
        let mut command = match flavour {
            Flavour::Mysql => {
                let mut command = programs.command(&self.folder);
                command.arg("--initialize-insecure");
                command
            }
            Flavour::Mariadb => {
                let mut command = Command::new("mariadb-install-db");
                command
                    .arg(format!("--defaults-file={}", self.config_file().display()))
                    .arg(format!("--datadir={}", data.display()))
                    .args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
                if rustix::process::geteuid().is_root() {
                    command.arg("--user=root");
                }
                command
            }
        };
        let output = command
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
        assert!(
            output.status.success(),
            "could not create a test server: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn start_on_free_port(&mut self) {
        let mut failure = String::new();
        for _ in 0..START_TRIES_MAX {
            self.port = free_port();
            self.append_config(&format!("port = {}", self.port));
            match self.try_start() {
                Ok(()) => return,
                Err(log) => failure = log,
            }
        }
        panic!("the test server did not start: {failure}");
    }

    /// Waits until the server takes connections or its process has ended.
    fn try_start(&self) -> Result<(), String> {
        let pid = self.ask(Request::Start);
        let end = Instant::now() + START_TIME_MAX;
        while Instant::now() < end {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            // A process that has ended stays in the table until the keeper waits for it.
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if status.is_empty() || status.contains(") Z ") {
                return Err(self.log());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Err(format!("it takes no connections\n{}", self.log()))
    }

    /// Gives the keeper one command and returns the number of the server's process.
    fn ask(&self, request: Request) -> u32 {
        let word = match request {
            Request::Start => "start",
            Request::Stop => "stop",
            Request::Crash => "crash",
        };
        let mut keeper = self.keeper.lock().expect("no test panics while it asks");
        let pipe = keeper.process.stdin.as_mut().expect("the pipe is open");
        writeln!(pipe, "{word}").expect("the keeper reads");
        let mut answer = String::new();
        keeper
            .answers
            .read_line(&mut answer)
            .expect("the keeper answers");
        answer.trim().parse().expect("the keeper names a process")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Ok(mut keeper) = self.keeper.lock() {
            drop(keeper.process.stdin.take());
            // Nothing can be done about a keeper that failed; the folder is temporary.
            let _ = keeper.process.wait();
        }
    }
}

impl Keeper {
    fn start(folder: &Path, programs: &Programs) -> Self {
        let mut process = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(folder)
            .args(&programs.server)
            .args(programs.arguments(folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C must end the tests, not the one who cleans up after them.
            .process_group(0)
            .spawn()
            .expect("/bin/sh can be started");
        let answers = BufReader::new(process.stdout.take().expect("the pipe was asked for"));
        Self { process, answers }
    }
}

impl Programs {
    fn find(flavour: Flavour) -> Self {
        match flavour {
            Flavour::Mariadb => Self {
                server: vec![mariadbd()],
                files: Vec::new(),
            },
            Flavour::Mysql => {
                let root = mysql_root();
                let share = root.join("usr/share/mysql");
                let libraries = root.join("usr/lib/x86_64-linux-gnu");
                Self {
                    server: vec![
                        root.join("usr/lib64/ld-linux-x86-64.so.2"),
                        "--library-path".into(),
                        libraries,
                        root.join("usr/sbin/mysqld"),
                    ],
                    files: vec![
                        format!("--lc-messages-dir={}", share.display()),
                        format!("--character-sets-dir={}", share.join("charsets").display()),
                        format!(
                            "--plugin-dir={}",
                            root.join("usr/lib/mysql/plugin").display()
                        ),
                        "--mysqlx=OFF".to_owned(),
                    ],
                }
            }
        }
    }

    fn arguments(&self, folder: &Path) -> Vec<String> {
        let mut arguments = vec![format!("--defaults-file={}/my.cnf", folder.display())];
        arguments.extend(self.files.iter().cloned());
        arguments
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.server[0]);
        command.args(&self.server[1..]).args(self.arguments(folder));
        command
    }
}

fn mariadbd() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/libexec".into()])
        .map(|folder| folder.join("mariadbd"))
        .find(|program| program.is_file())
        .expect("no MariaDB server found: install `mariadb-server-core`, or run `.ci/servers`")
}

/// Where MySQL is unpacked.
fn mysql_root() -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        if let Some(root) = std::env::var_os(MYSQL_FOLDER_VARIABLE) {
            return root.into();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/mysql");
        let output = Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .unwrap_or_else(|error| panic!("could not run {}: {error}", script.display()));
        assert!(
            output.status.success(),
            "no MySQL server found and none could be fetched: set {MYSQL_FOLDER_VARIABLE} to the \
             folder it is unpacked into"
        );
        let root = String::from_utf8(output.stdout).expect("a path of ours is UTF-8");
        PathBuf::from(root.trim())
    })
    .clone()
}
