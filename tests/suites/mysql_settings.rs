//! Servers of MySQL and MariaDB that are set up to change values, users with few rights, and the
//! ways in which users log in.

use crate::mysql_target_lab::on_both;
use kit::{Database, Flavour, MysqlDatabase, MysqlServer, Output, Project, compare};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

on_both!(
    settings_of_a_server_change_no_value,
    rights_that_are_missing_are_named_with_their_grant,
    hidden_table_is_not_taken_for_a_missing_one,
    users_log_in_by_the_ways_of_their_server,
);

/// What a user needs in a target's database, as the documentation says.
const RIGHTS: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, CREATE TEMPORARY TABLES \
                      ON {database}.*";

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

/// Texts that mean something else in some mode, and one that is longer than a row of defaults.
const SOURCE: &str = r#"
    CREATE TABLE items (id int PRIMARY KEY, name text, amount numeric(9,2), at timestamptz,
      flag boolean NOT NULL);
    INSERT INTO items VALUES
      (1, 'a"b', 1.50, '2024-03-31 01:30:00+00', true), (2, 'back\slash\\n', -0.01, NULL, false),
      (3, 'c||d', 0, '1969-12-31 23:59:59.999999+00', true), (4, 'it''s', NULL, NULL, false),
      (5, '100% _ `x` ? :y', 7, '2038-01-19 03:14:08+00', true), (6, '', 1, NULL, false),
      (7, 'ä😀 ', 1, NULL, true), (8, NULL, 1, NULL, true);
    INSERT INTO items SELECT i, 'name ' || i, i, now(), true FROM generate_series(10, 600) i;
    CREATE TABLE keyless AS SELECT i % 5 AS n FROM generate_series(1, 20) i"#;

/// Statements of an administrator: each makes statements mean or do something else.
fn traps(flavour: Flavour) -> String {
    let modes = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,IGNORE_SPACE,HIGH_NOT_PRECEDENCE";
    let connect = format!(
        "SET SESSION sql_mode = ''{modes}'', autocommit = 0, sql_select_limit = 3, \
         sql_auto_is_null = 1, sql_safe_updates = 1, foreign_key_checks = 0, completion_type = 2, \
         time_zone = ''+05:00''; SET NAMES latin1"
    );
    let own = match flavour {
        Flavour::Mysql => {
            "SET GLOBAL sql_require_primary_key = ON; \
             SET GLOBAL sql_generate_invisible_primary_key = ON; "
        }
        Flavour::Mariadb => "SET GLOBAL check_constraint_checks = OFF; ",
    };
    format!(
        "SET GLOBAL init_connect = '{connect}'; SET GLOBAL max_allowed_packet = 1048576; \
         SET GLOBAL default_storage_engine = MyISAM; SET GLOBAL time_zone = '-08:00'; \
         SET GLOBAL event_scheduler = ON; {own}\
         SET GLOBAL completion_type = 1; SET GLOBAL sql_mode = '{modes}'"
    )
}

async fn settings_of_a_server_change_no_value(server: &'static MysqlServer) {
    let flavour = server.flavour();
    let own = MysqlServer::start_own(
        flavour,
        "lower_case_table_names = 1\ncharacter_set_server = latin1\nlocal_infile = OFF",
    );
    let middle = own.create_database("traps").await;
    let user = middle.user("sync", &[RIGHTS]).await;
    own.execute(&traps(flavour)).await;
    let (source, back) = (
        kit::postgres().await.database("traps").await,
        kit::postgres().await.database("traps_back").await,
    );
    source.execute(SOURCE).await;
    let there = Project::between(&source.url(), &user.url());
    there.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  \
         public.items: { capture: full, to: Items, where: \"name is null or name <> 'no''n\\\\e'\", \
         write: { on_delete: soft, synced_at: at_target } }\n",
    );
    let again = Project::between(&user.url(), &back.url());
    again.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  \
         items: { capture: full, to: public.items, columns: { exclude: [_deleted_at, at_target] }, \
         where: \"name is null or name <> 'no''n\\\\e'\" }\n",
    );

    for (change, written) in [
        ("", 599),
        ("", 0),
        ("UPDATE items SET name = 'new\\' WHERE id = 2", 1),
    ] {
        source.execute(change).await;
        assert_eq!(rows_written(&there).await, written, "{flavour:?} {change}");
        assert_eq!(rows_written(&again).await, written, "{flavour:?} {change}");
    }

    let rows = "SELECT id, name, amount, at AT TIME ZONE 'UTC', flag FROM items";
    let copied = "SELECT id, name, amount, at, flag FROM items";
    compare(&source, &back, rows, copied).await.assert_equal();
    let engines = "SELECT COUNT(*) FROM information_schema.TABLES \
                   WHERE TABLE_SCHEMA = DATABASE() AND ENGINE <> 'InnoDB'";
    assert_eq!(middle.value(engines).await, "0");
    if flavour == Flavour::Mysql {
        keyless_table_needs_what_its_server_wants(&own, &user, &there).await;
    }
    read_only_server_says_so(&own, &user, &there).await;
}

