//! Values of arguments that are more than a word or a number.

use std::time::Duration;
use syncset_pipeline::is_variable_name;

/// What to do when another run holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLock {
    Fail,
    Skip,
    Wait(Duration),
}

/// Rows of a table that a run may delete whatever the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedDeletes {
    /// The table, as the pipeline names it.
    pub(crate) table: String,
    /// Rows.
    pub(crate) row_count: u64,
}

pub(super) fn parse_allowed_deletes(text: &str) -> Result<AllowedDeletes, String> {
    let wrong = || "expected a table and a number of rows, such as `public.orders=1200`";
    let (table, count) = text.rsplit_once('=').ok_or_else(wrong)?;
    let row_count = count.trim().parse().map_err(|_| wrong())?;
    if table.trim().is_empty() {
        return Err(wrong().into());
    }
    Ok(AllowedDeletes {
        table: table.trim().to_owned(),
        row_count,
    })
}

pub(super) fn parse_on_lock(text: &str) -> Result<OnLock, String> {
    match text {
        "fail" => Ok(OnLock::Fail),
        "skip" => Ok(OnLock::Skip),
        _ => {
            let duration = text
                .strip_prefix("wait=")
                .ok_or("expected `fail`, `skip` or `wait=5m`")?;
            let duration =
                humantime::parse_duration(duration).map_err(|error| error.to_string())?;
            Ok(OnLock::Wait(duration))
        }
    }
}

pub(super) fn parse_variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected `NAME=value`, without spaces around `=`")?;
    if !is_variable_name(name) {
        return Err(format!(
            "`{name}` is no name of a variable: letters, digits and `_`, no digit first"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Smallest memory budget: below it the buffers of one connection pair do not fit.
const MEMORY_BYTES_MIN: u64 = 4 << 20;

pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        other => return Err(format!("unknown unit `{other}`; write `64MiB`")),
    };
    let count: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "expected bytes, such as `64MiB`")?;
    let bytes = count.checked_mul(unit).ok_or("too many bytes")?;
    if bytes < MEMORY_BYTES_MIN {
        return Err("at least 4MiB are needed".into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_deletes_name_a_table_and_rows() {
        let allowed = |table: &str, row_count| AllowedDeletes {
            table: table.into(),
            row_count,
        };

        let parsed = parse_allowed_deletes("public.orders=1200");
        assert_eq!(parsed, Ok(allowed("public.orders", 1200)));
        let parsed = parse_allowed_deletes("\"a=b\"=0");
        assert_eq!(parsed, Ok(allowed("\"a=b\"", 0)));
        for wrong in ["orders", "orders=", "orders=many", "=5", "orders=-1"] {
            assert!(parse_allowed_deletes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn byte_sizes_and_lock_policies_are_read() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("5000000"), Ok(5_000_000));
        assert!(parse_bytes("1KiB").is_err());
        assert!(parse_bytes("64 parsecs").is_err());
        assert_eq!(
            parse_on_lock("wait=5m"),
            Ok(OnLock::Wait(Duration::from_secs(300)))
        );
        assert!(parse_on_lock("later").is_err());
    }

    #[test]
    fn values_of_variables_may_hold_anything() {
        let read = parse_variable("CRM_URL=postgres://a@b/c?d=e f");

        assert_eq!(
            read,
            Ok(("CRM_URL".into(), "postgres://a@b/c?d=e f".into()))
        );
        assert_eq!(
            parse_variable("EMPTY="),
            Ok(("EMPTY".into(), String::new()))
        );
        assert!(parse_variable("CRM_URL").is_err());
        assert!(parse_variable("crm url=x").is_err());
    }
}
