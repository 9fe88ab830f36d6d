//! Every change of a source's table under every policy, for every ordered pair of stores: one source
//! holds a table for each change and policy and is copied to a target of each engine, writers and
//! readers go on while the DDL happens, and all tables go through the same runs, so that some stop
//! while others are followed.

use crate::schema_lab::canonical;
use crate::targets::Target;
use kit::{Comparison, Engine, Output, Project};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const WAIT: [&str; 2] = ["--on-lock", "wait=60s"];

/// Rows of each table before anybody writes.
const ROWS: u32 = 20;

/// Pause between two statements of a writer or reader: they have the machine to share.
const PACE: Duration = Duration::from_millis(20);

/// What becomes of a table at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    AddedFull,
    Unmasked,
    Dropped,
    Renamed,
    Replaced,
    LongerText,
    LargerInteger,
    MoreDigits,
    MoreLabels,
    OtherType,
    Nullable,
    NotNull,
    Key,
    Remade,
    Gone,
}

/// Each change with the key of `schema` that is about it, and all values of that key.
const CHANGES: [(Change, &str, &[&str]); 16] = [
    (
        Change::Added,
        "new_column",
        &["add", "ignore", "approve", "fail"],
    ),
    (
        Change::AddedFull,
        "new_column",
        &["add", "ignore", "approve", "fail"],
    ),
    (Change::Unmasked, "unmasked_columns", &["fail"]),
    (
        Change::Dropped,
        "dropped_column",
        &["keep", "null", "drop", "approve", "fail"],
    ),
    (
        Change::Renamed,
        "renamed_column",
        &["follow", "add", "approve", "fail"],
    ),
    (
        Change::Replaced,
        "new_column",
        &["add", "ignore", "approve", "fail"],
    ),
    (
        Change::LongerText,
        "type_change",
        &["widen", "approve", "fail"],
    ),
    (
        Change::LargerInteger,
        "type_change",
        &["widen", "approve", "fail"],
    ),
    (
        Change::MoreDigits,
        "type_change",
        &["widen", "approve", "fail"],
    ),
    (
        Change::MoreLabels,
        "type_change",
        &["widen", "approve", "fail"],
    ),
    (
        Change::OtherType,
        "type_change",
        &["widen", "approve", "fail"],
    ),
    (
        Change::Nullable,
        "nullable_column",
        &["follow", "approve", "fail"],
    ),
    // What nobody has to be asked about passes whatever the file says.
    (Change::NotNull, "preset", &["frozen"]),
    (Change::Key, "key_change", &["approve", "fail"]),
    (Change::Remade, "preset", &["frozen"]),
    (Change::Gone, "preset", &["evolve"]),
];

/// What the run after the change makes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The target has become what the source is.
    Followed,
    /// Its rows are followed, without the column.
    Ignored,
    /// It stopped with 5 until somebody agrees.
    Waits,
    /// It stopped with 5 whatever anybody agrees to.
    Refused,
}

/// One table.
#[derive(Debug, Clone)]
struct Case {
    change: Change,
    setting: &'static str,
    policy: &'static str,
    table: String,
}

impl Case {
    /// All tables of a source.
    fn all(source: Engine) -> Vec<Self> {
        let cases = CHANGES.iter().flat_map(|(change, setting, policies)| {
            policies.iter().map(move |policy| Self {
                change: *change,
                setting,
                policy,
                table: format!("{change:?}_{policy}").to_lowercase(),
            })
        });
        // It has no enumerations.
        let has_it = |case: &Self| source != Engine::Sqlite || case.change != Change::MoreLabels;
        cases.filter(has_it).collect()
    }

