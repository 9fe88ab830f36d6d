//! Numbers, sizes and times as people read them.

use std::time::Duration;

/// `1,204,331`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(crate) fn rows(number: u64) -> String {
    counted(number, "row", "rows")
}

/// A number with what it counts: `1 row waits`, `2 rows wait`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    let what = if number == 1 { one } else { many };
    format!("{} {what}", count(number))
}

/// `1.44 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::HumanBytes(number).to_string()
}

/// How long something took: `412 ms`, `12.3 s`, `2 min 5 s`, `3 h 2 min`.
pub(crate) fn duration(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, ms) => format!("{ms} ms"),
        (seconds @ 1..60, ms) => format!("{seconds}.{} s", ms / 100),
        _ => clock(duration),
    }
}

/// Time that goes on, in whole seconds: `12 s`, `2 min 5 s`, `3 h 2 min`.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {} min", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (123_456, "123,456"),
            (1_204_331, "1,204,331"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (ms, taken, going) in [
            (0, "0 ms", "0 s"),
            (999, "999 ms", "0 s"),
            (1_000, "1.0 s", "1 s"),
            (59_999, "59.9 s", "59 s"),
            (60_000, "1 min 0 s", "1 min 0 s"),
            (3_725_000, "1 h 2 min", "1 h 2 min"),
        ] {
            let time = Duration::from_millis(ms);
            assert_eq!(
                (duration(time).as_str(), clock(time).as_str()),
                (taken, going)
            );
        }
    }
}
