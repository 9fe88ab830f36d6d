//! Kinds of cursor columns: where a window starts, in the column's own type and precision.
//!
//! Pure. The bound of time cursors is an instant; zone-less columns are compared with local times
//! of their `zone:`, so that an hour that occurs twice loses nothing.

use chrono::{DateTime, NaiveDateTime, SubsecRound};
use chrono_tz::Tz;
use syncset_connector::{
    Column, ConnectorError, CursorSpec, ErrorClass, Overlap, Result, TableRead, WrittenBy,
    integer_overlap, smallest_local, zone_of,
};

use arrow_schema::{DataType, TimeUnit};

/// What a cursor column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CursorKind {
    /// An instant with this many digits of a second.
    Instant {
        /// Digits after the second.
        digits: u16,
    },
    /// A local time of a zone.
    Local {
        /// Digits after the second.
        digits: u16,
        /// The zone.
        zone: Tz,
    },
    /// A day of a zone.
    Day {
        /// The zone.
        zone: Tz,
    },
    /// A number.
    Integer,
}

impl CursorKind {
    /// The kind of a cursor, with every rule that can be decided without the server.
    ///
    /// # Errors
    /// `Config` for a column that cannot be a cursor or that lacks `zone:`, `written_by:` or
    /// `overlap:`.
    pub(crate) fn of(read: &TableRead, spec: &CursorSpec) -> Result<Self> {
        let table = &read.description.name;
        let column = read.description.column(&spec.column).ok_or_else(|| {
            let names: Vec<_> = read
                .description
                .columns
                .iter()
                .map(|column| format!("`{}`", column.name))
                .collect();
            refused(format!("`{table}` has no cursor column `{}`", spec.column))
                .with_hint(format!("it has {}", names.join(", ")))
        })?;
        let zone = || zone_of(table, spec);
        let kind = match &column.data_type {
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::Instant {
                digits: second_digits(column),
            },
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Local {
                digits: second_digits(column),
                zone: zone()?,
            },
            DataType::Date32 => Self::Day { zone: zone()? },
            DataType::Int16 | DataType::Int32 | DataType::Int64 => Self::Integer,
            _ => {
                return Err(refused(format!(
                    "cursor column `{}` of `{table}` has type `{}`, which cannot be a cursor",
                    spec.column, column.native.name
                ))
                .with_hint("use a column of type timestamptz, timestamp, date or an integer"));
            }
        };
        kind.check(table, spec)?;
        Ok(kind)
    }

    fn check(self, table: &syncset_connector::TableName, spec: &CursorSpec) -> Result<()> {
        let place = format!("cursor column `{}` of `{table}`", spec.column);
        match (self, spec.overlap) {
            (Self::Integer, Some(Overlap::Time(_))) => {
                return Err(
                    refused(format!("{place} is an integer, its overlap is a time"))
                        .with_hint("give `overlap:` as a number of values"),
                );
            }
            (Self::Integer, _) => return Ok(()),
            (_, Some(Overlap::Units(_))) => {
                return Err(
                    refused(format!("{place} is a time, its overlap is a number"))
                        .with_hint("give `overlap:` as a time, such as `10m`"),
                );
            }
            _ => {}
        }
        match spec.written_by {
            None => Err(
                refused(format!("who stamps {place} is not said")).with_hint(
                    "add `written_by: database` if a default or a trigger stamps it, else \
                 `written_by: application` and an `overlap:`",
                ),
            ),
            Some(WrittenBy::Application) if spec.overlap.is_none() => Err(refused(format!(
                "{place} is stamped by an application and has no overlap"
            ))
            .with_hint(
                "add `overlap:`: longer than the longest transaction plus the \
                         difference of the clocks, such as `10m`",
            )),
            _ => Ok(()),
        }
    }

    /// True if the bound of its windows comes from the server's clock and sessions.
    pub(crate) fn is_time(self) -> bool {
        self != Self::Integer
    }

    /// The smallest value that a window from `bound` must read, as a literal of SQL.
    pub(crate) fn lower_sql(self, bound: i64, overlap: Option<Overlap>) -> String {
        if self == Self::Integer {
            let lower = i128::from(bound) - i128::from(integer_overlap(overlap));
            let lower = i64::try_from(lower).unwrap_or(i64::MIN);
            return format!("'{lower}'::pg_catalog.int8");
        }
        let overlap = match overlap {
            Some(Overlap::Time(time)) => i64::try_from(time.as_micros()).unwrap_or(i64::MAX),
            _ => 0,
        };
        let Some(start) = DateTime::from_timestamp_micros(bound.saturating_sub(overlap)) else {
            return self.minus_infinity().to_owned();
        };
        match self {
            Self::Instant { digits } => format!(
                "'{}+00'::pg_catalog.timestamptz",
                iso(floor(start.naive_utc(), digits))
            ),
            Self::Local { digits, zone } => format!(
                "'{}'::pg_catalog.timestamp",
                iso(floor(smallest_local(start.naive_utc(), zone), digits))
            ),
            Self::Day { zone } => format!(
                "'{}'::pg_catalog.date",
                smallest_local(start.naive_utc(), zone)
                    .date()
                    .format("%Y-%m-%d")
            ),
            Self::Integer => unreachable!("integers have returned"),
        }
    }

