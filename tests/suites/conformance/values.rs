//! Whole tables: what is in them arrives as it is, comes once, and follows its source.

use super::exceptions::{Exception, longest_name};
use super::pair::Pair;
use kit::{Engine, Kind, SampleTable, TextRow, text_row};

for_every_pair!(
    whole_tables_arrive_come_once_and_follow,
    name_that_is_too_long_for_the_target_is_refused,
);

/// Texts that an encoding, a quoting or a collation may take for something else.
pub(super) const TEXTS: [&str; 22] = [
    "",
    " ",
    "a",
    "A",
    "a ",
    "ä",
    "a\u{308}",
    "ß",
    "ss",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "שלום",
    "\u{feff}",
    "\t",
    "\r\n",
    "\\N",
    "\\",
    "NULL",
    "'",
    "\"a\",\"b\"",
    "%s {0} $1 ?",
    "\u{1}\u{7f}\u{ffff}",
];

fn kinds() -> (SampleTable, Vec<TextRow>) {
    let columns = [
        ("id", Kind::Int),
        ("big", Kind::BigInt),
        ("words", Kind::Text),
        ("price", Kind::Decimal(12, 2)),
        ("ok", Kind::Bool),
        ("bytes", Kind::Bytes),
        ("size", Kind::Float),
        ("day", Kind::Date),
        ("local", Kind::Local),
        ("at", Kind::Instant),
        ("uid", Kind::Uuid),
        ("doc", Kind::Json),
    ];
    let rows = [
        [
            "-2147483648",
            "-9223372036854775808",
            "",
            "-9999999999.99",
            "false",
            "",
            "-1.7976931348623157e308",
            "1000-01-01",
            "1000-01-01 00:00:00",
            "1970-01-02 00:00:00",
            "00000000-0000-0000-0000-000000000000",
            "[]",
        ],
        [
            "0",
            "0",
            "words",
            "0",
            "true",
            "00ff0a5c27",
            "0.0",
            "2024-02-29",
            "2024-03-31 02:30:00.000001",
            "2024-03-31 01:30:00.5",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "{\"a\": [1, null, \"ä\"]}",
        ],
        [
            "2147483647",
            "9223372036854775807",
            "x",
            "0.01",
            "true",
            "7f",
            "2.2250738585072014e-308",
            "9999-12-31",
            "9999-12-31 23:59:59.999999",
            "2037-12-31 23:59:59.999999",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "\"x\"",
        ],
    ];
    let mut rows: Vec<TextRow> = rows.into_iter().map(text_row).collect();
    for id in ["7", "8"] {
        let mut row = vec![None; columns.len()];
        row[0] = Some(id.to_owned());
        rows.push(row);
    }
    (SampleTable::new("kinds", &columns, &["id"]), rows)
}

/// Names with capitals, blanks, quotes, other scripts, reserved words, and as many bytes as every
/// engine takes.
fn names() -> (SampleTable, Vec<TextRow>) {
    let longest = "l".repeat(63);
    let columns = [
        ("select", Kind::Int),
        ("Größe in m²", Kind::Int),
        ("a\"b", Kind::Int),
        ("c`d", Kind::Int),
        ("it's", Kind::Int),
        ("名前", Kind::Int),
        ("back\\slash", Kind::Int),
        (longest.as_str(), Kind::Int),
    ];
    let table = SampleTable::new("Order \"Items\" größe", &columns, &["select"]);
    let rows = [
        ["1", "2", "3", "4", "5", "6", "7", "8"],
        ["9", "8", "7", "6", "5", "4", "3", "2"],
    ];
    (table, rows.map(text_row).to_vec())
}

fn texts() -> (SampleTable, Vec<TextRow>) {
    let rows = TEXTS.iter().enumerate();
    let rows = rows.map(|(id, text)| text_row([&id.to_string(), text]));
    let columns = [("id", Kind::Int), ("v", Kind::Text)];
    (SampleTable::new("texts", &columns, &["id"]), rows.collect())
}

/// A key of two columns, not in their order, one of which is a text.
fn parts() -> (SampleTable, Vec<TextRow>) {
    let columns = [
        ("tenant", Kind::Int),
        ("code", Kind::Key(40)),
        ("v", Kind::Text),
    ];
    let rows = TEXTS.iter().enumerate();
    let rows = rows.map(|(at, text)| text_row([&(at % 3).to_string(), text, "old"]));
    let table = SampleTable::new("parts", &columns, &["code", "tenant"]);
    (table, rows.collect())
}

