//! Windows of changes: nothing is lost, and an idle window says so.

use super::lab::{Lab, following, window};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use std::time::Duration;
use syncset_connector::{
    Capture, ChangeEvent, Comparison, Filter, Literal, NullCursor, Overlap, Position,
    PositionOrder, Predicate, Role, TableRead, WindowState, WrittenBy,
};

fn ids(events: &[ChangeEvent]) -> (Vec<i64>, Vec<i64>) {
    let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            ChangeEvent::Upserts(batch) => {
                upserts.extend(
                    batch
                        .column(0)
                        .as_primitive::<Int64Type>()
                        .values()
                        .to_vec(),
                );
            }
            ChangeEvent::Deletes(batch) => {
                deletes.extend(
                    batch
                        .column(0)
                        .as_primitive::<Int64Type>()
                        .values()
                        .to_vec(),
                );
            }
            _ => {}
        }
    }
    (upserts, deletes)
}

fn last(events: &[ChangeEvent]) -> Position {
    match events.last() {
        Some(ChangeEvent::Progress(position)) => position.clone(),
        other => panic!("the last event is {other:?}"),
    }
}

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, v TEXT);
    INSERT INTO t VALUES (1, '2024-01-01 10:00:00', 'a'), (2, '2024-01-01T10:00:05', 'b'), (3, '2024-01-02', 'c');";

fn minute() -> Overlap {
    Overlap::Time(Duration::from_secs(60))
}

#[tokio::test]
async fn window_reads_changes_and_the_next_one_is_unchanged() {
    let lab = Lab::new();
    lab.sql("a.db", TABLE).await;
    let store = lab.open("a.db", Role::Source).await;
    let source = store.source().expect("a source");
    let read = following(&*store, "t", "at", minute()).await;
    let low = source
        .low_positions(&[std::sync::Arc::new(read.clone())])
        .await
        .expect("a position")
        .remove(0);

    let (state, events) = window(&*store, &read, &low, u64::MAX).await;
    assert_eq!(state, WindowState::Changed);
    assert_eq!(ids(&events).0, [3]);
    let stored = last(&events);
    let (state, _) = window(&*store, &read, &stored, u64::MAX).await;
    assert_eq!(state, WindowState::Unchanged(stored.clone()));

    // The same stamp, another value: the cursor alone would not show it.
    lab.sql("a.db", "UPDATE t SET v = 'again' WHERE id = 3")
        .await;
    let (state, events) = window(&*store, &read, &stored, u64::MAX).await;
    assert_eq!(state, WindowState::Changed);
    assert_eq!(ids(&events).0, [3]);

    lab.sql("a.db", "UPDATE t SET at = '2024-01-02 00:00:30' WHERE id = 1; INSERT INTO t VALUES (4, '2024-01-01 23:59:30', 'late')").await;
    let (_, events) = window(&*store, &read, &stored, u64::MAX).await;
    assert_eq!(ids(&events).0, [4, 3, 1]);
    assert_eq!(
        source.compare(&stored, &last(&events)),
        PositionOrder::Before
    );
}

#[tokio::test]
async fn empty_table_has_a_position_that_reads_everything_later() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let read = following(&*store, "t", "n", Overlap::Units(2)).await;
    let source = store.source().expect("a source");
    let low = source
        .low_positions(&[std::sync::Arc::new(read.clone())])
        .await
        .expect("a position")
        .remove(0);

    lab.sql("a.db", "INSERT INTO t VALUES (1, 10), (2, 20)")
        .await;
    let (_, events) = window(&*store, &read, &low, u64::MAX).await;
    assert_eq!(ids(&events).0, [1, 2]);

    lab.sql("a.db", "INSERT INTO t VALUES (3, 18), (4, 17)")
        .await;
    let (_, events) = window(&*store, &read, &last(&events), u64::MAX).await;
    assert_eq!(ids(&events).0, [3, 2]);
}

