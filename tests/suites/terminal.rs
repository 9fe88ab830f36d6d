//! What a person sees of a run on a terminal, and what nobody sees elsewhere.

use kit::{Database, OnTerminal, Project, Terminal, eventually};
use sqlx::PgConnection;

const RUN: [&str; 3] = ["pipeline", "run", "p"];

/// Settings of a usual terminal; the kit sets `NO_COLOR`.
const USUAL: [(&str, &str); 2] = [("TERM", "xterm-256color"), ("CI", "")];

/// Two tables, the second of which nobody can write as long as `blocker` lives.
struct Lab {
    project: Project,
    _source: Database,
    _target: Database,
    blocker: Option<PgConnection>,
}

impl Lab {
    async fn new() -> Self {
        let server = kit::postgres().await;
        let source = server.database("terminal_source").await;
        let target = server.database("terminal_target").await;
        let tables = "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); \
             CREATE TABLE b (id int PRIMARY KEY, v int); \
             INSERT INTO b SELECT i, i FROM generate_series(1, 1500) i; ANALYZE";
        source.execute(tables).await;
        let project = Project::between(&source.url(), &target.url());
        let text = "version: 1\nsource: source\ntarget: target\n\
             tables: { public.a: { capture: full }, public.b: { capture: full } }\n";
        project.pipeline("p", text);
        project.syncset(RUN).await.expect_success();
        source.execute("UPDATE b SET v = -v").await;
        let mut blocker = target.connect().await;
        sqlx::raw_sql("BEGIN; LOCK TABLE b IN SHARE MODE")
            .execute(&mut blocker)
            .await
            .expect("the session lives");
        Self {
            project,
            _source: source,
            _target: target,
            blocker: Some(blocker),
        }
    }

    fn run(&self, columns: u16, variables: &[(&str, &str)]) -> Terminal {
        let variables = [&USUAL, variables].concat();
        self.project
            .spawn_on_terminal(RUN, &variables, columns, OnTerminal::Everything)
    }

    /// Lets the second table be written.
    fn unblock(&mut self) {
        self.blocker.take();
    }
}

/// The screen, once all rows of the second table were read and the first one is through.
async fn under_way(terminal: &Terminal) -> Vec<String> {
    let is_there = |screen: &[String]| {
        let has = |text: &str| screen.iter().any(|line| line.contains(text));
        has("1,500") && has("1 of 2 tables done")
    };
    let what = "both tables are shown";
    eventually(what, async || is_there(&terminal.screen())).await;
    terminal.screen()
}

/// Lines without times, sizes and rates, which differ from run to run.
fn stable(lines: &[String]) -> String {
    let filters = [
        // They come when a run takes its time.
        (r"  [\d,]+ rows/s", ""),
        (r"\b[\d.]+ KiB\b", "[size]"),
        (r"\b(\d+ min )?[\d.]+ (ms|s)\b", "[time]"),
    ];
    filters
        .iter()
        .fold(lines.join("\n"), |text, (pattern, instead)| {
            let pattern = regex::Regex::new(pattern).expect("the filter is valid");
            pattern.replace_all(&text, *instead).into_owned()
        })
}

#[tokio::test]
async fn person_sees_each_table_and_then_the_summary_alone() {
    let mut lab = Lab::new().await;
    let terminal = lab.run(100, &[]);

    let screen = under_way(&terminal).await;
    lab.unblock();
    let (output, left, written) = terminal.wait().await;

    assert_eq!(output.code, 0, "{written}");
    insta::assert_snapshot!(stable(&screen), @"
    public.b                  1,500 of ~1,500 rows  100 %  [size]  [time]
    p: 1 of 2 tables done, [time]
    ");
    insta::assert_snapshot!(stable(&left), @"
    public.a  unchanged   1 read, 0 written, 0 deleted, [time]
    public.b  loaded      1,500 read, 1,500 written, 0 deleted, [time]
    p: done in [time]
    ");
}

#[tokio::test]
async fn narrow_terminals_get_one_line_a_table() {
    for columns in [50, 24] {
        let mut lab = Lab::new().await;
        let terminal = lab.run(columns, &[]);

        let what = "the table under way is shown";
        let has = |text: &str| terminal.screen().iter().any(|line| line.contains(text));
        eventually(what, async || has("1,500") && has("1 of 2")).await;
        let screen = terminal.screen();
        lab.unblock();
        let (output, _, written) = terminal.wait().await;

        assert_eq!(output.code, 0, "{written}");
        assert_eq!(screen.len(), 2, "{screen:?}");
    }
}

#[tokio::test]
async fn log_lines_stand_above_what_is_drawn() {
    let mut lab = Lab::new().await;
    let terminal = lab.run(100, &[("SYNCSET_LOG", "debug")]);

    let screen = under_way(&terminal).await;
    lab.unblock();
    let (output, _, written) = terminal.wait().await;

    assert_eq!(output.code, 0, "{written}");
    let is_log = |line: &&String| line.contains("DEBUG");
    assert!(screen.iter().filter(is_log).count() > 1, "{screen:?}");
    let (drawn, above) = screen.split_last_chunk::<2>().map(|(a, b)| (b, a)).unwrap();
    assert!(drawn[0].starts_with("public.b"), "{screen:?}");
    assert!(drawn[1].starts_with("p: 1 of 2"), "{screen:?}");
    let is_drawn = |line: &String| line.contains("tables done") || line.contains(" rows");
    assert!(!above.iter().any(is_drawn), "{screen:?}");
}

#[tokio::test]
async fn terminals_that_nobody_watches_get_no_drawing() {
    for variables in [[("TERM", "dumb")], [("CI", "true")]] {
        let mut lab = Lab::new().await;
        let terminal = lab.run(100, &variables);
        lab.unblock();

        let (output, left, written) = terminal.wait().await;

        assert_eq!(output.code, 0, "{written}");
        assert!(!written.contains('\x1b'), "{written:?}");
        assert_eq!(left.len(), 3, "{left:?}");
    }
}

#[tokio::test]
async fn colours_are_for_those_who_want_them() {
    let coloured = |text: &str| {
        let colour = regex::Regex::new("\x1b\\[[0-9;]+m").expect("it is valid");
        colour.is_match(text)
    };
    let mut seen = Vec::new();
    for no_color in ["1", ""] {
        let mut lab = Lab::new().await;
        let terminal = lab.run(100, &[("SYNCSET_LOG", "debug"), ("NO_COLOR", no_color)]);
        lab.unblock();
        let (output, _, written) = terminal.wait().await;
        assert_eq!(output.code, 0, "{written}");
        seen.push(coloured(&written));
    }

    assert_eq!(seen, [false, true]);
}

#[tokio::test]
async fn results_in_a_file_hold_nothing_that_was_drawn() {
    let mut lab = Lab::new().await;
    let talk = lab
        .project
        .spawn_on_terminal(RUN, &USUAL, 100, OnTerminal::Talk);

    under_way(&talk).await;
    lab.unblock();
    let (output, left, written) = talk.wait().await;
    let results = lab.project.read("stdout");
    let json = [&RUN[..], &["--output", "json"]].concat();
    let silent = lab
        .project
        .spawn_on_terminal(json, &USUAL, 100, OnTerminal::Talk);
    let (_, _, nothing) = silent.wait().await;
    let document: serde_json::Value =
        serde_json::from_str(&lab.project.read("stdout")).expect("it is JSON");

    assert_eq!(output.code, 0, "{written}");
    assert!(!results.contains('\x1b'), "{results:?}");
    assert_eq!(results.lines().count(), 3, "{results}");
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(document["exit_code"], 0);
    assert_eq!(nothing, "");
}