    fn expected(&self, source: Engine, target: Engine) -> Expected {
        let tells_columns_apart = source == Engine::Postgres;
        let copies_tables = matches!(target, Engine::Mysql | Engine::Mariadb);
        match (self.change, self.policy) {
            (Change::NotNull | Change::Remade, _) => Expected::Followed,
            (Change::Gone, _) => Expected::Refused,
            // A table whose definition changed is read again there in any case.
            (Change::Replaced, _) if !tells_columns_apart => Expected::Followed,
            // What is copied cannot be left out unnoticed.
            (Change::Replaced, "ignore") => Expected::Waits,
            (_, "ignore") => Expected::Ignored,
            (_, "approve") => Expected::Waits,
            (_, "fail") => Expected::Refused,
            (Change::Renamed, "follow") if !tells_columns_apart => Expected::Waits,
            (Change::OtherType, _) => Expected::Waits,
            // Its integers have one size.
            (Change::LargerInteger, _) if source == Engine::Sqlite => Expected::Followed,
            (Change::LargerInteger | Change::MoreDigits, _) if copies_tables => Expected::Waits,
            _ => Expected::Followed,
        }
    }

    /// The settings of its table; `agreeing`: what was refused asks instead.
    fn settings(&self, agreeing: bool) -> String {
        let policy = match (agreeing, self.change, self.policy) {
            (true, Change::Unmasked, _) => return String::new(),
            (true, _, "fail") => "approve",
            (_, _, policy) => policy,
        };
        format!("schema: {{ {}: {policy} }}", self.setting)
    }

