//! The lease of a pipeline: who may write, decided by the server's clock and sessions only.
//!
//! Each decision is one message to the server, so that a process that is stopped in the middle of
//! one holds no lock. The epoch moves in the lease and in the fence in one transaction; units that
//! are still open hold the fence row, and only they do, so exactly the sessions that block this
//! transaction at that row are ended.

use super::fence::fenced;
use super::schema::{is_missing, is_privilege};
use super::text::{NOT_WAITED_FOR, key_is, key_values, literal};
use crate::connect::{PgStore, Session, TextRow};
use crate::sql::quote_ident;
use std::time::Duration;
use syncset_connector::{
    ConnectorError, ErrorClass, Lease, LeaseOutcome, LeaseRequest, PipelineKey, Result,
};
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for a lock in one try to move the epoch.
const MOVE_LOCK_TIMEOUT_MS: u64 = 1_000;
/// Tries to move the epoch.
const MOVE_TRIES_MAX: u32 = 10;
/// After this long the move is blocked, not slow.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);
/// Pause between two looks at who blocks the move: of several, one at a time is seen.
const PUSH_PAUSE: Duration = Duration::from_millis(50);
/// First pause before a look again; each is twice as long as the one before.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Longest pause. After all of them a lease counts as held: the server needs a moment to see that
/// a killed owner's links are gone.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(160);
/// How long sessions of an owner whose control session is gone are waited for: a statement that
/// runs looks for its client once a second.
const LINGER_MAX: Duration = Duration::from_secs(3);

/// Takes the lease if it is free, abandoned or expired.
pub(super) async fn acquire(store: &PgStore, request: &LeaseRequest) -> Result<LeaseOutcome> {
    let started = Instant::now();
    let mut pause = LOOK_AGAIN;
    loop {
        let token = uuid::Uuid::new_v4().to_string();
        let sql = acquire_statements(request, &token, !store.likely_pooler());
        let row = move_epoch(store, &request.key, &sql)
            .await?
            .ok_or_else(|| lease_vanished(&request.key))?;
        let answer = Answer::read(&row)?;
        if answer.acquired {
            return Ok(LeaseOutcome::Acquired {
                lease: Lease {
                    key: request.key.clone(),
                    epoch: answer.epoch,
                    duration: request.duration,
                },
                taken_from: answer.taken_from,
            });
        }
        let may_be_dying = answer.sessions_tell
            && !store.likely_pooler()
            && (pause <= LOOK_AGAIN_MAX || !answer.control_alive)
            && started.elapsed() < LINGER_MAX;
        if !may_be_dying {
            return Ok(LeaseOutcome::Held {
                owner: answer.owner.unwrap_or_default(),
                expires_in: answer.expires_in,
            });
        }
        sleep(pause.min(LOOK_AGAIN_MAX)).await;
        pause *= 2;
    }
}

/// Extends the lease. A link that broke while it was idle is noticed here first, so a lost one is
/// made again at once: until then the owner looks dead.
pub(super) async fn renew(store: &PgStore, lease: &Lease) -> Result<()> {
    match extend(store, lease).await {
        Err(error) if error.class == ErrorClass::Connection => extend(store, lease).await,
        outcome => outcome,
    }
}

/// Extends the lease and lists the control session again, which may have been replaced. That a
/// pooler stands before the server may have come out since.
async fn extend(store: &PgStore, lease: &Lease) -> Result<()> {
    let mut session = store.control().await?;
    let sets = session
        .result_sets(&format!(
            "UPDATE _syncset.lease SET expires_at = {}, sessions_tell = sessions_tell AND {} \
             WHERE {} AND epoch = {} AND owner IS NOT NULL RETURNING epoch;\n{}",
            expiry(lease.duration),
            !store.likely_pooler(),
            key_is("", &lease.key),
            lease.epoch,
            list_session(lease, "true"),
        ))
        .await
        .map_err(|error| {
            if is_missing(&error) {
                fenced(lease)
            } else {
                error
            }
        })?;
    if sets.first().is_some_and(|rows| rows.len() == 1) {
        Ok(())
    } else {
        Err(fenced(lease))
    }
}