async fn rows_written(project: &Project) -> u64 {
    let report = project.syncset(RUN).await.expect_success().json();
    let rows = &report["tables"][0]["rows_written"];
    rows.as_u64().expect("a report counts rows")
}

/// A table without a key has one that nobody sees, or cannot be made.
async fn keyless_table_needs_what_its_server_wants(
    own: &MysqlServer,
    user: &MysqlDatabase,
    project: &Project,
) {
    let keyless = |table: &str| {
        project.pipeline(
            "k",
            &format!(
                "version: 1\nsource: source\ntarget: target\ntables:\n  \
                 public.keyless: {{ capture: full, to: {table} }}\n"
            ),
        );
    };
    let run = ["pipeline", "run", "k", "--output", "json"];
    keyless("with_hidden_key");
    for written in [20, 0] {
        let report = project.syncset(run).await.expect_success().json();
        assert_eq!(report["tables"][0]["rows_written"], written);
    }

    own.execute("SET GLOBAL sql_generate_invisible_primary_key = OFF")
        .await;
    keyless("without_key");
    let refused = project.syncset(run).await;

    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stdout.contains("`key:`"), "{}", refused.stdout);
    assert!(
        refused.stdout.contains("sql_require_primary_key"),
        "{}",
        refused.stdout
    );
    let tables = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                  AND TABLE_NAME = 'without_key'";
    assert_eq!(user.value(tables).await, "0");
}

async fn read_only_server_says_so(own: &MysqlServer, user: &MysqlDatabase, project: &Project) {
    let variable = match own.flavour() {
        Flavour::Mysql => "super_read_only",
        Flavour::Mariadb => "read_only",
    };
    own.execute(&format!("SET GLOBAL {variable} = ON")).await;
    let before = user.value("SELECT COUNT(*) FROM _syncset_run").await;

    let run = project.syncset(RUN).await;
    let plan = project.syncset(["pipeline", "plan", "p"]).await;
    let doctor = project.syncset(["doctor", "p"]).await;

    for output in [&run, &plan, &doctor] {
        assert!(said(output).contains("read-only"), "{}", said(output));
    }
    assert_ne!(run.code, 0, "{}", said(&run));
    assert!(said(&doctor).contains("primary"), "{}", said(&doctor));
    assert_eq!(
        user.value("SELECT COUNT(*) FROM _syncset_run").await,
        before
    );
}

fn said(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// A database in which an administrator has run a pipeline, and the pipeline for another user.
async fn with_state(
    server: &'static MysqlServer,
    setup: &str,
) -> (Database, MysqlDatabase, Project) {
    let source = kit::postgres().await.database("rights").await;
    source
        .execute("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a')")
        .await;
    let database = server.database("rights").await;
    let admin = Project::between(&source.url(), &database.url());
    admin.pipeline(
        "other",
        "version: 1\nsource: source\ntarget: target\ntables:\n  \
         public.t: { capture: full, to: other }\n",
    );
    let run = ["pipeline", "run", "other"];
    admin.syncset(run).await.expect_success();
    database.execute(setup).await;
    let user = database
        .user("few", &["CREATE TEMPORARY TABLES ON {database}.*"])
        .await;
    let tables = "SELECT table_name FROM information_schema.TABLES \
                  WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '\\_syncset%'";
    for row in database.rows(tables).await {
        let table = row[0].as_deref().expect("a table has a name");
        grant(
            &database,
            &format!("SELECT, INSERT, UPDATE, DELETE ON `{table}`"),
        )
        .await;
    }
    let project = Project::between(&source.url(), &user.url());
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  \
         public.t: { capture: full, to: t }\n",
    );
    (source, database, project)
}

