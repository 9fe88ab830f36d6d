//! What a unit of work promises at a PostgreSQL target.

use crate::state_postgres::{key, lease_of, load_plan, open_ready, state};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use futures::StreamExt;
use kit::{Database, postgres};
use serde_json::json;
use std::sync::Arc;
use syncset_connector::{
    Advice, ErrorClass, Exactness, Lease, LoadPlan, NativeType, Position, Receipt, RejectedRow,
    Rejection, Store, StreamPhase, TableName, Target, TargetColumn, TargetTable, UnitStart,
    UnitStep, UnitWriter,
};

/// A database with the state, the lease and one stream that writes `public.t`.
struct Lab {
    database: Database,
    store: Box<dyn Store>,
    lease: Lease,
    version: u64,
}

const STREAM: &str = "public.t";

impl Lab {
    async fn new(setup: &str) -> Self {
        let database = postgres().await.database("write").await;
        database.execute(setup).await;
        let store = open_ready(&database.url()).await;
        let lease = lease_of(&*store, "a test").await;
        let load = LoadPlan {
            boundaries: Vec::new(),
            ..load_plan(STREAM, "t")
        };
        let streams = state(&*store)
            .begin_load(&lease, &[load])
            .await
            .expect("a load begins");
        Self {
            version: streams[0].version,
            database,
            store,
            lease,
        }
    }

    fn target(&self) -> &dyn Target {
        self.store.target().expect("PostgreSQL is written")
    }

    fn window(&self) -> UnitStart {
        UnitStart {
            lease: self.lease.clone(),
            step: UnitStep::Watermark {
                stream: STREAM.into(),
                version: self.version,
            },
            into_empty: false,
            careful: false,
        }
    }

    fn careful(&self) -> UnitStart {
        UnitStart {
            careful: true,
            ..self.window()
        }
    }

    fn chunk(&self) -> UnitStart {
        UnitStart {
            step: UnitStep::Chunk {
                stream: STREAM.into(),
                index: 0,
                version: self.version,
            },
            into_empty: true,
            ..self.window()
        }
    }

    async fn begin(&self, start: UnitStart) -> Box<dyn UnitWriter> {
        self.target().begin(start).await.expect("the unit is ours")
    }

    async fn commit(&mut self, unit: Box<dyn UnitWriter>) -> Receipt {
        let watermark = (Position(json!({"at": self.version})), StreamPhase::Loading);
        let receipt = unit
            .commit(Some(watermark))
            .await
            .expect("the unit commits");
        self.version = receipt.version;
        receipt
    }

    /// One window with these deletes and upserts.
    async fn write(&mut self, table: &TargetTable, rows: RecordBatch) -> Receipt {
        let mut unit = self.begin(self.window()).await;
        unit.upsert(table, rows).await.expect("rows are accepted");
        self.commit(unit).await
    }

    /// Identity of the rows' stored versions: changes with every write and with every lock.
    async fn versions(&self) -> Vec<Vec<Option<String>>> {
        self.database
            .rows("SELECT ctid, xmin, xmax, id FROM t ORDER BY ctid")
            .await
    }
}

fn native(name: &str, as_text: bool) -> Option<NativeType> {
    Some(NativeType {
        engine: "postgres".into(),
        name: name.into(),
        as_text,
        definition: None,
    })
}

/// A table `public.t` of columns with their values: key first.
fn table_of(columns: &[(&str, &str, ArrayRef)]) -> (TargetTable, RecordBatch) {
    let table = TargetTable {
        name: TableName::in_schema("public", "t"),
        columns: columns
            .iter()
            .map(|(name, native_name, array)| TargetColumn {
                name: (*name).into(),
                data_type: array.data_type().clone(),
                native: native(native_name, false),
                nullable: true,
            })
            .collect(),
        key: vec![columns[0].0.into()],
    };
    let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array));
    let batch = RecordBatch::try_new(table.schema(), arrays.collect()).expect("a batch");
    (table, batch)
}

