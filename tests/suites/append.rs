//! `write: { mode: append }`: every version of a row that a window brings is there once.

use crate::targets::Target;
use kit::{Database, Output, Project, eventually};

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

const EVENTS: &str = "CREATE TABLE e (id int PRIMARY KEY, v text,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO e SELECT g, 'old', now() - interval '1 hour' FROM generate_series(1, 300) g";

const BY_TIME: &str = "write: { mode: append }, \
    capture: { mode: cursor, column: at, written_by: database }";

const SELECT: &str = "SELECT id, v FROM e";

struct Lab {
    source: Database,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new(target: Target, tables: &str, settings: &str) -> Self {
        let source = kit::postgres().await.database("append_source").await;
        source.execute(tables).await;
        let lab = Self {
            project: Project::between(&source.url(), &target.place().url()),
            source,
            target,
        };
        lab.settings(settings);
        lab
    }

    fn settings(&self, settings: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  public.e: {{ to: e, {settings} }}\n"
        );
        self.project.pipeline("p", &text);
    }

    async fn run(&self) -> Output {
        self.project.syncset(RUN).await
    }

    async fn count(&self) -> String {
        let rows = self.target.place().rows("SELECT count(*) FROM e").await;
        rows[0][0].clone().unwrap_or_default()
    }

    /// Runs until the target holds so many rows: the bound passes a stamp a second later.
    async fn run_until(&self, count: &str) {
        eventually("all rows were appended", async || {
            self.run().await.expect_success();
            self.count().await == count
        })
        .await;
    }
}

#[tokio::test]
async fn versions_of_a_row_are_appended_once_each_and_nothing_is_deleted() {
    for target in [Target::postgres().await, Target::sqlite()] {
        for key in ["PRIMARY KEY", "NOT NULL"] {
            let target = target.another().await;
            let tables = EVENTS.replace("PRIMARY KEY", key);
            let lab = Lab::new(target, &tables, BY_TIME).await;
            lab.run().await.expect_success();
            assert_eq!(lab.count().await, "300");

            lab.source
                .execute(
                    "UPDATE e SET v = 'changed', at = clock_timestamp() WHERE id <= 10;
                     INSERT INTO e SELECT g, 'new' FROM generate_series(301, 320) g;
                     DELETE FROM e WHERE id BETWEEN 11 AND 20",
                )
                .await;
            lab.run_until("330").await;

            let history = "SELECT id, v FROM e UNION ALL
                SELECT g, 'old' FROM generate_series(1, 20) g";
            kit::assert_same_bag(&lab.source, lab.target.place(), history, SELECT).await;
            let idle = lab.run().await.expect_success();
            assert_eq!(idle.json()["tables"][0]["outcome"], "unchanged");
        }
    }
}

#[tokio::test]
async fn rows_above_the_overlap_wait_and_plan_says_so() {
    let waits = BY_TIME.replace(
        "written_by: database",
        "written_by: application, overlap: 30m",
    );
    for target in [Target::postgres().await, Target::sqlite()] {
        let lab = Lab::new(target, EVENTS, &waits).await;
        lab.source
            .execute("INSERT INTO e VALUES (900, 'young', now() - interval '10 minutes')")
            .await;

        let planned = lab
            .project
            .syncset(["pipeline", "plan", "p"])
            .await
            .expect_success();
        lab.run().await.expect_success();
        lab.run().await.expect_success();

        assert_eq!(lab.count().await, "300");
        assert!(
            planned
                .stdout
                .contains("rows of `public.e` come 1801 s after their `at` at the earliest"),
            "{}",
            planned.stdout
        );
    }
}

#[tokio::test]
async fn edited_overlap_leaves_no_gap_and_doubles_nothing() {
    let by = |overlap: &str| {
        BY_TIME.replace(
            "written_by: database",
            &format!("written_by: application, overlap: {overlap}"),
        )
    };
    let tables = format!(
        "{EVENTS}; INSERT INTO e SELECT g, 'minutes', now() - interval '1 minute' * (g - 1000)
         FROM generate_series(1001, 1100) g"
    );
    let lab = Lab::new(Target::postgres().await, &tables, &by("50m")).await;
    lab.run().await.expect_success();
    for overlap in ["20m", "80m", "40m", "3m", "10m", "0s"] {
        lab.settings(&by(overlap));
        lab.run().await.expect_success();
        lab.run().await.expect_success();
    }

    kit::assert_same_bag(&lab.source, lab.target.place(), SELECT, SELECT).await;
}

