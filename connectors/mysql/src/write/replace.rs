//! Tables that are made to hold what was collected for them.
//!
//! Everything goes to a stage, which is compared with the table and merged in place by the unit's
//! own transaction: readers see the table before or after it, and rows that are equal cost no
//! record of the log and no trigger.
//!
//! Without a key a row is known by its image alone: the SHA-256 of its columns, each long one
//! hashed by itself, since a concatenation that is longer than a packet would be NULL. Rows that
//! are equal cannot be told apart here, so where only some of them go, all of an image are deleted
//! and those that stay are inserted again, with the times at which they were written first.

use super::MysqlUnit;
use super::column::Written;
use super::plan::{Counts, Path, Step, WritePlan};
use crate::encode::Form;
use crate::error;
use crate::sql::identifier;
use arrow_array::RecordBatch;
use syncset_connector::{
    ConnectorError, ErrorClass, OnDelete, Rejection, ReplaceRules, Replaced, Result, TargetTable,
};

/// Statements that make one table hold what its stage holds; empty ones are not run.
#[derive(Debug, Clone, Default)]
pub(super) struct Merge {
    /// Deletes what the stage lacks, or marks it as gone.
    pub(super) delete: Vec<Step>,
    /// Inserts, or updates, what the table lacks.
    pub(super) write: Vec<Step>,
    /// Rows that go, if that is known before.
    pub(super) gone: Option<u64>,
    /// Rows that come, if that is known before.
    pub(super) new: Option<u64>,
}

impl WritePlan {
    /// Rows into the stage that the table is compared with.
    pub(super) fn collect(&self) -> Path {
        self.with_key_index(self.rows_into("collected", |_| Vec::new()))
    }

    /// The merge of a table without a key, after [`difference`](Self::difference) and, where rows
    /// are deleted, [`keep_times`](Self::keep_times).
    fn merge_by_image(&self, stage: &str, deletes: bool) -> Merge {
        let difference = self.stage_name("difference");
        let (mut mark, mut time, mut kept) = (String::new(), String::new(), String::new());
        if let Some((name, now)) = self.marks.written_at() {
            (mark, time) = (format!(", {name}"), format!(", {now}"));
            if deletes {
                time = format!(", CASE WHEN d.there > d.wanted THEN k.at ELSE {now} END");
                kept = format!(
                    " LEFT JOIN {} AS k ON k.image = d.image AND k.number = n._syncset_number",
                    self.stage_name("kept")
                );
            }
        }
        let delete = Step {
            sql: format!(
                "DELETE t FROM {} AS t JOIN {difference} AS d ON d.image = {} \
                 WHERE d.there > d.wanted",
                self.target,
                self.image("t")
            ),
            counts: Counts::Changed,
        };
        let missing = if deletes {
            "CASE WHEN d.there > d.wanted THEN d.wanted ELSE d.wanted - d.there END"
        } else {
            "CASE WHEN d.there > d.wanted THEN 0 ELSE d.wanted - d.there END"
        };
        let staged: Vec<_> = self
            .written
            .iter()
            .map(|column| format!("n.{}", identifier(&column.name)))
            .collect();
        let write = Step {
            sql: format!(
                "INSERT INTO {} ({}{mark}) SELECT {}{time} FROM (SELECT s.*, \
                 {image} AS _syncset_image, \
                 ROW_NUMBER() OVER (PARTITION BY {image}) AS _syncset_number FROM {stage} AS s) \
                 AS n JOIN {difference} AS d ON d.image = n._syncset_image{kept} \
                 WHERE n._syncset_number <= {missing}",
                self.target,
                self.column_list(),
                staged.join(", "),
                image = self.image("s"),
            ),
            counts: Counts::Changed,
        };
        Merge {
            delete: vec![delete],
            write: vec![write],
            gone: None,
            new: None,
        }
    }

