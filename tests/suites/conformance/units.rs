//! What a unit of work promises at every target: rows and progress commit together, once, and only
//! while the lease is ours.

use super::store_lab::{
    expired_lease_of, key, lease_of, load_plan, open, ready, request, state, table_name, target,
};
use arrow_array::{Int32Array, RecordBatch};
use arrow_schema::DataType;
use kit::{AnyDatabase, Engine, eventually};
use serde_json::json;
use std::sync::Arc;
use syncset_connector::{
    ErrorClass, Lease, LeaseOutcome, Marks, Position, RejectedRow, Store, StreamPhase,
    TargetColumn, TargetTable, UnitStart, UnitStep,
};

for_every_engine!(
    chunk_of_an_earlier_load_cannot_be_begun_or_decided,
    chunks_then_watermark_lead_a_stream_to_following,
    load_with_an_open_chunk_cannot_be_settled,
    replayed_unit_is_refused_before_it_writes,
    two_units_for_one_watermark_commit_once,
    unit_of_a_stale_epoch_is_fenced,
    open_unit_of_an_expired_owner_writes_nothing_after_the_takeover,
    lost_commit_is_decided_by_waiting_for_the_row,
    open_unit_is_not_decided_before_it_ends,
    lost_commit_of_a_chunk_is_decided_by_its_mark,
    refused_rows_are_stored_and_forgotten_with_their_unit,
    sessions_that_run_units_are_listed_for_the_holder,
    session_of_a_former_holder_is_not_listed_for_its_successor,
);

fn orders(engine: Engine) -> TargetTable {
    TargetTable {
        name: table_name(engine, "orders"),
        columns: vec![TargetColumn {
            name: "id".into(),
            data_type: DataType::Int32,
            native: None,
            nullable: false,
        }],
        key: vec!["id".into()],
        marks: Marks::default(),
    }
}

fn row(table: &TargetTable, id: i32) -> RecordBatch {
    RecordBatch::try_new(table.schema(), vec![Arc::new(Int32Array::from(vec![id]))])
        .expect("one column of the schema's type")
}

fn chunk(lease: &Lease, index: u32) -> UnitStart {
    UnitStart {
        lease: lease.clone(),
        step: UnitStep::Chunk {
            stream: "s".into(),
            index,
            version: 1,
        },
        into_empty: false,
        careful: false,
    }
}

fn watermark(lease: &Lease, version: u64) -> UnitStart {
    UnitStart {
        step: UnitStep::Watermark {
            stream: "s".into(),
            version,
        },
        ..chunk(lease, 0)
    }
}

fn following(place: i32) -> Option<(Position, StreamPhase)> {
    Some((Position(json!({"at": place})), StreamPhase::Following))
}

/// A stream `s` that loads three chunks into `orders`.
async fn loading(engine: Engine) -> (AnyDatabase, Box<dyn Store>, Lease) {
    let (database, store) = with_orders(engine).await;
    let lease = lease_of(&*store, "one").await;
    begin(engine, &*store, &lease).await;
    (database, store, lease)
}

/// The same with a lease that has expired.
async fn loading_expired(engine: Engine) -> (AnyDatabase, Box<dyn Store>, Lease) {
    let (database, store) = with_orders(engine).await;
    let lease = expired_lease_of(&*store, "one").await;
    begin(engine, &*store, &lease).await;
    (database, store, lease)
}

async fn with_orders(engine: Engine) -> (AnyDatabase, Box<dyn Store>) {
    let (database, store) = ready(engine).await;
    database
        .execute("CREATE TABLE orders (id int PRIMARY KEY)")
        .await;
    (database, store)
}

async fn begin(engine: Engine, store: &dyn Store, lease: &Lease) {
    state(store)
        .begin_load(lease, &[load_plan(engine, "s", "orders")])
        .await
        .expect("the table is free");
}

async fn commit(
    store: &dyn Store,
    start: UnitStart,
    moved: Option<(Position, StreamPhase)>,
) -> syncset_connector::Result<u64> {
    let unit = target(store).begin(start).await?;
    unit.commit(moved).await.map(|receipt| receipt.version)
}

async fn load_all_chunks(store: &dyn Store, lease: &Lease) {
    for index in 0..3 {
        commit(store, chunk(lease, index), None)
            .await
            .expect("the chunk is open");
    }
}

async fn chunk_of_an_earlier_load_cannot_be_begun_or_decided(engine: Engine) {
    let (database, store, lease) = loading(engine).await;
    let stale = chunk(&lease, 0);
    let begun = state(&*store)
        .begin_load(&lease, &[load_plan(engine, "s", "orders")])
        .await
        .expect("the table is ours");

    let written = commit(&*store, stale.clone(), None).await;
    let decided = target(&*store).was_committed(&stale).await;

    assert_eq!(begun[0].version, 2);
    assert_eq!(
        written.err().map(|error| error.class),
        Some(ErrorClass::Fenced)
    );
    assert_eq!(
        decided.err().map(|error| error.class),
        Some(ErrorClass::Fenced)
    );
    let done = format!(
        "SELECT count(*) FROM {} WHERE done = TRUE",
        engine.state_table("chunk")
    );
    assert_eq!(database.value(&done).await, "0");
}

