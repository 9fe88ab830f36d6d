//! Whole tables of a PostgreSQL source as they are described and read.

use crate::postgres_lab::open_as;
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use std::sync::Arc;
use syncset_connector::{
    Capture, Filter, KeyRange, Result, Role, SnapshotRequest, Store, TableDescription, TableName,
    TableRead,
};

/// Opens a database as a source.
pub(crate) async fn open(url: &str) -> Result<Box<dyn Store>> {
    open_as(url, Role::Source).await
}

pub(crate) async fn describe_one(store: &dyn Store, table: &str) -> TableDescription {
    let described = store
        .describe(&[TableName::in_schema("public", table)])
        .await;
    described
        .expect("describes")
        .pop()
        .flatten()
        .expect("the table exists")
}

pub(crate) async fn read_all(
    store: &dyn Store,
    description: TableDescription,
    filter: Filter,
) -> Result<Vec<RecordBatch>> {
    let columns: Vec<_> = description
        .columns
        .iter()
        .map(|column| column.name.clone())
        .collect();
    let read = TableRead {
        key: description.primary_key.clone(),
        columns,
        description: Arc::new(description),
        filter,
        capture: Capture::Full,
        selection: String::new(),
        all_written: true,
        batch_bytes: 4_096,
    };
    let request = SnapshotRequest {
        read: Arc::new(read),
        from: None,
    };
    let source = store.source().expect("a source");
    let mut snapshot = source.open_snapshot(&[request], None).await?;
    let batches = snapshot
        .read_chunk(0, &KeyRange::all())
        .await?
        .try_collect()
        .await?;
    snapshot.close().await;
    Ok(batches)
}
