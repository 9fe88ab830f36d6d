//! `where:` texts and the conditions they mean.

use super::lab::customers;
use crate::condition::predicate;
use crate::sql::{movement, resolve};
use proptest::prelude::*;
use syncset_connector::{Comparison, Literal, Predicate};

fn read(text: &str) -> Result<Predicate, String> {
    let table = customers();
    let resolved = resolve(text, &table).map_err(|problems| problems[0].message.clone())?;
    predicate(&resolved.tree, &table)
}

/// The text of a condition, with every part in parentheses.
fn written(predicate: &Predicate) -> String {
    let name = |column: &str| format!("\"{}\"", column.replace('"', "\"\""));
    let value = |literal: &Literal| match literal {
        Literal::Number(number) => number.clone(),
        Literal::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Literal::Boolean(value) => value.to_string(),
    };
    let joined = |parts: &[Predicate], word: &str| {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| format!("({})", written(part)))
            .collect();
        parts.join(word)
    };
    let not = |negated: &bool| if *negated { "not " } else { "" };
    match predicate {
        Predicate::Compare {
            column,
            comparison,
            literal,
        } => format!("{} {} {}", name(column), comparison.sql(), value(literal)),
        Predicate::In {
            column,
            literals,
            negated,
        } => {
            let values: Vec<_> = literals.iter().map(value).collect();
            format!(
                "{} {}in ({})",
                name(column),
                not(negated),
                values.join(", ")
            )
        }
        Predicate::IsNull { column, negated } => {
            format!("{} is {}null", name(column), not(negated))
        }
        Predicate::Column(column) => name(column),
        Predicate::And(parts) => joined(parts, " and "),
        Predicate::Or(parts) => joined(parts, " or "),
        Predicate::Not(part) => format!("not ({})", written(part)),
    }
}

fn literals() -> impl Strategy<Value = Literal> {
    prop_oneof![
        "-?[1-9][0-9]{0,5}(\\.[0-9]{1,3})?".prop_map(Literal::Number),
        "[a-z'\"\\\\ä%\n]{0,8}".prop_map(Literal::Text),
        any::<bool>().prop_map(Literal::Boolean),
    ]
}

fn predicates() -> impl Strategy<Value = Predicate> {
    let column = || prop::sample::select(vec!["id", "name", "Country", "updated_at"]);
    let comparison = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ]);
    let leaf = prop_oneof![
        (column(), comparison, literals()).prop_map(|(column, comparison, literal)| {
            Predicate::Compare {
                column: column.into(),
                comparison,
                literal,
            }
        }),
        (
            column(),
            prop::collection::vec(literals(), 1..4),
            any::<bool>()
        )
            .prop_map(|(column, literals, negated)| Predicate::In {
                column: column.into(),
                literals,
                negated,
            }),
        (column(), any::<bool>()).prop_map(|(column, negated)| Predicate::IsNull {
            column: column.into(),
            negated,
        }),
        Just(Predicate::Column("active".into())),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Predicate::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Predicate::Or),
            inner.prop_map(|part| Predicate::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #[test]
    fn written_conditions_read_back_as_they_were(predicate in predicates()) {
        prop_assert_eq!(read(&written(&predicate)), Ok(predicate));
    }

    #[test]
    fn quoting_columns_changes_no_meaning(predicate in predicates()) {
        let text = written(&predicate);
        let quoted = resolve(&text, &customers()).expect("it names columns of the table").sql;
        prop_assert_eq!(quoted, text);
    }

    #[test]
    fn no_text_makes_the_condition_reader_panic(text in "[a-z0-9 ()'\"=<>.,:+*\n-]{0,40}") {
        let _ = read(&text);
        let _ = movement(&text);
    }
}

#[test]
fn forms_of_the_common_grammar_are_read() {
    let cases = [
        ("ID = 5", "\"id\" = 5"),
        ("5 < id", "\"id\" > 5"),
        ("id <> - 5", "\"id\" <> -5"),
        ("id != +0.50", "\"id\" <> 0.50"),
        ("id between 1 and 2", "(\"id\" >= 1) and (\"id\" <= 2)"),
        (
            "id not between 1 and 2",
            "not ((\"id\" >= 1) and (\"id\" <= 2))",
        ),
        ("country = 'DE'", "\"Country\" = 'DE'"),
        ("active", "\"active\""),
        ("not active", "not (\"active\")"),
        ("active = false", "\"active\" = false"),
        (
            "active is true",
            "(\"active\" is not null) and (\"active\")",
        ),
        (
            "updated_at >= date '2025-01-01'",
            "\"updated_at\" >= '2025-01-01'",
        ),
        (
            "updated_at >= '2025-01-01'::date",
            "\"updated_at\" >= '2025-01-01'",
        ),
        (
            "updated_at < timestamp '2025-01-01 10:00:00'",
            "\"updated_at\" < '2025-01-01 10:00:00'",
        ),
        (
            "id = 1 and name = 'a' and active",
            "(\"id\" = 1) and (\"name\" = 'a') and (\"active\")",
        ),
        (
            "id = 1 or name = 'a' and active",
            "(\"id\" = 1) or ((\"name\" = 'a') and (\"active\"))",
        ),
        ("name in ('a', 'it''s')", "\"name\" in ('a', 'it''s')"),
    ];
    for (text, expected) in cases {
        assert_eq!(
            read(text).as_ref().map(written).as_deref(),
            Ok(expected),
            "{text}"
        );
    }
}

#[test]
fn forms_that_stores_read_differently_are_refused() {
    for text in [
        "name like 'a%'",
        "id + 1 = 2",
        "id = id",
        "id = null",
        "name",
        "true",
        "1 = 1",
        "id = 1e3",
        "updated_at > date '2025-01-01 10:00'",
        "updated_at > interval '1 day'",
        "cast(id as text) = '1'",
        "id in (1, null)",
        "id is distinct from 1",
        "name = 'a' || 'b'",
    ] {
        assert!(read(text).is_err(), "{text} reads as {:?}", read(text));
    }
}

#[test]
fn columns_are_quoted_and_the_rest_stays_as_written() {
    let cases = [
        ("UPPER(left(name,1))", "UPPER(left(\"name\",1))"),
        ("country || 'country'", "\"Country\" || 'country'"),
        (
            "case when id > 1\n then Name\r\n else 'ä' || NAME end",
            "case when \"id\" > 1\n then \"name\"\r\n else 'ä' || \"name\" end",
        ),
        (
            "extract(year from updated_at)",
            "extract(year from \"updated_at\")",
        ),
        ("'it''''s' || name", "'it''''s' || \"name\""),
    ];
    for (text, expected) in cases {
        let resolved = resolve(text, &customers()).map(|resolved| resolved.sql);
        assert_eq!(resolved.as_deref(), Ok(expected));
    }
}

#[test]
fn clocks_dice_and_sub_queries_are_found() {
    let found = |text: &str| {
        let found = movement(text);
        (
            found.sub_query,
            found.clock.is_some(),
            found.volatile.is_some(),
        )
    };

    for text in [
        "a < now()",
        "a < CURRENT_DATE",
        "d = date('now')",
        "d = datetime()",
    ] {
        assert_eq!(found(text), (false, true, false), "{text}");
    }
    for text in [
        "now = 1",
        "\"current_date\" = 1",
        "a = 'now()'",
        "date(d) = 'x'",
        "random = 1",
    ] {
        assert_eq!(found(text), (false, false, false), "{text}");
    }
    assert_eq!(found("exists (SELECT 1)"), (true, false, false));
    assert_eq!(found("random() < 1"), (false, false, true));
}
