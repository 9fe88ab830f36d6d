//! How units write to a PostgreSQL target: exactly the rows that differ, or nothing.

use crate::postgres_lab::{key, state};
use crate::write_lab::{Lab, PLAIN, STREAM, ints, keys, plain, table_of, texts, written_carefully};
use futures::StreamExt;
use serde_json::json;
use syncset_connector::{Advice, ErrorClass, Position, RejectedRow, StreamPhase, UnitStart};

#[tokio::test]
async fn chunk_into_an_empty_table_is_written_and_done() {
    let lab = Lab::new(PLAIN).await;
    let (table, batch) = plain(&[(1, Some("a"), "1.50"), (2, None, "NaN")]);

    let mut unit = lab.begin(lab.chunk()).await;
    unit.upsert(&table, batch.clone()).await.expect("accepted");
    let (_, more) = plain(&[(3, Some("c"), "-0.001")]);
    unit.upsert(&table, more).await.expect("accepted");
    let receipt = unit.commit(None).await.expect("commits");

    assert_eq!(receipt.rows_written, 3);
    let written = lab
        .database
        .value("SELECT string_agg(id || coalesce(name, '-') || amount, ' ' ORDER BY id) FROM t")
        .await;
    assert_eq!(written, "1a1.50 2-NaN 3c-0.001");
    let again = lab
        .target()
        .begin(lab.chunk())
        .await
        .err()
        .expect("the chunk is done");
    assert_eq!(again.class, ErrorClass::Fenced);
    assert!(
        lab.target()
            .was_committed(&lab.chunk())
            .await
            .expect("decided")
    );
}

#[tokio::test]
async fn replayed_window_leaves_every_row_version_alone() {
    let mut lab = Lab::new(PLAIN).await;
    let (table, batch) = plain(&[(1, Some("a"), "1.0"), (2, None, "2")]);
    lab.write(&table, batch.clone()).await;
    let before = lab.versions().await;

    let receipt = lab.write(&table, batch).await;

    assert_eq!(receipt.rows_written, 0);
    assert_eq!(lab.versions().await, before);
}

#[tokio::test]
async fn equal_values_with_another_image_are_updated_once() {
    let mut lab = Lab::new("CREATE TABLE t (id numeric PRIMARY KEY, amount numeric)").await;
    let row = |id, amount| {
        table_of(&[
            ("id", "numeric", texts([Some(id)])),
            ("amount", "numeric", texts([Some(amount)])),
        ])
    };
    let (table, batch) = row("1.0", "5.0");
    lab.write(&table, batch).await;

    let (_, batch) = row("1.00", "5.00");
    let first = lab.write(&table, batch.clone()).await;
    let second = lab.write(&table, batch).await;

    assert_eq!((first.rows_written, second.rows_written), (1, 0));
    let image = lab
        .database
        .value("SELECT id || '/' || amount FROM t")
        .await;
    assert_eq!(image, "1.00/5.00");
}

#[tokio::test]
async fn deletes_go_before_upserts_whatever_the_order_of_calls() {
    let mut lab = Lab::new("CREATE TABLE t (id integer PRIMARY KEY, name text UNIQUE)").await;
    let row = |id, name| {
        table_of(&[
            ("id", "integer", ints([id])),
            ("name", "text", texts([Some(name)])),
        ])
    };
    let (table, batch) = row(1, "taken");
    lab.write(&table, batch).await;

    let mut unit = lab.begin(lab.window()).await;
    unit.upsert(&table, row(2, "taken").1)
        .await
        .expect("accepted");
    unit.delete(&table, keys(&table, ints([1, 77])))
        .await
        .expect("accepted");
    let receipt = lab.commit(unit).await;

    assert_eq!((receipt.rows_written, receipt.rows_deleted), (1, 1));
    assert_eq!(
        lab.database
            .value("SELECT string_agg(id || name, ' ') FROM t")
            .await,
        "2taken"
    );
}

