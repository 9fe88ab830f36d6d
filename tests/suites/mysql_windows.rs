//! Windows of changes of MySQL and MariaDB: nothing that commits late is lost.

use crate::mysql_lab::{FLAVOURS, MysqlLab, alone, count, said};
use crate::mysql_loads::{RUN, wide_table};
use crate::targets::Target;
use kit::{Comparison, Flavour, MysqlDatabase, MysqlServer, eventually};
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::JoinHandle;

/// A table whose every change is stamped by the server.
pub(crate) const STAMPED: &str = "CREATE TABLE t (id int PRIMARY KEY, v varchar(99),
    updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    KEY (updated_at))";

/// A window that starts next to its bound: what the bound leaves out is lost.
pub(crate) const NARROW: &str =
    "{ mode: cursor, column: updated_at, written_by: database, overlap: 1s }";

const PLAIN: &str = "{ mode: cursor, column: updated_at, written_by: database }";

async fn lab(flavour: Flavour, setup: &str, capture: &str) -> MysqlLab {
    let lab = MysqlLab::postgres(flavour, setup).await;
    lab.pipeline(&format!("  t: {{ columns: [id, v], capture: {capture} }}"));
    lab
}

/// Waits until a stamp of the server is too old for a window that starts next to the clock.
pub(crate) async fn grows_old(source: &MysqlDatabase, stamp: &str) {
    eventually("the stamp is old", async || {
        let age = format!("SELECT TIMESTAMPDIFF(SECOND, '{stamp}', NOW(6)) >= 5");
        source.value(&age).await == "1"
    })
    .await;
}

/// Waits until a statement of this beginning waits for a table that another session has locked.
pub(crate) async fn waits_for_a_table(database: &MysqlDatabase, statement: &str) {
    let list = database.flavour().processlist();
    let sql = format!(
        "SELECT COUNT(*) FROM {list} WHERE DB = DATABASE() AND INFO LIKE '{statement}%' \
         AND STATE LIKE 'Waiting for table%'"
    );
    eventually("a session waits for a table", async || {
        database.value(&sql).await != "0"
    })
    .await;
}

pub(crate) async fn assert_equal(lab: &MysqlLab) {
    let rows = "SELECT id, v FROM t";
    let source = lab.source.rows(rows).await;
    let comparison = Comparison::of(source, lab.at_target(rows).await, 1);
    assert!(comparison.is_equal(), "{comparison}");
}

#[tokio::test]
async fn row_of_an_open_transaction_is_found_when_it_commits() {
    for flavour in FLAVOURS {
        let setup = format!("{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'early')");
        let lab = lab(flavour, &setup, NARROW).await;
        lab.run().await.expect_success();
        let mut writer = lab.source.connect().await;
        writer
            .query_drop("START TRANSACTION")
            .await
            .expect("a transaction begins");
        writer
            .query_drop("INSERT INTO t (id, v) VALUES (2, 'late')")
            .await
            .expect("a row is inserted");
        let stamp: Option<String> = writer
            .query_first("SELECT CAST(updated_at AS CHAR) FROM t WHERE id = 2")
            .await
            .expect("the writer sees its row");
        grows_old(&lab.source, &stamp.expect("there is a row")).await;
        lab.source
            .execute("INSERT INTO t (id, v) VALUES (3, 'meanwhile')")
            .await;

        lab.run().await.expect_success();
        assert_eq!(lab.value("SELECT count(*) FROM t WHERE id = 2").await, "0");
        writer.query_drop("COMMIT").await.expect("it commits");
        lab.run().await.expect_success();

        assert_equal(&lab).await;
    }
}

#[tokio::test]
async fn row_of_a_statement_that_waits_before_it_writes_is_found() {
    for flavour in FLAVOURS {
        let setup = format!(
            "{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'early');
             CREATE TABLE held (v varchar(9)); INSERT INTO held VALUES ('late')"
        );
        let lab = lab(flavour, &setup, NARROW).await;
        lab.run().await.expect_success();
        let mut holder = lab.source.connect().await;
        holder
            .query_drop("LOCK TABLES held WRITE")
            .await
            .expect("nobody else has the table");
        let mut writer = lab.source.connect().await;
        let began = lab.source.value("SELECT NOW(6)").await;
        // It has its time already, and no transaction yet.
        let insert = "INSERT INTO t (id, v) SELECT 2, v FROM held";
        let writing = tokio::spawn(async move { writer.query_drop(insert).await });
        grows_old(&lab.source, &began).await;

        lab.run().await.expect_success();
        holder
            .query_drop("UNLOCK TABLES")
            .await
            .expect("the lock is ours");
        writing
            .await
            .expect("the writer does not panic")
            .expect("the row is inserted");
        lab.run().await.expect_success();

        assert_equal(&lab).await;
    }
}

