//! Idle sessions of a target and the shapes of its tables: what units hand on to each other.

use super::catalog::{self, Shape};
use crate::connect::{MysqlStore, ServerFacts, Session};
use crate::state::{self, Member};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use syncset_connector::{ConnectorError, ErrorClass, Lease, Result, TableName};

/// Longest wait for a table's metadata lock in seconds: what waits for it keeps everybody who comes
/// later waiting too.
const METADATA_LOCK_S: u64 = 5;

/// What units of one store share.
#[derive(Default)]
pub(crate) struct WriterPool {
    idle: Mutex<Vec<Enlisted>>,
    /// Units that wait for a session: one that is given back is then ended, which frees its place.
    waiting: AtomicUsize,
    shapes: Mutex<HashMap<TableName, Arc<Shape>>>,
    /// DDL commits by itself, so what it is about is looked at and recorded by one at a time.
    pub(crate) ddl: tokio::sync::Mutex<()>,
}

/// A session with the epoch it is listed under as a session of the lease's holder.
struct Enlisted {
    session: Session,
    epoch: u64,
}

impl WriterPool {
    /// An idle session, or a new one that is listed among those of the lease's holder. A session
    /// whose link was lost is never made again: its lock of a name went with it.
    pub(crate) async fn session(&self, store: &MysqlStore, lease: &Lease) -> Result<Session> {
        let idle = locked(&self.idle).pop();
        let Enlisted { mut session, epoch } = match idle {
            Some(enlisted) => enlisted,
            None => Enlisted {
                session: self.new_session(store).await?,
                epoch: 0,
            },
        };
        if epoch != lease.epoch {
            state::enlist(&mut session, lease, Member::Writer).await?;
        }
        Ok(session)
    }

    async fn new_session(&self, store: &MysqlStore) -> Result<Session> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let session = store.session().await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let mut session = session?;
        session
            .execute_each(&settings(store.options.lock_timeout))
            .await?;
        Ok(session)
    }

    /// Takes back a session that is in no transaction.
    pub(crate) fn give_back(&self, session: Session, lease: &Lease) {
        if session.is_usable() && self.waiting.load(Ordering::SeqCst) == 0 {
            locked(&self.idle).push(Enlisted {
                session,
                epoch: lease.epoch,
            });
        }
    }

    /// Drops all idle sessions: their links may be broken.
    pub(crate) fn drop_idle(&self) {
        locked(&self.idle).clear();
    }

    /// Ends all idle sessions.
    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut *locked(&self.idle));
        for enlisted in idle {
            enlisted.session.close().await;
        }
    }

    /// The shape of a table, asked for only once.
    ///
    /// # Errors
    /// `TargetDiffers` if there is no such table.
    pub(crate) async fn shape(
        &self,
        session: &mut Session,
        facts: &ServerFacts,
        table: &TableName,
    ) -> Result<Arc<Shape>> {
        if let Some(shape) = locked(&self.shapes).get(table) {
            return Ok(Arc::clone(shape));
        }
        let shape = catalog::shapes(session, facts, &[table])
            .await?
            .pop()
            .flatten()
            .ok_or_else(|| {
                ConnectorError::new(
                    ErrorClass::TargetDiffers,
                    format!("the target has no table `{table}`"),
                )
                .with_hint("run again: the table is created when it is missing")
            })?;
        let shape = Arc::new(shape);
        self.remember(table, &shape);
        Ok(shape)
    }

    /// Keeps a shape for units to come.
    pub(crate) fn remember(&self, table: &TableName, shape: &Arc<Shape>) {
        locked(&self.shapes).insert(table.clone(), Arc::clone(shape));
    }

    /// Forgets all shapes: a table was altered, or an error could come from that.
    pub(crate) fn forget_shapes(&self) {
        locked(&self.shapes).clear();
    }
}

/// Settings of a session for units: nothing in it commits by itself but DDL.
fn settings(lock_timeout: Duration) -> String {
    let seconds = lock_timeout.as_secs().clamp(1, METADATA_LOCK_S);
    format!(
        "SET SESSION autocommit = 0, sql_notes = 1, sql_safe_updates = 0, \
         lock_wait_timeout = {seconds}; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    )
}

/// No code panics while it holds one of these locks, so what is inside is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
