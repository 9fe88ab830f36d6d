//! A source under load, a target, and runs between them that are killed or cut off: at the end,
//! every write of the ledger is at the target exactly once.

use crate::targets::Target;
use kit::{Load, LoadOptions, Output, Project, RunningLoad, Weights};
use rand::Rng;
use std::time::Duration;

/// A killed run's session may linger for a moment; the next run waits for it this long.
pub(crate) const RUN: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=30s"];

/// What a pipeline does with the table of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// What is read: the table, or a view of it.
    pub(crate) table: &'static str,
    capture: &'static str,
    write: &'static str,
}

/// A view of the whole table: it has no key.
pub(crate) const VIEW: &str = "load_view";

pub(crate) const CURSOR: How = How {
    table: Load::TABLE,
    capture: "{ mode: cursor, column: updated_at, written_by: database }",
    write: "upsert",
};
pub(crate) const XMIN: How = How {
    capture: "xmin",
    ..CURSOR
};
pub(crate) const FULL: How = How {
    capture: "full",
    ..CURSOR
};
pub(crate) const HASH: How = How {
    capture: "hash",
    ..CURSOR
};
pub(crate) const REPLACE: How = How {
    write: "replace",
    ..FULL
};
pub(crate) const KEYLESS: How = How {
    table: VIEW,
    ..REPLACE
};

impl How {
    /// True if it brings deletes of the source.
    pub(crate) fn sees_deletes(self) -> bool {
        [FULL.capture, HASH.capture].contains(&self.capture)
    }
}

/// A source under load and a target.
pub(crate) struct Lab {
    /// Sources are of the same kinds as targets.
    pub(crate) source: Target,
    pub(crate) target: Target,
    pub(crate) project: Project,
    /// The URL that runs read from.
    source_url: String,
    how: How,
    /// How many runs, or sessions of runs, were killed.
    pub(crate) kills: u32,
}

impl Lab {
    pub(crate) fn new(source: Target, target: Target, how: How) -> Self {
        let url = source.url();
        Self::reading(source, url, target, how)
    }

    /// The same with a URL for runs to read from, such as that of a user with fewer rights.
    pub(crate) fn reading(source: Target, source_url: String, target: Target, how: How) -> Self {
        let project = project(&source, &source_url, &target, how);
        Self {
            source,
            target,
            project,
            source_url,
            how,
            kills: 0,
        }
    }

    /// The table of a load, and the view of it.
    pub(crate) async fn create(&self, options: LoadOptions) -> Load {
        let load = Load::create(self.source.place(), options).await;
        let view = format!("CREATE VIEW {VIEW} AS SELECT * FROM {}", Load::TABLE);
        self.source.execute(&view).await;
        load
    }

    /// Starts over with an empty target.
    pub(crate) async fn empty_target(&mut self) {
        self.target = self.target.another().await;
        self.project = project(&self.source, &self.source_url, &self.target, self.how);
    }

    pub(crate) async fn run(&self) -> Output {
        self.project.syncset(RUN).await.expect_success()
    }

    /// Kills a run after a random part of `longest`. A run that was faster does not count.
    pub(crate) async fn kill_within(&mut self, longest: Duration) {
        let moment = longest.mul_f64(rand::rng().random_range(0.0..1.0));
        let mut run = self.project.spawn(RUN);
        if !run.ends_within(moment).await {
            run.kill9();
        }
        self.count(run.wait().await);
    }

    /// Kills a run at a fail point, if it comes by.
    pub(crate) async fn kill_at(&mut self, point: &str) -> bool {
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let before = self.kills;
        let run = self.project.spawn_with(RUN, &variables);
        self.count(run.wait().await);
        self.kills > before
    }

    fn count(&mut self, output: Output) {
        const KILLED: i32 = 128 + 9;
        if output.code == KILLED {
            self.kills += 1;
        } else {
            output.expect_success();
        }
    }

    /// Stops the writers, lets one run finish, compares every row, starts the writers again.
    pub(crate) async fn compare(&self, running: RunningLoad) -> Load {
        let load = running.stop().await;
        self.run().await;
        load.ledger()
            .assert_at(self.source.place(), self.target.place())
            .await;
        load
    }

    /// Kills runs at one point after the other while the source changes, then compares.
    pub(crate) async fn kill_at_each(
        &mut self,
        load: Load,
        points: &[&'static str],
        missed: &mut Vec<&'static str>,
    ) -> Load {
        let running = load.start();
        for point in points {
            running.commits(10).await;
            if !self.kill_at(point).await {
                missed.push(point);
            }
        }
        self.compare(running).await
    }

    pub(crate) fn publish(&self, what: &str, commits: u64) {
        println!("{what}: {} kills, {commits} commits, 0 lost", self.kills);
    }
}

fn project(source: &Target, source_url: &str, target: &Target, how: How) -> Project {
    let project = Project::between(source_url, &target.url());
    let How {
        table,
        capture,
        write,
    } = how;
    let schema = source.pick("public.", "");
    let pipeline = format!(
        "version: 1\nsource: source\ntarget: target\n\
         guards: {{ max_delete_percent: 99, max_delete_rows_always_allowed: 0, empty_source: allow }}\n\
         tables:\n  {schema}{table}:\n    \
         columns: [id, label, amount, region, revision]\n    where: \"{}\"\n    \
         capture: {capture}\n    write: {{ mode: {write} }}\n    to: {}{}\n",
        Load::WHERE,
        target.pick("public.", ""),
        Load::TABLE,
    );
    project.pipeline("p", &pipeline);
    project
}

/// Rows enough for three chunks. They are wide and few: each costs all the servers something.
pub(crate) fn wide() -> LoadOptions {
    LoadOptions {
        initial_rows: 8_000,
        label_bytes: 1_200,
        ..LoadOptions::default()
    }
}

pub(crate) fn narrow(source: &Target) -> LoadOptions {
    let two_phase_percent = match source {
        Target::Postgres(_) => 5,
        // The other tests of the server would see these transactions too.
        Target::Mysql(_) | Target::Sqlite(..) => 0,
    };
    LoadOptions {
        initial_rows: 2_000,
        wait_percent: 10,
        two_phase_percent,
        ..LoadOptions::default()
    }
}

pub(crate) fn with_deletes(source: &Target) -> LoadOptions {
    LoadOptions {
        weights: Weights {
            insert: 4,
            update: 6,
            relocate: 3,
            delete: 4,
        },
        ..narrow(source)
    }
}

/// The source of most tests.
pub(crate) async fn from_postgres() -> Target {
    Target::Postgres(kit::postgres().await.database("crash_source").await)
}

pub(crate) async fn mysql() -> Target {
    Target::mysql(kit::mysql()).await
}

pub(crate) async fn mariadb() -> Target {
    Target::mysql(kit::mariadb()).await
}