#[tokio::test]
async fn overlap_is_ten_minutes_unless_another_is_set() {
    for flavour in FLAVOURS {
        let lab = lab(flavour, STAMPED, PLAIN).await;
        lab.run().await.expect_success();
        // As of a statement that began to wait nine minutes ago, and one eleven.
        for (id, seconds) in [(1, 540), (2, 660)] {
            lab.source
                .execute(&format!(
                    "SET timestamp = UNIX_TIMESTAMP() - {seconds}; INSERT INTO t (id, v) VALUES ({id}, 'x')"
                ))
                .await;
        }

        lab.run().await.expect_success();

        let found = lab.value("SELECT string_agg(id::text, ',') FROM t").await;
        assert_eq!(found, "1", "{flavour:?}");
    }
}

#[tokio::test]
async fn prepared_transaction_stops_a_load_and_holds_a_window() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let source = server.create_database("xa").await;
        let setup = format!("{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'early')");
        let lab = MysqlLab::of(source, Target::postgres().await, &setup).await;
        lab.pipeline(&format!("  t: {{ columns: [id, v], capture: {NARROW} }}"));
        let prepare = |id| {
            format!(
                "XA START 'job{id}'; INSERT INTO t (id, v) VALUES ({id}, 'late'); XA END 'job{id}'; XA PREPARE 'job{id}'"
            )
        };
        let mut writer = lab.source.connect().await;
        for statement in prepare(2).split("; ") {
            writer.query_drop(statement).await.expect("it is prepared");
        }

        let refused = lab.run().await.expect_code(9);
        assert!(said(&refused).contains("job2"), "{}", said(&refused));
        writer
            .query_drop("XA COMMIT 'job2'")
            .await
            .expect("it commits");
        lab.run().await.expect_success();

        for statement in prepare(3).split("; ") {
            writer.query_drop(statement).await.expect("it is prepared");
        }
        let stamp = lab.source.value("SELECT NOW(6)").await;
        grows_old(&lab.source, &stamp).await;
        lab.run().await.expect_success();
        writer
            .query_drop("XA COMMIT 'job3'")
            .await
            .expect("it commits");
        lab.run().await.expect_success();
        assert_equal(&lab).await;
    }
}

/// Somebody who reads the list of transactions without a pause.
pub(crate) struct Monitor {
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
}

