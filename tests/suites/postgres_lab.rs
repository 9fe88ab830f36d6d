//! State of a PostgreSQL target to test with, and short forms of the contract's calls.

use kit::Database;
use kit::postgres::{raw, rows_of};
use serde_json::json;
use sqlx::{Executor, PgConnection};
use std::collections::BTreeMap;
use std::time::Duration;
use syncset_connector::{
    KeyBound, Lease, LeaseOutcome, LeaseRequest, LoadPlan, OpenOptions, PipelineKey, Position,
    Result, Role, Secret, Settings, StateStore, Store, TableName,
};

/// Looks at a fact before a test gives up on it, 20 ms apart.
const LOOKS_MAX: u32 = 3000;

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
    syncset_postgres::CONNECTOR.open(&settings, &options).await
}

/// Opens a database as a target.
pub(crate) async fn open(url: &str) -> Box<dyn Store> {
    let opened = open_as(url, Role::Target).await;
    opened.expect("the test server can be opened")
}

/// A database whose `_syncset` is there, and a store on it.
pub(crate) async fn ready() -> (Database, Box<dyn Store>) {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    (database, store)
}

/// The same with the stores of two runs.
pub(crate) async fn two_runs() -> (Database, Box<dyn Store>, Box<dyn Store>) {
    let (database, first) = ready().await;
    let second = open(&database.url()).await;
    (database, first, second)
}

/// A store whose `_syncset` is there.
pub(crate) async fn open_ready(url: &str) -> Box<dyn Store> {
    let store = open(url).await;
    state(&*store)
        .ensure()
        .await
        .expect("the owner of a database may create `_syncset`");
    store
}

pub(crate) fn state(store: &dyn Store) -> &dyn StateStore {
    store.state().expect("PostgreSQL keeps state")
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
        .expect("a lease is taken or held")
}

pub(crate) async fn lease_of(store: &dyn Store, owner: &str) -> Lease {
    match acquire(store, owner).await {
        LeaseOutcome::Acquired { lease, .. } => lease,
        held @ LeaseOutcome::Held { .. } => panic!("the lease is not free: {held:?}"),
    }
}

pub(crate) async fn expire_lease(database: &Database) {
    database
        .execute("UPDATE _syncset.lease SET expires_at = clock_timestamp() - interval '1 s'")
        .await;
}

pub(crate) async fn wait_until(database: &Database, question: &str) {
    let mut session = database.connect().await;
    for _ in 0..LOOKS_MAX {
        let answer = rows_of(&mut session, question).await;
        if answer[0][0].as_deref() == Some("t") {
            return;
        }
        // The server waits, not the test: it hands the processor to those who are looked at.
        session
            .execute(raw("SELECT pg_sleep(0.02)"))
            .await
            .expect("the server answers");
    }
    panic!("this never came true: {question}");
}

/// A session that holds the fence as a unit of this epoch does. Returns its process id.
pub(crate) async fn hold_fence(session: &mut PgConnection, epoch: u64) -> String {
    session
        .execute(raw(&format!(
            "BEGIN; SELECT 1 FROM _syncset.fence WHERE epoch = {epoch} FOR SHARE"
        )))
        .await
        .expect("the fence can be shared");
    own_pid(session).await
}

pub(crate) async fn own_pid(session: &mut PgConnection) -> String {
    rows_of(session, "SELECT pg_backend_pid()").await[0][0]
        .clone()
        .expect("a session has a process id")
}

pub(crate) fn load_plan(stream: &str, table: &str) -> LoadPlan {
    LoadPlan {
        stream: stream.into(),
        target: TableName::in_schema("public", table),
        selection: "selection-1".into(),
        leaves: None,
        selection_text: "{}".into(),
        low: Position(json!({"v": 1, "b": "2026-01-01", "a": [1.50, "ä\u{0}"]})),
        boundaries: vec![KeyBound(vec!["10".into()]), KeyBound(vec!["it's".into()])],
        into_empty: true,
    }
}
