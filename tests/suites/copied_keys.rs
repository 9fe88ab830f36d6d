//! Unique keys of the source at target tables that syncset creates.

use crate::targets::Target;
use kit::{Engine, Output, Project};

const RUN: [&str; 7] = [
    "pipeline",
    "run",
    "p",
    "--on-lock",
    "wait=30s",
    "--output",
    "json",
];

/// People with a unique name each; a short one that every store can index.
const PEOPLE: &str = "CREATE TABLE people (id int PRIMARY KEY, email varchar(60) NOT NULL, \
    name varchar(20), CONSTRAINT people_email_key UNIQUE (email)); \
    INSERT INTO people VALUES (1, 'a', 'one'), (2, 'b', 'two'), (3, 'c', 'three')";

const SWAP: &str = "UPDATE people SET email = 'between' WHERE id = 1; \
    UPDATE people SET email = 'a' WHERE id = 2; UPDATE people SET email = 'b' WHERE id = 1";

struct Lab {
    source: Target,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new((source, target): (Engine, Engine), create: &str) -> Self {
        let (source, target) = (source.database("keys").await, target.database("keys").await);
        let project = Project::between(&source.url(), &target.url());
        source.execute(create).await;
        Self {
            source,
            target,
            project,
        }
    }

    async fn postgres(create: &str) -> Self {
        Self::new((Engine::Postgres, Engine::Postgres), create).await
    }

    /// Writes the pipeline of the only table, with these settings.
    fn edit(&self, settings: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  people: {{ {settings} }}\n"
        );
        self.project.pipeline("p", &text);
    }

    async fn run(&self) -> Output {
        self.project.syncset(RUN).await
    }

    /// A run that ends well; what it says.
    async fn runs(&self) -> serde_json::Value {
        self.run().await.expect_success().json()
    }

    async fn killed_at(&self, point: &str) {
        let action = format!("{point}=exit9");
        let run = self
            .project
            .spawn_with(RUN, &[("SYNCSET_FAIL_POINT", action.as_str())]);
        run.wait().await.expect_code(137);
    }

    /// The plan of the only table.
    async fn plan(&self) -> serde_json::Value {
        let words = ["pipeline", "plan", "p", "--output", "json"];
        let plan = self.project.syncset(words).await.expect_success().json();
        plan["tables"][0].clone()
    }

    async fn assert_same(&self) {
        let query = "SELECT id, email, name FROM people ORDER BY id";
        let (source, target) = (self.source.rows(query).await, self.target.rows(query).await);
        assert_eq!(target, source);
    }

    /// The indexes of the target's table besides its primary key: name, what it is, columns.
    async fn indexes(&self) -> Vec<String> {
        let query = match &self.target {
            Target::Postgres(_) => {
                "SELECT c.relname || CASE WHEN k.condeferred THEN ' deferred' \
                 WHEN i.indisunique THEN ' unique' ELSE ' plain' END || ' (' || \
                 (SELECT string_agg(a.attname, ', ' ORDER BY n.place) FROM \
                 unnest(i.indkey::int2[]) WITH ORDINALITY n (number, place) JOIN pg_attribute a \
                 ON a.attrelid = i.indrelid AND a.attnum = n.number) || ')' \
                 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                 LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid \
                 WHERE i.indrelid = 'people'::regclass AND NOT i.indisprimary ORDER BY 1"
            }
            Target::Mysql(_) => {
                "SELECT CONCAT(INDEX_NAME, IF(MAX(NON_UNIQUE), ' plain (', ' unique ('), \
                 GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX SEPARATOR ', '), ')') \
                 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
                 AND TABLE_NAME = 'people' AND INDEX_NAME <> 'PRIMARY' \
                 GROUP BY INDEX_NAME ORDER BY 1"
            }
            Target::Sqlite(..) => {
                "SELECT l.name || CASE l.\"unique\" WHEN 1 THEN ' unique (' ELSE ' plain (' END || \
                 (SELECT group_concat(i.name, ', ') FROM pragma_index_info(l.name) i) || ')' \
                 FROM pragma_index_list('people') l WHERE l.origin = 'c' ORDER BY 1"
            }
        };
        let rows = self.target.rows(query).await;
        rows.into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect()
    }

    async fn rejected(&self) -> usize {
        let table = self.target.engine().state_table("rejected");
        let rows = self.target.rows(&format!("SELECT 1 FROM {table}")).await;
        rows.len()
    }
}

