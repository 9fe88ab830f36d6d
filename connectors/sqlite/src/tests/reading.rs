//! Reading: what tables are, which rows are selected, and what is refused.

use super::lab::{Lab, describe, read_all, whole};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::TryStreamExt;
use std::sync::Arc;
use syncset_connector::{
    Comparison, Digest, ErrorClass, Filter, KeyRange, Literal, Predicate, Role, SnapshotRequest,
    TableKind, TableRead,
};

fn count(batches: &[arrow_array::RecordBatch]) -> usize {
    batches.iter().map(arrow_array::RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn missing_source_is_an_error_and_is_not_created() {
    let lab = Lab::new();

    let error = lab
        .try_open("missing.db", Role::Source)
        .await
        .err()
        .expect("an error");

    assert_eq!(error.class, ErrorClass::Config);
    assert!(error.message.contains("missing.db"), "{}", error.message);
    assert!(!lab.path("missing.db").exists());
}

#[tokio::test]
async fn file_that_is_no_database_is_named() {
    let lab = Lab::new();
    std::fs::write(
        lab.path("notes.db"),
        "not a database, but long enough to look like one".repeat(50),
    )
    .expect("written");

    let error = lab
        .try_open("notes.db", Role::Source)
        .await
        .err()
        .expect("an error");

    assert_eq!(error.class, ErrorClass::Config);
    assert!(error.message.contains("notes.db"), "{}", error.message);
}

#[tokio::test]
async fn tables_are_described_with_keys_and_what_fills_them() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, note);
         CREATE TABLE child (a TEXT, b INT, parent INT REFERENCES parent ON DELETE CASCADE,
             twice INT AS (b * 2) STORED, PRIMARY KEY (b, a)) WITHOUT ROWID;
         CREATE TABLE loose (x TEXT PRIMARY KEY, y);
         CREATE VIEW sums AS SELECT count(*) AS n FROM parent;",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;

    let parent = describe(&*store, "parent").await;
    assert_eq!(parent.primary_key, ["id"]);
    assert!(!parent.columns[0].nullable);
    assert!(parent.unique_keys[0].total);
    let child = describe(&*store, "child").await;
    assert_eq!(child.primary_key, ["b", "a"]);
    assert!(!child.columns[0].nullable);
    assert!(child.foreign_keys[0].cascades);
    assert!(child.columns[3].generated.is_some());
    assert!(describe(&*store, "loose").await.columns[0].nullable);
    assert_eq!(describe(&*store, "sums").await.kind, TableKind::View);
    let names: Vec<String> = store
        .list_tables()
        .await
        .expect("a list")
        .into_iter()
        .map(|entry| entry.name.name)
        .collect();
    assert_eq!(names, ["child", "loose", "parent", "sums"]);
}

#[tokio::test]
async fn value_that_does_not_fit_names_its_row() {
    for (declared, value) in [
        ("INTEGER", "'abc'"),
        ("BOOLEAN", "2"),
        ("DATETIME", "1700000000"),
        ("DATETIME", "'2024-01-01T00:00:00Z'"),
        ("DATE", "'yesterday'"),
        ("DECIMAL(5,2)", "1.005"),
        ("DECIMAL(5,2)", "123456"),
        ("TEXT", "x'00'"),
        ("TEXT", "CAST(x'ff' AS TEXT)"),
        ("BLOB", "'text'"),
        ("UUID", "'not a uuid'"),
        ("REAL", "'one'"),
    ] {
        let lab = Lab::new();
        let statements = format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared}); INSERT INTO t VALUES (1, NULL), (42, {value})"
        );
        lab.sql("a.db", &statements).await;
        let store = lab.open("a.db", Role::Source).await;
        let read = whole(&*store, "t").await;

        let error = read_all(&*store, &read).await.expect_err(declared);

        assert_eq!(error.class, ErrorClass::RowRefused, "{declared}");
        for part in ["`v`", "`t`", "42"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }
}

