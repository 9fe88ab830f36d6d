//! Deletes on their way: staged in a temporary table, counted for the guard, made pending or
//! taken back.
//!
//! A stage is made from the target table itself, so that its columns convert values as the
//! table's do. A pending key is a JSON array of texts, each of which says the class of its value;
//! keys that SQLite takes for equal have one text.

use crate::cell::{bind, integer};
use crate::connect::{Session, arguments};
use crate::encode::Encoded;
use crate::marks::{Now, is_there};
use crate::scan::Scan;
use crate::sql::{identifier, identifiers, placeholders, table as table_name};
use crate::statement::{key_columns, rows_per_statement};
use crate::target::{keyless, scan_keys};
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use sqlx::sqlite::SqliteArguments;
use syncset_connector::{PipelineKey, Result, TargetTable};

/// Columns of `_syncset_pending_delete` that say whose a key is, as a condition.
const OWNED: &str = "project = ? AND pipeline = ? AND target = ?";

/// Keys of one table in a temporary table.
pub(crate) struct KeyStage {
    /// The table.
    pub(crate) table: TargetTable,
    name: String,
    place: String,
    /// False: nothing was ever put in.
    used: bool,
}

impl KeyStage {
    /// An empty stage. `purpose` makes its name differ from others of the session.
    pub(crate) async fn create(
        session: &mut Session,
        table: &TargetTable,
        purpose: &str,
    ) -> Result<Self> {
        if table.key.is_empty() {
            return Err(keyless(table));
        }
        let stage = Self {
            table: table.clone(),
            name: format!("temp.\"_syncset_{purpose}\""),
            place: format!("looking for deleted rows of `{}`", table.name),
            used: false,
        };
        stage.run(session, "DROP TABLE IF EXISTS {stage}").await?;
        stage
            .run(
                session,
                "CREATE TABLE {stage} AS SELECT {key} FROM {table} WHERE 0",
            )
            .await?;
        Ok(stage)
    }

    /// Its name, quoted, and the condition that a row `t` has the key of a row `k` of it.
    pub(crate) fn joined(&self) -> (&str, String) {
        (&self.name, self.same_key("t", "k"))
    }

    /// Makes look-ups by key quick.
    pub(crate) async fn index(&self, session: &mut Session) -> Result<()> {
        let index = self.name.replace("_syncset_", "_syncset_by_");
        let bare = self.name.trim_start_matches("temp.");
        let key = identifiers(&self.table.key);
        let sql = format!("CREATE INDEX {index} ON {bare} ({key})");
        session.run(&sql, &self.place).await
    }

    /// Puts keys in; their columns are in key order.
    pub(crate) async fn add(&mut self, session: &mut Session, keys: &RecordBatch) -> Result<()> {
        let columns = key_columns(&self.table);
        let encoded = Encoded::new(&self.table.name.name, &columns, keys)?;
        let step = rows_per_statement(columns.len());
        let mut row = 0;
        while row < encoded.row_count() {
            let end = (row + step).min(encoded.row_count());
            let mut arguments = arguments![];
            for value in (row..end).flat_map(|index| encoded.row(index)) {
                bind(&mut arguments, value)?;
            }
            let rows = placeholders(end - row, columns.len());
            let sql = format!("INSERT INTO {} VALUES {rows}", self.name);
            session.execute(sql, arguments, &self.place).await?;
            row = end;
        }
        self.used |= row > 0;
        Ok(())
    }

    /// Puts the keys of rows in whose keys are not in another stage; how many these are.
    pub(crate) async fn add_gone(&mut self, session: &mut Session, keys: &Self) -> Result<u64> {
        let sql = format!(
            "INSERT INTO {} SELECT {} FROM {} AS t \
             WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS k WHERE {})",
            self.name,
            identifiers(&self.table.key),
            table_name(&self.table.name),
            is_there(&self.table.marks, "t"),
            keys.name,
            self.same_key("t", "k"),
        );
        let gone = session.execute(sql, arguments![], &self.place).await?;
        self.used |= gone > 0;
        Ok(gone)
    }

