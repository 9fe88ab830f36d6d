//! Tables whose rows go through a plugin: loads, changes, edits of the plugin, rows it fails at.

use crate::targets::Target;
use kit::{Engine, Output, PluginLanguage, Project, TextRow, build_plugin};
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// Sources and targets; rows of a plugin are compared by streaming between any two.
const PAIRS: [(Engine, Engine); 3] = [
    (Engine::Postgres, Engine::Postgres),
    (Engine::Mysql, Engine::Sqlite),
    (Engine::Sqlite, Engine::Mariadb),
];

/// Upper-cases `name`, adds its length, drops rows whose note is `drop`, and fails at `bad` ones.
const PLUGIN: &str = r#"
import { RowError, plugin, scalar, transform } from "./sdk/syncset-plugin.js";

plugin({
  name: "shout", version: "0.1.0", doc: "Loud names.",
  configSchema: { type: "object", properties: { mark: { type: "string" } }, required: ["mark"] },
});

scalar("half", { args: ["i64"], returns: "i64" }, (n) => n / 2n);

transform(
  {
    reads: { name: "text", note: "text" },
    returns: { name: "text", name_length: "i32 not null" },
  },
  (context, batch, { mark }) => {
    const notes = batch.column("note").values;
    const bad = notes.indexOf("bad");
    if (bad >= 0) throw new RowError(bad, "the row is bad");
    const kept = batch.keep(notes.map((note) => note !== "drop"));
    const names = kept.column("name").values;
    kept.set("name", names.map((name) => name.toUpperCase() + mark));
    kept.set("name_length", names.map((name) => name.length));
    return kept;
  },
);
"#;

/// The component of [`PLUGIN`], built once.
async fn component() -> &'static PathBuf {
    static BUILT: OnceCell<(Project, PathBuf)> = OnceCell::const_new();
    let (_, path) = BUILT
        .get_or_init(|| async {
            let project = Project::empty();
            let made = ["plugin", "new", "--lang", "js", "shout"];
            project.syncset(made).await.expect_success();
            project.file("shout/plugin.js", PLUGIN);
            build_plugin(&project, PluginLanguage::Js, "shout").await;
            let path = project.path().join("shout/shout.wasm");
            (project, path)
        })
        .await;
    path
}

struct Lab {
    source: Target,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new((source, target): (Engine, Engine)) -> Self {
        let (source, target) = (
            source.database("plugins").await,
            target.database("plugins").await,
        );
        let project = Project::between(&source.place().url(), &target.place().url());
        let config = project.read("syncset.yaml");
        let entry = format!(
            "plugins:\n  shout:\n    path: shout.wasm # by hand\n    config: {{ mark: \"!\" }}\n"
        );
        project.file("syncset.yaml", &(config + &entry));
        std::fs::copy(component().await, project.path().join("shout.wasm"))
            .expect("the component was built");
        let lab = Self {
            source,
            target,
            project,
        };
        lab.pin().await;
        lab.at_source(
            "CREATE TABLE t (id int PRIMARY KEY, name varchar(50) NOT NULL, note varchar(20), \
             n bigint, rev bigint NOT NULL)",
        )
        .await;
        let rows: Vec<_> = (1..=200)
            .map(|id| {
                let note = if id % 10 == 0 { "'drop'" } else { "NULL" };
                format!("({id}, 'name {id}', {note}, {}, {id})", id * 2)
            })
            .collect();
        lab.at_source(&format!("INSERT INTO t VALUES {}", rows.join(", ")))
            .await;
        lab.edit("");
        lab
    }

    async fn pin(&self) {
        let pinned = self.project.syncset(["plugin", "pin", "shout"]).await;
        pinned.expect_success();
    }

