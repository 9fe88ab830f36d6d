//! Many rows in one batch, and rows that are there more than once.

use super::pair::Pair;
use super::values::TEXTS;
use kit::{Kind, SampleTable, TextRow, text_row};

for_every_pair!(
    long_batches_keep_every_character,
    rows_without_a_key_are_there_as_often_as_at_the_source,
);

/// Rows of one batch: enough for MySQL and MariaDB to get them as lines of a file.
const MANY: usize = 400;

/// What a line of a file may take for something else without a word. One text that it takes for the
/// end of a row would have the whole batch sent in another way.
const QUIET: [&str; 4] = ["a\\bc", "\\N", "\\\\d", "c\\0d"];

async fn long_batches_keep_every_character(pair: Pair) {
    let columns = [("id", Kind::Int), ("v", Kind::Text)];
    for (name, texts) in [("loud", &TEXTS[..]), ("quiet", &QUIET[..])] {
        let table = SampleTable::new(name, &columns, &["id"]);
        let rows: Vec<TextRow> = (0..MANY)
            .map(|id| text_row([&id.to_string(), texts[id % texts.len()]]))
            .collect();
        pair.source.fill(&table, &rows).await;
        pair.pipeline(&format!("  {name}: {{ to: {name}, capture: full }}"));

        assert_eq!(pair.run().await, (MANY as u64, 0));

        pair.holds(&table, &rows).await;
        assert_eq!(
            pair.run().await,
            (0, 0),
            "what is equal is seen to be equal"
        );
    }
}

async fn rows_without_a_key_are_there_as_often_as_at_the_source(pair: Pair) {
    let table = SampleTable::new("t", &[("n", Kind::BigInt), ("v", Kind::Text)], &[]);
    let times = |times: &[(&str, usize)]| -> Vec<TextRow> {
        let rows = times.iter();
        rows.flat_map(|&(n, count)| std::iter::repeat_n(text_row([n, "same"]), count))
            .collect()
    };
    pair.source
        .fill(&table, &times(&[("1", 1), ("2", 4), ("3", 2)]))
        .await;
    pair.pipeline("  t: { to: t, capture: full }");
    assert_eq!(pair.run().await, (7, 0));

    for n in ["2", "3"] {
        pair.source.delete(&table, ("n", n)).await;
    }
    let more = times(&[("1", 4), ("2", 1), ("4", 3)]);
    pair.source.insert(&table, &more).await;
    pair.run().await;

    pair.holds(&table, &times(&[("1", 5), ("2", 1), ("4", 3)]))
        .await;
    assert_eq!(
        pair.run().await,
        (0, 0),
        "what is equal is seen to be equal"
    );
}
