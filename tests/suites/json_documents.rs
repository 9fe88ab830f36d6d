//! docs/json.md: every verb prints the fields that are documented, of the types that are shown
//! there, and no others; every field that is documented can be seen printed.

use kit::{Process, Project, SqliteFile};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../docs/json.md");
const VERBS: &str = include_str!("../../docs/cli-reference.md");

/// The target refuses rows that are `bad`.
const SOURCE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, seq INTEGER NOT NULL); \
     INSERT INTO orders VALUES (1, 'new', 100), (2, 'bad', 200); \
     CREATE TABLE bills (id INTEGER PRIMARY KEY, status TEXT); \
     INSERT INTO bills VALUES (1, 'new'); CREATE TABLE secrets (id INTEGER PRIMARY KEY); \
     CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, password TEXT, updated_at TIMESTAMP NOT NULL \
       DEFAULT CURRENT_TIMESTAMP, length INTEGER GENERATED ALWAYS AS (length(email)) STORED); \
     CREATE INDEX people_updated_at ON people (updated_at); \
     INSERT INTO people (id, email) VALUES (1, 'ann@example.org'); \
     CREATE VIEW names AS SELECT email FROM people; ANALYZE";

const TARGET: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT CHECK (status <> 'bad'), seq INTEGER); \
     CREATE TABLE bills (id INTEGER PRIMARY KEY, status TEXT CHECK (status <> 'bad'))";

/// Types a field was seen with, by paths such as `tables[].key`.
type Fields = BTreeMap<String, BTreeSet<&'static str>>;

/// The documents of the page by the words after `json`.
fn documented() -> BTreeMap<&'static str, Value> {
    let blocks = PAGE.split("```json ").skip(1);
    let read = blocks.map(|block| {
        let (name, rest) = block.split_once('\n').expect("a block has lines");
        let text = rest.split("```").next().expect("a block ends");
        let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, value)
    });
    read.collect()
}

/// Fields that the page says may be `null`, each as the document and its path.
fn nullable() -> BTreeSet<String> {
    let line = PAGE
        .lines()
        .find(|line| line.starts_with("| may be `null` |"))
        .expect("the page says which fields may be null");
    line.split('`')
        .skip(3)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// All fields of a value. Below `known` an empty list or object says that what it holds is
/// described elsewhere.
fn fields(value: &Value, known: Option<&Value>, path: &str, found: &mut Fields) {
    let is_closed = |known: &Value| match known {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if known.is_some_and(is_closed) {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let path = format!("{path}.{name}");
                let path = path.trim_start_matches('.');
                found
                    .entry(path.to_owned())
                    .or_default()
                    .insert(type_name(inner));
                let below = known.and_then(|known| known.get(name));
                fields(inner, below, path, found);
            }
        }
        Value::Array(items) => {
            let merged = known.and_then(Value::as_array).map(|items| merged(items));
            for item in items {
                let path = format!("{path}[]");
                found
                    .entry(path.clone())
                    .or_default()
                    .insert(type_name(item));
                fields(item, merged.as_ref(), &path, found);
            }
        }
        _ => {}
    }
}

/// One object with the fields of all.
fn merged(items: &[Value]) -> Value {
    let mut all = serde_json::Map::new();
    for (name, value) in items.iter().filter_map(Value::as_object).flatten() {
        let known = all.entry(name.clone()).or_insert(Value::Null);
        // Of a field that is shown in several ways the one with the most to compare.
        if !value.is_string() || known.is_null() {
            *known = value.clone();
        }
    }
    match items.first() {
        Some(Value::Object(_)) => Value::Object(all),
        Some(other) => other.clone(),
        None => Value::Null,
    }
}

/// Every `failure`, and every member of `failures` that is about no table, has the one form.
fn assert_failures(value: &Value, form: &Value) {
    let check = |failure: &Value| {
        let map = failure.as_object().expect("a failure is an object");
        for (name, inner) in map {
            let known = &form[name.as_str()];
            assert!(!known.is_null(), "`{name}` in {failure}");
            assert_eq!(type_name(inner), type_name(known), "`{name}` in {failure}");
        }
        assert!(map.contains_key("message") && map.contains_key("exit_code"));
    };
    let Some(map) = value.as_object() else {
        value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|item| assert_failures(item, form));
        return;
    };
    for (name, inner) in map {
        match (name.as_str(), inner) {
            ("failure", failure) => check(failure),
            ("failures", Value::Array(all)) => all
                .iter()
                .filter(|failure| failure.get("table").is_none())
                .for_each(check),
            _ => assert_failures(inner, form),
        }
    }
}

