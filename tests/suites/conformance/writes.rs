//! How units write to every target: exactly the rows that differ, or nothing.

use super::store_lab::{key, state};
use super::write_lab::{WriteLab, ints, keys, plain, plain_table, rows_of, table_of, texts};
use futures::StreamExt;
use kit::{Engine, Kind, SampleTable, text_row};
use serde_json::json;
use syncset_connector::{
    Digest, ErrorClass, OnDelete, Position, RejectedRow, ReplaceRules, Replaced, StreamPhase,
    UnitStart,
};

for_every_engine!(
    chunk_into_an_empty_table_is_written_and_done,
    replayed_window_writes_nothing,
    deletes_go_before_upserts_whatever_the_order_of_calls,
    further_unique_key_never_rewrites_a_row_that_was_not_named,
    keys_that_differ_by_their_bytes_stay_apart,
    prune_deletes_exactly_the_rows_that_are_not_named,
    unit_given_up_leaves_nothing,
    row_written_by_someone_else_stops_a_direct_load,
    older_epoch_can_begin_nothing,
    refused_rows_commit_with_the_unit,
    pending_deletes_wait_and_are_taken_back_by_an_upsert,
    replace_by_key_leaves_what_is_equal_alone,
    append_leaves_out_keys_that_are_there,
    digest_of_keys_tells_another_key_or_a_count,
);

async fn chunk_into_an_empty_table_is_written_and_done(engine: Engine) {
    let lab = WriteLab::plain(engine).await;
    let (table, batch) = plain(engine, &[(1, Some("a"), "1.50"), (2, None, "-2")]);

    let mut unit = lab.begin(lab.chunk()).await;
    unit.upsert(&table, batch).await.expect("accepted");
    let more = plain(engine, &[(3, Some("it's \\ 😀"), "-0.001")]).1;
    unit.upsert(&table, more).await.expect("accepted");
    let receipt = unit.commit(None).await.expect("commits");

    assert_eq!(receipt.rows_written, 3);
    let mut rows = [
        ["1", "a", "1.5"],
        ["2", "", "-2"],
        ["3", "it's \\ 😀", "-0.001"],
    ]
    .map(text_row);
    rows[1][1] = None;
    assert_eq!(lab.content().await, rows);
    let again = lab.target().begin(lab.chunk()).await;
    let again = again.err().expect("the chunk is done");
    assert_eq!(again.class, ErrorClass::Fenced);
    let decided = lab.target().was_committed(&lab.chunk()).await;
    assert!(decided.expect("decided"));
}

async fn replayed_window_writes_nothing(engine: Engine) {
    let mut lab = WriteLab::plain(engine).await;
    let (table, batch) = plain(engine, &[(1, Some("a"), "1.0"), (2, None, "2")]);
    let first = lab.write(&table, batch.clone()).await;

    let second = lab.write(&table, batch).await;
    let other = plain(engine, &[(1, Some("a"), "1.0"), (2, Some("b"), "2")]).1;
    let third = lab.write(&table, other).await;

    let written = [first, second, third].map(|receipt| receipt.rows_written);
    assert_eq!(written, [2, 0, 1]);
}

async fn deletes_go_before_upserts_whatever_the_order_of_calls(engine: Engine) {
    let columns = [("id", Kind::Int), ("name", Kind::Key(20))];
    let stored = SampleTable::new("t", &columns, &["id"]).with_unique("name");
    let mut lab = WriteLab::new(engine, &stored).await;
    let row = |id, name| rows_of(engine, &[(id, Some(name))]);
    let (table, batch) = row(1, "taken");
    lab.write(&table, batch).await;

    let mut unit = lab.begin(lab.window()).await;
    let again = row(2, "taken").1;
    unit.upsert(&table, again).await.expect("accepted");
    let gone = keys(&table, ints([1, 77]));
    unit.delete(&table, gone).await.expect("accepted");
    let receipt = lab.commit(unit).await;

    assert_eq!((receipt.rows_written, receipt.rows_deleted), (1, 1));
    assert_eq!(lab.content().await, [text_row(["2", "taken"])]);
}

