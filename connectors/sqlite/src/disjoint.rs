//! Windows that read no row version twice: each ends `overlap` below its bound, and the next one
//! starts there.
//!
//! Texts of times do not sort exactly as the instants they stand for, so SQL only narrows down
//! what is looked at; which rows belong to a window is decided here, on the instant. Of a text that
//! may stand for several instants it is the last one: its row may be written until then.

use crate::cell::{Cell, cell};
use crate::civil::{DAY_MICROS, Zone, parse_date, parse_timestamp};
use crate::cursor::{Bound, Cursor, CursorKind, CursorPosition, FOLD_MAX, capped};
use crate::read::cursor_of;
use crate::scan::{Scan, select};
use crate::window::WindowPlan;
use chrono::{MappedLocalTime, TimeZone};
use chrono_tz::Tz;
use sqlx::sqlite::SqliteRow;
use syncset_connector::{
    ConnectorError, ErrorClass, Overlap, Position, Result, TableRead, WindowState, Windows,
};

const SECOND_MICROS: i64 = 1_000_000;

/// The rows that one window or one load reads, by their cursor.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    cursor: Cursor,
    from: Option<Bound>,
    below: Option<Bound>,
    table: String,
}

impl Slice {
    /// Whether a row belongs to it, by the value of its cursor.
    pub(crate) fn holds(&self, value: Cell<'_>) -> Result<bool> {
        let Some(at) = self.cursor.latest(value, &self.table)? else {
            return Ok(false);
        };
        let is_new = self.from.is_none_or(|from| !is_before(at, from));
        Ok(is_new && self.below.is_some_and(|below| is_before(at, below)))
    }

    /// The same by the row of a window, whose cursor stands behind the columns.
    pub(crate) fn holds_row(&self, row: &SqliteRow, column_count: usize) -> Result<bool> {
        self.holds(cell(row, column_count))
    }
}

/// Values of one column; values of different kinds have no order.
fn is_before(left: Bound, right: Bound) -> bool {
    match (left, right) {
        (Bound::Integer(left), Bound::Integer(right))
        | (Bound::Micros(left), Bound::Micros(right)) => left < right,
        _ => false,
    }
}

impl Cursor {
    /// True if its windows read nothing twice.
    pub(crate) fn is_disjoint(&self) -> bool {
        self.windows == Windows::Disjoint
    }

    /// What a position holds, given the bound.
    pub(crate) fn position_of(&self, bound: Bound) -> Bound {
        match (bound, self.overlap) {
            _ if !self.is_disjoint() => bound,
            (Bound::Integer(value), Some(Overlap::Units(units))) => {
                Bound::Integer(value.saturating_sub(i64::try_from(units).unwrap_or(i64::MAX)))
            }
            (Bound::Micros(micros), Some(Overlap::Time(time))) => {
                let overlap = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
                // Stamps may be cut to whole seconds.
                let second = micros.div_euclid(SECOND_MICROS) * SECOND_MICROS;
                Bound::Micros(second.saturating_sub(overlap))
            }
            (bound, _) => bound,
        }
    }

    /// The last moment at which a row with this value can have been written.
    fn latest(&self, value: Cell<'_>, table: &str) -> Result<Option<Bound>> {
        let Some(bound) = self.bound(value, table)? else {
            return Ok(None);
        };
        let text = match value {
            Cell::Text(text) => text,
            _ => return Ok(Some(bound)),
        };
        let latest = match self.kind {
            CursorKind::Integer | CursorKind::Instant => None,
            CursorKind::Local(zone) => {
                parse_timestamp(text, Zone::Without).map(|local| latest(zone, local))
            }
            CursorKind::Day(zone) => parse_date(text).map(|day| {
                let next_day = (i64::from(day) + 1).saturating_mul(DAY_MICROS);
                latest(zone, next_day).saturating_sub(1)
            }),
        };
        Ok(Some(latest.map_or(bound, Bound::Micros)))
    }
}

