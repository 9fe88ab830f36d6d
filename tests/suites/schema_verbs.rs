//! `schema diff` and `schema approve`: what they say is what the target is made to be, and a plan is
//! carried out only in the world that it was made for.

use crate::schema_lab::Lab;
use crate::targets::Target;
use kit::{Engine, Output, Project};
use serde_json::Value;

const DIFF: [&str; 5] = ["schema", "diff", "p", "--output", "json"];
const WITH_PLAN: [&str; 5] = ["schema", "approve", "p", "--plan", "plan.json"];
const WAIT: [&str; 2] = ["--on-lock", "wait=30s"];

/// The pairs that the verbs are tried with.
const PAIRS: [(Engine, Engine); 3] = [
    (Engine::Postgres, Engine::Postgres),
    (Engine::Postgres, Engine::Mysql),
    (Engine::Mysql, Engine::Sqlite),
];

const ASKED: &str = "schema: { new_column: approve, dropped_column: approve }";

const NOTE: &str = "ALTER TABLE t ADD COLUMN note varchar(20) DEFAULT 'first'; \
    UPDATE t SET note = 'other' WHERE id <= 10";

const NOTES: &str = "SELECT id, name, rev, note FROM t ORDER BY id";

impl Lab {
    async fn diff(&self) -> Output {
        self.project.syncset(DIFF).await
    }

    /// Writes the plan file; the changes wait for somebody.
    async fn plan(&self) {
        let plan = self.diff().await.expect_code(5);
        self.project.file("plan.json", &plan.stdout);
    }

    async fn approve(&self, flags: &[&str]) -> Output {
        let words = ["schema", "approve", "p"].into_iter();
        let words = words.chain(WAIT).chain(flags.iter().copied());
        self.project.syncset(words.collect::<Vec<_>>()).await
    }

    /// Carries the plan out, which is refused with these words, and changes nothing.
    async fn refuses_plan(&self, words: &str) {
        let columns = self.columns().await;
        let refused = self.approve(&["--plan", "plan.json"]).await.expect_code(5);
        let said = Self::said(&refused);
        assert!(said.contains(words), "{words}: {said}");
        assert!(said.contains("hint: "), "{said}");
        assert_eq!(self.columns().await, columns, "{words}");
    }

    /// Names of the columns of the target's `t`.
    async fn columns(&self) -> Vec<String> {
        let sql = self.target.own(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'public.t'::regclass \
             AND attnum > 0 AND NOT attisdropped ORDER BY 1",
            "SELECT name FROM pragma_table_info('t') ORDER BY 1",
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't' ORDER BY 1",
        );
        let rows = self.target.rows(sql).await.into_iter();
        rows.map(|row| row[0].clone().expect("columns have names"))
            .collect()
    }

    /// Lets the run connect to the target by another URL from here on.
    fn reach_target_by(&self, url: &str) {
        let source = self.source.url();
        let other = Project::between(&source, url);
        self.project
            .file("syncset.yaml", &other.read("syncset.yaml"));
    }
}

fn table<'a>(document: &'a Value, name: &str) -> &'a Value {
    let tables = document["tables"].as_array().expect("a list of tables");
    let mut named = tables.iter().filter(|it| {
        let table = it["table"].as_str().expect("tables have names");
        table == name || table.ends_with(&format!(".{name}"))
    });
    named
        .next()
        .unwrap_or_else(|| panic!("no table `{name}` in {document:#}"))
}

