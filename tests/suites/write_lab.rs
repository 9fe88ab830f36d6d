//! One unit after the other at a PostgreSQL target, and tables and rows for them.

use crate::postgres_lab::{lease_of, load_plan, open_ready, state};
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use kit::{Database, postgres};
use serde_json::json;
use std::sync::Arc;
use syncset_connector::{
    Lease, LoadPlan, Marks, NativeType, Position, Receipt, Rejection, Store, StreamPhase,
    TableName, Target, TargetColumn, TargetTable, UnitStart, UnitStep, UnitWriter,
};

/// A database with the state, the lease and one stream that writes `public.t`.
pub(crate) struct Lab {
    pub(crate) database: Database,
    pub(crate) store: Box<dyn Store>,
    pub(crate) lease: Lease,
    pub(crate) version: u64,
}

pub(crate) const STREAM: &str = "public.t";

impl Lab {
    pub(crate) async fn new(setup: &str) -> Self {
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

    pub(crate) fn target(&self) -> &dyn Target {
        self.store.target().expect("PostgreSQL is written")
    }

    pub(crate) fn window(&self) -> UnitStart {
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

    pub(crate) fn careful(&self) -> UnitStart {
        UnitStart {
            careful: true,
            ..self.window()
        }
    }

    pub(crate) fn chunk(&self) -> UnitStart {
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

    pub(crate) async fn begin(&self, start: UnitStart) -> Box<dyn UnitWriter> {
        self.target().begin(start).await.expect("the unit is ours")
    }

    pub(crate) async fn commit(&mut self, unit: Box<dyn UnitWriter>) -> Receipt {
        let watermark = (Position(json!({"at": self.version})), StreamPhase::Loading);
        let receipt = unit
            .commit(Some(watermark))
            .await
            .expect("the unit commits");
        self.version = receipt.version;
        receipt
    }

    /// One window with these deletes and upserts.
    pub(crate) async fn write(&mut self, table: &TargetTable, rows: RecordBatch) -> Receipt {
        let mut unit = self.begin(self.window()).await;
        unit.upsert(table, rows).await.expect("rows are accepted");
        self.commit(unit).await
    }

    /// Identity of the rows' stored versions: changes with every write and with every lock.
    pub(crate) async fn versions(&self) -> Vec<Vec<Option<String>>> {
        self.database
            .rows("SELECT ctid, xmin, xmax, id FROM t ORDER BY ctid")
            .await
    }
}

pub(crate) fn native(name: &str, as_text: bool) -> Option<NativeType> {
    Some(NativeType {
        engine: "postgres".into(),
        name: name.into(),
        as_text,
        definition: None,
    })
}

/// A table `public.t` of columns with their values: key first.
pub(crate) fn table_of(columns: &[(&str, &str, ArrayRef)]) -> (TargetTable, RecordBatch) {
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
        marks: Marks::default(),
    };
    let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array));
    let batch = RecordBatch::try_new(table.schema(), arrays.collect()).expect("a batch");
    (table, batch)
}

pub(crate) fn ints(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

pub(crate) fn keys(table: &TargetTable, array: ArrayRef) -> RecordBatch {
    let schema = table.schema().project(&[0]).expect("the key is first");
    RecordBatch::try_new(Arc::new(schema), vec![array]).expect("keys")
}

pub(crate) const PLAIN: &str = "CREATE TABLE t (id integer PRIMARY KEY, name text, amount numeric)";

pub(crate) fn plain(rows: &[(i32, Option<&str>, &str)]) -> (TargetTable, RecordBatch) {
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

pub(crate) async fn written_carefully(
    lab: &mut Lab,
    table: &TargetTable,
    batch: RecordBatch,
) -> (Vec<Rejection>, Receipt) {
    let mut unit = lab.begin(lab.careful()).await;
    let rejections = unit.upsert(table, batch).await.expect("the batch is taken");
    (rejections, lab.commit(unit).await)
}
