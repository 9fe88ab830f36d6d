//! Guards: a run that would delete too much of a table deletes nothing of it, keeps all that
//! changed otherwise, and the deletes wait until a person agrees or the rows come back.

use crate::targets::Target;
use kit::{Database, Output, Project};

/// Every selected row is in group 1; `v` says which version of the row it is.
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, v text NOT NULL)";

const XMIN: &str = "capture: xmin, where: \"grp = 1\"";
const FULL: &str = "capture: full, where: \"grp = 1\"";

/// Rows that count in full and are asked about from the first on.
const STRICT: &str = "guards: { max_delete_percent: 5, max_delete_rows_always_allowed: 0 }\n";

/// A source table, a target and a pipeline between them.
struct Lab {
    source: Database,
    target: Target,
    project: Project,
}

impl Lab {
    /// A lab with `rows` selected rows at the source, synced once.
    async fn synced(target: Target, rows: u32, top: &str, table: &str) -> Self {
        let fill =
            format!("{TABLE}; INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, {rows}) i");
        let lab = Self::new(target, &fill).await;
        lab.pipeline(top, table);
        lab.run(&[]).await.expect_success();
        lab
    }

    async fn new(target: Target, source: &str) -> Self {
        let database = kit::postgres().await.database("guard_source").await;
        database.execute(source).await;
        Self {
            project: Project::between(&database.url(), &target.place().url()),
            source: database,
            target,
        }
    }

    /// Writes the pipeline: lines at its top, and the settings of its table.
    fn pipeline(&self, top: &str, table: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n{top}tables:\n  public.t: {{ to: t, {table} }}\n"
        );
        self.project.pipeline("p", &text);
    }

    async fn run(&self, flags: &[&str]) -> Output {
        let arguments = ["pipeline", "run", "p", "--output", "json"];
        self.project.syncset(arguments.iter().chain(flags)).await
    }

    async fn change(&self, sql: &str) {
        self.source.execute(sql).await;
    }

    async fn value(&self, query: &str) -> String {
        let rows = self.target.place().rows(query).await;
        rows[0][0].clone().unwrap_or_else(|| "NULL".into())
    }

    async fn pending(&self) -> u64 {
        let table = self.target.state_table("pending_delete");
        let count = self.value(&format!("SELECT count(*) FROM {table}")).await;
        count.parse().expect("a count")
    }

    async fn assert_rows(&self, rows: u32) {
        assert_eq!(self.value("SELECT count(*) FROM t").await, rows.to_string());
    }

    /// The target holds exactly the selected rows.
    async fn assert_same(&self) {
        let source = "SELECT id, grp, v FROM t WHERE grp = 1";
        let target = "SELECT id, grp, v FROM t";
        kit::compare(&self.source, self.target.place(), source, target)
            .await
            .assert_equal();
    }
}

async fn targets() -> [Target; 2] {
    [Target::postgres().await, Target::sqlite()]
}

/// The report of the only table.
fn table(output: &Output) -> serde_json::Value {
    output.json()["tables"][0].clone()
}

#[track_caller]
fn assert_stopped(output: Output, deletes: u32, rows: u32) {
    let output = output.expect_code(8);
    let message = table(&output)["failure"]["message"].to_string();
    let expected = format!("would delete {deletes} of the {rows} rows");
    assert!(message.contains(&expected), "{message}");
    assert_eq!(table(&output)["rows_deleted"], 0);
}

#[tokio::test]
async fn too_many_deletes_of_a_window_wait_for_a_person() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100; UPDATE t SET v = 'b' WHERE id > 990")
            .await;

        let stopped = lab.run(&[]).await;
        assert_eq!(table(&stopped)["rows_written"], 10);
        assert_eq!(table(&stopped)["deletes_pending"], 100);
        assert_stopped(stopped, 100, 1000);
        lab.assert_rows(1000).await;
        assert_eq!(
            lab.value("SELECT count(*) FROM t WHERE v = 'b'").await,
            "10"
        );
        assert_eq!(lab.pending().await, 100);

        // The watermark moved: no row is read twice, and the guard is asked again.
        let again = lab.run(&["--allow-deletes", "public.t=99"]).await;
        assert_eq!(table(&again)["rows_read"], 0);
        assert_stopped(again, 100, 1000);
        lab.assert_rows(1000).await;

        let allowed = lab.run(&["--allow-deletes", "public.t=100"]).await;
        assert_eq!(table(&allowed.expect_success())["rows_deleted"], 100);
        lab.assert_same().await;
        assert_eq!(lab.pending().await, 0);
        lab.run(&[]).await.expect_success();
    }
}

