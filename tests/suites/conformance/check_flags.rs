//! What a check is told besides its pipeline: which rows, how old, how much it may ask.

use super::checks::{checked, counts, row, synced};
use super::pair::Pair;
use kit::{Engine, Kind, SampleTable};
use serde_json::{Value, json};
use std::time::Duration;

for_every_engine!(
    rows_of_a_condition_are_compared_and_mended_alone,
    rows_that_are_young_are_in_flight,
    row_that_changes_between_two_looks_is_undecided,
    database_rests_under_a_bound_of_its_load,
);

/// From an engine to the next one, so that each is a source and a target once.
async fn pair_from(engine: Engine) -> Pair {
    let place = Engine::ALL.iter().position(|it| *it == engine);
    let next = (place.expect("one of them") + 1) % Engine::ALL.len();
    Pair::new(engine, Engine::ALL[next]).await
}

/// The exit code and the only table of a check with these flags; the same by hashes, where the
/// servers make them.
async fn found(pair: &Pair, flags: &[&str]) -> (i32, Value) {
    let mut found = Vec::new();
    for mode in ["hash", "stream"] {
        let words = ["pipeline", "check", "p", "--output", "json", "--mode", mode];
        let output = pair.project.syncset(words.iter().chain(flags)).await;
        let report = output.json();
        assert_eq!(report["exit_code"], output.code, "{report}");
        let mut table = report["tables"][0].clone();
        let fields = table.as_object_mut().expect("a table");
        for field in ["mode", "mode_reason", "duration_ms", "rested_ms", "notes"] {
            fields.remove(field);
        }
        found.push((output.code, table));
    }
    assert_eq!(found[0], found[1]);
    found.remove(0)
}

/// The kind of each row, its key and columns.
fn rows(table: &Value) -> Vec<String> {
    let samples = table["samples"].as_array().expect("rows are named").iter();
    let line = |row: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let columns = row["columns"].as_array().into_iter().flatten();
        let columns: Vec<_> = columns.map(text).collect();
        let (kind, key) = (text(&row["kind"]), text(&row["key"][0]));
        format!("{kind} {key} {}", columns.join(","))
            .trim_end()
            .to_owned()
    };
    let mut rows: Vec<_> = samples.map(line).collect();
    rows.sort();
    rows
}

async fn drift(pair: &Pair, copy: &SampleTable) {
    for (id, column, value) in [
        ("3", "name", Some("other")),
        // Rows without a day: one comes in at the target, one goes out.
        ("13", "day", None),
        ("14", "day", Some("2024-02-29")),
        ("40", "name", None),
    ] {
        pair.target.update(copy, (column, value), ("id", id)).await;
    }
    pair.target.delete(copy, ("id", "5")).await;
    pair.target.delete(copy, ("id", "41")).await;
}

