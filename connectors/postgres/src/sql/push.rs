//! Conditions that the server evaluates with exactly the meaning the contract gives them.

use super::{literal, quote_ident, quote_literal};
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::{Column, Comparison, Literal, Predicate, TableDescription, TypeDefinition};

/// How values of a column are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
    /// Text by its bytes.
    Text,
    /// An enumeration, by its label.
    Label,
}

/// Whether the server can evaluate the condition exactly; a sentence why not.
pub(crate) fn can_push(table: &TableDescription, predicate: &Predicate) -> Result<(), String> {
    render(table, predicate).map(|_| ())
}

/// The condition as SQL over the table's own column names, in parentheses.
///
/// # Errors
/// A sentence why the server cannot evaluate it exactly.
pub(crate) fn render(table: &TableDescription, predicate: &Predicate) -> Result<String, String> {
    match predicate {
        Predicate::Compare {
            column,
            comparison,
            literal,
        } => compare(find(table, column)?, *comparison, literal),
        Predicate::In {
            column,
            literals,
            negated,
        } => one_of(find(table, column)?, literals, *negated),
        Predicate::IsNull { column, negated } => Ok(is_null(find(table, column)?, *negated)),
        Predicate::Column(column) => {
            let column = find(table, column)?;
            match kind(column)? {
                Kind::Boolean => Ok(quote_ident(&column.name)),
                _ => Err(format!("column `{}` is not a boolean", column.name)),
            }
        }
        Predicate::And(parts) => join(table, parts, " AND ", "true"),
        Predicate::Or(parts) => join(table, parts, " OR ", "false"),
        Predicate::Not(part) => Ok(format!("(NOT {})", render(table, part)?)),
    }
}

fn join(
    table: &TableDescription,
    parts: &[Predicate],
    word: &str,
    empty: &str,
) -> Result<String, String> {
    if parts.is_empty() {
        return Ok(empty.to_owned());
    }
    let parts: Vec<_> = parts
        .iter()
        .map(|part| render(table, part))
        .collect::<Result<_, _>>()?;
    Ok(format!("({})", parts.join(word)))
}

fn find<'a>(table: &'a TableDescription, name: &str) -> Result<&'a Column, String> {
    table
        .column(name)
        .ok_or_else(|| format!("table `{}` has no column `{name}`", table.name))
}

/// `IS NULL` on a row value asks whether all of its fields are NULL; this form never does.
fn is_null(column: &Column, negated: bool) -> String {
    let name = quote_ident(&column.name);
    if column.native.definition.is_some() {
        let word = if negated { "" } else { "NOT " };
        format!("({name} IS {word}DISTINCT FROM NULL)")
    } else {
        let word = if negated { "NOT " } else { "" };
        format!("({name} IS {word}NULL)")
    }
}

fn compare(column: &Column, comparison: Comparison, literal: &Literal) -> Result<String, String> {
    let kind = kind(column)?;
    let by_bytes = matches!(kind, Kind::Text | Kind::Label);
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if by_bytes && !equality {
        return Err(format!(
            "column `{}` is text, whose order depends on the server; only =, <> and IN mean the same everywhere",
            column.name
        ));
    }
    let name = quote_ident(&column.name);
    let value = constant(column, kind, literal)?;
    let operator = format!("OPERATOR(pg_catalog.{})", comparison.sql());
    Ok(match kind {
        Kind::Label => format!("({name}::pg_catalog.text COLLATE \"C\" {operator} {value})"),
        Kind::Text => {
            let exact = format!("{name}::pg_catalog.text COLLATE \"C\" {operator} {value}");
            if comparison == Comparison::Equal {
                // The first comparison is implied by the second and may use an index.
                format!("({name} {operator} {value} AND {exact})")
            } else {
                format!("({exact})")
            }
        }
        _ => format!("({name} {operator} {value})"),
    })
}

fn one_of(column: &Column, literals: &[Literal], negated: bool) -> Result<String, String> {
    let kind = kind(column)?;
    if matches!(kind, Kind::Text | Kind::Label) && !literals.is_empty() {
        return one_of_texts(column, kind, literals, negated);
    }
    let comparison = if negated {
        Comparison::NotEqual
    } else {
        Comparison::Equal
    };
    let parts: Vec<_> = literals
        .iter()
        .map(|literal| compare(column, comparison, literal))
        .collect::<Result<_, _>>()?;
    if parts.is_empty() {
        return Err(format!(
            "the list after IN is empty for column `{}`",
            column.name
        ));
    }
    let word = if negated { " AND " } else { " OR " };
    Ok(format!("({})", parts.join(word)))
}

/// One list rather than a comparison per text: an index is asked once, and long lists are hashed.
fn one_of_texts(
    column: &Column,
    kind: Kind,
    literals: &[Literal],
    negated: bool,
) -> Result<String, String> {
    let values: Vec<_> = literals
        .iter()
        .map(|literal| constant(column, kind, literal))
        .collect::<Result<_, _>>()?;
    let list = format!("(ARRAY[{}])", values.join(", "));
    let name = quote_ident(&column.name);
    let exact = format!("{name}::pg_catalog.text COLLATE \"C\"");
    Ok(match (kind, negated) {
        (_, true) => format!("({exact} OPERATOR(pg_catalog.<>) ALL {list})"),
        // The first comparison is implied by the second and may use an index.
        (Kind::Text, false) => format!(
            "({name} OPERATOR(pg_catalog.=) ANY {list} AND {exact} OPERATOR(pg_catalog.=) ANY {list})"
        ),
        (_, false) => format!("({exact} OPERATOR(pg_catalog.=) ANY {list})"),
    })
}

