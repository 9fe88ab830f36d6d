//! What the state of PostgreSQL promises: leases, epochs, watermarks, ownership.
//!
//! Time is never waited for: a lease is made to expire by a superuser, and what another session
//! does is waited for by looking at it.

use kit::Database;
use kit::postgres::{raw, rows_of};
use serde_json::json;
use sqlx::{Executor, PgConnection};
use std::collections::BTreeMap;
use std::time::Duration;
use syncset_connector::{
    ErrorClass, KeyBound, Lease, LeaseOutcome, LeaseRequest, LoadPlan, OpenOptions, PipelineKey,
    Position, Role, RunRecord, Secret, Settings, StateStore, Store, StreamPhase, TableName,
};

/// Looks at a fact before a test gives up on it, 20 ms apart.
const LOOKS_MAX: u32 = 500;

pub(crate) async fn open(url: &str) -> Box<dyn Store> {
    let settings = Settings {
        name: "target".into(),
        values: BTreeMap::from([("url".into(), Secret::new(url.to_owned()))]),
        base: ".".into(),
    };
    let options = OpenOptions {
        role: Role::Target,
        application: "syncset:test/state".into(),
        sessions_max: 4,
        connect_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        statement_timeout: Duration::ZERO,
    };
    syncset_postgres::CONNECTOR
        .open(&settings, &options)
        .await
        .expect("the test server can be opened")
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

fn request(owner: &str) -> LeaseRequest {
    LeaseRequest {
        key: key(),
        owner: owner.into(),
        duration: Duration::from_secs(600),
    }
}

async fn acquire(store: &dyn Store, owner: &str) -> LeaseOutcome {
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
async fn hold_fence(session: &mut PgConnection, epoch: u64) -> String {
    session
        .execute(raw(&format!(
            "BEGIN; SELECT 1 FROM _syncset.fence WHERE epoch = {epoch} FOR SHARE"
        )))
        .await
        .expect("the fence can be shared");
    own_pid(session).await
}

async fn own_pid(session: &mut PgConnection) -> String {
    rows_of(session, "SELECT pg_backend_pid()").await[0][0]
        .clone()
        .expect("a session has a process id")
}

pub(crate) fn load_plan(stream: &str, table: &str) -> LoadPlan {
    LoadPlan {
        stream: stream.into(),
        target: TableName::in_schema("public", table),
        selection: "selection-1".into(),
        low: Position(json!({"v": 1, "b": "2026-01-01", "a": [1.50, "ä\u{0}"]})),
        boundaries: vec![KeyBound(vec!["10".into()]), KeyBound(vec!["it's".into()])],
        into_empty: true,
    }
}

#[tokio::test]
async fn state_is_created_once_when_eight_ensure_it_together() {
    let database = kit::postgres().await.database("state").await;
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(open(&database.url()).await);
    }

    let outcomes =
        futures::future::join_all(stores.iter().map(|store| state(&**store).ensure())).await;

    for outcome in outcomes {
        outcome.expect("every one of them finds the state ready");
    }
    assert_eq!(
        database.value("SELECT count(*) FROM _syncset.meta").await,
        "1"
    );
}

#[tokio::test]
async fn loading_from_a_database_without_state_is_empty_and_changes_nothing() {
    let database = kit::postgres().await.database("state").await;
    let store = open(&database.url()).await;

    let stored = state(&*store)
        .load(&key(), 5)
        .await
        .expect("nothing is no error");

    assert!(stored.streams.is_empty() && stored.owners.is_empty() && stored.holder.is_none());
    let schema = "SELECT to_regnamespace('_syncset') IS NULL";
    assert_eq!(database.value(schema).await, "t");
}

#[tokio::test]
async fn state_of_a_newer_version_is_refused() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    database
        .execute("UPDATE _syncset.meta SET version = 99")
        .await;

    let ensured = state(&*store).ensure().await.expect_err("it is newer");
    let loaded = state(&*store)
        .load(&key(), 0)
        .await
        .expect_err("it is newer");

    assert_eq!(ensured.class, ErrorClass::StateTooNew);
    assert_eq!(loaded.class, ErrorClass::StateTooNew);
}

#[tokio::test]
async fn role_without_rights_is_told_which_grant_it_needs() {
    let database = kit::postgres().await.database("state").await;
    let role = database.role("plain", &[]).await;
    let store = open(&role.url).await;

    let no_create = state(&*store)
        .ensure()
        .await
        .expect_err("it may not create");
    database.execute("CREATE SCHEMA _syncset").await;
    let no_usage = state(&*store).ensure().await.expect_err("it may not use");

    assert_eq!(no_create.class, ErrorClass::Privilege);
    let hint = no_create.hint.unwrap_or_default();
    assert!(hint.contains("GRANT CREATE ON DATABASE"), "{hint}");
    assert_eq!(no_usage.class, ErrorClass::Privilege);
    let hint = no_usage.hint.unwrap_or_default();
    assert!(hint.contains("GRANT USAGE ON SCHEMA _syncset"), "{hint}");
}

