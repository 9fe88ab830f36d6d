//! `--min-age`: rows whose cursor is young are in flight, whatever the watermark says.

use super::rows::RowForms;
use crate::exit_code;
use crate::failure::Failure;
use crate::planned::PlannedTable;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use chrono::DateTime;
use futures::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    Capture, CursorSpec, Filter, SnapshotRequest, Source, TableRead, smallest_local, zone_of,
};

/// Keys that one statement looks for.
const KEYS_MAX: usize = 1_000;

/// Which rows of a table are young.
pub(super) struct Youth {
    read: Arc<TableRead>,
    /// A row is young if its cursor is not below: microseconds as the column counts them.
    since: i64,
}

impl Youth {
    /// Rows that were stamped after this instant, in microseconds since the epoch.
    ///
    /// # Errors
    /// If the table has no cursor of times.
    pub(super) fn since(instant: i64, planned: &PlannedTable) -> Result<Self, Failure> {
        let read = &planned.plan.read;
        let Capture::Cursor(cursor) = &read.capture else {
            return Err(no_time(planned, "it has no cursor"));
        };
        let column = read.description.column(&cursor.column);
        let zone = match column.map(|column| &column.data_type) {
            Some(DataType::Timestamp(_, zone)) => zone.clone(),
            _ => {
                let why = format!("its cursor `{}` holds no times", cursor.column);
                return Err(no_time(planned, &why));
            }
        };
        let since = match zone {
            Some(_) => instant,
            None => local(instant, read, cursor)?,
        };
        let mut columns = read.key.clone();
        columns.push(cursor.column.clone());
        let read = TableRead {
            columns,
            filter: Filter::All,
            capture: Capture::Full,
            ..read.as_ref().clone()
        };
        Ok(Self {
            read: Arc::new(read),
            since,
        })
    }

    /// The hashes of those of these keys, in the source's types, whose rows are young.
    pub(super) async fn among(
        &self,
        keys: &RecordBatch,
        (source, forms): (&dyn Source, &RowForms),
    ) -> Result<HashSet<u64>, Failure> {
        let mut young = HashSet::new();
        if keys.num_rows() == 0 {
            return Ok(young);
        }
        let request = SnapshotRequest {
            read: self.read.clone(),
            from: None,
        };
        let mut snapshot = source.open_snapshot(&[request], None).await?;
        for begin in (0..keys.num_rows()).step_by(KEYS_MAX) {
            let some = keys.slice(begin, KEYS_MAX.min(keys.num_rows() - begin));
            let mut rows = snapshot.read_rows(0, &some).await?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let key: Vec<usize> = (0..self.read.key.len()).collect();
                let key = batch.project(&key).map_err(|error| unread(&error))?;
                let hashes = forms.hash_keys(&key)?;
                let stamps = micros(batch.column(self.read.key.len()))?;
                let stamps = stamps.as_primitive::<TimestampMicrosecondType>();
                let is_young = |stamp: Option<i64>| stamp.is_some_and(|stamp| stamp >= self.since);
                let rows = hashes.into_iter().zip(stamps);
                young.extend(
                    rows.filter(|(_, stamp)| is_young(*stamp))
                        .map(|(key, _)| key),
                );
            }
        }
        snapshot.close().await;
        Ok(young)
    }
}

/// The instant so long ago by this machine's clock, in microseconds since the epoch.
pub(super) fn ago(age: Duration) -> i64 {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    chrono::Utc::now().timestamp_micros().saturating_sub(age)
}

/// The smallest local time of all later instants.
fn local(instant: i64, read: &TableRead, cursor: &CursorSpec) -> Result<i64, Failure> {
    let zone = zone_of(&read.description.name, cursor)?;
    let instant = DateTime::from_timestamp_micros(instant).unwrap_or(DateTime::UNIX_EPOCH);
    let local = smallest_local(instant.naive_utc(), zone);
    Ok(local.and_utc().timestamp_micros())
}

fn micros(stamps: &ArrayRef) -> Result<ArrayRef, Failure> {
    let zone = match stamps.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    cast(stamps, &DataType::Timestamp(TimeUnit::Microsecond, zone)).map_err(|error| unread(&error))
}

fn unread(error: &arrow_schema::ArrowError) -> Failure {
    let message = format!("the age of a row cannot be read: {error}");
    Failure::new(exit_code::FAILED, message)
}

fn no_time(planned: &PlannedTable, why: &str) -> Failure {
    let message = format!(
        "`--min-age` cannot tell how old rows of `{}` are: {why}",
        planned.stream()
    );
    Failure::new(exit_code::CONFIG, message)
        .with_hint("choose tables with `capture: { mode: cursor }` by a time, with `--tables`")
}
