//! A file system that is really full, and that a test can make room on.
//!
//! A process of ours mounts it in a mount namespace of its own; everybody else reaches it through
//! that process' root folder in `/proc`. It is gone when the process ends.

use crate::account::{ServerUser, server_user};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Environment variable that names a folder of a small file system, for machines on which nobody
/// may mount one. The tests fill it, and they need about 256 MB there.
const FOLDER_VARIABLE: &str = "SYNCSET_TEST_SMALL_DISK";

/// Bytes of the whole file system.
const SIZE: &str = "256m";

/// Bytes written at once to fill it.
const BLOCK_BYTES: usize = 64 * 1024;

/// Where it is in its own namespace.
const MOUNTED_AT: &str = "/mnt";

/// Mounts, then says so, then holds the namespace until its input closes. `$1` is the size, `$2`
/// the user and group to go on as, empty for none.
const SCRIPT: &str = "mount -t tmpfs -o size=\"$1\",mode=777 tmpfs /mnt || exit 1; \
    hold='echo mounted $$; read line'; \
    [ -z \"$2\" ] && eval \"$hold\" && exit 0; \
    exec setpriv --reuid=\"$2\" --regid=\"$3\" --clear-groups /bin/sh -c \"$hold\"";

/// A small file system. Dropping it takes it away.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
    /// The process that holds the namespace, and its id.
    holder: Option<(u32, Child)>,
}

impl SmallDisk {
    /// Mounts one, with no file on it.
    ///
    /// # Panics
    /// If this machine lets nobody mount one; the message says what to do.
    pub fn mount() -> Self {
        if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
            let folder = tempfile::Builder::new()
                .prefix("syncset-disk-")
                .tempdir_in(folder)
                .expect("the small file system can be written")
                .keep();
            open_to_all(&folder);
            return Self {
                folder,
                holder: None,
            };
        }
        let mut failures = String::new();
        for mut command in ways() {
            match hold(&mut command) {
                Ok((pid, holder)) => {
                    return Self {
                        folder: PathBuf::from(format!("/proc/{pid}/root{MOUNTED_AT}")),
                        holder: Some((pid, holder)),
                    };
                }
                Err(failure) => failures.push_str(&failure),
            }
        }
        panic!(
            "this machine lets nobody mount a small file system; allow user namespaces, or set \
             {FOLDER_VARIABLE} to a folder of one of {SIZE}:\n{failures}"
        );
    }

    /// Its root folder. Whoever follows symbolic links by hand, as SQLite does, does not get there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Words before a command that take it where [`Self::folder_inside`] is valid, and start it
    /// in a folder.
    pub fn enter(&self, working_folder: &Path) -> Vec<String> {
        let Some((pid, _)) = &self.holder else {
            return Vec::new();
        };
        let mut words = vec!["nsenter".to_owned(), format!("--target={pid}")];
        // Without its root a process in a changed root would get the machine's own.
        words.extend(["--mount", "--root"].map(str::to_owned));
        if server_user().is_none() {
            words.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        // Entering leaves the working folder.
        words.extend(["/bin/sh", "-c", "cd \"$0\" && exec \"$@\""].map(str::to_owned));
        words.push(working_folder.display().to_string());
        words
    }

    /// Its root folder for commands after [`Self::enter`].
    pub fn folder_inside(&self) -> &Path {
        match &self.holder {
            Some(_) => Path::new(MOUNTED_AT),
            None => &self.folder,
        }
    }

    /// A new folder on it that belongs to the account that servers run as.
    pub fn server_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::create_dir(&path).expect("the small file system can be written");
        if let Some(user) = server_user() {
            std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))
                .expect("root can give a folder away");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o700))
            .expect("the rights of a folder of ours can be changed");
        path
    }

    /// Fills it up but for so many bytes.
    pub fn fill_but(&self, bytes_left: u64) {
        let path = self.ballast();
        let mut ballast = std::fs::File::create(&path).expect("a file can be created");
        let block = vec![0; BLOCK_BYTES];
        while ballast.write_all(&block).is_ok() {}
        // A block may have been written in part.
        let size = ballast.metadata().expect("the file exists").len();
        let kept = size.saturating_sub(bytes_left);
        ballast.set_len(kept).expect("a file can be cut");
    }

    /// Makes room.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled before");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        match &mut self.holder {
            Some((_, holder)) => {
                drop(holder.stdin.take());
                // Nothing can be done about a process that does not end.
                let _ = holder.wait();
            }
            None => {
                let _ = std::fs::remove_dir_all(&self.folder);
            }
        }
    }
}

/// Ways to a namespace in which we may mount, best first.
fn ways() -> Vec<Command> {
    let script = |program: &[&str], user: Option<ServerUser>| {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(["/bin/sh", "-c", SCRIPT, "disk", SIZE]);
        if let Some(user) = user {
            command.args([user.uid.to_string(), user.gid.to_string()]);
        }
        command
    };
    match server_user() {
        // As root: whoever holds the namespace must be somebody whom the server may look at. In a
        // changed root there is no mount to make private; there it is not shared with anybody.
        Some(user) => vec![
            script(&["unshare", "--mount"], Some(user)),
            script(
                &["unshare", "--mount", "--propagation", "unchanged"],
                Some(user),
            ),
        ],
        None => {
            let ourselves = ServerUser {
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
            };
            vec![
                script(&["unshare", "--user", "--map-root-user", "--mount"], None),
                script(&["sudo", "-n", "unshare", "--mount"], Some(ourselves)),
            ]
        }
    }
}

/// Starts the process that holds the namespace: its id there, and what ends it.
fn hold(command: &mut Command) -> Result<(u32, Child), String> {
    let described = format!("{command:?}");
    let mut holder = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{described}: {error}\n"))?;
    let stdout = holder.stdout.take().expect("its output is a pipe");
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    let pid = line.trim().strip_prefix("mounted ").map(str::parse);
    if let (Ok(_), Some(Ok(pid))) = (read, pid) {
        return Ok((pid, holder));
    }
    drop(holder.stdin.take());
    let output = holder.wait_with_output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    Err(format!("{described}: {}", output.unwrap_or_default()))
}

fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, Permissions::from_mode(0o777))
        .expect("the rights of a folder of ours can be changed");
}
