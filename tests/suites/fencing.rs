//! A run that is stopped, killed or cut off never blocks its successor, and never writes a row
//! after somebody else has taken over.

use kit::{Cut, CutMoment, Database, Load, LoadOptions, Process, Project, Proxy, SqliteFile};

/// Commits of one run that are cut, one after the other; a run here has fewer.
const CUTS_MAX: u32 = 40;

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];
const RUN_WAITING: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=170s"];

/// Rows of the target with the transactions that wrote them.
const IMAGE: &str = "SELECT id, xmin, ctid, label, amount, region, revision FROM load_item";

struct Lab {
    source: Database,
    target: Database,
    load: Load,
}

impl Lab {
    /// A source of more than one chunk.
    async fn new() -> Self {
        let server = kit::postgres().await;
        let source = server.database("fence_source").await;
        let options = LoadOptions {
            initial_rows: 10_000,
            label_bytes: 1_000,
            ..LoadOptions::default()
        };
        let load = Load::create(&source, options).await;
        Self {
            source,
            target: server.database("fence_target").await,
            load,
        }
    }

    fn project(&self, target_url: &str) -> Project {
        let project = Project::between(&self.source.url(), target_url);
        project.pipeline("p", &pipeline());
        project
    }

    /// A project whose lease lasts a day, so that no test waits for its end.
    fn patient_project(&self) -> Project {
        let project = Project::new(&format!(
            "version: 1\nlease: {{ expires: 24h }}\nconnections:\n  source: {{ type: postgres, \
             url: \"{}\" }}\n  target: {{ type: postgres, url: \"{}\" }}\n",
            self.source.url(),
            self.target.url()
        ));
        project.pipeline("p", &pipeline());
        project
    }

    async fn assert_complete(&self) {
        self.load
            .ledger()
            .assert_at(&self.source, &self.target)
            .await;
    }
}

fn pipeline() -> String {
    format!(
        "version: 1\nsource: source\ntarget: target\nguards: {{ max_delete_percent: 100 }}\n\
         tables:\n  public.{}:\n    \
         columns: [id, label, amount, region, revision]\n    where: \"{}\"\n    \
         capture: {{ mode: cursor, column: updated_at, written_by: database }}\n    \
         rejects: {{ max_rows: 100 }}\n",
        Load::TABLE,
        Load::WHERE,
    )
}

async fn stopped_run_is_succeeded_and_writes_nothing_more(point: &str) {
    let lab = Lab::new().await;
    let project = lab.project(&lab.target.url());
    let action = format!("{point}=stop");
    let stopped = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
    assert!(stopped.frozen().await, "the run never came to {point}");

    project.syncset(RUN_WAITING).await.expect_success();
    let after_successor = lab.target.rows(IMAGE).await;
    stopped.cont();
    let output = stopped.wait().await;

    assert_eq!(output.code, 7, "{}", output.stdout);
    assert_eq!(lab.target.rows(IMAGE).await, after_successor);
    lab.assert_complete().await;
}

#[tokio::test]
async fn run_stopped_inside_copy_is_succeeded() {
    stopped_run_is_succeeded_and_writes_nothing_more("chunk.batch").await;
}

#[tokio::test]
async fn run_stopped_before_commit_is_succeeded() {
    stopped_run_is_succeeded_and_writes_nothing_more("unit.before_commit:2").await;
}

#[tokio::test]
async fn run_stopped_between_units_is_succeeded() {
    stopped_run_is_succeeded_and_writes_nothing_more("unit.committed").await;
}

#[tokio::test]
async fn run_stopped_after_settling_was_compared_is_succeeded() {
    stopped_run_is_succeeded_and_writes_nothing_more("settle.compared").await;
}

/// What an SQLite target holds: rows with their places, and what the state says of them.
async fn image_of(file: &SqliteFile) -> Vec<Vec<Option<String>>> {
    let mut rows = file
        .rows("SELECT rowid, * FROM load_item ORDER BY id")
        .await;
    rows.extend(
        file.rows("SELECT stream, phase, version, position FROM _syncset_watermark")
            .await,
    );
    rows
}

