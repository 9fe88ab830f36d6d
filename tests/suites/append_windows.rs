//! Windows that read no row version twice, against writers that commit late.

use crate::capture_lab::{cursor, open, seconds};
use crate::late_commits::{TABLE, write_late};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt;
use kit::{Database, eventually};
use std::collections::BTreeMap;
use std::sync::Arc;
use syncset_connector::{
    Capture, ChangeEvent, CursorSpec, Filter, KeyRange, Position, SnapshotRequest, Source, Store,
    TableName, TableRead, WindowState, Windows,
};

const TRANSACTIONS_PER_WRITER: u64 = 40;

/// One version of a row: id, value, microseconds of its stamp.
type Version = (i64, String, i64);

/// A table `t` of versions that are appended in memory.
struct AppendLab {
    database: Database,
    store: Box<dyn Store>,
    read: Arc<TableRead>,
    position: Position,
    copies: BTreeMap<Version, u32>,
    unit_bytes: u64,
}

impl AppendLab {
    /// Loads the table: the rows below the low watermark.
    async fn loaded(spec: CursorSpec, key: &[&str], seed_rows: &str) -> Self {
        let database = kit::postgres().await.database("append").await;
        database.execute(TABLE).await;
        database.execute(seed_rows).await;
        let store = open(&database.url()).await;
        let read = Arc::new(read_of(&*store, spec, key).await);
        let source = store.source().expect("PostgreSQL can be read");
        let low = source.low_positions(&[Arc::clone(&read)]).await;
        let position = low.expect("nothing is prepared yet").remove(0);
        // Rows that come between the low watermark and the chunks belong to the windows.
        database
            .execute("INSERT INTO t SELECT nextval('ids'), 'between'")
            .await;
        let request = SnapshotRequest {
            read: Arc::clone(&read),
            from: None,
        };
        let mut snapshot = source
            .open_snapshot(&[request], None)
            .await
            .expect("it opens");
        let rows = snapshot
            .read_chunk_below(0, &KeyRange::all(), &position)
            .await;
        let rows: Vec<RecordBatch> = rows
            .expect("it reads")
            .try_collect()
            .await
            .expect("it reads to its end");
        snapshot.close().await;
        let mut lab = Self {
            copies: BTreeMap::new(),
            unit_bytes: u64::MAX,
            database,
            store,
            read,
            position,
        };
        rows.iter().for_each(|batch| lab.append(batch));
        lab
    }

    fn append(&mut self, batch: &RecordBatch) {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let values = batch.column(1).as_string::<i32>();
        let stamps = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let version = (
                ids.value(row),
                values.value(row).to_owned(),
                stamps.value(row),
            );
            *self.copies.entry(version).or_default() += 1;
        }
    }

    fn source(&self) -> &dyn Source {
        self.store.source().expect("PostgreSQL can be read")
    }

    /// One window, cut after a unit at times; what a unit brought and its position are one.
    async fn run(&mut self, units_max: usize) {
        let request = SnapshotRequest {
            read: Arc::clone(&self.read),
            from: Some(self.position.clone()),
        };
        let mut snapshot = self
            .source()
            .open_snapshot(&[request], None)
            .await
            .expect("it opens");
        match snapshot.windows()[0].state.clone() {
            WindowState::Unchanged(position) => {
                self.position = position;
                return;
            }
            WindowState::Changed => {}
            WindowState::Reload { reason } => panic!("stopped: {reason}"),
        }
        let mut changes = snapshot
            .read_changes(0, self.unit_bytes)
            .await
            .expect("it reads");
        let mut unit = Vec::new();
        let mut units = 0;
        while let Some(event) = changes.try_next().await.expect("it reads on") {
            match event {
                ChangeEvent::Upserts(batch) => unit.push(batch),
                ChangeEvent::Progress(position) => {
                    for batch in std::mem::take(&mut unit) {
                        self.append(&batch);
                    }
                    self.position = position;
                    units += 1;
                    if units == units_max {
                        return;
                    }
                }
                other => panic!("nothing is ever deleted: {other:?}"),
            }
        }
    }

    /// Every row of the source is there, and nothing is there twice.
    async fn check(&self, seed: u64) {
        let doubled: Vec<_> = self
            .copies
            .iter()
            .filter(|(_, count)| **count > 1)
            .collect();
        assert!(doubled.is_empty(), "seed {seed}: doubled {doubled:?}");
        let rows = "SELECT id, v, (extract(epoch FROM updated_at) * 1000000)::int8 FROM t";
        let rows = self.database.rows(rows).await;
        assert!(!rows.is_empty());
        for row in rows {
            let number = |index: usize| -> i64 {
                let text = row[index].as_deref().expect("never NULL");
                text.parse().expect("a number")
            };
            let version = (number(0), row[1].clone().expect("never NULL"), number(2));
            assert!(
                self.copies.contains_key(&version),
                "seed {seed}: lost {version:?}"
            );
        }
    }
}

async fn read_of(store: &dyn Store, spec: CursorSpec, key: &[&str]) -> TableRead {
    let name = TableName::in_schema("public", "t");
    let described = store.describe(&[name]).await.expect("it can be described");
    TableRead {
        description: Arc::new(described.into_iter().flatten().next().expect("it exists")),
        columns: ["id", "v", "updated_at"].map(str::to_owned).to_vec(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        filter: Filter::All,
        capture: Capture::Cursor(spec),
        selection: "selection".into(),
        all_written: true,
        batch_bytes: 512,
    }
}

fn disjoint(overlap: Option<u64>) -> CursorSpec {
    CursorSpec {
        overlap: overlap.and_then(seconds),
        windows: Windows::Disjoint,
        ..cursor("updated_at")
    }
}

async fn nothing_is_lost_or_doubled(spec: CursorSpec, key: &[&str]) {
    let seed: u64 = rand::random::<u32>().into();
    println!("seed {seed}");
    let old = "INSERT INTO t SELECT nextval('ids'), 'old', now() - interval '1 hour'
        FROM generate_series(1, 50)";
    let mut lab = AppendLab::loaded(spec, key, old).await;
    lab.unit_bytes = 1;
    let writers = write_late(&lab.database, seed, TRANSACTIONS_PER_WRITER).await;
    while writers.iter().any(|writer| !writer.is_finished()) {
        lab.run(2).await;
    }
    for writer in writers {
        writer.await.expect("the writer wrote all it had to");
    }
    let newest = "SELECT (extract(epoch FROM max(updated_at)) * 1000000)::int8 FROM t";
    let newest: i64 = lab.database.value(newest).await.parse().expect("a number");
    eventually("the bound passed every stamp", async || {
        lab.run(usize::MAX).await;
        let bound = &lab.position.0["bound"]["cursor"];
        bound.as_i64().is_some_and(|bound| bound > newest)
    })
    .await;

    lab.check(seed).await;
    let before = lab.copies.len();
    lab.run(usize::MAX).await;
    assert_eq!(lab.copies.len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appended_rows_of_late_commits_come_once() {
    nothing_is_lost_or_doubled(disjoint(None), &["id"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appended_rows_of_late_commits_come_once_without_a_key() {
    nothing_is_lost_or_doubled(disjoint(Some(1)), &[]).await;
}
