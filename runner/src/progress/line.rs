//! How far a table or a run is, as one line that fits. Pure.

use crate::cli::quantity::{bytes, clock, count, rows};
use std::time::Duration;

/// Columns of a table's name where there is room.
const NAME_WIDTH: usize = 24;

/// Narrower terminals get narrower names.
const WIDTH_ROOMY: usize = 72;

/// Rates and remaining times of the first moments say nothing.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How far a table is.
pub(super) struct Reading<'a> {
    /// As the pipeline names it.
    pub(super) name: &'a str,
    /// Rows that were read.
    pub(super) rows: u64,
    /// As much memory as they took.
    pub(super) bytes: u64,
    /// Rows that it probably has.
    pub(super) expected: Option<u64>,
    /// Time since the first of them.
    pub(super) elapsed: Duration,
}

impl Reading<'_> {
    /// Expected rows, unless the expectation was wrong.
    fn whole(&self) -> Option<u64> {
        self.expected.filter(|expected| *expected >= self.rows)
    }

    fn is_settled(&self) -> bool {
        self.elapsed >= SETTLED_AFTER && self.rows > 0
    }

    /// Rows of one second.
    fn per_second(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }

    fn rows(&self) -> String {
        match self.whole() {
            Some(whole) => format!("{} of ~{}", count(self.rows), rows(whole)),
            None => rows(self.rows),
        }
    }

    fn percent(&self) -> Option<String> {
        let whole = self.whole().filter(|whole| *whole > 0)?;
        Some(format!("{} %", self.rows * 100 / whole))
    }

    fn rate(&self) -> Option<String> {
        let is_worth_saying = self.is_settled() && self.per_second() >= 1.0;
        // More than any source sends ends at the greatest number.
        is_worth_saying.then(|| format!("{} rows/s", count(self.per_second() as u64)))
    }

    fn left(&self) -> Option<String> {
        let missing = self.whole()?.checked_sub(self.rows)?;
        let seconds = self.elapsed.as_secs_f64() * missing as f64 / self.rows.max(1) as f64;
        let left = Duration::try_from_secs_f64(seconds).ok()?;
        let is_worth_saying = self.is_settled() && left >= Duration::from_secs(1);
        is_worth_saying.then(|| format!("~{} left", clock(left)))
    }
}

/// A table in a line of at most `width` columns: what does not fit is left out, the least important
/// first.
pub(super) fn table_line(reading: &Reading<'_>, width: usize) -> String {
    let name_width = match width {
        ..WIDTH_ROOMY => (width / 3).max(8),
        _ => NAME_WIDTH,
    };
    let mut line = format!("{:name_width$}", shortened(reading.name, name_width));
    let rows = reading.rows();
    let rows = match rows.chars().count() + 2 > width.saturating_sub(name_width) {
        true => count(reading.rows),
        false => rows,
    };
    // In the order they stand in; the number is the order in which they get room.
    let parts = [
        (0, Some(rows)),
        (1, reading.percent()),
        (5, Some(bytes(reading.bytes))),
        (4, reading.rate()),
        (2, Some(clock(reading.elapsed))),
        (3, reading.left()),
    ];
    let mut by_rank: Vec<_> = parts.iter().collect();
    by_rank.sort_by_key(|(rank, _)| *rank);
    let mut room = width.saturating_sub(name_width);
    let mut last = None;
    for (rank, part) in by_rank {
        let Some(part) = part else { continue };
        let needed = part.chars().count() + 2;
        if needed > room {
            break;
        }
        room -= needed;
        last = Some(*rank);
    }
    for (rank, part) in parts {
        if let Some(part) = part.filter(|_| last.is_some_and(|last| rank <= last)) {
            line.push_str(&format!("  {part}"));
        }
    }
    line
}

/// How far a run is.
pub(super) struct Standing<'a> {
    /// The pipeline.
    pub(super) pipeline: &'a str,
    /// Its tables; zero before they are known.
    pub(super) tables: usize,
    /// Those that are through.
    pub(super) done: usize,
    /// Those that failed among them.
    pub(super) failed: usize,
    /// Time since it began.
    pub(super) elapsed: Duration,
}

