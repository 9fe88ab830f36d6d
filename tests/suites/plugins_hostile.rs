//! Plugins that do harm, lie or are none: a run says so and writes nothing, and the next one with
//! a good plugin works.

use crate::plugins_lab::{entry, refuse, sha256, write};
use crate::targets::Target;
use kit::{Engine, Output, Project, TextRow};
use syncset_plugin_guests::{LOG, RESULT, Wat, identity, words};

const FAILED: i32 = 1;
const CONFIG: i32 = 2;

const LOOP: &str = "(loop $forever (br $forever)) (unreachable)";

/// What a table keeps of what was done.
const STATE: [&str; 4] = ["watermark", "chunk", "rejected", "pending_delete"];

/// What the file of a plugin is said to be.
enum Pin {
    Right,
    Another,
    Absent,
}

/// A plugin and what a run says of it.
struct Case {
    name: &'static str,
    file: Vec<u8>,
    pin: Pin,
    /// More lines of its entry in `syncset.yaml`.
    settings: &'static str,
    /// Whether it does its work until it is given the wild row. Otherwise it takes the place of a
    /// plugin that does.
    works_before: bool,
    code: i32,
    /// Parts of what is said.
    said: &'static [&'static str],
}

impl Case {
    /// A file that cannot be used as the project says.
    fn unusable(
        name: &'static str,
        file: impl Into<Vec<u8>>,
        said: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            file: file.into(),
            pin: Pin::Right,
            settings: "",
            works_before: false,
            code: CONFIG,
            said,
        }
    }

    /// A plugin that does this when it is given the wild row. It reads `n` alone.
    fn wild(name: &'static str, harm: &str, said: &'static [&'static str]) -> Self {
        Self::wild_guest(name, good(), harm, said)
    }

    fn wild_guest(
        name: &'static str,
        mut guest: Wat,
        harm: &str,
        said: &'static [&'static str],
    ) -> Self {
        guest.replace("transform", when_wild(harm));
        Self {
            works_before: true,
            code: FAILED,
            ..Self::unusable(name, guest.text(), said)
        }
    }

    fn with(mut self, settings: &'static str) -> Self {
        self.settings = settings;
        self
    }

    fn pinned(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    fn entry(&self) -> String {
        let pin = match self.pin {
            Pin::Right => Some(sha256(&self.file)),
            Pin::Another => Some(sha256(b"another file")),
            Pin::Absent => None,
        };
        entry(self.name, pin.as_deref(), self.settings)
    }
}

/// Reads `n` and returns it as it is.
pub(crate) fn good() -> Wat {
    let mut guest = Wat::transform();
    read(&mut guest, "n", None);
    guest
}

/// Makes a guest read one column, in one format or any.
fn read(guest: &mut Wat, column: &str, format: Option<&str>) {
    let name = guest.put(column.as_bytes());
    let formats = match format {
        Some(format) => {
            let at = guest.put(format.as_bytes());
            [guest.put_words(&[at, format.len()]), 1]
        }
        None => [0, 0],
    };
    let need = guest.put_words(&[name, column.len(), formats[0], formats[1]]);
    guest.replace("configure", words(&[0, 1, need, 1]));
}

/// Makes a guest promise one column.
fn promise(guest: &mut Wat, column: &str, format: &str) {
    let (name, at) = (guest.put(column.as_bytes()), guest.put(format.as_bytes()));
    let field = guest.put_words(&[name, column.len(), at, format.len(), 1]);
    guest.replace("bind", words(&[0, field, 1]));
}

/// `transform` that returns what it was given, unless `n` is 13 in some row.
pub(crate) fn when_wild(harm: &str) -> String {
    format!(
        "(local $at i32) (local $row i32)
         (local.set $at (i32.load offset=8 (i32.load offset=8 (local.get 6))))
         (block $done (loop $rows
           (br_if $done (i32.ge_u (local.get $row) (local.get 5)))
           (if (i64.eq (i64.load (local.get $at)) (i64.const 13)) (then (return {harm})))
           (local.set $at (i32.add (local.get $at) (i32.const 8)))
           (local.set $row (i32.add (local.get $row) (i32.const 1)))
           (br $rows)))
         {}",
        identity()
    )
}

/// One source, and for each case a pipeline, a plugin and a target of its name.
struct Lab {
    project: Project,
    source: Target,
    targets: Vec<Target>,
    connections: String,
}