/// Every failure in a document has the form that the page shows.
///
/// # Panics
/// If one has not.
pub(crate) fn assert_documented(document: &Value) {
    assert_failures(document, &documented()["failures"]["failures"][0]);
}

/// What was printed, verb by verb.
struct Seen {
    project: Project,
    page: BTreeMap<&'static str, Value>,
    fields: BTreeMap<&'static str, Fields>,
}

impl Seen {
    /// Runs a verb and takes down the fields of its document.
    async fn run(&mut self, name: &'static str, words: &str) -> Value {
        let words = words.split(' ').chain(["--output", "json"]);
        let output = self.project.syncset(words).await;
        let document = output.json();
        assert_eq!(document["exit_code"], output.code, "{name}: {document}");
        self.note(name, &document);
        document
    }

    fn note(&mut self, name: &'static str, document: &Value) {
        assert_failures(document, &self.page["failures"]["failures"][0]);
        let known = self
            .page
            .get(name)
            .unwrap_or_else(|| panic!("docs/json.md has no block `{name}`"));
        let found = self.fields.entry(name).or_default();
        fields(document, Some(known), "", found);
    }

    /// What the page has and was not seen, and what was seen and the page has not.
    fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let nullable = nullable();
        let nothing = Fields::new();
        for (name, document) in &self.page {
            let mut expected = Fields::new();
            fields(document, Some(document), "", &mut expected);
            let found = self.fields.get(name).unwrap_or(&nothing);
            for path in expected.keys().filter(|path| !found.contains_key(*path)) {
                wrong.push(format!("{name}: nothing printed `{path}`"));
            }
            for (path, types) in found {
                let Some(shown) = expected.get(path) else {
                    wrong.push(format!("{name}: `{path}` is not on the page"));
                    continue;
                };
                let may_be_null = nullable.contains(&format!("{name}: {path}"));
                let other = types.iter().filter(|one| !shown.contains(*one));
                let other = other.filter(|one| !(**one == "null" && may_be_null));
                wrong.extend(
                    other.map(|other| {
                        format!("{name}: `{path}` is {other}, the page shows {shown:?}")
                    }),
                );
            }
        }
        wrong
    }
}

fn pipeline(tables: &str) -> String {
    format!(
        "version: 1\nsource: shop\ntarget: copy\ntags: [hourly]\nhooks:\n  before: [ {{ command: \"true\" }} ]\n  \
         after: [ {{ command: \"exit 3\" }} ]\ntables:\n  {tables}\n"
    )
}

/// No row of `orders` may be deleted without a person's word.
const TABLES: &str = "orders: { where: \"length(status) > 1\", where_pushdown: best_effort, \
     capture: { mode: cursor, column: seq, overlap: 1 }, rejects: { max_rows: 5 }, \
     guards: { max_delete_percent: 0, max_delete_rows_always_allowed: 0 } }\n  \
     people: { columns: [id, email, updated_at], \
     capture: { mode: cursor, column: updated_at, overlap: 1h, zone: UTC, \
     find_deletes: { every: 0s } } }\n  \
     bills: {}\n  secrets: skip";

async fn shop() -> (Seen, SqliteFile) {
    let project = Project::new(
        "version: 1\nproject: shop\nlease: { expires: 5s }\nconnections:\n  \
         shop: { type: sqlite, path: shop.db }\n  copy: { type: sqlite, path: copy.db }\n  \
         gone: { type: sqlite, path: gone.db }\n",
    );
    let source = project.sqlite("shop.db");
    source.execute(SOURCE).await;
    project.sqlite("copy.db").execute(TARGET).await;
    project.pipeline("p", &pipeline(TABLES));
    project.file("notes.txt", &"no database\n".repeat(100));
    project.pipeline(
        "broken",
        "version: 1\nsource: shop\ntarget: \"sqlite:notes.txt\"\ntables: { orders: {} }\n",
    );
    let seen = Seen {
        project,
        page: documented(),
        fields: BTreeMap::new(),
    };
    (seen, source)
}