/// Gives the user `few` rights to a table.
async fn grant(database: &MysqlDatabase, rights: &str) {
    let account = format!("'few_{}'@'%'", database.name());
    database
        .execute(&format!("GRANT {rights} TO {account}"))
        .await;
}

async fn rights_that_are_missing_are_named_with_their_grant(server: &'static MysqlServer) {
    let table = "CREATE TABLE t (id int PRIMARY KEY, name longtext)";
    let (_source, database, project) = with_state(server, table).await;
    grant(&database, "SELECT, INSERT (id) ON t").await;
    let name = database.name();
    let account = format!("'few_{name}'@'%'");

    for (rights, all, granted) in [
        ("INSERT", "INSERT, UPDATE, DELETE", "INSERT ON t"),
        ("UPDATE, DELETE", "UPDATE, DELETE", "UPDATE (name) ON t"),
        ("DELETE", "DELETE", "DELETE ON t"),
    ] {
        for (verb, rights) in [
            (&["pipeline", "plan", "p"][..], rights),
            (&["pipeline", "run", "p"], rights),
            (&["doctor", "p"], all),
        ] {
            let statement = format!("GRANT {rights} ON `{name}`.`t` TO {account}");
            let output = project.syncset(verb).await;

            let said = said(&output);
            assert_ne!(output.code, 0, "{verb:?} {said}");
            assert!(said.contains(&statement), "{statement}\n{said}");
        }
        assert_eq!(database.value("SELECT COUNT(*) FROM t").await, "0");
        grant(&database, granted).await;
    }

    project.syncset(RUN).await.expect_success();
    assert_eq!(database.value("SELECT name FROM t").await, "a");
}

async fn hidden_table_is_not_taken_for_a_missing_one(server: &'static MysqlServer) {
    let table = "CREATE TABLE t (id int PRIMARY KEY, name longtext)";
    let (_source, database, project) = with_state(server, table).await;
    let name = database.name();
    grant(&database, &format!("CREATE, ALTER ON `{name}`.*")).await;

    for verb in ["plan", "run"] {
        let output = project.syncset(["pipeline", verb, "p"]).await;

        let statement = format!("GRANT SELECT, INSERT ON `{name}`.`t` TO 'few_{name}'@'%'");
        assert_ne!(output.code, 0, "{}", said(&output));
        assert!(said(&output).contains(&statement), "{}", said(&output));
    }

    grant(&database, "SELECT (id), INSERT (id) ON t").await;
    let plan = project.syncset(["pipeline", "plan", "p"]).await;

    let sentence = "shown no column `name` of `t`";
    assert!(said(&plan).contains(sentence), "{}", said(&plan));
}

async fn users_log_in_by_the_ways_of_their_server(server: &'static MysqlServer) {
    let database = server.database("login").await;
    let name = |plugin: &str| format!("{}_{}", &plugin[..4], database.name());
    let plugins: &[&str] = match server.flavour() {
        Flavour::Mysql => &["caching_sha2_password"],
        Flavour::Mariadb => &["mysql_native_password"],
    };
    for plugin in plugins {
        let user = name(plugin);
        let by = match server.flavour() {
            Flavour::Mysql => format!("IDENTIFIED WITH {plugin} BY 'se:c/r@t ä'"),
            Flavour::Mariadb => format!("IDENTIFIED VIA {plugin} USING PASSWORD('se:c/r@t ä')"),
        };
        database
            .execute(&format!(
                "CREATE USER '{user}'@'%' {by}; GRANT SELECT ON `{}`.* TO '{user}'@'%'",
                database.name()
            ))
            .await;
        // The first log-in proves the password itself, the next may rely on it; a link that is
        // not encrypted must not carry it as it is.
        for sslmode in ["disable", "disable", "prefer"] {
            let project = project_of(server, &database, &user, "se:c/r@t ä", sslmode);
            let tested = project.syncset(["connection", "test", "shop"]).await;
            tested.expect_success();
        }
        let project = project_of(server, &database, &user, "wrong", "disable");
        let tested = project.syncset(["connection", "test", "shop"]).await;
        assert_eq!(tested.code, 1, "{plugin}: {}", said(&tested));
        assert!(
            said(&tested).contains("check user and password"),
            "{plugin}: {}",
            said(&tested)
        );
    }
}