impl Monitor {
    /// Returns once the list is the one that it will go on reading.
    pub(crate) async fn start(source: &MysqlDatabase) -> Self {
        const READERS: usize = 3;
        const READINGS: u64 = 30;
        let stop = Arc::new(AtomicBool::new(false));
        let readings = Arc::new(AtomicU64::new(0));
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let mut session = source.connect().await;
            let (stop, readings) = (Arc::clone(&stop), Arc::clone(&readings));
            readers.push(tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    session
                        .query_drop("SELECT COUNT(*) FROM information_schema.INNODB_TRX")
                        .await
                        .expect("the list can be read");
                    readings.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        eventually("the monitor reads", async || {
            readings.load(Ordering::SeqCst) >= READINGS
        })
        .await;
        Self { stop, readers }
    }

    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for reader in self.readers {
            reader.await.expect("the monitor does not panic");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_that_a_monitor_hides_is_found_when_it_commits() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let source = server.create_database("monitored").await;
        let setup = format!("{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'early')");
        let lab = MysqlLab::of(source, Target::postgres().await, &setup).await;
        lab.pipeline(&format!("  t: {{ columns: [id, v], capture: {NARROW} }}"));
        lab.run().await.expect_success();
        let monitor = Monitor::start(&lab.source).await;
        let mut writer = lab.source.connect().await;
        for sql in ["BEGIN", "INSERT INTO t (id, v) VALUES (2, 'late')"] {
            writer.query_drop(sql).await.expect("nobody is in its way");
        }
        let stamp = lab.source.value("SELECT NOW(6)").await;
        grows_old(&lab.source, &stamp).await;

        lab.run().await.expect_success();
        writer.query_drop("COMMIT").await.expect("it commits");
        monitor.stop().await;
        lab.run().await.expect_success();

        assert_equal(&lab).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_of_transactions_that_is_not_renewed_is_not_believed() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let source = server.create_database("unbelieved").await;
        source.execute(STAMPED).await;
        let monitor = Monitor::start(&source).await;

        // On a loaded machine the monitor may pause for long enough.
        let mut refused = None;
        eventually("a first load cannot begin", async || {
            let lab = MysqlLab::of(source.clone(), Target::sqlite(), "").await;
            lab.pipeline(&format!("  t: {{ columns: [id, v], capture: {NARROW} }}"));
            let output = lab.run().await;
            let is_refused = output.code != 0;
            refused = is_refused.then_some(output);
            is_refused
        })
        .await;
        monitor.stop().await;

        let refused = refused.expect("it was waited for").expect_code(9);
        let said = said(&refused);
        assert!(said.contains("no fresh list"), "{flavour:?}: {said}");
        assert!(said.contains("information_schema.INNODB_TRX"), "{said}");
    }
}

#[tokio::test]
async fn rows_that_leave_the_selection_are_deleted() {
    for flavour in FLAVOURS {
        for condition in [
            "v <> 'out'",
            "{ source_sql: \"v <> 'out' and lower(v) = v\" }",
        ] {
            let setup =
                format!("{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'in'), (2, 'in'), (3, 'out')");
            let lab = MysqlLab::new(flavour, Target::sqlite(), &setup).await;
            let condition = if condition.starts_with('{') {
                condition.to_owned()
            } else {
                format!("\"{condition}\"")
            };
            lab.pipeline(&format!(
                "  t: {{ columns: [id, v], where: {condition}, capture: {PLAIN} }}"
            ));
            lab.run().await.expect_success();
            lab.source
                .execute("UPDATE t SET v = 'out' WHERE id = 1; UPDATE t SET v = 'in' WHERE id = 3")
                .await;

            let table = lab.synced().await;

            let ids = lab
                .value("SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)")
                .await;
            assert_eq!(ids, "2,3", "{flavour:?} {condition}");
            assert_eq!(count(&table, "rows_deleted"), 1, "{table}");
        }
    }
}

#[tokio::test]
async fn cut_window_goes_on_behind_its_last_row() {
    for flavour in FLAVOURS {
        let lab = lab(flavour, &wide_table(), NARROW).await;
        lab.project.syncset(RUN).await.expect_success();
        // Many rows of one stamp: only their keys tell where the window was cut.
        lab.source.execute("UPDATE t SET v = concat(v, '.')").await;
        let stamp = lab.source.value("SELECT max(updated_at) FROM t").await;
        // No later window reads them again.
        grows_old(&lab.source, &stamp).await;
        let variables = [("SYNCSET_FAIL_POINT", "window.unit_committed=exit9")];
        let killed = lab.project.spawn_with(RUN, &variables).wait().await;
        assert_eq!(killed.code, 137, "the window was never cut");

        lab.source
            .execute("UPDATE t SET v = 'newer' WHERE id < 10")
            .await;
        lab.project.syncset(RUN).await.expect_success();

        assert_equal(&lab).await;
    }
}

#[tokio::test]
async fn integer_cursors_bring_new_rows() {
    for flavour in FLAVOURS {
        let lab = lab(
            flavour,
            "CREATE TABLE t (id bigint unsigned PRIMARY KEY, v varchar(9)); INSERT INTO t VALUES (1, 'a')",
            "{ mode: cursor, column: id }",
        )
        .await;
        lab.run().await.expect_success();
        lab.source
            .execute("INSERT INTO t VALUES (2, 'b'), (1000, 'c')")
            .await;

        let table = lab.synced().await;

        assert_eq!(count(&table, "rows_written"), 2, "{table}");
        assert_equal(&lab).await;
    }
}

#[tokio::test]
async fn altered_or_truncated_table_is_read_again() {
    for flavour in FLAVOURS {
        let setup = format!("{STAMPED}; INSERT INTO t (id, v) VALUES (1, '1'), (2, '2')");
        for change in [
            // Values differ, stamps do not.
            "ALTER TABLE t DROP COLUMN v, ADD COLUMN v varchar(99) DEFAULT 'new'",
            "TRUNCATE TABLE t",
        ] {
            let lab = lab(flavour, &setup, PLAIN).await;
            lab.project.file(
                "pipelines/p.yaml",
                &format!(
                    "version: 1\nsource: source\ntarget: target\nguards: {{ max_delete_percent: 100, empty_source: allow }}\ntables:\n  t: {{ columns: [id, v], capture: {PLAIN} }}\n"
                ),
            );
            lab.run().await.expect_success();
            // The server tells in whole seconds when a table was altered.
            let stamp = lab.source.value("SELECT NOW(6)").await;
            grows_old(&lab.source, &stamp).await;
            lab.source.execute(change).await;

            lab.run().await.expect_success();

            assert_equal(&lab).await;
        }
    }
}

#[tokio::test]
async fn rows_without_a_cursor_are_read_only_if_asked_for() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, v varchar(9), n int);
        INSERT INTO t VALUES (1, 'a', 5), (2, 'b', NULL)";
    for flavour in FLAVOURS {
        for (null_cursor, ids) in [("read", "1,2"), ("ignore", "1")] {
            let capture = format!("{{ mode: cursor, column: n, null_cursor: {null_cursor} }}");
            let lab = lab(flavour, setup, &capture).await;
            lab.run().await.expect_success();
            lab.source
                .execute("UPDATE t SET v = 'new' WHERE id = 2")
                .await;

            lab.run().await.expect_success();

            let found = lab
                .value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t")
                .await;
            assert_eq!(found, ids, "{flavour:?} {null_cursor}");
            if null_cursor == "read" {
                assert_equal(&lab).await;
            }
        }
    }
}

