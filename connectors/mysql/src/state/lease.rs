//! The lease of a pipeline: who may write, decided by the server's clock and sessions only.
//!
//! Every session that writes or sends DDL holds a lock of a name of its own (`GET_LOCK`) and lists
//! that name under its epoch before it reads the fence; it never reconnects. So whoever has taken
//! the lease, which keeps new names of the former epoch out, can end exactly the former owner's
//! sessions: those that hold the listed names. The fence follows the lease in a transaction of its
//! own, since it may have to wait for units that are still open; between the two, units of the
//! former epoch may still commit, and the new owner has not begun.

use super::fence::{fenced, unanswered};
use super::in_transaction;
use super::schema::is_missing;
use super::takeover::move_fence;
use super::text::{NOW, from_now, key_is, key_values};
use crate::connect::{MysqlStore, Session, TextRow};
use crate::error;
use crate::sql::text;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use std::time::Duration;
use syncset_connector::{ErrorClass, Lease, LeaseOutcome, LeaseRequest, PipelineKey, Result};
use tokio::time::{Instant, sleep};

/// Tries to decide about the lease.
const TRIES_MAX: u32 = 10;
/// First pause before a look again; each is twice as long as the one before.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Longest pause. After all of them a lease counts as held: the server needs a moment to see that
/// a killed owner's links are gone.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(160);
/// How long sessions of an owner whose control session is gone are waited for: a statement that
/// runs does not look for its client.
const LINGER_MAX: Duration = Duration::from_secs(3);

/// A literal that tells one server from another: locks of names are seen by one server only.
pub(super) fn server(store: &MysqlStore) -> String {
    let facts = store.facts();
    match &facts.server_uuid {
        Some(uuid) => text(uuid),
        None => text(&store.config.place()),
    }
}

