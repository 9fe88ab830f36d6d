//! Careful mode: finds the rows that the server refuses, one by one, and writes all others.
//!
//! A batch is tried as a whole within a savepoint; if it is refused it is halved, down to single
//! rows. Only what refuses a row may be followed by a rollback to the savepoint: after a deadlock
//! the whole transaction is gone, and the next statement would commit alone.

use super::MysqlUnit;
use super::plan::Path;
use super::send::send_rows;
use arrow_array::RecordBatch;
use std::ops::Range;
use syncset_connector::{ConnectorError, ErrorClass, Rejection, Result};

/// Rows of one unit that may be refused before it is given up.
const REJECTIONS_MAX: usize = 1000;

impl MysqlUnit {
    /// Stages and applies a batch: rows applied, and the rows that were refused.
    pub(super) async fn apply_carefully(
        &mut self,
        place: usize,
        path: &Path,
        batch: &RecordBatch,
    ) -> Result<(u64, Vec<Rejection>)> {
        let stage = path.stage.as_ref().expect("careful units stage every row");
        self.create_stage(place, stage).await?;
        let mut applied = 0;
        let mut rejections: Vec<Rejection> = Vec::new();
        let mut ranges = Vec::new();
        ranges.push(0..batch.num_rows());
        while let Some(rows) = ranges.pop() {
            self.execute("SAVEPOINT syncset_careful").await?;
            let error = match self.try_rows(place, path, batch, rows.clone()).await {
                Ok(count) => {
                    applied += count;
                    self.execute("RELEASE SAVEPOINT syncset_careful").await?;
                    continue;
                }
                Err(error) => error,
            };
            if !matches!(error.class, ErrorClass::RowRefused | ErrorClass::RowParked) {
                return Err(self.examined(error));
            }
            self.execute("ROLLBACK TO SAVEPOINT syncset_careful")
                .await?;
            if rows.len() > 1 {
                // The first half is popped first, so that rows are tried in their order.
                let middle = rows.start + rows.len() / 2;
                ranges.push(middle..rows.end);
                ranges.push(rows.start..middle);
                continue;
            }
            rejections.push(rejection(rows.start, error));
            self.rejected_count += 1;
            if self.rejected_count > REJECTIONS_MAX {
                return Err(too_many());
            }
        }
        Ok((applied, rejections))
    }

    /// Stages and applies some rows.
    async fn try_rows(
        &mut self,
        place: usize,
        path: &Path,
        batch: &RecordBatch,
        rows: Range<usize>,
    ) -> Result<u64> {
        let stage = path.stage.as_ref().expect("careful units stage every row");
        let facts = self.facts.clone();
        send_rows(self.session()?, &facts, path, batch, rows).await?;
        let applied = self.apply(place, &stage.apply).await?;
        self.empty(&stage.name).await?;
        Ok(applied)
    }
}

fn rejection(row: usize, error: ConnectorError) -> Rejection {
    Rejection {
        row,
        parked: error.class == ErrorClass::RowParked,
        reason: error.message,
        code: error.code,
    }
}

fn too_many() -> ConnectorError {
    ConnectorError::new(
        ErrorClass::RowRefused,
        format!("more than {REJECTIONS_MAX} rows of one unit were refused"),
    )
    .with_hint("the reason is probably one and the same; look at the rows stored as rejected")
}
