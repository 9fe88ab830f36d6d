//! Hashes of rows that the server computes: counts and sums by parts, and the hashes themselves.
//!
//! `hash_record_extended` is the fastest hash of a row that PostgreSQL has, and three of its habits
//! would hide drift:
//! - it is linear in the columns, so a sum over rows would not see two rows that exchange a value.
//!   The row's own ordinal is the seed: the same value hashes otherwise in another row;
//! - whole numbers and times of 64 bits are folded into 32 before they are hashed, so 1 and
//!   4294967296 are alike. They are hashed as their bytes;
//! - it hashes what `=` calls equal alike, such as `1.0` and `1.00`. Every type where that is more
//!   than one value is hashed as its text.

use super::canonical;
use super::read::select_list;
use super::shape::Shape;
use crate::connect::TextRow;
use crate::error;
use crate::sql::{quote_ident, quote_literal};
use crate::types::base_type;
use syncset_connector::{
    CANONICAL_HASH, Column, HashFacts, HashRequest, Ordinal, PartHash, Parts, Result, RowHash,
    TableRead, ValueForm,
};

/// The first version that has the hash.
const VERSION_MIN: u32 = 140_000;

/// Seed of keys and probes. Not 0, which is left out of the hash.
const SEED: i64 = 1;

/// Relation that the parts are listed in; no table of a user has this name.
const LISTED: &str = "\"syncset:parts\"";

/// How the values of a column are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As they are.
    Plain,
    /// As their bytes, by this function.
    Sent(&'static str),
    /// As their text.
    Text,
    /// As their text with the blanks at its end, which a cast would lose.
    Padded,
    /// As the text of their number, which depends on no locale.
    Money,
}

impl Form {
    fn of(column: &Column) -> Self {
        match base_type(&column.native) {
            base if base.ends_with(']') => Self::Text,
            "money" => Self::Money,
            "bpchar" => Self::Padded,
            base if base.starts_with("character(") => Self::Padded,
            // A domain has no hash of its own.
            _ if column.native.definition.is_some() => Self::Text,
            "boolean" | "smallint" | "integer" | "date" | "uuid" | "bytea" => Self::Plain,
            "bigint" => Self::Sent("int8send"),
            base if base.starts_with("timestamp") => match base.ends_with(" with time zone") {
                true => Self::Sent("timestamptz_send"),
                false => Self::Sent("timestamp_send"),
            },
            _ => Self::Text,
        }
    }

    fn sql(self, value: &str) -> String {
        match self {
            Self::Plain => value.to_owned(),
            Self::Sent(function) => format!("pg_catalog.{function}({value})"),
            Self::Text => format!("{value}::pg_catalog.text COLLATE pg_catalog.\"C\""),
            Self::Padded => {
                format!("pg_catalog.textin(pg_catalog.bpcharout({value})) COLLATE pg_catalog.\"C\"")
            }
            Self::Money => {
                format!("{value}::pg_catalog.numeric::pg_catalog.text COLLATE pg_catalog.\"C\"")
            }
        }
    }
}

/// What is known of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HashingServer {
    /// Such as 150018.
    pub(super) version_num: u32,
    /// Such as `UTF8`.
    pub(super) encoding: String,
}

/// The statements about the hashes of one request.
pub(super) struct HashSql<'a> {
    read: &'a TableRead,
    shape: &'a Shape,
    /// The hash of a row.
    hash: String,
    /// Its ordinal.
    ordinal: String,
    by: Ordinal,
}

/// What the server is asked before it hashes, and what is known before it answers.
pub(super) struct Question {
    /// Statements of one row each.
    pub(super) sql: String,
    name: String,
    /// The types that are probed.
    probed: Vec<String>,
    has_key_ordinal: bool,
}

impl<'a> HashSql<'a> {
    /// # Errors
    /// Why the server cannot hash such rows.
    pub(super) fn of(
        read: &'a TableRead,
        shape: &'a Shape,
        request: &HashRequest,
        server: &HashingServer,
    ) -> std::result::Result<Self, String> {
        if let RowHash::Canonical(forms) = &request.hash {
            return Self::canonical(read, shape, (request, forms), server);
        }
        let (ordinal, known) = match request.ordinal {
            Ordinal::Key => match key_number(read) {
                Some(column) => {
                    let place = place(shape, column);
                    (format!("{place}::pg_catalog.int8"), Some(column))
                }
                None => return Err("the key is not one whole number".to_owned()),
            },
            Ordinal::KeyHash => {
                let key = row_of(shape, &read.key_columns(), None);
                let hash = format!("pg_catalog.hash_record_extended({key}, {SEED})");
                (hash, None)
            }
        };
        let row = row_of(shape, &columns(read, &request.columns), known);
        Ok(Self {
            read,
            shape,
            hash: format!("pg_catalog.hash_record_extended({row}, {ordinal})"),
            ordinal,
            by: request.ordinal,
        })
    }

