//! Conditions in SQLite's dialect, where they mean exactly what the contract says.
//!
//! SQLite compares by storage class first, so a condition is only rendered for columns whose
//! declared type leaves one class to compare with.

use crate::sql::{identifier, text_literal};
use crate::types::{Affinity, affinity};
use arrow_schema::DataType;
use syncset_connector::{Column, Comparison, Literal, Predicate, TableDescription};

/// Digits of a number that SQLite compares without rounding.
const DIGITS_MAX: usize = 15;

/// Words of a user's condition whose value can change while the row does not.
const UNSTABLE_WORDS: [&str; 9] = [
    "select",
    "random",
    "randomblob",
    "current_timestamp",
    "current_date",
    "current_time",
    "changes",
    "total_changes",
    "last_insert_rowid",
];

/// Functions that read the clock when they are called without a time or with `'now'`.
const CLOCK_FUNCTIONS: [&str; 7] = [
    "date(",
    "time(",
    "datetime(",
    "julianday(",
    "unixepoch(",
    "strftime(",
    "timediff(",
];

/// Renders a condition, or says why it has no exact form here.
pub(crate) fn render(
    table: &TableDescription,
    predicate: &Predicate,
) -> std::result::Result<String, String> {
    Ok(match predicate {
        Predicate::Compare {
            column,
            comparison,
            literal,
        } => compare(find(table, column)?, *comparison, literal)?,
        Predicate::In {
            column,
            literals,
            negated,
        } => {
            let column = find(table, column)?;
            let operand = operand(column, Comparison::Equal)?;
            let list: Vec<String> = literals
                .iter()
                .map(|literal| constant(column, literal))
                .collect::<std::result::Result<_, _>>()?;
            let not = if *negated { "NOT " } else { "" };
            format!("({operand} {not}IN ({}))", list.join(", "))
        }
        Predicate::IsNull { column, negated } => {
            let not = if *negated { "NOT " } else { "" };
            format!("({} IS {not}NULL)", identifier(&find(table, column)?.name))
        }
        Predicate::Column(name) => {
            let column = find(table, name)?;
            if column.data_type != DataType::Boolean {
                return Err(format!("column `{name}` is not a boolean"));
            }
            format!("({} = 1)", identifier(name))
        }
        Predicate::And(parts) => joined(table, parts, " AND ", "1")?,
        Predicate::Or(parts) => joined(table, parts, " OR ", "0")?,
        Predicate::Not(part) => format!("(NOT {})", render(table, part)?),
    })
}

fn joined(
    table: &TableDescription,
    parts: &[Predicate],
    operator: &str,
    neutral: &str,
) -> std::result::Result<String, String> {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| render(table, part))
        .collect::<std::result::Result<_, _>>()?;
    Ok(if parts.is_empty() {
        neutral.to_owned()
    } else {
        format!("({})", parts.join(operator))
    })
}

fn find<'a>(table: &'a TableDescription, name: &str) -> std::result::Result<&'a Column, String> {
    table
        .column(name)
        .ok_or_else(|| format!("`{}` has no column `{name}`", table.name))
}

fn compare(
    column: &Column,
    comparison: Comparison,
    literal: &Literal,
) -> std::result::Result<String, String> {
    let operand = operand(column, comparison)?;
    let constant = constant(column, literal)?;
    Ok(format!("({operand} {} {constant})", comparison.sql()))
}

/// The column as one side of a comparison.
fn operand(column: &Column, comparison: Comparison) -> std::result::Result<String, String> {
    let name = &column.name;
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let declared = affinity(&column.native.name);
    match &column.data_type {
        DataType::Int64 if declared == Affinity::Integer => Ok(identifier(name)),
        DataType::Boolean if equality => Ok(identifier(name)),
        DataType::Decimal128(precision, _)
            if declared == Affinity::Numeric && usize::from(*precision) <= DIGITS_MAX =>
        {
            Ok(identifier(name))
        }
        DataType::Utf8 if declared == Affinity::Text && equality => {
            Ok(format!("{} COLLATE BINARY", identifier(name)))
        }
        DataType::Utf8 if declared == Affinity::Text => Err(format!(
            "text such as `{name}` is ordered by its collation; only = and IN are the same everywhere"
        )),
        DataType::Date32 | DataType::Timestamp(..) | DataType::Time64(_) => Err(format!(
            "SQLite keeps `{name}` as text that may be written in several ways, so it cannot be compared there"
        )),
        other => Err(format!(
            "SQLite does not compare `{name}` (declared `{}`, read as {other}) with one meaning",
            column.native.name
        )),
    }
}

/// The constant as SQLite must see it next to the column.
fn constant(column: &Column, literal: &Literal) -> std::result::Result<String, String> {
    let refuse = |what: &str| {
        Err(format!(
            "{what} cannot be compared with column `{}`",
            column.name
        ))
    };
    match (&column.data_type, literal) {
        (DataType::Boolean, Literal::Boolean(value)) => Ok(if *value { "1" } else { "0" }.into()),
        (DataType::Int64, Literal::Number(number)) => match number.parse::<i64>() {
            Ok(integer) => Ok(parenthesised(integer.to_string())),
            Err(_) => number_of(number).map_or_else(|| refuse("this number"), Ok),
        },
        (DataType::Decimal128(..), Literal::Number(number)) => {
            number_of(number).map_or_else(|| refuse("a number of more than 15 digits"), Ok)
        }
        (DataType::Utf8, Literal::Text(text)) => {
            text_literal(text).map_or_else(|| refuse("text with a NUL"), Ok)
        }
        _ => refuse("a constant of another type"),
    }
}

/// The smallest integer has no literal of its own in SQLite without this.
fn parenthesised(number: String) -> String {
    if number == i64::MIN.to_string() {
        "(-9223372036854775807 - 1)".into()
    } else {
        number
    }
}

/// A plain decimal of few enough digits to be exact.
fn number_of(number: &str) -> Option<String> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    let significant = digits
        .trim_start_matches(['0', '.'])
        .bytes()
        .filter(u8::is_ascii_digit);
    (plain && significant.count() <= DIGITS_MAX).then(|| number.to_owned())
}

/// What of a user's own condition can change while the row does not, if anything.
pub(crate) fn unstable_word(condition: &str) -> Option<&'static str> {
    let lower = condition.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    if let Some(word) = UNSTABLE_WORDS.into_iter().find(|word| words.contains(word)) {
        return Some(word);
    }
    let compact: String = lower.chars().filter(|c| !c.is_whitespace()).collect();
    if compact.contains("'now'") {
        return Some("'now'");
    }
    let bare = |function: &&str| compact.contains(&format!("{function})"));
    CLOCK_FUNCTIONS
        .into_iter()
        .find(bare)
        .map(|function| &function[..function.len() - 1])
}