async fn rows_of_a_condition_are_compared_and_mended_alone(engine: Engine) {
    let pair = pair_from(engine).await;
    let (_, copy) = synced(&pair, &pair.capture_by("updated_at")).await;
    let (first, without) = ("id <= 20", "day is null");
    let equal = found(&pair, &["--where", first]).await;
    assert_eq!((equal.0, counts(&equal.1)), (0, [0; 4]), "{}", equal.1);
    assert_eq!(
        (&equal.1["rows_source"], &equal.1["rows_target"]),
        (&json!(20), &json!(20))
    );

    drift(&pair, &copy).await;
    let (code, by_key) = found(&pair, &["--where", first]).await;
    let (also, by_value) = found(&pair, &["--where", without]).await;

    assert_eq!((code, also), (4, 4));
    let of_the_first = [
        "different 13 day",
        "different 14 day",
        "different 3 name",
        "missing 5",
    ];
    assert_eq!(rows(&by_key), of_the_first);
    // A row that is there on one side only is looked up on the other.
    assert_eq!(rows(&by_value), of_the_first[..2]);

    let repair = [
        "pipeline", "repair", "p", "--where", first, "--output", "json",
    ];
    let repaired = pair.project.syncset(repair).await.expect_success().json();
    assert_eq!(repaired["repaired"][0]["rows_written"], 4, "{repaired}");
    let (_, rest) = checked(&pair).await;
    assert_eq!(rows(&rest), ["different 40 name", "missing 41"]);

    // The target does not hold the stamps.
    let stamps = ["pipeline", "check", "p", "--where", "updated_at is null"];
    let refused = pair.project.syncset(stamps).await.expect_code(2);
    let said = "it does not hold column `updated_at` as it is at the source";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let unknown = ["pipeline", "check", "p", "--where", "nothing = 1"];
    let refused = pair.project.syncset(unknown).await.expect_code(2);
    assert!(refused.stderr.contains("nothing"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(".yaml:"), "{}", refused.stderr);
}

async fn rows_that_are_young_are_in_flight(engine: Engine) {
    let pair = pair_from(engine).await;
    let (_, copy) = synced(&pair, &pair.capture_by("updated_at")).await;
    let half_an_hour_ago = chrono::Utc::now() - Duration::from_secs(1_800);
    let stamp = half_an_hour_ago.format("%Y-%m-%d %H:%M:%S").to_string();
    pair.source
        .execute(&format!(
            "UPDATE {} SET {} = {} WHERE id = 50",
            engine.quoted("t"),
            engine.quoted("updated_at"),
            engine.literal(Kind::Stamp, Some(&stamp))
        ))
        .await;
    pair.run().await;
    for id in ["3", "50"] {
        pair.target
            .update(&copy, ("name", Some("other")), ("id", id))
            .await;
    }

    let (_, whatever_age) = found(&pair, &[]).await;
    let (_, older) = found(&pair, &["--min-age", "2m"]).await;
    let (code, much_older) = found(&pair, &["--min-age", "2h"]).await;

    assert_eq!(counts(&whatever_age), [2, 0, 0, 0], "{whatever_age}");
    assert_eq!(counts(&older), [2, 0, 0, 0], "{older}");
    assert_eq!(
        (code, counts(&much_older)),
        (4, [1, 0, 0, 1]),
        "{much_older}"
    );

    pair.pipeline("  t: { to: copied, columns: { exclude: [updated_at] }, capture: full }");
    pair.told("pipeline run p").await;
    let words = "pipeline check p --min-age 2h";
    let refused = pair.syncset(words).await;
    assert_eq!(refused.code, 2, "{}", refused.stdout);
    assert!(
        refused.stdout.contains("has no cursor"),
        "{}",
        refused.stdout
    );
}

async fn row_that_changes_between_two_looks_is_undecided(engine: Engine) {
    let pair = pair_from(engine).await;
    let (_, copy) = synced(&pair, &pair.capture_by("updated_at")).await;
    for id in ["3", "5"] {
        pair.target
            .update(&copy, ("name", Some("other")), ("id", id))
            .await;
    }

    let words = ["pipeline", "check", "p", "--output", "json"];
    let stop = [("SYNCSET_FAIL_POINT", "check.looks_again=stop")];
    let check = pair.project.spawn_with(words, &stop);
    assert!(check.frozen().await, "the check never looked again");
    // Its stamp stays where it was, so that no window holds it.
    let [t, name, stamp] = ["t", "name", "updated_at"].map(|name| engine.quoted(name));
    let update = format!("UPDATE {t} SET {name} = 'third', {stamp} = {stamp} WHERE id = 3");
    pair.source.execute(&update).await;
    check.cont();
    let table = check.wait().await.json()["tables"][0].clone();

    assert_eq!(counts(&table), [1, 0, 0, 1], "{table}");
    let samples = table["samples"].as_array().expect("rows").iter();
    let undecided: Vec<_> = samples.filter(|row| row["undecided"] == true).collect();
    assert_eq!(undecided[0]["key"], json!(["3"]), "{table}");
}

async fn database_rests_under_a_bound_of_its_load(engine: Engine) {
    let pair = pair_from(engine).await;
    let (_, copy) = synced(&pair, &pair.capture_by("updated_at")).await;
    pair.target
        .update(&copy, ("name", Some("other")), ("id", "3"))
        .await;

    for mode in ["hash", "stream"] {
        let words = format!("pipeline check p --mode {mode} --max-load 2%");
        let output = pair.syncset(&words).await;
        let table = output.json()["tables"][0].clone();

        assert_eq!((output.code, counts(&table)), (4, [1, 0, 0, 0]), "{table}");
        let ms = |field: &str| table[field].as_u64().unwrap_or(0);
        assert!(ms("rested_ms") > 0, "{table}");
        assert!(ms("rested_ms") <= ms("duration_ms"), "{table}");
    }
    let rows: Vec<_> = (1..=60).map(row).collect();
    pair.told("pipeline repair p --max-load 50%").await;
    pair.holds(&copy, &rows).await;
}