impl Lab {
    async fn new((source, target): (Engine, Engine), cases: &[Case]) -> Self {
        let source = source.database("hostile").await;
        source
            .execute(
                "CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL, v varchar(20), \
                 rev bigint NOT NULL); \
                 INSERT INTO t VALUES (1, 10, 'a', 1), (2, 11, 'b', 2), (3, 12, 'c', 3)",
            )
            .await;
        let mut connections = format!(
            "version: 1\nlease: {{ expires: 5s }}\nconnections:\n  source: {{ url: \"{}\" }}\n",
            source.url()
        );
        let project = Project::empty();
        let mut targets = Vec::new();
        for case in cases {
            let to = target.database("hostile").await;
            let name = case.name;
            connections.push_str(&format!("  {name}: {{ url: \"{}\" }}\n", to.url()));
            let text = format!(
                "version: 1\nsource: source\ntarget: {name}\ntables:\n  t:\n    capture: \
                 {{ mode: cursor, column: rev, overlap: 1 }}\n    transform: [{name}]\n"
            );
            project.pipeline(name, &text);
            targets.push(to);
        }
        Self {
            project,
            source,
            targets,
            connections,
        }
    }

    /// Puts these plugins in their places.
    fn plugins<'a>(&self, cases: impl Iterator<Item = &'a Case>) {
        let mut text = format!("{}plugins:\n", self.connections);
        for case in cases {
            write(&self.project, case.name, &case.file);
            text.push_str(&case.entry());
        }
        self.project.file("syncset.yaml", &text);
    }

    async fn run(&self, words: &[&str]) -> Output {
        let words = ["pipeline", "run"].iter().chain(words);
        self.project.syncset(words).await
    }

    /// Rows and watermark of a target.
    async fn image(&self, target: usize) -> Vec<Vec<TextRow>> {
        let target = &self.targets[target];
        let mut image = vec![target.rows("SELECT * FROM t ORDER BY id").await];
        for table in STATE {
            let table = target.state_table(table);
            image.push(target.rows(&format!("SELECT * FROM {table}")).await);
        }
        image
    }
}

async fn harmless(engines: (Engine, Engine), cases: Vec<Case>) {
    let lab = Lab::new(engines, &cases).await;
    let better: Vec<Case> = cases
        .iter()
        .map(|case| Case::unusable(case.name, good().text(), &[]))
        .collect();
    let pairs = cases.iter().zip(&better);
    lab.plugins(pairs.map(|(case, good)| if case.works_before { case } else { good }));
    lab.run(&["--all"]).await.expect_success();

    lab.source
        .execute("INSERT INTO t VALUES (4, 13, 'd', 4), (5, 14, 'e', 5)")
        .await;
    lab.plugins(cases.iter());
    for (index, case) in cases.iter().enumerate() {
        let before = lab.image(index).await;
        let run = lab.run(&[case.name]).await;

        let told = format!("{}\n{}{}", case.name, run.stdout, run.stderr);
        assert_eq!(run.code, case.code, "{told}");
        let plugin = format!("plugin `{}`", case.name);
        for part in case.said.iter().copied().chain([plugin.as_str()]) {
            assert!(told.contains(part), "no {part} in {told}");
        }
        assert_eq!(lab.image(index).await, before, "{told}");
    }

    lab.plugins(better.iter());
    lab.run(&["--all"]).await.expect_success();
    for target in &lab.targets {
        assert_eq!(target.value("SELECT sum(n) FROM t").await, "60");
    }
}

/// One page that is returned four thousand times.
fn huge() -> Case {
    let mut guest = good();
    let page = guest.put(&[0; 65536]);
    let buffers: Vec<usize> = (0..4000).flat_map(|_| [page, 65536]).collect();
    let buffers = guest.put_words(&buffers);
    let array = guest.put_words(&[1, 0, buffers, 4000]);
    let harm = words(&[0, 1, array, 1, 0]);
    Case::wild_guest(
        "huge",
        guest,
        &format!("(block (result i32) {harm})"),
        &["it returned more than the 16 MiB that `limits: { memory: .. }` allows"],
    )
    .with("limits: { memory: 16MiB }")
}

fn panicking() -> Case {
    let mut guest = good();
    let words = "index out of bounds: the length is 3";
    let at = guest.put(words.as_bytes());
    guest.imports = LOG.to_owned();
    let harm = format!(
        "(block (result i32) (call $log (i32.const 4) (i32.const {at}) (i32.const {})) (unreachable))",
        words.len()
    );
    Case::wild_guest(
        "panicking",
        guest,
        &harm,
        &[
            "it stopped: index out of bounds: the length is 3",
            "the row has the key [\"4\"]",
        ],
    )
}