    /// Forgets keys that are not there, and counts the others.
    pub(crate) async fn count(&self, session: &mut Session) -> Result<u64> {
        self.forget_absent(session).await?;
        let sql = self.text("SELECT count(*) FROM (SELECT DISTINCT * FROM {stage})");
        let rows = session.rows(sql, arguments![], &self.place).await?;
        let count = rows.first().map_or(0, |row| integer(row, 0));
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn forget_absent(&self, session: &mut Session) -> Result<()> {
        let there = format!(
            "DELETE FROM {{stage}} AS k WHERE NOT EXISTS \
             (SELECT 1 FROM {{table}} AS t WHERE {} AND {})",
            self.same_key("t", "k"),
            is_there(&self.table.marks, "t")
        );
        self.run(session, &there).await
    }

    /// Takes the rows away whose keys are in it; how many these were.
    pub(crate) async fn apply(&mut self, session: &mut Session, now: &Now) -> Result<u64> {
        if !std::mem::take(&mut self.used) {
            return Ok(0);
        }
        let staged = self.text("({key}) IN (SELECT {key} FROM {stage})");
        let sql = now.take_away(&self.table, &staged);
        let place = format!("deleting from `{}`", self.table.name);
        let deleted = session.execute(sql, arguments![], &place).await?;
        self.empty(session).await?;
        Ok(deleted)
    }

    /// Makes its keys pending; how many were not. Keys that are not there are forgotten.
    pub(crate) async fn postpone(
        &mut self,
        session: &mut Session,
        owner: &PipelineKey,
    ) -> Result<u64> {
        if !std::mem::take(&mut self.used) {
            return Ok(0);
        }
        self.forget_absent(session).await?;
        let sql = format!(
            "INSERT OR IGNORE INTO main._syncset_pending_delete (project, pipeline, target, key) \
             SELECT ?, ?, ?, {} FROM {}",
            self.pending_text(),
            self.name
        );
        let arguments = self.owned_by(owner);
        let postponed = session.execute(sql, arguments, &self.place).await?;
        self.empty(session).await?;
        Ok(postponed)
    }

    /// Puts all pending keys of the table in; they are pending no longer.
    pub(crate) async fn add_pending(
        &mut self,
        session: &mut Session,
        owner: &PipelineKey,
    ) -> Result<()> {
        let values: Vec<_> = (0..self.table.key.len()).map(pending_value).collect();
        let sql = format!(
            "INSERT INTO {} SELECT {} FROM main._syncset_pending_delete WHERE {OWNED}",
            self.name,
            values.join(", ")
        );
        let added = session
            .execute(sql, self.owned_by(owner), &self.place)
            .await?;
        let sql = format!("DELETE FROM main._syncset_pending_delete WHERE {OWNED}");
        session
            .execute(sql, self.owned_by(owner), &self.place)
            .await?;
        self.used |= added > 0;
        Ok(())
    }

    /// Takes its keys out of the pending ones.
    pub(crate) async fn take_out_of_pending(
        &mut self,
        session: &mut Session,
        owner: &PipelineKey,
    ) -> Result<()> {
        let sql = format!(
            "DELETE FROM main._syncset_pending_delete WHERE {OWNED} AND key IN (SELECT {} FROM {})",
            self.pending_text(),
            self.name
        );
        session
            .execute(sql, self.owned_by(owner), &self.place)
            .await?;
        self.used = false;
        self.empty(session).await
    }

    /// Takes its keys back.
    pub(crate) async fn take(&mut self, session: &mut Session) -> Result<Vec<RecordBatch>> {
        if !std::mem::take(&mut self.used) {
            return Ok(Vec::new());
        }
        let scan = Scan {
            statement: self.text("SELECT {key} FROM {stage}"),
            ..scan_keys(&self.table)?
        };
        let keys = scan.stream(session).try_collect().await?;
        self.empty(session).await?;
        Ok(keys)
    }

    /// Drops the temporary table.
    pub(crate) async fn drop(self, session: &mut Session) -> Result<()> {
        self.run(session, "DROP TABLE {stage}").await
    }

    async fn empty(&self, session: &mut Session) -> Result<()> {
        self.run(session, "DELETE FROM {stage}").await
    }

    async fn run(&self, session: &mut Session, statement: &str) -> Result<()> {
        session.run(&self.text(statement), &self.place).await
    }

    fn text(&self, statement: &str) -> String {
        statement
            .replace("{stage}", &self.name)
            .replace("{table}", &table_name(&self.table.name))
            .replace("{key}", &identifiers(&self.table.key))
    }

    fn same_key(&self, left: &str, right: &str) -> String {
        let key = self.table.key.iter().map(|column| identifier(column));
        let same: Vec<_> = key
            .map(|column| format!("{left}.{column} = {right}.{column}"))
            .collect();
        same.join(" AND ")
    }

    fn owned_by(&self, owner: &PipelineKey) -> SqliteArguments {
        arguments![
            owner.project.as_str(),
            owner.pipeline.as_str(),
            self.table.name.name.as_str()
        ]
    }

    /// A staged key as it is stored while it is pending.
    fn pending_text(&self) -> String {
        let parts: Vec<_> = self.table.key.iter().map(|name| part_text(name)).collect();
        format!("json_array({})", parts.join(", "))
    }
}

/// A value with the class that it is stored in. A real that is a whole number equals the integer.
fn part_text(column: &str) -> String {
    let column = identifier(column);
    format!(
        "CASE typeof({column}) WHEN 'integer' THEN 'i' || {column} \
         WHEN 'real' THEN CASE WHEN abs({column}) < 9e15 AND {column} = CAST({column} AS INTEGER) \
         THEN 'i' || CAST({column} AS INTEGER) ELSE 'r' || printf('%!.17g', {column}) END \
         WHEN 'text' THEN 't' || hex({column}) ELSE 'b' || hex({column}) END"
    )
}

/// The value of one part of a pending key.
fn pending_value(index: usize) -> String {
    let part = format!("json_extract(key, '$[{index}]')");
    let text = format!("substr({part}, 2)");
    format!(
        "CASE substr({part}, 1, 1) WHEN 'i' THEN CAST({text} AS INTEGER) \
         WHEN 'r' THEN CAST(replace({text}, 'Inf', '9e999') AS REAL) \
         WHEN 't' THEN CAST(unhex({text}) AS TEXT) ELSE unhex({text}) END"
    )
}