#[tokio::test]
async fn schema_made_by_an_administrator_is_enough() {
    let database = kit::postgres().await.database("state").await;
    let role = database.role("plain", &[]).await;
    database
        .execute(&format!(
            "CREATE SCHEMA _syncset AUTHORIZATION \"{}\"",
            role.name
        ))
        .await;

    let store = open_ready(&role.url).await;

    assert_eq!(lease_of(&*store, "one").await.epoch, 1);
}

#[tokio::test]
async fn second_run_is_told_who_holds_the_lease() {
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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

#[tokio::test]
async fn lease_of_eight_runs_at_once_goes_to_one() {
    let database = kit::postgres().await.database("state").await;
    let mut stores = vec![open_ready(&database.url()).await];
    for _ in 1..8 {
        stores.push(open(&database.url()).await);
    }

    let outcomes =
        futures::future::join_all(stores.iter().map(|store| acquire(&**store, "any"))).await;

    let winners = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, LeaseOutcome::Acquired { .. }));
    assert_eq!(winners.count(), 1);
}

#[tokio::test]
async fn released_lease_is_free_and_its_epoch_is_never_given_again() {
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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

#[tokio::test]
async fn lease_is_free_at_once_when_its_owners_sessions_are_gone() {
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
    lease_of(&*first, "one").await;

    drop(first);
    let outcome = acquire(&*second, "two").await;

    let LeaseOutcome::Acquired { lease, taken_from } = outcome else {
        panic!("a dead owner makes the next run wait: {outcome:?}");
    };
    assert_eq!((lease.epoch, taken_from), (2, Some("one".into())));
}

#[tokio::test]
async fn unit_that_lingers_after_its_owner_is_waited_for() {
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
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

#[tokio::test]
async fn load_that_began_is_read_back_as_it_was_stored() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    let lease = lease_of(&*store, "one").await;
    let plans = [load_plan("public.b", "b"), load_plan("public.a", "a")];

    let begun = state(&*store)
        .begin_load(&lease, &plans)
        .await
        .expect("the tables are free");
    let mut stored = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");

    assert_eq!(begun[0].stream, "public.b");
    assert_eq!(begun[0].chunks.len(), 3);
    stored.streams.reverse();
    assert_eq!(stored.streams, begun);
    assert_eq!(stored.owners.len(), 2);
    assert_eq!(stored.owners[0].target, TableName::in_schema("public", "a"));
    assert_eq!(stored.owners[0].key, key());
}

#[tokio::test]
async fn load_whose_chunks_are_all_done_is_settling() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    let lease = lease_of(&*store, "one").await;
    state(&*store)
        .begin_load(&lease, &[load_plan("s", "s")])
        .await
        .expect("the table is free");

    database
        .execute("UPDATE _syncset.chunk SET done = true WHERE index < 2")
        .await;
    let before = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    database
        .execute("UPDATE _syncset.chunk SET done = true")
        .await;
    let after = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");

    assert_eq!(before.streams[0].phase, StreamPhase::Loading);
    assert_eq!(after.streams[0].phase, StreamPhase::Settling);
}

#[tokio::test]
async fn second_load_replaces_the_first_and_its_version_grows() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    let lease = lease_of(&*store, "one").await;
    let first = [load_plan("a", "x"), load_plan("b", "y")];
    // The config swapped the two targets, and the chunks changed.
    let mut second = [load_plan("a", "y"), load_plan("b", "x")];
    second[0].boundaries.clear();

    state(&*store)
        .begin_load(&lease, &first)
        .await
        .expect("the tables are free");
    let again = state(&*store)
        .begin_load(&lease, &first)
        .await
        .expect("the tables are ours");
    let swapped = state(&*store)
        .begin_load(&lease, &second)
        .await
        .expect("the tables are ours");

    assert_eq!(again[0].version, 2);
    assert_eq!(swapped[0].chunks.len(), 1);
    let stored = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    assert_eq!(stored.streams, swapped);
}

#[tokio::test]
async fn table_of_another_pipeline_is_refused_with_its_name() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    let lease = lease_of(&*store, "one").await;
    state(&*store)
        .begin_load(&lease, &[load_plan("s", "orders")])
        .await
        .expect("the table is free");
    let mut other = request("two");
    other.key.pipeline = "billing".into();
    let LeaseOutcome::Acquired { lease: other, .. } = state(&*store)
        .acquire(&other)
        .await
        .expect("another pipeline has a lease of its own")
    else {
        panic!("pipelines share a lease");
    };

    let error = state(&*store)
        .begin_load(&other, &[load_plan("t", "free"), load_plan("s", "orders")])
        .await
        .expect_err("the table is taken");

    assert_eq!(error.class, ErrorClass::TargetDiffers);
    assert_eq!(
        error.message,
        "`public.orders` belongs to the pipeline `shop/crm`"
    );
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("`to:`"), "{hint}");
    let stored = state(&*store)
        .load(&other.key, 0)
        .await
        .expect("state is there");
    assert!(stored.streams.is_empty(), "nothing was claimed");
}