    /// Writes down when the rows were written of which only some go, the oldest first; `None` if
    /// rows do not say so.
    fn keep_times(&self) -> Option<String> {
        let (mark, _) = self.marks.written_at()?;
        let (name, difference) = (self.stage_name("kept"), self.stage_name("difference"));
        let image = self.image("t");
        Some(format!(
            "DROP TEMPORARY TABLE IF EXISTS {name};\n\
             CREATE TEMPORARY TABLE {name} (image binary(32) NOT NULL, number bigint NOT NULL, \
             PRIMARY KEY (image, number)) ENGINE=InnoDB AS SELECT i.image, \
             ROW_NUMBER() OVER (PARTITION BY i.image ORDER BY i.at) AS number, i.at \
             FROM (SELECT {image} AS image, t.{mark} AS at FROM {} AS t) AS i \
             JOIN {difference} AS d ON d.image = i.image AND d.there > d.wanted",
            self.target
        ))
    }

    /// Counts the images of which the table and the stage hold different numbers.
    fn difference(&self, stage: &str) -> String {
        let name = self.stage_name("difference");
        format!(
            "DROP TEMPORARY TABLE IF EXISTS {name};\n\
             CREATE TEMPORARY TABLE {name} (image binary(32) NOT NULL PRIMARY KEY, \
             there bigint NOT NULL, wanted bigint NOT NULL) ENGINE=InnoDB;\n\
             INSERT INTO {name} (image, there, wanted) \
             SELECT i.image, SUM(i.there), SUM(i.wanted) FROM (\
             SELECT {} AS image, 1 AS there, 0 AS wanted FROM {} AS t UNION ALL \
             SELECT {}, 0, 1 FROM {stage} AS s) AS i \
             GROUP BY i.image HAVING SUM(i.there) <> SUM(i.wanted)",
            self.image("t"),
            self.target,
            self.image("s"),
        )
    }

    fn image(&self, alias: &str) -> String {
        let parts: Vec<_> = self
            .written
            .iter()
            .map(|column| image_of(alias, column))
            .collect();
        format!("UNHEX(SHA2(CONCAT_WS(',', {}), 256))", parts.join(", "))
    }
}

/// A column of an image: a short text without commas, never NULL.
fn image_of(alias: &str, column: &Written) -> String {
    let name = format!("{alias}.{}", identifier(&column.name));
    let value = match &column.actual.form {
        Some(Form::Text(_) | Form::Label(_) | Form::Labels(_) | Form::Bytes { .. }) => {
            format!("SHA2({name}, 256)")
        }
        Some(Form::Json(_)) => format!("SHA2(CAST({name} AS CHAR), 256)"),
        Some(Form::Geometry) => format!("SHA2(HEX({name}), 256)"),
        Some(Form::Bits(_)) => format!("CAST({name} AS UNSIGNED)"),
        // A float's own text has six digits, too few to tell it from its neighbours.
        Some(Form::Float { single: true, .. }) => {
            format!("CONCAT(CAST({name} AS CHAR), ' ', {name} + 0e0)")
        }
        _ => format!("CAST({name} AS CHAR)"),
    };
    format!("COALESCE({value}, '~')")
}