#[tokio::test]
async fn changes_are_shown_and_then_done_for_their_tables_only() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, ASKED).await;
        lab.diff().await.expect_success();

        lab.at_source(NOTE).await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        let waits = lab.diff().await.expect_code(5).json();
        let text = lab.project.syncset(["schema", "diff", "p"]).await;
        lab.approve(&["--dry-run"]).await.expect_success();
        let untouched = lab.has_column("t", "note").await;
        let approved = lab.approve(&[]).await.expect_success();

        let tables = waits["tables"].as_array().expect("a list of tables");
        assert_eq!(tables.len(), 1, "{pair:?}");
        let of_t = table(&waits, "t");
        let change = &of_t["changes"][0];
        assert_eq!(
            (&change["kind"], &change["column"]),
            (&"added".into(), &"note".into())
        );
        assert_eq!(change["policy"], "new_column: approve");
        assert_eq!(change["fate"], "waits");
        assert_eq!(of_t["rows"]["loaded_again"], true);
        assert_eq!(of_t["reversible"], true);
        let text = text.expect_code(5).stdout;
        for words in [
            "new column `note`",
            "waits for your word",
            "ADD COLUMN",
            "lock: ",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!untouched, "{pair:?}");
        assert!(approved.stdout.contains("loaded"), "{}", approved.stdout);
        lab.assert_same(NOTES, 100).await;
        // The other table waits for its run.
        assert_eq!(lab.number("SELECT count(*) FROM u").await, 100);
        lab.diff().await.expect_success();
        lab.run().await.expect_success();
        assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
    }
}

#[tokio::test]
async fn columns_that_readers_see_as_null_meanwhile_are_named() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Postgres), "schema: evolve").await;
    lab.at_source(
        "UPDATE t SET name = id; ALTER TABLE t ALTER COLUMN name TYPE int USING name::int",
    )
    .await;

    let plan = lab.diff().await.expect_code(5).json();
    let text = lab.project.syncset(["schema", "diff", "p"]).await.stdout;
    let whole = lab.project.syncset(["pipeline", "plan", "p"]).await.stdout;

    let rows = &table(&plan, "t")["rows"];
    assert_eq!(
        rows["null_until_loaded"],
        serde_json::json!(["name"]),
        "{plan:#}"
    );
    let told = "written where they differ; until then readers see NULL in `name`";
    assert!(text.contains(told), "{text}");
    let told = "readers see NULL in `name` until their rows are written";
    assert!(whole.contains(told), "{whole}");
}

#[tokio::test]
async fn change_that_a_run_follows_is_told_with_another_code() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Sqlite), "schema: evolve").await;

    lab.at_source("ALTER TABLE t DROP COLUMN name").await;
    let followed = lab.diff().await.expect_code(4).json();
    lab.edit_each("schema: frozen", "");
    let refused = lab.diff().await.expect_code(5).json();
    lab.approve(&[]).await.expect_code(5);

    let change = |document: &Value| table(document, "t")["changes"][0].clone();
    assert_eq!(change(&followed)["policy"], "dropped_column: drop");
    assert_eq!(change(&followed)["fate"], "follows");
    assert_eq!(table(&followed, "t")["reversible"], false);
    assert_eq!(table(&followed, "t")["rows"]["loaded_again"], false);
    assert_eq!(change(&refused)["fate"], "refused");
    assert!(lab.has_column("t", "name").await);
    lab.edit_each("schema: evolve", "");
    lab.run().await.expect_success();
    assert!(!lab.has_column("t", "name").await);
}

/// A table, its settings, and what becomes of it at the source.
const KINDS: [(&str, &str, &str); 7] = [
    ("added", "", "ADD COLUMN note varchar(20)"),
    ("longer", "", "ALTER COLUMN name TYPE varchar(60)"),
    ("much_longer", "", "ALTER COLUMN name TYPE varchar(200)"),
    ("larger", "", "ALTER COLUMN code TYPE bigint"),
    ("kept", "", "DROP COLUMN name"),
    (
        "cleared",
        "schema: { dropped_column: null }",
        "DROP COLUMN name",
    ),
    (
        "dropped",
        "schema: { dropped_column: drop }",
        "DROP COLUMN name",
    ),
];

