//! Constants of conditions, parsed on our side, so that the server never guesses at one.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

/// Longest number that is sent.
const NUMBER_CHARS_MAX: usize = 200;

/// A plain decimal number, as SQL.
pub(super) fn number(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0
        || text.len() > NUMBER_CHARS_MAX
        || !all_digits(whole)
        || !all_digits(fraction)
    {
        return Err(format!(
            "`{text}` is not a plain number; write it without an exponent"
        ));
    }
    // `int8` keeps an index on an integer column usable; `numeric` holds everything else.
    let sql_type = match text.parse::<i64>() {
        Ok(_) => "int8",
        Err(_) => "numeric",
    };
    Ok(format!("'{text}'::pg_catalog.{sql_type}"))
}

/// A date in ISO form, as SQL.
pub(super) fn date(text: &str) -> Result<String, String> {
    let date = iso_date(text).ok_or_else(|| format!("`{text}` is not a date like `2024-05-31`"))?;
    Ok(format!("'{}'::pg_catalog.date", date.format("%Y-%m-%d")))
}

/// A uuid, as SQL.
pub(super) fn uuid(text: &str) -> Result<String, String> {
    let uuid = uuid::Uuid::try_parse(text)
        .ok()
        .filter(|_| text.len() == 36)
        .ok_or_else(|| format!("`{text}` is not a uuid in its usual form with four hyphens"))?;
    Ok(format!("'{}'::pg_catalog.uuid", uuid.hyphenated()))
}

/// A local time without a zone, as SQL.
pub(super) fn timestamp(text: &str) -> Result<String, String> {
    let (local, offset) = date_time(text)?;
    if offset.is_some() {
        return Err(format!(
            "`{text}` names a zone, and the column holds local times without one"
        ));
    }
    Ok(format!(
        "'{}'::pg_catalog.timestamp",
        local.format("%Y-%m-%d %H:%M:%S%.6f")
    ))
}

/// An instant, as SQL; UTC where the text names no zone.
pub(super) fn timestamptz(text: &str) -> Result<String, String> {
    let (local, offset) = date_time(text)?;
    let instant: DateTime<Utc> = local
        .checked_sub_signed(offset.unwrap_or_default())
        .filter(|utc| in_range(utc.date()))
        .ok_or_else(|| format!("`{text}` is out of range"))?
        .and_utc();
    Ok(format!(
        "'{}+00'::pg_catalog.timestamptz",
        instant.format("%Y-%m-%d %H:%M:%S%.6f")
    ))
}

fn iso_date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10
        && bytes.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !shaped {
        return None;
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .filter(|date| in_range(*date))
}

fn in_range(date: NaiveDate) -> bool {
    use chrono::Datelike;
    (1..=9999).contains(&date.year())
}

fn date_time(text: &str) -> Result<(NaiveDateTime, Option<TimeDelta>), String> {
    let fail =
        || format!("`{text}` is not a time like `2024-05-31 12:00:00` or `2024-05-31T12:00:00Z`");
    let date = text.get(..10).and_then(iso_date).ok_or_else(fail)?;
    let rest = text.get(10..).ok_or_else(fail)?;
    if rest.is_empty() {
        return Ok((date.and_time(NaiveTime::MIN), None));
    }
    let rest = rest.strip_prefix(['T', ' ']).ok_or_else(fail)?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let fraction = clock.split_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.len() > 6 {
        return Err(format!(
            "`{text}` has more than six digits after the second"
        ));
    }
    let shaped = clock
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
    let time = ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|form| NaiveTime::parse_from_str(clock, form).ok())
        // Seconds of 60 have no place on the server.
        .filter(|_| shaped && clock.get(6..8).is_none_or(|second| second != "60"))
        .ok_or_else(fail)?;
    let offset = match zone {
        "" => None,
        "Z" => Some(TimeDelta::zero()),
        _ => Some(zone_offset(zone).ok_or_else(fail)?),
    };
    Ok((date.and_time(time), offset))
}

/// `+02`, `+0200` or `+02:00`.
fn zone_offset(zone: &str) -> Option<TimeDelta> {
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+')?),
    };
    let digits = rest.replacen(':', "", 1);
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = digits
        .get(2..)
        .filter(|part| !part.is_empty())
        .map_or(Some(0), |part| part.parse().ok())?;
    (hours <= 15 && minutes <= 59).then(|| TimeDelta::minutes(sign * (hours * 60 + minutes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_or_refused() {
        assert_eq!(number("12").ok().as_deref(), Some("'12'::pg_catalog.int8"));
        assert_eq!(
            number("-0.50").ok().as_deref(),
            Some("'-0.50'::pg_catalog.numeric")
        );
        assert_eq!(
            number("9223372036854775808").ok().as_deref(),
            Some("'9223372036854775808'::pg_catalog.numeric")
        );
        for wrong in ["", "-", ".", "1e3", "0x10", "1_000", "NaN", "1'", "--1"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_become_utc() {
        for (text, sql) in [
            ("2024-05-31", "2024-05-31 00:00:00.000000"),
            ("2024-05-31T12:00Z", "2024-05-31 12:00:00.000000"),
            ("2024-05-31 12:00:01.5+02:30", "2024-05-31 09:30:01.500000"),
            ("2024-05-31 12:00:00-0800", "2024-05-31 20:00:00.000000"),
        ] {
            assert_eq!(
                timestamptz(text).ok(),
                Some(format!("'{sql}+00'::pg_catalog.timestamptz")),
                "{text}"
            );
        }
        for wrong in [
            "yesterday",
            "2024-02-30",
            "2024-05-31 25:00:00",
            "2024-05-31 12:00:60",
            "2024-05-31 12:00:00.1234567",
            "2024-05-31 12:00:00 Europe/Berlin",
            "infinity",
            "99999-01-01",
        ] {
            assert!(timestamptz(wrong).is_err(), "{wrong}");
        }
        assert!(timestamp("2024-05-31 12:00:00Z").is_err());
    }

    #[test]
    fn dates_and_uuids_have_one_form() {
        assert!(date("2024-05-31").is_ok());
        for wrong in ["2024-5-31", "31.05.2024", "2024-05-31 00:00", "0000-01-01"] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
        assert!(uuid("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11").is_ok());
        assert!(uuid("a0eebc999c0b4ef8bb6d6bb9bd380a11").is_err());
    }
}
