//! Idle sessions of a target and the shapes of its tables: what units hand on to each other.

use super::catalog::{self, Shape};
use crate::connect::{PgStore, Session};
use crate::state;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use syncset_connector::{ConnectorError, ErrorClass, Lease, Result, TableName};

/// What units of one store share.
#[derive(Default)]
pub(crate) struct WriterPool {
    idle: Mutex<Vec<Enlisted>>,
    /// Units that wait for a session: one that is given back is then ended, which frees its place.
    waiting: AtomicUsize,
    shapes: Mutex<HashMap<TableName, Arc<Shape>>>,
}

/// A session with the epoch it is listed under as a session of the lease's holder.
struct Enlisted {
    session: Session,
    epoch: u64,
}

impl WriterPool {
    /// An idle session, or a new one that is listed among those of the lease's holder.
    pub(crate) async fn session(&self, store: &PgStore, lease: &Lease) -> Result<Session> {
        let idle = locked(&self.idle).pop();
        let Enlisted { mut session, epoch } = match idle {
            Some(enlisted) => enlisted,
            None => Enlisted {
                session: self.new_session(store).await?,
                epoch: 0,
            },
        };
        if epoch != lease.epoch {
            state::register_session(&mut session, lease).await?;
        }
        Ok(session)
    }

    async fn new_session(&self, store: &PgStore) -> Result<Session> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let session = store.session().await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        session
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
        table: &TableName,
    ) -> Result<Arc<Shape>> {
        if let Some(shape) = locked(&self.shapes).get(table) {
            return Ok(Arc::clone(shape));
        }
        let shape = catalog::shapes(session, &[table])
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

/// No code panics while it holds one of these locks, so what is inside is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
