//! One table followed at the level of the connector: a first load, then windows, applied to a copy
//! in memory.

use crate::postgres_lab::open_as;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use futures::TryStreamExt;
use kit::Database;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    Capture, ChangeEvent, ConnectorError, CursorSpec, Filter, KeyRange, NullCursor, Overlap,
    Position, ReadPlan, Result, Role, SnapshotRequest, Source, Store, TableName, TableRead,
    WindowState, Windows, WrittenBy,
};

/// What one run did.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Keys of rows that were read as selected.
    pub(crate) upserts: Vec<i64>,
    /// Keys of rows that were read as gone.
    pub(crate) deletes: Vec<i64>,
    /// Positions before the last one.
    pub(crate) cuts: usize,
    /// True if the window said that nothing changed, so that nothing was read.
    pub(crate) unchanged: bool,
    /// Why the table must be read again.
    pub(crate) reload: Option<String>,
    /// What the window warned of.
    pub(crate) warnings: Vec<String>,
}

/// A table `t (id bigint primary key, v text, ...)` of a database and a copy of it.
pub(crate) struct CaptureLab {
    /// The source.
    pub(crate) database: Database,
    /// Copied rows: id to v.
    pub(crate) copy: BTreeMap<i64, String>,
    /// The watermark.
    pub(crate) position: Option<Position>,
    /// Where a window is cut.
    pub(crate) unit_bytes: u64,
    /// Units that a run does at most; the rest of a cut window is left to the next run.
    pub(crate) units_max: usize,
    url: String,
    store: Box<dyn Store>,
    read: Arc<TableRead>,
}

/// A table of a hundred rows with an indexed stamp.
pub(crate) const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text,
    updated_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON t (updated_at);
    INSERT INTO t SELECT g, 'old' FROM generate_series(1, 100) g";

/// A cursor that the database stamps.
pub(crate) fn cursor(column: &str) -> CursorSpec {
    CursorSpec {
        column: column.into(),
        written_by: Some(WrittenBy::Database),
        overlap: None,
        zone: None,
        null_cursor: NullCursor::Error,
        windows: Windows::Overlapping,
    }
}

/// [`TABLE`] by its stamp.
pub(crate) fn by_time() -> Capture {
    Capture::Cursor(cursor("updated_at"))
}

/// Both ways to follow [`TABLE`].
pub(crate) fn both() -> [Capture; 2] {
    [by_time(), Capture::Xmin]
}

/// An overlap of seconds.
pub(crate) fn seconds(seconds: u64) -> Option<Overlap> {
    Some(Overlap::Time(Duration::from_secs(seconds)))
}

/// Opens a database for reading.
pub(crate) async fn open(url: &str) -> Box<dyn Store> {
    let opened = open_as(url, Role::Source).await;
    opened.expect("the test's database can be opened")
}

impl CaptureLab {
    /// A database with this DDL, followed by this capture; nothing is loaded yet.
    pub(crate) async fn new(ddl: &str, capture: Capture) -> Self {
        Self::with_filter(ddl, capture, Filter::All).await
    }

    /// The same with a filter.
    pub(crate) async fn with_filter(ddl: &str, capture: Capture, filter: Filter) -> Self {
        let database = kit::postgres().await.database("capture").await;
        database.execute(ddl).await;
        let url = database.url();
        Self::follow(database, &url, capture, filter).await
    }

    /// Follows table `t` of a database by another URL.
    pub(crate) async fn follow(
        database: Database,
        url: &str,
        capture: Capture,
        filter: Filter,
    ) -> Self {
        let store = open(url).await;
        let mut lab = Self {
            read: Arc::new(read_of(&*store, &capture, filter).await),
            database,
            url: url.to_owned(),
            store,
            copy: BTreeMap::new(),
            position: None,
            unit_bytes: u64::MAX,
            units_max: usize::MAX,
        };
        lab.set_batch_bytes(64 * 1024);
        lab
    }

    /// Bytes of one batch.
    pub(crate) fn set_batch_bytes(&mut self, batch_bytes: usize) {
        Arc::make_mut(&mut self.read).batch_bytes = batch_bytes;
    }

    /// Follows the table by other settings from here on.
    pub(crate) fn set_capture(&mut self, capture: Capture) {
        Arc::make_mut(&mut self.read).capture = capture;
    }

    /// Connects again, as the next run does.
    pub(crate) async fn reopen(&mut self) {
        self.store = open(&self.url).await;
    }

    /// The reading side.
    pub(crate) fn source(&self) -> &dyn Source {
        self.store.source().expect("PostgreSQL can be read")
    }

    /// The read.
    pub(crate) fn read(&self) -> Arc<TableRead> {
        Arc::clone(&self.read)
    }

    /// Describes the table again, as every run does.
    pub(crate) async fn describe(&mut self) {
        let read = read_of(&*self.store, &self.read.capture, self.read.filter.clone()).await;
        let batch_bytes = self.read.batch_bytes;
        self.read = Arc::new(TableRead {
            batch_bytes,
            ..read
        });
    }

    /// What `plan` says.
    pub(crate) async fn prepare(&self) -> ReadPlan {
        let mut plans = self
            .source()
            .prepare(&[self.read()])
            .await
            .expect("it can be asked");
        plans.pop().expect("one read has one plan")
    }

