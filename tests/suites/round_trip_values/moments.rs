//! Dates, times and instants: the edges of their types first, then random ones.

use super::owned;
use crate::round_trip_forms::{Class, Engine, numbers};
use chrono::{DateTime, NaiveDate};
use rand::Rng;
use rand::rngs::StdRng;

/// Dates that all engines hold.
const DATES: &[&str] = &[
    "0001-01-01",
    "0099-12-31",
    "1000-01-01",
    "1582-10-04",
    "1582-10-10",
    "1900-03-01",
    "1969-12-31",
    "1970-01-01",
    "2000-02-29",
    "2024-02-29",
    "9999-12-31",
];

/// Local times that all engines hold, some of which some zones skip or see twice.
const TIMES: &[&str] = &[
    "0001-01-01 00:00:00",
    "0001-01-01 00:00:00.000001",
    "1000-01-01 00:00:00",
    "1582-10-10 12:00:00",
    "1883-11-18 12:03:57.5",
    "1969-12-31 23:59:59.999999",
    "1970-01-01 00:00:00",
    "2016-12-31 23:59:59",
    "2024-03-10 02:30:00",
    "2024-03-31 02:30:00.1",
    "2024-10-27 01:59:59.999999",
    "2024-10-27 02:30:00",
    "2024-11-03 01:30:00.000001",
    "9999-12-31 23:59:59.999999",
];

/// Spans of a day that all engines hold.
const SPANS: &[&str] = &[
    "00:00:00",
    "00:00:00.000001",
    "12:34:56.789",
    "23:59:59.999999",
    "24:00:00",
];

pub(super) fn dates(engine: Engine, rng: &mut StdRng) -> Vec<String> {
    let own: &[&str] = match engine {
        Engine::Postgres => &[
            "infinity",
            "-infinity",
            "4714-11-24 BC",
            "0001-12-31 BC",
            "0001-02-29 BC",
            "0002-12-31 BC",
            "0044-03-15 BC",
            "10000-01-01",
            "5874897-12-31",
        ],
        Engine::Sqlite => &[
            "infinity",
            "-infinity",
            "-4713-11-24",
            "-4714-01-01",
            "0000-02-29",
            "+10000-01-01",
        ],
        Engine::Mysql | Engine::Mariadb => &["0000-01-01"],
    };
    let mut values = owned(DATES, own);
    for _ in 0..crate::round_trips::more() {
        let day = NaiveDate::from_num_days_from_ce_opt(rng.random_range(1..=3_652_059));
        values.push(day.expect("a day of the years 1 to 9999").to_string());
    }
    values
}

pub(super) fn spans(engine: Engine, native: &str, rng: &mut StdRng) -> Vec<String> {
    let own: &[&str] = match engine {
        Engine::Mysql => &[
            "-838:59:59",
            "838:59:59",
            "-00:00:00.000001",
            "838:59:58.999999",
        ],
        Engine::Mariadb => &[
            "-838:59:59.999999",
            "838:59:59.999999",
            "-00:00:00.000001",
            "838:59:59",
        ],
        Engine::Postgres | Engine::Sqlite => &[],
    };
    let mut values = owned(SPANS, own);
    for _ in 0..crate::round_trips::more() {
        let mut part = |max| rng.random_range(0..max);
        let hours = part(if engine.is_of_mysql() { 838 } else { 24 });
        let sign = if engine.is_of_mysql() && part(2) == 0 {
            "-"
        } else {
            ""
        };
        values.push(format!(
            "{sign}{hours:02}:{:02}:{:02}.{:06}",
            part(60),
            part(60),
            part(1_000_000)
        ));
    }
    cut(values, engine, native)
}

pub(super) fn moments(engine: Engine, native: &str, class: Class, rng: &mut StdRng) -> Vec<String> {
    let is_timestamp = engine.is_of_mysql() && native.starts_with("timestamp");
    let own: &[&str] = match (engine, class) {
        (Engine::Postgres, Class::Local) => &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "0001-12-31 23:59:59.999999 BC",
            "0001-02-29 12:00:00 BC",
            "10000-01-01 00:00:00",
            "294247-01-10 04:00:54.775806",
            "294247-01-10 04:00:54.775809",
            "294276-12-31 23:59:59.999999",
        ],
        (Engine::Postgres, _) => &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "0001-02-29 12:00:00+00 BC",
            "10000-01-01 00:00:00+00",
            "294276-12-31 23:59:59.999999+00",
            "2024-10-27 00:30:00+00",
            "2024-10-27 01:30:00+00",
        ],
        (Engine::Sqlite, Class::Local) => &[
            "infinity",
            "-infinity",
            "2024-03-31T02:30",
            "-0044-03-15 12:00:00",
            "+10000-01-01 00:00:00",
            "-5000-01-01 00:00:00",
        ],
        (Engine::Sqlite, _) => &[
            "2024-10-27 02:30:00+02:00",
            "2024-10-27T02:30:00.5+01:00",
            "2024-10-27 01:30:00Z",
            "infinity",
            "-5000-01-01 00:00:00+00:00",
        ],
        _ if is_timestamp => &[
            "1970-01-01 00:00:01",
            "2038-01-19 03:14:07.999999",
            "2024-03-31 01:00:00",
            "2024-10-27 00:30:00",
            "2024-10-27 01:30:00.000001",
        ],
        _ => &["0000-01-01 00:00:00"],
    };
    let mut values = if is_timestamp {
        owned(&[], own)
    } else {
        owned(TIMES, own)
    };
    for _ in 0..crate::round_trips::more() {
        let (from, to) = match is_timestamp {
            true => (1_000_000, 2_147_483_647_000_000),
            false => (-62_135_596_800_000_000, 253_402_300_799_999_999),
        };
        let moment = DateTime::from_timestamp_micros(rng.random_range(from..=to));
        let moment = moment.expect("an instant of the years 1 to 9999");
        values.push(moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string());
    }
    let mut values = cut(values, engine, native);
    // PostgreSQL would take a text without a zone for local time.
    if engine == Engine::Postgres && class == Class::Instant {
        for value in &mut values {
            if !value.contains(['+', 'i']) {
                value.push_str("+00");
            }
        }
    }
    values
}

/// Without the digits behind the second that a type does not keep: the servers would round, and so
/// step over the end of a range.
fn cut(mut values: Vec<String>, engine: Engine, native: &str) -> Vec<String> {
    let kept = match (numbers(native).first(), engine) {
        (Some(kept), _) => *kept as usize,
        (None, Engine::Mysql | Engine::Mariadb) => 0,
        (None, Engine::Postgres | Engine::Sqlite) => return values,
    };
    for value in &mut values {
        let Some(point) = value.find('.') else {
            continue;
        };
        let digits = value[point + 1..].bytes();
        let count = digits.take_while(u8::is_ascii_digit).count();
        let end = point + 1 + count;
        let begin = match kept {
            0 => point,
            _ => point + 1 + kept.min(count),
        };
        value.replace_range(begin..end, "");
    }
    values
}