async fn whole_tables_arrive_come_once_and_follow(pair: Pair) {
    let (kinds, kinds_rows) = kinds();
    let (names, names_rows) = names();
    let (texts, texts_rows) = texts();
    let (parts, mut parts_rows) = parts();
    let pairs = [("n", Kind::Int), ("v", Kind::Text)];
    let nothing = SampleTable::new("nothing", &pairs, &["n"]);
    let stock = SampleTable::new("stock", &pairs, &["n"]);
    let bag = SampleTable::new("bag", &pairs, &[]);
    let mut stock_rows = [["1", "one"], ["2", "two"], ["3", "three"]]
        .map(text_row)
        .to_vec();
    let mut bag_rows = [["1", "x"], ["1", "x"], ["1", "x"], ["2", ""]]
        .map(text_row)
        .to_vec();
    bag_rows.push(vec![None, None]);
    let filled = [
        (&kinds, &kinds_rows),
        (&names, &names_rows),
        (&texts, &texts_rows),
        (&parts, &parts_rows),
        (&nothing, &Vec::new()),
        (&stock, &stock_rows),
        (&bag, &bag_rows),
    ];
    let mut row_count = 0;
    for (table, rows) in filled {
        pair.source.fill(table, rows).await;
        row_count += rows.len() as u64;
    }
    pair.pipeline(
        "  \"*\": { capture: full, to: \"{table}\" }\n  \
         '\"Order \"\"Items\"\" größe\"': { capture: full, to: \"{table}\" }\n  \
         stock: { capture: full, to: stock, write: { mode: replace } }",
    );

    let first = pair.run().await;
    let second = pair.run().await;

    assert_eq!(first, (row_count, 0));
    assert_eq!(second, (0, 0), "an unchanged source writes nothing");
    for (table, rows) in filled {
        pair.holds(table, rows).await;
    }

    // A key that changes is a row that is gone and one that is new.
    pair.source
        .update(&parts, ("code", Some("ÄÖ")), ("code", "ss"))
        .await;
    pair.source
        .update(&parts, ("v", None), ("code", "a "))
        .await;
    pair.source.delete(&parts, ("code", "A")).await;
    parts_rows.retain(|row| row[1].as_deref() != Some("A"));
    for row in &mut parts_rows {
        match row[1].as_deref() {
            Some("ss") => row[1] = Some("ÄÖ".to_owned()),
            Some("a ") => row[2] = None,
            _ => {}
        }
    }
    let late = [text_row(["5", "late"])];
    pair.source.insert(&nothing, &late).await;
    pair.source
        .update(&stock, ("v", Some("Two")), ("n", "2"))
        .await;
    pair.source.delete(&stock, ("n", "3")).await;
    stock_rows[1] = text_row(["2", "Two"]);
    stock_rows.truncate(2);
    pair.source.update(&bag, ("v", Some("y")), ("n", "2")).await;
    pair.source.insert(&bag, &[text_row(["1", "x"])]).await;
    bag_rows[3] = text_row(["2", "y"]);
    bag_rows.push(text_row(["1", "x"]));

    let third = pair.run().await;

    // Without a key, a row that changed is one that is gone and one that is new.
    assert_eq!(third, (2 + 1 + 1 + 2, 2 + 1 + 1));
    pair.holds(&parts, &parts_rows).await;
    pair.holds(&nothing, &late).await;
    pair.holds(&stock, &stock_rows).await;
    pair.holds(&bag, &bag_rows).await;
}

async fn name_that_is_too_long_for_the_target_is_refused(pair: Pair) {
    let name = "n".repeat(64);
    let columns = [("id", Kind::Int), (name.as_str(), Kind::Int)];
    let table = SampleTable::new("t", &columns, &["id"]);
    let rows = [text_row(["1", "2"])];
    pair.pipeline("  t: { capture: full, to: t }");
    let (from, to) = (pair.source.engine(), pair.target.engine());

    match longest_name(&name, from, to) {
        Some(Exception::NameTooLongForSource) => assert_eq!(from, Engine::Postgres),
        Some(Exception::NameTooLongForTarget) => {
            pair.source.fill(&table, &rows).await;
            let refused = pair.syncset("pipeline run p").await;
            assert_ne!(refused.code, 0, "{}", refused.stdout);
            assert!(
                refused.stdout.contains("has 64 bytes"),
                "{}",
                refused.stdout
            );
            let plan = pair.syncset("pipeline plan p").await;
            assert!(plan.stdout.contains("has 64 bytes"), "{}", plan.stdout);
            assert!(!pair.target.has_table("t").await, "nothing was made");
        }
        None => {
            pair.source.fill(&table, &rows).await;
            assert_eq!(pair.run().await, (1, 0));
            pair.holds(&table, &rows).await;
        }
    }
}
