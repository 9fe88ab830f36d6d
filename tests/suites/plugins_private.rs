//! What masks hide and what `${...}` brings in stays private while plugins tell all that they see.

use crate::plugins_lab::{add_plugin, spy};
use crate::targets::Target;
use kit::{Engine, Output, Project};
use std::path::Path;
use syncset_plugin_guests::{LOG, RESULT, Wat, words};

/// Part of every private text of the source.
const PLANTED: &str = "planted";

/// Part of every text that nobody hides: where it is not found, nothing was looked at.
const VISIBLE: &str = "visible";

/// Of the masks.
const MASK_KEY: &str = "0123-key-of-all-masks";

/// Of the plugin.
const PLUGIN_KEY: &str = "4567-key-of-the-plugin";

const COLUMNS: &str = "id int PRIMARY KEY, mail varchar(60) NOT NULL, note varchar(60), \
     phone varchar(40), address varchar(60), person varchar(60), unread_null varchar(40), \
     unread_constant varchar(40), born date, salary bigint, what varchar(60) NOT NULL, \
     rev bigint NOT NULL";

const MASKS: &str = "mail: { hmac_sha256: \"${MASK_KEY}\" }, loud: sha256, note: redact, \
     phone: { partial: { last: 2 } }, address: email, \
     person: { fake: name, key: \"${MASK_KEY}\" }, unread_null: null, \
     unread_constant: { constant: same }, born: { truncate_date: year }, \
     salary: { bucket: 1000000 }";

struct Lab {
    source: Target,
    target: Target,
    project: Project,
    outputs: Vec<Output>,
}

impl Lab {
    async fn new(source: Engine, target: Engine) -> Self {
        let (source, target) = (
            source.database("private").await,
            target.database("private").await,
        );
        let mut project = Project::between(&source.url(), &target.url());
        project.set("MASK_KEY", MASK_KEY);
        project.set("PLUGIN_KEY", PLUGIN_KEY);
        project.set("SYNCSET_LOG", "trace");
        let config =
            "config: { key: \"${PLUGIN_KEY}\", more: [ { auth: \"Bearer ${PLUGIN_KEY}\" } ] }";
        add_plugin(&project, "spy", spy().text().as_bytes(), config);
        source.execute(&format!("CREATE TABLE t ({COLUMNS})")).await;
        let lab = Self {
            source,
            target,
            project,
            outputs: Vec::new(),
        };
        lab.insert(&(1..=4).map(|id| (id, "one")).collect::<Vec<_>>())
            .await;
        lab.pipeline("skip_row");
        lab
    }

