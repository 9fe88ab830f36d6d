//! A lease changes hands: the fence follows it, and the sessions of former owners are ended.

use super::in_transaction;
use super::text::key_is;
use crate::connect::MysqlStore;
use crate::error;
use crate::sql::text;
use std::time::Duration;
use syncset_connector::{ConnectorError, ErrorClass, Lease, PipelineKey, Result};
use tokio::time::{Instant, sleep};

/// Longest wait in seconds for the fence row in one try to move it.
const MOVE_LOCK_TIMEOUT_S: u64 = 1;
/// How long a killed session may take to end: it rolls back first.
const END_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks at whether killed sessions have ended.
const END_PAUSE: Duration = Duration::from_millis(50);
/// Tries to move the fence.
const TRIES_MAX: u32 = 10;

/// Moves the fence to the epoch of a lease that was just taken, and ends every session of former
/// epochs: those that hold the fence first, then those that send DDL and hold nothing.
pub(super) async fn move_fence(store: &MysqlStore, lease: &Lease) -> Result<()> {
    let row = key_is("", &lease.key);
    let sql = format!(
        "SET @syncset_wait = @@innodb_lock_wait_timeout;\n\
         SET innodb_lock_wait_timeout = {MOVE_LOCK_TIMEOUT_S};\nSTART TRANSACTION;\n\
         UPDATE _syncset_fence SET epoch = {epoch} WHERE {row} AND epoch < {epoch};\nCOMMIT;\n\
         SET innodb_lock_wait_timeout = @syncset_wait",
        epoch = lease.epoch
    );
    let mut tries = 0;
    loop {
        let mut control = store.control().await?;
        let failure = match in_transaction(&mut control, &sql).await {
            Ok(_) => {
                drop(control);
                return end_former(store, lease).await;
            }
            Err(failure) => failure,
        };
        let _ = control
            .execute("SET innodb_lock_wait_timeout = @syncset_wait")
            .await;
        drop(control);
        if !matches!(error::number(&failure), Some(1205 | 1213)) {
            return Err(failure);
        }
        tries += 1;
        if tries == TRIES_MAX {
            return Err(still_blocked(&lease.key, failure));
        }
        end_former(store, lease).await?;
    }
}

/// Ends every session that is listed under a former epoch, and forgets it once it is gone.
async fn end_former(store: &MysqlStore, lease: &Lease) -> Result<()> {
    let started = Instant::now();
    let row = key_is("", &lease.key);
    let former = format!("{row} AND epoch < {}", lease.epoch);
    let living = format!(
        "SELECT lock_name, IS_USED_LOCK(lock_name) FROM _syncset_lease_session \
         WHERE {former} AND IS_USED_LOCK(lock_name) <> CONNECTION_ID()"
    );
    let mut session = store.control().await?;
    loop {
        let living = session.rows(&living).await?;
        if living.is_empty() {
            let forget = format!("DELETE FROM _syncset_lease_session WHERE {former}");
            return session.execute(&forget).await.map(drop);
        }
        if started.elapsed() > END_MAX {
            return Err(not_pushed_aside(&lease.key, None));
        }
        for row in &living {
            let name = row.required(0)?;
            // By its name: its number could be another's by now.
            let killed = session
                .execute(&format!("KILL IS_USED_LOCK({})", text(name)))
                .await;
            match killed {
                Ok(_) => tracing::warn!(
                    pipeline = %lease.key,
                    session = row.text(1).unwrap_or_default(),
                    "ended a session of the former run"
                ),
                // It ended by itself.
                Err(failure) if error::number(&failure) == Some(1094) => {}
                Err(failure) => return Err(not_pushed_aside(&lease.key, Some(failure))),
            }
        }
        sleep(END_PAUSE).await;
    }
}

fn not_pushed_aside(key: &PipelineKey, cause: Option<ConnectorError>) -> ConnectorError {
    let error = ConnectorError::new(
        ErrorClass::Locked,
        format!("a session of a former run of `{key}` still lives and could not be ended"),
    );
    match cause {
        Some(cause) => error
            .with_hint(
                "run all syncset processes as one user, or grant this user what ends sessions of \
                 others: `CONNECTION_ADMIN` (MySQL), `CONNECTION ADMIN` (MariaDB)",
            )
            .caused_by(cause),
        None => error.with_hint("it is rolling back; run again when it is done"),
    }
}

fn still_blocked(key: &PipelineKey, cause: ConnectorError) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Locked,
        format!("the fence of `{key}` is locked by a session that is none of ours"),
    )
    .with_hint(
        "look for who holds locks on `_syncset_fence`: \
         `SELECT * FROM sys.innodb_lock_waits` (MySQL), \
         `SELECT * FROM information_schema.innodb_lock_waits` (MariaDB); then run again",
    )
    .caused_by(cause)
}
