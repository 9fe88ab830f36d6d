//! `doctor`: it names what is missing, and the statement it prints mends it.

use kit::{Database, Output, Project, Role};
use serde_json::Value;

const SHOP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text, email text, secret text,
      updated_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE orders (id int PRIMARY KEY, total numeric(12,2));
    INSERT INTO customers (id, name) SELECT i, 'n' || i FROM generate_series(1, 20) i;
    INSERT INTO orders SELECT i, i FROM generate_series(1, 20) i";

const PIPELINE: &str = "version: 1\nsource: source\ntarget: target\ntables:\n\
    \x20 public.customers:\n\
    \x20   columns: [id, name, email, updated_at]\n\
    \x20   capture: { mode: cursor, column: updated_at, written_by: database }\n\
    \x20 public.orders: { capture: xmin }\n";

/// Two databases with a user each that has just the rights that the pipeline needs.
struct Lab {
    source: Database,
    target: Database,
    reader: Role,
    writer: Role,
    project: Project,
}

impl Lab {
    async fn new() -> Self {
        let server = kit::postgres().await;
        let source = server.database("ailing_source").await;
        let target = server.database("ailing_target").await;
        source.execute(SHOP).await;
        let reader = source
            .role(
                "reader",
                &[
                    "SELECT (id, name, email, updated_at, xmin, tableoid) ON customers",
                    "SELECT ON orders",
                    "EXECUTE ON FUNCTION pg_control_system()",
                    "pg_read_all_stats",
                ],
            )
            .await;
        let create = format!("CREATE ON DATABASE \"{}\"", target.name());
        let writer = target
            .role("writer", &[&create, "CREATE ON SCHEMA public"])
            .await;
        let project = Project::between(&reader.url, &writer.url);
        project.pipeline("p", PIPELINE);
        Self {
            source,
            target,
            reader,
            writer,
            project,
        }
    }

    /// Runs a statement at one side with its names filled in.
    async fn execute(&self, side: &str, sql: &str) {
        let (database, role) = match side {
            "source" => (&self.source, &self.reader),
            _ => (&self.target, &self.writer),
        };
        let role = format!("\"{}\"", role.name);
        let name = format!("\"{}\"", database.name());
        database
            .execute(&sql.replace("ROLE_", &role).replace("DATABASE_", &name))
            .await;
    }

    async fn doctor(&self) -> Output {
        self.project
            .syncset(["doctor", "p", "--output", "json"])
            .await
    }

    async fn run(&self) -> Output {
        self.project.syncset(["pipeline", "run", "p"]).await
    }
}

async fn send(session: &mut sqlx::SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(session).await.unwrap();
}

/// The checks with a status.
fn with_status(document: &Value, status: &str) -> Vec<Value> {
    let checks = document["checks"].as_array().expect("a list of checks");
    checks
        .iter()
        .filter(|check| check["status"] == status)
        .cloned()
        .collect()
}

/// One right or setting that is missing: side, statement that takes it away, check, exit code.
const FAULTS: [(&str, &str, &str, i32); 14] = [
    (
        "source",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "source.rights.schema",
        1,
    ),
    (
        "source",
        "REVOKE SELECT (email) ON customers FROM ROLE_",
        "source.rights.columns",
        1,
    ),
    (
        "source",
        "REVOKE SELECT ON orders FROM ROLE_; GRANT SELECT (id, total) ON orders TO ROLE_",
        "source.rights.xmin",
        1,
    ),
    (
        "source",
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
        "source.rights.rows",
        1,
    ),
    (
        "source",
        "REVOKE pg_read_all_stats FROM ROLE_",
        "source.writers.hidden",
        1,
    ),
    (
        "source",
        "ALTER ROLE ROLE_ CONNECTION LIMIT 2",
        "source.sessions",
        9,
    ),
    (
        "source",
        "ALTER DATABASE DATABASE_ CONNECTION LIMIT 3",
        "source.sessions",
        9,
    ),
    (
        "target",
        "REVOKE CREATE ON DATABASE DATABASE_ FROM ROLE_",
        "target.state",
        1,
    ),
    (
        "target",
        "CREATE SCHEMA _syncset; REVOKE CREATE ON DATABASE DATABASE_ FROM ROLE_",
        "target.state",
        1,
    ),
    (
        "target",
        "DROP SCHEMA public; CREATE SCHEMA _syncset AUTHORIZATION ROLE_; \
      REVOKE CREATE ON DATABASE DATABASE_ FROM ROLE_",
        "target.rights.schema",
        1,
    ),
    (
        "target",
        "REVOKE CREATE ON SCHEMA public FROM ROLE_",
        "target.rights.create",
        1,
    ),
    (
        "target",
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric(12,2)); \
      GRANT SELECT, INSERT, DELETE ON orders TO ROLE_",
        "target.rights.tables",
        1,
    ),
    (
        "target",
        "REVOKE TEMPORARY ON DATABASE DATABASE_ FROM PUBLIC",
        "target.rights.temporary",
        1,
    ),
    (
        "target",
        "ALTER ROLE ROLE_ IN DATABASE DATABASE_ SET default_transaction_read_only = on",
        "target.read_only",
        1,
    ),
];

