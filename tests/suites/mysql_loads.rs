//! MySQL and MariaDB as a source: first loads, whole tables, and what becomes of them later.

use crate::mysql_lab::{FLAVOURS, MysqlLab, alone, count, said};
use crate::targets::Target;
use kit::{CHINOOK_TABLES, Certificates, Comparison, Flavour, MysqlServer, Output, TextRow};

/// Ten rows, for a product of them.
const DIGITS: &str = "WITH d AS (SELECT 0 n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL \
    SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL \
    SELECT 8 UNION ALL SELECT 9)";

/// A table of several chunks of four megabytes, whose rows are too old for any window.
pub(crate) fn wide_table() -> String {
    format!(
        "SET timestamp = UNIX_TIMESTAMP() - 86400;
         CREATE TABLE t (id bigint PRIMARY KEY, v text NOT NULL,
           updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
             ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at));
         INSERT INTO t (id, v) {DIGITS}
           SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * e.n, repeat(sha2(a.n + 10 * b.n, 256), 30)
           FROM d a, d b, d c, d e WHERE e.n < 6;
         ANALYZE TABLE t"
    )
}

pub(crate) const RUN: [&str; 9] = [
    "pipeline",
    "run",
    "p",
    "--jobs",
    "2",
    "--memory",
    "4MiB",
    "--on-lock",
    "wait=170s",
];

/// Both engines spell numbers and times as they do; zeros at the end of a fraction mean nothing.
fn canonical(rows: Vec<TextRow>) -> Vec<TextRow> {
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || b"-+: .T".contains(&byte))
    };
    let cell = |text: String| {
        if !text.contains('.') || !is_plain(&text) {
            return text;
        }
        let text = text.trim_end_matches('0');
        text.trim_end_matches('.').to_owned()
    };
    rows.into_iter()
        .map(|row| row.into_iter().map(|value| value.map(cell)).collect())
        .collect()
}

async fn chinook_is_equal(flavour: Flavour, target: Target) {
    let source = MysqlServer::shared(flavour).database("chinook").await;
    kit::load_chinook_mysql(&source).await;
    let lab = MysqlLab::of(source, target, "").await;
    lab.pipeline("  \"*\": { capture: full }");

    let first = lab.run().await.expect_success().json();
    let second = lab.run().await.expect_success().json();

    let written = |report: &serde_json::Value| -> u64 {
        let tables = report["tables"].as_array().expect("a report has tables");
        tables
            .iter()
            .map(|table| count(table, "rows_written") + count(table, "rows_deleted"))
            .sum()
    };
    let rows: u64 = CHINOOK_TABLES.iter().map(|table| table.row_count).sum();
    assert_eq!(written(&first), rows);
    assert_eq!(written(&second), 0, "an unchanged source writes nothing");
    for table in &CHINOOK_TABLES {
        let ours = format!("SELECT * FROM `{}`", table.sqlite);
        let theirs = format!("SELECT * FROM \"{}\"", table.sqlite);
        let source = canonical(lab.source.rows(&ours).await);
        let copied = canonical(lab.at_target(&theirs).await);
        let comparison = Comparison::of(source, copied, table.key_columns);
        assert!(
            comparison.is_equal(),
            "{flavour:?} {}: {comparison}",
            table.sqlite
        );
    }
}

#[tokio::test]
async fn chinook_reaches_postgres_from_both() {
    for flavour in FLAVOURS {
        chinook_is_equal(flavour, Target::postgres().await).await;
    }
}

#[tokio::test]
async fn chinook_reaches_sqlite_from_both() {
    for flavour in FLAVOURS {
        chinook_is_equal(flavour, Target::sqlite()).await;
    }
}

#[tokio::test]
async fn conditions_mean_at_the_server_what_they_mean_here() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, name varchar(9) COLLATE utf8mb4_general_ci,
          size decimal(9,2), ok tinyint(1), at timestamp(6) NULL, latin varchar(9) CHARACTER SET latin1);
        INSERT INTO t VALUES (1, 'Ann', 1.50, 1, '2024-05-31 10:00:00', 'é'), (2, 'ann', 1.50, 0, NULL, 'e'),
          (3, 'ann ', -1, NULL, '2024-05-31 10:00:00.000001', NULL), (4, NULL, NULL, 1, '2020-01-01', 'É')";
    let conditions = [
        ("name = 'ann'", "2"),
        ("name in ('ann', 'Ann')", "1,2"),
        ("name <> 'ann'", "1,3"),
        ("latin = 'é'", "1"),
        ("size = 1.5", "1,2"),
        ("size < 0 or ok", "1,3,4"),
        ("ok = false", "2"),
        ("not ok", "2"),
        ("at > '2024-05-31T12:00:00+02:00'", "3"),
        ("at <= '2024-05-31 10:00:00' and name is not null", "1"),
    ];
    for flavour in FLAVOURS {
        for (condition, ids) in conditions {
            let lab = MysqlLab::new(flavour, Target::sqlite(), setup).await;
            lab.pipeline(&format!("  t: {{ capture: full, where: \"{condition}\" }}"));

            lab.run().await.expect_success();

            let rows = lab
                .value("SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)")
                .await;
            assert_eq!(rows, ids, "{flavour:?} {condition}");
        }
    }
}

