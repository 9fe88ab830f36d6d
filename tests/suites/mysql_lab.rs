//! A database of MySQL or MariaDB as a source, a target of another kind, and runs between them.

use crate::targets::Target;
use kit::{Flavour, MysqlDatabase, MysqlServer, Output, Project};
use serde_json::Value;
use std::sync::OnceLock;
use tokio::sync::{Mutex, MutexGuard};

/// Both servers.
pub(crate) const FLAVOURS: [Flavour; 2] = [Flavour::Mysql, Flavour::Mariadb];

static ALONE: [OnceLock<Mutex<MysqlServer>>; 2] = [OnceLock::new(), OnceLock::new()];

/// A server that one test at a time has for itself: its prepared transactions, who reads its list
/// of transactions, and who replicates from it, all databases of a server see.
pub(crate) async fn alone(flavour: Flavour) -> MutexGuard<'static, MysqlServer> {
    let [mysql, mariadb] = &ALONE;
    let server = match flavour {
        Flavour::Mysql => mysql,
        Flavour::Mariadb => mariadb,
    };
    let start = || Mutex::new(MysqlServer::start_own(flavour, ""));
    server.get_or_init(start).lock().await
}

/// A source, a target and a project with the pipeline `p` between them.
pub(crate) struct MysqlLab {
    pub(crate) source: MysqlDatabase,
    pub(crate) target: Target,
    pub(crate) project: Project,
}

impl MysqlLab {
    /// A new database of a server into a new target; `setup` is run in the database first.
    pub(crate) async fn new(flavour: Flavour, target: Target, setup: &str) -> Self {
        let source = MysqlServer::shared(flavour).database("source").await;
        Self::of(source, target, setup).await
    }

    /// The same into PostgreSQL.
    pub(crate) async fn postgres(flavour: Flavour, setup: &str) -> Self {
        Self::new(flavour, Target::postgres().await, setup).await
    }

    /// A database that is there already.
    pub(crate) async fn of(source: MysqlDatabase, target: Target, setup: &str) -> Self {
        if !setup.is_empty() {
            source.execute(setup).await;
        }
        let project = Project::between(&source.url(), &target.place().url());
        Self {
            source,
            target,
            project,
        }
    }

    /// Writes the pipeline; `tables` is what stands under `tables:`, indented by two spaces.
    pub(crate) fn pipeline(&self, tables: &str) -> &Self {
        let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n{tables}\n");
        self.project.pipeline("p", &text);
        self
    }

    /// Runs the pipeline.
    pub(crate) async fn run(&self) -> Output {
        let run = ["pipeline", "run", "p", "--output", "json"];
        self.project.syncset(run).await
    }

    /// Runs the pipeline, which succeeds; what it says about its only table.
    pub(crate) async fn synced(&self) -> Value {
        let report = self.run().await.expect_success().json();
        report["tables"][0].clone()
    }

    /// Rows of the target, as text.
    pub(crate) async fn at_target(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.target.place().rows(sql).await
    }

    /// The only value of a query at the target.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let rows = self.at_target(sql).await;
        let value = rows.first().and_then(|row| row.first()).cloned().flatten();
        value.unwrap_or_else(|| "NULL".to_owned())
    }
}

/// Everything that a run has printed.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// A count of a report's table.
pub(crate) fn count(table: &Value, key: &str) -> u64 {
    table[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no `{key}` in {table}"))
}
