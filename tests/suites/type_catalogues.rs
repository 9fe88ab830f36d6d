//! `syncset types` knows every type that a column of a server can have.

use kit::{MysqlServer, Project};
use std::collections::BTreeSet;

/// Types of PostgreSQL's catalogue that no table of a user has: rights, statistics, plans, and what
/// only the server's own code reads.
const INTERNAL: [&str; 10] = [
    "aclitem",
    "cid",
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    "refcursor",
];

/// What `syncset types KIND KIND` lists.
async fn listed(kind: &str) -> Vec<String> {
    let project = Project::empty();
    let output = project
        .syncset(["types", kind, kind, "--output", "json"])
        .await
        .expect_success();
    let types = output.json()["types"].clone();
    let types = types.as_array().expect("a list").iter();
    let names = types.map(|row| row["from"].as_str().expect("a name").to_owned());
    names.collect()
}

/// A type without what stands in parentheses.
fn bare(name: &str) -> String {
    let Some((before, rest)) = name.split_once('(') else {
        return name.to_owned();
    };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

#[tokio::test]
async fn every_type_of_postgres_is_listed() {
    let database = kit::postgres().await.database("types").await;
    let rows = database
        .rows(
            "SELECT format_type(oid, NULL) FROM pg_type
             WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')
               AND typcategory <> 'A' ORDER BY 1",
        )
        .await;
    let known: BTreeSet<String> = listed("postgres").await.iter().map(|it| bare(it)).collect();

    let missing: Vec<String> = rows
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .filter(|name| !known.contains(name) && !INTERNAL.contains(&name.as_str()))
        .collect();

    assert!(
        known.contains("integer") && known.contains("text[]"),
        "{known:?}"
    );
    assert!(missing.is_empty(), "add them to the samples: {missing:?}");
}

#[tokio::test]
async fn every_type_that_is_listed_is_one_of_postgres() {
    let database = kit::postgres().await.database("types").await;
    let types = listed("postgres").await;
    let built_in = types.iter().filter(|name| !name.starts_with("public."));
    let columns: Vec<_> = built_in
        .enumerate()
        .map(|(place, name)| format!("c{place} {name}"))
        .collect();

    database
        .execute(&format!("CREATE TABLE t ({})", columns.join(", ")))
        .await;
}

async fn types_are_those_of(server: &'static MysqlServer) {
    let database = server.database("types").await;
    let types = listed(server.flavour().name()).await;
    let columns: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(place, name)| format!("c{place} {name}"))
        .collect();
    // The bases of all types that the servers' manuals list.
    let words = "tinyint smallint mediumint int bigint decimal float double bit year date time \
         datetime timestamp char varchar binary varbinary tinyblob blob mediumblob longblob \
         tinytext text mediumtext longtext enum set json geometry point linestring polygon \
         multipoint multilinestring multipolygon geometrycollection";

    database
        .execute(&format!("CREATE TABLE t ({})", columns.join(", ")))
        .await;

    let has = |word: &str| {
        types
            .iter()
            .any(|name| bare(name).split(' ').next() == Some(word))
    };
    let missing: Vec<_> = words.split_whitespace().filter(|word| !has(word)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn every_type_that_is_listed_is_one_of_mysql() {
    types_are_those_of(kit::mysql()).await;
}

#[tokio::test]
async fn every_type_that_is_listed_is_one_of_mariadb() {
    types_are_those_of(kit::mariadb()).await;
    let types = listed("mariadb").await;
    let plugins = kit::mariadb().database("types").await;
    let rows = plugins
        .rows("SELECT LOWER(PLUGIN_NAME) FROM information_schema.PLUGINS WHERE PLUGIN_TYPE = 'DATA TYPE'")
        .await;

    let missing: Vec<String> = rows
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .filter(|name| !types.contains(name))
        .collect();

    assert!(missing.is_empty(), "add them to the samples: {missing:?}");
}
