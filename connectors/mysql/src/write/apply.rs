//! How what is staged reaches the tables: rows that are gone, children first, then rows that are
//! there, parents first. The tables of a unit are written parents first, so their order tells.
//!
//! Between several tables no one order suits every set of keys: a row may move away from a parent
//! that is deleted, or take over the unique value of a row that is. So what a key refuses is tried
//! again after the rest, as long as that helps.

use super::MysqlUnit;
use super::plan::Step;
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

impl MysqlUnit {
    /// Deletes what is staged, then merges what is staged.
    pub(super) async fn apply_staged(&mut self) -> Result<()> {
        let mut waiting = Vec::new();
        for (place, work) in self.tables.iter_mut().enumerate().rev() {
            if std::mem::take(&mut work.deletes_staged) {
                waiting.push(Staged::Deletes(place));
            }
            if !work.merge.delete.is_empty() {
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
            if !work.merge.write.is_empty() {
                waiting.push(Staged::Collected(place));
            }
        }
        if self.tables.len() > 1 {
            self.apply_as_they_pass(waiting).await?;
        } else {
            for staged in waiting {
                self.apply_one(staged).await?;
            }
        }
        for work in &mut self.tables {
            work.merge = Merge::default();
        }
        Ok(())
    }

    async fn apply_as_they_pass(&mut self, mut waiting: Vec<Staged>) -> Result<()> {
        while !waiting.is_empty() {
            let mut refused = Vec::new();
            let mut reason = None;
            let count = waiting.len();
            for staged in waiting {
                self.execute("SAVEPOINT syncset_apply").await?;
                match self.apply_one(staged).await {
                    Ok(()) => {}
                    Err(error) if error.class == ErrorClass::RowParked => {
                        self.execute("ROLLBACK TO SAVEPOINT syncset_apply").await?;
                        refused.push(staged);
                        reason = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = reason.filter(|_| refused.len() == count) {
                return Err(error);
            }
            waiting = refused;
        }
        Ok(())
    }

    async fn apply_one(&mut self, staged: Staged) -> Result<()> {
        let (Staged::Deletes(place)
        | Staged::Absent(place)
        | Staged::Upserts(place)
        | Staged::Appends(place)
        | Staged::Collected(place)) = staged;
        let steps = self.steps_of(staged);
        let mut changed = self.apply(place, &steps).await?;
        let merge = &self.tables[place].merge;
        // Rows known by their image alone are deleted and inserted again where only some of them
        // go; what counts is by how many the table differs.
        match staged {
            Staged::Absent(_) => changed = merge.gone.unwrap_or(changed),
            Staged::Collected(_) => changed = merge.new.unwrap_or(changed),
            Staged::Deletes(_) | Staged::Upserts(_) | Staged::Appends(_) => {}
        }
        let receipt = &mut self.tables[place].receipt;
        match staged {
            Staged::Deletes(_) | Staged::Absent(_) => receipt.rows_deleted += changed,
            Staged::Upserts(_) | Staged::Appends(_) | Staged::Collected(_) => {
                receipt.rows_written += changed;
            }
        }
        Ok(())
    }

    fn steps_of(&self, staged: Staged) -> Vec<Step> {
        let path = match staged {
            Staged::Deletes(place) => self.tables[place].plan.delete(),
            Staged::Upserts(place) => self.upsert_path(place),
            Staged::Appends(place) => self.tables[place].plan.append(),
            Staged::Absent(place) => return self.tables[place].merge.delete.clone(),
            Staged::Collected(place) => return self.tables[place].merge.write.clone(),
        };
        path.stage.expect("only stages are applied").apply
    }
}
