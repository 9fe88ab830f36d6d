//! The account that test servers run as, and folders that belong to it.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The account the server runs as when we are root, which PostgreSQL refuses to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The account to run servers as; `None` is ourselves.
pub(crate) fn server_user() -> Option<ServerUser> {
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

/// A command of that account, in a folder.
pub(crate) fn command_as(
    user: Option<ServerUser>,
    program: impl AsRef<OsStr>,
    folder: &Path,
) -> Command {
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

/// Where servers keep their data: in memory where there is plenty, since half of what the tests cost
/// is what a file system on a disk does for thousands of small databases.
///
/// Not the temporary folder of the environment: the path of a unix socket must be short, and the
/// account of the servers must be able to reach it.
pub(crate) fn folder_of_servers() -> &'static str {
    const IN_MEMORY: &str = "/dev/shm";
    const FREE_MIN: u64 = 8 << 30;
    let disk = rustix::fs::statvfs(IN_MEMORY);
    let has_room = disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= FREE_MIN);
    match has_room && memory_available() >= FREE_MIN {
        true => IN_MEMORY,
        false => "/tmp",
    }
}

/// Bytes that new processes can have; 0 where the system does not say.
fn memory_available() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes
        .and_then(|number| number.parse::<u64>().ok())
        .map_or(0, |number| number * 1024)
}

/// A folder that belongs to the account that servers run as. Whoever uses it removes it.
pub(crate) struct Folder {
    path: PathBuf,
    user: Option<ServerUser>,
}

impl Folder {
    /// Creates it with a name of its own.
    pub(crate) fn create(prefix: &str) -> Self {
        let user = server_user();
        let path = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(folder_of_servers())
            .expect("a folder can be created where servers keep their data")
            .keep();
        let folder = Self { path, user };
        folder.give_away(&folder.path);
        folder
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is; `None` is ourselves.
    pub(crate) fn user(&self) -> Option<ServerUser> {
        self.user
    }

    /// Lets everybody look into it.
    pub(crate) fn open(&self) {
        std::fs::set_permissions(&self.path, Permissions::from_mode(0o755))
            .expect("the rights of a folder of ours can be changed");
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path.join(name);
        std::fs::write(&path, content).expect("a file can be written in a folder of ours");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .expect("the rights of a file of ours can be changed");
        self.give_away(&path);
    }

    fn give_away(&self, path: &Path) {
        if let Some(user) = self.user {
            std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
                .expect("root can give a file away");
        }
    }
}