#[tokio::test]
async fn prune_deletes_exactly_the_rows_that_are_not_named() {
    let mut lab = Lab::new(PLAIN).await;
    let rows: Vec<_> = (0..2000).map(|id| (id, Some("x"), "1")).collect();
    let (table, batch) = plain(&rows);
    lab.write(&table, batch).await;

    let mut unit = lab.begin(lab.window()).await;
    let (_, late) = plain(&[(5000, None, "1"), (5001, None, "1")]);
    unit.upsert(&table, late).await.expect("accepted");
    let named: Vec<_> = [ints((0..2000).filter(|id| id % 2 == 0)), ints([5000])]
        .into_iter()
        .map(|array| Ok(keys(&table, array)))
        .collect();
    unit.prune(&table, futures::stream::iter(named).boxed())
        .await
        .expect("pruned");
    let receipt = lab.commit(unit).await;

    assert_eq!(receipt.rows_deleted, 1001);
    let left = lab
        .database
        .value("SELECT count(*) || ' ' || sum(id % 2) FROM t")
        .await;
    assert_eq!(left, "1001 0");
}

#[tokio::test]
async fn careful_unit_refuses_exactly_the_bad_rows() {
    let mut lab = Lab::new(
        "CREATE TABLE parent (id integer PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE t (id integer PRIMARY KEY, name text UNIQUE CHECK (name <> 'secret'),
           parent integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED, amount numeric(4,1))",
    )
    .await;
    let count = 300;
    let names: Vec<_> = (0..count)
        .map(|id| match id {
            7 => "secret".to_owned(),
            20 => "name 19".to_owned(),
            30 => "nul\0".to_owned(),
            _ => format!("name {id}"),
        })
        .collect();
    let (table, batch) = table_of(&[
        ("id", "integer", ints(0..count)),
        (
            "name",
            "text",
            texts(names.iter().map(|name| Some(name.as_str()))),
        ),
        (
            "parent",
            "integer",
            ints((0..count).map(|id| 1 + i32::from(id == 250))),
        ),
        (
            "amount",
            "numeric(4,1)",
            texts((0..count).map(|id| match id {
                100 => Some("99999"),
                101 => Some("no number"),
                _ => Some("1.5"),
            })),
        ),
    ]);

    let (rejections, receipt) = written_carefully(&mut lab, &table, batch).await;

    let rows: Vec<_> = rejections
        .iter()
        .map(|rejection| (rejection.row, rejection.parked, rejection.code.as_deref()))
        .collect();
    assert_eq!(
        rows,
        [
            (7, false, Some("23514")),
            (20, true, Some("23505")),
            (30, false, Some("22021")),
            (100, false, Some("22003")),
            (101, false, None),
            (250, true, Some("23503")),
        ]
    );
    for rejection in &rejections {
        assert!(!rejection.reason.contains("secret"), "{}", rejection.reason);
    }
    assert_eq!(receipt.rows_written, 294);
    assert_eq!(lab.database.value("SELECT count(*) FROM t").await, "294");
}