    /// The bound of the watermark: microseconds since 1970, or the value of an integer cursor.
    pub(crate) fn bound(&self) -> i64 {
        let position = self.position.as_ref().expect("the table was loaded");
        position.0["bound"]["cursor"]
            .as_i64()
            .expect("the watermark has a bound")
    }

    /// Writes into the stored watermark.
    pub(crate) fn tamper(&mut self, pointer: &str, value: serde_json::Value) {
        let position = self.position.as_mut().expect("the table was loaded");
        *position
            .0
            .pointer_mut(pointer)
            .expect("the watermark has this value") = value;
    }

    /// Loads the table and reads the window that follows.
    pub(crate) async fn loaded(mut self) -> Self {
        self.load().await.expect("it loads");
        self.run().await;
        self
    }

    /// The low watermark, then all rows in chunks, without the window that follows.
    pub(crate) async fn load(&mut self) -> Result<()> {
        let mut low = self.source().low_positions(&[self.read()]).await?;
        let boundaries = self.source().boundaries(&self.read, u64::MAX).await?;
        self.copy.clear();
        for range in KeyRange::between(&boundaries) {
            let request = SnapshotRequest {
                read: self.read(),
                from: None,
            };
            let mut snapshot = self.source().open_snapshot(&[request], None).await?;
            let rows: Vec<_> = snapshot.read_chunk(0, &range).await?.try_collect().await?;
            rows.iter().for_each(|batch| upsert(&mut self.copy, batch));
            snapshot.close().await;
        }
        self.position = low.pop();
        Ok(())
    }

    /// One window. Panics on an error.
    pub(crate) async fn run(&mut self) -> Run {
        self.try_run().await.expect("the window can be read")
    }

    /// One window.
    pub(crate) async fn try_run(&mut self) -> Result<Run> {
        let request = SnapshotRequest {
            read: self.read(),
            from: self.position.clone(),
        };
        let mut snapshot = self
            .store
            .source()
            .expect("PostgreSQL can be read")
            .open_snapshot(&[request], None)
            .await?;
        let window = snapshot.windows()[0].clone();
        let mut run = Run {
            warnings: window.warnings,
            ..Run::default()
        };
        match window.state {
            WindowState::Unchanged(position) => {
                self.position = Some(position);
                run.unchanged = true;
                return Ok(run);
            }
            WindowState::Reload { reason } => {
                run.reload = Some(reason);
                return Ok(run);
            }
            WindowState::Changed => {}
        }
        let mut changes = snapshot.read_changes(0, self.unit_bytes).await?;
        let mut last = None;
        let mut units = 0;
        while let Some(event) = changes.try_next().await? {
            match event {
                ChangeEvent::Upserts(batch) => {
                    run.upserts.extend(keys(&batch));
                    upsert(&mut self.copy, &batch);
                }
                ChangeEvent::Deletes(batch) => {
                    assert_eq!(batch.num_columns(), 1, "deletes carry the key alone");
                    run.deletes.extend(keys(&batch));
                    for key in keys(&batch) {
                        self.copy.remove(&key);
                    }
                }
                ChangeEvent::Progress(position) => {
                    run.cuts += usize::from(last.is_some());
                    last = Some(position);
                    units += 1;
                    if units == self.units_max {
                        break;
                    }
                }
                _ => unreachable!("PostgreSQL yields no other events"),
            }
        }
        self.position = Some(last.expect("a window ends with a position"));
        Ok(run)
    }

    /// The error of a window.
    pub(crate) async fn run_error(&mut self) -> ConnectorError {
        self.try_run()
            .await
            .expect_err("the window must not be readable")
    }

    /// Ids that the copy lacks, or has with another value, or has too many.
    pub(crate) async fn differences(&self) -> BTreeSet<i64> {
        let rows = self.database.rows("SELECT id, v FROM t").await;
        let source: BTreeMap<i64, String> = rows
            .into_iter()
            .map(|row| {
                let id = row[0]
                    .as_deref()
                    .and_then(|id| id.parse().ok())
                    .expect("ids are numbers");
                (id, row[1].clone().unwrap_or_default())
            })
            .collect();
        let differs = |id: &i64| source.get(id) != self.copy.get(id);
        source
            .keys()
            .chain(self.copy.keys())
            .copied()
            .filter(|id| differs(id))
            .collect()
    }
}

async fn read_of(store: &dyn Store, capture: &Capture, filter: Filter) -> TableRead {
    let name = TableName::in_schema("public", "t");
    let description = store
        .describe(&[name])
        .await
        .expect("the table can be described")
        .pop()
        .flatten()
        .expect("the table exists");
    TableRead {
        description: Arc::new(description),
        columns: vec!["id".into(), "v".into()],
        key: vec!["id".into()],
        filter,
        capture: capture.clone(),
        selection: "selection".into(),
        all_written: true,
        batch_bytes: 1 << 20,
    }
}

fn keys(batch: &RecordBatch) -> Vec<i64> {
    batch
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

fn upsert(copy: &mut BTreeMap<i64, String>, batch: &RecordBatch) {
    let values = batch.column(1).as_string::<i32>();
    for (row, id) in keys(batch).into_iter().enumerate() {
        let value = if values.is_null(row) {
            ""
        } else {
            values.value(row)
        };
        copy.insert(id, value.to_owned());
    }
}
