//! Tables without a key: a row is known by its values alone, and equal rows count.

use crate::targets::Target;
use kit::{Database, Output, Place, Project, SqliteFile};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

fn project(source: Place<'_>, target: Place<'_>, tables: &str) -> Project {
    let project = Project::between(&source.url(), &target.url());
    let guards = "guards: { max_delete_percent: 100, empty_source: allow }";
    let text = format!("version: 1\nsource: source\ntarget: target\n{guards}\ntables:\n{tables}");
    project.pipeline("p", &text);
    project
}

async fn run(project: &Project) -> Output {
    project.syncset(RUN).await
}

/// Columns with values that are easily taken for each other, or that have no `=`.
const COLUMNS: [(&str, &[&str]); 16] = [
    (
        "numeric",
        &[
            "NULL",
            "'1'",
            "'1.0'",
            "'1.00'",
            "'NaN'",
            "'-0.5'",
            "'Infinity'",
        ],
    ),
    (
        "text",
        &["NULL", "''", "'a'", "'A'", "'a '", "E'a\\n'", "'ä'"],
    ),
    ("citext", &["NULL", "'x'", "'X'", "''"]),
    ("json", &["NULL", "'{\"a\":1}'", "'{\"a\": 1}'", "'null'"]),
    ("jsonb", &["NULL", "'{\"a\":1}'", "'{\"a\":1.0}'", "'null'"]),
    ("point", &["NULL", "'(0,0)'", "'(-0,0)'", "'(1,NaN)'"]),
    ("xml", &["NULL", "'<a/>'", "'<a></a>'"]),
    (
        "float8",
        &["NULL", "'0'", "'-0'", "'NaN'", "'1e-300'", "'-Infinity'"],
    ),
    (
        "interval",
        &["NULL", "'1 day'", "'24 hours'", "'1 mon'", "'30 days'"],
    ),
    (
        "timestamptz",
        &[
            "NULL",
            "'2024-01-01 00:00Z'",
            "'infinity'",
            "'0044-03-15 BC'",
        ],
    ),
    (
        "int[]",
        &["NULL", "'{}'", "'{1,NULL}'", "'[2:3]={1,2}'", "'{1,2}'"],
    ),
    ("bit(3)", &["NULL", "B'101'", "B'000'"]),
    ("varchar(3)", &["NULL", "''", "'a'", "'a  '"]),
    ("bpchar(3)", &["NULL", "'a'", "'a  '", "''"]),
    ("bytea", &["NULL", "'\\x'", "'\\x00'", "'\\x0000'"]),
    ("box", &["NULL", "'(1,1),(0,0)'", "'(2,1),(0,0)'"]),
];

/// A row of random values; two thirds are the same for all columns, so that many rows are equal.
fn random_row(random: &mut StdRng, columns: &[(&str, &[&str])]) -> String {
    let same = random.random_bool(0.6);
    let number: usize = random.random_range(0..3);
    let values: Vec<&str> = columns
        .iter()
        .map(|(_, pool)| {
            if same {
                pool[number % pool.len()]
            } else {
                pool.choose(random).expect("a pool is never empty")
            }
        })
        .collect();
    format!("({})", values.join(", "))
}

fn random_rows(random: &mut StdRng, columns: &[(&str, &[&str])], count: usize) -> String {
    let rows: Vec<_> = (0..count).map(|_| random_row(random, columns)).collect();
    rows.join(", ")
}

/// What a writer does between two runs.
fn random_change(random: &mut StdRng, columns: &[(&str, &[&str])]) -> String {
    let count = random.random_range(1..20);
    match random.random_range(0..4) {
        0 => format!(
            "INSERT INTO bag VALUES {}",
            random_rows(random, columns, count)
        ),
        1 => format!(
            "DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag ORDER BY random() LIMIT {count})"
        ),
        2 => format!("INSERT INTO bag SELECT * FROM bag ORDER BY random() LIMIT {count}"),
        _ => {
            let index = random.random_range(0..columns.len());
            let value = columns[index]
                .1
                .choose(random)
                .expect("a pool is never empty");
            format!(
                "UPDATE bag SET c{index} = {value} WHERE ctid IN \
                 (SELECT ctid FROM bag ORDER BY random() LIMIT {count})"
            )
        }
    }
}

fn create(columns: &[(&str, &[&str])]) -> String {
    let columns: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, (name, _))| format!("c{index} {name}"))
        .collect();
    format!("CREATE TABLE bag ({})", columns.join(", "))
}

