//! Tables that are written once and exist in every engine, and their rows in one canonical form.

use crate::engine::Engine;
use crate::rows::TextRow;

/// Rows of one INSERT.
const INSERT_ROWS_MAX: usize = 500;

/// What a column holds, whatever the engine calls it. The canonical form of its values:
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `-1`, 32 bits.
    Int,
    /// `-1`, 64 bits.
    BigInt,
    /// The text itself, of any length.
    Text,
    /// The text itself, of so many characters; fit for a key, in which bytes decide.
    Key(u16),
    /// `1.5`, without zeros at its end; of so many digits, so many of them behind the point.
    Decimal(u8, u8),
    /// `true` or `false`.
    Bool,
    /// Hexadecimal digits.
    Bytes,
    /// `1.5`, as Rust writes it; 64 bits.
    Float,
    /// `2024-05-01`.
    Date,
    /// `2024-05-01 10:00:00.5`, without zeros at its end; a time of no zone.
    Local,
    /// The same, in UTC; a moment.
    Instant,
    /// Lower case with hyphens.
    Uuid,
    /// The text, which is to be written as MySQL writes it: `{"a": 1}`.
    Json,
    /// The moment at which a row was written. Not part of the content of a table.
    Stamp,
}

/// A table for any engine.
#[derive(Debug, Clone)]
pub struct SampleTable {
    name: String,
    columns: Vec<(String, Kind)>,
    key: Vec<String>,
    /// Further parts of its DDL.
    constraints: Vec<String>,
}

/// A row of texts.
pub fn text_row<const N: usize>(values: [&str; N]) -> TextRow {
    values.map(|value| Some(value.to_owned())).to_vec()
}

impl SampleTable {
    /// A table whose columns are named in their order; `key` may be empty.
    pub fn new(name: &str, columns: &[(&str, Kind)], key: &[&str]) -> Self {
        let own = |(column, kind): &(&str, Kind)| ((*column).to_owned(), *kind);
        Self {
            name: name.to_owned(),
            columns: columns.iter().map(own).collect(),
            key: key.iter().map(|column| (*column).to_owned()).collect(),
            constraints: Vec::new(),
        }
    }

    /// The same with a condition that its rows must meet; it names columns without quotes.
    pub fn with_check(self, check: &str) -> Self {
        self.with(format!("CHECK ({check})"))
    }

    /// The same with a further unique key, of a column that needs no quotes.
    pub fn with_unique(self, column: &str) -> Self {
        self.with(format!("UNIQUE ({column})"))
    }

