//! Dates and times as ISO text, over the whole range that Arrow's numbers have.
//!
//! Years before 1 are counted astronomically (`0000` is 1 BC) and years beyond 9999 carry a plus.

use std::fmt::Write;
use syncset_connector::special;

/// Microseconds of a day.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

/// PostgreSQL's last thirty years lie beyond 2^63 microseconds after 1970. A batch holds them less
/// 2^64, up to this number; no store has instants that early.
const WRAPPED_MAX: i64 = -9_222_426_057_709_551_617;

const INFINITY: &str = "infinity";
const NEGATIVE_INFINITY: &str = "-infinity";

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that the leap day is the last day of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Days of `YYYY-MM-DD`, with a sign before years outside of 0..=9999.
fn civil_days(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (year, rest) = rest.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if year.len() < 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let (year, month, day) = (sign * digits(year)?, digits(month)?, digits(day)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // The 31st of April would be the 1st of May.
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// A date as Arrow counts it.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    match text {
        INFINITY => Some(special::DATE_INFINITY),
        NEGATIVE_INFINITY => Some(special::DATE_NEGATIVE_INFINITY),
        _ => i32::try_from(civil_days(text)?).ok(),
    }
}

/// A time of day in microseconds, 00:00 to 24:00. Digits beyond microseconds must be zeros.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let (second, fraction) = match parts.next() {
        None => ("00", None),
        Some(rest) => match rest.split_once('.') {
            None => (rest, None),
            Some((second, fraction)) => (second, Some(fraction)),
        },
    };
    if [hour, minute, second].iter().any(|part| part.len() != 2) {
        return None;
    }
    let (hour, minute, second) = (digits(hour)?, digits(minute)?, digits(second)?);
    if hour > 24 || minute > 59 || second > 59 {
        return None;
    }
    let micros = ((hour * 60 + minute) * 60 + second) * 1_000_000
        + fraction.map_or(Some(0), fraction_micros)?;
    (micros <= DAY_MICROS).then_some(micros)
}

fn fraction_micros(fraction: &str) -> Option<i64> {
    let (kept, dropped) = fraction.split_at_checked(6).unwrap_or((fraction, ""));
    if dropped.bytes().any(|digit| digit != b'0') {
        return None;
    }
    Some(digits(kept)? * 10_i64.pow(6 - u32::try_from(kept.len()).ok()?))
}

/// Splits `+02:00`, `-0530`, `+01` or `Z` off a time; the offset is in seconds.
fn split_offset(time: &str) -> Option<(&str, Option<i64>)> {
    if let Some(plain) = time.strip_suffix(['Z', 'z']) {
        return Some((plain, Some(0)));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, None));
    };
    let (plain, offset) = time.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let compact: String = offset.get(1..)?.chars().filter(|c| *c != ':').collect();
    let (hour, minute) = match compact.len() {
        2 => (digits(&compact)?, 0),
        4 => (digits(&compact[..2])?, digits(&compact[2..])?),
        _ => return None,
    };
    if hour > 15 || minute > 59 {
        return None;
    }
    Some((plain.trim_end(), Some(sign * (hour * 60 + minute) * 60)))
}

/// Whether a timestamp's text may or may not name its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// It names none.
    Without,
    /// It may name one; without one it is UTC, as SQLite's own functions write it.
    Utc,
}

/// A timestamp in microseconds.
pub(crate) fn parse_timestamp(text: &str, zone: Zone) -> Option<i64> {
    match text {
        INFINITY => return Some(special::TIMESTAMP_INFINITY),
        NEGATIVE_INFINITY => return Some(special::TIMESTAMP_NEGATIVE_INFINITY),
        _ => {}
    }
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let days = civil_days(date)?;
    let (time, offset) = match time {
        None => (0, None),
        Some(time) => {
            let (time, offset) = split_offset(time)?;
            (parse_time(time)?, offset)
        }
    };
    if zone == Zone::Without && offset.is_some() {
        return None;
    }
    let offset = offset.unwrap_or(0) * 1_000_000;
    carried(i128::from(days) * i128::from(DAY_MICROS) + i128::from(time - offset))
}

/// A number of microseconds as a batch holds it; `None` if it would be taken for another one.
fn carried(micros: i128) -> Option<i64> {
    let carried = match i64::try_from(micros) {
        Ok(micros) if micros <= WRAPPED_MAX => return None,
        Ok(micros) => micros,
        Err(_) => {
            let wrapped = i64::try_from(micros - (1 << 64)).ok()?;
            (wrapped <= WRAPPED_MAX).then_some(wrapped)?
        }
    };
    let is_special = matches!(
        carried,
        special::TIMESTAMP_INFINITY | special::TIMESTAMP_NEGATIVE_INFINITY
    );
    (!is_special).then_some(carried)
}

/// The microseconds since 1970 that a batch's number stands for.
fn meant(carried: i64) -> i128 {
    if carried <= WRAPPED_MAX {
        i128::from(carried) + (1 << 64)
    } else {
        i128::from(carried)
    }
}

