//! What the state promises at every target: creation, loads, watermarks, ownership, runs.

use super::store_lab::{
    expired_lease_of, key, lease_of, leased, load_plan, open, ready, request, state, table_name,
    two_runs,
};
use kit::Engine;
use serde_json::json;
use std::time::Duration;
use syncset_connector::{ErrorClass, LeaseOutcome, Position, Retention, RunRecord, StreamPhase};

for_every_engine!(
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
);

async fn state_is_created_once_when_eight_ensure_it_together(engine: Engine) {
    let database = engine.database("state").await;
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(open(&database).await);
    }

    let outcomes =
        futures::future::join_all(stores.iter().map(|store| state(&**store).ensure())).await;

    for outcome in outcomes {
        outcome.expect("every one of them finds the state ready");
    }
    assert_eq!(
        database
            .value(&format!("SELECT count(*) FROM {}", engine.version_table()))
            .await,
        "1"
    );
}

async fn loading_from_a_database_without_state_is_empty_and_changes_nothing(engine: Engine) {
    let database = engine.database("state").await;
    let store = open(&database).await;

    let stored = state(&*store)
        .load(&key(), 5)
        .await
        .expect("nothing is no error");

    assert!(stored.streams.is_empty() && stored.owners.is_empty() && stored.holder.is_none());
    assert_eq!(database.value(engine.what_was_made()).await, "0");
}

async fn state_of_a_newer_version_is_refused(engine: Engine) {
    let (database, store) = ready(engine).await;
    database
        .execute(&format!(
            "UPDATE {} SET version = 99",
            engine.version_table()
        ))
        .await;

    let ensured = state(&*store).ensure().await.expect_err("it is newer");
    let loaded = state(&*store)
        .load(&key(), 0)
        .await
        .expect_err("it is newer");

    assert_eq!(ensured.class, ErrorClass::StateTooNew);
    assert_eq!(loaded.class, ErrorClass::StateTooNew);
}

async fn load_that_began_is_read_back_as_it_was_stored(engine: Engine) {
    let (_database, store, lease) = leased(engine).await;
    let plans = [
        load_plan(engine, "public.b", "b"),
        load_plan(engine, "public.a", "a"),
    ];

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
    assert_eq!(stored.owners[0].target, table_name(engine, "a"));
    assert_eq!(stored.owners[0].key, key());
}

async fn load_whose_chunks_are_all_done_is_settling(engine: Engine) {
    let (database, store, lease) = leased(engine).await;
    state(&*store)
        .begin_load(&lease, &[load_plan(engine, "s", "s")])
        .await
        .expect("the table is free");

    let done = format!("UPDATE {} SET done = TRUE", engine.state_table("chunk"));
    database
        .execute(&format!("{done} WHERE {} < 2", engine.chunk_number()))
        .await;
    let before = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");
    database.execute(&done).await;
    let after = state(&*store)
        .load(&key(), 0)
        .await
        .expect("state is there");

    assert_eq!(before.streams[0].phase, StreamPhase::Loading);
    assert_eq!(after.streams[0].phase, StreamPhase::Settling);
}

async fn second_load_replaces_the_first_and_its_version_grows(engine: Engine) {
    let (_database, store, lease) = leased(engine).await;
    let first = [load_plan(engine, "a", "x"), load_plan(engine, "b", "y")];
    // The config swapped the two targets, and the chunks changed.
    let mut second = [load_plan(engine, "a", "y"), load_plan(engine, "b", "x")];
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

async fn table_of_another_pipeline_is_refused_with_its_name(engine: Engine) {
    let (_database, store, lease) = leased(engine).await;
    state(&*store)
        .begin_load(&lease, &[load_plan(engine, "s", "orders")])
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
        .begin_load(
            &other,
            &[
                load_plan(engine, "t", "free"),
                load_plan(engine, "s", "orders"),
            ],
        )
        .await
        .expect_err("the table is taken");

    assert_eq!(error.class, ErrorClass::TargetDiffers);
    assert_eq!(
        error.message,
        format!(
            "`{}` belongs to the pipeline `shop/crm`",
            table_name(engine, "orders")
        )
    );
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("`to:`"), "{hint}");
    let stored = state(&*store)
        .load(&other.key, 0)
        .await
        .expect("state is there");
    assert!(stored.streams.is_empty(), "nothing was claimed");
}

