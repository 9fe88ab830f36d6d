//! The state: leases, fences, watermarks and loads.

use super::lab::{Lab, acquired, begin_load, chunk_start, key, lease, watermark_start};
use crate::lease::lock_path;
use std::time::Duration;
use syncset_connector::{
    ErrorClass, KeyBound, LeaseOutcome, LeaseRequest, LoadPlan, PipelineKey, Position, RejectedRow,
    Role, StreamPhase, TableName, UnitStart, UnitStep,
};

#[tokio::test]
async fn living_owner_keeps_the_lease_and_a_gone_one_loses_it_at_once() {
    let lab = Lab::new();
    let first = lab.open("a.db", Role::Target).await;
    let second = lab.open("a.db", Role::Target).await;
    let held = acquired(&*first, "first").await;

    let outcome = lease(&*second, "second").await;
    assert!(
        matches!(&outcome, LeaseOutcome::Held { owner, .. } if owner == "first"),
        "{outcome:?}"
    );
    let state = second
        .state()
        .expect("state")
        .load(&key(), 1)
        .await
        .expect("the state");
    assert_eq!(state.holder.expect("a holder").0, "first");
    first
        .state()
        .expect("state")
        .renew(&held)
        .await
        .expect("renewed");

    // Dropped without a release, as by kill -9: the kernel drops the lock.
    drop(first);
    match lease(&*second, "second").await {
        LeaseOutcome::Acquired { lease, taken_from } => {
            assert_eq!(lease.epoch, held.epoch + 1);
            assert_eq!(taken_from.as_deref(), Some("first"));
        }
        held @ LeaseOutcome::Held { .. } => panic!("{held:?}"),
    }
}