#[tokio::test]
async fn statements_that_are_printed_mend_each_missing_right() {
    for (side, fault, id, code) in FAULTS {
        let lab = Lab::new().await;
        // Somebody else who uses the source, as there is everywhere.
        let _other = lab.source.connect().await;
        lab.execute(side, fault).await;

        let ill = lab.doctor().await.expect_code(code).json();

        assert_eq!(ill["exit_code"], code, "{fault}");
        let problems = with_status(&ill, "problem");
        let named: Vec<_> = problems
            .iter()
            .map(|problem| problem["id"].as_str().unwrap())
            .collect();
        assert_eq!(named, [id], "{fault}: {ill}");
        let statements = problems[0]["sql"].as_array().expect("a statement");
        for sql in statements {
            lab.execute(side, sql.as_str().unwrap()).await;
        }
        let well = lab.doctor().await;
        assert_eq!(well.code, 0, "{fault}: {}", well.stdout);
        let run = lab.run().await;
        assert_eq!(run.code, 0, "{fault}: {}", run.stderr);
        assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "20");
    }
}

#[tokio::test]
async fn runs_fail_where_the_doctor_sees_a_missing_right() {
    // A first load writes straight into its tables, and is the only work that needs no temporary
    // one; sessions are short only while others have them.
    let at_once = |id: &str| !matches!(id, "target.rights.temporary" | "source.sessions");
    for (side, fault, id, code) in FAULTS.into_iter().filter(|fault| at_once(fault.2)) {
        let lab = Lab::new().await;
        let _other = lab.source.connect().await;
        lab.execute(side, fault).await;

        let run = lab.run().await;

        assert_ne!(run.code, 0, "{id} {code}: {fault}");
    }
}

#[tokio::test]
async fn least_rights_are_enough_and_nothing_is_changed() {
    let lab = Lab::new().await;

    let output = lab.project.syncset(["doctor", "p"]).await;

    let text = output.snapshot();
    let filters = [
        (r"PostgreSQL \d[^,]*", "PostgreSQL [version]"),
        (r"room for \d+ sessions", "room for [n] sessions"),
        (r"(reader|writer)_ailing", "$1"),
    ];
    let filtered = filters.iter().fold(text, |text, (pattern, plain)| {
        regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *plain)
            .into_owned()
    });
    insta::assert_snapshot!(filtered, @r"
    exit: 0
    stdout:
    project
      ok       files.project: syncset.yaml is right; it has 2 connections

    p
      ok       files.pipeline: pipelines/p.yaml is right
      ok       source.server: PostgreSQL [version], database `ailing_source`, user `reader_source`
      ok       source.tls: the link is not encrypted, and does not leave this machine
      ok       source.clock: the server's clock agrees with ours
      ok       source.sessions: room for [n] sessions more; a run needs 3
      ok       source.timeouts: no time-out of the server ends a run
      ok       source.identity: a restored server would be recognised
      ok       source.wal: wal_level is `logical`; no capture mode of this version needs more
      ok       source.rights: 6 columns of 2 tables may be read
      ok       source.writers.hidden: all transactions can be seen
      ok       source.transactions.old: no old transaction holds a window back
      ok       target.server: PostgreSQL [version], database `ailing_target`, user `writer_target`
      ok       target.tls: the link is not encrypted, and does not leave this machine
      ok       target.clock: the server's clock agrees with ours
      ok       target.sessions: room for [n] sessions more; a run needs 3
      ok       target.timeouts: no time-out of the server ends a run
      ok       target.state: schema `_syncset` will be made by the first run
      ok       target.rights: 2 tables may be written, 2 of them are to be made
      ok       clocks: the clocks of both servers agree
      ok       plan: a run can sync 2 tables

    0 problems, 0 warnings
    ");
    let count = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname IN ('public', '_syncset')";
    assert_eq!(lab.target.value(count).await, "0");
}

