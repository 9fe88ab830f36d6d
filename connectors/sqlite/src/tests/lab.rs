//! Files to test with, and short forms of the contract's calls.

use crate::CONNECTOR;
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    Capture, ChangeEvent, CursorSpec, Filter, KeyRange, Lease, LeaseOutcome, LeaseRequest,
    LoadPlan, Marks, NullCursor, OpenOptions, Overlap, PipelineKey, Position, Receipt, Role,
    Secret, Settings, SnapshotRequest, Store, StreamPhase, TableDescription, TableName, TableRead,
    TargetColumn, TargetTable, UnitStart, UnitStep, WindowState, Windows, WrittenBy,
};
use tempfile::TempDir;

/// A folder of database files.
pub(crate) struct Lab {
    folder: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs statements in a file, which is created.
    pub(crate) async fn sql(&self, name: &str, statements: &str) {
        let mut connection = self.raw(name).await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(&mut connection)
            .await
            .expect("the statements run");
    }

    pub(crate) async fn raw(&self, name: &str) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.path(name))
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(30))
            .connect()
            .await
            .expect("the file opens")
    }

    /// One text or number of a file, as text.
    pub(crate) async fn value(&self, name: &str, query: &str) -> String {
        let mut connection = self.raw(name).await;
        let query = format!("SELECT CAST(({query}) AS TEXT)");
        let row = sqlx::query(AssertSqlSafe(query))
            .fetch_one(&mut connection)
            .await
            .expect("the query runs");
        row.get::<Option<String>, _>(0)
            .unwrap_or_else(|| "NULL".into())
    }

    pub(crate) async fn open(&self, name: &str, role: Role) -> Box<dyn Store> {
        self.try_open(name, role).await.expect("the file opens")
    }

    pub(crate) async fn try_open(
        &self,
        name: &str,
        role: Role,
    ) -> syncset_connector::Result<Box<dyn Store>> {
        self.try_open_with(&[("path", name)], role, Duration::ZERO)
            .await
    }

    /// Opens a file whose statements may take so long.
    pub(crate) async fn open_within(
        &self,
        name: &str,
        role: Role,
        statement_timeout: Duration,
    ) -> Box<dyn Store> {
        self.try_open_with(&[("path", name)], role, statement_timeout)
            .await
            .expect("the file opens")
    }

    pub(crate) async fn try_open_from(
        &self,
        name: &str,
        script: &str,
        role: Role,
    ) -> syncset_connector::Result<Box<dyn Store>> {
        self.try_open_with(&[("path", name), ("init", script)], role, Duration::ZERO)
            .await
    }

    async fn try_open_with(
        &self,
        values: &[(&str, &str)],
        role: Role,
        statement_timeout: Duration,
    ) -> syncset_connector::Result<Box<dyn Store>> {
        let values = values.iter();
        let settings = Settings {
            name: "lab".into(),
            values: values
                .map(|(key, value)| ((*key).to_owned(), Secret::new((*value).to_owned())))
                .collect(),
            base: self.folder.path().to_owned(),
        };
        let options = OpenOptions {
            role,
            application: "syncset:test/test".into(),
            sessions_max: 4,
            connect_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_millis(300),
            statement_timeout,
        };
        CONNECTOR.open(&settings, &options).await
    }
}

pub(crate) fn key() -> PipelineKey {
    PipelineKey {
        project: "shop".into(),
        pipeline: "orders".into(),
    }
}

pub(crate) async fn describe(store: &dyn Store, table: &str) -> TableDescription {
    let described = store
        .describe(&[TableName::bare(table)])
        .await
        .expect("describes");
    described
        .into_iter()
        .next()
        .flatten()
        .expect("the table exists")
}

/// A read of the whole table.
pub(crate) async fn whole(store: &dyn Store, table: &str) -> TableRead {
    let description = describe(store, table).await;
    TableRead {
        columns: description
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect(),
        key: description.primary_key.clone(),
        description: Arc::new(description),
        filter: Filter::All,
        capture: Capture::Full,
        selection: "selection".into(),
        all_written: true,
        batch_bytes: 1 << 20,
    }
}

/// A read with windows.
pub(crate) async fn following(
    store: &dyn Store,
    table: &str,
    column: &str,
    overlap: Overlap,
) -> TableRead {
    let time = matches!(overlap, Overlap::Time(_));
    TableRead {
        capture: Capture::Cursor(CursorSpec {
            column: column.into(),
            written_by: time.then_some(WrittenBy::Application),
            overlap: Some(overlap),
            zone: None,
            null_cursor: NullCursor::Error,
            windows: Windows::default(),
        }),
        ..whole(store, table).await
    }
}

