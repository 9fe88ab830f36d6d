//! Plugins that fail at many rows, say much about it, or are in the middle of a call when the run
//! is told to stop.

use crate::plugins_hostile::{good, when_wild};
use crate::plugins_lab::{add_plugin, refuse};
use crate::targets::Target;
use kit::{Engine, Project};
use syncset_plugin_guests::{LOG, Wat, identity};

struct Lab {
    source: Target,
    target: Target,
    project: Project,
}

impl Lab {
    /// A table with a wild row for each number, and one other for each of these.
    async fn new(guest: &Wat, (wild, others): (usize, usize), settings: &str) -> Self {
        let source = Engine::Sqlite.database("failing").await;
        let target = Engine::Sqlite.database("failing").await;
        source
            .execute("CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL)")
            .await;
        let wild = (0..wild).map(|id| format!("({}, 13)", id * 2));
        let others = (0..others).map(|id| format!("({}, 1)", id * 2 + 1));
        let rows: Vec<_> = wild.chain(others).collect();
        source
            .execute(&format!("INSERT INTO t VALUES {}", rows.join(", ")))
            .await;
        let project = Project::between(&source.url(), &target.url());
        add_plugin(&project, "wild", guest.text().as_bytes(), settings);
        Self {
            source,
            target,
            project,
        }
    }

    fn pipeline(&self, on_error: &str, max_rows: usize) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\nrejects: {{ max_rows: {max_rows} }}\n\
             tables:\n  t:\n    capture: full\n    \
             transform: [ {{ plugin: wild, on_error: {on_error} }} ]\n"
        );
        self.project.pipeline("p", &text);
    }
}

/// Names the first wild row.
fn refusing() -> Wat {
    let mut guest = good();
    let at = guest.put(b"no such country");
    let message = format!("(i32.const {at})");
    let harm = refuse(&message, "(i32.const 15)", "(local.get $row)");
    guest.replace(
        "transform",
        when_wild(&format!("(block (result i32) {harm})")),
    );
    guest
}

/// Warns at each call, and stops with a word at the first wild row.
fn panicking() -> Wat {
    let mut guest = good();
    let (warning, word) = (guest.put(b"all is well"), guest.put(b"out of bounds"));
    guest.imports = LOG.to_owned();
    let harm = format!(
        "(block (result i32) (call $log (i32.const 4) (i32.const {word}) (i32.const 13)) (unreachable))"
    );
    let body = when_wild(&harm).replacen(
        "(block $done",
        &format!("(call $log (i32.const 3) (i32.const {warning}) (i32.const 11)) (block $done"),
        1,
    );
    guest.replace("transform", body);
    guest
}

#[tokio::test]
async fn rows_that_a_plugin_fails_at_wait_and_all_others_are_written() {
    for guest in [refusing(), panicking()] {
        let lab = Lab::new(&guest, (600, 1_000), "").await;
        lab.pipeline("skip_row", 600);

        let run = lab.project.syncset(["pipeline", "run", "p"]).await;

        run.expect_success();
        let found = lab.target.value("SELECT count(*) FROM t WHERE n = 1").await;
        assert_eq!(found, "1000");
        assert_eq!(lab.target.value("SELECT count(*) FROM t").await, "1000");
        let rejected = lab.target.state_table("rejected");
        let waiting = format!("SELECT count(*) FROM {rejected}");
        assert_eq!(lab.target.value(&waiting).await, "600");
    }
}

#[tokio::test]
async fn plugin_that_fails_at_too_many_rows_of_a_batch_is_told_apart_from_one_bad_row() {
    let lab = Lab::new(&refusing(), (1_500, 10), "").await;
    lab.pipeline("skip_row", 5_000);

    let run = lab.project.syncset(["pipeline", "run", "p"]).await;

    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    for part in [
        "transform of `t`: more than 1000 of the 1510 rows of one batch failed",
        "plugin `wild`: no such country",
        "the row has the key [\"0\"]",
        "hint: so many failures are no accident",
    ] {
        assert!(run.stderr.contains(part), "no {part} in {}", run.stderr);
    }
}

