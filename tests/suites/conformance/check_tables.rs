//! `syncset check LEFT RIGHT`: tables that no pipeline connects; and reports of checks.

use super::checks::counts;
use super::pair::Pair;
use kit::{Engine, Kind, SampleTable, text_row};
use serde_json::json;

for_every_engine!(
    tables_of_any_two_stores_are_compared,
    check_writes_its_result_for_other_tools
);

fn table(name: &str) -> SampleTable {
    let columns = [
        ("id", Kind::BigInt),
        ("name", Kind::Text),
        ("amount", Kind::Decimal(12, 2)),
        ("day", Kind::Date),
    ];
    SampleTable::new(name, &columns, &["id"])
}

async fn filled(engine: Engine) -> (Pair, SampleTable) {
    let pair = Pair::new(Engine::Sqlite, engine).await;
    let (left, right) = (table("l"), table("r"));
    let row = |id: u32| text_row([&id.to_string(), &format!("ä {id}"), "1.50", "2024-02-29"]);
    let rows: Vec<_> = (1..=40).map(row).collect();
    pair.source.fill(&left, &rows).await;
    pair.target.fill(&right, &rows).await;
    (pair, right)
}

async fn tables_of_any_two_stores_are_compared(engine: Engine) {
    let (pair, right) = filled(engine).await;
    let check = "check source.l target.r --key id";

    let equal = pair.syncset(check).await;
    assert_eq!(equal.code, 0, "{}{}", equal.stdout, equal.stderr);
    pair.target
        .update(&right, ("name", Some("other")), ("id", "7"))
        .await;
    pair.target
        .update(&right, ("amount", Some("1.51")), ("id", "8"))
        .await;
    pair.target.delete(&right, ("id", "9")).await;
    pair.target.delete(&right, ("id", "39")).await;
    let differs = pair.syncset(check).await;
    assert_eq!(differs.code, 4, "{}{}", differs.stdout, differs.stderr);
    let found = differs.json()["tables"][0].clone();
    assert_eq!(counts(&found), [2, 2, 0, 0], "{found}");
    let columns = found["samples"].as_array().expect("rows");
    assert!(
        columns
            .iter()
            .any(|row| row["key"] == json!(["8"]) && row["columns"] == json!(["amount"]))
    );

    let slow = pair.syncset(&format!("{check} --max-load 20%")).await;
    let slow = slow.json()["tables"][0].clone();
    assert_eq!(counts(&slow), [2, 2, 0, 0], "{slow}");
    let ms = |field: &str| slow[field].as_u64().unwrap_or(0);
    assert!(ms("rested_ms") > 0, "{slow}");
    assert!(ms("rested_ms") <= ms("duration_ms"), "{slow}");

    let some = pair
        .syncset(&format!("{check} --columns name --where id<20"))
        .await;
    let found = some.json()["tables"][0].clone();
    assert_eq!((some.code, counts(&found)), (4, [1, 1, 0, 0]), "{found}");
    assert_eq!(found["rows_source"], 19, "{found}");

    for (words, wanted) in [
        (
            "check source.l target.nowhere --key id",
            "`target` has no table",
        ),
        ("check source.l target.r --key nothing", "(`--key`)"),
        ("check source.l target --key id", "names no table"),
        ("check nobody.l target.r --key id", "`nobody` (LEFT)"),
        ("check source.nowhere target.r --key id", "(LEFT)"),
        (
            "check source.l target.r --key id --columns nothing",
            "(`--columns`)",
        ),
        (
            "check source.l target.r --key id --where nothing=1",
            "(`--where`)",
        ),
    ] {
        let refused = pair.syncset(words).await;
        assert_eq!(refused.code, 2, "{words}: {}", refused.stdout);
        assert!(
            refused.stdout.contains(wanted),
            "{words}: {}",
            refused.stdout
        );
        assert!(!refused.stdout.contains(".yaml:"), "{}", refused.stdout);
    }
    let other = [
        ("id", Kind::BigInt),
        ("name", Kind::Text),
        ("amount", Kind::Bytes),
        ("day", Kind::Date),
    ];
    let other = SampleTable::new("other", &other, &["id"]);
    pair.target.create(&other).await;
    let refused = pair.syncset("check source.l target.other --key id").await;
    assert_eq!(refused.code, 2, "{}", refused.stdout);
    assert!(refused.stdout.contains("`amount`"), "{}", refused.stdout);
    assert!(
        !pair.target.has_table("_syncset_watermark").await,
        "nothing is written"
    );
}

async fn check_writes_its_result_for_other_tools(engine: Engine) {
    let (pair, right) = filled(engine).await;
    pair.target
        .update(&right, ("name", Some("other")), ("id", "7"))
        .await;
    let check = "check source.l target.r --key id --html drift.html";

    let words = format!("{check} --output junit");
    let junit = pair.project.syncset(words.split(' ')).await;
    assert_eq!(junit.code, 4, "{}{}", junit.stdout, junit.stderr);
    assert!(
        junit
            .stdout
            .contains("tests=\"1\" failures=\"1\" errors=\"0\""),
        "{}",
        junit.stdout
    );
    assert!(
        junit.stdout.contains("different [&quot;7&quot;]: name"),
        "{}",
        junit.stdout
    );
    pair.target
        .update(&right, ("name", Some("ä 7")), ("id", "7"))
        .await;
    let equal = pair.project.syncset(check.split(' ')).await;
    assert_eq!(equal.code, 0, "{}{}", equal.stdout, equal.stderr);

    let page = pair.project.read("drift.html");
    assert!(
        page.contains("Drift over the last 2 checks, at most 1 rows"),
        "{page}"
    );
    pair.project
        .file("mine.html", "<p>not a page of a check</p>");
    let refused = "check source.l target.r --key id --html mine.html";
    let refused = pair.project.syncset(refused.split(' ')).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert_eq!(
        pair.project.read("mine.html"),
        "<p>not a page of a check</p>"
    );
    let run = ["pipeline", "list", "--output", "junit"];
    assert_eq!(pair.project.syncset(run).await.code, 2);
}