fn constant(column: &Column, kind: Kind, value: &Literal) -> Result<String, String> {
    let wrong = |expected: &str| {
        Err(format!(
            "column `{}` is {}, so it is compared with {expected}",
            column.name, column.native.name
        ))
    };
    let text = match (kind, value) {
        (Kind::Number, Literal::Number(text)) => literal::number(text),
        (Kind::Number, _) => return wrong("a number"),
        (Kind::Boolean, Literal::Boolean(value)) => return Ok(value.to_string()),
        (Kind::Boolean, _) => return wrong("true or false"),
        (Kind::Date, Literal::Text(text)) => literal::date(text),
        (Kind::Timestamp, Literal::Text(text)) => literal::timestamp(text),
        (Kind::TimestampTz, Literal::Text(text)) => literal::timestamptz(text),
        (Kind::Uuid, Literal::Text(text)) => literal::uuid(text),
        (Kind::Text | Kind::Label, Literal::Text(text)) => quote_literal(text)
            .map(|quoted| format!("{quoted}::pg_catalog.text"))
            .map_err(|error| error.message),
        _ => return wrong("a text in quotes"),
    };
    text.map_err(|sentence| format!("column `{}`: {sentence}", column.name))
}

fn kind(column: &Column) -> Result<Kind, String> {
    let base = match &column.native.definition {
        Some(TypeDefinition::Domain { base, needs: None }) => base.as_str(),
        Some(TypeDefinition::Enum { .. }) => return Ok(Kind::Label),
        Some(_) => return Err(not_exact(column)),
        None => column.native.name.as_str(),
    };
    let name = base.split('(').next().unwrap_or(base).trim_end();
    let kind = match (&column.data_type, name) {
        (DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..), _) => {
            Kind::Number
        }
        (DataType::Utf8, "numeric") => Kind::Number,
        (DataType::Boolean, _) => Kind::Boolean,
        (DataType::Date32, _) => Kind::Date,
        (DataType::Timestamp(TimeUnit::Microsecond, None), _) => Kind::Timestamp,
        (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), _) => Kind::TimestampTz,
        (DataType::FixedSizeBinary(16), _) => Kind::Uuid,
        (DataType::Utf8, "text" | "character varying") => Kind::Text,
        _ => return Err(not_exact(column)),
    };
    Ok(kind)
}

fn not_exact(column: &Column) -> String {
    format!(
        "column `{}` is {}, whose comparisons do not mean the same everywhere",
        column.name, column.native.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncset_connector::{NativeType, TableKind, TableName};

    fn table(columns: &[(&str, DataType, &str, Option<TypeDefinition>)]) -> TableDescription {
        TableDescription {
            name: TableName::in_schema("public", "t"),
            kind: TableKind::Table,
            columns: columns
                .iter()
                .map(|(name, data_type, native, definition)| Column {
                    name: (*name).to_owned(),
                    data_type: data_type.clone(),
                    native: NativeType {
                        engine: "postgres".to_owned(),
                        name: (*native).to_owned(),
                        as_text: false,
                        definition: definition.clone(),
                    },
                    nullable: true,
                    default: None,
                    generated: None,
                    stable_id: None,
                    readable: true,
                })
                .collect(),
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

    #[test]
    fn text_equality_is_exact_and_may_use_an_index() {
        let table = table(&[("name", DataType::Utf8, "character varying(10)", None)]);

        let sql = render(
            &table,
            &is("name", Comparison::Equal, Literal::Text("O'x".into())),
        );

        assert_eq!(
            sql.as_deref(),
            Ok(concat!(
                "(\"name\" OPERATOR(pg_catalog.=) 'O''x'::pg_catalog.text AND ",
                "\"name\"::pg_catalog.text COLLATE \"C\" OPERATOR(pg_catalog.=) 'O''x'::pg_catalog.text)"
            ))
        );
    }

    #[test]
    fn forms_that_differ_between_stores_are_refused() {
        let citext = TypeDefinition::Extension {
            extension: "citext".to_owned(),
        };
        let table = table(&[
            ("t", DataType::Utf8, "text", None),
            ("c", DataType::Utf8, "public.citext", Some(citext)),
            ("b", DataType::Utf8, "character(3)", None),
            ("f", DataType::Float64, "double precision", None),
            ("n", DataType::Int32, "integer", None),
        ]);
        let text = || Literal::Text("x".into());

        for predicate in [
            is("t", Comparison::Less, text()),
            is("c", Comparison::Equal, text()),
            is("b", Comparison::Equal, text()),
            is("f", Comparison::Equal, Literal::Number("1".into())),
            is("n", Comparison::Equal, text()),
            is("absent", Comparison::Equal, text()),
            Predicate::Column("n".to_owned()),
        ] {
            assert!(can_push(&table, &predicate).is_err(), "{predicate:?}");
        }
    }

    #[test]
    fn logic_keeps_its_parentheses() {
        let table = table(&[
            ("n", DataType::Int32, "integer", None),
            ("ok", DataType::Boolean, "boolean", None),
        ]);
        let predicate = Predicate::Not(Box::new(Predicate::Or(vec![
            Predicate::Column("ok".to_owned()),
            Predicate::IsNull {
                column: "n".to_owned(),
                negated: true,
            },
        ])));

        assert_eq!(
            render(&table, &predicate).as_deref(),
            Ok("(NOT (\"ok\" OR (\"n\" IS NOT NULL)))")
        );
    }
}
