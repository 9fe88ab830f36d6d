//! `pipeline check`: what it finds, and what it does not call drift.

use super::pair::Pair;
use super::repairs::killed;
use kit::{Engine, Kind, SampleTable, TextRow, text_row};
use serde_json::{Value, json};

for_every_pair!(
    check_tells_drift_from_rows_in_flight,
    check_of_tables_that_are_read_whole_waits_for_a_run,
    check_knows_a_source_that_is_as_the_last_run_compared_it,
    check_of_some_rows_knows_it_too,
    rows_are_found_and_mended_by_keys_of_several_columns,
);

/// A moment that no overlap reaches.
const LONG_AGO: &str = "2024-05-01 10:00:00";

/// Floats are left out: no two servers print them alike, so no server hashes them.
const COLUMNS: [(&str, Kind); 8] = [
    ("id", Kind::BigInt),
    ("name", Kind::Text),
    ("amount", Kind::Decimal(12, 2)),
    ("is_open", Kind::Bool),
    ("day", Kind::Date),
    ("at", Kind::Instant),
    ("picture", Kind::Bytes),
    ("code", Kind::Uuid),
];

fn table() -> SampleTable {
    let columns = [&COLUMNS[..], &[("updated_at", Kind::Stamp)]].concat();
    SampleTable::new("t", &columns, &["id"])
}

pub(super) fn row(id: u32) -> TextRow {
    let mut row = text_row([
        &id.to_string(),
        &format!("ä {id}"),
        &format!("{id}.5"),
        "true",
        "2024-02-29",
        "2024-02-29 23:59:59.25",
        "00ff",
        &format!("{id:08}-0000-4000-8000-000000000000"),
    ]);
    if id.is_multiple_of(7) {
        row[1] = Some(String::new());
        row[2..].fill(None);
    }
    row
}

/// A filled source whose rows are old but for one, and a pipeline that has run.
pub(super) async fn synced(pair: &Pair, capture: &str) -> (SampleTable, SampleTable) {
    let (table, copy) = (table(), SampleTable::new("copied", &COLUMNS, &["id"]));
    let rows: Vec<_> = (1..=60).map(row).collect();
    pair.source.fill(&table, &rows).await;
    let engine = pair.source.engine();
    let old = engine.literal(Kind::Stamp, Some(LONG_AGO));
    let name = engine.quoted("t");
    pair.source
        .execute(&format!(
            "UPDATE {name} SET updated_at = {old} WHERE id < 60"
        ))
        .await;
    pair.pipeline(&format!(
        "  t: {{ to: copied, columns: {{ exclude: [updated_at] }}, capture: {capture} }}"
    ));
    assert_eq!(pair.run().await, (60, 0));
    (table, copy)
}

/// The only table of a check, and its exit code. Where servers can hash the rows, hashing and
/// reading them find the same.
pub(super) async fn checked(pair: &Pair) -> (i32, Value) {
    let (code, table) = checked_by(pair, "auto").await;
    let engines = [pair.source.engine(), pair.target.engine()];
    if engines.contains(&Engine::Sqlite) {
        assert_eq!(table["mode"], "stream", "{table}");
        return (code, table);
    }
    let other = match table["mode"] == "hash" {
        true => "stream",
        false => "hash",
    };
    let (same, mut again) = checked_by(pair, other).await;
    assert_eq!(again["mode"], other, "{again}");
    for key in ["mode", "mode_reason", "duration_ms"] {
        let again = again.as_object_mut().expect("a table");
        match table.get(key) {
            Some(value) => again.insert(key.to_owned(), value.clone()),
            None => again.remove(key),
        };
    }
    assert_eq!((code, &table), (same, &again));
    (code, table)
}

async fn checked_by(pair: &Pair, mode: &str) -> (i32, Value) {
    let output = pair
        .syncset(&format!("pipeline check p --mode {mode}"))
        .await;
    let report = output.json();
    assert_eq!(report["exit_code"], output.code, "{report}");
    let table = report["tables"][0].clone();
    let engines = [pair.source.engine(), pair.target.engine()];
    if mode == "auto" {
        let hashes = engines == [Engine::Postgres; 2];
        assert_eq!(table["mode"] == "hash", hashes, "{table}");
    }
    (output.code, table)
}

