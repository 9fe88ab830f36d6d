//! Dates and times, cut to the start of their year, month, day or hour.

use super::Unfit;
use crate::evaluate::Fault;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate};
use std::sync::Arc;
use syncset_connector::DateUnit;
use syncset_connector::special::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY,
};

const DAY_MICROS: i64 = 86_400_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;

/// Refuses columns that have no such unit.
pub(super) fn check(unit: DateUnit, input: &DataType) -> Result<(), Unfit> {
    match (input, unit) {
        (DataType::Timestamp(TimeUnit::Microsecond, _), _) => Ok(()),
        (DataType::Date32, DateUnit::Year | DateUnit::Month) => Ok(()),
        (DataType::Date32, DateUnit::Day | DateUnit::Hour) => Err(Unfit {
            reason: "a date has nothing smaller than a day, so nothing would be hidden".to_owned(),
            hint: "use `truncate_date: month` or `year`",
        }),
        (other, _) => Err(Unfit {
            reason: format!("it masks dates and times, and the column is {other}"),
            hint: "use `null`, `constant` or `redact`",
        }),
    }
}

/// The starts of the units that the values are in, in UTC. The infinities stay.
pub(super) fn truncated(values: &ArrayRef, unit: DateUnit) -> Result<ArrayRef, Fault> {
    let failed = |row| Fault {
        row: Some(row),
        ..Fault::new("the date is outside of the years that can be computed with")
    };
    match values.data_type() {
        DataType::Date32 => {
            let values = values.as_primitive::<Date32Type>();
            let masked = values.iter().enumerate().map(|(row, value)| {
                let day = |value| match value {
                    DATE_INFINITY | DATE_NEGATIVE_INFINITY => Some(value),
                    value => i32::try_from(day_of(i64::from(value), unit)?).ok(),
                };
                let masked = value.map(|value| day(value).ok_or_else(|| failed(row)));
                masked.transpose()
            });
            let masked: PrimitiveArray<Date32Type> = masked.collect::<Result<_, Fault>>()?;
            Ok(Arc::new(masked))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = values.as_primitive::<TimestampMicrosecondType>();
            let masked = values.iter().enumerate().map(|(row, value)| {
                let moment = |value| match value {
                    TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY => Some(value),
                    value => moment_of(value, unit),
                };
                let masked = value.map(|value| moment(value).ok_or_else(|| failed(row)));
                masked.transpose()
            });
            let masked: PrimitiveArray<TimestampMicrosecondType> =
                masked.collect::<Result<_, Fault>>()?;
            Ok(Arc::new(masked.with_data_type(values.data_type().clone())))
        }
        other => Err(Fault::new(format!("a column of {other} holds no dates"))),
    }
}

fn moment_of(micros: i64, unit: DateUnit) -> Option<i64> {
    match unit {
        DateUnit::Hour => micros.checked_sub(micros.rem_euclid(HOUR_MICROS)),
        DateUnit::Day => micros.checked_sub(micros.rem_euclid(DAY_MICROS)),
        DateUnit::Year | DateUnit::Month => {
            day_of(micros.div_euclid(DAY_MICROS), unit)?.checked_mul(DAY_MICROS)
        }
    }
}

/// Days since 1970 of the start of the unit that this day is in.
fn day_of(days: i64, unit: DateUnit) -> Option<i64> {
    let date = DateTime::from_timestamp(days.checked_mul(86_400)?, 0)?.date_naive();
    let start = match unit {
        DateUnit::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1)?,
        DateUnit::Month => date.with_day(1)?,
        DateUnit::Day | DateUnit::Hour => date,
    };
    let seconds = start.and_hms_opt(0, 0, 0)?.and_utc().timestamp();
    Some(seconds.div_euclid(86_400))
}
