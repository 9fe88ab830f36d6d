//! Conditions that the server evaluates with exactly the meaning the contract gives them.

use super::{bytes, identifier, text};
use crate::civil;
use crate::types::{Parsed, ReadRules, ZeroDates};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use syncset_connector::{Column, Comparison, Literal, Predicate, TableDescription};

/// Digits that the servers compute with exactly.
const DIGITS_MAX: usize = 65;

/// How values of a column are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
    /// Text by its bytes; an enum by its label.
    Text,
}

/// The condition as SQL over the table's own column names, in parentheses.
///
/// # Errors
/// A sentence why the server cannot evaluate it exactly.
pub(crate) fn render(
    table: &TableDescription,
    predicate: &Predicate,
    rules: ReadRules,
) -> Result<String, String> {
    Renderer { table, rules }.render(predicate)
}

struct Renderer<'a> {
    table: &'a TableDescription,
    rules: ReadRules,
}

impl Renderer<'_> {
    fn render(&self, predicate: &Predicate) -> Result<String, String> {
        match predicate {
            Predicate::Compare {
                column,
                comparison,
                literal,
            } => self.compare(self.find(column)?, *comparison, literal),
            Predicate::In {
                column,
                literals,
                negated,
            } => self.one_of(self.find(column)?, literals, *negated),
            Predicate::IsNull { column, negated } => {
                let column = self.find(column)?;
                if self.is_dated(column) && self.rules.zero_dates == ZeroDates::Null {
                    return Err(zero_is_null(column));
                }
                let not = if *negated { "NOT " } else { "" };
                Ok(format!("({} IS {not}NULL)", identifier(&column.name)))
            }
            Predicate::Column(name) => {
                let column = self.find(name)?;
                match self.kind(column)? {
                    Kind::Boolean => Ok(format!("({} <> 0)", identifier(name))),
                    _ => Err(format!("column `{name}` is not a boolean")),
                }
            }
            Predicate::And(parts) => self.join(parts, " AND ", "TRUE"),
            Predicate::Or(parts) => self.join(parts, " OR ", "FALSE"),
            Predicate::Not(part) => Ok(format!("(NOT {})", self.render(part)?)),
        }
    }

    fn join(&self, parts: &[Predicate], word: &str, empty: &str) -> Result<String, String> {
        if parts.is_empty() {
            return Ok(empty.to_owned());
        }
        let parts: Vec<_> = parts
            .iter()
            .map(|part| self.render(part))
            .collect::<Result<_, _>>()?;
        Ok(format!("({})", parts.join(word)))
    }

    fn find(&self, name: &str) -> Result<&Column, String> {
        self.table
            .column(name)
            .ok_or_else(|| format!("table `{}` has no column `{name}`", self.table.name))
    }

    fn compare(
        &self,
        column: &Column,
        comparison: Comparison,
        literal: &Literal,
    ) -> Result<String, String> {
        let kind = self.kind(column)?;
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        if matches!(kind, Kind::Text | Kind::Uuid | Kind::Boolean) && !equality {
            return Err(format!(
                "column `{}` is {}, whose order depends on the server; only =, <> and IN mean \
                 the same everywhere",
                column.name, column.native.name
            ));
        }
        let name = identifier(&column.name);
        let operator = comparison.sql();
        if let (Kind::Boolean, Literal::Boolean(value)) = (kind, literal) {
            // Whatever is neither 0 nor 1 is refused when it is read, so it must be read.
            let is_true = *value == (comparison == Comparison::Equal);
            let operator = if is_true { "<>" } else { "=" };
            return Ok(format!("({name} {operator} 0)"));
        }
        let value = constant(column, kind, literal)?;
        if kind != Kind::Text {
            return Ok(format!("({name} {operator} {value})"));
        }
        let exact = format!("{} {operator} {}", by_bytes(&name), text_bytes(literal));
        Ok(if comparison == Comparison::Equal {
            // The first comparison is implied by the second and may use an index.
            format!("({name} = {value} AND {exact})")
        } else {
            format!("({exact})")
        })
    }

    fn one_of(
        &self,
        column: &Column,
        literals: &[Literal],
        negated: bool,
    ) -> Result<String, String> {
        if literals.is_empty() {
            return Err(format!(
                "the list after IN is empty for column `{}`",
                column.name
            ));
        }
        let kind = self.kind(column)?;
        let name = identifier(&column.name);
        let not = if negated { "NOT " } else { "" };
        let values: Vec<_> = literals
            .iter()
            .map(|literal| constant(column, kind, literal))
            .collect::<Result<_, _>>()?;
        if kind == Kind::Boolean {
            let comparison = if negated {
                Comparison::NotEqual
            } else {
                Comparison::Equal
            };
            let parts: Vec<_> = literals
                .iter()
                .map(|literal| self.compare(column, comparison, literal))
                .collect::<Result<_, _>>()?;
            let word = if negated { " AND " } else { " OR " };
            return Ok(format!("({})", parts.join(word)));
        }
        if kind != Kind::Text {
            return Ok(format!("({name} {not}IN ({}))", values.join(", ")));
        }
        let exact: Vec<_> = literals.iter().map(text_bytes).collect();
        let exact = format!("{} {not}IN ({})", by_bytes(&name), exact.join(", "));
        Ok(if negated {
            format!("({exact})")
        } else {
            format!("({name} IN ({}) AND {exact})", values.join(", "))
        })
    }

    fn is_dated(&self, column: &Column) -> bool {
        matches!(column.data_type, DataType::Date32 | DataType::Timestamp(..))
    }

    fn kind(&self, column: &Column) -> Result<Kind, String> {
        if self.is_dated(column) && self.rules.zero_dates == ZeroDates::Null {
            return Err(zero_is_null(column));
        }
        let parsed = Parsed::of(&column.native.name);
        Ok(match (&column.data_type, parsed.base.as_str()) {
            (data_type, _) if data_type.is_integer() => Kind::Number,
            (DataType::Decimal128(..) | DataType::Decimal256(..), _) => Kind::Number,
            (DataType::Boolean, _) => Kind::Boolean,
            (DataType::Date32, _) => Kind::Date,
            (DataType::Timestamp(TimeUnit::Microsecond, None), _) => Kind::Timestamp,
            (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), _) => Kind::TimestampTz,
            (DataType::FixedSizeBinary(16), "uuid") => Kind::Uuid,
            (
                DataType::Utf8,
                "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum"
                | "set",
            ) => Kind::Text,
            _ => {
                return Err(format!(
                    "column `{}` is {}, whose comparisons do not mean the same everywhere",
                    column.name, column.native.name
                ));
            }
        })
    }
}

