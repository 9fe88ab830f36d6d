//! Changes of a source, and the positions between them.

use crate::Result;
use arrow_array::RecordBatch;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// A place in a stream of changes: the connector's own versioned JSON. The runner stores it,
/// hands it back and never looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub serde_json::Value);

/// How two positions of one stream relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionOrder {
    /// The first comes before the second.
    Before,
    /// They are the same place.
    Same,
    /// The first comes after the second.
    After,
    /// They belong to different histories, or cannot be compared.
    Unknown,
}

/// One thing that happened at the source.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ChangeEvent {
    /// These rows exist and are selected: insert or update them. Columns are those of
    /// [`TableRead::columns`](crate::TableRead), in that order.
    Upserts(RecordBatch),
    /// Rows with these keys no longer exist or are no longer selected. Columns are those of the
    /// key, in key order.
    Deletes(RecordBatch),
    /// Everything up to this position has been yielded; a unit may be committed with it. The last
    /// event of a stream is always one of these.
    Progress(Position),
}

/// The changes of one window, in an order in which they can be applied.
pub type ChangeStream<'a> = BoxStream<'a, Result<ChangeEvent>>;
