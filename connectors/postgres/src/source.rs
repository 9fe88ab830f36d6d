//! The reading side of a PostgreSQL database.

use crate::changes::{self, PgSnapshot};
use crate::connect::PgStore;
use crate::digest;
use crate::log_position::log_position;
use crate::sql;
use crate::widen;
use async_trait::async_trait;
use std::sync::Arc;
use syncset_connector::{
    KeyBound, LogPosition, Position, PositionOrder, Predicate, ReadPlan, Result, Snapshot,
    SnapshotRequest, SnapshotToken, Source, TableDescription, TableRead,
};

#[async_trait]
impl Source for PgStore {
    async fn prepare(&self, reads: &[Arc<TableRead>]) -> Result<Vec<ReadPlan>> {
        changes::prepare(self, reads).await
    }

    fn key_hash(&self) -> Option<&'static str> {
        Some(digest::NAME)
    }

    async fn warm_up(&self) {
        if let Ok(session) = self.readers.session(self).await {
            self.readers.give_back(session);
        }
    }

    fn can_push(&self, table: &TableDescription, predicate: &Predicate) -> Result<(), String> {
        sql::can_push(table, predicate)
    }

    fn widens(&self, before: &str, after: &str) -> bool {
        widen::holds(after, before)
    }

    async fn low_positions(&self, reads: &[Arc<TableRead>]) -> Result<Vec<Position>> {
        changes::low_positions(self, reads).await
    }

    async fn boundaries(&self, read: &TableRead, chunk_bytes: u64) -> Result<Vec<KeyBound>> {
        changes::boundaries(self, read, chunk_bytes).await
    }

    async fn open_snapshot(
        &self,
        requests: &[SnapshotRequest],
        shared: Option<&SnapshotToken>,
    ) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(PgSnapshot::open(self, requests, shared).await?))
    }

    fn position_time(&self, read: &TableRead, position: &Position) -> Option<i64> {
        changes::position_time(read, position)
    }

    fn compare(&self, left: &Position, right: &Position) -> PositionOrder {
        changes::compare(left, right)
    }

    async fn log_position(&self) -> Result<Option<LogPosition>> {
        log_position(self).await
    }
}
