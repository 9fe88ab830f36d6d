//! Databases whose encoding is not UTF-8, on either side.

use kit::{Database, Project, compare};

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

/// A database of the shared server in another encoding.
async fn database_in(encoding: &str) -> Database {
    let server = kit::postgres().await;
    let database = server.database("encoding").await;
    let name = database.name();
    server.execute(&format!("DROP DATABASE \"{name}\"")).await;
    server
        .execute(&format!(
            "CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING '{encoding}' \
             LC_COLLATE 'C' LC_CTYPE 'C'"
        ))
        .await;
    database
}

async fn utf8() -> Database {
    kit::postgres().await.database("encoding_utf8").await
}

fn project(source: &Database, target: &Database, table: &str) -> Project {
    let project = Project::between(&source.url(), &target.url());
    let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n  {table}\n");
    project.pipeline("p", &text);
    project
}

const TABLE: &str = "CREATE TABLE t (id text PRIMARY KEY, v text, c char(6), j json, \
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp())";

#[tokio::test]
async fn texts_of_other_encodings_arrive_unchanged() {
    for (encoding, texts) in [
        ("LATIN1", ["Köln", "ÿ£§", "façade"]),
        ("WIN1252", ["€ 5", "„Wien“", "Šimon"]),
        ("EUC_JP", ["東京", "ひらがな", "カタカナ"]),
        ("SQL_ASCII", ["plain", "Köln", "東京"]),
    ] {
        let (source, target) = (database_in(encoding).await, utf8().await);
        source.execute(TABLE).await;
        for text in texts {
            source
                .execute(&format!(
                    "INSERT INTO t (id, v, c, j) VALUES ('{text}', repeat('{text}', 50), \
                     left('{text}', 3), json_build_object('{text}', '{text}'))"
                ))
                .await;
        }
        let tables =
            "public.t: { capture: { mode: cursor, column: updated_at, written_by: database } }";
        let project = project(&source, &target, tables);
        let image = "SELECT id, v, c::text, j, updated_at FROM t";

        project.syncset(RUN).await.expect_success();
        compare(&source, &target, image, image).await.assert_equal();
        let changed = texts[1];
        source
            .execute(&format!(
                "UPDATE t SET v = v || '{changed}', updated_at = clock_timestamp() \
                 WHERE id = '{changed}'; DELETE FROM t WHERE id = '{}'",
                texts[2]
            ))
            .await;
        let second = project.syncset(RUN).await.expect_success().json();
        let whole = ["pipeline", "run", "p", "--full-refresh", "--output", "json"];
        let third = project.syncset(whole).await.expect_success().json();

        compare(&source, &target, image, image).await.assert_equal();
        let counts = |report: &serde_json::Value| {
            let table = &report["tables"][0];
            (
                table["rows_written"].as_u64(),
                table["rows_deleted"].as_u64(),
            )
        };
        assert_eq!(counts(&second), (Some(1), Some(0)), "{encoding}");
        // Keys are compared whatever bytes each side has for them.
        assert_eq!(counts(&third), (Some(0), Some(1)), "{encoding}");
        let another = utf8().await;
        let selected = Project::between(&source.url(), &another.url());
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: \
             {{ where: \"v = '{0}' or id = '{0}'\", capture: full }}\n",
            texts[0]
        );
        selected.pipeline("p", &text);
        let report = selected.syncset(RUN).await.expect_success().json();
        assert_eq!(counts(&report), (Some(1), Some(0)), "{encoding}");
    }
}

#[tokio::test]
async fn condition_with_a_character_that_the_source_lacks_is_a_mistake_of_the_file() {
    let (source, target) = (database_in("LATIN1").await, utf8().await);
    source.execute(TABLE).await;
    let project = project(&source, &target, "public.t: { where: \"v = '東京'\" }");

    for verb in ["plan", "run"] {
        let refused = project.syncset(["pipeline", verb, "p"]).await;

        assert_eq!(refused.code, 2, "{verb}: {}", refused.stderr);
        for part in ["`where` of `public.t`", "encoding cannot hold"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused_by_table_and_column() {
    let (source, target) = (database_in("SQL_ASCII").await, utf8().await);
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, name text); \
             INSERT INTO t VALUES (1, 'good'), (2, E'K\\xf6ln')",
        )
        .await;
    let project = project(&source, &target, "public.t: {}");

    let refused = project.syncset(RUN).await;
    source
        .execute("UPDATE t SET name = 'Köln' WHERE id = 2")
        .await;
    project.syncset(RUN).await.expect_success();

    assert_eq!(refused.code, 1, "{}", refused.stdout);
    let failure = refused.json()["tables"][0]["failure"].to_string();
    for part in ["`name`", "public.t", "UTF-8", "hint"] {
        assert!(failure.contains(part), "{failure}");
    }
    assert!(!failure.contains("ln\""), "a value is shown: {failure}");
    let image = "SELECT id, name FROM t";
    compare(&source, &target, image, image).await.assert_equal();
}

#[tokio::test]
async fn character_that_the_target_lacks_is_a_refused_row() {
    let (source, target) = (utf8().await, database_in("LATIN1").await);
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, name text, \
             updated_at timestamptz NOT NULL DEFAULT clock_timestamp()); \
             INSERT INTO t (id, name) SELECT n, 'Köln' FROM generate_series(1, 100) n; \
             UPDATE t SET name = '東京' WHERE id IN (17, 50)",
        )
        .await;
    let tables = |max: u32| {
        format!(
            "public.t: {{ rejects: {{ max_rows: {max} }}, capture: {{ mode: cursor, \
             column: updated_at, written_by: database }} }}"
        )
    };
    let strict = project(&source, &target, &tables(0));
    let lenient = project(&source, &target, &tables(2));
    let image = "SELECT id, name, updated_at FROM t";

    let refused = strict.syncset(RUN).await;
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    let failure = refused.json()["tables"][0]["failure"].to_string();
    for part in ["17", "encoding"] {
        assert!(failure.contains(part), "{failure}");
    }
    assert_eq!(target.value("SELECT count(*) FROM t").await, "0");

    let report = lenient.syncset(RUN).await.expect_success().json();
    assert_eq!(report["tables"][0]["rows_rejected"], 2, "{report}");
    assert_eq!(target.value("SELECT count(*) FROM t").await, "98");

    source
        .execute("UPDATE t SET name = 'Tokio', updated_at = clock_timestamp() WHERE id = 17")
        .await;
    lenient.syncset(RUN).await.expect_success();
    let rejected = "SELECT key->>0 FROM _syncset.rejected";
    assert_eq!(target.value(rejected).await, "50");
    source
        .execute("UPDATE t SET name = 'Kyoto', updated_at = clock_timestamp() WHERE id = 50")
        .await;
    lenient.syncset(RUN).await.expect_success();
    compare(&source, &target, image, image).await.assert_equal();
}