pub(crate) fn target_of(read: &TableRead, name: &str) -> TargetTable {
    TargetTable {
        name: TableName::bare(name),
        columns: read
            .read_columns()
            .into_iter()
            .map(|column| TargetColumn::of(column, &column.name))
            .collect(),
        key: read.key.clone(),
        marks: Marks::default(),
    }
}

/// All selected rows, or the first error.
pub(crate) async fn read_all(
    store: &dyn Store,
    read: &TableRead,
) -> syncset_connector::Result<Vec<RecordBatch>> {
    let request = SnapshotRequest {
        read: Arc::new(read.clone()),
        from: None,
    };
    let source = store.source().expect("it is a source");
    let mut snapshot = source.open_snapshot(&[request], None).await?;
    let batches = snapshot
        .read_chunk(0, &KeyRange::all())
        .await?
        .try_collect()
        .await;
    snapshot.close().await;
    batches
}

/// The window from a position: its state and events.
pub(crate) async fn window(
    store: &dyn Store,
    read: &TableRead,
    from: &Position,
    unit_bytes: u64,
) -> (WindowState, Vec<ChangeEvent>) {
    let request = SnapshotRequest {
        read: Arc::new(read.clone()),
        from: Some(from.clone()),
    };
    let source = store.source().expect("it is a source");
    let mut snapshot = source
        .open_snapshot(&[request], None)
        .await
        .expect("a snapshot");
    let state = snapshot.windows()[0].state.clone();
    let stream = snapshot
        .read_changes(0, unit_bytes)
        .await
        .expect("a window");
    let events = stream.try_collect().await.expect("the changes");
    snapshot.close().await;
    (state, events)
}

pub(crate) async fn lease(store: &dyn Store, owner: &str) -> LeaseOutcome {
    let state = store.state().expect("it keeps state");
    state.ensure().await.expect("the state is made");
    let request = LeaseRequest {
        key: key(),
        owner: owner.into(),
        duration: Duration::from_secs(60),
    };
    state.acquire(&request).await.expect("an answer")
}

pub(crate) async fn acquired(store: &dyn Store, owner: &str) -> Lease {
    match lease(store, owner).await {
        LeaseOutcome::Acquired { lease, .. } => lease,
        LeaseOutcome::Held { owner, .. } => panic!("held by {owner}"),
    }
}

/// Finishes the one chunk of a load.
pub(crate) async fn finish_chunk(store: &dyn Store, lease: &Lease, table: &str) {
    let start = chunk_start(store, lease, table).await;
    let target = store.target().expect("it is a target");
    let unit = target.begin(start).await.expect("a unit");
    unit.commit(None).await.expect("the unit commits");
}

/// Begins a load of one stream in one chunk.
pub(crate) async fn begin_load(store: &dyn Store, lease: &Lease, table: &str) {
    let plan = LoadPlan {
        stream: table.into(),
        target: TableName::bare(table),
        selection: "selection".into(),
        leaves: None,
        selection_text: "{}".into(),
        low: Position(serde_json::Value::Null),
        boundaries: Vec::new(),
        into_empty: true,
    };
    let state = store.state().expect("it keeps state");
    state
        .begin_load(lease, &[plan])
        .await
        .expect("a load begins");
}

/// A unit that writes the first chunk of the load that is under way.
pub(crate) async fn chunk_start(store: &dyn Store, lease: &Lease, table: &str) -> UnitStart {
    UnitStart {
        lease: lease.clone(),
        step: UnitStep::Chunk {
            stream: table.into(),
            index: 0,
            version: version(store, table).await,
        },
        into_empty: true,
        careful: false,
    }
}

/// A unit that moves the watermark of a stream.
pub(crate) async fn watermark_start(store: &dyn Store, lease: &Lease, table: &str) -> UnitStart {
    UnitStart {
        lease: lease.clone(),
        step: UnitStep::Watermark {
            stream: table.into(),
            version: version(store, table).await,
        },
        into_empty: false,
        careful: false,
    }
}

/// The stored version of a stream's watermark.
async fn version(store: &dyn Store, table: &str) -> u64 {
    let state = store.state().expect("it keeps state");
    let loaded = state.load(&key(), 1).await.expect("the state");
    let stream = loaded.streams.iter().find(|stream| stream.stream == table);
    stream.expect("the stream").version
}

/// Upserts batches in one unit.
pub(crate) async fn upsert(
    store: &dyn Store,
    lease: &Lease,
    table: &TargetTable,
    batches: &[RecordBatch],
) -> Receipt {
    let start = watermark_start(store, lease, &table.name.name).await;
    let target = store.target().expect("it is a target");
    let mut unit = target.begin(start).await.expect("a unit");
    for batch in batches {
        unit.upsert(table, batch.clone())
            .await
            .expect("the rows are taken");
    }
    let watermark = Some((Position(serde_json::Value::Null), StreamPhase::Following));
    unit.commit(watermark).await.expect("the unit commits")
}
