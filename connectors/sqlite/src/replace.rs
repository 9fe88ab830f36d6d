//! Tables that are made to hold what was collected for them: compared with a stage and merged in
//! place, in the unit's own transaction.
//!
//! Without a key a row is known by its image alone: storage classes and bytes of all values.

use crate::cell::integer;
use crate::connect::arguments;
use crate::marks::Now;
use crate::sql::{identifier, identifiers, table as table_name};
use crate::stage::Stage;
use crate::statement::{Action, on_conflict, same_image};
use crate::write::SqliteUnit;
use arrow_array::RecordBatch;
use syncset_connector::{
    ConnectorError, ErrorClass, OnDelete, Rejection, ReplaceRules, Replaced, Result, TargetTable,
};

/// What tells equal rows of a table apart, unless a column has the name.
const ROW_NUMBERS: [&str; 3] = ["rowid", "_rowid_", "oid"];

impl SqliteUnit {
    /// See [`UnitWriter::collect`](syncset_connector::UnitWriter::collect).
    pub(crate) async fn collect_rows(
        &mut self,
        table: &TargetTable,
        batch: &RecordBatch,
    ) -> Result<Vec<Rejection>> {
        let stage = self.stage_of(table).await?;
        // Rows without a key are never told apart, so the stage takes them all.
        if !self.start.careful || table.key.is_empty() {
            stage.fill(&mut self.writing.session, batch).await?;
            return Ok(Vec::new());
        }
        let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
        let places: Vec<usize> = table.key.iter().filter_map(place).collect();
        let keys = batch.project(&places).map_err(|cause| {
            ConnectorError::new(ErrorClass::Store, "a batch does not hold its table's key")
                .caused_by(cause)
        })?;
        stage.fill(&mut self.writing.session, &keys).await?;
        self.apply(table, batch, Action::Upsert).await
    }

    /// The stage of a table, created where it is not there yet.
    async fn stage_of(&mut self, table: &TargetTable) -> Result<Stage> {
        let known = |stage: &&Stage| stage.table.name == table.name;
        if let Some(stage) = self.collected.iter().find(known) {
            return Ok(stage.clone());
        }
        let number = self.collected.len() + 1;
        let stage = if self.start.careful && !table.key.is_empty() {
            Stage::of_keys(table, number)?
        } else {
            Stage::of_rows(table, number)
        };
        stage.create(&mut self.writing.session).await?;
        self.collected.push(stage.clone());
        Ok(stage)
    }

    /// See [`UnitWriter::replace`](syncset_connector::UnitWriter::replace).
    pub(crate) async fn replace_tables(
        &mut self,
        tables: &[(&TargetTable, ReplaceRules)],
    ) -> Result<Vec<Replaced>> {
        let mut merges = Vec::with_capacity(tables.len());
        for (table, rules) in tables {
            merges.push(self.plan_merge(table, rules).await?);
        }
        let is_too_much = |merge: &Merge| matches!(merge.outcome, Replaced::TooMany { .. });
        if !merges.iter().any(is_too_much) {
            for merge in merges.iter_mut().rev() {
                let deleted = self.run_each(&merge.deletes, &merge.place).await?;
                self.done_to(&merge.table).rows_deleted += deleted;
                if let Replaced::Done { rows_deleted, .. } = &mut merge.outcome {
                    *rows_deleted = deleted;
                }
            }
            for merge in &mut merges {
                let written = self.run_each(&merge.writes, &merge.place).await?;
                self.done_to(&merge.table).rows_written += written;
                if let Replaced::Done { rows_written, .. } = &mut merge.outcome {
                    *rows_written = written;
                }
            }
            for stage in std::mem::take(&mut self.collected) {
                stage.drop(&mut self.writing.session).await?;
            }
        }
        Ok(merges.into_iter().map(|merge| merge.outcome).collect())
    }

    async fn run_each(&mut self, statements: &[String], place: &str) -> Result<u64> {
        let mut changed = 0;
        for statement in statements {
            let session = &mut self.writing.session;
            changed += session
                .execute(statement.clone(), arguments![], place)
                .await?;
        }
        Ok(changed)
    }