    /// The pipeline with more settings of its table.
    fn edit(&self, settings: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  t:\n    \
             columns: [id, name, n, rev]\n    derive: {{ middle: \"half(n)\" }}\n    \
             capture: {{ mode: cursor, column: rev, overlap: 20 }}\n    \
             transform: [ shout ]\n    rename: {{ name_length: len }}\n{settings}"
        );
        self.project.pipeline("p", &text);
    }

    async fn at_source(&self, sql: &str) {
        self.source.place().execute(sql).await;
    }

    async fn syncset(&self, words: &[&str]) -> Output {
        self.project.syncset(words).await
    }

    async fn run(&self) -> Output {
        self.syncset(&["pipeline", "run", "p", "--output", "json"])
            .await
    }

    async fn found(&self) -> Vec<TextRow> {
        let sql = "SELECT id, name, len, middle FROM t ORDER BY id";
        self.target.place().rows(sql).await
    }

    /// What the target must hold, said by the source.
    async fn wanted(&self, mark: &str) -> Vec<TextRow> {
        let sql = "SELECT id, name, note, n FROM t ORDER BY id";
        let rows = self.source.place().rows(sql).await.into_iter();
        let rows = rows.filter(|row| row[2].as_deref() != Some("drop"));
        rows.map(|row| {
            let name = row[1].clone().expect("names are NOT NULL");
            let half = row[3].as_ref().map(|n| {
                let n: i64 = n.parse().expect("it is a number");
                (n / 2).to_string()
            });
            let length = name.len().to_string();
            vec![
                row[0].clone(),
                Some(name.to_uppercase() + mark),
                Some(length),
                half,
            ]
        })
        .collect()
    }

    async fn assert_right(&self, mark: &str) {
        assert_eq!(self.found().await, self.wanted(mark).await);
    }
}

fn count(output: &Output, what: &str) -> u64 {
    let document = output.json();
    let value = document["tables"][0][what].as_u64();
    value.unwrap_or_else(|| panic!("no {what}: {document}"))
}

#[tokio::test]
async fn rows_are_loaded_followed_and_dropped_through_a_plugin() {
    for pair in PAIRS {
        let lab = Lab::new(pair).await;

        let first = lab.run().await;

        assert_eq!(first.code, 0, "{pair:?}: {}{}", first.stdout, first.stderr);
        assert_eq!(count(&first, "rows_written"), 180, "{pair:?}");
        lab.assert_right("!").await;
        // A row changes, one is dropped from here on, one comes back.
        lab.at_source(
            "UPDATE t SET name = 'other', rev = 301 WHERE id = 7; \
             UPDATE t SET note = 'drop', rev = 302 WHERE id = 8; \
             UPDATE t SET note = NULL, rev = 303 WHERE id = 10",
        )
        .await;
        let second = lab.run().await;
        assert_eq!(
            second.code, 0,
            "{pair:?}: {}{}",
            second.stdout, second.stderr
        );
        assert_eq!(count(&second, "rows_deleted"), 1, "{pair:?}");
        lab.assert_right("!").await;
        let idle = lab.run().await;
        assert_eq!(count(&idle, "rows_written"), 0, "{pair:?}");
    }
}

#[tokio::test]
async fn drift_is_found_and_mended_through_a_plugin() {
    for pair in PAIRS {
        let lab = Lab::new(pair).await;
        lab.run().await.expect_success();
        let equal = lab.syncset(&["pipeline", "check", "p"]).await;
        assert_eq!(equal.code, 0, "{pair:?}: {}{}", equal.stdout, equal.stderr);
        let sql = "UPDATE t SET name = 'name 3' WHERE id = 3";
        lab.target.place().execute(sql).await;

        let different = lab.syncset(&["pipeline", "check", "p"]).await;
        let repaired = lab.syncset(&["pipeline", "repair", "p"]).await;

        assert_eq!(different.code, 4, "{pair:?}: {}", different.stdout);
        assert_eq!(
            repaired.code, 0,
            "{pair:?}: {}{}",
            repaired.stdout, repaired.stderr
        );
        lab.assert_right("!").await;
    }
}

#[tokio::test]
async fn edited_configuration_loads_the_table_again() {
    let lab = Lab::new((Engine::Postgres, Engine::Postgres)).await;
    lab.run().await.expect_success();
    let config = lab.project.read("syncset.yaml");
    let config = config.replace("mark: \"!\"", "mark: \"?\"");
    lab.project.file("syncset.yaml", &config);

    let run = lab.run().await;

    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(count(&run, "rows_written"), 180);
    lab.assert_right("?").await;
}

#[tokio::test]
async fn plugin_that_is_another_one_stops_the_run_until_it_is_pinned() {
    let lab = Lab::new((Engine::Postgres, Engine::Sqlite)).await;
    lab.run().await.expect_success();
    let path = lab.project.path().join("shout.wasm");
    let mut bytes = std::fs::read(&path).expect("it is there");
    // A custom section that nobody reads: another file that does the same.
    bytes.extend([0, 5, 4, b'm', b'i', b'n', b'e']);
    std::fs::write(&path, bytes).expect("it can be written");

    let stopped = lab.run().await;

    assert_eq!(stopped.code, 2, "{}", stopped.stdout);
    assert!(
        stopped.stdout.contains("is not the file that was pinned"),
        "{}",
        stopped.stdout
    );
    assert!(
        stopped.stdout.contains("syncset.yaml:"),
        "{}",
        stopped.stdout
    );
    lab.pin().await;
    let config = lab.project.read("syncset.yaml");
    assert!(
        config.contains("path: shout.wasm # by hand\n    sha256: \""),
        "{config}"
    );
    let plan = lab.syncset(&["pipeline", "plan", "p"]).await;
    assert!(plan.stdout.contains("transform"), "{}", plan.stdout);
    let run = lab.run().await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.json()["tables"][0]["outcome"], "loaded");
    lab.assert_right("!").await;
}