/// Different, missing, only at the target, undecided.
pub(super) fn counts(table: &Value) -> [u64; 4] {
    ["different", "missing", "extra", "undecided"]
        .map(|key| table[key].as_u64().expect("a number of rows"))
}

async fn check_tells_drift_from_rows_in_flight(pair: Pair) {
    let (table, copy) = synced(&pair, &pair.capture_by("updated_at")).await;

    let (code, equal) = checked(&pair).await;
    assert_eq!((code, &equal["verdict"]), (0, &json!("equal")), "{equal}");
    assert_eq!(
        (&equal["rows_source"], &equal["rows_target"]),
        (&json!(60), &json!(60))
    );

    pair.target
        .update(&copy, ("name", Some("other")), ("id", "3"))
        .await;
    pair.target
        .update(&copy, ("amount", None), ("id", "5"))
        .await;
    pair.target.update(&copy, ("name", None), ("id", "7")).await;
    pair.target.delete(&copy, ("id", "11")).await;
    let engine = pair.target.engine();
    let name = engine.quoted("copied");
    pair.target
        .execute(&format!("UPDATE {name} SET id = 1000 WHERE id = 13"))
        .await;
    let (code, drifted) = checked(&pair).await;
    assert_eq!((code, counts(&drifted)), (4, [3, 2, 1, 0]), "{drifted}");
    let samples = drifted["samples"].as_array().expect("rows are named");
    let is_named = |kind: &str, id: &str, columns: Option<&str>| {
        samples.iter().any(|sample| {
            sample["kind"] == kind
                && sample["key"] == json!([id])
                && sample.get("columns") == columns.map(|column| json!([column])).as_ref()
        })
    };
    assert!(is_named("different", "3", Some("name")), "{drifted}");
    assert!(is_named("different", "5", Some("amount")), "{drifted}");
    assert!(is_named("different", "7", Some("name")), "{drifted}");
    assert!(is_named("missing", "11", None), "{drifted}");
    assert!(is_named("missing", "13", None), "{drifted}");
    assert!(is_named("extra", "1000", None), "{drifted}");

    let dry = pair.syncset("pipeline repair p --dry-run").await;
    assert_eq!(dry.code, 4, "{}", dry.stdout);
    assert_eq!(dry.json()["repaired"], json!([]));
    assert_eq!(checked(&pair).await.1["missing"], 2, "nothing is written");
    let repaired = pair.told("pipeline repair p").await;
    let written = &repaired["repaired"][0];
    assert_eq!(
        (&written["rows_written"], &written["rows_deleted"]),
        (&json!(5), &json!(1)),
        "{repaired}"
    );
    let rows: Vec<_> = (1..=60).map(row).collect();
    pair.holds(&copy, &rows).await;
    assert_eq!(pair.run().await, (0, 0), "watermarks are where they were");

    // What no run has brought yet is no drift.
    pair.target.delete(&copy, ("id", "17")).await;
    pair.source.insert(&table, &[row(61)]).await;
    pair.source
        .update(&table, ("name", Some("late")), ("id", "20"))
        .await;
    let (code, in_flight) = checked(&pair).await;
    assert_eq!((code, counts(&in_flight)), (4, [0, 1, 0, 2]), "{in_flight}");

    pair.told("pipeline run p --full-refresh").await;
    let (code, mended) = checked(&pair).await;
    assert_eq!((code, counts(&mended)), (0, [0; 4]), "{mended}");
    assert_eq!(mended["rows_target"], 61);
}

async fn check_of_tables_that_are_read_whole_waits_for_a_run(pair: Pair) {
    let (_, copy) = synced(&pair, "full").await;
    pair.target
        .update(&copy, ("name", Some("other")), ("id", "3"))
        .await;

    let (code, undecided) = checked(&pair).await;
    assert_eq!((code, counts(&undecided)), (9, [0, 0, 0, 1]), "{undecided}");
    assert_eq!(undecided["verdict"], "undecided");
    assert_eq!(pair.run().await, (1, 0));
    assert_eq!(checked(&pair).await.0, 0);
}

