//! Windows of changes: what they bring, what they leave alone, and what a kill in them leaves.

use super::pair::Pair;
use kit::{Kind, SampleTable, TextRow, text_row};

for_every_pair!(windows_bring_what_changed_wherever_they_are_killed);

/// Points of a window; none of them is past its commit.
const POINTS: [&str; 3] = ["unit.begun", "window.batch", "unit.before_commit"];

fn events() -> SampleTable {
    let columns = [
        ("id", Kind::BigInt),
        ("name", Kind::Text),
        ("amount", Kind::Decimal(12, 2)),
        ("secret", Kind::Text),
        ("updated_at", Kind::Stamp),
    ];
    SampleTable::new("Events", &columns, &["id"])
}

/// [`events`] as they are at the target.
fn copied() -> SampleTable {
    let columns = [
        ("id", Kind::BigInt),
        ("title", Kind::Text),
        ("amount", Kind::Decimal(12, 2)),
        ("initial", Kind::Text),
    ];
    SampleTable::new("events_copy", &columns, &["id"])
}

fn journal() -> SampleTable {
    SampleTable::new("journal", &[("n", Kind::BigInt), ("v", Kind::Text)], &[])
}

fn numbered(numbers: std::ops::Range<u32>) -> Vec<TextRow> {
    let rows = numbers.map(|n| text_row([&n.to_string(), &format!("entry {n}")]));
    rows.collect()
}

async fn windows_bring_what_changed_wherever_they_are_killed(pair: Pair) {
    let (events, copied, journal) = (events(), copied(), journal());
    let rows: Vec<_> = (1..=40)
        .map(|id| {
            text_row([
                &id.to_string(),
                &format!("ä{id}"),
                &id.to_string(),
                "secret",
            ])
        })
        .collect();
    pair.source.fill(&events, &rows).await;
    pair.source.fill(&journal, &numbered(1..10)).await;
    pair.pipeline(&format!(
        "  Events:\n    to: events_copy\n    columns: [id, name, amount]\n    \
         where: \"amount > 10\"\n    derive: {{ initial: \"upper(left(name, 1))\" }}\n    \
         rename: {{ name: title }}\n    capture: {}\n  \
         journal:\n    to: journal\n    write: {{ mode: append }}\n    \
         capture: {{ mode: cursor, column: n, overlap: 0, null_cursor: ignore }}",
        pair.capture_by("updated_at")
    ));
    let row = |id: u32, name: &str, amount: u32, initial: &str| {
        text_row([&id.to_string(), name, &amount.to_string(), initial])
    };
    let mut selected: Vec<_> = (11..=40)
        .map(|id| row(id, &format!("ä{id}"), id, "Ä"))
        .collect();

    selected[4] = row(15, "early", 15, "E");
    selected.remove(5);

    pair.killed_at("load.begun").await;
    pair.source
        .update(&events, ("name", Some("early")), ("id", "15"))
        .await;
    pair.source.delete(&events, ("id", "16")).await;
    pair.killed_at("settle.compared").await;
    pair.run().await;
    let second = pair.run().await;

    assert_eq!(second.1, 0);
    pair.holds(&copied, &selected).await;
    // Whoever writes the greatest number may still write it again, so it waits.
    pair.holds(&journal, &numbered(1..9)).await;

    pair.source
        .update(&events, ("name", Some("new")), ("id", "20"))
        .await;
    pair.source
        .update(&events, ("amount", Some("1")), ("id", "30"))
        .await;
    pair.source
        .update(&events, ("amount", Some("11")), ("id", "5"))
        .await;
    pair.source
        .update(&events, ("secret", Some("changed")), ("id", "12"))
        .await;
    pair.source
        .insert(&events, &[text_row(["41", "😀", "41", ""])])
        .await;
    pair.source.insert(&journal, &numbered(10..20)).await;
    let journal_before = numbered(1..9);
    for point in POINTS {
        pair.killed_at(point).await;
        // One row leaves, two come. One table may have got further than the other; neither has half a window.
        let events_now = pair.target.content(&copied).await;
        assert!(
            events_now == kit::sorted(selected.clone()) || events_now.len() == 30,
            "{point}: {events_now:?}"
        );
        let journal_now = pair.target.count(&journal).await;
        assert!(
            [journal_before.len() as u64, 18].contains(&journal_now),
            "{point}: {journal_now}"
        );
    }
    pair.run().await;

    selected.retain(|row| row[0].as_deref() != Some("30"));
    selected.retain(|row| row[0].as_deref() != Some("20"));
    selected.extend([
        row(20, "new", 20, "N"),
        row(5, "ä5", 11, "Ä"),
        row(41, "😀", 41, "😀"),
    ]);
    pair.holds(&copied, &selected).await;
    pair.holds(&journal, &numbered(1..19)).await;
    let idle = pair.run().await;
    assert_eq!(
        idle,
        (0, 0),
        "what is read once more is not written once more"
    );

    // No stamp tells of a row that is gone, nor of the old key of one that has another.
    let edits = [
        (("name", Some("newer")), "21"),
        (("amount", Some("1")), "31"),
        (("id", Some("140")), "14"),
    ];
    for (set, id) in edits {
        pair.source.update(&events, set, ("id", id)).await;
    }
    pair.source.delete(&events, ("id", "13")).await;
    assert_eq!(pair.run().await, (2, 1));
    let refreshed = pair
        .told("pipeline run p --full-refresh --tables Events")
        .await;
    assert_eq!(super::pair::changes(&refreshed), (0, 2));
    selected.retain(|row| !matches!(row[0].as_deref(), Some("13" | "14" | "21" | "31")));
    selected.extend([row(140, "ä14", 14, "Ä"), row(21, "newer", 21, "N")]);
    pair.holds(&copied, &selected).await;
}