    fn canonical(
        read: &'a TableRead,
        shape: &'a Shape,
        (request, forms): (&HashRequest, &[ValueForm]),
        server: &HashingServer,
    ) -> std::result::Result<Self, String> {
        if server.encoding == "SQL_ASCII" {
            return Err("the database has no encoding (`SQL_ASCII`)".to_owned());
        }
        let columns = columns(read, &request.columns);
        let mut written = Vec::with_capacity(columns.len());
        for (column, form) in columns.iter().zip(forms) {
            let place = place(shape, column);
            written.push(canonical::written(column, &place, *form, &server.encoding)?);
        }
        let ordinal = match (request.ordinal, key_number(read)) {
            (Ordinal::Key, Some(column)) => format!("{}::pg_catalog.int8", place(shape, column)),
            (Ordinal::Key, None) => return Err("the key is not one whole number".to_owned()),
            (Ordinal::KeyHash, _) => {
                let part = |key: &String| {
                    let index = request.columns.iter().position(|name| name == key)?;
                    written.get(index).cloned()
                };
                let parts: Option<Vec<_>> = read.key.iter().map(part).collect();
                canonical::hash(&parts.ok_or("a column of the key is not compared")?)
            }
        };
        Ok(Self {
            read,
            shape,
            hash: canonical::hash(&written),
            ordinal,
            by: request.ordinal,
        })
    }

    /// Count and sum of each part that holds rows.
    pub(super) fn parts(&self, within: Option<&Parts>, shift: u32) -> Result<String> {
        let list = format!(
            "{} >> {shift}, pg_catalog.count(*), pg_catalog.sum({})::pg_catalog.text",
            self.ordinal, self.hash
        );
        self.select(&list, " GROUP BY 1", within)
    }

    /// Smallest and greatest ordinal of some parts.
    pub(super) fn ends(&self, within: &Parts) -> Result<String> {
        let ordinal = &self.ordinal;
        let list = format!("pg_catalog.min({ordinal}), pg_catalog.max({ordinal})");
        self.select(&list, "", Some(within))
    }

    /// Keys and hashes.
    pub(super) fn rows(&self, within: &Parts) -> Result<String> {
        let list = format!("{}, {}", select_list(&self.read.key_columns()), self.hash);
        self.select(&list, "", Some(within))
    }

    fn select(&self, list: &str, tail: &str, within: Option<&Parts>) -> Result<String> {
        let from = &self.shape.from;
        let Some(parts) = within else {
            let selected = self.shape.selected(&[]);
            return Ok(format!("SELECT {list} FROM {from}{selected}{tail}"));
        };
        let numbers = |number: &dyn Fn(&i64) -> i64| {
            let numbers: Vec<_> = parts
                .numbers
                .iter()
                .map(|it| number(it).to_string())
                .collect();
            quote_literal(&format!("{{{}}}", numbers.join(",")))
        };
        match self.by {
            Ordinal::KeyHash => {
                let condition = format!(
                    "({} >> {}) = ANY ({}::pg_catalog.int8[])",
                    self.ordinal,
                    parts.shift,
                    numbers(&|number| *number)?
                );
                let selected = self.shape.selected(&[condition]);
                Ok(format!("SELECT {list} FROM {from}{selected}{tail}"))
            }
            // One look into the index for each part.
            Ordinal::Key => {
                let key = match self.shape.key.first() {
                    Some(key) => key.sql.as_str(),
                    None => self.ordinal.as_str(),
                };
                let width = (1_i64 << parts.shift).wrapping_sub(1);
                let selected = self.shape.selected(&[
                    format!("{key} >= {LISTED}.first"),
                    format!("{key} <= {LISTED}.first + {width}"),
                ]);
                Ok(format!(
                    "SELECT found.* FROM pg_catalog.unnest({}::pg_catalog.int8[]) AS {LISTED}(first) \
                     CROSS JOIN LATERAL (SELECT {list} FROM {from}{selected}{tail}) AS found",
                    numbers(&|number| number.wrapping_shl(parts.shift))?
                ))
            }
        }
    }
}

