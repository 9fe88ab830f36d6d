//! What a run did, for people: a line per table, then one for the run.

use crate::cli::quantity::{count, counted, duration};
use crate::exit_code;
use crate::report::{HookReport, Outcome, RunReport, TableReport};
use std::time::Duration;

/// Tables in which nothing had changed, and of which nothing was read, are counted where they are
/// more: among 500 lines nobody finds the one that matters.
const IDLE_SHOWN_MAX: usize = 20;

/// A line per table.
pub(super) fn tables(report: &RunReport) -> String {
    let idle_count = report.tables.iter().filter(|table| is_idle(table)).count();
    let shows_idle = idle_count <= IDLE_SHOWN_MAX;
    let shown: Vec<&TableReport> = report
        .tables
        .iter()
        .filter(|table| shows_idle || !is_idle(table))
        .collect();
    let width = shown.iter().map(|table| table.table.chars().count());
    let width = width.max().unwrap_or(0);
    let mut text = String::new();
    for table in shown {
        let mut line = format!("{:width$}  {:<10}", table.table, what(table.outcome));
        if !is_idle(table) {
            line.push_str(&format!("  {}", counts(table, report.dry_run)));
        }
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    if !shows_idle {
        text.push_str(&format!(
            "{} more tables are unchanged\n",
            count(idle_count as u64)
        ));
    }
    text
}

/// Whether there is nothing to say but that nothing had changed.
fn is_idle(table: &TableReport) -> bool {
    table.outcome == Outcome::Unchanged
        && table.rows_read + table.rows_rejected + table.deletes_pending == 0
        && table.warnings.is_empty()
}

fn what(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Loaded => "loaded",
        Outcome::Followed => "synced",
        Outcome::Unchanged => "unchanged",
        Outcome::Sliced => "slice",
        Outcome::Failed => "failed",
        Outcome::Unfinished => "unfinished",
    }
}

/// Rows of one table, and its time.
pub(crate) fn counts(table: &TableReport, dry_run: bool) -> String {
    // What the target has already is not known before it is written.
    let at_most = if dry_run { "up to " } else { "" };
    let mut parts = vec![
        format!("{} read", count(table.rows_read)),
        format!("{at_most}{} written", count(table.rows_written)),
        format!("{} deleted", count(table.rows_deleted)),
    ];
    if table.rows_rejected > 0 {
        parts.push(format!("{} rejected", count(table.rows_rejected)));
    }
    if table.deletes_pending > 0 {
        parts.push(counted(
            table.deletes_pending,
            "delete waits",
            "deletes wait",
        ));
    }
    parts.push(duration(Duration::from_millis(table.duration_ms)));
    parts.join(", ")
}

/// The last line: whether it is done, and what is not.
pub(super) fn verdict(report: &RunReport) -> String {
    let mode = match (report.dry_run, report.slice) {
        (true, true) => " (dry run of a slice: nothing was written)",
        (true, false) => " (dry run: nothing was written)",
        (false, true) => " (a slice: no watermark moved, nothing was deleted)",
        (false, false) => "",
    };
    let time = duration(Duration::from_millis(report.duration_ms));
    let failed = report
        .tables
        .iter()
        .filter(|it| it.failure.is_some())
        .count();
    let hook_failed = report.hooks.iter().any(HookReport::fails_the_run);
    let is_good = failed == 0 && report.failures.is_empty() && !hook_failed;
    let name = &report.pipeline;
    if is_good {
        let verdict = if report.skipped { "skipped" } else { "done" };
        return format!("{name}: {verdict} in {time}{mode}\n");
    }
    let what = match (failed, report.tables.len()) {
        (0, _) | (1, 1) => "failed".to_owned(),
        (failed, all) => format!(
            "{} of {} tables failed",
            count(failed as u64),
            count(all as u64)
        ),
    };
    // Such as a table that is gone from the source, which is none of those that were synced.
    let errors = report.failures.len() as u64;
    let besides = match failed.min(report.failures.len()) {
        0 => String::new(),
        _ => format!(" and {} besides", counted(errors, "error", "errors")),
    };
    let next = match report.exit_code {
        exit_code::RETRY => ": the next run will probably do",
        _ => "",
    };
    format!(
        "{name}: {what}{besides} after {time}, exit code {}{next}{mode}\n",
        report.exit_code
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn table(name: &str, outcome: Outcome, rows: u64) -> TableReport {
        TableReport {
            outcome,
            rows_read: rows,
            rows_written: rows,
            duration_ms: 2 * rows,
            ..TableReport::new(name, name)
        }
    }

    fn report(tables: Vec<TableReport>) -> RunReport {
        let mut report = RunReport::new("crm", "0f5c", false);
        report.tables = tables;
        report.settle_exit_code();
        report
    }

    #[test]
    fn idle_tables_are_counted_where_they_are_many() {
        let idle = |number| table(&format!("public.t{number}"), Outcome::Unchanged, 0);
        let mut all: Vec<_> = (0..21).map(idle).collect();
        all.push(table("public.orders", Outcome::Followed, 12_345));
        let few = all.split_off(20);

        assert_eq!(tables(&report(all)).lines().count(), 20);
        insta::assert_snapshot!(tables(&report(few)), @"
        public.t20     unchanged
        public.orders  synced      12,345 read, 12,345 written, 0 deleted, 24.6 s
        ");
        let many = (0..500)
            .map(idle)
            .chain([table("public.orders", Outcome::Followed, 12_345)]);
        insta::assert_snapshot!(tables(&report(many.collect())), @"
        public.orders  synced      12,345 read, 12,345 written, 0 deleted, 24.6 s
        500 more tables are unchanged
        ");
    }

    #[test]
    fn verdict_counts_what_failed_and_names_the_code() {
        let mut failed = table("public.orders", Outcome::Failed, 0);
        failed.fail(Failure::new(exit_code::GUARD, "too many"));
        let mut lost = table("public.lines", Outcome::Failed, 0);
        lost.fail(Failure::new(exit_code::RETRY, "lost the link"));
        let good = table("public.bills", Outcome::Loaded, 3);

        insta::assert_snapshot!(verdict(&report(vec![good.clone()])), @"crm: done in 0 ms");
        insta::assert_snapshot!(verdict(&report(vec![failed.clone(), good.clone()])), @"crm: 1 of 2 tables failed after 0 ms, exit code 8");
        let mut and_gone = report(vec![failed.clone(), good.clone()]);
        let gone = Failure::new(exit_code::APPROVAL, "the source has no such table any more");
        and_gone.failures.push(gone);
        insta::assert_snapshot!(verdict(&and_gone), @"crm: 1 of 2 tables failed and 1 error besides after 0 ms, exit code 8");
        insta::assert_snapshot!(verdict(&report(vec![failed])), @"crm: failed after 0 ms, exit code 8");
        insta::assert_snapshot!(verdict(&report(vec![lost, good])), @"crm: 1 of 2 tables failed after 0 ms, exit code 9: the next run will probably do");
    }
}
