//! Types that the source's owner made, composites and domains, become others between two runs: their
//! table stops and says so, and what has to be done at the target; no value is taken for another.

use crate::schema_lab::Lab;
use kit::{Engine, Output};

impl Lab {
    /// `t` with one more column, loaded.
    async fn with_typed(target: Engine, create: &str, column: &str) -> Self {
        let lab = Self::loaded((Engine::Postgres, target), "").await;
        lab.at_source(create).await;
        lab.at_source(&format!("ALTER TABLE t ADD COLUMN {column}"))
            .await;
        lab.run().await.expect_success();
        lab
    }

    async fn agree(&self) -> Output {
        let words = ["schema", "approve", "p", "--on-lock", "wait=30s"];
        self.project.syncset(words).await
    }

    /// The run says this of `t`, leaves it alone, and goes on with the other table.
    async fn stops_with(&self, words: &[&str]) {
        self.at_source("INSERT INTO u SELECT max(id) + 1, 'more', max(rev) + 1 FROM u")
            .await;
        let said = Self::said(&self.run().await.expect_code(5));
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        let (source, target) = self.rows_of("SELECT count(*) FROM u").await;
        assert_eq!(source, target);
    }
}

const ADDRESS: &str = "CREATE TYPE address AS (street text, town text)";

const ADDRESSES: &str = "SELECT id, a::text FROM t ORDER BY id";

#[tokio::test]
async fn composite_type_with_another_attribute_stops_its_table() {
    let column = "a address DEFAULT ROW('High Street', 'York')";
    let lab = Lab::with_typed(Engine::Postgres, ADDRESS, column).await;
    lab.assert_same(ADDRESSES, 100).await;

    lab.at_source("ALTER TYPE address ADD ATTRIBUTE code text")
        .await;
    lab.at_source("UPDATE t SET a = ROW('Low Street', 'Hull', 'HU1'), rev = 2001 WHERE id = 1")
        .await;
    let mend = "ALTER TYPE public.address ADD ATTRIBUTE \"code\" text";
    lab.stops_with(&["column `a`", "(street text, town text, code text)", mend])
        .await;
    lab.target.execute(mend).await;
    lab.stops_with(&["another type in column `a`", "schema approve p --tables"])
        .await;
    lab.agree().await.expect_success();
    lab.assert_same(ADDRESSES, 100).await;
    lab.is_quiet().await;

    // Values are told apart by their places, so that names matter too.
    lab.at_source("ALTER TYPE address RENAME ATTRIBUTE code TO postcode")
        .await;
    let mend = "ALTER TYPE public.address RENAME ATTRIBUTE \"code\" TO \"postcode\"";
    lab.stops_with(&[mend]).await;
    lab.target.execute(mend).await;
    lab.agree().await.expect_success();

    lab.at_source("ALTER TYPE address DROP ATTRIBUTE town")
        .await;
    let mend = "ALTER TYPE public.address DROP ATTRIBUTE \"town\"";
    lab.stops_with(&[mend]).await;
    lab.target.execute(mend).await;
    lab.agree().await.expect_success();
    lab.assert_same(ADDRESSES, 100).await;
    lab.is_quiet().await;
}

#[tokio::test]
async fn composite_type_that_is_a_text_elsewhere_is_read_again_once_agreed() {
    for (native, default) in [
        ("address", "ROW('High Street', 'York')"),
        ("address[]", "ARRAY[ROW('High Street', 'York')::address]"),
    ] {
        let column = format!("a {native} DEFAULT {default}");
        let lab = Lab::with_typed(Engine::Sqlite, ADDRESS, &column).await;

        lab.at_source("ALTER TYPE address ADD ATTRIBUTE code text")
            .await;
        lab.stops_with(&["another type in column `a`", "code text"])
            .await;
        lab.agree().await.expect_success();
        lab.is_quiet().await;

        let source = lab.source.rows(ADDRESSES).await;
        let target = lab.target.rows("SELECT id, a FROM t ORDER BY id").await;
        assert_eq!(target, source, "{native}");
    }
}

#[tokio::test]
async fn label_with_another_name_stops_its_table_before_a_value_is_lost() {
    let create = "CREATE TYPE mood AS ENUM ('sad', 'ok')";
    let lab = Lab::with_typed(Engine::Postgres, create, "m mood DEFAULT 'sad'").await;
    let sql = "SELECT id, m::text FROM t ORDER BY id";
    lab.assert_same(sql, 100).await;

    lab.at_source("ALTER TYPE mood RENAME VALUE 'sad' TO 'low'")
        .await;
    let mend = "ALTER TYPE public.mood RENAME VALUE 'sad' TO 'low'";
    lab.stops_with(&["column `m`", "(low, ok)", mend]).await;
    lab.agree().await.expect_code(5);
    assert_eq!(
        lab.number("SELECT count(*) FROM t WHERE m = 'sad'").await,
        100
    );

    lab.target.execute(mend).await;
    lab.agree().await.expect_success();
    lab.assert_same(sql, 100).await;
    lab.is_quiet().await;
}

