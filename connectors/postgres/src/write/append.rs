//! Rows that are inserted whatever is there, and never again.

use super::PgUnit;
use super::plan::{Path, WritePlan, join};
use crate::sql::quote_ident;
use arrow_array::RecordBatch;
use syncset_connector::{Rejection, Result, TargetTable};

impl WritePlan {
    /// Rows into a stage, then inserted; with a key, unless their key is there already.
    pub(super) fn append(&self) -> Path {
        self.rows_into("appended", |stage| {
            let conflict = if self.key.is_empty() {
                String::new()
            } else {
                let key = join(&self.key, ", ", |part| quote_ident(&part.name));
                format!(" ON CONFLICT ({key}) DO NOTHING")
            };
            format!(
                "INSERT INTO {target} ({columns}{marks}) OVERRIDING SYSTEM VALUE \
                 SELECT {columns}{times} FROM {rows} AS s{conflict}",
                target = self.target,
                marks = self.marks.columns(),
                times = self.marks.values(),
                columns = self.column_list(),
                rows = self.typed_rows(stage),
            )
        })
    }

    /// Rows straight into the table, where nothing has to be looked for or cast first.
    fn append_directly(&self, into_empty: bool) -> Option<Path> {
        (into_empty || self.key.is_empty())
            .then(|| self.direct())
            .flatten()
    }
}

impl PgUnit {
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
        let work = &mut self.tables[place];
        let path = match work.plan.append_directly(self.start.into_empty) {
            Some(path) => {
                work.wrote_directly = true;
                path
            }
            None => {
                work.appends_staged = true;
                work.plan.append()
            }
        };
        self.send(place, &path, batch).await?;
        Ok(Vec::new())
    }
}
