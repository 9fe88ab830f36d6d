//! Hashes of rows that the server computes: counts and sums by parts, and the hashes themselves.
//!
//! The canonical form of rows as SQL of MySQL and MariaDB: see [`ValueForm`].

use super::shape::{Shape, is_unique};
use crate::connect::TextRow;
use crate::error;
use crate::sql::identifier;
use crate::types::{Flavour, Parsed, is_ours};
use arrow_schema::DataType;
use syncset_connector::{
    CANONICAL_HASH, Column, HASH_COLUMN, HashFacts, HashRequest, NativeType, Ordinal, PartHash,
    Parts, Result, RowHash, TableRead, ValueForm,
};

/// Longest form that is written down as it is.
const FORM_BYTES_MAX: usize = 1_024;

/// What a row without a hash adds to a sum, so that the sum tells of it: far more than all rows
/// together. A server gives NULL for a text that is longer than `max_allowed_packet`.
const NO_HASH: i128 = 10_i128.pow(35);

/// Hashes below this are 60 bits.
const HASH_BITS: u32 = 60;

/// The statements about the hashes of one request.
pub(super) struct HashSql<'a> {
    read: &'a TableRead,
    shape: &'a Shape,
    hash: String,
    ordinal: String,
    by: Ordinal,
}

impl<'a> HashSql<'a> {
    /// # Errors
    /// Why the server cannot hash such rows.
    pub(super) fn of(
        read: &'a TableRead,
        shape: &'a Shape,
        request: &HashRequest,
    ) -> std::result::Result<Self, String> {
        let RowHash::Canonical(forms) = &request.hash else {
            return Err("MySQL and MariaDB have no hash of a row".to_owned());
        };
        let mut written = Vec::with_capacity(forms.len());
        for (name, form) in request.columns.iter().zip(forms) {
            let column = read.description.column(name);
            let column = column.expect("a request names columns of the description");
            written.push((name, self::written(column, *form)?));
        }
        let ordinal = match request.ordinal {
            Ordinal::Key => match key_number(read) {
                Some(column) => format!("CAST({} + 0 AS SIGNED)", identifier(&column.name)),
                None => return Err("the key is not one whole number".to_owned()),
            },
            Ordinal::KeyHash => {
                let part = |key: &String| {
                    let mut columns = written.iter();
                    columns
                        .find(|(name, _)| *name == key)
                        .map(|(_, sql)| sql.clone())
                };
                let parts: Option<Vec<_>> = read.key.iter().map(part).collect();
                let parts = parts.ok_or("a column of the key is not compared")?;
                format!("CAST({} AS SIGNED)", hash(&parts))
            }
        };
        let written: Vec<_> = written.into_iter().map(|(_, sql)| sql).collect();
        Ok(Self {
            read,
            shape,
            hash: hash(&written),
            ordinal,
            by: request.ordinal,
        })
    }

    /// Count and sum of each part that holds rows.
    pub(super) fn parts(&self, within: Option<&Parts>, shift: u32) -> String {
        format!(
            "SELECT {} AS part, COUNT(*), {} FROM {}{} GROUP BY part",
            shifted(&self.ordinal, shift),
            sum_of(&self.hash),
            self.shape.from,
            self.selected(within)
        )
    }

    /// Smallest and greatest ordinal of some parts.
    pub(super) fn ends(&self, within: &Parts) -> String {
        let (ordinal, from) = (&self.ordinal, &self.shape.from);
        let conditions = self.conditions(within);
        format!("SELECT MIN({ordinal}), MAX({ordinal}) FROM {from} WHERE {conditions}")
    }

    /// Keys and hashes.
    pub(super) fn rows(&self, within: &Parts) -> String {
        let key: Vec<_> = self.read.key.iter().map(|name| identifier(name)).collect();
        format!(
            "SELECT {}, CAST({} AS SIGNED) FROM {}{}",
            key.join(", "),
            self.hash,
            self.shape.from,
            self.selected(Some(within))
        )
    }

    fn selected(&self, within: Option<&Parts>) -> String {
        let conditions: Vec<_> = within
            .map(|parts| self.conditions(parts))
            .into_iter()
            .collect();
        self.shape.selected(&conditions)
    }

