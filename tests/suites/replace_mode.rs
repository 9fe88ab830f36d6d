//! `write: { mode: replace }`: readers see a table before or after a run, and nothing that stands
//! on it is disturbed.

use crate::targets::Target;
use kit::postgres::{rows_of, send};
use kit::{Database, Output, Project};
use sqlx::PgConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

/// Rows of the table that is polled.
const ROWS: u32 = 20_000;

async fn source(tables: &str) -> Database {
    let database = kit::postgres().await.database("replace_source").await;
    database.execute(tables).await;
    database
}

fn project(source: &Database, target: &Target, tables: &str) -> Project {
    let project = Project::between(&source.url(), &target.place().url());
    let guards = "guards: { max_delete_percent: 100, empty_source: allow }";
    let text = format!("version: 1\nsource: source\ntarget: target\n{guards}\ntables:\n{tables}");
    project.pipeline("p", &text);
    project
}

async fn run(project: &Project) -> Output {
    project.syncset(RUN).await
}

/// What the report says of a number of the first table.
fn counted(output: &Output, name: &str) -> u64 {
    let value = &output.json()["tables"][0][name];
    value.as_u64().unwrap_or_else(|| panic!("{name}: {value}"))
}

fn postgres_of(target: &Target) -> &Database {
    match target {
        Target::Postgres(database) => database,
        Target::Mysql(_) | Target::Sqlite(..) => unreachable!("the test made a PostgreSQL target"),
    }
}

/// A new version of every row; a tenth of them are other rows than before.
const NEXT_VERSION: &str = "
    DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 2000);
    INSERT INTO t SELECT g, 0, 'new' FROM generate_series(
      (SELECT max(id) + 1 FROM t), (SELECT max(id) + 2000 FROM t)) g;
    UPDATE t SET version = (SELECT max(version) + 1 FROM t)";

/// Polls as fast as the server answers; every answer must be a whole version.
async fn poll(mut session: PgConnection, stop: Arc<AtomicBool>) -> (u32, u64) {
    let (mut polls, mut versions, mut last) = (0_u32, 0_u64, String::new());
    while !stop.load(Ordering::Relaxed) {
        let rows = rows_of(
            &mut session,
            "SELECT count(*), min(version), max(version), sum(version) FROM v",
        )
        .await;
        let value = |index: usize| rows[0][index].clone().unwrap_or_default();
        assert_eq!(value(0), ROWS.to_string(), "after {polls} polls");
        assert_eq!(value(1), value(2), "a mix of versions after {polls} polls");
        versions += u64::from(value(1) != last);
        last = value(1);
        polls += 1;
    }
    (polls, versions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_see_an_empty_or_mixed_table() {
    for key in ["PRIMARY KEY", "NOT NULL"] {
        let source = source(&format!(
            "CREATE TABLE t (id int {key}, version int NOT NULL, v text);
             INSERT INTO t SELECT g, 1, repeat('x', g % 50) FROM generate_series(1, {ROWS}) g"
        ))
        .await;
        let target = Target::postgres().await;
        let project = project(
            &source,
            &target,
            "  public.t: { write: { mode: replace } }\n",
        );
        run(&project).await.expect_success();
        let place = postgres_of(&target);
        let reader = place.role("reader", &["SELECT ON t"]).await;
        place.execute("CREATE VIEW v AS SELECT * FROM t").await;
        let stop = Arc::new(AtomicBool::new(false));
        let polling = tokio::spawn(poll(place.connect().await, stop.clone()));

        for _ in 0..4 {
            source.execute(NEXT_VERSION).await;
            run(&project).await.expect_success();
        }
        stop.store(true, Ordering::Relaxed);
        let (polls, versions) = polling.await.expect("every answer was a whole version");

        assert!(
            polls > 4 && versions > 1,
            "{polls} polls, {versions} versions"
        );
        let select = "SELECT id, version, v FROM t";
        kit::assert_same_bag(&source, place, select, select).await;
        assert_eq!(
            place
                .value("SELECT count(*) > 0 FROM v WHERE v = 'new'")
                .await,
            "t"
        );
        let granted = format!(
            "SELECT has_table_privilege('{}', 't', 'SELECT')",
            reader.name
        );
        assert_eq!(place.value(&granted).await, "t");
    }
}

#[tokio::test]
async fn foreign_keys_to_and_from_a_replaced_table_stand() {
    let source = source(
        "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2);
         CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES p, v text);
         INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 2, 'c')",
    )
    .await;
    let target = Target::postgres().await;
    let project = project(
        &source,
        &target,
        "  public.p: {}\n  public.t: { write: { mode: replace } }\n",
    );
    run(&project).await.expect_success();
    postgres_of(&target)
        .execute(
            "ALTER TABLE t ADD FOREIGN KEY (p) REFERENCES p;
             CREATE TABLE child (t int REFERENCES t);
             INSERT INTO child VALUES (1)",
        )
        .await;

    source
        .execute("DELETE FROM t WHERE id = 3; UPDATE t SET v = 'changed', p = 2 WHERE id = 1")
        .await;
    run(&project).await.expect_success();

    let select = "SELECT id, p, v FROM t";
    kit::assert_same_bag(&source, target.place(), select, select).await;
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated";
    assert_eq!(postgres_of(&target).value(keys).await, "2");
}