/// What PostgreSQL, MySQL and MariaDB store a table in; another one after all rows were written.
async fn storage_of(target: &Target, table: &str) -> String {
    let sql = match target.engine() {
        Engine::Postgres => format!("SELECT pg_relation_filenode('public.{table}')::text"),
        Engine::Mysql => format!(
            "SELECT TABLE_ID FROM information_schema.INNODB_TABLES \
             WHERE NAME = CONCAT(DATABASE(), '/{table}')"
        ),
        Engine::Mariadb => format!(
            "SELECT TABLE_ID FROM information_schema.INNODB_SYS_TABLES \
             WHERE NAME = CONCAT(DATABASE(), '/{table}')"
        ),
        Engine::Sqlite => unreachable!("it is not asked"),
    };
    target.value(&sql).await
}

/// Runs the statements of a table on copies of it: they take the lock that was told and no easier
/// one, and write the rows anew only if that was told.
async fn assert_told_truly(target: &Target, table: &Value) {
    let name = table["target"].as_str().expect("targets have names");
    let name = name.trim_start_matches("public.");
    for statement in table["statements"].as_array().expect("a list") {
        let text = |key: &str| statement[key].as_str().expect("a text").to_owned();
        let (sql, lock) = (text("sql"), text("lock"));
        let copy = format!("copy_of_{name}");
        let (make, on_copy) = match target {
            Target::Postgres(_) => (
                format!("CREATE TABLE {copy} (LIKE {name} INCLUDING ALL)"),
                sql.replace(&format!("\"{name}\""), &copy),
            ),
            _ => (
                format!("CREATE TABLE {copy} LIKE {name}; INSERT INTO {copy} SELECT * FROM {name}"),
                sql.replace(&format!("`{name}`"), &copy),
            ),
        };
        assert_ne!(on_copy, sql, "the copy is altered");
        target.execute(&make).await;
        let before = storage_of(target, &copy).await;
        if let Target::Mysql(database) = target {
            let ways = ["INSTANT", "INPLACE, LOCK=NONE", "COPY, LOCK=SHARED"];
            let place = ways.iter().position(|way| *way == lock);
            let place = place.unwrap_or_else(|| panic!("{lock} is no way"));
            for (number, way) in ways.iter().enumerate().take(place + 1) {
                let tried = format!("{on_copy}, COMMENT='x', ALGORITHM={way}");
                let refused = database.try_execute(&tried).await.is_err();
                assert_eq!(refused, number < place, "{lock}: {tried}");
            }
        } else {
            assert_eq!(lock, "ACCESS EXCLUSIVE");
            target.execute(&on_copy).await;
        }
        let after = storage_of(target, &copy).await;
        let rewrites = statement["rewrites"].as_bool().expect("yes or no");
        assert_eq!(before != after, rewrites, "{statement:#}");
        target.execute(&format!("DROP TABLE {copy}")).await;
    }
}

#[tokio::test]
async fn locks_and_rewrites_are_those_that_were_told() {
    for engine in [Engine::Postgres, Engine::Mysql, Engine::Mariadb] {
        let (source, target) = (
            Engine::Postgres.database("told").await,
            engine.database("told").await,
        );
        let project = Project::between(&source.url(), &target.url());
        let mut tables = String::new();
        for (name, settings, _) in KINDS {
            tables.push_str(&format!("  {name}: {{ {settings} }}\n"));
            source
                .execute(&format!(
                    "CREATE TABLE {name} (id int PRIMARY KEY, name varchar(50) NOT NULL, code int \
                     NOT NULL); INSERT INTO {name} VALUES (1, 'one', 1), (2, 'two', 2)"
                ))
                .await;
        }
        project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\ncapture: full\ntables:\n{tables}"
            ),
        );
        project
            .syncset(["pipeline", "run", "p"])
            .await
            .expect_success();
        for (name, _, change) in KINDS {
            source
                .execute(&format!("ALTER TABLE {name} {change}"))
                .await;
        }

        let diff = project.syncset(DIFF).await;
        let is_copied = engine != Engine::Postgres;
        let diff = diff.expect_code(if is_copied { 5 } else { 4 }).json();

        for (name, ..) in KINDS {
            assert_told_truly(&target, table(&diff, name)).await;
        }
        let approved = project.syncset(["schema", "approve", "p"]).await;
        approved.expect_success();
        project.syncset(DIFF).await.expect_success();
        for (name, ..) in KINDS {
            let columns = match name {
                "added" => "id, name, code, note",
                "kept" | "cleared" | "dropped" => "id, code",
                _ => "id, name, code",
            };
            let sql = format!("SELECT {columns} FROM {name} ORDER BY id");
            assert_eq!(target.rows(&sql).await, source.rows(&sql).await, "{sql}");
        }
    }
}

