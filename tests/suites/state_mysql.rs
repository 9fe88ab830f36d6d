//! What the state of MySQL and MariaDB promises: creation and rights, loads, watermarks, ownership,
//! runs.

use crate::mysql_target_lab::{
    expire_lease, key, lease_of, load_plan, on_both, open, open_ready, request, state,
};
use kit::{MysqlDatabase, MysqlServer};
use serde_json::json;
use std::time::Duration;
use syncset_connector::{
    ErrorClass, Lease, LeaseOutcome, Position, Retention, RunRecord, Store, StreamPhase, TableName,
};

on_both!(
    state_is_created_once_when_eight_ensure_it_together,
    loading_from_a_database_without_state_is_empty_and_changes_nothing,
    state_of_a_newer_version_is_refused,
    load_that_began_is_read_back_as_it_was_stored,
    load_whose_chunks_are_all_done_is_settling,
    second_load_replaces_the_first_and_its_version_grows,
    table_of_another_pipeline_is_refused_with_its_name,
    idle_watermarks_move_together_or_not_at_all,
    stale_epoch_changes_no_state,
    reset_forgets_the_named_streams_and_keeps_their_tables,
    runs_are_kept_for_their_time_and_listed_newest_first,
    user_without_rights_is_told_which_grant_it_needs,
    server_that_logs_statements_is_refused,
);

async fn ready(server: &'static MysqlServer) -> (MysqlDatabase, Box<dyn Store>) {
    let database = server.database("state").await;
    let store = open_ready(&database.url()).await;
    (database, store)
}

async fn leased(server: &'static MysqlServer) -> (MysqlDatabase, Box<dyn Store>, Lease) {
    let (database, store) = ready(server).await;
    let lease = lease_of(&*store, "one").await;
    (database, store, lease)
}

async fn state_is_created_once_when_eight_ensure_it_together(server: &'static MysqlServer) {
    let database = server.database("state").await;
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
        database.value("SELECT count(*) FROM _syncset_meta").await,
        "1"
    );
}

async fn loading_from_a_database_without_state_is_empty_and_changes_nothing(
    server: &'static MysqlServer,
) {
    let database = server.database("state").await;
    let store = open(&database.url()).await;

    let stored = state(&*store)
        .load(&key(), 5)
        .await
        .expect("nothing is no error");

    assert!(stored.streams.is_empty() && stored.owners.is_empty() && stored.holder.is_none());
    let tables = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
    assert_eq!(database.value(tables).await, "0");
}

async fn state_of_a_newer_version_is_refused(server: &'static MysqlServer) {
    let (database, store) = ready(server).await;
    database
        .execute("UPDATE _syncset_meta SET version = 99")
        .await;

    let ensured = state(&*store).ensure().await.expect_err("it is newer");
    let loaded = state(&*store)
        .load(&key(), 0)
        .await
        .expect_err("it is newer");

    assert_eq!(ensured.class, ErrorClass::StateTooNew);
    assert_eq!(loaded.class, ErrorClass::StateTooNew);
}

async fn load_that_began_is_read_back_as_it_was_stored(server: &'static MysqlServer) {
    let (_database, store, lease) = leased(server).await;
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
    assert_eq!(stored.owners[0].target, TableName::bare("a"));
    assert_eq!(stored.owners[0].key, key());
}

async fn load_whose_chunks_are_all_done_is_settling(server: &'static MysqlServer) {
    let (database, store, lease) = leased(server).await;
    state(&*store)
        .begin_load(&lease, &[load_plan("s", "s")])
        .await
        .expect("the table is free");

    database
        .execute("UPDATE _syncset_chunk SET done = 1 WHERE number < 2")
        .await;
    let before = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    database.execute("UPDATE _syncset_chunk SET done = 1").await;
    let after = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");

    assert_eq!(before.streams[0].phase, StreamPhase::Loading);
    assert_eq!(after.streams[0].phase, StreamPhase::Settling);
}

async fn second_load_replaces_the_first_and_its_version_grows(server: &'static MysqlServer) {
    let (_database, store, lease) = leased(server).await;
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

async fn table_of_another_pipeline_is_refused_with_its_name(server: &'static MysqlServer) {
    let (_database, store, lease) = leased(server).await;
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
    assert_eq!(error.message, "`orders` belongs to the pipeline `shop/crm`");
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("`to:`"), "{hint}");
    let stored = state(&*store)
        .load(&other.key, 0)
        .await
        .expect("state is there");
    assert!(stored.streams.is_empty(), "nothing was claimed");
}

async fn idle_watermarks_move_together_or_not_at_all(server: &'static MysqlServer) {
    let (_database, store, lease) = leased(server).await;
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

async fn stale_epoch_changes_no_state(server: &'static MysqlServer) {
    let (database, first) = ready(server).await;
    let second = open(&database.url()).await;
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

async fn reset_forgets_the_named_streams_and_keeps_their_tables(server: &'static MysqlServer) {
    let (_database, store, lease) = leased(server).await;
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

async fn runs_are_kept_for_their_time_and_listed_newest_first(server: &'static MysqlServer) {
    let (database, store) = ready(server).await;
    let today: i64 = database
        .value("SELECT UNIX_TIMESTAMP()")
        .await
        .parse()
        .expect("a number");
    let run = |days: i64, exit_code: Option<i32>| RunRecord {
        run_id: format!("run-{days}"),
        started_at: today - days * 86_400,
        finished_at: exit_code.map(|_| today - days * 86_400 + 60),
        exit_code,
        report: json!({"days": days}),
    };
    let record = async |run: &RunRecord, days: u64| {
        let keep = Retention {
            runs: Duration::from_secs(days * 86_400),
            rejected: Duration::ZERO,
            streams: None,
        };
        let recorded = state(&*store).record_run(&key(), run, &keep).await;
        assert_eq!(recorded.expect("runs need no lease"), 0);
    };
    for (days, code) in [(40, 0), (35, 0), (32, 1), (20, 1), (1, 9), (0, 1)] {
        record(&run(days, Some(code)), 100).await;
    }

    record(&run(0, Some(9)), 30).await;
    let stored = state(&*store).load(&key(), 10).await.expect("the state");
    let newest = state(&*store).load(&key(), 1).await.expect("the state");

    // The last success stays, however old: how long ago it was is what a person asks.
    let kept = [
        run(0, Some(9)),
        run(1, Some(9)),
        run(20, Some(1)),
        run(35, Some(0)),
    ];
    assert_eq!(stored.runs, kept);
    assert_eq!(newest.runs, kept[..1]);
    assert_eq!(newest.last_success, kept[3].finished_at);
}

async fn user_without_rights_is_told_which_grant_it_needs(server: &'static MysqlServer) {
    let database = server.database("state").await;
    let user = database.user("r", &["SELECT ON {database}.*"]).await;
    let store = open(&user.url()).await;

    let error = state(&*store)
        .ensure()
        .await
        .expect_err("it may not create");

    assert_eq!(error.class, ErrorClass::Privilege);
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("GRANT SELECT, INSERT"), "{hint}");
}

async fn server_that_logs_statements_is_refused(server: &'static MysqlServer) {
    let own = MysqlServer::start_own(server.flavour(), "binlog_format = STATEMENT");
    let database = own.create_database("state").await;
    let store = open(&database.url()).await;

    let error = state(&*store)
        .ensure()
        .await
        .expect_err("rows must be logged");

    assert_eq!(error.class, ErrorClass::Config);
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("binlog_format = 'ROW'"), "{hint}");
}