/// A run in a line of at most `width` columns.
pub(super) fn run_line(standing: &Standing<'_>, width: usize) -> String {
    let elapsed = clock(standing.elapsed);
    let tables = match standing.tables {
        0 => "connecting".to_owned(),
        1 => "1 table under way".to_owned(),
        tables => format!("{} of {tables} tables done", standing.done),
    };
    let failed = match standing.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let line = format!("{}: {tables}{failed}, {elapsed}", standing.pipeline);
    shortened(&line, width)
}

/// A table for a log, where nothing needs to fit.
pub(super) fn said(reading: &Reading<'_>) -> String {
    let mut parts = vec![reading.rows()];
    parts.extend(reading.percent());
    parts.extend(reading.rate());
    parts.extend(reading.left());
    format!("{}: read so far: {}", reading.name, parts.join(", "))
}

/// The beginning of a text that is too long, with dots for the rest.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(rows: u64, expected: Option<u64>) -> Reading<'static> {
        Reading {
            name: "public.orders",
            rows,
            bytes: rows * 100,
            expected,
            elapsed: Duration::from_millis(12_400),
        }
    }

    #[test]
    fn lines_fit_and_leave_out_the_least_first() {
        let reading = reading(377_304, Some(4_000_000));
        let lines = [120, 100, 80, 60, 40, 20, 8]
            .map(|width| (width, table_line(&reading, width)))
            .map(|(width, line)| {
                assert!(line.chars().count() <= width, "{width}: {line}");
                format!("{width:3} {line}\n")
            });

        insta::assert_snapshot!(lines.concat(), @"
        120 public.orders             377,304 of ~4,000,000 rows  9 %  35.98 MiB  30,427 rows/s  12 s  ~1 min 59 s left
        100 public.orders             377,304 of ~4,000,000 rows  9 %  30,427 rows/s  12 s  ~1 min 59 s left
         80 public.orders             377,304 of ~4,000,000 rows  9 %  12 s
         60 public.orders         377,304 of ~4,000,000 rows  9 %  12 s
         40 public.orders  377,304  9 %  12 s
         20 public..  377,304
          8 public..
        ");
    }

    #[test]
    fn expectations_that_were_wrong_are_dropped() {
        let line = table_line(&reading(500, Some(400)), 100);

        assert!(!line.contains('%') && !line.contains('~'), "{line}");
    }

    #[test]
    fn first_moments_foretell_nothing() {
        let mut reading = reading(10, Some(400));
        reading.elapsed = Duration::from_millis(20);

        insta::assert_snapshot!(table_line(&reading, 100), @"public.orders             10 of ~400 rows  2 %  1000 B  0 s");
    }

    #[test]
    fn line_of_a_log_says_how_far_a_table_is() {
        insta::assert_snapshot!(said(&reading(1, None)), @"public.orders: read so far: 1 row");
        insta::assert_snapshot!(said(&reading(377_304, Some(4_000_000))), @"public.orders: read so far: 377,304 of ~4,000,000 rows, 9 %, 30,427 rows/s, ~1 min 59 s left");
    }

    #[test]
    fn line_of_a_run_counts_its_tables() {
        let line = |tables, done, failed| {
            let standing = Standing {
                pipeline: "crm_reports",
                tables,
                done,
                failed,
                elapsed: Duration::from_secs(3_725),
            };
            run_line(&standing, 60)
        };

        insta::assert_snapshot!(line(0, 0, 0), @"crm_reports: connecting, 1 h 2 min");
        insta::assert_snapshot!(line(1, 0, 0), @"crm_reports: 1 table under way, 1 h 2 min");
        insta::assert_snapshot!(line(12, 3, 1), @"crm_reports: 3 of 12 tables done, 1 failed, 1 h 2 min");
    }
}
