//! Rows that a unique or foreign key of the target refuses wait for the other tables of the run,
//! and count against `rejects.max_rows` only when nothing is left that could help.

use crate::targets::Target;
use kit::{Database, Output, Project};

const CURSOR: &str = "{ mode: cursor, column: updated_at, written_by: database }";

/// A source and a target whose tables have other keys.
struct Lab {
    source: Database,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new(target: Target, source_tables: &str, target_tables: &str) -> Self {
        let source = kit::postgres().await.database("refused_source").await;
        source.execute(source_tables).await;
        if !target_tables.is_empty() {
            target.place().execute(target_tables).await;
        }
        Self {
            project: Project::between(&source.url(), &target.place().url()),
            source,
            target,
        }
    }

    /// Writes the pipeline: tables with their capture.
    fn tables(&self, max_rows: u32, tables: &[(&str, &str)]) {
        let tables: String = tables
            .iter()
            .map(|(name, capture)| {
                format!("  public.{name}: {{ to: {name}, capture: {capture} }}\n")
            })
            .collect();
        let text = format!(
            "version: 1\nsource: source\ntarget: target\nrejects: {{ max_rows: {max_rows} }}\ntables:\n{tables}"
        );
        self.project.pipeline("p", &text);
    }

    async fn run(&self) -> Output {
        self.run_with(&[]).await
    }

    async fn run_with(&self, flags: &[&str]) -> Output {
        let arguments = ["pipeline", "run", "p", "--output", "json"];
        self.project.syncset(arguments.iter().chain(flags)).await
    }

    /// The target's table holds exactly the source's rows.
    async fn assert_same(&self, table: &str, columns: &str) {
        let query = format!("SELECT {columns} FROM {table}");
        kit::compare(&self.source, self.target.place(), &query, &query)
            .await
            .assert_equal();
    }

    async fn value(&self, query: &str) -> String {
        let rows = self.target.place().rows(query).await;
        rows[0][0].clone().unwrap_or_else(|| "NULL".into())
    }

    async fn rejected(&self) -> String {
        let query = format!(
            "SELECT count(*) FROM {}",
            self.target.state_table("rejected")
        );
        self.value(&query).await
    }

    /// What is stored of the watermarks, apart from the time of day.
    async fn watermarks(&self) -> String {
        let text = match self.target {
            Target::Mysql(_) => "GROUP_CONCAT(position ORDER BY stream)",
            _ => "string_agg(CAST(position AS text), ',' ORDER BY stream)",
        };
        let table = self.target.state_table("watermark");
        self.value(&format!("SELECT {text} FROM {table}")).await
    }
}

/// The report of one table.
fn table(output: &Output, name: &str) -> serde_json::Value {
    let report = output.json();
    let tables = report["tables"].as_array().cloned().unwrap_or_default();
    let of_name = |table: &serde_json::Value| table["table"] == format!("public.{name}");
    let mut named = tables.into_iter().filter(of_name);
    named.next().expect("the table is reported")
}

/// Two tables whose rows refer to each other in turn: no order of the tables takes them all.
async fn tables_that_refer_to_each_other(target: Target, capture: &str) {
    let lab = Lab::new(
        target,
        "CREATE TABLE a (id int PRIMARY KEY, b_id int); CREATE TABLE b (id int PRIMARY KEY, a_id int); \
         INSERT INTO a VALUES (1, NULL), (2, 1), (3, 2); INSERT INTO b VALUES (1, 1), (2, 2), (3, 3)",
        "",
    )
    .await;
    match &lab.target {
        Target::Postgres(database) => {
            database
                .execute(
                    "CREATE TABLE a (id int PRIMARY KEY, b_id int); \
                     CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a); \
                     ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b",
                )
                .await;
        }
        Target::Mysql(database) => {
            database
                .execute(
                    "CREATE TABLE a (id int PRIMARY KEY, b_id int); \
                     CREATE TABLE b (id int PRIMARY KEY, a_id int, \
                       FOREIGN KEY (a_id) REFERENCES a (id)); \
                     ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b (id)",
                )
                .await;
        }
        Target::Sqlite(file, _) => {
            file.execute(
                "CREATE TABLE a (id INTEGER NOT NULL PRIMARY KEY, b_id INTEGER REFERENCES b (id)); \
                 CREATE TABLE b (id INTEGER NOT NULL PRIMARY KEY, a_id INTEGER REFERENCES a (id))",
            )
            .await;
        }
    }
    lab.tables(0, &[("a", capture), ("b", capture)]);

    lab.run().await.expect_success();
    lab.assert_same("a", "id, b_id").await;
    lab.assert_same("b", "id, a_id").await;
    lab.source
        .execute(
            "INSERT INTO a VALUES (4, NULL), (5, 4), (6, 5); INSERT INTO b VALUES (4, 4), (5, 5)",
        )
        .await;
    lab.run().await.expect_success();
    lab.assert_same("a", "id, b_id").await;
    lab.assert_same("b", "id, a_id").await;

    assert_eq!(lab.rejected().await, "0");
}

