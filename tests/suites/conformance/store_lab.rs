//! A target of any engine through the contract: short forms of its calls.

use kit::{AnyDatabase, Engine};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use syncset_connector::{
    KeyBound, Lease, LeaseOutcome, LeaseRequest, LoadPlan, OpenOptions, PipelineKey, Position,
    Role, Secret, Settings, StateStore, Store, TableName, Target,
};

/// Longer than any test takes.
const LEASE: Duration = Duration::from_secs(600);

/// Opens a database as a target.
pub(crate) async fn open(database: &AnyDatabase) -> Box<dyn Store> {
    let settings = Settings {
        name: "lab".into(),
        values: BTreeMap::from([("url".into(), Secret::new(database.url()))]),
        base: ".".into(),
    };
    let options = OpenOptions {
        role: Role::Target,
        application: "syncset:test/lab".into(),
        sessions_max: 8,
        connect_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        statement_timeout: Duration::ZERO,
    };
    let connector = database.engine().connector();
    let opened = connector.open(&settings, &options).await;
    opened.unwrap_or_else(|error| panic!("the test's database can be opened: {error:?}"))
}

/// A store whose state is there.
pub(crate) async fn open_ready(database: &AnyDatabase) -> Box<dyn Store> {
    let store = open(database).await;
    let ensured = state(&*store).ensure().await;
    ensured.unwrap_or_else(|error| panic!("a user with all rights may keep state: {error:?}"));
    store
}

/// A database whose state is there, and a store on it.
pub(crate) async fn ready(engine: Engine) -> (AnyDatabase, Box<dyn Store>) {
    let database = engine.database("state").await;
    let store = open_ready(&database).await;
    (database, store)
}

/// The same with the stores of two runs.
pub(crate) async fn two_runs(engine: Engine) -> (AnyDatabase, Box<dyn Store>, Box<dyn Store>) {
    let (database, first) = ready(engine).await;
    let second = open(&database).await;
    (database, first, second)
}

/// The same with one run that has the lease.
pub(crate) async fn leased(engine: Engine) -> (AnyDatabase, Box<dyn Store>, Lease) {
    let (database, store) = ready(engine).await;
    let lease = lease_of(&*store, "one").await;
    (database, store, lease)
}

pub(crate) fn state(store: &dyn Store) -> &dyn StateStore {
    store.state().expect("it keeps state")
}

pub(crate) fn target(store: &dyn Store) -> &dyn Target {
    store.target().expect("it is written")
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
        duration: LEASE,
    }
}

pub(crate) async fn acquire(store: &dyn Store, owner: &str) -> LeaseOutcome {
    answer(store, &request(owner)).await
}

async fn answer(store: &dyn Store, request: &LeaseRequest) -> LeaseOutcome {
    let outcome = state(store).acquire(request).await;
    outcome.unwrap_or_else(|error| panic!("a lease is taken or held: {error:?}"))
}

pub(crate) async fn lease_of(store: &dyn Store, owner: &str) -> Lease {
    acquired(acquire(store, owner).await)
}

/// A lease that has expired when it is given. Its owner lives and knows nothing of that.
pub(crate) async fn expired_lease_of(store: &dyn Store, owner: &str) -> Lease {
    let request = LeaseRequest {
        duration: Duration::ZERO,
        ..request(owner)
    };
    acquired(answer(store, &request).await)
}

fn acquired(outcome: LeaseOutcome) -> Lease {
    match outcome {
        LeaseOutcome::Acquired { lease, .. } => lease,
        held @ LeaseOutcome::Held { .. } => panic!("the lease is not free: {held:?}"),
    }
}

/// A table of the target.
pub(crate) fn table_name(engine: Engine, table: &str) -> TableName {
    match engine.has_schemas() {
        true => TableName::in_schema("public", table),
        false => TableName::bare(table),
    }
}

/// A load in three chunks.
pub(crate) fn load_plan(engine: Engine, stream: &str, table: &str) -> LoadPlan {
    LoadPlan {
        stream: stream.into(),
        target: table_name(engine, table),
        selection: "selection-1".into(),
        leaves: None,
        selection_text: "{}".into(),
        low: Position(json!({"v": 1, "b": "2026-01-01", "a": [1.50, "ä\u{0}\\'😀"]})),
        boundaries: vec![KeyBound(vec!["10".into()]), KeyBound(vec!["it's".into()])],
        into_empty: true,
    }
}