async fn chunks_then_watermark_lead_a_stream_to_following(engine: Engine) {
    let (_database, store, lease) = loading(engine).await;

    load_all_chunks(&*store, &lease).await;
    let version = commit(&*store, watermark(&lease, 1), following(1)).await;

    assert_eq!(version.ok(), Some(2));
    let stored = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    let stream = &stored.streams[0];
    assert_eq!((stream.phase, stream.version), (StreamPhase::Following, 2));
    assert_eq!(stream.position, Position(json!({"at": 1})));
    assert!(stream.chunks.is_empty());
}

async fn load_with_an_open_chunk_cannot_be_settled(engine: Engine) {
    let (_database, store, lease) = loading(engine).await;
    commit(&*store, chunk(&lease, 1), None)
        .await
        .expect("the chunk is open");

    let settled = commit(&*store, watermark(&lease, 1), following(1)).await;

    settled.expect_err("rows would be missing for ever");
    let stored = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    assert_eq!(stored.streams[0].version, 1);
    assert_eq!(stored.streams[0].chunks.len(), 3);
}

async fn replayed_unit_is_refused_before_it_writes(engine: Engine) {
    let (_database, store, lease) = loading(engine).await;
    load_all_chunks(&*store, &lease).await;
    commit(&*store, watermark(&lease, 1), following(1))
        .await
        .expect("the load is done");

    let again = target(&*store).begin(watermark(&lease, 1)).await;
    let done = target(&*store).begin(chunk(&lease, 1)).await;

    for error in [again.err(), done.err()] {
        assert_eq!(error.map(|error| error.class), Some(ErrorClass::Fenced));
    }
    let stored = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    assert_eq!(stored.streams[0].position, Position(json!({"at": 1})));
}

async fn two_units_for_one_watermark_commit_once(engine: Engine) {
    let (_database, store, lease) = loading(engine).await;
    load_all_chunks(&*store, &lease).await;

    let (one, other) = tokio::join!(
        commit(&*store, watermark(&lease, 1), following(1)),
        commit(&*store, watermark(&lease, 1), following(2))
    );

    assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1);
    let refused = one.err().or(other.err()).expect("one was refused");
    assert_eq!(refused.class, ErrorClass::Fenced);
}

async fn unit_of_a_stale_epoch_is_fenced(engine: Engine) {
    let (database, first, stale) = loading_expired(engine).await;
    let second = open(&database).await;
    lease_of(&*second, "two").await;

    let started = target(&*first).begin(chunk(&stale, 0)).await;

    assert_eq!(
        started.err().map(|error| error.class),
        Some(ErrorClass::Fenced)
    );
}

async fn open_unit_of_an_expired_owner_writes_nothing_after_the_takeover(engine: Engine) {
    let (database, first, stale) = loading_expired(engine).await;
    let second = open(&database).await;
    let start = chunk(&stale, 0);
    let mut unit = target(&*first)
        .begin(start.clone())
        .await
        .expect("nobody has taken the lease over");
    let orders = orders(engine);
    unit.upsert(&orders, row(&orders, 1))
        .await
        .expect("the unit is open");

    let successor = match state(&*second).acquire(&request("two")).await {
        // With one writer at a time, its lock cannot be taken while the owner lives.
        Err(error) if !engine.connector().info().capabilities.parallel_writes => {
            assert_eq!(error.class, ErrorClass::Locked);
            assert!(error.message.contains("one"), "{}", error.message);
            unit.abort().await;
            lease_of(&*second, "two").await
        }
        taken => {
            let LeaseOutcome::Acquired { lease, .. } = taken.expect("the owner is pushed aside")
            else {
                panic!("the lease has expired");
            };
            unit.commit(None).await.expect_err("the session is gone");
            lease
        }
    };
    let decided = target(&*first).was_committed(&start).await;

    assert_eq!(successor.epoch, stale.epoch + 1);
    assert_eq!(
        decided.err().map(|error| error.class),
        Some(ErrorClass::Fenced)
    );
    assert_eq!(database.value("SELECT count(*) FROM orders").await, "0");
    commit(&*second, chunk(&successor, 0), None)
        .await
        .expect("the chunk is still open");
}

/// Waits until a decision waits for the lock that a test holds. With one writer at a time nothing
/// shows that, and nothing else is possible.
async fn decision_waits(database: &AnyDatabase) {
    if let Some(waiting) = database.engine().decisions_that_wait() {
        let waits = async || database.value(waiting).await != "0";
        eventually("the decision waits for the unit", waits).await;
    }
}

