//! A replica of MySQL or MariaDB as a source: nobody who writes can be seen there.

use crate::mysql_lab::{FLAVOURS, MysqlLab, alone, said};
use crate::mysql_windows::STAMPED;
use crate::targets::Target;
use kit::{Flavour, MysqlDatabase, MysqlServer, Project, eventually};

/// A server that applies what the primary writes from now on.
async fn replica_of(primary: &MysqlServer, database: &str) -> (MysqlServer, MysqlDatabase) {
    let flavour = primary.flavour();
    let replica = MysqlServer::start_own(flavour, "server_id = 2");
    let copy = replica.create_database(database).await;
    let name = copy.name();
    let original = primary.create_database(database).await;
    primary
        .execute(&format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"))
        .await;
    let (status, change, start) = match flavour {
        Flavour::Mysql => (
            "SHOW BINARY LOG STATUS",
            "CHANGE REPLICATION SOURCE TO SOURCE",
            "START REPLICA",
        ),
        Flavour::Mariadb => (
            "SHOW MASTER STATUS",
            "CHANGE MASTER TO MASTER",
            "START SLAVE",
        ),
    };
    let rows = original.rows(status).await;
    let place = |column: usize| rows[0][column].clone().expect("the log is open");
    let prefix = if flavour == Flavour::Mysql {
        "SOURCE"
    } else {
        "MASTER"
    };
    replica
        .execute(&format!(
            "{change}_HOST = '127.0.0.1', {prefix}_PORT = {}, {prefix}_USER = 'root', \
             {prefix}_LOG_FILE = '{}', {prefix}_LOG_POS = {}; {start}",
            primary.port(),
            place(0),
            place(1)
        ))
        .await;
    (replica, copy)
}

#[tokio::test]
async fn replica_is_followed_with_an_overlap_of_its_own() {
    for flavour in FLAVOURS {
        let primary = alone(flavour).await;
        let (replica, copy) = replica_of(&primary, "replicated").await;
        let write = async |sql: &str| {
            primary
                .execute(&format!("USE `{}`; {sql}", copy.name()))
                .await;
        };
        let arrived = async |rows: &str| {
            eventually("the replica has it", async || {
                let tables = "SELECT COUNT(*) FROM information_schema.TABLES
                    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't'";
                copy.value(tables).await == "1"
                    && copy.value("SELECT COUNT(*) FROM t").await == rows
            })
            .await;
        };
        write(&format!(
            "{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'early')"
        ))
        .await;
        arrived("1").await;
        let lab = MysqlLab::of(copy.clone(), Target::sqlite(), "").await;

        lab.pipeline(
            "  t: { columns: [id, v], capture: { mode: cursor, column: updated_at, written_by: database } }",
        );
        let refused = lab.run().await.expect_code(2);
        assert!(
            said(&refused).contains("on a replica"),
            "{}",
            said(&refused)
        );

        lab.pipeline(
            "  t: { columns: [id, v], capture: { mode: cursor, column: updated_at, written_by: application, overlap: 30s } }",
        );
        lab.run().await.expect_success();
        write("INSERT INTO t (id, v) VALUES (2, 'late')").await;
        arrived("2").await;
        lab.run().await.expect_success();
        let ids = "SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)";
        assert_eq!(lab.value(ids).await, "1,2", "{flavour:?}");

        what_it_lacks_is_no_drift((&*primary, &replica), &copy, &write).await;
    }
}

/// A check of the primary looks at the replica first.
async fn what_it_lacks_is_no_drift(
    (primary, replica): (&MysqlServer, &MysqlServer),
    copy: &MysqlDatabase,
    write: &impl AsyncFn(&str),
) {
    let flavour = primary.flavour();
    let port = |server: &MysqlServer| format!(":{}/", server.port());
    let source = copy.url().replace(&port(replica), &port(primary));
    let project = Project::new(&format!(
        "version: 1\nconnections:\n  source: {{ url: \"{source}\", read_replica: copy }}\n  \
         copy: {{ url: \"{}\" }}\n  target: {{ url: \"sqlite:target.db\" }}\n",
        copy.url()
    ));
    let table = "{ columns: [id, v], capture: full }";
    let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n  t: {table}\n");
    project.pipeline("p", &text);
    let stop = match flavour {
        Flavour::Mysql => "STOP REPLICA",
        Flavour::Mariadb => "STOP SLAVE",
    };
    replica.execute(stop).await;
    write("UPDATE t SET v = 'new' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t (id, v) VALUES (3, 'new')").await;
    let run = ["pipeline", "run", "p"];
    project.syncset(run).await.expect_success();

    let check = ["pipeline", "check", "p"];
    let equal = project.syncset(check).await.expect_success();
    let edit = "UPDATE t SET v = 'other' WHERE id = 3";
    project.sqlite("target.db").execute(edit).await;
    let differs = project.syncset(check).await;

    let told = "compared at the read replica `copy`";
    assert!(equal.stdout.contains(told), "{flavour:?}: {}", equal.stdout);
    assert_eq!(differs.code, 9, "{flavour:?}: {}", differs.stdout);
    assert!(differs.stdout.contains("1 undecided"), "{}", differs.stdout);
}
