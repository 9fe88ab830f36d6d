//! Units: what they change, what they leave alone, and what they refuse.

use super::lab::{
    Lab, acquired, begin_load, chunk_start, finish_chunk, read_all, target_of, upsert,
    watermark_start, whole,
};
use futures::{StreamExt, stream};
use syncset_connector::{
    Digest, ErrorClass, Lease, MadeTable, Position, Role, Store, StreamPhase, TargetTable,
    UnitStart,
};

/// A source of five rows, and a target that holds them.
async fn synced(
    lab: &Lab,
) -> (
    Box<dyn Store>,
    Lease,
    TargetTable,
    Vec<arrow_array::RecordBatch>,
) {
    lab.sql(
        "source.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, x REAL);
         INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2.5), (3, 'c', NULL), (4, 'd', 4), (5, 'e', 5)",
    )
    .await;
    let source = lab.open("source.db", Role::Source).await;
    let read = whole(&*source, "t").await;
    let rows = read_all(&*source, &read).await.expect("rows");
    let table = target_of(&read, "t");
    let store = lab.open("target.db", Role::Target).await;
    let lease = acquired(&*store, "a").await;
    store
        .target()
        .expect("a target")
        .create(&lease, &[(&table, MadeTable::default())])
        .await
        .expect("created");
    begin_load(&*store, &lease, "t").await;
    finish_chunk(&*store, &lease, "t").await;
    (store, lease, table, rows)
}

fn done() -> Option<(Position, StreamPhase)> {
    Some((
        Position(serde_json::json!({ "at": 1 })),
        StreamPhase::Following,
    ))
}

#[tokio::test]
async fn only_rows_that_differ_are_written() {
    let lab = Lab::new();
    let (store, lease, table, rows) = synced(&lab).await;
    assert_eq!(upsert(&*store, &lease, &table, &rows).await.rows_written, 5);
    lab.sql(
        "target.db",
        "UPDATE t SET v = 'other' WHERE id = 2; UPDATE t SET x = NULL WHERE id = 4; DELETE FROM t WHERE id = 5;
         CREATE TABLE fired (id); CREATE TRIGGER f BEFORE INSERT ON t BEGIN INSERT INTO fired VALUES (new.id); END",
    )
    .await;

    let receipt = upsert(&*store, &lease, &table, &rows).await;

    assert_eq!(receipt.rows_written, 3);
    assert_eq!(
        lab.value("target.db", "SELECT group_concat(id) FROM fired")
            .await,
        "2,4,5"
    );
    assert_eq!(
        lab.value("target.db", "SELECT group_concat(v, '') FROM t")
            .await,
        "abcde"
    );
}

#[tokio::test]
async fn image_holds_the_storage_class() {
    let lab = Lab::new();
    let (store, lease, table, rows) = synced(&lab).await;
    upsert(&*store, &lease, &table, &rows).await;
    lab.sql("target.db", "UPDATE t SET v = x'61' WHERE id = 1")
        .await;

    let receipt = upsert(&*store, &lease, &table, &rows).await;

    assert_eq!(receipt.rows_written, 1);
    assert_eq!(
        lab.value("target.db", "SELECT typeof(v) FROM t WHERE id = 1")
            .await,
        "text"
    );
}

#[tokio::test]
async fn deletes_come_before_upserts_of_their_unit() {
    let lab = Lab::new();
    let (store, lease, table, rows) = synced(&lab).await;
    upsert(&*store, &lease, &table, &rows).await;
    // The new row 1 takes the text that the deleted row 2 has.
    lab.sql("target.db", "UPDATE t SET v = 'a' WHERE id = 2; UPDATE t SET v = 'z' WHERE id = 1; CREATE UNIQUE INDEX u ON t (v)").await;
    let start = watermark_start(&*store, &lease, "t").await;
    let mut unit = store
        .target()
        .expect("a target")
        .begin(start)
        .await
        .expect("a unit");

    unit.upsert(&table, rows[0].slice(0, 1))
        .await
        .expect("taken");
    let keys = rows[0].slice(1, 1).project(&[0]).expect("keys");
    unit.delete(&table, keys).await.expect("taken");
    let receipt = unit.commit(done()).await.expect("commits");

    assert_eq!((receipt.rows_written, receipt.rows_deleted), (1, 1));
}

#[tokio::test]
async fn unit_that_is_dropped_leaves_nothing() {
    let lab = Lab::new();
    let (store, lease, table, rows) = synced(&lab).await;
    begin_load(&*store, &lease, "t").await;
    let start = chunk_start(&*store, &lease, "t").await;
    let target = store.target().expect("a target");

    let mut unit = target.begin(start.clone()).await.expect("a unit");
    unit.upsert(&table, rows[0].clone()).await.expect("taken");
    drop(unit);

    assert!(!target.was_committed(&start).await.expect("an answer"));
    assert_eq!(lab.value("target.db", "SELECT count(*) FROM t").await, "0");
    let mut unit = target
        .begin(start.clone())
        .await
        .expect("the chunk is still open");
    unit.upsert(&table, rows[0].clone()).await.expect("taken");
    unit.commit(None).await.expect("commits");
    assert!(target.was_committed(&start).await.expect("an answer"));
    let error = target.begin(start).await.err().expect("the chunk is done");
    assert_eq!(error.class, ErrorClass::Fenced);
}