/// What each key of the planned table becomes: columns, then what, then why.
fn told(plan: &serde_json::Value) -> Vec<String> {
    let keys = plan["indexes"].as_array().cloned().unwrap_or_default();
    let told = keys.iter().map(|key| {
        let columns: Vec<_> = key["columns"].as_array().expect("columns").iter().collect();
        let columns: Vec<_> = columns.iter().filter_map(|it| it.as_str()).collect();
        format!(
            "({}) {}: {}",
            columns.join(", "),
            key["becomes"].as_str().unwrap_or("?"),
            key["why"].as_str().unwrap_or("?")
        )
    });
    told.collect()
}

/// What a report warns of; an empty text if of nothing.
fn warnings(report: &serde_json::Value) -> String {
    match &report["tables"][0]["warnings"] {
        serde_json::Value::Null => String::new(),
        warnings => warnings.to_string(),
    }
}

/// What a unique text of sixty characters is at the target of a pair.
fn expected((source, target): (Engine, Engine)) -> &'static str {
    match (source, target) {
        (_, Engine::Postgres) => "deferred_key",
        // A text of SQLite may be of any length.
        (Engine::Sqlite, Engine::Mysql | Engine::Mariadb) => "nothing",
        _ => "index",
    }
}

#[tokio::test]
async fn unique_key_is_what_each_target_can_hold_and_swaps_pass() {
    for source in [Engine::Postgres, Engine::Mysql, Engine::Sqlite] {
        for target in Engine::ALL {
            let pair = (source, *target);
            let lab = Lab::new(pair, PEOPLE).await;
            lab.edit("capture: full");

            let plan = lab.plan().await;
            lab.runs().await;
            let indexes = lab.indexes().await;
            lab.source.execute(SWAP).await;
            lab.runs().await;

            lab.assert_same().await;
            let key = &plan["indexes"][0];
            assert_eq!(key["becomes"], expected(pair), "{pair:?}: {key}");
            let found: Vec<_> = indexes
                .iter()
                .filter_map(|it| it.split(' ').nth(1))
                .collect();
            let is_there: &[&str] = match expected(pair) {
                "deferred_key" => &["deferred"],
                "index" => &["plain"],
                _ => &[],
            };
            assert_eq!(found, is_there, "{pair:?}: {indexes:?}");
        }
    }
}

#[tokio::test]
async fn values_move_on_from_rows_that_are_gone() {
    for settings in ["capture: full", "capture: full, write: { mode: replace }"] {
        let lab = Lab::postgres(PEOPLE).await;
        lab.edit(settings);
        lab.runs().await;
        lab.source
            .execute(
                "DELETE FROM people WHERE id = 1; INSERT INTO people VALUES (4, 'a', 'four'); \
                 UPDATE people SET email = 'x' WHERE id = 3; UPDATE people SET email = 'c' WHERE id = 2",
            )
            .await;

        lab.runs().await;

        lab.assert_same().await;
        assert_eq!(lab.indexes().await, ["people_email_key deferred (email)"]);
    }
}