/// Takes the lease if it is free, abandoned or expired.
pub(super) async fn acquire(store: &MysqlStore, request: &LeaseRequest) -> Result<LeaseOutcome> {
    let key = &request.key;
    let started = Instant::now();
    let mut pause = LOOK_AGAIN;
    loop {
        let token = uuid::Uuid::new_v4().to_string();
        let sql = |session: u64| decide_statements(store, request, &token, session);
        let answer = Answer::read(&decide(store, sql).await?)?;
        if answer.acquired {
            let lease = Lease {
                key: key.clone(),
                epoch: answer.epoch,
                duration: request.duration,
            };
            move_fence(store, &lease).await?;
            return Ok(LeaseOutcome::Acquired {
                lease,
                taken_from: answer.taken_from,
            });
        }
        let may_be_dying = answer.same_server
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
pub(super) async fn renew(store: &MysqlStore, lease: &Lease) -> Result<()> {
    match extend(store, lease).await {
        Err(error) if error.class == ErrorClass::Connection => extend(store, lease).await,
        outcome => outcome,
    }
}

async fn extend(store: &MysqlStore, lease: &Lease) -> Result<()> {
    let row = key_is("", &lease.key);
    let ours = format!("{row} AND epoch = {} AND owner IS NOT NULL", lease.epoch);
    let mut session = store.control().await?;
    let extended = in_transaction(
        &mut session,
        &format!(
            "START TRANSACTION;\n\
             SELECT epoch FROM _syncset_lease WHERE {ours} FOR UPDATE;\n\
             UPDATE _syncset_lease SET expires_at = {} WHERE {ours};\nCOMMIT",
            from_now(lease.duration)
        ),
    )
    .await;
    let sets = extended.map_err(|error| {
        if is_missing(&error) {
            fenced(lease)
        } else {
            error
        }
    })?;
    if sets.first().is_none_or(Vec::is_empty) {
        return Err(fenced(lease));
    }
    // The control session may have been replaced since it was listed.
    enlist(&mut session, lease, Member::Control).await
}

/// Gives the lease back.
pub(super) async fn release(store: &MysqlStore, lease: &Lease) -> Result<()> {
    let row = key_is("", &lease.key);
    let mut session = store.control().await?;
    let released = in_transaction(
        &mut session,
        &format!(
            "START TRANSACTION;\n\
             UPDATE _syncset_lease SET owner = NULL, expires_at = {NOW} \
             WHERE {row} AND epoch = {epoch};\n\
             DELETE FROM _syncset_lease_session WHERE {row} AND epoch <= {epoch};\nCOMMIT",
            epoch = lease.epoch,
        ),
    )
    .await;
    match released {
        Err(error) if !is_missing(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Takes the lease away from whoever has it and leaves it free.
pub(super) async fn unlock(store: &MysqlStore, key: &PipelineKey) -> Result<Option<String>> {
    let token = text(&uuid::Uuid::new_v4().to_string());
    let row = key_is("", key);
    let sql = format!(
        "START TRANSACTION;\n\
         SELECT epoch FROM _syncset_lease WHERE {row} FOR UPDATE;\n\
         UPDATE _syncset_lease SET taken_from = owner, owner = NULL, token = {token}, \
         epoch = {next}, expires_at = {NOW} WHERE {row} AND owner IS NOT NULL;\n\
         SELECT epoch, taken_from FROM _syncset_lease WHERE {row} AND token = {token};\n\
         COMMIT",
        next = next_epoch(key),
    );
    let answer = match decide(store, |_| sql.clone()).await {
        Ok(answer) => answer,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(row) = answer.last().and_then(|rows| rows.first()) else {
        return Ok(None);
    };
    let lease = Lease {
        key: key.clone(),
        epoch: row.parse(0)?,
        duration: Duration::ZERO,
    };
    let owner = row.text(1).map(str::to_owned);
    move_fence(store, &lease).await?;
    Ok(owner)
}

/// What a session is to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    /// It lives as long as the owner does.
    Control,
    /// It writes units or sends DDL.
    Writer,
}

/// Makes this session one of the owner's: it holds a lock of a name of its own, and the name is
/// listed. One round trip; once per session and lease, outside of any transaction.
///
/// # Errors
/// `Fenced` if the lease is no longer ours: a successor must not look alive because its
/// predecessor is.
pub(crate) async fn enlist(session: &mut Session, lease: &Lease, member: Member) -> Result<()> {
    let name = text(&lock_name(&lease.key, session.id));
    let ours = format!("{} AND l.epoch = {}", key_is("l.", &lease.key), lease.epoch);
    let sets = in_transaction(
        session,
        &format!(
            "SELECT GET_LOCK({name}, 0);\nSTART TRANSACTION;\n{};\n\
             SELECT s.epoch FROM _syncset_lease_session s JOIN _syncset_lease l \
             ON l.project = s.project AND l.pipeline = s.pipeline AND l.epoch = s.epoch \
             WHERE {ours} AND s.lock_name = {name};\nCOMMIT",
            list_session(&name, member, &ours),
        ),
    )
    .await?;
    let answer = |set: usize| sets.get(set).and_then(|rows| rows.first()?.text(0));
    if answer(0) != Some("1") {
        return Err(error::unexpected("the server refused a lock of a new name"));
    }
    if answer(1).is_none() {
        return Err(fenced(lease));
    }
    Ok(())
}

/// Lists a name under the epoch of the lease `l` of this condition, if there is one.
fn list_session(name: &str, member: Member, condition: &str) -> String {
    let control = u8::from(member == Member::Control);
    format!(
        "INSERT INTO _syncset_lease_session (project, pipeline, lock_name, epoch, control) \
         SELECT l.project, l.pipeline, {name}, l.epoch, {control} FROM _syncset_lease l \
         WHERE {condition} AND l.owner IS NOT NULL \
         ON DUPLICATE KEY UPDATE epoch = l.epoch, control = {control}"
    )
}

/// Tells the sessions of this process from all others: a server that was restarted begins to count
/// its sessions anew.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let mut name = uuid::Uuid::new_v4().simple().to_string();
    name.truncate(16);
    name
});

/// A name that no other session has. Names have 64 characters at most, and are seen by all
/// databases of the server.
fn lock_name(key: &PipelineKey, session: u64) -> String {
    let digest = Sha256::digest(format!("{}\0{}", key.project, key.pipeline));
    let hash: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("syncset:{hash}:{}:{session}", *PROCESS)
}

/// What the server answered to [`decide_statements`].
struct Answer {
    acquired: bool,
    epoch: u64,
    owner: Option<String>,
    taken_from: Option<String>,
    expires_in: Duration,
    same_server: bool,
    control_alive: bool,
}

impl Answer {
    fn read(sets: &[Vec<TextRow>]) -> Result<Self> {
        let row = sets
            .last()
            .and_then(|rows| rows.first())
            .ok_or_else(|| unanswered("who has the lease"))?;
        Ok(Self {
            acquired: row.is_true(0),
            epoch: row.parse(1)?,
            owner: row.text(2).map(str::to_owned),
            taken_from: row.text(3).map(str::to_owned),
            expires_in: Duration::from_millis(row.parse(4)?),
            same_server: row.is_true(5),
            control_alive: row.is_true(6),
        })
    }
}

/// One message: decides whether the lease is to be had, and if so takes it and lists the session
/// that sends it.
///
/// In a cluster a session of another member may hold an expired lease and still write, and nobody
/// here can end it: so it is waited for, or freed by hand.
fn decide_statements(
    store: &MysqlStore,
    request: &LeaseRequest,
    token: &str,
    session: u64,
) -> String {
    let name = text(&lock_name(&request.key, session));
    let key = &request.key;
    let row = key_is("", key);
    let token = text(token);
    let values = key_values(key);
    let server = server(store);
    let if_missing = |table: &str, columns: &str, more: &str| {
        format!(
            "INSERT INTO {table} (project, pipeline, {columns}) SELECT {values}, {more} FROM DUAL \
             WHERE NOT EXISTS (SELECT 1 FROM {table} x WHERE {});\n",
            key_is("x.", key)
        )
    };
    let expired = if store.facts().is_cluster {
        "FALSE".to_owned()
    } else {
        format!("l.expires_at <= {NOW}")
    };
    format!(
        "SELECT GET_LOCK({name}, 0);\nSTART TRANSACTION;\n{pipeline}{fence}{lease}\
         SELECT epoch FROM _syncset_lease WHERE {row} FOR UPDATE;\n\
         UPDATE _syncset_lease l SET taken_from = owner, owner = {owner}, token = {token}, \
         epoch = {next}, expires_at = {expiry}, server = {server} \
         WHERE {row} AND (l.owner IS NULL OR {expired} \
         OR (l.server = {server} AND NOT {any_alive}));\n\
         {listed};\n\
         SELECT l.token = {token}, l.epoch, l.owner, l.taken_from, {left}, l.server = {server}, \
         {control_alive} FROM _syncset_lease l WHERE {row};\nCOMMIT",
        pipeline = if_missing("_syncset_pipeline", "created_at", NOW),
        fence = if_missing("_syncset_fence", "epoch", "0"),
        lease = if_missing("_syncset_lease", "epoch, expires_at", &format!("0, {NOW}")),
        owner = text(&request.owner),
        next = next_epoch(key),
        expiry = from_now(request.duration),
        any_alive = alive("l", ""),
        control_alive = alive("l", "AND s.control = 1"),
        listed = list_session(
            &name,
            Member::Control,
            &format!("{} AND l.token = {token}", key_is("l.", key))
        ),
        left = left_ms("l"),
    )
}

/// Greater than every epoch that was ever given out.
fn next_epoch(key: &PipelineKey) -> String {
    format!(
        "GREATEST(epoch, COALESCE((SELECT f.epoch FROM _syncset_fence f WHERE {}), 0)) + 1",
        key_is("f.", key)
    )
}

/// Whether a session that is listed for the lease `alias` lives: it holds its name's lock.
pub(super) fn alive(alias: &str, which: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM _syncset_lease_session s WHERE s.project = {alias}.project \
         AND s.pipeline = {alias}.pipeline AND s.epoch = {alias}.epoch \
         AND IS_USED_LOCK(s.lock_name) IS NOT NULL {which})"
    )
}

/// Milliseconds until the lease `alias` expires.
pub(super) fn left_ms(alias: &str) -> String {
    format!("GREATEST(0, TIMESTAMPDIFF(MICROSECOND, {NOW}, {alias}.expires_at) DIV 1000)")
}

/// Sends a decision. Two that meet may deadlock at rows that both are about to create.
async fn decide(store: &MysqlStore, sql: impl Fn(u64) -> String) -> Result<Vec<Vec<TextRow>>> {
    let mut tries = 1;
    loop {
        let mut control = store.control().await?;
        let sql = sql(control.id);
        let failure = match in_transaction(&mut control, &sql).await {
            Ok(sets) => return Ok(sets),
            Err(failure) => failure,
        };
        if !matches!(error::number(&failure), Some(1205 | 1213 | 1062)) || tries == TRIES_MAX {
            return Err(failure);
        }
        tries += 1;
    }
}