fn refusing() -> Case {
    let mut guest = good();
    let at = guest.put(b"no such country");
    let message = format!("(i32.const {at})");
    let harm = refuse(&message, "(i32.const 15)", "(local.get $row)");
    Case::wild_guest(
        "refusing",
        guest,
        &format!("(block (result i32) {harm})"),
        &["no such country", "the row has the key [\"4\"]"],
    )
}

#[tokio::test]
async fn limits_end_what_goes_on_for_ever() {
    let grow = format!(
        "(block (result i32) (drop (memory.grow (i32.const 60000))) {})",
        identity()
    );
    let endless = format!("(block (result i32) {LOOP})");
    let mut deep = good();
    deep.imports = "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))".to_owned();
    let cases = vec![
        Case::wild(
            "endless",
            &endless,
            &[
                "a call took longer than 200ms",
                "hint: raise `limits: { batch_timeout: .. }`",
            ],
        )
        .with("limits: { batch_timeout: 200ms }"),
        Case::wild(
            "counted",
            &endless,
            &[
                "a call used more than 1000000 units of fuel",
                "hint: raise `limits: { fuel: .. }`",
            ],
        )
        .with("limits: { fuel: 1_000_000 }"),
        Case::wild(
            "greedy",
            &grow,
            &[
                "a call wanted more than 16 MiB of memory",
                "hint: raise `limits: { memory: .. }`",
            ],
        )
        .with("limits: { memory: 16MiB }"),
        Case::wild_guest(
            "deep",
            deep,
            "(call $deep)",
            &["a call went deeper than its stack"],
        ),
        huge(),
    ];
    harmless((Engine::Sqlite, Engine::Sqlite), cases).await;
}

#[tokio::test]
async fn rows_that_stop_a_plugin_are_named() {
    let trap = "(block (result i32) (unreachable))";
    let cases = vec![
        Case::wild(
            "trapping",
            trap,
            &["it stopped: ", "`t`", "the row has the key [\"4\"]"],
        ),
        panicking(),
        refusing(),
    ];
    harmless((Engine::Sqlite, Engine::Sqlite), cases).await;
}

#[tokio::test]
async fn answers_that_lie_are_refused() {
    let say = |values: &[usize]| format!("(block (result i32) {})", words(values));
    // As many rows as there were.
    let say_all = |values: &[usize]| {
        format!(
            "(block (result i32) (drop {})
             (i32.store offset=4 (i32.const {RESULT}) (local.get 5)) (i32.const {RESULT}))",
            words(values)
        )
    };
    let mut short = good();
    let value = short.put(&[0; 8]);
    let list = short.put_words(&[0, 0, value, 8]);
    let array = short.put_words(&[1, 0, list, 2]);
    let mut cut = good();
    let list = cut.put_words(&[0, 0, value, 3]);
    let lying = cut.put_words(&[1, 0, list, 2]);
    let hint = "hint: this is a mistake of the plugin: `syncset plugin test` shows it";
    let mut cases = vec![
        Case::wild(
            "nothing",
            &say_all(&[0, 0, 0, 0, 0]),
            &["0 columns instead of the 1"],
        ),
        Case::wild(
            "outside",
            &say(&[0, 2, usize::try_from(u32::MAX / 2).expect("it fits"), 1, 0]),
            &["what the contract does not allow"],
        ),
        Case::wild_guest(
            "fewer",
            short,
            &say(&[0, 1, array, 1, 0]),
            &["it returned 1 rows for "],
        ),
        Case::wild_guest(
            "cut",
            cut,
            &format!(
                "(block (result i32) (i32.store (i32.const {lying}) (local.get 5)) {})",
                say_all(&[0, 0, lying, 1, 0])
            ),
            &["a buffer of 3 bytes instead of "],
        ),
    ];
    cases
        .iter_mut()
        .for_each(|case| case.said = [case.said, &[hint, "`t`"]].concat().leak());
    harmless((Engine::Sqlite, Engine::Sqlite), cases).await;
}

