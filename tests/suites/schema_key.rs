//! Tables of the source that get another primary key, or lose it: nothing happens to the target until
//! somebody agreed, and then its rows are found by the new one.

use crate::schema_lab::{Lab, all_pairs};
use kit::Engine;

const ROWS: &str = "SELECT id, name, rev FROM t ORDER BY id, rev";

/// PostgreSQL as the source of each kind, and two other sources.
fn pairs() -> impl Iterator<Item = (Engine, Engine)> {
    all_pairs().filter(|(source, target)| match source {
        Engine::Postgres => true,
        Engine::Mysql => *target == Engine::Postgres,
        Engine::Sqlite => *target == Engine::Sqlite,
        Engine::Mariadb => false,
    })
}

impl Lab {
    /// Gives the source's `t` this primary key instead of the one it has; none, if it is empty.
    async fn rekey(&self, key: &str) {
        let sql = match self.source.engine() {
            Engine::Postgres => format!(
                "ALTER TABLE t DROP CONSTRAINT IF EXISTS t_pkey{}",
                added(key, "CONSTRAINT t_pkey PRIMARY KEY")
            ),
            Engine::Mysql | Engine::Mariadb => {
                format!(
                    "ALTER TABLE t DROP PRIMARY KEY{}",
                    added(key, "PRIMARY KEY")
                )
            }
            Engine::Sqlite => format!(
                "CREATE TABLE n (id int NOT NULL, name varchar(50) NOT NULL, \
                 rev bigint NOT NULL, PRIMARY KEY ({key})); \
                 INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t"
            ),
        };
        self.at_source(&sql).await;
    }

    /// A run stops, says this of `t`, and lets `u` go on.
    async fn stops_alone(&self, why: &str) -> String {
        self.at_source("INSERT INTO u SELECT max(id) + 1, 'more', max(rev) + 1 FROM u")
            .await;
        let said = Lab::said(&self.run().await.expect_code(5));
        assert!(said.contains(why), "{why}: {said}");
        let (source, target) = self.rows_of("SELECT count(*) FROM u").await;
        assert_eq!(source, target);
        said
    }
}

fn added(key: &str, what: &str) -> String {
    match key {
        "" => String::new(),
        _ => format!(", ADD {what} ({key})"),
    }
}

#[tokio::test]
async fn rows_are_found_by_the_new_key_once_agreed() {
    for pair in pairs() {
        let lab = Lab::loaded(pair, "").await;
        let stream = lab.stream();

        lab.rekey("rev, id").await;
        let said = lab
            .stops_alone("the source has another primary key: (id) -> (rev, id)")
            .await;
        let hint = format!("syncset schema approve p --tables {stream}");
        assert!(said.contains(&hint), "{pair:?}: {said}");
        let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
        let plan = plan.expect_code(5).stdout;
        assert!(plan.contains("PRIMARY KEY"), "{pair:?}: {plan}");

        lab.killed_at("alter.committed", &["--approve", stream])
            .await;
        lab.run().await.expect_success();
        lab.at_source("INSERT INTO t VALUES (1, 'twice', 2001)")
            .await;
        lab.run().await.expect_success();
        lab.assert_same(ROWS, 101).await;

        lab.rekey("id, rev").await;
        lab.stops_alone("(rev, id) -> (id, rev)").await;
        lab.run_with(&["--approve", stream]).await.expect_success();
        lab.is_quiet().await;
        lab.assert_same(ROWS, 101).await;
    }
}

#[tokio::test]
async fn rows_that_the_new_key_does_not_tell_apart_stay() {
    for target in Engine::ALL.iter() {
        let lab = Lab::loaded((Engine::Postgres, *target), "").await;
        lab.rekey("rev, id").await;
        lab.at_source("INSERT INTO t VALUES (1, 'twice', 2001)")
            .await;
        lab.run_with(&["--approve", "t"]).await.expect_success();

        lab.at_source("DELETE FROM t WHERE name = 'twice'").await;
        lab.rekey("id").await;
        let stopped = lab.run_with(&["--approve", "t"]).await.expect_code(5);

        let said = Lab::said(&stopped);
        let why = "its rows cannot be told apart by the key (id)";
        assert!(said.contains(why), "{target:?}: {said}");
        assert_eq!(lab.number("SELECT count(*) FROM t").await, 101);
        lab.target.execute("DROP TABLE t").await;
        lab.run_with(&["--approve", "t"]).await.expect_success();
        lab.is_quiet().await;
        lab.assert_same(ROWS, 100).await;
    }
}

#[tokio::test]
async fn table_that_lost_its_key_stops_alone() {
    for pair in [
        (Engine::Postgres, Engine::Mysql),
        (Engine::Mysql, Engine::Postgres),
    ] {
        let lab = Lab::loaded(pair, "").await;

        lab.rekey("").await;
        lab.stops_alone("the source has no primary key (id) any more")
            .await;
        let back = match pair.0 {
            Engine::Postgres => "ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (id)",
            _ => "ALTER TABLE t ADD PRIMARY KEY (id)",
        };
        lab.at_source(back).await;
        lab.at_source("UPDATE t SET name = 'new', rev = 2001 WHERE id = 1")
            .await;

        lab.run().await.expect_success();
        lab.assert_same(ROWS, 100).await;
    }
}

#[tokio::test]
async fn table_that_is_read_whole_goes_on_without_a_key() {
    for target in Engine::ALL.iter() {
        let lab = Lab::loaded((Engine::Postgres, *target), "capture: full").await;

        lab.rekey("").await;
        lab.at_source("INSERT INTO t SELECT * FROM t WHERE id < 4")
            .await;
        lab.stops_alone("(id) -> none").await;
        lab.run_with(&["--approve", "t"]).await.expect_success();
        lab.assert_same(ROWS, 103).await;

        lab.at_source("DELETE FROM t WHERE id < 4; INSERT INTO t VALUES (1, 'one', 1)")
            .await;
        lab.rekey("id").await;
        lab.run().await.expect_code(5);
        // The rows that the source has no longer are there until the first run by the new key.
        let run = lab.run_with(&["--approve", "t"]).await.expect_code(5);
        let said = Lab::said(&run);
        assert!(
            said.contains("cannot be told apart by the key (id)"),
            "{target:?}: {said}"
        );
        lab.target.execute("DELETE FROM t WHERE id < 4").await;
        lab.run_with(&["--approve", "t"]).await.expect_success();
        lab.is_quiet().await;
        lab.assert_same(ROWS, 98).await;
    }
}

#[tokio::test]
async fn named_key_that_tells_rows_apart_no_more_stops_its_table() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Sqlite), "").await;
    let unique = "CREATE UNIQUE INDEX by_name ON t (name)";
    lab.at_source(unique).await;
    lab.edit_each("key: [name], to: t2", "");
    lab.run().await.expect_success();

    lab.at_source("DROP INDEX by_name").await;
    lab.stops_alone("nothing makes the key (name) unique at the source any more")
        .await;
    lab.at_source(unique).await;
    lab.at_source("ALTER TABLE t ALTER name DROP NOT NULL")
        .await;
    let said = Lab::said(&lab.run().await.expect_code(5));
    assert!(
        said.contains("the source any more") || said.contains("may hold NULL at the source"),
        "{said}"
    );
    lab.at_source("ALTER TABLE t ALTER name SET NOT NULL").await;
    lab.run().await.expect_success();
    lab.is_quiet().await;
}