#[tokio::test]
async fn guard_says_what_it_counted_and_how_to_go_on() {
    let lab = Lab::synced(Target::sqlite(), 1000, "", XMIN).await;
    lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;

    let stopped = lab.project.syncset(["pipeline", "run", "p"]).await;
    insta::assert_snapshot!(stopped.snapshot(), @"
    exit: 8
    stdout:
    public.t  failed      100 read, 0 written, 0 deleted, 100 deletes wait, [time]
    p: failed after [time], exit code 8
    stderr:
    error: table `public.t`: the run would delete 100 of the 1000 rows of `t` (10 %), and the guard allows 5 %
    hint: they are still there; if they are to go: `syncset pipeline run p --allow-deletes public.t=100`; if not, look at the source and at `where`
    ");
    let status = lab.project.syncset(["pipeline", "status", "p"]).await;
    let line = status
        .stdout
        .lines()
        .find(|line| line.contains("table public.t"));
    insta::assert_snapshot!(line.unwrap_or_default(), @"table public.t: following -> t, 100 deletes wait for the guard");
    let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
    let line = plan
        .stdout
        .lines()
        .find(|line| line.contains("deletes wait"));
    insta::assert_snapshot!(line.unwrap_or_default(), @"  note: 100 deletes wait for the guard, which lets 50 rows or 5 % of the table pass; the next run counts them again; to let them go: `syncset pipeline run p --allow-deletes public.t=100`");

    let unknown = ["pipeline", "run", "p", "--allow-deletes", "public.u=5"];
    insta::assert_snapshot!(lab.project.syncset(unknown).await.snapshot(), @r"
    exit: 2
    stderr:
    error: `--allow-deletes` names table `public.u`, which the run does not have
    hint: tables of this run: public.t
    ");
}

#[tokio::test]
async fn replaced_tables_ask_before_rows_are_gone() {
    let replace = "capture: full, write: { mode: replace }, where: \"grp = 1\"";
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", replace).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100; UPDATE t SET v = 'b' WHERE id > 990")
            .await;

        assert_stopped(lab.run(&[]).await, 100, 1000);
        lab.assert_rows(1000).await;
        assert_eq!(lab.value("SELECT count(*) FROM t WHERE v = 'b'").await, "0");

        lab.run(&["--allow-deletes", "public.t=100"])
            .await
            .expect_success();
        lab.assert_same().await;

        lab.change("UPDATE t SET grp = 2").await;
        let emptied = lab.run(&[]).await.expect_code(8);
        let message = table(&emptied)["failure"]["message"].to_string();
        assert!(message.contains("selects no row"), "{message}");
        lab.assert_rows(900).await;
    }
}

#[tokio::test]
async fn changed_rows_without_a_key_are_not_lost_rows() {
    for target in targets().await {
        let fill = "CREATE TABLE t (grp int NOT NULL, v text NOT NULL); \
                    INSERT INTO t SELECT i, 'a' FROM generate_series(1, 1000) i";
        let lab = Lab::new(target, fill).await;
        lab.pipeline("", "capture: full");
        lab.run(&[]).await.expect_success();

        lab.change("UPDATE t SET v = 'b' WHERE grp <= 300").await;
        lab.run(&[]).await.expect_success();
        assert_eq!(
            lab.value("SELECT count(*) FROM t WHERE v = 'b'").await,
            "300"
        );

        lab.change("DELETE FROM t WHERE grp <= 100").await;
        assert_stopped(lab.run(&[]).await, 100, 1000);
        lab.assert_rows(1000).await;
    }
}