#[tokio::test]
async fn idle_watermarks_move_together_or_not_at_all() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    let lease = lease_of(&*store, "one").await;
    let plans = [load_plan("a", "a"), load_plan("b", "b")];
    state(&*store)
        .begin_load(&lease, &plans)
        .await
        .expect("the tables are free");
    let moved = |stream: &str, version| (stream.to_owned(), version, Position(json!({"b": 2})));

    state(&*store)
        .move_idle(&lease, &[moved("a", 1), moved("b", 1)])
        .await
        .expect("nothing else moved them");
    let stale = state(&*store)
        .move_idle(&lease, &[moved("a", 2), moved("b", 1)])
        .await
        .expect_err("one of them is elsewhere");

    assert_eq!(stale.class, ErrorClass::Fenced);
    let stored = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    assert_eq!(stored.streams[0].version, 2);
    assert_eq!(stored.streams[0].position, Position(json!({"b": 2})));
    assert_eq!(stored.streams[1].version, 2);
}

#[tokio::test]
async fn stale_epoch_changes_no_state() {
    let database = kit::postgres().await.database("state").await;
    let (first, second) = (
        open_ready(&database.url()).await,
        open(&database.url()).await,
    );
    let stale = lease_of(&*first, "one").await;
    state(&*first)
        .begin_load(&stale, &[load_plan("s", "s")])
        .await
        .expect("the table is free");
    expire_lease(&database).await;
    lease_of(&*second, "two").await;

    let began = state(&*first)
        .begin_load(&stale, &[load_plan("s", "t")])
        .await;
    let moved = state(&*first)
        .move_idle(&stale, &[("s".into(), 1, Position(json!(null)))])
        .await;
    let reset = state(&*first).reset(&stale, &[]).await;

    for error in [began.err(), moved.err(), reset.err()] {
        assert_eq!(error.map(|error| error.class), Some(ErrorClass::Fenced));
    }
    let stored = state(&*second)
        .load(&key(), 0)
        .await
        .expect("state is there");
    assert_eq!(stored.streams[0].version, 1);
    assert_eq!(stored.streams[0].target.name, "s");
}

#[tokio::test]
async fn reset_forgets_the_named_streams_and_keeps_their_tables() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    let lease = lease_of(&*store, "one").await;
    let plans = ["a", "b", "c"].map(|name| load_plan(name, name));
    state(&*store)
        .begin_load(&lease, &plans)
        .await
        .expect("the tables are free");

    let named = ["c".to_owned(), "unknown".to_owned()];
    let one = state(&*store)
        .reset(&lease, &named)
        .await
        .expect("it is ours");
    let rest = state(&*store).reset(&lease, &[]).await.expect("it is ours");

    assert_eq!(one, ["c"]);
    assert_eq!(rest, ["a", "b", "c"]);
    let stored = state(&*store)
        .load(&lease.key, 0)
        .await
        .expect("it can be read");
    assert_eq!(stored.owners.len(), 3);
    for stream in stored.streams {
        assert_eq!(stream.selection, "");
        assert!(stream.chunks.is_empty() && !stream.into_empty);
    }
}

#[tokio::test]
async fn runs_are_kept_for_thirty_days_and_listed_newest_first() {
    let database = kit::postgres().await.database("state").await;
    let store = open_ready(&database.url()).await;
    let today: i64 = database
        .value("SELECT extract(epoch FROM clock_timestamp())::int8")
        .await
        .parse()
        .expect("a number");
    let run = |days: i64, exit_code| RunRecord {
        run_id: format!("run-{days}"),
        started_at: today - days * 86_400,
        finished_at: None,
        exit_code,
        report: json!({"days": days}),
    };

    for days in [29, 0, 1] {
        state(&*store)
            .record_run(&key(), &run(days, None))
            .await
            .expect("runs need no lease");
    }
    database
        .execute("UPDATE _syncset.run SET started_at = started_at - interval '2 days' WHERE run_id = 'run-29'")
        .await;
    state(&*store)
        .record_run(&key(), &run(0, Some(0)))
        .await
        .expect("runs need no lease");
    let stored = state(&*store)
        .load(&key(), 10)
        .await
        .expect("state is there");

    assert_eq!(stored.runs, [run(0, Some(0)), run(1, None)]);
    let newest = state(&*store)
        .load(&key(), 1)
        .await
        .expect("state is there");
    assert_eq!(newest.runs.len(), 1);
}
