//! Plugins of each language, from `plugin new` to rows at the target, built from source.

use kit::{PluginLanguage, Project, SqliteFile, build_plugin, run_plugin_tool};

const PIPELINE: &str = "version: 1\nsource: \"sqlite:source.db\"\ntarget: \"sqlite:target.db\"\n\
     tables:\n  people:\n    derive: { spoken: \"normalise_phone(phone, country)\" }\n    \
     transform: [ { plugin: phones, config: { column: phone } } ]\n";

const PEOPLE: &str = "CREATE TABLE people (id INTEGER PRIMARY KEY, phone TEXT, country TEXT); \
     INSERT INTO people VALUES (1, '0171 2345678', 'DE'), (2, '+49 (171) 234-5679', 'DE'), \
     (3, '0041 44 668 18 00', 'DE'), (4, NULL, 'DE'), (5, 'unknown', 'DE')";

async fn write_test_and_run(language: PluginLanguage) {
    let project = Project::new("version: 1\nplugins:\n  phones: { path: phones/phones.wasm }\n");
    let lang = language.name();
    let made = ["plugin", "new", "--lang", lang, "phones"];
    project.syncset(made).await.expect_success();
    build_plugin(&project, language, "phones").await;

    let tested = project
        .syncset([
            "plugin",
            "test",
            "phones",
            "--input",
            "phones/cases/phones.jsonl",
            "--expect",
            "phones/cases/phones.expected.jsonl",
            "--config",
            "{\"column\": \"phone\"}",
        ])
        .await;

    assert_eq!(tested.code, 0, "{}{}", tested.stdout, tested.stderr);
    let inspected = project.syncset(["plugin", "inspect", "phones", "--output", "json"]);
    let inspected = inspected.await.expect_success().json();
    assert_eq!(
        inspected["imports"],
        serde_json::json!(["syncset:plugin/host@0.1.0"])
    );
    assert_eq!(inspected["functions"][0]["name"], "normalise_phone");
    project.syncset(["plugin", "pin"]).await.expect_success();
    project.sqlite("source.db").execute(PEOPLE).await;
    project.pipeline("p", PIPELINE);
    let run = project.syncset(["pipeline", "run", "p"]).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_normalised(&project.sqlite("target.db")).await;
}

async fn assert_normalised(target: &SqliteFile) {
    let rows = target
        .rows("SELECT id, phone, spoken FROM people ORDER BY id")
        .await;
    let wanted = [
        ("1", Some("+491712345678")),
        ("2", Some("+491712345679")),
        ("3", Some("+41446681800")),
        ("4", None),
        ("5", None),
    ];
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row[0].as_deref().unwrap_or_default(), row[1].as_deref()))
        .collect();
    assert_eq!(found, wanted);
    assert!(rows.iter().all(|row| row[1] == row[2]), "{rows:?}");
}

#[tokio::test]
async fn rust_plugin_is_made_built_tested_pinned_and_run() {
    write_test_and_run(PluginLanguage::Rust).await;
}

#[tokio::test]
async fn python_plugin_is_made_built_tested_pinned_and_run() {
    write_test_and_run(PluginLanguage::Python).await;
}

#[tokio::test]
async fn js_plugin_is_made_built_tested_pinned_and_run() {
    write_test_and_run(PluginLanguage::Js).await;
}

/// Says what it finds of the machine, and prints a line.
const CURIOUS: &str = r#"
import os
from syncset_plugin import plugin, scalar

plugin(name="curious", version="0.1.0", doc="Looks around.")


@scalar
def look(path: str) -> str:
    print("looking")
    return f"{dict(os.environ)}"
"#;

#[tokio::test]
async fn plugin_that_wants_wasi_is_refused_or_gets_an_empty_one() {
    let project = Project::new(
        "version: 1\nplugins:\n  curious: { path: curious/curious.wasm }\n  \
         sandboxed: { path: curious/curious.wasm, wasi: sandbox }\n",
    );
    let made = ["plugin", "new", "--lang", "python", "curious"];
    project.syncset(made).await.expect_success();
    project.file("curious/plugin.py", CURIOUS);
    project.file("rows.jsonl", "{\"path\": \"/\"}\n");
    // As people build who do not know that nothing of it is there.
    let build = "componentize-py -d sdk/wit -w batch-plugin componentize -p . -p sdk \
                 syncset_plugin.guest -o curious.wasm";
    let words: Vec<&str> = build.split_whitespace().collect();
    run_plugin_tool(&project, PluginLanguage::Python, "curious", &words).await;

    let refused = project.syncset(["plugin", "inspect", "curious"]).await;
    let test = |plugin| {
        let words = ["plugin", "test", plugin, "--input", "rows.jsonl"];
        let words = [&words[..], &["--call", "look(path)", "--output", "json"]].concat();
        project.spawn_with(words, &[("SYNCSET_LOG", "info")]).wait()
    };
    let looked = test("sandboxed").await;

    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("imports `wasi:"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("wasi: sandbox"),
        "{}",
        refused.stderr
    );
    assert_eq!(looked.code, 0, "{}{}", looked.stdout, looked.stderr);
    assert_eq!(looked.json()["rows"][0]["after"]["result"], "{}");
    assert!(looked.stderr.contains("looking"), "{}", looked.stderr);
}