fn project_of(
    server: &MysqlServer,
    database: &MysqlDatabase,
    user: &str,
    password: &str,
    sslmode: &str,
) -> Project {
    Project::new(&format!(
        "version: 1\nconnections:\n  shop: {{ type: {}, host: 127.0.0.1, port: {}, user: {user}, \
         password: \"{password}\", database: {}, sslmode: {sslmode} }}\n",
        server.flavour().name(),
        server.port(),
        database.name()
    ))
}

/// What a server of MariaDB says that is asked for a log-in, and that it wants another way.
fn asks_for(plugin: &str) -> [Vec<u8>; 2] {
    let salt = b"abcdefghijklmnopqrst";
    let mut greeting = vec![10];
    greeting.extend_from_slice(b"11.8.6-MariaDB\0");
    greeting.extend_from_slice(&1_u32.to_le_bytes());
    greeting.extend_from_slice(&salt[..8]);
    // Protocol 4.1, transactions, secure passwords, a database; then plugins and many statements.
    greeting.extend_from_slice(&[0, 0x09, 0xa2, 45, 2, 0, 0x0b, 0, 21]);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(&salt[8..]);
    greeting.push(0);
    greeting.extend_from_slice(b"mysql_native_password\0");
    let mut switch = vec![0xfe];
    switch.extend_from_slice(plugin.as_bytes());
    switch.push(0);
    switch.extend_from_slice(&[7; 32]);
    [greeting, switch]
}

/// What a log-in says and answers at a server that asks for a plugin. The plugins are no part of
/// MariaDB's core, so only their names can be sent.
async fn asked_for(plugin: &'static str) -> (Output, Vec<u8>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let server = tokio::spawn(async move {
        let (mut link, _) = listener.accept().await.expect("a client comes");
        let [greeting, switch] = asks_for(plugin);
        send(&mut link, 0, &greeting).await;
        let mut answer = [0; 1024];
        let bytes = link.read(&mut answer).await.expect("the client answers");
        assert!(bytes > 0, "the client stays");
        send(&mut link, 2, &switch).await;
        let bytes = link.read(&mut answer).await.unwrap_or(0);
        answer[..bytes].to_vec()
    });
    let project = Project::new(&format!(
        "version: 1\nconnections:\n  shop: {{ type: mariadb, host: 127.0.0.1, port: {port}, \
         user: u, password: secret, database: d, sslmode: disable }}\n"
    ));
    let tested = project.syncset(["connection", "test", "shop"]).await;
    let answer = server.await.expect("the server ends");
    (tested, answer)
}

#[tokio::test]
async fn way_to_log_in_that_is_not_known_is_named() {
    let (tested, _) = asked_for("dialog").await;

    assert_eq!(tested.code, 1, "{}", said(&tested));
    let sentence = "wants to authenticate by `dialog`, which is not supported";
    assert!(said(&tested).contains(sentence), "{}", said(&tested));
}

/// What the server's own plugin takes for the password and these bytes.
#[tokio::test]
async fn users_of_ed25519_sign_what_the_server_sends() {
    let (_, answer) = asked_for("client_ed25519").await;

    let digits: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = "4611b57f3b75712be99ea321583d9360d6ae1a94b9c8b25e45d0646b65b229bf\
                     cfdddd85e1ebbadcbf2bc2eb5fd6a110ba57a62baeff280ef19d82d482367400";
    // A packet of 64 bytes, the fourth of this talk.
    assert!(digits.starts_with("40000003"), "{digits}");
    assert_eq!(&digits[8..], signature);
}

async fn send(link: &mut TcpStream, number: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("packets here are short");
    let mut packet = length.to_le_bytes().to_vec();
    packet[3] = number;
    packet.extend_from_slice(payload);
    // A client that has hung up is what the caller waits for.
    let _ = link.write_all(&packet).await;
}
