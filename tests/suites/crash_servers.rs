//! A server of MySQL or MariaDB ends the sessions of a run, or ends itself, while rows are read and
//! written. At the end, every write of the ledger is at the target exactly once.
//!
//! `SYNCSET_CRASH_KILLS` says how many sessions are ended over all tests of this suite that choose
//! their moment at random.

use crate::crash_lab::{CURSOR, Lab, RUN, from_postgres, mariadb, mysql, wide};
use crate::mysql_lab::{FLAVOURS, MysqlLab, alone, said};
use crate::mysql_windows::{NARROW, STAMPED, assert_equal, grows_old};
use crate::targets::Target;
use kit::mysql::rows_of;
use kit::{Flavour, MysqlDatabase, MysqlServer};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::Rng;
use std::time::Duration;

/// Sessions that each test ends at random moments, unless the environment says otherwise.
const KILLS_DEFAULT: u32 = 6;

/// Tests that share the kills of the environment.
const RANDOM_TESTS: u32 = 4;

/// Sessions of one run that are ended: a unit is tried six times.
const KILLS_PER_RUN: u32 = 3;

/// Longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_millis(120);

/// Runs between two comparisons of everything.
const RUNS_COMPARED: u32 = 3;

/// The server's way of saying that there is no such session any more.
const NO_SUCH_SESSION: u16 = 1094;

fn kills_wanted() -> u32 {
    let Ok(all) = std::env::var("SYNCSET_CRASH_KILLS") else {
        return KILLS_DEFAULT;
    };
    let all: u32 = all.parse().expect("SYNCSET_CRASH_KILLS is a number");
    all.div_ceil(RANDOM_TESTS)
}

/// An administrator who ends sessions of runs.
struct Killer {
    session: Conn,
    /// Which sessions of the database it ends.
    condition: String,
    list: &'static str,
    /// What it has ended: a session stays listed until it has noticed.
    ended: Vec<String>,
}

impl Killer {
    async fn new(database: &MysqlDatabase, condition: &str) -> Self {
        Self {
            session: database.connect().await,
            condition: condition.to_owned(),
            list: database.flavour().processlist(),
            ended: vec!["0".to_owned()],
        }
    }

    /// Ends one of them; false if there is none.
    async fn end_one(&mut self) -> bool {
        let sql = format!(
            "SELECT ID FROM {} WHERE ID <> CONNECTION_ID() AND ID NOT IN ({}) \
             AND DB = DATABASE() AND {} ORDER BY RAND() LIMIT 1",
            self.list,
            self.ended.join(", "),
            self.condition
        );
        let rows = rows_of(&mut self.session, &sql).await;
        let Some(id) = rows.first().and_then(|row| row[0].clone()) else {
            return false;
        };
        let killed = self.session.query_drop(format!("KILL {id}")).await;
        self.ended.push(id);
        match killed {
            Ok(()) => true,
            Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_SESSION => false,
            Err(error) => panic!("an administrator may end any session: {error}"),
        }
    }
}

fn of_mysql(target: &Target) -> &MysqlDatabase {
    let Target::Mysql(database) = target else {
        panic!("it is a database of MySQL or MariaDB");
    };
    database
}

async fn sessions_are_ended_at_random(mut lab: Lab, mut killer: Killer) {
    let mut load = lab.create(wide()).await;
    while lab.kills < kills_wanted() {
        let running = load.start();
        for _ in 0..RUNS_COMPARED {
            let mut run = lab.project.spawn(RUN);
            let mut ended = 0;
            loop {
                let pause = PAUSE_MAX.mul_f64(rand::rng().random_range(0.0..1.0));
                if run.ends_within(pause).await {
                    break;
                }
                ended += u32::from(ended < KILLS_PER_RUN && killer.end_one().await);
            }
            lab.kills += ended;
            let output = run.wait().await;
            assert!([0, 9].contains(&output.code), "{}", said(&output));
        }
        load = lab.compare(running).await;
    }
    lab.publish("ended sessions", load.ledger().commit_count);
}

async fn sessions_of_a_target_are_ended(target: Target) {
    let killer = Killer::new(of_mysql(&target), "TRUE").await;
    let lab = Lab::new(from_postgres().await, target, CURSOR);
    sessions_are_ended_at_random(lab, killer).await;
}

