//! Dates and times of the servers as Arrow counts them, and back as literals.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};

/// Day 0 of `Date32` in the count of chrono.
const DAYS_TO_1970: i32 = 719_163;

/// Microseconds of a day.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

/// Days since 1970-01-01; `None` for a date that does not exist.
pub(crate) fn days(year: u16, month: u8, day: u8) -> Option<i32> {
    let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?;
    Some(date.num_days_from_ce() - DAYS_TO_1970)
}

/// Microseconds since 1970-01-01 of a day and a time of day.
pub(crate) fn micros(days: i32, (hour, minute, second): (u8, u8, u8), micros: u32) -> i64 {
    let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    i64::from(days) * DAY_MICROS + seconds * 1_000_000 + i64::from(micros)
}

/// `2024-05-31`; `None` beyond the years that the servers know.
pub(crate) fn date_text(days: i32) -> Option<String> {
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(DAYS_TO_1970)?)?;
    let known = (0..=9_999).contains(&date.year());
    known.then(|| date.format("%Y-%m-%d").to_string())
}

/// `2024-05-31 12:00:00.000000`; `None` beyond the years that the servers know.
pub(crate) fn timestamp_text(micros: i64) -> Option<String> {
    naive_text(DateTime::from_timestamp_micros(micros)?.naive_utc())
}

/// The same of a local time.
pub(crate) fn naive_text(time: NaiveDateTime) -> Option<String> {
    let known = (0..=9_999).contains(&time.year());
    known.then(|| {
        format!(
            "{}.{:06}",
            time.format("%Y-%m-%d %H:%M:%S"),
            time.nanosecond() / 1_000 % 1_000_000
        )
    })
}

/// `-838:59:59.000000`
pub(crate) fn time_text(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let total = micros.unsigned_abs();
    let seconds = total / 1_000_000;
    format!(
        "{sign}{:02}:{:02}:{:02}.{:06}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        total % 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_do_not_exist_are_none() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        for (year, month, day) in [(0, 0, 0), (2024, 0, 1), (2024, 5, 0), (2023, 2, 29)] {
            assert_eq!(days(year, month, day), None, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn texts_are_those_that_the_servers_read() {
        assert_eq!(date_text(11_016).as_deref(), Some("2000-02-29"));
        assert_eq!(date_text(i32::MAX), None);
        assert_eq!(
            timestamp_text(1_500_000).as_deref(),
            Some("1970-01-01 00:00:01.500000")
        );
        assert_eq!(time_text(-3_020_399_999_999), "-838:59:59.999999");
        assert_eq!(time_text(0), "00:00:00.000000");
    }
}
