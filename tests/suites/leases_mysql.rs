//! What a target of MySQL or MariaDB promises of leases: one run at a time, and none that is lost
//! for ever.
//!
//! Time is never waited for: a lease is made to expire by an administrator, and what another
//! session does is waited for by looking at it.

use crate::mysql_target_lab::{
    acquire, expire_lease, key, lease_of, on_both, open, open_ready, request, state, wait_until,
};
use kit::{MysqlDatabase, MysqlServer};
use mysql_async::prelude::Queryable;
use syncset_connector::{ErrorClass, LeaseOutcome, Store};

on_both!(
    lease_of_another_server_is_waited_for_until_it_expires,
    fence_held_by_a_stranger_is_named_and_not_taken,
    owner_that_cannot_be_ended_is_named_with_the_right_that_is_missing,
    renewed_lease_survives_the_loss_of_its_control_session,
    unlock_ends_the_holder_and_leaves_the_lease_free,
);

async fn two_runs(server: &'static MysqlServer) -> (MysqlDatabase, Box<dyn Store>, Box<dyn Store>) {
    let database = server.database("lease").await;
    let first = open_ready(&database.url()).await;
    let second = open(&database.url()).await;
    (database, first, second)
}

async fn lease_of_another_server_is_waited_for_until_it_expires(server: &'static MysqlServer) {
    let (database, first, second) = two_runs(server).await;
    lease_of(&*first, "one").await;
    database
        .execute("UPDATE _syncset_lease SET server = 'another'")
        .await;

    drop(first);
    let before = acquire(&*second, "two").await;
    expire_lease(&database).await;
    let after = acquire(&*second, "two").await;

    assert!(matches!(before, LeaseOutcome::Held { .. }), "{before:?}");
    assert!(matches!(after, LeaseOutcome::Acquired { .. }), "{after:?}");
}

async fn fence_held_by_a_stranger_is_named_and_not_taken(server: &'static MysqlServer) {
    let (database, first, second) = two_runs(server).await;
    lease_of(&*first, "one").await;
    let mut stranger = database.connect().await;
    stranger
        .query_drop("START TRANSACTION; SELECT * FROM _syncset_fence LOCK IN SHARE MODE")
        .await
        .expect("the fence can be shared");

    drop(first);
    let error = state(&*second)
        .acquire(&request("two"))
        .await
        .expect_err("the fence cannot be moved");

    assert_eq!(error.class, ErrorClass::Locked);
    stranger
        .query_drop("COMMIT")
        .await
        .expect("nobody ended a session that is none of ours");
    drop(second);
    let third = open(&database.url()).await;
    assert_eq!(lease_of(&*third, "three").await.epoch, 3);
}

async fn owner_that_cannot_be_ended_is_named_with_the_right_that_is_missing(
    server: &'static MysqlServer,
) {
    let database = server.database("lease").await;
    let first = open_ready(&database.url()).await;
    lease_of(&*first, "one").await;
    let user = database.user("w", &["ALL ON {database}.*"]).await;
    let second = open(&user.url()).await;

    expire_lease(&database).await;
    let error = state(&*second)
        .acquire(&request("two"))
        .await
        .expect_err("another user's session is in the way");

    assert_eq!(error.class, ErrorClass::Locked);
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("CONNECTION"), "{hint}");
}

async fn renewed_lease_survives_the_loss_of_its_control_session(server: &'static MysqlServer) {
    let (database, first, second) = two_runs(server).await;
    let lease = lease_of(&*first, "one").await;
    let session = database
        .value("SELECT IS_USED_LOCK(lock_name) FROM _syncset_lease_session WHERE control = 1")
        .await;
    database.execute(&format!("KILL {session}")).await;
    wait_until(
        &database,
        "SELECT COUNT(*) = 0 FROM _syncset_lease_session WHERE IS_USED_LOCK(lock_name) IS NOT NULL",
    )
    .await;

    let renewed = state(&*first).renew(&lease).await;

    renewed.expect("the lease is still ours");
    let outcome = acquire(&*second, "two").await;
    assert!(matches!(outcome, LeaseOutcome::Held { .. }), "{outcome:?}");
}

async fn unlock_ends_the_holder_and_leaves_the_lease_free(server: &'static MysqlServer) {
    let (database, first, second) = two_runs(server).await;
    let lease = lease_of(&*first, "one").await;

    let owner = state(&*second).unlock(&key()).await.expect("it is held");
    let again = state(&*second).unlock(&key()).await.expect("it is free");

    assert_eq!((owner.as_deref(), again), (Some("one"), None));
    let left = "SELECT COUNT(*) FROM _syncset_lease_session";
    assert_eq!(database.value(left).await, "0");
    let renewed = state(&*first)
        .renew(&lease)
        .await
        .expect_err("it was taken");
    assert!(
        matches!(renewed.class, ErrorClass::Fenced | ErrorClass::Connection),
        "{renewed:?}"
    );
    assert_eq!(lease_of(&*first, "one").await.epoch, lease.epoch + 2);
}
