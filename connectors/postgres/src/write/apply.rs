//! How what is staged reaches the tables: rows that are gone, children first, then rows that are
//! there, parents first. The tables of a unit are written parents first, so their order tells.
//!
//! Between several tables no one order suits every set of keys: a row may move away from a parent
//! that is deleted, or take over the unique value of a row that is. So what a key refuses is tried
//! again after the rest, as long as that helps.

use super::PgUnit;
use super::replace::Merge;
use syncset_connector::{ErrorClass, Result};

/// What is staged of one table.
#[derive(Debug, Clone, Copy)]
enum Staged {
    Deletes(usize),
    /// Rows that a table that is replaced must not hold.
    Absent(usize),
    Upserts(usize),
    Appends(usize),
    /// Rows that a table that is replaced has to hold.
    Collected(usize),
}

impl PgUnit {
    /// Deletes what is staged, then merges what is staged.
    pub(super) async fn apply_staged(&mut self) -> Result<()> {
        for place in 0..self.tables.len() {
            self.stage_kept(place).await?;
        }
        let mut waiting = Vec::new();
        for (place, work) in self.tables.iter_mut().enumerate().rev() {
            if std::mem::take(&mut work.deletes_staged) {
                waiting.push(Staged::Deletes(place));
            }
            if work.merge.deletes_absent() {
                waiting.push(Staged::Absent(place));
            }
        }
        for (place, work) in self.tables.iter_mut().enumerate() {
            if std::mem::take(&mut work.upserts_staged) {
                waiting.push(Staged::Upserts(place));
            }
            if std::mem::take(&mut work.appends_staged) {
                waiting.push(Staged::Appends(place));
            }
            if work.merge.writes() {
                waiting.push(Staged::Collected(place));
            }
        }
        if self.tables.len() > 1 {
            return self.apply_as_they_pass(waiting).await;
        }
        for staged in waiting {
            let sql = self.sql_of(staged);
            let changed = self.apply_sql(&sql).await?;
            self.count(staged, changed);
        }
        self.merged();
        Ok(())
    }

    async fn apply_as_they_pass(&mut self, mut waiting: Vec<Staged>) -> Result<()> {
        while !waiting.is_empty() {
            let mut refused = Vec::new();
            let mut reason = None;
            let count = waiting.len();
            for staged in waiting {
                let sql = format!(
                    "SAVEPOINT syncset_apply;\n{};\nRELEASE SAVEPOINT syncset_apply",
                    self.sql_of(staged)
                );
                match self.session().await?.execute_all(&sql).await {
                    Ok(changed) => self.count(staged, changed),
                    Err(error) if error.class == ErrorClass::RowParked => {
                        self.run("ROLLBACK TO SAVEPOINT syncset_apply").await?;
                        refused.push(staged);
                        reason = Some(error);
                    }
                    Err(error) => return Err(self.examined(error)),
                }
            }
            if let Some(error) = reason.filter(|_| refused.len() == count) {
                return Err(error);
            }
            waiting = refused;
        }
        self.merged();
        Ok(())
    }

    fn sql_of(&self, staged: Staged) -> String {
        let path = match staged {
            Staged::Deletes(place) => self.tables[place].delete_path(),
            Staged::Upserts(place) => self.upsert_path(place),
            Staged::Appends(place) => self.tables[place].plan.append(),
            Staged::Absent(place) => return self.tables[place].merge.delete.clone(),
            Staged::Collected(place) => return self.tables[place].merge.write.clone(),
        };
        path.stage.expect("only stages are applied").apply
    }

    /// What was to be merged has been.
    fn merged(&mut self) {
        for work in &mut self.tables {
            work.merge = Merge::default();
        }
    }

    fn count(&mut self, staged: Staged, changed: u64) {
        let (Staged::Deletes(place)
        | Staged::Absent(place)
        | Staged::Upserts(place)
        | Staged::Appends(place)
        | Staged::Collected(place)) = staged;
        let receipt = &mut self.tables[place].receipt;
        match staged {
            Staged::Deletes(_) | Staged::Absent(_) => receipt.rows_deleted += changed,
            Staged::Upserts(_) | Staged::Appends(_) | Staged::Collected(_) => {
                receipt.rows_written += changed;
            }
        }
    }
}