#[tokio::test]
async fn copied_project_with_another_source_deletes_nothing() {
    let lab = Lab::synced(Target::postgres().await, 40, "", "capture: xmin").await;
    let staging = kit::postgres().await.database("guard_staging").await;
    let fill = format!("{TABLE}; INSERT INTO t SELECT i, 1, 'x' FROM generate_series(1, 5) i");
    staging.execute(&fill).await;
    let copy = Lab {
        project: Project::between(&staging.url(), &lab.target.place().url()),
        source: staging,
        target: lab.target,
    };
    copy.pipeline("", "capture: xmin");

    let refused = copy.run(&[]).await.expect_code(1);
    let message = table(&refused)["failure"]["message"].to_string();
    assert!(message.contains("is on another database"), "{message}");
    copy.assert_rows(40).await;
}

#[tokio::test]
async fn deletes_at_the_limit_pass_and_one_more_stops() {
    for (rows, deletes, code) in [(51, 50, 0), (1020, 51, 0), (1019, 51, 8)] {
        for capture in [XMIN, FULL] {
            let lab = Lab::synced(Target::sqlite(), rows, "", capture).await;
            lab.change(&format!("UPDATE t SET grp = 2 WHERE id <= {deletes}"))
                .await;

            let run = lab.run(&[]).await;

            assert_eq!(
                run.code, code,
                "{deletes} of {rows}, {capture}: {}",
                run.stdout
            );
            let left = if code == 0 { rows - deletes } else { rows };
            lab.assert_rows(left).await;
        }
    }
}

#[tokio::test]
async fn whole_copies_and_reloads_count_before_they_delete() {
    for (capture, flags) in [(FULL, vec![]), ("capture: xmin", vec!["--full-refresh"])] {
        for target in targets().await {
            let lab = Lab::synced(target, 1000, "", capture).await;
            lab.change("DELETE FROM t WHERE id <= 100; UPDATE t SET v = 'b' WHERE id > 990")
                .await;

            assert_stopped(lab.run(&flags).await, 100, 1000);
            lab.assert_rows(1000).await;
            assert_eq!(
                lab.value("SELECT count(*) FROM t WHERE v = 'b'").await,
                "10"
            );
            assert_stopped(lab.run(&[]).await, 100, 1000);

            lab.run(&["--allow-deletes", "t=100"])
                .await
                .expect_success();
            lab.assert_same().await;
        }
    }
}

#[tokio::test]
async fn guards_that_are_off_let_every_delete_pass() {
    for target in targets().await {
        let off = "guards: { max_delete_percent: 100 }\n";
        let lab = Lab::synced(target, 1000, off, XMIN).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 999").await;

        lab.run(&[]).await.expect_success();
        lab.assert_same().await;
    }
}

#[tokio::test]
async fn kept_rows_ask_no_guard() {
    let lab = Lab::synced(
        Target::sqlite(),
        100,
        "",
        "capture: full, write: { on_delete: keep }",
    )
    .await;
    lab.change("DELETE FROM t").await;

    lab.run(&[]).await.expect_success();
    lab.assert_rows(100).await;
}

#[tokio::test]
async fn empty_source_empties_no_target_by_itself() {
    for target in targets().await {
        let lab = Lab::synced(target, 10, "", "capture: full").await;
        lab.change("DELETE FROM t").await;

        let stopped = lab.run(&[]).await.expect_code(8);
        let message = table(&stopped)["failure"]["message"].to_string();
        assert!(message.contains("selects no row"), "{message}");
        lab.assert_rows(10).await;
        let fewer = lab.run(&["--allow-deletes", "t=9"]).await;
        fewer.expect_code(8);

        lab.pipeline("guards: { empty_source: allow }\n", "capture: full");
        lab.run(&[]).await.expect_success();
        lab.assert_rows(0).await;
        // An empty source and an empty target are equal.
        lab.pipeline("", "capture: full");
        lab.run(&[]).await.expect_success();

        lab.change("INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, 10) i")
            .await;
        lab.run(&[]).await.expect_success();
        lab.change("DELETE FROM t").await;
        lab.run(&["--allow-deletes", "t=10"]).await.expect_success();
        lab.assert_rows(0).await;
    }
}