/// Gives the lease back.
pub(super) async fn release(store: &PgStore, lease: &Lease) -> Result<()> {
    let mut session = store.control().await?;
    let released = session
        .execute(&format!(
            "{NOT_WAITED_FOR}\
             UPDATE _syncset.lease SET owner = NULL, expires_at = clock_timestamp() \
             WHERE {key} AND epoch = {epoch};\n\
             DELETE FROM _syncset.lease_session WHERE {key} AND epoch <= {epoch}",
            key = key_is("", &lease.key),
            epoch = lease.epoch,
        ))
        .await;
    match released {
        Err(error) if !is_missing(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Takes the lease away from whoever has it and leaves it free.
pub(super) async fn unlock(store: &PgStore, key: &PipelineKey) -> Result<Option<String>> {
    let token = literal(&uuid::Uuid::new_v4().to_string());
    let row = key_is("", key);
    let sql = format!(
        "{begin}\
         SELECT FROM _syncset.lease WHERE {row} FOR UPDATE;\n\
         UPDATE _syncset.lease SET taken_from = owner, owner = NULL, token = {token}, \
         epoch = {next}, expires_at = clock_timestamp() WHERE {row} AND owner IS NOT NULL;\n\
         {moved}\
         SELECT taken_from FROM _syncset.lease WHERE {row} AND token = {token};\n\
         COMMIT",
        begin = begin(),
        next = next_epoch(key),
        moved = follow_epoch(key, &token),
    );
    match move_epoch(store, key, &sql).await {
        Ok(row) => Ok(row.and_then(|row| row.text(0).map(str::to_owned))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists a session that will run units among those whose end frees the lease. One round trip;
/// once per session and lease, outside of any transaction.
///
/// A session that is not listed loses nothing but this: while it lives, its owner may look dead.
pub(crate) async fn register_session(session: &mut Session, lease: &Lease) -> Result<()> {
    session
        .execute(&list_session(lease, "false"))
        .await
        .map(drop)
}

/// Lists the session that runs this among those of the holder, if the lease is still the
/// holder's: a successor must not look alive because its predecessor is.
fn list_session(lease: &Lease, control: &str) -> String {
    format!(
        "INSERT INTO _syncset.lease_session (project, pipeline, pid, backend_start, epoch, control) \
         SELECT l.project, l.pipeline, a.pid, a.backend_start, l.epoch, {control} \
         FROM _syncset.lease l, pg_stat_get_activity(pg_backend_pid()) a \
         WHERE {} AND l.epoch = {} AND l.owner IS NOT NULL \
         ON CONFLICT (project, pipeline, pid, backend_start) DO UPDATE \
         SET epoch = excluded.epoch, control = excluded.control \
         WHERE lease_session.epoch <> excluded.epoch OR lease_session.control <> excluded.control;\n",
        key_is("l.", &lease.key),
        lease.epoch
    )
}

/// What the server answered to [`acquire_statements`].
struct Answer {
    acquired: bool,
    epoch: u64,
    owner: Option<String>,
    taken_from: Option<String>,
    expires_in: Duration,
    sessions_tell: bool,
    control_alive: bool,
}

impl Answer {
    fn read(row: &TextRow) -> Result<Self> {
        Ok(Self {
            acquired: row.is_true(0),
            epoch: row.parse(1)?,
            owner: row.text(2).map(str::to_owned),
            taken_from: row.text(3).map(str::to_owned),
            expires_in: Duration::from_millis(row.parse(4)?),
            sessions_tell: row.is_true(5),
            control_alive: row.is_true(6),
        })
    }
}

/// One message: decides whether the lease is to be had, and if so takes it and moves the fence.
fn acquire_statements(request: &LeaseRequest, token: &str, sessions_tell: bool) -> String {
    let key = &request.key;
    let row = key_is("", key);
    let token = literal(token);
    let values = key_values(key);
    format!(
        "{begin}\
         INSERT INTO _syncset.pipeline (project, pipeline) VALUES ({values}) ON CONFLICT DO NOTHING;\n\
         INSERT INTO _syncset.fence (project, pipeline, epoch) VALUES ({values}, 0) ON CONFLICT DO NOTHING;\n\
         INSERT INTO _syncset.lease (project, pipeline, epoch) VALUES ({values}, 0) ON CONFLICT DO NOTHING;\n\
         SELECT FROM _syncset.lease WHERE {row} FOR UPDATE;\n\
         UPDATE _syncset.lease l SET owner = {owner}, token = {token}, taken_from = owner, \
         epoch = {next}, expires_at = {expiry}, sessions_tell = {sessions_tell} \
         WHERE {row} AND (owner IS NULL OR expires_at <= clock_timestamp() \
         OR (l.sessions_tell AND {sessions_tell} AND NOT {any_alive}));\n\
         {moved}\
         SELECT l.token = {token}, l.epoch, l.owner, l.taken_from, {left}, l.sessions_tell, \
         {control_alive} FROM _syncset.lease l WHERE {row};\n\
         COMMIT",
        begin = begin(),
        owner = literal(&request.owner),
        next = next_epoch(key),
        expiry = expiry(request.duration),
        any_alive = alive("l", ""),
        moved = follow_epoch(key, &token),
        left = left_ms("l"),
        control_alive = alive("l", "AND s.control"),
    )
}

fn begin() -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;\nSET LOCAL lock_timeout = {MOVE_LOCK_TIMEOUT_MS};\n"
    )
}

/// If the lease was taken with this token: forgets the former owner's sessions, lists ours, and
/// moves the fence. The fence comes last: it is what may have to be waited for.
fn follow_epoch(key: &PipelineKey, token: &str) -> String {
    let row = key_is("l.", key);
    format!(
        "DELETE FROM _syncset.lease_session s USING _syncset.lease l \
         WHERE {row} AND l.token = {token} AND s.project = l.project AND s.pipeline = l.pipeline;\n\
         INSERT INTO _syncset.lease_session (project, pipeline, pid, backend_start, epoch, control) \
         SELECT l.project, l.pipeline, a.pid, a.backend_start, l.epoch, true \
         FROM _syncset.lease l, pg_stat_get_activity(pg_backend_pid()) a \
         WHERE {row} AND l.token = {token} AND l.owner IS NOT NULL;\n\
         UPDATE _syncset.fence f SET epoch = l.epoch FROM _syncset.lease l \
         WHERE {row} AND l.token = {token} AND f.project = l.project AND f.pipeline = l.pipeline;\n"
    )
}

/// Greater than every epoch that was ever given out.
fn next_epoch(key: &PipelineKey) -> String {
    format!(
        "greatest(epoch, coalesce((SELECT f.epoch FROM _syncset.fence f WHERE {}), 0)) + 1",
        key_is("f.", key)
    )
}

fn expiry(duration: Duration) -> String {
    format!(
        "clock_timestamp() + {} * interval '1 millisecond'",
        duration.as_millis()
    )
}

/// Whether a session that is listed for the lease `alias` lives. Where the start of another
/// user's session is hidden, its number alone must do: that errs towards alive.
pub(super) fn alive(alias: &str, which: &str) -> String {
    format!(
        "EXISTS (SELECT FROM _syncset.lease_session s JOIN pg_stat_activity a ON a.pid = s.pid \
         AND (a.backend_start IS NULL OR a.backend_start = s.backend_start) \
         WHERE s.project = {alias}.project AND s.pipeline = {alias}.pipeline \
         AND s.epoch = {alias}.epoch {which})"
    )
}

/// Milliseconds until the lease `alias` expires.
pub(super) fn left_ms(alias: &str) -> String {
    format!("greatest(0, extract(epoch FROM {alias}.expires_at - clock_timestamp()) * 1000)::int8")
}

/// Sends a message that moves the epoch and ends whoever blocks it at the fence row. Returns the
/// row it ends with.
async fn move_epoch(store: &PgStore, key: &PipelineKey, sql: &str) -> Result<Option<TextRow>> {
    let mut blocked = None;
    for _ in 0..MOVE_TRIES_MAX {
        let mut control = store.control().await?;
        let mut refusal = None;
        let moved = {
            let work = control.rows(sql);
            tokio::pin!(work);
            match timeout(BLOCKED_AFTER, &mut work).await {
                Ok(moved) => moved,
                Err(_) => tokio::select! {
                    moved = &mut work => moved,
                    error = push_aside(store, key) => {
                        refusal = Some(error);
                        // Its own lock time-out ends it soon.
                        work.await
                    }
                },
            }
        };
        let error = match moved {
            Ok(mut rows) => return Ok(rows.pop()),
            Err(error) => error,
        };
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = control.execute("ROLLBACK").await;
        if !matches!(error.code.as_deref(), Some("55P03" | "40P01")) {
            return Err(error);
        }
        if let Some(refusal) = refusal {
            return Err(not_pushed_aside(store, key, refusal));
        }
        blocked = Some(error);
    }
    Err(still_blocked(key, blocked))
}

/// Ends, until it is dropped, every session that blocks the move of the epoch at the fence row.
/// Returns the error if it cannot.
///
/// Who waits for the fence row with the lock of an UPDATE is a run that has decided to take the
/// lease, wherever a pooler put it; units wait with that of FOR SHARE.
async fn push_aside(store: &PgStore, key: &PipelineKey) -> ConnectorError {
    let sql = format!(
        "SELECT b.pid, pg_terminate_backend(b.pid) FROM _syncset.fence f \
         JOIN pg_locks w ON w.locktype = 'tuple' AND w.granted AND w.mode = 'ExclusiveLock' \
         AND w.relation = '_syncset.fence'::regclass \
         AND w.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND '(' || w.page || ',' || w.tuple || ')' = f.ctid::text \
         CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b(pid) \
         WHERE {} AND b.pid > 0 AND b.pid <> pg_backend_pid()",
        key_is("f.", key)
    );
    let mut session = match store.session().await {
        Ok(session) => session,
        Err(error) => return error,
    };
    loop {
        match session.rows(&sql).await {
            Ok(ended) => {
                for row in ended {
                    tracing::warn!(
                        pipeline = %key,
                        pid = row.text(0).unwrap_or_default(),
                        "ended a session of the former run that still held the fence"
                    );
                }
            }
            Err(error) => return error,
        }
        sleep(PUSH_PAUSE).await;
    }
}

fn not_pushed_aside(store: &PgStore, key: &PipelineKey, cause: ConnectorError) -> ConnectorError {
    let message = format!("a former run of `{key}` still holds its locks and could not be ended");
    let error = ConnectorError::new(ErrorClass::Locked, message);
    let error = if is_privilege(&cause) {
        let role = quote_ident(&store.facts().user);
        error.with_hint(format!(
            "GRANT pg_signal_backend TO {role}, or run all syncset processes as one role; \
             sessions of a superuser must be ended by a superuser"
        ))
    } else {
        error.with_hint("stop the former process, then run again")
    };
    error.caused_by(cause)
}

fn still_blocked(key: &PipelineKey, cause: Option<ConnectorError>) -> ConnectorError {
    let error = ConnectorError::new(
        ErrorClass::Locked,
        format!("the lease of `{key}` is locked by a session that could not be pushed aside"),
    )
    .with_hint("look for who holds locks on `_syncset.lease` and `_syncset.fence` in pg_locks, then run again");
    match cause {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}

fn lease_vanished(key: &PipelineKey) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Store,
        format!("the lease row of `{key}` is gone"),
    )
    .with_hint("somebody changes the schema `_syncset` by hand; run again when that is over")
}
