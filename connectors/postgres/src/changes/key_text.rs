//! Values of keys and cursors as text that the server reads back as the same value.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use syncset_connector::{ConnectorError, ErrorClass, Result, special};

const MICROS_PER_SECOND: i64 = 1_000_000;
/// Day 0 of `Date32` in the count of chrono.
const DAYS_TO_1970: i32 = 719_163;
/// The same day in the count that PostgreSQL reads behind a `J`.
const JULIAN_DAY_OF_1970: i64 = 2_440_588;

/// The text form of one value; `None` for NULL.
///
/// # Errors
/// `Unsupported` for a type that no key column is read as.
pub(crate) fn text_of(array: &ArrayRef, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let text = match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Decimal128(_, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            if value == special::DECIMAL_NAN {
                "NaN".to_owned()
            } else {
                decimal_text(value, *scale)
            }
        }
        DataType::FixedSizeBinary(16) => hex(array.as_fixed_size_binary().value(row)),
        DataType::Binary => format!("\\x{}", hex(array.as_binary::<i32>().value(row))),
        DataType::Date32 => date_text(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            time_text(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let value = array.as_primitive::<TimestampMicrosecondType>().value(row);
            timestamp_text(value, zone.is_some())
        }
        other => return Err(unsupported(other)),
    };
    Ok(Some(text))
}

fn unsupported(data_type: &DataType) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        format!("a key or cursor of the Arrow type {data_type} cannot be sent to PostgreSQL"),
    )
}

fn decimal_text(value: i128, scale: i8) -> String {
    let digits = value.unsigned_abs().to_string();
    let sign = if value < 0 { "-" } else { "" };
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn date_text(days: i32) -> String {
    match days {
        special::DATE_INFINITY => return "infinity".to_owned(),
        special::DATE_NEGATIVE_INFINITY => return "-infinity".to_owned(),
        _ => {}
    }
    match days
        .checked_add(DAYS_TO_1970)
        .and_then(NaiveDate::from_num_days_from_ce_opt)
    {
        Some(date) => format!("{}{}", day_text(date), era(date)),
        // Beyond the calendar of chrono the Julian day still is a date of PostgreSQL.
        None => format!("J{}", i64::from(days) + JULIAN_DAY_OF_1970),
    }
}

fn time_text(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        micros.rem_euclid(MICROS_PER_SECOND)
    )
}

fn timestamp_text(micros: i64, has_zone: bool) -> String {
    match micros {
        special::TIMESTAMP_INFINITY => return "infinity".to_owned(),
        special::TIMESTAMP_NEGATIVE_INFINITY => return "-infinity".to_owned(),
        _ => {}
    }
    let zone = if has_zone { "+00" } else { "" };
    let Some(time) = DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc()) else {
        // Beyond the calendar of chrono, as dates are.
        let day_micros = 86_400 * MICROS_PER_SECOND;
        let julian = micros.div_euclid(day_micros) + JULIAN_DAY_OF_1970;
        return format!(
            "J{julian} {}{zone}",
            time_text(micros.rem_euclid(day_micros))
        );
    };
    let date = NaiveDateTime::date(&time);
    format!(
        "{} {}{zone}{}",
        day_text(date),
        time.format("%H:%M:%S%.6f"),
        era(date)
    )
}

fn day_text(date: NaiveDate) -> String {
    let year = if date.year() > 0 {
        date.year()
    } else {
        1 - date.year()
    };
    format!("{year:04}-{:02}-{:02}", date.month(), date.day())
}

fn era(date: NaiveDate) -> &'static str {
    if date.year() > 0 { "" } else { " BC" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Date32Array, Decimal128Array, TimestampMicrosecondArray};
    use std::sync::Arc;

    #[test]
    fn times_are_written_as_the_server_reads_them() {
        let array: ArrayRef = Arc::new(
            TimestampMicrosecondArray::from(vec![
                Some(1_500_000),
                Some(i64::MAX),
                Some(-62_198_755_200_000_000),
                // The server prints it as 262713-07-07 10:00:00.5+00.
                Some((97_675_200 - 2_440_588) * 86_400_000_000 + 36_000_500_000),
                None,
            ])
            .with_timezone("UTC"),
        );
        let texts: Vec<_> = (0..5)
            .map(|row| text_of(&array, row).expect("supported"))
            .collect();

        assert_eq!(texts[0].as_deref(), Some("1970-01-01 00:00:01.500000+00"));
        assert_eq!(texts[1].as_deref(), Some("infinity"));
        assert_eq!(
            texts[2].as_deref(),
            Some("0002-01-01 00:00:00.000000+00 BC")
        );
        assert_eq!(texts[3].as_deref(), Some("J97675200 10:00:00.500000+00"));
        assert_eq!(texts[4], None);
    }

    #[test]
    fn dates_and_decimals_keep_every_digit() {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![0, i32::MIN]));
        let decimals: ArrayRef = Arc::new(
            Decimal128Array::from(vec![-5, 12_345])
                .with_precision_and_scale(12, 3)
                .expect("they fit"),
        );

        assert_eq!(
            text_of(&dates, 0).expect("supported").as_deref(),
            Some("1970-01-01")
        );
        assert_eq!(
            text_of(&dates, 1).expect("supported").as_deref(),
            Some("-infinity")
        );
        assert_eq!(
            text_of(&decimals, 0).expect("supported").as_deref(),
            Some("-0.005")
        );
        assert_eq!(
            text_of(&decimals, 1).expect("supported").as_deref(),
            Some("12.345")
        );
    }
}