#[tokio::test]
async fn rows_that_come_back_are_not_deleted() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        lab.run(&[]).await.expect_code(8);

        lab.change("UPDATE t SET grp = 1, v = 'back' WHERE id <= 30")
            .await;
        assert_stopped(lab.run(&[]).await, 70, 1000);
        assert_eq!(lab.pending().await, 70);
        lab.change("UPDATE t SET grp = 1 WHERE id BETWEEN 31 AND 60")
            .await;
        // Only 40 are left, which the guard always allows.
        lab.run(&[]).await.expect_success();

        lab.assert_same().await;
        lab.assert_rows(960).await;
        assert_eq!(
            lab.value("SELECT count(*) FROM t WHERE v = 'back'").await,
            "30"
        );
    }
}

/// Rows that are large enough for a window of some of them to be cut.
async fn wide_lab(target: Target, top: &str) -> Lab {
    let fill = format!(
        "{TABLE}; INSERT INTO t SELECT i, 1, repeat('a', 20000) FROM generate_series(1, 1000) i"
    );
    let lab = Lab::new(target, &fill).await;
    lab.pipeline(top, XMIN);
    lab.run(&[]).await.expect_success();
    // Each unit of the window has rows that leave and rows that stay.
    lab.change(
        "UPDATE t SET grp = CASE WHEN id % 10 = 0 THEN 2 ELSE 1 END, v = repeat('b', 20000)",
    )
    .await;
    lab
}

const CUT: [&str; 2] = ["--memory", "4MiB"];

#[tokio::test]
async fn deletes_of_a_cut_window_are_counted_before_the_first() {
    for target in targets().await {
        let lab = wide_lab(target, "").await;

        let stopped = lab.run(&CUT).await;
        assert_eq!(table(&stopped)["rows_written"], 900);
        assert_stopped(stopped, 100, 1000);
        lab.assert_rows(1000).await;

        let flags = [CUT[0], CUT[1], "--allow-deletes", "t=100"];
        lab.run(&flags).await.expect_success();
        lab.assert_same().await;
    }
}

#[tokio::test]
async fn run_killed_between_staging_and_deleting_forgets_nothing() {
    for point in [
        "window.unit_committed:1",
        "window.unit_committed:2",
        "deletes.decided",
        "unit.before_commit:4",
    ] {
        for target in targets().await {
            let lab = wide_lab(target, "guards: { max_delete_percent: 99 }\n").await;
            let arguments = ["pipeline", "run", "p", "--memory", "4MiB"];
            let action = format!("{point}=exit9");

            let killed = lab
                .project
                .spawn_with(arguments, &[("SYNCSET_FAIL_POINT", &action)]);
            assert_eq!(killed.wait().await.code, 137, "{point}");
            // Nothing is deleted before all of it was counted.
            lab.assert_rows(1000).await;
            assert!(lab.pending().await > 0, "{point}");

            lab.run(&["--on-lock", "wait=170s"]).await.expect_success();
            lab.assert_same().await;
            assert_eq!(lab.pending().await, 0);
        }
    }
}

/// A table whose rows hold large values that are unique at the target.
async fn unique_lab(target: Target) -> Lab {
    let fill = format!(
        "{TABLE}; INSERT INTO t SELECT i, 1, rpad('v' || i || '.', 20000, 'x') \
         FROM generate_series(1, 1000) i"
    );
    let lab = Lab::new(target, &fill).await;
    let create = lab.target.pick(
        "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, v text NOT NULL); \
         CREATE UNIQUE INDEX ON t (md5(v))",
        "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, grp INTEGER NOT NULL, \
         v TEXT NOT NULL UNIQUE)",
    );
    lab.target.place().execute(create).await;
    lab.pipeline("", XMIN);
    lab.run(&[]).await.expect_success();
    lab
}

/// The values of rows that leave go to new rows.
const HAND_ON: &str = "UPDATE t SET grp = 2, v = 'gone ' || id WHERE id <= 100; \
     INSERT INTO t SELECT 2000 + i, 1, rpad('v' || i || '.', 20000, 'x') FROM generate_series(1, 100) i";