#[tokio::test]
async fn plan_is_carried_out_once() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, ASKED).await;
        lab.at_source(NOTE).await;
        lab.plan().await;

        let dry = lab.approve(&["--plan", "plan.json", "--dry-run"]).await;
        let untouched = lab.has_column("t", "note").await;
        lab.approve(&["--plan", "plan.json"]).await.expect_success();
        lab.refuses_plan("nothing is left to be done").await;

        dry.expect_success();
        assert!(!untouched, "{pair:?}");
        lab.assert_same(NOTES, 100).await;
    }
}

#[tokio::test]
async fn agreement_holds_for_tables_that_are_committed_together() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, ASKED).await;
        let stream = lab.stream();
        let text = lab.project.read("pipelines/p.yaml");
        let together = text.replace("tables:", "consistency: pipeline\ntables:");
        lab.project.pipeline("p", &together);
        lab.run().await.expect_success();

        lab.at_source(NOTE).await;
        lab.at_source("INSERT INTO u VALUES (101, 'row 101', 101)")
            .await;
        lab.run().await.expect_code(5);
        let waits = lab.number("SELECT count(*) FROM u").await;
        // Killed between what it alters and what it commits, it is finished by a run.
        let stop = [("SYNCSET_FAIL_POINT", "alter.committed=exit9")];
        let words = ["schema", "approve", "p", "--tables", stream];
        let words = words.iter().chain(&WAIT);
        let killed = lab.project.spawn_with(words, &stop).wait().await;
        killed.expect_code(137);
        lab.run().await.expect_success();
        lab.at_source("ALTER TABLE t DROP COLUMN name").await;
        lab.at_source("INSERT INTO u VALUES (102, 'row 102', 102)")
            .await;
        lab.run().await.expect_code(5);
        lab.approve(&["--tables", stream]).await.expect_success();

        // Neither table goes on without the other.
        assert_eq!(waits, 100, "{pair:?}");
        assert!(!lab.has_column("t", "name").await, "{pair:?}");
        lab.assert_same("SELECT id, rev, note FROM t ORDER BY id", 100)
            .await;
        lab.assert_same("SELECT id, name, rev FROM u ORDER BY id", 102)
            .await;
        lab.is_quiet().await;
    }
}

#[tokio::test]
async fn agreement_to_a_narrower_type_is_asked_for_once() {
    for consistency in ["table", "pipeline"] {
        let server = kit::postgres().await;
        let source = server.database("narrow_source").await;
        let target = server.database("narrow_target").await;
        let rows = "CREATE TABLE t (id int PRIMARY KEY, name text); \
                    INSERT INTO t SELECT i, 'name ' || i FROM generate_series(1, 20) i";
        source.execute(rows).await;
        let project = kit::Project::between(&source.url(), &target.url());
        project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\nconsistency: {consistency}\n\
                 capture: full\ntables: {{ public.t: {{}} }}\n"
            ),
        );
        let run = ["pipeline", "run", "p"];
        project.syncset(run).await.expect_success();

        source
            .execute("ALTER TABLE t ALTER name TYPE varchar(50)")
            .await;
        project.syncset(run).await.expect_code(5);
        let approve = ["schema", "approve", "p"];
        project.syncset(approve).await.expect_success();

        project.syncset(run).await.expect_success();
        let same = "SELECT id, name::text FROM t";
        kit::assert_same_bag(&source, &target, same, same).await;
    }
}

