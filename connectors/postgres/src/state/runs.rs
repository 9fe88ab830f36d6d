//! The record of runs, and what is dropped when one is written.

use super::text::{NOT_WAITED_FOR, json_literal, key_is, key_values, literal};
use crate::connect::PgStore;
use std::time::Duration;
use syncset_connector::{
    CLOCK_SLACK_SECONDS, PARTIAL_RUNS, PipelineKey, Result, Retention, RunRecord,
};

/// Inserts or updates a run and drops what need not be kept. One message, not under the fence: a
/// run that was pushed aside is recorded too. Returns how many refused rows were dropped.
pub(super) async fn record_run(
    store: &PgStore,
    key: &PipelineKey,
    run: &RunRecord,
    keep: &Retention,
) -> Result<u64> {
    let number = |value: Option<i64>| value.map_or("NULL".to_owned(), |value| value.to_string());
    let row = key_is("", key);
    let sql = format!(
        "{NOT_WAITED_FOR}INSERT INTO _syncset.run \
         (project, pipeline, run_id, started_at, finished_at, exit_code, report) \
         VALUES ({values}, {run_id}, to_timestamp({started}), to_timestamp({finished}), \
         {exit_code}, {report}) \
         ON CONFLICT (project, pipeline, run_id) DO UPDATE SET finished_at = excluded.finished_at, \
         exit_code = excluded.exit_code, report = excluded.report;\n\
         DELETE FROM _syncset.run WHERE {row} AND started_at < {oldest} \
         AND run_id <> {run_id} \
         AND run_id IS DISTINCT FROM (SELECT s.run_id {success});\n\
         DELETE FROM _syncset.before_image WHERE {row} AND kept_at < {oldest_image};\n{rejected}",
        values = key_values(key),
        run_id = literal(&run.run_id),
        started = run.started_at,
        finished = number(run.finished_at),
        exit_code = number(run.exit_code.map(i64::from)),
        report = json_literal(&run.report),
        oldest = ago(keep.runs),
        oldest_image = ago(keep.before_images),
        success = last_success("s", key),
        rejected = drop_rejected(key, keep),
    );
    // The rows of the last statement.
    let dropped = store.control().await?.execute(&sql).await?;
    Ok(if keep.streams.is_some() { dropped } else { 0 })
}

/// Chooses the last run with exit code 0, as the rest of a SELECT from `alias`. A run of some rows
/// brings nothing up to date; what a wrong clock put into the future counts only if there is nothing else.
pub(super) fn last_success(alias: &str, key: &PipelineKey) -> String {
    format!(
        "FROM _syncset.run {alias} WHERE {row} AND {alias}.exit_code = 0 \
         {whole}ORDER BY {alias}.finished_at > clock_timestamp() \
         + {CLOCK_SLACK_SECONDS} * interval '1 second', {alias}.started_at DESC, {alias}.run_id DESC LIMIT 1",
        row = key_is(&format!("{alias}."), key),
        whole = PARTIAL_RUNS
            .map(|sign| format!("AND {alias}.report::text NOT LIKE '%{sign}%' "))
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
            let names: Vec<_> = streams.iter().map(|stream| literal(stream)).collect();
            format!(" AND stream NOT IN ({})", names.join(", "))
        }
    };
    format!(
        "DELETE FROM _syncset.rejected WHERE {}{left} AND stream IN \
         (SELECT w.stream FROM _syncset.watermark w WHERE {} AND w.updated_at < {})",
        key_is("", key),
        key_is("w.", key),
        ago(keep.rejected)
    )
}

fn ago(duration: Duration) -> String {
    format!(
        "clock_timestamp() - {} * interval '1 second'",
        duration.as_secs()
    )
}