/// A run that is frozen in the middle of a unit, lease and all.
async fn frozen(project: &Project) -> Process {
    let stop = [("SYNCSET_FAIL_POINT", "unit.before_commit=stop")];
    let process = project.spawn_with(["pipeline", "run", "p"], &stop);
    assert!(process.frozen().await);
    process
}

#[tokio::test]
async fn every_verb_prints_the_fields_that_are_documented() {
    let (mut seen, source) = shop().await;

    before_the_first_run(&mut seen).await;
    runs(&mut seen, &source).await;
    after_runs(&mut seen, &source).await;
    checks(&mut seen).await;
    schemas(&mut seen).await;
    plugins(&mut seen).await;

    let wrong = seen.differences();
    assert!(wrong.is_empty(), "docs/json.md:\n{}", wrong.join("\n"));
}

/// Verbs about plugins.
async fn plugins(seen: &mut Seen) {
    let config = seen.project.read("syncset.yaml");
    let plugins = "plugins:\n  double: { path: double.wat }\n  lost: { path: lost.wasm }\n";
    seen.project.file("syncset.yaml", &(config + plugins));
    let guest = kit::workspace().join("plugins/examples/raw-wat/double.wat");
    let guest = std::fs::read_to_string(guest).expect("the example is there");
    seen.project.file("double.wat", &guest);
    seen.project.file("rows.jsonl", "{\"n\": 1}\n{\"n\": 2}\n");
    seen.project.file("expected.jsonl", "{\"result\": 3}\n");
    seen.run("plugin list", "plugin list").await;
    seen.run("plugin inspect", "plugin inspect double").await;
    seen.run("plugin pin", "plugin pin double").await;
    let test = "plugin test double --input rows.jsonl --expect expected.jsonl --call double(n)";
    let tested = seen.run("plugin test", test).await;
    assert_eq!(tested["exit_code"], 4, "{tested}");
    seen.run("plugin new", "plugin new --lang js loud").await;
    let built = kit::build_plugin(&seen.project, kit::PluginLanguage::Js, "loud").await;
    let built = serde_json::from_str(&built).expect("it is JSON");
    seen.note("plugin build", &built);
    seen.run("plugin inspect", "plugin inspect loud/loud.wasm")
        .await;
    let drift = seen.project.read("pipelines/drift.yaml");
    let through = "people: { transform: [ lost ], ";
    seen.project
        .pipeline("through", &drift.replace("people: { ", through));
    seen.run("plugin list", "plugin list").await;
    let explain = seen
        .run("pipeline plan", "pipeline plan drift --explain")
        .await;
    assert!(explain["tables"][0]["explain"].is_array(), "{explain}");
}

/// Verbs about files and stores.
async fn before_the_first_run(seen: &mut Seen) {
    seen.project.pipeline("half", "version: 1\nsource: shop\n");
    seen.run("connection list", "connection list").await;
    let half = seen.project.path().join("pipelines/half.yaml");
    std::fs::remove_file(half).expect("the file is there");
    seen.run("connection test", "connection test").await;
    seen.run("connection discover", "connection discover shop --columns")
        .await;
    seen.run("doctor", "doctor").await;
    seen.run("failures", "pipeline history p nothing").await;
    seen.run("failures", "pipeline status broken").await;
    seen.run("failures", "pipeline run nothing").await;
    seen.run("several pipelines", "pipeline status").await;
    seen.run("pipeline list", "pipeline list").await;
    seen.run("pipeline validate", "pipeline validate").await;
    seen.run("pipeline plan", "pipeline plan p").await;
    seen.run("types", "types postgres mysql").await;
    seen.run("man", "man --dir man").await;
    let target = kit::postgres().await.database("documents").await;
    let shop = seen.project.path().join("shop.db").display().to_string();
    let to = target.url();
    let init = format!("-C new init --from sqlite:{shop} --to {to} --name first");
    seen.run("init", &init).await;
    let spans = "CREATE TABLE spans (id integer PRIMARY KEY, span interval); \
         INSERT INTO spans VALUES (1, '1 day'); ANALYZE spans";
    target.execute(spans).await;
    let text =
        format!("version: 1\nsource: \"{to}\"\ntarget: copy\ntables: {{ public.spans: {{}} }}\n");
    seen.project.pipeline("spans", &text);
    seen.run("pipeline plan", "pipeline plan spans").await;
}

