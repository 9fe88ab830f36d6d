//! One unit after the other at a target of any engine, and rows for them.

use super::store_lab::{lease_of, load_plan, ready, state, table_name, target};
pub(crate) use crate::write_lab::{ints, keys, texts};
use arrow_array::{ArrayRef, RecordBatch};
use kit::{AnyDatabase, Engine, Kind, SampleTable, TextRow};
use serde_json::json;
use std::sync::Arc;
use syncset_connector::{
    Lease, LoadPlan, MadeTable, Marks, NativeType, Position, Receipt, Rejection, Result, Store,
    StreamPhase, Target, TargetColumn, TargetTable, UnitStart, UnitStep, UnitWriter,
};

/// A database with the state, the lease and one stream that writes `t`.
pub(crate) struct WriteLab {
    pub(crate) database: AnyDatabase,
    pub(crate) store: Box<dyn Store>,
    pub(crate) lease: Lease,
    version: u64,
    stored: Option<SampleTable>,
}

impl WriteLab {
    pub(crate) const STREAM: &str = "public.t";

    /// With an empty table `t`.
    pub(crate) async fn new(engine: Engine, table: &SampleTable) -> Self {
        let mut lab = Self::empty(engine).await;
        lab.database.create(table).await;
        lab.stored = Some(table.clone());
        lab
    }

    /// With an empty table `t` for [`plain`] rows, as the target makes it.
    pub(crate) async fn plain(engine: Engine) -> Self {
        let mut lab = Self::empty(engine).await;
        lab.create(&plain(engine, &[]).0).await;
        lab.stored = Some(plain_table());
        lab
    }

    /// Without any table.
    pub(crate) async fn empty(engine: Engine) -> Self {
        let (database, store) = ready(engine).await;
        let lease = lease_of(&*store, "a test").await;
        let load = LoadPlan {
            boundaries: Vec::new(),
            ..load_plan(engine, Self::STREAM, "t")
        };
        let streams = state(&*store).begin_load(&lease, &[load]).await;
        let version = streams.expect("a load begins")[0].version;
        Self {
            database,
            store,
            lease,
            version,
            stored: None,
        }
    }

    pub(crate) fn target(&self) -> &dyn Target {
        target(&*self.store)
    }

    /// Creates the table as its columns say.
    pub(crate) async fn create(&self, table: &TargetTable) {
        let tables = [(table, MadeTable::default())];
        let created = self.target().create(&self.lease, &tables).await;
        created.unwrap_or_else(|error| panic!("the table is created: {error:?}"));
    }

    pub(crate) fn window(&self) -> UnitStart {
        UnitStart {
            lease: self.lease.clone(),
            step: UnitStep::Watermark {
                stream: Self::STREAM.into(),
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
                stream: Self::STREAM.into(),
                index: 0,
                version: self.version,
            },
            into_empty: true,
            ..self.window()
        }
    }

    pub(crate) async fn begin(&self, start: UnitStart) -> Box<dyn UnitWriter> {
        let begun = self.target().begin(start).await;
        begun.unwrap_or_else(|error| panic!("the unit is ours: {error:?}"))
    }

    async fn try_commit(&mut self, unit: Box<dyn UnitWriter>) -> Result<Receipt> {
        let watermark = (Position(json!({"at": self.version})), StreamPhase::Loading);
        let receipt = unit.commit(Some(watermark)).await?;
        self.version = receipt.version;
        Ok(receipt)
    }

    pub(crate) async fn commit(&mut self, unit: Box<dyn UnitWriter>) -> Receipt {
        let committed = self.try_commit(unit).await;
        committed.unwrap_or_else(|error| panic!("the unit commits: {error:?}"))
    }

    /// One window with these upserts, which may be refused when they come or when they commit.
    pub(crate) async fn try_write(
        &mut self,
        table: &TargetTable,
        rows: RecordBatch,
    ) -> Result<Receipt> {
        let mut unit = self.begin(self.window()).await;
        if let Err(error) = unit.upsert(table, rows).await {
            unit.abort().await;
            return Err(error);
        }
        self.try_commit(unit).await
    }

    /// One window with these upserts.
    pub(crate) async fn write(&mut self, table: &TargetTable, rows: RecordBatch) -> Receipt {
        let written = self.try_write(table, rows).await;
        written.unwrap_or_else(|error| panic!("rows are accepted: {error:?}"))
    }

    /// One window that takes the rows one by one where it has to, and what it refused.
    pub(crate) async fn written_carefully(
        &mut self,
        table: &TargetTable,
        rows: RecordBatch,
    ) -> (Vec<Rejection>, Receipt) {
        let mut unit = self.begin(self.careful()).await;
        let rejections = unit.upsert(table, rows).await.expect("the batch is taken");
        (rejections, self.commit(unit).await)
    }

    /// What the table holds.
    pub(crate) async fn content(&self) -> Vec<TextRow> {
        let stored = self.stored.as_ref().expect("a table was made");
        self.database.content(stored).await
    }
}

/// A table `t` of columns with their types at PostgreSQL and their values: key first.
pub(crate) fn table_of(
    engine: Engine,
    columns: &[(&str, &str, ArrayRef)],
) -> (TargetTable, RecordBatch) {
    let native = |name: &str| NativeType {
        engine: "postgres".into(),
        name: name.into(),
        as_text: false,
        definition: None,
    };
    let column = |(name, native_name, array): &(&str, &str, ArrayRef)| TargetColumn {
        name: (*name).into(),
        data_type: array.data_type().clone(),
        native: Some(native(native_name)),
        nullable: true,
    };
    let table = TargetTable {
        name: table_name(engine, "t"),
        columns: columns.iter().map(column).collect(),
        key: vec![columns[0].0.into()],
        marks: Marks::default(),
    };
    let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array));
    let batch = RecordBatch::try_new(table.schema(), arrays.collect()).expect("a batch");
    (table, batch)
}

/// A table `t` for [`plain`] rows.
pub(crate) fn plain_table() -> SampleTable {
    let columns = [
        ("id", Kind::Int),
        ("name", Kind::Key(40)),
        ("amount", Kind::Decimal(9, 3)),
    ];
    SampleTable::new("t", &columns, &["id"])
}

/// Rows of [`plain_table`].
pub(crate) fn plain(
    engine: Engine,
    rows: &[(i32, Option<&str>, &str)],
) -> (TargetTable, RecordBatch) {
    let amounts = texts(rows.iter().map(|row| Some(row.2)));
    let columns = [
        ("id", "integer", ints(rows.iter().map(|row| row.0))),
        ("name", "text", texts(rows.iter().map(|row| row.1))),
        ("amount", "numeric", amounts),
    ];
    table_of(engine, &columns)
}

/// Rows of a key and a name.
pub(crate) fn rows_of(engine: Engine, rows: &[(i32, Option<&str>)]) -> (TargetTable, RecordBatch) {
    let columns = [
        ("id", "integer", ints(rows.iter().map(|row| row.0))),
        ("name", "text", texts(rows.iter().map(|row| row.1))),
    ];
    table_of(engine, &columns)
}
