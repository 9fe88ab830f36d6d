//! Deletes on their way: staged in the unit, counted for the guard, made pending or taken back.
//!
//! A pending key is an array of texts, each of which casts back to its column: keys are compared
//! as the target's own index compares them, since `1.0` and `1.00` may be one key.

use super::PgUnit;
use super::form::Form;
use super::plan::{KeyPart, Path, Stage, Staged, WritePlan, join};
use crate::copy_out::read_copy;
use crate::ddl;
use crate::error;
use crate::sql::quote_ident;
use crate::state::PendingRows;
use crate::types::{computed_column, select_expression};
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use syncset_connector::{Column, Result, TargetColumn, TargetTable};

/// Bytes of one batch of keys that are taken back.
const KEY_BATCH_BYTES: usize = 1 << 20;

impl WritePlan {
    /// Forgets staged keys that are not there, and counts the others.
    fn count_deletes(&self, stage: &str) -> String {
        format!(
            "DELETE FROM {stage} AS s WHERE NOT EXISTS ({there});\n\
             SELECT count(*) FROM (SELECT DISTINCT * FROM {stage}) AS s",
            there = self.there()
        )
    }

    /// A row of the target with the staged key that is not marked as gone.
    fn there(&self) -> String {
        format!(
            "SELECT FROM {} AS t WHERE {} AND {}",
            self.target,
            self.key_matches(Staged::AsSent),
            self.marks.is_there()
        )
    }

    fn count_rows(&self, max: u64) -> String {
        format!(
            "SELECT count(*) FROM (SELECT FROM {} AS t WHERE {} LIMIT {max}) AS t",
            self.target,
            self.marks.is_there()
        )
    }

    /// Stages the keys of rows whose keys are not in another stage.
    fn stage_gone(&self, keys: &str, stage: &str) -> String {
        format!(
            "INSERT INTO {stage} SELECT {} FROM {} AS t WHERE {} AND NOT EXISTS \
             (SELECT FROM {keys} AS s WHERE {})",
            join(&self.key, ", ", |part| staged_key("t", part)),
            self.target,
            self.marks.is_there(),
            self.key_matches(Staged::AsSent)
        )
    }

    fn postpone(&self, stage: &str, pending: &PendingRows) -> String {
        let texts = join(&self.key, ", ", |part| {
            format!("s.{}::text", quote_ident(&part.name))
        });
        format!(
            "INSERT INTO {pending_table} ({columns}) SELECT DISTINCT {values}, ARRAY[{texts}] \
             FROM {stage} AS s WHERE EXISTS ({there}) AND NOT EXISTS \
             (SELECT FROM {pending_table} AS p WHERE {owned} AND {same})",
            pending_table = PendingRows::TABLE,
            columns = PendingRows::COLUMNS,
            values = pending.values(),
            there = self.there(),
            owned = pending.condition(),
            same = self.pending_matches(Staged::AsSent)
        )
    }

    fn stage_pending(&self, stage: &str, pending: &PendingRows) -> String {
        let keys: Vec<_> = (1..)
            .zip(&self.key)
            .map(|(number, part)| match &part.form {
                Form::Direct(_) => pending_value(number, part),
                Form::Cast(_) => format!("p.key[{number}]"),
            })
            .collect();
        format!(
            "WITH p AS (DELETE FROM {} AS p WHERE {} RETURNING p.key) \
             INSERT INTO {stage} SELECT {} FROM p",
            PendingRows::TABLE,
            pending.condition(),
            keys.join(", ")
        )
    }

    /// Takes the keys of staged rows out of the pending ones.
    fn take_out_of_pending(&self, stage: &str, pending: &PendingRows) -> String {
        format!(
            "DELETE FROM {} AS p USING {} AS s WHERE {} AND {}",
            PendingRows::TABLE,
            self.typed_rows(stage),
            pending.condition(),
            self.pending_matches(Staged::Typed)
        )
    }

    fn pending_matches(&self, staged: Staged) -> String {
        let parts: Vec<_> = (1..)
            .zip(&self.key)
            .map(|(number, part)| {
                let cast = part.cast(staged);
                let name = quote_ident(&part.name);
                let value = pending_value(number, part);
                format!("{value} {} s.{name}{cast}", part.operator)
            })
            .collect();
        parts.join(" AND ")
    }

    /// Columns as their keys are read back from a stage, and the SELECT list that gives them.
    fn taken_keys(&self, table: &TargetTable) -> (Vec<Column>, String) {
        let of = |part: &KeyPart| table.columns.iter().find(|column| column.name == part.name);
        let columns = self.key.iter().filter_map(|part| Some((part, of(part)?)));
        let (columns, list): (Vec<_>, Vec<_>) =
            columns.map(|(part, column)| taken(part, column)).unzip();
        (columns, list.join(", "))
    }
}

fn taken(part: &KeyPart, target: &TargetColumn) -> (Column, String) {
    let mut column = computed_column(&target.name, target.data_type.clone());
    if let Some(native) = ddl::own(target) {
        column.native = native.clone();
    }
    let expression = match &part.form {
        Form::Cast(_) => quote_ident(&part.name),
        Form::Direct(_) if column.native.as_text => select_expression(&column),
        Form::Direct(_) => format!(
            "{}::{}",
            quote_ident(&part.name),
            ddl::map_type(target).native
        ),
    };
    (column, expression)
}

