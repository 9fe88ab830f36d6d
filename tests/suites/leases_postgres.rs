//! What a PostgreSQL target promises of leases: one run at a time, and none that is lost for ever.
//!
//! Time is never waited for: a lease is made to expire by a superuser, and what another session
//! does is waited for by looking at it.

use crate::postgres_lab::{
    acquire, expire_lease, hold_fence, key, lease_of, open, open_ready, request, state, two_runs,
    wait_until,
};
use kit::postgres::raw;
use sqlx::Executor;
use syncset_connector::{ErrorClass, LeaseOutcome};

#[tokio::test]
async fn unit_that_lingers_after_its_owner_is_waited_for() {
    let (database, first, second) = two_runs().await;
    let lease = lease_of(&*first, "one").await;
    let mut unit = database.connect().await;
    let pid = hold_fence(&mut unit, lease.epoch).await;
    database
        .execute(&format!(
            "INSERT INTO _syncset.lease_session
             SELECT 'shop', 'crm', pid, backend_start, 1, false
             FROM pg_stat_activity WHERE pid = {pid}"
        ))
        .await;
    let control = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity a
         JOIN _syncset.lease_session s USING (pid, backend_start) WHERE s.control)";

    drop(first);
    let end_unit = async {
        wait_until(&database, control).await;
        drop(unit);
    };
    let (outcome, ()) = tokio::join!(acquire(&*second, "two"), end_unit);

    assert!(
        matches!(outcome, LeaseOutcome::Acquired { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn unlisted_unit_of_a_dead_owner_is_ended() {
    let (database, first, second) = two_runs().await;
    let lease = lease_of(&*first, "one").await;
    let mut unit = database.connect().await;
    hold_fence(&mut unit, lease.epoch).await;

    drop(first);
    let successor = lease_of(&*second, "two").await;

    assert_eq!(successor.epoch, lease.epoch + 1);
    unit.execute(raw("COMMIT"))
        .await
        .expect_err("the session is gone");
}

#[tokio::test]
async fn expired_owner_that_holds_the_fence_is_pushed_aside() {
    let (database, first, second) = two_runs().await;
    let lease = lease_of(&*first, "one").await;
    database.execute("CREATE TABLE written (id int)").await;
    let mut units = Vec::new();
    for _ in 0..3 {
        let mut unit = database.connect().await;
        hold_fence(&mut unit, lease.epoch).await;
        unit.execute(raw("INSERT INTO written VALUES (1)"))
            .await
            .expect("the unit is open");
        units.push(unit);
    }
    let mut bystander = database.connect().await;
    bystander
        .execute(raw(
            "BEGIN; SELECT * FROM _syncset.fence; SELECT * FROM written",
        ))
        .await
        .expect("a reader blocks nobody");

    expire_lease(&database).await;
    let outcome = acquire(&*second, "two").await;

    let LeaseOutcome::Acquired {
        lease: newer,
        taken_from,
    } = outcome
    else {
        panic!("an expired owner blocks its successor: {outcome:?}");
    };
    assert_eq!((newer.epoch, taken_from), (2, Some("one".into())));
    for mut unit in units {
        unit.execute(raw("COMMIT"))
            .await
            .expect_err("the session is gone");
    }
    assert_eq!(database.value("SELECT count(*) FROM written").await, "0");
    bystander
        .execute(raw("COMMIT"))
        .await
        .expect("only sessions that hold the fence are ended");
    let renewed = state(&*first).renew(&lease).await.expect_err("it expired");
    assert_eq!(renewed.class, ErrorClass::Fenced);
}

#[tokio::test]
async fn owner_that_cannot_be_ended_is_named_with_the_right_that_is_missing() {
    let database = kit::postgres().await.database("state").await;
    let role = database.role("plain", &[]).await;
    database
        .execute(&format!(
            "CREATE SCHEMA _syncset AUTHORIZATION \"{}\"",
            role.name
        ))
        .await;
    let (first, second) = (open_ready(&role.url).await, open(&role.url).await);
    let lease = lease_of(&*first, "one").await;
    let mut unit = database.connect().await;
    hold_fence(&mut unit, lease.epoch).await;

    expire_lease(&database).await;
    let error = state(&*second)
        .acquire(&request("two"))
        .await
        .expect_err("a superuser's session is in the way");

    assert_eq!(error.class, ErrorClass::Locked);
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("GRANT pg_signal_backend"), "{hint}");
    unit.execute(raw("COMMIT"))
        .await
        .expect("nobody ended the session");
    assert_eq!(lease_of(&*second, "two").await.epoch, lease.epoch + 1);
}

#[tokio::test]
async fn sessions_of_another_role_are_seen_by_their_number() {
    let database = kit::postgres().await.database("state").await;
    let first = open_ready(&database.url()).await;
    lease_of(&*first, "one").await;
    let role = database.role("other", &[]).await;
    database
        .execute(&format!(
            "GRANT USAGE ON SCHEMA _syncset TO \"{name}\";
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA _syncset TO \"{name}\"",
            name = role.name
        ))
        .await;
    let second = open_ready(&role.url).await;

    let while_alive = acquire(&*second, "two").await;
    drop(first);
    let afterwards = acquire(&*second, "two").await;

    assert!(
        matches!(while_alive, LeaseOutcome::Held { .. }),
        "{while_alive:?}"
    );
    assert!(
        matches!(afterwards, LeaseOutcome::Acquired { .. }),
        "{afterwards:?}"
    );
}

#[tokio::test]
async fn behind_a_pooler_missing_sessions_free_no_lease_before_it_expires() {
    let (database, first, second) = two_runs().await;
    lease_of(&*first, "one").await;
    database
        .execute("UPDATE _syncset.lease SET sessions_tell = false")
        .await;

    drop(first);
    let before = acquire(&*second, "two").await;
    expire_lease(&database).await;
    let after = acquire(&*second, "two").await;

    assert!(matches!(before, LeaseOutcome::Held { .. }), "{before:?}");
    assert!(matches!(after, LeaseOutcome::Acquired { .. }), "{after:?}");
}

#[tokio::test]
async fn renewed_lease_survives_the_loss_of_its_control_session() {
    let (database, first, second) = two_runs().await;
    let lease = lease_of(&*first, "one").await;
    database
        .execute("SELECT pg_terminate_backend(pid) FROM _syncset.lease_session WHERE control")
        .await;

    let renewed = state(&*first).renew(&lease).await;

    renewed.expect("the lease is still ours");
    let outcome = acquire(&*second, "two").await;
    assert!(matches!(outcome, LeaseOutcome::Held { .. }), "{outcome:?}");
}

#[tokio::test]
async fn unlock_ends_the_holder_and_leaves_the_lease_free() {
    let (database, first, second) = two_runs().await;
    let lease = lease_of(&*first, "one").await;
    let mut unit = database.connect().await;
    hold_fence(&mut unit, lease.epoch).await;

    let owner = state(&*second).unlock(&key()).await.expect("it is held");
    let again = state(&*second).unlock(&key()).await.expect("it is free");

    assert_eq!((owner.as_deref(), again), (Some("one"), None));
    unit.execute(raw("COMMIT"))
        .await
        .expect_err("the session is gone");
    let renewed = state(&*first)
        .renew(&lease)
        .await
        .expect_err("it was taken");
    assert_eq!(renewed.class, ErrorClass::Fenced);
    assert_eq!(lease_of(&*first, "one").await.epoch, lease.epoch + 2);
}
