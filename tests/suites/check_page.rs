//! The page of a check in a real browser.

use kit::{Browser, Project};
use serde_json::Value;

/// Names of the checked tables, which people see.
const TABLES: [&str; 2] = [
    "orders",
    "a <b>bold</b> & long name without any break in it_______",
];

/// Texts that stand out from what is behind them by less than 4.5 to 1, and marks of the map by
/// less than 3 to 1, as WCAG 2.2 computes it.
const FAINT: &str = r#"(() => {
    const channel = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const parsed = text => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) =>
        0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
    const behind = element => {
        for (let it = element; it; it = it.parentElement) {
            const colour = parsed(getComputedStyle(it).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const ratio = (a, b) => {
        const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };
    const faint = [];
    for (const element of document.body.querySelectorAll('*')) {
        const own = [...element.childNodes].some(it => it.nodeType === 3 && it.data.trim());
        if (!own || element.closest('script, style')) continue;
        const seen = ratio(parsed(getComputedStyle(element).color), behind(element));
        if (seen < 4.5) faint.push(`${element.tagName} ${element.textContent}: ${seen}`);
    }
    for (const mark of document.querySelectorAll('.cell.hit, .cell.open, .bar')) {
        const seen = ratio(parsed(getComputedStyle(mark).fill), behind(mark));
        if (seen < 3) faint.push(`${mark.className.baseVal}: ${seen}`);
    }
    for (const mark of document.querySelectorAll('.mark')) {
        const cell = mark.previousElementSibling;
        const seen = ratio(parsed(getComputedStyle(mark).fill), parsed(getComputedStyle(cell).fill));
        if (seen < 3) faint.push(`mark: ${seen}`);
    }
    return faint;
})()"#;

/// A project whose page shows drift in two tables, after an earlier check without.
async fn checked() -> Project {
    let project = Project::empty();
    let (source, target) = (project.sqlite("source.db"), project.sqlite("target.db"));
    project.file(
        "syncset.yaml",
        "version: 1\nconnections:\n\
         \x20 source: { url: \"sqlite:source.db\" }\n\
         \x20 target: { url: \"sqlite:target.db\" }\n",
    );
    let mut pipeline = String::from("version: 1\nsource: source\ntarget: target\ntables:\n");
    for table in TABLES {
        source
            .execute(&format!(
                "CREATE TABLE \"{table}\" (id INTEGER PRIMARY KEY, customer TEXT, amount INTEGER, \
                 a_column_with_a_rather_long_name TEXT)"
            ))
            .await;
        source
            .execute(&format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                 INSERT INTO \"{table}\" SELECT i, 'customer ' || i, i * 7, 'text ' || i FROM n"
            ))
            .await;
        pipeline.push_str(&format!("  \"{table}\": {{ capture: hash }}\n"));
    }
    project.pipeline("shop", &pipeline);
    for _ in 0..2 {
        let run = project.syncset(["pipeline", "run", "shop"]).await;
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }
    let check = ["pipeline", "check", "shop", "--html", "drift.html"];
    assert_eq!(project.syncset(check).await.code, 0);
    for table in TABLES {
        for change in [
            "UPDATE \"{}\" SET amount = -1, a_column_with_a_rather_long_name = NULL WHERE id % 500 = 1",
            "DELETE FROM \"{}\" WHERE id = 77",
            "INSERT INTO \"{}\" (id) VALUES (1234567890123456)",
        ] {
            target.execute(&change.replace("{}", table)).await;
        }
    }
    let output = project.syncset(check).await;
    assert_eq!(output.code, 4, "{}{}", output.stdout, output.stderr);
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn page_of_a_check_is_seen_read_and_walked() {
    let project = checked().await;
    let file = project.path().join("drift.html");
    let mut browser = Browser::start().await;
    browser.open(&file).await;

    let drift = "document.querySelectorAll('.cell.hit').length";
    let drifted = browser.run(drift).await;
    assert!(drifted.as_u64().is_some_and(|hit| hit >= 2), "{drifted}");
    assert!(browser.run("document.querySelector('b')").await.is_null());

    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        let faint = browser.run(FAINT).await;
        assert_eq!(faint, Value::Array(Vec::new()), "{scheme}");
    }
    let papers = "getComputedStyle(document.body).backgroundColor";
    let dark = browser.run(papers).await;
    browser.prefer("light").await;
    assert_ne!(browser.run(papers).await, dark);

    is_spoken(&mut browser).await;
    is_walked(&mut browser).await;
    // All details are open by now, the widest that the page gets.
    for width in [320, 1280] {
        browser.resize(width).await;
        let wide = browser.run("document.scrollingElement.scrollWidth").await;
        assert!(wide.as_u64() <= Some(u64::from(width)), "{wide} at {width}");
    }

    let asked = browser.requested();
    assert_eq!(asked.len(), 1, "the page itself: {asked:?}");
    assert_eq!(browser.complaints(), Vec::<&Value>::new());
}

/// What a screen reader has to go by.
async fn is_spoken(browser: &mut Browser) {
    let spoken = browser.spoken().await;
    let names = |role: &str| -> Vec<&str> {
        let told = spoken.iter().filter(|(told, _)| told == role);
        told.map(|(_, name)| name.as_str()).collect()
    };
    assert_eq!(names("RootWebArea"), ["syncset check shop"]);
    assert_eq!(names("main").len(), 1);
    let images = names("image");
    assert_eq!(images.len(), 2 * TABLES.len(), "{images:?}");
    let maps = images.iter().filter(|name| name.starts_with("Map of 256"));
    assert_eq!(maps.count(), TABLES.len(), "{images:?}");
    assert!(images.iter().all(|name| !name.is_empty()), "{images:?}");
    for role in ["link", "heading", "region", "table", "DisclosureTriangle"] {
        let names = names(role);
        assert!(!names.is_empty(), "{role}");
        assert!(
            names.iter().all(|name| !name.is_empty()),
            "{role}: {names:?}"
        );
    }
    let heads = names("columnheader");
    assert!(heads.contains(&"Different"), "{heads:?}");
    for table in TABLES {
        assert!(names("rowheader").contains(&table), "{table}");
    }
}

/// Everything that can be used is reached with Tab, shows that it is, and opens with Enter.
async fn is_walked(browser: &mut Browser) {
    browser.run("document.body.focus()").await;
    let there = "document.querySelectorAll('a, summary, [tabindex]').length";
    let there = browser.run(there).await.as_u64().expect("a number");
    let mut reached = Vec::new();
    // What is still folded away is among them: each fold is opened on the way.
    for _ in 0..there {
        browser.press("Tab").await;
        let at = browser
            .run(
                "(() => { const at = document.activeElement; const style = getComputedStyle(at); \
                 const box = at.getBoundingClientRect(); \
                 return [at.tagName, style.outlineStyle, box.left >= 0 && box.width > 0]; })()",
            )
            .await;
        assert_eq!(at[1], "solid", "{at}");
        assert_eq!(at[2], true, "{at}");
        let tag = at[0].as_str().expect("a name").to_owned();
        if tag == "SUMMARY" {
            browser.press("Enter").await;
        }
        reached.push(tag);
    }
    let closed = "document.querySelectorAll('details:not([open])').length";
    assert_eq!(browser.run(closed).await, 0, "{reached:?}");
    assert_eq!(reached[0], "A", "the way past the head comes first");
    let ways = reached.iter().filter(|tag| *tag == "SUMMARY").count();
    assert_eq!(ways, 2 * TABLES.len(), "{reached:?}");
}
