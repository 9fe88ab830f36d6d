//! The roles of `docs/least-privilege.md`, made by its statements, run its pipeline and can do
//! nothing less.

use kit::{Database, PostgresServer, Project};

const PAGE: &str = include_str!("../../docs/least-privilege.md");

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    PAGE.split(&format!("```{language}\n"))
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

struct Lab {
    source: Database,
    target: Database,
    project: Project,
    /// The statements of the page for each side, with the names of these databases.
    statements: [String; 2],
    /// Those for the role that only looks.
    viewer: String,
    _server: PostgresServer,
}

impl Lab {
    /// Both databases, where nobody may anything but what the page grants.
    async fn new() -> Self {
        let server = PostgresServer::start_own("");
        let source = server.database("crm").await;
        let target = server.database("reports").await;
        let [source_sql, target_sql, viewer_sql] = blocks("sql")[..] else {
            panic!("a block for the source and two for the target were expected");
        };
        let at_target = format!("DATABASE \"{}\"", target.name());
        let statements = [
            source_sql.replace("DATABASE crm", &format!("DATABASE \"{}\"", source.name())),
            target_sql.replace("DATABASE reports", &at_target),
        ];
        let viewer = viewer_sql.replace("DATABASE reports", &at_target);
        for (database, statements) in [(&source, &statements[0]), (&target, &statements[1])] {
            database.execute(TABLES).await;
            let name = database.name();
            let revokes = format!(
                "REVOKE ALL ON DATABASE \"{name}\" FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC"
            );
            database.execute(&revokes).await;
            database.execute(statements).await;
        }
        source.execute(ROWS).await;
        let [settings, pipeline] = blocks("yaml")[..] else {
            panic!("a project and a pipeline were expected");
        };
        let mut project = Project::new(settings);
        project.pipeline("p", pipeline);
        project.set("CRM_URL", &source.url_as("crm_reader", "change-me"));
        project.set("REPORTS_URL", &target.url_as("reports_writer", "change-me"));
        Self {
            source,
            target,
            project,
            statements,
            viewer,
            _server: server,
        }
    }
}

const TABLES: &str = "
    CREATE TABLE customers (
        id int PRIMARY KEY, name text NOT NULL, country text NOT NULL, address text,
        updated_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL, total numeric, note text);
    CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);";

const ROWS: &str = "
    INSERT INTO customers VALUES (1, 'Ann', 'DE', 'secret'), (2, 'Bob', 'US', 'secret');
    INSERT INTO orders VALUES (1, 1, 10, 'secret');
    INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France');";

#[tokio::test]
async fn roles_with_these_rights_load_and_follow() {
    let lab = Lab::new().await;

    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    lab.source
        .execute(
            "UPDATE customers SET country = 'FR', updated_at = now() WHERE id = 2;
             UPDATE orders SET total = 11; DELETE FROM countries WHERE code = 'FR'",
        )
        .await;
    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();

    let query = "SELECT (SELECT string_agg(name || country, ',' ORDER BY id) FROM customers)
                 || (SELECT sum(total) FROM orders) || (SELECT count(*) FROM countries)";
    assert_eq!(lab.target.value(query).await, "AnnDE,BobFR111");
}

#[tokio::test]
async fn each_right_is_needed() {
    let lab = Lab::new().await;
    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    let sides = [
        (&lab.source, &lab.statements[0]),
        (&lab.target, &lab.statements[1]),
    ];
    // A transaction that could still commit a row, of somebody else.
    let mut writer = lab.source.connect().await;
    for statement in ["BEGIN", "SELECT pg_current_xact_id()"] {
        sqlx::query(statement).execute(&mut writer).await.unwrap();
    }
    let mut tried = 0;

    for (database, statements) in sides {
        for grant in statements.lines().filter(|line| line.starts_with("GRANT ")) {
            let revoke = grant.replace("GRANT ", "REVOKE ").replace(" TO ", " FROM ");
            database.execute(&revoke).await;
            lab.source
                .execute(
                    "UPDATE customers SET name = name || '.', updated_at = now();
                     UPDATE orders SET total = total + 1; UPDATE countries SET name = name || '.'",
                )
                .await;

            let output = lab.project.syncset(["pipeline", "run", "p"]).await;

            assert_ne!(output.code, 0, "{grant} is not needed\n{}", output.stdout);
            database.execute(grant).await;
            tried += 1;
        }
    }

    assert_eq!(tried, 11);
}

#[tokio::test]
async fn a_role_that_only_looks_sees_the_status() {
    let mut lab = Lab::new().await;
    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    lab.target.execute(&lab.viewer).await;
    let url = lab.target.url_as("reports_viewer", "change-me");
    lab.project.set("REPORTS_URL", &url);

    lab.project
        .syncset(["pipeline", "status", "p", "--max-age", "1h"])
        .await
        .expect_success();
    lab.project
        .syncset(["pipeline", "history", "p"])
        .await
        .expect_success();
    let run = lab.project.syncset(["pipeline", "run", "p"]).await;

    assert_ne!(run.code, 0, "{}", run.stdout);
}
