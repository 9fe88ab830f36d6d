//! The `to:` template that names a target table: `crm.{table}`, `{schema}_{table}`.

use crate::nearest::nearest;
use crate::table_pattern::{Part, split_parts};
use syncset_connector::TableName;

/// Placeholders that a template knows.
const PLACEHOLDERS: [&str; 2] = ["schema", "table"];

/// A template of one or two parts. It is split into its parts before names are filled in, so a
/// dot inside a table's name stays inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// As it is written.
    pub text: String,
    parts: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Schema,
    Table,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it, and perhaps a hint.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, Option<String>)> {
        let mut parts = Vec::new();
        for part in split_parts(text).map_err(|message| (message, None))? {
            let (Part::Quoted(part) | Part::Plain(part)) = part;
            parts.push(pieces(&part)?);
        }
        if parts.len() > 2 {
            return Err((
                format!("`{text}` has more than two parts: a target is `schema.table`"),
                None,
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// True if it says which schema.
    pub(crate) fn has_schema_part(&self) -> bool {
        self.parts.len() == 2
    }

    /// True if the source table's schema is needed to fill it in.
    pub(crate) fn needs_schema(&self) -> bool {
        self.parts
            .iter()
            .flatten()
            .any(|piece| *piece == Piece::Schema)
    }

    /// The target of this source table; a missing schema is filled in as nothing.
    pub(crate) fn target(&self, table: &TableName) -> TableName {
        let fill = |pieces: &Vec<Piece>| -> String {
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.as_str(),
                    Piece::Schema => table.schema.as_deref().unwrap_or(""),
                    Piece::Table => table.name.as_str(),
                })
                .collect()
        };
        match self.parts.as_slice() {
            [schema, name] => TableName::in_schema(fill(schema), fill(name)),
            parts => TableName::bare(parts.iter().map(fill).collect::<String>()),
        }
    }
}

fn pieces(part: &str) -> Result<Vec<Piece>, (String, Option<String>)> {
    let mut found = Vec::new();
    let mut rest = part;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        if !before.is_empty() {
            found.push(Piece::Text(before.to_owned()));
        }
        let after = after.strip_prefix('{').unwrap_or(after);
        let Some((name, next)) = after.split_once('}') else {
            return Err((
                format!("`{part}` has a brace that is not closed"),
                Some("write `{schema}` or `{table}`".into()),
            ));
        };
        found.push(match name {
            "schema" => Piece::Schema,
            "table" => Piece::Table,
            other => {
                return Err((
                    format!("unknown placeholder `{{{other}}}`"),
                    Some(match nearest(other, PLACEHOLDERS) {
                        Some(name) => format!("did you mean `{{{name}}}`?"),
                        None => "the placeholders are `{schema}` and `{table}`".into(),
                    }),
                ));
            }
        });
        rest = next;
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fill_in_names() {
        let table = TableName::in_schema("public", "Order.Items");
        let cases = [
            ("crm.{table}", "crm.Order.Items"),
            ("{schema}_{table}", "public_Order.Items"),
            ("{schema}.copy_{table}", "public.copy_Order.Items"),
            ("\"A.b\".x", "A.b.x"),
        ];
        for (text, expected) in cases {
            let template = Template::parse(text).expect(text);
            assert_eq!(template.target(&table).to_string(), expected);
        }
    }

    #[test]
    fn unknown_placeholders_are_refused_with_the_nearest() {
        let error = Template::parse("crm.{tabel}").expect_err("no such placeholder");

        assert_eq!(error.0, "unknown placeholder `{tabel}`");
        assert_eq!(error.1.as_deref(), Some("did you mean `{table}`?"));
    }
}