#[tokio::test]
async fn missing_column_is_printed_with_its_grant() {
    let lab = Lab::new().await;
    lab.execute("source", FAULTS[1].1).await;

    let output = lab.project.syncset(["doctor", "p"]).await;

    let text = output.snapshot();
    let problem: Vec<_> = text
        .lines()
        .skip_while(|line| !line.contains("problem"))
        .take(3)
        .collect();
    insta::assert_snapshot!(problem.join("\n"), @r#"
    problem  source.rights.columns: user `reader_ailing_source` may not read `email` of `public.customers`
             hint: let an administrator of the database run this
             sql: GRANT SELECT ("email") ON "public"."customers" TO "reader_ailing_source";
    "#);
}

#[tokio::test]
async fn rights_on_the_state_of_another_user_are_told() {
    let lab = Lab::new().await;
    let first = Project::between(&lab.reader.url, &lab.target.url());
    first.pipeline("p", PIPELINE);
    first
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();

    let ill = lab.doctor().await.expect_code(1).json();
    let problems = with_status(&ill, "problem");
    let named: Vec<_> = problems.iter().map(|problem| &problem["id"]).collect();
    assert_eq!(
        named,
        [
            "target.state",
            "target.rights.tables",
            "target.rights.tables"
        ]
    );
    let warnings = with_status(&ill, "warning");
    assert!(
        warnings
            .iter()
            .any(|one| one["id"] == "target.rights.takeover"),
        "{ill}"
    );
    for problem in problems.iter().chain(&warnings) {
        for sql in problem["sql"].as_array().into_iter().flatten() {
            lab.execute("target", sql.as_str().unwrap()).await;
        }
    }

    let well = lab.doctor().await.expect_code(0).json();
    assert!(!well.to_string().contains("takeover"), "{well}");
    lab.run().await.expect_success();
}

#[tokio::test]
async fn sessions_that_are_not_tracked_stop_a_time_cursor() {
    let lab = Lab::new().await;
    let mut writer = lab.source.connect().await;
    for statement in [
        "SET track_activities = off",
        "BEGIN",
        "SELECT pg_current_xact_id()",
    ] {
        sqlx::query(statement).execute(&mut writer).await.unwrap();
    }

    let ill = lab.doctor().await;
    let run = lab.run().await;

    assert_ne!(run.code, 0, "{}", run.stdout);
    let said = "has `track_activities` off";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let ill = ill.expect_code(2).json();
    let problems = with_status(&ill, "problem");
    assert_eq!(problems[0]["id"], "source.writers.untracked", "{ill}");
    assert_eq!(
        problems[0]["sql"][0],
        "ALTER SYSTEM SET track_activities = on;"
    );
    drop(writer);
}

#[tokio::test]
async fn transactions_that_hold_a_load_back_are_named() {
    let lab = Lab::new().await;
    let name = format!("job_{}", lab.source.name());
    lab.source
        .execute(&format!(
            "BEGIN; DELETE FROM orders WHERE id = 1; PREPARE TRANSACTION '{name}'"
        ))
        .await;

    let ill = lab.doctor().await.expect_code(9).json();

    let problems = with_status(&ill, "problem");
    assert_eq!(problems[0]["id"], "source.transactions.prepared", "{ill}");
    assert!(problems[0]["message"].as_str().unwrap().contains(&name));
    lab.source
        .execute(&format!("ROLLBACK PREPARED '{name}'"))
        .await;
    lab.doctor().await.expect_code(0);
}

#[tokio::test]
async fn tables_of_somebody_else_are_told_before_a_run() {
    let lab = Lab::new().await;
    lab.execute(
        "target",
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric(12,2)); INSERT INTO orders VALUES (1, 1); \
         GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO ROLE_",
    )
    .await;

    let ill = lab.doctor().await.expect_code(8).json();

    let problems = with_status(&ill, "problem");
    assert_eq!(problems[0]["id"], "plan");
    assert!(
        problems[0]["message"]
            .as_str()
            .unwrap()
            .contains("holds rows"),
        "{ill}"
    );
}

