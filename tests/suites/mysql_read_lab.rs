//! A table of MySQL or MariaDB, followed at the level of the connector.

use crate::mysql_target_lab::open_as;
use futures::TryStreamExt;
use kit::{Flavour, MysqlDatabase, MysqlServer};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::time::{Duration, Instant};
use syncset_connector::{
    Capture, ChangeEvent, CursorSpec, Filter, NullCursor, Position, Role, SnapshotRequest, Store,
    TableName, TableRead, WindowState, Windows, WrittenBy,
};

/// A table of a source, followed at the level of the connector.
pub(crate) struct Followed {
    pub(crate) database: MysqlDatabase,
    pub(crate) store: Box<dyn Store>,
    pub(crate) read: Arc<TableRead>,
    pub(crate) position: Position,
    /// What the last window said besides.
    pub(crate) warnings: Vec<String>,
}

impl Followed {
    /// A table `t` with a key `id`, of which all columns are read, behind its low watermark.
    pub(crate) async fn new(flavour: Flavour, ddl: &str) -> Self {
        let database = MysqlServer::shared(flavour).database("followed").await;
        Self::of(database, ddl).await
    }

    /// The same in a database of the test's own.
    pub(crate) async fn of(database: MysqlDatabase, ddl: &str) -> Self {
        database.execute(ddl).await;
        let store = open(&database).await;
        let described = store.describe(&[TableName::bare("t")]).await;
        let description = described
            .expect("it can be described")
            .pop()
            .flatten()
            .expect("the table exists");
        let columns = description.columns.iter().map(|column| column.name.clone());
        let cursor = CursorSpec {
            column: "updated_at".into(),
            written_by: Some(WrittenBy::Database),
            overlap: None,
            zone: None,
            null_cursor: NullCursor::Error,
            windows: Windows::Overlapping,
        };
        let read = Arc::new(TableRead {
            columns: columns.collect(),
            key: vec!["id".into()],
            description: Arc::new(description),
            filter: Filter::All,
            capture: Capture::Cursor(cursor),
            selection: "selection".into(),
            all_written: true,
            batch_bytes: 1 << 20,
        });
        let position = low(&*store, &read).await;
        Self {
            database,
            store,
            read,
            position,
            warnings: Vec::new(),
        }
    }

    /// Reads something else of the table, from its low watermark on.
    pub(crate) async fn reads(&mut self, change: fn(&mut TableRead)) {
        change(Arc::make_mut(&mut self.read));
        self.position = low(&*self.store, &self.read).await;
    }

    /// Reads one window as another run does, which looks at the server anew.
    pub(crate) async fn window_of_another_run(&mut self) -> Option<usize> {
        self.store = open(&self.database).await;
        self.window().await
    }

    /// Reads windows until the server was quiet while one looked at it. Sessions of others end
    /// when they please.
    pub(crate) async fn settles_by_time(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.window_of_another_run().await.is_some() {
            assert!(Instant::now() < deadline, "somebody is always busy");
        }
    }

    /// A session with an open transaction.
    pub(crate) async fn transaction(&self) -> Conn {
        let mut session = self.database.connect().await;
        let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
        session.query_drop(begin).await.expect("it begins");
        session
    }

    /// Reads one window. Returns how many rows it brought; `None`: it said that nothing changed.
    pub(crate) async fn window(&mut self) -> Option<usize> {
        let request = SnapshotRequest {
            read: Arc::clone(&self.read),
            from: Some(self.position.clone()),
        };
        let source = self.store.source().expect("MySQL can be read");
        let opened = source.open_snapshot(&[request], None).await;
        let mut snapshot = opened.expect("a snapshot can be opened");
        let window = snapshot.windows()[0].clone();
        self.warnings = window.warnings;
        let rows = match window.state {
            WindowState::Unchanged(position) => {
                self.position = position;
                None
            }
            WindowState::Reload { reason } => panic!("it wants to be read again: {reason}"),
            WindowState::Changed => {
                let changes = snapshot.read_changes(0, u64::MAX).await;
                let mut changes = changes.expect("the window can be read");
                let mut rows = 0;
                while let Some(event) = changes.try_next().await.expect("the rows can be read") {
                    match event {
                        ChangeEvent::Upserts(batch) | ChangeEvent::Deletes(batch) => {
                            rows += batch.num_rows();
                        }
                        ChangeEvent::Progress(position) => self.position = position,
                        _ => panic!("MySQL yields no other events"),
                    }
                }
                Some(rows)
            }
        };
        snapshot.close().await;
        rows
    }

    /// Reads windows until one says that nothing has changed: after a change the rows are read
    /// once more before they are known by their values.
    pub(crate) async fn settles(&mut self) {
        self.window().await;
        assert_eq!(self.window().await, None);
    }
}

async fn low(store: &dyn Store, read: &Arc<TableRead>) -> Position {
    let source = store.source().expect("MySQL can be read");
    let low = source.low_positions(&[Arc::clone(read)]).await;
    low.expect("it can be asked").pop().expect("one read")
}

async fn open(database: &MysqlDatabase) -> Box<dyn Store> {
    let opened = open_as(&database.url(), Role::Source).await;
    opened.expect("the test's database can be opened")
}