fn zero_is_null(column: &Column) -> String {
    format!(
        "dates of `{}` that do not exist are read as NULL, which the server does not do",
        column.name
    )
}

/// A text as its bytes in utf8mb4, whatever its own character set and collation are.
fn by_bytes(name: &str) -> String {
    format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)")
}

fn text_bytes(literal: &Literal) -> String {
    match literal {
        Literal::Text(value) => bytes(value.as_bytes()),
        Literal::Number(_) | Literal::Boolean(_) => "NULL".to_owned(),
    }
}

fn constant(column: &Column, kind: Kind, value: &Literal) -> Result<String, String> {
    let wrong = |expected: &str| {
        Err(format!(
            "column `{}` is {}, so it is compared with {expected}",
            column.name, column.native.name
        ))
    };
    let rendered = match (kind, value) {
        (Kind::Number, Literal::Number(text)) => number(text),
        (Kind::Number, _) => return wrong("a number"),
        (Kind::Boolean, Literal::Boolean(value)) => return Ok(u8::from(*value).to_string()),
        (Kind::Boolean, _) => return wrong("true or false"),
        (Kind::Date, Literal::Text(text)) => date(text),
        (Kind::Timestamp, Literal::Text(text)) => timestamp(text),
        (Kind::TimestampTz, Literal::Text(text)) => timestamp_tz(text),
        (Kind::Uuid, Literal::Text(text)) => uuid(text),
        (Kind::Text, Literal::Text(value)) => return Ok(text(value)),
        _ => return wrong("a text in quotes"),
    };
    rendered.map_err(|sentence| format!("column `{}`: {sentence}", column.name))
}