async fn idle_watermarks_move_together_or_not_at_all(engine: Engine) {
    let (_database, store, lease) = leased(engine).await;
    let plans = [load_plan(engine, "a", "a"), load_plan(engine, "b", "b")];
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

async fn stale_epoch_changes_no_state(engine: Engine) {
    let (_database, first, second) = two_runs(engine).await;
    let stale = expired_lease_of(&*first, "one").await;
    state(&*first)
        .begin_load(&stale, &[load_plan(engine, "s", "s")])
        .await
        .expect("the table is free");
    lease_of(&*second, "two").await;

    let began = state(&*first)
        .begin_load(&stale, &[load_plan(engine, "s", "t")])
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

async fn reset_forgets_the_named_streams_and_keeps_their_tables(engine: Engine) {
    let (_database, store, lease) = leased(engine).await;
    let plans = ["a", "b", "c"].map(|name| load_plan(engine, name, name));
    state(&*store)
        .begin_load(&lease, &plans)
        .await
        .expect("the tables are free");
    let streams = ["a", "c"].map(str::to_owned);
    state(&*store)
        .store_searches(&lease, &streams, 1)
        .await
        .expect("it is ours");
    let searches = async || {
        state(&*store)
            .searches(&lease.key)
            .await
            .expect("it is read")
    };

    let named = ["c".to_owned(), "unknown".to_owned()];
    let one = state(&*store)
        .reset(&lease, &named)
        .await
        .expect("it is ours");
    assert_eq!(searches().await, [("a".to_owned(), 1)]);
    let rest = state(&*store).reset(&lease, &[]).await.expect("it is ours");

    assert_eq!(one, ["c"]);
    assert_eq!(rest, ["a", "b", "c"]);
    assert!(searches().await.is_empty());
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

async fn runs_are_kept_for_their_time_and_listed_newest_first(engine: Engine) {
    let (database, store) = ready(engine).await;
    let today: i64 = database
        .value(engine.clock())
        .await
        .parse()
        .expect("a number");
    let run = |days: i64, exit_code: Option<i32>| RunRecord {
        run_id: format!("run-{days}"),
        started_at: today - days * 86_400,
        finished_at: exit_code.map(|_| today - days * 86_400 + 30),
        exit_code,
        report: json!({"days": days}),
    };
    let record = async |run: &RunRecord, days: u64| {
        let keep = Retention {
            runs: Duration::from_secs(days * 86_400),
            rejected: Duration::ZERO,
            before_images: Duration::ZERO,
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

    // What a clock a year ahead recorded counts no longer than nothing else is there, and what a
    // clock two years behind records is kept like any other.
    let slice = RunRecord {
        report: json!({"slice": true}),
        ..run(-364, Some(0))
    };
    let repair = RunRecord {
        report: json!({"verb": "repair"}),
        ..run(-363, Some(0))
    };
    for wrong in [run(-365, Some(0)), slice, repair, run(730, Some(9))] {
        record(&wrong, 30).await;
        let stored = state(&*store).load(&key(), 10).await.expect("the state");
        assert_eq!(stored.last_success, kept[3].finished_at);
        assert!(stored.runs.contains(&wrong) && stored.runs.contains(&kept[3]));
    }
    record(&run(0, Some(0)), 30).await;
    let stored = state(&*store).load(&key(), 10).await.expect("the state");
    assert_eq!(stored.last_success, run(0, Some(0)).finished_at);
    assert!(!stored.runs.contains(&kept[3]) && !stored.runs.contains(&run(730, Some(9))));
}