#[tokio::test]
async fn careful_unit_finds_the_rows_that_are_refused() {
    let lab = Lab::new();
    let (store, lease, table, rows) = synced(&lab).await;
    lab.sql(
        "target.db",
        "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE CHECK (v <> 'd'), x REAL);
         INSERT INTO t VALUES (99, 'b', 0)",
    )
    .await;
    let target = store.target().expect("a target");
    let start = watermark_start(&*store, &lease, "t").await;
    let mut unit = target.begin(start.clone()).await.expect("a unit");
    unit.upsert(&table, rows[0].clone()).await.expect("taken");
    let error = unit.commit(done()).await.expect_err("a row is refused");
    assert!(matches!(
        error.class,
        ErrorClass::RowRefused | ErrorClass::RowParked
    ));

    let mut unit = target
        .begin(UnitStart {
            careful: true,
            ..start
        })
        .await
        .expect("a unit");
    let rejections = unit.upsert(&table, rows[0].clone()).await.expect("written");
    unit.commit(done()).await.expect("commits");

    let found: Vec<(usize, bool)> = rejections.iter().map(|row| (row.row, row.parked)).collect();
    assert_eq!(found, [(1, true), (3, false)]);
    assert_eq!(
        lab.value(
            "target.db",
            "SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)"
        )
        .await,
        "1,3,5,99"
    );
}

#[tokio::test]
async fn prune_deletes_what_is_not_named() {
    let lab = Lab::new();
    let (store, lease, table, rows) = synced(&lab).await;
    upsert(&*store, &lease, &table, &rows).await;
    let start = watermark_start(&*store, &lease, "t").await;
    let mut unit = store
        .target()
        .expect("a target")
        .begin(start)
        .await
        .expect("a unit");
    let keys = rows[0].slice(1, 3).project(&[0]).expect("keys");

    unit.prune(&table, stream::iter([Ok(keys)]).boxed())
        .await
        .expect("pruned");
    let receipt = unit.commit(done()).await.expect("commits");

    assert_eq!(receipt.rows_deleted, 2);
    assert_eq!(
        lab.value("target.db", "SELECT group_concat(id) FROM t")
            .await,
        "2,3,4"
    );
}

#[tokio::test]
async fn key_digests_of_both_sides_agree() {
    let lab = Lab::new();
    let (store, lease, table, rows) = synced(&lab).await;
    upsert(&*store, &lease, &table, &rows).await;
    let source = lab.open("source.db", Role::Source).await;
    let request = syncset_connector::SnapshotRequest {
        read: std::sync::Arc::new(whole(&*source, "t").await),
        from: None,
    };
    let mut snapshot = source
        .source()
        .expect("a source")
        .open_snapshot(&[request], None)
        .await
        .expect("a snapshot");

    let theirs = snapshot
        .key_digest(0, Digest::Hash)
        .await
        .expect("a digest");
    let ours = store
        .target()
        .expect("a target")
        .key_digest(&table, Digest::Hash)
        .await
        .expect("a digest");

    assert_eq!(theirs, ours);
    assert_eq!(ours.row_count, 5);
}

#[tokio::test]
async fn target_that_would_change_values_is_refused() {
    let lab = Lab::new();
    let (store, _, table, _) = synced(&lab).await;
    let target = store.target().expect("a target");
    for (statement, word) in [
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v NUMERIC, x REAL)",
            "NUMERIC",
        ),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "missing"),
        ("CREATE TABLE t (id INTEGER, v TEXT, x REAL)", "unique key"),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, x REAL, must INT NOT NULL)",
            "must",
        ),
        (
            "CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, v TEXT, x REAL)",
            "NOCASE",
        ),
    ] {
        lab.sql("target.db", &format!("DROP TABLE t; {statement}"))
            .await;

        let status = target
            .status(std::slice::from_ref(&table))
            .await
            .expect("a status")
            .remove(0);

        assert!(status.exists && status.empty);
        let sentences = status.differences.iter().map(ToString::to_string);
        let all = sentences.collect::<Vec<_>>().join("; ");
        assert!(all.contains(word), "{statement}: {all}");
    }
}

#[tokio::test]
async fn rows_of_one_unit_may_refer_to_later_ones() {
    let lab = Lab::new();
    lab.sql(
        "source.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, boss INT); INSERT INTO t VALUES (1, 2), (2, NULL)",
    )
    .await;
    let source = lab.open("source.db", Role::Source).await;
    let read = whole(&*source, "t").await;
    let rows = read_all(&*source, &read).await.expect("rows");
    lab.sql(
        "target.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, boss INT REFERENCES t)",
    )
    .await;
    let store = lab.open("target.db", Role::Target).await;
    let lease = acquired(&*store, "a").await;
    begin_load(&*store, &lease, "t").await;
    finish_chunk(&*store, &lease, "t").await;

    let receipt = upsert(
        &*store,
        &lease,
        &target_of(&read, "t"),
        &[rows[0].slice(0, 1), rows[0].slice(1, 1)],
    )
    .await;

    assert_eq!(receipt.rows_written, 2);
}