    fn minus_infinity(self) -> &'static str {
        match self {
            Self::Instant { .. } => "'-infinity'::pg_catalog.timestamptz",
            Self::Local { .. } => "'-infinity'::pg_catalog.timestamp",
            Self::Day { .. } => "'-infinity'::pg_catalog.date",
            Self::Integer => "'-9223372036854775808'::pg_catalog.int8",
        }
    }
}

fn refused(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Config, message)
}

/// Digits after the second that a column keeps. A type whose name says nothing keeps none, which
/// only makes windows start up to a second earlier.
fn second_digits(column: &Column) -> u16 {
    let name = column.native.name.as_str();
    let known = name.starts_with("timestamp") || name.starts_with("pg_catalog.timestamp");
    match name
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
    {
        Some((digits, _)) => digits.parse().unwrap_or(0),
        None if known => 6,
        None => 0,
    }
}

/// The server rounds a stamp to its column's digits, so it may be up to half a unit too early.
fn floor(time: NaiveDateTime, digits: u16) -> NaiveDateTime {
    time.trunc_subsecs(digits.min(6))
}

fn iso(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text)
            .expect("the test's own literal")
            .timestamp_micros()
    }

    fn berlin() -> Tz {
        "Europe/Berlin".parse().expect("the zone exists")
    }

    #[test]
    fn instant_is_cut_to_the_digits_of_its_column() {
        let bound = micros("2026-03-01T10:00:00.987654Z");

        let lower = |digits| CursorKind::Instant { digits }.lower_sql(bound, None);

        assert_eq!(
            lower(6),
            "'2026-03-01 10:00:00.987654+00'::pg_catalog.timestamptz"
        );
        assert_eq!(
            lower(3),
            "'2026-03-01 10:00:00.987000+00'::pg_catalog.timestamptz"
        );
        assert_eq!(
            lower(0),
            "'2026-03-01 10:00:00.000000+00'::pg_catalog.timestamptz"
        );
    }

    #[test]
    fn overlap_is_taken_from_the_instant() {
        let overlap = Some(Overlap::Time(std::time::Duration::from_secs(600)));
        let kind = CursorKind::Instant { digits: 6 };

        let lower = kind.lower_sql(micros("2026-03-01T00:05:00Z"), overlap);

        assert_eq!(
            lower,
            "'2026-02-28 23:55:00.000000+00'::pg_catalog.timestamptz"
        );
    }

    #[test]
    fn local_time_before_the_autumn_fold_starts_at_the_repeated_hour() {
        // 2026-10-25 01:00 UTC: 03:00 becomes 02:00 in Berlin.
        let kind = CursorKind::Local {
            digits: 6,
            zone: berlin(),
        };

        let lower = |text| kind.lower_sql(micros(text), None);

        assert_eq!(
            lower("2026-10-25T00:30:00Z"),
            "'2026-10-25 02:00:00.000000'::pg_catalog.timestamp"
        );
        assert_eq!(
            lower("2026-10-24T23:30:00Z"),
            "'2026-10-25 01:30:00.000000'::pg_catalog.timestamp"
        );
        assert_eq!(
            lower("2026-10-25T01:30:00Z"),
            "'2026-10-25 02:30:00.000000'::pg_catalog.timestamp"
        );
    }

    #[test]
    fn date_cursor_starts_at_the_local_day() {
        let kind = CursorKind::Day { zone: berlin() };

        let lower = kind.lower_sql(micros("2026-06-30T22:30:00Z"), None);

        assert_eq!(lower, "'2026-07-01'::pg_catalog.date");
    }

    #[test]
    fn integer_overlap_is_taken_from_the_value() {
        let lower = |bound, overlap| CursorKind::Integer.lower_sql(bound, overlap);

        assert_eq!(lower(50, Some(Overlap::Units(7))), "'43'::pg_catalog.int8");
        assert_eq!(lower(50_000, None), "'40000'::pg_catalog.int8");
        assert_eq!(
            lower(i64::MIN + 1, Some(Overlap::Units(7))),
            "'-9223372036854775808'::pg_catalog.int8"
        );
    }
}
