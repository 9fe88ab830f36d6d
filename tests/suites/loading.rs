//! What becomes of rows that are deleted at the source while their table is loaded.

use kit::{Database, Project, compare};

const RUN: [&str; 3] = ["pipeline", "run", "p"];

const CAPTURES: [&str; 3] = [
    "xmin",
    "{ mode: cursor, column: updated_at, written_by: database }",
    "{ mode: cursor, column: updated_at, written_by: application, overlap: 1h }",
];

struct Lab {
    source: Database,
    target: Database,
    project: Project,
}

impl Lab {
    /// A source of several chunks. No row is as young as the low watermark of a load.
    async fn new(capture: &str) -> Self {
        let server = kit::postgres().await;
        let source = server.database("loading_source").await;
        let target = server.database("loading_target").await;
        source
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY, note text NOT NULL, \
                 updated_at timestamptz NOT NULL DEFAULT now()); \
                 INSERT INTO t SELECT i, repeat('x', 1000), now() - interval '1 day' \
                 FROM generate_series(1, 20000) i; ANALYZE t",
            )
            .await;
        let project = Project::between(&source.url(), &target.url());
        project.pipeline(
            "p",
            &format!(
                "version: 1\nsource: source\ntarget: target\ncapture: {capture}\n\
                 tables: {{ public.t: {{}} }}\n"
            ),
        );
        Self {
            source,
            target,
            project,
        }
    }

    async fn run_killed_at(&self, point: &str) {
        let action = format!("{point}=exit9");
        let killed = self
            .project
            .spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
        assert_eq!(killed.wait().await.code, 137, "{point}");
    }

    /// Deletes rows of every chunk, and leaves no younger row behind.
    async fn delete_some(&self) {
        self.source.execute("DELETE FROM t WHERE id % 7 = 0").await;
    }

    async fn assert_equal(&self) {
        let rows = "SELECT * FROM t";
        compare(&self.source, &self.target, rows, rows)
            .await
            .assert_equal();
    }
}

#[tokio::test]
async fn rows_deleted_behind_a_load_are_gone_at_its_end() {
    for capture in CAPTURES {
        let lab = Lab::new(capture).await;
        let run = lab
            .project
            .spawn_with(RUN, &[("SYNCSET_FAIL_POINT", "unit.committed:2=stop")]);
        assert!(run.frozen().await, "{capture}");

        lab.delete_some().await;
        run.cont();

        run.wait().await.expect_success();
        lab.assert_equal().await;
    }
}

#[tokio::test]
async fn rows_deleted_between_a_killed_load_and_the_next_run_are_gone_at_its_end() {
    for capture in CAPTURES {
        let lab = Lab::new(capture).await;
        lab.run_killed_at("unit.committed:2").await;

        lab.delete_some().await;

        lab.project.syncset(RUN).await.expect_success();
        lab.assert_equal().await;
    }
}

/// Equal counts prove equal keys only as long as no window brought a row.
#[tokio::test]
async fn as_many_rows_inserted_as_deleted_do_not_hide_the_deleted_ones() {
    for capture in CAPTURES {
        for window_survives in [true, false] {
            let lab = Lab::new(capture).await;
            lab.run_killed_at("unit.committed:2").await;
            // In the range of the first chunk, which is done.
            lab.source
                .execute("INSERT INTO t SELECT -i, 'new' FROM generate_series(1, 10) i")
                .await;
            if !window_survives {
                lab.run_killed_at("window.unit_committed").await;
            }

            lab.source
                .execute("DELETE FROM t WHERE id BETWEEN 1 AND 10")
                .await;

            lab.project.syncset(RUN).await.expect_success();
            lab.assert_equal().await;
        }
    }
}

#[tokio::test]
async fn chunks_remember_how_many_rows_they_brought() {
    let lab = Lab::new(CAPTURES[0]).await;
    lab.run_killed_at("unit.committed:2").await;

    let remembered = "SELECT sum(row_count) FROM _syncset.chunk WHERE done";
    let remembered = lab.target.value(remembered).await;

    assert_eq!(remembered, lab.target.value("SELECT count(*) FROM t").await);
    assert_ne!(remembered, "0");
}

#[tokio::test]
async fn load_rests_between_its_chunks_if_it_may_not_keep_a_database_busy() {
    let lab = Lab::new("xmin").await;
    let rested = |output: &kit::Output| output.json()["tables"][0]["rested_ms"].clone();
    let run = |flags: &[&'static str]| [&RUN[..], &["--output", "json"], flags].concat();

    let slow = lab
        .project
        .syncset(run(&["--max-load", "20%", "--jobs", "1"]))
        .await;

    assert_eq!(slow.code, 0, "{}", slow.stderr);
    let milliseconds = rested(&slow).as_u64().expect("it rested");
    assert!(milliseconds > 0, "{}", slow.stdout);
    lab.assert_equal().await;
    let whole = lab.project.syncset(run(&["--full-refresh"])).await;
    assert_eq!((whole.code, rested(&whole)), (0, serde_json::Value::Null));
    let wrong = lab.project.syncset(run(&["--max-load", "0%"])).await;
    assert_eq!(wrong.code, 2, "{}", wrong.stdout);
}

#[tokio::test]
async fn rows_left_out_here_do_not_make_up_for_rows_deleted_behind_a_killed_load() {
    let lab = Lab::new("xmin").await;
    lab.project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ncapture: xmin\ntables:\n  \
         public.t: { where: \"length(note) > 10\", where_pushdown: best_effort }\n",
    );
    let left_out = "UPDATE t SET note = 'x' WHERE id <= 5";
    lab.source.execute(left_out).await;
    let one_by_one = [&RUN[..], &["--jobs", "1"]].concat();
    let kill = [("SYNCSET_FAIL_POINT", "unit.committed=exit9")];
    let killed = lab.project.spawn_with(one_by_one.clone(), &kill);
    assert_eq!(killed.wait().await.code, 137);
    assert_ne!(lab.target.value("SELECT count(*) FROM t").await, "0");
    // As many as the chunk that is there has left out.
    let deleted = "DELETE FROM t WHERE id BETWEEN 6 AND 10";
    lab.source.execute(deleted).await;

    lab.project.syncset(one_by_one).await.expect_success();

    let selected = "SELECT * FROM t WHERE length(note) > 10";
    compare(&lab.source, &lab.target, selected, "SELECT * FROM t")
        .await
        .assert_equal();
}
