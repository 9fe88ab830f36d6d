//! Cursor columns: their kinds, bounds, and the positions that are stored.

use crate::cell::{Cell, OwnedCell};
use crate::civil::{self, Zone, lower_text, parse_date, parse_timestamp};
use crate::digest::fingerprint;
use arrow_schema::DataType;
use chrono::{MappedLocalTime, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use syncset_connector::{
    Column, ConnectorError, CursorSpec, ErrorClass, Overlap, Position, PositionOrder, Result,
    TableRead, Windows, WrittenBy,
};

/// Offsets of zones end at 15:59, so a local text can lie this far below its instant in UTC.
const OFFSET_MAX: Duration = Duration::from_secs(16 * 3600);

/// Clocks that are set back repeat local times, by two hours at most.
pub(crate) const FOLD_MAX: Duration = Duration::from_secs(2 * 3600);

const POSITION_VERSION: u32 = 1;

/// What a cursor column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CursorKind {
    /// Plain integers.
    Integer,
    /// Text with or without an offset, an instant.
    Instant,
    /// Text of a local time.
    Local(Tz),
    /// Text of a local day.
    Day(Tz),
}

/// A value of a cursor: an integer, or microseconds of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bound {
    Integer(i64),
    Micros(i64),
}

/// Where the windows of one table stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorPosition {
    version: u32,
    /// Which table of which file it belongs to; changes with every ALTER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// Everything below it has been read; `None`: the table was empty.
    pub(crate) bound: Option<Bound>,
    /// A window that was cut by its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
    /// Selection and hash of the rows of the overlap as they were read, so that an idle run
    /// writes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) overlap_rows: Option<String>,
}

/// A window that was cut by its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The bound that finishing the window stores.
    pub(crate) bound: Option<Bound>,
    /// Cursor and key of the last row that was read, with their storage classes.
    pub(crate) after: Vec<String>,
}

impl Pending {
    /// The values of `after`; `None` if they are not those of a row of this read.
    pub(crate) fn after_row(&self, read: &TableRead) -> Option<Vec<OwnedCell>> {
        let parts = self.after.iter().map(|part| OwnedCell::parse(part));
        let after: Option<Vec<OwnedCell>> = parts.collect();
        after.filter(|after| after.len() == read.key.len() + 1)
    }
}

impl CursorPosition {
    /// A position without a cut window.
    pub(crate) fn at(read: &TableRead, bound: Option<Bound>, overlap_rows: Option<String>) -> Self {
        Self {
            version: POSITION_VERSION,
            table: Some(identity(read)),
            bound,
            pending: None,
            overlap_rows,
        }
    }

    /// The same position within a window that goes on after a row.
    pub(crate) fn cut(read: &TableRead, from: Option<Bound>, pending: Pending) -> Self {
        Self {
            pending: Some(pending),
            ..Self::at(read, from, None)
        }
    }

    /// True if the table was altered or made anew since, or is in another file.
    pub(crate) fn is_of_another_table(&self, read: &TableRead) -> bool {
        let stored = self.table.as_ref();
        stored.is_some_and(|stored| *stored != identity(read))
    }

    /// Reads a stored position; `None` if it is not one of ours.
    pub(crate) fn parse(position: &Position) -> Option<Self> {
        let parsed: Self = serde_json::from_value(position.0.clone()).ok()?;
        (parsed.version == POSITION_VERSION).then_some(parsed)
    }

    /// As it is stored.
    pub(crate) fn store(&self) -> Position {
        Position(serde_json::to_value(self).expect("a position is plain JSON"))
    }
}

fn identity(read: &TableRead) -> String {
    let table = &read.description;
    if read.capture.is_disjoint() {
        // What was altered holds the same rows, and none of them may come twice.
        return fingerprint(table.source_identity.to_string().as_bytes());
    }
    let text = format!("{}\0{}", table.storage_identity, table.source_identity);
    fingerprint(text.as_bytes())
}

