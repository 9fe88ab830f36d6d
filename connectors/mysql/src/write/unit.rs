//! The transaction of a unit: its session, its stages, and how it ends.

use super::WriterPool;
use super::images::LockedKey;
use super::marks::UTC_NOW;
use super::plan::{Counts, Path, Stage, Step, WritePlan};
use super::replace::Merge;
use super::rights::grant_all;
use super::send;
use crate::connect::{MysqlStore, ServerFacts, Session};
use crate::error;
use crate::state;
use arrow_array::RecordBatch;
use std::sync::Arc;
use syncset_connector::{
    ConnectorError, ErrorClass, Position, Receipt, Result, StreamPhase, TargetTable, UnitStart,
    UnitStep, WatermarkMove,
};

/// One unit.
pub(crate) struct MysqlUnit {
    pub(super) pool: Arc<WriterPool>,
    pub(super) facts: ServerFacts,
    session: Option<Session>,
    pub(super) start: UnitStart,
    /// When it began, in UTC by the server's clock.
    now: String,
    pub(super) tables: Vec<TableWork>,
    /// Deletes of its tables may be pending.
    pub(super) heeds_pending: bool,
    /// Rows refused so far, in careful mode.
    pub(super) rejected_count: usize,
}

/// What a unit has done to one table.
pub(super) struct TableWork {
    pub(super) table: TargetTable,
    pub(super) plan: WritePlan,
    /// Rows are in the stage of [`WritePlan::upsert`].
    pub(super) upserts_staged: bool,
    /// Keys are in the stage of [`WritePlan::delete`].
    pub(super) deletes_staged: bool,
    /// Rows are in the stage of [`WritePlan::append`].
    pub(super) appends_staged: bool,
    /// Keys whose rows were locked last.
    pub(super) locked: Vec<LockedKey>,
    /// What makes it hold what was collected for it.
    pub(super) merge: Merge,
    /// Stages that exist.
    stages: Vec<String>,
    /// False while its stages are empty.
    pub(super) filled: bool,
    /// What was done to it so far.
    pub(super) receipt: Receipt,
}

impl TableWork {
    fn new(table: &TargetTable, plan: WritePlan) -> Self {
        Self {
            table: table.clone(),
            plan,
            upserts_staged: false,
            deletes_staged: false,
            appends_staged: false,
            locked: Vec::new(),
            merge: Merge::default(),
            stages: Vec::new(),
            filled: false,
            receipt: Receipt::default(),
        }
    }
}

impl MysqlUnit {
    /// Begins the transaction, locks the fence and the unit's row, and verifies both, in one
    /// round trip.
    pub(crate) async fn begin(store: &MysqlStore, start: UnitStart) -> Result<Self> {
        let pool = &store.writers;
        let mut session = pool.session(store, &start.lease).await?;
        let now = match lock(&mut session, &start).await {
            Ok(now) => now,
            Err(error) => {
                if error.class == ErrorClass::Connection {
                    // The others were idle as long and are likely to be gone too.
                    pool.drop_idle();
                }
                roll_back(session, pool, &start).await;
                return Err(error);
            }
        };
        Ok(Self {
            pool: Arc::clone(pool),
            facts: store.facts().clone(),
            session: Some(session),
            start,
            now,
            tables: Vec::new(),
            heeds_pending: false,
            rejected_count: 0,
        })
    }

    /// The place of a table among those of the unit.
    pub(super) async fn work_on(&mut self, table: &TargetTable) -> Result<usize> {
        if let Some(place) = self.tables.iter().position(|work| work.table == *table) {
            return Ok(place);
        }
        let pool = Arc::clone(&self.pool);
        let facts = self.facts.clone();
        let session = self.session()?;
        let shape = pool.shape(session, &facts, &table.name).await?;
        let plan = WritePlan::new(table, &shape, self.tables.len(), &self.now)?;
        self.tables.push(TableWork::new(table, plan));
        Ok(self.tables.len() - 1)
    }

    pub(super) fn session(&mut self) -> Result<&mut Session> {
        self.session.as_mut().ok_or_else(error::lost_link)
    }