#[tokio::test]
async fn plan_says_what_a_key_becomes_and_why() {
    let lab = Lab::postgres(
        "CREATE TABLE people (id int PRIMARY KEY, email text NOT NULL, name text, tenant int, \
           rev bigint NOT NULL DEFAULT 1, UNIQUE (email)); \
         CREATE UNIQUE INDEX people_some ON people (name) WHERE tenant > 1; \
         CREATE UNIQUE INDEX nothing_twice ON people (tenant, name) NULLS NOT DISTINCT",
    )
    .await;
    let cursor = "capture: { mode: cursor, column: rev, overlap: 10 }";
    let mut said = String::new();
    for settings in [
        "capture: full",
        "capture: xmin",
        "capture: full, write: { on_delete: soft }",
        "capture: full, mask: { email: redact }",
        "capture: full, columns: { exclude: [tenant] }",
        "capture: full, key: [email]",
        &format!("{cursor}, write: {{ mode: append }}"),
        "capture: full, rename: { email: mail }",
    ] {
        lab.edit(settings);
        let told = told(&lab.plan().await).join("\n  ");
        said.push_str(&format!("{settings}\n  {told}\n"));
    }
    insta::assert_snapshot!(said, @r"
    capture: full
      (tenant, name) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (email) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (name) nothing: it holds for some of the source's rows only
    capture: xmin
      (tenant, name) index: this capture does not see deletes, so that a row that is gone could keep a value that another one has got
      (email) index: this capture does not see deletes, so that a row that is gone could keep a value that another one has got
      (name) nothing: it holds for some of the source's rows only
    capture: full, write: { on_delete: soft }
      (tenant, name) index: rows that are gone stay, with values that others may have got
      (email) index: rows that are gone stay, with values that others may have got
      (name) nothing: it holds for some of the source's rows only
    capture: full, mask: { email: redact }
      (tenant, name) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (email) nothing: `email` is masked
      (name) nothing: it holds for some of the source's rows only
    capture: full, columns: { exclude: [tenant] }
      (tenant, name) nothing: `tenant` is not copied
      (email) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (name) nothing: it holds for some of the source's rows only
    capture: full, key: [email]
      (id) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (tenant, name) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (name) nothing: it holds for some of the source's rows only
    capture: { mode: cursor, column: rev, overlap: 10 }, write: { mode: append }
      (tenant, name) index: several versions of a row are added
      (email) index: several versions of a row are added
      (name) nothing: it holds for some of the source's rows only
    capture: full, rename: { email: mail }
      (tenant, name) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (email) deferred_key: every run sees which rows are gone, so the source's rows always pass
      (name) nothing: it holds for some of the source's rows only
    ");
    let plan = lab.plan().await;
    let statements = plan["target_statements"].as_array().expect("a list").iter();
    let statements = statements.filter_map(|it| it.as_str());
    let of_indexes: Vec<_> = statements.filter(|it| it.contains("INDEX")).collect();
    insta::assert_snapshot!(of_indexes.join("\n"), @r#"
    CREATE UNIQUE INDEX "nothing_twice" ON "public"."people" ("tenant", "name") NULLS NOT DISTINCT
    ALTER TABLE "public"."people" ADD CONSTRAINT "nothing_twice" UNIQUE USING INDEX "nothing_twice" DEFERRABLE INITIALLY DEFERRED
    CREATE UNIQUE INDEX "people_email_key" ON "public"."people" ("mail")
    ALTER TABLE "public"."people" ADD CONSTRAINT "people_email_key" UNIQUE USING INDEX "people_email_key" DEFERRABLE INITIALLY DEFERRED
    "#);
    lab.runs().await;
    assert_eq!(
        lab.indexes().await,
        [
            "nothing_twice deferred (tenant, name)",
            "people_email_key deferred (mail)"
        ]
    );
}

#[tokio::test]
async fn row_that_a_key_of_ours_refuses_is_rejected_like_others() {
    let lab = Lab::postgres(PEOPLE).await;
    lab.edit("capture: full");
    lab.runs().await;
    lab.target
        .execute("ALTER TABLE people ADD CHECK (name <> 'bad')")
        .await;
    lab.source
        .execute(
            "UPDATE people SET name = 'bad', email = 'new' WHERE id = 1; \
             UPDATE people SET email = 'a' WHERE id = 2; UPDATE people SET name = 'III' WHERE id = 3",
        )
        .await;

    let strict = lab.run().await.expect_code(1);
    let before = lab.target.rows("SELECT name FROM people ORDER BY id").await;
    lab.edit("capture: full, rejects: { max_rows: 5 }");
    let lenient = lab.runs().await;
    let after = lab
        .target
        .rows("SELECT email, name FROM people ORDER BY id")
        .await;

    assert!(strict.stdout.contains("refused"), "{}", strict.stdout);
    assert_eq!(before[2], [Some("three".to_owned())]);
    assert_eq!(lenient["tables"][0]["rows_rejected"], 2, "{lenient}");
    assert_eq!(after[1], [Some("b".to_owned()), Some("two".to_owned())]);
    assert_eq!(after[2], [Some("c".to_owned()), Some("III".to_owned())]);
    assert_eq!(lab.rejected().await, 2);
    lab.source
        .execute("UPDATE people SET name = 'good' WHERE id = 1")
        .await;
    lab.runs().await;
    lab.assert_same().await;
    assert_eq!(lab.rejected().await, 0);
}

#[tokio::test]
async fn index_is_built_once_whenever_a_run_is_killed() {
    for target in [Engine::Postgres, Engine::Mysql, Engine::Sqlite] {
        for point in ["indexes.begun", "indexes.step", "indexes.step:2"] {
            let is_one_step = target != Engine::Mysql;
            if is_one_step && point == "indexes.step:2" {
                continue;
            }
            let lab = Lab::new((Engine::Postgres, target), PEOPLE).await;
            lab.edit("capture: full");

            lab.killed_at(point).await;
            let between = lab.indexes().await.len();
            lab.runs().await;
            let indexes = lab.indexes().await;
            let idle = lab.runs().await;

            let is_there = is_one_step && point != "indexes.begun" || point == "indexes.step:2";
            assert_eq!(between, usize::from(is_there), "{target:?} {point}");
            assert_eq!(indexes.len(), 1, "{target:?} {point}: {indexes:?}");
            assert_eq!(lab.indexes().await, indexes);
            assert_eq!(warnings(&idle), "");
            lab.assert_same().await;
        }
    }
}

#[tokio::test]
async fn key_that_cannot_be_built_is_told_and_rows_go_on() {
    let lab = Lab::postgres(PEOPLE).await;
    lab.edit("capture: full");
    lab.killed_at("load.begun").await;
    lab.target
        .execute(
            "CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.email := 'same'; RETURN NEW; END $$; \
             CREATE TRIGGER same BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION same()",
        )
        .await;

    let first = lab.runs().await;
    let none = lab.indexes().await;
    lab.target.execute("DROP TRIGGER same ON people").await;
    let second = lab.runs().await;

    let said = warnings(&first);
    assert!(
        said.contains("unique key `people_email_key` (email) could not be made at the target"),
        "{said}"
    );
    assert!(said.contains("are equal in (email)"), "{said}");
    assert_eq!(none, [""; 0]);
    assert_eq!(warnings(&second), "");
    assert_eq!(lab.indexes().await, ["people_email_key deferred (email)"]);
    lab.assert_same().await;
}

#[tokio::test]
async fn keys_that_the_source_drops_go_before_its_rows_come() {
    for target in Engine::ALL {
        let lab = Lab::new((Engine::Postgres, *target), PEOPLE).await;
        lab.edit("capture: full");
        lab.runs().await;

        lab.source
            .execute(
                "ALTER TABLE people DROP CONSTRAINT people_email_key; \
                 INSERT INTO people VALUES (4, 'a', 'four')",
            )
            .await;
        lab.runs().await;
        let none = lab.indexes().await;
        lab.source
            .execute("DELETE FROM people WHERE id = 4; ALTER TABLE people ADD UNIQUE (email, id)")
            .await;
        lab.runs().await;

        lab.assert_same().await;
        assert_eq!(none, [""; 0], "{target:?}");
        let indexes = lab.indexes().await;
        assert_eq!(indexes.len(), 1, "{target:?}: {indexes:?}");
        assert!(indexes[0].ends_with("(email, id)"), "{indexes:?}");
    }
}

#[tokio::test]
async fn indexes_of_ours_do_not_keep_columns_from_changing() {
    for target in Engine::ALL {
        let lab = Lab::new((Engine::Postgres, *target), PEOPLE).await;
        let schema = "capture: full, schema: { dropped_column: drop }";
        lab.edit(schema);
        lab.runs().await;

        lab.source
            .execute("ALTER TABLE people ALTER email TYPE text")
            .await;
        lab.project
            .syncset(RUN.iter().chain(&["--approve", "public.people"]))
            .await
            .expect_success();
        lab.assert_same().await;
        lab.source
            .execute("ALTER TABLE people RENAME email TO mail")
            .await;
        lab.runs().await;
        let renamed = lab.indexes().await;
        lab.source.execute("ALTER TABLE people DROP mail").await;
        lab.runs().await;

        let is_text_indexed = !matches!(target, Engine::Mysql | Engine::Mariadb);
        assert_eq!(renamed.len(), usize::from(is_text_indexed), "{target:?}");
        assert!(
            renamed.iter().all(|it| it.ends_with("(mail)")),
            "{renamed:?}"
        );
        assert_eq!(lab.indexes().await, [""; 0], "{target:?}");
    }
}

#[tokio::test]
async fn other_indexes_come_as_the_file_asks() {
    for pair in [
        (Engine::Postgres, Engine::Mysql),
        (Engine::Mysql, Engine::Sqlite),
        (Engine::Sqlite, Engine::Postgres),
    ] {
        let lab = Lab::new(pair, PEOPLE).await;
        lab.source
            .execute("CREATE INDEX people_id_name ON people (id, name); CREATE INDEX people_by ON people (email, id)")
            .await;
        let some = "capture: full, columns: [id, email]";
        lab.edit(&format!("{some}, copy: {{ indexes: true }}"));
        let plan = lab.plan().await;
        lab.runs().await;
        let with = lab.indexes().await;
        let drop = match pair.0 {
            Engine::Mysql => "DROP INDEX people_by ON people",
            _ => "DROP INDEX people_by",
        };
        lab.source.execute(drop).await;
        lab.runs().await;
        let dropped = lab.indexes().await;
        lab.source
            .execute("CREATE INDEX people_by ON people (email, id)")
            .await;
        lab.runs().await;
        let again = lab.indexes().await;
        lab.edit(some);
        lab.runs().await;
        let without = lab.indexes().await;

        let said = told(&plan);
        assert!(
            said.contains(&"(id, name) nothing: `name` is not copied".to_owned()),
            "{pair:?}: {said:?}"
        );
        let of_id = |indexes: &[String]| {
            indexes
                .iter()
                .filter(|it| it.ends_with(" plain (email, id)"))
                .count()
        };
        assert_eq!(of_id(&with), 1, "{pair:?}: {with:?}");
        assert_eq!(of_id(&dropped), 0, "{pair:?}: {dropped:?}");
        assert_eq!(of_id(&again), 1, "{pair:?}: {again:?}");
        assert_eq!(without, dropped, "{pair:?}");
    }
}

#[tokio::test]
async fn tables_and_names_of_others_are_left_alone() {
    let lab = Lab::postgres(PEOPLE).await;
    lab.target
        .execute("CREATE TABLE people_email_key (id int)")
        .await;
    lab.edit("capture: full");
    lab.runs().await;
    let other_name = lab.indexes().await;

    let foreign = Lab::postgres(PEOPLE).await;
    foreign
        .target
        .execute("CREATE TABLE people (id int PRIMARY KEY, email varchar(60), name varchar(20))")
        .await;
    foreign.edit("capture: full");
    let plan = foreign.plan().await;
    foreign.runs().await;

    assert_eq!(other_name.len(), 1, "{other_name:?}");
    assert!(other_name[0].starts_with("people_email_"), "{other_name:?}");
    assert!(
        other_name[0].ends_with("_key deferred (email)"),
        "{other_name:?}"
    );
    assert_eq!(told(&plan), [""; 0]);
    assert_eq!(foreign.indexes().await, [""; 0]);
}
