//! Comparisons of both sides by hashes: `capture: hash`, and `find_deletes` beside a cursor.

use super::pair::{Pair, RUN, changes};
use kit::{Kind, SampleTable, TextRow, text_row};

for_every_pair!(comparisons_bring_what_differs_wherever_they_are_killed);

/// A table without a cursor, whose keys are easily taken for each other.
fn compared() -> SampleTable {
    let columns = [
        ("name", Kind::Key(20)),
        ("n", Kind::Int),
        ("amount", Kind::Decimal(12, 2)),
        ("at", Kind::Local),
        ("secret", Kind::Text),
    ];
    SampleTable::new("compared", &columns, &["name", "n"])
}

/// [`compared`] as it is at the target.
fn copied() -> SampleTable {
    let columns = [
        ("name", Kind::Key(20)),
        ("n", Kind::Int),
        ("total", Kind::Decimal(12, 2)),
        ("at", Kind::Local),
    ];
    SampleTable::new("compared_copy", &columns, &["name", "n"])
}

/// A table whose cursor does not tell of rows that are gone.
fn searched() -> SampleTable {
    let columns = [("id", Kind::BigInt), ("v", Kind::Text)];
    SampleTable::new("searched", &columns, &["id"])
}

fn row(name: &str, n: u32, amount: &str) -> TextRow {
    text_row([name, &n.to_string(), amount, "2024-05-01 10:00:00.5"])
}

fn numbered(numbers: impl IntoIterator<Item = u32>) -> Vec<TextRow> {
    let numbers = numbers.into_iter();
    numbers
        .map(|n| text_row([&n.to_string(), &format!("v{n}")]))
        .collect()
}

async fn comparisons_bring_what_differs_wherever_they_are_killed(pair: Pair) {
    let (compared, copied, searched) = (compared(), copied(), searched());
    let with_secret = |rows: &[TextRow]| -> Vec<TextRow> {
        let secret = |row: &TextRow| [row.clone(), text_row(["s"])].concat();
        rows.iter().map(secret).collect()
    };
    let mut rows: Vec<TextRow> = (1..=60).map(|n| row("a", n, "1.5")).collect();
    rows.extend((1..=60).map(|n| row("A", n, "15")));
    rows.extend((1..=60).map(|n| row("ä", n, "-0.25")));
    pair.source.fill(&compared, &with_secret(&rows)).await;
    pair.source.fill(&searched, &numbered(11..=60)).await;
    pair.pipeline(
        "  compared:\n    to: compared_copy\n    columns: [name, n, amount, at]\n    \
         rename: { amount: total }\n    capture: hash\n  \
         searched:\n    to: searched\n    capture: { mode: cursor, column: id, overlap: 5, \
         find_deletes: { mode: hash, every: 0s } }",
    );
    pair.run().await;
    pair.holds(&copied, &rows).await;
    let idle = pair.run().await;
    assert_eq!(idle, (0, 0), "nothing has changed");

    // No column says which of these rows changed.
    pair.source
        .update(&compared, ("amount", Some("2.5")), ("n", "7"))
        .await;
    pair.source.delete(&compared, ("n", "8")).await;
    pair.source
        .update(&compared, ("secret", Some("other")), ("n", "9"))
        .await;
    pair.source
        .insert(&compared, &with_secret(&[row("a", 61, "3")]))
        .await;
    pair.source.delete(&searched, ("id", "20")).await;
    pair.source.insert(&searched, &numbered([3, 61])).await;
    rows.retain(|row| row[1].as_deref() != Some("8"));
    for row in rows.iter_mut().filter(|row| row[1].as_deref() == Some("7")) {
        row[2] = Some("2.5".to_owned());
    }
    rows.push(row("a", 61, "3"));

    pair.killed_at("hash.batch").await;
    pair.killed_at("unit.before_commit:2").await;
    let report = pair.told(RUN).await;

    pair.holds(&copied, &rows).await;
    let numbers = (11..=61).filter(|n| *n != 20).chain([3]);
    pair.holds(&searched, &numbered(numbers)).await;
    let (_, deleted) = changes(&report);
    assert!(deleted <= 4, "{report}");
    let idle = pair.run().await;
    assert_eq!(idle, (0, 0), "nothing has changed");
}