#[tokio::test]
async fn tables_that_refer_to_each_other_reach_postgres_by_windows() {
    tables_that_refer_to_each_other(Target::postgres().await, "xmin").await;
}

#[tokio::test]
async fn tables_that_refer_to_each_other_reach_postgres_whole() {
    tables_that_refer_to_each_other(Target::postgres().await, "full").await;
}

#[tokio::test]
async fn tables_that_refer_to_each_other_reach_sqlite_by_windows() {
    tables_that_refer_to_each_other(Target::sqlite(), "xmin").await;
}

#[tokio::test]
async fn tables_that_refer_to_each_other_reach_sqlite_whole() {
    tables_that_refer_to_each_other(Target::sqlite(), "full").await;
}

#[tokio::test]
async fn tables_that_refer_to_each_other_are_compared() {
    for target in [Target::postgres().await, Target::sqlite()] {
        tables_that_refer_to_each_other(target, "hash").await;
    }
}

#[tokio::test]
async fn tables_that_refer_to_each_other_reach_mysql_and_mariadb() {
    for server in [kit::mysql(), kit::mariadb()] {
        for capture in ["xmin", "full"] {
            tables_that_refer_to_each_other(Target::mysql(server).await, capture).await;
        }
    }
}

/// Rows that need each other: no order of rows takes them either.
async fn rows_that_need_each_other(target: Target, create: &str, capture: &str) {
    let lab = Lab::new(
        target,
        "CREATE TABLE department (id int PRIMARY KEY, manager int); \
         CREATE TABLE employee (id int PRIMARY KEY, department int NOT NULL); \
         INSERT INTO employee VALUES (1, 1); INSERT INTO department VALUES (1, 1)",
        create,
    )
    .await;
    lab.tables(0, &[("department", capture), ("employee", capture)]);

    lab.run().await.expect_success();
    lab.source
        .execute("INSERT INTO employee VALUES (2, 2); INSERT INTO department VALUES (2, 2)")
        .await;
    lab.run().await.expect_success();

    lab.assert_same("department", "id, manager").await;
    lab.assert_same("employee", "id, department").await;
}

const DEFERRABLE: &str = "CREATE TABLE department (id int PRIMARY KEY, manager int); \
     CREATE TABLE employee (id int PRIMARY KEY, department int NOT NULL REFERENCES department DEFERRABLE); \
     ALTER TABLE department ADD FOREIGN KEY (manager) REFERENCES employee DEFERRABLE";

#[tokio::test]
async fn rows_that_need_each_other_pass_deferrable_keys_by_windows() {
    rows_that_need_each_other(Target::postgres().await, DEFERRABLE, "xmin").await;
}

#[tokio::test]
async fn rows_that_need_each_other_pass_deferrable_keys_whole() {
    rows_that_need_each_other(Target::postgres().await, DEFERRABLE, "full").await;
}

#[tokio::test]
async fn rows_that_need_each_other_reach_sqlite() {
    let create = "CREATE TABLE department (id INTEGER NOT NULL PRIMARY KEY, \
         manager INTEGER REFERENCES employee (id)); \
         CREATE TABLE employee (id INTEGER NOT NULL PRIMARY KEY, \
         department INTEGER NOT NULL REFERENCES department (id))";
    rows_that_need_each_other(Target::sqlite(), create, "xmin").await;
}