    fn conditions(&self, parts: &Parts) -> String {
        let numbers = parts.numbers.iter();
        match self.by {
            Ordinal::KeyHash => {
                let numbers: Vec<_> = numbers.map(i64::to_string).collect();
                let shifted = shifted(&self.ordinal, parts.shift);
                format!("{shifted} IN ({})", numbers.join(", "))
            }
            // Ranges of the key itself, for its index.
            Ordinal::Key => {
                let name = &self.shape.key[0].sql;
                let width = (1_i64 << parts.shift).wrapping_sub(1);
                let ranges: Vec<_> = numbers
                    .map(|number| {
                        let first = number.wrapping_shl(parts.shift);
                        format!("{name} BETWEEN {first} AND {}", first.wrapping_add(width))
                    })
                    .collect();
                format!("({})", ranges.join(" OR "))
            }
        }
    }
}

/// How the server would hash, and the statement about the ends of its keys.
pub(super) fn facts(
    read: &TableRead,
    shape: &Shape,
    request: &HashRequest,
) -> std::result::Result<(HashFacts, String), String> {
    HashSql::of(read, shape, request)?;
    let number = key_number(read).filter(|_| is_unique(read));
    let ends = match number {
        Some(column) => {
            let name = identifier(&column.name);
            format!("SELECT MIN({name}), MAX({name}) FROM {}", shape.from)
        }
        None => "SELECT NULL, NULL".to_owned(),
    };
    let facts = HashFacts {
        name: CANONICAL_HASH.to_owned(),
        probes: Vec::new(),
        has_key_ordinal: number.is_some(),
        keys: None,
    };
    Ok((facts, ends))
}

/// Reads two numbers, both NULL where there is no row.
pub(super) fn read_ends(row: &TextRow) -> Result<Option<(i64, i64)>> {
    Ok(row.parse_some(0)?.zip(row.parse_some(1)?))
}

/// Reads an answer to [`HashSql::parts`].
///
/// # Errors
/// `Store` if a row has no hash.
pub(super) fn read_part(row: &TextRow) -> Result<PartHash> {
    let sum: i128 = row.parse(2)?;
    if sum >= NO_HASH {
        return Err(
            error::unexpected("the server could not hash every row").with_hint(
                "a value may be longer than its `max_allowed_packet`; compare with `--mode stream`",
            ),
        );
    }
    Ok(PartHash {
        number: row.parse(0)?,
        row_count: row.parse(1)?,
        sum,
    })
}

/// The column that holds the hashes of [`HashSql::rows`].
pub(super) fn hash_column() -> Column {
    Column {
        name: HASH_COLUMN.to_owned(),
        data_type: DataType::Int64,
        native: NativeType {
            engine: Flavour::MySql.engine().to_owned(),
            name: "bigint".to_owned(),
            as_text: false,
            definition: None,
        },
        nullable: false,
        default: None,
        generated: None,
        stable_id: None,
        readable: true,
    }
}

/// `>>` of a signed number. The server shifts as if it had no sign.
fn shifted(ordinal: &str, shift: u32) -> String {
    if shift == 0 {
        return ordinal.to_owned();
    }
    let ones = u64::MAX << (u64::BITS - shift);
    format!("CAST(({ordinal} >> {shift}) | IF({ordinal} < 0, {ones}, 0) AS SIGNED)")
}

/// The hash of what is written of some values: the first 60 bits of its SHA-256.
fn hash(written: &[String]) -> String {
    let digits = HASH_BITS / 4;
    let row = written.join(", ");
    format!("CAST(CONV(LEFT(SHA2(CONCAT({row}), 256), {digits}), 16, 10) AS UNSIGNED)")
}

/// The sum of the hashes of rows, which tells of rows without a hash.
fn sum_of(hash: &str) -> String {
    format!("SUM(IFNULL({hash}, {NO_HASH}))")
}

/// What one value of a column adds to its row. A value that becomes NULL on its way makes the whole
/// row NULL, which is noticed.
///
/// # Errors
/// Why this server does not make the form of such a column.
fn written(column: &Column, form: ValueForm) -> std::result::Result<String, String> {
    let name = identifier(&column.name);
    let (text, is_long) = form_of(column, &name, form)?;
    let whole = format!("CONCAT(LENGTH({text}), ':', {text})");
    let written = match is_long {
        true => format!(
            "IF(LENGTH({text}) > {FORM_BYTES_MAX}, CONCAT('#', SHA2({text}, 256)), {whole})"
        ),
        false => whole,
    };
    Ok(format!("IF({name} IS NULL, '~', {written})"))
}

