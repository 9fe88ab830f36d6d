//! What a run did: kept while it runs, stored with the run, printed at the end.

use crate::check::{Digest, Mode};
use crate::exit_code;
use crate::failure::Failure;
use crate::fit::Losses;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What became of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Loaded from the start, or the rest of it.
    Loaded,
    /// Its changes were applied.
    Followed,
    /// Nothing had changed; nothing was written.
    Unchanged,
    /// The rows of a slice were copied; its watermark is where it was.
    Sliced,
    /// It failed; what was committed before stands, and the watermark with it.
    Failed,
    /// The run ended before its turn, or before it was through.
    Unfinished,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Keys that are named of rows that were left alone, at most.
const KEYS_NAMED_MAX: usize = 10;

/// What a repair or a revert did to the rows of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ExactRows {
    /// Rows that are kept as they were, so that the run can be reverted.
    pub(crate) rows_kept: u64,
    /// Rows that somebody changed at the target meanwhile: they were left alone.
    pub(crate) changed_meanwhile: u64,
    /// Keys of some of these.
    pub(crate) left: Vec<Value>,
    /// Rows that changed at the source while they were written: the next run brings them.
    pub(crate) changed_at_source: u64,
    /// Rows that were as they were before the reverted run already.
    pub(crate) already_reverted: u64,
}

impl ExactRows {
    /// A row that was left alone.
    pub(crate) fn leave(&mut self, key: &Value) {
        self.changed_meanwhile += 1;
        if self.left.len() < KEYS_NAMED_MAX {
            self.left.push(key.clone());
        }
    }

    /// Adds the rows of one more unit.
    pub(crate) fn add(&mut self, unit: Self) {
        self.rows_kept += unit.rows_kept;
        self.changed_meanwhile += unit.changed_meanwhile;
        self.changed_at_source += unit.changed_at_source;
        self.already_reverted += unit.already_reverted;
        self.left.extend(unit.left);
        self.left.truncate(KEYS_NAMED_MAX);
    }
}

/// What was compared by hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ComparedSides {
    /// By the servers' hashes, or by our own of every row.
    pub(crate) mode: Mode,
    /// Selected rows of the source.
    pub(crate) rows_source: u64,
    /// Rows of the target before the run wrote anything for it.
    pub(crate) rows_target: u64,
    /// What tells the rows of the source from others.
    pub(crate) source_hash: Digest,
}

/// What the search for rows that are gone has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SearchReport {
    /// Rows of the source that the target lacked, although no change of theirs is waiting.
    pub(crate) rows_missed: u64,
    /// Rows that only the target had.
    pub(crate) rows_deleted: u64,
}

/// One table of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TableReport {
    /// The table as the pipeline names it.
    pub(crate) table: String,
    /// The target table.
    pub(crate) target: String,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// Rows that left the source, selected or not.
    pub(crate) rows_read: u64,
    /// Rows inserted or changed at the target.
    pub(crate) rows_written: u64,
    /// Rows deleted at the target.
    pub(crate) rows_deleted: u64,
    /// Rows that are to be deleted and wait for the guard.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) deletes_pending: u64,
    /// Rows the target refused, which wait in `_syncset`.
    pub(crate) rows_rejected: u64,
    /// How both sides were compared by hashes, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<ComparedSides>,
    /// What the search for rows that are gone has found, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<SearchReport>,
    /// What a repair or a revert did to single rows.
    #[serde(rename = "row_outcomes", skip_serializing_if = "Option::is_none")]
    pub(crate) exact: Option<ExactRows>,
    /// Values that were changed to fit the target, by column.
    pub(crate) values_lost: Losses,
    /// Bytes of the rows read, as Arrow holds them.
    pub(crate) bytes_read: u64,
    /// Time spent on it.
    pub(crate) duration_ms: u64,
    /// For how long its chunks waited for each other under `--max-load`.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rested_ms: u64,
    /// Up to when the target has seen the source's changes, if the watermark is a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watermark_at: Option<DateTime<Utc>>,
    /// The exit code it means.
    pub(crate) exit_code: i32,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

impl TableReport {
    /// A table whose turn has not come.
    pub(crate) fn new(table: &str, target: &str) -> Self {
        Self {
            table: table.to_owned(),
            target: target.to_owned(),
            outcome: Outcome::Unfinished,
            rows_read: 0,
            rows_written: 0,
            rows_deleted: 0,
            deletes_pending: 0,
            rows_rejected: 0,
            compared: None,
            search: None,
            exact: None,
            values_lost: Losses::new(),
            bytes_read: 0,
            duration_ms: 0,
            rested_ms: 0,
            watermark_at: None,
            exit_code: exit_code::DONE,
            warnings: Vec::new(),
            failure: None,
        }
    }