    /// A shape that is out of date shows as an error of the server.
    pub(super) fn examined(&self, error: ConnectorError) -> ConnectorError {
        self.pool.forget_shapes();
        error
    }

    /// Sends a batch the way it has to go, creating the stage where there is none yet.
    pub(super) async fn send(
        &mut self,
        place: usize,
        path: &Path,
        batch: &RecordBatch,
    ) -> Result<()> {
        if let Some(stage) = &path.stage {
            self.create_stage(place, stage).await?;
        }
        let rows = 0..batch.num_rows();
        let session = self.session.as_mut().ok_or_else(error::lost_link)?;
        let taken = send::send_rows(session, &self.facts, path, batch, rows).await;
        let taken = taken.map_err(|error| self.examined(error))?;
        let work = &mut self.tables[place];
        match path.stage {
            Some(_) => work.filled = true,
            None => work.receipt.rows_written += taken,
        }
        Ok(())
    }

    pub(super) async fn create_stage(&mut self, place: usize, stage: &Stage) -> Result<()> {
        if self.tables[place].stages.contains(&stage.name) {
            return Ok(());
        }
        let created = self.session()?.execute_each(&stage.create).await;
        created.map_err(|error| self.examined(no_stage(error, &self.facts)))?;
        self.tables[place].stages.push(stage.name.clone());
        Ok(())
    }

    /// A stage that another statement has made is one of the table's.
    pub(super) fn remember_stage(&mut self, place: usize, name: String) {
        self.tables[place].stages.push(name);
    }

    /// Empties all stages, so that they can be filled once more. TRUNCATE would commit.
    pub(super) async fn empty_stages(&mut self) -> Result<()> {
        let filled = self.tables.iter_mut().filter(|work| work.filled);
        let stages: Vec<_> = filled
            .flat_map(|work| {
                work.filled = false;
                work.stages.iter().cloned()
            })
            .collect();
        for stage in stages {
            self.empty(&stage).await?;
        }
        Ok(())
    }

    pub(super) async fn empty(&mut self, stage: &str) -> Result<()> {
        self.execute(&format!("DELETE FROM {stage}"))
            .await
            .map(drop)
    }

    /// Applies a stage; the rows of the table that were changed.
    pub(super) async fn apply(&mut self, place: usize, steps: &[Step]) -> Result<u64> {
        let mut changed = 0;
        for step in steps {
            changed += self.step(place, step).await?;
        }
        Ok(changed)
    }

    async fn step(&mut self, place: usize, step: &Step) -> Result<u64> {
        if step.counts == Counts::MustBeNone {
            let blurred = self.session()?.rows(&step.sql).await;
            let blurred = blurred.map_err(|error| self.examined(error))?;
            return if blurred.is_empty() {
                Ok(0)
            } else {
                Err(blurred_keys(&self.tables[place].table))
            };
        }
        let session = self.session()?;
        let done = session.execute(&step.sql).await;
        let info = session.link().0.info().into_owned();
        let done = done.map_err(|error| self.examined(error))?;
        if done.warnings > 0 && step.counts != Counts::Nothing {
            return Err(send::warned(self.session()?).await);
        }
        match step.counts {
            Counts::Changed => Ok(done.rows),
            Counts::Given => given(&info),
            Counts::Nothing | Counts::MustBeNone => Ok(0),
        }
    }

    /// Runs a statement; rows it changed.
    pub(super) async fn execute(&mut self, sql: &str) -> Result<u64> {
        let done = self.session()?.execute(sql).await;
        Ok(done.map_err(|error| self.examined(error))?.rows)
    }

    /// Runs statements of the state; none of them for an empty text.
    pub(super) async fn run_all(&mut self, sql: &str) -> Result<()> {
        let sql = sql.trim_end_matches([';', '\n']);
        if sql.is_empty() {
            return Ok(());
        }
        self.session()?.execute_each(sql).await.map(drop)
    }

    /// True if rows may go straight into the table.
    pub(super) fn is_direct(&self) -> bool {
        self.start.into_empty && !self.start.careful
    }

    /// What was done to all tables so far.
    pub(super) fn receipt(&self) -> Receipt {
        let mut sum = Receipt::default();
        for work in &self.tables {
            sum.rows_written += work.receipt.rows_written;
            sum.rows_deleted += work.receipt.rows_deleted;
        }
        if let UnitStep::Watermark { version, .. } = &self.start.step {
            sum.version = version + 1;
        }
        sum
    }

