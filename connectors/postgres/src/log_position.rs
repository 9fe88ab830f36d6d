//! How far the log of the server has come.

use crate::connect::PgStore;
use syncset_connector::{LogPosition, Result};

/// What is flushed, or replayed. Commits that nobody waited for may not be in it yet.
const SQL: &str = "SELECT pg_catalog.pg_is_in_recovery(),
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
      ELSE pg_catalog.pg_current_wal_flush_lsn() END
    OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn";

/// How far it is; `None` for a server that recovers and has replayed nothing.
pub(crate) async fn log_position(store: &PgStore) -> Result<Option<LogPosition>> {
    let rows = store.control().await?.rows(SQL).await?;
    let Some(row) = rows.first().filter(|row| row.text(1).is_some()) else {
        return Ok(None);
    };
    let facts = store.facts();
    let system = facts.system_identifier.as_ref();
    Ok(Some(LogPosition {
        log: system.map(|system| format!("{system}/{}", facts.database_oid)),
        replays: row.is_true(0),
        at: row.parse(1)?,
    }))
}