#[tokio::test]
async fn values_of_rows_that_wait_to_be_deleted_go_to_others_once_they_may() {
    for target in targets().await {
        for flags in [vec![], CUT.to_vec()] {
            let lab = unique_lab(target.another().await).await;
            lab.change(HAND_ON).await;

            let stopped = lab.run(&flags).await.expect_code(8);
            let causes = table(&stopped)["failure"]["causes"].to_string();
            assert!(causes.contains("refused"), "{causes}");
            lab.assert_rows(1000).await;

            let allowed = [&flags[..], &["--allow-deletes", "t=100"]].concat();
            lab.run(&allowed).await.expect_success();
            lab.assert_same().await;
        }
    }
}

#[tokio::test]
async fn deletes_that_wait_make_way_for_rows_of_a_later_run() {
    for target in targets().await {
        let lab = unique_lab(target).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        lab.run(&[]).await.expect_code(8);

        lab.change("INSERT INTO t SELECT 2000 + id, 1, v FROM t WHERE id <= 100")
            .await;
        lab.run(&[]).await.expect_code(8);
        lab.assert_rows(1000).await;

        lab.run(&["--allow-deletes", "t=100"])
            .await
            .expect_success();
        lab.assert_same().await;
    }
}

#[tokio::test]
async fn pending_keys_of_every_type_find_their_rows() {
    let keys = [
        ("bigint", "i"),
        ("numeric", "(i::numeric / 8)"),
        ("text", "'it''s \"' || i || chr(1) || 'ä\\'"),
        ("uuid", "md5(i::text)::uuid"),
        ("bytea", "decode(md5(i::text), 'hex')"),
        ("date", "date '0044-03-15 BC' + i"),
        (
            "timestamptz",
            "timestamptz '2024-03-31 00:59:59.123456+00' + i * interval '1 hour'",
        ),
        ("double precision", "(i::float8 / 3)"),
        ("boolean", "(i % 2 = 0)"),
    ];
    for (kind, value) in keys {
        for target in targets().await {
            let create = format!(
                "CREATE TABLE t (k {kind}, id int, grp int NOT NULL, v text NOT NULL, PRIMARY KEY (k, id)); \
                 INSERT INTO t SELECT {value}, i, 1, 'a' FROM generate_series(1, 100) i"
            );
            let lab = Lab::new(target, &create).await;
            lab.pipeline(STRICT, XMIN);
            lab.run(&[]).await.expect_success();

            lab.change("UPDATE t SET grp = 2 WHERE id <= 60").await;
            assert_stopped(lab.run(&[]).await, 60, 100);
            lab.change("UPDATE t SET grp = 1 WHERE id <= 10").await;
            assert_stopped(lab.run(&[]).await, 50, 100);
            assert_eq!(lab.pending().await, 50, "{kind}");
            lab.run(&["--allow-deletes", "t=50"]).await.expect_success();

            lab.assert_same().await;
            assert_eq!(lab.pending().await, 0, "{kind}");
        }
    }
}

#[tokio::test]
async fn key_that_comes_back_in_another_form_is_the_same_key() {
    let create = "CREATE TABLE t (k numeric PRIMARY KEY, id int, grp int NOT NULL, v text NOT NULL); \
         INSERT INTO t SELECT i, i, 1, 'a' FROM generate_series(1, 100) i";
    let lab = Lab::new(Target::postgres().await, create).await;
    lab.pipeline(STRICT, XMIN);
    lab.run(&[]).await.expect_success();
    lab.change("UPDATE t SET grp = 2 WHERE id <= 60").await;
    assert_stopped(lab.run(&[]).await, 60, 100);

    lab.change("UPDATE t SET k = (k::text || '.00')::numeric, grp = 1 WHERE id <= 60")
        .await;

    lab.run(&[]).await.expect_success();
    lab.assert_same().await;
    lab.assert_rows(100).await;
}

