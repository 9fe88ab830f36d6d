//! The state of pipelines in the tables `_syncset_*` of the target's database.
//!
//! Short messages go over the control session; what belongs to a unit is in [`fence`] and is sent
//! by the unit's writer within its own transaction.

mod adopt;
mod fence;
mod kept;
mod lease;
mod load;
mod made;
mod pending;
mod runs;
mod schema;
mod search;
mod streams;
mod takeover;
mod text;

pub(crate) use fence::{
    Finish, LOCK_SETS, check_locked, finish, finish_together, forget_statements, lock_statements,
    rejected_statements, was_committed,
};
pub(crate) use kept::{keep_statements, reverted_statement};
pub(crate) use lease::{Member, enlist};
pub(crate) use made::{
    done_statement, marked_comment, plan_statement, reload_statement, with_mark_of, without_mark,
};
pub(crate) use pending::PendingRows;
pub(crate) use streams::under_fences;

use crate::connect::{MysqlStore, Session, TextRow};
use async_trait::async_trait;
use syncset_connector::{
    KeptRow, KeptRun, Lease, LeaseOutcome, LeaseRequest, LoadPlan, PipelineKey, PipelineState,
    Position, Result, Retelling, Retention, RunRecord, StateStore, StreamState,
};

#[async_trait]
impl StateStore for MysqlStore {
    async fn ensure(&self) -> Result<()> {
        schema::ensure(self).await
    }

    async fn load(&self, key: &PipelineKey, run_count: u32) -> Result<PipelineState> {
        load::load(self, key, run_count).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseOutcome> {
        lease::acquire(self, request).await
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        lease::renew(self, lease).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        lease::release(self, lease).await
    }

    async fn unlock(&self, key: &PipelineKey) -> Result<Option<String>> {
        lease::unlock(self, key).await
    }

    async fn begin_load(&self, lease: &Lease, loads: &[LoadPlan]) -> Result<Vec<StreamState>> {
        streams::begin_load(self, lease, loads).await
    }

    async fn move_idle(&self, lease: &Lease, moves: &[(String, u64, Position)]) -> Result<()> {
        streams::move_idle(self, lease, moves).await
    }

    async fn retell(&self, lease: &Lease, retellings: &[Retelling]) -> Result<()> {
        streams::retell(self, lease, retellings).await
    }

    async fn searches(&self, key: &PipelineKey) -> Result<Vec<(String, i64)>> {
        search::searches(self, key).await
    }

    async fn store_searches(&self, lease: &Lease, streams: &[String], at: i64) -> Result<()> {
        search::store_searches(self, lease, streams, at).await
    }

    async fn record_run(
        &self,
        key: &PipelineKey,
        run: &RunRecord,
        keep: &Retention,
    ) -> Result<u64> {
        runs::record_run(self, key, run, keep).await
    }

    async fn reset(&self, lease: &Lease, streams: &[String]) -> Result<Vec<String>> {
        streams::reset(self, lease, streams).await
    }

    async fn forget_rejected(
        &self,
        lease: &Lease,
        rows: &[(String, serde_json::Value)],
    ) -> Result<()> {
        streams::forget_rejected(self, lease, rows).await
    }

    async fn kept_runs(&self, key: &PipelineKey) -> Result<Vec<KeptRun>> {
        kept::kept_runs(self, key).await
    }

    async fn kept_rows(
        &self,
        key: &PipelineKey,
        run_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<KeptRow>> {
        kept::kept_rows(self, key, (run_id, after), limit).await
    }

    async fn adopt(&self, from: &Lease, to: &Lease) -> Result<()> {
        adopt::adopt(self, from, to).await
    }
}

/// Runs statements that begin and end a transaction; all their result sets.
async fn in_transaction(session: &mut Session, sql: &str) -> Result<Vec<Vec<TextRow>>> {
    let outcome = session.result_sets(sql).await;
    if outcome.is_err() {
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
    }
    outcome
}
