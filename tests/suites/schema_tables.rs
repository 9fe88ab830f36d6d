//! Tables of the source that are dropped, renamed, made anew or new: no row vanishes without a word,
//! and no other table waits.

use crate::schema_lab::Lab;
use kit::Engine;

const ROWS: &str = "SELECT id, name, rev FROM t ORDER BY id";

const MORE: &str = "INSERT INTO u SELECT max(id) + 1, 'more', max(rev) + 1 FROM u";

impl Lab {
    async fn u_went_on(&self) {
        let (source, target) = self.rows_of("SELECT count(*) FROM u").await;
        assert_eq!(source, target);
    }

    fn edit_tables(&self, tables: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n\
             defaults: {{ capture: {{ mode: cursor, column: rev, overlap: 1000 }} }}\n\
             tables:\n{tables}"
        );
        self.project.pipeline("p", &text);
    }
}

#[tokio::test]
async fn dropped_table_stops_alone_and_its_target_stays() {
    for pair in [
        (Engine::Postgres, Engine::Sqlite),
        (Engine::Mysql, Engine::Postgres),
        (Engine::Sqlite, Engine::Mariadb),
    ] {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source("CREATE TABLE kept AS SELECT * FROM t").await;
        lab.at_source("DROP TABLE t").await;
        lab.at_source(MORE).await;
        let said = Lab::said(&lab.run().await.expect_code(5));
        let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;

        let why = format!(
            "table `{}`: the source has no such table any more (pipelines/p.yaml:6:3)",
            lab.stream()
        );
        assert!(said.contains(&why), "{pair:?}: {said}");
        let planned = Lab::said(&plan.expect_code(5));
        assert!(planned.contains(&why), "{pair:?}: {planned}");
        lab.u_went_on().await;
        assert_eq!(lab.number("SELECT count(*) FROM t").await, 100);

        // It comes back as another table, with other values and one row less.
        lab.at_source(
            "CREATE TABLE t (id int PRIMARY KEY, rev bigint NOT NULL, name varchar(50) NOT NULL)",
        )
        .await;
        lab.at_source(
            "INSERT INTO t (id, name, rev) SELECT id, 'again', rev FROM kept WHERE id < 100",
        )
        .await;
        lab.run().await.expect_success();
        lab.assert_same(ROWS, 99).await;
        lab.is_quiet().await;
    }
}

#[tokio::test]
async fn renamed_table_is_known_by_its_number_and_goes_on_at_its_target() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Mysql), "").await;

    lab.at_source("ALTER TABLE t RENAME TO people").await;
    lab.at_source(MORE).await;
    let said = Lab::said(&lab.run().await.expect_code(5));

    assert!(
        said.contains("the source renamed it to `public.people`"),
        "{said}"
    );
    assert!(
        said.contains("write `public.people: { to: \"t\" }`"),
        "{said}"
    );
    lab.u_went_on().await;
    lab.at_source(
        "UPDATE people SET name = 'new', rev = 2001 WHERE id = 1; DELETE FROM people WHERE id = 2",
    )
    .await;
    lab.edit_tables("  public.people: { to: \"t\" }\n  u: {}\n");
    lab.run().await.expect_success();
    lab.is_quiet().await;
    let source = lab
        .source
        .place()
        .rows("SELECT id, name, rev FROM people ORDER BY id")
        .await;
    assert_eq!(lab.target.place().rows(ROWS).await, source);
}

#[tokio::test]
async fn glob_brings_new_tables_and_tells_of_those_that_left() {
    for pair in [
        (Engine::Postgres, Engine::Postgres),
        (Engine::Sqlite, Engine::Sqlite),
    ] {
        let lab = Lab::loaded(pair, "").await;
        lab.edit_tables("  \"*\": {}\n");
        lab.run().await.expect_success();

        lab.at_source("CREATE TABLE v (id int PRIMARY KEY, rev bigint NOT NULL)")
            .await;
        lab.at_source("INSERT INTO v VALUES (1, 1), (2, 2)").await;
        lab.at_source("ALTER TABLE t RENAME TO w").await;
        let said = Lab::said(&lab.run().await.expect_success());

        assert!(
            said.contains("is not in the pipeline any more"),
            "{pair:?}: {said}"
        );
        assert_eq!(lab.number("SELECT count(*) FROM t").await, 100);
        lab.assert_same("SELECT id, name, rev FROM w ORDER BY id", 100)
            .await;
        lab.assert_same("SELECT id, rev FROM v ORDER BY id", 2)
            .await;
    }
}