async fn check_knows_a_source_that_is_as_the_last_run_compared_it(pair: Pair) {
    let (table, copy) = synced(&pair, "hash").await;
    assert_eq!(pair.run().await, (0, 0));
    pair.target
        .update(&copy, ("name", Some("other")), ("id", "3"))
        .await;
    pair.target.delete(&copy, ("id", "11")).await;
    let engine = pair.target.engine();
    let name = engine.quoted("copied");
    pair.target
        .execute(&format!("UPDATE {name} SET id = 1000 WHERE id = 13"))
        .await;

    let (code, drifted) = checked_by(&pair, "auto").await;
    assert_eq!((code, counts(&drifted)), (4, [1, 2, 1, 0]), "{drifted}");
    assert_eq!(drifted.get("notes"), None, "{drifted}");

    // From here on any row may be on its way.
    pair.source
        .update(&table, ("name", Some("later")), ("id", "5"))
        .await;
    let (code, undecided) = checked_by(&pair, "auto").await;
    assert_eq!((code, counts(&undecided)), (9, [0, 0, 0, 5]), "{undecided}");
    assert_eq!(pair.run().await, (4, 1));
    assert_eq!(checked_by(&pair, "auto").await.0, 0);

    // A repair brings what the source had at that run: what drifts after it is told as before.
    for (name, is_killed) in [("third", true), ("fourth", false), ("fifth", false)] {
        pair.target
            .update(&copy, ("name", Some(name)), ("id", "3"))
            .await;
        let (code, drifted) = checked_by(&pair, "auto").await;
        assert_eq!((code, counts(&drifted)), (4, [1, 0, 0, 0]), "{drifted}");
        let repair = "pipeline repair p --on-lock wait=60s";
        if is_killed {
            killed(&pair, repair, "unit.before_commit").await;
        }
        pair.told(repair).await;
    }
    assert_eq!(checked_by(&pair, "auto").await.0, 0);
}

async fn check_of_some_rows_knows_it_too(pair: Pair) {
    let (table, copy) = synced(&pair, "hash").await;
    assert_eq!(pair.run().await, (0, 0));
    for id in ["3", "50"] {
        pair.target
            .update(&copy, ("name", Some("other")), ("id", id))
            .await;
    }

    let some = async |flags: &str| {
        let output = pair.syncset(&format!("pipeline check p {flags}")).await;
        (output.code, counts(&output.json()["tables"][0]))
    };
    assert_eq!(some("--where id<10").await, (4, [1, 0, 0, 0]));
    assert_eq!(some("--sample 100%").await, (4, [2, 0, 0, 0]));
    pair.told("pipeline repair p --where id<10").await;
    assert_eq!(some("--where id<10").await, (0, [0; 4]));

    // From here on any row may be on its way.
    pair.source
        .update(&table, ("name", Some("later")), ("id", "5"))
        .await;
    assert_eq!(some("--where id>10").await, (9, [0, 0, 0, 1]));
    assert_eq!(some("--where id>10 --mode stream").await.0, 9);
    assert_eq!(pair.run().await, (2, 0));
    assert_eq!(some("--where id<10").await, (0, [0; 4]));
}

async fn rows_are_found_and_mended_by_keys_of_several_columns(pair: Pair) {
    let columns = [
        ("code", Kind::Key(40)),
        ("n", Kind::BigInt),
        ("v", Kind::Text),
    ];
    let table = SampleTable::new("parts", &columns, &["code", "n"]);
    let rows: Vec<_> = (0..40)
        .map(|n| text_row([["a", "A", "ä ", "\\ '"][n % 4], &n.to_string(), "same"]))
        .collect();
    pair.source.fill(&table, &rows).await;
    pair.pipeline("  parts: { to: parts, capture: { mode: cursor, column: n, overlap: 1 } }");
    assert_eq!(pair.run().await, (40, 0));
    pair.target
        .update(&table, ("v", Some("other")), ("n", "5"))
        .await;
    pair.target.delete(&table, ("n", "6")).await;
    pair.target
        .insert(&table, &[text_row(["extra", "7", "same"])])
        .await;

    let (code, drifted) = checked(&pair).await;
    assert_eq!((code, counts(&drifted)), (4, [1, 1, 1, 0]), "{drifted}");
    pair.told("pipeline repair p").await;

    pair.holds(&table, &rows).await;
}