#[tokio::test]
async fn first_row_over_max_rows_ends_the_search() {
    let lab = Lab::new(&refusing(), (500, 10), "").await;
    lab.pipeline("skip_row", 7);

    let run = lab.project.syncset(["pipeline", "run", "p"]).await;

    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    for part in [
        "a plugin failed at the row with key",
        "rejects: { max_rows: N }` (now 7)",
    ] {
        assert!(run.stderr.contains(part), "no {part} in {}", run.stderr);
    }
}

#[tokio::test]
async fn what_a_plugin_says_while_a_row_is_looked_for_is_told_once() {
    let lab = Lab::new(&panicking(), (1, 1_000), "").await;
    for (on_error, code, warnings) in [("fail", 1, 1), ("skip_row", 0, 22)] {
        lab.pipeline(on_error, 1);

        let run = lab.project.syncset(["pipeline", "run", "p"]).await;

        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        let count = |level: &str| {
            let lines = run.stderr.lines();
            lines
                .filter(|line| line.contains(level) && line.contains("plugin=\"wild\""))
                .count()
        };
        // A batch with rejected rows is read twice, and each part of it that is kept has its own.
        let errors = 1 + usize::from(code == 0);
        assert_eq!(count("ERROR"), errors, "{}", run.stderr);
        assert!(count("WARN") <= warnings, "{}", run.stderr);
    }
}

/// Goes on for ever, once it has said that it does.
fn endless(function: &str) -> Wat {
    let mut guest = good();
    let word = guest.put(b"for ever");
    guest.imports = LOG.to_owned();
    let forever = format!(
        "(call $log (i32.const 3) (i32.const {word}) (i32.const 8))
         (loop $forever (br $forever)) (unreachable)"
    );
    guest.replace(function, forever);
    guest
}