/// Runs of every outcome.
async fn runs(seen: &mut Seen, source: &SqliteFile) {
    seen.run("pipeline run", "pipeline run broken").await;
    seen.run("pipeline run", "pipeline run p").await;
    seen.run("rejected list", "rejected list p --rows").await;
    source.execute("INSERT INTO bills VALUES (2, 'bad')").await;
    seen.run("pipeline run", "pipeline run p").await;
    let slice = ["pipeline", "run", "p", "--tables", "bills", "--where"];
    let slice = [&slice[..], &["id = 1", "--output", "ndjson"]].concat();
    let events = seen.project.syncset(slice).await;
    for line in events.stdout.lines() {
        let event = serde_json::from_str(line).expect("an event is JSON");
        seen.note("pipeline run, ndjson", &event);
        seen.note_report(&event);
    }
    let history = seen.run("pipeline history", "pipeline history p").await;
    let id = history["runs"][0]["run_id"].as_str().expect("a run");
    let words = format!("pipeline history p {id}");
    seen.run("pipeline history RUN", &words).await;
    // A run that is under way makes others fail or be skipped; once it is gone one takes over.
    let mended = "UPDATE bills SET status = 'new'; INSERT INTO orders VALUES (3, 'new', 300)";
    source.execute(mended).await;
    let held = frozen(&seen.project).await;
    seen.run("pipeline status", "pipeline status p").await;
    seen.run("pipeline run", "pipeline run p --on-lock skip")
        .await;
    seen.run("failures", "rejected discard p --all").await;
    held.kill9();
    held.wait().await;
    seen.run("pipeline unlock", "pipeline unlock p").await;
}

impl Seen {
    /// `data` of the last event is a whole report.
    fn note_report(&mut self, event: &Value) {
        if event["event"] == "run_finished" {
            self.note("pipeline run", &event["data"]);
        }
    }
}

/// Guards, edits, what is left of refused rows, and the end of the pipeline.
async fn after_runs(seen: &mut Seen, source: &SqliteFile) {
    let leaves = "UPDATE orders SET status = 'x', seq = 500 WHERE id = 1";
    source.execute(leaves).await;
    seen.run("pipeline run", "pipeline run p --dry-run").await;
    let stopped = seen.run("pipeline run", "pipeline run p").await;
    assert_eq!(stopped["exit_code"], 8, "{stopped}");
    seen.run("pipeline status", "pipeline status p --max-age 1h")
        .await;
    seen.run("pipeline plan", "pipeline plan p").await;
    let bad = "INSERT INTO orders VALUES (4, 'bad', 600)";
    source.execute(bad).await;
    seen.run("pipeline run", "pipeline run p").await;
    seen.run("rejected retry", "rejected retry p").await;
    let edited = TABLES.replace("orders: {", "orders: { columns: [id, status, seq],");
    let edited = edited.replace("length(status) > 1", "length(status) > 2");
    seen.project.pipeline("p", &pipeline(&edited));
    seen.run("rejected retry", "rejected retry p").await;
    seen.run("rejected discard", "rejected discard p --all")
        .await;
    let edited = "bills: { columns: [id], derive: { loud: \"upper(status)\" } }";
    let edited = TABLES.replace("bills: {}", edited);
    seen.project.pipeline("p", &pipeline(&edited));
    seen.run("pipeline plan", "pipeline plan p").await;
    let (_, rest) = edited.split_once("\n").expect("there are more tables");
    seen.project.pipeline("p", &pipeline(rest.trim_start()));
    seen.run("pipeline plan", "pipeline plan p").await;
    seen.run("pipeline reset", "pipeline reset p --tables orders,bills")
        .await;
    let folder = seen.project.path().join("pipelines");
    std::fs::rename(folder.join("p.yaml"), folder.join("q.yaml")).expect("the file is there");
    seen.run("pipeline adopt", "pipeline adopt p q").await;
}

