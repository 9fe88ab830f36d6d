//! Sessions of a source that chunks hand on to each other.

use crate::connect::{PgStore, Session};
use std::sync::{Arc, Mutex, PoisonError};
use syncset_connector::Result;

/// Sessions at rest. They hold no place among those that may be open, so that whoever waits for
/// a place is never kept waiting by them.
#[derive(Clone, Default)]
pub(crate) struct ReaderPool(Arc<Mutex<Vec<Session>>>);

impl ReaderPool {
    /// A session at rest, or a new one.
    pub(crate) async fn session(&self, store: &PgStore) -> Result<Session> {
        let place = store.place().await;
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(mut session) => {
                session.take_place(place);
                Ok(session)
            }
            None => store.session_at(place).await,
        }
    }

    /// Takes back a session that is in no transaction.
    pub(crate) fn give_back(&self, mut session: Session) {
        if session.is_usable() {
            session.leave_place();
            let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(session);
        }
    }
}