/// Records of the log since a position that change pages of a table or its indexes.
async fn log_records(database: &Database, since: &str, table: &str) -> String {
    let sql = format!(
        "SELECT count(*) FROM pg_get_wal_records_info_till_end_of_wal('{since}') w, pg_class c
         LEFT JOIN pg_index i ON i.indexrelid = c.oid
         WHERE '{table}'::regclass IN (c.oid, i.indrelid)
           AND w.block_ref LIKE '%/' || pg_relation_filenode(c.oid) || ' %'
           AND w.record_type NOT LIKE 'PRUNE%' AND w.record_type NOT LIKE 'VISIBLE%'"
    );
    database.value(&sql).await
}

#[tokio::test]
async fn unchanged_table_costs_no_row_no_log_and_no_trigger() {
    for (key, json) in [("PRIMARY KEY", "jsonb"), ("NOT NULL", "json")] {
        let source = source(&format!(
            "CREATE TABLE t (id int {key}, v text, d {json}, n numeric);
             INSERT INTO t SELECT g % 700, repeat('x', g % 50), '{{\"a\": 1}}', 1.00
             FROM generate_series(1, 700) g"
        ))
        .await;
        let target = Target::postgres().await;
        let project = project(
            &source,
            &target,
            "  public.t: { write: { mode: replace } }\n",
        );
        run(&project).await.expect_success();
        let place = postgres_of(&target);
        place
            .execute(
                "CREATE EXTENSION pg_walinspect; CREATE SEQUENCE fired;
                 CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
                   'BEGIN PERFORM nextval(''fired''); RETURN NULL; END';
                 CREATE TRIGGER rows AFTER INSERT OR UPDATE OR DELETE ON t
                   FOR EACH ROW EXECUTE FUNCTION fire()",
            )
            .await;
        let versions = "SELECT ctid, xmin, xmax FROM t ORDER BY ctid";
        let before = place.rows(versions).await;
        let start = place.value("SELECT pg_current_wal_insert_lsn()").await;

        let output = run(&project).await.expect_success();

        assert_eq!(place.rows(versions).await, before);
        assert_eq!(log_records(place, &start, "t").await, "0", "{key}");
        assert_eq!(place.value("SELECT is_called FROM fired").await, "f");
        assert_eq!(output.json()["tables"][0]["outcome"], "unchanged");
        assert_eq!(counted(&output, "rows_read"), 700);

        source.execute("UPDATE t SET n = 1.0 WHERE id = 5").await;
        run(&project).await.expect_success();

        assert_ne!(
            log_records(place, &start, "t").await,
            "0",
            "the count sees a change"
        );
        let select = "SELECT id, v, d::text, n FROM t";
        kit::assert_same_bag(&source, place, select, select).await;
    }
}