#[tokio::test]
async fn released_lease_is_taken_from_nobody() {
    let lab = Lab::new();
    let store = lab.open("a.db", Role::Target).await;
    let held = acquired(&*store, "first").await;
    let state = store.state().expect("state");

    state.release(&held).await.expect("released");

    assert!(
        !lock_path(
            &lab.path("a.db").canonicalize().expect("a path"),
            &key(),
            held.epoch
        )
        .exists()
    );
    assert_eq!(state.load(&key(), 1).await.expect("the state").holder, None);
    let outcome = lease(&*store, "second").await;
    assert!(
        matches!(
            outcome,
            LeaseOutcome::Acquired {
                taken_from: None,
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn expired_owner_is_pushed_aside_and_writes_nothing_afterwards() {
    let lab = Lab::new();
    let first = lab.open("a.db", Role::Target).await;
    let second = lab.open("a.db", Role::Target).await;
    let state = first.state().expect("state");
    state.ensure().await.expect("made");
    let request = LeaseRequest {
        key: key(),
        owner: "stopped pid 7".into(),
        duration: Duration::ZERO,
    };
    let LeaseOutcome::Acquired { lease: old, .. } =
        state.acquire(&request).await.expect("an answer")
    else {
        panic!("nobody has it");
    };
    begin_load(&*first, &old, "t").await;
    let start = chunk_start(&*first, &old, "t").await;

    // It holds the write lock: nothing can be done without ending it.
    let unit = first
        .target()
        .expect("a target")
        .begin(start.clone())
        .await
        .expect("a unit");
    let request = LeaseRequest {
        owner: "second".into(),
        duration: Duration::from_secs(60),
        ..request
    };
    let error = second
        .state()
        .expect("state")
        .acquire(&request)
        .await
        .expect_err("locked");
    assert_eq!(error.class, ErrorClass::Locked);
    assert!(error.message.contains("pid 7"), "{}", error.message);
    unit.abort().await;

    let outcome = second
        .state()
        .expect("state")
        .acquire(&request)
        .await
        .expect("an answer");
    assert!(
        matches!(&outcome, LeaseOutcome::Acquired { taken_from: Some(owner), .. } if owner == "stopped pid 7"),
        "{outcome:?}"
    );
    for error in [
        state.renew(&old).await.expect_err("fenced"),
        first
            .target()
            .expect("a target")
            .begin(start.clone())
            .await
            .err()
            .expect("fenced"),
        first
            .target()
            .expect("a target")
            .was_committed(&start)
            .await
            .expect_err("fenced"),
        state.reset(&old, &[]).await.expect_err("fenced"),
    ] {
        assert_eq!(error.class, ErrorClass::Fenced);
    }
}

#[tokio::test]
async fn unlock_takes_the_lease_from_a_living_owner() {
    let lab = Lab::new();
    let store = lab.open("a.db", Role::Target).await;
    let held = acquired(&*store, "first").await;
    let state = store.state().expect("state");

    assert_eq!(
        state.unlock(&key()).await.expect("unlocked").as_deref(),
        Some("first")
    );

    assert_eq!(
        state.renew(&held).await.expect_err("fenced").class,
        ErrorClass::Fenced
    );
    acquired(&*store, "second").await;
}

#[tokio::test]
async fn load_is_stored_settles_and_follows() {
    let lab = Lab::new();
    let store = lab.open("a.db", Role::Target).await;
    let held = acquired(&*store, "a").await;
    let (state, target) = (
        store.state().expect("state"),
        store.target().expect("a target"),
    );
    let low = Position(serde_json::json!({ "low": [1, "x"] }));
    let plan = LoadPlan {
        stream: "public.t".into(),
        target: TableName::bare("t"),
        selection: "s1".into(),
        leaves: None,
        selection_text: "{}".into(),
        low: low.clone(),
        boundaries: vec![KeyBound(vec!["i10".into()])],
        into_empty: true,
    };
    let begun = state
        .begin_load(&held, std::slice::from_ref(&plan))
        .await
        .expect("begun");
    assert_eq!(
        (begun[0].phase, begun[0].chunks.len()),
        (StreamPhase::Loading, 2)
    );
    assert_eq!(begun[0].position, low);

    for index in 0..2 {
        let step = UnitStep::Chunk {
            stream: "public.t".into(),
            index,
            version: begun[0].version,
        };
        let start = UnitStart {
            lease: held.clone(),
            step,
            into_empty: true,
            careful: false,
        };
        target
            .begin(start)
            .await
            .expect("a unit")
            .commit(None)
            .await
            .expect("commits");
    }
    let settling = state
        .load(&key(), 1)
        .await
        .expect("the state")
        .streams
        .remove(0);
    assert_eq!(settling.phase, StreamPhase::Settling);

    let start = watermark_start(&*store, &held, "public.t").await;
    let mut unit = target.begin(start.clone()).await.expect("a unit");
    let rejected = RejectedRow {
        stream: "public.t".into(),
        key: serde_json::json!(["7"]),
        reason: "no".into(),
        code: None,
        row: serde_json::json!({ "id": 7 }),
        first_at: None,
        attempts: 0,
    };
    unit.store_rejected(std::slice::from_ref(&rejected))
        .await
        .expect("stored");
    let watermark = Some((Position(serde_json::json!(2)), StreamPhase::Following));
    let receipt = unit.commit(watermark).await.expect("commits");
    assert_eq!(receipt.version, settling.version + 1);
    assert!(target.was_committed(&start).await.expect("an answer"));

    let loaded = state.load(&key(), 1).await.expect("the state");
    let stream = &loaded.streams[0];
    assert_eq!(
        (stream.phase, stream.chunks.len()),
        (StreamPhase::Following, 0)
    );
    let stored = RejectedRow {
        first_at: loaded.rejected[0].first_at,
        attempts: 1,
        ..rejected
    };
    assert!(stored.first_at.is_some());
    assert_eq!(loaded.rejected, [stored]);
    let idle = (
        "public.t".to_owned(),
        stream.version,
        Position(serde_json::json!(3)),
    );
    state
        .move_idle(&held, std::slice::from_ref(&idle))
        .await
        .expect("moved");
    assert_eq!(
        state
            .move_idle(&held, &[idle])
            .await
            .expect_err("moved twice")
            .class,
        ErrorClass::Fenced
    );

    let other = PipelineKey {
        project: "other".into(),
        pipeline: "p".into(),
    };
    let request = LeaseRequest {
        key: other,
        owner: "o".into(),
        duration: Duration::from_secs(9),
    };
    let LeaseOutcome::Acquired { lease: theirs, .. } =
        state.acquire(&request).await.expect("an answer")
    else {
        panic!("nobody has it");
    };
    let error = state
        .begin_load(&theirs, &[plan])
        .await
        .expect_err("the table is owned");
    assert_eq!(error.class, ErrorClass::TargetDiffers);

    assert_eq!(state.reset(&held, &[]).await.expect("reset"), ["public.t"]);
    let loaded = state.load(&key(), 1).await.expect("the state");
    assert_eq!(loaded.streams[0].selection, "");
    assert_eq!((loaded.owners.len(), loaded.rejected.len()), (1, 0));
}