#[tokio::test]
async fn servers_that_do_not_answer_are_problems_of_their_pipeline() {
    let lab = Lab::new().await;
    let wrong = lab.source.url_as(&lab.reader.name, "geheim");
    let project = Project::between(&wrong, "postgres://sync@127.0.0.1:1/nothing");
    project.pipeline("p", PIPELINE);
    project.pipeline("q", "version: 1\nsource: source\n");

    let output = project
        .syncset(["doctor", "--output", "json"])
        .await
        .expect_code(2);

    let ill = output.json();
    let problems = with_status(&ill, "problem");
    let codes: Vec<_> = problems
        .iter()
        .map(|one| {
            (
                one["pipeline"].as_str().unwrap(),
                one["exit_code"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(codes, [("p", 1), ("p", 9), ("q", 2), ("q", 2)], "{ill}");
    assert!(!output.stdout.contains("geheim"), "{}", output.stdout);
}

#[tokio::test]
async fn files_of_sqlite_are_examined_and_not_made() {
    let project = Project::between("sqlite:shop.db", "sqlite:copy.db");
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables: { orders: {} }\n",
    );
    let shop = project.sqlite("shop.db");
    shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1)")
        .await;

    let before = project
        .syncset(["doctor", "--output", "json"])
        .await
        .expect_code(0)
        .json();

    assert!(!project.path().join("copy.db").exists());
    let warnings = with_status(&before, "warning");
    assert_eq!(warnings[0]["id"], "source.journal", "{before}");
    shop.execute(warnings[0]["sql"][0].as_str().unwrap()).await;
    let after = project
        .syncset(["doctor", "--output", "json"])
        .await
        .expect_code(0)
        .json();
    assert_eq!(with_status(&after, "warning"), Vec::<Value>::new());
}

#[tokio::test]
async fn sqlite_targets_that_cannot_be_written_are_told() {
    let project = Project::between("sqlite:shop.db", "sqlite:copy.db");
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables: { orders: {} }\n",
    );
    let orders = "CREATE TABLE orders (id INTEGER PRIMARY KEY)";
    project.sqlite("shop.db").execute(orders).await;
    let copy = project.sqlite("copy.db");
    copy.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
        .await;
    let writable = |document: &Value| {
        let checks = document["checks"].as_array().unwrap();
        let check = checks
            .iter()
            .find(|check| check["id"] == "target.writable")
            .cloned();
        check.unwrap_or_else(|| panic!("{document}"))["status"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let doctor = async || project.syncset(["doctor", "--output", "json"]).await;

    let mut writer = copy.connect().await;
    send(&mut writer, "BEGIN IMMEDIATE").await;
    assert_eq!(writable(&doctor().await.expect_code(0).json()), "warning");
    send(&mut writer, "ROLLBACK").await;
    assert_eq!(writable(&doctor().await.expect_code(0).json()), "ok");

    // A version of the format that only readers may use: SQLite refuses to write such a file.
    drop(writer);
    let mut bytes = std::fs::read(copy.path()).unwrap();
    bytes[18] = 3;
    std::fs::write(copy.path(), bytes).unwrap();
    assert_eq!(writable(&doctor().await.expect_code(1).json()), "problem");
}

#[cfg(unix)]
#[tokio::test]
async fn environment_file_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new("version: 1\n");
    project.file(".env", "URL=x\n");
    let path = project.path().join(".env");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();

    let open = project.syncset(["doctor"]).await.expect_code(0);

    assert!(
        open.stdout.contains("hint: chmod 600 .env"),
        "{}",
        open.stdout
    );
    assert!(
        open.stdout.contains("the project has no pipeline"),
        "{}",
        open.stdout
    );
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let closed = project.syncset(["doctor"]).await.expect_code(0);
    assert!(!closed.stdout.contains("chmod"), "{}", closed.stdout);
}