#[tokio::test]
async fn row_that_a_plugin_fails_at_stops_its_table_with_its_key() {
    for pair in PAIRS {
        let lab = Lab::new(pair).await;
        lab.at_source("UPDATE t SET note = 'bad' WHERE id = 42")
            .await;

        let run = lab.run().await;

        assert_eq!(run.code, 1, "{pair:?}: {}", run.stdout);
        for said in ["plugin `shout`", "the row is bad", "key [\\\"42\\\"]"] {
            assert!(
                run.stdout.contains(said),
                "{pair:?}: {said}: {}",
                run.stdout
            );
        }
        assert!(
            lab.found().await.is_empty(),
            "{pair:?}: rows of the unit were written"
        );
        lab.at_source("UPDATE t SET note = NULL WHERE id = 42")
            .await;
        lab.run().await.expect_success();
        lab.assert_right("!").await;
    }
}

#[tokio::test]
async fn rows_that_a_plugin_fails_at_wait_alone_if_they_may() {
    for pair in PAIRS {
        let lab = Lab::new(pair).await;
        lab.edit("    rejects: { max_rows: 3 }\n");
        let pipeline = lab.project.read("pipelines/p.yaml");
        let skipping = "transform: [ { plugin: shout, on_error: skip_row } ]";
        lab.project
            .pipeline("p", &pipeline.replace("transform: [ shout ]", skipping));
        lab.at_source("UPDATE t SET note = 'bad' WHERE id IN (42, 43, 143)")
            .await;

        let run = lab.run().await;

        assert_eq!(run.code, 0, "{pair:?}: {}{}", run.stdout, run.stderr);
        assert_eq!(count(&run, "rows_rejected"), 3, "{pair:?}");
        assert_eq!(lab.found().await.len(), 177, "{pair:?}");
        let listed = lab.syncset(&["rejected", "list", "p", "--rows"]).await;
        assert!(
            listed.stdout.contains("the row is bad"),
            "{}",
            listed.stdout
        );
        let checked = lab.syncset(&["pipeline", "check", "p"]).await;
        assert_eq!(
            checked.code, 0,
            "{pair:?}: {}{}",
            checked.stdout, checked.stderr
        );
        lab.at_source("UPDATE t SET note = NULL, rev = rev + 500 WHERE note = 'bad'")
            .await;
        lab.run().await.expect_success();
        lab.assert_right("!").await;
        let listed = lab.syncset(&["rejected", "list", "p"]).await;
        assert!(
            !listed.stdout.contains("the row is bad"),
            "{}",
            listed.stdout
        );
        // One more than may wait.
        lab.at_source("UPDATE t SET note = 'bad', rev = rev + 1000 WHERE id IN (1, 2, 3, 4)")
            .await;
        let over = lab.run().await;
        assert_eq!(over.code, 1, "{pair:?}: {}", over.stdout);
        assert!(
            over.stdout.contains("a plugin failed at the row"),
            "{}",
            over.stdout
        );
    }
}

#[tokio::test]
async fn killed_load_through_a_plugin_goes_on_where_it_was() {
    let lab = Lab::new((Engine::Postgres, Engine::Postgres)).await;
    for _ in 0..2 {
        let kill = [("SYNCSET_FAIL_POINT", "unit.before_commit=exit9")];
        let words = ["pipeline", "run", "p", "--on-lock", "wait=30s"];
        let run = lab.project.spawn_with(words, &kill);
        run.wait().await.expect_code(137);
    }

    let run = lab
        .syncset(&["pipeline", "run", "p", "--on-lock", "wait=30s"])
        .await;

    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    lab.assert_right("!").await;
}

#[tokio::test]
async fn plan_shows_where_the_plugin_is_and_what_it_is_given() {
    let lab = Lab::new((Engine::Postgres, Engine::Postgres)).await;

    let plan = lab.syncset(&["pipeline", "plan", "p", "--explain"]).await;

    let said = plan.expect_success().stdout;
    for part in [
        "project: id, name, n, rev, middle, len",
        "plugin shout (",
        "reads name, note; returns name Utf8, name_length Int32",
        "half(n@",
        "scan: id, name, n, rev, note",
        "plugin `shout` is given `note`, which is not selected",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