/// A run to an SQLite file that is frozen at a point of its first load.
struct Frozen {
    lab: Lab,
    file: SqliteFile,
    project: Project,
    run: Process,
}

impl Frozen {
    async fn at(point: &str) -> Self {
        let lab = Lab::new().await;
        let project = Project::between(&lab.source.url(), "sqlite:target.db");
        project.pipeline("p", &format!("{}    to: \"{{table}}\"\n", pipeline()));
        let action = format!("{point}=stop");
        let run = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
        assert!(run.frozen().await, "the run never came to {point}");
        Self {
            file: project.sqlite("target.db"),
            lab,
            project,
            run,
        }
    }
}

#[tokio::test]
async fn run_to_sqlite_stopped_outside_of_a_unit_is_succeeded() {
    for point in ["load.begun", "settle.compared"] {
        let Frozen {
            lab,
            file,
            project,
            run: stopped,
        } = Frozen::at(point).await;

        project.syncset(RUN_WAITING).await.expect_success();
        let after_successor = image_of(&file).await;
        stopped.cont();
        let output = stopped.wait().await;

        assert_eq!(output.code, 7, "{}", output.stdout);
        assert_eq!(image_of(&file).await, after_successor);
        lab.load.ledger().assert_at(&lab.source, &file).await;
    }
}

#[tokio::test]
async fn run_to_sqlite_stopped_inside_a_unit_is_named_and_goes_on() {
    for point in ["chunk.batch", "unit.before_commit:2"] {
        let Frozen {
            lab,
            file,
            project,
            run: stopped,
        } = Frozen::at(point).await;

        // Nobody can take SQLite's lock from a process: the successor says who has it.
        let refused = project.syncset(RUN_WAITING).await;
        stopped.cont();

        assert_eq!(refused.code, 7, "{}", refused.stderr);
        let owner = format!("pid {}", stopped.pid());
        assert!(refused.stdout.contains(&owner) || refused.stderr.contains(&owner));
        stopped.wait().await.expect_success();
        lab.load.ledger().assert_at(&lab.source, &file).await;
    }
}

#[tokio::test]
async fn run_that_is_stopped_from_outside_is_succeeded() {
    let lab = Lab::new().await;
    let project = lab.project(&lab.target.url());
    let stopped = project.spawn(RUN);
    kit::eventually("the load has begun", async || {
        lab.target
            .try_execute("SELECT 1 FROM _syncset.chunk WHERE false")
            .await
            .is_ok()
    })
    .await;
    stopped.stop();

    project.syncset(RUN_WAITING).await.expect_success();
    let after_successor = lab.target.rows(IMAGE).await;
    stopped.cont();
    let output = stopped.wait().await;

    // It may have been through before it was stopped.
    assert!([0, 7].contains(&output.code), "{}", output.stdout);
    assert_eq!(lab.target.rows(IMAGE).await, after_successor);
    lab.assert_complete().await;
}

#[tokio::test]
async fn run_after_kill_9_starts_at_once() {
    for point in ["load.begun", "unit.begun", "chunk.batch", "unit.committed"] {
        let lab = Lab::new().await;
        let project = lab.patient_project();
        let action = format!("{point}=exit9");
        let killed = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", &action)]);
        assert_eq!(killed.wait().await.code, 137, "{point}");

        // Without `--on-lock` it would be refused if somebody had the lease.
        project.syncset(RUN).await.expect_success();

        lab.assert_complete().await;
    }
}