    fn pipeline(&self, on_error: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\nrejects: {{ max_rows: 9 }}\n\
             tables:\n  t:\n    capture: {{ mode: cursor, column: rev, overlap: 10 }}\n    \
             derive: {{ loud: \"upper(note)\" }}\n    mask: {{ {MASKS} }}\n    \
             transform: [ {{ plugin: spy, on_error: {on_error} }} ]\n"
        );
        self.project.pipeline("p", &text);
    }

    /// Rows with a text that is not masked.
    async fn insert(&self, rows: &[(u32, &str)]) {
        let rows: Vec<_> = rows.iter().map(|(id, what)| row(*id, what)).collect();
        let sql = format!("INSERT INTO t VALUES {}", rows.join(", "));
        self.source.execute(&sql).await;
    }

    async fn run(&mut self, words: &str) -> Output {
        let words = words.split(' ').chain(["--log-format", "json"]);
        let output = self.project.syncset(words).await;
        self.outputs.push(output.clone());
        output
    }

    /// Everything that a user, or whoever reads logs and backups, could see; each with its place.
    async fn everything(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (index, output) in self.outputs.iter().enumerate() {
            all.push((format!("stdout {index}"), output.stdout.clone()));
            all.push((format!("stderr {index}"), output.stderr.clone()));
        }
        let tables = self.target.pick(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables \
             WHERE table_type = 'BASE TABLE' \
             AND table_schema NOT IN ('pg_catalog', 'information_schema')",
            "SELECT name FROM sqlite_schema WHERE type = 'table'",
        );
        for table in self.target.rows(tables).await {
            let table = table[0].clone().expect("tables have names");
            let rows = self.target.rows(&format!("SELECT * FROM {table}")).await;
            let values: Vec<_> = rows.into_iter().flatten().flatten().collect();
            all.push((format!("table {table}"), values.join("\n")));
        }
        if let Target::Sqlite(file, _) = &self.target {
            let folder = file.path().parent().expect("a file is in a folder");
            all.extend(files(folder));
        }
        all.extend(files(self.project.path()));
        all
    }

    /// `kinds`: parts of the names of places in which what is not hidden must be found.
    async fn assert_private(&self, kinds: &[&str]) {
        let all = self.everything().await;
        for secret in secrets() {
            for (place, text) in &all {
                let text = text.to_lowercase();
                if let Some(at) = text.find(&secret) {
                    let from = text.floor_char_boundary(at.saturating_sub(400));
                    let to = text.floor_char_boundary(at + 200);
                    panic!("{secret} is in {place}: ...{}...", &text[from..to]);
                }
            }
        }
        // What is not hidden is found by the same search in each kind of place.
        let found: Vec<_> = all
            .iter()
            .filter(|(_, text)| text.contains(VISIBLE))
            .map(|(place, _)| place.as_str())
            .collect();
        let is_file = matches!(self.target, Target::Sqlite(..));
        for kind in kinds.iter().chain(is_file.then_some(&"any.db")) {
            let is_found = found.iter().any(|place| place.contains(kind));
            assert!(is_found, "{kind} was not searched: {found:?}");
        }
    }
}

fn row(id: u32, what: &str) -> String {
    let text = |column: &str| format!("'{PLANTED} {column} {id:02}'");
    format!(
        "({id}, {}, {}, {}, '{PLANTED}{id}@{VISIBLE}.example', {}, {}, {}, '{}', {}, \
         '{what} {VISIBLE} {id}', {id})",
        text("mail"),
        text("note"),
        text("phone"),
        text("person"),
        text("null"),
        text("constant"),
        born(id),
        salary(id),
    )
}

fn born(id: u32) -> chrono::NaiveDate {
    chrono::NaiveDate::from_ymd_opt(2931, 7, id).expect("July has the day")
}

fn salary(id: u32) -> u64 {
    731_000_047_110 + u64::from(id)
}

/// Texts that may be nowhere, in small letters.
fn secrets() -> Vec<String> {
    let mut secrets = vec![
        PLANTED.to_owned(),
        MASK_KEY.to_owned(),
        PLUGIN_KEY.to_owned(),
    ];
    // As databases show bytes.
    let hex = |text: &String| text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let bytes: Vec<String> = secrets.iter().map(hex).collect();
    secrets.extend(bytes);
    for id in 1..=20 {
        let day = born(id).signed_duration_since(chrono::NaiveDate::default());
        // As the plugin shows it.
        secrets.push(format!(" {} ", day.num_days()));
        secrets.push(born(id).to_string());
        secrets.push(salary(id).to_string());
    }
    secrets
}

/// The files of a folder, as text, with those of folders in it.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}

async fn nothing_leaks(source: Engine, target: Engine) {
    let mut lab = Lab::new(source, target).await;
    lab.run("pipeline plan p").await.expect_success();
    lab.run("pipeline run p").await.expect_success();
    let of_plugin = lab.target.rows("SELECT seen FROM t ORDER BY id").await;
    assert_eq!(of_plugin.len(), 4);

    // Rows that the target and the plugin refuse, and one that the plugin stops at.
    lab.refuse_at_target().await;
    lab.insert(&[(5, "refuse"), (6, "!skip"), (7, "!trap"), (8, "two")])
        .await;
    let sql = format!(
        "UPDATE t SET note = '{PLANTED} other', what = 'other {VISIBLE}', rev = 100 WHERE id = 2"
    );
    lab.source.execute(&sql).await;
    let run = lab
        .run("pipeline run p --output json")
        .await
        .expect_success();
    assert_eq!(
        run.json()["tables"][0]["rows_rejected"],
        3,
        "{}",
        run.stdout
    );
    assert_eq!(lab.target.value("SELECT count(*) FROM t").await, "5");
    lab.run("rejected list p --rows").await.expect_success();
    lab.run("rejected list p --rows --output json")
        .await
        .expect_success();
    lab.run("rejected retry p").await;

    lab.target
        .execute("UPDATE t SET salary = 1 WHERE id = 1; DELETE FROM t WHERE id = 3")
        .await;
    lab.run("pipeline check p --html drift.html")
        .await
        .expect_code(4);
    lab.run("pipeline repair p --dry-run").await;
    let repair = lab.run("pipeline repair p --output json").await;
    let id = repair.json()["run_id"]
        .as_str()
        .expect("a repair has an id")
        .to_owned();
    lab.run(&format!("pipeline revert p {id}"))
        .await
        .expect_success();
    lab.run("pipeline check p --output json")
        .await
        .expect_code(4);

    lab.run("pipeline history p").await.expect_success();
    lab.run(&format!("pipeline history p {id} --output json"))
        .await;
    for words in [
        "pipeline status p",
        "doctor",
        "plugin list",
        "plugin inspect spy",
        "plugin test spy --input pipeline:p",
        "pipeline plan p --output json",
        "schema diff p",
    ] {
        lab.run(words).await;
    }

    let kinds = ["stdout", "stderr", "drift.html", "rejected", "before_image"];
    lab.assert_private(&kinds).await;

    // What is loaded again fails for the same rows.
    lab.pipeline("fail");
    let failed = lab.run("pipeline run p --output ndjson").await;
    assert_ne!(failed.code, 0);
    assert!(failed.stdout.contains("plugin `spy`"), "{}", failed.stdout);
    lab.assert_private(&["stdout", "stderr", "run"]).await;
}

impl Lab {
    async fn refuse_at_target(&self) {
        let condition = format!("what <> 'refuse {VISIBLE} 5'");
        let check = format!("ALTER TABLE t ADD CHECK ({condition})");
        let trigger = format!(
            "CREATE TRIGGER no BEFORE INSERT ON t WHEN NOT (NEW.{condition}) \
             BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: no'); END"
        );
        self.target
            .execute(self.target.pick(&check, &trigger))
            .await;
    }
}

#[tokio::test]
async fn plugins_tell_no_secret_from_postgres_to_postgres() {
    nothing_leaks(Engine::Postgres, Engine::Postgres).await;
}

#[tokio::test]
async fn plugins_tell_no_secret_from_postgres_to_sqlite() {
    nothing_leaks(Engine::Postgres, Engine::Sqlite).await;
}

#[tokio::test]
async fn plugins_tell_no_secret_from_mysql_to_sqlite() {
    nothing_leaks(Engine::Mysql, Engine::Sqlite).await;
}

#[tokio::test]
async fn columns_that_masks_do_not_read_are_in_no_statement() {
    let mut lab = Lab::new(Engine::Postgres, Engine::Sqlite).await;
    let Target::Postgres(source) = &lab.source else {
        panic!("the source is PostgreSQL");
    };
    source.log_statements().await;

    lab.run("pipeline plan p").await.expect_success();
    lab.run("pipeline run p").await.expect_success();
    lab.insert(&[(5, "two")]).await;
    lab.run("pipeline run p").await.expect_success();
    lab.target.execute("UPDATE t SET salary = 1").await;
    lab.run("pipeline check p").await.expect_code(4);
    lab.run("pipeline repair p").await.expect_success();
    lab.run("plugin test spy --input pipeline:p")
        .await
        .expect_success();

    let Target::Postgres(source) = &lab.source else {
        panic!("the source is PostgreSQL");
    };
    let log = kit::postgres().await.statement_log(source);
    let naming = |column: &str| {
        let texts = log.iter().map(|statement| statement.text.as_str());
        let naming: Vec<_> = texts.filter(|text| text.contains(column)).collect();
        naming
    };
    assert!(!naming("salary").is_empty(), "the log holds no statement");
    assert_eq!(naming("unread"), Vec::<&str>::new());
}

/// Where a plugin says something.
const PLACES: [&str; 6] = [
    "log",
    "configure",
    "transform",
    "blamed_column",
    "read_column",
    "promised_format",
];

/// A plugin that says this in one place.
fn saying(place: &str, text: &str) -> Wat {
    let mut guest = Wat::transform();
    guest.takes("{}");
    guest.replace("bind", words(&[0, 0, 0]));
    let at = guest.put(text.as_bytes());
    let bytes = text.len();
    // A plugin-error: what is said, no row, no column.
    let error = words(&[1, at, bytes, 0, 0, 0, 0, 0]);
    match place {
        "log" => {
            guest.imports = LOG.to_owned();
            let log = format!("(call $log (i32.const 4) (i32.const {at}) (i32.const {bytes}))");
            guest.replace("configure", format!("{log} (unreachable)"));
        }
        "configure" | "transform" => guest.replace(place, error),
        "blamed_column" => {
            let none = guest.put(b"no");
            guest.replace("transform", words(&[1, none, 2, 0, 0, 1, at, bytes]));
        }
        "read_column" => {
            let need = guest.put_words(&[at, bytes, 0, 0]);
            guest.replace("configure", words(&[0, 1, need, 1]));
        }
        "promised_format" => {
            let field = guest.put_words(&[at, bytes, at, bytes, 1]);
            guest.replace("bind", words(&[0, field, 1]));
        }
        other => panic!("there is no place {other}"),
    }
    guest
}

#[tokio::test]
async fn secrets_are_hidden_however_a_plugin_cuts_them() {
    const FIRST: &str = "hidden-first-line";
    const SECOND: &str = "hidden-second-line";
    let long = format!("{}{FIRST}", "x".repeat(490));
    let shapes = [
        ("whole", "\"${FIRST}\"", FIRST.to_owned()),
        ("part", "\"Bearer ${FIRST}\"", format!("it is {FIRST}")),
        ("lines", "\"${file:key.pem}\"", format!("{FIRST}\n{SECOND}")),
        (
            "line",
            "\"${file:key.pem}\"",
            format!("the second: {SECOND}"),
        ),
        ("long", "\"${FIRST}\"", long),
    ];
    let mut project = Project::between("sqlite:from.db", "sqlite:into.db");
    project.set("FIRST", FIRST).set("SYNCSET_LOG", "trace");
    project.file("key.pem", &format!("{FIRST}\n{SECOND}\n"));
    let source = project.sqlite("from.db");
    source
        .execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')")
        .await;
    for place in PLACES {
        for (shape, config, text) in &shapes {
            let name = format!("{place}_{shape}");
            let config = format!("config: {{ key: {config} }}");
            let guest = saying(place, text).text();
            add_plugin(&project, &name, guest.as_bytes(), &config);
            let text = format!(
                "version: 1\nsource: source\ntarget: target\n\
                 tables: {{ t: {{ to: {name}, capture: full, transform: [{name}] }} }}\n"
            );
            project.pipeline(&name, &text);
        }
    }

    let run = project.syncset(["pipeline", "run", "--all"]).await;

    let told = format!("{}{}", run.stdout, run.stderr);
    assert_ne!(run.code, 0);
    assert!(!told.contains("hidden"), "{told}");
    for place in PLACES {
        for (shape, ..) in &shapes {
            let name = format!("`{place}_{shape}`");
            let lines: Vec<_> = told.lines().filter(|line| line.contains(&name)).collect();
            let says = lines.iter().any(|line| line.contains("***"));
            let is_cut = *shape == "long" && lines.iter().any(|line| line.contains("xxx"));
            assert!(says || is_cut, "{name}: {lines:?}");
        }
    }
}

/// The function `same` of a plugin that logs the first number, and that quotes it in its refusal of
/// more than four rows.
fn telling_function() -> Wat {
    let body = format!(
        "(call $number (i64.load (i32.load offset=8 (i32.load offset=12 (local.get 3)))))
         (call $tell (i32.const 4))
         (if (i32.gt_u (local.get 2) (i32.const 4))
           (then
             (i32.store (i32.const {RESULT}) (i32.const 1))
             (i32.store offset=4 (i32.const {RESULT}) (i32.sub (global.get $end) (i32.const 13)))
             (i32.store offset=8 (i32.const {RESULT}) (i32.const 12))
             (i32.store offset=12 (i32.const {RESULT}) (i32.const 0))
             (i32.store offset=20 (i32.const {RESULT}) (i32.const 0))
             (return (i32.const {RESULT}))))
         (i32.store (i32.const {RESULT}) (i32.const 0))
         (memory.copy (i32.const {array}) (i32.add (local.get 3) (i32.const 4)) (i32.const 16))
         (i32.const {RESULT})",
        array = RESULT + 4
    );
    let mut guest = Wat::scalar(true, body);
    // Where the functions of the other plugin keep what they tell.
    guest.put(&[0; 32768]);
    guest.imports = spy().imports;
    guest
}

#[tokio::test]
async fn functions_that_see_what_masks_hide_are_not_heard() {
    let mut lab = Lab::new(Engine::Postgres, Engine::Sqlite).await;
    let guest = telling_function();
    add_plugin(&lab.project, "telling", guest.text().as_bytes(), "");
    let text = |masks: &str| {
        format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  t:\n    \
             columns: [id, what, salary]\n    derive: {{ pay: \"same(salary)\" }}\n    \
             mask: {masks}\n"
        )
    };
    lab.project
        .pipeline("p", &text("{ pay: sha256, salary: redact }"));
    lab.run("pipeline run p").await.expect_success();
    lab.insert(&[(5, "two")]).await;
    let failed = lab.run("pipeline run p").await.expect_code(1);

    for said in ["plugin `telling`: function `same`: (not told: ", "not told"] {
        assert!(failed.stderr.contains(said), "{}", failed.stderr);
    }
    lab.assert_private(&["table t"]).await;
    // Without masks it is heard, so it did speak.
    lab.project.pipeline("p", &text("{}"));
    let heard = lab.run("pipeline run p").await.expect_code(1);
    let number = salary(1).to_string();
    assert!(heard.stderr.contains(&number), "{}", heard.stderr);
}