/// How two stored positions relate.
pub(crate) fn compare(left: &Position, right: &Position) -> PositionOrder {
    use std::cmp::Ordering;
    if left == right {
        return PositionOrder::Same;
    }
    let (Some(left), Some(right)) = (CursorPosition::parse(left), CursorPosition::parse(right))
    else {
        return PositionOrder::Unknown;
    };
    if left.table.is_some() && right.table.is_some() && left.table != right.table {
        return PositionOrder::Unknown;
    }
    let order = match (left.bound, right.bound) {
        (None, None) => Some(Ordering::Equal),
        (None, Some(_)) => Some(Ordering::Less),
        (Some(_), None) => Some(Ordering::Greater),
        (Some(Bound::Integer(left)), Some(Bound::Integer(right)))
        | (Some(Bound::Micros(left)), Some(Bound::Micros(right))) => Some(left.cmp(&right)),
        _ => None,
    };
    match order {
        Some(Ordering::Less) => PositionOrder::Before,
        Some(Ordering::Greater) => PositionOrder::After,
        // A cut window is further than the position it started from.
        Some(Ordering::Equal) => match (&left.pending, &right.pending) {
            (None, None) => PositionOrder::Same,
            (None, Some(_)) => PositionOrder::Before,
            (Some(_), None) => PositionOrder::After,
            (Some(left), Some(right)) if left == right => PositionOrder::Same,
            (Some(_), Some(_)) => PositionOrder::Unknown,
        },
        None => PositionOrder::Unknown,
    }
}

/// A cursor column with its rules.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) column: String,
    pub(crate) kind: CursorKind,
    pub(crate) overlap: Option<Overlap>,
    pub(crate) windows: Windows,
}

impl Cursor {
    /// Checks a cursor's settings; every problem is one sentence with its advice.
    pub(crate) fn new(
        spec: &CursorSpec,
        column: &Column,
    ) -> std::result::Result<Self, Vec<(String, &'static str)>> {
        let mut problems = Vec::new();
        let kind = match kind(spec, column) {
            Ok(kind) => kind,
            Err(problem) => {
                problems.push(problem);
                CursorKind::Integer
            }
        };
        let name = &spec.column;
        if kind == CursorKind::Integer {
            if matches!(spec.overlap, Some(Overlap::Time(_))) {
                problems.push((
                    format!("cursor `{name}` counts integers, but its overlap is a time"),
                    "give the overlap in units of the cursor, such as `overlap: 1000`",
                ));
            }
        } else {
            match spec.written_by {
                Some(WrittenBy::Application) => {}
                Some(WrittenBy::Database) => problems.push((
                    format!("cursor `{name}` cannot be `written_by: database`"),
                    "SQLite stamps rows with the clock of whichever process writes; use \
                     `written_by: application` with an `overlap`",
                )),
                None => problems.push((
                    format!("cursor `{name}` does not say who stamps it"),
                    "add `written_by: application` and an `overlap`",
                )),
            }
            if !matches!(spec.overlap, Some(Overlap::Time(_))) {
                problems.push((
                    format!("cursor `{name}` needs an overlap in time"),
                    "add one that is longer than any writer can be late, such as `overlap: 10m`",
                ));
            }
        }
        if problems.is_empty() {
            Ok(Self {
                column: name.clone(),
                kind,
                overlap: spec.overlap,
                windows: spec.windows,
            })
        } else {
            Err(problems)
        }
    }

    /// The bound that a stored value stands for.
    pub(crate) fn bound(&self, cell: Cell<'_>, table: &str) -> Result<Option<Bound>> {
        let bound = match (self.kind, cell) {
            (_, Cell::Null) => return Ok(None),
            (CursorKind::Integer, Cell::Integer(value)) => Some(Bound::Integer(value)),
            (CursorKind::Instant, Cell::Text(text)) => {
                parse_timestamp(text, Zone::Utc).map(Bound::Micros)
            }
            (CursorKind::Local(zone), Cell::Text(text)) => parse_timestamp(text, Zone::Without)
                .map(|local| Bound::Micros(earliest(zone, local))),
            (CursorKind::Day(zone), Cell::Text(text)) => parse_date(text).map(|days| {
                let local = i64::from(days).saturating_mul(civil::DAY_MICROS);
                Bound::Micros(earliest(zone, local))
            }),
            _ => None,
        };
        bound.map(Some).ok_or_else(|| {
            ConnectorError::new(
                ErrorClass::Config,
                format!(
                    "cursor `{}` of `{table}` holds {} that is no value of its declared type",
                    self.column,
                    cell.class()
                ),
            )
            .with_hint("every value must be an integer, or ISO text, as the column declares; mend the others or use `capture: { mode: full }`")
        })
    }

