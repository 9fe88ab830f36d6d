//! What a watermark of this connector holds, and how two of them relate.
//!
//! The JSON is versioned. A position written by a newer version, or for another table, is never
//! guessed at.

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use syncset_connector::{
    Capture, ConnectorError, CursorSpec, ErrorClass, Position, PositionOrder, Result, TableRead,
};

/// The form that this version writes.
const VERSION: u32 = 1;

/// Which table of which server a position belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The cluster's own number; `None` if this user may not ask.
    pub(crate) system: Option<String>,
    /// The timeline; `None` if this user may not ask.
    pub(crate) timeline: Option<String>,
    /// OID of the database.
    pub(crate) database: u32,
    /// Name of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database_name: Option<String>,
    /// OID of the table.
    pub(crate) table: u32,
}

/// Where the rows of a table lie: one entry per leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Leaf {
    /// OID of the table or partition.
    pub(crate) oid: u32,
    /// Its relfilenode; changes when it is rewritten or truncated. Zero without storage.
    pub(crate) filenode: u32,
}

/// A column as the catalogue numbers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnNumber {
    /// Its name.
    pub(crate) name: String,
    /// Its attnum.
    pub(crate) number: i32,
    /// OID of its type.
    pub(crate) type_oid: u32,
}

/// What has been read up to one bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// Microseconds since 1970 for time cursors, the value for integer cursors; `None` for `xmin`
    /// and for an integer cursor over a table without rows.
    pub(crate) cursor: Option<i64>,
    /// The 64-bit xmin of the snapshot that the window was read in.
    pub(crate) snapshot_xmin: u64,
    /// Row xmins at or above `snapshot_xmin` whose rows have been read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) seen: Vec<u32>,
    /// The leaves whose rows have been read, sorted.
    pub(crate) leaves: Vec<Leaf>,
    /// Integer cursors: the widest step between two bounds so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<u64>,
}

/// A window that was cut by size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// What finishing the window makes the bound, in whatever snapshot it is finished.
    pub(crate) bound: Bound,
    /// Leaves that the window reads whole, by OID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) whole: Vec<u32>,
    /// Cursor (if there is one) and key of the last row read, in text form.
    pub(crate) after: Vec<Option<String>>,
}

/// A position of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watermark {
    /// Form of this JSON.
    pub(crate) version: u32,
    /// The table.
    pub(crate) identity: Identity,
    /// The columns that are read.
    pub(crate) columns: Vec<ColumnNumber>,
    /// The selection it was made under.
    pub(crate) selection: String,
    /// The settings of the cursor under which every row of the bound was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<CursorSpec>,
    /// When the server had recovered from its last crash: transaction numbers of the bound mean
    /// nothing after another one.
    #[serde(default)]
    pub(crate) recovered: i64,
    /// Windows that were finished since the load: orders positions whose bounds are equal.
    pub(crate) window_count: u64,
    /// What has been read.
    pub(crate) bound: Bound,
    /// The rest of a window that was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
}

impl Watermark {
    /// A position without a pending window.
    pub(crate) fn new(
        identity: Identity,
        columns: Vec<ColumnNumber>,
        selection: String,
        bound: Bound,
    ) -> Self {
        Self {
            version: VERSION,
            identity,
            columns,
            selection,
            cursor: None,
            recovered: 0,
            window_count: 0,
            bound,
            pending: None,
        }
    }

    /// Its JSON.
    pub(crate) fn position(&self) -> Position {
        Position(serde_json::to_value(self).expect("a watermark is plain data"))
    }

    /// Reads a stored position.
    ///
    /// # Errors
    /// `StateTooNew` for a later form, `Store` for anything that we did not write.
    pub(crate) fn read(position: &Position) -> Result<Self> {
        let version = position
            .0
            .get("version")
            .and_then(serde_json::Value::as_u64);
        if version.is_some_and(|version| version > u64::from(VERSION)) {
            return Err(ConnectorError::new(
                ErrorClass::StateTooNew,
                "a stored position was written by a newer syncset",
            )
            .with_hint("run the newest syncset that was used with this pipeline"));
        }
        Self::deserialize(&position.0).map_err(|cause| {
            ConnectorError::new(ErrorClass::Store, "a stored position cannot be read")
                .with_hint("load the table again with `pipeline run --full-refresh`")
                .caused_by(cause)
        })
    }
}

