//! Rows that are inserted whatever is there, and never again.

use super::MysqlUnit;
use super::column::prefixed;
use super::plan::{Counts, Path, Step, WritePlan};
use arrow_array::RecordBatch;
use syncset_connector::{Rejection, Result, TargetTable};

impl WritePlan {
    /// Rows into a stage, then inserted; with a key, unless their key is there already.
    pub(super) fn append(&self) -> Path {
        self.rows_into("appended", |stage| {
            if !self.key.is_empty() {
                return vec![self.insert_missing(stage)];
            }
            vec![Step {
                sql: format!(
                    "INSERT INTO {} ({}{}) SELECT {}{} FROM {stage} AS s",
                    self.target,
                    self.column_list(),
                    self.marks.columns(),
                    prefixed("s", &self.written),
                    self.marks.values()
                ),
                counts: Counts::Changed,
            }]
        })
    }
}

impl MysqlUnit {
    /// See [`UnitWriter::append`](syncset_connector::UnitWriter::append).
    pub(super) async fn append_rows(
        &mut self,
        table: &TargetTable,
        batch: &RecordBatch,
    ) -> Result<Vec<Rejection>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let place = self.work_on(table).await?;
        if self.start.careful {
            let path = self.tables[place].plan.append();
            let (written, rejections) = self.apply_carefully(place, &path, batch).await?;
            self.tables[place].receipt.rows_written += written;
            return Ok(rejections);
        }
        // Nothing has to be looked for where no row has a key, or none is there.
        let path = if self.start.into_empty || table.key.is_empty() {
            self.tables[place].plan.direct()
        } else {
            self.tables[place].appends_staged = true;
            self.tables[place].plan.append()
        };
        self.send(place, &path, batch).await?;
        Ok(Vec::new())
    }
}
