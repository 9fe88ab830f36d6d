//! A source table whose selected rows go to a target table that has columns of its own.

use crate::targets::Target;
use kit::{Database, Output, Project, TextRow};
use serde_json::Value;

/// Rows of group 1 are selected; `v` says which version of a row it is.
pub(crate) const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, v text NOT NULL)";

/// The rows that readers of the target take for those that are there.
pub(crate) const LIVE: &str = "SELECT id, grp, v FROM t WHERE _deleted_at IS NULL";

/// Every delete passes.
pub(crate) const NO_GUARD: &str = "guards: { max_delete_percent: 100, empty_source: allow }\n";

pub(crate) struct Lab {
    pub(crate) source: Database,
    pub(crate) target: Target,
    pub(crate) project: Project,
}

impl Lab {
    /// A source that has run these statements.
    pub(crate) async fn new(target: Target, source: &str) -> Self {
        let database = kit::postgres().await.database("marks_source").await;
        database.execute(source).await;
        Self {
            project: Project::between(&database.url(), &target.place().url()),
            source: database,
            target,
        }
    }

    /// A source of so many selected rows.
    pub(crate) async fn with_rows(target: Target, rows: u32) -> Self {
        let fill =
            format!("{TABLE}; INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, {rows}) i");
        Self::new(target, &fill).await
    }

    /// Writes the pipeline: lines at its top, and the settings of its table.
    pub(crate) fn pipeline(&self, top: &str, table: &str) -> &Self {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n{top}tables:\n  public.t: {{ to: t, {table} }}\n"
        );
        self.project.pipeline("p", &text);
        self
    }

    pub(crate) async fn run(&self, flags: &[&str]) -> Output {
        let arguments = ["pipeline", "run", "p", "--output", "json"];
        let waits = ["--on-lock", "wait=30s"];
        let words = arguments.iter().chain(&waits).chain(flags);
        self.project.syncset(words).await
    }

    /// Rows written and rows deleted by a run that succeeds.
    pub(crate) async fn counts(&self, flags: &[&str]) -> (u64, u64) {
        let report = self.run(flags).await.expect_success().json();
        let count = |name: &str| report["tables"][0][name].as_u64().expect("a count");
        (count("rows_written"), count("rows_deleted"))
    }

    pub(crate) async fn killed_at(&self, point: &str) {
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let run = ["pipeline", "run", "p", "--on-lock", "wait=30s"];
        let run = self.project.spawn_with(run, &variables);
        run.wait().await.expect_code(137);
    }

    pub(crate) async fn change(&self, sql: &str) {
        self.source.execute(sql).await;
    }

    pub(crate) async fn rows(&self, query: &str) -> Vec<TextRow> {
        self.target.place().rows(query).await
    }

    pub(crate) async fn value(&self, query: &str) -> String {
        let rows = self.rows(query).await;
        rows[0][0].clone().unwrap_or_else(|| "NULL".into())
    }

    /// Ids of the rows for which a condition holds, with commas between.
    pub(crate) async fn ids(&self, condition: &str) -> String {
        let rows = self
            .rows(&format!("SELECT id FROM t WHERE {condition} ORDER BY id"))
            .await;
        let ids: Vec<String> = rows
            .into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect();
        ids.join(",")
    }

    /// Everything the table holds and, where the target tells, which versions of its rows.
    pub(crate) async fn image(&self) -> Vec<TextRow> {
        let version = self.target.pick("ctid, xmin, xmax, ", "");
        self.rows(&format!("SELECT {version}* FROM t ORDER BY id"))
            .await
    }

    /// The rows that are there are the selected ones.
    #[track_caller]
    pub(crate) fn live_rows_are_the_selected_ones(&self) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        async move {
            let selected = "SELECT id, grp, v FROM t WHERE grp = 1";
            let compared = kit::compare(&self.source, self.target.place(), selected, LIVE).await;
            assert!(compared.is_equal(), "{place}: {compared}");
        }
    }

    /// Columns of the target table, by name.
    pub(crate) async fn columns(&self) -> String {
        let sql = self.target.own(
            "SELECT column_name FROM information_schema.columns \
             WHERE table_name = 't' AND table_schema = 'public' ORDER BY 1",
            "SELECT name FROM pragma_table_info('t') ORDER BY 1",
            "SELECT column_name FROM information_schema.columns \
             WHERE table_name = 't' AND table_schema = DATABASE() \
             ORDER BY CAST(column_name AS BINARY)",
        );
        let rows = self.rows(sql).await;
        let names: Vec<String> = rows
            .into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect();
        names.join(", ")
    }
}

pub(crate) async fn targets() -> [Target; 2] {
    [Target::postgres().await, Target::sqlite()]
}

/// One of each kind, and of both servers of MySQL's kind.
pub(crate) async fn every_target() -> [Target; 4] {
    let [postgres, sqlite] = targets().await;
    let [mysql, mariadb] = mysql_targets().await;
    [postgres, sqlite, mysql, mariadb]
}

pub(crate) async fn mysql_targets() -> [Target; 2] {
    [
        Target::mysql(kit::mysql()).await,
        Target::mysql(kit::mariadb()).await,
    ]
}

/// One of each kind; where there are several cases, MySQL and MariaDB take turns, since they
/// differ in little that marks depend on.
pub(crate) async fn targets_in_turn(case: usize) -> [Target; 3] {
    let [postgres, sqlite] = targets().await;
    let server = [kit::mysql, kit::mariadb][case % 2]();
    [postgres, sqlite, Target::mysql(server).await]
}

/// The failure of the only table of a run.
pub(crate) fn failure(output: &Output) -> String {
    let failure = output.json()["tables"][0]["failure"].clone();
    format!(
        "{}\n{}",
        failure["message"].as_str().unwrap_or_default(),
        failure["hint"].as_str().unwrap_or_default()
    )
}

/// The report of the only table.
pub(crate) fn table(output: &Output) -> Value {
    output.json()["tables"][0].clone()
}

/// That of a run that succeeds.
pub(crate) async fn done(lab: &Lab) -> Value {
    table(&lab.run(&[]).await.expect_success())
}

/// Asserts that the target holds the selected rows of the source.
#[track_caller]
pub(crate) fn same(lab: &Lab) -> impl Future<Output = ()> + '_ {
    let place = std::panic::Location::caller();
    async move {
        let source = "SELECT id, grp, v FROM t WHERE grp = 1";
        let target = "SELECT id, grp, v FROM t";
        let compared = kit::compare(&lab.source, lab.target.place(), source, target).await;
        assert!(compared.is_equal(), "{place}: {compared}");
    }
}
