//! What a target refuses, and what guards stop: nothing is lost, nothing is written in part, and a
//! person decides.

use super::pair::{Pair, changes};
use kit::{Kind, SampleTable, TextRow, text_row};
use serde_json::json;

for_every_pair!(
    refused_rows_wait_until_they_are_retried_or_discarded,
    guards_ask_before_rows_are_deleted,
);

fn orders() -> SampleTable {
    let columns = [
        ("id", Kind::BigInt),
        ("status", Kind::Text),
        ("v", Kind::Text),
    ];
    SampleTable::new("orders", &columns, &["id"])
}

async fn refused_rows_wait_until_they_are_retried_or_discarded(pair: Pair) {
    let orders = orders();
    let checked = orders.clone().with_check("status <> 'bad'");
    let mut rows: Vec<_> = (1..=9)
        .map(|id: u32| {
            let bad = [2, 3, 8].contains(&id);
            text_row([&id.to_string(), if bad { "bad" } else { "new" }, "v"])
        })
        .collect();
    let good = |rows: &[TextRow]| -> Vec<TextRow> {
        let fine = rows.iter().filter(|row| row[1].as_deref() != Some("bad"));
        fine.cloned().collect()
    };
    pair.source.fill(&orders, &rows).await;
    pair.target.create(&checked).await;
    let pipeline = |rejects: &str| {
        pair.pipeline(&format!(
            "  orders: {{ capture: full, to: orders }}\nrejects: {{ {rejects} }}"
        ));
    };

    pipeline("max_rows: 0");
    let none_allowed = pair.syncset("pipeline run p").await;
    pipeline("max_rows: 2");
    let too_many = pair.syncset("pipeline run p").await;

    for refused in [&none_allowed, &too_many] {
        assert_eq!(refused.code, 1, "{}", refused.stdout);
    }
    assert!(
        none_allowed.stdout.contains("[\\\"2\\\"]"),
        "{}",
        none_allowed.stdout
    );
    pair.holds(&orders, &[]).await;
    assert_eq!(pair.target.state_rows("rejected").await, "0");

    pipeline("max_rows: 3");
    let first = pair.told("pipeline run p").await;
    assert_eq!(changes(&first), (6, 0));
    assert_eq!(first["tables"][0]["rows_rejected"], 3);
    pair.holds(&orders, &good(&rows)).await;
    let list = pair.told("rejected list p --rows").await;
    let waiting = list["rejected"].as_array().expect("a list");
    let keys: Vec<_> = waiting.iter().map(|row| row["key"].clone()).collect();
    assert_eq!(keys, [json!(["2"]), json!(["3"]), json!(["8"])]);
    assert_eq!(waiting[0]["row"]["status"], "bad");

    pair.source
        .update(&orders, ("status", Some("mended")), ("id", "3"))
        .await;
    pair.source.delete(&orders, ("id", "8")).await;
    rows.remove(7);
    rows[2][1] = Some("mended".to_owned());
    let retried = pair.told("rejected retry p").await;
    let tried = (
        &retried["tables"][0]["tried"],
        &retried["tables"][0]["rows_written"],
    );
    assert_eq!(tried, (&json!(3), &json!(1)), "{retried}");
    pair.holds(&orders, &good(&rows)).await;

    let discarded = pair.told("rejected discard p --key 2").await;
    assert_eq!(discarded["discarded"].as_array().map(Vec::len), Some(1));
    assert_eq!(pair.target.state_rows("rejected").await, "0");
    pair.source
        .update(&orders, ("status", Some("mended")), ("id", "2"))
        .await;
    rows[1][1] = Some("mended".to_owned());
    assert_eq!(pair.run().await, (1, 0));
    pair.holds(&orders, &rows).await;
}

async fn guards_ask_before_rows_are_deleted(pair: Pair) {
    let orders = orders();
    let row = |id: u32| text_row([&id.to_string(), "new", "v"]);
    let rows: Vec<_> = (1..=20).map(row).collect();
    pair.source.fill(&orders, &rows).await;
    let limits = "max_delete_percent: 10, max_delete_rows_always_allowed: 0";
    pair.pipeline(&format!(
        "  orders: {{ capture: full, to: orders }}\nguards: {{ {limits} }}"
    ));
    assert_eq!(pair.run().await, (20, 0));

    for id in 18..=20_u32 {
        pair.source.delete(&orders, ("id", &id.to_string())).await;
    }
    let stopped = pair.syncset("pipeline run p").await;
    assert_eq!(stopped.code, 8, "{}", stopped.stdout);
    pair.holds(&orders, &rows).await;
    let allowed = pair.told("pipeline run p --allow-deletes orders=3").await;
    assert_eq!(changes(&allowed), (0, 3));
    pair.holds(&orders, &rows[..17]).await;

    pair.source.delete(&orders, ("status", "new")).await;
    let empty = pair.syncset("pipeline run p").await;
    assert_eq!(empty.code, 8, "{}", empty.stdout);
    pair.holds(&orders, &rows[..17]).await;
}