#[tokio::test]
async fn cut_window_goes_on_where_it_stopped_and_stores_its_own_bound() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, v TEXT COLLATE NOCASE);
         WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 100)
         INSERT INTO t SELECT i, i / 10, 'v' FROM i",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let read = following(&*store, "t", "n", Overlap::Units(0)).await;
    let start = Position(serde_json::json!({ "version": 1, "bound": { "integer": 0 } }));

    let (_, events) = window(&*store, &read, &start, 300).await;
    let cut = events.iter().find_map(|event| match event {
        ChangeEvent::Progress(position) => Some(position.clone()),
        _ => None,
    });
    let cut = cut.expect("a progress");
    let read_before: usize = events
        .iter()
        .take_while(|event| !matches!(event, ChangeEvent::Progress(_)))
        .map(|event| ids(std::slice::from_ref(event)).0.len())
        .sum();
    lab.sql("a.db", "INSERT INTO t VALUES (200, 99, 'new')")
        .await;
    let (state, rest) = window(&*store, &read, &cut, u64::MAX).await;

    assert_eq!(state, WindowState::Changed);
    let rest_ids = ids(&rest).0;
    assert_eq!(read_before + rest_ids.len(), 101);
    assert_eq!(last(&rest).0["bound"]["integer"], 10);
    let source = store.source().expect("a source");
    assert_eq!(source.compare(&start, &cut), PositionOrder::Before);
    assert_eq!(source.compare(&cut, &last(&rest)), PositionOrder::Before);
}

#[tokio::test]
async fn rows_that_left_the_selection_come_as_deletes() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, country TEXT);
         INSERT INTO t VALUES (1, 5, 'DE'), (2, 5, 'FR'), (3, 5, NULL)",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let condition = Predicate::Compare {
        column: "country".into(),
        comparison: Comparison::Equal,
        literal: Literal::Text("DE".into()),
    };
    let start = Position(serde_json::json!({ "version": 1, "bound": { "integer": 5 } }));
    for filter in [
        Filter::Predicate(condition),
        Filter::SourceSql("country = 'DE'".into()),
    ] {
        let read = TableRead {
            filter,
            ..following(&*store, "t", "n", Overlap::Units(0)).await
        };

        let (_, events) = window(&*store, &read, &start, u64::MAX).await;

        assert_eq!(ids(&events), (vec![1], vec![2, 3]));
    }
}

#[tokio::test]
async fn smaller_largest_value_asks_for_a_reload() {
    let lab = Lab::new();
    lab.sql("a.db", TABLE).await;
    let store = lab.open("a.db", Role::Source).await;
    let read = following(&*store, "t", "at", minute()).await;
    let source = store.source().expect("a source");
    let low = source
        .low_positions(&[std::sync::Arc::new(read.clone())])
        .await
        .expect("a position")
        .remove(0);
    lab.sql("a.db", "DELETE FROM t WHERE id = 3").await;

    let (state, _) = window(&*store, &read, &low, u64::MAX).await;

    assert!(matches!(state, WindowState::Reload { .. }), "{state:?}");
}

#[tokio::test]
async fn altered_table_and_another_file_ask_for_a_reload() {
    let lab = Lab::new();
    for file in ["a.db", "b.db"] {
        lab.sql(file, TABLE).await;
    }
    let store = lab.open("a.db", Role::Source).await;
    let source = store.source().expect("a source");
    let read = following(&*store, "t", "at", minute()).await;
    let low = source
        .low_positions(&[std::sync::Arc::new(read)])
        .await
        .expect("a position")
        .remove(0);
    let other = lab.open("b.db", Role::Source).await;
    let elsewhere = following(&*other, "t", "at", minute()).await;

    let (state, _) = window(&*other, &elsewhere, &low, u64::MAX).await;
    assert!(matches!(state, WindowState::Reload { .. }), "{state:?}");

    // As migrations do it: the stamps stay, other values may not.
    lab.sql(
        "a.db",
        "CREATE TABLE new (id INTEGER PRIMARY KEY, at DATETIME, v TEXT, w TEXT);
         INSERT INTO new SELECT id, at, v || '!', NULL FROM t; DROP TABLE t;
         ALTER TABLE new RENAME TO t",
    )
    .await;
    let read = following(&*store, "t", "at", minute()).await;
    let (state, _) = window(&*store, &read, &low, u64::MAX).await;
    assert!(matches!(state, WindowState::Reload { .. }), "{state:?}");
}

