//! Kinds of cursor columns: where a window starts, in the column's own type and precision.
//!
//! Pure. The bound of time cursors is an instant; zone-less columns are compared with local times
//! of their `zone:`, so that an hour that occurs twice loses nothing.

use super::bound::time_overlap;
use crate::civil;
use crate::describe::is_stamped_on_update;
use crate::types::Parsed;
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDateTime, SubsecRound};
use chrono_tz::Tz;
use syncset_connector::{
    Column, ConnectorError, CursorSpec, ErrorClass, Overlap, Result, TableName, TableRead,
    WrittenBy, integer_overlap, smallest_local, zone_of,
};

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
            data_type if data_type.is_integer() => Self::Integer,
            _ => {
                return Err(refused(format!(
                    "cursor column `{}` of `{table}` has type `{}`, which cannot be a cursor",
                    spec.column, column.native.name
                ))
                .with_hint("use a column of type timestamp, datetime, date or an integer"));
            }
        };
        kind.check(table, column, spec)?;
        Ok(kind)
    }

    fn check(self, table: &TableName, column: &Column, spec: &CursorSpec) -> Result<()> {
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
                    "add `written_by: database` if it has ON UPDATE CURRENT_TIMESTAMP, else \
                     `written_by: application` and an `overlap:`",
                ),
            ),
            Some(WrittenBy::Application) if spec.overlap.is_none() => Err(refused(format!(
                "{place} is stamped by an application and has no overlap"
            ))
            .with_hint(
                "add `overlap:`: longer than the longest transaction plus the difference of the \
                 clocks, such as `10m`",
            )),
            Some(WrittenBy::Application) => Ok(()),
            Some(WrittenBy::Database) => self.check_stamped(&place, column),
        }
    }

    /// Only one kind of column is stamped by the server's clock whatever a session does.
    fn check_stamped(self, place: &str, column: &Column) -> Result<()> {
        let hint = "write `written_by: application` and an `overlap:` of more than the longest \
                    transaction plus the difference of the clocks, such as `10m`";
        if !matches!(self, Self::Instant { .. }) {
            return Err(refused(format!(
                "{place} is `{}`, which each session stamps in a time zone of its own",
                column.native.name
            ))
            .with_hint(hint));
        }
        if !is_stamped_on_update(column) {
            return Err(refused(format!(
                "{place} is not stamped by the database when a row is changed: it has no ON \
                 UPDATE CURRENT_TIMESTAMP"
            ))
            .with_hint(hint));
        }
        Ok(())
    }

    /// True if the bound of its windows comes from the server's clock and sessions.
    pub(crate) fn is_time(self) -> bool {
        self != Self::Integer
    }

    /// The smallest value that a window from `bound` must read, as a literal of SQL; `None`: all.
    pub(crate) fn lower_sql(self, bound: i64, overlap: Option<Overlap>) -> Option<String> {
        if self == Self::Integer {
            let lower = i128::from(bound) - i128::from(integer_overlap(overlap));
            return Some(lower.to_string());
        }
        let overlap = time_overlap(overlap);
        self.at_sql(bound.saturating_sub(micros(overlap)))
    }

    /// The smallest value of any instant at or after `instant`, as a literal of SQL; `None`: it is
    /// below everything that the servers know.
    pub(crate) fn at_sql(self, instant: i64) -> Option<String> {
        let start = DateTime::from_timestamp_micros(instant)?.naive_utc();
        match self {
            Self::Instant { digits } => {
                // The first second that a TIMESTAMP knows.
                let text = civil::naive_text(floor(start, digits))?;
                (instant >= 1_000_000).then(|| format!("TIMESTAMP'{text}'"))
            }
            Self::Local { digits, zone } => {
                let text = civil::naive_text(floor(smallest_local(start, zone), digits))?;
                Some(format!("TIMESTAMP'{text}'"))
            }
            Self::Day { zone } => {
                let day = smallest_local(start, zone).date();
                Some(format!("DATE'{}'", day.format("%Y-%m-%d")))
            }
            Self::Integer => Some(instant.to_string()),
        }
    }
}

/// A span in microseconds.
pub(crate) fn micros(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn refused(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Config, message)
}

/// Digits after the second that a column keeps.
fn second_digits(column: &Column) -> u16 {
    let digits = Parsed::of(&column.native.name).second_digits();
    u16::try_from(digits).unwrap_or(0)
}

/// Some servers round a stamp to its column's digits and others cut it, so a window starts at the
/// unit that its bound is in.
fn floor(time: NaiveDateTime, digits: u16) -> NaiveDateTime {
    time.trunc_subsecs(digits.min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text)
            .expect("the test's own literal")
            .timestamp_micros()
    }

    fn berlin() -> Tz {
        "Europe/Berlin".parse().expect("the zone exists")
    }

    #[test]
    fn window_starts_below_its_bound_in_the_digits_of_its_column() {
        let bound = instant("2026-03-01T10:00:00.987654Z");
        let lower = |digits| CursorKind::Instant { digits }.lower_sql(bound, None);

        assert_eq!(
            lower(6).as_deref(),
            Some("TIMESTAMP'2026-03-01 09:50:00.987654'")
        );
        assert_eq!(
            lower(0).as_deref(),
            Some("TIMESTAMP'2026-03-01 09:50:00.000000'")
        );
        assert_eq!(CursorKind::Instant { digits: 0 }.lower_sql(5, None), None);
    }

    #[test]
    fn local_time_before_the_autumn_fold_starts_at_the_repeated_hour() {
        // 2026-10-25 01:00 UTC: 03:00 becomes 02:00 in Berlin.
        let kind = CursorKind::Local {
            digits: 6,
            zone: berlin(),
        };
        let at = |text| kind.at_sql(instant(text));

        assert_eq!(
            at("2026-10-25T00:30:00Z").as_deref(),
            Some("TIMESTAMP'2026-10-25 02:00:00.000000'")
        );
        assert_eq!(
            at("2026-10-25T01:30:00Z").as_deref(),
            Some("TIMESTAMP'2026-10-25 02:30:00.000000'")
        );
    }

    #[test]
    fn day_and_number_start_in_their_own_units() {
        let day = CursorKind::Day { zone: berlin() };

        let at = day.at_sql(instant("2026-06-30T22:30:00Z"));

        assert_eq!(at.as_deref(), Some("DATE'2026-07-01'"));
        let units = Some(Overlap::Units(7));
        assert_eq!(
            CursorKind::Integer.lower_sql(50, units).as_deref(),
            Some("43")
        );
        assert_eq!(
            CursorKind::Integer.lower_sql(i64::MIN, units).as_deref(),
            Some("-9223372036854775815")
        );
    }
}