async fn sessions_of_a_source_are_ended(source: Target, target: Target) {
    let mut grants = vec!["SELECT ON {database}.*", "PROCESS ON *.*"];
    if of_mysql(&source).flavour() == Flavour::Mysql {
        grants.push("XA_RECOVER_ADMIN ON *.*");
    }
    // The writers of the load must live.
    let reader = of_mysql(&source).user("r", &grants).await;
    let condition = format!("USER = 'r_{}'", reader.name());
    let killer = Killer::new(of_mysql(&source), &condition).await;
    let lab = Lab::reading(source, reader.url(), target, CURSOR);
    sessions_are_ended_at_random(lab, killer).await;
}

#[tokio::test]
async fn sessions_that_mysql_ends_lose_nothing_there() {
    sessions_of_a_target_are_ended(mysql().await).await;
}

#[tokio::test]
async fn sessions_that_mariadb_ends_lose_nothing_there() {
    sessions_of_a_target_are_ended(mariadb().await).await;
}

#[tokio::test]
async fn readers_that_mysql_ends_lose_nothing() {
    sessions_of_a_source_are_ended(mysql().await, Target::postgres().await).await;
}

#[tokio::test]
async fn readers_that_mariadb_ends_lose_nothing() {
    sessions_of_a_source_are_ended(mariadb().await, Target::sqlite()).await;
}

/// Makes each commit wait for others, so that a session can be ended in the middle of it.
fn slow_commits(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Mysql => "SET GLOBAL binlog_group_commit_sync_delay = 300000",
        Flavour::Mariadb => {
            "SET GLOBAL binlog_commit_wait_usec = 300000; SET GLOBAL binlog_commit_wait_count = 1000"
        }
    }
}

fn usual_commits(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Mysql => "SET GLOBAL binlog_group_commit_sync_delay = 0",
        Flavour::Mariadb => "SET GLOBAL binlog_commit_wait_count = 0",
    }
}

#[tokio::test]
async fn commit_that_goes_on_without_its_session_is_waited_for() {
    const COMMITS_CUT: u32 = 3;
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        let target = Target::Mysql(server.create_database("cut").await);
        let mut killer = Killer::new(of_mysql(&target), "INFO = 'COMMIT'").await;
        let lab = Lab::new(from_postgres().await, target, CURSOR);
        let load = lab.create(wide()).await;
        // What commits from here on are units.
        let stop = [("SYNCSET_FAIL_POINT", "load.begun=stop")];
        let mut run = lab.project.spawn_with(RUN, &stop);
        assert!(run.frozen().await, "{}", run.stderr_so_far());
        server.execute(slow_commits(flavour)).await;
        run.cont();

        let mut cut = 0;
        while cut < COMMITS_CUT && !run.ends_within(Duration::from_millis(10)).await {
            cut += u32::from(killer.end_one().await);
        }
        server.execute(usual_commits(flavour)).await;
        let output = run.wait().await;

        assert_eq!(cut, COMMITS_CUT, "{flavour:?}: {}", said(&output));
        output.expect_success();
        load.ledger()
            .assert_at(lab.source.place(), lab.target.place())
            .await;
    }
}

/// Makes a server keep what it has committed through a crash, until it is started again.
async fn keep_through_a_crash(server: &MysqlServer) {
    let durable = "SET GLOBAL innodb_flush_log_at_trx_commit = 1; SET GLOBAL sync_binlog = 1";
    server.execute(durable).await;
}

#[tokio::test]
async fn target_that_crashes_before_a_commit_gets_every_row() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        keep_through_a_crash(&server).await;
        let target = Target::Mysql(server.create_database("crashes").await);
        let lab = Lab::new(from_postgres().await, target, CURSOR);
        let load = lab.create(wide()).await.start();
        let stop = [("SYNCSET_FAIL_POINT", "unit.before_commit:2=stop")];
        let run = lab.project.spawn_with(RUN, &stop);
        assert!(run.frozen().await, "{}", run.stderr_so_far());

        server.crash();
        server.start();
        run.cont();
        let output = run.wait().await;

        assert!([0, 9].contains(&output.code), "{}", said(&output));
        lab.compare(load).await;
    }
}