#[tokio::test]
async fn chunks_cover_every_row_once() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE t (a TEXT NOT NULL COLLATE NOCASE, b INT NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO t SELECT printf('%c%d', 65 + i % 50, i % 7), i, 'some longer text ' || i FROM n",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let read = whole(&*store, "t").await;
    let source = store.source().expect("a source");

    let bounds = source.boundaries(&read, 20_000).await.expect("boundaries");
    let request = SnapshotRequest {
        read: Arc::new(read),
        from: None,
    };
    let mut snapshot = source
        .open_snapshot(&[request], None)
        .await
        .expect("a snapshot");
    let mut rows = Vec::new();
    for range in KeyRange::between(&bounds) {
        let batches: Vec<_> = snapshot
            .read_chunk(0, &range)
            .await
            .expect("a chunk")
            .try_collect()
            .await
            .expect("rows");
        for batch in batches {
            rows.extend(
                batch
                    .column(1)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec(),
            );
        }
    }
    snapshot.close().await;

    assert!(bounds.len() > 5, "{}", bounds.len());
    rows.sort_unstable();
    assert_eq!(rows, (1..=5000).collect::<Vec<i64>>());
}

#[tokio::test]
async fn snapshot_shows_one_state() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let request = SnapshotRequest {
        read: Arc::new(whole(&*store, "t").await),
        from: None,
    };
    let source = store.source().expect("it is a source");
    let mut snapshot = source
        .open_snapshot(&[request], None)
        .await
        .expect("a snapshot");

    lab.sql("a.db", "INSERT INTO t VALUES (2)").await;

    let digest = snapshot
        .key_digest(0, Digest::Count)
        .await
        .expect("it counts");
    assert_eq!(digest.row_count, 1);
    snapshot.close().await;
}

#[tokio::test]
async fn pushed_conditions_select_what_they_say() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, price DECIMAL(8,2), ok BOOLEAN, day DATE);
         INSERT INTO t VALUES (1, 'ann', 9.99, 1, '2024-01-01'), (2, 'Ann', 10, 0, '2024-01-02'),
             (3, NULL, NULL, NULL, NULL), (4, 'o''hara', 10.01, 1, '2024-01-03')",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let source = store.source().expect("a source");
    let compare = |column: &str, comparison, literal| Predicate::Compare {
        column: column.into(),
        comparison,
        literal,
    };
    let number = |text: &str| Literal::Number(text.into());
    let quoted = |text: &str| Literal::Text(text.into());
    let cases = [
        (compare("name", Comparison::Equal, quoted("Ann")), vec![2]),
        (
            compare("name", Comparison::Equal, quoted("o'hara")),
            vec![4],
        ),
        (
            compare("price", Comparison::GreaterOrEqual, number("10.00")),
            vec![2, 4],
        ),
        (
            Predicate::Not(Box::new(compare("price", Comparison::Less, number("10")))),
            vec![2, 4],
        ),
        (Predicate::Column("ok".into()), vec![1, 4]),
        (
            Predicate::IsNull {
                column: "day".into(),
                negated: false,
            },
            vec![3],
        ),
        (
            Predicate::In {
                column: "id".into(),
                literals: vec![number("1"), number("3")],
                negated: true,
            },
            vec![2, 4],
        ),
        (
            Predicate::Or(vec![
                compare("id", Comparison::Equal, number("3")),
                compare("ok", Comparison::Equal, Literal::Boolean(false)),
            ]),
            vec![2, 3],
        ),
    ];
    for (predicate, expected) in cases {
        let read = TableRead {
            filter: Filter::Predicate(predicate.clone()),
            ..whole(&*store, "t").await
        };
        source
            .can_push(&read.description, &predicate)
            .expect("it can be pushed");
        let batches = read_all(&*store, &read).await.expect("rows");
        let ids: Vec<i64> = batches
            .iter()
            .flat_map(|batch| {
                batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            })
            .collect();
        assert_eq!(ids, expected, "{predicate:?}");
    }
    let description = describe(&*store, "t").await;
    for refused in [
        compare("day", Comparison::Equal, quoted("2024-01-01")),
        compare("name", Comparison::Less, quoted("b")),
        compare("id", Comparison::Equal, quoted("1")),
        compare("price", Comparison::Equal, number("0.1234567890123456")),
    ] {
        assert!(
            source.can_push(&description, &refused).is_err(),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn rows_are_found_by_key_however_the_key_is_written() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE t (id UUID PRIMARY KEY NOT NULL, v TEXT);
         INSERT INTO t VALUES ('00112233-4455-6677-8899-AABBCCDDEEFF', 'text'),
             (x'ffeeddccbbaa99887766554433221100', 'blob'), ('10112233-4455-6677-8899-aabbccddeeff', 'other')",
    )
    .await;
    let store = lab.open("a.db", Role::Source).await;
    let read = whole(&*store, "t").await;
    let all = read_all(&*store, &read).await.expect("rows");
    let keys = all[0].project(&[0]).expect("keys").slice(0, 2);
    let request = SnapshotRequest {
        read: Arc::new(read),
        from: None,
    };
    let mut snapshot = store
        .source()
        .expect("a source")
        .open_snapshot(&[request], None)
        .await
        .expect("a snapshot");

    let found: Vec<_> = snapshot
        .read_rows(0, &keys)
        .await
        .expect("rows")
        .try_collect()
        .await
        .expect("rows");

    assert_eq!(count(&found), 2);
    assert_eq!(found[0], all[0].slice(0, 2));
}