fn ints(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn keys(table: &TargetTable, array: ArrayRef) -> RecordBatch {
    let schema = table.schema().project(&[0]).expect("the key is first");
    RecordBatch::try_new(Arc::new(schema), vec![array]).expect("keys")
}

const PLAIN: &str = "CREATE TABLE t (id integer PRIMARY KEY, name text, amount numeric)";

fn plain(rows: &[(i32, Option<&str>, &str)]) -> (TargetTable, RecordBatch) {
    table_of(&[
        ("id", "integer", ints(rows.iter().map(|row| row.0))),
        ("name", "text", texts(rows.iter().map(|row| row.1))),
        (
            "amount",
            "numeric",
            texts(rows.iter().map(|row| Some(row.2))),
        ),
    ])
}

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

async fn written_carefully(
    lab: &mut Lab,
    table: &TargetTable,
    batch: RecordBatch,
) -> (Vec<Rejection>, Receipt) {
    let mut unit = lab.begin(lab.careful()).await;
    let rejections = unit.upsert(table, batch).await.expect("the batch is taken");
    (rejections, lab.commit(unit).await)
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

#[tokio::test]
async fn columns_the_target_fills_itself_do_not_stop_a_row() {
    let mut lab = Lab::new(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,
           loud text GENERATED ALWAYS AS (upper(name)) STORED)",
    )
    .await;
    let row = |name| {
        table_of(&[
            (
                "id",
                "bigint",
                Arc::new(Int64Array::from(vec![40_i64])) as ArrayRef,
            ),
            ("name", "text", texts([Some(name)])),
            ("loud", "text", texts([Some("ignored")])),
        ])
    };
    let (table, batch) = row("a");
    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert_eq!(status[0].differences, [""; 0]);

    lab.write(&table, batch).await;
    lab.write(&table, row("b").1).await;

    assert_eq!(
        lab.database.value("SELECT id || name || loud FROM t").await,
        "40bB"
    );
}

#[tokio::test]
async fn types_that_travel_as_text_are_cast_back() {
    let mut lab = Lab::new(
        "CREATE EXTENSION hstore; CREATE EXTENSION citext;
         CREATE DOMAIN short AS varchar(3); CREATE TYPE mood AS ENUM ('ok', 'so so');
         CREATE TYPE pair AS (a integer, b text);
         CREATE TABLE t (id citext PRIMARY KEY, h hstore, money money, i interval, a integer[],
           m mood, ms mood[], p pair, d short, b bit(3), x xml, j json, jb jsonb, r int4range,
           ip inet, v tsvector, c char(4), n numeric(10,2)[])",
    )
    .await;
    let columns = [
        ("id", "public.citext", "Key"),
        ("h", "public.hstore", "\"a\"=>\"1\", \"b\"=>NULL"),
        ("money", "money", "-1234.56"),
        ("i", "interval", "1 mon 2 days 03:04:05.678"),
        ("a", "integer[]", "{{1,NULL},{3,4}}"),
        ("m", "public.mood", "so so"),
        ("ms", "public.mood[]", "{ok,\"so so\"}"),
        ("p", "public.pair", "(1,\"a b\")"),
        ("d", "public.short", "abc"),
        ("b", "bit(3)", "101"),
        ("x", "xml", "<a>1</a>"),
        ("j", "json", "{\"b\": 1,  \"a\":2}"),
        ("jb", "jsonb", "{\"b\": 1, \"a\": 2}"),
        ("r", "int4range", "[1,5)"),
        ("ip", "inet", "10.0.0.1/8"),
        ("v", "tsvector", "'cat':3 'fat':2"),
        ("c", "character(4)", "ab"),
        ("n", "numeric(10,2)[]", "{1.50,NaN}"),
    ];
    let arrays: Vec<_> = columns
        .iter()
        .map(|(name, native, value)| (*name, *native, texts([Some(*value)])))
        .collect();
    let (table, batch) = table_of(&arrays);
    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert_eq!(status[0].differences, [""; 0]);

    let mut unit = lab.begin(lab.chunk()).await;
    unit.upsert(&table, batch.clone()).await.expect("accepted");
    unit.commit(None).await.expect("written through a stage");
    let before = lab.versions().await;
    let receipt = lab.write(&table, batch.clone()).await;

    assert_eq!(receipt.rows_written, 0);
    assert_eq!(lab.versions().await, before);
    for (name, _, value) in columns {
        let sql = match name {
            "money" => "SELECT money::numeric::text FROM t".to_owned(),
            _ => format!("SELECT {name}::text FROM t"),
        };
        let stored = lab.database.value(&sql).await;
        let expected = match name {
            "jb" => "{\"a\": 2, \"b\": 1}",
            _ => value,
        };
        assert_eq!(stored, expected, "{name}");
    }
    let mut unit = lab.begin(lab.window()).await;
    let other_case = keys(&table, texts([Some("KEY")]));
    unit.delete(&table, other_case).await.expect("accepted");
    assert_eq!(lab.commit(unit).await.rows_deleted, 1);
}

#[tokio::test]
async fn values_too_long_for_a_column_are_refused_and_not_cut() {
    let mut lab = Lab::new(
        "CREATE TABLE t (id integer PRIMARY KEY, b bit(3), s varchar(3), i interval second(0))",
    )
    .await;
    let (table, batch) = table_of(&[
        ("id", "integer", ints([1, 2, 3])),
        (
            "b",
            "bit(3)",
            texts([Some("1010"), Some("101"), Some("101")]),
        ),
        (
            "s",
            "character varying(3)",
            texts([Some("abc"), Some("abcd"), Some("abc")]),
        ),
    ]);

    let (rejections, _) = written_carefully(&mut lab, &table, batch).await;

    let refused: Vec<_> = rejections.iter().map(|rejection| rejection.row).collect();
    assert_eq!(refused, [0, 1]);
}

#[tokio::test]
async fn table_is_created_once_with_its_types() {
    let lab = Lab::new("").await;
    let mood = syncset_connector::TypeDefinition::Enum {
        labels: vec!["ok".into(), "it's".into()],
    };
    let (mut table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("m", "crm_types.mood", texts([])),
        ("n", "numeric(12,2)", texts([])),
    ]);
    table.name = TableName::in_schema("Crm", "Order.Items");
    table.columns[0].nullable = false;
    table.columns[1].native.as_mut().expect("native").definition = Some(mood);

    let (first, second) = futures::join!(
        lab.target().create(&lab.lease, &table),
        lab.target().create(&lab.lease, &table)
    );
    first.expect("created");
    second.expect("there already");

    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert!(status[0].exists && status[0].empty);
    assert_eq!(status[0].differences, [""; 0]);
    let digest = lab.target().key_digest(&table).await.expect("a digest");
    assert_eq!(digest.row_count, 0);
}