#[tokio::test]
async fn plan_is_refused_in_another_world() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Postgres), ASKED).await;
    lab.at_source(NOTE).await;
    lab.at_source("ANALYZE t").await;
    let at_source = [
        (
            "ALTER TABLE t ALTER COLUMN note SET DEFAULT 'second'",
            "at the source column `note` is",
        ),
        (
            "ALTER TABLE t ADD COLUMN more int",
            "at the source column `more` is new",
        ),
        (
            "ALTER TABLE t DROP COLUMN more",
            "at the source column `more` is gone",
        ),
        ("VACUUM FULL t", "at the source its rows were written anew"),
        (
            "INSERT INTO t SELECT i, 'row ' || i, i FROM generate_series(101, 20000) i; ANALYZE t",
            "at the source it holds about",
        ),
    ];
    for (change, words) in at_source {
        lab.plan().await;
        for statement in change.split("; ") {
            lab.at_source(statement).await;
        }
        lab.refuses_plan(words).await;
    }

    let at_target = [
        ("ALTER TABLE t ADD COLUMN mine int", "column `mine` is new"),
        ("CREATE VIEW v AS SELECT id FROM t", "view public.v is new"),
        ("VACUUM FULL t", "at the target its rows were written anew"),
        (
            "ALTER TABLE t ALTER COLUMN name SET DEFAULT 'x'",
            "at the target column `name` is",
        ),
    ];
    for (change, words) in at_target {
        lab.plan().await;
        lab.target.execute(change).await;
        lab.refuses_plan(words).await;
    }

    lab.plan().await;
    lab.edit_each(&format!("{ASKED}, where: \"id > 0\""), ASKED);
    lab.refuses_plan("its selection in the file was edited")
        .await;
    lab.edit("schema: { new_column: add }");
    lab.refuses_plan("what is to be done about it is something else")
        .await;
    lab.edit(ASKED);
    let plan = lab.project.read("plan.json");
    let version = format!("\"syncset\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(plan.contains(&version), "{plan}");
    lab.project.file(
        "plan.json",
        &plan.replace(&version, "\"syncset\": \"0.0.1\""),
    );
    lab.refuses_plan("was made by syncset 0.0.1").await;
    lab.project.file("plan.json", &plan);
    lab.approve(&["--plan", "plan.json"]).await.expect_success();
    lab.assert_same(NOTES, 20_000).await;
}

#[tokio::test]
async fn file_that_is_no_plan_is_refused_by_its_name() {
    let lab = Lab::loaded((Engine::Sqlite, Engine::Sqlite), ASKED).await;
    lab.at_source("ALTER TABLE t ADD COLUMN note varchar(20)")
        .await;
    lab.plan().await;
    let plan = lab.project.read("plan.json");
    let texts = [
        ("{ \"exit_code\": 2, \"failures\": [] }", "is no plan"),
        ("nonsense", "is no plan"),
        (
            &plan.replace("\"pipeline\": \"p\"", "\"pipeline\": \"q\""),
            "is a plan of pipeline `default/q`",
        ),
    ];

    for (text, words) in texts {
        lab.project.file("plan.json", text);
        let refused = lab.project.syncset(WITH_PLAN).await.expect_code(2);
        let said = Lab::said(&refused);
        assert!(said.contains(words), "{said}");
        assert!(said.contains("`plan.json`"), "{said}");
    }
    let missing = ["schema", "approve", "p", "--plan", "other.json"];
    lab.project.syncset(missing).await.expect_code(2);
    assert!(!lab.has_column("t", "note").await);
}