#[tokio::test]
async fn killed_loads_and_windows_append_nothing_twice() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let lab = Lab::new(target, EVENTS, BY_TIME).await;
        let mut rows = 300;
        let points = [
            "load.low_known",
            "load.begun",
            "chunk.batch",
            "unit.before_commit",
            "unit.committed",
            "settle.compared",
            "window.batch",
            "unit.before_commit",
            "window.unit_committed",
        ];
        for point in points {
            let action = format!("{point}=exit9");
            // The bound has to pass the stamps before a window holds a row.
            eventually("the run came by the point", async || {
                let run = lab
                    .project
                    .spawn_with(RUN, &[("SYNCSET_FAIL_POINT", action.as_str())]);
                run.wait().await.code == 128 + 9
            })
            .await;
            lab.source
                .execute(&format!(
                    "INSERT INTO e SELECT g, 'new' FROM generate_series({}, {}) g",
                    rows + 1,
                    rows + 10
                ))
                .await;
            rows += 10;
        }

        lab.run_until(&rows.to_string()).await;

        kit::assert_same_bag(&lab.source, lab.target.place(), SELECT, SELECT).await;
    }
}

#[tokio::test]
async fn nothing_is_loaded_into_a_target_that_holds_rows() {
    let lab = Lab::new(Target::postgres().await, EVENTS, BY_TIME).await;
    lab.run().await.expect_success();
    let refresh: Vec<&str> = RUN.into_iter().chain(["--full-refresh"]).collect();

    let refused = lab.project.syncset(&refresh).await.expect_code(8);
    lab.project
        .syncset(["pipeline", "reset", "p"])
        .await
        .expect_success();
    let after_reset = lab.run().await.expect_code(8);

    let reasons = [
        (refused, "--full-refresh"),
        (after_reset, "it was reset, or its table was altered"),
    ];
    for (output, reason) in reasons {
        let report = output.json();
        let failure = &report["tables"][0]["failure"];
        assert_eq!(
            failure["message"],
            format!(
                "table `public.e` is appended to and cannot be loaded again: {reason}, and its target table holds rows already"
            )
        );
    }
    assert_eq!(lab.count().await, "300");

    lab.target.place().execute("TRUNCATE e").await;
    lab.run().await.expect_success();

    kit::assert_same_bag(&lab.source, lab.target.place(), SELECT, SELECT).await;
}

#[tokio::test]
async fn rewritten_and_purged_sources_go_on_where_they_were() {
    let lab = Lab::new(Target::postgres().await, EVENTS, BY_TIME).await;
    lab.run().await.expect_success();

    lab.source.execute("CLUSTER e USING e_pkey").await;
    lab.run().await.expect_success();
    lab.source
        .execute("ALTER TABLE e ADD COLUMN more int DEFAULT 7")
        .await;
    lab.settings(&format!("columns: [id, v, at], {BY_TIME}"));
    lab.run().await.expect_success();
    lab.source
        .execute("TRUNCATE e; INSERT INTO e (id, v) VALUES (1, 'again')")
        .await;
    lab.run_until("301").await;

    let history = "SELECT id, v FROM e UNION ALL SELECT g, 'old' FROM generate_series(1, 300) g";
    kit::assert_same_bag(&lab.source, lab.target.place(), history, SELECT).await;
}

#[tokio::test]
async fn table_that_was_created_anew_stops_instead_of_doubling() {
    let lab = Lab::new(Target::postgres().await, EVENTS, BY_TIME).await;
    lab.run().await.expect_success();
    lab.source.execute(&format!("DROP TABLE e; {EVENTS}")).await;

    let stopped = lab.run().await.expect_code(8);

    assert!(
        stopped
            .stdout
            .contains("the table was created anew since the last run"),
        "{}",
        stopped.stdout
    );
    assert_eq!(lab.count().await, "300");
}

#[tokio::test]
async fn attached_partitions_come_whole_and_those_that_come_back_do_not() {
    let tables = "CREATE TABLE e (id int, v text, at timestamptz NOT NULL DEFAULT clock_timestamp())
            PARTITION BY LIST (v);
        CREATE TABLE e_old PARTITION OF e FOR VALUES IN ('old');
        INSERT INTO e SELECT g, 'old', now() - interval '1 hour' FROM generate_series(1, 50) g;
        CREATE TABLE e_new (id int, v text, at timestamptz NOT NULL);
        INSERT INTO e_new SELECT g, 'new', now() - interval '2 hours' FROM generate_series(1, 30) g";
    let lab = Lab::new(Target::postgres().await, tables, BY_TIME).await;
    lab.run().await.expect_success();

    lab.source
        .execute("ALTER TABLE e ATTACH PARTITION e_new FOR VALUES IN ('new')")
        .await;
    lab.run().await.expect_success();
    lab.source
        .execute("ALTER TABLE e DETACH PARTITION e_old")
        .await;
    lab.run().await.expect_success();
    lab.source
        .execute("ALTER TABLE e ATTACH PARTITION e_old FOR VALUES IN ('old')")
        .await;
    lab.run().await.expect_success();

    kit::assert_same_bag(&lab.source, lab.target.place(), SELECT, SELECT).await;
}

