//! Conditions that a PostgreSQL source evaluates select what they mean.

use crate::read_lab::{describe_one, open, read_all};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use syncset_connector::{Comparison, Filter, Literal, Predicate};

fn compare(column: &str, comparison: Comparison, literal: Literal) -> Predicate {
    Predicate::Compare {
        column: column.to_owned(),
        comparison,
        literal,
    }
}

fn any_of(column: &str, literals: &[&str], negated: bool) -> Predicate {
    Predicate::In {
        column: column.to_owned(),
        literals: literals
            .iter()
            .map(|text| Literal::Text((*text).to_owned()))
            .collect(),
        negated,
    }
}

#[tokio::test]
async fn pushed_conditions_select_what_they_mean() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let database = kit::postgres().await.database("read").await;
    database
        .execute(
            "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'ok');
             CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE t (id int PRIMARY KEY, n int8, d numeric(10, 2), free numeric, ok bool,
               day date, at timestamptz, u uuid, name text, loose text COLLATE loose, mood mood,
               ci citext, pair int4range);
             INSERT INTO t VALUES
               (1, 5, 1.50, 1.5, true, '2024-05-31', '2024-05-31 12:00:00+02',
                'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Ann', 'Ann', 'sad', 'Ann', '[1,2)'),
               (2, -7, 2, 1e30, false, '0044-03-15 BC', 'infinity',
                '00000000-0000-0000-0000-000000000000', 'ann', 'ANN', 'ok', 'x', NULL),
               (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
               (4, 9223372036854775807, -3.25, 'NaN', true, 'infinity', '1970-01-01 00:00:00+00',
                'ffffffff-ffff-ffff-ffff-ffffffffffff', 'it''s \\ ', 'ann', 'ok', 'ANN', 'empty')",
        )
        .await;
    let store = open(&database.url()).await.expect("opens");
    let description = describe_one(store.as_ref(), "t").await;
    let number = |text: &str| Literal::Number(text.to_owned());
    let text = |text: &str| Literal::Text(text.to_owned());
    let cases = [
        (compare("n", Greater, number("4.5")), vec![1, 4]),
        (compare("n", LessOrEqual, number("-7")), vec![2]),
        (
            compare("n", Less, number("9223372036854775808")),
            vec![1, 2, 4],
        ),
        (compare("d", Equal, number("1.5")), vec![1]),
        (
            compare("free", GreaterOrEqual, number("1.50")),
            vec![1, 2, 4],
        ),
        (compare("ok", NotEqual, Literal::Boolean(true)), vec![2]),
        (Predicate::Column("ok".to_owned()), vec![1, 4]),
        (compare("day", Greater, text("2024-05-30")), vec![1, 4]),
        (compare("at", Equal, text("2024-05-31T10:00:00Z")), vec![1]),
        (compare("at", Less, text("2024-05-31")), vec![4]),
        (
            compare(
                "u",
                GreaterOrEqual,
                text("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
            ),
            vec![1, 4],
        ),
        (compare("name", Equal, text("ann")), vec![2]),
        (compare("name", Equal, text("it's \\ ")), vec![4]),
        (compare("name", NotEqual, text("ann")), vec![1, 4]),
        (compare("loose", Equal, text("ann")), vec![4]),
        (compare("loose", NotEqual, text("ann")), vec![1, 2]),
        (any_of("loose", &["ann", "Ann"], false), vec![1, 4]),
        (any_of("name", &["ann", "x"], true), vec![1, 4]),
        (compare("mood", Equal, text("ok")), vec![2, 4]),
        (compare("mood", Equal, text("no such label")), vec![]),
        (
            Predicate::IsNull {
                column: "ci".to_owned(),
                negated: false,
            },
            vec![3],
        ),
        (
            Predicate::Not(Box::new(Predicate::And(vec![
                compare("n", Greater, number("0")),
                compare("name", Equal, text("Ann")),
            ]))),
            vec![2, 4],
        ),
        (
            Predicate::Or(vec![
                compare("id", Equal, number("3")),
                compare("d", Less, number("0")),
            ]),
            vec![3, 4],
        ),
    ];

    let source = store.source().expect("a source");
    for (predicate, expected) in cases {
        source
            .can_push(&description, &predicate)
            .expect("can be pushed");
        let batches = read_all(
            store.as_ref(),
            description.clone(),
            Filter::Predicate(predicate.clone()),
        )
        .await
        .expect("reads");
        let mut ids: Vec<i32> = batches
            .iter()
            .flat_map(|batch| {
                batch
                    .column(0)
                    .as_primitive::<Int32Type>()
                    .values()
                    .to_vec()
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{predicate:?}");
    }
    for predicate in [
        compare("ci", Equal, text("ann")),
        compare("name", Less, text("b")),
        compare("pair", Equal, text("[1,2)")),
        compare("day", Equal, text("tomorrow")),
        compare("n", Equal, text("5")),
    ] {
        assert!(
            source.can_push(&description, &predicate).is_err(),
            "{predicate:?}"
        );
    }
}
