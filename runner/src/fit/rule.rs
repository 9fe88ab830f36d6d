//! What `on_lossy` makes of a column before anything runs. Pure.

use super::{is_text, is_too_fine};
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::{Exactness, OnLossy, TargetColumn, TypeMapping};
use syncset_pipeline::LossyChoice;

/// The column as its values are sent under a choice of the files, and the policy that counts for
/// it. `map` says what a column becomes at the target.
pub(crate) fn carried(
    column: &TargetColumn,
    choice: LossyChoice,
    map: impl Fn(&TargetColumn) -> TypeMapping,
) -> (TargetColumn, OnLossy) {
    let mut carried = column.clone();
    match choice.policy {
        OnLossy::Text if choice.is_named || map(column).exactness.loses() => {
            let text = as_text(column);
            // A text is a text already: what does not fit it is refused.
            match is_text(&column.data_type) && map(&text).native == map(column).native {
                true => (carried, OnLossy::Error),
                false => (text, OnLossy::Text),
            }
        }
        OnLossy::Text => (carried, OnLossy::Error),
        // It could only be cut, which nobody asked for.
        OnLossy::Null if is_too_fine(&column.data_type) && !column.nullable => {
            (carried, OnLossy::Error)
        }
        policy @ (OnLossy::Warn | OnLossy::Null) if is_too_fine(&column.data_type) => {
            carried.data_type = match &column.data_type {
                DataType::Timestamp(_, zone) => {
                    DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                }
                _ => DataType::Time64(TimeUnit::Microsecond),
            };
            (carried, policy)
        }
        policy => (carried, policy),
    }
}

/// The column as the text forms of its values.
fn as_text(column: &TargetColumn) -> TargetColumn {
    TargetColumn {
        data_type: match is_text(&column.data_type) {
            true => column.data_type.clone(),
            false => DataType::Utf8,
        },
        native: None,
        ..column.clone()
    }
}

const STOPS: &str = "the table stops";

/// What a policy does with values of a column that do not fit, in a few words; `None` where all
/// fit.
pub(crate) fn effect(
    policy: OnLossy,
    column: &TargetColumn,
    mapping: &TypeMapping,
    map: impl Fn(&TargetColumn) -> TypeMapping,
) -> Option<String> {
    let is_fine = is_too_fine(&column.data_type);
    Some(match (mapping.exactness, policy) {
        (Exactness::Exact | Exactness::Widened, _) => return None,
        (Exactness::Refused, OnLossy::Error) => "the plan is refused".to_owned(),
        (_, OnLossy::Error) if mapping.stops_table => STOPS.to_owned(),
        (_, OnLossy::Error) => "the row is refused".to_owned(),
        (_, OnLossy::Text) => {
            let choice = LossyChoice {
                policy,
                is_named: true,
            };
            match carried(column, choice, &map) {
                (carried, OnLossy::Text) => {
                    format!("`{}` with the text form", map(&carried).native)
                }
                _ => "it is a text already: the row is refused".to_owned(),
            }
        }
        (Exactness::Refused, _) if !is_fine => "the plan is refused".to_owned(),
        _ if mapping.stops_table => STOPS.to_owned(),
        (_, OnLossy::Null) => "NULL".to_owned(),
        (_, OnLossy::Warn) => nearest(&column.data_type, mapping).to_owned(),
    })
}

/// What the nearest value is.
fn nearest(data_type: &DataType, mapping: &TypeMapping) -> &'static str {
    match data_type {
        // Documents have no near ones.
        _ if mapping.native.starts_with("json") => "NULL",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            "characters that are lacking become `?`, NUL goes, what is too long is cut"
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "rounded; NULL for NaN and what is out of range"
        }
        DataType::Timestamp(..) | DataType::Time64(_) => {
            "digits behind the second are cut; NULL for what is out of range"
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            "what is too long is cut"
        }
        _ => "NULL",
    }
}