    /// The smallest stored value that a window from this bound must read. `None`: all of them.
    pub(crate) fn lower(&self, bound: Bound) -> Option<Lower> {
        let micros = match bound {
            Bound::Integer(value) => {
                let units = match self.overlap {
                    Some(Overlap::Units(units)) => i64::try_from(units).unwrap_or(i64::MAX),
                    _ => 0,
                };
                return Some(Lower {
                    value: OwnedCell::Integer(value.saturating_sub(units)),
                    with_offset: None,
                });
            }
            Bound::Micros(micros) => micros,
        };
        let overlap = match self.overlap {
            Some(Overlap::Time(time)) => time,
            _ => Duration::ZERO,
        };
        let below = |margin: Duration| {
            let micros_below = i64::try_from((overlap + margin).as_micros()).unwrap_or(i64::MAX);
            micros.saturating_sub(micros_below)
        };
        let local = match self.kind {
            CursorKind::Integer => return None,
            CursorKind::Instant => {
                let with_offset = lower_text(below(OFFSET_MAX))?;
                return Some(Lower {
                    value: OwnedCell::Text(lower_text(below(Duration::ZERO))?),
                    with_offset: Some(with_offset),
                });
            }
            CursorKind::Local(zone) => local_of(zone, below(fold_of(zone))),
            CursorKind::Day(zone) => {
                let local = local_of(zone, below(fold_of(zone)));
                local.div_euclid(civil::DAY_MICROS) * civil::DAY_MICROS
            }
        };
        Some(Lower {
            value: OwnedCell::Text(lower_text(local)?),
            with_offset: None,
        })
    }
}

/// Where a window starts, as SQLite compares stored values.
pub(crate) struct Lower {
    /// Values from here on are read.
    pub(crate) value: OwnedCell,
    /// Texts with an offset from UTC are read from here on: their hours are local ones.
    pub(crate) with_offset: Option<String>,
}

/// How far local times can go back while instants go on.
fn fold_of(zone: Tz) -> Duration {
    if zone == Tz::UTC {
        Duration::ZERO
    } else {
        FOLD_MAX
    }
}

/// `B'`: the largest value, but for times nothing beyond our clock.
pub(crate) fn capped(bound: Option<Bound>, now_micros: i64) -> Option<Bound> {
    match bound {
        Some(Bound::Micros(micros)) => Some(Bound::Micros(micros.min(now_micros))),
        other => other,
    }
}

fn kind(
    spec: &CursorSpec,
    column: &Column,
) -> std::result::Result<CursorKind, (String, &'static str)> {
    // Without a zone it is UTC, which is what SQLite's own clock functions write.
    let zone = || -> std::result::Result<Tz, (String, &'static str)> {
        let name = spec.zone.as_deref().unwrap_or("UTC");
        name.parse().map_err(|_| {
            (
                format!(
                    "cursor `{}` names the zone `{name}`, which is not known",
                    spec.column
                ),
                "use a name of the IANA list, such as `Europe/Berlin`",
            )
        })
    };
    match &column.data_type {
        DataType::Int64 => Ok(CursorKind::Integer),
        DataType::Timestamp(_, Some(_)) => Ok(CursorKind::Instant),
        DataType::Timestamp(_, None) => Ok(CursorKind::Local(zone()?)),
        DataType::Date32 => Ok(CursorKind::Day(zone()?)),
        _ => Err((
            format!(
                "column `{}` is declared `{}`, which cannot be a cursor",
                spec.column, column.native.name
            ),
            "a cursor is an INTEGER, DATE, DATETIME or TIMESTAMP; for others use `capture: { mode: full }`",
        )),
    }
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    chrono::DateTime::from_timestamp_micros(micros).map(|instant| instant.naive_utc())
}

/// The earliest instant of a local time.
fn earliest(zone: Tz, local: i64) -> i64 {
    let Some(time) = naive(local).filter(|_| zone != Tz::UTC) else {
        return local;
    };
    match zone.from_local_datetime(&time) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => {
            instant.timestamp_micros()
        }
        // A time that the clock skipped: the hour before it is a safe bound.
        MappedLocalTime::None => zone
            .from_local_datetime(&(time - FOLD_MAX))
            .earliest()
            .map_or(local, |instant| instant.timestamp_micros()),
    }
}

fn local_of(zone: Tz, micros: i64) -> i64 {
    let Some(time) = naive(micros).filter(|_| zone != Tz::UTC) else {
        return micros;
    };
    zone.from_utc_datetime(&time)
        .naive_local()
        .and_utc()
        .timestamp_micros()
}