#[tokio::test]
async fn child_that_is_loaded_waits_for_a_parent_that_is_copied_whole() {
    let lab = Lab::new(
        Target::postgres().await,
        "CREATE TABLE child (id int PRIMARY KEY, parent_id int); CREATE TABLE parent (id int PRIMARY KEY); \
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1)",
        "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)",
    )
    .await;
    lab.tables(0, &[("child", "xmin"), ("parent", "full")]);

    lab.run().await.expect_success();

    lab.assert_same("child", "id, parent_id").await;
}

/// Rows of a tree large enough for several chunks and units; some in both halves refer to the
/// other half.
const TREE: &str = "CREATE TABLE tree (id int PRIMARY KEY, parent_id int, label text NOT NULL, \
     updated_at timestamptz NOT NULL DEFAULT now()); \
     ALTER TABLE tree ALTER label SET STORAGE PLAIN";

const TREE_ROWS: &str = "INSERT INTO tree SELECT i, CASE WHEN i % 100 = 0 THEN 12001 - i END, \
     repeat('x', 900) FROM generate_series(1, 12000) i";

const TREE_TARGET: &str = "CREATE TABLE tree (id int PRIMARY KEY, parent_id int REFERENCES tree, \
     label text NOT NULL, updated_at timestamptz NOT NULL)";

#[tokio::test]
async fn chunks_of_one_table_that_refer_to_each_other_are_loaded() {
    let lab = Lab::new(Target::postgres().await, TREE, TREE_TARGET).await;
    lab.source.execute(TREE_ROWS).await;
    lab.tables(0, &[("tree", CURSOR)]);

    let stopped = [("SYNCSET_FAIL_POINT", "load.begun=exit9")];
    let begun = lab.project.spawn_with(["pipeline", "run", "p"], &stopped);
    begun.wait().await;
    let chunks = lab.value("SELECT count(*) > 1 FROM _syncset.chunk").await;
    let output = lab.run_with(&["--on-lock", "wait=170s"]).await;

    assert_eq!(chunks, "t", "one chunk proves nothing");
    output.expect_success();
    lab.assert_same("tree", "id, parent_id").await;
}

#[tokio::test]
async fn units_of_one_window_that_refer_to_each_other_are_applied() {
    let lab = Lab::new(Target::postgres().await, TREE, TREE_TARGET).await;
    lab.tables(0, &[("tree", CURSOR)]);
    lab.run().await.expect_success();
    lab.source.execute(TREE_ROWS).await;

    lab.run_with(&["--memory", "4MiB"]).await.expect_success();

    lab.assert_same("tree", "id, parent_id").await;
}

const PEOPLE: &str = "CREATE TABLE people (id int PRIMARY KEY, email text NOT NULL); \
     INSERT INTO people VALUES (1, 'a'), (2, 'b'); \
     CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)";

fn people(target: &Target) -> &'static str {
    match target {
        Target::Postgres(_) => {
            "CREATE TABLE people (id int PRIMARY KEY, email text NOT NULL UNIQUE)"
        }
        Target::Mysql(_) => {
            "CREATE TABLE people (id int PRIMARY KEY, email varchar(200) NOT NULL UNIQUE)"
        }
        Target::Sqlite(..) => {
            "CREATE TABLE people (id INTEGER NOT NULL PRIMARY KEY, email TEXT NOT NULL UNIQUE)"
        }
    }
}

async fn people_lab(target: Target) -> Lab {
    let target_tables = people(&target);
    let lab = Lab::new(target, PEOPLE, target_tables).await;
    lab.tables(0, &[("people", "xmin"), ("other", "xmin")]);
    lab.run().await.expect_success();
    lab
}