/// A date as ISO text.
pub(crate) fn format_date(days: i32) -> String {
    match days {
        special::DATE_INFINITY => INFINITY.into(),
        special::DATE_NEGATIVE_INFINITY => NEGATIVE_INFINITY.into(),
        _ => {
            let mut text = String::with_capacity(10);
            write_date(&mut text, i64::from(days));
            text
        }
    }
}

fn write_date(text: &mut String, days: i64) {
    let (year, month, day) = civil_from_days(days);
    let sign = match year {
        0..=9999 => "",
        10_000.. => "+",
        _ => "-",
    };
    let written = write!(text, "{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs());
    written.expect("a String takes every text");
}

/// A time of day as ISO text with six digits, so that texts sort as times do.
pub(crate) fn format_time(micros: i64) -> String {
    let mut text = String::with_capacity(15);
    write_time(&mut text, micros);
    text
}

fn write_time(text: &mut String, micros: i64) {
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let written = write!(
        text,
        "{hour:02}:{minute:02}:{second:02}.{:06}",
        micros % 1_000_000
    );
    written.expect("a String takes every text");
}

/// A timestamp as ISO text with six digits and a space; with a zone it ends in `+00:00`.
pub(crate) fn format_timestamp(micros: i64, zone: Zone) -> String {
    match micros {
        special::TIMESTAMP_INFINITY => return INFINITY.into(),
        special::TIMESTAMP_NEGATIVE_INFINITY => return NEGATIVE_INFINITY.into(),
        _ => {}
    }
    let (micros, day) = (meant(micros), i128::from(DAY_MICROS));
    let days = i64::try_from(micros.div_euclid(day)).expect("a day of 300,000 years");
    let time = i64::try_from(micros.rem_euclid(day)).expect("a part of a day");
    let mut text = String::with_capacity(32);
    write_date(&mut text, days);
    text.push(' ');
    write_time(&mut text, time);
    if zone == Zone::Utc {
        text.push_str("+00:00");
    }
    text
}

/// `YYYY-MM-DD HH:MM`, or the date alone at midnight: a text that is not greater than the text of
/// any timestamp at or after this one, whether it is written with a space or a `T`, with or
/// without seconds and fraction. Only for years 0 to 9999.
pub(crate) fn lower_text(micros: i64) -> Option<String> {
    let days = micros.div_euclid(DAY_MICROS);
    let (year, _, _) = civil_from_days(days);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let mut text = String::with_capacity(16);
    write_date(&mut text, days);
    let minutes = micros.rem_euclid(DAY_MICROS) / 60_000_000;
    if minutes > 0 {
        write!(text, " {:02}:{:02}", minutes / 60, minutes % 60)
            .expect("a String takes every text");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_are_read_and_others_are_refused() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("0000-12-31", -719_163),
        ] {
            assert_eq!(parse_date(text), Some(days), "{text}");
        }
        for text in [
            "2023-02-29",
            "2024-13-01",
            "24-01-01",
            "2024-1-1",
            "1700000000",
            "",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(parse_time("24:00:00"), Some(DAY_MICROS));
        assert_eq!(parse_time("24:00:01"), None);
        assert_eq!(parse_time("10:00:00.1234567"), None);
        let second = Some(1_000_000);
        for text in [
            "1970-01-01 00:00:01",
            "1970-01-01T02:00:01+02:00",
            "1970-01-01T00:00:01.0Z",
        ] {
            assert_eq!(parse_timestamp(text, Zone::Utc), second, "{text}");
        }
        assert_eq!(parse_timestamp("1970-01-01 00:00:01Z", Zone::Without), None);
    }

    #[test]
    fn last_years_of_postgres_come_back() {
        for text in [
            "+294247-01-10 04:00:54.775809",
            "+294276-12-31 23:59:59.999999",
        ] {
            let micros = parse_timestamp(text, Zone::Without).expect("PostgreSQL has it");
            assert!(micros < 0, "it is beyond 2^63");
            assert_eq!(format_timestamp(micros, Zone::Without), text);
        }
        for text in [
            // They would be taken for an infinity.
            "+294247-01-10 04:00:54.775807",
            "+294247-01-10 04:00:54.775808",
            "+294277-01-01 00:00:00",
            "-290300-01-01 00:00:00",
        ] {
            assert_eq!(parse_timestamp(text, Zone::Without), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn dates_come_back(days in -2_000_000_000_i32..2_000_000_000) {
            let text = format_date(days);
            prop_assert!(parse_date(&text) == Some(days) || text.len() > 15, "{text}");
        }

        #[test]
        fn timestamps_come_back(micros in -400_000_000_000_000_000_i64..i64::MAX) {
            for zone in [Zone::Without, Zone::Utc] {
                let text = format_timestamp(micros, zone);
                prop_assert_eq!(parse_timestamp(&text, zone), Some(micros), "{}", text);
            }
        }

        #[test]
        fn lower_text_is_below_every_form(lower in 0_i64..4_000_000_000_000_000, ahead in 0_i64..200_000_000) {
            let bound = lower_text(lower).expect("the year has four digits");
            let text = format_timestamp(lower + ahead, Zone::Without);
            let forms = [text.clone(), text.replace(' ', "T"), text[..19].to_owned()];
            for form in forms {
                prop_assert!(bound <= form, "{bound} > {form}");
            }
        }
    }
}