#[tokio::test]
async fn cascading_foreign_keys_refuse_replace_before_anything_is_written() {
    let child = "CREATE TABLE t (id int PRIMARY KEY);
        CREATE TABLE child (t int REFERENCES t ON DELETE CASCADE)";
    for target in [Target::postgres().await, Target::sqlite()] {
        let source = source("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        target.place().execute(child).await;
        let project = project(
            &source,
            &target,
            "  public.t: { to: t, write: { mode: replace } }\n",
        );

        let planned = project.syncset(["pipeline", "plan", "p"]).await;
        let refused = run(&project).await;

        assert_eq!((planned.code, refused.code), (5, 5), "{}", planned.stderr);
        assert!(planned.stderr.contains("of `"), "{}", planned.stderr);
        assert!(
            planned.stderr.contains("use `mode: upsert` for this table"),
            "{}",
            planned.stderr
        );
        assert!(target.place().rows("SELECT * FROM t").await.is_empty());
    }
}

#[tokio::test]
async fn replaced_tables_that_refer_to_each_other_are_replaced_together() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let tables = "CREATE TABLE p (id int PRIMARY KEY, v text);
            CREATE TABLE t (id int PRIMARY KEY, p int NOT NULL REFERENCES p)";
        let source = source(&format!(
            "{tables}; INSERT INTO p VALUES (1, 'a'); INSERT INTO t VALUES (1, 1)"
        ))
        .await;
        target.place().execute(tables).await;
        let project = project(
            &source,
            &target,
            "  public.p: { to: p, write: { mode: replace } }\n  public.t: { to: t, write: { mode: replace } }\n",
        );
        run(&project).await.expect_success();

        // The old parent cannot go before its child, the new child cannot come before its parent.
        source
            .execute("DELETE FROM t; DELETE FROM p; INSERT INTO p VALUES (2, 'b'); INSERT INTO t VALUES (2, 2)")
            .await;
        run(&project).await.expect_success();

        for select in ["SELECT id, v FROM p", "SELECT id, p FROM t"] {
            kit::assert_same_bag(&source, target.place(), select, select).await;
        }
    }
}

#[tokio::test]
async fn refused_rows_of_a_replaced_table_wait_within_the_limit() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let source = source(
            "CREATE TABLE t (id int PRIMARY KEY, n int);
             INSERT INTO t SELECT g, g FROM generate_series(1, 50) g",
        )
        .await;
        target
            .place()
            .execute("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 100))")
            .await;
        let project = project(
            &source,
            &target,
            "  public.t: { to: t, write: { mode: replace }, rejects: { max_rows: 1 } }\n",
        );
        run(&project).await.expect_success();

        source
            .execute("UPDATE t SET n = 500 WHERE id = 7; UPDATE t SET n = 70 WHERE id = 8; DELETE FROM t WHERE id = 9")
            .await;
        let output = run(&project).await.expect_success();

        // The refused row stays as it was.
        assert_eq!(counted(&output, "rows_rejected"), 1);
        kit::assert_same_bag(
            &source,
            target.place(),
            "SELECT id, CASE id WHEN 7 THEN 7 ELSE n END FROM t",
            "SELECT id, n FROM t",
        )
        .await;

        source.execute("UPDATE t SET n = 500 WHERE id = 10").await;
        let before = target.place().rows("SELECT id, n FROM t ORDER BY id").await;
        let failed = run(&project).await.expect_code(1);

        assert!(failed.stdout.contains("with key"), "{}", failed.stdout);
        assert_eq!(
            target.place().rows("SELECT id, n FROM t ORDER BY id").await,
            before
        );
    }
}

#[tokio::test]
async fn rows_that_are_gone_stay_where_they_are_to_be_kept() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let source = source(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
             CREATE TABLE bag (id int); INSERT INTO bag VALUES (1), (1), (2)",
        )
        .await;
        let keep = "write: { mode: replace, on_delete: keep }";
        let project = project(
            &source,
            &target,
            &format!("  public.t: {{ to: t, {keep} }}\n  public.bag: {{ to: bag, {keep} }}\n"),
        );
        run(&project).await.expect_success();

        source
            .execute("DELETE FROM t WHERE id = 1; DELETE FROM bag WHERE id = 1; INSERT INTO bag VALUES (3)")
            .await;
        run(&project).await.expect_success();

        let ids = |table: &str| format!("SELECT id FROM {table} ORDER BY id");
        let rows = |ids: &[&str]| -> Vec<Vec<Option<String>>> {
            ids.iter().map(|id| vec![Some((*id).to_owned())]).collect()
        };
        assert_eq!(target.place().rows(&ids("t")).await, rows(&["1", "2"]));
        assert_eq!(
            target.place().rows(&ids("bag")).await,
            rows(&["1", "1", "2", "3"])
        );
    }
}

