//! Deletes on their way: staged in the unit, counted for the guard, made pending or taken back.
//!
//! A pending key is a JSON array of texts, each of which the server reads back as a value of its
//! column; equal keys of one table have equal texts, so they are found by the hash of theirs.

use super::MysqlUnit;
use super::column::{Written, prefixed};
use super::plan::{Counts, Path, Step, WritePlan};
use crate::encode::{Form, keys_from_text};
use crate::error;
use crate::sql::identifier;
use crate::state::PendingRows;
use arrow_array::RecordBatch;
use syncset_connector::{Result, TargetTable};

/// Keys of one batch that are taken back.
const KEYS_PER_BATCH: usize = 8_192;

impl WritePlan {
    /// A row of the target with the staged key that is not marked as gone.
    fn there(&self) -> String {
        format!(
            "SELECT 1 FROM {} AS t WHERE {}{}",
            self.target,
            self.key_matches(),
            self.marks.and_is_there()
        )
    }

    fn count_rows(&self, max: u64) -> String {
        let is_there = self.marks.is_there();
        let is_there = is_there.map_or_else(String::new, |it| format!(" WHERE {it}"));
        format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {} AS t{is_there} LIMIT {max}) AS d",
            self.target
        )
    }

    /// Forgets staged keys that are not there.
    fn forget_absent(&self, stage: &str) -> String {
        format!(
            "DELETE s FROM {stage} AS s WHERE NOT EXISTS ({})",
            self.there()
        )
    }

    /// Stages the keys of rows whose keys are not in another stage.
    fn stage_gone(&self, keys: &str, stage: &str) -> String {
        format!(
            "INSERT INTO {stage} ({list}) SELECT {} FROM {} AS t WHERE NOT EXISTS \
             (SELECT 1 FROM {keys} AS s WHERE {}){}",
            prefixed("t", &self.key),
            self.target,
            self.key_matches(),
            self.marks.and_is_there(),
            list = self.key_list(),
        )
    }

    /// Two statements: keys of rows that are there become pending, the stage becomes empty.
    fn postpone(&self, stage: &str, pending: &PendingRows) -> String {
        let text = key_text("s", &self.key);
        format!(
            "INSERT IGNORE INTO {} ({}) SELECT {}, {text}, {} FROM {stage} AS s WHERE EXISTS ({})",
            PendingRows::TABLE,
            PendingRows::COLUMNS,
            pending.values(),
            hash_of(&text),
            self.there(),
        )
    }

    fn stage_pending(&self, stage: &str, pending: &PendingRows) -> String {
        let keys: Vec<_> = self.key.iter().enumerate().map(pending_value).collect();
        format!(
            "INSERT INTO {stage} ({}) SELECT {} FROM {} AS p WHERE {}",
            self.key_list(),
            keys.join(", "),
            PendingRows::TABLE,
            pending.condition()
        )
    }

    /// Takes the keys of staged rows out of the pending ones.
    fn take_out_of_pending(&self, stage: &str, pending: &PendingRows) -> Step {
        Step {
            sql: format!(
                "DELETE p FROM {stage} AS s STRAIGHT_JOIN {} AS p ON {} AND p.key_hash = {}",
                PendingRows::TABLE,
                pending.condition(),
                hash_of(&key_text("s", &self.key))
            ),
            counts: Counts::Nothing,
        }
    }
}

fn hash_of(text: &str) -> String {
    format!("UNHEX(SHA2({text}, 256))")
}

/// A key as the text of a JSON array.
fn key_text(alias: &str, key: &[Written]) -> String {
    let parts: Vec<_> = key.iter().map(|part| part_text(alias, part)).collect();
    format!("CAST(JSON_ARRAY({}) AS CHAR)", parts.join(", "))
}

/// One part of a key as a text.
fn part_text(alias: &str, part: &Written) -> String {
    let name = format!("{alias}.{}", identifier(&part.name));
    match &part.actual.form {
        Some(Form::Text(_) | Form::Label(_) | Form::Labels(_)) => {
            format!("CONVERT({name} USING utf8mb4)")
        }
        Some(Form::Bytes { .. }) => format!("HEX({name})"),
        Some(Form::Bits(_)) => format!("CAST(CAST({name} AS UNSIGNED) AS CHAR)"),
        Some(Form::Float { single: true, .. }) => format!("CAST({name} + 0e0 AS CHAR)"),
        _ => format!("CAST({name} AS CHAR)"),
    }
}

/// One part of a pending key as a value of its column.
fn pending_value((number, part): (usize, &Written)) -> String {
    let text = format!("JSON_UNQUOTE(JSON_EXTRACT(p.key_values, '$[{number}]'))");
    match &part.actual.form {
        Some(Form::Bytes { .. }) => format!("UNHEX({text})"),
        Some(Form::Bits(_)) => format!("CAST({text} AS UNSIGNED)"),
        _ => text,
    }
}

