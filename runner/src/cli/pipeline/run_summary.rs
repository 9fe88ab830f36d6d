//! One run that is over, as `status` and `history` show it.

use crate::cli::quantity::{count, duration, rows};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use syncset_connector::{PipelineState, RunRecord};

/// Letters of a run's id that tell it from others, for people. They are its last ones: the first
/// ones are the time, and alike in all runs of a minute.
const ID_SHOWN: usize = 8;

/// What a run did, summed over its tables.
#[derive(Serialize)]
pub(super) struct RunSummary {
    pub(super) run_id: String,
    /// `repair` or `revert`, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    /// RFC 3339, in UTC.
    started_at: String,
    finished_at: Option<String>,
    duration_ms: Option<u64>,
    exit_code: Option<i32>,
    tables: usize,
    rows_read: u64,
    rows_written: u64,
    rows_deleted: u64,
    rows_rejected: u64,
    failures: Vec<FailureLine>,
    /// Somebody runs it.
    #[serde(skip)]
    is_running: bool,
}

/// Why the run, or one table of it, failed.
#[derive(Serialize)]
struct FailureLine {
    /// `null`: the whole run.
    table: Option<String>,
    message: String,
    hint: Option<String>,
    exit_code: Option<i64>,
}

impl RunSummary {
    /// Sums a stored run up. What an older report does not hold counts as nothing. `state`: of its
    /// pipeline.
    pub(super) fn of(run: &RunRecord, state: &PipelineState) -> Self {
        let holder = state.holder.as_ref();
        let is_running = holder.is_some_and(|(owner, _)| owner.contains(&run.run_id));
        let report = &run.report;
        let tables = list(&report["tables"]);
        let sum = |field: &str| tables.iter().filter_map(|it| it[field].as_u64()).sum();
        let whole = list(&report["failures"])
            .iter()
            .map(|failure| FailureLine::of(None, failure));
        let of_tables = tables
            .iter()
            .filter(|table| table["failure"].is_object())
            .map(|table| FailureLine::of(table["table"].as_str(), &table["failure"]));
        Self {
            run_id: run.run_id.clone(),
            verb: report["verb"].as_str().map(str::to_owned),
            started_at: instant(run.started_at),
            finished_at: run.finished_at.map(instant),
            duration_ms: report["duration_ms"].as_u64(),
            exit_code: run.exit_code,
            tables: tables.len(),
            rows_read: sum("rows_read"),
            rows_written: sum("rows_written"),
            rows_deleted: sum("rows_deleted"),
            rows_rejected: sum("rows_rejected"),
            failures: whole.chain(of_tables).collect(),
            is_running: is_running && run.finished_at.is_none(),
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let id = short_id(&self.run_id);
        let code = match self.exit_code {
            Some(code) => format!("exit {code}"),
            None if self.is_running => "running".into(),
            None => "killed".into(),
        };
        let ended = self.duration_ms.filter(|_| self.exit_code.is_some());
        let time = ended
            .map(|ms| format!(" in {}", duration(Duration::from_millis(ms))))
            .unwrap_or_default();
        let rejected = match self.rows_rejected {
            0 => String::new(),
            rejected => format!(", {} rejected", count(rejected)),
        };
        format!(
            "{} {id} of {}: {code}{time}, {} written, {} deleted{rejected}\n",
            self.verb.as_deref().unwrap_or("run"),
            self.started_at,
            rows(self.rows_written),
            count(self.rows_deleted),
        )
    }

    /// Why it failed, a line each.
    pub(super) fn failure_lines(&self) -> String {
        let line = |failure: &FailureLine| format!("  error: {}\n", failure.message);
        self.failures.iter().map(line).collect()
    }
}

impl FailureLine {
    fn of(table: Option<&str>, failure: &Value) -> Self {
        Self {
            table: table.map(str::to_owned),
            message: failure["message"].as_str().unwrap_or_default().to_owned(),
            hint: failure["hint"].as_str().map(str::to_owned),
            exit_code: failure["exit_code"].as_i64(),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The end of a run's id, which people are shown.
pub(super) fn short_id(run_id: &str) -> String {
    let left_out = run_id.chars().count().saturating_sub(ID_SHOWN);
    run_id.chars().skip(left_out).collect()
}

/// Seconds since the epoch as people and programs read them.
pub(in crate::cli) fn instant(seconds: i64) -> String {
    let instant = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    instant.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