/// Drift of every kind, and a repair that is refused.
async fn checks(seen: &mut Seen) {
    let tables = "orders: { capture: { mode: cursor, column: seq, overlap: 1 } }\n  \
         bills: { capture: full }\n  \
         people: { columns: [id, email, updated_at], \
         capture: { mode: cursor, column: updated_at, overlap: 1h, zone: UTC } }";
    seen.project.pipeline(
        "drift",
        &format!("version: 1\nsource: shop\ntarget: \"sqlite:drift.db\"\ntables:\n  {tables}\n"),
    );
    let load = "pipeline run drift --max-load 5% --jobs 1";
    let loaded = seen.run("pipeline run", load).await;
    assert_eq!(loaded["exit_code"], 0, "{loaded}");
    let target = seen.project.sqlite("drift.db");
    let edits = "DELETE FROM orders WHERE id = 1; UPDATE bills SET status = 'edited'; \
         DROP TABLE people; \
         CREATE TRIGGER no BEFORE INSERT ON orders BEGIN SELECT RAISE(FAIL, 'no'); END";
    target.execute(edits).await;
    let checked = seen.run("pipeline check", "pipeline check drift").await;
    assert_eq!(checked["exit_code"], 4, "{checked}");
    let two = "check shop.orders sqlite:drift.db#orders --key id";
    seen.run("check", two).await;
    seen.run("pipeline repair", "pipeline repair drift --dry-run")
        .await;
    seen.run("pipeline repair", "pipeline repair drift").await;
    target.execute("DROP TRIGGER no").await;
    let repair = seen.run("pipeline repair", "pipeline repair drift").await;
    let run = repair["run_id"].as_str().expect("the run's id");
    seen.run("pipeline revert", &format!("pipeline revert drift {run}"))
        .await;
    seen.run("pipeline history", "pipeline history drift").await;
}

/// A source that changes, and a person who agrees.
async fn schemas(seen: &mut Seen) {
    let source = kit::postgres().await.database("documents").await;
    source
        .execute(
            "CREATE TABLE things (id int PRIMARY KEY, note text, code int, UNIQUE (code)); \
             INSERT INTO things VALUES (1, 'one', 1)",
        )
        .await;
    let text = |settings: &str| {
        let url = source.url();
        format!(
            "version: 1\nsource: \"{url}\"\ntarget: \"sqlite:things.db\"\n\
             tables: {{ public.things: {{ {settings} }} }}\n"
        )
    };
    seen.project.pipeline("things", &text(""));
    seen.run("pipeline run", "pipeline run things").await;
    source
        .execute("ALTER TABLE things ALTER COLUMN code TYPE bigint")
        .await;
    let edited = "columns: { exclude: [note] }, derive: { twice: \"id * 2\" }, \
         schema: { type_change: approve }";
    seen.project.pipeline("things", &text(edited));
    seen.run("pipeline plan", "pipeline plan things").await;
    let waits = seen.run("schema diff", "schema diff things").await;
    assert_eq!(waits["exit_code"], 5, "{waits}");
    let done = seen.run("schema approve", "schema approve things").await;
    assert_eq!(done["exit_code"], 0, "{done}");
    let versions = seen.run("schema history", "schema history things").await;
    assert_eq!(
        versions["tables"][0]["versions"][0]["version"], 2,
        "{versions}"
    );
}

/// Verbs of the reference, without the program's name.
fn verbs() -> impl Iterator<Item = &'static str> {
    let titles = VERBS.lines().filter_map(|line| line.strip_prefix("## `"));
    titles.map(|title| {
        let title = title.trim_end_matches('`');
        title.strip_prefix("syncset ").expect("a verb of ours")
    })
}

#[test]
fn every_verb_has_its_document_on_the_page() {
    let page = documented();

    for verb in verbs() {
        // Its script is for a shell.
        if verb != "completions" {
            assert!(page.contains_key(verb), "docs/json.md lacks `{verb}`");
        }
    }
    assert!(verbs().count() > 15);
}

#[tokio::test]
async fn every_verb_tells_its_mistakes_in_the_documented_form() {
    let (seen, _) = shop().await;
    let form = &seen.page["failures"];

    for verb in verbs() {
        let words = verb.split(' ').chain(["--bogus", "--output", "json"]);
        let output = seen.project.syncset(words).await.expect_code(2);
        let document = output.json();
        assert_eq!(output.stderr, "", "{verb}");
        assert_eq!(document["exit_code"], 2, "{verb}");
        assert_failures(&document, &form["failures"][0]);
        let names: Vec<_> = document.as_object().unwrap().keys().collect();
        assert_eq!(names, ["exit_code", "failures"], "{verb}");
    }
}
