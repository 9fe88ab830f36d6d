//! Rules of cursors that are the same in every store. Pure.

use crate::{ConnectorError, CursorSpec, ErrorClass, Overlap, Result, TableName};
use chrono::{Duration, NaiveDateTime, Offset, TimeZone, Timelike};
use chrono_tz::Tz;

/// Overlap of integer cursors when none is set: values of transactions that commit later than
/// their neighbours are found as long as fewer than this many values were taken meanwhile.
pub const INTEGER_OVERLAP: u64 = 10_000;

/// A jump wider than this many times the usual step stops an integer cursor.
const JUMP_FACTOR: u64 = 1_000;

/// No fold of a zone is longer than a day; two hours of slack.
const FOLD_HOURS: i64 = 26;

/// How far below its bound a window of an integer cursor starts.
pub fn integer_overlap(overlap: Option<Overlap>) -> u64 {
    match overlap {
        Some(Overlap::Units(units)) => units,
        _ => INTEGER_OVERLAP,
    }
}

/// Whether the largest value of an integer cursor ran away, so that a bound there would hide every
/// row that follows the usual count. Returns the new usual step otherwise.
pub fn integer_step(
    last: Option<i64>,
    largest: Option<i64>,
    usual: Option<u64>,
    overlap: Option<Overlap>,
) -> Result<Option<u64>, u64> {
    let (Some(last), Some(largest)) = (last, largest) else {
        return Ok(usual);
    };
    let jump = if largest > last {
        largest.abs_diff(last)
    } else {
        0
    };
    let limit = usual
        .unwrap_or(0)
        .max(integer_overlap(overlap))
        .max(1_000)
        .saturating_mul(JUMP_FACTOR);
    // A clock kept as a number steps far after a quiet week and is still the same clock.
    if jump > limit && jump > last.unsigned_abs() {
        return Err(jump);
    }
    Ok(Some(usual.unwrap_or(0).max(jump)))
}

/// The zone of a cursor of local times.
///
/// # Errors
/// `Config` without a `zone:`, or with one that nobody knows.
pub fn zone_of(table: &TableName, spec: &CursorSpec) -> Result<Tz> {
    let Some(name) = &spec.zone else {
        return Err(refused(format!(
            "cursor column `{}` of `{table}` has no time zone",
            spec.column
        ))
        .with_hint(
            "add the zone of its local times to `capture:`, such as `zone: Europe/Berlin`",
        ));
    };
    name.parse().map_err(|_| {
        refused(format!("`{name}` is not the name of a time zone"))
            .with_hint("use a name of the IANA list, such as `Europe/Berlin` or `UTC`")
    })
}

/// The smallest local time of any instant at or after `instant`.
pub fn smallest_local(instant: NaiveDateTime, zone: Tz) -> NaiveDateTime {
    let local = |utc: NaiveDateTime| utc + zone.offset_from_utc_datetime(&utc).fix();
    let here = local(instant);
    let Some(end) = instant.checked_add_signed(Duration::hours(FOLD_HOURS)) else {
        return here;
    };
    let offset = |utc: NaiveDateTime| zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    if offset(end) >= offset(instant) {
        return here;
    }
    // Clocks are put back somewhere in between, at a whole minute.
    let whole_minute = instant
        .with_second(0)
        .and_then(|time| time.with_nanosecond(0))
        .unwrap_or(instant);
    (1..=FOLD_HOURS * 60)
        .filter_map(|minute| whole_minute.checked_add_signed(Duration::minutes(minute)))
        .map(local)
        .fold(here, std::cmp::min)
}

fn refused(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_that_jumps_far_out_of_its_step_is_stopped() {
        let units = Some(Overlap::Units(100));

        assert_eq!(
            integer_step(Some(1_000), Some(1_500), Some(20), units),
            Ok(Some(500))
        );
        assert!(integer_step(Some(1_000), Some(9_000_000_000), Some(20), units).is_err());
        // A clock in microseconds after a quiet week.
        let now = 1_790_000_000_000_000;
        assert!(integer_step(Some(now), Some(now + 604_800_000_000), None, units).is_ok());
        assert_eq!(integer_step(None, Some(5), None, units), Ok(None));
    }
}