/// The form of a value as a text, and whether it may be long.
fn form_of(
    column: &Column,
    name: &str,
    form: ValueForm,
) -> std::result::Result<(String, bool), String> {
    let parsed = Parsed::of(&column.native.name);
    let base = parsed.base.as_str();
    let data_type = &column.data_type;
    let unknown = || {
        let (name, native) = (&column.name, &column.native.name);
        format!("column `{name}` is `{native}`, whose values servers spell differently")
    };
    if column.native.as_text || !is_ours(&column.native) {
        return Err(unknown());
    }
    let is_text = matches!(
        base,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
    );
    let text = format!("CONVERT({name} USING utf8mb4) COLLATE utf8mb4_bin");
    let without = |end: char, text: &str| format!("TRIM(TRAILING '{end}' FROM {text})");
    Ok(match (form, data_type) {
        (ValueForm::Number, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale))
            if *scale > 0 =>
        {
            let number = format!("CAST({name} + 0 AS CHAR)");
            (without('.', &without('0', &number)), false)
        }
        (
            ValueForm::Number,
            DataType::Boolean | DataType::Decimal128(..) | DataType::Decimal256(..),
        ) => (format!("CAST({name} + 0 AS CHAR)"), false),
        (ValueForm::Number, number) if number.is_integer() => {
            (format!("CAST({name} + 0 AS CHAR)"), false)
        }
        (ValueForm::Moment, DataType::Timestamp(..)) => {
            let moment = format!("CAST(CAST({name} AS DATETIME(6)) AS CHAR)");
            (without('.', &without('0', &moment)), false)
        }
        (ValueForm::Text, _) if is_text => (text, true),
        (ValueForm::Padded, _) if is_text => (without(' ', &text), true),
        (ValueForm::Bytes, DataType::Binary) if base != "vector" && !is_geometry(base) => {
            (format!("LOWER(HEX({name}))"), true)
        }
        (ValueForm::Bytes, DataType::FixedSizeBinary(16)) => (
            format!("LOWER(REPLACE(CAST({name} AS CHAR), '-', ''))"),
            false,
        ),
        (ValueForm::Printed, DataType::Date32) => (format!("CAST({name} AS CHAR)"), false),
        (ValueForm::Printed, DataType::FixedSizeBinary(16)) => {
            (format!("LOWER(CAST({name} AS CHAR))"), false)
        }
        (ValueForm::Printed, _) if is_text => (text, true),
        _ => return Err(unknown()),
    })
}

fn is_geometry(base: &str) -> bool {
    !matches!(
        base,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
    )
}

/// The key, if it is one whole number that has a sign or fewer than 64 bits.
fn key_number(read: &TableRead) -> Option<&Column> {
    let [key] = read.key_columns()[..] else {
        return None;
    };
    let base = Parsed::of(&key.native.name).base;
    let is_number = matches!(
        base.as_str(),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint"
    );
    let fits = key.data_type.is_integer() && key.data_type != DataType::UInt64;
    (is_number && fits).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_without_a_hash_makes_its_part_an_error() {
        let part = |sum: i128| {
            let values = ["7", "3", &sum.to_string()].map(|text| Some(text.as_bytes().to_vec()));
            read_part(&TextRow(values.into()))
        };
        let hash = (1 << 60) - 1;
        let most = i128::from(u32::MAX) * hash;

        assert_eq!(sum_of("h"), format!("SUM(IFNULL(h, {NO_HASH}))"));
        assert_eq!(part(most).map(|part| part.sum).ok(), Some(most));
        let error = part(NO_HASH + hash).expect_err("two hashes, one of which is missing");
        assert!(error.to_string().contains("could not hash every row"));
    }

    #[test]
    fn parts_of_negative_numbers_are_negative() {
        assert_eq!(shifted("o", 0), "o");
        assert_eq!(
            shifted("o", 4),
            "CAST((o >> 4) | IF(o < 0, 17293822569102704640, 0) AS SIGNED)"
        );
    }
}