#[tokio::test]
async fn plain_unit_names_the_constraint_and_can_be_given_up() {
    let mut lab =
        Lab::new("CREATE TABLE t (id integer PRIMARY KEY, name text CHECK (name <> 'x'))").await;
    let (table, batch) = table_of(&[
        ("id", "integer", ints([1])),
        ("name", "text", texts([Some("x")])),
    ]);

    let mut unit = lab.begin(lab.window()).await;
    unit.upsert(&table, batch).await.expect("accepted");
    let watermark = (Position(json!(1)), StreamPhase::Loading);
    let error = unit.commit(Some(watermark)).await.expect_err("refused");

    assert_eq!(error.class, ErrorClass::RowRefused);
    assert!(error.message.contains("t_name_check"), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
    assert!(
        !lab.target()
            .was_committed(&lab.window())
            .await
            .expect("decided")
    );
    let (_, good) = table_of(&[
        ("id", "integer", ints([1])),
        ("name", "text", texts([Some("y")])),
    ]);
    assert_eq!(lab.write(&table, good).await.rows_written, 1);
}

#[tokio::test]
async fn commit_that_was_never_answered_is_decided_by_the_row() {
    let lab = Lab::new(
        "CREATE TABLE t (id integer PRIMARY KEY, name text, amount numeric);
         CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION die()",
    )
    .await;
    let (table, batch) = plain(&[(1, None, "1")]);

    let mut unit = lab.begin(lab.window()).await;
    unit.upsert(&table, batch).await.expect("accepted");
    let watermark = (Position(json!(1)), StreamPhase::Loading);
    let error = unit
        .commit(Some(watermark))
        .await
        .expect_err("the link is gone");

    assert_eq!(error.class, ErrorClass::CommitUnknown);
    assert!(
        !lab.target()
            .was_committed(&lab.window())
            .await
            .expect("decided")
    );
}

#[tokio::test]
async fn triggers_find_their_tables_as_in_any_session_of_the_role() {
    let mut lab = Lab::new(
        "CREATE TABLE t (id integer PRIMARY KEY, name text, amount numeric);
         CREATE TABLE audit (id integer);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END';
         CREATE TRIGGER note BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()",
    )
    .await;
    let (table, batch) = plain(&[(1, None, "1")]);

    lab.write(&table, batch.clone()).await;
    lab.write(&table, batch).await;

    // A row that is there already does not even reach a trigger.
    assert_eq!(lab.database.value("SELECT count(*) FROM audit").await, "1");
}

#[tokio::test]
async fn unit_given_up_inside_a_copy_leaves_nothing() {
    let lab = Lab::new(PLAIN).await;
    let (table, batch) = plain(&[(1, None, "1")]);

    let mut unit = lab.begin(lab.chunk()).await;
    unit.upsert(&table, batch).await.expect("accepted");
    unit.abort().await;

    assert_eq!(lab.database.value("SELECT count(*) FROM t").await, "0");
    assert!(
        !lab.target()
            .was_committed(&lab.chunk())
            .await
            .expect("decided")
    );
    let unit = lab.begin(lab.chunk()).await;
    unit.commit(None)
        .await
        .expect("the chunk is still to be done");
}

#[tokio::test]
async fn row_written_by_someone_else_parks_a_direct_load() {
    let lab = Lab::new(PLAIN).await;
    lab.database
        .execute("INSERT INTO t VALUES (1, 'theirs', 0)")
        .await;
    let (table, batch) = plain(&[(1, Some("ours"), "1")]);

    let mut unit = lab.begin(lab.chunk()).await;
    unit.upsert(&table, batch.clone()).await.expect("accepted");
    let error = unit.commit(None).await.expect_err("the key is there");
    assert_eq!(error.class, ErrorClass::RowParked);

    let mut unit = lab
        .begin(UnitStart {
            into_empty: false,
            ..lab.chunk()
        })
        .await;
    unit.upsert(&table, batch).await.expect("accepted");
    unit.commit(None).await.expect("merged");
    assert_eq!(lab.database.value("SELECT name FROM t").await, "ours");
}

#[tokio::test]
async fn older_epoch_can_begin_nothing() {
    let lab = Lab::new(PLAIN).await;
    state(&*lab.store).unlock(&key()).await.expect("unlocked");

    let error = lab
        .target()
        .begin(lab.window())
        .await
        .err()
        .expect("fenced");

    assert_eq!(error.class, ErrorClass::Fenced);
}

#[tokio::test]
async fn refused_rows_commit_with_the_unit() {
    let mut lab = Lab::new(PLAIN).await;
    let row = RejectedRow {
        stream: STREAM.into(),
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
    assert_eq!(
        lab.database
            .value("SELECT count(*) FROM _syncset.rejected")
            .await,
        "1"
    );

    let mut unit = lab.begin(lab.careful()).await;
    unit.forget_rejected(STREAM, &[json!(["1"])])
        .await
        .expect("forgotten");
    lab.commit(unit).await;
    assert_eq!(
        lab.database
            .value("SELECT count(*) FROM _syncset.rejected")
            .await,
        "0"
    );
}