impl MysqlUnit {
    /// Stages every row whose key is not in the stage of keys; how many these are.
    pub(super) async fn stage_gone(&mut self, place: usize, keys: &str) -> Result<u64> {
        let stage = self.delete_stage(place).await?;
        let sql = self.tables[place].plan.stage_gone(keys, &stage);
        let gone = self.execute(&sql).await?;
        let work = &mut self.tables[place];
        work.deletes_staged |= gone > 0;
        work.filled |= gone > 0;
        Ok(gone)
    }

    pub(super) async fn unpostpone(&mut self, table: &TargetTable) -> Result<()> {
        let place = self.work_on(table).await?;
        let pending = self.pending(table);
        if self.tables[place].upserts_staged {
            let plan = &self.tables[place].plan;
            let stage = plan.upsert().stage.expect("upserts have a stage");
            let take_out = plan.take_out_of_pending(&stage.name, &pending);
            self.execute(&take_out.sql).await?;
        }
        let stage = self.delete_stage(place).await?;
        let sql = self.tables[place].plan.stage_pending(&stage, &pending);
        self.execute(&sql).await?;
        self.execute(&format!(
            "DELETE p FROM {} AS p WHERE {}",
            PendingRows::TABLE,
            pending.condition()
        ))
        .await?;
        let work = &mut self.tables[place];
        work.deletes_staged = true;
        work.filled = true;
        Ok(())
    }

    pub(super) async fn count_staged(&mut self, table: &TargetTable) -> Result<u64> {
        let place = self.work_on(table).await?;
        if !self.tables[place].deletes_staged {
            return Ok(0);
        }
        let stage = self.delete_stage(place).await?;
        let plan = &self.tables[place].plan;
        let (forget, list) = (plan.forget_absent(&stage), plan.key_list());
        self.execute(&forget).await?;
        self.counted(&format!(
            "SELECT COUNT(*) FROM (SELECT DISTINCT {list} FROM {stage}) AS d"
        ))
        .await
    }

    pub(super) async fn count_up_to(&mut self, table: &TargetTable, max: u64) -> Result<u64> {
        let place = self.work_on(table).await?;
        let sql = self.tables[place].plan.count_rows(max);
        self.counted(&sql).await
    }

    pub(super) async fn postpone(&mut self, table: &TargetTable) -> Result<u64> {
        let place = self.work_on(table).await?;
        if !std::mem::take(&mut self.tables[place].deletes_staged) {
            return Ok(0);
        }
        let stage = self.delete_stage(place).await?;
        let pending = self.pending(table);
        let sql = self.tables[place].plan.postpone(&stage, &pending);
        let postponed = self.execute(&sql).await?;
        self.empty(&stage).await?;
        Ok(postponed)
    }

    pub(super) async fn take_back(&mut self, table: &TargetTable) -> Result<Vec<RecordBatch>> {
        let place = self.work_on(table).await?;
        if !std::mem::take(&mut self.tables[place].deletes_staged) {
            return Ok(Vec::new());
        }
        let stage = self.delete_stage(place).await?;
        let key = &self.tables[place].plan.key;
        let texts: Vec<_> = key.iter().map(|part| part_text("s", part)).collect();
        let select = format!("SELECT {} FROM {stage} AS s", texts.join(", "));
        let rows = self.session()?.rows(&select).await?;
        let keys = rows
            .chunks(KEYS_PER_BATCH)
            .map(|rows| keys_from_text(table, rows))
            .collect::<Result<_>>()?;
        self.empty(&stage).await?;
        Ok(keys)
    }

    /// Rows into their stage; a key that is upserted is pending no longer.
    pub(super) fn upsert_path(&self, place: usize) -> Path {
        let work = &self.tables[place];
        let mut path = work.plan.upsert();
        if self.heeds_pending
            && let Some(stage) = &mut path.stage
        {
            let pending = self.pending(&work.table);
            let take_out = work.plan.take_out_of_pending(&stage.name, &pending);
            stage.apply.insert(0, take_out);
        }
        path
    }

    fn pending(&self, table: &TargetTable) -> PendingRows {
        PendingRows::of(&self.start.lease.key, &table.name)
    }

    /// The stage of keys to delete, created if it is not there.
    async fn delete_stage(&mut self, place: usize) -> Result<String> {
        let path = self.tables[place].plan.delete();
        let stage = path.stage.expect("keys are staged");
        self.create_stage(place, &stage).await?;
        Ok(stage.name)
    }

    async fn counted(&mut self, sql: &str) -> Result<u64> {
        let rows = self.session()?.rows(sql).await;
        let rows = rows.map_err(|error| self.examined(error))?;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not count rows"))?;
        row.parse(0)
    }
}