#[tokio::test]
async fn missing_extension_is_named_before_anything_is_created() {
    let lab = Lab::new("").await;
    let (mut table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("h", "public.hstore", texts([])),
    ]);
    table.columns[1].native.as_mut().expect("native").definition =
        Some(syncset_connector::TypeDefinition::Extension {
            extension: "hstore".into(),
        });

    let status = lab
        .target()
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    let error = lab
        .target()
        .create(&lab.lease, &table)
        .await
        .expect_err("cannot be created");

    assert!(status[0].differences[0].contains("CREATE EXTENSION \"hstore\""));
    assert_eq!(error.class, ErrorClass::TargetDiffers);
    assert!(error.hint.expect("a hint").contains("CREATE EXTENSION"));
    assert_eq!(
        lab.database
            .value("SELECT to_regclass('public.t') IS NULL")
            .await,
        "t"
    );
}

#[tokio::test]
async fn status_names_every_difference_with_its_advice() {
    let lab = Lab::new(
        "CREATE TABLE parent (id integer PRIMARY KEY);
         CREATE TABLE t (id bigint NOT NULL, name integer, extra text NOT NULL,
           other integer REFERENCES parent);
         CREATE VIEW v AS SELECT 1 AS id; INSERT INTO t VALUES (1, 1, '', NULL)",
    )
    .await;
    let (table, _) = table_of(&[
        ("id", "integer", ints([])),
        ("name", "text", texts([])),
        ("gone", "text", texts([])),
    ]);
    let view = TargetTable {
        name: TableName::in_schema("public", "v"),
        ..table.clone()
    };
    let absent = TargetTable {
        name: TableName::in_schema("nowhere", "t"),
        ..table.clone()
    };

    let status = lab
        .target()
        .status(&[table, view, absent])
        .await
        .expect("a status");

    assert!(status[0].exists && !status[0].empty);
    let all = status[0].differences.join("\n");
    for part in [
        "ALTER COLUMN \"name\" TYPE text",
        "ADD COLUMN \"gone\" text",
        "`extra`",
        "CREATE UNIQUE INDEX",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    assert_eq!(status[0].differences.len(), 4, "{all}");
    assert!(status[0].notes[0].contains("public.parent"));
    assert!(status[1].differences[0].contains("not a table"));
    assert!(!status[2].exists && status[2].differences.is_empty());
}

#[tokio::test]
async fn units_leave_no_session_more_than_they_need() {
    let mut lab = Lab::new(PLAIN).await;
    for id in 0..5 {
        let (table, batch) = plain(&[(id, None, "1")]);
        lab.write(&table, batch).await;
    }

    let sessions = lab
        .database
        .value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name LIKE 'syncset:%'",
        )
        .await;
    assert_eq!(sessions, "2");
}

#[test]
fn types_of_other_stores_have_their_own_names_here() {
    use arrow_schema::{DataType, TimeUnit};
    let mapped = |data_type| {
        let mapping = syncset_postgres::CONNECTOR.map_type(&TargetColumn {
            name: "c".into(),
            data_type,
            native: None,
            nullable: true,
        });
        (mapping.native, mapping.exactness)
    };
    assert_eq!(mapped(DataType::Int64), ("bigint".into(), Exactness::Exact));
    assert_eq!(
        mapped(DataType::UInt64),
        ("numeric(20,0)".into(), Exactness::Widened)
    );
    assert_eq!(
        mapped(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into())
        )),
        ("timestamp with time zone".into(), Exactness::Exact)
    );
}