#[tokio::test]
async fn files_that_are_no_plugins_are_refused_at_their_place() {
    let text = good().text();
    let contract = "(component (instance $i) \
                    (export \"syncset:plugin/plugin@0.9.0\" (instance $i)))";
    let wasi = "(component (import \"wasi:filesystem/types@0.2.6\" (instance)))";
    let mut endless = good();
    endless.replace("describe", LOOP.to_owned());
    let mut cases = vec![
        Case::unusable("script", "#!/bin/sh\n", &["it is no WASM file"]),
        Case::unusable("nothing", "", &["the file is empty"]),
        Case::unusable(
            "truncated",
            *b"\0asm\x01\0\0\0\x07",
            &["it is no valid WASM file"],
        ),
        Case::unusable(
            "outdated",
            contract,
            &[
                "version 0.9.0 of the contract; this syncset has 0.1.0",
                "hint: build it again",
            ],
        ),
        Case::unusable(
            "reading",
            wasi,
            &[
                "it imports `wasi:filesystem/types@0.2.6`",
                "hint: build it without WASI",
            ],
        ),
        Case::unusable(
            "changed",
            text.clone(),
            &[
                "is not the file that was pinned",
                "`syncset plugin pin changed`",
            ],
        )
        .pinned(Pin::Another),
        Case::unusable(
            "unpinned",
            text,
            &["is not pinned", "`syncset plugin pin unpinned`"],
        )
        .pinned(Pin::Absent),
        Case::unusable(
            "endless",
            endless.text(),
            &["a call took longer than 200ms"],
        )
        .with("limits: { batch_timeout: 200ms }"),
    ];
    cases
        .iter_mut()
        .for_each(|case| case.said = [case.said, &["(syncset.yaml:"]].concat().leak());
    harmless((Engine::Sqlite, Engine::Sqlite), cases).await;
}

/// What plugins want that a table has not, or may not give.
fn misfits() -> Vec<Case> {
    let mut key = good();
    promise(&mut key, "id", "l");
    let mut missing = good();
    read(&mut missing, "nn", None);
    let mut typed = good();
    read(&mut typed, "v", Some("l"));
    let mut lying = good();
    promise(&mut lying, "n", "x");
    let mut configured = good();
    configured.takes(
        "{\"type\":\"object\",\"required\":[\"column\"],\"properties\":{\"column\":{\"type\":\"string\"}}}",
    );
    let configured = configured.text();
    let mut cases = vec![
        Case::unusable(
            "keyed",
            key.text(),
            &[
                "returns `id`, which is part of the key of `",
                "hint: keys pass as they are",
            ],
        ),
        Case::unusable(
            "missing",
            missing.text(),
            &[
                "reads column `nn`, which `",
                "does not have",
                "hint: the columns are ",
            ],
        ),
        Case::unusable(
            "typed",
            typed.text(),
            &[
                "it reads column `v` as ",
                "hint: give it a column of that type",
            ],
        ),
        Case::unusable(
            "lying",
            lying.text(),
            &["column `n` of type `x`, which the contract does not have"],
        ),
        Case::unusable(
            "lacking",
            configured.clone(),
            &[
                "the configuration lacks `column`",
                "`syncset plugin inspect lacking`",
            ],
        ),
        Case::unusable("wrong", configured, &["`column` must be string"])
            .with("config: { column: 5 }"),
        Case::unusable(
            "unasked",
            good().text(),
            &["the plugin takes no configuration"],
        )
        .with("config: { column: n }"),
    ];
    for case in &mut cases {
        let place = match case.name {
            // Their configuration is that of the project.
            "wrong" | "unasked" => "(syncset.yaml:".to_owned(),
            name => format!("(pipelines/{name}.yaml:"),
        };
        case.said = [case.said, &[&*place.leak(), "t`"]].concat().leak();
    }
    cases
}

#[tokio::test]
async fn plugins_that_do_not_fit_a_table_are_refused_at_its_place() {
    harmless((Engine::Sqlite, Engine::Sqlite), misfits()).await;
}

#[tokio::test]
async fn nothing_of_a_failed_batch_is_at_postgres() {
    let trap = "(block (result i32) (unreachable))";
    let mut cases = misfits();
    cases.truncate(1);
    cases.push(Case::wild(
        "trapping",
        trap,
        &["it stopped: ", "the row has the key [\"4\"]"],
    ));
    cases.push(Case::unusable(
        "script",
        "#!/bin/sh\n",
        &["it is no WASM file"],
    ));
    harmless((Engine::Postgres, Engine::Postgres), cases).await;
}