async fn further_unique_key_never_rewrites_a_row_that_was_not_named(engine: Engine) {
    let columns = [("id", Kind::Int), ("name", Kind::Key(20))];
    let stored = SampleTable::new("t", &columns, &["id"]).with_unique("name");
    let mut lab = WriteLab::new(engine, &stored).await;
    let rows = [["1", "taken"], ["3", "c"]].map(text_row);
    lab.database.insert(&stored, &rows).await;
    let (table, batch) = rows_of(
        engine,
        &[(2, Some("taken")), (3, Some("C")), (4, Some("d"))],
    );

    let refused = lab.try_write(&table, batch.clone()).await;
    let (rejections, receipt) = lab.written_carefully(&table, batch).await;

    assert_eq!(
        refused.expect_err("`taken` is taken").class,
        ErrorClass::RowParked
    );
    let found: Vec<_> = rejections.iter().map(|it| (it.row, it.parked)).collect();
    assert_eq!(found, [(0, true)]);
    assert_eq!(receipt.rows_written, 2);
    let rows = [["1", "taken"], ["3", "C"], ["4", "d"]].map(text_row);
    assert_eq!(lab.content().await, rows);
}

async fn keys_that_differ_by_their_bytes_stay_apart(engine: Engine) {
    let mut lab = WriteLab::empty(engine).await;
    let names = ["a", "A", "a ", "ä", "á", "ß", "ss", ""];
    let columns = [
        ("id", "text", texts(names.map(Some))),
        ("n", "integer", ints(0..8)),
    ];
    let (table, batch) = table_of(engine, &columns);
    lab.create(&table).await;

    let first = lab.write(&table, batch.clone()).await;
    let again = lab.write(&table, batch).await;
    let mut unit = lab.begin(lab.window()).await;
    let gone = keys(&table, texts([Some("A"), Some("a ")]));
    unit.delete(&table, gone).await.expect("accepted");
    let deleted = lab.commit(unit).await;

    assert_eq!((first.rows_written, again.rows_written), (8, 0));
    assert_eq!(deleted.rows_deleted, 2);
    let left = lab.database.rows("SELECT n FROM t ORDER BY n").await;
    let expected: Vec<_> = ["0", "3", "4", "5", "6", "7"]
        .map(|n| text_row([n]))
        .to_vec();
    assert_eq!(left, expected);
}

async fn prune_deletes_exactly_the_rows_that_are_not_named(engine: Engine) {
    let mut lab = WriteLab::plain(engine).await;
    let rows: Vec<_> = (0..2000).map(|id| (id, Some("x"), "1")).collect();
    let (table, batch) = plain(engine, &rows);
    lab.write(&table, batch).await;

    let mut unit = lab.begin(lab.window()).await;
    let late = plain(engine, &[(5000, None, "1"), (5001, None, "1")]).1;
    unit.upsert(&table, late).await.expect("accepted");
    let named = [ints((0..2000).filter(|id| id % 2 == 0)), ints([5000])];
    let named: Vec<_> = named
        .into_iter()
        .map(|array| Ok(keys(&table, array)))
        .collect();
    let gone = unit
        .prune(&table, futures::stream::iter(named).boxed())
        .await;
    let counted = unit.count_deletes(&table).await.expect("counted");
    let receipt = lab.commit(unit).await;

    assert_eq!(
        (gone.expect("pruned"), counted, receipt.rows_deleted),
        (1001, 1001, 1001)
    );
    let left = "SELECT count(*), sum(id % 2) FROM t";
    assert_eq!(lab.database.rows(left).await, [text_row(["1001", "0"])]);
}

async fn unit_given_up_leaves_nothing(engine: Engine) {
    let lab = WriteLab::plain(engine).await;
    let (table, batch) = plain(engine, &[(1, None, "1")]);

    for start in [lab.chunk(), lab.window()] {
        let mut unit = lab.begin(start).await;
        unit.upsert(&table, batch.clone()).await.expect("accepted");
        unit.abort().await;
    }

    assert!(lab.content().await.is_empty());
    let decided = lab.target().was_committed(&lab.chunk()).await;
    assert!(!decided.expect("decided"));
    let unit = lab.begin(lab.chunk()).await;
    let committed = unit.commit(None).await;
    committed.expect("the chunk is still to be done");
}