/// The latest instant of a local time.
fn latest(zone: Tz, local: i64) -> i64 {
    let time = chrono::DateTime::from_timestamp_micros(local).map(|instant| instant.naive_utc());
    let Some(time) = time.filter(|_| zone != Tz::UTC) else {
        return local;
    };
    match zone.from_local_datetime(&time) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(_, instant) => {
            instant.timestamp_micros()
        }
        // A time that the clock skipped: the hour after it is late enough.
        MappedLocalTime::None => zone
            .from_local_datetime(&(time + FOLD_MAX))
            .latest()
            .map_or(local, |instant| instant.timestamp_micros()),
    }
}

/// Fixes the window from a stored position.
pub(crate) fn plan_window(
    read: &TableRead,
    cursor: Cursor,
    from: Option<CursorPosition>,
    (largest, now_micros): (Option<Bound>, i64),
) -> WindowPlan {
    let stop = |reason: &str, cursor: Cursor| WindowPlan {
        state: WindowState::Reload {
            reason: reason.into(),
        },
        cursor,
        from: None,
        after: None,
        end: CursorPosition::at(read, None, None),
    };
    let Some(from) = from else {
        return stop("the stored position is not one of a cursor", cursor);
    };
    if from.is_of_another_table(read) {
        return stop("the table is in another file than in the last run", cursor);
    }
    let went_back = |stored, largest| match (stored, largest) {
        (Bound::Integer(stored), Bound::Integer(largest)) => largest < stored,
        (Bound::Micros(_), Bound::Micros(_)) => false,
        _ => true,
    };
    if let (Some(stored), Some(largest)) = (from.bound, largest)
        && went_back(stored, largest)
    {
        return stop("its numbers may have begun anew", cursor);
    }
    if let Some(pending) = &from.pending {
        let after = pending.after_row(read);
        if after.is_none() {
            return stop("the stored position cannot be read", cursor);
        }
        return WindowPlan {
            state: WindowState::Changed,
            from: from.bound,
            after,
            end: CursorPosition::at(read, pending.bound, None),
            cursor,
        };
    }
    let bound = capped(largest, now_micros).map(|bound| cursor.position_of(bound));
    let end = match (from.bound, bound) {
        (Some(from), Some(bound)) if is_before(bound, from) => Some(from),
        (from, bound) => bound.or(from),
    };
    let end_position = CursorPosition::at(read, end, None);
    WindowPlan {
        state: if end == from.bound {
            WindowState::Unchanged(end_position.store())
        } else {
            WindowState::Changed
        },
        cursor,
        from: from.bound,
        after: None,
        end: end_position,
    }
}

/// Which rows of its superset a window reads; `None`: all of them.
pub(crate) fn slice_of(read: &TableRead, plan: &WindowPlan) -> Option<Slice> {
    plan.cursor.is_disjoint().then(|| Slice {
        cursor: plan.cursor.clone(),
        from: plan.from,
        below: plan.end.bound,
        table: read.description.name.to_string(),
    })
}

/// The same scan, of rows below a position only.
pub(crate) fn below_position(
    scan: Scan,
    read: &TableRead,
    below: &Position,
    conditions: &[String],
) -> Result<Scan> {
    let (Some(cursor), Some(below)) = (cursor_of(read)?, CursorPosition::parse(below)) else {
        return Err(ConnectorError::new(
            ErrorClass::Store,
            format!(
                "the load of `{}` has no position to end at",
                read.description.name
            ),
        )
        .with_hint("run `pipeline reset` for this table"));
    };
    let mut columns = read.columns.clone();
    columns.push(cursor.column.clone());
    Ok(Scan {
        statement: select(read, &columns, conditions),
        only: Some(Slice {
            cursor,
            from: None,
            below: below.bound,
            table: read.description.name.to_string(),
        }),
        ..scan
    })
}

/// What `plan` says of the delay.
pub(crate) fn notes(read: &TableRead, cursor: &Cursor) -> Vec<String> {
    let (table, column) = (&read.description.name, &cursor.column);
    let after = match cursor.overlap {
        Some(Overlap::Time(time)) => format!("{} s", time.as_secs()),
        Some(Overlap::Units(units)) => units.to_string(),
        None => "0".to_owned(),
    };
    vec![format!(
        "rows of `{table}` come once the greatest `{column}` is more than {after} (`overlap`) above \
         theirs; a row that is committed later than that is not found"
    )]
}
