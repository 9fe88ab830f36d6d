//! The transaction of a unit: its session, its stages, and how it ends.

use super::WriterPool;
use super::copy::RunningCopy;
use super::images::LockedKey;
use super::plan::{Path, Stage, WritePlan};
use super::replace::Merge;
use crate::connect::{PgStore, Session};
use crate::{error, state};
use arrow_array::{RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{Field, Schema};
use std::sync::Arc;
use syncset_connector::{
    ConnectorError, ErrorClass, Marks, Position, Receipt, Result, StreamPhase, TargetTable,
    UnitStart, UnitStep, WatermarkMove,
};

/// Settings of a unit: compiling expressions costs more than it gains here. `search_path` stays
/// what the role has, since the table's triggers may count on it; our own names are qualified.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL jit = off;
";

/// A commit that is answered is durable.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', true)
  WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
";

/// A chunk that a crash of the server takes back is not marked as done either, and is copied again.
/// The unit that settles the load comes later in the same log and waits for all of it.
const NOT_WAITED_FOR: &str = "SELECT set_config('synchronous_commit', 'off', true);
";

/// Result sets of [`BEGIN`] and one of the two after it.
const BEGIN_SETS: usize = 3;

/// One unit. Holds its session, unless a running COPY has it.
pub(crate) struct PgUnit {
    pub(super) pool: Arc<WriterPool>,
    pub(super) session: Option<Session>,
    pub(super) copy: Option<RunningCopy>,
    pub(super) start: UnitStart,
    pub(super) tables: Vec<TableWork>,
    /// The table that the running COPY is of.
    pub(super) copying: usize,
    /// Deletes of its tables may be pending.
    pub(super) heeds_pending: bool,
    /// Rows refused so far, in careful mode.
    pub(super) rejected_count: usize,
    /// When the transaction began, in microseconds since 1970, once it was asked for.
    began_at: Option<i64>,
}

/// What a unit has done to one table.
pub(super) struct TableWork {
    pub(super) table: TargetTable,
    pub(super) plan: WritePlan,
    /// Rows were sent straight into the table.
    pub(super) wrote_directly: bool,
    /// Rows are in the stage of [`WritePlan::upsert`].
    pub(super) upserts_staged: bool,
    /// Keys are in the stage of [`WritePlan::delete`].
    pub(super) deletes_staged: bool,
    /// Keys to delete that are not staged yet.
    pub(super) deletes_kept: Vec<RecordBatch>,
    pub(super) deletes_kept_bytes: usize,
    /// Rows are in the stage of [`WritePlan::append`].
    pub(super) appends_staged: bool,
    /// Keys whose rows were locked last.
    pub(super) locked: Vec<LockedKey>,
    /// What makes it hold what was collected for it.
    pub(super) merge: Merge,
    /// Stages that exist.
    pub(super) stages: Vec<String>,
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
            wrote_directly: false,
            upserts_staged: false,
            deletes_staged: false,
            deletes_kept: Vec::new(),
            deletes_kept_bytes: 0,
            appends_staged: false,
            locked: Vec::new(),
            merge: Merge::default(),
            stages: Vec::new(),
            filled: false,
            receipt: Receipt::default(),
        }
    }

    pub(super) fn delete_path(&self) -> Path {
        if self.wrote_directly {
            self.plan.delete_older()
        } else {
            self.plan.delete()
        }
    }
}