#[tokio::test]
async fn captures_that_would_lose_rows_are_refused() {
    let cases = [
        (
            "CREATE TABLE t (id int PRIMARY KEY, v int, updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
            "{ mode: cursor, column: updated_at, written_by: database, zone: UTC }",
            "time zone of its own",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, v int, updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            PLAIN,
            "no ON UPDATE CURRENT_TIMESTAMP",
        ),
        (
            "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v int,
               updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
               CONSTRAINT fk FOREIGN KEY (v) REFERENCES p (id) ON DELETE SET NULL)",
            PLAIN,
            "moves no stamp",
        ),
    ];
    for flavour in FLAVOURS {
        for (setup, capture, word) in &cases {
            let lab = lab(flavour, setup, capture).await;

            let refused = lab.run().await.expect_code(2);

            assert!(
                said(&refused).contains(word),
                "{flavour:?}: {}",
                said(&refused)
            );
        }
    }
}

#[tokio::test]
async fn window_without_a_view_of_transactions_needs_an_overlap() {
    for flavour in FLAVOURS {
        let source = MysqlServer::shared(flavour).database("blind").await;
        source
            .execute(&format!("{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'x')"))
            .await;
        let reader = source.user("b", &["SELECT ON {database}.*"]).await;
        let lab = MysqlLab::of(reader, Target::sqlite(), "").await;

        lab.pipeline(&format!("  t: {{ capture: {PLAIN} }}"));
        let refused = lab.run().await.expect_code(1);
        assert!(
            said(&refused).contains("GRANT PROCESS"),
            "{}",
            said(&refused)
        );

        lab.pipeline(&format!("  t: {{ capture: {NARROW} }}"));
        lab.run().await.expect_success();
        assert_eq!(lab.value("SELECT count(*) FROM t").await, "1");

        // MariaDB shows prepared transactions to everybody.
        let grants = ["SELECT ON {database}.*", "PROCESS ON *.*"];
        let reader = source.user("p", &grants).await;
        let lab = MysqlLab::of(reader, Target::sqlite(), "").await;
        lab.pipeline(&format!("  t: {{ capture: {PLAIN} }}"));
        let output = lab.run().await;
        match flavour {
            Flavour::Mysql => {
                let said = said(&output.expect_code(1));
                assert!(said.contains("GRANT XA_RECOVER_ADMIN"), "{said}");
            }
            Flavour::Mariadb => drop(output.expect_success()),
        }
    }
}

#[tokio::test]
async fn plan_and_doctor_say_what_a_cursor_relies_on() {
    for flavour in FLAVOURS {
        let lab = lab(flavour, STAMPED, PLAIN).await;

        let plan = lab
            .project
            .syncset(["pipeline", "plan", "p"])
            .await
            .expect_success();
        let doctor = lab.project.syncset(["doctor", "p"]).await;

        let (plan, doctor) = (said(&plan), said(&doctor));
        assert!(plan.contains("waits longer than 600 s"), "{plan}");
        assert!(doctor.contains("all transactions can be seen"), "{doctor}");
    }
}