#[tokio::test]
async fn signals_end_a_call_that_goes_on_for_ever() {
    for function in ["bind", "transform"] {
        let settings = "limits: { batch_timeout: 1h }";
        let lab = Lab::new(&endless(function), (0, 10), settings).await;
        lab.pipeline("fail", 0);
        let mut run = lab.project.spawn(["pipeline", "run", "p"]);
        // Rows are read after the target has its table.
        let is_there = "SELECT count(*) FROM sqlite_schema WHERE name = 't'";
        while match function {
            "bind" => !run.stderr_so_far().contains("for ever"),
            _ => lab.target.value(is_there).await == "0",
        } {
            assert!(!run.has_ended(), "{}", run.stderr_so_far());
        }

        run.terminate();
        let ended = run.wait().await;

        assert_eq!(ended.code, 143, "{function}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("stopped by SIGTERM"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn plugin_that_returns_all_that_it_reads_may_have_the_key_among_it() {
    let lab = Lab::new(&Wat::transform(), (1, 3), "").await;
    lab.pipeline("fail", 0);

    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();

    let found = lab.target.value("SELECT sum(n) FROM t").await;
    assert_eq!(found, "16");
}

#[tokio::test]
async fn keys_that_a_plugin_changes_fail_with_their_row() {
    let mut guest = Wat::transform();
    // The second value of the first column.
    let change = format!(
        "(local $at i32)
         (local.set $at (i32.load offset=8 (i32.load offset=8 (local.get 6))))
         (i64.store offset=8 (local.get $at) (i64.const 77)) {}",
        identity()
    );
    guest.replace("transform", change);
    let lab = Lab::new(&guest, (0, 3), "").await;
    lab.pipeline("fail", 0);

    let run = lab.project.syncset(["pipeline", "run", "p"]).await;

    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    for part in [
        "plugin `wild`: it changed `id`, which is part of the key (row 2 of the batch)",
        "the row has the key [\"3\"]",
        "hint: keys pass as they are: let the plugin return another column",
    ] {
        assert!(run.stderr.contains(part), "no {part} in {}", run.stderr);
    }
}

#[tokio::test]
async fn list_names_pipelines_that_only_call_functions() {
    let body = "(unreachable)".to_owned();
    let lab = Lab::new(&Wat::scalar(true, body), (0, 1), "").await;
    let text = "version: 1\nsource: source\ntarget: target\ntables:\n  t:\n    \
                derive: { m: \"same(n)\" }\n";
    lab.project.pipeline("calls", text);
    let text = "version: 1\nsource: source\ntarget: target\ntables: [t]\n";
    lab.project.pipeline("plain", text);

    let list = lab
        .project
        .syncset(["plugin", "list", "--output", "json"])
        .await;

    let list = list.expect_success();
    let pipelines = &list.json()["plugins"][0]["pipelines"];
    assert_eq!(*pipelines, serde_json::json!(["calls"]));
}

#[tokio::test]
async fn trial_on_rows_of_a_pipeline_is_told_where_they_are_from() {
    let mut guest = good();
    // Fails with the names that it is given.
    let said = refuse("(local.get 0)", "(local.get 1)", "(i32.const 0)");
    guest.replace("transform", format!("(block (result i32) {said})"));
    let lab = Lab::new(&guest, (0, 1), "").await;
    lab.pipeline("fail", 0);
    let text = "version: 1\nsource: source\ntarget: target\ntables:\n  t: { to: t1 }\n  \
                u: { to: u1 }\n";
    lab.project.pipeline("others", text);
    lab.source
        .execute("CREATE TABLE u (id bigint PRIMARY KEY)")
        .await;

    let told = lab
        .project
        .syncset(["plugin", "test", "wild", "--input", "pipeline:p"])
        .await;
    assert_eq!(told.code, 1, "{}{}", told.stdout, told.stderr);
    let message = "transform of `t`: plugin `wild`: p (row 1 of the batch)";
    assert!(told.stderr.contains(message), "{}", told.stderr);

    let refused = lab
        .project
        .syncset(["plugin", "test", "wild", "--input", "pipeline:others"])
        .await;
    assert_eq!(refused.code, 2, "{}{}", refused.stdout, refused.stderr);
    for part in [
        "no table of pipeline `others` has plugin `wild` in its `transform`",
        "`--input pipeline:others/TABLE`; its tables are t, u",
    ] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn pin_replaces_whatever_is_written() {
    let lab = Lab::new(&good(), (0, 1), "").await;
    let pinned = lab.project.read("syncset.yaml");
    let at = pinned.find("sha256: ").expect("it is pinned") + "sha256: ".len();
    let end = at + pinned[at..].find('\n').expect("the line ends");
    for pin in ["ABC", "\"\"", ""] {
        let text = format!("{}{pin}{}", &pinned[..at], &pinned[end..]);
        let text = text.replace("sha256: \n", "sha256:\n");
        lab.project.file("syncset.yaml", &text);

        let done = lab.project.syncset(["plugin", "pin"]).await;

        done.expect_success();
        let found = lab.project.read("syncset.yaml");
        assert_eq!(found, pinned, "{pin}");
    }
}

#[tokio::test]
async fn build_blames_the_tools_only_if_one_is_missing() {
    // Tools that find a mistake in the source, of a toolchain with the target or without it.
    let mut project = Project::empty();
    project.file("broken/Cargo.toml", "[package]\n");
    let tools = project.path().join("tools");
    let path = format!("{}:/usr/bin:/bin", tools.display());
    project.set("PATH", &path);
    for (rustc, is_blamed) in [("pwd", false), ("exit 1", true)] {
        tool(
            &project,
            "cargo",
            "echo 'error: unclosed delimiter' >&2; exit 101",
        );
        tool(&project, "rustc", rustc);

        let built = project.syncset(["plugin", "build", "broken"]).await;

        assert_eq!(built.code, 1, "{}{}", built.stdout, built.stderr);
        assert!(built.stderr.contains("`cargo` failed"), "{}", built.stderr);
        let blamed = built.stderr.contains("hint: `rustup target add");
        assert_eq!(blamed, is_blamed, "{}", built.stderr);
    }
}

/// A script in the folder of tools.
fn tool(project: &Project, name: &str, body: &str) {
    use std::os::unix::fs::PermissionsExt;
    project.file(&format!("tools/{name}"), &format!("#!/bin/sh\n{body}\n"));
    let path = project.path().join("tools").join(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .expect("the script was written");
}