#[tokio::test]
async fn reader_needs_no_right_but_select_on_its_columns() {
    for flavour in FLAVOURS {
        let source = MysqlServer::shared(flavour).database("least").await;
        source
            .execute("CREATE TABLE t (id int PRIMARY KEY, v int, secret int); INSERT INTO t VALUES (1, 2, 3)")
            .await;
        let reader = source.user("r", &["SELECT (id, v) ON {database}.t"]).await;
        let lab = MysqlLab::of(reader, Target::sqlite(), "").await;

        lab.pipeline("  t: { columns: [id, v], capture: full }");
        lab.run().await.expect_success();
        assert_eq!(lab.value("SELECT v FROM t").await, "2");

        lab.pipeline("  t: { columns: [id, secret], capture: full }");
        let refused = lab.run().await;
        assert_ne!(refused.code, 0);
        let said = said(&refused);
        let grant = format!("GRANT SELECT ON `{}`.`t` TO 'r_", lab.source.name());
        assert!(said.contains("secret") && said.contains(&grant), "{said}");
    }
}

/// What `connection test` says of a source with these settings.
async fn tested(lab: &MysqlLab, flavour: Flavour, settings: &str) -> Output {
    let text = format!(
        "version: 1\nconnections:\n  source: {{ type: {}, {settings} }}\n",
        flavour.name()
    );
    lab.project.file("syncset.yaml", &text);
    let test = ["connection", "test", "source", "--output", "json"];
    lab.project.syncset(test).await
}

