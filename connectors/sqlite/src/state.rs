//! `_syncset`: tables beside the user's own, in the file that is written.

mod adopt;
pub(crate) mod kept;
pub(crate) mod made;
pub(crate) mod records;
pub(crate) mod rows;
mod schema;
mod search;

use crate::cell::{Cell, cell, integer, text};
use crate::connect::{Database, Session, Writing, arguments};
use crate::lease::{Leases, Liveness, liveness, lock_path};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    ConnectorError, ErrorClass, KeptRow, KeptRun, Lease, LeaseOutcome, LeaseRequest, LoadPlan,
    PipelineKey, PipelineState, Position, Result, Retelling, Retention, RunRecord, StateStore,
    StreamState,
};

/// Tries to take a lease while others take and release it.
const ACQUIRE_TRIES_MAX: u32 = 5;

/// The state in one file.
pub(crate) struct SqliteState {
    database: Arc<Database>,
    leases: Arc<Leases>,
    lock_timeout: Duration,
}

impl SqliteState {
    /// The state in an opened file.
    pub(crate) fn new(
        database: Arc<Database>,
        leases: Arc<Leases>,
        lock_timeout: Duration,
    ) -> Self {
        Self {
            database,
            leases,
            lock_timeout,
        }
    }

    /// Drops the locks of this process.
    pub(crate) async fn release_all(&self) {
        self.leases.unlock_all();
    }

    /// Epoch and owner as they are stored.
    async fn stored_lease(
        session: &mut Session,
        key: &PipelineKey,
    ) -> Result<(u64, Option<String>)> {
        let sql = "SELECT epoch, owner FROM _syncset_pipeline WHERE project = ? AND pipeline = ?";
        let arguments = arguments![key.project.as_str(), key.pipeline.as_str()];
        let rows = session.rows(sql, arguments, "reading the lease").await?;
        Ok(rows.first().map_or((0, None), |row| {
            (u64::try_from(integer(row, 0)).unwrap_or(0), text(row, 1))
        }))
    }

    fn liveness(&self, key: &PipelineKey, epoch: u64) -> Result<Liveness> {
        liveness(&lock_path(&self.database.path, key, epoch))
    }

    /// One try to take the lease; `None`: somebody else was quicker.
    async fn try_acquire(&self, request: &LeaseRequest) -> Result<Option<LeaseOutcome>> {
        let key = &request.key;
        let mut session = self.database.session().await?;
        let (epoch, stored_owner) = Self::stored_lease(&mut session, key).await?;
        session.release();
        let expired_owner = match self.liveness(key, epoch)? {
            Liveness::Gone => None,
            Liveness::Alive {
                owner,
                expires_in: Some(expires_in),
            } => return Ok(Some(LeaseOutcome::Held { owner, expires_in })),
            Liveness::Alive {
                owner,
                expires_in: None,
            } => Some(owner),
        };
        let mut writing = match (
            Writing::begin(&self.database, "taking the lease").await,
            &expired_owner,
        ) {
            (Ok(writing), _) => writing,
            (Err(error), Some(owner)) if error.class == ErrorClass::Transient => {
                return Err(ConnectorError::new(
                    ErrorClass::Locked,
                    format!("the lease of `{key}` is expired, but its owner `{owner}` keeps the database locked"),
                )
                .with_hint(format!(
                    "it was waited for {} ms; end that process, then run again",
                    self.lock_timeout.as_millis()
                ))
                .caused_by(error));
            }
            (Err(error), _) => return Err(error),
        };
        if Self::stored_lease(&mut writing.session, key).await?.0 != epoch {
            writing.rollback().await;
            return Ok(None);
        }
        let mine = epoch + 1;
        let path = lock_path(&self.database.path, key, mine);
        self.leases
            .lock(path, key, mine, (&request.owner, request.duration))?;
        let stored = store_lease(&mut writing.session, key, mine, Some(&request.owner)).await;
        let committed = match stored {
            Ok(()) => writing.commit("taking the lease").await,
            Err(error) => Err(error),
        };
        if let Err(error) = committed {
            self.leases.unlock(key, mine);
            return Err(error);
        }
        // The file of the former owner: its lock is gone, or proves nothing any more.
        let _ = std::fs::remove_file(lock_path(&self.database.path, key, epoch));
        Ok(Some(LeaseOutcome::Acquired {
            lease: Lease {
                key: key.clone(),
                epoch: mine,
                duration: request.duration,
            },
            taken_from: expired_owner.or(stored_owner),
        }))
    }
}

async fn store_lease(
    session: &mut Session,
    key: &PipelineKey,
    epoch: u64,
    owner: Option<&str>,
) -> Result<()> {
    let sql = "INSERT INTO _syncset_pipeline (project, pipeline, epoch, owner) VALUES (?, ?, ?, ?) \
               ON CONFLICT (project, pipeline) DO UPDATE SET epoch = excluded.epoch, owner = excluded.owner";
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    let arguments = arguments![key.project.as_str(), key.pipeline.as_str(), epoch, owner];
    session.execute(sql, arguments, "storing the lease").await?;
    Ok(())
}