/// What a server is asked before it hashes.
///
/// # Errors
/// Why it cannot hash such rows.
pub(super) fn question(
    read: &TableRead,
    shape: &Shape,
    request: &HashRequest,
    server: &HashingServer,
) -> std::result::Result<Question, String> {
    if server.version_num < VERSION_MIN {
        return Err("the server is older than PostgreSQL 14".to_owned());
    }
    HashSql::of(read, shape, request, server)?;
    let mut forms = Vec::new();
    let (mut probed, mut probes) = (Vec::new(), Vec::new());
    let own = match &request.hash {
        RowHash::Own => columns(read, &request.columns),
        _ => Vec::new(),
    };
    for column in own {
        let form = Form::of(column);
        let native = without_length(base_type(&column.native));
        forms.push(format!("{form:?}"));
        if let Some(values) = edge_values(native, &server.encoding)
            && !probed.iter().any(|it| it == native)
        {
            let values: Vec<_> = values
                .iter()
                .map(|value| form.sql(&format!("{value}::{native}")))
                .collect();
            probes.push(format!(
                "pg_catalog.hash_record_extended(ROW({}), {SEED})::pg_catalog.text",
                values.join(", ")
            ));
            probed.push(native.to_owned());
        }
    }
    let number = key_number(read).filter(|_| is_indexed(read));
    let ends = match number {
        Some(column) => {
            let (key, from) = (place(shape, column), &shape.from);
            format!(
                "(SELECT pg_catalog.min({key}) FROM {from}), (SELECT pg_catalog.max({key}) FROM {from})"
            )
        }
        None => "NULL, NULL".to_owned(),
    };
    let list: Vec<_> = std::iter::once(ends).chain(probes).collect();
    Ok(Question {
        sql: format!("SELECT {}", list.join(", ")),
        name: match &request.hash {
            RowHash::Own => format!("postgres-record-1:{}:{}", server.encoding, forms.join(",")),
            _ => CANONICAL_HASH.to_owned(),
        },
        probed,
        has_key_ordinal: number.is_some(),
    })
}

impl Question {
    /// Reads the answer.
    pub(super) fn answered(self, row: &TextRow) -> Result<HashFacts> {
        let keys = read_ends(row)?;
        let probes = self.probed.into_iter().enumerate();
        let probes =
            probes.map(|(index, native)| Ok((native, row.required(2 + index)?.to_owned())));
        Ok(HashFacts {
            name: self.name,
            probes: probes.collect::<Result<_>>()?,
            has_key_ordinal: self.has_key_ordinal,
            keys,
        })
    }
}

/// Reads two numbers, both NULL where there is no row.
pub(super) fn read_ends(row: &TextRow) -> Result<Option<(i64, i64)>> {
    match (row.text(0), row.text(1)) {
        (Some(_), Some(_)) => Ok(Some((row.parse(0)?, row.parse(1)?))),
        _ => Ok(None),
    }
}

/// Reads an answer to [`HashSql::parts`].
pub(super) fn read_part(row: &TextRow) -> Result<PartHash> {
    Ok(PartHash {
        number: row.parse(0)?,
        row_count: row.parse(1)?,
        sum: row
            .required(2)?
            .parse()
            .map_err(|_| error::unexpected("the server's sum of hashes is no whole number"))?,
    })
}

fn columns<'a>(read: &'a TableRead, names: &[String]) -> Vec<&'a Column> {
    let column = |name: &String| {
        let column = read.description.column(name);
        column.expect("a request names columns of the description")
    };
    names.iter().map(column).collect()
}

fn place(shape: &Shape, column: &Column) -> String {
    format!("{}.{}", shape.table, quote_ident(&column.name))
}