#[tokio::test]
async fn rows_of_every_kind_keep_their_values_and_their_count() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = kit::postgres().await;
    let (source, target) = (
        server.database("bag_source").await,
        server.database("bag_target").await,
    );
    for database in [&source, &target] {
        database.execute("CREATE EXTENSION citext").await;
    }
    source.execute(&create(&COLUMNS)).await;
    let rows = random_rows(&mut random, &COLUMNS, 300);
    source
        .execute(&format!("INSERT INTO bag VALUES {rows}"))
        .await;
    let project = project((&source).into(), (&target).into(), "  public.bag: {}\n");

    for round in 0..6 {
        run(&project).await.expect_success();

        let select = "SELECT bag::text FROM bag";
        kit::assert_same_bag(&source, &target, select, select).await;
        let versions = "SELECT ctid, xmin, xmax FROM bag ORDER BY ctid";
        let before = target.rows(versions).await;
        let again = run(&project).await.expect_success();
        assert_eq!(
            target.rows(versions).await,
            before,
            "round {round}, seed {seed}"
        );
        assert_eq!(again.json()["tables"][0]["outcome"], "unchanged");
        for _ in 0..3 {
            source.execute(&random_change(&mut random, &COLUMNS)).await;
        }
    }
}

/// Columns that both stores have, with values that both show alike.
const PLAIN: [(&str, &[&str]); 4] = [
    ("INTEGER", &["NULL", "0", "1", "-7"]),
    ("TEXT", &["NULL", "''", "'a'", "'A'", "'1'", "'a '"]),
    ("DOUBLE PRECISION", &["NULL", "0.5", "-2.25", "1e3"]),
    ("TEXT", &["NULL", "'é'", "'{}'"]),
];

/// The same statement for SQLite.
fn for_sqlite(statement: &str) -> String {
    statement.replace("ctid", "rowid")
}

async fn change(source: Place<'_>, statement: &str) {
    match source {
        Place::Sqlite(_) => source.execute(&for_sqlite(statement)).await,
        Place::Postgres(_) | Place::Mysql(_) => source.execute(statement).await,
    }
}

async fn follows_between(source: Place<'_>, target: Place<'_>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    source.execute(&create(&PLAIN)).await;
    let rows = random_rows(&mut random, &PLAIN, 200);
    source
        .execute(&format!("INSERT INTO bag VALUES {rows}"))
        .await;
    let name = match source {
        Place::Postgres(_) => "public.bag",
        Place::Mysql(_) | Place::Sqlite(_) => "bag",
    };
    let project = project(source, target, &format!("  {name}: {{ to: bag }}\n"));
    for _ in 0..3 {
        run(&project).await.expect_success();

        let select = "SELECT * FROM bag";
        kit::assert_same_bag(source, target, select, select).await;
        let again = run(&project).await.expect_success();
        assert_eq!(
            again.json()["tables"][0]["outcome"],
            "unchanged",
            "seed {seed}"
        );
        for _ in 0..3 {
            change(source, &random_change(&mut random, &PLAIN)).await;
        }
    }
}

#[tokio::test]
async fn keyless_rows_keep_their_count_between_all_stores() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (number, from_sqlite) in [false, true, true].into_iter().enumerate() {
        let database: Database = kit::postgres().await.database("bag").await;
        let file = SqliteFile::new(folder.path().join(format!("source_{number}.db")));
        let target = if number == 2 {
            Target::postgres().await
        } else {
            Target::sqlite()
        };
        let source = if from_sqlite {
            Place::from(&file)
        } else {
            Place::from(&database)
        };
        follows_between(source, target.place(), seed).await;
    }
}

#[tokio::test]
async fn too_many_rewritten_rows_stop_the_table_before_it_is_written() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let source = kit::postgres().await.database("rewrite").await;
        source
            .execute(
                "CREATE TABLE bag (v int); INSERT INTO bag SELECT g FROM generate_series(1, 100) g",
            )
            .await;
        let limited =
            |limit: u32| format!("  public.bag: {{ to: bag, max_rewrite_rows: {limit} }}\n");
        // The first load is no rewrite.
        let lab = project((&source).into(), target.place(), &limited(50));
        run(&lab).await.expect_success();
        source.execute("UPDATE bag SET v = -v WHERE v <= 26").await;

        let stopped = run(&lab).await.expect_code(8);

        let report = stopped.json();
        let failure = &report["tables"][0]["failure"];
        assert_eq!(
            failure["message"],
            "table `public.bag` has no key, and 52 rows would be deleted and inserted: more than `max_rewrite_rows` (50)"
        );
        assert_eq!(
            target
                .place()
                .rows("SELECT count(*) FROM bag WHERE v > 0")
                .await[0][0]
                .as_deref(),
            Some("100")
        );

        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n{}",
            limited(52)
        );
        lab.pipeline("p", &text);
        run(&lab).await.expect_success();

        let select = "SELECT v FROM bag";
        kit::assert_same_bag(&source, target.place(), select, select).await;
    }
}