async fn row_written_by_someone_else_stops_a_direct_load(engine: Engine) {
    let lab = WriteLab::plain(engine).await;
    lab.database
        .insert(&plain_table(), &[text_row(["1", "theirs", "0"])])
        .await;
    // So many that they go the fastest way there is.
    let rows: Vec<_> = (1..500).map(|id| (id, Some("ours"), "1")).collect();
    let (table, batch) = plain(engine, &rows);

    let mut unit = lab.begin(lab.chunk()).await;
    // Some targets tell at once, some when they commit.
    let error = match unit.upsert(&table, batch.clone()).await {
        Ok(_) => unit.commit(None).await.err(),
        Err(error) => {
            unit.abort().await;
            Some(error)
        }
    };
    assert_eq!(
        error.map(|error| error.class),
        engine.loads_directly().then_some(ErrorClass::RowParked)
    );

    if engine.loads_directly() {
        let start = UnitStart {
            into_empty: false,
            ..lab.chunk()
        };
        let mut unit = lab.begin(start).await;
        unit.upsert(&table, batch).await.expect("accepted");
        let receipt = unit.commit(None).await.expect("merged");
        assert_eq!(receipt.rows_written, 499);
    }
    let ours = "SELECT count(*) FROM t WHERE name = 'ours'";
    assert_eq!(lab.database.value(ours).await, "499");
}

async fn older_epoch_can_begin_nothing(engine: Engine) {
    // No session of its own that the unlock could end first.
    let lab = WriteLab::empty(engine).await;
    state(&*lab.store).unlock(&key()).await.expect("unlocked");

    let begun = lab.target().begin(lab.window()).await;

    let error = begun.err().expect("fenced");
    assert_eq!(error.class, ErrorClass::Fenced);
}

async fn refused_rows_commit_with_the_unit(engine: Engine) {
    let mut lab = WriteLab::plain(engine).await;
    let row = RejectedRow {
        stream: WriteLab::STREAM.into(),
        key: json!(["1"]),
        reason: "a check refused a row".into(),
        code: Some("23514".into()),
        row: json!({"id": "1"}),
        first_at: None,
        attempts: 0,
    };

    let mut unit = lab.begin(lab.careful()).await;
    unit.store_rejected(&[row]).await.expect("stored");
    lab.commit(unit).await;
    assert_eq!(lab.database.state_rows("rejected").await, "1");

    let mut unit = lab.begin(lab.careful()).await;
    unit.forget_rejected(WriteLab::STREAM, &[json!(["1"])])
        .await
        .expect("forgotten");
    lab.commit(unit).await;
    assert_eq!(lab.database.state_rows("rejected").await, "0");
}

async fn pending_deletes_wait_and_are_taken_back_by_an_upsert(engine: Engine) {
    let mut lab = WriteLab::empty(engine).await;
    let names = ["a", "it's \"", "ä\\", "gone"];
    let columns = [
        ("id", "text", texts(names.map(Some))),
        ("n", "integer", ints(0..4)),
    ];
    let (table, batch) = table_of(engine, &columns);
    lab.create(&table).await;
    lab.write(&table, batch).await;
    let named = |names: &[&'static str]| keys(&table, texts(names.iter().map(|name| Some(*name))));

    let mut unit = lab.begin(lab.window()).await;
    unit.heed_pending();
    unit.stage_deletes(&table, named(&["a", "it's \"", "ä\\", "nobody"]))
        .await
        .expect("staged");
    let postponed = unit.postpone_deletes(&table).await.expect("postponed");
    lab.commit(unit).await;
    let stored = state(&*lab.store).load(&key(), 0).await.expect("the state");
    let row = |name, n| {
        let columns = [
            ("id", "text", texts([Some(name)])),
            ("n", "integer", ints([n])),
        ];
        table_of(engine, &columns).1
    };
    // One comes back in a unit of its own, one in the unit that looks at what is pending.
    let mut unit = lab.begin(lab.window()).await;
    unit.heed_pending();
    unit.upsert(&table, row("ä\\", 7)).await.expect("accepted");
    lab.commit(unit).await;
    let mut unit = lab.begin(lab.window()).await;
    unit.heed_pending();
    unit.upsert(&table, row("a", 8)).await.expect("accepted");
    unit.stage_pending(&table).await.expect("staged");
    let counted = unit.count_deletes(&table).await.expect("counted");
    let taken = unit.take_deletes(&table).await.expect("taken back");
    for batch in taken {
        unit.stage_deletes(&table, batch).await.expect("staged");
    }
    let receipt = lab.commit(unit).await;

    assert_eq!(postponed, 3);
    assert_eq!(stored.pending_of(&table.name), 3);
    assert_eq!((counted, receipt.rows_deleted), (1, 1));
    let left = lab.database.rows("SELECT n, id FROM t ORDER BY n").await;
    let rows = [["3", "gone"], ["7", "ä\\"], ["8", "a"]].map(text_row);
    assert_eq!(left, rows);
    let stored = state(&*lab.store).load(&key(), 0).await.expect("the state");
    assert_eq!(stored.pending_deletes, []);
}

async fn replace_by_key_leaves_what_is_equal_alone(engine: Engine) {
    let mut lab = WriteLab::plain(engine).await;
    let rows = [(1, Some("a"), "1"), (2, Some("b"), "2"), (3, None, "3")];
    let (table, batch) = plain(engine, &rows);
    lab.write(&table, batch).await;
    let rows = [(1, Some("a"), "1"), (2, Some("B"), "2"), (4, None, "4")];
    let wanted = plain(engine, &rows).1;
    let rules = ReplaceRules {
        absent: OnDelete::Hard,
        max_rewrite_rows: 3,
    };

    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let mut unit = lab.begin(lab.window()).await;
        let collected = unit.collect(&table, wanted.clone()).await;
        collected.expect("collected");
        let done = unit.replace(&[(&table, rules)]).await.expect("replaced");
        outcomes.extend(done);
        lab.commit(unit).await;
    }

    let done = |rows_written, rows_deleted| Replaced::Done {
        rows_written,
        rows_deleted,
    };
    assert_eq!(outcomes, [done(2, 1), done(0, 0)]);
    let left = lab
        .database
        .rows("SELECT id, name FROM t ORDER BY id")
        .await;
    let mut rows = [["1", "a"], ["2", "B"], ["4", ""]].map(text_row);
    rows[2][1] = None;
    assert_eq!(left, rows);
}