    fn with(mut self, constraint: String) -> Self {
        self.constraints.push(constraint);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn ddl(&self, engine: Engine) -> String {
        let mut parts: Vec<_> = self
            .columns
            .iter()
            .map(|(name, kind)| {
                let not_null = if self.key.contains(name) {
                    " NOT NULL"
                } else {
                    ""
                };
                format!(
                    "{} {}{not_null}",
                    engine.quoted(name),
                    engine.column_type(*kind)
                )
            })
            .collect();
        if !self.key.is_empty() {
            let key: Vec<_> = self.key.iter().map(|name| engine.quoted(name)).collect();
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        parts.extend(self.constraints.iter().cloned());
        format!(
            "CREATE TABLE {} ({})",
            engine.quoted(&self.name),
            parts.join(", ")
        )
    }

    pub(crate) fn inserts(&self, engine: Engine, rows: &[TextRow]) -> Vec<String> {
        let width = rows.first().map_or(0, Vec::len);
        let columns = &self.columns[..width];
        let names: Vec<_> = columns
            .iter()
            .map(|(name, _)| engine.quoted(name))
            .collect();
        let head = format!(
            "INSERT INTO {} ({}) VALUES",
            engine.quoted(&self.name),
            names.join(", ")
        );
        let line = |row: &TextRow| {
            assert_eq!(row.len(), width, "rows of one call end alike");
            let values = columns.iter().zip(row);
            let values = values.map(|((_, kind), value)| engine.literal(*kind, value.as_deref()));
            format!("({})", values.collect::<Vec<_>>().join(", "))
        };
        rows.chunks(INSERT_ROWS_MAX)
            .map(|rows| {
                format!(
                    "{head} {}",
                    rows.iter().map(line).collect::<Vec<_>>().join(",\n")
                )
            })
            .collect()
    }

    pub(crate) fn update(
        &self,
        engine: Engine,
        (column, value): (&str, Option<&str>),
        at: (&str, &str),
    ) -> String {
        let stamps = self.columns.iter().filter(|(_, kind)| *kind == Kind::Stamp);
        let stamps: String = stamps
            .map(|(name, _)| format!(", {} = {}", engine.quoted(name), engine.now()))
            .collect();
        format!(
            "UPDATE {} SET {} = {}{stamps} WHERE {}",
            engine.quoted(&self.name),
            engine.quoted(column),
            engine.literal(self.kind(column), value),
            self.condition(engine, at)
        )
    }

    pub(crate) fn delete(&self, engine: Engine, at: (&str, &str)) -> String {
        let table = engine.quoted(&self.name);
        format!("DELETE FROM {table} WHERE {}", self.condition(engine, at))
    }

    pub(crate) fn count(&self, engine: Engine) -> String {
        format!("SELECT count(*) FROM {}", engine.quoted(&self.name))
    }

    pub(crate) fn select(&self, engine: Engine) -> String {
        let columns = self
            .shown()
            .map(|(name, kind)| engine.text_of(*kind, &engine.quoted(name)));
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("SELECT {columns} FROM {}", engine.quoted(&self.name))
    }

    /// Rows of [`select`](Self::select) in their canonical form, sorted.
    pub(crate) fn canonical(&self, rows: Vec<TextRow>) -> Vec<TextRow> {
        let row = |row: TextRow| -> TextRow {
            let values = row.into_iter().zip(self.shown());
            let values = values.map(|(value, (_, kind))| value.map(|text| canonical(*kind, text)));
            values.collect()
        };
        sorted(rows.into_iter().map(row).collect())
    }

    fn shown(&self) -> impl Iterator<Item = &(String, Kind)> {
        self.columns.iter().filter(|(_, kind)| *kind != Kind::Stamp)
    }

    fn kind(&self, column: &str) -> Kind {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found
            .unwrap_or_else(|| panic!("no column {column} in {}", self.name))
            .1
    }

    fn condition(&self, engine: Engine, (column, value): (&str, &str)) -> String {
        let value = engine.literal(self.kind(column), Some(value));
        format!("{} = {value}", engine.quoted(column))
    }
}

/// Rows in the order in which [`AnyDatabase::content`](crate::AnyDatabase::content) gives them.
pub fn sorted(mut rows: Vec<TextRow>) -> Vec<TextRow> {
    rows.sort();
    rows
}

fn canonical(kind: Kind, text: String) -> String {
    match kind {
        Kind::Bool => matches!(text.as_str(), "t" | "1").to_string(),
        Kind::Decimal(..) => without_zeros(&text),
        Kind::Float => {
            let float: f64 = text.parse().unwrap_or_else(|_| panic!("no float: {text}"));
            format!("{float:?}")
        }
        Kind::Local => without_zeros(&text.replace('T', " ")),
        Kind::Instant | Kind::Stamp => {
            let text = text.replace('T', " ");
            let zones = ["+00:00", "+00", "Z"];
            let moment = zones.iter().find_map(|zone| text.strip_suffix(zone));
            without_zeros(moment.unwrap_or(&text))
        }
        Kind::Uuid => text.to_lowercase(),
        Kind::Int
        | Kind::BigInt
        | Kind::Text
        | Kind::Key(_)
        | Kind::Bytes
        | Kind::Date
        | Kind::Json => text,
    }
}

/// A number or time without zeros at the end of its fraction.
fn without_zeros(text: &str) -> String {
    if !text.contains('.') {
        return text.to_owned();
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_engines_have_one_canonical_form() {
        let cases = [
            (Kind::Bool, ["t", "1"], "true"),
            (Kind::Decimal(9, 2), ["100.50", "100.5"], "100.5"),
            (Kind::Decimal(9, 0), ["100", "100"], "100"),
            (Kind::Float, ["1e100", "1e+100"], "1e100"),
            (
                Kind::Local,
                ["2024-05-01 10:00:00", "2024-05-01T10:00:00.000000"],
                "2024-05-01 10:00:00",
            ),
            (
                Kind::Instant,
                [
                    "2024-05-01 10:00:00.5+00",
                    "2024-05-01 10:00:00.500000+00:00",
                ],
                "2024-05-01 10:00:00.5",
            ),
            (Kind::Text, ["10.00", "10.00"], "10.00"),
        ];
        for (kind, spellings, form) in cases {
            for spelling in spellings {
                assert_eq!(canonical(kind, spelling.to_owned()), form, "{kind:?}");
            }
        }
    }
}