    /// Finds out what has to be done to one table; writes nothing to it.
    async fn plan_merge(&mut self, table: &TargetTable, rules: &ReplaceRules) -> Result<Merge> {
        let stage = self.stage_of(table).await?;
        let deletes_absent = rules.absent != OnDelete::Keep;
        let mut merge = Merge::new(&stage);
        if !table.key.is_empty() {
            if deletes_absent {
                merge.deletes.push(stage.take_away_absent(&self.now));
            }
            // A careful unit has written the rows already.
            if !self.start.careful {
                merge.writes.push(upsert_sql(&stage, &self.now));
            }
            return Ok(merge);
        }
        let (gone, new) = self.compare(&stage).await?;
        let rows = if deletes_absent { gone + new } else { new };
        if rows > rules.max_rewrite_rows {
            merge.outcome = Replaced::TooMany { rows };
            return Ok(merge);
        }
        let (target, difference) = (table_name(&table.name), difference_of(&stage));
        if deletes_absent && gone > 0 {
            merge.deletes.push(format!(
                "DELETE FROM {target} WHERE {} IN (SELECT place FROM {difference} WHERE collected = 0)",
                row_number(table)
            ));
        }
        if new > 0 {
            let names = identifiers(table.columns.iter().map(|column| &column.name));
            merge.writes.push(format!(
                "INSERT INTO {target} ({names}{}) SELECT {names}{} FROM {} \
                 WHERE {} IN (SELECT place FROM {difference} WHERE collected = 1)",
                Now::columns(&table.marks),
                self.now.values(&table.marks),
                stage.name,
                row_number(table)
            ));
        }
        Ok(merge)
    }

    /// Writes down the rows that only one side has, where equal rows count: the second of two
    /// equal rows differs if the other side has one of them. Returns how many each side has.
    async fn compare(&mut self, stage: &Stage) -> Result<(u64, u64)> {
        let table = &stage.table;
        let names = identifiers(table.columns.iter().map(|column| &column.name));
        let image: Vec<String> = table
            .columns
            .iter()
            .map(|column| identifier(&column.name))
            .map(|name| format!("typeof({name}), {name} COLLATE BINARY"))
            .collect();
        let (place, image) = (row_number(table), image.join(", "));
        let difference = difference_of(stage);
        let session = &mut self.writing.session;
        let drop = format!("DROP TABLE IF EXISTS {difference}");
        session.run(&drop, &stage.place).await?;
        let create = format!(
            "CREATE TEMP TABLE {bare} AS SELECT \"_syncset_collected\" AS collected, \"_syncset_place\" AS place FROM (\
             SELECT \"_syncset_collected\", \"_syncset_place\", \
             row_number() OVER (PARTITION BY {image}, \"_syncset_collected\") AS \"_syncset_number\", \
             sum(\"_syncset_collected\") OVER w AS \"_syncset_new\", count(*) OVER w AS \"_syncset_all\" FROM (\
             SELECT 0 AS \"_syncset_collected\", {place} AS \"_syncset_place\", {names} FROM {there} \
             UNION ALL SELECT 1, {place}, {names} FROM {collected}) \
             WINDOW w AS (PARTITION BY {image})) \
             WHERE \"_syncset_number\" > CASE \"_syncset_collected\" WHEN 0 THEN \"_syncset_new\" \
             ELSE \"_syncset_all\" - \"_syncset_new\" END",
            bare = difference.trim_start_matches("temp."),
            there = table_name(&table.name),
            collected = stage.name,
        );
        session.run(&create, &stage.place).await?;
        let count = format!("SELECT count(*), coalesce(sum(collected), 0) FROM {difference}");
        let rows = session.rows(count, arguments![], &stage.place).await?;
        let counted = |index| {
            let value = rows.first().map_or(0, |row| integer(row, index));
            u64::try_from(value).unwrap_or(0)
        };
        let (all, new) = (counted(0), counted(1));
        Ok((all - new, new))
    }
}

/// Statements that make one table hold what its stage holds.
struct Merge {
    deletes: Vec<String>,
    writes: Vec<String>,
    place: String,
    table: TargetTable,
    outcome: Replaced,
}

impl Merge {
    fn new(stage: &Stage) -> Self {
        Self {
            deletes: Vec::new(),
            writes: Vec::new(),
            place: stage.place.clone(),
            table: stage.table.clone(),
            outcome: Replaced::Done {
                rows_written: 0,
                rows_deleted: 0,
            },
        }
    }
}

/// Rows of the stage, inserted or, where their image differs, updated.
fn upsert_sql(stage: &Stage, now: &Now) -> String {
    let table = &stage.table;
    let target = table_name(&table.name);
    let names = identifiers(table.columns.iter().map(|column| &column.name));
    let given = |index: usize| format!("s.{}", identifier(&table.columns[index].name));
    format!(
        "INSERT INTO {target} ({names}{}) SELECT {names}{} FROM {} AS s \
         WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {}){}",
        Now::columns(&table.marks),
        now.values(&table.marks),
        stage.name,
        same_image(table, given),
        on_conflict(table, now)
    )
}

/// The table of the rows that only one side has: `collected` is 1 for those of the stage.
fn difference_of(stage: &Stage) -> String {
    stage.name.replace("_syncset_rows_", "_syncset_difference_")
}

/// What the number of a row is called, where no column has the name.
fn row_number(table: &TargetTable) -> &'static str {
    let is_column = |name: &str| {
        let columns = table.all_columns();
        columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
    };
    let free = ROW_NUMBERS.into_iter().find(|name| !is_column(name));
    free.unwrap_or(ROW_NUMBERS[0])
}