#[tokio::test]
async fn pending_deletes_that_a_foreign_key_refuses_stop_no_others() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "rejects: { max_rows: 1 }\n", XMIN).await;
        let child =
            "CREATE TABLE child (t_id INTEGER REFERENCES t (id)); INSERT INTO child VALUES (7)";
        lab.target.place().execute(child).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        assert_stopped(lab.run(&[]).await, 100, 1000);

        let allowed = lab
            .run(&["--allow-deletes", "t=100"])
            .await
            .expect_success();

        assert_eq!(table(&allowed)["rows_deleted"], 99);
        assert_eq!(table(&allowed)["rows_rejected"], 1);
        lab.assert_rows(901).await;
        lab.target.place().execute("DELETE FROM child").await;
        lab.change("UPDATE t SET v = 'c' WHERE id = 200").await;
        lab.run(&[]).await.expect_success();
        lab.assert_same().await;
    }
}

#[tokio::test]
async fn deletes_that_wait_go_with_a_pipeline_that_is_renamed() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        assert_stopped(lab.run(&[]).await, 100, 1000);
        let files = lab.project.path().join("pipelines");
        std::fs::rename(files.join("p.yaml"), files.join("q.yaml")).expect("both are names");

        let adopt = ["pipeline", "adopt", "p", "q"];
        lab.project.syncset(adopt).await.expect_success();
        let run = ["pipeline", "run", "q", "--allow-deletes", "t=100"];
        lab.project.syncset(run).await.expect_success();

        lab.assert_same().await;
        assert_eq!(lab.pending().await, 0);
    }
}

#[tokio::test]
async fn deletes_of_all_units_of_a_run_are_counted_together() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        let arguments = ["pipeline", "run", "p", "--full-refresh"];
        let action = [("SYNCSET_FAIL_POINT", "load.begun=exit9")];
        let killed = lab.project.spawn_with(arguments, &action);
        assert_eq!(killed.wait().await.code, 137);
        // The window behind the load finds the first, comparing keys the others: neither is too
        // many by itself.
        lab.change("UPDATE t SET grp = 2 WHERE id <= 40; DELETE FROM t WHERE id BETWEEN 41 AND 80")
            .await;

        let stopped = lab.run(&["--on-lock", "wait=170s"]).await.expect_code(8);

        let message = table(&stopped)["failure"]["message"].to_string();
        assert!(
            message.contains("would delete 80 of the 1000 rows"),
            "{message}"
        );
        lab.assert_rows(960).await;
        lab.run(&[]).await.expect_success();
        lab.assert_same().await;
    }
}

#[tokio::test]
async fn loading_again_forgets_what_was_pending() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        lab.run(&[]).await.expect_code(8);
        lab.change("UPDATE t SET grp = 1 WHERE id <= 100").await;

        lab.run(&["--full-refresh"]).await.expect_success();

        assert_eq!(lab.pending().await, 0);
        lab.assert_rows(1000).await;
        lab.assert_same().await;
    }
}

#[tokio::test]
async fn tables_that_commit_together_wait_for_the_guard_of_one() {
    for target in targets().await {
        let lab = Lab::new(
            target,
            &format!(
                "{TABLE}; INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, 1000) i; \
                 CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)"
            ),
        )
        .await;
        let write = |consistency: &str| {
            let text = format!(
                "version: 1\nsource: source\ntarget: target\nconsistency: {consistency}\ntables:\n  \
                 public.t: {{ to: t, {XMIN} }}\n  public.u: {{ to: u, capture: xmin }}\n"
            );
            lab.project.pipeline("p", &text);
        };
        write("pipeline");
        lab.run(&[]).await.expect_success();
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100; INSERT INTO u VALUES (2)")
            .await;

        let stopped = lab.run(&[]).await.expect_code(8);
        assert!(
            stopped.stdout.contains("would delete 100 of the 1000 rows"),
            "{}",
            stopped.stdout
        );
        assert_eq!(lab.value("SELECT count(*) FROM u").await, "1");
        assert_eq!(lab.pending().await, 0);

        // What one table left pending is asked about when all commit together.
        write("table");
        lab.run(&[]).await.expect_code(8);
        assert_eq!(lab.pending().await, 100);
        write("pipeline");
        lab.run(&[]).await.expect_code(8);
        lab.change("UPDATE t SET grp = 1, v = 'back' WHERE id <= 10")
            .await;
        lab.run(&["--allow-deletes", "t=90"]).await.expect_success();
        lab.assert_same().await;
        assert_eq!(lab.value("SELECT count(*) FROM u").await, "2");
        assert_eq!(lab.pending().await, 0);
    }
}

