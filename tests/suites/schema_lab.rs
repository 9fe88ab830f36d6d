//! Two tables between any two stores, whose source changes its mind about their columns.

use crate::targets::Target;
use kit::{Engine, Output, Project, TextRow};
use std::collections::BTreeMap;

const RUN: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=30s"];

/// How the tables are captured: by an integer, which all stores have.
const CAPTURE: &str = "capture: { mode: cursor, column: rev, overlap: 5 }";

/// Each kind once as a source and once as a target.
pub(crate) const PAIRS: [(Engine, Engine); 4] = [
    (Engine::Postgres, Engine::Mysql),
    (Engine::Mysql, Engine::Mariadb),
    (Engine::Mariadb, Engine::Sqlite),
    (Engine::Sqlite, Engine::Postgres),
];

/// Each kind as a source of each kind.
pub(crate) fn all_pairs() -> impl Iterator<Item = (Engine, Engine)> {
    let targets = |source: Engine| Engine::ALL.iter().map(move |target| (source, *target));
    Engine::ALL.iter().copied().flat_map(targets)
}

pub(crate) struct Lab {
    pub(crate) source: Target,
    pub(crate) target: Target,
    pub(crate) project: Project,
}

impl Lab {
    /// Two tables of a hundred rows, loaded with these settings.
    pub(crate) async fn loaded((source, target): (Engine, Engine), settings: &str) -> Self {
        let (source, target) = (
            source.database("schema").await,
            target.database("schema").await,
        );
        let project = Project::between(&source.place().url(), &target.place().url());
        let lab = Self {
            source,
            target,
            project,
        };
        for table in ["t", "u"] {
            let rows: Vec<_> = (1..=100)
                .map(|id| format!("({id}, 'row {id}', {id})"))
                .collect();
            lab.at_source(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, name varchar(50) NOT NULL, \
                 rev bigint NOT NULL); INSERT INTO {table} VALUES {}",
                rows.join(", ")
            ))
            .await;
        }
        lab.edit(settings);
        lab.run().await.expect_success();
        lab
    }

    /// Writes the settings of both tables.
    pub(crate) fn edit(&self, settings: &str) {
        self.edit_each(settings, settings);
    }

    pub(crate) fn edit_each(&self, t: &str, u: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ndefaults: {{ {CAPTURE} }}\n\
             tables:\n  t: {{ {t} }}\n  u: {{ {u} }}\n"
        );
        self.project.pipeline("p", &text);
    }

    pub(crate) async fn run(&self) -> Output {
        self.project.syncset(RUN).await
    }

    pub(crate) async fn run_with(&self, flags: &[&str]) -> Output {
        let words: Vec<&str> = RUN.iter().chain(flags).copied().collect();
        self.project.syncset(words).await
    }

    pub(crate) async fn killed_at(&self, point: &str, flags: &[&str]) {
        let action = format!("{point}=exit9");
        let words: Vec<&str> = RUN.iter().chain(flags).copied().collect();
        let run = self
            .project
            .spawn_with(words, &[("SYNCSET_FAIL_POINT", action.as_str())]);
        run.wait().await.expect_code(137);
    }

    pub(crate) async fn at_source(&self, sql: &str) {
        self.source.place().execute(sql).await;
    }

    pub(crate) async fn rows_of(&self, sql: &str) -> (Vec<TextRow>, Vec<TextRow>) {
        let source = self.source.place().rows(sql).await;
        (source, self.target.place().rows(sql).await)
    }

    /// Both sides answer the query alike, with this many rows.
    pub(crate) async fn assert_same(&self, sql: &str, count: usize) {
        let (source, target) = self.rows_of(sql).await;
        assert_eq!(target, source, "{sql}");
        assert_eq!(source.len(), count, "{sql}");
    }

    /// The first value of a query at the target.
    pub(crate) async fn value(&self, sql: &str) -> Option<String> {
        let mut rows = self.target.place().rows(sql).await;
        rows.remove(0).remove(0)
    }

    /// Whether the target's table has a column.
    pub(crate) async fn has_column(&self, table: &str, column: &str) -> bool {
        let sql = match &self.target {
            Target::Postgres(_) => format!(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' \
                 AND table_name = '{table}' AND column_name = '{column}'"
            ),
            Target::Mysql(_) => format!(
                "SELECT count(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
                 AND TABLE_NAME = '{table}' AND COLUMN_NAME = '{column}'"
            ),
            Target::Sqlite(..) => {
                format!("SELECT count(*) FROM pragma_table_info('{table}') WHERE name = '{column}'")
            }
        };
        self.value(&sql).await.as_deref() == Some("1")
    }

    /// The stream of table `t`, as flags name it.
    pub(crate) fn stream(&self) -> &'static str {
        match &self.source {
            Target::Postgres(_) => "public.t",
            Target::Mysql(_) | Target::Sqlite(..) => "t",
        }
    }

    pub(crate) fn said(output: &Output) -> String {
        format!("{}{}", output.stdout, output.stderr)
    }

    /// The only value of a query at the target.
    pub(crate) async fn number(&self, sql: &str) -> u32 {
        let value = self.value(sql).await;
        let value = value.unwrap_or_else(|| panic!("{sql}: no value"));
        value.parse().unwrap_or_else(|_| panic!("{sql}: {value}"))
    }

    /// A run finds nothing to do any more.
    pub(crate) async fn is_quiet(&self) {
        let report = self.run_with(&["--output", "json"]).await;
        for table in report.expect_success().json()["tables"]
            .as_array()
            .expect("a report has tables")
        {
            assert_eq!(table["rows_written"], 0, "{table}");
            assert!(!table.to_string().contains("again"), "{table}");
        }
    }
}

/// A column as a catalogue has it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) native: String,
    pub(crate) refuses_null: bool,
}

/// The columns of a table, by their names.
pub(crate) async fn columns_of(store: &Target, table: &str) -> BTreeMap<String, Found> {
    let sql = match store.engine() {
        Engine::Postgres => format!(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull::int FROM pg_attribute \
             WHERE attrelid = 'public.{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        ),
        Engine::Mysql | Engine::Mariadb => format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE = 'NO' FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
        ),
        // A column of the key refuses NULL whether it says so or not.
        Engine::Sqlite => {
            format!("SELECT name, type, \"notnull\" OR pk > 0 FROM pragma_table_info('{table}')")
        }
    };
    let rows = store.rows(&sql).await.into_iter();
    let columns = rows.map(|row| {
        let mut row = row.into_iter().map(|value| value.expect("it is not NULL"));
        let mut next = || row.next().expect("three values");
        let (name, native, refuses_null) = (next(), next(), next());
        let found = Found {
            native,
            refuses_null: refuses_null == "1",
        };
        (name, found)
    });
    columns.collect()
}

/// Decimals without zeros at their ends, which stores write or not.
pub(crate) fn canonical(rows: Vec<TextRow>) -> Vec<TextRow> {
    let value = |value: String| match value.parse::<f64>() {
        Ok(_) if value.contains('.') => {
            value.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => value,
    };
    let rows = rows.into_iter();
    rows.map(|row| row.into_iter().map(|it| it.map(value)).collect())
        .collect()
}
