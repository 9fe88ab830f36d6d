//! Dates and times as these servers spell them.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use std::io::Write;

const MICROS: i64 = 1_000_000;

type Outcome = Result<(), &'static str>;

const OUTSIDE: &str = "it is outside of the years 0 to 9999";
const NO_LEAP_DAY: &str = "the year 0 of these servers has no 29th of February";
const TOO_FINE: &str = "it is finer than the column keeps";

/// Days from the first of January of the year 1 to that of 1970, and one.
const DAYS_TO_1970: i32 = 719_163;

/// `2024-02-29`, from days since 1970.
pub(super) fn write_date(days: i32, out: &mut Vec<u8>) -> Outcome {
    let date = days
        .checked_add(DAYS_TO_1970)
        .and_then(NaiveDate::from_num_days_from_ce_opt)
        .ok_or(OUTSIDE)?;
    check_day(&date)?;
    put(
        out,
        format_args!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
    );
    Ok(())
}

fn check_day(day: &impl Datelike) -> Outcome {
    match (day.year(), day.month(), day.day()) {
        (0, 2, 29) => Err(NO_LEAP_DAY),
        (0..=9999, ..) => Ok(()),
        _ => Err(OUTSIDE),
    }
}

/// `2024-02-29 12:30:00.5`, from microseconds since 1970.
pub(super) fn write_timestamp(micros: i64, digits: u32, out: &mut Vec<u8>) -> Outcome {
    let time = DateTime::from_timestamp_micros(micros).ok_or(OUTSIDE)?;
    check_day(&time)?;
    put(
        out,
        format_args!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        ),
    );
    write_fraction(micros.rem_euclid(MICROS), digits, out)
}

/// `-838:59:59.5`, from microseconds.
pub(super) fn write_time(micros: i64, (digits, max): (u32, i64), out: &mut Vec<u8>) -> Outcome {
    if micros.checked_abs().is_none_or(|length| length > max) {
        return Err("it is longer than 838:59:59");
    }
    if micros < 0 {
        out.push(b'-');
    }
    let length = micros.abs();
    let seconds = length / MICROS;
    put(
        out,
        format_args!(
            "{:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        ),
    );
    write_fraction(length % MICROS, digits, out)
}

/// Checks a timestamp's range in seconds since 1970. Second zero is what a zero date is stored as.
pub(super) fn check_range(micros: i64, max: i64) -> Outcome {
    if (1..=max).contains(&micros.div_euclid(MICROS)) {
        Ok(())
    } else {
        Err("it is outside of what a TIMESTAMP holds, which begins in 1970")
    }
}

/// A date or a time with a date that another column of these servers had as its text, zero dates
/// included: only its form is looked at, its value by the server.
pub(super) fn check_text(text: &str, time_digits: Option<u32>) -> Outcome {
    const WRONG: &str = "it is no date";
    let has_form = |part: &str, form: &str| {
        part.len() == form.len()
            && part.bytes().zip(form.bytes()).all(|(byte, wanted)| {
                if wanted == b'0' {
                    byte.is_ascii_digit()
                } else {
                    byte == wanted
                }
            })
    };
    let Some(digits) = time_digits else {
        return if has_form(text, "0000-00-00") {
            Ok(())
        } else {
            Err(WRONG)
        };
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !has_form(whole, "0000-00-00 00:00:00") || !fraction.bytes().all(|it| it.is_ascii_digit()) {
        return Err(WRONG);
    }
    if fraction.trim_end_matches('0').len() > usize::try_from(digits).unwrap_or(0) {
        return Err(TOO_FINE);
    }
    Ok(())
}

fn write_fraction(micros: i64, digits: u32, out: &mut Vec<u8>) -> Outcome {
    let step = 10_i64.pow(6_u32.saturating_sub(digits));
    if micros % step != 0 {
        return Err(TOO_FINE);
    }
    if micros != 0 {
        put(out, format_args!(".{micros:06}"));
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>) -> Outcome) -> Result<String, &'static str> {
        let mut out = Vec::new();
        write(&mut out)?;
        Ok(String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn moments_are_spelled_to_the_last_digit() {
        let timestamp = |micros, digits| written(|out| write_timestamp(micros, digits, out));

        assert_eq!(
            timestamp(-1, 6).as_deref(),
            Ok("1969-12-31 23:59:59.999999")
        );
        assert_eq!(
            timestamp(1_500_000, 3).as_deref(),
            Ok("1970-01-01 00:00:01.5")
        );
        assert_eq!(timestamp(0, 0).as_deref(), Ok("1970-01-01 00:00:00"));
        assert_eq!(timestamp(1, 3), Err(TOO_FINE));
        assert_eq!(timestamp(i64::MAX, 6), Err(OUTSIDE));
        assert_eq!(timestamp(i64::MIN, 6), Err(OUTSIDE));
        assert_eq!(
            written(|out| write_date(-719_162, out)).as_deref(),
            Ok("0001-01-01")
        );
        assert_eq!(written(|out| write_date(i32::MAX, out)), Err(OUTSIDE));
    }

    #[test]
    fn times_may_be_negative_and_longer_than_a_day() {
        let max = 3_020_399_000_000;
        let time = |micros| written(|out| write_time(micros, (6, max), out));

        assert_eq!(time(-500_000).as_deref(), Ok("-00:00:00.5"));
        assert_eq!(time(max).as_deref(), Ok("838:59:59"));
        assert_eq!(time(-max).as_deref(), Ok("-838:59:59"));
        assert!(time(max + 1).is_err() && time(i64::MIN).is_err());
    }

    #[test]
    fn texts_of_dates_keep_their_form() {
        assert!(check_text("0000-00-00", None).is_ok());
        assert!(check_text("2024-05-00 00:00:00.120", Some(2)).is_ok());
        assert!(check_text("2024-05-00 00:00:00.123", Some(2)).is_err());
        assert!(check_text("2024-5-1", None).is_err());
        assert!(check_text("2024-05-01T00:00:00", Some(6)).is_err());
    }
}