#[tokio::test]
async fn dry_run_says_what_the_guard_would_say() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        let warnings = |output: Output| table(&output.expect_success())["warnings"].to_string();

        lab.change("UPDATE t SET grp = 2 WHERE id <= 50").await;
        let few = lab.run(&["--dry-run"]).await;
        assert_eq!(table(&few)["rows_deleted"], 50);
        assert_eq!(warnings(few), "null");

        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        let many = lab.run(&["--dry-run"]).await;
        assert_eq!(table(&many)["rows_deleted"], 100);
        let said = warnings(many);
        assert!(said.contains("a run would exit with 8"), "{said}");
        assert!(said.contains("delete up to 100 of the 1000 rows"), "{said}");
        assert!(said.contains("--allow-deletes public.t=100`"), "{said}");
        let agreed = ["--dry-run", "--allow-deletes", "public.t=100"];
        assert_eq!(warnings(lab.run(&agreed).await), "null");
        assert_eq!(lab.pending().await, 0);
        assert_stopped(lab.run(&[]).await, 100, 1000);

        // What waits is counted with what comes.
        lab.change("UPDATE t SET grp = 2 WHERE id = 101").await;
        let waiting = lab.run(&["--dry-run"]).await;
        assert_eq!(table(&waiting)["deletes_pending"], 100);
        let said = warnings(waiting);
        assert!(said.contains("delete up to 101 of the 1000 rows"), "{said}");
        lab.assert_rows(1000).await;
    }
}

#[tokio::test]
async fn dry_run_counts_the_least_that_whole_tables_lose() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", FULL).await;

        lab.change("DELETE FROM t WHERE id <= 100; INSERT INTO t SELECT i, 1, 'a' FROM generate_series(2001, 2020) i")
            .await;
        let many = lab.run(&["--dry-run"]).await.expect_success();
        lab.change("DELETE FROM t").await;
        let all = lab.run(&["--dry-run"]).await.expect_success();

        assert_eq!(table(&many)["rows_deleted"], 80);
        let said = table(&many)["warnings"].to_string();
        assert!(
            said.contains("delete at least 80 of the 1000 rows"),
            "{said}"
        );
        let said = table(&all)["warnings"].to_string();
        assert!(said.contains("the source selects no row"), "{said}");
        lab.assert_rows(1000).await;
    }
}

#[tokio::test]
async fn plan_names_the_guard_and_how_to_agree() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        let plan = ["pipeline", "plan", "p", "--output", "json"];
        let notes = async || {
            let output = lab.project.syncset(plan).await.expect_success();
            (
                table(&output)["notes"].to_string(),
                table(&output)["deletes_pending"].clone(),
            )
        };

        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        assert_stopped(lab.run(&[]).await, 100, 1000);
        let (waiting, count) = notes().await;
        lab.pipeline("", "capture: xmin, where: \"grp = 1 and id > 300\"");
        let (edited, _) = notes().await;
        lab.pipeline(
            "guards: { max_delete_percent: 100 }\n",
            "capture: xmin, where: \"grp = 1 and id > 300\"",
        );
        let (off, _) = notes().await;

        assert_eq!(count, 100);
        let limits = "50 rows or 5 % of the table";
        for note in [&waiting, &edited] {
            assert!(note.contains(limits), "{note}");
        }
        let agree = "`syncset pipeline run p --allow-deletes public.t=";
        assert!(waiting.contains(&format!("{agree}100`")), "{waiting}");
        assert!(edited.contains(&format!("{agree}N`")), "{edited}");
        assert!(edited.contains("no longer selected"), "{edited}");
        assert!(off.contains("no longer selected"), "{off}");
        assert!(!off.contains(&format!("{agree}N`")), "{off}");
        lab.run(&[]).await.expect_success();
        lab.assert_rows(700).await;
    }
}