    /// The columns that are compared at the end.
    fn columns(&self, expected: Expected) -> Vec<&'static str> {
        let name = match self.change {
            Change::Dropped => None,
            Change::Renamed => Some("full_name"),
            _ => Some("name"),
        };
        let more = match self.change {
            Change::Added | Change::AddedFull | Change::Unmasked
                if expected != Expected::Ignored =>
            {
                Some("note")
            }
            Change::MoreLabels => Some("mood"),
            _ => None,
        };
        let columns = ["id", "code", "n", "amount", "digits", "rev"].into_iter();
        columns.chain(name).chain(more).collect()
    }

    /// A definition of its table; some columns may be others.
    fn definition(&self, source: Engine, table: &str, others: &[(&str, &str)]) -> String {
        let columns = [
            ("id", "int NOT NULL"),
            ("code", "int NOT NULL"),
            ("name", "varchar(50) NOT NULL DEFAULT 'fresh'"),
            ("n", "int NOT NULL DEFAULT 7"),
            ("amount", "decimal(8,2) DEFAULT 1.50"),
            ("digits", "varchar(10)"),
            ("rev", "bigint NOT NULL"),
        ];
        let other = |name: &str| others.iter().find(|(it, _)| *it == name);
        let parts = columns.map(|(name, own)| {
            let definition = other(name).map_or(own, |(_, definition)| definition);
            format!("{name} {definition}")
        });
        let mood = (self.change == Change::MoreLabels).then(|| match source {
            Engine::Postgres => format!("mood mood_{}", self.table),
            _ => "mood enum('sad','glad')".to_owned(),
        });
        let key = other("key").map_or("id", |(_, key)| key);
        let key = format!("PRIMARY KEY ({key})");
        let parts = parts.into_iter().chain(mood).chain([key]);
        let parts: Vec<_> = parts.collect();
        format!("CREATE TABLE {table} ({})", parts.join(", "))
    }

    /// The statements that make it.
    fn creation(&self, source: Engine) -> Vec<String> {
        let table = &self.table;
        let is_enum = self.change == Change::MoreLabels;
        let named = (is_enum && source == Engine::Postgres)
            .then(|| format!("CREATE TYPE mood_{table} AS ENUM ('sad', 'glad')"));
        let rows = (1..=ROWS).map(|id| {
            let mood = if is_enum { ", 'sad'" } else { "" };
            format!("({id}, {}, 'row {id}', '7', {id}{mood})", id + 1_000)
        });
        let rows: Vec<_> = rows.collect();
        let mood = if is_enum { ", mood" } else { "" };
        let insert = format!(
            "INSERT INTO {table} (id, code, name, digits, rev{mood}) VALUES {}",
            rows.join(", ")
        );
        let create = self.definition(source, table, &[]);
        named.into_iter().chain([create, insert]).collect()
    }

    /// SQLite makes a table anew to change a column of it.
    fn made_anew(&self, others: &[(&str, &str)], digits: &str) -> Vec<String> {
        let table = &self.table;
        let create = self.definition(Engine::Sqlite, "anew", others);
        let columns = "id, code, name, n, amount, digits, rev";
        let selected = columns.replace("digits", digits);
        vec![format!(
            "BEGIN IMMEDIATE; {create}; INSERT INTO anew ({columns}) SELECT {selected} FROM {table}; \
             DROP TABLE {table}; ALTER TABLE anew RENAME TO {table}; COMMIT"
        )]
    }

    /// What happens to it, and rows that show it. `rev`: the stamp of those that bear one.
    fn statements(&self, source: Engine, rev: u64) -> Vec<String> {
        let table = &self.table;
        let alter = |action: &str| vec![format!("ALTER TABLE {table} {action}")];
        let by_engine = |postgres: &str, mysql: &str, sqlite: (&str, &str)| match source {
            Engine::Postgres => alter(postgres),
            Engine::Mysql | Engine::Mariadb => alter(mysql),
            Engine::Sqlite => self.made_anew(&[sqlite], "digits"),
        };
        // A row that is changed without a stamp is found by nothing but the change of the table.
        let unstamped = |set: &str| format!("UPDATE {table} SET {set} WHERE id <= 5");
        let stamped = |set: &str| format!("UPDATE {table} SET {set}, rev = {rev} WHERE id = 6");
        let (mut ddl, shown) = match self.change {
            Change::Added | Change::Unmasked => (
                alter("ADD COLUMN note varchar(20)"),
                Some(unstamped("note = 'set'")),
            ),
            Change::AddedFull => (
                alter("ADD COLUMN note varchar(20) NOT NULL DEFAULT 'first'"),
                Some(unstamped("note = 'other'")),
            ),
            Change::Dropped => (alter("DROP COLUMN name"), None),
            Change::Renamed => (
                alter("RENAME COLUMN name TO full_name"),
                Some(stamped("full_name = 'renamed'")),
            ),
            Change::Replaced => {
                let fresh = "name varchar(50) NOT NULL DEFAULT 'again'";
                let both = match source {
                    Engine::Sqlite => {
                        let first = alter("DROP COLUMN name");
                        first
                            .into_iter()
                            .chain(alter(&format!("ADD COLUMN {fresh}")))
                            .collect()
                    }
                    _ => alter(&format!("DROP COLUMN name, ADD COLUMN {fresh}")),
                };
                (both, Some(unstamped("name = 'another'")))
            }
            Change::LongerText => (
                by_engine(
                    "ALTER name TYPE varchar(60)",
                    "MODIFY name varchar(60) NOT NULL DEFAULT 'fresh'",
                    ("name", "varchar(60) NOT NULL DEFAULT 'fresh'"),
                ),
                Some(stamped(&format!("name = '{}'", "x".repeat(60)))),
            ),
            Change::LargerInteger => (
                by_engine(
                    "ALTER n TYPE bigint",
                    "MODIFY n bigint NOT NULL DEFAULT 7",
                    ("n", "bigint NOT NULL DEFAULT 7"),
                ),
                Some(stamped("n = 9876543210")),
            ),
            Change::MoreDigits => (
                by_engine(
                    "ALTER amount TYPE decimal(14,4)",
                    "MODIFY amount decimal(14,4) DEFAULT 1.50",
                    ("amount", "decimal(14,4) DEFAULT 1.50"),
                ),
                Some(stamped("amount = 1234567890.1234")),
            ),
            Change::MoreLabels => {
                let ddl = match source {
                    Engine::Postgres => vec![format!("ALTER TYPE mood_{table} ADD VALUE 'ok'")],
                    _ => alter("MODIFY mood enum('sad','glad','ok')"),
                };
                (ddl, Some(stamped("mood = 'ok'")))
            }
            Change::OtherType => {
                let ddl = match source {
                    Engine::Postgres => alter("ALTER digits TYPE int USING digits::int"),
                    Engine::Mysql | Engine::Mariadb => alter("MODIFY digits int"),
                    Engine::Sqlite => {
                        self.made_anew(&[("digits", "int")], "CAST(digits AS INTEGER)")
                    }
                };
                (ddl, Some(stamped("digits = 8")))
            }
            Change::Nullable => (
                by_engine(
                    "ALTER name DROP NOT NULL",
                    "MODIFY name varchar(50) NULL",
                    ("name", "varchar(50) DEFAULT 'fresh'"),
                ),
                Some(stamped("name = NULL")),
            ),
            Change::NotNull => (
                by_engine(
                    "ALTER amount SET NOT NULL",
                    "MODIFY amount decimal(8,2) NOT NULL DEFAULT 1.50",
                    ("amount", "decimal(8,2) NOT NULL DEFAULT 1.50"),
                ),
                Some(stamped("amount = 2.50")),
            ),
            Change::Key => (
                by_engine(
                    &format!("DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY (code)"),
                    "DROP PRIMARY KEY, ADD PRIMARY KEY (code)",
                    ("key", "code"),
                ),
                Some(stamped("name = 'by code'")),
            ),
            Change::Remade => (self.remade(source), None),
            Change::Gone => (vec![format!("DROP TABLE {table}")], None),
        };
        ddl.extend(shown);
        ddl
    }

    /// It goes, and another one comes under its name, with values of its own.
    fn remade(&self, source: Engine) -> Vec<String> {
        let table = &self.table;
        let columns = "id, code, name, digits, rev";
        vec![
            format!("CREATE TABLE kept AS SELECT * FROM {table}"),
            format!("DROP TABLE {table}"),
            self.definition(source, table, &[]),
            format!(
                "INSERT INTO {table} ({columns}) SELECT id, code, 'another', digits, rev FROM kept"
            ),
            "DROP TABLE kept".to_owned(),
        ]
    }

    /// Whether the source has it in the end.
    fn stays(&self) -> bool {
        self.change != Change::Gone
    }

    /// Whether others may write to it while its DDL happens.
    fn is_there_throughout(&self) -> bool {
        !matches!(self.change, Change::Remade | Change::Gone)
    }
}

