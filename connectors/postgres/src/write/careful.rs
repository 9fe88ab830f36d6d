//! Careful mode: finds the rows that the server refuses, one by one, and writes all others.
//!
//! A batch is tried as a whole within a savepoint; if it is refused it is halved, down to single
//! rows.

use super::PgUnit;
use super::plan::Path;
use crate::connect::Session;
use crate::encode::{COPY_HEADER, COPY_TRAILER};
use crate::error;
use arrow_array::RecordBatch;
use std::ops::Range;
use syncset_connector::{ConnectorError, ErrorClass, Rejection, Result};

/// Rows of one unit that may be refused before it is given up.
const REJECTIONS_MAX: usize = 1000;

impl PgUnit {
    /// Stages and applies a batch: rows applied, and the rows that were refused.
    pub(super) async fn apply_carefully(
        &mut self,
        place: usize,
        path: &Path,
        batch: &RecordBatch,
    ) -> Result<(u64, Vec<Rejection>)> {
        let stage = path.stage.as_ref().expect("careful units stage every row");
        self.end_copy().await?;
        self.create_stage(place, stage).await?;
        let mut applied = 0;
        let mut rejections: Vec<Rejection> = Vec::new();
        let mut ranges = Vec::new();
        ranges.push(0..batch.num_rows());
        while let Some(rows) = ranges.pop() {
            let session = self.session.as_mut().ok_or_else(error::lost_link)?;
            let error = match try_rows(session, path, batch, rows.clone()).await {
                Ok(count) => {
                    applied += count;
                    continue;
                }
                Err(error) => error,
            };
            if !matches!(error.class, ErrorClass::RowRefused | ErrorClass::RowParked) {
                return Err(self.examined(error));
            }
            session
                .execute("ROLLBACK TO SAVEPOINT syncset; RELEASE SAVEPOINT syncset")
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

/// Stages and applies some rows. After an error the savepoint is still there.
async fn try_rows(
    session: &mut Session,
    path: &Path,
    batch: &RecordBatch,
    mut rows: Range<usize>,
) -> Result<u64> {
    let stage = path.stage.as_ref().expect("careful units stage every row");
    session.execute("SAVEPOINT syncset").await?;
    let mut buffer = COPY_HEADER.to_vec();
    let mut copy = session.copy_in(&path.copy).await?;
    while rows.start < rows.end {
        if let Err(refused) = path.encoder.encode(batch, &mut rows, &mut buffer) {
            copy.abort("a value cannot be encoded").await?;
            return Err(refused);
        }
        copy.send(&buffer).await?;
        buffer.clear();
    }
    copy.send(COPY_TRAILER).await?;
    copy.finish().await?;
    let applied = session.execute(&stage.apply).await?;
    // Only after the release does the server truncate in place.
    let done = format!("RELEASE SAVEPOINT syncset; TRUNCATE {}", stage.name);
    session.execute(&done).await?;
    Ok(applied)
}
