//! Names and globs of tables, as `tables:` writes them: `public.customers`, `customers`,
//! `public.ref_*`, `public."Order.Items"`.

use globset::{Glob, GlobBuilder, GlobMatcher};
use syncset_connector::TableName;

/// The schema that a name without one means, in stores that have schemas.
pub(crate) const SCHEMA_DEFAULT: &str = "public";

/// Which tables an entry of `tables:` is about.
#[derive(Debug, Clone)]
pub struct TablePattern {
    /// As it is written.
    pub text: String,
    schema: Option<NamePattern>,
    name: NamePattern,
}

/// One part of a name: exact or a glob. A quoted part is always exact.
#[derive(Debug, Clone)]
pub(crate) enum NamePattern {
    /// This name.
    Exact(String),
    /// Every name that matches.
    Glob(GlobMatcher),
}

impl NamePattern {
    /// A glob if the text has `*`, `?` or `[`, else an exact name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Exact(text.to_owned()));
        }
        // Braces are characters like any other: `{a,b}` is no alternation here.
        let escaped = text.replace('{', "[{]").replace('}', "[}]");
        let glob: Result<Glob, _> = GlobBuilder::new(&escaped).literal_separator(false).build();
        match glob {
            Ok(glob) => Ok(Self::Glob(glob.compile_matcher())),
            Err(error) => Err(format!("`{text}` is not a glob: {}", error.kind())),
        }
    }

    /// Whether this name is meant.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Glob(glob) => glob.is_match(name),
        }
    }

    /// True for an exact name.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

impl TablePattern {
    /// Reads a name or glob of one or two parts.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split_parts(text)?
            .into_iter()
            .map(|part| match part {
                Part::Quoted(name) => Ok(NamePattern::Exact(name)),
                Part::Plain(name) => NamePattern::parse(&name),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let name = parts.pop().ok_or("a table's name is empty")?;
        let schema = parts.pop();
        if !parts.is_empty() {
            return Err(format!(
                "`{text}` has more than two parts: a table is `schema.table`, and a name with a \
                 dot is quoted, as in 'public.\"Order.Items\"'"
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            schema,
            name,
        })
    }

    /// True if it names one table, not a glob.
    pub fn is_exact(&self) -> bool {
        self.name.is_exact() && self.schema.as_ref().is_none_or(NamePattern::is_exact)
    }

    /// Whether this table is meant. A pattern without a schema means the schema `public` in a
    /// store with schemas; `main` is the schema of a store without.
    pub fn matches(&self, table: &TableName) -> bool {
        let schema_fits = match (&self.schema, &table.schema) {
            (None, None) => true,
            (None, Some(schema)) => schema == SCHEMA_DEFAULT,
            (Some(pattern), None) => pattern.matches("main"),
            (Some(pattern), Some(schema)) => pattern.matches(schema),
        };
        schema_fits && self.name.matches(&table.name)
    }

    /// Whether an exact name without a schema has this table's name, whatever the schema is.
    pub(crate) fn names_in_any_schema(&self, table: &TableName) -> bool {
        self.schema.is_none() && self.name.is_exact() && self.name.matches(&table.name)
    }
}

/// One part of a dotted name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// `"..."` with its quotes removed.
    Quoted(String),
    /// As written.
    Plain(String),
}

/// Splits a dotted name at the dots outside of double quotes.
pub(crate) fn split_parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) = quoted_name(quoted)
                .ok_or_else(|| format!("`{text}` has a double quote that is not closed"))?;
            parts.push(Part::Quoted(name));
            after
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.contains('"') {
                return Err(format!(
                    "`{text}` has a double quote in the middle of a name"
                ));
            }
            parts.push(Part::Plain(name.to_owned()));
            after
        };
        let (Part::Quoted(last) | Part::Plain(last)) =
            parts.last().expect("a part was pushed above");
        if last.is_empty() {
            return Err(format!("`{text}` has an empty part"));
        }
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(parts),
            None => return Err(format!("`{text}` goes on after a closing double quote")),
        }
    }
}

/// The name up to its closing quote (a doubled quote is one), and what follows.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.peek().is_some_and(|(_, next)| *next == '"') {
            characters.next();
            name.push('"');
        } else {
            return Some((name, text.get(index + 1..)?));
        }
    }
    None
}

/// The name as `tables:` would write it: parts with dots, quotes or glob characters are quoted.
pub fn display(table: &TableName) -> String {
    let quoted = |name: &str| {
        if name.is_empty() || name.contains(['.', '"', '*', '?', '[']) {
            format!("\"{}\"", name.replace('"', "\"\""))
        } else {
            name.to_owned()
        }
    };
    match &table.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&table.name)),
        None => quoted(&table.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_tables_they_name() {
        let cases = [
            ("public.customers", Some("public"), "customers", true),
            ("customers", Some("public"), "customers", true),
            ("customers", Some("crm"), "customers", false),
            ("customers", None, "customers", true),
            ("main.customers", None, "customers", true),
            ("public.ref_*", Some("public"), "ref_colour", true),
            ("public.ref_*", Some("public"), "preref_colour", false),
            ("ref_?", Some("public"), "ref_a", true),
            ("*.*", Some("crm"), "any.thing", true),
            (
                "public.\"Order.Items\"",
                Some("public"),
                "Order.Items",
                true,
            ),
            ("\"ref_*\"", Some("public"), "ref_a", false),
            ("\"ref_*\"", Some("public"), "ref_*", true),
            ("\"a\"\"b\"", None, "a\"b", true),
            ("{a,b}", None, "a", false),
        ];
        for (text, schema, name, expected) in cases {
            let table = TableName {
                schema: schema.map(Into::into),
                name: name.into(),
            };
            let pattern = TablePattern::parse(text).expect(text);
            assert_eq!(pattern.matches(&table), expected, "{text} against {table}");
        }
    }

    #[test]
    fn displayed_names_read_back_as_the_same_table() {
        for name in ["a", "A.b", "q\"q", "st*r", "[x]", "Ä b"] {
            let table = TableName::in_schema("sch.ema", name);
            let pattern = TablePattern::parse(&display(&table)).expect("a displayed name parses");
            assert!(pattern.is_exact() && pattern.matches(&table), "{name}");
        }
    }

    #[test]
    fn broken_names_are_refused() {
        for text in ["", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "a\"b\"", "a[.b"] {
            assert!(TablePattern::parse(text).is_err(), "{text}");
        }
    }
}