/// How two positions relate.
pub(crate) fn compare(left: &Position, right: &Position) -> PositionOrder {
    if left == right {
        return PositionOrder::Same;
    }
    let (Ok(left), Ok(right)) = (Watermark::read(left), Watermark::read(right)) else {
        return PositionOrder::Unknown;
    };
    if left.identity != right.identity || left.selection != right.selection {
        return PositionOrder::Unknown;
    }
    let rank = |mark: &Watermark| {
        (
            (mark.bound.cursor, mark.bound.snapshot_xmin),
            mark.window_count,
            mark.pending.is_some(),
        )
    };
    match rank(&left).cmp(&rank(&right)) {
        std::cmp::Ordering::Less => PositionOrder::Before,
        std::cmp::Ordering::Greater => PositionOrder::After,
        // Two cuts of one window: their keys are ordered by the server, not by us.
        std::cmp::Ordering::Equal if left.pending != right.pending => PositionOrder::Unknown,
        std::cmp::Ordering::Equal => PositionOrder::Same,
    }
}

/// The bound of a time cursor, microseconds since the epoch; a stamp of a transaction that is
/// still open may be as old.
pub(crate) fn position_time(read: &TableRead, position: &Position) -> Option<i64> {
    let Capture::Cursor(cursor) = &read.capture else {
        return None;
    };
    let column = read.description.column(&cursor.column)?;
    let is_time = matches!(
        column.data_type,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    );
    let mark = Watermark::read(position).ok().filter(|_| is_time)?;
    mark.bound.cursor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(cursor: i64, xmin: u64) -> Watermark {
        Watermark::new(
            Identity {
                system: Some("7".into()),
                timeline: Some("00000001".into()),
                database: 5,
                database_name: None,
                table: 16_400,
            },
            vec![],
            "s".into(),
            Bound {
                cursor: Some(cursor),
                snapshot_xmin: xmin,
                ..Bound::default()
            },
        )
    }

    #[test]
    fn position_survives_its_json() {
        let mut before = mark(-5, 1 << 40);
        before.pending = Some(Pending {
            bound: before.bound.clone(),
            whole: vec![3],
            after: vec![None, Some("a'b".into())],
        });

        let after = Watermark::read(&before.position()).expect("it was written by us");

        assert_eq!(before, after);
    }

    #[test]
    fn positions_order_by_bound_then_by_pending_window() {
        let mut cut = mark(1, 10);
        cut.pending = Some(Pending {
            bound: mark(2, 11).bound,
            whole: vec![],
            after: vec![Some("1".into())],
        });

        let order =
            |left: &Watermark, right: &Watermark| compare(&left.position(), &right.position());
        let mut finished = mark(1, 10);
        finished.window_count = 1;

        assert_eq!(order(&mark(1, 10), &mark(2, 10)), PositionOrder::Before);
        assert_eq!(order(&mark(2, 10), &mark(1, 99)), PositionOrder::After);
        assert_eq!(order(&mark(1, 10), &cut), PositionOrder::Before);
        assert_eq!(order(&cut, &mark(2, 11)), PositionOrder::Before);
        assert_eq!(order(&cut, &finished), PositionOrder::Before);
        assert_eq!(order(&cut, &cut), PositionOrder::Same);
    }

    #[test]
    fn positions_of_other_tables_are_unknown() {
        let mut other = mark(1, 10);
        other.identity.table += 1;

        assert_eq!(
            compare(&mark(1, 10).position(), &other.position()),
            PositionOrder::Unknown
        );
        assert_eq!(
            compare(&Position(serde_json::Value::Null), &other.position()),
            PositionOrder::Unknown
        );
    }

    #[test]
    fn position_of_a_newer_version_is_refused() {
        let newer = Position(serde_json::json!({ "version": 2, "what": "ever" }));

        let error = Watermark::read(&newer).expect_err("it is newer");

        assert_eq!(error.class, ErrorClass::StateTooNew);
    }
}