#[tokio::test]
async fn views_without_a_key_are_copied_with_their_duplicates() {
    let source = kit::postgres().await.database("view").await;
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text);
             INSERT INTO t SELECT g, g % 3 FROM generate_series(1, 30) g;
             CREATE VIEW seen AS SELECT v, '{\"a\": 1}'::json AS d FROM t",
        )
        .await;
    let target = Target::postgres().await;
    let project = project((&source).into(), target.place(), "  public.seen: {}\n");
    run(&project).await.expect_success();

    source
        .execute("UPDATE t SET v = 9 WHERE id < 4; DELETE FROM t WHERE id = 30")
        .await;
    let output = run(&project).await.expect_success();

    let select = "SELECT v, d::text FROM seen";
    kit::assert_same_bag(&source, target.place(), select, select).await;
    assert_eq!(output.json()["tables"][0]["rows_written"], 3);
    assert_eq!(output.json()["tables"][0]["rows_deleted"], 4);
}

#[tokio::test]
async fn partitions_of_a_keyless_target_are_told_apart() {
    let source = kit::postgres().await.database("parts").await;
    source
        .execute("CREATE TABLE bag (v int, n int); INSERT INTO bag SELECT g % 4, g % 2 FROM generate_series(1, 40) g")
        .await;
    let target = Target::postgres().await;
    // Rows of different partitions have the same places.
    target
        .place()
        .execute(
            "CREATE TABLE bag (v int, n int) PARTITION BY LIST (v);
             CREATE TABLE bag_0 PARTITION OF bag FOR VALUES IN (0, 1);
             CREATE TABLE bag_1 PARTITION OF bag FOR VALUES IN (2, 3)",
        )
        .await;
    let project = project((&source).into(), target.place(), "  public.bag: {}\n");
    run(&project).await.expect_success();

    source
        .execute("DELETE FROM bag WHERE v = 0; UPDATE bag SET n = 7 WHERE v = 3")
        .await;
    run(&project).await.expect_success();

    let select = "SELECT v, n FROM bag";
    kit::assert_same_bag(&source, target.place(), select, select).await;
}

#[tokio::test]
async fn refused_row_of_a_keyless_table_stops_it_with_the_reason() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let source = kit::postgres().await.database("refused_bag").await;
        source
            .execute("CREATE TABLE bag (v int); INSERT INTO bag VALUES (1)")
            .await;
        target
            .place()
            .execute("CREATE TABLE bag (v int CHECK (v < 5))")
            .await;
        let project = project(
            (&source).into(),
            target.place(),
            "  public.bag: { to: bag }\n",
        );
        run(&project).await.expect_success();
        source
            .execute("INSERT INTO bag VALUES (4), (770077007)")
            .await;

        let failed = run(&project).await.expect_code(1);

        assert!(!failed.stdout.contains("770077007"), "{}", failed.stdout);
        assert!(
            failed.stdout.to_lowercase().contains("check"),
            "{}",
            failed.stdout
        );
        assert_eq!(target.place().rows("SELECT v FROM bag").await.len(), 1);
    }
}

#[tokio::test]
async fn table_without_row_numbers_needs_a_key() {
    let source = kit::postgres().await.database("without_rowid").await;
    source.execute("CREATE TABLE bag (v int)").await;
    let target = Target::sqlite();
    target
        .place()
        .execute("CREATE TABLE bag (v int PRIMARY KEY) WITHOUT ROWID")
        .await;
    let project = project(
        (&source).into(),
        target.place(),
        "  public.bag: { to: bag }\n",
    );

    let planned = project
        .syncset(["pipeline", "plan", "p"])
        .await
        .expect_code(5);

    assert!(
        planned.stderr.contains("is WITHOUT ROWID"),
        "{}",
        planned.stderr
    );
}