#[tokio::test]
async fn source_that_crashes_while_it_is_read_loses_no_row() {
    for (flavour, target) in [
        (Flavour::Mysql, Target::sqlite()),
        (Flavour::Mariadb, Target::postgres().await),
    ] {
        let server = alone(flavour).await;
        keep_through_a_crash(&server).await;
        let source = Target::Mysql(server.create_database("crashes").await);
        let lab = Lab::new(source, target, CURSOR);
        let load = lab.create(wide()).await;
        let stop = [("SYNCSET_FAIL_POINT", "chunk.batch:2=stop")];
        let run = lab.project.spawn_with(RUN, &stop);
        assert!(run.frozen().await, "{}", run.stderr_so_far());

        server.crash();
        server.start();
        let load = load.start();
        run.cont();
        let output = run.wait().await;

        assert!([0, 9].contains(&output.code), "{}", said(&output));
        lab.compare(load).await;
    }
}

/// A source that nobody else uses, with one row, and a window that starts next to its bound.
async fn narrow_lab(server: &MysqlServer, target: Target) -> MysqlLab {
    let source = server.create_database("restarted").await;
    let setup = format!("{STAMPED}; INSERT INTO t (id, v) VALUES (1, 'early')");
    let lab = MysqlLab::of(source, target, &setup).await;
    lab.pipeline(&format!("  t: {{ columns: [id, v], capture: {NARROW} }}"));
    lab
}

/// After a restart the list of transactions says that they began with the server.
#[tokio::test]
async fn transaction_prepared_before_a_crash_holds_the_windows_after_it() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        keep_through_a_crash(&server).await;
        let lab = narrow_lab(&server, Target::sqlite()).await;
        lab.run().await.expect_success();
        let mut writer = lab.source.connect().await;
        for sql in [
            "XA START 'job'",
            "INSERT INTO t (id, v) VALUES (2, 'late')",
            "XA END 'job'",
            "XA PREPARE 'job'",
        ] {
            writer.query_drop(sql).await.expect("it is prepared");
        }
        let stamp = lab.source.value("SELECT NOW(6)").await;

        server.crash();
        server.start();
        grows_old(&lab.source, &stamp).await;
        let held = lab.run().await.expect_success();
        lab.source.execute("XA COMMIT 'job'").await;
        lab.run().await.expect_success();

        assert!(said(&held).contains("job"), "{flavour:?}: {}", said(&held));
        assert_equal(&lab).await;
    }
}

/// Servers count their sessions from the beginning when they start.
#[tokio::test]
async fn session_with_the_number_of_a_lost_one_of_ours_holds_the_bound() {
    for flavour in FLAVOURS {
        let server = alone(flavour).await;
        keep_through_a_crash(&server).await;
        let lab = narrow_lab(&server, Target::sqlite()).await;
        let stop = [("SYNCSET_FAIL_POINT", "load.begun=stop")];
        let run = lab.project.spawn_with(RUN, &stop);
        assert!(run.frozen().await, "{}", run.stderr_so_far());
        let list = flavour.processlist();
        let ours = format!(
            "SELECT MAX(ID) FROM {list} WHERE DB = '{}' AND ID <> CONNECTION_ID()",
            lab.source.name()
        );
        let ours = lab.source.value(&ours).await;
        let ours: u32 = ours.parse().expect("the run has a session");

        server.crash();
        server.start();
        let mut writer = lab.source.connect().await;
        while writer.id() < ours {
            writer = lab.source.connect().await;
        }
        assert_eq!(writer.id(), ours, "{flavour:?}: it is the run's number");
        for sql in ["BEGIN", "INSERT INTO t (id, v) VALUES (2, 'late')"] {
            writer.query_drop(sql).await.expect("nobody is in its way");
        }
        let stamp = lab.source.value("SELECT NOW(6)").await;
        grows_old(&lab.source, &stamp).await;
        run.cont();
        run.wait().await.expect_success();
        writer.query_drop("COMMIT").await.expect("it commits");
        lab.run().await.expect_success();

        assert_equal(&lab).await;
    }
}
