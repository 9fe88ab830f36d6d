//! Who may write: a lock of the operating system, and an epoch in the file.
//!
//! The owner of a lease holds a lock on a file beside the database. The kernel drops it with the
//! process, so a run after `kill -9` starts at once, and renewing it needs no turn at the
//! database's own write lock, which a long unit holds. The epoch in the database is what units
//! verify: an owner that was stopped and pushed aside can write nothing afterwards.

use crate::digest::fingerprint;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use syncset_connector::{ConnectorError, ErrorClass, PipelineKey, Result};

/// Bytes of the note in a lock file. It is overwritten in place, so its length is fixed.
const NOTE_BYTES: usize = 1024;

/// What an owner writes into its lock file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    owner: String,
    expires_at_ms: u64,
}

/// Whether the owner of an epoch is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Its process is gone.
    Gone,
    /// Its process is there.
    Alive {
        owner: String,
        /// `None`: it has not renewed its lease in time.
        expires_in: Option<Duration>,
    },
}

struct Held {
    file: File,
    path: PathBuf,
    epoch: u64,
}

/// The leases that this process holds on one database.
#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<PipelineKey, Held>>);

/// The lock file of a pipeline's epoch. Each epoch has its own, because a stopped owner keeps the
/// lock on its file until it ends.
pub(crate) fn lock_path(database: &Path, key: &PipelineKey, epoch: u64) -> PathBuf {
    let name = fingerprint(format!("{}\0{}", key.project, key.pipeline).as_bytes());
    let mut file = database.file_name().unwrap_or_default().to_owned();
    file.push(format!("-syncset-{}-{epoch}.lock", &name[..16]));
    database.with_file_name(file)
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn read_note(file: &File) -> Option<Note> {
    let mut bytes = vec![0; NOTE_BYTES];
    let length = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(bytes.get(..length)?.trim_ascii_end()).ok()
}

fn write_note(file: &File, owner: &str, duration: Duration) -> std::io::Result<()> {
    let expires = now_ms().saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let mut owner: String = owner.to_owned();
    let text = loop {
        let note = Note {
            owner: owner.clone(),
            expires_at_ms: expires,
        };
        let text = serde_json::to_vec(&note)?;
        if text.len() <= NOTE_BYTES {
            break text;
        }
        owner = owner.chars().take(owner.chars().count() / 2).collect();
    };
    let mut bytes = text;
    bytes.resize(NOTE_BYTES, b' ');
    file.write_all_at(&bytes, 0)
}

/// Looks whether the owner of an epoch is there.
pub(crate) fn liveness(path: &Path) -> Result<Liveness> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Liveness::Gone),
        Err(error) => return Err(unusable(path, error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Liveness::Gone),
        Err(TryLockError::WouldBlock) => {
            // Its note is missing for the moment between locking and writing it.
            let Some(note) = read_note(&file) else {
                return Ok(Liveness::Alive {
                    owner: "a run that is just starting".into(),
                    expires_in: Some(Duration::from_secs(1)),
                });
            };
            let left = note
                .expires_at_ms
                .checked_sub(now_ms())
                .filter(|left| *left > 0);
            Ok(Liveness::Alive {
                owner: note.owner,
                expires_in: left.map(Duration::from_millis),
            })
        }
        Err(TryLockError::Error(error)) => Err(unusable(path, error)),
    }
}

fn unusable(path: &Path, error: std::io::Error) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Privilege,
        format!("the lock file `{}` cannot be used", path.display()),
    )
    .with_hint("the folder of the database must be writable, and on a file system with locks")
    .caused_by(error)
}

impl Leases {
    /// Locks the file of an epoch that is about to become ours.
    pub(crate) fn lock(
        &self,
        path: PathBuf,
        key: &PipelineKey,
        epoch: u64,
        note: (&str, Duration),
    ) -> Result<()> {
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = open.map_err(|error| unusable(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ConnectorError::new(
                    ErrorClass::Transient,
                    format!("pipeline `{key}` is being started elsewhere"),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(&path, error)),
        }
        write_note(&file, note.0, note.1).map_err(|error| unusable(&path, error))?;
        let held = Held { file, path, epoch };
        if let Ok(mut leases) = self.0.lock() {
            leases.insert(key.clone(), held);
        }
        Ok(())
    }

    /// Says that we are still there; false if this process does not hold the lease.
    pub(crate) fn renew(&self, key: &PipelineKey, epoch: u64, duration: Duration) -> Result<bool> {
        let Ok(leases) = self.0.lock() else {
            return Ok(false);
        };
        let Some(held) = leases.get(key).filter(|held| held.epoch == epoch) else {
            return Ok(false);
        };
        let owner = read_note(&held.file)
            .map(|note| note.owner)
            .unwrap_or_default();
        write_note(&held.file, &owner, duration).map_err(|error| unusable(&held.path, error))?;
        Ok(true)
    }

    /// Drops the lock and its file.
    pub(crate) fn unlock(&self, key: &PipelineKey, epoch: u64) {
        let Ok(mut leases) = self.0.lock() else {
            return;
        };
        if leases.get(key).is_some_and(|held| held.epoch == epoch)
            && let Some(held) = leases.remove(key)
        {
            // Nobody waits for this file: the next epoch has another one.
            let _ = std::fs::remove_file(&held.path);
        }
    }

    /// Drops all locks; the files say that nobody is there.
    pub(crate) fn unlock_all(&self) {
        if let Ok(mut leases) = self.0.lock() {
            leases.clear();
        }
    }
}
