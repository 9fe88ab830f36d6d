//! A source, a target and a pipeline that a person gets wrong.

use crate::told::Told;
use kit::{Database, Project};

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL, \
     amount numeric(12,2), updated_at timestamptz NOT NULL DEFAULT now(), seen_at timestamptz); \
     INSERT INTO orders (id, status) SELECT i, 'new' FROM generate_series(1, 20) i; \
     CREATE TABLE keyless (a int, b text)";

/// A project between two databases, with a pipeline over `orders`.
pub(crate) struct Lab {
    pub(crate) source: Database,
    pub(crate) target: Database,
    pub(crate) project: Project,
}

impl Lab {
    pub(crate) async fn new(name: &str) -> Self {
        let server = kit::postgres().await;
        let source = server.database(&format!("{name}_from")).await;
        let target = server.database(&format!("{name}_to")).await;
        source.execute(TABLES).await;
        let project = Project::between(&source.url(), &target.url());
        let lab = Self {
            source,
            target,
            project,
        };
        lab.tables("public.orders: {}");
        lab
    }

    pub(crate) fn tables(&self, tables: &str) {
        let head = "version: 1\nsource: source\ntarget: target\ntables:\n";
        self.project.pipeline("p", &format!("{head}  {tables}\n"));
    }

    pub(crate) async fn said(&self, told: &mut Told, mistake: &str, words: &str) {
        told.about(mistake, &self.project.syncset(words.split(' ')).await);
    }
}