/// A row that a unique key refuses for good, among rows that are fine.
async fn row_that_stays_refused(target: Target) {
    let lab = people_lab(target).await;
    let (before, position) = (
        lab.value("SELECT count(*) FROM people").await,
        lab.watermarks().await,
    );
    lab.source
        .execute("INSERT INTO people VALUES (3, 'a'), (4, 'd')")
        .await;

    let strict = lab.run().await.expect_code(3);
    let failure = table(&strict, "people")["failure"].to_string();
    assert!(failure.contains("key [\\\"3\\\"]"), "{failure}");
    assert_eq!(lab.value("SELECT count(*) FROM people").await, before);
    assert_eq!(lab.watermarks().await, position);
    assert_eq!(lab.rejected().await, "0");

    lab.tables(1, &[("people", "xmin"), ("other", "xmin")]);
    let lenient = lab.run().await.expect_success();
    assert_eq!(table(&lenient, "people")["rows_rejected"], 1);
    assert_eq!(lab.value("SELECT count(*) FROM people").await, "3");
    assert_eq!(lab.rejected().await, "1");

    lab.source
        .execute("UPDATE people SET email = 'c' WHERE id = 1")
        .await;
    lab.run().await.expect_success();
    lab.assert_same("people", "id, email").await;
    assert_eq!(lab.rejected().await, "0");
}

#[tokio::test]
async fn row_that_stays_refused_by_postgres_fails_its_table_or_is_rejected() {
    row_that_stays_refused(Target::postgres().await).await;
}

#[tokio::test]
async fn row_that_stays_refused_by_sqlite_fails_its_table_or_is_rejected() {
    row_that_stays_refused(Target::sqlite()).await;
}

#[tokio::test]
async fn row_that_stays_refused_by_mysql_or_mariadb_fails_its_table_or_is_rejected() {
    for server in [kit::mysql(), kit::mariadb()] {
        row_that_stays_refused(Target::mysql(server).await).await;
    }
}

/// Each row takes the value that the next one gives up.
async fn values_handed_on(target: Target) {
    let lab = people_lab(target).await;
    lab.source
        .execute(
            "UPDATE people SET email = email || email; UPDATE people SET email = 'b' WHERE id = 1",
        )
        .await;

    lab.run().await.expect_success();

    lab.assert_same("people", "id, email").await;
}

#[tokio::test]
async fn unique_values_are_handed_on_in_postgres() {
    values_handed_on(Target::postgres().await).await;
}

#[tokio::test]
async fn unique_values_are_handed_on_in_sqlite() {
    values_handed_on(Target::sqlite()).await;
}

#[tokio::test]
async fn unique_values_are_handed_on_in_mysql_and_mariadb() {
    for server in [kit::mysql(), kit::mariadb()] {
        values_handed_on(Target::mysql(server).await).await;
    }
}

#[tokio::test]
async fn rows_that_swap_a_unique_value_pass_a_deferrable_key() {
    let deferrable =
        "CREATE TABLE people (id int PRIMARY KEY, email text NOT NULL UNIQUE DEFERRABLE)";
    let lab = Lab::new(Target::postgres().await, PEOPLE, deferrable).await;
    lab.tables(0, &[("people", "xmin")]);
    lab.run().await.expect_success();
    let swap = "UPDATE people SET email = CASE id WHEN 1 THEN 'b' ELSE 'a' END WHERE id < 3";
    lab.source.execute(swap).await;

    lab.run().await.expect_success();

    lab.assert_same("people", "id, email").await;
}

/// A row that was rejected in an earlier run and whose parent comes late in this one.
#[tokio::test]
async fn rejected_row_passes_in_the_run_that_brings_its_parent() {
    let lab = Lab::new(
        Target::postgres().await,
        "CREATE TABLE child (id int PRIMARY KEY, parent_id int); CREATE TABLE parent (id int PRIMARY KEY); \
         INSERT INTO child VALUES (1, 1), (2, NULL)",
        "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)",
    )
    .await;
    lab.tables(5, &[("child", "xmin"), ("parent", "xmin")]);
    let first = lab.run().await.expect_success();
    assert_eq!(table(&first, "child")["rows_rejected"], 1);
    assert_eq!(lab.value("SELECT count(*) FROM child").await, "1");
    lab.source.execute("INSERT INTO parent VALUES (1)").await;

    let second = lab.run().await.expect_success();

    assert_eq!(table(&second, "child")["rows_rejected"], 0);
    assert_eq!(lab.rejected().await, "0");
    lab.assert_same("child", "id, parent_id").await;
}