#[tokio::test]
async fn target_is_compared_once_more_before_it_is_altered() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, ASKED).await;
        lab.at_source(NOTE).await;
        lab.plan().await;

        let stop = [("SYNCSET_FAIL_POINT", "plan.compared=stop")];
        let run = lab.project.spawn_with(WITH_PLAN, &stop);
        assert!(run.frozen().await, "{}", run.stderr_so_far());
        lab.target
            .execute("ALTER TABLE t ADD COLUMN mine int")
            .await;
        run.cont();
        let refused = run.wait().await.expect_code(5);

        let said = Lab::said(&refused);
        assert!(said.contains("column `mine` is new"), "{pair:?}: {said}");
        assert!(!lab.has_column("t", "note").await, "{pair:?}");
        lab.plan().await;
        lab.approve(&["--plan", "plan.json"]).await.expect_success();
        lab.assert_same(NOTES, 100).await;
    }
}

#[tokio::test]
async fn column_that_a_view_needs_stays_and_the_view_is_named() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, ASKED).await;
        lab.target
            .execute("CREATE VIEW v AS SELECT id, name FROM t")
            .await;
        lab.at_source("ALTER TABLE t DROP COLUMN name").await;
        let columns = lab.columns().await;

        let diff = lab.diff().await.expect_code(5);
        let refused = lab.approve(&[]).await.expect_code(5);

        for said in [diff.stdout, Lab::said(&refused)] {
            assert!(
                said.contains("depends on it") || said.contains("view v"),
                "{said}"
            );
        }
        assert_eq!(lab.columns().await, columns, "{pair:?}");
        assert_eq!(lab.number("SELECT count(name) FROM v").await, 100);
        lab.target.execute("DROP VIEW v").await;
        lab.approve(&[]).await.expect_success();
        assert!(!lab.has_column("t", "name").await, "{pair:?}");
    }
}

#[tokio::test]
async fn column_that_somebody_altered_by_hand_stops_its_table() {
    for pair in PAIRS {
        let lab = Lab::loaded(pair, ASKED).await;
        let by_hand = lab.target.own(
            "ALTER TABLE t ALTER COLUMN rev TYPE double precision",
            "ALTER TABLE t RENAME COLUMN name TO called",
            "ALTER TABLE t MODIFY COLUMN rev double NOT NULL",
        );
        lab.target.execute(by_hand).await;
        lab.at_source(NOTE).await;
        let columns = lab.columns().await;

        let diff = lab.diff().await.expect_code(5);
        let refused = lab.approve(&[]).await.expect_code(5);

        for said in [diff.stdout, Lab::said(&refused)] {
            let column = lab.target.own("`rev`", "`called`", "`rev`");
            assert!(said.contains(column), "{pair:?}: {said}");
            assert!(said.contains("hint"), "{said}");
        }
        assert_eq!(lab.columns().await, columns, "{pair:?}");
    }
}

#[tokio::test]
async fn user_who_may_not_alter_is_told_the_grant() {
    for engine in [Engine::Postgres, Engine::Mysql] {
        let lab = Lab::loaded((Engine::Postgres, engine), ASKED).await;
        let (url, grant) = match &lab.target {
            Target::Postgres(database) => {
                let grants = [
                    "ALL ON ALL TABLES IN SCHEMA public",
                    "ALL ON SCHEMA _syncset",
                    "ALL ON ALL TABLES IN SCHEMA _syncset",
                    "ALL ON ALL SEQUENCES IN SCHEMA _syncset",
                ];
                (database.role("writer", &grants).await.url, "GRANT ")
            }
            Target::Mysql(database) => {
                let rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, CREATE TEMPORARY TABLES";
                let grants = [format!("{rights} ON {{database}}.*")];
                let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
                (database.user("w", &grants).await.url(), "GRANT ALTER ON ")
            }
            Target::Sqlite(..) => unreachable!("it has no rights"),
        };
        lab.reach_target_by(&url);
        lab.at_source(NOTE).await;
        lab.plan().await;

        let refused = lab.approve(&["--plan", "plan.json"]).await.expect_code(5);

        let said = Lab::said(&refused);
        assert!(said.contains("was left as it is"), "{said}");
        assert!(said.contains(grant), "{said}");
        assert!(!lab.has_column("t", "note").await);
        lab.reach_target_by(&lab.target.url());
        lab.approve(&["--plan", "plan.json"]).await.expect_success();
        lab.assert_same(NOTES, 100).await;
    }
}