async fn lost_commit_is_decided_by_waiting_for_the_row(engine: Engine) {
    let (database, store, lease) = loading(engine).await;
    let start = watermark(&lease, 1);
    for (end, version, expected) in [("ROLLBACK", 1, false), ("COMMIT", 2, true)] {
        let mut limbo = database.session().await;
        limbo.begin().await;
        limbo
            .execute(&format!(
                "UPDATE {} SET version = {version}, phase = 'loading', \
                 into_empty = NOT into_empty WHERE stream = 's'",
                engine.state_table("watermark")
            ))
            .await;

        let end_limbo = async {
            decision_waits(&database).await;
            limbo.execute(end).await;
        };
        let (decided, ()) = tokio::join!(target(&*store).was_committed(&start), end_limbo);

        assert_eq!(decided.ok(), Some(expected), "{end}");
    }
}

async fn open_unit_is_not_decided_before_it_ends(engine: Engine) {
    let (database, store, lease) = loading(engine).await;
    for start in [chunk(&lease, 0), watermark(&lease, 1)] {
        let moved = matches!(start.step, UnitStep::Watermark { .. })
            .then(|| (Position(json!(1)), StreamPhase::Loading));
        let unit = target(&*store)
            .begin(start.clone())
            .await
            .expect("the unit can begin");

        let end = async {
            decision_waits(&database).await;
            unit.commit(moved).await.expect("the unit is alive");
        };
        let (decided, ()) = tokio::join!(target(&*store).was_committed(&start), end);

        assert_eq!(decided.ok(), Some(true));
    }
}

async fn lost_commit_of_a_chunk_is_decided_by_its_mark(engine: Engine) {
    let (_database, store, lease) = loading(engine).await;
    commit(&*store, chunk(&lease, 1), None)
        .await
        .expect("the chunk is open");

    let open = target(&*store).was_committed(&chunk(&lease, 0)).await;
    let done = target(&*store).was_committed(&chunk(&lease, 1)).await;
    let gone = target(&*store).was_committed(&chunk(&lease, 9)).await;

    assert_eq!((open.ok(), done.ok()), (Some(false), Some(true)));
    assert_eq!(
        gone.err().map(|error| error.class),
        Some(ErrorClass::Fenced)
    );
}

async fn refused_rows_are_stored_and_forgotten_with_their_unit(engine: Engine) {
    let (_database, store, lease) = loading(engine).await;
    let refused = RejectedRow {
        stream: "s".into(),
        key: json!(["it's \u{0}", null]),
        reason: "a check refused a row".into(),
        code: Some("23514".into()),
        row: json!({"name": "ä😀\u{0}", "price": "1.50"}),
        first_at: None,
        attempts: 0,
    };

    let mut aborted = target(&*store)
        .begin(chunk(&lease, 0))
        .await
        .expect("the chunk is open");
    aborted
        .store_rejected(std::slice::from_ref(&refused))
        .await
        .expect("the unit is open");
    aborted.abort().await;
    let none = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    let mut kept = target(&*store)
        .begin(chunk(&lease, 0))
        .await
        .expect("the chunk is open");
    kept.store_rejected(&[refused.clone(), refused.clone()])
        .await
        .expect("the unit is open");
    kept.commit(None).await.expect("the chunk is open");
    let one = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    let mut cleared = target(&*store)
        .begin(chunk(&lease, 1))
        .await
        .expect("the chunk is open");
    cleared
        .forget_rejected("s", std::slice::from_ref(&refused.key))
        .await
        .expect("the unit is open");
    cleared.commit(None).await.expect("the chunk is open");
    let cleared = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");

    assert_eq!(none.rejected, []);
    let stored = RejectedRow {
        first_at: one.rejected[0].first_at,
        attempts: 1,
        ..refused
    };
    assert!(stored.first_at.is_some());
    assert_eq!(one.rejected, [stored]);
    assert_eq!(cleared.rejected, []);
}

async fn sessions_that_run_units_are_listed_for_the_holder(engine: Engine) {
    let (database, store, lease) = loading(engine).await;

    let begun = target(&*store).begin(chunk(&lease, 0)).await;
    let unit = begun.expect("the chunk is open");

    if let Some(listed) = engine.sessions_listed() {
        assert_eq!(database.value(listed).await, "2 2 1");
    }
    unit.abort().await;
}

async fn session_of_a_former_holder_is_not_listed_for_its_successor(engine: Engine) {
    let (database, first, stale) = loading_expired(engine).await;
    let second = open(&database).await;
    lease_of(&*second, "two").await;

    let started = target(&*first).begin(chunk(&stale, 0)).await;
    let renewed = state(&*first).renew(&stale).await;

    assert!(started.is_err() && renewed.is_err());
    if let Some(listed) = engine.sessions_listed() {
        assert_eq!(database.value(listed).await, "1 1 1");
    }
}
