//! Targets of MySQL and MariaDB to test with: every test runs on both servers.

pub(crate) use crate::write_lab::{ints, texts};
use arrow_array::{ArrayRef, RecordBatch};
use kit::{MysqlDatabase, MysqlServer};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    Lease, LeaseOutcome, LeaseRequest, LoadPlan, NativeType, OpenOptions, PipelineKey, Position,
    Receipt, Rejection, Result, Role, Secret, Settings, StateStore, Store, StreamPhase, TableName,
    Target, TargetColumn, TargetTable, UnitStart, UnitStep, UnitWriter,
};

/// Makes a test of each function for each server.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod mysql {
            $(#[tokio::test] async fn $name() { super::$name(kit::mysql()).await; })*
        }
        mod mariadb {
            $(#[tokio::test] async fn $name() { super::$name(kit::mariadb()).await; })*
        }
    };
}
pub(crate) use on_both;

/// Looks at a fact before a test gives up on it, 20 ms apart.
const LOOKS_MAX: u32 = 3000;

pub(crate) const STREAM: &str = "public.t";

/// Opens a database as a target.
pub(crate) async fn try_open(url: &str) -> Result<Box<dyn Store>> {
    open_as(url, Role::Target).await
}

/// Opens a database in a role.
pub(crate) async fn open_as(url: &str, role: Role) -> Result<Box<dyn Store>> {
    let settings = Settings {
        name: "lab".into(),
        values: BTreeMap::from([("url".into(), Secret::new(url.to_owned()))]),
        base: ".".into(),
    };
    let options = OpenOptions {
        role,
        application: "syncset:test/lab".into(),
        sessions_max: 8,
        connect_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        statement_timeout: Duration::ZERO,
    };
    let connector = if url.starts_with("mariadb") {
        syncset_mysql::MARIADB
    } else {
        syncset_mysql::MYSQL
    };
    connector.open(&settings, &options).await
}

pub(crate) async fn open(url: &str) -> Box<dyn Store> {
    try_open(url)
        .await
        .unwrap_or_else(|error| panic!("the test server can be opened: {error:?}"))
}

/// A store whose state is there.
pub(crate) async fn open_ready(url: &str) -> Box<dyn Store> {
    let store = open(url).await;
    state(&*store)
        .ensure()
        .await
        .unwrap_or_else(|error| panic!("a user with all rights may keep state: {error:?}"));
    store
}

pub(crate) fn state(store: &dyn Store) -> &dyn StateStore {
    store.state().expect("MySQL keeps state")
}

pub(crate) fn target(store: &dyn Store) -> &dyn Target {
    store.target().expect("MySQL is written")
}

pub(crate) fn key() -> PipelineKey {
    PipelineKey {
        project: "shop".into(),
        pipeline: "crm".into(),
    }
}

pub(crate) fn request(owner: &str) -> LeaseRequest {
    LeaseRequest {
        key: key(),
        owner: owner.into(),
        duration: Duration::from_secs(600),
    }
}

pub(crate) async fn acquire(store: &dyn Store, owner: &str) -> LeaseOutcome {
    state(store)
        .acquire(&request(owner))
        .await
        .unwrap_or_else(|error| panic!("a lease is taken or held: {error:?}"))
}

pub(crate) async fn lease_of(store: &dyn Store, owner: &str) -> Lease {
    match acquire(store, owner).await {
        LeaseOutcome::Acquired { lease, .. } => lease,
        held @ LeaseOutcome::Held { .. } => panic!("the lease is not free: {held:?}"),
    }
}