async fn append_leaves_out_keys_that_are_there(engine: Engine) {
    let mut lab = WriteLab::plain(engine).await;
    let (table, batch) = plain(engine, &[(1, Some("old"), "1")]);
    lab.write(&table, batch).await;

    let mut unit = lab.begin(lab.window()).await;
    let more = plain(engine, &[(1, Some("new"), "1"), (2, Some("new"), "1")]).1;
    unit.append(&table, more).await.expect("accepted");
    let receipt = lab.commit(unit).await;

    assert_eq!(receipt.rows_written, 1);
    let rows = [["1", "old", "1"], ["2", "new", "1"]].map(text_row);
    assert_eq!(lab.content().await, rows);
}

async fn digest_of_keys_tells_another_key_or_a_count(engine: Engine) {
    let mut lab = WriteLab::plain(engine).await;
    let rows: Vec<_> = (0..1_000).map(|id| (id, None, "1")).collect();
    let (table, batch) = plain(engine, &rows);
    lab.write(&table, batch).await;
    let whole = lab
        .target()
        .key_digest(&table, Digest::Hash)
        .await
        .expect("a digest");

    lab.database
        .execute("UPDATE t SET id = 1000 WHERE id = 7")
        .await;
    let mut unit = lab.begin(lab.window()).await;
    let other = unit
        .key_digest(&table, Digest::Hash)
        .await
        .expect("a digest");
    unit.abort().await;

    assert_eq!((whole.row_count, other.row_count), (1_000, 1_000));
    let hashes = lab.target().key_hash().is_some();
    assert_eq!(
        (whole.hash.is_some(), whole.hash != other.hash),
        (hashes, hashes)
    );
    let gone = lab.database.own("timestamptz", "text", "datetime(6)");
    for statement in [
        &format!("ALTER TABLE t ADD COLUMN gone {gone}"),
        "UPDATE t SET gone = '2026-01-01 00:00:00' WHERE id = 1000",
        "INSERT INTO t (id, amount) VALUES (7, 1)",
    ] {
        lab.database.execute(statement).await;
    }
    let mut marked = table.clone();
    marked.marks.deleted_at = Some("gone".into());
    let live = lab
        .target()
        .key_digest(&marked, Digest::Hash)
        .await
        .expect("a digest");
    assert_eq!(live, whole, "rows that are marked as gone do not count");
    let watermark = (Position(json!(1)), StreamPhase::Loading);
    let unit = lab.begin(lab.window()).await;
    let committed = unit.commit(Some(watermark)).await;
    committed.expect("the unit is alive");
}
