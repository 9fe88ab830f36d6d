//! Rows that drifted, looked at once more by whoever repairs them: what somebody changed since the
//! check is left alone.

use super::look::key_as;
use super::rows::RowForms;
use super::side::{marked_read, target_read};
use super::{no_columns, no_table};
use crate::exit_code;
use crate::failure::Failure;
use crate::open::open_store;
use crate::planned::PlannedTable;
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use syncset_connector::{
    PipelineKey, Role, SnapshotRequest, Source, Store, TableDescription, TableRead,
};
use syncset_pipeline::ConnectionSpec;

/// What a check saw at the target under the keys that drifted: the hash of each row by that of its
/// key. A key without a row is not in it.
pub(crate) type Seen = HashMap<u64, u64>;

/// A target that is read while it is repaired.
pub(crate) struct Reader {
    store: Box<dyn Store>,
    pipeline: String,
}

impl Reader {
    /// Opens the target to be read. `jobs`: tables at the same time.
    pub(crate) async fn open(
        target: &ConnectionSpec,
        key: &PipelineKey,
        jobs: usize,
    ) -> Result<Self, Failure> {
        Ok(Self {
            store: open_store(target, Role::Source, key, jobs).await?,
            pipeline: key.pipeline.clone(),
        })
    }

    /// The rows of one target table.
    pub(crate) async fn rows_of(&self, planned: &PlannedTable) -> Result<Again<'_>, Failure> {
        let (there, forms) = self.described(planned).await?;
        Ok(Again {
            source: self.source(planned)?,
            forms,
            marked: marked_read(planned, &there).map(Arc::new),
            read: Arc::new(target_read(planned, &there)),
        })
    }

    /// Its reading side.
    pub(super) fn source(&self, planned: &PlannedTable) -> Result<&dyn Source, Failure> {
        self.store.source().ok_or_else(|| {
            let message = format!("`{}` cannot be read", planned.target.name);
            Failure::new(exit_code::CONFIG, message)
        })
    }

    /// A target table as it is, and how its rows are hashed.
    pub(super) async fn described(
        &self,
        planned: &PlannedTable,
    ) -> Result<(Arc<TableDescription>, RowForms), Failure> {
        let names = [planned.target.name.clone()];
        let there = self.store.describe(&names).await?.pop().flatten();
        let there = Arc::new(there.ok_or_else(|| no_table(planned, &self.pipeline))?);
        let forms = RowForms::of(&planned.target, &there);
        let forms = forms.map_err(|lacking| no_columns(planned, &lacking))?;
        Ok((there, forms))
    }

    /// Ends its sessions.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}

/// The rows of one target table.
pub(crate) struct Again<'a> {
    source: &'a dyn Source,
    forms: RowForms,
    read: Arc<TableRead>,
    /// Its rows that are marked as gone; `None`: rows that are gone are not marked.
    marked: Option<Arc<TableRead>>,
}

impl Again<'_> {
    /// The hashes of keys in the source's types.
    pub(crate) fn hash_keys(&self, keys: &RecordBatch) -> Result<Vec<u64>, Failure> {
        self.forms.hash_keys(keys)
    }

    /// Of rows in target columns: the hash of each one's key, and of all its values.
    pub(crate) fn hash(&self, rows: &RecordBatch) -> Result<Vec<(u64, u64)>, Failure> {
        Ok(self.forms.hash(rows)?.hashes)
    }

    /// Of rows in target columns: the hash of each one's key, and those of its values.
    pub(super) fn values(&self, rows: &RecordBatch) -> Result<Vec<(u64, Vec<u64>)>, Failure> {
        let hashed = self.forms.hash(rows)?;
        let each = hashed.hashes.iter().enumerate();
        let values = each.map(|(row, (key, _))| (*key, self.forms.values_of(&hashed, row)));
        Ok(values.collect())
    }

    /// What the target has under these keys, which are in the source's types.
    pub(crate) async fn at_target(&self, keys: &RecordBatch) -> Result<Seen, Failure> {
        let mut seen = Seen::new();
        for batch in &self.rows_at_target(keys).await? {
            seen.extend(self.hash(batch)?);
        }
        Ok(seen)
    }

    /// The rows that the target has under these keys.
    pub(super) async fn rows_at_target(
        &self,
        keys: &RecordBatch,
    ) -> Result<Vec<RecordBatch>, Failure> {
        self.rows_as(&self.read, keys).await
    }

    /// The rows under these keys that the target has and that are marked as gone.
    pub(super) async fn marked_at_target(
        &self,
        keys: &RecordBatch,
    ) -> Result<Vec<RecordBatch>, Failure> {
        match &self.marked {
            Some(read) => self.rows_as(read, keys).await,
            None => Ok(Vec::new()),
        }
    }

    async fn rows_as(
        &self,
        read: &Arc<TableRead>,
        keys: &RecordBatch,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let keys = keys_as(keys, read)?;
        let request = SnapshotRequest {
            read: read.clone(),
            from: None,
        };
        let mut snapshot = self.source.open_snapshot(&[request], None).await?;
        let rows = snapshot.read_rows(0, &keys).await?.try_collect().await?;
        snapshot.close().await;
        Ok(rows)
    }
}

/// Keys in the types in which the target is read.
fn keys_as(keys: &RecordBatch, read: &TableRead) -> Result<RecordBatch, Failure> {
    let schema = read.key_schema();
    let columns = keys.columns().iter().zip(schema.fields());
    let columns: Result<Vec<_>, _> = columns
        .map(|(column, field)| key_as(column, field.data_type()))
        .collect();
    columns
        .and_then(|columns| RecordBatch::try_new(schema.clone(), columns))
        .map_err(|error| {
            let message = format!(
                "a key of `{}` cannot be looked up: {error}",
                read.description.name
            );
            Failure::new(exit_code::FAILED, message)
        })
}
