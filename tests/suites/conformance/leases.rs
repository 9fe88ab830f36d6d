//! What every target promises of leases: one run at a time, and none that is lost for ever.

use super::store_lab::{acquire, key, lease_of, open, open_ready, state, two_runs};
use kit::Engine;
use std::time::Duration;
use syncset_connector::{ErrorClass, LeaseOutcome};

for_every_engine!(
    second_run_is_told_who_holds_the_lease,
    lease_of_eight_runs_at_once_goes_to_one,
    released_lease_is_free_and_its_epoch_is_never_given_again,
    lease_is_free_at_once_when_its_owners_sessions_are_gone,
);

async fn second_run_is_told_who_holds_the_lease(engine: Engine) {
    let (_database, first, second) = two_runs(engine).await;
    lease_of(&*first, "one").await;

    let outcome = acquire(&*second, "two").await;

    let LeaseOutcome::Held { owner, expires_in } = outcome else {
        panic!("two runs have the lease");
    };
    assert_eq!(owner, "one");
    assert!(expires_in > Duration::from_secs(500) && expires_in <= Duration::from_secs(600));
    let stored = state(&*second)
        .load(&key(), 0)
        .await
        .expect("state is there");
    assert_eq!(stored.holder.map(|(owner, _)| owner), Some("one".into()));
}

async fn lease_of_eight_runs_at_once_goes_to_one(engine: Engine) {
    let database = engine.database("state").await;
    let mut stores = vec![open_ready(&database).await];
    for _ in 1..8 {
        stores.push(open(&database).await);
    }

    let outcomes =
        futures::future::join_all(stores.iter().map(|store| acquire(&**store, "any"))).await;

    let winners = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, LeaseOutcome::Acquired { .. }));
    assert_eq!(winners.count(), 1);
}

async fn released_lease_is_free_and_its_epoch_is_never_given_again(engine: Engine) {
    let (_database, first, second) = two_runs(engine).await;
    let lease = lease_of(&*first, "one").await;

    state(&*first).release(&lease).await.expect("it is ours");

    assert_eq!(lease_of(&*second, "two").await.epoch, lease.epoch + 1);
    state(&*first)
        .release(&lease)
        .await
        .expect("it is gone, no error");
    let error = state(&*first).renew(&lease).await.expect_err("it is gone");
    assert_eq!(error.class, ErrorClass::Fenced);
    let held = acquire(&*first, "one").await;
    assert!(matches!(held, LeaseOutcome::Held { .. }), "{held:?}");
}

async fn lease_is_free_at_once_when_its_owners_sessions_are_gone(engine: Engine) {
    let (_database, first, second) = two_runs(engine).await;
    lease_of(&*first, "one").await;

    drop(first);
    let outcome = acquire(&*second, "two").await;

    let LeaseOutcome::Acquired { lease, taken_from } = outcome else {
        panic!("a dead owner makes the next run wait: {outcome:?}");
    };
    assert_eq!((lease.epoch, taken_from), (2, Some("one".into())));
}
