//! The reading side of a database of MySQL or MariaDB.

use crate::changes::{self, MysqlSnapshot};
use crate::connect::MysqlStore;
use crate::sql;
use crate::widen;
use async_trait::async_trait;
use std::sync::Arc;
use syncset_connector::{
    KeyBound, Position, PositionOrder, Predicate, ReadPlan, Result, Snapshot, SnapshotRequest,
    SnapshotToken, Source, TableDescription, TableRead,
};

#[async_trait]
impl Source for MysqlStore {
    async fn prepare(&self, reads: &[Arc<TableRead>]) -> Result<Vec<ReadPlan>> {
        changes::prepare(self, reads).await
    }

    async fn warm_up(&self) {
        if let Ok(session) = self.session().await {
            self.give_back(session);
        }
    }

    fn can_push(&self, table: &TableDescription, predicate: &Predicate) -> Result<(), String> {
        sql::render(table, predicate, self.config.rules).map(|_| ())
    }

    fn widens(&self, before: &str, after: &str) -> bool {
        widen::widens(before, after)
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
        Ok(Box::new(MysqlSnapshot::open(self, requests, shared).await?))
    }

    fn position_time(&self, read: &TableRead, position: &Position) -> Option<i64> {
        changes::position_time(read, position)
    }

    fn compare(&self, left: &Position, right: &Position) -> PositionOrder {
        changes::compare(left, right)
    }
}
