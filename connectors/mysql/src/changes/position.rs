//! What a watermark of this connector holds, and how two of them relate.
//!
//! The JSON is versioned. A position written by a newer version, or for another table, is never
//! guessed at.

use super::seen::Seen;
use crate::types::Flavour;
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use syncset_connector::{
    Capture, ConnectorError, CursorSpec, ErrorClass, Position, PositionOrder, Result, TableRead,
};

/// The form that this version writes.
const VERSION: u32 = 1;

/// Which table of which server a position belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The server's own number; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// Name of the database.
    pub(crate) database: String,
    /// When the table was made or altered last, as the server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    /// InnoDB's numbers of the table and its partitions; `None` if this user may not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) storage: Option<serde_json::Value>,
}

impl Identity {
    /// True if nothing but a time of whole seconds tells the table from what an ALTER makes of it.
    /// MariaDB keeps its numbers where it drops and adds columns at once.
    pub(crate) fn is_told_by_time(&self, flavour: Flavour) -> bool {
        flavour == Flavour::MariaDb || self.storage.is_none()
    }
}

/// What has been read up to one bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// Microseconds since 1970 for time cursors, the value for integer cursors; `None` for an
    /// integer cursor over a table without rows.
    pub(crate) cursor: Option<i64>,
    /// Integer cursors: the widest step between two bounds so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<u64>,
}

/// A window that was cut by size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// What finishing the window makes the bound, in whatever snapshot it is finished.
    pub(crate) bound: Bound,
    /// Cursor and key of the last row read, in text form.
    pub(crate) after: Vec<Option<String>>,
}

/// A position of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watermark {
    /// Form of this JSON.
    pub(crate) version: u32,
    /// The table.
    pub(crate) identity: Identity,
    /// The columns that are read, with their types.
    pub(crate) columns: Vec<(String, String)>,
    /// The selection it was made under.
    pub(crate) selection: String,
    /// The settings of the cursor under which every row of the bound was read.
    pub(crate) cursor: CursorSpec,
    /// Windows that were finished since the load: orders positions whose bounds are equal.
    pub(crate) window_count: u64,
    /// What has been read.
    pub(crate) bound: Bound,
    /// The rows that the next window starts with, all of which have been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Seen>,
    /// The rest of a window that was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
}

impl Watermark {
    /// A position without a pending window.
    pub(crate) fn new(
        identity: Identity,
        columns: Vec<(String, String)>,
        (selection, cursor): (String, CursorSpec),
        bound: Bound,
    ) -> Self {
        Self {
            version: VERSION,
            identity,
            columns,
            selection,
            cursor,
            window_count: 0,
            bound,
            seen: None,
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
    let rank = |mark: &Watermark| (mark.bound.cursor, mark.window_count, mark.pending.is_some());
    match rank(&left).cmp(&rank(&right)) {
        std::cmp::Ordering::Less => PositionOrder::Before,
        std::cmp::Ordering::Greater => PositionOrder::After,
        // Two cuts of one window: their keys are ordered by the server, not by us.
        std::cmp::Ordering::Equal if left.pending != right.pending => PositionOrder::Unknown,
        std::cmp::Ordering::Equal => PositionOrder::Same,
    }
}

/// The bound of a time cursor, microseconds since the epoch.
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
    use syncset_connector::{NullCursor, Windows};

    fn mark(cursor: i64) -> Watermark {
        Watermark::new(
            Identity {
                server: Some("7".into()),
                database: "shop".into(),
                ..Identity::default()
            },
            vec![("id".into(), "int".into())],
            (
                "s".into(),
                CursorSpec {
                    column: "id".into(),
                    written_by: None,
                    overlap: None,
                    zone: None,
                    null_cursor: NullCursor::Error,
                    windows: Windows::Overlapping,
                },
            ),
            Bound {
                cursor: Some(cursor),
                step: None,
            },
        )
    }

    #[test]
    fn position_survives_its_json() {
        let mut before = mark(-5);
        before.seen = Some(Seen::default());
        before.pending = Some(Pending {
            bound: before.bound.clone(),
            after: vec![None, Some("a'b".into())],
        });

        let after = Watermark::read(&before.position()).expect("it was written by us");

        assert_eq!(before, after);
    }

    #[test]
    fn positions_order_by_bound_then_by_pending_window() {
        let mut cut = mark(1);
        cut.pending = Some(Pending {
            bound: mark(2).bound,
            after: vec![Some("1".into())],
        });
        let order =
            |left: &Watermark, right: &Watermark| compare(&left.position(), &right.position());
        let mut finished = mark(1);
        finished.window_count = 1;
        let mut other = mark(1);
        other.identity.database = "other".into();

        assert_eq!(order(&mark(1), &mark(2)), PositionOrder::Before);
        assert_eq!(order(&mark(2), &mark(1)), PositionOrder::After);
        assert_eq!(order(&mark(1), &cut), PositionOrder::Before);
        assert_eq!(order(&cut, &finished), PositionOrder::Before);
        assert_eq!(order(&cut, &cut), PositionOrder::Same);
        assert_eq!(order(&mark(1), &other), PositionOrder::Unknown);
    }

    #[test]
    fn position_of_a_newer_version_is_refused() {
        let newer = Position(serde_json::json!({ "version": 2, "what": "ever" }));

        let error = Watermark::read(&newer).expect_err("it is newer");

        assert_eq!(error.class, ErrorClass::StateTooNew);
    }
}