#[tokio::test]
async fn killed_load_goes_on_under_another_name() {
    let lab = Lab::new().await;
    let project = lab.patient_project();
    let killed = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", "unit.committed=exit9")]);
    assert_eq!(killed.wait().await.code, 137);
    let chunks = |name: &str| {
        format!(
            "SELECT count(*), count(*) FILTER (WHERE done) FROM _syncset.chunk WHERE pipeline = '{name}'"
        )
    };
    let before = lab.target.rows(&chunks("p")).await;
    let files = project.path().join("pipelines");
    std::fs::rename(files.join("p.yaml"), files.join("q.yaml")).unwrap();

    project
        .syncset(["pipeline", "adopt", "p", "q"])
        .await
        .expect_success();

    assert_eq!(lab.target.rows(&chunks("q")).await, before);
    assert_ne!(before[0][1].as_deref(), Some("0"));
    project
        .syncset(["pipeline", "run", "q"])
        .await
        .expect_success();
    lab.assert_complete().await;
}

#[tokio::test]
async fn second_run_is_told_and_skips_or_fails() {
    let lab = Lab::new().await;
    let project = lab.patient_project();
    let first = project.spawn_with(RUN, &[("SYNCSET_FAIL_POINT", "unit.begun=stop")]);
    assert!(first.frozen().await);

    let failed = project.syncset(RUN).await;
    let skip = ["pipeline", "run", "p", "--on-lock", "skip"];
    let skipped = project.syncset(skip).await;
    first.cont();

    assert_eq!(failed.code, 7);
    assert_eq!(skipped.code, 0);
    first.wait().await.expect_success();
    lab.assert_complete().await;
}

/// Cuts the first, second, third ... COMMIT of a run, until a run has no such COMMIT.
async fn cut_commits_lose_and_reject_nothing(moment: CutMoment) {
    let mut lab = Lab::new().await;
    let server = kit::postgres().await;
    let proxy = Proxy::before(server.host(), server.port()).await;
    let mut cuts = 0;
    for skip in 0..CUTS_MAX {
        lab.target = server.database("fence_target").await;
        let project = lab.project(&lab.target.url_through(proxy.port()));
        proxy.arm(Cut::commit(skip, moment));

        let output = project.syncset(RUN).await;
        let was_cut = proxy.cuts_done() > cuts;
        cuts = proxy.cuts_done();
        proxy.disarm();

        // A cut outside of a unit may end the run, but only as one that is worth retrying.
        assert!([0, 9].contains(&output.code), "{skip}: {}", output.stdout);
        if output.code == 9 {
            project.syncset(RUN_WAITING).await.expect_success();
        }
        lab.assert_complete().await;
        let rejected = "SELECT count(*) FROM _syncset.rejected";
        assert_eq!(lab.target.value(rejected).await, "0", "{skip}");
        if !was_cut {
            assert!(skip > 3, "a run commits more than {skip} times");
            return;
        }
    }
    panic!("a run does not commit {CUTS_MAX} times");
}

#[tokio::test]
async fn answer_of_a_commit_that_is_lost_loses_nothing() {
    cut_commits_lose_and_reject_nothing(CutMoment::AnswerLost).await;
}

#[tokio::test]
async fn commit_that_is_still_under_way_is_waited_for() {
    cut_commits_lose_and_reject_nothing(CutMoment::AnswerOpen).await;
}

#[tokio::test]
async fn commit_that_never_arrives_is_done_again() {
    cut_commits_lose_and_reject_nothing(CutMoment::RequestLost).await;
}

#[tokio::test]
async fn links_cut_at_any_moment_lose_nothing() {
    let mut lab = Lab::new().await;
    let server = kit::postgres().await;
    let proxy = Proxy::before(server.host(), server.port()).await;
    let project = lab.project(&lab.target.url_through(proxy.port()));
    for _ in 0..5 {
        let running = lab.load.start();
        let run = project.spawn(RUN_WAITING);
        running.commits(20).await;
        proxy.cut_all();
        let output = run.wait().await;
        lab.load = running.stop().await;

        assert!([0, 9].contains(&output.code), "{}", output.stdout);
    }

    project.syncset(RUN_WAITING).await.expect_success();
    lab.assert_complete().await;
}