impl MysqlUnit {
    /// See [`UnitWriter::collect`](syncset_connector::UnitWriter::collect).
    pub(super) async fn collect_rows(
        &mut self,
        table: &TargetTable,
        batch: &RecordBatch,
    ) -> Result<Vec<Rejection>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let place = self.work_on(table).await?;
        if !self.writes_at_once(table) {
            let path = self.tables[place].plan.collect();
            self.send(place, &path, batch).await?;
            return Ok(Vec::new());
        }
        let path = self.tables[place].plan.prune();
        self.send(place, &path, &keys_of(table, batch)?).await?;
        let path = self.tables[place].plan.upsert();
        let (written, rejections) = self.apply_carefully(place, &path, batch).await?;
        self.tables[place].receipt.rows_written += written;
        Ok(rejections)
    }

    /// Rows without a key are never told apart, so the stage takes them all.
    fn writes_at_once(&self, table: &TargetTable) -> bool {
        self.start.careful && !table.key.is_empty()
    }

    /// See [`UnitWriter::replace`](syncset_connector::UnitWriter::replace).
    pub(super) async fn replace_tables(
        &mut self,
        tables: &[(&TargetTable, ReplaceRules)],
    ) -> Result<Vec<Replaced>> {
        let mut merges = Vec::with_capacity(tables.len());
        for (table, rules) in tables {
            let place = self.work_on(table).await?;
            merges.push((place, self.compare(place, table, rules).await?));
        }
        let too_many = |merge: &std::result::Result<Merge, u64>| merge.as_ref().err().copied();
        if merges.iter().any(|(_, merge)| too_many(merge).is_some()) {
            let outcome = |(_, merge): &(usize, _)| Replaced::TooMany {
                rows: too_many(merge).unwrap_or(0),
            };
            return Ok(merges.iter().map(outcome).collect());
        }
        let mut places = Vec::with_capacity(merges.len());
        for (place, merge) in merges {
            self.tables[place].merge = merge.unwrap_or_default();
            places.push(place);
        }
        // Tables that are written by key may need these rows, and these tables theirs.
        self.apply_staged().await?;
        self.empty_stages().await?;
        let outcome = |place: usize| Replaced::Done {
            rows_written: self.tables[place].receipt.rows_written,
            rows_deleted: self.tables[place].receipt.rows_deleted,
        };
        Ok(places.into_iter().map(outcome).collect())
    }

    /// Finds out what has to be done to one table; writes nothing to it. `Err` holds the number of
    /// rows that would be rewritten, if they are too many.
    async fn compare(
        &mut self,
        place: usize,
        table: &TargetTable,
        rules: &ReplaceRules,
    ) -> Result<std::result::Result<Merge, u64>> {
        let plan = self.tables[place].plan.clone();
        let at_once = self.writes_at_once(table);
        let path = if at_once {
            plan.prune()
        } else {
            plan.collect()
        };
        let stage = path.stage.expect("collected rows are staged");
        // Exists even if no row was collected: then every row goes.
        self.create_stage(place, &stage).await?;
        let deletes = rules.absent != OnDelete::Keep;
        if !table.key.is_empty() {
            let mut merge = Merge {
                delete: vec![plan.take_away_absent(&stage.name)],
                ..Merge::default()
            };
            if !at_once {
                merge.write = plan.upsert_steps(&stage.name);
            }
            if !deletes {
                merge.delete.clear();
            }
            return Ok(Ok(merge));
        }
        let (gone, new) = self.differences(place, &plan, &stage.name).await?;
        let rewritten = if deletes { gone + new } else { new };
        if rewritten > rules.max_rewrite_rows {
            return Ok(Err(rewritten));
        }
        if let Some(sql) = plan.keep_times().filter(|_| deletes && gone > 0) {
            let kept = self.session()?.execute_each(&sql).await;
            kept.map_err(|error| self.examined(error))?;
            self.remember_stage(place, plan.stage_name("kept"));
        }
        let mut merge = plan.merge_by_image(&stage.name, deletes && gone > 0);
        (merge.gone, merge.new) = (Some(gone), Some(new));
        if !deletes || gone == 0 {
            merge.delete.clear();
        }
        if new == 0 && merge.delete.is_empty() {
            merge.write.clear();
        }
        Ok(Ok(merge))
    }

    /// Writes down the images that differ. Returns how many rows each side has more.
    async fn differences(
        &mut self,
        place: usize,
        plan: &WritePlan,
        stage: &str,
    ) -> Result<(u64, u64)> {
        let name = plan.stage_name("difference");
        let counted = format!(
            "{};\nSELECT COALESCE(SUM(GREATEST(there - wanted, 0)), 0), \
             COALESCE(SUM(GREATEST(wanted - there, 0)), 0) FROM {name}",
            plan.difference(stage)
        );
        let rows = self.session()?.rows(&counted).await;
        let rows = rows.map_err(|error| self.examined(error))?;
        self.remember_stage(place, name);
        self.tables[place].filled = true;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not count what differs"))?;
        Ok((row.parse(0)?, row.parse(1)?))
    }
}

/// The key's columns of a batch, in key order.
fn keys_of(table: &TargetTable, batch: &RecordBatch) -> Result<RecordBatch> {
    let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
    let places: Vec<usize> = table.key.iter().filter_map(place).collect();
    batch.project(&places).map_err(|cause| {
        ConnectorError::new(ErrorClass::Store, "a batch does not hold its table's key")
            .caused_by(cause)
    })
}