#[tokio::test]
async fn numbers_are_appended_once_the_overlap_is_behind_them() {
    let by_number = "write: { mode: append }, capture: { mode: cursor, column: id, overlap: 10 }";
    for target in [Target::postgres().await, Target::sqlite()] {
        let lab = Lab::new(target, EVENTS, by_number).await;
        lab.run().await.expect_success();
        assert_eq!(lab.count().await, "289");

        // A number that was taken before its neighbours and committed after them.
        lab.source
            .execute("INSERT INTO e VALUES (311, 'new'); DELETE FROM e WHERE id = 295")
            .await;
        lab.run().await.expect_success();
        lab.source
            .execute("INSERT INTO e VALUES (302, 'late'), (330, 'new')")
            .await;
        lab.run().await.expect_success();

        kit::assert_same_bag(
            &lab.source,
            lab.target.place(),
            "SELECT id, v FROM e WHERE id < 320",
            SELECT,
        )
        .await;
    }
}

#[tokio::test]
async fn first_version_of_a_key_stays_where_the_key_is_asked_for() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let lab = Lab::new(target, EVENTS, &format!("key: [id], {BY_TIME}")).await;
        lab.run().await.expect_success();
        lab.source
            .execute(
                "UPDATE e SET v = 'changed', at = clock_timestamp() WHERE id <= 10;
                 INSERT INTO e VALUES (301, 'new')",
            )
            .await;

        lab.run_until("301").await;

        let first = "SELECT id, CASE WHEN id <= 10 THEN 'old' ELSE v END FROM e";
        kit::assert_same_bag(&lab.source, lab.target.place(), first, SELECT).await;
    }
}

#[tokio::test]
async fn rows_that_are_not_selected_are_never_appended() {
    for target in [Target::postgres().await, Target::sqlite()] {
        let tables = EVENTS.replace("PRIMARY KEY", "NOT NULL");
        let lab = Lab::new(target, &tables, &format!("where: \"v = 'old'\", {BY_TIME}")).await;
        lab.run().await.expect_success();
        lab.source
            .execute(
                "UPDATE e SET v = 'hidden', at = clock_timestamp() WHERE id <= 10;
                 INSERT INTO e VALUES (301, 'hidden'), (302, 'old')",
            )
            .await;

        lab.run_until("301").await;

        let wanted = "SELECT id, v FROM e WHERE v = 'old' UNION ALL
            SELECT g, 'old' FROM generate_series(1, 10) g";
        kit::assert_same_bag(&lab.source, lab.target.place(), wanted, SELECT).await;
    }
}

#[tokio::test]
async fn refused_parent_holds_its_rows_back_without_doubling() {
    let tables = format!(
        "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1);
         {EVENTS}; ALTER TABLE e ADD COLUMN p int DEFAULT 1"
    );
    let target = Target::postgres().await;
    target
        .place()
        .execute(
            "CREATE TABLE p (id int PRIMARY KEY);
             CREATE TABLE e (id int, v text, at timestamptz, p int REFERENCES p)",
        )
        .await;
    let lab = Lab::new(target, &tables, BY_TIME).await;
    let text = format!(
        "version: 1\nsource: source\ntarget: target\ntables:\n  public.e: {{ to: e, {BY_TIME} }}\n  public.p: {{ to: p }}\n"
    );
    lab.project.pipeline("p", &text);

    // The source knows no foreign key, so the events have their turn first.
    lab.run().await.expect_success();
    lab.run().await.expect_success();

    kit::assert_same_bag(&lab.source, lab.target.place(), SELECT, SELECT).await;
}

#[tokio::test]
async fn rights_to_insert_are_enough_to_append() {
    let (Target::Postgres(target), source) = (
        Target::postgres().await,
        kit::postgres().await.database("append_rights").await,
    ) else {
        unreachable!("that is what was asked for")
    };
    source.execute(EVENTS).await;
    target
        .execute("CREATE TABLE e (id int, v text, at timestamptz NOT NULL)")
        .await;
    let create = format!("CREATE ON DATABASE \"{}\"", target.name());
    let writer = target
        .role("appender", &[&create, "SELECT, INSERT ON e"])
        .await;
    let project = Project::between(&source.url(), &writer.url);
    let pipeline = |settings: &str| {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  public.e: {{ to: e, {settings} }}\n"
        );
        project.pipeline("p", &text);
    };

    pipeline("capture: full, key: [id]");
    let examined = project.syncset(["doctor", "p"]).await;
    let refused = project.syncset(RUN).await;
    pipeline(BY_TIME);
    project.syncset(["doctor", "p"]).await.expect_success();
    project.syncset(RUN).await.expect_success();

    assert_eq!(examined.code, 1, "{}", examined.stdout);
    let grant = "GRANT UPDATE, DELETE ON";
    assert!(examined.stdout.contains(grant), "{}", examined.stdout);
    assert_eq!(refused.code, 5, "{}", refused.stdout);
    assert!(
        refused.stdout.contains("UPDATE, DELETE"),
        "{}",
        refused.stdout
    );
    assert_eq!(target.value("SELECT count(*) FROM e").await, "300");
}