    /// Marks it as failed. Tables are run one after another: once it is a table that fails,
    /// others may have been written, and 2 would promise that nothing was touched.
    pub(crate) fn fail(&mut self, mut failure: Failure) {
        if failure.exit_code == exit_code::CONFIG {
            failure.exit_code = exit_code::FAILED;
        }
        self.outcome = Outcome::Failed;
        self.exit_code = failure.exit_code;
        self.failure = Some(failure);
    }
}

/// What became of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HookOutcome {
    /// It was run and succeeded.
    Done,
    /// It failed, or did not end in time.
    Failed,
    /// It was not run: a dry run, or one before it failed.
    NotRun,
}

/// One hook of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HookReport {
    /// The list it is in, such as `before`.
    pub(crate) hook: &'static str,
    /// What is run: `sql`, `command` or `shell`.
    pub(crate) kind: &'static str,
    /// Where it is in the pipeline file.
    pub(crate) place: String,
    /// What became of it.
    pub(crate) outcome: HookOutcome,
    /// Time it took.
    pub(crate) duration_ms: u64,
    /// True if the run fails with it.
    pub(crate) fails_run: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

impl HookReport {
    /// Whether it makes a good run a failed one.
    pub(crate) fn fails_the_run(&self) -> bool {
        self.fails_run && self.outcome == HookOutcome::Failed
    }
}

/// One run of one pipeline.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunReport {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// Id of the run.
    pub(crate) run_id: String,
    /// The exit code.
    pub(crate) exit_code: i32,
    /// Wall time.
    pub(crate) duration_ms: u64,
    /// True if nothing was written on purpose.
    pub(crate) dry_run: bool,
    /// True if another run had the lease and this one was told to leave it at that.
    pub(crate) skipped: bool,
    /// True if only a slice of the selected rows was copied, without watermarks and deletes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) slice: bool,
    /// `repair` or `revert`, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verb: Option<&'static str>,
    /// The run that it reverted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reverts: Option<String>,
    /// Its tables.
    pub(crate) tables: Vec<TableReport>,
    /// What stopped the whole run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<Failure>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Its hooks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<HookReport>,
    /// When the last run before it that was done ended, seconds since the epoch; looked up only
    /// after a failure or a slice.
    #[serde(skip)]
    pub(crate) last_success: Option<i64>,
}

impl RunReport {
    /// An empty report.
    pub(crate) fn new(pipeline: &str, run_id: &str, dry_run: bool) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            run_id: run_id.to_owned(),
            exit_code: exit_code::DONE,
            duration_ms: 0,
            dry_run,
            slice: false,
            verb: None,
            reverts: None,
            skipped: false,
            tables: Vec::new(),
            failures: Vec::new(),
            warnings: Vec::new(),
            hooks: Vec::new(),
            last_success: None,
        }
    }

    /// Whether it ended well without anything to do.
    pub(crate) fn did_nothing(&self) -> bool {
        let quiet = |table: &TableReport| {
            table.rows_written + table.rows_deleted + table.rows_rejected == 0
                && matches!(table.outcome, Outcome::Unchanged | Outcome::Followed)
        };
        self.exit_code == exit_code::DONE && (self.skipped || self.tables.iter().all(quiet))
    }

    /// Computes the exit code from the tables and the failures of the whole run; a hook that may
    /// fail the run makes a good one a failed one.
    pub(crate) fn settle_exit_code(&mut self) {
        let tables = self.tables.iter().map(|table| table.exit_code);
        let codes: Vec<i32> = tables
            .chain(self.failures.iter().map(|failure| failure.exit_code))
            .collect();
        let hook_failed = self.hooks.iter().any(HookReport::fails_the_run);
        self.exit_code = match exit_code::of_tables(&codes) {
            exit_code::DONE if hook_failed => exit_code::FAILED,
            exit_code::DONE if self.reverts.is_some() && self.leaves_rows() => exit_code::DIFFERENT,
            code => code,
        };
    }

    /// Whether rows were left alone because somebody changed them meanwhile.
    fn leaves_rows(&self) -> bool {
        let exact = self.tables.iter().filter_map(|table| table.exact.as_ref());
        exact.map(|exact| exact.changed_meanwhile).sum::<u64>() > 0
    }
}
