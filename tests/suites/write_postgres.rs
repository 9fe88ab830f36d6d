//! How units write to a PostgreSQL target: exactly the rows that differ, or nothing.

use crate::write_lab::{Lab, PLAIN, ints, plain, table_of, texts, written_carefully};
use serde_json::json;
use syncset_connector::{Advice, ErrorClass, Position, StreamPhase};

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
