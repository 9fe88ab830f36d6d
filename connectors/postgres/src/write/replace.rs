//! Tables that are made to hold what was collected for them.
//!
//! Everything goes to a stage, which is compared with the table and merged in place by the unit's
//! own transaction: readers see the table before or after it, and rows that are equal cost no
//! record of the log, no trigger and no sequence.
//!
//! Without a key a row is known by its image alone. Images are compared as the SHA-256 of the
//! row's binary form: it tells apart what `=` does not (`1.0` and `1.00`, spellings that differ in
//! case), takes types that have no `=` at all (`json`, `point`, `xml`), and is all that has to be
//! sorted of a wide row.

use super::PgUnit;
use super::plan::{Path, Staged, WritePlan, join};
use crate::error;
use crate::sql::quote_ident;
use arrow_array::RecordBatch;
use syncset_connector::{
    ConnectorError, ErrorClass, OnDelete, Rejection, ReplaceRules, Replaced, Result, TargetTable,
};

/// Statements that make one table hold what its stage holds; empty ones are not run.
#[derive(Debug, Clone, Default)]
pub(super) struct Merge {
    /// Deletes what the stage lacks, or marks it as gone.
    pub(super) delete: String,
    /// Inserts, or updates, what the table lacks.
    pub(super) write: String,
}

impl Merge {
    /// True if rows are to be deleted.
    pub(super) fn deletes_absent(&self) -> bool {
        !self.delete.is_empty()
    }

    /// True if rows are to be written.
    pub(super) fn writes(&self) -> bool {
        !self.write.is_empty()
    }
}

impl WritePlan {
    /// Rows into the stage that the table is compared with.
    pub(super) fn collect(&self) -> Path {
        self.rows_into("collected", |_| String::new())
    }

    /// The merge of a table whose rows have a key.
    fn merge_by_key(&self, stage: &str) -> Merge {
        Merge {
            delete: self.take_away_absent(stage),
            write: self.upsert_sql(stage),
        }
    }

    /// The merge of a table without a key, after [`difference_sql`](Self::difference_sql).
    fn merge_by_image(&self, stage: &str) -> Merge {
        let difference = self.stage_name("difference");
        let values = join(&self.written, ", ", |column| {
            format!("s.{}{}", quote_ident(&column.name), column.form.cast())
        });
        Merge {
            delete: format!(
                "DELETE FROM {} AS t USING {difference} AS d \
                 WHERE t.ctid = d.place AND t.tableoid = d.leaf",
                self.target
            ),
            write: format!(
                "INSERT INTO {} ({}{}) OVERRIDING SYSTEM VALUE SELECT {values}{} FROM {stage} AS s \
                 JOIN {difference} AS d ON d.place = s.ctid AND d.leaf IS NULL",
                self.target,
                self.column_list(),
                self.marks.columns(),
                self.marks.values()
            ),
        }
    }

    /// Finds the rows that only one side has, where equal rows count: the second of two equal rows
    /// differs if the other side has one of them. `leaf` is NULL for rows of the stage.
    ///
    /// Within one image the table's rows are numbered first: 1 to `there`, then those of the stage.
    fn difference_sql(&self, stage: &str) -> String {
        let name = self.stage_name("difference");
        format!(
            "CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT i.leaf, i.place FROM (\
             SELECT r.leaf, r.place, pg_catalog.row_number() OVER (PARTITION BY r.image ORDER BY r.leaf IS NULL) AS number, \
             pg_catalog.count(r.leaf) OVER w AS there, pg_catalog.count(*) OVER w AS everywhere FROM (\
             SELECT t.tableoid AS leaf, t.ctid AS place, {there} AS image FROM {target} AS t \
             UNION ALL SELECT NULL, s.ctid, {collected} FROM {stage} AS s) AS r \
             WINDOW w AS (PARTITION BY r.image)) AS i \
             WHERE CASE WHEN i.leaf IS NULL THEN i.number > 2 * i.there ELSE i.number > i.everywhere - i.there END",
            target = self.target,
            there = self.image("t", Staged::Typed),
            collected = self.image("s", Staged::AsSent),
        )
    }

    fn image(&self, alias: &str, staged: Staged) -> String {
        let parts = join(&self.written, ", ", |column| {
            let cast = match staged {
                Staged::AsSent => column.form.cast(),
                Staged::Typed => "",
            };
            let text = if column.has_binary_form {
                ""
            } else {
                "::pg_catalog.text"
            };
            format!("{alias}.{}{cast}{text}", quote_ident(&column.name))
        });
        format!("pg_catalog.sha256(pg_catalog.record_send(ROW({parts})::record))")
    }
}

impl PgUnit {
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
        self.end_copy().await?;
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
        // The server knows nothing of a fresh stage; by a guess it may scan it once per row.
        self.apply_sql(&format!("ANALYZE {}", stage.name)).await?;
        let deletes = rules.absent != OnDelete::Keep;
        if !table.key.is_empty() {
            let mut merge = if at_once {
                Merge {
                    delete: stage.apply.clone(),
                    // The rows themselves are written already.
                    write: String::new(),
                }
            } else {
                plan.merge_by_key(&stage.name)
            };
            if !deletes {
                merge.delete.clear();
            }
            return Ok(Ok(merge));
        }
        let (gone, new) = self.difference(&plan, &stage.name).await?;
        let rewritten = if deletes { gone + new } else { new };
        if rewritten > rules.max_rewrite_rows {
            return Ok(Err(rewritten));
        }
        let mut merge = plan.merge_by_image(&stage.name);
        if !deletes || gone == 0 {
            merge.delete.clear();
        }
        if new == 0 {
            merge.write.clear();
        }
        Ok(Ok(merge))
    }

    /// Writes down the rows that only one side has. Returns how many each side has.
    async fn difference(&mut self, plan: &WritePlan, stage: &str) -> Result<(u64, u64)> {
        let difference = plan.stage_name("difference");
        self.apply_sql(&plan.difference_sql(stage)).await?;
        self.apply_sql(&format!("ANALYZE {difference}")).await?;
        let counted =
            format!("SELECT pg_catalog.count(leaf), pg_catalog.count(*) FROM {difference}");
        let rows = self.session().await?.rows(&counted).await?;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not count what differs"))?;
        let (gone, all): (u64, u64) = (row.parse(0)?, row.parse(1)?);
        Ok((gone, all - gone))
    }

    pub(super) async fn apply_sql(&mut self, sql: &str) -> Result<u64> {
        let applied = self.session().await?.execute(sql).await;
        applied.map_err(|error| self.examined(error))
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