/// Verifies that the epoch is still the lease's. In a unit this comes first: the unit holds
/// SQLite's write lock, so nobody can change it before the unit's commit.
pub(crate) async fn check_fence(session: &mut Session, lease: &Lease) -> Result<()> {
    let sql = "SELECT epoch FROM _syncset_pipeline WHERE project = ? AND pipeline = ?";
    let arguments = arguments![lease.key.project.as_str(), lease.key.pipeline.as_str()];
    let rows = session.rows(sql, arguments, "checking the fence").await?;
    let epoch = rows.first().map_or(Cell::Null, |row| cell(row, 0));
    let mine = i64::try_from(lease.epoch).unwrap_or(i64::MAX);
    if epoch == Cell::Integer(mine) {
        Ok(())
    } else {
        Err(fenced(&lease.key))
    }
}

/// The error of a runner that has been pushed aside.
pub(crate) fn fenced(key: &PipelineKey) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Fenced,
        format!("another run of `{key}` has taken over"),
    )
    .with_hint("nothing more was written; see `pipeline status` for the other run")
}

#[async_trait]
impl StateStore for SqliteState {
    async fn ensure(&self) -> Result<()> {
        schema::ensure(&self.database).await
    }

    async fn load(&self, key: &PipelineKey, run_count: u32) -> Result<PipelineState> {
        let mut session = self.database.session().await?;
        let Some(version) = schema::version(&mut session).await? else {
            session.release();
            return Ok(PipelineState::default());
        };
        // One transaction, so that watermarks and chunks fit each other.
        session.run("BEGIN", "reading the state").await?;
        let state = PipelineState {
            streams: rows::streams(&mut session, key).await?,
            runs: records::runs(&mut session, key, run_count).await?,
            last_success: match run_count {
                0 => None,
                _ => records::last_success(&mut session, key).await?,
            },
            rejected: records::rejected(&mut session, key).await?,
            pending_deletes: rows::pending_deletes(&mut session, key, version).await?,
            owners: rows::owners(&mut session).await?,
            made: made::read(&mut session, key).await?,
            holder: None,
        };
        let (epoch, _) = Self::stored_lease(&mut session, key).await?;
        session.run("COMMIT", "reading the state").await?;
        session.release();
        let holder = match self.liveness(key, epoch)? {
            Liveness::Gone => None,
            Liveness::Alive { owner, expires_in } => Some((owner, expires_in.unwrap_or_default())),
        };
        Ok(PipelineState { holder, ..state })
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseOutcome> {
        for _ in 0..ACQUIRE_TRIES_MAX {
            if let Some(outcome) = self.try_acquire(request).await? {
                return Ok(outcome);
            }
        }
        Err(ConnectorError::new(
            ErrorClass::Transient,
            format!("the lease of `{}` changes hands too quickly", request.key),
        ))
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        let mut session = self.database.session().await?;
        check_fence(&mut session, lease).await?;
        session.release();
        if self.leases.renew(&lease.key, lease.epoch, lease.duration)? {
            Ok(())
        } else {
            Err(fenced(&lease.key))
        }
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let mut writing = Writing::begin(&self.database, "releasing the lease").await?;
        let released = match check_fence(&mut writing.session, lease).await {
            Ok(()) => {
                store_lease(&mut writing.session, &lease.key, lease.epoch, None).await?;
                writing.commit("releasing the lease").await
            }
            Err(_) => {
                writing.rollback().await;
                Ok(())
            }
        };
        self.leases.unlock(&lease.key, lease.epoch);
        released
    }

    async fn unlock(&self, key: &PipelineKey) -> Result<Option<String>> {
        let mut session = self.database.session().await?;
        let known = schema::version(&mut session).await?.is_some();
        session.release();
        if !known {
            return Ok(None);
        }
        let mut writing = Writing::begin(&self.database, "unlocking").await?;
        let (epoch, owner) = Self::stored_lease(&mut writing.session, key).await?;
        if owner.is_some() {
            store_lease(&mut writing.session, key, epoch + 1, None).await?;
        }
        writing.commit("unlocking").await?;
        if owner.is_some() {
            let _ = std::fs::remove_file(lock_path(&self.database.path, key, epoch));
        }
        Ok(owner)
    }

    async fn begin_load(&self, lease: &Lease, loads: &[LoadPlan]) -> Result<Vec<StreamState>> {
        let mut writing = Writing::begin(&self.database, "beginning a load").await?;
        check_fence(&mut writing.session, lease).await?;
        // All that belongs to the tables is let go before the first is claimed: two streams may
        // have swapped their targets.
        for load in loads {
            rows::let_go(&mut writing.session, &lease.key, load).await?;
        }
        for load in loads {
            rows::claim(&mut writing.session, &lease.key, load).await?;
            rows::store_load(&mut writing.session, &lease.key, load).await?;
        }
        let mut streams = rows::streams(&mut writing.session, &lease.key).await?;
        writing.commit("beginning a load").await?;
        let position =
            |stream: &StreamState| loads.iter().position(|load| load.stream == stream.stream);
        streams.retain(|stream| position(stream).is_some());
        streams.sort_by_key(position);
        Ok(streams)
    }

    async fn move_idle(&self, lease: &Lease, moves: &[(String, u64, Position)]) -> Result<()> {
        let mut writing = Writing::begin(&self.database, "moving watermarks").await?;
        check_fence(&mut writing.session, lease).await?;
        for (stream, version, position) in moves {
            rows::move_watermark(
                &mut writing.session,
                &lease.key,
                stream,
                *version,
                position,
                None,
            )
            .await?;
        }
        writing.commit("moving watermarks").await
    }

    async fn retell(&self, lease: &Lease, retellings: &[Retelling]) -> Result<()> {
        let mut writing = Writing::begin(&self.database, "storing selections").await?;
        check_fence(&mut writing.session, lease).await?;
        for retelling in retellings {
            rows::retell(&mut writing.session, &lease.key, retelling).await?;
        }
        writing.commit("storing selections").await
    }

    async fn searches(&self, key: &PipelineKey) -> Result<Vec<(String, i64)>> {
        let mut session = self.database.session().await?;
        let searches = match schema::has_searches(schema::version(&mut session).await?) {
            true => search::read(&mut session, key).await?,
            false => Vec::new(),
        };
        session.release();
        Ok(searches)
    }

    async fn store_searches(&self, lease: &Lease, streams: &[String], at: i64) -> Result<()> {
        let place = "storing that tables were searched";
        let mut writing = Writing::begin(&self.database, place).await?;
        check_fence(&mut writing.session, lease).await?;
        for stream in streams {
            search::store(&mut writing.session, &lease.key, stream, at).await?;
        }
        writing.commit(place).await
    }

    async fn record_run(
        &self,
        key: &PipelineKey,
        run: &RunRecord,
        keep: &Retention,
    ) -> Result<u64> {
        let mut writing = Writing::begin(&self.database, "recording the run").await?;
        records::record_run(&mut writing.session, key, run).await?;
        let dropped = records::drop_old(&mut writing.session, key, &run.run_id, keep).await?;
        writing.commit("recording the run").await?;
        Ok(dropped)
    }

    async fn reset(&self, lease: &Lease, streams: &[String]) -> Result<Vec<String>> {
        let mut writing = Writing::begin(&self.database, "resetting").await?;
        check_fence(&mut writing.session, lease).await?;
        let known = rows::streams(&mut writing.session, &lease.key).await?;
        let chosen: Vec<String> = known
            .into_iter()
            .map(|stream| stream.stream)
            .filter(|stream| streams.is_empty() || streams.contains(stream))
            .collect();
        for stream in &chosen {
            rows::forget(&mut writing.session, &lease.key, stream).await?;
        }
        writing.commit("resetting").await?;
        Ok(chosen)
    }

    async fn forget(&self, lease: &Lease, streams: &[String]) -> Result<()> {
        let place = "forgetting tables";
        let mut writing = Writing::begin(&self.database, place).await?;
        check_fence(&mut writing.session, lease).await?;
        for stream in streams {
            rows::forget(&mut writing.session, &lease.key, stream).await?;
            rows::disclaim(&mut writing.session, &lease.key, stream).await?;
        }
        writing.commit(place).await
    }

    async fn forget_rejected(
        &self,
        lease: &Lease,
        rows: &[(String, serde_json::Value)],
    ) -> Result<()> {
        let mut writing = Writing::begin(&self.database, "forgetting rejected rows").await?;
        check_fence(&mut writing.session, lease).await?;
        for (stream, key) in rows {
            let keys = std::slice::from_ref(key);
            records::forget_rejected(&mut writing.session, &lease.key, stream, keys).await?;
        }
        writing.commit("forgetting rejected rows").await
    }

    async fn kept_runs(&self, key: &PipelineKey) -> Result<Vec<KeptRun>> {
        let mut session = self.database.session().await?;
        let runs = match schema::has_before_images(schema::version(&mut session).await?) {
            true => kept::runs(&mut session, key).await?,
            false => Vec::new(),
        };
        session.release();
        Ok(runs)
    }

    async fn kept_rows(
        &self,
        key: &PipelineKey,
        run_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<KeptRow>> {
        let mut session = self.database.session().await?;
        let rows = kept::rows(&mut session, key, (run_id, after), limit).await?;
        session.release();
        Ok(rows)
    }

    async fn adopt(&self, from: &Lease, to: &Lease) -> Result<()> {
        let place = "adopting the state of another pipeline";
        let mut writing = Writing::begin(&self.database, place).await?;
        check_fence(&mut writing.session, from).await?;
        check_fence(&mut writing.session, to).await?;
        adopt::adopt(&mut writing.session, &from.key, &to.key).await?;
        writing.commit(place).await
    }
}