/// A plain decimal number.
fn number(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(format!(
            "`{text}` is not a plain number; write it without an exponent"
        ));
    }
    if whole.len() + fraction.len() > DIGITS_MAX || fraction.len() > 30 {
        return Err(format!("`{text}` has more digits than the server compares"));
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if text.starts_with('-') { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

fn date(text: &str) -> Result<String, String> {
    let date = iso_date(text).ok_or_else(|| format!("`{text}` is not a date like `2024-05-31`"))?;
    Ok(format!("DATE'{}'", date.format("%Y-%m-%d")))
}

fn uuid(text: &str) -> Result<String, String> {
    let uuid = uuid::Uuid::try_parse(text)
        .ok()
        .filter(|_| text.len() == 36)
        .ok_or_else(|| format!("`{text}` is not a uuid in its usual form with four hyphens"))?;
    Ok(format!("'{}'", uuid.hyphenated()))
}

fn timestamp(text: &str) -> Result<String, String> {
    let (local, offset) = date_time(text)?;
    if offset.is_some() {
        return Err(format!(
            "`{text}` names a zone, and the column holds local times without one"
        ));
    }
    typed(local, text)
}

fn timestamp_tz(text: &str) -> Result<String, String> {
    let (local, offset) = date_time(text)?;
    let instant: DateTime<Utc> = local
        .checked_sub_signed(offset.unwrap_or_default())
        .ok_or_else(|| format!("`{text}` is out of range"))?
        .and_utc();
    // Our sessions have the zone UTC.
    typed(instant.naive_utc(), text)
}

fn typed(time: NaiveDateTime, text: &str) -> Result<String, String> {
    let time = civil::naive_text(time).ok_or_else(|| format!("`{text}` is out of range"))?;
    Ok(format!("TIMESTAMP'{time}'"))
}

fn iso_date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10
        && bytes.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !shaped || text.starts_with("0000") {
        return None;
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
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
    use crate::types::{self, Declared, Flavour};
    use syncset_connector::{TableKind, TableName};

    fn table(columns: &[(&str, &str)], rules: ReadRules) -> TableDescription {
        let column = |(name, column_type): &(&str, &str)| {
            let declared = Declared {
                column_type,
                collation: None,
                is_json: false,
            };
            let (native, data_type) = types::of(declared, Flavour::MariaDb, rules);
            Column {
                name: (*name).to_owned(),
                data_type,
                native,
                nullable: true,
                default: None,
                generated: None,
                stable_id: None,
                readable: true,
            }
        };
        TableDescription {
            name: TableName::bare("t"),
            kind: TableKind::Table,
            columns: columns.iter().map(column).collect(),
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            comments: syncset_connector::Comments::default(),
            row_estimate: None,
            byte_estimate: None,
            storage_identity: serde_json::Value::Null,
            source_identity: serde_json::Value::Null,
            grant: None,
        }
    }

    fn is(column: &str, comparison: Comparison, literal: Literal) -> Predicate {
        Predicate::Compare {
            column: column.to_owned(),
            comparison,
            literal,
        }
    }

    fn rendered(predicate: &Predicate) -> Result<String, String> {
        let columns = [
            ("t", "varchar(9) collate utf8mb4_0900_ai_ci"),
            ("n", "bigint unsigned"),
            ("d", "decimal(9,2)"),
            ("ok", "tinyint(1)"),
            ("day", "date"),
            ("at", "timestamp(6)"),
            ("f", "double"),
            ("j", "json"),
            ("b", "bit(9)"),
            ("u", "uuid"),
        ];
        let rules = ReadRules::default();
        render(&table(&columns, rules), predicate, rules)
    }

    #[test]
    fn text_equality_is_exact_and_may_use_an_index() {
        let sql = rendered(&is("t", Comparison::Equal, Literal::Text("O'x".into())));

        assert_eq!(
            sql.as_deref(),
            Ok(concat!(
                "(`t` = _utf8mb4'O\\'x' AND ",
                "CAST(CONVERT(`t` USING utf8mb4) AS BINARY) = X'4F2778')"
            ))
        );
    }

    #[test]
    fn constants_are_read_on_our_side() {
        let number = |text: &str| Literal::Number(text.into());
        let text = |text: &str| Literal::Text(text.into());
        let cases = [
            (is("n", Comparison::Less, number("-5")), "(`n` < -5)"),
            (is("d", Comparison::Equal, number(".50")), "(`d` = 0.50)"),
            (
                is("day", Comparison::Greater, text("2024-05-31")),
                "(`day` > DATE'2024-05-31')",
            ),
            (
                is("at", Comparison::Equal, text("2024-05-31T12:00:00+02:00")),
                "(`at` = TIMESTAMP'2024-05-31 10:00:00.000000')",
            ),
            (
                is("ok", Comparison::Equal, Literal::Boolean(true)),
                "(`ok` <> 0)",
            ),
            (
                is("ok", Comparison::NotEqual, Literal::Boolean(true)),
                "(`ok` = 0)",
            ),
            (
                Predicate::In {
                    column: "n".into(),
                    literals: vec![number("1"), number("2")],
                    negated: true,
                },
                "(`n` NOT IN (1, 2))",
            ),
        ];
        for (predicate, sql) in cases {
            assert_eq!(rendered(&predicate).as_deref(), Ok(sql));
        }
    }

    #[test]
    fn forms_that_differ_between_stores_are_refused() {
        let text = || Literal::Text("x".into());
        for predicate in [
            is("t", Comparison::Less, text()),
            is("f", Comparison::Equal, Literal::Number("1".into())),
            is("j", Comparison::Equal, text()),
            is("b", Comparison::Equal, text()),
            is("n", Comparison::Equal, text()),
            is("n", Comparison::Equal, Literal::Number("1e3".into())),
            is("u", Comparison::Less, text()),
            is("day", Comparison::Less, Literal::Text("0000-00-00".into())),
            is("absent", Comparison::Equal, text()),
            Predicate::Column("n".to_owned()),
        ] {
            assert!(rendered(&predicate).is_err(), "{predicate:?}");
        }
    }

    #[test]
    fn dates_that_may_be_read_as_null_are_not_compared_by_the_server() {
        let rules = ReadRules {
            zero_dates: ZeroDates::Null,
            ..ReadRules::default()
        };
        let table = table(&[("day", "date")], rules);
        let before = is("day", Comparison::Less, Literal::Text("2024-05-31".into()));

        assert!(render(&table, &before, rules).is_err());
    }
}
