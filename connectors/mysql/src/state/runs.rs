//! The record of runs, and what is dropped when one is written.

use super::in_transaction;
use super::text::{NOW, at, json, key_is, key_values};
use crate::connect::MysqlStore;
use crate::sql::text;
use std::time::Duration;
use syncset_connector::{
    CLOCK_SLACK_SECONDS, PARTIAL_RUNS, PipelineKey, Result, Retention, RunRecord,
};

/// Inserts or updates a run and drops what need not be kept. One message, not under the fence: a
/// run that was pushed aside is recorded too. Returns how many refused rows were dropped.
pub(super) async fn record_run(
    store: &MysqlStore,
    key: &PipelineKey,
    run: &RunRecord,
    keep: &Retention,
) -> Result<u64> {
    let row = key_is("", key);
    // The newest run that was done is found in a table of its own: a statement cannot delete from
    // a table that it also asks.
    let sql = format!(
        "START TRANSACTION;\n\
         INSERT INTO _syncset_run \
         (project, pipeline, run_id, started_at, finished_at, exit_code, report) \
         VALUES ({values}, {run_id}, {started}, {finished}, {exit_code}, {report}) \
         ON DUPLICATE KEY UPDATE finished_at = {finished}, exit_code = {exit_code}, \
         report = {report};\n\
         DELETE FROM _syncset_run WHERE {row} AND started_at < {oldest} AND run_id <> {run_id} \
         AND NOT run_id <=> (SELECT d.run_id FROM (SELECT s.run_id {success}) d);\n\
         DELETE FROM _syncset_before_image WHERE {row} AND kept_at < {oldest_image};\n\
         {rejected}SELECT ROW_COUNT();\nCOMMIT",
        values = key_values(key),
        run_id = text(&run.run_id),
        started = at(Some(run.started_at)),
        finished = at(run.finished_at),
        exit_code = run
            .exit_code
            .map_or("NULL".to_owned(), |code| code.to_string()),
        report = json(&run.report),
        oldest = ago(keep.runs),
        oldest_image = ago(keep.before_images),
        success = last_success("s", key),
        rejected = drop_rejected(key, keep),
    );
    let mut session = store.control().await?;
    let rows = in_transaction(&mut session, &sql).await?;
    if keep.streams.is_none() {
        return Ok(0);
    }
    let dropped = rows.into_iter().flatten().next_back();
    dropped.map_or(Ok(0), |row| row.parse(0))
}

/// Chooses the last run with exit code 0, as the rest of a SELECT from `alias`. A run of some rows
/// brings nothing up to date; what a wrong clock put into the future counts only if there is nothing else.
pub(super) fn last_success(alias: &str, key: &PipelineKey) -> String {
    format!(
        "FROM _syncset_run {alias} WHERE {row} AND {alias}.exit_code = 0 \
         {whole}ORDER BY {alias}.finished_at > {NOW} + INTERVAL {CLOCK_SLACK_SECONDS} SECOND, \
         {alias}.started_at DESC, {alias}.run_id DESC LIMIT 1",
        row = key_is(&format!("{alias}."), key),
        whole = PARTIAL_RUNS
            .map(|sign| format!("AND {alias}.report NOT LIKE '%{sign}%' "))
            .concat(),
    )
}

/// Drops refused rows that no run has tried again for long, because their table left the
/// pipeline. Empty if it is not known which tables did.
fn drop_rejected(key: &PipelineKey, keep: &Retention) -> String {
    let Some(streams) = &keep.streams else {
        return String::new();
    };
    let left = match streams.as_slice() {
        [] => String::new(),
        streams => {
            let names: Vec<_> = streams.iter().map(|stream| text(stream)).collect();
            format!(" AND stream NOT IN ({})", names.join(", "))
        }
    };
    format!(
        "DELETE FROM _syncset_rejected WHERE {}{left} AND stream IN \
         (SELECT w.stream FROM _syncset_watermark w WHERE {} AND w.updated_at < {});\n",
        key_is("", key),
        key_is("w.", key),
        ago(keep.rejected)
    )
}

fn ago(duration: Duration) -> String {
    format!("{NOW} - INTERVAL {} SECOND", duration.as_secs())
}