#[tokio::test]
async fn altered_table_is_noticed_when_the_snapshot_opens() {
    let lab = Lab::new();
    lab.sql("a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        .await;
    let store = lab.open("a.db", Role::Source).await;
    let read = whole(&*store, "t").await;
    lab.sql("a.db", "ALTER TABLE t ADD COLUMN w TEXT").await;

    let error = read_all(&*store, &read)
        .await
        .expect_err("the table was altered");

    assert_eq!(error.class, ErrorClass::SourceChanged);
}

#[tokio::test]
async fn wrong_and_unstable_conditions_are_problems_of_the_plan() {
    let lab = Lab::new();
    lab.sql("a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        .await;
    let store = lab.open("a.db", Role::Source).await;
    let source = store.source().expect("a source");
    for (condition, fine) in [
        ("v = 'x' -- why not", true),
        ("missing = 1", false),
        ("v = ", false),
    ] {
        let read = TableRead {
            filter: Filter::SourceSql(condition.into()),
            ..whole(&*store, "t").await
        };
        let plans = source.prepare(&[Arc::new(read)]).await.expect("a plan");
        assert_eq!(plans[0].problems.is_empty(), fine, "{condition}");
    }
    for condition in [
        "id IN (select 1)",
        "v < datetime('now')",
        "v < date ( )",
        "random() > 0",
    ] {
        assert!(
            crate::predicate::unstable_word(condition).is_some(),
            "{condition}"
        );
    }
    assert_eq!(
        crate::predicate::unstable_word("date(v) > '2024-01-01'"),
        None
    );
}

#[tokio::test]
async fn file_is_made_once_from_its_script_or_not_at_all() {
    let lab = Lab::new();
    std::fs::write(
        lab.path("good.sql"),
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);",
    )
    .expect("written");
    std::fs::write(
        lab.path("bad.sql"),
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO u VALUES (1);",
    )
    .expect("written");

    assert!(
        lab.try_open_from("bad.db", "bad.sql", Role::Source)
            .await
            .is_err()
    );
    for _ in 0..2 {
        let store = lab
            .try_open_from("good.db", "good.sql", Role::Source)
            .await
            .expect("opens");
        let read = whole(&*store, "t").await;
        assert_eq!(count(&read_all(&*store, &read).await.expect("rows")), 1);
    }

    let mut names: Vec<_> = std::fs::read_dir(lab.path(""))
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .filter(|name| !name.contains("-shm") && !name.contains("-wal"))
        .collect();
    names.sort();
    assert_eq!(names, ["bad.sql", "good.db", "good.sql"]);
}