#[tokio::test]
async fn connections_say_what_stands_in_their_way() {
    for flavour in FLAVOURS {
        let lab = MysqlLab::new(flavour, Target::sqlite(), "").await;
        let user = lab.source.user("u", &["SELECT ON {database}.*"]).await;
        let (url, name) = (user.url(), lab.source.name());
        let cases = [
            (
                url.replace(":secret@", ":wrong@"),
                1,
                "check user and password",
            ),
            (
                url.replace(&format!("/{name}"), "/absent"),
                1,
                "ON `absent`.* TO 'u_",
            ),
            (
                lab.source.url().replace(name, "absent"),
                2,
                "check the name of the database",
            ),
            (url.replace(name, ""), 2, "names no `database`"),
        ];
        for (url, code, word) in cases {
            let output = tested(&lab, flavour, &format!("url: \"{url}\"")).await;

            let said = said(&output);
            assert_eq!(output.code, code, "{flavour:?} {word}: {said}");
            assert!(said.contains(word), "{flavour:?} {word}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}

#[tokio::test]
async fn links_are_encrypted_as_asked() {
    let certificates = Certificates::make();
    let authority = format!("sslrootcert: \"{}\"", certificates.authority());
    for flavour in FLAVOURS {
        let server = MysqlServer::start_own(flavour, &certificates.mysql_config());
        let source = server.create_database("tls").await;
        let user = source.user("t", &["SELECT ON {database}.*"]).await;
        let certified = source.user("c", &["SELECT ON {database}.*"]).await;
        source
            .execute(&format!(
                "ALTER USER 'c_{}'@'%' REQUIRE X509",
                source.name()
            ))
            .await;
        let certified = format!("url: \"{}\", sslmode: require", certified.url());
        let (certificate, key) = certificates.server();
        let own = format!(
            "sslcert: \"{}\", sslkey: \"{}\"",
            certificate.display(),
            key.display()
        );
        let lab = MysqlLab::of(user, Target::sqlite(), "").await;
        let address = format!("url: \"{}\"", lab.source.url());
        let named = address.replace("127.0.0.1", "localhost");
        let cases = [
            (format!("{address}, sslmode: disable"), Ok(false)),
            (format!("{address}, sslmode: prefer"), Ok(true)),
            (format!("{address}, sslmode: require"), Ok(true)),
            (
                format!("{address}, sslmode: verify-ca, {authority}"),
                Ok(true),
            ),
            (
                format!("{named}, sslmode: verify-full, {authority}"),
                Ok(true),
            ),
            (
                format!("{address}, sslmode: verify-full, {authority}"),
                Err("a certificate of another name"),
            ),
            (
                format!("{address}, sslmode: verify-ca"),
                Err("nobody we trust has signed"),
            ),
            (
                format!("{address}, sslmode: verify-ca, sslrootcert: absent.pem"),
                Err("cannot be read"),
            ),
            (format!("{certified}, {own}"), Ok(true)),
            (certified.clone(), Err("check user and password")),
            (
                certified.replace("require", "disable"),
                Err("needs another `sslmode`"),
            ),
        ];
        for (settings, expected) in cases {
            let output = tested(&lab, flavour, &settings).await;

            let said = said(&output);
            match expected {
                Ok(encrypted) => {
                    let fact = format!("\"encrypted\": {encrypted}");
                    assert!(said.contains(&fact), "{flavour:?} {settings}: {said}");
                }
                Err(word) => assert!(said.contains(word), "{flavour:?} {settings}: {said}"),
            }
        }
    }
}

#[tokio::test]
async fn server_without_encryption_is_refused_where_it_is_asked_for() {
    let server = MysqlServer::start_own(Flavour::Mariadb, "skip_ssl");
    let source = server.create_database("plain").await;
    let lab = MysqlLab::of(source, Target::sqlite(), "").await;
    let address = format!("url: \"{}\"", lab.source.url());

    let required = tested(
        &lab,
        Flavour::Mariadb,
        &format!("{address}, sslmode: require"),
    )
    .await;
    let preferred = tested(&lab, Flavour::Mariadb, &address).await;

    assert_eq!(required.code, 2, "{}", said(&required));
    assert!(
        said(&required).contains("does not encrypt"),
        "{}",
        said(&required)
    );
    assert!(
        said(&preferred).contains("\"encrypted\": false"),
        "{}",
        said(&preferred)
    );
}

#[tokio::test]
async fn strange_names_and_kinds_of_tables_are_read() {
    let long = "x".repeat(63);
    let setup = format!(
        "CREATE TABLE `Order.Items``` (`the id` int PRIMARY KEY, `{long}` int,
           double_id int GENERATED ALWAYS AS (`the id` * 2) VIRTUAL, stored_id int AS (`the id` * 3) STORED);
         INSERT INTO `Order.Items``` (`the id`, `{long}`) VALUES (1, 2), (3, NULL);
         CREATE TABLE parts (id int, region char(2), v json, PRIMARY KEY (id, region))
           PARTITION BY HASH (id) PARTITIONS 3;
         INSERT INTO parts VALUES (1, 'de', '[]'), (2, 'fr', NULL);
         CREATE VIEW totals AS SELECT region, count(*) AS n FROM parts GROUP BY region"
    );
    for flavour in FLAVOURS {
        let lab = MysqlLab::new(flavour, Target::sqlite(), &setup).await;
        lab.pipeline(
            "  \"\\\"Order.Items`\\\"\": { to: items }\n  parts: {}\n  totals: { key: [region] }",
        );

        lab.run().await.expect_success();

        let items = lab.at_target("SELECT * FROM items ORDER BY 1").await;
        let shown = |row: &TextRow| -> Vec<String> {
            let cells = row.iter().map(|cell| cell.clone().unwrap_or_default());
            cells.collect()
        };
        assert_eq!(shown(&items[0]), ["1", "2", "2", "3"], "{flavour:?}");
        assert_eq!(shown(&items[1]), ["3", "", "6", "9"], "{flavour:?}");
        assert_eq!(lab.value("SELECT group_concat(v) FROM parts").await, "[]");
        let totals = lab
            .value("SELECT sum(n) || ' of ' || count(*) FROM totals")
            .await;
        assert_eq!(totals, "2 of 2", "{flavour:?}");
    }
}

#[tokio::test]
async fn condition_that_writes_is_refused_by_the_session() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        server
            .execute("SET GLOBAL log_bin_trust_function_creators = 1")
            .await;
        let source = server.create_database("writes").await;
        let setup = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE seen (id int);
            INSERT INTO t VALUES (1);
            CREATE FUNCTION note_it(n int) RETURNS int MODIFIES SQL DATA
              BEGIN INSERT INTO seen VALUES (n); RETURN n; END";
        let lab = MysqlLab::of(source, Target::sqlite(), setup).await;
        lab.pipeline("  t: { where: { source_sql: \"note_it(id) = 1\" }, capture: full }");

        let refused = lab.run().await;

        assert_ne!(refused.code, 0, "{}", said(&refused));
        let seen = lab.source.value("SELECT count(*) FROM seen").await;
        assert_eq!(seen, "0", "{flavour:?}: {}", said(&refused));
    }
}