#[tokio::test]
async fn killed_replace_leaves_the_table_as_it_was_or_as_it_is_to_be() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let source = source(
            "CREATE TABLE t (id int PRIMARY KEY, version int);
             INSERT INTO t SELECT g, 0 FROM generate_series(1, 500) g;
             CREATE TABLE bag (id int, version int);
             INSERT INTO bag SELECT g % 100, 0 FROM generate_series(1, 500) g",
        )
        .await;
        let project = project(
            &source,
            &target,
            "  public.t: { to: t, write: { mode: replace } }\n  public.bag: { to: bag }\n",
        );
        let points = [
            "load.begun",
            "chunk.batch",
            "unit.before_commit",
            "unit.committed",
            "unit.before_commit:3",
            "settle.compared",
        ];
        for point in points {
            let action = format!("{point}=exit9");
            let killed = project
                .spawn_with(RUN, &[("SYNCSET_FAIL_POINT", action.as_str())])
                .wait()
                .await;
            assert_eq!(killed.code, 128 + 9, "{point}: {}", killed.stderr);
            for table in ["t", "bag"] {
                let versions = format!("SELECT count(DISTINCT version) FROM {table}");
                // The very first kill comes before the tables hold anything.
                let versions = target.place().rows(&versions).await;
                assert!(
                    matches!(versions[0][0].as_deref(), Some("0" | "1")),
                    "{table} is mixed after {point}"
                );
            }
            source
                .execute(
                    "UPDATE t SET version = version + 1; UPDATE bag SET version = version + 1;
                          DELETE FROM t WHERE id = (SELECT min(id) FROM t)",
                )
                .await;
        }

        run(&project).await.expect_success();

        for table in ["t", "bag"] {
            let select = format!("SELECT id, version FROM {table}");
            kit::assert_same_bag(&source, target.place(), &select, &select).await;
        }
    }
}

#[tokio::test]
async fn rows_written_by_others_go_with_the_next_run() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let source = source(
            "CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE);
             INSERT INTO t SELECT g, g FROM generate_series(1, 20) g;
             CREATE TABLE bag (v text); INSERT INTO bag VALUES ('a'), ('a'), (NULL)",
        )
        .await;
        let project = project(
            &source,
            &target,
            "  public.t: { to: t, write: { mode: replace } }\n  public.bag: { to: bag }\n",
        );
        run(&project).await.expect_success();
        target
            .place()
            .execute(
                "CREATE UNIQUE INDEX t_v ON t (v); DELETE FROM t WHERE id = 3;
                 INSERT INTO t VALUES (99, '3'); UPDATE t SET v = 'other' WHERE id = 4;
                 DELETE FROM bag; INSERT INTO bag VALUES ('a'), ('b'), ('b')",
            )
            .await;

        // The stranger's row goes first: the row that belongs there has its unique value.
        run(&project).await.expect_success();

        for select in ["SELECT id, v FROM t", "SELECT v FROM bag"] {
            kit::assert_same_bag(&source, target.place(), select, select).await;
        }
    }
}

#[tokio::test]
async fn empty_source_empties_a_replaced_table_that_was_locked_meanwhile() {
    let source = source("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1)").await;
    let target = Target::postgres().await;
    let project = project(&source, &target, "  public.t: {}\n");
    run(&project).await.expect_success();
    let place = postgres_of(&target);
    let mut reader = place.connect().await;
    send(&mut reader, "BEGIN; SELECT * FROM t").await;

    // A reader's lock would hold up TRUNCATE, DROP and RENAME.
    source.execute("DELETE FROM t").await;
    run(&project).await.expect_success();

    assert_eq!(place.value("SELECT count(*) FROM t").await, "0");
    drop(reader);
}