/// One target of a source, with the project that copies to it.
struct Replica {
    source: Arc<Target>,
    target: Arc<Target>,
    project: Project,
}

impl Replica {
    async fn new(source: Arc<Target>, target: Engine) -> Self {
        let target = target.database("matrix").await;
        let project = Project::between(&source.url(), &target.url());
        Self {
            source,
            target: Arc::new(target),
            project,
        }
    }

    fn write_file(&self, cases: &[Case], settings: impl Fn(&Case) -> Option<String>) {
        let tables = cases.iter().filter_map(|case| {
            let settings = settings(case)?;
            Some(format!("  {}: {{ {settings} }}\n", case.table))
        });
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n\
             defaults: {{ capture: {{ mode: cursor, column: rev, overlap: 50 }} }}\n\
             tables:\n{}",
            tables.collect::<String>()
        );
        self.project.pipeline("p", &text);
    }

    async fn syncset(&self, words: &[&str]) -> Output {
        let words = words.iter().chain(&WAIT);
        let words = words.chain(&["--output", "json"]);
        self.project.syncset(words).await
    }

    async fn run(&self) -> Output {
        self.syncset(&["pipeline", "run", "p"]).await
    }

    async fn is_loaded(&self) {
        self.run().await.expect_success();
    }

    fn expected(&self, case: &Case) -> Expected {
        case.expected(self.source.engine(), self.target.engine())
    }

    /// The columns of each table of the target.
    async fn columns(&self) -> BTreeMap<String, BTreeSet<String>> {
        let sql = self.target.own(
            "SELECT table_name, column_name FROM information_schema.columns \
             WHERE table_schema = 'public'",
            "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
             WHERE m.type = 'table'",
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE()",
        );
        let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in self.target.rows(sql).await {
            let mut names = row.into_iter().flatten();
            let (table, column) = (names.next(), names.next());
            let (table, column) = table.zip(column).expect("tables and columns have names");
            columns.entry(table).or_default().insert(column);
        }
        columns
    }

    /// The run after the changes: each table ends as it is expected to, and those that stop are as
    /// they were.
    async fn meets_the_changes(&self, cases: &[Case]) {
        let before = self.columns().await;
        let report = self.run().await.expect_code(5).json();
        let columns = self.columns().await;
        for case in cases {
            let expected = self.expected(case);
            let code = match expected {
                Expected::Followed | Expected::Ignored => 0,
                Expected::Waits | Expected::Refused => 5,
            };
            // A table that the source has no longer is told of with the run.
            let found = match case.change {
                Change::Gone => report["failures"][0]["exit_code"].as_i64(),
                _ => code_of(&report, &case.table),
            };
            let of_table = tables(&report).find(|(name, _)| *name == case.table);
            assert_eq!(found, Some(code), "{case:?}: {of_table:#?}");
            if code == 5 {
                assert_eq!(columns[&case.table], before[&case.table], "{case:?}");
            }
        }
    }

    /// Somebody agrees to all of it.
    async fn agrees(&self, cases: &[Case]) {
        let settings = |case: &Case| case.stays().then(|| case.settings(true));
        self.write_file(cases, settings);
        let agreed = self.syncset(&["schema", "approve", "p"]).await;
        agreed.expect_success();
    }

    /// The last run brings what was written until then, and both sides agree.
    async fn ends_equal(&self, cases: &[Case]) {
        self.run().await.expect_success();
        let columns = self.columns().await;
        for case in cases {
            if case.stays() {
                self.assert_same(case).await;
            } else {
                let sql = format!("SELECT count(*) FROM {}", case.table);
                assert_eq!(self.target.value(&sql).await, ROWS.to_string());
            }
            self.assert_left(case, &columns[&case.table]).await;
        }
    }

    /// Source and target agree in all rows of a table.
    async fn assert_same(&self, case: &Case) {
        let columns = case.columns(self.expected(case)).join(", ");
        let sql = format!("SELECT {columns} FROM {} ORDER BY id", case.table);
        let (source, target) = (self.source.rows(&sql).await, self.target.rows(&sql).await);
        assert!(source.len() > ROWS as usize || !case.is_there_throughout());
        let comparison = Comparison::of(canonical(source), canonical(target), 1);
        assert!(comparison.is_equal(), "{case:?}: {comparison}");
    }

    /// What stays of a column that the source has no longer.
    async fn assert_left(&self, case: &Case, columns: &BTreeSet<String>) {
        let has_name = columns.contains("name");
        let is_kept = match (case.change, case.policy) {
            (Change::Dropped, "keep" | "null") | (Change::Renamed, "add") => true,
            (Change::Dropped | Change::Renamed, _) => false,
            _ => return,
        };
        assert_eq!(has_name, is_kept, "{case:?}");
        if is_kept {
            let sql = format!("SELECT count(name) FROM {}", case.table);
            let is_empty = self.target.value(&sql).await == "0";
            assert_eq!(is_empty, case.policy == "null", "{case:?}");
        }
    }
}