impl PgUnit {
    /// Begins the transaction, locks the fence and the unit's row, and verifies both, in one
    /// round trip.
    pub(crate) async fn begin(
        store: &PgStore,
        pool: &Arc<WriterPool>,
        start: UnitStart,
    ) -> Result<Self> {
        let mut session = pool.session(store, &start.lease).await?;
        let constraints = if start.careful {
            // A row that a deferred constraint refuses must be found while it can be told apart.
            "SET CONSTRAINTS ALL IMMEDIATE;"
        } else {
            // Rows of one unit may need each other in any order.
            "SET CONSTRAINTS ALL DEFERRED;"
        };
        let durability = match start.step {
            UnitStep::Chunk { .. } => NOT_WAITED_FOR,
            UnitStep::Watermark { .. } | UnitStep::Watermarks(_) => DURABLE,
        };
        let locks = state::lock_statements(&start);
        let sql = format!("{BEGIN}{durability}{locks}{constraints}");
        let locked = match session.result_sets(&sql).await {
            Ok(sets) => {
                let sets = sets.get(BEGIN_SETS..).unwrap_or_default();
                state::check_locked(sets.get(..state::LOCK_SETS).unwrap_or(sets), &start)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = locked {
            if error.class == ErrorClass::Connection {
                // The others were idle as long and are likely to be gone too.
                pool.drop_idle();
            }
            roll_back(session, pool, &start).await;
            return Err(error);
        }
        Ok(Self {
            pool: Arc::clone(pool),
            session: Some(session),
            copy: None,
            start,
            tables: Vec::new(),
            copying: 0,
            heeds_pending: false,
            rejected_count: 0,
            began_at: None,
        })
    }

    /// The place of a table among those of the unit.
    pub(super) async fn work_on(&mut self, table: &TargetTable) -> Result<usize> {
        if let Some(place) = self.tables.iter().position(|work| work.table == *table) {
            return Ok(place);
        }
        let pool = Arc::clone(&self.pool);
        let session = self.session().await?;
        let shape = pool.shape(session, &table.name).await?;
        let plan = WritePlan::new(table, &shape, self.tables.len())?;
        self.tables.push(TableWork::new(table, plan));
        Ok(self.tables.len() - 1)
    }

    /// The session, with no COPY running.
    pub(super) async fn session(&mut self) -> Result<&mut Session> {
        self.end_copy().await?;
        self.session.as_mut().ok_or_else(error::lost_link)
    }

    pub(super) async fn end_copy(&mut self) -> Result<()> {
        let Some(copy) = self.copy.take() else {
            return Ok(());
        };
        let is_direct = copy.is_direct();
        let (session, outcome) = copy.finish().await;
        self.session = session;
        let row_count = outcome.map_err(|error| self.examined(error))?;
        if is_direct {
            self.tables[self.copying].receipt.rows_written += row_count;
        }
        Ok(())
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
        let timed;
        let batch = if path.is_timed {
            timed = with_time(batch, self.began_at().await?);
            &timed
        } else {
            batch
        };
        if !self.copy.as_ref().is_some_and(|copy| copy.is_into(path)) {
            if let Some(stage) = &path.stage {
                self.create_stage(place, stage).await?;
            }
            self.session().await?;
            let session = self.session.take().ok_or_else(error::lost_link)?;
            self.copy = Some(RunningCopy::start(session, path.clone()));
            self.copying = place;
            self.tables[place].filled |= path.stage.is_some();
        }
        let copy = self.copy.as_mut().expect("a COPY was started above");
        if copy.push(batch).await? {
            return Ok(());
        }
        self.end_copy().await?;
        Err(error::lost_link())
    }

    /// When the transaction began, by the server's clock: microseconds since 1970. Asked once.
    async fn began_at(&mut self) -> Result<i64> {
        if let Some(began_at) = self.began_at {
            return Ok(began_at);
        }
        let now = "SELECT (extract(epoch FROM pg_catalog.now()) * 1000000)::pg_catalog.int8";
        let rows = self.session().await?.rows(now).await?;
        let row = rows
            .first()
            .ok_or_else(|| error::unexpected("the server did not tell the time"))?;
        let began_at = row.parse(0)?;
        self.began_at = Some(began_at);
        Ok(began_at)
    }

    pub(super) async fn create_stage(&mut self, place: usize, stage: &Stage) -> Result<()> {
        if self.tables[place].stages.contains(&stage.name) {
            return Ok(());
        }
        let created = self.session().await?.execute(&stage.create).await;
        created.map_err(|error| self.examined(no_stage(error)))?;
        self.tables[place].stages.push(stage.name.clone());
        Ok(())
    }

    /// Moves kept keys into their stage.
    pub(super) async fn stage_kept(&mut self, place: usize) -> Result<()> {
        let kept = std::mem::take(&mut self.tables[place].deletes_kept);
        self.tables[place].deletes_kept_bytes = 0;
        if kept.is_empty() {
            return Ok(());
        }
        let path = self.tables[place].plan.delete();
        for keys in &kept {
            self.send(place, &path, keys).await?;
        }
        self.tables[place].deletes_staged = true;
        Ok(())
    }

    /// Empties all stages, so that they can be filled once more.
    pub(super) async fn empty_stages(&mut self) -> Result<()> {
        self.end_copy().await?;
        let filled = self.tables.iter_mut().filter(|work| work.filled);
        let stages: Vec<_> = filled
            .flat_map(|work| {
                work.filled = false;
                work.stages.iter().cloned()
            })
            .collect();
        if stages.is_empty() {
            return Ok(());
        }
        self.run(&format!("TRUNCATE {}", stages.join(", "))).await
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
        // A COPY says how many rows it took only at its end.
        self.end_copy().await?;
        let row_count = self.receipt().rows_written;
        let statements = state::finish_statements(&self.start, watermark, row_count);
        self.commit_with(&statements).await
    }

    pub(super) async fn finish_together(&mut self, moves: &[WatermarkMove]) -> Result<()> {
        self.apply_staged().await?;
        self.end_copy().await?;
        let statements = state::finish_together(&self.start, moves);
        self.commit_with(&statements).await
    }

    async fn commit_with(&mut self, statements: &str) -> Result<()> {
        let sql = format!("{statements}COMMIT");
        let Err(error) = self.session().await?.result_sets(&sql).await else {
            return Ok(());
        };
        Err(match error.class {
            // COMMIT was on its way: the server may have done it and not been able to say so.
            ErrorClass::Connection => ConnectorError::new(
                ErrorClass::CommitUnknown,
                "lost the link to the server before it confirmed the commit",
            )
            .caused_by(error),
            _ => state::replaced_if_lost(error),
        })
    }

    pub(super) async fn run(&mut self, sql: &str) -> Result<()> {
        if sql.is_empty() {
            return Ok(());
        }
        self.session().await?.execute(sql).await.map(drop)
    }

    /// Lets other units have the session, which is in no transaction any more.
    pub(super) fn give_back(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.give_back(session, &self.start.lease);
        }
    }
}

/// The batch with one more column: the time at which its rows are written.
fn with_time(batch: &RecordBatch, micros: i64) -> RecordBatch {
    let schema = batch.schema();
    let time = Field::new("written at", Marks::data_type(), false);
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    let fields: Vec<_> = fields.chain([time]).collect();
    let times = TimestampMicrosecondArray::from_value(micros, batch.num_rows());
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(times.with_timezone("UTC")));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .expect("the column is as long as its batch")
}

/// Ends the transaction; the session is kept if it is still in order.
pub(super) async fn roll_back(mut session: Session, pool: &WriterPool, start: &UnitStart) {
    if session.execute("ROLLBACK").await.is_ok() {
        pool.give_back(session, &start.lease);
    }
}

fn no_stage(error: ConnectorError) -> ConnectorError {
    if error.class == ErrorClass::Privilege {
        error.with_hint(
            "grant what is missing: `GRANT TEMPORARY ON DATABASE ... TO ...`, and SELECT, INSERT, \
             UPDATE and DELETE on the table",
        )
    } else {
        error
    }
}