pub(crate) async fn expire_lease(database: &MysqlDatabase) {
    database
        .execute("UPDATE _syncset_lease SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
        .await;
}

/// Waits until a question is answered with 1.
pub(crate) async fn wait_until(database: &MysqlDatabase, question: &str) {
    for _ in 0..LOOKS_MAX {
        if database.value(question).await == "1" {
            return;
        }
        // The server waits, not the test: it hands the processor to those who are looked at.
        database.value("SELECT SLEEP(0.02)").await;
    }
    panic!("this never came true: {question}");
}

pub(crate) fn load_plan(stream: &str, table: &str) -> LoadPlan {
    LoadPlan {
        stream: stream.into(),
        target: TableName::bare(table),
        selection: "selection-1".into(),
        leaves: None,
        selection_text: "{}".into(),
        low: Position(json!({"v": 1, "b": "2026-01-01", "a": [1.50, "ä\u{0}\\'😀"]})),
        boundaries: vec![
            syncset_connector::KeyBound(vec!["10".into()]),
            syncset_connector::KeyBound(vec!["it's".into()]),
        ],
        into_empty: true,
    }
}

/// A database with the state, the lease and one stream that writes `t`.
pub(crate) struct Lab {
    pub(crate) database: MysqlDatabase,
    pub(crate) store: Box<dyn Store>,
    pub(crate) lease: Lease,
    pub(crate) version: u64,
}

impl Lab {
    pub(crate) async fn new(server: &'static MysqlServer, setup: &str) -> Self {
        let database = server.database("write").await;
        if !setup.is_empty() {
            database.execute(setup).await;
        }
        let store = open_ready(&database.url()).await;
        Self::with(database, store).await
    }

    /// The same with a store whose state is there.
    pub(crate) async fn with(database: MysqlDatabase, store: Box<dyn Store>) -> Self {
        let lease = lease_of(&*store, "a test").await;
        let load = LoadPlan {
            boundaries: Vec::new(),
            ..load_plan(STREAM, "t")
        };
        let streams = state(&*store)
            .begin_load(&lease, &[load])
            .await
            .unwrap_or_else(|error| panic!("a load begins: {error:?}"));
        Self {
            version: streams[0].version,
            database,
            store,
            lease,
        }
    }

    pub(crate) fn target(&self) -> &dyn Target {
        target(&*self.store)
    }

    pub(crate) fn window(&self) -> UnitStart {
        UnitStart {
            lease: self.lease.clone(),
            step: UnitStep::Watermark {
                stream: STREAM.into(),
                version: self.version,
            },
            into_empty: false,
            careful: false,
        }
    }

    pub(crate) fn careful(&self) -> UnitStart {
        UnitStart {
            careful: true,
            ..self.window()
        }
    }

    pub(crate) async fn begin(&self, start: UnitStart) -> Box<dyn UnitWriter> {
        let begun = self.target().begin(start).await;
        begun.unwrap_or_else(|error| panic!("the unit is ours: {error:?}"))
    }

    pub(crate) async fn try_commit(&mut self, unit: Box<dyn UnitWriter>) -> Result<Receipt> {
        let watermark = (Position(json!({"at": self.version})), StreamPhase::Loading);
        let receipt = unit.commit(Some(watermark)).await?;
        self.version = receipt.version;
        Ok(receipt)
    }

    pub(crate) async fn commit(&mut self, unit: Box<dyn UnitWriter>) -> Receipt {
        let committed = self.try_commit(unit).await;
        committed.unwrap_or_else(|error| panic!("the unit commits: {error:?}"))
    }

    /// One window with these upserts.
    pub(crate) async fn write(&mut self, table: &TargetTable, rows: RecordBatch) -> Receipt {
        let mut unit = self.begin(self.window()).await;
        let taken = unit.upsert(table, rows).await;
        taken.unwrap_or_else(|error| panic!("rows are accepted: {error:?}"));
        self.commit(unit).await
    }

    /// One row of text: all values of a table, in the order of its first column.
    pub(crate) async fn content(&self, columns: &str) -> String {
        let sql = format!("SELECT {columns} FROM t ORDER BY 1");
        let rows = self.database.rows(&sql).await;
        let rows = rows.into_iter().map(|row| {
            let values = row.into_iter().map(|it| it.unwrap_or_else(|| "-".into()));
            values.collect::<Vec<_>>().join(",")
        });
        rows.collect::<Vec<_>>().join(" ")
    }
}

pub(crate) fn native(engine: &str, name: &str) -> Option<NativeType> {
    Some(NativeType {
        engine: engine.into(),
        name: name.into(),
        as_text: false,
        definition: None,
    })
}

/// A table `t` of columns of PostgreSQL with their values: key first.
pub(crate) fn table_of(columns: &[(&str, &str, ArrayRef)]) -> (TargetTable, RecordBatch) {
    let table = TargetTable {
        name: TableName::bare("t"),
        columns: columns
            .iter()
            .map(|(name, native_name, array)| TargetColumn {
                name: (*name).into(),
                data_type: array.data_type().clone(),
                native: native("postgres", native_name),
                nullable: true,
            })
            .collect(),
        key: vec![columns[0].0.into()],
        marks: syncset_connector::Marks::default(),
    };
    let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array));
    let batch = RecordBatch::try_new(table.schema(), arrays.collect()).expect("a batch");
    (table, batch)
}

pub(crate) const PLAIN: &str =
    "CREATE TABLE t (id int PRIMARY KEY, name varchar(40), amount decimal(20,3))";

pub(crate) fn plain(rows: &[(i32, Option<&str>, &str)]) -> (TargetTable, RecordBatch) {
    table_of(&[
        ("id", "integer", ints(rows.iter().map(|row| row.0))),
        ("name", "text", texts(rows.iter().map(|row| row.1))),
        (
            "amount",
            "numeric",
            texts(rows.iter().map(|row| Some(row.2))),
        ),
    ])
}

pub(crate) async fn written_carefully(
    lab: &mut Lab,
    table: &TargetTable,
    batch: RecordBatch,
) -> (Vec<Rejection>, Receipt) {
    let mut unit = lab.begin(lab.careful()).await;
    let rejections = unit.upsert(table, batch).await.expect("the batch is taken");
    (rejections, lab.commit(unit).await)
}