fn tables(report: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let tables = report["tables"].as_array().expect("a report has tables");
    tables.iter().map(|it| {
        let name = it["table"].as_str().expect("tables have names");
        (name.rsplit('.').next().unwrap_or(name), it)
    })
}

fn code_of(report: &Value, table: &str) -> Option<i64> {
    let mut tables = tables(report);
    let found = tables.find(|(name, _)| *name == table)?.1;
    found["exit_code"].as_i64()
}

/// Those who use the stores meanwhile.
#[derive(Default, Clone)]
struct Others {
    /// The next stamp.
    rev: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Others {
    /// Changes rows of all tables and adds some until it is stopped. How often each had its turn.
    fn writer(&self, source: &Arc<Target>, cases: &[Case]) -> JoinHandle<u64> {
        let (source, others) = (Arc::clone(source), self.clone());
        let cases = cases.iter().filter(|case| case.is_there_throughout());
        let tables: Vec<String> = cases.map(|case| case.table.clone()).collect();
        tokio::spawn(async move {
            let mut session = source.session().await;
            let mut pace = tokio::time::interval(PACE);
            for turn in 0_u64.. {
                for table in &tables {
                    pace.tick().await;
                    let rev = others.rev.fetch_add(1, Ordering::SeqCst);
                    let (old, new) = (turn % u64::from(ROWS) + 1, turn + 100);
                    let sql = match turn % 2 {
                        0 => format!(
                            "INSERT INTO {table} (id, code, rev) VALUES ({new}, {new} + 1000, {rev})"
                        ),
                        _ => format!("UPDATE {table} SET rev = {rev} WHERE id = {old}"),
                    };
                    session.execute(&sql).await;
                }
                if others.stop.load(Ordering::SeqCst) {
                    return turn + 1;
                }
            }
            unreachable!("it goes on until it is stopped")
        })
    }

    /// Reads all tables of the targets until it is stopped; no read is refused.
    fn reader(&self, replicas: &[Replica], cases: &[Case]) -> JoinHandle<()> {
        let targets: Vec<_> = replicas.iter().map(|it| Arc::clone(&it.target)).collect();
        let others = self.clone();
        let tables: Vec<String> = cases.iter().map(|case| case.table.clone()).collect();
        tokio::spawn(async move {
            let mut sessions = Vec::new();
            for target in &targets {
                sessions.push(target.session().await);
            }
            let mut pace = tokio::time::interval(PACE);
            while !others.stop.load(Ordering::SeqCst) {
                for table in &tables {
                    pace.tick().await;
                    let sql = format!("SELECT id, rev FROM {table} WHERE id < 30");
                    for session in &mut sessions {
                        session.execute(&sql).await;
                    }
                }
            }
        })
    }
}

/// All replicas take the same step at the same time.
async fn all<'a, F: Future<Output = ()>>(replicas: &'a [Replica], step: impl Fn(&'a Replica) -> F) {
    futures::future::join_all(replicas.iter().map(step)).await;
}

async fn every_change_under_every_policy(source: Engine) {
    let cases = &Case::all(source);
    let database = Arc::new(source.database("matrix").await);
    if let Target::Sqlite(file, _) = &*database {
        // Readers and the writer do not wait for each other.
        file.execute("PRAGMA journal_mode = wal").await;
    }
    for case in cases {
        for statement in case.creation(source) {
            database.execute(&statement).await;
        }
    }
    let mut replicas = Vec::new();
    for target in Engine::ALL {
        let replica = Replica::new(Arc::clone(&database), *target).await;
        replica.write_file(cases, |case| Some(case.settings(false)));
        replicas.push(replica);
    }
    let others = Others::default();
    others.rev.store(1_000, Ordering::SeqCst);

    let writer = others.writer(&database, cases);
    all(&replicas, Replica::is_loaded).await;
    let reader = others.reader(&replicas, cases);
    for case in cases {
        let rev = others.rev.fetch_add(1, Ordering::SeqCst);
        for statement in case.statements(source, rev) {
            database.execute(&statement).await;
        }
    }
    all(&replicas, |it| it.meets_the_changes(cases)).await;
    all(&replicas, |it| it.agrees(cases)).await;
    others.stop.store(true, Ordering::SeqCst);
    writer.await.expect("no write was refused");
    reader.await.expect("no read was refused");

    all(&replicas, |it| it.ends_equal(cases)).await;
}

#[tokio::test]
async fn changes_of_postgres_reach_all_stores() {
    every_change_under_every_policy(Engine::Postgres).await;
}

#[tokio::test]
async fn changes_of_mysql_reach_all_stores() {
    every_change_under_every_policy(Engine::Mysql).await;
}

#[tokio::test]
async fn changes_of_mariadb_reach_all_stores() {
    every_change_under_every_policy(Engine::Mariadb).await;
}

#[tokio::test]
async fn changes_of_sqlite_reach_all_stores() {
    every_change_under_every_policy(Engine::Sqlite).await;
}