#[tokio::test]
async fn future_stamp_does_not_pull_the_bound_beyond_our_clock() {
    let lab = Lab::new();
    lab.sql("a.db", TABLE).await;
    lab.sql(
        "a.db",
        "INSERT INTO t VALUES (9, '2999-01-01 00:00:00', 'future')",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let read = following(&*store, "t", "at", minute()).await;
    let source = store.source().expect("a source");

    let low = source
        .low_positions(&[std::sync::Arc::new(read.clone())])
        .await
        .expect("a position")
        .remove(0);

    let bound = low.0["bound"]["micros"].as_i64().expect("an instant");
    assert!(bound <= chrono::Utc::now().timestamp_micros());
}

#[tokio::test]
async fn null_cursors_are_refused_read_or_ignored() {
    let lab = Lab::new();
    lab.sql("a.db", TABLE).await;
    lab.sql(
        "a.db",
        "INSERT INTO t VALUES (8, NULL, 'n'), (9, NULL, 'n')",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let source = store.source().expect("a source");
    let start = Position(serde_json::json!({ "version": 1, "bound": null }));
    for (policy, expected) in [
        (NullCursor::Error, None),
        (NullCursor::Read, Some(vec![8, 9, 1, 2, 3])),
        (NullCursor::Ignore, Some(vec![1, 2, 3])),
    ] {
        let mut read = following(&*store, "t", "at", minute()).await;
        if let Capture::Cursor(spec) = &mut read.capture {
            spec.null_cursor = policy;
        }
        match expected {
            Some(expected) => {
                // One row per unit: a cut between two rows without a cursor loses none.
                let (_, events) = window(&*store, &read, &start, u64::MAX).await;
                assert_eq!(ids(&events).0, expected);
                let (_, events) = window(&*store, &read, &start, 1).await;
                let cut = events.iter().find_map(|event| match event {
                    ChangeEvent::Progress(position) => Some(position.clone()),
                    _ => None,
                });
                let (_, rest) = window(&*store, &read, &cut.expect("a progress"), u64::MAX).await;
                assert_eq!(ids(&rest).0, expected[1..]);
            }
            None => {
                let error = source
                    .low_positions(&[std::sync::Arc::new(read)])
                    .await
                    .expect_err("refused");
                assert!(error.message.contains("`at`"), "{}", error.message);
            }
        }
    }
}

#[tokio::test]
async fn cursor_of_another_class_is_refused() {
    for value in ["1700000000", "'yesterday'", "x'00'"] {
        let lab = Lab::new();
        lab.sql("a.db", TABLE).await;
        lab.sql("a.db", &format!("INSERT INTO t VALUES (9, {value}, 'odd')"))
            .await;
        let store = lab.open("a.db", Role::Source).await;
        let read = following(&*store, "t", "at", minute()).await;

        let outcome = store
            .source()
            .expect("a source")
            .low_positions(&[std::sync::Arc::new(read)])
            .await;

        assert!(outcome.is_err(), "{value}");
    }
}

#[tokio::test]
async fn time_cursors_need_an_application_and_an_overlap() {
    let lab = Lab::new();
    lab.sql("a.db", TABLE).await;
    let store = lab.open("a.db", Role::Source).await;
    let mut read = following(&*store, "t", "at", minute()).await;
    if let Capture::Cursor(spec) = &mut read.capture {
        spec.written_by = Some(WrittenBy::Database);
        spec.overlap = None;
        spec.zone = Some("Mars/Olympus".into());
    }
    let source = store.source().expect("a source");

    let plans = source
        .prepare(&[std::sync::Arc::new(read)])
        .await
        .expect("plans");

    assert!(!plans[0].problems.is_empty());
}

#[tokio::test]
async fn offsets_from_utc_are_read_as_instants() {
    let lab = Lab::new();
    // 10:00 UTC is the newest; the others are 9:30, 10:00 and 8:00 in UTC.
    lab.sql(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at TIMESTAMPTZ NOT NULL);
         INSERT INTO t VALUES (1, '2024-01-01 10:00:00Z'), (2, '2024-01-01 00:30:00-09:00'),
             (3, '2024-01-01T12:00:00+02:00'), (4, '2024-01-01 08:00:00'), (5, '2024-01-01T08:00:00+00:00')",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let read = following(&*store, "t", "at", Overlap::Time(Duration::from_secs(3600))).await;
    let ten = 1_704_103_200_000_000_i64;
    let start = Position(serde_json::json!({ "version": 1, "bound": { "micros": ten } }));

    let (_, events) = window(&*store, &read, &start, u64::MAX).await;

    let mut found = ids(&events).0;
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3]);
}