#[tokio::test]
async fn slice_asks_no_guard_and_deletes_nothing() {
    for target in targets().await {
        let lab = Lab::synced(target, 1000, "", XMIN).await;
        lab.change("UPDATE t SET grp = 2 WHERE id <= 100").await;
        assert_stopped(lab.run(&[]).await, 100, 1000);
        lab.change("UPDATE t SET grp = 1, v = 'back' WHERE id <= 10")
            .await;

        lab.run(&["--where", "v = 'back'", "--allow-deletes", "t=100"])
            .await
            .expect_success();

        lab.assert_rows(1000).await;
        assert_eq!(lab.pending().await, 90);
    }
}

/// Random rows leave, change and come back over several runs; windows are cut, guards stop, runs
/// are killed. No row is lost before somebody agreed, and then both sides are equal.
async fn rows_survive_any_history(target: Target, seed: u64) {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    println!("seed: {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let fill = format!(
        "{TABLE}; INSERT INTO t SELECT i, 1, repeat('a', 20000) FROM generate_series(1, 400) i"
    );
    let lab = Lab::new(target, &fill).await;
    lab.pipeline(STRICT, XMIN);
    lab.run(&[]).await.expect_success();
    for round in 0..6 {
        let (least, most) = (random.random_range(1..300), random.random_range(50..400));
        let steps = random.random_range(2..20);
        lab.change(&format!(
            "UPDATE t SET grp = 1 + (id + {round}) % {steps} / ({steps} - 1), \
             v = repeat(chr(98 + {round}), 20000) WHERE id BETWEEN {least} AND {least} + {most}; \
             INSERT INTO t SELECT 1000 * ({round} + 1) + i, 1, repeat('n', 10000) FROM generate_series(1, 20) i"
        ))
        .await;
        let before: u64 = lab
            .value("SELECT count(*) FROM t")
            .await
            .parse()
            .expect("a count");
        let arguments = [
            "pipeline",
            "run",
            "p",
            "--memory",
            "4MiB",
            "--on-lock",
            "wait=170s",
        ];
        let point = [
            "unit.before_commit:2",
            "window.unit_committed",
            "deletes.decided",
        ][random.random_range(0..3)];
        if random.random_bool(0.5) {
            let action = format!("{point}=exit9");
            lab.project
                .spawn_with(arguments, &[("SYNCSET_FAIL_POINT", &action)])
                .wait()
                .await;
        }
        let run = lab.project.syncset(arguments).await;
        assert!(matches!(run.code, 0 | 8), "seed {seed}: {}", run.stderr);
        let after: u64 = lab
            .value("SELECT count(*) FROM t")
            .await
            .parse()
            .expect("a count");
        if run.code == 8 {
            assert!(after >= before, "seed {seed}: {before} -> {after}");
            // Whatever is selected is there, and as it is at the source.
            let selected = lab.source.rows("SELECT id, v FROM t WHERE grp = 1").await;
            let there = lab.target.place().rows("SELECT id, v FROM t").await;
            let there: std::collections::BTreeSet<_> = there.into_iter().collect();
            assert!(
                selected.iter().all(|row| there.contains(row)),
                "seed {seed}"
            );
        } else {
            lab.assert_same().await;
        }
        if random.random_bool(0.3) {
            lab.run(&["--allow-deletes", "t=100000"])
                .await
                .expect_success();
            lab.assert_same().await;
        }
    }
    lab.run(&["--allow-deletes", "t=100000"])
        .await
        .expect_success();
    lab.assert_same().await;
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test]
async fn rows_survive_any_history_in_postgres() {
    for _ in 0..2 {
        rows_survive_any_history(Target::postgres().await, rand::random()).await;
    }
}

#[tokio::test]
async fn rows_survive_any_history_in_sqlite() {
    for _ in 0..2 {
        rows_survive_any_history(Target::sqlite(), rand::random()).await;
    }
}
