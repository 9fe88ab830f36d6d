//! A read replica of the source. The first look, which reads or hashes whole tables, is at it; the
//! source itself is asked only where something differs.
//!
//! What the replica has not received yet differs at the first look and not at the second one. It is
//! waited for all the same, where the stores tell how far they are: what the replica shows too old
//! could hide that the target went back to the same old value.

use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::open::{Ends, open_store};
use std::time::{Duration, Instant};
use syncset_connector::{LogPosition, Role, Source, Store};
use syncset_pipeline::ConnectionSpec;

/// Longest wait for a replica, if the check has no time of its own.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Between two questions to it.
const PAUSE: Duration = Duration::from_millis(100);

/// A replica that shows what the source held when the check began.
pub(super) struct Replica {
    store: Box<dyn Store>,
    /// Names of the two connections.
    name: String,
    source: String,
}

impl Replica {
    /// Opens the replica of a source, if it has one, and waits until it has what the source has.
    ///
    /// # Errors
    /// If it is none, or does not get there in time.
    pub(super) async fn of(
        source: &ConnectionSpec,
        ends: &Ends,
        until: Option<Instant>,
    ) -> Result<Option<Self>, Failure> {
        let Some(replica) = source.read_replica.as_deref() else {
            return Ok(None);
        };
        let opened = Self {
            store: open_store(replica, Role::Source, &ends.key, 1).await?,
            name: replica.name.clone(),
            source: source.name.clone(),
        };
        opened.catch_up(ends.source(), until).await?;
        fail_point("check.replica_ready");
        Ok(Some(opened))
    }

    /// Its reading side.
    pub(super) fn source(&self) -> Result<&dyn Source, Failure> {
        self.store.source().ok_or_else(|| {
            let message = format!("`{}` cannot be read", self.name);
            Failure::new(exit_code::CONFIG, message)
        })
    }

    /// What is said of a table that was compared at it.
    pub(super) fn sentence(&self) -> String {
        format!(
            "compared at the read replica `{}`; what differs was looked at again at `{}`",
            self.name, self.source
        )
    }

    /// Ends its sessions.
    pub(super) async fn close(self) {
        self.store.close().await;
    }

    async fn catch_up(&self, source: &dyn Source, until: Option<Instant>) -> Result<(), Failure> {
        let Some(wanted) = source.log_position().await? else {
            return Ok(());
        };
        let until = until.unwrap_or_else(|| Instant::now() + WAIT_MAX);
        loop {
            let Some(now) = self.source()?.log_position().await? else {
                return Ok(());
            };
            self.verify(&wanted, &now)?;
            if now.at >= wanted.at {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(self.lags(wanted.at - now.at));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether it follows the source at all.
    fn verify(&self, wanted: &LogPosition, now: &LogPosition) -> Result<(), Failure> {
        let Self { name, source, .. } = self;
        let is_other = matches!((&wanted.log, &now.log), (Some(one), Some(other)) if one != other);
        let why = match (is_other, now.replays) {
            (true, _) => "it is a database of another server",
            (false, false) => "it replays nothing, as if it had been promoted",
            (false, true) => return Ok(()),
        };
        let message = format!("`{name}` is no read replica of `{source}`: {why}");
        Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("correct `read_replica` in syncset.yaml, or take it out"))
    }

    fn lags(&self, bytes: u64) -> Failure {
        let Self { name, source, .. } = self;
        let message = format!(
            "the read replica `{name}` lags: it has not replayed {} of what `{source}` had written \
             when the check began",
            crate::cli::quantity::bytes(bytes)
        );
        Failure::new(exit_code::RETRY, message).with_hint(
            "check again when it has caught up, give it more time with `--max-seconds`, or take \
             `read_replica` out of syncset.yaml",
        )
    }
}
