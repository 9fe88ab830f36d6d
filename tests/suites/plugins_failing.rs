//! Plugins that fail at many rows, say much about it, or are in the middle of a call when the run
//! is told to stop.

use crate::plugins_hostile::{good, when_wild};
use crate::plugins_lab::{add_plugin, refuse};
use crate::targets::Target;
use kit::{Engine, Project};
use syncset_plugin_guests::{LOG, Wat};

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