#[tokio::test]
async fn labels_that_an_older_type_lacks_are_added_for_new_columns_and_tables() {
    let create = "CREATE TYPE mood AS ENUM ('sad', 'ok')";
    let lab = Lab::with_typed(Engine::Postgres, create, "m mood DEFAULT 'sad'").await;
    // Nothing at the target follows the type any more.
    lab.at_source("ALTER TABLE t DROP COLUMN m").await;
    lab.run().await.expect_success();

    lab.at_source("ALTER TYPE mood ADD VALUE 'so' BEFORE 'ok'")
        .await;
    lab.at_source("ALTER TABLE u ADD COLUMN feels mood DEFAULT 'so'")
        .await;
    lab.run().await.expect_success();
    lab.assert_same("SELECT id, feels::text FROM u ORDER BY feels, id", 100)
        .await;
    lab.is_quiet().await;

    lab.at_source("ALTER TYPE mood ADD VALUE 'well'").await;
    lab.at_source("CREATE TABLE v (id int PRIMARY KEY, m mood); INSERT INTO v VALUES (1, 'well')")
        .await;
    let text = "version: 1\nsource: source\ntarget: target\ntables:\n  v: {}\n";
    lab.project.pipeline("p", text);
    lab.run().await.expect_success();
    lab.assert_same("SELECT id, m::text FROM v", 1).await;
}

#[tokio::test]
async fn labels_of_a_set_in_another_order_are_another_type() {
    for target in [Engine::Mysql, Engine::Mariadb] {
        let lab = Lab::loaded((Engine::Mysql, target), "").await;
        lab.at_source("ALTER TABLE t ADD COLUMN s set('p','q') DEFAULT 'p,q'")
            .await;
        lab.run().await.expect_success();
        let sql = "SELECT id, s FROM t ORDER BY id";
        lab.assert_same(sql, 100).await;

        lab.at_source("ALTER TABLE t MODIFY s set('q','p')").await;
        lab.stops_with(&["another type in column `s`", "schema approve p --tables"])
            .await;
        assert_eq!(
            lab.number("SELECT count(*) FROM t WHERE s = 'p,q'").await,
            100
        );
        lab.agree().await.expect_success();
        lab.assert_same(sql, 100).await;
        lab.is_quiet().await;
    }
}

#[tokio::test]
async fn domain_over_another_type_stops_its_table() {
    for (target, sql) in [
        (Engine::Postgres, "SELECT id, n FROM t ORDER BY id"),
        (Engine::Mariadb, "SELECT id, n FROM t ORDER BY id"),
    ] {
        let lab = Lab::with_typed(target, "CREATE DOMAIN count_of AS int", "n count_of").await;
        lab.at_source("UPDATE t SET n = id, rev = rev + 1000").await;
        lab.run().await.expect_success();
        lab.assert_same(sql, 100).await;

        lab.at_source(
            "ALTER DOMAIN count_of RENAME TO former; CREATE DOMAIN count_of AS bigint; \
             ALTER TABLE t ALTER n TYPE count_of; \
             UPDATE t SET n = 9876543210, rev = 5001 WHERE id = 1",
        )
        .await;
        if target == Engine::Postgres {
            lab.stops_with(&["column `n`", "stands for integer at the target", "bigint"])
                .await;
            lab.target
                .execute(
                    "ALTER DOMAIN count_of RENAME TO former; CREATE DOMAIN count_of AS bigint; \
                     ALTER TABLE t ALTER n TYPE count_of",
                )
                .await;
        }
        lab.stops_with(&["another type in column `n`", "integer", "bigint"])
            .await;
        lab.agree().await.expect_success();
        lab.assert_same(sql, 100).await;
        lab.is_quiet().await;
    }
}

#[tokio::test]
async fn checks_of_a_domain_are_the_business_of_the_source() {
    let create = "CREATE DOMAIN positive AS int CHECK (VALUE > 0)";
    let lab = Lab::with_typed(Engine::Postgres, create, "n positive DEFAULT 1").await;

    lab.at_source("ALTER DOMAIN positive DROP CONSTRAINT positive_check")
        .await;
    lab.at_source("UPDATE t SET n = -1, rev = 2001 WHERE id = 1")
        .await;
    lab.run().await.expect_success();

    lab.assert_same("SELECT id, n FROM t ORDER BY id", 100)
        .await;
    lab.is_quiet().await;
}