async fn lock_that_is_not_had(pair: (Engine, Engine)) {
    let lab = Lab::loaded(pair, ASKED).await;
    lab.at_source(NOTE).await;
    lab.plan().await;
    let mut session = lab.target.session().await;
    session.begin().await;
    session.execute("SELECT count(*) FROM t").await;

    let refused = lab.approve(&["--plan", "plan.json"]).await.expect_code(9);
    session.execute("ROLLBACK").await;

    let said = Lab::said(&refused);
    assert!(said.contains("locked"), "{said}");
    assert!(said.contains("run again"), "{said}");
    assert!(!lab.has_column("t", "note").await, "{pair:?}");
    lab.approve(&["--plan", "plan.json"]).await.expect_success();
    lab.assert_same(NOTES, 100).await;
}

#[tokio::test]
async fn lock_that_others_hold_is_told_and_had_later() {
    // Both wait as long as they may, so they wait together.
    tokio::join!(
        lock_that_is_not_had((Engine::Postgres, Engine::Postgres)),
        lock_that_is_not_had((Engine::Postgres, Engine::Mysql)),
    );
}

#[tokio::test]
async fn five_replicas_follow_one_change_with_one_command_each() {
    let source = Engine::Postgres.database("five").await;
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, name text); \
             INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 100) i",
        )
        .await;
    let project = Project::between(&source.url(), "sqlite:unused.db");
    let engines = Engine::ALL.iter().chain([&Engine::Postgres]);
    let mut targets = Vec::new();
    for (number, engine) in engines.enumerate() {
        let target = engine.database("replica").await;
        let text = format!(
            "version: 1\nsource: source\ntarget: \"{}\"\ncapture: full\ntables: {{ t: }}\n",
            target.url()
        );
        project.pipeline(&format!("p{number}"), &text);
        targets.push((format!("p{number}"), target));
    }
    project
        .syncset(["pipeline", "run", "--all"])
        .await
        .expect_success();

    source
        .execute("ALTER TABLE t ADD COLUMN note varchar(20) DEFAULT 'new'")
        .await;
    for (name, _) in &targets {
        project
            .syncset(["pipeline", "run", name])
            .await
            .expect_success();
    }

    assert_eq!(targets.len(), 5);
    let sql = "SELECT id, name, note FROM t ORDER BY id";
    let rows = source.rows(sql).await;
    for (name, target) in &targets {
        assert_eq!(target.rows(sql).await, rows, "{name}");
    }
}

#[tokio::test]
async fn commands_in_hints_can_be_given_to_a_shell() {
    let lab = Lab::loaded((Engine::Sqlite, Engine::Sqlite), "").await;
    let name = "Ord`er's Täble";
    lab.at_source(&format!(
        "CREATE TABLE \"{name}\" (id int PRIMARY KEY, rev bigint NOT NULL)"
    ))
    .await;
    let pipeline = format!(
        "version: 1\nsource: source\ntarget: target\ntables:\n  \"{name}\": {{ capture: full, {ASKED} }}\n"
    );
    lab.project.pipeline("q", &pipeline);
    let run = ["pipeline", "run", "q"];
    lab.project.syncset(run).await.expect_success();
    lab.at_source(&format!(
        "ALTER TABLE \"{name}\" ADD COLUMN note varchar(20)"
    ))
    .await;

    let asks = lab.project.syncset(run).await.expect_code(5);

    let quoted = r"syncset schema approve q --tables 'Ord`er'\''s Täble'`; or";
    assert!(asks.stderr.contains(quoted), "{}", asks.stderr);
    let approve = ["schema", "approve", "q", "--tables", name];
    lab.project.syncset(approve).await.expect_success();
}