/// `known`: a column whose bytes need not be hashed, since all of them are in the seed.
fn row_of(shape: &Shape, columns: &[&Column], known: Option<&Column>) -> String {
    let value = |column: &&Column| {
        let form = match known {
            Some(known) if known.name == column.name => Form::Plain,
            _ => Form::of(column),
        };
        form.sql(&place(shape, column))
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    format!("ROW({})", values.join(", "))
}

/// The key, if it is one whole number.
fn key_number(read: &TableRead) -> Option<&Column> {
    let [key] = read.key_columns()[..] else {
        return None;
    };
    let is_number = matches!(key.native.name.as_str(), "smallint" | "integer" | "bigint");
    is_number.then_some(key)
}

/// Whether an index finds rows by their key.
fn is_indexed(read: &TableRead) -> bool {
    let description = &read.description;
    let mut unique = description.unique_keys.iter();
    description.primary_key == read.key || unique.any(|it| it.total && it.columns == read.key)
}

/// The type that holds the values of a type of any length.
fn without_length(native: &str) -> &str {
    match native.split('(').next().unwrap_or(native).trim_end() {
        "character" => "bpchar",
        bare => bare,
    }
}

/// Values of a type that servers may well hash or print differently, as literals.
fn edge_values(native: &str, encoding: &str) -> Option<&'static [&'static str]> {
    const TEXTS: &[&str] = &["''", "' a '", "'NULL'", "'''\\'"];
    const UTF8_TEXTS: &[&str] = &["''", "' a '", "'NULL'", "'''\\'", "'ä€😀'", "'e\u{301}'"];
    Some(match native {
        "boolean" => &["true", "false", "NULL"],
        "smallint" => &["0", "(-1)", "'-32768'", "32767", "NULL"],
        "integer" => &["0", "(-1)", "'-2147483648'", "2147483647", "NULL"],
        "bigint" => &[
            "0",
            "(-1)",
            "1",
            "4294967296",
            "'-9223372036854775808'",
            "'9223372036854775807'",
        ],
        "numeric" => &["'0'", "'-0.5'", "'NaN'", "'7'"],
        "real" => &[
            "'0'",
            "'-0'",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'1e-05'",
            "'1.2345679e+08'",
            "'3.4028235e+38'",
        ],
        "double precision" => &[
            "'0'",
            "'-0'",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'1e-05'",
            "'1e+21'",
            "'0.1'",
            "'1.7976931348623157e+308'",
            "'5e-324'",
        ],
        "date" => &[
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 BC'",
            "'2024-02-29'",
        ],
        "time" | "time without time zone" => &["'24:00'", "'23:59:59.999999'", "'00:00'"],
        "time with time zone" => &["'24:00+00'", "'23:59:59.999999-15:59'"],
        "timestamp" | "timestamp without time zone" => &[
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 00:00 BC'",
            "'2024-03-31 02:30:00.000001'",
        ],
        "timestamp with time zone" => &[
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 00:00+00 BC'",
            "'2024-03-31 02:30:00.000001+02'",
        ],
        "interval" => &[
            "'1 year -2 mons 3 days 04:05:06.000001'",
            "'-00:00:00.5'",
            "'30 days'",
            "'1 mon'",
        ],
        "uuid" => &[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        ],
        "bytea" => &["''", "'\\x00'", "'\\x00ff27'"],
        "json" | "jsonb" => &["'{\"b\": [1, 2.0, 1e2], \"a\": null}'", "'\"\\u0041\"'"],
        "integer[]" | "bigint[]" => &["'{}'", "'{1,NULL,-1}'", "'[2:3]={1,2}'"],
        "text[]" => &["'{}'", "'{\"a b\",NULL,\"\",\"NULL\"}'"],
        "inet" => &["'10.0.0.1'", "'10.0.0.1/8'", "'::1'"],
        "text" | "character varying" | "bpchar" if encoding == "UTF8" => UTF8_TEXTS,
        "text" | "character varying" | "bpchar" => TEXTS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ENGINE, computed_column};
    use arrow_schema::DataType;
    use syncset_connector::{NativeType, TypeDefinition};

    fn column(native: &str) -> Column {
        let mut column = computed_column("c", DataType::Utf8);
        native.clone_into(&mut column.native.name);
        column
    }

    #[test]
    fn types_whose_equal_values_differ_are_hashed_as_texts() {
        for (native, form) in [
            ("boolean", Form::Plain),
            ("uuid", Form::Plain),
            ("bigint", Form::Sent("int8send")),
            (
                "timestamp(3) without time zone",
                Form::Sent("timestamp_send"),
            ),
            ("timestamp with time zone", Form::Sent("timestamptz_send")),
            ("numeric(12,2)", Form::Text),
            ("double precision", Form::Text),
            ("public.mood", Form::Text),
            ("json", Form::Text),
            ("character(5)", Form::Padded),
            ("bpchar", Form::Padded),
            ("character varying(5)", Form::Text),
            ("regclass", Form::Text),
            ("character(5)[]", Form::Text),
            ("timestamp without time zone[]", Form::Text),
            ("money", Form::Money),
        ] {
            assert_eq!(Form::of(&column(native)), form, "{native}");
        }
    }

    #[test]
    fn domains_are_hashed_as_what_they_stand_for() {
        let domain = |base: &str| Column {
            native: NativeType {
                engine: ENGINE.to_owned(),
                name: "public.d".to_owned(),
                as_text: false,
                definition: Some(TypeDefinition::Domain {
                    base: base.to_owned(),
                    needs: None,
                }),
            },
            ..column("d")
        };

        assert_eq!(Form::of(&domain("integer")), Form::Text);
        assert_eq!(Form::of(&domain("bpchar")), Form::Padded);
    }
}