    pub(super) async fn finish(
        &mut self,
        watermark: Option<&(Position, StreamPhase)>,
    ) -> Result<()> {
        self.apply_staged().await?;
        let row_count = self.receipt().rows_written;
        let finish = state::finish(&self.start, watermark, row_count)?;
        self.commit_with(&finish).await
    }

    pub(super) async fn finish_together(&mut self, moves: &[WatermarkMove]) -> Result<()> {
        self.apply_staged().await?;
        let finish = state::finish_together(&self.start, moves)?;
        self.commit_with(&finish).await
    }

    async fn commit_with(&mut self, finish: &state::Finish) -> Result<()> {
        let sql = finish.sql.trim_end_matches([';', '\n']);
        let answers = self.session()?.result_sets(sql).await?;
        finish.check(answers)?;
        let Err(error) = self.session()?.execute("COMMIT").await else {
            return Ok(());
        };
        Err(match error.class {
            // The server may have done it and not been able to say so.
            ErrorClass::Connection => ConnectorError::new(
                ErrorClass::CommitUnknown,
                "lost the link to the server before it confirmed the commit",
            )
            .caused_by(error),
            _ => error,
        })
    }

    /// Lets other units have the session, which is in no transaction any more.
    pub(super) fn give_back(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.give_back(session, &self.start.lease);
        }
    }

    pub(super) async fn roll_back(&mut self) {
        if let Some(session) = self.session.take() {
            roll_back(session, &self.pool, &self.start).await;
        }
    }
}

/// Begins the transaction and locks what the unit replaces. Returns the time, after waiting.
async fn lock(session: &mut Session, start: &UnitStart) -> Result<String> {
    let locks = state::lock_statements(start);
    let sets = session
        .result_sets(&format!("START TRANSACTION;\n{locks}{UTC_NOW}"))
        .await?;
    state::check_locked(sets.get(..state::LOCK_SETS).unwrap_or(&sets), start)?;
    let now = sets.get(state::LOCK_SETS).and_then(|rows| rows.first());
    let now = now.ok_or_else(|| error::unexpected("the server did not say what time it is"))?;
    now.required(0).map(str::to_owned)
}

/// Ends the transaction; the session is kept if it is still in order.
async fn roll_back(mut session: Session, pool: &WriterPool, start: &UnitStart) {
    if session.execute("ROLLBACK").await.is_ok() {
        pool.give_back(session, &start.lease);
    }
}

/// The rows that an INSERT ... SELECT was given: `Records: 5  Duplicates: 2  Warnings: 0`. Each
/// was inserted or changed, which the number of affected rows does not tell apart.
fn given(info: &str) -> Result<u64> {
    let rest = info.trim_start().strip_prefix("Records:");
    let number = rest.and_then(|rest| rest.split_ascii_whitespace().next());
    match number {
        Some(number) => number
            .parse()
            .map_err(|_| error::unexpected("the server did not count rows")),
        // It was given none.
        None if info.is_empty() => Ok(0),
        None => Err(error::unexpected("the server did not count rows")),
    }
}

fn blurred_keys(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!(
            "two keys of the source are one key for `{}`, whose key ({}) is compared by a \
             collation that ignores case, accents or trailing blanks: one row would overwrite the \
             other",
            table.name,
            table.key.join(", ")
        ),
    )
    .with_hint(
        "give the key's columns a collation that tells bytes apart: `utf8mb4_0900_bin` (MySQL), \
         `utf8mb4_nopad_bin` (MariaDB); then run again",
    )
}

fn no_stage(error: ConnectorError, facts: &ServerFacts) -> ConnectorError {
    if error.class == ErrorClass::Privilege {
        error.with_hint(grant_all(facts))
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_given_are_read_from_the_answer() {
        assert_eq!(
            given("Records: 5  Duplicates: 2  Warnings: 0").ok(),
            Some(5)
        );
        assert_eq!(given("").ok(), Some(0));
        assert!(given("Rows matched: 1").is_err());
    }
}