/// One part of a pending key as a value of its column.
fn pending_value(number: usize, part: &KeyPart) -> String {
    match &part.form {
        Form::Direct(_) => format!("p.key[{number}]::{}", part.bare),
        Form::Cast(cast) => format!("p.key[{number}]{cast}"),
    }
}

/// A key column of a row as a stage of keys holds it.
fn staged_key(alias: &str, part: &KeyPart) -> String {
    let name = format!("{alias}.{}", quote_ident(&part.name));
    match &part.form {
        Form::Direct(_) => name,
        // The text form of money depends on a setting of the server.
        Form::Cast(cast) if cast.starts_with("::numeric::") => format!("{name}::numeric::text"),
        Form::Cast(_) => format!("{name}::text"),
    }
}

impl PgUnit {
    /// Stages every row whose key is not in the stage of keys; how many these are.
    pub(super) async fn stage_gone(&mut self, place: usize, keys: &str) -> Result<u64> {
        let stage = self.delete_stage(place).await?;
        let sql = self.tables[place].plan.stage_gone(keys, &stage);
        let staged = self.session().await?.execute(&sql).await;
        let gone = staged.map_err(|error| self.examined(error))?;
        let work = &mut self.tables[place];
        work.deletes_staged |= gone > 0;
        work.filled |= gone > 0;
        Ok(gone)
    }

    pub(super) async fn unpostpone(&mut self, table: &TargetTable) -> Result<()> {
        let place = self.work_on(table).await?;
        if self.tables[place].upserts_staged {
            let stage = self.tables[place].plan.upsert().stage;
            let stage = stage.expect("upserts have a stage");
            let sql = self.take_out_sql(place, &stage);
            self.execute(&sql).await?;
        }
        let stage = self.delete_stage(place).await?;
        let sql = self.tables[place]
            .plan
            .stage_pending(&stage, &self.pending(table));
        self.execute(&sql).await?;
        let work = &mut self.tables[place];
        work.deletes_staged = true;
        work.filled = true;
        Ok(())
    }

    pub(super) async fn count_staged(&mut self, table: &TargetTable) -> Result<u64> {
        let place = self.work_on(table).await?;
        self.stage_kept(place).await?;
        if !self.tables[place].deletes_staged {
            return Ok(0);
        }
        let stage = self.delete_stage(place).await?;
        let sql = self.tables[place].plan.count_deletes(&stage);
        self.counted(&sql).await
    }

    pub(super) async fn count_up_to(&mut self, table: &TargetTable, max: u64) -> Result<u64> {
        let place = self.work_on(table).await?;
        let sql = self.tables[place].plan.count_rows(max);
        self.counted(&sql).await
    }

    pub(super) async fn postpone(&mut self, table: &TargetTable) -> Result<u64> {
        let place = self.work_on(table).await?;
        self.stage_kept(place).await?;
        if !std::mem::take(&mut self.tables[place].deletes_staged) {
            return Ok(0);
        }
        let stage = self.delete_stage(place).await?;
        let sql = self.tables[place]
            .plan
            .postpone(&stage, &self.pending(table));
        let postponed = self.execute(&sql).await?;
        self.execute(&format!("TRUNCATE {stage}")).await?;
        Ok(postponed)
    }

    pub(super) async fn take_back(&mut self, table: &TargetTable) -> Result<Vec<RecordBatch>> {
        let place = self.work_on(table).await?;
        self.stage_kept(place).await?;
        if !std::mem::take(&mut self.tables[place].deletes_staged) {
            return Ok(Vec::new());
        }
        let stage = self.delete_stage(place).await?;
        let (columns, list) = self.tables[place].plan.taken_keys(table);
        let columns: Vec<&Column> = columns.iter().collect();
        let select = format!("SELECT {list} FROM {stage}");
        let name = table.name.to_string();
        let session = self.session().await?;
        let keys = read_copy(session, &select, &name, &columns, KEY_BATCH_BYTES).await?;
        let keys = keys.try_collect().await?;
        self.execute(&format!("TRUNCATE {stage}")).await?;
        Ok(keys)
    }

    /// Rows into their stage; a key that is upserted is pending no longer.
    pub(super) fn upsert_path(&self, place: usize) -> Path {
        let mut path = self.tables[place].plan.upsert();
        if self.heeds_pending
            && let Some(stage) = &mut path.stage
        {
            let take_out = self.take_out_sql(place, stage);
            // One statement, so that it counts the rows of the table alone.
            stage.apply = format!("WITH taken AS ({take_out}) {}", stage.apply);
        }
        path
    }

    fn take_out_sql(&self, place: usize, stage: &Stage) -> String {
        let work = &self.tables[place];
        let pending = self.pending(&work.table);
        work.plan.take_out_of_pending(&stage.name, &pending)
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

    async fn execute(&mut self, sql: &str) -> Result<u64> {
        let done = self.session().await?.execute(sql).await;
        done.map_err(|error| self.examined(error))
    }

    async fn counted(&mut self, sql: &str) -> Result<u64> {
        let rows = self.session().await?.rows(sql).await;
        let rows = rows.map_err(|error| self.examined(error))?;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not count rows"))?;
        row.parse(0)
    }
}
